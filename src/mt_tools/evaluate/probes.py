"""The models of probes: an explicit table, fixed constants, and the grids of a search.

Goal: fit one simple model to vectors and predict others. Vectors come standardised (zero mean, unit
variance over the train part); each model says which kinds of label it can predict.

Constants, none of which is tuned. svm: C = 1, linear for classes and tags, RBF with gamma = 1/d
for numbers on the target as it is, libsvm's tube of 0.1 (the REP study, after Choi et al. 2017); it
is solved exactly, in time that grows with the square of the rows. logistic, ridge and mlp are
penalised alike, by |w|^2 / 2C beside a sum over the rows (alpha = 1/C in scikit-learn's words).
knn: 5 neighbours by Euclidean distance, each with one voice. mlp: one hidden layer of 128 rectified
units, Adam at 0.001 in batches of 200, numbers standardised; it stops when the training loss has
not fallen by 1e-4 for 10 epochs, at the latest after 200, and so needs no rows to validate on.

Tags are one model each for svm, logistic and ridge, and several outputs of one model for knn and
mlp. A tag that no training row has, or all have, scores the same everywhere. Ordinal classes are
learnt as classes. Distributions: logistic regression by their cross-entropy, and the neighbours'
mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.evaluate.settings import ProbeSettings

Array = NDArray[Any]

EPSILON = 0.1  # libsvm's default tube, which REP leaves as it is
MAX_ITERATIONS = 2000  # of the logistic regression; tens suffice on standardised vectors
HIDDEN = 128
EPOCHS = 200

DECADES = (0.01, 0.1, 1.0, 10.0, 100.0)


class Predicted(NamedTuple):
    """What a model says of the test rows.

    `values`: class codes [m], tag scores [m, tags], numbers [m] or distributions [m, d]; `chances`:
    [m, k] of the classes `classes`, where the model has them; `converged`: False where the
    solver stopped at its limit.
    """

    values: Array
    chances: Array | None = None
    classes: Sequence[int] = ()
    converged: bool = True


Fit = Callable[[Array, Array, Array, ProbeSettings, int], Predicted]
"""(train vectors, train labels, test vectors, settings, seed) -> predictions."""


@dataclass(frozen=True)
class Probe:
    """One row of the table: how each kind of label is predicted, and what a search tries.

    `fits` by kind, `described` names the model and its constants for people, `grid` holds the
    values of each setting that a search tries, for a kind of label and vectors of d dimensions.
    `in_threads` says that its work is mostly done outside of the interpreter and its lock.
    """

    fits: Mapping[str, Fit]
    described: Callable[[ProbeSettings, str], str]
    grid: Callable[[ProbeSettings, str, int], dict[str, tuple[float, ...]]]
    in_threads: bool = True


def model_of(settings: ProbeSettings, kind: str, task: str) -> Probe:
    """Return the row of the table; raises `UsageError` where the model cannot predict the kind."""
    row = PROBES[settings.probe]
    if kind in row.fits:
        return row
    able = [name for name, other in PROBES.items() if kind in other.fits]
    if not able:
        kinds = dict.fromkeys(kind for other in PROBES.values() for kind in other.fits)
        raise UsageError(f"got the kind {kind!r} for {task}, expected one of {', '.join(kinds)}")
    raise UsageError(
        f"--probe {settings.probe} cannot predict {task}, which is {kind}: choose one of "
        f"{', '.join(able)}"
    )


def candidates(settings: ProbeSettings, kind: str, d: int) -> list[ProbeSettings]:
    """Return what a search chooses from, the fixed constants first.

    One candidate, the settings themselves, where nothing is searched. Of equal candidates the first
    is to be taken: the constants, or else the smaller value. Raises `UsageError` for a grid that
    names what the model does not have.
    """
    if not (settings.search or settings.grid):
        return [settings]
    grid = PROBES[settings.probe].grid(settings, kind, d)
    if settings.grid:
        given = parse_grid(settings.grid)
        if strange := [name for name in given if name not in grid]:
            raise UsageError(
                f"--grid {strange[0]}: --probe {settings.probe} has no such constant for a "
                f"{kind} label, expected {' or '.join(grid)}"
            )
        grid = given
    fixed = settings.gamma or 1 / d
    found = []
    for values in itertools.product(*(sorted(values) for values in grid.values())):
        chosen: dict[str, Any] = dict(zip(grid, values, strict=True))
        if "k" in chosen:
            chosen["k"] = int(chosen["k"])
        found.append(replace(settings, **chosen))
    # A grid's gamma is a number, the constant 0 stands for 1/d.
    return sorted(found, key=lambda one: (one.C, one.k, one.gamma or fixed) != (
        settings.C, settings.k, fixed))  # fmt: skip


def parse_grid(texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return what `--grid` says: a setting and its values.

    >>> parse_grid(["C=0.1,1", "gamma=0.01"])
    {'C': (0.1, 1.0), 'gamma': (0.01,)}
    """
    grid: dict[str, tuple[float, ...]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        try:
            numbers = tuple(float(value) for value in values.split(","))
            whole = name != "k" or all(number == int(number) for number in numbers)
            if not (all(0 < number < np.inf for number in numbers) and whole):
                raise ValueError
        except ValueError:
            raise UsageError(
                f"--grid {text}: expected NAME=VALUE,VALUE with numbers above 0 (k: whole ones), "
                "such as C=0.01,0.1,1"
            ) from None
        if name in grid:
            raise UsageError(f"--grid {text}: {name} stands twice; give all its values at once")
        grid[name] = numbers
    return grid


def chosen_of(settings: ProbeSettings, kind: str, d: int) -> str:
    """Return the searched constants of a candidate for people, such as `C = 0.1, gamma = 0.01`."""
    names = parse_grid(settings.grid) or PROBES[settings.probe].grid(settings, kind, d)
    return ", ".join(f"{name} = {getattr(settings, name):.4g}" for name in names)


# --- support vector machines ---------------------------------------------------------------------


def _kernel(settings: ProbeSettings, kind: str) -> str:
    if settings.kernel != "auto":
        return settings.kernel
    return "rbf" if kind == "regression" else "linear"


def _svc(settings: ProbeSettings, x: Array, seed: int) -> Any:
    from sklearn.svm import SVC

    gamma = settings.gamma or 1 / x.shape[1]
    return SVC(kernel=_kernel(settings, "multiclass"), C=settings.C, gamma=gamma)


def _svr(x: Array, y: Array, x_test: Array, settings: ProbeSettings, seed: int) -> Predicted:
    from sklearn.svm import SVR

    def fit(target: Array) -> Array:
        gamma = settings.gamma or 1 / x.shape[1]
        kernel = _kernel(settings, "regression")
        model = SVR(kernel=kernel, C=settings.C, gamma=gamma, epsilon=EPSILON)
        predicted: Array = model.fit(x, target).predict(x_test)
        return predicted

    return Predicted(_standardised(fit, y) if settings.target == "standard" else fit(y))


def _svm_described(settings: ProbeSettings, kind: str) -> str:
    kernel = _kernel(settings, kind)
    said = f"{'linear' if kernel == 'linear' else 'RBF'} svm, C = {settings.C:g}"
    if kernel == "rbf":
        said += f", gamma = {f'{settings.gamma:g}' if settings.gamma else '1/d'}"
    if kind == "regression":
        said += f", {settings.target} target"
    return said


def _svm_grid(settings: ProbeSettings, kind: str, d: int) -> dict[str, tuple[float, ...]]:
    if _kernel(settings, kind) == "linear":
        return {"C": DECADES}
    return {"C": DECADES[1:], "gamma": (0.1 / d, 1 / d, 10 / d)}


# --- logistic regression -------------------------------------------------------------------------


def _logistic(settings: ProbeSettings, x: Array, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=settings.C, max_iter=MAX_ITERATIONS)


def _logistic_mixtures(
    x: Array, y: Array, x_test: Array, settings: ProbeSettings, seed: int
) -> Predicted:
    """Fit a softmax of a linear map by the cross-entropy with distributions [n, d].

    For distributions that are certain of one component this is multinomial logistic regression.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp, softmax

    n, d, k = len(x), x.shape[1], y.shape[1]
    y = y / y.sum(axis=1, keepdims=True)
    penalty = 1 / (settings.C * n)

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(d + 1, k)
        logits = x @ weights[:-1] + weights[-1]
        value = (logsumexp(logits, axis=1) - (y * logits).sum(axis=1)).mean()
        value += penalty / 2 * np.square(weights[:-1]).sum()
        error = (softmax(logits, axis=1) - y) / n
        gradient = np.vstack([x.T @ error + penalty * weights[:-1], error.sum(axis=0)])
        return float(value), gradient.ravel()

    start = np.zeros((d + 1) * k)
    limits = {"maxiter": MAX_ITERATIONS, "gtol": 1e-6, "ftol": 1e-12}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=limits)
    weights = found.x.reshape(d + 1, k)
    chances = softmax(x_test @ weights[:-1] + weights[-1], axis=1)
    return Predicted(chances, converged=found.nit < MAX_ITERATIONS)


# --- ridge regression ----------------------------------------------------------------------------


def _ridge(settings: ProbeSettings, x: Array, seed: int) -> Any:
    from sklearn.linear_model import RidgeClassifier

    return RidgeClassifier(alpha=1 / settings.C)


def _ridge_numbers(
    x: Array, y: Array, x_test: Array, settings: ProbeSettings, seed: int
) -> Predicted:
    from sklearn.linear_model import Ridge

    return Predicted(Ridge(alpha=1 / settings.C).fit(x, y).predict(x_test))


# --- nearest neighbours --------------------------------------------------------------------------


def _knn(settings: ProbeSettings, x: Array, seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=min(settings.k, len(x)), algorithm="brute")


def _knn_mean(x: Array, y: Array, x_test: Array, settings: ProbeSettings, seed: int) -> Predicted:
    """Predict the mean of the neighbours' labels: of 0 and 1 their share, of distributions one."""
    from sklearn.neighbors import KNeighborsRegressor

    model = KNeighborsRegressor(n_neighbors=min(settings.k, len(x)), algorithm="brute")
    return Predicted(model.fit(x, y.astype(np.float64)).predict(x_test))


# --- multilayer perceptron -----------------------------------------------------------------------


def _limits(settings: ProbeSettings, seed: int) -> dict[str, Any]:
    return {"alpha": 1 / settings.C, "max_iter": EPOCHS, "random_state": seed}


def _perceptron(settings: ProbeSettings, x: Array, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(hidden_layer_sizes=(HIDDEN,), **_limits(settings, seed))


def _mlp_tags(x: Array, y: Array, x_test: Array, settings: ProbeSettings, seed: int) -> Predicted:
    model = _perceptron(settings, x, seed)
    if y.shape[1] > 1:
        return Predicted(model.fit(x, y.astype(np.int64)).predict_proba(x_test))
    return Predicted(model.fit(x, y[:, 0]).predict_proba(x_test)[:, 1:])


def _mlp_numbers(
    x: Array, y: Array, x_test: Array, settings: ProbeSettings, seed: int
) -> Predicted:
    from sklearn.neural_network import MLPRegressor

    def fit(target: Array) -> Array:
        model = MLPRegressor(hidden_layer_sizes=(HIDDEN,), **_limits(settings, seed))
        predicted: Array = model.fit(x, target).predict(x_test)
        return predicted

    return Predicted(_standardised(fit, y))


# --- what they share -----------------------------------------------------------------------------


def _standardised(fit: Callable[[Array], Array], y: Array) -> Array:
    """Fit the target at zero mean and unit variance, and predict in its own unit."""
    mean, sd = float(y.mean()), float(y.std())
    if sd == 0:  # a constant train part has no scale of its own
        sd = 1.0
    return fit((y - mean) / sd) * sd + mean


def _classes(make: Callable[[ProbeSettings, Array, int], Any], *, chances: bool) -> Fit:
    """Predict classes by a classifier; with `chances` where its probabilities are fitted ones."""

    def fit(x: Array, y: Array, x_test: Array, settings: ProbeSettings, seed: int) -> Predicted:
        if (y == y[0]).all():
            sure = np.ones((len(x_test), 1)) if chances else None
            return Predicted(np.full(len(x_test), y[0]), sure, y[:1].tolist())
        model = make(settings, x, seed).fit(x, y)
        found = model.predict_proba(x_test) if chances else None
        return Predicted(
            model.predict(x_test), found, model.classes_.tolist(), _converged(model, settings)
        )

    return fit


def _one_a_tag(make: Callable[[ProbeSettings, Array, int], Any]) -> Fit:
    """Score tags by a classifier each."""

    def fit(x: Array, y: Array, x_test: Array, settings: ProbeSettings, seed: int) -> Predicted:
        scores, converged = np.zeros((len(x_test), y.shape[1])), True
        for tag in range(y.shape[1]):
            model = make(settings, x, seed).fit(x, y[:, tag])
            scores[:, tag] = model.decision_function(x_test)
            converged &= _converged(model, settings)
        return Predicted(scores, converged=converged)

    return fit


def _varying(fit_tags: Fit) -> Fit:
    """Let a model see only the tags that some training rows have and some lack."""

    def fit(x: Array, y: Array, x_test: Array, settings: ProbeSettings, seed: int) -> Predicted:
        scores = np.zeros((len(x_test), y.shape[1]))
        varies = (y.sum(axis=0) > 0) & (y.sum(axis=0) < len(y))
        if not varies.any():
            return Predicted(scores)
        found = fit_tags(x, y[:, varies], x_test, settings, seed)
        scores[:, varies] = found.values
        return found._replace(values=scores)

    return fit


def _converged(model: Any, settings: ProbeSettings) -> bool:
    """Return False when the logistic regression stopped at its limit; the others stop by rule."""
    return settings.probe != "logistic" or int(np.max(model.n_iter_)) < MAX_ITERATIONS


def _table_row(
    classes: Fit, tags: Fit, numbers: Fit | None = None, mixtures: Fit | None = None
) -> dict[str, Fit]:
    fits = {
        "multiclass": classes,
        "multilabel": _varying(tags),
        "regression": numbers,
        "ordinal": classes,
        "distribution": mixtures,
    }
    return {kind: fit for kind, fit in fits.items() if fit is not None}


PROBES: dict[str, Probe] = {
    "svm": Probe(
        _table_row(_classes(_svc, chances=False), _one_a_tag(_svc), _svr),
        _svm_described,
        _svm_grid,
    ),
    "logistic": Probe(
        _table_row(
            _classes(_logistic, chances=True), _one_a_tag(_logistic), None, _logistic_mixtures
        ),
        lambda settings, kind: f"logistic, C = {settings.C:g}",
        lambda settings, kind, d: {"C": DECADES},
        in_threads=False,
    ),
    "ridge": Probe(
        _table_row(_classes(_ridge, chances=False), _one_a_tag(_ridge), _ridge_numbers),
        lambda settings, kind: f"ridge, alpha = {1 / settings.C:g}",
        lambda settings, kind, d: {"C": (0.0001, 0.001, 0.01, 0.1, 1.0)},
    ),
    "knn": Probe(
        _table_row(_classes(_knn, chances=False), _knn_mean, _knn_mean, _knn_mean),
        lambda settings, kind: f"knn, k = {settings.k}",
        lambda settings, kind, d: {"k": (1, 3, 5, 9, 15, 25)},
    ),
    "mlp": Probe(
        _table_row(_classes(_perceptron, chances=True), _mlp_tags, _mlp_numbers),
        lambda settings, kind: f"mlp of {HIDDEN}, alpha = {1 / settings.C:g}",
        lambda settings, kind, d: {"C": (0.01, 1.0, 100.0)},
        in_threads=False,
    ),
}
"""The probes by name: `ProbeSettings.probe` names the same."""

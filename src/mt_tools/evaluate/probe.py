"""Probes: how much a simple model can tell from embeddings.

Goal: compare representations by a fixed model over many splits, as the REP study and Choi et al.
(2017) do. Constants are never tuned: a linear SVM with C = 1 for classes, an SVM with an RBF
kernel, C = 1 and gamma = 1/d for regression on the target as it is. Tags are one model each.
The scaler (zero mean, unit variance) is fitted on the train part of each split only.

Labels are the wire's, as in `score`. Rows without a label or with a vector that is not finite are
left out and counted. Splits are stratified by class or tag, grouped where groups are known, and
never separate an origin. The interval of the mean is corrected for overlapping train parts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mt_tools import metrics, splits
from mt_tools.errors import UsageError
from mt_tools.evaluate.intervals import corrected_resampled_t
from mt_tools.evaluate.score import class_names, multi_hot, present
from mt_tools.evaluate.settings import ProbeSettings
from mt_tools.metrics import Score

Array = NDArray[Any]
Pair = tuple[NDArray[np.int64], NDArray[np.int64]]

DEFAULT_FOLDS = 10
EPSILON = 0.1  # libsvm's default tube, which REP leaves as it is
MAX_ITERATIONS = 2000  # of the logistic regression; tens suffice on standardised vectors
UNGROUPED = (
    "ungrouped: one artist may stand in train and test, which flatters the embedding; "
    "give a group column for an honest split"
)


@dataclass(frozen=True)
class Summary:
    """One metric over the splits: mean, standard deviation, 95 % interval, each split's value."""

    value: float
    sd: float
    low: float
    high: float
    values: list[float]
    reason: str = ""


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found.

    `metrics` by name, the kind's headline metric first; `n` rows used; `unlabelled` and
    `unusable` (vector not finite) rows left out; `classes` with their rows (none for
    regression); `protocol` for people, such as `10 folds, stratified, grouped`.
    """

    kind: str
    metrics: dict[str, Summary]
    n: int
    unlabelled: int
    unusable: int
    classes: dict[str, int]
    splits: int
    grouped: bool
    protocol: str
    notes: list[str] = field(default_factory=list)


def probe(
    x: Array,
    y: Array,
    kind: str,
    groups: splits.Column | None = None,
    origins: splits.Column | None = None,
    settings: ProbeSettings | None = None,
    *,
    jobs: int = 1,
    pairs: Sequence[Pair] | None = None,
    task: str = "the task",
) -> ProbeResult:
    """Fit and test a simple model on embeddings over repeated splits or folds.

    `x`: [n, d] vectors; `y`: [n] labels of `kind` (multiclass, multilabel, regression); `groups`,
    `origins`: [n], None where unknown; `jobs`: threads, which never change the result; `pairs`:
    (train rows, test rows) instead of drawn ones, for tables that carry their own folds; `task`
    names the label in messages. Raises `UsageError` when there is nothing to learn: no label, one
    class, a constant target, or splits that cannot be drawn.
    """
    settings = settings or ProbeSettings()
    x, y = np.asarray(x, np.float64), np.asarray(y)
    if x.ndim != 2 or len(x) != len(y):
        raise UsageError(
            f"got vectors of shape {x.shape} for {len(y)} labels of {task}, expected "
            "[rows, dimensions]: pool features to one vector a row with mt-embed first"
        )
    labelled, usable = present(y), np.isfinite(x).all(axis=1)
    rows = np.flatnonzero(labelled & usable)
    if not len(rows):
        raise UsageError(
            f"nothing to probe for {task}: of {len(y)} rows {int(labelled.sum())} are labelled, "
            f"{int(usable.sum())} have a finite vector and none has both"
        )
    target = _target(y[rows], kind, task)
    group = None if groups is None else np.asarray(groups, object)[rows]
    origin = rows if origins is None else np.asarray(origins, object)[rows]
    if pairs is None:
        plan = _drawn(target, group, origin, settings)
    else:
        plan = _given(pairs, rows, len(y), group)
    notes = [*plan.notes, *_target_notes(target, settings)]

    outcomes = _run(x[rows], target, plan.pairs, settings, jobs)
    if not all(outcome.converged for outcome in outcomes):
        notes.append(f"the logistic regression did not converge in {MAX_ITERATIONS} iterations")
    return ProbeResult(
        kind=kind,
        metrics={
            name: _summary(name, [outcome.scores[name] for outcome in outcomes], plan.test_share)
            for name in outcomes[0].scores
        },
        n=len(rows),
        unlabelled=int((~labelled).sum()),
        unusable=int((labelled & ~usable).sum()),
        classes=target.counts,
        splits=len(plan.pairs),
        grouped=plan.grouped,
        protocol=plan.protocol,
        notes=notes,
    )


# --- labels --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Target:
    """Labels ready to learn: `y` int codes [n], bool [n, tags] or floats [n]."""

    kind: str
    y: Array
    names: list[str]
    labels: Array | None  # to stratify by

    @property
    def counts(self) -> dict[str, int]:
        if self.kind == "regression":
            return {}
        counts = (
            np.bincount(self.y, minlength=len(self.names)) if self.y.ndim == 1 else self.y.sum(0)
        )
        return dict(zip(self.names, counts.tolist(), strict=True))


def _target(labels: Array, kind: str, task: str) -> _Target:
    if kind == "multiclass":
        named = class_names(labels)
        found, codes = np.unique(named, return_inverse=True)
        names = found.tolist()
        if len(names) < 2:
            raise UsageError(
                f"{task} has one class only, {names[0]!r} in all {len(codes)} labelled rows: "
                "a probe needs at least two"
            )
        return _Target(kind, codes, names, named)
    if kind == "multilabel":
        names = sorted({tag for tags in labels for tag in tags})
        hot, _ = multi_hot(labels, names)
        if not any(0 < count < len(hot) for count in hot.sum(axis=0)):
            every = f"the tags {', '.join(names[:5])} on every row" if names else "no tag at all"
            raise UsageError(
                f"{task} has {every} in {len(hot)} labelled rows: a probe needs a tag that some "
                "rows have and some lack"
            )
        return _Target(kind, hot, names, labels)
    if kind == "regression":
        values = labels.astype(np.float64)
        if (values == values[0]).all():
            raise UsageError(
                f"{task} is {values[0]:g} in all {len(values)} labelled rows: a probe needs a "
                "target that varies"
            )
        return _Target(kind, values, [], None)
    raise UsageError(
        f"got the kind {kind!r} for {task}, expected multiclass, multilabel or regression"
    )


# --- splits --------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """The splits, as positions among the rows used, and what to say about them."""

    pairs: list[Pair]
    test_share: float
    grouped: bool
    protocol: str
    notes: list[str]


def _drawn(target: _Target, group: Array | None, origin: Array, settings: ProbeSettings) -> _Plan:
    """Draw the splits that the settings ask for; `group`, `origin`: those of the rows used."""
    if settings.repeats and settings.folds:
        raise UsageError(
            f"got --repeats {settings.repeats} and --folds {settings.folds}: give one of them"
        )
    known = group is not None and bool(present(group).any())
    if settings.grouped == "yes" and not known:
        raise UsageError("got --grouped yes but no row has a group: give a group column")
    grouped = known and settings.grouped != "no"
    names = group if grouped else None
    how = ["stratified"] * (target.labels is not None) + ["grouped"] * grouped
    notes = [] if grouped else [UNGROUPED]

    if settings.repeats:
        pairs = splits.repeats(
            origin, settings.repeats, settings.test, names, target.labels, seed=settings.seed
        )
        protocol = ", ".join([f"{settings.repeats} repeats of {settings.test:g} tested", *how])
        return _Plan(list(pairs), settings.test, grouped, protocol, notes)

    k = settings.folds or DEFAULT_FOLDS
    fold = splits.folds(origin, k, names, target.labels, seed=settings.seed)
    if target.labels is not None and (thin := splits.thin_labels(origin, names, target.labels, k)):
        shown = ", ".join(f"{label} ({number})" for label, number in list(thin.items())[:5])
        noun = "groups" if grouped else "rows"
        notes.append(f"fewer {noun} than the {k} folds, so not tested in every fold: {shown}")
    protocol = ", ".join([f"{k} folds", *how])
    return _Plan(list(splits.fold_pairs(fold)), 1 / k, grouped, protocol, notes)


def _given(given: Sequence[Pair], rows: Array, total: int, group: Array | None) -> _Plan:
    """Take splits of all `total` rows over to the rows used."""
    place = np.full(total, -1)
    place[rows] = np.arange(len(rows))
    pairs = []
    for train, test in given:
        train, test = place[train], place[test]
        pairs.append((train[train >= 0], test[test >= 0]))
    pairs = [(train, test) for train, test in pairs if len(train) and len(test)]
    if not pairs:
        raise UsageError("no split has labelled rows to train on and to test on")
    grouped = group is not None and bool(present(group).any())
    if group is not None:
        grouped &= not any({*group[train]} & {*group[test]} - {None} for train, test in pairs)
    share = float(np.mean([len(test) / (len(train) + len(test)) for train, test in pairs]))
    notes = [] if grouped else [UNGROUPED]
    return _Plan(pairs, share, grouped, f"{len(pairs)} given splits", notes)


def _target_notes(target: _Target, settings: ProbeSettings) -> list[str]:
    """Say when a raw target does not suit the SVM's constants."""
    if target.kind != "regression" or settings.probe != "svm" or settings.target != "raw":
        return []
    spread = float(target.y.std())
    if EPSILON <= spread <= 10:
        return []
    return [
        f"the target's standard deviation is {spread:.3g}, which does not suit C = {settings.C:g} "
        f"and a tube of {EPSILON:g}: try --target standard"
    ]


# --- models --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Outcome:
    scores: dict[str, Score]
    converged: bool


def _run(
    x: Array, target: _Target, pairs: Sequence[Pair], settings: ProbeSettings, jobs: int
) -> list[_Outcome]:
    from joblib import Parallel, delayed  # type: ignore[import-untyped]
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    # One BLAS thread a split: the sums, and so the results, do not depend on `jobs`. libsvm
    # releases the interpreter lock, so threads are enough.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        work = (delayed(_test)(x, target, train, test, settings) for train, test in pairs)
        return list(Parallel(n_jobs=max(1, jobs), prefer="threads")(work))


def _test(
    x: Array, target: _Target, train: Array, test: Array, settings: ProbeSettings
) -> _Outcome:
    """Fit on the rows `train` and measure on the rows `test`."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x[train])
    return _TESTS[target.kind](
        scaler.transform(x[train]),
        target.y[train],
        scaler.transform(x[test]),
        target.y[test],
        settings,
    )


def _test_multiclass(
    x: Array, y: Array, x_test: Array, y_test: Array, settings: ProbeSettings
) -> _Outcome:
    chances = None
    if (y == y[0]).all():
        classes, predicted = y[:1].tolist(), np.full(len(y_test), y[0])
        if settings.probe == "logistic":
            chances = np.ones((len(y_test), 1))
        return _Outcome(metrics.multiclass(y_test, predicted, chances, classes), converged=True)
    model = _classifier(settings, x.shape[1]).fit(x, y)
    if settings.probe == "logistic":
        chances = model.predict_proba(x_test)
    scores = metrics.multiclass(y_test, model.predict(x_test), chances, model.classes_.tolist())
    return _Outcome(scores, _converged(model, settings))


def _test_multilabel(
    x: Array, y: Array, x_test: Array, y_test: Array, settings: ProbeSettings
) -> _Outcome:
    """One model a tag; a tag that the train part has never or always scores the same everywhere."""
    scores = np.zeros(y_test.shape)
    converged = True
    for tag in range(y.shape[1]):
        if 0 < y[:, tag].sum() < len(y):
            model = _classifier(settings, x.shape[1]).fit(x, y[:, tag])
            scores[:, tag] = model.decision_function(x_test)
            converged &= _converged(model, settings)
    return _Outcome(metrics.multilabel(y_test, scores), converged)


def _test_regression(
    x: Array, y: Array, x_test: Array, y_test: Array, settings: ProbeSettings
) -> _Outcome:
    from sklearn.linear_model import Ridge
    from sklearn.svm import SVR

    if settings.probe == "logistic":
        raise UsageError("a logistic regression predicts classes: probe a number by svm or ridge")
    if settings.probe == "ridge":
        predicted = Ridge(alpha=1 / settings.C).fit(x, y).predict(x_test)
    else:
        # A constant train part has no scale of its own.
        scaled = settings.target == "standard" and y.std() > 0
        mean, sd = (y.mean(), y.std()) if scaled else (0.0, 1.0)
        kernel = "rbf" if settings.kernel == "auto" else settings.kernel
        model = SVR(
            kernel=kernel, C=settings.C, gamma=_gamma(settings, x.shape[1]), epsilon=EPSILON
        )
        predicted = model.fit(x, (y - mean) / sd).predict(x_test) * sd + mean
    return _Outcome(metrics.regression(y_test, predicted), converged=True)


_TESTS: dict[str, Callable[[Array, Array, Array, Array, ProbeSettings], _Outcome]] = {
    "multiclass": _test_multiclass,
    "multilabel": _test_multilabel,
    "regression": _test_regression,
}


def _classifier(settings: ProbeSettings, dimensions: int) -> Any:
    from sklearn.linear_model import LogisticRegression, RidgeClassifier
    from sklearn.svm import SVC

    if settings.probe == "logistic":
        return LogisticRegression(C=settings.C, max_iter=MAX_ITERATIONS)
    if settings.probe == "ridge":
        return RidgeClassifier(alpha=1 / settings.C)
    kernel = "linear" if settings.kernel == "auto" else settings.kernel
    return SVC(kernel=kernel, C=settings.C, gamma=_gamma(settings, dimensions))


def _gamma(settings: ProbeSettings, dimensions: int) -> float:
    return settings.gamma or 1 / dimensions


def _converged(model: Any, settings: ProbeSettings) -> bool:
    """Return False when the logistic regression stopped at its limit; the others have none."""
    return settings.probe != "logistic" or int(np.max(model.n_iter_)) < MAX_ITERATIONS


def _summary(name: str, scores: Sequence[Score], test_share: float) -> Summary:
    """Summarise one metric over the splits; splits where it is undefined are left out, and said."""
    values = np.array([value for value, _ in scores])
    defined = values[np.isfinite(values)]
    interval = corrected_resampled_t(values, test_share)
    least, most = metrics.RANGES[name]  # Student's interval knows no bounds, an accuracy does
    reasons = [reason for _, reason in scores if reason]
    return Summary(
        value=float(defined.mean()) if len(defined) else float("nan"),
        sd=float(defined.std(ddof=1)) if len(defined) > 1 else float("nan"),
        low=max(interval.low, least),
        high=min(interval.high, most),
        values=values.tolist(),
        reason="; ".join(dict.fromkeys([*filter(None, [interval.reason]), *reasons])),
    )

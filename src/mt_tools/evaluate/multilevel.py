"""What the number of learning sources, the strategy and each source do to a representation.

Goal: the analysis of the REP study (sections 5.2.1 and 5.3) for runs on several tasks, where plain
means over tasks would mix differences of difficulty with differences of method.

`effects` is the study's multilevel linear model. With m the number of sources, task t, strategy s:

    value = a + b m + (a_t + b_t m) + (a_s + b_s m) + (a_ts + b_ts m) + noise

a and b are fixed; the terms in brackets, an intercept and a slope for each task, each strategy and
each pair of them, are random, uncorrelated and normal. Their standard deviations say how much the
tasks (the strategies) differ in level and in what a source more gives them. m is centred, so that
an intercept is the level at the mean number of sources.

`source_components` is the study's Table 6: within one task, the standard deviation of a random
effect of having a source or not, all sources at once (Searle, Casella and McCulloch, "Variance
components", 1992).

Both are fitted by restricted maximum likelihood, with statsmodels. Values enter as they are: the
study does not standardise them within a task, so tasks of larger spread weigh more.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import RunError, UsageError

Floats = NDArray[Any]
_Z = 1.959963984540054  # the normal quantile of an interval of 95 %
_IMPOSSIBLE = -1e12  # a log likelihood below that of any data
_ZERO = 1e-5  # a deviation in units of that of the values, below which it is none
PAIR = " x "


class Effect(NamedTuple):
    """One line of the model.

    `kind`: `fixed`, of all tasks; `sd`, a standard deviation of random effects; `task`, `strategy`
    or `pair`, the deviation of one of them; `source`, a component of variance, as a standard
    deviation. `name`: of the task, strategy or pair, or of the source, `residual` for the noise;
    for `sd` what varies. `term`: `intercept` or `sources` (a source more). `low`, `high`: 95 %
    interval, NaN for deviations of the model. `p`: of a fixed effect by Student's t, of `sd` by the
    likelihood ratio against the model without it.
    """

    kind: str
    name: str
    term: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")


class _Term(NamedTuple):
    """A random effect: of what, on which term, and the indicator matrix [n, levels]."""

    kind: str
    term: str
    levels: list[str]
    matrix: Floats


class _Fit(NamedTuple):
    """A fitted model in the unit of the values: REML log-likelihood, fixed effects, deviations."""

    likelihood: float
    fixed: Floats
    fixed_error: Floats
    sd: list[float]
    residual: float
    random: list[Floats]
    random_error: list[Floats]


def effects(
    values: Floats,
    tasks: Sequence[str],
    counts: Sequence[int],
    strategies: Sequence[str] | None = None,
) -> list[Effect]:
    """Fit the multilevel model; return fixed effects, deviations, and the effects of each level.

    `values`: [n] a metric of each run on each task; `tasks`, `counts`, `strategies`: [n] the task,
    the number of sources, the strategy. What has one level only is left out of the model. Intervals
    of tasks and strategies are those of their random effects given the data, all else known. Raises
    `UsageError` where the number of sources does not vary or rows are too few.
    """
    y, m = np.asarray(values, np.float64), np.asarray(counts, np.float64)
    if not m.size or np.ptp(m) == 0:
        raise UsageError(
            "every run has the same number of sources: their effect needs runs that differ in it"
        )
    centred = m - m.mean()
    factors = {"task": list(tasks)}
    if strategies is not None:
        factors["strategy"] = list(strategies)
        factors["pair"] = [f"{t}{PAIR}{s}" for t, s in zip(tasks, strategies, strict=True)]
    factors = {kind: names for kind, names in factors.items() if len(set(names)) > 1}
    if "pair" in factors and len(factors) < 3:
        del factors["pair"]  # of one task or one strategy it is the other
    terms = []
    for kind, names in factors.items():
        levels = sorted(set(names))
        matrix = _indicators(names, levels)
        # A level whose runs all have one number of sources says nothing of a slope; as its effect
        # is drawn towards zero it does no harm.
        terms.append(_Term(kind, "intercept", levels, matrix))
        terms.append(_Term(kind, "sources", levels, matrix * centred[:, None]))
    wanted = 4 + len(terms)
    if len(y) < wanted:
        raise UsageError(
            f"got {len(y)} values, expected {wanted} or more to fit {len(terms) + 3} parameters: "
            "give more runs or tasks"
        )
    fixed = np.column_stack([np.ones(len(y)), centred])
    fit = _fit(y, fixed, terms)
    found: list[Effect] = []
    both = ("intercept", "sources")
    freedom = _freedom(fixed, terms, fit)
    for name, value, error, df in zip(both, fit.fixed, fit.fixed_error, freedom, strict=True):
        low, high, p = _student(float(value), float(error), float(df))
        found.append(Effect("fixed", "", name, float(value), low, high, p))
    for place, term in enumerate(terms):
        rest = _fit(y, fixed, terms[:place] + terms[place + 1 :])
        p = _boundary(2 * (fit.likelihood - rest.likelihood))
        found.append(Effect("sd", term.kind, term.term, fit.sd[place], p=p))
    found.append(Effect("sd", "residual", "", fit.residual))
    for term, deviations, errors in zip(terms, fit.random, fit.random_error, strict=True):
        found += [
            Effect(term.kind, level, term.term, float(value), *_ends(value, error))
            for level, value, error in zip(term.levels, deviations, errors, strict=True)
        ]
    return found


def source_components(values: Floats, sources: Sequence[Sequence[str]]) -> list[Effect]:
    """Return the component of variance of each source within one task, as standard deviations.

    `values`: [runs]; `sources`: those of each run. A source that every run has, or none, has no
    component and is left out. The last line is the residual. Raises `UsageError` for too few runs.
    """
    y = np.asarray(values, np.float64)
    names = sorted({name for row in sources for name in row})
    terms = []
    for name in names:
        has = np.array([name in row for row in sources])
        if has.any() and not has.all():
            terms.append(_Term("source", name, ["without", "with"], np.stack([~has, has], axis=1)))
    if not terms:
        raise UsageError("no source is in some runs and not in others: nothing to compare")
    if len(y) < len(terms) + 2:
        raise UsageError(
            f"got {len(y)} runs for {len(terms)} sources, expected {len(terms) + 2} or more"
        )
    fit = _fit(y, np.ones((len(y), 1)), terms)
    found = [Effect("source", t.term, "", sd) for t, sd in zip(terms, fit.sd, strict=True)]
    return [*found, Effect("source", "residual", "", fit.residual)]


def _indicators(names: Sequence[str], levels: Sequence[str]) -> Floats:
    return (np.asarray(names, object)[:, None] == np.asarray(levels, object)).astype(np.float64)


def _fit(y: Floats, fixed: Floats, terms: Sequence[_Term]) -> _Fit:
    """Fit by restricted maximum likelihood; each term of `terms` has one variance.

    Values and columns are scaled first, since a search ends at a tolerance that knows no units.
    """
    spread = float(y.std())
    if spread == 0:
        raise UsageError(f"every value is {y[0]:g}: nothing to explain")
    if not terms:
        return _least_squares(y, fixed)
    try:
        from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec
    except ImportError as error:
        raise RunError(
            "the multilevel model needs statsmodels: pip install 'mt-tools[stats]'"
        ) from error

    class Bounded(MixedLM):
        """The model, of which the search may try variances that no computer can invert."""

        def loglike(self, params: Any, profile_fe: bool = True) -> float:
            try:
                found = float(super().loglike(params, profile_fe))
            except np.linalg.LinAlgError:
                return _IMPOSSIBLE
            return found if np.isfinite(found) else _IMPOSSIBLE

    units = np.sqrt(np.square(fixed).mean(axis=0))
    sizes = [float(np.sqrt(np.square(t.matrix).sum(axis=1).mean())) for t in terms]
    names = [f"{place:02d}" for place in range(len(terms))]
    columns = [[[str(i) for i in range(t.matrix.shape[1])]] for t in terms]
    matrices = [[t.matrix / size] for t, size in zip(terms, sizes, strict=True)]
    model = Bounded(
        y / spread, fixed / units, np.zeros(len(y)), exog_vc=VCSpec(names, columns, matrices)
    )
    with warnings.catch_warnings():
        # A variance of zero is a result here, and not a failure.
        warnings.simplefilter("ignore")
        # Of statsmodels' methods Powell's alone finds the optimum where variances are zero; those
        # by gradient stop early and say that they converged.
        result: Any = model.fit(reml=True, method=["powell"], ftol=1e-9, xtol=1e-5)
        deviations = np.asarray(result.random_effects[0.0])
        errors = np.sqrt(np.clip(np.diag(np.asarray(result.random_effects_cov[0.0])), 0, None))
        fixed_error = np.asarray(result.bse_fe) * spread / units
    if not result.converged:
        raise RunError("the multilevel model did not converge: leave out a factor, or give runs")
    edges = np.cumsum([t.matrix.shape[1] for t in terms])[:-1]
    sd = np.sqrt(np.clip(np.asarray(result.vcomp), 0, None))
    # The search comes near to a variance of zero and never quite there.
    scale = np.where(sd > _ZERO, spread / np.array(sizes), 0.0)
    return _Fit(
        likelihood=float(result.llf),
        fixed=np.asarray(result.fe_params) * spread / units,
        fixed_error=fixed_error,
        sd=(sd * scale).tolist(),
        residual=float(np.sqrt(result.scale)) * spread,
        random=[part * s for part, s in zip(np.split(deviations, edges), scale, strict=True)],
        random_error=[part * s for part, s in zip(np.split(errors, edges), scale, strict=True)],
    )


def _least_squares(y: Floats, fixed: Floats) -> _Fit:
    """Fit without random effects: one task and one strategy. Nothing is left to compare it with."""
    beta = np.linalg.lstsq(fixed, y)[0]
    variance = float(np.square(y - fixed @ beta).sum() / (len(y) - fixed.shape[1]))
    error = np.sqrt(variance * np.diag(np.linalg.inv(fixed.T @ fixed)))
    return _Fit(float("nan"), beta, error, [], variance**0.5, [], [])


def _ends(value: float, error: float) -> tuple[float, float]:
    return float(value - _Z * error), float(value + _Z * error)


def _student(value: float, error: float, df: float) -> tuple[float, float, float]:
    """Return the 95 % interval of a fixed effect, and the p-value of its being zero."""
    from scipy.special import stdtr, stdtrit

    half = float(stdtrit(df, 0.975)) * error
    p = float(2 * stdtr(df, -abs(value) / error)) if error else float("nan")
    return value - half, value + half, p


def _freedom(fixed: Floats, terms: Sequence[_Term], fit: _Fit) -> Floats:
    """Return the degrees of freedom of each fixed effect, after Satterthwaite (1946).

    An effect that differs from task to task is known by as many numbers as there are tasks, however
    many runs each has. Its variance is the sum of what each component adds to it, a component of k
    levels having k - 1 degrees of freedom: these add up to total^2 / sum(part^2 / freedom).
    """
    n, p = fixed.shape
    covariance = fit.residual**2 * np.eye(n)
    for term, sd in zip(terms, fit.sd, strict=True):
        covariance += sd**2 * (term.matrix @ term.matrix.T)
    weighted = np.linalg.solve(covariance, fixed)
    linear = np.linalg.solve(fixed.T @ weighted, weighted.T)  # what of each value is in an effect
    parts = [fit.residual**2 * np.square(linear).sum(axis=1)]
    freedom = [n - p]
    for term, sd in zip(terms, fit.sd, strict=True):
        parts.append(sd**2 * np.square(linear @ term.matrix).sum(axis=1))
        freedom.append(term.matrix.shape[1] - 1)
    squares = np.square(parts) / np.array(freedom)[:, None]
    return np.asarray(np.sum(parts, axis=0) ** 2 / squares.sum(axis=0))


def _boundary(ratio: float) -> float:
    """Return the p-value of a variance being zero, from the likelihood ratio.

    Zero is the end of its range: half of the time the ratio is 0, else chi-squared with one degree
    of freedom (Self and Liang 1987).
    """
    from scipy.special import chdtrc

    return 1.0 if ratio <= 0 else float(chdtrc(1, ratio) / 2)

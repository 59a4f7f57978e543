"""What runs over learning sources show without a model: averages, the best, and their spread.

Goal: the tables and figures of two studies, which need nothing but means. AGF: averages with and
without a source (Table 3), by number of sources (Figure 3), the best of each number (Table 5). REP:
by number of sources (Figure 8), the standard deviation (Figure 10), with and without the best
single source (Figure 12), whether the best single source is the one that matters (Figure 13).

All is of one metric on one task. The best of several runs is chosen on the values that are
reported, so that it looks better than it is; of more runs more so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mt_tools.evaluate.intervals import bootstrap, in_range

WITH, WITHOUT = "with", "without"
LEAST = 5
"""Runs of one number of sources from which on their spread has an interval."""
_STEPS = 100
Floats = NDArray[np.float64]
_NAN = float("nan")


class Scored(NamedTuple):
    """A run and its value."""

    run: str
    sources: frozenset[str]
    strategy: str | None
    value: float


class Line(NamedTuple):
    """One line of a result.

    `kind`: `average`, of runs with or without (`term`) the source `name`, or of those with `number`
    sources, or both; `best`, the best run `name` of that number; `spread`, a standard deviation;
    `trend`, by which factor a source more changes that; `single`, a source alone; `rank`, a
    correlation. `strategy` is None where all are taken together; `n`: of so many runs.
    """

    kind: str
    strategy: str | None = None
    name: str = ""
    term: str = ""
    number: int | None = None
    value: float = _NAN
    low: float = _NAN
    high: float = _NAN
    sd: float = _NAN
    p: float = _NAN
    n: int | None = None


def averages(runs: Sequence[Scored], lower: bool = False, seed: int = 0) -> list[Line]:
    """Return all that is said of runs; `lower` says that a smaller value is the better one."""
    parts = _by_strategy(runs)
    single = singles(runs)
    found = [line for strategy, own in parts for line in with_and_without(own, strategy)]
    found += [line for strategy, own in parts for line in by_number(own, strategy)]
    found += [line for strategy, own in parts for line in best_of_each(own, strategy, lower)]
    found += [Line("single", None, name, value=value, n=n) for name, (value, n) in single.items()]
    best = best_single(single, lower)
    if best is not None:
        for number, own in _numbers(runs):
            found += with_and_without(own, None, [best], number)
    found += [line for strategy, own in parts for line in spreads(own, strategy, seed)]
    return found


def _by_strategy(runs: Sequence[Scored]) -> list[tuple[str | None, list[Scored]]]:
    """Return the runs of each strategy, after all runs together."""
    names = sorted({run.strategy for run in runs if run.strategy is not None})
    parts: list[tuple[str | None, list[Scored]]] = [(None, list(runs))]
    if len(names) > 1 or any(run.strategy is None for run in runs):
        parts += [(name, [run for run in runs if run.strategy == name]) for name in names]
    return parts


def _numbers(runs: Sequence[Scored]) -> list[tuple[int, list[Scored]]]:
    """Return the runs of each number of sources."""
    found: dict[int, list[Scored]] = {}
    for run in runs:
        found.setdefault(len(run.sources), []).append(run)
    return sorted(found.items())


def _sources(runs: Sequence[Scored]) -> list[str]:
    return sorted({name for run in runs for name in run.sources})


def _average(
    runs: Sequence[Scored], strategy: str | None, name: str, term: str, number: int | None
) -> Line:
    values = np.array([run.value for run in runs])
    sd = float(values.std(ddof=1)) if len(values) > 1 else _NAN
    mean = float(values.mean())
    return Line("average", strategy, name, term, number, mean, sd=sd, n=len(values))


def with_and_without(
    runs: Sequence[Scored],
    strategy: str | None = None,
    names: Sequence[str] = (),
    number: int | None = None,
) -> list[Line]:
    """Return the average of the runs with each source, and of those without it."""
    found = []
    for name in names or _sources(runs):
        for term in (WITH, WITHOUT):
            own = [run for run in runs if (name in run.sources) == (term == WITH)]
            if own:
                found.append(_average(own, strategy, name, term, number))
    return found


def by_number(runs: Sequence[Scored], strategy: str | None = None) -> list[Line]:
    """Return the average of the runs of each number of sources."""
    return [_average(own, strategy, "", "", number) for number, own in _numbers(runs)]


def best_of_each(
    runs: Sequence[Scored], strategy: str | None = None, lower: bool = False
) -> list[Line]:
    """Return the best run of each number of sources; of equally good ones the first by name."""
    found = []
    for number, own in _numbers(runs):
        best = min(own, key=lambda run: (run.value if lower else -run.value, run.run))
        found.append(Line("best", strategy, best.run, "", number, best.value, n=len(own)))
    return found


def singles(runs: Sequence[Scored]) -> dict[str, tuple[float, int]]:
    """Return the value of each source alone, averaged over strategies, and of how many runs."""
    found: dict[str, list[float]] = {}
    for run in runs:
        if len(run.sources) == 1:
            found.setdefault(next(iter(run.sources)), []).append(run.value)
    return {name: (float(np.mean(found[name])), len(found[name])) for name in sorted(found)}


def best_single(single: Mapping[str, tuple[float, int]], lower: bool = False) -> str | None:
    """Return the source that is best alone; None where fewer than two were tried."""
    if len(single) < 2:
        return None
    return min(single, key=lambda name: single[name][0] * (1 if lower else -1))


def rank_correlation(
    single: Mapping[str, tuple[float, int]],
    components: Mapping[str, float],
    lower: bool = False,
) -> tuple[float, int]:
    """Return Spearman's correlation of how good sources are alone with their variance components.

    Over the sources that have both; and how many those are. NaN for fewer than three, and where
    either does not vary, as components that are all zero.
    """
    from scipy.stats import rankdata

    both = [name for name in single if components.get(name, _NAN) == components.get(name, _NAN)]
    both = [name for name in both if name in components]
    alone = rankdata([single[name][0] * (-1 if lower else 1) for name in both])
    parts = rankdata([components[name] for name in both])
    if len(both) < 3 or np.ptp(alone) == 0 or np.ptp(parts) == 0:
        return _NAN, len(both)
    return float(np.corrcoef(alone, parts)[0, 1]), len(both)


# --- spread --------------------------------------------------------------------------------------


class _Runs(NamedTuple):
    """Runs as arrays: their values, numbers of sources, and the cell of number and strategy."""

    values: Floats
    numbers: NDArray[np.int64]
    cells: NDArray[np.int64]

    def only(self, kept: NDArray[np.bool_]) -> _Runs:
        """Return some of the runs."""
        return _Runs(self.values[kept], self.numbers[kept], self.cells[kept])


def _arrays(runs: Sequence[Scored]) -> _Runs:
    known: dict[tuple[int, str | None], int] = {}
    cells = [known.setdefault((len(r.sources), r.strategy), len(known)) for r in runs]
    numbers = [len(run.sources) for run in runs]
    return _Runs(np.array([run.value for run in runs]), np.array(numbers), np.array(cells))


def _squares(runs: _Runs) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return squares whose mean is the variance within a strategy, freedom and numbers of runs.

    A square is that of the distance from the mean of the cell times n / (n - 1), of whose n - 1
    degrees of freedom a run has one nth. Runs that are alone in their cell are left out.
    """
    n = np.bincount(runs.cells)
    means = np.bincount(runs.cells, runs.values) / np.maximum(n, 1)
    kept = n[runs.cells] > 1
    cells, n = runs.cells[kept], n[runs.cells[kept]]
    squares = np.square(runs.values[kept] - means[cells]) * n / (n - 1)
    return squares, (n - 1) / n, runs.numbers[kept]


def spreads(runs: Sequence[Scored], strategy: str | None = None, seed: int = 0) -> list[Line]:
    """Return the standard deviation of the runs of each number of sources.

    It is that within a strategy: where runs of several are taken together, the root of the mean of
    their variances, so that a strategy that is better than another is no spread. The interval is a
    bootstrap of runs (BCa, 95 %), from `LEAST` runs on. It says what other sets of the same sources
    would have given, and with few runs it is too narrow.
    """
    every, _, numbers = _squares(_arrays(runs))
    found = []
    for number in np.unique(numbers):
        squares = every[numbers == number]
        value, low, high = float(np.sqrt(squares.mean())), _NAN, _NAN
        if len(squares) >= LEAST and np.ptp(squares) > 0:
            (interval,) = bootstrap(
                lambda rows, own=squares: np.sqrt(own[rows].mean()),  # type: ignore[misc]
                np.arange(len(squares)),
                rng=np.random.default_rng([seed, int(number)]),
            )
            low, high, _ = in_range(value, interval, (0.0, np.inf), len(squares))
        found.append(
            Line("spread", strategy, "", "", int(number), value, low, high, n=len(squares))
        )
    return found


def trends(tasks: Sequence[Sequence[Scored]]) -> list[Line]:
    """Test whether the spread falls with the number of sources; `tasks`: the runs on each task.

    The variance of runs of m sources is modelled as `exp(a + b m)`, a gamma model with logarithmic
    link, weighted by degrees of freedom; b is averaged over tasks. A source more changes the
    standard deviation by the factor `exp(b / 2)`, the `value` of a line. Sets of sources overlap,
    in two ways that make a trend look surer or larger than it is; hence three lines:

    `these sources`: what random sets of the same sources do. Given the sources, runs of different
    sets are independent; those of one set by several strategies are not. The error is that of a
    jackknife over sets.

    `beyond overlap`: of k sources, sets of m grow alike for want of others, and with m = k there is
    one only. Were a run the mean or the sum of what its sources give, its variance would have the
    factor `(k - m) / (k - 1)` for that alone, the finite population correction of sampling without
    replacement. Here it is taken out, and m = k left out: what remains is the trend of sets drawn
    of many such sources.

    `other sources`: what the same experiment with other sources would show. Runs that share a
    source are no longer independent, and large sets share nearly all. The error is that of a
    jackknife over sources, each time without all runs that have one of them; t has one degree of
    freedom less than there are sources.

    Limits. The first two say nothing of other sources; networks that several runs share (MSS-CR is
    made of those of SS-R) make their error too small. Beyond overlap takes too much out of spread
    that is not of sources, as that of training: a fall is certain then, the lack of one, or a rise,
    is not. Of other sources only clear trends are found, since each jackknife sample of a fraction
    lacks half of the runs. A trend that is not monotonous is summed up in one number: where one
    source decides (bpm in REP's Ballroom) the spread is largest when half of the runs have it. A
    line is absent where there are no two numbers of sources with two runs each.
    """
    names = sorted({name for runs in tasks for name in _sources(runs)})
    sets = sorted({run.sources for runs in tasks for run in runs}, key=sorted)
    n = sum(len(runs) for runs in tasks)
    arrays = [_arrays(runs) for runs in tasks]
    without_set = [[[run.sources != own for run in runs] for runs in tasks] for own in sets]
    without_source = [[[one not in run.sources for run in runs] for runs in tasks] for one in names]
    found = []
    for term, of, samples in (
        ("these sources", 0, without_set),
        ("beyond overlap", len(names), without_set),
        ("other sources", 0, without_source),
    ):
        whole = _slope(arrays, of)
        if whole == whole:
            partial = [
                _slope([own.only(np.array(k)) for own, k in zip(arrays, kept, strict=True)], of)
                for kept in samples
            ]
            low, high, p = _jackknife(whole, partial)
            value, low, high = (float(np.exp(end / 2)) for end in (whole, low, high))
            line = Line("trend", None, "spread", term, None, value, low, high, p=p, n=n)
            found.append(line)
    return found


def _jackknife(whole: float, partial: Sequence[float]) -> tuple[float, float, float]:
    """Return the interval of a slope, and its p-value, from those without one unit each."""
    from scipy.special import stdtr, stdtrit

    k = len(partial)
    if k < 3 or np.isnan(partial).any():
        return _NAN, _NAN, _NAN
    error = float(np.sqrt((k - 1) * np.var(partial)))
    half = float(stdtrit(k - 1, 0.975)) * error
    p = float(2 * stdtr(k - 1, -abs(whole) / error)) if error else _NAN
    return whole - half, whole + half, p


def _slope(tasks: Sequence[_Runs], of: int) -> float:
    """Return the mean over tasks of the slope of the logarithm of the variance; NaN without one.

    Of so many sources in all: then without the finite population correction.
    """
    return float(np.mean([_gamma_slope(*_squares(runs), of) for runs in tasks]))


def _gamma_slope(
    squares: Floats, freedom: Floats, numbers: NDArray[np.int64], of: int = 0
) -> float:
    """Return the slope of a gamma model with logarithmic link, fitted by maximum likelihood."""
    count = np.bincount(numbers)
    m = np.flatnonzero(count[:of] if of else count)
    y = np.bincount(numbers, squares)[m] / count[m]
    weights = np.bincount(numbers, freedom)[m]
    if len(m) < 2 or y.min() <= 0:
        return _NAN
    if of:
        y = y * (of - 1) / (of - m)
    y = y / y.mean()  # the slope knows no units
    x = np.column_stack([np.ones(len(m)), m - m.mean()])

    def deviance(beta: Floats) -> float:  # convex: any step that lowers it leads on
        return float(weights @ (y * np.exp(np.minimum(-x @ beta, 500)) + x @ beta))

    beta = np.linalg.lstsq(x, np.log(y))[0]
    for _ in range(_STEPS):  # by Newton's method
        ratio = weights * y * np.exp(-x @ beta)
        step = np.linalg.solve((x.T * ratio) @ x, x.T @ (ratio - weights))
        now = deviance(beta)
        while deviance(beta + step) > now and np.abs(step).max() > 1e-9:
            step /= 2
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[1])

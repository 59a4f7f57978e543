"""Confidence intervals of metrics.

Goal: say how far a reported number may be from what other music would have given.

Two situations. One set of predictions: `bootstrap` resamples whole clusters (artists, origins),
since rows of one cluster are not independent; the interval is bias-corrected and accelerated
(BCa: Efron, "Better bootstrap confidence intervals", 1987), and widened for few clusters. Where
that would take too long, `random_groups` takes the spread of the metric over disjoint groups of
clusters (K. M. Wolter, "Introduction to Variance Estimation", 2007, chapter 2), which costs about
as much as measuring once. Values of repeated splits or folds: `corrected_resampled_t`, because
training sets overlap and the plain t interval is far too narrow (Nadeau and Bengio, "Inference for
the generalization error", 2003). `bench/interval_coverage.py` measures how often they hold the
truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
DRAWS = 1000
# Beyond this many clusters the jackknife leaves out blocks: the acceleration it estimates is the
# same, and the cost stays bounded.
JACKKNIFE_BLOCKS = 200
FEW = 100
"""Clusters below which an interval is at least that of the jackknife: resamples never go beyond the
most extreme of so few. BCa intervals of three hold the true mean in three of four cases, those of
forty a correlation in nine of ten."""
GROUPS = 50
RESAMPLED = 500_000
"""Rows x labels up to which rows are resampled: seconds, not minutes, on one core."""


class Interval(NamedTuple):
    """Both ends of a confidence interval; `reason` says why they are NaN or doubtful."""

    low: float
    high: float
    reason: str = ""


def no_interval(reason: str) -> Interval:
    """Return the interval that does not exist, because of `reason`."""
    return Interval(float("nan"), float("nan"), reason)


def in_range(
    value: float, interval: Interval, bounds: tuple[float, float], clusters: int
) -> Interval:
    """Return the interval within the values that a metric can take: `bounds`.

    Where a metric is as good, or as bad, as can be, so is every resample of it: an interval of no
    width, as if three right answers made a model perfect. The other end is then that of Clopper and
    Pearson (1934) for a share of 0 or 1 of `clusters` independent ones, `1 - 0.025^(1 / clusters)`
    of the range away. That is exact for what one row in each says by yes or no; of other metrics it
    is the order of magnitude.
    """
    low, high, reason = interval
    least, most = bounds
    if low == high == value and value in bounds and np.isfinite(bounds).all() and clusters > 0:
        away = (most - least) * (1 - ((1 - CONFIDENCE) / 2) ** (1 / clusters))
        low, high = (least, least + away) if value == least else (most - away, most)
        return Interval(low, high, f"no spread: the interval is that of {clusters} all alike")
    # Comparisons with NaN are false, which leaves it as it is.
    return Interval(least if low < least else low, most if high > most else high, reason)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], NDArray[Any]],
    clusters: NDArray[Any],
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
    confidence: float = CONFIDENCE,
) -> list[Interval]:
    """Return BCa bootstrap intervals of one or several statistics of the same rows.

    `statistic`: from row indices (with repetitions) to the values, shape [m]; NaN = undefined;
    `clusters`: [n] the cluster of each row (use `np.arange(n)` for independent rows). Returns m
    intervals. Resamples in which a statistic is undefined are left out, and the reason says how
    many.
    """
    clusters = np.asarray(clusters)
    rows_of, count = _cluster_rows(clusters)
    observed = np.atleast_1d(statistic(np.arange(len(clusters)))).astype(np.float64)
    if count < 2:
        return [no_interval(f"{count} cluster: nothing to resample")] * len(observed)

    replicates = np.empty((draws, len(observed)))
    for replicate in replicates:
        replicate[:] = statistic(rows_of(rng.integers(count, size=count)))

    blocks = np.array_split(rng.permutation(count), min(count, JACKKNIFE_BLOCKS))
    jackknife = np.empty((len(blocks), len(observed)))
    for leave_block_out, block in zip(jackknife, blocks, strict=True):
        leave_block_out[:] = statistic(rows_of(np.delete(np.arange(count), block)))

    return [
        _for_clusters(observed[i], replicates[:, i], jackknife[:, i], count, confidence)
        for i in range(len(observed))
    ]


def clustered(
    observed: NDArray[Any],
    measure: Callable[[NDArray[np.int64]], NDArray[Any]],
    resample: Callable[[NDArray[np.int64]], NDArray[Any]],
    clusters: NDArray[Any],
    *,
    width: int,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> tuple[list[Interval], str, int]:
    """Return intervals of statistics of the same rows, how they came about, and their freedom.

    `observed`: [m] the statistics of all rows; `measure`: from row indices to the statistics of
    those rows alone; `resample`: the same for as many rows as there are, with repetitions, in less
    time; `clusters`: [n]; `width`: what a row costs to measure, in labels. Tables of up to
    `RESAMPLED` rows x labels are resampled, others dealt into random groups. The last are the
    degrees of freedom of the Student quantile that the intervals were made with.
    """
    count = len(np.unique(clusters))
    if len(clusters) * width <= RESAMPLED:
        found = bootstrap(resample, clusters, rng=rng, draws=draws)
        return found, "bootstrap (BCa, 95 %)", count - 1
    found = random_groups(observed, measure, clusters, rng=rng)
    return found, f"{GROUPS} random groups (t, 95 %)", min(GROUPS, count) - 1


def random_groups(
    observed: NDArray[Any],
    statistic: Callable[[NDArray[np.int64]], NDArray[Any]],
    clusters: NDArray[Any],
    *,
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
) -> list[Interval]:
    """Return intervals of statistics of many rows from their spread over random groups.

    Clusters are dealt into 50 groups (fewer where there are fewer) of equal numbers of clusters;
    the variance of a statistic is that of its values on the groups over their number, and the
    quantile is Student's with groups - 1 degrees of freedom. `observed`: [m] the statistics of all
    rows, around which the intervals lie; `statistic` and `clusters` as for `bootstrap`. Groups in
    which a statistic is undefined are left out, and the reason says how many.
    """
    from scipy.special import stdtrit

    rows_of, count = _cluster_rows(np.asarray(clusters))
    observed = np.atleast_1d(observed).astype(np.float64)
    groups = min(GROUPS, count)
    if groups < 2:
        return [no_interval(f"{count} cluster: nothing to compare")] * len(observed)
    dealt = np.array_split(rng.permutation(count), groups)
    values = np.stack([np.atleast_1d(statistic(np.sort(rows_of(group)))) for group in dealt])
    intervals = []
    for value, column in zip(observed, values.T, strict=True):
        defined = column[np.isfinite(column)]
        left_out = groups - len(defined)
        if np.isnan(value):
            intervals.append(no_interval("the value itself is undefined"))
        elif len(defined) < max(2, groups / 2):
            intervals.append(no_interval(f"undefined in {left_out} of {groups} groups"))
        else:
            error = defined.std(ddof=1) / len(defined) ** 0.5
            half = float(stdtrit(len(defined) - 1, (1 + confidence) / 2) * error)
            reason = f"undefined in {left_out} of {groups} groups" if left_out else ""
            intervals.append(Interval(float(value - half), float(value + half), reason))
    return intervals


def _cluster_rows(
    clusters: NDArray[Any],
) -> tuple[Callable[[NDArray[np.int64]], NDArray[np.int64]], int]:
    """Return a function from cluster numbers (with repetitions) to their rows, and the count."""
    _, code, size = np.unique(clusters, return_inverse=True, return_counts=True)
    order = np.argsort(code, kind="stable")
    start = np.cumsum(size) - size

    def rows_of(chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        sizes = size[chosen]
        first = np.cumsum(sizes) - sizes
        return order[np.arange(sizes.sum()) + np.repeat(start[chosen] - first, sizes)]

    return rows_of, len(size)


def bca(
    observed: float, replicates: NDArray[Any], jackknife: NDArray[Any], quantile: float
) -> Interval:
    """Return the BCa interval: quantiles moved by the bias z0 and the acceleration a (Efron 1987).

    `observed`: the value of all rows; `replicates`: [draws] those of resamples; `jackknife`: those
    without each cluster (or block of them); `quantile`: the normal one for the confidence wanted.
    z0 comes from the share of replicates below the observed value (ties count half), a from the
    skewness of the jackknife values.
    """
    from scipy.special import ndtr, ndtri

    if np.isnan(observed):
        return no_interval("the value itself is undefined")
    draws = len(replicates)
    replicates = replicates[np.isfinite(replicates)]
    if len(replicates) < draws / 2:
        return no_interval(f"undefined in {draws - len(replicates)} of {draws} resamples")
    dropped = draws - len(replicates)
    reason = f"undefined in {dropped} of {draws} resamples" if dropped else ""
    if (replicates == replicates[0]).all():
        return Interval(float(observed), float(observed), "every resample gave the same value")

    below = ((replicates < observed).mean() + (replicates <= observed).mean()) / 2
    # A share of 0 or 1 is finer than the draws resolve; half a draw keeps z0 finite.
    bias = ndtri(np.clip(below, 0.5 / len(replicates), 1 - 0.5 / len(replicates)))
    influence = _influence(jackknife)
    spread = np.square(influence).sum() ** 1.5
    acceleration = (influence**3).sum() / (6 * spread) if spread > 0 else 0.0
    z = bias + quantile * np.array([-1.0, 1.0])
    levels = ndtr(bias + z / (1 - acceleration * z))
    low, high = np.quantile(replicates, levels)
    return Interval(float(low), float(high), reason)


def _for_clusters(
    observed: float,
    replicates: NDArray[Any],
    jackknife: NDArray[Any],
    clusters: int,
    confidence: float,
) -> Interval:
    """Return the BCa interval as wide as so few clusters ask for.

    Resamples of few clusters vary too little: instead of the normal quantile stands Student's,
    times sqrt(n / (n - 1)) for n clusters (T. Hesterberg, "What teachers should know about the
    bootstrap", The American Statistician 2015, section 4.4). Of fewer than `FEW` the interval is no
    narrower than Student's with the jackknife's standard error.
    """
    from scipy.special import stdtrit

    student = float(stdtrit(clusters - 1, (1 + confidence) / 2))
    interval = bca(observed, replicates, jackknife, student * (clusters / (clusters - 1)) ** 0.5)
    influence = _influence(jackknife)
    if clusters >= FEW or len(influence) < clusters or not interval.low < interval.high:
        return interval
    half = student * float(((clusters - 1) / clusters * np.square(influence).sum()) ** 0.5)
    low, high = min(interval.low, observed - half), max(interval.high, observed + half)
    return Interval(low, high, interval.reason)


def _influence(jackknife: NDArray[Any]) -> NDArray[Any]:
    """Return how far each jackknife value that is defined lies from their mean."""
    jackknife = jackknife[np.isfinite(jackknife)]
    return jackknife.mean() - jackknife if len(jackknife) else np.zeros(1)


def corrected_resampled_t(
    values: NDArray[Any], test_share: float, confidence: float = CONFIDENCE
) -> Interval:
    """Return the interval of the mean over repeated splits or folds.

    `values`: [splits] one metric, NaN where undefined; `test_share`: rows tested over all rows of
    a split, 1/k for k folds. The variance s^2 of the values is scaled by 1/splits + tested/trained
    instead of 1/splits (Nadeau and Bengio 2003, eq. 9; for folds Bouckaert and Frank 2004); the
    quantile is Student's with splits - 1 degrees of freedom.
    """
    from scipy.special import stdtrit

    values = np.asarray(values, np.float64)
    defined = values[np.isfinite(values)]
    if len(defined) < 2:
        return no_interval(f"defined in {len(defined)} of {len(values)} splits: two are needed")
    if not 0 < test_share < 1:
        raise ValueError(f"got a test share of {test_share}, expected one between 0 and 1")
    scale = 1 / len(defined) + test_share / (1 - test_share)
    half = float(stdtrit(len(defined) - 1, (1 + confidence) / 2) * defined.std(ddof=1) * scale**0.5)
    left_out = len(values) - len(defined)
    reason = f"undefined in {left_out} of {len(values)} splits" if left_out else ""
    return Interval(float(defined.mean() - half), float(defined.mean() + half), reason)

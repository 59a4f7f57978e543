"""Whether one run is better than another, by how much, and whether it matters.

Goal: turn the numbers of two or more runs into differences with an interval, a p-value and the
chances that the difference matters in practice.

Three situations. Values of the same repeated splits: `resampled_t` (Nadeau and Bengio, "Inference
for the generalization error", 2003) and, from the same mean and variance, the Bayesian correlated t
test (Corani and Benavoli, "A Bayesian approach for comparing cross-validated algorithms", 2015).
An interval of the difference, such as a paired bootstrap gives, or of each value alone:
`from_interval` and `unpaired`. One difference for each of several tasks: `signed_ranks`, the
Bayesian signed-rank test beside Wilcoxon's (Benavoli, Corani, Demšar and Zaffalon, "Time for a
change", 2017). Many comparisons: `holm`. Many runs on many tasks: `ranking` (Demšar, "Statistical
comparisons of classifiers over multiple data sets", 2006).

Conventions: a difference is the second run's value less the first's. Tests are two-sided, the level
is `ALPHA`. The region of practical equivalence ("rope") is -rope to rope, ends included. Undefined
values are NaN, and a reason says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mt_tools.evaluate.intervals import (
    CONFIDENCE,
    Interval,
    clustered,
    corrected_resampled_t,
)
from mt_tools.evaluate.score import Judge, Judgement

Floats = NDArray[np.float64]

ALPHA = 1 - CONFIDENCE
SURE = 0.95
"""The chance from which on a difference is called practically equal (Benavoli et al. 2017)."""
DRAWS = 50_000
"""Draws of the Bayesian signed-rank test: its chances are good to about 0.002."""
PRIOR = 0.5
"""Weight of the prior's one observation of no difference (Benavoli et al. 2017, section 4.2)."""


class Chances(NamedTuple):
    """Probabilities that the true difference is below, within and above the rope."""

    below: float
    within: float
    above: float


UNKNOWN = Chances(float("nan"), float("nan"), float("nan"))


class Difference(NamedTuple):
    """A difference with its 95 % interval, p-value and chances; `reason` says what is undefined."""

    value: float
    low: float
    high: float
    p: float
    chances: Chances
    reason: str = ""


def resampled_t(differences: Floats, test_share: float, rope: float) -> Difference:
    """Return the difference of two runs that were tested on the same splits.

    `differences`: [splits], NaN where one of the two is undefined; `test_share`: as in
    `intervals.corrected_resampled_t`, whose interval this is. The chances are those of a Student
    distribution around the mean with the same scale and degrees of freedom: the Bayesian correlated
    t test, whose correlation is the test share.
    """
    from scipy.special import stdtr

    values = np.asarray(differences, np.float64)
    interval = corrected_resampled_t(values, test_share)
    values = values[np.isfinite(values)]
    count = len(values)
    if count < 2:
        value = float(values[0]) if count else float("nan")
        return Difference(value, *interval[:2], float("nan"), UNKNOWN, interval.reason)
    mean, df = float(values.mean()), count - 1
    scale = float(values.std(ddof=1) * (1 / count + test_share / (1 - test_share)) ** 0.5)
    if np.ptp(values) == 0:
        mean = float(values[0])  # the mean of equal numbers may be off by rounding
        said = _join(interval.reason, "the same difference in every split")
        return _certain(mean, rope, said, df)
    p = float(2 * stdtr(df, -abs(mean) / scale))
    below, above = (float(stdtr(df, (-rope + side * mean) / scale)) for side in (-1, 1))
    return Difference(mean, interval.low, interval.high, p, _chances(below, above), interval.reason)


Named = tuple[str, str | None]
"""A metric and the label that it is of, None where it is of all of them."""


class Paired(NamedTuple):
    """Two runs on the same rows, by one metric: the value of each, and the difference."""

    first: float
    second: float
    difference: Difference


def paired(
    judges: Sequence[Judge],
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str],
    clusters: NDArray[Any],
    rope: float,
    seed: int,
) -> tuple[list[dict[Named, Paired]], int, str]:
    """Return the differences of runs that predicted the same rows.

    `judges`: of each run, all of the same n rows in the same order; `pairs`: (first, second) places
    among them; `names`: the metrics to compare, of labels where they are such; `clusters`: [n] from
    `splits.units`. Every resample judges all runs on the same rows, so that what is hard for all of
    them cancels out. Returns the metrics of each pair, the number of rows that every run can be
    judged on, and how the intervals came about.
    """
    kept = np.flatnonzero(np.logical_and.reduce([judge.kept for judge in judges]))
    places = [_places(judge, kept, names) for judge in judges]
    known = [[name for name in places[a] if name in places[b]] for a, b in pairs]

    def values(found: list[Judgement]) -> list[dict[Named, float]]:
        return [{n: look(f) for n, look in p.items()} for p, f in zip(places, found, strict=True)]

    def differences(found: list[Judgement]) -> NDArray[np.float64]:
        numbers = values(found)
        return np.array(
            [
                numbers[b][name] - numbers[a][name]
                for (a, b), mine in zip(pairs, known, strict=True)
                for name in mine
            ]
        )

    rng = np.random.default_rng(seed)
    observed = [judge.measure(kept) for judge in judges]
    intervals, how, df = clustered(
        differences(observed),
        lambda rows: differences([judge.measure(kept[rows]) for judge in judges]),
        lambda rows: differences([judge.resample(kept[rows]) for judge in judges]),
        clusters[kept],
        width=sum(judge.width for judge in judges),
        rng=rng,
    )
    ends = iter(intervals)
    numbers = values(observed)
    result = []
    for (a, b), mine in zip(pairs, known, strict=True):
        of_pair = {}
        for name in mine:
            first, second = numbers[a][name], numbers[b][name]
            difference = from_interval(second - first, next(ends), rope, df)
            of_pair[name] = Paired(first, second, difference)
        result.append(of_pair)
    return result, len(kept), f"paired {how}"


def _places(
    judge: Judge, rows: NDArray[np.int64], names: Sequence[str]
) -> dict[Named, Callable[[Judgement], float]]:
    """Return how to look up each of the named metrics in a judgement."""
    overall, each = judge.measure(rows)
    looks: dict[Named, Callable[[Judgement], float]] = {}
    for name in names:
        if name in overall:
            looks[name, None] = partial(_overall, name)
        elif name in each:
            for place, label in enumerate(judge.labels):
                looks[name, label] = partial(_of_label, name, place)
    return looks


def _overall(name: str, found: Judgement) -> float:
    return found[0][name].value


def _of_label(name: str, place: int, found: Judgement) -> float:
    return float(found[1][name][place])


def from_interval(value: float, interval: Interval, rope: float, df: float = np.inf) -> Difference:
    """Return the difference whose 95 % interval is known.

    Each side of the interval is taken for that of a Student distribution of `df` degrees of
    freedom, whose quantile the interval was made with; for infinitely many, 1.96 standard errors of
    a normal one (Altman and Bland, "How to obtain the P value from a confidence interval", 2011).
    So p is below 0.05 where the interval leaves out zero and only there, and it can be far smaller
    than the draws of a bootstrap resolve, which a correction for many comparisons needs. Of an
    interval without width p is what so many equal differences can show: see `_certain`.
    """
    from scipy.special import stdtr, stdtrit

    low, high, reason = interval
    if not (np.isfinite(low) and np.isfinite(high) and np.isfinite(value)):
        return Difference(value, low, high, float("nan"), UNKNOWN, reason)
    if low == high:
        return _certain(value, rope, reason, df)
    # A BCa interval of a very biased statistic may leave out the value itself.
    centre = value if low <= value <= high else (low + high) / 2
    quantile = float(stdtrit(df, (1 + CONFIDENCE) / 2))
    sides = (centre - low) / quantile, (high - centre) / quantile

    def share_below(point: float) -> float:
        scale = sides[0] if point < centre else sides[1]
        return float(stdtr(df, (point - centre) / scale)) if scale else float(point >= centre)

    def share_above(point: float) -> float:
        scale = sides[1] if point > centre else sides[0]
        return float(stdtr(df, (centre - point) / scale)) if scale else float(point <= centre)

    p = min(1.0, 2 * min(share_below(0.0), share_above(0.0)))
    chances = _chances(share_below(-rope), share_above(rope))
    return Difference(value, low, high, p, chances, reason)


def unpaired(
    first: tuple[float, Interval], second: tuple[float, Interval], rope: float
) -> Difference:
    """Return the difference of two values, each with its own 95 % interval, as if independent.

    The interval is that of Zou and Donner ("Construction of confidence limits about effect
    measures", 2008), which keeps intervals skew. Values of the same rows or splits go up and down
    together: for them it is wider than need be.
    """
    (a, (a_low, a_high, a_reason)), (b, (b_low, b_high, b_reason)) = first, second
    low = b - a - float(np.hypot(b - b_low, a_high - a))
    high = b - a + float(np.hypot(b_high - b, a - a_low))
    reason = "" if np.isfinite([low, high]).all() else "no interval of each value"
    return from_interval(b - a, Interval(low, high, _join(a_reason, b_reason) or reason), rope)


def signed_ranks(differences: Floats, rope: float, rng: np.random.Generator) -> Difference:
    """Return the mean difference over several tasks, tested by signed ranks.

    `differences`: [tasks]. p is Wilcoxon's, zeros split between both signs. The chances are those
    of the Bayesian signed-rank test: of how many draws of weights, from a Dirichlet distribution
    over the differences and one prior difference of zero, does most of the weight of the means of
    two differences lie below, within or above the rope. No interval is given: a mean over tasks of
    different difficulty has none that a few tasks could show.
    """
    from scipy.stats import wilcoxon

    values = np.asarray(differences, np.float64)
    values = values[np.isfinite(values)]
    nan = float("nan")
    if len(values) < 2:
        value = float(values[0]) if len(values) else nan
        said = f"defined in {len(values)} of {len(differences)} tasks: two are needed"
        return Difference(value, nan, nan, nan, UNKNOWN, said)
    p = 1.0 if not values.any() else float(wilcoxon(values, zero_method="zsplit").pvalue)
    least = 2.0 ** (1 - len(values))
    reason = f"{len(values)} tasks: p cannot fall below {least:.3g}" if least > ALPHA else ""

    points = np.concatenate([[0.0], values])
    sums = points[:, None] + points
    weights = rng.dirichlet([PRIOR, *np.ones(len(values))], DRAWS)
    shares = np.stack(
        [
            np.einsum("di,ij,dj->d", weights, side.astype(np.float64), weights, optimize=True)
            for side in (sums < -2 * rope, np.abs(sums) <= 2 * rope, sums > 2 * rope)
        ],
        axis=1,
    )
    most = np.bincount(shares.argmax(axis=1), minlength=3) / DRAWS
    return Difference(float(values.mean()), nan, nan, p, Chances(*map(float, most)), reason)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being several; NaN stays NaN and is no member of the family.

    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    values = np.asarray(p, np.float64)
    adjusted = np.full(len(values), np.nan)
    order = [place for place in np.argsort(values, kind="stable") if np.isfinite(values[place])]
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, float(values[index]) * (len(order) - place)))
        adjusted[index] = highest
    return adjusted.tolist()


def decision(difference: float, p: float, chances: Chances, rope: float) -> str:
    """Say in a word what a comparison shows, a larger value being the better one.

    `practically equal`: the difference lies within the rope with a chance of `SURE`. `better` and
    `worse`: p is below `ALPHA` and the difference itself beyond the rope.
    """
    if chances.within >= SURE:
        return "practically equal"
    if p < ALPHA and abs(difference) > rope:
        return "better" if difference > 0 else "worse"
    return "no difference shown"


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of runs over tasks, 1 = best, and what of them is more than chance.

    `runs` from the best to the worst; `distance` is the critical difference of Nemenyi: runs whose
    ranks differ by less are not told apart, and `cliques` are the largest such sets, as (first,
    last) positions. `p` is Friedman's.
    """

    runs: list[str]
    ranks: list[float]
    tasks: int
    statistic: float
    p: float
    distance: float
    cliques: list[tuple[int, int]]


def ranking(runs: Sequence[str], values: NDArray[Any]) -> Ranking:
    """Rank runs on several tasks: Friedman's test and Nemenyi's critical difference (Demšar 2006).

    `values`: [tasks, runs], finite, a larger one being better; equal values share their ranks.
    Raises `ValueError` for fewer than three runs or two tasks.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    values = np.asarray(values, np.float64)
    tasks, count = values.shape
    if count < 3 or tasks < 2 or not np.isfinite(values).all():
        raise ValueError(f"got {count} runs on {tasks} tasks, expected three on two, all defined")
    ranks = rankdata(-values, axis=1).mean(axis=0)
    if (values == values[:, :1]).all():
        statistic, p = 0.0, 1.0
    else:
        statistic, p = map(float, friedmanchisquare(*values.T))
    quantile = float(studentized_range.ppf(CONFIDENCE, count, np.inf)) / 2**0.5
    distance = quantile * (count * (count + 1) / (6 * tasks)) ** 0.5
    order = np.argsort(ranks, kind="stable")
    ordered = ranks[order]
    cliques: list[tuple[int, int]] = []
    for first in range(count):
        last = int(np.flatnonzero(ordered - ordered[first] < distance)[-1])
        if last > first and (not cliques or last > cliques[-1][1]):
            cliques.append((first, last))
    names = [runs[place] for place in order]
    return Ranking(names, ordered.tolist(), tasks, statistic, p, distance, cliques)


def _certain(value: float, rope: float, reason: str, df: float) -> Difference:
    """Return a difference that the data do not let vary.

    Of df + 1 equal differences all have the sign of the first with a chance of 2^-df: two splits of
    ten tracks each differ by the same often enough.
    """
    chances = _chances(float(value < -rope), float(value > rope))
    return Difference(value, value, value, 1.0 if value == 0 else 2.0**-df, chances, reason)


def _chances(below: float, above: float) -> Chances:
    return Chances(below, max(0.0, 1.0 - below - above), above)


def _join(*reasons: str) -> str:
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason))

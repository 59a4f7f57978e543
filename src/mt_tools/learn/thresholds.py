"""Decision thresholds, fitted on validation rows: of each tag, and of the class that is named.

Goal: from scores to tags. A fixed 0.5 hardly ever fires for a rare tag, whose scores follow its
frequency, so each tag has the threshold that serves what is wanted of it: the best F1, a precision,
a recall, or the least cost. A class is named or left open by the same rules: its score is how sure
the model is, and what is wanted is how often it is right, or how often it answers (C. Chow, "On
optimum recognition error and reject tradeoff", 1970; Y. Geifman, R. El-Yaniv, "Selective
classification for deep neural networks", NeurIPS 2017).

Source: all cuts of the ranking are compared; each cut lies halfway between two neighbouring scores,
so that differences of 1e-5 between machines do not move a tag. Costs with calibrated scores:
C. Elkan, "The foundations of cost-sensitive learning", IJCAI 2001, eq. 2. A precision or recall
counts by the lower end of its one-sided interval of C. Clopper and E. Pearson, 1934: the one row
above a high cut being right shows a precision of 1 and promises hardly more than 0.5. At the level
of 0.5 the true value lies above the end as often as below, and with many rows the end is the
observed share; on new tracks the mean precision is then the one that was asked for (a test draws
them), and at 0.95 hardly one tag in twenty gets a threshold that falls short of it.

Conventions: a tag applies when its score is at or above its threshold; None is never. Scores lie in
[0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError

DEFAULT_THRESHOLD = 0.5
"""The threshold of a tag without a positive row, about which the rows say nothing."""

FEWEST = 5
"""Positive rows of a tag without which no threshold is fitted: one of four would move its recall by
a quarter."""

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""The precisions whose thresholds a model carries, so that one can be chosen when tagging."""

GOALS = {"f1": 0, "precision": 1, "recall": 1, "cost": 2, "coverage": 1}
"""What can be wanted of a threshold, and how many numbers it takes."""

GOALS_OF = {
    "multilabel": ("f1", "precision", "recall", "cost"),
    "multiclass": ("precision", "coverage"),
    "ordinal": ("precision", "coverage"),
}
"""What can be wanted of a kind of task. Of classes, `precision` is the share of right answers among
those that are given, `coverage` the share of tracks that get one."""

_FORM = "expected f1, precision:P, recall:R, coverage:C or cost:FP,FN, such as precision:0.9"


@dataclass(frozen=True)
class Goal:
    """What is wanted of a threshold: a key of `GOALS`, and its numbers."""

    name: str
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        return self.name + ":" * bool(self.numbers) + ",".join(f"{x:g}" for x in self.numbers)


def parse_goal(text: str) -> Goal:
    """Parse `f1`, `precision:0.9`, `cost:1,5`; raises `UsageError` for anything else.

    >>> parse_goal("cost:1,5")
    Goal(name='cost', numbers=(1.0, 5.0))
    """
    name, _, rest = text.partition(":")
    try:
        numbers = tuple(float(number) for number in rest.split(",")) if rest else ()
    except ValueError:
        numbers = (np.nan,)
    if GOALS.get(name) != len(numbers) or not np.isfinite(numbers).all():
        raise UsageError(f"--for {text}: {_FORM}")
    if name == "cost":
        if min(numbers) < 0 or max(numbers) == 0:
            raise UsageError(
                f"--for {text}: costs are numbers from 0, not both 0: what a tag too many costs, "
                "then what a missing one does, such as cost:1,5"
            )
    elif numbers and not 0 < numbers[0] <= 1:
        raise UsageError(f"--for {text}: a share is above 0 and at most 1, such as {name}:0.9")
    return Goal(name, numbers)


class Cuts(NamedTuple):
    """Every way to cut one ranking in two, from the highest threshold to the lowest.

    `thresholds`, `hits` (positive rows at or above it) and `chosen` (rows at or above it) are [m];
    the first cut chooses nothing. `positives` and `rows` count what there is.
    """

    thresholds: NDArray[np.float64]
    hits: NDArray[np.int64]
    chosen: NDArray[np.int64]
    positives: int
    rows: int


def cuts(scores: NDArray[Any], truth: NDArray[np.bool_]) -> Cuts:
    """Return the cuts of one ranking: `scores` [n] in [0, 1], `truth` [n]."""
    scores = np.asarray(scores, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    hits = np.cumsum(np.asarray(truth)[order])
    below = np.append(ranked[1:], 0.0)[: len(ranked)]
    last = np.ones(len(ranked), dtype=bool)
    last[:-1] = ranked[:-1] != ranked[1:]  # equals stay together
    halfway = (ranked + below) / 2
    # Between two neighbouring floats there is no halfway: it rounds down to the lower one.
    between = np.where(halfway > below, halfway, ranked)[last]
    top = ranked[0] if len(ranked) else 0.0
    none = max((top + 1.0) / 2, float(np.nextafter(top, 2.0)))
    return Cuts(
        np.append(none, between),
        np.append(0, hits[last]).astype(np.int64),
        np.append(0, np.flatnonzero(last) + 1),
        int(np.sum(truth)),
        len(ranked),
    )


def threshold(
    goal: Goal, ranking: Cuts, *, sure: float = 0.5, calibrated: bool = False
) -> float | None:
    """Return the threshold that serves a goal; None where none does.

    f1: the highest, and of equals the fewest tags. precision: the most tags of which at least so
    many are right. recall: the fewest tags among which at least so many of the positives are.
    coverage: the fewest rows that are at least such a share. cost: the cheapest cut, or where
    scores are `calibrated` FP / (FP + FN), which needs no rows. `sure`, between 0 and 1, is the
    level of the lower ends by which precision and recall count.
    """
    if goal.name == "cost":
        wrong, missing = goal.numbers
        if calibrated:
            return wrong / (wrong + missing)
        false, missed = ranking.chosen - ranking.hits, ranking.positives - ranking.hits
        return float(ranking.thresholds[np.argmin(wrong * false + missing * missed)])
    if goal.name == "f1":
        f1 = 2 * ranking.hits / np.maximum(ranking.chosen + ranking.positives, 1)
        return float(ranking.thresholds[np.argmax(f1)])
    (share,) = goal.numbers
    if goal.name == "coverage":
        reached = ranking.chosen / max(ranking.rows, 1) >= share
    elif goal.name == "precision":
        reached = at_least(share, ranking.hits, ranking.chosen, sure)
    else:
        reached = at_least(share, ranking.hits, ranking.positives, sure)
    found = ranking.thresholds[reached]
    if not len(found):
        return None
    return float(found[-1] if goal.name == "precision" else found[0])


def at_least(share: float, hits: Any, tries: Any, sure: float) -> NDArray[np.bool_]:
    """Return whether the true share of hits is at least `share`, at the level `sure`.

    It is where Clopper and Pearson's lower end is: the end is a quantile of a beta distribution,
    whose distribution function says as much and costs less.
    """
    from scipy.special import betainc

    hits, tries = np.broadcast_arrays(np.asarray(hits, np.float64), np.asarray(tries, np.float64))
    below = betainc(np.maximum(hits, 1.0), np.maximum(tries - hits, 0.0) + 1.0, share)
    return (hits > 0) & (below <= 1.0 - sure)


def f1_thresholds(
    scores: NDArray[Any], truth: NDArray[Any], mask: NDArray[np.bool_]
) -> list[float]:
    """Return for each tag the threshold that maximises its F1 over the rows where `mask` is true.

    `scores` [n, tags] in [0, 1], `truth` [n, tags] of 0 and 1, `mask` [n]. Of equally good
    thresholds the highest is taken: the fewest tags. A tag without a positive row gets 0.5.
    """
    scores = np.asarray(scores, dtype=np.float64)[mask]
    truth = np.asarray(truth)[mask] > 0
    found = []
    for tag in range(truth.shape[1]):
        best = threshold(Goal("f1"), cuts(scores[:, tag], truth[:, tag]))
        found.append(best if best is not None and truth[:, tag].any() else DEFAULT_THRESHOLD)
    return found


@dataclass(frozen=True)
class Fitted:
    """The thresholds of some tags [tags], None for never, and why one was not fitted, by place."""

    thresholds: list[float | None]
    reasons: dict[int, str]


def tag_thresholds(
    goal: Goal,
    scores: NDArray[Any],
    truth: NDArray[Any],
    fallback: NDArray[Any],
    *,
    sure: float = 0.5,
    calibrated: bool = False,
) -> Fitted:
    """Return the threshold of each tag.

    `scores`, `truth` are [n, tags], `fallback` [tags], in which NaN is never. A tag with fewer than
    `FEWEST` positive rows keeps its fallback. A precision that is out of reach, or of which so few
    rows say nothing, is kept by never: None; a recall that is out of reach by the fallback.
    """
    found: list[float | None] = []
    reasons: dict[int, str] = {}
    truth = np.asarray(truth) > 0
    for tag in range(truth.shape[1]):
        ranking = cuts(scores[:, tag], truth[:, tag])
        best = threshold(goal, ranking, sure=sure, calibrated=calibrated)
        kept = None if goal.name == "precision" or np.isnan(fallback[tag]) else float(fallback[tag])
        what = "never applies" if kept is None else "keeps its threshold"
        if ranking.positives < FEWEST:
            reasons[tag] = f"fewer than {FEWEST} positive rows, {what}"
        elif best is None:
            reasons[tag] = f"{goal} is out of reach, {what}"
        found.append(kept if tag in reasons else best)
    return Fitted(found, reasons)


def applies(scores: NDArray[Any], thresholds: list[float | None]) -> NDArray[np.bool_]:
    """Return which tags apply, bool [n, tags], to scores [n, tags]."""
    with np.errstate(invalid="ignore"):
        return scores >= np.array(thresholds, dtype=np.float64)  # None is NaN, above which is none


def kept_right(ranking: Cuts, shares: NDArray[Any]) -> NDArray[np.float64]:
    """Return how many of the surest rows are right, where so large shares of all are answered.

    `ranking` are the cuts of how sure the model is, a hit being a right answer; the result is the
    accuracy [shares] among the answered. Of rows of equal score none comes first: a share that ends
    among them gets their mean.
    """
    answered = np.asarray(shares, np.float64) * ranking.rows
    with np.errstate(invalid="ignore"):
        return np.interp(answered, ranking.chosen, ranking.hits) / answered


def risk_area(ranking: Cuts) -> float:
    """Return the area under the curve of error over coverage (AURC): lower is better.

    The mean of the error among the k surest rows over k = 1 to n (Geifman and El-Yaniv 2017).
    """
    answered = np.arange(1, ranking.rows + 1)
    hits = np.interp(answered, ranking.chosen, ranking.hits)
    return float(np.mean(1.0 - hits / answered)) if ranking.rows else float("nan")

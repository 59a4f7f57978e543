"""What a probe has found: of one split, and over all of them.

Goal: the mean of a metric over splits with its deviation and its interval, and what a reader should
know of it: where it is undefined, which constants were chosen, which classes had too few examples.

Conventions: a metric of few examples is named after their number, `accuracy@5`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mt_tools import metrics
from mt_tools.evaluate.intervals import Interval, corrected_resampled_t, in_range
from mt_tools.metrics import Score


@dataclass(frozen=True)
class Outcome:
    """What one split has found: metrics by name (`accuracy`, and `accuracy@5` of five examples).

    `tested` rows; `ends` of the interval of each metric, where there is one split only; `chosen`
    constants by number of examples (empty: all), where they were searched; `short` classes that had
    fewer examples.
    """

    scores: dict[str, Score]
    tested: int
    ends: dict[str, Interval] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    short: dict[str, dict[str, int]] = field(default_factory=dict)
    converged: bool = True

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values, which `outcome_of` turns back into what it was."""
        return asdict(self)


def outcome_of(plain: Mapping[str, Any]) -> Outcome:
    """Return the outcome that `Outcome.plain` took apart."""
    scores = {name: Score(*pair) for name, pair in plain["scores"].items()}
    ends = {name: Interval(*three) for name, three in plain["ends"].items()}
    return Outcome(**{**plain, "scores": scores, "ends": ends})


@dataclass(frozen=True)
class Summary:
    """One metric over the splits: mean, standard deviation, 95 % interval.

    `values` and `reasons` (why one is undefined) are those of each split, `reason` is of the whole.
    """

    value: float
    sd: float
    low: float
    high: float
    values: list[float]
    reasons: list[str]
    reason: str = ""


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found.

    `metrics` by name, the kind's headline metric first; `n` rows used; `unlabelled` and
    `unusable` (vector not finite) rows left out; `classes` with their rows (none for
    regression); `protocol` for people, such as `linear svm, C = 1, 10 folds, stratified, grouped`,
    with a digest of what is tested; `tested` rows of each split; `chosen` constants of each, and
    `choices` over all of them, by number of examples (empty: all; then `@5`).
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
    tested: list[int]
    chosen: list[dict[str, str]]
    choices: dict[str, str]
    notes: list[str] = field(default_factory=list)


def summary(name: str, outcomes: Sequence[Outcome], test_share: float, clusters: int) -> Summary:
    """Summarise one metric over the splits; splits where it is undefined are left out, and said.

    `clusters` are the artists, or tracks, that are tested in all.
    """
    missing = metrics.undefined("too few classes in the train part")
    scores = [outcome.scores.get(name, missing) for outcome in outcomes]
    values = np.array([value for value, _ in scores])
    defined = values[np.isfinite(values)]
    if outcomes[0].ends:
        interval = outcomes[0].ends[name]
    else:
        interval = corrected_resampled_t(values, test_share)
    value = float(defined.mean()) if len(defined) else float("nan")
    # Student's interval knows no bounds, an accuracy does.
    bounds = metrics.RANGES[name.partition("@")[0]]
    interval = in_range(value, interval, bounds, clusters)
    reasons = [interval.reason, *(reason for _, reason in scores)]
    return Summary(
        value=value,
        sd=float(defined.std(ddof=1)) if len(defined) > 1 else float("nan"),
        low=interval.low,
        high=interval.high,
        values=values.tolist(),
        reasons=[reason for _, reason in scores],
        reason="; ".join(dict.fromkeys(filter(None, reasons))),
    )


def choices_of(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Say how often which constants were chosen, for all train rows and for each few."""
    return {
        mark: ", ".join(
            f"{said} ({count})"
            for said, count in Counter(one.chosen[mark] for one in outcomes).most_common()
        )
        for mark in outcomes[0].chosen
    }


def shortages(outcomes: Sequence[Outcome]) -> list[str]:
    """Say in how many splits a few examples were more than there are."""
    lines = []
    for mark in dict.fromkeys(mark for outcome in outcomes for mark in outcome.short):
        lacking = [outcome.short[mark] for outcome in outcomes if mark in outcome.short]
        shown = ", ".join(list(dict.fromkeys(name for short in lacking for name in short))[:5])
        lines.append(
            f"fewer than {mark[1:]} examples in {len(lacking)} of {len(outcomes)} train parts: "
            f"{shown}"
        )
    return lines

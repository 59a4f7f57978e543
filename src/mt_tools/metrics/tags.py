"""Metrics of tags: any number of labels a row (multilabel), ranked by scores or decided upon.

The area under the precision-recall curve is the average precision, without interpolation; its
macro average is what tagging papers call PR-AUC or mAP. Averages: `macro` over tags, `weighted` by
their support (SEQ's WAUC), `micro` over all decisions together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.metrics.classes import binned_error, bins
from mt_tools.metrics.scores import (
    WHY_UNDEFINED,
    Array,
    Counts,
    Floats,
    Score,
    macro,
    mean,
    ratio,
    undefined,
)

Judgement = tuple[dict[str, Score], dict[str, Floats]]
"""Metrics over all tags by name, and by name those of each tag [tags]."""

_CHUNK = 1 << 22


def validate_multilabel(truth: Array, scores: Array) -> None:
    """Refuse tags that are not two matrices [n, tags], truth 0/1; raises `ValueError`."""
    if truth.ndim != 2 or truth.shape != scores.shape:
        raise ValueError(
            f"got tags of shapes {truth.shape} and {scores.shape}, expected two of [rows, tags]"
        )
    if truth.dtype != bool and not np.isin(truth, (0, 1)).all():
        raise ValueError("truth has values other than 0 and 1: mask unlabelled rows first")
    if np.issubdtype(scores.dtype, np.floating) and not np.isfinite(scores).all():
        raise ValueError("scores are not finite: leave out rows without a prediction first")


# --- ranking -------------------------------------------------------------------------------------


def roc_auc(truth: Array, scores: Array) -> Floats:
    """Return the area under the ROC curve of each tag: how often a hit outranks a miss.

    Ties count half. `truth`: 0/1 [n, tags]; `scores`: [n, tags], any monotone scale. Returns
    [tags]; NaN for a tag that all rows have, or none.
    """
    return _areas_of_tags(truth, scores)[0]


def average_precision(truth: Array, scores: Array) -> Floats:
    """Return the average precision of each tag: the precision at each hit, averaged over the hits.

    Tied scores share the precision at the end of their tie. `truth`: 0/1 [n, tags]; `scores`:
    [n, tags]. Returns [tags]; NaN for a tag that no row has.
    """
    return _areas_of_tags(truth, scores)[1]


def _areas_of_tags(truth: Array, scores: Array) -> tuple[Floats, Floats]:
    truth, scores = np.asarray(truth), np.asarray(scores)
    validate_multilabel(truth, scores)
    found = [areas(truth[:, tag], scores[:, tag]) for tag in range(truth.shape[1])]
    return np.array([a for a, _ in found]), np.array([p for _, p in found])


def areas(truth: Array, scores: Array) -> tuple[float, float]:
    """Return the area under the ROC curve and the average precision of one tag.

    `truth`: 0/1 [n]; `scores`: [n]. NaN where undefined.
    """
    hits = np.asarray(truth).astype(bool, copy=False)
    positives, negatives = scores[hits], scores[~hits]
    positives.sort()
    negatives.sort()
    return _areas(
        np.ones(len(positives), np.int64),
        len(positives) - np.searchsorted(positives, positives, "left"),
        np.searchsorted(negatives, positives, "left"),
        np.searchsorted(negatives, positives, "right"),
        len(negatives),
    )


def _areas(
    times: Counts, found: Counts, below: Counts, upto: Counts, negatives: int
) -> tuple[float, float]:
    """Return both areas from what stands around each hit.

    `times` is how often a hit counts, `found` the hits at or above its score, `below` the misses
    below it and `upto` those not above it.
    """
    positives = int(times.sum())
    if not positives:
        return float("nan"), float("nan")
    area = float("nan")
    if negatives:
        area = float(times @ (below + upto) / (2 * positives * negatives))
    return area, float(times @ (found / np.maximum(found + negatives - below, 1)) / positives)


@dataclass(frozen=True)
class _Ranked:
    """One tag's rows by rising score, so that resampled rows need no sorting again."""

    hits: NDArray[np.int64]
    misses: NDArray[np.int64]
    own: NDArray[np.int64]
    below: NDArray[np.int64]
    upto: NDArray[np.int64]

    @classmethod
    def of(cls, truth: NDArray[np.bool_], scores: Array) -> _Ranked:
        hits, misses = np.flatnonzero(truth), np.flatnonzero(~truth)
        hits = hits[np.argsort(scores[hits], kind="stable")]
        misses = misses[np.argsort(scores[misses], kind="stable")]
        positives, negatives = scores[hits], scores[misses]
        return cls(
            hits,
            misses,
            np.searchsorted(positives, positives, "left"),
            np.searchsorted(negatives, positives, "left"),
            np.searchsorted(negatives, positives, "right"),
        )

    def areas(self, counts: Counts, width: int = 1) -> tuple[float, float]:
        """Return both areas, row r counted `counts[r // width]` times."""
        hits, misses = (
            np.concatenate([[0], np.cumsum(counts[rows // width if width > 1 else rows])])
            for rows in (self.hits, self.misses)
        )
        return _areas(
            np.diff(hits),
            hits[-1] - hits[self.own],
            misses[self.below],
            misses[self.upto],
            int(misses[-1]),
        )


def ranking_rows(truth: Array, scores: Array) -> tuple[Floats, Floats]:
    """Return each row's label ranking loss and label ranking average precision [n].

    The loss is the share of pairs of a tag that applies and one that does not which are ranked the
    wrong way round, ties counting as wrong; the precision is that at each tag that applies, by
    falling score of the row. Both are NaN for a row to which no tag or every tag applies.
    `truth`: 0/1 [n, tags]; `scores`: [n, tags]. G. Tsoumakas, I. Katakis, I. Vlahavas, "Mining
    multi-label data", 2010.
    """
    truth, scores = np.asarray(truth), np.asarray(scores)
    validate_multilabel(truth, scores)
    truth = truth.astype(bool)
    loss, precision = np.empty(len(truth)), np.empty(len(truth))
    step = max(1, _CHUNK // max(1, truth.shape[1]))
    for start in range(0, len(truth), step):
        part = slice(start, start + step)
        loss[part], precision[part] = _ranking_chunk(truth[part], scores[part])
    return loss, precision


def _ranking_chunk(truth: NDArray[np.bool_], scores: Array) -> tuple[Floats, Floats]:
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(truth, order, axis=1)
    ranked = np.take_along_axis(scores, order, axis=1)
    tags = truth.shape[1]
    ends = np.full(hits.shape, tags - 1)
    changed = ranked[:, 1:] != ranked[:, :-1]
    ends[:, :-1] = np.where(changed, np.arange(tags - 1), tags - 1)
    ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    above = np.take_along_axis(np.cumsum(hits, axis=1), ends, axis=1)  # at or above, hits alone
    applies = hits.sum(axis=1)
    pairs = applies * (tags - applies)
    misses = np.where(hits, ends + 1 - above, 0).sum(axis=1)
    precision = np.where(hits, above / (ends + 1), 0.0).sum(axis=1)
    return ratio(misses, pairs), np.where(pairs > 0, ratio(precision, applies), np.nan)


# --- decisions -----------------------------------------------------------------------------------


def per_tag(truth: Array, decisions: Array) -> dict[str, Floats]:
    """Return precision, recall and F1 of each tag at given decisions; both 0/1 [n, tags].

    Each is [tags], NaN where undefined: precision of a tag never predicted, recall of one that
    never occurs, F1 of one that does neither.
    """
    truth, decisions = np.asarray(truth), np.asarray(decisions)
    validate_multilabel(truth, decisions)
    return _decided(*_tallies(truth.astype(bool), decisions.astype(bool), None))


def _tallies(
    truth: NDArray[np.bool_], decisions: NDArray[np.bool_], counts: Counts | None
) -> tuple[Counts, Counts, Counts]:
    """Return how often each tag is predicted rightly, occurs, and is predicted, [tags] each."""
    both = truth & decisions
    if counts is None:
        return both.sum(axis=0), truth.sum(axis=0), decisions.sum(axis=0)
    return counts @ both, counts @ truth, counts @ decisions


def _decided(hits: Counts, support: Counts, predicted: Counts) -> dict[str, Floats]:
    return {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, support + predicted),
    }


def _averages(
    name: str, values: Floats, hits: Counts, support: Counts, predicted: Counts
) -> dict[str, Score]:
    pooled = _decided(*(np.array([total.sum()]) for total in (hits, support, predicted)))[name][0]
    return {
        f"{name}_macro": macro(values, None, WHY_UNDEFINED[name]),
        f"{name}_micro": undefined(f"no tag: {WHY_UNDEFINED[name]}")
        if np.isnan(pooled)
        else Score(float(pooled)),
        f"{name}_weighted": macro(values, support, WHY_UNDEFINED[name]),
    }


# --- all of them ---------------------------------------------------------------------------------


def multilabel(truth: Array, scores: Array, decisions: Array | None = None) -> dict[str, Score]:
    """Return every multilabel metric by name; those of decisions only where they are given.

    `truth`, `decisions`: 0/1 [n, tags]; `scores`: [n, tags]. `roc_auc_weighted` weighs tags by
    their support (the WAUC of the SEQ study). `ranking_loss` and `ranking_precision` are means over
    rows of `ranking_rows`. `calibration_error`, where scores are from 0 to 1, is the mean over tags
    of the expected calibration error of the tag's score.
    """
    return multilabel_measure(truth, scores, decisions)(None)[0]


def multilabel_measure(
    truth: Array, scores: Array | None, decisions: Array | None = None
) -> Callable[[Counts | None], Judgement]:
    """Return a function from how often each row counts [n] (None: once) to every metric.

    Inputs as for `multilabel`, scores or decisions or both. It returns the metrics over all tags,
    and those of each tag: roc_auc, average_precision, precision, recall, f1. What depends on a row
    alone is computed once, and rows are sorted once, for resampling.
    """
    truth = np.asarray(truth)
    for given in (scores, decisions):
        if given is not None:
            validate_multilabel(truth, np.asarray(given))
    truth = truth.astype(bool, copy=False)
    ranks = None if scores is None else _Ranks(truth, np.asarray(scores))
    decided = None if decisions is None else np.asarray(decisions).astype(bool, copy=False)

    def measure(counts: Counts | None) -> Judgement:
        overall: dict[str, Score] = {}
        each: dict[str, Floats] = {}
        if ranks is not None:
            overall, each = ranks.measure(counts)
        if decided is not None:
            tallies = _tallies(truth, decided, counts)
            for name, values in _decided(*tallies).items():
                overall |= _averages(name, values, *tallies)
                each[name] = values
        return overall, each

    return measure


class _Ranks:
    """Scores of tags, sorted when they are first resampled."""

    def __init__(self, truth: NDArray[np.bool_], scores: Array) -> None:
        self._truth, self._scores = truth, scores
        self._sorted: list[_Ranked] = []
        self._loss, self._precision = ranking_rows(truth, scores)
        self._ranked = np.isfinite(self._loss)
        self._bins: list[Any] | None = None
        if scores.size and scores.min() >= 0 and scores.max() <= 1:
            self._bins = [bins(column) for column in scores.T]

    def measure(self, counts: Counts | None) -> Judgement:
        found = np.array(self._areas(counts)).reshape(-1, 2)
        areas_, precisions = found[:-1].T
        support = self._truth.sum(axis=0) if counts is None else counts @ self._truth
        overall: dict[str, Score] = {}
        pooled = zip(("roc_auc", "average_precision"), (areas_, precisions), found[-1], strict=True)
        for name, values, micro in pooled:
            overall[f"{name}_macro"] = macro(values, None, WHY_UNDEFINED[name])
            overall[f"{name}_micro"] = (
                undefined(WHY_UNDEFINED[name]) if np.isnan(micro) else Score(float(micro))
            )
            overall[f"{name}_weighted"] = macro(values, support, WHY_UNDEFINED[name])
        overall["ranking_loss"] = self._mean_of_rows(self._loss, counts)
        overall["ranking_precision"] = self._mean_of_rows(self._precision, counts)
        if self._bins is not None:
            errors = [
                binned_error(self._gap(tag) if counts is None else self._gaps[tag], bin_, counts)
                for tag, bin_ in enumerate(self._bins)
            ]
            overall["calibration_error"] = macro(np.array([value for value, _ in errors]))
        return overall, {"roc_auc": areas_, "average_precision": precisions}

    @functools.cached_property
    def _gaps(self) -> list[Floats]:
        """How far each tag's truth is from its score, kept for resampling."""
        return [self._gap(tag) for tag in range(self._truth.shape[1])]

    def _gap(self, tag: int) -> Floats:
        return self._truth[:, tag] - self._scores[:, tag].astype(np.float64)

    def _areas(self, counts: Counts | None) -> list[tuple[float, float]]:
        """Return both areas of each tag, and last those of all decisions together."""
        tags = self._truth.shape[1]
        if counts is None:
            each = [areas(self._truth[:, tag], self._scores[:, tag]) for tag in range(tags)]
            return [*each, areas(self._truth.ravel(), self._scores.ravel())]
        if not self._sorted:
            columns = [(self._truth[:, tag], self._scores[:, tag]) for tag in range(tags)]
            columns.append((self._truth.ravel(), self._scores.ravel()))
            self._sorted = [_Ranked.of(*column) for column in columns]
        *each_tag, pooled = self._sorted
        return [*(ranked.areas(counts) for ranked in each_tag), pooled.areas(counts, tags)]

    def _mean_of_rows(self, values: Floats, counts: Counts | None) -> Score:
        """Average over the rows to which some tags apply and some do not, and count the others."""
        left_out = int((~self._ranked).sum() if counts is None else counts[~self._ranked].sum())
        total = len(values) if counts is None else int(counts.sum())
        weights = None if counts is None else counts[self._ranked]
        value, _ = mean(values[self._ranked], weights)
        why = f"{left_out} of {total} rows left out: no tag applies, or every tag" * bool(left_out)
        return Score(value, why or "no rows" * bool(np.isnan(value)))

"""What figures of predictions draw, as arrays: curves over all thresholds, bins, coverage.

Sources: ROC and precision-recall curves as scikit-learn draws them; the reliability diagram and the
expected calibration error (Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural
networks", ICML 2017); accuracy against coverage (El-Yaniv and Wiener, "On the foundations of
noise-free selective classification", JMLR 2010).

Conventions: truth comes before prediction, as in `mt_tools.metrics`, whose areas are those of the
curves here; a curve has a point wherever the score changes, so tied scores are one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mt_tools.metrics import binned_error, bins
from mt_tools.metrics.classes import BINS

Array = NDArray[Any]
Floats = NDArray[np.float64]

GRID = 501
"""Points of a mean ROC curve."""


class Points(NamedTuple):
    """A curve: x and y, [points] each."""

    x: Floats
    y: Floats


def roc_points(truth: Array, scores: Array) -> Points:
    """Return the ROC curve of one tag: true positive rate over false positive rate.

    `truth`: bool [n]; `scores`: [n]. Begins at (0, 0) and ends at (1, 1). NaN where all rows have
    the tag, or none: a rate is then undefined.
    """
    hits, taken = _found(truth, scores)
    positives = hits[-1] if len(hits) else 0
    negatives = len(truth) - positives
    misses = taken - hits
    return Points(_share(_from_zero(misses), negatives), _share(_from_zero(hits), positives))


def mean_roc(curves: Sequence[Points]) -> Points:
    """Return the mean of several ROC curves, at equal false positive rates.

    Curves of a tag that all rows have, or none, are left out. The area below it is the macro ROC
    AUC up to the resolution of `GRID`. At a jump the curve has the lower end first.
    """
    known = [curve for curve in curves if np.isfinite(curve.x).all() and np.isfinite(curve.y).all()]
    grid = np.linspace(0.0, 1.0, GRID)
    if not known:
        return Points(grid, np.full(GRID, np.nan))
    rates = np.mean([np.interp(grid, curve.x, curve.y) for curve in known], axis=0)
    return Points(np.concatenate([[0.0], grid]), np.concatenate([[0.0], rates]))


def pr_points(truth: Array, scores: Array) -> Points:
    """Return the precision (y) over the recall (x) of one tag, from few rows taken to all.

    `truth`: bool [n]; `scores`: [n]. Average precision is the area below it drawn in steps, where
    the precision of a point holds back to the recall before it. NaN where no row has the tag.
    """
    hits, taken = _found(truth, scores)
    positives = hits[-1] if len(hits) else 0
    return Points(_share(hits, positives), hits / np.maximum(taken, 1))


def mean_pr(curves: Sequence[Points]) -> Points:
    """Return the mean precision of several curves at equal recalls, those undefined left out."""
    known = [curve for curve in curves if np.isfinite(curve.x).all() and len(curve.x)]
    grid = np.linspace(0.0, 1.0, GRID)[1:]
    if not known:
        return Points(grid, np.full(len(grid), np.nan))
    # The precision at a recall is that of the first point that reaches it.
    steps = [
        curve.y[np.minimum(np.searchsorted(curve.x, grid - 1e-12), len(curve.x) - 1)]
        for curve in known
    ]
    return Points(grid, np.mean(steps, axis=0))


class Reliability(NamedTuple):
    """A reliability diagram: its filled bins, and the expected calibration error of all rows."""

    confidence: Floats  # [bins] mean of the predicted probabilities in the bin
    observed: Floats  # [bins] how often they came true
    rows: NDArray[np.int64]  # [bins]
    edges: Floats  # [bins] lower edges
    error: float


def reliability(came_true: Array, probabilities: Array) -> Reliability:
    """Bin predicted probabilities as `metrics.bins` does and compare them with what came true.

    `came_true`: bool [n]; `probabilities`: [n], 0 to 1.
    """
    came_true = np.asarray(came_true, np.float64)
    probabilities = np.asarray(probabilities, np.float64)
    place = bins(probabilities)
    rows = np.bincount(place, minlength=BINS)
    filled = rows > 0
    confidence = np.bincount(place, probabilities, BINS)[filled] / rows[filled]
    observed = np.bincount(place, came_true, BINS)[filled] / rows[filled]
    error = binned_error(came_true - probabilities, place).value
    return Reliability(confidence, observed, rows[filled], np.flatnonzero(filled) / BINS, error)


def coverage_points(right: Array, confidence: Array) -> Points:
    """Return the accuracy (y) of the most confident rows over their share of all (x).

    `right`: bool [n]; `confidence`: [n]. Rows of equal confidence are answered together.
    """
    hits, taken = _found(right, confidence)
    return Points(taken / max(len(right), 1), hits / np.maximum(taken, 1))


def _found(truth: Array, scores: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return hits and rows at each threshold, best first; one threshold a different score."""
    truth, scores = np.asarray(truth, bool), np.asarray(scores)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], len(ranked) > 0)[: len(ranked)])
    return np.cumsum(truth[order])[ends], ends + 1


def _from_zero(values: Array) -> Array:
    return np.concatenate([[0], values])


def _share(values: Array, total: int) -> Floats:
    if not total:
        return np.full(len(values), np.nan)
    return np.asarray(values / total, np.float64)

"""Metrics of classes: one label a row, in no order (multiclass) or in one (ordinal)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.metrics.numbers import quadratic_kappa
from mt_tools.metrics.scores import AVERAGES, Array, Counts, Floats, Score, mean, ratio, undefined

TOPS = (3, 5)
BINS = 15  # C. Guo et al., "On calibration of modern neural networks", ICML 2017

Measure = Callable[[Counts | None], dict[str, Score]]


def validate_multiclass(truth: Array, predicted: Array) -> None:
    """Refuse labels that are not two equally long vectors without gaps; raises `ValueError`."""
    if truth.ndim != 1 or truth.shape != predicted.shape:
        raise ValueError(
            f"got labels of shapes {truth.shape} and {predicted.shape}, expected two equal vectors"
        )
    for name, labels in (("truth", truth), ("predicted", predicted)):
        if labels.dtype == object and any(label is None or label != label for label in labels):
            raise ValueError(f"{name} has unlabelled rows: mask them first")


def confusion(truth: Array, predicted: Array, classes: Sequence[Any]) -> NDArray[np.int64]:
    """Count rows by true and predicted class.

    `truth`, `predicted`: labels, shape [n]. Returns int64 [k, k]: row = true class, column =
    predicted class, in the order of `classes`. A label outside `classes` raises `ValueError`.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    validate_multiclass(truth, predicted)
    place = {label: index for index, label in enumerate(classes)}
    missing = sorted({str(label) for label in (*truth, *predicted) if label not in place})
    if missing:
        raise ValueError(f"labels outside the classes: {', '.join(missing[:5])}")
    codes = [np.array([place[label] for label in labels], int) for labels in (truth, predicted)]
    return count_pairs(codes[0] * len(place) + codes[1], len(place))


def count_pairs(pairs: Array, size: int, counts: Counts | None = None) -> NDArray[np.int64]:
    """Return the confusion matrix [size, size] of pairs [n] = true code * size + predicted code."""
    matrix = np.bincount(pairs, counts, minlength=size * size)
    return matrix.reshape(size, size).astype(np.int64)


def _confusion_of_seen(truth: Array, predicted: Array) -> NDArray[np.int64]:
    """Return the confusion matrix over the classes that occur in either vector."""
    pairs, size = _pairs_of_seen(truth, predicted)
    return count_pairs(pairs, size)


def _pairs_of_seen(truth: Array, predicted: Array) -> tuple[NDArray[np.int64], int]:
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    validate_multiclass(truth, predicted)
    classes, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    return codes[: len(truth)] * len(classes) + codes[len(truth) :], len(classes)


def per_class(matrix: Array) -> dict[str, Array]:
    """Return precision, recall, F1 and support of each class of a confusion matrix [k, k].

    NaN where undefined: precision of a class never predicted, recall of one that never occurs,
    F1 of one that does neither.
    """
    hits, support, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, support + predicted),
        "support": support,
    }


def accuracy(truth: Array, predicted: Array) -> Score:
    """Return the share of rows whose class is right; labels of shape [n]."""
    return _accuracy(_confusion_of_seen(truth, predicted))


def balanced_accuracy(truth: Array, predicted: Array) -> Score:
    """Return the mean recall of the classes that occur in the truth; labels of shape [n]."""
    return _balanced_accuracy(_confusion_of_seen(truth, predicted))


def f1(truth: Array, predicted: Array, average: str = "macro") -> Score:
    """Return the F1 of multiclass labels [n].

    `macro` is the mean over the classes that occur in truth or prediction; `weighted` weighs them
    by their rows in the truth; `micro`, which counts all decisions together, equals the accuracy.
    """
    if average not in AVERAGES:
        raise ValueError(f"got average {average!r}, expected one of {', '.join(AVERAGES)}")
    matrix = _confusion_of_seen(truth, predicted)
    return _accuracy(matrix) if average == "micro" else _f1(matrix, average)


def _accuracy(matrix: Array) -> Score:
    total = matrix.sum()
    return Score(float(np.trace(matrix) / total)) if total else undefined("no rows")


def _balanced_accuracy(matrix: Array) -> Score:
    if not matrix.sum():
        return undefined("no rows")
    return Score(float(np.nanmean(per_class(matrix)["recall"])))


def _f1(matrix: Array, average: str) -> Score:
    if not matrix.sum():
        return undefined("no rows")
    values = per_class(matrix)["f1"]
    if average == "macro":
        return Score(float(np.nanmean(values)))
    return Score(float(np.nansum(values * matrix.sum(axis=1)) / matrix.sum()))


def log_loss(truth: Array, probabilities: Array, classes: Sequence[Any]) -> Score:
    """Return the mean negative log probability, in nats, of the true class.

    `truth`: labels [n]; `probabilities`: [n, k], rows summing to 1, columns in the order of
    `classes`. Probabilities are clipped to the resolution of their type, so that one certain
    mistake does not make the loss infinite.
    """
    return _Chances(np.asarray(truth), np.asarray(probabilities), classes).log_loss(None)


def top_accuracy(truth: Array, probabilities: Array, classes: Sequence[Any], k: int) -> Score:
    """Return the share of rows whose true class is among the `k` most probable.

    Inputs as for `log_loss`. Equal probabilities count as a draw among them would, on average.
    """
    return _Chances(np.asarray(truth), np.asarray(probabilities), classes).top(k, None)


def calibration_error(truth: Array, probabilities: Array, classes: Sequence[Any]) -> Score:
    """Return the expected calibration error of the most probable class, 0 to 1.

    Rows are binned by the probability of their most probable class, 15 bins of equal width closed
    above; the error is the mean over rows of |accuracy - mean confidence| of their bin (Guo et al.
    2017, eq. 3). Inputs as for `log_loss`. It is biased upwards where bins hold few rows.
    """
    return _Chances(np.asarray(truth), np.asarray(probabilities), classes).calibration_error(None)


class _Chances:
    """What each row's probabilities contribute to the metrics: computed once, counted often."""

    def __init__(self, truth: Array, probabilities: Array, classes: Sequence[Any]) -> None:
        if probabilities.shape != (len(truth), len(classes)):
            raise ValueError(
                f"got probabilities of shape {probabilities.shape}, "
                f"expected {(len(truth), len(classes))}: rows x classes"
            )
        self.rows = len(truth)
        self.why = ""
        totals = probabilities.sum(axis=1)
        if len(totals) and not np.allclose(totals, 1.0, atol=1e-3):
            furthest = totals[np.abs(totals - 1.0).argmax()]
            self.why = f"scores are not probabilities: a row sums to {furthest:.3g}"
        place = {label: index for index, label in enumerate(classes)}
        present, inverse = np.unique(truth, return_inverse=True)
        codes = np.array([place.get(label, -1) for label in present.tolist()], int)[inverse]
        self.known = codes >= 0
        chosen = probabilities[np.arange(len(truth)), np.maximum(codes, 0)]
        tiny = np.finfo(probabilities.dtype).eps
        self.losses = -np.log(np.clip(chosen.astype(np.float64), tiny, 1.0 - tiny))
        self.greater = (probabilities > chosen[:, None]).sum(axis=1)
        self.equal = (probabilities == chosen[:, None]).sum(axis=1)
        best = probabilities.argmax(axis=1) if probabilities.size else np.zeros(len(truth), int)
        self.right = (best == codes).astype(np.float64)
        self.confidence = probabilities[np.arange(len(truth)), best].astype(np.float64)
        self.bin = bins(self.confidence)

    def log_loss(self, counts: Counts | None) -> Score:
        if self.why:
            return undefined(self.why)
        strange = (~self.known).sum() if counts is None else counts[~self.known].sum()
        if strange:
            return undefined(f"{int(strange)} rows have a class that has no probability")
        return mean(self.losses, counts)

    def top(self, k: int, counts: Counts | None) -> Score:
        drawn = np.clip((k - self.greater) / np.maximum(self.equal, 1), 0.0, 1.0)
        return mean(np.where(self.known, drawn, 0.0), counts)

    def calibration_error(self, counts: Counts | None) -> Score:
        if self.why:
            return undefined(self.why)
        return binned_error(self.right - self.confidence, self.bin, counts)


def bins(confidence: Array) -> NDArray[np.uint8]:
    """Return the bin of each probability [n]: 15 of equal width, closed above, 0 in the first."""
    return np.clip(np.ceil(confidence.astype(np.float64) * BINS) - 1, 0, BINS - 1).astype(np.uint8)


def binned_error(gaps: Floats, bin_: NDArray[np.uint8], counts: Counts | None = None) -> Score:
    """Return the mean over rows [n] of |mean gap of their bin|, each row counted so often."""
    weighted = gaps if counts is None else gaps * counts
    total = len(gaps) if counts is None else int(counts.sum())
    if not total:
        return undefined("no rows")
    return Score(float(np.abs(np.bincount(bin_, weighted, minlength=BINS)).sum() / total))


def multiclass(
    truth: Array,
    predicted: Array,
    probabilities: Array | None = None,
    classes: Sequence[Any] = (),
) -> dict[str, Score]:
    """Return every multiclass metric by name; those of probabilities only where they are given.

    `truth`, `predicted`: labels [n]; `probabilities`: [n, k] in the order of `classes`.
    """
    return multiclass_measure(truth, predicted, probabilities, classes)(None)


def multiclass_measure(
    truth: Array,
    predicted: Array,
    probabilities: Array | None = None,
    classes: Sequence[Any] = (),
) -> Measure:
    """Return a function from how often each row counts [n] (None: once) to every metric.

    Inputs as for `multiclass`. What depends on a row alone is computed once, for resampling.
    """
    pairs, size = _pairs_of_seen(truth, predicted)
    chances = None
    if probabilities is not None:
        chances = _Chances(np.asarray(truth), np.asarray(probabilities), classes)

    def measure(counts: Counts | None) -> dict[str, Score]:
        matrix = count_pairs(pairs, size, counts)
        scores = {
            "accuracy": _accuracy(matrix),
            "balanced_accuracy": _balanced_accuracy(matrix),
            "f1_macro": _f1(matrix, "macro"),
            "f1_micro": _accuracy(matrix),
            "f1_weighted": _f1(matrix, "weighted"),
        }
        if chances is not None:
            scores |= {
                f"top_{k}_accuracy": chances.top(k, counts) for k in TOPS if k < len(classes)
            }
            scores["log_loss"] = chances.log_loss(counts)
            scores["calibration_error"] = chances.calibration_error(counts)
        return scores

    return measure


def ordinal(
    truth: Array,
    predicted: Array,
    probabilities: Array | None = None,
    classes: Sequence[int] = (),
) -> dict[str, Score]:
    """Return every ordinal metric by name; `log_loss` only where probabilities are given.

    `truth`, `predicted`: places of the classes in their order, whole numbers [n]; `probabilities`:
    [n, k] of the places `classes`. `mae` is in steps.
    """
    return ordinal_measure(truth, predicted, probabilities, classes)(None)


def ordinal_measure(
    truth: Array,
    predicted: Array,
    probabilities: Array | None = None,
    classes: Sequence[int] = (),
) -> Measure:
    """Return a function from how often each row counts [n] (None: once) to every metric.

    Inputs as for `ordinal`. What depends on a row alone is computed once, for resampling.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    validate_multiclass(truth, predicted)
    steps = np.abs(truth - predicted).astype(np.float64)
    right = (steps == 0).astype(np.float64)
    chances = None
    if probabilities is not None:
        chances = _Chances(truth, np.asarray(probabilities), classes)

    def measure(counts: Counts | None) -> dict[str, Score]:
        scores = {
            "accuracy": mean(right, counts),
            "mae": mean(steps, counts),
            "quadratic_kappa": quadratic_kappa(truth, predicted, counts),
        }
        if chances is not None:
            scores["log_loss"] = chances.log_loss(counts)
        return scores

    return measure

"""Metrics of numbers: errors, shares of variance and correlations."""

from __future__ import annotations

import numpy as np

from mt_tools.metrics.scores import Array, Counts, Floats, Score, undefined


def validate_regression(truth: Array, predicted: Array) -> None:
    """Refuse targets that are not two equally long finite vectors; raises `ValueError`."""
    if truth.ndim != 1 or truth.shape != predicted.shape:
        raise ValueError(
            f"got targets of shapes {truth.shape} and {predicted.shape}, expected two equal vectors"
        )
    for name, values in (("truth", truth), ("predicted", predicted)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} is not finite: mask unlabelled rows first")


def _regression_inputs(truth: Array, predicted: Array) -> tuple[Floats, Floats]:
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    validate_regression(truth, predicted)
    return truth, predicted


def mae(truth: Array, predicted: Array) -> Score:
    """Return the mean absolute error of targets [n], in their unit."""
    truth, predicted = _regression_inputs(truth, predicted)
    return Score(float(np.abs(truth - predicted).mean())) if len(truth) else undefined("no rows")


def mse(truth: Array, predicted: Array) -> Score:
    """Return the mean squared error of targets [n], in their unit squared."""
    truth, predicted = _regression_inputs(truth, predicted)
    return Score(float(np.square(truth - predicted).mean())) if len(truth) else undefined("no rows")


def rmse(truth: Array, predicted: Array) -> Score:
    """Return the root of the mean squared error of targets [n], in their unit."""
    value, reason = mse(truth, predicted)
    return Score(value**0.5, reason)


def r2(truth: Array, predicted: Array) -> Score:
    """Return the share of the variance of the targets [n] that is predicted; may be negative."""
    truth, predicted = _regression_inputs(truth, predicted)
    if _constant(truth):
        return undefined("the targets do not vary")
    spread = np.square(truth - truth.mean()).sum()
    return Score(float(1.0 - np.square(truth - predicted).sum() / spread))


def pearson(truth: Array, predicted: Array) -> Score:
    """Return Pearson's correlation of targets and predictions [n]."""
    truth, predicted = _regression_inputs(truth, predicted)
    if _constant(truth):
        return undefined("the targets do not vary")
    if _constant(predicted):
        return undefined("the predictions do not vary")
    truth, predicted = truth - truth.mean(), predicted - predicted.mean()
    norm = np.linalg.norm(truth) * np.linalg.norm(predicted)
    return Score(float(np.clip(truth @ predicted / norm, -1.0, 1.0)))


def spearman(truth: Array, predicted: Array) -> Score:
    """Return Spearman's rank correlation of targets and predictions [n]; ties share their rank."""
    from scipy.stats import rankdata

    truth, predicted = _regression_inputs(truth, predicted)
    return pearson(rankdata(truth), rankdata(predicted))


def kendall(truth: Array, predicted: Array) -> Score:
    """Return Kendall's tau-b of targets and predictions [n]: ties in either are corrected for."""
    from scipy.stats import kendalltau

    truth, predicted = _regression_inputs(truth, predicted)
    if _constant(truth):
        return undefined("the targets do not vary")
    if _constant(predicted):
        return undefined("the predictions do not vary")
    return Score(float(kendalltau(truth, predicted).statistic))


def regression(truth: Array, predicted: Array) -> dict[str, Score]:
    """Return every regression metric by name; targets and predictions [n]."""
    return {
        metric.__name__: metric(truth, predicted)
        for metric in (r2, mae, mse, rmse, pearson, spearman, kendall)
    }


def quadratic_kappa(truth: Array, predicted: Array, counts: Counts | None = None) -> Score:
    """Return Cohen's kappa with weights that grow with the square of the distance in steps.

    `truth`, `predicted`: places of the classes in their order, whole numbers [n]; `counts`: how
    often each row counts [n], None = once. 1 is agreement, 0 what independent labels with the same
    frequencies would have. J. Cohen, "Weighted kappa", Psychological Bulletin 1968.
    """
    truth, predicted = _regression_inputs(truth, predicted)
    counted = np.ones(len(truth)) if counts is None else counts.astype(np.float64)
    if not counted.any():
        return undefined("no rows")
    # The expected squared distance of independent pairs needs their moments only; sums of whole
    # numbers are exact.
    squares = counted @ (np.square(truth) + np.square(predicted))
    expected = counted.sum() * squares - 2 * (counted @ truth) * (counted @ predicted)
    if expected == 0:
        return undefined("truth and predictions are of one class")
    distance = counted.sum() * (counted @ np.square(truth - predicted))
    return Score(float(1.0 - distance / expected))


def _constant(values: Floats) -> bool:
    return len(values) == 0 or bool((values == values[0]).all())

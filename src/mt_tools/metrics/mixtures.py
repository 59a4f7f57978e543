"""Metrics of distributions: how far a predicted mix is from the true one."""

from __future__ import annotations

import numpy as np

from mt_tools.metrics.scores import Array, Floats, Score, undefined


def validate_distribution(truth: Array, predicted: Array) -> None:
    """Refuse what is not two matrices of distributions [n, d]; raises `ValueError`."""
    if truth.ndim != 2 or truth.shape != predicted.shape:
        raise ValueError(
            f"got distributions of shapes {truth.shape} and {predicted.shape}, expected two of "
            "[rows, components]"
        )
    for name, values in (("truth", truth), ("predicted", predicted)):
        if not (values >= 0).all() or not np.allclose(values.sum(axis=1), 1.0, atol=1e-3):
            raise ValueError(f"{name} has rows that are no distributions: mask them first")


def kl(truth: Array, predicted: Array) -> Score:
    """Return the mean Kullback-Leibler divergence of predictions from the truth, in nats.

    Both are distributions [n, d]. Predictions are clipped to the resolution of their type, so that
    one certain mistake does not make the mean infinite.
    """
    tiny = np.finfo(np.asarray(predicted).dtype).eps
    truth, predicted = _distributions(truth, predicted)
    if not len(truth):
        return undefined("no rows")
    return Score(float(_divergence(truth, np.maximum(predicted, tiny)).mean()))


def js(truth: Array, predicted: Array) -> Score:
    """Return the mean Jensen-Shannon divergence in nats, 0 to log 2, of distributions [n, d]."""
    truth, predicted = _distributions(truth, predicted)
    if not len(truth):
        return undefined("no rows")
    middle = (truth + predicted) / 2
    both = _divergence(truth, middle) + _divergence(predicted, middle)
    return Score(float((both / 2).mean()))


def distribution(truth: Array, predicted: Array) -> dict[str, Score]:
    """Return every metric of distributions [n, d] by name."""
    return {"kl": kl(truth, predicted), "js": js(truth, predicted)}


def _distributions(truth: Array, predicted: Array) -> tuple[Floats, Floats]:
    """Return two matrices of distributions, validated, with sums of exactly 1."""
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    validate_distribution(truth, predicted)
    return (
        truth / truth.sum(axis=1, keepdims=True),
        predicted / predicted.sum(axis=1, keepdims=True),
    )


def _divergence(p: Floats, q: Floats) -> Floats:
    """Return sum p log(p / q) of each row; what p never does costs nothing."""
    return np.sum(p * np.log(np.where(p > 0, p, 1.0) / np.where(p > 0, q, 1.0)), axis=1)

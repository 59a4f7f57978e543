"""A metric's value, the values it can take, and averages that say what they leave out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


class Score(NamedTuple):
    """A metric's value; `reason` says why it is NaN, or what an average leaves out."""

    value: float
    reason: str = ""


LOWER_IS_BETTER = frozenset(
    {"loss", "log_loss", "mae", "mse", "rmse", "kl", "js", "ranking_loss", "calibration_error"}
)
"""Metrics (and losses) of which a smaller value is the better one."""

AVERAGES = ("macro", "micro", "weighted")
AVERAGED = ("f1", "precision", "recall", "roc_auc", "average_precision")

RANGES = {
    **{f"{metric}_{average}": (0.0, 1.0) for metric in AVERAGED for average in AVERAGES},
    **dict.fromkeys(AVERAGED, (0.0, 1.0)),
    **dict.fromkeys(("accuracy", "balanced_accuracy", "calibration_error"), (0.0, 1.0)),
    **dict.fromkeys(("top_3_accuracy", "top_5_accuracy"), (0.0, 1.0)),
    **dict.fromkeys(("ranking_loss", "ranking_precision"), (0.0, 1.0)),
    **dict.fromkeys(("ap", "ndcg"), (0.0, 1.0)),
    **dict.fromkeys(("mae", "mse", "rmse", "log_loss", "kl"), (0.0, np.inf)),
    **dict.fromkeys(("pearson", "spearman", "kendall", "quadratic_kappa"), (-1.0, 1.0)),
    "js": (0.0, float(np.log(2.0))),
    "r2": (-np.inf, 1.0),
}
"""The values that a metric can take: an interval of it does not leave them."""


WHY_UNDEFINED = {
    "roc_auc": "one class only",
    "average_precision": "no row has it",
    "precision": "never predicted",
    "recall": "no row has it",
    "f1": "neither true nor predicted",
}
"""For which reason a metric of one class or tag has no value."""


def undefined(reason: str) -> Score:
    """Return the score that has no value, because of `reason`."""
    return Score(float("nan"), reason)


def macro(
    values: Array, weights: Array | None = None, why: str = "one class only", noun: str = "tags"
) -> Score:
    """Average a metric over the tags where it is defined, and say how many tags were left out.

    `values`: [tags]; `weights`: [tags], for example the support (SEQ's WAUC), default equal; `why`
    is the reason for which a tag has no value, `noun` what the values are of.
    """
    values = np.asarray(values, np.float64)
    defined = np.isfinite(values)
    if weights is not None:
        defined &= np.asarray(weights) > 0
    left_out = int((~defined).sum())
    if not defined.any():
        return undefined(f"undefined for all {len(values)} {noun}: {why}")
    reason = f"{left_out} of {len(values)} {noun} left out: {why}" if left_out else ""
    chosen = None if weights is None else np.asarray(weights)[defined]
    return Score(float(np.average(values[defined], weights=chosen)), reason)


def ratio(numerator: Array, denominator: Array) -> Floats:
    """Divide, with NaN where the denominator is zero."""
    result = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) != 0)
    return result


def mean(values: Floats, counts: Counts | None = None) -> Score:
    """Return the mean over rows [n], each counted so often; undefined without rows."""
    if counts is None:
        return Score(float(values.mean())) if len(values) else undefined("no rows")
    total = counts.sum()
    return Score(float(counts @ values / total)) if total else undefined("no rows")

"""Metrics of tagging, on arrays.

Goal: the numbers that `mt-eval` reports for each kind of label.

Conventions, after mir_eval: `validate_*` runs first and refuses what cannot be compared; truth
comes before prediction; perfect input scores 1 (0 for an error or a loss). Unlabelled rows are
masked by the caller. A value that is undefined (one class only, a constant) is NaN in a `Score`
that says why, never zero; an average that leaves something out says what.

Metrics: accuracy, balanced accuracy, F1 (macro and micro), log loss and the confusion matrix for
multiclass labels; area under the ROC curve, average precision (the area under the precision-recall
curve without interpolation) and F1 for multilabel; MAE, MSE, RMSE, R2, Pearson's and Spearman's
correlation for regression; accuracy, the mean distance in steps and quadratic weighted kappa for
ordinal classes; Kullback-Leibler and Jensen-Shannon divergence, in nats, for distributions. The
definitions are scikit-learn's and scipy's, which the tests hold them to; these versions need no
second to import and rank all tags at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Score(NamedTuple):
    """A metric's value; `reason` says why it is NaN, or what an average leaves out."""

    value: float
    reason: str = ""


LOWER_IS_BETTER = frozenset({"loss", "log_loss", "mae", "mse", "rmse", "kl", "js"})
"""Metrics (and losses) of which a smaller value is the better one."""

RANGES = {
    **dict.fromkeys(("accuracy", "balanced_accuracy", "f1_macro", "f1_micro"), (0.0, 1.0)),
    **dict.fromkeys(("roc_auc_macro", "roc_auc_weighted"), (0.0, 1.0)),
    "average_precision_macro": (0.0, 1.0),
    **dict.fromkeys(("mae", "mse", "rmse", "log_loss", "kl"), (0.0, np.inf)),
    **dict.fromkeys(("pearson", "spearman", "quadratic_kappa"), (-1.0, 1.0)),
    "js": (0.0, float(np.log(2.0))),
    "r2": (-np.inf, 1.0),
}
"""The values that a metric can take: an interval of it does not leave them."""


def undefined(reason: str) -> Score:
    """Return the score that has no value, because of `reason`."""
    return Score(float("nan"), reason)


# --- multiclass ----------------------------------------------------------------------------------


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
    return _count_pairs(codes[0], codes[1], len(place))


def _count_pairs(truth: Array, predicted: Array, size: int) -> NDArray[np.int64]:
    return np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size)


def _confusion_of_seen(truth: Array, predicted: Array) -> NDArray[np.int64]:
    """Return the confusion matrix over the classes that occur in either vector."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    validate_multiclass(truth, predicted)
    classes, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    return _count_pairs(codes[: len(truth)], codes[len(truth) :], len(classes))


def per_class(matrix: Array) -> dict[str, Array]:
    """Return precision, recall, F1 and support of each class of a confusion matrix [k, k].

    NaN where undefined: precision of a class never predicted, recall of one that never occurs,
    F1 of one that does neither.
    """
    hits, support, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return {
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, support),
        "f1": _ratio(2 * hits, support + predicted),
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

    `macro` is the mean over the classes that occur in truth or prediction; `micro`, which counts
    all decisions together, equals the accuracy.
    """
    matrix = _confusion_of_seen(truth, predicted)
    return _accuracy(matrix) if _is_micro(average) else _f1_macro(matrix)


def _accuracy(matrix: Array) -> Score:
    total = matrix.sum()
    return Score(float(np.trace(matrix) / total)) if total else undefined("no rows")


def _balanced_accuracy(matrix: Array) -> Score:
    if not matrix.sum():
        return undefined("no rows")
    return Score(float(np.nanmean(per_class(matrix)["recall"])))


def _f1_macro(matrix: Array) -> Score:
    if not matrix.sum():
        return undefined("no rows")
    return Score(float(np.nanmean(per_class(matrix)["f1"])))


def log_loss(truth: Array, probabilities: Array, classes: Sequence[Any]) -> Score:
    """Return the mean negative log probability, in nats, of the true class.

    `truth`: labels [n]; `probabilities`: [n, k], rows summing to 1, columns in the order of
    `classes`. Probabilities are clipped to the resolution of their type, so that one certain
    mistake does not make the loss infinite.
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities)
    if probabilities.shape != (len(truth), len(classes)):
        raise ValueError(
            f"got probabilities of shape {probabilities.shape}, "
            f"expected {(len(truth), len(classes))}: rows x classes"
        )
    if not len(truth):
        return undefined("no rows")
    totals = probabilities.sum(axis=1)
    if not np.allclose(totals, 1.0, atol=1e-3):
        return undefined(f"scores are not probabilities: a row sums to {totals.max():.3g}")
    place = {label: index for index, label in enumerate(classes)}
    present, inverse = np.unique(truth, return_inverse=True)
    codes = np.array([place.get(label, -1) for label in present.tolist()])[inverse]
    if (codes < 0).any():
        return undefined(f"{int((codes < 0).sum())} rows have a class that has no probability")
    tiny = np.finfo(probabilities.dtype).eps
    chosen = probabilities[np.arange(len(truth)), codes].astype(np.float64)
    return Score(float(-np.log(np.clip(chosen, tiny, 1.0 - tiny)).mean()))


def multiclass(
    truth: Array,
    predicted: Array,
    probabilities: Array | None = None,
    classes: Sequence[Any] = (),
) -> dict[str, Score]:
    """Return every multiclass metric by name; `log_loss` only where probabilities are given.

    `truth`, `predicted`: labels [n]; `probabilities`: [n, k] in the order of `classes`.
    """
    matrix = _confusion_of_seen(truth, predicted)
    scores = {
        "accuracy": _accuracy(matrix),
        "balanced_accuracy": _balanced_accuracy(matrix),
        "f1_macro": _f1_macro(matrix),
        "f1_micro": _accuracy(matrix),
    }
    if probabilities is not None:
        scores["log_loss"] = log_loss(truth, probabilities, classes)
    return scores


# --- multilabel ----------------------------------------------------------------------------------


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


def roc_auc(truth: Array, scores: Array) -> Floats:
    """Return the area under the ROC curve of each tag: how often a hit outranks a miss.

    Ties count half. `truth`: 0/1 [n, tags]; `scores`: [n, tags], any monotone scale. Returns
    [tags]; NaN for a tag that all rows have, or none.
    """
    return _roc_auc(_rank(truth, scores))


def average_precision(truth: Array, scores: Array) -> Floats:
    """Return the average precision of each tag: the precision at each hit, averaged over the hits.

    Tied scores share the precision at the end of their tie. `truth`: 0/1 [n, tags]; `scores`:
    [n, tags]. Returns [tags]; NaN for a tag that no row has.
    """
    return _average_precision(_rank(truth, scores))


class _Ranking(NamedTuple):
    """Rows by falling score: for each tag and place [tags, n], whether it is a hit and its tie."""

    hits: NDArray[np.bool_]
    starts: NDArray[np.int64]  # first place with the same score
    ends: NDArray[np.int64]  # last place with the same score


def _rank(truth: Array, scores: Array) -> _Ranking:
    truth, scores = np.asarray(truth), np.asarray(scores)
    validate_multilabel(truth, scores)
    scores = np.ascontiguousarray(scores.T)
    # The order within a tie does not matter, so a reversed rising sort will do for any type.
    order = np.argsort(scores, axis=1, kind="stable")[:, ::-1]
    hits = np.take_along_axis(truth.T.astype(bool), order, axis=1)
    ranked = np.take_along_axis(scores, order, axis=1)
    changes = ranked[:, 1:] != ranked[:, :-1]
    place = np.arange(len(truth))
    starts, ends = np.zeros(hits.shape, int), np.full(hits.shape, len(truth) - 1)
    starts[:, 1:] = np.where(changes, place[1:], 0)
    ends[:, :-1] = np.where(changes, place[:-1], len(truth) - 1)
    return _Ranking(
        hits,
        np.maximum.accumulate(starts, axis=1),
        np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1],
    )


def _roc_auc(ranking: _Ranking) -> Floats:
    """Return the rank-sum identity: how far the hits' ranks (best 1) stay below their worst sum."""
    hits, starts, ends = ranking
    positives = hits.sum(axis=1)
    negatives = hits.shape[1] - positives
    rank_sums = np.where(hits, (starts + ends) / 2 + 1, 0.0).sum(axis=1)
    best = positives * (positives + 1) / 2
    return _ratio(positives * negatives + best - rank_sums, positives * negatives)


def _average_precision(ranking: _Ranking) -> Floats:
    hits, _, ends = ranking
    found = np.take_along_axis(np.cumsum(hits, axis=1), ends, axis=1)
    precisions = np.where(hits, found / (ends + 1), 0.0)
    return _ratio(precisions.sum(axis=1), hits.sum(axis=1))


def f1_per_tag(truth: Array, decisions: Array) -> Floats:
    """Return the F1 of each tag at given decisions; both 0/1 [n, tags].

    Returns [tags]; NaN for a tag that neither occurs nor is predicted.
    """
    truth, decisions = np.asarray(truth), np.asarray(decisions)
    validate_multilabel(truth, decisions)
    truth, decisions = truth.astype(bool), decisions.astype(bool)
    return _ratio(2 * (truth & decisions).sum(axis=0), truth.sum(axis=0) + decisions.sum(axis=0))


def f1_multilabel(truth: Array, decisions: Array, average: str = "macro") -> Score:
    """Return the F1 of tags at given decisions, both 0/1 [n, tags]; `macro` or `micro`."""
    if not _is_micro(average):
        return macro(f1_per_tag(truth, decisions))
    pooled = f1_per_tag(np.reshape(truth, (-1, 1)), np.reshape(decisions, (-1, 1)))[0]
    return undefined("no tag occurs or is predicted") if np.isnan(pooled) else Score(float(pooled))


def macro(values: Array, weights: Array | None = None) -> Score:
    """Average a metric over the tags where it is defined, and say how many tags were left out.

    `values`: [tags]; `weights`: [tags], for example the support (SEQ's WAUC), default equal.
    """
    values = np.asarray(values, np.float64)
    defined = np.isfinite(values)
    if weights is not None:
        defined &= np.asarray(weights) > 0
    left_out = int((~defined).sum())
    if not defined.any():
        return undefined(f"undefined for all {len(values)} tags: each has one class only")
    reason = f"{left_out} of {len(values)} tags left out: one class only" if left_out else ""
    chosen = None if weights is None else np.asarray(weights)[defined]
    return Score(float(np.average(values[defined], weights=chosen)), reason)


def multilabel(truth: Array, scores: Array, decisions: Array | None = None) -> dict[str, Score]:
    """Return every multilabel metric by name; F1 only where decisions are given.

    `truth`, `decisions`: 0/1 [n, tags]; `scores`: [n, tags]. `roc_auc_weighted` weighs tags by
    their support (the WAUC of the SEQ study).
    """
    ranking = _rank(truth, scores)
    areas = _roc_auc(ranking)
    metrics = {
        "roc_auc_macro": macro(areas),
        "average_precision_macro": macro(_average_precision(ranking)),
        "roc_auc_weighted": macro(areas, np.asarray(truth).sum(axis=0)),
    }
    if decisions is not None:
        metrics["f1_macro"] = f1_multilabel(truth, decisions, "macro")
        metrics["f1_micro"] = f1_multilabel(truth, decisions, "micro")
    return metrics


# --- regression ----------------------------------------------------------------------------------


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


def regression(truth: Array, predicted: Array) -> dict[str, Score]:
    """Return every regression metric by name; targets and predictions [n]."""
    return {
        metric.__name__: metric(truth, predicted)
        for metric in (r2, mae, mse, rmse, pearson, spearman)
    }


# --- ordinal -------------------------------------------------------------------------------------


def quadratic_kappa(truth: Array, predicted: Array) -> Score:
    """Return Cohen's kappa with weights that grow with the square of the distance in steps.

    `truth`, `predicted`: places of the classes in their order, whole numbers [n]. 1 is agreement,
    0 what independent labels with the same frequencies would have. J. Cohen, "Weighted kappa",
    Psychological Bulletin 1968.
    """
    truth, predicted = _regression_inputs(truth, predicted)
    if not len(truth):
        return undefined("no rows")
    # The expected squared distance of independent pairs needs their moments only.
    expected = truth.var() + predicted.var() + (truth.mean() - predicted.mean()) ** 2
    if expected == 0:
        return undefined("truth and predictions are of one class")
    return Score(float(1.0 - np.square(truth - predicted).mean() / expected))


def ordinal(
    truth: Array, predicted: Array, probabilities: Array | None = None, classes: int = 0
) -> dict[str, Score]:
    """Return every ordinal metric by name; `log_loss` only where probabilities are given.

    `truth`, `predicted`: places of the classes in their order, whole numbers [n]; `probabilities`:
    [n, classes]. `mae` is in steps.
    """
    scores = {
        "accuracy": accuracy(truth, predicted),
        "mae": mae(truth, predicted),
        "quadratic_kappa": quadratic_kappa(truth, predicted),
    }
    if probabilities is not None:
        scores["log_loss"] = log_loss(truth, probabilities, range(classes))
    return scores


# --- distributions -------------------------------------------------------------------------------


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


# --- shared --------------------------------------------------------------------------------------


def _is_micro(average: str) -> bool:
    if average not in ("macro", "micro"):
        raise ValueError(f"got average {average!r}, expected 'macro' or 'micro'")
    return average == "micro"


def _constant(values: Floats) -> bool:
    return len(values) == 0 or bool((values == values[0]).all())


def _ratio(numerator: Array, denominator: Array) -> Floats:
    """Divide, with NaN where the denominator is zero."""
    result = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) != 0)
    return result

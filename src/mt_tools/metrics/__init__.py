"""Metrics of tagging, on arrays.

Goal: the numbers that `mt-eval` reports for each kind of label.

Conventions, after mir_eval: `validate_*` runs first and refuses what cannot be compared; truth
comes before prediction; perfect input scores 1 (0 for an error or a loss). Unlabelled rows are
masked by the caller. A value that is undefined (one class only, a constant) is NaN in a `Score`
that says why, never zero; an average that leaves something out says what.

Metrics: accuracy, balanced accuracy, F1, top-k accuracy, log loss, expected calibration error and
the confusion matrix for multiclass labels; areas under the ROC and the precision-recall curve,
precision, recall, F1, ranking loss and precision for multilabel; MAE, MSE, RMSE, R2, Pearson's,
Spearman's and Kendall's correlation for regression; accuracy, the mean distance in steps and
quadratic weighted kappa for ordinal classes; Kullback-Leibler and Jensen-Shannon divergence, in
nats, for distributions; AP and nDCG of the first k for ranked lists. The definitions are
scikit-learn's and scipy's where they have them, which the tests hold them to; these versions need
no second to import, and resample without sorting again.
"""

from __future__ import annotations

from mt_tools.metrics.classes import (
    accuracy,
    balanced_accuracy,
    binned_error,
    bins,
    calibration_error,
    confusion,
    count_pairs,
    f1,
    log_loss,
    multiclass,
    multiclass_measure,
    ordinal,
    ordinal_measure,
    per_class,
    top_accuracy,
    validate_multiclass,
)
from mt_tools.metrics.mixtures import (
    distribution,
    js,
    kl,
    validate_distribution,
)
from mt_tools.metrics.numbers import (
    kendall,
    mae,
    mse,
    pearson,
    quadratic_kappa,
    r2,
    regression,
    rmse,
    spearman,
    validate_regression,
)
from mt_tools.metrics.ranking import RANKED, average_precision_at, ndcg_at, top_ranked
from mt_tools.metrics.scores import (
    AVERAGES,
    LOWER_IS_BETTER,
    RANGES,
    WHY_UNDEFINED,
    Score,
    macro,
    undefined,
)
from mt_tools.metrics.tags import (
    areas,
    average_precision,
    multilabel,
    multilabel_measure,
    per_tag,
    ranking_rows,
    roc_auc,
    validate_multilabel,
)

__all__ = [
    "AVERAGES",
    "LOWER_IS_BETTER",
    "RANGES",
    "RANKED",
    "WHY_UNDEFINED",
    "Score",
    "accuracy",
    "areas",
    "average_precision",
    "average_precision_at",
    "balanced_accuracy",
    "binned_error",
    "bins",
    "calibration_error",
    "confusion",
    "count_pairs",
    "distribution",
    "f1",
    "js",
    "kendall",
    "kl",
    "log_loss",
    "macro",
    "mae",
    "mse",
    "multiclass",
    "multiclass_measure",
    "multilabel",
    "multilabel_measure",
    "ndcg_at",
    "ordinal",
    "ordinal_measure",
    "pearson",
    "per_class",
    "per_tag",
    "quadratic_kappa",
    "r2",
    "ranking_rows",
    "regression",
    "rmse",
    "roc_auc",
    "spearman",
    "top_accuracy",
    "top_ranked",
    "undefined",
    "validate_distribution",
    "validate_multiclass",
    "validate_multilabel",
    "validate_regression",
]

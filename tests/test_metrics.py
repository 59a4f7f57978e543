"""Metrics against scikit-learn and scipy, and where they are undefined."""

import math

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import sklearn.metrics

from mt_tools import metrics

TOLERANCE = 1e-9


@pytest.fixture
def rng():
    """Return a seeded generator."""
    return np.random.default_rng(0)


def calibration_error_by_hand(confidence, right, bins=15):
    """Return the sum over bins of their share of rows times |accuracy - mean confidence|."""
    total = 0.0
    for number in range(bins):
        inside = [
            row for row, c in enumerate(confidence) if number / bins < c <= (number + 1) / bins
        ]
        if inside:
            gap = np.mean([right[row] for row in inside]) - np.mean(
                [confidence[row] for row in inside]
            )
            total += len(inside) / len(confidence) * abs(gap)
    return total


@pytest.mark.parametrize("classes", [2, 7])
def test_multiclass_agrees_with_scikit_learn(rng, classes):
    """Published accuracies, F1s and log losses would not compare with anyone else's."""
    names = np.array([f"genre {i}" for i in range(classes)], object)
    truth, predicted = (
        names[rng.integers(classes, size=200)],
        names[rng.integers(classes, size=200)],
    )
    chances = rng.dirichlet(np.ones(classes), size=200)
    got = metrics.multiclass(truth, predicted, chances, list(names))
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(truth, predicted),
        "f1_macro": sklearn.metrics.f1_score(truth, predicted, average="macro"),
        "f1_micro": sklearn.metrics.f1_score(truth, predicted, average="micro"),
        "f1_weighted": sklearn.metrics.f1_score(truth, predicted, average="weighted"),
        "log_loss": sklearn.metrics.log_loss(truth, chances, labels=list(names)),
        "calibration_error": calibration_error_by_hand(
            chances.max(axis=1), names[chances.argmax(axis=1)] == truth
        ),
    }
    for k in (3, 5):
        if k < classes:
            expected[f"top_{k}_accuracy"] = sklearn.metrics.top_k_accuracy_score(
                truth, chances, k=k, labels=list(names)
            )
    assert {name: score.value for name, score in got.items()} == pytest.approx(
        expected, abs=TOLERANCE
    )
    assert not any(score.reason for score in got.values())
    for name in ("accuracy", "balanced_accuracy"):
        assert getattr(metrics, name)(truth, predicted).value == pytest.approx(expected[name])
    for average in ("macro", "micro", "weighted"):
        value = metrics.f1(truth, predicted, average).value
        assert value == pytest.approx(expected[f"f1_{average}"], abs=TOLERANCE)


def test_confusion_and_per_class_agree_with_scikit_learn(rng):
    """A genre's row in the report would show another genre's precision and recall."""
    truth, predicted = rng.integers(4, size=(2, 100))
    matrix = metrics.confusion(truth, predicted, range(4))
    np.testing.assert_array_equal(matrix, sklearn.metrics.confusion_matrix(truth, predicted))
    got = metrics.per_class(matrix)
    expected = sklearn.metrics.precision_recall_fscore_support(truth, predicted)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(got[name], values, atol=TOLERANCE)


def test_class_that_is_predicted_but_never_true_lowers_macro_f1():
    """A model that invents a class would not be punished for it."""
    truth, predicted = np.array(["a", "a", "b"]), np.array(["a", "c", "b"])
    assert metrics.f1(truth, predicted).value == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics.balanced_accuracy(truth, predicted).value == pytest.approx(0.75)


@pytest.mark.parametrize("levels", [None, 4], ids=["distinct", "tied"])
def test_tag_ranking_agrees_with_scikit_learn(rng, levels):
    """AUC and average precision of tags would be wrong, above all where scores tie."""
    truth = rng.random((150, 9)) < np.linspace(0.05, 0.9, 9)
    scores = (
        rng.random((150, 9)) if levels is None else rng.integers(levels, size=(150, 9)) / levels
    )
    auc = [sklearn.metrics.roc_auc_score(truth[:, i], scores[:, i]) for i in range(9)]
    precision = [
        sklearn.metrics.average_precision_score(truth[:, i], scores[:, i]) for i in range(9)
    ]
    np.testing.assert_allclose(metrics.roc_auc(truth, scores), auc, atol=TOLERANCE)
    np.testing.assert_allclose(metrics.average_precision(truth, scores), precision, atol=TOLERANCE)
    got = metrics.multilabel(truth, scores)
    assert got["roc_auc_macro"].value == pytest.approx(np.mean(auc), abs=TOLERANCE)
    for average in ("macro", "micro", "weighted"):
        for name, oracle in (
            ("roc_auc", sklearn.metrics.roc_auc_score),
            ("average_precision", sklearn.metrics.average_precision_score),
        ):
            expected = oracle(truth, scores, average=average)
            assert got[f"{name}_{average}"].value == pytest.approx(expected, abs=TOLERANCE)
    some = truth.any(axis=1) & ~truth.all(axis=1)
    loss = sklearn.metrics.label_ranking_loss(truth[some], scores[some])
    precision = sklearn.metrics.label_ranking_average_precision_score(truth[some], scores[some])
    assert got["ranking_loss"].value == pytest.approx(loss, abs=TOLERANCE)
    assert got["ranking_precision"].value == pytest.approx(precision, abs=TOLERANCE)
    assert str((~some).sum()) in got["ranking_loss"].reason or some.all()
    errors = [
        calibration_error_by_hand(column, hits)
        for column, hits in zip(scores.T, truth.T, strict=True)
    ]
    if levels is None:  # zero lies in no bin by hand
        assert got["calibration_error"].value == pytest.approx(np.mean(errors), abs=TOLERANCE)


def test_tag_decisions_agree_with_scikit_learn(rng):
    """F1 of tags would not compare with published values."""
    truth, decisions = rng.random((2, 80, 6)) < 0.3
    got = metrics.multilabel(truth, decisions.astype(float), decisions)
    for average in ("macro", "micro", "weighted"):
        for name in ("f1", "precision", "recall"):
            expected = getattr(sklearn.metrics, f"{name}_score")(truth, decisions, average=average)
            assert got[f"{name}_{average}"].value == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("levels", [None, 3], ids=["distinct", "tied"])
def test_counted_rows_are_rows_that_stand_so_often(rng, levels):
    """Every interval would be that of another table than the one it resamples."""
    n, tags = 60, 5
    truth = rng.random((n, tags)) < np.linspace(0.1, 0.8, tags)
    scores = rng.random((n, tags)) if levels is None else rng.integers(levels, size=(n, tags)) / 3
    decisions = scores > 0.5
    rows = rng.integers(n, size=n)
    counts = np.bincount(rows, minlength=n)
    overall, each = metrics.multilabel_measure(truth, scores, decisions)(counts)
    again, each_again = metrics.multilabel_measure(truth[rows], scores[rows], decisions[rows])(None)
    assert {k: v.value for k, v in overall.items()} == pytest.approx(
        {k: v.value for k, v in again.items()}, abs=TOLERANCE
    )
    assert {k: v.reason for k, v in overall.items()} == {k: v.reason for k, v in again.items()}
    for name, values in each.items():
        np.testing.assert_allclose(values, each_again[name], atol=TOLERANCE)

    classes = rng.integers(7, size=(2, n))
    chances = rng.dirichlet(np.ones(7), n)
    measure = metrics.multiclass_measure(*classes, chances, range(7))
    got = measure(counts)
    expected = metrics.multiclass(*classes[:, rows], chances[rows], range(7))
    assert {k: v.value for k, v in got.items()} == pytest.approx(
        {k: v.value for k, v in expected.items()}, abs=TOLERANCE
    )


def test_counted_ordinal_rows_are_rows_that_stand_so_often(rng):
    """Intervals of ordered classes would be those of another table than the one resampled."""
    truth, predicted = rng.integers(5, size=(2, 80))
    chances = rng.dirichlet(np.ones(5), 80)
    rows = rng.integers(80, size=80)
    got = metrics.ordinal_measure(truth, predicted, chances, range(5))(np.bincount(rows, None, 80))
    expected = metrics.ordinal(truth[rows], predicted[rows], chances[rows], range(5))
    assert {k: v.value for k, v in got.items()} == pytest.approx(
        {k: v.value for k, v in expected.items()}, abs=TOLERANCE
    )


def test_equal_chances_are_a_draw():
    """A model that says the same of every class would have the right one among its first."""
    chances = np.full((4, 8), 1 / 8)
    assert metrics.top_accuracy(np.arange(4), chances, range(8), 3).value == pytest.approx(3 / 8)
    unknown = metrics.top_accuracy(np.array([0, 99]), np.eye(8)[:2], range(8), 3)
    assert unknown.value == pytest.approx(0.5)


def test_regression_agrees_with_scikit_learn_and_scipy(rng):
    """R2, errors and correlations of energy or tempo would be wrong."""
    truth = rng.normal(120, 30, 60).round()
    predicted = truth + rng.normal(0, 20, 60)
    got = metrics.regression(truth, predicted)
    expected = {
        "r2": sklearn.metrics.r2_score(truth, predicted),
        "mae": sklearn.metrics.mean_absolute_error(truth, predicted),
        "mse": sklearn.metrics.mean_squared_error(truth, predicted),
        "rmse": sklearn.metrics.root_mean_squared_error(truth, predicted),
        "pearson": scipy.stats.pearsonr(truth, predicted)[0],
        "spearman": scipy.stats.spearmanr(truth, predicted)[0],
        "kendall": scipy.stats.kendalltau(truth, predicted)[0],
    }
    assert {name: score.value for name, score in got.items()} == pytest.approx(
        expected, abs=TOLERANCE
    )


def test_perfect_input_scores_one(rng):
    """A perfect model would not look perfect."""
    labels = np.array(["a", "b", "c"], object)
    tags = rng.random((30, 4)) < 0.5
    for scores in (
        metrics.multiclass(labels, labels, np.eye(3), list(labels)),
        metrics.multilabel(tags, tags.astype(float), tags),
        metrics.regression(np.arange(5.0), np.arange(5.0)),
    ):
        for name, (value, _) in scores.items():
            best = 0.0 if name in metrics.LOWER_IS_BETTER else 1.0
            assert value == pytest.approx(best, abs=1e-12)
            low, high = metrics.RANGES[name]
            assert low <= value <= high


def test_undefined_tags_are_nan_and_named_in_the_mean():
    """A tag that no test track has would count as zero, or vanish from the mean unseen."""
    truth = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    scores = np.array([[0.9, 0.1, 0.2], [0.2, 0.3, 0.3], [0.8, 0.2, 0.4]])
    np.testing.assert_array_equal(metrics.roc_auc(truth, scores), [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(metrics.average_precision(truth, scores), [1.0, np.nan, 1.0])
    mean = metrics.macro(metrics.roc_auc(truth, scores))
    assert mean.value == 1.0
    assert "2 of 3 tags" in mean.reason
    nothing = metrics.macro(np.array([np.nan, np.nan]))
    assert math.isnan(nothing.value)
    assert "all 2 tags" in nothing.reason


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (lambda: metrics.r2(np.ones(4), np.arange(4.0)), "targets do not vary"),
        (lambda: metrics.pearson(np.arange(4.0), np.ones(4)), "predictions do not vary"),
        (lambda: metrics.spearman(np.ones(4), np.arange(4.0)), "targets do not vary"),
        (lambda: metrics.mae(np.array([]), np.array([])), "no rows"),
        (lambda: metrics.accuracy(np.array([]), np.array([])), "no rows"),
        (
            lambda: metrics.log_loss(np.array(["a", "x"]), np.full((2, 2), 0.5), ["a", "b"]),
            "1 rows have a class that has no probability",
        ),
        (
            lambda: metrics.log_loss(np.array(["a", "b"]), np.full((2, 2), 0.9), ["a", "b"]),
            "not probabilities",
        ),
    ],
)
def test_undefined_values_say_why(score, reason):
    """An undefined metric would be reported as a number, or without an explanation."""
    value, got = score()
    assert math.isnan(value)
    assert reason in got


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.accuracy(np.array(["a"]), np.array(["a", "b"])),
        lambda: metrics.accuracy(np.array(["a", None], object), np.array(["a", "b"], object)),
        lambda: metrics.confusion(np.array(["a"]), np.array(["z"]), ["a"]),
        lambda: metrics.roc_auc(np.array([[2]]), np.array([[0.5]])),
        lambda: metrics.roc_auc(np.array([[1]]), np.array([[np.nan]])),
        lambda: metrics.r2(np.array([np.nan, 1]), np.array([0.0, 1])),
        lambda: metrics.f1(np.array(["a"]), np.array(["a"]), "binary"),
    ],
)
def test_invalid_input_is_refused(call):
    """Unlabelled rows or misaligned columns would be scored as if they were data."""
    with pytest.raises(ValueError, match=r"."):
        call()


@pytest.mark.parametrize("classes", [2, 5])
def test_ordinal_agrees_with_scikit_learn(rng, classes):
    """A kappa or a distance in steps could not be compared with anyone else's."""
    truth = rng.integers(classes, size=200)
    predicted = np.clip(truth + rng.integers(-1, 2, size=200), 0, classes - 1)
    chances = rng.dirichlet(np.ones(classes), size=200)
    got = metrics.ordinal(truth, predicted, chances, range(classes))
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(truth, predicted),
        "mae": sklearn.metrics.mean_absolute_error(truth, predicted),
        "quadratic_kappa": sklearn.metrics.cohen_kappa_score(truth, predicted, weights="quadratic"),
        "log_loss": sklearn.metrics.log_loss(truth, chances, labels=range(classes)),
    }
    values = {name: score.value for name, score in got.items()}
    assert values == pytest.approx(expected, abs=TOLERANCE)
    assert "log_loss" not in metrics.ordinal(truth, predicted)


def test_kappa_by_hand_and_where_it_is_undefined():
    """A model that always says one class would get a kappa out of nothing."""
    # Reversed order: the mean squared distance is 2 (4, 0 and 4 over 3 is 8/3), by chance 4/3.
    assert metrics.quadratic_kappa(np.array([0, 1, 2]), np.array([2, 1, 0])).value == (
        pytest.approx(1 - (8 / 3) / (4 / 3))
    )
    assert metrics.quadratic_kappa(np.array([0, 1, 2]), np.array([1, 1, 1])).value == 0.0
    same = metrics.quadratic_kappa(np.array([1, 1]), np.array([1, 1]))
    assert math.isnan(same.value)
    assert "one class" in same.reason
    assert math.isnan(metrics.quadratic_kappa(np.array([]), np.array([])).value)


def test_distributions_agree_with_scipy(rng):
    """A divergence would be in another unit, or a distance instead."""
    truth = rng.dirichlet([0.3, 1.0, 2.0, 5.0], size=100)
    truth[0] = [1, 0, 0, 0]
    predicted = rng.dirichlet(np.ones(4), size=100)
    got = metrics.distribution(truth, predicted)
    kl = [scipy.stats.entropy(p, q) for p, q in zip(truth, predicted, strict=True)]
    distance = scipy.spatial.distance.jensenshannon(truth, predicted, axis=1)
    assert got["kl"].value == pytest.approx(np.mean(kl), abs=TOLERANCE)
    assert got["js"].value == pytest.approx(np.mean(distance**2), abs=TOLERANCE)
    perfect = metrics.distribution(truth, truth)
    assert perfect["kl"].value == pytest.approx(0, abs=TOLERANCE)
    assert perfect["js"].value == pytest.approx(0, abs=TOLERANCE)


def test_a_certain_mistake_about_a_distribution_is_not_infinite():
    """One row would hide all others."""
    truth, predicted = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]], np.float32)
    assert metrics.kl(truth, predicted).value == pytest.approx(-math.log(2**-23))
    assert metrics.js(truth, predicted).value == pytest.approx(math.log(2))
    assert metrics.RANGES["js"] == (0.0, pytest.approx(math.log(2)))


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([[0.5, 0.5]], [[0.5, 0.6]], "predicted has rows that are no distributions"),
        ([[-0.5, 1.5]], [[0.5, 0.5]], "truth has rows that are no distributions"),
        ([[np.nan, 1.0]], [[0.5, 0.5]], "truth has rows that are no distributions"),
        ([[0.5, 0.5]], [[0.2, 0.3, 0.5]], "expected two of"),
    ],
)
def test_what_is_no_distribution_is_refused(truth, predicted, message):
    """A divergence of numbers that are no probabilities would be reported as one."""
    with pytest.raises(ValueError, match=message):
        metrics.kl(np.array(truth), np.array(predicted))


def test_what_sums_to_less_than_one_is_said():
    """Scores would be refused as probabilities for summing to 1."""
    chances = np.array([[0.5, 0.5], [0.1, 0.2]])
    assert "sums to 0.3" in metrics.log_loss(np.array([0, 1]), chances, range(2)).reason

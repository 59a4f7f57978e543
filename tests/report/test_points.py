"""What figures of predictions draw, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from mt_tools import metrics
from mt_tools.report import points


@pytest.fixture(params=[0, 1, 2])
def ranked(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores with many ties, 200 rows."""
    rng = np.random.default_rng(request.param)
    truth = rng.random(200) < 0.3
    return truth, np.round(rng.random(200) * 0.7 + truth * 0.3, request.param + 1)


def test_roc_curves_are_those_of_scikit_learn(ranked: tuple[np.ndarray, np.ndarray]) -> None:
    """A figure would show another curve than the number beside it is of."""
    curve = points.roc_points(*ranked)
    false, true, _ = roc_curve(*ranked, drop_intermediate=False)
    np.testing.assert_allclose(curve.x, false, atol=1e-12)
    np.testing.assert_allclose(curve.y, true, atol=1e-12)
    area = metrics.roc_auc(ranked[0][:, None], ranked[1][:, None])[0]
    assert auc(curve.x, curve.y) == pytest.approx(area, abs=1e-12)


def test_precision_recall_curves_are_those_of_scikit_learn(
    ranked: tuple[np.ndarray, np.ndarray],
) -> None:
    """Steps below the curve are the average precision; lines between points would be too high."""
    curve = points.pr_points(*ranked)
    precision, recall, _ = precision_recall_curve(*ranked)
    np.testing.assert_allclose(curve.x, recall[-2::-1], atol=1e-12)
    np.testing.assert_allclose(curve.y, precision[-2::-1], atol=1e-12)
    steps = np.sum(np.diff(curve.x, prepend=0.0) * curve.y)
    assert steps == pytest.approx(average_precision_score(*ranked), abs=1e-12)


def test_mean_curves_have_the_mean_area() -> None:
    """The thick line would belong to another number than its legend says."""
    rng = np.random.default_rng(0)
    truth = rng.random((300, 6)) < 0.4
    truth[:, 5] = False  # a tag that no row has is in no mean
    scores = truth * rng.random(6) + rng.random((300, 6))
    roc = points.mean_roc([points.roc_points(truth[:, i], scores[:, i]) for i in range(6)])
    area = np.nanmean(metrics.roc_auc(truth, scores))
    assert auc(roc.x, roc.y) == pytest.approx(area, abs=2 / points.GRID)
    pr = points.mean_pr([points.pr_points(truth[:, i], scores[:, i]) for i in range(6)])
    area = np.nanmean(metrics.average_precision(truth, scores))
    assert np.mean(pr.y) == pytest.approx(area, abs=5e-3)


def test_reliability_diagrams_are_those_of_scikit_learn() -> None:
    """A model would look calibrated that is not; the error is the one that is scored."""
    rng = np.random.default_rng(1)
    chances = rng.dirichlet(np.ones(4), 500)
    truth = np.array([rng.choice(4, p=row**2 / (row**2).sum()) for row in chances])
    best = chances.argmax(axis=1)
    found = points.reliability(truth == best, chances.max(axis=1))
    observed, confidence = calibration_curve(truth == best, chances.max(axis=1), n_bins=15)
    np.testing.assert_allclose(found.observed, observed, atol=1e-12)
    np.testing.assert_allclose(found.confidence, confidence, atol=1e-12)
    assert found.rows.sum() == 500
    scored = metrics.calibration_error(truth, chances, range(4)).value
    assert found.error == pytest.approx(scored, abs=1e-12)


def test_accuracy_over_coverage_by_hand() -> None:
    """Rows of equal confidence are answered together: no order among them is honest."""
    right = np.array([True, False, True, True, False])
    curve = points.coverage_points(right, np.array([0.9, 0.5, 0.9, 0.5, 0.1]))
    np.testing.assert_allclose(curve.x, [0.4, 0.8, 1.0])
    np.testing.assert_allclose(curve.y, [1.0, 0.75, 0.6])


def test_undefined_curves_say_so() -> None:
    """A tag that no row has would be drawn as the worst or the best of all."""
    assert np.isnan(points.roc_points(np.zeros(4, bool), np.arange(4.0)).y).all()
    assert np.isnan(points.roc_points(np.ones(4, bool), np.arange(4.0)).x).all()
    assert np.isnan(points.pr_points(np.zeros(4, bool), np.arange(4.0)).x).all()
    assert np.isnan(points.mean_roc([]).y[1:]).all()
    assert len(points.coverage_points(np.zeros(0, bool), np.zeros(0)).x) == 0

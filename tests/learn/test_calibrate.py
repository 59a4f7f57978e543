"""Calibration: planted miscalibration is found, and errors are those that others compute."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from mt_tools import metrics
from mt_tools.errors import UsageError
from mt_tools.learn.calibrate import (
    COLDEST,
    Gaps,
    fit,
    isotonic,
    log_losses,
    temperature,
    yes,
)
from mt_tools.tasks.calibration import calibrated

KINDS = ("multiclass", "ordinal", "multilabel", "distribution")


def task(kind: str, classes: int = 4) -> dict[str, Any]:
    """A task as a model file holds it."""
    vocabulary = [f"c{place}" for place in range(classes)]
    return {"name": "t", "kind": kind, "vocabulary": vocabulary, "thresholds": None}


def planted(kind: str, n: int, factor: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scores whose logits are `factor` times those that the labels are drawn by."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=(n, 4))
    if kind == "multilabel":
        truth = (rng.random((n, 4)) < expit(logits)).astype(np.float32)
        return expit(factor * logits).astype(np.float32), truth
    chances = softmax(logits, axis=1)
    scores = softmax(factor * logits, axis=1).astype(np.float32)
    if kind == "distribution":
        return scores, np.stack([rng.dirichlet(50 * row) for row in chances])
    return scores, np.array([rng.choice(4, p=row) for row in chances])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [2.5, 0.4])
def test_a_planted_temperature_is_found(kind: str, factor: float) -> None:
    """A network that is 2.5 times too sure would stay so, and one that is not sure enough."""
    scores, truth = planted(kind, 4000, factor)
    found, reasons = fit("temperature", task(kind), scores, truth)
    assert found["temperature"] == pytest.approx(factor, rel=0.08)
    assert not reasons
    fresh, fresh_truth = planted(kind, 4000, factor, seed=1)
    better = calibrated({**task(kind), "calibration": found}, fresh)
    assert (
        log_losses(kind, better, fresh_truth).mean() < log_losses(kind, fresh, fresh_truth).mean()
    )
    if kind != "distribution":
        once = np.ones(len(fresh))
        before = Gaps(task(kind), fresh, fresh_truth).error(once)
        assert before > 0.08
        assert Gaps(task(kind), better, fresh_truth).error(once) < 0.035


@pytest.mark.parametrize("kind", KINDS)
def test_the_temperature_is_that_of_direct_minimisation(kind: str) -> None:
    """Some other temperature would have a lower loss."""
    scores, truth = planted(kind, 150, 1.7)
    exact = scores.astype(np.float64)

    def loss(cold: np.ndarray) -> float:
        if kind == "multilabel":
            p = expit(cold[0] * np.log(exact / (1 - exact)))
            return -np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p))
        logs = log_softmax(cold[0] * np.log(exact), axis=1)
        if kind == "distribution":
            return -np.mean((truth * logs).sum(axis=1))
        return -np.mean(logs[np.arange(len(truth)), truth])

    best = minimize(loss, [1.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
    assert temperature(kind, exact, truth) == pytest.approx(1 / best.x[0], rel=1e-4)


def test_rows_that_are_all_right_end_at_the_coldest() -> None:
    """The search would run away where the best temperature is 0."""
    scores = np.array([[0.6, 0.4], [0.3, 0.7]])
    assert temperature("multiclass", scores, np.array([0, 1])) == pytest.approx(COLDEST, rel=0.01)


@pytest.mark.parametrize("levels", [1000, 7])
def test_curves_are_those_of_scikit_learn(levels: int) -> None:
    """Pooling or ties would be wrong; scores have ties when few differ."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, levels, 300) / levels
    truth = rng.random(300) < scores**2
    knots = json.loads(json.dumps(isotonic(scores, truth)))
    bounds = {"y_min": 1 / 302, "y_max": 301 / 302, "out_of_bounds": "clip"}
    expected = IsotonicRegression(**bounds).fit(scores, truth)
    new = np.linspace(-0.1, 1.1, 500)
    np.testing.assert_allclose(np.interp(new, *knots), expected.predict(new), atol=1e-9)
    assert len(knots[0]) < len(np.unique(scores)) or levels == 7


def test_scores_that_are_too_high_throughout_need_a_curve() -> None:
    """Tags trained with balanced classes are expected too often, which no temperature mends."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=1.5, size=(4000, 4)) - 2
    truth = (rng.random((4000, 4)) < expit(logits)).astype(np.float32)
    scores = expit(logits + 2.2).astype(np.float32)
    half, once = slice(0, 2000), np.ones(2000)
    errors = {}
    for method in ("temperature", "isotonic"):
        found, reasons = fit(method, task("multilabel"), scores[half], truth[half])
        assert not reasons
        better = calibrated({**task("multilabel"), "calibration": found}, scores[2000:])
        errors[method] = Gaps(task("multilabel"), better, truth[2000:]).error(once)
    assert Gaps(task("multilabel"), scores[2000:], truth[2000:]).error(once) > 0.25
    assert errors["temperature"] > 0.1
    assert errors["isotonic"] < 0.04


def test_a_tag_with_few_rows_gets_no_curve_and_is_named() -> None:
    """Three rows would decide what every score of a tag means, without a word."""
    scores, truth = planted("multilabel", 600, 1.0)
    truth[:, 1] = 0
    truth[:3, 1] = 1
    truth[:, 2] = 1
    truth[:50, 2] = 0
    found, reasons = fit("isotonic", task("multilabel"), scores, truth)
    assert [knots is None for knots in found["knots"]] == [False, True, False, False]
    assert reasons == {
        1: "fewer than 5 rows of one side, scores stay as they are",
        2: "fewer than 200 rows of one side, the curve may follow their chance",
    }
    better = calibrated({**task("multilabel"), "calibration": found}, scores)
    np.testing.assert_allclose(better[:, 1], scores[:, 1], atol=1e-7)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_curves_of_classes_calibrate_classes(kind: str) -> None:
    """One curve a class, or a step of ordered ones, would not make a probability of a score."""
    scores, truth = planted(kind, 6000, 2.5)
    found, _ = fit("isotonic", task(kind), scores[:3000], truth[:3000])
    assert len(found["knots"]) == yes(kind, truth, 4).shape[1]
    better = calibrated({**task(kind), "calibration": found}, scores[3000:])
    np.testing.assert_allclose(better.sum(axis=1), 1.0, atol=1e-5)
    assert Gaps(task(kind), better, truth[3000:]).error(np.ones(3000)) < 0.06
    assert (
        log_losses(kind, better, truth[3000:]).mean()
        < log_losses(kind, scores[3000:], truth[3000:]).mean()
    )


def test_losses_and_errors_are_those_of_the_metrics() -> None:
    """mt-eval thresholds would report other numbers than mt-eval score for the same rows."""
    scores, truth = planted("multiclass", 300, 2.0)
    exact = scores.astype(np.float64)
    expected = log_loss(truth, exact / exact.sum(axis=1, keepdims=True), labels=range(4))
    assert log_losses("multiclass", scores, truth).mean() == pytest.approx(expected, rel=1e-5)
    gaps = Gaps(task("multiclass"), scores, truth)
    value, _ = metrics.calibration_error(truth, scores, range(4))
    assert gaps.error(np.ones(300)) == pytest.approx(value)
    rows = np.random.default_rng(0).integers(300, size=300)
    value, _ = metrics.calibration_error(truth[rows], scores[rows], range(4))
    assert gaps.error(np.bincount(rows, minlength=300)) == pytest.approx(value)
    scores, truth = planted("multilabel", 300, 2.0)
    whole = metrics.multilabel(truth, scores)
    found = Gaps(task("multilabel"), scores, truth).error(np.ones(300))
    assert found == pytest.approx(whole["calibration_error"].value)
    each = [log_loss(truth[:, tag], scores[:, tag].astype(np.float64)) for tag in range(4)]
    assert log_losses("multilabel", scores, truth).mean() == pytest.approx(np.mean(each), rel=1e-5)


def test_what_cannot_be_fitted_is_said() -> None:
    """A wrong name would leave the scores as they are."""
    scores, truth = planted("distribution", 20, 1.0)
    with pytest.raises(UsageError, match="expected one of temperature, isotonic"):
        fit("platt", task("distribution"), scores, truth)
    with pytest.raises(UsageError, match="choose --calibrate temperature"):
        fit("isotonic", task("distribution"), scores, truth)

"""Calibrated scores: what a temperature and rising curves make of those of a network."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.isotonic import IsotonicRegression

from mt_tools.errors import UsageError
from mt_tools.tasks.calibration import calibrated, calibrated_tags, questions
from mt_tools.tasks.kinds import scores


def task(kind: str, calibration: dict[str, Any] | None, classes: int = 4) -> dict[str, Any]:
    """A task as a model file holds it."""
    vocabulary = [f"c{place}" for place in range(classes)]
    made = {"name": "t", "kind": kind, "vocabulary": vocabulary, "thresholds": None}
    return made if calibration is None else {**made, "calibration": calibration}


@pytest.mark.parametrize("kind", ["multiclass", "distribution", "multilabel"])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_a_temperature_divides_the_logits(kind: str, temperature: float) -> None:
    """Calibration on scores would be another one than that of Guo et al. on logits."""
    logits = np.random.default_rng(0).normal(scale=3, size=(200, 4))
    whole = task(kind, {"method": "temperature", "temperature": temperature})
    got = calibrated(whole, scores(whole, logits))
    if kind == "multilabel":
        expected = expit(logits / temperature)
    else:
        expected = softmax(logits / temperature, axis=1)
    assert got.dtype == np.float32
    # A score near 1 has 24 bits, and so has its distance from 1, which a sharper map multiplies.
    np.testing.assert_allclose(got, expected, atol=3e-6)


def test_a_score_of_0_or_1_stays_a_number() -> None:
    """A network that is certain would have scores that are no numbers, and no tags."""
    for kind in ("multiclass", "ordinal", "multilabel"):
        whole = task(kind, {"method": "temperature", "temperature": 2.0})
        got = calibrated(whole, np.array([[1.0, 0.0, 0.0, 0.0]], np.float32))
        assert np.isfinite(got).all()
        assert got[0].argmax() == 0
    # log(2^24) / 2 is the logit that is left of a tag's certainty.
    assert got[0, 0] == pytest.approx(expit(np.log(2**24) / 2), abs=1e-6)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "multilabel"])
@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_rows_without_scores_stay_without(kind: str, method: str) -> None:
    """A track that cannot be heard would get tags."""
    curve = [[0.1, 0.9], [0.2, 0.7]]
    how = {"method": method, "temperature": 2.0, "knots": [curve] * (4 - (kind == "ordinal"))}
    given = np.array([[0.1, 0.2, 0.3, 0.4], [np.nan] * 4], np.float32)
    got = calibrated(task(kind, how), given)
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1]).all()
    assert calibrated(task(kind, how), given[:0]).shape == (0, 4)


def test_curves_of_tags_and_classes_are_those_of_scikit_learn() -> None:
    """A model would be calibrated by other curves than those that were fitted and reported."""
    rng = np.random.default_rng(0)
    given = rng.dirichlet(np.ones(4), size=300)
    truth = (rng.random((300, 4)) < given**2).astype(float)
    fitted = [
        IsotonicRegression(out_of_bounds="clip").fit(given[:, k], truth[:, k]) for k in range(4)
    ]
    knots: list[Any] = [[f.X_thresholds_.tolist(), f.y_thresholds_.tolist()] for f in fitted]
    knots = json.loads(json.dumps(knots))
    new = rng.dirichlet(np.ones(4), size=50)
    expected = np.stack([f.predict(new[:, k]) for k, f in enumerate(fitted)], axis=1)
    got = calibrated(task("multilabel", {"method": "isotonic", "knots": knots}), new)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    got = calibrated(task("multiclass", {"method": "isotonic", "knots": knots}), new)
    np.testing.assert_allclose(got, expected / expected.sum(axis=1, keepdims=True), atol=1e-6)
    knots[2] = None
    got = calibrated(task("multilabel", {"method": "isotonic", "knots": knots}), new)
    np.testing.assert_allclose(got[:, 2], new[:, 2], atol=1e-6)


def test_ordered_classes_stay_probabilities() -> None:
    """Curves that cross would give a class a negative probability."""
    rng = np.random.default_rng(0)
    given = rng.dirichlet(np.ones(4), size=100)
    asked = questions("ordinal", given)
    np.testing.assert_allclose(asked[:, 1], given[:, 2:].sum(axis=1))
    straight = [[0.0, 1.0], [0.0, 1.0]]
    same = calibrated(task("ordinal", {"method": "isotonic", "knots": [straight] * 3}), given)
    np.testing.assert_allclose(same, given, atol=1e-6)
    crossing = [[[0.0, 1.0], [0.0, 0.5]], straight, [[0.0, 1.0], [0.6, 1.0]]]
    got = calibrated(task("ordinal", {"method": "isotonic", "knots": crossing}), given)
    assert (got >= 0).all()
    assert not np.signbit(got).any()  # -0.0 would be written as such
    np.testing.assert_allclose(got.sum(axis=1), 1.0, atol=1e-6)
    # The first curve bounds the others, and P(y > 0) is what it says.
    np.testing.assert_allclose(1 - got[:, 0], asked[:, 0] / 2, atol=1e-6)


def test_thresholds_move_with_the_scores() -> None:
    """A tag whose threshold is kept would apply to other tracks once the model is calibrated."""
    rng = np.random.default_rng(0)
    given = rng.random((500, 2)).astype(np.float32)
    curve = [[0.1, 0.4, 0.9], [0.05, 0.6, 0.8]]
    thresholds = [0.3, 0.77]
    for how in ({"method": "temperature", "temperature": 2.5},
                {"method": "isotonic", "knots": [curve, None]}):  # fmt: skip
        whole = task("multilabel", how, classes=2)
        moved = calibrated_tags(whole, np.array(thresholds))
        after = calibrated(whole, given) >= moved
        np.testing.assert_array_equal(after, given >= thresholds)


def test_a_model_without_calibration_has_its_scores_as_they_are() -> None:
    """Models of before would tag otherwise, or not at all."""
    given = np.array([[0.25, 0.75]], np.float32)
    assert calibrated(task("multiclass", None, classes=2), given) is given
    assert calibrated({**task("regression", None), "calibration": None}, given) is given


def test_what_cannot_be_applied_is_said() -> None:
    """A model of a later version would be applied without its calibration."""
    given = np.full((1, 4), 0.25, np.float32)
    with pytest.raises(UsageError, match="calibrated by 'beta', expected temperature or isotonic"):
        calibrated(task("multiclass", {"method": "beta"}), given)
    with pytest.raises(UsageError, match="choose --calibrate temperature"):
        questions("distribution", given)

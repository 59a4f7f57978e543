"""Thresholds: no other cut of the scores has a higher F1."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from mt_tools.learn.calibrate import f1_thresholds


def f1(scores: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    """F1 of one tag as scikit-learn has it."""
    return f1_score(truth, scores >= threshold, zero_division=0.0)


def brute_force(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the best F1 over every cut, the one above all scores included."""
    return max(f1(scores, truth, t) for t in [*scores, 2.0])


rows = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.8, 1.0]) | st.floats(0, 1), st.booleans()),
    min_size=1,
    max_size=12,
).filter(lambda drawn: any(positive for _, positive in drawn))


@settings(deadline=None)
@example([(0.0, False), (5e-324, True)])
@given(rows)
def test_no_cut_is_better(drawn: list[tuple[float, bool]]) -> None:
    """Tags would be decided by a threshold that a user could beat by hand."""
    scores = np.array([score for score, _ in drawn])
    truth = np.array([positive for _, positive in drawn])
    (threshold,) = f1_thresholds(scores[:, None], truth[:, None], np.ones(len(drawn), dtype=bool))
    assert 0.0 <= threshold <= 1.0
    assert f1(scores, truth, threshold) == brute_force(scores, truth)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_tags_at_once(dtype: type) -> None:
    """Tags would be given each other's thresholds."""
    rng = np.random.default_rng(0)
    truth = rng.random((60, 5)) < [0.5, 0.3, 0.2, 0.1, 0.05]
    scores = np.clip(0.3 * truth + 0.6 * rng.random((60, 5)), 0, 1).astype(dtype)
    mask = rng.random(60) < 0.8
    thresholds = f1_thresholds(scores, truth.astype(np.float32), mask)
    assert json.loads(json.dumps(thresholds)) == thresholds
    for tag, threshold in enumerate(thresholds):
        got = f1(scores[mask, tag], truth[mask, tag], threshold)
        assert got == brute_force(scores[mask, tag], truth[mask, tag])


def test_equals_take_the_highest_and_lie_between_scores() -> None:
    """Two runs would choose different thresholds, or rounding would move a track across one."""
    scores = np.array([[0.9], [0.7], [0.5], [0.3]])
    # Cutting after the first row: F1 = 2/3. After the fourth: 4/6, the same.
    truth = np.array([[1], [0], [0], [1]])
    assert f1_thresholds(scores, truth, np.ones(4, dtype=bool)) == [pytest.approx(0.8)]


def test_a_tag_without_positive_rows_has_the_default() -> None:
    """A tag never seen in validation would be written on every track, or crash the calibration."""
    scores = np.array([[0.2, 0.9], [0.3, 0.1]])
    truth = np.array([[0, 1], [0, 0]])
    everything = np.ones(2, dtype=bool)
    assert f1_thresholds(scores, truth, everything) == [0.5, pytest.approx(0.5)]
    assert f1_thresholds(scores, truth, ~everything) == [0.5, 0.5]
    assert f1_thresholds(scores, truth, np.array([False, True])) == [0.5, 0.5]

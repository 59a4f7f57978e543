"""Thresholds: no other cut of the scores serves better what was asked for."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score, precision_score, recall_score

from mt_tools.errors import UsageError
from mt_tools.learn.thresholds import (
    Goal,
    applies,
    at_least,
    cuts,
    f1_thresholds,
    kept_right,
    parse_goal,
    risk_area,
    tag_thresholds,
    threshold,
)


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
    (best,) = f1_thresholds(scores[:, None], truth[:, None], np.ones(len(drawn), dtype=bool))
    assert 0.0 <= best <= 1.0
    assert f1(scores, truth, best) == brute_force(scores, truth)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_tags_at_once(dtype: type) -> None:
    """Tags would be given each other's thresholds."""
    rng = np.random.default_rng(0)
    truth = rng.random((60, 5)) < [0.5, 0.3, 0.2, 0.1, 0.05]
    scores = np.clip(0.3 * truth + 0.6 * rng.random((60, 5)), 0, 1).astype(dtype)
    mask = rng.random(60) < 0.8
    thresholds = f1_thresholds(scores, truth.astype(np.float32), mask)
    assert json.loads(json.dumps(thresholds)) == thresholds
    for tag, best in enumerate(thresholds):
        got = f1(scores[mask, tag], truth[mask, tag], best)
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


@settings(deadline=None)
@given(rows, st.sampled_from([0.4, 0.6, 0.9]), st.sampled_from([0.5, 0.95]))
def test_precision_keeps_the_most_tags_and_recall_the_fewest(
    drawn: list[tuple[float, bool]], share: float, sure: float
) -> None:
    """`--for precision:0.9` would leave out tags that it could write, or write wrong ones."""
    scores = np.array([score for score, _ in drawn])
    truth = np.array([positive for _, positive in drawn])
    ranking = cuts(scores, truth)
    able: dict[str, list[tuple[int, int]]] = {"precision": [], "recall": []}
    for cut in {*scores, 2.0}:
        chosen = scores >= cut
        hits = int((chosen & truth).sum())
        for name, tries in (("precision", int(chosen.sum())), ("recall", int(truth.sum()))):
            if tries and end(hits, tries, sure) >= share:
                able[name].append((int(chosen.sum()), hits))
    for name, best in (("precision", max), ("recall", min)):
        found = threshold(Goal(name, (share,)), ranking, sure=sure)
        if found is None:
            assert not able[name]
            continue
        chosen = scores >= found
        assert (chosen.sum(), (chosen & truth).sum()) == best(able[name])


def end(hits: int, tries: int, sure: float) -> float:
    """Clopper and Pearson's lower end as scipy has it."""
    test = binomtest(hits, tries, alternative="greater")
    return test.proportion_ci(confidence_level=sure, method="exact").low


def test_lower_ends_are_those_of_scipy() -> None:
    """A precision would be promised that the rows do not show."""
    for hits, tries, sure in itertools.product((0, 1, 7, 20), (20, 150), (0.5, 0.95)):
        exact = end(hits, tries, sure)
        assert at_least(exact - 1e-9, hits, tries, sure) == (hits > 0)
        assert not at_least(exact + 1e-9, hits, tries, sure)
    assert not at_least(0.1, 0, 0, 0.5)


@settings(deadline=None)
@given(rows, st.sampled_from([(1.0, 1.0), (5.0, 1.0), (1.0, 10.0), (1.0, 0.0), (0.0, 1.0)]))
def test_no_cut_is_cheaper(drawn: list[tuple[float, bool]], costs: tuple[float, float]) -> None:
    """`--for cost:FP,FN` would pay more than it has to, or be unable to choose nothing at all."""
    scores = np.array([score for score, _ in drawn])
    truth = np.array([positive for _, positive in drawn])

    def cost(cut: float) -> float:
        chosen = scores >= cut
        return costs[0] * (chosen & ~truth).sum() + costs[1] * (truth & ~chosen).sum()

    found = threshold(Goal("cost", costs), cuts(scores, truth))
    assert found is not None
    assert cost(found) == min(map(cost, [*scores, 2.0]))


def test_calibrated_scores_have_the_threshold_of_theory() -> None:
    """With honest scores a tag pays off above FP / (FP + FN), few rows or not (Elkan 2001)."""
    ranking = cuts(np.array([0.9, 0.2]), np.array([True, False]))
    assert threshold(Goal("cost", (1.0, 3.0)), ranking, calibrated=True) == 0.25
    rng = np.random.default_rng(0)
    scores = rng.random(20000)
    found = threshold(Goal("cost", (1.0, 3.0)), cuts(scores, rng.random(20000) < scores))
    assert found == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 1.0])
def test_coverage_answers_as_many_as_asked(share: float) -> None:
    """`--for coverage:0.7` of 10 rows would answer 8, as 0.7 is not a binary fraction."""
    scores = np.linspace(0.05, 0.95, 10)
    found = threshold(Goal("coverage", (share,)), cuts(scores, scores > 0.5))
    assert found is not None
    assert (scores >= found).sum() == round(10 * share)


@pytest.mark.parametrize(("sure", "kept"), [(0.5, (0.48, 0.7)), (0.95, (0.91, 1.0))])
def test_a_promised_precision_holds_on_new_tracks(sure: float, kept: tuple[float, float]) -> None:
    """`--for precision:0.8` would be a number about the validation rows, and a guess elsewhere.

    300 tags of 60 positive rows each: the mean precision of new tracks is what was asked for or
    above, and the share of the tags that reach it at least about what `sure` says (0.56 to 0.61 and
    0.94 to 0.98 with eight seeds).
    """
    rng = np.random.default_rng(0)
    reached = []
    for _ in range(300):
        sets = []
        for n in (400, 20000):
            truth = rng.random(n) < 0.15
            sets.append((1 / (1 + np.exp(-rng.normal(2.5 * truth - 2.0))), truth))
        (scores, truth), (new, new_truth) = sets
        found = threshold(Goal("precision", (0.8,)), cuts(scores, truth), sure=sure)
        if found is not None and (new >= found).any():
            reached.append(precision_score(new_truth, new >= found))
    assert len(reached) > 250
    assert np.mean(reached) >= 0.795
    assert kept[0] <= np.mean(np.array(reached) >= 0.8) <= kept[1]


def test_tags_with_few_rows_keep_what_they_had_and_are_named() -> None:
    """A tag of two rows would get a threshold that fits those two, without a word."""
    scores = np.linspace(0, 1, 40)[:, None] * np.ones(4)
    truth = np.zeros((40, 4))
    truth[30:, 0] = truth[::3, 1] = 1
    truth[38:, 2] = truth[35:, 3] = 1
    fallback = np.array([0.1, 0.2, 0.3, np.nan])
    fitted = tag_thresholds(Goal("f1"), scores, truth, fallback)
    assert fitted.thresholds[0] == pytest.approx(29.5 / 39)
    assert fitted.thresholds[2] == 0.3
    assert fitted.reasons == {2: "fewer than 5 positive rows, keeps its threshold"}
    fitted = tag_thresholds(Goal("precision", (0.8,)), scores, truth, fallback)
    assert fitted.thresholds[1:3] == [None, None]
    assert fitted.reasons == {
        1: "precision:0.8 is out of reach, never applies",
        2: "fewer than 5 positive rows, never applies",
    }
    given_ = applies(scores, fitted.thresholds)
    assert not given_[:, 1:3].any()
    assert precision_score(truth[:, 0], given_[:, 0]) >= 0.8
    fitted = tag_thresholds(Goal("recall", (0.9,)), scores, truth, fallback)
    assert recall_score(truth[:, 1], scores[:, 1] >= fitted.thresholds[1]) >= 0.9


def test_the_abstention_curve_is_that_of_sorted_rows() -> None:
    """The curve would promise an accuracy that no order of the rows has."""
    rng = np.random.default_rng(0)
    confidence, right = rng.random(50), rng.random(50) < 0.6
    ranking = cuts(confidence, right)
    order = np.argsort(-confidence)
    kept = np.cumsum(right[order]) / np.arange(1, 51)
    np.testing.assert_allclose(kept_right(ranking, np.arange(1, 51) / 50), kept)
    assert risk_area(ranking) == pytest.approx(np.mean(1 - kept))


def test_rows_of_equal_confidence_are_answered_in_no_order() -> None:
    """The curve would depend on how the table is sorted."""
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    right = np.array([True, True, False, False, True])
    curves = []
    for order in itertools.permutations((1, 2, 3)):
        rows = [0, *order, 4]
        curves.append(np.cumsum(right[rows]) / np.arange(1, 6))
    ranking = cuts(confidence, right)
    expected = np.mean(curves, axis=0)
    np.testing.assert_allclose(kept_right(ranking, np.arange(1, 6) / 5), expected)
    assert risk_area(ranking) == pytest.approx(np.mean(1 - expected))


@pytest.mark.parametrize(
    "text",
    ["f2", "f1:0.5", "precision", "precision:x", "precision:0", "recall:1.5", "cost:1", "cost:-1,1",
     "cost:0,0", "cost:nan,1", "coverage:"],
)  # fmt: skip
def test_a_wrong_goal_is_answered_with_the_right_ones(text: str) -> None:
    """A typing error would fit something else."""
    with pytest.raises(UsageError, match=f"--for {text}: .*such as"):
        parse_goal(text)
    assert str(parse_goal("cost:1,5")) == "cost:1,5"
    assert str(parse_goal("f1")) == "f1"

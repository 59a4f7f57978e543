"""Comparisons of runs, held to baycomp, scipy, statsmodels and published tables."""

from __future__ import annotations

import numpy as np
import pytest
from baycomp import CorrelatedTTest, SignedRankTest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mt_tools.evaluate import compare
from mt_tools.evaluate.compare import Chances
from mt_tools.evaluate.intervals import Interval
from mt_tools.evaluate.score import JUDGES


@pytest.mark.parametrize("rope", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("shift", [-0.02, 0.0, 0.03])
def test_splits_are_compared_as_others_do(rope: float, shift: float) -> None:
    """A researcher who checks the chances with baycomp would find other ones."""
    rng = np.random.default_rng(4)
    first = rng.normal(0.7, 0.03, 50)
    second = first + rng.normal(shift, 0.02, 50)
    found = compare.resampled_t(second - first, 0.1, rope)
    expected = CorrelatedTTest.probs(first, second, rope=rope, runs=5)  # five runs of ten folds
    chances = found.chances if rope else (found.chances.below, found.chances.above)
    np.testing.assert_allclose(chances, expected, atol=1e-12)

    plain = stats.ttest_1samp(second - first, 0.0)
    wider = np.sqrt((1 / 50 + 1 / 9) / (1 / 50))  # Nadeau and Bengio's variance over the plain one
    assert found.p == pytest.approx(2 * stats.t.sf(abs(plain.statistic) / wider, 49), rel=1e-9)
    assert (found.p < compare.ALPHA) == (found.low > 0 or found.high < 0)


def test_equal_runs_do_not_differ() -> None:
    """A job that compares a run with itself would fail, or call an undefined test a success."""
    found = compare.resampled_t(np.zeros(10), 0.1, 0.01)
    assert (found.value, found.p, found.chances) == (0.0, 1.0, Chances(0.0, 1.0, 0.0))
    assert compare.decision(found.value, found.p, found.chances, 0.01) == "practically equal"
    constant = compare.resampled_t(np.full(10, -0.1), 0.1, 0.01)
    assert (constant.value, constant.p, constant.chances.below) == (-0.1, 2.0**-9, 1.0)
    assert compare.resampled_t(np.full(2, -0.1), 0.1, 0.01).p == 0.5  # which chance does often
    assert constant.reason == "the same difference in every split"


def test_undefined_splits_are_left_out_and_said() -> None:
    """A split whose metric is undefined would make the whole comparison undefined, or count as 0."""
    values = np.array([0.1, np.nan, 0.2, 0.15])
    found = compare.resampled_t(values, 0.25, 0.01)
    rest = compare.resampled_t(values[[0, 2, 3]], 0.25, 0.01)
    assert found[:5] == rest[:5]
    assert found.reason == "undefined in 1 of 4 splits"
    alone = compare.resampled_t(np.array([0.1, np.nan]), 0.25, 0.01)
    assert np.isnan(alone.p)
    assert "two are needed" in alone.reason


def test_a_normal_interval_gives_the_normal_p() -> None:
    """A p-value beside an interval would contradict it."""
    for value, error in ((0.3, 0.1), (-0.01, 0.02), (0.0, 1.0), (-2.0, 0.25)):
        z = stats.norm.ppf(0.975)
        interval = Interval(value - z * error, value + z * error)
        found = compare.from_interval(value, interval, 0.05)
        assert found.p == pytest.approx(2 * stats.norm.sf(abs(value) / error), rel=1e-9)
        below, above = stats.norm.cdf(-0.05, value, error), stats.norm.sf(0.05, value, error)
        np.testing.assert_allclose(found.chances, (below, 1 - below - above, above), atol=1e-12)


def test_a_skew_interval_and_its_p_agree() -> None:
    """A run whose interval leaves out zero would be "not significant", or the reverse."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        value = rng.normal(0, 0.1)
        low, high = value - rng.gamma(1, 0.1), value + rng.gamma(1, 0.1)
        moved = rng.choice([0.0, 0.0, 0.3]) * rng.choice([-1, 1])  # the value may lie outside
        found = compare.from_interval(value, Interval(low + moved, high + moved), 0.02)
        outside = low + moved > 0 or high + moved < 0
        assert (found.p < 0.05) == outside
        assert sum(found.chances) == pytest.approx(1)
        assert min(found.chances) >= 0


def test_unpaired_intervals_are_those_of_two_independent_samples() -> None:
    """A baseline of which only the interval was stored would be compared too boldly."""
    first, second = (0.70, 0.02), (0.64, 0.03)
    z = stats.norm.ppf(0.975)
    given = [
        (mean, Interval(mean - z * error, mean + z * error)) for mean, error in (first, second)
    ]
    found = compare.unpaired(given[0], given[1], 0.01)
    error = np.hypot(0.02, 0.03)
    assert found.value == pytest.approx(-0.06)
    assert (found.low, found.high) == pytest.approx((-0.06 - z * error, -0.06 + z * error))
    assert found.p == pytest.approx(2 * stats.norm.sf(0.06 / error))
    nothing = compare.unpaired((0.7, Interval(np.nan, np.nan, "1 cluster")), given[1], 0.01)
    assert np.isnan(nothing.p)
    assert nothing.reason == "1 cluster"


@pytest.mark.parametrize("rope", [0.01, 0.03])
def test_tasks_are_compared_as_others_do(rope: float) -> None:
    """The chances over data sets would not be those of the published test."""
    rng = np.random.default_rng(1)
    first = rng.uniform(0.5, 0.9, 12)
    second = first + rng.normal(0.015, 0.03, 12)
    found = compare.signed_ranks(second - first, rope, np.random.default_rng(0))
    expected = SignedRankTest.probs(first, second, rope=rope, nsamples=20_000, random_state=3)
    # Three standard errors of the two simulations together.
    np.testing.assert_allclose(found.chances, expected, atol=3 * 0.5 * (1 / 5e4 + 1 / 2e4) ** 0.5)
    assert found.p == pytest.approx(stats.wilcoxon(second - first).pvalue)
    assert found.value == pytest.approx(np.mean(second - first))


def test_few_tasks_are_said_to_be_few() -> None:
    """Three tasks that all got better would read as "no difference" without a reason."""
    found = compare.signed_ranks(np.array([0.1, 0.2, 0.3]), 0.01, np.random.default_rng(0))
    assert found.p == pytest.approx(0.25)
    assert found.reason == "3 tasks: p cannot fall below 0.25"
    same = compare.signed_ranks(np.zeros(8), 0.01, np.random.default_rng(0))
    assert (same.p, same.chances) == (1.0, Chances(0.0, 1.0, 0.0))
    assert np.isnan(compare.signed_ranks(np.array([0.1]), 0.01, np.random.default_rng(0)).p)


def test_holm_is_that_of_statsmodels() -> None:
    """Of fifty comparisons some would look significant by chance, or none ever would."""
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 40):
        p = rng.uniform(0, 1, size) ** 3
        np.testing.assert_allclose(compare.holm(p), multipletests(p, method="holm")[1], rtol=1e-12)
    with_gap = compare.holm([0.01, float("nan"), 0.04])
    np.testing.assert_allclose(with_gap, [0.02, np.nan, 0.04])


def test_what_does_not_matter_is_no_regression() -> None:
    """A tiny but certain loss would fail a job, or a large uncertain one would pass as equal."""
    sure, unsure = Chances(0.0, 0.99, 0.01), Chances(0.6, 0.3, 0.1)
    assert compare.decision(-0.005, 0.001, sure, 0.01) == "practically equal"
    assert compare.decision(-0.008, 0.001, Chances(0.1, 0.9, 0), 0.01) == "no difference shown"
    assert compare.decision(-0.05, 0.001, unsure, 0.01) == "worse"
    assert compare.decision(0.05, 0.001, unsure, 0.01) == "better"
    assert compare.decision(-0.05, 0.2, unsure, 0.01) == "no difference shown"
    assert compare.decision(-0.05, float("nan"), compare.UNKNOWN, 0.01) == "no difference shown"


@pytest.mark.parametrize(
    ("runs", "quantile"), [(3, 2.343), (4, 2.569), (5, 2.728), (7, 2.949), (10, 3.164)]
)
def test_critical_difference_is_that_of_the_table(runs: int, quantile: float) -> None:
    """The bar of the diagram would have another length than in the papers (Demšar 2006, Table 5)."""
    values = np.random.default_rng(0).uniform(size=(14, runs))
    found = compare.ranking([str(i) for i in range(runs)], values)
    assert found.distance == pytest.approx(quantile * np.sqrt(runs * (runs + 1) / 84), abs=2e-3)
    assert found.p == pytest.approx(stats.friedmanchisquare(*values.T).pvalue)


def test_ranks_of_the_published_example() -> None:
    """Ranks, Friedman's statistic and the groups would not be those of Demšar 2006, Table 6."""
    values = np.array([
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
    ])  # fmt: skip
    # The paper prints 0.975 twice for the data set "voting" and ranks the two 2 and 3.
    found = compare.ranking(["C4.5", "+m", "+cf", "+m+cf"], values)
    ranks = dict(zip(found.runs, found.ranks, strict=True))
    expected = {"C4.5": 3.143, "+m": 2.000, "+cf": 2.893, "+m+cf": 1.964}
    assert ranks == pytest.approx(expected, abs=1e-3)
    assert found.distance == pytest.approx(1.25, abs=5e-3)
    # The paper's own test, without a correction for ties, gives 9.28.
    plain = 12 * 14 / (4 * 5) * (sum(r**2 for r in found.ranks) - 4 * 25 / 4)
    assert plain == pytest.approx(9.28, abs=0.01)
    assert found.statistic >= plain
    assert found.cliques == [(0, 3)]  # 3.143 - 1.964 < 1.25


def test_groups_are_as_large_as_they_can_be() -> None:
    """Two bars would cover what one does, or a bar would join runs that differ."""
    rng = np.random.default_rng(0)
    values = np.arange(6.0) + rng.normal(0, 0.7, (40, 6))
    found = compare.ranking(list("abcdef"), values)
    assert found.runs[0] == "f"
    ranks = np.array(found.ranks)
    for first, last in found.cliques:
        assert ranks[last] - ranks[first] < found.distance
        assert first == 0 or ranks[last] - ranks[first - 1] >= found.distance
        assert last == 5 or ranks[last + 1] - ranks[first] >= found.distance
    same = compare.ranking(list("abc"), np.ones((5, 3)))
    assert (same.p, same.cliques, same.ranks) == (1.0, [(0, 2)], [2.0, 2.0, 2.0])
    with pytest.raises(ValueError, match="expected three"):
        compare.ranking(["a", "b"], np.ones((5, 2)))


@pytest.mark.parametrize("count", [4, 10, 30])
def test_few_artists_do_not_make_small_p(count: int) -> None:
    """Of twenty comparisons over five artists one would look sure by chance, Holm or not."""
    rng = np.random.default_rng(count)
    values = rng.normal(size=(4000, count))
    means, errors = values.mean(axis=1), values.std(axis=1, ddof=1) / count**0.5
    half = stats.t.ppf(0.975, count - 1) * errors
    p = np.array(
        [
            compare.from_interval(m, Interval(m - h, m + h), 0.0, count - 1).p
            for m, h in zip(means, half, strict=True)
        ]
    )
    expected = 2 * stats.t.sf(np.abs(means / errors), count - 1)
    np.testing.assert_allclose(p, expected, rtol=1e-9)
    assert (p < 0.01).mean() < 0.02


def test_two_tracks_are_no_proof() -> None:
    """A job would fail as two tracks were right before and are wrong now."""
    names = ["jazz", "rock"]
    truth = np.array(names, object)
    judges = [
        JUDGES["multiclass"](truth, predicted, None, names) for predicted in (truth, truth[::-1])
    ]
    (found,), _, _ = compare.paired(judges, [(0, 1)], ["accuracy"], np.arange(2), 0.01, 0)
    difference = found["accuracy", None].difference
    assert (difference.value, difference.p) == (-1.0, 0.5)
    assert compare.decision(-1.0, difference.p, difference.chances, 0.01) == "no difference shown"

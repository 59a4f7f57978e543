"""Intervals against scipy, by coverage, and in degenerate cases."""

import math

import numpy as np
import pytest
import scipy.stats

from mt_tools.evaluate.intervals import (
    Interval,
    bca,
    bootstrap,
    corrected_resampled_t,
    in_range,
    random_groups,
)
from mt_tools.evaluate.score import score


def test_bca_agrees_with_scipy():
    """The intervals of a report would not be the BCa intervals they are called."""
    rng = np.random.default_rng(0)
    data = rng.exponential(size=60)
    drawn = data[rng.integers(60, size=(20_000, 60))]
    without = np.array([np.delete(data, row) for row in range(60)])
    for statistic in (np.mean, np.median):
        interval = bca(
            statistic(data), statistic(drawn, axis=1), statistic(without, axis=1), 1.959963984540054
        )
        expected = scipy.stats.bootstrap(
            (data,), statistic, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
        ).confidence_interval
        # Monte Carlo error of a tail quantile at 20,000 resamples is about 1 % of the width.
        width = expected.high - expected.low
        assert interval.low == pytest.approx(expected.low, abs=0.05 * width)
        assert interval.high == pytest.approx(expected.high, abs=0.05 * width)


def test_intervals_of_many_clusters_are_bca():
    """What is widened for few artists would be widened for many, or not be drawn by cluster."""
    rng = np.random.default_rng(0)
    data = rng.exponential(size=120)
    got = bootstrap(
        lambda rows: np.array([data[rows].mean(), data[rows].std()]),
        np.arange(120),
        rng=rng,
        draws=20_000,
    )
    for statistic, interval in zip((np.mean, np.std), got, strict=True):
        expected = scipy.stats.bootstrap(
            (data,), statistic, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
        ).confidence_interval
        # Monte Carlo error of a tail quantile at 20,000 resamples is about 1 % of the width, and
        # so is what Student's quantile for 120 clusters adds to each side.
        width = expected.high - expected.low
        assert interval.low == pytest.approx(expected.low, abs=0.05 * width)
        assert interval.high == pytest.approx(expected.high, abs=0.05 * width)


def test_clusters_are_resampled_whole():
    """Ten copies of each track would shrink the interval as if they were new tracks."""
    rng = np.random.default_rng(0)
    tracks = rng.normal(size=40)
    copies = np.repeat(tracks, 10)
    (alone,) = bootstrap(lambda rows: tracks[rows].mean(), np.arange(40), rng=rng, draws=4000)
    (cloned,) = bootstrap(
        lambda rows: copies[rows].mean(), np.repeat(np.arange(40), 10), rng=rng, draws=4000
    )
    assert cloned.low == pytest.approx(alone.low, abs=0.05)
    assert cloned.high == pytest.approx(alone.high, abs=0.05)


def test_clustered_intervals_cover_the_truth():
    """A 95 % interval would hold the true value much less often than it says."""
    rng = np.random.default_rng(7)
    runs, covered = 250, 0
    for _ in range(runs):
        artist = np.repeat(np.arange(40), rng.integers(1, 7, 40))
        values = rng.normal(size=40)[artist] + rng.normal(size=len(artist))
        (interval,) = bootstrap(lambda rows, v=values: v[rows].mean(), artist, rng=rng, draws=300)
        covered += interval.low <= 0 <= interval.high
    # Binomial(250, .95) has a standard deviation of .014; the bootstrap of 40 clusters is known to
    # be a little narrow.
    assert 0.89 <= covered / runs <= 0.99


def test_blocked_jackknife_keeps_the_interval():
    """Large tables, where the jackknife leaves out blocks, would get other intervals."""
    rng = np.random.default_rng(2)
    data = rng.exponential(size=500)
    (got,) = bootstrap(lambda rows: data[rows].mean(), np.arange(500), rng=rng, draws=10_000)
    expected = scipy.stats.bootstrap(
        (data,), np.mean, n_resamples=10_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    width = expected.high - expected.low
    assert got.low == pytest.approx(expected.low, abs=0.06 * width)
    assert got.high == pytest.approx(expected.high, abs=0.06 * width)


def test_undefined_resamples_are_counted():
    """A tag carried by one artist would get an interval that hides where it is undefined."""
    rng = np.random.default_rng(0)
    rare = np.zeros(20)
    rare[:2] = 1

    def statistic(rows):
        return np.array([rows.mean() if rare[rows].any() else np.nan, 1.0, np.nan])

    partly, constant, never = bootstrap(statistic, np.arange(20), rng=rng, draws=500)
    assert partly.low < partly.high
    assert "of 500 resamples" in partly.reason
    assert constant[:2] == (1.0, 1.0)
    assert "same value" in constant.reason
    assert math.isnan(never.low)
    assert "undefined" in never.reason


def test_one_cluster_has_no_interval():
    """A library of one artist would be given an interval out of nothing."""
    (interval,) = bootstrap(
        lambda rows: rows.mean(), np.array(["a"] * 5), rng=np.random.default_rng(0)
    )
    assert math.isnan(interval.low)
    assert "1 cluster" in interval.reason


def test_corrected_t_by_hand():
    """The interval of repeated splits would be the plain, far too narrow one."""
    # Mean 3, variance 2.5, 5 splits, a tenth tested; t(.975, 4) = 2.7764451 from the tables.
    low, high, reason = corrected_resampled_t(np.array([1.0, 2, 3, 4, 5]), 0.1)
    half = 2.7764451 * math.sqrt((1 / 5 + 1 / 9) * 2.5)
    assert (low, high) == pytest.approx((3 - half, 3 + half), abs=1e-6)
    assert reason == ""


def test_corrected_t_leaves_out_undefined_splits():
    """One fold without a class would erase the interval, or be dropped unseen."""
    some = corrected_resampled_t(np.array([0.5, np.nan, 0.7, 0.6]), 0.25)
    assert some.low < 0.6 < some.high
    assert some.reason == "undefined in 1 of 4 splits"
    assert math.isnan(corrected_resampled_t(np.array([0.5]), 0.1).low)


def test_random_groups_cover_the_truth():
    """Intervals of large tables would be too narrow, and nobody could afford to see it."""
    rng = np.random.default_rng(3)
    runs, covered, widths = 400, 0, []
    for _ in range(runs):
        artist = np.repeat(np.arange(500), rng.integers(1, 7, 500))
        values = rng.normal(size=500)[artist] + rng.normal(size=len(artist))
        (interval,) = random_groups(
            np.array([values.mean()]), lambda rows, v=values: v[rows].mean(), artist, rng=rng
        )
        covered += interval.low <= 0 <= interval.high
        widths.append(interval.high - interval.low)
    # Binomial(400, .95) has a standard deviation of .011.
    assert 0.92 <= covered / runs <= 0.98
    # The variance of a mean of clusters of 1 to 6 rows: sum over clusters of size^2 + size.
    sizes = np.arange(1, 7)
    error = math.sqrt(500 * (sizes**2 + sizes).mean()) / (500 * sizes.mean())
    assert np.mean(widths) == pytest.approx(2 * 2.01 * error, rel=0.05)


def test_random_groups_say_where_they_are_undefined():
    """A tag that few groups hold would get an interval that hides it."""
    rng = np.random.default_rng(0)
    rare = np.zeros(1000)
    rare[:30] = 1

    def statistic(rows):
        return np.array([rare[rows].mean() if rare[rows].any() else np.nan, np.nan, rows.mean()])

    observed = np.array([0.03, np.nan, 499.5])
    rarely, never, always = random_groups(observed, statistic, np.arange(1000), rng=rng)
    assert "of 50 groups" in rarely.reason
    assert never.reason == "the value itself is undefined"
    assert always.low < 499.5 < always.high
    assert always.reason == ""
    (alone,) = random_groups(observed[2:], statistic, np.zeros(1000), rng=rng)
    assert math.isnan(alone.low)


def test_many_rows_get_the_interval_of_few_ones(monkeypatch):
    """A table that grew by one row past the limit would get another interval altogether."""
    rng = np.random.default_rng(5)
    truth = rng.integers(3, size=6000).astype(str).astype(object)
    predicted = np.where(rng.random(6000) < 0.7, truth, "0")
    clusters = np.arange(6000) // 3
    found = score("multiclass", truth, predicted, clusters=clusters)
    assert "bootstrap" in found["interval"]
    monkeypatch.setattr("mt_tools.evaluate.intervals.RESAMPLED", 100)
    dealt = score("multiclass", truth, predicted, clusters=clusters)
    assert "50 random groups" in dealt["interval"]
    for name, entry in found["metrics"].items():
        other = dealt["metrics"][name]
        assert other["value"] == entry["value"]
        width = entry["high"] - entry["low"]
        # 49 degrees of freedom: the width itself has a standard error of a tenth.
        assert other["high"] - other["low"] == pytest.approx(width, rel=0.35)


@pytest.mark.parametrize("count", [1, 3, 20, 400])
def test_all_right_is_not_certain(count):
    """Three right answers of three would pass `--require accuracy.low>=0.99`."""
    flat = Interval(1.0, 1.0, "every resample gave the same value")
    exact = scipy.stats.binomtest(count, count).proportion_ci(0.95, method="exact")
    assert in_range(1.0, flat, (0.0, 1.0), count)[:2] == pytest.approx((exact.low, 1.0))
    none = in_range(0.0, Interval(0.0, 0.0), (0.0, 1.0), count)
    assert none[:2] == pytest.approx((0.0, 1 - exact.low))
    assert f"{count} all alike" in none.reason


def test_intervals_end_where_the_metric_does():
    """An accuracy above 1 would be printed, or a width invented where there is no bound."""
    assert in_range(0.9, Interval(0.8, 1.1, "why"), (0.0, 1.0), 9) == Interval(0.8, 1.0, "why")
    assert in_range(0.5, Interval(0.5, 0.5), (0.0, 1.0), 9) == Interval(0.5, 0.5)
    assert in_range(0.0, Interval(0.0, 0.0), (0.0, np.inf), 9) == Interval(0.0, 0.0)
    unknown = in_range(1.0, Interval(math.nan, math.nan, "1 cluster"), (0.0, 1.0), 1)
    assert math.isnan(unknown.low)
    assert math.isnan(unknown.high)
    assert unknown.reason == "1 cluster"


def test_intervals_of_nearly_perfect_models_cover_the_truth():
    """The interval of a model that is right in 98 of 100 cases would miss that half of the time."""
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(200):
        right = (rng.random(30) < 0.98).astype(float)
        (found,) = bootstrap(
            lambda rows, v=right: v[rows].mean(), np.arange(30), rng=rng, draws=200
        )
        low, high, _ = in_range(right.mean(), found, (0.0, 1.0), 30)
        held += low <= 0.98 <= high
    assert held / 200 > 0.92


@pytest.mark.parametrize("count", [3, 5, 8])
def test_few_artists_cover_the_truth(count):
    """An interval over a handful of artists would leave out the truth in every fourth case."""
    rng = np.random.default_rng(count)
    held = 0
    for _ in range(300):
        values = rng.normal(size=count)
        (found,) = bootstrap(
            lambda rows, v=values: v[rows].mean(), np.arange(count), rng=rng, draws=200
        )
        held += found.low <= 0.0 <= found.high
    assert held / 300 > 0.92

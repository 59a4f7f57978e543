"""What labels are like before anything learns them, against numpy, scipy and scikit-learn."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_tools.metrics.distributions import (
    correlations,
    describe_classes,
    describe_numbers,
    describe_tags,
    histogram,
    together,
)

# In thousandths: closer together scipy itself warns of lost precision.
numbers = st.lists(
    st.integers(-(10**6), 10**6).map(lambda value: value / 1000) | st.just(math.nan),
    min_size=1, max_size=60,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(numbers)
def test_moments_and_quartiles_are_those_of_scipy(values: list[float]) -> None:
    """A table in a paper would have other numbers than the same data in R or pandas."""
    array = np.array(values)
    found = describe_numbers(array)
    kept = array[~np.isnan(array)]
    assert (found["n"], found["missing"]) == (len(kept), len(array) - len(kept))
    if not len(kept):
        assert math.isnan(found["mean"])
        return
    assert found["mean"] == pytest.approx(float(np.mean(kept)))
    for name, share in (("min", 0), ("q25", 25), ("median", 50), ("q75", 75), ("max", 100)):
        assert found[name] == pytest.approx(float(np.percentile(kept, share)))
    if len(kept) > 1:
        assert found["variance"] == pytest.approx(float(np.var(kept, ddof=1)))
        assert found["sd"] == pytest.approx(float(np.std(kept, ddof=1)))
    if np.ptp(kept) == 0:
        assert math.isnan(found["skew"])
    else:
        assert found["skew"] == pytest.approx(float(scipy.stats.skew(kept)), rel=1e-3, abs=1e-3)


def test_infinite_numbers_are_counted_and_left_out() -> None:
    """One division by zero upstream would make every mean infinite."""
    found = describe_numbers(np.array([1.0, 2.0, np.inf, -np.inf, np.nan]))
    assert (found["n"], found["missing"], found["infinite"]) == (2, 1, 2)
    assert (found["mean"], found["min"], found["max"]) == (1.5, 1.0, 2.0)


@settings(max_examples=100, deadline=None)
@given(numbers)
def test_a_histogram_holds_every_number_once(values: list[float]) -> None:
    """A bar would be too high, or numbers at the edges lost."""
    array = np.array(values)
    counts, edges = histogram(array)
    assert counts.sum() == np.isfinite(array).sum()
    assert len(counts) <= 32
    if len(counts) > 1:
        assert (np.diff(edges) > 0).all()
        assert np.ptp(np.diff(edges)) <= 1e-6 * np.ptp(edges)
        assert (counts == np.histogram(array[np.isfinite(array)], edges)[0]).all()


@pytest.mark.parametrize("most", [2, 31, 32, 60, 1000])
def test_bins_of_whole_numbers_hold_equally_many(most: int) -> None:
    """A histogram of years would have a comb's teeth that are not in the data."""
    counts, edges = histogram(np.arange(most, dtype=float))
    assert len(set(counts[:-1].tolist())) <= 1
    assert counts[-1] <= counts[0]
    assert (edges % 1 == 0.5).all()


def test_correlations_are_those_of_scipy_on_rows_that_have_both() -> None:
    """A missing label in one column would change or void the correlation of two others."""
    rng = np.random.default_rng(0)
    whole = rng.normal(size=200)
    holed = np.where(rng.random(200) < 0.3, np.nan, whole + rng.normal(size=200))
    tied = np.round(holed + rng.normal(size=200))
    columns = {
        "whole": whole, "holed": holed, "tied": tied, "flat": np.ones(200),
        "infinite": np.where(rng.random(200) < 0.1, np.inf, -whole),
    }  # fmt: skip
    found = correlations(columns)
    assert set(found) == set(combinations(columns, 2))
    for (one, other), (pearson, spearman, rows) in found.items():
        both = np.isfinite(columns[one]) & np.isfinite(columns[other])
        assert rows == both.sum()
        if "flat" in (one, other):
            assert math.isnan(pearson)
            assert math.isnan(spearman)
            continue
        pair = columns[one][both], columns[other][both]
        assert pearson == pytest.approx(scipy.stats.pearsonr(*pair).statistic)
        assert spearman == pytest.approx(scipy.stats.spearmanr(*pair).statistic)


def test_columns_that_no_row_has_both_of_have_no_correlation() -> None:
    """Describing a table of two halves would end in a traceback."""
    found = correlations({"a": np.array([1.0, np.nan]), "b": np.array([np.nan, 1.0])})
    assert found["a", "b"].rows == 0
    assert math.isnan(found["a", "b"].pearson)


def test_evenness_of_classes() -> None:
    """A balanced table would look skewed, or one class hide."""
    even = describe_classes({"a": 5, "b": 5, "c": 5, "d": 5})
    assert (even["entropy"], even["evenness"], even["imbalance"]) == (2.0, 1.0, 1.0)
    counts = {"a": 70, "b": 20, "c": 10, "never": 0}
    found = describe_classes(counts)
    assert found["entropy"] == pytest.approx(scipy.stats.entropy([70, 20, 10], base=2))
    assert (found["labels"], found["majority"], found["imbalance"]) == (3, 0.7, 7.0)
    assert math.isnan(describe_classes({})["entropy"])
    assert math.isnan(describe_classes({"a": 3})["evenness"])


def test_tags_and_their_pairs_are_those_of_a_matrix() -> None:
    """Pairs of tags would be missed, or counted twice."""
    rng = np.random.default_rng(1)
    hot = rng.random((150, 12)) < rng.beta(1, 3, 12)
    tags = [f"tag {j}" for j in range(12)]
    codes, sizes = np.nonzero(hot)[1], hot.sum(1)
    found = describe_tags(dict(zip(tags, hot.sum(0).tolist(), strict=True)), sizes)
    assert found["cardinality"] == hot.sum() / 150
    assert found["density"] == pytest.approx(hot.sum() / 150 / hot.any(0).sum())
    assert found["untagged"] == (~hot.any(1)).sum()
    assert found["most"] == sizes.max()
    pairs = together(tags, codes, sizes, most=1000)
    expected = {}
    for i, j in combinations(range(12), 2):
        both = int((hot[:, i] & hot[:, j]).sum())
        if both:
            expected[tuple(sorted((tags[i], tags[j])))] = (
                both,
                both / (hot[:, i] | hot[:, j]).sum(),
            )
    assert {
        (pair.one, pair.other): (pair.rows, pytest.approx(pair.jaccard)) for pair in pairs
    } == expected
    assert [pair.rows for pair in pairs] == sorted((n for n, _ in expected.values()), reverse=True)
    few = together(tags, codes, sizes, most=3, compared=2)
    frequent = {tags[j] for j in np.argsort(-hot.sum(0), kind="stable")[:2]}
    assert {tag for pair in few for tag in pair[:2]} <= frequent
    assert together([], np.array([], np.int64), np.array([0, 0])) == []

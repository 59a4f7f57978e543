"""Statistics over frames and segments against numpy, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mt_tools.errors import RowError, UsageError
from mt_tools.features.pooling import pool, pooled_parts, summarise

SEGMENTS = np.arange(10, dtype=np.float32)[:, None] * np.array([1, 10], np.float32)


def test_summaries_over_frames() -> None:
    """The summary of a spectrogram must be per band, means before deviations."""
    frames = np.array([[1, 3], [5, 5]], dtype=np.float32)
    assert summarise(frames, "none") is frames
    np.testing.assert_allclose(summarise(frames, "mean"), [2, 5])
    np.testing.assert_allclose(summarise(frames, "mean+std"), [2, 5, 1, 0])
    assert summarise(np.stack([frames, frames]), "mean+std").shape == (2, 4)


def test_sums_are_precise_over_long_mixes() -> None:
    """The mean over a six-hour mix must not drift with the number of frames."""
    frames = np.full((1, 2_000_000), 0.1, dtype=np.float32)
    np.testing.assert_allclose(summarise(frames, "mean+std"), [0.1, 0], atol=1e-7)


def test_mean_and_deviation_over_segments() -> None:
    """The vector of a track must be the average of its segments, then the spread."""
    np.testing.assert_allclose(pool(SEGMENTS, "mean"), [4.5, 45])
    spread = np.sqrt(np.mean((np.arange(10) - 4.5) ** 2))
    np.testing.assert_allclose(pool(SEGMENTS, "mean+std"), [4.5, 45, spread, 10 * spread])
    np.testing.assert_allclose(pool(SEGMENTS[:1], "mean+std"), [0, 0, 0, 0])


@pytest.mark.parametrize(
    ("segments", "how", "expected"),
    [
        (10, "concat:1", [4.5]),
        (10, "concat:2", [2, 7]),
        (10, "concat:3", [1, 4, 7.5]),
        (3, "concat:3", [0, 1, 2]),
        (2, "concat:3", [0, 0, 1]),
        (1, "concat:3", [0, 0, 0]),
        (2, "concat:4", [0, 0, 1, 1]),
    ],
)
def test_concatenation_of_runs(segments: int, how: str, expected: list[float]) -> None:
    """The beginning, middle and end of a song must stay in order, also in a short song."""
    vector = pool(SEGMENTS[:segments], how)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector[::2], expected)
    np.testing.assert_allclose(vector[1::2], 10 * np.array(expected))
    assert len(vector) == 2 * pooled_parts(how)


VECTORS = arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 4)),
    elements=st.floats(0, 100, width=32),
)


def test_maximum_and_generalised_mean() -> None:
    """GeM of 1, 2 and 3 is the cube root of (1 + 8 + 27) / 3 = 12, by hand."""
    np.testing.assert_array_equal(pool(-SEGMENTS, "max"), [0, 0])
    np.testing.assert_array_equal(pool(SEGMENTS, "max"), [9, 90])
    vectors = np.array([[1, 0], [2, 0], [3, 0]], np.float32)
    np.testing.assert_allclose(pool(vectors, "gem"), [12 ** (1 / 3), 1e-6], rtol=1e-6)
    # What is below the floor counts as the floor: a GeM of negative values is not a NaN.
    np.testing.assert_allclose(pool(-vectors, "gem"), [1e-6, 1e-6], rtol=1e-6)


@given(vectors=VECTORS, how=st.sampled_from(["mean", "mean+std", "max", "gem"]), seed=st.integers())
def test_order_does_not_matter_where_none_is_kept(vectors: np.ndarray, how: str, seed: int) -> None:
    """A track's vector would depend on the order of its segments."""
    shuffled = np.random.default_rng(abs(seed)).permutation(vectors)
    np.testing.assert_allclose(pool(shuffled, how), pool(vectors, how), rtol=1e-5, atol=1e-5)


@given(vectors=VECTORS)
def test_poolings_lie_where_they_should(vectors: np.ndarray) -> None:
    """Mean <= GeM <= maximum; one segment pools to itself; parts put together are the mean."""
    mean, gem, most = (pool(vectors, how) for how in ("mean", "gem", "max"))
    assert (mean <= gem * (1 + 1e-5) + 1e-5).all()
    assert (gem <= np.maximum(most, 1e-6) * (1 + 1e-5)).all()
    np.testing.assert_array_equal(most, vectors.max(axis=0))
    for how in ("mean", "max", "concat:1"):
        np.testing.assert_array_equal(pool(vectors[:1], how), vectors[0])
    thirds = pool(np.concatenate([vectors] * 3), "concat:3").reshape(3, -1)
    np.testing.assert_allclose(thirds, [mean] * 3, rtol=1e-5, atol=1e-5)


@given(vectors=VECTORS, parts=st.integers(1, 12))
def test_concatenation_keeps_every_segment(vectors: np.ndarray, parts: int) -> None:
    """A segment left out of every part would be a piece of the song that nobody hears."""
    marked = np.eye(len(vectors), dtype=np.float32)
    runs = pool(marked, f"concat:{parts}").reshape(parts, -1)
    np.testing.assert_allclose(runs.sum(axis=1), 1, atol=1e-6)
    assert (runs.sum(axis=0) > 0).all()
    weights = runs @ np.arange(len(vectors))
    assert (np.diff(weights) >= -1e-5).all()


@pytest.mark.parametrize("how", ["median", "concat", "concat:", "concat:0", "concat:-1", ""])
def test_unknown_pooling_names_the_known(how: str) -> None:
    """A typing mistake must be answered with what can be typed."""
    with pytest.raises(UsageError, match="concat:3"):
        pool(SEGMENTS, how)


def test_nothing_to_pool_is_a_row_error() -> None:
    """A track without segments or frames must become an error row, not a vector of NaN."""
    with pytest.raises(RowError):
        pool(SEGMENTS[:0], "mean")
    with pytest.raises(RowError):
        summarise(np.zeros((4, 0), dtype=np.float32), "mean")
    with pytest.raises(UsageError, match="mean"):
        summarise(np.zeros((4, 2), dtype=np.float32), "max")

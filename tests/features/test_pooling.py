"""Statistics over frames and segments against numpy, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mt_tools.errors import RowError, UsageError
from mt_tools.features.pooling import pool, pooled_parts, summarise

SEGMENTS = np.arange(10, dtype=np.float32)[:, None] * [1, 10]


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

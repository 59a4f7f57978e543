"""From many to one: frames to a vector, the vectors of segments to one of the track.

Conventions: standard deviations are those of the population (divided by n), so one frame or one
segment has the deviation 0; sums run in float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import RowError, UsageError
from mt_tools.features.stft import Array

GEM_EXPONENT = 3.0
GEM_FLOOR = 1e-6


def summarise(frames: Array, how: str) -> Array:
    """Return statistics over the frames: `mean`, or `mean+std` joined along the last axis.

    Shape: `[..., bands, frames]` -> `[..., bands]` or `[..., 2 * bands]`; `none` keeps all.
    Raises `UsageError` for another `how`, `RowError` (`too-short`) for no frames.
    """
    if how == "none":
        return frames
    if how not in ("mean", "mean+std"):
        raise UsageError(f"summary {how!r}: expected none, mean or mean+std")
    if frames.shape[-1] == 0:
        raise RowError("no frames to summarise: expected at least one", "too-short")
    return _statistics(frames, how, axis=-1)


def pool(vectors: Array, how: str) -> Array:
    """Return one vector for the segments of a track.

    - `mean` averages them (DJ and SEQ studies); `mean+std` appends their standard deviation (REP
      study); `max` takes the largest value of each dimension.
    - `gem` lies between mean and maximum: the generalised mean (mean x^p)^(1/p) with p = 3, of
      values below 1e-6 raised to that (Radenovic, Tolias and Chum, "Fine-tuning CNN image
      retrieval with no human annotation", 2018, eq. 3; p and the floor as in their public code).
      It is meant for values that are nothing or positive, such as those behind a ReLU.
    - `concat:N` joins the averages of N runs of segments (DJ study: 3 parts of 160 make 480). Run
      i of n segments goes from floor(i n / N) up to floor((i + 1) n / N): lengths differ by at
      most one, and where n < N a segment stands for each run that it covers.

    Shape: `[segments, d]` -> `[d]`, `[2 * d]` or `[N * d]`. Raises `UsageError` for another
    `how`, `RowError` (`too-short`) for no segments.
    """
    parts = pooled_parts(how)
    segments = len(vectors)
    if segments == 0:
        raise RowError("no segments to pool: expected at least one", "too-short")
    if how == "max":
        return vectors.max(axis=0).astype(np.float32)
    if how == "gem":
        powers = np.maximum(vectors, GEM_FLOOR, dtype=np.float64) ** GEM_EXPONENT
        return (powers.mean(axis=0) ** (1 / GEM_EXPONENT)).astype(np.float32)
    if not how.startswith("concat:"):
        return _statistics(vectors, how, axis=0)
    runs = []
    for run in range(parts):
        first = run * segments // parts
        last = max(first + 1, (run + 1) * segments // parts)
        runs.append(_statistics(vectors[first:last], "mean", axis=0))
    return np.concatenate(runs)


def pooled_parts(how: str) -> int:
    """Return how many times longer a pooled vector is: 1, 2 for `mean+std`, or N of `concat:N`.

    Raises `UsageError` for any other `how`.
    """
    if how in ("mean", "max", "gem", "mean+std"):
        return 2 if how == "mean+std" else 1
    name, _, number = how.partition(":")
    if name != "concat" or not number.isdecimal() or int(number) < 1:
        raise UsageError(
            f"pooling {how!r}: expected mean, mean+std, max, gem, or concat:N with N parts, such "
            "as concat:3"
        )
    return int(number)


def _statistics(values: NDArray[np.floating], how: str, axis: int) -> Array:
    """Return the mean, or mean and deviation joined along the last axis, as float32."""
    statistics = [values.mean(axis=axis, dtype=np.float64)]
    if how == "mean+std":
        statistics.append(values.std(axis=axis, dtype=np.float64))
    return np.concatenate(statistics, axis=-1).astype(np.float32)

"""Near-duplicates by embedding: rows that lie closer together than different music does.

Goal: to find one recording under several names, which neither an id nor a digest of the file tells,
where there is no audio to listen to.

Criterion. Every column is standardised over all rows; d(i, j) is the Euclidean distance of two
rows, and d_k(i) that of row i to its k-th nearest row of another origin. Two rows are
near-duplicates when

    d(i, j) < near * min(d_k(i), d_k(j)).

How densely music lies differs from style to style by more than the distance of a copy (solo piano
in GTZAN against its hip hop), so no fixed distance or cosine tells copies from neighbours; the
distance to the k-th neighbour is the local scale. Were the rows around a track spread evenly in D
dimensions, d_1/d_k would fall below `near` with probability 1 - (1 - near^D)^(k-1), about
(k-1) near^D: for the D of about 15 that the embeddings of Choi et al. behave like, 1 in 800,000 for
`NEAR` and k = 10. `bench/check.py` measures precision and recall.

What an embedding cannot tell: whether two rows are one recording or music made alike on purpose (a
remix, a loop); copies that changed what it hears (MFCC statistics hear the low-pass of an MP3
encoder, and that a piece begins half a second later); and other excerpts of one recording. Where
there is audio, `fingerprints` tell more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.evaluate.settings import CheckSettings

NEAR = CheckSettings.near
"""The default of `near`: 0.35."""

FEWEST_COLUMNS = 16
"""Vectors of fewer numbers are not compared: in few dimensions everything has a near neighbour."""

_NEIGHBOURS = (3, 10)  # k is a hundredth of the rows within these bounds
_SAMPLE = 2048  # rows that the first bound of d_k is taken from
_TILE = 4096  # rows and columns of a piece of the matrix of distances: 67 MB
_ROWS = 256  # rows whose distances to all others are held at once
_SLACK = 1.001  # on bounds in single precision, so that rounding loses no pair

_Places = NDArray[np.int64] | slice


@dataclass(frozen=True)
class Pair:
    """Two rows, by number, and their distance as a share of that to the k-th neighbour."""

    first: int
    second: int
    ratio: float


def near_pairs(
    vectors: NDArray[Any], origins: NDArray[np.int64], sides: NDArray[np.int64], near: float = NEAR
) -> list[Pair]:
    """Return the near-duplicates that stand on different sides, the nearest first.

    Shape: `vectors` [n, d], rows with NaN are left out; `origins` [n], a number for each origin, of
    which no two rows are compared; `sides` [n], a number for each side, negative = left out, though
    a neighbour all the same. Identical rows are no pair: see `leaks`. The result is that of all
    n^2 distances, in memory that grows with n.
    """
    kept = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    rows = _standardised(vectors[kept])
    origins, sides = origins[kept], sides[kept]
    k = min(max(len(rows) // 100, _NEIGHBOURS[0]), _NEIGHBOURS[1])
    if rows.shape[1] < FEWEST_COLUMNS or len(np.unique(origins)) < k + 2:
        return []
    order = np.argsort(sides, kind="stable")  # so that whole tiles are of one side
    space = _Space(rows[order], origins[order], k)
    scale, exact = space.bound()
    first, second, distance = _candidates(space, sides[order], near, scale)
    if not exact:
        involved, places = np.unique([first, second], return_inverse=True)
        first_scale, second_scale = space.scale(involved)[places.reshape(2, -1)]
    else:
        first_scale, second_scale = scale[first], scale[second]
    ratio = distance / np.maximum(np.minimum(first_scale, second_scale), np.finfo(float).tiny)
    found = (ratio < near) & (distance > 0)
    pairs = np.sort(kept[order[np.array([first[found], second[found]])]], axis=0)
    listed = zip(ratio[found].tolist(), *pairs.tolist(), strict=True)
    return [Pair(one, other, share) for share, one, other in sorted(listed)]


def _standardised(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Return the columns that vary, of mean 0 and deviation 1."""
    if not len(vectors):
        return np.zeros((0, 0), np.float32)
    mean = vectors.mean(axis=0, dtype=np.float64)
    deviation = vectors.std(axis=0, dtype=np.float64)
    varies = deviation > 1e-6 * np.abs(mean)  # what is left otherwise is the rounding of float32
    rows = np.empty((len(vectors), int(varies.sum())), np.float32)
    for place, column in enumerate(np.flatnonzero(varies)):
        rows[:, place] = (vectors[:, column] - mean[column]) / deviation[column]
    return rows


class _Space:
    """Rows [n, d], and how near their k-th neighbours of other origins are.

    Distances come from one matrix product: x.y - |y|^2 / 2 = (|x|^2 - |x - y|^2) / 2.
    """

    def __init__(self, rows: NDArray[np.float32], origins: NDArray[np.int64], k: int) -> None:
        self.rows, self.origins, self.k = rows, origins, k
        self.squares = np.einsum("ij,ij->i", rows, rows)

    def nearness(self, of: _Places, to: _Places) -> NDArray[np.float32]:
        """Return x.y - |y|^2 / 2 of rows x and y: the greater, the nearer y is to x."""
        near = self.rows[of] @ self.rows[to].T
        near -= self.squares[to] / 2
        return near

    def bound(self) -> tuple[NDArray[np.float64], bool]:
        """Return an upper bound of each row's d_k, from a sample of rows; say whether it is d_k."""
        sample = np.unique(np.linspace(0, len(self.rows) - 1, _SAMPLE).astype(np.int64))
        if len(np.unique(self.origins[sample])) < self.k + 2:
            return np.full(len(self.rows), np.inf), False
        return self._scale(np.arange(len(self.rows)), sample), len(sample) == len(self.rows)

    def scale(self, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return d_k of the rows chosen."""
        return self._scale(chosen, slice(None))

    def _scale(self, chosen: NDArray[np.int64], among: _Places) -> NDArray[np.float64]:
        result = np.empty(len(chosen))
        for start in range(0, len(chosen), _ROWS):
            block = chosen[start : start + _ROWS]
            near = self.nearness(block, among)
            near[self.origins[block][:, None] == self.origins[among]] = -np.inf
            near.partition(-self.k, axis=1)
            squared = self.squares[block] - 2 * near[:, -self.k].astype(np.float64)
            result[start : start + _ROWS] = np.sqrt(np.maximum(squared, 0))
        return result


def _candidates(
    space: _Space, sides: NDArray[np.int64], near: float, scale: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return pairs on two sides nearer than `near` of both rows' `scale`, and their distances."""
    reach = (near * _SLACK * scale) ** 2
    least = ((space.squares - reach) / 2 - 1e-4 * space.squares).astype(np.float32)
    pieces: list[tuple[Any, ...]] = []
    for first, second in _tiles(sides):
        close = space.nearness(first, second) > least[first, None]
        # Numpy finds the few places of a flat array much faster than those of a matrix.
        ones, others = np.divmod(np.flatnonzero(close), close.shape[1])
        ones, others = ones + first.start, others + second.start
        two = (ones < others) & (sides[ones] != sides[others])
        two &= (sides[ones] >= 0) & (sides[others] >= 0)
        two &= space.origins[ones] != space.origins[others]
        ones, others = ones[two], others[two]
        distance = _distances(space.rows, ones, others)
        close_to_both = distance**2 < np.minimum(reach[ones], reach[others])
        pieces.append((ones[close_to_both], others[close_to_both], distance[close_to_both]))
    if not pieces:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    ones, others, distance = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return ones, others, distance


def _tiles(sides: NDArray[np.int64]) -> Iterator[tuple[slice, slice]]:
    """Yield the pieces of the upper triangle that may hold rows of two sides; `sides` ascend."""
    starts = range(0, len(sides), _TILE)
    for start in starts:
        for other in range(start, len(sides), _TILE):
            first, second = slice(start, start + _TILE), slice(other, other + _TILE)
            if sides[first][-1] >= 0 and sides[first][0] != sides[second][-1]:
                yield first, second


def _distances(
    rows: NDArray[np.float32], ones: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the distances of pairs of rows, in double precision."""
    result = np.empty(len(ones))
    for start in range(0, len(ones), _TILE):
        part = slice(start, start + _TILE)
        difference = rows[ones[part]].astype(np.float64) - rows[others[part]]
        result[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return result

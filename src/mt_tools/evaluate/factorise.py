"""Content-aware matrix factorisation, solved by alternating least squares.

Goal: factors of users and of items that explain who likes what, with the factors of an item tied to
a linear map of its features, so that an item which nobody has heard yet has factors too: its
features times the map.

Source: eq. 7 of the REP study, after D. Liang, M. Zhan and D. Ellis, "Content-aware collaborative
music recommendation using pre-trained neural networks", ISMIR 2015. Norms are squared (the text
prints them without), none is weighted:

    L = |R - U V'|^2 + lv/2 |V - X W|^2 + lu/2 |U|^2 + lw/2 |W|^2

with R [users, items] of 0 and 1, U [users, r], V [items, r], W [d, r] and X [items, d]. What nobody
has said to like counts as 0, not as unknown.

Each block has a closed form given the others: where its gradient is zero. L is convex in each, so
that no update raises it.

    U (2 V'V + lu I) = 2 R V
    V (2 U'U + lv I) = 2 R'U + lv X W
    (X'X + lw/lv I) W = X'V

R has few ones: R V costs one multiplication an interaction and factor, and U V' is never formed.
The matrix left of W does not change over the iterations and is factored once. With more dimensions
than items its dual is: W = X'A with (X X' + lw/lv I) A = V, and then X W = V - lw/lv A without a
look at X.

Confidence (Y. Hu, Y. Koren and C. Volinsky, "Collaborative filtering for implicit feedback
datasets", 2008): the first term is sum c (R - U V')^2 with c = 1 + alpha n for n counted plays. The
row of user u is then solved by itself,

    (2 V'V + 2 alpha sum_i n_ui v_i v_i' + lu I) u = 2 sum_i (1 + alpha n_ui) r_ui v_i

and that of an item likewise, which costs r^2 / 2 an interaction. alpha = 0 is the above.

Conventions: float64; BLAS does the work. Beside X the memory is that of a few vectors of r^2 / 2
numbers a user and item; features are taken in blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Sparse = Any  # scipy.sparse.csr_array, which has no types of its own
Floats = NDArray[np.float64]

_BLOCK_CELLS = 1 << 22
_KEPT_CELLS = 1 << 25  # 256 MB of standardised features are kept, of more each block is made anew


@dataclass(frozen=True)
class Weights:
    """The constants of eq. 7: penalties of users, of items off their features, of the map."""

    users: float = 1.0
    items: float = 100.0
    features: float = 1.0
    alpha: float = 0.0


class Scaling:
    """Features [n, d] to [n, d + 1] of zero mean and unit variance over `x`, and a constant.

    The constant lets the map say what all items have in common: likes are not centred, features
    are. A feature that does not vary over `x` is 0.
    """

    def __init__(self, x: Array) -> None:
        rows = max(1, _BLOCK_CELLS // max(1, x.shape[1]))
        starts = range(0, len(x), rows)
        self.mean = sum(x[s : s + rows].sum(axis=0, dtype=np.float64) for s in starts) / len(x)
        squares = [np.square(x[s : s + rows] - self.mean).sum(axis=0) for s in starts]
        sd = np.sqrt(np.sum(squares, axis=0) / len(x))
        constant = sd <= 1e-7 * np.abs(self.mean)  # float32 has no more digits than that
        self._factor = np.where(constant, 0.0, 1 / np.where(constant, 1.0, sd))

    def __call__(self, x: Array) -> Floats:
        """Return features [n, d] as the map takes them, float64 [n, d + 1]."""
        return np.hstack([(x - self.mean) * self._factor, np.ones((len(x), 1))])


def unscaled(x: Array) -> Floats:
    """Return features as they are, float64."""
    return np.asarray(x, np.float64)


class FeatureMap:
    """W of eq. 7: ridge regression of item factors [n, r] on features [n, d], factored once.

    `ridge` is lw/lv. `scaled` takes the features to what they are regressed on.
    """

    def __init__(
        self, x: Array, ridge: float, scaled: Callable[[Array], Floats] = unscaled
    ) -> None:
        from scipy.linalg import cho_factor

        self._x, self._scaled, self._ridge = x, scaled, ridge
        self._width = scaled(x[:1]).shape[1]
        self._rows = max(1, _BLOCK_CELLS // self._width)
        self.dual = self._width > len(x)
        self._kept: list[Floats] | None = None
        if self.dual or len(x) * self._width <= _KEPT_CELLS:
            self._kept = list(self._made())
        if self.dual:
            whole = np.concatenate(self._kept or [])
            self._kept = [whole]
            gram = whole @ whole.T
        else:
            gram = np.zeros((self._width, self._width))
            for block in self._blocks():
                gram += block.T @ block
        gram[np.diag_indices_from(gram)] += ridge
        self._factored = cho_factor(gram, lower=True, overwrite_a=True)
        self._found = np.zeros((len(gram), 0))  # W, or A in the dual

    def _made(self) -> Iterator[Floats]:
        for start in range(0, len(self._x), self._rows):
            yield self._scaled(self._x[start : start + self._rows])

    def _blocks(self) -> Iterator[Floats]:
        yield from self._made() if self._kept is None else self._kept

    def fit(self, v: Floats) -> Floats:
        """Solve for W given V [n, r]; return X W, [n, r]."""
        from scipy.linalg import cho_solve

        if self.dual:
            self._found = cho_solve(self._factored, v)
            return v - self._ridge * self._found
        right = np.zeros((self._width, v.shape[1]))
        start = 0
        for block in self._blocks():
            right += block.T @ v[start : start + len(block)]
            start += len(block)
        self._found = cho_solve(self._factored, right)
        return np.concatenate([block @ self._found for block in self._blocks()])

    def weights(self) -> Floats:
        """Return W [d, r] of the last fit."""
        return next(self._blocks()).T @ self._found if self.dual else self._found

    def __call__(self, x: Array) -> Floats:
        """Return the factors of items by their features [m, d] alone: X W, [m, r]."""
        weights = self.weights()
        rows = range(0, len(x), self._rows)
        found = [self._scaled(x[start : start + self._rows]) @ weights for start in rows]
        return np.concatenate(found) if found else np.zeros((0, weights.shape[1]))


@dataclass(frozen=True)
class Factorised:
    """Factors of users [users, r] and items [items, r], and the map from features to the latter.

    `objective` is L after each update, where it was asked for: of U, V and W in turn.
    """

    users: Floats
    items: Floats
    map: FeatureMap
    objective: list[float]


def factorise(
    counts: Sparse,
    features: FeatureMap,
    start: Floats,
    weights: Weights,
    iterations: int,
    *,
    objective: bool = False,
) -> Factorised:
    """Fit eq. 7 by so many iterations of ALS.

    `counts`: sparse rows [users, items], above 0 where a user likes an item; how often matters with
    `weights.alpha` alone. `features`: the items' map, with the ridge of these weights; `start`:
    V to begin with, [items, r], to which W is fitted before U. With `objective` L is told after
    every update, which takes about as long again.
    """
    sides = _Side(counts, weights.alpha), _Side(counts.T.tocsr(), weights.alpha)
    v = np.array(start, np.float64)
    mapped = features.fit(v)
    told: list[float] = []
    u = np.zeros((counts.shape[0], v.shape[1]))

    def tell() -> None:
        if objective:
            told.append(_objective(sides[0], u, v, mapped, features.weights(), weights))

    for _ in range(iterations):
        u = sides[0].solve(v, weights.users)
        tell()
        v = sides[1].solve(u, weights.items, mapped)
        tell()
        mapped = features.fit(v)
        tell()
    return Factorised(u, v, features, told)


class _Side:
    """The interactions seen from the side whose factors are solved for: a row each."""

    def __init__(self, counts: Sparse, alpha: float) -> None:
        from scipy.sparse import csr_array

        self.alpha = alpha
        self.shape = counts.shape
        pattern = counts.indices, counts.indptr
        data = np.asarray(counts.data, np.float64)
        self._liked = csr_array((np.ones(len(data)), *pattern), counts.shape)
        self._extra = csr_array((alpha * data, *pattern), counts.shape)

    def solve(self, other: Floats, penalty: float, prior: Floats | None = None) -> Floats:
        """Return the factors [n, r] that are best given the other side's, and drawn to `prior`."""
        whole = 2 * other.T @ other
        whole[np.diag_indices_from(whole)] += penalty
        right = 2 * (self._liked @ other)
        if prior is not None:
            right += penalty * prior
        if not self.alpha:
            from scipy.linalg import cho_factor, cho_solve

            solved: Floats = cho_solve(cho_factor(whole), right.T).T
            return np.ascontiguousarray(solved)
        right += 2 * (self._extra @ other)
        rank = other.shape[1]
        upper = np.triu_indices(rank)
        products = other[:, upper[0]] * other[:, upper[1]]
        found = np.empty_like(right)
        rows = max(1, _BLOCK_CELLS // rank**2)
        for begin in range(0, len(right), rows):
            block = slice(begin, begin + rows)
            packed = 2 * (self._extra[block] @ products)
            left = np.empty((len(packed), rank, rank))
            left[:, upper[0], upper[1]] = packed
            left[:, upper[1], upper[0]] = packed
            left += whole
            found[block] = np.linalg.solve(left, right[block, :, None])[:, :, 0]
        return found

    def residual(self, own: Floats, other: Floats) -> float:
        """Return sum c (R - U V')^2 over all pairs, without forming them."""
        total = float(((own.T @ own) * (other.T @ other)).sum())  # |U V'|^2
        indptr, indices = self._liked.indptr, self._liked.indices
        step = max(1, _BLOCK_CELLS // max(1, own.shape[1]))
        of_row = np.repeat(np.arange(self.shape[0]), np.diff(indptr))
        for begin in range(0, len(indices), step):
            block = slice(begin, begin + step)
            told = np.einsum("nr,nr->n", own[of_row[block]], other[indices[block]])
            confidence = 1 + self._extra.data[block]
            total += float((confidence * np.square(1 - told) - np.square(told)).sum())
        return total


def _objective(
    side: _Side, u: Floats, v: Floats, mapped: Floats, w: Floats, weights: Weights
) -> float:
    """Return L of eq. 7."""
    penalties = (
        (weights.items, v - mapped), (weights.users, u), (weights.features, w)
    )  # fmt: skip
    return side.residual(u, v) + sum(
        weight / 2 * float(np.square(block).sum()) for weight, block in penalties
    )

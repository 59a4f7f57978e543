"""Metrics of ranked lists: what stands at the top, such as the tracks recommended to a user.

Goal: average precision and discounted cumulative gain of the first k of a list, for binary
relevance. Source of the protocol: the REP study, section 4.2 (AP@20); of the gain: K. Jarvelin and
J. Kekalainen, "Cumulated gain-based evaluation of IR techniques", 2002.

Conventions: a row is a list, best first; `hits` [n, k] says which of its places are relevant, and
`relevant` [n] how many could have been, wherever they stand. A list in which nothing is relevant
has no value, NaN. Of equal scores the one in the first column stands first: who wants ties broken
by chance brings the columns into a drawn order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mt_tools.metrics.scores import Array, Floats, ratio

RANKED = frozenset({"ap", "ndcg"})
"""Metrics that are of the top of a list, so that `@20` is a length, as in `ap@20`."""


def top_ranked(scores: Array, k: int) -> NDArray[np.int64]:
    """Return the columns of the k largest scores of each row, best first: [n, min(k, m)].

    `scores`: [n, m], not NaN; what must not be listed is -inf, which comes last. Costs about as
    much as to look for the k-th, where there are no ties with it.
    """
    rows, columns = scores.shape
    k = min(k, columns)
    if not rows or not k:
        return np.zeros((rows, k), np.int64)
    if k == columns:
        return np.argsort(-scores, axis=1, kind="stable")
    found = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    found.sort(axis=1)  # so that a stable sort by score leaves ties in the order of the columns
    kept = np.take_along_axis(scores, found, axis=1)
    found = np.take_along_axis(found, np.argsort(-kept, axis=1, kind="stable"), axis=1)
    # Where others are equal to the last, which of them are among the k was left to chance.
    tied = np.flatnonzero((scores >= kept.min(axis=1, keepdims=True)).sum(axis=1) > k)
    found[tied] = np.argsort(-scores[tied], axis=1, kind="stable")[:, :k]
    return found


def average_precision_at(hits: Array, relevant: Array, k: int) -> Floats:
    """Return AP@k of each list, [n]: precision at the place of each hit, summed.

    The sum is divided by what it could have been at most, min(k, relevant), so that a list whose
    first places are all relevant scores 1. `hits`: bool [n, up to k]; `relevant`: [n].
    """
    hits, relevant = _validated(hits, relevant, k)
    places = np.arange(1, hits.shape[1] + 1)
    precision = np.cumsum(hits, axis=1) / places
    return ratio((precision * hits).sum(axis=1), np.minimum(relevant, k))


def ndcg_at(hits: Array, relevant: Array, k: int) -> Floats:
    """Return nDCG@k of each list, [n]: hits weighted by 1 / log2(1 + place), over the best sum.

    The best list has min(k, relevant) hits at its top. `hits`: bool [n, up to k]; `relevant`: [n].
    """
    hits, relevant = _validated(hits, relevant, k)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    best = np.concatenate([[0.0], np.cumsum(discounts)])
    return ratio(hits @ discounts[: hits.shape[1]], best[np.minimum(relevant, k)])


def _validated(hits: Array, relevant: Array, k: int) -> tuple[Array, Array]:
    """Refuse lists that cannot be; raises `ValueError`."""
    hits, relevant = np.asarray(hits), np.asarray(relevant)
    if hits.dtype != bool or hits.ndim != 2 or relevant.shape != hits.shape[:1]:
        raise ValueError(
            f"got hits of {hits.dtype} {hits.shape} with {relevant.shape} relevant, expected bool "
            "[lists, places] with [lists]"
        )
    if hits.shape[1] > k or (hits.sum(axis=1) > relevant).any():
        raise ValueError(
            f"got lists of {hits.shape[1]} places, expected {k} at most, with no more hits than "
            "are relevant"
        )
    return hits, relevant

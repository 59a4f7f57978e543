"""Which rows to label next: those that a model is least sure of, unlike each other.

Sources: margin sampling: T. Scheffer, C. Decomain, S. Wrobel, "Active hidden Markov models for
information extraction", IDA 2001. Of tags the one nearest to its threshold counts: K. Brinker, "On
active learning in multi-label classification", 2006. Several tasks are taken together, as whoever
listens to a track labels all of them: R. Reichart, K. Tomanek, U. Hahn, A. Rappoport, "Multi-task
active learning for linguistic annotations", ACL 2008, combine ranks; here it is the mean of the
margins, which needs no second pass. Diversity by farthest-first traversal: T. Gonzalez, "Clustering
to minimize the maximum intercluster distance", 1985, in the embedding as O. Sener, S. Savarese,
"Active learning for convolutional neural networks: a core-set approach", ICLR 2018 ("k-center
greedy").

Conventions: a margin is from 0, undecided, to 1, certain. A row whose margin is NaN is never
chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def class_margins(scores: ArrayLike) -> Floats:
    """Return how far the most likely class is ahead of the second, [n] of probabilities [n, k]."""
    scores = np.asarray(scores, np.float64)
    if scores.shape[1] < 2:
        return np.ones(len(scores))
    second, first = np.moveaxis(np.partition(scores, -2, axis=1)[:, -2:], 1, 0)
    return first - second


def tag_margins(scores: ArrayLike, thresholds: Sequence[float | None] | None = None) -> Floats:
    """Return how far the nearest tag is from its threshold, [n] of scores [n, tags].

    The distance is a share of what there is on its side: (s - t) / (1 - t) above the threshold and
    (t - s) / t below it, so that it is 1 at the ends. At a threshold of 0.5, which is taken where
    there are none, it is the margin between yes and no. A tag that is out of reach (None) is never
    in doubt.
    """
    scores = np.asarray(scores, np.float64)
    levels: list[Any] = [0.5] * scores.shape[1] if thresholds is None else list(thresholds)
    t = np.array([np.inf if level is None else level for level in levels], np.float64)
    reachable = np.isfinite(t)
    s, t = scores[:, reachable], t[reachable]
    if not len(t):
        return np.where(np.isfinite(scores).all(axis=1), 1.0, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        above, below = (s - t) / (1 - t), (t - s) / t
    # A threshold of 0 or 1 has no other side: what is on it is on the border.
    above, below = np.where(t < 1, above, 0.0), np.where(t > 0, below, 0.0)
    found = np.where(s >= t, above, below).min(axis=1)
    return np.where(np.isfinite(scores).all(axis=1), found, np.nan)


def combined(margins: Sequence[Floats]) -> Floats:
    """Return the mean margin [n] over tasks; NaN where one is."""
    return np.mean(np.stack(margins), axis=0)


def unit_rows(vectors: ArrayLike) -> Floats:
    """Return vectors [n, d] of length 1, whose distances are those of their directions; 0 stays."""
    rows = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def least_certain(margins: ArrayLike, count: int) -> NDArray[np.int64]:
    """Return the places of the `count` smallest margins, smallest first, the first of equals."""
    margins = np.asarray(margins, np.float64)
    order = np.argsort(margins, kind="stable")
    return order[np.isfinite(margins[order])][:count]


def farthest_first(vectors: ArrayLike, count: int, first: int = 0) -> NDArray[np.int64]:
    """Return the places of `count` of the vectors [n, d], each the farthest from those before it.

    The traversal begins at `first`; of equally far ones the first in order is taken, so that equal
    vectors follow in their order. So many balls around the chosen cover all, with at most twice the
    smallest possible radius (Gonzalez 1985).
    """
    vectors = np.asarray(vectors, np.float64)
    count = min(count, len(vectors))
    chosen = np.zeros(count, np.int64)
    far = np.full(len(vectors), np.inf)
    place = first
    for number in range(count):
        chosen[number] = place
        far = np.minimum(far, np.square(vectors - vectors[place]).sum(axis=1))
        far[chosen[: number + 1]] = -1.0  # taken
        place = int(far.argmax())
    return chosen

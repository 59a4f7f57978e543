"""Which labels and which tracks are kept: frequent tags, so many a class, one version of a song.

Goal: what the studies do to a set of labels before anything is learned: the 50 tags that stand most
often (SEQ), one version a song and so many songs a class, drawn at random (DJ).

Conventions: tracks are counted, not rows: all copies and segments of one `origin` count once, and
are kept or dropped together. Labels, origins, songs and splits are numbers from 0, -1 = none. What
is drawn at random is drawn by `ranks`, a number an origin that depends on nothing but its name and
the seed: the lowest ranks are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Ranks = NDArray[np.uint64]


def tracks_of_labels(labels: Codes, origins: Codes, count: int) -> Codes:
    """Return how many origins have each label, [count].

    `labels` and `origins` [pairs] are a label and the origin of the row that has it.
    """
    pairs = np.unique(np.stack([labels, origins], axis=1)[labels >= 0], axis=0)
    return np.bincount(pairs[:, 0], minlength=count)


def frequent(tracks: Codes, names: Sequence[str], top: int, least: int) -> NDArray[np.bool_]:
    """Return which labels are kept, [labels]: the `top` ones of those on `least` tracks or more.

    `tracks` [labels] are how many have each. Labels on equally many tracks are taken in the order
    of their `names` by code point. No limit where `top` is 0.
    """
    order = sorted(range(len(names)), key=lambda label: (-tracks[label], names[label]))
    kept = np.zeros(len(names), bool)
    kept[order[: top or None]] = True
    return kept & (tracks >= max(least, 1))


def one_each(songs: Codes, origins: Codes, ranks: Ranks) -> NDArray[np.bool_]:
    """Return the rows of one origin of each song, [rows], the one of the lowest rank.

    `songs` and `origins` are [rows]; a row of no song (-1) is its own.
    """
    order = np.lexsort((origins, ranks[origins], songs))
    leads = np.ones(len(order), bool)
    leads[1:] = songs[order[1:]] != songs[order[:-1]]
    leader = np.full(int(songs.max(initial=-1)) + 2, -1, np.int64)  # the last is that of no song
    leader[songs[order[leads]]] = origins[order[leads]]
    return (songs < 0) | (leader[songs] == origins)


def capped(
    labels: Codes, parts: Codes, origins: Codes, ranks: Ranks, most: int
) -> NDArray[np.bool_]:
    """Return the rows of at most `most` origins of each class in each part, [rows].

    `labels`, `parts` and `origins` are [rows]; rows without a class (-1) are kept. The origins of
    the lowest ranks are.
    """
    cells, of_row = np.unique(
        np.stack([labels, parts, origins], axis=1), axis=0, return_inverse=True
    )
    order = np.lexsort((cells[:, 2], ranks[cells[:, 2]], cells[:, 1], cells[:, 0]))
    ordered = cells[order]
    new = np.ones(len(order), bool)
    new[1:] = (ordered[1:, :2] != ordered[:-1, :2]).any(axis=1)
    starts = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    kept = np.empty(len(order), bool)
    kept[order] = np.arange(len(order)) - starts < most
    return kept[of_row.reshape(-1)] | (labels < 0)

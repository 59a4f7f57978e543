"""Recordings that are the same: fingerprints that agree where one is laid over the other.

Goal: to find copies that were encoded anew, made louder or cut, wherever they begin.

Two fingerprints are laid over one another where they share a word of 32 bits, and are of one
recording when at most `MOST_WRONG` of the bits of what overlaps, 3 s at least, differ. Of different
music half the bits differ, give or take; Haitsma and Kalker (2002, section 5) take 0.35 as the
threshold for 3 s, at which they expect one false match in 10^20.

Which pairs share a word is found by sorting. Of each fingerprint the `_WORDS` words that come first
in an order by hash take part, so that two copies choose the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_WRONG = 0.35
"""The largest share of bits that differ between copies."""

_OVERLAP = 256  # frames: 3 s
_WORDS = 512
_LINKS = 8  # rows that a word is followed to in the sorted list; rows of one word form a chain
_JITTER = 2  # frames that two shared words may disagree on where one copy lies over the other
_COUNTS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


@dataclass(frozen=True)
class Match:
    """Two rows that are one recording, by number, and the share of bits that differ."""

    first: int
    second: int
    wrong: float


def matches(
    prints: Sequence[NDArray[np.uint32] | None],
    origins: NDArray[np.int64],
    sides: NDArray[np.int64],
) -> list[Match]:
    """Return the pairs of rows on different sides that are one recording, the surest first.

    `prints`: the fingerprint of each row, None where there is none; `origins` [n], a number for
    each origin, of which no two rows are compared; `sides` [n], negative = left out.
    """
    found = []
    for first, second, offset in _laid_over(prints, origins, sides):
        one, other = prints[first], prints[second]
        assert one is not None
        assert other is not None
        wrong = _wrong(one, other, offset)
        if wrong <= MOST_WRONG:
            found.append(Match(first, second, wrong))
    return sorted(found, key=lambda match: (match.wrong, match.first, match.second))


def _laid_over(
    prints: Sequence[NDArray[np.uint32] | None],
    origins: NDArray[np.int64],
    sides: NDArray[np.int64],
) -> list[tuple[int, int, int]]:
    """Return pairs that share words, and how many frames later these come in the second."""
    words: list[NDArray[np.uint32]] = []
    frames: list[NDArray[np.int64]] = []
    rows: list[NDArray[np.int64]] = []
    for row, print_ in enumerate(prints):
        if print_ is None or sides[row] < 0 or len(print_) < _OVERLAP:
            continue
        distinct, places = np.unique(print_, return_index=True)
        chosen = np.argsort(_hashed(distinct), kind="stable")[:_WORDS]
        words.append(distinct[chosen])
        frames.append(places[chosen])
        rows.append(np.full(len(chosen), row))
    if len(rows) < 2:
        return []
    word, frame, owner = np.concatenate(words), np.concatenate(frames), np.concatenate(rows)
    order = np.lexsort((owner, word))
    word, frame, owner = word[order], frame[order], owner[order]
    pieces = []
    for lag in range(1, _LINKS + 1):
        one, other = owner[:-lag], owner[lag:]
        linked = (word[:-lag] == word[lag:]) & (sides[one] != sides[other])
        linked &= origins[one] != origins[other]
        offset = frame[lag:][linked] - frame[:-lag][linked]
        pieces.append(np.stack([one[linked], other[linked], offset]))
    shared = np.concatenate(pieces, axis=1)
    shared = shared[:, np.lexsort(shared[::-1])]
    return _agreed(shared)


def _agreed(shared: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return the offset that most shared words of a pair agree on, two at least.

    Shape: `shared` [3, n], rows and offset, sorted.
    """
    first, second, offset = shared
    changes = np.flatnonzero((np.diff(first) != 0) | (np.diff(second) != 0)) + 1
    starts, ends = np.r_[0, changes], np.r_[changes, len(first)]
    found = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - start < 2:
            continue
        mine = offset[start:end]
        votes = np.searchsorted(mine, mine + _JITTER, "right") - np.arange(len(mine))
        best = int(votes.argmax())
        if votes[best] > 1:
            middle = int(mine[best + int(votes[best]) // 2])
            found.append((int(first[start]), int(second[start]), middle))
    return found


def _wrong(one: NDArray[np.uint32], other: NDArray[np.uint32], offset: int) -> float:
    """Return the share of bits that differ where two are laid over each other; 1 if too short."""
    one, other = (one, other[offset:]) if offset >= 0 else (one[-offset:], other)
    length = min(len(one), len(other))
    if length < _OVERLAP:
        return 1.0
    differ = np.bitwise_xor(one[:length], other[:length])
    return float(_COUNTS[differ.view(np.uint8)].sum() / (32 * length))


def _hashed(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the words in another order (the finaliser of MurmurHash3)."""
    mixed = words.astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return mixed ^ (mixed >> np.uint32(16))

"""Which labels and tracks are kept, compared with the same rule written as loops."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_tools.tasks import shape

rows = st.lists(
    st.tuples(st.integers(-1, 4), st.integers(0, 2), st.integers(0, 7)), min_size=0, max_size=40
)
ranks = st.permutations(range(8)).map(lambda order: np.array(order, np.uint64))


def columns(drawn: list[tuple[int, int, int]]) -> list[np.ndarray]:
    """Return label (or song), part and origin of each row."""
    return list(np.array(drawn, np.int64).reshape(-1, 3).T)


@settings(max_examples=200, deadline=None)
@given(rows, st.integers(0, 5), st.integers(0, 4))
def test_frequent_labels(drawn: list[tuple[int, int, int]], top: int, least: int) -> None:
    """The 50 most frequent tags of a study would be others, or copies would count twice."""
    labels, _, origins = columns(drawn)
    names = ["ä", "b", "B", "a", "c"]
    tracks = shape.tracks_of_labels(labels, origins, len(names))
    counter = Counter(names[label] for label, _ in {(a, o) for a, _, o in drawn if a >= 0})
    assert dict(zip(names, tracks.tolist(), strict=True)) == {n: counter[n] for n in names}
    ordered = sorted(counter, key=lambda name: (-counter[name], name))
    expected = {name for name in ordered[: top or None] if counter[name] >= least}
    chosen = shape.frequent(tracks, names, top, least)
    assert {name for name, keep in zip(names, chosen, strict=True) if keep} == expected


@settings(max_examples=200, deadline=None)
@given(rows, ranks)
def test_one_version_a_song(drawn: list[tuple[int, int, int]], rank: np.ndarray) -> None:
    """Two versions of a song would stay, or a song would lose them all."""
    songs, _, origins = columns(drawn)
    kept = shape.one_each(songs, origins, rank)
    for (song, _, origin), keep in zip(drawn, kept, strict=True):
        versions = {o for s, _, o in drawn if s == song}
        assert keep == (song < 0 or origin == min(versions, key=lambda o: rank[o]))


@settings(max_examples=200, deadline=None)
@given(rows, ranks, st.integers(1, 3))
def test_so_many_a_class(drawn: list[tuple[int, int, int]], rank: np.ndarray, most: int) -> None:
    """A class would keep too many tracks, or a track some of its copies."""
    labels, parts, origins = columns(drawn)
    kept = shape.capped(labels, parts, origins, rank, most)
    for (label, part, origin), keep in zip(drawn, kept, strict=True):
        peers = {o for a, p, o in drawn if (a, p) == (label, part)}
        assert keep == (label < 0 or origin in sorted(peers, key=lambda o: rank[o])[:most])

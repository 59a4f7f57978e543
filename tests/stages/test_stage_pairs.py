"""mt-factor same-track without its command: crops in pairs, half of them of one track."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from support import Shell

from mt_tools.errors import UsageError
from mt_tools.stages.factors.pairs import Drawn, cropped, drawn, needed
from mt_tools.stages.factors.settings import SameTrackSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.parquet import ParquetReader

Pairs = dict[int, list[dict[str, Any]]]


def pairs_of(rows: list[dict[str, Any]]) -> Pairs:
    """Return the two crops of each pair."""
    found: Pairs = defaultdict(list)
    for row in rows:
        found[row["pair"]].append(row)
    return found


def drawn_from(batch: Batch, **options: Any) -> tuple[Pairs, Drawn]:
    """Draw from rows that come in two batches."""
    light = batch.without([n for n in batch.names if n not in ("id", *needed(batch.columns))])
    half = len(batch) // 2
    pieces = [list(range(half)), list(range(half, len(batch)))]
    found = drawn([light.take(piece) for piece in pieces], SameTrackSettings(**options))
    rows = [row for out in cropped([batch.take(p) for p in pieces], found) for row in out.rows()]
    return pairs_of(rows), found


@pytest.fixture
def library(make_batch: Any) -> Batch:
    """Thirty tracks of twenty seconds, by ten artists, in two parts."""
    return make_batch(
        path=[f"{number}.flac" for number in range(30)],
        length=[20.0] * 30,
        group=[f"artist {number // 3}" for number in range(30)],
        split=["train"] * 21 + ["test"] * 9,
        style=["rock", "jazz"] * 15,
        embedding=np.ones((30, 2), np.float32),
    )


def test_half_of_the_pairs_are_of_one_track(library: Batch) -> None:
    """Who always says "different" would be right more often than not."""
    pairs, found = drawn_from(library, pairs=200)
    assert sorted(pairs) == list(range(200))
    assert all(len(two) == 2 for two in pairs.values())
    for one, other in pairs.values():
        assert one["same"] == other["same"] == (one["origin"] == other["origin"])
        assert one["split"] == other["split"]  # never over the border of a split
    assert sum(one["same"] for one, _ in pairs.values()) == 100
    by_part = defaultdict(list)
    for one, _ in pairs.values():
        by_part[one["split"]].append(one["same"])
    assert {part: np.mean(same) for part, same in by_part.items()} == {"train": 0.5, "test": 0.5}
    assert found.notes == ["200 pairs of 30 tracks, 100 of one track"]
    odd, _ = drawn_from(library, pairs=7)
    assert sum(one["same"] for one, _ in odd.values()) == 4


def test_crops_are_rows_of_the_wire(library: Batch) -> None:
    """mt-spec and mt-embed could not take them, or would take features of the whole track."""
    pairs, _ = drawn_from(library, pairs=200, crop=2.5)
    rows = [row for two in pairs.values() for row in two]
    assert len({row["id"] for row in rows}) == 400
    for row in rows:
        assert row["id"].startswith(f"{row['origin']}@")
        assert row["duration"] == 2.5
        assert 0 <= row["start"] <= 17.5
        assert row["path"] == f"{row['origin'][1:]}.flac"
        assert row["style"] in ("rock", "jazz")
        assert "embedding" not in row
    starts = [row["start"] for row in rows]
    counts, _ = np.histogram(starts, bins=7, range=(0, 17.5))
    assert counts.min() > 20  # all over the track


def test_crops_of_one_track_do_not_overlap(library: Batch) -> None:
    """A pair would share sound, which any embedding knows again."""
    for crop in (2.5, 9.9, 10.0):
        pairs, _ = drawn_from(library, pairs=300, crop=crop)
        for one, other in pairs.values():
            if one["same"]:
                assert abs(one["start"] - other["start"]) >= crop - 1e-9


def test_too_short_for_two(library: Batch) -> None:
    """Short tracks would be lost without a word, or give twice the same crop."""
    pairs, found = drawn_from(library, pairs=60, crop=15)
    for one, other in pairs.values():
        if one["same"]:
            assert sorted((one["start"], other["start"])) == [0, 5]
    assert found.notes[-1].endswith("30 tracks are shorter than two crops: theirs overlap")
    with pytest.raises(UsageError, match=r"30 rows are shorter than 21 s .*; choose a shorter"):
        drawn_from(library, crop=21)
    with pytest.raises(UsageError, match="30 are as long"):  # but no longer
        drawn_from(library, crop=20)


def test_what_is_left_out_is_said(make_batch: Any) -> None:
    """Tracks would vanish without a word."""
    batch = make_batch(
        path=["x"] * 8,
        length=[9.0, 9.0, 9.0, 2.0, None, 9.0, 9.0, 9.0],
        split=["train", "train", "train", "train", "train", None, None, "test"],
    )
    pairs, found = drawn_from(batch, pairs=20)
    used = {row["origin"] for two in pairs.values() for row in two}
    assert used == {"t0", "t1", "t2"}  # t7 has nobody to be compared with
    assert found.notes[:3] == [
        "1 rows have no length and are left out",
        "1 rows are shorter than 2.5 s and are left out",
        "2 rows have no split and are left out",
    ]


def test_neither_order_nor_batches_matter(library: Batch) -> None:
    """The same table in another order would verify something else."""
    pairs, _ = drawn_from(library, pairs=100)
    again, _ = drawn_from(library.take(np.random.default_rng(0).permutation(30)), pairs=100)

    def plain(found: Pairs) -> Any:
        return {pair: sorted(row["id"] for row in two) for pair, two in found.items()}

    assert plain(again) == plain(pairs)
    other, _ = drawn_from(library, pairs=100, seed=1)
    assert plain(other) != plain(pairs)


def test_every_track_is_drawn_as_often(library: Batch) -> None:
    """Some tracks would decide the score."""
    pairs, _ = drawn_from(library, pairs=60)
    same, other = defaultdict(int), defaultdict(int)
    for two in pairs.values():
        for row in two:
            (same if row["same"] else other)[row["origin"]] += 1
    assert set(same.values()) == {2}
    assert set(other.values()) == {2}
    assert len(same) == len(other) == 30


def test_segments_and_copies_are_of_their_track(make_batch: Any) -> None:
    """Two segments of one track would be a pair of two tracks."""
    batch = make_batch(
        id=["a@0", "a@10", "b", "b#pitch"],
        origin=["a", "a", None, "b"],
        path=["a", "a", "b", "b"],
        recipe=[None, None, None, "pitch:2"],
        start=[0.0, 10.0, None, None],
        duration=[5.0, 5.0, None, None],
        length=[20.0, 20.0, 12.0, 12.0],
    )
    pairs, _ = drawn_from(batch, pairs=100)
    rows = [row for two in pairs.values() for row in two]
    assert {row["id"].partition("@")[0] for row in rows} == {"a", "b", "b#pitch"}
    for row in rows:
        if row["origin"] == "a":
            first = 0 if row["id"].startswith("a@0@") else 10
            assert first <= row["start"] <= first + 2.5
    for one, other in pairs.values():
        assert one["same"] == (one["origin"] == other["origin"])
        if one["same"]:
            assert abs(one["start"] - other["start"]) >= 2.5


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.floats(2.0, 12.0), min_size=2, max_size=8),
    crop=st.floats(0.5, 3.0),
    seed=st.integers(0, 9),
)
def test_crops_lie_in_their_tracks(
    make_batch: Any, lengths: list[float], crop: float, seed: int
) -> None:
    """A crop beyond the end would fail to decode, or be shorter than the others."""
    batch = make_batch(path=["x"] * len(lengths), length=lengths)
    crop = round(crop, 3)
    if sum(length > crop + 0.01 for length in lengths) < 2:
        return
    pairs, _ = drawn_from(batch, pairs=20, crop=crop, seed=seed)
    for one, other in pairs.values():
        for row in (one, other):
            assert row["start"] >= 0
            assert row["start"] + crop <= row["length"] + 1e-9
        if one["same"]:
            assert one["start"] != other["start"]
            if one["length"] >= 2 * crop + 0.01:
                assert abs(one["start"] - other["start"]) >= crop - 1e-9


def test_an_embedding_that_knows_tracks_separates_the_pairs(
    library: Batch, make_batch: Any
) -> None:
    """The table would not tell who recognises a track from who does not."""
    pairs, _ = drawn_from(library, pairs=200)
    rng = np.random.default_rng(0)
    voices = {f"t{number}": rng.normal(size=8) for number in range(30)}
    same = np.array([two[0]["same"] for two in pairs.values()])

    def auc(vector: Any) -> float:
        apart = [np.linalg.norm(vector(one) - vector(other)) for one, other in pairs.values()]
        return float(roc_auc_score(same, -np.array(apart)))

    assert auc(lambda row: voices[row["origin"]] + rng.normal(0, 0.3, size=8)) > 0.99
    # Of 100 pairs each, the standard error of a blind one is 0.04.
    assert 0.38 < auc(lambda row: rng.normal(size=8)) < 0.62


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a", "b"]}, "no column 'length' in the input: it has id, path; mt-fetch folder"),
        ({"length": [9.0, 9.0], "pair": [1, 2]}, "already has a column 'pair'"),
        ({"length": [9.0]}, "no part of the input has two tracks"),
    ],
)
def test_what_has_no_pairs_is_refused(make_batch: Any, columns: Any, message: str) -> None:
    """Each mistake is one line that says what to do."""
    with pytest.raises(UsageError, match=message) as raised:
        drawn_from(make_batch(**columns))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_the_pairs_of_a_corpus_are_verified(sh: Shell, corpus: Path) -> None:
    """In a shell: mt-embed takes the pairs as they are, and MFCC statistics are not blind."""
    sh(
        f"mt-factor same-track {corpus}/tracks.parquet --crop 1 --pairs 200 -o pairs.parquet"
        " && mt-embed pairs.parquet --model mfcc-stats -o emb.parquet",
        ok=True,
        cwd=corpus,
    )
    table = concatenate(list(ParquetReader(str(corpus / "emb.parquet"), "emb")))
    vectors = table["embedding"]
    vectors = (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-9)
    rows = [row | {"vector": v} for row, v in zip(table.rows(), vectors, strict=True)]
    pairs = pairs_of(rows).values()
    assert len(pairs) == 200
    same = [one["same"] for one, _ in pairs]
    apart = [np.linalg.norm(one["vector"] - other["vector"]) for one, other in pairs]
    # Of a blind one the standard error is 0.041: three of them above one half.
    assert roc_auc_score(same, -np.array(apart)) > 0.62

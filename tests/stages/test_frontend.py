"""What every command that opens audio begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import RunError, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.stages.frontend import (
    Part,
    column_rows,
    feature_rows,
    fresh,
    gathered,
    make_folder,
    save,
    segments_of,
    whole_tracks,
)
from mt_tools.tables.batch import Batch

SMALL = FeatureSettings(sample_rate=8000, n_fft=512, hop=256, bands=16, excerpt="segment:1")


def test_segments_become_their_tracks_again(make_batch: Any) -> None:
    """A pooled table must have the ids that the user's own table has."""
    ids = ["a/b c.mp3", "x#pitch=+2", "y@3"]
    batch = make_batch(id=ids, path=["p", "q", "r"], origin=[None, "x", None])
    parts = [Part(2.5 * i, 2.5, np.zeros((2, 3), np.float32)) for i in range(3)]
    rows = list(segments_of(iter([(batch, i, parts) for i in range(3)])))
    assert [b.ids[0] for b, _, _ in rows[:3]] == ["a/b c.mp3@0", "a/b c.mp3@2.5", "a/b c.mp3@5"]
    assert [b.origins[0] for b, _, _ in rows[::3]] == ["a/b c.mp3", "x", "y@3"]
    firsts, _ = next(gathered((b, r, None) for b, r, _ in rows[::3]))
    assert whole_tracks(firsts).ids.tolist() == ids
    assert "start" not in whole_tracks(firsts)


def test_ids_of_short_segments_far_into_a_track_differ(make_batch: Any) -> None:
    """Ids must be unique, also for tenths of seconds in a mix of hours."""
    batch = make_batch(id=["mix"])
    parts = [Part(36000 + i / 10, 0.1, np.zeros(1)) for i in range(100)]
    ids = [b.ids[0] for b, _, _ in segments_of(iter([(batch, 0, parts)]))]
    assert len(set(ids)) == 100


def test_consecutive_segments_of_one_file_are_joined_and_others_are_not(make_batch: Any) -> None:
    """A rendered copy has its track's origin and no recipe: it must not be pooled with it."""
    batch = make_batch(
        id=["a@0", "a@1", "a+2@0", "b@0"], origin=["a", "a", "a", "b"],
        path=["a.wav", "a.wav", "copy.flac", "b.wav"], mel=np.ones((4, 2, 3), np.float32),
    )  # fmt: skip
    column = batch.columns["mel"]
    rows = column_rows([batch], column, joined=True, keep=False, fail=pytest.fail)
    assert [len(parts) for _, _, parts in rows] == [2, 1, 1]
    rows = column_rows([batch], column, joined=False, keep=False, fail=pytest.fail)
    assert [len(parts) for _, _, parts in rows] == [1, 1, 1, 1]


def test_segments_are_joined_across_batches(make_batch: Any) -> None:
    """Where a batch ends is chance: a track that is cut by it must not fall apart."""
    batches = [
        make_batch(id=[f"a@{i}"], origin=["a"], mel=np.full((1, 2, 3), i, np.float32))
        for i in range(3)
    ]
    column = batches[0].columns["mel"]
    ((batch, row, parts),) = column_rows(batches, column, joined=True, keep=False, fail=pytest.fail)
    assert [part.features[0, 0] for part in parts] == [0, 1, 2]
    assert batch.ids[row] == "a@0"
    assert "mel" not in batch


def test_a_row_without_features_is_reported(make_batch: Any, failures: Any) -> None:
    """A null must not become a vector of NaN that spoils a mean somewhere later."""
    mel = np.ones((2, 2, 3), np.float32)
    mel[0] = np.nan
    batch = make_batch(mel=mel)
    rows = column_rows([batch], batch.columns["mel"], joined=False, keep=True, fail=failures)
    assert [batch.ids[row] for batch, row, _ in rows] == ["t1"]
    assert failures == [("t0", "missing")]


@pytest.mark.parametrize("recipe", ["pitch=99", "reverb=1", "pitch=x"])
def test_a_bad_recipe_fails_its_row_alone(
    few: Any, failures: Any, recipe: str, corpus: Path
) -> None:
    """One mistyped recipe in a table of thousands must not stop the night's run."""
    from mt_tools.tables.columns import reserved

    batch = next(few)
    batch = batch.replace(reserved("recipe"), [None, recipe, None, None])
    rows = feature_rows([batch], SMALL, folders=[str(corpus)], jobs=0, fail=failures)
    assert len(list(rows)) == 3
    assert failures == [(batch.ids[1], "recipe")]


def test_a_row_without_any_sound_is_reported(make_batch: Any, failures: Any) -> None:
    """A null path is a failed row, and a table without paths a mistake of the user's."""
    batch = make_batch(path=[None, None])
    assert not list(feature_rows([batch], SMALL, folders=[], jobs=0, fail=failures))
    assert failures == [("t0", "missing"), ("t1", "missing")]
    with pytest.raises(UsageError, match="no column 'path'"):
        list(feature_rows([make_batch(title=["x"])], SMALL, folders=[], jobs=0, fail=failures))


def test_workers_give_what_this_process_gives(few: Any, failures: Any, corpus: Path) -> None:
    """Same numbers for any --jobs."""
    batch = next(few)
    found: list[list[Any]] = []
    for jobs in (0, 2):
        rows = feature_rows([batch], SMALL, folders=[str(corpus)], jobs=jobs, fail=failures)
        found.append([(row, [part.features for part in parts]) for _, row, parts in rows])
    assert not failures
    assert [row for row, _ in found[0]] == [row for row, _ in found[1]] == [0, 1, 2, 3]
    for (_, one), (_, two) in zip(*found, strict=True):
        assert len(one) == len(two) == 3
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_existing_column_is_met_before_any_work(make_batch: Any) -> None:
    """Hours of decoding must not end in "the table already has a column"."""
    with pytest.raises(UsageError, match=r"already has a column 'mel'.*--as NAME"):
        next(fresh([make_batch(mel=["x"])], "mel"))
    assert len(list(fresh([make_batch(title=["x"])], "mel"))) == 1


def test_gathered_keeps_the_order_and_the_limit(make_batch: Any) -> None:
    """Rows of several batches come out in order, in batches of the size asked for."""
    batches: list[Batch] = [make_batch(id=[f"{n}{i}" for i in range(3)]) for n in "ab"]
    pairs = [(batch, row, (batch.ids[row])) for batch in batches for row in range(3)]
    out = list(gathered(pairs, 4))
    assert [len(batch) for batch, _ in out] == [4, 2]
    for batch, made in out:
        assert batch.ids.tolist() == made


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    """A file where a folder should be is the user's to solve: one line, no defect."""
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(UsageError, match="cannot make the folder"):
        make_folder(str(tmp_path / "data"))


def test_a_full_disk_ends_the_run_and_leaves_no_half_file(small_disk: Path) -> None:
    """A full disk would fail every file: it ends the run, with nothing half written."""
    with pytest.raises(RunError, match="No space left"):
        save(str(small_disk / "x.wav"), np.zeros((1, 2_000_000), np.float32), 22050)
    assert not list(small_disk.iterdir())

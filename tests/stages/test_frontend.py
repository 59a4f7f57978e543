"""What every command that opens audio begins with."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mt_tools.errors import DecodeError, RunError, UsageError
from mt_tools.features.extract import excerpts
from mt_tools.features.settings import FeatureSettings
from mt_tools.recipes import parse
from mt_tools.sound.decode import decode
from mt_tools.stages.frontend import (
    Part,
    Track,
    column_rows,
    compute,
    feature_rows,
    fresh,
    gathered,
    make_folder,
    runs,
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


def track(path: Path, recipe: str = "", length: float | None = None) -> Track:
    """Return what a worker knows of a file."""
    return Track(str(path), None, length, None, None, recipe, ())


@pytest.fixture(scope="module")
def piece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of noise in two channels at 22,050 Hz."""
    path = tmp_path_factory.mktemp("piece") / "piece.wav"
    wave = np.random.default_rng(5).normal(0, 0.1, (4 * 22050, 2)).astype(np.float32)
    soundfile.write(path, wave, 22050, "FLOAT")
    return path


@pytest.mark.parametrize("excerpt", ["segment:0.0777", "segment:0.3:0.07", "segment:0.1:0.9"])
@pytest.mark.parametrize(("rate", "tolerance"), [(22050, 0.0), (16000, 1e-6), (44100, 1e-6)])
@pytest.mark.parametrize("channels", ["mono", "stereo"])
def test_segments_are_those_of_the_track_decoded_one_by_one(
    piece: Path, excerpt: str, rate: int, tolerance: float, channels: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A segment would be shifted by a sample, or lack its end, depending on its neighbours.

    Resampling is exact to the rounding of float32, 6e-8 of the largest of some hundred terms.
    """
    monkeypatch.setattr("mt_tools.stages.frontend._RUN_SECONDS", 0.95)  # several runs
    settings = FeatureSettings(kind="wave", sample_rate=rate, excerpt=excerpt, channels=channels)
    parts = compute((track(piece), settings))
    assert len(parts) == len(excerpts(4.0, settings)) >= 4
    for part in parts:
        alone, _ = decode(
            str(piece), start=part.start, duration=part.duration, sample_rate=rate,
            channels=1 if channels == "mono" else 2,
        )  # fmt: skip
        assert part.features.shape[-1] == settings.excerpt_samples
        np.testing.assert_allclose(np.atleast_2d(part.features), alone, rtol=0, atol=tolerance)


@pytest.mark.parametrize("stretch", [0.8, 1.25, 1.3])
def test_segments_of_a_stretched_track_follow_one_another(piece: Path, stretch: float) -> None:
    """Segments of a stretched track would overlap, or leave something out.

    The piece is one run, so all but the last 0.5 s are the samples of the whole, stretched at once.
    """
    recipe = parse(f"stretch={stretch}")
    settings = FeatureSettings(kind="wave", sample_rate=22050, excerpt="segment:0.1777")
    parts = compute((track(piece, str(recipe)), settings))
    whole, _ = decode(str(piece), channels=1, recipe=recipe)
    samples = settings.excerpt_samples
    assert samples is not None
    assert len(parts) == round(4 * stretch * 22050) // samples
    for number, part in enumerate(parts):
        start = round(round(number * 0.1777 / stretch * 22050) * stretch)
        assert abs(start - number * 0.1777 * 22050) <= (1 + stretch) / 2
        if start + samples < (4 * stretch - 0.5) * 22050:
            expected = whole[0, start : start + samples]
            np.testing.assert_allclose(part.features, expected, rtol=0, atol=1e-6)


def test_segments_are_decoded_a_minute_at_a_time() -> None:
    """A file would be opened, and an Ogg decoded from its beginning, once for every second of it.

    Or, were segments that lie far apart decoded as one, all that is between would be decoded too.
    """

    def sizes(excerpt: str) -> list[int]:
        settings = FeatureSettings(excerpt=excerpt)
        parts = excerpts(150.0, settings)
        found = runs(parts, settings)
        assert [part for run in found for part in run] == parts
        return [len(run) for run in found]

    assert sizes("segment:1") == [60, 60, 30]
    assert sizes("segment:29") == [2, 2, 1]
    assert sizes("segment:70") == [1, 1]
    assert sizes("segment:20:10") == [3, 3, 3, 3, 2]
    assert sizes("segment:1:60") == [1, 1, 1]
    assert sizes("whole") == sizes("first:30") == [1]


def test_the_memory_of_segments_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mix of six hours would need 8 GB to be cut into segments of a second.

    Ten minutes at 8 kHz are 19.2 MB, and a run of ten seconds is 0.3 MB.
    """
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(600 * 8000, np.float32), 8000, "PCM_16")
    settings = FeatureSettings(
        sample_rate=8000, n_fft=512, hop=512, bands=8, excerpt="segment:1", summary="mean"
    )
    peaks = []
    for seconds in (10.0, 600.0):
        monkeypatch.setattr("mt_tools.stages.frontend._RUN_SECONDS", seconds)
        tracemalloc.start()
        try:
            assert len(compute((track(path), settings))) == 600
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[0] < 5e6
    assert peaks[1] > 19.2e6  # what is measured is what a run needs


def test_a_track_that_ends_before_its_segments_fails(piece: Path) -> None:
    """Silence would be tagged, or learned, where the table says that a track is longer."""
    settings = FeatureSettings(kind="wave", sample_rate=22050, excerpt="segment:1")
    with pytest.raises(DecodeError, match="segment at 5 s begins at or beyond the end") as caught:
        compute((track(piece, length=6.0), settings))
    assert caught.value.kind == "too-short"


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

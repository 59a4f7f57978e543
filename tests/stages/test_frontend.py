"""What every command that opens audio begins with."""

from __future__ import annotations

import dataclasses
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mt_tools.errors import DecodeError, RunError, UsageError
from mt_tools.features.extract import excerpts
from mt_tools.features.settings import FeatureSettings
from mt_tools.recipes import parse
from mt_tools.sound.decode import decode
from mt_tools.sound.opening import READ_SIZE
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


@pytest.fixture
def hour(tmp_path: Path) -> Path:
    """Ten minutes of noise at 8 kHz, whose samples are 19.2 MB: more than waits in memory."""
    path = tmp_path / "long.wav"
    wave = np.random.default_rng(6).normal(0, 0.1, 600 * 8000).astype(np.float32)
    soundfile.write(path, wave, 8000, "FLOAT")
    return path


SAMPLES = FeatureSettings(kind="wave", sample_rate=8000, excerpt="segment:1")


@pytest.mark.parametrize("jobs", [0, 2])
def test_the_segments_of_a_long_track_are_its_sound(hour: Path, make_batch: Any, jobs: int) -> None:
    """A mix of hours waits in a file: what is read back must be its segments, in order."""
    batch = make_batch(path=[str(hour)])
    rows = feature_rows([batch], SAMPLES, folders=[], jobs=jobs, fail=pytest.fail)
    ((_, _, parts),) = rows
    whole, _ = soundfile.read(hour, dtype="float32")
    assert [part.start or 0.0 for part in parts] == list(range(600))
    np.testing.assert_array_equal(np.concatenate([part.features for part in parts]), whole)
    np.testing.assert_array_equal(parts[-1].features, whole[-8000:])
    assert [part.start for part in parts[2:4]] == [2.0, 3.0]


def test_a_full_disk_costs_the_long_tracks(
    hour: Path, piece: Path, make_batch: Any, failures: Any, small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A full /tmp would end the run, or tag a mix by its beginning."""
    monkeypatch.setenv("TMPDIR", str(small_disk))
    monkeypatch.setattr(tempfile, "tempdir", None)
    batch = make_batch(path=[str(hour), str(piece)])
    rows = feature_rows([batch], SAMPLES, folders=[], jobs=0, fail=failures)
    assert [row for _, row, _ in rows] == [1]
    assert failures == [("t0", "no-space")]


def test_a_full_disk_costs_the_long_tracks_of_a_table(
    make_batch: Any, failures: Any, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segments behind the one that found no room would be tagged as if they were a track."""
    monkeypatch.setenv("TMPDIR", str(small_disk))
    monkeypatch.setattr(tempfile, "tempdir", None)
    origins = ["a"] * 6 + ["b"] * 2
    batch = make_batch(
        id=[f"{o}@{i}" for i, o in enumerate(origins)], origin=origins,
        mel=np.ones((8, 1000, 1000), np.float32),
    )  # fmt: skip
    rows = column_rows([batch], batch.columns["mel"], joined=True, keep=False, fail=failures)
    assert [(batch.ids[row], len(parts)) for _, row, parts in rows] == [("b@6", 2)]
    assert [kind for _, kind in failures] == ["no-space"]


def test_a_track_that_ends_before_its_segments_fails(piece: Path) -> None:
    """Silence would be tagged, or learned, where the table says that a track is longer."""
    settings = FeatureSettings(kind="wave", sample_rate=22050, excerpt="segment:1")
    with pytest.raises(DecodeError, match="segment at 5 s begins at or beyond the end") as caught:
        compute((track(piece, length=6.0), settings))
    assert caught.value.kind == "too-short"


# --- parts of a track ----------------------------------------------------------------------------


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    stored=st.sampled_from([8000, 11025, 22050]),
    rate=st.sampled_from([8000, 11025, 16000]),
    frames=st.integers(4000, 40000),
    start=st.floats(0, 1),
    seconds=st.floats(0.02, 1.5),
    hop=st.floats(0.02, 1.5),
    excerpt=st.sampled_from(["segment:S", "segment:S:H", "crops:4:S:7", "parts:3:S", "parts:3"]),
    ending=st.sampled_from([".wav", ".flac"]),
)
def test_parts_are_the_samples_of_the_whole(
    tmp_path: Path, stored: int, rate: int, frames: int, start: float, seconds: float, hop: float,
    excerpt: str, ending: str,
) -> None:  # fmt: skip
    """A row of a segment would not be the sound that its start and duration say."""
    path = tmp_path / f"any{ending}"
    wave = np.random.default_rng(frames).normal(0, 0.1, (frames, 1)).astype(np.float32)
    soundfile.write(path, wave, stored, "PCM_16")
    start = min(start, 0.5 * frames / stored)
    text = excerpt.replace("S", repr(seconds)).replace("H", repr(hop))
    features = FeatureSettings(kind="wave", sample_rate=rate, excerpt=text)
    row = dataclasses.replace(track(path), start=start, origin="any")
    parts = compute((row, features))
    whole, _ = decode(str(path), sample_rate=rate, channels=1)
    assert parts
    for part in parts:
        begin = round((part.start or 0.0) * rate)
        expected = whole[0, begin : begin + len(part.features)]
        found = part.features[: len(expected)]
        # Rounding may take the very last sample of a track, which is silence then.
        last = len(whole[0]) - begin - 1
        np.testing.assert_allclose(found[:last], expected[:last], rtol=0, atol=1e-6)
        # What the file does not have is silence.
        short = features.excerpt_seconds and frames / stored - start < features.excerpt_seconds
        assert short or len(part.features) - len(expected) <= 1
        np.testing.assert_array_equal(part.features[len(expected) :], 0)


def test_crops_are_drawn_by_track_and_seed_alone(piece: Path, make_batch: Any) -> None:
    """Another order of the table, or another track beside it, would give other training data."""
    settings = FeatureSettings(sample_rate=8000, bands=8, excerpt="crops:5:0.5:1")

    def starts(ids: list[str], settings: FeatureSettings, jobs: int = 0) -> dict[str, list[Any]]:
        batch = make_batch(
            id=ids, path=[str(piece)] * len(ids), origin=[i.partition("#")[0] for i in ids],
            recipe=["pitch=2" if "#" in i else None for i in ids],
        )  # fmt: skip
        rows = feature_rows([batch], settings, folders=[], jobs=jobs, fail=pytest.fail)
        return {batch.ids[row]: [part.start for part in parts] for batch, row, parts in rows}

    found = starts(["a", "b", "a#pitch=+2"], settings)
    assert all(len(set(places)) == 5 for places in found.values())
    assert starts(["b", "x", "a#pitch=+2", "a"], settings, jobs=2) == found | {
        "x": starts(["x"], settings)["x"]
    }
    assert found["a"] != found["b"]
    assert found["a"] != found["a#pitch=+2"]
    assert starts(["a"], dataclasses.replace(settings, excerpt="crops:5:0.5:2"))["a"] != found["a"]
    fewer = starts(["a"], dataclasses.replace(settings, excerpt="crops:2:0.5:1"))["a"]
    assert set(fewer) < set(found["a"])


def test_crops_reach_every_part_of_a_track(piece: Path) -> None:
    """The beginning or the end of tracks would never be heard."""
    settings = FeatureSettings(sample_rate=8000, bands=8, n_fft=256, excerpt="crops:200:0.5")
    parts = compute((dataclasses.replace(track(piece), origin="a"), settings))
    counts = np.histogram([part.start or 0.0 for part in parts], bins=7, range=(0, 3.5))[0]
    assert counts.min() > 10  # of 28.6 expected: less by chance once in ten thousand draws


@pytest.mark.parametrize(
    ("short", "found"), [("pad", [1.0, 0.0]), ("repeat", [1.0, 1.0]), ("skip", None)]
)
def test_a_track_shorter_than_its_excerpt(
    tmp_path: Path, make_batch: Any, failures: Any, short: str, found: Any
) -> None:
    """Half of a training example would be silence where that was not wanted, or a track vanish."""
    path = tmp_path / "short.wav"
    soundfile.write(path, np.ones(8000) * 0.5, 8000)
    settings = FeatureSettings(kind="wave", sample_rate=8000, excerpt="segment:2", short=short)
    batch = make_batch(path=[str(path)])
    rows = list(feature_rows([batch], settings, folders=[], jobs=0, fail=failures))
    if found is None:
        assert not rows
        assert failures == [("t0", "too-short")]
        return
    ((_, _, (part,)),) = rows
    np.testing.assert_allclose(part.features.reshape(2, -1).mean(axis=1), np.array(found) / 2)


def test_the_last_segment_of_a_file_that_ends_early_is_skipped(piece: Path) -> None:
    """A whole track would be lost where its length is told too long by a tenth of a second."""
    settings = FeatureSettings(kind="wave", sample_rate=22050, excerpt="segment:1")
    long = track(piece, length=5.0)
    long = dataclasses.replace(long, start=0.5)  # segments at 0.5, 1.5, 2.5 and 3.5, which has half
    assert [part.start for part in compute((long, settings))] == [0.5, 1.5, 2.5, 3.5]
    skip = dataclasses.replace(settings, short="skip")
    assert [part.start for part in compute((long, skip))] == [0.5, 1.5, 2.5]


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg"])
def test_only_the_needed_seconds_are_decoded(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first seconds of a mix of two hours would take as long as all of it."""
    path = tmp_path / f"long.{ending}"
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        for _ in range(200):  # a second at a time: libsndfile 1.2.2 breaks on a long Ogg in one go
            file.write(rng.normal(0, 0.1, 8000))
    read = soundfile.SoundFile.read
    frames = 0

    def counting(self: Any, *given: Any, **named: Any) -> Any:
        nonlocal frames
        found = read(self, *given, **named)
        frames += len(found)
        return found

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)

    def decoded(excerpt: str) -> float:
        """Return the seconds that libsndfile decodes for an excerpt."""
        nonlocal frames
        frames = 0
        settings = FeatureSettings(
            sample_rate=8000, n_fft=256, hop=256, bands=8, excerpt=excerpt, summary="mean"
        )
        compute((dataclasses.replace(track(path, length=200.0), origin="a"), settings))
        return frames / 8000

    block = READ_SIZE / 8000  # what is read at a time
    assert decoded("first:5") <= 5 + block
    assert decoded("range:5:10") <= 10 + block
    assert decoded("whole") >= 199
    # Of an Ogg, which is decoded from its beginning, once: see sound.parts.
    assert decoded("crops:9:5") <= 200 + block
    assert decoded("segment:5:25") <= 200 + block
    if ending != "ogg":
        assert decoded("centre:5") <= 5 + 2 * block
        assert decoded("crops:3:5") <= 3 * (5 + 2 * block)
        assert decoded("parts:2:5") <= 2 * (5 + 2 * block)


# --- rows ----------------------------------------------------------------------------------------


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

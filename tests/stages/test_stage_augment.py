"""mt-augment without its command: recipes, and copies rendered to files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mt_tools.errors import UsageError
from mt_tools.features.extract import extract
from mt_tools.features.settings import FeatureSettings
from mt_tools.recipes import parse
from mt_tools.recipes.effects import Mix
from mt_tools.sound.decode import decode
from mt_tools.stages import augment
from mt_tools.stages.frontend import compute, tracks_of
from mt_tools.stages.recipes import COLUMNS, Files
from mt_tools.stages.settings import AugmentSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.source import source_of

UP, SLOW = "pitch=+2", "stretch=1.25"


def unexpected(row: dict[str, Any], error: Exception) -> None:
    """Take no failure."""
    raise AssertionError(f"{row['id']}: {error}")


def runs(
    batches: Any, *recipes: str, fail: Any = unexpected, jobs: int = 0, **options: Any
) -> list[Batch]:
    """Return what the stage makes of batches."""
    settings = AugmentSettings(recipe=recipes, **options)
    files = Files(augment.templates_of(settings))
    batches = list(batches)
    if files.reads_table:
        files.read(source_of(batches).light(COLUMNS))
    return list(augment.run(batches, settings, files=files, jobs=jobs, fail=fail))


def run(batch: Batch, *recipes: str, **options: Any) -> Batch:
    """Return the one batch that the stage makes of one."""
    (made,) = runs([batch], *recipes, **options)
    return made


def sine(path: Path, hertz: float, seconds: float = 2.0, rate: int = 22050) -> None:
    """Write a sine."""
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * time), rate)


def strongest(path: str | Path) -> float:
    """Return the frequency of the highest peak of a file, by a parabola through its spectrum."""
    wave, rate = soundfile.read(path)
    middle = wave[len(wave) // 4 : -len(wave) // 4]
    spectrum = np.log(np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 20)) + 1e-12)
    peak = int(np.argmax(spectrum))
    left, centre, right = spectrum[peak - 1 : peak + 2]
    shift = (left - right) / (2 * (left - 2 * centre + right))
    return float((peak + shift) * rate / (1 << 20))


def test_every_combination_of_values_is_a_copy(make_batch: Any) -> None:
    """--pitch -2,2 --stretch 0.9,1.1 makes four copies; the identity is none."""
    made = run(make_batch(path=["a"]), pitch="-2,0,2", stretch="1.0,1.1")
    assert made["recipe"].tolist() == [
        None, "pitch=-2", "pitch=+2", "pitch=-2,stretch=1.1", "stretch=1.1", "pitch=+2,stretch=1.1",
    ]  # fmt: skip
    for settings in (AugmentSettings(), AugmentSettings(pitch="0")):
        with pytest.raises(UsageError, match="nothing to do"):
            augment.templates_of(settings)


def test_copies_follow_their_track_and_keep_its_origin(make_batch: Any) -> None:
    """A split, a pooling and a reader that keeps up all rely on origin and order."""
    made = run(make_batch(id=["a", "b"], path=["a.wav", "b.wav"], genre=["x", "y"]), UP, SLOW)
    assert made.ids.tolist() == [
        "a", "a#pitch=+2", "a#stretch=1.25", "b", "b#pitch=+2", "b#stretch=1.25",
    ]  # fmt: skip
    assert made.origins.tolist() == list("aaabbb")
    assert made["recipe"].tolist() == [None, "pitch=+2", "stretch=1.25"] * 2
    assert made["genre"].tolist() == list("xxxyyy")


def test_only_train_tracks_are_copied(make_batch: Any) -> None:
    """A test is taken on real tracks: the DJ study's jump came from copies on both sides."""
    batch = make_batch(path=["a", "b", "c", "d"], split=["train", "valid", "test", None])
    made = run(batch, UP)
    assert made.ids.tolist() == ["t0", "t0#pitch=+2", "t1", "t2", "t3", "t3#pitch=+2"]
    assert len(run(batch, UP, only_split="train,valid, test")) == 8


def test_copies_alone(make_batch: Any) -> None:
    """--no-originals leaves the copies; where nothing is to be copied, nothing comes."""
    made = run(make_batch(path=["a", "b"]), UP, originals=False)
    assert made.ids.tolist() == ["t0#pitch=+2", "t1#pitch=+2"]
    batch = make_batch(path=["a"], split=["test"])
    assert not runs([batch], UP, originals=False)


def test_what_cannot_be_augmented_is_refused(make_batch: Any) -> None:
    """Features of the tracks as they are would be taken for those of the copies."""
    with pytest.raises(UsageError, match=r"mel of the tracks as they are.*then compute features"):
        run(make_batch(path=["a"], mel=np.ones((1, 2, 3), np.float32)), UP)
    with pytest.raises(UsageError, match="recipes already"):
        run(run(make_batch(path=["a"]), UP), UP)
    with pytest.raises(UsageError, match="no column 'path'"):
        run(make_batch(title=["a"]), UP)


def test_rendered_copies_sound_as_their_recipe_says(
    tmp_path: Path, make_batch: Any, failures: Any
) -> None:
    """Pitch is right to 5 cents at the same length; stretch in length, at the same pitch."""
    sine(tmp_path / "a.wav", 440)
    copies = run(make_batch(path=["a.wav"], length=[2.0]), UP, SLOW, "pitch=-2")
    out = str(tmp_path / "out")
    (made,) = augment.render([copies], out, folders=[str(tmp_path)], jobs=0, fail=failures)
    assert not failures
    assert made["path"][0] == "a.wav"
    assert sorted(os.listdir(out)) == [
        "t0#pitch=+2.flac", "t0#pitch=-2.flac", "t0#stretch=1.25.flac",
    ]  # fmt: skip
    for path, semitones, seconds in zip(made["path"][1:], (2, 0, -2), (2, 2.5, 2), strict=True):
        cents = 1200 * np.log2(strongest(path) / 440)
        assert cents == pytest.approx(100 * semitones, abs=5)
        assert soundfile.info(path).duration == pytest.approx(seconds, abs=1e-3)
    # A copy is no longer made when decoded, and is known for a copy all the same.
    assert made["recipe"].tolist() == [None] * 4
    assert made["rendered"].tolist() == [None, "pitch=+2", "stretch=1.25", "pitch=-2"]
    assert made["length"][0] == 2.0
    assert np.isnan(made["length"][1:]).all()
    assert made.origins.tolist() == ["t0"] * 4


def test_rendering_keeps_what_belongs_to_the_original(
    tmp_path: Path, make_batch: Any, failures: Any
) -> None:
    """The part that a row selects is in the copy already, and still to be cut from the original."""
    sine(tmp_path / "a.wav", 440)
    copies = run(make_batch(path=["a.wav"], start=[0.5], duration=[1.0]), UP)
    out = str(tmp_path / "out")
    (made,) = augment.render([copies], out, folders=[str(tmp_path)], jobs=0, fail=failures)
    assert made["start"][0] == 0.5
    assert np.isnan(made["start"][1])
    for path, start, duration in zip(
        [tmp_path / "a.wav", made["path"][1]], (0.5, None), (1.0, None), strict=True
    ):
        assert decode(path, start=start, duration=duration)[0].shape == (1, 22050)


def test_a_broken_track_costs_its_own_copies_alone(
    tmp_path: Path, make_batch: Any, failures: Any
) -> None:
    """One file that cannot be decoded must not stop the rendering of the others."""
    sine(tmp_path / "good.wav", 440)
    (tmp_path / "bad.wav").write_bytes(b"")
    copies = run(make_batch(id=["good", "bad"], path=["good.wav", "bad.wav"]), UP)
    out = str(tmp_path / "out")
    (made,) = augment.render([copies], out, folders=[str(tmp_path)], jobs=0, fail=failures)
    assert made.ids.tolist() == ["good", "good#pitch=+2", "bad"]
    assert failures == [("bad#pitch=+2", "empty")]
    assert os.listdir(out) == ["good#pitch=+2.flac"]


def test_names_of_rendered_files_are_distinct_and_fit_a_file_system() -> None:
    """Two tracks must not be written over each other, nor a deep folder's name be too long."""
    ids = ["a/b", "a%2Fb", "a\nb", "a%0Ab", "é" * 300, "é" * 299 + "e", "x" * 400]
    names = [augment.file_name(id_) for id_ in ids]
    assert len(set(names)) == len(ids)
    assert all("/" not in name and len(name.encode()) <= 210 for name in names)


# --- what is drawn -------------------------------------------------------------------------------

DRAWN = "pitch=-2..2,gain=-6..6@0.5,noise=pink:10..30"


def recipes(batches: list[Batch]) -> dict[str, list[str]]:
    """Return the recipes of each track's copies."""
    found: dict[str, list[str]] = {}
    for batch in batches:
        for id_, origin, recipe in zip(batch.ids, batch.origins, batch["recipe"], strict=True):
            assert recipe is None or id_ == f"{origin}#{recipe}"
            found.setdefault(origin, []).extend([recipe] * (recipe is not None))
    return found


def test_draws_depend_on_the_track_alone(make_batch: Any) -> None:
    """Another order, another shard or a track added to the table would change all experiments."""
    batch = make_batch(path=[f"{i}.wav" for i in range(30)])
    whole = recipes(runs([batch], DRAWN, copies=3))
    assert len({recipe for made in whole.values() for recipe in made}) == 90
    assert recipes(runs([batch.take([7, 3]), batch.take([21])], DRAWN, copies=3)) == {
        origin: whole[origin] for origin in ("t7", "t3", "t21")
    }
    assert recipes(runs([batch], DRAWN, copies=3, seed=1)) != whole
    # More copies: the same ones, and others.
    more = recipes(runs([batch], DRAWN, copies=4))
    assert all(more[origin][:3] == made for origin, made in whole.items())


def test_segments_of_a_track_share_their_recipes(make_batch: Any) -> None:
    """Predictions are pooled by origin and recipe: the segments of a copy must be of one copy."""
    batch = make_batch(
        id=["a@0", "a@5"], origin=["a", "a"], path=["a.wav", "a.wav"], start=[0.0, 5.0]
    )
    made = run(batch, DRAWN, originals=False)
    assert made["recipe"][0] == made["recipe"][1]
    assert made["start"].tolist() == [0.0, 5.0]


def test_copies_that_are_nothing_new_are_left_out_and_told(make_batch: Any) -> None:
    """Ids would stand twice, and a track count several times as much as others."""
    batch, notes = make_batch(path=["a", "b"]), []
    settings = AugmentSettings(recipe=("pitch=2",), copies=3)
    (made,) = augment.run([batch], settings, fail=unexpected, say=notes.append)
    assert made["recipe"].tolist() == [None, UP, None, UP]
    assert notes == ["copies left out: 4 as the same was drawn twice"]
    made = run(make_batch(path=[f"{i}" for i in range(100)]), "pitch=2,gain=3", p=0.5, copies=20)
    found = recipes([made]).values()
    assert {len(set(row)) - len(row) for row in found} == {0}
    assert {recipe for row in found for recipe in row} == {UP, "gain=+3", "pitch=+2,gain=+3"}
    (made,) = augment.run(
        [batch], AugmentSettings(pitch="2", p=0.0), fail=unexpected, say=notes.append
    )
    assert made.ids.tolist() == ["t0", "t1"]
    assert notes[-1] == "copies left out: 2 as nothing was drawn"


def test_a_crop_is_a_part_of_the_row(make_batch: Any, tmp_path: Path, failures: Any) -> None:
    """A cropped copy would be decoded whole, or from a place outside of what its row selects."""
    sine(tmp_path / "a.wav", 440, seconds=8.0)
    batch = make_batch(
        path=[str(tmp_path / "a.wav")] * 3 + ["none.wav"],
        length=[8.0, None, 8.0, None],
        start=[None, None, 2.0, None],
        duration=[None, None, 3.0, None],
    )
    made = run(batch, "crop=2,gain=-6", copies=5, jobs=-1, fail=failures)
    assert failures == [("t3", "missing")]
    assert made.origins.tolist() == ["t0"] * 6 + ["t1"] * 6 + ["t2"] * 6
    assert np.isnan(made["start"][[0, 6]]).all()
    assert made["start"][12] == 2.0
    for first, low, high in [(1, 0.0, 6.0), (7, 0.0, 6.0), (13, 2.0, 3.0)]:
        mine = slice(first, first + 5)
        assert made["duration"][mine].tolist() == [2.0] * 5
        assert (made["start"][mine] >= low).all()
        assert (made["start"][mine] <= high).all()
        assert len(set(made["start"][mine])) == 5
    tracks = tracks_of(made, [])
    whole, _ = decode(tracks[0].source())
    part, _ = decode(
        tracks[1].source(), start=tracks[1].start, duration=tracks[1].duration,
        recipe=tracks[1].effects(),
    )  # fmt: skip
    begin = round(made["start"][1] * 22050)
    expected = whole[:, begin : begin + 2 * 22050] * np.float32(10 ** (-6 / 20))
    np.testing.assert_allclose(part, expected, atol=1e-6)


def test_segments_of_a_noisy_copy_are_those_decoded_alone(tmp_path: Path, make_batch: Any) -> None:
    """The noise of a segment would depend on how many are decoded at once."""
    rate = 22050
    time = np.arange(6 * rate) / rate
    soundfile.write(tmp_path / "a.wav", 0.4 * np.sin(440 * time) * np.sin(time), rate)
    copies = run(make_batch(path=["a.wav"], length=[6.0]), "noise=pink:0", originals=False)
    (track,) = tracks_of(copies, [str(tmp_path)])
    settings = FeatureSettings(sample_rate=rate, excerpt="segment:1.5")
    parts = compute((track, settings))
    assert len(parts) == 4
    for part in parts:
        wave, _ = decode(
            track.source(), start=part.start, duration=1.5, sample_rate=rate, channels=1,
            recipe=track.effects(),
        )  # fmt: skip
        np.testing.assert_array_equal(part.features, extract(wave, settings))


# --- rooms and other tracks ----------------------------------------------------------------------


@pytest.fixture
def split_tracks(make_batch: Any) -> Batch:
    """Tracks of every split and of two folds, whose files are named after both."""
    parts = [(split, fold) for split in ("train", "valid", "test", None) for fold in (0.0, 1.0)]
    rows = [(*part, number) for part in parts for number in range(6)]
    batch: Batch = make_batch(
        path=[f"{split}/{fold:.0f}/{number}.wav" for split, fold, number in rows],
        split=[split for split, _, _ in rows],
        fold=[fold for _, fold, _ in rows],
    )
    return batch


def partners(batches: list[Batch]) -> list[tuple[str, str]]:
    """Return the paths of copies and of what they are mixed with."""
    found = []
    for batch in batches:
        for path, recipe in zip(batch["path"], batch["recipe"], strict=True):
            if recipe is not None:
                found.append((path, parse(recipe).of(Mix).file))
    return found


def test_tracks_are_mixed_within_their_split_and_fold_alone(split_tracks: Batch) -> None:
    """What is tested on would be heard in training: the worst that an augmentation can do."""
    batches = [split_tracks.take(range(0, 30)), split_tracks.take(range(30, 48))]
    made = partners(runs(batches, "mix=5..15", copies=8, only_split="train,valid,test"))
    assert len(made) > 7.5 * 48  # equal copies are left out
    for path, other in made:
        assert os.path.dirname(path) == os.path.dirname(other)
        assert path != other
    assert len({other for path, other in made if path == "train/0/3.wav"}) > 2


def test_mixing_wants_a_split(make_batch: Any) -> None:
    """A split drawn after the mixing would put one track on both sides."""
    batch = make_batch(path=["a", "b"])
    with pytest.raises(UsageError, match=r"have no split yet.*run mt-fetch split before"):
        runs([batch], "mix=10")


def test_a_track_without_company_fails_alone(make_batch: Any, failures: Any) -> None:
    """One split of one track would stop the run, or that track be mixed with itself."""
    batch = make_batch(path=["a", "b", "c"], split=["train", "train", "valid"])
    made = run(batch, "mix=10", only_split="train,valid", fail=failures)
    assert failures == [("t2", "missing")]
    assert made.origins.tolist() == ["t0", "t0", "t1", "t1"]


def test_a_folder_may_hold_the_tracks_of_the_table(
    tmp_path: Path, make_batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder to mix with would bring the test tracks back in by their file names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "music").mkdir()
    for name in "abcdef":
        sine(tmp_path / "music" / f"{name}.wav", 440, 0.1)
    batch = make_batch(
        path=["music/a.wav", str(tmp_path / "music/b.wav"), "./music/c.wav", "music/d.wav"],
        split=["train", "train", "test", "valid"],
    )
    made = partners(runs([batch], "mix=music/:10", copies=30))
    assert {other for path, other in made if path == "music/a.wav"} == {
        "music/b.wav", "music/e.wav", "music/f.wav",
    }  # fmt: skip
    made = partners(runs([batch.without(["split"])], "mix=music/:10", copies=30))
    assert {other for _, other in made} == {"music/e.wav", "music/f.wav"}, "split afterwards"


def test_files_are_found_from_the_table_and_by_any_name(
    tmp_path: Path, make_batch: Any, failures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recipes would break for a folder with a comma in its name, or when a table is moved."""
    folder = tmp_path / "data" / "my halls, all: é"
    folder.mkdir(parents=True)
    sine(tmp_path / "data" / "a.wav", 440)
    response = np.zeros(2000)
    response[[0, 700]] = 1, 0.5
    soundfile.write(folder / "big.wav", response, 22050)
    monkeypatch.chdir(tmp_path / "data")
    copies = run(make_batch(path=["a.wav"]), "room=my halls%2C all%3A é", originals=False)
    assert copies["recipe"].tolist() == ["room=my%20halls%2C%20all%3A%20%C3%A9/big.wav"]
    monkeypatch.chdir(tmp_path)
    made = augment.render([copies], "out", folders=["data"], jobs=0, fail=failures)
    assert next(iter(made))["path"][0].startswith("out/t0#room=")
    os.remove(folder / "big.wav")
    assert not list(augment.render([copies], "out", folders=["data"], jobs=0, fail=failures))
    assert failures == [("t0#room=my%20halls%2C%20all%3A%20%C3%A9/big.wav", "missing")]


def test_what_there_is_nothing_to_draw_from_is_refused(tmp_path: Path) -> None:
    """All rows would fail, one by one, for a folder that was mistyped."""
    for recipe, says in [
        (f"room={tmp_path}/none", "no such file or folder"),
        (f"mix={tmp_path}:10", "no audio in this folder"),
    ]:
        with pytest.raises(UsageError, match=says):
            Files(augment.templates_of(AugmentSettings(recipe=(recipe,))))


def test_provenance_does_not_say_where_files_lie() -> None:
    """Equal work on two machines would give tables of different bytes."""
    recipe = "gain=3,room=/home/me/halls/,mix=~/a/b.wav:10@0.5,codec=mp3:64"
    settings = AugmentSettings(recipe=(recipe, "room=halls/big"))
    assert augment.recorded(settings)["recipe"] == [
        "gain=3,room=halls/,mix=b.wav:10@0.5,codec=mp3:64", "room=halls/big",
    ]  # fmt: skip


def test_rendered_copies_do_not_clip(tmp_path: Path, make_batch: Any, failures: Any) -> None:
    """A file cannot hold what is louder than full scale: it is turned down as a whole, and said."""
    sine(tmp_path / "a.wav", 440)
    copies = run(make_batch(path=["a.wav"]), "gain=12", "gain=-12", originals=False)
    notes: list[str] = []
    (made,) = augment.render(
        [copies], str(tmp_path / "out"), folders=[str(tmp_path)], jobs=0, fail=failures,
        say=notes.append,
    )  # fmt: skip
    loud, soft = (soundfile.read(path)[0] for path in made["path"])
    original, _ = soundfile.read(tmp_path / "a.wav")
    np.testing.assert_allclose(loud, original / np.abs(original).max(), atol=1e-4)
    np.testing.assert_allclose(soft, original * 10 ** (-12 / 20), atol=1e-4)
    assert notes == ["copies louder than full scale, and turned down to it: 1, by 6.0 dB at most"]

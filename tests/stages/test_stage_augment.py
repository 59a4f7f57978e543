"""mt-augment without its command: recipes, and copies rendered to files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mt_tools.errors import UsageError
from mt_tools.recipes import Recipe, parse
from mt_tools.sound.decode import decode
from mt_tools.stages import augment

UP, SLOW = Recipe(pitch=2), Recipe(stretch=1.25)


def run(batch: Any, *copies: Recipe, originals: bool = True, splits: Any = ("train",)) -> Any:
    """Return the one batch that the stage makes of one."""
    (made,) = augment.run([batch], copies, originals=originals, splits=splits)
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


def test_every_combination_of_values_is_a_copy() -> None:
    """--pitch -2,2 --stretch 0.9,1.1 makes four copies; the identity is none."""
    found = augment.recipes([-2, 0, 2], [1.0, 1.1])
    assert [str(r) for r in found] == [
        "pitch=-2", "pitch=+2", "pitch=-2,stretch=1.1", "stretch=1.1", "pitch=+2,stretch=1.1",
    ]  # fmt: skip
    assert augment.recipes([], []) == []


def test_copies_follow_their_track_and_keep_its_origin(make_batch: Any) -> None:
    """A split, a pooling and a reader that keeps up all rely on origin and order."""
    made = run(make_batch(id=["a", "b"], path=["a.wav", "b.wav"], genre=["x", "y"]), UP, SLOW)
    assert made.ids.tolist() == [
        "a", "a#pitch=+2", "a#stretch=1.25", "b", "b#pitch=+2", "b#stretch=1.25",
    ]  # fmt: skip
    assert made.origins.tolist() == list("aaabbb")
    assert made["recipe"].tolist() == [None, "pitch=+2", "stretch=1.25"] * 2
    assert made["genre"].tolist() == list("xxxyyy")
    assert [parse(r or "") for r in made["recipe"][1:3]] == [UP, SLOW]


def test_only_train_tracks_are_copied(make_batch: Any) -> None:
    """A test is taken on real tracks: the DJ study's jump came from copies on both sides."""
    batch = make_batch(path=["a", "b", "c", "d"], split=["train", "valid", "test", None])
    made = run(batch, UP)
    assert made.ids.tolist() == ["t0", "t0#pitch=+2", "t1", "t2", "t3", "t3#pitch=+2"]
    assert len(run(batch, UP, splits=("train", "valid", "test"))) == 8


def test_copies_alone(make_batch: Any) -> None:
    """--no-originals leaves the copies; where nothing is to be copied, nothing comes."""
    made = run(make_batch(path=["a", "b"]), UP, originals=False)
    assert made.ids.tolist() == ["t0#pitch=+2", "t1#pitch=+2"]
    batch = make_batch(path=["a"], split=["test"])
    assert not list(augment.run([batch], [UP], originals=False, splits=["train"]))


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
    copies = run(make_batch(path=["a.wav"], length=[2.0]), UP, SLOW, Recipe(pitch=-2))
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

"""Audio files written by us, read back by libsndfile and mutagen themselves."""

from __future__ import annotations

import os
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile

from mt_tools.errors import RowError, UsageError
from mt_tools.sound.write import write_audio

ENDINGS = ["flac", "wav", "mp3", "ogg"]
TAGS = {
    "title": "Tü/ 1",
    "artist": "A; B",
    "album": "Al",
    "genre": ["Rock", "Hip Hop"],
    "year": 1999,
    "bpm": 127.5,
    "energy": 0.25,
    "instruments": ["bass", "drums"],
    "nothing": None,
    "none": [],
}


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """Half a second of stereo: another tone in each channel, and a little noise."""
    time = np.arange(22_050) / 44_100
    tones = np.sin(2 * np.pi * np.array([[440], [660]]) * time)
    noise = np.random.default_rng(0).standard_normal(tones.shape)
    return (0.3 * tones + 0.01 * noise).astype(np.float32)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, wave: np.ndarray, ending: str) -> None:
    """A made corpus would differ from run to run, and with it every digest downstream."""
    first, second = tmp_path / f"1.{ending}", tmp_path / f"2.{ending}"
    write_audio(first, wave, 44_100, tags=TAGS)
    write_audio(second, wave, 44_100, tags=TAGS)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_sound_comes_back(tmp_path: Path, wave: np.ndarray, ending: str) -> None:
    """A rendered track would be silent, swapped, cut or at another rate."""
    path = tmp_path / f"x.{ending}"
    write_audio(path, wave, 44_100, tags=TAGS)
    back, rate = soundfile.read(path, dtype="float32")
    assert rate == 44_100
    assert back.T.shape == wave.shape
    if ending in ("flac", "wav"):
        np.testing.assert_allclose(back.T, wave, atol=1 / 32_768)
    else:
        for got, expected in zip(back.T, wave, strict=True):
            assert np.corrcoef(got, expected)[0, 1] > 0.95


@pytest.mark.parametrize("ending", ENDINGS)
def test_tags_are_embedded(tmp_path: Path, wave: np.ndarray, ending: str) -> None:
    """Players and mt-fetch folder would not see the labels of a written file."""
    path = tmp_path / f"x.{ending}"
    write_audio(path, wave, 44_100, tags=TAGS)
    tags = mutagen.File(path).tags
    if ending in ("mp3", "wav"):
        got = {
            "title": tags["TIT2"].text,
            "artist": tags["TPE1"].text,
            "genre": tags["TCON"].text,
            "date": [str(text) for text in tags["TDRC"].text],
            "bpm": tags["TBPM"].text,
            "energy": tags["TXXX:energy"].text,
            "instruments": tags["TXXX:instruments"].text,
        }
        assert "TXXX:nothing" not in tags
    else:
        names = ("title", "artist", "genre", "date", "bpm", "energy", "instruments")
        got = {name: tags[name] for name in names}
        assert "nothing" not in tags
    assert got == {
        "title": ["Tü/ 1"],
        "artist": ["A; B"],
        "genre": ["Rock", "Hip Hop"],
        "date": ["1999"],
        "bpm": ["127.5"],
        "energy": ["0.25"],
        "instruments": ["bass", "drums"],
    }


@pytest.mark.parametrize("ending", ["flac", "wav"])
def test_24_bits(tmp_path: Path, wave: np.ndarray, ending: str) -> None:
    """Rendering would add the rounding of 16 bits where 24 were asked for."""
    path = tmp_path / f"x.{ending}"
    write_audio(path, wave, 44_100, bits=24)
    back, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(back.T, wave, atol=1 / 2**23)


def test_loud_samples_are_clipped(tmp_path: Path) -> None:
    """Samples beyond full scale would wrap around into loud clicks."""
    path = tmp_path / "x.wav"
    write_audio(path, np.array([[2.0, -2.0, 0.5]], np.float32), 8000)
    np.testing.assert_allclose(soundfile.read(path)[0], [1, -1, 0.5], atol=1e-4)


def test_an_existing_file_is_replaced_whole(tmp_path: Path, wave: np.ndarray) -> None:
    """A link would be replaced by a file, or a temporary file would be left behind."""
    target, link = tmp_path / "x.wav", tmp_path / "link.wav"
    target.write_bytes(b"old")
    link.symlink_to("x.wav")
    write_audio(link, wave, 44_100)
    assert link.is_symlink()
    assert soundfile.info(target).frames == wave.shape[1]
    assert sorted(os.listdir(tmp_path)) == ["link.wav", "x.wav"]


def test_a_failure_leaves_the_old_file(tmp_path: Path, wave: np.ndarray) -> None:
    """A file would be lost to a wave that its format cannot hold."""
    path = tmp_path / "x.mp3"
    path.write_bytes(b"old")
    with pytest.raises(RowError, match="96000 Hz") as caught:
        write_audio(path, wave, 96_000)
    assert caught.value.kind == "unwritable"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.mp3"]


def test_a_full_disk_leaves_nothing_half_written(small_disk: Path) -> None:
    """A full disk would leave a cut file under the final name, or a temporary one."""
    with pytest.raises(OSError, match="No space left"):
        write_audio(small_disk / "x.wav", np.zeros((2, 500_000), np.float32), 44_100)
    assert os.listdir(small_disk) == []


def test_an_unknown_ending_is_refused(tmp_path: Path, wave: np.ndarray) -> None:
    """A typing mistake in a name would write a file that nothing opens."""
    with pytest.raises(UsageError, match=r"\.flac"):
        write_audio(tmp_path / "x.flca", wave, 44_100)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a b.wav", 'it\'s "x".wav', "new\nline.wav"])
def test_odd_names(tmp_path: Path, wave: np.ndarray, name: str) -> None:
    """A title with quotes or a newline could not be rendered."""
    write_audio(tmp_path / name, wave, 44_100)
    assert os.listdir(tmp_path) == [name]


def test_a_long_piece_is_written_as_vorbis(tmp_path: Path) -> None:
    """libsndfile crashes on minutes of Vorbis written at once, and the command with it."""
    wave = np.random.default_rng(0).normal(size=(1, 8000 * 300)).astype(np.float32) * 0.1
    write_audio(tmp_path / "x.ogg", wave, 8000)
    assert soundfile.info(tmp_path / "x.ogg").frames == 8000 * 300

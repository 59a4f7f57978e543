"""What a file says about itself: lengths against decoding, tags written by mutagen itself."""

from __future__ import annotations

import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen import id3

from mt_tools.errors import DecodeError
from mt_tools.sound.decode import decode
from mt_tools.sound.info import AUDIO_ENDINGS, AudioInfo, group_of, read_info

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: M4A cannot be made"
)
RATE = 44_100


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    """Five seconds of stereo noise that grows louder."""
    noise = np.random.default_rng(0).standard_normal((RATE * 5, 2))
    return (0.1 * noise * np.linspace(0, 1, len(noise))[:, None]).astype(np.float32)


@pytest.fixture
def mp3(tmp_path: Path, samples: np.ndarray) -> Path:
    """An MP3 file without tags."""
    soundfile.write(tmp_path / "x.mp3", samples, RATE)
    return tmp_path / "x.mp3"


def tag_id3(path: Path, *frames: Any, **options: Any) -> AudioInfo:
    """Put ID3 frames into a file, and read it."""
    tags = id3.ID3()
    for frame in frames:
        tags.add(frame)
    tags.save(path, **options)
    return read_info(path)


# Length and format


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg", "aiff", "au", "caf", "w64"])
def test_length_is_what_decoding_gives(tmp_path: Path, samples: np.ndarray, ending: str) -> None:
    """Segments would be cut beyond the end of the track, or the end would be left out."""
    soundfile.write(tmp_path / f"x.{ending}", samples, RATE)
    info = read_info(tmp_path / f"x.{ending}")
    wave, _ = decode(tmp_path / f"x.{ending}")
    assert (info.sample_rate, info.channels) == (RATE, 2)
    assert info.length == pytest.approx(wave.shape[1] / RATE, abs=1e-6)
    assert info == read_info((tmp_path / f"x.{ending}").read_bytes())


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_length_of_an_mp3_under_large_tags(
    tmp_path: Path, samples: np.ndarray, mode: str, indexed: bool
) -> None:
    """A picture in the tags would make the song seconds longer, as it does for libsndfile."""
    path = tmp_path / "x.mp3"
    soundfile.write(path, samples, RATE, bitrate_mode=mode, compression_level=0.6)
    if not indexed:
        content = path.read_bytes()
        path.write_bytes(content.replace(b"Xing", bytes(4)).replace(b"Info", bytes(4)))
    picture = np.random.default_rng(0).bytes(50_000)
    info = tag_id3(path, id3.APIC(data=picture), v1=2)
    # Without an index, nothing says where the encoder's padding is: it is decoded, too.
    assert info.length == pytest.approx(decode(path)[0].shape[1] / RATE, abs=1e-6)
    assert info.length == pytest.approx(5.0, abs=0.06 if indexed else 0.1)


def test_length_of_published_clips(reference: Path) -> None:
    """Real MP3 files, of another encoder than ours, would be listed with wrong lengths."""
    for path in sorted((reference / "choi-msd").glob("*.mp3")):
        wave, rate = decode(path)
        assert read_info(path).length == pytest.approx(wave.shape[1] / rate, abs=0.06)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    """A text file named .mp3 would be listed as a track."""
    (tmp_path / "x.mp3").write_text("no music")
    with pytest.raises(DecodeError):
        read_info(tmp_path / "x.mp3")
    with pytest.raises(DecodeError):
        read_info(tmp_path / "gone.mp3")


@needs_ffmpeg
def test_what_only_ffmpeg_decodes(tmp_path: Path, samples: np.ndarray) -> None:
    """M4A files would be listed without length and tags."""
    path = tmp_path / "x.m4a"
    soundfile.write(tmp_path / "x.wav", samples, RATE)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", tmp_path / "x.wav", "-c:a", "aac", path], check=True
    )
    tagged = mutagen.File(path)
    tagged["\xa9ART"], tagged["\xa9gen"], tagged["tmpo"] = "Ann", ["Rock", "Pop"], [120]
    tagged["\xa9day"] = "2003-01-02"
    tagged["----:com.apple.iTunes:ENERGY"] = b"300"
    tagged.save()
    info = read_info(path)
    assert info.length == pytest.approx(5, abs=0.1)
    assert (info.sample_rate, info.channels) == (RATE, 2)
    assert (info.artist, info.genre, info.bpm, info.year) == ("Ann", ["Rock", "Pop"], 120, 2003)
    assert info.tags["energy"] == ["300"]


@needs_ffmpeg
def test_a_stream_without_a_length(tmp_path: Path, samples: np.ndarray) -> None:
    """A FLAC written into a pipe would have a length of ages."""
    soundfile.write(tmp_path / "x.wav", samples, RATE)
    piped = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", tmp_path / "x.wav", "-f", "flac", "-"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    info = read_info(piped)
    assert info.length is None
    assert (info.sample_rate, info.channels) == (RATE, 2)
    assert decode(piped)[0].shape == (2, len(samples))


# Tags


@pytest.mark.parametrize("ending", ["mp3", "wav", "aiff"])
def test_id3(tmp_path: Path, samples: np.ndarray, ending: str) -> None:
    """Labels in MP3, WAV and AIFF files would not be found."""
    path = tmp_path / f"x.{ending}"
    soundfile.write(path, samples, RATE)
    tagged = mutagen.File(path)
    if tagged.tags is None:
        tagged.add_tags()
    for frame in (
        id3.TIT2(text="Song"),
        id3.TPE1(text="Ann"),
        id3.TPE2(text="Various Artists"),
        id3.TALB(text="Disc"),
        id3.TCON(text=["Rock", "Pop"]),
        id3.TDRC(text="1987-05-01"),
        id3.TBPM(text="128"),
        id3.TXXX(desc="Energy", text="300"),
    ):
        tagged.tags.add(frame)
    tagged.save()
    info = read_info(path)
    assert (info.title, info.artist, info.albumartist) == ("Song", "Ann", "Various Artists")
    assert (info.album, info.genre, info.year) == ("Disc", ["Rock", "Pop"], 1987)
    assert info.bpm == 128
    assert info.tags["energy"] == ["300"]


@pytest.mark.parametrize("ending", ["flac", "ogg"])
def test_vorbis_comments(tmp_path: Path, samples: np.ndarray, ending: str) -> None:
    """Labels in FLAC and Ogg files would not be found."""
    path = tmp_path / f"x.{ending}"
    soundfile.write(path, samples, RATE)
    tagged = mutagen.File(path)
    tagged.update(
        {"TITLE": "Song", "ARTIST": "Ann", "ALBUM": "Disc", "GENRE": ["Rock", "Pop"],
         "DATE": "1987", "BPM": "127.5", "Situation": ["peak", "warm-up"]}
    )  # fmt: skip
    tagged.save()
    info = read_info(path)
    assert (info.title, info.artist, info.album) == ("Song", "Ann", "Disc")
    assert (info.genre, info.year, info.bpm) == (["Rock", "Pop"], 1987, 127.5)
    assert info.tags["situation"] == ["peak", "warm-up"]


def test_riff_info(tmp_path: Path) -> None:
    """Labels that recorders and editors write into WAV files would not be found."""
    with soundfile.SoundFile(tmp_path / "x.wav", "w", 8000, 1) as file:
        file.title, file.artist, file.genre = "Song", "Ann", "Rock"
        file.write(np.zeros(100))
    info = read_info(tmp_path / "x.wav")
    assert (info.title, info.artist, info.genre) == ("Song", "Ann", ["Rock"])


@pytest.mark.parametrize(
    ("text", "genres"),
    [
        ("Rock", ["Rock"]),
        ("Rock; Pop;Rock", ["Rock", "Pop"]),
        ("Rock / Pop", ["Rock / Pop"]),
        ("Drum & Bass, R/B", ["Drum & Bass, R/B"]),
        ("Rock\0Pop", ["Rock", "Pop"]),
        ("17", ["Rock"]),
        ("(17)", ["Rock"]),
        (" ; ", None),
        ("", None),
    ],
)
def test_genres(mp3: Path, text: str, genres: list[str] | None) -> None:
    """A genre would be torn apart, or two would count as a third one."""
    assert tag_id3(mp3, id3.TCON(encoding=3, text=text)).genre == genres


def test_genre_numbers_of_old_tags(mp3: Path) -> None:
    """Files tagged in the last century would have numbers for genres."""
    fields = b"TAG" + b"Song".ljust(30, b"\0") + b"Ann".ljust(30, b"\0") + b"Disc".ljust(30, b"\0")
    with open(mp3, "ab") as file:
        file.write(fields + b"1987" + bytes(30) + bytes([17]))
    info = read_info(mp3)
    assert (info.title, info.artist, info.year, info.genre) == ("Song", "Ann", 1987, ["Rock"])


@pytest.mark.parametrize(
    ("date", "year"),
    [("1987", 1987), ("1987-05-01", 1987), ("1987/5", 1987), ("19870501", None), ("87", None),
     ("unknown", None), ("0000", None), ("", None)],
)  # fmt: skip
def test_years(tmp_path: Path, date: str, year: int | None) -> None:
    """An unreadable date would fail the row, or become a year of its own."""
    soundfile.write(tmp_path / "x.flac", np.zeros(100), 8000)
    tagged = mutagen.File(tmp_path / "x.flac")
    tagged["date"] = date
    tagged.save()
    assert read_info(tmp_path / "x.flac").year == year


@pytest.mark.parametrize(
    ("text", "bpm"), [("128", 128), ("127.95", 127.95), ("0", None), ("fast", None), ("nan", None)]
)
def test_tempi(tmp_path: Path, text: str, bpm: float | None) -> None:
    """A tempo that was never measured would be learnt as zero beats a minute."""
    soundfile.write(tmp_path / "x.flac", np.zeros(100), 8000)
    tagged = mutagen.File(tmp_path / "x.flac")
    tagged["bpm"] = text
    tagged.save()
    assert read_info(tmp_path / "x.flac").bpm == bpm


def test_text_is_normalised(mp3: Path) -> None:
    """One artist, typed on two systems, would be two groups."""
    decomposed = unicodedata.normalize("NFD", "Björk")
    info = tag_id3(mp3, id3.TPE1(encoding=3, text=f" {decomposed} "), id3.TALB(text="  "))
    assert (info.artist, info.album) == ("Björk", None)


def test_broken_tags_do_not_hide_the_sound(mp3: Path) -> None:
    """A good song with bad tags would be lost to the whole chain."""
    audio = mp3.read_bytes()
    frames = b"TIT2" + b"\xff\xff\xff\xff" + b"\x00\x00" + b"\x07garbage" * 20
    size = len(frames)
    header = b"ID3\x03\x00\x00" + bytes([0, 0, size >> 7, size & 127])
    mp3.write_bytes(header + frames + audio)
    info = read_info(mp3)
    assert info.length == pytest.approx(5.0, abs=0.06)
    assert info.title is None


@pytest.mark.parametrize(
    ("tags", "group"),
    [
        ({"artist": "Ann", "album": "Disc"}, "Ann"),
        ({"artist": "Various Artists", "album": "Disc"}, "Disc"),
        ({"artist": "various", "album": "VA"}, "folder"),
        ({"album": "Disc"}, "Disc"),
        ({}, "folder"),
    ],
)
def test_groups(tags: dict[str, str], group: str) -> None:
    """Songs of one artist would stand on both sides of a split, or all samplers would be one."""
    assert group_of(AudioInfo(1.0, RATE, 2, **tags), "folder") == group  # type: ignore[arg-type]


def test_endings_are_lower_case_without_dots() -> None:
    """A scan would pass over files of a known kind."""
    assert {"mp3", "flac", "wav", "ogg", "opus", "m4a", "aiff"} <= AUDIO_ENDINGS
    assert all(ending.isalnum() and ending == ending.lower() for ending in AUDIO_ENDINGS)

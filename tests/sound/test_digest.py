"""The digest of a file's sound: blind to tags, names and pictures, and to nothing else."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen import apev2, id3
from mutagen.flac import FLAC, Picture
from mutagen.mp4 import MP4
from mutagen.ogg import OggPage

from mt_tools.errors import DecodeError
from mt_tools.sound.digest import audio_digest
from mt_tools.sound.retag import write_fields

RATE = 22_050
NOISE = np.random.default_rng(0).standard_normal((RATE * 3, 2)).astype(np.float32) * 0.1
ENDINGS = ["mp3", "flac", "ogg", "opus", "wav", "aiff"]


def write(path: Path, samples: np.ndarray = NOISE) -> Path:
    """Write a file of the kind that its ending says."""
    if path.suffix == ".opus":
        soundfile.write(path, samples, 24_000, format="OGG", subtype="OPUS")
    else:
        soundfile.write(path, samples, RATE)
    return path


def tag(path: Path, text: str) -> None:
    """Write a title and a long comment into a file, as a tag editor does."""
    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    if isinstance(file.tags, id3.ID3):
        file.tags.add(id3.TIT2(encoding=3, text=text))
        file.tags.add(id3.APIC(encoding=3, mime="image/png", type=3, data=text.encode() * 9000))
    else:
        file.tags["TITLE"] = text
        file.tags["COMMENT"] = text * 9000
        if isinstance(file, FLAC):
            picture = Picture()
            picture.data = text.encode() * 9000
            file.add_picture(picture)
    file.save()


@pytest.mark.parametrize("ending", ENDINGS)
def test_tags_and_names_change_nothing_and_sound_does(tmp_path: Path, ending: str) -> None:
    """A renamed or retagged library would be embedded again, or new sound taken for old."""
    path = write(tmp_path / f"x.{ending}")
    before = audio_digest(path)
    assert audio_digest(path.read_bytes()) == before
    bytes_before = path.read_bytes()
    for text in ("long title", "t"):
        tag(path, text)
        assert path.read_bytes() != bytes_before
        assert audio_digest(path.rename(tmp_path / f"{text}.{ending}")) == before
        path = tmp_path / f"{text}.{ending}"
    other = NOISE.copy()
    other[RATE // 2 :] *= 0.5
    assert audio_digest(write(tmp_path / f"other.{ending}", other)) != before


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg makes the files")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.wma", "-c:a wmav2"),
        ("x.oga", "-c:a flac -f ogg"),
        ("x.wav", "-rf64 always"),
        ("x.tta", ""),
    ],
)
def test_tags_change_nothing_of_what_ffmpeg_reads(tmp_path: Path, name: str, options: str) -> None:
    """Every file that mt-tag wrote into would go through the network again the next night."""
    path = tmp_path / name
    source = write(tmp_path / "source.wav")
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, *options.split(), path], check=True)
    before = audio_digest(path)
    size = path.stat().st_size
    write_fields(str(path), {"mood": ["calm", "warm"], "NOTE": ["n" * 3000]})
    assert path.stat().st_size != size
    assert audio_digest(path) == before
    other = write(tmp_path / "other.wav", NOISE[::-1].copy())
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", other, *options.split(), path], check=True)
    assert audio_digest(path) != before


@pytest.mark.parametrize("ending", ENDINGS)
def test_any_part_of_the_sound_counts(tmp_path: Path, ending: str) -> None:
    """A file whose end was replaced is not the file that was embedded."""
    path = write(tmp_path / f"x.{ending}")
    raw = path.read_bytes()
    found = {audio_digest(raw)}
    for at in (len(raw) // 2, len(raw) - 200):
        found.add(audio_digest(raw[:at] + bytes([raw[at] ^ 255]) + raw[at + 1 :]))
    assert len(found) == 3


def test_what_is_hashed_is_the_payload(tmp_path: Path) -> None:
    """The digest is SHA-256 of the payload, which other programs can find too."""

    def sha(*pieces: bytes) -> str:
        return hashlib.sha256(b"".join(pieces)).hexdigest()

    raw = write(tmp_path / "x.mp3").read_bytes()
    tag(tmp_path / "x.mp3", "title")
    assert audio_digest(tmp_path / "x.mp3") == sha(raw)
    flac = write(tmp_path / "x.flac").read_bytes()
    # STREAMINFO is the first block, of 34 bytes; libFLAC closes with a block of comments.
    last = 42 + 4 + int.from_bytes(flac[43:46], "big")
    assert flac[42] & 0x80
    assert audio_digest(flac) == sha(flac[8:42], flac[last:])
    wav = write(tmp_path / "x.wav").read_bytes()
    sound = wav.index(b"data") + 8
    assert audio_digest(wav) == sha(wav[20:36], wav[sound : sound + 4 * len(NOISE)])
    path = write(tmp_path / "x.ogg")
    with open(path, "rb") as file:
        pages: list[OggPage] = []
        while not pages or not pages[-1].last:
            pages.append(OggPage(file))
    packets = OggPage.to_packets(pages)
    framed = [len(p).to_bytes(4, "big") + p for n, p in enumerate(packets) if n != 1]
    assert audio_digest(path) == sha(*framed, pages[-1].position.to_bytes(8, "little"))


def lyrics3(raw: bytes) -> bytes:
    """Append Lyrics3 v2 and ID3v1, as old players wrote them."""
    content = b"LYRICSBEGIN" + b"IND0000200" + b"LYR00012Words to sing"
    tag1 = b"TAG" + b"title".ljust(125, b"\0")
    return raw + content + f"{len(content):06d}".encode() + b"LYRICS200" + tag1


def ape(raw: bytes) -> bytes:
    """Append APEv2 with header and footer."""
    tags = apev2.APEv2()
    tags["Title"] = "a title"
    file = io.BytesIO(raw)
    tags.save(file)
    return file.getvalue()


@pytest.mark.parametrize(
    "append",
    [lyrics3, ape, lambda raw: lyrics3(ape(raw)), lambda raw: raw + b"TAG" + bytes(125)],
    ids=["lyrics3", "ape", "both", "id3v1"],
)
def test_tags_at_the_end_of_an_mp3(tmp_path: Path, append: Callable[[bytes], bytes]) -> None:
    """ReplayGain written as APEv2 must not cost an inference."""
    raw = write(tmp_path / "x.mp3").read_bytes()
    longer = append(raw)
    assert len(longer) > len(raw)
    assert audio_digest(longer) == hashlib.sha256(raw).hexdigest()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: no M4A")
def test_mp4(tmp_path: Path) -> None:
    """Purchased music is M4A, whose tags stand before or behind the sound."""
    wav = write(tmp_path / "x.wav")
    path = tmp_path / "x.m4a"
    for flags in ([], ["-movflags", "faststart"]):
        line = ["ffmpeg", "-loglevel", "error", "-y", "-i", str(wav), "-t", "1", *flags, str(path)]
        subprocess.run(line, check=True)
        before = audio_digest(path)
        file = MP4(path)
        file["\xa9nam"] = ["title" * 5000]
        file.save()
        assert audio_digest(path) == before
        raw = path.read_bytes()
        at = raw.index(b"mdat") + 100
        assert audio_digest(raw[:at] + b"\0\1\2\3" + raw[at + 4 :]) != before


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kept", [5, 30, 60, 500])
def test_broken_containers_count_whole(tmp_path: Path, ending: str, kept: int) -> None:
    """A file that is cut short has a digest, and not that of the whole one."""
    raw = write(tmp_path / f"x.{ending}").read_bytes()
    assert audio_digest(raw[:kept]) != audio_digest(raw)
    assert audio_digest(raw[:kept]) == audio_digest(raw[:kept])


def test_what_is_not_there(tmp_path: Path) -> None:
    """A missing file is a failed row that says so."""
    with pytest.raises(DecodeError, match="no such file"):
        audio_digest(tmp_path / "none.mp3")
    with pytest.raises(DecodeError, match="a folder"):
        audio_digest(tmp_path)

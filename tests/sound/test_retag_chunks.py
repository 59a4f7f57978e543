"""Fields in WAV and AIFF: every other chunk, and the sound, stay where they are."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import mutagen.wave
import numpy as np
import pytest
import soundfile
from tagged import RATE, ffmpeg, ffprobe, heard

from mt_tools.sound.retag import read_fields, write_fields

pytestmark = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: most formats cannot be made"
)


def frame(name: bytes, data: bytes) -> bytes:
    """Return a frame of ID3v2.3."""
    return name + struct.pack(">IH", len(data), 0) + data


def tag(body: bytes) -> bytes:
    """Return an ID3v2.3 tag."""
    return b"ID3\3\0\0" + bytes(len(body) >> n & 127 for n in (21, 14, 7, 0)) + body


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a WAV."""
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def info(**texts: str) -> bytes:
    """Return an INFO list."""
    return chunk(
        b"LIST", b"INFO" + b"".join(chunk(n.encode(), t.encode()) for n, t in texts.items())
    )


def wav(*chunks: bytes, size: int | None = None, kind: bytes = b"RIFF") -> bytes:
    """Return a WAV of some chunks."""
    body = b"WAVE" + b"".join(chunks)
    return kind + struct.pack("<I", len(body) if size is None else size) + body


FORMAT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, RATE, 1, 8))
SOUND = bytes(range(256)) * 4


@pytest.mark.parametrize("samples", [SOUND, SOUND[:-1]], ids=["even", "odd"])
@pytest.mark.parametrize("first", [True, False])
def test_wav_with_info(tmp_path: Path, first: bool, samples: bytes) -> None:
    """Explorer and ffmpeg read INFO alone: they would show the old genre beside the new one."""
    told, data = info(INAM="Song", IGNR="Rock", ICMT="hi", ZZZZ="?"), chunk(b"data", samples)
    bext = chunk(b"bext", bytes(range(100)))
    path = tmp_path / "x.wav"
    path.write_bytes(wav(FORMAT, bext, *([told, data] if first else [data, told])))
    sound = heard(path)
    assert read_fields(str(path), ["genre", "title"]) == {"genre": ["Rock"], "title": ["Song"]}
    new = {"genre": ["Techno", "Löffel"], "mood": ["dark"], "date": ["2001"]}
    write_fields(str(path), new)
    assert read_fields(str(path), list(new)) == new
    shown = ffprobe(path)
    assert (shown["genre"], shown["title"], shown["date"]) == ("Techno; Löffel", "Song", "2001")
    found = mutagen.wave.WAVE(path)
    assert found.tags["TCON"].text == new["genre"]
    assert found.tags["TMOO"].text == ["dark"]
    raw = path.read_bytes()
    assert bext in raw
    assert chunk(b"ZZZZ", b"?") in raw
    assert struct.unpack("<I", raw[4:8])[0] == len(raw) - 8
    assert heard(path) == sound
    assert soundfile.info(str(path)).frames == len(samples)
    write_fields(str(path), {name: [] for name in new})
    assert b"id3 " not in path.read_bytes()
    assert ffprobe(path)["title"] == "Song"
    assert heard(path) == sound


def test_wav_without_its_last_byte(tmp_path: Path) -> None:
    """The chunk of tags would begin one byte too early, and be found by nobody."""
    path = tmp_path / "x.wav"
    path.write_bytes(wav(FORMAT, chunk(b"data", SOUND[:-1]))[:-1])
    write_fields(str(path), {"genre": ["Techno"]})
    assert mutagen.wave.WAVE(path).tags["TCON"].text == ["Techno"]
    assert soundfile.info(str(path)).frames == len(SOUND) - 1


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_wav_from_a_stream(tmp_path: Path, size: int) -> None:
    """Tags behind sound of unknown size would be heard as a click at the end."""
    path = tmp_path / "x.wav"
    data = b"data" + struct.pack("<I", size) + SOUND
    path.write_bytes(wav(FORMAT, data, size=size))
    write_fields(str(path), {"genre": ["Techno"]})
    assert read_fields(str(path), ["genre"]) == {"genre": ["Techno"]}
    assert path.read_bytes().endswith(data)
    assert ffprobe(path)["genre"] == "Techno"


def test_rf64(tmp_path: Path) -> None:
    """WAVs beyond 4 GB would have no tags, or a wrong size."""
    path = tmp_path / "x.rf64"
    soundfile.write(path, np.zeros(999), RATE, format="RF64", subtype="PCM_16")
    write_fields(str(path), {"genre": ["Techno"]})
    raw = path.read_bytes()
    if raw[:4] == b"RF64":
        assert struct.unpack("<Q", raw[20:28])[0] == len(raw) - 8
    assert read_fields(str(path), ["genre"]) == {"genre": ["Techno"]}
    assert soundfile.info(str(path)).frames == 999
    assert ffprobe(path)["genre"] == "Techno"


def test_tags_in_the_middle_of_a_wav(tmp_path: Path) -> None:
    """Sound behind the tags would be cut off or overwritten as they grow."""
    path = tmp_path / "x.wav"
    tags = tag(frame(b"TIT2", b"\0Song"))
    path.write_bytes(
        wav(FORMAT, chunk(b"ID3 ", tags), chunk(b"data", SOUND), chunk(b"cue ", bytes(28)))
    )
    sound = heard(path)
    write_fields(str(path), {"genre": ["Techno" * 99]})
    found = mutagen.wave.WAVE(path).tags
    assert found["TCON"].text == ["Techno" * 99]
    assert found["TIT2"].text == ["Song"]
    assert path.read_bytes().endswith(chunk(b"cue ", bytes(28)))
    assert heard(path) == sound


def test_aiff_texts(make: Any, tmp_path: Path) -> None:
    """ffmpeg and libsndfile read the comment of the chunk ANNO: it would be the old one."""
    path = tmp_path / "y.aiff"
    ffmpeg("-i", make("aiff"), "-metadata", "title=Song", "-metadata", "comment=old", path)
    sound = heard(path)
    assert read_fields(str(path), ["comment", "title"]) == {"comment": ["old"], "title": ["Song"]}
    write_fields(str(path), {"comment": ["new one"], "genre": ["Techno"]})
    assert ffprobe(path)["comment"] == "new one"
    assert ffprobe(path)["title"] == "Song"
    raw = path.read_bytes()
    assert struct.unpack(">I", raw[4:8])[0] == len(raw) - 8
    assert heard(path) == sound


def test_aifc(make: Any, tmp_path: Path) -> None:
    """Compressed AIFF would be left out."""
    path = tmp_path / "y.aiff"
    ffmpeg("-i", make("wav"), "-c:a", "pcm_mulaw", path)
    assert path.read_bytes()[8:12] == b"AIFC"
    sound = heard(path)
    write_fields(str(path), {"genre": ["Techno"]})
    assert ffprobe(path)["genre"] == "Techno"
    assert heard(path) == sound

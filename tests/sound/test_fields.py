"""One name for a field in every format; the files are tagged by mutagen itself."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import mutagen
import mutagen.apev2
import mutagen.asf
import numpy as np
import pytest
import soundfile
from mutagen import id3

from mt_tools.sound.fields import field_name
from mt_tools.sound.info import read_info

RATE = 8_000
LABELS = {"energy": ["300"], "situation": ["peak", "warm-up"], "key": ["8A"], "mood": ["dark"]}
"""As a DJ stores them: a level, several situations a song, and what a program measured."""


def write(path: Path) -> Path:
    """Write a tenth of a second of silence, by ffmpeg where libsndfile cannot."""
    codecs = {".m4a": "aac", ".wma": "wmav2", ".wv": "wavpack"}
    if path.suffix not in codecs:
        soundfile.write(path, np.zeros(RATE // 10), RATE)
        return path
    if shutil.which("ffmpeg") is None:
        pytest.skip(f"a {path.suffix} file is made with ffmpeg, which is not here")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"anullsrc=r={RATE * 2}:cl=mono",
         "-t", "0.1", "-c:a", codecs[path.suffix], path],
        check=True,
    )  # fmt: skip
    return path


def tag(path: Path) -> None:
    """Store the labels where each format keeps such things."""
    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    match path.suffix:
        case ".mp3" | ".wav" | ".aiff":
            for frame in (
                id3.TXXX(desc="ENERGY", text="300"),
                id3.TXXX(desc="Situation", text=LABELS["situation"]),
                id3.TKEY(text="8A"),
                id3.TMOO(text="dark"),
            ):
                file.tags.add(frame)
        case ".m4a":
            for name, values in LABELS.items():
                called = "initialkey" if name == "key" else name.upper()
                file[f"----:com.apple.iTunes:{called}"] = [value.encode() for value in values]
        case ".wma":
            file["Energy"], file["Situation"] = "300", LABELS["situation"]
            file["WM/InitialKey"], file["WM/Mood"] = "8A", "dark"
        case _:
            file["Energy"], file["SITUATION"] = "300", LABELS["situation"]
            file["InitialKey"], file["Mood"] = "8A", "dark"
    file.save()


@pytest.mark.parametrize("ending", ["mp3", "wav", "aiff", "flac", "ogg", "m4a", "wma", "wv"])
def test_labels_have_one_name_in_every_format(tmp_path: Path, ending: str) -> None:
    """A collection in several formats would have its labels in one of them only."""
    path = write(tmp_path / f"x.{ending}")
    tag(path)
    found = read_info(path).tags
    assert {name: found.get(name) for name in LABELS} == LABELS


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("ENERGY", "energy"),
        ("TXXX:Energy", "energy"),
        ("----:com.apple.iTunes:ENERGY", "energy"),
        ("----:com.serato.dj:Energy", "energy"),
        (" TKEY ", "key"),
        ("InitialKey", "key"),
        ("WM/InitialKey", "key"),
        ("tmpo", "bpm"),
        ("\xa9gen", "genre"),
        ("COMM", "comment"),
        ("COMM:Songs-DB_Custom1", "comm:songs-db_custom1"),
    ],
)
def test_names_as_people_type_them(typed: str, name: str) -> None:
    """A name copied from a tag editor would find nothing."""
    assert field_name(typed) == name


def frames(path: Path, *frames: Any, **options: Any) -> dict[str, list[str]]:
    """Put ID3 frames into an MP3 file, and read its fields."""
    tags = id3.ID3()
    for frame in frames:
        tags.add(frame)
    tags.save(write(path), **options)
    return read_info(path).tags


def test_standard_frames(tmp_path: Path) -> None:
    """Frames beside the usual ones would be out of reach; people and pictures are no plain text."""
    found = frames(
        tmp_path / "x.mp3",
        id3.TCOM(text=["Ann", "Bob"]),
        id3.COMM(lang="eng", text="nice"),
        id3.COMM(lang="deu", text="schön"),
        id3.COMM(lang="eng", desc="iTunNORM", text="0000"),
        id3.POPM(email="a@b", rating=196, count=3),
        id3.PCNT(count=9),
        id3.USLT(lang="eng", text="la la"),
        id3.TIPL(people=[["producer", "Zoë"]]),
        id3.WOAR(url="https://x.example"),
        id3.TRCK(text="3/9"),
        id3.GRP1(text="set"),
        id3.APIC(data=b"\xff" * 1000),
        id3.PRIV(owner="x", data=b"\0\1"),
    )
    assert found == {
        "composer": ["Ann", "Bob"], "comment": ["nice", "schön"], "comm:itunnorm": ["0000"],
        "rating": ["196"], "playcount": ["9"], "lyrics": ["la la"], "tipl:producer": ["Zoë"],
        "woar": ["https://x.example"], "tracknumber": ["3/9"], "grouping": ["set"],
    }  # fmt: skip


def test_old_id3(tmp_path: Path) -> None:
    """Years and people of ID3v2.3 would be lost; what it joins by a slash stays as it is."""
    found = frames(
        tmp_path / "x.mp3",
        id3.TPE1(text=["Ann", "Bob"]), id3.TDRC(text="1999-12-31"),
        id3.TXXX(desc="ENERGY", text="300"), id3.TIPL(people=[["mix", "Zoë"]]),
        v2_version=3, v23_sep="/",
    )  # fmt: skip
    assert found == {
        "artist": ["Ann/Bob"], "date": ["1999-12-31"], "energy": ["300"], "tipl:mix": ["Zoë"]
    }  # fmt: skip


def test_oldest_id3(tmp_path: Path) -> None:
    """Files tagged before 2000, with names of three letters, would have no tags."""
    path = write(tmp_path / "x.mp3")
    texts = [(b"TT2", b"\0Song"), (b"TBP", b"\x00128"), (b"TXX", b"\0ENERGY\x00300")]
    body = b"".join(name + len(text).to_bytes(3, "big") + text for name, text in texts)
    header = b"ID3\x02\x00\x00" + bytes([0, 0, len(body) >> 7, len(body) & 127])
    path.write_bytes(header + body + path.read_bytes())
    assert read_info(path).tags == {"bpm": ["128"], "energy": ["300"], "title": ["Song"]}


def test_a_free_field_does_not_replace_a_standard_one(tmp_path: Path) -> None:
    """A tempo in words, in a field of a user's own, would stand in the way of the number."""
    found = frames(tmp_path / "x.mp3", id3.TBPM(text="128"), id3.TXXX(desc="tempo", text="fast"))
    assert found == {"bpm": ["128"]}
    file = mutagen.File(write(tmp_path / "x.flac"))
    file.update({"TEMPO": "fast", "BPM": "128"})
    file.save()
    assert read_info(tmp_path / "x.flac").tags == {"bpm": ["128"]}


def test_apev2_behind_an_mp3(tmp_path: Path) -> None:
    """Tags of older programs would be lost; where ID3 says it, too, ID3 wins; covers are no text."""
    path = tmp_path / "x.mp3"
    frames(path, id3.TIT2(text="Song"), v1=2)
    tags = mutagen.apev2.APEv2()
    tags["Title"], tags["Energy"], tags["Mood"] = "Other", "300", ["dark", "deep"]
    tags["Cover Art (Front)"] = mutagen.apev2.APEValue(b"\xff" * 50, mutagen.apev2.BINARY)
    tags.save(path)
    assert read_info(path).tags == {
        "title": ["Song"], "energy": ["300"], "mood": ["dark", "deep"]
    }  # fmt: skip


def test_any_riff_info(tmp_path: Path) -> None:
    """What sample libraries write into WAV files would be out of reach."""
    path = write(tmp_path / "x.wav")
    chunks = b""
    for name, text in ((b"INAM", b"Song\0"), (b"IKEY", b"loop; dry\0\0"), (b"ISBJ", b"caf\xe9")):
        chunks += name + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2)
    data = path.read_bytes() + b"LIST" + struct.pack("<I", len(chunks) + 4) + b"INFO" + chunks
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    assert read_info(path).tags == {"ikey": ["loop; dry"], "isbj": ["café"], "title": ["Song"]}


def test_mp4_atoms(tmp_path: Path) -> None:
    """Pairs of numbers and covers would be noise."""
    path = write(tmp_path / "x.m4a")
    file = mutagen.File(path)
    file.update({"trkn": [(3, 9)], "disk": [(1, 0)], "tmpo": [128], "\xa9cmt": ["nice"],
                 "covr": [mutagen.mp4.MP4Cover(b"\xff" * 50)], "----:x:BPM": [b"fast"]})  # fmt: skip
    file.save()
    found = read_info(path).tags
    assert {name: found[name] for name in ("tracknumber", "discnumber", "bpm", "comment")} == {
        "tracknumber": ["3/9"], "discnumber": ["1"], "bpm": ["128"], "comment": ["nice"]
    }  # fmt: skip
    assert "covr" not in found

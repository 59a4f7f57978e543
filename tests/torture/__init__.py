"""A torture library: all formats, odd names, odd tags, broken files; more than three hundred.

`make_library` makes it anew from a seed in a second or two: nothing of it is anybody's music.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torture.broken import WRITTEN, Kinds, broken_bytes, unreachable, wrong_names
from torture.containers import odd_containers
from torture.names import FOLDERS, NAMES, RAW_FOLDERS, RAW_NAMES
from torture.sounds import Sounds, make_sounds
from torture.tags import DRESSES, dress, jpeg, mp3s

TAGGED = [
    "mp3", "mp3-vbr", "flac", "ogg", "opus", "ogg-flac", "speex", "m4a", "alac", "wav", "aiff",
    "wma", "ape", "wavpack", "mpc",
]  # fmt: skip
"""Formats that get every odd set of fields; MP3 twice: as ID3v2.4, and as ID3v2.3 (`mp3-vbr`)."""

# Formats without a place for tags, or none that is agreed on: refused before anything is changed.
_NO_TAGS = {"au", "snd", "caf", "w64", "mka", "aac"}
# May be refused, if it is said: mutagen keeps one of several streams.
_MAYBE = {"ogg-chained", "mp4-fragments", "tta", "rf64", "wav-rf64"}
# ID3 tags that a careful program leaves alone.
_BROKEN_ID3 = {"v2.5", "v2.4 footer", "v2.4 frame longer than the tag"}
Put = Callable[[str | bytes, bytes, str, str, Kinds], Path]
Some = Callable[[list[tuple]], list[tuple]]


@dataclass(frozen=True)
class Piece:
    """A name of the library.

    `name` is the path below the folder. `form` is a key of `make_sounds`, "" for what is no sound.
    `about` says what is odd. `kinds` are the outcomes that are right: "written", or the kind that
    stands in `--errors`.
    """

    name: bytes
    form: str
    about: str
    kinds: Kinds

    @property
    def ending(self) -> str:
        """The ending of the name."""
        return os.fsdecode(self.name).rpartition(".")[2]


def make_library(folder: Path, seed: int = 0, every: int = 1) -> list[Piece]:
    """Fill an empty folder; return what is in it, in the order of the names' bytes.

    Of the pieces that are alike (a format's odd tags, names, odd containers, broken files) `every`
    takes one in so many, so that a small library still has all sorts. Hidden files are not pieces.
    """
    with tempfile.TemporaryDirectory() as other:
        sounds = make_sounds(Path(other), seed)
    draw = random.Random(seed)
    pieces: list[Piece] = []

    def put(name: str | bytes, data: bytes, form: str, about: str, kinds: Kinds) -> Path:
        raw = name if isinstance(name, bytes) else name.encode()
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), raw)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        pieces.append(Piece(raw, form, about, kinds))
        return path

    def some(things: list[tuple]) -> list[tuple]:
        return things[draw.randrange(every) :: every] if every > 1 else things

    for form, (ending, data) in sounds.items():
        put(f"formats/{form}.{ending}", data, form, "as it was encoded", outcome(form))
    for form in TAGGED:
        if form in sounds:
            _dressed(put, some(list(DRESSES.items())), form, sounds)
    for about, data in some(list(mp3s(sounds["mp3"][1]).items())):
        maybe = WRITTEN | ({"broken-tags"} if about in _BROKEN_ID3 else set())
        put(f"mp3/{about}.mp3", data, "mp3", about, maybe)
    for about, (ending, data) in some(list(odd_containers(sounds).items())):
        put(f"containers/{about}.{ending}", data, ending, about, _contained(about))
    for name, (form, data) in some(list(wrong_names(sounds).items())):
        put(f"wrong/{name}", data, form, "another ending", outcome(form))
    _named(put, some, sounds)
    for name, (data, kinds) in some(list(broken_bytes(sounds).items())):
        put(f"broken/{name}", data, "", "broken", kinds)
    for raw, kinds in unreachable(folder, sounds).items():
        pieces.append(Piece(raw, "mp3" if "written" in kinds else "", "a link or mode", kinds))
    return sorted(pieces, key=lambda piece: piece.name)


def outcome(form: str) -> Kinds:
    """Return what may become of a good file of a format."""
    if form in _NO_TAGS:
        return frozenset({"no-tags"})
    return WRITTEN | {"no-tags"} if form in _MAYBE else WRITTEN


def _contained(about: str) -> Kinds:
    # What two readers read differently may be refused.
    unsure = (
        "sizes of a stream", "sizes too small", "not padded", "in front of the file",
        "length unknown", "and behind", "flac, ID3v1 behind", "zeros behind the last page",
    )  # fmt: skip
    more = {"no-tags", "broken-tags", "audio-changed", "unreadable"}
    return WRITTEN | more if about.endswith(unsure) else WRITTEN


def _dressed(put: Put, chosen: list[tuple], form: str, sounds: Sounds) -> None:
    ending, data = sounds[form]
    for about, (fields, size) in chosen:
        path = put(f"tags/{form}/{about}.{ending}", data, form, about, outcome(form))
        dress(path, ending, fields, jpeg(size) if size else b"", id3=3 if form == "mp3-vbr" else 4)
    if form in ("mp3", "flac", "m4a") and len(chosen) == len(DRESSES):
        path = put(f"tags/{form}/5 MB of cover.{ending}", data, form, "5 MB", outcome(form))
        dress(path, ending, {"title": ["A title"]}, jpeg(5_000_000))


def _named(put: Put, some: Some, sounds: Sounds) -> None:
    """Give odd names to formats in turn."""
    forms = [form for form in ("mp3", "flac", "ogg", "m4a", "wav", "opus") if form in sounds]
    names: list[tuple[bytes, bytes]] = [(b"", name.encode()) for name in NAMES]
    names += [(b"", name) for name in RAW_NAMES]
    names += [(b"f/" + os.fsencode(name) + b"/", b"song.") for name in (*FOLDERS, *RAW_FOLDERS)]
    for number, (parent, name) in enumerate(some(names)):
        form = forms[number % len(forms)]
        ending, data = sounds[form]
        whole = (name + ending.encode())[-255:]
        put(b"names/" + parent + whole, data, form, "its name", outcome(form))

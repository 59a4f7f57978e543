"""Fields inside audio files, read and replaced; everything else in the file stays as it is.

Goal: a tag goes where each format keeps such a thing and each program looks for it, and nothing
that anybody else put into the file is lost or changed by that.

| format | tags | several values |
|---|---|---|
| MP3, True Audio | ID3v2.2, 2.3, 2.4 in front | NUL (2.4), "; " (older; comments) |
| WAV, RF64, AIFF | ID3 in a chunk | as in MP3 |
| FLAC, Ogg (Vorbis, Opus, FLAC, Speex) | Vorbis comments | several comments |
| MP4 (M4A, M4B) | atoms in `ilst` | several `data` in an atom; "; " (comments) |
| Monkey's Audio, WavPack, Musepack | APEv2 at the end | NUL |
| ASF (WMA) | attributes | several attributes |

What stands beside those (APEv2 and ID3v1 behind an MP3, INFO in a WAV, ID3 around a FLAC) is
changed where it has the field too, so that no two programs read different things.

Conventions: names as in `sound.fields`. A field has every place that means it (`BPM` and `TEMPO`,
`TMOO` and `TXXX:MOOD`): its values are those of all of them, each once, and all of them get the new
ones. ID3v1, whose texts are cut, is asked where nothing else says anything. A field that the file
lacks goes to the format's own place for it (see
`sound.fields.NATIVE`), else to a free one under the name as typed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Protocol

from mt_tools.errors import RowError
from mt_tools.sound.mpeg import end_of_tags, find_frame
from mt_tools.sound.opening import open_file
from mt_tools.sound.paths import text_to_path
from mt_tools.sound.retag.asf import Asf
from mt_tools.sound.retag.atoms import Mp4
from mt_tools.sound.retag.names import Name, Store, broken, checked, parse_name, unite, unwritable
from mt_tools.sound.retag.riff import Chunks
from mt_tools.sound.retag.stream import Around, Id3v1
from mt_tools.sound.retag.vorbis import Flac, Ogg

_WRITTEN = "MP3, FLAC, Ogg, MP4, WAV, AIFF, WMA, APE, WavPack, Musepack and True Audio"
_KEEP = "keep"


class _Tags(Protocol):
    """The tags of a file; fields are added to the first of the stores."""

    stores: list[Store]

    def settled(self, name: Name, values: Sequence[str]) -> list[str]: ...
    def save(self, file: BinaryIO) -> None: ...


def read_fields(path: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of some fields of a file, by their names as typed; [] where it has none.

    These are the values that `write_fields` would replace. Raises `RowError` of kind `no-tags` for
    formats without tags that are written here, `broken-tags` for tags that cannot be read in
    whole, `unwritable` for names of no field, and `DecodeError` for a file that cannot be opened.
    """
    called = {name: parse_name(name) for name in names}
    with open_file(text_to_path(path)) as file:
        tags = _opened(file, path, _KEEP)
        return {name: _values(tags, parsed) for name, parsed in called.items()}


def write_fields(path: str, fields: Mapping[str, Sequence[str]], *, id3: str = _KEEP) -> None:
    """Replace fields in a file, in place; no values remove a field.

    `id3` is the version of ID3 tags: `keep` is that of the file, 2.4 for new ones; `2.3` and `2.4`
    change the tags of a file to that version. Nothing is written where nothing changes. Raises what
    `read_fields` does, and `RowError` of kind `unwritable` for values that the format cannot hold:
    then the file may be half written, so that a copy is to be given.
    """
    called = {name: (parse_name(name), values) for name, values in fields.items()}
    with open(text_to_path(path), "r+b") as file:
        tags = _opened(file, path, id3)
        wanted = {}
        for text, (name, values) in called.items():
            wanted[text] = checked(name, tags.settled(name, checked(name, values)))
            for number, store in enumerate(tags.stores):
                store.put(name, wanted[text], add=number == 0)
        tags.save(file)
        written = _opened(file, path, _KEEP)
        for text, (name, _) in called.items():
            if (found := _values(written, name)) != wanted[text]:
                raise unwritable(name, f"{wanted[text]!r:.80} is read back as {found!r:.80}")


def check_writable(path: str) -> None:
    """Raise `RowError` of kind `no-tags` where a file's format holds no tags that are written."""
    with open_file(text_to_path(path)) as file:
        _kind(file, path)


def _values(tags: _Tags, name: Name) -> list[str]:
    whole = unite(store.values(name) for store in tags.stores if not isinstance(store, Id3v1))
    return whole or unite(store.values(name) for store in tags.stores)


def _opened(file: BinaryIO, path: str, id3: str) -> _Tags:
    kind = _kind(file, path)
    if kind == "flac":
        return Flac(file, id3)
    if kind == "ogg":
        return Ogg(file)
    if kind == "chunks":
        return Chunks(file, id3)
    if kind == "mp4":
        return Mp4(file)
    if kind == "asf":
        return Asf(file)
    return Around(file, kind, id3)


# What a file begins with, behind ID3 tags.
_STARTS = (
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (8, b"WAVE", "chunks"),
    (8, b"AIFF", "chunks"),
    (8, b"AIFC", "chunks"),
    (4, b"ftyp", "mp4"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"MAC ", "ape"),
    (0, b"wvpk", "ape"),
    (0, b"MPCK", "ape"),
    (0, b"MP+", "ape"),
    (0, b"TTA1", "id3"),
)


def _kind(file: BinaryIO, path: str) -> str:
    """Return what tags a file holds, by its first bytes."""
    start = end_of_tags(file)
    file.seek(start)
    head = file.read(16)
    for at, said, kind in _STARTS:
        if head[at:].startswith(said):
            if start and kind not in ("flac", "id3", "ape"):
                raise broken("ID3 tags in front of a format that has its own")
            return kind
    aac = head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0
    other = aac or head.startswith((b"riff", b"caff", b".snd", b"\x1aE\xdf\xa3"))
    if not other and find_frame(file, start):
        return "id3"
    ending = os.path.splitext(text_to_path(path))[1]
    raise RowError(
        f"a {ending or 'nameless'} file holds no tags that are written here, which are those of "
        f"{_WRITTEN}; convert it to one of them",
        "no-tags",
    )

"""M3U playlists: a path a line, and what the program that wrote them knew of each track.

`#EXTINF:seconds,Artist - Title` goes before a path, `#PLAYLIST:name` anywhere. Relative paths are
below the playlist's folder. Names ending in `.m3u8` are UTF-8, others in whatever the program used:
a line that is no UTF-8 is taken as the bytes of a file name, else as Windows' western code page.
Paths as Windows writes them, and percent-encoded ones, are understood where nothing is found else.
Source: the practice of Winamp, VLC and foobar2000, which no standard describes.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

from mt_tools.library.entries import Entry, Library, fields_from, is_address, local_path

COLUMNS = ("playlists=playlists:multilabel",)
HEAD = b"#EXTM3U"
ENDINGS = (".m3u", ".m3u8")


def library(path: str) -> Library:
    """Return a playlist as a library; reading it raises `OSError` where it cannot be read."""
    return Library("a playlist", path, COLUMNS, False, lambda: _entries(path))


def _entries(path: str) -> Iterator[Entry]:
    lines = _lines(path)
    name = next((_decoded(line[10:]) for line in lines if line.startswith(b"#PLAYLIST:")), "")
    name = name.strip() or Path(path).stem
    folder = os.path.dirname(path)
    known: dict[str, str] = {}
    for line in lines:
        if line.startswith(b"#EXTINF:"):
            known = _described(_decoded(line[8:]))
        if not line or line.startswith(b"#"):
            continue
        where = _located(line, folder)
        yield Entry(where, where, fields_from({**known, "playlists": [name]}))
        known = {}


def _lines(path: str) -> list[bytes]:
    with open(path, "rb") as file:
        data = file.read()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode()
    lines = re.split(rb"\r\n|\n|\r", data.removeprefix(codecs.BOM_UTF8))
    return [line.strip(b" \t\0") for line in lines]


def _decoded(line: bytes) -> str:
    """Decode a line as UTF-8, else as Windows' western code page, in which every byte has one."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("cp1252", "replace")


def _described(info: str) -> dict[str, str]:
    """Read `seconds [attributes],Artist - Title`; without a dash it is the title."""
    shown = info.partition(",")[2]
    artist, dash, title = shown.partition(" - ")
    return {"artist": artist, "title": title} if dash else {"title": shown}


def _located(line: bytes, folder: str) -> str:
    """Return the path or address that a line names; the first reading under which it is there."""
    typed = os.fsdecode(line)
    if typed[:5].lower() == "file:":
        return local_path(typed)
    if is_address(typed):
        return typed
    readings = [typed, _decoded(line)]
    readings += [reading.replace("\\", "/") for reading in readings]
    readings += [os.fsdecode(unquote_to_bytes(os.fsencode(readings[2])))]
    paths = [_below(folder, reading) for reading in dict.fromkeys(readings)]
    # Where there is none, a Windows path is easier to mend with slashes.
    fallback = _below(folder, readings[2]) if re.match(r"[A-Za-z]:\\", typed) else paths[0]
    return next((path for path in paths if os.path.lexists(path)), fallback)


def _below(folder: str, path: str) -> str:
    """Return a path as seen from here, `sets/../Music/x.mp3` as `Music/x.mp3`."""
    if re.match(r"[A-Za-z]:[\\/]", path):
        return path
    whole = os.path.join(folder, path)
    short = os.path.normpath(whole)
    # Behind a link to a folder, `..` leads elsewhere.
    same = os.path.exists(short) and os.path.exists(whole) and os.path.samefile(short, whole)
    return short if same or not os.path.lexists(whole) else whole

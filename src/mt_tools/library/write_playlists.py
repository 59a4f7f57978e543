"""Playlists a tag, written: a folder a task, in it an M3U8 file a tag, best score first.

A file of ours says so in a line of its own (`MARK`): it is replaced by the next run, or removed
when the tag has no tracks any more; any other file is refused, and a copy of ours under another
name is somebody's. Files below the folder that holds
the playlists' one are named as seen from the playlist, so that both can move together; others by
their whole path. A name that a line cannot hold (line breaks, bytes that are no UTF-8, blanks at
its end) is written as a `file:` address, which VLC and others understand.
Source: as `playlists`; names that Windows refuses: "Naming Files, Paths, and Namespaces",
Microsoft; `file:` addresses: RFC 8089.
"""

from __future__ import annotations

import filecmp
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import quote_from_bytes

from mt_tools.errors import RunError, UsageError
from mt_tools.library.entries import is_address
from mt_tools.library.listing import Listed, Listing
from mt_tools.tables.atomic import AtomicFile

MARK = "#MT-TOOLS:"
ENDING = ".m3u8"

_LOOKED_AT = 4096
_LONGEST = 200  # bytes of a name: file systems take 255, and numbers and the ending follow
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\u2028\u2029\ud800-\udfff]')
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]|\s$")
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)


def check(folder: str, tasks: Iterable[tuple[str, Iterable[str]]]) -> None:
    """Raise `UsageError` where playlists of these tasks and words cannot be written."""
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError(f"--playlists {folder}: a file; name a folder")
    there = os.path.realpath(folder)
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    if not os.access(there, os.W_OK):
        raise UsageError(f"--playlists {folder}: you may not write into {there}; name another")
    tasks = list(tasks)
    folders = file_names(task for task, _ in tasks)
    for task, words in tasks:
        below = os.path.join(folder, folders[task])
        if os.path.lexists(below) and not os.path.isdir(below):
            raise UsageError(f"{below}: a file, where a folder of playlists was to be; move it")
        for name in file_names(words).values():
            _refuse_other(os.path.join(below, name + ENDING))


def write(folder: str, listing: Listing) -> tuple[int, int]:
    """Write the playlists of a listing; return how many there are, and how many were removed.

    A file that holds what is to be written stays as it is. Raises `UsageError` for a playlist of
    somebody else in the place of one, `RunError` where the disk refuses.
    """
    # Behind a link to a folder, `..` leads elsewhere than its name says.
    folder = os.path.realpath(folder)
    folders = file_names(listing.tasks)
    written = removed = 0
    for task, playlists in listing.playlists():
        below = os.path.join(folder, folders[task])
        names = file_names(listing.tasks[task])
        kept = set()
        for tag, tracks in playlists:
            path = os.path.join(below, names[tag] + ENDING)
            _refuse_other(path)
            _write(path, _lines(f"{task}/{tag}", (listing[number] for number in tracks), below))
            kept.add(os.path.basename(path))
        written += len(kept)
        removed += _remove_ours(below, task, kept)
    return written, removed


def _write(path: str, lines: Iterable[str]) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        output = AtomicFile(path)
        try:
            for line in lines:
                output.file.write(line.encode() + b"\n")
            output.file.flush()
            if not (os.path.exists(path) and filecmp.cmp(output.temporary, path, shallow=False)):
                output.commit()
        finally:
            output.discard()
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error


def _refuse_other(path: str) -> None:
    if os.path.lexists(path) and not is_ours(path):
        raise UsageError(
            f"{path} was not made by mt-tag, which would replace it: move it, or name another "
            "folder with --playlists"
        )


def _remove_ours(folder: str, task: str, kept: set[str]) -> int:
    """Remove the playlists of earlier runs that this one does not have."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    paths = [os.path.join(folder, n) for n in names if n.endswith(ENDING) and n not in kept]
    stale = [path for path in paths if not os.path.islink(path) and _is_called_so(path, task)]
    for path in stale:
        os.unlink(path)
    return len(stale)


def is_ours(path: str) -> bool:
    """Say whether a playlist was written here."""
    try:
        with open(path, "rb") as file:
            head = file.read(_LOOKED_AT)
    except OSError:
        return False
    return any(line.startswith(MARK.encode()) for line in head.splitlines())


def _is_called_so(path: str, task: str) -> bool:
    """Say whether a playlist was written here, under the name that it has: no copy of one."""
    if not is_ours(path):
        return False
    with open(path, "rb") as file:
        head = file.read(_LOOKED_AT).decode("utf-8", "replace")
    said = re.search(rf"^#PLAYLIST:{re.escape(_line(task))}/(.*)$", head, re.MULTILINE)
    name = os.path.basename(path).removesuffix(ENDING)
    return said is not None and _file_name(said[1]) in (name, re.sub(r" \(\d+\)$", "", name))


def _lines(name: str, tracks: Iterable[Listed], folder: str) -> Iterator[str]:
    yield "#EXTM3U"
    yield f"{MARK} made by mt-tag --playlists, which replaces and removes this file"
    yield "#EXTENC:UTF-8"
    yield f"#PLAYLIST:{_line(name)}"
    for track in tracks:
        title = track.text("title") or os.path.splitext(os.path.basename(track.path))[0]
        shown = " - ".join(filter(None, [track.text("artist"), title]))
        seconds = -1 if track.length is None else round(track.length)
        yield f"#EXTINF:{seconds},{_line(shown)}"
        yield located(track.path, folder)


def _line(text: str) -> str:
    """Return a text as one line of UTF-8."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def located(path: str, folder: str) -> str:
    """Return the line that names a file, absolute, in a playlist in `folder`, which is no link."""
    raw = os.fsencode(path)
    try:
        whole = not _UNFIT.search(raw.decode("utf-8"))
    except UnicodeDecodeError:
        whole = False
    if not whole:
        return "file://" + quote_from_bytes(raw)
    near = _seen_from(path, folder)
    return f"./{near}" if near.startswith(("#", " ", "file:")) or is_address(near) else near


def _seen_from(path: str, folder: str) -> str:
    """Return a path as seen from the folder of a playlist, where it is near."""
    around = os.path.dirname(os.path.dirname(folder))  # that holds the folder of all playlists
    around = around if around != os.sep else os.path.dirname(folder)
    # As typed it may lead through a link that the playlists' folder does not know.
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    for seen in (path, real):
        if seen.startswith(os.path.join(around, "")):
            return os.path.relpath(seen, folder)
    return path


def file_names(texts: Iterable[str]) -> dict[str, str]:
    """Return a name of a file, without ending, for each text: no two alike on any file system.

    >>> file_names(["drum/bass", "Rock", "rock", "..", "con"])
    {'drum/bass': 'drum_bass', 'Rock': 'Rock', 'rock': 'rock (2)', '..': '_', 'con': 'con_'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for text in texts:
        name = first = _file_name(text)
        number = 1
        while _folded(name) in taken:
            number += 1
            name = f"{first} ({number})"
        taken.add(_folded(name))
        names[text] = name
    return names


def _file_name(text: str) -> str:
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text))
    name = name.encode()[:_LONGEST].decode(errors="ignore")
    # Leading dots hide a file, Windows drops dots and blanks at the end.
    name = re.sub(r"^[.\s]+", "_", name).rstrip(". ") or "_"
    return f"{name}_" if _DEVICES.fullmatch(name) else name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())

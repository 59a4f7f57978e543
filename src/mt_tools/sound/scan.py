"""Finding audio files: folders walked in a fixed order, and lists of paths."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import BinaryIO

from mt_tools.errors import NoRows
from mt_tools.sound.info import AUDIO_ENDINGS
from mt_tools.sound.paths import path_to_text
from mt_tools.tables.batch import Batch, MemoryReader
from mt_tools.tables.columns import reserved

_ROWS = 256


def is_audio_name(path: str | bytes) -> bool:
    """Say whether a name ends like audio that can be tried."""
    name = os.fsdecode(path).lower()
    return name.rpartition(".")[2] in AUDIO_ENDINGS if "." in name else False


def find_audio(root: str) -> list[str]:
    """Return the audio files below a folder, sorted by path; hidden ones are left out.

    Links to folders are followed, each real folder once, so that a loop ends. Links to files are
    files; a broken one is listed, and so is a folder that may not be read: both fail when opened.
    """
    found: list[str] = []
    seen: set[tuple[int, int]] = set()

    def visit(folder: str) -> None:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda e: os.fsencode(e.name)):
                if entry.name.startswith("."):
                    continue
                try:
                    folder_inside = entry.is_dir()
                except OSError:  # a link that leads to itself
                    folder_inside = False
                if folder_inside:
                    if os.access(entry.path, os.R_OK | os.X_OK):
                        visit(entry.path)
                    else:
                        found.append(entry.path)
                elif is_audio_name(entry.name):
                    found.append(entry.path)

    visit(root)
    return found


def identity(text: str) -> str:
    """Return the id of a path: as it is, NFC, with forward slashes."""
    return unicodedata.normalize("NFC", PurePosixPath(text).as_posix())


def folder_reader(root: str, *, prefix: bool) -> MemoryReader:
    """Return the tracks of a folder; ids are paths below it, after `root` itself with `prefix`."""
    paths = find_audio(root)
    if not paths:
        endings = " ".join(sorted(AUDIO_ENDINGS))
        raise NoRows(f"no audio below {root} (looked for names ending in {endings})")
    texts = [path_to_text(path) for path in paths]
    names = texts if prefix else [path_to_text(os.path.relpath(path, root)) for path in paths]
    return MemoryReader(_tracks(_identities(names, set()), texts), [])


def _identities(names: Sequence[str], taken: set[str]) -> list[str]:
    """Return the ids of names, none of which is `taken`; they are then.

    Two names may differ in their Unicode normalisation alone: one of them keeps its own, or where
    that is taken already, as of names that come one by one, gets the decomposed one.
    """
    normal = {name for name in names if identity(name) == name}
    ids = []
    for name in names:
        id_ = identity(name)
        if id_ in taken or (id_ != name and id_ in normal):
            id_ = name if name not in taken else unicodedata.normalize("NFD", name)
        taken.add(id_)
        ids.append(id_)
    return ids


def _tracks(ids: list[str], paths: list[str]) -> Batch:
    return Batch.build([reserved("id"), reserved("path")], {"id": ids, "path": paths})


class PathReader:
    """Tracks from a list of paths, one a line or NUL-separated, read as it comes.

    A path that is listed again is left out: it is the same track.
    """

    def __init__(self, file: BinaryIO, *, null: bool) -> None:
        self._file = file
        self._end = b"\0" if null else b"\n"
        self.schema = _tracks([], []).schema
        self.provenance: list[dict[str, object]] = []
        self.failed = 0

    def __iter__(self) -> Iterator[Batch]:
        seen: set[str] = set()
        taken: set[str] = set()
        for chunk in self._chunks():
            new: dict[str, str] = {}
            for text in (path_to_text(path) for path in chunk if path):
                new.setdefault(PurePosixPath(text).as_posix(), text)
            texts = [text for name, text in new.items() if name not in seen]
            ids = _identities([name for name in new if name not in seen], taken)
            seen |= new.keys()
            for start in range(0, len(ids), _ROWS):
                part = slice(start, start + _ROWS)
                yield _tracks(ids[part], texts[part])

    def _chunks(self) -> Iterator[list[bytes]]:
        """Yield paths as they arrive: a slow writer's first path need not wait for its last."""
        rest = b""
        read = getattr(self._file, "read1", self._file.read)
        while data := read(1 << 16):
            *whole, rest = (rest + data).split(self._end)
            if whole:
                yield [self._trimmed(path) for path in whole]
        if rest:
            yield [self._trimmed(rest)]

    def _trimmed(self, path: bytes) -> bytes:
        return path.removesuffix(b"\r") if self._end == b"\n" else path

"""From what was typed to rows: folders, audio files, lists of paths, tables and stdin."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from mt_tools.commands.settings import InputSettings
from mt_tools.errors import NoRows, UpstreamEnded, UsageError
from mt_tools.features.presets import preset
from mt_tools.library.entries import COLUMN, Library, is_address, to_text, united
from mt_tools.library.recognise import recognise
from mt_tools.sound.paths import path_to_text
from mt_tools.sound.scan import PathReader, folder_reader, identity, is_audio_name
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.source import Assumed, Peeked, Reader, Source, open_stream, open_table, sniff


def open_inputs(
    inputs: Sequence[str], given: InputSettings, *, audio: bool, labels: bool = False
) -> Source:
    """Open what was typed as one source of rows.

    With `audio`, folders, audio files, playlists, libraries and lists of paths are tracks; without,
    only tables do. With `labels`, what playlists and libraries say of tracks comes along. No input
    at all means stdin, unless that is a terminal. Raises `UsageError` for what is none of these and
    `NoRows` for a folder without audio.
    """
    if not inputs:
        if sys.stdin is None or sys.stdin.isatty():
            what = "a folder, an audio file or a table" if audio else "a table"
            raise UsageError(f"no input: name {what}, or pipe one in")
        inputs = ["-"]
    assumed = _assumed(given.assume)
    readers: list[Reader] = []
    folders: list[str] = []
    libraries: list[Library] = []
    roots = [path for path in inputs if os.path.isdir(path)]
    for path in inputs:
        if path == "-":
            readers.append(_piped(sys.stdin.buffer, "stdin", given, audio))
        elif os.path.isdir(path):
            if not audio:
                raise UsageError(
                    f"{path} is a folder: a table was expected; make one: mt-fetch folder {path}"
                )
            readers.append(folder_reader(path, prefix=len(roots) > 1))
        elif audio and is_audio_name(path) and given.from_ in ("", "paths"):
            readers.append(PathReader(io.BytesIO(os.fsencode(path)), null=True))
        elif not os.path.lexists(path):
            raise UsageError(f"{path}: no such file or folder")
        elif os.path.exists(path) and not os.path.isfile(path):  # a FIFO, or <(a command)
            readers.append(_piped(open(path, "rb"), path, given, audio))  # noqa: SIM115
        elif given.from_ == "paths":
            readers.append(PathReader(open(path, "rb"), null=given.null))  # noqa: SIM115
        elif not given.from_ and (library := _library(path)) is not None:
            if not audio:
                raise UsageError(
                    f"{path} is {library.kind}: a table was expected; make one: "
                    f"mt-fetch folder {path}"
                )
            libraries.append(library)
            folders.append(os.path.dirname(path) or ".")
        else:
            readers.append(open_table(path, given.from_ or None))
            folders.append(os.path.dirname(path) or ".")
    if libraries:  # they are read as one, since they name the same tracks
        readers.append(LibraryReader(libraries, labels=labels))
    return Source(readers, folders, assumed)


def _library(path: str) -> Library | None:
    try:
        return recognise(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a table, a folder or `-`") from error


class LibraryReader:
    """Tracks of playlists and libraries, each path once.

    With `labels`, what they say of a track is in a column of its own, for `mt-fetch folder`.
    """

    _ROWS = 256

    def __init__(self, libraries: Sequence[Library], *, labels: bool) -> None:
        self._libraries = libraries
        self._labels = labels
        self.schema = self._batch([]).schema
        self.provenance: list[dict[str, object]] = []
        self.failed = 0

    def __iter__(self) -> Iterator[Batch]:
        seen: set[str] = set()
        rows: list[tuple[str, str | None, str]] = []
        for entry, leads in united(self._libraries):
            text = None if entry.path is None else path_to_text(entry.path)
            id_ = entry.name if text is None else text
            id_ = id_ if is_address(id_) else identity(id_)
            if id_ in seen:
                continue
            seen.add(id_)
            rows.append((id_, text, to_text(entry, leads) if self._labels else ""))
            if len(rows) == self._ROWS:
                yield self._batch(rows)
                rows = []
        if rows:
            yield self._batch(rows)

    def _batch(self, rows: Sequence[tuple[str, str | None, str]]) -> Batch:
        wanted = dict.fromkeys(name for library in self._libraries for name in library.columns)
        columns = [reserved("id"), reserved("path")]
        if self._labels:
            columns.append(Column(COLUMN, "string", "reserved", {"columns": list(wanted)}))
        cells = {column.name: [row[i] for row in rows] for i, column in enumerate(columns)}
        return Batch.build(columns, cells)


def _piped(file: BinaryIO, name: str, given: InputSettings, audio: bool) -> Reader:
    """Open what comes through a pipe: a table, or where those are tracks a list of paths."""
    peeked = Peeked(file)
    if not peeked.head:
        # A list or text may be empty; a table has at least its beginning, unless its maker died.
        if given.null or given.from_ in ("paths", "jsonl", "json", "csv"):
            raise NoRows(f"{name} was empty: nothing to do")
        raise UpstreamEnded(
            f"upstream ended early: {name} was empty, the command before this one failed or found "
            "nothing (a list of paths may be empty with -0 or --from paths)"
        )
    format = given.from_ or ("paths" if given.null else sniff(peeked.head))
    if format == "paths" and peeked.head.startswith((b"#EXTM3U", b"<?xml", b"SQLite f")):
        raise UsageError(
            f"{name} holds a playlist or a library: name its file, since the paths in it are "
            "relative to where it lies"
        )
    if format != "paths":
        return open_stream(peeked, given.from_ or None, name)
    if not audio:
        raise UsageError(
            f"{name} is none of Parquet, Arrow, NPZ or JSON lines: a table was expected (for CSV "
            "say --from csv)"
        )
    return PathReader(io.BufferedReader(peeked, 1 << 16), null=given.null)


def _assumed(name: str) -> Assumed | None:
    """Return what `--assume PRESET` says of features; an unknown preset raises `UsageError`."""
    if not name:
        return None
    settings = preset(name)
    channels = (2,) if settings.channels == "stereo" else ()
    axes = () if settings.is_vector else (*channels, settings.output_bands)
    return Assumed(settings.to_json(), axes)

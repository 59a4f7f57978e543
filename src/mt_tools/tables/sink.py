"""Writing the wire: where the rows go, in which format, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from mt_tools.errors import RunError, UsageError
from mt_tools.tables import provenance
from mt_tools.tables.atomic import AtomicFile, is_direct
from mt_tools.tables.batch import Batch
from mt_tools.tables.npz import NpzWriter
from mt_tools.tables.parquet import ArrowFileWriter, ParquetWriter
from mt_tools.tables.source import ENDINGS
from mt_tools.tables.stream import StreamWriter
from mt_tools.tables.text import CsvWriter, JsonLinesWriter, JsonWriter


class Writer(Protocol):
    """Takes batches; `finish` makes the result whole, `abort` leaves it visibly unfinished."""

    def write(self, batch: Batch) -> None:
        """Take rows."""

    def finish(self, rows: int, failed: int) -> None:
        """Make the result whole."""

    def abort(self) -> None:
        """Leave it unfinished."""


WRITERS: dict[str, Callable[[BinaryIO, list[provenance.Step]], Writer]] = {
    "parquet": ParquetWriter,
    "npz": NpzWriter,
    "arrow": ArrowFileWriter,
    "stream": StreamWriter,
    "jsonl": JsonLinesWriter,
    "json": JsonWriter,
    "csv": CsvWriter,
}


Opener = Callable[[list[provenance.Step]], Writer]


class _FileWriter:
    """A writer into a file that appears only when finished."""

    def __init__(self, path: str, format: str, steps: list[provenance.Step]) -> None:
        self._file = AtomicFile(path)
        self._writer = WRITERS[format](self._file.file, steps)

    def write(self, batch: Batch) -> None:
        self._writer.write(batch)

    def finish(self, rows: int, failed: int) -> None:
        self._writer.finish(rows, failed)
        self._file.commit()

    def abort(self) -> None:
        self._file.discard()


def format_of(path: str) -> str:
    """Return the format that a file's ending asks for."""
    suffix = Path(path).suffix.lower()
    if suffix not in ENDINGS:
        raise UsageError(
            f"{path}: ending {suffix or '(none)'!r} names no format; use .parquet, .npz, .arrow, "
            ".jsonl, .json or .csv, or say --format"
        )
    return ENDINGS[suffix]


def to_file(path: str, format: str | None) -> Opener:
    """Return what opens `-o FILE`; a place that cannot be written to raises `UsageError` now."""
    if format == "table":
        raise UsageError(f"--format table is for reading: leave out -o {path}")
    if is_direct(path):
        # A FIFO or device has a reader that may start now: it gets a stream, as a pipe does.
        known = format or ENDINGS.get(Path(path).suffix.lower(), "arrow")
        return lambda steps: _FileWriter(path, "stream" if known == "arrow" else known, steps)
    chosen = format or format_of(path)
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path):
        raise UsageError(f"cannot write {path}: it is a folder; name a file in it")
    if not os.path.isdir(folder):
        raise UsageError(f"cannot write {path}: its folder does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {path}: no permission to write into its folder")
    return lambda steps: _FileWriter(path, chosen, steps)


def to_stdout(format: str | None, *, ends_chain: bool, terminal: Callable[[], Writer]) -> Opener:
    """Return what opens stdout: a readable table, a stream, or a file, by what stdout is.

    `ends_chain` is for mt-tag and mt-eval, which write JSON lines where others write the wire.
    Raises `UsageError` for what would print binary or append to a table.
    """
    if format == "table" or (format is None and os.isatty(1)):
        return lambda steps: terminal()
    if os.isatty(1):
        if format not in ("jsonl", "json", "csv"):
            raise UsageError(
                f"--format {format} is binary and stdout is a terminal: use -o FILE, a pipe, or "
                "--format jsonl or csv"
            )
        chosen = format
    elif format is None and ends_chain:
        chosen = "jsonl"
    elif stat.S_ISREG(os.fstat(1).st_mode):
        chosen = format or "parquet"
        if chosen in ("parquet", "npz", "arrow") and _appending():
            raise UsageError(
                f"stdout is appended to (>>): {chosen} cannot be appended; use -o FILE, or "
                "--format jsonl or csv"
            )
    else:
        chosen = "stream" if format in (None, "arrow") else format
    return lambda steps: WRITERS[chosen](sys.stdout.buffer, steps)


def _appending() -> bool:
    return bool(fcntl.fcntl(1, fcntl.F_GETFL) & os.O_APPEND)


class Output:
    """The rows that a command writes: counted, and whole only when the run says so.

    `make` opens the writer when the first row is there or the run ends well, so that a run which
    fails before its first row leaves no trace at all. `empty` gives a table without rows its
    columns.
    """

    def __init__(self, make: Callable[[], Writer]) -> None:
        self._make = make
        self._writer: Writer | None = None
        self.empty: Batch | None = None
        self.rows = 0

    def write(self, batch: Batch) -> None:
        """Write rows."""
        if not len(batch):
            self.empty = batch
            return
        self._write(batch)
        self.rows += len(batch)

    def _write(self, batch: Batch) -> None:
        writer = self._writer = self._writer or self._make()
        self._guarded(lambda: writer.write(batch))

    def finish(self, failed: int, *, well: bool = True) -> None:
        """End the output as whole; without `well` a file is, and a stream lacks its end."""
        if not self.rows and self.empty is not None:
            self._write(self.empty)
        writer = self._writer = self._writer or self._make()
        if well or not isinstance(writer, StreamWriter):
            self._guarded(lambda: writer.finish(self.rows, failed))

    def abort(self) -> None:
        """End the output as unfinished; a file is removed, a stream lacks its end."""
        if self._writer is not None:
            self._writer.abort()

    @staticmethod
    def _guarded(action: Callable[[], None]) -> None:
        try:
            action()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise RunError(
                f"cannot write the output: {error.strerror or error}; nothing was kept"
            ) from error

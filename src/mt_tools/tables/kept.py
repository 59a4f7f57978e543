"""Tables that are read twice: first a few light columns, then the rows as they are.

Goal: decide about all rows of a table whose features do not fit into memory. Files are read again
where they lie, and of a Parquet file only the columns that are asked for. A stream cannot be: its
rows wait in memory, past 64 MiB in a temporary file, which has no name, so that nothing is left of
it however the process ends.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import pyarrow as pa

from mt_tools.errors import RunError
from mt_tools.tables import provenance
from mt_tools.tables.batch import Batch
from mt_tools.tables.parquet import ParquetReader

SPOOL_BYTES = 64 << 20


class Kept:
    """A table that can be read once, kept for later; a `tables.source.Reader`.

    `batches` are its rows, `spool` the bytes past which they wait on disk. To read it again before
    it has been read to its end is an error of the caller.
    """

    def __init__(self, reader: Any, batches: Iterable[Batch], spool: int = SPOOL_BYTES) -> None:
        self._reader = reader
        self._batches = batches
        self._spool = spool
        self._file: IO[bytes] | None = None
        self._whole = False
        self.schema: pa.Schema = reader.schema
        self.provenance: list[provenance.Step] = reader.provenance

    @classmethod
    def of(cls, batches: Iterable[Batch]) -> Kept:
        """Return batches that are being made, to be read twice."""
        return cls(_Making(), batches)

    @property
    def failed(self) -> int:
        """Rows that failed before; known at the end."""
        failed: int = self._reader.failed
        return failed

    def __iter__(self) -> Iterator[Batch]:
        if self._file is None:
            return self._first()
        if not self._whole:
            raise RuntimeError("a stream is read again before it was read to its end")
        return self._again(self._file)

    def _first(self) -> Iterator[Batch]:
        writer = None
        with _told():
            self._file = tempfile.SpooledTemporaryFile(self._spool)  # noqa: SIM115
        for batch in self._batches:
            with _told():
                if writer is None:
                    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
                    schema = batch._table.schema
                    writer = pa.ipc.new_stream(
                        pa.PythonFile(self._file, mode="w"), schema, options=options
                    )
                writer.write_table(batch._table)
            yield batch
        if writer is not None:
            with _told():
                writer.close()
        self._whole = True

    @staticmethod
    def _again(file: IO[bytes]) -> Iterator[Batch]:
        file.seek(0, 2)
        if not file.tell():  # no rows, so no table
            return
        file.seek(0)
        for record in pa.ipc.open_stream(pa.PythonFile(file, mode="r")):
            yield Batch(pa.Table.from_batches([record]))


class _Making:
    """What batches that are being made have of a reader."""

    schema = pa.schema([])
    provenance = ()
    failed = 0


class Narrow:
    """A table of which only some columns are read; a `tables.source.Reader`.

    `names` that it lacks are ignored. Where it has no ids the paths are read too, which ids come
    from.
    """

    def __init__(self, reader: Any, schema: pa.Schema, names: Sequence[str]) -> None:
        self._reader = reader
        wanted = {"id", *names} if "id" in schema.names else {"path", *names}
        fields = [field for field in schema if field.name in wanted]
        fields = fields or list(schema)[:1]  # it has its rows all the same
        self._names = [field.name for field in fields]
        self.schema = pa.schema(fields)
        self.provenance: list[provenance.Step] = reader.provenance

    @property
    def failed(self) -> int:
        """Rows that failed before; known at the end."""
        failed: int = self._reader.failed
        return failed

    def __iter__(self) -> Iterator[Batch]:
        if isinstance(self._reader, ParquetReader):
            yield from self._reader.only(self._names)
            return
        for batch in self._reader:
            # Copied: columns of a stream lie in one piece of memory, which one of them would hold.
            yield Batch(batch._table.select(self._names)).take(range(len(batch)))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn an error of the disk into one line that says what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot keep the rows in a temporary file ({error.strerror}): make room, set TMPDIR "
            "to a folder on another disk, or name a file instead of piping"
        ) from error

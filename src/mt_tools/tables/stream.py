"""Arrow IPC streams between commands: constant memory, and an end that cannot be faked.

A stream of ours ends with an empty batch whose custom metadata `mt.end` is
`{"rows": n, "failed": m}`, then Arrow's end marker. A stream without the end marker was cut: its
producer died. A stream with the end marker and without `mt.end` comes from a foreign writer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from mt_tools.errors import UpstreamEnded, UsageError
from mt_tools.tables import provenance
from mt_tools.tables.batch import Batch

END_KEY = b"mt.end"
_MAGIC = b"\xff\xff\xff\xff"
_END_MARKER = _MAGIC + b"\0\0\0\0"


class _Tail:
    """A reader that remembers the last bytes it handed out, to see Arrow's end marker pass."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tail = b""
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        parts = []
        while size != 0:  # a pipe hands out less than was asked for
            part = self._file.read(size if size > 0 else 1 << 20)
            if not part:
                break
            parts.append(part)
            size -= len(part) if size > 0 else 0
        data = b"".join(parts)
        self.tail = (self.tail + data[-8:])[-8:]
        return data

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


class StreamReader:
    """Batches of an Arrow stream; `rows` and `failed` are known when it has ended."""

    def __init__(self, file: BinaryIO) -> None:
        self._tail = _Tail(file)
        self.failed = 0
        try:
            self._reader = pa.ipc.open_stream(pa.PythonFile(self._tail, mode="r"))
        except (pa.ArrowInvalid, OSError) as error:
            raise self._ended(0) from error
        self.schema: pa.Schema = self._reader.schema
        self.provenance = provenance.load(self.schema.metadata)

    def __iter__(self) -> Iterator[Batch]:
        rows = 0
        end = None
        while True:
            try:
                record = self._reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                break
            except (pa.ArrowInvalid, OSError) as error:
                raise self._ended(rows) from error
            if record.custom_metadata and END_KEY in record.custom_metadata:
                end = record.custom_metadata[END_KEY]
            rows += record.batch.num_rows
            if record.batch.num_rows:
                yield Batch(pa.Table.from_batches([record.batch]).replace_schema_metadata(None))
        if self._tail.tail != _END_MARKER:
            raise self._ended(rows)
        if end is not None:
            try:
                expected, self.failed = (int(json.loads(end)[key]) for key in ("rows", "failed"))
            except (ValueError, KeyError, TypeError) as error:
                raise self._ended(rows) from error
            if expected != rows:
                raise self._ended(rows)
        if self._tail.read(1):
            raise UsageError(
                "more follows the end of the table, as in `(A; B) | C`: write each table to a file "
                "and name both"
            )

    @staticmethod
    def _ended(rows: int) -> UpstreamEnded:
        return UpstreamEnded(
            f"upstream ended early, after {rows} rows: the command before this one failed or was "
            "killed (its own message is above); nothing was kept"
        )


class StreamWriter:
    """Writes batches to a pipe; only `finish` marks the stream as whole."""

    def __init__(self, file: BinaryIO, steps: list[provenance.Step]) -> None:
        self._file = file
        self._steps = steps
        self._writer: pa.RecordBatchStreamWriter | None = None
        self._schema: pa.Schema | None = None

    def write(self, batch: Batch) -> None:
        """Write one batch; it is flushed, so that the next command can start on it."""
        table = batch._table.replace_schema_metadata({provenance.KEY: provenance.dump(self._steps)})
        if self._writer is None:
            self._schema = table.schema
            self._writer = pa.ipc.new_stream(
                pa.PythonFile(_Unclosable(self._file), mode="w"),
                table.schema,
                options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True),
            )
        self._writer.write_table(table)
        self._file.flush()

    def finish(self, rows: int, failed: int) -> None:
        """Write `mt.end` and Arrow's end marker."""
        if self._writer is None:
            self.write(Batch(pa.schema([("id", pa.string())]).empty_table()))
        assert self._writer is not None
        end = json.dumps({"rows": rows, "failed": failed}).encode()
        empty = pa.RecordBatch.from_pylist([], schema=self._schema)
        self._writer.write_batch(empty, custom_metadata={END_KEY: end})
        self._writer.close()
        self._file.flush()

    def abort(self) -> None:
        """Leave the stream without its end: whoever reads it will know."""


class _Unclosable:
    """A file that Arrow may not close: closing is when an unfinished stream would look whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.closed = False

    def write(self, data: bytes) -> int:
        self._file.write(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

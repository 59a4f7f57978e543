"""Feature columns larger than memory: their row groups one at a time, the other columns at once.

Goal: train from tables that do not fit into memory, whatever they come as. Parquet files are read
where they are, a row group (about 16 MiB, see `tables.parquet`) at a time. What comes as a stream,
or in row groups too large to hold, is written to a temporary file first: as Parquet to be read in
row groups (`Spool`), or as plain numbers mapped into memory, for rows that are wanted in any order
(`ArraySpool`).

Temporary files have no name, so that nothing is left of them however the process ends.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mt_tools.errors import RunError, SettingsMismatch
from mt_tools.settings import differences
from mt_tools.tables import provenance
from mt_tools.tables.batch import Batch, column_of, field_of
from mt_tools.tables.columns import Column
from mt_tools.tables.levels import Levels
from mt_tools.tables.parquet import ROW_GROUP_BYTES, ParquetWriter, broken
from mt_tools.tables.source import Source, sniff

ROW = "mt.row"
"""The column of a `Shards.light` source that says which row of the shards a row is."""

LARGEST_GROUP = 256 << 20
"""Bytes of the largest row group that is read as one; foreign writers make any."""

_LIGHT_ROWS = 4096


class Shards:
    """One feature or embedding column of some Parquet files, read a row group at a time.

    `files` are paths or open files, `column` says what all of them hold. Rows are numbered through
    the files; `offsets` [groups + 1] are the first row of each group, and the end. Reading is safe
    from several threads. Raises `BrokenTable` for a damaged file and `SettingsMismatch` for one
    whose column has another shape or other settings.
    """

    def __init__(self, files: Sequence[str | BinaryIO], column: Column) -> None:
        self.column = column
        self._files = [_open(file) for file in files]
        self._places: list[tuple[int, int]] = []
        self._levels: list[Levels | None] = []
        sizes = []
        for number, file in enumerate(self._files):
            self._levels.append(_check(file, column).levels)
            for group in range(file.parquet.metadata.num_row_groups):
                self._places.append((number, group))
                sizes.append(file.parquet.metadata.row_group(group).num_rows)
        self.offsets: NDArray[np.int64] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @property
    def nbytes(self) -> int:
        """Size of the column in memory, bytes."""
        return len(self) * row_bytes(self.column)

    @property
    def largest(self) -> int:
        """Rows of the largest row group."""
        return int(np.diff(self.offsets).max(initial=0))

    def row_group(self, index: int) -> NDArray[Any]:
        """Return the column's rows of one group, [rows, *shape]; null rows are NaN.

        float16 where the column is stored so, else float32 (also of bytes).
        """
        number, group = self._places[index]
        file = self._files[number]
        try:
            with self._lock:
                # Threads gain nothing for one column, and each would hold a part of its own.
                table = file.parquet.read_row_group(group, [self.column.name], use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise broken(file.name, "Parquet", error) from error
        dtype = np.float16 if self.column.half else np.float32
        levels = self._levels[number]
        chunks = [_values(chunk, dtype, levels) for chunk in table.column(self.column.name).chunks]
        none = np.empty((0, math.prod(self.column.shape)), dtype)
        rows = chunks[0] if len(chunks) == 1 else np.concatenate([none, *chunks])
        return rows.reshape(len(rows), *self.column.shape)

    def light(self, folders: Sequence[str] = ()) -> Source:
        """Return the files' rows without their features, and with the number of each in `ROW`."""
        firsts = np.cumsum([0] + [file.parquet.metadata.num_rows for file in self._files])
        return Source(
            [
                _LightReader(file, int(first), self.column.name)
                for file, first in zip(self._files, firsts, strict=False)
            ],
            folders,
        )


class _Open:
    """A Parquet file and what to call it."""

    def __init__(self, parquet: pq.ParquetFile, name: str) -> None:
        self.parquet = parquet
        self.name = name


def _open(file: str | BinaryIO) -> _Open:
    name = file if isinstance(file, str) else "the spooled table"
    try:
        return _Open(pq.ParquetFile(file), name)
    except (pa.ArrowInvalid, OSError) as error:
        raise broken(name, "Parquet", error) from error


def _check(file: _Open, column: Column) -> Column:
    """Return a file's column; raise unless it is the one described."""
    schema = file.parquet.schema_arrow
    if column.name not in schema.names:
        raise SettingsMismatch(
            f"{file.name} has no column {column.name!r}: it has {', '.join(schema.names)}"
        )
    found = column_of(schema.field(column.name))
    differ = differences(found.settings, column.settings) if found.settings else []
    if math.prod(found.shape) != math.prod(column.shape):
        differ.append(f"shape: got {found.shape}, expected {column.shape}")
    if differ:
        raise SettingsMismatch(f"{file.name}, column {column.name!r}: {'; '.join(differ)}")
    return found


class _LightReader:
    """A Parquet file without its features: a `tables.source.Reader`."""

    def __init__(self, file: _Open, first: int, heavy: str) -> None:
        self._file = file
        self._first = first
        self.failed = 0
        whole = file.parquet.schema_arrow
        self.provenance = provenance.load(whole.metadata)
        kept = [f for f in whole if f.name != heavy and column_of(f).role != "feature"]
        self._names = [field.name for field in kept]
        self._number = field_of(Column(ROW, "integer"))
        self.schema = pa.schema([*kept, self._number])

    def __iter__(self) -> Iterator[Batch]:
        row = self._first
        try:
            for record in self._file.parquet.iter_batches(_LIGHT_ROWS, columns=self._names):
                # A name such as `a` also reads the column `a.b`, hence the selection.
                table = pa.Table.from_batches([record]).select(self._names)
                numbers = pa.array(range(row, row + record.num_rows), pa.int64())
                row += record.num_rows
                table = table.append_column(self._number, numbers)
                yield Batch(table.replace_schema_metadata(None))
        except (pa.ArrowInvalid, OSError) as error:
            raise broken(self._file.name, "Parquet", error) from error


def _values(chunk: Any, dtype: Any, levels: Levels | None) -> NDArray[Any]:
    """Return vectors or tensors as [rows, values]; null rows are NaN.

    The memory is Arrow's where nothing is null: copies and conversions (`tables.batch.to_numpy`
    goes by float32) would take as long as reading.
    """
    storage = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
    size = storage.type.list_size
    flat = storage.values.slice(storage.offset * size, len(storage) * size)
    if levels is not None:
        flat = flat.fill_null(0)  # of null rows, which Parquet gives nulls inside as well
    rows = flat.to_numpy(zero_copy_only=False).reshape(len(storage), size)
    rows = rows.astype(dtype, copy=False) if levels is None else levels.decode(rows)
    if storage.null_count:
        rows = rows.copy()
        rows[storage.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return rows


def shards_of(paths: Sequence[str], column: Column, limit: int) -> Shards | None:
    """Return a column's shards where it is larger than `limit` bytes and can be read as it lies.

    None where it is smaller, where an input is not a Parquet file that has the column in this very
    form (pandas writes lists of any length), or where the rows of one group alone are too large.
    """
    for path in paths:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            if sniff(file.read(8)) != "parquet":
                return None
    try:
        shards = Shards(paths, column)
    except SettingsMismatch:
        return None
    if shards.nbytes <= limit or shards.largest * row_bytes(column) > LARGEST_GROUP:
        return None
    return shards


def row_bytes(column: Column) -> int:
    """Return the size of a row of a column of vectors or tensors in memory, read."""
    return math.prod(column.shape) * (2 if column.half else 4)


class Spool:
    """Writes a column to a temporary Parquet file in `folder` (None = the system's), to be read."""

    def __init__(self, column: Column, folder: str | None = None) -> None:
        self._column = column
        self._file = _temporary(folder)
        self._writer = ParquetWriter(self._file, [])
        self._rows = max(1, ROW_GROUP_BYTES // row_bytes(column))

    def write(self, rows: NDArray[Any]) -> None:
        """Add rows [n, *shape]."""
        for first in range(0, len(rows), self._rows):
            part = {self._column.name: rows[first : first + self._rows]}
            with _told():
                self._writer.write(Batch.build([self._column], part))

    def finish(self) -> Shards:
        """Return what was written."""
        with _told():
            self._writer.finish(0, 0)
        self._file.seek(0)
        return Shards([self._file], self._column)


class ArraySpool:
    """Writes rows to a temporary file in `folder` (None = the system's), mapped into memory."""

    def __init__(self, column: Column, folder: str | None = None) -> None:
        self._shape = column.shape
        self._dtype = np.dtype(np.float16 if column.half else np.float32)
        self._file = _temporary(folder)
        self._count = 0

    def write(self, rows: NDArray[Any]) -> None:
        """Add rows [n, *shape]."""
        with _told():
            self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).data)
        self._count += len(rows)

    def finish(self) -> NDArray[Any]:
        """Return what was written, [n, *shape], read-only."""
        with _told():
            self._file.flush()
        shape = (self._count, *self._shape)
        return np.memmap(self._file, self._dtype, "r", shape=shape)


def _temporary(folder: str | None) -> BinaryIO:
    with _told():
        return tempfile.TemporaryFile(dir=folder)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn an error of the disk into one line that says what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot keep the features in a temporary file ({error.strerror}): make room, or set "
            "TMPDIR to a folder on another disk"
        ) from error

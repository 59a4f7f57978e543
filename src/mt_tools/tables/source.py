"""Reading the wire: what the first bytes say, and several tables as one.

The first bytes decide the format, read in a loop since a slow writer may send one byte at a time.
Parquet, NPZ and Arrow files need seeks: from a pipe they are spooled, past 64 MiB to disk.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from mt_tools.errors import BrokenTable, SettingsMismatch, UsageError
from mt_tools.settings import differences
from mt_tools.tables import provenance
from mt_tools.tables.batch import (
    Batch,
    MemoryReader,
    column_of,
    field_of,
    to_arrow,
    to_numpy,
)
from mt_tools.tables.columns import RESERVED, Column, guess_role, reserved
from mt_tools.tables.delimited import read_csv
from mt_tools.tables.kept import SPOOL_BYTES, Kept, Narrow
from mt_tools.tables.npz import read_npz
from mt_tools.tables.parquet import ArrowFileReader, ParquetReader
from mt_tools.tables.stream import StreamReader
from mt_tools.tables.text import read_json_lines

ENDINGS = {
    ".parquet": "parquet",
    ".npz": "npz",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".arrows": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
}
FORMATS = ("parquet", "npz", "arrow", "jsonl", "json", "csv")


class Reader(Protocol):
    """A table being read; `failed` is known when it has been read to its end."""

    schema: pa.Schema
    provenance: list[provenance.Step]

    @property
    def failed(self) -> int:
        """Rows that the commands before this one could not make."""

    def __iter__(self) -> Iterator[Batch]: ...


class Peeked(io.RawIOBase):
    """A file whose first bytes were looked at and are handed out again."""

    def __init__(self, file: BinaryIO, size: int = 8) -> None:
        self._file = file
        self.head = file.read(size)  # however slowly they come
        self._unread = self.head

    def readable(self) -> bool:
        """Say that this file is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Hand out the head, then the rest as it comes."""
        if self._unread:
            part, self._unread = self._unread[: len(buffer)], self._unread[len(buffer) :]
        else:
            part = self._file.read1(len(buffer))  # type: ignore[attr-defined]
        buffer[: len(part)] = part
        return len(part)


def sniff(head: bytes) -> str:
    """Return the format that the first eight bytes show; `paths` when they show none."""
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        return "npz"
    if head.startswith(b"ARROW1"):
        return "arrow-file"
    if head.startswith(b"\xff\xff\xff\xff"):
        return "arrow"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return "jsonl"
    # An array of objects; folders of albums are called `[1997] ...` too.
    if text.startswith(b"[") and (text[1:].lstrip() or b"]")[:1] in (b"{", b"]"):
        return "jsonl"
    return "paths"


def open_stream(peeked: Peeked, format: str | None, name: str) -> Reader:
    """Open a table that comes through a pipe; its first bytes decide unless `format` is given."""
    found = sniff(peeked.head)
    if format not in (None, "arrow") or not found.startswith("arrow"):
        found = format or found
    file = io.BufferedReader(peeked, 1 << 16)
    if found == "arrow":
        return StreamReader(file)
    if found in ("jsonl", "json"):
        return read_json_lines(file, name)
    if found == "csv":
        return read_csv(file, name)
    spooled = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
    shutil.copyfileobj(file, spooled, 1 << 20)
    spooled.seek(0)
    return _open_seekable(spooled, found, name)  # type: ignore[arg-type]


def _open_seekable(file: str | BinaryIO, format: str, name: str) -> Reader:
    if format == "parquet":
        return ParquetReader(file, name)
    if format == "npz":
        return read_npz(file, name)
    return ArrowFileReader(file, name)


def open_table(path: str, format: str | None = None) -> Reader:
    """Open a table file; its first bytes decide, and for text its ending or `format`."""
    try:
        with open(path, "rb") as file:
            found = sniff(file.read(8))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a table, a folder or `-`") from error
    if format == "csv" or (found == "paths" and Path(path).suffix.lower() in (".csv", ".tsv")):
        with open(path, "rb") as file:
            return read_csv(file, path)
    if found == "jsonl":
        with open(path, "rb") as file:
            return read_json_lines(file, path)
    if found == "arrow":
        return StreamReader(open(path, "rb"))
    if found == "paths":
        if os.path.getsize(path) == 0 and ENDINGS.get(Path(path).suffix.lower()) in (
            "jsonl",
            "json",
        ):
            return read_json_lines([], path)
        raise BrokenTable(
            f"{path}: not a table: its first bytes are none of Parquet, Arrow, NPZ or JSON lines"
        )
    return _open_seekable(path, found, path)


@dataclass(frozen=True)
class Assumed:
    """What `--assume` says of features that do not say it themselves.

    `axes` are the axes before the frames, (bands,) or (channels, bands); none for a vector.
    """

    settings: Mapping[str, Any]
    axes: tuple[int, ...]


class Source:
    """The rows that a command reads: one or several tables as one.

    `columns` describe the union of the tables' columns; `folders` are where relative paths are
    tried after the working directory. Ids are unique over all tables, unless `repeated` is set, as
    by who looks for those that are not. Features without settings get those of `assumed`.
    """

    repeated = False

    def __init__(
        self,
        readers: Sequence[Reader],
        folders: Sequence[str] = (),
        assumed: Assumed | None = None,
    ) -> None:
        self._readers = [_Fixed(reader) for reader in readers]
        self.folders = list(dict.fromkeys(folders))
        self.provenance = provenance.merged([reader.provenance for reader in self._readers])
        self._schema = _united([reader.schema for reader in self._readers], assumed)
        self.columns: dict[str, Column] = {f.name: column_of(f) for f in self._schema}

    @property
    def failed(self) -> int:
        """Rows that the commands before this one could not make; known at the end."""
        return sum(reader.failed for reader in self._readers)

    @property
    def empty(self) -> Batch:
        """The columns that pass through a command, without rows."""
        features = [column.name for column in self.of_role("feature")]
        return Batch(self._schema.empty_table()).without(features)

    def require(self, *names: str) -> None:
        """Raise a `UsageError` unless all these columns are there."""
        for name in names:
            if name not in self.columns:
                raise UsageError(
                    f"no column {name!r} in the input: it has {', '.join(self.columns) or 'none'}"
                )

    def of_role(self, *roles: str) -> list[Column]:
        """Return the columns that have one of these roles."""
        return [column for column in self.columns.values() if column.role in roles]

    def light(self, names: Sequence[str]) -> Source:
        """Return the same rows with their ids and these columns alone, to be read first.

        Both can then be iterated, this source any number of times and only after the light one has
        been read to its end: what comes through a pipe is kept meanwhile (see `tables.kept`).
        """
        light = Source([reader.narrow(names) for reader in self._readers], self.folders)
        light.repeated = self.repeated
        return light

    def __iter__(self) -> Iterator[Batch]:
        seen: set[str] = set()
        row = 0
        for reader in self._readers:
            for batch in reader:
                batch = _conform(batch, self._schema, row)
                for id_ in batch.ids:
                    row += 1
                    if id_ is None:
                        raise UsageError(f"row {row} has no id: every row needs one")
                    if id_ in seen and not self.repeated:
                        raise UsageError(
                            f"id {id_!r} stands twice in the input: ids must be unique; scan the "
                            "folders in one call, or rename one table's ids"
                        )
                    seen.add(id_)
                yield batch


def _is_loose(field: pa.Field) -> bool:
    """Say whether vectors are lists of any length, as pandas leaves them."""
    types = pa.types
    if not (types.is_list(field.type) or types.is_large_list(field.type)):
        return False
    number = types.is_floating(field.type.value_type) or types.is_integer(field.type.value_type)
    return number and guess_role(field.name, "vector") in ("feature", "embedding", "prediction")


class _Fixed:
    """A table whose vectors have a fixed size; the first one of a column says which."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.schema = reader.schema
        self.provenance = reader.provenance
        self._batches: Iterable[Batch] = reader  # of the next reading
        names = [field.name for field in reader.schema if _is_loose(field)]
        if not names:
            return
        batches = iter(reader)
        first = list(itertools.islice(batches, 1))
        self._batches = itertools.chain(first, batches)
        for name in names:
            lists = (value for batch in first for value in batch._table.column(name).to_pylist())
            size = len(next((value for value in lists if value), []))
            if size:
                field = self.schema.field(name).with_type(pa.list_(pa.float32(), size))
                self.schema = self.schema.set(self.schema.get_field_index(name), field)

    @property
    def failed(self) -> int:
        return self._reader.failed

    def narrow(self, names: Sequence[str]) -> Narrow:
        """Return these columns alone, after which the table itself can be read still."""
        if not isinstance(self._reader, _LASTING):
            self._batches = self._reader = Kept(self._reader, self._batches)
        return Narrow(self._reader, self.schema, names)

    def __iter__(self) -> Iterator[Batch]:
        batches, self._batches = self._batches, self._reader
        return iter(batches)


def _united(schemas: Sequence[pa.Schema], assumed: Assumed | None) -> pa.Schema:
    """Return one schema for all tables; vectors and tensors must agree in shape and settings."""
    fields: dict[str, pa.Field] = {}
    for field in itertools.chain.from_iterable(schemas):
        known = fields.setdefault(field.name, field)
        if not known.equals(field, check_metadata=True):
            fields[field.name] = _wider(known, field)
    if "id" not in fields:
        fields = {"id": field_of(reserved("id")), **fields}
    fields = {name: _usable(field) for name, field in fields.items()}
    if assumed is not None:
        fields |= _assume(map(column_of, fields.values()), assumed)
    return pa.schema(list(fields.values()))


def _wider(one: pa.Field, other: pa.Field) -> pa.Field:
    """Return a field that holds the values of both."""
    if pa.types.is_null(other.type):
        return one
    if pa.types.is_null(one.type):
        return other
    ours, theirs = column_of(one), column_of(other)
    differ = differences(theirs.settings, ours.settings)
    if ours.shape != theirs.shape:
        differ.append(f"shape: got {theirs.shape}, expected {ours.shape}")
    if differ:
        raise SettingsMismatch(
            f"column {one.name!r} differs between the inputs: {'; '.join(differ)}"
        )
    if ours.levels != theirs.levels:  # other lines through the bytes: floats hold both
        return field_of(dataclasses.replace(ours, half=False, levels=None))
    if one.type == other.type:
        return one
    if {ours.kind, theirs.kind} == {"integer", "number"}:
        return one.with_type(pa.float64())
    if ours.kind == theirs.kind != "other":
        return field_of(dataclasses.replace(ours, half=ours.half and theirs.half))
    raise UsageError(
        f"column {one.name!r} is {one.type} in one input and {other.type} in another: one kind a "
        "column expected"
    )


def _usable(field: pa.Field) -> pa.Field:
    """Return a field as the rest of the package can take it; reserved ones have their own kind."""
    if pa.types.is_string_view(field.type):  # cannot be taken from by row (pyarrow 26)
        return field.with_type(pa.string())
    expected = RESERVED.get(field.name)
    if expected is None:
        return field
    if pa.types.is_null(field.type):
        return field_of(reserved(field.name))
    kind = column_of(field).kind
    if kind != expected and {kind, expected} != {"integer", "number"}:
        raise UsageError(
            f"column {field.name!r} is {field.type}, and the wire keeps this name for a column of "
            f"kind {expected}: convert or rename it"
        )
    return field


def _assume(columns: Iterable[Column], assumed: Assumed) -> dict[str, pa.Field]:
    """Return the feature columns that lack settings and have the shape of those assumed."""
    lost = [column for column in columns if column.role == "feature" and not column.settings]
    axes, found = assumed.axes, {}
    for column in lost:
        shape = column.shape
        if column.kind == "vector" and axes and shape[0] % math.prod(axes) == 0:
            shape = (*axes, shape[0] // math.prod(axes))  # pandas flattens tensors
        if len(shape) == len(axes) + 1 and shape[:-1] == axes:
            kind = "tensor" if axes else "vector"
            known = dataclasses.replace(
                column, kind=kind, settings=dict(assumed.settings), shape=shape
            )
            found[column.name] = field_of(known)
    if lost and not found:
        shapes = ", ".join(f"{column.name} {list(column.shape)}" for column in lost)
        raise SettingsMismatch(
            f"no feature column has the shape that --assume says: got {shapes}, expected "
            f"[{', '.join(map(str, axes))}{', ' * bool(axes)}any number]"
        )
    return found


def _conform(batch: Batch, schema: pa.Schema, row: int) -> Batch:
    """Give a batch the columns of the united schema; what it lacks is null."""
    table = batch._table
    if table.schema.equals(schema, check_metadata=True):
        return batch
    arrays = []
    for field in schema:
        if field.name in table.column_names:
            arrays.append(_cast(table.column(field.name), field, table.schema.field(field.name)))
        elif field.name == "id":
            paths = table.column("path").to_pylist() if "path" in table.column_names else None
            ids = paths or [f"row-{row + i}" for i in range(table.num_rows)]
            arrays.append(pa.chunked_array([pa.array(ids, pa.string())]))
        else:
            arrays.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
    return Batch(pa.Table.from_arrays(arrays, schema=schema))


def _cast(array: pa.ChunkedArray, field: pa.Field, given: pa.Field) -> pa.ChunkedArray:
    levels = column_of(given).levels
    if levels is not None and levels != column_of(field).levels:
        values = to_numpy(array, column_of(given))
        return pa.chunked_array([to_arrow(column_of(field), values)])
    if array.type == field.type:
        return array
    tensor = isinstance(field.type, pa.FixedShapeTensorType)
    storage = field.type.storage_type if tensor else field.type
    try:
        plain = (c.storage if isinstance(c, pa.ExtensionArray) else c for c in array.chunks)
        chunks = [chunk.cast(storage, safe=False) for chunk in plain]
    except pa.ArrowInvalid as error:
        raise UsageError(
            f"column {field.name!r} does not hold {field.type} in every row ({error}): vectors of "
            "one column have one length"
        ) from error
    if tensor:
        chunks = [pa.ExtensionArray.from_storage(field.type, chunk) for chunk in chunks]
    return pa.chunked_array(chunks, type=field.type)


def source_of(batches: Sequence[Batch], folders: Sequence[str] = ()) -> Source:
    """Return batches that were made here as a source; all have equal columns."""
    return Source([_Made(batches)], folders)


class _Made:
    """Batches that were made here; a `Reader`."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self.schema = batches[0]._table.schema
        self.provenance: list[provenance.Step] = []
        self.failed = 0

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)


_LASTING = (ParquetReader, ArrowFileReader, MemoryReader, Kept, _Made)
"""Readers that can be iterated again."""

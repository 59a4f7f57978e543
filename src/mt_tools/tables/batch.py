"""A batch of rows: ids, named numpy arrays on demand, and an opaque remainder.

The Arrow table inside is never handed out beyond this room: stages ask for columns by name and add
columns by description. What they don't touch passes through as it came, unknown columns included.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mt_tools.errors import UsageError
from mt_tools.tables.columns import Column, guess_role
from mt_tools.tables.levels import Levels

ROLE_KEY = b"mt.role"
SETTINGS_KEY = b"mt.settings"
LEVELS_KEY = b"mt.levels"
TRANSFORM_KEY = b"mt.transform"


def column_of(field: pa.Field) -> Column:
    """Describe an Arrow field."""
    metadata = field.metadata or {}
    kind, shape, half = _kind_of(field.type)
    levels = _levels_of(field)
    if levels is not None and kind == "other":
        kind, shape = "vector", (field.type.list_size,)
    role = metadata.get(ROLE_KEY, b"").decode() or guess_role(field.name, kind)
    settings = json.loads(metadata[SETTINGS_KEY]) if SETTINGS_KEY in metadata else {}
    transform = metadata.get(TRANSFORM_KEY, b"").decode()
    return Column(field.name, kind, role, settings, shape, half, levels, transform)


def _levels_of(field: pa.Field) -> Levels | None:
    """Return what the bytes of a field stand for; None where they are numbers of their own."""
    said = (field.metadata or {}).get(LEVELS_KEY)
    tensor = isinstance(field.type, pa.FixedShapeTensorType)
    if said is None or not (tensor or pa.types.is_fixed_size_list(field.type)):
        return None
    if field.type.value_type != pa.uint8():  # another program has converted them
        return None
    return Levels(**json.loads(said))


def field_of(column: Column) -> pa.Field:
    """Return the Arrow field that carries `column`."""
    metadata = {}
    if column.role != guess_role(column.name, column.kind) or column.settings:
        metadata[ROLE_KEY] = column.role.encode()
    if column.settings:
        metadata[SETTINGS_KEY] = json.dumps(
            column.settings, sort_keys=True, ensure_ascii=False
        ).encode()
    if column.levels is not None:
        metadata[LEVELS_KEY] = json.dumps(dataclasses.asdict(column.levels)).encode()
    if column.transform:
        metadata[TRANSFORM_KEY] = column.transform.encode()
    return pa.field(column.name, _type_of(column), metadata=metadata or None)


def _kind_of(type_: pa.DataType) -> tuple[str, tuple[int, ...], bool]:
    """Return (kind, shape, half) of an Arrow type."""
    types = pa.types
    if types.is_dictionary(type_):
        return _kind_of(type_.value_type)
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return "string", (), False
    if types.is_boolean(type_):
        return "boolean", (), False
    if types.is_integer(type_):
        return "integer", (), False
    if types.is_floating(type_) or types.is_null(type_):
        return "number", (), False
    if isinstance(type_, pa.FixedShapeTensorType):
        return "tensor", tuple(type_.shape), types.is_float16(type_.value_type)
    if types.is_fixed_size_list(type_) and types.is_floating(type_.value_type):
        return "vector", (type_.list_size,), types.is_float16(type_.value_type)
    if types.is_list(type_) or types.is_large_list(type_):
        words = _kind_of(type_.value_type)[0] == "string" or types.is_null(type_.value_type)
        return "strings" if words else "other", (), False
    if types.is_struct(type_) and {f.name for f in type_} == {"bytes", "path"}:
        return "audio", (), False
    return "other", (), False


def _type_of(column: Column) -> pa.DataType:
    value = pa.float16() if column.half else pa.float32()
    if column.levels is not None:
        value = pa.uint8()
    match column.kind:
        case "string":
            return pa.string()
        case "boolean":
            return pa.bool_()
        case "integer":
            return pa.int64()
        case "number":
            return pa.float64()
        case "strings":
            return pa.list_(pa.string())
        case "vector":
            return pa.list_(value, column.shape[0])
        case "tensor":
            return pa.fixed_shape_tensor(value, column.shape)
        case "audio":
            return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    raise TypeError(f"column {column.name!r}: kind {column.kind!r} cannot be made")


def to_arrow(column: Column, values: Any) -> pa.Array:
    """Return `values` (an array or list in the column's numpy form) as an Arrow array."""
    type_ = _type_of(column)
    if column.kind in ("vector", "tensor"):
        array = np.asarray(values, dtype=np.float16 if column.half else np.float32)
        size = math.prod(column.shape)
        rows = array.reshape(len(array), size)
        missing = np.isnan(rows).all(axis=1) if rows.size else np.zeros(len(rows), bool)
        mask = pa.array(missing) if missing.any() else None
        if column.levels is not None:
            rows = _leveled(column.name, column.levels, rows, missing)
        flat = pa.array(np.ascontiguousarray(rows).reshape(-1))
        storage = pa.FixedSizeListArray.from_arrays(flat, size, mask=mask)
        if column.kind == "vector":
            return storage.cast(type_)
        return pa.ExtensionArray.from_storage(type_, storage.cast(type_.storage_type))
    if column.kind == "number":
        array = np.asarray([np.nan if v is None else v for v in values], dtype=np.float64)
        return pa.array(array, type=type_, mask=np.isnan(array))
    if column.kind == "integer":  # not through floats, which end at 2**53
        return pa.array([None if v is None or v != v else int(v) for v in values], type=type_)
    if column.kind == "audio":
        rows_ = [None if v is None else {"bytes": v[0], "path": v[1]} for v in values]
        return pa.array(rows_, type=type_)
    return pa.array(list(values), type=type_)


def _leveled(name: str, levels: Levels, rows: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return rows as levels; those that are `missing` are anything."""
    if missing.any():
        rows = np.where(missing[:, None], np.float32(levels.offset), rows)
    if not np.isfinite(rows).all():
        raise UsageError(
            f"column {name!r} has values that are not finite, which uint8 cannot hold: use "
            "--dtype float32"
        )
    return levels.encode(rows)


def to_numpy(array: pa.ChunkedArray, column: Column) -> np.ndarray:
    """Return an Arrow column in the numpy form of its kind."""
    if column.kind in ("vector", "tensor"):
        return _floats(array, column)
    if column.kind in ("number", "integer"):
        if pa.types.is_null(array.type):
            return np.full(len(array), np.nan)
        return array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    if column.kind == "strings":
        return _lists(array)
    if column.kind == "audio":
        values = [None if v is None else (v["bytes"], v["path"]) for v in array.to_pylist()]
    else:
        values = array.to_pylist()
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def _lists(array: pa.ChunkedArray) -> np.ndarray:
    """Return lists of tags; a null inside a list is no tag, and equal tags are one string."""
    result = np.empty(len(array), dtype=object)
    known: dict[str, str] = {}
    row = 0
    for chunk in array.chunks:
        for value in chunk.to_pylist():
            if value is not None:
                result[row] = [known.setdefault(tag, tag) for tag in value if tag is not None]
            row += 1
    return result


def _floats(array: pa.ChunkedArray, column: Column) -> np.ndarray:
    """Return vectors or tensors as float32 [n, *shape]; null rows are NaN."""
    size = math.prod(column.shape)
    result = np.empty((len(array), size), dtype=np.float32)
    row = 0
    for chunk in array.chunks:
        storage = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
        # `.values` ignores the offset of a slice, `flatten()` skips null rows: neither fits alone.
        flat = storage.values.slice(storage.offset * size, len(storage) * size)
        if column.levels is not None:
            flat = flat.fill_null(0)  # of null rows, which Parquet gives nulls inside as well
        block = flat.to_numpy(zero_copy_only=False).reshape(len(storage), size)
        if column.levels is not None:
            block = column.levels.decode(block)
        result[row : row + len(storage)] = block
        if storage.null_count:
            result[row : row + len(storage)][storage.is_null().to_numpy(zero_copy_only=False)] = (
                np.nan
            )
        row += len(storage)
    return result.reshape(len(array), *column.shape)


class Batch:
    """Some rows of the wire. Immutable: every change returns a new batch."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @classmethod
    def build(cls, columns: Sequence[Column], values: Mapping[str, Any]) -> Batch:
        """Build a batch from descriptions and their arrays, in this order."""
        arrays = [to_arrow(column, values[column.name]) for column in columns]
        schema = pa.schema([field_of(column) for column in columns])
        return cls(pa.Table.from_arrays(arrays, schema=schema))

    def __len__(self) -> int:
        return self._table.num_rows

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order."""
        return self._table.column_names

    @property
    def schema(self) -> Any:
        """The Arrow schema, for readers; opaque outside this room."""
        return self._table.schema

    @property
    def nbytes(self) -> int:
        """Size in memory, bytes."""
        return self._table.nbytes

    @property
    def columns(self) -> dict[str, Column]:
        """Descriptions of the columns, in order."""
        return {field.name: column_of(field) for field in self._table.schema}

    @property
    def ids(self) -> np.ndarray:
        """The ids, object [n] of str."""
        return self["id"]

    @property
    def origins(self) -> np.ndarray:
        """The ids of the unaugmented tracks: `origin`, or `id` where that is null."""
        if "origin" not in self.names:
            return self.ids
        pairs = zip(self["origin"], self.ids, strict=True)
        return np.array([own if origin is None else origin for origin, own in pairs], dtype=object)

    def __contains__(self, name: str) -> bool:
        return name in self._table.column_names

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column in the numpy form of its kind; a missing one is a `UsageError`."""
        self.require(name)
        field = self._table.schema.field(name)
        return to_numpy(self._table.column(name), column_of(field))

    def null_count(self, name: str) -> int:
        """Return in how many rows a column is null; of features this reads no numbers."""
        return int(self._table.column(name).null_count)

    def integers(self, name: str) -> list[int | None]:
        """Return an integer column exactly, also beyond 2**53, where float64 has gaps."""
        return self._table.column(name).to_pylist()

    def require(self, *names: str) -> None:
        """Raise a `UsageError` unless all these columns are there."""
        for name in names:
            if name not in self:
                raise UsageError(f"no column {name!r} in the table: it has {', '.join(self.names)}")

    def get(self, name: str, default: Any = None) -> np.ndarray:
        """Return a column, or `default` in every row when the table lacks it."""
        if name in self:
            return self[name]
        return np.full(len(self), default, dtype=object if default is None else None)

    def take(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return these rows, in this order."""
        return Batch(self._table.take(pa.array(np.asarray(indices, dtype=np.int64))))

    def without(self, names: Iterable[str]) -> Batch:
        """Return the batch without these columns; names it lacks are ignored."""
        return Batch(self._table.drop_columns([n for n in names if n in self]))

    def append(self, column: Column, values: Any) -> Batch:
        """Return the batch with one more column; an existing one is never overwritten silently."""
        if column.name in self:
            raise UsageError(
                f"the table already has a column {column.name!r}: name the new one with --as NAME"
            )
        return Batch(self._table.append_column(field_of(column), to_arrow(column, values)))

    def replace(self, column: Column, values: Any) -> Batch:
        """Return the batch with a column set, in its old place or, if new, at the end."""
        if column.name not in self:
            return self.append(column, values)
        index = self._table.schema.get_field_index(column.name)
        return Batch(self._table.set_column(index, field_of(column), to_arrow(column, values)))

    def renamed(self, names: Mapping[str, str]) -> Batch:
        """Return the batch with columns renamed."""
        return Batch(self._table.rename_columns([names.get(n, n) for n in self.names]))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as dicts of plain Python values (tensors as nested lists)."""
        arrays = {
            name: self._table.column(name).to_pylist()
            for name, column in self.columns.items()
            if column.kind != "other"
        }
        return [{name: arrays[name][i] for name in arrays} for i in range(len(self))]


class MemoryReader:
    """A table that is in memory already, read in batches like any other."""

    ROWS = 256

    def __init__(self, batch: Batch, steps: list[dict[str, Any]]) -> None:
        self._batch = batch
        self.schema = batch._table.schema
        self.provenance = steps
        self.failed = 0

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self._batch), self.ROWS):
            yield Batch(self._batch._table.slice(start, self.ROWS))


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Join batches of equal columns into one."""
    return Batch(pa.concat_tables([batch._table for batch in batches]).unify_dictionaries())

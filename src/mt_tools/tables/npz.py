"""NPZ: one array a column, no pickles, for numpy without Arrow.

Strings are unicode arrays; a multilabel column is an int8 multi-hot matrix (-1 in every place of an
unlabelled row) with `<column>__vocab` beside it; `<column>__null` marks the nulls of the rest.
Features in bytes have `<column>__levels` beside them: [scale, offset], see `tables.levels`.
`__meta__` is the JSON of kinds, roles, settings and provenance. A foreign NPZ lacks it: kinds are
then guessed from dtype and shape.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from typing import Any, BinaryIO

import numpy as np

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.tables import provenance
from mt_tools.tables.batch import Batch, MemoryReader, concatenate
from mt_tools.tables.columns import Column, guess_role
from mt_tools.tables.levels import Levels
from mt_tools.tables.parquet import broken

META = "__meta__"
SUFFIXES = ("__vocab", "__null", "__levels")


class NpzWriter:
    """Holds the table in memory, as NPZ has no other way, and writes it at the end."""

    def __init__(self, file: BinaryIO, steps: list[provenance.Step]) -> None:
        self._file = file
        self._steps = steps
        self._batches: list[Batch] = []

    def write(self, batch: Batch) -> None:
        """Add rows."""
        self._batches.append(batch)

    def finish(self, rows: int, failed: int) -> None:
        """Write every array; members are dated 1980, so equal tables are equal bytes."""
        arrays: dict[str, np.ndarray] = {}
        described = {}
        if self._batches:
            batch = concatenate(self._batches)
            for name, column in batch.columns.items():
                values = batch.integers(name) if column.kind == "integer" else batch[name]
                arrays.update(_encode(column, values))
                described[name] = {
                    "kind": column.kind, "role": column.role, "settings": column.settings,
                    "shape": list(column.shape), "half": column.half,
                }  # fmt: skip
                if column.transform:
                    described[name]["transform"] = column.transform
        meta = {"columns": described, "provenance": self._steps}
        arrays[META] = np.array(json.dumps(meta, sort_keys=True, ensure_ascii=False))
        # Not np.savez, for which a column called `file` would be an argument.
        with zipfile.ZipFile(self._file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        self._file.flush()

    def abort(self) -> None:
        """Write nothing."""


def _encode(column: Column, values: Any) -> dict[str, np.ndarray]:
    name = column.name
    match column.kind:
        case "string" | "boolean" | "integer":
            null = np.array([v is None for v in values], dtype=bool)
            type_ = {"string": str, "boolean": bool, "integer": np.int64}[column.kind]
            plain = [type_() if v is None else v for v in values]
            return {name: np.array(plain, dtype=type_), f"{name}__null": null}
        case "strings":
            vocabulary = sorted({tag for tags in values if tags is not None for tag in tags})
            place = {tag: i for i, tag in enumerate(vocabulary)}
            hot = np.zeros((len(values), len(vocabulary)), dtype=np.int8)
            for row, tags in enumerate(values):
                if tags is None:
                    hot[row] = -1
                else:
                    hot[row, [place[tag] for tag in tags]] = 1
            null = np.array([tags is None for tags in values], dtype=bool)
            words = np.array(vocabulary, dtype=np.str_)
            return {name: hot, f"{name}__vocab": words, f"{name}__null": null}
        case "number" | "vector" | "tensor":
            if column.levels is None:
                return {name: values.astype(np.float16) if column.half else values}
            levels = column.levels
            null = np.isnan(values.reshape(len(values), -1)).all(axis=1)
            values = values.copy()
            values[null] = levels.offset
            line = np.array([levels.scale, levels.offset])
            return {name: levels.encode(values), f"{name}__levels": line, f"{name}__null": null}
    raise UsageError(
        f"column {name!r} ({column.kind}) cannot be kept in NPZ: write .parquet or .arrow instead"
    )


def read_npz(file: str | BinaryIO, name: str) -> MemoryReader:
    """Read an NPZ file, ours or foreign."""
    try:
        with np.load(file, allow_pickle=False) as members:
            arrays = {member: members[member] for member in members.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise broken(name, "NPZ", error) from error
    if strange := [member for member, array in arrays.items() if isinstance(array, bytes)]:
        raise BrokenTable(
            f"{name}: a zip archive with {strange[0]}, not NPZ: expected arrays (.npy); a workbook "
            "has to be saved as CSV first"
        )
    meta = json.loads(str(arrays.pop(META))) if META in arrays else {}
    described = {
        key: Column(
            key,
            d["kind"],
            d["role"],
            d["settings"],
            tuple(d["shape"]),
            bool(d["half"]),
            transform=d.get("transform", ""),
        )
        for key, d in meta.get("columns", {}).items()
    }
    columns, values = [], {}
    for key, array in arrays.items():
        if key not in described and _beside(key) in arrays:
            continue
        column = described.get(key) or _guess(name, key, array, arrays)
        if f"{key}__levels" in arrays and array.dtype == np.uint8:
            scale, offset = arrays[f"{key}__levels"].tolist()
            column = dataclasses.replace(column, levels=Levels(scale, offset))
        columns.append(column)
        values[key] = _decode(column, array, arrays)
    if len({len(v) for v in values.values()}) > 1:
        sizes = ", ".join(f"{key} {len(v)}" for key, v in values.items())
        raise UsageError(f"{name}: arrays of unequal lengths ({sizes}): one row a track needed")
    return MemoryReader(Batch.build(columns, values), meta.get("provenance", []))


def _beside(key: str) -> str | None:
    """Return the array that `<array>__vocab` or another suffix belongs to; None for others."""
    return next((key.removesuffix(s) for s in SUFFIXES if key.endswith(s)), None)


def _guess(path: str, name: str, array: np.ndarray, arrays: dict[str, np.ndarray]) -> Column:
    """Describe an array of a foreign NPZ."""
    shape = array.shape[1:]
    if f"{name}__vocab" in arrays:
        kind, shape = "strings", ()
    elif array.ndim == 1 and array.dtype.kind in "US":
        kind = "string"
    elif array.ndim == 1 and array.dtype.kind == "b":
        kind = "boolean"
    elif array.ndim == 1 and array.dtype.kind in "iu":
        kind = "integer"
    elif array.ndim == 1 and array.dtype.kind == "f":
        kind = "number"
    elif array.ndim == 2 and array.dtype.kind in "fiu":
        kind = "vector"
    elif array.ndim > 2 and array.dtype.kind in "fiu":
        kind = "tensor"
    else:
        raise UsageError(
            f"{path}: array {name!r} is {array.dtype} {array.shape}; expected one row a track of "
            "strings, numbers, vectors or tensors"
        )
    return Column(name, kind, guess_role(name, kind), shape=tuple(shape))


def _decode(column: Column, array: np.ndarray, arrays: dict[str, np.ndarray]) -> Any:
    null = arrays.get(f"{column.name}__null")
    if column.kind == "strings":
        words = [str(w) for w in arrays[f"{column.name}__vocab"]]
        result = np.empty(len(array), dtype=object)
        for row, hot in enumerate(array):
            unknown = null[row] if null is not None else bool((hot < 0).any())
            result[row] = None if unknown else [words[i] for i in np.flatnonzero(hot == 1)]
        return result
    if column.kind in ("string", "boolean", "integer"):
        values = array.tolist()
        if array.dtype.kind == "S":
            values = [v.decode() for v in values]
        if null is not None:
            values = [None if n else v for v, n in zip(values, null, strict=True)]
        return values
    if column.levels is not None:
        array = column.levels.decode(array)
        if null is not None:
            array[null] = np.nan
    return array

"""JSON lines, JSON and CSV: tables for eyes, `jq` and spreadsheets.

JSON lines: a row a line; `<task>_score` is an object tag -> score in vocabulary order; what is not
finite is null. JSON: one array of the same objects. CSV: lists are `a|b`, an empty cell is null,
`|` is the empty list, a bar inside a tag is `\\|`; scores get a column a tag, `<task>_score.<tag>`;
tensors and embeddings are refused. `tables.delimited` reads CSV.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.tables import provenance
from mt_tools.tables.batch import Batch, MemoryReader
from mt_tools.tables.columns import RESERVED, Column, guess_role


def plain(value: Any) -> Any:
    """Return a JSON value: arrays as lists, whole numbers as integers, not finite as null."""
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.tolist()]
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            return None
        # The shortest text that reads back as the same number of its own width.
        return float(str(value)) if isinstance(value, np.floating) else value
    if isinstance(value, np.integer):
        return int(value)
    return value


def scores_of(column: Column, value: np.ndarray) -> Any:
    """Return a score vector as an object tag -> score in vocabulary order."""
    vocabulary = column.settings.get("vocabulary")
    if vocabulary is None:
        return plain(value)
    pairs = zip(vocabulary, value, strict=True)
    return {tag: plain(np.float32(score)) for tag, score in pairs}


def json_rows(batch: Batch) -> Iterator[dict[str, Any]]:
    """Return the rows as JSON objects."""
    arrays = []
    for name, column in batch.columns.items():
        if column.kind in ("audio", "other"):
            raise UsageError(
                f"column {name!r} ({column.kind}) cannot be kept in JSON lines: write .parquet "
                "or .arrow instead"
            )
        values: Any = batch.integers(name) if column.kind == "integer" else batch[name]
        arrays.append((column, values))
    for row in range(len(batch)):
        item: dict[str, Any] = {}
        for column, values in arrays:
            value = values[row]
            if column.kind in ("vector", "tensor") and np.isnan(value).all():
                item[column.name] = None
            elif column.kind == "vector" and column.role == "prediction":
                item[column.name] = scores_of(column, value)
            else:
                item[column.name] = plain(value)
        yield item


class JsonLinesWriter:
    """Writes a row a line, flushed a batch at a time."""

    def __init__(self, file: BinaryIO, steps: list[provenance.Step]) -> None:
        self._file = file

    def write(self, batch: Batch) -> None:
        """Write rows."""
        for row in json_rows(batch):
            self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def finish(self, rows: int, failed: int) -> None:
        """Flush; JSON lines have no end mark."""
        self._file.flush()

    def abort(self) -> None:
        """Lines already written are whole lines."""


class JsonWriter:
    """Writes one JSON array, a row a line."""

    def __init__(self, file: BinaryIO, steps: list[provenance.Step]) -> None:
        self._file = file
        self._before = b"[\n"

    def write(self, batch: Batch) -> None:
        """Write rows."""
        for row in json_rows(batch):
            self._file.write(self._before + json.dumps(row, ensure_ascii=False).encode())
            self._before = b",\n"

    def finish(self, rows: int, failed: int) -> None:
        """Close the array."""
        self._file.write(b"[]\n" if self._before == b"[\n" else b"\n]\n")
        self._file.flush()

    def abort(self) -> None:
        """Leave the array open: no parser takes it for whole."""


class CsvWriter:
    """Writes a header and a row a line."""

    def __init__(self, file: BinaryIO, steps: list[provenance.Step]) -> None:
        self._file = file
        self._header: list[str] | None = None

    def write(self, batch: Batch) -> None:
        """Write rows."""
        cells: dict[str, list[str]] = {}
        for name, column in batch.columns.items():
            values: Any = batch.integers(name) if column.kind == "integer" else batch[name]
            cells.update(_csv_cells(column, values))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if self._header is None:
            self._header = list(cells)
            writer.writerow(self._header)
        writer.writerows(zip(*cells.values(), strict=True))
        self._file.write(text.getvalue().encode())
        self._file.flush()

    def finish(self, rows: int, failed: int) -> None:
        """Flush; an empty table is a header without rows."""
        if self._header is None:
            self._file.write(b"id\n")
        self._file.flush()

    def abort(self) -> None:
        """Lines already written are whole lines."""


def _csv_cells(column: Column, values: Any) -> dict[str, list[str]]:
    name = column.name
    match column.kind:
        case "string" if name in RESERVED:
            return {name: ["" if v is None else v for v in values]}
        case "string":  # a bare bar would make it a list
            return {name: ["" if v is None else _escaped(v) if "|" in v else v for v in values]}
        case "boolean":
            return {name: ["" if v is None else str(v).lower() for v in values]}
        case "integer":
            return {name: ["" if v is None else str(v) for v in values]}
        case "number":
            return {name: ["" if not np.isfinite(v) else repr(float(v)) for v in values]}
        case "strings":
            return {name: ["" if v is None else _join(v) for v in values]}
        case "vector" if column.role == "prediction" and "vocabulary" in column.settings:
            return {
                f"{name}.{tag}": ["" if np.isnan(v) else str(v) for v in values[:, i]]
                for i, tag in enumerate(column.settings["vocabulary"])
            }
    raise UsageError(
        f"column {name!r} ({column.kind}) does not fit into CSV: write .parquet, .npz or .arrow"
    )


def _join(tags: list[str]) -> str:
    if not tags:
        return "|"
    return "|".join(map(_escaped, tags))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def read_json_lines(file: Iterable[bytes], name: str) -> MemoryReader:
    """Read rows of JSON lines, or of one JSON array.

    A score object becomes a vector with its vocabulary again.
    """
    lines = iter(file)
    first = next((line for line in lines if line.strip()), b"")
    if first.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
        return _read_json(b"".join([first, *lines]), name)
    rows = []
    for number, line in enumerate(itertools.chain([first], lines), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BrokenTable(
                f"{name}: line {number} is not JSON ({error}): expected one object a line"
            ) from error
        if not isinstance(row, dict):
            raise BrokenTable(f"{name}: line {number} is not an object of column: value")
        rows.append(row)
    return _from_rows(name, rows)


def _read_json(text: bytes, name: str) -> MemoryReader:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise BrokenTable(f"{name}: not JSON ({error}): expected an array of objects") from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise BrokenTable(f"{name}: item {number} is not an object of column: value")
    return _from_rows(name, rows)


def _from_rows(name: str, rows: list[dict[str, Any]]) -> MemoryReader:
    names = list(dict.fromkeys(key for row in rows for key in row))
    return _from_cells(name, {key: [row.get(key) for row in rows] for key in names})


def _from_cells(table: str, cells: dict[str, list[Any]]) -> MemoryReader:
    """Build a table whose columns are inferred from all of their JSON values."""
    columns, values = [], {}
    for name, given in cells.items():
        column, values[name] = infer(table, name, given)
        columns.append(column)
    try:
        return MemoryReader(Batch.build(columns, values), [])
    except ValueError as error:  # half a surrogate pair, as JSON can hold
        raise BrokenTable(f"{table}: a value is not text or a number ({error})") from error


def infer(table: str, name: str, cells: list[Any]) -> tuple[Column, Any]:
    """Return the column that holds these JSON values, and the values in its form."""
    given = [cell for cell in cells if cell is not None]
    kind = _json_kind(given)
    if name in RESERVED and (not given or (kind, RESERVED[name]) == ("integer", "number")):
        kind = RESERVED[name]
    if kind == "scores":
        return _score_column(name, cells)
    if kind in ("vector", "tensor"):
        try:
            arrays = [None if c is None else np.array(c, dtype=np.float32) for c in cells]
        except (ValueError, TypeError) as error:
            raise UsageError(f"{table}: column {name!r} has lists of unequal lengths") from error
        shapes = {a.shape for a in arrays if a is not None}
        if len(shapes) > 1:
            raise UsageError(f"{table}: column {name!r} has rows of shapes {sorted(shapes)}")
        shape = shapes.pop()
        filled = [np.full(shape, np.nan, np.float32) if a is None else a for a in arrays]
        return Column(name, kind, guess_role(name, kind), shape=shape), np.stack(filled)
    if kind == "mixed":
        raise UsageError(
            f"{table}: column {name!r} has {', '.join(sorted({type(c).__name__ for c in given}))}: "
            "expected texts, numbers, true and false, lists of one of them, or tag -> score"
        )
    return Column(name, kind, guess_role(name, kind)), cells


def _json_kind(given: list[Any]) -> str:
    def every(*types: type) -> bool:
        return all(isinstance(v, types) for v in given)

    if every(bool):
        return "boolean" if given else "string"
    if every(str):
        return "string"
    if every(int) and not any(isinstance(v, bool) or abs(v) >= 2**63 for v in given):
        return "integer"
    if every(int, float) and not any(isinstance(v, bool) for v in given):
        return "number"
    if every(dict) and all(isinstance(s, int | float | None) for v in given for s in v.values()):
        return "scores"
    if every(list):
        items = [item for v in given for item in v]
        if all(isinstance(item, str) for item in items):
            return "strings"
        if all(item is None or isinstance(item, int | float) for item in items):
            return "vector"
        if all(isinstance(item, list) for item in items):
            return "tensor"
    return "mixed"


def _score_column(name: str, cells: list[Any]) -> tuple[Column, np.ndarray]:
    vocabulary = list(dict.fromkeys(tag for cell in cells if cell for tag in cell))
    nan = float("nan")
    rows = [
        [nan if cell is None or cell.get(tag) is None else cell[tag] for tag in vocabulary]
        for cell in cells
    ]
    column = Column(name, "vector", "prediction", {"vocabulary": vocabulary}, (len(vocabulary),))
    return column, np.array(rows, dtype=np.float32).reshape(len(cells), len(vocabulary))

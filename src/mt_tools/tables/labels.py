"""Files of labels: read as they were published, brought to a row a key, put beside a table.

Goal: CSV, TSV and all that the wire can be, up to tens of millions of rows (a row a listener and
song), in a few bytes a cell. What is text stays text until a column is called what it will be
called: an artist's number becomes a `group`, which is text, and a `fold` is a number.

Conventions: rows are numbered from 0 in the order of the file, keys (tracks, songs) too; -1 is
none. Lists of tags stay codes until they are put beside a table.
"""

from __future__ import annotations

import dataclasses
import io
import os
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.tables.batch import Batch, column_of, field_of, to_numpy
from mt_tools.tables.columns import RESERVED, Column, guess_role
from mt_tools.tables.delimited import read_texts, typed, whole
from mt_tools.tables.provenance import Step
from mt_tools.tables.source import (
    Peeked,
    Reader,
    _conform,
    _Fixed,
    _usable,
    open_stream,
    open_table,
    sniff,
)

Codes = NDArray[np.int32]

_SLICE_ROWS = 1 << 20
_LISTED = 20
_BITS = {"0": 0, "1": 1, "false": 0, "true": 1, "0.0": 0, "1.0": 1}


def read_labels(path: str, header: Sequence[str] = ()) -> Labels:
    """Read a file of labels, or stdin for `-`.

    Text that is no JSON is CSV or TSV; `header` names its columns where its first line does not.
    Raises `UsageError` for a file that is not there and `BrokenTable` for what is no table.
    """
    name = "stdin" if path == "-" else path
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder: expected a file of labels")
    try:
        file: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a file of labels") from error
    with file:
        peeked = Peeked(file)
        if sniff(peeked.head) == "paths":
            texts = read_texts(io.BufferedReader(peeked, 1 << 20), name, header, trim=True)
            return Labels(name, {key: (None, cells) for key, cells in texts.items()})
        if header:
            raise UsageError(f"--header has no effect on {name}, whose columns have names")
        if path != "-" and os.path.isfile(path):
            return _typed(name, open_table(path))
        return _typed(name, open_stream(peeked, None, name))


def _typed(name: str, reader: Reader) -> Labels:
    """Read a table of the wire."""
    fixed = _Fixed(reader)
    fields = [f.with_type(pa.string()) if f.type == pa.string_view() else f for f in fixed.schema]
    schema = pa.schema(fields)
    tables = [_conform(batch, schema, 0)._table for batch in fixed]
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    columns = {field.name: (field, table.column(field.name)) for field in fields}
    return Labels(name, columns, fixed.provenance)


def listed(names: Iterable[str]) -> str:
    """Return the names of columns for a message: data sets may have hundreds."""
    known = list(names)
    more = [f"and {len(known) - _LISTED} more"] if len(known) > _LISTED else []
    return ", ".join([*known[:_LISTED], *more])


def read_map(path: str) -> dict[str, str]:
    """Read what is to be called how: a line `from,to` for each, in CSV or TSV; "" = no longer.

    A first line of just these two words is a header. Raises `UsageError` for a name that is to
    become two.
    """
    try:
        with open(path, "rb") as file:
            texts = read_texts(file, path, ("from", "to"), trim=True)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a file of lines from,to") from error
    names: dict[str, str] = {}
    for old, new in zip(texts["from"].to_pylist(), texts["to"].to_pylist(), strict=True):
        if names.setdefault(old, new) != new:
            raise UsageError(f"{path}: {old!r} becomes both {names[old]!r} and {new!r}: keep one")
    if names.get("from") == "to":
        del names["from"]
    return names


class Labels:
    """The rows of a file of labels, in memory.

    `columns` are (field, values) by name; without a field the values are texts as they are written,
    whose type is found when they get their name. `provenance` is the history of a table.
    """

    def __init__(
        self,
        name: str,
        columns: Mapping[str, tuple[pa.Field | None, Any]],
        steps: Sequence[Step] = (),
    ) -> None:
        self.name = name
        self.provenance = list(steps)
        self._columns = columns

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self._columns)

    def __len__(self) -> int:
        return max((len(values) for _, values in self._columns.values()), default=0)

    def _column(self, name: str) -> tuple[pa.Field | None, Any]:
        if name not in self._columns:
            raise UsageError(
                f"no column {name!r} in {self.name}: it has {listed(self.names)} (if those are "
                "its first row, name its columns with --header)"
            )
        return self._columns[name]

    def words(self, name: str) -> tuple[Codes, list[str]]:
        """Return a column as codes, [n], -1 = null, and the texts that they stand for.

        Whole numbers are texts too; raises `UsageError` for other numbers, lists and vectors.
        """
        field, values = self._column(name)
        if field is None:
            texts = values.dictionary.to_pylist()
            codes = values.indices.to_numpy(zero_copy_only=False)
            null = np.array([not text for text in texts], bool)
            return (np.where(null[codes], np.int32(-1), codes) if null.any() else codes), texts
        column = column_of(field)
        if column.kind == "number":
            numbers = to_numpy(values, column)
            null = np.isnan(numbers)
            if (numbers[~null] == np.floor(numbers[~null])).all():
                values = pa.array(np.where(null, 0, numbers).astype(np.int64), mask=null)
                column = Column(name, "integer")
        if column.kind not in ("string", "integer"):
            raise UsageError(
                f"{name} of {self.name} is of kind {column.kind}: expected texts or whole numbers"
            )
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        if isinstance(values, pa.ChunkedArray):
            values = whole(values.unify_dictionaries())
        codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        return codes, [str(text) for text in values.dictionary.to_pylist()]

    def bits(self, name: str) -> NDArray[np.int8] | None:
        """Return a column of nothing but 0 and 1 (false and true), -1 = null; None for others."""
        field, values = self._column(name)
        if field is None:
            texts = values.dictionary.to_pylist()
            said = np.array([_BITS.get(text, 2 if text else -1) for text in texts], np.int8)
            found = said[values.indices.to_numpy(zero_copy_only=False)]
        elif column_of(field).kind in ("boolean", "integer", "number"):
            numbers = to_numpy(values.cast(pa.float64()), Column(name, "number"))
            other = np.where(np.isnan(numbers), -1, 2)
            found = np.where(np.isin(numbers, (0, 1)), numbers, other).astype(np.int8)
        else:
            return None
        return None if (found == 2).any() or not (found >= 0).any() else found

    def batch(
        self,
        chosen: Mapping[str, str],
        wide: Mapping[str, Mapping[str, str]],
        as_text: Container[str] = (),
    ) -> Batch:
        """Return columns under new names, {new: old}, those of `as_text` as they are written.

        `wide` are lists made of columns of 0 and 1, {new: {tag: old}}: the tags of which a row has
        1, null where it has neither. Raises `UsageError` for a reserved name of another kind.
        """
        fields, arrays = [], []
        for new, old in chosen.items():
            field, values = self._column(old)
            if field is None and new in as_text:
                field, values = field_of(_named(new, "string")), _nulled(values)
            elif field is None:
                column, values = typed(self.name, new, values)
                field = field_of(column)
            elif RESERVED.get(new) == "string" and column_of(field).kind == "integer":
                field, values = field_of(_named(new, "string")), values.cast(pa.string())
            fields.append(_usable(field.with_name(new)))
            arrays.append(values)
        for new, tags in wide.items():
            fields.append(_usable(field_of(_named(new, "strings"))))
            arrays.append(self._wide(tags))
        schema = pa.schema([f.with_type(a.type) for f, a in zip(fields, arrays, strict=True)])
        return Batch(pa.Table.from_arrays(arrays, schema=schema))

    def gaps(self, names: Sequence[str]) -> int:
        """Return in how many rows some of these columns of 0 and 1 are null, but not all."""
        null = [bits < 0 for bits in map(self.bits, names) if bits is not None]
        return int((np.any(null, axis=0) & ~np.all(null, axis=0)).sum()) if null else 0

    def _wide(self, tags: Mapping[str, str]) -> pa.Array:
        columns = []
        for name in tags.values():
            bits = self.bits(name)
            if bits is None:
                raise UsageError(f"{name} of {self.name} is no column of 0 and 1")
            columns.append(bits)
        matrix = np.stack(columns, axis=1)
        rows, codes = np.nonzero(matrix == 1)
        counts = np.bincount(rows, minlength=len(matrix))
        return _lists(counts, codes, list(tags), np.all(matrix < 0, axis=1))


def _named(name: str, kind: str) -> Column:
    return Column(name, kind, guess_role(name, kind))


def _nulled(texts: pa.DictionaryArray) -> pa.Array:
    words = [text or None for text in texts.dictionary.to_pylist()]
    return pa.array(words, pa.string()).take(texts.indices)


def _lists(
    counts: NDArray[np.int64], codes: NDArray[Any], words: list[str], null: NDArray[np.bool_]
) -> pa.Array:
    """Return lists of words: `counts` [n] of them a row, by `codes` in the order of the rows."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    coded = pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32, copy=False)), words)
    mask = pa.array(null) if null.any() else None
    return pa.ListArray.from_arrays(pa.array(offsets), coded, mask=mask)


def row_a_key(
    batch: Batch,
    keys: Codes,
    names: Sequence[str],
    collected: Mapping[str, tuple[Codes, list[str]]],
    where: str,
) -> tuple[Batch, int]:
    """Return a row for each key, and how many rows said again what another one says.

    `keys` [n] are the key of each row, -1 = none, whose texts are `names`. Columns of `batch` must
    say the same in all rows of a key; `collected` columns, as `Labels.words` returns them, become
    lists of all that they say of it, each once, in the order of the file. Raises `UsageError` for
    rows that contradict each other.
    """
    first, repeats = _first_rows(keys, len(names))
    for start in range(0, len(repeats), _SLICE_ROWS):
        rows = repeats[start : start + _SLICE_ROWS]
        for name in batch.names:
            column, leaders = batch._table.column(name), first[keys[rows]]
            same = _same(column.take(pa.array(rows)), column.take(pa.array(leaders)), batch, name)
            if not same.all():
                row = rows[np.flatnonzero(~same)[0]]
                several = len(np.unique(keys[repeats]))
                one, other = (column[int(r)].as_py() for r in (leaders[rows == row][0], row))
                raise UsageError(
                    f"{several:,} of {len(names):,} keys stand on several rows of {where}, which "
                    f"do not all say the same: {names[keys[row]]!r} has {name} {one!r} and "
                    f"{other!r}; gather them in a list with --collect {name}, or choose --columns "
                    "without it"
                )
    table = batch._table.take(pa.array(first)) if batch.names else None
    for name, (codes, words) in collected.items():
        array = _collected(keys, codes, words, len(names))
        field = _usable(field_of(_named(name, "strings"))).with_type(array.type)
        table = (
            pa.Table.from_arrays([array], schema=pa.schema([field]))
            if table is None
            else table.append_column(field, array)
        )
    assert table is not None
    return Batch(table.combine_chunks()), 0 if collected else len(repeats)


def _first_rows(keys: Codes, count: int) -> tuple[Codes, Codes]:
    """Return the first row of each key, [count], and all other rows that have one."""
    rows = np.arange(len(keys), dtype=np.int32)
    first = np.full(count + 1, -1, np.int32)  # the last is that of no key
    first[keys[::-1]] = rows[::-1]  # the last one written is the first in the file
    return first[:-1], np.flatnonzero((first[keys] != rows) & (keys >= 0)).astype(np.int32)


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray, batch: Batch, name: str) -> NDArray[Any]:
    """Return whether two columns say the same, row by row; null says the same as null."""
    column = batch.columns[name]
    if column.kind in ("vector", "tensor"):
        equal = np.isclose(to_numpy(one, column), to_numpy(other, column), 0, 0, equal_nan=True)
        return equal.reshape(len(equal), -1).all(axis=1)
    if column.kind in ("audio", "other"):
        return np.array([a == b for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True)])
    if column.kind == "strings":
        one, other = (pc.binary_join(plain_lists(side), "\x1f") for side in (one, other))
    both = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(pc.fill_null(pc.equal(one, other), False), both).to_numpy()


def _collected(keys: Codes, codes: Codes, words: list[str], count: int) -> pa.Array:
    """Return a list a key of the words on its rows, each once, in the order of the rows."""
    distinct: dict[str, int] = {}
    code_of = np.array([distinct.setdefault(word, len(distinct)) for word in words], np.int32)
    given = (keys >= 0) & (codes >= 0)
    keys, codes = keys[given], code_of[codes[given]]
    pairs = keys.astype(np.int64) * len(distinct) + codes
    order = np.argsort(pairs, kind="stable").astype(np.int32)
    pairs = pairs[order]
    again = np.flatnonzero(pairs[1:] == pairs[:-1]) + 1
    new = np.ones(len(keys), bool)
    new[order[again]] = False
    del pairs, order, again
    keys, codes = keys[new], codes[new]
    counts = np.bincount(keys, minlength=count)
    codes = codes[np.argsort(keys, kind="stable")]
    return _lists(counts, codes, list(distinct), counts == 0)


def plain_lists(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return lists of coded texts as lists of texts; any other column as it is."""
    coded = pa.types.is_list(column.type) and pa.types.is_dictionary(column.type.value_type)
    return column.cast(pa.list_(pa.string())) if coded else column


def joint(table: Column, labels: Column) -> Column:
    """Return the column that holds what a table has and, in some rows, what labels say.

    Raises `UsageError` where one column cannot hold both.
    """
    if {table.kind, labels.kind} == {"integer", "number"}:
        return dataclasses.replace(table, kind="number")
    if dataclasses.replace(labels, role=table.role) != table or table.kind == "other":
        raise UsageError(
            f"the table has {table.name} ({table.kind}) already, and the labels' {labels.name} "
            f"({labels.kind}) is another kind of thing, or made otherwise: take it under another "
            "name with --columns NEW=COLUMN"
        )
    return table


def beside(batch: Batch, labels: Batch, rows: Codes) -> Batch:
    """Return the batch with the columns of `labels`, of which `rows` [n] are taken, -1 = null.

    A column that the batch has already is set in those rows, and stays as it is in the others.
    """
    indices = pa.array(rows, mask=rows < 0)
    table = batch._table
    fields = {field.name: field for field in table.schema}
    columns = dict(zip(fields, table.columns, strict=True))
    for field in labels._table.schema:
        name = field.name
        column = plain_lists(labels._table.column(name).take(indices))
        field = field.with_type(column.type)
        if name in fields:
            field = field_of(joint(column_of(fields[name]), column_of(field)))
            sides = [_as(side, field.type) for side in (columns[name], column)]
            both = pa.chunked_array([chunk for side in sides for chunk in side.chunks], field.type)
            chosen = np.arange(len(rows)) + np.where(rows >= 0, len(rows), 0)
            column = both.take(pa.array(chosen))
        fields[name], columns[name] = field, column
    schema = pa.schema(list(fields.values()), table.schema.metadata)
    return Batch(pa.Table.from_arrays(list(columns.values()), schema=schema))


def _as(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == type_ else column.cast(type_)

"""CSV and TSV: tables of text, whose columns get the type that all of their cells have.

Goal: one reader for what this package writes as CSV (lists are `a|b`, an empty cell is null, `|` is
the empty list, a bar inside a tag is `\\|`, scores have a column a tag) and for the label files of
data sets, tens of millions of rows among them: a column is held as the texts that are in it and a
number a row, and types are found from the texts alone.

The first line says what separates the cells: a tab where it has one, else a comma, else a
semicolon; what stands in quotation marks says nothing, and a first line `sep=;` says it outright.
Between tabs a quotation mark is a mark like any other, unless the first line begins with one. A
number is only what a number prints as: `007` and `1_000` are names.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv

from mt_tools.errors import BrokenTable
from mt_tools.tables.batch import Batch, MemoryReader, field_of, to_arrow
from mt_tools.tables.columns import RESERVED, Column
from mt_tools.tables.text import infer

_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")
_NUMBER = re.compile(r"(?i:nan)|-?(0|[1-9]\d{0,17})(\.\d*)?([eE][-+]?\d+)?")
_BLOCK_BYTES = 16 << 20
_CODED = pa.dictionary(pa.int32(), pa.string())


def read_csv(file: BinaryIO, name: str) -> MemoryReader:
    """Read CSV or TSV; only `--from csv` or the ending asks for it, as any text looks like CSV."""
    texts = read_texts(file, name)
    fields: dict[str, pa.Field] = {}
    arrays: dict[str, pa.Array] = {}
    for key, cells in texts.items():
        task, dot, _ = key.partition("_score.")
        if dot and f"{task}_score" in fields:
            continue
        key = f"{task}_score" if dot else key
        column, arrays[key] = _scores(name, key, texts) if dot else typed(name, key, cells)
        fields[key] = field_of(column)
    schema = pa.schema(list(fields.values()))
    return MemoryReader(Batch(pa.Table.from_arrays(list(arrays.values()), schema=schema)), [])


def read_texts(
    file: BinaryIO, name: str, header: Sequence[str] = (), *, trim: bool = False
) -> dict[str, pa.DictionaryArray]:
    """Read the columns of a file as texts, an empty cell as "".

    `header` names the columns of a file whose first line does not; `trim` takes the blanks around
    names and cells away, and columns without a name: a spreadsheet's empty ones, pandas's index.
    Raises `BrokenTable` for what is not such a table.
    """
    line, said, rest = _opened(file, name)
    separator = said or _separator(line)
    quoted = separator != "\t" or line.startswith('"')
    reader = csv.reader(
        [line],
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    try:
        cells = next(reader, [])
    except csv.Error as error:
        raise BrokenTable(f"{name}: not CSV ({error}): make it again") from error
    names = list(header) or [cell.strip() if trim else cell for cell in cells]
    if trim and not header:
        # A name that no line of text can hold stands for none until the column is left out.
        names = [key or f"\n{place}" for place, key in enumerate(names)]
    parts = [(_Counted(io.BytesIO(line.encode())), 0)] * bool(header)
    parts += [(_Counted(part), 1) for part in rest]
    if twice := repeated(names):
        raise BrokenTable(f"{name}: the header has {', '.join(twice)} twice: rename one of them")
    batches = [
        batch
        for part, above in parts
        for batch in _parsed(part, name, names, separator, quoted, above)
    ]
    schema = pa.schema([(key, _CODED) for key in names])
    table = pa.Table.from_batches(batches, schema=schema).unify_dictionaries()
    columns = {
        key: whole(column)
        for key, column in zip(names, table.columns, strict=True)
        if not (trim and key.startswith("\n"))
    }
    if quoted and sum(part.quotes for part, _ in parts) % 2:
        _refuse_open_quotation(name, columns.values())
    return {key: _trimmed(column) for key, column in columns.items()} if trim else columns


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that stand more than once, sorted."""
    return sorted(name for name, times in Counter(names).items() if times > 1)


def _opened(file: BinaryIO, name: str) -> tuple[str, str, list[BinaryIO]]:
    """Return the first line, the separator that a line above it names, and what follows."""
    first, rest = _first_line(file)
    said = re.fullmatch(rb"(?:\xef\xbb\xbf)?\"?sep=([\t,;])\"?\s*", first, re.IGNORECASE)
    if said:
        first, rest = _first_line(rest[0], rest[1:])
    try:
        line = first.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        raise BrokenTable(f"{name}: not UTF-8 text ({error}): convert it first") from error
    return line, said[1].decode() if said else "", rest


def _separator(line: str) -> str:
    """Return the first of tab, comma and semicolon that a line has outside of quotations."""
    outside = re.sub(r'"[^"]*"', "", line)
    return next((mark for mark in "\t,;" if mark in outside), ",")


def _refuse_open_quotation(name: str, columns: Iterable[pa.DictionaryArray]) -> None:
    """Raise `BrokenTable` where a file of oddly many quotation marks has cells of several lines."""
    for text in (text for column in columns for text in column.dictionary.to_pylist()):
        if "\n" in text:
            begin = text.splitlines()[0][:40]
            raise BrokenTable(
                f"{name}: a quotation mark is not closed, maybe before {begin!r}, and what follows "
                "it would be one cell: close it, or double it inside a cell"
            )


class _Counted:
    """A file that counts the quotation marks in what is read of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.quotes = 0
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.quotes += data.count(b'"')
        return data

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def _first_line(file: BinaryIO, more: Sequence[BinaryIO] = ()) -> tuple[bytes, list[BinaryIO]]:
    """Return the first line that is not blank, quoted line ends in it and all, and what follows."""
    line = b""
    for part in iter(file.readline, b""):
        line += part
        if line.strip() and (b"\t" in line or line.count(b'"') % 2 == 0):
            break
        line = line if line.strip() else b""
    head, end, tail = line.partition(b"\r")
    if end and tail.strip():  # the lines of an old Macintosh
        return head + b"\n", [io.BytesIO(tail), file, *more]
    return line, [file, *more]


def _parsed(
    file: _Counted, name: str, names: Sequence[str], separator: str, quoted: bool, above: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file that has no header, `above` which there are some others."""
    misfits: list[Any] = []

    def misfit(row: Any) -> str:
        misfits.append(row)
        return "error"

    options = pa.csv.ParseOptions(
        delimiter=separator,
        quote_char='"' if quoted else False,
        newlines_in_values=quoted,
        invalid_row_handler=misfit,
    )
    try:
        yield from pa.csv.open_csv(
            pa.PythonFile(file, mode="r"),
            read_options=pa.csv.ReadOptions(
                column_names=list(names), use_threads=False, block_size=_BLOCK_BYTES
            ),
            parse_options=options,
            convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(names, _CODED)),
        )
    except pa.ArrowInvalid as error:
        if str(error) == "Empty CSV file":
            return
        if misfits:
            row = misfits[0]
            raise BrokenTable(
                f"{name}: row {row.number + above} has {row.actual_columns} cells, the header has "
                f"{row.expected_columns}"
            ) from error
        if "UTF8" in str(error):
            raise BrokenTable(f"{name}: not UTF-8 text ({error}): convert it first") from error
        raise BrokenTable(f"{name}: not CSV ({error}): make it again") from error


def whole(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return coded texts, all chunks of which have the same dictionary, as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    if not column.num_chunks:
        return pa.array([], _CODED)
    codes = pa.concat_arrays([chunk.indices for chunk in column.chunks])
    return pa.DictionaryArray.from_arrays(codes, column.chunk(0).dictionary)


def _trimmed(column: pa.DictionaryArray) -> pa.DictionaryArray:
    texts = [text.strip() for text in column.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(column.indices, pa.array(texts, pa.string()))


def typed(table: str, name: str, cells: pa.DictionaryArray) -> tuple[Column, pa.Array]:
    """Return a column of texts as the column that they are when it is called `name`."""
    texts = cells.dictionary.to_pylist()
    column, values = infer(table, name, _values(name, texts))
    return column, to_arrow(column, values).take(cells.indices)


def _scores(
    table: str, name: str, texts: Mapping[str, pa.DictionaryArray]
) -> tuple[Column, pa.Array]:
    """Return `<task>_score.<tag>` columns as the one of score vectors that they were."""
    tags = {}
    for key, cells in texts.items():
        if key.startswith(f"{name}."):
            said = _values(key, cells.dictionary.to_pylist())
            tags[key.removeprefix(f"{name}.")] = [said[code] for code in cells.indices.to_pylist()]
    rows = [dict(zip(tags, row, strict=True)) for row in zip(*tags.values(), strict=True)]
    column, vectors = infer(table, name, rows)
    return column, to_arrow(column, vectors)


def _values(name: str, cells: list[str]) -> list[Any]:
    """Return what the cells of a column say, once all of them are seen."""
    given = [cell for cell in cells if cell]
    if RESERVED.get(name) == "string":
        return [cell or None for cell in cells]
    if any("|" in cell and (cell == "|" or len(_split(cell)) > 1) for cell in given):
        return [_split(cell) if cell else None for cell in cells]
    if given and all(cell in ("true", "false") for cell in given):
        return [cell == "true" if cell else None for cell in cells]
    for read, pattern in ((int, _INTEGER), (float, _NUMBER)):
        if all(pattern.fullmatch(cell) for cell in given):
            return [read(cell) if cell else None for cell in cells]
    return [(_split(cell)[0] if "|" in cell else cell) or None for cell in cells]


def _split(cell: str) -> list[str]:
    """Return the tags of a cell: what stands between bars that no backslash escapes."""
    if cell == "|":
        return []
    tags = [""]
    for escaped, bar, plain in re.findall(r"(?s)\\(.)|(\|)|(.)", cell):
        if bar:
            tags.append("")
        else:
            tags[-1] += escaped or plain
    return tags

"""What the readers of data sets share: the layout of a folder, text tables, and rows to batches.

A reader is a generator of rows: dicts with `id` or `path` (the POSIX path below the folder; the id
is the path where none is given), `group`, `part` (`train`, `valid`, `test`, a fold's number, or
None: in no part) and the label columns. `batches` makes them a table as the declaration has it.
"""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mt_tools.datasets.declaration import Dataset
from mt_tools.errors import UsageError
from mt_tools.sound.paths import path_to_text
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved

Row = dict[str, Any]

BATCH_ROWS = 1024
FOLDS = "folds"
"""The name of a split whose parts are numbers: the column `fold`."""

AUDIO = (".wav", ".mp3", ".au", ".flac", ".ogg", ".opus", ".m4a", ".aif", ".aiff")


def columns_of(data: Dataset, set_: str, split: str) -> list[Column]:
    """Return the columns of the table of a set and a split (either may be empty)."""
    columns = [reserved("id"), reserved("path")]
    if data.group:
        columns.append(reserved("group"))
    if split:
        columns.append(reserved("fold" if split == FOLDS else "split"))
    labels = data.labels_of.get(set_, tuple(data.labels))
    return columns + [Column(name, data.kinds.get(name, "string")) for name in labels]


def batches(
    data: Dataset, folder: Path, set_: str, split: str, rows: Iterable[Row]
) -> Iterator[Batch]:
    """Yield the rows as tables of at most `BATCH_ROWS` rows; a value that a row lacks is null."""
    columns = columns_of(data, set_, split)
    rows = iter(rows)
    while block := list(islice(rows, BATCH_ROWS)):
        values: dict[str, list[Any]] = {column.name: [] for column in columns}
        for row in block:
            path = row.get("path")
            name = str(path if row.get("id") is None else row["id"])
            row["id"] = unicodedata.normalize("NFC", path_to_text(name))
            row["path"] = path and path_to_text(os.path.join(folder, path))
            row["split"] = row["fold"] = row.pop("part", None)
            for column, cells in values.items():
                cells.append(row.get(column))
        yield Batch.build(columns, values)


def need(data: Dataset, folder: Path, *candidates: str) -> Path:
    """Return the first of these files or folders, below `folder`, that is there.

    Raises `UsageError` where none is.
    """
    for candidate in candidates:
        if (folder / candidate).exists():
            return folder / candidate
    wanted = " or ".join(candidates)
    advice = (
        f"type mt-fetch dataset {data.name} to see what to do by hand"
        if data.by_hand
        else f"get it with mt-fetch dataset {data.name} --to {folder}"
    )
    raise UsageError(f"{folder}: not {data.name} as it is published: no {wanted} in it; {advice}")


def below(folder: Path, path: Path) -> str:
    """Return the POSIX path of a file below the folder of the data set."""
    return path.relative_to(folder).as_posix()


def files_in(folder: Path, endings: Sequence[str] = AUDIO) -> Iterator[Path]:
    """Yield the files below a folder with one of these endings, by name; no hidden ones."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(tuple(endings)) and not name.startswith("."):
                yield Path(place, name)


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file without their ends; what is no UTF-8 is replaced."""
    with open(path, encoding="utf-8-sig", errors="replace", newline=None) as file:
        for line in file:
            yield line.rstrip("\n")


def cells(path: Path, delimiter: str = ",", *, quoted: bool = True) -> Iterator[list[str]]:
    """Yield the rows of a table of text as they are."""
    csv.field_size_limit(1 << 24)  # biographies in FMA's are longer than the default of 128 KiB
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        if quoted:
            yield from csv.reader(file, delimiter=delimiter)
        else:
            yield from csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE)


def table(
    path: Path, *columns: str, delimiter: str = ",", quoted: bool = True
) -> Iterator[dict[str, str]]:
    """Yield the rows of a table of text by the names in its first line, stripped.

    Raises `UsageError` where the first line lacks one of `columns`.
    """
    rows = cells(path, delimiter, quoted=quoted)
    names = [name.strip() for name in next(rows, [])]
    for column in columns:
        if column not in names:
            got = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise UsageError(
                f"{path}: no column {column!r}, it has {got or 'nothing'}: the file is not as it "
                "is published; get it again"
            )
    for row in rows:
        if row:
            yield dict(zip(names, row, strict=False))


def number(text: str | None) -> float | None:
    """Return a number; None for an empty cell and what is none."""
    try:
        return float(text) if text and text.strip() else None
    except ValueError:
        return None


def clean(text: str | None) -> str | None:
    """Return a cell without surrounding blanks and tabs; None for an empty one."""
    return " ".join(text.split()) or None if text else None

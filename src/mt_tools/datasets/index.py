"""Reading the published files of a declared data set into a table of tracks.

    for batch in read(dataset("gtzan"), Path("data/gtzan"), "", "fault-filtered"): ...

Each family of data sets has a module with its reader, `index(data, folder, set_, split)`, and the
maker of its tiny version, `tiny(data, folder)`; the declaration names both. Rows stand in a fixed
order, that of the published list or of the names of the files. A file that the published list has
and the folder lacks has its row all the same: who opens it will say so.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, batches
from mt_tools.errors import UsageError
from mt_tools.tables.batch import Batch


def read(data: Dataset, folder: Path, set_: str = "", split: str = "") -> Iterator[Batch]:
    """Yield the tracks of a data set that lies in `folder`, with labels, group and split.

    `set_` is one of its label sets (empty: the first), `split` one of its published splits (empty:
    the one that comes with it, if any). Rows that are in no part of the split have a null there.
    Raises `UsageError` for names that it does not have, at once, and for a folder that is not as
    published.
    """
    set_, split = chosen(data, set_, split)
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: no such folder: name the folder that {data.name} was unpacked in, or get "
            f"it with mt-fetch dataset {data.name}"
        )
    rows = _function(data.index)(data, folder, set_, split)
    return batches(data, folder, set_, split, _readable(data, folder, rows))


def _readable(data: Dataset, folder: Path, rows: Iterator[Row]) -> Iterator[Row]:
    """Yield the rows; a published file that is missing, cut or changed is one clear line."""
    try:
        yield from rows
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder}: {error.strerror}: {data.name} is not whole in {folder}; "
            "get it again"
        ) from error
    except (ValueError, LookupError, csv.Error) as error:
        said = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise UsageError(
            f"{folder}: the label files are not as {data.name} is published ({said}); get them "
            "again"
        ) from error


def chosen(data: Dataset, set_: str = "", split: str = "") -> tuple[str, str]:
    """Return the set and the split that are meant, each empty where the data set has none."""
    if set_ and set_ not in data.sets:
        known = f"expected {', '.join(data.sets)}" if data.sets else "it has one only: leave it out"
        raise UsageError(f"--set {set_}: no such set of {data.name}; {known}")
    if split and split not in data.splits:
        known = (
            f"expected {', '.join(data.splits)}"
            if data.splits
            else "none was published: draw one with mt-fetch split"
        )
        raise UsageError(f"--split {split}: no such split of {data.name}; {known}")
    return set_ or next(iter(data.sets), ""), split or data.official


def make_tiny(data: Dataset, folder: Path) -> None:
    """Write a few made files in the published layout of a data set, for tests and trials."""
    folder.mkdir(parents=True, exist_ok=True)
    _function(data.tiny)(data, folder)


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)

"""What the methods of mt-factor share: who is fitted on, whose words count together, the file.

Every method is a function `run(read, rows, columns, settings, fitted)`. `read()` begins the table
anew, with the columns that the method's `needed(columns, settings)` named, as often as it is
called; `rows` are the whole rows, to be read once and after that; `fitted` is what `--apply` named,
else None. It returns a `Made`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mt_tools.errors import NoRows, RunError, UsageError
from mt_tools.features.fitted import Fitted
from mt_tools.tables.atomic import atomic
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tables.fitted import FittedOn

Read = Callable[[], Iterable[Batch]]
Columns = Mapping[str, Column]
Owner = tuple[str, str | None]
"""Whose words are counted together: those of a group, or a track alone, in a part of the split."""


@dataclass(frozen=True)
class Made:
    """What a method made: what it fitted or was given, the rows with their target, and lines.

    `rows` is a generator; `notes` may grow until it has ended.
    """

    fitted: Fitted
    rows: Iterator[Batch]
    notes: list[str] = field(default_factory=list)


class TrainRows:
    """Which rows a method is fitted on, and a record of those that it was.

    They are the train rows where the table has splits, and all rows where it has none or with
    `ignore_split`. `read` must give the column `split`; `origins` of the rows that had a say go
    into `used`. Raises `NoRows` for a table without any.
    """

    def __init__(self, read: Read, ignore_split: bool) -> None:
        # To its end: a stream that is left half-way cannot be begun anew.
        marked = [any(part is not None for part in batch.get("split")) for batch in read()]
        if not marked:
            raise NoRows("the input had no rows: nothing to fit on")
        self._split = any(marked) and not ignore_split
        self._origins: list[str] = []
        self._parts: list[str | None] = []

    def of(self, batch: Batch) -> np.ndarray:
        """Return which rows of a batch are fitted on, bool [n]."""
        if not self._split:
            return np.ones(len(batch), dtype=bool)
        return np.array([part == "train" for part in batch.get("split")], dtype=bool)

    def used(self, batch: Batch, rows: np.ndarray) -> None:
        """Record that these rows (indices, or bool [n]) were fitted on."""
        self._origins += list(batch.origins[rows])
        self._parts += list(batch.get("split")[rows])

    def fitted_on(self) -> FittedOn:
        """Return which rows were fitted on."""
        return FittedOn.of(self._origins, self._parts)


def owners(batch: Batch, per: str) -> list[str]:
    """Return whose words each row's are: its own id, or that of its group.

    `per`: `track` or `group`. A track without a group is one alone, whose rows are those of its
    origin; "Various Artists" are no group. Raises `UsageError` where there are no groups.
    """
    if per == "track":
        return [str(id_) for id_ in batch.ids]
    from mt_tools.sound.info import VARIOUS

    if "group" not in batch:
        raise UsageError(
            "no column 'group' in the input, which says whose each track is: take it from a column "
            "such as artist, mt-fetch join TABLE TABLE --on id --columns group=artist"
        )
    pairs = zip(batch["group"], batch.origins, strict=True)
    return [
        f"id {own}" if group is None or group.casefold() in VARIOUS else f"group {group}"
        for group, own in pairs
    ]


def owners_in_parts(batch: Batch, train: TrainRows | None = None) -> list[Owner]:
    """Return the group that each row is of, and its part of the split, so that none tells another.

    With `train`, what is fitted on is all of one part, "train". Raises `UsageError` where there are
    no groups.
    """
    parts = batch.get("split")
    if train is not None:
        parts = np.where(train.of(batch), "train", parts)
    return list(zip(owners(batch, "group"), parts.tolist(), strict=True))


def write_fitted(path: str, fitted: Fitted) -> None:
    """Write what was fitted; the file appears whole or not at all."""
    with atomic(path) as file:
        file.write(fitted.to_bytes())


def read_fitted(path: str, *methods: str, option: str = "--apply") -> Fitted:
    """Read what one of these methods (any, where none is named) fitted.

    Raises `UsageError` for a file that there is not and for another method's, `BrokenTable` for
    what is no such file.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError as error:
        raise UsageError(f"{option} {path}: no such file") from error
    except OSError as error:
        raise RunError(f"{option} {path}: {error.strerror}") from error
    fitted = Fitted.from_bytes(content, f"{option} {path}")
    if methods and fitted.method not in methods:
        raise UsageError(
            f"{option} {path}: fitted by mt-factor {fitted.method}, expected "
            f"{' or '.join(methods)}: apply it with mt-factor {fitted.method}"
        )
    return fitted


def chosen_column(
    columns: Columns, chosen: str, fits: Callable[[Column], bool], what: str
) -> Column:
    """Return the column to work on: the chosen one, or the only one that fits.

    `what` says what fits, in the plural. Raises `UsageError` for a column that does not fit, and
    for none or several where none was chosen.
    """
    fitting = [column for column in columns.values() if fits(column)]
    there = ", ".join(column.name for column in fitting) or "none"
    if chosen:
        if chosen not in columns:
            raise UsageError(
                f"--column {chosen}: no such column; {what} are {there} of {', '.join(columns)}"
            )
        if columns[chosen] not in fitting:
            raise UsageError(
                f"--column {chosen}: expected {what}, got a {columns[chosen].kind} column; the "
                f"input has {there}"
            )
        return columns[chosen]
    if len(fitting) != 1:
        raise UsageError(f"{what} of the input are {there}: choose one with --column")
    return fitting[0]


def target(name: str, width: int, fitted: Fitted, **settings: Any) -> Column:
    """Return the column of a target: a vector, whose settings say what made it."""
    said = {"method": fitted.method, "digest": fitted.digest, **settings}
    return Column(name, "vector", "target", said, (width,))

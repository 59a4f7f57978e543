"""What a table holds: sizes, splits, labels, numbers and how they go together, features.

Source: the REG study describes its targets before it learns them (section 4.1). The rows pass by
once; what is kept of them are names, labels and numbers, never features.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.metrics import distributions
from mt_tools.report.distributions import Counts, Numbers, Picture
from mt_tools.stages.settings import DescribeSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved

COLUMNS = [
    reserved("id"),
    Column("column", "string"),
    Column("statistic", "string"),
    Column("label", "string"),
    Column("other", "string"),
    reserved("split"),
    Column("value", "number"),
    Column("text", "string"),
]

LISTED = 1000
"""Labels listed of a column where nothing is said."""
CORRELATED = 100
"""Columns of numbers whose correlations are computed at most."""

_NAMED = {
    "string": "multiclass", "boolean": "multiclass", "strings": "multilabel",
    "number": "regression", "integer": "regression", "vector": "distribution",
}  # fmt: skip
_CLASSES = ("string", "boolean")
_NUMBERS = ("number", "integer")
_COUNTED = ("sample_rate", "channels", "fold")  # numbers that are names
_NAMES = ("path",)  # texts of which each row has its own
_SUMMED = ("id", "group", "origin", "split")  # told of the table as a whole

Row = dict[str, Any]


@dataclass(frozen=True)
class Description:
    """A table described: `rows` for the wire, `picture` to draw, `notes` on what is left out."""

    rows: Batch
    picture: Picture
    notes: list[str]


def chosen(columns: Mapping[str, Column], settings: DescribeSettings) -> list[Column]:
    """Return the columns to describe; an unknown name raises `UsageError`."""
    for name in settings.column:
        if name not in columns:
            raise UsageError(f"--column {name}: no such column; the table has {', '.join(columns)}")
    return [columns[name] for name in settings.column or columns]


def described(
    batches: Iterable[Batch], columns: Mapping[str, Column], settings: DescribeSettings
) -> Description:
    """Describe the rows of a table that has these columns."""
    wanted = chosen(columns, settings)
    whole = _Whole()
    parts = {
        column.name: _PARTS.get(column.kind, _Other)(column)
        for column in wanted
        if column.name not in _SUMMED
    }
    parts |= {name: _Classes(columns[name]) for name in _COUNTED if name in parts}
    parts |= {name: _Other(columns[name]) for name in _NAMES if name in parts}
    for batch in batches:
        splits = batch.get("split")
        whole.take(batch, splits)
        for name, part in parts.items():
            part.take(batch, name, splits)
    limit = settings.top or LISTED
    rows = list(whole.rows(columns)) if not settings.column else []
    for part in parts.values():
        rows += part.rows(limit)
    numbers = {
        part.column.name: part.values() for part in parts.values()
        if isinstance(part, _Numbers) and part.column.role != "reserved"
    }  # fmt: skip
    notes = [note for part in parts.values() for note in part.notes()]
    if len(numbers) > CORRELATED:
        notes.append(
            f"{len(numbers)} columns of numbers: correlations are computed of {CORRELATED} at "
            "most, name them with --column"
        )
        numbers = {}
    pairs = distributions.correlations(numbers)
    for (one, other), found in pairs.items():
        for statistic, value in zip(("pearson", "spearman", "pairs"), found, strict=True):
            rows.append(_row(one, statistic, value, other=other))
    picture = Picture(
        [part.drawn() for part in parts.values() if isinstance(part, _Numbers)],
        [part.drawn() for part in parts.values() if isinstance(part, _Classes)],
        {pair: (found.pearson, found.spearman) for pair, found in pairs.items()},
    )
    return Description(_batch(rows), picture, notes)


def _row(
    column: str | None,
    statistic: str,
    value: float | None = None,
    *,
    label: str | None = None,
    other: str | None = None,
    split: str | None = None,
    text: str | None = None,
) -> Row:
    return {"column": column, "statistic": statistic, "label": label, "other": other,
            "split": split, "value": value, "text": text}  # fmt: skip


def _batch(rows: list[Row]) -> Batch:
    for row in rows:
        words = [row["column"] or "table", row["statistic"], row["label"], row["other"]]
        row["id"] = ".".join(word for word in words if word is not None)
        row["id"] += f"#{row['split']}" if row["split"] is not None else ""
    return Batch.build(COLUMNS, {c.name: [row[c.name] for row in rows] for c in COLUMNS})


@dataclass
class _Sums:
    """What is counted of all rows, or of those of one split."""

    rows: int = 0
    seconds: float = 0.0
    unknown: int = 0  # rows whose length is not known
    tracks: set[str] = field(default_factory=set)
    groups: Counter[str] = field(default_factory=Counter)

    def take(
        self, origins: np.ndarray, groups: np.ndarray, seconds: np.ndarray, mine: np.ndarray
    ) -> None:
        """Count the rows `mine`, a mask."""
        self.rows += int(mine.sum())
        known = mine & np.isfinite(seconds)
        self.seconds += float(seconds[known].sum())
        self.unknown += int((mine & ~known).sum())
        self.tracks.update(origins[mine].tolist())
        self.groups.update(group for group in groups[mine].tolist() if group is not None)

    def told(self, columns: Mapping[str, Column]) -> Iterator[tuple[str, float]]:
        """Yield each count and its name."""
        yield "rows", self.rows
        yield "tracks", len(self.tracks)
        if "group" in columns:
            yield "groups", len(self.groups)
        if "length" in columns or "duration" in columns:
            yield "hours", self.seconds / 3600
            yield "hours_unknown", self.unknown


class _Whole:
    """The table as a whole, and its splits."""

    def __init__(self) -> None:
        self._all = _Sums()
        self._splits: dict[str, _Sums] = {}
        self._ids: set[str] = set()

    def take(self, batch: Batch, splits: np.ndarray) -> None:
        """Count rows."""
        self._ids.update(batch.ids.tolist())
        values = batch.origins, batch.get("group"), _seconds(batch)
        self._all.take(*values, np.ones(len(batch), bool))
        for part in {*splits.tolist()} - {None}:
            mine = np.array([split == part for split in splits], bool)
            self._splits.setdefault(part, _Sums()).take(*values, mine)

    def rows(self, columns: Mapping[str, Column]) -> Iterator[Row]:
        """Yield what was counted."""
        for name, value in self._all.told(columns):
            yield _row(None, name, value)
        yield _row(None, "copies", self._all.rows - len(self._all.tracks))
        yield _row(None, "repeated_ids", self._all.rows - len(self._ids))
        groups = self._all.groups
        if "group" in columns:
            yield _row(None, "ungrouped", self._all.rows - sum(groups.values()))
        if groups:
            largest = min(groups, key=lambda group: (-groups[group], group))
            yield _row(None, "largest_group", groups[largest], label=largest)
        if "split" in columns:
            placed = sum(sums.rows for sums in self._splits.values())
            yield _row(None, "no_split", self._all.rows - placed)
        for part in ordered(self._splits):
            for name, value in self._splits[part].told(columns):
                yield _row(None, name, value, split=part)


def ordered(parts: Iterable[str]) -> list[str]:
    """Return splits in the order of their use: train, valid, test, then others by name."""
    place = {"train": 0, "valid": 1, "test": 2}
    return sorted(parts, key=lambda part: (place.get(part, 3), part))


def _seconds(batch: Batch) -> np.ndarray:
    """Return the seconds of the part that each row selects, NaN where nobody has said."""
    nan = np.full(len(batch), math.nan)
    length, start, duration = (
        batch[name] if name in batch.names else nan for name in ("length", "start", "duration")
    )
    rest = length - np.where(np.isnan(start), 0.0, start)
    return np.where(np.isnan(duration), rest, duration)


class _Part(ABC):
    """What is kept of one column while the rows pass; `rows` says it."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self.missing = 0

    @abstractmethod
    def take(self, batch: Batch, name: str, splits: np.ndarray) -> None:
        """Take rows and the split of each."""

    def rows(self, limit: int) -> Iterator[Row]:
        """Yield what the column is and how much of it is missing; subclasses say more."""
        known = "" if self.column.role == "reserved" else _NAMED.get(self.column.kind, "")
        if self.column.role != "label":
            known = self.column.role
        yield _row(self.column.name, "kind", text=known or self.column.kind)

    def notes(self) -> Iterator[str]:
        """Yield what may be a mistake in the table."""
        yield from ()

    def _said(self, found: Mapping[str, float], split: str | None = None) -> Iterator[Row]:
        for statistic, value in found.items():
            yield _row(self.column.name, statistic, value, split=split)


class _Numbers(_Part):
    """Numbers, all of them: quartiles and ranks want no less."""

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self._values: list[np.ndarray] = []
        self._splits = array("i")
        self._known: dict[Any, int] = {None: -1}

    def take(self, batch: Batch, name: str, splits: np.ndarray) -> None:
        """Take rows."""
        self._values.append(batch[name])
        known = self._known
        self._splits.extend([known.setdefault(part, len(known) - 1) for part in splits])

    def values(self) -> np.ndarray:
        """Return all numbers in the order of the rows."""
        self._values = [np.concatenate([np.empty(0), *self._values])]
        return self._values[0]

    def rows(self, limit: int) -> Iterator[Row]:
        """Yield moments and quartiles, of all and of each split, and the histogram."""
        yield from super().rows(limit)
        values, splits = self.values(), np.array(self._splits)
        yield from self._said(distributions.describe_numbers(values))
        name = self.column.name
        if self.column.role != "reserved":
            for part in ordered(part for part in self._known if part is not None):
                mine = distributions.describe_numbers(values[splits == self._known[part]])
                kept = {key: mine[key] for key in ("n", "mean", "sd", "median")}
                yield from self._said(kept, part)
        counts, edges = distributions.histogram(values)
        for number, count in enumerate(counts.tolist()):
            low, high = f"{edges[number]:.6g}", f"{edges[number + 1]:.6g}"
            yield _row(name, "bin", count, label=low, other=high)

    def drawn(self) -> Numbers:
        """Return what is drawn of the column."""
        return Numbers(self.column.name, self.values())


class _Classes(_Part):
    """Classes, counted: all rows, and those of each split."""

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self._counts: dict[str | None, Counter[str]] = {}

    def take(self, batch: Batch, name: str, splits: np.ndarray) -> None:
        """Count rows."""
        pairs = Counter(zip(splits.tolist(), self._texts(batch, name), strict=True))
        for (split, value), count in pairs.items():
            if value is None:
                self.missing += count
            else:
                self._of(split)[value] += count

    def _of(self, split: str | None) -> Counter[str]:
        return self._counts.setdefault(split, Counter())

    def _texts(self, batch: Batch, name: str) -> Iterable[Any]:
        if self.column.kind == "boolean":
            return (None if v is None else str(v).lower() for v in batch[name])
        if self.column.kind == "integer":
            return (None if v is None else str(v) for v in batch.integers(name))
        if self.column.kind == "number":
            return (None if v != v else f"{v:.10g}" for v in batch[name])
        return batch[name].tolist()

    def total(self) -> Counter[str]:
        """Return the rows of each label."""
        return sum(self._counts.values(), Counter())

    def _measures(self, counts: Counter[str]) -> dict[str, float]:
        return {"n": float(sum(counts.values())), "missing": float(self.missing)} | (
            distributions.describe_classes(counts)
        )

    def rows(self, limit: int) -> Iterator[Row]:
        """Yield how the rows are spread, and the rows of each label, of all and of each split."""
        yield from super().rows(limit)
        counts, name = self.total(), self.column.name
        yield from self._said(self._measures(counts))
        frequent = sorted(counts, key=lambda label: (-counts[label], label))
        if len(frequent) > limit:
            yield _row(name, "unlisted", len(frequent) - limit)
        parts = ordered(part for part in self._counts if part is not None)
        for label in frequent[:limit]:
            yield _row(name, "count", counts[label], label=label)
            for part in parts:
                yield _row(name, "count", self._counts[part][label], label=label, split=part)

    def notes(self) -> Iterator[str]:
        """Yield a column of texts that are mostly numbers, as of a CSV with `inf` or `?` in it."""
        counts = self.total()
        names = {
            label for label in counts if self.column.kind == "string" and not _is_number(label)
        }
        rows, odd = sum(counts.values()), sum(counts[label] for label in names)
        if self.column.role == "label" and 0 < odd < rows / 2:
            example = max(sorted(names), key=lambda label: counts[label])
            yield (
                f"{self.column.name} is read as text: {rows - odd} of its {rows} values are "
                f"numbers, {example!r} is none"
            )

    def drawn(self) -> Counts:
        """Return what is drawn of the column."""
        parts = ordered(part for part in self._counts if part is not None)
        by_part = {part: dict(self._counts[part]) for part in parts}
        rest = self._counts.get(None)
        if rest and by_part:
            by_part["no split"] = dict(rest)
        return Counts(self.column.name, dict(self.total()), by_part)


class _Tags(_Classes):
    """Tags: counted, and kept as numbers, since pairs of them are counted too."""

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self._codes = array("q")
        self._sizes = array("q")
        self._known: dict[str, int] = {}

    def take(self, batch: Batch, name: str, splits: np.ndarray) -> None:
        """Count rows."""
        known = self._known
        found: dict[str | None, list[str]] = {}
        for split, value in zip(splits.tolist(), batch[name].tolist(), strict=True):
            if value is None:
                self.missing += 1
                continue
            own = value if len(value) < 2 else list(dict.fromkeys(value))
            self._codes.extend([known.setdefault(tag, len(known)) for tag in own])
            self._sizes.append(len(own))
            found.setdefault(split, []).extend(own)
        for split, tags in found.items():
            self._of(split).update(tags)

    def _measures(self, counts: Counter[str]) -> dict[str, float]:
        sizes = np.array(self._sizes, np.int64)
        return {"n": float(len(sizes)), "missing": float(self.missing)} | (
            distributions.describe_tags(counts, sizes)
        )

    def rows(self, limit: int) -> Iterator[Row]:
        """Yield also which tags come together."""
        yield from super().rows(limit)
        codes, sizes = np.array(self._codes, np.int64), np.array(self._sizes, np.int64)
        for pair in distributions.together(list(self._known), codes, sizes):
            for statistic, value in (("together", pair.rows), ("jaccard", pair.jaccard)):
                yield _row(
                    self.column.name, statistic, value, label=pair.one, other=pair.other
                )  # fmt: skip


class _Other(_Part):
    """Features, embeddings, audio: what they are and how many rows lack them."""

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self._n = 0

    def take(self, batch: Batch, name: str, splits: np.ndarray) -> None:
        """Count rows without it."""
        missing = batch.null_count(name)
        self.missing += missing
        self._n += len(batch) - missing

    def rows(self, limit: int) -> Iterator[Row]:
        """Yield shape and settings, a line each."""
        yield from super().rows(limit)
        yield from self._said({"n": float(self._n), "missing": float(self.missing)})
        column = self.column
        if column.shape:
            yield _row(column.name, "shape", text="×".join(map(str, column.shape)))
        if column.kind in ("vector", "tensor"):
            yield _row(column.name, "stored", text=_stored(column))
        if column.settings:
            said = " ".join(f"{key}={_short(value)}" for key, value in column.settings.items())
            yield _row(column.name, "settings", text=said)


def _stored(column: Column) -> str:
    """Return the type of a feature's numbers in the table."""
    return "uint8" if column.levels is not None else "float16" if column.half else "float32"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) if len(value) <= 4 else f"({len(value)})"
    if isinstance(value, dict):
        return f"({len(value)})"
    return str(value)


_PARTS: dict[str, type[_Part]] = {
    **dict.fromkeys(_CLASSES, _Classes),
    **dict.fromkeys(_NUMBERS, _Numbers),
    "strings": _Tags,
}

"""Train, valid and test parts, or folds, drawn without leaks.

The rows are gone through twice: what decides is drawn from a few light columns of all rows, then
the rows pass by and are marked, so that features of any size are never in memory at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mt_tools import splits
from mt_tools.errors import BrokenTable, UsageError
from mt_tools.report.description import count_lines
from mt_tools.stages.settings import SplitSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column, reserved

_NUMBERS = ("number", "integer")
_CLASSES = ("string", "boolean")
_ORDER = {"train": 0, "valid": 1, "test": 2}
_SHOWN = 5
"""Labels that a line names at most."""


@dataclass(frozen=True)
class Drawn:
    """What was drawn: `parts` [n] of the rows with these `ids`; what to say of it; what it holds.

    `column` is `split` or `fold`; a part is a name or a number, None for rows left out. `lines` are
    for people, `report` is a table of a row a part and a row a part and label.
    """

    column: str
    ids: np.ndarray
    parts: np.ndarray
    lines: list[str]
    report: Batch


def needed(columns: Mapping[str, Column], settings: SplitSettings) -> list[str]:
    """Return the columns that a draw is made from.

    Raises `UsageError` where the settings do not fit each other or the table, before it is read.
    """
    name = _name(settings)
    by = ", ".join(f"--by {column}" for column in settings.by)
    if name in columns and not (settings.replace or (settings.keep and name == "split")):
        keep = ", or some of it kept with --keep" * (name == "split")
        raise UsageError(
            f"the table has a column {name!r} already: draw it again with --replace{keep}"
        )
    if settings.keep and "split" not in columns:
        raise UsageError(f"--keep {settings.keep}: the table has no column 'split' to keep")
    if settings.keep == "all" and settings.folds:
        raise UsageError("--keep all has no effect with --folds: name the splits to keep")
    if "stratified" in settings.method:
        if not settings.by:
            raise UsageError(f"--method {settings.method} needs a label: --by COLUMN")
        for column in settings.by:
            _check_label(column, columns)
    elif settings.by:
        raise UsageError(
            f"{by} has no effect with --method {settings.method}: say --method stratified or "
            "stratified-grouped"
        )
    if "grouped" in settings.method and settings.copies == "apart":
        raise UsageError(
            f"--copies apart has no effect with --method {settings.method}, which keeps the "
            "copies of a group together: say --method random or stratified"
        )
    return ["origin", "group", "split", *settings.by]


def _name(settings: SplitSettings) -> str:
    return "fold" if settings.folds else "split"


def _check_label(name: str, columns: Mapping[str, Column]) -> None:
    if name not in columns:
        raise UsageError(f"--by {name}: no such column; the table has {', '.join(columns)}")
    if columns[name].kind not in (*_CLASSES, *_NUMBERS, "strings"):
        raise UsageError(
            f"--by {name}: got a column of kind {columns[name].kind}, expected classes, tags or "
            "numbers"
        )


def drawn(batches: Iterable[Batch], settings: SplitSettings) -> Drawn:
    """Draw the parts of all rows from their light columns, those that `needed` returns.

    Rows of one origin stay together whatever the method, unless copies are asked to be drawn apart.
    Raises `UsageError` where the draw is impossible, with the reason.
    """
    table = concatenate(list(batches))
    name = _name(settings)
    origins = table.origins if settings.copies == "together" else table.ids
    groups = _groups(table, settings)
    labels = _Labels.of(table, settings)
    given = table.get("split") if settings.keep else np.full(len(table), None, object)
    parts = np.full(len(table), None, object)
    shares = {"train": settings.train, "valid": settings.valid, "test": settings.test}
    kept, fixed = [], None
    if settings.keep == "all":
        fixed = given
    elif settings.keep:
        kept = _kept(settings.keep, given)
        shares = {part: share for part, share in shares.items() if part not in kept}
        parts = _following(origins, given, kept)
    rows = np.flatnonzero([part is None for part in parts])
    if not len(rows):
        raise UsageError(f"--keep {settings.keep} keeps every row: nothing is left to draw")
    count = settings.folds or sum(share > 0 for share in shares.values())
    if kept and count < 2:
        raise UsageError(
            f"--keep {settings.keep} leaves {count} of train, valid and test to draw: expected at "
            "least two with a share; name fewer, or --keep all to draw rows without a split alone"
        )
    mine = (
        origins[rows],
        None if groups is None else groups[rows],
        None if labels is None else labels.values[rows],
    )
    if labels is not None and not settings.allow_thin:
        _refuse_thin(labels, mine[0], mine[1], labels.values[rows], count, name)
    # The draws of `splits.repeats`, which probes are judged on.
    nth = f"repeat {settings.repeat - 1}" if settings.repeat else name
    if settings.folds:
        purpose = nth if nth == name else f"fold {nth}"
        found: Any = splits.folds(*mine[:1], settings.folds, *mine[1:], seed=settings.seed,
                                  purpose=purpose)  # fmt: skip
        parts[rows] = found.tolist()
        parts[[part in kept for part in parts]] = None  # a fold is what is tested in turn
        expected: dict[Any, float] = dict.fromkeys(range(settings.folds), 1 / settings.folds)
    else:
        parts[rows] = splits.draw(
            *mine, ratios=shares, seed=settings.seed, purpose=nth,
            fixed=None if fixed is None else fixed[rows],
        )  # fmt: skip
        expected = {part: share / sum(shares.values()) for part, share in shares.items() if share}
    held = _Held(name, parts, expected, origins, table.get("group"), labels)
    lines = [*held.lines(), *_torn(parts, rows, groups, given, kept), *held.warnings()]
    return Drawn(name, table.ids, parts, lines, held.report())


def marked(batches: Iterable[Batch], found: Drawn) -> Iterator[Batch]:
    """Yield the rows that were drawn with their part, in a column of its own.

    `batches` are all rows of the table, in the order in which they were drawn from; rows that were
    left out then are left out again.
    """
    ids, parts = found.ids.tolist(), found.parts
    at = 0
    for batch in batches:
        begin, taken = at, []
        for row, id_ in enumerate(batch.ids):
            if at < len(ids) and id_ == ids[at]:
                taken.append(row)
                at += 1
        if not taken:
            continue
        if len(taken) < len(batch):
            batch = batch.take(taken)
        yield batch.replace(reserved(found.column), parts[begin:at])
    if at < len(ids):
        raise BrokenTable("the input changed while it was read: run it again")


def unmarked(empty: Batch, settings: SplitSettings) -> Batch:
    """Return the columns of the result where no row is left."""
    return empty.replace(reserved(_name(settings)), [])


def _groups(table: Batch, settings: SplitSettings) -> np.ndarray | None:
    if "grouped" not in settings.method:
        return None
    if "group" not in table or all(group is None for group in table["group"]):
        raise UsageError(
            f"--method {settings.method} needs a `group` column with values; without one say "
            "--method random or stratified"
        )
    return table["group"]


def _kept(text: str, given: np.ndarray) -> list[str]:
    """Return the splits that `--keep` names; one that the table lacks raises `UsageError`."""
    kept = [part.strip() for part in text.split(",")]
    known = sorted({part for part in given if part is not None})
    for part in kept:
        if part not in known:
            raise UsageError(
                f"--keep {text}: no row has the split {part!r}; the table has "
                f"{', '.join(known) or 'none'}"
            )
    return kept


def _following(origins: np.ndarray, given: np.ndarray, kept: list[str]) -> np.ndarray:
    """Return the part of the rows that keep theirs, and of other rows of their tracks."""
    parts = {origin: part for origin, part in zip(origins, given, strict=True) if part in kept}
    following = [
        part if part in kept else parts.get(origin)
        for origin, part in zip(origins, given, strict=True)
    ]
    return np.array([*following, None], object)[:-1]


@dataclass(frozen=True)
class _Labels:
    """What is stratified by: `values` [n] as `splits.draw` takes them, of these `columns`."""

    values: np.ndarray
    columns: list[str]
    kinds: list[str]

    @classmethod
    def of(cls, table: Batch, settings: SplitSettings) -> _Labels | None:
        """Return the labels of `--by`, numbers in bins; several columns are lists of `a=b`."""
        if not settings.by:
            return None
        names, described = list(dict.fromkeys(settings.by)), table.columns
        kinds = [described[name].kind for name in names]
        columns = []
        for name, kind in zip(names, kinds, strict=True):
            values = table[name]
            if kind in _NUMBERS:
                values = splits.quantile_bins(values, settings.bins)
            elif kind == "boolean":
                values = np.array([v if v is None else str(v).lower() for v in values], object)
            if all(value is None for value in values):
                raise UsageError(f"--by {name}: no row has a value: nothing to stratify by")
            columns.append(values)
        if len(names) == 1:
            return cls(columns[0], names, kinds)
        joined = np.empty(len(table), object)
        for row, cells in enumerate(zip(*columns, strict=True)):
            joined[row] = [
                f"{name}={label}"
                for name, value in zip(names, cells, strict=True)
                if value is not None
                for label in (value if isinstance(value, list) else [value])
            ]
        return cls(joined, names, kinds)

    def parted(self, label: str) -> tuple[str, str]:
        """Return the column and the label itself of a label in `values`."""
        if len(self.columns) == 1:
            return self.columns[0], label
        for name in sorted(self.columns, key=len, reverse=True):
            if label.startswith(f"{name}="):
                return name, label.removeprefix(f"{name}=")
        raise AssertionError(label)

    def is_class(self, label: str) -> bool:
        """Say whether a label is one of the classes of its column, not a tag or a bin."""
        return self.kinds[self.columns.index(self.parted(label)[0])] in _CLASSES


def _refuse_thin(
    labels: _Labels,
    origins: np.ndarray,
    groups: np.ndarray | None,
    values: np.ndarray,
    parts: int,
    name: str,
) -> None:
    """Raise where a class cannot be in every part, as it has too few groups or tracks."""
    noun = "track" if groups is None else "group"
    thin = {
        label: count
        for label, count in splits.thin_labels(origins, groups, values, parts).items()
        if labels.is_class(label)
    }
    if not thin:
        return
    shown = [
        f"{' '.join(labels.parted(label)[1:])} ({count} {noun}{'s' * (count > 1)})"
        for label, count in sorted(thin.items(), key=lambda item: (item[1], item[0]))[:_SHOWN]
    ]
    more = f" and {len(thin) - len(shown)} more" if len(thin) > len(shown) else ""
    verb = "classes have" if len(thin) > 1 else "class has"
    raise UsageError(
        f"--by {','.join(labels.columns)}: {len(thin)} {verb} fewer {noun}s than there are "
        f"{name}s ({parts}): {', '.join(shown)}{more}; merge or leave out such classes (mt-fetch "
        f"join --relabel), ask for fewer {name}s, or say --allow-thin"
    )


def _torn(
    parts: np.ndarray,
    rows: np.ndarray,
    groups: np.ndarray | None,
    given: np.ndarray,
    kept: list[str],
) -> Iterator[str]:
    """Yield what is said of groups that the given splits have torn apart already."""
    if groups is None or not kept:
        return
    there = {group for group, part in zip(groups, given, strict=True) if part in kept} - {None}
    shared = [row for row in rows if groups[row] in there]
    if shared:
        yield (
            f"{len(shared)} rows that were drawn have a group that the kept {' and '.join(kept)} "
            "has too, as the given split has it: mt-eval check lists them"
        )


class _Held:
    """What each part holds: counted once, told in lines and as a table."""

    def __init__(
        self,
        name: str,
        parts: np.ndarray,
        expected: Mapping[Any, float],
        origins: np.ndarray,
        groups: np.ndarray,
        labels: _Labels | None,
    ) -> None:
        self._name = name
        self._parts = parts
        self._origins = origins
        self._groups = groups
        self._expected = expected
        found = {part for part in parts if part is not None}
        self._names = sorted(found, key=lambda part: (_ORDER.get(part, 3), part))
        self._labels = labels
        self._counts: dict[str, dict[Any, dict[str, int]]] = {}
        if labels is not None:
            grouped = parts.copy()
            grouped[[group is None for group in groups]] = None
            counts = splits.label_counts
            self._counts = {
                "rows": counts(labels.values, parts),
                "tracks": counts(labels.values, parts, splits.units(origins)),
                "groups": counts(labels.values, grouped, splits.units(groups)),
            }

    def _rows(self, part: Any) -> np.ndarray:
        return np.flatnonzero(self._parts == part)

    def lines(self) -> Iterator[str]:
        """Yield a line a part, then the labels, as many as can be read."""
        whole = sum(part is not None for part in self._parts)
        for part in self._names:
            rows = self._rows(part)
            text = f"{self._name} {part}: {len(rows)} rows ({len(rows) / whole:.1%})"
            groups = len({*self._groups[rows].tolist()} - {None})
            yield text + f", {groups} group{'s' * (groups != 1)}" * bool(groups)
        left = len(self._parts) - whole
        if left:
            yield f"no {self._name}: {left} rows, which were kept out"
        if self._labels is not None:
            shares = [self._expected.get(part) for part in self._names]
            yield from count_lines(
                ", ".join(self._labels.columns),
                {str(part): self._counts["rows"][part] for part in self._names},
                shares,
            )

    def warnings(self) -> Iterator[str]:
        """Yield what is not as it was asked for: labels that parts lack, sizes that are off."""
        for part in self._names:
            counts = self._counts.get("rows", {}).get(part, {})
            lacking = [label for label, count in counts.items() if not count]
            if lacking:
                shown = ", ".join(lacking[:_SHOWN]) + ", ..." * (len(lacking) > _SHOWN)
                yield f"{self._name} {part} lacks {len(lacking)} of {len(counts)} labels: {shown}"
        drawn_rows = [len(self._rows(part)) for part in self._expected]
        for part, rows in zip(self._expected, drawn_rows, strict=True):
            share, asked = rows / max(1, sum(drawn_rows)), self._expected[part]
            if abs(share - asked) > 0.25 * asked:
                yield (
                    f"{self._name} {part} holds {share:.1%} of the rows drawn, {asked:.1%} was "
                    f"asked for{self._largest()}"
                )

    def _largest(self) -> str:
        """Return what is said of the largest group, which may be why."""
        sizes = Counter(group for group in self._groups.tolist() if group is not None)
        for group, size in sizes.most_common(1):
            if size > 0.05 * len(self._parts):
                return f"; the largest group, {group}, has {size / len(self._parts):.1%}"
        return ""

    def report(self) -> Batch:
        """Return the counts as a table: a row a part, then a row a part and label."""
        cells: list[dict[str, Any]] = []
        whole = sum(part is not None for part in self._parts)
        for part in self._names:
            rows = self._rows(part)
            cells.append({
                "id": str(part), self._name: part, "rows": len(rows),
                "tracks": len({*self._origins[rows].tolist()}),
                "groups": len({*self._groups[rows].tolist()} - {None}),
                "share": len(rows) / whole, "expected": self._expected.get(part),
            })  # fmt: skip
        by_part = self._counts.get("rows", {})
        totals = Counter[str]()
        for counts in by_part.values():
            totals.update(counts)
        for label, total in sorted(totals.items()):
            assert self._labels is not None
            column, own = self._labels.parted(label)
            for part in self._names:
                held = {name: found.get(part, {}).get(label, 0)
                        for name, found in self._counts.items()}  # fmt: skip
                cells.append({
                    "id": f"{part}.{column}.{own}", self._name: part, "column": column,
                    "label": own, "share": held["rows"] / total,
                    "expected": self._expected.get(part), **held,
                })  # fmt: skip
        numbers = [Column(name, "integer") for name in ("rows", "tracks", "groups")]
        columns = [
            reserved("id"), reserved(self._name), Column("column", "string"),
            Column("label", "string"), *numbers, Column("share", "number"),
            Column("expected", "number"),
        ]  # fmt: skip
        return Batch.build(columns, {c.name: [row.get(c.name) for row in cells] for c in columns})

"""Labels from elsewhere put beside tracks, and labels and tracks chosen by what is there.

The order is fixed: labels are joined, texts split into lists, labels called otherwise, rows of
several labels dropped; then one version a song is kept, then the frequent labels, then so many
tracks a class, and rows that no label is left of are dropped. The first four need one row at a
time. The others need all of them, and a first reading of a few columns: what is held in memory is a
few numbers a row and each label and origin once.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import RowError, UsageError
from mt_tools.learn import draws
from mt_tools.stages.labels import Match, counted, pairs_of, some
from mt_tools.stages.settings import JoinSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import RESERVED, Column, guess_role
from mt_tools.tables.labels import Labels, listed, read_map
from mt_tools.tasks import shape
from mt_tools.tasks.labels import class_name

if TYPE_CHECKING:
    from mt_tools.stages.frontend import Fail

_CLASSES = ("string", "boolean", "integer", "strings")
_SPLITS = ("train", "valid", "test")


class Join:
    """What `mt-fetch join` does to a table that has these `columns`.

    Where `light` names columns, the table is read twice: first `survey` these alone, then `run`.
    `files` are the maps that it reads, by column.
    Raises `UsageError` for settings that do not fit the columns, before any row is read.
    """

    def __init__(
        self, columns: Mapping[str, Column], labels: Labels | None, settings: JoinSettings
    ) -> None:
        self.settings = settings
        self._lists = pairs_of("lists", settings.lists, "COLUMN=SEPARATOR, such as tags=;")
        self.files = pairs_of("relabel", settings.relabel, "COLUMN=MAP.csv")
        self._maps = {name: read_map(path) for name, path in self.files.items()}
        self.match: Match | None = None
        if labels is not None:
            self.match = Match(labels, columns, settings, self._lists)
        else:
            _refuse_without_labels(settings)
        added = self.match.added if self.match else {}
        self._kinds = {name: column.kind for name, column in {**columns, **added}.items()}
        self._plan_kinds()
        self._of = self._plan_labels(added)
        self._song = [name.strip() for name in settings.one_per.split(",") if name.strip()]
        self._require("one-per", *self._song)
        self._checked_split = "split" in added or "split" in self._maps
        self._survey: _Survey | None = None
        self._dropped: dict[str, int] = {}
        self._unknown: dict[str, set[str]] = {}
        self._used: dict[str, set[str]] = {name: set() for name in self._maps}

    # What the settings ask for.

    def _require(self, option: str, *names: str) -> None:
        for name in names:
            if name not in self._kinds:
                raise UsageError(
                    f"--{option} {name}: no such column; there are {listed(self._kinds)}"
                )

    def _plan_kinds(self) -> None:
        """Follow the kinds of columns through lists and other names."""
        settings = self.settings
        if settings.unmapped != "fail" and not self._maps:
            raise UsageError(f"--unmapped {settings.unmapped} has no effect without --relabel")
        for name in self._lists:
            self._require("lists", name)
            if self._kinds[name] not in ("string", "strings") or name in RESERVED:
                raise UsageError(
                    f"--lists {name}: a label of texts expected, got {self._kinds[name]}"
                )
            self._kinds[name] = "strings"
        for name in self._maps:
            self._require("relabel", name)
            named = name in ("id", "origin", "path", "recipe", "audio")
            if named or self._kinds[name] not in (*_CLASSES, "number"):
                raise UsageError(f"--relabel {name}: expected a column of classes or tags")
            if self._kinds[name] != "strings":
                self._kinds[name] = "string"
            if RESERVED.get(name, "string") != "string":
                raise UsageError(f"--relabel {name}: the wire keeps this name for a number")

    def _plan_labels(self, added: Mapping[str, Column]) -> str:
        """Return the column whose labels are chosen by; "" where none are."""
        settings = self.settings
        asked = [
            f"--{name.replace('_', '-')}"
            for name in ("single_label_only", "top", "min_count", "cap", "labelled_only")
            if getattr(settings, name)
        ]
        if not asked:
            if settings.of:
                raise UsageError(
                    f"--of {settings.of} has no effect without --top, --min-count, --cap, "
                    "--single-label-only or --labelled-only"
                )
            return ""
        if not settings.of:
            among = added or self._kinds
            able = [
                name
                for name in among
                if self._kinds[name] in ("string", "boolean", "strings") and name not in RESERVED
            ]
            if len(able) != 1:
                raise UsageError(
                    f"{asked[0]} of which label? say --of COLUMN: {', '.join(able) or 'none here'}"
                )
            of = able[0]
        else:
            of = settings.of
            self._require("of", of)
        if self._kinds[of] not in _CLASSES or of in ("id", "origin", "path", "recipe"):
            raise UsageError(f"--of {of}: expected classes or tags, got {self._kinds[of]}")
        if settings.single_label_only:
            if self._kinds[of] == "strings":
                self._kinds[of] = "string"
        elif settings.cap and self._kinds[of] == "strings":
            raise UsageError(
                f"--cap of {of}, whose tracks may have several labels: a class expected; keep "
                "those of one by --single-label-only"
            )
        return of

    @property
    def light(self) -> list[str]:
        """The columns to survey first; none where the rows can be taken as they come."""
        settings = self.settings
        if not (self._song or settings.top or settings.min_count or settings.cap):
            return []
        names = [*self._song, self._of, "origin", "split", *self._lists, *self._maps]
        names += [self.match.left] if self.match else []
        return [name for name in dict.fromkeys(names) if name]

    # What happens to a row.

    def _rows(self, batches: Iterable[Batch], fail: Fail | None) -> Iterator[Batch]:
        """Yield rows with their labels, as far as one row at a time can say; None fails silently.

        Columns that a first reading lacks are left alone.
        """
        self._dropped = {}
        if self.match:
            self.match.restart()
        for batch in batches:
            if self.match:
                batch = self._matched(self.match, batch, fail)
            for name, separator in self._lists.items():
                batch = _split(batch, name, separator) if name in batch else batch
            for name in self._maps:
                batch = self._relabelled(batch, name) if name in batch else batch
            if self._checked_split and "split" in batch:
                _check_split(batch)
            if self.settings.single_label_only:
                batch = self._single(batch)
            yield batch
        if self.match:
            self.match.check()

    def _matched(self, match: Match, batch: Batch, fail: Fail | None) -> Batch:
        rows = match.rows_of(batch)
        if self.settings.missing == "fail" and fail is not None:
            for row in np.flatnonzero(rows < 0):
                fail(
                    {"id": batch.ids[row], "path": batch.get("path")[row]},
                    RowError(f"{match.name} has no labels of it", "unlabelled"),
                )
        if self.settings.missing != "keep":
            batch, rows = _kept(batch, rows >= 0), rows[rows >= 0]
        return match.beside(batch, rows)

    def _relabelled(self, batch: Batch, name: str) -> Batch:
        names, unmapped = self._maps[name], self.settings.unmapped
        rows: list[list[str] | None] = []
        for given in _labels(batch, name):
            row: list[str] | None = None if given is None else []
            for label in given or []:
                known = label in names
                self._used[name].add(label)
                if not known and unmapped == "fail":
                    raise UsageError(
                        f"{self.files[name]} has no line for {label!r} of {name}: add one, or say "
                        "--unmapped keep or drop"
                    )
                if not known:
                    self._unknown.setdefault(name, set()).add(label)
                new = names[label] if known else label if unmapped == "keep" else ""
                if row is not None and new and new not in row:
                    row.append(new)
            rows.append(row)
        if batch.columns[name].kind == "strings":
            return batch.replace(batch.columns[name], rows)
        return batch.replace(_named(name, "string"), [row[0] if row else None for row in rows])

    def _single(self, batch: Batch) -> Batch:
        rows = _labels(batch, self._of)
        one = np.array([row is not None and len(row) == 1 for row in rows], bool)
        self._count("single", int((~one).sum()))
        batch = _kept(batch, one)
        if batch.columns[self._of].kind != "strings":
            return batch
        classes = [row[0] for row, kept in zip(rows, one, strict=True) if row and kept]
        return batch.replace(_named(self._of, "string"), classes)

    def _count(self, what: str, rows: int) -> None:
        self._dropped[what] = self._dropped.get(what, 0) + rows

    # What is decided by all rows.

    def survey(self, batches: Iterable[Batch]) -> None:
        """Read the `light` columns of all rows, and decide which labels and rows are kept."""
        survey = _Survey()
        for batch in self._rows(batches, None):
            survey.add(batch, self._of, self._song)
        survey.decide(self.settings, self._of)
        self._survey = survey

    def run(self, batches: Iterable[Batch], fail: Fail) -> Iterator[Batch]:
        """Yield the rows that are kept, with their labels, in the order of the table."""
        place = 0
        for batch in self._rows(batches, fail):
            if self._survey is not None:
                mask = self._survey.kept[place : place + len(batch)]
                place += len(batch)
                batch = self._frequent(_kept(batch, mask), self._survey)
            if self.settings.labelled_only:
                given = np.array([bool(row) for row in _labels(batch, self._of)], bool)
                self._count("labelled", int((~given).sum()))
                batch = _kept(batch, given)
            yield batch

    def _frequent(self, batch: Batch, survey: _Survey) -> Batch:
        if not (self.settings.top or self.settings.min_count):
            return batch
        rows = _labels(batch, self._of)
        left = [None if row is None else [n for n in row if n in survey.frequent] for row in rows]
        self._count("emptied", sum(bool(a) and not b for a, b in zip(rows, left, strict=True)))
        column = batch.columns[self._of]
        if column.kind == "strings":
            return batch.replace(column, left)
        values = _values(batch, self._of)
        pairs = zip(values, left, strict=True)
        return batch.replace(column, [value if row else None for value, row in pairs])

    def notes(self) -> list[str]:
        """Return what there is to say of a run that has ended, a line each."""
        lines = self.match.notes(self.settings.missing) if self.match else []
        for name, path in self.files.items():
            if unused := sorted(set(self._maps[name]) - self._used[name]):
                labels = counted(len(unused), "label")
                lines.append(f"{labels} of {path} not found in {name}: {some(unused)}")
            if unknown := sorted(self._unknown.get(name, ())):
                done = {"keep": "kept", "drop": "left out"}[self.settings.unmapped]
                labels = counted(len(unknown), "label")
                lines.append(f"{labels} of {name} not found in {path}: {some(unknown)}; {done}")
        if self.settings.single_label_only:
            rows = counted(self._dropped.get("single", 0), "row")
            lines.append(f"{self._of}: {rows} without exactly one label dropped")
        if self._survey is not None:
            lines += self._survey.said
        if emptied := self._dropped.get("emptied", 0):
            rows = counted(emptied, "row")
            lines.append(f"{self._of}: {rows} left without any of the labels that are kept")
        if self.settings.labelled_only:
            rows = counted(self._dropped.get("labelled", 0), "row")
            lines.append(f"{self._of}: {rows} without a label dropped")
        return lines


class _Survey:
    """The labels, origins, splits and songs of all rows, as numbers; then what is kept of them.

    `kept` [rows] are the rows, `frequent` the labels; `said` is what there is to say of it.
    """

    def __init__(self) -> None:
        self.kept = np.zeros(0, bool)
        self.frequent: set[str] = set()
        self._known: dict[str, dict[str, int]] = {}
        self._columns = {name: array("q") for name in ("origin", "part", "song", "label", "count")}
        self.said: list[str] = []

    def _code(self, kind: str, value: str) -> int:
        known = self._known.setdefault(kind, {})
        return known.setdefault(value, len(known))

    def add(self, batch: Batch, of: str, song: Sequence[str]) -> None:
        """Take what matters of these rows; the label is `of`, the song what `song` agree in."""
        columns = self._columns
        columns["origin"].extend(self._code("origin", origin) for origin in batch.origins)
        columns["part"].extend(self._code("part", part or "") for part in batch.get("split"))
        rows = _labels(batch, of) if of else list(repeat(None, len(batch)))
        for row in rows:
            columns["count"].append(len(row or ()))
            columns["label"].extend(self._code("label", label) for label in row or ())
        texts = [_labels(batch, name) for name in song]
        for values in zip(*texts, strict=True):
            whole = "\0".join("\1".join(value or ()) for value in values)
            columns["song"].append(self._code("song", whole) if all(values) else -1)

    def decide(self, settings: JoinSettings, of: str) -> None:
        """Choose labels and rows."""
        origins, parts, songs, labels, counts = (
            np.frombuffer(column, np.int64) if len(column) else np.zeros(0, np.int64)
            for column in self._columns.values()
        )
        names = list(self._known.get("label", {}))
        keys = draws.keys_of(self._known.get("origin", {}))
        kept = np.ones(len(origins), bool)
        if len(songs):
            kept = shape.one_each(songs, origins, draws.bits(keys, settings.seed, "one-per"))
            others = counted(int((~kept).sum()), "row")
            self.said.append(f"{settings.one_per}: {others} dropped that agree with another's")
        rows = np.repeat(np.arange(len(counts)), counts)
        if settings.top or settings.min_count:
            live = kept[rows]
            tracks = shape.tracks_of_labels(labels[live], origins[rows[live]], len(names))
            chosen = shape.frequent(tracks, names, settings.top, settings.min_count)
            self.frequent = {name for name, keep in zip(names, chosen, strict=True) if keep}
            total = counted(int((tracks > 0).sum()), "label")
            said = f"{of}: {chosen.sum():,} of {total} kept"
            if chosen.any():
                said += f", the rarest on {counted(int(tracks[chosen].min()), 'track')}"
            elif tracks.any():
                said += f": the most frequent is on {counted(int(tracks.max()), 'track')}"
            self.said.append(said)
            labels = np.where(chosen[labels], labels, -1) if len(labels) else labels
        if settings.cap:
            classes = np.full(len(origins), -1, np.int64)
            classes[rows] = labels
            classes[~kept] = -1
            ranks = draws.bits(keys, settings.seed, "cap")
            below = shape.capped(classes, parts, origins, ranks, settings.cap)
            others = counted(int((kept & ~below).sum()), "row")
            self.said.append(f"{of}: {others} dropped, beyond {settings.cap:,} tracks a class")
            kept &= below
        self.kept = kept


def _refuse_without_labels(settings: JoinSettings) -> None:
    """Raise a `UsageError` where settings are about labels that were not named."""
    empty = JoinSettings()
    for name in ("on", "key", "header", "columns", "multilabel", "collect", "missing", "replace"):
        if getattr(settings, name) != getattr(empty, name):
            raise UsageError(
                f"--{name} is about a second file: mt-fetch join TABLE LABELS --on KEY, where - is "
                "the table on stdin"
            )


def _kept(batch: Batch, mask: NDArray[np.bool_]) -> Batch:
    return batch if mask.all() else batch.take(np.flatnonzero(mask))


def _named(name: str, kind: str) -> Column:
    return Column(name, kind, guess_role(name, kind))


def _values(batch: Batch, name: str) -> Iterable[object]:
    whole = batch.columns[name].kind == "integer"
    return batch.integers(name) if whole else batch[name]


def _labels(batch: Batch, name: str) -> list[list[str] | None]:
    """Return the labels of each row, one for a class; None where it is unlabelled."""
    return [
        None
        if value is None or value != value
        else list(dict.fromkeys(value))
        if isinstance(value, list)
        else [class_name(value)]
        for value in _values(batch, name)
    ]


def _split(batch: Batch, name: str, separator: str) -> Batch:
    """Return the batch with texts split into lists; what is blank between separators is no tag."""
    rows: list[list[str] | None] = []
    for given in _labels(batch, name):
        pieces = [piece.strip() for text in given or () for piece in text.split(separator)]
        rows.append(None if given is None else list(dict.fromkeys(filter(None, pieces))))
    return batch.replace(_named(name, "strings"), rows)


def _check_split(batch: Batch) -> None:
    if others := sorted(set(batch["split"]) - {None, *_SPLITS}):
        raise UsageError(
            f"the split is called {some(others)}: expected {', '.join(_SPLITS)}; give it these "
            "names with --relabel split=MAP.csv"
        )

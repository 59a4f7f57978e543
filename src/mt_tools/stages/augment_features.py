"""More examples of the same features: masks, erased rectangles, shifts, mixtures with other rows.

Goal: copies of rows whose recipe says in numbers what was done to their features, and of a mixture
also with which row; the labels are mixed by the same weights. Draws are by the seed, the origin and
recipe of the row, and the copy's number: the segments of a track get the same recipe.

Conventions: a row is mixed with one of another origin and of its own split and fold, so nothing
that trains holds what is tested on. A table is read batch by batch; where rows are mixed it is read
twice, and what can be mixed in lies in a temporary file meanwhile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import RowError, UsageError
from mt_tools.features import augment
from mt_tools.recipes import Recipe, parse
from mt_tools.recipes.features import Cutmix, Mixup
from mt_tools.recipes.template import Template
from mt_tools.stages.frontend import Fail, report_row
from mt_tools.stages.recipes import Chances, LeftOut, Others, Part, parts_of
from mt_tools.stages.settings import AugmentSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.shards import ArraySpool
from mt_tools.tables.source import Source
from mt_tools.tasks.labels import class_name, labelled

Say = Callable[[str], None]

COLUMNS = ("origin", "recipe", "split", "fold")
NONE = "none"
"""What `--labels` says where no label is to be mixed."""

_BYTES = 64 << 20
"""Features that are augmented at a time."""


def run(
    source: Source,
    batches: Callable[[], Iterable[Batch]],
    templates: Sequence[Template],
    settings: AugmentSettings,
    *,
    fail: Fail,
    say: Say = lambda note: None,
) -> Iterator[Batch]:
    """Yield every row followed by its copies: ids get `#recipe`, the origin stays.

    `batches` are the rows of the source. Rows of other splits than those of the settings, and rows
    without features, get no copies. In copies other features than those augmented are null, and in
    mixtures other labels than those mixed. Raises `UsageError` for recipes that do not fit the
    features, for rows whose features were augmented before, and for labels that cannot be mixed.
    """
    column = chosen_column(source.columns, settings.column)
    for template in templates:
        augment.check(template, column.shape, column.settings)
    splits = [name.strip() for name in settings.only_split.split(",")]
    others = None
    if any(template.mixes for template in templates):
        others = Mixtures(column, _labels(source.columns, settings.labels), splits)
        others.read(source.light([column.name, *COLUMNS, *others.labels]))
    copies = _Copies(column, splits, others)
    left_out = LeftOut()
    for batch in batches():
        # Nothing that a copy could be made of is in memory more than so often.
        most = 1 + settings.copies * len(templates)
        rows = max(1, _BYTES // (4 * int(np.prod(column.shape)) * most))
        for first in range(0, len(batch), rows):
            piece = batch.take(range(first, min(first + rows, len(batch))))
            drawn = _drawn(piece, copies, templates, settings, left_out, fail)
            places = [
                (row, recipe)
                for row, made in enumerate(drawn)
                if made is not None
                for recipe in [None] * settings.originals + made
            ]
            if places:
                yield copies.rows(piece, places)
    for told in (str(left_out), others.told() if others else ""):
        if told:
            say(told)


def chosen_column(columns: Mapping[str, Column], name: str) -> Column:
    """Return the features or embedding to augment; raises `UsageError` where that is unclear."""
    known = [c for c in columns.values() if c.role in ("feature", "embedding") and c.shape]
    names = ", ".join(c.name for c in known)
    if name:
        known = [c for c in known if c.name == name]
    if len(known) == 1:
        return known[0]
    if not known:
        raise UsageError(
            f"no features {f'{name!r} ' * bool(name)}to augment: the input has "
            f"{names or ', '.join(columns)}; make some with mt-spec before"
        )
    raise UsageError(f"the input has {names}: choose what to augment with --column NAME")


def _labels(columns: Mapping[str, Column], text: str) -> list[Column]:
    """Return the labels to mix; raises `UsageError` where none is named or one cannot be mixed."""
    known = [c for c in columns.values() if c.role in _SAID and c.kind != "other"]
    names = ", ".join(c.name for c in known)
    if not text and known:
        raise UsageError(
            f"mixup and cutmix mix labels too, and the input has {names}: say which with --labels "
            f"{known[0].name}, or --labels {NONE}"
        )
    asked = [] if text == NONE else [name.strip() for name in text.split(",") if name.strip()]
    chosen = []
    for name in dict.fromkeys(asked):
        column = columns.get(name)
        if column is None or column not in known:
            raise UsageError(f"--labels {name}: no such label; the input has {names or 'none'}")
        if column.kind == "strings":
            raise UsageError(
                f"--labels {name}: a table has no place for shares of tags; mix while training, "
                "with mt-train --recipe, or leave it out"
            )
        chosen.append(column)
    return chosen


_SAID = ("label", "target", "prediction")
"""Roles of columns that say something of a track: not of a mixture with another."""


# --- what is mixed in ----------------------------------------------------------------------------


@dataclass
class _Mixed:
    """A label column as numbers that can be averaged: of classes a share for each."""

    column: Column
    vocabulary: dict[str, int]
    unknown: int = 0

    @property
    def made(self) -> Column:
        """The column that is written."""
        if self.column.kind in ("string", "boolean"):
            words = list(self.vocabulary)
            settings = {"vocabulary": words}
            return dataclasses.replace(
                self.column, kind="vector", settings=settings, shape=(len(words),)
            )
        if self.column.kind == "integer":
            return dataclasses.replace(self.column, kind="number")
        return self.column

    def numbers(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return [n] or [n, classes], NaN where unlabelled or of no class of the vocabulary."""
        if not self.vocabulary:
            return np.array(values, dtype=np.float64)
        found = np.full((len(values), len(self.vocabulary)), np.nan)
        for row in np.flatnonzero(labelled(values)).tolist():
            place = self.vocabulary.get(class_name(values[row]))
            if place is None:
                self.unknown += 1
            else:
                found[row] = 0.0
                found[row, place] = 1.0
        return found


class Mixtures:
    """The rows that can be mixed in: those of the copied splits that have features.

    Their features lie in a temporary file, their labels in memory.
    """

    def __init__(self, column: Column, labels: Sequence[Column], splits: Sequence[str]) -> None:
        self._column = column
        self._splits = splits
        self.labels = {label.name: _Mixed(label, {}) for label in labels}
        self._places: dict[str, int] = {}
        self._pools: dict[Part, list[tuple[str, str]]] = {}
        self._values: dict[str, NDArray[Any]] = {}
        self._features: NDArray[Any] = np.zeros((0, *column.shape), np.float32)

    def read(self, table: Iterable[Batch]) -> None:
        """Take in a table; raises `UsageError` for one without a split."""
        spool = ArraySpool(self._column)
        values: dict[str, list[NDArray[Any]]] = {name: [] for name in self.labels}
        unsplit = True
        for batch in table:
            parts = parts_of(batch)
            unsplit &= all(part == (None, None) for part in parts)
            features = batch[self._column.name]
            rows = copied(batch, features, self._splits)
            spool.write(features[rows])
            for row in rows:
                pool = self._pools.setdefault(parts[row], [])
                pool.append((batch.origins[row], batch.ids[row]))
                self._places[batch.ids[row]] = len(self._places)
            for name in self.labels:
                values[name].append(batch[name][rows])
        if unsplit:
            raise UsageError(
                "mixup and cutmix draw from the table, whose rows have no split yet, and a split "
                "drawn later would have a row on both sides: run mt-fetch split before"
            )
        for pool in self._pools.values():
            pool.sort()
        self._features = spool.finish() if self._places else self._features
        for name, label in self.labels.items():
            known = np.concatenate(values[name])
            if label.column.kind in ("string", "boolean"):
                words = sorted({class_name(value) for value in known[labelled(known)]})
                label.vocabulary.update({word: place for place, word in enumerate(words)})
                if not words:
                    raise UsageError(f"--labels {name}: no row of the copied splits is labelled")
            self._values[name] = known

    def pool(self, typed: str, origin: str, part: Part) -> Sequence[str]:
        """Return the ids of the rows that one of an origin can be mixed with.

        Raises `RowError` where there are none.
        """
        if typed:
            raise UsageError(f"--recipe: what is mixed in is drawn; leave out {typed!r}")
        others = Others(self._pools.get(part, []), origin)
        if not others:
            of = f" of the split {part[0]}" if part[0] else ""
            raise RowError(f"no row{of} of another track to mix with", "missing")
        return others

    def features(self, id_: str) -> NDArray[np.float32]:
        """Return the features of a row."""
        return np.asarray(self._features[self._places[id_]], dtype=np.float32)

    def label(self, name: str, id_: str) -> Any:
        """Return a row's label as numbers."""
        place = self._places[id_]
        return self.labels[name].numbers(self._values[name][place : place + 1])[0]

    def told(self) -> str:
        """Say which labels were lost; the empty text where none was."""
        lost = [f"{one.unknown} of {name}" for name, one in self.labels.items() if one.unknown]
        if not lost:
            return ""
        return f"labels of classes that the copied splits do not have, null now: {', '.join(lost)}"


# --- copies as rows ------------------------------------------------------------------------------


def copied(batch: Batch, features: NDArray[Any], splits: Sequence[str]) -> list[int]:
    """Return the rows that are copied, by their split, of those that have features."""
    there = ~np.isnan(features.reshape(len(batch), -1)).any(axis=1)
    split = batch.get("split")
    return [row for row in np.flatnonzero(there).tolist() if split[row] in (None, *splits)]


def _drawn(
    batch: Batch,
    copies: _Copies,
    templates: Sequence[Template],
    settings: AugmentSettings,
    left_out: LeftOut,
    fail: Fail,
) -> list[list[Recipe] | None]:
    """Draw the recipes of each row's copies; None of a row that failed, which is reported."""
    column, others = copies.column, copies.others
    before = batch.get("recipe")
    names = [o if r is None else f"{o}#{r}" for o, r in zip(batch.origins, before, strict=True)]
    chances = Chances(names, settings.seed)
    parts, origins = parts_of(batch), batch.origins
    drawn: list[list[Recipe] | None] = [[] for _ in range(len(batch))]
    for row in copied(batch, batch[column.name], copies.splits):
        if parse(before[row] or "").on_features:
            raise UsageError(
                f"the features of {batch.ids[row]} were augmented before: augment those of the "
                "original tracks"
            )

        def pool(_: str, typed: str, row: int = row) -> Sequence[str]:
            assert others is not None
            return others.pool(typed, origins[row], parts[row])

        try:
            made = [
                template.draw(
                    chances.of(row, number, copy), p=settings.p, shape=column.shape, pool=pool
                )
                for number, template in enumerate(templates)
                for copy in range(settings.copies)
            ]
        except RowError as error:
            report_row(fail, batch, row, error)
            drawn[row] = None
        else:
            drawn[row] = left_out.of(made)
    return drawn


class _Copies:
    """Makes rows and their copies of rows and recipes."""

    def __init__(self, column: Column, splits: Sequence[str], others: Mixtures | None) -> None:
        self.column, self.splits, self.others = column, splits, others

    def rows(self, batch: Batch, places: Sequence[tuple[int, Recipe | None]]) -> Batch:
        """Return rows and their copies (None is the row itself); both have the same columns."""
        recipes = [recipe for _, recipe in places]
        batch = batch.take([row for row, _ in places])
        copies = np.array([recipe is not None for recipe in recipes])
        features = batch[self.column.name]
        around = augment.goes_around(self.column.settings)
        partners = [_partner(recipe) for recipe in recipes]
        for place in np.flatnonzero(copies).tolist():
            other = None
            if self.others is not None and partners[place]:
                other = self.others.features(partners[place])
            recipe = recipes[place]
            assert recipe is not None
            features[place] = augment.apply(recipe, features[place], other, around=around)
        batch = _named(batch.replace(self.column, features), recipes)
        for column in batch.columns.values():
            if column.role in ("feature", "embedding") and column.name != self.column.name:
                batch = _without(batch, column, copies)
        return batch if self.others is None else self._mixed(batch, recipes, partners)

    def _mixed(
        self, batch: Batch, recipes: Sequence[Recipe | None], partners: Sequence[str]
    ) -> Batch:
        """Return the batch with the labels of its mixtures mixed, or null."""
        assert self.others is not None
        mixed = np.array([bool(partner) for partner in partners])
        for name, label in self.others.labels.items():
            values = label.numbers(batch[name])
            for place in np.flatnonzero(mixed).tolist():
                recipe = recipes[place]
                assert recipe is not None
                own = augment.weight(recipe, self.column.shape)
                other = self.others.label(name, partners[place])
                values[place] = own * values[place] + (1 - own) * other
            batch = batch.replace(label.made, values)
        for column in batch.columns.values():
            known = column.role in _SAID and column.kind != "other"
            if known and column.name not in self.others.labels:
                batch = _without(batch, column, mixed)
        return batch


def _partner(recipe: Recipe | None) -> str:
    """Return the id of the row that a recipe mixes in, "" for none."""
    effects = recipe.on_features if recipe else ()
    return next((e.partner for e in effects if isinstance(e, Mixup | Cutmix)), "")


def _named(batch: Batch, recipes: Sequence[Recipe | None]) -> Batch:
    """Return rows that are called and marked as copies where there is a recipe."""
    rows = list(zip(batch.ids, recipes, strict=True))
    own = zip(batch.get("origin"), batch.origins, recipes, strict=True)
    origins = [stored if recipe is None else origin for stored, origin, recipe in own]
    ids = [id_ if recipe is None else f"{id_}#{recipe}" for id_, recipe in rows]
    said = zip(batch.get("recipe"), recipes, strict=True)
    texts = [
        before if recipe is None else ",".join(filter(None, (before, str(recipe))))
        for before, recipe in said
    ]
    batch = batch.replace(reserved("id"), ids).replace(reserved("origin"), origins)
    return batch.replace(reserved("recipe"), texts)


def _without(batch: Batch, column: Column, rows: NDArray[np.bool_]) -> Batch:
    """Return the batch with a column that is null in these rows."""
    if not rows.any():
        return batch
    values = np.array(batch[column.name])
    values[rows] = np.nan if values.dtype.kind == "f" else None
    return batch.replace(column, values)

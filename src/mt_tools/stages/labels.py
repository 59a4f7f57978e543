"""A file of labels as it is joined to a table: which columns, under which names, found by a key.

Keys are compared as texts in NFC without blanks around them, whole or a part of them. As numbers,
so that `000002` is 2, where the keys of the labels are whole numbers without leading zeros, or
where they are digits and those of the table numbers. An `id` that the labels do not have is tried
as its `origin`: copies and segments get the labels of their track.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.stages.settings import JoinSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import RESERVED, Column
from mt_tools.tables.delimited import repeated
from mt_tools.tables.labels import Codes, Labels, beside, joint, listed, row_a_key

_JOINED = ("group", "split", "fold")
"""Reserved names that are taken without being asked for: what data sets publish beside labels."""

_EXAMPLES = 3


def some(names: Sequence[str]) -> str:
    """Return a few names for a message."""
    return ", ".join([*names[:_EXAMPLES], *["..."] * (len(names) > _EXAMPLES)])


def counted(number: int, noun: str) -> str:
    """Return a number of things in words.

    >>> counted(1, "row"), counted(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def pairs_of(option: str, texts: Sequence[str], what: str) -> dict[str, str]:
    """Return `NEW=OLD` texts as {new: old}; `what` says what was expected."""
    found: dict[str, str] = {}
    for text in texts:
        new, equals, old = text.partition("=")
        if not (new and equals and old):
            raise UsageError(f"--{option} {text}: expected {what}")
        if new in found:
            raise UsageError(f"--{option}: {new!r} is said twice")
        found[new] = old
    return found


def renamings(option: str, text: Sequence[str]) -> dict[str, str]:
    """Return `[NEW=]OLD` texts as {new: old}."""
    full = [part if "=" in part else f"{part}={part}" for part in text]
    return pairs_of(option, full, "[NEW=]COLUMN")


class Match:
    """The rows of a file of labels, found by the keys of a table that has these `columns`.

    Columns that are called as one of `as_text` stay text, whatever they look like.
    `added` describes the columns that it puts beside the table; `found`, `absent` and `keyless`
    count the rows of the table since `restart`. Raises `UsageError` for what does not fit.
    """

    def __init__(
        self,
        labels: Labels,
        columns: Mapping[str, Column],
        settings: JoinSettings,
        as_text: Container[str] = (),
    ) -> None:
        if not len(labels):
            raise UsageError(f"{labels.name} has no rows: nothing to join")
        self.name = labels.name
        self.left, _, right = settings.on.partition("=")
        right = right or self.left
        if not settings.on:
            both = [name for name in labels.names if name in columns]
            hint = f", such as --on {both[0]}" if both else ""
            raise UsageError(
                f"what do the table and {self.name} have in common? say --on KEY or LEFT=RIGHT"
                f"{hint}; the table has {listed(columns)}; the labels have "
                f"{listed(labels.names)}"
            )
        if self.left not in columns:
            raise UsageError(f"no column {self.left!r} in the table: it has {listed(columns)}")
        self._part = _part(settings.key)
        self._column = columns[self.left]
        if self._column.kind not in ("string", "integer", "number"):
            raise UsageError(
                f"--on {self.left}: texts or whole numbers expected, got {self._column.kind}"
            )
        codes, words = labels.words(right)
        keys = self._read_keys(codes, words)
        self._choose(labels, right, settings)
        self._refuse_clashes(columns, settings)
        batch = labels.batch(self._chosen, self._wide, as_text)
        if "group" in self._chosen:
            batch = batch.replace(batch.columns["group"], _groups(batch["group"]))
        collected = {new: labels.words(old) for new, old in self._collected.items()}
        self._rows, self._repeats = row_a_key(batch, keys, self._texts, collected, self.name)
        self.added = self._rows.columns
        for name in self.added.keys() & columns.keys():
            self.added[name] = joint(columns[name], self.added[name])
        self._gaps = sum(labels.gaps(list(tags.values())) for tags in self._wide.values())
        self._keyless_labels = int((keys < 0).sum())
        self.restart()

    def _read_keys(self, codes: Codes, words: list[str]) -> Codes:
        """Number the keys of the labels; return the number of each row, -1 = none."""
        parts = [self._part(word) for word in words]
        digits = all(part.isascii() and part.isdecimal() for part in parts if part)
        plain = all(part == _number(part) for part in parts if part)
        self._numbers = digits and (plain or self._column.kind != "string")
        self._position: dict[str, int] = {}
        self._texts: list[str] = []
        numbers = np.full(len(words) + 1, -1, np.int32)  # the last is that of no key
        used = np.zeros(len(words) + 1, bool)
        used[codes] = True
        for code, part in enumerate(parts):
            if part and used[code]:
                key = _number(part) if self._numbers else part
                numbers[code] = self._position.setdefault(key, len(self._position))
                if numbers[code] == len(self._texts):
                    self._texts.append(words[code])
        return numbers[codes]

    def _choose(self, labels: Labels, key: str, settings: JoinSettings) -> None:
        """Decide which columns are taken, under which names."""
        said = pairs_of("multilabel", settings.multilabel, "NEW=COLUMNS, such as tags=tag_*")
        self._wide = {new: _wide(labels, text, key) for new, text in said.items()}
        self._collected = renamings("collect", settings.collect)
        names = [name.strip() for name in settings.columns.split(",") if name.strip()]
        self._chosen = renamings("columns", names)
        if not (names or self._collected):
            used = {key, *(old for tags in self._wide.values() for old in tags.values())}
            self._chosen = {
                name: name
                for name in labels.names
                if name not in used and (name in _JOINED or name not in RESERVED)
            }
        new = [*self._chosen, *self._wide, *self._collected]
        if twice := repeated(new):
            raise UsageError(f"{', '.join(twice)} would be joined twice: give one another name")
        if not new:
            raise UsageError(f"{self.name} has no column to join beside its key {key}")

    def _refuse_clashes(self, columns: Mapping[str, Column], settings: JoinSettings) -> None:
        new = [*self._chosen, *self._wide, *self._collected]
        if kept := [name for name in new if name in ("id", "origin")]:
            raise UsageError(
                f"{kept[0]} stays as it is in the table: take the column under another name, as in "
                f"--columns NEW={kept[0]}"
            )
        clashes = [name for name in new if name in columns]
        if clashes and not settings.replace:
            raise UsageError(
                f"the table has {some(clashes)} already: choose with --columns COLUMN or "
                "NEW=COLUMN what is taken, or overwrite with --replace"
            )

    def restart(self) -> None:
        """Count from the beginning."""
        self.found = self.keyless = 0
        self.absent: list[str] = []
        self._absent = 0
        self._seen = np.zeros(len(self._texts), bool)
        self._zeros = ""

    def rows_of(self, batch: Batch) -> Codes:
        """Return the row of the labels for each row of a table, -1 where they have none."""
        keys = self._keys(batch)
        rows = np.array([self._row(key) for key in keys], np.int32)
        if self.left == "id" and "origin" in batch:
            origins = batch.origins
            for row in np.flatnonzero(rows < 0):
                rows[row] = self._row(origins[row])
        found = rows >= 0
        self._seen[rows[found]] = True
        self.found += int(found.sum())
        for row in np.flatnonzero(~found):
            key = keys[row]
            self.keyless += key is None
            self._absent += key is not None
            if key is not None and len(self.absent) <= _EXAMPLES and key not in self.absent:
                self.absent.append(key)
        return rows

    def _keys(self, batch: Batch) -> list[str | None]:
        if self._column.kind == "integer":
            numbers = batch.integers(self.left)
            return [None if number is None else str(number) for number in numbers]
        if self._column.kind == "string":
            return list(batch[self.left])
        values = batch[self.left]
        if (values % 1 > 0).any():
            raise UsageError(f"--on {self.left}: texts or whole numbers expected, got fractions")
        return [None if value != value else str(int(value)) for value in values.tolist()]

    def _row(self, text: str | None) -> int:
        part = self._part(text) if text is not None else ""
        row = self._position.get(_number(part) if self._numbers else part, -1)
        if row >= 0 and self._numbers and part != _number(part):
            self._zeros = self._zeros or part
        return row

    def beside(self, batch: Batch, rows: Codes) -> Batch:
        """Return the batch with these rows of the labels beside it."""
        return beside(batch, self._rows, rows)

    def check(self) -> None:
        """Raise a `UsageError` where labels were joined and no row has one."""
        if not self.found and (self._absent or self.keyless):
            raise UsageError(
                f"no row of the table is in {self.name}: its {self.left} is such as "
                f"{some(self.absent) or 'null'}, the keys of the labels such as "
                f"{some(self._texts) or 'null'}; see --on and --key"
            )

    def notes(self, missing: str) -> list[str]:
        """Return what there is to say about the keys, a line each."""
        total = self.found + self._absent + self.keyless
        done = {"keep": "kept unlabelled", "drop": "dropped", "fail": "failed"}[missing]
        lines = [f"{self.found:,} of {counted(total, 'row')} found in {self.name}"]
        if self._absent:
            lines[0] += f"; {self._absent:,} not, such as {some(self.absent)}: {done}"
        if self.keyless:
            lines.append(f"{counted(self.keyless, 'row')} without {self.left}: {done}")
        if self._zeros:
            lines.append(f"keys were compared as numbers: {self._zeros} is {_number(self._zeros)}")
        unused = np.flatnonzero(~self._seen)
        if len(unused):
            names = [self._texts[key] for key in unused[: _EXAMPLES + 1]]
            lines.append(
                f"{len(unused):,} of {counted(len(self._texts), 'key')} of {self.name} matched no "
                f"row, such as {some(names)}"
            )
        if self._repeats:
            repeats = counted(self._repeats, "row")
            lines.append(f"{repeats} of {self.name} said again what another says: left out")
        if self._keyless_labels:
            keyless = counted(self._keyless_labels, "row")
            lines.append(f"{keyless} of {self.name} without a key: left out")
        if self._gaps:
            gaps = counted(self._gaps, "row")
            lines.append(f"{gaps} of {self.name} with some cells empty: those were taken for 0")
        return lines


def _number(text: str) -> str:
    """Return digits without leading zeros; other texts as they are."""
    return text.lstrip("0") or "0" if text.isascii() and text.isdecimal() else text


def _part(wanted: str) -> Callable[[str], str]:
    """Return what gives the part of a key that is compared."""
    if wanted in ("", "name", "stem"):
        chosen = {"": _whole, "name": _name, "stem": _stem}[wanted]
        return lambda text: chosen(unicodedata.normalize("NFC", text.strip()))
    try:
        pattern = re.compile(wanted)
    except re.error as error:
        raise UsageError(f"--key {wanted}: no regular expression ({error})") from error
    if pattern.groups != 1:
        raise UsageError(
            f"--key {wanted}: expected name, stem, or a regular expression with one (group)"
        )

    def matched(text: str) -> str:
        text = unicodedata.normalize("NFC", text.strip())
        found = pattern.search(text)
        return found[1] or "" if found else text

    return matched


def _whole(text: str) -> str:
    return text


def _name(text: str) -> str:
    return re.split(r"[/\\]", text)[-1]


def _stem(text: str) -> str:
    from mt_tools.sound.info import AUDIO_ENDINGS

    name = _name(text)
    stem, dot, ending = name.rpartition(".")
    return stem if dot and ending.lower() in AUDIO_ENDINGS else name


def _wide(labels: Labels, text: str, key: str) -> dict[str, str]:
    """Return the columns of 0 and 1 that `--multilabel` names, as {tag: column}."""
    tags: dict[str, str] = {}
    for pattern in (part.strip() for part in text.split(",")):
        before, star, after = pattern.partition("*")
        if not star:
            tags[pattern] = pattern
            continue
        for name in labels.names:
            tag = name[len(before) : len(name) - len(after)]
            fits = tag and name.startswith(before) and name.endswith(after)
            free = name != key and name not in RESERVED
            if fits and free and labels.bits(name) is not None:
                tags[tag] = name
    if not tags:
        raise UsageError(f"--multilabel {text}: {labels.name} has no such columns of 0 and 1")
    return tags


def _groups(names: NDArray[np.object_]) -> list[str | None]:
    """Return artists as groups: "Various Artists" is none."""
    from mt_tools.sound.info import AudioInfo, group_of

    info = [name and AudioInfo(None, 0, 0, artist=name) for name in names]
    return [group_of(one, "") or None if one else None for one in info]

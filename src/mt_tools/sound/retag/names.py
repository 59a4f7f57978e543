"""Fields as people name them, and what may stand in one.

A name is a field's common one, as `sound.fields` has it (genre, mood, bpm), a format's own name for
it (TCON, tmpo, WM/Mood), or any other text. `TXXX:NAME` and `----:MEAN:NAME` ask for a free field
even where the formats have a place of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mt_tools.errors import RowError
from mt_tools.sound.fields import NATIVE, PICTURES, Native, field_name

# Numbers, texts with a language and pairs, which each format counts and packs in its own way.
_UNWRITTEN = frozenset({"lyrics", "tracknumber", "discnumber", "rating", "playcount"}) | PICTURES
WRITTEN = tuple(name for name in NATIVE if name not in _UNWRITTEN)
"""The common names of fields that formats have places for and that are written here."""

# ID3v2.4 (structure, section 4): a subset of ISO 8601. Players read no other date.
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d)?)?)?)?)?")


@dataclass(frozen=True)
class Name:
    """A field to read or write.

    `text` is as typed; `common` the name under which values are found, in lower case; `label` the
    name of a free field; `free` says that a free field was asked for.
    """

    text: str
    common: str
    label: str
    free: bool

    @property
    def native(self) -> Native:
        """The places that formats have for this field."""
        return Native() if self.free else NATIVE.get(self.common, Native())


class Store(Protocol):
    """Tags of one kind in a file; a file may hold several that say the same."""

    def values(self, name: Name) -> list[str]:
        """Return the values of a field, from every place that means it."""

    def put(self, name: Name, values: Sequence[str], *, add: bool) -> None:
        """Give a field these values at each of its places; with `add` also where it had none."""


def parse_name(text: str) -> Name:
    """Understand a name as typed; `RowError` of kind `unwritable` for one that is not written."""
    typed = text.strip()
    common = field_name(typed)
    kind, _, rest = typed.partition(":")
    label = rest if kind.lower() == "txxx" else typed
    if kind == "----":
        label = rest.partition(":")[2] or rest
    if not label or not label.isprintable():
        raise RowError(
            f"{text!r} names no field, expected one such as genre, mood or TXXX:NAME", "unwritable"
        )
    if common in _UNWRITTEN:
        raise RowError(
            f"{text} has places and numbers of its own in each format, which are not written here; "
            f"choose another field, such as grouping or TXXX:{common.upper()}",
            "unwritable",
        )
    return Name(typed, common, label, label != typed)


def unwritable(name: Name, why: str) -> RowError:
    """Say that a field or its values cannot stand in a file."""
    return RowError(f"{name.text}: {why}", "unwritable")


def broken(what: str) -> RowError:
    """Say that tags are so broken that rewriting them would lose something."""
    return RowError(
        f"{what}, so that they are left alone; mend them with a tag editor", "broken-tags"
    )


def checked(name: Name, values: Iterable[str]) -> list[str]:
    """Return values that every format can hold, each once."""
    kept = list(dict.fromkeys(values))
    for value in kept:
        if not value.strip():
            raise unwritable(name, "an empty value, expected text; no values remove the field")
        if "\0" in value:
            raise unwritable(
                name, f"a value with NUL in it ({value[:40]!r}), which separates values"
            )
        try:
            value.encode()
        except UnicodeEncodeError:
            raise unwritable(name, f"a value that is no Unicode text ({value[:40]!r})") from None
        if name.common == "date" and not name.free and not _DATE.fullmatch(value):
            raise unwritable(name, f"{value[:40]!r}, expected a date such as 1999 or 1999-12-31")
    return kept


def whole_number(name: Name, value: str) -> str:
    """Round a tempo, for a format whose place for it holds integers."""
    try:
        number = int(float(value) + 0.5)
    except (ValueError, OverflowError):
        number = -1
    if not 0 <= number < 1 << 15:
        raise unwritable(name, f"{value[:40]!r}, expected a number of beats a minute")
    return str(number)


def unite(lists: Iterable[Iterable[str]]) -> list[str]:
    """Return all values, each once."""
    return list(dict.fromkeys(value for values in lists for value in values))


def parts(text: str) -> list[str]:
    """Split what a format without several values joins by `;`."""
    return [part for part in (part.strip() for part in text.split(";")) if part]


def joined(name: Name, values: Sequence[str]) -> str:
    """Join values for a format that has no way to hold several: `Rock; Pop`.

    Programs read `/`, `;` or both as a separator, but a slash is part of names (R&B/Soul) and a
    scan by mt-fetch leaves it alone.
    """
    for value in values:
        if ";" in value:
            raise unwritable(
                name, f"{value[:40]!r} holds a ';', which separates values here; try --id3 2.4"
            )
        if value != value.strip():
            raise unwritable(name, f"{value[:40]!r} begins or ends with a space")
    return "; ".join(values)

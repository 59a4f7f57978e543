"""Label columns out of the fields of files and libraries: what `--tag COLUMN=FIELD[:kind]` says.

Conventions: a label without a value is None: unlabelled. A class is the field's first value; tags
are all its values, parted by the separators too; a number is the first value that is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mt_tools.errors import UsageError
from mt_tools.sound.fields import Fields, field_name
from mt_tools.sound.info import bpm_of, split_values, year_of
from mt_tools.tables.columns import Column, guess_role

KINDS = {
    "multiclass": "string",
    "multilabel": "strings",
    "regression": "number",
    "ordinal": "number",
}
"""The kinds of tasks that a field can be the label of, and the kinds of their columns."""

# Names of fields that have a colon themselves.
_WITH_COLON = ("txxx:", "----:", "comm:", "wxxx:", "tipl:", "tmcl:")


@dataclass(frozen=True)
class Label:
    """A column, the field that it is read from, and how: a kind, or `year` or `bpm`."""

    column: str
    field: str
    kind: str

    def described(self) -> Column:
        """Return the column of the wire."""
        return Column(self.column, {**KINDS, "year": "integer", "bpm": "number"}[self.kind])


USUAL = (
    Label("genre", "genre", "multilabel"),
    Label("artist", "artist", "multiclass"),
    Label("album", "album", "multiclass"),
    Label("title", "title", "multiclass"),
    Label("year", "date", "year"),
    Label("bpm", "bpm", "bpm"),
)
"""What every scan reads."""


def parse_label(text: str) -> Label:
    """Read `COLUMN=FIELD[:kind]`; without a kind it is multiclass. Raises `UsageError`.

    >>> parse_label("energy=TXXX:ENERGY:regression")
    Label(column='energy', field='energy', kind='regression')
    """
    form = f"--tag {text!r}: expected COLUMN=FIELD[:kind], such as energy=ENERGY:regression"
    column, equals, rest = text.partition("=")
    column = column.strip()
    field, colon, kind = rest.rpartition(":")
    if not colon or (kind not in KINDS and rest.lower().startswith(_WITH_COLON)):
        field, kind = rest, "multiclass"
    if not (equals and column and field.strip()):
        raise UsageError(form)
    if kind not in KINDS:
        raise UsageError(
            f"--tag {text!r}: kind {kind!r} cannot be read from a tag, expected one of "
            f"{', '.join(KINDS)}"
        )
    if guess_role(column, KINDS[kind]) != "label" or column.startswith("mt."):
        raise UsageError(
            f"--tag {text!r}: {column!r} is no name for a label: the wire keeps it; say another"
        )
    return Label(column, field_name(field), kind)


def read_label(label: Label, fields: Fields, separators: str) -> tuple[Any, str | None]:
    """Return the label's value, and the text that should have been a number and is none."""
    values = fields.get(label.field, [])
    match label.kind:
        case "year":
            return year_of(values), None
        case "bpm":
            return bpm_of(values), None
        case "multiclass":
            return (values[0] if values else None), None
        case "multilabel":
            return split_values(values, separators) or None, None
    numbers = (_number(value) for value in values)
    number = next((number for number in numbers if number is not None), None)
    return number, values[0] if values and number is None else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None

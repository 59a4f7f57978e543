"""Recipes: what is done to a track's sound when it is decoded, as one short text in a table.

A recipe stands in the table's `recipe` column (docs/wire.md), so that augmented copies
cost no disk: `pitch=+2`, `stretch=1.1`, `pitch=-2,stretch=1.1`. The fields of `Recipe` are the
table of effects: each says its unit, its range and the value that changes nothing. A field's order
is its order in the text; `mt_tools.sound.effects.apply` carries the recipe out.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from mt_tools.errors import UsageError
from mt_tools.settings import setting


@dataclass(frozen=True)
class Recipe:
    """The effects put on one copy of a track; the default changes nothing.

    `str(recipe)` is its canonical text, which `parse` reads back to an equal recipe; the text of
    the identity is empty. A value that is not a number within its range raises `UsageError`.
    """

    pitch: float = setting(
        0.0, "shift in semitones, up when positive, at the same speed", minimum=-24, maximum=24
    )
    stretch: float = setting(
        1.0, "factor on the length at the same pitch: 1.1 is 10 % longer", minimum=0.25, maximum=4
    )

    def __post_init__(self) -> None:
        for field in EFFECTS.values():
            value = getattr(self, field.name)
            low, high = field.metadata["minimum"], field.metadata["maximum"]
            if not (math.isfinite(value) and low <= value <= high):
                raise UsageError(
                    f"{field.name} is {value:g}, expected a number from {low:g} to {high:g} "
                    f"({field.metadata['help']})"
                )

    def __bool__(self) -> bool:
        """Say whether the recipe changes anything."""
        return self != Recipe()

    def __str__(self) -> str:
        return ",".join(
            f"{field.name}={_number(getattr(self, field.name), signed=_is_signed(field))}"
            for field in EFFECTS.values()
            if getattr(self, field.name) != field.default
        )


EFFECTS: dict[str, dataclasses.Field[Any]] = {
    field.name: field for field in dataclasses.fields(Recipe)
}


def parse(text: str) -> Recipe:
    """Read a recipe such as `pitch=-2,stretch=1.1`; the empty text is the identity.

    Raises `UsageError` for an effect that does not exist or stands twice, for a value that is
    not a number, and for one out of range.
    """
    values: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in EFFECTS:
            raise UsageError(
                f"unknown effect {name!r} in the recipe {text!r}, "
                f"expected one of {', '.join(EFFECTS)}, as in pitch=+2"
            )
        if name in values:
            raise UsageError(f"{name} stands twice in the recipe {text!r}; leave one")
        try:
            values[name] = float(number)
        except ValueError:
            raise UsageError(
                f"{name} is {number!r} in the recipe {text!r}, expected a number, as in {name}=2"
            ) from None
    return Recipe(**values)


def _is_signed(field: dataclasses.Field[Any]) -> bool:
    return bool(field.metadata["minimum"] < 0)


def _number(value: float, *, signed: bool) -> str:
    """Print the shortest text that reads back to the same number, so that text and recipe agree."""
    text = repr(float(value)).removesuffix(".0")
    return f"+{text}" if signed and value > 0 else text

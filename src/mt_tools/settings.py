"""What a setting is: a field of a frozen dataclass, defined once.

The field feeds the command-line option, the man page, the provenance in the table and the
function that computes. Standard library only, so that `--help` stays fast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


def setting(
    default: Any,
    help: str,
    *,
    flags: Sequence[str] = (),
    choices: Sequence[str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    metavar: str | None = None,
    result: bool = True,
    panel: str | None = None,
    argument: bool = False,
) -> Any:
    """Declare a field of a settings dataclass.

    `flags` are extra or replacing option names (`--no-x` forms are made for booleans),
    `choices` closes the set of values, `minimum` and `maximum` bound a number inclusively, `result`
    says whether the value can change the result (only then it enters the provenance), `panel`
    groups options in the help, and `argument` makes it positional. A list default makes the
    option repeatable.
    """
    metadata = {
        "help": help,
        "flags": tuple(flags),
        "choices": tuple(choices),
        "minimum": minimum,
        "maximum": maximum,
        "metavar": metavar,
        "result": result,
        "panel": panel,
        "argument": argument,
    }
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def result_settings(settings: Any) -> dict[str, Any]:
    """Return the settings that can change the result, as plain JSON values."""
    kept = {}
    for field in dataclasses.fields(settings):
        if field.metadata.get("result", True):
            value = getattr(settings, field.name)
            kept[field.name] = list(value) if isinstance(value, list | tuple) else value
    return kept


def differences(got: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Spell out every setting that differs, as `name: got 22050, expected 12000`."""
    lines = []
    for name in sorted({*got, *expected}):
        if got.get(name) != expected.get(name):
            lines.append(f"{name}: got {got.get(name)!r}, expected {expected.get(name)!r}")
    return lines

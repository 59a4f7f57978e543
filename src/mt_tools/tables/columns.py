"""What a column of the wire is: its name, kind, role and settings.

Goal: one description that every format (Parquet, Arrow, NPZ, JSON lines, CSV) can carry, and that
the rest of the package can read without knowing Arrow.

Kinds and the numpy arrays they appear as (`None`, or NaN for numbers, is unlabelled):

| kind      | Arrow                            | numpy                                          |
|-----------|----------------------------------|------------------------------------------------|
| `string`  | string, large, view, dictionary  | object [n] of str or None                      |
| `boolean` | bool                             | object [n] of bool or None                     |
| `integer` | any integer                      | float64 [n], NaN = null                        |
| `number`  | any float                        | float64 [n], NaN = null                        |
| `strings` | list<string>                     | object [n] of list[str] or None; [] = none     |
| `vector`  | fixed_size_list<float, d>        | float32 [n, d], NaN = null                     |
| `tensor`  | fixed_shape_tensor[shape]        | float32 [n, *shape], NaN = null                |
|           | either of uint8, with `levels`   | float32, as above: see `tables.levels`         |
| `audio`   | struct<bytes, path>              | object [n] of (bytes, str) or None             |
| `other`   | anything else                    | passes through unread                          |
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from mt_tools.tables.levels import Levels

RESERVED = {
    "id": "string",
    "origin": "string",
    "path": "string",
    "audio": "audio",
    "length": "number",
    "start": "number",
    "duration": "number",
    "sample_rate": "integer",
    "channels": "integer",
    "recipe": "string",
    "group": "string",
    "split": "string",
    "fold": "integer",
}
FEATURES = ("mel", "mfcc", "chroma", "stft")
_OF_TAGGING = ("changes", "written", "margin", "rank")  # what mt-tag says beside predictions
ROLES = ("reserved", "label", "feature", "embedding", "target", "prediction")


@dataclass(frozen=True)
class Column:
    """One column: `shape` is that of a vector (d,) or tensor; `settings` say how it was made.

    `transform` holds the fitted transform that features went through (`features.transforms`, as
    text), so that a model which learns from them can do the same to sound.
    """

    name: str
    kind: str
    role: str = "label"
    settings: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    half: bool = False  # stored as float16: only for logarithmic values
    levels: Levels | None = None  # stored as uint8
    transform: str = ""

    def renamed(self, name: str) -> Column:
        """Return the same column under another name."""
        return dataclasses.replace(self, name=name)


def reserved(name: str) -> Column:
    """Return the description of one of the reserved columns."""
    return Column(name, RESERVED[name], "reserved")


def guess_role(name: str, kind: str) -> str:
    """Return the role that a name and kind have when no metadata says otherwise."""
    if name in RESERVED:
        return "reserved"
    if name in FEATURES and kind in ("tensor", "vector"):
        return "feature"
    if name == "embedding" or name.startswith("embedding."):
        return "embedding"
    if kind == "tensor":
        return "feature"
    if name.endswith(("_pred", "_score")) or name in _OF_TAGGING:
        return "prediction"
    return "label"

"""What a report is made of, whatever it is written as: sections of words, tables and pictures.

Conventions: everything here is plain text; `html` and `markdown` escape it. A picture is the bytes
of an .svg file with words that say the same to those who cannot see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from mt_tools.report.terminal import number


@dataclass(frozen=True)
class Words:
    """A paragraph; `tone` is plain, note or warning."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Number:
    """A number in a table, with its interval; `bar` where both lie between 0 and 1."""

    value: float | None
    low: float | None = None
    high: float | None = None
    bar: bool = False

    @property
    def text(self) -> str:
        """The value with the digits that a reader can use."""
        return digits(self.value)

    @property
    def interval(self) -> str:
        """Both ends of the interval, empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"{digits(self.low)} to {digits(self.high)}"


def digits(value: float | None) -> str:
    """Return a number with as many digits as its neighbours, so that columns can be compared."""
    if value is None or math.isnan(value):
        return "–"
    if isinstance(value, int):  # a count
        return f"{value:,}"
    return f"{value:.3f}" if value == 0 or 0.01 <= abs(value) < 10 else number(value)


Cell = str | Number


@dataclass(frozen=True)
class Table:
    """A table: its caption, the heads of its columns, and its rows."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Picture:
    """A figure: `name` is that of its file, `alt` says in words what it shows."""

    name: str
    svg: bytes
    alt: str


@dataclass
class Section:
    """A heading and what stands below it, further sections included."""

    title: str
    parts: list[Words | Table | Picture | Section] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """A whole report: `foot` says what made it."""

    title: str
    sections: Sequence[Section]
    foot: str = ""

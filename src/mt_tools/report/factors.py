"""Terms of factors on a terminal: a line a factor or region, as in Table 2 of the REP study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from mt_tools.report.terminal import ToStdout, clean, number
from mt_tools.tables.batch import Batch

NUMBERS: dict[str, tuple[str, Callable[[float], str]]] = {
    "lift": ("lift", lambda value: f"{number(value)}×"),
    "weight": ("weight", number),
    "loading": ("weight", lambda value: f"{value:+.2f}"),
    "share": ("weight", lambda value: f"{value:.1%}"),
}
"""What can stand beside a term: the column that it is in, and how it is written."""


class TermsView:
    """Shows rows of terms in lines: those that are equal in the columns `by` stand in one.

    `says` is the number that stands beside each term, of `NUMBERS`, or "" for none. A column in
    which all rows are equal is left out unless it is the last of `by`.
    """

    def __init__(self, by: Sequence[str], says: str = "") -> None:
        self._console = ToStdout()
        self._by, self._says = list(by), says
        self._rows: list[dict[str, Any]] = []

    def write(self, batch: Batch) -> None:
        """Take rows."""
        self._rows += batch.rows()

    def finish(self, rows: int, failed: int) -> None:
        """Print everything."""
        lines: dict[tuple[Any, ...], list[str]] = {}
        for row in self._rows:
            lines.setdefault(tuple(row[key] for key in self._by), []).append(self._term(row))
        last = len(self._by) - 1
        shown = [i for i in range(len(self._by)) if i == last or len({k[i] for k in lines}) > 1]
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for place in shown:
            numeric = all(isinstance(key[place], int) for key in lines)
            table.add_column(
                self._by[place], justify="right" if numeric else "left", overflow="fold"
            )
        table.add_column("strongest terms", overflow="fold")
        for key, terms in lines.items():
            table.add_row(*(Text(clean(str(key[i]))) for i in shown), Text(", ".join(terms)))
        self._console.print(table)

    def _term(self, row: dict[str, Any]) -> str:
        if not self._says:
            return clean(row["term"])
        column, written = NUMBERS[self._says]
        value = row[column]
        return clean(row["term"]) + ("" if value is None else f" {written(value)}")

    def abort(self) -> None:
        """Print nothing: the error says what happened."""

"""Rows on a terminal: short readable tables, and bars for metrics; never binary."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mt_tools.metrics import LOWER_IS_BETTER
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

ROWS = 20
_WIDEST = 32
_BAR = 24
_FEWEST = 8  # characters of a bar that still says something
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int = _BAR) -> str:
    """Return a bar of `share` (0 to 1) of `width` characters, in eighths of a character."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, part = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[part] if part else "")


def interval_bar(value: float, low: float, high: float, width: int = _BAR) -> str:
    """Return a bar of `value` (0 to 1) with its interval, of `width` characters.

    It is full up to the lower end, darker up to the value and lighter up to the upper end; dots
    lead on to 1.
    """
    first, middle, last = (round(max(0.0, min(1.0, end)) * width) for end in (low, value, high))
    middle, last = max(first, middle), max(first, middle, last)
    return "█" * first + "▓" * (middle - first) + "░" * (last - middle) + "·" * (width - last)


class ToStdout(Console):
    """The console on stdout of every view.

    A reader that left early ends the command as a pipe does; rich would end it with code 1.
    """

    def __init__(self, soft_wrap: bool = False) -> None:
        super().__init__(file=sys.stdout, highlight=False, soft_wrap=soft_wrap)

    def on_broken_pipe(self) -> None:
        """Say so to the command, which knows what to do."""
        raise BrokenPipeError


def clean(text: str) -> str:
    """Return text that a terminal shows as it is: control characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def number(value: float) -> str:
    """Return a number with the digits that a reader can use: three decimals, or four digits."""
    if value != value:
        return "–"
    if value == round(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    if abs(value) >= 1e4:
        return f"{value:.4g}" if abs(value) >= 1e6 else f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.4g}"
    return f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.2g}"


def cell(column: Column, value: Any) -> str:
    """Return a value as people read it."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if column.kind in ("vector", "tensor"):
        if np.isnan(value).all():
            return "–"
        return "×".join(map(str, column.shape)) + " floats"
    if column.kind == "strings":
        return clean(", ".join(value)) if value else "(none)"
    if column.kind == "integer":
        return str(int(value))
    if column.kind == "number":
        return number(value)
    if column.kind == "boolean":
        return "yes" if value else "no"
    if column.kind == "audio":
        return f"{len(value[0] or b'')} bytes"
    return clean(str(value))


class TableView:
    """Shows the first rows as a table, and how many more there are."""

    def __init__(self, columns: Sequence[str] = (), rows: int = ROWS) -> None:
        self._console = ToStdout()
        self._wanted = list(columns)
        self._limit = rows
        self._rows: list[list[str]] = []
        self._names: list[str] = []

    def write(self, batch: Batch) -> None:
        """Take rows; only the first are kept."""
        columns = {n: c for n, c in batch.columns.items() if c.kind != "other"}
        self._names = [n for n in self._wanted if n in columns] or list(columns)
        free = self._limit - len(self._rows)
        head = batch.take(range(min(free, len(batch))))
        arrays = [(columns[name], head[name]) for name in self._names]
        for row in range(len(head)):
            self._rows.append([cell(column, values[row]) for column, values in arrays])

    def finish(self, rows: int, failed: int) -> None:
        """Print the table: as many columns as fit, and the names of the others."""
        filled = [i for i in range(len(self._names)) if any(row[i] != "–" for row in self._rows)]
        widths = {i: max(len(r[i]) for r in [*self._rows, self._names]) for i in filled}
        capped = {i: min(width, _WIDEST) for i, width in widths.items()}
        shown: list[int] = []
        for index in filled:
            if shown and sum(capped[i] + 2 for i in [*shown, index]) > self._console.width + 2:
                break
            shown.append(index)
        # What is left of the line goes to the last column, which may be a message.
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for index in shown:
            numeric = bool(self._rows) and all(_is_number(row[index]) for row in self._rows)
            last = index == shown[-1]
            table.add_column(
                self._names[index],
                justify="right" if numeric else "left",
                overflow="fold" if last else "ellipsis",
                no_wrap=not last,
                max_width=None if last else _WIDEST,
            )
        for row in self._rows:
            table.add_row(*[Text(row[index]) for index in shown])
        self._console.print(table)
        if rows > len(self._rows):
            self._console.print(f"… and {rows - len(self._rows)} more rows", style="dim")
        hidden = [self._names[i] for i in filled if i not in shown]
        if hidden:
            self._console.print(f"not shown: {', '.join(hidden)}", style="dim")

    def abort(self) -> None:
        """Print nothing: the error says what happened."""


class MetricsView:
    """Shows metrics a task at a time: with intervals, then those of each label side by side.

    Beside values from 0 to 1 stands a bar where the terminal is wide enough. What is known of leaks
    and other notes stand once a task; rows of single splits are counted.
    """

    def __init__(self) -> None:
        self._console = ToStdout()
        self._rows: list[dict[str, Any]] = []

    def write(self, batch: Batch) -> None:
        """Take rows."""
        self._rows += batch.rows()

    def finish(self, rows: int, failed: int) -> None:
        """Print everything."""
        several = len({row["column"] for row in self._rows}) > 1
        tasks = dict.fromkeys((row["task"], row["column"]) for row in self._rows)
        for place, (task, column) in enumerate(tasks):
            mine = [r for r in self._rows if (r["task"], r["column"]) == (task, column)]
            splits = {row["repeat"] for row in mine} - {None}
            mine = [row for row in mine if row["repeat"] is None]
            overall = [row for row in mine if row["label"] is None]
            name = f"{clean(task)} from {clean(column)}" if several else clean(task)
            about = overall[0]["protocol"] or "" if overall else ""
            if overall and f"{overall[0]['n']} rows" not in about:
                about += f", {overall[0]['n']} rows"
            self._console.print(Text("\n" * bool(place)), end="")
            self._console.print(Text(name, style="bold"), Text(about, style="dim"))
            for line in dict.fromkeys(row["leak"] for row in mine if row["leak"]):
                style = "bold yellow" if "allowed" in line else "dim"
                self._console.print(Text(f"leaks: {clean(line)}", style=style))
            self._console.print(self._overall(overall))
            for line in _notes(overall):
                self._console.print(Text(line, style="dim"))
            if splits:
                said = f"{len(splits)} single split{'s' * (len(splits) > 1)} not shown"
                self._console.print(Text(said, style="dim"))
            if len(overall) < len(mine):
                self._console.print()
                self._console.print(self._by_label([r for r in mine if r["label"] is not None]))

    def _overall(self, rows: list[dict[str, Any]]) -> Table:
        several = any(row["sd"] is not None for row in rows)
        cells = [
            [row["metric"], _score(row["value"]), _interval(row), *[_score(row["sd"])] * several]
            for row in rows
        ]
        heads = ["metric", "value", "95 % interval", *["sd"] * several]
        table = _plain_table(*heads)
        wide = self._room([heads, *cells])
        if wide and any(_share(row) for row in rows):
            table.add_column("0 to 1")
            for line, row in zip(cells, rows, strict=True):
                line.append(_bar_of(row, wide))
        for line in cells:
            table.add_row(*map(Text, line))
        return table

    def _by_label(self, rows: list[dict[str, Any]]) -> Table:
        metrics = list(dict.fromkeys(row["metric"] for row in rows))
        known: dict[str, dict[str, dict[str, Any]]] = {}
        for row in rows:
            known.setdefault(row["label"], {})[row["metric"]] = row
        cells = [
            [clean(label), *(_score(mine[m]["value"]) if m in mine else "–" for m in metrics),
             str(next(iter(mine.values()))["n"])]
            for label, mine in known.items()
        ]  # fmt: skip
        heads = ["label", *metrics, "n"]
        table = _plain_table(*heads)
        first = [mine.get(metrics[0]) for mine in known.values()]
        wide = self._room([heads, *cells])
        if wide and any(row is not None and _share(row) for row in first):
            table.add_column(Text(f"{metrics[0]}, 0 to 1"))
            for line, one in zip(cells, first, strict=True):
                line.append("" if one is None else _bar_of(one, wide))
        for line in cells:
            table.add_row(*map(Text, line))
        return table

    def _room(self, lines: list[list[str]]) -> int:
        """Return how wide a bar beside these cells may be; 0 where there is no room for one."""
        used = sum(max(map(len, column)) + 4 for column in zip(*lines, strict=True))
        left = min(_BAR, self._console.width - used - 4)
        return left if left >= _FEWEST else 0

    def abort(self) -> None:
        """Print nothing: the error says what happened."""


def _interval(row: dict[str, Any]) -> str:
    ends = row["low"], row["high"]
    return clean(row["note"] or "–") if None in ends else " to ".join(map(_score, ends))


def _notes(rows: list[dict[str, Any]]) -> list[str]:
    """Return each note on metrics that have an interval, and on which it is."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["note"] and None not in (row["low"], row["high"]):
            found.setdefault(row["note"], []).append(row["metric"])
    return [f"{', '.join(metrics)}: {clean(note)}" for note, metrics in found.items()]


def _share(row: dict[str, Any]) -> bool:
    """Whether a metric is from 0 to 1 and more of it is better, so that a bar says something."""
    value = row["value"]
    return value is not None and 0.0 <= value <= 1.0 and row["metric"] not in LOWER_IS_BETTER


def _bar_of(row: dict[str, Any], width: int) -> str:
    if not _share(row):
        return ""
    if row["low"] is None or row["high"] is None:
        return f"{bar(row['value'], width):·<{width}}"
    return interval_bar(row["value"], row["low"], row["high"], width)


def _plain_table(first: str, *numeric: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 2))
    table.add_column(first, overflow="fold")
    for name in numeric:
        table.add_column(name, justify="right")
    return table


def _score(value: float | None) -> str:
    """Return a metric with as many digits as its neighbours, so that columns can be compared."""
    if value is None or value != value:
        return "–"
    return f"{value:.3f}" if value == 0 or 0.01 <= abs(value) < 10 else number(value)


def _is_number(text: str) -> bool:
    try:
        float(text.replace("–", "0"))
    except ValueError:
        return False
    return True

"""Comparisons of runs on a terminal: a block a task, with what each comparison shows in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from mt_tools.report.terminal import ToStdout, clean
from mt_tools.tables.batch import Batch

_STYLES = {"better": "green", "worse": "red", "practically equal": "", "no difference shown": "dim"}
# Columns of the terminal from which on there is room for these too.
_ROOM_FOR_VALUES = 96
_ROOM_FOR_CHANCES = 124


class ComparisonsView:
    """Shows comparisons a task and metric at a time, those over all tasks last."""

    def __init__(self) -> None:
        self._console = ToStdout()
        self._rows: list[dict[str, Any]] = []

    def write(self, batch: Batch) -> None:
        """Take rows."""
        self._rows += batch.rows()

    def finish(self, rows: int, failed: int) -> None:
        """Print everything."""
        blocks: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in self._rows:
            blocks.setdefault((row["task"], row["metric"], row["label"]), []).append(row)
        for place, ((task, metric, label), mine) in enumerate(blocks.items()):
            of_label = "" if label is None else f" of {clean(label)}"
            name = f"{clean(task or 'over all tasks')}, {clean(metric)}{of_label}"
            about = mine[0]["test"] + (f", n = {mine[0]['n']}" if mine[0]["n"] is not None else "")
            self._console.print(Text("\n" * bool(place)), end="")
            self._console.print(Text(name, style="bold"), Text(about, style="dim"))
            self._console.print(self._block(mine))
            for note in dict.fromkeys(row["note"] for row in mine if row["note"]):
                self._console.print(Text(f"  {clean(note)}", style="dim"))

    def _block(self, rows: list[dict[str, Any]]) -> Table:
        width = self._console.width
        values, chances = width >= _ROOM_FOR_VALUES, width >= _ROOM_FOR_CHANCES
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for name in ("run", "against"):
            table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=max(10, width // 8))
        # The words wrap where there is no room for them; a number that was cut would be another.
        more = ["value", "other"] * values
        long = max((len(_difference(row)) for row in rows), default=0)
        for name in (*more, "difference, 95 %", "p (Holm)"):
            least = long if name.startswith("difference") else len(name)
            table.add_column(name, justify="right", no_wrap=True, min_width=least)
        if chances:
            table.add_column("chance worse/equal/better", justify="right", no_wrap=True)
        table.add_column("")
        for row in rows:
            both = [_value(row["value_b"]), _value(row["value_a"])] * values
            odds = [row[f"chance_{word}"] for word in ("worse", "equal", "better")]
            shown = "–" if None in odds else " ".join(f"{chance:.3f}" for chance in odds)
            table.add_row(
                Text(clean(row["b"])),
                Text(clean(row["a"])),
                *both,
                Text(_difference(row)),
                _p(row["p_holm"]),
                *[shown] * chances,
                Text(row["decision"], style=_STYLES[row["decision"]]),
            )
        return table

    def abort(self) -> None:
        """Print nothing: the error says what happened."""


def _difference(row: Mapping[str, Any]) -> str:
    ends = row["low"], row["high"]
    interval = "" if None in ends else f" [{', '.join(map(_value, ends))}]"
    return _value(row["difference"], "+") + interval


def _value(value: float | None, sign: str = "") -> str:
    if value is None:
        return "–"
    return f"{value:{sign}.3f}" if abs(value) < 10 else f"{value:{sign}.4g}"


def _p(p: float | None) -> str:
    return "–" if p is None else "<0.0001" if p < 0.0001 else f"{p:.4f}"

"""What sources and strategies do, on a terminal: the model, then a block a task and metric."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from mt_tools.report.terminal import TableView, ToStdout, clean, number
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

_MODEL = ("fixed", "sd", "task", "strategy", "pair")
_SHOWN = ("kind", "name", "term", "value", "low", "high", "p")
_ROWS = 1000


class EffectsView:
    """Shows the multilevel model, and of each task and metric its sources, numbers and trends."""

    def __init__(self) -> None:
        self._console = ToStdout()
        self._batch: Batch | None = None

    def write(self, batch: Batch) -> None:
        """Take rows, which come at once."""
        self._batch = batch

    def finish(self, rows: int, failed: int) -> None:
        """Print everything but single runs, which are counted."""
        if self._batch is None:
            return
        found = self._batch.rows()
        for metric in dict.fromkeys(row["metric"] for row in found if row["kind"] in _MODEL):
            at = [i for i, r in enumerate(found) if r["kind"] in _MODEL and r["metric"] == metric]
            self._heading("multilevel model", metric)
            view = TableView(_SHOWN, _ROWS)
            view.write(self._batch.take(at))
            view.finish(len(at), 0)
        blocks: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in found:
            if row["kind"] not in _MODEL and row["task"] is not None:
                blocks.setdefault((row["task"], row["metric"]), []).append(row)
        for (task, metric), mine in blocks.items():
            self._heading(task, metric)
            self._sources(mine)
            self._numbers(mine)
            self._said(mine)
        over = [row for row in found if row["task"] is None and row["kind"] in ("trend", "rank")]
        if over:
            self._heading("over all tasks", None)
            self._said(over)
        runs = sum(row["kind"] == "run" for row in found)
        if runs:
            self._console.print()
            said = f"{runs} rows of single runs not shown: -o FILE, for mt-eval plot --kind spread"
            self._console.print(Text(said, style="dim"))

    def _heading(self, name: str, metric: str | None) -> None:
        self._console.print()
        about = clean(metric or "")
        self._console.print(Text(clean(name), style="bold"), Text(about, style="dim"))

    def _sources(self, rows: list[dict[str, Any]]) -> None:
        """Show each source alone, its component, and averages with and without it."""
        cells: dict[str, dict[str, Any]] = {}
        for row in rows:
            own = cells.setdefault(row["name"] or "", {})
            if row["kind"] == "single":
                own["alone"] = row["value"]
            elif row["kind"] == "source" and row["name"] != "residual":
                own["component"] = row["value"]
            elif row["kind"] == "average" and row["number"] is None:
                own[_column(row, row["term"])] = row["value"]
        self._table("source", "string", {name: own for name, own in cells.items() if own})

    def _numbers(self, rows: list[dict[str, Any]]) -> None:
        """Show the average, the best and the spread of each number of sources."""
        cells: dict[Any, dict[str, Any]] = {}
        for row in rows:
            if row["number"] is None or row["kind"] not in ("average", "best", "spread"):
                continue
            own = cells.setdefault(row["number"], {})
            if row["name"] and row["kind"] == "average":
                own[f"{row['term']} {row['name']}"] = row["value"]
            elif row["kind"] == "average":
                own[_column(row, "mean")] = row["value"]
            elif row["kind"] == "best":
                own[_column(row, "best")] = row["value"]
            elif row["strategy"] is None:
                own["sd"] = row["value"]
                ends = row["low"], row["high"]
                own["sd, 95 %"] = None if None in ends else " to ".join(map(number, ends))
        self._table("sources", "integer", dict(sorted(cells.items())))

    def _table(self, first: str, kind: str, cells: dict[Any, dict[str, Any]]) -> None:
        if not cells:
            return
        names = list(dict.fromkeys(name for own in cells.values() for name in own))
        # What is of all strategies stands first: where the line is full, single ones are left out.
        names.sort(key=lambda name: ": " in name)
        columns = [Column(first, kind)]
        columns += [Column(name, "string" if "%" in name else "number") for name in names]
        values: dict[str, list[Any]] = {name: [own.get(name) for own in cells.values()]
                                        for name in names}  # fmt: skip
        values[first] = list(cells)
        view = TableView((), _ROWS)
        view.write(Batch.build(columns, values))
        view.finish(len(cells), 0)

    def _said(self, rows: list[dict[str, Any]]) -> None:
        """Say the trend of spread and the rank correlation in words."""
        for row in rows:
            text = ""
            if row["kind"] == "trend" and row["value"] is not None:
                ends = row["low"], row["high"]
                interval = "" if None in ends else f" ({' to '.join(map(number, ends))})"
                p = "" if row["p"] is None else f", p = {row['p']:.2g}"
                text = (
                    f"a source more changes the spread by a factor of {number(row['value'])}"
                    f"{interval}{p}: {row['term']}"
                )
            elif row["kind"] == "rank" and row["value"] is not None:
                over = "sources" if row["task"] is not None else "tasks, in the mean"
                text = (
                    f"rank correlation of sources alone with their components {row['value']:.2f} "
                    f"({row['n']} {over})"
                )
            if text:
                self._console.print(Text(text, style="dim"))

    def abort(self) -> None:
        """Print nothing: the error says what happened."""


def _column(row: dict[str, Any], term: str) -> str:
    return term if row["strategy"] is None else f"{row['strategy']}: {term}"

"""What learning sources and strategies do, as a part of a report: mt-eval compare --design."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mt_tools.report.document import Number, Table, Words

Row = Mapping[str, Any]

_MODEL = {
    "fixed": "effect",
    "sd": "deviation of effects",
    "task": "deviation of a task",
    "strategy": "deviation of a strategy",
}
_TERMS = {"intercept": "level", "sources": "a source more"}


def effect_parts(rows: Sequence[Row], words: Callable[[str], str]) -> Iterator[Words | Table]:
    """Yield the multilevel model, then of each task and metric its sources and their numbers.

    `words` writes a metric as people do. What is told apart by strategy too stands in the rows
    alone, but for the mean of each.
    """
    for metric in dict.fromkeys(row["metric"] for row in rows if row["kind"] in _MODEL):
        lines = [
            [
                _MODEL[row["kind"]],
                row["name"] or "all",
                _TERMS.get(row["term"] or "", row["term"] or ""),
                Number(row["value"], row["low"], row["high"]),
                Number(row["p"]),
            ]
            for row in rows
            if row["kind"] in _MODEL and row["metric"] == metric
        ]
        of = f" of {words(metric)}" if metric else ""
        heads = ["what", "of", "on", "value (95 % interval)", "p"]
        yield Table(f"Multilevel model{of}: what the number of sources does", heads, lines)
    for task, metric in dict.fromkeys(
        (row["task"], row["metric"]) for row in rows if row["kind"] == "average"
    ):
        own = [row for row in rows if (row["task"], row["metric"]) == (task, metric)]
        yield from _of_metric(own, f"{task}, {words(metric)}")
    yield from _trends([row for row in rows if row["task"] is None], "All tasks")


def _of_metric(rows: Sequence[Row], title: str) -> Iterator[Words | Table]:
    together = [row for row in rows if row["strategy"] is None]

    def found(kind: str, **wanted: Any) -> Row | None:
        fits = (r for r in together if r["kind"] == kind)
        return next((r for r in fits if all(r[key] == wanted[key] for key in wanted)), None)

    def cell(row: Row | None) -> Number:
        return Number(None) if row is None else Number(row["value"], row["low"], row["high"])

    sources = dict.fromkeys(
        row["name"]
        for row in together
        if row["kind"] == "average" and row["name"] and row["number"] is None
    )
    heads = ["source", "runs with it", "runs without it", "alone", "component (sd)"]
    lines = [
        [
            name,
            cell(found("average", name=name, term="with", number=None)),
            cell(found("average", name=name, term="without", number=None)),
            cell(found("single", name=name)),
            cell(found("source", name=name)),
        ]
        for name in sources
    ]
    yield Table(f"{title}: means with and without each source", heads, lines)
    numbers = [
        row
        for row in together
        if row["kind"] == "average" and row["number"] is not None and not row["name"]
    ]
    heads = ["sources", "runs", "mean", "sd (95 % interval)", "best", "of the best"]
    lines = []
    for row in numbers:
        best = found("best", number=row["number"])
        spread = found("spread", number=row["number"])
        name = best["name"] if best else ""
        runs = str(row["n"])
        lines.append([str(row["number"]), runs, cell(row), cell(spread), name, cell(best)])
    yield Table(f"{title}: by the number of sources", heads, lines)
    yield from _trends(together, title)


def _trends(rows: Sequence[Row], title: str) -> Iterator[Words]:
    """Yield in words by which factor a source more changes the spread, and what the best one says.

    See `evaluate.averages` for the three readings of the first.
    """
    found = [row for row in rows if row["kind"] == "trend" and row["value"] is not None]
    cells = [(row["term"], Number(row["value"], row["low"], row["high"])) for row in found]
    said = [f"{reading} × {cell.text} ({cell.interval})" for reading, cell in cells]
    if said:
        yield Words(f"{title}: with a source more the spread is {', '.join(said)}.", "note")
    for row in rows:
        if row["kind"] == "rank" and row["value"] is not None:
            text = "ranks of sources alone and of their components"
            yield Words(f"{title}: {text} correlate by {Number(row['value']).text}.", "note")

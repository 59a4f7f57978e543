"""Metrics of predictions against labels; a row a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.evaluate.score import score
from mt_tools.stages.judging import (
    Predicted,
    check_labels,
    clusters_of,
    leak_line,
    metric_rows,
    part_of,
    predictions_of,
    said_of,
    table_of,
)
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

_Judged = tuple[np.ndarray, np.ndarray, np.ndarray | None, list[str]]


def scored(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    tasks: Sequence[str],
    parts: Sequence[str],
    seed: int,
    allow_leak: bool = False,
) -> tuple[Batch, list[str]]:
    """Score the predictions in a table against its labels; return metric rows and notes.

    `parts` are the splits whose rows are scored, all where none are named. Where no task is named
    those that cannot be scored are noted. Raises `UsageError` where there is nothing to score, and
    for a split that leaks, unless that is allowed.
    """
    named = _named(tasks, columns)
    whole = _table(batches, named)
    leaks = {one.name: leak_line(whole, "split", allow_leak, one.leaks) for one in named}
    table = part_of(whole, parts)
    said = said_of(table)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    if "train" in table.get("split"):
        notes.append("rows of train are scored too: --splits test leaves them out")
    unscored: list[UsageError] = []
    for one in named:
        name = one.name
        try:
            check_labels(one.label, one.kind, columns[one.label], table[one.label])
            result = score(one.kind, *_judged(table, one, columns), clusters_of(table), seed=seed)
        except UsageError as error:
            if tasks:
                raise UsageError(f"{name}: {error}") from error
            unscored.append(error)
            notes.append(f"{name}: {error}")
            continue
        protocol = f"{result['n']} rows{said} in {result['clusters']} clusters"
        protocol += f", {result['interval']}"
        shared = {"task": name, "protocol": protocol, "leak": leaks[name]}
        for metric, found in result["metrics"].items():
            rows.append(shared | {"metric": metric, "n": result["n"]} | _numbers(found))
        for label, of_label in result.get("labels", {}).items():
            rows.extend(
                shared
                | {"metric": metric, "label": label, "n": of_label["support"]}
                | _numbers(found)
                for metric, found in of_label.items()
                if metric != "support"
            )
        notes += [f"{name}: {note}" for note in result["notes"]]
        for left, why in (("unlabelled", "have no label"), ("unpredicted", "have no prediction")):
            if result[left]:
                notes.append(f"{name}: {result[left]} rows {why} and are left out")
    if not rows:
        raise UsageError("; ".join(notes)) from unscored[0]
    return metric_rows(rows), notes


def confusions(
    batches: Iterable[Batch], columns: dict[str, Column], tasks: Sequence[str], parts: Sequence[str]
) -> Batch:
    """Return how often each class was taken for which: a row a task and true class.

    Beside `task`, `truth` and the number of rows `n` there is a column for each predicted class.
    Raises `UsageError` where no task has classes.
    """
    named = [one for one in _named(tasks, columns) if one.kind in ("multiclass", "ordinal")]
    if not named:
        raise UsageError("--confusion: none of the tasks has classes, which it counts")
    table = part_of(_table(batches, named), parts)
    rows: list[dict[str, Any]] = []
    for one in named:
        result = score(one.kind, *_judged(table, one, columns), draws=1)
        for truth, counts in zip(result["classes"], result["confusion"], strict=True):
            row = {"id": f"{one.name}.{truth}", "task": one.name, "truth": truth, "n": sum(counts)}
            predicted = zip(result["classes"], counts, strict=True)
            rows.append(row | {f"predicted {name}": count for name, count in predicted})
    names = list(dict.fromkeys(name for row in rows for name in row))
    kinds = {"id": "string", "task": "string", "truth": "string"}
    described = [
        Column(name, kinds.get(name, "integer"), "reserved" if name == "id" else "label")
        for name in names
    ]
    return Batch.build(described, {name: [row.get(name) for row in rows] for name in names})


def _named(tasks: Sequence[str], columns: dict[str, Column]) -> list[Predicted]:
    named = [one for text in tasks or [""] for one in predictions_of(text, columns)]
    if not named:
        raise UsageError(
            "nothing to score: no column has both a label and a <label>_pred; give the output of "
            "mt-tag on labelled tracks"
        )
    return named


def _table(batches: Iterable[Batch], named: Sequence[Predicted]) -> Batch:
    needed = [n for p in named for n in (p.label, f"{p.name}_pred", f"{p.name}_score")]
    return table_of(batches, ["id", "origin", "group", "split", *needed])


def _judged(table: Batch, one: Predicted, columns: dict[str, Column]) -> _Judged:
    """Return the labels of a task, its predictions, their scores and the vocabulary of those."""
    column = columns.get(f"{one.name}_score")
    vocabulary = column.settings.get("vocabulary", []) if column else []
    scores = table[f"{one.name}_score"] if column and vocabulary else None
    return table[one.label], table[f"{one.name}_pred"], scores, vocabulary


def _numbers(found: dict[str, Any]) -> dict[str, Any]:
    """Return a metric as cells of its row."""
    return {key: found[key] for key in ("value", "low", "high")} | {"note": found["reason"] or None}

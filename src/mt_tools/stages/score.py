"""Metrics of predictions against labels; a row a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mt_tools.errors import UsageError
from mt_tools.evaluate.score import score
from mt_tools.stages.judging import clusters_of, metric_rows, predictions_of, table_of
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column


def scored(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    tasks: Sequence[str],
    parts: Sequence[str],
    seed: int,
) -> tuple[Batch, list[str]]:
    """Score the predictions in a table against its labels; return metric rows and notes."""
    named = [one for text in tasks or [""] for one in predictions_of(text, columns)]
    if not named:
        raise UsageError(
            "nothing to score: no column has both a label and a <label>_pred; give the output of "
            "mt-tag on labelled tracks"
        )
    needed = [n for p in named for n in (p.label, f"{p.name}_pred", f"{p.name}_score")]
    table = table_of(batches, ["id", "origin", "group", "split", *needed])
    if parts:
        table.require("split")
        table = table.take([i for i, part in enumerate(table["split"]) if part in parts])
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for one in named:
        name = one.name
        column = columns.get(f"{name}_score")
        vocabulary = column.settings.get("vocabulary", []) if column else []
        result = score(
            one.kind,
            table[one.label],
            table[f"{name}_pred"],
            table[f"{name}_score"] if column and vocabulary else None,
            vocabulary,
            clusters_of(table),
            seed=seed,
        )
        protocol = f"{result['n']} rows in {result['clusters']} clusters, bootstrap (BCa, 95 %)"
        for metric, found in result["metrics"].items():
            rows.append(
                {"task": name, "metric": metric, "n": result["n"], "protocol": protocol,
                 "note": found["reason"] or None,
                 **{key: found[key] for key in ("value", "low", "high")}}
            )  # fmt: skip
        for label, numbers in {**result.get("per_class", {}), **result.get("per_tag", {})}.items():
            support = numbers.get("support")
            rows.extend(
                {"task": name, "metric": metric, "label": label, "value": value, "n": support}
                for metric, value in numbers.items()
                if metric != "support"
            )
        notes += [f"{name}: {note}" for note in result["notes"]]
        for left, why in (("unlabelled", "have no label"), ("unpredicted", "have no prediction")):
            if result[left]:
                notes.append(f"{name}: {result[left]} rows {why} and are left out")
    return metric_rows(rows), notes

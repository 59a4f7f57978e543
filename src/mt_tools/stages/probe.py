"""Probes of embeddings; a row a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mt_tools.errors import UsageError
from mt_tools.evaluate.probe import probe
from mt_tools.evaluate.settings import ProbeSettings
from mt_tools.stages.judging import KINDS, label_of, metric_rows, table_of
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column


def probed(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    tasks: Sequence[str],
    embeddings: Sequence[str],
    settings: ProbeSettings,
    jobs: int,
) -> tuple[Batch, list[str]]:
    """Probe every embedding for every task; return metric rows and notes."""
    if not tasks:
        labels = [c.name for c in columns.values() if c.role == "label" and c.kind in KINDS]
        raise UsageError(f"no --task: say which label to predict, one of {', '.join(labels)}")
    named = [label_of(text, columns) for text in tasks]
    vectors = list(embeddings) or [
        c.name
        for c in columns.values()
        if c.role == "embedding" or (c.kind == "vector" and c.role == "feature")
    ]
    if not vectors:
        raise UsageError(
            f"no embedding column in the input ({', '.join(columns)}): make one with mt-embed"
        )
    for name in vectors:
        if name not in columns or columns[name].kind != "vector":
            raise UsageError(f"--column {name}: not a column of vectors")
    table = table_of(batches, ["id", "origin", "group", *vectors, *(name for name, _ in named)])
    groups = table.get("group")
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for vector in vectors:
        for name, kind in named:
            result = probe(
                table[vector], table[name], kind, groups, table.origins, settings,
                jobs=jobs, task=name,
            )  # fmt: skip
            protocol = f"{settings.probe}, {result.protocol}"
            rows.extend(
                {"task": name, "column": vector, "metric": metric, "n": result.n,
                 "protocol": protocol, "value": found.value, "low": found.low, "high": found.high,
                 "sd": found.sd, "note": found.reason or None}
                for metric, found in result.metrics.items()
            )  # fmt: skip
            notes += [f"{name}: {note}" for note in result.notes]
            for left, why in ((result.unlabelled, "no label"), (result.unusable, "no vector")):
                if left:
                    notes.append(f"{name}: {left} rows have {why} and are left out")
    return metric_rows(rows), list(dict.fromkeys(notes))

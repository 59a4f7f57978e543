"""Probes of embeddings; a row a number. On which splits, `stages.splitwise` says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.evaluate.checkpoint import Checkpoint
from mt_tools.evaluate.probe import Probing, prepare
from mt_tools.evaluate.settings import ProbeSettings, ProbeTaskSettings
from mt_tools.stages.judging import (
    KINDS,
    check_labels,
    embeddings_of,
    label_of,
    metric_rows,
    table_of,
)
from mt_tools.stages.splitwise import Bar, Parted, leaks_of, no_bar, outcomes_of, parted, rows_of
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column


def probed(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    asked: ProbeTaskSettings,
    settings: ProbeSettings,
    jobs: int,
    *,
    bar: Bar = no_bar,
    checkpoint: Checkpoint | None = None,
) -> tuple[Batch, list[str]]:
    """Probe every embedding for every task; return metric rows and notes.

    The splits of all of them are tested side by side in `jobs` threads. `checkpoint` keeps those
    that are done, and has those that a run before this one has done.
    """
    named, vectors = _columns(columns, asked)
    wanted = ["id", "origin", "group", "split", "fold", *vectors, *(name for name, _ in named)]
    table = table_of(batches, wanted)
    for name, kind in named:
        check_labels(name, kind, columns[name], table[name])
    checkpoint = Checkpoint() if checkpoint is None else checkpoint
    own = parted(
        table.without(vectors),
        drawn=bool(settings.repeats or settings.folds),
        ignore_split=asked.ignore_split,
        allow_leak=asked.allow_leak,
        searched=bool(settings.search or settings.grid),
    )
    probings: list[tuple[str, str, Probing, str]] = []
    for vector in vectors:
        x = table[vector]
        for name, kind in named:
            probing = prepare(
                x, table[name], kind, table.get("group"), table.origins, settings,
                pool=own.pool, pairs=own.pairs, valid=own.valid, given=own.name, task=name,
            )  # fmt: skip
            probings.append((vector, name, probing, _leaks(table, vector, x, probing, own)))

    outcomes, notes = outcomes_of([probing for _, _, probing, _ in probings], jobs, bar, checkpoint)
    rows: list[dict[str, Any]] = []
    notes += own.notes
    for (vector, name, probing, leak), found in zip(probings, outcomes, strict=True):
        result = probing.result(found)
        common = {"task": name, "column": vector, "protocol": result.protocol, "leak": leak}
        rows += [common | row for row in rows_of(result, asked.each)]
        about = f"{name} from {vector}" if len(vectors) > 1 else name
        for note in result.notes:
            notes.append(f"{about if note.startswith('chosen') else name}: {note}")
        for left, why in ((result.unlabelled, "no label"), (result.unusable, "no vector")):
            if left:
                notes.append(f"{name}: {left} rows have {why} and are left out")
    return metric_rows(rows), list(dict.fromkeys(notes))


def _columns(
    columns: dict[str, Column], asked: ProbeTaskSettings
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the labels with their kinds, and the columns of vectors, that were asked for."""
    if not asked.task:
        labels = [c.name for c in columns.values() if c.role == "label" and c.kind in KINDS]
        raise UsageError(f"no --task: say which label to predict, one of {', '.join(labels)}")
    named = [label_of(text, columns) for text in asked.task]
    return named, embeddings_of(columns, asked.column)


def _leaks(table: Batch, vector: str, x: np.ndarray, probing: Probing, own: Parted) -> str:
    """Return what every line of a probe says of leaks."""
    rows = probing.known.rows
    return leaks_of(
        own, vector, x[rows], None if own.pairs is None else table[own.name][rows],
        ids=table.ids[rows], origins=table.origins[rows],
        groups=table.get("group")[rows] if probing.plan.grouped else None,
    )  # fmt: skip

"""Labels that the rest of a table does not predict; a row a candidate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.evaluate.noise import CAVEAT, NoiseReport, noise
from mt_tools.evaluate.settings import NoiseSettings
from mt_tools.stages.judging import KINDS, embeddings_of, label_of, metric_rows, table_of
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

PASSED = ("path", "group", "start", "duration")  # what a listener finds the music by
WORST = 5

CANDIDATE_COLUMNS = [
    Column("task", "string"),
    Column("rank", "integer"),
    Column("finding", "string"),
    Column("label", "string"),
    Column("suggested", "string"),
    Column("p_label", "number"),
    Column("p_suggested", "number"),
    Column("score", "number"),
]


def suspected(
    batches: Iterable[Batch],
    columns: Mapping[str, Column],
    tasks: Sequence[str],
    embedding: str,
    top: int,
    settings: NoiseSettings,
    jobs: int,
) -> tuple[Batch, Batch, list[str]]:
    """Return the candidates of each task, the estimates as metric rows, and notes.

    `embedding` names a column of vectors, empty where there is but one; `top` is the number of
    candidates of each task that are kept, 0 for all.
    """
    if not tasks:
        labels = [c.name for c in columns.values() if c.role == "label" and c.kind in KINDS]
        raise UsageError(f"no --task: say which label to judge, one of {', '.join(labels)}")
    named = [label_of(text, dict(columns)) for text in tasks]
    vector = _embedding(columns, embedding)
    passed = [name for name in PASSED if name in columns]
    names = ["id", "origin", "group", vector, *passed, *(name for name, _ in named)]
    table = table_of(batches, names)
    rows: list[int] = []
    found: dict[str, list[Any]] = {column.name: [] for column in CANDIDATE_COLUMNS}
    estimates: list[dict[str, Any]] = []
    notes: list[str] = []
    for name, kind in named:
        report = noise(
            table[vector], table[name], kind, table.get("group"), table.origins, settings,
            jobs=jobs, task=name,
        )  # fmt: skip
        for rank, candidate in enumerate(report.candidates[: top or None], 1):
            rows.append(candidate.row)
            for column in CANDIDATE_COLUMNS:
                mine = {"task": name, "rank": rank}.get(column.name)
                value = getattr(candidate, column.name) if mine is None else mine
                found[column.name].append(value)
        estimates += _estimates(name, vector, report)
        notes += [f"{name}: {note}" for note in _notes(report)]
    kept = table.take(rows)
    listed = kept.without([n for n in kept.names if n not in ("id", "origin", *passed)])
    for column in CANDIDATE_COLUMNS:
        listed = listed.append(column, found[column.name])
    return listed, metric_rows(estimates), [*notes, CAVEAT]


def _embedding(columns: Mapping[str, Column], asked: str) -> str:
    """Return the name of the column of vectors to judge by."""
    known = embeddings_of(columns, [asked] if asked else [])
    if len(known) > 1:
        raise UsageError(
            f"the input has {', '.join(known)}: choose what to judge by with --column NAME"
        )
    return known[0]


def _estimates(task: str, vector: str, report: NoiseReport) -> list[dict[str, Any]]:
    """Return the shares of a report as metrics: over all, then by class or tag."""
    shared = {
        "task": task,
        "column": vector,
        "protocol": report.protocol,
        "leak": "none found: no two folds share an origin"
        + (" or a group" if report.grouped else "; groups not checked"),
    }
    over_all = {"noise": report.noise, report.measure: report.fit}
    rows = [
        shared
        | {"metric": metric, "value": value, "n": report.n}
        | {"note": "nothing could be judged" if np.isnan(value) else None}
        for metric, value in over_all.items()
    ]
    for label, share in report.shares.items():
        mine = shared | {"label": label, "n": share.n}
        for metric, value, why in (
            ("noise", share.noise, "not judged"),
            ("missed", share.missed, "not judged"),
            ("roc_auc", share.roc_auc, "every track carries it"),
        ):
            rows.append(
                mine | {"metric": metric, "value": value, "note": why if np.isnan(value) else None}
            )
    return rows


def _notes(report: NoiseReport) -> Iterator[str]:
    """Say how much was found and what was left out."""
    found = f"{len(report.candidates)} candidates among {report.n} tracks"
    if report.kind != "regression" and not np.isnan(report.noise):
        what = "tags given and missing" if report.kind == "multilabel" else "labels"
        found += f"; by estimate {report.noise:.1%} of the {what} are wrong"
    yield f"{found} (the rest predicts with {report.measure} {report.fit:.3f}; {report.protocol})"
    noisy = [(label, share) for label, share in report.shares.items() if share.noise > 0]
    if worst := sorted(noisy, key=lambda entry: (-entry[1].noise, entry[0]))[:WORST]:
        yield "most of it in " + ", ".join(f"{label} {share.noise:.0%}" for label, share in worst)
    for left, why in ((report.unlabelled, "label"), (report.unusable, "vector")):
        if left:
            yield f"{left} rows have no {why} and are left out"
    yield from report.notes

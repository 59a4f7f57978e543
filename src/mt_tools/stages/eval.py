"""Metrics of predictions and of embeddings, and the leaks of a table; a row a number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mt_tools import splits
from mt_tools.errors import NoRows, UsageError
from mt_tools.evaluate.leaks import Finding, check
from mt_tools.evaluate.probe import probe
from mt_tools.evaluate.require import parse, unmet
from mt_tools.evaluate.score import score
from mt_tools.evaluate.settings import ProbeSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tasks.kinds import parse_task

if TYPE_CHECKING:  # it loads torch, which scoring does not need
    from mt_tools.nets.model import Model

METRIC_COLUMNS = [
    Column("id", "string", "reserved"),
    Column("task", "string"),
    Column("column", "string"),
    Column("metric", "string"),
    Column("label", "string"),
    Column("value", "number"),
    Column("low", "number"),
    Column("high", "number"),
    Column("sd", "number"),
    Column("n", "integer"),
    Column("protocol", "string"),
    Column("note", "string"),
]
FINDING_COLUMNS = [
    Column("id", "string", "reserved"),
    Column("kind", "string"),
    Column("count", "integer"),
    Column("message", "string"),
    Column("offenders", "strings"),
]

_KINDS = {"string": "multiclass", "boolean": "multiclass", "strings": "multilabel",
          "number": "regression", "integer": "regression", "vector": "distribution"}  # fmt: skip


def _task(text: str, columns: dict[str, Column]) -> tuple[str, str]:
    """Return (column, kind) of a `--task`: as typed, or as the column's type says."""
    name, kind, _ = parse_task(text)
    if name not in columns:
        raise UsageError(f"--task {text}: no such column; the input has {', '.join(columns)}")
    kind = kind or _KINDS.get(columns[name].kind)
    if kind is None:
        raise UsageError(f"--task {text}: a {columns[name].kind} column cannot be a label")
    return name, kind


@dataclass(frozen=True)
class _Predicted:
    """A label, and a prediction of it: `name` is the label's, after the alias of its model."""

    name: str
    label: str
    kind: str


def _predictions(text: str, columns: dict[str, Column]) -> list[_Predicted]:
    """Return the predictions of a `--task`, one a model, or of every label where none is named."""
    asked = parse_task(text) if text else None
    found = []
    for column in columns.values():
        name = column.name.removesuffix("_pred")
        label = name if name in columns else name.partition(".")[2]
        if name == column.name or label not in columns:
            continue
        if asked is None or asked[0] in (name, label):
            kind = (asked[1] if asked else None) or column.settings.get("kind")
            found.append(_Predicted(name, label, kind or _task(label, columns)[1]))
    if asked and not found:
        label, _ = _task(text, columns)
        raise UsageError(
            f"--task {text}: no column {label + '_pred'!r} or ALIAS.{label}_pred; give the output "
            "of mt-tag"
        )
    return found


def table_of(batches: Iterable[Batch], kept: Sequence[str]) -> Batch:
    """Return all rows with these columns only."""
    parts = [batch.without([n for n in batch.names if n not in kept]) for batch in batches]
    if not parts:
        raise NoRows("the input had no rows: nothing to evaluate")
    return concatenate(parts)


def _clusters(table: Batch) -> np.ndarray:
    return splits.units(table.origins, table.get("group"))


def scored(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    tasks: Sequence[str],
    parts: Sequence[str],
    seed: int,
) -> tuple[Batch, list[str]]:
    """Score the predictions in a table against its labels; return metric rows and notes."""
    named = [one for text in tasks or [""] for one in _predictions(text, columns)]
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
            _clusters(table),
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
        labels = [c.name for c in columns.values() if c.role == "label" and c.kind in _KINDS]
        raise UsageError(f"no --task: say which label to predict, one of {', '.join(labels)}")
    named = [_task(text, columns) for text in tasks]
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


def metric_rows(rows: list[dict[str, Any]]) -> Batch:
    """Return metrics as a table; ids are column, task, metric and label, joined by dots."""
    several = len({row.get("column") for row in rows}) > 1
    for row in rows:
        parts = [row.get("column") if several else None, row["task"], row["metric"]]
        name = ".".join(part for part in parts if part)
        row["id"] = f"{name}[{row['label']}]" if row.get("label") else name
    values = {column.name: [row.get(column.name) for row in rows] for column in METRIC_COLUMNS}
    return Batch.build(METRIC_COLUMNS, values)


def requirements_unmet(table: Batch, required: Sequence[str]) -> list[str]:
    """Return a line for every requirement that the metrics do not meet."""
    results = {
        id_: value
        for id_, value, label in zip(table.ids, table["value"], table["label"], strict=True)
        if label is None
    }
    return unmet([parse(text) for text in required], results)


def checked(
    batches: Iterable[Batch], columns: dict[str, Column], model: Model | None
) -> list[Finding]:
    """Return what is wrong with a table, and between it and a model."""
    vectors = [c.name for c in columns.values() if c.kind == "vector" and c.role == "embedding"]
    labels = [
        c.name for c in columns.values() if c.role == "label" and c.kind in ("string", "strings")
    ]
    table = table_of(
        batches, ["id", "origin", "group", "split", "fold", "recipe", *vectors, *labels]
    )
    parts = {name: table[name] for name in ("split", "fold") if name in table}
    parts = {n: v for n, v in parts.items() if any(x is not None and x == x for x in v)}
    findings = check(
        ids=table.ids,
        origins=table.origins,
        groups=table.get("group"),
        parts=parts,
        features={name: table[name] for name in vectors},
    )
    if model is not None:
        findings += list(_misfits(columns, table, model))
    return findings


def _tags(value: str | list[str] | None) -> list[str]:
    """Return a row's label or labels as a list; none where it is unlabelled."""
    return [] if value is None else [value] if isinstance(value, str) else value


def _misfits(columns: dict[str, Column], table: Batch, model: Model) -> Iterator[Finding]:
    """Find vocabularies and settings that disagree between a table and a model."""
    for task in model.tasks:
        name = task["name"]
        if name not in table or not task["vocabulary"]:
            continue
        known = {value for row in table[name] for value in _tags(row)}
        strangers = sorted(known - set(task["vocabulary"]))
        if strangers:
            yield Finding(
                "vocabulary",
                f"{len(strangers)} labels of {name} that {model.name} does not know",
                tuple(strangers[:5]),
                len(strangers),
            )
    source = model.document["input"]
    for column in columns.values():
        if column.role == source["kind"] and column.settings:
            keys = ("digest", "pooling") if column.role == "embedding" else tuple(column.settings)
            differ = [
                f"{key}: got {column.settings.get(key)!r}, expected {source['settings'].get(key)!r}"
                for key in keys
                if key not in ("excerpt", "frames")
                and column.settings.get(key) != source["settings"].get(key)
            ]
            if differ:
                yield Finding(
                    "settings",
                    f"{column.name} does not fit {model.name}",
                    tuple(differ[:5]),
                    len(differ),
                )


def finding_rows(findings: Sequence[Finding]) -> Batch:
    """Return findings as a table."""
    return Batch.build(
        FINDING_COLUMNS,
        {
            "id": [f"{number}.{f.kind}" for number, f in enumerate(findings, 1)],
            "kind": [f.kind for f in findings],
            "count": [float(f.count) for f in findings],
            "message": [f.message for f in findings],
            "offenders": [list(f.offenders) for f in findings],
        },
    )

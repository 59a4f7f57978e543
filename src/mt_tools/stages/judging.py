"""What the stages of mt-eval begin with: the labels and predictions of a table, metrics as rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mt_tools import splits
from mt_tools.errors import NoRows, UsageError
from mt_tools.evaluate.leaks import of_split
from mt_tools.evaluate.require import parse, unmet
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tasks.kinds import parse_task
from mt_tools.tasks.labels import labelled

METRIC_COLUMNS = [
    Column("id", "string", "reserved"),
    Column("task", "string"),
    Column("column", "string"),
    Column("metric", "string"),
    Column("label", "string"),
    Column("repeat", "integer"),
    Column("value", "number"),
    Column("low", "number"),
    Column("high", "number"),
    Column("sd", "number"),
    Column("n", "integer"),
    Column("protocol", "string"),
    Column("leak", "string"),
    Column("note", "string"),
]

KINDS = {"string": "multiclass", "boolean": "multiclass", "strings": "multilabel",
          "number": "regression", "integer": "regression", "vector": "distribution"}  # fmt: skip


_NEEDS = {"regression": ("number", "integer", "boolean"), "multilabel": ("strings",),
          "distribution": ("vector",)}  # fmt: skip


def label_of(text: str, columns: dict[str, Column]) -> tuple[str, str]:
    """Return (column, kind) of a `--task`: as typed, or as the column's type says."""
    name, kind, _ = parse_task(text)
    if name not in columns:
        raise UsageError(f"--task {text}: no such column; the input has {', '.join(columns)}")
    kind = kind or KINDS.get(columns[name].kind)
    if kind is None:
        raise UsageError(f"--task {text}: a {columns[name].kind} column cannot be a label")
    return name, kind


@dataclass(frozen=True)
class Predicted:
    """A label, and a prediction of it.

    `name` is the label's, after the alias of its model; `leaks` are what the model says of the
    rows that it was trained and judged on.
    """

    name: str
    label: str
    kind: str
    leaks: tuple[str, ...] = ()


def predictions_of(text: str, columns: dict[str, Column]) -> list[Predicted]:
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
            leaks = tuple(column.settings.get("leaks", ()))
            found.append(Predicted(name, label, kind or label_of(label, columns)[1], leaks))
    if asked and not found:
        label, _ = label_of(text, columns)
        raise UsageError(
            f"--task {text}: no column {label + '_pred'!r} or ALIAS.{label}_pred; give the output "
            "of mt-tag"
        )
    return found


def embeddings_of(columns: Mapping[str, Column], asked: Sequence[str]) -> list[str]:
    """Return the columns of vectors that were asked for, or all; raises `UsageError` for others."""
    for name in asked:
        if name not in columns or columns[name].kind != "vector":
            raise UsageError(f"--column {name}: not a column of vectors")
    found = list(asked) or [
        c.name
        for c in columns.values()
        if c.role == "embedding" or (c.kind == "vector" and c.role == "feature")
    ]
    if not found:
        raise UsageError(
            f"no embedding column in the input ({', '.join(columns)}): make one with mt-embed"
        )
    return found


@dataclass(frozen=True)
class Given:
    """A table as it was typed: its name, where it was read from, and its rows."""

    name: str
    path: str
    columns: Mapping[str, Column] = field(default_factory=dict)
    batches: Iterable[Batch] = ()


def splits_of(text: str) -> list[str]:
    """Return the names of `--splits valid,test`."""
    return [part.strip() for part in text.split(",") if part.strip()]


def check_labels(name: str, kind: str, column: Column, values: np.ndarray) -> None:
    """Raise `UsageError` for labels that are not what the kind of a task needs."""
    if kind in _NEEDS and column.kind not in _NEEDS[kind] and labelled(values).any():
        raise UsageError(
            f"{name} is a {column.kind} column, {kind} needs {_NEEDS[kind][0]}: say another kind, "
            f"such as --task {name}:{KINDS.get(column.kind, 'multiclass')}, or convert the column"
        )


def part_of(table: Batch, parts: Sequence[str], what: str = "the table") -> Batch:
    """Return the rows of some splits, all where none are named.

    Raises `UsageError` for a split that no row of `what` has.
    """
    if not parts:
        return table
    table.require("split")
    known = sorted({part for part in table["split"] if part is not None})
    wrong = [part for part in parts if part not in known]
    if wrong:
        there = ", ".join(known) or "none"
        raise UsageError(f"--splits {wrong[0]}: no row of {what} has this split; there are {there}")
    return table.take([i for i, part in enumerate(table["split"]) if part in parts])


def said_of(table: Batch) -> str:
    """Return of which splits the rows of a table are, as ` of train, test`; empty where of none."""
    there = set(table.get("split"))
    if not there - {None}:
        return ""
    usual = ("train", "valid", "test")
    names = [name for name in usual if name in there] + sorted(there - {*usual, None})
    return f" of {', '.join(names + ['no split'] * (None in there))}"


def table_of(batches: Iterable[Batch], kept: Sequence[str]) -> Batch:
    """Return all rows with these columns only."""
    parts = [batch.without([n for n in batch.names if n not in kept]) for batch in batches]
    if not parts:
        raise NoRows("the input had no rows: nothing to evaluate")
    return concatenate(parts)


def clusters_of(table: Batch) -> np.ndarray:
    """Return the number of what an interval resamples, of each row: see `splits.units`."""
    return splits.units(table.origins, table.get("group"))


def leak_line(table: Batch, name: str, allowed: bool, trained: Sequence[str] = ()) -> str:
    """Return what every line of a result says of leaks: none found, not checked, or those allowed.

    `name` is the column that parts the rows, `trained` the leaks that the model was trained with:
    who allowed them then need not allow them again. Raises `UsageError` for a leaking split unless
    it is allowed.
    """
    part = table.get(name)
    found = []
    if len({value for value in part if value is not None and value == value}) > 1:
        found = of_split(
            ids=table.ids, origins=table.origins, groups=table.get("group"), part=part, name=name,
            allowed=allowed or bool(trained),
        )  # fmt: skip
    elif not trained:
        return f"not checked: no two parts of a {name} here"
    here = [leak.message.partition(":")[0] for leak in found]
    before = [leak.partition(":")[0] for leak in trained]
    told = [f"allowed: {', '.join(here)}"] * bool(here)
    told += [f"allowed in training: {', '.join(before)}"] * (bool(before) and before != here)
    return "; ".join(told) or f"none found between the parts of {name}"


def metric_rows(rows: list[dict[str, Any]]) -> Batch:
    """Return metrics as a table.

    Ids are column, task and metric joined by dots, then `[label]` and `#repeat` where there is one:
    `embedding.tags.roc_auc[jazz]`, `style.accuracy#3`.
    """
    several = len({row.get("column") for row in rows}) > 1
    for row in rows:
        parts = [row.get("column") if several else None, row["task"], row["metric"]]
        name = ".".join(part for part in parts if part)
        label, repeat = row.get("label"), row.get("repeat")
        name += "" if label is None else f"[{label}]"
        row["id"] = name if repeat is None else f"{name}#{repeat}"
    values = {column.name: [row.get(column.name) for row in rows] for column in METRIC_COLUMNS}
    return Batch.build(METRIC_COLUMNS, values)


def requirements_unmet(table: Batch, required: Sequence[str]) -> list[str]:
    """Return a line for every requirement that the metrics do not meet.

    A name may end in `.low`, `.high` or `.sd`: the ends of the interval, and the deviation.
    """
    whole = table.take(np.flatnonzero(np.isnan(table["repeat"])))
    results = dict(zip(whole.ids, whole["value"], strict=True))
    for name in ("low", "high", "sd"):
        results |= {f"{id_}.{name}": v for id_, v in zip(whole.ids, whole[name], strict=True)}
    return unmet([parse(text) for text in required], results)

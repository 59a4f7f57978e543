"""Runs to compare, as tables hold them: metrics that were stored, or predictions to judge.

A run is a table, or one of several in it: metric rows of an embedding (`column`) or of a model (the
alias before a task), predictions of a model.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.evaluate.intervals import Interval, no_interval
from mt_tools.evaluate.measure import HEADLINES
from mt_tools.evaluate.score import JUDGES, Judge, present, single_classes
from mt_tools.stages.judging import (
    Given,
    Predicted,
    check_labels,
    clusters_of,
    leak_line,
    part_of,
    predictions_of,
    table_of,
)
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tasks.labels import class_name

_SPLITS = re.compile(r"\bsplits [0-9a-f]{8}\b")
_SHARE = re.compile(r"repeats of (0?\.\d+) tested|(\d+) (?:given )?folds")


class Key(NamedTuple):
    """What is compared: a metric of a task, of one label of it where that is not None."""

    task: str
    metric: str
    label: str | None = None


@dataclass
class Entry:
    """What is known of one metric of one run: its value, and where there are splits theirs."""

    value: float = float("nan")
    interval: Interval = field(default_factory=lambda: no_interval("no interval is known"))
    n: int | None = None
    protocol: str = ""
    leak: str = ""
    each: dict[int, float] = field(default_factory=dict)
    tested: dict[int, int] = field(default_factory=dict)

    @property
    def splits(self) -> str:
        """What says which rows were tested in which split."""
        found = _SPLITS.search(self.protocol)
        return found[0] if found else self.protocol

    @property
    def test_share(self) -> float | None:
        """Rows tested in a split over all rows, where that is known."""
        if self.n and self.tested:
            return float(np.mean(list(self.tested.values()))) / self.n
        found = _SHARE.search(self.protocol)
        if found is None:
            return None
        return float(found[1]) if found[1] else 1 / int(found[2])


Entries = dict[Key, Entry]


@dataclass(frozen=True)
class Run:
    """One run: the table that it stands in, its part of it, and for metric rows its entries.

    `part` is the embedding, the alias of the model, or both.
    """

    table: str
    part: str = ""
    entries: Entries = field(default_factory=dict)


def name_and_path(text: str) -> tuple[str, str]:
    """Return name and path of a table as typed: `NAME=FILE`, or FILE, called by its stem."""
    name, equals, path = text.partition("=")
    if equals and name and "/" not in name and not os.path.exists(text):
        return name, path
    return ("stdin" if text == "-" else os.path.splitext(os.path.basename(text))[0]), text


def named(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and paths of tables as typed; those of one stem are called by their paths."""
    found = [name_and_path(text) for text in texts]
    stems = [name for name, _ in found]
    pairs = [(name if stems.count(name) == 1 else path, path) for name, path in found]
    for name, path in pairs:
        if [other for other, _ in pairs].count(name) > 1:
            raise UsageError(f"{path} stands twice: name one of them, as in other={path}")
    return pairs


def run_names(runs: Sequence[Run], tables: int) -> list[str]:
    """Return what each run is called: after its table, and after its part where it is one."""
    names = []
    for run in runs:
        several = sum(other.table == run.table for other in runs) > 1
        if several and tables == 1:
            names.append(run.part or run.table)
        else:
            names.append(f"{run.table}.{run.part}" if several and run.part else run.table)
    return names


def chosen(keys: Iterable[Key], tasks: Sequence[str], metrics: Sequence[str]) -> list[Key]:
    """Return what is compared of what there is: the metrics asked for, or the main one of a task.

    The main one is the first of a task that stands for its kind in a line (`HEADLINES`).
    """
    known = list(dict.fromkeys(keys))
    there = dict.fromkeys(key.task for key in known)
    for task in tasks:
        if task not in there:
            raise UsageError(f"--task {task}: no such task; there are {', '.join(there)}")
    known = [key for key in known if not tasks or key.task in tasks]
    there = dict.fromkeys(key.metric for key in known)
    for metric in metrics:
        if metric not in there:
            raise UsageError(f"--metric {metric}: no such metric; there are {', '.join(there)}")
    if metrics:
        return [key for key in known if key.metric in metrics]
    heads: dict[str, Key] = {}
    for key in known:
        if key.label is None:
            head = heads.setdefault(key.task, key)
            if head.metric not in HEADLINES.values() and key.metric in HEADLINES.values():
                heads[key.task] = key
    return list(heads.values())


# --- metrics -------------------------------------------------------------------------------------


def has_metrics(given: Given) -> bool:
    """Say whether a table has metric rows, and not predictions; raises `UsageError` for neither."""
    if {"run", "samples", "split", "metric", "value"} <= given.columns.keys():
        raise UsageError(
            f"{given.path} is a log of mt-train: draw it with mt-eval plot, or score the models"
        )
    if {"task", "metric", "value"} <= given.columns.keys():
        return True
    if any(name.endswith("_pred") for name in given.columns):
        return False
    raise UsageError(
        f"{given.path} has neither metrics nor predictions: give tables of mt-eval score or probe, "
        "or of mt-tag on labelled tracks"
    )


def metric_runs(tables: Sequence[Given]) -> list[Run]:
    """Return the runs of tables of metrics: one for each embedding, and each model."""
    return _by_alias([run for given in tables for run in _by_column(given)])


def _by_column(given: Given) -> list[Run]:
    rows = [row for batch in given.batches for row in batch.rows()]
    if not rows:
        raise UsageError(f"{given.path} has no rows: nothing to compare")
    columns = list(dict.fromkeys(row.get("column") or "" for row in rows))
    runs = []
    for column in columns:
        entries: Entries = {}
        for row in rows:
            if (row.get("column") or "") == column:
                _take(entries, row, given.path)
        for entry in entries.values():
            if np.isnan(entry.value) and entry.each:
                entry.value = _mean(list(entry.each.values()))
        runs.append(Run(given.name, column.removeprefix("embedding."), entries))
    return runs


def _take(entries: Entries, row: Mapping[str, Any], path: str) -> None:
    """Add a metric row to the entries of its run."""
    if not isinstance(row["task"], str) or not isinstance(row["metric"], str):
        raise UsageError(f"{path}: a row without task or metric: give tables of mt-eval")
    label = row.get("label")
    key = Key(row["task"], row["metric"], None if label is None else class_name(label))
    entry = entries.setdefault(key, Entry())
    value = _number(row["value"])
    entry.protocol = entry.protocol or row.get("protocol") or ""
    entry.leak = entry.leak or row.get("leak") or ""
    n = _number(row.get("n"))
    repeat = row.get("repeat")
    if repeat is not None and repeat == repeat:
        if int(repeat) in entry.each:
            raise UsageError(f"{path}: {key.task}.{key.metric} stands twice for split {repeat:g}")
        entry.each[int(repeat)] = value
        if n == n:
            entry.tested[int(repeat)] = int(n)
        return
    if entry.value == entry.value:
        raise UsageError(
            f"{path}: {key.task}.{key.metric} stands twice: give each run a table of its own, or "
            "its own column"
        )
    entry.value, entry.n = value, int(n) if n == n else None
    reason = row.get("note") or ""
    entry.interval = Interval(_number(row.get("low")), _number(row.get("high")), reason)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if value == value]
    return float(np.mean(defined)) if defined else float("nan")


def _by_alias(runs: Sequence[Run]) -> list[Run]:
    """Take the alias of a model off tasks, and part a run into its models.

    `a.style` is the task `style` of the model `a` where `style` stands alone or behind another
    alias too; else the dot is part of its name.
    """
    tasks = {key.task for run in runs for key in run.entries}
    ends = [task.partition(".")[2] for task in tasks]
    shared = {end for end in ends if end and (end in tasks or ends.count(end) > 1)}
    parted = []
    for run in runs:
        models: dict[str, Entries] = {}
        for key, entry in run.entries.items():
            alias, _, task = key.task.partition(".")
            known = task in shared
            own = models.setdefault(alias if known else "", {})
            own[key._replace(task=task) if known else key] = entry
        for alias, entries in models.items():
            parted.append(Run(run.table, ".".join(filter(None, (run.part, alias))), entries))
    return parted


# --- predictions ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """One model's predictions: the table that they stand in, and its tasks by label."""

    table: str
    path: str
    alias: str
    rows: Batch
    columns: Mapping[str, Column]
    tasks: dict[str, Predicted]
    leaks: dict[str, str]


def models_of(
    tables: Sequence[Given], tasks: Sequence[str], parts: Sequence[str], allow_leak: bool
) -> tuple[list[Model], list[str]]:
    """Return the models whose predictions tables hold, on the rows of some splits, and notes.

    `parts` are those splits, all rows where none are named. Raises `UsageError` for tables without
    predictions, and for a split that leaks, unless that is allowed.
    """
    models: list[Model] = []
    notes: list[str] = []
    for given in tables:
        columns = dict(given.columns)
        named = [one for text in tasks or [""] for one in predictions_of(text, columns)]
        if not named:
            raise UsageError(
                f"{given.path}: no column has both a label and a <label>_pred; give the output of "
                "mt-tag on labelled tracks"
            )
        needed = [n for p in named for n in (p.label, f"{p.name}_pred", f"{p.name}_score")]
        whole = table_of(given.batches, ["id", "origin", "group", "split", *needed])
        leaks = {one.name: leak_line(whole, "split", allow_leak, one.leaks) for one in named}
        rows = whole
        if parts:
            rows = part_of(whole, parts, given.path)
        elif "train" in whole.get("split"):
            notes.append(f"{given.name}: rows of train are compared too: --splits test")
        of_alias: dict[str, dict[str, Predicted]] = {}
        for one in named:
            alias = one.name.removesuffix(one.label).removesuffix(".")
            of_alias.setdefault(alias, {})[one.label] = one
        models += [
            Model(given.name, given.path, alias, rows, columns, own, leaks)
            for alias, own in of_alias.items()
        ]
    return models, notes


def judged(
    task: str, models: Sequence[Model], names: Sequence[str]
) -> tuple[list[Judge], np.ndarray, int]:
    """Return how each model is judged on the rows that all have, their clusters, and those left.

    Raises `UsageError` where the tables have no row in common, or differ in labels, kind or tags.
    """
    first = models[0]
    places = [{id_: row for row, id_ in enumerate(model.rows.ids)} for model in models]
    ids = [id_ for id_ in places[0] if all(id_ in place for place in places[1:])]
    if not ids:
        raise UsageError(
            f"{task}: {', '.join(names)} have no row in common by id: give predictions of the same "
            "tracks"
        )
    rows = [np.array([place[id_] for id_ in ids]) for place in places]
    truths = [m.rows[task][r] for m, r in zip(models, rows, strict=True)]
    if first.tasks[task].kind == "multiclass":
        truths = [single_classes(truth) for truth in truths]
    usable = present(truths[0])
    chosen, scores, vocabularies = [], [], []
    for model, row, truth, name in zip(models, rows, truths, names, strict=True):
        one = model.tasks[task]
        check_labels(task, one.kind, model.columns[one.label], truth)
        kind = first.tasks[task].kind
        if one.kind != kind:
            raise UsageError(f"{task}: {kind} in {names[0]} and {one.kind} in {name}")
        column = model.columns.get(f"{one.name}_score")
        vocabulary = list(column.settings.get("vocabulary", [])) if column else []
        vocabularies.append(vocabulary)
        chosen.append(model.rows[f"{one.name}_pred"][row])
        found = model.rows[f"{one.name}_score"][row] if vocabulary else None
        scores.append(found)
        usable &= present(truth) & present(chosen[-1])
        if found is not None:
            usable &= np.isfinite(found).all(axis=1)
    if not usable.any():
        raise UsageError(f"{task}: no row is labelled and predicted in {', '.join(names)}")
    for truth, name in zip(truths[1:], names[1:], strict=True):
        differ = [i for i in np.flatnonzero(usable) if not _same(truths[0][i], truth[i])]
        if differ:
            raise UsageError(
                f"{task}: the labels of {names[0]} and {name} differ in {len(differ)} rows, such "
                f"as {ids[differ[0]]!r}: give predictions on one table of labels"
            )
    if kind != "multiclass":
        for vocabulary, name in zip(vocabularies[1:], names[1:], strict=True):
            if vocabulary != vocabularies[0]:
                raise UsageError(
                    f"{task}: {names[0]} and {name} predict different labels, so that their means "
                    f"do not compare: {len(vocabularies[0])} and {len(vocabulary)} of them"
                )
    keep = np.flatnonzero(usable)
    judges = [
        JUDGES[kind](
            truth[keep], predicted[keep], None if score is None else score[keep], vocabulary
        )
        for truth, predicted, score, vocabulary in zip(
            truths, chosen, scores, vocabularies, strict=True
        )
    ]
    clusters = clusters_of(first.rows.take(rows[0][keep]))
    total = len(set().union(*(set(place) for place in places)))
    return judges, clusters, total - len(keep)


def _same(one: Any, other: Any) -> bool:
    """Say whether two labels are the same; the order of tags does not matter."""
    if isinstance(one, list):
        return sorted(one) == sorted(other)
    return bool(np.array_equal(one, other))

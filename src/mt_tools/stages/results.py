"""Tables that mt-train writes beside models: the results of a grid, and learning curves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mt_tools.errors import UsageError
from mt_tools.evaluate.measure import HEADLINES
from mt_tools.learn.history import Record
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

LOG_COLUMNS = [
    Column("id", "string", "reserved"),
    Column("run", "string"),
    Column("step", "integer"),
    Column("samples", "integer"),
    Column("epoch", "integer"),
    Column("task", "string"),
    Column("split", "string", "reserved"),
    Column("metric", "string"),
    Column("value", "number"),
]


_DRAWN = ("run", "task", "split", "metric", "samples", "value")


def log_rows(points: Sequence[tuple[str, Record]]) -> Batch:
    """Return points of learning curves, with the run that each is of, as rows."""
    values: dict[str, list[Any]] = {column.name: [] for column in LOG_COLUMNS}
    for number, (run, point) in enumerate(points):
        values["id"].append(f"{run}/{number}")
        values["run"].append(run)
        for name in ("step", "samples", "epoch", "task", "split", "metric", "value"):
            values[name].append(getattr(point, name))
    return Batch.build(LOG_COLUMNS, values)


def log_columns(
    logs: Sequence[tuple[str, Iterable[Batch]]], tasks: Sequence[str] = ()
) -> dict[str, list[Any]]:
    """Return the points of several logs as columns, a run called after its log where needed.

    `logs` are (path, rows). With `tasks` only their points stay. Raises `UsageError` for a table
    that is no log, and for a task that no log has, and names those that they have.
    """
    found: dict[str, list[Any]] = {name: [] for name in _DRAWN}
    stems = [os.path.splitext(os.path.basename(path))[0] for path, _ in logs]
    for place, (path, batches) in enumerate(logs):
        label = stems[place] if stems.count(stems[place]) == 1 else path
        rows: dict[str, list[Any]] = {name: [] for name in _DRAWN}
        for batch in batches:
            lacking = [name for name in _DRAWN if name not in batch]
            if lacking:
                raise UsageError(
                    f"{path} is no log of mt-train: it has no column {', '.join(lacking)}; make "
                    "one with mt-train --log FILE"
                )
            for name in _DRAWN:
                rows[name] += batch[name].tolist()
        if len(logs) > 1:
            several = len(set(rows["run"])) > 1
            rows["run"] = [f"{label} {run}" if several else label for run in rows["run"]]
        for name in _DRAWN:
            found[name] += rows[name]
    known = list(dict.fromkeys(task for task in found["task"] if task))
    wrong = [task for task in tasks if task not in known]
    if wrong:
        raise UsageError(f"--task {wrong[0]}: no such task in the log; it has {', '.join(known)}")
    keep = [place for place, task in enumerate(found["task"]) if not tasks or task in tasks]
    return {name: [values[place] for place in keep] for name, values in found.items()}


def results(runs: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> Batch:
    """Return a row a run: its name, the settings that vary, and the metrics of each task.

    `runs` are (name, settings, document of the model). Metrics are of the test rows, or where there
    are none of the valid rows, as `part` says; of several repeats they are means, beside their
    deviations `_sd`. The main metric of each task stands first.
    """
    rows: list[dict[str, Any]] = []
    for name, settings, document in runs:
        metrics = document["metrics"]
        part = "test" if "test" in metrics else "valid"
        row: dict[str, Any] = {"id": name}
        row |= {key.replace("_", "-"): _text(value) for key, value in settings.items()}
        row["part"] = part
        row |= _numbers(metrics, part, document["tasks"])
        row["epoch"] = document["training"]["history"]["best_epoch"]
        rows.append(row)
    names = list(dict.fromkeys(key for row in rows for key in row))
    heads = [
        name
        for task in dict.fromkeys(t["name"] for _, _, d in runs for t in d["tasks"])
        for name in names
        if name in {f"{task}.{metric}" for metric in HEADLINES.values()}
    ]
    fixed = [name for name in names if "." not in name and name != "epoch"]
    order = list(dict.fromkeys([*fixed, *heads, *names]))
    columns = []
    for name in order:
        found = [row[name] for row in rows if row.get(name) is not None]
        text = any(isinstance(value, str) for value in found)
        role = "reserved" if name == "id" else "label"
        columns.append(Column(name, "string" if text else "number", role))
    values = {column.name: [row.get(column.name) for row in rows] for column in columns}
    return Batch.build(columns, values)


def _text(value: Any) -> Any:
    """Return a setting as a cell of a column: a number as it is, all else as text."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value


def _numbers(metrics: Mapping[str, Any], part: str, tasks: Sequence[Any]) -> dict[str, Any]:
    """Return the metrics of a model as `task.metric`."""
    found: dict[str, Any] = {}
    spreads = metrics.get("repeats", {}).get("summary", {}).get(part)
    for task in tasks:
        name = task["name"]
        if spreads is not None:
            for metric, entry in spreads.get(name, {}).items():
                found[f"{name}.{metric}"] = entry["mean"]
                found[f"{name}.{metric}_sd"] = entry["sd"]
            continue
        for metric, entry in metrics.get(part, {}).get(name, {}).items():
            if isinstance(entry, Mapping):
                found[f"{name}.{metric}"] = entry["value"]
    return found

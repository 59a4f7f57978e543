"""Trains a model of one or many tasks on the rows of a table."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mt_tools import splits
from mt_tools.errors import NoRows, RunError, UsageError
from mt_tools.evaluate.leaks import check
from mt_tools.evaluate.score import score
from mt_tools.learn.calibrate import f1_thresholds
from mt_tools.learn.fit import Epoch, History, fit, predict, set_input_standardisation, standardiser
from mt_tools.learn.settings import FitSettings
from mt_tools.nets.build import build_multitask
from mt_tools.nets.device import choose
from mt_tools.nets.model import Model
from mt_tools.nets.registry import architecture
from mt_tools.nets.weights import resolve
from mt_tools.stages.settings import TrainSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tasks.kinds import (
    Task,
    decide,
    encode,
    make_task,
    outputs,
    parse_task,
    scores,
    unusable,
)

Say = Callable[[str], None]

_SPLIT_COLUMNS = ("origin", "group", "recipe", "rendered", "split", "fold")
_HEADLINES = {"multiclass": "accuracy", "multilabel": "roc_auc_macro", "regression": "r2"}


@dataclass(frozen=True)
class Parts:
    """Row numbers of the parts of a training table; `notes` say how they came about."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    notes: list[str] = field(default_factory=list)


def input_column(columns: dict[str, Column], chosen: str, net: str) -> tuple[Column, str]:
    """Return the column to learn from and the network for it.

    Raises `UsageError` when there is none, or several and none is chosen.
    """
    known = [c for c in columns.values() if c.role in ("embedding", "feature")]
    if chosen:
        known = [c for c in known if c.name == chosen] or [
            c for c in columns.values() if c.name == chosen and c.kind in ("vector", "tensor")
        ]
    elif net:
        kind = {"vector": "vector", "feature": "tensor"}[architecture(net).input]
        known = [c for c in known if c.kind == kind]
    if not known:
        what = f"column {chosen!r}" if chosen else "embedding or feature column"
        raise UsageError(
            f"no {what} to learn from: the input has {', '.join(columns)}; make one with mt-embed "
            "or mt-spec first"
        )
    if len(known) > 1:
        names = ", ".join(c.name for c in known)
        raise UsageError(f"the input has {names}: choose what to learn from with --input COLUMN")
    return known[0], net or ("mlp" if known[0].kind == "vector" else "cnn")


def collect(batches: Iterable[Batch], column: Column, labels: Sequence[str], say: Say) -> Batch:
    """Return all rows that have an input, with only the columns that training needs."""
    kept = ["id", *_SPLIT_COLUMNS, column.name, *labels]
    parts = []
    total = 0
    for batch in batches:
        total += len(batch)
        batch = batch.without([n for n in batch.names if n not in kept])
        array = batch[column.name].reshape(len(batch), -1)
        parts.append(batch.take(np.flatnonzero(np.isfinite(array).all(axis=1))))
    if not total:
        raise NoRows("the input had no rows: nothing to learn from")
    table = concatenate(parts)
    if not len(table):
        raise UsageError(f"none of {total} rows has a {column.name}: nothing to learn from")
    if len(table) < total:
        say(f"{total - len(table)} rows have no {column.name} and are left out")
    return table


def parts_of(
    table: Batch, settings: TrainSettings, stratify: np.ndarray | None, seed: int
) -> Parts:
    """Return the rows to train on, to stop by and to report on.

    Option, else `fold`, else `split`, else a seeded draw; what the table does not mark is drawn
    from the train rows. Augmented copies train, and are neither validated nor tested on. Raises
    `UsageError` for a split that leaks, unless allowed.
    """
    part, notes = _marked(table, settings)
    if "train" not in part:
        raise UsageError("no train rows: mark some with split = train, or say --ignore-split")
    for name, share in (("test", settings.test), ("valid", settings.valid)):
        if share and name not in part:
            part = _drawn(table, part, name, share, settings.split, stratify, seed)
            of = "rows" if name == "test" else "train rows"
            notes.append(f"{name} rows drawn: {share:g} of the {of}, {settings.split}")
    copied = zip(table.get("recipe"), table.get("rendered"), strict=True)
    real = np.array([recipe is None and rendered is None for recipe, rendered in copied])
    valid, test = (np.flatnonzero((part == name) & real) for name in ("valid", "test"))
    return Parts(np.flatnonzero(part == "train"), valid, test, notes)


def _marked(table: Batch, settings: TrainSettings) -> tuple[np.ndarray, list[str]]:
    """Return the part of each row as the options and the table say, and notes."""
    part = np.full(len(table), "train", dtype=object)
    if settings.ignore_split:
        return part, []
    if settings.fold >= 0:
        name = "fold"
        table.require(name)
        fold = table[name]
        part[fold == settings.fold] = "test"
        part[np.isnan(fold)] = None
        if not (part == "test").any():
            raise UsageError(f"--fold {settings.fold}: no row has this fold")
    elif any(value is not None for value in table.get("split")):
        name = "split"
        part = table[name].copy()
        unknown = sorted({*part} - {"train", "valid", "test", None})
        if unknown:
            raise UsageError(
                f"column 'split' has {', '.join(map(repr, unknown))}: expected train, valid, test "
                "or null"
            )
    else:
        return part, []
    left_out = sum(value is None for value in part)
    notes = [f"{left_out} rows have no {name} and are left out"] * bool(left_out)
    return part, notes + _leaks(table, part, name, settings.allow_leak)


def _leaks(table: Batch, part: np.ndarray, name: str, allowed: bool) -> list[str]:
    """Return what leaks between the parts as notes, or raise unless it is allowed."""
    leaks = check(
        ids=table.ids, origins=table.origins, groups=table.get("group"), parts={name: part}
    )
    if leaks and not allowed:
        raise UsageError(
            f"the {name} leaks: {'; '.join(leak.message for leak in leaks)}; draw it again with "
            "mt-fetch split, or say --allow-leak, which the model will then carry"
        )
    return [f"leak allowed: {leak.message}" for leak in leaks]


def _drawn(
    table: Batch,
    part: np.ndarray,
    name: str,
    share: float,
    how: str,
    stratify: np.ndarray | None,
    seed: int,
) -> np.ndarray:
    """Move a share of the train rows to another part."""
    if how == "stratified" and stratify is None:
        raise UsageError("--split stratified needs a task of classes or tags: choose another")
    rows = np.flatnonzero(part == "train")
    drawn = splits.draw(
        table.origins[rows],
        table.get("group")[rows] if how == "grouped" else None,
        stratify[rows] if stratify is not None and how == "stratified" else None,
        ratios={"train": 1 - share, name: share},
        seed=seed,
        purpose=name,
    )
    part = part.copy()
    part[rows] = drawn
    return part


def run(
    table: Batch,
    column: Column,
    net: str,
    settings: TrainSettings,
    fitting: FitSettings,
    *,
    device: str,
    folders: Sequence[str],
    provenance: list[dict[str, Any]],
    say: Say,
    on_epoch: Callable[[Epoch], object],
) -> tuple[Model, History]:
    """Fit a network to the labels of a table; return the model, with its metrics, and the history.

    Raises `UsageError` for labels, splits or inputs that cannot be learned from.
    """
    wanted = [parse_task(text) for text in settings.task]
    if len({name for name, _, _ in wanted}) < len(wanted):
        raise UsageError(f"--task {' '.join(settings.task)}: one column stands twice")
    values = {name: table[name] for name, _, _ in wanted}
    stratify = next((v for v in values.values() if v.dtype == object), None)
    parts = parts_of(table, settings, stratify, fitting.seed)
    is_train = np.zeros(len(table), dtype=bool)
    is_train[parts.train] = True
    tasks = [make_task(name, kind, values[name], is_train, w) for name, kind, w in wanted]
    targets = {task["name"]: encode(task, values[task["name"]]) for task in tasks}
    for task in tasks:
        lost = unusable(task, values[task["name"]])
        if lost:
            say(f"task {task['name']}: {lost} labelled rows cannot be used ({task['kind']})")
    for note in parts.notes:
        say(note)

    inputs = table[column.name]
    parameters = _parameters(net, settings)
    heads = {task["name"]: outputs(task) for task in tasks}
    network = build_multitask(net, parameters, inputs.shape[1:], heads, fitting.seed)
    if column.kind == "vector":
        set_input_standardisation(network.body, *standardiser(inputs[parts.train]))
    backbone = _backbone(column, folders, say)
    chosen = choose(device)
    if not fitting.threads and column.kind == "vector":
        # A small network spends its time on waking threads: 11 times slower on a busy machine.
        fitting = dataclasses.replace(fitting, threads=1)
    history = fit(
        network, inputs, targets, tasks, parts.train, parts.valid, fitting, chosen, on_epoch
    )
    valid_scores = _scores(network, inputs, parts.valid, tasks, chosen)
    for task in tasks:
        if task["kind"] != "multilabel":
            continue
        truth, mask = (array[parts.valid] for array in targets[task["name"]])
        if mask.any():
            task["thresholds"] = f1_thresholds(valid_scores[task["name"]], truth, mask)
    test_scores = _scores(network, inputs, parts.test, tasks, chosen)
    clusters = splits.units(table.origins, table.get("group"))
    measured = {
        name: _measure(tasks, values, found, rows, clusters, fitting.seed)
        for name, rows, found in (
            ("valid", parts.valid, valid_scores),
            ("test", parts.test, test_scores),
        )
        if len(rows)
    }
    model = Model.create(
        network.to("cpu"),
        name=f"{net}-{'-'.join(heads)}",
        arch=net,
        parameters=parameters,
        input=_described_input(column, inputs),
        tasks=tasks,
        training={
            "provenance": provenance,
            "data": _data_digest(table, inputs, values),
            "rows": {"train": len(parts.train), "valid": len(parts.valid), "test": len(parts.test)},
            "notes": parts.notes,
            "history": history.record(),
        },
        metrics=measured,
        backbone=backbone,
    )
    return model, history


def _parameters(net: str, settings: TrainSettings) -> dict[str, Any]:
    if architecture(net).input == "vector":
        return {
            "hidden": _numbers("--hidden", settings.hidden),
            "dropout": settings.dropout,
            "batch_norm": settings.batch_norm,
        }
    if net == "cnn":
        return {"channels": _numbers("--channels", settings.channels), "dropout": settings.dropout}
    return {}


def _numbers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        numbers = [0]
    if any(number < 1 for number in numbers):
        raise UsageError(f"{option} {text!r}: expected whole numbers such as 128,64")
    return numbers


def _described_input(column: Column, inputs: np.ndarray) -> dict[str, Any]:
    if column.role == "feature":
        return {"kind": "feature", "settings": column.settings, "shape": list(inputs.shape[1:])}
    return {"kind": "embedding", "settings": column.settings, "width": inputs.shape[1]}


def _backbone(column: Column, folders: Sequence[str], say: Say) -> Model | None:
    """Return the model that made the embeddings, so that ours can tag sound by itself."""
    name = column.settings.get("model")
    if column.role != "embedding" or not name:
        if column.role == "embedding":
            say(f"{column.name} does not say what made it: the model will take such columns only")
        return None
    candidates = [name, *(os.path.join(folder, name) for folder in folders)]
    reason = ""
    for candidate in candidates:
        try:
            model = resolve(candidate)
        except RunError as error:
            reason = reason or str(error)
            continue
        if model.digest == column.settings.get("digest"):
            return model
        reason = f"{candidate} is not the model that made the column (its digest differs)"
    say(f"{reason}; the model will take such columns only, not sound")
    return None


def _scores(
    network: Any, inputs: np.ndarray, rows: np.ndarray, tasks: list[Task], device: Any
) -> dict[str, np.ndarray]:
    if not len(rows):
        return {}
    logits = predict(network, inputs, rows, device=device)
    return {task["name"]: scores(task, logits[task["name"]]) for task in tasks}


def _measure(
    tasks: list[Task],
    values: dict[str, np.ndarray],
    found: dict[str, np.ndarray],
    rows: np.ndarray,
    clusters: np.ndarray,
    seed: int,
) -> dict[str, Any]:
    """Return each task's metrics with intervals, and what nothing could be said about."""
    measured = {}
    for task in tasks:
        name = task["name"]
        try:
            result = score(
                task["kind"],
                values[name][rows],
                decide(task, found[name], len(task["vocabulary"]) or None),
                found[name] if task["vocabulary"] else None,
                task["vocabulary"],
                clusters[rows],
                seed=seed,
            )
        except UsageError as error:
            measured[name] = {"note": str(error)}
            continue
        measured[name] = {"n": result["n"], "clusters": result["clusters"]} | {
            metric: {key: _json(v[key]) for key in ("value", "low", "high")}
            for metric, v in result["metrics"].items()
        }
    return measured


def _json(value: float) -> float | None:
    return None if value != value else round(float(value), 6)


def _data_digest(table: Batch, inputs: np.ndarray, values: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of what was learned from: ids, inputs and labels."""
    whole = hashlib.sha256("\n".join(table.ids).encode())
    whole.update(np.ascontiguousarray(inputs).tobytes())
    for name, column in values.items():
        whole.update(f"\n{name}={column.tolist()!r}".encode())
    return whole.hexdigest()


def headline(task: Task, measured: dict[str, Any]) -> str:
    """Return a task's main metric as people read it: `accuracy .81 [.74, .87], n = 120`."""
    result = measured.get(task["name"], {})
    metric = _HEADLINES[task["kind"]]
    if result.get(metric, {}).get("value") is None:
        return str(result.get("note", f"{metric} undefined"))
    value = result[metric]
    ends = [value["low"], value["high"]]
    interval = "" if None in ends else f" [{ends[0]:.3f}, {ends[1]:.3f}]"
    return f"{metric} {value['value']:.3f}{interval}, n = {result['n']}"

"""Applies a model to tracks, features or embeddings: scores and chosen tags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.nets.model import Model
from mt_tools.stages.frontend import Fail, fresh, gathered, whole_tracks
from mt_tools.stages.networks import applied, model_inputs, takes_songs
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tasks.calibration import calibrated
from mt_tools.tasks.kinds import (
    NEVER,
    Task,
    decide,
    names_one,
    predictable,
    prediction_type,
    scores,
)

Scores = dict[str, np.ndarray]

_HEAVY = ("feature", "embedding")


def run(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    model: Model,
    *,
    prefix: str,
    top: int | None,
    with_scores: bool,
    batch_size: int,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
    precision: float = 0.0,
    confidence: float = 0.0,
    say: Callable[[str], None] = lambda note: None,
) -> Iterator[Batch]:
    """Yield the rows with `<task>_pred` and, for classes and tags, `<task>_score` columns.

    Embeddings or features in the table are used where they are what the model takes, and left
    out; otherwise the tracks are decoded. Scores of several segments of a track, such as those of
    a model that was trained on crops, are averaged, and calibrated then, where the model is. Tasks
    of pairs say nothing of a track and are left out. The names of the columns begin with `prefix`.
    `precision` and `confidence` choose thresholds: see `at_precision` and `at_confidence`; `say` is
    told of tasks that have none to choose. Raises `UsageError` for a model without tasks, and
    `SettingsMismatch` for features that do not fit.
    """
    tasks = [task for task in model.tasks if predictable(task)]
    if not tasks:
        what = "compares pairs of tracks" if model.tasks else "has no tasks: it makes embeddings"
        raise UsageError(f"{model.name} {what}; tag with a trained model")
    if precision:
        tasks = at_precision(model.name, tasks, precision, say)
    if confidence:
        tasks = at_confidence(model.name, tasks, confidence)
    names = [f"{prefix}{task['name']}_pred" for task in tasks]
    untagged = fresh(batches, *names, advice="tell the two apart with --model ALIAS=FILE")
    inputs, _, joined = model_inputs(
        untagged, columns, model, by_track=True, batch_size=batch_size, folders=folders, jobs=jobs,
        fail=fail,
    )  # fmt: skip
    made_by: dict[str, Any] = {"model": model.name, "digest": model.digest}
    if model.leaks:
        made_by["leaks"] = model.leaks

    def network(x: np.ndarray) -> Scores:
        logits = model.logits(x, batch_size, kind=model.input_kind)
        return {task["name"]: scores(task, logits[task["name"]]) for task in tasks}

    found = (
        (batch, row, {name: values.mean(axis=0) for name, values in made.items()})
        for batch, row, made in applied(inputs, network, batch_size, fail, takes_songs(model))
    )
    # As many rows at a time as go through the network: people watch them come.
    for batch, values in gathered(found, batch_size):
        if joined:
            batch = whole_tracks(batch)
        light = batch.without([c.name for c in batch.columns.values() if c.role in _HEAVY])
        yield predicted(light, values, tasks, prefix, top, made_by, with_scores)


def predicted(
    batch: Batch,
    found: Sequence[Scores],
    tasks: Sequence[Task],
    prefix: str,
    top: int | None,
    made_by: dict[str, Any],
    with_scores: bool,
) -> Batch:
    """Return the rows with the predictions of each task, which say what made them.

    Each column says the kind of its task too, by which `mt-eval score` knows what to measure: the
    numbers of an ordinal task would pass for those of a regression.
    """
    for task in tasks:
        values = calibrated(task, np.stack([of_row[task["name"]] for of_row in found]))
        name = prefix + task["name"]
        said = {**made_by, "kind": task["kind"]}
        chosen = Column(f"{name}_pred", prediction_type(task), "prediction", said)
        batch = batch.append(chosen, decide(task, values, top))
        if task["vocabulary"] and with_scores:
            said = {**said, "vocabulary": task["vocabulary"]}
            column = Column(f"{name}_score", "vector", "prediction", said, values.shape[1:])
            batch = batch.append(column, values)
    return batch


def at_precision(
    model: str, tasks: Sequence[Task], precision: float, say: Callable[[str], None]
) -> list[Task]:
    """Return the tasks with the thresholds at which what they say is right so often.

    `mt-eval thresholds` has stored them for some precisions; the next one up is taken. Of classes
    it is the share of right answers, those that are less sure being left open. Tasks that were not
    fitted stay as they are, and are told. Raises `UsageError` where none was, and for a precision
    above all that are stored.
    """
    fitted = [task for task in tasks if task.get("precision")]
    if not fitted:
        raise UsageError(
            f"--precision {precision:g}: {model} does not know where its tags are right so often; "
            "fit that on validation rows: mt-eval thresholds predictions.parquet -m MODEL -o NEW"
        )
    left = [task["name"] for task in tasks if not task.get("precision")]
    if left:
        say(f"--precision {precision:g} is for {_names(fitted)}, not for {', '.join(left)}")
    chosen = [_at_level(task, precision) if task in fitted else task for task in tasks]
    open_ = [task["name"] for task in chosen if task.get("abstain") == NEVER]
    if open_:
        say(
            f"--precision {precision:g} is out of reach for {', '.join(open_)}: every track is "
            "left open"
        )
    return chosen


def _at_level(task: Task, precision: float) -> Task:
    levels: dict[str, Any] = task["precision"]
    level = min((one for one in levels if float(one) >= precision), key=float, default=None)
    if level is None:
        raise UsageError(
            f"--precision {precision:g}: task {task['name']!r} knows {', '.join(levels)}; "
            "choose one of them"
        )
    if not names_one(task):
        return {**task, "thresholds": levels[level]}
    return {**task, "abstain": NEVER if levels[level] is None else levels[level]}


def _names(tasks: Sequence[Task]) -> str:
    return ", ".join(task["name"] for task in tasks)


def at_confidence(model: str, tasks: Sequence[Task], confidence: float) -> list[Task]:
    """Return the tasks so that a class whose score lies below `confidence` is left open.

    Raises `UsageError` where no task names one class.
    """
    if not any(names_one(task) for task in tasks):
        raise UsageError(
            f"--confidence {confidence:g}: {model} has no task of classes to leave open; tags have "
            "thresholds of their own, which --precision chooses"
        )
    return [{**task, "abstain": confidence} if names_one(task) else task for task in tasks]

"""Applies a model to tracks, features or embeddings: scores and chosen tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.nets.model import Model
from mt_tools.stages.frontend import Fail, fresh, gathered, whole_tracks
from mt_tools.stages.networks import applied, model_inputs
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tasks.kinds import Task, decide, scores

Scores = dict[str, np.ndarray]

_HEAVY = ("feature", "embedding")


def parse_model(text: str) -> tuple[str, str]:
    """Split `alias=FILE` into the prefix of its columns, `alias.`, and the model's name."""
    alias, equals, name = text.partition("=")
    if not equals or "/" in alias or ":" in alias:
        return "", text
    if not alias or not name:
        raise UsageError(f"--model {text}: expected NAME, FILE or alias=FILE")
    return f"{alias}.", name


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
) -> Iterator[Batch]:
    """Yield the rows with `<task>_pred` and, for classes and tags, `<task>_score` columns.

    Embeddings or features in the table are used where they are what the model takes, and left
    out; otherwise the tracks are decoded. Scores of several segments of a track are averaged. The
    names of the columns begin with `prefix`. Raises `UsageError` for a model without tasks, and
    `SettingsMismatch` for features that do not fit.
    """
    if not model.tasks:
        raise UsageError(
            f"{model.name} has no tasks: it makes embeddings; tag with a trained model"
        )
    names = [f"{prefix}{task['name']}_pred" for task in model.tasks]
    untagged = fresh(batches, *names, advice="tell the two apart with --model ALIAS=FILE")
    inputs, _, joined = model_inputs(
        untagged, columns, model, by_track=True, batch_size=batch_size, folders=folders, jobs=jobs,
        fail=fail,
    )  # fmt: skip
    described = {"model": model.name, "digest": model.digest}

    def network(x: np.ndarray) -> Scores:
        logits = model.logits(x, batch_size, kind=model.input_kind)
        return {task["name"]: scores(task, logits[task["name"]]) for task in model.tasks}

    found = (
        (batch, row, {name: values.mean(axis=0) for name, values in made.items()})
        for batch, row, made in applied(inputs, network, batch_size, fail)
    )
    # As many rows at a time as go through the network: people watch them come.
    for batch, values in gathered(found, batch_size):
        if joined:
            batch = whole_tracks(batch)
        light = batch.without([c.name for c in batch.columns.values() if c.role in _HEAVY])
        yield predicted(light, values, model.tasks, prefix, top, described if with_scores else None)


def predicted(
    batch: Batch,
    found: Sequence[Scores],
    tasks: Sequence[Task],
    prefix: str,
    top: int | None,
    described: dict[str, Any] | None,
) -> Batch:
    """Return the rows with the predictions of each task; `described` None leaves scores out."""
    for task in tasks:
        values = np.stack([of_row[task["name"]] for of_row in found])
        kind = {"multiclass": "string", "multilabel": "strings"}.get(task["kind"], "number")
        name = prefix + task["name"]
        chosen = Column(f"{name}_pred", kind, "prediction")
        batch = batch.append(chosen, decide(task, values, top))
        if task["vocabulary"] and described is not None:
            settings = {**described, "vocabulary": task["vocabulary"]}
            column = Column(f"{name}_score", "vector", "prediction", settings, values.shape[1:])
            batch = batch.append(column, values)
    return batch

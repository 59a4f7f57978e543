"""Models that tag: their tasks, how each is decided, and the columns that follow from scores.

Conventions: a task is known by the name of its column, the alias of its model before its own. What
networks say depends on neither thresholds nor calibration: it can be kept, and decided anew.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.nets.model import Model
from mt_tools.nets.places import split_alias
from mt_tools.nets.registry import DEFAULT_MODEL
from mt_tools.stages.settings import TagSettings, settled
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
)

Scores = dict[str, np.ndarray]
"""What networks say of one row, before calibration: [outputs] or a number a column of a task."""

VECTOR = "embedding"
"""Where `Scores` hold the embedding of a row, if asked for, after the prefix of the model."""

ADVICE = "tell the two apart with --model ALIAS=FILE"
_LEVELS = ("thresholds", "abstain")


@dataclass(frozen=True)
class Tagger:
    """One of `--model`: its columns begin with `prefix`, its `tasks` have the thresholds chosen."""

    prefix: str
    model: Model
    tasks: list[Task]

    @functools.cached_property
    def made_by(self) -> dict[str, Any]:
        """What its columns say of the model."""
        said: dict[str, Any] = {"model": self.model.name, "digest": self.model.digest}
        return said | ({"leaks": self.model.leaks} if self.model.leaks else {})

    @property
    def columns(self) -> dict[str, Task]:
        """The tasks by the names that their columns begin with."""
        return {self.prefix + task["name"]: task for task in self.tasks}


def taggers(
    settings: TagSettings, resolve: Callable[[str], Model], say: Callable[[str], None]
) -> list[Tagger]:
    """Return the models that were named, and how each task is decided.

    `resolve` returns the model of a name. Tasks of pairs say nothing of a track and are left out.
    Thresholds are, the first that applies: `--probability` for tags, `--confidence` for classes,
    `--precision` for both, those of the model. `say` is told of tasks that an option is not for.
    Raises `UsageError` for a model without tasks, models that would share a column, and options
    that no task is for.
    """
    settings = settled(settings)
    typed = [split_alias(text) for text in settings.model or (DEFAULT_MODEL,)]
    for place, (alias, name) in enumerate(typed):
        if any(alias == other for other, _ in typed[:place]):
            same = f"alias {alias!r}" if alias else "columns without an alias"
            raise UsageError(
                f"--model {name}: a second model with {same}; name each but one as its columns are "
                f"to be called, such as --model other={name}"
            )
    found = [_tagger(alias, resolve(name)) for alias, name in typed]
    seen: set[str] = set()
    for name in (name for tagger in found for name in made(tagger)):
        if name in seen:
            raise UsageError(f"two models would write the column {name!r}: choose other aliases")
        seen.add(name)
    if settings.precision:
        fitted = [task for one in found for task in one.tasks if task.get("precision")]
        if settings.confidence and fitted and all(map(names_one, fitted)):
            raise UsageError(
                f"--precision {settings.precision:g} and --confidence {settings.confidence:g} both "
                "say when a class is left open: give one of them"
            )
        found = at_precision(found, settings.precision, say, classes=not settings.confidence)
    if settings.probability:
        found = at_probability(found, settings.probability)
    if settings.confidence:
        found = at_confidence(found, settings.confidence)
    return found


def _tagger(alias: str, model: Model) -> Tagger:
    tasks = [task for task in model.tasks if predictable(task)]
    if not tasks:
        what = "compares pairs of tracks" if model.tasks else "has no tasks: it makes embeddings"
        raise UsageError(f"{model.name} {what}; tag with a trained model")
    return Tagger(f"{alias}." if alias else "", model, tasks)


def made(tagger: Tagger) -> list[str]:
    """Return the names of the columns that a model's predictions stand in."""
    return [name + end for name in tagger.columns for end in ("_pred", "_score")]


def at_probability(found: Sequence[Tagger], probability: float) -> list[Tagger]:
    """Return the models so that a tag applies whose score is at least `probability`.

    Raises `UsageError` where no task is one of tags.
    """
    if not any(task["kind"] == "multilabel" for one in found for task in one.tasks):
        raise UsageError(
            f"--probability {probability:g}: {_models(found)} has no task of tags; of classes "
            f"--confidence {probability:g} leaves those open that are less sure"
        )

    def one_level(_: Tagger, task: Task) -> Task:
        if task["kind"] != "multilabel":
            return task
        return {**task, "thresholds": [probability] * len(task["vocabulary"])}

    return _each(found, one_level)


def at_precision(
    found: Sequence[Tagger], precision: float, say: Callable[[str], None], classes: bool = True
) -> list[Tagger]:
    """Return the models with the thresholds at which what they say is right so often.

    `mt-eval thresholds` has stored them for some precisions; the next one up is taken. Of classes
    it is the share of right answers, those that are less sure being left open. Tasks that were not
    fitted stay as they are, and are told; without `classes` so do those that name one class. Raises
    `UsageError` where none was, and for a precision above all that are stored.
    """

    def is_meant(task: Task) -> bool:
        return bool(task.get("precision")) and (classes or not names_one(task))

    columns = {name: task for one in found for name, task in one.columns.items()}
    fitted = [name for name, task in columns.items() if is_meant(task)]
    if not fitted:
        raise UsageError(
            f"--precision {precision:g}: {_models(found)} does not know where its tags are right "
            "so often; fit that on validation rows: mt-eval thresholds predictions.parquet -m "
            "MODEL -o NEW"
        )
    left = [name for name in columns if name not in fitted]
    if left:
        say(f"--precision {precision:g} is for {', '.join(fitted)}, not for {', '.join(left)}")
    chosen = _each(found, lambda one, task: _at_level(task, precision) if is_meant(task) else task)
    open_ = [
        name for one in chosen for name, task in one.columns.items() if task.get("abstain") == NEVER
    ]
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


def at_confidence(found: Sequence[Tagger], confidence: float) -> list[Tagger]:
    """Return the models so that a class whose score lies below `confidence` is left open.

    Raises `UsageError` where no task names one class.
    """
    if not any(names_one(task) for one in found for task in one.tasks):
        raise UsageError(
            f"--confidence {confidence:g}: {_models(found)} has no task of classes to leave open; "
            "tags have thresholds of their own, which --precision chooses"
        )
    return _each(
        found, lambda _, task: {**task, "abstain": confidence} if names_one(task) else task
    )


def _each(found: Sequence[Tagger], change: Callable[[Tagger, Task], Task]) -> list[Tagger]:
    return [
        dataclasses.replace(one, tasks=[change(one, task) for task in one.tasks]) for one in found
    ]


def _models(found: Sequence[Tagger]) -> str:
    return ", ".join(one.model.name for one in found)


# --- from scores to columns ----------------------------------------------------------------------


def predicted(
    batch: Batch, found: Sequence[Scores], taggers: Sequence[Tagger], settings: TagSettings
) -> Batch:
    """Return the rows with the predictions of each task, which say what made them.

    Columns are `<task>_pred`, and for classes and tags `<task>_score` unless the settings leave it
    out. Each says the kind of its task too, by which `mt-eval score` knows what to measure: the
    numbers of an ordinal task would pass for those of a regression. Scores say the thresholds that
    were applied, numbers between which those of the training rows lay.
    Raises `UsageError` where a column is there already.
    """
    for tagger in taggers:
        for name, task in tagger.columns.items():
            if f"{name}_pred" in batch:
                raise UsageError(f"the table already has a column '{name}_pred': {ADVICE}")
            batch = _with_task(batch, [one[name] for one in found], name, task, tagger, settings)
    return batch


def _with_task(
    batch: Batch,
    found: Sequence[np.ndarray],
    name: str,
    task: Task,
    tagger: Tagger,
    settings: TagSettings,
) -> Batch:
    size = len(task["vocabulary"])
    raw = np.stack(found) if found else np.zeros((0, size) if size else 0, np.float32)
    values = calibrated(task, raw)
    said = {**tagger.made_by, "kind": task["kind"]}
    usual = {"range": usual_range(task)} if task["kind"] == "regression" else {}
    chosen = Column(f"{name}_pred", prediction_type(task), "prediction", said | usual)
    batch = batch.append(chosen, decide(task, values, settings.top or None))
    if size and settings.scores:
        said |= {"vocabulary": task["vocabulary"]}
        said |= {key: task[key] for key in (*_LEVELS, "target") if task.get(key) is not None}
        column = Column(f"{name}_score", "vector", "prediction", said, values.shape[1:])
        batch = batch.append(column, values)
    return batch


def usual_range(task: Task) -> list[float] | None:
    """Return between what numbers those of the training rows lay; None where it is not known.

    All of them where they were scaled to their ends, else two deviations around their mean.
    """
    mean, std = float(task["mean"]), float(task["std"])
    if task["scale"] == "raw":
        return None
    return [mean, mean + std] if task["scale"] == "minmax" else [mean - 2 * std, mean + 2 * std]

"""Thresholds and calibration of a model, fitted on its predictions of validation rows.

What is reported is measured by cross-fitting: the rows are parted into folds that keep groups
together, and each is judged by what the others gave. What the model gets is fitted on all rows.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mt_tools import metrics, splits
from mt_tools.errors import SettingsMismatch, UsageError
from mt_tools.evaluate.intervals import bootstrap, in_range
from mt_tools.evaluate.settings import ThresholdSettings
from mt_tools.learn.calibrate import COLDEST, HOTTEST, Gaps, fit, log_losses
from mt_tools.learn.thresholds import (
    DEFAULT_THRESHOLD,
    GOALS_OF,
    LEVELS,
    Cuts,
    Fitted,
    Goal,
    applies,
    cuts,
    kept_right,
    parse_goal,
    risk_area,
    tag_thresholds,
    threshold,
)
from mt_tools.nets.model import LEAK_ALLOWED, Model
from mt_tools.nets.several import storable
from mt_tools.stages.judging import clusters_of, leak_line, metric_rows, splits_of, table_of
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tasks.calibration import CALIBRATED, calibrated, calibrated_tags
from mt_tools.tasks.kinds import NEVER, Task, chosen_classes, encode, names_one, predictable
from mt_tools.tasks.labels import labelled

FOLDS = 5
COVERAGES = tuple(round(share / 10, 1) for share in range(1, 11))
"""The shares of rows answered that the abstention curve is reported at."""

_RANGES = metrics.RANGES | {"coverage": (0.0, 1.0), "aurc": (0.0, 1.0)}
SHOWN = 10
NOT_FITTED = ("train", "test")
KEPT = ("id", "origin", "group", "split")


def fitted(
    batches: Iterable[Batch],
    columns: Mapping[str, Column],
    model: Model,
    settings: ThresholdSettings,
    steps: Callable[[], list[dict[str, Any]]],
) -> tuple[Batch, list[str], Model]:
    """Return metric rows, notes, and a copy of the model with what was fitted.

    `batches` hold labels and the scores that `model` gave; `steps` returns the provenance that the
    copy keeps. Raises `UsageError` for a model without such tasks or that is calibrated already,
    for rows that are not to be fitted on, and `SettingsMismatch` for scores of another model.
    """
    if settings.output and not storable(model):
        raise UsageError(f"{model.name} cannot be kept in a model file: leave out -o")
    chosen, notes = _tasks(model, columns, settings)
    goals = goals_of(settings.goal, [one.task for one in chosen])
    needed = [name for one in chosen for name in (one.task["name"], one.scores)]
    table = table_of(batches, [*KEPT, *needed])
    line = leak_line(table, "split", settings.allow_leak, model.leaks)
    rows, said, allowed = _validation(table, settings)
    notes += said
    leaks = [f"thresholds fitted on {part} rows" for part in allowed]
    if line.startswith("allowed: "):
        leaks.append("thresholds fitted beside a leak between the splits")
    line = "; ".join([line, *(f"allowed: {leak}" for leak in leaks)])
    out: list[dict[str, Any]] = []
    changed: dict[str, Task] = {}
    counts: dict[str, int] = {}
    for one in chosen:
        name = one.task["name"]
        fit_ = _Fit.of(one.task, rows, one.scores, goals[name], settings)
        changed[name] = fit_.task
        counts[name] = len(fit_.targets)
        found, told = fit_.report()
        out += [{"task": name, "leak": line, **row} for row in found]
        notes += [f"{name}: {note}" for note in told]
    new = copy.copy(model)
    new.document = copy.deepcopy(model.document)
    training = new.document.setdefault("training", {})
    known = training.setdefault("notes", [])
    known += [note for leak in leaks if (note := f"{LEAK_ALLOWED}{leak}") not in known]
    new.document["tasks"] = [changed.get(task["name"], task) for task in model.tasks]
    training["thresholds"] = {
        "data": _digest(rows, needed),
        "rows": counts,
        "goals": {name: None if goal is None else str(goal) for name, goal in goals.items()},
        "calibrate": settings.calibrate,
        "sure": settings.sure,
        "leak": line,
        "note": "the metrics of this model were measured before",
        "provenance": steps(),
    }
    return metric_rows(out), notes, new


# --- what is fitted, and on which rows -----------------------------------------------------------


@dataclass(frozen=True)
class _Chosen:
    """A task of the model, and the column that holds its scores."""

    task: Task
    scores: str


def _tasks(
    model: Model, columns: Mapping[str, Column], settings: ThresholdSettings
) -> tuple[list[_Chosen], list[str]]:
    """Return the tasks that can be fitted, and notes on those that cannot."""
    own = {task["name"]: task for task in model.tasks if predictable(task)}
    if not own:
        raise UsageError(f"{model.name} has no tasks to set thresholds of: name a trained model")
    for name in settings.task:
        if name not in own:
            raise UsageError(f"--task {name}: {model.name} has {', '.join(own)}")
    chosen, notes = [], []
    for name in settings.task or own:
        reason = _unfit(own[name], columns, settings)
        if not reason:
            chosen.append(_Chosen(own[name], _scores_of(model, name, columns)))
        elif settings.task:
            raise UsageError(f"--task {name}: {reason}")
        else:
            notes.append(f"{name} is left as it is: {reason}")
    if not chosen:
        raise UsageError(f"nothing to fit: {'; '.join(notes)}")
    return chosen, notes


def _unfit(task: Task, columns: Mapping[str, Column], settings: ThresholdSettings) -> str:
    """Return why a task cannot be fitted, or nothing."""
    name, kind = task["name"], task["kind"]
    if kind not in CALIBRATED:
        return f"{kind} has neither thresholds nor probabilities"
    if kind == "distribution" and settings.calibrate != "temperature":
        return "distributions have no thresholds; --calibrate temperature is for them"
    if name not in columns:
        return f"the table has no labels {name!r}: join them, or tag labelled tracks"
    if not any(_predicts(column, name) for column in columns):
        return f"the table has no {name}_pred: give the output of mt-tag"
    if task.get("calibration") is not None and settings.calibrate != "none":
        raise UsageError(
            f"task {name!r} is calibrated already: give the model as it was trained and its own "
            "predictions, or leave out --calibrate"
        )
    return ""


def _predicts(column: str, task: str) -> bool:
    return column == f"{task}_pred" or column.endswith(f".{task}_pred")


def _scores_of(model: Model, task: str, columns: Mapping[str, Column]) -> str:
    """Return the column of this very model's scores of a task."""
    named = {name: column for name, column in columns.items() if _predicts(name, task)}
    mine = [name for name, c in named.items() if c.settings.get("digest") == model.digest]
    again = "mt-tag labelled.parquet -m MODEL -o p.parquet"
    if not mine and not any("digest" in column.settings for column in named.values()):
        raise UsageError(
            f"{', '.join(named)} does not say which model made it, as JSON lines and CSV cannot: "
            f"write the predictions to a .parquet file, such as: {again}"
        )
    if not mine:
        raise SettingsMismatch(
            f"{', '.join(named)} was made by another model than {model.name}, or before it was "
            f"changed (got another digest, expected {model.digest[:12]}...): tag again with it, "
            f"such as: {again}"
        )
    scores = mine[0].removesuffix("_pred") + "_score"
    if scores not in columns:
        raise UsageError(f"the table has no {scores}: tag without --no-scores")
    return scores


def goals_of(texts: Sequence[str], tasks: Sequence[Task]) -> dict[str, Goal | None]:
    """Return what is wanted of each task's thresholds, from `[TASK=]GOAL`; None is nothing.

    A goal without a task is for all whose kind can have it. Tags where nothing is said want the
    best F1. Raises `UsageError` for a goal that no task can have, and for two of one task.
    """
    kinds = {task["name"]: task["kind"] for task in tasks}
    named: dict[str, Goal] = {}
    others: dict[str, Goal] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        goal = parse_goal(rest if equals else text)
        if equals and name not in kinds:
            raise UsageError(f"--for {text}: no task {name!r} is fitted; those are {_list(kinds)}")
        mine = [
            task
            for task, kind in kinds.items()
            if (not equals or task == name) and goal.name in GOALS_OF.get(kind, ())
        ]
        if not mine:
            known = {g: None for task in ([name] if equals else kinds) for g in _known(kinds[task])}
            raise UsageError(f"--for {text}: got {goal.name}, expected {_list(known) or 'none'}")
        into = named if equals else others
        if twice := [task for task in mine if task in into]:
            raise UsageError(f"--for {text}: {twice[0]} has {into[twice[0]]} already; say one goal")
        into |= dict.fromkeys(mine, goal)
    default = {task: Goal("f1") for task, kind in kinds.items() if kind == "multilabel"}
    return {task: (default | others | named).get(task) for task in kinds}


def _known(kind: str) -> tuple[str, ...]:
    return GOALS_OF.get(kind, ())


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _validation(table: Batch, settings: ThresholdSettings) -> tuple[Batch, list[str], list[str]]:
    """Return the rows to fit on, notes, and the parts that only `--allow-leak` lets in."""
    parts = splits_of(settings.splits)
    wrong = [part for part in parts if part in NOT_FITTED]
    if wrong and not settings.allow_leak:
        why = {
            "train": "the model was trained on train rows, and is surer of them than of new ones",
            "test": "no number on test rows could be believed after fitting on them",
        }
        raise UsageError(
            f"--splits {settings.splits}: {'; '.join(why[part] for part in wrong)}: fit on "
            "--splits valid, or say --allow-leak"
        )
    split = table.get("split")
    found = list(dict.fromkeys(part for part in split if part is not None))
    if not found:
        note = (
            f"no split is said: all {len(table)} rows are taken for validation rows, which the "
            "model must not have been trained on"
        )
        return table, [note], []
    rows = [row for row, part in enumerate(split) if part in parts]
    if not rows:
        raise UsageError(
            f"no row is of --splits {settings.splits}; the table has {_list(sorted(found))}: tag "
            "the validation rows, or draw some with mt-fetch split before training"
        )
    left = len(table) - len(rows)
    notes = [f"{left} rows of other splits, or of none, are left out"] * bool(left)
    return table.take(rows), notes, wrong


def _digest(rows: Batch, names: Sequence[str]) -> str:
    """Return the SHA-256 of what was fitted on: ids, labels and scores."""
    whole = hashlib.sha256("\n".join(rows.ids).encode())
    for name in names:
        whole.update(f"\n{name}={rows[name].tolist()!r}".encode())
    return whole.hexdigest()


# --- one task ------------------------------------------------------------------------------------


@dataclass
class _Made:
    """What was fitted of a task on some rows."""

    task: Task
    calibration_reasons: dict[int, str] = field(default_factory=dict)
    threshold_reasons: dict[int, str] = field(default_factory=dict)


@dataclass
class _Fit:
    """One task: its rows, what is fitted on all of them, and what they are judged by.

    `scores` are those of the table, `after` what the maps of other folds make of them, `decided`
    [n, tags] or [n] which tags apply, or which rows are answered, by the thresholds of other folds.
    """

    before: Task
    goal: Goal | None
    settings: ThresholdSettings
    scores: np.ndarray
    targets: np.ndarray
    clusters: np.ndarray
    made: _Made
    after: np.ndarray
    decided: np.ndarray
    folds: int
    left_out: str

    @classmethod
    def of(
        cls, task: Task, rows: Batch, column: str, goal: Goal | None, settings: ThresholdSettings
    ) -> _Fit:
        scores = rows[column]
        if scores.shape[1] != len(task["vocabulary"]):
            raise SettingsMismatch(
                f"{column} has {scores.shape[1]} scores a row, expected {len(task['vocabulary'])}"
            )
        labels = rows[task["name"]]
        targets, mask = encode(task, labels)
        usable = mask & np.isfinite(scores).all(axis=1)
        if usable.sum() < 2:
            raise UsageError(
                f"task {task['name']!r}: {int(usable.sum())} of {len(rows)} validation rows have "
                "label and scores, two or more are needed: label some"
            )
        without = int((~labelled(labels)).sum())
        strange = int((labelled(labels) & ~mask).sum())
        told = [f"{without} rows have no label"] * bool(without)
        told += [f"{strange} rows have a label that the model does not know"] * bool(strange)
        kept = np.flatnonzero(usable)
        scores, targets = scores[kept], targets[kept]
        clusters = clusters_of(rows)[kept]
        count = min(FOLDS, len(np.unique(clusters)))
        fold = np.zeros(len(kept), dtype=int)
        if count > 1:
            group = rows.get("group")[kept]
            fold = splits.folds(rows.origins[kept], count, group, seed=settings.seed)
        made = _fit(task, goal, settings, scores, targets, fold)
        after = np.empty_like(scores)
        tags = task["kind"] == "multilabel"
        decided = np.zeros(scores.shape if tags else len(kept), dtype=bool)
        for number in range(count):
            test = fold == number
            train = ~test if count > 1 else test
            other = _fit(
                task, goal, settings, scores[train], targets[train], fold[train], levels=False
            ).task
            after[test] = _mapped(other, settings, scores[test])
            decided[test] = _decided(other, after[test])
        return cls(
            task, goal, settings, scores, targets, clusters, made, after, decided, count,
            " and ".join(told),
        )  # fmt: skip

    @property
    def task(self) -> Task:
        """The task as the model gets it."""
        return self.made.task

    def report(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the metric rows of the task, and notes."""
        n = len(self.targets)
        units = len(np.unique(self.clusters))
        how = f"cross-fitted in {self.folds} folds" if self.folds > 1 else "on the rows fitted on"
        protocol = f"{n} rows in {units} clusters, {how}, bootstrap (BCa, 95 %)"
        measures = [self._calibration()]
        if self.before["kind"] == "multilabel":
            measures.append(self._tags())
        elif names_one(self.before):
            measures.append(self._classes())
        names = [one for measure in measures for one in measure.names]

        def statistic(rows: np.ndarray) -> np.ndarray:
            counts = np.bincount(rows, minlength=n).astype(np.float64)
            return np.concatenate([measure.of(counts) for measure in measures])

        observed = statistic(np.arange(n))
        rng = np.random.default_rng(self.settings.seed)
        intervals = bootstrap(statistic, self.clusters, rng=rng)
        out: list[dict[str, Any]] = []
        if self.before["kind"] == "multilabel":
            out += self._threshold_rows()
        elif self.task.get("abstain") is not None:
            reason = f"{self.goal} is out of reach" if self.task["abstain"] == NEVER else None
            out.append(
                {"metric": "threshold", "value": self.task["abstain"], "n": n, "note": reason}
            )
        support = self._support()
        for (metric, label), value, interval in zip(names, observed, intervals, strict=True):
            empty = "no row has the tag, or none was given it" if label else "no row was answered"
            bounds = _RANGES[metric.partition("@")[0].removesuffix("_before")]
            # What is answered at all is no share of right answers: nothing is known beyond it.
            interval = in_range(value, interval, bounds, 0 if metric == "coverage" else units)
            reason = empty if np.isnan(value) else interval.reason
            out.append(
                {"metric": metric, "label": label, "value": float(value), "low": interval.low,
                 "high": interval.high, "n": n if label is None else support[label],
                 "note": reason or None}
            )  # fmt: skip
        overall = [{**row, "protocol": protocol} for row in out if row.get("label") is None]
        return overall + [row for row in out if row.get("label") is not None], self._notes()

    def _support(self) -> dict[str, int]:
        if self.before["kind"] != "multilabel":
            return {}
        sums = np.asarray(self.targets).sum(axis=0)
        return dict(zip(self.before["vocabulary"], map(int, sums), strict=True))

    def _threshold_rows(self) -> list[dict[str, Any]]:
        support = self._support()
        return [
            {"metric": "threshold", "label": tag, "value": value, "n": support[tag],
             "note": self.made.threshold_reasons.get(place) or (None if value is not None else
                                                                "never applies")}
            for place, (tag, value) in enumerate(
                zip(self.before["vocabulary"], self.task["thresholds"], strict=True)
            )
        ]  # fmt: skip

    def _calibration(self) -> _Measure:
        """Log loss and calibration error of the scores, and of those before where they changed."""
        kind = self.before["kind"]
        versions = {"": self.after}
        if self.settings.calibrate != "none":
            versions["_before"] = self.scores
        losses = [log_losses(kind, scores, self.targets) for scores in versions.values()]
        names = [f"log_loss{after}" for after in versions]
        gaps = []
        if kind != "distribution":
            gaps = [Gaps(self.before, scores, self.targets) for scores in versions.values()]
            names += [f"calibration_error{after}" for after in versions]

        def of(counts: np.ndarray) -> list[float]:
            means = [float(counts @ one / counts.sum()) for one in losses]
            return means + [one.error(counts) for one in gaps]

        return _Measure([(name, None) for name in names], of)

    def _tags(self) -> _Measure:
        """F1 over all tags; precision, recall and F1 of each."""
        truth = np.asarray(self.targets) > 0
        sides = [self.decided & truth, self.decided, truth]
        tallies = np.concatenate(sides, axis=1).astype(np.float32)

        def of(counts: np.ndarray) -> np.ndarray:
            hits, given, there = np.split((counts.astype(np.float32) @ tallies), 3)
            with np.errstate(invalid="ignore", divide="ignore"):
                f1 = 2 * hits / (given + there)
                micro = 2 * hits.sum() / (given.sum() + there.sum())
                each = np.stack([hits / given, hits / there, f1], axis=1)
            macro = f1[np.isfinite(f1)].mean() if np.isfinite(f1).any() else np.nan
            return np.concatenate([[macro, micro], each.ravel()])

        words = self.before["vocabulary"]
        each = [(metric, word) for word in words for metric in ("precision", "recall", "f1")]
        return _Measure([("f1_macro", None), ("f1_micro", None), *each], of)

    def _classes(self) -> _Measure:
        """Accuracy and coverage of what is answered, and the curve of one over the other."""
        places, confidence = chosen_classes(self.before, self.after)
        right = places == self.targets
        names = ["accuracy", "coverage", "aurc", *(f"accuracy@{share:g}" for share in COVERAGES)]

        def of(counts: np.ndarray) -> np.ndarray:
            rows = np.repeat(np.arange(len(counts)), counts.astype(int))
            answered = self.decided[rows].mean()
            with np.errstate(invalid="ignore"):
                accuracy = (right & self.decided)[rows].mean() / answered
            ranking = cuts(confidence[rows], right[rows])
            curve = kept_right(ranking, np.array(COVERAGES))
            return np.array([accuracy, answered, risk_area(ranking), *curve])

        return _Measure([(name, None) for name in names], of)

    def _notes(self) -> list[str]:
        notes = [f"{self.left_out}, and are left out"] * bool(self.left_out)
        if self.folds == 1:
            notes.append("all rows are of one group: the numbers are of the rows fitted on")
        task, words = self.task, self.before["vocabulary"]
        if task.get("abstain") == NEVER:
            notes.append(f"{self.goal} is out of reach: no track will get a class")
        if self.settings.calibrate == "temperature":
            temperature = task["calibration"]["temperature"]
            end = not 1.01 * COLDEST < temperature < HOTTEST / 1.01
            notes.append(f"temperature {temperature:.4g}" + ", the last one tried" * end)
        calibration, thresholds = self.made.calibration_reasons, self.made.threshold_reasons
        for reasons, what in ((calibration, "calibration"), (thresholds, "thresholds")):
            for reason in dict.fromkeys(reasons.values()):
                mine = [words[place] for place, why in reasons.items() if why == reason]
                shown = _list(mine[:SHOWN]) + ", ..." * (len(mine) > SHOWN)
                notes.append(f"{what} of {len(mine)} of {len(words)}: {reason}: {shown}")
        if "precision" in task:
            reach = _list(_within_reach(task["precision"])) or "none"
            notes.append(f"precisions in reach of mt-tag --precision: {reach}")
        return notes


@dataclass(frozen=True)
class _Measure:
    """Some statistics: (metric, label) of each, and their values where rows count so often [n]."""

    names: list[tuple[str, str | None]]
    of: Callable[[np.ndarray], Sequence[float] | np.ndarray]


def _within_reach(levels: Mapping[str, Any]) -> list[str]:
    """Return the precisions of a task's table that can be had, and by how many tags."""
    found = []
    for level, value in levels.items():
        if isinstance(value, list):
            found.append(f"{level} ({sum(one is not None for one in value)} of {len(value)} tags)")
        elif value is not None:
            found.append(level)
    return found


def _fit(
    task: Task,
    goal: Goal | None,
    settings: ThresholdSettings,
    scores: np.ndarray,
    targets: np.ndarray,
    fold: np.ndarray,
    levels: bool = True,
) -> _Made:
    """Return what some rows make of a task; `scores` are those of the model as it is.

    A threshold of classes is fitted to scores that the rows of other folds have calibrated: a curve
    a class is surest of the rows that it was fitted to. That of a tag follows the order of its
    scores, which no calibration changes. With `levels` the thresholds of several precisions are
    fitted too.
    """
    new = {name: entry for name, entry in task.items() if name != "precision"}
    made = _Made(new)
    if settings.calibrate != "none":
        new["calibration"], made.calibration_reasons = fit(
            settings.calibrate, task, scores, targets
        )
    after = _mapped(new, settings, scores)
    numbers = np.unique(fold)
    if settings.calibrate != "none" and names_one(task) and len(numbers) > 1:
        for number in numbers:
            rest = fold != number
            map_, _ = fit(settings.calibrate, task, scores[rest], targets[rest])
            after[~rest] = calibrated({**task, "calibration": map_}, scores[~rest])
    is_calibrated = new.get("calibration") is not None
    if task["kind"] == "multilabel":
        fallback = _fallback(task, new, settings)

        def chosen(goal: Goal) -> Fitted:
            return tag_thresholds(
                goal, after, targets, fallback, sure=settings.sure, calibrated=is_calibrated
            )

        assert goal is not None
        found = chosen(goal)
        new["thresholds"], made.threshold_reasons = found.thresholds, found.reasons
        if levels:
            new["precision"] = {
                f"{level:g}": chosen(Goal("precision", (level,))).thresholds for level in LEVELS
            }
    elif names_one(task):
        places, confidence = chosen_classes(task, after)
        ranking: Cuts = cuts(confidence, places == targets)

        def sure_enough(goal: Goal) -> float | None:
            return threshold(goal, ranking, sure=settings.sure)

        if levels:
            new["precision"] = {
                f"{level:g}": sure_enough(Goal("precision", (level,))) for level in LEVELS
            }
        if goal is not None:
            best = sure_enough(goal)
            new["abstain"] = NEVER if best is None else best
    return made


def _mapped(task: Task, settings: ThresholdSettings, scores: np.ndarray) -> np.ndarray:
    """Return the scores that the task gives, where those of a table are of the model as it is."""
    return scores if settings.calibrate == "none" else calibrated(task, scores)


def _fallback(old: Task, new: Task, settings: ThresholdSettings) -> np.ndarray:
    """Return the thresholds [tags] that a task has had, where its new scores put them."""
    if old["thresholds"] is None:
        return np.full(len(old["vocabulary"]), DEFAULT_THRESHOLD)
    known = np.array(old["thresholds"], dtype=np.float64)
    return known if settings.calibrate == "none" else calibrated_tags(new, known)


def _decided(task: Task, scores: np.ndarray) -> np.ndarray:
    """Return which tags apply [n, tags], or which rows are answered [n]."""
    if task["kind"] == "multilabel":
        return applies(scores, task["thresholds"])
    if task.get("abstain") is None:
        return np.ones(len(scores), dtype=bool)
    return chosen_classes(task, scores)[1] >= task["abstain"]

"""Trains a model of one or many tasks on the rows of a table, or on tracks.

Goal: what the studies do with networks, from one description (see `stages.job`). A run is one fit
with its own seed; with `--repeats` there are several, each with a split of its own, with
`--retrain` each is fitted twice, and with `--baseline` each task also alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from mt_tools import splits
from mt_tools.errors import UsageError
from mt_tools.evaluate.measure import measure, plain
from mt_tools.learn import protocol
from mt_tools.learn.checkpoint import Checkpoint, arrays, identity, tensors_of
from mt_tools.learn.fit import fit
from mt_tools.learn.history import Epoch, History, Record
from mt_tools.learn.thresholds import f1_thresholds
from mt_tools.learn.validate import predict
from mt_tools.nets.model import Model
from mt_tools.stages.inputs import data_digest, described_input
from mt_tools.stages.job import Job, SetUp, set_up

NO_VALID = "--retrain takes the best epochs from valid rows: ask for --valid 0.15"
ONE_TASK = "--baseline compares several tasks with each alone: name more than one"


@dataclass
class Fitted:
    """A fit that is done: its set-up with the trained network, its history and its metrics."""

    setup: SetUp
    history: History
    metrics: dict[str, Any]


@dataclass
class Outcome:
    """What a job ended in: the model, the history of its fit, and the points of all curves.

    `curves` are (run, points) in the order of the runs.
    """

    model: Model
    history: History
    curves: list[tuple[str, list[Record]]]


def run(job: Job, provenance: list[dict[str, Any]]) -> Outcome:
    """Train as described; return the model, with its metrics, and what it went through.

    The model is that of the first run, the one that a job without repeats would have. Raises
    `UsageError` for what does not fit, and `RunError` when the loss stops being finite.
    """
    settings, seed = job.options.protocol, job.options.fit.seed
    curves: list[tuple[str, list[Record]]] = []
    names = [f"repeat-{number}" for number in range(1, settings.repeats + 1)]
    if settings.repeats == 1:
        names = ["train"]
    setups = [
        set_up(job, name, protocol.run_seed(seed, number)) for number, name in enumerate(names)
    ]
    _check(job, setups)
    for note in [*job.notes, *setups[0].notes]:
        job.say(note)
    if settings.repeats > 1 and not setups[0].parts.drawn:
        job.say("the table marks every part: the repeats differ in their weights and order alone")
    done = _fits(job, setups, curves)
    gains = _gains(job, setups, done, curves) if settings.baseline else []
    first = done[0]
    metrics = dict(first.metrics)
    if settings.repeats > 1:
        metrics["repeats"] = {
            "summary": protocol.spreads([one.metrics for one in done]),
            "runs": [
                {"seed": one.setup.fitting.seed, "epoch": one.history.best_epoch, **one.metrics}
                for one in done
            ],
        }
    if gains:
        metrics["baseline"] = protocol.mean_gains(gains)
    model = _model(job, first, metrics, provenance)
    return Outcome(model, first.history, curves)


def planned(job: Job) -> dict[str, Any]:
    """Return what a job would do, everything checked, as JSON values (see `learn.preview`).

    The layers are those of the first fit; `fits` says in words how many there are.
    """
    settings = job.options.protocol
    setup = set_up(job, "train", job.options.fit.seed)
    _check(job, [setup])
    fits = []
    if settings.repeats > 1:
        fits.append(f"repeats: {settings.repeats}, each with its own split and weights")
    if settings.retrain:
        fits.append("then again on train and valid, for the mean of the best epochs")
    if settings.baseline:
        fits.append(f"and each of {len(setup.tasks)} tasks alone, to compare with")
    plan = setup.plan(job.arch)
    return {**plan, "fits": fits, "notes": [*job.notes, *plan["notes"]]}


def _check(job: Job, setups: Sequence[SetUp]) -> None:
    """Raise the `UsageError` of what is done after the first fit, before it begins.

    What a task alone has to be told of is noted, where it is something else than of all tasks.
    """
    settings, first = job.options.protocol, setups[0]
    if settings.retrain and not all(len(setup.parts.valid) for setup in setups):
        raise UsageError(NO_VALID)
    if not settings.baseline:
        return
    if len(first.tasks) < 2:
        raise UsageError(ONE_TASK)
    said = set(first.notes)
    for task in first.tasks:
        notes = _twin(job, first, task["name"]).notes
        first.notes += [f"{task['name']} alone: {note}" for note in notes if note not in said]


def _fits(
    job: Job, setups: Sequence[SetUp], curves: list[tuple[str, list[Record]]]
) -> list[Fitted]:
    """Fit the repeats of a network; with `--retrain` again, for the mean of their best epochs."""
    done = [_fitted(job, setup, curves) for setup in setups]
    if not job.options.protocol.retrain:
        return done
    epochs = protocol.mean_epochs([one.history.best_epoch for one in done])
    of = f"{setups[0].alone} alone: " if setups[0].alone else ""
    job.say(f"{of}trained again on train and valid, for {epochs} epochs")
    return [_retrained(job, one, epochs, curves) for one in done]


def _retrained(
    job: Job, before: Fitted, epochs: int, curves: list[tuple[str, list[Record]]]
) -> Fitted:
    """Fit again on train and valid together, for so many epochs (DJ study, section 5).

    Thresholds are those that the fit before calibrated, as no row is left to calibrate them on.
    """
    old = before.setup
    parts = dataclasses.replace(
        old.parts, train=old.parts.joined(), valid=old.parts.valid[:0], copies=old.parts.copies[:0]
    )
    fitting = dataclasses.replace(
        job.options.fit, epochs=epochs, samples=0, patience=0, stop_on="loss"
    )
    setup = set_up(
        job, f"retrain-{old.run}", old.fitting.seed, only=old.alone, whole=old.whole, parts=parts,
        parameters=old.parameters, fitting=fitting,
    )  # fmt: skip
    thresholds = {task["name"]: task["thresholds"] for task in old.tasks}
    for task in setup.tasks:
        known = next(t["vocabulary"] for t in old.tasks if t["name"] == task["name"])
        if known == task["vocabulary"]:
            task["thresholds"] = thresholds[task["name"]]
    again = _fitted(job, setup, curves)
    valid = {"valid": before.metrics["valid"]} if "valid" in before.metrics else {}
    return Fitted(again.setup, again.history, valid | again.metrics)


def _gains(
    job: Job,
    setups: Sequence[SetUp],
    together: Sequence[Fitted],
    curves: list[tuple[str, list[Record]]],
) -> list[dict[str, Any]]:
    """Train every task alone on the same rows; return what each gains or loses, a run an entry.

    `setups` are those of the fits that began the runs, `together` what they ended in.
    """
    alone: list[dict[str, Any]] = [{} for _ in setups]
    for task in setups[0].tasks:
        twins = [_twin(job, whole, task["name"]) for whole in setups]
        for found, fitted in zip(alone, _fits(job, twins, curves), strict=True):
            for part, measured in fitted.metrics.items():
                found.setdefault(part, {}).update(measured)
    return [protocol.gains(one.metrics, other) for one, other in zip(together, alone, strict=True)]


def _twin(job: Job, whole: SetUp, task: str) -> SetUp:
    """Return the fit of one task alone, on the same rows."""
    try:
        return set_up(
            job, f"{task}-alone-{whole.run}", whole.fitting.seed, only=task, whole=whole,
            parts=whole.parts, parameters=whole.parameters,
        )  # fmt: skip
    except UsageError as error:
        raise UsageError(f"--baseline, {task} alone: {error}") from error


def _fitted(job: Job, setup: SetUp, curves: list[tuple[str, list[Record]]]) -> Fitted:
    """Fit a network, calibrate its thresholds and measure it; a fit that was done is read."""
    several = job.options.protocol
    keeps = job.checkpoints is not None and (
        several.repeats > 1 or several.retrain or several.baseline
    )
    finished = _finished(job, setup) if keeps else None
    history = _read_back(job, setup, finished)
    if history is None:
        checkpoint = None if job.checkpoints is None else _file(job.checkpoints, setup, "part")
        with contextlib.suppress(FileExistsError):
            if job.checkpoints is not None and job.world.first:
                job.checkpoints.mkdir()
        history = fit(
            setup.net,
            setup.feed,
            setup.targets,
            setup.tasks,
            setup.parts.train,
            setup.parts.valid,
            setup.fitting,
            groups=setup.groups,
            device=job.device,
            checkpoint=checkpoint,
            resume=job.resume,
            on_record=lambda record: job.observe(setup.run, record),
            on_resume=lambda records: job.recall(setup.run, records),
            ids=job.table.ids.tolist(),
            say=job.say,
        )
        if finished is not None and job.world.first:
            document = {"history": dataclasses.asdict(history)}
            finished.write(document, arrays(setup.net.state_dict(), "net/"))
    else:
        job.recall(setup.run, history.records)
    curves.append((setup.run, history.records))
    return Fitted(setup, history, _measured(job, setup, history))


def _finished(job: Job, setup: SetUp) -> Checkpoint:
    """Return the file that keeps a fit that is done, while others of the job are not."""
    assert job.checkpoints is not None
    known = identity(
        setup.net, setup.feed, setup.targets, setup.tasks, setup.parts.train, setup.parts.valid,
        setup.fitting, setup.groups, job.table.ids.tolist(),
    )  # fmt: skip
    return Checkpoint(_file(job.checkpoints, setup, "done"), known)


def _file(checkpoints: Path, setup: SetUp, ending: str) -> Path:
    """Return a file of a fit, in whose name is that of a column, which may hold a slash."""
    return checkpoints / f"{quote(setup.run, safe=' +')}.{ending}"


def _read_back(job: Job, setup: SetUp, finished: Checkpoint | None) -> History | None:
    """Bring the network into the state of a fit that was done; None where it was not."""
    if finished is None or not job.resume:
        return None
    state = job.world.from_first(finished.read() if job.world.first else None)
    if state is None:
        return None
    document, tensors = state
    setup.net.load_state_dict(tensors_of(tensors, "net/"))
    setup.net.to(job.device).eval()
    told = document["history"]
    epochs = [Epoch(**epoch) for epoch in told.pop("epochs")]
    records = [Record(**record) for record in told.pop("records")]
    return History(epochs=epochs, records=records, **told)


def _measured(job: Job, setup: SetUp, history: History) -> dict[str, Any]:
    """Return the metrics of valid and test rows; sets the thresholds of tags by the valid ones."""
    found: dict[str, dict[str, np.ndarray]] = {}
    rows = {"valid": setup.parts.valid, "test": setup.parts.test}
    for part, chosen in rows.items():
        if len(chosen):
            found[part] = predict(
                setup.net, setup.feed, chosen, setup.tasks, setup.fitting.batch_size, job.device
            )
    for task in setup.tasks:
        if task["kind"] != "multilabel" or "valid" not in found:
            continue
        scores = found["valid"][task["name"]]
        truth, mask = (array[setup.parts.valid] for array in setup.targets[task["name"]])
        mask = mask & np.isfinite(scores).all(axis=1)
        if mask.any():
            task["thresholds"] = f1_thresholds(scores, truth, mask)
    clusters = splits.units(job.table.origins, job.table.get("group"))
    measured = {
        part: measure(
            setup.tasks, setup.values, found[part], rows[part], clusters, setup.fitting.seed
        )
        for part in found
    }
    best = next((e for e in history.epochs if e.number == history.best_epoch), None)
    for task in setup.tasks:  # of pairs only the training loop knows anything
        if task["kind"] == "same-track" and best is not None and task["name"] in best.metrics:
            pairs = {
                metric: {"value": plain(value), "low": None, "high": None}
                for metric, value in best.metrics[task["name"]].items()
            }
            count = int(setup.targets[task["name"]][1][setup.parts.valid].sum())
            measured.setdefault("valid", {})[task["name"]] = {"n": count, **pairs}
    return measured


def _model(
    job: Job, fitted: Fitted, metrics: dict[str, Any], provenance: list[dict[str, Any]]
) -> Model:
    setup = fitted.setup
    return Model.create(
        setup.net.to("cpu"),
        name=f"{job.arch}-{'-'.join(task['name'] for task in setup.tasks)}",
        arch=job.arch,
        parameters=setup.parameters,
        share=setup.share,
        input=described_input(job.column, job.examples),
        tasks=setup.tasks,
        training={
            "provenance": provenance,
            "data": data_digest(job.examples, setup.values),
            "rows": setup.parts.counts(),
            "notes": setup.notes,
            "history": fitted.history.record(),
        },
        metrics=metrics,
        backbone=job.backbone,
    )

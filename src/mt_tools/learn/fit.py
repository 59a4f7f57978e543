"""The training loop: many tasks, missing labels, early stopping, the same result twice.

Goal: fit a multitask network on rows of which each may lack the labels of some tasks, and go on
after a kill to the same weights.

Early stopping is on a validation part, never on the reported one. Each part of the loop has its own
page: which batch an update takes (`plan`), what it does (`update`), the weights of the tasks
(`weighting`), the learning rate (`schedules`), validation (`validate`), checkpoints (`checkpoint`),
several processes (`distributed`).

Conventions: inputs come from a feed (`feeds`), rows are numbered as there. Epochs and updates count
from 1 in what is reported. The device is the caller's choice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mt_tools.errors import RunError, UsageError
from mt_tools.learn import checkpoint as checkpoints
from mt_tools.learn.distributed import World, has_batch_norm, joined, synchronise_batch_norm
from mt_tools.learn.history import TOTAL, Epoch, History, Means, Record
from mt_tools.learn.plan import Plan, Rows, Targets, labelled_rows
from mt_tools.learn.schedules import schedule
from mt_tools.learn.settings import FitSettings
from mt_tools.learn.standardise import set_standardisation, standardiser
from mt_tools.learn.update import Made, Updater, make_optimizer
from mt_tools.learn.validate import Validation, criterion, predict, validate
from mt_tools.learn.weighting import Weighting
from mt_tools.nets.body import MultiTask
from mt_tools.tasks.kinds import Task, constant_loss

if TYPE_CHECKING:
    from mt_tools.learn.feeds import Feed
    from mt_tools.learn.groups import Groups

__all__ = [
    "Epoch",
    "History",
    "Record",
    "Targets",
    "check",
    "fit",
    "predict",
    "set_standardisation",
    "standardiser",
]

LOOK_EVERY = 50
"""Updates between two looks at the losses: each look waits for the device."""

NAMED = 64
"""Rows that an error names at most: those of a batch, unless it is large."""


def fit(
    net: MultiTask,
    feed: Feed,
    targets: Targets,
    tasks: Sequence[Task],
    train: NDArray[Any],
    valid: NDArray[Any],
    settings: FitSettings,
    *,
    groups: Groups | None = None,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    resume: bool = False,
    on_record: Callable[[Record], object] | None = None,
    on_resume: Callable[[Sequence[Record]], object] | None = None,
    ids: Sequence[str] | None = None,
    say: Callable[[str], object] | None = None,
) -> History:
    """Fit `net` in place on the rows `train`, and keep the weights best on the rows `valid`.

    `targets` covers all rows of `feed`; `train` and `valid` are row numbers, of which those without
    any label are left out. `groups` say what learns how fast; without them every parameter that
    requires a gradient does. With `checkpoint` the state is written there every
    `settings.checkpoint_every` updates; `resume` goes on from it if it exists, on a CPU to the same
    bits. The caller removes it (`checkpoint.remove`) when the model is safe. `on_record` is told
    each point of the learning curves as it is made, `on_resume` those that were made before a kill,
    `say` what a user should know; `ids` are the rows' names in errors.

    Under torchrun each process computes its share (`distributed`), all end with the same weights
    and history, and the first alone tells and writes. The network ends on `device` in evaluation
    mode. Raises `UsageError` for settings, tasks or rows that do not fit and for the checkpoint of
    another run, and `RunError` when a loss stops being finite.
    """
    device = torch.device(device)
    with joined(device) as world, _reproducibly(settings, device):
        run = _Run(net, feed, targets, tasks, train, valid, settings, groups, device, world)
        run.listeners(on_record, on_resume, say, ids)
        if checkpoint is not None:
            run.keep(checkpoint, resume)
        return run.to_the_end()


def check(
    feed: Feed,
    targets: Targets,
    tasks: Sequence[Task],
    train: NDArray[Any],
    valid: NDArray[Any],
    settings: FitSettings,
    groups: Groups | None = None,
) -> Plan:
    """Return the updates of a fit; raises the `UsageError` that `fit` would, before it begins."""
    plan = Plan(feed, train, targets, tasks, settings)
    stop_task = criterion(settings.stop_on, tasks).task
    rows = labelled_rows(valid, targets, plan.names)
    if stop_task and not targets[stop_task][1][rows].any():
        raise UsageError(
            f"--stop-on {settings.stop_on}: no valid row is labelled for {stop_task}; label "
            "some, or stop on the loss"
        )
    _check_steps(settings, groups)
    _constant_losses(plan.rows, targets, tasks, settings)
    return plan


class _Run:
    """The state of one fit, and what changes it."""

    def __init__(
        self,
        net: MultiTask,
        feed: Feed,
        targets: Targets,
        tasks: Sequence[Task],
        train: NDArray[Any],
        valid: NDArray[Any],
        settings: FitSettings,
        groups: Groups | None,
        device: torch.device,
        world: World,
    ) -> None:
        self.started = time.perf_counter()
        self.feed, self.targets, self.tasks = feed, targets, tasks
        self.settings, self.groups, self.device, self.world = settings, groups, device, world
        self.plan = check(feed, targets, tasks, train, valid, settings, groups)
        self.valid = labelled_rows(valid, targets, self.plan.names)
        self.criterion = criterion(settings.stop_on, tasks)
        constant = _constant_losses(self.plan.rows, targets, tasks, settings)
        self.weighting = Weighting(settings.weighting, tasks, constant)
        self.net = net.to(device)
        synchronise_batch_norm(net, world, device)
        world.same([*self.net.parameters(), *self.net.buffers()])
        self.weighting.to(device)
        self.schedule = schedule(settings, self.plan.updates)
        everything = {"params": list(net.parameters()), "lr": settings.learning_rate}
        self.optimizer = make_optimizer(
            [everything] if groups is None else groups.groups,
            self.weighting.parameters(),
            settings,
        )
        self.updater = Updater(
            self.net, self.optimizer, feed, targets, tasks, self.weighting, settings, device, world,
            self._note,
        )  # fmt: skip
        self.on_record: Callable[[Record], object] = lambda record: None
        self.on_resume: Callable[[Sequence[Record]], object] = lambda records: None
        self.say: Callable[[str], object] = lambda text: None
        self.ids: Sequence[str] | None = None
        self.file: checkpoints.Checkpoint | None = None

        self.update, self.samples, self.seconds_before = 0, 0, 0.0
        self.window, self.in_epoch = Means(), Means()
        self.epochs: list[Epoch] = []
        self.records: list[Record] = []
        self.notes: list[str] = []
        self.best_epoch = 0
        self.best_value: float | None = None
        self.best: dict[str, torch.Tensor] = {}

    # Before the first update

    def listeners(
        self,
        on_record: Callable[[Record], object] | None,
        on_resume: Callable[[Sequence[Record]], object] | None,
        say: Callable[[str], object] | None,
        ids: Sequence[str] | None,
    ) -> None:
        """Take those who are told, which in the first process alone they are."""
        if self.world.first:
            self.on_record = on_record or self.on_record
            self.on_resume = on_resume or self.on_resume
            self.say = say or self.say
        self.ids = ids

    def keep(self, path: Path, resume: bool) -> None:
        """Keep checkpoints, and go on from the one that is there if that is wanted."""
        identity = checkpoints.identity(
            self.net, self.feed, self.targets, self.tasks, self.plan.rows, self.valid,
            self.settings, self.groups, self.ids,
        )  # fmt: skip
        self.file = checkpoints.Checkpoint(Path(path), identity)
        if not resume:
            return
        found = self.world.from_first(self.file.read() if self.world.first else None)
        if found is not None:
            self._load(*found)

    # Updates and epochs

    def to_the_end(self) -> History:
        """Go through all updates that are left; restore the best weights."""
        if self.world.size > 1 and self.device.type == "cpu" and has_batch_norm(self.net):
            self._note("several processes on a CPU: batch norm sees the rows of its own process")
        self._awake(self.plan.epoch(self.update))
        stopped = ""
        for batch in self.plan.batches(self.update):
            self._set_rates(batch.update)
            self.updater(batch)
            self.update += 1
            self.samples += len(batch.rows)
            if self.updater.waiting >= LOOK_EVERY:
                self._look()
            every = self.settings.validate_every
            if self.plan.ends_epoch(batch.update):
                stopped = self._end_epoch(batch.epoch)
                if stopped:
                    break
                self._awake(self.plan.epoch(self.update))
            elif every and self.update % every == 0:
                self._point(batch.epoch)
                self._awake(batch.epoch)
            every = self.settings.checkpoint_every
            if self.file is not None and every and self.update % every == 0:
                self._save()
        return self._finish(stopped)

    def _awake(self, epoch: int) -> None:
        """Let learn what learns in an epoch."""
        self.net.train()
        if self.groups is not None:
            self.groups.apply(self.net, epoch)

    def _set_rates(self, update: int) -> None:
        """Set the learning rates of an update."""
        rate = self.settings.learning_rate * self.schedule(update)
        for entry in self.optimizer.param_groups:
            entry["lr"] = rate
        if self.groups is not None:
            # A group more, of the learned weights of the tasks, has no rate of its own.
            for group, entry in zip(self.groups.groups, self.optimizer.param_groups, strict=False):
                entry["lr"] = self.groups.rate(group, update, rate)

    def _look(self) -> None:
        """Take in what the last updates met; stop at a loss that is not finite."""
        for made in self.updater.made():
            for name, loss in made.losses.items():
                if not np.isfinite(loss):
                    raise self._diverged(name, made)
                self.window.add(name, loss, made.counts[name])

    def _point(self, epoch: int) -> Validation:
        """Add a point to the learning curves: losses since the last one, and of the valid rows."""
        self._look()
        losses = self.window.values()
        self._record(epoch, TOTAL, "train", "loss", self.weighting.total(losses))
        for name in self.plan.names:
            if name in losses:
                self._record(epoch, name, "train", "loss", losses[name])
        for name, weight in self.weighting.now().items():
            self._record(epoch, name, "train", "weight", weight)
        self.in_epoch.join(self.window)
        self.window = Means()
        if not len(self.valid):
            return Validation()
        self.world.same(list(self.net.buffers()))
        found = validate(
            self.net, self.feed, self.valid, self.targets, self.tasks, self.settings.batch_size,
            self.settings.seed, self.device, self.world,
        )  # fmt: skip
        for name, rows in found.broken.items():
            raise self._diverged(name, Made(self.update - 1, epoch, rows, {}, {}), "valid")
        self._record(epoch, TOTAL, "valid", "loss", self.weighting.total(found.losses))
        for name, loss in found.losses.items():
            self._record(epoch, name, "valid", "loss", loss)
        for name, measured in found.metrics.items():
            for metric, value in measured.items():
                self._record(epoch, name, "valid", metric, value)
        return found

    def _end_epoch(self, number: int) -> str:
        """Validate, keep the weights if they are the best, and say why to stop, if so."""
        found = self._point(number)
        losses = self.in_epoch.values()
        self.in_epoch = Means()
        self.weighting.end_epoch(losses)
        total = self.weighting.total(found.losses) if found.losses else None
        self.epochs.append(
            Epoch(number, self.weighting.total(losses), losses, total, found.losses, found.metrics)
        )
        if not len(self.valid):
            self.best_epoch = number
            return ""
        value = self.criterion.value(total, found)
        if self.criterion.better(value, self.best_value):
            self.best_value, self.best_epoch = value, number
            self._remember()
        patience = self.settings.patience
        return "patience" if patience and number - self.best_epoch >= patience else ""

    def _remember(self) -> None:
        """Copy the weights to the CPU."""
        for name, tensor in self.net.state_dict().items():
            if name not in self.best:
                self.best[name] = torch.empty_like(tensor, device="cpu")
            self.best[name].copy_(tensor)

    def _finish(self, stopped: str) -> History:
        """Restore the best weights and tell what happened."""
        if self.best:
            self.net.load_state_dict(self.best)
        elif len(self.valid):
            self.best_epoch = len(self.epochs)
            self._note(
                f"{self.settings.stop_on} was defined in no epoch: the last weights are kept"
            )
        self.world.same(list(self.net.buffers()))
        self.net.eval()
        if not len(self.valid):
            stopped = "no valid rows"
        return History(
            self.epochs,
            self.best_epoch,
            stopped or ("samples" if self.settings.samples else "epochs"),
            self.update,
            self.samples,
            self._seconds(),
            self.records,
            self.notes,
        )

    def _record(self, epoch: int, task: str, split: str, metric: str, value: float) -> None:
        record = Record(self.update, self.samples, epoch, task, split, metric, value)
        self.records.append(record)
        self.on_record(record)

    def _note(self, text: str) -> None:
        if text not in self.notes:  # not again after a resume
            self.notes.append(text)
            self.say(text)

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.started

    # Checkpoints

    def _save(self) -> None:
        """Write all that the next update depends on."""
        self._look()
        assert self.file is not None
        if not self.world.first:
            return
        kinds, tensors = checkpoints.record_arrays(self.records)
        tensors |= checkpoints.arrays(self.net.state_dict(), "net/")
        tensors |= checkpoints.arrays(self.best, "best/")
        tensors |= checkpoints.optimizer_arrays(self.optimizer)
        scaler = self.updater.scaler
        state = {
            "update": self.update,
            "samples": self.samples,
            "seconds": self._seconds(),
            "window": self.window.sums,
            "in_epoch": self.in_epoch.sums,
            "epochs": [vars(epoch) for epoch in self.epochs],
            "records": kinds,
            "notes": self.notes,
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
            "weighting": self.weighting.state(),
            "chunk": self.updater.chunk,
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        self.file.write(state, tensors)

    def _load(self, state: Mapping[str, Any], tensors: checkpoints.Tensors) -> None:
        """Go on from what `_save` wrote."""
        self.net.load_state_dict(checkpoints.tensors_of(tensors, "net/"))
        checkpoints.load_optimizer(self.optimizer, tensors)
        self.best = checkpoints.tensors_of(tensors, "best/")
        self.update, self.samples = state["update"], state["samples"]
        self.seconds_before = state["seconds"]
        self.window, self.in_epoch = Means(state["window"]), Means(state["in_epoch"])
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.records = checkpoints.records_of(state["records"], tensors)
        self.notes = list(state["notes"])
        self.best_epoch, self.best_value = state["best_epoch"], state["best_value"]
        self.weighting.load(state["weighting"])
        self.updater.chunk = state["chunk"]
        if self.updater.scaler is not None:
            self.updater.scaler.load_state_dict(state["scaler"])
        self.on_resume(self.records)
        self.say(f"resumed after update {self.update} of {self.plan.updates}")

    # What went wrong

    def _diverged(self, task: str, made: Made, split: str = "train") -> RunError:
        """Make the error of a loss that is no longer a number: of which task, at which rows."""
        rate = self.settings.learning_rate
        when = f"epoch {made.epoch}, update {made.update + 1}"
        what = f"the {split} loss of {task} is not finite in {when}"
        broken = self._broken(made.rows)
        if len(broken):
            return RunError(
                f"{what}: some inputs are NaN or infinite ({self._named(broken)}); remove those "
                "rows, or compute their features again"
            )
        advice = f"try --learning-rate {rate / 10:g}, or standardise the inputs"
        if self.settings.precision == "mixed":
            advice += ", or --precision float32"
        return RunError(f"{what} ({self._named(made.rows)}): got learning rate {rate:g}; {advice}")

    def _broken(self, rows: Rows) -> Rows:
        """Return those of the rows whose inputs are not finite; parts of NaN only fill up songs."""
        found = []
        for chosen, x in self.feed.read(np.sort(rows), self.settings.batch_size):
            depth = x.dim() - len(self.feed.example_shape)
            parts = x.flatten(depth)
            wrong = ~torch.isfinite(parts).all(-1)
            if depth > 1:
                wrong &= ~torch.isnan(parts).all(-1)
            found.append(chosen[wrong.reshape(len(x), -1).any(1).numpy()])
        return np.unique(np.concatenate([rows[:0], *found]))

    def _named(self, rows: Rows) -> str:
        """Return the names of the first rows."""
        names = [f"row {row}" if self.ids is None else self.ids[row] for row in rows[:NAMED]]
        more = len(rows) - len(names)
        return ", ".join(names) + (f" and {more} more" if more else "")


def _constant_losses(
    rows: Rows, targets: Targets, tasks: Sequence[Task], settings: FitSettings
) -> Mapping[str, float]:
    """Return the losses of constant predictors on the train rows, where they are needed."""
    if settings.weighting in ("fixed", "equal"):
        return {}
    return {
        task["name"]: constant_loss(task, *(part[rows] for part in targets[task["name"]]))
        for task in tasks
    }


def _check_steps(settings: FitSettings, groups: Groups | None) -> None:
    """Refuse a schedule of steps without any, and steps without the schedule."""
    steps = groups is not None and any(group["step"] for group in groups.groups)
    if settings.schedule == "step" and not steps:
        raise UsageError("--schedule step needs the updates between steps; add --lr-step 10000")
    if steps and settings.schedule != "step":
        raise UsageError(
            f"--lr-step does not go with --schedule {settings.schedule}; say --schedule step"
        )


@contextmanager
def _reproducibly(settings: FitSettings, device: torch.device) -> Iterator[None]:
    """Fix threads, random state (dropout draws from it) and cuDNN's choices; restore them after."""
    threads, deterministic = torch.get_num_threads(), torch.backends.cudnn.deterministic
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            if settings.threads:
                torch.set_num_threads(settings.threads)
            torch.backends.cudnn.deterministic = True
            yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.cudnn.deterministic = deterministic

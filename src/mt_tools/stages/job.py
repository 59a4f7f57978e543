"""A training as it was described, and each of its fits, all checked and ready to begin.

Goal: everything that can be wrong is found here, before anything is learned. `Job` is all that was
said; `set_up` makes of it a network, a feed and targets, which `--dry-run` shows.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mt_tools import splits
from mt_tools.errors import UsageError
from mt_tools.learn import alone, protocol
from mt_tools.learn import groups as parameter_groups
from mt_tools.learn.distributed import World
from mt_tools.learn.feeds import Examples, Feed
from mt_tools.learn.fit import check
from mt_tools.learn.groups import Groups
from mt_tools.learn.history import Record
from mt_tools.learn.preview import described
from mt_tools.learn.select import Selection, fit_selection
from mt_tools.learn.settings import FitSettings
from mt_tools.learn.standardise import set_standardisation, standardiser
from mt_tools.learn.transfer import copy_layers
from mt_tools.nets.body import Head, MultiTask, Share, Standardise
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model
from mt_tools.nets.registry import architecture
from mt_tools.nets.select import set_selection
from mt_tools.nets.size import match_parameters
from mt_tools.stages.parts import Parts, parts_of
from mt_tools.stages.settings import Options
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tasks.kinds import (
    Task,
    encode,
    head,
    make_task,
    outside,
    parse_task,
    unusable,
)

Say = Callable[[str], None]
Observe = Callable[[str, Record], object]
"""Takes a point of the learning curves, and the name of the run that it is of."""
Recall = Callable[[str, Sequence[Record]], object]
"""Takes the points that a run had made before it was killed."""

PAIRED = "origin"


@dataclass(frozen=True)
class Job:
    """A training, as it was described: inputs, network, options, and who is told what.

    `column` is None when tracks are decoded. `sources` are the models of `--init` by alias, in
    order. `checkpoints` is the folder of what a killed run goes on from, or None; the caller
    removes it when the model is safe. `observe` takes the points of the curves as they are made,
    `recall` those that were made before a kill. `notes` are what was found when the inputs were
    opened, to be told once everything fits. `selections` are the columns that `--select` chose,
    by the rows that it looked at: a task alone asks what it asked among others.
    """

    examples: Examples
    column: Column | None
    arch: str
    parameters: Mapping[str, Any]
    sources: Mapping[str, Model]
    options: Options
    backbone: Model | None
    device: torch.device
    say: Say
    world: World = field(default_factory=World)
    observe: Observe = lambda run, record: None
    recall: Recall = lambda run, records: None
    checkpoints: Path | None = None
    resume: bool = False
    notes: Sequence[str] = ()
    selections: dict[str, Selection] = field(default_factory=dict)

    @property
    def table(self) -> Batch:
        """The rows to learn from, without their inputs."""
        return self.examples.table

    @property
    def vectors(self) -> bool:
        """Whether an example is a vector."""
        return len(self.examples.feed.example_shape) == 1


@dataclass
class SetUp:
    """One fit, ready to begin: the network, its inputs and targets, all checked.

    `values` are the label columns by task, `notes` what a user should know of how it came about,
    `copied` the tensors that came from other models. A task that is trained alone to compare with
    has in `whole` the fit of all tasks.
    """

    run: str
    parts: Parts
    tasks: list[Task]
    values: dict[str, np.ndarray]
    targets: dict[str, tuple[np.ndarray, np.ndarray]]
    feed: Feed
    net: MultiTask
    parameters: dict[str, Any]
    share: tuple[Share, ...]
    groups: Groups
    fitting: FitSettings
    notes: list[str] = field(default_factory=list)
    copied: dict[str, torch.Tensor] = field(default_factory=dict)
    whole: SetUp | None = None

    @property
    def alone(self) -> str:
        """The task that is trained alone to compare with, or empty."""
        return "" if self.whole is None else str(self.tasks[0]["name"])

    def plan(self, arch: str) -> dict[str, Any]:
        """Return what this fit would do, as JSON values."""
        self.groups.apply(self.net, 1)
        plan = described(
            self.net,
            self.feed,
            self.parts.rows(),
            self.tasks,
            self.targets,
            self.fitting,
            sequence=architecture(arch).sequence,
        )
        return {"net": arch, "settings": self.parameters, **plan, "notes": self.notes}


def set_up(
    job: Job,
    run: str,
    seed: int,
    *,
    only: str = "",
    whole: SetUp | None = None,
    parts: Parts | None = None,
    parameters: Mapping[str, Any] | None = None,
    fitting: FitSettings | None = None,
) -> SetUp:
    """Make everything that a fit needs, from the seed of its run.

    `only` leaves one task of those of `whole`, `parts` and `parameters` stand in the place of those
    that would be drawn or matched. Raises `UsageError` for labels, splits, inputs or options that
    do not fit.
    """
    options, table = job.options, job.table
    wanted = [parse_task(text) for text in options.train.task]
    every = [name for name, _, _ in wanted]
    if len(set(every)) < len(every):
        raise UsageError(f"--task {' '.join(options.train.task)}: one column stands twice; "
                         "name each once")  # fmt: skip
    values = {name: label_values(table, name, kind) for name, kind, _ in wanted}
    if parts is None:
        stratify = next((v for v in values.values() if v.dtype == object), None)
        parts = parts_of(table, options.train, stratify, seed)
    share = protocol.parse_share(options.protocol.share, every)
    feeds = protocol.parse_feeds(options.protocol.output_feature, every)
    if only:
        wanted = [one for one in wanted if one[0] == only]
        share = protocol.share_of(share, [only])
        feeds = {}
    tasks = _tasks(job, wanted, values, parts)
    targets = {task["name"]: encode(task, values[task["name"]]) for task in tasks}
    lost = (note for task in tasks for note in _lost(task, values[task["name"]]))
    notes = [*parts.notes, *lost]
    feed = job.examples.feed.reseeded(seed)
    heads = {task["name"]: Head(**head(task), feeds=feeds.get(task["name"], ())) for task in tasks}
    chosen = _selected(job, feed, parts, targets, tasks, seed, notes)
    matched = parameters is not None
    parameters = dict(job.parameters if parameters is None else parameters)
    if chosen is not None:
        parameters["select"] = len(chosen)
    if options.train.match_parameters and not matched:
        parameters = match_parameters(
            job.arch, parameters, feed.example_shape, heads, options.train.match_parameters,
            share=share,
        )  # fmt: skip
    net = build_multitask(job.arch, parameters, feed.example_shape, heads, seed, share)
    if chosen is not None:
        set_selection(net, chosen)
    if any(isinstance(module, Standardise) for module in net.modules()):
        mean, std = standardiser(feed, parts.train, job.device)
        if chosen is not None:
            mean, std = mean[chosen], std[chosen]
        set_standardisation(net, mean, std)
    transfer, copied = options.transfer, {}
    if whole is None:
        before = {name: tensor.clone() for name, tensor in net.named_tensors().items()}
        notes += copy_layers(net, job.sources, transfer.map, tasks)
        copied = {
            name: tensor.clone()
            for name, tensor in net.named_tensors().items()
            if not torch.equal(tensor, before[name])
        }
    else:
        renamed = dict(zip(alone.route_of(whole.net, only), alone.route_of(net, only), strict=True))
        transfer = alone.transfer_of(transfer, whole.net, renamed)
        notes += alone.copy_own(net, whole.net, whole.copied, renamed)
    fitting = dataclasses.replace(fitting or options.fit, seed=seed)
    if not fitting.threads and job.vectors:
        # A small network spends its time on waking threads: 11 times slower on a busy machine.
        fitting = dataclasses.replace(fitting, threads=1)
    # Of the epochs that were asked for: a retraining may have fewer.
    groups = parameter_groups.resolve(net, transfer, fitting.learning_rate, options.fit.epochs)
    if only:
        fitting = alone.fitting_of(fitting, only, groups)
    check(feed, targets, tasks, parts.train, parts.valid, fitting, groups)
    return SetUp(
        run, parts, tasks, values, targets, feed, net, parameters, share, groups, fitting, notes,
        copied, whole,
    )  # fmt: skip


def label_values(table: Batch, name: str, kind: str | None) -> np.ndarray:
    """Return a label column; what belongs together by origin is known of every row."""
    if kind == "same-track" and name == PAIRED:
        return table.origins
    return table[name]


def _tasks(
    job: Job,
    wanted: Sequence[tuple[str, str | None, float]],
    values: Mapping[str, np.ndarray],
    parts: Parts,
) -> list[Task]:
    """Make the tasks from the labels of the training rows."""
    settings = job.options.protocol
    is_train = np.zeros(len(job.table), dtype=bool)
    is_train[parts.train] = True
    every = [parse_task(text)[0] for text in job.options.train.task]
    vocabularies = read_vocabularies(settings.vocab, every)
    columns = job.table.columns
    tasks = []
    for name, kind, weight in wanted:
        # Distributions that mt-augment made of classes say what they are of.
        said = columns[name].settings.get("vocabulary") if name in columns else None
        task = make_task(
            name,
            kind,
            values[name],
            is_train,
            weight,
            scale=settings.target_scale,
            vocabulary=vocabularies.get(name, said),
            class_weight=settings.class_weight,
        )
        made = columns.get(name)
        if made is not None and made.role == "target" and "digest" in made.settings:
            # By which mt-factor explain knows what the predictions are of.
            task["target"] = {key: made.settings.get(key) for key in ("method", "digest")}
        tasks.append(task)
    return tasks


def _lost(task: Task, values: np.ndarray) -> Iterator[str]:
    """Yield what labels of a task cannot be used: those its vocabulary lacks, and any others."""
    strangers, rows = outside(task, values), unusable(task, values)
    if strangers:
        shown = ", ".join(f"{word} ({count})" for word, count in list(strangers.items())[:5])
        more = ", ..." if len(strangers) > 5 else ""
        yield f"task {task['name']}: not in its vocabulary: {shown}{more}"
        if not any(isinstance(value, list) for value in values):
            rows -= sum(strangers.values())  # a row has one label, and these are told
    if rows:
        yield f"task {task['name']}: {rows} labelled rows cannot be used ({task['kind']})"


def _selected(
    job: Job,
    feed: Feed,
    parts: Parts,
    targets: Mapping[str, tuple[np.ndarray, np.ndarray]],
    tasks: Sequence[Task],
    seed: int,
    notes: list[str],
) -> np.ndarray | None:
    """Return the columns of the input that `--select` keeps, found in the train rows alone."""
    methods = job.options.transfer.select
    if not methods:
        return None
    if not job.vectors:
        raise UsageError(
            f"--select chooses columns of an embedding, and a row holds {list(feed.example_shape)} "
            "values: leave it out, or learn from embeddings"
        )
    names = [task["name"] for task in tasks]
    key = f"{seed} {hashlib.sha256(parts.train.tobytes()).hexdigest()}"
    selection = job.selections.get(key)
    if selection is None or not set(names) <= selection.by_task.keys():
        rows, read = parts.train, list(feed.read(parts.train, 4096))
        x = np.concatenate([batch.numpy() for _, batch in read])
        units = splits.units(job.table.origins, job.table.get("group"))
        own = {name: (values[rows], mask[rows]) for name, (values, mask) in targets.items()}
        selection = job.selections[key] = fit_selection(x, own, tasks, methods, units[rows], seed)
    selection = selection.of(names)
    notes += selection.notes
    return np.asarray(selection.kept)


def read_vocabularies(texts: Sequence[str], tasks: Sequence[str]) -> dict[str, list[str]]:
    """Return the words of each `--vocab TASK=FILE`, one a line; raises `UsageError`."""
    found = {}
    form = "TASK=FILE, such as energy=levels.txt"
    for task, path in protocol.parse_assignments("--vocab", texts, form).items():
        protocol.known("--vocab", f"{task}={path}", task, tasks)
        try:
            with open(path, encoding="utf-8") as file:
                found[task] = [line.strip() for line in file if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise UsageError(f"--vocab {task}={path}: {reason}; name a text file") from error
    return found

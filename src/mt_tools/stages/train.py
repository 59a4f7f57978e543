"""Trains a model of one or many tasks on the rows of a table, or on tracks.

Goal: what the studies do with networks, from one description. `Job` is all that was said; `set_up`
makes of it a network, a feed and targets, all checked, which `--dry-run` shows and `Fitting` fits.
A run is one fit with its own seed; with `--repeats` there are several, each with a split of its
own, with `--retrain` each is fitted twice, and with `--baseline` each task also alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch

from mt_tools import splits
from mt_tools.errors import RunError, SettingsMismatch, UsageError
from mt_tools.evaluate.measure import measure, plain
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.settings import preset as feature_preset
from mt_tools.learn import groups as parameter_groups
from mt_tools.learn import protocol
from mt_tools.learn.calibrate import f1_thresholds
from mt_tools.learn.checkpoint import Checkpoint, arrays, identity, tensors_of
from mt_tools.learn.distributed import World
from mt_tools.learn.feeds import Examples, Feed, memory_limit, open_feed
from mt_tools.learn.fit import check, fit
from mt_tools.learn.groups import Groups
from mt_tools.learn.history import Epoch, History, Record
from mt_tools.learn.preview import described
from mt_tools.learn.select import fit_selection
from mt_tools.learn.settings import (
    FeedSettings,
    FitSettings,
    ProtocolSettings,
    TransferSettings,
)
from mt_tools.learn.standardise import set_standardisation, standardiser
from mt_tools.learn.transfer import copy_layers
from mt_tools.learn.validate import predict
from mt_tools.nets.body import SHARED, Head, MultiTask, Share, Standardise
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model
from mt_tools.nets.registry import architecture
from mt_tools.nets.select import set_selection
from mt_tools.nets.several import maker_of
from mt_tools.nets.size import match_parameters
from mt_tools.nets.weights import resolve
from mt_tools.stages.parts import COLUMNS, Parts, parts_of
from mt_tools.stages.settings import TrainSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tables.shards import shards_of
from mt_tools.tables.source import Source
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

NO_VALID = "--retrain takes the best epochs from valid rows: ask for --valid 0.15"
ONE_TASK = "--baseline compares several tasks with each alone: name more than one"


@dataclass(frozen=True)
class Options:
    """All that was said about how to train."""

    train: TrainSettings
    fit: FitSettings
    feed: FeedSettings
    transfer: TransferSettings
    protocol: ProtocolSettings


# --- what is learned from ------------------------------------------------------------------------


def input_column(columns: Mapping[str, Column], chosen: str, net: str) -> Column | None:
    """Return the column to learn from; None where tracks are to be decoded instead.

    `net` is an architecture, or empty. Raises `UsageError` when there is neither a column nor a
    track, or several columns and none is chosen.
    """
    known = [c for c in columns.values() if c.role in ("embedding", "feature")]
    if chosen:
        known = [c for c in known if c.name == chosen] or [
            c for c in columns.values() if c.name == chosen and c.kind in ("vector", "tensor")
        ]
    elif net:
        kind = {"vector": "vector", "feature": "tensor"}[architecture(net).input]
        known = [c for c in known if c.kind == kind]
    if len(known) > 1:
        names = ", ".join(c.name for c in known)
        raise UsageError(f"the input has {names}: choose what to learn from with --input COLUMN")
    if known:
        return known[0]
    if not chosen and {"path", "audio"} & columns.keys():
        return None
    what = f"column {chosen!r}" if chosen else "embedding or feature column"
    suits = f" that {net} takes" if net and not chosen else ""
    raise UsageError(
        f"no {what} to learn from{suits}: the input has {', '.join(columns)}; make one with "
        "mt-embed or mt-spec first, or learn straight from tracks with --preset NAME"
    )


def network(name: str, column: Column | None) -> tuple[str, str]:
    """Return the architecture and the pretrained weights that `--net` names, "" for none.

    Without a name the input decides: `mlp` for vectors, `cnn` for features and audio. A wrong name
    raises `UsageError` with the nearest right ones.
    """
    arch, _, weights = name.partition(".")
    if not arch:
        arch = "mlp" if column is not None and column.kind == "vector" else "cnn"
    architecture(arch)
    return arch, weights


def kept_columns(tasks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns that parts are made from, and those of labels, without doublets."""
    labels = [parse_task(text)[0] for text in tasks]
    return [name for name in COLUMNS if name not in labels], list(dict.fromkeys(labels))


def collect(
    batches: Iterable[Batch],
    column: Column,
    options: Options,
    *,
    arch: str = "",
    shards: Any = None,
    say: Say,
) -> Examples:
    """Return the rows of a table that have an input, and the feed of them: see `open_feed`."""
    kept, labels = kept_columns(options.train.task)
    return open_feed(
        batches,
        column,
        kept,
        options.feed,
        seed=options.fit.seed,
        labels=labels,
        sequence=bool(arch) and architecture(arch).sequence,
        shards=shards,
        say=say,
    )


def audio_settings(preset: str, arch: str, weights: str) -> FeatureSettings:
    """Return the features to compute from tracks: a preset's, or those of pretrained weights.

    Raises `UsageError` where neither is named.
    """
    if preset:
        return feature_preset(preset)
    if weights:
        return resolve(weights).feature_settings
    if architecture(arch).input == "vector":
        raise UsageError(
            f"{arch} learns from embeddings, and the input has none: make them with mt-embed, or "
            "choose a network that learns from features, such as --net cnn"
        )
    raise UsageError(
        f"{arch} learns from features, and the input has tracks: say how to compute them with "
        "--preset NAME (mt-spec --help lists them), or run mt-spec or mt-embed before"
    )


def from_table(
    source: Source,
    read: Callable[[Source], Iterable[Batch]],
    inputs: Sequence[str],
    column: Column,
    options: Options,
    *,
    arch: str,
    limit: int = 0,
    say: Say,
) -> Examples:
    """Return the examples of tables; a column above `limit` bytes is read where it lies, if it can.

    `read` yields the rows of a source, `inputs` are the files as typed. `limit` 0 is a quarter of
    the memory.
    """
    shards = shards_of(inputs, column, limit or memory_limit())
    light = source if shards is None else shards.light(source.folders)
    return collect(read(light), column, options, arch=arch, shards=shards, say=say)


# --- what is to be done --------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A training, as it was described: inputs, network, options, and who is told what.

    `column` is None when tracks are decoded. `sources` are the models of `--init` by alias, in
    order. `checkpoints` is the folder of what a killed run goes on from, or None; the caller
    removes it when the model is safe. `observe` takes the points of the curves as they are made,
    `recall` those that were made before a kill. `notes` are what was found when the inputs were
    opened, to be told once everything fits.
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
        before = {name: tensor.clone() for name, tensor in _tensors(net).items()}
        notes += copy_layers(net, job.sources, transfer.map, tasks)
        copied = {
            name: tensor.clone()
            for name, tensor in _tensors(net).items()
            if not torch.equal(tensor, before[name])
        }
    else:
        renamed = dict(zip(_route(whole.net, only), _route(net, only), strict=True))
        transfer = _transfer_of(transfer, whole.net, renamed)
        notes += _copy_own(net, whole, renamed)
    fitting = dataclasses.replace(fitting or options.fit, seed=seed)
    if not fitting.threads and job.vectors:
        # A small network spends its time on waking threads: 11 times slower on a busy machine.
        fitting = dataclasses.replace(fitting, threads=1)
    # Of the epochs that were asked for: a retraining may have fewer.
    groups = parameter_groups.resolve(net, transfer, fitting.learning_rate, options.fit.epochs)
    if only:
        fitting = _alone(fitting, only, groups)
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
    tasks = []
    for name, kind, weight in wanted:
        task = make_task(
            name,
            kind,
            values[name],
            is_train,
            weight,
            scale=settings.target_scale,
            vocabulary=vocabularies.get(name),
            class_weight=settings.class_weight,
        )
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
    rows, read = parts.train, list(feed.read(parts.train, 4096))
    x = np.concatenate([batch.numpy() for _, batch in read])
    units = splits.units(job.table.origins, job.table.get("group"))
    own = {name: (values[rows], mask[rows]) for name, (values, mask) in targets.items()}
    selection = fit_selection(x, own, tasks, methods, units[rows], seed)
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


# --- a task alone --------------------------------------------------------------------------------


def _route(net: MultiTask, task: str) -> list[str]:
    """Return the names of the layers that a task goes through, in order, its head last."""
    return [
        *(
            f"{owner if owner == SHARED else f'branches.{owner}'}.{name}"
            for owner in net.routes[task]
            for name, _ in net.layers(owner).named_children()
        ),
        f"heads.{task}",
    ]


def _transfer_of(
    settings: TransferSettings, whole: MultiTask, renamed: Mapping[str, str]
) -> TransferSettings:
    """Return the settings for a task that is alone: patterns of its layers by their names there.

    What the patterns mean is looked up in the `whole` network. Of its layers those that the task
    goes through are in `renamed`, with their names in the network of the task alone.
    """
    layers = parameter_groups.layer_tensors(whole)

    def own(texts: tuple[str, ...], valued: bool) -> Iterator[str]:
        for text in texts:
            pattern, equals, value = text.rpartition("=") if valued else (text, "", "")
            if valued and not equals:  # --lr-step of all layers
                yield text
                continue
            for layer, name in renamed.items():
                if fnmatchcase(layer, pattern):
                    yield f"{glob.escape(name)}{equals}{value}"
                    continue
                for tensor in layers[layer]:
                    if fnmatchcase(tensor, pattern):
                        inner = tensor.removeprefix(layer)
                        yield f"{glob.escape(name + inner)}{equals}{value}"

    return dataclasses.replace(
        settings,
        freeze=tuple(own(settings.freeze, valued=False)),
        unfreeze=tuple(own(settings.unfreeze, valued=True)),
        lr_scale=tuple(own(settings.lr_scale, valued=True)),
        lr_step=tuple(own(settings.lr_step, valued=True)),
    )


def _copy_own(net: MultiTask, whole: SetUp, renamed: Mapping[str, str]) -> Iterator[str]:
    """Give a task that is alone what its layers in the whole network got of other models.

    Yields what cannot be given: a head that others feed is wider, and `--select` may keep as many
    columns for all tasks as it does for one, or not.
    """
    places = _tensors(net)
    for layer, tensors in parameter_groups.layer_tensors(whole.net).items():
        for name in tensors:
            if layer not in renamed or name not in whole.copied:
                continue
            there, tensor = renamed[layer] + name.removeprefix(layer), whole.copied[name]
            if places[there].shape == tensor.shape:
                places[there].copy_(tensor)
            else:
                yield (
                    f"{there} is not copied: it is {list(places[there].shape)}, that of all tasks "
                    f"is {list(tensor.shape)}"
                )


def _tensors(net: MultiTask) -> dict[str, torch.Tensor]:
    """Return the tensors of a network, which share its memory, by their names in files."""
    state = net.state_dict()
    return {name: state[key] for name, key in net.tensor_names().items()}


def _alone(fitting: FitSettings, task: str, groups: Groups) -> FitSettings:
    """Return the settings for one task: there is none to weigh it against or to stop by.

    The steps of `--lr-step` may all be of others' layers.
    """
    watched = fitting.stop_on.rpartition(".")[0]
    constant = fitting.schedule == "step" and not any(group["step"] for group in groups.groups)
    return dataclasses.replace(
        fitting,
        task_schedule="all",
        weighting="fixed",
        stop_on=fitting.stop_on if watched == task else "loss",
        schedule="constant" if constant else fitting.schedule,
    )


# --- doing it ------------------------------------------------------------------------------------


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


# --- the model -----------------------------------------------------------------------------------


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
            "data": _data_digest(job.examples, setup.values),
            "rows": setup.parts.counts(),
            "notes": setup.notes,
            "history": fitted.history.record(),
        },
        metrics=metrics,
        backbone=job.backbone,
    )


def described_input(column: Column | None, examples: Examples) -> dict[str, Any]:
    """Return what a model says of its input, so that it is given the like."""
    shape = examples.feed.example_shape
    if column is None or column.role == "feature":
        return {"kind": "feature", "settings": examples.settings, "shape": list(shape)}
    return {"kind": "embedding", "settings": examples.settings, "width": shape[0]}


def _data_digest(examples: Examples, values: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of what was learned from: ids, inputs and labels."""
    whole = hashlib.sha256("\n".join(examples.table.ids).encode())
    whole.update(f"\n{examples.digest}".encode())
    for name, column in values.items():
        whole.update(f"\n{name}={column.tolist()!r}".encode())
    return whole.hexdigest()


def parameters_of(arch: str) -> dict[str, Any]:
    """Return the parameters of an architecture with the values that training begins with."""
    module, _, name = architecture(arch).path.partition(":")
    made = inspect.signature(getattr(importlib.import_module(module), name))
    return {p.name: p.default for p in list(made.parameters.values())[1:]}


def backbone_of(column: Column | None, folders: Sequence[str], say: Say) -> Model | None:
    """Return the model that made the embeddings, so that ours can tag sound by itself."""
    if column is None or column.role != "embedding":
        return None
    if not column.settings.get("model"):
        say(f"{column.name} does not say what made it: the model will take such columns only")
        return None
    try:
        return maker_of(column.settings, folders)
    except RunError as error:
        say(f"{error}; the model will take such columns only, not sound")
        return None


def sources_of(
    options: Options,
    arch: str,
    weights: str,
    inits: Mapping[str, str],
    examples: Examples,
    say: Say,
) -> tuple[dict[str, Model], dict[str, Any]]:
    """Return the models to begin with, by alias, and the network's parameters.

    Pretrained `weights` of `--net ARCH.WEIGHTS` stand first, and their parameters are the
    network's but for those that were given. `say` is told of models of other features. Raises
    `UsageError` for weights of another architecture, and `SettingsMismatch` where the features are
    not what they were trained on.
    """
    given = protocol.parse_parameters(options.train.param)
    given = protocol.fitting_parameters(given, parameters_of(arch), arch)
    sources = {}
    if weights:
        model = resolve(weights)
        made = model.document["arch"]
        if made != arch:
            raise UsageError(f"--net {arch}.{weights}: these are weights of {made}; say --net "
                             f"{made}.{weights}")  # fmt: skip
        differ = _unlike(model, examples)
        if differ:
            raise SettingsMismatch(
                f"the features are not what {weights} was trained on: {'; '.join(differ)}"
            )
        sources[weights] = model
        given = {**model.document["parameters"], **given}
    for alias, name in inits.items():
        sources[alias] = model = resolve(name)
        differ = _unlike(model, examples)
        if differ:
            say(f"--init {alias}: it was trained on other features: {'; '.join(differ)}")
    return sources, given


def _unlike(model: Model, examples: Examples) -> list[str]:
    """Return in what the features differ from those that a model was trained on, where both say."""
    described = model.document["input"]
    if described["kind"] != "feature" or not described["settings"] or not examples.settings:
        return []
    if "digest" in examples.settings:  # of an embedding
        return []
    return FeatureSettings.from_json(examples.settings).compatible(model.feature_settings)

"""What a training learns from, and what it begins with: rows, features, models of others.

Goal: inputs and options become the examples of one feed, whether they are vectors, features or
tracks, and a network's name becomes an architecture, its parameters and the models to copy from.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mt_tools.errors import RunError, SettingsMismatch, UsageError
from mt_tools.features.presets import preset as feature_preset
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.transforms import Transform
from mt_tools.learn import protocol
from mt_tools.learn.feeds import Examples, memory_limit, open_feed
from mt_tools.nets.model import Model
from mt_tools.nets.registry import architecture
from mt_tools.nets.several import maker_of
from mt_tools.nets.weights import resolve
from mt_tools.stages.parts import COLUMNS
from mt_tools.stages.settings import Options
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tables.fitted import KEY
from mt_tools.tables.shards import shards_of
from mt_tools.tables.source import Source
from mt_tools.tasks.kinds import parse_task

Say = Callable[[str], None]


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
        features = resolve(weights).feature_settings
        if features.transform:
            raise UsageError(
                f"{weights} takes features that went through a fitted transform "
                f"({features.transform}): make a table of them with mt-spec --apply FILE"
            )
        return features
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


def described_input(column: Column | None, examples: Examples) -> dict[str, Any]:
    """Return what a model says of its input, so that it is given the like."""
    shape = examples.feed.example_shape
    if column is None or column.role == "feature":
        found = {"kind": "feature", "settings": examples.settings, "shape": list(shape)}
        return found | (transform_input(column.transform) if column and column.transform else {})
    return {"kind": "embedding", "settings": examples.settings, "width": shape[0]}


def transform_input(text: str) -> dict[str, Any]:
    """Return what a model keeps of the fitted transform of its features: all, and the tracks."""
    on = Transform.from_text(text, "the column's transform").fitted_on
    return {"transform": text} | ({KEY: on.to_json()} if on else {})


def data_digest(examples: Examples, values: Mapping[str, np.ndarray]) -> str:
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

"""The parts of every network: a body of named layers, and a head a task.

Goal: one form for every architecture, so that layers can be shared between tasks, copied from
other models, frozen, and taken as embeddings, by name.

A *body* is a sequence of named layers that turns an input into a vector, the embedding. *Heads*
turn that into the outputs of tasks. Between several tasks the first layers may be shared, all of
them or none; from there on each task has a branch of its own, and the embedding of the whole
network is what its branches end in, side by side (REP study, Fig. 5: with nothing shared these are
independent networks, with all layers shared MS-SR@FC, in between MS-CR@k).

Conventions: features are [n, bands, frames] or [n, channels, bands, frames]; vectors [n, d]. A
network of songs of any length takes [n, parts, ...], where a song that has fewer parts than its
batch is filled up with NaN. Layers that are called in `blocks` are those that `--share block:K`
counts; a layer between two of them belongs to the first of the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import torch
from torch import Tensor, nn

from mt_tools.errors import UsageError

SHARED = "shared"

ACTIVATIONS = {
    "identity": lambda logits: logits,
    "softmax": lambda logits: logits.softmax(dim=-1),
    "sigmoid": torch.sigmoid,
}


class Body(nn.Module):
    """A network without heads: `layers` in order, the `width` of its embedding, its `blocks`."""

    blocks: tuple[str, ...] = ()

    def __init__(self, layers: Mapping[str, nn.Module], width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for name, layer in layers.items():
            self.layers.add_module(name, layer)
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings [n, width] of inputs [n, ...]."""
        return self.layers(x)

    def split(self, shared: int | None) -> tuple[list[str], list[str]]:
        """Return the names of the layers up to the `shared`th block, and of those after it.

        All layers come first for None, and for all blocks: nothing is left but the head.
        """
        names = [name for name, _ in self.layers.named_children()]
        if shared == 0:
            return [], names
        if shared is None or shared >= len(self.blocks):
            return names, []
        first = names.index(self.blocks[shared])
        return names[:first], names[first:]


@dataclass(frozen=True)
class Head:
    """What stands on the embedding for one task.

    `outputs` is the number of logits, `activation` (a key of `ACTIVATIONS`) makes of them what
    other tasks are fed with. `feeds` are the tasks whose outputs this head takes beside the
    embedding, without a gradient (DJ study, "Output-Feature"). With `pair` the head compares two
    embeddings instead (REP study, Fig. 3).
    """

    outputs: int
    activation: str = "identity"
    feeds: tuple[str, ...] = ()
    pair: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the head as JSON values."""
        return {
            "outputs": self.outputs,
            "activation": self.activation,
            "feeds": list(self.feeds),
            "pair": self.pair,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Head:
        """Return the head that `to_json` described."""
        return cls(
            int(values["outputs"]),
            str(values["activation"]),
            tuple(values["feeds"]),
            bool(values["pair"]),
        )


@dataclass(frozen=True)
class Share:
    """Which layers which tasks have in common: the first `blocks` blocks of `tasks`.

    `blocks` None means all layers, `tasks` empty means every task.
    """

    blocks: int | None = None
    tasks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON values."""
        return {"blocks": self.blocks, "tasks": list(self.tasks)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Share:
        """Return the rule that `to_json` described."""
        return cls(values["blocks"], tuple(values["tasks"]))


class PairHead(nn.Sequential):
    """The comparison of the REP study's "self": [a; b] -> 128, batch norm, ReLU -> 2.

    Shape: two embeddings side by side, [n, 2 * width] -> [n, outputs].
    """

    HIDDEN = 128

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(
            nn.Linear(2 * width, self.HIDDEN),
            nn.BatchNorm1d(self.HIDDEN),
            nn.ReLU(),
            nn.Linear(self.HIDDEN, outputs),
        )


class MultiTask(nn.Module):
    """Bodies that share layers, with a head a task.

    `bodies` gives a fresh body for each branch; `heads` the head of each task, in order; `share`
    which layers are shared. The modules are `shared` (layers of every task), `branches[owner]`
    (layers of one task, or of those joined by + in the owner's name) and `heads[task]`; a task's
    route is the owners that its input goes through. Calling it gives the logits [n, outputs] by
    task name. Raises `UsageError` for tasks that share what cannot be shared, or that feed each
    other in a circle.
    """

    def __init__(
        self, bodies: Iterator[Body], heads: Mapping[str, Head], share: Sequence[Share] = (Share(),)
    ) -> None:
        super().__init__()
        first = next(bodies)
        self.tasks = tuple(heads)
        self.specs = dict(heads)
        self.order = _order(heads)
        self.shared = nn.Sequential()
        self.branches = nn.ModuleDict()
        self.routes: dict[str, tuple[str, ...]] = {}
        plan = _plan(first, self.tasks, share)
        for number, owners in enumerate(dict.fromkeys(plan.values())):
            body = next(bodies) if number else first
            for owner, names in owners:
                if owner != SHARED and key(owner) not in self.branches:
                    self.branches[key(owner)] = nn.Sequential()
                if not len(self.layers(owner)):
                    for name in names:
                        self.layers(owner).add_module(name, body.layers.get_submodule(name))
        for task, owners in plan.items():
            self.routes[task] = tuple(owner for owner, _ in owners)
        if not self.tasks:
            self.shared = first.layers
        self.ends = tuple(dict.fromkeys(self.routes.values())) or ((SHARED,),)
        self.width = first.width * len(self.ends)
        self.heads = nn.ModuleDict()
        for task, head in heads.items():
            if head.pair:
                self.heads[key(task)] = PairHead(first.width, head.outputs)
            else:
                fed = sum(heads[other].outputs for other in head.feeds)
                self.heads[key(task)] = nn.Linear(first.width + fed, head.outputs)

    def head(self, task: str) -> nn.Module:
        """Return the head of a task."""
        return self.heads[key(task)]

    def layers(self, owner: str) -> nn.Sequential:
        """Return the layers of an owner of the routes."""
        return self.shared if owner == SHARED else cast(nn.Sequential, self.branches[key(owner)])

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return the logits [n, outputs] of each task (or of `tasks`), pairs left out."""
        wanted = set(self.tasks if tasks is None else tasks)
        needed = set(wanted)
        for task in reversed(self.order):
            if task in needed:
                needed.update(self.specs[task].feeds)
        values: dict[tuple[str, ...], Tensor] = {(): x}
        logits: dict[str, Tensor] = {}
        for task in self.order:
            head = self.specs[task]
            if task not in needed or head.pair:
                continue
            fed = [
                ACTIVATIONS[self.specs[other].activation](logits[other].detach())
                for other in head.feeds
            ]
            embedding = self._at(self.routes[task], values)
            logits[task] = self.head(task)(torch.cat([embedding, *fed], dim=1))
        return {task: logits[task] for task in self.tasks if task in wanted and task in logits}

    def embed(self, x: Tensor) -> Tensor:
        """Return the embeddings [n, width]: the ends of all branches side by side."""
        values: dict[tuple[str, ...], Tensor] = {(): x}
        return torch.cat([self._at(route, values) for route in self.ends], dim=1)

    def compare(self, task: str, a: Tensor, b: Tensor) -> Tensor:
        """Return the logits [n, outputs] of a task of pairs, from both inputs of each pair."""
        both = self._at(self.routes[task], {(): torch.cat([a, b])})
        return self.head(task)(torch.cat([both[: len(a)], both[len(a) :]], dim=1))

    def named_layers(self) -> dict[str, nn.Module]:
        """Return every layer by its name in files and patterns, `shared.conv1` for example."""
        layers = {f"{SHARED}.{name}": layer for name, layer in self.shared.named_children()}
        for owner in dict.fromkeys(owner for route in self.routes.values() for owner in route):
            if owner != SHARED:
                for name, layer in self.layers(owner).named_children():
                    layers[f"branches.{owner}.{name}"] = layer
        return layers | {f"heads.{task}": self.head(task) for task in self.tasks}

    def tensor_names(self) -> dict[str, str]:
        """Map the names of tensors in files and patterns to those in `state_dict`.

        They are the same but for tasks, which files call what users call them.
        """
        names = {}
        for name, prefix in self._prefixes().items():
            for entry in self.state_dict():
                if entry.startswith(prefix + "."):
                    names[name + entry.removeprefix(prefix)] = entry
        return names

    def named_tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the network, which share its memory, by their names in files."""
        state = self.state_dict()
        return {name: state[entry] for name, entry in self.tensor_names().items()}

    def _prefixes(self) -> dict[str, str]:
        owners = dict.fromkeys(owner for route in self.routes.values() for owner in route)
        return (
            {SHARED: SHARED}
            | {f"branches.{o}": f"branches.{key(o)}" for o in owners if o != SHARED}
            | {f"heads.{task}": f"heads.{key(task)}" for task in self.tasks}
        )

    def _at(self, route: tuple[str, ...], values: dict[tuple[str, ...], Tensor]) -> Tensor:
        """Return what a route ends in; `values` keeps what several routes go through."""
        if route not in values:
            values[route] = self.layers(route[-1])(self._at(route[:-1], values))
        return values[route]


def _plan(
    body: Body, tasks: Sequence[str], share: Sequence[Share]
) -> dict[str, tuple[tuple[str, tuple[str, ...]], ...]]:
    """Return each task's owners and their layers: all tasks' first, then the group's, then its own.

    A task is in one group at most beside the one of all tasks.
    """
    common: int | None = 0
    joined: dict[str, Share] = {}
    for rule in share:
        unknown = [task for task in rule.tasks if task not in tasks]
        if unknown:
            raise UsageError(
                f"--share: no task {', '.join(unknown)}; the tasks are {', '.join(tasks)}"
            )
        if rule.blocks is not None and not 0 <= rule.blocks <= len(body.blocks):
            raise UsageError(
                f"--share block:{rule.blocks}: the network has {len(body.blocks)} blocks"
                + (f" ({', '.join(body.blocks)})" if body.blocks else " that can be shared alone")
                + "; share so many at most, or all"
            )
        if not rule.tasks or len(rule.tasks) == len(tasks):
            common = rule.blocks
            continue
        owner = "+".join(rule.tasks)
        if len(rule.tasks) < 2 or owner in tasks:
            raise UsageError(f"--share: {owner} is one task; name two that share layers")
        for task in rule.tasks:
            if task in joined:
                raise UsageError(f"--share: task {task} stands in two groups")
            joined[task] = rule
    plan = {}
    for task in tasks:
        rule = joined.get(task, Share(0))
        names, left = body.split(common)
        owners = [(SHARED, tuple(names))] if names else []
        in_group = body.split(rule.blocks)[0]
        mine = [name for name in left if name in in_group]
        if mine:
            owners.append(("+".join(rule.tasks), tuple(mine)))
            left = [name for name in left if name not in mine]
        if left and task == SHARED:
            raise UsageError(f"--share: a task called {SHARED} cannot have layers of its own")
        if left:
            owners.append((task, tuple(left)))
        plan[task] = tuple(owners)
    return plan


def _order(heads: Mapping[str, Head]) -> tuple[str, ...]:
    """Return the tasks so that each comes after those that feed it."""
    order: list[str] = []
    left = list(heads)
    while left:
        for task in left:
            feeds = heads[task].feeds
            wrong = [other for other in feeds if other not in heads or heads[other].pair]
            if heads[task].pair and feeds:
                raise UsageError(f"--output-feature: {task} compares pairs and cannot be fed")
            if wrong:
                raise UsageError(
                    f"--output-feature: {', '.join(wrong)} cannot feed {task}; the tasks are "
                    f"{', '.join(heads)}"
                )
        ready = [task for task in left if set(heads[task].feeds) <= set(order)]
        if not ready:
            raise UsageError(
                f"--output-feature: {' and '.join(left)} feed each other in a circle: leave one "
                "of them out"
            )
        order += ready
        left = [task for task in left if task not in ready]
    return tuple(order)


def key(name: str) -> str:
    """Return the name of a task's module: a column may be called anything, a module not.

    Neither `a.b` nor `keys` can be one.
    """
    return "task:" + quote(name, safe=" +").replace(".", "%2E")


class Standardise(nn.Module):
    """Inputs at mean 0 and deviation 1, by statistics of the training rows, which files keep.

    `mean` and `std` are [d] for vectors and [bands, 1] for features; 0 and 1 until they are set.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Return the standardised inputs, of the same shape."""
        return (x - self.mean) / self.std


class Images(nn.Module):
    """Features as images: [n, bands, frames] -> [n, 1, bands, frames], laid out channels-last.

    Features with channels pass. With `standardise` each example is brought to mean 0 and deviation
    1 by itself.
    """

    def __init__(self, standardise: bool = False) -> None:
        super().__init__()
        self.standardise = standardise

    def forward(self, x: Tensor) -> Tensor:
        """Return images [n, channels, bands, frames]."""
        x = x.unsqueeze(1) if x.dim() == 3 else x
        x = standardised(x) if self.standardise else x
        return x.contiguous(memory_format=torch.channels_last)


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (channels, bands, frames) of an input [bands, frames] or [channels, bands, frames]."""
    channels, bands, frames = (1, *shape) if len(shape) == 2 else shape
    return channels, bands, frames


def standardised(x: Tensor) -> Tensor:
    """Return each example of [n, ...] at mean 0 and deviation 1; a constant one becomes 0."""
    axes = tuple(range(1, x.dim()))
    x = x - x.mean(dim=axes, keepdim=True)
    deviation = x.square().mean(dim=axes, keepdim=True).sqrt()
    return x / deviation.clamp(min=1e-3)


def pooled_vector(x: Tensor) -> Tensor:
    """Return a layer's output as vectors [n, width]: means over bands and frames, or over steps.

    Shape: [n, width], [n, steps, width], [n, width, bands, frames] or, of the parts of songs,
    [n, parts, width, bands, frames]. Steps and parts of NaN (see the module's conventions) are left
    out.
    """
    if x.dim() == 5:
        return x.mean(dim=(3, 4)).nanmean(dim=1)
    if x.dim() == 4:
        return x.mean(dim=(2, 3))
    return x.nanmean(dim=1) if x.dim() == 3 else x.flatten(1)

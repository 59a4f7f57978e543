"""What of a network learns how fast, from when on, and what does not: parameter groups.

Goal: the levels of fine-tuning that the studies compare, from a frozen black box to everything,
said in patterns of layer names.

Source: the rates and steps of layer groups of the SEQ study (section 4.3, Tables 4.5 to 4.8); the
frozen branches of the DJ study (Table 5.7); gradual unfreezing of J. Howard and S. Ruder,
"Universal language model fine-tuning for text classification", ACL 2018 (section 3.3).

Conventions: names are those of `MultiTask.tensor_names` and `MultiTask.named_layers`. A pattern
(`fnmatch`: `*` goes past dots too) that matches a layer's name means all of its tensors. Of several
patterns of an option that match a tensor, the last one counts, as with options in general: say the
general one first. Epochs count from 1, updates from 0.

A frozen layer is at rest altogether: no gradient, no dropout, and batch norm neither uses nor
learns the statistics of the batch, so that it gives what it would give in the finished model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from mt_tools.errors import UsageError
from mt_tools.learn.settings import TransferSettings
from mt_tools.nets.body import MultiTask

NEVER = 0
"""The epoch from which a tensor of `--freeze` learns."""


@dataclass(frozen=True)
class Groups:
    """The parameter groups of a network: see `resolve`.

    `groups` are those of a torch optimizer: each a dict of `params`, their `names`, `lr` (the rate
    before any schedule), `scale`, `step` (updates between two decays, 0 = none), `decay` and
    `floor`. `since` maps the names of tensors that rest to the epoch from which they learn (`NEVER`
    for good), `rests` those of layers without a tensor, such as dropout; `layers` maps the names of
    layers to those of their tensors.
    """

    groups: list[dict[str, Any]]
    since: Mapping[str, int]
    layers: Mapping[str, tuple[str, ...]]
    rests: Mapping[str, int]

    def frozen_at(self, epoch: int) -> set[str]:
        """Return the names of the layers of which nothing learns in an epoch."""
        return {
            layer
            for layer, tensors in self.layers.items()
            if (
                all(self._is_frozen(tensor, epoch) for tensor in tensors)
                if tensors
                else _rests(self.rests.get(layer), epoch)
            )
        }

    def apply(self, net: MultiTask, epoch: int) -> None:
        """Let learn what learns in an epoch, and rest what rests.

        To be called after every `net.train()`, which wakes everything.
        """
        names = net.tensor_names()
        frozen = {key for name, key in names.items() if self._is_frozen(name, epoch)}
        for key, parameter in net.named_parameters():
            parameter.requires_grad_(key not in frozen)
        asleep = {id(tensor) for key, tensor in _tensors(net).items() if key in frozen}
        resting = self.frozen_at(epoch)
        for layer, module in net.named_layers().items():
            for part in module.modules():
                # Of a layer that is frozen in part, a batch norm may rest alone.
                own = {id(tensor) for tensor in _tensors(part).values()}
                if layer in resting or (own and own <= asleep):
                    _rest(part)

    def rate(self, group: Mapping[str, Any], update: int, base: float) -> float:
        """Return a group's learning rate at an update, of which `base` is that of the schedule.

        It is base * scale, times the decay after every `step` updates; a decay ends at the floor,
        which raises no rate that is lower by itself.
        """
        rate = base * group["scale"]
        if not group["step"]:
            return rate
        return max(rate * group["decay"] ** (update // group["step"]), min(rate, group["floor"]))

    def _is_frozen(self, tensor: str, epoch: int) -> bool:
        return _rests(self.since.get(tensor), epoch)


def resolve(
    net: MultiTask, settings: TransferSettings, base_rate: float, epochs: int | None = None
) -> Groups:
    """Return the parameter groups that the settings make of a network.

    `base_rate` is the learning rate. Raises `UsageError` for a pattern that matches nothing, a
    value that is none, when nothing is left to learn in the first epoch, and for layers that would
    learn only after the last of `epochs`.
    """
    layers = layer_tensors(net)
    owner = {tensor: layer for layer, tensors in layers.items() for tensor in tensors}
    since: dict[str, int] = {}
    rests: dict[str, int] = {}
    waits = [
        *((pattern, NEVER) for pattern in settings.freeze),
        *_values("--unfreeze", settings.unfreeze, "shared.conv5=10", int, 1),
    ]
    options = ["--freeze"] * len(settings.freeze) + ["--unfreeze"] * len(settings.unfreeze)
    for option, (pattern, epoch) in zip(options, waits, strict=True):
        if epochs is not None and epochs < epoch != NEVER:
            raise UsageError(
                f"--unfreeze {pattern}={epoch}: it would never learn in {epochs} epochs; name one "
                f"of them, or say --freeze {pattern!r}"
            )
        tensors, bare = _matches(option, pattern, layers)
        since |= dict.fromkeys(tensors, epoch)
        rests |= dict.fromkeys(bare, epoch)
    scales = dict.fromkeys(owner, 1.0)
    for pattern, scale in _values("--lr-scale", settings.lr_scale, "shared.*=0.1", float, None):
        scales |= dict.fromkeys(_matches("--lr-scale", pattern, layers)[0], scale)
    steps = dict.fromkeys(owner, 0)
    written = [text if "=" in text else f"*={text}" for text in settings.lr_step]
    for pattern, step in _values("--lr-step", written, "10000 or shared.*=50000", int, 1):
        steps |= dict.fromkeys(_matches("--lr-step", pattern, layers)[0], step)

    by_key = dict(net.named_parameters())
    groups: dict[tuple[float, int], dict[str, Any]] = {}
    for name, key in net.tensor_names().items():
        if key not in by_key or since.get(name) == NEVER:
            continue
        group = groups.setdefault(
            (scales[name], steps[name]),
            {
                "params": [], "names": [], "lr": base_rate * scales[name], "scale": scales[name],
                "step": steps[name], "decay": settings.lr_decay, "floor": settings.lr_floor,
            },
        )  # fmt: skip
        group["params"].append(by_key[key])
        group["names"].append(name)
    made = Groups(list(groups.values()), since, layers, rests)
    learning = (name for group in made.groups for name in group["names"])
    if all(since.get(name, 1) > 1 for name in learning):
        raise UsageError(
            "everything is frozen in the first epoch and nothing would learn; freeze less, such as "
            f"--freeze 'shared.*' (the layers are {', '.join(layers)})"
        )
    return made


def layer_tensors(net: MultiTask) -> dict[str, tuple[str, ...]]:
    """Return the names of the tensors of each layer of a network, by the layer's name, in order."""
    tensors = _tensors(net)
    names = {id(tensors[key]): name for name, key in net.tensor_names().items()}
    return {
        layer: tuple(names[id(tensor)] for tensor in _tensors(module).values())
        for layer, module in net.named_layers().items()
    }


def matches(pattern: str, layer: str, tensor: str) -> bool:
    """Whether a pattern means a tensor of a layer: by its own name or its layer's."""
    return fnmatchcase(tensor, pattern) or fnmatchcase(layer, pattern)


def _matches(
    option: str, pattern: str, layers: Mapping[str, Sequence[str]]
) -> tuple[list[str], list[str]]:
    """Return the tensors that a pattern means, and the layers it names that have none."""
    tensors = [
        tensor for layer, own in layers.items() for tensor in own if matches(pattern, layer, tensor)
    ]
    bare = [layer for layer, own in layers.items() if not own and fnmatchcase(layer, pattern)]
    if not tensors and not bare:
        raise UsageError(
            f"{option} {pattern}: no layer or tensor is called so; the layers are "
            f"{', '.join(layers)}"
        )
    return tensors, bare


def _values(
    option: str, texts: Iterable[str], example: str, type_: type, minimum: int | None
) -> Iterator[tuple[str, Any]]:
    """Yield the pattern and the number of each `PATTERN=NUMBER`."""
    for text in texts:
        pattern, _, number = text.rpartition("=")
        try:
            value = type_(number)
        except ValueError:
            value = None
        low = value is not None and (value <= 0 if minimum is None else value < minimum)
        if not pattern or value is None or low or value != value or value == float("inf"):
            kind = "a number above 0" if minimum is None else f"a whole number from {minimum}"
            advice = "; to freeze layers say --freeze PATTERN" if value == 0 else ""
            raise UsageError(f"{option} {text}: expected PATTERN={kind}, such as {example}{advice}")
        yield pattern, value


def _rests(since: int | None, epoch: int) -> bool:
    return since is not None and (since == NEVER or epoch < since)


def _rest(module: nn.Module) -> None:
    """Put a module in evaluation mode, but for recurrent layers without dropout.

    Both modes are the same for those, and cuDNN goes back through one, to layers below that learn,
    in training mode only.
    """
    for part in module.modules():
        part.training = isinstance(part, nn.RNNBase) and not part.dropout


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers themselves, by which parts of a network are told apart."""
    return module.state_dict(keep_vars=True)

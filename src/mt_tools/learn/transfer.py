"""Copying layers of trained models into a new network.

Goal: pre-training on one table and fine-tuning on another, in the forms of the studies: the whole
network (SEQ), its first layers only, or a branch of each of several models (DJ).

Source: the transfer route of the DJ study (section 5.2, Table 5.7): conv 1 of the main genre's
network into all branches, the later layers of each source network into its own branch.

Conventions: names are those of `MultiTask.tensor_names`, which model files use as well. Without
maps every layer is copied that the network has too, under the same name and with tensors of the
same names and shapes; a head only where the task's name, kind and vocabulary are the same, as its
outputs mean nothing else. A map is

    [ALIAS:]SOURCE->TARGET

in which SOURCE is a pattern as in `learn.groups` and TARGET a name with as many wildcards; what
each of SOURCE matched stands in the place of the one of TARGET, in order. A model that a map names
is copied by its maps alone. `backbone.` begins the names of the model that made a model's inputs.

The statistics that a model standardises its input by are tensors of its layer `input` and come
along with it, as its weights expect them; leave `input` out of the maps to keep those of the new
training rows. Statistics of batch norms belong to their layers in the same way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mt_tools.errors import UsageError
from mt_tools.learn.groups import layer_tensors
from mt_tools.nets.body import MultiTask
from mt_tools.nets.model import Model
from mt_tools.nets.several import Concatenated
from mt_tools.tasks.kinds import Task

_WILDCARD = re.compile(r"\*|\?|\[!?\]?[^]]*\]")
_EXAMPLE = "'shared.conv*->branches.genre.conv*'"


@dataclass(frozen=True)
class Move:
    """One tensor that goes from a model into the network, each side as (layer, rest of the name).

    `asked` is the map that asks for it, empty for the default.
    """

    alias: str
    source: tuple[str, str]
    target: tuple[str, str]
    asked: str

    @property
    def names(self) -> tuple[str, str]:
        """Names of the tensor in the source and in the target."""
        return "".join(self.source), "".join(self.target)


def parse_init(texts: Sequence[str]) -> dict[str, str]:
    """Return the models of `--init` by alias: `alias=FILE`, or the file's name without its ending.

    >>> parse_init(["genre=runs/7.safetensors", "runs/energy.safetensors", "crnn-msd"])
    {'genre': 'runs/7.safetensors', 'energy': 'runs/energy.safetensors', 'crnn-msd': 'crnn-msd'}
    """
    found: dict[str, str] = {}
    for text in texts:
        alias, equals, name = text.partition("=")
        if not equals or "/" in alias or ":" in alias:
            alias, name = os.path.basename(text).removesuffix(".safetensors"), text
        if not alias or not name:
            raise UsageError(f"--init {text}: expected NAME, FILE or ALIAS=FILE")
        if alias in found:
            raise UsageError(
                f"--init: two models are called {alias}; tell them apart with --init ALIAS=FILE"
            )
        found[alias] = name
    return found


def copy_layers(
    net: MultiTask,
    sources: Mapping[str, Model],
    maps: Sequence[str] = (),
    tasks: Sequence[Task] = (),
) -> list[str]:
    """Copy tensors of models into a network, in place; return what went where, a line a layer.

    `sources` are the models by alias, `maps` as above, `tasks` those of the network, without which
    no head is copied by default. What a map fills stands; where two models have a layer of the same
    name otherwise, the later one's is taken. Raises `UsageError` for a map that is none, that
    matches nothing, or whose target is missing, has another shape or stands in two maps, and for a
    model of which nothing was copied.
    """
    if maps and not sources:
        raise UsageError(f"--map {maps[0]}: there is no model to copy from; name one with --init")
    layers = {alias: _layers(model) for alias, model in sources.items()}
    mapped: dict[str, list[str]] = {alias: [] for alias in sources}
    for text in maps:
        mapped[_alias(text, sources)].append(text)
    ours, places = net.named_tensors(), layer_tensors(net)
    moves: dict[str, Move] = {}
    notes = []
    for alias, model in sources.items():
        tensors = model.parts()[1]
        if mapped[alias]:
            chosen = [
                move for text in mapped[alias] for move in _by_map(text, alias, layers[alias])
            ]
        else:
            chosen = []
            for layer, own in _by_name(layers[alias], _same_heads(model, tasks)):
                if layer not in places:
                    continue
                misfit = _misfit(own, places[layer], tensors, ours)
                if misfit:
                    notes.append(f"{alias}: {layer} is not copied: {misfit}")
                else:
                    chosen += _in_place(alias, layer, own)
        if not chosen:
            raise UsageError(
                f"--init {alias}: nothing was copied, as no layer has the name and the shapes of "
                f"one of the network's; it has {', '.join(layers[alias])}, the network has "
                f"{', '.join(places)}: say what goes where, such as --map {_EXAMPLE}"
            )
        for move in chosen:
            source, target = move.names
            if target not in ours:
                raise UsageError(
                    f"--map {move.asked}: the network has no {target}; its layers are "
                    f"{', '.join(places)}"
                )
            place, tensor = ours[target], tensors[source]
            if tensor.shape != tuple(place.shape):
                raise UsageError(
                    f"--map {move.asked}: the shapes differ: {source} is {list(tensor.shape)}, "
                    f"{target} is {list(place.shape)}; map layers of one shape, or build the same "
                    "network"
                )
            other = moves.get(target)
            if other is not None and other.asked and move.asked:
                raise UsageError(f"--map {move.asked}: {other.asked} fills {target} as well")
            if other is not None and other.asked:
                continue  # what was said stands, in whatever order the models are named
            moves[target] = move
            place.copy_(torch.from_numpy(tensor))
    left = {move.alias for move in moves.values()}
    for alias in sources:
        if alias not in left:
            raise UsageError(
                f"--init {alias}: other models fill all of its layers, and nothing of it is "
                f"left; say what to take of each, such as --map {_EXAMPLE}"
            )
    return [*_summary(moves.values()), *notes]


def _layers(model: Model) -> dict[str, tuple[str, ...]]:
    """Return the names of a model's tensors by layer, those of the models in it after its own."""
    if isinstance(model, Concatenated):
        layers = {}
        inner = {f"members.{number}": member for number, member in enumerate(model.members)}
    else:
        layers = layer_tensors(model.net)
        inner = {} if model.backbone is None else {"backbone": model.backbone}
    for place, held in inner.items():
        layers |= {
            f"{place}.{layer}": tuple(f"{place}.{tensor}" for tensor in tensors)
            for layer, tensors in _layers(held).items()
        }
    return layers


def _alias(text: str, sources: Mapping[str, Model]) -> str:
    """Return the alias of the model that a map copies from."""
    alias, colon, _ = text.partition("->")[0].rpartition(":")
    if not colon and len(sources) == 1:
        return next(iter(sources))
    if alias not in sources:
        what = f"no model is called {alias}" if colon else "there are several models"
        raise UsageError(
            f"--map {text}: {what}; begin with one of {', '.join(f'{a}:' for a in sources)}"
        )
    return alias


def _by_name(
    layers: Mapping[str, Sequence[str]], heads: frozenset[str]
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the layers that go to the place of their own name; of heads only those of `heads`."""
    for layer, tensors in layers.items():
        if layer.startswith("heads.") and layer not in heads:
            continue
        if tensors and not layer.startswith("backbone."):
            yield layer, tensors


def _misfit(
    own: Sequence[str],
    there: Sequence[str],
    tensors: Mapping[str, np.ndarray],
    ours: Mapping[str, torch.Tensor],
) -> str:
    """Say how a layer's tensors differ from those of the network's layer; empty if they do not."""
    if set(own) != set(there):
        odd = sorted(set(own) ^ set(there))
        return f"only one of the two has {', '.join(odd)}"
    for name in own:
        got, expected = list(tensors[name].shape), list(ours[name].shape)
        if got != expected:
            return f"{name} is {got}, the network's is {expected}"
    return ""


def _in_place(alias: str, layer: str, tensors: Sequence[str]) -> Iterator[Move]:
    """Yield the tensors of a layer to the places of their own names."""
    for tensor in tensors:
        place = (layer, tensor.removeprefix(layer))
        yield Move(alias, place, place, "")


def _same_heads(model: Model, tasks: Sequence[Task]) -> frozenset[str]:
    """Return the layers' names of the heads whose outputs mean the same to both."""
    own = {task["name"]: task for task in model.tasks}
    return frozenset(
        f"heads.{task['name']}"
        for task in tasks
        if task["name"] in own
        and all(own[task["name"]].get(key) == task[key] for key in ("kind", "vocabulary"))
    )


def _by_map(text: str, alias: str, layers: Mapping[str, Sequence[str]]) -> Iterator[Move]:
    """Yield the tensors that a map means, with their places in the network."""
    source, arrow, target = (part.strip() for part in text.partition("->"))
    source = source.rpartition(":")[2]
    if not arrow or not source or not target:
        raise UsageError(f"--map {text}: expected [ALIAS:]SOURCE->TARGET, such as {_EXAMPLE}")
    wanted, there = len(_WILDCARD.findall(source)), len(_WILDCARD.findall(target))
    if wanted != there:
        raise UsageError(
            f"--map {text}: {source} has {wanted} wildcards, {target} has {there}; expected as "
            f"many on both sides, such as {_EXAMPLE}"
        )
    pattern = _pattern(source)
    found = False
    for layer, tensors in layers.items():
        if layer.startswith("backbone.") > source.startswith("backbone."):
            continue  # `*` means the model itself
        whole = pattern.fullmatch(layer)
        for tensor in tensors:
            rest = tensor.removeprefix(layer)
            if whole:
                found = True
                yield Move(alias, (layer, rest), (_filled(target, whole), rest), text)
            elif one := pattern.fullmatch(tensor):
                found = True
                yield Move(alias, (tensor, ""), (_filled(target, one), ""), text)
    if not found:
        raise UsageError(
            f"--map {text}: {alias} has no layer or tensor {source}; its layers are "
            f"{', '.join(layers)}"
        )


def _pattern(text: str) -> re.Pattern[str]:
    """Return a shell pattern as a regular expression that keeps what each wildcard matched."""
    parts, end = [], 0
    for wildcard in _WILDCARD.finditer(text):
        parts.append(re.escape(text[end : wildcard.start()]))
        token, end = wildcard.group(), wildcard.end()
        if token in "*?":
            parts.append("(.*)" if token == "*" else "(.)")
        else:
            negated = token.startswith("[!")
            inside = token[1 + negated : -1].replace("\\", "\\\\").replace("]", "\\]")
            parts.append(f"([{'^' if negated else ''}{inside}])")
    return re.compile("".join(parts) + re.escape(text[end:]), re.DOTALL)


def _filled(target: str, match: re.Match[str]) -> str:
    """Return a target with what the source's wildcards matched in the place of its own."""
    carried = iter(match.groups())
    return _WILDCARD.sub(lambda _: next(carried), target)


def _summary(moves: Iterable[Move]) -> Iterator[str]:
    """Yield a line for each layer that was copied, in order."""
    counts: dict[str, int] = {}
    for move in moves:
        line = f"{move.alias}: {move.source[0]} -> {move.target[0]}"
        counts[line] = counts.get(line, 0) + 1
    for line, count in counts.items():
        yield f"{line} ({count} tensor{'s' * (count > 1)})"

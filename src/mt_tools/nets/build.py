"""Networks from their names: bodies, what they share, and a head a task."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from mt_tools.errors import UsageError
from mt_tools.nets.body import Body, Head, MultiTask, Share
from mt_tools.nets.registry import architecture
from mt_tools.nets.select import selecting


def build_multitask(
    arch: str,
    parameters: Mapping[str, Any],
    input_shape: tuple[int, ...],
    heads: Mapping[str, Head | int],
    seed: int = 0,
    share: Sequence[Share] = (Share(),),
) -> MultiTask:
    """Make an untrained network: bodies `arch`, what they share, and a head a task.

    `input_shape` is that of one example: [bands, frames], [channels, bands, frames] or [d]; for a
    network of songs of any length that of one part. `heads` gives a head a task; a number stands
    for a linear one of so many outputs. Weights depend on `seed` alone, and torch's own random
    state is left as it was. Beside its own parameters a network of vectors has `select`: the number
    of columns that it reads of its input (`nets.select`). Raises `UsageError` for an unknown
    architecture or parameter, and for a shape or a way of sharing that does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = MultiTask(
            _bodies(arch, parameters, input_shape),
            {task: Head(head) if isinstance(head, int) else head for task, head in heads.items()},
            share,
        )
    for parameter in net.parameters():
        if parameter.dim() == 4:  # kernels, as the images they meet
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


def _bodies(
    arch: str, parameters: Mapping[str, Any], input_shape: tuple[int, ...]
) -> Iterator[Body]:
    """Yield bodies of an architecture, each drawn anew."""
    row = architecture(arch)
    ranks = (1,) if row.input == "vector" else (2, 3)
    if len(input_shape) not in ranks:
        expected = "one vector a row" if row.input == "vector" else "[bands, frames] a row"
        raise UsageError(
            f"{arch} takes {expected}, got the shape {list(input_shape)}; "
            "choose another --net, or other inputs"
        )
    count = 0
    if row.input == "vector" and "select" in parameters:
        count, input_shape = parameters["select"], (parameters["select"],)
        parameters = {key: value for key, value in parameters.items() if key != "select"}
    module, _, name = row.path.partition(":")
    cls: Callable[..., Body] = getattr(importlib.import_module(module), name)
    known = list(inspect.signature(cls).parameters)[1:]
    wrong = [parameter for parameter in parameters if parameter not in known]
    if wrong:
        raise UsageError(
            f"{arch} has no parameter {', '.join(wrong)}; it has {', '.join(known) or 'none'}"
        )
    while True:
        body = cls(input_shape, **parameters)
        yield selecting(body, count) if count else body

"""Networks from their names: a body, and a head a task."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from mt_tools.errors import UsageError
from mt_tools.nets.body import Body, MultiTask
from mt_tools.nets.registry import architecture


def build_multitask(
    arch: str,
    parameters: Mapping[str, Any],
    input_shape: tuple[int, ...],
    heads: Mapping[str, int],
    seed: int = 0,
) -> MultiTask:
    """Make an untrained network: the body `arch` and a linear head a task.

    `input_shape` is that of one example: [bands, frames], [channels, bands, frames] or [d]. `heads`
    gives the number of outputs a task. Weights depend on `seed` alone, and torch's own random state
    Raises `UsageError` for an unknown architecture or parameter and for a shape that does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = MultiTask(_body(arch, parameters, input_shape), heads)
    for parameter in net.parameters():
        if parameter.dim() == 4:  # kernels, as the images they meet
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


def _body(arch: str, parameters: Mapping[str, Any], input_shape: tuple[int, ...]) -> Body:
    row = architecture(arch)
    ranks = (1,) if row.input == "vector" else (2, 3)
    if len(input_shape) not in ranks:
        expected = "one vector a row" if row.input == "vector" else "[bands, frames] a row"
        raise UsageError(
            f"{arch} takes {expected}, got the shape {list(input_shape)}; "
            "choose another --net, or other inputs"
        )
    module, _, name = row.path.partition(":")
    cls: Callable[..., Body] = getattr(importlib.import_module(module), name)
    known = list(inspect.signature(cls).parameters)[1:]
    wrong = [parameter for parameter in parameters if parameter not in known]
    if wrong:
        raise UsageError(
            f"{arch} has no parameter {', '.join(wrong)}; it has {', '.join(known) or 'none'}"
        )
    return cls(input_shape, **parameters)

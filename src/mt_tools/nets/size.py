"""How many parameters networks have, and networks of a given number of them.

Goal: the counts that the studies state, and their control for size: AGF's "wide" network of one
task has as many parameters as the networks of several tasks together (section 4 and Table 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mt_tools.errors import UsageError
from mt_tools.nets.body import Head, Share
from mt_tools.nets.build import build_multitask

# Widths are found to so many decimals.
DECIMALS = 3


def trainable(net: nn.Module) -> int:
    """Return how many parameters a network has that training changes."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def total(net: nn.Module) -> int:
    """Return how many numbers of a network Keras counts: parameters and running statistics."""
    statistics = (
        buffer.numel()
        for name, buffer in net.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    )
    return sum(parameter.numel() for parameter in net.parameters()) + sum(statistics)


def match_parameters(
    arch: str,
    parameters: Mapping[str, Any],
    input_shape: tuple[int, ...],
    heads: Mapping[str, Head | int],
    total: int,
    share: Sequence[Share] = (Share(),),
) -> dict[str, Any]:
    """Return `parameters` with the `width` that brings an architecture nearest to `total`.

    `total` is the number of trainable parameters, heads included, of what the network is to match;
    other arguments are as in `build_multitask`. Raises `UsageError` for an architecture that has
    no parameter `width`, and where even the narrowest network is larger. Source: the AGF study's
    wSTN; for its N = 2 to 5 tasks the widths are 1.42, 1.74, 2.01 and 2.25.
    """

    def size(step: int) -> int:
        width = {"width": step / 10**DECIMALS}
        with torch.device("meta"):  # sizes without numbers
            return trainable(
                build_multitask(arch, {**parameters, **width}, input_shape, heads, share=share)
            )

    low, high = 1, 10**DECIMALS
    if size(low) > total:
        raise UsageError(
            f"{arch} has {size(low):,} parameters at least: got a total of {total:,} to match; "
            "give the number of parameters of the networks it is compared with"
        )
    while size(high) < total:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) < total else (low, middle)
    nearest = min((low, high), key=lambda step: abs(size(step) - total))
    return {**parameters, "width": nearest / 10**DECIMALS}

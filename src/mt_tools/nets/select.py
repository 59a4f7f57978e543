"""The columns of its input vector that a network reads.

Source: the feature selection of the DJ study, Table 5.8; `learn.select` chooses the columns. They
are a buffer, so that model files carry them and the finished model takes whole embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mt_tools.nets.body import Body


class Select(nn.Module):
    """Some columns of vectors: `columns` [k] are their numbers, the first k until they are set.

    Shape: [n, d] -> [n, k].
    """

    columns: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("columns", torch.arange(count))

    def forward(self, x: Tensor) -> Tensor:
        """Return the chosen columns."""
        return x.index_select(1, self.columns)


def selecting(body: Body, count: int) -> Body:
    """Put a first layer `select` of `count` columns before a body that takes so many; in place."""
    layers = nn.Sequential()
    layers.add_module("select", Select(count))
    for name, layer in body.layers.named_children():
        layers.add_module(name, layer)
    body.layers = layers
    return body


def set_selection(net: nn.Module, columns: Sequence[int] | Any) -> None:
    """Set the columns of every `Select` of a network; raises `ValueError` for another number."""
    wanted = torch.as_tensor(columns, dtype=torch.int64)
    for module in net.modules():
        if isinstance(module, Select):
            if wanted.shape != module.columns.shape:
                raise ValueError(
                    f"got {len(wanted)} columns, the network reads {len(module.columns)}"
                )
            module.columns.copy_(wanted)

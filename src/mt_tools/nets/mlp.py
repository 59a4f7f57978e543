"""Bodies on vectors: fully connected layers, or nothing at all.

Source: the transfer networks of the DJ study (hidden layers of 128-64 or 64-32, Table 6.5) and of
the AGF study (1,024).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mt_tools.nets.body import Body


class Identity(Body):
    """The vector itself."""

    def __init__(self, input_shape: tuple[int]) -> None:
        super().__init__()
        (self.width,) = input_shape

    def embed(self, x: Tensor) -> Tensor:
        """Return the vectors [n, width] themselves."""
        return x


class Mlp(Body):
    """Hidden layers of linear, batch norm (if asked for), ReLU, dropout.

    Shape: [n, d] -> [n, last of `hidden`]; without hidden layers, [n, d]. The input is standardised
    by the buffers `input_mean` and `input_std` [d], which are 0 and 1 until they are fitted on
    training rows.
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(
        self,
        input_shape: tuple[int],
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.5,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        (width,) = input_shape
        self.register_buffer("input_mean", torch.zeros(width))
        self.register_buffer("input_std", torch.ones(width))
        layers: list[nn.Module] = []
        for units in hidden:
            layers.append(nn.Linear(width, units))
            if batch_norm:
                layers.append(nn.BatchNorm1d(units))
            layers += [nn.ReLU(), nn.Dropout(dropout)]
            width = units
        self.layers = nn.Sequential(*layers)
        self.width = width

    def embed(self, x: Tensor) -> Tensor:
        """Return the last hidden layer [n, width] of vectors [n, d]."""
        return self.layers((x - self.input_mean) / self.input_std)

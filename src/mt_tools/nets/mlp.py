"""Bodies on vectors: fully connected layers, or nothing at all.

Source: the transfer networks of the DJ study (hidden layers of 128-64 or 64-32, Table 6.5) and of
the AGF study (1,024).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mt_tools.nets.body import Body, Standardise


class Identity(Body):
    """The vector itself."""

    def __init__(self, input_shape: tuple[int]) -> None:
        super().__init__({}, width=input_shape[0])


class Mlp(Body):
    """Hidden layers of linear, batch norm (unless it is declined), ReLU, dropout.

    Shape: [n, d] -> [n, last of `hidden`]; without hidden layers, [n, d]. The input is standardised
    by statistics [d] of the training rows (ours; the studies do not say), which are 0 and 1 until
    they are set. DJ's network of energy alone has neither batch norm nor dropout. Layers: input,
    dense1, dense2, ...
    """

    def __init__(
        self,
        input_shape: tuple[int],
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.5,
        batch_norm: bool = True,
    ) -> None:
        (width,) = input_shape
        layers: dict[str, nn.Module] = {"input": Standardise(width)}
        for number, units in enumerate(hidden, 1):
            parts: list[nn.Module] = [nn.Linear(width, units)]
            if batch_norm:
                parts.append(nn.BatchNorm1d(units))
            layers[f"dense{number}"] = nn.Sequential(*parts, nn.ReLU(), nn.Dropout(dropout))
            width = units
        super().__init__(layers, width)
        self.blocks = tuple(layers)[1:]

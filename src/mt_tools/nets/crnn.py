"""The convolutional recurrent body of the Music Auto-Tagger.

Source: K. Choi, G. Fazekas, M. Sandler, K. Cho, "Convolutional recurrent neural networks for music
classification", ICASSP 2017, in the form of its public weights.

Conventions: features are [n, bands, frames] or [n, channels, bands, frames], in decibels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mt_tools.errors import UsageError
from mt_tools.nets.body import Body, as_images, image_shape, standardised
from mt_tools.nets.cnn import AxisNorm, conv_block, pooled


class ChoiCrnn(Body):
    """Four convolutional blocks that pool 96 frames into one step, then two GRUs of 32 units.

    Shape: [n, (channels,) 96 or more bands, frames] -> [n, 32], the last state. The frames are
    padded on both sides to a multiple of 96: 1,366 frames (29.12 s) to 1,440, 15 steps.
    `standardise` and `epsilon`, what a norm adds to its variances, are explained in the registry.
    """

    POOLS = ((2, 2), (3, 3), (4, 4), (4, 4))
    CHANNELS = (64, 128, 128, 128)
    UNITS = 32

    def __init__(
        self,
        input_shape: tuple[int, ...],
        conv_dropout: float = 0.1,
        dropout: float = 0.3,
        standardise: bool = False,
        epsilon: float = 1e-3,
    ) -> None:
        super().__init__()
        channels, bands, frames = image_shape(input_shape)
        steps = math.ceil(frames / math.prod(columns for _, columns in self.POOLS))
        padded = steps * math.prod(columns for _, columns in self.POOLS)
        rows, _ = pooled(bands, padded, self.POOLS)
        if not rows:
            raise UsageError(
                f"crnn-choi pools 96 bands into one: got {bands} bands; choose features of 96 "
                "bands or more (--preset choi2016), or --net cnn"
            )
        left = (padded - frames) // 2
        self.padding = (left, padded - frames - left)
        self.standardise = standardise
        self.norm = AxisNorm(3, padded, epsilon=epsilon)
        self.blocks = nn.Sequential(
            *(
                conv_block(before, after, pool, conv_dropout, epsilon)
                for before, after, pool in zip(
                    (channels, *self.CHANNELS), self.CHANNELS, self.POOLS, strict=False
                )
            )
        )
        self.gru1 = HardGru(self.CHANNELS[-1] * rows, self.UNITS)
        self.gru2 = HardGru(self.UNITS, self.UNITS)
        self.dropout = nn.Dropout(dropout)
        self.width = self.UNITS

    def embed(self, x: Tensor) -> Tensor:
        """Return the last state of the second GRU [n, 32]."""
        x = as_images(x)
        x = functional.pad(standardised(x) if self.standardise else x, self.padding)
        x = self.blocks(self.norm(x).contiguous(memory_format=torch.channels_last))
        steps = x.permute(0, 3, 1, 2).flatten(2)
        return self.dropout(self.gru2(self.gru1(steps))[:, -1])


class HardGru(nn.Module):
    """A gated recurrent unit as Keras 1 computes it, which `torch.nn.GRU` cannot.

    With h the last state and x the input, [;] stacked:

        [z; r] = clip(0.2 (W x + b + U h) + 0.5, 0, 1)
        c = tanh(W' x + b' + U' (r h))
        h <- z h + (1 - z) c

    The gates are clipped lines where torch has sigmoids, and the reset gate r is applied before the
    recurrent product, as in the GRU's first paper (Cho et al. 2014, arXiv:1406.1078), where torch
    applies it after.

    Shape: [n, steps, inputs] -> [n, steps, units]. Rows of the weights: z, r, c.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.input_weight = nn.Parameter(torch.empty(3 * units, inputs))
        self.recurrent_weight = nn.Parameter(torch.empty(3 * units, units))
        self.bias = nn.Parameter(torch.zeros(3 * units))
        for part in self.input_weight.data.split(units):
            nn.init.xavier_uniform_(part)
        for part in self.recurrent_weight.data.split(units):
            nn.init.orthogonal_(part)

    def forward(self, x: Tensor) -> Tensor:
        """Return the states of all steps."""
        gates, candidates = functional.linear(x, self.input_weight, self.bias).split(
            [2 * self.units, self.units], dim=-1
        )
        of_gates, of_candidate = self.recurrent_weight.split([2 * self.units, self.units])
        state = x.new_zeros(x.shape[0], self.units)
        states = []
        for gate, candidate in zip(gates.unbind(1), candidates.unbind(1), strict=True):
            gate = (0.2 * (gate + functional.linear(state, of_gates)) + 0.5).clamp(0, 1)
            update, reset = gate.chunk(2, dim=-1)
            candidate = torch.tanh(candidate + functional.linear(reset * state, of_candidate))
            state = update * state + (1 - update) * candidate
            states.append(state)
        return torch.stack(states, dim=1)

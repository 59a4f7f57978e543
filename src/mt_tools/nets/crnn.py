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
from mt_tools.nets.body import Body, image_shape
from mt_tools.nets.cnn import AxisNorm, conv_blocks, image_input, pooled


class ChoiCrnn(Body):
    """Four convolutional blocks that pool 96 frames into one step, then two GRUs of 32 units.

    Shape: [n, (channels,) 96 or more bands, frames] -> [n, 32], the last state. The frames are
    padded on both sides to a multiple of 96: 1,366 frames (29.12 s) to 1,440, 15 steps.
    `standardise` and `epsilon`, what a norm adds to its variances, are explained in the registry.
    Layers: input, conv1 to conv4, gru1, gru2.
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
        padding = (left, padded - frames - left)
        norm = AxisNorm(3, padded, epsilon=epsilon)
        blocks = conv_blocks(channels, self.CHANNELS, self.POOLS, conv_dropout, epsilon) | {
            "gru1": nn.Sequential(Steps(), HardGru(self.CHANNELS[-1] * rows, self.UNITS)),
            "gru2": nn.Sequential(HardGru(self.UNITS, self.UNITS), LastStep(), nn.Dropout(dropout)),
        }
        super().__init__({"input": image_input(norm, standardise, padding)} | blocks, self.UNITS)
        self.blocks = tuple(blocks)


class Steps(nn.Module):
    """Images as sequences: [n, channels, bands, frames] -> [n, frames, channels * bands]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the sequences."""
        return x.permute(0, 3, 1, 2).flatten(2)


class LastStep(nn.Module):
    """The last of a sequence: [n, steps, width] -> [n, width]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the last steps."""
        return x[:, -1]


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

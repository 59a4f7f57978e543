"""The networks of the sequence study, for songs of any length: parts of 29.12 s, then the song.

Source: the SEQ study, Algorithms 20, 24 and 25. What it calls bag of frames with a perceptron
(Algorithm 23) is `mlp` with `hidden=[1024]` and `dropout=0` on the bags of 1,024 words that
`mt-factor` counts; a black-box CNN with bag of frames (section 4.3.4) counts words of the
embeddings of `cnn-seq`, one a part.

Conventions: a song is [parts, bands, frames]; its tail, shorter than a part, is dropped. A batch
is [n, parts, bands, frames], where a song that has fewer parts than the longest is filled up with
parts of NaN at the end. No layer reads them: convolutions, their batch norms' statistics and
standardising see present parts alone, and recurrent layers end at the last one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mt_tools.errors import UsageError
from mt_tools.nets.blocks import AtLeast, at_least_bands, conv_layer, dense_layer
from mt_tools.nets.body import Body, Images, Standardise, image_shape
from mt_tools.nets.cnn import AxisNorm
from mt_tools.nets.crnn import Steps

CHANNELS = (32, 128, 128, 192, 256)
# What the last maps are averaged to: 256 x 2 x 2 are the 1,024 values that the study states.
POOLED = 2
INITIALISERS = ("random", "cosine")


class SeqCnn(Body):
    """The five-layer CNN of Algorithm 20, on one part.

    Shape: [n, (channels,) 16 or more bands, frames] -> [n, 1024], for any number of frames; the
    study took 96 x 1,366. A batch norm of each band, then 3x3 convolutions with batch norm and ELU,
    pooled by 2 x 4 after the first four. As printed that gives 256 x 6 x 5 = 7,680 values, not the
    stated 1,024: ours averages the last maps to 2 x 2. Kernels and norms lie as in `cnn-choi`, so
    that `--init cnn-msd` copies them. `initialise` is "random", or "cosine" as `cosine_kernels`
    explains. Layers: input, conv1 to conv5, pool.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        channels: Sequence[int] = CHANNELS,
        initialise: str = "random",
    ) -> None:
        layers = _cnn("cnn-seq", input_shape, channels, initialise)
        super().__init__(layers, channels[-1] * POOLED**2)
        self.blocks = tuple(layers)[1:-1]


class SeqCnnLstm(Body):
    """The CNN of each part, an LSTM over the parts, an LSTM to one, a dense layer: Algorithm 25.

    Shape: [n, parts, (channels,) 16 or more bands, frames] -> [n, hidden], for any number of parts
    and frames. `channels` and `initialise` as in `cnn-seq`; `units` of both LSTMs (T of Table 4.4),
    each followed by `dropout`; `hidden` units of the classifier (H of Table 4.3). Layers: input,
    conv1 to conv5, pool, lstm1, lstm2, dense1.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        channels: Sequence[int] = CHANNELS,
        units: int = 1024,
        hidden: int = 1024,
        dropout: float = 0.3,
        initialise: str = "random",
    ) -> None:
        cnn = _cnn("cnn-lstm-seq", input_shape, channels, initialise)
        layers: dict[str, nn.Module] = {name: Parts(*layer) for name, layer in cnn.items()}
        inputs = channels[-1] * POOLED**2
        layers["lstm1"] = nn.Sequential(Lstm(inputs, units), nn.Dropout(dropout))
        layers["lstm2"] = nn.Sequential(Lstm(units, units, last=True), nn.Dropout(dropout))
        layers["dense1"] = dense_layer(units, hidden, norm=False)
        super().__init__(layers, hidden)
        self.blocks = tuple(name for name in layers if name not in ("input", "pool"))


class SeqMfccLstm(Body):
    """An LSTM over the frames of each part, one over the parts, a dense layer: Algorithm 24.

    Shape: [n, parts, (channels,) coefficients, frames] -> [n, hidden], for any number of parts and
    frames; the study took 90 coefficients of 1,366 frames. `units`, `dropout` and `hidden` as in
    `cnn-lstm-seq`. Coefficients are standardised over the training rows (ours; the study does not
    say). Layers: input, lstm1, lstm2, dense1.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        units: int = 1024,
        hidden: int = 1024,
        dropout: float = 0.3,
    ) -> None:
        channels, coefficients, _ = image_shape(input_shape)
        frames = Lstm(channels * coefficients, units, last=True)
        super().__init__(
            {
                "input": Standardise(coefficients, 1),
                "lstm1": Parts(Images(), Steps(), frames, nn.Dropout(dropout)),
                "lstm2": nn.Sequential(Lstm(units, units, last=True), nn.Dropout(dropout)),
                "dense1": dense_layer(units, hidden, norm=False),
            },
            hidden,
        )
        self.blocks = ("lstm1", "lstm2", "dense1")


class Parts(nn.Sequential):
    """Layers that are applied to each part by itself, and to none of those that fill a song up.

    Shape: [n, parts, ...] -> [n, parts, ...], NaN where the input is.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the layers' output for each part."""
        there = present(x)
        y = super().forward(x[there])
        out = y.new_full((*there.shape, *y.shape[1:]), math.nan)
        out[there] = y
        return out


class Lstm(nn.Module):
    """A long short-term memory: the state at every step, or at the `last` one.

    Shape: [n, steps, inputs] -> [n, steps, units], NaN where the input is, or [n, units]. Section
    2.3.2 of the SEQ study; the matrix that it lets follow is one with the next layer's.
    """

    def __init__(self, inputs: int, units: int, last: bool = False) -> None:
        super().__init__()
        self.last = last
        self.lstm = nn.LSTM(inputs, units, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the states; what fills a sequence up comes after them and changes none."""
        there = present(x)
        x = x.masked_fill(~there.unsqueeze(-1), 0.0)
        states: Tensor
        if len(x):
            states, _ = self.lstm(x)
        else:  # torch refuses a batch without rows
            states = x.new_zeros(*x.shape[:2], self.lstm.hidden_size)
        if not self.last:
            return states.masked_fill(~there.unsqueeze(-1), math.nan)
        ends = (there.sum(dim=1) - 1).clamp(min=0)
        return states[torch.arange(len(states), device=states.device), ends]


def present(x: Tensor) -> Tensor:
    """Return which parts of [n, parts, ...] are there, [n, parts]; the others are all NaN."""
    while x.dim() > 2:
        x = x[..., 0]
    return ~x.isnan()


def cosine_kernels(outputs: int, inputs: int, size: int = 3) -> Tensor:
    """Return the kernels that are cosines, [`outputs` or all there are, inputs, size, size].

    The study proposes to start a CNN from the filters that the MFCC are convolutions with (section
    2.2.4 and "Proposal for improvements"): cosines over the mel bands, in order of frequency. In
    3x3 kernels they are the products of cosines over input maps, bands and frames, the orthonormal
    DCT-II of a block:

        k[u, v, w](c, b, f) = cos(pi u (c + 1/2) / inputs) cos(pi v (b + 1/2) / size)
                              cos(pi w (f + 1/2) / size), each factor scaled to norm 1

    in order of frequency, (u / inputs)^2 + (v / size)^2 + (w / size)^2. As in the MFCC, those of
    high frequency are left out.
    """
    maps, steps = cosines(inputs), cosines(size)
    frequencies = sorted(
        itertools.product(range(inputs), range(size), range(size)),
        key=lambda uvw: (uvw[0] / inputs) ** 2 + (uvw[1] / size) ** 2 + (uvw[2] / size) ** 2,
    )
    u, v, w = torch.tensor(frequencies[:outputs]).unbind(1)
    return torch.einsum("kc,kb,kf->kcbf", maps[u], steps[v], steps[w])


def cosines(size: int) -> Tensor:
    """Return the orthonormal DCT-II of `size` points, a frequency a row: [size, size]."""
    points = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi * points[:, None] * (points + 0.5) / size)
    return (rows / rows.norm(dim=1, keepdim=True)).float()


def _cnn(
    arch: str, input_shape: tuple[int, ...], channels: Sequence[int], initialise: str
) -> dict[str, nn.Sequential]:
    """Return the layers of Algorithm 20, on one part."""
    if initialise not in INITIALISERS:
        raise UsageError(
            f"{arch}: got initialise {initialise!r}, expected {' or '.join(INITIALISERS)}"
        )
    if len(channels) != len(CHANNELS):
        raise UsageError(
            f"{arch}: got {len(channels)} channels, expected {len(CHANNELS)} numbers, such as "
            + ",".join(map(str, CHANNELS))
        )
    inputs, bands, _ = image_shape(input_shape)
    at_least_bands(arch, bands, 16, "seq")
    norm = AxisNorm(2, bands, epsilon=1e-5)
    layers = {"input": nn.Sequential(Images(), norm, AtLeast(256))}
    for number, outputs in enumerate(channels, 1):
        pool = (2, 4) if number < len(channels) else None
        layer = conv_layer(inputs, outputs, activation=nn.ELU, pool=pool)
        if initialise == "cosine":
            # Of one input map there are nine cosines; further kernels stay as they were drawn.
            kernels = cosine_kernels(outputs, inputs)
            cast(nn.Conv2d, layer[0]).weight.data[: len(kernels)] = kernels
        layers[f"conv{number}"] = layer
        inputs = outputs
    layers["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(POOLED), nn.Flatten())
    return layers

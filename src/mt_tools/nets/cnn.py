"""Convolutional bodies: a small one of our own, and the CNN of the Music Auto-Tagger.

Source: K. Choi, G. Fazekas, M. Sandler, "Automatic tagging using deep convolutional neural
networks", ISMIR 2016 (`ChoiCnn`). `Cnn` follows what the five studies have in common: 3x3
convolutions with batch norm, 2x2 pools, global average pooling.

Conventions: features are [n, bands, frames] or [n, channels, bands, frames], in decibels or log.
Images are laid out channels-last inside, which the CPU's convolutions are faster with.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mt_tools.errors import UsageError
from mt_tools.nets.body import Body, Images, image_shape


class Cnn(Body):
    """Blocks of 3x3 convolution, batch norm, ReLU, 2x2 max pool; then the mean over time and bands.

    Shape: [n, (channels,) bands, frames] -> [n, last of `channels`], for any number of frames. Each
    band of the input is brought to mean 0 and deviation 1 by a batch norm. Layers: input, conv1,
    conv2, ..., pool.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        channels: Sequence[int] = (32, 64, 128, 128),
        dropout: float = 0.25,
    ) -> None:
        if not channels:
            raise UsageError("cnn: got no channels, expected one number a block, such as 32,64,128")
        inputs, bands, _ = image_shape(input_shape)
        layers: dict[str, nn.Module] = {"input": image_input(AxisNorm(2, bands, epsilon=1e-5))}
        for number, outputs in enumerate(channels, 1):
            layers[f"conv{number}"] = nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                # A pool that keeps an odd last row, so that even one frame comes through.
                nn.MaxPool2d(2, ceil_mode=True),
            )
            inputs = outputs
        blocks = tuple(layers)[1:]
        layers["pool"] = nn.Sequential(MapMeans(), nn.Dropout(dropout))
        super().__init__(layers, inputs)
        self.blocks = blocks


class ChoiCnn(Body):
    """The Music Auto-Tagger's CNN: five blocks, each pooled, down to 256 values for 29.12 s.

    Shape: [n, (channels,) 96 or more bands, 1,280 or more frames] -> [n, 256] for 96 x 1,366. The
    widths 32-128-128-192-256 are those of its published weights (865,950 parameters). `standardise`
    and `epsilon`, what a norm adds to its variances, are explained in the registry. Layers: input,
    conv1 to conv5, flatten.
    """

    POOLS = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))
    CHANNELS = (32, 128, 128, 192, 256)

    def __init__(
        self,
        input_shape: tuple[int, ...],
        dropout: float = 0.5,
        standardise: bool = False,
        epsilon: float = 1e-3,
    ) -> None:
        channels, bands, frames = image_shape(input_shape)
        rows, columns = pooled(bands, frames, self.POOLS)
        if not rows or not columns:
            raise UsageError(
                f"cnn-choi pools 96 x 1,280 into one: got {bands} bands x {frames} frames; choose "
                "features of 96 bands or more and 1,280 frames or more (--preset choi2016), or "
                "--net cnn"
            )
        blocks = conv_blocks(channels, self.CHANNELS, self.POOLS, dropout, epsilon)
        norm = AxisNorm(3, frames, epsilon=epsilon)
        layers = {"input": image_input(norm, standardise), **blocks}
        super().__init__(layers | {"flatten": nn.Flatten()}, self.CHANNELS[-1] * rows * columns)
        self.blocks = tuple(blocks)


class AxisNorm(nn.Module):
    """Batch norm over one axis, 2 (bands) or 3 (frames), of images [n, channels, bands, frames].

    What comes out is laid out channels-last.
    """

    def __init__(self, axis: int, size: int, epsilon: float = 1e-3) -> None:
        super().__init__()
        self.axis = axis
        self.batch_norm = nn.BatchNorm2d(size, eps=epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images, of the same shape."""
        x = self.batch_norm(x.transpose(1, self.axis)).transpose(1, self.axis)
        return x.contiguous(memory_format=torch.channels_last)


class MapMeans(nn.Module):
    """The mean of each map: images [n, channels, bands, frames] -> [n, channels]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the means."""
        return x.mean(dim=(2, 3))


def image_input(
    norm: AxisNorm, standardise: bool = False, padding: tuple[int, int] = (0, 0)
) -> nn.Sequential:
    """Make the first layer of a network: images, with frames of zeros before and after, normed."""
    pad = nn.ZeroPad2d((*padding, 0, 0))
    return nn.Sequential(
        OrderedDict[str, nn.Module](images=Images(standardise), pad=pad, norm=norm)
    )


def conv_blocks(
    inputs: int,
    channels: Sequence[int],
    pools: Sequence[tuple[int, int]],
    dropout: float,
    epsilon: float,
) -> dict[str, nn.Sequential]:
    """Make the blocks of the Music Auto-Tagger, conv1 to convN, one a number of `channels`."""
    blocks: dict[str, nn.Sequential] = {}
    for number, (outputs, pool) in enumerate(zip(channels, pools, strict=True), 1):
        blocks[f"conv{number}"] = conv_block(inputs, outputs, pool, dropout, epsilon)
        inputs = outputs
    return blocks


def conv_block(
    inputs: int, outputs: int, pool: tuple[int, int], dropout: float, epsilon: float
) -> nn.Sequential:
    """Make a block of the Music Auto-Tagger: 3x3 convolution, batch norm, ELU, max pool, dropout.

    Weights start as Keras starts them: Glorot's uniform distribution, biases of 0.
    """
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.zeros_(cast(Tensor, conv.bias))
    norm = nn.BatchNorm2d(outputs, eps=epsilon)
    return nn.Sequential(conv, norm, nn.ELU(), nn.MaxPool2d(pool), nn.Dropout(dropout))


def pooled(bands: int, frames: int, pools: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return what is left of bands and frames after pools that drop incomplete windows."""
    # Dropping what is over at each pool is the same as dropping it once at the end.
    return (
        bands // math.prod(rows for rows, _ in pools),
        frames // math.prod(columns for _, columns in pools),
    )

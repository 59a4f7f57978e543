"""Convolutional bodies: a small one of our own, and the CNN of the Music Auto-Tagger.

Source: K. Choi, G. Fazekas, M. Sandler, "Automatic tagging using deep convolutional neural
networks", ISMIR 2016 (`ChoiCnn`). `Cnn` follows what the five studies have in common: 3x3
convolutions with batch norm, 2x2 pools, global average pooling.

Conventions: features are [n, bands, frames] or [n, channels, bands, frames], in decibels or log.
Images are laid out channels-last inside, which the CPU's convolutions are faster with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mt_tools.errors import UsageError
from mt_tools.nets.body import Body, as_images, image_shape, standardised


class Cnn(Body):
    """Blocks of 3x3 convolution, batch norm, ReLU, 2x2 max pool; then the mean over time and bands.

    Shape: [n, (channels,) bands, frames] -> [n, last of `channels`], for any number of frames. Each
    band of the input is brought to mean 0 and deviation 1 by a batch norm.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        channels: Sequence[int] = (32, 64, 128, 128),
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        if not channels:
            raise UsageError("cnn: got no channels, expected one number a block, such as 32,64,128")
        inputs, bands, _ = image_shape(input_shape)
        self.norm = AxisNorm(2, bands, momentum=0.1, epsilon=1e-5)
        blocks: list[nn.Module] = []
        for outputs in channels:
            # Pools that keep an odd last row, so that even one frame comes through.
            blocks += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.width = inputs

    def embed(self, x: Tensor) -> Tensor:
        """Return the pooled last maps [n, width]."""
        x = self.norm(as_images(x)).contiguous(memory_format=torch.channels_last)
        return self.dropout(self.blocks(x).mean(dim=(2, 3)))


class ChoiCnn(Body):
    """The Music Auto-Tagger's CNN: five blocks, each pooled, down to 256 values for 29.12 s.

    Shape: [n, (channels,) 96 or more bands, 1,280 or more frames] -> [n, 256] for 96 x 1,366. The
    widths 32-128-128-192-256 are those of its published weights (865,950 parameters). `standardise`
    and `epsilon`, what a norm adds to its variances, are explained in the registry.
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
        super().__init__()
        channels, bands, frames = image_shape(input_shape)
        rows, columns = pooled(bands, frames, self.POOLS)
        if not rows or not columns:
            raise UsageError(
                f"cnn-choi pools 96 x 1,280 into one: got {bands} bands x {frames} frames; choose "
                "features of 96 bands or more and 1,280 frames or more (--preset choi2016), or "
                "--net cnn"
            )
        self.standardise = standardise
        self.norm = AxisNorm(3, frames, epsilon=epsilon)
        self.blocks = nn.Sequential(
            *(
                conv_block(before, after, pool, dropout, epsilon)
                for before, after, pool in zip(
                    (channels, *self.CHANNELS), self.CHANNELS, self.POOLS, strict=False
                )
            )
        )
        self.width = self.CHANNELS[-1] * rows * columns

    def embed(self, x: Tensor) -> Tensor:
        """Return the last maps [n, width], which the output layer of the weights reads."""
        x = as_images(x)
        x = self.norm(standardised(x) if self.standardise else x)
        return self.blocks(x.contiguous(memory_format=torch.channels_last)).flatten(1)


class AxisNorm(nn.Module):
    """Batch norm over one axis, 2 (bands) or 3 (frames), of images [n, channels, bands, frames]."""

    # As Keras: a hundredth of the new batch; torch's default is a tenth.
    MOMENTUM = 0.01

    def __init__(
        self, axis: int, size: int, momentum: float = MOMENTUM, epsilon: float = 1e-3
    ) -> None:
        super().__init__()
        self.axis = axis
        self.batch_norm = nn.BatchNorm2d(size, eps=epsilon, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images, of the same shape."""
        return self.batch_norm(x.transpose(1, self.axis)).transpose(1, self.axis)


def conv_block(
    inputs: int, outputs: int, pool: tuple[int, int], dropout: float, epsilon: float
) -> nn.Sequential:
    """Make a block of the Music Auto-Tagger: 3x3 convolution, batch norm, ELU, max pool, dropout.

    Weights start as Keras starts them: Glorot's uniform distribution, biases of 0.
    """
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.zeros_(cast(Tensor, conv.bias))
    norm = nn.BatchNorm2d(outputs, eps=epsilon, momentum=AxisNorm.MOMENTUM)
    return nn.Sequential(conv, norm, nn.ELU(), nn.MaxPool2d(pool), nn.Dropout(dropout))


def pooled(bands: int, frames: int, pools: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return what is left of bands and frames after pools that drop incomplete windows."""
    # Dropping what is over at each pool is the same as dropping it once at the end.
    return (
        bands // math.prod(rows for rows, _ in pools),
        frames // math.prod(columns for _, columns in pools),
    )

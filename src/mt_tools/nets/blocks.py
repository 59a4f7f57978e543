"""What the convolutional networks of the studies and of the field are put together from.

Goal: each network's file reads like its table. Weights of convolutions and dense layers start from
Glorot's uniform distribution and biases from 0, as they do in Keras and Lasagne, which most of the
studies used; batch norms have torch's constants.

Conventions: images are [n, channels, bands, frames].
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mt_tools.errors import UsageError
from mt_tools.nets.body import Images, Standardise

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def feature_input(bands: int, frames: int = 1) -> nn.Sequential:
    """Make the first layer: bands standardised over the training rows, `frames` frames or more.

    Shape: [n, (channels,) bands, any frames] -> [n, channels, bands, at least `frames`].
    """
    return nn.Sequential(Standardise(bands, 1), Images(), AtLeast(frames))


def conv_layer(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    *,
    stride: int | tuple[int, int] = 1,
    bias: bool = True,
    norm: bool = True,
    activation: type[nn.Module] = nn.ReLU,
    pool: int | tuple[int, int] | None = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Make a layer: convolution that keeps the size, batch norm, activation, pool, dropout.

    What is not asked for is left out. `kernel` is odd, `pool` is (bands, frames).
    """
    layers: list[nn.Module] = [
        glorot(nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias))
    ]
    if norm:
        layers.append(nn.BatchNorm2d(outputs))
    layers.append(activation())
    if pool is not None:
        layers.append(nn.MaxPool2d(pool))
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def dense_layer(
    inputs: int,
    outputs: int,
    *,
    bias: bool = True,
    norm: bool = True,
    activation: type[nn.Module] = nn.ReLU,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Make a fully connected layer: linear, batch norm, activation, dropout, as `conv_layer`."""
    layers: list[nn.Module] = [glorot(nn.Linear(inputs, outputs, bias=bias))]
    if norm:
        layers.append(nn.BatchNorm1d(outputs))
    layers.append(activation())
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def glorot(layer: Layer) -> Layer:
    """Draw a layer's weights from Glorot's uniform distribution and set its biases to 0."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def at_least_bands(arch: str, bands: int, least: int, preset: str) -> None:
    """Raise `UsageError` when an architecture's pools would leave nothing of so few bands."""
    if bands < least:
        raise UsageError(
            f"{arch} pools {least} bands into one: got {bands} bands; choose features of {least} "
            f"bands or more (--preset {preset}), or --net cnn"
        )


class AtLeast(nn.Module):
    """Images of at least `frames` frames: shorter ones are filled up with zeros at the end.

    Standardised inputs have their mean at 0, so that what is filled in says nothing.
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        """Return the images, as they are if they are long enough."""
        missing = self.frames - x.shape[-1]
        return functional.pad(x, (0, missing)) if missing > 0 else x


class MapMaxima(nn.Module):
    """The maximum of each map: images [n, channels, bands, frames] -> [n, channels]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima."""
        return x.amax(dim=(2, 3))


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm beside a shortcut, added up; ReLU after each.

    Where the size or the number of maps changes, the shortcut is a convolution of `shortcut` x
    `shortcut` with batch norm, elsewhere the input itself.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR
    2016, Fig. 2 and section 4.1.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, shortcut: int = 1, bias: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = glorot(nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias))
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = glorot(nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias))
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, shortcut, stride, padding=shortcut // 2, bias=bias)
            self.shortcut.extend([glorot(conv), nn.BatchNorm2d(outputs)])

    def forward(self, x: Tensor) -> Tensor:
        """Return images [n, outputs, bands / stride, frames / stride], sizes rounded up."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))

"""The field's strong baselines for music tagging: Musicnn and the short-chunk CNNs.

Sources: J. Pons, X. Serra, "musicnn: pre-trained convolutional neural networks for music audio
tagging", ISMIR 2019 (late-breaking), after J. Pons et al., "End-to-end learning for music audio
tagging at scale", ISMIR 2018; M. Won, A. Ferraro, D. Bogdanov, X. Serra, "Evaluation of CNN-based
automatic music tagging models", SMC 2020. Sizes are those of the authors' public code. Neither is
of the five studies. Their inputs are normed by a batch norm of one map.

Conventions: features are [n, bands, frames] or [n, channels, bands, frames], in decibels or log.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mt_tools.errors import UsageError
from mt_tools.nets.blocks import (
    AtLeast,
    MapMaxima,
    Residual,
    at_least_bands,
    conv_layer,
    dense_layer,
    glorot,
)
from mt_tools.nets.body import Body, Images, image_shape


class Musicnn(Body):
    """Filters of musical shapes, three densely connected convolutions over time, mean and maximum.

    Shape: [n, (channels,) bands, frames] -> [n, units], for any number of frames; trained by its
    authors on 96 x 187, which is 3 s of 16 kHz (512/256), log10(1 + 10000 x) of mel power. The
    front end has 204 timbral filters each of 40 % and 70 % of the bands x 7 frames, and 51 temporal
    filters each of 128, 64 and 32 frames, all followed by a maximum over the bands. With a head of
    50 it has 787,159 parameters; `filters=512`, `units=500` are the authors' bigger model. Layers:
    input, front, mid1 to mid3, pool, dense1.
    """

    TIMBRAL = 204
    HEIGHTS = (0.4, 0.7)
    TEMPORAL = 51
    LENGTHS = (128, 64, 32)

    def __init__(
        self,
        input_shape: tuple[int, ...],
        filters: int = 64,
        units: int = 200,
        dropout: float = 0.5,
    ) -> None:
        channels, bands, _ = image_shape(input_shape)
        heights = [int(share * bands) for share in self.HEIGHTS]
        if not min(heights):
            raise UsageError(
                f"musicnn has filters of 40 % of the bands: got {bands} bands; choose features of "
                "3 bands or more (96 in its paper)"
            )
        front = [_shape_filters(channels, self.TIMBRAL, height, 7) for height in heights]
        front += [_shape_filters(channels, self.TEMPORAL, 1, length) for length in self.LENGTHS]
        width = self.TIMBRAL * len(heights) + self.TEMPORAL * len(self.LENGTHS)
        layers: dict[str, nn.Module] = {
            "input": nn.Sequential(Images(), nn.BatchNorm2d(channels)),
            "front": SideBySide(front),
            "mid1": DenselyConnected(width, filters, residual=False),
            "mid2": DenselyConnected(filters, filters),
            "mid3": DenselyConnected(filters, filters),
        }
        blocks = tuple(layers)[1:]
        width = 2 * (width + 3 * filters)
        layers["pool"] = MaximaAndMeans()
        layers["dense1"] = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.Dropout(dropout),
            glorot(nn.Linear(width, units)),
            nn.ReLU(),
            nn.BatchNorm1d(units),
            nn.Dropout(dropout),
        )
        super().__init__(layers, units)
        self.blocks = (*blocks, "dense1")


class ShortChunkCnn(Body):
    """Seven 3x3 convolutions, each pooled by 2 x 2, the maximum of each map, a dense layer.

    Shape: [n, (channels,) 128 or more bands, frames] -> [n, 4 * maps], for any number of frames;
    trained by its authors on chunks of 3.69 s: 128 x 231 at 16 kHz (512/256), decibels. With a head
    of 50 it has 3,687,348 parameters. `maps` is the number of the first layer. Layers: input, conv1
    to conv7, pool, dense1.
    """

    # Multiples of the first layer's maps.
    WIDTHS = (1, 1, 2, 2, 2, 2, 4)

    def __init__(self, input_shape: tuple[int, ...], maps: int = 128, dropout: float = 0.5) -> None:
        inputs, bands, _ = image_shape(input_shape)
        least = 2 ** len(self.WIDTHS)
        at_least_bands("short-chunk", bands, least, "rep")
        layers: dict[str, nn.Module] = {
            "input": nn.Sequential(Images(), nn.BatchNorm2d(inputs), AtLeast(least))
        }
        for number, multiple in enumerate(self.WIDTHS, 1):
            layers[f"conv{number}"] = conv_layer(inputs, multiple * maps, pool=2)
            inputs = multiple * maps
        blocks = tuple(layers)[1:]
        layers |= {"pool": MapMaxima(), "dense1": dense_layer(inputs, inputs, dropout=dropout)}
        super().__init__(layers, inputs)
        self.blocks = (*blocks, "dense1")


class ShortChunkResNet(Body):
    """The short-chunk CNN with residual blocks that halve bands and frames in place of its pools.

    Shape: [n, (channels,) bands, frames] -> [n, 4 * maps], for any number of frames. The shortcut
    of each block is a 3x3 convolution. With a head of 50 it has 12,104,244 parameters.
    Layers: input, res1 to res7, pool, dense1.
    """

    def __init__(self, input_shape: tuple[int, ...], maps: int = 128, dropout: float = 0.5) -> None:
        inputs, _, _ = image_shape(input_shape)
        layers: dict[str, nn.Module] = {"input": nn.Sequential(Images(), nn.BatchNorm2d(inputs))}
        for number, multiple in enumerate(ShortChunkCnn.WIDTHS, 1):
            layers[f"res{number}"] = Residual(inputs, multiple * maps, 2, shortcut=3, bias=True)
            inputs = multiple * maps
        blocks = tuple(layers)[1:]
        layers |= {"pool": MapMaxima(), "dense1": dense_layer(inputs, inputs, dropout=dropout)}
        super().__init__(layers, inputs)
        self.blocks = (*blocks, "dense1")


class SideBySide(nn.ModuleList):
    """Layers that take the same input, their maps side by side."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of all layers."""
        return torch.cat([layer(x) for layer in self], dim=1)


class BandMaxima(nn.Module):
    """The maximum over the bands: [n, channels, bands, frames] -> [n, channels, 1, frames]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima."""
        return x.amax(dim=2, keepdim=True)


class DenselyConnected(nn.Module):
    """A convolution over 7 frames of the last `inputs` maps, whose maps are put after all others.

    With `residual` its input is added to its output. Shape: [n, channels, 1, frames] ->
    [n, channels + filters, 1, frames].
    """

    def __init__(self, inputs: int, filters: int, residual: bool = True) -> None:
        super().__init__()
        self.inputs = inputs
        self.residual = residual
        self.conv = glorot(nn.Conv2d(inputs, filters, (1, 7), padding=(0, 3)))
        self.norm = nn.BatchNorm2d(filters)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of the input and the new ones."""
        last = x[:, -self.inputs :]
        y = self.norm(torch.relu(self.conv(last)))
        return torch.cat([x, y + last if self.residual else y], dim=1)


class MaximaAndMeans(nn.Module):
    """The maxima, then the means of the maps: [n, channels, bands, frames] -> [n, 2 * channels]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return maxima and means side by side."""
        return torch.cat([x.amax(dim=(2, 3)), x.mean(dim=(2, 3))], dim=1)


def _shape_filters(channels: int, filters: int, bands: int, frames: int) -> nn.Sequential:
    """Return filters of bands x frames that keep the frames, ReLU, batch norm, maximum over bands.

    An even number of frames is filled up by one more at the end.
    """
    return nn.Sequential(
        nn.ZeroPad2d(((frames - 1) // 2, frames // 2, 0, 0)),
        glorot(nn.Conv2d(channels, filters, (bands, frames))),
        nn.ReLU(),
        nn.BatchNorm2d(filters),
        BandMaxima(),
    )

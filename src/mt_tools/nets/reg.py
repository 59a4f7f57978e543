"""The networks of the regression study: LeNet-5, ResNet-34, a CRNN, and the CNN of its pairs.

Source: the REG study, section 3.4.3. Its figures of them (3.5 to 3.9) are lost, and the text gives
no sizes but the input's, whose 6,625 and 6,225 frames are misprints (30 s are 6,616): each
docstring says what ours is. All take clips of any length, and standardise each band over the
training rows (ours; the study does not say). Heads are linear.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mt_tools.errors import UsageError
from mt_tools.nets.blocks import (
    Residual,
    at_least_bands,
    conv_layer,
    dense_layer,
    feature_input,
    glorot,
)
from mt_tools.nets.body import Body, image_shape
from mt_tools.nets.cnn import MapMeans
from mt_tools.nets.crnn import LastStep, Steps


class LeNet5(Body):
    """LeNet-5: two 5x5 convolutions of 6 and 16 maps, dense layers of 120 and 84.

    Shape: [n, (channels,) 16 or more bands, frames] -> [n, 84]. On the study's 128 x 6,616 the
    first dense layer would have 92 million weights; ours pools the last maps to 5 x 5 whatever the
    input, which is the size that LeNet-5 has on its own 32 x 32 images. With one channel and a head
    of 10 it has LeNet-5's 61,706 parameters. ReLU and max pools in place of its sigmoids and
    subsampling (ours; the study does not say). Layers: input, conv1, conv2, pool, dense1, dense2.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 1998, section II.B.
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        channels, bands, _ = image_shape(input_shape)
        at_least_bands("lenet5", bands, 16, "reg")
        super().__init__(
            {
                "input": feature_input(bands, frames=16),
                "conv1": nn.Sequential(
                    glorot(nn.Conv2d(channels, 6, 5)), nn.ReLU(), nn.MaxPool2d(2)
                ),
                "conv2": nn.Sequential(glorot(nn.Conv2d(6, 16, 5)), nn.ReLU(), nn.MaxPool2d(2)),
                "pool": nn.Sequential(nn.AdaptiveAvgPool2d(5), nn.Flatten()),
                "dense1": dense_layer(16 * 5 * 5, 120, norm=False),
                "dense2": dense_layer(120, 84, norm=False),
            },
            84,
        )
        self.blocks = ("conv1", "conv2", "dense1", "dense2")


class ResNet34(Body):
    """ResNet-34: a 7x7 stem, 3-4-6-3 residual blocks of 64, 128, 256, 512 maps, average pooling.

    Shape: [n, (channels,) bands, frames] -> [n, 512]. With three channels it has the published
    21,284,672 parameters without the classifier; a stem for one channel has 6,272 less. Layers:
    input, conv1, res1 to res4, pool.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR
    2016, Table 1.
    """

    STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        channels, bands, _ = image_shape(input_shape)
        inputs = self.STAGES[0][0]
        layers: dict[str, nn.Module] = {
            "input": feature_input(bands),
            "conv1": nn.Sequential(
                conv_layer(channels, inputs, 7, stride=2, bias=False),
                nn.MaxPool2d(3, stride=2, padding=1),
            ),
        }
        for number, (outputs, depth) in enumerate(self.STAGES, 1):
            stride = 1 if number == 1 else 2
            layers[f"res{number}"] = nn.Sequential(
                Residual(inputs, outputs, stride),
                *(Residual(outputs, outputs) for _ in range(depth - 1)),
            )
            inputs = outputs
        super().__init__(layers | {"pool": MapMeans()}, inputs)
        self.blocks = tuple(layers)[1:]


class RegCrnn(Body):
    """Four convolutions with ELU that pool 96 frames into one step, then two GRUs of 32 units.

    Shape: [n, (channels,) 24 or more bands, frames] -> [n, 32], the last state. Ours is the network
    of `crnn-msd`, which the study refers to, changed where that one is bound to 29 s at 12 kHz:
    standardised bands in place of a norm of each frame, a last pool over all bands that are left
    (of 128 a pool of 4 would drop the highest fifth), and torch's GRU. Layers: input, conv1 to
    conv4, gru1, gru2.

    Source: K. Choi, G. Fazekas, M. Sandler, K. Cho, "Convolutional recurrent neural networks for
    music classification", ICASSP 2017.
    """

    CHANNELS = (64, 128, 128)
    POOLS = ((2, 2), (3, 3), (4, 4))
    LAST = 128
    UNITS = 32

    def __init__(
        self, input_shape: tuple[int, ...], conv_dropout: float = 0.1, dropout: float = 0.3
    ) -> None:
        inputs, bands, _ = image_shape(input_shape)
        at_least_bands("crnn-reg", bands, 24, "reg")
        layers: dict[str, nn.Module] = {"input": feature_input(bands, frames=96)}
        for number, (outputs, pool) in enumerate(zip(self.CHANNELS, self.POOLS, strict=True), 1):
            layers[f"conv{number}"] = conv_layer(
                inputs, outputs, activation=nn.ELU, pool=pool, dropout=conv_dropout
            )
            inputs = outputs
        rows = bands // 24
        layers["conv4"] = conv_layer(
            inputs, self.LAST, activation=nn.ELU, pool=(rows, 4), dropout=conv_dropout
        )
        layers["gru1"] = nn.Sequential(Steps(), Gru(self.LAST, self.UNITS))
        layers["gru2"] = nn.Sequential(Gru(self.UNITS, self.UNITS), LastStep(), nn.Dropout(dropout))
        super().__init__(layers, self.UNITS)
        self.blocks = tuple(layers)[1:]


class RegCnn(Body):
    """The CNN of the pairs: 3x3 convolutions with pools, global average pooling, a dense layer.

    Shape: [n, (channels,) bands, frames] -> [n, units]; every convolution is pooled by 2 x 4, which
    takes 16 bands x 256 frames for four. With `--share block:4` the convolutions are shared and
    each task has a dense layer of its own, as section 3.4.3 describes the network of two tasks;
    sizes, batch norm and dropout are ours. Layers: input, conv1, conv2, ..., pool, dense1.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        channels: Sequence[int] = (32, 64, 128, 128),
        units: int = 128,
        dropout: float = 0.25,
    ) -> None:
        if not channels:
            raise UsageError(
                "cnn-reg: got no channels, expected one number a block, such as 32,64,128"
            )
        inputs, bands, _ = image_shape(input_shape)
        at_least_bands("cnn-reg", bands, 2 ** len(channels), "reg")
        layers: dict[str, nn.Module] = {"input": feature_input(bands, frames=4 ** len(channels))}
        for number, outputs in enumerate(channels, 1):
            layers[f"conv{number}"] = conv_layer(inputs, outputs, pool=(2, 4))
            inputs = outputs
        layers["pool"] = MapMeans()
        layers["dense1"] = dense_layer(inputs, units, norm=False, dropout=dropout)
        super().__init__(layers, units)
        self.blocks = tuple(name for name in layers if name not in ("input", "pool"))


class Gru(nn.Module):
    """torch's GRU as a layer: [n, steps, inputs] -> the states [n, steps, units]."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, units, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the states of all steps."""
        states: Tensor = (
            self.gru(x)[0] if len(x) else x.new_zeros(*x.shape[:2], self.gru.hidden_size)
        )
        return states

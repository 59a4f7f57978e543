"""The base network of the study of one representation from many sources.

Source: the REP study, Table 3 and section 3.2. Its architectures are ways of sharing: SS-R is one
task, MSS-CR models of one task each, side by side (`--model` several times), MS-CR@k shares what is
before the k-th convolution (`--share block:k-1`), MS-SR@FC all (`--share all`). The source "self"
is a task of pairs, whose head is `body.PairHead`.
"""

from __future__ import annotations

from torch import nn

from mt_tools.nets.blocks import at_least_bands, conv_layer, dense_layer, feature_input
from mt_tools.nets.body import Body, image_shape
from mt_tools.nets.cnn import MapMeans


class RepCnn(Body):
    """Six blocks of convolution, batch norm, ReLU, pool; global average pooling; a feature of 256.

    Shape: [n, (channels,) 32 or more bands, frames] -> [n, 256], for any number of frames; the
    study took 2 x 128 x 216, which is 2.5 s of stereo (printed with time first). The sixth block
    holds the table's conv61 and conv62. Each band is standardised over the training rows (section
    3.1.1). Convolutions have biases, on which the text is silent, as in the authors' code. Layers:
    input, conv1 to conv6, pool, feature.
    """

    CHANNELS = (16, 32, 64, 64, 128, 256)
    UNITS = 256

    def __init__(self, input_shape: tuple[int, ...], dropout: float = 0.5) -> None:
        inputs, bands, _ = image_shape(input_shape)
        at_least_bands("cnn-rep", bands, 32, "rep")
        # conv1 halves the frames, and five pools bands and frames.
        layers: dict[str, nn.Module] = {"input": feature_input(bands, frames=64)}
        first, *middle, last = self.CHANNELS
        layers["conv1"] = conv_layer(inputs, first, 5, stride=(1, 2), pool=2)
        inputs = first
        for number, outputs in enumerate(middle, 2):
            layers[f"conv{number}"] = conv_layer(inputs, outputs, pool=2)
            inputs = outputs
        layers["conv6"] = nn.Sequential(conv_layer(inputs, last), conv_layer(last, last, 1))
        layers["pool"] = MapMeans()
        layers["feature"] = dense_layer(last, self.UNITS, dropout=dropout)
        super().__init__(layers, self.UNITS)
        self.blocks = tuple(name for name in layers if name not in ("input", "pool"))

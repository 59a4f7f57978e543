"""The networks of the artist-group-factor study: its CNN, as it is and widened, and its MLP.

Source: the AGF study, Table 2 and sections 3.2.1 to 3.2.3. The first rows of the table are lost in
the text; they are completed from the text around it and the authors' public code. Its single-task
networks share nothing, its multi-task networks the first block (`--share block:1`); a convolution
that a batch norm follows has no bias, as in Lasagne. `size.match_parameters` finds the `width` of
the widened network (section 4) that has as many parameters as several networks together.
"""

from __future__ import annotations

from torch import nn

from mt_tools.errors import UsageError
from mt_tools.nets.blocks import at_least_bands, conv_layer, dense_layer, feature_input
from mt_tools.nets.body import Body, Standardise, image_shape
from mt_tools.nets.cnn import MapMeans


class AgfCnn(Body):
    """Seven convolutions with ELU, global average pooling with batch norm, a dense layer of 256.

    Shape: [n, (channels,) 32 or more bands, frames] -> [n, 256 * width], for any number of frames;
    the study took 128 x 43, which is 1 s. `width` multiplies the maps of every convolution and the
    units of the dense layer, each rounded. Each band is standardised over the training rows, as in
    the authors' code. Layers: input, conv1 to conv7, pool, dense1.
    """

    # Maps, size of the kernel, whether there is a batch norm, pool over (bands, frames), dropout.
    TABLE = (
        (16, 5, False, (2, 1), 0.0),
        (32, 3, True, (2, 2), 0.1),
        (64, 3, False, (2, 2), 0.0),
        (64, 3, True, (2, 2), 0.1),
        (128, 3, False, (2, 2), 0.0),
        (256, 3, False, None, 0.0),
        (256, 1, True, None, 0.0),
    )
    UNITS = 256

    def __init__(
        self, input_shape: tuple[int, ...], width: float = 1.0, dropout: float = 0.5
    ) -> None:
        if not width > 0:
            raise UsageError(f"cnn-agf: got width {width:g}, expected a number above 0, such as 1")
        inputs, bands, _ = image_shape(input_shape)
        at_least_bands("cnn-agf", bands, 32, "agf")
        layers: dict[str, nn.Module] = {"input": feature_input(bands, frames=16)}
        for number, (maps, kernel, norm, pool, rate) in enumerate(self.TABLE, 1):
            outputs = widened(maps, width)
            layers[f"conv{number}"] = conv_layer(
                inputs,
                outputs,
                kernel,
                bias=not norm,
                norm=norm,
                activation=nn.ELU,
                pool=pool,
                dropout=rate,
            )
            inputs = outputs
        units = widened(self.UNITS, width)
        layers["pool"] = nn.Sequential(MapMeans(), nn.BatchNorm1d(inputs))
        layers["dense1"] = dense_layer(
            inputs, units, bias=False, activation=nn.ELU, dropout=dropout
        )
        super().__init__(layers, units)
        self.blocks = tuple(name for name in layers if name not in ("input", "pool"))


class AgfMlp(Body):
    """The transfer network: one hidden layer of ELU, dropout on the input and on the hidden layer.

    Shape: [n, d] -> [n, units], d being the 256 values of each network side by side. The input is
    standardised over the training rows (ours; the study does not say). Layers: input, dense1.
    """

    def __init__(self, input_shape: tuple[int], units: int = 1024, dropout: float = 0.5) -> None:
        (width,) = input_shape
        super().__init__(
            {
                "input": nn.Sequential(Standardise(width), nn.Dropout(dropout)),
                "dense1": dense_layer(width, units, norm=False, activation=nn.ELU, dropout=dropout),
            },
            units,
        )
        self.blocks = ("dense1",)


def widened(maps: int, width: float) -> int:
    """Return a number of maps or units times `width`, rounded, at least 1."""
    return max(1, round(maps * width))

"""The REP study's base network: the maps of Table 3, and the sizes of its ways of sharing."""

import pytest
import torch

from mt_tools.errors import UsageError
from mt_tools.nets.body import Head, Share
from mt_tools.nets.build import build_multitask
from mt_tools.nets.size import trainable

SHAPE = (2, 128, 216)
SOURCES = ("self", "year", "bpm", "taste", "tag", "lyrics", "cdr_tag", "artist")
FACTORS = 50
CONVOLUTIONS = [f"conv{number}" for number in range(1, 7)]


def size(sources: tuple[str, ...], share: Share, pair: bool = False) -> int:
    """Return the parameters of a network; with `pair`, self compares two crops (Fig. 3)."""
    heads = {
        source: Head(2, pair=True) if pair and source == "self" else Head(FACTORS)
        for source in sources
    }
    with torch.device("meta"):
        return trainable(build_multitask("cnn-rep", {}, SHAPE, heads, share=(share,)))


@torch.inference_mode()
def test_maps_of_table_3() -> None:
    """A stride or pool would stand elsewhere than in the study; it prints time before bands."""
    net = build_multitask("cnn-rep", {}, SHAPE, {"tag": FACTORS}).eval()
    x = torch.zeros(1, *SHAPE)
    shapes = []
    for layer in net.named_layers().values():
        shapes.append(tuple(x.shape[1:]) if x.dim() == 2 else (x.shape[1], x.shape[3], x.shape[2]))
        x = layer(x)
    assert shapes[1:] == [  # what goes into each layer, after the input's
        (2, 216, 128),
        (16, 54, 64),
        (32, 27, 32),
        (64, 13, 16),
        (64, 6, 8),
        (128, 3, 4),
        (256, 3, 4),
        (256,),
        (256,),
    ]


@pytest.mark.parametrize(
    ("share", "ratio"), [(Share(5), 6.36), (Share(), 1.16)], ids=["MS-CR@6", "MS-SR@FC"]
)
def test_sizes_beside_a_network_of_one_source(share: Share, ratio: float) -> None:
    """Fig. 11 would be of other networks: "around 6.3 times" and "1.2 times" SS-R's size."""
    assert size(SOURCES, share) / size(("tag",), Share()) == pytest.approx(ratio, abs=0.005)


def test_sizes_with_the_head_of_pairs() -> None:
    """Self's comparison of two crops, 512-128-2, would not be counted, or be another one."""
    pairs = (512 * 128 + 128) + 2 * 128 + (128 * 2 + 2)
    for share in (Share(), Share(5), Share(0)):
        plain = size(SOURCES, share)
        assert size(SOURCES, share, pair=True) - plain == pairs - (256 + 1) * FACTORS


@pytest.mark.parametrize("branch", [1, 2, 4, 6])
def test_a_branch_begins_with_the_convolution_it_is_named_for(branch: int) -> None:
    """MS-CR@k would branch a layer too early or too late (section 3.2)."""
    heads = dict.fromkeys(SOURCES[1:4], FACTORS)
    net = build_multitask("cnn-rep", {}, SHAPE, heads, share=(Share(branch - 1),))
    layers = list(net.named_layers())
    shared = [name.split(".")[1] for name in layers if name.startswith("shared.")]
    assert [name for name in shared if name in CONVOLUTIONS] == CONVOLUTIONS[: branch - 1]
    for source in heads:
        own = [name.split(".")[2] for name in layers if name.startswith(f"branches.{source}.")]
        assert [name for name in own if name in CONVOLUTIONS] == CONVOLUTIONS[branch - 1 :]
        assert own[-1] == "feature"
    assert net.width == 256 * len(heads)


def test_the_fully_shared_network_has_one_feature() -> None:
    """MS-SR@FC's representation would grow with the number of sources (Table 4)."""
    net = build_multitask("cnn-rep", {}, SHAPE, {"tag": FACTORS, "year": FACTORS})
    assert net.width == 256


def test_too_few_bands_are_said() -> None:
    """A mistake on the command line would end in a traceback of torch."""
    with pytest.raises(UsageError, match="got 31 bands.*--preset rep"):
        build_multitask("cnn-rep", {}, (31, 216), {"genre": 2})

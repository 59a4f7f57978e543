"""The field's baselines have the sizes of their authors' code, and what makes them what they are."""

import itertools
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mt_tools.errors import UsageError
from mt_tools.nets.baselines import DenselyConnected, MaximaAndMeans
from mt_tools.nets.build import build_multitask
from mt_tools.nets.size import trainable


def noise(*shape: int) -> Tensor:
    """Return the same noise on each run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("arch", "shape", "published", "tolerance"),
    [("musicnn", (96, 187), 787_000, 500), ("short-chunk-res", (128, 231), 12_100_000, 50_000)],
)
def test_published_sizes(arch: str, shape: tuple, published: int, tolerance: int) -> None:
    """Results would be compared with a baseline that is not the field's."""
    with torch.device("meta"):
        net = build_multitask(arch, {}, shape, {"tags": 50})
    assert trainable(net) == pytest.approx(published, abs=tolerance)


def test_size_of_the_short_chunk_cnn() -> None:
    """Seven convolutions with their norms, a dense layer and a head, counted by hand."""
    with torch.device("meta"):
        net = build_multitask("short-chunk", {}, (128, 231), {"tags": 50})
    maps = (1, 128, 128, 256, 256, 256, 256, 512)
    convolutions = sum((9 * a + 3) * b for a, b in itertools.pairwise(maps))
    assert trainable(net) == 2 + convolutions + 512 * (512 + 3) + 50 * 513


@torch.inference_mode()
def test_musicnn_keeps_time_until_it_pools() -> None:
    """Temporal filters of even length would shift or shorten what stands beside them."""
    net = build_multitask("musicnn", {"filters": 8}, (96, 187), {}).eval()
    layers = net.named_layers()
    x = layers["shared.input"](noise(1, 96, 187))
    front = layers["shared.front"](x)
    assert front.shape == (1, 2 * 204 + 3 * 51, 1, 187)
    conv = cast(nn.Conv2d, layers["shared.front"].get_submodule("2.1"))  # 128 frames of a band
    padded = functional.pad(x, (63, 64))  # as TensorFlow's "same": an odd one out at the end
    maps = functional.conv2d(padded, conv.weight, conv.bias).relu()
    expected = (maps / (1 + 1e-5) ** 0.5).amax(dim=2)  # the norm's statistics are 0 and 1
    torch.testing.assert_close(front[:, 408:459, 0], expected, atol=1e-5, rtol=1e-4)
    dense = layers["shared.mid3"](layers["shared.mid2"](layers["shared.mid1"](front)))
    assert dense.shape == (1, 561 + 3 * 8, 1, 187)
    assert torch.equal(dense[:, :561], front)


@torch.inference_mode()
def test_mid_layers_read_the_last_maps_and_add_them() -> None:
    """The dense connections of Musicnn's mid-end would be plain convolutions in a row."""
    layer = DenselyConnected(4, 4).eval()
    x = noise(2, 10, 1, 20)
    conv, norm = layer.conv, layer.norm
    expected = norm(conv(x[:, 6:]).relu()) + x[:, 6:]
    torch.testing.assert_close(layer(x), torch.cat([x, expected], dim=1))


def test_pooling_gives_maxima_and_means() -> None:
    """A track's embedding would lose what is loud once, or what is there throughout."""
    x = torch.tensor([[[[1.0, 5.0, 3.0]], [[-2.0, -4.0, 0.0]]]])
    assert MaximaAndMeans()(x).tolist() == [[5.0, 0.0, 3.0, -2.0]]


@torch.inference_mode()
@pytest.mark.parametrize("arch", ["short-chunk", "short-chunk-res"])
def test_a_short_chunk_becomes_one_step(arch: str) -> None:
    """The chunk of 3.69 s that gives the network its name would be cut or counted twice."""
    net = build_multitask(arch, {"maps": 2}, (128, 231), {}).eval()
    x = noise(1, 128, 231)
    for name, layer in net.named_layers().items():
        if name == "shared.pool":
            break
        x = layer(x)
    # Pools drop an incomplete window: 231 / 2^7 = 1.8; strides keep it.
    assert x.shape == (1, 8, 1, 1 if arch == "short-chunk" else 2)


@pytest.mark.parametrize(
    ("arch", "shape", "message"),
    [("musicnn", (2, 187), "got 2 bands"), ("short-chunk", (96, 231), "got 96 bands.*--net cnn")],
)
def test_what_does_not_fit_is_said(arch: str, shape: tuple, message: str) -> None:
    """A mistake on the command line would end in a traceback of torch."""
    with pytest.raises(UsageError, match=message):
        build_multitask(arch, {}, shape, {"genre": 2})

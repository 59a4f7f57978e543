"""The AGF study's networks have the maps of Table 2, and widths that match other sizes."""

import numpy as np
import pytest
import torch

from mt_tools.errors import UsageError
from mt_tools.nets.body import Share
from mt_tools.nets.build import build_multitask
from mt_tools.nets.size import match_parameters, trainable

SHAPE = (128, 43)
GENRE, FACTOR = 16, 40


@torch.inference_mode()
def test_maps_of_table_2() -> None:
    """The network would see another part of the second at each layer than the study's."""
    net = build_multitask("cnn-agf", {}, SHAPE, {"genre": GENRE}).eval()
    x = torch.zeros(2, *SHAPE)
    shapes = []
    for name, layer in net.named_layers().items():
        x = layer(x)
        shapes.append((name.removeprefix("shared."), tuple(x.shape[1:])))
    assert shapes == [
        ("input", (1, 128, 43)),
        ("conv1", (16, 64, 43)),  # lost in the text; what its next row takes
        ("conv2", (32, 32, 21)),
        ("conv3", (64, 16, 10)),
        ("conv4", (64, 8, 5)),
        ("conv5", (128, 4, 2)),
        ("conv6", (256, 4, 2)),
        ("conv7", (256, 4, 2)),
        ("pool", (256,)),
        ("dense1", (256,)),
        ("heads.genre", (16,)),
    ]


def size_by_hand(width: float, outputs: int) -> int:
    """Return the size of Table 2's network: weights, biases or norms, row by row."""
    maps = [round(width * n) for n in (1 / width, 16, 32, 64, 64, 128, 256, 256)]
    kernels = [25, 9, 9, 9, 9, 9, 1]
    weights = sum(a * b * k for a, b, k in zip(maps, maps[1:], kernels, strict=False))
    norms = 2 * (maps[2] + maps[4] + maps[7])  # rows 2, 4 and 7; the others have biases
    biases = maps[1] + maps[3] + maps[5] + maps[6]
    dense = round(width * 256)
    return weights + norms + biases + 2 * maps[7] + dense * (maps[7] + 2) + outputs * (dense + 1)


@pytest.mark.parametrize("width", [1.0, 1.42, 2.25])
def test_size_of_table_2_at_any_width(width: float) -> None:
    """A widened network would not be the study's: some layers wider, others as they were."""
    net = build_multitask("cnn-agf", {"width": width}, SHAPE, {"genre": GENRE})
    assert trainable(net) == size_by_hand(width, GENRE)


def test_the_multi_task_network_shares_the_first_block() -> None:
    """MTN would be another network than section 3.2.2's, which saves 5 x 5 x 16 + 16 a task."""
    heads = {"genre": GENRE, "m": FACTOR, "d": FACTOR}
    apart = build_multitask("cnn-agf", {}, SHAPE, heads, share=(Share(0),))
    shared = build_multitask("cnn-agf", {}, SHAPE, heads, share=(Share(1),))
    assert trainable(apart) == size_by_hand(1, GENRE) + 2 * size_by_hand(1, FACTOR)
    assert trainable(apart) - trainable(shared) == 2 * (25 * 16 + 16)


@pytest.mark.parametrize(("tasks", "width"), [(2, 1.42), (3, 1.74), (4, 2.01), (5, 2.25)])
def test_widths_that_match_several_networks(tasks: int, width: float) -> None:
    """The wide control of Table 5 would have more or fewer parameters than what it controls."""
    wanted = size_by_hand(1, GENRE) + (tasks - 1) * size_by_hand(1, FACTOR)
    matched = match_parameters("cnn-agf", {"dropout": 0.4}, SHAPE, {"genre": GENRE}, wanted)
    assert matched["width"] == pytest.approx(width, abs=0.005)
    assert matched["dropout"] == 0.4
    got = trainable(build_multitask("cnn-agf", matched, SHAPE, {"genre": GENRE}))
    assert got == pytest.approx(wanted, rel=2e-3)


@torch.inference_mode()
def test_the_transfer_network_is_one_layer_of_elu() -> None:
    """The AGF study's second phase would train another network than section 3.2.3's."""
    net = build_multitask("mlp-agf", {}, (512,), {"genre": GENRE}).eval()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 512)).astype(np.float32))
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    hidden = x.numpy() @ state["shared.dense1.0.weight"].T + state["shared.dense1.0.bias"]
    hidden = np.where(hidden > 0, hidden, np.expm1(np.minimum(hidden, 0)))
    assert hidden.shape == (3, 1024)
    np.testing.assert_allclose(net.embed(x).numpy(), hidden, atol=1e-5)
    net.train()
    # Half of 512 x 100 inputs: a deviation of 0.002.
    kept = net.named_layers()["shared.input"](torch.ones(100, 512)) != 0
    assert kept.float().mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("parameters", "shape", "message"),
    [({}, (31, 43), "got 31 bands.*--preset agf"), ({"width": 0}, SHAPE, "got width 0")],
)
def test_what_does_not_fit_is_said(parameters: dict, shape: tuple, message: str) -> None:
    """A mistake on the command line would end in a traceback of torch."""
    with pytest.raises(UsageError, match=message):
        build_multitask("cnn-agf", parameters, shape, {"genre": 2})

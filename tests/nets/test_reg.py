"""The REG study's networks: published sizes, and clips of any length."""

import numpy as np
import pytest
import torch
from cases import CASES, Case

from mt_tools.errors import UsageError
from mt_tools.nets.body import Share
from mt_tools.nets.build import build_multitask
from mt_tools.nets.registry import ARCHITECTURES
from mt_tools.nets.size import trainable

ANY_FRAMES = [case for case in CASES if ARCHITECTURES[case.arch].any_frames]


def test_size_of_lenet_5() -> None:
    """LeNet-5 would be another network: with a head of 10 it is known for 61,706 parameters."""
    net = build_multitask("lenet5", {}, (128, 700), {"digit": 10})
    assert trainable(net) == 61_706


@torch.inference_mode()
def test_lenet_5_has_its_own_maps_on_its_own_images() -> None:
    """The pool to 5 x 5 would change LeNet-5 where the original needs none."""
    net = build_multitask("lenet5", {}, (32, 32), {}).eval()
    x = torch.rand(1, 32, 32)
    shapes = {}
    for name, layer in net.named_layers().items():
        x = layer(x)
        shapes[name.removeprefix("shared.")] = tuple(x.shape[1:])
    assert shapes["conv1"] == (6, 14, 14)
    assert shapes["conv2"] == (16, 5, 5)
    assert shapes["pool"] == (400,)


def test_size_of_resnet_34() -> None:
    """ResNet-34 would be another network: 21,284,672 parameters without its classifier."""
    with torch.device("meta"):
        images = build_multitask("resnet34", {}, (3, 224, 224), {})
        features = build_multitask("resnet34", {}, (128, 6616), {})
    assert trainable(images) == 21_284_672
    assert trainable(images) - trainable(features) == 2 * 7 * 7 * 64


@torch.inference_mode()
def test_resnet_34_computes_what_another_implementation_does() -> None:
    """Strides, shortcuts or ReLUs would stand elsewhere, at the same number of parameters."""
    transformers = pytest.importorskip("transformers", reason="the hf extra is not installed")
    config = transformers.ResNetConfig(depths=[3, 4, 6, 3], layer_type="basic")
    config.hidden_sizes = [64, 128, 256, 512]
    other = transformers.ResNetModel(config).eval()
    net = build_multitask("resnet34", {}, (3, 65, 50), {}).eval()
    generator = torch.Generator().manual_seed(1)
    for name, buffer in net.named_buffers():  # statistics that matter
        if "running" in name:
            mean = 0.0 if name.endswith("mean") else 1.0
            buffer.copy_(mean + 0.4 * (torch.rand(buffer.shape, generator=generator) - 0.5))
    # The other one has its shortcuts first in a block; ours has them last.
    ours = {n: v for n, v in net.state_dict().items() if ".input." not in n}
    names = sorted(ours, key=lambda name: _place(list(ours), name))
    theirs = other.state_dict()
    assert len(theirs) == len(names)
    for name, target in zip(names, theirs.values(), strict=True):
        target.copy_(ours[name])
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 65, 50)).astype(np.float32))
    expected = other(x).pooler_output.flatten(1)
    assert expected.std() > 0.1
    torch.testing.assert_close(net.embed(x), expected, atol=1e-4, rtol=1e-4)


def _place(names: list[str], name: str) -> tuple[int, bool, int]:
    """Return where a tensor stands, if a block's shortcut came first in it."""
    block, found, _ = name.partition(".shortcut.")
    block = block if found else ".".join(name.split(".")[:3])
    first = min(names.index(other) for other in names if other.startswith(block + "."))
    return first, not found, names.index(name)


def test_size_of_the_crnn() -> None:
    """The CRNN would not be that of crnn-msd, which has 396,786 parameters with 50 outputs.

    Of those, 2 x 1,440 are its norm of frames and 33 x 50 its head; torch's GRUs have a second
    bias for each of 3 x 32 rows.
    """
    net = build_multitask("crnn-reg", {}, (96, 1366), {"valence": 1})
    assert trainable(net) == 396_786 - 2 * 1440 - 33 * 50 + 2 * 3 * 32 + 33


@torch.inference_mode()
def test_the_crnn_hears_the_highest_bands() -> None:
    """Of the study's 128 bands the highest would be dropped by pools that are made for 96."""
    net = build_multitask("crnn-reg", {}, (128, 192), {}).eval()
    x = torch.zeros(1, 128, 192)
    high = x.clone()
    high[:, 112:] = 3.0
    assert (net.embed(high) - net.embed(x)).abs().max() > 1e-3


def test_pairs_share_the_convolutions_and_have_a_dense_layer_each() -> None:
    """The study's network of two tasks could not be asked for."""
    heads = {"danceability": 1, "valence": 1}
    net = build_multitask("cnn-reg", {}, (128, 6616), heads, share=(Share(4),))
    layers = list(net.named_layers())
    assert layers == [
        *(f"shared.{name}" for name in ("input", "conv1", "conv2", "conv3", "conv4", "pool")),
        *(f"branches.{task}.dense1" for task in heads),
        *(f"heads.{task}" for task in heads),
    ]


@pytest.mark.parametrize("case", ANY_FRAMES, ids=str)
@torch.inference_mode()
def test_networks_of_any_length_take_any_length(case: Case) -> None:
    """A model could not be applied to a clip that is shorter or longer than it was trained on."""
    net = build_multitask(case.arch, case.parameters, case.shape, {"genre": 2}).eval()
    parts = (2,) if ARCHITECTURES[case.arch].sequence else ()
    generator = torch.Generator().manual_seed(0)
    for frames in (1, 17, 301):
        x = torch.randn(1, *parts, *case.shape[:-1], frames, generator=generator)
        assert net(x)["genre"].shape == (1, 2)
        assert net.embed(x).isfinite().all()


@pytest.mark.parametrize(
    ("arch", "parameters", "shape", "message"),
    [
        ("lenet5", {}, (15, 700), "got 15 bands.*--preset reg"),
        ("crnn-reg", {}, (23, 700), "got 23 bands.*--preset reg"),
        ("cnn-reg", {}, (15, 700), "got 15 bands.*--preset reg"),
        ("cnn-reg", {"channels": []}, (128, 700), "got no channels"),
    ],
)
def test_what_does_not_fit_is_said(arch: str, parameters: dict, shape: tuple, message: str) -> None:
    """A mistake on the command line would end in a traceback of torch."""
    with pytest.raises(UsageError, match=message):
        build_multitask(arch, parameters, shape, {"genre": 2})

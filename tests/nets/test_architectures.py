"""Every architecture of the registry keeps the contract of a body; sizes are the published ones."""

import numpy as np
import pytest
import torch
from cases import CASES, Case

from mt_tools.errors import UsageError
from mt_tools.nets.body import Standardise
from mt_tools.nets.build import build_multitask
from mt_tools.nets.crnn import HardGru
from mt_tools.nets.registry import ARCHITECTURES

HEADS = {"genre": 5, "keys": 3, "a.b/c %2E": 1, "": 2}

each_case = pytest.mark.parametrize("case", CASES, ids=str)


def inputs(case: Case, n: int) -> torch.Tensor:
    """Return inputs with the spread of decibels; of two parts each for songs of any length."""
    parts = (2,) if ARCHITECTURES[case.arch].sequence else ()
    values = np.random.default_rng(0).normal(0, 20, (n, *parts, *case.shape))
    return torch.from_numpy(values.astype(np.float32))


def test_every_architecture_has_a_case() -> None:
    """A new architecture would enter the registry without the contract being held to it."""
    assert {case.arch for case in CASES} == set(ARCHITECTURES)


@each_case
@torch.inference_mode()
def test_shapes_and_batches(case: Case) -> None:
    """A track's embedding would depend on its company, or a stage get the wrong shape."""
    net = build_multitask(case.arch, case.parameters, case.shape, HEADS).eval()
    assert net.width == case.width
    x = inputs(case, 3)
    together = net.embed(x)
    assert together.shape == (3, case.width)
    alone = torch.cat([net.embed(row[None]) for row in x])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)
    logits = net(x)
    assert {task: value.shape for task, value in logits.items()} == {
        task: (3, outputs) for task, outputs in HEADS.items()
    }
    assert list(logits) == list(HEADS)
    assert net(x[:0])["genre"].shape == (0, 5)
    assert torch.isfinite(together).all()


@each_case
def test_every_parameter_learns(case: Case) -> None:
    """Part of a network would stay as it was drawn, and nobody would see it."""
    net = build_multitask(case.arch, case.parameters, case.shape, HEADS).eval()
    sum(logits.square().sum() for logits in net(inputs(case, 2)).values()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@each_case
def test_weights_depend_on_the_seed_alone(case: Case) -> None:
    """Two equal trainings would differ, or building a network would change another's draws."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build_multitask(case.arch, case.parameters, case.shape, HEADS, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(10)
    second = build_multitask(case.arch, case.parameters, case.shape, HEADS, seed=1).state_dict()
    other = build_multitask(case.arch, case.parameters, case.shape, HEADS, seed=2).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(
    ("arch", "trainable", "with_statistics"),
    [("crnn-choi", 396_786, 400_562), ("cnn-choi", 865_950, 870_154)],
)
def test_sizes_of_the_music_auto_tagger(arch: str, trainable: int, with_statistics: int) -> None:
    """The published weights would not fit, or a report state another size than the paper's."""
    net = build_multitask(arch, {}, (96, 1366), {"tags": 50})
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == trainable
    statistics = [b for b in net.buffers() if b.is_floating_point()]
    assert count + sum(buffer.numel() for buffer in statistics) == with_statistics


def test_size_of_the_dj_studys_energy_network() -> None:
    """Table 6.5 of the DJ study could not be reproduced: 32,897 parameters for 480-64-32-1."""
    net = build_multitask("mlp", {"hidden": [64, 32], "batch_norm": False}, (480,), {"energy": 1})
    assert sum(parameter.numel() for parameter in net.parameters()) == 32_897


@torch.inference_mode()
def test_the_small_network_takes_any_number_of_frames() -> None:
    """A model trained on 10 s could not tag a track of 3 minutes, or of one frame."""
    net = build_multitask("cnn", {}, (40, 100), {"genre": 2}).eval()
    assert [
        net(inputs(Case("cnn", (40, frames), 128), 2))["genre"].shape for frames in (1, 17, 900)
    ] == [(2, 2)] * 3


@torch.inference_mode()
def test_a_standardising_network_ignores_gain_and_meets_silence() -> None:
    """A quiet copy of a track would get other tags, and silence not-a-number."""
    net = build_multitask("crnn-choi", {"standardise": True}, (96, 96), {}).eval()
    x = inputs(Case("crnn-choi", (96, 96), 32), 2)
    torch.testing.assert_close(net.embed(x - 12), net.embed(x), atol=1e-4, rtol=0)
    assert torch.isfinite(net.embed(torch.full((1, 96, 96), -80.0))).all()


@torch.inference_mode()
def test_the_mlp_standardises_by_its_buffers() -> None:
    """A model file would carry a standardiser that has no effect."""
    net = build_multitask("mlp", {}, (3,), {"y": 1}).eval()
    x = inputs(Case("mlp", (3,), 64), 4)
    plain = net(x)["y"]
    (standardise,) = [part for part in net.modules() if isinstance(part, Standardise)]
    standardise.mean += torch.tensor([1.0, 2.0, 3.0])
    standardise.std *= 4
    torch.testing.assert_close(net(x * 4 + torch.tensor([1.0, 2.0, 3.0]))["y"], plain)


@torch.inference_mode()
def test_the_gru_follows_the_equations_of_keras_1() -> None:
    """The published scores would be missed: torch's own GRU has other gates."""
    rng = np.random.default_rng(3)
    units, features, steps = 4, 6, 9
    w, u = rng.normal(0, 1.5, (3, units, features)), rng.normal(0, 1.5, (3, units, units))
    b, x = rng.normal(0, 1, (3, units)), rng.normal(0, 1, (2, steps, features))
    gru = HardGru(features, units)
    for parameter, value in ((gru.input_weight, w), (gru.recurrent_weight, u), (gru.bias, b)):
        parameter.copy_(torch.from_numpy(value.reshape(parameter.shape)))
    got = gru(torch.from_numpy(x.astype(np.float32))).numpy()
    for example in range(2):
        h = np.zeros(units)
        for step in range(steps):
            now = x[example, step]
            z = np.clip(0.2 * (w[0] @ now + b[0] + u[0] @ h) + 0.5, 0, 1)
            r = np.clip(0.2 * (w[1] @ now + b[1] + u[1] @ h) + 0.5, 0, 1)
            candidate = np.tanh(w[2] @ now + b[2] + u[2] @ (r * h))
            h = z * h + (1 - z) * candidate
            np.testing.assert_allclose(got[example, step], h, atol=1e-5)


@pytest.mark.parametrize(
    ("arch", "parameters", "shape", "message"),
    [
        ("crn-choi", {}, (96, 1366), "did you mean crnn-choi"),
        ("mlp", {"hiden": [3]}, (20,), "no parameter hiden; it has hidden, dropout, batch_norm"),
        ("mlp", {}, (96, 1366), r"takes one vector a row, got the shape \[96, 1366\]"),
        ("cnn", {}, (20,), r"takes \[bands, frames\] a row, got the shape \[20\]"),
        ("cnn", {"channels": []}, (40, 50), "no channels"),
        ("crnn-choi", {}, (48, 1366), "got 48 bands.*--net cnn"),
        ("cnn-choi", {}, (96, 1000), "got 96 bands x 1000 frames.*--net cnn"),
    ],
)
def test_what_does_not_fit_is_said(arch: str, parameters: dict, shape: tuple, message: str) -> None:
    """A mistake on the command line would end in a traceback of torch."""
    with pytest.raises(UsageError, match=message):
        build_multitask(arch, parameters, shape, {"genre": 2})

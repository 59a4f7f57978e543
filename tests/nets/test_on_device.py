"""What torch can tell of a GPU without one: tensors that only pretend lie where they are put.

An operation on two devices is refused as CUDA would refuse it, so a constant that a network leaves
on the CPU shows. Nothing is computed, and there is no gradient, which needs a real device.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from cases import CASES, Case
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mt_tools.features.presets import preset
from mt_tools.learn.augment import Augment, masks_of
from mt_tools.nets.build import build_multitask
from mt_tools.nets.frontend import Frontend
from mt_tools.nets.registry import ARCHITECTURES
from mt_tools.tasks import losses
from mt_tools.tasks.losses import LOSSES, masked_loss

GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make all tensors of a test pretend; cuDNN, which asks the driver, stays out."""
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    losses._kept.cache_clear()
    with FakeTensorMode():
        yield
    losses._kept.cache_clear()  # other tests are to get real ones


def moved(net: nn.Module) -> nn.Module:
    """Move parameters and buffers, and nothing else, as `Module.to` does with real tensors."""
    for module in net.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.detach().to(GPU)))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(GPU))
    return net


def test_a_constant_on_the_cpu_shows() -> None:
    """The tests below could not fail."""

    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.constant = nn.Parameter(torch.ones(3)), torch.ones(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight + self.constant

    with pytest.raises(RuntimeError, match="two different devices|not on the expected device"):
        moved(Forgetful())(torch.randn(2, 3, device=GPU))


# Shapes that depend on values (counts of words, parts that are there), and layers of cuDNN alone.
BEYOND = {"bof", "bow", "cnn-lstm-seq", "mfcc-lstm-seq", "crnn-reg"}


@pytest.mark.parametrize("case", [c for c in CASES if c.arch not in BEYOND], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_a_network_stays_on_the_device_of_its_input(case: Case, training: bool) -> None:
    """Training on a GPU would end in torch's traceback, at the first user who has one."""
    assert not ARCHITECTURES[case.arch].sequence
    net = moved(build_multitask(case.arch, case.parameters, case.shape, {"genre": 5, "key": 3}))
    net.train(training)
    x = torch.randn(3, *case.shape, device=GPU)
    assert {value.device for value in net(x).values()} == {GPU}
    assert net.embed(x).device == GPU  # type: ignore[operator]


TARGETS = {
    "multiclass": ((4,), torch.int64),
    "multilabel": ((4, 3), torch.float32),
    "regression": ((4,), torch.float32),
    "ordinal": ((4,), torch.int64),
    "distribution": ((4, 3), torch.float32),
    "same-track": ((4,), torch.int64),
}
"""Shapes and types of the targets of three classes, tags or components, by kind of task."""


@pytest.mark.parametrize("weights", [None, [0.125, 0.375, 2.5]], ids=["plain", "weighted"])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_loss_stays_on_the_device_of_its_logits(kind: str, weights: list[float] | None) -> None:
    """The first batch of a training on a GPU would end it."""
    shape, dtype = TARGETS[kind]
    task = {"name": kind, "kind": kind, "weight": 1.0, "class_weights": weights}
    logits = torch.randn(4, 1 if kind == "regression" else 3, device=GPU)
    targets = torch.zeros(shape, dtype=dtype, device=GPU)
    loss = masked_loss(task, logits, targets, torch.ones(4, dtype=torch.bool, device=GPU))
    assert loss.device == GPU
    assert set(LOSSES) == set(TARGETS)


@pytest.mark.parametrize("name", ["choi2016", "dj", "mfcc-rep", "rep"])
def test_features_stay_on_the_device_of_the_sound(name: str) -> None:
    """Training from audio on a GPU would end at its first batch."""
    settings = dataclasses.replace(preset(name), summary="none")
    features = moved(Frontend(settings))(torch.randn(2, 1, 3 * settings.sample_rate, device=GPU))
    assert features.device == GPU
    covered = Augment(always=masks_of("4,5"))(features, np.arange(2, dtype=np.uint64), epoch=1)
    assert (covered.device, covered.shape) == (GPU, features.shape)

"""Statistics of batch norms over inputs of one's own, for every network that has such norms."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from cases import CASES, Case

from mt_tools.nets.body import MultiTask, Share
from mt_tools.nets.build import build_multitask
from mt_tools.nets.registry import ARCHITECTURES
from mt_tools.nets.statistics import Moments, Norm, fix_statistics

# Norms over maps, over frames and of vectors; beside one another; and over the parts of songs.
NETWORKS = ("mlp", "cnn", "crnn-choi", "short-chunk-res", "cnn-lstm-seq", "mfcc-lstm-seq")
NORMED = [case for case in CASES if case.arch in NETWORKS]


def examples(case: Case, n: int) -> torch.Tensor:
    """Return inputs whose mean is not 0, and which differ in level."""
    parts = (2,) if ARCHITECTURES[case.arch].sequence else ()
    rng = np.random.default_rng(0)
    levels = rng.normal(5, 3, (n, *[1] * len((*parts, *case.shape))))
    return torch.from_numpy(rng.normal(levels, 4, (n, *parts, *case.shape)).astype(np.float32))


@pytest.mark.parametrize("case", NORMED, ids=str)
def test_every_norm_has_the_statistics_of_what_it_takes(case: Case) -> None:
    """`--calibrate` would leave out norms, or set one before those that come first."""
    x = examples(case, 3)
    net = build_multitask(case.arch, case.parameters, case.shape, {})
    norms = fix_statistics(net, lambda: x.split(2))
    seen: list[Norm] = []

    def compare(norm: Norm, inputs: tuple[torch.Tensor]) -> None:
        seen.append(norm)
        axes = [axis for axis in range(inputs[0].dim()) if axis != 1]
        values = inputs[0].double()
        scale = float(values.abs().max())
        torch.testing.assert_close(
            norm.running_mean.double(), values.mean(axes), atol=1e-5 * scale, rtol=1e-4
        )
        torch.testing.assert_close(
            norm.running_var.double(),
            values.var(axes, correction=0),
            atol=1e-5 * scale * scale,
            rtol=1e-3,
        )

    for module in net.modules():
        if isinstance(module, Norm):
            module.register_forward_pre_hook(compare)
    with torch.inference_mode():
        net.eval().embed(x)
    assert len(seen) == norms == sum(isinstance(module, Norm) for module in net.modules())


def test_branches_have_their_own_statistics() -> None:
    """The second branch would keep the statistics it was drawn with."""
    case = Case("cnn", (6, 8), 4, {"channels": [3, 4]})
    net = build_multitask(case.arch, case.parameters, case.shape, {"a": 1, "b": 1}, 0, (Share(1),))
    assert fix_statistics(net, lambda: [examples(case, 4)]) == 4
    moved = [n for n, b in net.named_buffers() if n.endswith("running_mean") and b.any()]
    assert len(moved) == 4


def test_nothing_to_fix() -> None:
    """No inputs, or no norms, would end in a traceback or in statistics that are not numbers."""

    def none() -> Iterator[torch.Tensor]:
        yield from ()

    net: MultiTask = build_multitask("cnn", {}, (6, 8), {})
    assert fix_statistics(net, none) == 0
    assert all(torch.isfinite(buffer).all() for buffer in net.buffers())
    plain = build_multitask("mlp", {"batch_norm": False}, (5,), {})
    assert fix_statistics(plain, lambda: [torch.ones(2, 5)]) == 0


def test_moments_are_exact_however_inputs_are_cut() -> None:
    """Statistics would depend on the size of batches, or be lost where means are large."""
    rng = np.random.default_rng(1)
    values = rng.normal([1000, -3, 0], [0.1, 2, 5], (500, 7, 3)).transpose(0, 2, 1)
    x = torch.from_numpy(values.astype(np.float32))
    exact = x.double().numpy()
    for size in (1, 13, 500):
        moments = Moments(3)
        for part in x.split(size):
            moments.add(part)
        assert moments.count == 500 * 7
        np.testing.assert_allclose(moments.mean, exact.mean(axis=(0, 2)), rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(moments.variance, exact.var(axis=(0, 2)), rtol=2e-4)

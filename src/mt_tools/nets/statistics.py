"""The statistics of batch norms, fixed over inputs of one's own.

Goal: a network that was trained without running statistics, or on other music, gets those of a
population, and the embedding of a track no longer depends on its company (S. Ioffe, C. Szegedy,
"Batch normalization", ICML 2015, Algorithm 2).

Conventions: the statistics of a map are the mean and the variance (divided by the number, not by
one less) of all its values in all inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from mt_tools.nets.body import MultiTask

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def fix_statistics(net: MultiTask, batches: Callable[[], Iterable[Tensor]]) -> int:
    """Set every batch norm on the way to the embedding; return how many there are.

    `batches` gives the inputs [n, ...] anew each time it is called: once for each norm, in the
    order in which the network comes to them, so that every norm sees inputs that are normed by the
    new statistics. Nothing happens without inputs.
    """
    net.eval()
    norms: list[Norm] = []
    for x in batches():
        _watch(net, x[:1], lambda norm, _: norms.append(norm))
        break
    for norm in norms:
        moments = Moments(norm.num_features)
        for x in batches():
            _watch(net, x, partial(_take, norm, moments))
        device = norm.weight.device
        norm.running_mean = moments.mean.float().to(device)
        norm.running_var = moments.variance.float().to(device)
    return len(norms)


class Moments:
    """Mean and variance of `width` maps, from one batch after another.

    Batches are joined as Chan, Golub and LeVeque do (1979, eq. 2.1), in double precision.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean = torch.zeros(width, dtype=torch.float64)
        self.squares = torch.zeros(width, dtype=torch.float64)

    def add(self, x: Tensor) -> None:
        """Take in a batch [n, width, ...]."""
        count = x.numel() // x.shape[1]
        axes = [axis for axis in range(x.dim()) if axis != 1]
        both = torch.var_mean(x, dim=axes, correction=0)
        variance, mean = (value.cpu().double() for value in both)
        total = self.count + count
        step = mean - self.mean
        self.squares += variance * count + step.square() * (self.count * count / total)
        self.mean += step * (count / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """The variances [width] of all that was taken in."""
        return self.squares / self.count


class _ReachedError(Exception):
    """A network came to the norm whose inputs are wanted, and need not go on."""


def _take(wanted: Norm, moments: Moments, norm: Norm, x: Tensor) -> None:
    if norm is wanted:
        moments.add(x)
        raise _ReachedError


@torch.inference_mode()
def _watch(net: MultiTask, x: Tensor, see: Callable[[Norm, Tensor], None]) -> None:
    """Put inputs through a network, showing each batch norm and what goes into it."""
    hooks = [
        module.register_forward_pre_hook(lambda norm, inputs: see(norm, inputs[0]))
        for module in net.modules()
        if isinstance(module, Norm)
    ]
    try:
        net.embed(x)
    except _ReachedError:
        pass
    finally:
        for hook in hooks:
            hook.remove()

"""Mean and deviation of training inputs, and where a network keeps them.

Source: the REP study (section 3.1) brings every mel band to mean 0 and deviation 1 over the
training set; how batches are merged is said in `features.transforms`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mt_tools.features.transforms import Moments
from mt_tools.nets.body import Standardise

if TYPE_CHECKING:
    from mt_tools.learn.feeds import Feed

BATCH = 256


def standardiser(
    feed: Feed, rows: NDArray[Any], device: torch.device | str = "cpu"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation of the examples of `rows`, read in one pass.

    Shape: [d] for vectors, [bands, 1] for features [(channels,) bands, frames]: one number a band,
    over all frames and channels. Parts of NaN, which fill up short songs, are left out. What does
    not vary gets a deviation of 1, so that it becomes 0 and not noise.
    """
    vectors = len(feed.example_shape) == 1
    size = feed.example_shape[-1 if vectors else -2]
    moments = Moments(size, covariance=False)
    for chosen, given in feed.read(np.asarray(rows, dtype=np.intp), BATCH):
        x = feed.prepare(given.to(device), chosen, None).cpu().numpy().astype(np.float64)
        frames = np.moveaxis(x, -1 if vectors else -2, -1).reshape(-1, size)
        moments.add(frames[~np.isnan(frames).any(axis=1)])
    mean, std = moments.mean, moments.deviations()
    shape = (size,) if vectors else (size, 1)
    return mean.astype(np.float32).reshape(shape), std.astype(np.float32).reshape(shape)


def set_standardisation(net: nn.Module, mean: NDArray[Any], std: NDArray[Any]) -> bool:
    """Store a `standardiser` in every `Standardise` layer of a network.

    The network then takes raw inputs, and the model file carries the transform. Returns False, and
    does nothing, for a network without such a layer. Raises `ValueError` when the sizes differ.
    """
    layers = [module for module in net.modules() if isinstance(module, Standardise)]
    for layer in layers:
        for name, buffer, values in (("mean", layer.mean, mean), ("std", layer.std, std)):
            if tuple(buffer.shape) != np.shape(values):
                raise ValueError(
                    f"{name}: got shape {np.shape(values)}, the network expects "
                    f"{tuple(buffer.shape)}"
                )
            with torch.no_grad():
                buffer.copy_(torch.as_tensor(np.asarray(values, dtype=np.float32)))
    return bool(layers)

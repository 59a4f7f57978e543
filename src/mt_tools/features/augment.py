"""Augmenting features: masks, erased rectangles, shifts along frequency, mixtures of two examples.

Goal: what the effects on features of a recipe (`mt_tools.recipes.features`) do to arrays, given
their numbers; nothing is drawn here. `mt_tools.learn.augment` is the twin on a device, and agrees
to 1e-6 of the values.

Source: SpecAugment (Park et al. 2019, arXiv:1904.08779, section 2) without the time warping, which
that paper's section 5 finds to give least; random erasing (Zhong et al. 2020, arXiv:1708.04896,
section 3); mixup (Zhang et al. 2018, arXiv:1710.09412, equation 1); CutMix (Yun et al. 2019,
arXiv:1905.04899, section 3.1), along bands and frames.

Conventions: examples are x [n, ..., bands, frames], all channels and parts of one treated alike;
mixup takes any x [n, ...]. Numbers are whole, one an example, [n], or one for all. What lies beyond
the edges is cut off. The covered becomes the example's mean, the paper's zero of a standardised
spectrogram: a zero in decibels would be a loud burst. (Zhong et al. fill with random values.) NaN,
of parts that a song lacks, stays NaN.
`weight` is that of the example itself in its mixture, and in the mixture of the labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mt_tools.errors import UsageError
from mt_tools.recipes import Recipe
from mt_tools.recipes.features import Cutmix, Erase, Mask, Mixup, Shift
from mt_tools.recipes.template import Template

Array = NDArray[Any]


def apply(recipe: Recipe, x: Array, other: Array | None = None, *, around: bool = False) -> Array:
    """Carry out the effects on features of a recipe on one example [..., bands, frames].

    `other` is the example that it is mixed with, if it is. `around` is for `shift`.
    """
    x = x[None]
    for effect in recipe.on_features:
        numbers = [getattr(effect, field.name) for field in dataclasses.fields(effect)]
        match effect:
            case Mask():
                x = mask(x, *numbers)
            case Erase():
                x = erase(x, *numbers)
            case Shift():
                x = shift(x, numbers[0], around)
            case Mixup() | Cutmix():
                assert other is not None, effect
                mix = mixup if isinstance(effect, Mixup) else cutmix
                x = mix(x, other[None], *numbers[:-1])
    return x[0]


def weight(recipe: Recipe, shape: tuple[int, ...]) -> float:
    """Return the share that an example keeps of itself, and of its labels; 1 where unmixed."""
    for effect in recipe.on_features:
        if isinstance(effect, Mixup):
            return effect.weight
        if isinstance(effect, Cutmix):
            box = effect.bands, effect.frames, effect.band, effect.frame
            return float(cutmix_weight(shape, *box))
    return 1.0


def goes_around(settings: Mapping[str, Any]) -> bool:
    """Say whether the bands of features with these settings are a circle: pitch classes."""
    return settings.get("kind") == "chroma"


def check(template: Template, shape: tuple[int, ...], settings: Mapping[str, Any]) -> None:
    """Raise `UsageError` unless examples of this shape and these settings can be augmented."""
    template.check_shape(shape)
    shifted = any(step.kind is Shift for step in template.steps)
    turned = str(settings.get("transform", "")).startswith(("pca:", "whiten:"))
    if shifted and (turned or settings.get("kind") == "mfcc"):
        what = "directions of a fitted transform" if turned else "coefficients of mfcc"
        raise UsageError(
            f"shift moves bands along frequency, and these are {what}: leave shift out, or augment "
            "mel bands before"
        )


def mask(x: Array, bands: ArrayLike, frames: ArrayLike, band: ArrayLike, frame: ArrayLike) -> Array:
    """Cover `bands` whole bands from `band` on, and `frames` whole frames from `frame` on."""
    rows, columns = _runs(x, bands, frames, band, frame)
    return _covered(x, rows[:, :, None] | columns[:, None, :])


def erase(
    x: Array, bands: ArrayLike, frames: ArrayLike, band: ArrayLike, frame: ArrayLike
) -> Array:
    """Cover the rectangle of `bands` by `frames` that begins at (`band`, `frame`)."""
    rows, columns = _runs(x, bands, frames, band, frame)
    return _covered(x, rows[:, :, None] & columns[:, None, :])


def shift(x: Array, bands: ArrayLike, around: bool = False) -> Array:
    """Move everything up by so many bands, down where it is negative.

    What moves in is covered; with `around` it is what moved out at the other end, as pitch classes
    of a chromagram do.
    """
    size = x.shape[-2]
    source = np.arange(size) - _each(bands, len(x))[:, None]
    places = source % size
    index = places.reshape(len(x), *(1,) * (x.ndim - 3), size, 1)
    moved = np.take_along_axis(x, np.broadcast_to(index, x.shape), axis=-2)
    if around:
        return moved
    return np.where(_like(x, (source != places)[:, :, None]), _means(x), moved)


def mixup(x: Array, others: Array, weight: ArrayLike) -> Array:
    """Return weight * x + (1 - weight) * others."""
    shares = np.broadcast_to(np.asarray(weight, dtype=np.float64), (len(x),))
    shares = shares.astype(x.dtype).reshape(len(x), *(1,) * (x.ndim - 1))
    return others + shares * (x - others)


def cutmix(
    x: Array,
    others: Array,
    bands: ArrayLike,
    frames: ArrayLike,
    band: ArrayLike,
    frame: ArrayLike,
) -> Array:
    """Replace the rectangle of `bands` by `frames` at (`band`, `frame`) by that of the others."""
    rows, columns = _runs(x, bands, frames, band, frame)
    return np.where(_like(x, rows[:, :, None] & columns[:, None, :]), others, x)


def cutmix_weight(
    shape: tuple[int, ...], bands: ArrayLike, frames: ArrayLike, band: ArrayLike, frame: ArrayLike
) -> NDArray[np.float64]:
    """Return the share of the area of [..., bands, frames] that `cutmix` leaves, [n]."""
    height, width = (
        np.minimum(np.asarray(size, dtype=np.float64) + np.asarray(first), whole)
        - np.minimum(first, whole)
        for size, first, whole in ((bands, band, shape[-2]), (frames, frame, shape[-1]))
    )
    return 1 - np.asarray(height) * np.asarray(width) / (shape[-2] * shape[-1])


def _each(numbers: ArrayLike, count: int) -> NDArray[np.int64]:
    return np.broadcast_to(np.asarray(numbers), (count,)).astype(np.int64)


def _runs(
    x: Array, bands: ArrayLike, frames: ArrayLike, band: ArrayLike, frame: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which bands [n, bands] and which frames [n, frames] of each example are chosen."""
    found = []
    for size, first, whole in ((bands, band, x.shape[-2]), (frames, frame, x.shape[-1])):
        begin = _each(first, len(x))[:, None]
        place = np.arange(whole)
        found.append((place >= begin) & (place < begin + _each(size, len(x))[:, None]))
    return found[0], found[1]


def _covered(x: Array, chosen: NDArray[np.bool_]) -> Array:
    return np.where(_like(x, chosen) & ~np.isnan(x), _means(x), x)


def _like(x: Array, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Give what is chosen of each example [n, bands, frames] the axes of x."""
    return chosen.reshape(len(x), *(1,) * (x.ndim - 3), *chosen.shape[1:])


def _means(x: Array) -> Array:
    """Return the mean of each example, [n, 1, ...]; NaN of one that has no values."""
    kept = ~np.isnan(x)
    axes = tuple(range(1, x.ndim))
    count = kept.sum(axis=axes, keepdims=True)
    total = np.where(kept, x, 0).sum(axis=axes, keepdims=True, dtype=np.float64)
    return np.where(count, total / np.maximum(count, 1), np.nan).astype(x.dtype)

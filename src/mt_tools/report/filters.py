"""What the filters of a convolutional network have become: images, and singular values.

Source: the SEQ study proposes, in its outlook, a singular value decomposition of the converged
filters of each layer, to see whether they converge to known functions, cosines above all, with
which a network might then begin.

Conventions: `style` says how figures look. The weights [out, in, h, w] of a layer are the matrix
[out, in h w], a row a filter; h are mel bands, low ones at the bottom, and w frames. Its right
singular vectors are what the filters are mixtures of, strongest first. Grey is zero, black negative
and white positive; the sign of a singular vector is such that its largest weight is positive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.report.layout import settle
from mt_tools.report.style import COLOURS, check_ending, conventions, label, new_figure, save, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

Array = NDArray[Any]
Floats = NDArray[np.float64]

MOST_FILTERS = 64
"""Of the first layer so many filters are drawn, the strongest."""
MOST_LAYERS = 12
"""Of more layers so many are drawn, evenly spread from the first to the last."""
LEADING = 6
"""Singular vectors that are drawn of each layer."""
ENERGY = 0.9
_PER_LINE = 16
_MOST_DOTS = 30


@dataclass(frozen=True)
class Spectrum:
    """The singular value decomposition of the filters of one layer.

    `values`: [r] singular values, falling, r the smaller of out and in h w; `vectors`:
    [r, in, h, w] right singular vectors; `patterns`: [r, h, w] what a vector looks like to its
    input, its strongest part over the input channels. `rank` is the effective rank, 1 to r: the
    exponential of the entropy of the singular values (O. Roy, M. Vetterli, "The effective rank",
    2007). `enough` vectors hold 90 % of the energy, the sum of squares. `cosines` are, for each
    vector, the cosine (bands, frames), in half periods, that holds the most of it, and
    `cosine_shares` [r] how much that is, 0 to 1.
    """

    name: str
    shape: tuple[int, int, int, int]
    values: Floats
    vectors: Floats
    patterns: Floats
    rank: float
    enough: int
    cosines: list[tuple[int, int]]
    cosine_shares: Floats

    @property
    def energy(self) -> Floats:
        """The share of each singular vector in the energy, [r]."""
        squares = np.square(self.values)
        return squares / squares.sum()

    def __str__(self) -> str:
        """Return the numbers in a line."""
        out, inputs, height, width = self.shape
        return (
            f"{self.name}: {out} filters of {inputs} × {height} × {width}, effective rank "
            f"{self.rank:.1f} of {len(self.values)}, {ENERGY:.0%} of the energy in {self.enough}"
        )


def convolutions(weights: Mapping[str, Array]) -> dict[str, Floats]:
    """Return the weights of convolutions [out, in, h, w] among those of a network.

    `weights` by name, such as a state dict as arrays: of three dimensions they are convolutions in
    time, h = 1; what has fewer is none. Raises `UsageError` where there is no convolution.
    """
    found = {}
    for name, array in weights.items():
        array = np.asarray(array, np.float64)
        if array.ndim == 3:
            array = array[:, :, None, :]
        if array.ndim == 4 and array.size:
            found[name.removesuffix(".weight")] = array
    if not found:
        raise UsageError(
            "the model has no convolutions, and so no filters to draw: name one that has, such as "
            "a cnn or crnn"
        )
    return found


def spectrum(name: str, weights: Array) -> Spectrum:
    """Decompose the filters [out, in, h, w] of a layer; raises `UsageError` when all are zero."""
    weights = np.asarray(weights, np.float64)
    out, inputs, height, width = weights.shape
    if not (np.isfinite(weights).all() and np.any(weights)):
        raise UsageError(f"the filters of {name} are all zero or not finite: nothing to decompose")
    _, values, rows = np.linalg.svd(weights.reshape(out, -1), full_matrices=False)
    rows *= _signs(rows)
    vectors = rows.reshape(-1, inputs, height, width)
    shares = values / values.sum()
    shares = shares[shares > 0]
    energy = np.cumsum(np.square(values)) / np.square(values).sum()
    cosines, cosine_shares = _cosines(vectors)
    return Spectrum(
        name=name,
        shape=(out, inputs, height, width),
        values=values,
        vectors=vectors,
        patterns=_patterns(vectors),
        rank=float(np.exp(-(shares * np.log(shares)).sum())),
        enough=int(np.searchsorted(energy, ENERGY - 1e-12) + 1),
        cosines=cosines,
        cosine_shares=cosine_shares,
    )


def _signs(rows: Floats) -> Floats:
    """Return the sign [r, 1] of the largest weight of each row, which the method leaves open."""
    largest = np.abs(rows).argmax(axis=1)
    return np.where(rows[np.arange(len(rows)), largest] < 0, -1.0, 1.0)[:, None]


def _patterns(vectors: Floats) -> Floats:
    """Return the strongest spatial part [r, h, w] of vectors [r, in, h, w]."""
    count, inputs, height, width = vectors.shape
    _, _, parts = np.linalg.svd(vectors.reshape(count, inputs, -1), full_matrices=False)
    strongest = parts[:, 0]
    return (strongest * _signs(strongest)).reshape(count, height, width)


def _cosines(vectors: Floats) -> tuple[list[tuple[int, int]], Floats]:
    """Return the cosine that holds most of each vector, and how much of it.

    The orthonormal cosines of DCT-II over bands and frames split the energy of a unit vector; that
    of one cosine is summed over the input channels.
    """
    from scipy.fft import dctn

    energy = np.square(dctn(vectors, axes=(2, 3), norm="ortho")).sum(axis=1)  # [r, h, w]
    flat = energy.reshape(len(energy), -1)
    best = flat.argmax(axis=1)
    places = np.unravel_index(best, energy.shape[1:])
    found = [(int(u), int(v)) for u, v in zip(*places, strict=True)]
    return found, flat[np.arange(len(flat)), best]


def draw_filters(weights: Mapping[str, Array], path: str, title: str = "") -> list[Spectrum]:
    """Draw filters into a .png, .svg or .pdf file, and return the numbers of all layers.

    See `filters_figure`; raises `UsageError` for another ending.
    """
    check_ending(path)
    spectra = [spectrum(*layer) for layer in convolutions(weights).items()]
    save(_figure(weights, spectra, title), path)
    return spectra


def filters_figure(weights: Mapping[str, Array], title: str = "") -> Figure:
    """Return a figure of a network's filters: those of the first layer, and each layer's spectrum.

    `weights`: as for `convolutions`, in the order of the layers. A line a layer: its singular
    values beside those of random weights, and its leading singular vectors with their share of the
    energy and the cosine that they are nearest to. Raises `UsageError` where there is no
    convolution, or one that is all zero.
    """
    spectra = [spectrum(*layer) for layer in convolutions(weights).items()]
    return _figure(weights, spectra, title)


def _figure(weights: Mapping[str, Array], spectra: list[Spectrum], title: str) -> Figure:
    layers = convolutions(weights)
    chosen = np.unique(
        np.linspace(0, len(spectra) - 1, min(len(spectra), MOST_LAYERS)).round().astype(int)
    )
    first = layers[spectra[0].name]
    lines = -(-min(len(first), MOST_FILTERS) // _PER_LINE)
    top = 0.5 + 0.5 * lines
    with conventions():
        figure = new_figure(8.4, top + 1.55 * len(chosen) + 0.3)
        heights = [top] + [1.55] * len(chosen)
        parts = figure.subfigures(1 + len(chosen), 1, height_ratios=heights, squeeze=False)[:, 0]
        _filters(parts[0], first, spectra[0].name)
        for part, place in zip(parts[1:], chosen, strict=True):
            _layer(part, spectra[place], last=place == chosen[-1])
        left_out = f"{len(chosen)} of {len(spectra)} layers" * (len(chosen) < len(spectra))
        if text := ", ".join(filter(None, [title and label(title, 60), left_out])):
            figure.suptitle(text)
        settle(figure)
    return figure


def _filters(part: SubFigure, weights: Floats, name: str) -> None:
    """Draw the strongest filters of a layer as images, in their order; channels side by side."""
    norms = np.linalg.norm(weights.reshape(len(weights), -1), axis=1)
    shown = np.sort(np.argsort(-norms, kind="stable")[:MOST_FILTERS])
    lines = -(-len(shown) // _PER_LINE)
    grid = part.subplots(lines, _PER_LINE, squeeze=False)
    limit = float(np.abs(weights[shown]).max())
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, number in zip(grid.flat, shown, strict=False):
        channels = weights[number]
        image = np.hstack([*channels]) if len(channels) <= 3 else _patterns(channels[None])[0]
        edge = limit if len(channels) <= 3 else None
        _image(axes, image, edge)
    count = f"{len(shown)} of {len(weights)}" if len(shown) < len(weights) else f"{len(weights)}"
    part.suptitle(f"{label(name)}: {count} filters", fontsize=9)


def _image(axes: Any, image: Floats, limit: float | None = None) -> None:
    """Draw weights in grey, framed; low bands at the bottom."""
    limit = limit or float(np.abs(image).max()) or 1.0
    axes.imshow(
        image, cmap="gray", vmin=-limit, vmax=limit, origin="lower", interpolation="nearest",
        aspect="equal" if max(image.shape) <= 2 * min(image.shape) else "auto",
    )  # fmt: skip
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)


def _layer(part: SubFigure, found: Spectrum, last: bool) -> None:
    """Draw the singular values of a layer and its leading singular vectors."""
    grid = part.subplots(
        1, LEADING + 1, gridspec_kw={"width_ratios": [2.6] + [1] * LEADING}, squeeze=False
    )[0]
    axes = grid[0]
    share = found.values / np.sqrt(np.square(found.values).sum())
    order = np.arange(1, len(share) + 1)
    dots: dict[str, Any] = {"marker": "o", "markersize": 2.5} if len(share) <= _MOST_DOTS else {}
    axes.plot(order, share, color=COLOURS[0], linewidth=1.3, **dots)
    axes.plot(order, _random(found), color="black", linewidth=0.9, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", integer=True, nbins=5)
    tidy(axes)
    axes.set_ylabel("singular value", fontsize=7)
    if last:
        axes.set_xlabel("number (dashed: random weights)", fontsize=7)
    axes.tick_params(labelsize=7)
    for axes in grid[1:]:
        axes.set_axis_off()
    flat = found.shape[2] * found.shape[3] == 1
    for number, axes in enumerate(grid[1 : 1 + min(LEADING, len(share))]):
        if flat:
            break
        _image(axes, found.patterns[number])
        bands, frames = found.cosines[number]
        axes.set_title(f"{found.energy[number]:.0%}", fontsize=7, pad=2)
        held = f"cos {bands},{frames}\n{found.cosine_shares[number]:.0%}"
        axes.set_xlabel(held, fontsize=7, labelpad=2)
    part.suptitle(label(str(found), 110), fontsize=8)


def _random(found: Spectrum) -> Floats:
    """Return the singular values that random weights of the same shape and energy have.

    Normal numbers from a fixed seed: a layer that is near to them has learned little, or has only
    turned what it began with.
    """
    out, inputs, height, width = found.shape
    matrix = np.random.default_rng(0).normal(size=(out, inputs * height * width))
    values = np.linalg.svd(matrix, compute_uv=False)
    return values / np.sqrt(np.square(values).sum())

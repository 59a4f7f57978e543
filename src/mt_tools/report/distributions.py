"""One figure of what a table holds: histograms, bars of labels, correlations.

Source: the REG study shows each target as a histogram with a box plot (Figs. 4.3 to 4.10) and the
correlations of all pairs (Fig. 4.2).

Conventions: `style` says how figures look. The box spans the quartiles with the median in it, its
whiskers reach the last number within 1.5 times that span, and what lies beyond is drawn as its
range: a line with two ends, not a dot a row, which a million rows would make a blot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.metrics.distributions import histogram
from mt_tools.report.description import coefficient
from mt_tools.report.style import (
    COLOURS,
    GREY,
    HATCHES,
    conventions,
    label,
    new_figure,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

MOST_BARS = 40
"""Of more labels the most frequent, and `LAST_BARS` of the least, are drawn."""
LAST_BARS = 10
MOST_PANELS = 60
"""Columns drawn of each kind at most."""
PER_LINE = 3

_WIDTH = 10.0  # inches
_BAR_HEIGHT = 0.155


@dataclass(frozen=True)
class Numbers:
    """A column of numbers [n], NaN = missing."""

    name: str
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """The rows of each label of a column, and of each split that there is."""

    name: str
    totals: Mapping[str, int]
    splits: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Picture:
    """What is drawn: columns of numbers, of labels, and (Pearson's, Spearman's) of pairs."""

    numbers: Sequence[Numbers]
    counts: Sequence[Counts]
    correlations: Mapping[tuple[str, str], tuple[float, float]]


def distributions_figure(picture: Picture) -> Figure:
    """Draw every column: as many panels as it takes, one below the other.

    Columns in which nothing can be compared (all labels differ, or all are one, or all numbers are)
    are left out; where none is left this is a `UsageError`.
    """
    numbers = [one for one in picture.numbers if _varies(one.values)][:MOST_PANELS]
    counts = [one for one in picture.counts if len(one.totals) > 1 and max(one.totals.values()) > 1]
    names = list(dict.fromkeys(name for pair in picture.correlations for name in pair))
    if not numbers and not counts:
        raise UsageError("--plot: no column has numbers that differ, or labels that rows share")
    lines = math.ceil(len(numbers) / PER_LINE)
    heights = [2.15 * lines] * bool(numbers)
    pairs = _paired(counts)
    heights += [max(map(_bars_height, pair)) for pair in pairs]
    side = min(0.55 * len(names), 7.0) + 1.6
    heights += [side] * bool(names)
    with conventions():
        figure = new_figure(_WIDTH, sum(heights))
        blocks = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        rest = iter(blocks)
        if numbers:
            _histograms(next(rest), numbers, lines)
        for pair in pairs:
            _bars(next(rest), pair)
        if names:
            _heat_map(next(rest), names, picture.correlations, side)
    return figure


def _varies(values: NDArray[np.float64]) -> bool:
    finite = values[np.isfinite(values)]
    return len(finite) > 0 and bool(finite.min() < finite.max())


def _histograms(figure: SubFigure, columns: Sequence[Numbers], lines: int) -> None:
    """Draw histograms side by side, above each a box plot on the same axis."""
    across = min(PER_LINE, len(columns))
    heights = [0.18, 1.0] * lines
    grid = figure.subplots(2 * lines, across, squeeze=False, height_ratios=heights)
    for place in range(lines * across):
        line, column = divmod(place, across)
        above, below = grid[2 * line, column], grid[2 * line + 1, column]
        if place >= len(columns):
            above.set_visible(False)
            below.set_visible(False)
            continue
        one = columns[place]
        counts, edges = histogram(one.values)
        low, high = float(edges[0]), float(edges[-1])
        below.stairs(counts, edges, fill=True, color=COLOURS[0], alpha=0.75)
        margin = 0.02 * (high - low)
        for axes in (above, below):
            axes.set_xlim(low - margin, high + margin)
        _box(above, one.values[np.isfinite(one.values)])
        above.set_title(label(one.name, 40))
        below.set_ylim(0, float(counts.max()) * 1.06)
        below.ticklabel_format(axis="both", style="plain", useOffset=False)
        below.locator_params(axis="both", nbins=5)
        below.set_ylabel("rows" if column == 0 else "")
        tidy(below, "y")


def _box(axes: Axes, values: NDArray[np.float64]) -> None:
    first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
    reach = 1.5 * (third - first)
    inside = values[(values >= first - reach) & (values <= third + reach)]
    low, high = (inside.min(), inside.max()) if len(inside) else (first, third)
    axes.plot([low, first], [0, 0], color="black", linewidth=0.9)
    axes.plot([third, high], [0, 0], color="black", linewidth=0.9)
    for beyond, end in ((values.min(), low), (values.max(), high)):
        if beyond != end:
            axes.plot([beyond, end], [0, 0], color=GREY, linewidth=0.9, linestyle=":")
            axes.plot([beyond], [0], color=GREY, marker="|", markersize=6)
    axes.barh(0, third - first, left=first, height=1.0, facecolor="white", edgecolor="black",
              linewidth=0.9)  # fmt: skip
    axes.plot([median, median], [-0.5, 0.5], color=COLOURS[1], linewidth=1.6)
    axes.set_ylim(-0.8, 0.8)
    axes.set_axis_off()


def _shown(one: Counts) -> list[str | None]:
    """Return the labels of the bars, the most frequent first; None stands for those left out."""
    names = sorted(one.totals, key=lambda name: (-one.totals[name], name))
    if len(names) <= MOST_BARS:
        return list(names)
    return [*names[: MOST_BARS - LAST_BARS], None, *names[-LAST_BARS:]]


def _bars_height(one: Counts) -> float:
    return 0.95 + _BAR_HEIGHT * max(3, len(_shown(one))) + 0.3 * (len(one.splits) > 1)


def _paired(columns: Sequence[Counts]) -> list[list[Counts]]:
    """Put columns side by side in pairs whose bars are about equally many, the fewest first."""
    pairs: list[list[Counts]] = []
    for one in sorted(columns, key=lambda one: len(_shown(one))):
        if pairs and len(pairs[-1]) == 1 and len(_shown(one)) <= 2.5 * len(_shown(pairs[-1][0])):
            pairs[-1].append(one)
        else:
            pairs.append([one])
    return pairs


def _bars(figure: SubFigure, columns: Sequence[Counts]) -> None:
    """Draw the labels of one or two columns as bars that splits share."""
    for axes, one in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        _bar_panel(axes, one)


def _bar_panel(axes: Axes, one: Counts) -> None:
    shown = _shown(one)
    splits = list(one.splits) if len(one.splits) > 1 else [""]
    most = max(one.totals.values())
    for place, split in enumerate(splits):
        counts = one.splits[split] if split else one.totals
        before = np.zeros(len(shown))
        for earlier in splits[:place]:
            before += [0 if name is None else one.splits[earlier].get(name, 0) for name in shown]
        lengths = [0 if name is None else counts.get(name, 0) for name in shown]
        axes.barh(
            range(len(shown)), lengths, left=before, height=0.78, linewidth=0.3,
            facecolor=COLOURS[place % len(COLOURS)], hatch=HATCHES[place % len(HATCHES)],
            edgecolor="white", alpha=0.8, label=label(split) if split else None,
        )  # fmt: skip
    for row, name in enumerate(shown):
        if name is not None:
            axes.text(one.totals[name] + 0.012 * most, row, str(one.totals[name]), va="center",
                      fontsize=6.5, color="#444444")  # fmt: skip
    left_out = len(one.totals) - len(shown) + 1
    texts = [f"… {left_out} more …" if name is None else label(name) for name in shown]
    axes.set_yticks(range(len(shown)), texts, fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, most * 1.13)
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.set_xlabel("rows")
    axes.set_title(f"{label(one.name, 40)}, {len(one.totals)} labels")
    tidy(axes, "x")
    axes.spines["left"].set_visible(False)
    if len(splits) > 1:
        axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=7)


def _heat_map(
    figure: SubFigure,
    names: Sequence[str],
    pairs: Mapping[tuple[str, str], tuple[float, float]],
    side: float,
) -> None:
    """Draw Pearson's correlation below the diagonal and Spearman's above it."""
    size = len(names)
    matrix = np.full((size, size), np.nan)
    for (one, other), (pearson, spearman) in pairs.items():
        i, j = sorted((names.index(one), names.index(other)))
        matrix[j, i], matrix[i, j] = pearson, spearman
    margin = max(0.05, (1 - (side + 1.5) / _WIDTH) / 2)
    grid = figure.subplots(1, 3, width_ratios=[margin, 1 - 2 * margin, margin])
    for empty in (grid[0], grid[2]):
        empty.set_visible(False)
    axes = grid[1]
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1.0, vmax=1.0, aspect="equal")
    cell = min(0.55, 7.0 / size)
    small = 7.5 if cell > 0.4 else 6.0
    if cell > 0.28:
        for (row, column), value in np.ndenumerate(matrix):
            if row != column:
                axes.text(column, row, coefficient(value), ha="center", va="center", fontsize=small,
                          color="white" if abs(value) > 0.6 else "black")  # fmt: skip
    texts = [label(name, 20) for name in names]
    axes.set_xticks(range(size), texts, rotation=90, fontsize=small)
    axes.set_yticks(range(size), texts, fontsize=small)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("correlation: Pearson below, Spearman above the diagonal")
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
    outline: Any = bar.outline
    outline.set_visible(False)

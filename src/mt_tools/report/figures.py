"""Figures of evaluation: what is confused, ranked, calibrated, spread, and with what certainty.

Sources: scatter plots with the borders of levels after the DJ study, Fig. 6.8; spread against the
number of sources after the REP study, Fig. 8; per-tag results as bars after the REG and SEQ
studies.

Conventions: `style` says how figures look; every function takes numbers and returns a matplotlib
`Figure`, which `style.save` writes. Intervals are whiskers, NaN where there is none. A panel is one
axes, several stand side by side. What differs between models is told by colour and by marker,
dashes or hatching.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.metrics.classes import BINS
from mt_tools.report.points import (
    GRID,
    Points,
    Reliability,
    mean_pr,
    mean_roc,
    pr_points,
    roc_points,
)
from mt_tools.report.style import (
    COLOURS,
    DASHES,
    GREY,
    HATCHES,
    MARKERS,
    conventions,
    label,
    new_figure,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
Floats = NDArray[np.float64]

HIGHLIGHTED = 2
"""Of many tags so many of the best and of the worst are drawn in colour."""
MOST_BARS = 60
"""Of more labels the best and the worst halves of so many are shown."""
MOST_POINTS = 5000
"""More rows than this are drawn as counts in cells, fewer as points."""
PER_LINE = 3
"""Panels side by side."""


@dataclass(frozen=True)
class Value:
    """A number with its interval; NaN = undefined, or no interval known."""

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int | None = None

    def __str__(self) -> str:
        """Return `0.812 [0.790, 0.831]`."""
        if math.isnan(self.value):
            return "undefined"
        interval = "" if math.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{interval}"


# --- confusion -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix [k, k] as `metrics.confusion` gives it: row = true, column = predicted."""

    title: str
    classes: Sequence[str]
    matrix: Array


def confusion_figure(panels: Sequence[Confusion]) -> Figure:
    """Draw confusion matrices: counts as numbers, the share of the true class as shade."""
    largest = max(len(panel.classes) for panel in panels)
    cell = 0.42 if largest <= 12 else 0.26 if largest <= 30 else 0.21
    names = max(len(label(name)) for panel in panels for name in panel.classes)
    side = max(1.5, cell * largest)
    margin = 0.5 + 0.07 * names
    with conventions():
        columns = min(len(panels), PER_LINE)
        lines = math.ceil(len(panels) / columns)
        figure = new_figure(
            columns * (side + margin + 0.3) + 0.9, lines * (side + margin + 0.4)
        )  # fmt: skip
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            image = _confusion(axes, panel, cell)
        _hide(grid, len(panels))
        bar = figure.colorbar(image, ax=grid, shrink=min(1.0, 1.6 / side + 0.3), pad=0.02)
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
    return figure


def _confusion(axes: Axes, panel: Confusion, cell: float) -> Any:
    matrix = np.asarray(panel.matrix)
    size, support = len(matrix), matrix.sum(axis=1)
    share = np.divide(
        matrix, support[:, None], out=np.zeros(matrix.shape), where=support[:, None] > 0
    )
    image = axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
    digits = len(str(int(matrix.max(initial=0))))
    text = min(9.0, 72 * cell * (0.5 if digits < 3 else 1.35 / digits))
    for row in range(size):
        for column in range(size):
            count = int(matrix[row, column])
            if count or size <= 12:
                shade = share[row, column]
                colour = "white" if shade > 0.5 else "black" if count else GREY
                axes.text(
                    column, row, str(count), ha="center", va="center", fontsize=text, color=colour
                )  # fmt: skip
    names = [label(name) for name in panel.classes]
    small = 9.0 if cell > 0.4 else 7.0 if cell > 0.25 else 6.0
    long = size > 6 or max(map(len, names)) > 6
    axes.set_xticks(range(size), names, rotation=90 if long else 0, fontsize=small)
    axes.set_yticks(
        range(size),
        [f"{name} ({int(n)})" for name, n in zip(names, support, strict=True)],
        fontsize=small,
    )
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(True, which="minor", color="#e8e8e8", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (rows)")
    axes.set_title(label(panel.title, 40))
    return image


# --- curves over all thresholds ------------------------------------------------------------------


@dataclass(frozen=True)
class Ranked:
    """What one model's scores are worth as rankings.

    `truth` bool [n, k] and `scores` [n, k] of the k `labels`; `areas` are their ROC AUC or average
    precision, `mean` is their macro average.
    """

    name: str
    labels: Sequence[str]
    truth: Array
    scores: Array
    areas: Sequence[Value]
    mean: Value


def roc_figure(panels: Mapping[str, Sequence[Ranked]]) -> Figure:
    """Draw ROC curves: of one model each label and their mean, of several models their means."""
    with conventions():
        figure, grid = _squares(len(panels), max(map(_entries, panels.values())))
        for axes, (title, models) in zip(grid.flat, panels.items(), strict=False):
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
            _ranked(axes, models, roc_points, mean_roc, "AUC", "default")
            axes.set_xlabel("false positive rate")
            axes.set_ylabel("true positive rate")
            axes.set_title(label(title, 40))
        _hide(grid, len(panels))
    return figure


def pr_figure(panels: Mapping[str, Sequence[Ranked]]) -> Figure:
    """Draw precision over recall; the dotted line is what guessing reaches, the labels' share."""
    with conventions():
        figure, grid = _squares(len(panels), max(map(_entries, panels.values())))
        for axes, (title, models) in zip(grid.flat, panels.items(), strict=False):
            base = float(np.mean(np.asarray(models[0].truth)))
            axes.axhline(base, color=GREY, linewidth=0.8, linestyle=":")
            _ranked(axes, models, pr_points, mean_pr, "AP", "steps-pre")
            axes.set_xlabel("recall")
            axes.set_ylabel("precision")
            axes.set_title(label(title, 40))
        _hide(grid, len(panels))
    return figure


def _ranked(
    axes: Axes, models: Sequence[Ranked], points: Any, mean: Any, area: str, steps: Any
) -> None:
    if len(models) > 1:
        for place, model in enumerate(models):
            own = [points(model.truth[:, i], model.scores[:, i]) for i in _drawable(model)]
            if not own:
                axes.plot([], [], label=f"{label(model.name)}: {area} undefined")
                continue
            drawn, how = (mean(own), "default") if len(model.labels) > 1 else (own[0], steps)
            _line(axes, drawn, place, how, f"{label(model.name)}: {area} {model.mean}")
    else:
        (model,) = models
        shown = _drawable(model)
        ranks = sorted(shown, key=lambda i: -model.areas[i].value)
        many = len(ranks) > 2 * HIGHLIGHTED + 1
        chosen = [*ranks[:HIGHLIGHTED], *ranks[-HIGHLIGHTED:]] if many else ranks
        chosen_curves: dict[int, Points] = {}
        resampled: list[
            Points
        ] = []  # of a million rows and many labels whole curves would not fit in memory
        for i in shown:
            curve = points(model.truth[:, i], model.scores[:, i])
            resampled.append(mean([curve]))
            if i not in chosen:
                thin = resampled[-1] if len(curve.x) > GRID else curve
                axes.plot(*thin, color=GREY, linewidth=0.5, alpha=0.7,
                          drawstyle=steps if thin is curve else "default")  # fmt: skip
            else:
                chosen_curves[i] = curve
        for place, i in enumerate(chosen):
            name = f"{label(model.labels[i])}: {area} {model.areas[i]}"
            _line(axes, chosen_curves[i], place, steps, name)
        if len(model.labels) > 1 and resampled:
            axes.plot(
                resampled[0].x, np.mean([one.y for one in resampled], axis=0), color="black",
                linewidth=2.2, label=f"mean of {len(ranks)} labels: {area} {model.mean}",
            )  # fmt: skip
        if many:
            axes.plot([], [], color=GREY, linewidth=0.5, label=f"{len(ranks) - len(chosen)} others")
        if not ranks:
            axes.plot([], [], " ", label=f"{area} undefined: one class only")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    tidy(axes)
    _legend_below(axes)


def _entries(models: Sequence[Ranked]) -> int:
    """Return how many lines the legend of a panel has."""
    if len(models) > 1:
        return len(models)
    if len(models[0].labels) == 1:
        return 1
    drawn = len(_drawable(models[0]))
    return 1 + (drawn if drawn <= 2 * HIGHLIGHTED + 1 else 2 * HIGHLIGHTED + 1)


def _drawable(model: Ranked) -> list[int]:
    """Return the labels whose curve is defined, as their area is."""
    return [i for i, area in enumerate(model.areas) if math.isfinite(area.value)]


def _line(axes: Axes, points: Points, place: int, steps: Any, name: str) -> None:
    place %= len(COLOURS)
    axes.plot(
        points.x, points.y, color=COLOURS[place], linestyle=DASHES[place], marker=MARKERS[place],
        markersize=4, markevery=(0.03 + 0.02 * place, 0.16), linewidth=1.3, drawstyle=steps,
        label=name,
    )  # fmt: skip


# --- bars ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bars:
    """Numbers side by side: a group of bars a label, in it one a series (a model, a file)."""

    title: str
    axis: str
    series: Mapping[str, Mapping[str, Value]]  # series -> label -> value
    chance: float | None = None
    sort: bool = True

    @property
    def labels(self) -> list[str]:
        """The labels in the order of the series, or by falling mean."""
        names = list(dict.fromkeys(name for values in self.series.values() for name in values))
        if not self.sort:
            return names
        means = {
            name: [v[name].value for v in self.series.values()
                   if name in v and math.isfinite(v[name].value)] for name in names
        }  # fmt: skip
        return sorted(names, key=lambda n: -math.inf if not means[n] else np.mean(means[n]))[::-1]


def bars_figure(panels: Sequence[Bars]) -> Figure:
    """Draw bars with intervals as whiskers; of very many labels the best and the worst."""
    series = list(dict.fromkeys(name for panel in panels for name in panel.series))
    with conventions():
        shown = [_extremes(panel) for panel in panels]
        thick = 0.17 if len(series) == 1 else 0.12 * len(series) + 0.05
        highs = [max(1, len(labels)) * thick + 0.75 for labels in shown]
        longest = max((len(label(n)) for names in shown for n in names if n is not None), default=4)
        figure = new_figure(4.6 + 0.065 * longest, sum(highs) + 0.35 * (len(series) > 1))
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=highs)
        for axes, panel, labels in zip(grid[:, 0], panels, shown, strict=True):
            _bars(axes, panel, labels, series)
        if len(series) > 1:
            handles = [_patch(place, name) for place, name in enumerate(series)]
            figure.legend(handles=handles, loc="outside upper center", ncols=min(len(series), 3),
                          frameon=False)  # fmt: skip
    return figure


_LOWEST = -1.0  # where an axis begins at most: an R2 may be anything, and would hide the others


def _extremes(panel: Bars) -> list[str | None]:
    """Return the labels that are shown; None stands for those left out."""
    labels = panel.labels
    if len(labels) <= MOST_BARS:
        return list(labels)
    return [*labels[: MOST_BARS // 2], None, *labels[-MOST_BARS // 2 :]]


def _bars(axes: Axes, panel: Bars, labels: list[str | None], series: Sequence[str]) -> None:
    wide = 0.8 / len(series)
    ends: list[float] = [0.0]
    cut: list[tuple[float, float]] = []
    for place, name in enumerate(series):
        values = panel.series.get(name, {})
        for row, one in enumerate(labels):
            found = None if one is None else values.get(one)
            if found is None:
                continue
            y = row + (place - (len(series) - 1) / 2) * wide
            if math.isnan(found.value):
                axes.text(0, y, " undefined", va="center", fontsize=6.5, color="#666666")
                continue
            style = _bar_style(place)
            axes.barh(y, found.value, height=wide * 0.92, linewidth=0.5, **style)
            ends += [found.value]
            cut += [(y, found.value)] * (found.value < _LOWEST)
            if math.isfinite(found.low) and math.isfinite(found.high):
                whisker = [
                    [max(0.0, found.value - found.low)],
                    [max(0.0, found.high - found.value)],
                ]
                axes.errorbar(
                    found.value, y, xerr=whisker, color="black", linewidth=0.9, capsize=1.8
                )  # fmt: skip
                ends += [found.low, found.high]
    left_out = len(panel.labels) - len(labels) + 1
    texts = [f"… {left_out} more …" if one is None else _with_count(panel, one) for one in labels]
    axes.set_yticks(range(len(labels)), texts, fontsize=8 if len(labels) < 30 else 7)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    low, high = max(_LOWEST, min(ends)), max(ends)
    for y, value in cut:
        axes.text(low, y, f" {value:.3g} (cut)", va="center", fontsize=6.5)
    axes.set_xlim(min(0.0, low), 1.0 if 0.4 < high <= 1.0 else high * 1.08 or 1.0)
    if panel.chance is not None:
        axes.axvline(panel.chance, color="black", linewidth=0.8, linestyle=":")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(panel.axis)
    axes.set_title(label(panel.title, 60))
    tidy(axes, "x")
    axes.spines["left"].set_visible(False)


def _with_count(panel: Bars, name: str) -> str:
    counts = {values[name].n for values in panel.series.values() if name in values} - {None}
    return f"{label(name)} ({counts.pop()})" if len(counts) == 1 and panel.sort else label(name)


def _bar_style(place: int) -> dict[str, Any]:
    place %= len(COLOURS)
    return {
        "facecolor": COLOURS[place],
        "edgecolor": "white",
        "hatch": HATCHES[place],
        "alpha": 0.75,
    }


def _patch(place: int, name: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(label=label(name, 40), **_bar_style(place))


# --- numbers -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scatter:
    """Predictions against targets, [n] each, and what is said of them."""

    title: str
    truth: Floats
    predicted: Floats
    note: str = ""


def levels_right(truth: Floats, predicted: Floats, borders: Sequence[float]) -> float:
    """Return the share of rows whose prediction falls into the level of the target.

    A value on a border belongs to the level above it.
    """
    edges = np.sort(np.asarray(borders, np.float64))
    same = np.digitize(truth, edges) == np.digitize(predicted, edges)
    return float(np.mean(same)) if len(same) else math.nan


def scatter_figure(panels: Sequence[Scatter], borders: Sequence[float] = ()) -> Figure:
    """Draw predictions over targets; `borders` part both into levels, of which right ones shade."""
    everything = [values for p in panels for values in (p.truth, p.predicted)]
    low = min(float(values.min()) for values in everything)
    high = max(float(values.max()) for values in everything)
    room = 0.04 * (high - low or 1.0)
    limits = low - room, high + room
    with conventions():
        figure, grid = _squares(len(panels), entries=2)
        for axes, panel in zip(grid.flat, panels, strict=False):
            edges = [limits[0], *sorted(b for b in borders if limits[0] < b < limits[1]), limits[1]]
            if borders:
                for first, last in pairwise(edges):
                    axes.fill_between([first, last], first, last, color="#e6e6e6", linewidth=0)
                for border in edges[1:-1]:
                    for draw in (axes.axhline, axes.axvline):
                        draw(border, color=COLOURS[1], linewidth=0.9, linestyle="--")
            axes.plot(limits, limits, color="black", linewidth=0.8)
            if len(panel.truth) > MOST_POINTS:
                cells = axes.hexbin(
                    panel.truth, panel.predicted, gridsize=45, cmap="cividis_r", bins="log",
                    extent=(*limits, *limits), mincnt=1, linewidths=0,
                )  # fmt: skip
                figure.colorbar(cells, ax=axes, shrink=0.6, aspect=30, label="rows", format="%d")
            else:
                faint = 0.75 if len(panel.truth) < 300 else 0.4
                axes.scatter(panel.truth, panel.predicted, s=9, color=COLOURS[0], alpha=faint,
                             linewidths=0)  # fmt: skip
            said = [panel.note] * bool(panel.note)
            if borders:
                share = levels_right(panel.truth, panel.predicted, borders)
                said.append(f"{share:.1%} in their level")
            axes.set_title("\n".join([label(panel.title, 40), *said]))
            axes.set_xlim(*limits)
            axes.set_ylim(*limits)
            axes.set_aspect("equal")
            axes.set_xlabel("target")
            axes.set_ylabel("predicted")
            tidy(axes)
        _hide(grid, len(panels))
    return figure


# --- confidence ----------------------------------------------------------------------------------


def calibration_figure(
    panels: Mapping[str, Mapping[str, Reliability]], pooled: Collection[str] = ()
) -> Figure:
    """Draw reliability diagrams: what came true over what was predicted, and how often.

    The panels in `pooled` are of the decisions on all tags together.
    """
    with conventions():
        columns = len(panels)
        figure = new_figure(3.4 * columns + 0.6, 4.8)
        grid = figure.subplots(2, columns, squeeze=False, sharex=True, height_ratios=[3.2, 1])
        for column, (title, series) in enumerate(panels.items()):
            axes, counts = grid[0][column], grid[1][column]
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
            many = len(series) > 1
            for place, (name, found) in enumerate(series.items()):
                place %= len(COLOURS)
                of_all = " of all tags together" * (title in pooled)
                said = f"{label(name)}: " * many + f"calibration error{of_all} {found.error:.3f}"
                axes.plot(
                    found.confidence, found.observed, color=COLOURS[place],
                    linestyle=DASHES[place], marker=MARKERS[place], markersize=4.5,
                    linewidth=1.3, label=said,
                )  # fmt: skip
                width = 1 / BINS  # which the models share
                wide = width * 0.9 / len(series)
                counts.bar(found.edges + wide * place + 0.05 * width, found.rows, width=wide,
                           align="edge", linewidth=0.4, **_bar_style(place))  # fmt: skip
            axes.set_xlim(0, 1)
            axes.set_ylim(-0.01, 1.01)
            axes.set_title(label(title, 40))
            axes.set_ylabel("came true")
            axes.legend(loc="best", framealpha=0.8, edgecolor="none")
            counts.set_xlabel("predicted probability")
            counts.set_ylabel("count")
            counts.margins(y=0.1)
            tidy(axes)
            tidy(counts, "y")
        figure.align_ylabels()
    return figure


def abstention_figure(panels: Mapping[str, Mapping[str, Points]]) -> Figure:
    """Draw the accuracy of the most confident rows over their share: what silence would buy."""
    with conventions():
        figure, grid = _squares(len(panels), max(map(len, panels.values())))
        for axes, (title, series) in zip(grid.flat, panels.items(), strict=False):
            for place, (name, points) in enumerate(series.items()):
                said = f"{label(name)}: " * (len(series) > 1) + f"all rows {points.y[-1]:.3f}"
                _line(axes, points, place, "default", said)
            axes.set_xlim(0, 1.01)
            axes.set_ylim(top=1.01)
            axes.set_xlabel("coverage: share of rows answered")
            axes.set_ylabel("accuracy of those")
            axes.set_title(label(title, 40))
            tidy(axes)
            _legend_below(axes)
        _hide(grid, len(panels))
    return figure


# --- over a setting ------------------------------------------------------------------------------


def spread_figure(
    panels: Mapping[str, Mapping[float | str, Floats]], axis: str, value: str
) -> Figure:
    """Draw how values spread at each setting: quartiles as a box, every value, and their mean.

    `panels`: title -> setting -> values; settings that are numbers stand at their place.
    """
    with conventions():
        columns = min(len(panels), PER_LINE)
        lines = math.ceil(len(panels) / columns)
        most = max(len(groups) for groups in panels.values())
        figure = new_figure(columns * max(3.2, 0.4 * most + 1.0), 2.8 * lines)
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes, (title, groups) in zip(grid.flat, panels.items(), strict=False):
            numbers = all(isinstance(key, int | float) for key in groups)
            keys: list[Any] = sorted(groups) if numbers else list(groups)
            gaps = {round(b - a, 9) for a, b in pairwise(keys)} if numbers else {0, 1}
            places = (
                [float(k) for k in keys] if len(gaps) <= 1 else list(map(float, range(len(keys))))
            )
            step = places[1] - places[0] if len(places) > 1 else 1.0
            for place, key in zip(places, keys, strict=True):
                values = np.sort(np.asarray(groups[key], float))
                axes.boxplot(
                    [values], positions=[place], widths=0.6 * step, showfliers=False,
                    patch_artist=True, boxprops={"facecolor": "#dce9f3", "edgecolor": "#555555"},
                    medianprops={"color": "black"}, whiskerprops={"color": "#555555"},
                    capprops={"color": "#555555"},
                )  # fmt: skip
                # Points lie apart by the golden ratio: evenly, and never by chance.
                apart = (np.arange(len(values)) * 0.6180339887 % 1.0 - 0.5) * 0.4 * step
                axes.scatter(place + apart, values, s=7, color=COLOURS[0], alpha=0.7, linewidths=0,
                             zorder=3)  # fmt: skip
            means = [float(np.mean(groups[key])) for key in keys]
            joined = "--" if numbers else " "  # between names there is nothing
            axes.plot(places, means, color=COLOURS[1], marker="D", markersize=4, linewidth=1.2,
                      linestyle=joined, label="mean", zorder=4)  # fmt: skip
            texts = [label(f"{key:g}" if isinstance(key, int | float) else key) for key in keys]
            axes.set_xticks(places, texts, rotation=0 if max(map(len, texts)) < 5 else 90)
            axes.set_xlim(places[0] - 0.6 * step, places[-1] + 0.6 * step)
            axes.set_xlabel(label(axis, 40))
            axes.set_ylabel(value.replace("_", " "))
            axes.set_title(label(title, 40))
            axes.legend(frameon=False, loc="best")
            tidy(axes, "y")
        _hide(grid, len(panels))
    return figure


def spread_apart_figure(
    panels: Mapping[str, Mapping[str, Mapping[float | str, Floats]]], axis: str, value: str
) -> Figure:
    """Draw how values spread at each setting, each series by itself: every value, and their means.

    `panels`: title -> series -> setting -> values; settings that are numbers stand at their place.
    """
    with conventions():
        columns = min(len(panels), PER_LINE)
        lines = math.ceil(len(panels) / columns)
        names = list(dict.fromkeys(name for series in panels.values() for name in series))
        keys: list[Any] = list(
            dict.fromkeys(k for series in panels.values() for own in series.values() for k in own)
        )
        numbers = all(isinstance(key, int | float) for key in keys)
        keys = sorted(keys) if numbers else keys
        places = {key: float(key) if numbers else float(i) for i, key in enumerate(keys)}
        step = min((b - a for a, b in pairwise(sorted(places.values()))), default=1.0)
        figure = new_figure(columns * max(3.6, 0.5 * len(keys) + 1.0), 2.8 * lines)
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes, (title, series) in zip(grid.flat, panels.items(), strict=False):
            for number, name in enumerate(names):
                own = series.get(name, {})
                at = [key for key in keys if key in own]
                if not at:
                    continue
                # Series stand side by side, in the same order everywhere.
                beside = 0.7 * step * ((number + 0.5) / len(names) - 0.5)
                look = {"color": COLOURS[number % len(COLOURS)],
                        "marker": MARKERS[number % len(MARKERS)]}  # fmt: skip
                for key in at:
                    axes.scatter(
                        np.full(len(own[key]), places[key] + beside), own[key], s=9, alpha=0.5,
                        linewidths=0, **look,
                    )  # fmt: skip
                axes.plot(
                    [places[key] + beside for key in at], [float(np.mean(own[key])) for key in at],
                    linestyle=DASHES[number % len(DASHES)] if numbers else " ", linewidth=1.2,
                    markersize=5, markeredgecolor="black", markeredgewidth=0.5, label=label(name),
                    **look,
                )  # fmt: skip
            texts = [label(f"{key:g}" if isinstance(key, int | float) else key) for key in keys]
            long = max(map(len, texts)) >= 5
            axes.set_xticks([places[key] for key in keys], texts, rotation=90 * long)
            axes.set_xlabel(label(axis, 40))
            axes.set_ylabel(value.replace("_", " "))
            axes.set_title(label(title, 40))
            tidy(axes, "y")
        drawn: dict[str, Any] = {}
        for axes in grid.flat:
            drawn |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        # In the order of the series, of which a panel may lack some.
        shown = [label(name) for name in names]
        figure.legend([drawn[name] for name in shown], shown, frameon=False,
                      loc="outside upper center", ncols=min(len(shown), 4))  # fmt: skip
        _hide(grid, len(panels))
    return figure


def shots_figure(panels: Mapping[str, Mapping[str, Mapping[float, Value]]], axis: str) -> Figure:
    """Draw learning curves over few examples: panel -> series -> shots -> value with interval."""
    with conventions():
        columns = min(len(panels), PER_LINE)
        lines = math.ceil(len(panels) / columns)
        figure = new_figure(3.6 * columns, 3.4 * lines)
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes, (title, series) in zip(grid.flat, panels.items(), strict=False):
            shots = sorted({shot for values in series.values() for shot in values})
            wide = shots[-1] > 8 * shots[0] > 0
            for place, (name, values) in enumerate(series.items()):
                own = sorted(values)
                # Whiskers of several series would hide each other.
                apart = (place - (len(series) - 1) / 2) * 0.03
                x = np.array([s * (1 + apart) if wide else s + apart * (shots[-1] - shots[0] or 1)
                              for s in own])  # fmt: skip
                y = np.array([values[shot].value for shot in own])
                ends = [
                    [_or_zero(values[s].value - values[s].low) for s in own],
                    [_or_zero(values[s].high - values[s].value) for s in own],
                ]
                place %= len(COLOURS)
                axes.errorbar(
                    x, y, yerr=ends, color=COLOURS[place], linestyle=DASHES[place],
                    marker=MARKERS[place], markersize=4.5, linewidth=1.3, elinewidth=0.8,
                    capsize=2, label=label(name),
                )  # fmt: skip
            if wide:
                axes.set_xscale("log")
                axes.minorticks_off()
            axes.set_xticks(shots, [f"{shot:g}" for shot in shots])
            axes.set_xlabel(axis)
            axes.set_ylabel(title.rpartition(": ")[2].replace("_", " "))
            axes.set_title(label(title.rpartition(": ")[0] or title, 40))
            tidy(axes)
            if len(series) > 1:
                _legend_below(axes)
        _hide(grid, len(panels))
    return figure


# --- shared --------------------------------------------------------------------------------------


def _or_zero(value: float) -> float:
    return max(0.0, value) if math.isfinite(value) else 0.0


def _squares(panels: int, entries: int = 0) -> tuple[Figure, Any]:
    """Return a figure and its grid of square panels, with room for a legend below each."""
    columns = min(panels, PER_LINE)
    lines = math.ceil(panels / columns)
    figure = new_figure(3.9 * columns, (4.0 + 0.2 * entries + 0.1 * (entries > 0)) * lines)
    return figure, figure.subplots(lines, columns, squeeze=False)


def _hide(grid: Any, used: int) -> None:
    for axes in grid.flat[used:]:
        axes.set_visible(False)


def _legend_below(axes: Axes) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False, handlelength=3.2)

"""Learning curves as a figure: losses and metrics over the examples seen.

Source: the REG study, Figs. 5.1 to 5.9, draws training against validation over samples seen.

Conventions: a column of panels a task, the sum of all tasks first; the loss above the metrics, of
which the first that the log has of a task stands for it unless others are named. Train is dashed
and valid solid, so that the figure is read in black and white too; runs differ in colour and
marker. More runs than colours are drawn thin and grey, with their mean on top, as far as all of
them go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.report.style import (
    COLOURS,
    ENDINGS,
    GREY,
    MARKERS,
    check_ending,
    conventions,
    label,
    new_figure,
    save,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS", "ENDINGS", "LINES", "MARKERS", "Curve", "check_ending", "curves_of", "draw",
    "figure_of", "mean_curve",
]  # fmt: skip

LINES: dict[str, Any] = {"valid": "-", "train": "--", "test": ":"}
_MOST_MARKERS = 12
TOTAL = "all tasks"


@dataclass(frozen=True)
class Curve:
    """One line: whose it is, what it shows, and its points in the order of `samples`."""

    run: str
    task: str
    split: str
    metric: str
    samples: NDArray[np.float64]
    values: NDArray[np.float64]


def curves_of(rows: Mapping[str, Sequence[Any]]) -> list[Curve]:
    """Return the curves of a log, given as columns: run, task, split, metric, samples, value.

    An empty task is the sum of all. Points that are not finite are left out.
    """
    points: dict[tuple[str, str, str, str], list[tuple[float, float]]] = {}
    columns = ("run", "task", "split", "metric", "samples", "value")
    for run, task, split, metric, samples, value in zip(*(rows[c] for c in columns), strict=True):
        key = (str(run or ""), str(task or ""), str(split), str(metric))
        if np.isfinite(value):
            points.setdefault(key, []).append((float(samples), float(value)))
    curves = []
    for key, found in points.items():
        samples, values = np.array(sorted(found)).T
        curves.append(Curve(*key, samples, values))
    return curves


def draw(curves: Sequence[Curve], path: str, metrics: Sequence[str] = ()) -> None:
    """Draw curves into a .png, .svg or .pdf file: see `figure_of`; raises for another ending."""
    check_ending(path)
    save(figure_of(curves, metrics), path)


def figure_of(curves: Sequence[Curve], metrics: Sequence[str] = ()) -> Figure:
    """Return a figure of curves, a column of panels a task.

    `metrics` are drawn, or without any the loss and each task's first metric. Raises `UsageError`
    for a metric that the curves lack, and where there is nothing to draw.
    """
    if not curves:
        raise UsageError("the log has no points to draw: train with --log for an epoch or more")
    tasks = sorted({curve.task for curve in curves}, key=lambda task: _place(curves, task))
    tasks = [task for task in tasks if task or len(tasks) != 2]  # of one task it is the sum
    stacks = {task: _stack(curves, task, metrics) for task in tasks}
    stacks = {task: stack for task, stack in stacks.items() if stack}
    runs = list(dict.fromkeys(curve.run for curve in curves))
    with conventions():
        high = max(len(stack) for stack in stacks.values())
        figure = new_figure(max(4.2, 3.1 * len(stacks)), 0.6 + 2.1 * high)
        grid = figure.subplots(high, len(stacks), squeeze=False, sharex=True)
        for column, task in enumerate(stacks):
            for row in range(high):
                axes = grid[row][column]
                if row >= len(stacks[task]):
                    axes.set_visible(False)
                    continue
                _panel(axes, _of(curves, task, stacks[task][row]), runs)
                axes.set_ylabel(stacks[task][row].replace("_", " "))
                if row == 0:
                    axes.set_title(label(task) if task else TOTAL)
                if row == len(stacks[task]) - 1:
                    axes.set_xlabel("samples seen")
                    axes.tick_params(labelbottom=True)
        figure.align_ylabels()
        handles = _legend(curves, runs)
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 5),
                      frameon=False, fontsize=9)  # fmt: skip
    return figure


def _place(curves: Sequence[Curve], task: str) -> int:
    """Return where a task first stands in the log, the sum of all before any."""
    names = list(dict.fromkeys(curve.task for curve in curves))
    return -1 if not task else names.index(task)


def _stack(curves: Sequence[Curve], task: str, wanted: Sequence[str]) -> list[str]:
    """Return the metrics of a task that are drawn, from top to bottom."""
    own = list(dict.fromkeys(curve.metric for curve in curves if curve.task == task))
    known = dict.fromkeys(curve.metric for curve in curves)
    wrong = [metric for metric in wanted if metric not in known]
    if wrong:
        raise UsageError(f"--metric {wrong[0]}: the log has {', '.join(known)}")
    if wanted:
        return [metric for metric in wanted if metric in own]
    valid = dict.fromkeys(c.metric for c in curves if c.task == task and c.split != "train")
    measured = [metric for metric in own if metric != "loss" and metric in valid]
    return [metric for metric in own if metric == "loss"] + measured[:1]


def _of(curves: Sequence[Curve], task: str, metric: str) -> list[Curve]:
    return [curve for curve in curves if (curve.task, curve.metric) == (task, metric)]


def _panel(axes: Axes, curves: Sequence[Curve], runs: Sequence[str]) -> None:
    many = len(runs) > len(COLOURS)
    for curve in curves:
        place = runs.index(curve.run)
        style: dict[str, Any] = {"linestyle": LINES.get(curve.split, "-.")}
        if many:
            style |= {"color": GREY, "linewidth": 0.5}
        else:
            style |= {"color": COLOURS[place], "linewidth": 1.3}
            if len(runs) > 1:
                style |= {
                    "marker": MARKERS[place],
                    "markersize": 3.5,
                    "markevery": max(1, len(curve.samples) // _MOST_MARKERS),
                }
        if len(curve.samples) == 1:
            style |= {"marker": MARKERS[place % len(MARKERS)], "markersize": 3.5}
        axes.plot(curve.samples, curve.values, **style)
    if many:
        for split in dict.fromkeys(curve.split for curve in curves):
            samples, mean = mean_curve([curve for curve in curves if curve.split == split])
            axes.plot(samples, mean, color="black", linewidth=1.8, linestyle=LINES.get(split, "-."))
    tidy(axes)
    axes.margins(x=0.02)


def mean_curve(curves: Sequence[Curve]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of several curves, point by point, as far as all of them go.

    Beyond, a curve that ends would make a step that no curve has.
    """
    shortest = min(len(curve.samples) for curve in curves)
    samples = np.mean([curve.samples[:shortest] for curve in curves], axis=0)
    return samples, np.mean([curve.values[:shortest] for curve in curves], axis=0)


def _legend(curves: Sequence[Curve], runs: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    splits = sorted({curve.split for curve in curves})
    handles = [
        Line2D([], [], color="black", linestyle=LINES.get(split, "-."), label=split)
        for split in splits
    ]
    if len(runs) > len(COLOURS):
        handles.append(Line2D([], [], color=GREY, linewidth=0.5, label=f"{len(runs)} runs"))
        handles.append(Line2D([], [], color="black", linewidth=1.8, label="their mean"))
    elif len(runs) > 1:
        handles += [
            Line2D(
                [], [], color=COLOURS[place], marker=MARKERS[place], markersize=4, label=label(run)
            )
            for place, run in enumerate(runs)
        ]
    return handles

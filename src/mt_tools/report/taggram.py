"""Taggrams: what is heard over the time of a track, as data, and drawn into a file.

Conventions: a taggram is made of rows of segments that follow one another and have one origin. A
score at a time is the mean over the segments that hold it, as segments may overlap. The labels with
the highest means are shown, the highest first; those of an ordered scale in their order. Colours
are viridis, whose steps look equal and which is read in grey too; a white line marks where a tag is
chosen. `style` says how figures look and are written.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.report.style import COLOURS, conventions, label, new_figure, tidy
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

SHOWN = 12
"""Labels of a task in a figure."""
_CELLS = 600
"""Of more borders between segments a figure shows means over so many equal times."""
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)  # seconds
_INK = 1e-9  # seconds of a segment that are nothing but rounding


@dataclass(frozen=True)
class Course:
    """One task over the segments of a track.

    `values`: [segments, labels] scores, or [segments, 1] numbers where there are no `labels`;
    `chosen`: bool of the same shape. `ordered` labels keep their order.
    """

    name: str
    labels: Sequence[str]
    values: Floats
    chosen: NDArray[np.bool_]
    ordered: bool = False

    def best(self, count: int) -> list[int]:
        """Return the places of the `count` labels with the highest means, as they are shown."""
        if not self.labels:
            return [0]
        with np.errstate(invalid="ignore"):
            means = np.nan_to_num(self.values.mean(axis=0), nan=-np.inf)
        order = np.argsort(-means, kind="stable")[:count].tolist()
        return sorted(order) if self.ordered else order


@dataclass(frozen=True)
class Taggram:
    """What is heard in a track: where its segments begin and end, seconds, and each task."""

    name: str
    starts: Floats
    ends: Floats
    courses: Sequence[Course]

    @property
    def span(self) -> tuple[float, float]:
        """Where the first segment begins and the last one ends, seconds."""
        first, last = float(self.starts.min()), float(self.ends.max())
        return first, last if last > first else first + 1.0

    def borders(self) -> Floats:
        """Return the times [cells + 1] between which all is constant, or so many equal ones."""
        times = np.unique(np.round(np.concatenate([self.starts, self.ends]), 6))
        if 2 <= len(times) <= _CELLS + 1:
            return times
        return np.linspace(*self.span, _CELLS + 1)

    def over(self, values: NDArray[Any], borders: Floats) -> Floats:
        """Return the means [cells, k] of `values` [segments, k] between borders; NaN in gaps."""
        order = np.argsort(self.starts, kind="stable")
        starts, ends = self.starts[order], np.maximum.accumulate(self.ends[order])
        own_ends, values = self.ends[order], np.asarray(values, np.float64)[order]
        result = np.full((len(borders) - 1, values.shape[1]), np.nan)
        for cell, (left, right) in enumerate(itertools.pairwise(borders)):
            some = slice(np.searchsorted(ends, left, "right"), np.searchsorted(starts, right))
            inside = np.minimum(own_ends[some], right) - np.maximum(starts[some], left)
            inside = np.maximum(inside, 0.0)
            if inside.sum() > _INK:
                result[cell] = inside @ values[some] / inside.sum()
        return result


# --- from rows -----------------------------------------------------------------------------------


class Taggrams:
    """Makes taggrams of rows of segments as they come; holds the rows of one track."""

    def __init__(self) -> None:
        self._name = ""
        self._rows: list[Batch] = []

    def add(self, batch: Batch) -> Iterator[Taggram]:
        """Take rows; yield the tracks that are whole now."""
        origins = batch.origins
        first = 0
        for row in range(1, len(batch) + 1):
            if row < len(batch) and origins[row] == origins[first]:
                continue
            if self._rows and origins[first] != self._name:
                yield from self.rest()
            self._name = origins[first]
            self._rows.append(_light(batch.take(range(first, row))))
            first = row

    def rest(self) -> Iterator[Taggram]:
        """Yield the last track."""
        if self._rows:
            yield _taggram(self._name, self._rows)
            self._rows = []


def predicted_tasks(columns: dict[str, Column]) -> list[str]:
    """Return the names of the tasks that have predictions among the columns."""
    return [
        name.removesuffix("_pred")
        for name, column in columns.items()
        if name.endswith("_pred") and column.role == "prediction"
    ]


def _light(batch: Batch) -> Batch:
    """Return rows without what a taggram does not show, such as whole audio files."""
    wanted = {"id", "start", "duration", "length"}
    wanted |= {name + end for name in predicted_tasks(batch.columns) for end in ("_pred", "_score")}
    return batch.without([name for name in batch.names if name not in wanted])


def _taggram(name: str, batches: Sequence[Batch]) -> Taggram:
    columns = batches[0].columns
    starts, durations, lengths = (
        np.array(
            [math.nan if v is None else float(v) for batch in batches for v in batch.get(column)]
        )
        for column in ("start", "duration", "length")
    )
    starts = np.nan_to_num(starts)
    # Where nothing says how long the last one is: to the end of the track, or as long as another.
    usual = float(np.median(np.diff(starts))) if len(starts) > 1 else 1.0
    ends = starts + durations
    ends = np.where(np.isnan(ends) & (lengths > starts), lengths, ends)
    ends = np.where(np.isnan(ends), starts + (usual if usual > 0 else 1.0), ends)
    courses = [_course(task, columns, batches) for task in predicted_tasks(columns)]
    return Taggram(name, starts, ends, [course for course in courses if course is not None])


def _course(task: str, columns: dict[str, Column], batches: Sequence[Batch]) -> Course | None:
    """Return a task over time; None where only its words are there, without scores."""
    pred, score = columns[f"{task}_pred"], columns.get(f"{task}_score")
    said = [value for batch in batches for value in batch[pred.name]]
    if pred.kind in ("number", "integer"):
        values = np.array(said, np.float64)[:, None]
        return Course(task, [], values, np.isfinite(values))
    if score is None or "vocabulary" not in score.settings:
        return None
    words = score.settings["vocabulary"]
    named = [set(one) if isinstance(one, list) else {one} for one in said]
    return Course(
        task,
        words,
        np.concatenate([batch[score.name] for batch in batches]).astype(np.float64),
        np.array([[word in one for word in words] for one in named], bool).reshape(-1, len(words)),
        ordered=pred.settings.get("kind") == "ordinal",
    )


# --- time ----------------------------------------------------------------------------------------


def clock(seconds: float) -> str:
    """Return a time as `3:07`, or from an hour on as `1:03:07`."""
    whole = math.floor(seconds + 0.5)
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{second:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def ticks(first: float, last: float, most: int) -> list[float]:
    """Return at most `most` round times between two, at least one."""
    step = next((s for s in _STEPS if (last - first) / s <= most - 1), math.ceil(last - first) or 1)
    found = [step * n for n in range(math.ceil(first / step), math.floor(last / step) + 1)]
    return [float(time) for time in found] or [first]


# --- to figures ----------------------------------------------------------------------------------


def taggram_figure(taggram: Taggram, shown: int = SHOWN) -> Figure:
    """Draw a taggram: a line a label and time from left to right; numbers as curves.

    `shown` labels of each task are drawn.
    """
    picks = [course.best(shown) for course in taggram.courses]
    heights = [
        0.2 * len(pick) + 0.35 if course.labels else 1.2
        for course, pick in zip(taggram.courses, picks, strict=True)
    ]
    longest = max(
        (len(label(c.labels[i])) for c, pick in zip(taggram.courses, picks, strict=True)
         if c.labels for i in pick),
        default=4,
    )  # fmt: skip
    top = _top(taggram, picks)
    borders = taggram.borders()
    with conventions():
        figure = new_figure(7.6 + 0.065 * longest, sum(heights) + 0.75)
        grid = figure.subplots(
            len(heights), 1, squeeze=False, sharex=True, height_ratios=heights
        )[:, 0]  # fmt: skip
        drawn: list[Axes] = []
        image: Any = None
        for axes, course, pick in zip(grid, taggram.courses, picks, strict=True):
            if course.labels:
                image = _scores(axes, taggram, course, pick, borders, top)
                drawn.append(axes)
            else:
                _numbers(axes, taggram, course, borders)
            axes.set_title(label(course.name, 40), loc="left")
        times = ticks(*taggram.span, 11)
        grid[-1].set_xticks(times, [clock(time) for time in times])
        grid[-1].set_xlim(*taggram.span)
        unit = "min:s" if times[-1] < 3600 else "h:min:s"
        note = (
            "; white line: chosen"
            if any(c.labels and c.chosen.any() for c in taggram.courses)
            else ""
        )
        grid[-1].set_xlabel(f"time ({unit}){note}")
        if drawn:
            bar = figure.colorbar(
                image, ax=drawn, pad=0.015, aspect=max(8, 9 * sum(heights)), fraction=0.05
            )
            bar.set_label("score")
            bar.outline.set_visible(False)
        figure.suptitle(label(taggram.name, 80), fontsize=10)
    return figure


def _top(taggram: Taggram, picks: Sequence[Sequence[int]]) -> float:
    """Return where the colours end, one scale for all tasks: 0.25, 0.5 or 1."""
    largest = max(
        (float(np.nanmax(course.values[:, pick], initial=0.0))
         for course, pick in zip(taggram.courses, picks, strict=True) if course.labels),
        default=1.0,
    )  # fmt: skip
    return next(end for end in (0.25, 0.5, math.inf) if largest <= end) if largest <= 0.5 else 1.0


def _scores(
    axes: Axes, taggram: Taggram, course: Course, pick: Sequence[int], borders: Floats, top: float
) -> Any:
    values = taggram.over(course.values[:, pick], borders).T
    chosen = taggram.over(course.chosen[:, pick], borders).T
    image = axes.pcolormesh(
        borders, np.arange(len(pick) + 1) - 0.5, np.ma.masked_invalid(values), cmap="viridis",
        vmin=0.0, vmax=top, rasterized=True,
    )  # fmt: skip
    from matplotlib.patheffects import withStroke

    for row, line in enumerate(chosen):
        for first, last in _runs(line >= 0.5):
            axes.plot(
                [borders[first], borders[last]], [row + 0.3] * 2, color="white", linewidth=1.4,
                solid_capstyle="butt", path_effects=[withStroke(linewidth=2.6, foreground="black")],
            )  # fmt: skip
    axes.set_ylim(len(pick) - 0.5, -0.5)
    axes.set_yticks(range(len(pick)), [label(course.labels[place]) for place in pick], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_facecolor("#eeeeee")
    axes.spines[:].set_visible(False)
    return image


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the runs of True as (first, behind the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _numbers(axes: Axes, taggram: Taggram, course: Course, borders: Floats) -> None:
    values = taggram.over(course.values, borders)[:, 0]
    axes.stairs(values, borders, baseline=None, color=COLOURS[0], linewidth=1.4)
    axes.margins(y=0.15)
    tidy(axes)

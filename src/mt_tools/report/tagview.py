"""Tags on a terminal: bars for a track, and a taggram of block characters for its segments.

Conventions: what is chosen has a dot, as colours may be switched off; a line through a bar is the
threshold. Everything is measured in cells of the terminal, of which a Chinese character takes two.
A line is as wide as the terminal at most; names that are too long are cut in the middle.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from mt_tools.report.taggram import Course, Taggram, Taggrams, clock, predicted_tasks, ticks
from mt_tools.report.terminal import ToStdout, bar, cell, clean, number
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

_SCALE = 7
"""Steps of an ordered scale that are all shown."""
_BAR_SHARE = 0.3
_FEWEST = 8  # cells of a bar that still says something
_LEVELS = " ▁▂▃▄▅▆▇█"
_TICK = "│"


def cut(text: str, cells: int) -> str:
    """Return text of so many cells, control characters escaped: filled up, or cut in the middle."""
    shown = clean(text)
    if cell_len(shown) > cells:
        tail = max(0, (cells - 1) // 3)
        end = ""
        for character in reversed(shown):
            if cell_len(character + end) > tail:
                break
            end = character + end
        shown = set_cell_size(shown, max(0, cells - 1 - cell_len(end))) + "…"[:cells] + end
    return set_cell_size(shown, cells)


def ticked(line: str, width: int, threshold: float | None) -> str:
    """Return a bar of `width` cells with a line where a threshold from 0 to 1 lies."""
    line = f"{line:<{width}}"
    if threshold is None or not 0.0 <= threshold <= 1.0:
        return line
    place = min(width - 1, int(threshold * width))
    return line[:place] + _TICK + line[place + 1 :]


@dataclass(frozen=True)
class _Widths:
    """Cells of the columns: the task, the label and the bar; a bar of 0 is left out.

    So many cells are `free` behind the score.
    """

    task: int
    label: int
    bar: int
    free: int

    @classmethod
    def of(cls, columns: dict[str, Column], width: int, whole: bool) -> _Widths:
        """Divide a line: the bar gets a third, or with `whole` all that is left."""
        tasks = predicted_tasks(columns)
        names = [
            word
            for task in tasks
            if f"{task}_score" in columns
            for word in columns[f"{task}_score"].settings.get("vocabulary", [])
        ]
        task = min(max(map(_cells, tasks), default=0), max(6, width // 4))
        left = width - task - 14  # margins of 2, the dot and its blank, the score
        label = max(map(_cells, names), default=4)
        label = max(4, min(label, left - _FEWEST, max(12, width // (5 if whole else 3))))
        room = left - label if whole else min(left - label, round(_BAR_SHARE * width))
        room = room if room >= _FEWEST else 0
        return cls(task, label, room, max(0, left - label - room))


def _cells(text: str) -> int:
    return cell_len(clean(text))


class TagView:
    """Shows each track with bars for what models hear in it, as the tracks come.

    `top` labels of a task are shown, and all that are chosen. With `segments` the rows are those of
    segments, and each track is shown as a taggram once it is whole.
    """

    def __init__(self, top: int, *, segments: bool = False) -> None:
        self._console = ToStdout()
        self._top = top
        self._taggrams = Taggrams() if segments else None
        self._columns: dict[str, Column] = {}

    def write(self, batch: Batch) -> None:
        """Print some tracks."""
        self._columns = batch.columns
        if self._taggrams is not None:
            for taggram in self._taggrams.add(batch):
                self._draw(taggram)
            return
        widths = _Widths.of(self._columns, self._console.width, whole=False)
        tasks = [_Task(name, batch) for name in predicted_tasks(self._columns)]
        for row, id_ in enumerate(batch.ids):
            self._print(Text(clean(id_), style="bold"))
            for task in tasks:
                self._lines(task.name, task.lines(row, widths, self._top), widths)
            self._print(Text())

    def finish(self, rows: int, failed: int) -> None:
        """Print the last taggram."""
        if self._taggrams is not None:
            for taggram in self._taggrams.rest():
                self._draw(taggram)

    def abort(self) -> None:
        """Print nothing more."""

    def _print(self, line: Text) -> None:
        self._console.print(line, overflow="fold")

    def _lines(self, name: str, lines: Sequence[Text], widths: _Widths) -> None:
        """Print the lines of a task, with its name before the first."""
        for place, line in enumerate(lines):
            task = cut("" if place else name, widths.task)
            self._print(Text(f"  {task}  ", style="cyan") + line)

    def _draw(self, taggram: Taggram) -> None:
        widths = _Widths.of(self._columns, self._console.width, whole=True)
        first, last = taggram.span
        count = len(taggram.starts)
        about = f"  {count} segment{'s' * (count > 1)}, {clock(first)} to {clock(last)}"
        self._print(Text(clean(taggram.name), style="bold") + Text(about, style="dim"))
        if widths.bar:
            borders = np.linspace(first, last, widths.bar + 1)
            self._lines("", [_axis(first, last, widths)], widths)
            for course in taggram.courses:
                self._lines(course.name, _rows(taggram, course, borders, widths, self._top), widths)
        self._print(Text())


# --- bars ----------------------------------------------------------------------------------------


class _Task:
    """The predictions of one task in a batch, and how they are shown."""

    def __init__(self, name: str, batch: Batch) -> None:
        self.name = name
        self.column = batch.columns[f"{name}_pred"]
        self.chosen = batch[self.column.name]
        scores = batch.columns.get(f"{name}_score")
        self.words: list[str] = [] if scores is None else scores.settings.get("vocabulary", [])
        self.scores = batch[scores.name] if scores is not None and self.words else None
        self.said: dict[str, Any] = {} if scores is None else scores.settings

    def lines(self, row: int, widths: _Widths, top: int) -> list[Text]:
        """Return the lines of a row."""
        chosen = self.chosen[row]
        if self.scores is None:
            if self.column.kind == "number":
                return [self._number(float(chosen), widths)]
            return [Text(cell(self.column, chosen))]
        values = self.scores[row]
        named = chosen if isinstance(chosen, list) else [chosen]
        lines = []
        if chosen is None:
            level = self.said.get("abstain")
            below = "" if level is None or level > 1 else f", none reaches {number(level)}"
            fits = len(below) <= widths.label + widths.bar - 2
            lines = [Text(f"– left open{below if fits else ''}", style="yellow")]
        for place in self._shown(values, named, top):
            word, value = self.words[place], float(values[place])
            style = "green" if word in named else "dim"
            mark = "•" if word in named else " "  # colours may be switched off
            drawn = ""
            if widths.bar:
                line = bar(value if value == value else 0.0, widths.bar)
                drawn = ticked(line, widths.bar, self._threshold(place)) + " "
            score = "    –" if value != value else f"{value:5.3f}"
            lines.append(Text(f"{mark} {cut(word, widths.label)}  {drawn}{score}", style=style))
        return lines or [Text("–")]

    def _shown(self, values: np.ndarray, named: Sequence[str | None], top: int) -> list[int]:
        """Return the places of the labels that are shown: the best, and all that are chosen."""
        order = np.argsort(-values, kind="stable").tolist()
        if self.column.settings.get("kind") == "ordinal":
            return sorted(order[: max(top, _SCALE)])
        return [p for n, p in enumerate(order) if n < top or self.words[p] in named]

    def _threshold(self, place: int) -> float | None:
        levels = self.said.get("thresholds")
        return self.said.get("abstain") if levels is None else levels[place]

    def _number(self, value: float, widths: _Widths) -> Text:
        """Return a number, and where it lies among those that the model was trained on."""
        text, ends = number(value), self.column.settings.get("range")
        if ends is None or not widths.bar or value != value:
            return Text(text)
        low, high = ends
        share = (value - low) / (high - low)
        place = min(widths.bar - 1, max(0, int(share * widths.bar)))
        sign = "◂" if share < 0 else "▸" if share > 1 else "●"
        line = "·" * place + sign + "·" * (widths.bar - 1 - place)
        said = f" {number(low)}–{number(high)}"
        room = widths.free + 6  # where scores stand
        said = said if len(said) <= room else ""
        return Text(f"  {cut(text, widths.label)}  {line}") + Text(said, style="dim")


# --- taggrams ------------------------------------------------------------------------------------


def _axis(first: float, last: float, widths: _Widths) -> Text:
    """Return the times above a taggram."""
    line = ""
    most = max(2, widths.bar // 9)
    for time in ticks(first, last, most):
        place = round((time - first) / (last - first) * widths.bar)
        text = clock(time)
        if place >= len(line) + bool(line) and place + len(text) <= widths.bar + 6:
            line = f"{line:<{place}}{text}"
    return Text(" " * (widths.label + 4) + line, style="dim")


def _rows(
    taggram: Taggram, course: Course, borders: np.ndarray, widths: _Widths, top: int
) -> list[Text]:
    """Return a line a label: its score over time as heights, green where it is chosen."""
    best = course.best(max(top, _SCALE) if course.ordered else top)
    values = taggram.over(course.values[:, best], borders)
    if not course.labels:
        return [_curve(values[:, 0], widths)]
    chosen = taggram.over(course.chosen[:, best], borders) >= 0.5
    lines = []
    for column, place in enumerate(best):
        mark = "•" if course.chosen[:, place].any() else " "
        line = Text(f"{mark} {cut(course.labels[place], widths.label)}  ")
        cells = zip(values[:, column], chosen[:, column], strict=True)
        for here, run in itertools.groupby(cells, key=lambda cell: bool(cell[1])):
            heights = "".join(_height(value) for value, _ in run)
            line.append(heights, style="green" if here else "dim")
        mean = float(np.nanmean(course.values[:, place]))
        lines.append(line.append(f" {mean:5.3f}", style="dim"))
    return lines


def _height(share: float) -> str:
    """Return a block as high as a share; blank where nothing is known."""
    return " " if math.isnan(share) else _LEVELS[round(max(0.0, min(1.0, share)) * 8)]


def _curve(values: np.ndarray, widths: _Widths) -> Text:
    """Return numbers over time as heights between the smallest and the largest."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Text("–")
    low, high = float(known.min()), float(known.max())
    span = f"{number(low)}–{number(high)}" if high > low else number(low)
    line = Text(f"  {cut(span, widths.label)}  ")
    for value in values:
        # The lowest is a block too: blank is where nothing is known.
        share = 0.5 if high == low else 0.125 + 0.875 * (value - low) / (high - low)
        line.append(_height(share))
    return line

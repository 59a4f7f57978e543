"""Mean ranks of runs over tasks, as the critical-difference diagram of Demšar (2006, Fig. 1).

Conventions: rank 1, the best, stands on the left. A run hangs from its mean rank, the better half
on the left of the picture, the other on the right. The length above the axis is the critical
difference; a bar joins runs whose ranks differ by less, which are not told apart. Everything is
black: position and text alone say what is what.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mt_tools.report.style import check_ending, conventions, label, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEVEL = 0.24  # inches from one run, or one bar, to the next
_BAR = 0.11
_SIDE = 2.2  # inches for the names on each side
_AXIS = 3.6
_TICKS = 12
_INK = "black"


def draw(
    path: str,
    runs: Sequence[str],
    ranks: Sequence[float],
    distance: float,
    cliques: Sequence[tuple[int, int]],
    about: str,
) -> None:
    """Draw the diagram into a .png, .svg or .pdf file; arguments as for `figure_of`."""
    check_ending(path)
    save(figure_of(runs, ranks, distance, cliques, about), path)


def figure_of(
    runs: Sequence[str],
    ranks: Sequence[float],
    distance: float,
    cliques: Sequence[tuple[int, int]],
    about: str,
) -> Figure:
    """Return the diagram of `runs` in the order of their mean `ranks`.

    `distance` is the critical difference, `cliques` (first, last) places of runs that are not told
    apart, `about` the line above it all.
    """
    count = len(runs)
    left = (count + 1) // 2  # the better half
    # All lengths are in inches, so that text has room whatever the number of runs.
    unit = _AXIS / (count - 1)
    above, under = 0.62, 0.14 + _BAR * len(cliques) + 0.12
    width = _AXIS + 2 * _SIDE
    height = above + 0.3 + under + _LEVEL * left
    with conventions():
        figure = new_figure(width, height)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        axis = above + 0.3

        def place(rank: float) -> float:
            return _SIDE + (rank - 1) * unit

        axes.text(width / 2, 0.16, about and label(about, 90), ha="center", va="center", fontsize=9)
        # The critical difference may be longer than the axis: then no two runs are told apart.
        end = min(place(1 + distance), width - 0.1)
        axes.plot([place(1), end], [above - 0.1] * 2, color=_INK, linewidth=1.2)
        for x in (place(1), end):
            axes.plot([x, x], [above - 0.14, above - 0.06], color=_INK, linewidth=1.2)
        said = f"critical difference {distance:.2f}"
        axes.text(place(1), above - 0.19, said, ha="left", va="center", fontsize=8)

        axes.plot([place(1), place(count)], [axis, axis], color=_INK, linewidth=1)
        every = math.ceil((count - 1) / _TICKS)
        for tick in range(1, count + 1, every):
            x = place(tick)
            axes.plot([x, x], [axis - 0.08, axis], color=_INK, linewidth=0.8)
            axes.text(x, axis - 0.12, str(tick), ha="center", va="bottom", fontsize=8)

        for number, (run, rank) in enumerate(zip(runs, ranks, strict=True)):
            better = number < left
            level = number if better else count - 1 - number
            y = axis + under + _LEVEL * level
            side = _SIDE - 0.12 if better else width - _SIDE + 0.12
            axes.plot([place(rank), place(rank), side], [axis, y, y], color=_INK, linewidth=0.8)
            text = f"{label(run, 20)}  {rank:.2f}" if better else f"{rank:.2f}  {label(run, 20)}"
            axes.text(side + (-0.06 if better else 0.06), y, text, va="center",
                      ha="right" if better else "left", fontsize=9)  # fmt: skip
        for number, (first, last) in enumerate(cliques):
            y = axis + 0.12 + _BAR * number
            ends = place(ranks[first]) - 0.05, place(ranks[last]) + 0.05
            axes.plot(ends, [y, y], color=_INK, linewidth=3.2, solid_capstyle="butt")
    return figure


def caption(tasks: int, p: float) -> str:
    """Return the line above a diagram: of how many tasks, and whether any run differs at all."""
    said = "p < 0.001" if p < 0.001 else f"p = {math.floor(p * 1000 + 0.5) / 1000:g}"
    return f"mean rank over {tasks} tasks (Friedman {said}; bars: Nemenyi, 0.05)"

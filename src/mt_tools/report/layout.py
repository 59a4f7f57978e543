"""Where the parts of a figure stand, settled to the same place each time.

matplotlib's solver of layouts orders its constraints by their addresses in memory, so that equal
figures differ in the last bits, and the names of clip paths in an .svg, which are hashes of
positions, by all of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

_DIGITS = 6  # of shares of the figure: a thousandth of a pixel


def settle(figure: Figure) -> None:
    """Lay a finished figure out, once, and round the places of its parts."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    parts: list[Figure | SubFigure] = [figure, *figure.subfigs]
    for inner in figure.subfigs:
        inner.bbox_relative.set_points(np.round(inner.bbox_relative.get_points(), _DIGITS))
    for part in parts:
        for text in part.texts:
            x, y = text.get_position()
            text.set_position((round(x, _DIGITS), round(y, _DIGITS)))
    for axes in figure.axes:
        x, y, width, height = axes.get_position(original=True).bounds
        axes.set_position(
            (round(x, _DIGITS), round(y, _DIGITS), round(width, _DIGITS), round(height, _DIGITS))
        )

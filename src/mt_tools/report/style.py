"""How every figure looks and is written: one page of conventions.

Conventions: what differs in colour differs in marker, dashes or hatching too, so that a figure is
read in black and white and by the colour-blind; the colours are Okabe and Ito's. Text is drawn as
it is: no mathematics between dollar signs, control characters escaped, long names cut. Equal data
give equal files: nothing in them depends on the clock or on chance.
"""

from __future__ import annotations

import contextlib
import io
import os
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from mt_tools.errors import UsageError
from mt_tools.report.layout import settle
from mt_tools.report.terminal import clean
from mt_tools.tables.atomic import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".pdf")
# https://jfly.uni-koeln.de/color/ without yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = (
    "-", "--", "-.", ":", (0, (6, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 2))
)  # fmt: skip
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "+++")
GREY = "#999999"
GRID = "#dddddd"
LONGEST = 28
"""Characters of a name in a figure."""

_SETTINGS: Any = {
    "svg.hashsalt": "mt-tools",
    "svg.fonttype": "none",
    "font.size": 9,
    "text.parse_math": False,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
}
_DPI = 150


@contextlib.contextmanager
def conventions() -> Iterator[None]:
    """Make and write figures as this page says; other users of matplotlib are left alone."""
    import matplotlib

    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # Of a name in a script that matplotlib's font lacks; an .svg holds the text itself.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def check_ending(path: str, known: Sequence[str] = ENDINGS, option: str = "-o") -> str:
    """Return the ending of a file, which says what it is; raises `UsageError` for another."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in known:
        raise UsageError(
            f"{option} {path}: got the ending {ending!r}, expected one of {' '.join(known)}"
        )
    return ending


def save(figure: Figure, path: str) -> None:
    """Write a figure into a .png, .svg or .pdf file, which appears whole or not at all."""
    ending = check_ending(path)
    with conventions(), atomic(path) as file:
        settle(figure)
        figure.savefig(file, format=ending[1:], dpi=_DPI, metadata=_undated(ending))


def as_svg(figure: Figure) -> bytes:
    """Return a figure as the bytes of an .svg file."""
    with conventions(), io.BytesIO() as file:
        settle(figure)
        figure.savefig(file, format="svg", dpi=_DPI, metadata=_undated(".svg"))
        return file.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches, whose parts make room for each other."""
    from matplotlib.figure import Figure

    # Laid out as it is saved: letters are hinted, and not equally wide at every resolution.
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def tidy(axes: Axes, grid: Literal["x", "y", "both"] = "both") -> None:
    """Draw a faint grid along `grid` and no frame where nothing is measured."""
    axes.grid(True, axis=grid, color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def footnote(figure: Figure, lines: Sequence[str]) -> None:
    """Write what must not be overlooked below a figure."""
    if not lines:
        return
    wide = max(30, int(figure.get_figwidth() * 14))
    text = "\n".join(part for line in lines for part in textwrap.wrap(clean(line), wide))
    with conventions():
        figure.supxlabel(text, fontsize=7, color="#8a2c00", x=0.01, ha="left")


def label(text: object, longest: int = LONGEST) -> str:
    """Return a name as a figure shows it: control characters escaped, too long a name cut.

    The cut is in the middle, since long names often differ at their ends. A name of nothing but
    spaces is quoted, as it would not be seen.
    """
    shown = clean(str(text))
    if not shown.strip():
        return f'"{shown}"'
    if len(shown) <= longest:
        return shown
    tail = longest // 3
    return f"{shown[: longest - 1 - tail].rstrip()}…{shown[-tail:].lstrip()}"


def _undated(ending: str) -> dict[str, Any]:
    """Return what keeps the clock out of the file."""
    return {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[ending]

"""The critical-difference diagram: what stands where, and that it is the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from mt_tools.errors import UsageError
from mt_tools.report import ranks

RUNS = ["crnn", "vggish", "mfcc", "random"]
RANKS = [1.25, 2.0, 2.75, 4.0]


def figure() -> Figure:
    """Return a diagram of four runs, of which the first three and the last two are joined."""
    return ranks.figure_of(RUNS, RANKS, 1.6, [(0, 2), (2, 3)], "mean rank over 8 tasks")


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_equal_ranks_give_equal_files(tmp_path: Path, ending: str) -> None:
    """A picture in a repository would change every time that it is made."""
    for name in ("a", "b"):
        ranks.draw(str(tmp_path / (name + ending)), RUNS, RANKS, 1.6, [(0, 2)], "about")
    one, two = ((tmp_path / (name + ending)).read_bytes() for name in ("a", "b"))
    assert one == two
    with pytest.raises(UsageError, match=r"expected one of"):
        ranks.draw(str(tmp_path / "a.gif"), RUNS, RANKS, 1.6, [], "about")


def test_bars_join_what_is_not_told_apart() -> None:
    """A bar would cover a run that differs, or be longer than the critical difference."""
    (axes,) = figure().axes
    unit = np.diff([text.get_position()[0] for text in axes.texts if text.get_text() in ("1", "2")])
    bars = [line for line in axes.lines if line.get_linewidth() > 2]
    places = {text.get_text(): text.get_position()[0] for text in axes.texts}
    for bar, (first, last) in zip(bars, [(0, 2), (2, 3)], strict=True):
        left, right = bar.get_xdata()
        middle = (RANKS[first] + RANKS[last]) / 2
        assert (left + right) / 2 == pytest.approx(places["1"] + (middle - 1) * unit[0])
        assert right - left == pytest.approx((RANKS[last] - RANKS[first]) * unit[0], abs=0.15)
    measure = next(line for line in axes.lines if np.ptp(line.get_ydata()) == 0)
    assert np.ptp(measure.get_xdata()) == pytest.approx(1.6 * unit[0])


def test_runs_are_named_inside_the_picture() -> None:
    """Names would be cut off at the edge, lie on each other, or stand at another run's rank."""
    long = [f"{name} with a long description of it" for name in RUNS]
    drawn = ranks.figure_of(long, RANKS, 1.6, [(0, 3)], "about")
    drawn.canvas.draw()
    (axes,) = drawn.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    width, height = drawn.canvas.get_width_height()
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
    words = [text.get_text() for text in figure().axes[0].texts]
    assert {"crnn  1.25", "vggish  2.00", "2.75  mfcc", "4.00  random"} < set(words)


def test_it_is_black_on_white() -> None:
    """On a black and white printer a bar or a run would be lost."""
    (axes,) = figure().axes
    assert {line.get_color() for line in axes.lines} == {"black"}


def test_many_runs_have_room() -> None:
    """The numbers of the axis would run into each other."""
    names = [f"run {i}" for i in range(40)]
    drawn = ranks.figure_of(names, np.linspace(1, 40, 40).tolist(), 9.0, [(0, 39)], "about")
    drawn.canvas.draw()
    boxes = [text.get_window_extent() for text in drawn.axes[0].texts]
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])


def test_the_caption_says_whether_any_run_differs() -> None:
    """Bars would be read although the runs as a whole do not differ."""
    assert (
        ranks.caption(8, 0.0412)
        == "mean rank over 8 tasks (Friedman p = 0.041; bars: Nemenyi, 0.05)"
    )
    assert "p < 0.001" in ranks.caption(8, 1e-9)

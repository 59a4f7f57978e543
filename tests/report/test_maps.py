"""Embedding maps as pictures: what is drawn, and that it can be told apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.features.maps import Region
from mt_tools.report.maps import apart, draw_map, map_figure
from mt_tools.report.style import COLOURS, ENDINGS

POINTS = np.random.default_rng(0).normal(size=(60, 2))


def objects(values: list[Any]) -> np.ndarray:
    """Return a column as the wire gives it."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def svg(tmp_path: Path, **options: Any) -> str:
    """Return a map as SVG."""
    draw_map(POINTS, str(tmp_path / "m.svg"), **options)
    return (tmp_path / "m.svg").read_text()


def marks(**options: Any) -> dict[str, tuple[str, str, int]]:
    """Return colour, outline and points by the text of the legend."""
    figure = map_figure(POINTS, **options)
    (legend,) = figure.legends
    found = {}
    # The figure lists what lies below first; the legend names it last.
    below = [c for c in figure.axes[0].collections if len(c.get_offsets())]
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        face = handle.get_facecolor()
        (mine,) = [
            c for c in below
            if np.array_equal(c.get_facecolor(), face)
            and np.array_equal(c.get_edgecolor(), handle.get_edgecolor())
            and np.array_equal(c.get_paths()[0].vertices, handle.get_paths()[0].vertices)
        ]  # fmt: skip
        shape = str(mine.get_paths()[0].vertices.tolist())
        style = f"{face.tolist()} {handle.get_edgecolor().tolist()}"
        found[text.get_text()] = (shape, style, len(mine.get_offsets()))
    return found


@pytest.mark.parametrize("ending", ENDINGS)
def test_equal_maps_give_equal_files(tmp_path: Path, ending: str) -> None:
    """A picture in a repository would change every time that it is made."""
    for name in ("a", "b"):
        draw_map(
            POINTS,
            str(tmp_path / (name + ending)),
            values=objects([f"c{i % 5}" for i in range(60)]),
            name="style",
            regions=[Region(0, 0, 30, ("jazz",), (2.0,)), Region(0, 0.1, 30, ("folk",), (2.0,))],
        )
    one, two = ((tmp_path / (name + ending)).read_bytes() for name in ("a", "b"))
    assert one == two
    assert one.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[ending])


def test_classes_differ_without_colour() -> None:
    """On a black and white printer nobody could tell jazz from metal."""
    names = [f"c{i % 12}" for i in range(60)]
    found = marks(values=objects(names), name="style")
    assert len(found) == 12
    outlines = {(shape, style.split("] ")[0] == "[[1.0, 1.0, 1.0, 1.0]")
                for shape, style, _ in found.values()}  # fmt: skip
    assert len(outlines) == 12  # seven markers, filled and hollow
    assert {count for _, _, count in found.values()} == {5}


def test_rare_classes_are_one() -> None:
    """A legend of fifty genres would hide the map."""
    names = [f"c{i % 12}" for i in range(48)] + [f"rare {i}" for i in range(10)] + [None, None]
    found = marks(values=objects(names), name="style")
    # Fourteen have a mark of their own, the twelve frequent ones and two of the rare.
    assert len(found) == 14 + 2
    assert found["8 others (8)"][2] == 8
    assert found["unlabelled (2)"][2] == 2


def test_tags_are_drawn_by_the_first_or_a_chosen_one() -> None:
    """A track of several tags would be drawn as none, or a chosen tag not be seen."""
    column = objects(
        [["jazz", "slow"] if i < 20 else ["slow"] if i < 50 else [] for i in range(60)]
    )
    by_first = {text: n for text, (_, _, n) in marks(values=column, name="tags").items()}
    assert by_first == {"slow (30)": 30, "jazz (20)": 20, "(none) (10)": 10}
    by_tag = {text: n for text, (_, _, n) in marks(values=column, name="tags", tag="slow").items()}
    assert by_tag == {"slow (50)": 50, "not slow (10)": 10}


def test_numbers_are_shades_with_a_scale(tmp_path: Path) -> None:
    """A map of tempo could not be read: which colour is fast?"""
    values = np.linspace(60, 180, 60)
    values[:3] = np.nan
    figure = map_figure(POINTS, values=values, name="tempo")
    axes, bar = figure.axes
    crosses, shades = axes.collections
    assert len(crosses.get_offsets()) == 3
    np.testing.assert_allclose(shades.get_array(), values[3:])
    assert shades.get_cmap().name == "cividis"
    assert "tempo" in bar.get_ylabel()
    # Printed in grey, more is always lighter.
    grey = shades.get_cmap()(np.linspace(0, 1, 64))[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(grey) > 0).all()


def test_terms_are_written_and_do_not_meet(tmp_path: Path) -> None:
    """Two terms on top of each other are none."""
    here = [Region(0.0, 0.01 * i, 10, (f"term {i}", "x" * 60), (2.0, 1.5)) for i in range(4)]
    figure = map_figure(POINTS, regions=[*here, Region(1, 1, 5, (), ())])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 4
    for place, box in enumerate(boxes):
        for other in boxes[:place]:
            assert box.y0 >= other.y1 or other.y0 >= box.y1
    text = svg(tmp_path, regions=here)
    assert "term 3" in text
    assert "x" * 60 not in text  # cut, as every long name


def test_terms_at_the_edge_stay_in_the_map() -> None:
    """The name of a region at the border would be cut, in the figure and in the file."""
    x, y = POINTS.T
    ends = [
        Region(float(x[i]), float(y[i]), 5, ("x" * 25,), (2.0,)) for i in (x.argmin(), x.argmax())
    ]
    for regions in (ends, ends[:1]):
        figure = map_figure(POINTS, regions=regions)
        figure.draw_without_rendering()
        frame = figure.axes[0].get_window_extent()
        assert len(figure.axes[0].texts) == len(regions)
        for text in figure.axes[0].texts:
            box = text.get_window_extent()
            assert frame.x0 <= box.x0
            assert box.x1 <= frame.x1


def test_facets_of_a_region_share_a_box(tmp_path: Path) -> None:
    """What tags and lyrics say of one place would be drawn apart, or nobody know which is which.

    A line a source, its name in front: colours would be lost in print.
    """
    here = [
        Region(x, y, 20, terms, (2.0,) * len(terms), source)
        for x, y in ((0.0, 0.0), (0.02, 0.0), (1.0, 0.5))
        for source, terms in (
            ("tags", ("indie", "british")),
            ("lyrics", ()),
            ("library", ("rock / electric guitar", "rock / slow", "folk / acoustic")),
        )
    ]
    figure = map_figure(POINTS, regions=here)
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    lines = "tags: indie, british", "library: rock / electric guitar, rock / slow"
    assert [text.get_text() for text in texts] == ["\n".join(lines)] * 3  # no third term half cut
    boxes = [text.get_window_extent() for text in texts]
    frame = figure.axes[0].get_window_extent()
    for place, box in enumerate(boxes):
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        for other in boxes[:place]:
            apart_ = box.y0 >= other.y1 or other.y0 >= box.y1
            assert apart_ or box.x0 >= other.x1 or other.x0 >= box.x1
    alone = map_figure(POINTS, regions=[Region(0, 0, 20, ("indie", "british"), (2.0, 2.0))])
    assert alone.axes[0].texts[0].get_text() == "indie\nbritish"


def test_many_facets_stand_below_the_map() -> None:
    """Boxes of seven lines would hide the points, and the lowest be cut off by the frame."""
    terms = ("ambient / synth lead", "rock / slow", "folk")
    here = [
        Region(float(x), float(y), 7, terms, (2.0,) * 3, f"source_factors_{source}")
        for source in range(7)
        for x, y in POINTS[:8]
    ]
    names = objects([f"c{i % 9}" for i in range(60)])
    figure = map_figure(POINTS, values=names, name="style", regions=here)
    figure.draw_without_rendering()
    axes, below = figure.axes
    assert sorted(text.get_text() for text in axes.texts) == [str(i) for i in range(1, 9)]
    numbers, lists = below.texts[::2], below.texts[1::2]
    assert [text.get_text() for text in numbers] == [str(i) for i in range(1, 9)]
    assert {len(text.get_text().splitlines()) for text in lists} == {7}
    boxes = [text.get_window_extent() for text in below.texts]
    frame, whole = axes.get_window_extent(), figure.bbox
    for place, box in enumerate(boxes):
        assert whole.x0 <= box.x0
        assert box.x1 <= whole.x1
        assert whole.y0 <= box.y0
        assert box.y1 <= frame.y0
        for other in boxes[:place]:
            assert not box.overlaps(other)
    silent = [Region(0, 0, 7, (), (), f"s{source}") for source in range(7)]
    assert len(map_figure(POINTS, regions=silent).axes) == 1


def test_boxes_move_no_further_than_they_must() -> None:
    """Terms would be written where they do not belong."""
    centres = np.array([[0.0, 0.0], [0.5, 0.0], [10.0, 0.0]])
    sizes = np.array([[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]])
    moved = apart(centres, sizes)
    assert moved[:, 0].tolist() == [0, 0.5, 10]
    assert abs(moved[0, 1] - moved[1, 1]) == pytest.approx(1.0, abs=1e-3)
    assert moved[2].tolist() == [10, 0]


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    """A genre between dollar signs would be set as mathematics, or fail."""
    text = svg(tmp_path, values=objects(["a$b$c", "<x>"] * 30), name="$x$")
    assert "a$b$c (30)" in text
    assert "&lt;x&gt; (30)" in text
    assert re.search(r">\$x\$</text>", text)


def test_points_without_a_place_are_left_out() -> None:
    """A row without a vector would be drawn, or shift the colours of all after it."""
    points = POINTS.copy()
    points[0] = np.nan
    figure = map_figure(points, values=objects(["a"] + ["b"] * 59), name="style")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["b (59)"]


def test_one_colour_without_a_column() -> None:
    """A map of an unlabelled library could not be drawn."""
    (marks_,) = map_figure(POINTS, values=objects([None] * 60), name="style").axes[0].collections
    (plain,) = map_figure(POINTS).axes[0].collections
    for collection in (marks_, plain):
        assert len(collection.get_offsets()) == 60
    from matplotlib.colors import to_rgba

    assert plain.get_facecolor()[0].tolist() == pytest.approx(to_rgba(COLOURS[0]))


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    """A traceback, or an empty picture, instead of what to do."""
    with pytest.raises(UsageError, match=r"expected one of \.png \.svg \.pdf"):
        draw_map(POINTS, "m.gif")
    with pytest.raises(UsageError, match="none of the 3 rows has a place"):
        map_figure(np.full((3, 2), np.nan))
    with pytest.raises(UsageError, match="got 2 values of 'style' for 60 points"):
        map_figure(POINTS, values=objects(["a", "b"]), name="style")
    with pytest.raises(UsageError, match="holds vectors"):
        map_figure(POINTS, values=np.zeros((60, 3)), name="factors")
    with pytest.raises(UsageError, match="no row has the tag 'funk'"):
        map_figure(POINTS, values=objects([["jazz"]] * 60), name="tags", tag="funk")
    with pytest.raises(UsageError, match="which has no tags"):
        map_figure(POINTS, values=objects(["jazz"] * 60), name="style", tag="jazz")

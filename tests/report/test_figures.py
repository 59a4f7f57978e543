"""Figures of evaluation: they show the numbers, can be told apart in grey, and are made again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.colors
import numpy as np
import pytest
from sklearn.metrics import roc_curve

from mt_tools import metrics
from mt_tools.errors import UsageError
from mt_tools.report import figures, points, style
from mt_tools.report.figures import Bars, Confusion, Ranked, Scatter, Value

HOSTILE = "A$AP & <b>$x$</b>\x1b[2J 日本"


def ranked(name: str = "model", tags: int = 3, seed: int = 0) -> Ranked:
    """Return scores of some tags that are worth something."""
    rng = np.random.default_rng(seed)
    truth = rng.random((80, tags)) < 0.4
    scores = truth * rng.random(tags) + rng.random((80, tags))
    areas = [Value(v, v - 0.05, v + 0.05) for v in metrics.roc_auc(truth, scores)]
    mean = Value(float(np.mean([area.value for area in areas])))
    return Ranked(name, [f"tag {i}" for i in range(tags)], truth, scores, areas, mean)


def reliability() -> points.Reliability:
    """Return a reliability diagram of a hundred rows."""
    rng = np.random.default_rng(0)
    chances = rng.random(100)
    return points.reliability(rng.random(100) < chances, chances)


def value(number: float) -> Value:
    """Return a number with an interval."""
    return Value(number, number - 0.1, number + 0.1, 7)


FIGURES: dict[str, Callable[[], Any]] = {
    "confusion": lambda: figures.confusion_figure(
        [Confusion(HOSTILE, ["a", HOSTILE], np.array([[3, 1], [0, 4]]))]
    ),
    "roc": lambda: figures.roc_figure({HOSTILE: [ranked(HOSTILE)]}),
    "pr": lambda: figures.pr_figure({"tags": [ranked("a"), ranked(HOSTILE)]}),
    "bars": lambda: figures.bars_figure(
        [Bars(HOSTILE, "AUC", {"a": {HOSTILE: value(0.5)}, HOSTILE: {"x": Value(np.nan)}})]
    ),
    "scatter": lambda: figures.scatter_figure(
        [Scatter(HOSTILE, np.arange(9.0), np.arange(9.0)[::-1], "R² 0")], [2.5, 5.5]
    ),
    "calibration": lambda: figures.calibration_figure({HOSTILE: {HOSTILE: reliability()}}),
    "abstention": lambda: figures.abstention_figure(
        {HOSTILE: {HOSTILE: points.coverage_points(np.arange(9) > 4, np.arange(9.0))}}
    ),
    "spread": lambda: figures.spread_figure(
        {HOSTILE: {1.0: np.arange(5.0), 2.0: np.arange(4.0)}}, HOSTILE, "accuracy"
    ),
    "shots": lambda: figures.shots_figure(
        {f"{HOSTILE}: accuracy": {"a": {1: value(0.2), 10: value(0.6)}}}, "labels per class"
    ),
}


@pytest.mark.parametrize("kind", FIGURES)
def test_equal_data_give_equal_files(tmp_path: Path, kind: str) -> None:
    """A picture in a repository would change every time that it is made."""
    for ending in style.ENDINGS:
        one, two = (tmp_path / f"{name}{ending}" for name in "ab")
        style.save(FIGURES[kind](), str(one))
        style.save(FIGURES[kind](), str(two))
        assert one.read_bytes() == two.read_bytes()
    assert style.as_svg(FIGURES[kind]()) == (tmp_path / "a.svg").read_bytes()


@pytest.mark.parametrize("kind", FIGURES)
def test_names_are_shown_and_not_obeyed(kind: str) -> None:
    """Dollar signs would become mathematics, a control character would break the file."""
    svg = style.as_svg(FIGURES[kind]()).decode()
    assert "A$AP &amp; &lt;b" in svg
    assert "\x1b" not in svg
    assert "日本" in svg
    import xml.etree.ElementTree as ET

    ET.fromstring(svg)


def texts(figure: Any) -> list[str]:
    """Return all words of a figure."""
    return re.findall(r"<text[^>]*>([^<]+)</text>", style.as_svg(figure).decode())


@pytest.mark.parametrize("size", [2, 13, 50])
def test_a_confusion_matrix_shows_every_count(size: int) -> None:
    """A cell without its number, or a class without a name, would have to be guessed."""
    rng = np.random.default_rng(0)
    matrix = rng.integers(1, 900, (size, size))
    names = [f"genre number {i}" for i in range(size)]
    figure = figures.confusion_figure([Confusion("genre", names, matrix)])
    found = texts(figure)
    assert sorted(int(t) for t in found if t.isdigit()) == sorted(matrix.ravel().tolist())
    for name, row in zip(names, matrix, strict=True):
        assert name in found
        assert f"{name} ({row.sum()})" in found


def test_numbers_are_read_on_light_and_dark_cells() -> None:
    """A count in black on a dark cell, or in white on a light one, would not be seen."""
    matrix = np.array([[100, 0, 0], [50, 50, 0], [30, 30, 40]])
    figure = figures.confusion_figure([Confusion("x", list("abc"), matrix)])
    axes = figure.axes[0]
    (image,) = axes.images
    shades = image.cmap(image.norm(image.get_array()))
    for text in axes.texts:
        column, row = (int(place) for place in text.get_position())
        if matrix[row, column]:
            written, behind = (
                _luminance(colour) for colour in (text.get_color(), shades[row, column])
            )
            lighter, darker = max(written, behind) + 0.05, min(written, behind) + 0.05
            assert lighter / darker >= 4.5, (row, column)  # WCAG 2.1, 1.4.3


def _luminance(colour: Any) -> float:
    """Return the relative luminance of a colour, as WCAG 2.1 defines it."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_drawn_roc_curves_are_the_data() -> None:
    """The curve in the figure would not be the one that was computed."""
    one = ranked(tags=2)
    figure = figures.roc_figure({"tags": [one]})
    lines = {line.get_label().split(":")[0]: line for line in figure.axes[0].lines}
    for place, tag in enumerate(one.labels):
        false, true, _ = roc_curve(one.truth[:, place], one.scores[:, place],
                                   drop_intermediate=False)  # fmt: skip
        x, y = lines[tag].get_data()
        np.testing.assert_allclose(x, false, atol=1e-12)
        np.testing.assert_allclose(y, true, atol=1e-12)
        assert str(one.areas[place]) in lines[tag].get_label()


def test_of_many_tags_a_few_stand_out() -> None:
    """Fifty colours cannot be told apart: the best and worst are named, the rest is grey."""
    one = ranked(tags=50)
    found = texts(figures.roc_figure({"tags": [one]}))
    order = np.argsort([-area.value for area in one.areas])
    for place in (*order[:2], *order[-2:]):
        assert any(t.startswith(f"{one.labels[place]}: AUC") for t in found)
    assert "46 others" in found
    assert any(t.startswith("mean of 50 labels: AUC") for t in found)


def test_models_differ_without_colour() -> None:
    """On a black and white printer nobody could tell two models apart."""
    figure = figures.roc_figure({"tags": [ranked("a"), ranked("b", seed=1), ranked("c", seed=2)]})
    lines = [line for line in figure.axes[0].lines if line.get_label()[0] in "abc"]
    assert len(lines) == 3
    for look in ("get_linestyle", "get_marker", "get_color"):
        assert len({str(getattr(line, look)()) for line in lines}) == 3
    bars = figures.bars_figure([Bars("x", "", {n: {"f1": value(0.5)} for n in "abc"})])
    hatches = {patch.get_hatch() for patch in bars.axes[0].patches}
    assert len(hatches) == 3


def test_undefined_tags_are_named_and_not_zero() -> None:
    """A tag that cannot be judged would look like the worst."""
    one = ranked(tags=3)
    none = np.zeros((80, 1), bool)
    areas = [*one.areas, Value(float("nan"))]
    more = Ranked("m", [*one.labels, "rare"], np.hstack([one.truth, none]),
                  np.hstack([one.scores, none]), areas, one.mean)  # fmt: skip
    assert not any("rare" in text for text in texts(figures.roc_figure({"tags": [more]})))
    series = {"m": {"common": value(0.7), "rare": Value(float("nan"), n=0)}}
    bars = figures.bars_figure([Bars("tags", "AUC", series)])
    assert " undefined" in texts(bars)
    assert len(bars.axes[0].patches) == 1
    assert texts(figures.roc_figure({"t": [more, Ranked("x", ["rare"], none, none + 0.0,
                 areas[-1:], areas[-1])]})).count("x: AUC undefined") == 1  # fmt: skip


def test_bars_have_their_intervals() -> None:
    """A whisker elsewhere than the interval would make a difference that is none."""
    series = {"m": {"a": Value(0.5, 0.25, 0.625), "b": Value(0.75, 0.75, 1.0), "c": Value(0.1)}}
    axes = figures.bars_figure([Bars("t", "AUC", series)]).axes[0]
    assert [patch.get_width() for patch in axes.patches] == [0.75, 0.5, 0.1]  # best first
    ends = sorted(
        tuple(np.round(segment[:, 0], 9))
        for collection in axes.collections
        for segment in collection.get_segments()
    )
    assert ends == [(0.25, 0.625), (0.75, 1.0)]


def test_of_very_many_labels_the_ends_are_shown() -> None:
    """A figure of a thousand words would be unreadable, or silently lack some."""
    series = {"m": {f"w{i:03d}": Value(i / 200) for i in range(200)}}
    found = texts(figures.bars_figure([Bars("words", "AUC", series)]))
    assert "w199" in found
    assert "w000" in found
    assert "w100" not in found
    assert "… 140 more …" in found


def test_levels_by_hand() -> None:
    """The share of right levels is what a DJ would see in the tags (DJ study, section 5.3)."""
    truth = np.array([1.0, 2.0, 3.0, 4.0, 2.5])
    predicted = np.array([1.4, 2.6, 2.6, 9.0, 2.4])
    assert figures.levels_right(truth, predicted, [3.5, 1.5, 2.5]) == pytest.approx(3 / 5)
    found = texts(figures.scatter_figure([Scatter("energy", truth, predicted)], [1.5, 2.5, 3.5]))
    assert "60.0% in their level" in found


def test_many_points_are_counted_in_cells() -> None:
    """A million points would make a file that no viewer opens."""
    values = np.random.default_rng(0).normal(size=50_000)
    figure = figures.scatter_figure([Scatter("tempo", values, values**2)])
    assert len(style.as_svg(figure)) < 600_000
    assert "100" in texts(figure)  # the scale of the shades, in words that are read
    assert not any("mathdefault" in text for text in texts(figure))


def test_long_names_keep_both_ends() -> None:
    """Subgenres that differ at their ends would all look the same."""
    one, two = (style.label(f"melodic progressive house from the nineties {n}") for n in (1, 2))
    assert one != two
    assert len(one) <= style.LONGEST
    assert style.label("short") == "short"


def test_a_bar_that_leaves_the_axis_says_how_far() -> None:
    """A model that is worse than any guess would look as good as one that only guesses."""
    series = {"m": {"R²": Value(-7.25, -9, -5), "pearson": Value(0.4, 0.3, 0.5)}}
    found = texts(figures.bars_figure([Bars("energy", "", series, sort=False)]))
    assert [text.strip() for text in found if "cut" in text] == ["-7.25 (cut)"]


def test_an_empty_name_is_a_name() -> None:
    """A label without letters would be taken for those that a figure leaves out, or not be seen."""
    assert style.label("") == '""'
    series = {"m": {"": Value(0.5, n=3), "rock": Value(0.7, n=4)}}
    found = texts(figures.bars_figure([Bars("style", "AUC", series)]))
    assert '"" (3)' in found
    assert not any("more" in text for text in found)


def test_what_cannot_be_drawn_there_is_refused(tmp_path: Path) -> None:
    """A wrong ending would be found after minutes of work."""
    with pytest.raises(UsageError, match=r"expected one of \.png \.svg \.pdf"):
        style.save(FIGURES["bars"](), str(tmp_path / "x.gif"))


def test_a_warning_stands_in_the_figure() -> None:
    """A figure of a leaking split would be passed on without what must be known of it."""
    figure = FIGURES["scatter"]()
    style.footnote(figure, ["leak allowed: 3 origins in more than one split"])
    assert "leak allowed: 3 origins in more than one split" in " ".join(texts(figure))

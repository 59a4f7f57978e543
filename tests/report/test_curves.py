"""Learning curves as pictures: what is drawn, and that it can be told apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.report import curves


def log(runs: int = 1, tasks: tuple[str, ...] = ("style", "energy")) -> dict[str, list[Any]]:
    """Return the columns of a log of three epochs."""
    rows: dict[str, list[Any]] = {
        name: [] for name in ("run", "task", "split", "metric", "samples", "value")
    }
    for run in range(runs):
        for epoch in (1, 2, 3):
            for task in ("", *tasks):
                for split, metric in (
                    ("train", "loss"), ("valid", "loss"), ("train", "weight"),
                    ("valid", "accuracy"), ("valid", "f1_macro"),
                ):  # fmt: skip
                    if task or metric == "loss":
                        point = (f"r{run}", task, split, metric, 10 * epoch, 1 / epoch + run)
                        for name, value in zip(rows, point, strict=True):
                            rows[name].append(value)
    return rows


def test_points_become_lines_in_order() -> None:
    """A log whose rows are shuffled would be drawn as a scribble; a gap would end the line."""
    rows: dict[str, list[Any]] = {
        "run": ["a"] * 4, "task": [None, "", "", "x"], "split": ["valid"] * 4,
        "metric": ["loss"] * 4, "samples": [30, 10, 20, 10], "value": [3.0, 1.0, np.nan, 5.0],
    }  # fmt: skip
    total, one = curves.curves_of(rows)
    assert (total.task, total.samples.tolist(), total.values.tolist()) == ("", [10, 30], [1, 3])
    assert one.task == "x"


@pytest.mark.parametrize("ending", curves.ENDINGS)
def test_equal_curves_give_equal_files(tmp_path: Path, ending: str) -> None:
    """A picture in a repository would change every time that it is made."""
    found = curves.curves_of(log(2))
    for name in ("a", "b"):
        curves.draw(found, str(tmp_path / (name + ending)))
    one, two = ((tmp_path / (name + ending)).read_bytes() for name in ("a", "b"))
    assert one == two
    head = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[ending]
    assert one.startswith(head)
    assert not list(tmp_path.glob(".mt-*"))


def drawn(tmp_path: Path, found: list[curves.Curve], *metrics: str) -> str:
    """Return a figure as SVG."""
    curves.draw(found, str(tmp_path / "c.svg"), metrics)
    return (tmp_path / "c.svg").read_text()


def styles(svg: str) -> list[tuple[str, bool]]:
    """Return colour and dashes of the lines of the data; grids and ticks are thinner."""
    paths = re.findall(r'<path d="M [^"]+" clip-path="[^"]*" style="([^"]*)"', svg)
    found = []
    for style in paths:
        colour = re.search(r"stroke: (#\w+)", style)
        width = re.search(r"stroke-width: ([\d.]+)", style)
        if colour and width and float(width[1]) >= 1:
            found.append((colour[1], "stroke-dasharray" in style))
    return found


def test_train_and_valid_differ_without_colour(tmp_path: Path) -> None:
    """On a black and white printer nobody could tell overfitting from learning."""
    found = styles(drawn(tmp_path, curves.curves_of(log())))
    # Of three columns each has the two losses, two of them a metric of the valid rows as well.
    assert sum(dashed for _, dashed in found) == 3
    assert sum(not dashed for _, dashed in found) == 3 + 2
    assert {colour for colour, _ in found} == {curves.COLOURS[0].lower()}


def test_runs_differ_in_colour_and_marker(tmp_path: Path) -> None:
    """Two trainings side by side could not be told apart."""
    svg = drawn(tmp_path, curves.curves_of(log(3)))
    assert {colour for colour, _ in styles(svg)} == {c.lower() for c in curves.COLOURS[:3]}
    assert len(set(curves.MARKERS)) == len(curves.COLOURS)
    for run in ("r0", "r1", "r2"):
        assert f">{run}</text>" in svg


def test_more_runs_than_colours_have_a_mean(tmp_path: Path) -> None:
    """Fifty repeats would be drawn in colours that come twice."""
    svg = drawn(tmp_path, curves.curves_of(log(9)))
    assert ">9 runs</text>" in svg
    assert {colour for colour, _ in styles(svg)} == {"#000000"}


def test_the_mean_of_runs_goes_as_far_as_all_of_them() -> None:
    """A run that stopped early would make a step in the mean."""
    lines = [
        curves.Curve("a", "", "valid", "loss", np.array([10.0, 20, 30]), np.array([3.0, 2, 1])),
        curves.Curve("b", "", "valid", "loss", np.array([12.0, 24]), np.array([5.0, 6])),
    ]
    samples, values = curves.mean_curve(lines)
    assert samples.tolist() == [11, 22]
    assert values.tolist() == [4, 4]


def test_what_is_drawn(tmp_path: Path) -> None:
    """Without a word there are the losses and one metric a task; others on request."""
    found = curves.curves_of(log())
    svg = drawn(tmp_path, found)
    assert svg.count(">accuracy</text>") == 2
    assert svg.count(">loss</text>") == 3
    assert ">f1 macro</text>" not in svg
    assert ">weight</text>" not in svg
    assert drawn(tmp_path, found, "f1_macro").count(">f1 macro</text>") == 2
    alone = drawn(tmp_path, curves.curves_of(log(tasks=("style",))))
    assert ">all tasks</text>" not in alone  # the sum of one task is that task
    with pytest.raises(UsageError, match="--metric r3: the log has loss, weight, accuracy"):
        drawn(tmp_path, found, "r3")
    with pytest.raises(UsageError, match=r"expected one of \.png \.svg \.pdf"):
        curves.draw(found, "c.gif")
    with pytest.raises(UsageError, match="no points to draw"):
        curves.draw([], str(tmp_path / "c.svg"))

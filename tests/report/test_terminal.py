"""What people see: tables, metrics and bars, at the width of their terminal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mt_tools.report.tagview import TagView
from mt_tools.report.terminal import (
    MetricsView,
    TableView,
    bar,
    cell,
    clean,
    interval_bar,
    number,
)
from mt_tools.stages.judging import metric_rows
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

COLUMNS = [
    Column("id", "string", "reserved"),
    Column("title", "string"),
    Column("genre", "strings"),
    Column("bpm", "number"),
    Column("live", "boolean"),
    Column("year", "integer"),
    Column("mel", "tensor", "feature", {}, (2, 3)),
]


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


def table(rows: int = 3, **values: Any) -> Batch:
    """Return rows of every kind."""
    filled = {
        "id": [f"{i}.mp3" for i in range(rows)],
        "title": [f"Title {i}" for i in range(rows)],
        "genre": [["jazz", "soul"], [], None][:rows] + [["rock"]] * (rows - 3),
        "bpm": [120.0, 98.765, None][:rows] + [100.0] * (rows - 3),
        "live": [True, False, None][:rows] + [True] * (rows - 3),
        "year": [1999, 2001, None][:rows] + [2000] * (rows - 3),
        "mel": np.zeros((rows, 2, 3), np.float32),
    } | values
    return Batch.build(COLUMNS, filled)


def shown(
    view: Any, batch: Batch, capsys: pytest.CaptureFixture[str], failed: int = 0
) -> list[str]:
    """Return the lines that a view prints of a table."""
    view.write(batch)
    view.finish(len(batch), failed)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_every_kind_is_readable(wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Nulls, empty lists, numbers and tensors each have a short form that means one thing."""
    lines = shown(TableView(), table(), capsys)
    assert [line.split() for line in lines] == [
        ["id", "title", "genre", "bpm", "live", "year", "mel"],
        ["0.mp3", "Title", "0", "jazz,", "soul", "120", "yes", "1999", "2×3", "floats"],
        ["1.mp3", "Title", "1", "(none)", "98.77", "no", "2001", "2×3", "floats"],
        ["2.mp3", "Title", "2", "–", "–", "–", "–", "2×3", "floats"],
    ]


def test_what_does_not_fit_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A narrow terminal shows fewer columns and more rows than fit are counted, never wrapped."""
    monkeypatch.setenv("COLUMNS", "36")
    lines = shown(TableView(), table(30), capsys)
    assert all(len(line) <= 36 for line in lines)
    assert "… and 10 more rows" in lines
    assert " ".join(lines[lines.index("… and 10 more rows") + 1 :]) == (
        "not shown: live, year, mel"
    )


def test_columns_without_a_value_are_left_out(
    wide: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody needs a column of dashes, asked for or not."""
    lines = shown(TableView(("id", "title", "bpm")), table(bpm=[None] * 3), capsys)
    assert lines[0].split() == ["id", "title"]


def test_control_characters_do_not_reach_the_terminal(
    wide: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file name may hold an escape sequence or a newline: it is shown, not obeyed."""
    lines = shown(TableView(), table(1, title=["\x1b[2Jgone\n"], genre=[None]), capsys)
    assert "\\x1b[2Jgone\\n" in lines[1]
    assert clean("Ünï — 日本") == "Ünï — 日本"
    assert cell(COLUMNS[1], "[bold]x[/bold]") == "[bold]x[/bold]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (1.0, "1"), (3.0, "3"), (0.58333, "0.583"), (-0.6421, "-0.642"),
        (0.008292, "0.0083"), (121.349, "121.3"), (22050.0, "22050"), (12345.6, "12346"),
        (1.5e9, "1.5e+09"), (float("nan"), "–"),
    ],
)  # fmt: skip
def test_numbers_have_the_digits_that_help(value: float, text: str) -> None:
    """Three decimals for shares, four digits for the rest; small errors keep two digits."""
    assert number(value) == text


def test_bars_grow_in_eighths() -> None:
    """A bar is as long as its share, and never longer than the whole."""
    assert bar(0.0, 4) == ""
    assert bar(0.5, 4) == "██"
    assert bar(1.0, 4) == bar(7.0, 4) == "████"
    assert bar(1 / 32, 4) == "▏"
    assert len({bar(i / 32, 4) for i in range(33)}) == 33


def metrics() -> Batch:
    """Return two tasks' metrics, one with labels, one with an undefined value."""
    return metric_rows(
        [
            {"task": "style", "metric": "accuracy", "value": 0.5, "low": 0.41, "high": 0.62,
             "n": 40, "protocol": "40 rows in 8 clusters, bootstrap (BCa, 95 %)"},
            {"task": "style", "metric": "f1", "label": "jazz", "value": 1.0, "n": 30},
            {"task": "style", "metric": "recall", "label": "jazz", "value": 0.25, "n": 30},
            {"task": "style", "metric": "f1", "label": "rock", "value": 0.0, "n": 10},
            {"task": "style", "metric": "recall", "label": "rock", "value": None, "n": 10},
            {"task": "tempo", "metric": "r2", "value": None, "n": 1, "note": "one row only",
             "protocol": "svm, 5 folds"},
            {"task": "tempo", "metric": "mse", "value": 0.0083, "low": 0.007, "high": 0.0095,
             "sd": 0.001, "n": 1, "protocol": "svm, 5 folds"},
        ]
    )  # fmt: skip


def test_metrics_are_shown_a_task_at_a_time(wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Intervals beside values, labels side by side, digits that can be compared."""
    lines = shown(MetricsView(), metrics(), capsys)
    words = [line.split() for line in lines]
    assert lines[0] == "style 40 rows in 8 clusters, bootstrap (BCa, 95 %)"
    assert words[1] == ["metric", "value", "95", "%", "interval", "0", "to", "1"]
    assert words[2][:-1] == ["accuracy", "0.500", "0.410", "to", "0.620"]
    assert words[4][:4] == ["label", "f1", "recall", "n"]
    assert words[5][:-1] == ["jazz", "1.000", "0.250", "30"]
    assert words[6][:-1] == ["rock", "0.000", "–", "10"]
    assert words[5][-1] == "█" * 24
    assert words[6][-1] == "·" * 24
    assert lines[8] == "tempo svm, 5 folds, 1 rows"
    assert words[9] == ["metric", "value", "95", "%", "interval", "sd"]
    assert words[10] == ["r2", "–", "one", "row", "only", "–"]
    assert words[11] == ["mse", "0.0083", "0.007", "to", "0.0095", "0.001"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_metrics_fit_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    """No line is broken at the widths that people use."""
    monkeypatch.setenv("COLUMNS", str(width))
    lines = shown(MetricsView(), metrics(), capsys)
    assert all(len(line) <= width for line in lines)
    assert len(lines) == 12


def test_bars_show_the_interval_on_a_scale_from_0_to_1(
    wide: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bar would promise more than the interval allows, or have no end to compare it with."""
    assert interval_bar(0.5, 0.25, 0.75, 8) == "██▓▓░░··"
    assert interval_bar(1.0, 1.0, 1.0, 4) == "████"
    assert interval_bar(0.2, -3.0, 9.0, 5) == "▓░░░░"
    lines = shown(MetricsView(), metrics(), capsys)
    (accuracy,) = [line for line in lines if "accuracy" in line]
    assert accuracy.split()[-1] == interval_bar(0.5, 0.41, 0.62, 24)
    assert not any(glyph in line for line in lines[9:] for glyph in "█▓░·")  # not of errors


def test_leaks_and_notes_stand_once_and_splits_are_counted(
    wide: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A leak would be overlooked, or fifty lines of single splits would hide the summary."""
    leak = "allowed: 3 origins in more than one split"
    rows: list[dict[str, Any]] = [
        {"task": "style", "metric": name, "value": 0.5, "low": 0.4, "high": 0.6, "n": 9,
         "leak": leak, "note": "two classes left out"}
        for name in ("accuracy", "f1_macro")
    ]  # fmt: skip
    rows += [
        {"task": "style", "metric": "accuracy", "value": 0.1234, "n": 9, "repeat": i, "leak": leak}
        for i in range(50)
    ]
    lines = shown(MetricsView(), metric_rows(rows), capsys)
    assert lines.count(f"leaks: {leak}") == 1
    assert "accuracy, f1_macro: two classes left out" in lines
    assert "50 single splits not shown" in lines
    assert not any("0.123" in line for line in lines)


def tags(scores: list[float], chosen: list[str] | None) -> Batch:
    """Return one track with tags."""
    vocabulary = {"vocabulary": ["rock", "pop", "jazz"]}
    columns = [
        Column("id", "string", "reserved"),
        Column("tags_pred", "strings", "prediction"),
        Column("tags_score", "vector", "prediction", vocabulary, (3,)),
        Column("tempo_pred", "number", "prediction"),
    ]
    values = {
        "id": ["a\nb.mp3"], "tags_pred": [chosen], "tempo_pred": [121.3],
        "tags_score": np.array([scores], np.float32),
    }  # fmt: skip
    return Batch.build(columns, values)


def test_tags_are_bars_best_first(wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    """The chosen tags are marked without colour too; the best stand first."""
    lines = shown(TagView(2), tags([0.25, 0.125, 0.5], ["jazz"]), capsys)
    assert lines == [
        "a\\nb.mp3",
        "  tags   • jazz  ████████████             0.500",
        "           rock  ██████                   0.250",
        "  tempo  121.3",
        "",
    ]


def test_a_view_that_is_aborted_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """After an error the error alone is on the screen."""
    for view in (TableView(), MetricsView()):
        view.write(table() if isinstance(view, TableView) else metrics())
        view.abort()
    assert capsys.readouterr().out == ""

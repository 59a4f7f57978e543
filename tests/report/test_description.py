"""Descriptions of tables: what people read and what is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from mt_tools.errors import UsageError
from mt_tools.report.description import DescriptionView, count_lines, sparks
from mt_tools.report.distributions import MOST_BARS, Counts, Numbers, Picture, distributions_figure
from mt_tools.report.layout import settle
from mt_tools.report.style import ENDINGS, conventions, save
from mt_tools.stages import describe
from mt_tools.stages.settings import DescribeSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved

TARGETS = (
    "danceability", "acousticness", "instrumentalness", "speechiness", "liveness", "valence",
    "energy", "loudness",
)  # fmt: skip
LONG = "music for the very end of a long night, played slowly and quietly"
HOSTILE = "\x1b[31mred\nline"


def table(targets: int = 8, tags: int = 188) -> Batch:
    """Return a table like those of the studies: eight numbers, 188 tags, splits, features."""
    rng = np.random.default_rng(0)
    names = [f"tag {i:03d}" for i in range(tags)]
    names[:4] = [LONG, "موسيقى", "日本の音楽", HOSTILE][: min(4, tags)]
    rows = 300
    tagged = [
        [names[j] for j in np.flatnonzero(rng.random(tags) < 2 / (2 + np.arange(tags)))]
        for _ in range(rows)
    ]
    columns: list[tuple[Column, Any]] = [
        (reserved("id"), ["שלום/עולם.mp3", *(f"{i}" for i in range(1, rows))]),
        (reserved("length"), rng.normal(200, 40, rows)),
        (reserved("group"), [f"artist {i // 5}" for i in range(rows)]),
        (
            reserved("split"),
            [("train", "train", "valid", "test", None)[i % 5] for i in range(rows)],
        ),
        (Column("tags", "strings"), tagged),
        (Column("vocal", "boolean"), (rng.random(rows) < 0.3).tolist()),
        (
            Column("mel", "tensor", "feature", {"kind": "mel", "hop": 256}, (4, 6)),
            rng.random((rows, 4, 6)),
        ),
    ]
    base = rng.normal(size=rows)
    for number in range(targets):
        name = TARGETS[number] if number < 8 else f"target {number}"
        columns.append((Column(name, "number"), base * number + rng.normal(size=rows)))
    return Batch.build([c for c, _ in columns], {c.name: values for c, values in columns})


def described(batch: Batch) -> describe.Description:
    """Describe one batch."""
    return describe.described([batch], batch.columns, DescribeSettings())


def shown(
    batch: Batch, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Return the lines on a terminal of so many columns."""
    monkeypatch.setenv("COLUMNS", str(width))
    view = DescriptionView()
    view.write(described(batch).rows)
    view.finish(0, 0)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_description_fits_the_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines would wrap in the middle of numbers, and no column could be read."""
    lines = shown(table(), width, capsys, monkeypatch)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    assert lines[0].startswith("300 rows, 300 tracks, 60 groups, 1")
    for name in ("tags", "vocal", "danceability", "loudness", "mel", "train", "valid", "(none)"):
        assert name in text
    known = {tag for row in table()["tags"] for tag in row}
    assert f"… and {len(known) - 10} labels more" in text
    assert "\x1b" not in text
    assert r"\x1b[31mred\nline" in text
    assert "日本の音楽" in text
    # Numbers stand in columns: the counts end where their heading does, whatever the letters.
    (head,) = [i for i, line in enumerate(lines) if line.startswith("label") and "train" in line][
        :1
    ]
    end = cell_len(lines[head][: lines[head].index("rows") + 4])
    for line in lines[head + 1 : head + 8]:
        cells = "".join(c + "\0" * (cell_len(c) - 1) for c in line)
        assert cells[end - 1].isdigit()
        assert cells[end] == " "


def test_quartiles_are_shown_before_what_matters_less(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a small terminal the statistics that the REG study reports would be left out first."""
    small = "\n".join(shown(table(), 80, capsys, monkeypatch))
    (head,) = [line for line in small.splitlines() if line.startswith("numbers")]
    for name in ("mean", "sd", "min", "25 %", "median", "75 %", "max"):
        assert name in head
    wide = "\n".join(shown(table(), 200, capsys, monkeypatch))
    (head,) = [line for line in wide.splitlines() if line.startswith("numbers")]
    assert "variance" in head
    assert "skew" in head
    assert "█" in wide


def test_correlations_are_a_matrix_or_the_strongest_pairs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty columns would be a matrix torn over several lines."""
    lines = shown(table(), 80, capsys, monkeypatch)
    (start,) = [i for i, line in enumerate(lines) if line.startswith("correlation")]
    assert "Pearson below, Spearman above" in lines[start]
    assert [line.split()[:2] for line in lines[start + 2 : start + 10]] == [
        [str(place), name] for place, name in enumerate(TARGETS, 1)
    ]
    batch = table(20)
    lines = shown(batch, 80, capsys, monkeypatch)
    (start,) = [i for i, line in enumerate(lines) if line.startswith("correlation")]
    assert "the strongest of 190 pairs" in lines[start]
    values = {name: batch[name] for name in batch.names if batch.columns[name].kind == "number"}
    best = max(
        abs(np.corrcoef(values[a].argsort().argsort(), values[b].argsort().argsort())[0, 1])
        for a in values for b in values
        if a < b and "length" not in (a, b)
    )  # fmt: skip
    assert float(lines[start + 2].split()[-2]) == pytest.approx(best, abs=0.006)


def test_sparks_show_what_is_rare() -> None:
    """A few outliers would look like none."""
    assert sparks([0, 1, 1000, 500]) == " ▁█▄"
    assert sparks([]) == ""
    assert sparks([0, 0]) == "  "


def test_count_lines_are_few_and_begin_with_what_is_off() -> None:
    """Of 188 tags the one that a part lacks would be on no line."""
    counts = {
        "train": {f"t{i}": 80 for i in range(188)} | {"t77": 100, "日本": 8},
        "test": {f"t{i}": 20 for i in range(188)} | {"t77": 0, "日本": 2},
    }
    lines = list(count_lines("tags", counts, [0.8, 0.2]))
    assert lines[0].startswith("tags, 12 of 189 labels, farthest off first")
    assert lines[1].split() == ["t77", "100", "0"]
    assert len(lines) == 13
    few = list(count_lines("tags", {p: {"b": 1, "日本": 2} for p in counts}, [0.8, None]))
    assert [line.split()[0] for line in few[1:]] == ["b", "日本"]
    assert len({cell_len(line) for line in few}) == 1


@pytest.mark.parametrize(("targets", "tags"), [(8, 188), (1, 2), (0, 5), (3, 0)])
def test_nothing_is_drawn_outside_the_figure(targets: int, tags: int) -> None:
    """Long names would be cut at the edge of the picture, or panels lie on each other."""
    figure = distributions_figure(described(table(targets, tags)).picture)
    with conventions():
        settle(figure)
        boxes = [axes.get_tightbbox() for axes in figure.axes if axes.get_visible()]
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    panels = [axes for axes in figure.axes if axes.get_visible() and axes.get_title()]
    titles = [axes.get_title() for axes in panels]
    assert [t for t in titles if t in TARGETS] == list(TARGETS[:targets])
    assert ("correlation: Pearson below, Spearman above the diagonal" in titles) == (targets > 1)


def test_bars_are_the_counts() -> None:
    """A bar would be of another length than the number beside it."""
    totals = {f"tag {i:03d}": 200 - i for i in range(100)}
    splits = {
        "train": {name: count - 5 for name, count in totals.items()},
        "test": dict.fromkeys(totals, 5),
    }
    figure = distributions_figure(Picture([], [Counts("tags", totals, splits)], {}))
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert len(names) == MOST_BARS + 1
    assert names[0] == "tag 000"
    assert names[-1] == "tag 099"
    assert "… 60 more …" in names
    train, test = axes.containers
    for row, name in enumerate(names):
        if name in totals:
            assert train[row].get_width() == totals[name] - 5
            assert (test[row].get_x(), test[row].get_width()) == (totals[name] - 5, 5)
    written = {text.get_text() for text in axes.texts}
    assert written == {str(totals[name]) for name in names if name in totals}


def test_a_box_spans_the_quartiles() -> None:
    """The box plot would say something else than the numbers."""
    values = np.concatenate([np.arange(101.0), [1000.0, np.nan, np.inf]])
    figure = distributions_figure(Picture([Numbers("x", values)], [], {}))
    above = figure.axes[0]
    (box,) = above.patches
    first, third = np.quantile(values[:102], [0.25, 0.75])
    assert (box.get_x(), box.get_x() + box.get_width()) == (first, third)
    ends = [line.get_xdata()[0] for line in above.lines if line.get_marker() == "|"]
    assert ends == [1000.0]


@pytest.mark.parametrize("ending", ENDINGS)
def test_equal_tables_give_equal_files(tmp_path: Path, ending: str) -> None:
    """A picture in a repository would change every time that it is made."""
    for name in ("a", "b"):
        save(distributions_figure(described(table(2, 5)).picture), str(tmp_path / (name + ending)))
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


def test_nothing_to_draw_is_said() -> None:
    """An empty picture would be written, or a traceback be all."""
    nothing = Picture(
        [Numbers("x", np.array([1.0, 1.0, np.nan])), Numbers("y", np.array([np.inf]))],
        [Counts("title", {"a": 1, "b": 1}, {}), Counts("rate", {"44100": 9}, {})],
        {},
    )
    with pytest.raises(UsageError, match="no column has numbers that differ"):
        distributions_figure(nothing)

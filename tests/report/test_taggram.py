"""Taggrams and tags on a terminal: what is seen is what was predicted, at any width."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from mt_tools.errors import UsageError
from mt_tools.report.style import as_svg
from mt_tools.report.taggram import Course, Taggram, Taggrams, clock, taggram_figure, ticks
from mt_tools.report.tagview import TagView, cut, ticked
from mt_tools.stages import taggrams
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column

WORDS = ["deep house", "techno", "日本のロック", "\x1b[2Jsoul", "drum and bass / jungle revival"]
LEVELS = [0.5, 0.25, 0.75, None, 0.5]


def columns(prefix: str = "") -> list[Column]:
    """Describe the predictions of tags, classes, steps and a number."""
    tags = {"kind": "multilabel", "vocabulary": WORDS, "thresholds": LEVELS}
    style = {"kind": "multiclass", "vocabulary": ["house", "rock"], "abstain": 0.75}
    steps = {"kind": "ordinal", "vocabulary": ["low", "mid", "high"]}
    kinds = [("tags", "strings", tags), ("style", "string", style), ("energy", "string", steps)]
    found = []
    for name, kind, said in kinds:
        size = len(said["vocabulary"])
        own = {"kind": said["kind"]}
        found.append(Column(f"{prefix}{name}_pred", kind, "prediction", own))
        found.append(Column(f"{prefix}{name}_score", "vector", "prediction", said, (size,)))
    numbers = {"kind": "regression", "range": [90.0, 150.0]}
    return [*found, Column(f"{prefix}tempo_pred", "number", "prediction", numbers)]


def values(scores: np.ndarray, prefix: str = "") -> dict[str, Any]:
    """Return predictions [n] of which the scores of tags [n, 5] are given."""
    n = len(scores)
    levels = [2.0 if level is None else level for level in LEVELS]
    tags = np.empty(n, dtype=object)
    tags[:] = [[WORDS[j] for j in np.argsort(-s) if s[j] >= levels[j]] for s in scores]
    style = np.tile(np.float32([0.625, 0.375]), (n, 1))
    return {
        f"{prefix}tags_pred": tags, f"{prefix}tags_score": scores.astype(np.float32),
        f"{prefix}style_pred": [None] * n, f"{prefix}style_score": style,
        f"{prefix}energy_pred": ["mid"] * n,
        f"{prefix}energy_score": np.tile(np.float32([0.25, 0.5, 0.25]), (n, 1)),
        f"{prefix}tempo_pred": np.linspace(100, 140, n) if n > 1 else [120.0],
    }  # fmt: skip


def tracks(names: list[str], scores: np.ndarray) -> Batch:
    """Return rows of tracks, tagged by two models."""
    described = [Column("id", "string", "reserved"), *columns(), *columns("msd.")]
    return Batch.build(described, {"id": names} | values(scores) | values(scores[:, ::-1], "msd."))


def segments(name: str, scores: np.ndarray, hop: float = 10.0, length: float = 10.0) -> Batch:
    """Return rows of segments of a track."""
    n = len(scores)
    starts = hop * np.arange(n)
    named = {
        "id": [f"{name}@{start:g}" for start in starts], "origin": [name] * n,
        "start": starts, "duration": [length] * n,
    }  # fmt: skip
    kinds = {"id": "string", "origin": "string", "start": "number", "duration": "number"}
    described = [Column(column, kind, "reserved") for column, kind in kinds.items()]
    return Batch.build([*described, *columns()], named | values(scores))


def screen(view: TagView, batch: Batch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines that a view prints."""
    view.write(batch)
    view.finish(len(batch), 0)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


SCORES = np.array([[0.5, 0.75, 0.625, 0.9, 0.125]])


# --- bars ----------------------------------------------------------------------------------------


def test_a_track_is_a_block_that_reads_without_colours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dots, lines and words must say what is chosen, where thresholds lie, what was left open."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = screen(TagView(3), tracks(["a.mp3"], SCORES), capsys)
    assert lines[0] == "a.mp3"
    assert lines[1].split() == ["tags", "\\x1b[2Jsoul", "█" * 21 + "▋", "0.900"]
    assert re.search(r"• techno +██████│███████████ +0\.750$", lines[2])
    assert re.search(r"  日本のロック +███████████████   │ +0\.625$", lines[3])
    assert re.search(r"• deep house +████████████│ +0\.500$", lines[4])  # chosen, beyond the top
    assert "revival" not in "\n".join(lines[:7])
    assert lines[5].split(maxsplit=1) == ["style", "– left open, none reaches 0.750"]
    for line, start in zip(lines[8:11], ("energy +low", "• mid", "high"), strict=True):
        assert re.match(f" +{start} ", line)
    assert re.search(r"tempo +120 +·{12}●·{11} 90–150$", lines[11])
    assert [line.split()[0] for line in lines if "msd." in line] == [
        "msd.tags", "msd.style", "msd.energy", "msd.tempo",
    ]  # fmt: skip
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("width", [20, 30, 40, 80, 200])
@pytest.mark.parametrize("whole", [False, True])
def test_every_line_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, whole: bool
) -> None:
    """A broken line tears the bars apart; Chinese characters take two cells each."""
    monkeypatch.setenv("COLUMNS", str(width))
    rng = np.random.default_rng(0)
    name = "曲" * 3
    batch = segments(name, rng.random((9, 5))) if whole else tracks([name], SCORES)
    lines = screen(TagView(5, segments=whole), batch, capsys)
    assert max(map(cell_len, lines)) <= width
    # A line a label, a name, and the time: nothing was broken.
    expected = 1 + 2 * (5 + 3 + 3 + 1) if not whole else 2 + 5 + 2 + 3 + 1
    if width >= 40:
        assert len([line for line in lines if line]) == expected
        assert whole or max(line.count("█") for line in lines) >= width * 0.1


@given(st.text(max_size=40), st.integers(1, 30))
def test_names_are_cut_to_cells(text: str, cells: int) -> None:
    """Any name of a tag, in any script, keeps the columns straight."""
    shown = cut(text, cells)
    assert cell_len(shown) == cells
    assert shown.isprintable()


def test_thresholds_are_lines_in_bars() -> None:
    """The line stands where a bar of that score would end."""
    assert ticked("███", 8, 0.5) == "███ │   "
    assert ticked("██████", 8, 0.25) == "██│███  "
    assert ticked("█", 4, 1.0) == "█  │"
    assert ticked("█", 4, None) == ticked("█", 4, 2.0) == "█   "


# --- taggrams ------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 50), min_size=1, max_size=8), st.floats(0.5, 20), st.integers(1, 12))
def test_means_over_time_are_those_of_the_segments_that_overlap(
    starts: list[float], length: float, cells: int
) -> None:
    """A column of the picture would show a moment that it does not stand for."""
    begins = np.array(sorted(starts))
    scores = np.linspace(0, 1, len(begins))[:, None]
    taggram = Taggram("a", begins, begins + length, [])
    borders = np.linspace(*taggram.span, cells + 1)
    found = taggram.over(scores, borders)[:, 0]
    for cell, (left, right) in enumerate(pairwise(borders)):
        shares = [max(0.0, min(b + length, right) - max(b, left)) for b in begins]
        if sum(shares) > 1e-6:
            assert found[cell] == pytest.approx(np.average(scores[:, 0], weights=shares), abs=1e-6)
        elif sum(shares) == 0:
            assert np.isnan(found[cell])


def test_tracks_are_whole_whatever_the_batches() -> None:
    """A taggram would end where a batch of rows does, or go on into the next track."""
    rng = np.random.default_rng(1)
    rows = concatenate([segments(name, rng.random((n, 5))) for name, n in
                        (("a", 7), ("b", 1), ("c", 4))])  # fmt: skip
    for size in (1, 3, 12):
        gathered = Taggrams()
        found = []
        for first in range(0, 12, size):
            found += gathered.add(rows.take(range(first, min(12, first + size))))
        found += gathered.rest()
        assert [(one.name, len(one.starts)) for one in found] == [("a", 7), ("b", 1), ("c", 4)]
        tags = found[2].courses[0]
        np.testing.assert_array_equal(tags.values, rows["tags_score"][8:])
        assert tags.chosen.sum() == sum(map(len, rows["tags_pred"][8:]))
        assert found[0].span == (0.0, 70.0)


def test_times_are_round_and_readable() -> None:
    """Nobody reads 03:53.7."""
    assert [clock(t) for t in (0, 7.6, 60, 3599.4, 3600, 3787)] == [
        "0:00", "0:08", "1:00", "59:59", "1:00:00", "1:03:07",
    ]  # fmt: skip
    assert ticks(0, 349, 7) == [0, 60, 120, 180, 240, 300]
    assert ticks(0, 21600, 7) == [3600.0 * i for i in range(7)]
    assert ticks(5.2, 5.6, 5) == [5.2]


def test_a_taggram_on_a_terminal_shows_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mt-tag song.mp3 --segments` would be a wall of bars, one block a segment."""
    monkeypatch.setenv("COLUMNS", "60")
    scores = np.zeros((6, 5))
    scores[:3, 1], scores[3:, 0] = 1.0, 0.5
    lines = screen(TagView(2, segments=True), segments("a.mp3", scores), capsys)
    assert lines[0] == "a.mp3  6 segments, 0:00 to 1:00"
    assert lines[1].split()[0] == "0:00"
    techno, house = lines[2], lines[3]
    assert techno.split()[:3] == ["tags", "•", "techno"]
    assert (techno.split()[-1], house.split()[-1]) == ("0.500", "0.250")
    before, after = re.search("█+", techno), re.search("▄+", house)
    assert before is not None
    assert after is not None
    assert abs(after.start() - before.end()) <= 1  # one ends, the other begins
    assert re.search(r"tempo +100–140 +▁", lines[-2])


def test_a_figure_says_what_is_in_it(tmp_path: Path) -> None:
    """The labels, times, colours and marks of a picture are those of the predictions."""
    scores = np.zeros((6, 5))
    scores[:3, 1], scores[3:, 0] = 1.0, 0.5
    gathered = Taggrams()
    assert list(gathered.add(segments("$a_b$\x1b.mp3", scores))) == []
    (taggram,) = gathered.rest()
    figure = taggram_figure(taggram, shown=2)
    tags, style, energy, tempo, bar = figure.axes
    assert [text.get_text() for text in tags.get_yticklabels()] == ["techno", "deep house"]
    assert [text.get_text() for text in energy.get_yticklabels()] == ["low", "mid"]
    assert [text.get_text() for text in style.get_yticklabels()] == ["house", "rock"]
    mesh = np.asarray(tags.collections[0].get_array()).reshape(2, 6)
    np.testing.assert_allclose(mesh, [[1, 1, 1, 0, 0, 0], [0, 0, 0, 0.5, 0.5, 0.5]])
    marks = [(line.get_xdata()[0], line.get_xdata()[-1]) for line in tags.lines]
    assert marks == [(0.0, 30.0), (30.0, 60.0)]
    assert tags.collections[0].get_cmap().name == "viridis"
    assert tempo.get_xlim() == (0.0, 60.0)
    assert bar.get_ylabel() == "score"
    svg = as_svg(figure).decode()
    assert "$a_b$\\x1b.mp3" in svg
    assert as_svg(taggram_figure(taggram, shown=2)) == as_svg(taggram_figure(taggram, shown=2))


def test_a_mix_of_hours_is_drawn_as_means() -> None:
    """A mix of ten thousand segments would be a picture that no program opens."""
    n = 10_000
    scores = np.repeat([[0.0], [1.0]], n // 2, axis=0)
    course = Course("tags", ["x"], scores, scores > 0.5)
    taggram = Taggram("mix", 2.5 * np.arange(n), 2.5 * np.arange(1, n + 1), [course])
    (axes, _) = taggram_figure(taggram).axes
    mesh = np.asarray(axes.collections[0].get_array()).ravel()
    assert len(mesh) == 600
    np.testing.assert_allclose(mesh, np.repeat([0.0, 1.0], 300), atol=1e-6)


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_one_track_is_drawn_into_a_file(tmp_path: Path, ending: str) -> None:
    """The rows go on as they are, and the file is there once they are through."""
    rows = segments("a.mp3", np.random.default_rng(2).random((4, 5)))
    path, notes = tmp_path / f"a{ending}", []
    passed = list(
        taggrams.run(iter([rows.take([0, 1]), rows.take([2, 3])]), str(path), notes.append)
    )
    assert [batch.ids.tolist() for batch in passed] == [
        rows.ids[:2].tolist(),
        rows.ids[2:].tolist(),
    ]
    magic = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[ending]
    assert path.read_bytes().startswith(magic)
    assert notes == [f"drew a taggram into {path}"]


def test_several_tracks_are_drawn_into_a_folder(tmp_path: Path) -> None:
    """Tracks of like names would overwrite each other, or lie outside of the folder."""
    rng = np.random.default_rng(3)
    names = ["x/a.mp3", "x_a.mp3", "../A.mp3", "X/A.mp3", "曲\n" * 200]
    batches = [segments(name, rng.random((2, 5))) for name in names]
    folder = tmp_path / "pictures"
    list(taggrams.run(iter(batches), str(folder)))
    made = sorted(path.name for path in folder.iterdir())
    assert len(made) == len({name.casefold() for name in made}) == 5
    assert all(name.endswith(".png") and name.isprintable() for name in made)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    with pytest.raises(UsageError, match=r"a file shows one track, and there is x_a\.mp3 after x/"):
        list(taggrams.run(iter(batches), str(tmp_path / "one.png")))
    assert not (tmp_path / "one.png").exists()


def test_what_cannot_be_drawn_is_said_before_anything_is_decoded(tmp_path: Path) -> None:
    """An hour later is too late to hear of a mistyped ending."""
    for path, message in (
        ("a.jpg", r"got the ending '\.jpg'"),
        (str(tmp_path / "none" / "a.png"), "there is no folder"),
    ):
        with pytest.raises(UsageError, match=message):
            taggrams.run(iter([]), path)
    words = segments("a", SCORES).without(
        ["tags_score", "style_score", "energy_score", "tempo_pred"]
    )
    with pytest.raises(UsageError, match="--no-scores"):
        list(taggrams.run(iter([words]), str(tmp_path / "a.png")))

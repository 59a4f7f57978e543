"""The diff of each file that a person reads before --apply."""

from __future__ import annotations

import pytest

from mt_tools.report.changes import ChangesView, UndoView
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved

COLUMNS = [reserved("id"), Column("changes", "strings"), Column("written", "boolean")]


def shown(capsys: pytest.CaptureFixture[str], *rows: tuple[str, list[str], bool]) -> list[str]:
    """Return the lines that are printed of files."""
    names = [column.name for column in COLUMNS]
    values = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    view = ChangesView()
    view.write(Batch.build(COLUMNS, values))
    view.finish(len(rows), 0)
    return capsys.readouterr().out.splitlines()


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")


def test_a_file_is_a_block_of_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """Fields of one file would run into those of the next."""
    lines = shown(
        capsys,
        ("a.mp3", ["genre: Rock -> Rock; Pop", "mood: + happy"], False),
        ("b.mp3", ["bpm: - 120"], True),
    )
    assert lines == [
        "a.mp3", "  genre  Rock -> Rock; Pop", "  mood   + happy", "",
        "✓ b.mp3", "  bpm  - 120", "",
    ]  # fmt: skip


def test_files_without_a_word_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Among thousands of files as they should be nobody would find the three that change."""
    lines = shown(capsys, ("a.mp3", [], False), ("b.mp3", ["genre: + Dub"], False))
    assert "a.mp3" not in lines
    assert "b.mp3" in lines


def test_long_lines_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """`mt-tag --write ... | grep` on a terminal of 80 columns would find halves of lines."""
    said = "genre: " + "; ".join(f"Genre {number}" for number in range(20)) + " -> Rock"
    assert shown(capsys, ("a" * 100 + ".mp3", [said], False))[1] == f"  genre  {said[7:]}"


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "[bold]x[/bold]", "a\nb", "\u202egnp.exe"])
def test_names_and_values_are_shown_not_obeyed(
    capsys: pytest.CaptureFixture[str], hostile: str
) -> None:
    """A tag could colour the terminal, break lines or turn a name around."""
    out = "\n".join(shown(capsys, (hostile, [f"genre: {hostile} -> x"], False)))
    assert out.count("\n") == 2
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert ("[bold]x[/bold]" in out) == (hostile == "[bold]x[/bold]")


@pytest.mark.parametrize(
    ("said", "coloured"),
    [
        ("+ Rock", "\x1b[32m+ Rock"),
        ("- Rock", "\x1b[31m- Rock"),
        ("Rock -> Pop", "\x1b[31mRock\x1b[0m\x1b[2m -> \x1b[0m\x1b[32mPop"),
        ("Folk kept, Rock not written (--merge)", "\x1b[2mFolk kept, Rock not written (--merge)"),
        ("Pop was removed by somebody", "\x1b[2mPop was removed by somebody"),
    ],
)
def test_what_goes_is_red_and_what_comes_is_green(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, said: str, coloured: str
) -> None:
    """Colours would contradict what the words say."""
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert f"{coloured}\x1b[0m" in shown(capsys, ("a.mp3", [f"genre: {said}"], False))[1]


def test_an_undo_lists_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    """Of an undo people want to see what was restored, whatever the names are."""
    columns = [reserved("id"), reserved("path"), Column("restored", "boolean")]
    names = ["/music/a.mp3", "/music/\x1b[2J.mp3"]
    view = UndoView()
    view.write(Batch.build(columns, {"id": names, "path": names, "restored": [True, True]}))
    view.finish(2, 0)
    assert capsys.readouterr().out.splitlines() == ["↶ /music/a.mp3", "↶ /music/\\x1b[2J.mp3"]

"""What is typed as input: playlists and libraries beside folders and tables."""

from __future__ import annotations

import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from mt_tools.commands.inputs import open_inputs
from mt_tools.commands.settings import InputSettings
from mt_tools.errors import UsageError
from mt_tools.library.entries import COLUMN, from_text


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with two playlists that share a track."""
    monkeypatch.chdir(tmp_path)
    Path("one.m3u8").write_text("#EXTM3U\na.mp3\nb.mp3\na.mp3\n")
    Path("two.m3u").write_text("b.mp3\nhttp://x.example/live\n")


def test_playlists_are_tracks(sets: None) -> None:
    """`mt-tag set.m3u8` would call the set a broken table; a shared track would end the run."""
    source = open_inputs(["one.m3u8", "two.m3u"], InputSettings(), audio=True)
    (batch,) = source
    assert batch.names == ["id", "path"]
    assert batch.ids.tolist() == ["a.mp3", "b.mp3", "http://x.example/live"]
    assert batch["path"].tolist() == batch.ids.tolist()


def test_what_they_say_comes_along(sets: None) -> None:
    """mt-fetch folder would not learn which sets a track is in."""
    source = open_inputs(["one.m3u8", "two.m3u"], InputSettings(), audio=True, labels=True)
    (batch,) = source
    told = [from_text(text)[1]["playlists"] for text in batch[COLUMN]]
    assert told == [["one"], ["one", "two"], ["two"]]
    assert source.columns[COLUMN].settings == {"columns": ["playlists=playlists:multilabel"]}


def test_beside_a_folder(sets: None) -> None:
    """A folder and a set in one call would be refused, or the folder's tracks have labels."""
    Path("Music").mkdir()
    Path("Music/c.mp3").touch()
    source = open_inputs(["Music", "one.m3u8"], InputSettings(), audio=True, labels=True)
    rows = [pair for batch in source for pair in zip(batch.ids, batch[COLUMN], strict=True)]
    assert [id_ for id_, _ in rows] == ["c.mp3", "a.mp3", "b.mp3"]
    assert rows[0][1] is None


def test_where_a_table_is_expected(sets: None) -> None:
    """Who gives a set to mt-eval is told how to make a table of it."""
    with pytest.raises(UsageError, match=r"is a playlist: .* mt-fetch folder one\.m3u8"):
        open_inputs(["one.m3u8"], InputSettings(), audio=False)


@pytest.mark.parametrize(
    "head", [b"#EXTM3U\na.mp3\n", b'<?xml version="1.0"?>', b"SQLite format 3"]
)
def test_through_a_pipe(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of an XML file would be a track that is missing."""
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(head)))
    with pytest.raises(UsageError, match="name its file"):
        open_inputs(["-"], InputSettings(), audio=True)

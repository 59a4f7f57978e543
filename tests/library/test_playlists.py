"""M3U playlists as programs write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mt_tools.library import playlists
from mt_tools.library.entries import Entry


@pytest.fixture
def music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a folder of files, and one of playlists."""
    monkeypatch.chdir(tmp_path)
    Path("Music").mkdir()
    Path("sets").mkdir()
    for name in ("a.mp3", "é.mp3", "50% off.mp3"):
        Path("Music", name).touch()
    Path(os.fsdecode(b"Music/latin-\xe9.mp3")).touch()
    return tmp_path


def entries(content: str | bytes, name: str = "sets/x.m3u8") -> list[Entry]:
    """Write a playlist and read it."""
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return list(playlists.library(name).entries())


def test_extended(music: Path) -> None:
    """What the list says of its tracks would be lost, or go to the wrong ones."""
    found = entries(
        '#EXTM3U\r\n#PLAYLIST: Late Night \r\n#EXTINF:215 group="x",Ann - One - Live\r\n'
        "../Music/a.mp3\r\n\r\n# a remark\r\n../Music/é.mp3\r\n#EXTINF:-1,No dash\r\nnew.mp3\r\n"
    )
    assert [entry.path for entry in found] == ["Music/a.mp3", "Music/é.mp3", "sets/new.mp3"]
    assert found[0].fields == {
        "artist": ["Ann"], "title": ["One - Live"], "playlists": ["Late Night"]
    }  # fmt: skip
    assert found[1].fields == {"playlists": ["Late Night"]}
    assert found[2].fields == {"title": ["No dash"], "playlists": ["Late Night"]}


def test_plain(music: Path) -> None:
    """A list without a header is one, too, and is called as its file."""
    (entry,) = entries("../Music/a.mp3", "sets/Peak Time.m3u")
    assert (entry.path, entry.fields) == ("Music/a.mp3", {"playlists": ["Peak Time"]})


@pytest.mark.parametrize(
    "line",
    [
        b"../Music/\xc3\xa9.mp3",  # UTF-8
        b"..\\Music\\\xc3\xa9.mp3",  # from Windows
        b"../Music/\xe9.mp3",  # Latin-1, and the file's name is UTF-8
        b"../Music/%C3%A9.mp3",  # VLC
        "../Music/é.mp3".encode() + b"\r",
        b"\xef\xbb\xbf../Music/\xc3\xa9.mp3",
    ],
)
def test_ways_to_write_a_name(music: Path, line: bytes) -> None:
    """Files that are there would be reported missing because of how a program spells them."""
    assert [entry.path for entry in entries(line)] == ["Music/é.mp3"]


def test_names_that_look_encoded(music: Path) -> None:
    """A per cent sign in a name would be taken for an encoded byte; bytes stay bytes."""
    found = entries(b"../Music/50% off.mp3\n../Music/latin-\xe9.mp3\n")
    assert [os.fsencode(entry.path or "") for entry in found] == [
        b"Music/50% off.mp3", b"Music/latin-\xe9.mp3"
    ]  # fmt: skip


def test_utf_16(music: Path) -> None:
    """Lists of Windows programs would be noise."""
    assert [e.path for e in entries("#EXTM3U\r\n../Music/é.mp3\r\n".encode("utf-16"))] == [
        "Music/é.mp3"
    ]


def test_uris_streams_and_drives(music: Path) -> None:
    """What is no file here must be reported as what it is."""
    uri = Path("Music/a.mp3").absolute().as_uri()
    found = entries(f"{uri}\nhttp://radio.example/live\nD:\\Music\\x.mp3\n/abs/../y.mp3\n")
    assert [entry.path for entry in found] == [
        str(music / "Music" / "a.mp3"), "http://radio.example/live", "D:/Music/x.mp3", "/y.mp3"
    ]  # fmt: skip


def test_beyond_a_link(music: Path) -> None:
    """Behind a link to a folder `..` is not where the path seems to go."""
    Path("elsewhere/deep").mkdir(parents=True)
    Path("elsewhere/b.mp3").touch()
    Path("sets/link").symlink_to("../elsewhere/deep")
    (entry,) = entries("link/../b.mp3")
    assert os.path.exists(entry.path or "")

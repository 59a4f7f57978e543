"""What libraries share: addresses of files, and several libraries as one."""

from __future__ import annotations

import os

import pytest

from mt_tools.library.entries import (
    Entry,
    Library,
    from_text,
    is_address,
    local_path,
    stars,
    to_text,
    united,
)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("file://localhost/Users/me/My%20Song%20%231.mp3", "/Users/me/My Song #1.mp3"),
        ("file:///music/a+b.mp3", "/music/a+b.mp3"),
        ("FILE://LOCALHOST/x.mp3", "/x.mp3"),
        ("file://localhost//tmp/x.mp3", "/tmp/x.mp3"),
        ("file:/x.mp3", "/x.mp3"),
        ("file:sub/x.mp3", "sub/x.mp3"),
        ("file://localhost/C:/Music/%C3%A9.mp3", "C:/Music/é.mp3"),
        ("file:///c:/x.mp3", "c:/x.mp3"),
        ("file://nas/share/x.mp3", "//nas/share/x.mp3"),
        ("file:///caf%E9.mp3", os.fsdecode(b"/caf\xe9.mp3")),
        ("/plain/100%.mp3", "/plain/100%.mp3"),
    ],
)
def test_locations(location: str, path: str) -> None:
    """Tracks of a library would be looked for under names that no file has."""
    assert local_path(location) == path


def test_addresses() -> None:
    """A stream would be reported as a file that was moved; `C:/x` and `a:b` are no streams."""
    assert all(map(is_address, ["https://radio.example/x", "tidal://track/1"]))
    assert not any(map(is_address, ["C:/x.mp3", "a:b.mp3", "/x.mp3", "x:"]))


@pytest.mark.parametrize(
    ("text", "top", "expected"),
    [("255", 255, "5"), ("51", 255, "1"), ("60", 100, "3"), ("50", 100, "2.5"), ("0", 255, None),
     ("", 255, None), (None, 100, None), ("x", 100, None)],
)  # fmt: skip
def test_stars(text: str | None, top: int, expected: str | None) -> None:
    """A track that was never rated would be learnt as the worst."""
    assert stars(text, top) == expected


def library(name: str, leads: bool, *entries: Entry) -> Library:
    """Return a library of these tracks."""
    return Library(name, name, (), leads, lambda: iter(entries))


def test_a_track_of_several_libraries() -> None:
    """Two playlists that share a track would make two tracks of it, or lose one of their names."""
    one = library("one", False, Entry("a", "a", {"playlists": ["One"], "title": ["Guess"]}))
    two = library("two", False, Entry("b", "b", {"playlists": ["Two"]}),
                  Entry("a", "a", {"playlists": ["Two"]}))  # fmt: skip
    three = library("three", True, Entry("a", "a", {"title": ["Known"], "playlists": ["Set"]}))
    (a, a_leads), (b, b_leads) = united([one, two, three])
    assert (a.path, a.fields) == ("a", {"playlists": ["One", "Two", "Set"], "title": ["Known"]})
    assert (b.path, b.fields) == ("b", {"playlists": ["Two"]})
    assert (a_leads, b_leads) == (True, False)


def test_a_track_listed_twice_is_one() -> None:
    """A set that plays a track twice would have two rows of one id."""
    entries = [Entry("a", "a", {}), Entry(None, "x", {}), Entry("a", "a", {}), Entry(None, "y", {})]
    assert [entry.path for entry, _ in united([library("one", False, *entries)])] == [
        "a", None, None
    ]  # fmt: skip


def test_tracks_without_a_file_stay_apart() -> None:
    """Tracks in the cloud would all become one."""
    one = library("one", True, Entry(None, "x", {"title": ["1"]}), Entry(None, "y", {}))
    two = library("two", True, Entry(None, "x", {"title": ["2"]}))
    assert [entry.fields.get("title") for entry, _ in united([one, two])] == [["1"], None, ["2"]]


def test_fields_travel_as_text() -> None:
    """Names in other scripts, quotes and line breaks would not reach the stage."""
    fields = {"title": ['Ω "x"\n|'], "playlists": ["a", "b/c"]}
    assert from_text(to_text(Entry("p", "p", fields), True)) == (True, fields)

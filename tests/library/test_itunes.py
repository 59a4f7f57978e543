"""The property list that iTunes and Music keep or export."""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_tools.errors import BrokenTable
from mt_tools.library import itunes
from mt_tools.library.markup import plist_values


def test_a_library(tmp_path: Path) -> None:
    """A librarian's labels would be lost; guessed ratings and playlists of everything would not."""
    path = tmp_path / "Library.xml"
    tracks = {
        "1": {"Track ID": 1, "Name": "Öne", "Artist": "Ann", "Album Artist": "Various",
              "Genre": "Rock", "BPM": 120, "Year": 1999, "Rating": 80, "Grouping": "peak",
              "Comments": "nice\nsong", "Compilation": True,
              "Location": "file://localhost/Users/me/%C3%96ne%20%231.mp3"},
        "2": {"Track ID": 2, "Name": "Two", "Rating": 60, "Rating Computed": True, "BPM": 0,
              "Location": "file:///Users/me/two.m4a"},
        "3": {"Track ID": 3, "Name": "Cloud", "Track Type": "Remote"},
    }  # fmt: skip
    playlists: list[dict[str, Any]] = [
        {"Name": "Library", "Master": True, "Playlist Persistent ID": "A",
         "Playlist Items": [{"Track ID": n} for n in (1, 2, 3)]},
        {"Name": "Music", "Distinguished Kind": 4, "Playlist Persistent ID": "B",
         "Playlist Items": [{"Track ID": 1}]},
        {"Name": "Sets", "Folder": True, "Playlist Persistent ID": "C",
         "Playlist Items": [{"Track ID": 1}]},
        {"Name": "Friday", "Playlist Persistent ID": "D", "Parent Persistent ID": "C",
         "Playlist Items": [{"Track ID": 2}, {"Track ID": 1}]},
        {"Name": "Empty", "Playlist Persistent ID": "E"},
    ]  # fmt: skip
    path.write_bytes(
        plistlib.dumps({"Major Version": 1, "Tracks": tracks, "Playlists": playlists},
                       sort_keys=False)
    )  # fmt: skip
    one, two, three = itunes.library(str(path)).entries()
    assert one.path == "/Users/me/Öne #1.mp3"
    assert one.fields == {
        "title": ["Öne"], "artist": ["Ann"], "albumartist": ["Various"], "genre": ["Rock"],
        "bpm": ["120"], "date": ["1999"], "stars": ["4"], "grouping": ["peak"],
        "comment": ["nice\nsong"], "compilation": ["true"], "playlists": ["Sets/Friday"],
    }  # fmt: skip
    assert (two.path, two.fields) == (
        "/Users/me/two.m4a", {"title": ["Two"], "playlists": ["Sets/Friday"]}
    )  # fmt: skip
    assert (three.path, three.name) == (None, "Cloud (iTunes 3)")


def test_half_an_export(tmp_path: Path) -> None:
    """A library that was cut while it was written would silently lose tracks."""
    whole = plistlib.dumps({"Tracks": {"1": {"Track ID": 1, "Name": "x" * 100}}})
    (tmp_path / "x.xml").write_bytes(whole[:-60])
    with pytest.raises(BrokenTable, match="not whole XML"):
        list(itunes.library(str(tmp_path / "x.xml")).entries())


keys = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=5)
scalars = st.one_of(st.booleans(), st.integers(0, 9999), keys)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)


def flattened(tree: Any, keys: tuple[str | int, ...] = ()) -> list[tuple[tuple[Any, ...], str]]:
    """Return the leaves of a tree behind their keys."""
    if isinstance(tree, dict):
        pairs: Any = tree.items()
    elif isinstance(tree, list):
        pairs = enumerate(tree)
    else:
        return [(keys, str(tree).lower() if isinstance(tree, bool) else str(tree))]
    return [leaf for key, value in pairs for leaf in flattened(value, (*keys, key))]


@given(tree=st.dictionaries(keys, trees, max_size=4))
@settings(max_examples=50, deadline=None)
def test_values_of_any_property_list(tree: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A value would be read as another key's, wherever lists and dictionaries are nested."""
    path = tmp_path_factory.mktemp("plist") / "x.xml"
    path.write_bytes(plistlib.dumps(tree, sort_keys=False))
    assert list(plist_values(str(path))) == flattened(tree)

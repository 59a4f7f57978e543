"""The library of beets, in its own schema."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mt_tools.errors import BrokenTable
from mt_tools.library import beets

# Of beets 2.14, as far as it matters here: `beet import` makes these tables.
SCHEMA = """
CREATE TABLE items (id INTEGER PRIMARY KEY, path BLOB, album_id INTEGER, title TEXT, artist TEXT,
  albumartist TEXT, album TEXT, genres TEXT, year INTEGER, month INTEGER, bpm INTEGER,
  initial_key TEXT, comments TEXT, grouping TEXT, length REAL, rg_track_gain REAL, mtime REAL);
CREATE TABLE item_attributes (id INTEGER PRIMARY KEY, entity_id INTEGER, key TEXT, value TEXT);
CREATE TABLE album_attributes (id INTEGER PRIMARY KEY, entity_id INTEGER, key TEXT, value TEXT);
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library of two tracks; the second says next to nothing."""
    path = tmp_path / "my library.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA)
        database.execute(
            "INSERT INTO items VALUES (1, ?, 5, 'Öne', 'Ann', 'Ann', 'Disc', ?, 1999, 3, 120, "
            "'8A', 'nice', '', 215.5, -7.5, 1.0)",
            (b"sub/caf\xe9.mp3", "House\\␀Techno"),
        )
        database.execute(
            "INSERT INTO items VALUES (2, ?, NULL, 'Two', '', '', '', '', 0, 0, 0, NULL, '', '', "
            "1, NULL, 1.0)",
            (b"/abs/two.flac",),
        )
        database.execute("INSERT INTO album_attributes VALUES (1, 5, 'shelf', 'top')")
        database.execute("INSERT INTO album_attributes VALUES (2, 5, 'mood', 'calm')")
        database.execute("INSERT INTO item_attributes VALUES (1, 1, 'mood', 'happy')")
        database.commit()
    return path


def test_a_library(library: Path) -> None:
    """Labels of beets, its own and those a user invented, would not be found."""
    one, two = beets.library(str(library)).entries()
    assert one.path == "sub/caf\udce9.mp3"
    assert one.fields == {
        "title": ["Öne"], "artist": ["Ann"], "albumartist": ["Ann"], "album": ["Disc"],
        "genre": ["House", "Techno"], "date": ["1999"], "bpm": ["120"], "key": ["8A"],
        "comment": ["nice"], "rg_track_gain": ["-7.5"], "shelf": ["top"], "mood": ["happy"],
    }  # fmt: skip
    assert (two.path, two.fields) == ("/abs/two.flac", {"title": ["Two"]})


@pytest.mark.parametrize("line", ["directory: /music", 'directory:   "/music"  # mine'])
def test_paths_below_the_folder_of_the_music(library: Path, line: str) -> None:
    """Newer versions keep paths relative to a folder that only the configuration names."""
    (library.parent / "config.yaml").write_text(f"plugins: []\n{line}\nimport:\n  copy: no\n")
    assert [entry.path for entry in beets.library(str(library)).entries()] == [
        "/music/sub/caf\udce9.mp3", "/abs/two.flac"
    ]  # fmt: skip


def test_it_is_only_read(library: Path) -> None:
    """A scan must not touch the library, nor leave files beside it."""
    library.chmod(0o444)
    before = library.read_bytes()
    list(beets.library(str(library)).entries())
    assert library.read_bytes() == before
    assert [path.name for path in library.parent.iterdir()] == [library.name]


def test_another_database(tmp_path: Path) -> None:
    """Some other program's database is answered with what to name instead."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        database.execute("CREATE TABLE songs (id)")
        database.commit()
    with pytest.raises(BrokenTable, match="no library of beets that can be read"):
        list(beets.library(str(tmp_path / "x.db")).entries())

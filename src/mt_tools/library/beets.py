"""The library of beets: a SQLite file, opened for reading only.

Every filled column of `items` is a field, and so is every flexible attribute of a track, or else of
its album. Several values in one text are as beets separates them; a genre such as `Rock, Pop` is
one text still, which `--separator` may part. Newer versions keep paths relative to beets'
`directory`, which the `config.yaml` beside the library says; where none does they stay relative.
Source: beets' documentation ("Library Database API"), and the schema inside the file.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

from mt_tools.errors import BrokenTable
from mt_tools.library.entries import Entry, Library, fields_from

COLUMNS = ("key=key", "comment=comment", "grouping=grouping", "label=label")
HEAD = b"SQLite format 3\0"

_NAMES = {"year": "date", "comments": "comment", "initial_key": "key", "genres": "genre"} | {
    "track": "tracknumber", "disc": "discnumber"
}  # fmt: skip
_FILES = frozenset(
    {"id", "path", "album_id", "mtime", "added", "length", "bitrate", "samplerate", "bitdepth"}
    | {"channels", "format", "month", "day"}
)
_SEPARATOR = "\\␀"


def library(path: str) -> Library:
    """Return a library of beets; reading it raises `BrokenTable` where it is none."""
    return Library("a library of beets", path, COLUMNS, True, lambda: _entries(path))


def _entries(path: str) -> Iterator[Entry]:
    folder = _directory(path)
    address = f"file:{quote(os.path.abspath(path))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            database.row_factory = sqlite3.Row
            database.text_factory = lambda raw: raw.decode("utf-8", "replace")
            of_albums = _attributes(database, "album_attributes")
            for item in database.execute("SELECT * FROM items ORDER BY id"):
                album = item["album_id"] if "album_id" in item.keys() else None  # noqa: SIM118
                free = of_albums.get(album, {}) | dict(
                    database.execute(
                        "SELECT key, value FROM item_attributes WHERE entity_id = ?", (item["id"],)
                    ).fetchall()
                )
                yield _entry(dict(item), free, folder)
    except sqlite3.Error as error:
        raise BrokenTable(
            f"{path}: no library of beets that can be read ({error}): see `beet config -p`, and "
            "name the file that `library:` says"
        ) from error


def _attributes(database: sqlite3.Connection, table: str) -> dict[Any, dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for entity, key, value in database.execute(f"SELECT entity_id, key, value FROM {table}"):
        found.setdefault(entity, {})[key] = value
    return found


def _directory(path: str) -> str:
    """Return the folder of the music; empty where no configuration says it."""
    try:
        with open(os.path.join(os.path.dirname(path), "config.yaml"), encoding="utf-8") as file:
            found = re.search(r"^directory:[ \t]*(.+?)[ \t]*(?: #.*)?$", file.read(), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return ""
    return os.path.expanduser(found[1].strip("'\"")) if found else ""


def _entry(item: dict[str, Any], free: dict[str, Any], folder: str) -> Entry:
    path = item["path"]
    if item.get("genres"):  # the list, of which old versions knew the first alone
        item = {name: value for name, value in item.items() if name != "genre"}
    texts: dict[str, list[str]] = {}
    for name, value in {**free, **item}.items():
        # Numbers are 0 where beets does not know them.
        if name not in _FILES and value not in (None, "", 0) and not isinstance(value, bytes):
            said = f"{value:g}" if isinstance(value, float) else str(value)
            texts[_NAMES.get(name, name)] = said.split(_SEPARATOR)
    return Entry(
        path=os.path.join(folder, os.fsdecode(path)) if path else None,
        name=f"{item.get('title', '')} (beets {item['id']})",
        fields=fields_from(texts),
    )

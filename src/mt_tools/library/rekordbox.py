"""Rekordbox, by the XML that it exports (File, Export Collection in xml format).

The collection comes first and the playlists last, so the file is read twice: once for which track
is in which playlists, once for the tracks. My Tags are exported inside comments only, as
`/* Peak / Vocal */`; they are the field `mytags`.
Source: "rekordbox xml format list", AlphaTheta.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from mt_tools.library.entries import Entry, Library, fields_from, local_path, positive, stars
from mt_tools.library.markup import elements

COLUMNS = (
    "playlists=playlists:multilabel",
    "mytags=mytags:multilabel",
    "key=key",
    "rating=stars:regression",
    "comment=comment",
    "grouping=grouping",
    "label=label",
)
ROOT = b"<DJ_PLAYLISTS"
MYTAGS = re.compile(r"/\*(.*?)\*/", re.DOTALL)
SEPARATOR = " / "

# Attributes by our names; the others keep theirs, in lower case.
_NAMES = {"Name": "title", "AverageBpm": "bpm", "Tonality": "key", "Comments": "comment"} | {
    "Year": "date"
}
_FILES = frozenset({"TrackID", "Location", "Size", "TotalTime", "BitRate", "SampleRate", "Rating"})
_COUNTS = frozenset({"Year", "AverageBpm", "DiscNumber", "TrackNumber", "PlayCount"})
_BY_ID = "0"  # a playlist's KeyType: its keys are the ids of tracks, else their locations


def library(path: str) -> Library:
    """Return an exported collection; reading it raises as `markup.elements` does."""
    return Library("a Rekordbox collection", path, COLUMNS, True, lambda: _entries(path))


def _entries(path: str) -> Iterator[Entry]:
    playlists = _playlists(path)
    for begins, name, said in elements(path):
        if not begins or name != "TRACK" or not said.keys() & {"TrackID", "Location"}:
            if begins and name == "PLAYLISTS":
                return
            continue
        location = said.get("Location", "")
        names = [*playlists[True, said.get("TrackID", "")], *playlists[False, location]]
        yield Entry(
            path=local_path(location) or None,
            name=f"{said.get('Name', '')} (Rekordbox {said.get('TrackID', '')})",
            fields=_fields(said) | fields_from({"playlists": names}),
        )


def _fields(said: dict[str, str]) -> dict[str, list[str]]:
    texts: dict[str, str | list[str] | None] = {
        _NAMES.get(name, name.lower()): positive(text) if name in _COUNTS else text
        for name, text in said.items()
        if name not in _FILES
    }
    texts["stars"] = stars(said.get("Rating"), 255)
    texts["mytags"] = mytags(said.get("Comments", ""))
    return fields_from(texts)


def mytags(comment: str) -> list[str]:
    """Return the My Tags inside a comment.

    >>> mytags("great /* Peak / Vocal */")
    ['Peak', 'Vocal']
    """
    tags = [tag.strip() for inside in MYTAGS.findall(comment) for tag in inside.split(SEPARATOR)]
    return list(filter(None, tags))


def _playlists(path: str) -> defaultdict[tuple[bool, str], list[str]]:
    """Return the playlists of a track by (by id?, id or location)."""
    found: defaultdict[tuple[bool, str], list[str]] = defaultdict(list)
    folders: list[tuple[str, bool]] = []  # the name down to here, and whether keys are ids
    for begins, name, said in elements(path):
        if name == "NODE":
            if not begins:
                folders.pop()
                continue
            above = folders[-1][0] if len(folders) > 1 else ""  # the first is ROOT
            called = f"{above}/{said.get('Name', '')}" if above else said.get("Name", "")
            folders.append((called, said.get("KeyType", _BY_ID) == _BY_ID))
        elif begins and name == "TRACK" and folders:
            called, by_id = folders[-1]
            found[by_id, said.get("Key", "")].append(called)
    return found

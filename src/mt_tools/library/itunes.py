"""iTunes and Music, by the XML that they keep or export (File, Library, Export Library).

A property list: `Tracks` by their ids, then `Playlists`, so the file is read twice: once for which
track is in which playlists, once for the tracks. Playlists that iTunes makes of the whole library
(Music, Films, ...) are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby

from mt_tools.library.entries import Entry, Library, fields_from, local_path, positive, stars
from mt_tools.library.markup import Key, plist_values

COLUMNS = (
    "playlists=playlists:multilabel",
    "rating=stars:regression",
    "comment=comment",
    "grouping=grouping",
)
ROOT = b"<plist"

# Keys by our names; the others keep theirs, in lower case.
_NAMES = {"Name": "title", "Album Artist": "albumartist", "Year": "date", "Comments": "comment"} | {
    "Track Number": "tracknumber", "Disc Number": "discnumber", "Play Count": "playcount"
}  # fmt: skip
_FILES = frozenset(
    {"Track ID", "Location", "Size", "Total Time", "Bit Rate", "Sample Rate", "Rating"}
    | {"Persistent ID", "Track Type", "File Folder Count", "Library Folder Count"}
    | {"Date Modified", "Album Rating", "Rating Computed", "Artwork Count"}
)
_COUNTS = frozenset({"Year", "BPM"})


def library(path: str) -> Library:
    """Return an exported library; reading it raises as `markup.elements` does."""
    return Library("an iTunes library", path, COLUMNS, True, lambda: _entries(path))


def _entries(path: str) -> Iterator[Entry]:
    playlists = _playlists(path)
    in_tracks = (pair for pair in plist_values(path) if len(pair[0]) == 3)
    for (section, number), pairs in groupby(in_tracks, key=lambda pair: pair[0][:2]):
        if section == "Playlists":
            return
        if section != "Tracks":
            continue
        said = {str(keys[2]): text for keys, text in pairs}
        names = playlists[said.get("Track ID", str(number))]
        yield Entry(
            path=local_path(said.get("Location", "")) or None,
            name=f"{said.get('Name', '')} (iTunes {number})",
            fields=_fields(said) | fields_from({"playlists": names}),
        )


def _fields(said: dict[str, str]) -> dict[str, list[str]]:
    texts = {
        _NAMES.get(name, name.lower()): positive(text) if name in _COUNTS else text
        for name, text in said.items()
        if name not in _FILES
    }
    if said.get("Rating Computed") != "true":  # one guessed from those of the album
        texts["stars"] = stars(said.get("Rating"), 100)
    return fields_from(texts)


def _playlists(path: str) -> defaultdict[str, list[str]]:
    """Return the playlists of each track by its id."""
    tracks: list[tuple[str, str]] = []  # a playlist's persistent id, a track
    names: dict[str, tuple[str, str]] = {}  # by persistent id: the name, the folder's id
    values = (pair for pair in plist_values(path) if pair[0][:1] == ("Playlists",))
    for number, pairs in groupby(values, key=lambda pair: pair[0][1]):
        said: dict[Key, str] = {}
        items = []
        for keys, text in pairs:
            if len(keys) == 3:
                said[keys[2]] = text
            elif keys[2] == "Playlist Items" and keys[-1] == "Track ID":
                items.append(text)
        own = said.get("Playlist Persistent ID", str(number))
        names[own] = (said.get("Name", ""), said.get("Parent Persistent ID", ""))
        if "Master" not in said and "Distinguished Kind" not in said and "Folder" not in said:
            tracks += [(own, item) for item in items]
    found: defaultdict[str, list[str]] = defaultdict(list)
    for own, item in tracks:
        found[item].append(_called(own, names))
    return found


def _called(own: str, names: dict[str, tuple[str, str]]) -> str:
    parts: list[str] = []
    seen = set()
    while own in names and own not in seen:
        seen.add(own)
        name, own = names[own]
        parts.insert(0, name)
    return "/".join(parts)

"""This Is My Jam: who called which song their favourite.

`archive/jams.tsv`: jam_id, user_id, artist, title, creation_date, link, spotify_uri, parted by tabs
and not quoted; `jam_to_msd.tsv`: the track of the Million Song Dataset that a jam was matched with.
A song is a track of that data set or, in the set `all`, an artist and title whatever their case.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, cells, clean, need
from mt_tools.datasets.triplets import names_by_second

HEADER = ("jam_id", "user_id", "artist", "title", "creation_date", "link", "spotify_uri")


def index(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the songs with all who called them their jam."""
    jams = need(
        data, folder, "archive/jams.tsv", "jams.tsv", "thisismyjam-datadump/archive/jams.tsv"
    )
    tracks = _tracks(need(data, folder, "jam_to_msd.tsv")) if set_ == "million-song" else None
    spelled: dict[str, tuple[str, str]] = {}

    def pairs() -> Iterator[tuple[str, str]]:
        for row in cells(jams, "\t", quoted=False):
            if len(row) < 4:  # a title with a line end in it
                continue
            jam, user, artist, title = row[0], row[1], clean(row[2]), clean(row[3])
            song = f"{artist} - {title}".casefold() if tracks is None else tracks.get(jam)
            if jam != HEADER[0] and song and artist and title:
                spelled.setdefault(song, (artist, title))
                yield user, song

    for song, listeners in names_by_second(pairs()):
        artist, title = spelled[song]
        yield {
            "id": song,
            "group": artist,
            "artist": artist,
            "title": title,
            "listeners": listeners,
        }


def _tracks(path: Path) -> dict[str, str]:
    """Return the track of the Million Song Dataset of each jam."""
    rows = (row for row in cells(path, "\t", quoted=False) if len(row) > 1)
    return {row[0]: row[1] for row in rows if row[1] != "msd_id"}


def make_tiny(data: Dataset, folder: Path) -> None:
    """Write nine jams of four users; six are matched, and two spell one song differently."""
    songs = [
        ("The Artist", "A Song"),
        ("the artist", "a song"),
        ("Other", 'A "title'),
        ("", "None"),
    ]
    lines, matched = ["\t".join(HEADER)], []
    for number in range(9):
        artist, title = songs[number % 4 if number != 8 else 0]
        jam, user = f"{number:032x}", f"{number % 4 + 100:032x}"
        lines.append(f"{jam}\t{user}\t{artist}\t{title}\t2015-09-03\thttp://x/\t")
        if number % 3:
            matched.append(f"{jam}\tTRAAA{'AAB'[number % 3]}A128F42AAAA1")
    tiny.text(folder / "archive" / "jams.tsv", lines)
    tiny.text(folder / "jam_to_msd.tsv", matched)

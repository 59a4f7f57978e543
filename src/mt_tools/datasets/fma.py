"""FMA: the tracks of a subset, their genres, the official split.

`fma_metadata/tracks.csv` has three lines of header: group of columns, column, name of the index.
A subset holds the smaller ones, so that the files of a larger one serve a smaller set as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, cells, clean, need, table
from mt_tools.errors import UsageError

SUBSETS = ("small", "medium", "large")
PARTS = {"training": "train", "validation": "valid", "test": "test"}
_COLUMNS = {
    "subset": ("set", "subset"),
    "part": ("set", "split"),
    "group": ("artist", "id"),
    "artist": ("artist", "name"),
    "album": ("album", "title"),
    "title": ("track", "title"),
    "genre_top": ("track", "genre_top"),
    "genres": ("track", "genres"),
    "genres_all": ("track", "genres_all"),
}


def index(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the tracks of the subset `set_`, in the order of their numbers."""
    tracks = need(data, folder, "fma_metadata/tracks.csv", "tracks.csv")
    titles = {
        row["genre_id"]: row["title"]
        for row in table(tracks.parent / "genres.csv", "genre_id", "title")
    }
    held = SUBSETS if set_ == "full" else SUBSETS[: SUBSETS.index(set_) + 1]
    larger = ("full",) if set_ == "full" else SUBSETS[SUBSETS.index(set_) :]
    audio = need(data, folder, *(f"fma_{name}" for name in larger)).name
    rows = cells(tracks)
    groups, names, _ = (next(rows, []) for _ in range(3))
    places = {pair: place for place, pair in enumerate(zip(groups, names, strict=False))}
    try:
        at = {name: places[pair] for name, pair in _COLUMNS.items()}
    except KeyError as error:
        raise UsageError(
            f"{tracks}: no column {error}: expected tracks.csv of fma_metadata.zip as of 2017"
        ) from error
    for row in rows:
        if row[at["subset"]] not in held:
            continue
        track = f"{int(row[0]):06d}"
        yield {
            "path": f"{audio}/{track[:3]}/{track}.mp3",
            "group": row[at["group"]],
            "part": PARTS.get(row[at["part"]]),
            **{name: clean(row[at[name]]) for name in ("artist", "album", "title", "genre_top")},
            **{
                name: [titles.get(str(number), str(number)) for number in json.loads(row[at[name]])]
                for name in ("genres", "genres_all")
            },
        }


def make_tiny(data: Dataset, folder: Path) -> None:
    """Write six tracks of each subset, in the folders of all four, with their metadata."""
    rows = []
    for number in range(18):
        track = number * 61 + 2
        kind = SUBSETS[number // 6]
        top = ("Rock", "Hip-Hop", "")[number % 3]
        part = ("training", "training", "validation", "test")[number % 4]
        genres = {"Rock": "[12]", "Hip-Hop": "[21, 100]", "": "[12, 21]"}[top]
        rows.append(
            f"{track},Album {number},{number % 4},Artist {number % 4},{part},{kind},{top},"
            f'"{genres}","{genres}","A title, {number}"'
        )
        for subset in (*SUBSETS[SUBSETS.index(kind) :], "full"):
            tiny.sound(folder / f"fma_{subset}" / f"{track:06d}"[:3] / f"{track:06d}.mp3")
    tiny.text(
        folder / "fma_metadata" / "tracks.csv",
        [
            ",album,artist,artist,set,set,track,track,track,track",
            ",title,id,name,split,subset,genre_top,genres,genres_all,title",
            "track_id,,,,,,,,,",
            *rows,
        ],
    )
    tiny.text(
        folder / "fma_metadata" / "genres.csv",
        [
            "genre_id,#tracks,parent,title,top_level",
            "12,12,0,Rock,12",
            "21,12,0,Hip-Hop,21",
            "100,6,21,Alternative Hip-Hop,21",
        ],
    )

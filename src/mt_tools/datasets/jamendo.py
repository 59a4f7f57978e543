"""MTG-Jamendo: the tags of a track, and five splits with artists apart.

`data/splits/split-0/autotagging_genre-train.tsv` and its like: track, artist, album, path, seconds,
and then as many tags as there are. The lists of the splits are what is read, since they leave out
the few tags that one of their parts lacks. Audio: `audio/24/3524.mp3` or `audio/24/3524.low.mp3`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, cells, need
from mt_tools.errors import UsageError

PARTS = {"train": "train", "validation": "valid", "test": "test"}
_HEADER = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]


def index(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the tracks of a set in the order of the lists: train, valid, test."""
    repository = "mtg-jamendo-dataset"
    lists = need(
        data,
        folder,
        f"data/splits/{split}",
        f"{repository}/data/splits/{split}",
        f"{repository}-master/data/splits/{split}",
    )
    ending = ".low.mp3" if data.name.endswith("-low") else ".mp3"
    audio = "audio/" if need(data, folder, "audio", "00").name == "audio" else ""
    for listed, part in PARTS.items():
        path = lists / f"{_list_of(set_)}-{listed}.tsv"
        if not path.is_file():
            raise UsageError(f"{path}: missing: the lists of {split} are not whole; get them again")
        rows = cells(path, "\t", quoted=False)
        if next(rows, [])[:6] != _HEADER:
            raise UsageError(f"{path}: its first line is not {' '.join(_HEADER)}; get it again")
        for _, artist, _, place, _, *tags in rows:
            yield {
                "path": audio + place.removesuffix(".mp3") + ending,
                "group": artist,
                "part": part,
                "tags": tags,
            }


def _list_of(set_: str) -> str:
    return "autotagging" if set_ == "all" else f"autotagging_{set_}"


def make_tiny(data: Dataset, folder: Path) -> None:
    """Write twelve tracks of six artists, and the lists of all sets and splits."""
    ending = ".low.mp3" if data.name.endswith("-low") else ".mp3"
    tags = {
        "genre": ["genre---rock", "genre---ambient"],
        "instrument": ["instrument---piano", "instrument---guitar"],
        "moodtheme": ["mood/theme---happy", "mood/theme---film"],
    }
    for track in range(12):
        place = f"{(1000 + track) % 100:02d}/{1000 + track}"
        tiny.sound(folder / "audio" / f"{place}{ending}")
    for number in range(5):
        for set_ in data.sets:
            for step, part in enumerate(PARTS):
                lines = ["\t".join(_HEADER)]
                for track in range(12):
                    artist = track // 2
                    if (artist + number) % 3 != step:
                        continue
                    own = [name for kind in tags for name in (tags[kind][track % 2],)]
                    kept = tags.get(set_, own)
                    place = f"{(1000 + track) % 100:02d}/{1000 + track}.mp3"
                    line = [
                        f"track_{1000 + track:07d}",
                        f"artist_{artist:06d}",
                        f"album_{artist:06d}",
                    ]
                    lines.append(
                        "\t".join([*line, place, "29.0", *(tag for tag in own if tag in kept)])
                    )
                lists = folder / "data" / "splits" / f"split-{number}"
                tiny.text(lists / f"{_list_of(set_)}-{part}.tsv", lines)

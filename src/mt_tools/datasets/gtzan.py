"""GTZAN: genres, and music/speech. The labels are the names of the folders.

Layout: `genres/blues/blues.00000.wav` as in the archive of 2001; the copy that is widely mirrored
calls the folder `genres_original`. The artists and the fault-filtered split stand in `data/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, below, files_in, need

GENRES = (
    "blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock",
)  # fmt: skip
_MIRRORED = ("genres", "genres_original", "Data/genres_original", "blues")


def genres(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the excerpts, with genre and artist."""
    found = need(data, folder, *_MIRRORED)
    root = folder if found.name == "blues" else found
    artists, parts = listed("gtzan-artists"), listed("gtzan-fault-filtered")
    for genre in GENRES:
        for path in files_in(root / genre):
            excerpt = data.file_of(path.name)
            if excerpt:
                yield {
                    "path": below(folder, path),
                    "group": artists.get(excerpt),
                    "part": parts.get(excerpt),
                    "genre": genre,
                }


@cache
def listed(name: str) -> dict[str, str]:
    """Return what a list in `data/` says of each excerpt: its artist, its part of a split."""
    known = {}
    for line in (Path(__file__).parent / "data" / f"{name}.tsv").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            value, genre, numbers = line.split("\t")
            for span in numbers.split(","):
                first, _, last = span.partition("-")
                for number in range(int(first), int(last or first) + 1):
                    known[f"{genre}.{number:05d}"] = value
    return known


def tiny_genres(data: Dataset, folder: Path) -> None:
    """Write four excerpts a genre: two of train and one of each other part of the split."""
    parts = listed("gtzan-fault-filtered")
    for genre in GENRES:
        for part, count in {"train": 2, "valid": 1, "test": 1}.items():
            of_part = sorted(e for e, p in parts.items() if p == part and e.startswith(genre + "."))
            for excerpt in of_part[:count]:
                tiny.sound(folder / "genres" / genre / f"{excerpt}.wav")
    tiny.sound(folder / "genres" / "hiphop" / "hiphop.00039.wav")  # a repetition, in no part


def music_speech(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the excerpts, with their class."""
    root = need(data, folder, "music_speech/music_wav", "music_wav").parent
    for name in ("music", "speech"):
        for path in files_in(need(data, root, f"{name}_wav")):
            yield {"path": below(folder, path), "class": name}


def tiny_music_speech(data: Dataset, folder: Path) -> None:
    """Write two excerpts a class."""
    for name in ("music_wav/bagpipe", "music_wav/ballad", "speech_wav/acomic", "speech_wav/amal"):
        tiny.sound(folder / "music_speech" / f"{name}.wav")

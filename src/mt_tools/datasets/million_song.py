"""The labels of the Million Song Dataset: year, tempo, Last.fm tags, listeners, words of lyrics.

There is no audio: a row is a track by its id (`TRAAAAW128F429D538`), to be joined with one's own.
The files are large, so each is read as a stream: the year and the words line by line, the tempo
from the HDF5 file chunk by chunk, the tags from SQLite ordered by track. The artist of a track
comes from `unique_tracks.txt`, held as two arrays (26 MB for a million tracks). For the listeners
of a song 48 million triplets, sorted by user, have to be sorted by song: see `triplets`.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, clean, need, text_lines
from mt_tools.datasets.triplets import by_second
from mt_tools.errors import UsageError

SEPARATOR = "<SEP>"
CHUNK = 4096

TOP50 = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s",
    "alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists",
    "classic rock", "soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill",
    "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic", "experimental",
    "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening",
    "sexy", "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb",
    "indie pop", "sad", "House", "happy",
)  # fmt: skip
"""The fifty tags of K. Choi et al. 2016 (github.com/jongpillee/music_dataset_split, 50tagList)."""


def index(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the tracks that have a label of the set."""
    if set_.startswith("lastfm"):
        return _lastfm(data, folder, TOP50 if set_ == "lastfm-top50" else ())
    readers = {
        "year": _years,
        "tempo": _tempos,
        "taste-profile": _listeners,
    }
    return readers[set_](data, folder)


def _years(data: Dataset, folder: Path) -> Iterator[Row]:
    path = need(data, folder, "tracks_per_year.txt", "AdditionalFiles/tracks_per_year.txt")
    for year, track, artist, _ in _parted(path, 4):
        yield {"id": track, "group": clean(artist), "year": int(year)}


def _parted(path: Path, count: int) -> Iterator[list[str]]:
    """Yield the fields of each line of one of the data set's lists."""
    for number, line in enumerate(text_lines(path), 1):
        fields = line.split(SEPARATOR, count - 1)
        if len(fields) != count:
            raise UsageError(
                f"{path}: line {number} has {len(fields)} fields parted by {SEPARATOR}, expected "
                f"{count}: the file is cut short or not as it is published; get it again"
            )
        yield fields


def _tempos(data: Dataset, folder: Path) -> Iterator[Row]:
    import h5py

    path = need(data, folder, "msd_summary_file.h5", "AdditionalFiles/msd_summary_file.h5")
    try:
        with h5py.File(path, "r") as file:
            songs, names = file["analysis/songs"], file["metadata/songs"]
            for start in range(0, len(songs), CHUNK):
                part = slice(start, start + CHUNK)
                columns = (
                    songs["track_id", part],
                    songs["tempo", part],
                    names["artist_name", part],
                )
                for track, tempo, artist in zip(*columns, strict=True):
                    yield {
                        "id": track.decode(),
                        "group": clean(artist.decode("utf-8", "replace")),
                        "tempo": float(tempo) or None,  # 0: the analysis found none
                    }
    except (KeyError, OSError) as error:
        raise UsageError(f"{path}: not the summary file of the data set ({error})") from error


class Artists:
    """The artist of each track, from `unique_tracks.txt`."""

    def __init__(self, path: Path) -> None:
        names: dict[str, int] = {}
        ids, numbers = [], array("i")
        for track, _, artist, _ in _parted(path, 4):
            name = clean(artist)
            ids.append(track.encode())
            numbers.append(-1 if name is None else names.setdefault(name, len(names)))
        tracks = np.array(ids, dtype="S18")
        order = np.argsort(tracks)
        self._tracks = tracks[order]
        self._artists = np.array(numbers, np.int32)[order]
        self._names = list(names)

    def of(self, track: str) -> str | None:
        """Return the name of the artist of a track, None where it is not known."""
        place = int(np.searchsorted(self._tracks, track.encode()))
        if place == len(self._tracks) or self._tracks[place] != track.encode():
            return None
        number = self._artists[place]
        return None if number < 0 else self._names[number]


def _artists(data: Dataset, folder: Path) -> Artists:
    name = "unique_tracks.txt"
    return Artists(need(data, folder, name, f"AdditionalFiles/{name}"))


def _lastfm(data: Dataset, folder: Path, only: Sequence[str]) -> Iterator[Row]:
    path = need(data, folder, "lastfm_tags.db", "lastfm/lastfm_tags.db")
    artists = _artists(data, folder)
    marks = ", ".join("?" * len(only))
    where = f" WHERE tags.tag IN ({marks})" if only else ""
    query = (
        "SELECT tids.tid, tags.tag FROM tid_tag JOIN tids ON tid_tag.tid = tids.ROWID "
        f"JOIN tags ON tid_tag.tag = tags.ROWID{where} "
        "ORDER BY tid_tag.tid, tid_tag.val DESC, tags.tag"
    )
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            track, tags = "", list[str]()
            for tid, tag in base.execute(query, tuple(only)):
                if tid != track:
                    if track:
                        yield {"id": track, "group": artists.of(track), "tags": tags}
                    track, tags = tid, []
                tags.append(tag)
            if track:
                yield {"id": track, "group": artists.of(track), "tags": tags}
    except sqlite3.Error as error:
        raise UsageError(f"{path}: not Last.fm's base of tags ({error}); get it again") from error


def _listeners(data: Dataset, folder: Path) -> Iterator[Row]:
    path = need(data, folder, "train_triplets.txt", "train_triplets.txt/train_triplets.txt")
    names = ("taste_profile_song_to_tracks.txt", "challenge/taste_profile_song_to_tracks.txt")
    tracks = {}
    for line in text_lines(need(data, folder, *names)):
        song, *of_song = line.split("\t")
        if any(of_song):
            tracks[song] = of_song[0]
    artists = _artists(data, folder)

    def pairs() -> Iterator[tuple[str, str]]:
        for number, line in enumerate(text_lines(path), 1):
            user, _, rest = line.partition("\t")
            song, _, plays = rest.partition("\t")
            if not plays:
                raise UsageError(f"{path}: line {number} is not user, song and plays by tabs")
            yield user, song

    for song, users in by_second(pairs()):
        track = tracks.get(song)
        yield {
            "id": track or song,
            "group": artists.of(track) if track else None,
            "song": song,
            "listeners": [str(user) for user in users],
        }


def musixmatch(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the tracks with the words of their lyrics: train, then test."""
    artists = _artists(data, folder)
    for part in ("train", "test"):
        name = f"mxm_dataset_{part}.txt"
        path = need(data, folder, name, f"AdditionalFiles/{name}", f"{name}/{name}")
        words: list[str] = []
        for line in text_lines(path):
            if line.startswith("%"):
                words = line[1:].split(",")
            elif line and not line.startswith("#"):
                track, _, *counts = line.split(",")
                yield {
                    "id": track,
                    "group": artists.of(track),
                    "part": part,
                    "words": [words[int(count.partition(":")[0]) - 1] for count in counts],
                }


def make_tiny(data: Dataset, folder: Path) -> None:
    """Write eight tracks of three artists in every file of the data set."""
    import h5py

    tracks = [f"TRAAA{letter}A128F42AAAA{number}" for number, letter in enumerate("ABCDEFGH")]
    artists = [
        "Artist A",
        "Artist A",
        "Artist B",
        "Artist B",
        "Artist C",
        "Artist C",
        "",
        "Artist C",
    ]
    songs = [f"SOAAA{letter}A12A8C1300{number:02d}" for number, letter in enumerate("ABCDEFGH")]
    rows = list(zip(tracks, songs, artists, strict=True))
    tiny.text(
        folder / "unique_tracks.txt",
        (SEPARATOR.join([track, song, artist, "A title"]) for track, song, artist in rows),
    )
    tiny.text(
        folder / "tracks_per_year.txt",
        (
            SEPARATOR.join([str(1970 + 5 * number), track, artist, f"A title{SEPARATOR[:2]}"])
            for number, (track, _, artist) in enumerate(rows[:6])
        ),
    )
    with h5py.File(folder / "msd_summary_file.h5", "w") as file:
        analysis = [(track.encode(), 90.0 + 7 * n if n else 0.0) for n, track in enumerate(tracks)]
        types: dict[str, Any] = {
            "analysis/songs": np.array(analysis, [("track_id", "S32"), ("tempo", "f8")]),
            "metadata/songs": np.array(
                [(a.encode(),) for a in artists], [("artist_name", "S1024")]
            ),
        }
        for name, values in types.items():
            file.create_dataset(name, data=values)
    with closing(sqlite3.connect(folder / "lastfm_tags.db")) as base, base:
        base.execute("CREATE TABLE tids (tid TEXT PRIMARY KEY)")
        base.execute("CREATE TABLE tags (tag TEXT PRIMARY KEY)")
        base.execute("CREATE TABLE tid_tag (tid INT, tag INT, val FLOAT)")
        base.executemany("INSERT INTO tids VALUES (?)", [(track,) for track in tracks])
        base.executemany("INSERT INTO tags VALUES (?)", [("rock",), ("my own",), ("pop",)])
        pairs = [(n % 8 + 1, n % 3 + 1, 100.0 / (n + 1)) for n in range(10)]
        base.executemany("INSERT INTO tid_tag VALUES (?, ?, ?)", pairs)
    plays = [(f"{user:040x}", songs[(user * step) % 7]) for user in range(1, 5) for step in (1, 2)]
    tiny.text(folder / "train_triplets.txt", (f"{user}\t{song}\t3" for user, song in plays))
    tiny.text(
        folder / "taste_profile_song_to_tracks.txt",
        (f"{song}\t{track}" if artist else song for track, song, artist in rows),
    )
    for part, few in {"train": rows[:4], "test": rows[4:6]}.items():
        lines = [f"{track},1234,1:3,{n % 2 + 2}:1" for n, (track, _, _) in enumerate(few)]
        head = ["# words and counts", "%i,the,you"]
        tiny.text(folder / f"mxm_dataset_{part}.txt", [*head, *lines])

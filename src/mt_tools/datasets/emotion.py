"""emoMusic and DEAM: arousal and valence of a whole clip, 1 to 9, means over the annotators.

emoMusic: `static_annotations.csv`, `songs_info.csv` and `clips_45seconds/2.mp3`. DEAM: two files
`static_annotations_averaged_songs_*.csv`, `MEMD_audio/2.mp3`, and one file of metadata a year, each
with columns of its own and with commas that nobody quoted, so only the artist is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, below, cells, clean, need, number, table

_SONGS = "annotations/annotations averaged per song/song_level"
_ARTISTS = {"2013": 2, "2014": 1, "2015": 3}  # the column of the artist in metadata_YEAR.csv


def emomusic(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the clips in the order of `songs_info.csv`."""
    listed = need(data, folder, "annotations/songs_info.csv", "songs_info.csv")
    audio = need(data, folder, "clips_45seconds", "clips_45sec", "clips_45sec/clips_45seconds")
    rated = {
        clean(row["song_id"]): row
        for row in table(listed.parent / "static_annotations.csv", "song_id")
    }
    for row in table(listed, "song_id", "Artist", "Song title", "Genre", "Mediaeval 2013 set"):
        song = clean(row["song_id"])
        ratings = rated.get(song, {})
        yield {
            "path": below(folder, audio / f"{song}.mp3"),
            "group": clean(row["Artist"]),
            "part": {"development": "train", "evaluation": "test"}.get(
                clean(row["Mediaeval 2013 set"]) or ""
            ),
            **{
                name: number(ratings.get(f"mean_{name}", ratings.get(f"{name}_mean")))
                for name in ("arousal", "valence")
            },
            "genre": clean(row["Genre"]),
            "artist": clean(row["Artist"]),
            "title": clean(row["Song title"]),
        }


def tiny_emomusic(data: Dataset, folder: Path) -> None:
    """Write six clips, two of them of the evaluation."""
    ratings = ["song_id,mean_arousal,std_arousal,mean_valence,std_valence"]
    songs = [
        "song_id,file_name,Artist,Song title,start of the segment (min.sec),"
        "end of the segment (min.sec),Genre,Mediaeval 2013 set"
    ]
    for song in range(2, 8):
        part = "evaluation" if song > 5 else "development"
        ratings.append(f"{song},{song / 2},1.1,{9 - song},1.2")
        songs.append(
            f'{song},{song}.mp3,"\tArtist {song % 4}\t","\tA title\t",0.10,0.55,"\tRock\t",{part}'
        )
        tiny.sound(folder / "clips_45seconds" / f"{song}.mp3")
    tiny.text(folder / "annotations" / "static_annotations.csv", ratings)
    tiny.text(folder / "annotations" / "songs_info.csv", songs)


def deam(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the songs in the order of the annotations."""
    ratings = need(data, folder, _SONGS, "DEAM_Annotations/" + _SONGS)
    audio = need(data, folder, "MEMD_audio", "DEAM_audio/MEMD_audio")
    artists = _artists(folder)
    lists = sorted(ratings.glob("static_annotations_averaged_songs_*.csv"))
    for listed in lists or [need(data, ratings, "static_annotations_averaged_songs_1_2000.csv")]:
        for row in table(listed, "song_id", "arousal_mean", "valence_mean"):
            song = clean(row["song_id"]) or ""
            yield {
                "path": below(folder, audio / f"{song}.mp3"),
                "group": artists.get(song),
                "arousal": number(row["arousal_mean"]),
                "valence": number(row["valence_mean"]),
                "artist": artists.get(song),
            }


def _artists(folder: Path) -> dict[str, str | None]:
    """Return the artist of each song, where the metadata are there."""
    known: dict[str, str | None] = {}
    for year, place in _ARTISTS.items():
        path = folder / "metadata" / f"metadata_{year}.csv"
        for row in cells(path) if path.is_file() else ():
            song = (clean(row[0]) or "") if len(row) > place else ""
            if song.isdecimal():
                known[song] = clean(row[place].replace('"', " "))
    return known


def tiny_deam(data: Dataset, folder: Path) -> None:
    """Write four excerpts and a whole song."""
    header = "song_id, valence_mean, valence_std, arousal_mean, arousal_std"
    lists = {"1_2000": (2, 3, 1001, 1002), "2000_2058": (2001,)}
    for name, songs in lists.items():
        lines = [header, *(f"{song}, 3.1, 0.9, 4.{song % 10}, 1.1" for song in songs)]
        tiny.text(folder / _SONGS / f"static_annotations_averaged_songs_{name}.csv", lines)
        for song in songs:
            tiny.sound(folder / "MEMD_audio" / f"{song}.mp3", 0.25 if song < 2000 else 0.5)
    metadata = folder / "metadata"
    tiny.text(
        metadata / "metadata_2013.csv",
        [
            "song_id,file_name,Artist,Song title,start,end,Genre",
            '2,2.mp3,"\tArtist A","\tA title",0.1,0.5,Rock',
            "3,3.mp3,Artist B,A title,0.1,0.5,Pop",
        ],
    )
    tiny.text(
        metadata / "metadata_2014.csv",
        ["Id,Artist,Album,Track,Genre", "1001,Artist A,Album,Track,Rock,0,45,a,b"],
    )
    tiny.text(
        metadata / "metadata_2015.csv",
        ["id,Filename,title,artist,album,genre", "2001,a.mp3,A title,Artist C,Album,Rock"],
    )

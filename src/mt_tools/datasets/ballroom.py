"""Ballroom and Extended Ballroom: the dance and the tempo.

Ballroom: `BallroomData/Waltz/Media-105901.wav` and `BallroomAnnotations/ballroomGroundTruth/*.bpm`,
a number a file. The three rumbas (American, International, Misc) are one class, as in the contest.
Extended Ballroom: `extendedballroom_v1.1.xml`, and `Waltz/100507.mp3` beside it; a track can be
said to repeat another (attributes `exact`, `time`, `karaoke`, `version`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, below, clean, files_in, need, number
from mt_tools.errors import UsageError

# A disc of the shop is `Media-1059`, its track 01: Media-105901.
_ALBUM = re.compile(r"(Albums-\w+)-\d\d|(Media-\d{4})\d\d")
_REPEATS = ("exact", "time", "karaoke", "version")
_VARIOUS = ("various artists", "various", "va")


def index(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the excerpts, with dance, tempo and album."""
    audio = need(data, folder, "BallroomData")
    tempos = need(
        data,
        folder,
        "BallroomAnnotations/ballroomGroundTruth",
        "ballroomGroundTruth",
        "BallroomData/ballroomGroundTruth",
    )
    for path in files_in(audio, (".wav",)):
        album = _ALBUM.match(path.name)
        beats = tempos / f"{path.stem}.bpm"
        yield {
            "path": below(folder, path),
            "group": album and (album[1] or album[2]),
            "genre": path.parent.name.partition("-")[0],
            "tempo": number(beats.read_text()) if beats.is_file() else None,
        }


def make_tiny(data: Dataset, folder: Path) -> None:
    """Write two excerpts each of five folders; one has no tempo."""
    discs = ("ChaChaCha 1034", "Rumba-American 1057", "Rumba-Misc 1041", "Waltz 1059", "Jive 1042")
    for line in discs:
        dance, disc = line.split()
        for track in (f"Media-{disc}01", f"Albums-{dance.replace('-', '')}_Hits-0{len(dance) % 9}"):
            tiny.sound(folder / "BallroomData" / dance / f"{track}.wav")
            if (dance, track[0]) != ("Jive", "A"):
                bpm = 80 + int(disc) % 100
                truth = folder / "BallroomAnnotations" / "ballroomGroundTruth"
                tiny.text(truth / f"{track}.bpm", [str(bpm)])


def extended(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the excerpts of Extended Ballroom, with dance, tempo and names."""
    listed = need(
        data,
        folder,
        "extendedballroom_v1.1.xml",
        "extendedballroom_v1.1/extendedballroom_v1.1.xml",
    )
    try:
        root = ElementTree.parse(listed).getroot()
    except ElementTree.ParseError as error:
        raise UsageError(f"{listed}: not XML ({error}): get it again") from error
    songs = [(dance.tag, song) for dance in root for song in dance]
    groups = _united(songs)
    for dance, song in songs:
        path = listed.parent / dance / f"{song.get('id')}.mp3"
        yield {
            "path": below(folder, path),
            "group": groups[song.get("id", "")],
            "genre": dance,
            "tempo": number(song.get("bpm")),
            **{name: clean(song.get(name)) for name in ("artist", "album", "title")},
        }


def _united(songs: list[tuple[str, ElementTree.Element]]) -> dict[str, str | None]:
    """Return a group for each song: songs of one artist, and those that repeat each other."""
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above.setdefault(name, name) != name:
            name = above[name]
        return name

    for _, song in songs:
        own = "song " + song.get("id", "")
        artist = clean(song.get("artist"))
        others = [] if not artist or artist.lower() in _VARIOUS else ["artist " + artist]
        others += ["song " + song.get(kind, "") for kind in _REPEATS if song.get(kind)]
        for other in others:
            first, second = sorted((top(own), top(other)))
            above[second] = first  # an artist's name sorts before a song's
    groups = {song.get("id", ""): top("song " + song.get("id", "")) for _, song in songs}
    sizes: dict[str, int] = {}
    for group in groups.values():
        sizes[group] = sizes.get(group, 0) + 1
    return {
        song: None if group.startswith("song ") and sizes[group] == 1 else group.partition(" ")[2]
        for song, group in groups.items()
    }


def tiny_extended(data: Dataset, folder: Path) -> None:
    """Write four excerpts of three dances, two of which repeat one."""
    songs = [
        ("Chacha", "100701", "Artist A", ""),
        ("Chacha", "100702", "Various Artists", ""),
        ("Salsa", "100901", "Artist B", ' exact="100702"'),
        ("Wcswing", "100105", "Artist B", ' karaoke="100901"'),
    ]
    lines = ["<root>"]
    for dance in ("Chacha", "Salsa", "Wcswing"):
        lines.append(f"<{dance}>")
        for of, song, artist, repeats in songs:
            if of == dance:
                lines.append(
                    f'<song id="{song}" artist="{artist}" album="An album" title="A title" '
                    f'bpm="{song[:3]}"{repeats}/>'
                )
                tiny.sound(folder / dance / f"{song}.mp3")
        lines.append(f"</{dance}>")
    tiny.text(folder / "extendedballroom_v1.1.xml", [*lines, "</root>"])

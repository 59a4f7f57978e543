"""MagnaTagATune: the tags of a clip, the song it is cut from, the two splits in use.

`annotations_final.csv`: clip_id, a column of 0 and 1 a tag, mp3_path; `clip_info_final.csv`: the
artist, album and title of each clip; both are parted by tabs and quoted. A clip is called
`0/artist-album-01-title-117-146.mp3`: what comes before the two times is the song.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, cells, clean, need, table
from mt_tools.errors import UsageError

TOP50 = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast",
    "piano", "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male",
    "singing", "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman",
    "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man", "classic", "choir", "voice",
    "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello", "no voice",
    "weird", "country", "female voice", "metal", "choral",
)  # fmt: skip
"""The fifty tags of most clips, the most frequent first (github.com/jongpillee/music_dataset_split,
whose list stands in the studies of musicnn and many others)."""

_SONG = re.compile(r"-\d+-\d+\.mp3$")


def index(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the clips with their tags, in the order of the annotations."""
    annotations = need(data, folder, "annotations_final.csv")
    information = need(data, folder, "clip_info_final.csv")
    audio = next((n for n in ("mp3", "mp3s", "audio", "Audio") if (folder / n).is_dir()), "")
    if not audio:
        need(data, folder, "0", "mp3")
    about = {
        row["mp3_path"]: [clean(row[name]) for name in ("artist", "album", "title")]
        for row in table(information, "mp3_path", "artist", "album", "title", delimiter="\t")
    }
    rows = cells(annotations, "\t")
    tags = next(rows, [])[1:-1]
    if missing := [tag for tag in TOP50 if tag not in tags]:
        raise UsageError(
            f"{annotations}: no tag {missing[0]!r} among its {len(tags)} columns: it is not as it "
            "is published; get it again"
        )
    wanted = [(place, tag) for place, tag in enumerate(tags, 1) if set_ == "all" or tag in TOP50]
    top = {place for place, tag in enumerate(tags, 1) if tag in TOP50}
    for row in rows:
        clip = row[-1]
        given = {place for place, cell in enumerate(row[1:-1], 1) if cell == "1"}
        artist, album, title = about.get(clip, (None, None, None))
        yield {
            "path": f"{audio}/{clip}" if audio else clip,
            "group": _SONG.sub("", clip),
            "part": part_of(clip) if split == "folders" or given & top else None,
            "tags": [tag for place, tag in wanted if place in given],
            "artist": artist,
            "album": album,
            "title": title,
        }


def part_of(clip: str) -> str:
    """Return the part of a clip by its folder: 0 to b train, c validates, d to f test."""
    return {"c": "valid", "d": "test", "e": "test", "f": "test"}.get(clip[0], "train")


def make_tiny(data: Dataset, folder: Path) -> None:
    """Write two clips of a song a folder; the second has none of the fifty tags."""
    tags = [*TOP50, "duet", "trumpet"]
    annotations, information = [], []
    for number, place in enumerate("0123456789abcdef"):
        for start in (0, 29):
            clip_id = 2 * number + (start > 0)
            clip = f"{place}/artist_{number % 5}-an_album-01-song_{place}-{start}-{start + 29}.mp3"
            given = {TOP50[number], TOP50[49 - number]} if start == 0 else {"duet"}
            flags = "\t".join(f'"{int(tag in given)}"' for tag in tags)
            annotations.append(f'"{clip_id}"\t{flags}\t"{clip}"')
            information.append(
                f'"{clip_id}"\t"1"\t"Song {place}"\t"Artist {number % 5}"\t"An album"\t"http://x/"\t'
                f'"{start}"\t"{start + 29}"\t"http://x/"\t"{clip}"'
            )
            tiny.sound(folder / "mp3" / clip)
    names = "\t".join(f'"{tag}"' for tag in tags)
    tiny.text(folder / "annotations_final.csv", [f'"clip_id"\t{names}\t"mp3_path"', *annotations])
    header = (
        "clip_id track_number title artist album url segmentStart segmentEnd original_url mp3_path"
    )
    tiny.text(
        folder / "clip_info_final.csv",
        ["\t".join(f'"{name}"' for name in header.split()), *information],
    )

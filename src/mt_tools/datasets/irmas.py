"""IRMAS: the predominant instruments of an excerpt.

Train: `IRMAS-TrainingData/cel/008__[cel][nod][cla]0058__1.wav`: in brackets the instrument, whether
drums are heard (dru, nod, or nothing said) and the genre; then the song's number and the excerpt's.
Test: `IRMAS-TestingData-Part1/Part1/a song-8.wav`, and a text beside it with an instrument a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, below, files_in, need, text_lines

INSTRUMENTS = {
    "cel": "cello",
    "cla": "clarinet",
    "flu": "flute",
    "gac": "acoustic guitar",
    "gel": "electric guitar",
    "org": "organ",
    "pia": "piano",
    "sax": "saxophone",
    "tru": "trumpet",
    "vio": "violin",
    "voi": "voice",
}
GENRES = {
    "cou_fol": "country-folk",
    "cla": "classical",
    "pop_roc": "pop-rock",
    "lat_sou": "latin-soul",
    "jaz_blu": "jazz-blues",
}
_DRUMS = {"dru": True, "nod": False}
_SONG = re.compile(r"(\d+)__\d+$")


def index(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the excerpts to train, then those to test that are there."""
    for path in files_in(need(data, folder, "IRMAS-TrainingData"), (".wav",)):
        instrument, *more = re.findall(r"\[(\w+)\]", path.stem)
        song = _SONG.search(path.stem)
        yield {
            "path": below(folder, path),
            "group": song and song[1],
            "part": "train",
            "instruments": [INSTRUMENTS.get(instrument, instrument)],
            "genre": next((GENRES[code] for code in more if code in GENRES), None),
            "drums": next((_DRUMS[code] for code in more if code in _DRUMS), None),
        }
    for root in sorted(folder.glob("IRMAS-TestingData-Part*")):
        for path in files_in(root, (".wav",)):
            beside = path.with_suffix(".txt")
            codes = [line.strip() for line in text_lines(beside)] if beside.is_file() else None
            yield {
                "path": below(folder, path),
                "group": re.sub(r"-\d+$", "", path.stem),
                "part": "test",
                "instruments": codes and [INSTRUMENTS.get(code, code) for code in codes if code],
            }


def make_tiny(data: Dataset, folder: Path) -> None:
    """Write two excerpts of a song an instrument to train, four in three parts to test."""
    for number, (code, genre) in enumerate(zip(INSTRUMENTS, [*GENRES] * 3, strict=False)):
        for excerpt in (1, 2):
            drums = ("", "[dru]", "[nod]")[number % 3]
            name = f"[{code}]{drums}[{genre}]{number * 50 + 1:04d}__{excerpt}.wav"
            tiny.sound(folder / "IRMAS-TrainingData" / code / name)
    parts = ("Part1/Part1", "Part2/IRTestingData-Part2", "Part3/Part3", "Part3/Part3")
    for number, part in enumerate(parts):
        path = folder / f"IRMAS-TestingData-{part}" / f"0{number} - A song-8.wav"
        tiny.sound(path)
        tiny.text(path.with_suffix(".txt"), ["pia\t", "voi\t"][: 1 + number % 2])

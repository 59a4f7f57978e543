"""Philharmonia sound samples: what the name of a file says.

`cello/cello_As2_05_mezzo-piano_arco-normal.mp3`: instrument, note (`s` is a sharp; none of
percussion), length, dynamics, articulation. The archive holds an archive an instrument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, below, files_in
from mt_tools.errors import UsageError

_NOTE = re.compile(r"([A-G])(s?)(-?\d)$")
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def index(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the samples, by folder and name."""
    found = False
    for path in files_in(folder, (".mp3",)):
        parts = path.stem.split("_")
        if len(parts) == 5:
            found = True
            instrument, note, _, dynamics, articulation = parts
            yield {
                "path": below(folder, path),
                "instrument": instrument,
                "note": note or None,
                "pitch": pitch_of(note),
                "dynamics": dynamics,
                "articulation": articulation,
            }
    if not found:
        raise UsageError(f"{folder}: no samples of philharmonia in it: {data.by_hand}")


def pitch_of(note: str) -> int | None:
    """Return the MIDI number of a note as the files spell it: As4 is 70; None for no note."""
    found = _NOTE.match(note)
    return found and 12 * (int(found[3]) + 1) + _STEPS[found[1]] + len(found[2])


def make_tiny(data: Dataset, folder: Path) -> None:
    """Write four notes of two instruments, and a stroke."""
    for name in (
        "cello_A2_05_mezzo-piano_arco-normal",
        "cello_As2_1_forte_arco-tremolo",
        "french-horn_C4_15_fortissimo_normal",
        "french-horn_Ds4_025_pianissimo_normal",
        "snare-drum__long_forte_roll",
    ):
        tiny.sound(folder / "all-samples" / name.partition("_")[0] / f"{name}.mp3")

"""NSynth: notes of a thousand instruments.

`nsynth-train/examples.json` is one object of a quarter of a million notes by name: it is read note
by note, in some megabytes of memory. Audio: `nsynth-train/audio/NAME.wav`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, below, need
from mt_tools.errors import UsageError

PARTS = ("train", "valid", "test")
_CHUNK = 1 << 20
_BETWEEN = re.compile(r"(?:\A\s*\{)?[\s,:]*")


def index(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the notes of the parts that are there: train, valid, test."""
    need(data, folder, *(f"nsynth-{part}/examples.json" for part in PARTS))
    for part in PARTS:
        listed = folder / f"nsynth-{part}" / "examples.json"
        if listed.is_file():
            for name, note in members(listed):
                yield {
                    "path": below(folder, listed.parent / "audio" / f"{name}.wav"),
                    "group": note["instrument_str"],
                    "part": part,
                    "instrument_family": note["instrument_family_str"],
                    "instrument_source": note["instrument_source_str"],
                    "pitch": note["pitch"],
                    "velocity": note["velocity"],
                    "qualities": note["qualities_str"],
                }


def members(path: Path, chunk: int = _CHUNK) -> Iterator[tuple[str, Any]]:
    """Yield the members of the one object of a JSON file, read `chunk` characters at a time."""
    decoder = json.JSONDecoder()
    with open(path, encoding="utf-8") as file:
        text, place = file.read(chunk), 0
        while True:
            start = _BETWEEN.match(text, place).end()  # type: ignore[union-attr]
            if text.startswith("}", start):
                return
            try:
                name, end = decoder.raw_decode(text, start)
                end = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]
                value, place = decoder.raw_decode(text, end)
            except ValueError as error:
                more = file.read(chunk)
                if not more:
                    raise UsageError(f"{path}: cut short or not JSON; get it again") from error
                text, place = text[start:] + more, 0
                continue
            yield name, value


def make_tiny(data: Dataset, folder: Path) -> None:
    """Write four notes of two instruments to train, two of another to validate and to test."""
    notes = {
        "train": ("bass_synthetic_068-049-025", "bass_synthetic_068-050-025",
                  "guitar_acoustic_001-060-100", "guitar_acoustic_001-062-100"),
        "valid": ("keyboard_electronic_001-021-127", "keyboard_electronic_001-022-127"),
        "test": ("keyboard_electronic_001-023-127", "keyboard_electronic_001-024-127"),
    }  # fmt: skip
    for part, names in notes.items():
        examples = {}
        for name in names:
            instrument, pitch, velocity = name.rsplit("-", 2)
            family, source, _ = instrument.split("_")
            examples[name] = {
                "note_str": name,
                "instrument_str": instrument,
                "instrument_family_str": family,
                "instrument_source_str": source,
                "pitch": int(pitch),
                "velocity": int(velocity),
                "qualities_str": ["dark"] if int(pitch) % 2 else [],
                "sample_rate": 16000,
            }
            tiny.sound(folder / f"nsynth-{part}" / "audio" / f"{name}.wav")
        lines = json.dumps(examples, indent=4).splitlines()
        tiny.text(folder / f"nsynth-{part}" / "examples.json", lines)

"""What the makers of tiny data sets share: short made sounds, and text files."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mt_tools.sound.write import write_audio

RATE = 8000


def sound(path: Path, seconds: float = 0.25) -> None:
    """Write a short tone, of a pitch that follows from the name of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * RATE)) / RATE
    hertz = 110 + zlib.crc32(path.name.encode()) % 880
    wave = 0.3 * np.sin(2 * np.pi * hertz * time)[None]
    write_audio(path, wave.astype(np.float32), RATE)


def text(path: Path, lines: Iterable[str]) -> None:
    """Write a text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

"""Damaged audio files: what disks, downloads and bad programs leave of good ones."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import mutagen
import numpy as np
import soundfile

RATE = 22_050
SECONDS = 1.5
WRITTEN = {  # by libsndfile: ending, format, subtype
    "16.wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "x.flac": ("FLAC", "PCM_16"),
    "x.ogg": ("OGG", "VORBIS"),
    "x.opus": ("OGG", "OPUS"),
    "x.mp3": ("MP3", "MPEG_LAYER_III"),
    "x.aiff": ("AIFF", "PCM_16"),
    "x.au": ("AU", "PCM_16"),
    "x.caf": ("CAF", "PCM_16"),
}
ENCODED = {  # by ffmpeg, where it is installed
    "x.m4a": ["-c:a", "aac"],
    "fast.m4a": ["-c:a", "aac", "-movflags", "+faststart"],
    "x.wma": ["-c:a", "wmav2"],
    "x.aac": ["-c:a", "aac"],
    "x.mka": ["-c:a", "ac3"],
}
# Containers that show where their end should be, so that a cut is an error row (docs/wire.md).
SHOWS_ITS_END = {
    "16.wav", "float.wav", "adpcm.wav", "x.flac", "x.ogg", "x.opus", "x.mp3", "x.aiff", "fast.m4a", "x.m4a",
}  # fmt: skip

Mutation = Callable[[bytes, np.random.Generator], bytes]


def seeds(folder: Path) -> dict[str, bytes]:
    """Write a good file of every format, with tags where the format has them; return their bytes."""
    time = np.arange(int(RATE * SECONDS)) / RATE
    noise = np.random.default_rng(0).normal(size=(len(time), 2)) * 0.05
    wave = np.sin(2 * np.pi * 440 * time)[:, None] * 0.3 + noise
    for name, (kind, subtype) in WRITTEN.items():
        soundfile.write(
            folder / name, wave, 24_000 if kind == "OGG" else RATE, subtype, format=kind
        )
    if shutil.which("ffmpeg"):
        for name, options in ENCODED.items():
            subprocess.run(
                ["ffmpeg", "-v", "error", "-i", folder / "16.wav", *options, folder / name],
                check=True,
            )
    for path in sorted(folder.iterdir()):
        tagged = mutagen.File(path, easy=True)
        if tagged is not None and path.suffix in (".flac", ".ogg", ".opus", ".mp3", ".m4a"):
            tagged["title"], tagged["artist"] = "A title", "An artist"
            tagged.save()
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _place(data: bytes, rng: np.random.Generator) -> int:
    """Return a place in a file: half of the time in its first kilobyte, where the headers are."""
    return int(rng.integers(min(len(data), 1024) if rng.random() < 0.5 else len(data)))


def flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip up to a hundred bits."""
    changed = bytearray(data)
    for _ in range(int(10 ** rng.uniform(0, 2))):
        changed[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwrite(data: bytes, rng: np.random.Generator) -> bytes:
    """Write noise, zeros or ones over a piece: a bad sector."""
    first = _place(data, rng)
    size = min(len(data) - first, int(10 ** rng.uniform(0, 4)))
    piece = [rng.bytes(size), bytes(size), b"\xff" * size][int(rng.integers(3))]
    return data[:first] + piece + data[first + size :]


def extreme_number(data: bytes, rng: np.random.Generator) -> bytes:
    """Write the largest, the smallest or an odd number where a size or a count may stand."""
    first = _place(data, rng)
    numbers = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\1\0\0\0")
    return data[:first] + numbers[int(rng.integers(len(numbers)))] + data[first + 4 :]


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """Leave out the end."""
    return data[: int(rng.integers(len(data)))]


def lose(data: bytes, rng: np.random.Generator) -> bytes:
    """Leave out a piece from the middle."""
    first = _place(data, rng)
    return data[:first] + data[first + int(10 ** rng.uniform(0, 4)) :]


def repeat(data: bytes, rng: np.random.Generator) -> bytes:
    """Write a piece twice."""
    first = _place(data, rng)
    size = int(10 ** rng.uniform(0, 4))
    return data[: first + size] + data[first:]


def swap(data: bytes, rng: np.random.Generator) -> bytes:
    """Exchange two blocks."""
    block = int(10 ** rng.uniform(1, 3.5))
    first, second = sorted(int(rng.integers(len(data))) for _ in range(2))
    second = max(second, first + block)
    a, b = data[first : first + block], data[second : second + block]
    return data[:first] + b + data[first + block : second] + a + data[second + block :]


def append(data: bytes, rng: np.random.Generator) -> bytes:
    """Write garbage behind the end."""
    return data + rng.bytes(int(10 ** rng.uniform(0, 4)))


def prepend(data: bytes, rng: np.random.Generator) -> bytes:
    """Write garbage before the beginning."""
    return rng.bytes(int(10 ** rng.uniform(0, 3))) + data


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, overwrite, extreme_number, cut, lose, repeat, swap, append, prepend,
)  # fmt: skip


def mutants(good: dict[str, bytes], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` damaged files as (name, bytes), every format and damage as often.

    The name says what was done: `number-damage-format.ending`. One in twenty has another's ending.
    """
    rng = np.random.default_rng(seed)
    names = sorted(good)
    for number in range(count):
        name = names[number % len(names)]
        mutation = MUTATIONS[number // len(names) % len(MUTATIONS)]
        shown = name if rng.random() < 0.95 else names[int(rng.integers(len(names)))]
        damage = mutation.__name__.replace("_", "-")
        yield f"{number:05d}-{damage}-{shown}", mutation(good[name], rng)

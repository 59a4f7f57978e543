"""Small audio files in every format to tag, and independent readers of what was written."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16_000
CODECS = {"ogg": ["libvorbis"], "oga": ["flac", "-f", "ogg"]}
TAGGED = ["mp3", "wav", "aiff", "flac", "ogg", "opus", "oga", "spx", "m4a", "wma", "wv", "tta"]
"""Formats whose tags are written, of those that ffmpeg makes."""
UNTAGGED = ["au", "w64", "caf", "aac", "mka"]


def make_sounds(folder: Path) -> None:
    """Write half a second of a tone in every format, without tags."""
    wave = 0.3 * np.sin(np.arange(RATE // 2) * 0.2)
    soundfile.write(folder / "x.wav", wave, RATE)
    outputs: list[Any] = []
    for ending in [*TAGGED, *UNTAGGED]:
        if ending != "wav":
            codec = ["-c:a", *CODECS[ending]] if ending in CODECS else []
            outputs += ["-bitexact", *codec, folder / f"x.{ending}"]
    ffmpeg("-i", folder / "x.wav", *outputs)


def ffmpeg(*words: Any) -> None:
    """Run ffmpeg."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, words)], check=True)


def ffprobe(path: Path) -> dict[str, str]:
    """Return the tags of a file and of its streams as ffprobe shows them, names in lower case."""
    said = subprocess.run(
        ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", path],
        check=True, capture_output=True,
    )  # fmt: skip
    shown = json.loads(said.stdout)
    tags = [part.get("tags", {}) for part in (*shown["streams"], shown["format"])]
    return {name.lower(): value for part in tags for name, value in part.items()}


def heard(path: Path) -> bytes:
    """Return the decoded sound of a file, by ffmpeg; it must not complain."""
    done = subprocess.run(
        ["ffmpeg", "-v", "warning", "-i", path, "-map", "0:a", "-f", "s16le", "-"],
        check=True, capture_output=True,
    )  # fmt: skip
    assert b"CRC" not in done.stderr, done.stderr
    return done.stdout

"""Time the effects of a recipe at the features' rate and at a CD's, beside decoding.

    python bench/effects.py

Prints a Markdown table: how many times faster than the music each effect is on one core (the median
of several passes over 30 s of a mono track). Codecs are carried out at the rate of the file, which
is 44.1 kHz here, whatever the rate of the features.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from threadpoolctl import threadpool_limits

from mt_tools.recipes import parse
from mt_tools.sound import effects
from mt_tools.sound.decode import decode

SECONDS = 30
PASSES = 7
RATES = (12_000, 44_100)
RECIPES = (
    "pitch=2", "stretch=1.1", "pitch=2,stretch=1.1", "gain=-6", "polarity", "noise=white:20",
    "noise=pink:20", "lowpass=4000", "bandpass=300:3400", "room={}/hall.wav", "mix={}/other.mp3:10",
    "codec=mp3:64", "codec=vorbis:96", "codec=opus:64",
)  # fmt: skip


def main() -> None:
    """Time everything, taking turns so that a busy machine slows all of them alike."""
    with tempfile.TemporaryDirectory() as folder:
        waves = made(Path(folder))
        contestants: dict[tuple[str, int], Callable[[], object]] = {}
        for rate in RATES:
            path = str(Path(folder) / "other.mp3")
            contestants["decoding alone (MP3)", rate] = lambda path=path, rate=rate: decode(  # type: ignore[misc]
                path, sample_rate=rate, channels=1
            )
            for text in RECIPES:
                recipe = parse(text.format(folder, folder))
                if recipe.at_stored_rate and rate != RATES[-1]:
                    continue
                contestants[text.format("DIR"), rate] = lambda recipe=recipe, rate=rate: (  # type: ignore[misc]
                    effects.apply(recipe, waves[rate], rate)
                )
        times: dict[tuple[str, int], list[float]] = {key: [] for key in contestants}
        for turn in range(PASSES + 1):
            for key, compute in contestants.items():
                start = time.process_time()  # of this process: other work does not count
                compute()
                if turn:  # the first pass fills caches
                    times[key].append(time.process_time() - start)
    print("| effect | x real time at 12 kHz | at 44.1 kHz |")
    print("|---|---:|---:|")
    for name in dict.fromkeys(name for name, _ in contestants):
        cells = [
            f"{SECONDS / statistics.median(times[name, rate]):,.0f}"
            if (name, rate) in times
            else ""
            for rate in RATES
        ]
        print(f"| {name} | {cells[0]} | {cells[1]} |")


def made(folder: Path) -> dict[int, np.ndarray]:
    """Write a track to mix with and an impulse response of a second; return the waves to change."""
    rng = np.random.default_rng(0)
    rate = RATES[-1]
    time_ = np.arange(SECONDS * rate) / rate
    tones = sum(np.sin(2 * np.pi * f * time_) for f in (110, 277.2, 440, 1108.7, 3520))
    wave = (0.05 * tones + 0.02 * rng.standard_normal(len(time_))).astype(np.float32)
    soundfile.write(folder / "other.mp3", np.stack([wave, wave[::-1]], axis=1), rate)
    hall = rng.standard_normal(rate) * np.exp(-np.arange(rate) / (0.15 * rate))
    soundfile.write(folder / "hall.wav", 0.3 * hall / np.abs(hall).max(), rate)
    return {r: decode(folder / "other.mp3", sample_rate=r, channels=1)[0] for r in RATES}


if __name__ == "__main__":
    with threadpool_limits(1):
        main()

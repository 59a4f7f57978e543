"""Time the mel spectrogram of the Music Auto-Tagger: ours, librosa's and torchaudio's, in one run.

    python bench/mel.py

Prints a Markdown table: how many times faster than the music each is on one core (the median of
several passes over a minute of 12 kHz noise, 512/256/96), and the ratio to ours.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable

import librosa
import numpy as np
import torch
import torchaudio
from threadpoolctl import threadpool_limits

from mt_tools.features.mel import mel_bands
from mt_tools.features.settings import preset

SECONDS = 60
PASSES = 15


def main() -> None:
    """Time the three, taking turns so that a busy machine slows all of them alike."""
    torch.set_num_threads(1)
    settings = dataclasses.replace(preset("choi2016"), excerpt="whole")
    rate, n_fft, hop, bands = settings.sample_rate, settings.n_fft, settings.hop, settings.bands
    wave = np.random.default_rng(0).standard_normal(SECONDS * rate).astype(np.float32)
    tensor = torch.from_numpy(wave)
    transform = torchaudio.transforms.MelSpectrogram(
        rate, n_fft, hop_length=hop, n_mels=bands, mel_scale="slaney", norm="slaney"
    )
    filters = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bands)

    def librosas() -> np.ndarray:
        return filters @ np.abs(librosa.stft(wave, n_fft=n_fft, hop_length=hop)) ** 2

    contestants: dict[str, Callable[[], object]] = {
        "mt_tools": lambda: mel_bands(wave[None], settings),
        "torchaudio": lambda: transform(tensor),
        "librosa": librosas,
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(PASSES + 1):
        for name, compute in contestants.items():
            start = time.perf_counter()
            compute()
            if turn:  # the first pass fills caches
                times[name].append(time.perf_counter() - start)
    ours = statistics.median(times["mt_tools"])
    print("| mel 512/256/96 at 12 kHz | x real time | ours is faster by |")
    print("|---|---:|---:|")
    for name, passes in times.items():
        median = statistics.median(passes)
        print(f"| {name} | {SECONDS / median:,.0f} | {median / ours:.2f} |")


if __name__ == "__main__":
    with torch.inference_mode(), threadpool_limits(1):
        main()

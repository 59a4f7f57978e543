"""Time the front ends on one core: ours, and librosa's and torchaudio's of the same, in one run.

    python bench/mel.py

Prints two Markdown tables: how many times faster than the music each is (the median of several
passes over a minute of noise, taking turns so that a busy machine slows all alike), and the ratio
to ours. The first is the mel spectrogram of the Music Auto-Tagger (12 kHz, 512/256/96), the second
every other kind at librosa's defaults (22.05 kHz, 2,048/512), loudness at 48 kHz in stereo.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
import warnings
from collections.abc import Callable

import librosa
import numpy as np
import torch
import torchaudio
from threadpoolctl import threadpool_limits

from mt_tools.features.extract import extract
from mt_tools.features.mel import mel_bands
from mt_tools.features.presets import preset
from mt_tools.features.settings import FeatureSettings

SECONDS = 60
PASSES = 15

Contestants = dict[str, Callable[[], object]]


def noise(rate: int, channels: int = 1) -> np.ndarray:
    """Return a minute of noise `[channels, samples]`."""
    generator = np.random.default_rng(0)
    return 0.1 * generator.standard_normal((channels, SECONDS * rate)).astype(np.float32)


def medians(contestants: Contestants, passes: int = PASSES) -> dict[str, float]:
    """Return the median seconds of each, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(passes + 1):
        for name, compute in contestants.items():
            start = time.perf_counter()
            compute()
            if turn:  # the first pass fills caches
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured) for name, measured in times.items()}


def mel_contestants() -> Contestants:
    """Return the mel spectrogram of the Music Auto-Tagger, before its decibels."""
    settings = dataclasses.replace(preset("choi2016"), excerpt="whole")
    rate, n_fft, hop, bands = settings.sample_rate, settings.n_fft, settings.hop, settings.bands
    wave = noise(rate)
    tensor = torch.from_numpy(wave[0])
    transform = torchaudio.transforms.MelSpectrogram(
        rate, n_fft, hop_length=hop, n_mels=bands, mel_scale="slaney", norm="slaney"
    )
    filters = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bands)

    def librosas() -> np.ndarray:
        return filters @ np.abs(librosa.stft(wave[0], n_fft=n_fft, hop_length=hop)) ** 2

    return {
        "mt_tools": lambda: mel_bands(wave, settings),
        "torchaudio": lambda: transform(tensor),
        "librosa": librosas,
    }


def kind_contestants() -> dict[str, Contestants]:
    """Return ours and another implementation of each kind."""
    rate = 22050
    wave, both = noise(rate), noise(48000, channels=2)
    samples, tensor = wave[0], torch.from_numpy(both)
    feature = librosa.feature

    def ours(kind: str, given: np.ndarray = wave, **settings: object) -> Callable[[], object]:
        chosen = FeatureSettings(kind=kind, **settings)  # type: ignore[arg-type]
        return lambda: extract(given, chosen)

    def cepstra() -> object:
        base = feature.mfcc(y=samples, sr=rate)
        return base, feature.delta(base), feature.delta(base, order=2)

    def descriptors() -> object:
        magnitudes = np.abs(librosa.stft(samples))
        strength = librosa.onset.onset_strength(y=samples, sr=rate)
        return (
            feature.rms(y=samples),
            feature.zero_crossing_rate(samples),
            feature.spectral_centroid(S=magnitudes, sr=rate),
            feature.spectral_bandwidth(S=magnitudes, sr=rate),
            feature.spectral_rolloff(S=magnitudes, sr=rate),
            feature.spectral_flatness(S=magnitudes),
            librosa.onset.onset_detect(onset_envelope=strength, sr=rate),
        )

    def tempo() -> object:
        return librosa.beat.beat_track(y=samples, sr=rate)

    return {
        "mel, dB": {
            "mt_tools": ours("mel"),
            "librosa": lambda: librosa.power_to_db(feature.melspectrogram(y=samples, sr=rate)),
        },
        "mfcc, two orders of differences": {"mt_tools": ours("mfcc", deltas=2), "librosa": cepstra},
        "stft, dB": {
            "mt_tools": ours("stft"),
            "librosa": lambda: librosa.power_to_db(np.abs(librosa.stft(samples)) ** 2),
        },
        "chroma": {
            "mt_tools": ours("chroma"),
            "librosa": lambda: feature.chroma_stft(y=samples, sr=rate, tuning=0.0),
        },
        "chroma, tuning estimated": {
            "mt_tools": ours("chroma", tuning="estimate"),
            "librosa": lambda: feature.chroma_stft(y=samples, sr=rate),
        },
        "descriptors": {"mt_tools": ours("descriptors"), "librosa": descriptors},
        "tempo": {"mt_tools": ours("tempo"), "librosa": tempo},
        "loudness": {
            "mt_tools": ours("loudness", both, sample_rate=48000),
            "torchaudio": lambda: torchaudio.functional.loudness(tensor, 48000),
        },
    }


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    found = medians(mel_contestants())
    print("| mel 512/256/96 at 12 kHz | x real time | ours is faster by |")
    print("|---|---:|---:|")
    for name, seconds in found.items():
        print(f"| {name} | {SECONDS / seconds:,.0f} | {seconds / found['mt_tools']:.2f} |")
    print()
    print("| kind | x real time | the other | x real time | ours is faster by |")
    print("|---|---:|---|---:|---:|")
    for kind, contestants in kind_contestants().items():
        found = medians(contestants, passes=7)
        (other,) = (name for name in found if name != "mt_tools")
        ours, theirs = found["mt_tools"], found[other]
        print(
            f"| {kind} | {SECONDS / ours:,.0f} | {other} | {SECONDS / theirs:,.0f} "
            f"| {theirs / ours:.2f} |"
        )


if __name__ == "__main__":
    with torch.inference_mode(), threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()

"""Fingerprints: copies are known again, other music is not."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from mt_tools.evaluate.fingerprints import matches
from mt_tools.features.fingerprint import HOP, SAMPLE_RATE, fingerprint
from mt_tools.sound.decode import decode

Prints = list[np.ndarray | None]


def print_of(path: Path) -> np.ndarray:
    """Return the fingerprint of a file."""
    return fingerprint(decode(str(path), sample_rate=SAMPLE_RATE, channels=1)[0][0])


def found(prints: Prints, sides: list[int] | None = None) -> set[tuple[int, int]]:
    """Return the pairs that match; every row is its own origin and side where none is said."""
    numbers = np.arange(len(prints))
    where = numbers if sides is None else np.array(sides)
    return {(match.first, match.second) for match in matches(prints, numbers, where)}


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Six melodies of ten seconds, 22.05 kHz, of decaying tones with overtones and noise."""
    rng = np.random.default_rng(0)
    time = np.arange(int(0.25 * 22050)) / 22050
    tunes = []
    for _ in range(6):
        notes = 220 * 2 ** (rng.integers(0, 36, size=(40, 2)) / 12)
        tones = [
            sum(np.sin(2 * np.pi * f * h * time) / h for f in pair for h in (1, 2, 3, 4))
            * np.exp(-6 * time)
            for pair in notes
        ]
        wave = np.concatenate(tones)
        tunes.append(0.1 * (wave + 0.05 * rng.normal(size=len(wave))).astype(np.float32))
    return tunes


@pytest.mark.parametrize("change", ["mp3", "ogg", "low", "quiet", "cut", "noise"])
def test_a_copy_is_known_again(music: list[np.ndarray], tmp_path: Path, change: str) -> None:
    """A track that was encoded anew, made quieter or cut would train and test a model."""
    prints: Prints = []
    for number, wave in enumerate(music):
        wave = {
            "quiet": 0.3 * wave,
            "cut": wave[30_011:],
            "noise": wave + 0.002 * np.random.default_rng(1).normal(size=len(wave)),
        }.get(change, wave)
        path = tmp_path / f"{number}.{'mp3' if change == 'low' else change}"
        if change in ("quiet", "cut", "noise"):
            path = path.with_suffix(".flac")
        options = {"compression_level": 0.99} if change == "low" else {}
        soundfile.write(path, wave, 22050, **options)
        prints.append(print_of(path))
    originals: Prints = [
        fingerprint(soxr.resample(wave, 22050, SAMPLE_RATE, quality="HQ")) for wave in music
    ]
    assert found(originals + prints) == {(number, number + 6) for number in range(6)}


def test_sides_and_origins(music: list[np.ndarray]) -> None:
    """Copies on one side, of one origin or left out would be reported."""
    one = fingerprint(soxr.resample(music[0], 22050, SAMPLE_RATE))
    assert found([one, one]) == {(0, 1)}
    assert found([one, None, one]) == {(0, 2)}
    assert found([one, one], [0, 0]) == set()
    assert found([one, one], [0, -1]) == set()
    assert matches([one, one], np.zeros(2, np.int64), np.arange(2)) == []
    assert found([one]) == set()
    assert found([]) == set()


def test_silence_and_short_sounds_match_nothing() -> None:
    """Every library has silent tracks, which are not copies of one another."""
    silence = fingerprint(np.zeros(10 * SAMPLE_RATE, np.float32))
    assert found([silence, silence]) == set()
    assert len(fingerprint(np.zeros(100, np.float32))) == 0
    rng = np.random.default_rng(0)
    short = fingerprint(rng.normal(size=2 * SAMPLE_RATE).astype(np.float32))
    assert found([short, short]) == set()  # less than 3 s


def test_a_bit_is_the_sign_that_the_paper_defines() -> None:
    """Fingerprints would be less robust than those that were published."""
    rng = np.random.default_rng(0)
    wave = rng.normal(size=2048 + 5 * HOP).astype(np.float32)
    window = np.hanning(2049)[:-1]
    edges = np.round(np.geomspace(300, 2000, 34) * 2048 / SAMPLE_RATE).astype(int)
    energy = np.empty((6, 33))
    for n in range(6):
        power = np.abs(np.fft.rfft(wave[n * HOP : n * HOP + 2048].astype(float) * window)) ** 2
        energy[n] = [power[a:b].sum() for a, b in pairwise(edges)]
    for n, word in enumerate(fingerprint(wave), 1):
        for m in range(32):
            rise = energy[n, m] - energy[n, m + 1] - (energy[n - 1, m] - energy[n - 1, m + 1])
            assert bool(int(word) >> m & 1) == (rise > 0)

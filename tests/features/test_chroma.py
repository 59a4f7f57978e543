"""Chroma beyond librosa's filters: chords by ear, tuning, stereo, silence, long signals."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from mt_tools.features.chroma import chroma, chroma_filterbank, estimate_tuning
from mt_tools.features.settings import FeatureSettings

NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]


def chord(keys: list[int], cents: float = 0.0, seconds: float = 1.0) -> np.ndarray:
    """Return tones of MIDI keys with four partials each, mono at 22,050 Hz."""
    time = np.arange(int(seconds * 22050)) / 22050
    wave = np.zeros_like(time)
    for key in keys:
        hertz = 440 * 2 ** ((key - 69 + cents / 100) / 12)
        for partial in range(1, 5):
            wave += np.sin(2 * np.pi * hertz * partial * time) / partial**2
    return (0.1 * wave).astype(np.float32)[None]


@pytest.mark.parametrize(
    ("keys", "names"),
    [([60, 64, 67], "C E G"), ([57, 60, 64], "C E A"), ([62, 66, 69], "D F# A"), ([70], "A#")],
)
def test_a_chord_is_its_pitch_classes(keys: list[int], names: str) -> None:
    """Bins that begin at another note would call every chord by a wrong name."""
    classes = chroma(chord(keys), FeatureSettings(kind="chroma"))[:, 20]
    loudest = sorted(np.argsort(classes)[-len(keys) :])
    assert " ".join(NAMES[i] for i in loudest) == names


@pytest.mark.parametrize("n_fft", [511, 1024, 4096])
@pytest.mark.parametrize(("n_chroma", "tuning"), [(12, 0.0), (12, -0.3), (24, 0.45), (36, 0.1)])
def test_filterbank_is_librosas(n_fft: int, n_chroma: int, tuning: float) -> None:
    """Every pitch would be spread over other classes than in the tables of others."""
    expected = librosa.filters.chroma(sr=22050, n_fft=n_fft, n_chroma=n_chroma, tuning=tuning)
    found = chroma_filterbank(22050, n_fft, n_chroma, tuning)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1


@pytest.mark.parametrize("cents", [-45, -20, 0, 10, 33])
@pytest.mark.parametrize("keys", [[60, 64, 67], [45, 57, 61, 64]])
def test_tuning_is_estimated_as_librosa_does(keys: list[int], cents: int) -> None:
    """A recording that is tuned low would fall between two pitch classes."""
    settings = FeatureSettings(kind="chroma", tuning="estimate", n_fft=4096)
    wave = chord(keys, cents)
    power = np.abs(librosa.stft(wave[0], n_fft=4096)) ** 2
    found = estimate_tuning(wave, settings)
    assert found == pytest.approx(librosa.estimate_tuning(S=power, sr=22050), abs=1e-9)
    assert found == pytest.approx(cents / 100, abs=0.06)  # what parabolas and their bins miss by
    theirs = librosa.feature.chroma_stft(y=wave[0], sr=22050, n_fft=4096)
    np.testing.assert_allclose(chroma(wave, settings), theirs, atol=1e-5)


def test_both_channels_have_one_tuning() -> None:
    """The same note would be of two classes, left and right."""
    low, high = chord([60], -30), chord([67], -30)
    settings = FeatureSettings(kind="chroma", tuning="estimate", channels="stereo")
    both = chroma(np.concatenate([low, high]), settings)
    fixed = FeatureSettings(
        kind="chroma",
        tuning=str(estimate_tuning(np.concatenate([low, high]), settings)),
        channels="stereo",
    )
    assert both.shape == (2, 12, 44)
    np.testing.assert_array_equal(both, chroma(np.concatenate([low, high]), fixed))
    assert NAMES[both[0, :, 20].argmax()] == "C"
    assert NAMES[both[1, :, 20].argmax()] == "G"


@pytest.mark.parametrize("norm", ["max", "l1", "l2", "none"])
@pytest.mark.parametrize("samples", [1, 5000])
def test_silence_stays_silent(norm: str, samples: int) -> None:
    """A pause would be a row of undefined numbers."""
    silence = np.zeros((1, samples), dtype=np.float32)
    for tuning in ("0", "estimate"):
        settings = FeatureSettings(kind="chroma", chroma_norm=norm, tuning=tuning)
        np.testing.assert_array_equal(chroma(silence, settings), 0)


def test_the_tuning_of_a_long_signal_is_of_a_part_of_its_frames() -> None:
    """A mix of hours would need more room for its peaks than for its sound."""
    settings = FeatureSettings(kind="chroma", tuning="estimate", n_fft=256, hop=8)
    wave = chord([81, 85], 20, seconds=30)
    assert settings.frames_of(wave.shape[1]) > 2**16
    assert estimate_tuning(wave, settings) == estimate_tuning(wave[:, : 22050 * 10], settings)

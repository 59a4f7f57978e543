"""Pitch and stretch, measured on signals whose result is known."""

from __future__ import annotations

import numpy as np
import pytest

from mt_tools.recipes import Recipe
from mt_tools.sound import effects

RATES = (12_000, 22_050, 44_100)


def sine(frequency: float, sample_rate: int, seconds: float = 1.5) -> np.ndarray:
    """A sine [1, samples] of amplitude 0.4."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.4 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[None]


def peak_frequency(wave: np.ndarray, sample_rate: int) -> float:
    """Frequency of the strongest partial: a parabola through the log spectrum of a Hann window."""
    size = 8 * len(wave)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), size))
    peak = int(spectrum.argmax())
    left, middle, right = np.log(spectrum[peak - 1 : peak + 2])
    return (peak + (left - right) / (2 * (left - 2 * middle + right))) * sample_rate / size


def bursts(sample_rate: int, seconds: list[float], length: float) -> np.ndarray:
    """Two channels of short decaying noise bursts that begin at `seconds`."""
    rng = np.random.default_rng(1)
    wave = np.zeros((2, round(length * sample_rate)), np.float32)
    size = round(0.02 * sample_rate)
    for second in seconds:
        begin = round(second * sample_rate)
        burst = rng.standard_normal(size) * np.exp(-np.arange(size) / (0.004 * sample_rate))
        wave[:, begin : begin + size] += 0.3 * burst
    return wave


def median_of_energy(wave: np.ndarray) -> float:
    """The sample before which half of the energy lies."""
    energy = np.cumsum(wave**2)
    return float(np.searchsorted(energy, energy[-1] / 2))


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("semitones", [-12, -7, -2, -1, 1, 2, 7, 12])
def test_pitch_is_within_five_cents(sample_rate: int, semitones: int) -> None:
    """An augmented track would be out of tune, and a key label wrong."""
    for frequency in (110, 440, 1500):
        shifted = frequency * 2 ** (semitones / 12)
        wave = sine(frequency, sample_rate)
        result = effects.pitch(wave, semitones, sample_rate)
        assert result.shape == wave.shape
        assert result.dtype == np.float32
        middle = result[0, sample_rate // 4 : -sample_rate // 4]
        cents = 1200 * np.log2(peak_frequency(middle, sample_rate) / shifted)
        assert abs(cents) < 5
        level = 20 * np.log10(np.sqrt(2 * np.mean(middle**2)) / 0.4)
        assert abs(level) < 1


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("factor", [0.5, 0.8, 1.1, 1.5, 2])
def test_stretch_keeps_the_pitch_and_sets_the_length(sample_rate: int, factor: float) -> None:
    """A stretched track would change its key, or end early."""
    wave = sine(440, sample_rate)
    result = effects.stretch(wave, factor, sample_rate)
    assert result.shape == (1, round(wave.shape[1] * factor))
    edge = result.shape[1] // 5
    cents = 1200 * np.log2(peak_frequency(result[0, edge:-edge], sample_rate) / 440)
    assert abs(cents) < 5


@pytest.mark.parametrize("sample_rate", [12_000, 44_100])
@pytest.mark.parametrize(
    ("semitones", "factor"), [(2, 1), (-2, 1), (12, 1), (0, 1.1), (0, 0.5), (0, 2), (-3, 1.25)]
)
def test_onsets_stay_where_they_belong(sample_rate: int, semitones: float, factor: float) -> None:
    """Labels in time (beats, segments) would no longer fit the augmented sound."""
    seconds = [0.05, 0.55, 1.1, 1.9]
    wave = bursts(sample_rate, seconds, 2.0)
    result = effects.apply(Recipe(pitch=semitones, stretch=factor), wave, sample_rate)
    for second in seconds:
        around = round(0.04 * sample_rate)
        begin = max(0, round(second * sample_rate) - around)
        before = begin + median_of_energy(wave[0, begin : begin + 3 * around])
        around = round(around * factor)
        begin = max(0, round(second * factor * sample_rate) - around)
        after = begin + median_of_energy(result[0, begin : begin + 3 * around])
        assert after / sample_rate == pytest.approx(factor * before / sample_rate, abs=0.005)


def test_channels_stay_together() -> None:
    """A stereo image would wander or collapse."""
    wave = bursts(22_050, [0.2, 0.9], 1.5)
    wave[1] *= 0.5
    left, right = effects.pitch(wave, 3, 22_050)
    np.testing.assert_allclose(right, left / 2, atol=1e-3)


def test_the_same_wave_gives_the_same_bytes() -> None:
    """Two runs of one experiment would differ; stretches beyond 2 draw random phases."""
    wave = bursts(12_000, [0.2, 0.9], 1.5)
    for recipe in (Recipe(pitch=2), Recipe(stretch=3)):
        first = effects.apply(recipe, wave, 12_000)
        np.testing.assert_array_equal(first, effects.apply(recipe, wave, 12_000))


def test_a_view_gives_what_its_copy_gives() -> None:
    """Waves that are not contiguous would be read as noise."""
    wave = bursts(12_000, [0.2], 1.0)
    view = np.asfortranarray(wave)[::-1, ::2]
    np.testing.assert_array_equal(
        effects.stretch(view, 1.2, 12_000), effects.stretch(view.copy(), 1.2, 12_000)
    )


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("samples", [0, 1, 2, 100])
def test_very_short_waves_are_fine(channels: int, samples: int) -> None:
    """A track of a few samples would stop the run."""
    wave = np.ones((channels, samples), np.float32)
    assert effects.apply(Recipe(2, 1.5), wave, 8000).shape == (channels, round(samples * 1.5))


def test_the_identity_changes_nothing() -> None:
    """Unaugmented tracks would be altered."""
    wave = bursts(12_000, [0.2], 1.0)
    np.testing.assert_array_equal(effects.apply(Recipe(), wave, 12_000), wave)


def test_extremes_together_keep_the_sound() -> None:
    """Two octaves down at a quarter of the length would skip most of the sound."""
    wave = np.random.default_rng(0).standard_normal((1, 48_000)).astype(np.float32) * 0.1
    wave[:, ::4] *= 2
    result = effects.apply(Recipe(pitch=-24, stretch=0.25), wave, 12_000)
    assert result.shape == (1, 12_000)
    tenths = np.sqrt(np.mean(result.reshape(10, -1) ** 2, axis=1))
    assert tenths.min() > 0.3 * tenths.max()

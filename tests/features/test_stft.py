"""Short-time spectra beyond librosa's numbers: bins, scales, stereo, and room for long signals."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any

import librosa
import numpy as np
import pytest

from mt_tools.features.extract import extract
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.stft import stft, to_scale

SMALL: dict[str, Any] = {"sample_rate": 12000, "n_fft": 512, "hop": 256}


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """A second of two tones in a little noise, mono, at 12 kHz."""
    rng = np.random.default_rng(1)
    time = np.arange(12000) / 12000
    tones = 0.3 * np.sin(2 * np.pi * 750 * time) + 0.1 * np.sin(2 * np.pi * 3000 * time)
    return (tones + 0.01 * rng.standard_normal(12000)).astype(np.float32)[None]


def test_bins_are_where_their_frequencies_say(wave: np.ndarray) -> None:
    """A tone would be read at the wrong frequency where only some bins are kept."""
    settings = FeatureSettings(kind="stft", **SMALL)
    whole = stft(wave, settings)
    assert whole.shape == (257, 47) == (settings.output_bands, settings.frames_for(1))
    assert whole[:, 20].argmax() == 32  # 750 Hz of 23.4 Hz a bin
    some = dataclasses.replace(settings, fmin=700.0, fmax=2000.0, top_db=0.0)
    assert some.stft_bins == (30, 86)
    np.testing.assert_array_equal(
        stft(wave, some), stft(wave, dataclasses.replace(settings, top_db=0.0))[30:86]
    )


def test_decibels_of_magnitudes_are_librosas(wave: np.ndarray) -> None:
    """`librosa.amplitude_to_db` is what most call a spectrogram in decibels."""
    settings = FeatureSettings(kind="stft", reference="max", **SMALL)
    magnitudes = np.abs(librosa.stft(wave[0], n_fft=512, hop_length=256))
    expected = librosa.amplitude_to_db(magnitudes, ref=np.max)
    np.testing.assert_allclose(stft(wave, settings), expected, atol=0.01)


def test_stereo_keeps_both_channels(wave: np.ndarray) -> None:
    """Left and right would be mixed, or each be brought to its own maximum."""
    settings = FeatureSettings(kind="stft", channels="stereo", **SMALL)
    both = stft(np.concatenate([0.01 * wave, wave]), settings)
    assert both.shape == (2, 257, 47)
    assert both[1].max() - both[0].max() == pytest.approx(40, abs=0.01)


def test_a_reference_is_a_constant() -> None:
    """A number given as reference must shift all decibels by its own, whatever the music."""
    values = np.array([[1e-3, 0.5, 2.0]], dtype=np.float32)
    base = to_scale(values, FeatureSettings(top_db=0.0))
    shifted = to_scale(values, FeatureSettings(top_db=0.0, reference="0.5"))
    np.testing.assert_allclose(shifted - base, 10 * np.log10(2), rtol=1e-5)
    natural = to_scale(values, FeatureSettings(scale="log", reference="0.5"))
    np.testing.assert_allclose(natural, np.log(values / 0.5), atol=1e-6)


def test_compression_is_musicnns() -> None:
    """The published weights of musicnn would be fed another curve."""
    values = np.geomspace(1e-9, 1e3, 50, dtype=np.float32)
    found = to_scale(values, FeatureSettings(scale="compressed"))
    np.testing.assert_allclose(found, np.log10(10000 * values.astype(np.float64) + 1), rtol=1e-5)
    assert to_scale(np.zeros(3, np.float32), FeatureSettings(scale="compressed")).max() == 0


FRONT_ENDS = [
    FeatureSettings(),
    FeatureSettings(kind="mfcc", deltas=2),
    FeatureSettings(kind="stft"),
    FeatureSettings(kind="chroma", tuning="estimate"),
    FeatureSettings(kind="descriptors"),
    FeatureSettings(kind="loudness", sample_rate=48000),
]


@pytest.mark.parametrize("settings", FRONT_ENDS, ids=lambda s: s.kind)
@pytest.mark.parametrize("samples", [1, 2, 100, 3000])
def test_blips_and_silence_have_finite_features(settings: FeatureSettings, samples: int) -> None:
    """A part at the very end of a file, or a silent one, would fail or poison the table."""
    noise = np.random.default_rng(0).uniform(-1, 1, (1, samples)).astype(np.float32)
    for wave in (noise, 0 * noise, 0 * noise + 1):
        for centre in (True, False):
            found = extract(wave, dataclasses.replace(settings, centre=centre))
            assert np.isfinite(found).all()
            assert found.dtype == np.float32


@pytest.mark.parametrize(
    "settings",
    [
        FeatureSettings(),
        FeatureSettings(kind="chroma"),
        FeatureSettings(kind="descriptors"),
        FeatureSettings(kind="loudness", sample_rate=48000),
    ],
    ids=lambda s: s.kind,
)
def test_a_long_signal_needs_little_beside_itself(settings: FeatureSettings) -> None:
    """A mix of hours would need several times the memory of its samples."""
    rng = np.random.default_rng(0)
    peaks = []
    for samples in (500_000, 2_500_000):
        wave = rng.standard_normal((1, samples), dtype=np.float32)
        extract(wave[:, :10_000], settings)  # fills the caches
        tracemalloc.start()
        extract(wave, settings)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 0.7 * 4 * 2_000_000

"""Cepstra and their differences against librosa."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import pytest

from mt_tools.features.extract import extract
from mt_tools.features.mfcc import delta, mfcc
from mt_tools.features.presets import PRESETS
from mt_tools.features.settings import FeatureSettings


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """Two seconds of a decaying chord in noise, mono."""
    rng = np.random.default_rng(11)
    time = np.arange(44100) / 22050
    chord = sum(np.sin(2 * np.pi * hz * time) for hz in (220.0, 277.2, 329.6, 2640.0))
    return (np.exp(-time) * chord + 0.05 * rng.standard_normal(44100)).astype(np.float32)[None]


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({}, {}),
        ({"n_mfcc": 13, "bands": 40}, {"n_mfcc": 13, "n_mels": 40}),
        ({"n_mfcc": 25, "mel_scale": "htk"}, {"n_mfcc": 25, "htk": True}),
    ],
)
def test_mfcc_is_librosas(
    wave: np.ndarray, changes: dict[str, Any], arguments: dict[str, Any]
) -> None:
    """Statistics of cepstra would not compare with the published baselines."""
    expected = librosa.feature.mfcc(y=wave[0], sr=22050, **arguments)
    got = mfcc(wave, FeatureSettings(kind="mfcc", **changes))
    assert got.dtype == np.float32
    # The coefficients are sums of decibels in the hundreds: 1e-3 of the largest is 0.5.
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-2)


def test_deltas_are_librosas(wave: np.ndarray) -> None:
    """Differences must follow the coefficients, in order, with librosa's fit at the ends."""
    settings = FeatureSettings(kind="mfcc", n_mfcc=20, deltas=2)
    got = mfcc(wave, settings)
    base = librosa.feature.mfcc(y=wave[0], sr=22050, n_mfcc=20)
    expected = np.concatenate(
        [base, librosa.feature.delta(base), librosa.feature.delta(base, order=2)]
    )
    assert got.shape == expected.shape == (60, 87)
    assert settings.output_bands == 60
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-2)


def test_delta_of_a_parabola_is_its_derivative() -> None:
    """The slope and the curvature of a known curve must come out."""
    time = np.arange(30, dtype=np.float32)
    np.testing.assert_allclose(delta(3 * time, 5), 3, rtol=1e-4)
    np.testing.assert_allclose(delta(0.5 * time**2, 9, order=2), 1, rtol=1e-3)


@pytest.mark.parametrize("order", [1, 2])
def test_plain_differences_are_those_of_neighbours(wave: np.ndarray, order: int) -> None:
    """The AGF study's differences are of subsequent frames, which no fit gives."""
    settings = FeatureSettings(kind="mfcc", n_mfcc=25, static=False, deltas=order, delta_width=2)
    base = mfcc(wave, FeatureSettings(kind="mfcc", n_mfcc=25))
    found = mfcc(wave, settings)
    assert found.shape == (25 * order, 87)
    last = found[-25:]
    np.testing.assert_allclose(last[:, order:], np.diff(base, n=order), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(last[:, 0], 0)
    np.testing.assert_array_equal(delta(base[:, :1], 2, order), 0)


def test_differences_can_stand_alone(wave: np.ndarray) -> None:
    """Without the coefficients the differences must be those that stand below them otherwise."""
    both = mfcc(wave, FeatureSettings(kind="mfcc", deltas=2))
    alone = mfcc(wave, FeatureSettings(kind="mfcc", deltas=2, static=False))
    np.testing.assert_array_equal(alone, both[20:])


def test_short_tracks_have_deltas() -> None:
    """A track of fewer frames than the fit must still give a vector of the same length."""
    blip = np.random.default_rng(0).standard_normal((1, 700)).astype(np.float32)
    settings = FeatureSettings(kind="mfcc", deltas=2)
    features = mfcc(blip, settings)
    assert features.shape == (60, 2)
    expected = librosa.feature.delta(features[:20], mode="nearest")
    np.testing.assert_allclose(features[20:40], expected, atol=1e-4)
    single = mfcc(blip[:, :1], settings)
    np.testing.assert_allclose(single[20:], 0, atol=1e-4)


def test_natural_log_cepstra_follow_the_sequence_study(wave: np.ndarray) -> None:
    """The sequence study takes the cosine transform of natural logarithms, not of decibels."""
    settings = FeatureSettings(kind="mfcc", scale="log", n_mfcc=90, bands=96)
    bands = librosa.feature.melspectrogram(y=wave[0], sr=22050, n_mels=96)
    expected = librosa.feature.mfcc(S=np.log(np.maximum(bands, 1e-10)), n_mfcc=90)
    np.testing.assert_allclose(mfcc(wave, settings), expected, rtol=1e-3, atol=1e-2)


def test_baseline_vector_is_means_then_deviations(wave: np.ndarray) -> None:
    """The 120 values of the baseline must be in the order that its name promises."""
    vector = extract(wave, PRESETS["mfcc-rep"].settings)
    base = librosa.feature.mfcc(y=wave[0], sr=22050, n_mfcc=20)
    frames = np.concatenate(
        [base, librosa.feature.delta(base), librosa.feature.delta(base, order=2)]
    )
    expected = np.concatenate([frames.mean(axis=1), frames.std(axis=1)])
    assert vector.shape == (120,)
    np.testing.assert_allclose(vector, expected, rtol=1e-3, atol=1e-2)


def test_stereo_cepstra_keep_the_channels(wave: np.ndarray) -> None:
    """Left and right must not be mixed up by the transform."""
    settings = FeatureSettings(kind="mfcc", channels="stereo", deltas=1, top_db=0.0)
    mono = FeatureSettings(kind="mfcc", deltas=1, top_db=0.0)
    quiet = 0.1 * wave
    both = mfcc(np.concatenate([wave, quiet]), settings)
    assert both.shape == (2, 40, 87)
    np.testing.assert_allclose(both[1], mfcc(quiet, mono), rtol=1e-3, atol=1e-3)

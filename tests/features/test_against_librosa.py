"""Front ends under random settings against librosa 0.11, computed there in float64.

Ours compute in float32. A spectrum of float32 is off by some 1e-7 of its loudest amplitude, which
weighs little where a value is loud and all where it is far below: the tolerances say both, 1e-5 of
the value, and `ROUNDING` of the loudest amplitude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mt_tools.features.extract import extract
from mt_tools.features.settings import FeatureSettings

RELATIVE = 1e-5
ROUNDING = 2e-6

fixed = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
# librosa tells of signals shorter than a frame, and of bands that no bin falls into.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@dataclass(frozen=True)
class Signal:
    """A short signal of tones and noise that begins with silence; now and then a few samples."""

    samples: int
    seed: int
    tones: int
    silent: float
    gain: float

    def wave(self) -> np.ndarray:
        """Return the samples, mono."""
        rng = np.random.default_rng(self.seed)
        wave = 0.01 * rng.standard_normal(self.samples)
        for _ in range(self.tones):
            wave += rng.uniform(0.05, 0.4) * np.sin(rng.uniform(0.01, 3) * np.arange(self.samples))
        wave[: int(self.silent * self.samples)] = 0
        return (self.gain * wave).astype(np.float32)


signals = st.builds(
    Signal,
    samples=st.sampled_from([1, 2, 50, 900, 4000, 6000]),
    seed=st.integers(0, 2**16),
    tones=st.integers(0, 3),
    silent=st.sampled_from([0.0, 0.4, 1.0]),
    gain=st.sampled_from([1.0, 1e-3]),
)


@st.composite
def framings(draw: st.DrawFn) -> dict[str, Any]:
    """Rate, transform, window, hop and padding."""
    n_fft = draw(st.sampled_from([64, 255, 512, 1000, 2048]))
    return {
        "sample_rate": draw(st.sampled_from([8000, 12000, 22050, 44100])),
        "n_fft": n_fft,
        "win_length": draw(st.sampled_from([0, n_fft, n_fft // 2, n_fft - 3])),
        "hop": draw(st.sampled_from([32, 100, 256, 3 * n_fft])),
        "window": draw(st.sampled_from(["hann", "hamming"])),
        "centre": draw(st.booleans()),
        "pad": draw(st.sampled_from(["constant", "reflect"])),
        "exponent": draw(st.sampled_from([1.0, 2.0])),
    }


scales = st.fixed_dictionaries(
    {
        "scale": st.sampled_from(["power", "log", "dB", "compressed"]),
        "floor": st.sampled_from([1e-10, 1e-5, 1e-2]),
        "top_db": st.sampled_from([0.0, 40.0, 80.0]),
        "reference": st.sampled_from(["one", "max", "0.25"]),
        "compression": st.sampled_from([1.0, 10000.0]),
    }
)
bands = st.fixed_dictionaries(
    {
        "bands": st.sampled_from([1, 12, 40, 96]),
        "fmin": st.sampled_from([0.0, 60.0]),
        "fmax": st.sampled_from([0.0, 3000.0]),
        "mel_scale": st.sampled_from(["slaney", "htk"]),
        "mel_norm": st.sampled_from(["slaney", "none"]),
        "mel_exponent": st.sampled_from([1.0, 2.0]),
    }
)


def spectrum(wave: np.ndarray, ours: FeatureSettings) -> np.ndarray:
    """Return librosa's magnitudes to the exponent, of a signal padded as ours are."""
    wave = wave.astype(np.float64)
    if ours.centre:
        # By numpy, as librosa refuses to mirror signals shorter than the padding.
        wave = np.pad(wave, ours.n_fft // 2, mode=ours.pad)  # type: ignore[call-overload]
    wave = np.pad(wave, (0, max(0, ours.n_fft - len(wave))))
    transform = librosa.stft(
        wave,
        n_fft=ours.n_fft,
        hop_length=ours.hop,
        win_length=ours.win_length or None,
        window=ours.window,
        center=False,
    )
    return np.abs(transform) ** ours.exponent


def scaled(values: np.ndarray, ours: FeatureSettings) -> np.ndarray:
    """Bring values to the scale of the settings with librosa's functions, or by definition."""
    if ours.scale == "power":
        return values
    if ours.scale == "compressed":
        return np.log10(1 + ours.compression * values)
    reference: Any = np.max if ours.reference == "max" else ours.reference_value
    limit = ours.top_db or None if ours.scale == "dB" else None
    decibels = librosa.power_to_db(values, ref=reference, amin=ours.floor, top_db=limit)
    return decibels if ours.scale == "dB" else decibels * (math.log(10) / 10)


def tolerance(values: np.ndarray, ours: FeatureSettings) -> np.ndarray:
    """Return how far values of the spectrum to the exponent may be off."""
    loudest = values.max() if values.size else 0.0
    if ours.exponent == 1:
        return RELATIVE * values + ROUNDING * loudest
    return RELATIVE * values + ROUNDING * np.sqrt(values * loudest) + ROUNDING**2 * loudest


def check_scaled(
    got: np.ndarray, values: np.ndarray, off: np.ndarray, ours: FeatureSettings
) -> None:
    """Check that ours are librosa's, were the values before the scale `off` by that at most."""
    if ours.kind != "stft" and ours.mel_exponent == 2:
        low, high = np.maximum(values - off, 0) ** 2, (values + off) ** 2
        values = values**2
    else:
        low, high = np.maximum(values - off, 0), values + off
    expected = scaled(values, ours)
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    assert np.isfinite(got).all()
    below, above = scaled(low, ours), scaled(high, ours)
    slack = RELATIVE * np.abs(expected)
    if ours.scale != "power":
        # The reference and the limit move with the maximum.
        loudest, quietest = max(high.max(), ours.floor), max(low.max(), ours.floor)
        slack = slack + 2 * 10 * math.log10(loudest / quietest) + 1e-5
    assert (got >= below - slack).all()
    assert (got <= above + slack).all()


@fixed
@given(signals, framings(), bands, scales)
def test_mel_is_librosas(
    signal: Signal, framing: dict[str, Any], mel: dict[str, Any], scale: dict[str, Any]
) -> None:
    """A combination of settings would give other bands than the one that a model was trained on."""
    wave = signal.wave()
    ours = FeatureSettings(**framing, **mel, **scale)
    filters = librosa.filters.mel(
        sr=ours.sample_rate,
        n_fft=ours.n_fft,
        n_mels=ours.bands,
        fmin=ours.fmin,
        fmax=ours.fmax or None,
        htk=ours.mel_scale == "htk",
        norm=None if ours.mel_norm == "none" else "slaney",
        dtype=np.float64,
    )
    values = spectrum(wave, ours)
    off = filters @ tolerance(values, ours)
    check_scaled(extract(wave[None], ours), filters @ values, off, ours)


@fixed
@given(signals, framings(), scales, st.sampled_from([(0.0, 0.0), (100.0, 3000.0), (500.0, 0.0)]))
def test_stft_is_librosas(
    signal: Signal, framing: dict[str, Any], scale: dict[str, Any], edges: tuple[float, float]
) -> None:
    """Bins would be shifted, or those of another part of the spectrum."""
    wave = signal.wave()
    ours = FeatureSettings(kind="stft", fmin=edges[0], fmax=edges[1], **framing, **scale)
    hertz = librosa.fft_frequencies(sr=ours.sample_rate, n_fft=ours.n_fft)
    if ours.n_fft % 2:  # librosa's frequencies of odd transforms end a bin late
        hertz = np.arange(1 + ours.n_fft // 2) * ours.sample_rate / ours.n_fft
    inside = (hertz >= ours.fmin) & (hertz <= (ours.fmax or ours.sample_rate / 2))
    values = spectrum(wave, ours)
    off = tolerance(values, ours)
    assert ours.output_bands == inside.sum()
    check_scaled(extract(wave[None], ours), values[inside], off[inside], ours)


@fixed
@given(
    signals,
    framings(),
    st.sampled_from(["log", "dB"]),
    st.booleans(),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([3, 9]),
)
def test_cepstra_are_librosas(
    signal: Signal, framing: dict[str, Any], scale: str, htk: bool, deltas: int, width: int
) -> None:
    """Cepstra or their differences would not be those of the published baselines."""
    wave = signal.wave()
    ours = FeatureSettings(
        kind="mfcc", bands=40, n_mfcc=13, deltas=deltas, delta_width=width, scale=scale,
        mel_scale="htk" if htk else "slaney", floor=1e-3, **framing,
    )  # fmt: skip
    filters = librosa.filters.mel(
        sr=ours.sample_rate, n_fft=ours.n_fft, n_mels=40, htk=htk, dtype=np.float64
    )
    base = librosa.feature.mfcc(S=scaled(filters @ spectrum(wave, ours), ours), n_mfcc=13)
    mode = "interp" if base.shape[1] >= width else "nearest"
    stack = [
        librosa.feature.delta(base, width=width, order=n + 1, mode=mode) for n in range(deltas)
    ]
    got = extract(wave[None], ours)
    expected = np.concatenate([base, *stack])
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=RELATIVE * max(10, np.abs(base).max()))


@fixed
@given(
    signals,
    framings(),
    st.sampled_from([12, 24]),
    st.sampled_from(["max", "l1", "l2", "none"]),
    st.sampled_from([-0.4, 0.0, 0.27]),
)
def test_chroma_is_librosas(
    signal: Signal, framing: dict[str, Any], n_chroma: int, norm: str, tuning: float
) -> None:
    """A pitch would fall into another class than in the tables of others."""
    wave = signal.wave()
    ours = FeatureSettings(
        kind="chroma", n_chroma=n_chroma, chroma_norm=norm, tuning=str(tuning), **framing
    )
    values = spectrum(wave, ours)
    norms = {"max": np.inf, "l1": 1, "l2": 2, "none": None}
    filters = librosa.filters.chroma(
        sr=ours.sample_rate, n_fft=ours.n_fft, n_chroma=n_chroma, tuning=tuning
    )
    classes = filters @ values
    expected = librosa.util.normalize(classes, norm=norms[norm], axis=0)
    if ours.n_fft % 2 == 0:  # it takes the length of the transform from the bins: even ones only
        theirs = librosa.feature.chroma_stft(
            S=values,
            sr=ours.sample_rate,
            n_fft=ours.n_fft,
            n_chroma=n_chroma,
            tuning=tuning,
            norm=norms[norm],
        )
        np.testing.assert_allclose(theirs, expected, rtol=1e-9)
    got = extract(wave[None], ours)
    assert got.shape == expected.shape
    assert np.isfinite(got).all()
    # Frames far below the loudest bin are all rounding once they are brought to 1.
    loud = classes.max(axis=0) > 0.05 * values.max()
    size = np.abs(expected).max(initial=1e-30)
    np.testing.assert_allclose(got[:, loud], expected[:, loud], rtol=0, atol=1e-5 * size)

"""Song descriptors against librosa's of the same names, and against signals that one can reckon."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_tools.features.descriptors import descriptors, of_frames, onset_strength, onsets
from mt_tools.features.registry import DESCRIPTORS, OF_FRAMES
from mt_tools.features.settings import FeatureSettings


def music(seed: int, samples: int, rate: int) -> np.ndarray:
    """Return notes that decay in a little noise: something begins now and then."""
    rng = np.random.default_rng(seed)
    wave = 0.002 * rng.standard_normal(samples)
    time = np.arange(samples) / rate
    for _ in range(8):
        start = rng.uniform(0, time[-1])
        tone = np.sin(2 * np.pi * rng.uniform(80, 2000) * time) * np.exp(-6 * (time - start))
        wave += np.where(time >= start, rng.uniform(0.05, 0.3) * tone, 0)
    return wave.astype(np.float32)


def librosas(wave: np.ndarray, ours: FeatureSettings) -> dict[str, np.ndarray]:
    """Return librosa's descriptors of frames."""
    rate, hop, n_fft = ours.sample_rate, ours.hop, ours.n_fft
    framing = {"hop_length": hop, "center": ours.centre}
    magnitudes = np.abs(
        librosa.stft(wave.astype(np.float64), n_fft=n_fft, pad_mode=ours.pad, **framing)
    )
    feature = librosa.feature
    mel = feature.melspectrogram(
        y=wave, sr=rate, n_fft=n_fft, pad_mode=ours.pad, fmax=rate / 2, **framing
    )
    onset = librosa.onset.onset_strength(
        S=librosa.power_to_db(mel), sr=rate, n_fft=n_fft, hop_length=hop, center=ours.centre
    )
    found = {
        "rms": feature.rms(y=wave, frame_length=n_fft, pad_mode=ours.pad, **framing),
        "zero_crossing_rate": feature.zero_crossing_rate(wave, frame_length=n_fft, **framing),
        "spectral_centroid": feature.spectral_centroid(S=magnitudes, sr=rate, n_fft=n_fft),
        "spectral_bandwidth": feature.spectral_bandwidth(S=magnitudes, sr=rate, n_fft=n_fft),
        "spectral_rolloff": feature.spectral_rolloff(S=magnitudes, sr=rate, n_fft=n_fft),
        "spectral_flatness": feature.spectral_flatness(S=magnitudes),
        "onset_strength": onset[None],
    }
    return {name: values[0] for name, values in found.items()}


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    st.integers(0, 2**16),
    st.sampled_from([8000, 22050, 44100]),
    st.sampled_from([(512, 128), (2048, 512), (1024, 1500)]),
    st.booleans(),
    st.sampled_from(["constant", "reflect"]),
)
@pytest.mark.filterwarnings("ignore:Empty filters detected")
def test_frames_are_librosas(
    seed: int, rate: int, lengths: tuple[int, int], centre: bool, pad: str
) -> None:
    """A column would go by the name of a descriptor and hold another."""
    ours = FeatureSettings(
        kind="descriptors", sample_rate=rate, n_fft=lengths[0], hop=lengths[1], centre=centre, pad=pad
    )  # fmt: skip
    wave = music(seed, 12000, rate)
    found = dict(zip(OF_FRAMES, of_frames(wave, ours), strict=True))
    expected = librosas(wave, ours)
    bin_width = rate / ours.n_fft
    for name, values in expected.items():
        if name == "onset_strength" and not centre:
            values = np.pad(values, (0, max(0, len(found[name]) - len(values))))[: len(found[name])]
        assert found[name].shape == values.shape, name
        # A rolloff on the edge of two bins falls to either side; a flatness has tiny factors.
        slack = {"spectral_rolloff": bin_width, "spectral_flatness": 1e-4}.get(name, 0)
        # Onsets are differences of decibels, 80 below the loudest all rounding of float32.
        slack = 0.01 if name == "onset_strength" else slack
        off = np.abs(found[name] - values)
        assert (off <= 1e-4 * np.abs(values) + slack).all(), name
        if name == "spectral_rolloff":
            assert (off > 1e-4 * values).mean() < 0.02


@settings(deadline=None, max_examples=20, derandomize=True)
@given(
    st.integers(0, 2**16), st.sampled_from([8000, 22050, 44100]), st.sampled_from([100, 256, 512])
)
def test_onsets_are_librosas(seed: int, rate: int, hop: int) -> None:
    """The onset rate would count other peaks."""
    ours = FeatureSettings(kind="descriptors", sample_rate=rate, hop=hop)
    wave = music(seed, 3 * rate, rate)
    strength = onset_strength(wave, ours)
    expected = librosa.onset.onset_detect(onset_envelope=strength, sr=rate, hop_length=hop)
    np.testing.assert_array_equal(onsets(strength, ours), expected)


def named(wave: np.ndarray, **changes: int) -> dict[str, float]:
    """Return the descriptors of a song by name."""
    values = descriptors(wave, FeatureSettings(kind="descriptors", **changes))
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    return dict(zip(DESCRIPTORS, values.tolist(), strict=True))


def test_a_sine_is_what_one_can_reckon() -> None:
    """The order of the values, or their units, would not be those that are documented."""
    time = np.arange(44100) / 22050
    found = named((0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)[None])
    assert found["rms_mean"] == pytest.approx(0.5 / np.sqrt(2), rel=0.02)  # padding at both ends
    assert found["crest_factor"] == pytest.approx(20 * np.log10(np.sqrt(2)), abs=0.01)
    assert found["zero_crossing_rate_mean"] == pytest.approx(2000 / 22050, rel=0.02)
    assert found["spectral_centroid_mean"] == pytest.approx(1000, rel=0.05)
    assert found["dynamic_range"] < 4
    assert found["onset_rate"] <= 0.5


def test_clicks_are_counted() -> None:
    """Four onsets a second must be four."""
    wave = np.random.default_rng(0).standard_normal(22050 * 5).astype(np.float32) * 1e-4
    for start in range(4000, len(wave) - 2000, 22050 // 4):
        wave[start : start + 500] += 0.5 * np.exp(-np.arange(500) / 100)
    assert named(wave[None])["onset_rate"] == pytest.approx(4, abs=0.4)


def test_loud_and_soft_have_a_dynamic_range() -> None:
    """Half at -6 and half at -26 dB must be 20 dB apart, and half of the frames of low energy."""
    noise = np.random.default_rng(1).uniform(-1, 1, 22050 * 10)
    noise[len(noise) // 2 :] *= 0.1
    found = named((0.5 * noise).astype(np.float32)[None])
    assert found["dynamic_range"] == pytest.approx(20, abs=0.5)
    assert found["low_energy"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("samples", [1, 2, 700, 30000])
def test_silence_and_blips_are_finite(samples: int) -> None:
    """A silent track would bring undefined numbers into a table."""
    silent = named(np.zeros((1, samples), dtype=np.float32))
    assert silent["rms_mean"] == silent["spectral_centroid_mean"] == silent["onset_rate"] == 0
    assert silent["spectral_flatness_mean"] == pytest.approx(1)
    named(np.full((1, samples), 0.5, dtype=np.float32))
    named(np.full((1, samples), 0.5, dtype=np.float32), n_fft=64, hop=1000)


def test_blocks_of_a_long_song_join() -> None:
    """Frames computed in different blocks would differ."""
    wave = music(3, 300_000, 22050)
    ours = FeatureSettings(kind="descriptors")
    whole = of_frames(wave, ours)[:, 100:200]
    part = of_frames(wave[90 * 512 : 215 * 512], ours)[:, 10:110]
    np.testing.assert_allclose(whole[:-1], part[:-1], rtol=1e-4, atol=1e-5)

"""Mel spectrograms against librosa, torchaudio, numpy and the Music Auto-Tagger's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
import soxr
import torch
import torchaudio

from mt_tools.features.extract import extract
from mt_tools.features.mel import mel, mel_bands, mel_filterbank
from mt_tools.features.presets import PRESETS
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.stft import mix, power_spectrogram, to_scale

# The bar of the project: 1e-3 relative; in decibels that is 10 log10(1.001).
RELATIVE = 1e-3
DECIBELS = 0.0043


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """Two seconds of coloured noise, tones and a fade: every band has something in it."""
    rng = np.random.default_rng(7)
    time = np.arange(24000) / 12000
    tones = sum(np.sin(2 * np.pi * hz * time) for hz in (110.0, 441.0, 1300.0, 3999.0))
    noise = rng.standard_normal(len(time)) * np.exp(-1.5 * time)
    return (0.1 * tones + 0.2 * noise).astype(np.float32)[None]


def librosa_mel(wave: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    """Compute with librosa what the settings describe."""
    bands = librosa.feature.melspectrogram(
        y=wave,
        sr=settings.sample_rate,
        n_fft=settings.n_fft,
        hop_length=settings.hop,
        win_length=settings.win_length or None,
        window=settings.window,
        center=settings.centre,
        pad_mode=settings.pad,
        power=settings.exponent,
        n_mels=settings.bands,
        fmin=settings.fmin,
        fmax=settings.fmax or None,
        htk=settings.mel_scale == "htk",
        norm=None if settings.mel_norm == "none" else settings.mel_norm,
    )
    bands = bands**settings.mel_exponent
    if settings.scale == "power":
        return bands
    if settings.scale == "log":
        return np.log(np.maximum(settings.floor, bands))
    return librosa.power_to_db(
        bands,
        ref=np.max if settings.reference == "max" else 1.0,
        amin=settings.floor,
        top_db=settings.top_db or None,
    )


SMALL: dict[str, Any] = {"sample_rate": 12000, "n_fft": 512, "hop": 256, "bands": 64}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mel_scale": "htk"},
        {"mel_norm": "none"},
        {"mel_scale": "htk", "mel_norm": "none"},
        {"window": "hamming"},
        {"centre": False},
        {"pad": "reflect"},
        {"exponent": 1.0},
        {"exponent": 1.5},
        {"n_fft": 1024, "hop": 160},
        {"n_fft": 2048, "win_length": 600, "hop": 700, "window": "hamming"},
        {"n_fft": 400, "hop": 160, "win_length": 399},
        {"n_fft": 511, "hop": 100},
        {"n_fft": 8192, "hop": 8192, "pad": "reflect"},
        {"fmin": 50.0, "fmax": 4000.0, "bands": 40},
    ],
    ids=str,
)
def test_power_bands_are_those_of_librosa(wave: np.ndarray, changes: dict[str, Any]) -> None:
    """Features would not fit models that were trained on librosa's."""
    settings = FeatureSettings(**{**SMALL, "scale": "power", **changes})
    expected = librosa_mel(wave[0], settings)
    got = mel(wave, settings)
    assert got.dtype == np.float32
    # librosa, in float32 too, leaves noise where a whole filter is zero.
    np.testing.assert_allclose(got, expected, rtol=RELATIVE, atol=1e-9 * expected.max())


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": "log"},
        {"scale": "log", "floor": 1e-3},
        {"scale": "dB"},
        {"scale": "dB", "top_db": 0.0},
        {"scale": "dB", "top_db": 20.0},
        {"scale": "dB", "reference": "max"},
        {"scale": "dB", "mel_exponent": 2.0},
        {"scale": "dB", "exponent": 1.0, "mel_exponent": 2.0},
    ],
    ids=str,
)
def test_scales_are_those_of_librosa(wave: np.ndarray, changes: dict[str, Any]) -> None:
    """A wrong logarithm, floor or reference shifts every value that a network sees."""
    settings = FeatureSettings(**{**SMALL, **changes})
    expected = librosa_mel(wave[0], settings)
    np.testing.assert_allclose(mel(wave, settings), expected, atol=2 * DECIBELS)


def test_log_with_reference_is_zero_at_the_maximum(wave: np.ndarray) -> None:
    """A natural logarithm relative to the maximum must have its maximum at 0."""
    settings = FeatureSettings(**SMALL, scale="log", reference="max")
    bands = mel_bands(wave, settings)
    np.testing.assert_allclose(mel(wave, settings), np.log(bands / bands.max()), atol=1e-5)


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("mel_norm", ["slaney", "none"])
def test_filterbank_is_librosas(mel_scale: str, mel_norm: str) -> None:
    """A filterbank that is off moves every pitch to the wrong band."""
    got = mel_filterbank(22050, 2048, 128, 20.0, 8000.0, mel_scale, mel_norm)
    expected = librosa.filters.mel(
        sr=22050,
        n_fft=2048,
        n_mels=128,
        fmin=20.0,
        fmax=8000.0,
        htk=mel_scale == "htk",
        norm=None if mel_norm == "none" else "slaney",
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-9)


def test_filterbank_is_shared_and_protected() -> None:
    """A caller that writes into the cached filters would spoil all later features."""
    filters = mel_filterbank(12000, 512, 96)
    assert mel_filterbank(12000, 512, 96) is filters
    with pytest.raises(ValueError, match="read-only"):
        filters[0, 0] = 1


@pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero")
def test_reg_preset_is_torchaudios(wave: np.ndarray) -> None:
    """The preset of the regression study must be the torch mel that its figures point to."""
    settings = dataclasses.replace(PRESETS["reg"].settings, excerpt="whole")
    transform = torchaudio.transforms.MelSpectrogram(
        sample_rate=44100, n_fft=400, hop_length=200, n_mels=128, pad_mode="constant"
    )
    with torch.inference_mode():
        expected = transform(torch.from_numpy(wave[0])).numpy()
    np.testing.assert_allclose(
        mel(wave, settings), expected, rtol=RELATIVE, atol=1e-7 * expected.max()
    )


def test_power_spectrogram_is_the_squared_transform(wave: np.ndarray) -> None:
    """The spectrum below the bands must be the plain short-time Fourier transform."""
    settings = FeatureSettings(**SMALL)
    expected = np.abs(librosa.stft(wave[0], n_fft=512, hop_length=256)) ** 2
    got = power_spectrogram(wave[0], settings)
    np.testing.assert_allclose(got, expected, rtol=RELATIVE, atol=1e-7 * expected.max())


@pytest.mark.parametrize("pad", ["constant", "reflect"])
@pytest.mark.parametrize("samples", [1, 2, 3, 100, 255, 256, 257, 511, 512, 513])
def test_short_waves_are_padded_as_numpy_pads(wave: np.ndarray, samples: int, pad: Any) -> None:
    """A blip shorter than one window must give the features of its padded self, not an error."""
    settings = FeatureSettings(**SMALL, pad=pad, scale="power")
    short = wave[:, :samples]
    padded = np.pad(short, [(0, 0), (256, 256)], mode=pad)
    expected = mel(padded, dataclasses.replace(settings, centre=False))
    got = mel(short, settings)
    assert got.shape == (64, 1 + samples // 256)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_short_wave_without_centring_gives_one_frame(wave: np.ndarray) -> None:
    """Without centring, a blip is padded with zeros to a whole frame, as documented."""
    settings = FeatureSettings(**SMALL, centre=False, scale="power")
    expected = mel(np.pad(wave[:, :100], [(0, 0), (0, 412)]), settings)
    assert expected.shape == (64, 1)
    np.testing.assert_allclose(mel(wave[:, :100], settings), expected, rtol=1e-6)


def test_silence_is_at_the_floor() -> None:
    """Digital silence must give the floor of the scale, not infinities."""
    silence = np.zeros((1, 12000), dtype=np.float32)
    decibels = mel(silence, FeatureSettings(**SMALL))
    np.testing.assert_allclose(decibels, -100.0, atol=1e-4)
    logarithm = mel(silence, FeatureSettings(**SMALL, scale="log"))
    np.testing.assert_allclose(logarithm, np.log(1e-10), rtol=1e-6)


def test_long_waves_are_seamless_between_blocks() -> None:
    """Frames computed in different blocks must join into the same long mix."""
    wave = np.random.default_rng(3).standard_normal((1, 500_000)).astype(np.float32)
    settings = FeatureSettings(**SMALL, scale="power")
    expected = librosa_mel(wave[0], settings)
    got = mel(wave, settings)
    assert got.shape[1] == 1954  # several blocks of 256 frames
    np.testing.assert_allclose(got, expected, rtol=RELATIVE, atol=1e-9 * expected.max())


def test_stereo_keeps_left_and_right(wave: np.ndarray) -> None:
    """A stereo feature must hold each channel by itself, and a mono file twice."""
    settings = FeatureSettings(**SMALL, channels="stereo", scale="power")
    mono = dataclasses.replace(settings, channels="mono")
    both = mel(np.concatenate([wave, 0.5 * wave]), settings)
    assert both.shape == (2, 64, 94)
    np.testing.assert_allclose(both[0], mel(wave, mono), rtol=1e-5)
    np.testing.assert_allclose(both[1], mel(0.5 * wave, mono), rtol=1e-5)
    np.testing.assert_array_equal(mel(wave, settings)[0], mel(wave, settings)[1])


def test_decibels_of_stereo_share_one_maximum(wave: np.ndarray) -> None:
    """A quiet channel must keep its level below the loud one."""
    settings = FeatureSettings(**SMALL, channels="stereo", top_db=30.0)
    both = mel(np.concatenate([wave, 1e-4 * wave]), settings)
    assert both[1].max() == pytest.approx(both[0].max() - 30, abs=1e-3)


def test_mix_loses_no_channel() -> None:
    """An eight-channel file must keep its centre speaker, in mono and in stereo."""
    wave = np.eye(8, dtype=np.float32)
    np.testing.assert_allclose(mix(wave, "mono"), np.full((1, 8), 1 / 8))
    left, right = mix(wave, "stereo")
    np.testing.assert_allclose(left, [1 / 7, 0, *[1 / 7] * 6], rtol=1e-6)
    np.testing.assert_allclose(right, [0, 1 / 7, *[1 / 7] * 6], rtol=1e-6)


def test_input_is_not_changed(wave: np.ndarray) -> None:
    """A waveform used for two features must be the same for both."""
    before = wave.copy()
    mel(wave, FeatureSettings(**SMALL, exponent=1.0))
    np.testing.assert_array_equal(wave, before)
    bands = mel_bands(wave, FeatureSettings(**SMALL))
    kept = bands.copy()
    to_scale(bands, FeatureSettings(**SMALL))
    np.testing.assert_array_equal(bands, kept)


CLIPS = ["cute", "actionable", "dubstep", "thejazzpiano"]


@pytest.mark.parametrize("clip", CLIPS)
def test_choi2016_gives_the_published_melgrams(reference: Path, clip: str) -> None:
    """The Music Auto-Tagger's weights would be fed something they never saw.

    The published melgrams were made by the librosa of 2016. Its resampler is 0.17 % louder (0.03
    dB of the squared power) and cuts less steeply just below 6 kHz (bands 93 to 95); its decoder
    put the centre 529 samples of 44.1 kHz, the delay of MPEG decoding, later than libsndfile does.
    """
    folder = reference / "choi-msd"
    published = np.load(folder / f"bensound-{clip}.melgram.npz")["melgram"]
    settings = PRESETS["choi2016"].settings
    samples, rate = soundfile.read(folder / f"bensound-{clip}.mp3", dtype="float32", always_2d=True)
    wave = soxr.resample(samples.mean(axis=1), rate, settings.sample_rate)
    length = settings.excerpt_samples
    first = (len(wave) - length) // 2 + round(529 * settings.sample_rate / rate)
    got = extract(wave[None, first : first + length], settings)
    error = got - published
    assert got.shape == published.shape == (96, 1366)
    assert np.abs(error).mean() < 0.06
    gain = np.median(error)
    assert abs(gain) < 0.035
    assert np.median(np.abs(error - gain)) < 0.005
    assert np.quantile(np.abs(error - gain)[:93], 0.99) < 0.05

"""Loudness against the published test signals, and against other meters.

The signals are those that EBU Tech 3341 (table 1) and Tech 3342 (table 1) define by level and
length, made here: sines of 1,000 Hz, in phase in all channels named, of so many dB below full scale
at their peak. Tech 3341 allows 0.1 LU, Tech 3342 1 LU.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import freqz_sos

from mt_tools.errors import RowError
from mt_tools.features.extract import extract
from mt_tools.features.loudness import k_weighting, loudness
from mt_tools.features.presets import preset
from mt_tools.features.settings import FeatureSettings

INTEGRATED, RANGE, MOMENTARY, SHORT_TERM = range(4)


def meter(wave: np.ndarray, rate: int = 48000) -> np.ndarray:
    """Return the four readings."""
    return loudness(wave, FeatureSettings(kind="loudness", sample_rate=rate))


def sine(parts: list[tuple[float, float]], rate: int = 48000, hertz: float = 1000) -> np.ndarray:
    """Return a sine of parts of (dB below full scale, seconds), one channel."""
    levels = np.concatenate(
        [np.full(round(seconds * rate), 10 ** (level / 20)) for level, seconds in parts]
    )
    wave = levels * np.sin(2 * np.pi * hertz * np.arange(len(levels)) / rate)
    return wave.astype(np.float32)


def stereo(parts: list[tuple[float, float]], rate: int = 48000) -> np.ndarray:
    """Return the same sine in both channels."""
    return np.stack([sine(parts, rate)] * 2)


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(-23.0, 20)], -23.0),
        ([(-33.0, 20)], -33.0),
        ([(-36.0, 10), (-23.0, 60), (-36.0, 10)], -23.0),
        ([(-72.0, 10), (-36.0, 10), (-23.0, 60), (-36.0, 10), (-72.0, 10)], -23.0),
        ([(-26.0, 20), (-20.0, 20.1), (-26.0, 20)], -23.0),
    ],
    ids=["case 1", "case 2", "case 3", "case 4", "case 5"],
)
def test_integrated_loudness_of_tech_3341(
    parts: list[tuple[float, float]], expected: float, rate: int
) -> None:
    """A library would be levelled to another loudness than that of broadcasters."""
    assert meter(stereo(parts, rate), rate)[INTEGRATED] == pytest.approx(expected, abs=0.1)


def test_surround_channels_weigh_more() -> None:
    """A film's loudness would be off: case 6 of Tech 3341, in five channels, and in 5.1."""
    left, centre, side = sine([(-28, 20)]), sine([(-24, 20)]), sine([(-30, 20)])
    five = np.stack([left, left, centre, side, side])
    assert meter(five)[INTEGRATED] == pytest.approx(-23.0, abs=0.1)
    effects = sine([(0.0, 20)], hertz=60)  # BS.1770 does not count the low-frequency channel
    six = np.stack([left, left, centre, effects, side, side])
    np.testing.assert_array_equal(meter(six), meter(five))


@pytest.mark.parametrize("pair", [(-20.0, -30.0)])
def test_sliding_maxima_of_tech_3341(pair: tuple[float, float]) -> None:
    """Peaks of loudness would be missed, or made: cases 9 and 12."""
    high, low = pair
    parts = [(high, 1.34), (low, 1.66)] * 5
    assert meter(stereo(parts))[SHORT_TERM] == pytest.approx(-23.0, abs=0.1)
    parts = [(high, 0.18), (low, 0.22)] * 25
    assert meter(stereo(parts))[MOMENTARY] == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
    ids=["case 1", "case 2", "case 3", "case 4"],
)
def test_loudness_range_of_tech_3342(levels: tuple[float, ...], expected: float) -> None:
    """Music would seem more, or less, compressed than it is."""
    found = meter(stereo([(level, 20) for level in levels]))
    assert found[RANGE] == pytest.approx(expected, abs=1)


def test_full_scale_reads_as_bs_1770_says() -> None:
    """The scale itself would be shifted: 997 Hz at full scale in one channel is -3.01 LKFS."""
    wave = sine([(0.0, 5)], hertz=997)[None]
    assert meter(wave)[INTEGRATED] == pytest.approx(-3.01, abs=0.005)
    assert meter(np.concatenate([wave, wave]))[INTEGRATED] == pytest.approx(0.0, abs=0.005)


def test_filters_at_48_khz_are_the_standards() -> None:
    """The derivation for other rates would not begin at the published filters."""
    expected = [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585],
        [1, -2, 1, 1, -1.99004745483398, 0.99007225036621],
    ]  # fmt: skip
    np.testing.assert_allclose(k_weighting(48000), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [22050, 32000, 44100, 88200, 96000, 192000])
def test_filters_have_one_response_at_every_rate(rate: int) -> None:
    """A file would be louder at one rate than at another."""
    hertz = np.geomspace(20, 0.2 * min(rate, 48000), 200)
    _, expected = freqz_sos(k_weighting(48000), worN=hertz, fs=48000)
    _, found = freqz_sos(k_weighting(rate), worN=hertz, fs=rate)
    np.testing.assert_allclose(20 * np.log10(abs(found) / abs(expected)), 0, atol=0.12)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    st.integers(0, 2**16),
    st.sampled_from([32000, 44100, 48000]),
    st.sampled_from([1, 2, 5]),
    st.floats(-50, 0),
)
def test_torchaudio_reads_the_same(seed: int, rate: int, channels: int, level: float) -> None:
    """Blocks, gates and weights would not be those of other meters.

    Torchaudio approximates the filters, by up to 0.2 dB here and there.
    """
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.uniform(0, 1, 12), rate // 4) ** 2
    noise = np.cumsum(rng.standard_normal((channels, len(envelope))), axis=1)
    noise -= np.convolve(noise[0], np.ones(100) / 100, "same")
    wave = noise * envelope
    wave = (wave * 10 ** (level / 20) / np.abs(wave).max()).astype(np.float32)
    theirs = float(torchaudio.functional.loudness(torch.from_numpy(wave), rate))
    if theirs > -60:  # nearer to the gate, where it lies decides
        assert meter(wave, rate)[INTEGRATED] == pytest.approx(theirs, abs=0.25)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_ffmpegs_meter_reads_the_same(tmp_path: Path) -> None:
    """All four readings, of music-like noise, must be those of a meter that many trust."""
    rng = np.random.default_rng(4)
    envelope = np.interp(np.arange(40 * 48000), np.arange(41) * 48000, rng.uniform(0.02, 0.3, 41))
    wave = (rng.standard_normal((2, len(envelope))) * envelope).astype(np.float32)
    wave *= np.float32(0.5)
    file = tmp_path / "noise.wav"
    soundfile.write(file, wave.T, 48000, subtype="FLOAT")
    done = subprocess.run(
        ["ffmpeg", "-nostats", "-i", file, "-af", "ebur128=framelog=verbose", "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    text = done.stderr
    summary = text[text.rindex("Summary:") :]
    found = meter(wave)
    for pattern, reading in ((r"I:\s+(\S+) LUFS", INTEGRATED), (r"LRA:\s+(\S+) LU", RANGE)):
        match = re.search(pattern, summary)
        assert match is not None
        assert found[reading] == pytest.approx(float(match[1]), abs=0.1)


def test_silence_and_blips_have_readings() -> None:
    """A silent track would bring an infinite number into a table, a blip an error."""
    silent = np.zeros((2, 48000 * 4), dtype=np.float32)
    np.testing.assert_array_equal(meter(silent), [-70, 0, -70, -70])
    np.testing.assert_array_equal(meter(silent[:, :1]), [-70, 0, -70, -70])
    tone = stereo([(-23.0, 0.3)])
    assert meter(tone)[INTEGRATED] == pytest.approx(-23, abs=0.1)  # shorter than a block
    assert np.isfinite(meter(np.ones((1, 1), dtype=np.float32))).all()


def test_long_signals_are_seamless_between_pieces() -> None:
    """A filter that begins anew would click every twenty seconds."""
    wave = stereo([(-23.0, 19.95), (-70.0, 0.1), (-23.0, 41.0)])
    shifted = np.concatenate([wave[:, 48000 * 3 :], wave[:, : 48000 * 3]], axis=1)
    np.testing.assert_allclose(meter(wave)[0], meter(shifted)[0], atol=0.01)


def test_a_mono_file_counts_as_one_channel() -> None:
    """A mono file copied to two channels would read 3 LU too loud, a stereo one averaged 3 less."""
    settings = preset("loudness")
    assert settings.decoded_channels is None
    mono = sine([(-20.0, 5)])[None]
    assert extract(mono, settings)[0] == pytest.approx(-23.01, abs=0.05)
    with pytest.raises(RowError, match="no samples"):
        extract(mono[:, :0], settings)

"""Mel spectrograms on the CPU: numpy, scipy's FFT and one matrix product.

Goal: the numbers of librosa 0.11, faster, in bounded memory. The short-time Fourier transform is
computed over blocks of frames that fit the cache; only the bands are kept, so that a mix of six
hours needs no more room than its own samples and its mel bands.

Conventions: float32 throughout; waveforms `[channels, samples]`, spectra `[bins, frames]`, bands
from low to high. With `centre`, frame t is centred on sample t x hop, and the ends are padded as
`pad` says: with zeros, or mirrored about the first and last sample (repeatedly where the signal
is shorter than the padding, as numpy's `reflect` does; one sample alone is repeated). Without
`centre` only whole frames count, and a signal shorter than one frame is padded with zeros at its
end. The filters are triangles in Hz (Slaney, Auditory Toolbox 1998; HTK book, section 5.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from mt_tools.errors import RowError
from mt_tools.features.settings import FeatureSettings

Array = NDArray[np.float32]

# Samples of windowed frames held at once: half a MiB of float32 stays in the second-level cache.
_BLOCK = 2**17

# Slaney's scale is linear to 1 kHz (15 mels of 66.67 Hz) and logarithmic above (27 to 6.4 kHz).
_SLANEY_HZ_PER_MEL = 200 / 3
_SLANEY_CORNER_HZ = 1000.0
_SLANEY_CORNER_MEL = _SLANEY_CORNER_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = np.log(6.4) / 27


def hz_to_mel(hz: NDArray[np.float64] | float, mel_scale: str) -> NDArray[np.float64]:
    """Convert hertz to mels by the `slaney` or the `htk` formula."""
    hz = np.asarray(hz, dtype=np.float64)
    if mel_scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    above = np.log(np.maximum(hz, _SLANEY_CORNER_HZ) / _SLANEY_CORNER_HZ) / _SLANEY_LOG_STEP
    return np.where(hz < _SLANEY_CORNER_HZ, hz / _SLANEY_HZ_PER_MEL, _SLANEY_CORNER_MEL + above)


def mel_to_hz(mels: NDArray[np.float64] | float, mel_scale: str) -> NDArray[np.float64]:
    """Convert mels to hertz by the `slaney` or the `htk` formula."""
    mels = np.asarray(mels, dtype=np.float64)
    if mel_scale == "htk":
        return 700 * (10 ** (mels / 2595) - 1)
    above = np.exp(_SLANEY_LOG_STEP * np.maximum(mels - _SLANEY_CORNER_MEL, 0))
    return np.where(mels < _SLANEY_CORNER_MEL, mels * _SLANEY_HZ_PER_MEL, _SLANEY_CORNER_HZ * above)


@lru_cache(maxsize=16)
def mel_filterbank(
    sample_rate: int,
    n_fft: int,
    bands: int,
    fmin: float = 0.0,
    fmax: float = 0.0,
    mel_scale: str = "slaney",
    mel_norm: str = "slaney",
) -> Array:
    """Return the triangular filters, `[bands, n_fft // 2 + 1]`, read-only and cached.

    Neighbouring triangles meet at each other's centres, which are equally spaced in mels from
    `fmin` to `fmax` (0 = half the rate). `mel_norm` `slaney` gives each the area 1 in Hz, `none`
    the peak 1. A band narrower than a bin may be all zeros.
    """
    low, high = hz_to_mel(np.array([fmin, fmax or sample_rate / 2]), mel_scale).tolist()
    edges = mel_to_hz(np.linspace(low, high, bands + 2), mel_scale)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    rising = (bins - left) / (centre - left)
    falling = (right - bins) / (right - centre)
    filters = np.maximum(0, np.minimum(rising, falling))
    if mel_norm == "slaney":
        filters *= 2 / (right - left)
    filters = filters.astype(np.float32)
    filters.flags.writeable = False
    return filters


def filterbank_of(settings: FeatureSettings) -> Array:
    """Return the filters of the settings, as `mel_filterbank`."""
    return mel_filterbank(
        settings.sample_rate,
        settings.n_fft,
        settings.bands,
        settings.fmin,
        settings.fmax,
        settings.mel_scale,
        settings.mel_norm,
    )


def power_spectrogram(wave: Array, settings: FeatureSettings) -> Array:
    """Return the short-time spectrum `|X|^exponent` of one channel.

    Shape: wave `[samples]` -> `[n_fft // 2 + 1, frames]`. Raises `RowError` (`too-short`) for no
    samples.
    """
    _refuse_empty(wave)
    spectrum = np.empty(
        (settings.n_fft // 2 + 1, settings.frames_of(wave.shape[-1])), dtype=np.float32
    )
    for first, block in _spectra(wave, settings, spectrum.shape[1]):
        spectrum[:, first : first + len(block)] = block.T
    return spectrum


def mel_bands(wave: Array, settings: FeatureSettings) -> Array:
    """Return mel bands before any logarithm, cut or padded with silence to `settings.frames`.

    Shape: wave `[channels, samples]` -> `[bands, frames]` for `mono`, `[2, bands, frames]` for
    `stereo`. Raises `RowError` (`too-short`) for no samples.
    """
    _refuse_empty(wave)
    wave = mix(wave, settings.channels)
    given = settings.frames_of(wave.shape[-1])
    frames = settings.frames or given
    bands = np.zeros((len(wave), settings.bands, frames), dtype=np.float32)
    for channel, samples in zip(bands, wave, strict=True):
        for first, block in _spectra(samples, settings, min(frames, given)):
            block_bands = channel[:, first : first + len(block)]
            for rows, bins, filters in _filter_groups(settings):
                np.matmul(filters, block[:, bins].T, out=block_bands[rows])
    return bands[0] if settings.channels == "mono" else bands


def mel(wave: Array, settings: FeatureSettings) -> Array:
    """Return the mel spectrogram in the scale of the settings.

    Shape: wave `[channels, samples]` -> `[bands, frames]` for `mono`, `[2, bands, frames]` for
    `stereo`. Raises `RowError` (`too-short`) for no samples.
    """
    return to_scale(mel_bands(wave, settings), settings)


def to_scale(bands: Array, settings: FeatureSettings) -> Array:
    """Raise bands to `mel_exponent` and bring them to power, natural log or decibels.

    Maxima (of `reference` and `top_db`) are taken over the whole array. Decibels are
    10 log10, so magnitudes in dB ask for `mel_exponent` 2. Shape: any, kept.
    """
    values = bands if settings.mel_exponent == 1 else bands**settings.mel_exponent
    if settings.scale == "power":
        return values
    # A long mix is large: one copy is made, and worked on in place.
    out = None if values is bands else values
    values = np.maximum(values, np.float32(settings.floor), out=out)
    loudest = values.max()
    np.log(values, out=values)
    if settings.reference == "max":
        values -= np.log(loudest)
    if settings.scale == "dB":
        values *= np.float32(10 / np.log(10))
        if settings.top_db:
            np.maximum(values, values.max() - np.float32(settings.top_db), out=values)
    return values


def mix(wave: Array, channels: str) -> Array:
    """Return a waveform as one channel (`mono`: the average) or two (`stereo`).

    One channel is copied to left and right; of more than two, each beyond the first two enters
    both sides equally. Shape: `[channels, samples]` or `[samples]` -> `[1 or 2, samples]`.
    """
    wave = np.atleast_2d(np.asarray(wave, dtype=np.float32))
    if channels == "mono":
        return wave if len(wave) == 1 else wave.mean(axis=0, keepdims=True)
    if len(wave) <= 2:
        return np.broadcast_to(wave, (2, wave.shape[1]))
    rest = wave[2:].sum(axis=0)
    return (wave[:2] + rest) / np.float32(len(wave) - 1)


@lru_cache(maxsize=16)
def _filter_groups(settings: FeatureSettings) -> list[tuple[slice, slice, Array]]:
    """Return the filters as groups of (rows, bins, `[rows, bins]`), for smaller products.

    The triangles of neighbouring bands share a narrow range of bins: 16 rows at a time, and only
    their bins, take a third of the time of the whole matrix.
    """
    filterbank = filterbank_of(settings)
    groups = []
    for first in range(0, settings.bands, 16):
        rows = slice(first, min(first + 16, settings.bands))
        used = np.flatnonzero(filterbank[rows].any(axis=0))
        bins = slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)
        groups.append((rows, bins, np.ascontiguousarray(filterbank[rows, bins])))
    return groups


@lru_cache(maxsize=16)
def _window(name: str, win_length: int, n_fft: int) -> Array:
    """Return a periodic window, centred in `n_fft` samples: a raised cosine, as of scipy.signal."""
    window = np.zeros(n_fft, dtype=np.float32)
    first = (n_fft - win_length) // 2
    mean = {"hann": 0.5, "hamming": 0.54}[name]
    phase = 2 * np.pi * np.arange(win_length) / win_length
    window[first : first + win_length] = mean - (1 - mean) * np.cos(phase)
    window.flags.writeable = False
    return window


def _spectra(wave: Array, settings: FeatureSettings, frames: int) -> Iterator[tuple[int, Array]]:
    """Yield (first frame, spectra `[frames of the block, bins]`) over one channel."""
    wave = np.asarray(wave, dtype=np.float32)
    window = _window(settings.window, settings.resolved_win_length, settings.n_fft)
    lead = settings.n_fft // 2 if settings.centre else 0
    pad = settings.pad if settings.centre else "constant"
    size = max(1, _BLOCK // settings.n_fft)
    for first in range(0, frames, size):
        count = min(size, frames - first)
        start = first * settings.hop - lead
        piece = _read(wave, start, start + (count - 1) * settings.hop + settings.n_fft, pad)
        framed = np.lib.stride_tricks.sliding_window_view(piece, settings.n_fft)[:: settings.hop]
        spectrum = scipy.fft.rfft(framed * window, axis=-1)
        power = spectrum.real**2
        power += spectrum.imag**2
        if settings.exponent == 1:
            np.sqrt(power, out=power)
        elif settings.exponent != 2:
            power **= settings.exponent / 2
        yield first, power


def _read(wave: Array, start: int, stop: int, pad: str) -> Array:
    """Return samples `start` to `stop` of a waveform that goes on, padded, beyond its ends."""
    length = len(wave)
    if start >= 0 and stop <= length:
        return wave[start:stop]
    index = np.arange(start, stop)
    if pad == "constant":
        inside = (index >= 0) & (index < length)
        return np.where(inside, wave[np.clip(index, 0, length - 1)], np.float32(0))
    # Mirrored about both end samples, a signal repeats every 2 (length - 1) samples.
    period = max(1, 2 * (length - 1))
    index %= period
    return wave[np.minimum(index, period - index)]


def _refuse_empty(wave: Array) -> None:
    if wave.shape[-1] == 0:
        raise RowError(
            "no samples to compute features from: expected at least one; check the part selected",
            "too-short",
        )

"""Mel spectrograms on the CPU: short-time spectra and one matrix product.

Goal: the numbers of `librosa.feature.melspectrogram` 0.11, and of `power_to_db` behind it. The
spectra come in blocks (see `stft`, with its conventions) of which only the bands are kept, from
low to high. The filters are triangles in Hz (Slaney, Auditory Toolbox 1998; HTK book, section
5.4).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mt_tools.features.settings import FeatureSettings
from mt_tools.features.stft import Array, of_blocks, to_scale

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


def mel_bands(wave: Array, settings: FeatureSettings) -> Array:
    """Return mel bands before any logarithm, cut or padded with silence to `settings.frames`.

    Shape: wave `[channels, samples]` -> `[bands, frames]` for `mono`, `[2, bands, frames]` for
    `stereo`. Raises `RowError` (`too-short`) for no samples.
    """
    groups = _filter_groups(settings)

    def filtered(block: Array, out: Array) -> None:
        for rows, bins, filters in groups:
            np.matmul(filters, block[:, bins].T, out=out[rows])

    return of_blocks(wave, settings, settings.bands, filtered)


def mel(wave: Array, settings: FeatureSettings) -> Array:
    """Return the mel bands, raised to `mel_exponent`, in the scale of the settings.

    Shape: wave `[channels, samples]` -> `[bands, frames]` for `mono`, `[2, bands, frames]` for
    `stereo`. Raises `RowError` (`too-short`) for no samples.
    """
    bands = mel_bands(wave, settings)
    if settings.mel_exponent != 1:
        bands **= settings.mel_exponent
    return to_scale(bands, settings)


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

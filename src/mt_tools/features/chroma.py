"""Chroma: the energy of the twelve pitch classes over time.

Goal: the numbers of `librosa.feature.chroma_stft` 0.11.

Source: the chromagram of Ellis ("Classifying music audio with timbral and chroma features", ISMIR
2007): each bin of the spectrum is spread by a Gaussian over the pitch classes near its frequency,
and weighed by another one over the octaves, about the fifth. The tuning is that of the largest
number of spectral peaks, their frequencies refined by parabolas.

Conventions: `[n_chroma, frames]` from C upwards; a frame is divided by its maximum, sum or length,
but for one of digital silence, which stays 0. Spectra as in `stft`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mt_tools.features.settings import FeatureSettings
from mt_tools.features.stft import Array, mix, of_blocks, refuse_empty, spectra

# Centre and width, in octaves, of the Gaussian over the octaves; octave 0 begins at 27.5 Hz.
_OCTAVE, _OCTAVES = 5.0, 2.0

# Peaks that tell the tuning: from D3 to B7, up to 10 dB (of power) below the frame's loudest.
_PEAK_FMIN, _PEAK_FMAX, _PEAK_SHARE = 150.0, 4000.0, 0.1
# Frames whose peaks are kept at most: of a longer signal (25 minutes at librosa's defaults) every
# second, third ... block is looked at, so that a mix of hours needs no more room.
_PEAK_FRAMES = 2**16


def chroma(wave: Array, settings: FeatureSettings) -> Array:
    """Return the chroma of a waveform, each frame divided as `chroma_norm` says.

    Shape: wave `[channels, samples]` -> `[n_chroma, frames]` for `mono`, `[2, n_chroma, frames]`
    for `stereo`, which has one tuning. Raises `RowError` (`too-short`) for no samples.
    """
    refuse_empty(wave)
    tuning = settings.tuning_bins
    if tuning is None:
        tuning = estimate_tuning(wave, settings)
    filters = chroma_filterbank(settings.sample_rate, settings.n_fft, settings.n_chroma, tuning)

    def filtered(block: Array, out: Array) -> None:
        np.matmul(filters, block.T, out=out)

    return normalise(of_blocks(wave, settings, settings.n_chroma, filtered), settings.chroma_norm)


def normalise(classes: Array, norm: str) -> Array:
    """Divide each frame of `[..., bins, frames]` by its norm, `max`, `l1`, `l2` or `none`."""
    if norm == "none":
        return classes
    sizes = np.abs(classes)
    if norm == "max":
        size = sizes.max(axis=-2, keepdims=True)
    elif norm == "l1":
        size = sizes.sum(axis=-2, keepdims=True)
    else:
        size = np.sqrt(np.square(sizes).sum(axis=-2, keepdims=True))
    size[size < np.finfo(np.float32).tiny] = 1
    return classes / size


@lru_cache(maxsize=16)
def chroma_filterbank(sample_rate: int, n_fft: int, n_chroma: int, tuning: float = 0.0) -> Array:
    """Return the weights of the bins in each pitch class, `[n_chroma, n_fft // 2 + 1]`, read-only.

    `tuning` is how many of the `n_chroma` bins of an octave the music lies above A = 440 Hz. Each
    column has length 1 before the weights of the octaves.
    """
    bins = np.arange(1, n_fft) * (sample_rate / n_fft)
    # Pitch in chroma bins, of which 0 is A0. Bin 0 has none: it is put below all that is heard.
    pitch = n_chroma * _octaves(bins, n_chroma, tuning)
    pitch = np.concatenate([[pitch[0] - 1.5 * n_chroma], pitch])
    # A bin is as wide as the way to the next: low ones reach over several pitch classes.
    width = np.append(np.maximum(np.diff(pitch), 1), 1)
    half = np.round(n_chroma / 2)
    classes = np.arange(n_chroma)[:, None]
    distance = np.mod(pitch - classes + half, n_chroma) - half
    weights = np.exp(-0.5 * (2 * distance / width) ** 2)
    weights /= np.sqrt(np.square(weights).sum(axis=0))
    weights *= np.exp(-0.5 * ((pitch / n_chroma - _OCTAVE) / _OCTAVES) ** 2)
    weights = np.roll(weights, -3 * (n_chroma // 12), axis=0)  # from A to C
    filters = np.ascontiguousarray(weights[:, : n_fft // 2 + 1], dtype=np.float32)
    filters.flags.writeable = False
    return filters


def estimate_tuning(wave: Array, settings: FeatureSettings) -> float:
    """Return how many chroma bins a waveform lies above A = 440 Hz, from -0.5 to 0.49 by 0.01.

    That is where most peaks lie of those at least as high as their median. 0 where there is none.
    Shape: wave `[channels, samples]`, of which both channels count for `stereo`.
    """
    residuals, heights = [], []
    for samples in mix(wave, settings.channels):
        for spectrum in _sampled(samples, settings):
            frequencies, height = _peaks(spectrum, settings)
            pitch = settings.n_chroma * _octaves(frequencies, settings.n_chroma, 0.0)
            residuals.append(np.mod(pitch, 1.0).astype(np.float32))
            heights.append(height.astype(np.float32))
    residual, height = np.concatenate(residuals), np.concatenate(heights)
    if not len(residual):
        return 0.0
    residual = residual[height >= np.median(height)]
    residual[residual >= 0.5] -= 1.0
    counts, edges = np.histogram(residual, np.linspace(-0.5, 0.5, 101))
    return float(edges[np.argmax(counts)])


def _sampled(samples: Array, settings: FeatureSettings) -> Iterator[Array]:
    """Yield blocks of spectra `[frames, bins]` of a channel, of at most `_PEAK_FRAMES` frames."""
    frames = settings.frames_of(len(samples))
    if settings.frames:
        frames = min(frames, settings.frames)
    every = -(-frames // _PEAK_FRAMES)
    for number, (_, block) in enumerate(spectra(samples, settings, frames)):
        if number % every == 0:
            yield block


def _peaks(
    spectrum: Array, settings: FeatureSettings
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return frequencies in Hz and heights of the peaks of spectra `[frames, bins]`."""
    hertz = settings.sample_rate / settings.n_fft
    top = min(_PEAK_FMAX, settings.sample_rate / 2)
    # The two outermost bins have one neighbour only: no parabola goes through them.
    first = max(1, int(np.ceil(_PEAK_FMIN / hertz)))
    last = min(int(np.ceil(top / hertz)), spectrum.shape[1] - 1)
    if last <= first:
        return np.zeros(0), np.zeros(0)
    audible = np.where(
        spectrum > _PEAK_SHARE * spectrum.max(axis=1, keepdims=True), spectrum, np.float32(0)
    )
    middle = audible[:, first:last]
    is_peak = (middle > audible[:, first - 1 : last - 1]) & (
        middle >= audible[:, first + 1 : last + 1]
    )
    frame, place = np.nonzero(is_peak)
    place += first
    here = spectrum[frame, place]
    left, right = spectrum[frame, place - 1], spectrum[frame, place + 1]
    slope, curvature = (right - left) / 2, right + left - 2 * here
    inside = np.abs(slope) < np.abs(curvature)
    shift = np.where(inside, -slope / np.where(inside, curvature, 1), 0)
    return (place + shift) * hertz, here + 0.5 * slope * shift


def _octaves(hertz: NDArray[np.floating], n_chroma: int, tuning: float) -> NDArray[np.floating]:
    """Return how many octaves frequencies lie above A0, 27.5 Hz where A = 440 Hz."""
    return np.log2(hertz / (27.5 * 2 ** (tuning / n_chroma)))

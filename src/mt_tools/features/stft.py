"""Short-time spectra on the CPU: numpy and scipy's FFT, block by block.

Goal: the numbers of librosa 0.11, faster, in bounded memory. The transform is computed over blocks
of frames that fit the cache, and only what is made of a block is kept, so that a mix of six hours
needs no more room than its own samples and its features. Mel bands, chroma and descriptors are
made of the same blocks.

Conventions: float32 throughout; waveforms `[channels, samples]`, spectra `[bins, frames]`. With
`centre`, frame t is centred on sample t x hop, and the ends are padded as `pad` says: with zeros,
or mirrored about the first and last sample (repeatedly where the signal is shorter than the
padding, as numpy's `reflect` does; one sample alone is repeated). Without `centre` only whole
frames count, and a signal shorter than one frame is padded with zeros at its end. A hop longer
than the window leaves the samples between unheard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from mt_tools.errors import RowError
from mt_tools.features.settings import FeatureSettings

Array = NDArray[np.float32]

# Samples of windowed frames held at once: half a MiB of float32 stays in the second-level cache.
_BLOCK = 2**17


def stft(wave: Array, settings: FeatureSettings) -> Array:
    """Return the spectrum `|X|^exponent` in the scale of the settings, from `fmin` to `fmax`.

    Shape: wave `[channels, samples]` -> `[bins, frames]` for `mono`, `[2, bins, frames]` for
    `stereo`. Raises `RowError` (`too-short`) for no samples.
    """
    first, last = settings.stft_bins

    def keep(block: Array, out: Array) -> None:
        out[...] = block[:, first:last].T

    return to_scale(of_blocks(wave, settings, last - first, keep), settings)


def power_spectrogram(wave: Array, settings: FeatureSettings) -> Array:
    """Return all bins of the short-time spectrum `|X|^exponent` of one channel.

    Shape: wave `[samples]` -> `[n_fft // 2 + 1, frames]`. Raises `RowError` (`too-short`) for no
    samples.
    """
    refuse_empty(wave)
    spectrum = np.empty(
        (settings.n_fft // 2 + 1, settings.frames_of(wave.shape[-1])), dtype=np.float32
    )
    for first, block in spectra(wave, settings, spectrum.shape[1]):
        spectrum[:, first : first + len(block)] = block.T
    return spectrum


def of_blocks(
    wave: Array, settings: FeatureSettings, rows: int, fill: Callable[[Array, Array], None]
) -> Array:
    """Return what `fill(spectra, out)` makes of each block of frames.

    `spectra` are `[frames of the block, bins]`, `out` is `[rows, frames of the block]`. Frames are
    cut, or padded with zeros, to `settings.frames`. Shape: wave `[channels, samples]` -> `[rows,
    frames]` for `mono`, `[2, rows, frames]` for `stereo`. Raises `RowError` (`too-short`) for no
    samples.
    """
    refuse_empty(wave)
    wave = mix(wave, settings.channels)
    given = settings.frames_of(wave.shape[-1])
    frames = settings.frames or given
    made = np.zeros((len(wave), rows, frames), dtype=np.float32)
    for channel, samples in zip(made, wave, strict=True):
        for first, block in spectra(samples, settings, min(frames, given)):
            fill(block, channel[:, first : first + len(block)])
    return made[0] if settings.channels == "mono" else made


def spectra(wave: Array, settings: FeatureSettings, frames: int) -> Iterator[tuple[int, Array]]:
    """Yield (first frame, `|X|^exponent` `[frames of the block, bins]`) over one channel."""
    window = window_of(settings.window, settings.resolved_win_length, settings.n_fft)
    for first, framed in framings(wave, settings, frames):
        yield first, magnitudes(framed * window, settings.exponent)


def magnitudes(framed: Array, exponent: float) -> Array:
    """Return `|X|^exponent` of windowed frames: `[frames, n_fft]` -> `[frames, bins]`."""
    spectrum = scipy.fft.rfft(framed, axis=-1)
    power = spectrum.real**2
    power += spectrum.imag**2
    if exponent == 1:
        np.sqrt(power, out=power)
    elif exponent != 2:
        power **= exponent / 2
    return power


def framings(wave: Array, settings: FeatureSettings, frames: int) -> Iterator[tuple[int, Array]]:
    """Yield (first frame, samples `[frames of the block, n_fft]`) over one channel, to be read."""
    wave = np.asarray(wave, dtype=np.float32)
    lead = settings.n_fft // 2 if settings.centre else 0
    pad = settings.pad if settings.centre else "constant"
    size = max(1, _BLOCK // settings.n_fft)
    for first in range(0, frames, size):
        count = min(size, frames - first)
        start = first * settings.hop - lead
        piece = _read(wave, start, start + (count - 1) * settings.hop + settings.n_fft, pad)
        framed = np.lib.stride_tricks.sliding_window_view(piece, settings.n_fft)
        yield first, framed[:: settings.hop]


@lru_cache(maxsize=16)
def window_of(name: str, win_length: int, n_fft: int) -> Array:
    """Return a periodic window, centred in `n_fft` samples: a raised cosine, as of scipy.signal."""
    window = np.zeros(n_fft, dtype=np.float32)
    first = (n_fft - win_length) // 2
    mean = {"hann": 0.5, "hamming": 0.54}[name]
    phase = 2 * np.pi * np.arange(win_length) / win_length
    window[first : first + win_length] = mean - (1 - mean) * np.cos(phase)
    window.flags.writeable = False
    return window


def to_scale(values: Array, settings: FeatureSettings) -> Array:
    """Bring values to power (as they are), natural log, decibels, or log10(1 + C x value).

    Maxima (of `reference` and `top_db`) are taken over the whole array. Decibels are 10 log10, so
    magnitudes of mel bands ask for `mel_exponent` 2. `compressed` is the compression of Dieleman
    and Schrauwen ("End-to-end learning for music audio", ICASSP 2014), with musicnn's base. Shape:
    any, kept.
    """
    if settings.scale == "power":
        return values
    if settings.scale == "compressed":
        scaled = values * np.float32(settings.compression)
        np.log1p(scaled, out=scaled)
        scaled *= np.float32(1 / np.log(10))
        return scaled
    # A long mix is large: one copy is made, and worked on in place.
    scaled = np.maximum(values, np.float32(settings.floor))
    reference = settings.reference_value
    if reference is None:
        reference = float(scaled.max())
    np.log(scaled, out=scaled)
    if reference != 1:
        scaled -= np.float32(np.log(max(reference, settings.floor)))
    if settings.scale == "dB":
        scaled *= np.float32(10 / np.log(10))
        if settings.top_db:
            np.maximum(scaled, scaled.max() - np.float32(settings.top_db), out=scaled)
    return scaled


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


def refuse_empty(wave: Array) -> None:
    """Raise `RowError` (`too-short`) for no samples."""
    if wave.shape[-1] == 0:
        raise RowError(
            "no samples to compute features from: expected at least one; check the part selected",
            "too-short",
        )


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

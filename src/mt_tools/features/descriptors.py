"""Simple descriptors of a song: level, brightness, noisiness, dynamics and onsets, a vector a song.

Goal: a hand-made description without further packages, for baselines, for words of songs (the AGF
study's group e, beside Essentia's) and for sorting a library. Those of single frames are the
numbers of librosa 0.11's functions of the same names.

Source: Tzanetakis and Cook, "Musical genre classification of audio signals", 2002 (centroid,
rolloff, zero crossings, share of low energy); Dubnov, "Generalization of spectral flatness measure
for non-Gaussian linear processes", 2004; onsets as librosa finds them: Böck and Widmer, "Maximum
filter vibrato suppression for onset detection", 2013, for the strength, and Böck, Krebs and Schedl,
"Evaluating the online capabilities of onset detection methods", 2012, for the peaks.

Conventions: of the average of the channels; frames as of `stft`; frequencies in Hz, levels relative
to full scale. Frames of digital silence have the centroid, bandwidth and rolloff 0 and the
flatness 1. Nothing but one number a frame and descriptor is kept, and the 128 mel bands that
onsets are found in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mt_tools.features.mel import mel
from mt_tools.features.registry import KINDS, OF_FRAMES
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.stft import Array, framings, magnitudes, mix, refuse_empty, window_of

_ROLLOFF = 0.85  # share of the magnitude below the rolloff
_SILENT_POWER = 1e-10  # below that, flatness takes a bin for silence (librosa's amin)
_SILENT_SAMPLE = 1e-10  # smaller samples cross no zero (librosa's threshold)
_SILENT_DB = 1e-5  # amplitude, -100 dB: the lowest level that enters decibels

# Seconds around a frame in which an onset is the maximum, and is compared with the mean; the
# shortest time between two; height above the mean, of the largest strength. As found by librosa.
_MAXIMUM, _MEAN, _WAIT, _HEIGHT = 0.03, 0.1, 0.03, 0.07


def descriptors(wave: Array, settings: FeatureSettings) -> Array:
    """Return the descriptors of a song.

    Shape: wave `[channels, samples]` -> `[18]`, in the order of `registry.DESCRIPTORS`. Raises
    `RowError` (`too-short`) for no samples.
    """
    refuse_empty(wave)
    samples = mix(wave, "mono")[0]
    frames = of_frames(samples, settings)
    rms = frames[OF_FRAMES.index("rms")].astype(np.float64)
    loud = np.maximum(rms, _SILENT_DB)
    peak = max(float(samples.max()), -float(samples.min()), _SILENT_DB)
    power = np.einsum("i,i->", samples, samples, dtype=np.float64) / len(samples)
    whole = max(float(np.sqrt(power)), _SILENT_DB)
    low, high = np.percentile(20 * np.log10(loud), (10, 95))
    strength = frames[OF_FRAMES.index("onset_strength")]
    song = (
        20 * np.log10(peak / whole),
        high - low,
        np.mean(rms < rms.mean()),
        len(onsets(strength, settings)) * settings.sample_rate / len(samples),
    )
    mean = frames.mean(axis=1, dtype=np.float64)
    deviation = frames.std(axis=1, dtype=np.float64)
    return np.concatenate([mean, deviation, song]).astype(np.float32)


def of_frames(samples: Array, settings: FeatureSettings) -> Array:
    """Return the descriptors of frames: `[samples]` of one channel -> `[7, frames]`."""
    frames = settings.frames_of(len(samples))
    window = window_of(settings.window, settings.resolved_win_length, settings.n_fft)
    hertz = np.fft.rfftfreq(settings.n_fft, 1 / settings.sample_rate).astype(np.float32)
    made = np.zeros((len(OF_FRAMES), frames), dtype=np.float32)
    for first, framed in framings(samples, settings, frames):
        spectrum = magnitudes(framed * window, 1.0)
        made[:, first : first + len(framed)] = (
            np.sqrt(np.einsum("ij,ij->i", framed, framed) / settings.n_fft),
            _crossings(samples, settings, first, len(framed)),
            *_shape_of(spectrum, hertz),
            np.zeros(len(framed)),
        )
    made[-1] = onset_strength(samples, settings)
    return made


def _shape_of(spectrum: Array, hertz: Array) -> tuple[NDArray[np.floating], ...]:
    """Return centroid, bandwidth, rolloff and flatness of magnitudes `[frames, bins]`."""
    total = spectrum.sum(axis=1)
    divisor = np.where(total > 0, total, np.float32(1))
    centroid = spectrum @ hertz / divisor
    distance = np.square(hertz - centroid[:, None])
    bandwidth = np.sqrt(np.einsum("ij,ij->i", spectrum, distance) / divisor)
    below = np.cumsum(spectrum, axis=1)
    rolloff = hertz[np.argmax(below >= _ROLLOFF * below[:, -1:], axis=1)]
    power = np.maximum(np.square(spectrum), np.float32(_SILENT_POWER))
    flatness = np.exp(np.log(power).mean(axis=1, dtype=np.float64)) / power.mean(axis=1)
    return centroid, bandwidth, rolloff, flatness


def _crossings(samples: Array, settings: FeatureSettings, first: int, frames: int) -> Array:
    """Return the share of each frame's samples that cross zero; what pads a signal crosses none."""
    start = (first + np.arange(frames)) * settings.hop
    start -= settings.n_fft // 2 if settings.centre else 0
    begin, end = np.clip([start, start + settings.n_fft - 1], 0, len(samples) - 1)
    negative = samples[begin[0] : end[-1] + 1] < -_SILENT_SAMPLE
    # How many lie before each sample of the block, itself included.
    count = np.zeros(len(negative), dtype=np.int32)
    np.cumsum(negative[1:] != negative[:-1], out=count[1:])
    return (count[end - begin[0]] - count[begin - begin[0]]) / np.float32(settings.n_fft)


def onset_strength(samples: Array, settings: FeatureSettings) -> Array:
    """Return how much the mel bands rise into each frame, in decibels a band: `[frames]`.

    Centred frames know of a rise half a window early; the curve is moved back, as librosa does.
    """
    bands = mel(samples[None], _bands_of(settings))
    rises = np.diff(bands, axis=1)
    np.maximum(rises, 0, out=rises)
    strength = np.zeros(bands.shape[1], dtype=np.float32)
    delay = 1 + (settings.n_fft // (2 * settings.hop) if settings.centre else 0)
    kept = max(0, len(strength) - delay)
    strength[delay:] = rises.mean(axis=0)[:kept]
    return strength


def _bands_of(settings: FeatureSettings) -> FeatureSettings:
    """Return the mel spectrogram in which onsets are found: librosa's defaults on these frames."""
    names = ("sample_rate", *KINDS["descriptors"].settings)
    return FeatureSettings(kind="mel", **{name: getattr(settings, name) for name in names})


def onsets(strength: Array, settings: FeatureSettings) -> NDArray[np.intp]:
    """Return the frames of onsets: peaks of their strength `[frames]`, brought to 0 .. 1."""
    from scipy.ndimage import maximum_filter1d  # imported on use: it costs a tenth of a second

    strength = strength - strength.min()
    highest = strength.max()
    if highest <= 0:
        return np.zeros(0, dtype=np.intp)
    strength = strength / highest
    frames = settings.sample_rate / settings.hop
    before, around, wait = (int(seconds * frames) for seconds in (_MAXIMUM, _MEAN, _WAIT))
    # The maximum of each frame and of the `before` frames before it.
    maxima = maximum_filter1d(
        strength, before + 1, mode="nearest", origin=before - (before + 1) // 2
    )
    sums = np.concatenate([[0.0], np.cumsum(strength, dtype=np.float64)])
    place = np.arange(len(strength))
    first, last = np.maximum(0, place - around), np.minimum(len(strength), place + around + 1)
    means = (sums[last] - sums[first]) / (last - first)
    peaks = np.flatnonzero((strength == maxima) & (strength >= means + _HEIGHT))
    found: list[int] = []
    for peak in peaks.tolist():
        if not found or peak > found[-1] + wait:
            found.append(peak)
    return np.array(found, dtype=np.intp)

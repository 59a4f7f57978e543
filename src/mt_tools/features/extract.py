"""The one entry from waveforms to features, and which parts of a track it wants.

A stage asks `excerpts` what to decode, decodes each part at `settings.sample_rate`, brings it to
length with `fit_length`, and gives it to `extract`.
"""

from __future__ import annotations

import numpy as np

from mt_tools.errors import RowError
from mt_tools.features.descriptors import describe
from mt_tools.features.mel import Array, mel, mix
from mt_tools.features.mfcc import mfcc
from mt_tools.features.pooling import summarise
from mt_tools.features.settings import FeatureSettings


def _samples(wave: Array, settings: FeatureSettings) -> Array:
    """Return the waveform itself: `[samples]`, or `[2, samples]` for `stereo`."""
    mixed = mix(wave, settings.channels)
    return mixed[0] if settings.channels == "mono" else mixed


_KINDS = {"mel": mel, "mfcc": mfcc, "wave": _samples, "essentia": describe}


def extract(wave: Array, settings: FeatureSettings) -> Array:
    """Return the features of one waveform.

    Shape: wave `[channels, samples]` at `settings.sample_rate` -> `[output_bands, frames]`, with
    two channels in front for `stereo`; a `summary` gives one vector over channels and bands. The
    kind `wave` gives `[samples]` or `[2, samples]`, `essentia` a vector.
    Raises `RowError` (`too-short`) for no samples, (`not-finite`) for samples that are not
    numbers.
    """
    features = _KINDS[settings.kind](wave, settings)
    if settings.summary != "none":
        features = summarise(features.reshape(-1, features.shape[-1]), settings.summary)
    if not np.isfinite(features).all():
        raise RowError(
            "features are not finite: the waveform has infinite or undefined samples, or an "
            "exponent overflows; check the file, or the exponents",
            "not-finite",
        )
    return features


def excerpts(
    length_seconds: float | None,
    settings: FeatureSettings,
    start: float | None = None,
    duration: float | None = None,
) -> list[tuple[float, float | None]]:
    """Return the parts of a track to decode, each as (start, duration) in seconds.

    `start` and `duration` select a part of the track; the excerpt is taken inside it. Segments
    begin every `excerpt_hop` seconds (one behind the other where none is said), and a tail shorter
    than a segment is dropped; a part shorter than the excerpt is returned whole, for `fit_length`
    to pad. A duration of None means to the end of the track.
    Raises `RowError`: `too-short` where nothing is left after `start`, `no-length` where the
    excerpt depends on a length that is unknown (`length_seconds` None).
    """
    kind, seconds = settings.excerpt_part
    start = start or 0.0
    available = duration
    if length_seconds is not None:
        left = length_seconds - start
        available = left if duration is None else min(duration, left)
    if available is not None and available <= 0:
        raise RowError(
            f"nothing to decode from {start:g} s on: the track has "
            f"{'an unknown length' if length_seconds is None else f'{length_seconds:g} s'}, the "
            f"part asked for {'goes to the end' if duration is None else f'{duration:g} s'}",
            "too-short",
        )
    if kind == "whole":
        return [(start, duration)]
    if kind == "first":
        return [(start, seconds if available is None else min(seconds, available))]
    if available is None:
        raise RowError(
            f"excerpt {settings.excerpt!r} needs the length of the track, which is unknown: use "
            "first:S or whole, or give the rows a duration",
            "no-length",
        )
    if kind == "centre":
        return [(start + max(0.0, available - seconds) / 2, min(seconds, available))]
    # Counted in samples, so that 30 s hold twelve segments of 2.5 s whatever the rounding.
    rate = settings.sample_rate
    left_over = round(available * rate) - round(seconds * rate)
    if left_over < 0:
        return [(start, available)]
    hop = settings.excerpt_hop
    return [(start + i * hop, seconds) for i in range(1 + left_over // round(hop * rate))]


def fit_length(wave: Array, settings: FeatureSettings) -> Array:
    """Return a decoded excerpt at its exact number of samples.

    A shorter one is padded with zeros at its end, as the Music Auto-Tagger does; samples beyond
    the excerpt (a resampler's rounding) are cut; `whole` excerpts stay as they are. Shape:
    `[..., samples]`.
    """
    samples = settings.excerpt_samples
    if samples is None or wave.shape[-1] == samples:
        return wave
    if wave.shape[-1] > samples:
        return wave[..., :samples]
    padding = [(0, 0)] * (wave.ndim - 1) + [(0, samples - wave.shape[-1])]
    return np.pad(wave, padding)

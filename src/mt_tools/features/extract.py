"""The one entry from waveforms to features, and which parts of a track it wants.

A stage asks `excerpts` what to decode, decodes each part at `settings.sample_rate`, brings it to
length with `fit_length`, and gives it to `extract`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mt_tools.errors import RowError, UsageError
from mt_tools.features.chroma import chroma
from mt_tools.features.descriptors import descriptors
from mt_tools.features.essentia import describe
from mt_tools.features.loudness import loudness
from mt_tools.features.mel import mel
from mt_tools.features.mfcc import mfcc
from mt_tools.features.pooling import summarise
from mt_tools.features.settings import FeatureSettings, parse_excerpt
from mt_tools.features.stft import Array, mix, stft
from mt_tools.features.tempo import tempo


def _samples(wave: Array, settings: FeatureSettings) -> Array:
    """Return the waveform itself: `[samples]`, or `[2, samples]` for `stereo`."""
    mixed = mix(wave, settings.channels)
    return mixed[0] if settings.channels == "mono" else mixed


_KINDS = {
    "mel": mel,
    "mfcc": mfcc,
    "stft": stft,
    "chroma": chroma,
    "tempo": tempo,
    "loudness": loudness,
    "descriptors": descriptors,
    "essentia": describe,
    "wave": _samples,
}


def extract(wave: Array, settings: FeatureSettings) -> Array:
    """Return the features of one waveform.

    Shape: wave `[channels, samples]` at `settings.sample_rate` -> `[output_bands, frames]`, with
    two channels in front for `stereo`; a `summary` gives one vector over channels and bands. The
    kind `wave` gives `[samples]` or `[2, samples]`; those with a width in `registry` a vector.
    Raises `RowError` (`too-short`) for no samples, (`not-finite`) for samples that are not
    numbers, and `UsageError` for features of a fitted transform, which comes after.
    """
    if settings.transform:
        raise UsageError(
            f"these features are transformed after they are computed ({settings.transform}): make "
            "a table of them with mt-spec --apply FILE"
        )
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
    places: Sequence[float] = (),
) -> list[tuple[float, float | None]]:
    """Return the parts of a track to decode, each as (start, duration) in seconds, in order.

    `start` and `duration` select a part of the track; the excerpt is taken inside it. Segments
    begin every `excerpt_hop` seconds (one behind the other where none is said), and a tail shorter
    than a segment is dropped. Crops begin at `places`, shares from 0 to 1 of the time that they may
    begin in; those that fall on one sample are one. Parts lie in the middle of as many equal
    pieces of the track, moved into it where they are longer. A track shorter than the excerpt is
    returned whole, for `fit_length` to say what becomes of it. A duration of None means to the end
    of the track.
    Raises `RowError`: `too-short` where nothing is left after `start`, `no-length` where the
    excerpt depends on a length that is unknown (`length_seconds` None).
    """
    excerpt = parse_excerpt(settings.excerpt)
    seconds = excerpt.seconds
    start = start or 0.0
    available = duration
    if length_seconds is not None:
        left = length_seconds - start
        available = left if duration is None else min(duration, left)
    if available is not None and available <= excerpt.begin:
        raise RowError(
            f"nothing to decode from {start + excerpt.begin:g} s on: the track has "
            f"{'an unknown length' if length_seconds is None else f'{length_seconds:g} s'}, the "
            f"part asked for {'goes to the end' if duration is None else f'{duration:g} s'}",
            "too-short",
        )
    if excerpt.kind == "whole":
        return [(start, duration)]
    if not excerpt.needs_length:
        inside = seconds if available is None else min(seconds, available - excerpt.begin)
        return [(start + excerpt.begin, inside)]
    if available is None:
        raise RowError(
            f"excerpt {settings.excerpt!r} needs the length of the track, which is unknown: use "
            "first:S or whole, or give the rows a duration",
            "no-length",
        )
    if excerpt.kind == "centre":
        return [(start + max(0.0, available - seconds) / 2, min(seconds, available))]
    # Counted in samples, so that 30 s hold twelve segments of 2.5 s whatever the rounding.
    rate = settings.sample_rate
    left_over = round(available * rate) - round(seconds * rate)
    if left_over < 0:
        return [(start, available)]
    if excerpt.kind == "segment":
        # The hop itself is not rounded: of thousands of segments the last would lie beyond the end.
        hop = excerpt.hop
        count = 1 + int((left_over + 0.5) / (hop * rate))
        return [(start + i * hop, seconds) for i in range(count)]
    if excerpt.kind == "crops":
        firsts = {int(place * (left_over + 1)) for place in places}
        return [(start + first / rate, seconds) for first in sorted(firsts)]
    size = available / excerpt.count
    if not seconds:
        return [(start + i * size, size) for i in range(excerpt.count)]
    middles = ((i + 0.5) * size - seconds / 2 for i in range(excerpt.count))
    begins = (min(max(0.0, begin), max(0.0, available - seconds)) for begin in middles)
    distinct = {round(begin * rate): begin for begin in begins}
    return [(start + begin, seconds) for begin in distinct.values()]


# Samples that rounding may take from an excerpt: to the rate of the file, and to the settings'.
_ROUNDING = 2


def fit_length(wave: Array, settings: FeatureSettings, seconds: float | None = None) -> Array:
    """Return a decoded excerpt at its exact number of samples.

    To a shorter one zeros are added at its end, as the Music Auto-Tagger does, or it is repeated,
    as `settings.short` says; samples beyond the excerpt (a resampler's rounding) are cut; `whole`
    excerpts stay as they are. Equal parts of a track are as long as `seconds` says. Shape:
    `[..., samples]`. Raises `RowError` (`too-short`) where short excerpts are to be skipped.
    """
    samples = settings.excerpt_samples
    if samples is None and seconds is not None and settings.excerpt != "whole":
        samples = round(seconds * settings.sample_rate)
    held = wave.shape[-1]
    if samples is None or held == samples:
        return wave
    if held > samples:
        return wave[..., :samples]
    if settings.short == "skip" and samples - held > _ROUNDING:
        rate = settings.sample_rate
        raise RowError(
            f"shorter than its excerpt: {held / rate:.2f} s of {samples / rate:.2f} s; say --short "
            "pad or repeat to keep it",
            "too-short",
        )
    if settings.short == "repeat" and held:
        return np.take(wave, np.arange(samples) % held, axis=-1)
    padding = [(0, 0)] * (wave.ndim - 1) + [(0, samples - held)]
    return np.pad(wave, padding)

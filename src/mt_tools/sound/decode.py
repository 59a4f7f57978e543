"""Decoding a part of an audio file to samples: cut, mixed, resampled and augmented.

The order is: the part plus a margin, channels, resample, recipe, trim; a recipe with a codec comes
before resampling, as a codec hears the whole spectrum. With the margin, and with resampling begun
at a frame that falls on a sample of the new rate, a part equals the same part cut from the whole
(to 1e-5, found by trying); how far that holds after a recipe is said in `sound.effects`. Times are
on the unaugmented timeline.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import soxr

from mt_tools.errors import DecodeError, RowError
from mt_tools.recipes import Recipe
from mt_tools.sound import effects
from mt_tools.sound.effects import Piece
from mt_tools.sound.opening import Audio, Source, open_audio
from mt_tools.sound.parts import PartsAudio

# Seconds decoded around a part, beside what its filters and rooms need: several lengths of the
# resampling filter, of the stretching block (0.12 s) and of a codec's frames.
_MARGIN = 0.5

# Left and right gains of each channel by the number of channels, after ITU-R BS.775-3, Table 2:
# front (L, R) 1, centre and surrounds 0.7071, the low-frequency channel left out; scaled so that
# the gains of a side sum to 1, which cannot clip. The channels come in the order of WAVE.
_HALF = math.sqrt(0.5)
_LEFT, _RIGHT, _CENTRE, _LOW = (1.0, 0.0), (0.0, 1.0), (_HALF, _HALF), (0.0, 0.0)
_SIDE_LEFT, _SIDE_RIGHT = (_HALF, 0.0), (0.0, _HALF)
_TO_STEREO = {
    3: (_LEFT, _RIGHT, _CENTRE),
    4: (_LEFT, _RIGHT, _SIDE_LEFT, _SIDE_RIGHT),
    5: (_LEFT, _RIGHT, _CENTRE, _SIDE_LEFT, _SIDE_RIGHT),
    6: (_LEFT, _RIGHT, _CENTRE, _LOW, _SIDE_LEFT, _SIDE_RIGHT),
    7: (_LEFT, _RIGHT, _CENTRE, _LOW, _CENTRE, _SIDE_LEFT, _SIDE_RIGHT),
    8: (_LEFT, _RIGHT, _CENTRE, _LOW) + 2 * (_SIDE_LEFT, _SIDE_RIGHT),
}
# The place in WAVE's order of each channel of Ogg Vorbis and Opus (Vorbis I, section 4.3.9).
_XIPH_ORDER = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}


def decode(
    source: Source | PartsAudio,
    *,
    start: float | None = None,
    duration: float | None = None,
    sample_rate: int | None = None,
    channels: int | None = None,
    recipe: Recipe = Recipe(),  # noqa: B008 (frozen)
) -> tuple[np.ndarray, int]:
    """Decode a part of an audio file to float32 [channels, samples] and its sample rate.

    `source` is a path, a table's text for one (`file:` URIs too), the bytes of a file, or a file
    opened for several parts (see `sound.parts`). The part
    begins at `start` seconds and lasts `duration` seconds of the unaugmented track; None means from
    the beginning and to the end. It is resampled to `sample_rate` (soxr HQ) and has
    round(duration * sample_rate * recipe.stretch) samples, fewer where the file ends before.
    `channels`: 1 is the mean of all; 2 is stereo (mono doubled, more mixed down after ITU-R
    BS.775-3 in WAVE's order); None keeps them all (in WAVE's order).

    Raises `DecodeError` (its docstring lists the kinds), with kind `too-short` when the part begins
    at or beyond the end of the file, and `RowError` where the recipe cannot be carried out.
    """
    for name, seconds in (("start", start), ("duration", duration)):
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
            raise RowError(f"{name} is {seconds}, expected seconds from 0 up; correct the table")
    if recipe.on_features:
        raise RowError(
            f"the recipe {str(recipe)!r} was carried out on features, and sound has none: take "
            "those of the table, or make them of the original tracks",
            "recipe",
        )
    opened: AbstractContextManager[Audio] = (
        nullcontext(source) if isinstance(source, PartsAudio) else open_audio(source)
    )
    with opened as audio:
        stored_rate = audio.sample_rate
        rate = sample_rate or stored_rate
        begin = round((start or 0.0) * rate)
        wanted = None if duration is None else round(duration * rate)
        before, after = (round(s * rate) for s in _margins(recipe, stored_rate, rate))
        # Only every `step`th stored frame falls exactly on a sample of the new rate.
        step = stored_rate // math.gcd(stored_rate, rate)
        first = max(0, begin - before) * stored_rate // rate // step * step
        last = None if wanted is None else -(-(begin + wanted + after) * stored_rate // rate)
        wave = _read(audio, first, last, channels)

    position = first * rate // stored_rate
    held = -(-wave.shape[1] * rate // stored_rate) - (begin - position)
    if held <= 0 and wanted != 0:
        raise DecodeError(
            f"the part begins at {start or 0:g} s, at or beyond the end of the file; "
            "correct its start",
            "too-short",
        )
    if duration is None or wanted is None or wanted > held:
        end, length = begin + held, round(held * recipe.stretch)
    else:
        end, length = begin + wanted, round(duration * rate * recipe.stretch)
    if recipe.at_stored_rate:
        places = (round(place * stored_rate / rate) for place in (begin, end))
        piece = effects.carry_out(recipe, Piece(wave, stored_rate, first, *places))
        wave = _resample(piece.wave, stored_rate, rate)
        position = round(piece.position * rate / stored_rate)
    else:
        wave = _resample(wave, stored_rate, rate)
        piece = effects.carry_out(recipe, Piece(wave, rate, position, begin, end))
        wave, position = piece.wave, piece.position
    return _fit(wave[:, max(0, round(begin * recipe.stretch) - position) :], length), rate


def _margins(recipe: Recipe, stored_rate: int, rate: int) -> tuple[float, float]:
    """Return the seconds to decode before and after a part."""
    if not recipe and rate == stored_rate:
        return 0.0, 0.0
    before, after = effects.margins(recipe, stored_rate if recipe.at_stored_rate else rate)
    return _MARGIN + before, _MARGIN + after


def _read(audio: Audio, first: int, last: int | None, channels: int | None) -> np.ndarray:
    """Read the frames from `first` to before `last`, mixed down block by block."""
    mix = _mixer(audio, channels)
    mixed, position = [np.zeros((0, channels or audio.channels), np.float32)], first
    for block in audio.blocks(first, last):
        if last is not None:
            block = block[: last - position]
        block = mix(block)
        finite = np.isfinite(block)
        if not finite.all():
            at = (position + int(np.argmin(finite.all(axis=1)))) / audio.sample_rate
            raise DecodeError(
                f"a sample that is not a finite number, at {at:.2f} s; write the file again"
            )
        mixed.append(block)
        position += len(block)
        if position == last:
            break
    return np.concatenate(mixed).T


def _mixer(audio: Audio, channels: int | None) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that mixes a block [frames, stored channels] to [frames, channels]."""
    stored = audio.channels
    if channels is None and audio.xiph_order and stored in _XIPH_ORDER:
        places = list(_XIPH_ORDER[stored])
        return lambda block: block[:, places]
    if channels is None or (channels == stored and channels <= 2):
        return np.copy
    if channels == 1:
        return _mean
    if channels != 2:
        raise ValueError(f"got channels={channels}, expected 1, 2 or None")
    if stored == 1:
        return lambda block: np.repeat(block, 2, axis=1)
    gains = np.array(_TO_STEREO.get(stored, stored * ((1.0, 1.0),)), np.float32)
    if audio.xiph_order and stored in _XIPH_ORDER:
        gains = gains[list(_XIPH_ORDER[stored])]
    gains /= gains.sum(axis=0)
    return lambda block: block @ gains


def _mean(block: np.ndarray) -> np.ndarray:
    """Return the mean of the channels, [frames, 1].

    Channel after channel: numpy's own mean over so short an axis takes as long as the decoding.
    """
    total = block[:, 0].copy()
    for channel in block.T[1:]:
        total += channel
    total *= np.float32(1 / block.shape[1])
    return total[:, None]


def _resample(wave: np.ndarray, stored_rate: int, rate: int) -> np.ndarray:
    if rate == stored_rate or wave.shape[1] == 0:
        return wave
    resampled: np.ndarray = soxr.resample(wave.T, stored_rate, rate, "HQ")
    return _fit(resampled.T, -(-wave.shape[1] * rate // stored_rate))


def _fit(wave: np.ndarray, length: int) -> np.ndarray:
    """Cut to `length`, or add the one sample that rounding has taken; contiguous."""
    length = max(0, length)
    if length > wave.shape[1]:
        wave = np.pad(wave, ((0, 0), (0, length - wave.shape[1])))
    return np.ascontiguousarray(wave[:, :length])

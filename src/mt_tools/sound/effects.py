"""Carrying out a recipe on a wave.

Goal: the effects of `mt_tools.recipes.effects`, in the order of the recipe, such that a part sounds
as the same part of the whole does. Every effect therefore knows where in the track its wave lies
(`Piece`), and says how much of the track around a part it needs (`margins`). Filters, rooms and
gains of a part equal the part of the whole to 1e-5; noise and mixed tracks up to their level, which
follows what is decoded; codecs, pitch and stretch in their spectrum.

Conventions: waves are float32 [channels, samples] and may exceed ±1. A signal-to-noise ratio is
that of the levels over the part: the root mean square of the track where it sounds (frames of 50 ms
within 60 dB of its loudest), and of what is added. To silence nothing is added.

Sources: Butterworth filters as scipy designs them; the beginning of an impulse response as ISO
3382-1 finds it; pitch and stretch in `sound.vocoder`, noise in `sound.noise`, codecs in
`sound.codec`.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import soxr

from mt_tools.errors import DecodeError, RowError
from mt_tools.recipes import Recipe
from mt_tools.recipes.effects import (
    Bandpass,
    Codec,
    Crop,
    Effect,
    Gain,
    Highpass,
    Lowpass,
    Mix,
    Noise,
    Pitch,
    Polarity,
    Room,
    Stretch,
)
from mt_tools.sound import codec, vocoder
from mt_tools.sound.noise import noise
from mt_tools.sound.paths import text_to_path

_FRAME_SECONDS = 0.05
_SILENT = 1e-6  # of the power of the loudest frame: -60 dB
_DECAYED = 1e-6  # what is left of a filter's memory after its margin
_ONSET = 0.1  # of the highest peak: -20 dB (ISO 3382-1)
_LONGEST_ROOM = 20.0  # seconds; a longer file is music


@dataclass(frozen=True)
class Piece:
    """A stretch of a track on its way through a recipe.

    `wave` [channels, samples] begins at sample `position` of the track as it is so far (stretched,
    after a stretch). The part that was asked for lies from sample `begin` to before `end`; the rest
    is margin.
    """

    wave: np.ndarray
    sample_rate: int
    position: int
    begin: int
    end: int

    @property
    def part(self) -> np.ndarray:
        """The part that was asked for, [channels, samples]."""
        return self.wave[:, max(0, self.begin - self.position) : self.end - self.position]


def apply(recipe: Recipe, wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Carry out a recipe on a whole wave, [channels, samples] -> [channels, samples]."""
    return carry_out(recipe, Piece(wave, sample_rate, 0, 0, wave.shape[1])).wave


def carry_out(recipe: Recipe, piece: Piece) -> Piece:
    """Carry out a recipe on a piece of a track.

    A crop is no work here: the row's `start` and `duration` select it. Raises `RowError` where an
    effect cannot be: a file that is missing, a filter above what the sample rate holds.
    """
    effects = list(recipe.effects)
    while effects:
        effect = effects.pop(0)
        if isinstance(effect, Pitch | Stretch):
            # One pass for both, whichever stands first.
            both = [effect]
            if effects and isinstance(effects[0], Pitch | Stretch):
                both.append(effects.pop(0))  # type: ignore[arg-type]
            piece = _vocoded(piece, Recipe(tuple(both)))
        else:
            piece = _carried_out(effect, piece)
    return piece


def margins(recipe: Recipe, sample_rate: int) -> tuple[float, float]:
    """Return the seconds of the track that filters and rooms need before and after a part."""
    before = after = 0.0
    for effect in reversed(recipe.effects):
        if isinstance(effect, Stretch):
            before, after = before / effect.factor, after / effect.factor
        elif isinstance(effect, Lowpass | Highpass | Bandpass):
            before += _memory(_design(effect, sample_rate)) / sample_rate
        elif isinstance(effect, Room):
            response, onset = _response(effect, sample_rate, 1)
            before += response.shape[1] / sample_rate
            after += onset / sample_rate
    return before, after


def _vocoded(piece: Piece, recipe: Recipe) -> Piece:
    shift, factor = recipe.of(Pitch), recipe.stretch
    wave = vocoder.change(piece.wave, shift.semitones if shift else 0.0, factor, piece.sample_rate)
    places = (round(place * factor) for place in (piece.position, piece.begin, piece.end))
    return Piece(wave, piece.sample_rate, *places)


def _carried_out(effect: Effect, piece: Piece) -> Piece:
    wave, rate = piece.wave, piece.sample_rate
    if wave.shape[1] == 0:
        return piece
    match effect:
        case Gain():
            wave = wave * np.float32(10 ** (effect.decibels / 20))
        case Polarity():
            wave = -wave
        case Lowpass() | Highpass() | Bandpass():
            wave = _filtered(effect, wave, rate)
        case Noise():
            wave = _at_ratio(piece, _noise(effect, piece), effect.snr)
        case Room():
            wave = _reverberated(effect, wave, rate)
        case Codec():
            wave = codec.round_trip(wave, effect.codec, effect.rate, rate, piece.position)
        case Mix():
            wave = _at_ratio(piece, _partner(effect, piece), effect.snr)
        case Crop():
            pass
    return replace(piece, wave=wave)


# --- what is added at a level --------------------------------------------------------------------


def level(wave: np.ndarray, sample_rate: int) -> float:
    """Return the root mean square of a wave [channels, samples] where it sounds; 0 for silence."""
    if wave.size == 0:
        return 0.0
    power = np.mean(np.square(wave, dtype=np.float64), axis=0)
    starts = np.arange(0, len(power), max(1, round(_FRAME_SECONDS * sample_rate)))
    sums = np.add.reduceat(power, starts)
    sizes = np.diff(starts, append=len(power))
    sounds = sums / sizes > _SILENT * (sums / sizes).max()
    return math.sqrt(sums[sounds].sum() / sizes[sounds].sum()) if sounds.any() else 0.0


def _at_ratio(piece: Piece, added: np.ndarray, snr: float) -> np.ndarray:
    """Add a wave such that the levels over the part have this ratio, dB."""
    there = level(replace(piece, wave=added).part, piece.sample_rate)
    if there == 0:
        return piece.wave
    factor = level(piece.part, piece.sample_rate) / there / 10 ** (snr / 20)
    return piece.wave + np.float32(factor) * added


def _noise(effect: Noise, piece: Piece) -> np.ndarray:
    channels, samples = piece.wave.shape
    return noise(
        effect.colour, piece.sample_rate, seed=effect.seed, begin=piece.position, samples=samples,
        channels=channels,
    )  # fmt: skip


def _partner(effect: Mix, piece: Piece) -> np.ndarray:
    """Return the other track under a piece, over and over where it is shorter."""
    from mt_tools.sound.info import read_info

    channels, samples = piece.wave.shape
    rate, sides = piece.sample_rate, 2 if channels == 2 else 1
    try:
        seconds = read_info(effect.file).length
        length = piece.position + samples if seconds is None else max(1, math.floor(seconds * rate))
        at = piece.position % length
        if length < samples:
            once = _decoded(effect.file, rate, sides, 0, length)
            wave = once[:, (at + np.arange(samples)) % length]
        elif at + samples > length:
            last = _decoded(effect.file, rate, sides, at, length - at)
            first = _decoded(effect.file, rate, sides, 0, samples - (length - at))
            wave = np.concatenate([last, first], axis=1)
        else:
            wave = _decoded(effect.file, rate, sides, at, samples)
    except DecodeError as error:
        raise _of_file(effect, error) from error
    return wave if channels <= 2 else np.repeat(wave, channels, axis=0)


# --- filters and rooms ---------------------------------------------------------------------------


def _design(effect: Lowpass | Highpass | Bandpass, sample_rate: int) -> np.ndarray | None:
    """Return the second-order sections of a filter, None where it changes nothing.

    Raises `RowError` where nothing below half of the sample rate would pass.
    """
    half = sample_rate / 2
    match effect:
        case Lowpass():
            kind, low, high = "lowpass", 0.0, effect.cutoff
        case Highpass():
            kind, low, high = "highpass", effect.cutoff, half
        case Bandpass():
            kind, low, high = "bandpass", effect.low, effect.high
    if low >= half:
        raise RowError(
            f"{effect} leaves nothing of a track at {sample_rate} Hz, which holds what is below "
            f"{half:g} Hz; choose a lower frequency",
            "recipe",
        )
    if high >= half:
        if kind == "lowpass":
            return None
        kind = "highpass"
    edges = {"lowpass": high, "highpass": low, "bandpass": (low, high)}[kind]
    return _butterworth(effect.order, edges, kind, sample_rate)


@lru_cache(maxsize=64)
def _butterworth(
    order: int, edges: float | tuple[float, float], kind: str, sample_rate: int
) -> np.ndarray:
    from scipy.signal import butter

    sections: np.ndarray = butter(order, edges, kind, output="sos", fs=sample_rate)
    return sections


def _memory(sections: np.ndarray | None) -> int:
    """Return after how many samples a filter has forgotten what it heard."""
    if sections is None:
        return 0
    radius = max(np.abs(np.roots(section[3:])).max() for section in sections)
    return math.ceil(math.log(_DECAYED) / math.log(radius)) if radius > 0 else len(sections) * 2


def _filtered(
    effect: Lowpass | Highpass | Bandpass, wave: np.ndarray, sample_rate: int
) -> np.ndarray:
    from scipy.signal import sosfilt

    sections = _design(effect, sample_rate)
    return wave if sections is None else sosfilt(sections, wave, axis=1).astype(np.float32)


def _reverberated(effect: Room, wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Convolve with an impulse response, whose direct sound stands at time 0."""
    from scipy.signal import oaconvolve

    response, onset = _response(effect, sample_rate, 2 if len(wave) == 2 else 1)
    wet: np.ndarray = oaconvolve(wave, response, axes=1)
    return wet[:, onset : onset + wave.shape[1]].astype(np.float32, copy=False)


def _response(effect: Room, sample_rate: int, channels: int) -> tuple[np.ndarray, int]:
    """Return an impulse response of unit energy, [channels, samples], and where it begins."""
    try:
        return _normalised(os.path.abspath(text_to_path(effect.file)), sample_rate, channels)
    except DecodeError as error:
        raise _of_file(effect, error) from error


@lru_cache(maxsize=8)
def _normalised(file: str, sample_rate: int, channels: int) -> tuple[np.ndarray, int]:
    stored, rate = _stored(file, channels)
    loudness = np.abs(stored).max(axis=0)
    if not loudness.any():
        raise DecodeError("silence, expected an impulse response", "empty")
    onset = int(np.argmax(loudness >= _ONSET * loudness.max()))
    response = stored
    if rate != sample_rate:
        response = soxr.resample(stored.T, rate, sample_rate, "HQ").T
        onset = round(onset * sample_rate / rate)
    energy = math.sqrt(np.sum(np.square(response, dtype=np.float64)) / channels)
    return np.ascontiguousarray(response / np.float32(energy)), onset


def _stored(file: str, channels: int) -> tuple[np.ndarray, int]:
    from mt_tools.sound.decode import decode
    from mt_tools.sound.info import read_info

    seconds = read_info(file).length
    if seconds is not None and seconds > _LONGEST_ROOM:
        raise DecodeError(
            f"{seconds:.0f} s long, expected an impulse response of at most {_LONGEST_ROOM:g} s; "
            "to add another track, say mix=FILE:SNR",
            "recipe",
        )
    return decode(file, channels=channels)


def _decoded(file: str, sample_rate: int, channels: int, begin: int, samples: int) -> np.ndarray:
    """Decode so many samples of a file, silence where it ends before its header says."""
    from mt_tools.sound.decode import decode  # which carries out recipes itself

    try:
        wave, _ = decode(
            file,
            start=begin / sample_rate,
            duration=samples / sample_rate,
            sample_rate=sample_rate,
            channels=channels,
        )
    except DecodeError as error:
        if error.kind != "too-short":
            raise
        wave = np.zeros((channels, 0), np.float32)
    return np.pad(wave, ((0, 0), (0, samples - wave.shape[1])))


def _of_file(effect: Room | Mix, error: DecodeError) -> RowError:
    """Return the error of a file that a recipe names as that of the row."""
    return RowError(f"{effect.name}={effect.file}: {error}", error.kind)

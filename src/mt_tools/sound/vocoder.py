"""Time stretching and pitch shifting of waveforms.

Stretching is python-stretch (Signalsmith Stretch, a phase vocoder in 120 ms blocks). Its own
transposition misses by up to 40 cents, so a shift by r = 2^(semitones/12) is a stretch to r times
the length, played r times as fast: resampled from r * sample rate to the sample rate by soxr.

Waves are float32 [channels, samples]. The same wave gives the same result, bit by bit. Silence
stands before and after the wave. A phase vocoder's phases depend on everything before them:
the effect on a part equals the part of the effect in its spectrum, not in its samples.
"""

from __future__ import annotations

import numpy as np
import python_stretch.Signalsmith as signalsmith
import soxr

# Longer than any stretching block (120 ms), so that the fade at the processor's own edges falls
# into the silence put around the wave.
_SILENCE = 0.25
# Below a quarter of the length the blocks no longer touch and the sound between them is lost, so
# an extreme pitch with an extreme stretch takes two passes.
_SHORTEST = 0.25
# Stretching beyond a factor of 2 draws phases at random; the seed makes that repeatable.
_PHASE_SEED = 0


def change(wave: np.ndarray, semitones: float, factor: float, sample_rate: int) -> np.ndarray:
    """Shift a wave by `semitones` and make it `factor` times as long, in one pass where possible.

    `wave` [channels, samples] float32 -> [channels, round(factor * samples)].
    """
    ratio = 2 ** (semitones / 12)
    if _SHORTEST <= ratio * factor <= 1 / _SHORTEST:
        return _vocode(wave, sample_rate, ratio=ratio, factor=factor)
    return pitch(stretch(wave, factor, sample_rate), semitones, sample_rate)


def stretch(wave: np.ndarray, factor: float, sample_rate: int) -> np.ndarray:
    """Make a wave `factor` times as long at the same pitch (1.1 is 10 % longer).

    `wave` [channels, samples] float32 -> [channels, round(factor * samples)]; the sound at time t
    comes to stand at factor * t.
    """
    return _vocode(wave, sample_rate, ratio=1.0, factor=factor)


def pitch(wave: np.ndarray, semitones: float, sample_rate: int) -> np.ndarray:
    """Shift a wave by `semitones`, up when positive, at the same speed and length.

    `wave` [channels, samples] float32 -> the same shape.
    """
    return _vocode(wave, sample_rate, ratio=2 ** (semitones / 12), factor=1.0)


def _vocode(wave: np.ndarray, sample_rate: int, *, ratio: float, factor: float) -> np.ndarray:
    length = round(wave.shape[1] * factor)
    if (ratio == 1 and factor == 1) or length == 0:
        return wave[:, :length]
    silence = round(_SILENCE * sample_rate * max(1, 1 / factor))
    # python-stretch reads the memory as if it were contiguous, whatever the strides say.
    padded = np.ascontiguousarray(np.pad(wave, ((0, 0), (silence, silence))), dtype=np.float32)
    processor = signalsmith.Stretch(_PHASE_SEED)
    processor.preset(len(wave), sample_rate)
    processor.setTimeFactor(1 / (ratio * factor))  # its factor is a speed
    stretched = np.asarray(processor.process(padded))
    if ratio != 1:
        played_fast: np.ndarray = soxr.resample(stretched.T, ratio * sample_rate, sample_rate, "HQ")
        stretched = played_fast.T
    begin = round(silence * factor)
    return np.ascontiguousarray(stretched[:, begin : begin + length])

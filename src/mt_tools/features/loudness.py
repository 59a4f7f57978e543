"""Loudness of a programme, as broadcasters and streaming services measure it.

Goal: a loudness meter in "EBU mode", to its published tolerance of 0.1 LU, at any sample rate.

Source: Recommendation ITU-R BS.1770-5 (2023), Annex 1 (K-weighting, channel weights, gating: the
same as of BS.1770-4); EBU Tech 3341 (momentary and short-term loudness) and Tech 3342 (loudness
range). The standard prints its two filters for 48 kHz. Here they are taken back to the analogue
filters by the bilinear transform and discretised anew for the rate at hand, so that the shelf and
the high pass stay where they are in hertz.

Conventions: LUFS (= LKFS), dB relative to full scale, of which a sine of 997 Hz in one front
channel at 0 dB reads -3.01. Blocks begin every 100 ms. A signal shorter than a block is a block by
itself; what never rises above the absolute gate of -70 LUFS reads -70.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mt_tools.features.settings import FeatureSettings
from mt_tools.features.stft import Array, refuse_empty

Powers = NDArray[np.float64]

GATE = -70.0  # LUFS: blocks below are silence (Annex 1, equation 5)
# Numerator and denominator at 48 kHz: tables 1 (the head's shelf) and 2 (the high pass) of Annex 1.
_FILTERS_48K = (
    (
        (1.53512485958697, -2.69169618940638, 1.19839281085285),
        (1.0, -1.69065929318241, 0.73248077421585),
    ),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
_OFFSET = -0.691  # equation 2: makes up for the gain of the weighting at 997 Hz

# Weights by number of channels in WAVE's order (tables 3 and 4): 1.41 for those from 60 to 120
# degrees, 0 for low-frequency effects. 6 is 5.1; 8 is 7.1, with the back before the sides.
_WEIGHTS = {
    4: (1.0, 1.0, 1.41, 1.41),
    5: (1.0, 1.0, 1.0, 1.41, 1.41),
    6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41),
    7: (1.0, 1.0, 1.0, 0.0, 1.0, 1.41, 1.41),
    8: (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.41, 1.41),
}

_STEP = 0.1  # seconds from a block to the next
_MOMENTARY, _SHORT_TERM = 4, 30  # steps: 400 ms, of which integrated loudness is made too, and 3 s

# Seconds filtered at once, in float64.
_PIECE = 5


def loudness(wave: Array, settings: FeatureSettings) -> Array:
    """Return integrated loudness, loudness range, highest momentary and short-term loudness.

    Shape: wave `[channels, samples]` -> `[4]`, in LUFS, LU, LUFS and LUFS, in the order of
    `registry.LOUDNESS`. Raises `RowError` (`too-short`) for no samples.
    """
    refuse_empty(wave)
    steps, rest = step_powers(np.atleast_2d(wave), settings.sample_rate)
    momentary = _blocks(steps, rest, _MOMENTARY)
    short_term = _blocks(steps, rest, _SHORT_TERM)
    values = (
        integrated(momentary),
        loudness_range(short_term),
        max(GATE, _decibels(momentary.max())),
        max(GATE, _decibels(short_term.max())),
    )
    return np.array(values, dtype=np.float32)


def integrated(powers: Powers) -> float:
    """Return the gated loudness in LUFS of blocks of 400 ms of weighted power `[blocks]`.

    Blocks above the absolute gate count, and of those the ones above 10 LU below their mean.
    """
    kept = powers[_above(powers, GATE)]
    if not len(kept):
        return GATE
    return _decibels(kept[_above(kept, _decibels(kept.mean()) - 10)].mean())


def loudness_range(powers: Powers) -> float:
    """Return the loudness range in LU of blocks of 3 s of weighted power `[blocks]`.

    That is from the 10th to the 95th percentile of the blocks above 20 LU below the mean of those
    above the absolute gate (EBU Tech 3342).
    """
    kept = powers[_above(powers, GATE)]
    if not len(kept):
        return 0.0
    kept = kept[_above(kept, _decibels(kept.mean()) - 20)]
    low, high = np.percentile(kept, (10, 95))
    return _decibels(high) - _decibels(low)


def step_powers(wave: Array, rate: int) -> tuple[Powers, float]:
    """Return the K-weighted power of each whole 100 ms, and the mean power of all of a signal.

    Channels are weighed and summed. Shape: wave `[channels, samples]` -> `[steps]`. The second is
    for signals that are shorter than a block.
    """
    weights = np.array(_WEIGHTS.get(len(wave), (1.0,) * len(wave)))
    length = wave.shape[1]
    # To the nearest sample, where a step is not a whole number of them.
    ends = np.round(np.arange(1, int(length / rate / _STEP + 1e-9) + 1) * (_STEP * rate)).astype(
        int
    )
    energies = np.zeros(len(ends) + 1)
    for first, piece in _weighted(wave, rate):
        energy = weights @ np.square(piece)
        step, last = np.searchsorted(ends, (first, first + len(energy) - 1), side="right")
        sums = np.add.reduceat(energy, [0, *(ends[step:last] - first)])
        energies[step : last + 1] += sums
    samples = np.diff(ends, prepend=0)
    return energies[:-1] / samples, float(energies.sum() / length)


def k_weighting(rate: int) -> NDArray[np.float64]:
    """Return the K-weighting at a rate as second-order sections `[2, 6]`, as scipy.signal's.

    The shelf's corner of 1.7 kHz has to lie below half the rate.
    """
    return np.array(
        [_at_rate(numerator, denominator, rate) for numerator, denominator in _FILTERS_48K]
    )


@lru_cache(maxsize=16)
def _at_rate(
    numerator: Sequence[float], denominator: Sequence[float], rate: int
) -> tuple[float, ...]:
    """Return a second-order section that is given for 48 kHz at another rate.

    With s = (1 - 1/z) / (1 + 1/z), both polynomials in 1/z become polynomials in s and, s scaled,
    the other way round. The scale is of the tangents of the corner's frequency, which bilinear
    transforms bend: the corner stays in place, and nothing changes at 48 kHz.
    """
    constant, _, square = _bilinear(denominator)
    corner = math.sqrt(constant / square)
    scale = corner / math.tan(math.atan(corner) * 48000 / rate)
    sections = []
    for polynomial in (numerator, denominator):
        constant, linear, square = _bilinear(polynomial)
        sections.append(_bilinear((constant, linear * scale, square * scale**2)))
    zeros, poles = sections
    return tuple(value / poles[0] for value in (*zeros, *poles))


def _bilinear(polynomial: Sequence[float]) -> tuple[float, float, float]:
    """Return the polynomial in y, from y^0 up, that (1 + y)^2 p(x) is with x = (1 - y) / (1 + y).

    As y = (1 - x) / (1 + x) too, this leads from 1/z to s and back.
    """
    a, b, c = polynomial
    return a + b + c, 2 * (a - c), a - b + c


def _weighted(wave: Array, rate: int) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (first sample, K-weighted `[channels, samples]`) of a waveform, piece by piece."""
    from scipy.signal import sosfilt  # imported on use: it costs half a second

    sections = k_weighting(rate)
    state = np.zeros((len(sections), len(wave), 2))
    size = _PIECE * rate
    for first in range(0, wave.shape[1], size):
        piece = np.asarray(wave[:, first : first + size], dtype=np.float64)
        filtered, state = sosfilt(sections, piece, axis=-1, zi=state)
        yield first, filtered


def _blocks(steps: Powers, whole: float, length: int) -> Powers:
    """Return the mean power of each run of `length` steps; of all where there are fewer."""
    if len(steps) < length:
        return np.array([whole])
    return np.lib.stride_tricks.sliding_window_view(steps, length).mean(axis=-1)


def _above(powers: Powers, gate: float) -> NDArray[np.bool_]:
    return powers > 10 ** ((gate - _OFFSET) / 10)


def _decibels(power: float) -> float:
    return _OFFSET + 10 * math.log10(power) if power > 0 else -math.inf

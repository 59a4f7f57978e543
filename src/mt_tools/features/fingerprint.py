"""Fingerprints of sound: a number of 32 bits for every 12 ms, the same after encoding anew.

Goal: to know a recording again after another encoder, a change of level or a cut. A bit says
whether the difference in energy of two neighbouring bands grew from one frame to the next; what an
encoder changes is mostly smaller than that. A change of pitch or tempo makes another fingerprint.

Source: J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system", ISMIR 2002, section
4: frames of 0.37 s, of which each begins 1/32 of one after the last, 33 bands from 300 to 2,000 Hz,
equally wide in pitch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 5512
"""The rate of the sound that a fingerprint is made of, Hz."""

HOP = 64
"""Samples from a frame to the next: 11.6 ms."""

_FRAME = 2048
_BANDS = 33
_LOWEST, _HIGHEST = 300.0, 2000.0  # Hz
_BLOCK = 2048  # frames transformed at once


def fingerprint(wave: NDArray[np.floating]) -> NDArray[np.uint32]:
    """Return the fingerprint of a mono wave at `SAMPLE_RATE`.

    Shape: [samples] -> [frames - 1], where frames = 1 + (samples - 2048) // 64; none for a shorter
    wave.
    """
    import scipy.fft

    if len(wave) < _FRAME + HOP:
        return np.zeros(0, np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(wave, np.float32), _FRAME)[::HOP]
    window = np.hanning(_FRAME + 1)[:-1].astype(np.float32)
    edges = np.geomspace(_LOWEST, _HIGHEST, _BANDS + 1) * _FRAME / SAMPLE_RATE
    bins = np.round(edges).astype(int)
    energies = np.empty((len(frames), _BANDS))
    for start in range(0, len(frames), _BLOCK):
        spectrum = scipy.fft.rfft(frames[start : start + _BLOCK] * window, axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        energies[start : start + _BLOCK] = np.add.reduceat(power[:, : bins[-1]], bins[:-1], axis=1)
    grew = np.diff(np.diff(energies, axis=1), axis=0) < 0
    words = np.packbits(grew, axis=1, bitorder="little").view("<u4")
    return words[:, 0].astype(np.uint32)

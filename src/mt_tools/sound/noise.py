"""Coloured noise that is the same at the same place, whichever part of it is made.

Goal: noise under a track that a segment hears as the whole track does. Blocks of Gaussian spectra,
each drawn by its number from a counter-based generator (Philox: Salmon et al., "Parallel random
numbers: as easy as 1, 2, 3", SC 2011), shaped, transformed and overlapped by half under sine
windows, whose squares sum to 1: the power is the same everywhere.

Conventions: the power falls by 3 dB an octave for pink and 6 for brown noise, rises as much for
blue and violet, and is flat for white and for all of them below 20 Hz, where nothing is heard. The
variance is 1 on average over long stretches. Channels are independent.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# Exponents of the power spectrum over frequency.
COLOURS = {"white": 0, "pink": -1, "brown": -2, "blue": 1, "violet": 2}

_LOWEST = 20.0  # Hz
_SECONDS = 1.0  # of a block at least: its spectrum's lines are 1 Hz apart at most


def noise(
    colour: str, sample_rate: int, *, seed: int, begin: int, samples: int, channels: int = 1
) -> np.ndarray:
    """Return the noise from sample `begin` on, float32 [channels, samples].

    Another `seed` is another noise; any part of one is bit by bit the same part of the whole.
    """
    shape = _shape(colour, sample_rate)
    hop = len(shape) - 1
    first, last = begin // hop, (begin + max(samples, 1) - 1) // hop
    # Each half block is the end of one block and the beginning of the next.
    halves = np.zeros((channels, last - first + 3, hop), np.float32)
    for channel in range(channels):
        for number in range(first, last + 2):
            block = _block(shape, seed, channel, number)
            halves[channel, number - first : number - first + 2] += block.reshape(2, hop)
    # Block n covers half blocks n - 1 and n.
    skipped = hop + begin - first * hop
    return halves.reshape(channels, -1)[:, skipped : skipped + samples]


def _block(shape: np.ndarray, seed: int, channel: int, number: int) -> np.ndarray:
    import scipy.fft

    hop = len(shape) - 1
    counter = [0, 0, 0, number]
    generator = np.random.Generator(np.random.Philox(key=[seed, channel], counter=counter))
    drawn = generator.standard_normal(2 * hop, dtype=np.float32)
    spectrum = np.zeros(hop + 1, np.complex64)
    spectrum.real[1:] = drawn[:hop]
    spectrum.imag[1:-1] = drawn[hop + 1 :]
    block: np.ndarray = scipy.fft.irfft(spectrum * shape, 2 * hop)
    return block * _window(2 * hop)


@lru_cache(maxsize=8)
def _shape(colour: str, sample_rate: int) -> np.ndarray:
    """Return the amplitude of each line of a block's spectrum, [lines]; noise of variance 1."""
    size = 1 << int(np.ceil(np.log2(max(16, _SECONDS * sample_rate))))
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    amplitude = np.maximum(frequencies, _LOWEST) ** (COLOURS[colour] / 2)
    amplitude[0] = 0.0
    # Of irfft's real output: lines count twice but the last, each with two Gaussian parts.
    variance = (4 * (amplitude[1:-1] ** 2).sum() + amplitude[-1] ** 2) / size**2
    shaped: np.ndarray = (amplitude / np.sqrt(variance)).astype(np.float32)
    return shaped


@lru_cache(maxsize=4)
def _window(size: int) -> np.ndarray:
    window: np.ndarray = np.sin(np.pi * (np.arange(size) + 0.5) / size).astype(np.float32)
    return window

"""Mel-frequency cepstral coefficients and their differences over time.

Goal: the numbers of `librosa.feature.mfcc` and `librosa.feature.delta` 0.11. The coefficients
are the orthonormal DCT-II over the bands of a logarithmic mel spectrogram (Davis and
Mermelstein, 1980); the differences are slopes and curvatures of polynomials fitted over
`delta_width` frames (Savitzky and Golay, 1964), or plain differences of neighbouring frames.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from mt_tools.features.mel import mel
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.stft import Array


def mfcc(wave: Array, settings: FeatureSettings) -> Array:
    """Return the coefficients with `settings.deltas` orders of differences stacked below them.

    Without `settings.static` the differences stand alone. Shape: wave `[channels, samples]` ->
    `[output_bands, frames]` for `mono`, with two channels in front for `stereo`. Raises `RowError`
    (`too-short`) for no samples.
    """
    cepstrum = scipy.fft.dct(mel(wave, settings), type=2, norm="ortho", axis=-2)
    coefficients = cepstrum[..., : settings.n_mfcc, :]
    stack = [coefficients] if settings.static else []
    for order in range(1, settings.deltas + 1):
        stack.append(delta(coefficients, settings.delta_width, order))
    return np.concatenate(stack, axis=-2)


def delta(frames: Array, width: int = 9, order: int = 1) -> Array:
    """Return the time derivative of an order, fitted over `width` (odd) frames around each.

    The first and last frames take the polynomial of the first and last `width` frames; where
    there are fewer than `width` in all, the end frames are repeated instead. A width of 2 stands
    for the difference from the frame before, the first frame repeated before itself. Shape:
    `[..., frames]`, kept.
    """
    if width == 2:
        before = np.concatenate([frames[..., :1]] * order + [frames], axis=-1)
        return np.diff(before, n=order, axis=-1).astype(np.float32, copy=False)
    from scipy.signal import savgol_filter  # imported on use: it costs half a second

    mode = "interp" if frames.shape[-1] >= width else "nearest"
    derivative = savgol_filter(frames, width, polyorder=order, deriv=order, axis=-1, mode=mode)
    return derivative.astype(np.float32, copy=False)

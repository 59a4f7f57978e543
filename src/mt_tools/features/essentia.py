"""Song descriptors of Essentia: loudness, spectrum, timbre, rhythm and harmony, a vector a song.

Goal: the song features of the AGF study (its group e), and a strong hand-made baseline.

Source: the algorithm MusicExtractor of Essentia 2.1 (Bogdanov et al., "Essentia: an audio analysis
library for music information retrieval", ISMIR 2013), the package `essentia`. AGF section 3.1.3
keeps the 4,374 values that no song lacked, of a release that it does not name, and does not list
them. Ours is the fixed list `registry.ESSENTIA`, of which each gives a mean and a deviation over
frames where it has frames; left out are what changes its length with the song (the beats), what is
said twice (128 mel bands beside 40), and words (names of keys).
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

from mt_tools.errors import RowError, UsageError
from mt_tools.features.registry import ESSENTIA
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.stft import Array, mix

SAMPLE_RATE = 44100
_STATISTICS = ["mean", "stdev"]


def describe(wave: Array, settings: FeatureSettings) -> Array:
    """Return the descriptors of a song.

    Shape: wave `[channels, samples]` at 44.1 kHz -> a vector in the order of `ESSENTIA`.
    Raises `UsageError` where Essentia is not installed, and `RowError`: `too-short` for no samples,
    `silent` for sound that has nothing to describe.
    """
    from scipy.io import wavfile

    extractor = _extractor()
    wave = mix(wave, settings.channels)
    if not wave.size:
        raise RowError("no samples to describe: expected at least one", "too-short")
    # The extractor reads files only.
    handle, path = tempfile.mkstemp(suffix=".wav")
    os.close(handle)
    try:
        wavfile.write(path, SAMPLE_RATE, np.ascontiguousarray(wave.T, dtype=np.float32))
        found, _ = extractor(path)
    except RuntimeError as error:
        message = str(error)
        kind = "silent" if "silent" in message else "failed"
        raise RowError(f"Essentia: {message}", kind) from error
    finally:
        os.unlink(path)
    return np.concatenate([_values(found[name], name) for name in ESSENTIA])


def _values(value: Any, name: str) -> Array:
    values = np.atleast_1d(np.asarray(value, dtype=np.float32))
    if values.shape != (ESSENTIA[name],):
        raise RowError(
            f"Essentia gave {values.size} values of {name}, expected {ESSENTIA[name]}: this is "
            "another release of it than mt-tools knows"
        )
    return values


def _extractor() -> Any:
    try:
        import essentia

        essentia.log.infoActive = essentia.log.warningActive = False
        from essentia.standard import MusicExtractor
    except ImportError as error:
        raise UsageError(
            "the descriptors need the package essentia: pip install 'mt-tools[essentia]'"
        ) from error
    return MusicExtractor(
        **{f"{group}Stats": _STATISTICS for group in ("lowlevel", "tonal", "mfcc", "gfcc")},
        rhythmStats=_STATISTICS,
    )

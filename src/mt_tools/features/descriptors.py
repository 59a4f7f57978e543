"""Song descriptors of Essentia: loudness, spectrum, timbre, rhythm and harmony, a vector a song.

Goal: the song features of the AGF study (its group e), and a strong hand-made baseline.

Source: the algorithm MusicExtractor of Essentia 2.1 (Bogdanov et al., "Essentia: an audio analysis
library for music information retrieval", ISMIR 2013), the package `essentia`. AGF section 3.1.3
keeps the 4,374 values that no song lacked, of a release that it does not name, and does not list
them. Ours is the fixed list `DESCRIPTORS`, of which each gives a mean and a deviation over frames
where it has frames; left out are what changes its length with the song (the beats), what is said
twice (128 mel bands beside 40), and words (names of keys).
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

from mt_tools.errors import RowError, UsageError
from mt_tools.features.mel import Array, mix
from mt_tools.features.settings import FeatureSettings

SAMPLE_RATE = 44100
_STATISTICS = ("mean", "stdev")

# Of frames: the values of one.
_FRAMES = {
    **dict.fromkeys(
        [
            f"lowlevel.{bands}_{shape}"
            for bands in ("barkbands", "erbbands", "melbands")
            for shape in ("crest", "flatness_db", "kurtosis", "skewness", "spread")
        ],
        1,
    ),
    **dict.fromkeys(
        [
            f"lowlevel.spectral_{name}"
            for name in (
                "centroid", "complexity", "decrease", "energy", "energyband_high",
                "energyband_low", "energyband_middle_high", "energyband_middle_low", "entropy",
                "flux", "kurtosis", "rms", "rolloff", "skewness", "spread", "strongpeak",
            )
        ],
        1,
    ),
    "lowlevel.dissonance": 1,
    "lowlevel.hfc": 1,
    "lowlevel.loudness_ebu128.momentary": 1,
    "lowlevel.loudness_ebu128.short_term": 1,
    "lowlevel.pitch_salience": 1,
    "lowlevel.silence_rate_20dB": 1,
    "lowlevel.silence_rate_30dB": 1,
    "lowlevel.silence_rate_60dB": 1,
    "lowlevel.zerocrossingrate": 1,
    "lowlevel.barkbands": 27,
    "lowlevel.erbbands": 40,
    "lowlevel.melbands": 40,
    "lowlevel.gfcc": 13,
    "lowlevel.mfcc": 13,
    "lowlevel.spectral_contrast_coeffs": 6,
    "lowlevel.spectral_contrast_valleys": 6,
    "tonal.chords_strength": 1,
    "tonal.hpcp": 36,
    "tonal.hpcp_crest": 1,
    "tonal.hpcp_entropy": 1,
}  # fmt: skip
# Of the whole song.
_WHOLE = {
    "lowlevel.average_loudness": 1,
    "lowlevel.dynamic_complexity": 1,
    "lowlevel.loudness_ebu128.integrated": 1,
    "lowlevel.loudness_ebu128.loudness_range": 1,
    "rhythm.bpm": 1,
    "rhythm.danceability": 1,
    "rhythm.onset_rate": 1,
    "tonal.chords_changes_rate": 1,
    "tonal.chords_histogram": 24,
    "tonal.chords_number_rate": 1,
    "tonal.key_edma.strength": 1,
    "tonal.key_krumhansl.strength": 1,
    "tonal.key_temperley.strength": 1,
    "tonal.thpcp": 36,
    "tonal.tuning_diatonic_strength": 1,
    "tonal.tuning_equal_tempered_deviation": 1,
    "tonal.tuning_frequency": 1,
    "tonal.tuning_nontempered_energy_ratio": 1,
}

DESCRIPTORS: dict[str, int] = {
    **{f"{name}.{how}": size for name, size in _FRAMES.items() for how in _STATISTICS},
    **_WHOLE,
}
"""Name and number of values of each descriptor, in the order of the vector."""

WIDTH = sum(DESCRIPTORS.values())


def describe(wave: Array, settings: FeatureSettings) -> Array:
    """Return the descriptors of a song.

    Shape: wave `[channels, samples]` at 44.1 kHz -> `[WIDTH]`, in the order of `DESCRIPTORS`.
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
    return np.concatenate([_values(found[name], name) for name in DESCRIPTORS])


def _values(value: Any, name: str) -> Array:
    values = np.atleast_1d(np.asarray(value, dtype=np.float32))
    if values.shape != (DESCRIPTORS[name],):
        raise RowError(
            f"Essentia gave {values.size} values of {name}, expected {DESCRIPTORS[name]}: this is "
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
        **{f"{group}Stats": list(_STATISTICS) for group in ("lowlevel", "tonal", "mfcc", "gfcc")},
        rhythmStats=list(_STATISTICS),
    )

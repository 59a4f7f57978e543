"""Tempo and beats of a song, by librosa.

Goal: what a DJ sorts by, and an attribute of REP's kind (its bpm source), without an estimator of
our own.

Source: Ellis, "Beat tracking by dynamic programming", 2007, as `librosa.beat.beat_track` of librosa
0.11 has it, with its prior about 120 beats a minute; fed with our own onset strength, which is
librosa's, in bounded memory. The package `librosa` is an extra, imported on use.

Conventions: of the average of the channels; frames as of `stft`, so `hop` is the resolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.features.descriptors import onset_strength
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.stft import Array, mix, refuse_empty


def tempo(wave: Array, settings: FeatureSettings) -> Array:
    """Return tempo, number of beats, mean and deviation of the time between, and the first beat.

    Shape: wave `[channels, samples]` -> `[5]`, in the order of `registry.TEMPO`; zeros where no
    beat is found. Raises `UsageError` where librosa is not installed, `RowError` (`too-short`) for
    no samples.
    """
    refuse_empty(wave)
    beat_track = _beat_track()
    strength = onset_strength(mix(wave, "mono")[0], settings)
    if not strength.any():
        return np.zeros(5, dtype=np.float32)
    found, beats = beat_track(
        onset_envelope=strength, sr=settings.sample_rate, hop_length=settings.hop, units="time"
    )
    if not len(beats):
        return np.zeros(5, dtype=np.float32)
    between = np.diff(beats) if len(beats) > 1 else np.zeros(1)
    values = (np.ravel(found)[0], len(beats), between.mean(), between.std(), beats[0])
    return np.array(values, dtype=np.float32)


def _beat_track() -> Any:
    try:
        from librosa.beat import beat_track
    except ImportError as error:
        raise UsageError(
            "tempo and beats need the package librosa: pip install 'mt-tools[librosa]'"
        ) from error
    return beat_track

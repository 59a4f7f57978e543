"""The kinds of features, one row a kind: which settings enter it, what a vector of it holds.

Kinds without a width have frames, `[bands, frames]`; the others are one vector an excerpt, whose
values stand here by name. Standard library only: the settings, and so every `--help`, read this.
"""

from __future__ import annotations

from dataclasses import dataclass

TEMPO = ("tempo", "beats", "interval", "interval_std", "first_beat")
"""Beats a minute, as estimated; beats found; mean and deviation of the seconds from one to the
next, of which 60 / mean is the finer tempo; seconds to the first. All 0 where there is no beat."""

LOUDNESS = ("integrated", "range", "momentary_max", "short_term_max")
"""LUFS, LU, LUFS, LUFS; -70 where all is below that, the gate of the standard."""

OF_FRAMES = (
    "rms",
    "zero_crossing_rate",
    "spectral_centroid",
    "spectral_bandwidth",
    "spectral_rolloff",
    "spectral_flatness",
    "onset_strength",
)
"""Descriptors of single frames, of which a song has the mean and the deviation."""

DESCRIPTORS = (
    *(f"{name}_{statistic}" for statistic in ("mean", "std") for name in OF_FRAMES),
    "crest_factor",
    "dynamic_range",
    "low_energy",
    "onset_rate",
)
"""The last four are of the song: decibels of its peak over its RMS; decibels between the 10th and
the 95th percentile of the frames' RMS; share of frames below the mean RMS; onsets a second."""

_STATISTICS = ("mean", "stdev")

# Of frames: the values of one.
_ESSENTIA_FRAMES = {
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
_ESSENTIA_WHOLE = {
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

ESSENTIA: dict[str, int] = {
    **{f"{name}.{how}": size for name, size in _ESSENTIA_FRAMES.items() for how in _STATISTICS},
    **_ESSENTIA_WHOLE,
}
"""Name and number of values of each descriptor, in the order of the vector."""

_FRAMING = ("n_fft", "win_length", "hop", "window", "centre", "pad")
_SPECTRUM = (*_FRAMING, "exponent", "summary")
_SCALE = ("scale", "floor", "top_db", "reference", "compression")
_MEL = ("bands", "fmin", "fmax", "mel_scale", "mel_norm", "mel_exponent")
_CEPSTRUM = ("n_mfcc", "static", "deltas", "delta_width")
_CHROMA = ("n_chroma", "chroma_norm", "tuning")


@dataclass(frozen=True)
class Kind:
    """The settings that enter a kind beside its rate, and the width of its vector.

    A width of 0 means frames. `channels` tells whether left and right can be kept apart.
    """

    settings: tuple[str, ...] = ()
    width: int = 0
    channels: bool = True


KINDS: dict[str, Kind] = {
    "mel": Kind((*_SPECTRUM, *_MEL, *_SCALE)),
    "mfcc": Kind((*_SPECTRUM, *_MEL, *_SCALE, *_CEPSTRUM)),
    "stft": Kind((*_SPECTRUM, "fmin", "fmax", *_SCALE)),
    "chroma": Kind((*_SPECTRUM, *_CHROMA)),
    "tempo": Kind(_FRAMING, len(TEMPO), channels=False),
    "loudness": Kind((), len(LOUDNESS), channels=False),
    "descriptors": Kind(_FRAMING, len(DESCRIPTORS), channels=False),
    "essentia": Kind((), sum(ESSENTIA.values())),
    "wave": Kind(),
}

OPTIONAL = {name for kind in KINDS.values() for name in kind.settings}
"""The settings that enter some kinds and not others."""

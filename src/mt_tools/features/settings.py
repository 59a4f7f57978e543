"""Every number that changes a feature, and the presets of the studies.

A `FeatureSettings` travels with the features it made (as JSON, in the table) and with the model
that was trained on them, so that the two can be compared before they meet. Times are seconds,
frequencies hertz, windows and hops samples at `sample_rate`. A zero stands for "as the rest
implies": `win_length` 0 is `n_fft`, `fmax` 0 is half the rate, `top_db` 0 is no limit.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mt_tools.errors import UsageError
from mt_tools.settings import differences, setting

EXCERPT_KINDS = ("first", "centre", "segment")

_SPECTRUM = "Spectrum"
_MEL = "Mel bands"
_MFCC = "Cepstrum"
_SHAPE = "Excerpt and shape"


@dataclass(frozen=True)
class FeatureSettings:
    """What is computed from a waveform, down to the last number.

    The defaults are those of `librosa.feature.melspectrogram` followed by `power_to_db`.
    Raises `UsageError` for a value, or a combination of values, that cannot be computed.
    """

    kind: str = setting(
        "mel",
        "What to compute; wave is the waveform as it is, essentia a vector of descriptors.",
        choices=("mel", "mfcc", "wave", "essentia"),
    )
    sample_rate: int = setting(
        22050, "Rate in Hz that the audio is resampled to.", minimum=1, panel=_SPECTRUM
    )
    channels: str = setting(
        "mono",
        "Average the channels, or keep left and right apart.",
        choices=("mono", "stereo"),
        panel=_SPECTRUM,
    )
    n_fft: int = setting(
        2048, "Length in samples of the Fourier transform.", minimum=2, panel=_SPECTRUM
    )
    win_length: int = setting(
        0, "Length in samples of the window; 0 = --n-fft.", minimum=0, panel=_SPECTRUM
    )
    hop: int = setting(512, "Samples from one frame to the next.", minimum=1, panel=_SPECTRUM)
    window: str = setting(
        "hann", "Shape of the window.", choices=("hann", "hamming"), panel=_SPECTRUM
    )
    centre: bool = setting(
        True,
        "Centre frame t on sample t x hop, padding both ends.",
        flags=("--centred/--no-centred",),
        panel=_SPECTRUM,
    )
    pad: str = setting(
        "constant",
        "How --centre pads: with zeros, or with the signal mirrored.",
        choices=("constant", "reflect"),
        panel=_SPECTRUM,
    )
    exponent: float = setting(
        2.0, "Power of the spectrum: 2 = power, 1 = magnitude.", minimum=0.0, panel=_SPECTRUM
    )
    bands: int = setting(128, "Number of mel bands.", minimum=1, panel=_MEL)
    fmin: float = setting(0.0, "Lower edge in Hz of the lowest band.", minimum=0.0, panel=_MEL)
    fmax: float = setting(
        0.0, "Upper edge in Hz of the highest band; 0 = half the rate.", minimum=0.0, panel=_MEL
    )
    mel_scale: str = setting(
        "slaney", "Formula from Hz to mel.", choices=("slaney", "htk"), panel=_MEL
    )
    mel_norm: str = setting(
        "slaney",
        "Divide each band by its width (slaney), or let it peak at 1 (none).",
        choices=("slaney", "none"),
        panel=_MEL,
    )
    mel_exponent: float = setting(
        1.0,
        "Power the mel bands are raised to before the logarithm (Music Auto-Tagger: 2).",
        minimum=0.0,
        panel=_MEL,
    )
    scale: str = setting(
        "dB",
        "Leave the bands as they are, take the natural logarithm, or decibels.",
        choices=("power", "log", "dB"),
        panel=_MEL,
    )
    floor: float = setting(
        1e-10, "Smallest value that enters the logarithm.", minimum=0.0, panel=_MEL
    )
    top_db: float = setting(
        80.0,
        "Decibels kept below the maximum of the excerpt; 0 = all of them. With --scale dB.",
        minimum=0.0,
        panel=_MEL,
    )
    reference: str = setting(
        "one",
        "What a logarithm of 0 means: the value 1, or the maximum of the excerpt.",
        choices=("one", "max"),
        panel=_MEL,
    )
    n_mfcc: int = setting(
        20, "Number of cepstral coefficients. With --kind mfcc.", minimum=1, panel=_MFCC
    )
    deltas: int = setting(
        0,
        "Orders of differences stacked on the coefficients: 0, 1 or 2. With --kind mfcc.",
        minimum=0,
        maximum=2,
        panel=_MFCC,
    )
    delta_width: int = setting(
        9, "Frames (odd) that a difference is fitted over.", minimum=3, panel=_MFCC
    )
    summary: str = setting(
        "none",
        "One vector of statistics over the frames, in place of the frames.",
        choices=("none", "mean", "mean+std"),
        panel=_SHAPE,
    )
    excerpt: str = setting(
        "whole",
        "Part of a track: whole, first:S, centre:S, segment:S (all parts), or segment:S:HOP.",
        metavar="PART",
        panel=_SHAPE,
    )
    frames: int = setting(
        0,
        "Cut, or pad with silence, to this many frames; 0 = as many as the excerpt gives.",
        minimum=0,
        panel=_SHAPE,
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            # So that `exponent = 2` in a file is the same setting, byte for byte, as `2.0`.
            if isinstance(field.default, float) and type(getattr(self, field.name)) is int:
                object.__setattr__(self, field.name, float(getattr(self, field.name)))
        self.validate()

    def validate(self) -> None:
        """Raise `UsageError` unless every value, and all of them together, can be computed."""
        for field in dataclasses.fields(self):
            _validate_field(field, getattr(self, field.name))
        if self.win_length > self.n_fft:
            raise UsageError(
                f"win_length {self.win_length} is longer than n_fft {self.n_fft}: "
                "choose a shorter window or a longer transform"
            )
        if self.fmax > self.sample_rate / 2:
            raise UsageError(
                f"fmax {self.fmax:g} Hz is above {self.sample_rate / 2:g} Hz, half the sample "
                "rate: lower it, or 0 for half the rate"
            )
        if self.fmin >= self.resolved_fmax:
            raise UsageError(
                f"fmin {self.fmin:g} Hz is not below fmax {self.resolved_fmax:g} Hz: lower it"
            )
        if self.exponent == 0 or self.mel_exponent == 0:
            raise UsageError("exponent and mel_exponent must be above 0: 2 is power, 1 magnitude")
        if self.floor == 0 and self.scale != "power":
            raise UsageError("floor 0 has no logarithm: choose a small number such as 1e-10")
        if self.kind == "mfcc" and self.scale == "power":
            raise UsageError("a cepstrum needs a logarithm: choose scale log or dB, got power")
        if self.kind == "mfcc" and self.n_mfcc > self.bands:
            raise UsageError(
                f"n_mfcc {self.n_mfcc} coefficients out of {self.bands} mel bands: at most as "
                "many as bands"
            )
        if self.delta_width % 2 == 0:
            raise UsageError(f"delta_width must be odd, got {self.delta_width}")
        if self.kind == "essentia" and self.sample_rate != 44100:
            raise UsageError(
                f"Essentia describes sound at 44,100 Hz, got sample_rate {self.sample_rate}: say "
                "--sample-rate 44100"
            )
        if self.kind in ("wave", "essentia") and (self.summary != "none" or self.frames):
            raise UsageError(f"kind {self.kind} has no frames: leave out summary and frames")
        hop = round(self.excerpt_hop * self.sample_rate)
        if self.excerpt_samples == 0 or (self.excerpt_hop and not hop):
            raise UsageError(f"excerpt {self.excerpt!r} is shorter than one sample: make it longer")

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FeatureSettings:
        """Build settings from `to_json`'s dictionary; absent fields take their defaults.

        Raises `UsageError` that names every unknown field.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = [name for name in values if name not in known]
        if unknown:
            close = [difflib.get_close_matches(name, known, 1) for name in unknown]
            hints = [
                f"{name} (is it {near[0]}?)" if near else name
                for name, near in zip(unknown, close, strict=True)
            ]
            raise UsageError(
                f"unknown feature settings: {', '.join(hints)}; known: {', '.join(known)}"
            )
        return cls(**values)

    def compatible(self, expected: FeatureSettings) -> list[str]:
        """Spell out what keeps these features out of a model that expects others; [] = nothing.

        Excerpt and number of frames are left out: networks take any length. So is a setting that
        cannot change the result, such as `top_db` of a natural logarithm.
        """
        return differences(self._effective(), expected._effective())

    @property
    def column(self) -> str:
        """Name of the column that holds these features."""
        return self.kind

    @property
    def output_bands(self) -> int:
        """Rows of the features: mel bands, or coefficients with their differences."""
        if self.kind == "mfcc":
            return self.n_mfcc * (1 + self.deltas)
        return self.bands

    @property
    def resolved_fmax(self) -> float:
        """Upper edge in Hz of the highest band."""
        return self.fmax or self.sample_rate / 2

    @property
    def resolved_win_length(self) -> int:
        """Length in samples of the window."""
        return self.win_length or self.n_fft

    @property
    def excerpt_part(self) -> tuple[str, float]:
        """The excerpt as (`whole`, 0) or (`first`, `centre` or `segment`, seconds)."""
        return _parse_excerpt(self.excerpt)[:2]

    @property
    def excerpt_hop(self) -> float:
        """Seconds from the start of a segment to that of the next."""
        return _parse_excerpt(self.excerpt)[2]

    @property
    def excerpt_seconds(self) -> float | None:
        """Seconds of an excerpt; None = as long as the track."""
        return self.excerpt_part[1] or None

    @property
    def excerpt_samples(self) -> int | None:
        """Samples of an excerpt at `sample_rate`; None = as long as the track."""
        seconds = self.excerpt_seconds
        return None if seconds is None else round(seconds * self.sample_rate)

    def frames_for(self, seconds: float) -> int:
        """Return the number of frames that `seconds` of audio give."""
        return self.frames or self.frames_of(round(seconds * self.sample_rate))

    def frames_of(self, samples: int) -> int:
        """Return the number of frames of `samples` at `sample_rate`, before `frames` applies.

        Centred, there is one every `hop` from the first sample on; otherwise only whole ones
        count, and a signal shorter than one frame is padded with zeros to one.
        """
        padding = 2 * (self.n_fft // 2) if self.centre else 0
        return 1 + max(0, samples + padding - self.n_fft) // self.hop

    def _effective(self) -> dict[str, Any]:
        """Return the settings that shape a frame, with what is implied written out."""
        values = self.to_json()
        del values["excerpt"], values["frames"]
        values["win_length"] = self.resolved_win_length
        values["fmax"] = self.resolved_fmax
        if self.kind in ("wave", "essentia"):
            return {name: values[name] for name in ("kind", "sample_rate", "channels")}
        without_effect = []
        if not self.centre:
            without_effect += ["pad"]
        if self.scale == "power":
            without_effect += ["floor", "reference"]
        if self.scale != "dB":
            without_effect += ["top_db"]
        if self.kind != "mfcc":
            without_effect += ["n_mfcc", "deltas"]
        if self.kind != "mfcc" or not self.deltas:
            without_effect += ["delta_width"]
        for name in without_effect:
            values[name] = None
        return values


def _parse_excerpt(text: str) -> tuple[str, float, float]:
    """Split `first:30` into its kind, its seconds, and the seconds from a segment to the next."""
    if text == "whole":
        return "whole", 0.0, 0.0
    kind, *numbers = text.split(":")
    try:
        times = [float(number) for number in numbers]
    except ValueError:
        times = []
    most = 2 if kind == "segment" else 1
    if (
        kind not in EXCERPT_KINDS
        or not 1 <= len(times) <= most
        or not all(0 < seconds < math.inf for seconds in times)
    ):
        raise UsageError(
            f"excerpt {text!r}: expected whole, or first:S, centre:S, segment:S with S seconds "
            "above 0, such as first:30, or segment:S:H with H seconds from one to the next"
        )
    return kind, times[0], times[-1]


def _validate_field(field: dataclasses.Field[Any], value: Any) -> None:
    """Raise `UsageError` unless a value has its field's type and lies within its bounds."""
    expected = type(field.default)
    if type(value) is not expected:
        raise UsageError(f"{field.name}: expected {expected.__name__}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{field.name}: expected a finite number, got {value!r}")
    choices, minimum, maximum = (field.metadata[key] for key in ("choices", "minimum", "maximum"))
    if choices and value not in choices:
        raise UsageError(f"{field.name}: expected one of {', '.join(choices)}, got {value!r}")
    if minimum is not None and value < minimum:
        raise UsageError(f"{field.name}: expected at least {minimum:g}, got {value:g}")
    if maximum is not None and value > maximum:
        raise UsageError(f"{field.name}: expected at most {maximum:g}, got {value:g}")


@dataclass(frozen=True)
class Preset:
    """Settings of a study, with one line that says which and where."""

    settings: FeatureSettings
    source: str


PRESETS: dict[str, Preset] = {
    # The Music Auto-Tagger took decibels of the squared mel power, with the librosa of 2016, which
    # padded by reflection. Its published melgrams are the test of this preset.
    "choi2016": Preset(
        FeatureSettings(
            sample_rate=12000,
            n_fft=512,
            hop=256,
            pad="reflect",
            bands=96,
            mel_exponent=2.0,
            excerpt="centre:29.12",
        ),
        "Music Auto-Tagger of Keunwoo Choi (2016), audio_processor.py: 96 x 1,366 for 29.12 s",
    ),
    # Stated: 48 bands, hop 1,024, 87 s, input 48 x 1,874. The text's 12 kHz would give 1,020
    # frames; 22.05 kHz gives the stated ones. Ours: window of 2,048, Slaney bands, decibels.
    "dj": Preset(
        FeatureSettings(hop=1024, bands=48, excerpt="first:87"),
        "Cycoń 2020, Transfer and multitask learning for music classification tasks, section 5.1 "
        "and Table 5.3: 48 x 1,874 for 87 s",
    ),
    # Stated (section 3.3): 128 bands, frames of 46 ms, half overlap, decibels, crops of 1 s.
    # Table 2 shows 43 frames; centred frames of 1 s are 44, so the last one is cut. Ours: 44.1 kHz
    # (2,048 samples are 46 ms), Slaney bands, reflection as librosa did in 2018.
    "agf": Preset(
        FeatureSettings(
            sample_rate=44100, n_fft=2048, hop=1024, pad="reflect", excerpt="segment:1", frames=43
        ),
        "Kim et al. 2018, Transfer learning of artist group factors to musical genre "
        "classification, section 3.3 and Table 2: 128 x 43 for 1 s",
    ),
    # Stated (Table 4.1, eq. 2.8, algorithm 22): Hamming 512/256, 96 HTK bands of power, natural
    # logarithm, parts of 29.1 s = 1,366 frames with the tail dropped. Ours: the floor of the
    # logarithm, and librosa's defaults of 2017 for the norm of the bands and the padding.
    "seq": Preset(
        FeatureSettings(
            sample_rate=12000,
            n_fft=512,
            hop=256,
            window="hamming",
            pad="reflect",
            bands=96,
            mel_scale="htk",
            scale="log",
            excerpt="segment:29.12",
        ),
        "Sankaran 2017, Analyses of convolutional neural networks for automatic tagging of music "
        "tracks, Table 4.1: 96 x 1,366 for 29.12 s (its cepstra: --kind mfcc --n-mfcc 90)",
    ),
    # Stated (section 5.1): 44.1 kHz, 30 s, Hann 400/200, zero padding, 128 HTK bands, no
    # logarithm. It prints 6,625 and 6,225 frames; 30 s give 6,616. Ours: power, bands that
    # peak at 1.
    "reg": Preset(
        FeatureSettings(
            sample_rate=44100,
            n_fft=400,
            hop=200,
            mel_scale="htk",
            mel_norm="none",
            scale="power",
            excerpt="first:30",
        ),
        "Schmidt 2023, Reproduction of black-box music analysis algorithms, section 5.1: "
        "128 x 6,616 for 30 s",
    ),
    # Stated (sections 3.1.1 and 3.1.2): 1,024/256 at 22 kHz, 128 bands, decibels, stereo, 2.5 s.
    # "Magnitude" in the text; the authors' public code takes decibels of mel power, over both
    # channels at once, with librosa's defaults of 2018. Standardising is fitted apart.
    "rep": Preset(
        FeatureSettings(
            channels="stereo", n_fft=1024, hop=256, pad="reflect", excerpt="segment:2.5"
        ),
        "Kim et al. 2019, One deep music representation to rule them all?, section 3.1: "
        "2 x 128 x 216 for 2.5 s",
    ),
    # Kapre's layer inside the network (commit a3bde3e): power of 96 Slaney bands, frames around
    # samples padded with zeros, decibels below the maximum. Theirs is the maximum of a batch.
    "choi2017": Preset(
        FeatureSettings(
            sample_rate=12000,
            n_fft=512,
            hop=256,
            bands=96,
            reference="max",
            excerpt="first:29",
            frames=1360,
        ),
        "Choi et al. 2017, Transfer learning for music classification and regression tasks, "
        "easy_feature_extraction.py: 96 x 1,360 for 29 s",
    ),
    # Stated: 20 coefficients with first and second differences, mean and standard deviation.
    # Ours: librosa 0.11's defaults at the study's 22.05 kHz, differences by Savitzky-Golay. The
    # tables that Choi et al. (2017) published are of 12 kHz and plain differences of frames.
    "mfcc-rep": Preset(
        FeatureSettings(kind="mfcc", n_mfcc=20, deltas=2, summary="mean+std"),
        "Kim et al. 2019, as rep, section 4.4, after Choi et al. 2017: 120 values a track",
    ),
}


def preset(name: str) -> FeatureSettings:
    """Return the settings of a preset; an unknown name raises `UsageError` with the known ones."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name].settings

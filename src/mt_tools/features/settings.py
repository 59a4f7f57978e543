"""Every number that changes a feature.

A `FeatureSettings` travels with the features it made (as JSON, in the table) and with the model
that was trained on them, so that the two can be compared before they meet. Times are seconds,
frequencies hertz, windows and hops samples at `sample_rate`. A zero stands for "as the rest
implies": `win_length` 0 is `n_fft`, `fmax` 0 is half the rate, `top_db` 0 is no limit.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mt_tools.errors import UsageError
from mt_tools.features.registry import KINDS, OPTIONAL
from mt_tools.settings import differences, setting

# Numbers that stand after the kind of an excerpt, at least and at most.
_EXCERPT_NUMBERS = {
    "whole": (0, 0), "first": (1, 1), "centre": (1, 1), "range": (2, 2), "segment": (1, 2),
    "crops": (2, 3), "parts": (1, 2),
}  # fmt: skip

SEGMENTED = ("segment", "crops", "parts")
"""Excerpts of several parts a track, each a row of its own."""

_SPECTRUM = "Spectrum"
_MEL = "Mel bands"
_SCALE = "Scale"
_MFCC = "Cepstrum"
_CHROMA = "Chroma"
_SHAPE = "Excerpt and shape"


@dataclass(frozen=True)
class Excerpt:
    """Which part of a track, in seconds; what a kind has no use for is 0.

    | kind      | part                                                                          |
    |-----------|-------------------------------------------------------------------------------|
    | `whole`   | all of it                                                                     |
    | `first`   | the first `seconds`                                                           |
    | `centre`  | the middle `seconds`                                                          |
    | `range`   | `seconds` from `begin` on                                                     |
    | `segment` | `seconds` every `hop`, as many as fit                                         |
    | `crops`   | `count` times `seconds` at random places, drawn by `seed`                     |
    | `parts`   | `count` equal parts, or of each of them the middle `seconds`                  |
    """

    kind: str
    seconds: float = 0.0
    hop: float = 0.0
    begin: float = 0.0
    count: int = 0
    seed: int = 0

    @property
    def needs_length(self) -> bool:
        """Whether the places depend on how long the track is."""
        return self.kind not in ("whole", "first", "range")


@dataclass(frozen=True)
class FeatureSettings:
    """What is computed from a waveform, down to the last number.

    The defaults are those of `librosa.feature.melspectrogram` followed by `power_to_db`.
    Raises `UsageError` for a value, or a combination of values, that cannot be computed.
    """

    kind: str = setting(
        "mel",
        "What to compute: by frames (mel, mfcc, stft, chroma), a vector, or the wave itself.",
        choices=tuple(KINDS),
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
    fmin: float = setting(
        0.0, "Lower edge in Hz of the lowest band, or bin of an STFT.", minimum=0.0, panel=_MEL
    )
    fmax: float = setting(
        0.0,
        "Upper edge in Hz of the highest band or bin; 0 = half the rate.",
        minimum=0.0,
        panel=_MEL,
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
        "Values as they are, natural log, decibels, or compressed: log10(1 + C x value).",
        choices=("power", "log", "dB", "compressed"),
        panel=_SCALE,
    )
    floor: float = setting(
        1e-10, "Smallest value that enters the logarithm.", minimum=0.0, panel=_SCALE
    )
    top_db: float = setting(
        80.0,
        "Decibels kept below the maximum of the excerpt; 0 = all of them. With --scale dB.",
        minimum=0.0,
        panel=_SCALE,
    )
    reference: str = setting(
        "one",
        "Value whose logarithm is 0: one, max (of the excerpt), or a number.",
        metavar="one|max|X",
        panel=_SCALE,
    )
    compression: float = setting(
        10000.0, "C of --scale compressed.", minimum=0.0, metavar="C", panel=_SCALE
    )
    n_mfcc: int = setting(
        20, "Number of cepstral coefficients. With --kind mfcc.", minimum=1, panel=_MFCC
    )
    static: bool = setting(
        True, "Keep the coefficients themselves beside their differences.", panel=_MFCC
    )
    deltas: int = setting(
        0,
        "Orders of differences stacked on the coefficients: 0, 1 or 2. With --kind mfcc.",
        minimum=0,
        maximum=2,
        panel=_MFCC,
    )
    delta_width: int = setting(
        9,
        "Frames (odd) that a difference is fitted over; 2 = from one frame to the next.",
        minimum=2,
        panel=_MFCC,
    )
    n_chroma: int = setting(
        12, "Bins an octave, a multiple of 12, from C upwards.", minimum=12, panel=_CHROMA
    )
    chroma_norm: str = setting(
        "max",
        "What of each frame is brought to 1: its maximum, sum, or Euclidean length.",
        choices=("max", "l1", "l2", "none"),
        panel=_CHROMA,
    )
    tuning: str = setting(
        "0",
        "Bins that the music lies above A = 440 Hz, or estimate, from each excerpt.",
        metavar="T|estimate",
        panel=_CHROMA,
    )
    summary: str = setting(
        "none",
        "One vector of statistics over the frames, in place of the frames.",
        choices=("none", "mean", "mean+std"),
        panel=_SHAPE,
    )
    excerpt: str = setting(
        "whole",
        "Part of a track, such as first:30, range:29:58, segment:2.5 or crops:4:2.5.",
        metavar="PART",
        panel=_SHAPE,
    )
    short: str = setting(
        "pad",
        "To a track shorter than its excerpt: add silence, repeat it, or skip and report it.",
        choices=("pad", "repeat", "skip"),
        panel=_SHAPE,
    )
    transform: str = setting(
        "",
        "Fitted transform that the bands went through, as kind:rows:digest.",
        metavar="LABEL",
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
            value = getattr(self, field.name)
            # So that `exponent = 2` in a file is the same setting, byte for byte, as `2.0`.
            if isinstance(field.default, float) and type(value) is int:
                object.__setattr__(self, field.name, float(value))
            if field.name in ("tuning", "reference") and type(value) in (int, float):
                object.__setattr__(self, field.name, f"{value:.10g}")
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
        if self.exponent == 0 or self.mel_exponent == 0 or self.compression == 0:
            raise UsageError(
                "exponent, mel_exponent and compression must be above 0: 2 is power, 1 magnitude"
            )
        if self.floor == 0 and self.scale in ("log", "dB"):
            raise UsageError("floor 0 has no logarithm: choose a small number such as 1e-10")
        if self.reference not in ("one", "max") and not _above_zero(self.reference):
            raise UsageError(f"reference: expected one, max or a number, got {self.reference!r}")
        self._validate_kind()

    def _validate_kind(self) -> None:
        """Raise `UsageError` for settings that their kind cannot be computed with."""
        if self.kind == "mfcc" and self.scale == "power":
            raise UsageError("a cepstrum needs a logarithm: choose scale log or dB, got power")
        if self.kind == "stft" and not self.output_bands:
            raise UsageError(
                f"no bin of the STFT lies from {self.fmin:g} to {self.resolved_fmax:g} Hz: widen "
                f"them, or raise n_fft (bins are {self.sample_rate / self.n_fft:g} Hz apart)"
            )
        if self.kind == "mfcc" and self.n_mfcc > self.bands:
            raise UsageError(
                f"n_mfcc {self.n_mfcc} coefficients out of {self.bands} mel bands: at most as "
                "many as bands"
            )
        if self.delta_width % 2 == 0 and self.delta_width != 2:
            raise UsageError(f"delta_width must be odd, or 2, got {self.delta_width}")
        if not self.static and not self.deltas:
            raise UsageError("--no-static leaves nothing without differences: add --deltas 1 or 2")
        if self.n_chroma % 12:
            raise UsageError(f"n_chroma must be a multiple of 12, got {self.n_chroma}")
        if self.tuning != "estimate" and self.tuning_bins is None:
            raise UsageError(f"tuning: expected a number or estimate, got {self.tuning!r}")
        if self.kind == "essentia" and self.sample_rate != 44100:
            raise UsageError(
                f"Essentia describes sound at 44,100 Hz, got sample_rate {self.sample_rate}: say "
                "--sample-rate 44100"
            )
        if self.kind == "loudness" and self.sample_rate < 32000:
            raise UsageError(
                "loudness counts what sounds above "
                f"{self.sample_rate / 2:g} Hz too: say --sample-rate 48000, or --preset loudness"
            )
        if not KINDS[self.kind].channels and self.channels == "stereo":
            raise UsageError(
                f"kind {self.kind} is one vector of all channels: leave out --channels stereo"
            )
        if not self.has_frames and (self.summary != "none" or self.frames):
            raise UsageError(f"kind {self.kind} has no frames: leave out summary and frames")
        if self.transform and not re.fullmatch(r"[a-z]+:[1-9]\d*:[0-9a-f]+", self.transform):
            raise UsageError(f"transform: expected kind:rows:digest, got {self.transform!r}")
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
        differ = differences(self._effective(), expected._effective())
        if not expected.transform:
            return differ
        hint = " (mt-spec --apply FILE applies what was fitted before)"
        return [line + hint * line.startswith("transform:") for line in differ]

    @property
    def untransformed(self) -> FeatureSettings:
        """These features before any fitted transform."""
        return dataclasses.replace(self, transform="") if self.transform else self

    @property
    def column(self) -> str:
        """Name of the column that holds these features."""
        return self.kind

    @property
    def output_bands(self) -> int:
        """Rows of the features: bands, bins, or coefficients with their differences.

        Of a kind that is one vector, its values.
        """
        if self.transform:
            return int(self.transform.split(":")[1])
        if self.kind == "mfcc":
            return self.n_mfcc * (self.static + self.deltas)
        if self.kind == "stft":
            first, last = self.stft_bins
            return last - first
        if self.kind == "chroma":
            return self.n_chroma
        return KINDS[self.kind].width or self.bands

    @property
    def has_frames(self) -> bool:
        """Whether the kind has a value a band and frame, before any summary of the frames."""
        return not KINDS[self.kind].width and self.kind != "wave"

    @property
    def is_vector(self) -> bool:
        """Whether an excerpt gives one vector, by its kind or by a summary of its frames."""
        return KINDS[self.kind].width > 0 or self.summary != "none"

    @property
    def decoded_channels(self) -> int | None:
        """Channels to decode; None = those that the file has, which its loudness counts apart."""
        if self.kind == "loudness":
            return None
        return 2 if self.channels == "stereo" else 1

    @property
    def fits_half(self) -> bool:
        """Whether the values lie in the range of float16, as powers and frequencies do not."""
        if self.kind == "chroma":
            return self.chroma_norm != "none"
        if self.kind in ("mel", "stft"):
            return self.scale != "power"
        return self.kind in ("mfcc", "wave")

    @property
    def stft_bins(self) -> tuple[int, int]:
        """The bins of the transform that lie from `fmin` to `fmax`, as (first, behind the last)."""
        bins = 1 + self.n_fft // 2
        first = math.ceil(self.fmin * self.n_fft / self.sample_rate)
        last = math.floor(self.resolved_fmax * self.n_fft / self.sample_rate)
        return first, min(bins, last + 1)

    @property
    def tuning_bins(self) -> float | None:
        """Bins of chroma above A = 440 Hz; None where each excerpt's are estimated."""
        try:
            bins = float(self.tuning)
        except ValueError:
            return None
        return bins if math.isfinite(bins) else None

    @property
    def reference_value(self) -> float | None:
        """The value whose logarithm is 0; None where it is the maximum."""
        if self.reference == "max":
            return None
        return 1.0 if self.reference == "one" else float(self.reference)

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
        """The excerpt's kind and its seconds, 0 for as long as the track."""
        excerpt = parse_excerpt(self.excerpt)
        return excerpt.kind, excerpt.seconds

    @property
    def excerpt_hop(self) -> float:
        """Seconds from the start of a segment to that of the next."""
        return parse_excerpt(self.excerpt).hop

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

    def shape_for(self, seconds: float) -> tuple[int, ...]:
        """Return the shape of the features of `seconds` of audio."""
        channels = (2,) if self.channels == "stereo" else ()
        if self.kind == "wave":
            return (*channels, round(seconds * self.sample_rate))
        if not self.has_frames:
            return (self.output_bands,)
        if self.summary != "none":
            rows = math.prod((*channels, self.output_bands))
            return (2 * rows if self.summary == "mean+std" else rows,)
        return (*channels, self.output_bands, self.frames_for(seconds))

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
        del values["excerpt"], values["short"], values["frames"]
        values["win_length"] = self.resolved_win_length
        values["fmax"] = self.resolved_fmax
        values["tuning"] = self.tuning_bins
        values["reference"] = self.reference_value
        kind = KINDS[self.kind]
        without_effect = OPTIONAL.difference(kind.settings)
        if not kind.channels:
            without_effect |= {"channels"}
        if not self.centre:
            without_effect |= {"pad"}
        if self.scale not in ("log", "dB"):
            without_effect |= {"floor", "reference"}
        if self.scale != "dB":
            without_effect |= {"top_db"}
        if self.scale != "compressed":
            without_effect |= {"compression"}
        if not self.deltas:
            without_effect |= {"delta_width"}
        for name in without_effect:
            values[name] = None
        return values


@lru_cache(maxsize=64)
def parse_excerpt(text: str) -> Excerpt:
    """Read the text of an excerpt; raises `UsageError` for one that names no part."""
    kind, *words = text.split(":")
    try:
        numbers = [float(word) for word in words]
        fewest, most = _EXCERPT_NUMBERS[kind]
    except (ValueError, KeyError):
        raise _no_excerpt(text) from None
    if not fewest <= len(numbers) <= most or not all(0 <= n < math.inf for n in numbers):
        raise _no_excerpt(text)
    count = seed = 0
    begin = 0.0
    if kind in ("crops", "parts"):
        number, seeds = numbers.pop(0), numbers[1:]
        del numbers[1:]
        if number < 1 or any(n != int(n) for n in (number, *seeds)):
            raise _no_excerpt(text)
        count, seed = int(number), int(seeds[0]) if seeds else 0
    elif kind == "range":
        begin, end = numbers
        numbers = [end - begin]
    if not all(n > 0 for n in numbers):
        raise _no_excerpt(text)
    seconds, hop = (numbers[0], numbers[-1]) if numbers else (0.0, 0.0)
    return Excerpt(kind, seconds, hop, begin, count, seed)


def _no_excerpt(text: str) -> UsageError:
    return UsageError(
        f"excerpt {text!r}: expected whole, or first:S, centre:S, segment:S with S seconds above "
        "0, such as first:30, segment:S:H with H seconds from one to the next, range:FROM:TO, "
        "crops:N:S for N random crops, parts:N or parts:N:S"
    )


def _above_zero(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


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

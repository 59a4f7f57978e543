"""The effects that a recipe can name: their values, units, ranges and texts.

Goal: one table (`EFFECTS`) that the grammar, the help, the checks and the random draws all come
from. What an effect does to sound is in `mt_tools.sound.effects`.

Conventions: an effect is a frozen dataclass; its fields are its values in the order of the text,
`noise=pink:20:7` being `Noise("pink", 20.0, 7)`. Values with a default may be left out at the end.
Standard library only, as `--help` prints the table.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from mt_tools.errors import UsageError

NUMBER, WHOLE, WORD, FILE, ROW = "number", "whole", "word", "file", "row"
"""The kinds of values: a real number, a whole one, one of some words, the path of a file, the id of
a row."""

SEEDS = 1_000_000
"""Seeds that noise is drawn from: few digits, as they stand in the ids of rows."""


def value(
    help: str,
    kind: str = NUMBER,
    *,
    metavar: str,
    default: Any = dataclasses.MISSING,
    minimum: float = 0.0,
    maximum: float = 0.0,
    digits: int = 0,
    octaves: bool = False,
    drawn: bool = False,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a value of an effect.

    Numbers lie from `minimum` to `maximum`. One that is drawn from a range is rounded to `digits`
    decimals; equal steps are equally likely, or with `octaves` equal ratios. `drawn` marks a value
    that is drawn wherever it is left out. `choices` are the words that a word may be.
    """
    metadata = {
        "help": help,
        "kind": kind,
        "metavar": metavar,
        "minimum": minimum,
        "maximum": maximum,
        "digits": digits,
        "octaves": octaves,
        "drawn": drawn,
        "choices": choices,
    }
    return dataclasses.field(default=default, metadata=metadata)


def frequency(help: str, metavar: str = "HZ") -> Any:
    """Declare a cut-off frequency."""
    return value(help, metavar=metavar, minimum=10, maximum=96_000, octaves=True)


def order() -> Any:
    """Declare the order of a filter; that of a Butterworth filter times 6 is its dB an octave."""
    return value(
        "order of the filter", WHOLE, metavar="ORDER", default=4, minimum=1, maximum=8
    )  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """One effect and its values; a value out of its range raises `UsageError`."""

    name: ClassVar[str]
    example: ClassVar[str]

    def __post_init__(self) -> None:
        for field in values_of(type(self)):
            checked = _checked(self.name, field, getattr(self, field.name))
            object.__setattr__(self, field.name, checked)

    @property
    def changes_nothing(self) -> bool:
        """Say whether the sound stays as it is."""
        return False

    def __str__(self) -> str:
        fields = list(values_of(type(self)))
        while fields and getattr(self, fields[-1].name) == fields[-1].default:
            fields.pop()
        words = [_text(field, getattr(self, field.name)) for field in fields]
        return "=".join([self.name, ":".join(words)]) if words else self.name


@dataclass(frozen=True)
class Crop(Effect):
    """A part of the track, 50% being half of it, which `start` and `duration` say; stands first."""

    name: ClassVar[str] = "crop"
    example: ClassVar[str] = "crop=10"
    seconds: float = value(
        "length of the part, or 50% of the track", metavar="SECONDS", minimum=0.001, maximum=86_400,
        digits=3,
    )  # fmt: skip
    start: float = value(
        "where it begins in the part that the row selects", metavar="START", default=0.0,
        maximum=86_400, digits=3, drawn=True,
    )  # fmt: skip


@dataclass(frozen=True)
class Pitch(Effect):
    """Shift in semitones, up when positive, at the same speed."""

    name: ClassVar[str] = "pitch"
    example: ClassVar[str] = "pitch=-2"
    semitones: float = value("shift", metavar="SEMITONES", minimum=-24, maximum=24, digits=2)

    @property
    def changes_nothing(self) -> bool:
        """Say whether the pitch stays."""
        return self.semitones == 0


@dataclass(frozen=True)
class Stretch(Effect):
    """Factor on the length at the same pitch: 1.1 lasts 10 % longer."""

    name: ClassVar[str] = "stretch"
    example: ClassVar[str] = "stretch=1.1"
    factor: float = value(
        "factor on the length", metavar="FACTOR", minimum=0.25, maximum=4, digits=3, octaves=True
    )

    @property
    def changes_nothing(self) -> bool:
        """Say whether the length stays."""
        return self.factor == 1


@dataclass(frozen=True)
class Gain(Effect):
    """Louder or softer by so many dB; nothing is clipped."""

    name: ClassVar[str] = "gain"
    example: ClassVar[str] = "gain=-6"
    decibels: float = value("change of level", metavar="DB", minimum=-60, maximum=60, digits=1)

    @property
    def changes_nothing(self) -> bool:
        """Say whether the level stays."""
        return self.decibels == 0


@dataclass(frozen=True)
class Polarity(Effect):
    """The wave upside down."""

    name: ClassVar[str] = "polarity"
    example: ClassVar[str] = "polarity"


@dataclass(frozen=True)
class Noise(Effect):
    """Noise so many dB below the track: white, pink (-3 dB/octave), brown (-6), blue, violet."""

    name: ClassVar[str] = "noise"
    example: ClassVar[str] = "noise=pink:20"
    colour: str = value(
        "spectrum", WORD, metavar="COLOUR", choices=("white", "pink", "brown", "blue", "violet")
    )
    snr: float = value("signal-to-noise ratio, dB", metavar="SNR", minimum=-30, maximum=100,
                       digits=1)  # fmt: skip
    seed: int = value(
        "which noise", WHOLE, metavar="SEED", default=0, maximum=SEEDS - 1, drawn=True
    )


@dataclass(frozen=True)
class Lowpass(Effect):
    """Only what is below a frequency, by a Butterworth filter."""

    name: ClassVar[str] = "lowpass"
    example: ClassVar[str] = "lowpass=4000"
    cutoff: float = frequency("frequency that is 3 dB down")
    order: int = order()


@dataclass(frozen=True)
class Highpass(Effect):
    """Only what is above a frequency, by a Butterworth filter."""

    name: ClassVar[str] = "highpass"
    example: ClassVar[str] = "highpass=200"
    cutoff: float = frequency("frequency that is 3 dB down")
    order: int = order()


@dataclass(frozen=True)
class Bandpass(Effect):
    """Only what is between two frequencies, by a Butterworth filter."""

    name: ClassVar[str] = "bandpass"
    example: ClassVar[str] = "bandpass=300:3400"
    low: float = frequency("lower frequency that is 3 dB down", "LOW")
    high: float = frequency("upper frequency that is 3 dB down", "HIGH")
    order: int = order()

    def __post_init__(self) -> None:
        super().__post_init__()
        # A narrower one rings for seconds.
        if self.high < 1.1 * self.low:
            raise UsageError(
                f"bandpass from {self.low:g} to {self.high:g} Hz: expected an upper frequency at "
                f"least a tenth above the lower one, such as bandpass={self.low:g}:"
                f"{2 * self.low:g}"
            )


@dataclass(frozen=True)
class Room(Effect):
    """Reverberation by an impulse response: an audio file, or any one of a folder."""

    name: ClassVar[str] = "room"
    example: ClassVar[str] = "room=halls/"
    file: str = value("impulse response", FILE, metavar="FILE")


@dataclass(frozen=True)
class Codec(Effect):
    """Lossy compression and back: mp3, vorbis or opus at so many kbit/s."""

    name: ClassVar[str] = "codec"
    example: ClassVar[str] = "codec=mp3:64"
    codec: str = value("kind", WORD, metavar="CODEC", choices=("mp3", "vorbis", "opus"))
    rate: float = value(
        "kbit/s of all channels together", metavar="KBPS", minimum=8, maximum=320, octaves=True
    )


@dataclass(frozen=True)
class Mix(Effect):
    """Another track so many dB below: a file, one of a folder; without FILE one of its split."""

    name: ClassVar[str] = "mix"
    example: ClassVar[str] = "mix=crowd/:15"
    file: str = value("the other track", FILE, metavar="FILE")
    snr: float = value("level of the track above it, dB", metavar="SNR", minimum=-30, maximum=100,
                       digits=1)  # fmt: skip


EFFECTS: dict[str, type[Effect]] = {
    kind.name: kind
    for kind in (
        Crop, Pitch, Stretch, Gain, Polarity, Noise, Lowpass, Highpass, Bandpass, Room, Codec, Mix,
    )
}  # fmt: skip


def values_of(kind: type[Effect]) -> tuple[dataclasses.Field[Any], ...]:
    """Return the fields of an effect's values, in the order of the text."""
    return dataclasses.fields(kind)


def needed(kind: type[Effect]) -> int:
    """Return how many values of an effect cannot be left out."""
    return sum(field.default is dataclasses.MISSING for field in values_of(kind))


def usage(kind: type[Effect]) -> str:
    """Return how an effect is written: `noise=COLOUR:SNR[:SEED]`."""
    values = _pattern(kind)
    return f"{kind.name}={values}" if values else kind.name


def described(kind: type[Effect]) -> str:
    """Return the values of an effect and what it does, for the help."""
    return f"{_pattern(kind)}. {kind.__doc__}".removeprefix(". ").rstrip(".")


def _pattern(kind: type[Effect]) -> str:
    words = [field.metadata["metavar"] for field in values_of(kind)]
    given = needed(kind)
    return ":".join(words[:given]) + "".join(f"[:{word}]" for word in words[given:])


def _checked(name: str, field: dataclasses.Field[Any], got: Any) -> Any:
    """Return a value as its kind says; raise `UsageError` where it cannot be."""
    meta = field.metadata
    what = f"{name}: {field.name}"
    if meta["kind"] == WORD:
        if got not in meta["choices"]:
            raise UsageError(f"{what} is {got!r}, expected one of {', '.join(meta['choices'])}")
        return got
    if meta["kind"] == FILE:
        if not got:
            raise UsageError(f"{what} is empty, expected a path, as in {name}=FILE")
        return got
    if meta["kind"] == ROW:
        return got
    number = float(got) + 0.0  # no negative zero
    low, high = meta["minimum"], meta["maximum"]
    whole = meta["kind"] == WHOLE
    if not (math.isfinite(number) and low <= number <= high) or (whole and number % 1):
        raise UsageError(
            f"{what} is {got:g}, expected a {'whole ' * whole}number from {low:g} to {high:g} "
            f"({meta['help']})"
        )
    return int(number) if whole else number


def _text(field: dataclasses.Field[Any], got: Any) -> str:
    """Print a value; of a number the shortest text that reads back to the same one."""
    kind = field.metadata["kind"]
    if kind in (FILE, ROW):
        return quote(got, safe="/")
    if kind != NUMBER:
        return str(got)
    text = repr(got).removesuffix(".0")
    return f"+{text}" if field.metadata["minimum"] < 0 and got > 0 and _is_shift(field) else text


def _is_shift(field: dataclasses.Field[Any]) -> bool:
    """Say whether a number is a change up or down, which is printed with its sign."""
    return bool(field.metadata["minimum"] == -field.metadata["maximum"])

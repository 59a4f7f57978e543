"""The styles of the made corpus, as data.

Goal: six styles that a listener tells apart, while no single cue decides: each range of tempo,
energy, swing and density, and each choice of instruments, overlaps those of other styles. They were
tuned so that MFCC statistics with logistic regression reach about 0.8 accuracy on 120 pieces
and 0.9 on 300 when no artist is on both sides of the split.

Conventions: a bar has four beats and sixteen steps, written as one character each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# A step is `X` accented, `x` played, `-` soft and only when the energy allows it, `.` silent.

_FOUR_ON_THE_FLOOR = {
    "kick": "X...X...X...X...",
    "snare": "....X.......X...",
    "closed": "x-.-x-.-x-.-x-.-",
    "open": "..x...x...x...x.",
}
_BACKBEAT = {
    "kick": "X.....x.X.....-.",
    "snare": "....X.......X...",
    "closed": "X.x.X.x.X.x.X.x.",
}
_DRIVING = {
    "kick": "X.x...x.X.x.....",
    "snare": "....X.......X..-",
    "ride": "X.x.X.x.X.x.X.x.",
}
_BREAK = {
    "kick": "X.x.......x..x..",
    "snare": "....X..-.-..X..-",
    "closed": "x.x.x.x.x.x.x.x.",
}
_HALF_TIME = {
    "kick": "X..x......x.....",
    "snare": "....X.......X...",
    "closed": "x.x.x.x.x.xxx.x-",
}
_SWING_RIDE = {
    "kick": "X.......-.......",
    "ride": "X...X.x.X...X.x.",
    "closed": "....x.......x...",
    "snare": "......-......--.",
}
_TRAIN = {
    "kick": "X.......x.......",
    "snare": "-.-.x.-.-.-.x.-.",
    "closed": "..x...x...x...x.",
}
_SPARSE = {
    "kick": "X.........-.....",
    "closed": "....-.......-...",
    "ride": "x.......-.......",
}
_PULSE = {
    "kick": "X.......x.......",
    "closed": "x.-.x.-.x.-.x.-.",
}


@dataclass(frozen=True)
class Style:
    """What the pieces of one style tend to be.

    Labels: `tempo` is the range in beats per minute, `energy` the mean.
    Harmony: `minor` is the chance of a minor key, `progressions` the degree (from 0) of each bar's
    chord by mode, `chord_tones` the notes of a chord (2: root and fifth).
    Rhythm: `grooves` give a pattern to each voice of the kit; `comping` (chords) and `bass_lines`
    are patterns too, and a bass line beginning with `walk` moves through the chord, where any
    other stays on root, fifth and octave. `swing` is the share that the first half of each
    `swing_unit` takes (1 beat: eighths swing, 0.5: sixteenths).
    Playing: `arpeggio` is the chance that chords are broken, `gate` the part of its time that a
    chord is held, `melody` the density of the melody, `drumless` the chance of no drums.
    Sound: `parts` weighs the instruments of each part; `mix` moves the level of parts and `tilt`
    the treble, in dB; `space` adds reverberation; `pump` is the chance that the kick ducks all.
    """

    tempo: tuple[float, float]
    energy: float
    minor: float
    chord_tones: int
    progressions: Mapping[str, Sequence[tuple[int, ...]]]
    grooves: Sequence[Mapping[str, str]]
    comping: Sequence[str]
    bass_lines: Sequence[str]
    parts: Mapping[str, Mapping[str, float]]
    mix: Mapping[str, float]
    swing: tuple[float, float] = (0.5, 0.52)
    swing_unit: float = 0.5
    arpeggio: float = 0.1
    gate: float = 0.8
    melody: float = 0.45
    drumless: float = 0.0
    pump: float = 0.0
    space: float = 0.0
    tilt: float = 0.0


_POP_MAJOR = ((0, 4, 5, 3), (0, 3, 4, 3), (0, 5, 3, 4))
_POP_MINOR = ((0, 5, 2, 6), (0, 6, 5, 6), (0, 3, 5, 6))

STYLES: Mapping[str, Style] = {
    "ambient": Style(
        tempo=(62, 104),
        energy=0.30,
        minor=0.5,
        chord_tones=4,
        progressions={"major": ((0, 0, 3, 3), (0, 0, 5, 3)), "minor": ((0, 0, 5, 5), (0, 0, 3, 6))},
        grooves=(_SPARSE, _SPARSE, _PULSE),
        comping=("X...............", "X.......x.......", "X...x...x...x..."),
        bass_lines=("X...............", "X.......x......."),
        parts={
            "kit": {"hand percussion": 7, "drum machine": 3, "brushes": 3},
            "bass": {"sub bass": 12, "synth bass": 1, "fingered bass": 1},
            "chords": {"strings": 18, "organ": 3, "electric piano": 3, "bells": 1},
            "lead": {"bells": 7, "flute": 7, "piano": 3, "synth lead": 3, "marimba": 1},
        },
        arpeggio=0.3,
        gate=1.0,
        melody=0.25,
        drumless=0.35,
        space=0.26,
        mix={"kit": -8.0, "bass": -1.0},
        tilt=-2.0,
    ),
    "folk": Style(
        tempo=(82, 136),
        energy=0.40,
        minor=0.3,
        chord_tones=3,
        progressions={"major": _POP_MAJOR, "minor": _POP_MINOR},
        grooves=(_TRAIN, _PULSE, _BACKBEAT),
        comping=("X...x.x...x.x.x.", "X.x.x.x.x.x.x.x.", "X...x...X...x..."),
        bass_lines=("X.......x.......", "X...x...X...x..."),
        parts={
            "kit": {"hand percussion": 25, "brushes": 3, "acoustic drums": 1},
            "bass": {"fingered bass": 25, "sub bass": 1},
            "chords": {"guitar": 40, "piano": 1, "organ": 1, "strings": 1},
            "lead": {"flute": 7, "clarinet": 3, "guitar": 7, "piano": 3, "strings": 1},
        },
        arpeggio=0.55,
        gate=0.95,
        melody=0.45,
        drumless=0.12,
        space=0.03,
        mix={"kit": -6.0, "bass": -2.0, "lead": 1.0},
        tilt=1.0,
    ),
    "hip-hop": Style(
        tempo=(74, 108),
        energy=0.50,
        minor=0.8,
        chord_tones=4,
        progressions={"major": ((0, 5, 3, 4), (0, 3, 0, 3)), "minor": ((0, 5, 0, 6), (0, 3, 5, 4))},
        grooves=(_HALF_TIME, _BREAK, _HALF_TIME),
        comping=("X.......x.....x.", "X.....x.........", "X...x...x...x..."),
        bass_lines=("X..x......x.....", "X.....x...x..x..", "X.........x....."),
        parts={
            "kit": {"drum machine": 25, "acoustic drums": 7, "brushes": 1},
            "bass": {"sub bass": 25, "fingered bass": 3, "synth bass": 1},
            "chords": {"electric piano": 25, "piano": 3, "strings": 3, "bells": 1, "guitar": 1},
            "lead": {"bells": 3, "flute": 3, "synth lead": 3, "marimba": 3, "piano": 1},
        },
        swing=(0.54, 0.62),
        gate=0.85,
        melody=0.35,
        pump=0.2,
        mix={"kit": 3.0, "bass": 4.0, "lead": -2.0},
        tilt=-2.5,
    ),
    "house": Style(
        tempo=(108, 134),
        energy=0.68,
        minor=0.7,
        chord_tones=4,
        progressions={"major": ((0, 5, 3, 4), (0, 0, 3, 3)), "minor": _POP_MINOR},
        grooves=(_FOUR_ON_THE_FLOOR,),
        comping=("..x..x....x..x..", "x..x..x...x...x.", "..x...x...x...x."),
        bass_lines=("..X...X...X...X.", "x..x..x...x..x..", "..xx..xx..xx..xx"),
        parts={
            "kit": {"drum machine": 40, "acoustic drums": 1, "hand percussion": 1},
            "bass": {"synth bass": 12, "sub bass": 7, "slap bass": 3},
            "chords": {"electric piano": 7, "organ": 7, "piano": 7, "strings": 3},
            "lead": {"synth lead": 7, "marimba": 3, "bells": 3, "flute": 1, "brass": 1},
        },
        swing=(0.5, 0.57),
        gate=0.6,
        melody=0.35,
        pump=0.7,
        mix={"kit": 4.0, "bass": 1.0},
    ),
    "jazz": Style(
        tempo=(92, 176),
        energy=0.45,
        minor=0.4,
        chord_tones=4,
        progressions={
            "major": ((0, 5, 1, 4), (1, 4, 0, 0), (0, 3, 1, 4)),
            "minor": ((0, 3, 4, 0), (1, 4, 0, 0), (0, 5, 1, 4)),
        },
        grooves=(_SWING_RIDE, _SWING_RIDE, _SWING_RIDE, _TRAIN),
        comping=("x.....x.........", "......x.......x.", "x.....x...x....."),
        bass_lines=("walk X...x...x...x...", "walk X...x...x...x.x.", "X.....x.X.....x."),
        parts={
            "kit": {"brushes": 18, "acoustic drums": 12},
            "bass": {"fingered bass": 40, "sub bass": 1},
            "chords": {"piano": 33, "guitar": 1, "electric piano": 3, "organ": 1},
            "lead": {"clarinet": 7, "brass": 7, "piano": 3, "flute": 3, "guitar": 1, "marimba": 1},
        },
        swing=(0.58, 0.67),
        swing_unit=1.0,
        gate=0.6,
        melody=0.6,
        space=0.03,
        mix={"kit": -3.0, "lead": 2.0},
        tilt=-1.0,
    ),
    "rock": Style(
        tempo=(92, 154),
        energy=0.74,
        minor=0.5,
        chord_tones=2,
        progressions={"major": _POP_MAJOR, "minor": _POP_MINOR},
        grooves=(_BACKBEAT, _DRIVING, _BACKBEAT),
        comping=("X.x.x.x.X.x.x.x.", "X.......X.....x.", "X.....x.X...x.x."),
        bass_lines=("X.x.x.x.X.x.x.x.", "X.....x.X...x.x."),
        parts={
            "kit": {"acoustic drums": 40, "drum machine": 1},
            "bass": {"fingered bass": 25, "synth bass": 1, "slap bass": 1},
            "chords": {"distorted guitar": 33, "guitar": 7, "organ": 1, "piano": 1},
            "lead": {"distorted guitar": 12, "guitar": 3, "synth lead": 3, "organ": 3},
        },
        gate=0.9,
        melody=0.4,
        mix={"bass": -1.0},
        tilt=1.0,
    ),
}

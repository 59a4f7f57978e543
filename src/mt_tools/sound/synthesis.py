"""A made corpus: short pieces of music whose labels are known because they were composed.

Goal: real audio with ground truth for every kind of task (style, instruments, tempo, energy, key,
year), without a download. It is meant to be learnable but not trivial, and to show the effect of
the artist: a model that has heard an artist recognises that artist's other pieces by their sound
(A. Flexer and D. Schnitzer, "Effects of album and artist filters in audio similarity computed for
very large music databases", Computer Music Journal 34(3), 2010). So styles overlap, and every
artist favours one style, may visit another, and has a sound of its own.

Conventions: `plan` draws the labels, `compose` the notes, `render` the audio. Each draw comes from
a generator seeded by a hash of (seed, purpose, index), so piece i is the same for any number of
tracks and any order of rendering, and on one machine renders to the same bytes. A piece has four
parts: kit, bass, chords and lead. Waves are float arrays in -1..1 of shape [channels, samples].
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.signal import oaconvolve

from mt_tools.errors import UsageError
from mt_tools.sound.instruments import BASSES, MELODIC, Voice, biquad, drum_kit, midi_to_hz
from mt_tools.sound.styles import STYLES, Style

PITCH_CLASSES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
VELOCITY = {"X": 1.0, "x": 0.75, "-": 0.4}
STEPS = 16
PIECES_PER_ARTIST = 6
MAIN_PIECES_PER_ARTIST = 4
FAVOUR = 40.0
ARTISTS_PER_BLOCK = 8
MIN_SECONDS = 2.0


# --- what is planned ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Production:
    """The sound of an artist, the same on all its pieces.

    Levels are in dB: `gain` of everything, `drums` of the drums, `tilt` of the treble, `body` of
    a resonance at `body_hz`, `hiss` of the noise floor. `cents` is the tuning, `brightness` is
    added to that of every instrument, `reverb` is the share (0..1) of a room of `room` seconds,
    `drive` the saturation, `width` the stereo width 0..1, and `sounds` seeds the artist's own kits.
    """

    cents: float
    tilt: float
    body: float
    body_hz: float
    brightness: float
    reverb: float
    room: float
    hiss: float
    gain: float
    drums: float
    drive: float
    width: float
    sounds: int


@dataclass(frozen=True)
class Piece:
    """One piece of the corpus: its labels, and all that `compose` and `render` need.

    `tempo` is in beats per minute, `energy` in 0..1, `seconds` the length of the audio. `parts`
    maps each part that sounds to its instrument; `instruments` are the same names, sorted.
    """

    id: str
    artist: str
    album: str
    title: str
    style: str
    instruments: tuple[str, ...]
    tempo: float
    energy: float
    key: str
    year: int
    seed: int
    seconds: float
    parts: Mapping[str, str]
    production: Production


@dataclass(frozen=True)
class _Artist:
    name: str
    styles: tuple[str, str]
    favourites: Mapping[str, str]
    tempo: float
    energy: float
    debut: int
    production: Production


def _hash(seed: int, purpose: str, index: int) -> int:
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def generator(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """Return the generator of one purpose: equal arguments draw equal numbers."""
    return np.random.default_rng(_hash(seed, purpose, index))


def _choose(options: Sequence[Any], rng: np.random.Generator) -> Any:
    return options[int(rng.integers(len(options)))]


def _draw(weights: Mapping[str, float], rng: np.random.Generator, favourite: str = "") -> str:
    """Draw a name by weight; that of a favourite, where it fits at all, is raised by `FAVOUR`."""
    names = sorted(weights)
    chances = np.array([weights[name] * (FAVOUR if name == favourite else 1) for name in names])
    return names[int(rng.choice(len(names), p=chances / chances.sum()))]


def _production(seed: int, number: int, debut: int) -> Production:
    rng = generator(seed, "production", number)
    age = (debut - 1993) / 25  # recordings grew brighter and wider over the decades
    return Production(
        cents=float(rng.uniform(-25, 25)),
        tilt=float(rng.normal(2.0 * age, 3.5)),
        body=float(rng.normal(0, 2.5)),
        body_hz=float(rng.uniform(250, 2500)),
        brightness=float(rng.normal(0, 0.1)),
        reverb=float(rng.uniform(0.0, 0.36)),
        room=float(rng.uniform(0.25, 1.4)),
        hiss=float(rng.uniform(-82, -52)),
        gain=float(rng.normal(0, 0.8)),
        drums=float(rng.normal(0, 2.5)),
        drive=float(rng.uniform(1.0, 1.8)),
        width=float(np.clip(rng.normal(0.5 + 0.2 * age, 0.15), 0.1, 0.95)),
        sounds=_hash(seed, "sounds", number),
    )


def _artist(seed: int, number: int) -> _Artist:
    """Artist `number`, counted from 0: styles are dealt in rounds; every other artist has two."""
    names = sorted(STYLES)
    deal_round, seat = divmod(number, len(names))
    deal = generator(seed, "deal", deal_round).permutation(len(names))
    main, next_one = names[deal[seat]], names[deal[(seat + 1) % len(names)]]
    rng = generator(seed, "artist", number)
    debut = int(rng.integers(1968, 2019))
    return _Artist(
        name=f"Artist {number + 1:02d}",
        styles=(main, main if number % 2 else next_one),
        favourites={part: _draw(weights, rng) for part, weights in STYLES[main].parts.items()},
        tempo=float(rng.normal(1.0, 0.05)),
        energy=float(rng.normal(0.0, 0.06)),
        debut=debut,
        production=_production(seed, number, debut),
    )


def _piece(seed: int, index: int, seconds: float) -> Piece:
    """Piece `index`, counted from 0. Pieces come in blocks: the shuffled work of some artists."""
    size = ARTISTS_PER_BLOCK * PIECES_PER_ARTIST
    block, place = divmod(index, size)
    work = int(generator(seed, "order", block).permutation(size)[place])
    number, nth = divmod(work, PIECES_PER_ARTIST)
    artist = _artist(seed, block * ARTISTS_PER_BLOCK + number)
    name = artist.styles[0 if nth < MAIN_PIECES_PER_ARTIST else 1]
    style = STYLES[name]

    rng = generator(seed, "piece", index)
    tempo = float(np.clip(rng.uniform(*style.tempo) * artist.tempo, 60, 180))
    energy = float(np.clip(rng.normal(style.energy + artist.energy, 0.17), 0.03, 0.97))
    mode = "minor" if rng.random() < style.minor else "major"
    tonic = _choose(PITCH_CLASSES, rng)
    volume = int(rng.integers(1, 4))
    silence = {"kit": style.drumless * (1.3 - energy), "bass": 0.06, "chords": 0.0, "lead": 0.12}
    parts = {
        part: _draw(weights, rng, artist.favourites[part])
        for part, weights in style.parts.items()
        if rng.random() >= silence[part]
    }
    return Piece(
        id=f"synth-{index + 1:04d}",
        artist=artist.name,
        album=f"{artist.name}, Volume {volume}",
        title=f"Study {index + 1} in {tonic} {mode}",
        style=name,
        instruments=tuple(sorted(set(parts.values()))),
        tempo=round(tempo, 1),
        energy=round(energy, 3),
        key=f"{tonic} {mode}",
        year=artist.debut + 3 * (volume - 1),
        seed=_hash(seed, "score", index),
        seconds=seconds,
        parts=parts,
        production=artist.production,
    )


def plan(tracks: int, seed: int, seconds: float = 10.0) -> list[Piece]:
    """Draw the labels of `tracks` pieces of `seconds` each.

    Piece i depends on `seed` and i alone (and carries `seconds`). Every artist makes six pieces,
    and the first 48 come from eight artists. Raises `UsageError` when `tracks` is below one, or
    `seconds` below two: by then every instrument of a piece has sounded.
    """
    if tracks < 1:
        raise UsageError(f"a made corpus of {tracks} tracks: give --tracks 1 or more")
    if not MIN_SECONDS <= seconds < math.inf:
        raise UsageError(f"pieces of {seconds} seconds: give {MIN_SECONDS:g} or more, such as 10")
    return [_piece(seed, index, seconds) for index in range(tracks)]


# --- what is composed --------------------------------------------------------------------------


@dataclass(frozen=True)
class Note:
    """A note or a drum hit: `onset` and `held` in seconds, `pitch` a MIDI number (0 for drums)."""

    onset: float
    held: float
    pitch: int
    velocity: float


@dataclass(frozen=True)
class _Written:
    """A note on the grid of sixteenths, before swing and human timing; `length` in steps too."""

    step: int
    length: float
    pitch: int
    velocity: float


@dataclass(frozen=True)
class _Harmony:
    """Pitch classes of the key's scale, and the degree (from 0) of the chord in each bar."""

    scale: tuple[int, ...]
    progression: tuple[int, ...]

    def chord(self, bar: int, tones: int) -> list[int]:
        """Pitch classes of a bar's chord, stacked in thirds; two tones are root and fifth."""
        degree = self.progression[bar % len(self.progression)]
        stack = (0, 4) if tones == 2 else range(0, 2 * tones, 2)
        return [self.scale[(degree + third) % 7] for third in stack]


def _above(pitch_class: int, lowest: int) -> int:
    """The MIDI note of a pitch class in the octave that begins at `lowest`."""
    return lowest + (pitch_class - lowest) % 12


def _own_version(pattern: str, rng: np.random.Generator) -> str:
    """A player's own version of a pattern: now and then a hit moves to the step beside it."""
    steps = list(pattern)
    for step in range(1, STEPS - 1):
        beside = step + int(rng.choice((-1, 1)))
        if steps[step] == "x" and steps[beside] == "." and rng.random() < 0.05:
            steps[beside], steps[step] = "x", "."
    return "".join(steps)


def _hits(pattern: str) -> list[tuple[int, int]]:
    """Steps at which a pattern plays, each with the number of steps until the next one."""
    steps = [step for step, mark in enumerate(pattern) if mark in "Xx"]
    return [(step, until - step) for step, until in pairwise([*steps, STEPS])]


def _write_chords(
    piece: Piece, style: Style, harmony: _Harmony, bars: int, rng: np.random.Generator
) -> Iterator[_Written]:
    pattern = _own_version(_choose(style.comping, rng), rng)
    arpeggio = rng.random() < style.arpeggio
    # Each pitch class in the octave above one fixed note: common tones stay, others move little.
    lowest = int(rng.integers(50, 59))
    for bar in range(bars):
        classes = harmony.chord(bar, style.chord_tones)
        if style.chord_tones == 2:
            root = _above(classes[0], 40)
            voicing = [root, _above(classes[1], root), root + 12]
        else:
            voicing = sorted(_above(tone, lowest) for tone in classes)
        for place, (step, room) in enumerate(_hits(pattern)):
            velocity = VELOCITY[pattern[step]]
            start = bar * STEPS + step
            if arpeggio:
                for turn, tick in enumerate(range(0, room, 1 if piece.energy > 0.6 else 2)):
                    pitch = voicing[(place + turn) % len(voicing)]
                    yield _Written(start + tick, max(2.0, 4 * style.gate), pitch, velocity)
            else:
                for pitch in voicing:
                    yield _Written(start, max(1.0, style.gate * room), pitch, velocity)


def _write_bass(
    style: Style, harmony: _Harmony, bars: int, rng: np.random.Generator
) -> Iterator[_Written]:
    line = _choose(style.bass_lines, rng)
    walking = line.startswith("walk ")
    line = _own_version(line.removeprefix("walk "), rng)
    leaps = rng.integers(5, size=STEPS)  # the same in every bar
    for bar in range(bars):
        classes = harmony.chord(bar, 4)
        for place, (step, room) in enumerate(_hits(line)):
            root = _above(classes[0], 31)
            if walking:
                pitch = _above(classes[place % 4], 31)
            elif place == 0:
                pitch = root
            else:
                pitch = (root, root, root, _above(classes[2], root), root + 12)[leaps[step]]
            yield _Written(bar * STEPS + step, 0.85 * room, pitch, VELOCITY[line[step]])


def _write_lead(
    piece: Piece, style: Style, harmony: _Harmony, bars: int, rng: np.random.Generator
) -> Iterator[_Written]:
    """Walk the scale in the rhythm of two motifs, A A B A by bars; rest on tones of the chord."""
    density = style.melody * (0.6 + 0.8 * piece.energy)
    weights = np.tile((1.3, 0.2, 1.0, 0.2), STEPS // 4)
    motifs = []
    for _ in range(2):
        played = rng.random(STEPS) < density * weights
        played[_choose((0, 2, 4), rng)] = True
        moves = rng.choice((-2, -1, -1, 0, 1, 1, 2, 3), STEPS)
        motifs.append((_hits("".join(".x"[int(hit)] for hit in played)), moves))
    lowest = int(rng.integers(64, 72))
    ladder = sorted(
        _above(tone, lowest + 12 * octave) for tone in harmony.scale for octave in (0, 1)
    )
    rung = int(rng.integers(4, 8))
    for bar in range(bars):
        hits, moves = motifs[1 if bar % 4 == 2 else 0]
        tones = harmony.chord(bar, 3)
        for step, room in hits:
            rung += int(moves[step])
            if not 0 < rung < len(ladder) - 1:
                rung = len(ladder) // 2
            if step % 8 == 0 or room >= 4:
                resting = [r for r, pitch in enumerate(ladder) if pitch % 12 in tones]
                rung = resting[int(np.argmin(np.abs(np.subtract(resting, rung))))]
            velocity = VELOCITY["X" if step % 4 == 0 else "x"]
            yield _Written(bar * STEPS + step, min(0.9 * room, 8.0), ladder[rung], velocity)


def _write_drums(
    piece: Piece, style: Style, bars: int, rng: np.random.Generator
) -> Iterator[tuple[str, _Written]]:
    groove = _choose(style.grooves, rng)
    groove = {voice: _own_version(pattern, rng) for voice, pattern in groove.items()}
    for bar in range(bars):
        fill = bar % 4 == 3 and rng.random() < 0.2 + 0.6 * piece.energy
        for voice, pattern in groove.items():
            for step, mark in enumerate(pattern[:12] if fill else pattern):
                # Quiet players leave out soft hits, then some plain ones.
                chance = {"X": 1.0, "x": 0.6 + 1.3 * piece.energy, "-": 1.5 * piece.energy - 0.15}
                if rng.random() < chance.get(mark, 0.0):
                    yield voice, _Written(bar * STEPS + step, 1.0, 0, VELOCITY[mark])
        if fill:
            for step in range(12, STEPS, 1 if piece.energy > 0.5 else 2):
                voice = _choose(("snare", "tom"), rng)
                yield voice, _Written(bar * STEPS + step, 1.0, 0, 0.5 + 0.1 * (step - 12))


def compose(piece: Piece) -> dict[str, list[Note]]:
    """The notes of a piece: `chords`, `bass`, `lead`, and each voice of the kit (`kick` ...).

    The first beat is at 0 s. Swing and a few milliseconds of human timing move notes off the grid,
    by the same law in all parts, so `tempo` is what all of them play.
    """
    style = STYLES[piece.style]
    rng = generator(piece.seed, "performance")
    tonic, mode = piece.key.split()
    scale = tuple((PITCH_CLASSES.index(tonic) + tone) % 12 for tone in SCALES[mode])
    harmony = _Harmony(scale, _choose(style.progressions[mode], rng))
    swing = rng.uniform(*style.swing)
    looseness = rng.uniform(0.001, 0.006)
    beat = 60 / piece.tempo
    bars = math.ceil(piece.seconds / (4 * beat))

    def hand(part: str) -> np.random.Generator:
        return generator(piece.seed, part)

    written = [("chords", n) for n in _write_chords(piece, style, harmony, bars, hand("chords"))]
    if "bass" in piece.parts:
        written += [("bass", n) for n in _write_bass(style, harmony, bars, hand("bass"))]
    if "lead" in piece.parts:
        written += [("lead", n) for n in _write_lead(piece, style, harmony, bars, hand("lead"))]
    if "kit" in piece.parts:
        written += _write_drums(piece, style, bars, hand("kit"))

    score: dict[str, list[Note]] = {}
    for part, note in written:
        units, place = divmod(note.step / 4, style.swing_unit)
        place /= style.swing_unit
        swung = 2 * place * swing if place < 0.5 else swing + (2 * place - 1) * (1 - swing)
        onset = (units + swung) * style.swing_unit * beat + rng.normal(0, looseness)
        velocity = note.velocity * rng.uniform(0.85, 1.0)
        if onset < piece.seconds - 0.02:
            performed = Note(max(0.0, onset), note.length * beat / 4, note.pitch, velocity)
            score.setdefault(part, []).append(performed)
    return score


# --- what is heard -----------------------------------------------------------------------------

# Level in dB and place (-1 left to 1 right, before the artist's width) of each part of the mix.
_MIX = {"kit": (0.0, 0.0), "bass": (-2.0, 0.0), "chords": (-4.0, -0.45), "lead": (-5.0, 0.4)}
_DRUM_MIX = {"kick": 1.0, "snare": 0.8, "closed": 0.32, "open": 0.3, "ride": 0.32, "tom": 0.7}


def _amplitude(decibels: float) -> float:
    return 10.0 ** (decibels / 20)


def _loud_level(track: np.ndarray) -> float:
    """RMS of the loudest quarter of a track, so that a part that rests much is not pushed up."""
    frames = track[: max(1, track.size // 512) * 512].reshape(-1, min(512, track.size))
    power = np.sort((frames**2).mean(axis=1))[::-1]
    return math.sqrt(power[: 1 + power.size // 4].mean()) + 1e-9


def _add(track: np.ndarray, wave: np.ndarray, onset: float, sample_rate: int) -> None:
    begin = int(onset * sample_rate)
    end = min(track.size, begin + wave.size)
    track[begin:end] += wave[: end - begin]


def _play(
    notes: Sequence[Note],
    voice: Voice,
    cents: float,
    brightness: float,
    sample_rate: int,
    samples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """One part, mono [samples]. Equal notes are rendered once and reused, as a sampler does."""
    track = np.zeros(samples)
    sampled: dict[tuple[int, int, int], np.ndarray] = {}
    for note in notes:
        twentieths, touch = math.ceil(20 * note.held), round(4 * note.velocity)
        key = (note.pitch, twentieths, touch)
        if key not in sampled:
            frequency = midi_to_hz(note.pitch, cents)
            light = float(np.clip(brightness + 0.1 * (touch - 3), 0.0, 1.0))
            sampled[key] = voice(frequency, twentieths / 20, sample_rate, light, rng)
        _add(track, note.velocity * sampled[key], note.onset, sample_rate)
    return track


def _play_drums(
    score: Mapping[str, Sequence[Note]],
    kit: Mapping[str, np.ndarray],
    sample_rate: int,
    samples: int,
) -> np.ndarray:
    """The kit, mono [samples]."""
    track = np.zeros(samples)
    for voice, wave in kit.items():
        for hit in score.get(voice, ()):
            level = _DRUM_MIX[voice] * hit.velocity**1.5
            _add(track, level * wave, hit.onset, sample_rate)
    return track


def _ducking(kicks: Sequence[Note], depth: float, sample_rate: int, samples: int) -> np.ndarray:
    """Gain that dips at each kick and recovers within a fifth of a second (side-chain pumping)."""
    gain = np.ones(samples)
    dip = 1 - depth * np.exp(-np.arange(int(0.3 * sample_rate)) / (0.09 * sample_rate))
    for kick in kicks:
        begin = int(kick.onset * sample_rate)
        end = min(samples, begin + dip.size)
        gain[begin:end] = np.minimum(gain[begin:end], dip[: end - begin])
    return gain


def _reverb(
    send: np.ndarray, seconds: float, width: float, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """A room after J. Moorer, "About this reverberation business": exponentially decaying noise."""
    time = np.arange(int(1.2 * seconds * sample_rate)) / sample_rate
    noise = rng.standard_normal((2, time.size))
    noise[1] = width * noise[1] + (1 - width) * noise[0]
    noise *= np.exp(-time * math.log(1000) / seconds) * np.minimum(1, time / 0.01)
    room = biquad(biquad(noise, "lowpass", 4500, sample_rate), "highpass", 250, sample_rate)
    room /= np.sqrt((room**2).sum(axis=1, keepdims=True))
    return oaconvolve(np.atleast_2d(send), room, axes=1)[:, : send.size]


def _master(
    mix: np.ndarray, piece: Piece, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Equalise, set the loudness that the energy asks for, add tape hiss, and limit softly."""
    sound = piece.production
    tilt = sound.tilt + STYLES[piece.style].tilt
    mix = biquad(mix, "highshelf", 2500, sample_rate, gain=tilt)
    mix = biquad(mix, "lowshelf", 250, sample_rate, gain=-0.5 * tilt)
    mix += (_amplitude(sound.body) - 1) * biquad(mix, "bandpass", sound.body_hz, sample_rate)
    mix *= _amplitude(-29 + 18 * piece.energy + sound.gain) / (mix.std() + 1e-9)
    mix += _amplitude(sound.hiss) * rng.standard_normal(mix.shape)
    fade = np.minimum(1.0, np.arange(mix.shape[1], 0, -1) / (0.02 * sample_rate))
    return 0.98 * fade * np.tanh(sound.drive * mix) / sound.drive


def render(piece: Piece, sample_rate: int = 22050) -> np.ndarray:
    """Play a piece: float32 stereo [2, samples], peak below 1, `samples` = seconds * rate, rounded.

    Loudness, brightness and density follow `energy`. The same piece and rate give the same bytes.
    Raises `UsageError` below 4,000 Hz, where drums and melodies would no longer fit.
    """
    if sample_rate < 4000:
        raise UsageError(f"a sample rate of {sample_rate} Hz: give 4000 or more, such as 22050")
    samples = round(piece.seconds * sample_rate)
    style, sound = STYLES[piece.style], piece.production
    rng = generator(piece.seed, "audio")
    score = compose(piece)
    brightness = 0.08 + 0.7 * piece.energy + sound.brightness
    pump = 0.6 if rng.random() < style.pump else 0.0
    ducking = _ducking(score.get("kick", ()), pump, sample_rate, samples)

    mix = np.zeros((2, samples))
    send = np.zeros(samples)
    for part, name in piece.parts.items():
        level, place = _MIX[part]
        level += style.mix.get(part, 0.0) + rng.normal(0, 0.4)
        if part == "kit":
            own = generator(sound.sounds, name)
            kit = drum_kit(name, sample_rate, float(np.clip(brightness, 0, 1)), own)
            track = _play_drums(score, kit, sample_rate, samples)
            level += sound.drums + 8 * (piece.energy - 0.5)
        else:
            voice = (BASSES if part == "bass" else MELODIC)[name]
            track = ducking * _play(
                score[part], voice, sound.cents, brightness, sample_rate, samples, rng
            )
        track *= _amplitude(level) / _loud_level(track)
        angle = math.pi / 4 * (1 + sound.width * place)
        mix += np.array([[math.cos(angle)], [math.sin(angle)]]) * track
        send += track * (0.25 if part in ("bass", "kit") else 1.0)
    seconds = sound.room * (1 + 4 * style.space)
    wet = _reverb(send, seconds, sound.width, sample_rate, rng)
    mix += (sound.reverb + 1.4 * style.space) * wet
    return _master(mix, piece, sample_rate, rng).astype(np.float32)

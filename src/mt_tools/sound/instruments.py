"""Instruments of the made corpus: one note or one drum hit as an array.

Goal: timbres from several methods of synthesis, cheap enough to play a whole arrangement in a
fraction of a second. Every method is a textbook one:

- additive: band-limited wavetables, built from harmonic amplitudes up to the Nyquist frequency;
- subtractive: such a table through the filters of R. Bristow-Johnson, "Cookbook formulae for audio
  EQ biquad filter coefficients";
- frequency modulation: J. Chowning, "The synthesis of complex audio spectra by means of frequency
  modulation", 1973;
- plucked string: K. Karplus and A. Strong, "Digital synthesis of plucked-string and drum timbres",
  1983, with all periods computed at once in the frequency domain;
- modal: sums of decaying, possibly inharmonic, sines;
- noise: filtered white noise, for drums, breath and tape.

Conventions: a voice takes the frequency in Hz, the seconds the key is held, the sample rate in Hz,
a brightness in 0..1 and an `rng`, and returns mono float64 of shape [samples], release included.
Levels are only roughly equal: whoever mixes balances them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from scipy.signal import lfilter

Voice = Callable[[float, float, int, float, np.random.Generator], np.ndarray]
Kit = dict[str, np.ndarray]

TABLE = 2048
TUNING = 440.0


def midi_to_hz(note: float, cents: float = 0.0) -> float:
    """Frequency in Hz of a MIDI note number, A4 = 69 = 440 Hz, moved by `cents`."""
    return TUNING * 2.0 ** ((note - 69) / 12 + cents / 1200)


# --- building blocks ---------------------------------------------------------------------------


def biquad(
    wave: np.ndarray,
    kind: str,
    frequency: float,
    sample_rate: int,
    q: float = 0.707,
    gain: float = 0.0,
) -> np.ndarray:
    """Filter along the last axis by a second-order section of the Audio EQ Cookbook.

    `kind` is lowpass, highpass, bandpass, lowshelf or highshelf; `frequency` in Hz is held below
    the Nyquist frequency; `gain` in dB is for the shelves.
    """
    omega = 2 * math.pi * min(frequency, 0.45 * sample_rate) / sample_rate
    cosine, alpha = math.cos(omega), math.sin(omega) / (2 * q)
    a = [1 + alpha, -2 * cosine, 1 - alpha]
    if kind == "lowpass":
        b = [(1 - cosine) / 2, 1 - cosine, (1 - cosine) / 2]
    elif kind == "highpass":
        b = [(1 + cosine) / 2, -(1 + cosine), (1 + cosine) / 2]
    elif kind == "bandpass":
        b = [alpha, 0.0, -alpha]
    else:
        level = 10 ** (gain / 40)
        sign = 1 if kind == "lowshelf" else -1
        root = 2 * math.sqrt(level) * alpha
        up, down = level + 1, level - 1
        b = [
            level * (up - sign * down * cosine + root),
            sign * 2 * level * (down - sign * up * cosine),
            level * (up - sign * down * cosine - root),
        ]
        a = [
            up + sign * down * cosine + root,
            -sign * 2 * (down + sign * up * cosine),
            up + sign * down * cosine - root,
        ]
    return lfilter(b, a, wave)


# Harmonic amplitudes by name; `h` counts from 1.
_SHAPES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "saw": lambda h: 0.6 / h,
    "square": lambda h: 0.8 * (h % 2) / h,
    "reed": lambda h: np.where(h % 2 == 1, 1.0, 0.12) / h**1.4,
    "organ": lambda h: np.isin(h, [1, 2, 3, 4, 6, 8]) * np.where(h <= 2, 0.45, 0.9 / h),
    "pipe": lambda h: 0.8 / h**2.6,
}


@lru_cache(maxsize=512)
def _table(shape: str, harmonics: int) -> np.ndarray:
    """One period holding exactly `harmonics` harmonics, its first sample repeated at the end."""
    spectrum = np.zeros(TABLE // 2 + 1, dtype=complex)
    order = np.arange(1, harmonics + 1)
    spectrum[1 : harmonics + 1] = -0.5j * TABLE * _SHAPES[shape](order)
    period = np.fft.irfft(spectrum)
    return np.append(period, period[0])


def _oscillator(
    shape: str, frequency: float, time: np.ndarray, sample_rate: int, vibrato: float = 0.0
) -> np.ndarray:
    """Band-limited periodic wave; `vibrato` is the depth in cents of a 5.3 Hz modulation."""
    cycles = frequency * time
    if vibrato:
        depth = frequency * (2 ** (vibrato / 1200) - 1) / (2 * math.pi * 5.3)
        cycles = cycles - depth * np.cos(2 * math.pi * 5.3 * time) * np.minimum(1, time / 0.4)
    harmonics = int(np.clip(0.48 * sample_rate / frequency, 1, TABLE // 4))
    table = _table(shape, harmonics)
    position = (cycles % 1.0) * TABLE
    index = position.astype(np.int64)
    low = table[index]
    return low + (position - index) * (table[index + 1] - low)


def _time(held: float, release: float, sample_rate: int) -> np.ndarray:
    return np.arange(max(2, int((held + release) * sample_rate))) / sample_rate


def _gate(time: np.ndarray, held: float, attack: float, release: float) -> np.ndarray:
    """Amplitude 0..1: a linear attack, one while the key is held, a raised-cosine release."""
    rise = np.minimum(1.0, time / attack)
    fall = 0.5 + 0.5 * np.cos(math.pi * np.clip((time - held) / release, 0.0, 1.0))
    return rise * fall


def _swept_lowpass(
    wave: np.ndarray,
    closed: float,
    opened: float,
    amount: np.ndarray,
    sample_rate: int,
    q: float = 0.9,
) -> np.ndarray:
    """Low-pass whose cutoff moves: two fixed filters, `amount` 0..1 crossfading to the open one."""
    dark = biquad(wave, "lowpass", closed, sample_rate, q)
    return dark + amount * (biquad(wave, "lowpass", opened, sample_rate, q) - dark)


def _string(
    frequency: float,
    time: np.ndarray,
    sample_rate: int,
    rng: np.random.Generator,
    sustain: float,
    brightness: float,
    pick: float,
) -> np.ndarray:
    """Karplus-Strong string: period k of the loop is the excitation times (loop filter) ** k.

    `sustain` is the decay time in seconds of the fundamental, `brightness` 0..1 the length of the
    upper partials, `pick` the plucking point as a fraction of the string.
    """
    harmonic = np.arange(max(2, int(0.45 * sample_rate / frequency)))
    samples = 4 * harmonic.size  # twice what the harmonics need, so that linear reading is clean
    excitation = np.fft.rfft(rng.uniform(-1, 1, samples))[: harmonic.size]
    excitation *= np.abs(np.sin(math.pi * pick * harmonic)) / (1 + harmonic) ** 0.5
    damping = (1.0 + (1.6 - 1.4 * brightness) * 0.06 * harmonic**1.3) / (sustain * frequency)
    periods = int(time[-1] * frequency) + 2
    spectra = excitation * np.exp(-damping * np.arange(periods)[:, None])
    loop = np.fft.irfft(spectra, n=samples).ravel()
    wave = np.interp(time * (frequency * samples), np.arange(loop.size), loop)
    return wave / (np.abs(wave[: sample_rate // 10]).max() + 1e-9)


def _modes(
    time: np.ndarray,
    frequencies: np.ndarray,
    levels: np.ndarray,
    decays: np.ndarray,
    sample_rate: int,
) -> np.ndarray:
    """Sum of sines, each with its own level and exponential decay time in seconds."""
    keep = frequencies < 0.45 * sample_rate
    angle = 2 * math.pi * frequencies[keep, None] * time
    return levels[keep] @ (np.sin(angle) * np.exp(-time / decays[keep, None]))


def _fm(
    frequency: float, time: np.ndarray, ratio: float, index: np.ndarray | float, sample_rate: int
) -> np.ndarray:
    """Chowning's pair: a sine whose phase swings by `index` radians at `ratio` times its pitch."""
    # Carson's rule: beyond this index the sidebands would fold over the Nyquist frequency.
    room = max(0.0, 0.45 * sample_rate / frequency - 1) / ratio - 1
    index = np.minimum(index, max(0.0, room))
    angle = 2 * math.pi * frequency * time
    return np.sin(angle + index * np.sin(ratio * angle))


# --- melodic voices ----------------------------------------------------------------------------


def piano(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """Modal: stiff-string partials, the upper ones shorter and stronger when played bright."""
    time = _time(held, 0.15, rate)
    order = np.arange(1, 13)
    stretched = f * order * np.sqrt(1 + 4e-4 * order**2)
    levels = order ** (-2.0 + 1.1 * brightness) * np.abs(np.sin(math.pi * order / 7.3))
    decays = 1.6 * (220 / f) ** 0.4 / (1 + 0.25 * (order - 1))
    hammer = biquad(rng.standard_normal(time.size), "lowpass", 1800, rate) * np.exp(-time / 0.008)
    wave = _modes(time, stretched, levels, decays, rate) + 0.15 * hammer
    return wave * _gate(time, held, 0.003, 0.15)


def electric_piano(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """FM at ratio 1 for the body, at ratio 14 for the tine."""
    time = _time(held, 0.2, rate)
    body = _fm(f, time, 1.0, (0.5 + 2.2 * brightness) * np.exp(-time / 0.5), rate)
    tine = _fm(f, time, 14.0, 0.5 * brightness * np.exp(-time / 0.08), rate)
    return (0.75 * body + 0.25 * tine) * np.exp(-time / 1.1) * _gate(time, held, 0.003, 0.2)


def bells(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """FM at an inharmonic ratio, ringing on after the key."""
    time = _time(held, 0.7, rate)
    index = (0.8 + 2.5 * brightness) * np.exp(-time / 0.6)
    wave = _fm(f, time, 3.53, index, rate) + 0.4 * np.sin(2 * math.pi * f * time)
    return wave * np.exp(-time / 0.9) * _gate(time, held, 0.002, 0.7)


def marimba(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """Modal: a tuned bar, partials near 1, 3.9 and 9.2."""
    time = _time(max(held, 0.25), 0.2, rate)
    levels = np.array([1.0, 0.15 + 0.4 * brightness, 0.05 + 0.3 * brightness])
    decays = np.array([0.45, 0.12, 0.05]) * (440 / f) ** 0.5
    return _modes(time, f * np.array([1.0, 3.93, 9.2]), levels, decays, rate) * _gate(
        time, max(held, 0.25), 0.002, 0.2
    )


def organ(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """Additive: drawbar harmonics with the tremolo of a turning speaker."""
    time = _time(held, 0.06, rate)
    wave = _oscillator("organ", f, time, rate, vibrato=8)
    wave = biquad(wave, "lowpass", 900 + 5000 * brightness, rate)
    tremolo = 1 + 0.12 * np.sin(2 * math.pi * 6.1 * time)
    return wave * tremolo * _gate(time, held, 0.008, 0.06)


def guitar(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """Karplus-Strong string, plucked near the bridge."""
    time = _time(held, 0.12, rate)
    return _string(f, time, rate, rng, 1.3, brightness, 0.22) * _gate(time, held, 0.002, 0.12)


def distorted_guitar(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """The same string through a saturating amplifier and a loudspeaker."""
    time = _time(held, 0.08, rate)
    string = biquad(_string(f, time, rate, rng, 2.5, 0.6, 0.3), "lowpass", 2500, rate)
    wave = np.tanh((4 + 14 * brightness) * string)
    cabinet = biquad(biquad(wave, "lowpass", 2600 + 1800 * brightness, rate), "highpass", 90, rate)
    return 0.6 * cabinet * _gate(time, held, 0.003, 0.08)


def strings(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """Subtractive: three detuned saws under a low-pass, slow to speak."""
    time = _time(held, 0.35, rate)
    wave = np.zeros(time.size)
    for cents in (-9, 0, 8):
        wave += _oscillator("saw", f * 2 ** (cents / 1200), time + rng.uniform(), rate)
    wave = biquad(wave, "lowpass", 500 + 3800 * brightness, rate)
    return 0.4 * wave * _gate(time, held, min(0.18, 0.5 * held + 0.01), 0.35)


def synth_lead(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """Subtractive: a square and a saw through a filter that closes, with vibrato."""
    time = _time(held, 0.1, rate)
    wave = 0.6 * _oscillator("square", f, time, rate, vibrato=14)
    wave = wave + 0.4 * _oscillator("saw", f * 1.004, time, rate, vibrato=14)
    cutoff = 800 + 3500 * brightness
    wave = _swept_lowpass(wave, cutoff, 2.5 * cutoff, np.exp(-time / 0.15), rate, q=1.6)
    return 0.7 * wave * _gate(time, held, 0.006, 0.1)


def brass(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """FM at ratio 1 whose index, hence brightness, follows the loudness (Chowning 1973)."""
    time = _time(held, 0.1, rate)
    gate = _gate(time, held, 0.05, 0.1)
    swell = gate * (0.75 + 0.25 * np.exp(-time / 0.15))
    return 0.8 * gate * _fm(f, time, 1.0, (1.2 + 3.2 * brightness) * swell, rate)


def flute(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """Additive: few harmonics and vibrato, with breath noise about the pitch."""
    time = _time(held, 0.1, rate)
    breath = biquad(rng.standard_normal(time.size), "bandpass", 2 * f, rate, q=1.2)
    wave = _oscillator("pipe", f, time, rate, vibrato=18) + (0.06 + 0.12 * brightness) * breath
    return 0.9 * wave * _gate(time, held, 0.05, 0.1)


def clarinet(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """Additive: odd harmonics of a stopped pipe."""
    time = _time(held, 0.08, rate)
    wave = _oscillator("reed", f, time, rate, vibrato=9)
    return (
        0.8 * biquad(wave, "lowpass", 900 + 4500 * brightness, rate) * _gate(time, held, 0.03, 0.08)
    )


# --- bass voices -------------------------------------------------------------------------------


def fingered_bass(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """A long dark Karplus-Strong string."""
    time = _time(held, 0.08, rate)
    wave = _string(f, time, rate, rng, 1.1, 0.2 + 0.5 * brightness, 0.37)
    wave = wave + 0.5 * np.sin(2 * math.pi * f * time) * np.exp(-time / 0.8)
    return biquad(wave, "lowpass", 450 + 1600 * brightness, rate) * _gate(time, held, 0.004, 0.08)


def slap_bass(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """FM whose index falls fast: a hard attack on a round tone."""
    time = _time(held, 0.06, rate)
    index = 0.6 + (2 + 5 * brightness) * np.exp(-time / 0.06)
    return _fm(f, time, 2.0, index, rate) * np.exp(-time / 0.5) * _gate(time, held, 0.002, 0.06)


def synth_bass(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """Subtractive: saw and square under a resonant filter that snaps shut."""
    time = _time(held, 0.05, rate)
    wave = 0.6 * _oscillator("saw", f, time, rate) + 0.5 * _oscillator(
        "square", f * 0.997, time, rate
    )
    amount = np.exp(-time / 0.12)
    wave = _swept_lowpass(
        wave, 220 + 300 * brightness, 900 + 2600 * brightness, amount, rate, q=2.0
    )
    return wave * _gate(time, held, 0.004, 0.05)


def sub_bass(
    f: float, held: float, rate: int, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """A sine, slightly saturated so that small loudspeakers show it."""
    time = _time(held, 0.1, rate)
    cycles = f * time + 0.25 * f * 0.02 * (1 - np.exp(-time / 0.02))
    return np.tanh((1.2 + 1.2 * brightness) * np.sin(2 * math.pi * cycles)) * _gate(
        time, held, 0.008, 0.1
    )


MELODIC: Mapping[str, Voice] = {
    "bells": bells,
    "brass": brass,
    "clarinet": clarinet,
    "distorted guitar": distorted_guitar,
    "electric piano": electric_piano,
    "flute": flute,
    "guitar": guitar,
    "marimba": marimba,
    "organ": organ,
    "piano": piano,
    "strings": strings,
    "synth lead": synth_lead,
}
BASSES: Mapping[str, Voice] = {
    "fingered bass": fingered_bass,
    "slap bass": slap_bass,
    "sub bass": sub_bass,
    "synth bass": synth_bass,
}


# --- drums -------------------------------------------------------------------------------------


def _kick(
    time: np.ndarray,
    rng: np.random.Generator,
    pitch: float,
    sweep: float,
    decay: float,
    click: float,
) -> np.ndarray:
    """A sine falling to `pitch` Hz, with a click of noise."""
    cycles = pitch * time + pitch * sweep * 0.03 * (1 - np.exp(-time / 0.03))
    body = np.sin(2 * math.pi * cycles) * np.exp(-time / decay)
    return body + click * rng.standard_normal(time.size) * np.exp(-time / 0.004)


def _snare(
    time: np.ndarray, rate: int, rng: np.random.Generator, pitch: float, decay: float, wires: float
) -> np.ndarray:
    """Two modes of a membrane under high-passed noise."""
    modes = np.array([pitch, 1.59 * pitch])
    skin = _modes(time, modes, np.array([0.6, 0.3]), np.array([0.07, 0.05]), rate)
    noise = biquad(rng.standard_normal(time.size), "highpass", 1400, rate)
    return skin + wires * noise * np.exp(-time / decay)


def _metal(
    time: np.ndarray, rate: int, rng: np.random.Generator, cutoff: float, decay: float, tone: float
) -> np.ndarray:
    """Noise and a cluster of inharmonic sines above `cutoff` Hz: hats and cymbals."""
    pitches = rng.uniform(0.6, 1.6, 6) * 0.6 * cutoff
    cluster = _modes(time, pitches, np.full(6, tone), np.full(6, 2 * decay), rate)
    noise = rng.standard_normal(time.size) * np.exp(-time / decay)
    return biquad(noise + cluster, "highpass", cutoff, rate)


def drum_kit(name: str, sample_rate: int, brightness: float, rng: np.random.Generator) -> Kit:
    """Sounds of one drum kit: kick, snare, closed, open, ride and tom, each mono [samples], peak 1.

    `name` is one of `KITS`. Pitches and decays are drawn from `rng`: two kits of one name are two
    instruments of one make.
    """
    time = np.arange(int(0.6 * sample_rate)) / sample_rate
    tune = rng.uniform(0.85, 1.2)
    snap = rng.uniform(0.8, 1.3)
    cutoff = 0.6 * rng.uniform(6500, 9500) + 2500 * brightness

    def metal(cut: float, decay: float, tone: float = 0.3) -> np.ndarray:
        return _metal(time, sample_rate, rng, cut * cutoff, decay * snap, tone)

    def shake(frequency: float, attack: float, decay: float) -> np.ndarray:
        noise = biquad(
            rng.standard_normal(time.size), "bandpass", frequency * tune, sample_rate, 0.8
        )
        return noise * np.minimum(1, time / attack) * np.exp(-time / (decay * snap))

    def skin(pitch: float, decay: float) -> np.ndarray:
        tones = tune * pitch * np.array([1.0, 1.6, 2.3])
        levels, decays = np.array([1.0, 0.35, 0.2]), decay * snap * np.array([1.0, 0.5, 0.3])
        slap = rng.standard_normal(time.size) * np.exp(-time / 0.005)
        return _modes(time, tones, levels, decays, sample_rate) + (0.1 + 0.3 * brightness) * slap

    if name == "acoustic drums":
        kit = {
            "kick": _kick(time, rng, 62 * tune, 1.6, 0.11 * snap, 0.25 + 0.3 * brightness),
            "snare": _snare(
                time, sample_rate, rng, 190 * tune, 0.11 * snap, 0.5 + 0.4 * brightness
            ),
            "closed": metal(1.0, 0.03),
            "open": metal(0.9, 0.16),
            "ride": metal(0.75, 0.25, 0.8),
            "tom": skin(115, 0.2),
        }
    elif name == "drum machine":
        clap = (
            rng.standard_normal(time.size) * np.exp(-(time % 0.011) / 0.006) * np.exp(-time / 0.09)
        )
        kit = {
            "kick": _kick(time, rng, 49 * tune, 3.5, 0.2 * snap, 0.1 + 0.3 * brightness),
            "snare": biquad(clap, "bandpass", 1300 * tune, sample_rate, 0.7)
            + 0.2 * _snare(time, sample_rate, rng, 210 * tune, 0.08, 0.6),
            "closed": metal(1.2, 0.02, 0.15),
            "open": metal(1.1, 0.11, 0.15),
            "ride": metal(1.1, 0.06, 0.6),
            "tom": _kick(time, rng, 120 * tune, 1.0, 0.15, 0.0),
        }
    elif name == "brushes":
        kit = {
            "kick": _kick(time, rng, 58 * tune, 1.0, 0.09 * snap, 0.05),
            "snare": shake(3200, 0.02, 0.09) + 0.05 * skin(200, 0.06),
            "closed": metal(0.9, 0.025),
            "open": shake(4500, 0.05, 0.12),
            "ride": metal(0.65, 0.3, 1.0),
            "tom": skin(105, 0.16),
        }
    else:  # hand percussion
        kit = {
            "kick": skin(75, 0.16),
            "snare": skin(260, 0.08),
            "closed": shake(6000, 0.012, 0.03),
            "open": shake(5000, 0.03, 0.08),
            "ride": skin(420, 0.05),
            "tom": skin(180, 0.12),
        }
    fade = np.clip((time[-1] - time) / 0.05, 0.0, 1.0)
    return {voice: wave * fade / np.abs(wave).max() for voice, wave in kit.items()}


KITS = ("acoustic drums", "brushes", "drum machine", "hand percussion")

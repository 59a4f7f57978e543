"""The made corpus: its labels are true, its difficulty is as promised, its bytes are repeatable."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from dataclasses import replace

import librosa
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mt_tools.errors import UsageError
from mt_tools.sound.instruments import BASSES, KITS, MELODIC, biquad, drum_kit, midi_to_hz
from mt_tools.sound.styles import STYLES
from mt_tools.sound.synthesis import PITCH_CLASSES, SCALES, Piece, compose, plan, render

RATE = 12000


@pytest.fixture(scope="module")
def corpus() -> tuple[list[Piece], list[np.ndarray]]:
    """240 pieces of 4 s at a low rate: enough artists to split by, and quick to make."""
    pieces = plan(240, seed=0, seconds=4.0)
    return pieces, [render(piece, RATE) for piece in pieces]


@pytest.fixture(scope="module")
def statistics(corpus: tuple[list[Piece], list[np.ndarray]]) -> np.ndarray:
    """Mean and standard deviation of MFCC and their deltas, [pieces, 80], by librosa."""
    rows = []
    for wave in corpus[1]:
        mfcc = librosa.feature.mfcc(
            y=wave.mean(axis=0), sr=RATE, n_mfcc=20, n_fft=1024, hop_length=512, n_mels=64
        )
        frames = np.concatenate([mfcc, librosa.feature.delta(mfcc)])
        rows.append(np.concatenate([frames.mean(axis=1), frames.std(axis=1)]))
    return np.array(rows)


def decibels(wave: np.ndarray) -> float:
    """RMS level in dB of full scale."""
    return 20 * math.log10(float(np.sqrt(np.mean(wave.astype(float) ** 2))))


def brightness(wave: np.ndarray, rate: int) -> float:
    """Mean spectral centroid in Hz of a [channels, samples] wave."""
    return float(librosa.feature.spectral_centroid(y=wave.mean(axis=0), sr=rate).mean())


# --- the plan ----------------------------------------------------------------------------------


def test_a_longer_corpus_begins_with_the_shorter_one() -> None:
    """`--tracks 200` after `--tracks 100` would remake every file and invalidate every id."""
    assert plan(150, seed=3)[:40] == plan(40, seed=3)


def test_length_changes_no_label() -> None:
    """A quick corpus of short clips would not have the labels of the long one."""
    short, long = plan(30, seed=3, seconds=4.0), plan(30, seed=3, seconds=10.0)
    assert [replace(piece, seconds=10.0) for piece in short] == long


def test_seeds_give_other_pieces() -> None:
    """Repeating an experiment over seeds would repeat the same corpus."""
    one, other = plan(40, seed=1), plan(40, seed=2)
    assert {piece.seed for piece in one}.isdisjoint(piece.seed for piece in other)
    assert [piece.style for piece in one] != [piece.style for piece in other]


def test_labels_are_in_range() -> None:
    """A label outside its documented range would break scaling, tags or a class vocabulary."""
    pieces = plan(300, seed=5)
    assert len({piece.id for piece in pieces}) == 300
    keys = {f"{tonic} {mode}" for tonic in PITCH_CLASSES for mode in SCALES}
    for piece in pieces:
        assert piece.style in STYLES
        assert piece.key in keys
        assert 60 <= piece.tempo <= 180
        assert 0 <= piece.energy <= 1
        assert 1960 <= piece.year <= 2030
        assert piece.artist.startswith("Artist ")
        assert piece.instruments == tuple(sorted(set(piece.parts.values())))
        assert set(piece.instruments) <= {*KITS, *BASSES, *MELODIC}


@pytest.mark.parametrize("seed", range(5))
def test_sixty_tracks_cover_the_labels(seed: int) -> None:
    """A small demo corpus would lack a style, and training on it would stop at a missing class."""
    pieces = plan(60, seed)
    styles = [piece.style for piece in pieces]
    assert set(styles) == set(STYLES)
    assert min(styles.count(style) for style in STYLES) >= 4
    assert len({piece.artist for piece in pieces}) >= 8
    assert len({name for piece in pieces for name in piece.instruments}) >= 15
    assert {piece.key.split()[1] for piece in pieces} == {"major", "minor"}


def test_artists_make_six_pieces_and_favour_a_style() -> None:
    """A split by artist would be as easy as any other, or leave singletons nobody can group."""
    works: dict[str, list[Piece]] = {}
    for piece in plan(288, seed=4):
        works.setdefault(piece.artist, []).append(piece)
    assert {len(own) for own in works.values()} == {6}
    for own in works.values():
        styles = [piece.style for piece in own]
        assert max(styles.count(style) for style in styles) >= 4
        assert len(set(styles)) <= 2
        assert len({piece.production for piece in own}) == 1


def test_no_cue_gives_the_style_away() -> None:
    """The corpus would be trivial: tempo, energy or one instrument would name the style."""
    pieces = plan(600, seed=6)
    for name in ("tempo", "energy"):
        spans = {
            style: np.quantile([getattr(p, name) for p in pieces if p.style == style], [0.1, 0.9])
            for style in STYLES
        }
        for style, (low, high) in spans.items():
            others = [span for other, span in spans.items() if other != style]
            assert any(low < span[1] and span[0] < high for span in others), (name, style)
    homes: dict[str, set[str]] = {}
    for piece in pieces:
        for instrument in piece.instruments:
            homes.setdefault(instrument, set()).add(piece.style)
    assert sum(len(styles) >= 2 for styles in homes.values()) >= 0.8 * len(homes)


@pytest.mark.parametrize(
    ("tracks", "seconds"), [(0, 10.0), (-3, 10.0), (5, 0.0), (5, 1.9), (5, math.nan), (5, math.inf)]
)
def test_impossible_corpora_are_refused(tracks: int, seconds: float) -> None:
    """A mistyped option would make an empty corpus, or clips whose instruments never sound."""
    with pytest.raises(UsageError, match="give"):
        plan(tracks, seed=0, seconds=seconds)


# --- the score ---------------------------------------------------------------------------------


def test_patterns_fill_their_bar_with_known_instruments() -> None:
    """A pattern a character short would drift against the beat; a misspelt name would not play."""
    for style in STYLES.values():
        patterns = [*style.comping, *(line.removeprefix("walk ") for line in style.bass_lines)]
        patterns += [pattern for groove in style.grooves for pattern in groove.values()]
        assert {len(pattern) for pattern in patterns} == {16}
        assert set("".join(patterns)) <= set("Xx-.")
        assert set(style.parts["kit"]) <= set(KITS)
        assert set(style.parts["bass"]) <= set(BASSES)
        assert {*style.parts["chords"], *style.parts["lead"]} <= set(MELODIC)


def test_every_labelled_instrument_plays_within_the_shortest_clip() -> None:
    """`instruments` would name something nobody can hear in the file."""
    for piece in plan(300, seed=8, seconds=2.0):
        score = compose(piece)
        heard = {part for part in ("bass", "chords", "lead") if part in score}
        assert heard == set(piece.parts) - {"kit"}
        drums = set(score) - {"bass", "chords", "lead"}
        assert bool(drums) == ("kit" in piece.parts)


def test_notes_stay_in_the_key() -> None:
    """`key` would be wrong: notes outside its scale, or a piece without its tonic."""
    for piece in plan(120, seed=9):
        tonic, mode = piece.key.split()
        root = PITCH_CLASSES.index(tonic)
        score = compose(piece)
        degrees = {
            (note.pitch - root) % 12
            for part in ("bass", "chords", "lead")
            for note in score.get(part, ())
        }
        assert 0 in degrees
        assert degrees <= set(SCALES[mode])


# --- the sound ---------------------------------------------------------------------------------


def test_the_same_bytes_in_any_order_and_process() -> None:
    """Two runs, two workers, or another PYTHONHASHSEED would write different files."""
    pieces = plan(3, seed=11, seconds=3.0)
    first = [hashlib.sha256(render(piece, 16000).tobytes()).hexdigest() for piece in pieces]
    again = [hashlib.sha256(render(piece, 16000).tobytes()).hexdigest() for piece in pieces[::-1]]
    assert again[::-1] == first
    code = (
        "import hashlib\n"
        "from mt_tools.sound.synthesis import plan, render\n"
        "wave = render(plan(8, seed=11, seconds=3.0)[2], 16000)\n"
        "print(hashlib.sha256(wave.tobytes()).hexdigest())"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert elsewhere.stdout.strip() == first[2]


def test_levels_are_those_of_music(corpus: tuple[list[Piece], list[np.ndarray]]) -> None:
    """Files would clip, be silent, carry NaN, or sit off centre."""
    for wave in corpus[1]:
        assert wave.shape == (2, 4 * RATE)
        assert wave.dtype == np.float32
        assert np.isfinite(wave).all()
        assert np.abs(wave).max() < 0.99
        assert -36 < decibels(wave) < -8
        assert np.abs(wave.mean(axis=1)).max() < 0.02
        assert not np.array_equal(wave[0], wave[1])


@pytest.mark.parametrize("rate", [4000, 8000, 22050, 44100])
def test_any_usual_rate_renders(rate: int) -> None:
    """`synth` at another sample rate would fail, or play at another length."""
    for piece in plan(8, seed=12, seconds=2.5):
        wave = render(piece, rate)
        assert wave.shape == (2, round(2.5 * rate))
        assert np.isfinite(wave).all()
        assert 0.02 < np.abs(wave).max() < 0.99


def test_too_low_a_rate_is_refused() -> None:
    """A rate of 8 (meant: 8000) would make files without a sound in them."""
    with pytest.raises(UsageError, match="4000"):
        render(plan(1, seed=0)[0], 8)


def test_energy_is_heard(corpus: tuple[list[Piece], list[np.ndarray]]) -> None:
    """`energy` would be a number without a sound: louder, brighter and denser are its meaning."""
    pieces, waves = corpus
    energy = [piece.energy for piece in pieces]
    assert np.corrcoef(energy, [decibels(wave) for wave in waves])[0, 1] > 0.9
    assert np.corrcoef(energy, [brightness(wave, RATE) for wave in waves])[0, 1] > 0.3
    brighter = denser = 0
    for piece in pieces[:24]:
        calm, wild = replace(piece, energy=0.15), replace(piece, energy=0.85)
        quiet, loud = render(calm, RATE), render(wild, RATE)
        assert decibels(loud) > decibels(quiet) + 6
        brighter += brightness(loud, RATE) > brightness(quiet, RATE)
        denser += sum(map(len, compose(wild).values())) > sum(map(len, compose(calm).values()))
    assert brighter >= 20
    assert denser >= 20


def test_tempo_is_the_tempo_of_the_drums() -> None:
    """`tempo` would not be what a beat tracker, or a dancer, finds in the audio."""
    right = total = 0
    for piece in plan(48, seed=13):
        if piece.style not in ("rock", "house", "folk", "hip-hop") or "kit" not in piece.parts:
            continue
        onsets = librosa.onset.onset_strength(
            y=render(piece).mean(axis=0), sr=22050, hop_length=128, aggregate=np.median
        )
        similarity = librosa.autocorrelate(onsets - onsets.mean())
        lags = np.arange(similarity.size)
        # Every tempo within a fifth of the label stands for election; beats 1 to 4 vote.
        tempos = np.arange(0.8, 1.2, 0.0025) * piece.tempo
        beats = 60 / tempos * 22050 / 128
        votes = sum(np.interp(count * beats, lags, similarity) for count in (1, 2, 3, 4))
        right += abs(tempos[int(np.argmax(votes))] / piece.tempo - 1) < 0.015
        total += 1
    assert total >= 20
    assert right >= 0.9 * total


def test_key_is_found_by_krumhansl() -> None:
    """`key` would not agree with the pitch classes that sound (chance finds it once in 24)."""
    major = [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88]
    minor = [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17]
    profiles = {
        f"{tonic} {mode}": np.roll(profile, shift)
        for mode, profile in (("major", major), ("minor", minor))
        for shift, tonic in enumerate(PITCH_CLASSES)
    }
    pieces = plan(30, seed=14)
    found = 0
    for piece in pieces:
        chroma = librosa.feature.chroma_cqt(y=render(piece).mean(axis=0), sr=22050).mean(axis=1)
        fit = {key: np.corrcoef(chroma, profile)[0, 1] for key, profile in profiles.items()}
        found += max(fit, key=lambda key: fit[key]) == piece.key
    assert found >= 0.4 * len(pieces)


# --- the difficulty ----------------------------------------------------------------------------


def test_style_is_learnable_not_trivial_and_easier_for_known_artists(
    corpus: tuple[list[Piece], list[np.ndarray]], statistics: np.ndarray
) -> None:
    """Experiments on the corpus would show nothing: chance, perfection, or no artist effect."""
    styles = [piece.style for piece in corpus[0]]
    artists = [piece.artist for piece in corpus[0]]
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    grouped = cross_val_score(probe, statistics, styles, groups=artists, cv=GroupKFold(5)).mean()
    blind = [
        cross_val_score(
            probe, statistics, styles, cv=StratifiedKFold(5, shuffle=True, random_state=draw)
        ).mean()
        for draw in range(3)
    ]
    assert 0.6 <= grouped <= 0.95
    assert np.mean(blind) - grouped >= 0.02


# --- the instruments ---------------------------------------------------------------------------


# Bells are inharmonic by design: they have a strike tone, not a period.
@pytest.mark.parametrize("name", [*BASSES, *sorted(set(MELODIC) - {"bells"})])
def test_instruments_play_the_note_they_are_asked_for(name: str) -> None:
    """Pieces would be out of tune: the key, the chroma and any listener would disagree."""
    low = name in BASSES
    voice = BASSES[name] if low else MELODIC[name]
    for note in (33, 40, 45) if low else (55, 62, 69, 76):
        frequency = midi_to_hz(note)
        wave = voice(frequency, 1.0, 22050, 0.5, np.random.default_rng(note))
        assert np.isfinite(wave).all()
        track = librosa.yin(
            wave[4000:16000],
            fmin=0.7 * frequency,
            fmax=1.45 * frequency,
            sr=22050,
            frame_length=4096,
        )
        cents = 1200 * np.log2(np.median(track) / frequency)
        assert abs(cents) < 20, (note, cents)


@pytest.mark.parametrize("name", KITS)
def test_kits_have_every_voice_and_artists_have_their_own(name: str) -> None:
    """A groove would lose a drum, or all artists would share one kit."""
    one = drum_kit(name, 22050, 0.5, np.random.default_rng(1))
    other = drum_kit(name, 22050, 0.5, np.random.default_rng(2))
    needed = {voice for style in STYLES.values() for groove in style.grooves for voice in groove}
    assert needed | {"tom"} <= set(one)
    for voice, wave in one.items():
        assert np.abs(wave).max() == pytest.approx(1.0, abs=0.05)
        assert not np.allclose(wave, other[voice])
    assert brightness(one["closed"][None], 22050) > 2 * brightness(one["kick"][None], 22050)


@pytest.mark.parametrize(
    ("kind", "gain", "at_zero", "at_frequency", "at_nyquist"),
    [
        ("lowpass", 0.0, 0.0, -3.01, -60.0),
        ("highpass", 0.0, -60.0, -3.01, 0.0),
        ("bandpass", 0.0, -60.0, 0.0, -60.0),
        ("lowshelf", 6.0, 6.0, 3.0, 0.0),
        ("highshelf", -9.0, 0.0, -4.5, -9.0),
    ],
)
def test_filters_have_the_gains_of_the_cookbook(
    kind: str, gain: float, at_zero: float, at_frequency: float, at_nyquist: float
) -> None:
    """An artist's equaliser or a synthesiser's filter would act at another place or depth."""
    impulse = np.zeros(1 << 14)
    impulse[0] = 1.0
    response = np.fft.rfft(biquad(impulse, kind, 1000.0, 16000, q=2**-0.5, gain=gain))
    level = 20 * np.log10(np.maximum(np.abs(response), 1e-3))
    # At 16 kHz, bin 1024 of this transform is 1,000 Hz.
    assert level[1024] == pytest.approx(at_frequency, abs=0.01)
    assert [level[0], level[-1]] == pytest.approx([at_zero, at_nyquist], abs=0.01)

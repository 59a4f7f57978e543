"""Effects, measured on signals whose result is known and against scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from mt_tools.errors import RowError
from mt_tools.recipes import Recipe, parse
from mt_tools.sound import effects
from mt_tools.sound.codec import round_trip
from mt_tools.sound.decode import decode
from mt_tools.sound.noise import COLOURS, noise

RATES = (12_000, 22_050, 44_100)


def sine(frequency: float, sample_rate: int, seconds: float = 1.5) -> np.ndarray:
    """A sine [1, samples] of amplitude 0.4."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.4 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[None]


def peak_frequency(wave: np.ndarray, sample_rate: int) -> float:
    """Frequency of the strongest partial: a parabola through the log spectrum of a Hann window."""
    size = 8 * len(wave)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), size))
    peak = int(spectrum.argmax())
    left, middle, right = np.log(spectrum[peak - 1 : peak + 2])
    return (peak + (left - right) / (2 * (left - 2 * middle + right))) * sample_rate / size


def bursts(sample_rate: int, seconds: list[float], length: float) -> np.ndarray:
    """Two channels of short decaying noise bursts that begin at `seconds`."""
    rng = np.random.default_rng(1)
    wave = np.zeros((2, round(length * sample_rate)), np.float32)
    size = round(0.02 * sample_rate)
    for second in seconds:
        begin = round(second * sample_rate)
        burst = rng.standard_normal(size) * np.exp(-np.arange(size) / (0.004 * sample_rate))
        wave[:, begin : begin + size] += 0.3 * burst
    return wave


def music(sample_rate: int, seconds: float, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Chords that swell and noise, [channels, samples]."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    tones = sum(np.sin(2 * np.pi * f * time + f) for f in (110, 277.2, 440, 1108.7))
    swell = 1 + 0.6 * np.sin(2 * np.pi * 0.7 * time)
    wave = 0.06 * tones * swell + 0.01 * rng.standard_normal((channels, len(time)))
    return wave.astype(np.float32)


def median_of_energy(wave: np.ndarray) -> float:
    """The sample before which half of the energy lies."""
    energy = np.cumsum(wave**2)
    return float(np.searchsorted(energy, energy[-1] / 2))


def decibels(wave: np.ndarray, other: np.ndarray) -> float:
    """The level of a wave over that of another."""
    return float(10 * np.log10(np.mean(np.square(wave, dtype=float)) / np.mean(np.square(other))))


# --- pitch and stretch ---------------------------------------------------------------------------


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("semitones", [-12, -7, -2, -1, 1, 2, 7, 12])
def test_pitch_is_within_five_cents(sample_rate: int, semitones: int) -> None:
    """An augmented track would be out of tune, and a key label wrong."""
    for frequency in (110, 440, 1500):
        shifted = frequency * 2 ** (semitones / 12)
        wave = sine(frequency, sample_rate)
        result = effects.apply(parse(f"pitch={semitones}"), wave, sample_rate)
        assert result.shape == wave.shape
        assert result.dtype == np.float32
        middle = result[0, sample_rate // 4 : -sample_rate // 4]
        cents = 1200 * np.log2(peak_frequency(middle, sample_rate) / shifted)
        assert abs(cents) < 5
        level = 20 * np.log10(np.sqrt(2 * np.mean(middle**2)) / 0.4)
        assert abs(level) < 1


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("factor", [0.5, 0.8, 1.1, 1.5, 2])
def test_stretch_keeps_the_pitch_and_sets_the_length(sample_rate: int, factor: float) -> None:
    """A stretched track would change its key, or end early."""
    wave = sine(440, sample_rate)
    result = effects.apply(parse(f"stretch={factor}"), wave, sample_rate)
    assert result.shape == (1, round(wave.shape[1] * factor))
    edge = result.shape[1] // 5
    cents = 1200 * np.log2(peak_frequency(result[0, edge:-edge], sample_rate) / 440)
    assert abs(cents) < 5


@pytest.mark.parametrize("sample_rate", [12_000, 44_100])
@pytest.mark.parametrize(
    ("semitones", "factor"), [(2, 1), (-2, 1), (12, 1), (0, 1.1), (0, 0.5), (0, 2), (-3, 1.25)]
)
def test_onsets_stay_where_they_belong(sample_rate: int, semitones: float, factor: float) -> None:
    """Labels in time (beats, segments) would no longer fit the augmented sound."""
    seconds = [0.05, 0.55, 1.1, 1.9]
    wave = bursts(sample_rate, seconds, 2.0)
    result = effects.apply(parse(f"pitch={semitones},stretch={factor}"), wave, sample_rate)
    for second in seconds:
        around = round(0.04 * sample_rate)
        begin = max(0, round(second * sample_rate) - around)
        before = begin + median_of_energy(wave[0, begin : begin + 3 * around])
        around = round(around * factor)
        begin = max(0, round(second * factor * sample_rate) - around)
        after = begin + median_of_energy(result[0, begin : begin + 3 * around])
        assert after / sample_rate == pytest.approx(factor * before / sample_rate, abs=0.005)


def test_channels_stay_together() -> None:
    """A stereo image would wander or collapse."""
    wave = bursts(22_050, [0.2, 0.9], 1.5)
    wave[1] *= 0.5
    left, right = effects.apply(parse("pitch=3"), wave, 22_050)
    np.testing.assert_allclose(right, left / 2, atol=1e-3)


def test_pitch_and_stretch_are_one_pass_in_either_order() -> None:
    """A copy would be vocoded twice, and sound worse, for the order in which it was typed."""
    wave = music(12_000, 1.0)
    one, two = (
        effects.apply(parse(text), wave, 12_000)
        for text in ("pitch=2,stretch=1.1,gain=1", "stretch=1.1,pitch=2,gain=1")
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("text", ["pitch=2", "stretch=3", "noise=brown:10", "codec=mp3:48"])
def test_the_same_wave_gives_the_same_bytes(text: str) -> None:
    """Two runs of one experiment would differ; stretches beyond 2 draw random phases."""
    wave = bursts(12_000, [0.2, 0.9], 1.5)
    first = effects.apply(parse(text), wave, 12_000)
    np.testing.assert_array_equal(first, effects.apply(parse(text), wave, 12_000))


def test_a_view_gives_what_its_copy_gives() -> None:
    """Waves that are not contiguous would be read as noise."""
    view = np.asfortranarray(bursts(12_000, [0.2], 1.0))[::-1, ::2]
    for text in ("stretch=1.2", "codec=opus:64", "lowpass=500"):
        np.testing.assert_array_equal(
            effects.apply(parse(text), view, 12_000),
            effects.apply(parse(text), view.copy(), 12_000),
        )


def test_extremes_together_keep_the_sound() -> None:
    """Two octaves down at a quarter of the length would skip most of the sound."""
    wave = np.random.default_rng(0).standard_normal((1, 48_000)).astype(np.float32) * 0.1
    wave[:, ::4] *= 2
    result = effects.apply(parse("pitch=-24,stretch=0.25"), wave, 12_000)
    assert result.shape == (1, 12_000)
    tenths = np.sqrt(np.mean(result.reshape(10, -1) ** 2, axis=1))
    assert tenths.min() > 0.3 * tenths.max()


# --- any effect ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A track, another one to mix with, and impulse responses of rooms."""
    folder = tmp_path_factory.mktemp("effects")
    soundfile.write(folder / "track.wav", music(44_100, 6.0, 2).T, 44_100, subtype="FLOAT")
    other = music(22_050, 2.0, 1, seed=5).T * np.float32(0.3)
    soundfile.write(folder / "other.wav", other, 22_050, subtype="FLOAT")
    rng = np.random.default_rng(2)
    response = np.zeros(24_000)
    response[480] = 1.0  # 10 ms before the direct sound, as is usual
    tail = 24_000 - 600
    response[600:] = 0.05 * rng.standard_normal(tail) * np.exp(-np.arange(tail) / 6000)
    soundfile.write(folder / "hall.wav", response, 48_000, subtype="FLOAT")
    soundfile.write(folder / "silence.wav", np.zeros(4800), 48_000)
    return folder


EVERY = (
    "crop=1", "pitch=2", "stretch=1.5", "gain=-6", "polarity", "noise=pink:10", "lowpass=900",
    "highpass=200", "bandpass=300:3000", "room={}/hall.wav", "codec=mp3:64", "codec=vorbis:64",
    "codec=opus:64", "mix={}/other.wav:10",
)  # fmt: skip


@pytest.mark.parametrize("text", EVERY)
def test_very_short_waves_are_fine(files: Path, text: str) -> None:
    """A track of a few samples would stop the run."""
    recipe = parse(text.format(files))
    for channels, samples in [(1, 0), (1, 1), (2, 2), (2, 100)]:
        wave = np.full((channels, samples), 0.1, np.float32)
        result = effects.apply(recipe, wave, 8000)
        assert result.shape == (channels, round(samples * recipe.stretch))
        assert result.dtype == np.float32
        assert np.isfinite(result).all()


@pytest.mark.parametrize("text", EVERY)
def test_silence_stays_silence(files: Path, text: str) -> None:
    """A silent track would become noise, or a division by zero."""
    result = effects.apply(parse(text.format(files)), np.zeros((1, 9000), np.float32), 12_000)
    assert np.abs(result).max() < 1e-6


def test_the_identity_and_a_crop_change_no_sample() -> None:
    """Unaugmented tracks would be altered; a crop is in the row's start and duration already."""
    wave = bursts(12_000, [0.2], 1.0)
    np.testing.assert_array_equal(effects.apply(Recipe(), wave, 12_000), wave)
    np.testing.assert_array_equal(effects.apply(parse("crop=0.2:0.1"), wave, 12_000), wave)


def test_effects_come_in_the_order_of_the_recipe() -> None:
    """Noise that is filtered would be noise on top of a filter."""
    wave = sine(440, 12_000)
    first = effects.apply(parse("noise=white:0,lowpass=1000"), wave, 12_000)
    last = effects.apply(parse("lowpass=1000,noise=white:0"), wave, 12_000)
    above = [np.abs(np.fft.rfft(x[0]))[x.shape[1] // 4 :].mean() for x in (first, last)]
    assert above[0] < 0.02 * above[1]


EXACT = ("gain=-6", "polarity", "lowpass=1000", "highpass=20:8", "bandpass=300:3400",
         "room={}/hall.wav", "highpass=40:6,room={}/hall.wav,gain=3,polarity")  # fmt: skip


@pytest.mark.parametrize("sample_rate", [None, 12_000])
@pytest.mark.parametrize("text", EXACT)
def test_a_part_is_the_part_of_the_whole(files: Path, text: str, sample_rate: int | None) -> None:
    """A filter or a room would begin anew with every segment."""
    recipe = parse(text.format(files, files))
    whole, rate = decode(files / "track.wav", sample_rate=sample_rate, recipe=recipe)
    part, _ = decode(
        files / "track.wav", start=3.2, duration=1.5, sample_rate=sample_rate, recipe=recipe
    )
    begin = round(3.2 * rate)
    np.testing.assert_allclose(part, whole[:, begin : begin + part.shape[1]], atol=1e-5)


@pytest.mark.parametrize("sample_rate", [None, 12_000])
@pytest.mark.parametrize("text", ["noise=brown:0", "mix={}/other.wav:0"])
def test_what_is_added_is_the_same_but_for_its_level(
    files: Path, text: str, sample_rate: int | None
) -> None:
    """The segments of a track would hear other noise than the track, or it a moment later."""
    track = files / "track.wav"
    recipe = parse(text.format(files))
    added = []
    for part in ({}, {"start": 3.2, "duration": 1.5}):
        wave, rate = decode(track, sample_rate=sample_rate, recipe=recipe, **part)  # type: ignore[arg-type]
        plain, _ = decode(track, sample_rate=sample_rate, **part)  # type: ignore[arg-type]
        added.append(wave - plain)
    whole = added[0][:, round(3.2 * rate) :][:, : added[1].shape[1]]
    factor = np.sum(added[1] * whole) / np.sum(whole * whole)
    np.testing.assert_allclose(added[1], factor * whole, atol=1e-5)
    assert 0.5 < factor < 2


@pytest.mark.parametrize(("text", "most"), [("codec=vorbis:96", 1e-5), ("codec=mp3:64", 0.5)])
def test_a_part_is_coded_in_the_frames_of_the_whole(files: Path, text: str, most: float) -> None:
    """A segment would have other artefacts than the same part of the whole track.

    An MP3 encoder saves bits of the frames before; the difference stays below the codec's own.
    """
    track, recipe = files / "track.wav", parse(text)
    plain, rate = decode(track)
    whole, _ = decode(track, recipe=recipe)
    part, _ = decode(track, start=3.2, duration=1.5, recipe=recipe)
    begin, end = round(3.2 * rate), round(3.2 * rate) + part.shape[1]
    error = np.std(whole[:, begin:end] - plain[:, begin:end])
    assert np.std(part - whole[:, begin:end]) <= most * error


# --- gain, polarity, filters ---------------------------------------------------------------------


def test_gain_and_polarity_are_exact_and_do_not_clip() -> None:
    """A louder copy would be distorted, or not as loud as its recipe says."""
    wave = sine(440, 12_000)
    louder = effects.apply(parse("gain=+20"), wave, 12_000)
    np.testing.assert_allclose(louder, 10 * wave, rtol=1e-6)
    assert louder.max() > 3.9
    np.testing.assert_array_equal(effects.apply(parse("polarity"), wave, 12_000), -wave)


@pytest.mark.parametrize("sample_rate", [12_000, 44_100])
@pytest.mark.parametrize(
    ("text", "kind", "edges", "order"),
    [
        ("lowpass=1000", "low", 1000, 4),
        ("highpass=200:2", "high", 200, 2),
        ("bandpass=300:3400:3", "band", (300, 3400), 3),
    ],
)
def test_filters_have_the_response_of_scipys(
    sample_rate: int, text: str, kind: str, edges: object, order: int
) -> None:
    """A telephone's band would be another one than the recipe says."""
    impulse = np.zeros((1, 2 * sample_rate), np.float32)
    impulse[0, 0] = 1
    got = np.abs(np.fft.rfft(effects.apply(parse(text), impulse, sample_rate)[0]))
    b, a = scipy.signal.butter(order, edges, kind, fs=sample_rate)
    _, expected = scipy.signal.freqz(b, a, worN=len(got), include_nyquist=True)
    np.testing.assert_allclose(got, np.abs(expected), atol=1e-4)
    for edge in np.atleast_1d(edges):  # type: ignore[arg-type]
        assert 20 * np.log10(got[round(edge * 2)]) == pytest.approx(-3.01, abs=0.05)


def test_filters_above_the_sample_rate() -> None:
    """At 12 kHz a low-pass at 8 kHz would fail, and a high-pass there pass for a quiet track."""
    wave = music(12_000, 0.5)
    np.testing.assert_array_equal(effects.apply(parse("lowpass=8000"), wave, 12_000), wave)
    with pytest.raises(RowError, match="highpass=8000 leaves nothing of a track at 12000 Hz"):
        effects.apply(parse("highpass=8000"), wave, 12_000)
    band, high = (
        effects.apply(parse(text), wave, 12_000) for text in ("bandpass=300:8000", "highpass=300")
    )
    np.testing.assert_array_equal(band, high)


# --- noise and mixing ----------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("sample_rate", [12_000, 44_100])
def test_noise_has_its_ratio(colour: str, sample_rate: int) -> None:
    """Noise would be louder or softer than the recipe says, for a track with pauses above all."""
    wave = music(sample_rate, 1.0, 2)
    paused = np.pad(wave, ((0, 0), (sample_rate, sample_rate)))
    for snr in (-10, 0, 20):
        for signal in (wave, paused):
            result = effects.apply(parse(f"noise={colour}:{snr}"), signal, sample_rate)
            assert decibels(wave, result - signal) == pytest.approx(snr, abs=0.5)


def test_noise_of_a_part_has_its_ratio_to_that_part(files: Path) -> None:
    """A quiet passage would drown in noise that is right for the loud ones, and its margin count."""
    track = files / "track.wav"
    for start in (0.0, 2.5, 5.2):
        options = {"start": start, "duration": 0.5, "sample_rate": 12_000, "channels": 1}
        plain, _ = decode(track, **options)  # type: ignore[arg-type]
        noisy, _ = decode(track, recipe=parse("noise=white:6"), **options)  # type: ignore[arg-type]
        assert decibels(plain, noisy - plain) == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize(
    ("colour", "slope"), [("white", 0), ("pink", -3), ("brown", -6), ("blue", 3), ("violet", 6)]
)
@pytest.mark.parametrize("sample_rate", [12_000, 44_100])
def test_noise_has_its_colour(colour: str, slope: float, sample_rate: int) -> None:
    """Pink noise would hiss."""
    wave = noise(colour, sample_rate, seed=1, begin=0, samples=20 * sample_rate)[0]
    frequencies, power = scipy.signal.welch(wave, sample_rate, nperseg=8192)
    some = (frequencies > 60) & (frequencies < 0.45 * sample_rate)
    fit = np.polyfit(np.log2(frequencies[some]), 10 * np.log10(power[some]), 1)
    assert fit[0] == pytest.approx(slope, abs=0.2)
    assert np.var(wave) == pytest.approx(1, abs=0.2)  # of brown noise, little is independent
    assert abs(wave.mean()) < 0.02


def test_noise_does_not_depend_on_the_part_that_is_made() -> None:
    """Noise would jump at the borders of segments."""
    whole = noise("pink", 12_000, seed=3, begin=0, samples=60_000, channels=2)
    for begin, samples in [(0, 1), (1, 20_000), (16_383, 2), (16_384, 5000), (33_333, 26_667)]:
        part = noise("pink", 12_000, seed=3, begin=begin, samples=samples, channels=2)
        np.testing.assert_array_equal(part, whole[:, begin : begin + samples])
    level = np.sqrt(np.mean(whole.reshape(2, -1, 4000) ** 2, axis=2))
    assert level.max() < 2 * level.min(), "noise comes and goes with its blocks"


def test_seeds_and_channels_are_other_noise() -> None:
    """All copies would get the same noise, and stereo noise would stand in the middle."""
    waves = np.concatenate(
        [noise("white", 12_000, seed=seed, begin=0, samples=60_000, channels=2) for seed in (0, 1)]
    )
    apart = np.corrcoef(waves) - np.eye(4)
    assert np.abs(apart).max() < 0.02


@pytest.mark.parametrize("snr", [-6, 0, 15])
def test_mixed_tracks_have_their_ratio(files: Path, snr: int) -> None:
    """The other track would be louder or softer than the recipe says; it goes on over and over."""
    wave = music(22_050, 5.0)
    mixed = effects.apply(parse(f"mix={files}/other.wav:{snr}"), wave, 22_050)
    added = (mixed - wave)[0]
    assert decibels(wave, added) == pytest.approx(snr, abs=0.5)
    other, _ = soundfile.read(files / "other.wav")
    for begin in (0, 44_100):  # it lasts 2 s
        piece = added[begin : begin + 44_100]
        assert np.corrcoef(piece, other)[0, 1] > 0.999
    assert np.corrcoef(added[88_200:], other[: len(added) - 88_200])[0, 1] > 0.999


# --- rooms and codecs ----------------------------------------------------------------------------


def test_a_room_is_a_convolution_that_moves_nothing(files: Path) -> None:
    """Beats would come late by the silence that an impulse response begins with."""
    wave = bursts(48_000, [0.1, 0.6, 1.2], 2.0)
    wet = effects.apply(parse(f"room={files}/hall.wav"), wave, 48_000)
    response, _ = soundfile.read(files / "hall.wav")
    expected = scipy.signal.fftconvolve(wave[0], response / np.sqrt(np.sum(response**2)))
    np.testing.assert_allclose(wet[0], expected[480 : 480 + wave.shape[1]], atol=1e-5)
    lag = np.argmax(scipy.signal.correlate(wet[0], wave[0], method="fft")) - wave.shape[1] + 1
    assert lag == 0


@pytest.mark.parametrize("sample_rate", [12_000, 22_050, 44_100])
def test_a_room_at_other_rates(files: Path, sample_rate: int) -> None:
    """Reverberation would be shorter or longer, and beats late, at the features' rate."""
    impulse = np.zeros((2, sample_rate), np.float32)
    impulse[:, 1000] = 1
    wet = effects.apply(parse(f"room={files}/hall.wav"), impulse, sample_rate)
    assert abs(int(np.argmax(np.abs(wet[0]))) - 1000) <= 1
    # The tail falls by 20 dB in 0.288 s: e^(-t / 0.125 s).
    energy = [np.mean(wet[0, 1000 + round(t * sample_rate) :][: sample_rate // 20] ** 2)
              for t in (0.05, 0.338)]  # fmt: skip
    assert 10 * np.log10(energy[0] / energy[1]) == pytest.approx(20, abs=2)


def test_a_room_keeps_the_level_of_broad_sound(files: Path) -> None:
    """Rooms would make tracks louder or softer by chance of how they were recorded."""
    wave = np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32) * 0.1
    wet = effects.apply(parse(f"room={files}/hall.wav"), wave, 48_000)
    assert abs(decibels(wet[:, 24_000:], wave[:, 24_000:])) < 0.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("room={}/none.wav", "room=.*none.wav: no such file"),
        ("room={}/silence.wav", "room=.*silence.wav: silence, expected an impulse response"),
        ("mix={}/none.wav:3", "mix=.*none.wav: no such file"),
    ],
)
def test_files_that_cannot_be_used(files: Path, text: str, says: str) -> None:
    """The error would name the track, which is fine, and not the file that is missing."""
    with pytest.raises(RowError, match=says) as caught:
        effects.apply(parse(text.format(files)), music(12_000, 0.5), 12_000)
    assert "\n" not in str(caught.value)


def test_music_is_no_room(tmp_path: Path) -> None:
    """A folder of music given as rooms would blur all tracks instead of being refused."""
    soundfile.write(tmp_path / "x.wav", np.ones(8000 * 30) * 0.1, 8000)
    with pytest.raises(RowError, match=r"30 s long.*say mix=FILE:SNR"):
        effects.apply(parse(f"room={tmp_path}/x.wav"), music(8000, 0.5), 8000)


@pytest.mark.parametrize("sample_rate", [12_000, 44_100])
@pytest.mark.parametrize("codec", ["mp3", "vorbis", "opus"])
def test_codecs_keep_the_time_and_lose_by_their_bit_rate(codec: str, sample_rate: int) -> None:
    """A coded copy would be late by the encoder's delay, or 32 kbit/s sound like 320."""
    rng = np.random.default_rng(0)
    band = scipy.signal.butter(2, [200, 2000], "band", fs=sample_rate, output="sos")
    wave = scipy.signal.sosfilt(band, rng.standard_normal((2, sample_rate))).astype(np.float32) / 5
    errors = []
    for kbps in (16, 64, 320):
        coded = round_trip(wave, codec, kbps, sample_rate)
        assert coded.shape == wave.shape
        lag = np.argmax(scipy.signal.correlate(coded[0], wave[0], method="fft"))
        # SILK, which Opus is at low rates, is 2 of 48,000 samples early.
        assert abs(lag - wave.shape[1] + 1) <= 2 * (codec == "opus")
        errors.append(decibels(coded - wave, wave))
    assert errors[0] >= errors[1] > errors[2]
    assert errors[2] < -10


def test_codecs_do_not_clip() -> None:
    """A loud track would come back distorted by more than its codec."""
    wave = 5 * sine(440, 44_100)
    for codec in ("mp3", "vorbis", "opus"):
        assert decibels(round_trip(wave, codec, 256, 44_100) - wave, wave) < -20


def test_a_codec_hears_the_whole_spectrum(files: Path) -> None:
    """At the features' 12 kHz a codec of 48 kbit/s would have bits enough, and leave no trace."""
    plain, _ = decode(files / "track.wav", sample_rate=12_000, channels=1)
    coded, _ = decode(
        files / "track.wav", sample_rate=12_000, channels=1, recipe=parse("codec=mp3:48")
    )
    assert coded.shape == plain.shape
    first, _ = decode(files / "track.wav", channels=1)
    soundfile.write(
        files / "x.wav", round_trip(first, "mp3", 48, 44_100).T, 44_100, subtype="FLOAT"
    )
    expected, _ = decode(files / "x.wav", sample_rate=12_000, channels=1)
    np.testing.assert_allclose(coded, expected, atol=1e-5)
    assert decibels(coded - plain, plain) > -40

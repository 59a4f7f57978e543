"""Decoding: parts, channels, rates and recipes, and every kind of file that is not good audio."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import correlate

from mt_tools.errors import DecodeError, RowError
from mt_tools.recipes import Recipe, parse
from mt_tools.sound.decode import decode
from mt_tools.sound.paths import path_to_text

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: its fallback is not tried"
)
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "aiff": ("AIFF", "PCM_16"),
}


def music(sample_rate: int, seconds: float, channels: int = 2) -> np.ndarray:
    """Sines of another pitch in each channel, and a little noise, as [samples, channels]."""
    time = np.arange(round(sample_rate * seconds)) / sample_rate
    tones = [0.2 * np.sin(2 * np.pi * 220 * (k + 1) * time) for k in range(channels)]
    noise = np.random.default_rng(0).standard_normal((len(time), channels))
    return (np.stack(tones, axis=1) + 0.01 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of stereo in every format: `x.wav`, `x.mp3`, ..."""
    folder = tmp_path_factory.mktemp("audio")
    for ending, (container, subtype) in FORMATS.items():
        rate = 48_000 if ending == "opus" else 44_100
        path = folder / f"x.{ending}"
        soundfile.write(path, music(rate, 6), rate, format=container, subtype=subtype)
    return folder


def refused(source: object, **options: object) -> DecodeError:
    """Decode what cannot be decoded, and check that the message is one a person can use."""
    with pytest.raises(DecodeError) as caught:
        decode(source, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert len(message) > 20
    assert "\n" not in message
    return caught.value


# Parts, rates, channels


@pytest.mark.parametrize("sample_rate", [None, 12_000, 22_050, 11_999])
@pytest.mark.parametrize("ending", FORMATS)
def test_a_part_is_cut_from_the_whole(files: Path, ending: str, sample_rate: int | None) -> None:
    """Segments would not be the sound at their time, or differ at their edges."""
    path = files / f"x.{ending}"
    whole, rate = decode(path, sample_rate=sample_rate, channels=1)
    for start, duration in [(0.0, 1.0), (0.2, 0.1), (1.2345, 2.0), (3.00001, 2.5), (5.5, 9.0)]:
        part, _ = decode(path, start=start, duration=duration, sample_rate=sample_rate, channels=1)
        expected = whole[:, round(start * rate) :][:, : round(duration * rate)]
        assert part.shape == expected.shape
        np.testing.assert_allclose(part, expected, atol=1e-4)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("sample_rate", [None, 12_000, 22_050, 16_000])
def test_parts_have_exactly_the_samples_asked_for(
    files: Path, ending: str, sample_rate: int | None
) -> None:
    """Segments of one length would give features of different shapes."""
    for recipe in (Recipe(), parse("stretch=1.1"), parse("pitch=2,stretch=0.9")):
        for start in (0.0, 1 / 3, 4.0):
            wave, rate = decode(
                files / f"x.{ending}",
                start=start,
                duration=2.0,
                sample_rate=sample_rate,
                channels=1,
                recipe=recipe,
            )
            assert wave.shape == (1, round(2.0 * rate * recipe.stretch))
            assert wave.dtype == np.float32
            assert wave.flags.c_contiguous


@pytest.mark.parametrize("stored", [8000, 22_050, 44_100, 192_000])
@pytest.mark.parametrize("rate", [8000, 12_000, 44_100])
def test_resampling_keeps_the_signal(tmp_path: Path, stored: int, rate: int) -> None:
    """Everything would be out of tune, late, or louder after resampling."""
    time = np.arange(stored) / stored
    soundfile.write(tmp_path / "x.wav", np.sin(2 * np.pi * 440 * time), stored, subtype="FLOAT")
    wave, got = decode(tmp_path / "x.wav", sample_rate=rate)
    assert got == rate
    assert wave.shape == (1, rate)
    expected = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    edge = rate // 20
    np.testing.assert_allclose(wave[0, edge:-edge], expected[edge:-edge], atol=2e-4)


@pytest.mark.parametrize("stored", [1, 2, 3, 6, 8, 11])
def test_channels(tmp_path: Path, stored: int) -> None:
    """A surround or mono track would come out with a missing or a doubled part."""
    samples = music(8000, 0.5, stored)
    soundfile.write(tmp_path / "x.wav", samples, 8000, subtype="FLOAT")
    np.testing.assert_array_equal(decode(tmp_path / "x.wav")[0], samples.T)
    mono, _ = decode(tmp_path / "x.wav", channels=1)
    np.testing.assert_allclose(mono, samples.mean(axis=1, keepdims=True).T, atol=1e-6)
    stereo, _ = decode(tmp_path / "x.wav", channels=2)
    assert stereo.shape == (2, len(samples))
    if stored == 1:
        np.testing.assert_array_equal(stereo, np.repeat(samples.T, 2, axis=0))
    if stored == 2:
        np.testing.assert_array_equal(stereo, samples.T)
    if stored == 6:  # L, R, C, LFE, Ls, Rs: ITU-R BS.775-3, Table 2, scaled to sum to 1
        front, centre, side = 1, np.sqrt(0.5), np.sqrt(0.5)
        left = front * samples[:, 0] + centre * samples[:, 2] + side * samples[:, 4]
        np.testing.assert_allclose(stereo[0], left / (front + centre + side), atol=1e-6)
    if stored == 11:
        np.testing.assert_allclose(stereo, np.repeat(mono, 2, axis=0), atol=1e-6)


def test_ogg_has_its_own_order_of_channels(tmp_path: Path) -> None:
    """The centre of a surround Ogg would come out of the right loudspeaker."""
    samples = np.zeros((44_100, 6), np.float32)
    samples[:, 1] = music(44_100, 1, 1)[:, 0]  # Vorbis I, 4.3.9: left, centre, right, ...
    soundfile.write(tmp_path / "x.ogg", samples, 44_100)
    left, right = decode(tmp_path / "x.ogg", channels=2)[0]
    assert np.std(left) > 0.01
    np.testing.assert_allclose(left, right, atol=1e-3)
    loudest = np.std(decode(tmp_path / "x.ogg")[0], axis=1).argmax()
    assert loudest == 2  # in WAVE's order: left, right, centre, ...


@pytest.mark.parametrize("samples", [1, 2, 50])
def test_a_file_of_a_few_samples(tmp_path: Path, samples: int) -> None:
    """A jingle cut to one sample would stop the run."""
    soundfile.write(tmp_path / "x.wav", np.full(samples, 0.5), 44_100)
    assert decode(tmp_path / "x.wav")[0].shape == (1, samples)
    resampled, _ = decode(tmp_path / "x.wav", sample_rate=12_000, recipe=parse("pitch=1"))
    assert resampled.shape == (1, -(-samples * 12_000 // 44_100))


def test_a_selection_of_no_length_is_empty(files: Path) -> None:
    """A segment of zero seconds would fail, or take the whole track."""
    for options in ({}, {"sample_rate": 12_000}, {"recipe": parse("pitch=2")}):
        wave, _ = decode(files / "x.wav", start=1, duration=0, **options)  # type: ignore[arg-type]
        assert wave.shape == (2, 0)


def test_bytes_and_text_are_sources_too(files: Path) -> None:
    """Self-contained tables (Hugging Face's layout) and URIs could not be decoded."""
    for ending in ("mp3", "ogg", "flac"):
        path = files / f"x.{ending}"
        expected, rate = decode(path, sample_rate=12_000)
        for source in (path.read_bytes(), str(path), path.as_uri()):
            wave, got = decode(source, sample_rate=12_000)
            assert got == rate
            np.testing.assert_allclose(wave, expected, atol=1e-5)


# Recipes


def test_a_recipe_shifts_what_is_decoded(files: Path) -> None:
    """An augmented row would hold the sound of the original."""
    wave, rate = decode(
        files / "x.wav", start=1, duration=3, sample_rate=12_000, channels=1,
        recipe=parse("pitch=12"),
    )  # fmt: skip
    spectrum = np.abs(np.fft.rfft(wave[0]))
    tones = np.sort(np.argsort(spectrum)[-2:]) * rate / wave.shape[1]
    np.testing.assert_allclose(tones, [440, 880], atol=1)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_start_is_on_the_unaugmented_timeline(tmp_path: Path, factor: float) -> None:
    """Segments of a stretched copy would be another part of the music than the original's."""
    rate = 12_000
    samples = np.zeros(6 * rate)
    samples[3 * rate : 3 * rate + 120] = np.random.default_rng(0).standard_normal(120) * 0.3
    soundfile.write(tmp_path / "x.wav", samples, rate)
    wave, _ = decode(tmp_path / "x.wav", start=2.5, duration=1, recipe=parse(f"stretch={factor}"))
    onset = np.abs(wave[0]).argmax() / rate
    assert onset == pytest.approx(0.5 * factor, abs=0.02)


def test_a_stretched_part_sounds_like_the_part_of_the_stretched(files: Path) -> None:
    """The features of a segment would depend on how the track was cut."""
    recipe = parse("pitch=2,stretch=1.1")
    whole, rate = decode(files / "x.wav", sample_rate=12_000, channels=1, recipe=recipe)
    part, _ = decode(
        files / "x.wav", start=2, duration=2, sample_rate=12_000, channels=1, recipe=recipe
    )
    cut = whole[:, round(2 * rate * 1.1) :][:, : part.shape[1]]
    a, b = (np.abs(np.fft.rfft(x[0] * np.hanning(x.shape[1]))) for x in (part, cut))
    strong = a > 0.01 * a.max()
    assert 20 * np.abs(np.log10(a[strong] / b[strong])).mean() < 1


# Bad input


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg", "opus", "aiff"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.02])
def test_a_file_cut_short_is_refused(files: Path, tmp_path: Path, ending: str, kept: float) -> None:
    """Half a download would be tagged as if it were the song, whatever part is asked for."""
    whole = (files / f"x.{ending}").read_bytes()
    path = tmp_path / f"x.{ending}"
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert refused(path).kind == "truncated"
    assert refused(path, start=0, duration=0.05).kind == "truncated"
    assert refused(path.read_bytes()).kind == "truncated"


def test_a_streamed_wav_is_whole(tmp_path: Path) -> None:
    """Recordings written into a pipe, which leave the sizes open, would be refused."""
    soundfile.write(tmp_path / "x.wav", music(8000, 1), 8000)
    content = bytearray((tmp_path / "x.wav").read_bytes())
    size = content.index(b"data") + 4
    content[4:8] = content[size : size + 4] = b"\xff\xff\xff\xff"
    assert decode(bytes(content))[0].shape == (2, 8000)


def without_index(mp3: bytes) -> bytes:
    """Turn LAME's index frame into an ordinary silent one."""
    return mp3.replace(b"Xing", b"\0\0\0\0").replace(b"Info", b"\0\0\0\0")


def headerless_variable_mp3(folder: Path) -> Path:
    """A loud second at a high bit rate, then ten quiet ones at a low one, without an index."""
    joined = b""
    for compression, samples in ((0.0, music(44_100, 1)), (0.9, music(44_100, 10))):
        soundfile.write(folder / "p.mp3", samples, 44_100, bitrate_mode="CONSTANT",
                        compression_level=compression)  # fmt: skip
        joined += without_index((folder / "p.mp3").read_bytes())
    path = folder / "headerless.mp3"
    path.write_bytes(joined)
    return path


def test_a_cut_mp3_without_an_index_is_decoded_as_far_as_it_goes(
    files: Path, tmp_path: Path
) -> None:
    """Old MP3 files, which tell nothing about their length, would all be refused."""
    whole = without_index((files / "x.mp3").read_bytes())
    (tmp_path / "x.mp3").write_bytes(whole[: len(whole) // 2])
    assert 2.5 < decode(tmp_path / "x.mp3")[0].shape[1] / 44_100 < 3.5


def test_the_end_of_a_variable_mp3_without_an_index_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libsndfile would end such a song at a fraction of its length, without a word."""
    path = headerless_variable_mp3(tmp_path)
    if shutil.which("ffmpeg"):
        wave, rate = decode(path)
        assert wave.shape[1] / rate == pytest.approx(11, abs=0.2)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    error = refused(path)
    assert error.kind == "no-decoder"
    assert "without an index" in str(error)


def test_an_index_that_libsndfile_misses_is_seen(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A song behind a damaged tag would end early, without a word."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    damaged_tag = b"ID3\x03\x00\xff" + bytes([0, 0, 1, 0]) + bytes(range(128))
    mp3 = (files / "x.mp3").read_bytes()
    assert refused(damaged_tag + mp3).kind == "no-decoder"
    assert decode(damaged_tag.replace(b"\xff", b"\0", 1) + mp3)[0].shape == (2, 6 * 44_100)


@pytest.mark.parametrize(
    ("content", "kind", "says"),
    [
        (b"", "empty", "0 bytes"),
        (b"These are the lyrics.\n" * 30, "not-audio", "text"),
        ("Très drôle\n".encode() * 400, "not-audio", "text"),
        (bytes(range(256)) * 8, "not-audio", "no known audio format"),
        (b"\xff\xfb\x90\x44" + bytes(100), "unreadable", "MP3"),
    ],
)
@pytest.mark.parametrize("ending", ["mp3", "wav", "raw"])
def test_what_is_no_audio(
    tmp_path: Path, content: bytes, kind: str, says: str, ending: str
) -> None:
    """Errors would say that a file which is there does not exist, as libsndfile does."""
    (tmp_path / f"x.{ending}").write_bytes(content)
    error = refused(tmp_path / f"x.{ending}")
    assert error.kind == kind
    assert says in str(error)


def test_text_named_m4a_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web page saved under a song's name would ask for ffmpeg, which cannot decode it either."""
    monkeypatch.setenv("PATH", "")
    (tmp_path / "x.m4a").write_bytes(b"<html>Not found</html>")
    assert refused(tmp_path / "x.m4a").kind == "not-audio"


def test_a_header_without_samples_is_empty(tmp_path: Path) -> None:
    """A recording that never began would become features of nothing."""
    soundfile.write(tmp_path / "x.wav", np.zeros((0, 2)), 44_100)
    assert refused(tmp_path / "x.wav").kind == "empty"


def test_what_is_not_there(tmp_path: Path) -> None:
    """A moved file, a dangling link, a loop or a folder would give an obscure error."""
    (tmp_path / "broken.wav").symlink_to("gone.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    for name, kind, says in [
        ("none.wav", "missing", "no such file"),
        ("broken.wav", "missing", "'gone.wav'"),
        ("loop.wav", "missing", "loop"),
        (".", "not-audio", "a folder"),
        ("pipe.wav", "unreadable", "a pipe"),
    ]:
        error = refused(tmp_path / name)
        assert (error.kind, says in str(error)) == (kind, True)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Give up root's rights for a while, as root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_without_permission(tmp_path: Path) -> None:
    """A file of another user would look broken."""
    path = tmp_path / "x.wav"
    soundfile.write(path, music(8000, 1), 8000)
    path.chmod(0)
    with ordinary_user():
        error = refused(path)
    assert error.kind == "unreadable"
    assert "permission" in str(error)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    """One NaN in a float file would spread through every feature and score."""
    samples = music(8000, 2)
    samples[12_000, 1] = value
    soundfile.write(tmp_path / "x.wav", samples, 8000, subtype="FLOAT")
    error = refused(tmp_path / "x.wav", channels=1)
    assert error.kind == "unreadable"
    assert "1.50 s" in str(error)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_part_beyond_the_end(files: Path, ending: str) -> None:
    """A segment table of another version of the track would give empty features."""
    for start in (6.5, 600):
        for options in ({}, {"sample_rate": 12_000}, {"duration": 1.0}):
            error = refused(files / f"x.{ending}", start=start, **options)
            assert error.kind == "too-short"


@pytest.mark.parametrize("options", [{"start": -1.0}, {"duration": -1.0}, {"start": np.nan}])
def test_an_impossible_part(files: Path, options: dict[str, float]) -> None:
    """A negative time would be counted from the end."""
    with pytest.raises(RowError, match="expected seconds"):
        decode(files / "x.wav", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["flac", "mp3"])
def test_broken_in_the_middle(files: Path, ending: str) -> None:
    """A damaged disk sector would end the run, or a song would end there without a word."""
    content = bytearray((files / f"x.{ending}").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 6000] = bytes(6000)
    error = refused(bytes(content))
    assert error.kind == "unreadable"
    assert "broken after" in str(error)


@pytest.mark.parametrize(
    "name", [b"a b.wav", b'it\'s "x".wav', b"new\nline.wav", b"-x.wav", b"\xff caf\xe9.wav"]
)
def test_odd_names(files: Path, tmp_path: Path, name: bytes) -> None:
    """A file would be skipped for how it is called."""
    path = os.path.join(os.fsencode(tmp_path), name)
    try:
        shutil.copy(os.fsencode(files / "x.wav"), path)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert decode(path_to_text(path))[0].shape == (2, 6 * 44_100)
    assert decode(Path(os.fsdecode(path)))[0].shape == (2, 6 * 44_100)


# What only ffmpeg decodes


def test_without_ffmpeg_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone with a folder of M4A files would not know what is missing."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "x.m4a"
    path.write_bytes(b"\0\0\0\x1cftypM4A \0\0\2\0" + bytes(1000))
    error = refused(path)
    assert error.kind == "no-decoder"
    assert "install ffmpeg" in str(error)
    assert "AAC" in str(error)


@needs_ffmpeg
def test_torchcodec_gives_the_samples_of_ffmpeg(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library would be embedded otherwise on a machine that has torchcodec in ffmpeg's place."""
    pytest.importorskip("torchcodec.decoders", exc_type=ImportError)
    path = tmp_path / "x.m4a"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", files / "x.wav", "-c:a", "aac", path], check=True
    )
    cut = path.read_bytes()[:-1000]
    wave, _ = decode(path, sample_rate=12_000)
    part, _ = decode(path, start=2, duration=1)
    monkeypatch.setenv("PATH", "")
    np.testing.assert_array_equal(decode(path, sample_rate=12_000)[0], wave)
    np.testing.assert_array_equal(decode(path, start=2, duration=1)[0], part)
    np.testing.assert_array_equal(decode(path.read_bytes(), sample_rate=12_000)[0], wave)
    assert refused(path, start=60).kind == "too-short"
    assert refused(cut).kind == "truncated"


@needs_ffmpeg
@pytest.mark.parametrize(
    ("ending", "codec"), [("m4a", "aac"), ("m4a", "alac"), ("wma", "wmav2"), ("wv", "wavpack")]
)
def test_ffmpeg_decodes_what_libsndfile_cannot(
    files: Path, tmp_path: Path, ending: str, codec: str
) -> None:
    """Half of a DJ's library would be error rows although ffmpeg is installed."""
    path = tmp_path / f"it's 1:2.{ending}"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", files / "x.wav", "-c:a", codec, f"file:{path}"], check=True
    )
    expected, _ = decode(files / "x.wav", sample_rate=12_000)
    wave, rate = decode(path, sample_rate=12_000)
    assert rate == 12_000
    assert wave.shape[1] == pytest.approx(expected.shape[1], rel=0.02)
    # WMA comes 46 ms late, as its decoder does not take the encoder's delay away.
    for got, wanted in zip(wave[:, 1200:48_000], expected[:, 1200:48_000], strict=True):
        agreement = correlate(got, wanted) / (np.linalg.norm(got) * np.linalg.norm(wanted))
        assert agreement.max() > 0.9
        assert abs(int(agreement.argmax()) - len(got) + 1) < 0.05 * 12_000
    part, _ = decode(path, start=2, duration=1, sample_rate=12_000)
    np.testing.assert_allclose(part, wave[:, 24_000:36_000], atol=1e-4)
    from_bytes, _ = decode(path.read_bytes(), sample_rate=12_000)
    np.testing.assert_allclose(from_bytes, wave, atol=1e-4)
    assert refused(path, start=60).kind == "too-short"


@needs_ffmpeg
def test_a_cut_m4a_is_refused(files: Path, tmp_path: Path) -> None:
    """Half a download would be tagged as if it were the song."""
    path = tmp_path / "x.m4a"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", files / "x.wav", "-c:a", "aac",
         "-movflags", "+faststart", path],
        check=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refused(path).kind == "truncated"

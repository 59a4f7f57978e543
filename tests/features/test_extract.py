"""From a waveform to the shapes of the studies, and the parts of a track that are decoded."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.errors import RowError, UsageError
from mt_tools.features.extract import excerpts, extract, fit_length
from mt_tools.features.presets import PRESETS
from mt_tools.features.settings import FeatureSettings

SMALL: dict[str, Any] = {"sample_rate": 12000, "n_fft": 512, "hop": 256, "bands": 64}


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """Two seconds of fading noise, mono, at 12 kHz."""
    rng = np.random.default_rng(5)
    fade = np.exp(-np.arange(24000) / 12000)
    return (0.2 * rng.standard_normal(24000) * fade).astype(np.float32)[None]


@pytest.mark.parametrize("scale", ["power", "log", "dB"])
def test_frames_cut_or_pad_with_silence(wave: np.ndarray, scale: str) -> None:
    """A network of fixed length must get its frames, padded with the floor and not with zeros."""
    settings = FeatureSettings(**SMALL, scale=scale)
    whole = extract(wave, settings)
    longer = extract(wave, dataclasses.replace(settings, frames=100))
    np.testing.assert_allclose(longer[:, :94], whole, rtol=1e-6)
    floor = {"power": 0.0, "log": np.log(1e-10), "dB": whole.max() - 80}[scale]
    np.testing.assert_allclose(longer[:, 94:], floor, rtol=1e-5)
    shorter = extract(wave, dataclasses.replace(settings, frames=10, top_db=0.0))
    expected = extract(wave, dataclasses.replace(settings, top_db=0.0))[:, :10]
    np.testing.assert_allclose(shorter, expected, rtol=1e-5)


def test_undefined_samples_are_a_row_error(wave: np.ndarray) -> None:
    """One NaN in a float file must not reach a training table."""
    broken = wave.copy()
    broken[0, 5000] = np.nan
    with pytest.raises(RowError) as caught:
        extract(broken, FeatureSettings(**SMALL))
    assert caught.value.kind == "not-finite"


def test_empty_wave_is_a_row_error() -> None:
    """A track without samples must become one error row, not stop the run."""
    empty = np.zeros((1, 0), dtype=np.float32)
    for settings in (FeatureSettings(), FeatureSettings(kind="mfcc", frames=10)):
        with pytest.raises(RowError, match="no samples") as caught:
            extract(empty, settings)
        assert caught.value.kind == "too-short"


@pytest.mark.parametrize(
    ("excerpt", "length", "start", "duration", "expected"),
    [
        ("whole", 30.0, None, None, [(0.0, None)]),
        ("whole", None, 5.0, None, [(5.0, None)]),
        ("whole", 30.0, 5.0, 10.0, [(5.0, 10.0)]),
        ("first:10", 30.0, None, None, [(0.0, 10.0)]),
        ("first:10", None, None, None, [(0.0, 10.0)]),
        ("first:10", 30.0, 25.0, None, [(25.0, 5.0)]),
        ("first:10", 30.0, 5.0, 4.0, [(5.0, 4.0)]),
        ("centre:10", 30.0, None, None, [(10.0, 10.0)]),
        ("centre:10", 30.0, 10.0, None, [(15.0, 10.0)]),
        ("centre:10", 30.0, 10.0, 12.0, [(11.0, 10.0)]),
        ("centre:10", 8.0, None, None, [(0.0, 8.0)]),
        ("centre:10", None, 2.0, 20.0, [(7.0, 10.0)]),
        ("segment:10", 35.0, None, None, [(0.0, 10.0), (10.0, 10.0), (20.0, 10.0)]),
        ("segment:10", 35.0, 10.0, 20.0, [(10.0, 10.0), (20.0, 10.0)]),
        ("segment:10", 35.0, 30.0, 20.0, [(30.0, 5.0)]),
        ("segment:10", 4.0, None, None, [(0.0, 4.0)]),
        ("segment:10:5", 24.0, None, None, [(0.0, 10.0), (5.0, 10.0), (10.0, 10.0)]),
        ("segment:10:5", 25.0, 2.0, None, [(2.0, 10.0), (7.0, 10.0), (12.0, 10.0)]),
        ("segment:10:15", 35.0, None, None, [(0.0, 10.0), (15.0, 10.0)]),
        ("segment:10:5", 4.0, None, None, [(0.0, 4.0)]),
        ("range:29:58", 87.0, None, None, [(29.0, 29.0)]),
        ("range:29:58", None, None, None, [(29.0, 29.0)]),
        ("range:29:58", 40.0, None, None, [(29.0, 11.0)]),
        ("range:5:15", 60.0, 10.0, 30.0, [(15.0, 10.0)]),
        ("range:5:15", 60.0, 10.0, 8.0, [(15.0, 3.0)]),
        # DJ's three parts of 29 s tile the first 87 s.
        ("parts:3:29", 87.0, None, None, [(0.0, 29.0), (29.0, 29.0), (58.0, 29.0)]),
        ("parts:3:29", 240.0, None, 87.0, [(0.0, 29.0), (29.0, 29.0), (58.0, 29.0)]),
        ("parts:3:10", 60.0, None, None, [(5.0, 10.0), (25.0, 10.0), (45.0, 10.0)]),
        ("parts:3:10", 60.0, 6.0, 30.0, [(6.0, 10.0), (16.0, 10.0), (26.0, 10.0)]),
        ("parts:3:20", 30.0, None, None, [(0.0, 20.0), (5.0, 20.0), (10.0, 20.0)]),
        ("parts:3:20", 20.0, None, None, [(0.0, 20.0)]),
        ("parts:3:20", 8.0, None, None, [(0.0, 8.0)]),
        ("parts:1:10", 30.0, None, None, [(10.0, 10.0)]),
        ("parts:3", 60.0, None, None, [(0.0, 20.0), (20.0, 20.0), (40.0, 20.0)]),
        ("parts:2", 60.0, 20.0, 30.0, [(20.0, 15.0), (35.0, 15.0)]),
        ("crops:2:10", 4.0, 1.0, None, [(1.0, 3.0)]),
    ],
)
def test_excerpts(
    excerpt: str,
    length: float | None,
    start: float | None,
    duration: float | None,
    expected: list[tuple[float, float | None]],
) -> None:
    """The wrong part of a track would be decoded."""
    settings = FeatureSettings(excerpt=excerpt)
    assert excerpts(length, settings, start, duration) == expected


def test_crops_begin_where_they_are_drawn() -> None:
    """A crop would never reach the end of a track, reach beyond it, or stand twice."""
    settings = FeatureSettings(sample_rate=100, excerpt="crops:3:2")
    assert excerpts(10.0, settings, places=[0.5, 0.0, 0.999999]) == [
        (0.0, 2.0),
        (4.0, 2.0),
        (8.0, 2.0),
    ]
    assert excerpts(10.0, settings, 3.0, 4.0, places=[0.0, 0.999999]) == [(3.0, 2.0), (5.0, 2.0)]
    # Two hundredths of a second to begin in are three places; all draws of one place are one crop.
    places = [number / 50 for number in range(50)]
    assert excerpts(2.02, settings, places=places) == [(0.0, 2.0), (0.01, 2.0), (0.02, 2.0)]


@given(
    length=st.floats(0.05, 4000),
    start=st.floats(0, 50),
    rate=st.sampled_from([8000, 12000, 22050, 44100]),
    seconds=st.floats(0.02, 40),
    hop=st.floats(0.01, 40),
    count=st.integers(1, 9),
    places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=9),
)
def test_parts_lie_inside_the_track(
    length: float, start: float, rate: int, seconds: float, hop: float, count: int, places: Any
) -> None:
    """Silence beyond the end would be learned, or a part of the track be left out or taken twice."""
    hop = max(hop, length / 500)  # not thousands of parts
    sample = 1 / rate
    for excerpt in (
        f"segment:{seconds!r}", f"segment:{seconds!r}:{hop!r}", f"crops:{len(places)}:{seconds!r}",
        f"parts:{count}:{seconds!r}", f"parts:{count}", f"centre:{seconds!r}",
        f"first:{seconds!r}", f"range:{seconds / 3!r}:{seconds!r}",
    ):  # fmt: skip
        settings = FeatureSettings(sample_rate=rate, excerpt=excerpt)
        if excerpt == f"segment:{seconds!r}" and length / seconds > 500:
            continue
        if excerpt.startswith("range") and length < seconds / 3 + 1e-6:
            continue  # nothing is left of the track: see the impossible excerpts
        parts = excerpts(start + length, settings, start, None, places)
        begins = [begin for begin, _ in parts]
        assert begins == sorted(begins)
        assert len({round(begin * rate) for begin in begins}) == len(parts)
        for begin, duration in parts:
            assert duration is not None
            assert begin >= start - sample
            assert begin + duration <= start + length + sample
        short = round(length * rate) < round(seconds * rate)
        if excerpt.startswith("segment"):
            step = settings.excerpt_hop
            assert np.allclose(np.diff(begins), step, atol=1e-6)
            # Another segment would not fit, and what is left over is less than one.
            assert short or begins[-1] + step + seconds > start + length - 2 * sample
        elif excerpt == f"parts:{count}":
            assert begins[0] == start
            assert sum(duration for _, duration in parts) == pytest.approx(length)
        elif not short and excerpt.startswith(("crops", "parts")):
            assert all(duration == seconds for _, duration in parts)


def test_segments_count_whatever_the_rounding() -> None:
    """A 30 s clip must give the study's twelve segments, not eleven by a rounding error."""
    assert len(excerpts(30.0, PRESETS["rep"].settings)) == 12
    assert len(excerpts(0.1 + 0.2, FeatureSettings(excerpt="segment:0.1"))) == 3
    assert len(excerpts(29.99999, PRESETS["rep"].settings)) == 12
    # One every 8,012.5 samples: 500 fit. One every 8,012 would be 501, the last beyond the end.
    long = FeatureSettings(sample_rate=8000, excerpt="segment:0.03125:1.0015625")
    assert len(excerpts(500.78125, long)) == 500


@pytest.mark.parametrize(
    ("length", "start", "duration", "kind"),
    [
        (10.0, 12.0, None, "too-short"),
        (10.0, 0.0, 0.0, "too-short"),
        (None, None, 0.0, "too-short"),
        (None, None, None, "no-length"),
    ],
)
def test_impossible_excerpts_are_row_errors(
    length: float | None, start: float | None, duration: float | None, kind: str
) -> None:
    """A part beyond the end of a track must be one error row that says so."""
    with pytest.raises(RowError) as caught:
        excerpts(length, PRESETS["choi2016"].settings, start, duration)
    assert caught.value.kind == kind


def test_fit_length_pads_at_the_end_and_cuts() -> None:
    """Short tracks must get zeros behind them, so that the excerpt has its exact length."""
    settings = FeatureSettings(sample_rate=10, excerpt="first:1")
    ones = np.ones((2, 7), dtype=np.float32)
    fitted = fit_length(ones, settings)
    assert fitted.dtype == np.float32
    np.testing.assert_array_equal(fitted, [[1] * 7 + [0] * 3] * 2)
    assert fit_length(np.ones((2, 11), dtype=np.float32), settings).shape == (2, 10)
    assert fit_length(ones, FeatureSettings()) is ones


def test_short_excerpts_are_padded_repeated_or_skipped() -> None:
    """What was asked for a track shorter than its excerpt would not be done, or not be reported."""
    short = np.arange(14, dtype=np.float32).reshape(2, 7)
    settings = FeatureSettings(sample_rate=10, excerpt="first:2")
    repeated = fit_length(short, dataclasses.replace(settings, short="repeat"))
    np.testing.assert_array_equal(repeated, np.tile(short, 3)[:, :20])
    skip = dataclasses.replace(settings, short="skip")
    with pytest.raises(RowError, match=r"0\.70 s of 2\.00 s; say --short pad or repeat") as caught:
        fit_length(short, skip)
    assert caught.value.kind == "too-short"
    # A sample that rounding took does not make a track short.
    assert fit_length(np.ones((1, 19), np.float32), skip)[0, -1] == 0
    # Equal parts of a track have no length of their own but that of the track.
    parts = FeatureSettings(sample_rate=10, excerpt="parts:3")
    assert fit_length(short, parts, 0.9).shape == (2, 9)
    assert fit_length(short, FeatureSettings(sample_rate=10), 0.9) is short


# Bands and frames that the studies state (channels first where they keep stereo).
SHAPES = {
    "choi2016": (96, 1366),
    "choi2017": (96, 1360),
    "musicnn": (96, 187),
    "dj": (48, 1874),
    "agf": (128, 43),
    "seq": (96, 1366),
    "reg": (128, 6616),
    "rep": (2, 128, 216),
    "mfcc-rep": (120,),
    "seq-mfcc": (90, 1366),
    "agf-mfcc": (25, 1292),
    "agf-dmfcc": (25, 1292),
    "agf-essentia": (524,),
    "loudness": (4,),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_give_the_shapes_of_the_studies(name: str) -> None:
    """A network of a study would refuse the features of its own preset."""
    settings = PRESETS[name].settings
    seconds = settings.excerpt_seconds or 5.0
    rng = np.random.default_rng(0)
    wave = rng.uniform(-1, 1, (2, round(seconds * settings.sample_rate) - 17))
    features = extract(fit_length(wave.astype(np.float32), settings), settings)
    assert features.shape == SHAPES[name]
    assert features.dtype == np.float32
    if not settings.is_vector:
        assert features.shape[-1] == settings.frames_for(seconds)
        assert features.shape[-2] == settings.output_bands


def test_the_waveform_as_a_feature(wave: np.ndarray) -> None:
    """Networks of waveforms would get samples that were scaled, cut or mixed otherwise."""
    np.testing.assert_array_equal(extract(wave, FeatureSettings(kind="wave")), wave[0])
    stereo = np.concatenate([wave, -wave])
    np.testing.assert_allclose(extract(stereo, FeatureSettings(kind="wave")), 0, atol=1e-7)
    both = extract(stereo, FeatureSettings(kind="wave", channels="stereo"))
    np.testing.assert_array_equal(both, stereo)
    mel = FeatureSettings(kind="wave", n_fft=512, hop=100)
    assert mel.compatible(FeatureSettings(kind="wave")) == []
    assert FeatureSettings(kind="wave", sample_rate=8000).compatible(mel) == [
        "sample_rate: got 8000, expected 22050"
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "wave", "summary": "mean"}, "has no frames"),
        ({"kind": "wave", "frames": 5}, "has no frames"),
        ({"kind": "essentia"}, "--sample-rate 44100"),
        ({"excerpt": "segment:10:0"}, "segment:S:H"),
        ({"excerpt": "segment:10:5:5"}, "segment:S:H"),
        ({"excerpt": "first:10:5"}, "segment:S:H"),
        ({"excerpt": "segment:10:0.00001"}, "shorter than one sample"),
        ({"excerpt": "range:58:29"}, "range:FROM:TO"),
        ({"excerpt": "range:5"}, "range:FROM:TO"),
        ({"excerpt": "crops:0:2"}, "crops:N:S"),
        ({"excerpt": "crops:2.5:2"}, "crops:N:S"),
        ({"excerpt": "crops:2"}, "crops:N:S"),
        ({"excerpt": "crops:2:3:0.5"}, "crops:N:S"),
        ({"excerpt": "parts:0"}, "parts:N"),
        ({"excerpt": "parts:3:0"}, "parts:N"),
        ({"excerpt": "whole:3"}, "expected whole"),
        ({"excerpt": ""}, "expected whole"),
        ({"short": "drop"}, "one of pad, repeat, skip"),
        ({"transform": "whiten"}, "kind:rows:digest"),
    ],
)
def test_kinds_and_hops_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    """A setting without effect would look as if it had one."""
    with pytest.raises(UsageError, match=message):
        FeatureSettings(**settings)

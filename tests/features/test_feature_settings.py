"""Settings that travel with features: JSON, comparison, mistakes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.features.extract import _KINDS as extract_kinds
from mt_tools.features.extract import extract
from mt_tools.features.presets import PRESETS, preset
from mt_tools.features.registry import KINDS, OPTIONAL
from mt_tools.features.settings import FeatureSettings


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    """Features read back from a file must be known as the preset that made them."""
    settings = preset(name)
    text = json.dumps(settings.to_json())
    assert FeatureSettings.from_json(json.loads(text)) == settings
    assert settings.compatible(settings) == []
    assert PRESETS[name].source


def test_whole_numbers_are_the_same_setting() -> None:
    """`exponent = 2` in a configuration file must not make features differ from `2.0`."""
    settings = FeatureSettings.from_json({"exponent": 2, "fmin": 0})
    assert settings.to_json() == FeatureSettings().to_json()
    assert json.dumps(settings.to_json()) == json.dumps(FeatureSettings().to_json())
    assert FeatureSettings.from_json({"tuning": 0.25, "reference": 2}).tuning == "0.25"


def test_unknown_names_are_told_with_the_nearest() -> None:
    """A misspelt setting must be named, with the right spelling."""
    with pytest.raises(UsageError, match=r"centr \(is it centre\?\), zeal; known: kind, "):
        FeatureSettings.from_json({"centr": True, "zeal": 512, "bands": 96})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "chrome"}, "mel, mfcc"),
        ({"bands": 0}, "at least 1"),
        ({"deltas": 3}, "at most 2"),
        ({"hop": 0}, "hop"),
        ({"hop": "512"}, "expected int"),
        ({"centre": 1}, "expected bool"),
        ({"sample_rate": 12000, "fmax": 8000.0}, "6000"),
        ({"fmin": 9000.0, "fmax": 8000.0}, "fmin 9000"),
        ({"win_length": 4096}, "win_length"),
        ({"delta_width": 8}, "odd"),
        ({"kind": "mfcc", "static": False}, "--deltas 1 or 2"),
        ({"kind": "mfcc", "scale": "power", "static": False, "deltas": 1}, "log"),
        ({"reference": "loudest"}, "one, max or a number"),
        ({"reference": "-1"}, "one, max or a number"),
        ({"reference": "nan"}, "one, max or a number"),
        ({"scale": "compressed", "compression": 0.0}, "above 0"),
        ({"n_chroma": 20}, "multiple of 12"),
        ({"tuning": "guess"}, "number or estimate"),
        ({"tuning": "inf"}, "number or estimate"),
        ({"kind": "stft", "fmin": 100.0, "fmax": 101.0}, "no bin of the STFT"),
        ({"kind": "stft", "sample_rate": 8000, "fmax": 5000.0}, "4000 Hz, half the sample rate"),
        ({"kind": "loudness"}, "--sample-rate 48000"),
        ({"kind": "tempo", "channels": "stereo"}, "one vector of all channels"),
        ({"kind": "descriptors", "summary": "mean"}, "has no frames"),
        ({"kind": "tempo", "frames": 9}, "has no frames"),
        ({"n_mfcc": 60, "bands": 40, "kind": "mfcc"}, "60"),
        ({"kind": "mfcc", "scale": "power"}, "log"),
        ({"floor": 0.0}, "floor"),
        ({"exponent": 0.0}, "above 0"),
        ({"fmax": float("nan")}, "finite"),
        ({"excerpt": "middle:3"}, "centre:S"),
        ({"excerpt": "first"}, "first:S"),
        ({"excerpt": "first:-2"}, "above 0"),
        ({"excerpt": "segment:inf"}, "above 0"),
        ({"excerpt": "segment:1e-9"}, "one sample"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any], message: str) -> None:
    """A setting that cannot be computed must be told before any file is read."""
    with pytest.raises(UsageError, match=message):
        FeatureSettings(**values)


def test_differences_are_spelled_out() -> None:
    """Features of the wrong rate would be fed to a model without a word."""
    got = preset("dj")
    expected = dataclasses.replace(got, sample_rate=12000, excerpt="whole", frames=99)
    lines = got.compatible(expected)
    assert "sample_rate: got 22050, expected 12000" in lines
    assert not any("excerpt" in line or "frames" in line for line in lines)


def test_settings_without_effect_do_not_differ() -> None:
    """Features must not be refused for a number that never entered them."""
    decibels = FeatureSettings()
    for changes in (
        {"n_mfcc": 13, "deltas": 1, "delta_width": 5},
        {"win_length": 2048},
        {"fmax": 11025.0},
    ):
        assert decibels.compatible(FeatureSettings(**changes)) == []
    power = FeatureSettings(scale="power", centre=False)
    assert (
        power.compatible(
            FeatureSettings(
                scale="power", centre=False, top_db=60.0, floor=1e-5, reference="max", pad="reflect"
            )
        )
        == []
    )
    assert decibels.compatible(FeatureSettings(top_db=60.0)) == ["top_db: got 80.0, expected 60.0"]


@pytest.mark.parametrize(
    ("kind", "without_effect", "with_effect"),
    [
        ("stft", {"bands": 40, "mel_scale": "htk", "n_chroma": 24}, {"fmax": 5000.0}),
        ("stft", {"mel_exponent": 2.0, "compression": 5.0}, {"window": "hamming"}),
        ("chroma", {"fmin": 50.0, "scale": "power", "floor": 1e-3, "bands": 9}, {"tuning": "0.2"}),
        ("chroma", {"top_db": 9.0, "tuning": "0.0"}, {"tuning": "estimate"}),
        ("mfcc", {"tuning": "0.1", "delta_width": 2}, {"n_mfcc": 5}),
        ("mel", {"reference": "1"}, {"reference": "2"}),
        ("descriptors", {"scale": "log", "exponent": 1.0, "bands": 9}, {"hop": 100}),
        ("loudness", {"n_fft": 512, "hop": 1, "window": "hamming"}, {"sample_rate": 44100}),
        ("wave", {"n_fft": 512, "centre": False, "scale": "log"}, {"channels": "stereo"}),
    ],
)
def test_each_kind_knows_what_enters_it(
    kind: str, without_effect: dict[str, Any], with_effect: dict[str, Any]
) -> None:
    """Features would be refused for what never entered them, or taken for others."""
    base = FeatureSettings(kind=kind, sample_rate=48000)
    assert base.compatible(dataclasses.replace(base, **without_effect)) == []
    (line,) = base.compatible(dataclasses.replace(base, **with_effect))
    assert line.startswith(next(iter(with_effect)))


def test_every_setting_enters_some_kind() -> None:
    """A new setting that no kind lists would be compared for none, and differ without a word."""
    always = {"kind", "sample_rate", "channels", "excerpt", "short", "frames", "transform"}
    names = {field.name for field in dataclasses.fields(FeatureSettings)}
    assert names == OPTIONAL | always
    assert set(KINDS) == set(extract_kinds)


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_are_known_before_anything_is_computed(name: str) -> None:
    """Training from sound would begin with a network of another width than its features have."""
    if name == "agf-essentia":
        pytest.importorskip("essentia")
    settings = preset(name)
    seconds = settings.excerpt_seconds or 5.0
    samples = round(seconds * settings.sample_rate)
    wave = np.random.default_rng(0).uniform(-1, 1, (2, samples)).astype(np.float32)
    assert extract(wave, settings).shape == settings.shape_for(seconds)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"scale": "power"}, False),
        ({"scale": "compressed"}, True),
        ({"kind": "stft", "scale": "power"}, False),
        ({"kind": "stft", "scale": "log"}, True),
        ({"kind": "mfcc"}, True),
        ({"kind": "chroma"}, True),
        ({"kind": "chroma", "scale": "power"}, True),
        ({"kind": "chroma", "chroma_norm": "none"}, False),
        ({"kind": "descriptors"}, False),
        ({"kind": "tempo"}, False),
    ],
)
def test_what_float16_can_hold(changes: dict[str, Any], fits: bool) -> None:
    """Powers and hertz would overflow to infinity in a table that was meant to be half as large."""
    assert FeatureSettings(**changes).fits_half == fits


def test_unknown_preset_lists_the_known() -> None:
    """A misspelt preset must be answered with the list."""
    with pytest.raises(UsageError, match="choi2016, dj, agf"):
        preset("choi")


def test_frames_are_counted_before_anything_is_decoded() -> None:
    """A table's column has one shape: it must be known from the seconds alone."""
    assert FeatureSettings(hop=512).frames_for(30) == 1 + 30 * 22050 // 512
    uncentred = FeatureSettings(centre=False)
    assert uncentred.frames_for(30) == 1 + (30 * 22050 - 2048) // 512
    assert uncentred.frames_for(0.001) == 1
    assert FeatureSettings(frames=7).frames_for(30) == 7
    assert FeatureSettings().excerpt_seconds is None
    assert FeatureSettings(excerpt="centre:2.5").excerpt_samples == 55125


def test_every_setting_helps() -> None:
    """An option without a line of help, or too long for a terminal, helps nobody."""
    for field in dataclasses.fields(FeatureSettings):
        assert field.metadata["help"].endswith("."), field.name
        assert len(field.metadata["help"]) <= 90, field.name


def test_settings_import_fast() -> None:
    """`mt-spec --help` would wait for numpy and scipy."""
    code = "import sys, mt_tools.features.settings; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

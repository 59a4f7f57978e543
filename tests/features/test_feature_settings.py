"""Settings that travel with features: JSON, comparison, mistakes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from mt_tools.errors import UsageError
from mt_tools.features.settings import PRESETS, FeatureSettings, preset


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


def test_unknown_names_are_told_with_the_nearest() -> None:
    """A misspelt setting must be named, with the right spelling."""
    with pytest.raises(UsageError, match=r"centr \(is it centre\?\), zeal; known: kind, "):
        FeatureSettings.from_json({"centr": True, "zeal": 512, "bands": 96})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "chroma"}, "mel, mfcc"),
        ({"bands": 0}, "at least 1"),
        ({"deltas": 3}, "at most 2"),
        ({"hop": 0}, "hop"),
        ({"hop": "512"}, "expected int"),
        ({"centre": 1}, "expected bool"),
        ({"sample_rate": 12000, "fmax": 8000.0}, "6000"),
        ({"fmin": 9000.0, "fmax": 8000.0}, "fmin 9000"),
        ({"win_length": 4096}, "win_length"),
        ({"delta_width": 8}, "odd"),
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

"""mt-spec: which excerpt the options ask for."""

from __future__ import annotations

from typing import Any

import pytest

from mt_tools.commands.spec import feature_settings
from mt_tools.errors import UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.stages.settings import SpecSettings


@pytest.mark.parametrize(
    ("options", "excerpt"),
    [
        ({}, "segment:1"),  # the preset's own
        ({"whole": True}, "whole"),
        ({"first": 30.0}, "first:30"),
        ({"middle": 2.5}, "centre:2.5"),
        ({"range": "29,58"}, "range:29:58"),
        ({"segment": 2.5}, "segment:2.5"),
        ({"segment": 2.5, "every": 1.25}, "segment:2.5:1.25"),
        ({"crops": 8, "seconds": 1.0}, "crops:8:1"),
        ({"crops": 8, "seconds": 1.0, "seed": 3}, "crops:8:1:3"),
        ({"parts": 3}, "parts:3"),
        ({"parts": 3, "seconds": 29.0}, "parts:3:29"),
    ],
)
def test_the_excerpt_that_is_asked_for(options: dict[str, Any], excerpt: str) -> None:
    """Another part of the tracks would be taken, or frames of the preset's own excerpt be cut."""
    settings = feature_settings(SpecSettings(preset="agf", **options), {})
    assert settings.excerpt == excerpt
    assert settings.frames == (43 if settings.excerpt_seconds == 1 else 0)  # 43 are those of 1 s
    assert settings.hop == 1024


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"crops": 3}, {}, "say how long they are, --seconds S"),
        ({"every": 1.0}, {}, "add --segment S"),
        ({"seconds": 3.0}, {}, "for --crops N or --parts N"),
        ({"seed": 3}, {}, "add --crops N --seconds S"),
        ({"first": 3.0, "parts": 2}, {}, "--first and --parts contradict each other"),
        ({"range": "58,29"}, {}, "two times in seconds, the earlier first, such as 29,58"),
        ({"range": "5"}, {}, "two times in seconds"),
        ({}, {"short": "skip"}, "none is too short: say how long an excerpt is"),
        ({"parts": 3}, {"short": "pad"}, "none is too short"),
    ],
)
def test_options_that_cannot_be_met(
    options: dict[str, Any], given: dict[str, Any], message: str
) -> None:
    """An option would be ignored without a word."""
    with pytest.raises(UsageError, match=message):
        feature_settings(SpecSettings(**options), given)


def test_a_transform_brings_its_own_features() -> None:
    """mt-spec --apply would need all the options of the run that fitted."""
    base = FeatureSettings(hop=100, excerpt="first:3")
    assert feature_settings(SpecSettings(), {}, base) == base
    assert feature_settings(SpecSettings(whole=True), {}, base).excerpt == "whole"
    assert feature_settings(SpecSettings(preset="agf"), {}, base).hop == 1024

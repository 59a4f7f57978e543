"""Recipes: the text in a table and the effects it stands for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.errors import UsageError
from mt_tools.recipes import EFFECTS, Recipe, parse


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (Recipe(), ""),
        (Recipe(pitch=-0.0), ""),
        (Recipe(pitch=2), "pitch=+2"),
        (Recipe(pitch=-0.5), "pitch=-0.5"),
        (Recipe(stretch=1.1), "stretch=1.1"),
        (Recipe(stretch=1.1, pitch=-2), "pitch=-2,stretch=1.1"),
    ],
)
def test_a_recipe_prints_its_canonical_text(recipe: Recipe, text: str) -> None:
    """The same augmentation would appear in a table under several names."""
    assert str(recipe) == text
    assert parse(text) == recipe


@given(st.floats(-24, 24), st.floats(0.25, 4))
def test_parse_and_print_are_inverse(pitch: float, stretch: float) -> None:
    """An augmented copy would not come out of a table as it went in."""
    recipe = Recipe(pitch=pitch, stretch=stretch)
    assert parse(str(recipe)) == recipe
    assert str(parse(str(recipe))) == str(recipe)


def test_order_and_spaces_do_not_matter() -> None:
    """A recipe typed by hand would be refused for its spaces."""
    assert parse(" stretch = 1.10 , pitch=2 ") == Recipe(pitch=2, stretch=1.1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("speed=2", "unknown effect 'speed'"),
        ("pitch", "expected a number"),
        ("pitch=high", "expected a number"),
        ("pitch=25", "from -24 to 24"),
        ("pitch=nan", "from -24 to 24"),
        ("stretch=0", "from 0.25 to 4"),
        ("pitch=1,pitch=2", "stands twice"),
    ],
)
def test_mistakes_are_usage_errors(text: str, says: str) -> None:
    """A mistyped recipe would be carried out as something else, or not at all."""
    with pytest.raises(UsageError, match=says):
        parse(text)


def test_only_the_identity_is_false() -> None:
    """Unaugmented tracks would be sent through the effects, or augmented ones would not."""
    assert not Recipe()
    assert Recipe(pitch=1)
    assert Recipe(stretch=0.5)


def test_the_default_of_every_effect_lies_in_its_range() -> None:
    """A new effect could not be left out of a recipe."""
    for effect in EFFECTS.values():
        assert effect.metadata["minimum"] <= effect.default <= effect.metadata["maximum"]
        assert effect.metadata["help"]

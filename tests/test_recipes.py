"""Recipes: the text in a table, the effects it stands for, and what is drawn before."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.errors import RowError, UsageError
from mt_tools.learn import draws
from mt_tools.recipes import Recipe, parse
from mt_tools.recipes.effects import (
    EFFECTS,
    FILE,
    NUMBER,
    WHOLE,
    Bandpass,
    Crop,
    Effect,
    Gain,
    Noise,
    Pitch,
    Room,
    Stretch,
    described,
    usage,
    values_of,
)
from mt_tools.recipes.template import parse_template

# --- any recipe there can be ---------------------------------------------------------------------


def values(field: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    """Any value that an effect's field may have."""
    meta = field.metadata
    if meta["kind"] == FILE:
        return st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    if meta["kind"] == NUMBER:
        return st.floats(meta["minimum"], meta["maximum"])
    if meta["kind"] == WHOLE:
        return st.integers(int(meta["minimum"]), int(meta["maximum"]))
    return st.sampled_from(meta["choices"])


def effects(kind: type[Effect]) -> st.SearchStrategy[Effect]:
    """Any effect of a kind."""
    if kind is Bandpass:
        edges = st.tuples(st.floats(10, 40_000), st.floats(1.1, 2.4), st.integers(1, 8))
        return edges.map(lambda e: Bandpass(e[0], e[0] * e[1] * 1.0001, e[2]))
    return st.builds(kind, *(values(field) for field in values_of(kind)))


@st.composite
def recipes(draw: Any) -> Recipe:
    """Any recipe: effects in any order, but for a crop, which stands first."""
    names = draw(st.lists(st.sampled_from(list(EFFECTS)), unique=True))
    names.sort(key=lambda name: name != "crop")
    return Recipe(tuple(draw(effects(EFFECTS[name])) for name in names))


@given(recipes())
def test_parse_and_print_are_inverse(recipe: Recipe) -> None:
    """An augmented copy would not come out of a table as it went in."""
    text = str(recipe)
    assert parse(text) == recipe
    assert str(parse(text)) == text


@given(recipes())
def test_a_recipe_is_one_plain_word(recipe: Recipe) -> None:
    """An id would be cut at a space, obeyed by a shell, or taken apart at its `#`."""
    text = str(recipe)
    assert re.fullmatch(r"[A-Za-z0-9=,:+./_~%-]*", text)
    assert shlex.split(text) == [text] * bool(text)


@given(recipes())
def test_a_recipe_is_a_template_that_draws_itself(recipe: Recipe) -> None:
    """What a table holds could not be typed."""
    template = parse_template(str(recipe))
    pool = lambda kind, path: [path]  # noqa: E731
    drawn = template.draw(lambda name: 0.0, pool=pool)
    # What may be left out and is drawn is not printed where it is 0: and 0 is drawn here.
    assert drawn == recipe


# --- reading and printing ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (Recipe(), ""),
        (Recipe((Pitch(-0.0), Stretch(1), Gain(0))), ""),
        (Recipe((Pitch(2),)), "pitch=+2"),
        (Recipe((Pitch(-0.5),)), "pitch=-0.5"),
        (Recipe((Stretch(1.1),)), "stretch=1.1"),
        (Recipe((Pitch(-2), Stretch(1.1))), "pitch=-2,stretch=1.1"),
        (Recipe((Stretch(1.1), Pitch(-2))), "stretch=1.1,pitch=-2"),
        (Recipe((Noise("pink", 20),)), "noise=pink:20"),
        (Recipe((Noise("pink", 20, 7),)), "noise=pink:20:7"),
        (Recipe((Bandpass(300, 3400),)), "bandpass=300:3400"),
        (Recipe((Room("my halls/a,b.wav"),)), "room=my%20halls/a%2Cb.wav"),
        (Recipe((Crop(3, 12.5), Gain(6))), "crop=3:12.5,gain=+6"),
    ],
)
def test_a_recipe_prints_its_canonical_text(recipe: Recipe, text: str) -> None:
    """The same augmentation would appear in a table under several names."""
    assert str(recipe) == text
    assert parse(text) == recipe


def test_tables_of_version_0_1_are_read() -> None:
    """Experiments could not be repeated from tables that were made before there were more effects."""
    assert parse("pitch=+2") == Recipe((Pitch(2),))
    assert parse("pitch=-2,stretch=1.1") == Recipe((Pitch(-2), Stretch(1.1)))
    assert parse(" stretch = 1.10 , pitch=2 ") == Recipe((Stretch(1.1), Pitch(2)))
    assert parse("pitch=-2,stretch=1.1").stretch == 1.1
    assert parse("pitch=-2").stretch == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("speed=2", "unknown effect 'speed' in the recipe 'speed=2', expected one of crop, pitch"),
        ("pitch", "pitch has no values in the recipe 'pitch', expected pitch=SEMITONES, as in"),
        ("pitch=", "SEMITONES of pitch is ''"),
        (
            "pitch=high",
            "SEMITONES of pitch is 'high' in the recipe 'pitch=high', expected a number",
        ),
        ("pitch=25", "from -24 to 24"),
        ("pitch=nan", "expected a number"),
        ("gain=1_0", "expected a number"),
        ("stretch=0", "from 0.25 to 4"),
        ("pitch=1,pitch=2", "pitch stands twice"),
        ("pitch=1,crop=3", "crop stands after pitch"),
        (
            "noise=pink",
            "noise has 1 value in the recipe 'noise=pink', expected noise=COLOUR:SNR[:SE",
        ),
        ("noise=pink:1:2:3", "noise has 4 values"),
        ("noise=grey:20", "colour is 'grey', expected one of white, pink, brown"),
        ("polarity=1", "polarity has 1 value in the recipe 'polarity=1', expected polarity"),
        ("lowpass=4000:2.5", "order is 2.5, expected a whole number from 1 to 8"),
        ("bandpass=300:310", "at least a tenth above the lower one, such as bandpass=300:600"),
        ("codec=aac:64", "expected one of mp3, vorbis, opus"),
        ("room=", "room: file is empty, expected a path"),
        ("pitch=-2..2", "pitch is still to be drawn"),
        ("pitch=2@0.5", "pitch is still to be drawn"),
    ],
)
def test_mistakes_are_usage_errors(text: str, says: str) -> None:
    """A mistyped recipe would be carried out as something else, or not at all."""
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_only_the_identity_is_false() -> None:
    """Unaugmented tracks would be sent through the effects, or augmented ones would not."""
    assert not Recipe()
    assert not parse("pitch=0,gain=0")
    assert parse("polarity")


@pytest.mark.parametrize("kind", EFFECTS.values(), ids=EFFECTS)
def test_every_effect_is_told_as_it_is_typed(kind: type[Effect]) -> None:
    """Help and error messages would show what is refused when it is typed."""
    template = parse_template(kind.example)
    assert [step.kind for step in template.steps] == [kind]
    assert usage(kind).startswith(kind.name)
    assert described(kind).endswith((kind.__doc__ or "").rstrip("."))


# --- drawing -------------------------------------------------------------------------------------


def drawn(text: str, count: int = 400, **options: Any) -> list[Recipe]:
    """Draw from a template as mt-augment does, once for each of so many origins."""
    template = parse_template(text)
    keys = draws.keys_of(range(count))
    numbers: dict[str, Any] = {}

    def recipe(row: int) -> Recipe:
        def chance(name: str) -> float:
            if name not in numbers:
                numbers[name] = draws.uniform(keys, 1, name)
            return float(numbers[name][row])

        pool = lambda kind, path: [f"{path}{i}.wav" for i in range(4)]  # noqa: E731
        return template.draw(chance, **{"pool": pool, **options})

    return [recipe(row) for row in range(count)]


def ranges(one: Effect, two: Effect) -> str:
    """Type an effect whose numbers lie between those of two; words and files are the first's."""
    texts = []
    for field in values_of(type(one)):
        ends = sorted([getattr(one, field.name), getattr(two, field.name)])
        number = field.metadata["kind"] in (NUMBER, WHOLE)
        texts.append(f"{ends[0]!r}..{ends[1]!r}" if number else quote(getattr(one, field.name)))
    return f"{one.name}={':'.join(texts)}" if texts else one.name


@given(
    st.sampled_from([kind for kind in EFFECTS.values() if kind is not Bandpass]).flatmap(
        lambda kind: st.tuples(effects(kind), effects(kind))
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_what_is_drawn_lies_within_what_was_typed(pair: Any, chance: float) -> None:
    """A copy would be shifted further than asked for, or refused when it is decoded."""
    template = parse_template(ranges(*pair))
    recipe = template.draw(lambda name: chance, pool=lambda kind, path: [path])
    assert parse(str(recipe)) == recipe
    for effect, field in itertools.product(recipe.effects, values_of(type(pair[0]))):
        low, high = sorted(getattr(one, field.name) for one in pair)
        assert field.metadata["kind"] not in (NUMBER, WHOLE) or (
            low <= getattr(effect, field.name) <= high
        )


def test_ranges_are_drawn_evenly() -> None:
    """Copies would crowd at one end of what was asked for."""
    semitones = np.array([r.of(Pitch).semitones if r else 0.0 for r in drawn("pitch=-2..2")])  # type: ignore[union-attr]
    assert np.histogram(semitones, 4, (-2, 2))[0].min() > 70
    # Frequencies and factors by their ratios: as many from 1 to 2 kHz as from 2 to 4 kHz.
    recipes = drawn("lowpass=1000..4000")
    octaves = np.log2([float(str(r).partition("=")[2]) / 1000 for r in recipes])
    assert abs(octaves.mean() - 1) < 0.1
    assert all(re.fullmatch(r"lowpass=\d+", str(r)) for r in recipes)


def test_each_effect_has_its_chance() -> None:
    """--p 0.5 would leave out all effects together, or effects would not be independent."""
    made = drawn("pitch=1,gain=3@0.9,polarity", p=0.5)
    shares = [np.mean([name in str(r) for r in made]) for name in ("pitch", "gain", "polarity")]
    np.testing.assert_allclose(shares, [0.5, 0.9, 0.5], atol=0.1)
    both = np.mean(["pitch" in str(r) and "polarity" in str(r) for r in made])
    assert abs(both - 0.25) < 0.1
    assert not any(drawn("pitch=1", p=0.0))
    assert all(drawn("pitch=1", p=1.0))


def test_files_and_seeds_are_drawn() -> None:
    """All copies would stand in one room, or hear the same noise."""
    made = drawn("noise=white:20,room=halls/,mix=10")
    assert {str(r).split("room=")[1].split(",")[0] for r in made} == {
        f"halls/{i}.wav" for i in range(4)
    }
    assert len({str(r).split(",")[0] for r in made}) > 390
    assert len({str(r) for r in drawn("noise=white:20:7")}) == 1


def test_crops_lie_in_the_track() -> None:
    """Copies would begin beyond the end, or always at the beginning."""
    crops = [r.crop for r in drawn("crop=10", seconds=30.0)]
    assert all(crop is not None and crop.seconds == 10 for crop in crops)
    starts = np.array([crop.start for crop in crops if crop])
    assert starts.min() >= 0
    assert starts.max() <= 20
    assert np.histogram(starts, 4, (0, 20))[0].min() > 70
    shares = [r.crop for r in drawn("crop=50%..90%", seconds=10.0)]
    assert all(c and 5 <= c.seconds <= 9 and c.start + c.seconds <= 10.001 for c in shares)
    assert not any(drawn("crop=10", seconds=10.0)), "a crop of all of a track is no crop"
    assert {str(r) for r in drawn("crop=3:5", seconds=10.0)} == {"crop=3:5"}
    with pytest.raises(RowError, match=r"begins at 5 s, and the track ends at 4 s"):
        drawn("crop=3:5", seconds=4.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "pitch=2..-2",
            "pitch goes from 2 to -2 in the recipe 'pitch=2..-2': the lower number comes",
        ),
        ("pitch=-2..40", "semitones is 40, expected a number from -24 to 24"),
        ("pitch=-30..4", "semitones is -30"),
        (
            "pitch=1@2",
            "pitch has the chance '2' in the recipe 'pitch=1@2', expected a number from 0",
        ),
        ("pitch=1@often", "the chance 'often'"),
        ("room=/a@b/c", "in a path write %40 for @"),
        ("crop=0%", "crop is 0%"),
        ("crop=50%..120%", "crop is 50%..120%"),
        ("crop=50..80%", "expected a number"),
        ("noise=pink..white:20", "colour is 'pink..white'"),
        ("bandpass=100..4000:200..8000", "at least a tenth above"),
        ("gain=1..2,gain=3", "gain stands twice"),
        ("gain=1..2,crop=3..4", "crop stands after gain"),
    ],
)
def test_templates_that_cannot_be_are_refused_at_once(text: str, says: str) -> None:
    """A run of hours would fail at the first draw that is out of range, or draw from nothing."""
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        parse_template(text)
    assert "\n" not in str(caught.value)


def test_draws_of_one_effect_do_not_depend_on_another() -> None:
    """Adding noise to a recipe would change the pitches too: no fair comparison of the two."""
    alone, both = drawn("pitch=-2..2", 20), drawn("noise=pink:10..20,pitch=-2..2", 20)
    for one, two in itertools.zip_longest(alone, both):
        assert one.of(Pitch) == two.of(Pitch)

"""Recipes with effects on features: their text, and what is drawn of them."""

from __future__ import annotations

import re
import shlex
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mt_tools.errors import UsageError
from mt_tools.learn import draws
from mt_tools.recipes import Recipe, parse
from mt_tools.recipes.effects import Gain, Pitch, described, usage
from mt_tools.recipes.features import FEATURE_EFFECTS, Cutmix, Erase, Mask, Mixup, Shift
from mt_tools.recipes.steps import numbers
from mt_tools.recipes.template import parse_template

SHAPE = (96, 200)

count = st.integers(0, 100_000)
names = st.text(st.characters(exclude_categories=["Cs"]))
masks = st.builds(Mask, count, count, count, count)
erased = st.builds(Erase, count, count, count, count)
shifts = st.builds(Shift, st.integers(-100_000, 100_000))
mixtures = st.one_of(
    st.builds(Mixup, st.floats(0, 1), names), st.builds(Cutmix, count, count, count, count, names)
)


@st.composite
def recipes(draw: Any) -> Recipe:
    """Any recipe of effects on features, behind one on sound or not."""
    sound = draw(st.lists(st.builds(Pitch, st.floats(-24, 24)), max_size=1))
    several = draw(st.lists(st.one_of(masks, erased), max_size=4))
    once = draw(st.tuples(*(st.lists(one, max_size=1) for one in (shifts, mixtures))))
    effects = draw(st.permutations([*several, *once[0], *once[1]]))
    return Recipe((*sound, *effects))


@given(recipes())
def test_parse_and_print_are_inverse(recipe: Recipe) -> None:
    """A table would not say what was done to its features."""
    text = str(recipe)
    assert parse(text) == recipe
    assert str(parse(text)) == text
    assert re.fullmatch(r"[A-Za-z0-9=,:+./_~%-]*", text)
    assert shlex.split(text) == [text] * bool(text)


@given(recipes())
def test_a_recipe_is_a_template_that_draws_itself(recipe: Recipe) -> None:
    """What a table holds could not be typed."""
    template = parse_template(str(recipe))
    drawn = template.draw(lambda name: 0.0, shape=SHAPE, pool=lambda kind, path: [path])
    assert drawn == recipe


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("mask=8:20:3:40", "mask=8:20:3:40"),
        ("mask=8:0:3:40", "mask=8:0:3"),
        ("mask=0:20:3:40", "mask=0:20:0:40"),
        ("mask=0:0:1:1,gain=+0", ""),
        ("erase=8:0:1:1,shift=0,mixup=1:b,cutmix=0:9:0:0:b", ""),
        ("mixup=0.50:a%20b.mp3%23pitch%3D%2B2", "mixup=0.5:a%20b.mp3%23pitch%3D%2B2"),
    ],
)
def test_a_recipe_prints_its_canonical_text(text: str, canonical: str) -> None:
    """The same augmentation would appear in a table under several names."""
    assert str(parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mask=8", "mask has 1 value in the recipe 'mask=8', expected mask=BANDS:FRAMES[:BAND]"),
        ("mask=1.5:2", "bands is 1.5, expected a whole number"),
        ("mask=-1:2", "bands is -1"),
        ("mask=9..3:2", "the lower number comes first"),
        ("mask=0%..120%:2", "mask is 0%..120% in the recipe 'mask=0%..120%:2', expected 0 % to"),
        ("mask=0..10%:2", "expected a number"),
        ("mask=beta0.2:2", "expected a number"),
        ("mixup=beta0", "mixup is beta0 in the recipe 'mixup=beta0', expected beta and a number"),
        ("mixup=betamax", "as in mixup=beta0.2"),
        ("mixup=1.5", "weight is 1.5, expected a number from 0 to 1"),
        ("shift=1,shift=2", "shift stands twice"),
        ("mask=1:1,gain=2", "gain stands after mask in the recipe 'mask=1:1,gain=2': features are"),
        ("mixup=0.5,cutmix=3:4", "mixup and cutmix stand in the recipe"),
    ],
)
def test_mistakes_are_usage_errors(text: str, says: str) -> None:
    """A slip would be found after hours, or be carried out as something else."""
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        parse_template(text)
    assert "\n" not in str(caught.value)


def test_what_is_drawn_is_no_recipe() -> None:
    """A table would hold what no reader can carry out."""
    for text in ("mask=0..8:3", "mixup=beta0.2:b", "mask=5%:3", "shift=1@0.5"):
        with pytest.raises(UsageError):
            parse(text)


@pytest.mark.parametrize("kind", FEATURE_EFFECTS.values(), ids=FEATURE_EFFECTS)
def test_every_effect_is_told_as_it_is_typed(kind: Any) -> None:
    """Help and error messages would show what is refused when it is typed."""
    assert [step.kind for step in parse_template(kind.example).steps] == [kind]
    assert usage(kind).startswith(kind.name)
    assert described(kind).endswith((kind.__doc__ or "").rstrip("."))


# --- drawing -------------------------------------------------------------------------------------

KEYS = draws.keys_of(range(4000))


def drawn(text: str, shape: tuple[int, ...] = SHAPE) -> list[np.ndarray]:
    """Draw the numbers of the last effect of a recipe for 4000 examples."""
    name, step = parse_template(text).named[-1]
    chances = lambda key: draws.uniform(KEYS, 1, key)  # noqa: E731
    return [np.broadcast_to(v, len(KEYS)) for v in numbers(step, name, chances, shape)]


def uniform(values: np.ndarray, size: int) -> bool:
    """Whether whole numbers from 0 are as often drawn as one another, by a chi-squared test."""
    counts = np.bincount(values.astype(int), minlength=size)
    return len(counts) == size and stats.chisquare(counts).pvalue > 1e-4


def test_masks_are_those_of_specaugment() -> None:
    """Widths are uniform from 0 to F, and a mask begins anywhere where it fits (Park et al. 2019)."""
    bands, frames, band, frame = drawn("mask=0..8:0..20")
    assert uniform(bands, 9)
    assert uniform(frames, 21)
    assert (band + bands <= SHAPE[0]).all()
    assert (frame + frames <= SHAPE[1]).all()
    for width in (1, 8):
        assert uniform(band[bands == width], SHAPE[0] - width + 1)
    # Of 96 bands 4 are covered on average.
    assert abs(bands.mean() - 4) < 5 * np.std(bands) / np.sqrt(len(bands))


def test_a_second_mask_is_drawn_for_itself() -> None:
    """Two masks would lie on one another."""
    first, second = drawn("mask=0..8:0..20"), drawn("mask=0..8:0..20,mask=0..8:0..20")
    assert abs(np.corrcoef(first[2], second[2])[0, 1]) < 0.1


def test_shares_are_of_the_example() -> None:
    """A recipe would mean more on short clips than on long ones."""
    bands, frames, *_ = drawn("erase=50%:10%..20%")
    assert (bands == 48).all()
    assert (frames.min(), frames.max()) == (20, 40)
    assert uniform(frames - 20, 21)


def test_mixup_weighs_by_the_papers_distribution() -> None:
    """Mixtures would be too even, or hardly mixed: lambda is Beta(a, a) (Zhang et al. 2018).

    The row keeps the larger of the two shares, whose distribution function is 2 F(x) - 1.
    """
    (weight,) = drawn("mixup=beta0.4")
    found = stats.kstest(weight, lambda x: 2 * stats.beta.cdf(x, 0.4, 0.4) - 1)
    assert found.statistic < 0.03  # rounded to four digits
    (weight,) = drawn("mixup=0.5..1")
    assert stats.kstest(weight, "uniform", (0.5, 0.5)).pvalue > 1e-4
    (weight,) = drawn("mixup=0.7")
    assert (weight == 0.7).all()


def test_boxes_of_cutmix_have_the_papers_area() -> None:
    """The area that is replaced is 1 - lambda, in the proportions of the example (Yun et al. 2019)."""
    bands, frames, band, frame = drawn("cutmix=beta1", (200, 1000))
    np.testing.assert_allclose(frames / 1000, bands / 200, atol=0.004)
    # Of Beta(1, 1) the smaller share is uniform from 0 to 1/2.
    area = bands * frames / 200_000
    assert stats.kstest(area, "uniform", (0, 0.5)).statistic < 0.03
    assert (band + bands <= 200).all()
    assert (frame + frames <= 1000).all()


def test_one_row_draws_as_a_batch_does() -> None:
    """The same recipe would mean something else in mt-augment than in mt-train."""
    template = parse_template("mask=0..8:0..20,erase=1..9:5%..10%,shift=-3..3,mixup=beta0.4")
    columns = {
        name: numbers(step, name, lambda key: draws.uniform(KEYS[:50], 1, key), SHAPE)
        for name, step in template.named
    }
    for row in range(50):
        recipe = template.draw(
            lambda key, row=row: float(draws.uniform(KEYS[row : row + 1], 1, key)[0]),
            shape=SHAPE, pool=lambda kind, path: ["b"],
        )  # fmt: skip
        kinds = (Mask, Erase, Shift, Mixup)
        expected = [
            kind(*(float(np.broadcast_to(v, 50)[row]) for v in columns[kind.name]))  # type: ignore[arg-type]
            for kind in kinds
        ]
        made = [recipe.of(kind) for kind in kinds]
        assert [m and str(m).removesuffix(":b") for m in made] == [
            None if e.changes_nothing else str(e) for e in expected
        ]


def test_sound_and_features_are_told_apart() -> None:
    """A wave would be masked, or a spectrogram sent to the effects on sound."""
    template = parse_template("gain=2,mask=3:4,mixup=0.7")
    assert [s.kind for s in template.on_sound.steps] == [Gain]
    assert [s.kind for s in template.on_features.steps] == [Mask, Mixup]
    assert template.mixes
    assert not template.on_sound.mixes
    assert [str(e) for e in parse("gain=2,mask=3:4").on_features] == ["mask=3:4"]

"""Effects on features: what they do to arrays, against plain loops and numpy's own means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.errors import UsageError
from mt_tools.features import augment
from mt_tools.recipes import parse
from mt_tools.recipes.template import parse_template

BANDS, FRAMES = 6, 9


def examples(count: int = 3, *middle: int) -> np.ndarray:
    """Return random decibels [count, *middle, bands, frames]."""
    rng = np.random.default_rng(count)
    return rng.normal(-60, 10, (count, *middle, BANDS, FRAMES)).astype(np.float32)


places = st.integers(0, 12)
boxes = st.tuples(places, places, places, places)


def inside(box: Any, band: int, frame: int) -> tuple[bool, bool]:
    """Say whether a point lies in the bands, and in the frames, of a box."""
    bands, frames, first_band, first_frame = box
    rows = first_band <= band < first_band + bands
    return rows, first_frame <= frame < first_frame + frames


@given(boxes)
def test_masks_and_rectangles_cover_what_they_say(box: Any) -> None:
    """Training would be on other holes than the recipe in the table says."""
    x = examples(2, 2)
    masked, erased = augment.mask(x, *box), augment.erase(x, *box)
    replaced = augment.cutmix(x, -x, *box)
    for example in range(2):
        mean = np.float32(x[example].mean(dtype=np.float64))
        for at in np.ndindex(2, BANDS, FRAMES):
            band, frame = inside(box, *at[1:])
            own = x[example][at]
            assert masked[example][at] == (mean if band or frame else own)
            assert erased[example][at] == (mean if band and frame else own)
            assert replaced[example][at] == (-own if band and frame else own)


@given(boxes)
def test_labels_of_a_cutmix_weigh_as_its_area(box: Any) -> None:
    """A track of which a tenth is left would still be called by its own genre alone."""
    left = augment.cutmix(np.ones((1, BANDS, FRAMES)), np.zeros((1, BANDS, FRAMES)), *box)
    assert augment.cutmix_weight((BANDS, FRAMES), *box) == pytest.approx(left.mean(), abs=1e-12)


@given(st.integers(-8, 8))
def test_a_shift_moves_bands(bands: int) -> None:
    """Music would be moved the wrong way, or come back in at the other end."""
    x = examples(2, 2)
    moved, around = augment.shift(x, bands), augment.shift(x, bands, around=True)
    np.testing.assert_array_equal(around, np.roll(x, bands, axis=-2))
    for band in range(BANDS):
        source = band - bands
        for example in range(2):
            expected = np.full((2, FRAMES), x[example].mean(dtype=np.float64), np.float32)
            if 0 <= source < BANDS:
                expected = x[example][:, source]
            np.testing.assert_array_equal(moved[example][:, band], expected)


def test_each_example_has_its_own_numbers() -> None:
    """All examples of a batch would be masked alike."""
    x, numbers = examples(3), (np.array([1, 0, 6]), np.array([2, 3, 0]), np.arange(3), np.arange(3))
    for function in (augment.mask, augment.erase):
        together = function(x, *numbers)
        for row in range(3):
            alone = function(x[row : row + 1], *(values[row] for values in numbers))
            np.testing.assert_array_equal(together[row : row + 1], alone)
    np.testing.assert_array_equal(augment.shift(x, np.array([1, 0, -2]))[1], x[1])


@given(st.floats(0, 1), st.floats(0, 1))
def test_mixup_is_linear(one: float, two: float) -> None:
    """The sound would not be mixed in the shares that the labels are."""
    x, others = examples(2).astype(np.float64), examples(4)[2:].astype(np.float64)
    made = augment.mixup(x, others, [one, two])
    for row, share in enumerate((one, two)):
        np.testing.assert_allclose(made[row], share * x[row] + (1 - share) * others[row])
    vectors = augment.mixup(x[:, 0], others[:, 0], [one, two])
    np.testing.assert_array_equal(vectors, made[:, 0])
    np.testing.assert_array_equal(augment.mixup(x, others, 0.0), others)
    np.testing.assert_allclose(augment.mixup(x, others, 1.0), x, rtol=1e-12)


def test_parts_that_a_song_lacks_stay_missing() -> None:
    """Padding filled with a mean would be taken for a part of the song, or spoil the mean."""
    x = examples(2, 3)
    x[:, 2] = np.nan
    for made in (augment.mask(x, 2, 3, 1, 1), augment.shift(x, 2, around=True)):
        assert np.isnan(made[:, 2]).all()
        assert np.isfinite(made[:, :2]).all()
    covered = augment.mask(x, BANDS, 0, 0, 0)[:, 0, 0, 0]
    np.testing.assert_allclose(covered, x[:, :2].mean(axis=(1, 2, 3)), rtol=1e-6)


def test_a_recipe_is_carried_out_in_its_order() -> None:
    """A table's recipe would not say how its features came about."""
    x, other = examples(2)
    made = augment.apply(parse("mask=2:0:1,mixup=0.25:b,shift=-1"), x, other)
    step = augment.mask(x[None], 2, 0, 1, 0)
    step = augment.shift(augment.mixup(step, other[None], 0.25), -1)
    np.testing.assert_array_equal(made, step[0])
    np.testing.assert_array_equal(augment.apply(parse("pitch=2"), x), x)
    for text, weight in (("mask=2:3", 1.0), ("mixup=0.25:b", 0.25), ("cutmix=3:9:0:0:b", 0.5)):
        assert augment.weight(parse(text), (BANDS, FRAMES)) == pytest.approx(weight)


@pytest.mark.parametrize(
    ("text", "shape", "settings", "says"),
    [
        ("mask=0..7:1", (6, 9), {}, "6 bands and 9 frames"),
        ("mask=3:0:4", (6, 9), {}, "6 bands and 9 frames"),
        ("shift=-7..0", (6, 9), {}, "6 bands and 9 frames"),
        ("mask=1:1", (40,), {}, "a row holds 40 values"),
        ("shift=1", (20, 9), {"kind": "mfcc"}, "coefficients of mfcc"),
        ("shift=1", (20, 9), {"kind": "mel", "transform": "pca:20:ab"}, "fitted transform"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, shape: Any, settings: Any, says: str) -> None:
    """All of an example would be covered, or cepstral coefficients be moved as if they were bands."""
    with pytest.raises(UsageError, match=says):
        augment.check(parse_template(text), shape, settings)


def test_what_fits_is_taken() -> None:
    """Embeddings could not be mixed, or chromagrams not be transposed."""
    augment.check(parse_template("mixup=beta0.2"), (40,), {})
    augment.check(parse_template("shift=-5..6"), (12, 9), {"kind": "chroma"})
    augment.check(parse_template("mask=0..6:0%..100%,erase=2:3:4:6"), (2, 6, 9), {"kind": "mel"})
    assert augment.goes_around({"kind": "chroma"})
    assert not augment.goes_around({"kind": "mel"})

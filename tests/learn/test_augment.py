"""Recipes on the fly: the twin of `features.augment` on a device, and what is drawn for whom."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.errors import RowError, UsageError
from mt_tools.features import augment as arrays
from mt_tools.learn import augment as device
from mt_tools.learn import draws
from mt_tools.learn.augment import Augment, Mixing, augment_of, masks_of
from mt_tools.learn.settings import FeedSettings

KEYS = draws.keys_of(range(500))
SHAPE = (20, 30)


def read(*recipes: str, seed: int = 0, heard: bool = False, **options: Any) -> Augment:
    """Read the options of a training."""
    features = options.pop("features", {})
    made = augment_of(FeedSettings(recipe=recipes, **options), seed, features, heard=heard)
    assert made is not None
    return made


def noise(*shape: int) -> torch.Tensor:
    """Return 500 examples of noise."""
    shape = shape or SHAPE
    return torch.randn(500, *shape, generator=torch.Generator().manual_seed(0)) - 60


def covered(augment: Augment, epoch: int = 1) -> np.ndarray:
    """Return where examples of noise are changed, [500, bands, frames]."""
    x = noise()
    return (augment(x, KEYS, epoch) != x).numpy()


# --- the twin ------------------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.sampled_from([(7, 9), (2, 7, 9), (3, 2, 7, 9)]))
def test_device_and_arrays_do_the_same(seed: int, shape: tuple[int, ...]) -> None:
    """A network would be trained on other examples than mt-augment writes; 1e-6 of the values."""
    rng = np.random.default_rng(seed)
    x, others = rng.normal(-60, 10, (2, 5, *shape)).astype(np.float32)
    if len(shape) == 4:
        x[:, 2] = np.nan  # parts that a song lacks
    box = [rng.integers(0, 10, 5) for _ in range(4)]
    up, weights = rng.integers(-8, 9, 5), rng.random(5)
    pairs: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("mask", tuple(box), {}),
        ("erase", tuple(box), {}),
        ("shift", (up,), {}),
        ("shift", (up,), {"around": True}),
        ("mixup", (others, weights), {}),
        ("cutmix", (others, *box), {}),
    ]
    for name, given_, options in pairs:
        expected = getattr(arrays, name)(x, *given_, **options)
        tensors = (torch.from_numpy(values) for values in given_)
        found = getattr(device, name)(torch.from_numpy(x), *tensors, **options)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_an_epoch_is_what_the_drawn_recipes_say() -> None:
    """Numbers would be drawn and others carried out."""
    from mt_tools.recipes.template import parse_template

    text = "mask=0..8:0..10,mask=1:0..3,erase=0%..50%:2,shift=-3..3@0.5,mixup=beta0.4"
    augment, template = read(text, originals=False, seed=4), parse_template(text)
    x = noise()[:40]
    mixing = augment.mixing(KEYS[:40], 2, SHAPE)
    assert mixing is not None
    found = augment(x, KEYS[:40], 2, partners=mixing.partners).numpy()
    for row in range(40):

        def chance(name: str, row: int = row) -> float:
            return float(draws.uniform(KEYS[row : row + 1], 4, "augment", 0, 2, 0, name)[0])

        recipe = template.draw(chance, shape=SHAPE, pool=lambda kind, path: ["b"])
        other = x[mixing.partners[row]].numpy()
        expected = arrays.apply(recipe, x[row].numpy(), other)
        np.testing.assert_allclose(found[row], expected, rtol=1e-5)
        assert mixing.weights[row] == arrays.weight(recipe, SHAPE)


# --- masks ---------------------------------------------------------------------------------------


def test_a_mask_is_one_run_of_whole_bands_and_one_of_whole_frames() -> None:
    """Single points would be covered instead of bands and frames, which regularises otherwise."""
    for example in covered(Augment(always=masks_of("8,10"))):
        bands, frames = example.all(axis=1), example.all(axis=0)
        np.testing.assert_array_equal(example, bands[:, None] | frames[None, :])
        for axis, most in ((bands, 8), (frames, 10)):
            assert axis.sum() <= most
            assert (np.diff(axis.astype(int)) == 1).sum() + axis[0] <= 1


def test_widths_are_drawn_evenly_from_nothing_to_the_most() -> None:
    """Masks would be wider or narrower than the paper's, whose widths are uniform from 0 to F.

    Bound: each of 9 widths in 500 draws within six standard deviations of 500 / 9.
    """
    widths = covered(Augment(always=masks_of("8,0"))).all(axis=2).sum(axis=1)
    counts = np.bincount(widths, minlength=9)
    assert len(counts) == 9
    assert abs(counts - 500 / 9).max() < 6 * np.sqrt(500 / 9)


def test_masks_reach_both_ends() -> None:
    """The lowest and highest bands would never be covered."""
    assert covered(Augment(always=masks_of("8,10"))).all(axis=2).any(axis=0).all()


def test_the_covered_becomes_the_mean_of_the_example() -> None:
    """A decibel of 0 in a spectrogram around -60 would be a loud burst, not an absence."""
    x = noise(2, 20, 30).double()
    masked = Augment(always=masks_of("8,10"))(x, KEYS, 1)
    for before, after in zip(x, masked, strict=True):
        changed = after != before
        if changed.any():
            torch.testing.assert_close(
                after[changed], before.mean().expand(int(changed.sum())), rtol=1e-5, atol=0
            )
            assert torch.equal(changed[0], changed[1])  # both channels alike


def test_draws_depend_on_the_row_and_epoch_alone() -> None:
    """A resumed run, or one with other batches, would train on other examples."""
    x = noise()
    augment = read("mask=0..8:0..10", "shift=-4..4", seed=4)
    whole = augment(x, KEYS, 2)
    chosen = [400, 3, 77]
    torch.testing.assert_close(
        augment(x[chosen], KEYS[chosen], 2), whole[chosen], rtol=1e-6, atol=0
    )
    for other in (augment(x, KEYS, 3), augment(x, KEYS, 2, 1), augment.reseeded(5)(x, KEYS, 2)):
        assert not torch.equal(other, whole)


def test_parts_that_a_song_lacks_stay_missing() -> None:
    """Padding filled with a mean would be taken for a part of the song."""
    x = noise(3, 20, 30)
    x[:, 2] = torch.nan
    masked = Augment(always=masks_of("8,10"))(x, KEYS, 1)
    assert masked[:, 2].isnan().all()
    assert masked[:, :2].isfinite().all()


# --- recipes -------------------------------------------------------------------------------------


def test_each_example_gets_one_recipe_or_none() -> None:
    """Examples would be changed twice, or never be seen as they are.

    Bound: each of three in 500 draws within six standard deviations (10.5) of 500 / 3.
    """
    two = ("mask=2:0:0", "mask=0:3:0:0")
    changed = covered(read(*two))
    as_it_is = ~changed.any(axis=(1, 2))
    first, second = changed.all(axis=2).any(axis=1), changed.all(axis=1).any(axis=1)
    assert (as_it_is ^ first ^ second).all()
    assert not (first & second).any()
    for share in (as_it_is, first, second):
        assert abs(share.sum() - 500 / 3) < 6 * 10.5
    assert covered(read(*two, originals=False)).any(axis=(1, 2)).all()


def test_an_effect_is_applied_by_its_chance() -> None:
    """@0.2 would be as much as always; within six standard deviations (8.9) of 100 in 500."""
    some = covered(read("mask=1:0@0.2", originals=False)).any(axis=(1, 2)).sum()
    assert abs(some - 100) < 6 * 8.9


def test_masks_of_spec_augment_come_on_top() -> None:
    """--spec-augment would cover only what has no recipe."""
    both = read("shift=2", originals=False, spec_augment="8,10")
    x = noise()
    moved = device.shift(x, torch.full((500,), 2))
    changed = (both(x, KEYS, 1) != moved).numpy()
    bands, frames = changed.all(axis=2), changed.all(axis=1)
    np.testing.assert_array_equal(changed, bands[:, :, None] | frames[:, None, :])
    # 8 of 9 widths are not 0.
    assert abs(bands.any(axis=1).sum() - 500 * 8 / 9) < 6 * 7


def test_chromagrams_are_shifted_round() -> None:
    """B flat raised by a whole tone would be silence instead of C."""
    x = noise(12, 30)
    made = read("shift=2", originals=False, features={"kind": "chroma"})(x, KEYS, 1)
    assert torch.equal(made, x.roll(2, dims=1))


def test_sound_and_features_of_a_row_come_from_one_recipe() -> None:
    """A track would get the pitch of one recipe and the masks of another."""
    augment = read("pitch=1..2,mask=1:0:0", "gain=3..6", heard=True)
    texts = list(augment.sounds(KEYS, 3, 0, lambda place: lambda kind, path: []))
    masked = (augment(noise(), KEYS, 3) != noise()).any(dim=2).any(dim=1).tolist()
    kinds = Counter(str(text).partition("=")[0] for text in texts)
    assert set(kinds) == {"", "pitch", "gain"}
    assert [text.startswith("pitch") for text in texts if isinstance(text, str)] == masked
    assert len(set(texts)) > 100  # each drawn anew
    again = list(augment.sounds(KEYS[7:9], 3, 0, lambda place: lambda kind, path: []))
    assert again == texts[7:9]


def test_a_row_for_which_nothing_can_be_drawn_fails_alone() -> None:
    """One track without another to mix with would stop the training."""
    augment = read("mix=crowd/:10", originals=False, heard=True)

    def pools(place: int) -> Any:
        def pool(kind: str, path: str) -> list[str]:
            if place == 1:
                raise RowError("no other track", "missing")
            return [f"{path}a.wav"]

        return pool

    first, second = augment.sounds(KEYS[:2], 1, 0, pools)
    assert first == "mix=crowd/a.wav:10"
    assert isinstance(second, RowError)


# --- mixtures ------------------------------------------------------------------------------------


def mixed(text: str, epoch: int = 1) -> Mixing:
    """Return whom 500 rows are mixed with."""
    found = read(text, originals=False).mixing(KEYS, epoch, SHAPE)
    assert found is not None
    return found


def test_nobody_is_mixed_with_himself() -> None:
    """A mixture of a track with itself is no mixture, and all partners must be possible."""
    for epoch in range(5):
        partners = mixed("mixup=beta1", epoch).partners
        assert (partners != np.arange(500)).all()
        assert len(np.unique(partners)) > 250
    assert not np.array_equal(mixed("mixup=beta1", 1).partners, mixed("mixup=beta1", 2).partners)
    two = read("mixup=0.6", originals=False).mixing(KEYS[:2], 1, SHAPE)
    assert two is not None
    assert two.partners.tolist() == [1, 0]


def test_weights_are_those_of_the_mixture() -> None:
    """Labels would be mixed otherwise than the sound."""
    x = torch.arange(500.0).view(-1, 1, 1).expand(-1, *SHAPE).contiguous()
    for text in ("mixup=beta0.4", "cutmix=beta1", "cutmix=100%:0%..50%"):
        mixing, augment = mixed(text), read(text, originals=False)
        made = augment(x, KEYS, 1, partners=mixing.partners).mean(dim=(1, 2)).numpy()
        rows = np.arange(500)
        expected = mixing.weights * rows + (1 - mixing.weights) * mixing.partners
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-3)
        assert (mixing.weights < 1).mean() > 0.5


def test_rows_that_are_not_mixed_keep_their_labels() -> None:
    """A track that is heard as it is would be given the genre of another."""
    augment = read("mixup=0.6", "mask=1:1")
    mixing = augment.mixing(KEYS, 1, SHAPE)
    assert mixing is not None
    x = noise()
    made = augment(x, KEYS, 1, partners=mixing.partners)
    whole = ((made != x).float().mean(dim=(1, 2)) > 0.5).numpy()
    np.testing.assert_array_equal(mixing.weights, np.where(whole, 0.6, 1.0))
    assert 100 < whole.sum() < 240
    assert read("mask=1:1").mixing(KEYS, 1, SHAPE) is None
    assert read("mixup=0.6@0").mixing(KEYS, 1, SHAPE) is None
    with pytest.raises(ValueError, match="mixup needs the examples"):
        augment(x, KEYS, 1)


# --- reading the options -------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["16", "16,", "a,b", "-1,4", "0,0", "1,2,3"])
def test_a_mask_that_cannot_be_read_is_answered(text: str) -> None:
    """A slip in --spec-augment would train without masks, or end in a traceback."""
    with pytest.raises(UsageError, match="BANDS,FRAMES"):
        masks_of(text)


def test_what_does_not_fit_is_answered() -> None:
    """A mask wider than the features would cover all of an example."""
    assert augment_of(FeedSettings(), 0, {}) is None
    made = augment_of(FeedSettings(spec_augment="16, 40"), 7, {})
    assert made is not None
    made.check((2, 16, 40))
    with pytest.raises(UsageError, match="16 bands and 30 frames"):
        made.check((16, 30))
    with pytest.raises(UsageError, match="features or audio"):
        made.check((480,))
    read("mixup=beta0.2").check((480,))


@pytest.mark.parametrize(
    ("text", "heard", "says"),
    [
        ("pitch=2", False, "pitch is done to sound, and mel is learned from"),
        ("pitch=0", True, "changes nothing"),
        ("", True, "changes nothing"),
        ("crop=3", True, "drawn with --crop S"),
        ("mix=10", True, "rows may be kept to validate on: name a folder"),
        ("mixup=0.5:b", True, "another row of the batch; leave out 'b'"),
        ("mask=1:1,pitch=2", True, "pitch stands after mask"),
    ],
)
def test_recipes_that_cannot_be_are_refused(text: str, heard: bool, says: str) -> None:
    """A training of hours would do something else than was asked for."""
    with pytest.raises(UsageError, match=says):
        augment_of(FeedSettings(recipe=(text,)), 0, {}, heard=heard, what="mel")


def test_no_originals_needs_a_recipe() -> None:
    """--no-originals alone would be taken for nothing."""
    with pytest.raises(UsageError, match="nothing to learn from: say a --recipe too"):
        augment_of(FeedSettings(originals=False), 0, {})

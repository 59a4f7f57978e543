"""SpecAugment: masks of bands and frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mt_tools.errors import UsageError
from mt_tools.learn import draws
from mt_tools.learn.augment import Masks, parse_masks

KEYS = draws.keys_of(range(500))


def covered(masks: Masks, bands: int = 20, frames: int = 30, epoch: int = 1) -> np.ndarray:
    """Return where the masks cover 500 examples of noise, [500, bands, frames]."""
    x = torch.randn(500, bands, frames, generator=torch.Generator().manual_seed(0))
    return (masks(x, KEYS, epoch) != x).numpy()


def test_a_mask_is_one_run_of_whole_bands_and_one_of_whole_frames() -> None:
    """Single points would be covered instead of bands and frames, which regularises otherwise."""
    for example in covered(Masks(8, 10)):
        bands, frames = example.all(axis=1), example.all(axis=0)
        np.testing.assert_array_equal(example, bands[:, None] | frames[None, :])
        for axis, most in ((bands, 8), (frames, 10)):
            assert axis.sum() <= most
            assert (np.diff(axis.astype(int)) == 1).sum() + axis[0] <= 1


def test_widths_are_drawn_evenly_from_nothing_to_the_most() -> None:
    """Masks would be wider or narrower than the paper's, whose widths are uniform from 0 to F.

    Bound: each of 9 widths in 500 draws within six standard deviations of 500 / 9.
    """
    widths = covered(Masks(8, 0)).all(axis=2).sum(axis=1)
    counts = np.bincount(widths, minlength=9)
    assert len(counts) == 9
    assert abs(counts - 500 / 9).max() < 6 * np.sqrt(500 / 9)


def test_masks_reach_both_ends() -> None:
    """The lowest and highest bands would never be covered."""
    hit = covered(Masks(8, 10)).all(axis=2).any(axis=0)
    assert hit.all()


def test_the_covered_becomes_the_mean_of_the_example() -> None:
    """A decibel of 0 in a spectrogram around -60 would be a loud burst, not an absence."""
    noise = torch.Generator().manual_seed(1)
    x = torch.randn(500, 2, 20, 30, generator=noise, dtype=torch.float64) - 60
    masked = Masks(8, 10)(x, KEYS, 1)
    for before, after in zip(x, masked, strict=True):
        changed = after != before
        if changed.any():
            torch.testing.assert_close(
                after[changed], before.mean().expand(int(changed.sum())), rtol=1e-5, atol=0
            )
            assert torch.equal(changed[0], changed[1])  # both channels alike


def test_masks_depend_on_the_row_and_epoch_alone() -> None:
    """A resumed run, or one with other batches, would train on other examples."""
    x = torch.randn(500, 20, 30, generator=torch.Generator().manual_seed(2))
    masks = Masks(8, 10, seed=4)
    whole = masks(x, KEYS, 2)
    chosen = [400, 3, 77]
    torch.testing.assert_close(masks(x[chosen], KEYS[chosen], 2), whole[chosen], rtol=1e-6, atol=0)
    for other in (masks(x, KEYS, 3), masks(x, KEYS, 2, 1), Masks(8, 10, seed=5)(x, KEYS, 2)):
        assert not torch.equal(other, whole)


def test_parts_that_a_song_lacks_stay_missing() -> None:
    """Padding filled with a mean would be taken for a part of the song."""
    x = torch.randn(500, 3, 20, 30, generator=torch.Generator().manual_seed(3))
    x[:, 2] = torch.nan
    masked = Masks(8, 10)(x, KEYS, 1)
    assert masked[:, 2].isnan().all()
    assert masked[:, :2].isfinite().all()


@pytest.mark.parametrize("text", ["16", "16,", "a,b", "-1,4", "0,0", "1,2,3"])
def test_a_mask_that_cannot_be_read_is_answered(text: str) -> None:
    """A slip in --spec-augment would train without masks, or end in a traceback."""
    with pytest.raises(UsageError, match="BANDS,FRAMES"):
        parse_masks(text, 0)


def test_masks_that_do_not_fit_are_answered() -> None:
    """A mask wider than the features would cover all of an example."""
    assert parse_masks("", 0) is None
    masks = parse_masks("16, 40", 7)
    assert masks == Masks(16, 40, 7)
    masks.check((2, 16, 40))
    with pytest.raises(UsageError, match="16 bands and 30 frames"):
        masks.check((16, 30))
    with pytest.raises(UsageError, match="features or audio"):
        masks.check((480,))

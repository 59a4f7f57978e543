"""SpecAugment: bands and frames of a spectrogram are covered while training.

Source: Park et al. 2019, "SpecAugment" (arXiv:1904.08779), section 2, without the time warping,
which that paper's section 5 finds to give least. One mask over f bands, f drawn from 0 to BANDS,
and one over t frames, t drawn from 0 to FRAMES, each beginning anywhere where it fits.

Conventions: features are [n, ..., bands, frames]; all channels (and parts) of an example share its
masks. The covered values become the example's mean, which is the paper's zero of a standardised
spectrogram. Draws are by the row's name (`learn.draws`), so neither the device nor the company in
a batch matters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mt_tools.errors import UsageError
from mt_tools.learn import draws


@dataclass(frozen=True)
class Masks:
    """Masks of at most `bands` bands and `frames` frames, drawn with `seed`."""

    bands: int
    frames: int
    seed: int = 0

    def __str__(self) -> str:
        """Return the masks as `--spec-augment` says them."""
        return f"{self.bands},{self.frames}"

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `UsageError` unless examples of this shape can be masked."""
        if len(shape) < 2:
            raise UsageError(
                f"--spec-augment covers bands and frames, and a row holds {list(shape)} values: "
                "learn from features or audio, or leave it out"
            )
        if self.bands > shape[-2] or self.frames > shape[-1]:
            raise UsageError(
                f"--spec-augment {self.bands},{self.frames} is more than an example has, "
                f"{shape[-2]} bands and {shape[-1]} frames: choose smaller masks"
            )

    def __call__(self, x: Tensor, keys: draws.Keys, epoch: int, view: int = 0) -> Tensor:
        """Return the examples `x` [n, ..., bands, frames] with their masks of this epoch.

        `keys` [n] are those of the examples' rows. NaN (parts that a song lacks) stays NaN.
        """
        rows = self._drawn(keys, x.shape[-2], self.bands, "mask bands", epoch, view)
        columns = self._drawn(keys, x.shape[-1], self.frames, "mask frames", epoch, view)
        covered = rows[:, :, None] | columns[:, None, :]
        middle = (1,) * (x.dim() - 3)
        mask = torch.from_numpy(covered).to(x.device).view(len(x), *middle, *covered.shape[1:])
        mean = x.flatten(1).nanmean(dim=1).view(-1, *(1,) * (x.dim() - 1))
        return torch.where(mask & ~x.isnan(), mean, x)

    def reseeded(self, seed: int) -> Masks:
        """Return masks of the same size, drawn with another seed."""
        return replace(self, seed=seed)

    def _drawn(
        self, keys: draws.Keys, size: int, most: int, purpose: str, epoch: int, view: int
    ) -> np.ndarray:
        """Return [n, size], true where one drawn mask of each row covers an axis."""
        width = draws.below(keys, most + 1, self.seed, purpose, "width", epoch, view)
        first = draws.below(keys, size - width + 1, self.seed, purpose, "first", epoch, view)
        place = np.arange(size)
        return (place >= first[:, None]) & (place < (first + width)[:, None])


def parse_masks(text: str, seed: int) -> Masks | None:
    """Read `--spec-augment BANDS,FRAMES`; the empty text is None. Raises `UsageError`."""
    if not text:
        return None
    try:
        bands, frames = (int(word) for word in text.split(","))
    except ValueError:
        bands = frames = -1
    if bands < 0 or frames < 0 or bands + frames == 0:
        raise UsageError(
            f"--spec-augment {text!r}: expected BANDS,FRAMES, the most that a mask covers, such as "
            "16,40"
        )
    return Masks(bands, frames, seed)

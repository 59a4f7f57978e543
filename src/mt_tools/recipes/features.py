"""The effects that a recipe can name on features: masks, erasing, shifts and mixtures.

Goal: the second half of the table of effects, in the same grammar. What an effect does to an array
is in `mt_tools.features.augment`, and on a device in `mt_tools.learn.augment`.

Source: SpecAugment (Park et al. 2019, arXiv:1904.08779), whose masks of up to 8 bands and 20 frames
are `mask=0..8:0..20`; random erasing (Zhong et al. 2020, arXiv:1708.04896); mixup (Zhang et al.
2018, arXiv:1710.09412), whose Beta(0.2, 0.2) is `mixup=beta0.2`; CutMix (Yun et al. 2019,
arXiv:1905.04899), whose boxes are `cutmix=beta1`.

Conventions: as `mt_tools.recipes.effects`. Bands count from the lowest, frames from the first; in
what is typed both may be shares of what an example has, `50%`. Places that are left out are drawn.
A mixture names the row that is mixed in, by its id. All masked values become the example's mean.
Standard library only.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from mt_tools.recipes.effects import NUMBER, ROW, WHOLE, Effect, value

BANDS, FRAMES = -2, -1
"""The axes of features [..., bands, frames]."""

_MOST = 100_000
"""Bands or frames that a recipe may count to."""


def _along(
    axis: int, help: str, metavar: str, *, default: Any = dataclasses.MISSING, beta: bool = False
) -> Any:
    """Declare a number of bands or frames, or where they begin if it has a default."""
    made = value(
        help, WHOLE, metavar=metavar, default=default, maximum=_MOST,
        drawn=default is not dataclasses.MISSING,
    )  # fmt: skip
    metadata = {**made.metadata, "axis": axis, "beta": beta}
    return dataclasses.field(default=default, metadata=metadata)


def _partner() -> Any:
    """Declare the other row of a mixture."""
    return value("id of the row that is mixed in", ROW, metavar="ID", default="", drawn=True)


@dataclass(frozen=True)
class FeatureEffect(Effect):
    """An effect on features.

    One that is `repeated` may stand several times in a recipe; one that `mixes` mixes labels too.
    """

    repeated: ClassVar[bool] = False
    mixes: ClassVar[bool] = False


@dataclass(frozen=True)
class Mask(FeatureEffect):
    """Covers so many bands, and so many frames, from BAND and FRAME on (drawn); may stand twice."""

    name: ClassVar[str] = "mask"
    example: ClassVar[str] = "mask=0..8:0..20"
    repeated: ClassVar[bool] = True
    bands: int = _along(BANDS, "bands covered", "BANDS")
    frames: int = _along(FRAMES, "frames covered", "FRAMES")
    band: int = _along(BANDS, "the first of these bands", "BAND", default=0)
    frame: int = _along(FRAMES, "the first of these frames", "FRAME", default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        # Of what is not covered it does not matter where: one text for one mask.
        if not self.bands:
            object.__setattr__(self, "band", 0)
        if not self.frames:
            object.__setattr__(self, "frame", 0)

    @property
    def changes_nothing(self) -> bool:
        """Say whether nothing is covered."""
        return not (self.bands or self.frames)


@dataclass(frozen=True)
class Erase(FeatureEffect):
    """Covers a rectangle of so many bands and frames; may stand twice."""

    name: ClassVar[str] = "erase"
    example: ClassVar[str] = "erase=10%..50%:5%..20%"
    repeated: ClassVar[bool] = True
    bands: int = _along(BANDS, "height of the rectangle", "BANDS")
    frames: int = _along(FRAMES, "width of the rectangle", "FRAMES")
    band: int = _along(BANDS, "its lowest band", "BAND", default=0)
    frame: int = _along(FRAMES, "its first frame", "FRAME", default=0)

    @property
    def changes_nothing(self) -> bool:
        """Say whether nothing is covered."""
        return not (self.bands and self.frames)


@dataclass(frozen=True)
class Shift(FeatureEffect):
    """Moves everything up by so many bands; what moves in is covered (of chroma it moves round)."""

    name: ClassVar[str] = "shift"
    example: ClassVar[str] = "shift=-4..4"
    bands: int = value("bands up", WHOLE, metavar="BANDS", minimum=-_MOST, maximum=_MOST)

    @property
    def changes_nothing(self) -> bool:
        """Say whether everything stays where it is."""
        return self.bands == 0


@dataclass(frozen=True)
class Mixup(FeatureEffect):
    """WEIGHT of this row, the rest of another of its split, labels too; betaA is Beta(A, A)."""

    name: ClassVar[str] = "mixup"
    example: ClassVar[str] = "mixup=beta0.2"
    mixes: ClassVar[bool] = True
    weight: float = dataclasses.field(
        metadata={
            **value("share of this row", NUMBER, metavar="WEIGHT", maximum=1, digits=4).metadata,
            "beta": True,
        }
    )
    partner: str = _partner()

    @property
    def changes_nothing(self) -> bool:
        """Say whether nothing is mixed in."""
        return self.weight == 1


@dataclass(frozen=True)
class Cutmix(FeatureEffect):
    """A rectangle of another row of its split, labels mixed by area; or cutmix=betaA."""

    name: ClassVar[str] = "cutmix"
    example: ClassVar[str] = "cutmix=100%:10%..50%"
    mixes: ClassVar[bool] = True
    bands: int = _along(BANDS, "height of the rectangle", "BANDS", beta=True)
    frames: int = _along(FRAMES, "width of the rectangle", "FRAMES", beta=True)
    band: int = _along(BANDS, "its lowest band", "BAND", default=0)
    frame: int = _along(FRAMES, "its first frame", "FRAME", default=0)
    partner: str = _partner()

    @property
    def changes_nothing(self) -> bool:
        """Say whether nothing is replaced."""
        return not (self.bands and self.frames)


FEATURE_EFFECTS: dict[str, type[FeatureEffect]] = {
    kind.name: kind for kind in (Mask, Erase, Shift, Mixup, Cutmix)
}

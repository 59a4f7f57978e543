"""What is done to the features of training examples, drawn anew for every row and epoch.

Goal: recipes on the fly. Their effects on features are carried out here, on the device, as
`mt_tools.features.augment` does on arrays, which names the sources; what is done to sound the
workers of `stages.waves` do. `--spec-augment B,F` is `mask=0..B:0..F` on every example.

Conventions: features are [n, ..., bands, frames]; all channels (and parts) of an example are
treated alike. Draws are by the row's name (`learn.draws`), the epoch and the view, so neither the
device nor the company in a batch matters; but for mixtures, whose other half is another row of the
batch, itself drawn by name. That other half is what the feed gives, before any effect on features.
The labels are mixed by the same weights (`tasks.losses.mixed_targets`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mt_tools.errors import RowError, UsageError
from mt_tools.features.augment import check, cutmix_weight, goes_around
from mt_tools.learn import draws
from mt_tools.learn.settings import FeedSettings
from mt_tools.recipes.features import Cutmix, Erase, Mask, Mixup, Shift
from mt_tools.recipes.steps import Chances, Pool, Step, numbers
from mt_tools.recipes.template import Template, parse_template


@dataclass(frozen=True)
class Mixing:
    """Whom the rows of a batch are mixed with: places in the batch [n], and their own weights [n].

    A row of weight 1 is not mixed.
    """

    partners: NDArray[np.intp]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Augment:
    """The recipes of a training: each example gets one of them, or with `originals` none.

    `always` is done to every example after its recipe. `features` are the settings of these, `said`
    the options that this is made of, by which a checkpoint knows its run.
    """

    recipes: tuple[Template, ...] = ()
    always: Template = Template(())  # noqa: RUF009 (frozen)
    originals: bool = True
    seed: int = 0
    features: Mapping[str, Any] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=lambda: _said(FeedSettings()))

    @property
    def mixes(self) -> bool:
        """Whether examples are mixed with others of their batch."""
        return any(template.mixes for template in self.recipes)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `UsageError` unless examples of this shape can be augmented."""
        for template in (*self.recipes, self.always):
            check(template, shape, self.features)

    def reseeded(self, seed: int) -> Augment:
        """Return the same, drawn with another seed."""
        return replace(self, seed=seed)

    def sounds(
        self, keys: draws.Keys, epoch: int, view: int, pools: Callable[[int], Pool]
    ) -> Iterator[str | RowError]:
        """Yield the recipe of each row for its sound, "" for none; an error where none can be.

        `pools` returns the files that there are for a row of `keys`, by its place.
        """
        chosen = self._chosen(keys, epoch, view)
        heard = [template.on_sound for template in self.recipes]
        chances = [self._chances(keys, number, epoch, view) for number in range(len(heard))]
        for place, number in enumerate(chosen.tolist()):
            if number < 0 or not heard[number].steps:
                yield ""
                continue

            def chance(name: str, place: int = place, number: int = number) -> float:
                return float(chances[number](name)[place])

            try:
                yield str(heard[number].draw(chance, pool=pools(place)))
            except RowError as error:
                yield error

    def mixing(self, keys: draws.Keys, epoch: int, shape: tuple[int, ...]) -> Mixing | None:
        """Return whom the rows of a batch are mixed with; None where none is.

        `shape` is that of an example.
        """
        if not self.mixes:
            return None
        weights = np.ones(len(keys))
        for step, drawn in self._steps(keys, epoch, 0, shape):
            if step.kind is Mixup:
                weights = np.minimum(weights, drawn[0])
            elif step.kind is Cutmix:
                weights = np.minimum(weights, cutmix_weight(shape, *drawn))
        if (weights == 1).all():
            return None
        count = len(keys)
        beyond = 1 + draws.below(keys, max(count - 1, 1), self.seed, "partner", epoch)
        return Mixing((np.arange(count) + beyond) % count, weights)

    def __call__(
        self,
        x: Tensor,
        keys: draws.Keys,
        epoch: int,
        view: int = 0,
        partners: NDArray[np.intp] | None = None,
    ) -> Tensor:
        """Return the examples `x` [n, ..., bands, frames] as this epoch has them.

        `keys` [n] are those of the examples' rows. `partners` [n] are the places in `x` of those
        that they are mixed with, which may stand behind them.
        """
        others = None if partners is None else x[torch.from_numpy(partners).to(x.device)]
        x = x[: len(keys)]
        for step, drawn in self._steps(keys, epoch, view, tuple(x.shape[1:])):
            given = [_on_device(values, x.device) for values in drawn]
            if step.kind is Mask:
                x = mask(x, *given)
            elif step.kind is Erase:
                x = erase(x, *given)
            elif step.kind is Shift:
                x = shift(x, given[0], goes_around(self.features))
            elif others is None:
                raise ValueError(f"{step.kind.name} needs the examples that are mixed in")
            elif step.kind is Mixup:
                x = mixup(x, others, *given)
            else:
                x = cutmix(x, others, *given)
        return x

    def _steps(
        self, keys: draws.Keys, epoch: int, view: int, shape: tuple[int, ...]
    ) -> Iterator[tuple[Step, list[NDArray[Any]]]]:
        """Yield the effects on features that change a row, and their numbers, [n] each.

        Rows that an effect is not applied to have numbers that change nothing.
        """
        chosen = self._chosen(keys, epoch, view)
        every = [(template, chosen == number) for number, template in enumerate(self.recipes)]
        every.append((self.always, np.ones(len(keys), dtype=bool)))
        for number, (template, rows) in enumerate(every):
            chances = self._chances(keys, number, epoch, view)
            for name, step in template.on_features.named:
                on = rows
                if step.chance is not None:
                    on = on & (chances(f"{name}.p") < step.chance)
                if not on.any():
                    continue
                drawn = _neutral_off(step, numbers(step, name, chances, shape), on)
                if not (step.kind is Mixup and (drawn[0] == 1).all()):
                    yield step, drawn

    def _chosen(self, keys: draws.Keys, epoch: int, view: int) -> NDArray[np.int64]:
        """Return the number of each row's recipe [n], -1 for none."""
        if not self.recipes:
            return np.full(len(keys), -1, dtype=np.int64)
        count = len(self.recipes) + self.originals
        if count == 1:
            return np.zeros(len(keys), dtype=np.int64)
        return draws.below(keys, count, self.seed, "recipe", epoch, view) - self.originals

    def _chances(self, keys: draws.Keys, number: int, epoch: int, view: int) -> Chances:
        """Return the draws of one recipe by name, [n] each."""
        known: dict[str, NDArray[np.float64]] = {}

        def chances(name: str) -> NDArray[np.float64]:
            if name not in known:
                known[name] = draws.uniform(keys, self.seed, "augment", number, epoch, view, name)
            return known[name]

        return chances


def _neutral_off(
    step: Step, drawn: Sequence[Any], on: NDArray[np.bool_]
) -> list[NDArray[np.int64] | NDArray[np.float64]]:
    """Return numbers [n] that change nothing where an effect is not `on`."""
    if step.kind is Mixup:
        return [np.where(on, drawn[0], 1.0)]
    return [np.where(on, values, 0).astype(np.int64) for values in drawn]


def _on_device(values: NDArray[Any], device: torch.device) -> Tensor:
    """Return numbers as a tensor; not in float64, which not every device has."""
    if values.dtype.kind == "f":
        values = values.astype(np.float32)
    return torch.from_numpy(values).to(device)


# --- the effects on a device ---------------------------------------------------------------------


def mask(x: Tensor, bands: Tensor, frames: Tensor, band: Tensor, frame: Tensor) -> Tensor:
    """Cover whole bands and whole frames of examples [n, ..., bands, frames]; numbers are [n]."""
    rows, columns = _runs(x, bands, frames, band, frame)
    return _covered(x, rows | columns)


def erase(x: Tensor, bands: Tensor, frames: Tensor, band: Tensor, frame: Tensor) -> Tensor:
    """Cover a rectangle of each example."""
    rows, columns = _runs(x, bands, frames, band, frame)
    return _covered(x, rows & columns)


def shift(x: Tensor, bands: Tensor, around: bool = False) -> Tensor:
    """Move each example up by so many bands; what moves in is covered, or with `around` comes from
    the other end.
    """
    size = x.shape[-2]
    source = torch.arange(size, device=x.device) - bands[:, None]
    places = source.remainder(size)
    lead = (len(x), *(1,) * (x.dim() - 3))
    moved = x.gather(-2, places.view(*lead, size, 1).expand(x.shape))
    if around:
        return moved
    return torch.where((source != places).view(*lead, size, 1), _means(x), moved)


def mixup(x: Tensor, others: Tensor, weight: Tensor) -> Tensor:
    """Return weight * x + (1 - weight) * others, for examples of any shape."""
    return torch.lerp(others, x, weight.to(x.dtype).view(-1, *(1,) * (x.dim() - 1)))


def cutmix(
    x: Tensor, others: Tensor, bands: Tensor, frames: Tensor, band: Tensor, frame: Tensor
) -> Tensor:
    """Replace a rectangle of each example by that of the others."""
    rows, columns = _runs(x, bands, frames, band, frame)
    return torch.where(rows & columns, others, x)


def _runs(
    x: Tensor, bands: Tensor, frames: Tensor, band: Tensor, frame: Tensor
) -> tuple[Tensor, Tensor]:
    """Return which bands [n, 1 ..., bands, 1] and which frames [n, 1 ..., 1, frames] are chosen."""
    lead = (len(x), *(1,) * (x.dim() - 3))
    found = []
    for axis, size, first in ((-2, bands, band), (-1, frames, frame)):
        place = torch.arange(x.shape[axis], device=x.device)
        chosen = (place >= first[:, None]) & (place < (first + size)[:, None])
        found.append(chosen.view(*lead, -1, 1) if axis == -2 else chosen.view(*lead, 1, -1))
    return found[0], found[1]


def _covered(x: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen & ~x.isnan(), _means(x), x)


def _means(x: Tensor) -> Tensor:
    """Return the mean of each example, [n, 1, ...]."""
    return x.flatten(1).nanmean(dim=1).view(-1, *(1,) * (x.dim() - 1))


# --- reading the options -------------------------------------------------------------------------


def augment_of(
    settings: FeedSettings,
    seed: int,
    features: Mapping[str, Any],
    *,
    heard: bool = False,
    what: str = "features",
) -> Augment | None:
    """Return what the options say of examples whose features have these settings; None = nothing.

    `heard` examples are decoded, and their sound can be changed; others are read, `what` being the
    name of their column. Raises `UsageError` for recipes that cannot be, or that do nothing. A
    recipe that stands twice is drawn twice as often.
    """
    recipes = tuple(
        _checked(text, parse_template(text), heard=heard, what=what) for text in settings.recipe
    )
    always = masks_of(settings.spec_augment)
    if not recipes and not settings.originals:
        raise UsageError("--no-originals leaves nothing to learn from: say a --recipe too")
    if not recipes and not always.steps:
        return None
    return Augment(recipes, always, settings.originals, seed, features, _said(settings))


def _said(settings: FeedSettings) -> dict[str, Any]:
    return {
        "spec_augment": settings.spec_augment,
        "recipe": list(settings.recipe),
        "originals": settings.originals,
    }


def masks_of(text: str) -> Template:
    """Read `--spec-augment BANDS,FRAMES`; the empty text is nothing. Raises `UsageError`."""
    if not text:
        return Template(())
    try:
        bands, frames = (int(word) for word in text.split(","))
    except ValueError:
        bands = frames = -1
    if bands < 0 or frames < 0 or bands + frames == 0:
        raise UsageError(
            f"--spec-augment {text!r}: expected BANDS,FRAMES, the most that a mask covers, such as "
            "16,40"
        )
    return parse_template(f"mask=0..{bands}:0..{frames}")


def _checked(text: str, template: Template, *, heard: bool, what: str) -> Template:
    """Return a recipe that can be carried out on the fly; raises `UsageError` for others."""
    if template.changes_nothing:
        raise UsageError(
            f"--recipe {text!r} changes nothing: name an effect, such as pitch=2 or mask=0..8:0..20"
        )
    sound = template.on_sound.steps
    if sound and not heard:
        raise UsageError(
            f"--recipe {text!r}: {sound[0].kind.name} is done to sound, and {what} is learned "
            "from: make copies with mt-augment before, or learn from audio"
        )
    if template.crops:
        raise UsageError(f"--recipe {text!r}: crops of examples are drawn with --crop S")
    for step in template.steps:
        if step.kind.name == "mix" and step.path == "":
            raise UsageError(
                f"--recipe {text!r}: mix draws from the table, of which rows may be kept to "
                "validate on: name a folder or file, as in mix=crowd/:15, or say mixup"
            )
        if step.kind in (Mixup, Cutmix) and isinstance(step.values[-1], str) and step.values[-1]:
            raise UsageError(
                f"--recipe {text!r}: what is mixed in is another row of the batch; leave out "
                f"{step.values[-1]!r}"
            )
    return template

"""Recipes as they are typed, with what is still to be drawn: `pitch=-2..2,noise=pink:10..30@0.5`.

A number may be a range, from which each copy draws; `room` and `mix` may name a folder, of which
each copy draws a file; `mix=10..20` names none, and draws another track of the table. What can be
left out and is drawn (a noise's seed, where a crop begins) is drawn. `crop` takes shares of the
track, `crop=50%..90%`, and effects on features shares of its bands and frames. An effect that ends
in `@P` is applied with that chance. In a path, write %2C for a comma, %3A for a colon, %40 for an
at sign and %25 for a percent sign.

Conventions: a draw asks for a number in [0, 1) by name, such as `noise.snr`, so that one effect's
draws do not depend on another's. Whole numbers of a range are equally likely, both ends included.
Of a Beta(A, A) the larger of the two shares is this row's: the same mixtures, each kept under the
row that it has most of.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mt_tools.errors import RowError, UsageError
from mt_tools.recipes import Recipe, check_count, check_order, is_name, read, words
from mt_tools.recipes.effects import (
    SEEDS,
    WHOLE,
    Crop,
    Effect,
    Mix,
    Noise,
    needed,
    usage,
    values_of,
)
from mt_tools.recipes.features import Cutmix, FeatureEffect
from mt_tools.recipes.steps import (
    BETA,
    Beta,
    Chance,
    Pool,
    Range,
    Step,
    check_shape,
    on_features,
)


@dataclass(frozen=True)
class Template:
    """Effects to be drawn, in their order."""

    steps: tuple[Step, ...]

    @property
    def on_sound(self) -> Template:
        """The effects on sound alone."""
        return Template(tuple(s for s in self.steps if not issubclass(s.kind, FeatureEffect)))

    @property
    def on_features(self) -> Template:
        """The effects on features alone."""
        return Template(tuple(s for s in self.steps if issubclass(s.kind, FeatureEffect)))

    @property
    def mixes(self) -> bool:
        """Say whether examples are mixed with others, and their labels too."""
        return any(issubclass(s.kind, FeatureEffect) and s.kind.mixes for s in self.steps)

    @property
    def changes_nothing(self) -> bool:
        """Say whether whatever is drawn leaves the track as it is."""
        return all(effect.changes_nothing for step in self.steps for effect in _corners(step))

    @property
    def named(self) -> list[tuple[str, Step]]:
        """The steps and what their draws are called: `mask`, and the second one `mask.2`."""
        names = [step.kind.name for step in self.steps]
        counts = [names[: place + 1].count(name) for place, name in enumerate(names)]
        return [
            (name if count == 1 else f"{name}.{count}", step)
            for name, count, step in zip(names, counts, self.steps, strict=True)
        ]

    @property
    def crops(self) -> bool:
        """Say whether copies are parts of their tracks."""
        return any(step.kind is Crop for step in self.steps)

    @property
    def needs_length(self) -> bool:
        """Say whether a draw must know how long the track is."""
        return any(
            step.kind is Crop and (len(step.values) == 1 or _shared(step.values))
            for step in self.steps
        )

    def draw(
        self,
        chance: Chance,
        *,
        p: float = 1.0,
        seconds: float | None = None,
        shape: tuple[int, ...] = (),
        pool: Pool,
    ) -> Recipe:
        """Draw a recipe: each effect is applied with its own chance, else with that of `p`.

        `seconds` is how long the track is, where `needs_length`; `shape` is that of the features.
        `pool` says which files and rows there are. Raises `RowError` where this track has nothing
        to be drawn from.
        """
        applied = [
            (name, step)
            for name, step in self.named
            if chance(f"{name}.p") < (p if step.chance is None else step.chance)
        ]
        drawn = (
            on_features(step, name, chance, shape, pool)
            if issubclass(step.kind, FeatureEffect)
            else _drawn(step, chance, seconds, pool)
            for name, step in applied
        )
        return Recipe(tuple(effect for effect in drawn if effect is not None))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise `UsageError` unless the effects on features fit features [..., bands, frames]."""
        for step in self.on_features.steps:
            check_shape(step, shape)


def parse_template(text: str) -> Template:
    """Read a recipe as it is typed; every recipe is a template too.

    Raises `UsageError` for what `recipes.parse` refuses, and for ranges that are reversed or out of
    bounds and chances that are none.
    """
    steps = tuple(_step(*parts, text) for parts in words(text))
    check_order([step.kind for step in steps], text)
    for step in steps:
        _corners(step)
    return Template(steps)


def _step(kind: type[Effect], values: Sequence[str], chance: str | None, text: str) -> Step:
    if kind is Mix and len(values) == 1:
        values = ["", *values]
    if kind is Cutmix and len(values) == 1 and values[0].startswith(BETA):
        values = [*values, *values]  # a rectangle of the example's proportions
    check_count(kind, values, text)
    p = None if chance is None else _probability(kind, chance, text)
    return Step(kind, tuple(_value(kind, i, word, text) for i, word in enumerate(values)), p)


def _value(kind: type[Effect], index: int, word: str, text: str) -> Range | Beta | str:
    """Read a value: a number is a range, of that number alone where no other is typed."""
    meta = values_of(kind)[index].metadata
    if is_name(kind, index) or meta["choices"]:
        return str(read(kind, index, word, text))
    if meta.get("beta") and word.startswith(BETA):
        return _beta(kind, word, text)
    low, dots, high = word.partition("..")
    bounds = [low, high] if dots else [low]
    shared = "axis" in meta or (kind is Crop and index == 0)
    share = shared and all(bound.endswith("%") for bound in bounds)
    numbers = [float(read(kind, index, b.removesuffix("%" * share), text)) for b in bounds]
    if numbers[0] > numbers[-1]:
        raise UsageError(
            f"{kind.name} goes from {low} to {high} in the recipe {text!r}: the lower number comes "
            f"first, as in {high}..{low}"
        )
    least = "more than " * (kind is Crop)
    if share and (numbers[0] < 0 or numbers[-1] > 100 or (least and not numbers[0])):
        raise UsageError(
            f"{kind.name} is {word} in the recipe {text!r}, expected {least}0 % to 100 %"
        )
    return Range(numbers[0], numbers[-1], share)


def _beta(kind: type[Effect], word: str, text: str) -> Beta:
    try:
        alpha = float(word.removeprefix(BETA))
    except ValueError:
        alpha = math.nan
    if not 0.01 <= alpha <= 100:
        raise UsageError(
            f"{kind.name} is {word} in the recipe {text!r}, expected {BETA} and a number from 0.01 "
            f"to 100, as in {kind.name}={BETA}0.2"
        )
    return Beta(alpha)


def _probability(kind: type[Effect], chance: str, text: str) -> float:
    try:
        p = float(chance)
    except ValueError:
        p = math.nan
    if not 0 <= p <= 1:
        raise UsageError(
            f"{kind.name} has the chance {chance!r} in the recipe {text!r}, expected a number from "
            f"0 to 1, as in {kind.example}@0.5; in a path write %40 for @"
        )
    return p


def _corners(step: Step) -> list[Effect]:
    """Make the effects at the ends of all ranges, so that what is out of bounds is refused now."""
    ends: list[tuple[Any, ...]] = []
    for field, value in zip(values_of(step.kind), step.values, strict=False):
        if isinstance(value, Range) and not value.share:
            ends.append((value.low, value.high))
        elif isinstance(value, Range | Beta):
            ends.append((1.0 if field.metadata["kind"] == WHOLE or step.kind is Crop else 0.5,))
        else:
            ends.append((value or "of the table",))
    return [step.kind(*values) for values in itertools.product(*ends)]


def _shared(values: Sequence[Range | Beta | str]) -> bool:
    return isinstance(values[0], Range) and values[0].share


def _drawn(step: Step, chance: Chance, seconds: float | None, pool: Pool) -> Effect | None:
    """Draw the values of an effect; None for a crop that takes the whole track."""
    name = step.kind.name
    values: list[Any] = []
    for field, value in zip(values_of(step.kind), step.values, strict=False):
        if isinstance(value, Beta):  # of shares of features alone
            raise TypeError(f"{name}: {value}")
        if isinstance(value, Range):
            values.append(_number(field.metadata, value, chance(f"{name}.{field.name}"), seconds))
        elif field.metadata["choices"]:
            values.append(value)
        else:
            files = pool(name, value)
            values.append(files[int(chance(f"{name}.{field.name}") * len(files))])
    if step.kind is Noise and len(values) == needed(Noise):
        values.append(int(chance("noise.seed") * SEEDS))
    if step.kind is Crop:
        return _placed(values, chance, seconds)
    return step.kind(*values)


def _number(meta: Any, range_: Range, chance: float, seconds: float | None) -> float:
    low, high = range_.low, range_.high
    if meta["octaves"] and low > 0:
        drawn = low * (high / low) ** chance
    else:
        drawn = low + (high - low) * chance
    if range_.share:
        drawn, low, high = (drawn / 100 * (seconds or 0.0), meta["minimum"], meta["maximum"])
    if low == high:
        return low
    # Rounding may leave a narrow range.
    return min(max(round(drawn, meta["digits"]), low), high)


def _placed(values: list[float], chance: Chance, seconds: float | None) -> Crop | None:
    """Return a crop of this length that lies in the track; None where it is all of it."""
    if seconds is None:
        return Crop(*values)
    length = values[0]
    if len(values) > 1:
        if values[1] >= seconds:
            raise RowError(
                f"{usage(Crop)}: the part begins at {values[1]:g} s, and the track ends at "
                f"{seconds:g} s; choose an earlier START, or leave it out to draw it",
                "too-short",
            )
        return Crop(*values)
    room = seconds - length
    if room <= 0:
        return None
    return Crop(length, math.floor(chance("crop.start") * room * 1000) / 1000)

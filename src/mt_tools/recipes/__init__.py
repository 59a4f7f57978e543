"""Recipes: what is done to a track's sound, and to its features, as one short text in a table.

A recipe stands in the table's `recipe` column (docs/wire.md), so that augmented copies cost no
disk: `pitch=+2`, `pitch=-2,stretch=1.1`, `noise=pink:20:7,codec=mp3:64`. Effects are carried out in
the order of the text, when sound is decoded, by `mt_tools.sound.effects`; those on features, which
stand last, are in the features already, as `mask=8:20:3:40`. Their tables are
`mt_tools.recipes.effects` and `mt_tools.recipes.features`.

The grammar: effects are separated by commas, the values of one by colons; a file's name is
percent-encoded but for slashes. So a recipe has neither spaces nor anything that a shell minds, and
can be part of an id. It says everything: nothing is drawn when it is carried out. What is drawn
before, from ranges such as `pitch=-2..2`, is a `Template` (`mt_tools.recipes.template`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

from mt_tools.errors import UsageError
from mt_tools.recipes.effects import (
    EFFECTS,
    FILE,
    ROW,
    WORD,
    Codec,
    Crop,
    Effect,
    Mix,
    Noise,
    Room,
    Stretch,
    needed,
    usage,
    values_of,
)
from mt_tools.recipes.features import FEATURE_EFFECTS, FeatureEffect

KNOWN: dict[str, type[Effect]] = {**EFFECTS, **FEATURE_EFFECTS}
"""All effects, by name."""

Kind = TypeVar("Kind", bound=Effect)

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Recipe:
    """Effects in the order in which they are carried out; none by default.

    `str(recipe)` is its canonical text, which `parse` reads back to an equal recipe; the text of
    the identity is empty. Effects that change nothing are left out. Raises `UsageError` as
    `check_order` does.
    """

    effects: tuple[Effect, ...] = ()

    def __post_init__(self) -> None:
        kept = tuple(effect for effect in self.effects if not effect.changes_nothing)
        object.__setattr__(self, "effects", kept)
        check_order([type(effect) for effect in kept], str(self))

    def __bool__(self) -> bool:
        """Say whether the recipe changes anything."""
        return bool(self.effects)

    def __str__(self) -> str:
        return ",".join(str(effect) for effect in self.effects)

    def of(self, kind: type[Kind]) -> Kind | None:
        """Return the effect of a kind, None where the recipe has none."""
        return next((effect for effect in self.effects if isinstance(effect, kind)), None)

    @property
    def on_features(self) -> tuple[FeatureEffect, ...]:
        """The effects on features, which sound has not."""
        return tuple(effect for effect in self.effects if isinstance(effect, FeatureEffect))

    @property
    def stretch(self) -> float:
        """The factor on the length: a second of the track becomes so many."""
        return math.prod(e.factor for e in self.effects if isinstance(e, Stretch))

    @property
    def crop(self) -> Crop | None:
        """The crop, which is carried out by the `start` and `duration` of the row."""
        return self.of(Crop)

    @property
    def at_stored_rate(self) -> bool:
        """Say whether it is carried out before resampling: a codec hears the whole spectrum."""
        return self.of(Codec) is not None

    @property
    def follows_level(self) -> bool:
        """Say whether it depends on the level of what is decoded, as noise at an SNR does."""
        return self.of(Noise) is not None or self.of(Mix) is not None

    def located(self, find: Callable[[str], str]) -> Recipe:
        """Return the recipe with the files it names where `find` says that they are."""
        return Recipe(
            tuple(
                replace(effect, file=find(effect.file))
                if isinstance(effect, Room | Mix)
                else effect
                for effect in self.effects
            )
        )


def without_folders(text: str) -> str:
    """Return a recipe as typed without the absolute folders of this machine, for provenance."""
    return re.sub(r"=~?/[^,:@]*/(?=[^,:@/])", "=", text)


class Words(NamedTuple):
    """One effect as it is written: its kind, its values, and the chance after `@`."""

    kind: type[Effect]
    values: list[str]
    chance: str | None


def parse(text: str) -> Recipe:
    """Read a recipe such as `pitch=-2,stretch=1.1`; the empty text is the identity.

    Raises `UsageError` for an effect that does not exist or stands twice, for values that are too
    few, too many, no numbers or out of range, and for what is still to be drawn.
    """
    effects = []
    for kind, values, chance in words(text):
        if chance is not None or any(
            ".." in v and not is_name(kind, i) for i, v in enumerate(values)
        ):
            raise UsageError(
                f"{kind.name} is still to be drawn in the recipe {text!r}: expected one value, as "
                f"in {kind.example}; mt-augment --recipe draws from ranges"
            )
        check_count(kind, values, text)
        effects.append(kind(*(read(kind, i, word, text) for i, word in enumerate(values))))
    return Recipe(tuple(effects))


def words(text: str) -> list[Words]:
    """Take a recipe's text apart; raises `UsageError` for an effect that does not exist."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        part, at, chance = part.partition("@")
        name, is_, values = (piece.strip() for piece in part.partition("="))
        if name not in KNOWN:
            raise UsageError(
                f"unknown effect {name!r} in the recipe {text!r}, expected one of "
                f"{', '.join(KNOWN)}, as in pitch=+2"
            )
        given = [word.strip() for word in values.split(":")] if is_ else []
        found.append(Words(KNOWN[name], given, chance.strip() if at else None))
    return found


def check_count(kind: type[Effect], values: Sequence[str], text: str) -> None:
    """Raise `UsageError` unless an effect has as many values as it needs."""
    if not needed(kind) <= len(values) <= len(values_of(kind)):
        raise UsageError(
            f"{kind.name} has {len(values) or 'no'} value{'s' * (len(values) != 1)} in the recipe "
            f"{text!r}, expected {usage(kind)}, as in {kind.example}"
        )


def check_order(kinds: Sequence[type[Effect]], text: str) -> None:
    """Raise `UsageError` unless effects can stand in this order.

    A crop stands first, effects on features stand last, and each stands once but for masks.
    """
    for place, kind in enumerate(kinds):
        name, before = kind.name, kinds[:place]
        on_features = issubclass(kind, FeatureEffect)
        if kind in before and not (issubclass(kind, FeatureEffect) and kind.repeated):
            raise UsageError(f"{name} stands twice in the recipe {text!r}; leave one")
        if kind is Crop and before:
            raise UsageError(
                f"crop stands after {before[0].name} in the recipe {text!r}: a crop selects what "
                "is decoded, so put it first"
            )
        if before and issubclass(before[-1], FeatureEffect) and not on_features:
            raise UsageError(
                f"{name} stands after {before[-1].name} in the recipe {text!r}: features are made "
                "of sound, so put what is done to the sound first"
            )
    mixing = [k.name for k in kinds if issubclass(k, FeatureEffect) and k.mixes]
    if len(mixing) > 1:
        raise UsageError(
            f"{' and '.join(mixing)} stand in the recipe {text!r}, and a row is mixed with one "
            "other: leave one, and say --recipe again for the other"
        )


def is_file(kind: type[Effect], index: int) -> bool:
    """Say whether a value of an effect is the path of a file."""
    return _is(kind, index, FILE)


def is_name(kind: type[Effect], index: int) -> bool:
    """Say whether a value of an effect may be any text: a path, or an id."""
    return _is(kind, index, FILE, ROW)


def _is(kind: type[Effect], index: int, *kinds: str) -> bool:
    fields = values_of(kind)
    return index < len(fields) and fields[index].metadata["kind"] in kinds


def read(kind: type[Effect], index: int, word: str, text: str) -> float | str:
    """Read one value of an effect; its range is checked when the effect is made."""
    field = values_of(kind)[index]
    if is_name(kind, index):
        return unquote(word)
    if field.metadata["kind"] == WORD:
        return word
    if not _NUMBER.fullmatch(word):
        raise UsageError(
            f"{field.metadata['metavar']} of {kind.name} is {word!r} in the recipe {text!r}, "
            f"expected a number, as in {kind.example}"
        )
    return float(word)

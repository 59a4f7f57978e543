"""One effect that is still to be drawn, and the draws of effects on features.

Goal: the same draws for one row (`mt-augment`) and for a batch at once (`mt-train`): numbers are
drawn from single chances or from arrays of them, by the same arithmetic. The conventions are those
of `mt_tools.recipes.template`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mt_tools.errors import UsageError
from mt_tools.recipes import is_file
from mt_tools.recipes.effects import ROW, WHOLE, Effect, values_of

BETA = "beta"
"""What stands before the parameter of a Beta distribution, as in `mixup=beta0.2`."""

Chance = Callable[[str], float]
"""A number in [0, 1) for the name of a draw, always the same for the same name."""

Chances = Callable[[str], Any]
"""The same for many examples at once: an array of such numbers."""

Pool = Callable[[str, str], Sequence[str]]
"""The files, or ids of rows, that an effect, by name, can draw for what was typed, "" being the
table."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; with `share` per cent of the track, its bands or frames."""

    low: float
    high: float
    share: bool = False


@dataclass(frozen=True)
class Beta:
    """Shares drawn from Beta(alpha, alpha)."""

    alpha: float


@dataclass(frozen=True)
class Step:
    """An effect to be drawn: a range for every number, words and paths as they are.

    `chance` is that of being applied, None where the template's counts.
    """

    kind: type[Effect]
    values: tuple[Range | Beta | str, ...]
    chance: float | None = None

    @property
    def path(self) -> str | None:
        """The file or folder that was named, "" for the table; None where the effect has none."""
        at = next((i for i, _ in enumerate(values_of(self.kind)) if is_file(self.kind, i)), None)
        return None if at is None else str(self.values[at])


def numbers(step: Step, name: str, chances: Chances, shape: tuple[int, ...]) -> list[Any]:
    """Draw the numbers of an effect on features [..., bands, frames].

    `chances` returns a number for the name of a draw, or an array of numbers, one an example, and
    so are the numbers that are drawn; those that no draw has a part in are single in any case. A
    partner, which is no number, is left out. `name` is that of `Template.named`.
    """
    import numpy as np

    drawn: list[Any] = []
    sizes: dict[int, Any] = {}
    for index, field in enumerate(values_of(step.kind)):
        meta = field.metadata
        if meta["kind"] == ROW:
            continue
        typed = step.values[index] if index < len(step.values) else None
        axis = meta.get("axis")
        size = 1 if axis is None else shape[axis]
        if isinstance(typed, Beta):
            share = _beta_share(typed.alpha, chances(f"{name}.{BETA}"))
            if axis is None:
                drawn.append(np.round(share, meta["digits"]))
            else:  # both sides alike, so that the area is 1 - share
                drawn.append(np.round(size * np.sqrt(1 - share)))
        elif isinstance(typed, Range):
            drawn.append(_within(typed, meta, size, chances, f"{name}.{field.name}"))
        else:  # where it begins: anywhere where it fits
            assert axis is not None, field.name
            places = size - sizes[axis] + 1
            drawn.append(np.floor(places * chances(f"{name}.{field.name}")))
        if axis is not None:
            sizes.setdefault(axis, drawn[-1])
    return drawn


def _within(range_: Range, meta: Any, size: int, chances: Chances, name: str) -> Any:
    """Draw numbers from a range; nothing is drawn of a single number."""
    import numpy as np

    low, high = range_.low, range_.high
    if range_.share:
        low, high = round(low / 100 * size), round(high / 100 * size)
    if low == high:
        return float(low)
    if meta["kind"] == WHOLE:
        return low + np.floor((high - low + 1) * chances(name))
    return np.clip(np.round(low + (high - low) * chances(name), meta["digits"]), low, high)


def _beta_share(alpha: float, chances: Any) -> Any:
    """Return the larger of two shares that are drawn from Beta(alpha, alpha)."""
    from scipy.special import betaincinv

    return abs(betaincinv(alpha, alpha, chances) - 0.5) + 0.5


def on_features(
    step: Step, name: str, chance: Chance, shape: tuple[int, ...], pool: Pool
) -> Effect:
    """Draw an effect on features of this shape."""
    values: list[Any] = [float(number) for number in numbers(step, name, chance, shape)]
    if len(values) < len(values_of(step.kind)):
        typed = step.values[len(values)] if len(step.values) > len(values) else ""
        rows = pool(step.kind.name, str(typed))
        values.append(rows[int(chance(f"{name}.partner") * len(rows))])
    return step.kind(*values)


def check_shape(step: Step, shape: tuple[int, ...]) -> None:
    """Raise `UsageError` unless an effect fits features of this shape."""
    name, most = step.kind.name, {-2: 0.0, -1: 0.0}
    if len(shape) < 2:
        if name != "mixup":
            raise UsageError(
                f"{name} is done to bands and frames, and a row holds {shape[0]} values: learn "
                "from features or audio, or choose mixup"
            )
        return
    for field, typed in zip(values_of(step.kind), step.values, strict=False):
        axis = field.metadata.get("axis", -2)
        if isinstance(typed, Range) and field.metadata["kind"] == WHOLE and not typed.share:
            most[axis] += max(abs(typed.low), abs(typed.high))
    if most[-2] > shape[-2] or most[-1] > shape[-1]:
        raise UsageError(
            f"{name} reaches over more than an example has, {shape[-2]} bands and {shape[-1]} "
            "frames: choose smaller numbers"
        )

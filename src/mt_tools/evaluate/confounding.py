"""What the runs of an experiment can tell apart: balance, efficiency, correlation, aliases.

Goal: say before weeks of training which effects a design mixes up. Conventions, those of
Montgomery, "Design and Analysis of Experiments": a source is a factor of two levels, coded +1 where
a run learns from it and -1 where not; the strategies are one factor, coded by orthonormal contrasts
times the root of their number. A row of the model matrix X [runs, effects] then has the square norm
of the number of effects (the mean, each source, strategies less one), and where all is balanced and
orthogonal X'X is runs times the identity.

Efficiency: `det(X'X)^(1 / effects) / runs`, 1 for an orthogonal balanced design and 0 where effects
cannot be told apart. Aliases: of a model of main effects alone, fitted where there are interactions
Z b2 of two factors too, the estimates are off by A b2, with `A = inv(X'X) X'Z` (Box and Wilson
1951). An interaction is the product of two columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Sets = NDArray[np.bool_]
"""Which sources each run learns from: [runs, sources]."""
Levels = NDArray[np.int64]
"""The number of the strategy of each run: [runs]."""
Floats = NDArray[np.float64]

STRATEGY = "strategy"
BY = " x "
_SINGULAR = 1e-9  # the smallest eigenvalue of X'X a run, below which effects are not told apart


class Mixed(NamedTuple):
    """Two effects that a design mixes up, and how much: a correlation, or an entry of A."""

    effect: str
    other: str
    value: float


@dataclass(frozen=True)
class Confounding:
    """What a design can tell apart.

    `sources`, `strategies`: in how many runs each is. `correlations` are between main effects: of
    two sources Pearson's, of a source with the strategies the multiple correlation. `aliases` are
    of each main effect with each interaction; where strategies take part, the root of the sum of
    squares over their contrasts. `aliases` are empty where main effects cannot be told apart.
    """

    runs: int
    efficiency: float
    sources: dict[str, int]
    strategies: dict[str, int]
    correlations: list[Mixed]
    aliases: list[Mixed]


def contrasts(strategies: int) -> Floats:
    """Return the columns of the strategies: [strategies, strategies - 1]."""
    from scipy.linalg import helmert

    return np.sqrt(strategies) * helmert(strategies).T if strategies > 1 else np.zeros((1, 0))


def main_effects(sets: Sets, levels: Levels, coding: Floats) -> Floats:
    """Return the model matrix X: the mean, the sources, the strategies by `coding`."""
    return np.column_stack([np.ones(len(sets)), np.where(sets, 1.0, -1.0), coding[levels]])


def interactions(effects: Floats, sources: int) -> Floats:
    """Return the products of two factors: of sources, then of each source with each contrast."""
    x, strategies = effects[:, 1 : 1 + sources], effects[:, 1 + sources :]
    first, second = np.triu_indices(sources, 1)
    crossed = (x[:, :, None] * strategies[:, None, :]).reshape(
        len(x), sources * strategies.shape[1]
    )
    return np.hstack([x[:, first] * x[:, second], crossed])


def efficiency(effects: Floats) -> float:
    """Return the D-efficiency of a model matrix."""
    values = np.linalg.eigvalsh(effects.T @ effects / len(effects))
    return float(np.exp(np.log(values).mean())) if values.min() > _SINGULAR else 0.0


def confounding(
    sets: Sets, levels: Levels, sources: Sequence[str], strategies: Sequence[str]
) -> Confounding:
    """Return what the runs can tell apart; `levels` number the `strategies`."""
    used = np.flatnonzero(np.bincount(levels, minlength=len(strategies)))
    coding = contrasts(max(1, len(used)))
    x = main_effects(sets, np.searchsorted(used, levels), coding)
    found = efficiency(x)
    return Confounding(
        runs=len(sets),
        efficiency=found,
        sources={name: int(sets[:, i].sum()) for i, name in enumerate(sources)},
        strategies={name: int((levels == i).sum()) for i, name in enumerate(strategies)},
        correlations=_correlations(sets, levels, sources),
        aliases=_aliases(x, sources, coding.shape[1]) if found else [],
    )


def _correlations(sets: Sets, levels: Levels, sources: Sequence[str]) -> list[Mixed]:
    x = np.where(sets, 1.0, -1.0) - np.where(sets, 1.0, -1.0).mean(axis=0)
    squares = np.square(x).sum(axis=0)
    found = []
    for i, j in combinations(range(len(sources)), 2):
        norm = np.sqrt(squares[i] * squares[j])
        value = float(x[:, i] @ x[:, j] / norm) if norm else float("nan")
        found.append(Mixed(sources[i], sources[j], value))
    counts = np.bincount(levels)
    if np.count_nonzero(counts) < 2:
        return found
    for i, name in enumerate(sources):
        sums = np.bincount(levels, weights=x[:, i])
        between = float((np.square(sums) / np.maximum(counts, 1)).sum())
        value = float(np.sqrt(between / squares[i])) if squares[i] else float("nan")
        found.append(Mixed(name, STRATEGY, value))
    return found


def _aliases(x: Floats, sources: Sequence[str], contrasts_: int) -> list[Mixed]:
    """Return the alias of each main effect with each interaction of two factors."""
    k = len(sources)
    a = np.linalg.solve(x.T @ x, x.T @ interactions(x, k))
    names = [f"{one}{BY}{other}" for one, other in combinations(sources, 2)]
    columns: list[Any] = [[i] for i in range(len(names))]
    if contrasts_:
        names += [f"{name}{BY}{STRATEGY}" for name in sources]
        start = len(columns)
        columns += [[start + i * contrasts_ + c for c in range(contrasts_)] for i in range(k)]
    effects: list[tuple[str, Any]] = [(name, [1 + i]) for i, name in enumerate(sources)]
    if contrasts_:
        effects.append((STRATEGY, list(range(1 + k, 1 + k + contrasts_))))
    found = []
    for effect, rows in effects:
        for name, block in zip(names, columns, strict=True):
            part = a[np.ix_(rows, block)]
            value = float(part[0, 0]) if part.size == 1 else float(np.sqrt(np.square(part).sum()))
            found.append(Mixed(effect, name, value))
    return found


def strongest(found: Sequence[Mixed]) -> Mixed | None:
    """Return the pair that is mixed up most; None where there is none."""
    known = [one for one in found if one.value == one.value]
    return max(known, key=lambda one: abs(one.value)) if known else None


def described(found: Confounding, possible: int = 0) -> str:
    """Return one paragraph on what a design can tell apart; `possible` runs are said if given."""
    of = f" of {possible} possible" if possible > found.runs else ""
    told = [f"{found.runs}{of} runs: each source in {_range(found.sources.values())} of them"]
    if len(found.strategies) > 1:
        told[0] += f", each strategy in {_range(found.strategies.values())}"
    if not found.efficiency:
        told.append(
            "main effects cannot all be told apart: give more runs, or strategies that take "
            "different numbers of sources"
        )
        return "; ".join(told)
    told.append(f"D-efficiency of main effects {found.efficiency:.3f} (1 is orthogonal)")
    pair = strongest(found.correlations)
    if pair is not None:
        told.append(
            f"the largest correlation between them {abs(pair.value):.3f} ({pair.effect} and "
            f"{pair.other})"
        )
    worst = strongest(found.aliases)
    if worst is not None:
        mean = np.sqrt(np.mean([one.value**2 for one in found.aliases]))
        told.append(
            f"of an interaction of two at most {abs(worst.value):.2f} is taken for a main effect "
            f"({worst.other} for {worst.effect}), {mean:.2f} in the mean (rms)"
        )
    return "; ".join(told)


def _range(counts: Any) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"

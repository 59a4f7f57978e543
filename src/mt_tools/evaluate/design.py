"""Which runs to train: designs over learning sources and strategies.

Goal: the designs of the AGF study (every set of sources, as one network a task and as one of
several tasks) and of REP (section 4.1: main effects of eight sources and four strategies in 78 of
1,020 runs, with virtually no confounding between them), and a list of one's own.

A run is a set of sources, not empty, and a strategy, which may take only so many sources. A full
factorial design has every such pair. A fraction is found in two steps:

1. From random starts, each row in turn is exchanged for the set that raises `det(X'X)` most, until
   none does (Fedorov, "Theory of optimal experiments", 1972; the row-wise form of Cook and
   Nachtsheim, "A comparison of algorithms for constructing exact D-optimal designs", 1980). How
   often a strategy occurs is fixed from the start: equally often, as far as there are sets for it.
2. Of what is within a thousandth of the best, sources are brought to one half of the runs and
   aliases of main effects with interactions of two factors are made small: the sum of their squares
   is minimised under that bound (Jones and Nachtsheim, "Efficient designs with minimal aliasing",
   2011), by exchanging one source between two runs, which keeps the balance.

No run occurs twice, and where there are sets enough no set does, under whatever strategy. Coding
and measures: `evaluate.confounding`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.evaluate.confounding import (
    Floats,
    Levels,
    Sets,
    contrasts,
    efficiency,
    interactions,
    main_effects,
)

MOST_SOURCES = 16
"""Sources of a design: each set of them is looked at, and they double with every source."""
MOST_RUNS = 100_000
_STARTS = (25, 400)  # as many as cost so much together:
_COST = 1e8
_REFINED = 3  # of the designs found, so many are made less aliased
_SLACK = 0.001  # of the efficiency, given for balance and smaller aliases
_SWEEPS = 50
_RIDGE = 1e-6  # a run, added to X'X: with as many runs as effects one less is singular
_RANGE = re.compile(r"(?P<name>.+):(?P<fewest>\d+)\.\.(?P<most>\d*)")
_SAFE = re.compile(r"[\w@][\w.@-]*")
_SAFE_RUN = re.compile(r"[\w@][\w.@+-]*")


@dataclass(frozen=True)
class Strategy:
    """How a run learns from its sources, and how many it takes: `most` is None for all."""

    name: str
    fewest: int = 1
    most: int | None = None

    def takes(self, number: int) -> bool:
        """Say whether it takes so many sources."""
        return self.fewest <= number and (self.most is None or number <= self.most)

    @property
    def described(self) -> str:
        """The range of sources, in words."""
        if self.most is None:
            return f"{self.fewest} or more sources"
        if self.most == self.fewest:
            return f"{self.most} source{'s' * (self.most > 1)}"
        return f"{self.fewest} to {self.most} sources"


def parse_strategy(text: str) -> Strategy:
    """Return the strategy of `NAME` or `NAME:FEWEST..MOST`, such as `block:1` or `MTN:2..`."""
    found = _RANGE.fullmatch(text)
    if found is None:
        if ".." in text:
            raise UsageError(
                f"--strategy {text}: expected NAME or NAME:FEWEST..MOST, such as MTN:2.. or "
                "SS-R:1..1"
            )
        return Strategy(_checked(text, "--strategy"))
    fewest, most = int(found["fewest"]), int(found["most"]) if found["most"] else None
    if fewest < 1 or (most is not None and most < fewest):
        raise UsageError(f"--strategy {text}: expected 1 <= FEWEST <= MOST")
    return Strategy(_checked(found["name"], "--strategy"), fewest, most)


def check_source(name: str) -> str:
    """Return the name of a source; raises `UsageError` for one that no file may be called by."""
    if ":" in name:
        raise UsageError(f"--source {name}: expected a name without ':'; a kind is of mt-train")
    return _checked(name, "--source")


def check_run(name: str) -> str:
    """Return the name of a run; raises `UsageError` for one that no file may be called by."""
    if not _SAFE_RUN.fullmatch(name):
        raise UsageError(
            f"run {name}: expected letters, digits and _ . @ + -, since runs become files and "
            "targets of make; leave the column run out to have them named"
        )
    return name


def _checked(name: str, option: str) -> str:
    if not _SAFE.fullmatch(name.replace(":", "-")):
        raise UsageError(
            f"{option} {name}: expected letters, digits and _ . @ -, since runs become files and "
            "targets of make"
        )
    return name


def run_name(sources: Sequence[str], strategy: str = "") -> str:
    """Return what a run is called: the same set and strategy always the same, fit for a file."""
    return "_".join(filter(None, [strategy.replace(":", "-"), "+".join(sorted(sources))]))


def all_sets(sources: int) -> Sets:
    """Return every set but the empty one, small ones first: [2^sources - 1, sources]."""
    if sources > MOST_SOURCES:
        raise UsageError(f"got {sources} sources, expected {MOST_SOURCES} or fewer: leave some out")
    numbers = np.arange(1, 1 << sources)
    sets = (numbers[:, None] >> np.arange(sources) & 1).astype(bool)
    keys = [~sets[:, column] for column in reversed(range(sources))]
    return np.asarray(sets[np.lexsort([*keys, sets.sum(axis=1)])])


def full(sources: int, strategies: Sequence[Strategy]) -> tuple[Sets, Levels]:
    """Return every set with every strategy that takes it.

    Raises `UsageError` where a strategy takes none, and for runs that nobody trains.
    """
    sets = all_sets(sources)
    parts = [sets[_taken_by(sets, strategy)] for strategy in strategies]
    for strategy, part in zip(strategies, parts, strict=True):
        if not len(part):
            raise UsageError(
                f"--strategy {strategy.name} takes {strategy.described}, and there are {sources}"
            )
    runs = sum(map(len, parts))
    if runs > MOST_RUNS:
        raise UsageError(f"--full: {runs} runs: say --runs for a fraction of them")
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(p) for p in parts])


def _taken_by(sets: Sets, strategy: Strategy) -> NDArray[np.bool_]:
    return np.array([strategy.takes(int(number)) for number in sets.sum(axis=1)], bool)


def with_all(sources: int, strategies: Sequence[Strategy]) -> tuple[Sets, Levels]:
    """Return the run with all sources of every strategy that takes them."""
    levels = [i for i, strategy in enumerate(strategies) if strategy.takes(sources)]
    return np.ones((len(levels), sources), bool), np.array(levels, np.int64)


def beside(sets: Sets, strategy: Strategy) -> Sets:
    """Return what a further strategy adds to a design: each of its sets, and each source alone.

    Of them those that the strategy takes; each once.
    """
    both = np.concatenate([np.eye(sets.shape[1], dtype=bool), sets])
    both = both[_taken_by(both, strategy)]
    _, first = np.unique(both, axis=0, return_index=True)
    return np.asarray(both[np.sort(first)])


# --- fractions -----------------------------------------------------------------------------------


def fraction(
    sources: int,
    strategies: Sequence[Strategy],
    runs: int,
    seed: int = 0,
    fixed: tuple[Sets, Levels] | None = None,
) -> tuple[Sets, Levels]:
    """Return a D-optimal design of `runs` runs with small aliases, and the `fixed` runs after them.

    It is the best together with the fixed ones, and has none of their runs. Sorted by strategy and
    number of sources. Raises `UsageError` for fewer runs than there are main effects, and for more
    than there are.
    """
    whole, _ = full(sources, strategies)
    if fixed is None:
        fixed = np.zeros((0, sources), bool), np.zeros(0, np.int64)
    effects = sources + len(strategies)
    most = len(whole) - len(fixed[0])
    if runs < effects:
        raise UsageError(
            f"--runs {runs}: the main effects of {sources} sources and {len(strategies)} "
            f"strategies need {effects} runs or more"
        )
    if runs > most:
        raise UsageError(f"--runs {runs}: there are only {most} such runs: say --full")
    search = _Search(sources, strategies, runs, fixed)
    found = []
    cost = runs * len(search.sets) * effects**2
    for start in range(int(np.clip(_COST / cost, *_STARTS))):
        rng = np.random.default_rng([seed, start])
        rows = search.exchanged(search.drawn(rng))
        found.append((search.efficiency(rows), rows))
    best = max(value for value, _ in found)
    near = [rows for value, rows in found if value >= best * (1 - _SLACK)]
    near = sorted(near, key=search.aliasing)[:_REFINED]
    bound = best * (1 - _SLACK)
    rows = min((search.less_aliased(search.balanced(r, bound), bound) for r in near),
               key=lambda r: (search.imbalance(r), search.aliasing(r)))  # fmt: skip
    rows = rows[np.lexsort([rows, search.levels])]
    return (
        np.concatenate([search.sets[rows], fixed[0]]),
        np.concatenate([search.levels, fixed[1]]),
    )


class _Search:
    """The search for a fraction. A design is the row of `sets` that each run has: [runs]."""

    def __init__(
        self,
        sources: int,
        strategies: Sequence[Strategy],
        runs: int,
        fixed: tuple[Sets, Levels],
    ) -> None:
        self.sets = all_sets(sources)
        self.place = {row.tobytes(): i for i, row in enumerate(self.sets)}
        self.allowed = np.stack([_taken_by(self.sets, strategy) for strategy in strategies])
        self.fixed = fixed
        self.coding = contrasts(len(strategies))
        used = [self.place[row.tobytes()] for row in fixed[0]]
        alike = bool((self.allowed == self.allowed[0]).all())
        self.distinct = alike and int(self.allowed[0].sum()) >= 2 * runs + len(used)
        if self.distinct:
            self.allowed[:, used] = False
        self.allowed[fixed[1], used] = False
        self.levels = np.repeat(
            np.arange(len(strategies)), _shares(runs, self.allowed.sum(axis=1).tolist())
        )
        self.x = np.where(self.sets, 1.0, -1.0)
        self.start = self._products(self._effects(*fixed)) + 0.0

    def _effects(self, sets: Sets, levels: Levels) -> Floats:
        return main_effects(sets, levels, self.coding)

    def _products(self, x: Floats) -> Floats:
        return np.asarray(x.T @ x)

    def drawn(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return a random start."""
        rows = np.zeros(len(self.levels), np.int64)
        if self.distinct:
            return np.asarray(rng.permutation(np.flatnonzero(self.allowed[0]))[: len(rows)])
        for level in np.unique(self.levels):
            mine = np.flatnonzero(self.levels == level)
            rows[mine] = rng.permutation(np.flatnonzero(self.allowed[level]))[: len(mine)]
        return rows

    def exchanged(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Exchange rows for sets that raise det(X'X) most, until none does."""
        rows = rows.copy()
        x = self._effects(self.sets[rows], self.levels)
        products = self.start + self._products(x)
        ridge = _RIDGE * len(rows) * np.eye(len(products))
        k = self.sets.shape[1]
        for _ in range(_SWEEPS):
            changed = False
            for i, level in enumerate(self.levels):
                products -= np.outer(x[i], x[i])
                inverse = np.linalg.inv(products + ridge)
                other = np.delete(x[i], np.s_[1 : 1 + k])  # of the mean and the strategy
                outer = np.delete(inverse, np.s_[1 : 1 + k], axis=1)[1 : 1 + k] @ other
                inner = inverse[1 : 1 + k, 1 : 1 + k]
                gain = ((self.x @ inner + 2 * outer) * self.x).sum(axis=1)
                gain[self._barred(rows, i)] = -np.inf
                best = int(gain.argmax())
                # What is added is the same for all sets: the gain is that part of it that differs.
                if gain[best] > gain[rows[i]] + 1e-9 * max(1.0, abs(gain[rows[i]])):
                    rows[i] = best
                    x[i] = self._effects(self.sets[[best]], np.array([level]))[0]
                    changed = True
                products += np.outer(x[i], x[i])
            if not changed:
                break
        return rows

    def _barred(self, rows: NDArray[np.int64], i: int) -> NDArray[np.bool_]:
        """Return the sets that a run may not have: not its strategy's, or of another run."""
        barred = ~self.allowed[self.levels[i]]
        others = rows if self.distinct else rows[self.levels == self.levels[i]]
        barred[others] = True
        barred[rows[i]] = False
        return barred

    def _whole(self, rows: NDArray[np.int64]) -> Floats:
        """Return the model matrix of a design with the fixed runs."""
        x = self._effects(self.sets[rows], self.levels)
        return np.concatenate([x, self._effects(*self.fixed)])

    def efficiency(self, rows: NDArray[np.int64]) -> float:
        """Return the D-efficiency, with the fixed runs."""
        return efficiency(self._whole(rows))

    def aliasing(self, rows: NDArray[np.int64]) -> float:
        """Return the sum of squares of the aliases of main effects; infinite where there is one."""
        x = self._whole(rows)
        if not efficiency(x):
            return float("inf")
        z = interactions(x, self.sets.shape[1])
        return float(np.square(np.linalg.solve(x.T @ x, x.T @ z)[1:]).sum())

    def imbalance(self, rows: NDArray[np.int64]) -> int:
        """Return how far sources are from one half of the runs, added up."""
        return int(np.abs(self._excess(rows)).sum())

    def _excess(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return in how many runs more each source is than is not: 0, or 1 of an odd number."""
        both = np.concatenate([self.sets[rows], self.fixed[0]])
        return np.asarray(2 * both.sum(axis=0) - len(both))

    def balanced(self, rows: NDArray[np.int64], bound: float) -> NDArray[np.int64]:
        """Bring sources to one half of the runs while the efficiency is `bound` or more."""
        for source in range(self.sets.shape[1]):
            while abs(excess := self._excess(rows)[source]) > 1:
                found = [
                    turned
                    for i in np.flatnonzero(self.sets[rows, source] == (excess > 0))
                    if (turned := self._turned(rows, source, [int(i)])) is not None
                ]
                if not found:
                    break
                best = max(found, key=self.efficiency)
                if self.efficiency(best) < bound:
                    break
                rows = best
        return rows

    def _turned(
        self, rows: NDArray[np.int64], source: int, at: Sequence[int]
    ) -> NDArray[np.int64] | None:
        """Return the design with a source put into runs or taken out; None where it may not be."""
        new = rows.copy()
        for i in at:
            turned = self.sets[rows[i]].copy()
            turned[source] = not turned[source]
            new[i] = self.place.get(turned.tobytes(), -1)
        if (new < 0).any() or not self.allowed[self.levels[at], new[at]].all():
            return None
        codes = new if self.distinct else new + len(self.sets) * self.levels
        return new if len(np.unique(codes)) == len(codes) else None

    def less_aliased(self, rows: NDArray[np.int64], bound: float) -> NDArray[np.int64]:
        """Exchange a source between two runs while that lowers the aliases within the bound."""
        k = self.sets.shape[1]
        p = len(self.start)
        # X'X beside X'Z, to which each run adds one outer product.
        fixed = self._effects(*self.fixed)
        both = fixed.T @ np.hstack([fixed, interactions(fixed, k)])
        parts = self._outer(self.sets[rows], self.levels)
        both = both + parts.sum(axis=0)
        now = self.aliasing(rows)
        least = p * np.log(bound * (len(rows) + len(fixed))) if bound > 0 else -np.inf
        for _ in range(_SWEEPS):
            before = now
            for source in range(k):
                turned = self.sets[rows].copy()
                turned[:, source] ^= True
                change = self._outer(turned, self.levels) - parts
                for i in np.flatnonzero(self.sets[rows, source]):
                    others = np.flatnonzero(~self.sets[rows, source])
                    trial = both + change[i] + change[others]
                    for place, aliasing in _by_aliasing(trial, p, least):
                        if aliasing >= now * (1 - 1e-6):
                            break
                        at = [int(i), int(others[place])]
                        new = self._turned(rows, source, at)
                        if new is not None:
                            both, now, rows = trial[place], aliasing, new
                            parts[at] += change[at]
                            change[at] *= -1
                            break
            if now >= before * (1 - 1e-6):
                break
        return rows

    def _outer(self, sets: Sets, levels: Levels) -> Floats:
        """Return what each run adds to X'X beside X'Z: [runs, effects, effects + interactions]."""
        x = self._effects(sets, levels)
        both = np.hstack([x, interactions(x, sets.shape[1])])
        return np.asarray(x[:, :, None] * both[:, None, :])


def _by_aliasing(trials: Floats, effects: int, least: float) -> Iterator[tuple[int, float]]:
    """Yield places and aliasing of the trials of X'X beside X'Z, the least aliased first.

    Only of those whose X'X has a logarithm of the determinant of `least` or more.
    """
    sign, size = np.linalg.slogdet(trials[:, :, :effects])
    good = np.flatnonzero((sign > 0) & (size >= least))
    a = np.linalg.solve(trials[good][:, :, :effects], trials[good][:, :, effects:])
    aliasing = np.square(a[:, 1:]).sum(axis=(1, 2))
    for place in np.argsort(aliasing, kind="stable"):
        yield int(good[place]), float(aliasing[place])


def _shares(runs: int, most: Sequence[int]) -> list[int]:
    """Share runs equally among strategies, of which each has at most so many."""
    shares = [0] * len(most)
    for _ in range(runs):
        open_ = [i for i, share in enumerate(shares) if share < most[i]]
        least = min(open_, key=lambda i: shares[i])
        shares[least] += 1
    return shares

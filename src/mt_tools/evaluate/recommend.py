"""Recommending tracks that nobody has heard, by what an embedding says of them.

Goal: how well an embedding tells whom a new track will please. Tracks are split; listeners' factors
and the map from embedding to factors are fitted on the likes of the train tracks (eq. 7 of the REP
study, `evaluate.factorise`), the held-out tracks get factors by the map alone, and each listener's
list is looked at.

Protocol (REP, section 4.2, after Liang et al. 2015): all tracks are ranked, the train tracks by
their own factors, except those that the listener likes in training; only held-out tracks that the
listener likes are relevant, so that numbers are small. Or the held-out tracks alone are ranked.
AP@k and nDCG@k are averaged over the listeners who like a track on both sides: of others there is
nothing to learn, or nothing to find.

What the study leaves open. Embeddings are standardised over the train tracks, as for probes, and a
constant stands beside them, since eq. 7 has no intercept. Factors begin as normal draws. Of equal
scores a drawn order decides, anew in each split.

Baselines, on the same splits: `popularity` ranks by the likes in training, of which held-out tracks
have none, so that its lists begin with train tracks and it orders the held-out ones by chance;
`random` draws an order for each listener. No list scores more than 1.

Conventions: tracks and listeners are in the order of their names, and draws are seeded by them:
the order of the table changes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools import metrics, splits
from mt_tools.evaluate.factorise import FeatureMap, Scaling, Sparse, Weights, factorise
from mt_tools.evaluate.intervals import Interval, bootstrap
from mt_tools.evaluate.probe_results import Outcome, ProbeResult, summary
from mt_tools.evaluate.probe_splits import Labelled, Plan
from mt_tools.evaluate.settings import RecommendSettings
from mt_tools.metrics import Score

Array = NDArray[Any]
Floats = NDArray[np.float64]

BASELINES = ("popularity", "random")

_BLOCK_CELLS = 1 << 22
# The constants of SplitMix64.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)


@dataclass(frozen=True)
class Likes:
    """Who likes what: sparse `counts` [listeners, tracks] in rows, and the listeners' names."""

    counts: Sparse
    listeners: Sequence[str]

    def among(self, tracks: Array, fewest: int) -> tuple[Likes, int]:
        """Return the listeners who like so many of these tracks, and how many do not."""
        held = np.zeros(self.counts.shape[1])
        held[tracks] = 1
        number = (self.counts > 0) @ held
        kept = np.flatnonzero(number >= fewest)
        names = [self.listeners[row] for row in kept.tolist()]
        return Likes(self.counts[kept], names), int(((number > 0) & (number < fewest)).sum())


@dataclass(frozen=True)
class Recommending:
    """One embedding, or a baseline, ready to be tested split by split.

    `x`: [tracks, d], None for the baseline `by`; `known` says which tracks are used, `plan` how
    they are split; `likes` are of all tracks, by their numbers.
    """

    likes: Likes
    known: Labelled
    plan: Plan
    settings: RecommendSettings
    x: Array | None = None
    by: str = ""

    in_threads = True

    def __len__(self) -> int:
        return len(self.plan.pairs)

    def test(self, split: int) -> Outcome:
        """Fit on the likes of the train tracks of one split and rank the tracks."""
        settings, (train, test) = self.settings, self.plan.pairs[split]
        tracks = np.concatenate([train, test]) if settings.candidates == "all" else test
        tracks = tracks[np.argsort(self._hashed(tracks, f"ties {split}"), kind="stable")]
        listeners, found = self._measured(split), list[tuple[Floats, Floats]]()
        liked, scores = self.likes.counts, self._scored(split, tracks)
        held_out = np.isin(tracks, test)
        rows = max(1, _BLOCK_CELLS // max(1, len(tracks)))
        for begin in range(0, len(listeners), rows):
            block = listeners[begin : begin + rows]
            likes = liked[block][:, tracks].toarray() > 0
            ranked = scores(block)
            ranked[likes & ~held_out] = -np.inf
            likes &= held_out
            top = metrics.top_ranked(ranked, settings.at)
            hits = np.take_along_axis(likes, top, axis=1)
            relevant = likes.sum(axis=1)
            found.append(
                (
                    metrics.average_precision_at(hits, relevant, settings.at),
                    metrics.ndcg_at(hits, relevant, settings.at),
                )
            )
        values = [np.concatenate(parts) for parts in zip(*found, strict=True)] if found else []
        return self._outcome(values, len(test))

    def key(self) -> str:
        """Return a digest of all that the outcomes depend on, beside the machine."""
        whole = hashlib.sha256()
        made = [version(name) for name in ("mt-tools", "numpy", "scipy")]
        pairs = [[train.tolist(), test.tolist()] for train, test in self.plan.pairs]
        about = [self.known.rows.tolist(), self.known.origins.tolist(), list(self.likes.listeners)]
        text = json.dumps([made, dataclasses.asdict(self.settings), self.by, about, pairs])
        whole.update(text.encode("utf-8", "surrogatepass"))
        counts = self.likes.counts
        x = () if self.x is None else (self.x[self.known.rows],)
        for array in (counts.data, counts.indices, counts.indptr, *x):
            whole.update(f"{array.dtype.str}{array.shape}".encode())
            whole.update(np.ascontiguousarray(array).tobytes())
        return whole.hexdigest()

    def result(self, outcomes: Sequence[Outcome]) -> ProbeResult:
        """Summarise the outcomes of all splits, in their order."""
        settings = self.settings
        tested = self.known.at(np.unique(np.concatenate([test for _, test in self.plan.pairs])))
        clusters = int(splits.units(tested.origins, tested.groups).max()) + 1
        interval = ", bootstrap over listeners (BCa, 95 %)" if len(self) == 1 else ""
        which = "all tracks" if settings.candidates == "all" else "held-out tracks"
        return ProbeResult(
            kind="recommendation",
            metrics={
                name: summary(name, outcomes, self.plan.test_share, clusters)
                for name in outcomes[0].scores
            },
            n=len(self.known.rows),
            unlabelled=0,
            unusable=0,
            classes={},
            splits=len(self),
            grouped=self.plan.grouped,
            protocol=f"{self._described()}, {which} ranked, {self.plan.protocol}{interval}",
            tested=[outcome.tested for outcome in outcomes],
            chosen=[{} for _ in outcomes],
            choices={},
            notes=[*self.plan.notes, *self._notes()],
        )

    # What is fitted.

    def _scored(self, split: int, tracks: Array) -> Any:
        """Return a function from listeners (numbers) to their scores of the tracks, a new array."""
        train, test = self.plan.pairs[split]
        if self.by == "random":
            of_track = self._hashed(tracks, f"random {split}")
            of_listener = _hashes(self.likes.listeners, self.settings.seed, f"random {split}")
            return lambda block: _mixed(of_listener[block, None] ^ of_track)
        liked = self.likes.counts[:, train].tocsr()
        if self.by == "popularity":
            likes = np.zeros(self.likes.counts.shape[1])
            likes[train] = (liked > 0).sum(axis=0)
            return lambda block: np.tile(likes[tracks], (len(block), 1))
        assert self.x is not None
        settings = self.settings
        weights = Weights(settings.lambda_u, settings.lambda_v, settings.lambda_w, settings.alpha)
        x = self.x[train]
        features = FeatureMap(x, weights.features / weights.items, Scaling(x))
        fitted = factorise(liked, features, self._start[train], weights, settings.iterations)
        items = np.zeros((self.likes.counts.shape[1], settings.factors))
        items[train] = fitted.items
        items[test] = features(self.x[test])
        mine = items[tracks].T
        return lambda block: fitted.users[block] @ mine

    @cached_property
    def _start(self) -> Floats:
        """Return V to begin with: normal draws, by the names of the tracks."""
        start = np.zeros((self.likes.counts.shape[1], self.settings.factors))
        seeds = self._hashed(self.known.rows, "factors")
        for row, seed in zip(self.known.rows, seeds.tolist(), strict=True):
            start[row] = np.random.default_rng(seed).normal(size=self.settings.factors)
        return start

    def _hashed(self, tracks: Array, purpose: str) -> NDArray[np.uint64]:
        names = [str(origin) for origin in self.known.at(tracks).origins]
        return _hashes(names, self.settings.seed, purpose)

    # What is measured.

    def _measured(self, split: int) -> Array:
        """Return the listeners who like a track on both sides of a split."""
        sides = [(self.likes.counts[:, side] > 0).sum(axis=1) for side in self.plan.pairs[split]]
        return np.flatnonzero((np.asarray(sides) > 0).all(axis=0))

    def _outcome(self, values: Sequence[Floats], tested: int) -> Outcome:
        """Return the means over listeners, and their intervals where there is one split only."""
        names = [f"{name}@{self.settings.at}" for name in ("ap", "ndcg")]
        if not values:
            nobody = metrics.undefined("no listener likes a track on both sides")
            none = {name: Interval(np.nan, np.nan) for name in names if len(self) == 1}
            return Outcome(dict.fromkeys(names, nobody), tested, none)
        scores = {
            name: Score(float(v.mean())) for name, v in zip(names, values, strict=True)
        }  # fmt: skip
        if len(self) > 1:
            return Outcome(scores, tested)
        both = np.stack(values, axis=1)
        ends = bootstrap(
            lambda rows: both[rows].mean(axis=0),
            np.arange(len(both)),
            rng=np.random.default_rng(self.settings.seed),
        )
        return Outcome(scores, tested, dict(zip(names, ends, strict=True)))

    def _described(self) -> str:
        settings = self.settings
        if self.by == "popularity":
            return "most likes in training first"
        if self.by == "random":
            return "random order"
        trust = f", alpha = {settings.alpha:g}" if settings.alpha else ""
        return (
            f"content-aware factorisation, r = {settings.factors}, {settings.iterations} "
            f"iterations, lambda = {settings.lambda_u:g} (U), {settings.lambda_v:g} (V), "
            f"{settings.lambda_w:g} (W){trust}, standardised with a constant"
        )

    def _notes(self) -> Iterator[str]:
        """Say how many listeners are measured, and how much there is to find."""
        counts = [len(self._measured(split)) for split in range(len(self))]
        everyone = len(self.likes.listeners)
        said = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        yield (
            f"measured in a split: {said} of {everyone} listeners; the others like no track on "
            "one of its sides"
        )


def same_test(plan: Plan, known: Labelled, likes: Likes, settings: RecommendSettings) -> Plan:
    """Return the plan with a digest of all that a split is tested on.

    Not of the tracks held out alone, as in a probe: of who likes which tracks, and of what is
    ranked. Values of the same digest can be compared in pairs.
    """
    pattern = likes.counts[:, known.rows].tocsr().sorted_indices()
    text = json.dumps(
        [plan.protocol, settings.candidates, list(likes.listeners), known.origins.tolist(),
         pattern.indptr.tolist(), pattern.indices.tolist()]
    )  # fmt: skip
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    how = plan.protocol.rpartition("splits ")[0]
    return dataclasses.replace(plan, protocol=f"{how}splits {digest}")


def _hashes(names: Sequence[str], seed: int, purpose: str) -> NDArray[np.uint64]:
    """Return 64 bits of each name, [n]."""
    begin = hashlib.blake2b(f"{seed}\0{purpose}\0".encode(), digest_size=8)
    found = np.empty(len(names), np.uint64)
    for row, name in enumerate(names):
        one = begin.copy()
        one.update(name.encode("utf-8", "surrogatepass"))
        found[row] = int.from_bytes(one.digest(), "little")
    return found


def _mixed(bits: NDArray[np.uint64]) -> Floats:
    """Return uniform numbers from 0 to 1 of 64 bits each: SplitMix64 (Steele et al. 2014)."""
    bits = bits + _GOLDEN
    for shift, factor in _ROUNDS:
        bits = (bits ^ (bits >> shift)) * factor
    bits = (bits ^ (bits >> np.uint64(31))) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53

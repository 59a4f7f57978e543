"""On which rows something was fitted, small enough to travel with every table made with it.

Goal: to know, wherever factors or a dictionary of frames have been applied, whether they had seen
the rows that are test rows there. Tracks are known by their `origin`, hashed. A step of the
provenance holds at most `KEPT` hashes, those that are smallest as numbers: up to so many tracks
that is all of them, beyond it a sample that does not depend on order or size, so that any overlap
of two tables shows in it in proportion ("bottom-k sketch"; Cohen and Kaplan, "Summarizing data
using bottom-k sketches", 2007).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

KEY = "fitted_on"
"""What a step's settings call it."""

KEPT = 2048
"""Hashes kept at most: 28 kB of JSON."""

# 48 bits: that one of a million other tracks shares one of 2,048 has a chance of 1 in 140,000.
_DIGITS = 12


def origin_hash(origin: str) -> str:
    """Return the hash that an origin is known by."""
    return hashlib.sha256(origin.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


@dataclass(frozen=True)
class FittedOn:
    """The rows that something was fitted on.

    `parts` counts them by their `split` ("" where it was null or there was none), `tracks` is the
    number of their origins, `hashes` are those kept of them, ascending.
    """

    parts: dict[str, int]
    tracks: int
    hashes: tuple[str, ...]

    @classmethod
    def of(cls, origins: Iterable[str], parts: Iterable[str | None]) -> FittedOn:
        """Describe rows by the origin and the split of each."""
        counts: Counter[str] = Counter()
        hashes: set[str] = set()
        for origin, part in zip(origins, parts, strict=True):
            counts[part or ""] += 1
            hashes.add(origin_hash(origin))
        kept = tuple(sorted(hashes)[:KEPT])
        return cls(dict(sorted(counts.items())), len(hashes), kept)

    @classmethod
    def from_json(cls, value: Any) -> FittedOn | None:
        """Read what `to_json` returned; None for anything else."""
        try:
            parts = {str(part): int(count) for part, count in value["parts"].items()}
            return cls(parts, int(value["tracks"]), tuple(map(str, value["hashes"])))
        except (TypeError, KeyError, ValueError, AttributeError):
            return None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"parts": self.parts, "tracks": self.tracks, "hashes": list(self.hashes)}

    @property
    def complete(self) -> bool:
        """Say whether every track is known, not a sample of them."""
        return len(self.hashes) == self.tracks

    def among(self, origins: Iterable[str]) -> list[str]:
        """Return those of some tracks that are known to have been fitted on, in their order."""
        known = frozenset(self.hashes)
        return [origin for origin in origins if origin_hash(origin) in known]

    def described(self) -> str:
        """Return for example `100 rows: 80 train, 20 test`."""
        said = [f"{count} {part or 'unmarked'}" for part, count in self.parts.items()]
        return f"{sum(self.parts.values())} rows: {', '.join(said) or 'none'}"

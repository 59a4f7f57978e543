"""Numbers in 256 levels: a byte a value, and the line that gives the values back.

Goal: features at a quarter of the size of float32, for whoever can spare the digits: an error of at
most half a level, which of 80 dB is 0.16 dB.

Conventions: value = offset + scale x level, with levels from 0 to 255, for a whole column. Scale
and offset stand in the column's metadata (`mt.levels` of an Arrow field, `<column>__levels` in
NPZ), so that any reader can undo it: `batch["mel"]` of this package is float32 again, pandas and
numpy see the bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError

HIGHEST = 255


@dataclass(frozen=True)
class Levels:
    """The line through the levels: value = `offset` + `scale` x level."""

    scale: float
    offset: float

    @classmethod
    def between(cls, low: float, high: float) -> Levels:
        """Return the levels whose lowest is `low` and whose highest is `high`."""
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(
                f"levels from {low:g} to {high:g}: expected two numbers, low then high"
            )
        return cls((high - low) / HIGHEST, low)

    @property
    def high(self) -> float:
        """The value of the highest level."""
        return self.offset + HIGHEST * self.scale

    def encode(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the nearest level of each value, the lowest or highest for what lies outside."""
        levels = np.subtract(values, np.float32(self.offset), dtype=np.float32)
        levels *= np.float32(1 / self.scale)
        np.rint(levels, out=levels)
        return np.clip(levels, 0, HIGHEST, out=levels).astype(np.uint8)

    def decode(self, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the values of levels, float32."""
        line = (self.offset + self.scale * np.arange(HIGHEST + 1)).astype(np.float32)
        return line[levels]

    def outside(self, values: NDArray[Any]) -> int:
        """Return how many values lie more than half a level below the lowest or above the highest.

        Their error is more than half a level.
        """
        half = self.scale / 2
        below, above = values < self.offset - half, values > self.high + half
        return int(np.count_nonzero(below) + np.count_nonzero(above))

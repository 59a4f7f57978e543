"""Quantiles of each column of a matrix, and the map to a standard normal that they give.

Goal: numbers of any scale and shape, song descriptors above all, become comparable before they are
clustered or regressed on (AGF, section 3.1.3: each descriptor "quantile-normalised").

Source: as scikit-learn's `QuantileTransformer(output_distribution="normal")` has it: a number's
share of the training numbers, interpolated linearly between `count` quantiles, then the inverse of
the normal distribution. Of equal quantiles it is the middle of their shares, but the smallest
training number is 0 and the largest 1, however often it stands there. The normal is clipped where
that of shares 1e-7 and 1 - 1e-7 lies, at 5.2 deviations. Scikit-learn takes all numbers within 1e-7
of an end for the end, whatever the column's unit; here only the end is.

Conventions: columns by themselves, all in float64. NaN stays NaN and is left out of the fit, as
infinite numbers are. New numbers beyond the smallest or largest, infinite ones too, are clipped to
its place. A column that does not vary, or has no number at all, says nothing of a track: its
numbers become the middle, a share of 1/2 and a normal 0 (scikit-learn makes them -5.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError

QUANTILES = 1000
"""Quantiles a column (scikit-learn's default): a share is exact to a thousandth and better."""

# The threshold that scikit-learn keeps the normal from infinity by.
_SMALLEST_SHARE = 1e-7 - float(np.spacing(1.0))


@dataclass(frozen=True)
class Quantiles:
    """Fitted quantiles: `values` [count, d], ascending in each column, NaN where it has none."""

    values: NDArray[np.float64]

    @property
    def varying(self) -> NDArray[np.bool_]:
        """Return which columns say anything, bool [d]: those of two different numbers or more."""
        first, last = self.values[0], self.values[-1]
        return np.isfinite(first) & (last > first)

    def uniform(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return the share of the training numbers below each number, from 0 to 1.

        Shape: [n, d] -> [n, d]. Raises `UsageError` for another number of columns.
        """
        x = np.asarray(x, dtype=np.float64)
        count, width = self.values.shape
        if x.ndim != 2 or x.shape[1] != width:
            raise UsageError(
                f"got numbers of shape {list(x.shape)}, expected [rows, {width}], the columns that "
                "the quantiles were fitted on"
            )
        places = np.linspace(0.0, 1.0, count)
        shares = np.full(x.shape, 0.5)
        for column in np.flatnonzero(self.varying):
            shares[:, column] = _shares(x[:, column], self.values[:, column], places)
        shares[np.isnan(x)] = np.nan
        return shares

    def transform(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return numbers as a standard normal has them, from -5.2 to 5.2; [n, d] -> [n, d]."""
        from scipy.special import ndtri

        shares = np.clip(self.uniform(x), _SMALLEST_SHARE, 1.0 - _SMALLEST_SHARE)
        normal: NDArray[np.float64] = ndtri(shares)
        return normal

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return what a fitted file keeps of it."""
        return {"quantiles": self.values}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Quantiles:
        """Make it of what `arrays` returned."""
        return cls(np.asarray(arrays["quantiles"], dtype=np.float64))


def fit_quantiles(x: NDArray[Any], count: int = QUANTILES) -> Quantiles:
    """Return `count` quantiles of each column of `x` [n, d], at most as many as there are rows.

    Raises `UsageError` for what is no matrix, has no rows, or fewer than two quantiles.
    """
    x = np.asarray(x)
    if x.ndim != 2 or not len(x):
        raise UsageError(
            f"got numbers of shape {list(x.shape)}, expected [rows, columns] of at least one row"
        )
    if count < 2:
        raise UsageError(f"got {count} quantiles, expected 2 at least: the ends")
    places = np.linspace(0.0, 1.0, max(2, min(count, len(x))))
    values = np.full((len(places), x.shape[1]), np.nan)
    for column in range(x.shape[1]):
        numbers = x[:, column].astype(np.float64)
        numbers = numbers[np.isfinite(numbers)]
        if len(numbers):
            # Interpolation between equal numbers may fall below them by rounding.
            values[:, column] = np.maximum.accumulate(np.quantile(numbers, places))
    return Quantiles(values)


def _shares(
    x: NDArray[np.float64], quantiles: NDArray[np.float64], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the places of numbers among quantiles, of equal ones the middle."""
    # Of equal quantiles `interp` finds the last; of their mirror image, the first.
    upper = np.interp(x, quantiles, places)
    lower = -np.interp(-x, -quantiles[::-1], -places[::-1])
    shares = 0.5 * (upper + lower)
    shares[x <= quantiles[0]] = 0.0
    shares[x >= quantiles[-1]] = 1.0
    return shares

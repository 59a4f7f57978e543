"""Mixtures of normal distributions of one number, and the share that each component has in it.

Goal: a number becomes a distribution over components, to be learnt by divergence beside factors of
tags (REP, section 2.3: tempo and year, 50 components each).

Source: expectation-maximisation by scikit-learn's `GaussianMixture`, the best of several starts by
k-means++; the number of components by the Bayesian information criterion (Schwarz, "Estimating the
dimension of a model", 1978): the smallest -2 log L + (3k - 1) log n.

Rounded numbers, as years are, would draw components onto single values, ever narrower ones, and
the criterion would ask for one a value. So equal numbers are spread evenly over the interval that
was rounded to them, which reaches half of the way to the nearest other number (and is at most
`WIDEST` times as wide as the median number's, so that an outlier stays one): a component that
holds one value has the variance step^2 / 12 of its rounding, as Sheppard's correction has it.
Numbers that do not repeat stay where they are. More than `POINTS` numbers are fitted to by as many
of their quantiles, so that a fit takes a bounded time, and has no random sample in it.

Conventions: components ascend by their mean. Each variance has that of `NARROWEST` added, as a
share of the numbers' deviation (by their quartiles, if those differ), so that none vanishes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError

Array = NDArray[np.float64]

POINTS = 5000
"""Numbers that a mixture is fitted to at most: beyond it, quantiles."""

STARTS = 5
"""Starts by k-means++, of which the likeliest end is kept."""

NARROWEST = 0.01
"""The smallest deviation of a component, as a share of that of all numbers."""

WIDEST = 3.0
"""The widest interval that is rounded to one number, in those of the median number."""

_ITERATIONS = 300
_TOLERANCE = 1e-5  # nats a number and iteration
_QUARTILES = 1.349  # between the quartiles of a standard normal
_LEAST_VARIANCE = 1e-8  # of standardised numbers: far above their rounding
_FARTHEST = 1e6  # deviations, beyond which squares lose what tells components apart


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture: `weights` (sum 1), `means` (ascending) and `deviations`, [k] each."""

    weights: Array
    means: Array
    deviations: Array

    def posterior(self, x: NDArray[Any]) -> Array:
        """Return P(component | number); [n] -> [n, k], rows sum to 1, NaN where `x` is not finite.

        However far a number lies from all means, one of the components is the likeliest.
        """
        joint = self._joint(x)
        return np.exp(joint - _log_sum(joint)[:, None])

    def log_density(self, x: NDArray[Any]) -> Array:
        """Return the logarithm of the density at numbers; [n] -> [n]."""
        return _log_sum(self._joint(x))

    def _joint(self, x: NDArray[Any]) -> Array:
        """Return log P(component) p(number | component), [n, k]."""
        x = np.asarray(x, dtype=np.float64)
        x = np.where(np.isfinite(x), x, np.nan)
        reach = _FARTHEST * self.deviations.max()
        x = np.clip(x, self.means[0] - reach, self.means[-1] + reach)
        apart = (x[:, None] - self.means) / self.deviations
        constant = np.log(self.weights) - np.log(self.deviations) - 0.5 * np.log(2.0 * np.pi)
        joint: Array = constant - 0.5 * np.square(apart)
        return joint

    def arrays(self) -> dict[str, Array]:
        """Return what a fitted file keeps of it."""
        return {"weights": self.weights, "means": self.means, "deviations": self.deviations}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Mixture:
        """Make it of what `arrays` returned."""
        return cls(*(np.asarray(arrays[name]) for name in ("weights", "means", "deviations")))


def fit_mixture(x: NDArray[Any], components: int, seed: int = 0, starts: int = STARTS) -> Mixture:
    """Return the mixture of so many components that the finite ones of numbers [n] have.

    Raises `UsageError` for fewer different numbers than components.
    """
    x = _finite(x)
    _check(x, components)
    return _fit(spread(x), components, seed, starts)


def choose_mixture(
    x: NDArray[Any], most: int, seed: int = 0, starts: int = STARTS
) -> tuple[Mixture, Array]:
    """Return the mixture of 1 to `most` components with the smallest criterion, and all.

    There are no more components than different numbers, nor more than a third as many as numbers:
    each has three parameters. The criteria are those of 1, 2, ... components. Raises `UsageError`
    where all numbers are the same, or there are none.
    """
    x = _finite(x)
    _check(x, 2)
    points = spread(x)
    most = max(1, min(most, len(np.unique(x)), len(x) // 3))
    found = [_fit(points, components, seed, starts) for components in range(1, most + 1)]
    criteria = np.array([_criterion(mixture, points, len(x)) for mixture in found])
    return found[int(criteria.argmin())], criteria


def criterion(mixture: Mixture, x: NDArray[Any]) -> float:
    """Return the Bayesian information criterion of a mixture of numbers [n]: smaller is better."""
    x = _finite(x)
    return _criterion(mixture, spread(x), len(x))


def spread(x: NDArray[Any], most: int = POINTS) -> Array:
    """Return at most `most` numbers in place of finite ones [n], ascending: equal ones spread.

    Equal numbers lie evenly in the interval rounded to them; of more than `most`, as many
    quantiles. See the module.
    """
    values, counts = np.unique(np.asarray(x, dtype=np.float64), return_counts=True)
    halves = 0.5 * _intervals(values, counts)
    edges = np.stack([values - halves, values + halves], axis=1).ravel()
    last = np.cumsum(counts)
    ranks = np.stack([last - counts, last], axis=1).ravel()
    places = min(len(x), most)
    return np.interp((np.arange(places) + 0.5) * (len(x) / places), ranks, edges)


def _intervals(values: Array, counts: NDArray[np.int64]) -> Array:
    """Return how wide the interval is that was rounded to each of ascending values."""
    if len(values) < 2:
        return np.zeros(len(values))
    gaps = np.diff(values)
    nearest = np.minimum(np.append(np.inf, gaps), np.append(gaps, np.inf))
    order = np.argsort(nearest, kind="stable")
    middle = np.searchsorted(np.cumsum(counts[order]), 0.5 * counts.sum())
    return np.minimum(nearest, WIDEST * nearest[order[middle]])


def _fit(points: Array, components: int, seed: int, starts: int) -> Mixture:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    centre, scale = points.mean(), points.std()
    standard = (points - centre) / scale
    middle = float(np.diff(np.quantile(standard, [0.25, 0.75]))[0]) / _QUARTILES or 1.0
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model = GaussianMixture(
            components,
            covariance_type="diag",
            reg_covar=max((NARROWEST * middle) ** 2, _LEAST_VARIANCE),
            tol=_TOLERANCE,
            max_iter=_ITERATIONS,
            n_init=starts,
            init_params="kmeans",  # which k-means++ begins
            random_state=seed,
        ).fit(standard[:, None])
    means, variances = model.means_[:, 0], model.covariances_[:, 0]
    order = np.argsort(means, kind="stable")
    return Mixture(
        model.weights_[order], centre + scale * means[order], scale * np.sqrt(variances[order])
    )


def _criterion(mixture: Mixture, points: Array, count: int) -> float:
    """Return the criterion of `count` numbers that the points stand for."""
    parameters = 3 * len(mixture.means) - 1
    likelihood = count * float(mixture.log_density(points).mean())
    return parameters * float(np.log(count)) - 2.0 * likelihood


def _log_sum(joint: Array) -> Array:
    largest = joint.max(axis=1)
    total: Array = largest + np.log(np.exp(joint - largest[:, None]).sum(axis=1))
    return total


def _finite(x: NDArray[Any]) -> Array:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1:
        raise UsageError(f"got numbers of shape {list(x.shape)}, expected one number a row")
    return x[np.isfinite(x)]


def _check(x: Array, components: int) -> None:
    different = len(np.unique(x))
    if components < 1:
        raise UsageError(f"got {components} components, expected 1 or more")
    if different < max(2, components):
        raise UsageError(
            f"got {different} different numbers for {components} components, expected at least as "
            "many: ask for fewer"
        )

"""Transforms fitted to frames: a standardiser per band, PCA, and PCA whitening.

Goal: the reductions that studies fit before they train (REP, section 3.1: every band brought to
mean 0 and deviation 1 over the training set; SEQ, section 2.2.2: PCA and PCA whitening of mel
frames), of any number of frames in the memory of one covariance matrix.

Source: mean and scatter of batches are merged as Chan, Golub and LeVeque, "Algorithms for computing
the sample variance" (1983), which loses nothing to cancellation; the directions are the
eigenvectors of the covariance. Whitening divides by the root of the eigenvalues: SEQ prints
Lambda^-1 and, in Algorithm 19, sigma^2 - epsilon; a covariance of 1 takes Lambda^-1/2, and a small
variance is kept from exploding by sigma^2 + epsilon.

Conventions: the frames of features `[..., d, frames]` are vectors of d bands, those of left and
right alike; a vector `[d]` is one frame. All sums are float64. A standardiser divides by the
deviation of the n frames, as scikit-learn's does; PCA has the variances of n - 1, as
scikit-learn's has, and the sign in which the largest entry of a direction is positive.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.tables.fitted import KEY, FittedOn

Array = NDArray[np.float64]

KINDS = ("standardise", "pca", "whiten")

_META = "__meta__"
_ARRAYS = ("mean", "directions", "divisors", "variances")
_DIGITS = 12

# Variance below which a direction is rounding, a band, as a share of the largest: the features are
# float32, and eigenvalues exact to so many times the rounding of float64.
_ROUNDING = float(np.finfo(np.float32).eps) ** 2


def frames_of(features: NDArray[Any]) -> Array:
    """Return the frames `[n, d]` of features `[..., d, frames]`, or of a vector `[d]`; float64."""
    if features.ndim == 1:
        return features[None].astype(np.float64)
    bands = features.shape[-2]
    return np.moveaxis(features, -2, -1).reshape(-1, bands).astype(np.float64)


class Moments:
    """Number, mean and scatter of frames that come in batches.

    `scatter` is the sum of squared deviations `[d]`, with `covariance` that of their products
    `[d, d]`.
    """

    def __init__(self, bands: int, covariance: bool) -> None:
        self.count = 0
        self.mean = np.zeros(bands)
        self.scatter = np.zeros((bands, bands) if covariance else bands)

    def add(self, frames: Array) -> None:
        """Take frames `[n, d]` into account."""
        if not len(frames):
            return
        mean = frames.mean(axis=0)
        centred = frames - mean
        whole = self.count + len(frames)
        apart = mean - self.mean
        weight = self.count * len(frames) / whole
        if self.scatter.ndim == 2:
            self.scatter += centred.T @ centred + weight * np.outer(apart, apart)
        else:
            self.scatter += np.square(centred).sum(axis=0) + weight * np.square(apart)
        self.mean += apart * (len(frames) / whole)
        self.count = whole

    def deviations(self) -> Array:
        """Return the standard deviation of each band [d], 1 of one that does not vary.

        It becomes 0 then, and not noise.
        """
        squares = np.diag(self.scatter) if self.scatter.ndim == 2 else self.scatter
        found = np.sqrt(squares / max(self.count, 1))
        # Below the spacing of float32 around the mean, differences are rounding.
        found[found <= np.finfo(np.float32).eps * np.abs(self.mean)] = 1.0
        return found


@dataclass(frozen=True)
class Transform:
    """A fitted transform: (directions (x - mean)) / divisors, without directions band by band.

    `mean` [d], `directions` [k, d] or None, `divisors` [k]; `variances` [k] are those of the frames
    along the directions, `total` that of all bands together. `frames` is how many it was fitted
    to, `settings` say what features they were of, `fitted_on` of which tracks.
    """

    kind: str
    mean: Array
    directions: Array | None
    divisors: Array
    variances: Array
    total: float
    frames: int
    epsilon: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    fitted_on: FittedOn | None = None

    @property
    def bands(self) -> int:
        """Bands that it takes."""
        return len(self.mean)

    @property
    def rows(self) -> int:
        """Rows that it gives."""
        return len(self.divisors)

    @property
    def share(self) -> float:
        """Share of the variance that lies along the directions."""
        return float(self.variances.sum() / self.total) if self.total else 1.0

    @property
    def label(self) -> str:
        """What the settings of transformed features call it: kind, rows and digest."""
        digest = hashlib.sha256(self._meta().encode())
        for array in self._arrays().values():
            digest.update(array.tobytes())
        return f"{self.kind}:{self.rows}:{digest.hexdigest()[:_DIGITS]}"

    def apply(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Return transformed features: `[..., d, frames]` -> `[..., k, frames]`, `[d]` -> `[k]`.

        Raises `UsageError` for another number of bands.
        """
        vector = features.ndim == 1
        bands = features.shape[-1 if vector else -2]
        if bands != self.bands:
            raise UsageError(
                f"got features of {bands} bands, the transform was fitted on {self.bands}: apply "
                "it to features made as those were"
            )
        x = features[:, None] if vector else features
        x = x - self.mean[:, None]
        if self.directions is not None:
            x = self.directions @ x
        x /= self.divisors[:, None]
        return (x[:, 0] if vector else x).astype(np.float32)

    def described(self) -> str:
        """Return a line for people: what was fitted to how much."""
        if self.directions is None:
            return f"{self.kind}: mean and deviation of {self.bands} bands, {self.frames:,} frames"
        return (
            f"{self.kind}: {self.rows} of {self.bands} directions with {self.share:.1%} of the "
            f"variance, {self.frames:,} frames"
        )

    # --- as bytes --------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return it as NPZ; equal transforms are equal bytes."""
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **self._arrays(), **{_META: np.array(self._meta())})
        return file.getvalue()

    def _arrays(self) -> dict[str, Array]:
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return {name: array for name, array in arrays.items() if array is not None}

    def _meta(self) -> str:
        meta: dict[str, Any] = {
            "kind": self.kind, "total": self.total, "frames": self.frames,
            "epsilon": self.epsilon, "features": dict(self.settings),
        }  # fmt: skip
        if self.fitted_on is not None:
            meta[KEY] = self.fitted_on.to_json()
        return json.dumps(meta, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> Transform:
        """Read what `to_bytes` returned; raises `BrokenTable` that names it for anything else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                meta = json.loads(str(file[_META]))
                arrays = {key: file[key] for key in _ARRAYS if key in file.files}
            found = cls(
                kind=str(meta["kind"]),
                mean=arrays["mean"],
                directions=arrays.get("directions"),
                divisors=arrays["divisors"],
                variances=arrays["variances"],
                total=float(meta["total"]),
                frames=int(meta["frames"]),
                epsilon=float(meta["epsilon"]),
                settings=meta["features"],
                fitted_on=FittedOn.from_json(meta.get(KEY)),
            )
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise BrokenTable(
                f"{name}: not a fitted transform of mt-spec ({error}); fit it again"
            ) from error
        return found

    def to_text(self) -> str:
        """Return it as text, for the metadata of a column and the document of a model."""
        return base64.b64encode(self.to_bytes()).decode()

    @classmethod
    def from_text(cls, text: str, name: str) -> Transform:
        """Read what `to_text` returned."""
        return cls.from_bytes(base64.b64decode(text), name)


def fit(moments: Moments, kind: str, components: float = 0.0, epsilon: float = 0.0) -> Transform:
    """Return the transform of one of `KINDS` that frames have.

    `components` is a number of directions, a share of the variance below 1 (as few directions as
    have it), or 0 for all in which the frames vary. `epsilon` is added to the variances that
    whitening divides by. Raises `UsageError` for fewer than two frames, and for more directions
    than the frames vary in. The moments of a standardiser need no covariance.
    """
    if moments.count < 2:
        raise UsageError(f"{kind} needs two frames at least, got {moments.count} of train rows")
    if kind == "standardise":
        variances = moments.scatter / moments.count
        return Transform(
            kind, moments.mean.copy(), None, moments.deviations(), variances,
            float(variances.sum()), moments.count,
        )  # fmt: skip
    variances, vectors = np.linalg.eigh(moments.scatter / (moments.count - 1))
    variances, vectors = np.maximum(variances[::-1], 0.0), vectors.T[::-1]
    varying = int(np.count_nonzero(variances > variances[0] * _ROUNDING * len(variances)))
    kept = _kept(components, variances, varying)
    directions = vectors[:kept]
    largest = directions[np.arange(kept), np.abs(directions).argmax(axis=1)]
    directions = directions * np.where(largest < 0, -1.0, 1.0)[:, None]
    whitens = kind == "whiten"
    divisors = np.sqrt(variances[:kept] + epsilon) if whitens else np.ones(kept)
    return Transform(
        kind, moments.mean.copy(), directions, divisors, variances[:kept],
        float(variances.sum()), moments.count, epsilon if whitens else 0.0,
    )  # fmt: skip


def _kept(components: float, variances: Array, varying: int) -> int:
    """Return how many directions to keep."""
    if not varying:
        raise UsageError("all frames are the same: there is no direction in which they vary")
    if components >= 1:
        if components > varying:
            raise UsageError(
                f"--components {components:g}: the frames vary in {varying} directions of "
                f"{len(variances)}; ask for fewer"
            )
        return int(components)
    if components:
        shares = np.cumsum(variances) / variances.sum()
        return min(varying, 1 + int(np.searchsorted(shares, components)))
    return varying


def fitted_on(transform: Transform, settings: Mapping[str, Any], on: FittedOn) -> Transform:
    """Return a transform that says what it was fitted on: features by settings, and tracks."""
    return dataclasses.replace(transform, settings=dict(settings), fitted_on=on)

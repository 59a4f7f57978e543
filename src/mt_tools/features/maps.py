"""Maps of vectors in the plane, and the terms that stand out in their regions.

Goal: the coordinates of an embedding map, and what the REP study (Fig. 14) writes into its own: the
strongest terms of each part of the map.

Sources: L. van der Maaten, G. Hinton, "Visualizing data using t-SNE", JMLR 9, 2008; L. McInnes,
J. Healy, "UMAP: uniform manifold approximation and projection", 2018.

Conventions. Vectors are standardised; those of more than 50 dimensions are reduced to 50 principal
components, as van der Maaten and Hinton do. t-SNE begins with the first two, so that its large
structure is that of the data and not of chance. Neighbours on a map were neighbours; distances
between its clusters, and their sizes, mean little.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError

METHODS = ("tsne", "umap", "pca")
DIMENSIONS = 50
PERPLEXITY = 30.0  # scikit-learn's and the paper's: 5 to 50 look much the same
PRIOR = 5.0  # tracks that a term, or a region, is thought to have beside its own, average ones
_FEWEST = 4

Array = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """A part of a map: its middle, how many points it has, its terms with their lifts.

    `source` is what the terms are of, where a map shows those of several.
    """

    x: float
    y: float
    n: int
    terms: tuple[str, ...]
    lifts: tuple[float, ...]
    source: str = ""


def map_points(x: Array, method: str = "tsne", seed: int = 0) -> Floats:
    """Return the place of each vector on a map, [n, 2].

    `x`: [n, d]; a vector that is not finite has no place, and gets NaN. `method`: one of `METHODS`.
    `seed` is chance's part; equal input gives an equal map. Raises `UsageError` for fewer than 4
    vectors, and for UMAP where it is not installed.
    """
    x = np.asarray(x, np.float64)
    if method not in METHODS:
        raise UsageError(f"got the map {method!r}, expected one of {', '.join(METHODS)}")
    if x.ndim != 2:
        raise UsageError(
            f"got vectors of shape {x.shape}, expected [rows, dimensions]: pool features to one "
            "vector a row with mt-embed first"
        )
    usable = np.isfinite(x).all(axis=1)
    if usable.sum() < _FEWEST:
        raise UsageError(
            f"{int(usable.sum())} of {len(x)} rows have a finite vector: a map needs {_FEWEST}"
        )
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    points = np.full((len(x), 2), np.nan)
    # One thread: sums in another order would end in another map.
    with threadpool_limits(1):
        scaled = StandardScaler().fit_transform(x[usable])
        components = min(DIMENSIONS, *scaled.shape)
        reduced = PCA(components, svd_solver="full").fit_transform(scaled)
        if reduced.shape[1] < 2:
            reduced = np.column_stack([reduced, np.zeros(len(reduced))])
        place = {"tsne": _tsne, "umap": _umap, "pca": lambda reduced, _: reduced[:, :2]}[method]
        points[usable] = place(reduced, seed)
    return points


def _tsne(reduced: Floats, seed: int) -> Floats:
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(reduced) - 1) / 3)
    model = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(reduced.astype(np.float32)), np.float64)


def _umap(reduced: Floats, seed: int) -> Floats:
    try:
        from umap import UMAP
    except ImportError as error:
        raise UsageError(
            "UMAP is not installed: pip install 'mt-tools[umap]', or draw with t-SNE"
        ) from error
    model = UMAP(
        n_neighbors=min(15, len(reduced) - 1),
        # Its spectral start needs more points than a handful.
        init="spectral" if len(reduced) > 10 else "random",
        random_state=seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba, about its own future
        return np.asarray(model.fit_transform(reduced), np.float64)


def parts_of(points: Array, count: int = 8, seed: int = 0) -> list[NDArray[np.intp]]:
    """Return the parts of a map by K-means: the rows of each, the largest part first.

    `points`: [n, 2], NaN where a row has no place. There are at most `count` parts. Raises
    `UsageError` where no row has a place.
    """
    points = np.asarray(points, np.float64)
    placed = np.isfinite(points).all(axis=1)
    if not placed.any():
        raise UsageError(f"none of the {len(points)} rows has a place on the map")
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    rows = np.flatnonzero(placed)
    different = len(np.unique(points[rows], axis=0))
    with threadpool_limits(1):
        model = KMeans(min(count, different), n_init=10, random_state=seed)
        part = model.fit_predict(points[rows])
    parts = [rows[part == number] for number in range(part.max() + 1)]
    return sorted(parts, key=lambda part: (-len(part), *middle(points, part)))


def middle(points: Array, part: NDArray[np.intp]) -> tuple[float, float]:
    """Return the median place of the rows of a part."""
    x, y = np.median(points[part], axis=0)
    return float(x), float(y)


def regions(
    points: Array,
    weights: Array,
    names: Sequence[str],
    count: int = 8,
    most: int = 3,
    seed: int = 0,
    source: str = "",
) -> list[Region]:
    """Return the terms that stand out in each part of a map: `parts_of` it, and lift.

    `points`: [n, 2], NaN where a row has no place; `weights`: nonnegative [n, m], tags as 0 and 1
    or probabilities of factors, rows of NaN where unknown; `names`: [m]; `source` says what they
    are of. The lift of a term is the share of its weight that lies in the region over the share of
    the tracks that do, drawn towards 1 by `PRIOR` tracks of that term spread evenly, lest one track
    make a rare term stand out. Each of at most `count` regions has at most `most` terms, of a lift
    above 1, strongest first. The first region has the most points.
    """
    points, weights = np.asarray(points, np.float64), np.asarray(weights, np.float64)
    if weights.shape != (len(points), len(names)):
        raise UsageError(
            f"got weights of shape {weights.shape} for {len(points)} points and {len(names)} terms"
        )
    parts = parts_of(points, count, seed)
    known = np.asarray(np.isfinite(weights).all(axis=1))
    placed = np.concatenate(parts)
    placed = np.sort(placed[known[placed]])
    whole = weights[placed].sum(axis=0)
    found = []
    for part in parts:
        mine = part[known[part]]
        share = len(mine) / max(1, len(placed))
        drawn = weights[mine].sum(axis=0) + PRIOR * share
        lift = np.ones_like(whole)
        np.divide(drawn, (whole + PRIOR) * share, out=lift, where=(whole > 0) & (share > 0))
        best = [i for i in np.argsort(-lift, kind="stable")[:most] if lift[i] > 1 + 1e-9]
        found.append(
            Region(
                *middle(points, part),
                len(part),
                tuple(names[i] for i in best),
                tuple(float(lift[i]) for i in best),
                source,
            )
        )
    return found

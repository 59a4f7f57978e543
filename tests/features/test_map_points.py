"""Coordinates of embedding maps, and the terms of their regions."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from mt_tools.errors import UsageError
from mt_tools.features.maps import PRIOR, map_points, regions


def clouds(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return three clouds of 30 vectors in 60 dimensions, and which is whose."""
    rng = np.random.default_rng(seed)
    part = np.repeat(np.arange(3), 30)
    return 3 * rng.normal(size=(3, 60))[part] + rng.normal(size=(90, 60)), part


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_neighbours_stay_neighbours(method: str) -> None:
    """Tracks that sound alike would lie apart.

    A plane in 60 dimensions becomes a plane: scikit-learn's trustworthiness is above 0.95, where
    points thrown at random have 0.5. Three clouds stay whole: the nearest neighbour of each point
    is of its own.
    """
    rng = np.random.default_rng(0)
    plane = rng.random((90, 2)) @ rng.normal(size=(2, 60)) + 0.01 * rng.normal(size=(90, 60))
    assert trustworthiness(plane, map_points(plane, method), n_neighbors=10) > 0.95
    x, part = clouds()
    points = map_points(x, method)
    assert points.shape == (90, 2)
    far = np.square(points[:, None] - points[None]).sum(axis=2) + np.eye(90) * 1e9
    assert (part[far.argmin(axis=1)] == part).all()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="UMAP is an extra")
def test_umap_keeps_the_clouds_whole() -> None:
    """The extra would be offered and fail, or another map come at every run."""
    x, part = clouds()
    points = map_points(x, "umap", seed=3)
    far = np.square(points[:, None] - points[None]).sum(axis=2) + np.eye(90) * 1e9
    assert (part[far.argmin(axis=1)] == part).all()
    np.testing.assert_array_equal(points, map_points(x, "umap", seed=3))


def test_equal_vectors_give_equal_maps() -> None:
    """A picture in a repository would change every time that it is made."""
    x, _ = clouds()
    np.testing.assert_array_equal(map_points(x, seed=1), map_points(x, seed=1))


def test_scales_of_dimensions_do_not_matter() -> None:
    """One loud feature, in hertz among shares, would be the whole map."""
    x, _ = clouds()
    scaled = x * np.where(np.arange(60) % 2, 1024.0, 1.0)
    near = np.abs(map_points(x, "pca") - map_points(scaled, "pca")).max()
    assert near < 1e-6


def test_rows_without_a_vector_have_no_place() -> None:
    """One null among a thousand would fail the figure, or be drawn somewhere."""
    x, _ = clouds()
    x[5] = np.nan
    points = map_points(x, "pca")
    assert np.isnan(points[5]).all()
    assert np.isfinite(np.delete(points, 5, axis=0)).all()


def test_few_and_flat_vectors() -> None:
    """A library of four tracks, or a feature of one number, would end in a traceback."""
    rng = np.random.default_rng(0)
    assert np.isfinite(map_points(rng.normal(size=(4, 8)))).all()
    assert np.isfinite(map_points(rng.normal(size=(20, 1)), "pca")).all()
    with pytest.raises(UsageError, match="3 of 3 rows have a finite vector: a map needs 4"):
        map_points(rng.normal(size=(3, 8)))
    with pytest.raises(UsageError, match=r"shape \(5, 3, 2\)"):
        map_points(rng.normal(size=(5, 3, 2)))
    with pytest.raises(UsageError, match="expected one of tsne, umap, pca"):
        map_points(rng.normal(size=(5, 3)), "som")


def test_terms_that_stand_out() -> None:
    """The map would be labelled with what is everywhere, not with what is here."""
    rng = np.random.default_rng(0)
    part = np.repeat(np.arange(3), [40, 30, 20])
    points = np.array([[0.0, 0], [10, 0], [0, 10]])[part] + 0.1 * rng.normal(size=(90, 2))
    weights = np.zeros((90, 5))
    weights[:, 0] = 1  # everywhere
    weights[part == 1, 1] = 1
    weights[part == 2, 2] = 1
    weights[part == 2, 3] = rng.random(20) < 0.5
    weights[3, 4] = 1  # one track
    names = ["music", "jazz", "metal", "fast", "rare"]
    first, second, third = regions(points, weights, names, count=3)
    assert (first.n, second.n, third.n) == (40, 30, 20)
    assert second.terms == ("jazz",)
    assert third.terms[0] == "metal"
    assert set(third.terms) == {"metal", "fast"}
    assert [round(v) for v in (second.x, second.y, third.x, third.y)] == [10, 0, 0, 10]
    # Mean of jazz 1/3: (30 + PRIOR / 3) tracks of it where (30 + PRIOR) / 3 were expected.
    assert second.lifts[0] == pytest.approx((30 + PRIOR / 3) / ((30 + PRIOR) / 3))
    assert first.terms == ("rare",)
    assert first.lifts[0] < 2.5  # drawn towards 1, since it stands on a single track
    unknown = weights.copy()
    unknown[part == 0] = np.nan
    assert regions(points, unknown, names, count=3)[0].terms == ()


def test_rare_terms_do_not_hide_what_is_frequent() -> None:
    """Each part of a map of crowd tags would be labelled with its typing errors.

    Half of the tracks of a part have its tag, three have a tag that nobody else has.
    """
    rng = np.random.default_rng(1)
    part = np.repeat(np.arange(4), 40)
    points = np.array([[0.0, 0], [9, 0], [0, 9], [9, 9]])[part] + 0.1 * rng.normal(size=(160, 2))
    weights = np.zeros((160, 16))
    for own in range(4):
        rows = np.flatnonzero(part == own)
        weights[rows[:20], own] = 1
        for typo, row in enumerate(rows[-3:]):
            weights[row, 4 + 3 * own + typo] = 1
    names = ["folk", "jazz", "metal", "house", *(f"typo {i}" for i in range(12))]
    found = [region.terms[0] for region in regions(points, weights, names, count=4)]
    assert sorted(found) == ["folk", "house", "jazz", "metal"]


def test_regions_of_what_does_not_fit() -> None:
    """Terms of other rows would be written into the map."""
    with pytest.raises(UsageError, match=r"weights of shape \(3, 2\) for 4 points and 2 terms"):
        regions(np.zeros((4, 2)), np.zeros((3, 2)), ["a", "b"])
    with pytest.raises(UsageError, match="none of the 4 rows has a place"):
        regions(np.full((4, 2), np.nan), np.zeros((4, 2)), ["a", "b"])
    (one,) = regions(np.zeros((4, 2)), np.eye(4, 2), ["a", "b"])  # all in one place
    assert one.n == 4

"""Near-duplicates by embedding: planted copies are found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mt_tools.datasets.registry import DATASETS
from mt_tools.evaluate import duplicates
from mt_tools.evaluate.duplicates import near_pairs

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def rows() -> Rows:
    """Four hundred rows with thirty copies, some of one origin, on three sides; some left out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 20)) * rng.uniform(0.01, 100, size=20)
    x[:30] = x[100:130] + rng.normal(size=(30, 20)) * 0.2 * x.std(axis=0)
    x[5] = x[7]
    origins = np.arange(400)
    origins[200:210] = 0
    return x, origins, rng.integers(-1, 3, 400)


def by_all_distances(x: np.ndarray, origins: np.ndarray, sides: np.ndarray, near: float) -> dict:
    """Return the pairs and ratios as the definition says, from the matrix of all distances."""
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    distance = cdist(z, z)
    k = min(max(len(x) // 100, 3), 10)
    others = np.where(origins[:, None] == origins, np.inf, distance)
    scale = np.sort(others, axis=1)[:, k - 1]
    ratio = distance / np.minimum.outer(scale, scale)
    apart = (sides[:, None] != sides) & (sides[:, None] >= 0) & (sides >= 0) & np.isfinite(others)
    found = np.argwhere(np.triu(apart & (ratio < near) & (distance > 0), 1))
    return {(int(i), int(j)): ratio[i, j] for i, j in found}


@pytest.mark.parametrize("near", [0.35, 0.9])
@pytest.mark.parametrize("small", [False, True])
def test_pieces_give_what_all_distances_give(
    rows: Rows, near: float, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large table, which is compared in pieces and by bounds, would lose or invent pairs."""
    if small:
        for name, value in (("_SAMPLE", 64), ("_TILE", 37), ("_ROWS", 13)):
            monkeypatch.setattr(duplicates, name, value)
    expected = by_all_distances(*rows, near)
    found = near_pairs(*rows, near)
    assert {(pair.first, pair.second) for pair in found} == expected.keys()
    for pair in found:
        assert pair.ratio == pytest.approx(expected[pair.first, pair.second], abs=1e-5)
    assert [pair.ratio for pair in found] == sorted(pair.ratio for pair in found)


def test_scale_and_place_of_a_column_do_not_matter(rows: Rows) -> None:
    """The loudest coefficient alone would decide what is near."""
    x, origins, sides = rows
    moved = np.column_stack([x * 1000 + 5, np.full(len(x), 7.1)])  # and a column that says nothing
    pairs = [{(p.first, p.second) for p in near_pairs(y, origins, sides)} for y in (x, moved)]
    assert pairs[0] == pairs[1]
    assert len(pairs[0]) > 5


def test_what_cannot_be_compared_is_left_out(rows: Rows) -> None:
    """Rows without a vector, short vectors, few rows, equal rows: no alarm and no error."""
    x, origins, sides = rows
    assert near_pairs(x[:, :15], origins, sides) == []
    assert near_pairs(x[:4], origins[:4], sides[:4]) == []
    assert near_pairs(x[:0], origins[:0], sides[:0]) == []
    assert near_pairs(np.ones((50, 20)), np.arange(50), np.arange(50)) == []
    assert near_pairs(x, np.zeros(400, np.int64), sides) == []
    whole = {(p.first, p.second) for p in near_pairs(x, origins, sides)}
    first, second = min(whole)
    x = x.copy()
    x[first] = np.nan
    left = {(p.first, p.second) for p in near_pairs(x, origins, sides)}
    assert (first, second) not in left
    assert left


def test_a_copy_of_another_level_is_found_among_others(rows: Rows) -> None:
    """Several copies of one track would hide one another."""
    x, _, _ = rows
    rng = np.random.default_rng(1)
    x = np.concatenate([x, x[300:303] + rng.normal(size=(3, 20)) * 0.01 * x.std(axis=0)])
    x = np.concatenate([x, x[300:303] + rng.normal(size=(3, 20)) * 0.01 * x.std(axis=0)])
    numbers = np.arange(len(x))
    found = {(p.first, p.second) for p in near_pairs(x, numbers, numbers)}
    for track in range(3):
        copies = (300 + track, 400 + track, 403 + track)
        assert {(copies[0], copies[1]), (copies[0], copies[2]), (copies[1], copies[2])} <= found


@pytest.mark.parametrize(("features", "least"), [("choi160", 30), ("mfcc120", 28)])
def test_precision_on_gtzan(reference: Path, features: str, least: int) -> None:
    """Tables of real music would fail for pieces that merely sound alike."""
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = reference / "choi2017-features"
    table = parquet.read_table(folder / f"gtzan_genre.{features}.parquet")
    ids = table["id"].to_pylist()
    x = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
    numbers = np.arange(len(x))
    _, places = np.unique(x, axis=0, return_inverse=True)
    equal = {(int(i), int(j)) for i in numbers for j in numbers[i + 1 :] if places[i] == places[j]}
    pairs = equal | {(pair.first, pair.second) for pair in near_pairs(x, numbers, numbers)}
    known = [{*files} for fault in DATASETS["gtzan"].faults[:2] for files in fault.files]
    wrong = [(ids[i], ids[j]) for i, j in pairs if not any({ids[i], ids[j]} <= f for f in known)]
    assert wrong == []
    assert len(pairs) >= least
    other = parquet.read_table(folder / f"emoMusic.{features}.parquet")
    x = np.stack(other["embedding"].to_numpy(zero_copy_only=False))
    assert near_pairs(x, np.arange(len(x)), np.arange(len(x))) == []

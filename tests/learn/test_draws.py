"""Draws by name: what shuffles, crops and masks stand on."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.learn import draws


def test_a_draw_follows_the_name_and_not_the_place() -> None:
    """Sorting a table, or dropping rows of it, would change what every other row draws."""
    names = [f"artist/{number}.mp3" for number in range(50)]
    order = np.random.default_rng(0).permutation(50)
    first = draws.uniform(draws.keys_of(names), 3, "crop", 1)
    second = draws.uniform(draws.keys_of([names[i] for i in order]), 3, "crop", 1)
    np.testing.assert_array_equal(first[order], second)


def test_draws_are_uniform_and_independent() -> None:
    """Crops would crowd in some place, or follow the recipe or the last epoch.

    Bounds: six standard errors of a mean (1/sqrt(12 n)), a correlation (1/sqrt(n)) and a count.
    """
    n = 20_000
    keys = draws.keys_of(range(n))
    given = [
        draws.uniform(keys, seed, purpose, epoch)
        for seed, purpose, epoch in (
            (0, "crop", 1),
            (0, "crop", 2),
            (1, "crop", 1),
            (0, "recipe", 1),
        )
    ]
    for values in given:
        assert values.min() >= 0
        assert values.max() < 1
        assert abs(values.mean() - 0.5) < 6 / np.sqrt(12 * n)
        counts = np.bincount((values * 16).astype(int), minlength=16)
        assert abs(counts - n / 16).max() < 6 * np.sqrt(n / 16)
    correlations = np.corrcoef(given) - np.eye(len(given))
    assert abs(correlations).max() < 6 / np.sqrt(n)
    neighbours = np.corrcoef(given[0][:-1], given[0][1:])[0, 1]
    assert abs(neighbours) < 6 / np.sqrt(n)


@given(st.lists(st.text(), min_size=1, max_size=30), st.integers(1, 1000))
def test_whole_numbers_stay_below_their_count(names: list[str], count: int) -> None:
    """A crop would begin beyond the last frame where it fits."""
    drawn = draws.below(draws.keys_of(names), count, 0, "crop")
    assert drawn.shape == (len(names),)
    assert (drawn >= 0).all()
    assert (drawn < count).all()


@given(st.integers(0, 200), st.integers(2, 40))
def test_batches_hold_every_row_once_and_never_one_alone(rows: int, size: int) -> None:
    """Batch norm fails on a batch of one row, or rows are lost where the last is joined."""
    given = np.arange(rows)
    batches = draws.cut(given, size)
    np.testing.assert_array_equal(np.concatenate([given[:0], *batches]), given)
    sizes = [len(batch) for batch in batches]
    assert all(found == size for found in sizes[:-1])
    assert rows < 2 or 2 <= sizes[-1] <= size + 1


def test_a_shuffle_is_a_permutation_that_changes_with_the_epoch() -> None:
    """Rows would be seen twice or never, or in the same order in every epoch."""
    keys = draws.keys_of(range(100))
    rows = np.arange(10, 90)
    orders = [draws.shuffled(rows, keys, 0, "shuffle", epoch) for epoch in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), rows)
    assert len({tuple(order) for order in orders}) == 3

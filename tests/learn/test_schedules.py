"""The factor of the learning rate at each update, against hand-computed figures."""

from __future__ import annotations

import math

import pytest

from mt_tools.learn.schedules import schedule
from mt_tools.learn.settings import SCHEDULES, FitSettings


@pytest.mark.parametrize("kind", ["constant", "step"])
def test_constant_is_one(kind: str) -> None:
    """The learning rate would not be the one that was asked for."""
    factor = schedule(FitSettings(schedule=kind), 10)
    assert [factor(update) for update in range(12)] == [1.0] * 12


def test_cosine_falls_from_one_to_zero() -> None:
    """The last updates would be as large as the first, or the rate would rise again."""
    factor = schedule(FitSettings(schedule="cosine"), 8)
    root = math.sqrt(0.5)
    expected = {0: 1.0, 2: (1 + root) / 2, 4: 0.5, 6: (1 - root) / 2, 8: 0.0, 20: 0.0}
    for update, value in expected.items():
        assert factor(update) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_warmup_rises_in_equal_steps(kind: str) -> None:
    """The first updates would be at the full rate, or none would be."""
    factor = schedule(FitSettings(schedule=kind, warmup=4), 12)
    assert [factor(update) for update in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert factor(4) == 1.0
    # The cosine takes the 8 updates that are left.
    assert factor(8) == pytest.approx(0.5 if kind == "cosine" else 1.0)


def test_a_warmup_longer_than_the_run_is_no_error() -> None:
    """A short trial run of a long recipe would end in a division by zero."""
    factor = schedule(FitSettings(schedule="cosine", warmup=100), 10)
    assert factor(9) == pytest.approx(0.1)

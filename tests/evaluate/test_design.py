"""Designs over sources: as good as the known ones, balanced, and honest about what they mix up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.evaluate.confounding import (
    STRATEGY,
    confounding,
    contrasts,
    described,
    efficiency,
    interactions,
    main_effects,
    strongest,
)
from mt_tools.evaluate.design import (
    Strategy,
    beside,
    check_source,
    fraction,
    full,
    parse_strategy,
    run_name,
    with_all,
)

ONE = [Strategy("")]
FOUR = [Strategy(name, 2) for name in ("block:1", "block:3", "block:5", "all")]
NAMES = ("self", "bpm", "year", "tag", "taste", "cdr_tag", "lyrics", "artist")


def signs(sets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean and the sources as plus and minus one."""
    return np.column_stack([np.ones(len(sets)), 2.0 * sets - 1.0])


@pytest.mark.parametrize(("sources", "runs"), [(3, 4), (7, 8), (6, 8), (11, 12), (8, 12), (5, 16)])
def test_fractions_are_as_good_as_the_known_ones(sources: int, runs: int) -> None:
    """Fractional factorials (4, 8, 16 runs) and Plackett and Burman's (12) would be beaten.

    In all of them X'X is the number of runs times the identity: no design has less error.
    """
    sets, levels = fraction(sources, ONE, runs)
    x = signs(sets)
    np.testing.assert_array_equal(x.T @ x, runs * np.eye(sources + 1))
    assert sets.any(axis=1).all()  # a run learns from something
    assert len(np.unique(sets, axis=0)) == runs
    assert set(levels) == {0}
    assert efficiency(x) == pytest.approx(1.0)


@pytest.mark.parametrize(("sources", "runs"), [(4, 8), (5, 16)])
def test_main_effects_are_clear_of_interactions_where_that_is_possible(
    sources: int, runs: int
) -> None:
    """Of two fractions with the same main effects the one that mixes in interactions was taken.

    2^(4-1) of resolution IV and 2^(5-1) of resolution V exist, in which nothing is mixed in.
    """
    sets, levels = fraction(sources, ONE, runs)
    x = signs(sets)
    for i, j in itertools.combinations(range(1, sources + 1), 2):
        np.testing.assert_array_equal(x.T @ (x[:, i] * x[:, j]), 0)
    found = confounding(sets, levels, [str(i) for i in range(sources)], [""])
    assert all(one.value == 0 for one in found.aliases)


def test_the_design_of_the_study() -> None:
    """REP's 82 runs, 169 representations, would not come out, or mix up their effects."""
    sets, levels = fraction(8, FOUR, 78, fixed=with_all(8, FOUR))
    assert len(sets) == 82
    rows = {(bytes(row), level) for row, level in zip(sets, levels, strict=True)}
    assert len(rows) == 82
    assert sets.sum(axis=1).min() >= 2
    assert len(np.unique(sets, axis=0)) == 79  # so that there are 79 MSS-CR
    assert sets.sum(axis=0).tolist() == [41] * 8
    assert sorted(np.bincount(levels)) in ([20, 20, 21, 21], [20, 21, 20, 21])
    assert (sets.all(axis=1).nonzero()[0] == [78, 79, 80, 81]).all()
    found = confounding(sets, levels, NAMES, [one.name for one in FOUR])
    assert found.efficiency > 0.99
    worst = strongest(found.correlations)
    assert worst is not None
    assert abs(worst.value) < 0.1  # virtually no confounding of main effects
    # Aliases of a random design of 82 are about 1 / sqrt(82).
    assert np.sqrt(np.mean([one.value**2 for one in found.aliases])) < 0.08
    assert len(beside(sets, Strategy("MSS-CR", 2))) == 79
    alone = beside(sets, Strategy("SS-R", 1, 1))
    assert alone.sum(axis=0).tolist() == [1] * 8


def test_full_designs_have_every_run() -> None:
    """Runs would be missing: 255 sets by 4 strategies, and the 57 networks of AGF."""
    sets, levels = full(8, [Strategy(str(i)) for i in range(4)])
    assert len(sets) == 255 * 4
    assert np.bincount(levels).tolist() == [255] * 4
    sets, levels = full(5, [Strategy("STN"), Strategy("MTN", 2)])
    assert np.bincount(levels).tolist() == [31, 26]
    assert len({(bytes(row), level) for row, level in zip(sets, levels, strict=True)}) == 57
    assert (np.diff(sets[:31].sum(axis=1)) >= 0).all()  # small ones first


def test_strategies_take_no_more_sources_than_they_can() -> None:
    """A run would be listed that nobody can train: several sources for SS-R, one for MTN."""
    strategies = [Strategy("SS-R", 1, 1), Strategy("MTN", 2), Strategy("PAIR", 2, 2)]
    sets, levels = fraction(5, strategies, 24, seed=1)
    for row, level in zip(sets, levels, strict=True):
        assert strategies[level].takes(row.sum())
    assert len({(bytes(row), level) for row, level in zip(sets, levels, strict=True)}) == 24
    counts = np.bincount(levels)
    assert counts[0] == 5  # there are no more
    assert abs(counts[1] - counts[2]) <= 1
    again, _ = fraction(5, strategies, 24, seed=1)
    np.testing.assert_array_equal(sets, again)


def test_aliases_are_what_a_fit_of_main_effects_is_off_by() -> None:
    """The table of aliases would be of another model than the one that is fitted."""
    sets, levels = fraction(4, [Strategy("a"), Strategy("b"), Strategy("c")], 13, seed=3)
    names = list("wxyz")
    found = confounding(sets, levels, names, list("abc"))
    x = main_effects(sets, levels, contrasts(3))
    planted = x[:, 1] * x[:, 3]  # w by y, and nothing else
    fitted = np.linalg.lstsq(x, planted)[0]
    aliases = {(one.effect, one.other): one.value for one in found.aliases}
    for place, name in enumerate(names, 1):
        assert aliases[name, "w x y"] == pytest.approx(fitted[place], abs=1e-12)
    assert aliases[STRATEGY, "w x y"] == pytest.approx(np.linalg.norm(fitted[5:]), abs=1e-12)
    crossed = [np.linalg.lstsq(x, x[:, 2] * x[:, c])[0][4] for c in (5, 6)]
    assert aliases["z", f"x x {STRATEGY}"] == pytest.approx(np.linalg.norm(crossed), abs=1e-12)
    assert interactions(x, 4).shape == (13, 6 + 4 * 2)


def test_the_known_confounding_of_a_half_fraction() -> None:
    """In 2^(3-1) each main effect is an interaction of the other two: it would not be said."""
    sets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], bool)  # c = ab
    found = confounding(sets, np.zeros(4, int), list("abc"), [""])
    aliases = {(one.effect, one.other): one.value for one in found.aliases}
    assert aliases["c", "a x b"] == pytest.approx(1.0)
    assert aliases["a", "b x c"] == pytest.approx(1.0)
    assert aliases["a", "a x b"] == pytest.approx(0.0)
    assert "D-efficiency of main effects 1.000" in described(found)
    assert "at most 1.00" in described(found)


def test_correlations_are_those_of_numpy() -> None:
    """A number would be reported that nobody else finds."""
    rng = np.random.default_rng(0)
    sets, levels = rng.random((20, 3)) < 0.4, rng.integers(0, 3, 20)
    found = confounding(sets, levels, list("abc"), list("xyz"))
    values = {(one.effect, one.other): one.value for one in found.correlations}
    assert values["a", "c"] == pytest.approx(np.corrcoef(sets[:, 0], sets[:, 2])[0, 1])
    dummies = (levels[:, None] == np.arange(3)).astype(float)
    fit = dummies @ np.linalg.lstsq(dummies, sets[:, 1].astype(float))[0]
    assert values["b", STRATEGY] == pytest.approx(np.corrcoef(fit, sets[:, 1])[0, 1])


def test_effects_that_cannot_be_told_apart_are_said() -> None:
    """Sources one at a time add up to the mean: a list of them would look like a design."""
    sets, levels = full(4, [Strategy("SS-R", 1, 1)])
    found = confounding(sets, levels, list("abcd"), ["SS-R"])
    assert found.efficiency == 0
    assert found.aliases == []
    assert "cannot all be told apart" in described(found)
    always = confounding(np.ones((3, 2), bool), np.arange(3) % 2, ["a", "b"], ["x", "y"])
    assert strongest(always.correlations) is None


def test_names_are_those_of_files_and_the_same_for_the_same_set() -> None:
    """make would train the same run twice, or stop at a colon in a target."""
    assert run_name(["tag", "bpm"], "all") == run_name(["bpm", "tag"], "all") == "all_bpm+tag"
    assert run_name(["year", "self"], "block:1") == "block-1_self+year"
    assert run_name(["g"]) == "g"


def test_strategies_say_how_many_sources_they_take() -> None:
    """The colon of block:1 would be read as a number of sources."""
    assert parse_strategy("block:1") == Strategy("block:1", 1, None)
    assert parse_strategy("block:1:2..") == Strategy("block:1", 2, None)
    assert parse_strategy("SS-R:1..1") == Strategy("SS-R", 1, 1)
    assert parse_strategy("MS-CR@2:2..7") == Strategy("MS-CR@2", 2, 7)
    for wrong in ("x:3..1", "x:0..", "x:..3", "x:a..b", "a b", "a/b", "-x", "a$", "a=b", ""):
        with pytest.raises(UsageError, match="--strategy"):
            parse_strategy(wrong)
    for wrong in ("tags:multilabel", "a+b", "x%", ""):
        with pytest.raises(UsageError, match="--source"):
            check_source(wrong)


def test_what_cannot_be_is_refused() -> None:
    """A search without an answer would run, or list less than was asked for."""
    with pytest.raises(UsageError, match="8 sources and 4 strategies need 12 runs or more"):
        fraction(8, FOUR, 11)
    with pytest.raises(UsageError, match="only 7 such runs: say --full"):
        fraction(3, ONE, 8)
    with pytest.raises(UsageError, match="x takes 5 or more sources, and there are 3"):
        full(3, [Strategy("x", 5)])
    with pytest.raises(UsageError, match="got 17 sources, expected 16 or fewer"):
        full(17, ONE)

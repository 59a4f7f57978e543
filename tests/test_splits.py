"""Drawn parts: right sizes, no leaks, the same for every row order."""

from collections import Counter

import numpy as np
import pytest

from mt_tools import splits
from mt_tools.errors import UsageError


def sides(keys, parts):
    """Return the set of parts in which each key stands."""
    where = {}
    for key, part in zip(keys, parts, strict=True):
        where.setdefault(key, set()).add(part)
    return where


@pytest.fixture(scope="module")
def library():
    """Return 600 rows: 200 tracks with 2 copies each, 60 artists who favour one of 5 styles."""
    rng = np.random.default_rng(3)
    artist = rng.integers(60, size=200)
    style = np.where(rng.random(200) < 0.8, artist % 5, rng.integers(5, size=200))
    track = np.repeat(np.arange(200), 3)
    return {
        "origin": [f"track {t}" for t in track],
        "group": [f"artist {a}" for a in artist[track]],
        "style": np.array([f"style {s}" for s in style[track]], object),
        "tags": np.array(
            [[t for i, t in enumerate("abcd") if (s + i) % 3 == 0] for s in style[track]], object
        ),
    }


def test_random_draw_has_the_exact_sizes():
    """An 80/10/10 split would not be one."""
    assert Counter(splits.draw(1000, seed=1)) == {"train": 800, "valid": 100, "test": 100}
    assert Counter(splits.draw(10)) == {"train": 8, "valid": 1, "test": 1}


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("label", [None, "style", "tags"])
def test_no_draw_separates_an_origin_or_a_group(library, label, grouped):
    """Copies of one track, or one artist, would stand in train and test."""
    labels = None if label is None else library[label]
    groups = library["group"] if grouped else None
    part = splits.draw(library["origin"], groups, labels, seed=5)
    fold = splits.folds(library["origin"], 5, groups, labels, seed=5)
    for column in (part, fold):
        assert all(len(where) == 1 for where in sides(library["origin"], column).values())
        if grouped:
            assert all(len(where) == 1 for where in sides(library["group"], column).values())
    sizes = Counter(part)
    assert sizes["train"] / 600 == pytest.approx(0.8, abs=0.05)
    assert sizes["test"] / 600 == pytest.approx(0.1, abs=0.04)
    assert np.bincount(fold) == pytest.approx(120, abs=12)


@pytest.mark.parametrize(("grouped", "rows"), [(False, 3), (True, 9)], ids=["track", "artist"])
@pytest.mark.parametrize("label", ["style", "tags"])
def test_stratified_folds_share_every_label_out(library, label, grouped, rows):
    """A fold would lack a genre or a tag that the library has plenty of."""
    fold = splits.folds(
        library["origin"], 5, library["group"] if grouped else None, library[label], seed=2
    )
    counts = splits.label_counts(library[label], fold)
    for name in counts[0]:
        held = np.array([counts[k][name] for k in range(5)], float)
        # One unit more or less: a track has 3 rows, an artist about 10.
        assert held == pytest.approx(held.mean(), abs=rows)


def test_stratified_folds_of_single_rows_differ_by_one_at_most():
    """Folds would be less even than scikit-learn's StratifiedKFold."""
    labels = np.repeat(np.array(["a", "b", "c"], object), [13, 24, 5])
    fold = splits.folds(len(labels), 5, labels=labels, seed=9)
    for name in "abc":
        counts = np.bincount(fold[labels == name], minlength=5)
        assert np.ptp(counts) <= 1
    assert np.ptp(np.bincount(fold)) <= 1


def test_small_classes_do_not_bend_the_sizes():
    """Ten classes of seven rows would be split 50/10/10 where 80/10/10 was asked for."""
    labels = np.repeat(np.array([f"class {i}" for i in range(10)], object), 7)
    part = splits.draw(70, labels=labels, seed=4)
    assert Counter(part)["train"] == pytest.approx(56, abs=2)
    assert Counter(part)["test"] == pytest.approx(7, abs=2)
    assert all(splits.label_counts(labels, part)["train"].values())


def test_the_order_of_rows_does_not_matter(library):
    """Sorting a table would move tracks from train to test."""
    order = np.random.default_rng(0).permutation(600)
    shuffled = {name: np.array(column, object)[order] for name, column in library.items()}
    for groups, label in ((None, None), ("group", None), (None, "style"), ("group", "tags")):
        one, other = (
            splits.draw(
                table["origin"],
                table[groups] if groups else None,
                table[label] if label else None,
                seed=8,
            )
            for table in (library, shuffled)
        )
        np.testing.assert_array_equal(one[order], other)


def test_seeds_and_purposes_give_other_draws():
    """Every repeat would test the same rows."""
    assert (splits.draw(100, seed=0) == splits.draw(100, seed=0)).all()
    assert (splits.draw(100, seed=0) != splits.draw(100, seed=1)).any()
    tests = [tuple(test) for _, test in splits.repeats(100, 20, 0.1, seed=0)]
    assert len(set(tests)) == 20
    assert all(len(test) == 10 for test in tests)
    tested = np.bincount(np.concatenate([t for _, t in splits.repeats(50, 400, 0.2)]), minlength=50)
    # Binomial(400, .2): mean 80, standard deviation 8; 5 deviations.
    assert tested == pytest.approx(80, abs=40)


def test_missing_groups_are_groups_of_their_own():
    """All tracks without an artist would be thrown into one part."""
    groups = np.array([None] * 50 + ["one artist"] * 10 + [float("nan")] * 40, object)
    part = splits.draw(100, groups, seed=0)
    assert set(part[:50]) == {"train", "valid", "test"}
    assert len(set(part[50:60])) == 1
    assert len(np.unique(splits.units(100, groups))) == 91


def test_origins_tie_groups_together():
    """A track credited to two artists would be torn apart by a grouped split."""
    origins = ["x", "x", "y", "z", "u", "v"]
    groups = ["A", "B", "B", "C", "D", "E"]
    number = splits.units(origins, groups)
    assert number[0] == number[1] == number[2]
    assert len(set(number)) == 4


def test_unlabelled_rows_are_dealt_out_too():
    """Rows without a label would be lost, or all fall into one part."""
    labels = np.array(["a", "b"] * 30 + [None] * 40, object)
    part = splits.draw(100, labels=labels, seed=0)
    assert Counter(part[60:])["train"] == pytest.approx(32, abs=3)
    assert Counter(part) == {"train": 80, "valid": 10, "test": 10}


def test_few_units_still_fill_every_part():
    """Three artists of ten tracks would leave the test part empty."""
    groups = np.repeat(["a", "b", "c"], 10)
    assert set(splits.draw(30, groups)) == {"train", "valid", "test"}
    assert set(splits.folds(30, 3, groups)) == {0, 1, 2}


def test_fold_pairs_test_every_row_once():
    """Rows would be tested twice, or trained on while tested."""
    fold = np.array([0, 1, 2, 0, 1, np.nan, -1])
    pairs = list(splits.fold_pairs(fold))
    assert sorted(np.concatenate([test for _, test in pairs])) == [0, 1, 2, 3, 4]
    assert all(not set(train) & set(test) for train, test in pairs)
    assert all(len(train) + len(test) == 5 for train, test in pairs)


def test_label_counts_list_every_label_everywhere():
    """A label that a part lacks would be missing from its row instead of showing 0."""
    labels = np.array([["a", "b"], ["a"], [], None, ["c"]], object)
    counts = splits.label_counts(labels, ["train", "train", "test", "test", None])
    assert counts == {"test": {"a": 0, "b": 0}, "train": {"a": 2, "b": 1}}


def test_thin_labels_count_groups_not_rows():
    """A genre of one prolific artist would look safe to divide into ten folds."""
    labels = np.array(["rock"] * 20 + ["polka"] * 20, object)
    groups = np.array([f"band {i}" for i in range(20)] + ["one band"] * 20, object)
    assert splits.thin_labels(40, groups, labels, 10) == {"polka": 1}
    assert splits.thin_labels(40, None, labels, 10) == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: splits.folds(30, 10, ["a", "b", "c"] * 10), "3 groups cannot fill 10 folds"),
        (lambda: splits.folds(["x"] * 4, 2), "1 origin cannot fill 2 folds"),
        (lambda: splits.folds(30, 1), "at least 2"),
        (lambda: splits.draw(2), "2 rows cannot fill the 3 parts"),
        (lambda: splits.draw(9, ratios={"train": 1.0, "test": 0.0}), "at least two"),
        (lambda: splits.draw(9, ratios={"train": 1.0, "test": -0.5, "valid": 1}), "at least two"),
        (lambda: splits.draw(9, labels=np.arange(9.0)), "draw without stratifying"),
        (lambda: next(splits.repeats(9, 3, 1.5)), "between 0 and 1"),
        (lambda: list(splits.fold_pairs(np.zeros(4))), "expected at least 2"),
    ],
)
def test_the_impossible_is_refused_with_the_reason(call, message):
    """A split that cannot be drawn would come back broken instead of being refused."""
    with pytest.raises(UsageError, match=message):
        call()

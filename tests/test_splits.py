"""Drawn parts: right sizes, no leaks, the same for every row order."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcdefg"), max_size=3), min_size=20, max_size=60),
    st.integers(10, 20),
    st.integers(0, 10**6),
)
def test_whatever_is_asked_train_has_every_label(tags, artists, seed):
    """A model could not learn a tag that stands in the test part alone."""
    groups = [f"artist {row * 7919 % artists}" for row in range(len(tags))]
    labels = np.empty(len(tags), object)
    labels[:] = tags
    part = splits.draw(len(tags), groups, labels, seed=seed)
    assert all(len(where) == 1 for where in sides(groups, part).values())
    assert set(part) == {"train", "valid", "test"}
    trained = {
        tag for row, where in zip(tags, part, strict=True) if where == "train" for tag in row
    }
    assert trained == {tag for row in tags for tag in row}


def test_of_as_few_artists_as_parts_the_one_with_labels_is_trained_on():
    """Nothing could be learned of a table of three artists."""
    groups = ["x", "x", "y", "z"]
    labels = np.array([["a"], ["a", "b"], [], None], object)
    for seed in range(10):
        assert set(splits.draw(4, groups, labels, seed=seed)[:2]) == {"train"}


@pytest.mark.parametrize("share", [0.15, 0.4, 0.6, 0.85])
@pytest.mark.parametrize("label", [False, True])
def test_one_artist_with_most_of_the_tracks_is_trained_on(share, label):
    """The test part would be one artist, and most of the table."""
    big = int(500 * share)
    groups = ["big"] * big + [f"artist {i // 6}" for i in range(500 - big)]
    labels = np.array([f"style {i * 31 % 5}" for i in range(500)], object) if label else None
    for seed in range(20):
        part = splits.draw(500, groups, labels, seed=seed)
        assert set(part[:big]) == {"train"}
        rest = max(0.1, min(0.1, (1 - share) / 2))
        for name in ("valid", "test"):
            held = float(np.mean(part == name))
            assert (1 - share) / 4 < held or held > 0.07
            assert held < rest + 0.04


@pytest.mark.parametrize("label", [False, True])
def test_large_artists_are_tested_too(label):
    """Results over repeated splits would be about artists of few tracks alone."""
    artist = np.repeat(np.arange(40), np.arange(40) // 4 + 1)
    labels = np.array([f"style {(a + i) % 4}" for i, a in enumerate(artist)], object)
    groups = [f"artist {a}" for a in artist]
    tested = np.zeros(40)
    for _, test in splits.repeats(len(artist), 150, 0.1, groups, labels if label else None):
        tested[np.unique(artist[test])] += 1
    assert tested.min() > 0
    assert tested[-8:].mean() > 0.4 * tested.mean()


def sechidis(hot, k, rng):
    """Return folds by Algorithm 1 of Sechidis et al. 2011, as it is printed."""
    n = len(hot)
    room = np.full(k, n / k)
    need = np.tile(hot.sum(0) / k, (k, 1))
    fold, left = np.full(n, -1), np.ones(n, bool)
    while left.any():
        counts = hot[left].sum(0)
        label = np.where(counts > 0, counts, n + 1).argmin() if counts.any() else None
        for row in np.flatnonzero(left & (hot[:, label] > 0) if label is not None else left):
            wanted = need[:, label] if label is not None else room
            best = np.flatnonzero(wanted == wanted.max())
            best = best[room[best] == room[best].max()]
            chosen = rng.choice(best)
            fold[row], left[row] = chosen, False
            need[chosen] -= hot[row]
            room[chosen] -= 1
    return fold


def test_tags_are_shared_out_no_worse_than_by_the_published_algorithm():
    """Folds of tags would be less even than those of other tools, which follow that paper."""

    def off(hot, fold):
        shares = np.stack([hot[fold == k].mean(0) for k in range(5)])
        return float(np.abs(shares - hot.mean(0)).mean())

    ours, theirs = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        hot = (rng.random((300, 15)) < rng.beta(0.6, 3, 15) + 0.02).astype(int)
        tags = np.empty(300, object)
        tags[:] = [[f"tag {j}" for j in np.flatnonzero(row)] for row in hot]
        ours.append(off(hot, splits.folds(300, 5, labels=tags, seed=seed)))
        theirs.append(off(hot, sechidis(hot, 5, rng)))
    assert np.mean(ours) <= np.mean(theirs)


def test_classes_of_groups_are_shared_out_no_worse_than_by_scikit_learn():
    """Folds that keep artists together would be less even than StratifiedGroupKFold's."""
    from sklearn.model_selection import StratifiedGroupKFold

    def off(labels, fold):
        return float(np.mean([
            abs(np.sum(labels[fold == k] == name) - np.sum(labels == name) / 5)
            for k in range(5) for name in set(labels)
        ]))  # fmt: skip

    def uneven(fold):
        return float(np.ptp(np.bincount(fold)))

    ours, theirs = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        group = rng.integers(60, size=400)
        labels = np.array([f"style {(g + rng.integers(3)) % 6}" for g in group], object)
        fold = splits.folds(400, 5, [f"artist {g}" for g in group], labels, seed=seed)
        ours.append((off(labels, fold), uneven(fold)))
        cut = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for k, (_, test) in enumerate(cut.split(group, labels, group)):
            fold[test] = k
        theirs.append((off(labels, fold), uneven(fold)))
    ours, theirs = np.mean(ours, axis=0), np.mean(theirs, axis=0)
    # They look at the labels alone, and ours at the sizes too.
    assert ours[0] <= 1.15 * theirs[0]
    assert ours[1] <= theirs[1]


def test_tracks_of_a_known_artist_follow(library):
    """A library that grows would be drawn anew every time, and tested on what was trained on."""
    old = splits.draw(library["origin"], library["group"], seed=1)
    artist = np.array([int(name.split()[1]) for name in library["group"]])
    new = (artist % 7 == 0) | (np.arange(600) % 11 == 0)
    fixed = np.where(new, None, old)
    part = splits.draw(library["origin"], library["group"], seed=2, fixed=fixed)
    np.testing.assert_array_equal(part[~new], old[~new])
    assert all(len(where) == 1 for where in sides(library["group"], part).values())
    assert np.mean(part == "train") == pytest.approx(0.8, abs=0.05)
    with pytest.raises(UsageError, match="'test' already, expected train, valid"):
        splits.draw(library["origin"], ratios={"train": 0.9, "valid": 0.1}, fixed=["test"] * 600)


def test_quantile_bins_hold_equally_many_numbers():
    """A draw by a number would be balanced in some of its range alone."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.gamma(1, 1, 1000), [np.nan, np.inf, -np.inf]])
    names = splits.quantile_bins(values, 10)
    assert names[1000] is None
    counts = Counter(names) - Counter([None])
    assert len(counts) == 10
    assert all(count == pytest.approx(100, abs=2) for count in counts.values())
    inside = {name: values[names == name] for name in counts}
    order = sorted(inside, key=lambda name: inside[name].min())
    assert all(inside[a].max() < inside[b].min() for a, b in pairwise(order))
    assert names[1001] == order[-1]
    assert names[1002] == order[0]


def test_equal_numbers_share_a_bin():
    """A level of a scale of five would be parted, or two levels be one."""
    few = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], [500, 3, 40, 1, 9])
    names = splits.quantile_bins(few, 10)
    assert [set(names[few == level]) for level in range(1, 6)] == [
        {"1"},
        {"2"},
        {"3"},
        {"4"},
        {"5"},
    ]
    many = np.concatenate([np.zeros(700), np.arange(300) / 300])
    names = splits.quantile_bins(many, 10)
    assert len(set(names[many == 0])) == 1
    assert set(splits.quantile_bins(np.full(4, np.nan), 3)) == {None}


def test_units_that_hold_a_label_are_counted_once():
    """A class of one artist would look as if many had it."""
    labels = np.array([["a"], ["a", "b"], ["a"], ["b"], None], object)
    parts = ["train", "train", "test", "test", "test"]
    unit = splits.units(5, ["x", "x", "y", "y", None])
    counts = splits.label_counts(labels, parts, unit)
    assert counts == {"test": {"a": 1, "b": 1}, "train": {"a": 1, "b": 1}}


def test_repeated_folds_are_other_folds():
    """Repeated cross-validation would repeat itself."""
    drawn = [tuple(splits.folds(60, 5, seed=0, purpose=f"fold repeat {i}")) for i in range(10)]
    assert len({*drawn, tuple(splits.folds(60, 5, seed=0))}) == 11


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

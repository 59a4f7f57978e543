"""mt-factor agf without its command: groups of artists out of frames, songs and lists of words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm, rankdata
from support import Shell

from mt_tools.errors import SettingsMismatch, UsageError
from mt_tools.features.fitted import Fitted
from mt_tools.features.settings import FeatureSettings
from mt_tools.stages.factors.artist_groups import needed, run
from mt_tools.stages.factors.fitting import Made
from mt_tools.stages.factors.settings import AgfSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.fitted import FittedOn
from mt_tools.tables.source import open_table

MFCC = FeatureSettings(kind="mfcc", n_mfcc=5).to_json()
GROUPS, WORDS, ARTISTS, TRACKS, FRAMES = 4, 24, 48, 3, 60
FEW = AgfSettings(factors=GROUPS, words=WORDS, min_words=0)


def made(
    batch: Batch, settings: AgfSettings = FEW, fitted: Fitted | None = None
) -> tuple[Batch, Made]:
    """Run the stage on rows that come in pieces."""
    pieces = [batch.take(range(i, min(i + 50, len(batch)))) for i in range(0, len(batch), 50)]
    names = ["id", *needed(batch.columns, settings)]
    light = [piece.without(set(batch.names) - set(names)) for piece in pieces]
    result = run(lambda: iter(light), iter(pieces), batch.columns, settings, fitted)
    return concatenate(list(result.rows)), result


@pytest.fixture(scope="module")
def planted(make_batch: Callable[..., Batch]) -> tuple[Batch, np.ndarray, np.ndarray, np.ndarray]:
    """Tracks of artists who share groups: clusters of frames, of which each group has its own.

    Returns the rows, the middles of the clusters, the groups' distributions over them, and the
    artists' mixtures of groups. Each artist has 180 frames.
    """
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(WORDS, 5)) * 30
    groups = rng.dirichlet(np.full(WORDS, 0.15), size=GROUPS)
    mixtures = rng.dirichlet(np.full(GROUPS, 0.1), size=ARTISTS)
    said, artists = [], []
    for artist in range(ARTISTS):
        for _ in range(TRACKS):
            words = rng.choice(WORDS, size=FRAMES, p=mixtures[artist] @ groups)
            said.append((middles[words] + rng.normal(size=(FRAMES, 5)) * 0.5).T)
            artists.append(f"artist {artist:02}")
    batch = make_batch(MFCC, mfcc=np.array(said, np.float32), group=artists)
    return batch, middles, groups, mixtures


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosines between the rows of two matrices."""
    return (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))


def test_planted_groups_of_artists_are_found(planted: Any) -> None:
    """Networks would learn targets that have nothing to do with who sounds alike."""
    batch, middles, groups, mixtures = planted
    table, result = made(batch, replace(FEW, words=3 * WORDS))
    # Each word lies in a planted cluster, which several may share.
    centres = result.fitted.arrays["centres"]
    cluster = np.linalg.norm(centres[:, None] - middles, axis=2).argmin(axis=1)
    terms = np.zeros((GROUPS, WORDS))
    np.add.at(terms.T, cluster, result.fitted.arrays["terms"].T)
    similar = cosines(groups, terms)
    planted_group, found = linear_sum_assignment(-similar)
    assert similar[planted_group, found].min() > 0.95
    targets = table["agf"]
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    artist = np.repeat(np.arange(ARTISTS), TRACKS)
    np.testing.assert_array_equal(targets, targets[::TRACKS][artist])  # one mixture an artist
    np.testing.assert_allclose(targets[:, found], mixtures[artist], atol=0.2)
    # Artists of one group are nearest to each other, where they clearly are of one.
    clear = mixtures.max(axis=1) > 0.9
    own = mixtures[clear].argmax(axis=1)
    distance = np.linalg.norm(targets[::TRACKS][clear][:, None] - targets[::TRACKS][clear], axis=2)
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_array_equal(own[distance.argmin(axis=1)], own)
    column = table.columns["agf"]
    assert (column.role, column.settings["digest"]) == ("target", result.fitted.digest)
    assert "mfcc" not in table
    assert "mfcc" in made(batch, replace(FEW, keep=True))[0]


def parted(batch: Batch, make_batch: Any, test_features: np.ndarray, how: str) -> Batch:
    """Return the planted rows with a split by artist or by track, with other test rows."""
    rows = np.arange(len(batch))
    test = rows // TRACKS >= 40 if how == "artist" else rows % TRACKS == 2
    mfcc = batch["mfcc"].copy()
    mfcc[test] = test_features[test]
    split = np.where(test, "test", "train").tolist()
    return make_batch(MFCC, mfcc=mfcc, group=batch["group"].tolist(), split=split)


@pytest.mark.parametrize("how", ["artist", "track"])
def test_test_rows_change_nothing_that_train_rows_learn(
    planted: Any, make_batch: Any, how: str
) -> None:
    """Test rows in the dictionary, the groups or the train targets make their score too good."""
    batch = planted[0]
    noise = np.random.default_rng(1).normal(size=batch["mfcc"].shape) * 40
    one, fit = made(parted(batch, make_batch, batch["mfcc"], how))
    other, fit_of_other = made(parted(batch, make_batch, noise, how))
    assert fit.fitted.to_bytes() == fit_of_other.fitted.to_bytes()
    train = one["split"] == "train"
    np.testing.assert_array_equal(one["agf"][train], other["agf"][train])
    assert fit.fitted.fitted_on == FittedOn.of(one.ids[train], ["train"] * int(train.sum()))
    if how == "artist":  # artists who are new are folded in, from what they are
        assert np.abs(one["agf"][~train] - other["agf"][~train]).max() > 0.1
        np.testing.assert_allclose(one["agf"][~train].sum(axis=1), 1, atol=1e-5)
    else:  # the study's own split: test rows have the mixture of their artist's train rows
        targets = one["agf"]
        np.testing.assert_array_equal(targets[2::TRACKS], targets[0::TRACKS])
        np.testing.assert_array_equal(other["agf"], targets)
    seen = made(parted(batch, make_batch, noise, how), replace(FEW, ignore_split=True))[1]
    assert seen.fitted.fitted_on is not None
    assert set(seen.fitted.fitted_on.parts) == {"train", "test"}


def test_a_new_artist_of_two_parts_does_not_carry_words_between_them(make_batch: Any) -> None:
    """Valid rows' targets, which choose the epoch, would know of the test rows."""
    words = [["a", "b"]] * 6 + [["c", "d"]] * 6

    def targets(last: list[str]) -> np.ndarray:
        batch = make_batch(
            tags=[*words, ["a", "a", "a"], last],
            group=[f"g{i // 2}" for i in range(12)] + ["new", "new"],
            split=["train"] * 12 + ["valid", "test"],
        )
        return made(batch, replace(FEW, factors=2))[0]["agf"]

    one, other = targets(["c", "c", "d"]), targets(["a", "b", "b"])
    np.testing.assert_array_equal(one[:13], other[:13])
    assert np.abs(one[13] - other[13]).max() > 0.3


def test_what_was_fitted_gives_the_same_numbers_again(planted: Any, make_batch: Any) -> None:
    """Targets of tracks that come later would not be those that a network has learned."""
    batch = parted(planted[0], make_batch, planted[0]["mfcc"], "artist")
    table, result = made(batch)
    kept = Fitted.from_bytes(result.fitted.to_bytes(), "m.npz")
    again, applied = made(batch, replace(FEW, apply="m.npz", factors=9), kept)
    np.testing.assert_array_equal(again["agf"], table["agf"])
    assert applied.fitted.digest == result.fitted.digest
    assert again.columns["agf"].settings == table.columns["agf"].settings
    few = batch.take(np.flatnonzero(batch["split"] == "test")[:30])  # whole artists, without others
    np.testing.assert_allclose(
        made(few, replace(FEW, apply="m.npz"), kept)[0]["agf"], table["agf"][120:150], atol=1e-6
    )


def test_song_descriptors_are_made_normal_first(make_batch: Any) -> None:
    """A descriptor in hertz would drown all others; those that songs lack would drown the songs."""
    rng = np.random.default_rng(0)
    kind = np.arange(90) // 3 % 3  # the kind of song of each of thirty artists
    useful = np.exp(6 * (kind[:, None] == np.arange(3)) + rng.normal(size=(90, 3)))  # skewed
    useless = rng.normal(size=(90, 1)) * 1e6
    vectors = np.concatenate([useful, useful, useless, np.full((90, 1), 7.0), useful], axis=1)
    vectors[5, 8] = np.nan  # an error in one song
    vectors[9] = np.nan  # no descriptors at all
    settings = {"digest": "x", "pooling": "none"}
    groups = [f"g{row // 3}" for row in range(90)]
    batch = make_batch(settings, embedding=vectors.astype(np.float32), group=groups)
    fit = replace(FEW, factors=3, words=3)
    table, result = made(batch, fit)
    arrays = result.fitted.arrays
    assert arrays["kept"].tolist() == [True] * 7 + [False] * 2 + [True] * 2
    assert any("1 are missing in some, 1 the same in all" in note for note in result.notes)
    # A normal by ranks: no number counts for more than another, whatever its unit.
    column = np.delete(vectors[:, 6], 9)
    ranks = norm.ppf((rankdata(column) - 0.5) / len(column))
    assert np.abs(arrays["centres"]).max() < np.abs(ranks).max() + 4
    own = np.array([table["agf"][row].argmax() for row in range(90)])
    for one in range(3):
        assert len(set(own[kind == one])) == 1
    assert len(set(own)) == 3
    # A song that lacks what the others had is taken for an ordinary one in that, and said.
    later = vectors[:3].copy()
    later[:, 2] = np.nan
    later_batch = make_batch(settings, embedding=later.astype(np.float32), group=["z"] * 3)
    applied, said = made(later_batch, fit, result.fitted)
    assert any(note.startswith("3 rows lack numbers") for note in said.notes)
    assert np.isfinite(applied["agf"]).all()
    broken = make_batch(settings, embedding=np.full((3, 2), 5, np.float32), group=["z"] * 3)
    with pytest.raises(UsageError, match="none of the 2 numbers"):
        made(broken, fit)


def test_lists_of_words_need_no_dictionary(make_batch: Any) -> None:
    """Subgenres (the study's group s) would be clustered once more, or counted without repeats."""
    bags = [["punk", "punk", "rock"], ["techno", "house"]]
    tags: list[Any] = [bags[row // 2 % 2] for row in range(24)]
    tags[22:] = [["polka"], None]  # in no train row, and unlabelled
    batch = make_batch(
        tags=tags,
        group=[f"g{row // 2}" for row in range(22)] + ["p", "q"],
        split=["train"] * 20 + ["test"] * 4,
    )
    table, result = made(batch, replace(FEW, factors=2, min_words=6))
    fitted, targets = result.fitted, table["agf"]
    assert list(fitted.vocabulary) == ["house", "punk", "rock", "techno"]
    assert fitted.of["kind"] == "strings"
    assert set(fitted.arrays) == {"terms", "mass", "prior"}
    assert targets[0].argmax() != targets[2].argmax()
    np.testing.assert_allclose(targets[20], targets[0], atol=1e-6)  # the same words, folded in
    punk = fitted.arrays["terms"][targets[0].argmax()]
    assert fitted.vocabulary[int(punk.argmax())] == "punk"
    assert punk[1] > 1.5 * punk[2]  # it was said twice as often
    assert np.isnan(targets[22:]).all()
    assert table.null_count("agf") == 2


def test_rare_artists_are_counted_and_keep_their_mixture(make_batch: Any) -> None:
    """Targets made of two words would pass for evidence, or their tracks would vanish."""
    tags = [["a", "b"] * 10, ["c", "d"] * 10, ["a"], ["c", "d"], ["b"] * 3, [], ["a"] * 4]
    groups = ["x", "y", "small", "smaller", "three", "mute", None]
    batch = make_batch(tags=tags, group=groups)
    table, result = made(batch, replace(FEW, factors=2, min_words=10))
    notes = result.notes
    assert "1 artist without words, whose tracks have no target: mute" in notes
    (few,) = [note for note in notes if "--min-words" in note]
    assert few == (
        "4 artists of 7 with fewer than 10 words (--min-words): small (1), smaller (2), three (3), "
        "..."
    )
    assert np.isfinite(table["agf"][[2, 3, 4, 6]]).all()
    assert np.isnan(table["agf"][5]).all()
    assert not any("--min-words" in n for n in made(batch, replace(FEW, factors=2))[1].notes)


def test_who_an_artist_is(make_batch: Any) -> None:
    """Compilations would be one artist, and segments of one track several."""
    batch = make_batch(
        id=["t@0", "t@1", "u", "v", "w", "x"],
        origin=["t", "t", None, None, None, None],
        tags=[["a"], ["b", "b", "b"], ["a"] * 3, ["b"] * 3, ["a", "a"], ["b"]],
        group=[None, None, "Various Artists", "VA", "me", "me"],
    )
    table, result = made(batch, replace(FEW, factors=2, min_words=99))
    targets = table["agf"]
    np.testing.assert_array_equal(targets[0], targets[1])
    np.testing.assert_array_equal(targets[4], targets[5])
    assert np.abs(targets[2] - targets[3]).max() > 0.3
    assert any(note.startswith("4 artists of 4 with") for note in result.notes)
    with pytest.raises(UsageError, match="no column 'group'"):
        made(batch.without(["group"]), replace(FEW, factors=2))


def test_what_does_not_fit_is_refused(planted: Any, make_batch: Any) -> None:
    """Frames of other settings would be put into words that mean something else."""
    batch = planted[0]
    _, result = made(batch)
    features = batch["mfcc"][:4]
    again = replace(FEW, apply="m.npz")
    other = FeatureSettings(kind="mfcc", n_mfcc=5, hop=256).to_json()
    unlike = make_batch(other, mfcc=features, group=["a"] * 4)
    with pytest.raises(SettingsMismatch, match="hop: got 256, expected 512"):
        made(unlike, again, result.fitted)
    unsaid = make_batch({}, mfcc=features, group=["a"] * 4)
    with pytest.raises(SettingsMismatch, match="--assume PRESET"):
        made(unsaid, again, result.fitted)
    bags = make_batch(tags=[["a"], ["b"]], group=["a", "b"])
    with pytest.raises(UsageError, match="fitted to features, got lists of words in 'tags'"):
        made(bags, again, result.fitted)
    _, listed = made(bags, replace(FEW, factors=1))
    with pytest.raises(UsageError, match="fitted to lists of words, got the features of 'mfcc'"):
        made(batch, again, listed.fitted)
    with pytest.raises(UsageError, match=r"--factors 4: .* 2 artists with words.* 2 at most"):
        made(bags)
    both = make_batch(
        MFCC,
        mfcc=features,
        embedding=np.ones((4, 2), np.float32),
        group=["a"] * 4,
        tags=[["a"]] * 4,
    )
    with pytest.raises(UsageError, match="mfcc, embedding: choose one with --column"):
        made(both)
    with pytest.raises(UsageError, match="--column group: expected features, embeddings and"):
        made(both, replace(FEW, column="group"))
    with pytest.raises(UsageError, match="--as NAME"):
        made(batch, replace(FEW, as_="group"))


@pytest.mark.slow
def test_groups_from_a_shell(sh: Shell, corpus: Path, tmp_path: Path) -> None:
    """A stream is read several times; what has seen test rows would pass in CI."""
    sh(
        f"mt-fetch split {corpus}/tracks.parquet --method grouped --seed 1 -q -o tracks.parquet && "
        "mt-fetch split tracks.parquet --keep all -q | "
        "mt-factor agf --column instruments -k 3 --as s --fitted s.npz -q -o s.parquet && "
        "mt-factor agf tracks.parquet --column instruments --apply s.npz --as s -q -o again.npz && "
        "mt-eval check s.parquet --task key -q",
        ok=True,
    )
    table = concatenate(list(open_table(str(tmp_path / "s.parquet"))))
    np.testing.assert_allclose(table["s"].sum(axis=1), 1, atol=1e-5)
    with np.load(tmp_path / "again.npz") as again:
        np.testing.assert_array_equal(again["s"], table["s"])
    seen = sh(
        "mt-factor agf tracks.parquet --column instruments -k 3 --ignore-split --min-words 999 | "
        "mt-eval check - --task key -q"
    )
    assert seen.returncode == 4
    assert b"with fewer than 999 words (--min-words)" in seen.stderr
    assert b'"kind": "fitted-on-test"' in seen.stdout
    both = sh("mt-factor agf tracks.parquet --fitted a.npz --apply s.npz --column instruments")
    assert both.returncode == 2

"""mt-augment on features, without its command: copies, mixtures, and labels that are mixed too."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.features import augment as arrays
from mt_tools.recipes import parse
from mt_tools.recipes.features import Cutmix, Mixup
from mt_tools.stages import augment, augment_features
from mt_tools.stages.settings import AugmentSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import reserved
from mt_tools.tables.levels import Levels
from mt_tools.tables.source import source_of

MELS = np.random.default_rng(0).normal(-60, 10, (12, 6, 9)).astype(np.float32)
SPLIT = ["train"] * 8 + ["valid"] * 2 + ["test"] * 2


def unexpected(row: dict[str, Any], error: Exception) -> None:
    """Take no failure."""
    raise AssertionError(f"{row['id']}: {error}")


def run(
    batch: Batch | list[Batch],
    *recipes: str,
    fail: Any = unexpected,
    say: Callable[[str], None] = lambda note: None,
    **options: Any,
) -> Batch:
    """Return what the stage makes of a table."""
    settings = AugmentSettings(recipe=recipes, **options)
    source = source_of(batch if isinstance(batch, list) else [batch])
    templates = augment.templates_of(settings)
    assert augment.on_features(templates, settings)
    made = augment_features.run(source, lambda: source, templates, settings, fail=fail, say=say)
    return concatenate(list(made))


@pytest.fixture
def table(make_batch: Any) -> Batch:
    """Twelve rows of mel bands with labels of every kind."""
    made: Batch = make_batch(
        mel=MELS,
        split=SPLIT,
        genre=["rock", "jazz", None, "pop"] * 2 + ["rock", "ska", "jazz", "pop"],
        energy=[0.0, 1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0],
        tags=[["a"], [], None] * 4,
        title=[f"song {row}" for row in range(12)],
    )
    return made


def test_copies_follow_their_row_and_say_what_was_done(table: Batch) -> None:
    """Features would not be those that their recipe tells, or train and test would share a track."""
    made = run(table, "mask=0..3:0..4,shift=-2..2", "erase=2:3", copies=2, seed=3)
    assert len(set(made.ids)) == len(made)
    assert 12 + 8 * 3 < len(made) <= 12 + 8 * 4  # but for what was drawn twice, or is nothing
    sources = dict(zip(table.ids, MELS, strict=True))
    for row, (id_, origin, recipe) in enumerate(
        zip(made.ids, made.origins, made["recipe"], strict=True)
    ):
        if recipe is None:
            np.testing.assert_array_equal(made["mel"][row], sources[id_])
            continue
        assert id_ == f"{origin}#{recipe}"
        expected = arrays.apply(parse(recipe), sources[origin])
        np.testing.assert_array_equal(made["mel"][row], expected)
        assert made["split"][row] == "train"
    assert [origin for origin, _ in itertools.groupby(made.origins)] == table.ids.tolist()
    genres = dict(zip(table.ids, table["genre"], strict=True))
    assert made["genre"].tolist() == [genres[origin] for origin in made.origins]
    assert len(set(made["recipe"])) > 16  # drawn for each row


def test_draws_depend_on_the_row_alone(table: Batch) -> None:
    """Another order or another shard of the table would change all experiments."""
    whole = run(table, "mask=0..3:0..4", copies=2)
    parts = run([table.take([7, 3]), table.take([1])], "mask=0..3:0..4", copies=2)
    known = dict(zip(whole.ids, whole["mel"], strict=True))
    assert set(parts.ids) < set(whole.ids)
    for id_, mel in zip(parts.ids, parts["mel"], strict=True):
        np.testing.assert_array_equal(mel, known[id_])
    assert set(run(table, "mask=0..3:0..4", copies=2, seed=1).ids) != set(whole.ids)


def test_segments_of_a_track_get_the_same_recipe(make_batch: Any) -> None:
    """Parts of a song would not find each other: they are joined by origin and recipe."""
    batch = make_batch(id=["a@0", "a@3", "b@0"], origin=["a", "a", "b"], mel=MELS[:3])
    recipes = run(batch, "mask=1..3:1..4")["recipe"].tolist()
    assert recipes[1] == recipes[3] != recipes[5]


def test_waveform_copies_are_augmented_on_top(make_batch: Any) -> None:
    """A row would hide that its sound was shifted before its features were masked."""
    batch = make_batch(id=["a", "a#pitch=+2"], origin=[None, "a"], recipe=[None, "pitch=+2"],
                       mel=MELS[:2])  # fmt: skip
    made = run(batch, "mask=1..3:1..4")
    assert made["recipe"][3].startswith("pitch=+2,mask=")
    assert made.ids[3] == f"a#pitch=+2#{made['recipe'][3].removeprefix('pitch=+2,')}"
    assert made.origins.tolist() == ["a"] * 4
    # Each is drawn for itself.
    assert made["recipe"][3] != f"pitch=+2,{made['recipe'][1]}"
    with pytest.raises(UsageError, match="were augmented before"):
        run(made, "shift=1")


def mixtures(made: Batch) -> list[tuple[int, Any]]:
    """Return the rows of mixtures and their effects."""
    found = []
    for row, recipe in enumerate(made["recipe"]):
        effect = parse(recipe or "").of(Mixup) or parse(recipe or "").of(Cutmix)
        if effect:
            found.append((row, effect))
    return found


def test_mixtures_are_of_two_tracks_of_one_split(table: Batch) -> None:
    """What trains would hold what is tested on, or a track be mixed with its own copy."""
    segments = table.replace(reserved("origin"), [f"o{row // 2}" for row in range(12)])
    for only_split in ("train", "train,valid,test"):
        made = run(
            segments, "mixup=beta1", labels="none", copies=3, only_split=only_split,
            fail=lambda row, error: None,
        )  # fmt: skip
        split = dict(zip(segments.ids, SPLIT, strict=True))
        origin = dict(zip(segments.ids, segments.origins, strict=True))
        found = mixtures(made)
        assert len(found) == 24
        assert {made["split"][row] for row, _ in found} == {"train"}
        for row, effect in found:
            assert split[effect.partner] == "train"
            assert origin[effect.partner] != made.origins[row]
        assert len({effect.partner for _, effect in found}) > 4


def test_a_row_that_has_no_other_is_reported(table: Batch, failures: Any) -> None:
    """One track alone in its split must not stop the others, nor vanish without a word."""
    alone = table.replace(reserved("origin"), [None] * 8 + ["v", "v", "s1", "s2"])
    made = run(alone, "mixup=0.7", labels="none", only_split="train,valid,test", fail=failures)
    assert failures == [("t8", "missing"), ("t9", "missing")]
    assert len(made) == 2 * 10


def test_labels_are_mixed_as_the_features_are(table: Batch) -> None:
    """A mixture of rock and jazz would be taught as rock."""
    notes: list[str] = []
    made = run(
        table, "mixup=beta1", "cutmix=1..5:1..8", labels="genre,energy", copies=2,
        say=notes.append,
    )  # fmt: skip
    words = ["jazz", "pop", "rock"]
    assert made.columns["genre"].settings == {"vocabulary": words}
    assert (made.columns["genre"].kind, made.columns["genre"].role) == ("vector", "label")
    places = {id_: row for row, id_ in enumerate(table.ids)}
    genres, energies = table["genre"], table["energy"]

    def hot(row: int) -> np.ndarray:
        word = genres[row]
        return np.array([float(word == w) for w in words]) if word in words else np.full(3, np.nan)

    found = mixtures(made)
    assert len(found) > 28
    for row, effect in found:
        own, other = places[made.origins[row]], places[effect.partner]
        recipe = parse(made["recipe"][row])
        expected = arrays.apply(recipe, MELS[own], MELS[other])
        np.testing.assert_array_equal(made["mel"][row], expected)
        share = arrays.weight(recipe, (6, 9))
        mixed = share * hot(own) + (1 - share) * hot(other)
        np.testing.assert_allclose(made["genre"][row], mixed, atol=1e-6)
        np.testing.assert_allclose(
            made["energy"][row], share * energies[own] + (1 - share) * energies[other]
        )
        assert (made["tags"][row], made["title"][row]) == (None, None)
    known = ~np.isnan(made["genre"]).any(axis=1)
    np.testing.assert_allclose(made["genre"][known].sum(axis=1), 1, atol=1e-6)
    originals = [row for row, recipe in enumerate(made["recipe"]) if recipe is None]
    for row in originals:
        np.testing.assert_array_equal(made["genre"][row], hot(places[made.ids[row]]))
    assert made["title"][originals].tolist() == table["title"].tolist()
    assert notes[-1].endswith("null now: 1 of genre")


def test_copies_that_are_not_mixed_keep_their_labels(table: Batch) -> None:
    """Masked copies would lose the labels that nothing was done to."""
    made = run(table, "mask=1:1", "mixup=0.7", labels="none")
    masked = [row for row, recipe in enumerate(made["recipe"]) if "mask" in (recipe or "")]
    assert made["title"][masked].tolist() == table["title"][:8].tolist()
    assert made["tags"][masked].tolist() == table["tags"][:8].tolist()


def test_embeddings_can_be_mixed_and_nothing_else(make_batch: Any) -> None:
    """Components of an embedding have no neighbours that a mask could run over."""
    batch = make_batch(embedding=MELS[:, 0], split=SPLIT, genre=["x", "y"] * 6)
    made = run(batch, "mixup=0.7", labels="genre")
    ((row, effect), *_) = mixtures(made)
    places = {id_: row for row, id_ in enumerate(batch.ids)}
    own, other = (MELS[places[id_], 0] for id_ in (made.origins[row], effect.partner))
    np.testing.assert_allclose(made["embedding"][row], 0.7 * own + 0.3 * other, rtol=1e-5)
    with pytest.raises(UsageError, match="mask is done to bands and frames"):
        run(batch, "mask=1:1")


def test_other_features_of_a_copy_are_null(make_batch: Any) -> None:
    """A masked mel would stand beside the embedding of the track as it is."""
    batch = make_batch(mel=MELS, embedding=MELS[:, 0])
    with pytest.raises(UsageError, match="the input has mel, embedding: choose what .* --column"):
        run(batch, "mask=1:1")
    made = run(batch, "mask=1:1", column="mel")
    copies = np.array([recipe is not None for recipe in made["recipe"]])
    assert np.isnan(made["embedding"][copies]).all()
    np.testing.assert_array_equal(made["embedding"][~copies], MELS[:, 0])


def test_rows_without_features_are_not_copied_nor_mixed_in(table: Batch) -> None:
    """A mixture with nothing would be nothing, called by two names."""
    mels = MELS.copy()
    mels[2] = np.nan
    made = run(table.replace(table.columns["mel"], mels), "mixup=0.7", labels="none", copies=4)
    assert "t2" in made.ids
    assert all("t2" not in (made.origins[row], effect.partner) for row, effect in mixtures(made))


def test_quantised_features_stay_so(make_batch: Any) -> None:
    """A table of bytes would grow fourfold, or hold numbers that its levels do not mean."""
    batch = make_batch(mel=MELS, split=SPLIT)
    levels = Levels.between(-120.0, 0.0)
    column = dataclasses.replace(batch.columns["mel"], levels=levels)
    made = run(batch.replace(column, MELS), "mixup=0.5", labels="none")
    assert made.columns["mel"].levels == levels
    ((row, effect), *_) = mixtures(made)
    own, other = (MELS[int(id_[1:])] for id_ in (made.origins[row], effect.partner))
    # Half a level of 120 / 255, of the stored one, of each half, and of the result.
    assert abs(made["mel"][row] - (own + other) / 2).max() <= 120 / 255 * 1.01


@pytest.mark.parametrize(
    ("recipe", "options", "says"),
    [
        (
            "mixup=0.7",
            {},
            "the input has genre, energy, tags, title: say which with --labels genre",
        ),
        ("mixup=0.7", {"labels": "mood"}, "--labels mood: no such label; the input has genre"),
        ("mixup=0.7", {"labels": "tags"}, "no place for shares of tags; mix while training"),
        ("mixup=0.7:t3", {"labels": "none"}, "what is mixed in is drawn; leave out 't3'"),
        ("mask=7:1", {}, "6 bands and 9 frames"),
        ("mask=1:1", {"column": "stft"}, "no features 'stft' to augment"),
    ],
)
def test_what_cannot_be_is_refused(table: Batch, recipe: str, options: Any, says: str) -> None:
    """A mistake would be found after an hour, or made into wrong labels."""
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        run(table, recipe, **options)
    assert "\n" not in str(caught.value)


def test_tables_without_a_split_are_not_mixed(table: Batch) -> None:
    """A split that is drawn later would have one half of a mixture on each side."""
    with pytest.raises(UsageError, match="run mt-fetch split before"):
        run(table.without(["split"]), "mixup=0.7", labels="none")
    folded = table.without(["split"]).append(reserved("fold"), [0, 1, 2] * 4)
    made = run(folded, "mixup=0.7", labels="none")
    folds = dict(zip(folded.ids, folded["fold"], strict=True))
    assert all(folds[effect.partner] == made["fold"][row] for row, effect in mixtures(made))


def test_recipes_of_sound_and_features_are_told_apart() -> None:
    """A mask on a table of tracks, or a pitch on features, would be left undone without a word."""
    for options, says in (
        ({"recipe": ("pitch=2", "mask=1:1")}, "pitch is done to sound and mask to features"),
        ({"recipe": ("mask=1:1",), "render": "out"}, "--render out is for sound"),
        ({"recipe": ("mask=1:1",), "labels": "genre"}, "--labels genre is for mixup and cutmix"),
        ({"pitch": "2", "column": "mel"}, "--column mel is for features"),
    ):
        settings = AugmentSettings(**options)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=says):
            augment.on_features(augment.templates_of(settings), settings)
    settings = AugmentSettings(pitch="2")
    assert not augment.on_features(augment.templates_of(settings), settings)

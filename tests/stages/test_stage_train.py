"""mt-train without its command: which rows train, and what the model says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import NoRows, UsageError
from mt_tools.nets.model import Model
from mt_tools.stages import train
from mt_tools.stages.settings import TrainSettings
from mt_tools.tables.batch import Batch

FitModel = Callable[..., Model]


@pytest.fixture
def table(make_batch: Any) -> Batch:
    """Sixty tracks of ten artists, whose style and level show in their vectors."""
    return learnable(make_batch)


def learnable(make_batch: Any, rows: int = 60, **columns: Any) -> Batch:
    """Return tracks whose labels follow from their vectors, with noise."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(rows, 6)).astype(np.float32)
    styles = [["a", "b", "c"][i % 3] for i in range(rows)]
    vectors[:, 0] += 3 * np.array([style == "a" for style in styles])
    vectors[:, 1] += 3 * np.array([style == "b" for style in styles])
    return make_batch(
        **(
            {"group": [f"artist {i // 6}" for i in range(rows)], "embedding": vectors}
            | {"style": styles, "level": vectors[:, 0].astype(np.float64)}
            | {"tags": [[style, "all"] for style in styles]}
            | columns
        )
    )


def parts(batch: Batch, seed: int = 0, **options: Any) -> train.Parts:
    """Return the parts that mt-train would use."""
    settings = TrainSettings(task=("style",), **options)
    return train.parts_of(batch, settings, batch["style"], seed)


def owners(batch: Batch, rows: np.ndarray) -> set[str]:
    """Return the artists of some rows."""
    return {batch["group"][row] for row in rows}


def test_parts_are_drawn_by_artist(table: Batch) -> None:
    """By default an artist stands on one side: the honest protocol is the default."""
    drawn = parts(table, test=0.2)
    named = [owners(table, rows) for rows in (drawn.train, drawn.valid, drawn.test)]
    assert all(named)
    assert not named[0] & named[1]
    assert not named[0] & named[2]
    assert not named[1] & named[2]
    assert sum(map(len, (drawn.train, drawn.valid, drawn.test))) == 60
    assert "test rows drawn: 0.2 of the rows, grouped" in drawn.notes


def test_fold_beats_split_and_split_beats_the_draw(make_batch: Any) -> None:
    """What the table marks is used, --fold first; null rows are left out and counted."""
    split = ["train"] * 36 + ["valid"] * 6 + ["test"] * 6 + [None] * 12
    fold = [i // 12 for i in range(48)] + [None] * 12
    batch = learnable(make_batch, split=split, fold=fold)
    marked = parts(batch)
    assert marked.train.tolist() == list(range(36))
    assert marked.valid.tolist() == list(range(36, 42))
    assert marked.test.tolist() == list(range(42, 48))
    assert marked.notes == ["12 rows have no split and are left out"]
    folded = parts(batch, fold=1)
    assert folded.test.tolist() == list(range(12, 24))
    assert {*folded.train, *folded.valid} == {*range(12), *range(24, 48)}
    assert folded.notes[0] == "12 rows have no fold and are left out"
    everything = parts(batch, ignore_split=True, valid=0.0)
    assert len(everything.train) == 60
    with pytest.raises(UsageError, match="--fold 9: no row has this fold"):
        parts(batch, fold=9)


def test_what_a_split_does_not_mark_is_drawn_from_its_train_rows(make_batch: Any) -> None:
    """A table with train and test alone still needs rows to stop by, and never the test's."""
    batch = learnable(make_batch, split=["train"] * 48 + ["test"] * 12)
    drawn = parts(batch)
    assert drawn.test.tolist() == list(range(48, 60))
    assert len(drawn.valid)
    assert max(drawn.valid) < 48
    assert not owners(batch, drawn.train) & owners(batch, drawn.valid)


@pytest.mark.parametrize("name", ["split", "fold"])
def test_a_split_that_leaks_is_refused_unless_allowed(
    make_batch: Any, fit_model: FitModel, name: str
) -> None:
    """A track or artist on both sides flatters the test; allowed, the model says so ever after."""
    marks: Any = ["train", "test"] * 30 if name == "split" else [0, 1] * 30
    batch = learnable(make_batch, **{name: marks})
    options: dict[str, Any] = {"fold": 1} if name == "fold" else {}
    with pytest.raises(UsageError, match=f"the {name} leaks: 10 groups in more than one.*artist 0"):
        parts(batch, **options)
    model = fit_model(batch, "style", epochs=1, allow_leak=True, **options)
    notes = model.document["training"]["notes"]
    assert any(note.startswith("leak allowed: 10 groups in more than one") for note in notes)


def test_unknown_parts_are_refused(make_batch: Any) -> None:
    """A split named "training" would otherwise train on nothing."""
    batch = learnable(make_batch, split=["training"] * 60)
    with pytest.raises(UsageError, match="'training': expected train, valid, test or null"):
        parts(batch)
    with pytest.raises(UsageError, match="no train rows"):
        parts(learnable(make_batch, split=["test"] * 60))


def test_stratifying_needs_classes(make_batch: Any) -> None:
    """--split stratified without classes would silently be a random draw."""
    batch = learnable(make_batch)
    with pytest.raises(UsageError, match="--split stratified needs"):
        train.parts_of(batch, TrainSettings(split="stratified", test=0.2), None, 0)
    drawn = parts(batch, split="stratified", test=0.2)
    counts = [list(batch["style"][drawn.test]).count(style) for style in "abc"]
    assert counts == [4, 4, 4]


@pytest.mark.parametrize("column", ["recipe", "rendered"])
def test_copies_train_and_are_neither_validated_nor_tested_on(make_batch: Any, column: str) -> None:
    """A test on pitched copies measures something else; rendered copies are copies too."""
    base = learnable(make_batch)
    origins = [f"t{i}" for i in range(60)]
    values = {name: list(base[name]) for name in ("group", "style", "level", "tags")}
    batch = learnable(
        make_batch, 120,
        id=[*origins, *(f"{o}#pitch=+2" for o in origins)], origin=[None] * 60 + origins,
        embedding=np.concatenate([base["embedding"]] * 2),
        **{name: both * 2 for name, both in values.items()},
        **{column: [None] * 60 + ["pitch=+2"] * 60},
    )  # fmt: skip
    drawn = parts(batch, test=0.2)
    assert max(drawn.valid) < 60
    assert max(drawn.test) < 60
    assert sum(row >= 60 for row in drawn.train) == sum(row < 60 for row in drawn.train)
    sides = [{batch.origins[row] for row in rows} for rows in (drawn.train, drawn.test)]
    assert not sides[0] & sides[1]


def test_labels_of_test_rows_change_nothing_but_the_metrics(
    make_batch: Any, fit_model: FitModel
) -> None:
    """Test rows never train: with garbage for labels the same weights come out, bit for bit."""
    split = ["train"] * 42 + ["valid"] * 6 + ["test"] * 12
    batch = learnable(make_batch, split=split)
    garbage = {
        "style": [*batch["style"][:48], *["zzz", "a"] * 6],
        "level": [*batch["level"][:48], *range(1000, 1012)],
        "tags": [*batch["tags"][:48], *[["junk"]] * 12],
    }
    vectors = batch["embedding"].copy()
    vectors[48:] *= -100
    spoiled = learnable(make_batch, split=split, embedding=vectors, **garbage)
    one, two = (fit_model(b, "style", "level", "tags", epochs=5) for b in (batch, spoiled))
    assert one.tasks == two.tasks
    for name, tensor in one.parts()[1].items():
        np.testing.assert_array_equal(tensor, two.parts()[1][name])
    assert one.document["metrics"]["valid"] == two.document["metrics"]["valid"]
    assert one.document["metrics"]["test"] != two.document["metrics"]["test"]
    assert one.document["training"]["data"] != two.document["training"]["data"]


def test_the_same_command_makes_the_same_bytes(
    table: Batch, fit_model: FitModel, tmp_path: Any
) -> None:
    """A model file can be compared by its digest; another seed gives another model."""
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        fit_model(table, "style", "level", epochs=3, seed=seed).save(tmp_path / name)
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_missing_labels_are_masked(make_batch: Any, fit_model: FitModel) -> None:
    """A row that lacks one task's label still trains the other, and counts for no metric."""
    base = learnable(make_batch)
    styles = [style if i % 2 else None for i, style in enumerate(base["style"])]
    levels = [level if i % 3 else None for i, level in enumerate(base["level"])]
    batch = learnable(make_batch, style=styles, level=levels)
    model = fit_model(batch, "style", "level", test=0.2, epochs=40)
    counts = {name: m["n"] for name, m in model.document["metrics"]["test"].items()}
    assert counts == {"style": 6, "level": 8}
    assert model.tasks[0]["vocabulary"] == ["a", "b", "c"]
    # Labels that exist decide: filling the gaps of one task leaves the other's standard alone.
    full = fit_model(learnable(make_batch, level=levels), "style", "level", epochs=1, test=0.2)
    assert full.tasks[1] == model.tasks[1]


def test_three_kinds_at_once_are_learned(table: Batch, fit_model: FitModel) -> None:
    """Classes, tags and a number in one network, each better than the best constant answer."""
    model = fit_model(table, "style", "tags", "level", test=0.3, epochs=150)
    measured = model.document["metrics"]["test"]
    assert measured["style"]["accuracy"]["value"] > 0.7  # a constant: a third
    assert measured["tags"]["roc_auc_macro"]["value"] > 0.8  # a constant: a half
    assert measured["level"]["r2"]["value"] > 0.2  # a constant: zero at most
    assert model.tasks[1]["thresholds"] is not None


def test_rows_without_input_are_left_out_and_counted(make_batch: Any) -> None:
    """A row whose embedding is null must not vanish without a word."""
    base = learnable(make_batch)
    vectors = base["embedding"].copy()
    vectors[:5] = np.nan
    batch = learnable(make_batch, embedding=vectors)
    said: list[str] = []
    kept = train.collect([batch], batch.columns["embedding"], ["style"], said.append)
    assert len(kept) == 55
    assert said == ["5 rows have no embedding and are left out"]
    assert "level" not in kept
    vectors[:] = np.nan
    empty = learnable(make_batch, embedding=vectors)
    with pytest.raises(UsageError, match="none of 60 rows has a embedding"):
        train.collect([empty], empty.columns["embedding"], ["style"], said.append)
    with pytest.raises(NoRows):
        train.collect([], batch.columns["embedding"], ["style"], said.append)


def test_the_column_to_learn_from_is_chosen_or_clear(make_batch: Any) -> None:
    """Two embeddings: the message names them; no embedding: it says how to make one."""
    two = make_batch(
        embedding=np.ones((1, 2), np.float32), **{"embedding.b": np.ones((1, 2), np.float32)}
    )
    with pytest.raises(UsageError, match=r"embedding, embedding\.b: choose .* --input COLUMN"):
        train.input_column(two.columns, "", "")
    assert train.input_column(two.columns, "embedding.b", "")[0].name == "embedding.b"
    with pytest.raises(UsageError, match="make one with mt-embed"):
        train.input_column(make_batch(style=["a"]).columns, "", "")
    both = make_batch(embedding=np.ones((1, 2), np.float32), mel=np.ones((1, 2, 3), np.float32))
    assert train.input_column(both.columns, "", "cnn")[0].name == "mel"
    assert train.input_column(both.columns, "", "mlp")[0].name == "embedding"


@pytest.mark.parametrize(
    ("columns", "task", "message"),
    [
        ({"style": ["a"] * 60}, "style", "one class"),
        ({"style": [None] * 60}, "style", "unlabelled"),
        ({"level": [1.0] * 60}, "level", "differ"),
        ({"tags": [[]] * 59 + [None]}, "tags", "one tag or more"),
    ],
)
def test_labels_that_teach_nothing_are_refused(
    make_batch: Any, fit_model: FitModel, columns: Any, task: str, message: str
) -> None:
    """One class, all null, a constant: one line that says so, not a model of nothing."""
    with pytest.raises(UsageError, match=message):
        fit_model(learnable(make_batch, **columns), task)


def test_one_column_is_one_task(table: Batch, fit_model: FitModel) -> None:
    """--task style --task style:multiclass is a slip."""
    with pytest.raises(UsageError, match="stands twice"):
        fit_model(table, "style", "style:multiclass")


def test_summaries_of_features_are_features(make_batch: Any, fit_model: FitModel) -> None:
    """A model of MFCC statistics knows their settings, and so can read sound."""
    from mt_tools.features.settings import preset
    from mt_tools.tables.columns import Column

    base = learnable(make_batch)
    settings = preset("mfcc-rep").to_json()
    vectors = np.random.default_rng(0).normal(size=(60, 120)).astype(np.float32)
    batch = base.append(Column("mfcc", "vector", "feature", settings, (120,)), vectors)
    model = fit_model(batch, "style", column="mfcc", epochs=1)
    assert model.feature_settings == preset("mfcc-rep")
    assert model.input_shape == (120,)

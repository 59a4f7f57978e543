"""mt-train without its command: which rows train, and what the model says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import NoRows, UsageError
from mt_tools.learn.settings import (
    FeedSettings,
    FitSettings,
    ProtocolSettings,
    TransferSettings,
)
from mt_tools.nets.model import Model
from mt_tools.stages import inputs, train
from mt_tools.stages.job import Job, set_up
from mt_tools.stages.parts import Parts, parts_of
from mt_tools.stages.settings import Options, TrainSettings
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


def parts(batch: Batch, seed: int = 0, **options: Any) -> Parts:
    """Return the parts that mt-train would use."""
    settings = TrainSettings(task=("style",), **options)
    return parts_of(batch, settings, batch["style"], seed)


def options_of(*tasks: str) -> Options:
    """Return the options of mt-train as they are when only tasks are named."""
    return Options(
        TrainSettings(task=tasks),
        FitSettings(),
        FeedSettings(),
        TransferSettings(),
        ProtocolSettings(),
    )


def chosen(batch: Batch, column: str = "", net: str = "") -> str | None:
    """Return the name of the column that is learned from."""
    found = inputs.input_column(batch.columns, column, net)
    return None if found is None else found.name


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
        parts_of(batch, TrainSettings(split="stratified", test=0.2), None, 0)
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
    garbage: dict[str, Any] = {
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
    options = options_of("style")

    def collect(*batches: Batch) -> Batch:
        column = batch.columns["embedding"]
        return inputs.collect(batches, column, options, say=said.append).table

    kept = collect(batch)
    assert len(kept) == 55
    assert said == ["5 rows have no embedding and are left out"]
    assert "level" not in kept
    vectors[:] = np.nan
    empty = learnable(make_batch, embedding=vectors)
    with pytest.raises(UsageError, match="none of 60 rows has a embedding"):
        collect(empty)
    with pytest.raises(NoRows):
        collect()


def test_the_column_to_learn_from_is_chosen_or_clear(make_batch: Any) -> None:
    """Two embeddings: the message names them; no embedding: it says how to make one."""
    two = make_batch(
        embedding=np.ones((1, 2), np.float32), **{"embedding.b": np.ones((1, 2), np.float32)}
    )
    with pytest.raises(UsageError, match=r"embedding, embedding\.b: choose .* --input COLUMN"):
        inputs.input_column(two.columns, "", "")
    assert chosen(two, "embedding.b") == "embedding.b"
    with pytest.raises(UsageError, match="make one with mt-embed"):
        inputs.input_column(make_batch(style=["a"]).columns, "", "")
    both = make_batch(embedding=np.ones((1, 2), np.float32), mel=np.ones((1, 2, 3), np.float32))
    assert chosen(both, net="cnn") == "mel"
    assert chosen(both, net="mlp") == "embedding"
    tracks = make_batch(path=["a.wav"], style=["a"])
    assert chosen(tracks) is None  # sound is decoded


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
    from mt_tools.features.presets import preset
    from mt_tools.tables.columns import Column

    base = learnable(make_batch)
    settings = preset("mfcc-rep").to_json()
    vectors = np.random.default_rng(0).normal(size=(60, 120)).astype(np.float32)
    batch = base.append(Column("mfcc", "vector", "feature", settings, (120,)), vectors)
    model = fit_model(batch, "style", column="mfcc", epochs=1)
    assert model.feature_settings == preset("mfcc-rep")
    assert model.input_shape == (120,)


# --- protocols -----------------------------------------------------------------------------------


def tensors(model: Model) -> dict[str, np.ndarray]:
    """Return the tensors of a model by name."""
    return model.parts()[1]


def same(one: Model, two: Model) -> bool:
    """Say whether two models have the same weights, bit for bit."""
    a, b = tensors(one), tensors(two)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_repeats_are_runs_of_their_own(table: Batch, fit_model: FitModel) -> None:
    """Means over R splits: their numbers, their spread, and the model of the first of them."""
    options: dict[str, Any] = {"epochs": 5, "test": 0.2}
    single = fit_model(table, "style", "level", **options)
    model = fit_model(table, "style", "level", repeats=3, **options)
    assert same(single, model)
    repeats = model.document["metrics"]["repeats"]
    first, *others = repeats["runs"]
    assert first["test"] == single.document["metrics"]["test"]
    assert len({first["seed"], *(run["seed"] for run in others)}) == 3
    # Each is what a single training with its seed and its split is.
    again = fit_model(table, "style", "level", seed=others[0]["seed"], **options)
    assert others[0]["test"] == again.document["metrics"]["test"]
    values = [run["test"]["style"]["accuracy"]["value"] for run in repeats["runs"]]
    entry = repeats["summary"]["test"]["style"]["accuracy"]
    assert entry["values"] == values
    assert entry["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert entry["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)


def test_labels_that_are_lost_are_told_once(make_batch: Any, make_job: Any) -> None:
    """Ten rows without use would look like twenty."""
    styles = ["x"] * 6 + [["a", "b"][i % 2] for i in range(54)]
    split = ["valid"] * 6 + ["train"] * 54
    batch = learnable(make_batch, style=styles, split=split)
    assert set_up(make_job(batch, "style"), "train", 0).notes == [
        "task style: not in its vocabulary: x (6)"
    ]
    # Lists of several are lost to a task of classes for another reason.
    batch = learnable(
        make_batch, style=[[one] for one in styles[:-2]] + [["a", "b"]] * 2, split=split
    )
    assert set_up(make_job(batch, "style:multiclass"), "train", 0).notes == [
        "task style: not in its vocabulary: x (6)",
        "task style: 8 labelled rows cannot be used (multiclass)",
    ]


def test_repeats_of_a_marked_split_say_so(make_batch: Any, fit_model: FitModel) -> None:
    """Ten repeats of one split would look like ten splits."""
    batch = learnable(make_batch, split=["train"] * 42 + ["valid"] * 6 + ["test"] * 12)
    said: list[str] = []
    model = fit_model(batch, "style", repeats=2, epochs=1, say=said.append)
    assert any("differ in their weights and order alone" in note for note in said)
    losses = [
        run["test"]["style"]["log_loss"]["value"]
        for run in model.document["metrics"]["repeats"]["runs"]
    ]
    assert losses[0] != losses[1]


def test_retraining_takes_the_valid_rows_for_the_mean_of_the_best_epochs(
    table: Batch, make_job: Any
) -> None:
    """DJ's second stage: no row is left to stop by, and the number of epochs is the mean."""
    outcome = train.run(
        make_job(table, "style", test=0.2, repeats=3, retrain=True, epochs=12, patience=2), []
    )
    first, again = outcome.curves[:3], outcome.curves[3:]
    assert [run for run, _ in first] == ["repeat-1", "repeat-2", "repeat-3"]
    assert [run for run, _ in again] == [f"retrain-repeat-{n}" for n in (1, 2, 3)]
    best = []
    for _, records in first:
        losses = [r.value for r in records if (r.task, r.split, r.metric) == ("", "valid", "loss")]
        best.append(int(np.argmin(losses)) + 1)
    assert outcome.history.updates > 0
    assert outcome.history.best_epoch == int(np.mean(best) + 0.5)
    assert not any(r.split == "valid" for _, records in again for r in records)
    rows = outcome.model.document["training"]["rows"]
    assert (rows["valid"], rows["train"] + rows["test"]) == (0, 60)
    assert outcome.model.document["metrics"]["valid"]  # from before, and it says on how many rows
    with pytest.raises(UsageError, match="--retrain takes the best epochs from valid rows"):
        train.run(make_job(table, "style", retrain=True, valid=0.0), [])


def test_thresholds_survive_retraining(table: Batch, fit_model: FitModel) -> None:
    """Without valid rows nothing calibrates tags, and all would be cut at nothing."""
    model = fit_model(table, "tags", retrain=True, epochs=3, test=0.2)
    assert model.tasks[0]["thresholds"] is not None


def test_gain_by_company_is_against_the_same_training_alone(
    table: Batch, fit_model: FitModel
) -> None:
    """--baseline compares with what a training of one task reaches, on the same rows."""
    options: dict[str, Any] = {"epochs": 6, "test": 0.2}
    model = fit_model(table, "style", "level", baseline=True, **options)
    found = model.document["metrics"]["baseline"]["test"]
    for task, metric in (("style", "accuracy"), ("level", "mae")):
        alone = fit_model(table, task, **options).document["metrics"]["test"][task][metric]
        together = model.document["metrics"]["test"][task][metric]
        entry = found[task][metric]
        assert entry["alone"] == alone["value"]
        assert entry["together"] == together["value"]
        assert entry["difference"] == pytest.approx(together["value"] - alone["value"], abs=1e-6)
        assert entry["gain"] == (1 if metric == "accuracy" else -1) * entry["difference"]
    assert same(model, fit_model(table, "style", "level", **options))
    with pytest.raises(UsageError, match="name more than one"):
        fit_model(table, "style", baseline=True, **options)


def curve(job: Job, run: str = "train") -> list[Any]:
    """Return the points of one run of a training, which tell its first weights and its length."""
    return dict(train.run(job, []).curves)[run]


def test_a_task_alone_is_trained_for_as_long_as_is_best_for_it(table: Batch, make_job: Any) -> None:
    """--retrain --baseline would fit each task for the epochs of the others, and call it a gain."""
    options: dict[str, Any] = {
        "epochs": 12, "patience": 2, "test": 0.2, "repeats": 2, "retrain": True,
    }  # fmt: skip
    together = train.run(make_job(table, "style", "level", baseline=True, **options), [])
    curves = dict(together.curves)
    for task in ("style", "level"):
        alone = train.run(make_job(table, task, **options), [])
        for run, points in alone.curves:
            again, _, which = run.rpartition("repeat-")
            assert curves[f"{again}{task}-alone-repeat-{which}"] == points
    lengths = {run: points[-1].epoch for run, points in curves.items() if "retrain" in run}
    assert len(set(lengths.values())) > 1


def test_a_task_alone_begins_with_its_part_of_the_models(
    table: Batch, make_job: Any, fit_model: FitModel, tmp_path: Any
) -> None:
    """A map of another task's layers would be dropped, and its model be copied by name instead."""
    two: dict[str, Any] = {"param": ("hidden=8,4",), "epochs": 2}
    for alias, task in (("A", "style"), ("B", "level")):
        fit_model(table, task, seed=7, **two).save(tmp_path / f"{alias}.safetensors")
    a, b = (f"{alias}={tmp_path / alias}.safetensors" for alias in "AB")
    first = "A:shared.dense1->shared.dense1"
    style = "A:shared.dense2->branches.style.dense2"
    level = "B:shared.dense2->branches.level.dense2"
    half: dict[str, Any] = {"share": ("block:1",), **two}
    job = make_job(
        table, "style", "level", init=(a, b), map=(first, style, level), baseline=True, **half
    )
    curves = dict(train.run(job, []).curves)
    alone = make_job(table, "style", init=(a,), map=(first, style), **half)
    assert curves["style-alone-train"] == curve(alone)
    alone = make_job(table, "level", init=(a, b), map=(first, level), **half)
    assert curves["level-alone-train"] == curve(alone)
    # A branch from each: nothing of the other's model is left.
    maps = [
        f"{alias}:shared.*->branches.{task}.*" for alias, task in (("A", "style"), ("B", "level"))
    ]
    none: dict[str, Any] = {"share": ("none",), **two}
    job = make_job(table, "style", "level", init=(a, b), map=tuple(maps), baseline=True, **none)
    curves = dict(train.run(job, []).curves)
    for task, init, text in (("style", a, maps[0]), ("level", b, maps[1])):
        alone = make_job(table, task, init=(init,), map=(text,), **none)
        assert curves[f"{task}-alone-train"] == curve(alone)


@pytest.mark.parametrize(
    ("share", "options", "task", "alone"),
    [
        ("none", {"freeze": ("branches.style2.dense1",)}, "style2", "branches.style2.dense1"),
        ("none", {"freeze": ("branches.style2.dense1",)}, "style", ""),
        ("none", {"freeze": ("*.style2.dense*",)}, "style", ""),
        ("block:1:style+level", {"freeze": ("*+level.dense1",)}, "style", "branches.style.dense1"),
        ("block:1:style+level", {"freeze": ("branches.style+level.*",)}, "style2", ""),
        ("block:1:style+level+style2", {"freeze": ("shared.*",)}, "level", "branches.level.dense1"),
        ("none", {"freeze": ("branches.level.dense1.0.bias",)}, "level",
         "branches.level.dense1.0.bias"),
        ("none", {"lr_scale": ("branches.style2.*=0.1",)}, "style", ""),
        ("none", {"lr_step": ("branches.style2.*=2",), "schedule": "step"}, "style", ""),
    ],
)  # fmt: skip
def test_a_task_alone_learns_as_fast_as_its_layers_do(
    make_batch: Any, make_job: Any, share: str, options: Any, task: str, alone: str
) -> None:
    """A name that begins like another's, or a group's, would freeze nothing, or end the run."""
    batch = learnable(make_batch, style2=["x", "y"] * 30)
    small: dict[str, Any] = {"epochs": 2, "param": ("hidden=8,4",)}
    job = make_job(
        batch, "style", "level", "style2", share=(share,), baseline=True, **options, **small
    )
    train.planned(job)
    other = make_job(batch, task, share=("none",), freeze=(alone,) if alone else (), **small)
    assert curve(job, f"{task}-alone-train") == curve(other)


def test_what_a_task_cannot_do_alone_is_told_before_all_is_trained(
    table: Batch, make_job: Any
) -> None:
    """The slip would be told after the fit of all tasks, hours later, and pass a dry run."""
    seen: list[str] = []
    job = make_job(
        table, "style", "level", share=("none",), baseline=True, epochs=1,
        freeze=("branches.level.*", "heads.level"), observe=lambda run, _: seen.append(run),
    )  # fmt: skip
    for do in (lambda: train.planned(job), lambda: train.run(job, [])):
        with pytest.raises(UsageError, match="--baseline, level alone: everything is frozen"):
            do()
    with pytest.raises(UsageError, match="name more than one"):
        train.run(
            dataclasses.replace(make_job(table, "style", baseline=True), observe=job.observe), []
        )
    assert not seen


def test_a_column_may_have_a_slash_in_its_name(
    make_batch: Any, make_job: Any, tmp_path: Any
) -> None:
    """The checkpoint of its fit would be looked for in a folder that does not exist."""
    batch = learnable(make_batch, **{"key/mode": ["x", "y"] * 30})
    options: dict[str, Any] = {"epochs": 2, "baseline": True, "checkpoint_every": 1}
    job = make_job(batch, "style", "key/mode", checkpoints=tmp_path / "c", **options)
    assert len(train.run(job, []).curves) == 3
    assert (tmp_path / "c" / "key%2Fmode-alone-train.done").exists()


@pytest.mark.parametrize("retrain", [False, True])
def test_a_job_of_many_fits_goes_on_after_a_kill(
    table: Batch, make_job: Any, tmp_path: Any, retrain: bool
) -> None:
    """A kill in the third fit of many would lose the first two, or end in other weights."""
    options: dict[str, Any] = {
        "epochs": 3, "test": 0.2, "repeats": 2, "baseline": True, "checkpoint_every": 3,
        "retrain": retrain,
    }  # fmt: skip
    whole = train.run(make_job(table, "style", "level", **options), [])
    killed = 6 if retrain else 4
    seen: list[str] = []

    class Killed(Exception):
        """The machine goes down."""

    def observe(run: str, record: Any) -> None:
        seen.append(run)
        if len(set(seen)) == killed and record.step >= 4:
            raise Killed

    folder = tmp_path / "m.checkpoint"
    with pytest.raises(Killed):
        train.run(
            make_job(table, "style", "level", observe=observe, checkpoints=folder, **options), []
        )
    seen.clear()
    told: dict[str, list[Any]] = {}
    again = train.run(
        make_job(
            table, "style", "level", checkpoints=folder, resume=True,
            observe=lambda run, point: (seen.append(run), told.setdefault(run, []).append(point)),
            recall=lambda run, points: told.setdefault(run, []).extend(points), **options,
        ), [],
    )  # fmt: skip
    # Those that were done are read, and who is told of the curves misses none of their points.
    assert len(set(seen)) == len(whole.curves) - (killed - 1)
    assert list(told.items()) == whole.curves
    assert same(whole.model, again.model)
    assert again.model.document["metrics"] == whole.model.document["metrics"]
    assert [(run, len(points)) for run, points in again.curves] == [
        (run, len(points)) for run, points in whole.curves
    ]


# --- tasks, sharing, transfer --------------------------------------------------------------------


def test_vocabularies_are_those_of_the_file(
    table: Batch, fit_model: FitModel, tmp_path: Any
) -> None:
    """A label order that is fixed by hand must be that of the outputs."""
    path = tmp_path / "styles.txt"
    path.write_text("c\n\na\nb\nz\n")
    model = fit_model(table, "style", vocab=(f"style={path}",), epochs=1)
    assert model.tasks[0]["vocabulary"] == ["c", "a", "b", "z"]
    for text, said in (
        (f"stile={path}", "did you mean style"),
        ("style=none.txt", "No such file"),
        ("style", "expected TASK=FILE"),
    ):
        with pytest.raises(UsageError, match=said):
            fit_model(table, "style", vocab=(text,))


@pytest.mark.parametrize("scale", ["standard", "minmax", "raw"])
def test_numbers_come_back_in_their_own_units(
    make_batch: Any, fit_model: FitModel, scale: str
) -> None:
    """A model of scaled targets would predict numbers between 0 and 1."""
    batch = learnable(make_batch, split=["train"] * 42 + ["test"] * 18)
    plain = ("hidden=16", "dropout=0", "batch_norm=false")
    model = fit_model(
        batch, "level", target_scale=scale, param=plain, epochs=60, learning_rate=0.01, valid=0.0
    )
    level, task = batch["level"][:42], model.tasks[0]
    expected = {"standard": (level.mean(), level.std()), "raw": (0, 1),
                "minmax": (level.min(), np.ptp(level))}[scale]  # fmt: skip
    assert (task["mean"], task["std"]) == pytest.approx(expected, abs=1e-6)
    measured = model.document["metrics"]["test"]["level"]
    # The level is a column of the input; a number of another scale would miss by far.
    assert measured["r2"]["value"] > 0.8


def test_what_stays_as_it_was_and_what_moves(
    table: Batch, fit_model: FitModel, tmp_path: Any
) -> None:
    """Black box: the copied layers must end bit-equal; fine-tuned: they must have moved."""
    fit_model(table, "level", epochs=4).save(tmp_path / "source.safetensors")
    source = tensors(Model.load(tmp_path / "source.safetensors"))
    init: dict[str, Any] = {"init": (str(tmp_path / "source.safetensors"),), "epochs": 4}
    frozen = fit_model(table, "style", freeze=("shared.*",), **init)
    tuned = fit_model(table, "style", **init)
    shared = [name for name in source if name.startswith("shared.")]
    assert shared
    for name in shared:
        np.testing.assert_array_equal(tensors(frozen)[name], source[name])
    weight = next(name for name in shared if name.endswith("dense1.0.weight"))
    assert not np.array_equal(tensors(tuned)[weight], source[weight])
    notes = frozen.document["training"]["notes"]
    assert any(note.startswith("source: shared.dense1 -> shared.dense1") for note in notes)


def test_selected_columns_are_found_in_the_train_rows(make_batch: Any, fit_model: FitModel) -> None:
    """Feature selection that sees the test rows flatters them."""
    split = ["train"] * 42 + ["valid"] * 6 + ["test"] * 12
    batch = learnable(make_batch, split=split)
    spoiled = batch["embedding"].copy()
    spoiled[42:, :2] = 1000 * np.random.default_rng(0).normal(size=(18, 2))
    spoiled[42:, 2:] += 99 * np.array([s == "a" for s in batch["style"][42:]])[:, None]
    chosen = []
    for vectors in (batch["embedding"], spoiled):
        model = fit_model(
            learnable(make_batch, split=split, embedding=vectors), "style", select="f:2", epochs=1
        )
        chosen.append(tensors(model)["shared.select.columns"].tolist())
    assert chosen[0] == chosen[1] == [0, 1]  # those that the labels were put into


def test_pairs_are_learned_beside_labels_and_predict_nothing(
    make_batch: Any, fit_model: FitModel
) -> None:
    """The REP study's "self" beside a label; mt-tag leaves it out."""
    from mt_tools.features.presets import preset
    from mt_tools.tables.columns import Column

    rng = np.random.default_rng(0)
    settings = preset("choi2016").to_json()
    mels = rng.normal(size=(60, 8, 40)).astype(np.float32)
    base = learnable(make_batch)
    batch = base.append(Column("mel", "tensor", "feature", settings, (8, 40)), mels)
    model = fit_model(
        batch, "style", "origin:same-track", column="mel", net="cnn", param=("channels=4,4",),
        epochs=1, crop=0.3,
    )  # fmt: skip
    measured = model.document["metrics"]["valid"]
    assert 0 <= measured["origin"]["accuracy"]["value"] <= 1
    assert set(model.logits(np.zeros((1, *model.input_shape), np.float32))) == {"style"}
    assert model.document["input"]["settings"]["excerpt"] == "segment:0.3"


# --- the plan ------------------------------------------------------------------------------------


def test_the_plan_counts_what_the_studies_count(make_batch: Any, make_job: Any) -> None:
    """--dry-run would say another size than the DJ study's Table 6.5: 165,739 for five branches."""
    rng = np.random.default_rng(0)
    rows = 60
    labels: dict[str, Any] = {
        "genre": [f"g{i % 6}" for i in range(rows)],
        "subgenre": [f"s{i % 23}" for i in range(rows)],
        "intro": [f"i{i % 5}" for i in range(rows)],
        "situation": [[f"t{i % 8}"] for i in range(rows)],
        "energy": rng.normal(size=rows),
    }
    batch = make_batch(embedding=rng.normal(size=(rows, 480)).astype(np.float32), **labels)
    job = make_job(
        batch, *labels, param=("hidden=64,32", "batch_norm=false"), share=("none",), valid=0.25,
        batch_size=8, epochs=3,
    )  # fmt: skip
    plan = train.planned(job)
    assert plan["parameters"]["trainable"] == 165_739
    assert plan["input"] == [480]
    shapes = {layer["name"]: layer["output"] for layer in plan["layers"]}
    assert shapes["branches.genre.dense1"] == [64]
    assert shapes["heads.subgenre"] == [23]
    train_rows = plan["rows"]["train"]
    assert plan["updates"]["epoch"] == train_rows // 8 + (train_rows % 8 > 1)
    assert plan["updates"]["most"] == 3 * plan["updates"]["epoch"]
    tasks = {task["name"]: task for task in plan["tasks"]}
    genres = [labels["genre"][row] for row in set_up(job, "train", 0).parts.train]
    shares = np.array([genres.count(genre) for genre in set(genres)]) / len(genres)
    entropy = -(shares * np.log(shares)).sum()
    assert tasks["genre"]["constant_loss"] == pytest.approx(entropy, abs=1e-6)
    assert tasks["genre"]["labelled"]["train"] == train_rows


def test_parameters_are_matched_to_a_total(make_batch: Any, make_job: Any) -> None:
    """AGF's widened control would not be of the size of what it is compared with."""
    mels = np.random.default_rng(0).normal(size=(60, 128, 43)).astype(np.float32)
    base = learnable(make_batch)
    batch = make_batch(mel=mels, style=list(base["style"]), group=list(base["group"]))
    job = make_job(batch, "style", column="mel", net="cnn-agf", param=(), match_parameters=300_000)
    trainable = train.planned(job)["parameters"]["trainable"]
    assert trainable == pytest.approx(300_000, rel=0.01)


def test_weights_of_another_network_are_refused(make_batch: Any, make_job: Any) -> None:
    """--net mlp.NAME would begin with nothing, or with noise."""
    with pytest.raises(UsageError, match="unknown model 'crnn-msdd': did you mean crnn-msd"):
        make_job(learnable(make_batch), "style", net="mlp.crnn-msdd")


def test_a_table_larger_than_memory_is_read_where_it_lies(
    make_batch: Any, make_job: Any, tmp_path: Any
) -> None:
    """The labels would stand beside other rows' features, or everything be read at once."""
    from mt_tools.learn.feeds import ShardFeed
    from mt_tools.tables.sink import to_file
    from mt_tools.tables.source import Source, open_table

    mels = np.random.default_rng(0).normal(size=(60, 8, 40)).astype(np.float32)
    base = learnable(make_batch)
    batch = make_batch(mel=mels, style=list(base["style"]), group=list(base["group"]))
    paths = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    for path, part in zip(paths, (range(40), range(40, 60)), strict=True):
        writer = to_file(path, None)([])
        writer.write(batch.take(part))
        writer.finish(len(part), 0)
    source = Source([open_table(path) for path in paths])
    examples = inputs.from_table(
        source, iter, paths, source.columns["mel"], options_of("style"), arch="cnn", limit=1000,
        say=lambda note: None,
    )  # fmt: skip
    assert isinstance(examples.feed, ShardFeed)
    rows = np.array([3, 41, 59])
    ((chosen, x),) = examples.feed.read(rows, 8)
    np.testing.assert_array_equal(x.numpy(), mels[chosen])
    assert [examples.table.ids[row] for row in chosen] == [f"t{row}" for row in rows]
    assert examples.table["style"].tolist() == list(base["style"])

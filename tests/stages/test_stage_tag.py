"""mt-tag without its command: tracks, features and embeddings give the same scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import SettingsMismatch, UsageError
from mt_tools.features.presets import preset
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.body import Head
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model
from mt_tools.nets.weights import resolve
from mt_tools.stages import embed, spec, tag
from mt_tools.stages.score import scored
from mt_tools.stages.settings import TagSettings, settled
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tables.source import Source, open_table
from mt_tools.tasks.kinds import head as task_head
from mt_tools.tasks.kinds import make_task

FEATURES = FeatureSettings(
    sample_rate=8000, n_fft=512, hop=256, bands=24, scale="log", excerpt="segment:0.7"
)
TASKS = ("style", "instruments", "tempo")


def fail(row: dict[str, Any], error: Exception) -> None:
    """Take no failed row."""
    pytest.fail(f"{row['id']}: {error}")


@pytest.fixture(scope="module")
def rows(corpus: Path) -> Batch:
    """All tracks of the made corpus."""
    return concatenate(list(Source([open_table(str(corpus / "tracks.parquet"))])))


@pytest.fixture(scope="module")
def mels(rows: Batch, corpus: Path) -> Batch:
    """The tracks' segments with features."""
    made = spec.run(
        [rows],
        FEATURES,
        name="mel",
        storage=spec.Storage(),
        folders=[str(corpus)],
        jobs=0,
        fail=fail,
    )
    return concatenate(list(made))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an untrained network on segments."""
    net = build_multitask("cnn", {"channels": [8, 8], "dropout": 0.0}, (24, 22), {}, seed=3)
    net.eval()
    source = {"kind": "feature", "settings": FEATURES.to_json(), "shape": [24, 22]}
    parameters = {"channels": [8, 8], "dropout": 0.0}
    model = Model.create(net, name="small", arch="cnn", parameters=parameters, input=source)
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    model.save(path)
    return path


def embedded(mels: Batch, path: Path, how: str, *others: Path) -> Batch:
    """Return the embeddings of features by the model in a file, and by `others` beside it."""
    paths = [str(path), *map(str, others)]
    one = embed.Made("embedding", tuple(paths), tuple(resolve(name) for name in paths))
    way = embed.Way(pool=how, batch_size=16)
    made = embed.run([mels], mels.columns, [one], way, fail)
    return concatenate(list(made))


def tagged(
    batch: Batch,
    model: Model,
    corpus: Path,
    *,
    prefix: str = "",
    fail: Callable[..., None] = fail,
    way: dict[str, Any] | None = None,
    **options: Any,
) -> Batch:
    """Tag in this process; return all rows as one batch."""
    settings = TagSettings(model=(f"{prefix.removesuffix('.')}=m" if prefix else "m",), **options)
    models = tag.taggers(settings, lambda name: model, lambda note: None)
    how = tag.Way(**{"batch_size": 16, "folders": [str(corpus)], **(way or {})})
    return concatenate(list(tag.run([batch], batch.columns, models, settings, how, fail)))


def same(one: Batch, other: Batch) -> None:
    """Compare ids and scores."""
    assert one.ids.tolist() == other.ids.tolist()
    for name in ("style_score", "instruments_score", "tempo_pred"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-5)
    assert one["style_pred"].tolist() == other["style_pred"].tolist()


@pytest.mark.parametrize("how", ["mean+std", "concat:2", "none"])
def test_tracks_features_and_embeddings_are_tagged_alike(
    rows: Batch,
    mels: Batch,
    backbone: Path,
    corpus: Path,
    fit_model: Callable[..., Model],
    how: str,
) -> None:
    """A model of pooled or single segments gives a track one answer, wherever it starts from."""
    vectors = embedded(mels, backbone, how)
    model = fit_model(vectors, *TASKS, epochs=3)
    tracks = rows.take(range(6))
    ids = tracks.ids
    from_tracks = tagged(tracks, model, corpus)
    assert from_tracks.ids.tolist() == ids.tolist()
    for table in (mels, vectors):
        mine = table.take([i for i, origin in enumerate(table.origins) if origin in ids])
        same(tagged(mine, model, corpus), from_tracks)


@pytest.mark.parametrize("how", ["mean+std", "none"])
def test_a_head_on_several_models_hears_tracks(
    rows: Batch,
    mels: Batch,
    backbone: Path,
    corpus: Path,
    fit_model: Callable[..., Model],
    tmp_path: Path,
    how: str,
) -> None:
    """MSS-CR: what was trained on two networks' vectors side by side could tag no folder."""
    other = resolve(str(backbone))
    other.net.load_state_dict({k: v * 1.5 for k, v in other.net.state_dict().items()})
    other.save(tmp_path / "other.safetensors")
    vectors = embedded(mels, backbone, how, tmp_path / "other.safetensors")
    notes: list[str] = []
    model = fit_model(vectors, *TASKS, epochs=3, say=notes.append)
    assert not [note for note in notes if "such columns only" in note]
    model.save(tmp_path / "head.safetensors")
    model = resolve(str(tmp_path / "head.safetensors"))
    tracks = rows.take(range(4))
    mine = vectors.take([i for i, origin in enumerate(vectors.origins) if origin in tracks.ids])
    same(tagged(mine, model, corpus), tagged(tracks, model, corpus))


def test_scores_of_the_segments_are_averaged(
    rows: Batch, mels: Batch, corpus: Path, fit_model: Callable[..., Model]
) -> None:
    """AGF and SEQ average the segments' probabilities: so does a network on features here."""
    model = fit_model(mels, *TASKS, column="mel", epochs=1, param=("channels=8,8",))
    first = [i for i, origin in enumerate(mels.origins) if origin == rows.ids[0]]
    assert len(first) == 4
    whole = tagged(rows.take([0]), model, corpus)
    alone = [tagged(mels.take([i]), model, corpus) for i in first]
    for name in ("style_score", "tempo_pred"):
        expected = np.mean([batch[name][0] for batch in alone], axis=0)
        np.testing.assert_allclose(whole[name][0], expected, rtol=1e-5, atol=1e-5)
    same(tagged(mels.take(first), model, corpus), whole)


def test_a_model_carries_what_made_its_embeddings(
    rows: Batch, mels: Batch, backbone: Path, corpus: Path, tmp_path: Path,
    fit_model: Callable[..., Model],
) -> None:  # fmt: skip
    """A model file sent to a colleague tags sound there, where the backbone's file is not."""
    model = fit_model(embedded(mels, backbone, "mean+std"), *TASKS, epochs=2)
    model.save(tmp_path / "mine.safetensors")
    again = resolve(str(tmp_path / "mine.safetensors"))
    assert again.backbone is not None
    same(tagged(rows.take([0, 1]), again, corpus), tagged(rows.take([0, 1]), model, corpus))


def test_a_trained_model_makes_embeddings_too(
    rows: Batch, mels: Batch, backbone: Path, corpus: Path, fit_model: Callable[..., Model]
) -> None:
    """A model of mt-train is an embedder: from tracks, features or the embeddings it stands on."""
    vectors = embedded(mels, backbone, "mean+std")
    model = fit_model(vectors, "style", epochs=2)
    mine = [embed.Made("mine", ("m",), (model,))]
    way = embed.Way(folders=[str(corpus)], batch_size=16)
    ids = rows.ids[:3]
    found = []
    for table in (rows, mels, vectors):
        part = table.take([i for i, origin in enumerate(table.origins) if origin in ids])
        made = concatenate(list(embed.run([part], part.columns, mine, way, fail)))
        assert made.ids.tolist() == ids.tolist()
        found.append(made["mine"])
    assert found[0].shape == (3, model.width)
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    np.testing.assert_allclose(found[2], found[0], atol=1e-5)
    with pytest.raises(UsageError, match=r"pools segments by mean\+std itself"):
        list(embed.run([rows], rows.columns, mine, dataclasses.replace(way, pool="mean"), fail))


def test_predictions_are_not_overwritten(
    make_batch: Any, corpus: Path, fit_model: Callable[..., Model]
) -> None:
    """A second model's tags must not silently replace the first one's: an alias keeps both."""
    rng = np.random.default_rng(0)
    batch = make_batch(embedding=rng.normal(size=(20, 4)).astype(np.float32), style=["a", "b"] * 10)
    model = fit_model(batch, "style", epochs=1)
    once = tagged(batch, model, corpus)
    again = once.append(batch.columns["embedding"], batch["embedding"])
    with pytest.raises(UsageError, match=r"'style_pred': .*--model ALIAS=FILE"):
        tagged(again, model, corpus)
    both = tagged(again, model, corpus, prefix="b.")
    assert both["b.style_pred"].tolist() == both["style_pred"].tolist()
    assert {"style_score", "b.style_score"} <= set(both.names)


def test_embeddings_of_another_model_are_refused(
    make_batch: Any, corpus: Path, fit_model: Callable[..., Model]
) -> None:
    """Vectors of another network fit in shape and mean nothing."""
    vectors = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    batch = make_batch(
        {"digest": "one", "pooling": "none"}, embedding=vectors, style=["a", "b"] * 10
    )
    model = fit_model(batch, "style", epochs=1)
    assert len(tagged(batch, model, corpus)) == 20
    other = make_batch({"digest": "two", "pooling": "none"}, embedding=vectors)
    with pytest.raises(SettingsMismatch, match="embed the tracks with the same model"):
        tagged(other, model, corpus)


def test_a_row_without_embedding_is_reported(
    make_batch: Any, corpus: Path, fit_model: Callable[..., Model], failures: Any
) -> None:
    """A null embedding is a failed row, not a row of nulls among the results."""
    vectors = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    batch = make_batch(embedding=vectors, style=["a", "b"] * 10)
    model = fit_model(batch, "style", epochs=1)
    vectors[3] = np.nan
    made = tagged(make_batch(embedding=vectors), model, corpus, fail=failures)
    assert len(made) == 19
    assert failures == [("t3", "missing")]


def test_top_and_scores(rows: Batch, corpus: Path, mels: Batch, fit_model: Any) -> None:
    """--top bounds the tags, --no-scores leaves the vectors out; vocabularies stay in order."""
    model = fit_model(
        mels, "instruments", column="mel", epochs=1, param=("channels=8,8",), valid=0.0
    )
    track = rows.take([0])
    made = tagged(track, model, corpus, top=2)
    assert len(made["instruments_pred"][0]) == 2
    vocabulary = made.columns["instruments_score"].settings["vocabulary"]
    assert vocabulary == sorted({tag for tags in rows["instruments"] for tag in tags})
    best = np.argsort(-made["instruments_score"][0])[:2]
    assert made["instruments_pred"][0] == [vocabulary[i] for i in best]
    assert "instruments_score" not in tagged(track, model, corpus, scores=False)


def test_an_embedder_cannot_tag(make_batch: Any, corpus: Path) -> None:
    """mfcc-stats has no tasks: one line says so."""
    with pytest.raises(UsageError, match="has no tasks"):
        tagged(make_batch(path=["x"]), resolve("mfcc-stats"), corpus)


def test_every_kind_of_task_is_written(make_batch: Any, corpus: Path) -> None:
    """Ordered classes and distributions are words with their scores; a task of pairs is no tag."""
    n = 24
    rng = np.random.default_rng(0)
    mixes = rng.dirichlet(np.ones(3), size=n).astype(np.float32)
    values: dict[str, tuple[str, np.ndarray]] = {
        "energy": ("ordinal", np.array([1.0, 2.0, 3.0] * 8)),
        "topics": ("distribution", mixes),
        "tempo": ("regression", np.linspace(90, 140, n)),
        "piece": ("same-track", np.array([f"p{i % 8}" for i in range(n)], dtype=object)),
    }
    train = np.ones(n, dtype=bool)
    tasks = [make_task(name, kind, column, train) for name, (kind, column) in values.items()]
    heads = {task["name"]: Head(**task_head(task)) for task in tasks}
    net = build_multitask("mlp", {"hidden": [8]}, (4,), heads, seed=0)
    net.eval()
    source = {"kind": "embedding", "settings": {}, "width": 4}
    model = Model.create(
        net, name="m", arch="mlp", parameters={"hidden": [8]}, input=source, tasks=tasks
    )
    vectors = rng.normal(size=(5, 4)).astype(np.float32)
    made = tagged(make_batch(embedding=vectors), model, corpus)
    assert made.names == [
        "id", "energy_pred", "energy_score", "topics_pred", "topics_score", "tempo_pred",
    ]  # fmt: skip
    logits = model.logits(vectors)
    for name in ("energy", "topics"):
        column = made.columns[f"{name}_score"]
        assert len(column.settings["vocabulary"]) == 3
        assert set(made[f"{name}_pred"]) <= set(column.settings["vocabulary"])
        np.testing.assert_allclose(made[f"{name}_score"].sum(axis=1), 1, atol=1e-5)
    power = np.exp(logits["topics"])
    np.testing.assert_allclose(
        made["topics_score"], power / power.sum(axis=1, keepdims=True), atol=1e-5
    )
    # CORN: P(y > 1) = s1, P(y > 2) = s1 s2.
    s1, s2 = (1 / (1 + np.exp(-logits["energy"]))).T
    np.testing.assert_allclose(
        made["energy_score"], np.stack([1 - s1, s1 - s1 * s2, s1 * s2], axis=1), atol=1e-5
    )
    assert made["tempo_pred"].dtype == np.float64


def test_predictions_are_scored_by_the_kind_of_their_task(make_batch: Any, corpus: Path) -> None:
    """Grades would be scored as the numbers or classes that they are written as."""
    n = 24
    rng = np.random.default_rng(0)
    tags = np.empty(n, dtype=object)
    tags[:] = [["x"], ["y"], ["x", "y"], []] * 6
    values: dict[str, tuple[str, np.ndarray]] = {
        "style": ("multiclass", np.array(["a", "b"] * 12, dtype=object)),
        "tags": ("multilabel", tags),
        "grade": ("ordinal", np.array([1.0, 2.0, 3.0] * 8)),
        "level": ("ordinal", np.array(["low", "mid", "high"] * 8, dtype=object)),
        "tempo": ("regression", np.linspace(90, 140, n)),
        "topics": ("distribution", rng.dirichlet(np.ones(3), size=n).astype(np.float32)),
    }  # fmt: skip
    train = np.ones(n, dtype=bool)
    words = {"level": ["low", "mid", "high"]}
    tasks = [
        make_task(name, kind, column, train, vocabulary=words.get(name))
        for name, (kind, column) in values.items()
    ]
    heads = {task["name"]: Head(**task_head(task)) for task in tasks}
    net = build_multitask("mlp", {"hidden": [8]}, (4,), heads, seed=0)
    net.eval()
    source = {"kind": "embedding", "settings": {}, "width": 4}
    model = Model.create(
        net, name="m", arch="mlp", parameters={"hidden": [8]}, input=source, tasks=tasks
    )
    labels = {name: column for name, (_, column) in values.items()}
    vectors = rng.normal(size=(n, 4)).astype(np.float32)
    made = tagged(make_batch(embedding=vectors, **labels), model, corpus)
    assert {
        name: made.columns[f"{name}_pred"].settings["kind"] for name in values
    } == {name: kind for name, (kind, _) in values.items()}  # fmt: skip
    rows, _ = scored([made], made.columns, [], [], seed=0)
    found: dict[str, set[str]] = {}
    for task, metric in zip(rows["task"], rows["metric"], strict=True):
        found.setdefault(task, set()).add(metric)
    expected = {
        "multiclass": "balanced_accuracy", "multilabel": "roc_auc_macro",
        "ordinal": "quadratic_kappa", "regression": "rmse", "distribution": "kl",
    }  # fmt: skip
    assert found.keys() == values.keys()
    for name, (kind, _) in values.items():
        mine = {k for k, metric in expected.items() if metric in found[name]}
        assert mine == {kind}, name


def test_a_model_of_pairs_alone_cannot_tag(make_batch: Any, corpus: Path) -> None:
    """A network that only says whether two crops are of one track has no tag for one."""
    pieces = np.array(["a", "a", "b", "b"], dtype=object)
    task = make_task("piece", "same-track", pieces, np.ones(4, dtype=bool))
    heads = {"piece": Head(**task_head(task))}
    net = build_multitask("mlp", {"hidden": [8]}, (4,), heads, seed=0)
    source = {"kind": "embedding", "settings": {}, "width": 4}
    model = Model.create(
        net, name="m", arch="mlp", parameters={"hidden": [8]}, input=source, tasks=[task]
    )
    with pytest.raises(UsageError, match="compares pairs"):
        tagged(make_batch(embedding=np.zeros((2, 4), np.float32)), model, corpus)


def test_songs_are_tagged_whole(rows: Batch, mels: Batch, corpus: Path) -> None:
    """A network of songs of any length gets all parts of a track, from tracks as from features."""
    tasks = [make_task("tempo", "regression", np.arange(4.0), np.ones(4, dtype=bool))]
    parameters = {"units": 6, "hidden": 5}
    net = build_multitask("mfcc-lstm-seq", parameters, (24, 22), {"tempo": Head(1)}, seed=0)
    net.eval()
    source = {"kind": "feature", "settings": FEATURES.to_json(), "shape": [24, 22]}
    model = Model.create(
        net, name="songs", arch="mfcc-lstm-seq", parameters=parameters, input=source, tasks=tasks
    )
    tracks = rows.take(range(3))
    found = tagged(tracks, model, corpus)
    assert found.ids.tolist() == tracks.ids.tolist()
    mine = mels.take([i for i, origin in enumerate(mels.origins) if origin in tracks.ids])
    parts = mine["mel"].reshape(3, 4, 24, 22)
    expected = model.logits(parts)["tempo"][:, 0] * tasks[0]["std"] + tasks[0]["mean"]
    np.testing.assert_allclose(found["tempo_pred"], expected, rtol=1e-4)
    from_features = tagged(mine, model, corpus)
    assert from_features.ids.tolist() == tracks.ids.tolist()
    np.testing.assert_allclose(from_features["tempo_pred"], expected, rtol=1e-4)


# --- several models ------------------------------------------------------------------------------


def small(settings: FeatureSettings, shape: tuple[int, int], seed: int, arch: str = "cnn") -> Model:
    """Return an untrained network on features with tasks of two kinds."""
    values: dict[str, tuple[str, np.ndarray]] = {
        "style": ("multiclass", np.array(["a", "b", "c"] * 4, dtype=object)),
        "tempo": ("regression", np.linspace(90, 140, 12)),
    }
    tasks = [make_task(name, kind, v, np.ones(12, bool)) for name, (kind, v) in values.items()]
    heads = {task["name"]: Head(**task_head(task)) for task in tasks}
    parameters = {"channels": [8, 8], "dropout": 0.0} if arch == "cnn" else {}
    net = build_multitask(arch, parameters, shape, heads, seed=seed)
    net.eval()
    source = {"kind": "feature", "settings": settings.to_json(), "shape": list(shape)}
    return Model.create(
        net, name=f"net {seed}", arch=arch, parameters=parameters, input=source, tasks=tasks
    )


def together(
    batch: Batch, models: dict[str, Model], corpus: Path, failed: Any = fail, **way: Any
) -> Batch:
    """Tag with several models, named by their aliases, at once."""
    settings = TagSettings(model=tuple(f"{name}={name}" for name in models))
    found = tag.taggers(settings, lambda name: models[name], lambda note: None)
    how = tag.Way(batch_size=16, folders=[str(corpus)], **way)
    return concatenate(list(tag.run([batch], batch.columns, found, settings, how, failed)))


def test_several_models_say_what_each_says_alone(
    rows: Batch, mels: Batch, backbone: Path, corpus: Path, fit_model: Callable[..., Model]
) -> None:
    """Models side by side must not disturb each other, whatever each of them takes."""
    other = FeatureSettings(sample_rate=8000, n_fft=256, hop=128, bands=16, excerpt="first:1")
    models = {
        "features": small(FEATURES, (24, 22), 1),
        "same": small(FEATURES, (24, 22), 2),
        "head": fit_model(embedded(mels, backbone, "mean+std"), "style", "tempo", epochs=2),
        "single": fit_model(embedded(mels, backbone, "none"), "style", "tempo", epochs=2),
        "other": small(other, (16, 63), 3),
    }
    tracks = rows.take(range(7))
    made = together(tracks, models, corpus)
    assert made.ids.tolist() == tracks.ids.tolist()
    assert "mt.place" not in made
    for name, model in models.items():
        alone = tagged(tracks, model, corpus, prefix=f"{name}.")
        for column in (f"{name}.style_score", f"{name}.tempo_pred"):
            np.testing.assert_allclose(made[column], alone[column], rtol=1e-6, atol=1e-6)
        assert made[f"{name}.style_pred"].tolist() == alone[f"{name}.style_pred"].tolist()
        assert made.columns[f"{name}.style_score"] == alone.columns[f"{name}.style_score"]
    # The networks of one input get the same batches as alone: the same bits.
    for name in ("features", "same", "other"):
        alone = tagged(tracks, models[name], corpus, prefix=f"{name}.")
        assert np.array_equal(made[f"{name}.style_score"], alone[f"{name}.style_score"])
    vectors = embedded(mels, backbone, "mean+std")
    mine = vectors.take([i for i, origin in enumerate(vectors.origins) if origin in tracks.ids])
    both = {"head": models["head"], "again": models["head"]}
    table = together(mine, both, corpus)
    assert table["head.style_pred"].tolist() == table["again.style_pred"].tolist()


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_row_that_fails_in_one_model_fails_once(
    rows: Batch, corpus: Path, failures: Any, order: str
) -> None:
    """A row would be reported by each model, or stand there with the tags of the wrong track."""
    long = FeatureSettings(
        sample_rate=8000, n_fft=256, hop=128, bands=16, excerpt="first:1", short="skip"
    )
    models = {"a": small(FEATURES, (24, 22), 1), "b": small(long, (16, 63), 3)}
    tracks = rows.take(range(8))
    paths = list(tracks["path"])
    paths[2] = "no/such/file.flac"
    tracks = tracks.replace(tracks.columns["path"], paths)
    durations = [0.8 if row in (0, 5, 7) else None for row in range(8)]  # too short for b alone
    tracks = tracks.replace(Column("duration", "number", "reserved"), durations)
    made = together(tracks, {name: models[name] for name in order}, corpus, failures)
    kept = [1, 3, 4, 6]
    assert made.ids.tolist() == tracks.ids[kept].tolist()
    assert sorted(id_ for id_, _ in failures) == sorted(tracks.ids[[0, 2, 5, 7]].tolist())
    alone = tagged(tracks.take(kept), models["a"], corpus, prefix="a.")
    np.testing.assert_allclose(made["a.style_score"], alone["a.style_score"], atol=1e-6)


def test_columns_of_several_models_are_told_apart_before_they_are_loaded() -> None:
    """An hour of decoding would end in a column that is there already."""

    def none(name: str) -> Model:
        pytest.fail(f"{name} was loaded")

    for names in (("x", "y"), ("a=x", "a=y"), ("a=x", "y", "z")):
        with pytest.raises(UsageError, match=r"a second model with .* --model other="):
            tag.taggers(TagSettings(model=names), none, lambda note: None)
    one, two = (small(FEATURES, (24, 22), seed) for seed in (1, 2))
    two.tasks[0]["name"] = "b.style"
    two.document["tasks"] = [two.tasks[0]]
    one.tasks[0]["name"] = "style"
    with pytest.raises(UsageError, match=r"'a\.b\.style_pred': choose other aliases"):
        tag.taggers(
            TagSettings(model=("a=two", "a.b=one")),
            lambda name: {"one": one, "two": two}[name],
            lambda note: None,
        )


# --- what is chosen ------------------------------------------------------------------------------


def every_kind() -> Model:
    """Return a linear model of vectors [8] with a task of each kind; tags have thresholds."""
    tags = np.empty(4, dtype=object)
    tags[:] = [["x"], ["y"], ["z"], []]
    values: dict[str, tuple[str, np.ndarray]] = {
        "style": ("multiclass", np.array(["a", "b", "a", "b"], dtype=object)),
        "tags": ("multilabel", tags),
        "grade": ("ordinal", np.array([1.0, 2.0, 3.0, 1.0])),
        "topics": ("distribution", np.eye(4, 3, dtype=np.float32) + np.eye(4, 3, -3)),
        "tempo": ("regression", np.array([90.0, 100.0, 120.0, 140.0])),
    }
    tasks = [make_task(name, kind, v, np.ones(4, bool)) for name, (kind, v) in values.items()]
    tasks[1] |= {"thresholds": [0.9, 0.2, None], "precision": {"0.9": [0.8, 0.7, None]}}
    tasks[0] |= {"precision": {"0.9": 0.8}, "abstain": 0.55}
    heads = {task["name"]: Head(**task_head(task)) for task in tasks}
    net = build_multitask("mlp", {"hidden": []}, (8,), heads, seed=0)
    net.eval()
    source = {"kind": "embedding", "settings": {}, "width": 8}
    return Model.create(
        net, name="kinds", arch="mlp", parameters={"hidden": []}, input=source, tasks=tasks
    )


def test_options_choose_thresholds_in_one_order(make_batch: Any, corpus: Path) -> None:
    """--probability, --precision, --confidence and --top each do to each kind what they say."""
    model = every_kind()
    vectors = np.random.default_rng(1).normal(scale=2.0, size=(60, 8)).astype(np.float32)
    batch = make_batch(embedding=vectors)
    plain = tagged(batch, model, corpus)
    tags, style = plain["tags_score"], plain["style_score"]

    def above(levels: list[float], top: int = 3) -> list[list[str]]:
        order = np.argsort(-tags, axis=1, kind="stable")
        return [
            [ "xyz"[j] for j in best if row[j] >= levels[j]][:top]
            for row, best in zip(tags, order, strict=True)
        ]  # fmt: skip

    def sure(level: float) -> list[bool]:
        return (style.max(axis=1) >= level).tolist()

    def named(made: Batch) -> list[bool]:
        return [name is not None for name in made["style_pred"]]

    assert plain["tags_pred"].tolist() == above([0.9, 0.2, 9])
    assert named(plain) == sure(0.55)
    made = tagged(batch, model, corpus, probability=0.4)
    assert made["tags_pred"].tolist() == above([0.4, 0.4, 0.4])
    assert made.columns["tags_score"].settings["thresholds"] == [0.4] * 3
    assert named(made) == sure(0.55)
    made = tagged(batch, model, corpus, precision=0.9)
    assert (made["tags_pred"].tolist(), named(made)) == (above([0.8, 0.7, 9]), sure(0.8))
    made = tagged(batch, model, corpus, precision=0.9, confidence=0.95, top=1)
    assert (made["tags_pred"].tolist(), named(made)) == (above([0.8, 0.7, 9], 1), sure(0.95))
    made = tagged(batch, model, corpus, probability=0.4, confidence=0.95)
    assert (made["tags_pred"].tolist(), named(made)) == (above([0.4] * 3), sure(0.95))
    for name in ("topics_pred", "tempo_pred"):  # no option is for these
        assert made[name].tolist() == plain[name].tolist()
    steps = plain["grade_score"]
    words = np.array(["1", "2", "3"], dtype=object)[(np.cumsum(steps, axis=1) < 0.5).sum(axis=1)]
    likely = steps[np.arange(60), [int(word) - 1 for word in words]] >= 0.95
    assert made["grade_pred"].tolist() == np.where(likely, words, None).tolist()


def test_precision_says_nothing_of_classes_that_confidence_decides() -> None:
    """A user would read that every track is left open, and find a class in each."""
    model, told = every_kind(), list[str]()
    model.tasks[0]["precision"] = {"0.9": None}
    settings = TagSettings(model=("m",), precision=0.9, confidence=0.5)
    (found,) = tag.taggers(settings, lambda name: model, told.append)
    assert told == ["--precision 0.9 is for tags, not for style, grade, topics, tempo"]
    assert found.tasks[0]["abstain"] == 0.5


def test_options_that_contradict_each_other_are_refused(make_batch: Any, corpus: Path) -> None:
    """One of two options would be ignored without a word."""
    model, batch = every_kind(), make_batch(embedding=np.zeros((2, 8), np.float32))
    with pytest.raises(UsageError, match=r"--probability 0\.4 and --precision 0\.9 both"):
        tagged(batch, model, corpus, probability=0.4, precision=0.9)
    alone = every_kind()
    del alone.tasks[1]["precision"]
    with pytest.raises(UsageError, match="both say when a class is left open"):
        tagged(batch, alone, corpus, precision=0.9, confidence=0.5)
    with pytest.raises(UsageError, match="has no task of tags; of classes --confidence"):
        tagged(batch, small(FEATURES, (24, 22), 1), corpus, probability=0.4)
    with pytest.raises(UsageError, match="--plot draws tracks from end to end"):
        settled(TagSettings(plot="x.png", uncertain=5))
    assert settled(TagSettings(plot="x.png")).segments


# --- taggrams ------------------------------------------------------------------------------------


def test_segments_are_rows_of_their_own(rows: Batch, mels: Batch, corpus: Path) -> None:
    """A taggram would show the scores of another moment, or of the whole track everywhere."""
    model = small(FEATURES, (24, 22), 1)
    tracks = rows.take(range(3))
    made = tagged(tracks, model, corpus, way={"segments": True})
    mine = mels.take([i for i, origin in enumerate(mels.origins) if origin in tracks.ids])
    for name in ("id", "origin", "start", "duration"):
        assert made[name].tolist() == mine[name].tolist()
    assert made.ids[1] == f"{tracks.ids[0]}@0.7"
    scores = np.exp(model.logits(mine["mel"])["style"])
    scores /= scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(made["style_score"], scores, atol=1e-5)
    table = tagged(mine, model, corpus, way={"segments": True})
    assert table.ids.tolist() == made.ids.tolist()
    np.testing.assert_allclose(table["style_score"], made["style_score"], atol=1e-5)
    dense = tagged(tracks, model, corpus, way={"segments": True, "hop": 0.35})
    first = dense.take(np.flatnonzero(dense["origin"] == tracks.ids[0]))
    np.testing.assert_allclose(first["start"], 0.35 * np.arange(len(first)))
    np.testing.assert_allclose(first["style_score"][::2][:4], made["style_score"][:4], atol=1e-5)
    long = tagged(tracks, model, corpus, way={"segments": True, "segment": 1.4})
    assert set(long["duration"]) == {1.4}


def test_segments_of_several_models_stand_in_one_row(rows: Batch, corpus: Path) -> None:
    """Scores of two models in a row must be of the same seconds."""
    other = FeatureSettings(sample_rate=6000, n_fft=256, hop=128, bands=16, excerpt="first:1")
    models = {"a": small(FEATURES, (24, 22), 1), "b": small(other, (16, 47), 3)}
    tracks = rows.take(range(3))
    with pytest.raises(UsageError, match=r"segment:0\.7; segment:1\).*--segment S"):
        together(tracks, models, corpus, segments=True)
    made = together(tracks, models, corpus, segments=True, segment=0.5)
    for name, model in models.items():
        way = {"segments": True, "segment": 0.5}
        alone = tagged(tracks, model, corpus, prefix=f"{name}.", way=way)
        assert made.ids.tolist() == alone.ids.tolist()
        assert made["start"].tolist() == alone["start"].tolist()
        np.testing.assert_allclose(
            made[f"{name}.style_score"], alone[f"{name}.style_score"], atol=1e-6
        )


def test_models_without_an_answer_a_segment_are_refused(
    rows: Batch, mels: Batch, backbone: Path, corpus: Path, fit_model: Callable[..., Model]
) -> None:
    """One line before anything is decoded, not a wrong shape in the middle of the library."""
    way = {"segments": True}
    pooled = fit_model(embedded(mels, backbone, "mean+std"), "style", epochs=1)
    with pytest.raises(UsageError, match=r"pools the segments of a track by mean\+std"):
        tagged(rows, pooled, corpus, way=way)
    with pytest.raises(UsageError, match="takes whole songs"):
        tagged(rows, small(FEATURES, (24, 22), 0, "mfcc-lstm-seq"), corpus, way=way)
    whole = dataclasses.replace(FEATURES, excerpt="whole")
    with pytest.raises(UsageError, match=r"say how long a segment is, --segment S"):
        tagged(rows, small(whole, (24, 22), 0), corpus, way=way)
    fixed = small(preset("choi2016"), (96, 1366), 0, "crnn-choi")
    with pytest.raises(UsageError, match=r"segments of 29\.12 s only, got --segment 1:"):
        tagged(rows, fixed, corpus, way={"segment": 1.0})
    begin = small(dataclasses.replace(FEATURES, excerpt="first:0.7"), (24, 22), 1)
    assert len(tagged(rows.take([0]), begin, corpus, way=way)) == 4

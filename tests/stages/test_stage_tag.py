"""mt-tag without its command: tracks, features and embeddings give the same scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import SettingsMismatch, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model
from mt_tools.nets.weights import resolve
from mt_tools.stages import embed, spec, tag
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.source import Source, open_table

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
        [rows], FEATURES, name="mel", half=False, folders=[str(corpus)], jobs=0, fail=fail
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


def embedded(mels: Batch, path: Path, how: str) -> Batch:
    """Return the embeddings of features by the model in a file."""
    made = embed.run(
        [mels], mels.columns, resolve(str(path)), how=how, segment=0.0, chosen="",
        name="embedding", typed=str(path), keep=False, batch_size=16, folders=[], jobs=0, fail=fail,
    )  # fmt: skip
    return concatenate(list(made))


def tagged(batch: Batch, model: Model, corpus: Path, **options: Any) -> Batch:
    """Tag in this process; return all rows as one batch."""
    settings: dict[str, Any] = {"prefix": "", "top": None, "with_scores": True} | options
    made = tag.run(
        [batch], batch.columns, model, batch_size=16, folders=[str(corpus)], jobs=0,
        **({"fail": fail} | settings),
    )  # fmt: skip
    return concatenate(list(made))


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


def test_scores_of_the_segments_are_averaged(
    rows: Batch, mels: Batch, corpus: Path, fit_model: Callable[..., Model]
) -> None:
    """AGF and SEQ average the segments' probabilities: so does a network on features here."""
    model = fit_model(mels, *TASKS, column="mel", epochs=1, channels="8,8")
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
    options: dict[str, Any] = {
        "how": "", "segment": 0.0, "chosen": "", "name": "mine", "typed": "m", "keep": False,
        "batch_size": 16, "folders": [str(corpus)], "jobs": 0, "fail": fail,
    }  # fmt: skip
    ids = rows.ids[:3]
    found = []
    for table in (rows, mels, vectors):
        mine = table.take([i for i, origin in enumerate(table.origins) if origin in ids])
        made = concatenate(list(embed.run([mine], mine.columns, model, **options)))
        assert made.ids.tolist() == ids.tolist()
        found.append(made["mine"])
    assert found[0].shape == (3, model.width)
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    np.testing.assert_allclose(found[2], found[0], atol=1e-5)
    with pytest.raises(UsageError, match=r"pools segments by mean\+std itself"):
        list(embed.run([rows], rows.columns, model, **(options | {"how": "mean"})))


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


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("crnn-msd", ("", "crnn-msd")),
        ("b=crnn-msd", ("b.", "crnn-msd")),
        ("b=/x/y=z.safetensors", ("b.", "/x/y=z.safetensors")),
        ("/x=1/m.safetensors", ("", "/x=1/m.safetensors")),
        ("keras:a=b.h5", ("", "keras:a=b.h5")),
    ],
)
def test_an_alias_is_told_from_a_path(typed: str, expected: tuple[str, str]) -> None:
    """A folder with an equals sign in its name is no alias."""
    assert tag.parse_model(typed) == expected


@pytest.mark.parametrize("typed", ["=x", "b="])
def test_half_an_alias_is_refused(typed: str) -> None:
    """An empty alias or model is a typing error."""
    with pytest.raises(UsageError, match="alias=FILE"):
        tag.parse_model(typed)


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
    model = fit_model(mels, "instruments", column="mel", epochs=1, channels="8,8", valid=0.0)
    track = rows.take([0])
    made = tagged(track, model, corpus, top=2)
    assert len(made["instruments_pred"][0]) == 2
    vocabulary = made.columns["instruments_score"].settings["vocabulary"]
    assert vocabulary == sorted({tag for tags in rows["instruments"] for tag in tags})
    best = np.argsort(-made["instruments_score"][0])[:2]
    assert made["instruments_pred"][0] == [vocabulary[i] for i in best]
    assert "instruments_score" not in tagged(track, model, corpus, with_scores=False)


def test_an_embedder_cannot_tag(make_batch: Any, corpus: Path) -> None:
    """mfcc-stats has no tasks: one line says so."""
    with pytest.raises(UsageError, match="has no tasks"):
        tagged(make_batch(path=["x"]), resolve("mfcc-stats"), corpus)

"""A model and its file: the same numbers everywhere, alone and on a backbone."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mt_tools.errors import BrokenTable, RunError, SettingsMismatch, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model
from mt_tools.tables.document import digest, read_document, write_document

SETTINGS = FeatureSettings(sample_rate=8000, n_fft=256, hop=128, bands=20)
TASKS = [
    {"name": "style", "kind": "multiclass", "vocabulary": ["a", "b", "c"]},
    {"name": "a.tag", "kind": "multilabel", "vocabulary": ["x", "y"]},
]


def trained(arch: str, parameters: dict[str, Any], shape: tuple[int, ...], seed: int = 0) -> Any:
    """Return a network whose norms have seen data, so that no statistic is 0 or 1."""
    heads = {task["name"]: len(task["vocabulary"]) for task in TASKS}
    net = build_multitask(arch, parameters, shape, heads, seed).train()
    rng = np.random.default_rng(seed)
    net(torch.from_numpy(rng.normal(0, 20, (6, *shape)).astype(np.float32)))
    return net


@pytest.fixture
def tagger() -> Model:
    """A small convolutional model on features."""
    parameters = {"channels": [4, 8]}
    return Model.create(
        trained("cnn", parameters, (20, 30)),
        name="small",
        arch="cnn",
        parameters=parameters,
        input={"kind": "feature", "settings": SETTINGS.to_json(), "shape": (20, 30)},
        tasks=TASKS,
        metrics={"style": {"accuracy": np.float64(0.5)}},
        licence="MIT",
    )


def on_embeddings(backbone: Model | None, pooling: str = "none", width: int = 8) -> Model:
    """Return an MLP on embeddings, which takes its backbone along."""
    parameters = {"hidden": [6], "batch_norm": True}
    source = {"model": "small", "pooling": pooling}
    return Model.create(
        trained("mlp", parameters, (width,), seed=1),
        name="heads",
        arch="mlp",
        parameters=parameters,
        input={"kind": "embedding", "settings": source, "width": width},
        tasks=TASKS,
        backbone=backbone,
    )


@pytest.fixture
def features() -> np.ndarray:
    """Five examples of features."""
    return np.random.default_rng(2).normal(-20, 20, (5, 20, 30)).astype(np.float32)


def test_a_saved_model_gives_the_same_scores(
    tagger: Model, features: np.ndarray, tmp_path: Path
) -> None:
    """The model that is applied would not be the one that was evaluated."""
    tagger.save(tmp_path / "m.safetensors")
    loaded = Model.load(tmp_path / "m.safetensors")
    assert loaded.document == tagger.document
    assert list(loaded.net.tasks) == [task["name"] for task in TASKS]
    got, expected = loaded.logits(features), tagger.logits(features)
    for task in expected:
        assert got[task].dtype == np.float32
        np.testing.assert_array_equal(got[task], expected[task])
    np.testing.assert_array_equal(loaded.embed(features), tagger.embed(features))
    assert loaded.feature_settings == SETTINGS
    assert (loaded.name, loaded.width, loaded.input_shape) == ("small", 8, (20, 30))


def test_logits_are_the_head_of_the_embedding(tagger: Model, features: np.ndarray) -> None:
    """Embeddings stored by `mt-embed` would belong to another layer than the one that tags use."""
    head = tagger.net.head("a.tag")
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    expected = tagger.embed(features).astype(np.float64) @ weight.T + bias
    np.testing.assert_allclose(tagger.logits(features)["a.tag"], expected, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_do_not_change_the_result(
    tagger: Model, features: np.ndarray, batch_size: int
) -> None:
    """Tags would depend on `--batch-size`."""
    np.testing.assert_allclose(
        tagger.logits(features, batch_size)["style"], tagger.logits(features)["style"], atol=1e-5
    )
    assert tagger.logits(features[:0], batch_size)["style"].shape == (0, 3)


def test_saving_twice_gives_the_same_bytes(tagger: Model, tmp_path: Path) -> None:
    """A build would never be up to date, and a digest say nothing."""
    tagger.save(tmp_path / "1.safetensors")
    Model.load(tmp_path / "1.safetensors").save(tmp_path / "2.safetensors")
    assert digest(tmp_path / "1.safetensors") == digest(tmp_path / "2.safetensors")


def test_the_digest_is_of_the_content_alone(tagger: Model, tmp_path: Path) -> None:
    """Embeddings made before a model was saved, or elsewhere, would be refused as another's."""
    before = tagger.digest
    tagger.save(tmp_path / "m.safetensors")
    assert tagger.document["fingerprint"]
    assert tagger.digest == Model.load(tmp_path / "m.safetensors").digest == before
    with torch.no_grad():
        tagger.net.head("style").bias[0] += 1e-3
    assert tagger.digest != before


def test_a_model_on_embeddings_carries_its_backbone(
    tagger: Model, features: np.ndarray, tmp_path: Path
) -> None:
    """A model trained on embeddings could not tag audio without a second file."""
    model = on_embeddings(tagger)
    model.save(tmp_path / "m.safetensors")
    loaded = Model.load(tmp_path / "m.safetensors")
    vectors = tagger.embed(features)
    expected = model.logits(vectors, kind="embedding")["style"]
    np.testing.assert_array_equal(loaded.logits(features)["style"], expected)
    np.testing.assert_array_equal(loaded.logits(vectors, kind="embedding")["style"], expected)
    assert loaded.feature_settings == SETTINGS
    assert loaded.front.digest == tagger.digest
    assert loaded.digest == model.digest
    loaded.selftest()


def test_pooling_between_the_two_is_not_skipped(tagger: Model, features: np.ndarray) -> None:
    """A model of pooled embeddings would be fed unpooled ones and give wrong tags in silence."""
    model = on_embeddings(tagger, "mean+std", width=16)
    with pytest.raises(UsageError, match=r"pooled by mean\+std"):
        model.logits(features)
    segments = tagger.embed(features)
    pooled = np.concatenate([segments.mean(0), segments.std(0)])[None]
    assert model.logits(pooled, kind="embedding")["style"].shape == (1, 3)


def test_vectors_of_unknown_origin(features: np.ndarray) -> None:
    """A model of a foreign table would claim to read audio."""
    model = on_embeddings(None)
    assert model.logits(np.zeros((2, 8)))["style"].shape == (2, 3)
    with pytest.raises(UsageError, match="cannot read audio"):
        _ = model.feature_settings
    with pytest.raises(UsageError, match="takes a column of kind embedding, got feature"):
        model.logits(features, kind="feature")


def test_wrong_inputs_are_refused(tagger: Model, features: np.ndarray) -> None:
    """Features of other settings would be tagged without a word."""
    with pytest.raises(SettingsMismatch, match=r"shape \[20, 30\], got \[30, 20\]"):
        tagger.logits(features.transpose(0, 2, 1))
    with pytest.raises(UsageError, match="takes a column of kind feature, got embedding"):
        tagger.logits(np.zeros((2, 8)), kind="embedding")
    assert tagger.embed(np.concatenate([features, features], axis=2)).shape == (5, 8)
    half = tagger.embed(features.astype(np.float16))
    np.testing.assert_allclose(half, tagger.embed(features), atol=0.05)


def test_the_selftest_notices_changed_weights(tagger: Model, tmp_path: Path) -> None:
    """A file that was damaged on a disk would go on tagging."""
    path = tmp_path / "m.safetensors"
    on_embeddings(tagger).save(path)
    Model.load(path).selftest()
    document, tensors = read_document(path)
    tensors["backbone.body.blocks.0.weight"][0] += 0.1
    write_document(path, document, tensors)
    with pytest.raises(RunError, match="model small does not give the scores it was saved with"):
        Model.load(path).selftest()


def test_broken_model_files_are_named(tagger: Model, tmp_path: Path) -> None:
    """A file of another version, or with parts missing, would end in torch's traceback."""
    path = tmp_path / "m.safetensors"
    tagger.save(path)
    document, tensors = read_document(path)

    def refused(document: dict[str, Any], tensors: dict[str, np.ndarray], message: str) -> None:
        write_document(path, document, tensors)
        with pytest.raises(BrokenTable, match=message) as error:
            Model.load(path)
        assert str(path) in str(error.value)

    refused({**document, "format": 9}, tensors, "got model format 9, expected 1")
    refused({k: v for k, v in document.items() if k != "heads"}, tensors, "incomplete")
    short = {k: v for k, v in tensors.items() if k != "heads.a.tag.bias"}
    refused(document, short, r"do not fit .*heads\.a\.tag\.bias")
    refused(document, {**tensors, "heads.a.tag.bias": np.zeros(9)}, r"do not fit .*a\.tag\.bias")
    refused(document, {**tensors, "more": np.zeros(9)}, r"do not fit .*more")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BrokenTable, match="cut short"):
        Model.load(path)


def test_tasks_must_describe_the_heads(tagger: Model) -> None:
    """Scores would be printed under the names of another task."""
    with pytest.raises(ValueError, match="do not describe the heads"):
        Model.create(
            tagger.net,
            name="x",
            arch="cnn",
            parameters={"channels": [4, 8]},
            input=tagger.document["input"],
            tasks=TASKS[::-1],
        )


def test_moving_to_a_device_keeps_the_scores(tagger: Model, features: np.ndarray) -> None:
    """`--device` would change tags, or move the heads and forget the backbone."""
    model = on_embeddings(tagger)
    expected = model.logits(features)["style"]
    assert model.to("cpu") is model
    assert model.device == torch.device("cpu")
    np.testing.assert_array_equal(model.logits(features)["style"], expected)
    assert dataclasses.is_dataclass(model.feature_settings)

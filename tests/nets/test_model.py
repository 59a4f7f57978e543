"""A model and its file: the same numbers everywhere, alone and on a backbone."""

import copy
import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mt_tools.errors import BrokenTable, SettingsMismatch, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.body import Head, Share
from mt_tools.nets.build import build_multitask
from mt_tools.nets.device import available
from mt_tools.nets.model import Model
from mt_tools.nets.select import set_selection
from mt_tools.nets.several import with_layers
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
    assert [(check.what.split(":")[0], check.ok) for check in loaded.selftest()] == [
        ("small", True),
        ("heads", True),
    ]


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
    assert all(check.ok for check in Model.load(path).selftest())
    document, tensors = read_document(path)
    tensors["backbone.shared.conv1.0.weight"][0] += 0.1
    write_document(path, document, tensors)
    backbone, heads = Model.load(path).selftest()
    assert (backbone.ok, heads.ok) == (False, True)
    assert backbone.what == "small: scores as stored"
    assert backbone.worst > backbone.tolerance == 1e-4
    tensors["backbone.shared.conv1.0.weight"][0] = np.nan
    write_document(path, document, tensors)
    assert Model.load(path).selftest()[0].worst == np.inf


def test_the_full_selftest_compares_batches_calls_and_devices(tagger: Model) -> None:
    """`mt-embed --selftest` would pass on a machine that computes another thing in batches."""
    model = on_embeddings(tagger)
    for part in (model, tagger):
        part.document["fingerprint"] = part._fingerprint()
    checks = model.selftest(full=True)
    assert all(check.ok for check in checks), checks
    own = [check.what for check in checks if check.what.startswith("heads: ")]
    assert own[:4] == [
        "heads: scores as stored",
        "heads: batches of 1 on cpu",
        "heads: batches of 3 on cpu",
        "heads: two calls on cpu",
    ]
    for name in available()[:-1]:
        assert f"heads: {name} against cpu" in own

    class Company(torch.nn.Module):
        """A layer by which an example depends on its batch."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean(dim=0)

    tagger.net.shared.pool.append(Company())
    failed = [check.what for check in model.selftest(full=True) if not check.ok]
    assert failed[:4] == [
        "small: scores as stored",
        "small: batches of 1 on cpu",
        "small: batches of 3 on cpu",
        "small: two calls on cpu",
    ]


def test_the_selftest_tries_what_a_network_was_trained_on() -> None:
    """A head on numbers that hardly vary would fail on rounding, multiplied by its deviations."""
    net = build_multitask("mlp", {"hidden": [64]}, (200,), {"t": Head(3)}, seed=0)
    net.eval()
    rng = np.random.default_rng(0)
    std = torch.from_numpy(10.0 ** rng.uniform(-6, 0, size=200)).float()
    net.shared.input.std.copy_(std)
    net.shared.input.mean.fill_(0.5)
    model = Model.create(
        net, name="head", arch="mlp", parameters={"hidden": [64]}, tasks=[{"name": "t"}],
        input={"kind": "embedding", "settings": {}, "width": 200},
    )  # fmt: skip
    model.document["fingerprint"] = model._fingerprint()
    assert all(check.ok for check in model.selftest(full=True)), model.selftest(full=True)
    # Standardised, the example varies by ones.
    standardised = (torch.from_numpy(model._examples(8)) - 0.5) / std
    assert 0.5 < standardised.abs().max() < 2


def test_the_selftest_of_a_network_that_reads_some_columns() -> None:
    """A model trained with `--select` could not be saved, or tried on the wrong columns."""
    parameters = {"hidden": [4], "select": 3}
    net = build_multitask("mlp", parameters, (9,), {"t": Head(3)}, seed=0)
    net.eval()
    set_selection(net, [7, 1, 5])
    mean = torch.tensor([100.0, -100.0, 0.0])
    net.shared.input.mean.copy_(mean)
    net.shared.input.std.copy_(torch.tensor([1e-3, 1e3, 1.0]))
    model = Model.create(
        net, name="head", arch="mlp", parameters=parameters, tasks=[{"name": "t"}],
        input={"kind": "embedding", "settings": {}, "width": 9},
    )  # fmt: skip
    model.document["fingerprint"] = model._fingerprint()
    assert all(check.ok for check in model.selftest(full=True)), model.selftest(full=True)
    made = model._examples(8)[:, [7, 1, 5]] - mean.numpy()
    assert (np.abs(made).max(axis=0) < [2e-3, 2e3, 2]).all()


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

    refused({**document, "format": 9}, tensors, "got model format 9, expected 2")
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


def branched() -> Model:
    """Return a network of two branches after one shared block, one task of pairs, one fed."""
    heads = {
        "style": Head(3, "softmax"),
        "a.tag": Head(2, "sigmoid", feeds=("style",)),
        "same": Head(2, pair=True),
    }
    share = (Share(1), Share(2, ("a.tag", "same")))
    parameters = {"channels": [4, 8, 6], "dropout": 0.0}
    net = build_multitask("cnn", parameters, (20, 30), heads, share=share)
    return Model.create(
        net,
        name="branched",
        arch="cnn",
        parameters=parameters,
        share=share,
        input={"kind": "feature", "settings": SETTINGS.to_json(), "shape": (20, 30)},
        tasks=[*TASKS, {"name": "same", "kind": "same-track"}],
    )


def test_a_model_of_branches_survives_its_file(features: np.ndarray, tmp_path: Path) -> None:
    """What was trained with `--share` and `--output-feature` could not be applied."""
    model = branched()
    model.save(tmp_path / "m.safetensors")
    loaded = Model.load(tmp_path / "m.safetensors")
    assert loaded.document == model.document
    assert (loaded.width, loaded.embed(features).shape) == (18, (5, 18))
    np.testing.assert_array_equal(loaded.embed(features), model.embed(features))
    logits = loaded.logits(features)
    assert list(logits) == ["style", "a.tag"], "a pair has no score of one track"
    np.testing.assert_array_equal(logits["a.tag"], model.logits(features)["a.tag"])
    names = read_document(tmp_path / "m.safetensors")[1].keys()
    assert names >= {
        "shared.conv1.0.weight",
        "branches.style.conv2.0.weight",
        "branches.a.tag+same.conv2.0.weight",
        "branches.same.conv3.0.weight",
        "heads.a.tag.weight",
        "heads.same.0.weight",
    }
    with torch.inference_mode():
        a, b = (torch.from_numpy(features[i : i + 2]) for i in (0, 2))
        torch.testing.assert_close(
            loaded.net.compare("same", a, b), model.net.eval().compare("same", a, b)
        )


def test_layers_by_name(tagger: Model, features: np.ndarray) -> None:
    """Early layers could not be embedded, or another one be taken for the one that was named."""
    x = torch.from_numpy(features)
    with torch.inference_mode():
        maps = [x]
        for layer in tagger.net.eval().shared:
            maps.append(layer(maps[-1]))
    first, second = (m.mean(dim=(2, 3)).numpy() for m in maps[2:4])
    got = tagger.embed(features, batch_size=2, layers=["conv2", "conv1"])
    np.testing.assert_allclose(got, np.hstack([second, first]), atol=1e-5)
    np.testing.assert_allclose(tagger.embed(features, layers=["shared.conv1"]), first, atol=1e-5)
    np.testing.assert_array_equal(tagger.embed(features, layers=["pool"]), tagger.embed(features))
    assert tagger.embed(features[:0], layers=["conv1"]).shape == (0, 4)
    assert not any(layer._forward_hooks for layer in tagger.net.modules())
    assert tagger.layer_names() == ["input", "conv1", "conv2", "pool"]
    with pytest.raises(UsageError, match="unknown layer of small 'cov1': did you mean conv1"):
        tagger.embed(features, layers=["cov1"])
    with pytest.raises(UsageError, match="choose one of input, conv1, conv2, pool"):
        tagger.embed(features, layers=["heads.style"])


@pytest.mark.parametrize(
    ("arch", "parameters", "layer", "width"),
    [
        ("cnn-lstm-seq", {"channels": [3, 3, 3, 3, 2], "units": 5, "hidden": 7}, "conv1", 3),
        ("cnn-lstm-seq", {"channels": [3, 3, 3, 3, 2], "units": 5, "hidden": 7}, "pool", 8),
        ("mfcc-lstm-seq", {"units": 5, "hidden": 7}, "input", 24),
        ("mfcc-lstm-seq", {"units": 5, "hidden": 7}, "lstm1", 5),
    ],
)
def test_layers_of_networks_of_songs(
    arch: str, parameters: dict[str, Any], layer: str, width: int
) -> None:
    """`--layer` would be refused, or give a number a part, so that no two songs have one width."""
    net = build_multitask(arch, parameters, (24, 40), {}, seed=0)
    net.eval()
    source = {"kind": "feature", "settings": {}, "shape": [24, 40]}
    model = Model.create(net, name="songs", arch=arch, parameters=parameters, input=source)
    early = with_layers(model, [layer])
    assert early.width == width
    song = np.random.default_rng(0).normal(size=(2, 3, 24, 40)).astype(np.float32)
    song[1, 2] = np.nan  # the second has two parts
    found = early.embed(song)
    # What is of a part is the mean over the parts that are there.
    parts = [early.embed(song[:, number : number + 1]) for number in range(3)]
    np.testing.assert_allclose(found[0], np.mean([p[0] for p in parts], axis=0), atol=1e-5)
    np.testing.assert_allclose(found[1], np.mean([p[1] for p in parts[:2]], axis=0), atol=1e-5)
    with pytest.raises(SettingsMismatch, match=r"shape \[parts, 24, 40\], got \[24, 40\]"):
        early.embed(song[:, 0])


def test_a_short_name_means_the_layers_of_all_branches(features: np.ndarray) -> None:
    """`--layer conv2` of a network with branches would give one task's."""
    model = branched()
    assert model.layer_names() == ["input", "conv1", "conv2", "conv3", "pool"]
    both = model.embed(features, layers=["conv2"])
    one = model.embed(features, layers=["branches.style.conv2"])
    other = model.embed(features, layers=["branches.a.tag+same.conv2"])
    np.testing.assert_array_equal(both, np.hstack([one, other]))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_close(tagger: Model, features: np.ndarray, precision: str) -> None:
    """`--precision` would change what an embedding means, or not compute in it at all."""
    expected = tagger.embed(features, layers=["conv1", "pool"])
    got = tagger.embed(features, layers=["conv1", "pool"], precision=precision)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=0.05, rtol=0.02)
    assert np.abs(got - expected).max() > 1e-5
    np.testing.assert_array_equal(tagger.embed(features, layers=["conv1", "pool"]), expected)


def test_inputs_are_taken_as_tables_hold_them(tagger: Model, features: np.ndarray) -> None:
    """Columns of half precision, or that may not be written to, would warn or give other values."""
    half = features.astype(np.float16)
    expected = tagger.embed(half.astype(np.float32))
    half.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(tagger.embed(half), expected)
        np.testing.assert_array_equal(tagger.embed(half.astype(np.float64)), expected)


def test_an_embedding_of_several_layers_is_part_of_the_model(
    tagger: Model, features: np.ndarray, tmp_path: Path
) -> None:
    """`compact-msd` would give 32 values for 160, or heads trained on 160 meet 32."""
    tagger.document["layers"] = ["conv1", "conv2"]
    assert tagger.width == 12
    model = on_embeddings(tagger, width=12)
    model.save(tmp_path / "m.safetensors")
    loaded = Model.load(tmp_path / "m.safetensors")
    vectors = tagger.embed(features, layers=["conv1", "conv2"])
    np.testing.assert_array_equal(loaded.front.embed(features), vectors)
    expected = model.logits(vectors, kind="embedding")["style"]
    np.testing.assert_array_equal(loaded.logits(features)["style"], expected)


def test_calibration_fixes_the_statistics_layer_by_layer(
    tagger: Model, features: np.ndarray
) -> None:
    """Embeddings by `--calibrate` would be normed by other music than the user's."""
    before = tagger.digest
    calls = []

    def batches() -> Iterator[np.ndarray]:
        calls.append(None)
        yield from (features[:2], features[2:])

    model = tagger.calibrated(batches, batch_size=2)
    assert tagger.digest == before != model.digest
    assert model.document["training"]["calibrated"] == {"inputs": 5}
    assert len(calls) == 1 + 3, "once to find the norms, once for each"
    # By hand: what a norm takes has, over all inputs, its stored mean and variance.
    x = torch.from_numpy(features).double()
    net = copy.deepcopy(model.net).double().eval()
    norms = 0

    def compare(norm: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        nonlocal norms
        norms += 1
        axes = (0, *range(2, inputs[0].dim()))
        torch.testing.assert_close(norm.running_mean, inputs[0].mean(axes), atol=1e-4, rtol=1e-5)
        variance = inputs[0].var(axes, correction=0)
        torch.testing.assert_close(norm.running_var, variance, atol=1e-4, rtol=1e-4)

    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(compare)
    with torch.inference_mode():
        net.embed(x)
    assert norms == 3
    again = model.calibrated(batches, batch_size=5)
    np.testing.assert_allclose(again.embed(features), model.embed(features), atol=1e-5)


def test_what_cannot_be_calibrated_is_said(tagger: Model, features: np.ndarray) -> None:
    """`--calibrate` on an empty table, or for a network without norms, would change nothing."""
    with pytest.raises(UsageError, match="nothing to calibrate small on"):
        tagger.calibrated(lambda: [features[:0]])
    with pytest.raises(SettingsMismatch, match=r"arrays of shape \[20, 30\], got \[19, 30\]"):
        tagger.calibrated(lambda: [features[:, 1:]])
    bare = {"batch_norm": False}
    net = build_multitask("mlp", bare, (4,), {})
    source = {"kind": "embedding", "settings": {}, "width": 4}
    plain = Model.create(net, name="plain", arch="mlp", parameters=bare, input=source)
    with pytest.raises(UsageError, match="plain has no batch norms to calibrate"):
        plain.calibrated(lambda: [np.zeros((3, 4), np.float32)])

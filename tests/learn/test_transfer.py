"""Copying layers: what goes where, what is refused, and what the studies asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mt_tools.errors import UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.learn.transfer import copy_layers, parse_init
from mt_tools.nets.body import MultiTask, Share
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model
from mt_tools.nets.several import Concatenated
from mt_tools.tasks.kinds import Task

NONE = (Share(0),)
CNN: dict[str, Any] = {"channels": [2, 3, 4]}


def task(name: str, *vocabulary: str, kind: str = "multiclass") -> Task:
    """Describe a task."""
    return {"name": name, "kind": kind, "vocabulary": list(vocabulary)}


def cnn(
    *tasks: Task, seed: int, share: tuple[Share, ...] = (Share(),), channels: tuple[int, ...] = ()
) -> MultiTask:
    """Build a small CNN, its statistics drawn too, so that no two tensors of two nets agree."""
    parameters = {"channels": list(channels)} if channels else CNN
    heads = {t["name"]: len(t["vocabulary"]) for t in tasks}
    net = build_multitask("cnn", parameters, (8, 16), heads, seed, share)
    generator = torch.Generator().manual_seed(seed)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(torch.rand(tensor.shape, generator=generator))
        else:
            tensor.add_(seed)
    return net


def model(net: MultiTask, *tasks: Task, arch: str = "cnn", **options: Any) -> Model:
    """Make a model of a network."""
    source = {"kind": "feature", "settings": {}, "shape": [8, 16]}
    return Model.create(
        net,
        **{
            "name": "made", "arch": arch, "parameters": CNN, "input": source, "tasks": list(tasks)
        } | options,
    )  # fmt: skip


def tensors(net: MultiTask) -> dict[str, np.ndarray]:
    """Return copies of a network's tensors by their names in files."""
    state = net.state_dict()
    return {name: state[key].numpy().copy() for name, key in net.tensor_names().items()}


def moved(before: dict[str, np.ndarray], net: MultiTask) -> set[str]:
    """Return the names of the tensors that changed."""
    return {name for name, t in tensors(net).items() if not np.array_equal(t, before[name])}


GENRE, MOOD = task("genre", "jazz", "rock"), task("mood", "calm", "loud")


def test_by_default_what_agrees_in_name_and_shape_is_copied() -> None:
    """A warm start would lose batch norm's statistics, or copy a head that means other classes."""
    source, net = cnn(GENRE, MOOD, seed=1), cnn(GENRE, MOOD, seed=2)
    given = model(source, GENRE, task("mood", "loud", "calm"))
    before = tensors(net)
    notes = copy_layers(net, {"old": given}, tasks=[GENRE, MOOD])
    expected = tensors(source)
    assert moved(before, net) == {n for n in expected if not n.startswith("heads.mood.")}
    for name in moved(before, net):
        np.testing.assert_array_equal(tensors(net)[name], expected[name])
    assert notes == [
        "old: shared.input -> shared.input (5 tensors)",
        *(f"old: shared.conv{n} -> shared.conv{n} (6 tensors)" for n in (1, 2, 3)),
        "old: heads.genre -> heads.genre (2 tensors)",
    ]


@pytest.mark.parametrize(
    "other", [task("genre", "jazz", "folk"), task("genre", "jazz", "rock", kind="multilabel")]
)
def test_a_head_of_other_words_is_not_copied(other: Task) -> None:
    """The output for folk would start as the one for rock."""
    net = cnn(GENRE, seed=2)
    before = tensors(net)
    copy_layers(net, {"old": model(cnn(other, seed=1), other)}, tasks=[GENRE])
    assert not any(name.startswith("heads.") for name in moved(before, net))
    copy_layers(net, {"old": model(cnn(GENRE, seed=1), GENRE)})
    assert not any(name.startswith("heads.") for name in moved(before, net))


def test_other_shapes_are_noted_by_default() -> None:
    """A wider last layer would stop the run, or be left out without a word."""
    source, net = cnn(GENRE, seed=1), cnn(GENRE, seed=2, channels=(2, 3, 5))
    before = tensors(net)
    notes = copy_layers(net, {"old": model(source, GENRE)}, tasks=[GENRE])
    # Layers go whole: no batch norm's counter, no head's bias without its weights.
    assert {name.split(".")[1] for name in moved(before, net)} == {"input", "conv1", "conv2"}
    assert notes[-2:] == [
        "old: shared.conv3 is not copied: shared.conv3.0.weight is [4, 3, 3, 3], "
        "the network's is [5, 3, 3, 3]",
        "old: heads.genre is not copied: heads.genre.weight is [2, 4], the network's is [2, 5]",
    ]
    bare = {"hidden": [3], "batch_norm": False}
    plain = build_multitask("mlp", bare, (4,), {"genre": 2}, 1)
    normed = build_multitask("mlp", {"hidden": [3]}, (4,), {"genre": 2}, 2)
    given = model(
        plain, GENRE, arch="mlp", parameters=bare,
        input={"kind": "embedding", "settings": {}, "width": 4},
    )  # fmt: skip
    assert "only one of the two has shared.dense1.1.bias" in copy_layers(normed, {"a": given})[-1]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_what_was_said_stands(order: str) -> None:
    """A later --init would take the place of what a map of an earlier one had filled."""
    sources = {"a": model(cnn(GENRE, seed=1), GENRE), "b": model(cnn(GENRE, seed=2), GENRE)}
    net = cnn(GENRE, seed=3)
    copy_layers(net, {alias: sources[alias] for alias in order}, ["a:shared.conv1->shared.conv1"])
    found = tensors(net)
    for layer, alias in (("shared.conv1.0.weight", "a"), ("shared.conv2.0.weight", "b")):
        np.testing.assert_array_equal(found[layer], tensors(sources[alias].net)[layer])


def test_layers_of_models_side_by_side() -> None:
    """A classifier of the vectors of two models could not be gone on with."""
    source = {"kind": "feature", "settings": FeatureSettings().to_json(), "shape": [8, 16]}
    first, second = (model(cnn(GENRE, seed=seed), GENRE, input=source) for seed in (1, 2))
    both = Concatenated([first, second])
    settings = {"kind": "embedding", "settings": {}, "width": both.width}
    head = build_multitask("mlp", {"hidden": [3]}, (both.width,), {"genre": 2}, 3)
    given = model(
        head, GENRE, arch="mlp", parameters={"hidden": [3]}, input=settings, backbone=both
    )
    net = build_multitask("mlp", {"hidden": [3]}, (both.width,), {"genre": 2}, 4)
    copy_layers(net, {"old": given})
    np.testing.assert_array_equal(tensors(net)["shared.dense1.0.weight"],
                                  tensors(head)["shared.dense1.0.weight"])  # fmt: skip
    inner = cnn(GENRE, seed=5)
    copy_layers(inner, {"old": given}, ["backbone.members.1.shared.conv*->shared.conv*"])
    np.testing.assert_array_equal(tensors(inner)["shared.conv1.0.weight"],
                                  tensors(second.net)["shared.conv1.0.weight"])  # fmt: skip


def test_wildcards_are_carried_over() -> None:
    """Layers would go to branches that were not named, or under other numbers."""
    source, net = cnn(GENRE, seed=1), cnn(GENRE, MOOD, seed=2, share=NONE)
    before, given = tensors(net), tensors(source)
    notes = copy_layers(
        net, {"old": model(source, GENRE)}, ["old:shared.conv[12]->branches.mood.conv*"]
    )
    changed = moved(before, net)
    assert {name.rsplit(".", 2)[0] for name in changed} == {
        "branches.mood.conv1", "branches.mood.conv2"
    }  # fmt: skip
    for name in changed:
        np.testing.assert_array_equal(
            tensors(net)[name], given[name.replace("branches.mood", "shared")]
        )
    assert notes[0] == "old: shared.conv1 -> branches.mood.conv1 (6 tensors)"
    # The input's statistics were left out of the map and stay those of the new rows.
    assert "branches.mood.input.norm.batch_norm.running_mean" not in changed


def test_a_branch_becomes_the_shared_trunk() -> None:
    """A model trained with --share none could not start one that shares."""
    source, net = cnn(GENRE, MOOD, seed=1, share=NONE), cnn(MOOD, seed=2)
    before, given = tensors(net), tensors(source)
    copy_layers(
        net, {"old": model(source, GENRE, MOOD, share=NONE)}, ["branches.genre.*->shared.*"]
    )
    assert moved(before, net) == {n for n in before if n.startswith("shared.")}
    for name in moved(before, net):
        np.testing.assert_array_equal(
            tensors(net)[name], given[name.replace("shared", "branches.genre")]
        )


def test_whole_layers_tensors_and_single_letters() -> None:
    """A name without a wildcard, a tensor's own name or `?` would match nothing."""
    source, net = cnn(GENRE, seed=1), cnn(GENRE, seed=2)
    before = tensors(net)
    maps = [
        "shared.conv1->shared.conv1",
        "shared.conv2.?.weight->shared.conv2.?.weight",
        "heads.genre->heads.genre",
    ]
    notes = copy_layers(net, {"old": model(source, GENRE)}, maps)
    assert {n for n in moved(before, net) if "conv1" not in n} == {
        "shared.conv2.0.weight", "shared.conv2.1.weight", "heads.genre.weight", "heads.genre.bias"
    }  # fmt: skip
    assert "old: shared.conv2.0.weight -> shared.conv2.0.weight (1 tensor)" in notes


def test_of_two_models_the_later_one_is_taken() -> None:
    """Which model a layer came from would depend on chance, or not be told."""
    first, second = cnn(GENRE, MOOD, seed=1), cnn(MOOD, seed=3)
    net = cnn(GENRE, MOOD, seed=2)
    models = {"a": model(first, GENRE, MOOD), "b": model(second, MOOD)}
    notes = copy_layers(net, models, tasks=[GENRE, MOOD])
    assert notes[0].startswith("b: shared.input")
    assert "a: heads.genre -> heads.genre (2 tensors)" in notes
    np.testing.assert_array_equal(
        tensors(net)["heads.mood.weight"], tensors(second)["heads.mood.weight"]
    )
    with pytest.raises(UsageError, match="--init b: other models fill all of its layers"):
        copy_layers(net, {"b": models["b"], "a": models["a"]}, tasks=[GENRE, MOOD])


def test_a_backbone_is_named_by_its_prefix() -> None:
    """The network under a model on embeddings could not be fine-tuned, or `*` would mean it too."""
    front = cnn(seed=1)
    mlp = build_multitask("mlp", {"hidden": [3]}, (4,), {"genre": 2}, 1)
    source = model(
        mlp, GENRE, arch="mlp", parameters={"hidden": [3]},
        input={"kind": "embedding", "settings": {}, "width": 4}, backbone=model(front),
    )  # fmt: skip
    net = cnn(GENRE, seed=2)
    before = tensors(net)
    copy_layers(net, {"old": source}, ["backbone.shared.*->shared.*"])
    assert moved(before, net) == {n for n in before if n.startswith("shared.")}
    again = build_multitask("mlp", {"hidden": [3]}, (4,), {"genre": 2}, 2)
    copy_layers(again, {"old": source}, ["*->*"])
    for name, tensor in tensors(mlp).items():
        np.testing.assert_array_equal(tensors(again)[name], tensor)


def test_the_input_standardisation_comes_with_the_layer() -> None:
    """Copied weights would meet inputs on another scale than the one they learned."""
    source = build_multitask("mlp", {"hidden": [3]}, (4,), {"genre": 2}, 1)
    source.state_dict()["shared.input.mean"].copy_(torch.arange(4.0))
    given = model(
        source, GENRE, arch="mlp", parameters={"hidden": [3]},
        input={"kind": "embedding", "settings": {}, "width": 4},
    )  # fmt: skip
    for maps, expected in ([], np.arange(4)), (["shared.dense*->shared.dense*"], np.zeros(4)):
        net = build_multitask("mlp", {"hidden": [3]}, (4,), {"genre": 2}, 2)
        copy_layers(net, {"old": given}, maps)
        np.testing.assert_array_equal(tensors(net)["shared.input.mean"], expected)


def test_the_row_of_the_dj_study() -> None:
    """DJ, section 5.2: conv 1 of the main genre for all, the later ones for their own branches."""
    words = {"genre": 6, "subgenre": 18, "intro": 3}
    sources = {}
    for seed, (name, count) in enumerate(words.items(), 1):
        own = task(name, *map(str, range(count)))
        net = build_multitask("cnn-dj", {}, (48, 1874), {name: count}, seed)
        sources[name] = Model.create(
            net, name=name, arch="cnn-dj", parameters={}, tasks=[own],
            input={"kind": "feature", "settings": {}, "shape": [48, 1874]},
        )  # fmt: skip
    tasks = {"genre": 6, "subgenre": 23, "intro": 5, "energy": 1, "situation": 8}
    net = build_multitask("cnn-dj", {}, (48, 1874), tasks, 9, NONE)
    maps = ["genre:shared.conv[123]->branches.genre.conv*"]
    for name in ("subgenre", "intro", "energy", "situation"):
        maps.append(f"genre:shared.conv1->branches.{name}.conv1")
    for name in ("subgenre", "intro"):
        maps.append(f"{name}:shared.conv3->branches.{name}.conv3")
    notes = copy_layers(net, sources, maps)
    assert len(notes) == 3 + 4 + 2
    got = tensors(net)
    given = {name: tensors(source.net) for name, source in sources.items()}
    for name in tasks:
        np.testing.assert_array_equal(
            got[f"branches.{name}.conv1.0.weight"], given["genre"]["shared.conv1.0.weight"]
        )
    np.testing.assert_array_equal(
        got["branches.intro.conv3.0.weight"], given["intro"]["shared.conv3.0.weight"]
    )


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (["shared.conv1"], r"expected \[ALIAS:\]SOURCE->TARGET"),
        (["->shared.conv1"], r"expected \[ALIAS:\]SOURCE->TARGET"),
        (["shared.conv*->shared.conv1"], "has 1 wildcards, shared.conv1 has 0"),
        (["shared.conv9->shared.conv1"], r"old has no layer or tensor shared.conv9.*shared.conv1,"),
        (["shared.conv1->shared.convx"], "the network has no shared.convx.0.weight; its layers"),
        (["shared.conv1->shared.conv2"], "the shapes differ"),
        (["new:shared.*->shared.*"], "no model is called new; begin with one of old:"),
        (["shared.conv1->shared.conv1", "shared.*->shared.*"], "fills shared.conv1.0.weight"),
    ],
)
def test_maps_that_cannot_be_meant(maps: list[str], message: str) -> None:
    """A night would be spent on a network that took over nothing of what was asked for."""
    net = cnn(GENRE, seed=2)
    with pytest.raises(UsageError, match=message):
        copy_layers(net, {"old": model(cnn(GENRE, seed=1), GENRE)}, maps)


def test_nothing_to_copy_is_refused() -> None:
    """`--init` would be without any effect, and nobody would know."""
    single = model(cnn(GENRE, seed=1), GENRE)
    with pytest.raises(UsageError, match=r"--init old: nothing was copied.*branches.genre.conv1"):
        copy_layers(cnn(GENRE, MOOD, seed=2, share=NONE), {"old": single})
    with pytest.raises(UsageError, match="name one with --init"):
        copy_layers(cnn(GENRE, seed=2), {}, ["shared.*->shared.*"])
    with pytest.raises(UsageError, match="there are several models; begin with one of a:, b:"):
        copy_layers(cnn(GENRE, seed=2), {"a": single, "b": single}, ["shared.*->shared.*"])


def test_models_by_alias() -> None:
    """Two runs in folders of one name could not be told apart, or a path be taken for an alias."""
    assert parse_init(["runs/a.safetensors", "b=runs/a.safetensors", "./x=1/c.safetensors"]) == {
        "a": "runs/a.safetensors",
        "b": "runs/a.safetensors",
        "c": "./x=1/c.safetensors",
    }
    with pytest.raises(UsageError, match="two models are called a"):
        parse_init(["1/a.safetensors", "2/a.safetensors"])
    for text in ("=a.safetensors", "a=", ""):
        with pytest.raises(UsageError, match="ALIAS=FILE"):
            parse_init([text])

"""Layers shared between tasks, outputs fed to other heads, pairs: `--share`, `--output-feature`."""

import itertools
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mt_tools.errors import UsageError
from mt_tools.nets.body import Body, Head, MultiTask, Share, Standardise, pooled_vector
from mt_tools.nets.build import build_multitask

TASKS = {"genre": 6, "subgenre": 23, "intro": 5, "energy": 1, "situation": 8}
DENSE = {"hidden": [9, 8, 7], "dropout": 0.0}


def network(*share: Share, heads: dict[str, Head | int] | None = None) -> MultiTask:
    """Return three dense layers on vectors of 10, shared as is said."""
    return build_multitask("mlp", DENSE, (10,), heads or {"a": 2, "b": 3, "c": 4}, share=share)


def count(net: torch.nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


def touched(net: MultiTask, logits: Tensor) -> set[str]:
    """Return the layers that a task's logits send a gradient to."""
    net.zero_grad()
    logits.square().sum().backward()
    return {
        name
        for name, layer in net.named_layers().items()
        if any(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())
    }


def layers(owner: str, *numbers: int) -> set[str]:
    """Return the whole names of dense layers of one owner."""
    return {f"{owner}.dense{number}" for number in numbers}


@pytest.mark.parametrize(
    ("share", "shared", "own", "width"),
    [
        (Share(0), (), (1, 2, 3), 21),
        (Share(1), (1,), (2, 3), 21),
        (Share(2), (1, 2), (3,), 21),
        (Share(3), (1, 2, 3), (), 7),
        (Share(None), (1, 2, 3), (), 7),
    ],
    ids=["none", "block:1", "block:2", "block:3", "all"],
)
def test_a_task_trains_the_layers_on_its_way_alone(
    share: Share, shared: Sequence[int], own: Sequence[int], width: int
) -> None:
    """`--share` would join tasks that were to be apart, or keep apart what was to be joined."""
    net = network(share)
    assert net.width == width
    x = torch.randn(6, 10)
    assert net.embed(x).shape == (6, width)
    for task in "abc":
        expected = layers("shared", *shared) | layers(f"branches.{task}", *own)
        assert touched(net, net(x)[task]) == expected | {f"heads.{task}"}


def test_groups_share_among_themselves() -> None:
    """The DJ study's genre and subgenre could not share layers that the other tasks have not."""
    net = network(Share(2, ("a", "c")))
    x = torch.randn(6, 10)
    joined = layers("branches.a+c", 1, 2)
    assert touched(net, net(x)["a"]) == joined | layers("branches.a", 3) | {"heads.a"}
    assert touched(net, net(x)["c"]) == joined | layers("branches.c", 3) | {"heads.c"}
    assert touched(net, net(x)["b"]) == layers("branches.b", 1, 2, 3) | {"heads.b"}

    nested = network(Share(1), Share(None, ("a", "b")))
    expected = layers("shared", 1) | layers("branches.a+b", 2, 3) | {"heads.b"}
    assert touched(nested, nested(x)["b"]) == expected
    assert nested.width == 14, "the embedding is the ends of the branches, and two tasks share one"
    assert set(nested.tensor_names()) >= {"branches.a+b.dense2.0.weight", "shared.input.mean"}


def test_branches_are_drawn_apart_and_every_end_is_in_the_embedding() -> None:
    """Independent networks would start as copies of one another, or one be left out."""
    net = network(Share(0)).eval()
    weights = [net.state_dict()[net.tensor_names()[f"branches.{t}.dense1.0.weight"]] for t in "abc"]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(weights, 2))
    x = torch.randn(4, 10)
    ends = [torch.nn.Sequential(*net.layers(task))(x) for task in "abc"]
    torch.testing.assert_close(net.embed(x), torch.cat(ends, dim=1))


def test_one_task_alone_needs_its_own_way_only() -> None:
    """Training a random task an update would cost as much as training all of them."""
    net = network(Share(1))
    seen = []
    for task in "abc":
        net.layers(task)[0].register_forward_hook(lambda *_, task=task: seen.append(task))
    assert list(net(torch.randn(4, 10), tasks=["b"])) == ["b"]
    assert seen == ["b"]


def test_sizes_of_the_dj_studys_dense_networks() -> None:
    """Table 6.5 of the DJ study could not be reproduced: 165,739 parameters for five branches."""
    parameters = {"hidden": [64, 32], "batch_norm": False}
    net = build_multitask("mlp", parameters, (480,), TASKS, share=(Share(0),))
    assert count(net) == 165_739
    energy = build_multitask("mlp", parameters, (480,), {"energy": 1})
    assert count(energy) == 32_897


def test_fed_outputs_carry_no_gradient() -> None:
    """The DJ study stops the gradient: situation would train genre's network otherwise."""
    heads: dict[str, Head | int] = {
        "situation": Head(8, "sigmoid", feeds=("genre", "energy")),
        "genre": Head(6, "softmax"),
        "energy": Head(1),
    }
    net = network(Share(0), heads=heads).eval()
    x = torch.randn(5, 10)
    expected = layers("branches.situation", 1, 2, 3) | {"heads.situation"}
    assert touched(net, net(x)["situation"]) == expected
    # By hand: the embedding, the probabilities of genre and the value of energy, side by side.
    with torch.inference_mode():
        logits = net(x)
        fed = [net.layers("situation")(x), logits["genre"].softmax(1), logits["energy"]]
        head = net.head("situation")
        by_hand = torch.cat(fed, dim=1) @ head.weight.T + head.bias
        torch.testing.assert_close(logits["situation"], by_hand)
        torch.testing.assert_close(net(x, tasks=["situation"])["situation"], by_hand)
    assert list(logits) == list(heads)
    assert head.in_features == 7 + 6 + 1


def test_chains_of_fed_outputs() -> None:
    """A task that is fed by one that is fed itself would meet outputs that are not there yet."""
    heads: dict[str, Head | int] = {
        "c": Head(2, feeds=("b",)),
        "b": Head(3, "softmax", feeds=("a",)),
        "a": Head(4, "softmax"),
    }
    net = network(heads=heads)
    assert net(torch.randn(2, 10), tasks=["c"])["c"].shape == (2, 2)


def test_pairs_are_compared() -> None:
    """The REP study's "self" would not see both tracks, or train another network than its own."""
    net = network(Share(1), heads={"self": Head(2, pair=True), "a": 3})
    a, b = torch.randn(6, 10), torch.randn(6, 10)
    assert list(net(a)) == ["a"], "a pair has no logits of one track"
    expected = layers("shared", 1) | layers("branches.self", 2, 3) | {"heads.self"}
    assert touched(net, net.compare("self", a, b)) == expected
    net.eval()
    with torch.inference_mode():
        end = torch.nn.Sequential(net.shared, net.layers("self"))
        first, norm, relu, last = net.head("self")
        assert (first.in_features, first.out_features, last.out_features) == (14, 128, 2)
        by_hand = last(relu(norm(first(torch.cat([end(a), end(b)], dim=1)))))
        torch.testing.assert_close(net.compare("self", a, b), by_hand)
        assert not torch.allclose(net.compare("self", b, a), by_hand)
    assert net.compare("self", a[:0], b[:0]).shape == (0, 2)


def test_names_in_files_are_those_of_the_user() -> None:
    """A column called `a.b` or `keys` would break the network, or carry another name in the file."""
    names = ["a.b/c %2E", "keys", "", "shared by all"]
    net = network(Share(2), heads=dict.fromkeys(names, 2))
    tensors = net.tensor_names()
    assert sorted(tensors.values()) == sorted(net.state_dict())
    for name in names:
        assert f"branches.{name}.dense3.0.weight" in tensors
        assert f"heads.{name}.bias" in tensors
    assert "shared.dense1.0.weight" in tensors
    x = torch.randn(2, 10)
    assert list(net(x)) == names


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (Share(4), r"block:4: the network has 3 blocks \(dense1, dense2, dense3\)"),
        (Share(-1), "block:-1"),
        (Share(1, ("a", "x")), "no task x; the tasks are a, b, c"),
        (Share(1, ("a",)), "a is one task"),
    ],
)
def test_what_cannot_be_shared_is_said(share: Share, message: str) -> None:
    """A mistake in `--share` would end in a traceback, or in another network than asked for."""
    with pytest.raises(UsageError, match=message):
        network(share)


def test_groups_do_not_overlap() -> None:
    """A task in two groups would be in the one that happened to come last."""
    with pytest.raises(UsageError, match="task b stands in two groups"):
        network(Share(1, ("a", "b")), Share(1, ("b", "c")))
    with pytest.raises(UsageError, match="a task called shared cannot have layers of its own"):
        network(Share(0), heads={"shared": 2, "a": 2})


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"a": Head(2, feeds=("b",)), "b": Head(2, feeds=("a",))}, "a and b feed each other"),
        ({"a": Head(2, feeds=("a",))}, "feed each other in a circle"),
        ({"a": Head(2, feeds=("x",))}, "x cannot feed a; the tasks are a"),
        ({"a": Head(2, feeds=("p",)), "p": Head(2, pair=True)}, "p cannot feed a"),
        ({"a": Head(2), "p": Head(2, feeds=("a",), pair=True)}, "p compares pairs"),
    ],
)
def test_what_cannot_be_fed_is_said(heads: dict[str, Head | int], message: str) -> None:
    """A mistake in `--output-feature` would end in a traceback."""
    with pytest.raises(UsageError, match=message):
        network(heads=heads)


def test_heads_and_shares_survive_a_file() -> None:
    """A model file would be read as another network."""
    heads = [Head(3), Head(2, "softmax", ("a", "b"), False), Head(2, pair=True)]
    assert [Head.from_json(head.to_json()) for head in heads] == heads
    shares = [Share(), Share(0), Share(2, ("a", "b"))]
    assert [Share.from_json(share.to_json()) for share in shares] == shares


def test_layers_between_blocks_belong_to_the_first() -> None:
    """A pool would go to another branch than the convolution before it."""
    linear = torch.nn.Linear
    body = Body(
        {
            "input": Standardise(3),
            "conv1": linear(3, 3),
            "pool": torch.nn.ReLU(),
            "conv2": linear(3, 2),
            "end": torch.nn.ReLU(),
        },
        2,
    )
    body.blocks = ("conv1", "conv2")
    assert body.split(1) == (["input", "conv1", "pool"], ["conv2", "end"])
    assert body.split(0) == ([], ["input", "conv1", "pool", "conv2", "end"])
    assert body.split(2) == body.split(None) == (["input", "conv1", "pool", "conv2", "end"], [])


def test_layers_as_vectors() -> None:
    """An embedding of an early layer would mix bands, or be spoilt by the padding of songs."""
    maps = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert pooled_vector(maps).tolist() == [[5.5, 17.5]]
    steps = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [float("nan")] * 2]])
    assert pooled_vector(steps).tolist() == [[2.0, 3.0]]
    assert pooled_vector(torch.ones(2, 5)).shape == (2, 5)

"""Parameter groups: what is frozen stays, rates and steps are those that were asked for."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from mt_tools.errors import UsageError
from mt_tools.learn.groups import Groups, layer_tensors, resolve
from mt_tools.learn.settings import TransferSettings
from mt_tools.nets.body import Body, Head, MultiTask, Share
from mt_tools.nets.build import build_multitask

RATE = 0.01


def small(*share: Share) -> MultiTask:
    """Make a network of two blocks that hold all that freezing must keep at rest."""

    def bodies() -> Iterator[Body]:
        while True:
            yield Twin()

    torch.manual_seed(0)
    return MultiTask(bodies(), {"genre": Head(3), "main.genre": Head(1)}, share or (Share(),))


class Twin(Body):
    """Two dense blocks with batch norm and dropout, and a dropout of its own between them."""

    blocks = ("dense1", "dense2")

    def __init__(self) -> None:
        super().__init__(
            {
                "dense1": nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)),
                "rest": nn.Dropout(0.5),
                "dense2": nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU()),
            },
            5,
        )


def step(net: MultiTask, groups: Groups, epoch: int, updates: int = 3) -> dict[str, torch.Tensor]:
    """Train a few updates in an epoch, as the loop does; return what changed, by name."""
    before = copy.deepcopy(net.state_dict())
    optimizer = torch.optim.AdamW(groups.groups, weight_decay=0.1)
    net.train()
    groups.apply(net, epoch)
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = groups.rate(group, update, RATE)
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(update))
        loss = sum(logits.square().mean() + logits.mean() for logits in net(x).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    names = {key: name for name, key in net.tensor_names().items()}
    after = net.state_dict()
    return {names[key]: after[key] for key in before if not torch.equal(before[key], after[key])}


def test_without_settings_everything_learns_at_one_rate() -> None:
    """Plain training would leave a layer out, or give it another rate."""
    net = small()
    groups = resolve(net, TransferSettings(), RATE)
    (group,) = groups.groups
    assert {id(p) for p in group["params"]} == {id(p) for p in net.parameters()}
    assert group["lr"] == RATE
    assert groups.rate(group, 10**6, RATE) == RATE
    assert groups.frozen_at(1) == set()
    assert len(step(net, groups, 1)) == len(net.state_dict())


def test_a_frozen_layer_is_at_rest_altogether() -> None:
    """Batch norm's statistics would drift from the weights that expect them, or dropout go on."""
    net = small()
    groups = resolve(net, TransferSettings(freeze=("shared.dense1",)), RATE)
    assert groups.frozen_at(1) == groups.frozen_at(1000) == {"shared.dense1"}
    changed = step(net, groups, 1)
    assert not any(name.startswith("shared.dense1.") for name in changed)
    assert {"shared.dense2.0.weight", "shared.dense2.1.running_mean"} <= changed.keys()
    dense1 = net.named_layers()["shared.dense1"]
    assert not any(module.training for module in dense1.modules())
    assert net.named_layers()["shared.dense2"][1].training
    # A layer of its own that nobody named goes on dropping.
    assert net.named_layers()["shared.rest"].training
    assert all(p.grad is None for p in dense1.parameters())


def test_a_black_box_keeps_no_graph() -> None:
    """Frozen features would cost the memory of a training step."""
    net = small()
    groups = resolve(net, TransferSettings(freeze=("shared.*",)), RATE)
    net.train()
    groups.apply(net, 1)
    assert groups.frozen_at(1) == {"shared.dense1", "shared.rest", "shared.dense2"}
    x = torch.randn(4, 4)
    assert not net.embed(x).requires_grad
    assert torch.equal(net.embed(x), net.embed(x))
    assert net(x)["genre"].requires_grad


def test_patterns_name_tensors_too() -> None:
    """Batch norms could not be frozen alone."""
    net = small()
    groups = resolve(net, TransferSettings(freeze=("shared.dense?.1.*",)), RATE)
    changed = step(net, groups, 1)
    assert not any(".1." in name for name in changed)
    assert {"shared.dense1.0.weight", "shared.dense2.0.bias"} <= changed.keys()
    assert groups.frozen_at(1) == set()
    layer = net.named_layers()["shared.dense1"]
    assert [part.training for part in layer] == [True, False, True]


def test_heads_and_branches_by_the_names_of_tasks() -> None:
    """A task whose column has a dot in its name could not be frozen."""
    net = small(Share(0))
    groups = resolve(
        net, TransferSettings(freeze=("branches.main.genre.*", "heads.main.genre")), RATE
    )
    assert groups.frozen_at(1) == {
        "branches.main.genre.dense1", "branches.main.genre.rest", "branches.main.genre.dense2",
        "heads.main.genre",
    }  # fmt: skip
    changed = step(net, groups, 1)
    assert changed
    assert all(name.startswith(("branches.genre.", "heads.genre.")) for name in changed)


def test_gradual_unfreezing() -> None:
    """Layers would learn before their epoch, or never."""
    net = small()
    settings = TransferSettings(
        freeze=("shared.*",), unfreeze=("shared.dense2=3", "shared.dense1=5")
    )
    groups = resolve(net, settings, RATE)
    frozen = {1: {"dense1", "dense2"}, 2: {"dense1", "dense2"}, 3: {"dense1"}, 4: {"dense1"}, 5: ()}
    for epoch, names in frozen.items():
        assert groups.frozen_at(epoch) == {"shared.rest", *(f"shared.{n}" for n in names)}
        changed = step(net, groups, epoch)
        for layer in ("dense1", "dense2"):
            moved = {name for name in changed if name.startswith(f"shared.{layer}.")}
            assert bool(moved) == (layer not in names), (epoch, layer)
    # Back to the first epoch, as a second run of one network goes.
    assert not any(name.startswith("shared.") for name in step(net, groups, 1))


def test_the_last_pattern_counts() -> None:
    """A general rule after a special one, or before it, would do the opposite of what is written."""
    net = small()
    settings = TransferSettings(
        lr_scale=("shared.*=0.1", "shared.dense2=0.5"), lr_step=("100", "heads.*=7")
    )
    groups = resolve(net, settings, RATE)
    got = {name: (g["scale"], g["step"]) for g in groups.groups for name in g["names"]}
    assert got["shared.dense1.0.weight"] == (0.1, 100)
    assert got["shared.dense2.1.bias"] == (0.5, 100)
    assert got["heads.main.genre.weight"] == (1.0, 7)
    assert sum(len(g["params"]) for g in groups.groups) == len(list(net.parameters()))
    assert {g["lr"] for g in groups.groups} == {0.001, 0.005, 0.01}
    turned = TransferSettings(lr_scale=("shared.dense2=0.5", "shared.*=0.1"))
    (low, _) = resolve(net, turned, RATE).groups
    assert low["scale"] == 0.1
    assert "shared.dense2.0.weight" in low["names"]


def test_steps_end_at_the_floor() -> None:
    """A rate would decay to nothing, or a floor raise a rate that is below it by itself."""
    net = small()
    settings = TransferSettings(
        lr_step=("10",), lr_scale=("heads.*=0.00001",), lr_decay=0.1, lr_floor=1e-6
    )
    groups = resolve(net, settings, RATE)
    shared, heads = groups.groups
    rates = [groups.rate(shared, update, 0.01) for update in (0, 9, 10, 25, 39, 40, 1000)]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-6])
    assert groups.rate(heads, 0, 0.01) == groups.rate(heads, 99, 0.01) == pytest.approx(1e-7)
    # A warm-up begins at its own height.
    assert groups.rate(shared, 0, 0.0001) == pytest.approx(1e-4)


def test_the_setting_of_the_sequence_study() -> None:
    """SEQ, source task (Tables 4.5, 4.6): rates and steps a layer group could not be expressed."""
    net = build_multitask(
        "cnn-lstm-seq", {"channels": [2, 2, 2, 2, 2], "units": 4, "hidden": 4}, (16, 32), {"t": 3}
    )
    settings = TransferSettings(
        lr_scale=("shared.conv[12]=0.01", "shared.conv[345]=0.1"),
        lr_step=("10000", "shared.conv*=50000"),
    )
    groups = resolve(net, settings, 1e-2)
    rates = {
        name: [groups.rate(group, update, 1e-2) for update in (0, 10_000, 50_000, 10**6)]
        for group in groups.groups
        for name in group["names"]
    }
    assert len({tuple(layer.split(".")[:2]) for layer in rates if ".conv" in layer}) == 5
    for name, got in rates.items():
        if name.startswith(("shared.conv1.", "shared.conv2.")):
            assert got == pytest.approx([1e-4, 1e-4, 1e-5, 1e-6]), name
        elif name.startswith("shared.conv"):
            assert got == pytest.approx([1e-3, 1e-3, 1e-4, 1e-6]), name
        else:
            assert got == pytest.approx([1e-2, 1e-3, 1e-6, 1e-6]), name
    black_box = resolve(net, TransferSettings(freeze=("shared.conv*", "shared.input")), 1e-2)
    assert black_box.frozen_at(1) == {f"shared.conv{n}" for n in range(1, 6)} | {"shared.input"}


def test_the_row_of_the_dj_study() -> None:
    """DJ, Table 5.7: the main genre's convolutions frozen, those of the others trainable."""
    tasks = {"genre": 6, "subgenre": 23, "intro": 5, "energy": 1, "situation": 8}
    net = build_multitask("cnn-dj", {}, (48, 1874), tasks, share=(Share(0),))
    groups = resolve(net, TransferSettings(freeze=("branches.genre.conv[123]",)), 0.0005)
    assert groups.frozen_at(1) == {f"branches.genre.conv{n}" for n in (1, 2, 3)}
    net.train()
    groups.apply(net, 1)
    learning = sum(p.numel() for p in net.parameters() if p.requires_grad)
    # A branch without its head has 93,894 - 6 * 129 trainable parameters (Table 5.3).
    assert sum(p.numel() for p in net.parameters()) == 471_147
    assert learning == 471_147 - (93_894 - 6 * 129)


def test_a_frozen_recurrent_layer_is_gone_back_through() -> None:
    """On a GPU, convolutions below a frozen LSTM could not learn: cuDNN wants training mode."""
    net = build_multitask(
        "cnn-lstm-seq", {"channels": [2, 2, 2, 2, 2], "units": 4, "hidden": 4}, (16, 32), {"t": 3}
    )
    groups = resolve(net, TransferSettings(freeze=("shared.lstm*",)), RATE)
    net.train()
    groups.apply(net, 1)
    for name in ("shared.lstm1", "shared.lstm2"):
        modes = {type(part).__name__: part.training for part in net.named_layers()[name].modules()}
        assert modes["LSTM"]
        assert not modes["Dropout"]
        assert not any(p.requires_grad for p in net.named_layers()[name].parameters())


def test_every_tensor_belongs_to_one_layer() -> None:
    """A pattern would miss tensors of a layer, or take those of another."""
    for share in (Share(), Share(1), Share(0)):
        net = small(share)
        layers = layer_tensors(net)
        tensors = [tensor for own in layers.values() for tensor in own]
        assert sorted(tensors) == sorted(net.tensor_names())
        for layer, own in layers.items():
            assert all(tensor.startswith(layer + ".") for tensor in own)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": ("conv1",)}, r"--freeze conv1: no layer.*shared.dense1, shared.rest"),
        ({"freeze": ("shared.dense",)}, "no layer or tensor is called so"),
        ({"freeze": ("*",)}, "everything is frozen"),
        ({"unfreeze": ("*=2",)}, "everything is frozen in the first epoch"),
        ({"unfreeze": ("shared.dense1",)}, "expected PATTERN=a whole number from 1"),
        ({"unfreeze": ("shared.dense1=0",)}, "whole number from 1"),
        ({"unfreeze": ("shared.dense1=1.5",)}, "whole number from 1"),
        ({"unfreeze": ("nothing=2",)}, "--unfreeze nothing: no layer"),
        ({"lr_scale": ("0.1",)}, "expected PATTERN=a number above 0"),
        ({"lr_scale": ("shared.*=fast",)}, "a number above 0"),
        ({"lr_scale": ("shared.*=nan",)}, "a number above 0"),
        ({"lr_scale": ("shared.*=inf",)}, "a number above 0"),
        ({"lr_scale": ("shared.*=0",)}, "--freeze PATTERN"),
        ({"lr_scale": ("shard.*=0.1",)}, "--lr-scale shard.*: no layer"),
        ({"lr_step": ("0",)}, "whole number from 1, such as 10000"),
        ({"lr_step": ("shared.none=5",)}, "--lr-step shared.none: no layer"),
    ],
)
def test_mistakes_are_answered(options: dict[str, tuple[str, ...]], message: str) -> None:
    """A misspelt pattern would train for a night what was meant to be frozen."""
    with pytest.raises(UsageError, match=message):
        resolve(small(), TransferSettings(**options), RATE)


def test_layers_that_would_wake_too_late() -> None:
    """A night's fine-tuning would have learned nothing but the heads."""
    settings = TransferSettings(unfreeze=("shared.dense1=4",))
    resolve(small(), settings, RATE, epochs=4)
    resolve(small(), TransferSettings(freeze=("shared.dense1",)), RATE, epochs=4)
    with pytest.raises(UsageError, match="never learn in 3 epochs.*--freeze 'shared.dense1'"):
        resolve(small(), settings, RATE, epochs=3)

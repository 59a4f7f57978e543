"""The weights of tasks against figures computed by hand from the published equations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from fit_work import Toy

from mt_tools.learn.settings import WEIGHTINGS, FitSettings
from mt_tools.learn.weighting import Weighting

TASKS: list[dict[str, Any]] = [
    {"name": "genre", "kind": "multiclass", "weight": 2.0},
    {"name": "energy", "kind": "regression", "weight": 0.5},
]
CONSTANT = {"genre": 4.0, "energy": 0.25}


def weights(weighting: Weighting, *tasks: str) -> list[float]:
    """Return the factors of some tasks, all where none is named."""
    return weighting.weights(tasks or ("genre", "energy")).tolist()


@pytest.mark.parametrize(
    ("how", "expected"),
    [("fixed", [2.0, 0.5]), ("equal", [1.0, 1.0]), ("prior", [0.5, 2.0]), ("dwa", [2.0, 0.5])],
)
def test_weights_at_the_start(how: str, expected: list[float]) -> None:
    """A choice of `--weighting` would weigh tasks by something else."""
    weighting = Weighting(how, TASKS, CONSTANT)
    assert weights(weighting) == expected
    assert weights(weighting, "energy") == expected[1:]
    assert weighting.penalty(("genre", "energy")) is None
    assert weighting.parameters() == []


@pytest.mark.parametrize("how", WEIGHTINGS)
def test_totals_mean_the_same_in_every_epoch(how: str) -> None:
    """Early stopping would follow the weights of the tasks and not the network."""
    weighting = Weighting(how, TASKS, CONSTANT)
    losses = {"genre": 3.0, "energy": 0.5}
    expected = {"fixed": 6.25, "equal": 3.5}.get(how, 2 * 3 / 4 + 0.5 * 0.5 / 0.25)
    assert weighting.total(losses) == pytest.approx(expected, rel=1e-12)
    weighting.end_epoch({"genre": 1.0, "energy": 9.0})
    weighting.end_epoch(losses)
    for parameter in weighting.parameters():
        parameter.data.fill_(3.0)
    assert weighting.total(losses) == pytest.approx(expected, rel=1e-12)
    assert weighting.total({"genre": 3.0}) == pytest.approx(
        {"fixed": 6.0, "equal": 3.0}.get(how, 1.5), rel=1e-12
    )


def test_uncertainty_is_the_loss_of_kendall() -> None:
    """The learned weights would not have the optimum that the paper derives."""
    weighting = Weighting("uncertainty", TASKS, CONSTANT)
    variances = {"genre": 0.25, "energy": 4.0}
    for name, variance in variances.items():
        weighting.log_variances[name].data.fill_(math.log(variance))
    # Eq. 10: L / sigma^2 + log sigma for classes, eq. 7: L / (2 sigma^2) + log sigma for numbers.
    losses = torch.tensor([0.7, 3.0])
    total = (losses * weighting.weights(("genre", "energy"))).sum() + weighting.penalty(
        ("genre", "energy")
    )
    by_hand = 2.0 * (0.7 / 0.25 + math.log(0.5)) + 0.5 * (3.0 / 8.0 + math.log(2.0))
    assert float(total.detach()) == pytest.approx(by_hand, rel=1e-6)
    total.backward()
    # d/ds of exp(-s) L + s/2 is 1/2 - L / sigma^2; of exp(-s) L / 2 + s/2 it is half of 1 - L / sigma^2.
    gradients = [float(parameter.grad) for parameter in weighting.parameters()]
    assert gradients == pytest.approx([2.0 * (0.5 - 2.8), 0.5 * (1 - 0.75) / 2], rel=1e-5)


def test_uncertainty_of_an_absent_task_rests() -> None:
    """A task's weight would grow without bound in batches that say nothing about it."""
    weighting = Weighting("uncertainty", TASKS, CONSTANT)
    total = weighting.weights(("genre",)).sum() + weighting.penalty(("genre",))
    total.backward()
    assert weighting.log_variances["genre"].grad is not None
    assert weighting.log_variances["energy"].grad is None


def test_uncertainty_finds_its_optimum_in_a_run() -> None:
    """The log variances would not be trained with the network."""
    toy = Toy()
    net = toy.model(dropout=0.0)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_("bias" in name and "mood" in name)
    settings = FitSettings(
        epochs=120, weighting="uncertainty", learning_rate=0.05, schedule="cosine", patience=0
    )
    history = toy.fit(net, settings=settings, valid=toy.valid[:0])
    last = {(r.task, r.metric): r.value for r in history.records if r.epoch == 120}
    for name in ("genre", "energy"):
        # At the optimum sigma^2 is L for numbers and 2 L for classes: the weight is 1 / (2 L).
        # Losses wander between the batches, and the weights behind them.
        assert last[name, "weight"] * last[name, "loss"] == pytest.approx(0.5, rel=0.1)


def test_dwa_by_hand() -> None:
    """The weights would not follow eq. 7 of Liu et al. 2019."""
    weighting = Weighting("dwa", TASKS, CONSTANT)
    weighting.end_epoch({"genre": 2.0, "energy": 1.0})
    assert weights(weighting) == [2.0, 0.5]
    weighting.end_epoch({"genre": 1.0, "energy": 0.9})
    # w = .5 and .9; l = 2 exp(w / 2) / (exp(.25) + exp(.45)) = .900332 and 1.099668.
    assert weights(weighting) == pytest.approx([2 * 0.900332, 0.5 * 1.099668], rel=1e-5)
    weighting.end_epoch({"genre": 1.0, "energy": 0.9})
    assert weights(weighting) == pytest.approx([2.0, 0.5], rel=1e-6)


def test_dwa_goes_by_the_losses_of_a_run() -> None:
    """The weights would stay as they were given."""
    toy = Toy()
    settings = FitSettings(epochs=3, weighting="dwa", learning_rate=0.01)
    history = toy.fit(toy.model(), settings=settings)
    first, second = (epoch.train for epoch in history.epochs[:2])
    powers = {name: math.exp(second[name] / first[name] / 2) for name in first}
    found = {
        (r.task, r.epoch): r.value
        for r in history.records
        if (r.split, r.metric) == ("train", "weight")
    }
    for name, power in powers.items():
        assert found[name, 1] == found[name, 2] == 1.0
        assert found[name, 3] == pytest.approx(3 * power / sum(powers.values()), rel=1e-5)


def test_dwa_of_a_task_that_was_not_met() -> None:
    """A rare task would end the run with a KeyError."""
    weighting = Weighting("dwa", TASKS, CONSTANT)
    weighting.end_epoch({"genre": 2.0})
    weighting.end_epoch({"genre": 2.0, "energy": 0.9})
    assert weights(weighting) == pytest.approx([2.0, 0.5], rel=1e-6)


@pytest.mark.parametrize("how", WEIGHTINGS)
def test_the_state_goes_on(how: str) -> None:
    """A resumed run would begin to weigh anew."""
    one, other = (Weighting(how, TASKS, CONSTANT) for _ in range(2))
    for losses in ({"genre": 2.0, "energy": 1.0}, {"genre": 1.0, "energy": 0.9}):
        one.end_epoch(losses)
    for number, parameter in enumerate(one.parameters()):
        parameter.data.fill_(0.1 + number)
    assert weights(other) != weights(one) or how in ("fixed", "equal", "prior")
    other.load(one.state())
    assert weights(other) == weights(one)
    for weighting in (one, other):
        weighting.end_epoch({"genre": 0.8, "energy": 0.1})
    assert weights(other) == weights(one)


def test_prior_starts_every_task_at_its_weight() -> None:
    """A task of many classes would count more than one of few."""
    toy = Toy()
    net = toy.model(dropout=0.0)
    for task in toy.tasks:
        layer = net.head(task["name"])
        values, mask = toy.targets[task["name"]]
        known = values[toy.train][mask[toy.train]]
        torch.nn.init.zeros_(layer.weight)
        with torch.no_grad():  # the constant predictor
            if task["kind"] == "multiclass":
                layer.bias.copy_(torch.from_numpy(np.log(np.bincount(known) / len(known))))
            elif task["kind"] == "multilabel":
                layer.bias.copy_(torch.from_numpy(np.log(known.mean(0) / (1 - known.mean(0)))))
            else:
                layer.bias.fill_(float(known.mean()))
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    net.head("genre").bias.requires_grad_(True)
    tasks = [{**task, "weight": w} for task, w in zip(toy.tasks, (0.5, 1.0, 3.0), strict=True)]
    settings = FitSettings(epochs=1, weighting="prior", learning_rate=0.0)
    history = toy.fit(net, tasks, settings)
    assert history.epochs[0].train_total == pytest.approx(4.5, rel=1e-5)

"""What is learned together and how often, from words to plans and back to numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.errors import UsageError
from mt_tools.learn import protocol
from mt_tools.nets.body import Share

TASKS = ["genre", "subgenre", "energy", "situation"]


def test_forms_of_sharing() -> None:
    """--share would build another network than the study's."""
    assert protocol.parse_share([], TASKS) == (Share(),)
    assert protocol.parse_share(["none"], TASKS) == (Share(0),)
    assert protocol.parse_share(["all"], TASKS) == (Share(None),)
    several = protocol.parse_share(["block:1", "block:2:genre+subgenre"], TASKS)
    assert several == (Share(1), Share(2, ("genre", "subgenre")))


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["block"], "expected none, all or block:K"),
        (["block:x"], "expected none, all or block:K"),
        (["block:2:genre+subgenere"], "no task 'subgenere'; did you mean subgenre"),
        (["block:2:genre"], "shares with nobody"),
        (["all", "none"], "once only"),
    ],
)
def test_sharing_that_cannot_be(texts: list[str], said: str) -> None:
    """A slip in --share would train something else for a night."""
    with pytest.raises(UsageError, match=said):
        protocol.parse_share(texts, TASKS)


def test_a_task_alone_shares_with_nobody() -> None:
    """The twin of --baseline would ask for tasks that it does not have."""
    rules = (Share(1), Share(2, ("genre", "subgenre")), Share(2, ("energy", "situation")))
    assert protocol.share_of(rules, ["genre"]) == (Share(1),)
    assert protocol.share_of(rules, ["genre", "subgenre"]) == (Share(1), Share(2, rules[1].tasks))


def test_outputs_that_feed_heads() -> None:
    """The DJ study's form (c): genre feeds subgenre, genre and energy feed situation."""
    text = "genre->subgenre,genre+energy->situation"
    expected = {"subgenre": ("genre",), "situation": ("genre", "energy")}
    assert protocol.parse_feeds([text], TASKS) == expected
    assert protocol.parse_feeds(text.split(","), TASKS) == expected
    for wrong, said in (
        ("genre", "expected 'genre->subgenre'"),
        ("genre->", "expected 'genre->subgenre'"),
        ("genre->mood", "no task 'mood'"),
        ("genre+energy->genre", "cannot feed itself"),
    ):
        with pytest.raises(UsageError, match=said):
            protocol.parse_feeds([wrong], TASKS)


def test_parameters_of_an_architecture() -> None:
    """--param would reach the network as text, or only with brackets that a shell eats."""
    texts = ["hidden=128,64", "dropout=0.5", "batch-norm=false", "pool=mean", "kinds=a,b"]
    assert protocol.parse_parameters(texts) == {
        "hidden": [128, 64], "dropout": 0.5, "batch_norm": False, "pool": "mean",
        "kinds": ["a", "b"],
    }  # fmt: skip
    for wrong, said in ((["hidden"], "NAME=VALUE"), (["a=1", "a=2"], "given twice")):
        with pytest.raises(UsageError, match=said):
            protocol.parse_parameters(wrong)


DEFAULTS = {"hidden": (128, 64), "dropout": 0.5, "batch_norm": False, "units": 8, "name": "x"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"hidden": 16}, {"hidden": [16]}),
        ({"hidden": [4, 2]}, {"hidden": [4, 2]}),
        ({"hidden": []}, {"hidden": []}),
        ({"dropout": 0}, {"dropout": 0}),
    ],
)
def test_parameters_take_the_form_of_the_defaults(given: Any, expected: Any) -> None:
    """--param hidden=16, one layer, would end in a traceback."""
    assert protocol.fitting_parameters(given, DEFAULTS, "mlp") == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"hiden": 1}, "mlp has no such parameter; did you mean hidden"),
        ({"hidden": "many"}, r"mlp takes the like of hidden=\[128, 64\]"),
        ({"hidden": [1.5]}, "takes the like"),
        ({"dropout": True}, "takes the like of dropout=0.5"),
        ({"batch_norm": 1}, "takes the like of batch_norm=false"),
        ({"units": 1.5}, "takes the like of units=8"),
        ({"name": 3}, 'takes the like of name="x"'),
    ],
)
def test_parameters_that_do_not_fit(given: Any, said: str) -> None:
    """A wrong value would be answered by torch."""
    with pytest.raises(UsageError, match=said):
        protocol.fitting_parameters(given, DEFAULTS, "mlp")


def test_seeds_of_runs() -> None:
    """A repeated training would not contain the single one, or repeat itself."""
    seeds = [protocol.run_seed(7, run) for run in range(50)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 50
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert not set(seeds[1:]) & {protocol.run_seed(8, run) for run in range(1, 50)}


def test_mean_of_the_best_epochs() -> None:
    """The DJ study's second stage would train for another number of epochs."""
    assert protocol.mean_epochs([8, 9]) == 9  # 8.5: halves go up, not to the even one
    assert protocol.mean_epochs([9, 10]) == 10
    assert protocol.mean_epochs([3, 4, 4]) == 4
    assert protocol.mean_epochs([0]) == 1


def metrics(value: float | None, **more: float) -> dict[str, Any]:
    """Return the metrics of one task on the test rows."""
    named = {"accuracy": value, **more}
    return {"test": {"genre": {"n": 5, **{k: {"value": v, "low": None} for k, v in named.items()}}}}


@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 4)), min_size=1, max_size=9))
def test_means_and_deviations_of_runs(values: list[float]) -> None:
    """The spread that --repeats reports would not be numpy's."""
    entry = protocol.spreads([metrics(value) for value in values])["test"]["genre"]["accuracy"]
    assert entry["values"] == values
    assert entry["n"] == len(values)
    assert entry["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    if len(values) > 1:
        assert entry["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    else:
        assert entry["sd"] is None


def test_an_undefined_metric_counts_nowhere() -> None:
    """One run without a positive row would make the mean of all undefined, or wrong."""
    entry = protocol.spreads([metrics(0.5), metrics(None), metrics(0.7)])["test"]["genre"]
    assert entry["accuracy"]["mean"] == pytest.approx(0.6)
    assert entry["accuracy"]["n"] == 2
    assert entry["accuracy"]["values"] == [0.5, None, 0.7]
    assert protocol.spreads([metrics(None)])["test"]["genre"]["accuracy"]["mean"] is None


def test_gain_and_loss_by_company() -> None:
    """--baseline would call a larger error a gain."""
    found = protocol.gains(metrics(0.8, log_loss=0.5), metrics(0.7, log_loss=0.4))["test"]["genre"]
    assert found["accuracy"] == {
        "together": 0.8, "alone": 0.7, "difference": pytest.approx(0.1),
        "gain": pytest.approx(0.1),
    }  # fmt: skip
    assert found["log_loss"]["difference"] == pytest.approx(0.1)
    assert found["log_loss"]["gain"] == pytest.approx(-0.1)
    assert protocol.gains(metrics(0.8), metrics(None)) == {}


def test_mean_gains_of_runs() -> None:
    """Over several splits the gain would be that of one of them."""
    runs = [protocol.gains(metrics(a), metrics(b)) for a, b in ((0.8, 0.7), (0.6, 0.7))]
    entry = protocol.mean_gains(runs)["test"]["genre"]["accuracy"]
    assert entry["gain"] == pytest.approx(0, abs=1e-6)
    assert entry["sd"] == pytest.approx(math.sqrt(0.02), abs=1e-6)
    assert entry["together"] == pytest.approx(0.7)
    assert protocol.mean_gains(runs[:1]) == runs[0]

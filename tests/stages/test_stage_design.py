"""mt-eval design and compare --design: runs are listed, and what was planted in them comes back."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Shell

from mt_tools.errors import UsageError
from mt_tools.evaluate.settings import CompareSettings, DesignSettings
from mt_tools.report.settings import PlotSettings
from mt_tools.stages import pictures
from mt_tools.stages.design import designed
from mt_tools.stages.effects import modelled
from mt_tools.stages.judging import Given, metric_rows
from mt_tools.stages.plot import plotted
from mt_tools.tables.batch import Batch

GAINS = {"bpm": 0.2, "tag": 0.05, "year": 0.0, "self": 0.02}
LEVELS = {"one": 0.0, "two": 0.03}


def table(batch: Batch, name: str = "d") -> Given:
    """Return rows as a table that was typed."""
    return Given(name, f"{name}.csv", batch.columns, [batch])


def results(runs: Batch, tasks: tuple[str, ...] = ("style", "tempo"), noise: float = 0.005,
            lower: bool = False, folder: str = "") -> list[Given]:  # fmt: skip
    """Return metrics of every run by a known linear model: sources add, strategies differ."""
    rng = np.random.default_rng(0)
    found = []
    for row in runs.rows():
        value = 0.4 + LEVELS.get(row["strategy"] or "one", 0.0)
        value += sum(GAINS[name] for name in row["sources"])
        rows = []
        for number, task in enumerate(tasks):
            own = value - 0.1 * number + rng.normal(0, noise)
            rows.append({"task": task, "metric": "accuracy", "value": own, "n": 90})
            if lower:
                rows.append({"task": task, "metric": "log_loss", "value": 2 - own, "n": 90})
        batch = metric_rows(rows)
        found.append(Given(row["run"], f"{folder}{row['run']}.json", batch.columns, [batch]))
    return found


def runs_of(*strategies: str, **more: Any) -> Batch:
    """Return a design of the four sources."""
    return designed(DesignSettings(source=tuple(GAINS), strategy=strategies, **more)).runs


def only(batch: Batch, **about: Any) -> list[dict[str, Any]]:
    """Return the rows of which this is true."""
    return [row for row in batch.rows() if all(row[name] == v for name, v in about.items())]


def one(batch: Batch, **about: Any) -> dict[str, Any]:
    """Return the one row of which this is true."""
    (row,) = only(batch, **about)
    return row


def test_what_was_planted_comes_back() -> None:
    """The whole of it: sources that help would not be found, or strategies that differ."""
    made = runs_of("one", "two:2..", full=True)
    assert len(made) == 15 + 11
    found, notes = modelled(results(made, lower=True), table(made), CompareSettings())
    for task in ("style", "tempo"):
        sd = {row["name"]: row["value"] for row in only(found, task=task, kind="source")}
        assert sorted(sd, key=sd.__getitem__)[-1] == "bpm"
        # Between two levels that lie d apart the deviation is d / sqrt(2).
        assert sd["bpm"] == pytest.approx(0.2 / 2**0.5, rel=0.15)
        mean = {
            (row["name"], row["term"]): row["value"]
            for row in only(found, task=task, kind="average", strategy="one", number=None)
        }
        # In a full factorial without its empty set: 8 runs with a source, 7 without.
        others = sum(GAINS.values()) - GAINS["bpm"]
        gap = GAINS["bpm"] + others * (4 / 8 - 4 / 7)
        assert mean["bpm", "with"] - mean["bpm", "without"] == pytest.approx(gap, abs=0.01)
        assert one(found, task=task, kind="single", name="bpm")["value"] == pytest.approx(
            (0.6 if task == "style" else 0.5), abs=0.02
        )
        best = one(found, task=task, kind="best", number=2, strategy="two")
        assert best["name"] == "two_bpm+tag"
        apart = only(found, task=task, kind="average", number=2, name="bpm")
        with_, without = sorted(apart, key=lambda row: row["term"])
        assert with_["value"] > without["value"]
    assert one(found, kind="fixed", term="sources")["low"] > 0
    assert one(found, kind="strategy", name="two", term="intercept")["value"] > 0
    # Of the one source alone and its component: both have the planted order.
    assert one(found, kind="rank", task="style")["value"] > 0.7
    assert one(found, kind="rank", task=None)["n"] == 2
    ids = [row["id"] for row in found.rows()]
    assert len(ids) == len(set(ids))
    assert any("look better than they are" in note for note in notes)


def test_a_loss_is_better_when_it_is_lower() -> None:
    """The best run of AGF's Table 5 would be the worst; two metrics would get one model."""
    made = runs_of("one", "two:2..", full=True)
    settings = CompareSettings(metric=("log_loss", "accuracy"), task=("style",))
    found, _ = modelled(results(made, lower=True), table(made), settings)
    for metric in settings.metric:
        best = one(found, metric=metric, kind="best", number=3, strategy="one")
        assert best["name"] == "one_bpm+self+tag"
        best_run = one(found, metric=metric, kind="run", name="one_bpm")
        assert best_run["term"] == "with the best source"
        assert best_run["sources"] == ["bpm"]
    slopes = {row["metric"]: row["value"] for row in only(found, kind="fixed", term="sources")}
    assert slopes["log_loss"] == pytest.approx(-slopes["accuracy"])
    ids = [row["id"] for row in found.rows()]
    assert len(ids) == len(set(ids))


def test_without_statsmodels_the_averages_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means of runs would need an extra that has nothing to do with them."""
    monkeypatch.setitem(sys.modules, "statsmodels.regression.mixed_linear_model", None)
    made = runs_of(runs=8)
    found, notes = modelled(results(made), table(made), CompareSettings())
    assert {row["kind"] for row in found.rows()} >= {"average", "best", "spread", "run"}
    assert not only(found, kind="fixed")
    assert sum("pip install 'mt-tools[stats]'" in note for note in notes) == 2  # model, components


def test_runs_of_one_number_have_averages_and_no_model() -> None:
    """Eight sources one at a time would be refused instead of compared."""
    made = runs_of("SS-R:1..1", full=True)
    found, notes = modelled(results(made), table(made), CompareSettings())
    assert only(found, task="style", kind="single", name="bpm")
    assert any("same number of sources" in note for note in notes)


def test_a_run_may_have_a_table_a_data_set() -> None:
    """Probes on seven data sets, a folder each, could not be compared, or would be mixed up."""
    made = runs_of(full=True)
    tables = [
        Given(given.path, given.path, given.columns, given.batches)
        for folder in ("ballroom/", "gtzan/")
        for given in results(made, tasks=("style",), folder=folder)
    ]
    found, _ = modelled(tables, table(made), CompareSettings())
    assert {row["task"] for row in found.rows()} - {None} == {"ballroom/style", "gtzan/style"}
    apart = [
        Given(given.path, given.path, given.columns, given.batches)
        for task in ("dance", "genre")
        for given in results(made, tasks=(task,), folder=f"{task}/")
    ]
    found, _ = modelled(apart, table(made), CompareSettings())
    assert {row["task"] for row in found.rows()} - {None} == {"dance", "genre"}


def test_leaks_that_were_allowed_are_said() -> None:
    """Means over leaking splits would look like any others."""
    made = runs_of(full=True)
    leaking = []
    for given in results(made, tasks=("style",)):
        rows = [row | {"leak": "allowed: same group"} for b in given.batches for row in b.rows()]
        batch = metric_rows(rows)
        leaking.append(Given(given.name, given.path, batch.columns, [batch]))
    _, notes = modelled(leaking, table(made), CompareSettings())
    assert "leaks: allowed: same group" in notes


def test_spread_is_drawn_of_single_runs(make_batch: Any) -> None:
    """REP's Figures 8 and 12 could not be drawn, or would show averages among runs."""
    made = runs_of("one", "two:2..", full=True)
    found, _ = modelled(results(made), table(made), CompareSettings())
    given = pictures.Given("effects", "effects.json", found.columns, [found])

    def panel(**settings: Any) -> dict[str, list[float]]:
        figure, _ = plotted([given], PlotSettings(kind="spread", task=("style",), **settings))
        (axes,) = [axes for axes in figure.axes if axes.get_visible()]
        assert axes.get_title() == "style: accuracy"
        lines = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
        return {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in lines}

    mean = [
        row["value"] for row in only(found, task="style", kind="average", name=None, strategy=None)
    ]
    assert panel(by="sources")["mean"] == pytest.approx(mean)
    assert panel()["mean"] == pytest.approx(mean)
    apart = panel(apart="strategy")
    for strategy in ("one", "two"):
        own = only(found, task="style", kind="average", name=None, strategy=strategy)
        assert apart[strategy] == pytest.approx([row["value"] for row in own])
    of_bpm = panel(apart="sources=bpm")
    assert of_bpm == {
        name.replace("the best source", "bpm"): pytest.approx(values)
        for name, values in panel(apart="term").items()
    }
    assert len(of_bpm["with bpm"]) == 4
    assert len(of_bpm["without bpm"]) == 3
    with pytest.raises(UsageError, match="--apart nothing: no such column; there are id, task"):
        panel(apart="nothing")


# --- a list of one's own -------------------------------------------------------------------------


def test_a_list_is_named_and_checked(make_batch: Any) -> None:
    """A typing error in a list would be trained for a week."""
    own = make_batch(sources=[["b", "a"], ["a"], ["a", "b"]], strategy=["x:1", "x:1", "y"])
    made = designed(DesignSettings(own="d.csv"), table(own)).runs.rows()
    assert [row["run"] for row in made] == ["x-1_a+b", "x-1_a", "y_a+b"]
    assert [row["strategy"] for row in made] == ["x:1", "x:1", "y"]
    named = make_batch(sources=[["a"], ["b"]], run=["mine", None])
    made = designed(DesignSettings(own="d.csv"), table(named)).runs.rows()
    assert [row["run"] for row in made] == ["mine", "b"]

    def refused(match: str, settings: DesignSettings | None = None, **columns: Any) -> None:
        with pytest.raises(UsageError, match=match):
            designed(settings or DesignSettings(own="d.csv"), table(make_batch(**columns)))

    refused("row 2: a is row 1 too", sources=[["a"], ["a"]])
    refused(r"row 2: got \[\] as sources", sources=[["a"], []])
    refused("row 1: a stands twice", sources=[["a", "a"]])
    refused("no column 'sources'", strategy=["x"])
    refused("run a b: expected letters", sources=[["a"]], run=["a b"])
    refused("two runs would be called m", sources=[["a"], ["b"]], run=["m", "m"])
    known = DesignSettings(own="d.csv", source=("a", "b"), strategy=("x:1..1",))
    refused("row 1: c is no --source", known, sources=[["c"]], strategy=["x"])
    refused("row 1: y is no --strategy; those are x", known, sources=[["a"]], strategy=["y"])
    refused(
        "row 1: x takes 1 source, and this run has 2", known, sources=[["a", "b"]], strategy=["x"]
    )


def test_settings_that_contradict_each_other_are_refused() -> None:
    """One of two options would be ignored without a word."""
    for settings, match in (
        (DesignSettings(source=("a",), runs=3, full=True), "--runs and --full contradict"),
        (DesignSettings(source=("a",), add_full=True), "--add-full goes with --runs"),
        (DesignSettings(), "--source .missing."),
        (DesignSettings(source=("a", "a")), "--source a stands twice"),
        (DesignSettings(source=("a",), strategy=("x", "x:2..")), "--strategy x stands twice"),
    ):
        with pytest.raises(UsageError, match=match):
            designed(settings)
    with pytest.raises(UsageError, match="two runs would be called x_b_c"):
        designed(DesignSettings(source=("c", "b_c"), strategy=("x", "x_b")))


def test_further_strategies_take_what_is_there() -> None:
    """REP's concatenations of single networks would be other sets than those trained together."""
    settings = DesignSettings(source=tuple(GAINS), strategy=("all:2..",), runs=6, add_full=True,
                              also=("SS-R:1..1", "MSS-CR:2.."))  # fmt: skip
    made = designed(settings).runs.rows()
    sets = {name: {frozenset(row["sources"]) for row in made if row["strategy"] == name}
            for name in ("all", "SS-R", "MSS-CR")}  # fmt: skip
    assert sets["MSS-CR"] == sets["all"]
    assert sets["SS-R"] == {frozenset([name]) for name in GAINS}
    assert len(made) == 7 + 4 + 7


def test_from_the_shell(sh: Shell, tmp_path: Path) -> None:
    """A Makefile could not go from a list of runs to what they show."""
    line = "mt-eval design --source bpm --source tag --source year --strategy a:1 --strategy b:2.. "
    done = sh(line + "--confounding mixed.csv -o runs.csv", ok=True)
    assert b"11 runs: each source in 7 of them" in done.stderr
    rows = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert [row["run"] for row in rows][:4] == ["a-1_bpm", "a-1_tag", "a-1_year", "a-1_bpm+tag"]
    assert rows[3]["sources"] == "bpm|tag"
    assert {row["kind"] for row in csv.DictReader((tmp_path / "mixed.csv").open())} == {
        "correlation",
        "alias",
    }
    rng = np.random.default_rng(0)
    for row in rows:
        value = 0.5 + 0.1 * ("bpm" in row["sources"]) + rng.normal(0, 0.01)
        metric = {"id": "x", "task": "x", "metric": "accuracy", "label": None, "value": value}
        (tmp_path / f"{row['run']}.json").write_text(json.dumps([metric]))
    done = sh("mt-eval compare [ab]*.json --design runs.csv --format table", ok=True)
    shown = done.stdout.decode()
    assert "multilevel model accuracy" in shown
    assert "with bpm" in shown
    assert "11 rows of single runs not shown" in shown

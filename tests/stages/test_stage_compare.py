"""mt-eval compare: how runs are found in tables, paired, judged, and what a CI job sees."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support import Shell

from mt_tools.errors import UsageError
from mt_tools.evaluate.settings import CompareSettings
from mt_tools.stages.compare import Compared, compared
from mt_tools.stages.effects import modelled
from mt_tools.stages.runs import Given, named
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

SPLITS = "svm, 30 repeats of 0.1 tested, stratified, splits 0123abcd"


def lines(
    values: Sequence[float], task: str = "style", metric: str = "accuracy", **more: Any
) -> list[dict[str, Any]]:
    """Return metric rows as `mt-eval probe --each` writes them: the mean, then a row a split."""
    mean, error = float(np.mean(values)), float(np.std(values) / 3)
    row = {"task": task, "metric": metric, "label": None, "column": None, "repeat": None, "note": None,
           "protocol": SPLITS, "leak": "none found by origin and group, which stay whole"} | more  # fmt: skip
    whole = row | {"value": mean, "low": mean - error, "high": mean + error, "n": 300}
    each = [
        row | {"repeat": i, "value": v, "low": None, "high": None, "n": 30}
        for i, v in enumerate(values)
    ]
    return [whole, *each]


def given(name: str, *rows: list[dict[str, Any]]) -> Given:
    """Return metric rows as a table that was typed."""
    every = [row | {"id": str(number)} for number, row in enumerate(itertools.chain(*rows))]
    kinds = dict.fromkeys(("value", "low", "high"), "number") | dict.fromkeys(
        ("n", "repeat"), "integer"
    )
    columns = [
        Column(n, kinds.get(n, "string"), "reserved" if n == "id" else "label") for n in every[0]
    ]
    batch = Batch.build(columns, {c.name: [row.get(c.name) for row in every] for c in columns})
    return Given(name, f"{name}.json", batch.columns, [batch])


def rows_of(found: Compared) -> dict[str, dict[str, Any]]:
    """Return the comparisons by their ids."""
    return {row["id"]: row for row in found.table.rows()}


@pytest.fixture
def noise() -> np.ndarray:
    """What is hard about each of thirty splits."""
    return np.random.default_rng(0).normal(0.7, 0.05, 30)


def test_splits_are_paired(noise: np.ndarray) -> None:
    """A small real difference would drown in what makes splits hard for both."""
    second = noise + np.random.default_rng(1).normal(0.02, 0.01, 30)
    whole, *each = lines(second)
    one, other = given("a", lines(noise)), given("b", [*each[::-1], whole])  # in any order
    found = rows_of(compared([one, other], CompareSettings()))["style.accuracy: b against a"]
    assert found["difference"] == pytest.approx(np.mean(second - noise))
    plain = stats.ttest_1samp(second - noise, 0).statistic
    corrected = plain / np.sqrt(1 + 30 / 9)  # a tenth tested: n times tested over trained
    assert found["p"] == pytest.approx(2 * stats.t.sf(abs(corrected), 29))
    assert (found["test"], found["n"], found["decision"]) == ("corrected resampled t", 30, "better")
    assert found["leak"] == "none found by origin and group, which stay whole"


def test_other_splits_are_not_paired(noise: np.ndarray) -> None:
    """Values of splits that have nothing to do with each other would be subtracted."""
    moved = lines(noise - 0.2, protocol=SPLITS.replace("0123abcd", "89abcdef"))
    with pytest.raises(UsageError, match="not tested on the same splits .* say --unpaired"):
        compared([given("a", lines(noise)), given("b", moved)], CompareSettings())
    with pytest.raises(UsageError, match="not tested on the same splits"):
        compared([given("a", lines(noise)), given("b", lines(noise[:20]))], CompareSettings())
    tables = [given("a", lines(noise)), given("b", moved)]
    found = rows_of(compared(tables, CompareSettings(unpaired=True)))["style.accuracy: b against a"]
    assert found["test"] == "normal, from the intervals"
    assert found["note"].startswith("unpaired: wider than need be")
    assert found["decision"] == "worse"


def test_a_baseline_of_which_only_intervals_are_kept(noise: np.ndarray) -> None:
    """A stored result of mt-eval score, or of a probe without --each, would be of no use to CI."""
    stored = given("base", lines(noise)[:1])
    for shift, word in ((-0.3, "worse"), (0.3, "better"), (0.0, "no difference shown")):
        found = compared([given("new", lines(noise + shift))], CompareSettings(), stored)
        row = rows_of(found)["style.accuracy: new against base"]
        assert row["decision"] == word
        assert bool(found.regressions) == (word == "worse")


def test_what_cannot_be_tested_is_said(noise: np.ndarray) -> None:
    """A baseline without intervals would pass every run without a word."""
    whole = lines(noise)[0] | {"low": None, "high": None, "note": "1 cluster: nothing to resample"}
    found = compared([given("new", lines(noise - 0.3))], CompareSettings(), given("base", [whole]))
    row = rows_of(found)["style.accuracy: new against base"]
    assert (row["p"], row["decision"]) == (None, "no difference shown")
    (note,) = [note for note in found.notes if "not tested" in note]
    assert "1 cluster: nothing to resample" in note


def test_only_what_matters_is_a_regression(noise: np.ndarray) -> None:
    """A job would fail for a loss of half a per cent that nobody cares about, or pass a large one."""
    small = noise - 0.005 + np.random.default_rng(3).normal(0, 1e-4, 30)
    for rope, word in ((0.01, "practically equal"), (0.001, "worse")):
        found = compared(
            [given("new", lines(small))], CompareSettings(rope=rope), given("base", lines(noise))
        )
        assert rows_of(found)["style.accuracy: new against base"]["decision"] == word
        assert len(found.regressions) == (word == "worse")
    (line,) = found.regressions
    assert line.startswith("style.accuracy: new is worse than base: ")


def test_lower_is_better_for_errors(noise: np.ndarray) -> None:
    """A model whose error fell would be reported as a regression."""
    before, after = lines(noise, metric="kl"), lines(noise - 0.1 + noise / 50, metric="kl")
    found = compared([given("new", after)], CompareSettings(), given("base", before))
    row = rows_of(found)["style.kl: new against base"]
    assert row["difference"] < 0
    assert row["decision"] == "better"
    assert row["chance_better"] > 0.99
    worse = compared([given("new", before)], CompareSettings(), given("base", after))
    assert len(worse.regressions) == 1


def test_the_family_of_holm_is_every_comparison_of_tasks(noise: np.ndarray) -> None:
    """Of many tasks one would look worse by chance alone and fail the job."""
    rng = np.random.default_rng(5)
    tasks = [f"t{i}" for i in range(6)]
    tables = [
        given(name, *(lines(noise + rng.normal(0.01, 0.02, 30), task) for task in tasks))
        for name in "abc"
    ]
    found = compared(tables, CompareSettings())
    rows = [row for row in found.table.rows() if row["task"]]
    assert len(rows) == 18
    assert {row["family"] for row in rows} == {18}
    from statsmodels.stats.multitest import multipletests

    expected = multipletests([row["p"] for row in rows], method="holm")[1]
    assert [row["p_holm"] for row in rows] == pytest.approx(expected)
    over = [row for row in found.table.rows() if row["task"] is None]
    assert [(row["metric"], row["n"], row["family"]) for row in over] == [("accuracy", 6, 3)] * 3
    assert found.ranking is not None
    assert found.ranking.tasks == 6
    assert any(note.startswith("mean ranks over 6 tasks") for note in found.notes)


def test_main_metrics_of_different_kinds_count_one_way(noise: np.ndarray) -> None:
    """Over tasks an error that fell would cancel an accuracy that rose."""

    def table(name: str, gain: float) -> Given:
        return given(
            name,
            lines(noise + gain), lines(noise + gain, metric="f1_macro"),
            lines(noise - gain, "mood", "kl"), lines(noise + gain, "tags", "roc_auc_macro"),
        )  # fmt: skip

    found = rows_of(compared([table("a", 0.0), table("b", 0.1)], CompareSettings()))
    over = found["all tasks.main metric: b against a"]
    assert over["difference"] == pytest.approx(0.1)
    assert over["chance_better"] > 0.9
    assert len(found) == 4  # f1_macro is not the main metric of style
    named_ = rows_of(
        compared([table("a", 0.0), table("b", 0.1)], CompareSettings(metric=("f1_macro",)))
    )
    assert set(named_) == {"style.f1_macro: b against a"}


def test_every_run_of_a_table_is_found(noise: np.ndarray) -> None:
    """Several embeddings probed in one call, or several models scored, could not be compared."""
    one = given(
        "probe", lines(noise, column="embedding.mfcc"), lines(noise + 0.1, column="embedding.crnn")
    )
    assert list(rows_of(compared([one], CompareSettings()))) == [
        "style.accuracy: crnn against mfcc"
    ]
    one = given(
        "probe", lines(noise, column="embedding.mfcc"), lines(noise + 0.1, column="embedding.crnn")
    )
    old = given(
        "old", lines(noise - 0.1, column="embedding.mfcc"), lines(noise, column="embedding.crnn")
    )
    found = compared([one], CompareSettings(), old)
    assert list(rows_of(found)) == [
        "style.accuracy: probe.mfcc against old.mfcc",
        "style.accuracy: probe.crnn against old.crnn",
    ]
    new = given("new", lines(noise, column="embedding.crnn"))
    old = given("old", lines(noise, column="embedding.mfcc"), lines(noise, column="embedding.crnn"))
    assert list(rows_of(compared([new], CompareSettings(), old))) == [
        "style.accuracy: new against old.crnn"
    ]
    new = given("new", lines(noise, column="embedding.vggish"))
    with pytest.raises(UsageError, match="old has the runs mfcc, crnn and none like new"):
        compared([new], CompareSettings(), old)
    models = given("p", lines(noise, "a.style"), lines(noise, "b.style"), lines(noise, "v1.mood"))
    found = compared([models], CompareSettings())
    assert list(rows_of(found)) == ["style.accuracy: b against a"]
    with pytest.raises(UsageError, match="got one run, a: a comparison needs two"):
        compared([given("a", lines(noise))], CompareSettings())


def test_a_task_that_one_run_lacks_is_said(noise: np.ndarray) -> None:
    """A task that vanished from the new table would pass as no regression without a word."""
    base = given("base", lines(noise), lines(noise, "mood"))
    found = compared([given("new", lines(noise))], CompareSettings(), base)
    assert "mood.accuracy: not in new, so not compared" in found.notes
    with pytest.raises(UsageError, match="no such task; there are style"):
        compared([given("a", lines(noise)), given("b", lines(noise))], CompareSettings(task=("x",)))
    with pytest.raises(UsageError, match="no such metric; there are accuracy"):
        compared(
            [given("a", lines(noise)), given("b", lines(noise))], CompareSettings(metric=("x",))
        )
    with pytest.raises(UsageError, match="no task and metric in common"):
        compared([given("a", lines(noise)), given("b", lines(noise, "mood"))], CompareSettings())
    with pytest.raises(UsageError, match="stands twice"):
        compared(
            [given("a", lines(noise), lines(noise)), given("b", lines(noise))], CompareSettings()
        )
    with pytest.raises(UsageError, match="ranks three runs or more"):
        compared(
            [given("a", lines(noise)), given("b", lines(noise))], CompareSettings(plot="x.svg")
        )


def test_labels_keep_their_names_in_any_format(noise: np.ndarray) -> None:
    """A tag in one table alone would be reported as a metric, and yes and no not be found in CSV."""
    both = [lines(noise, metric="f1", label=name)[0] for name in ("true", "a,b")]
    other = lines(noise, metric="f1", label="true")[0]
    found = compared([given("a", both), given("b", [other])], CompareSettings(metric=("f1",)))
    assert "style.f1[a,b]: not in b, so not compared" in found.notes
    (batch,) = given("b", [other]).batches
    batch = batch.without(["label"]).append(Column("label", "boolean"), [True])  # as CSV is read
    spoken = Given("b", "b.csv", batch.columns, [batch])
    found = compared([given("a", both), spoken], CompareSettings(metric=("f1",)))
    assert found.table["label"].tolist() == ["true"]


def test_a_log_is_no_run() -> None:
    """The curves of a training would be taken for metrics that stand twice."""
    names = ("id", "run", "step", "samples", "epoch", "task", "split", "metric", "value")
    log = Given("log", "log.parquet", {name: Column(name, "string") for name in names})
    with pytest.raises(UsageError, match="log.parquet is a log of mt-train: draw it with"):
        compared([log, log], CompareSettings())


def test_names_of_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of one name would be one run, or a file with = in its name would not be found."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=0.1.json").touch()
    assert named(["runs/a.json", "old=b.json", "lr=0.1.json", "-"]) == [
        ("a", "runs/a.json"), ("old", "b.json"), ("lr=0.1", "lr=0.1.json"), ("stdin", "-"),
    ]  # fmt: skip
    assert [name for name, _ in named(["x/p.json", "y/p.json"])] == ["x/p.json", "y/p.json"]
    with pytest.raises(UsageError, match="other=p.json"):
        named(["p.json", "p.json"])


# --- predictions ---------------------------------------------------------------------------------


def predictions(
    make_batch: Any, seed: int, right: float, name: str, rows: int = 240, **more: Any
) -> Given:
    """Return labels and predictions of one model, artists of two tracks, in an order of its own."""
    truth = np.random.default_rng(0).choice(list("abc"), 240)
    rng = np.random.default_rng(seed)
    found = [t if rng.random() < right else rng.choice(list("abc")) for t in truth]
    values = {
        "id": [f"t{i}" for i in range(240)], "group": [f"g{i // 2}" for i in range(240)],
        "style": truth.tolist(), "style_pred": found,
    } | more  # fmt: skip
    batch = make_batch(**values).take(rng.permutation(240)[:rows])
    return Given(name, f"{name}.parquet", batch.columns, [batch])


def test_predictions_are_paired_by_track(make_batch: Any) -> None:
    """Rows in another order would be compared with the wrong tracks; the interval would be too wide."""
    one, other = (predictions(make_batch, s, r, n) for s, r, n in ((1, 0.6, "a"), (2, 0.75, "b")))
    found = rows_of(compared([one, other], CompareSettings()))["style.accuracy: b against a"]
    hits = []
    for table in (one, other):
        (batch,) = table.batches
        order = np.argsort([int(i[1:]) for i in batch.ids])
        hits.append((batch["style"] == batch["style_pred"])[order].astype(float))
    assert found["value_a"] == pytest.approx(hits[0].mean())
    assert found["difference"] == pytest.approx((hits[1] - hits[0]).mean())
    # By artist, whose tracks stay together: BCa by scipy, within the noise of 1,000 draws.
    per_artist = (hits[1] - hits[0]).reshape(-1, 2).mean(axis=1)
    expected = stats.bootstrap(
        (per_artist,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected), abs=0.012)
    p = stats.ttest_1samp(per_artist, 0).pvalue
    assert np.log10(found["p"]) == pytest.approx(np.log10(p), abs=0.5)
    assert found["decision"] == "better"
    assert found["protocol"] == "240 rows in 120 clusters, paired bootstrap (BCa, 95 %)"
    again = rows_of(compared([one, other], CompareSettings()))["style.accuracy: b against a"]
    assert again == found


def test_models_of_one_table_and_single_labels(make_batch: Any) -> None:
    """`mt-tag --model a=FILE --model b=FILE` would have to be taken apart by hand."""
    two = {
        f"{name}.style_pred": predictions(make_batch, seed, right, name).batches[0]["style_pred"].tolist()
        for seed, name, right in ((1, "x", 0.5), (2, "y", 0.9))
    }  # fmt: skip
    table = predictions(make_batch, 3, 1.0, "p", **two)
    found = rows_of(compared([table], CompareSettings(metric=("accuracy", "f1"))))
    assert "style.accuracy: y against x" in found
    assert {row["label"] for row in found.values() if row["metric"] == "f1"} == set("abc")


def test_rows_and_labels_must_be_the_same(make_batch: Any) -> None:
    """Models would be compared on different music, or against different truths, in silence."""
    one = predictions(make_batch, 1, 0.6, "a")
    fewer = predictions(make_batch, 2, 0.6, "b", rows=200)
    found = compared([one, fewer], CompareSettings())
    assert found.table["n"][0] == 200
    assert "style: 40 rows without label or prediction in every run are left out" in found.notes
    other = predictions(make_batch, 2, 0.6, "b", style=["a"] * 240)
    with pytest.raises(UsageError, match="the labels of a and b differ in"):
        compared([one, other], CompareSettings())
    stranger = predictions(make_batch, 2, 0.6, "b", id=[f"u{i}" for i in range(240)])
    with pytest.raises(UsageError, match="no row in common"):
        compared([one, stranger], CompareSettings())
    with pytest.raises(UsageError, match="score it first: mt-eval score a.parquet -o a.json"):
        compared([one], CompareSettings(), given("base", lines(np.full(5, 0.7))))


def test_rows_of_a_split_and_leaks(make_batch: Any) -> None:
    """Rows that trained would be compared, or a split that leaks would pass."""
    part = {"split": ["train" if i % 4 < 2 else "test" for i in range(240)]}
    tables = [predictions(make_batch, s, 0.7, n, **part) for s, n in ((1, "a"), (2, "b"))]
    found = compared(tables, CompareSettings(splits="test"))
    assert found.table["n"][0] == 120
    assert found.table["leak"][0] == "none found between the parts of split"
    assert any(
        "rows of train are compared too" in n for n in compared(tables, CompareSettings()).notes
    )
    torn = {"split": ["train" if i % 2 else "test" for i in range(240)]}
    tables = [predictions(make_batch, s, 0.7, n, **torn) for s, n in ((1, "a"), (2, "b"))]
    with pytest.raises(UsageError, match="--allow-leak"):
        compared(tables, CompareSettings(splits="test"))
    found = compared(tables, CompareSettings(splits="test", allow_leak=True))
    assert "allowed" in found.table["leak"][0]
    with pytest.raises(UsageError, match="no row of .* has this split"):
        compared(tables, CompareSettings(splits="valid", allow_leak=True))


def test_tags_of_different_vocabularies_are_refused(make_batch: Any) -> None:
    """A mean over fifty tags would be compared with one over ten."""
    tables = []
    for name, tags in (("a", list("xyz")), ("b", list("xy"))):
        rng = np.random.default_rng(0)
        batch = make_batch(
            tags=[[t for t in "xyz" if rng.random() < 0.5] for _ in range(40)],
            tags_pred=[[t for t in tags if rng.random() < 0.5] for _ in range(40)],
        )
        scores = rng.random((40, len(tags))).astype(np.float32)
        column = Column("tags_score", "vector", "prediction", {"vocabulary": tags}, (len(tags),))
        batch = batch.append(column, scores)
        tables.append(Given(name, name, batch.columns, [batch]))
    with pytest.raises(UsageError, match="a and b predict different labels"):
        compared(tables, CompareSettings())


# --- the command ---------------------------------------------------------------------------------


def test_a_job_hangs_on_the_comparison(sh: Shell, tmp_path: Path) -> None:
    """A CI job would pass although the embedding got worse, or fail although it did not."""
    rng = np.random.default_rng(0)
    hard = rng.normal(0.7, 0.05, 30)
    gains = {"base": 0.0, "same": 0.0, "worse": -0.05, "better": 0.05}
    for name, gain in gains.items():
        values = hard + gain * (1 + rng.normal(0, 0.1, 30))
        rows = [row | {"id": f"{i}"} for i, row in enumerate(lines(values))]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    codes = {
        name: sh(f"mt-eval compare {name}.json --against base.json -o {name}.csv")
        for name in gains
        if name != "base"
    }
    assert {name: done.returncode for name, done in codes.items()} == {
        "same": 0,
        "worse": 4,
        "better": 0,
    }
    last = codes["worse"].stderr.decode().splitlines()[-1]
    assert "style.accuracy: worse is worse than base: 0.6" in last
    assert "difference -0.05" in last
    with (tmp_path / "worse.csv").open() as file:  # the result is written all the same
        (row,) = csv.DictReader(file)
    assert (row["decision"], row["a"], row["b"]) == ("worse", "base", "worse")
    done = sh("mt-eval compare same.json better.json --against base.json --format table", ok=True)
    shown = done.stdout.decode()
    assert "practically equal" in shown
    assert "better" in shown


def test_ranks_and_effects_from_the_shell(sh: Shell, tmp_path: Path) -> None:
    """The picture, or the study's model, would not come out of the tables that probes write."""
    rng = np.random.default_rng(0)
    sources = [s for k in (1, 2, 3) for s in itertools.combinations("abcd", k)]
    design = ["run,sources,strategy"]
    for number, row in enumerate(sources):
        rows = []
        for task, level in (("x", 0.5), ("y", 0.6), ("z", 0.8)):
            value = level + 0.02 * len(row) + 0.1 * ("a" in row) + rng.normal(0, 0.01)
            rows.append(lines([value] * 2, task)[0] | {"id": task})
        (tmp_path / f"r{number:02d}.json").write_text(json.dumps(rows))
        design.append(f"r{number:02d},{'|'.join(row)},{'one' if number % 2 else 'two'}")
    (tmp_path / "runs.csv").write_text("\n".join(design) + "\n")
    sh("mt-eval compare r0[0-4].json --plot ranks.svg -o /dev/null", ok=True)
    assert "r03" in (tmp_path / "ranks.svg").read_text()
    done = sh("mt-eval compare r*.json --design runs.csv", ok=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    effects = {row["id"]: row for row in rows}
    assert effects["fixed.sources"]["low"] > 0
    for task in "xyz":
        of_task = {name: effects[f"{task}.source.{name}"]["value"] for name in "abcd"}
        assert max(of_task, key=of_task.__getitem__) == "a"
    refused = sh("mt-eval compare r*.json --design runs.csv --against r00.json")
    assert refused.returncode == 2


def test_a_design_says_how_each_run_was_made(noise: np.ndarray, make_batch: Any) -> None:
    """A run without sources would silently count as having none."""
    runs = [given(name, lines(noise)) for name in "ab"]
    made = make_batch(run=["a"], sources=[["x"]])
    with pytest.raises(UsageError, match="no row for the run b; it has a"):
        modelled(runs, Given("d", "d.csv", made.columns, [made]), CompareSettings())
    numbers = make_batch(run=["a", "b"], sources=[1.0, 2.0])
    with pytest.raises(UsageError, match="got 1.0 as the sources of a"):
        modelled(runs, Given("d", "d.csv", numbers.columns, [numbers]), CompareSettings())
    with pytest.raises(UsageError, match="no column 'sources'"):
        modelled(runs, Given("d", "d.csv", {"run": made.columns["run"]}, [made]), CompareSettings())

"""mt-eval probe without its command: metric rows, the table's own splits, leaks, each split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mt_tools.errors import UsageError
from mt_tools.evaluate.intervals import corrected_resampled_t
from mt_tools.evaluate.settings import ProbeSettings, ProbeTaskSettings
from mt_tools.stages.judging import requirements_unmet
from mt_tools.stages.probe import probed
from mt_tools.tables.batch import Batch

QUICK = ProbeSettings(probe="ridge", folds=4)
OWN = ProbeSettings(probe="ridge")


@pytest.fixture
def table(make_batch: Any) -> Any:
    """Make 48 tracks of 12 artists, a vector and a style each, and what else is asked for."""

    def make(**columns: Any) -> Batch:
        rng = np.random.default_rng(0)
        vectors = rng.normal(size=(48, 4)).astype(np.float32)
        batch: Batch = make_batch(
            **{
                "group": [f"artist {i // 4}" for i in range(48)],
                "style": ["a" if v[0] > 0 else "b" for v in vectors],
                "embedding": vectors,
            }
            | columns
        )
        return batch

    return make


def run(
    batch: Batch, settings: ProbeSettings = QUICK, jobs: int = 1, **asked: Any
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Probe, and return the rows by their id, and the notes."""
    options = ProbeTaskSettings(**({"task": ("style",)} | asked))
    found, notes = probed([batch], batch.columns, options, settings, jobs)
    return {row["id"]: row for row in found.rows()}, notes


def test_probes_name_what_they_left_out(make_batch: Any) -> None:
    """Nulls among labels and vectors are left out and counted; several columns are told apart."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 4)).astype(np.float32)
    styles: list[str | None] = ["a" if v[0] > 0 else "b" for v in vectors]
    vectors[0], styles[1] = np.nan, None
    noise = rng.normal(size=(60, 4)).astype(np.float32)
    batch = make_batch(embedding=vectors, style=styles, **{"embedding.noise": noise})
    settings = ProbeSettings(probe="logistic", folds=5)
    rows, notes = run(batch, settings)
    assert rows["embedding.style.accuracy"]["value"] > 0.9
    assert rows["embedding.noise.style.accuracy"]["value"] < 0.75
    assert "style: 1 rows have no label and are left out" in notes
    assert "style: 1 rows have no vector and are left out" in notes
    one, _ = run(batch, settings, column=("embedding",))
    assert one["style.accuracy"]["value"] == rows["embedding.style.accuracy"]["value"]


def test_what_cannot_be_probed_is_refused(make_batch: Any) -> None:
    """No task: the labels are named; no vectors: how to make them; one class: it says so."""
    batch = make_batch(embedding=np.eye(4, dtype=np.float32), style=["a"] * 4, tempo=[1, 2, 3, 4])
    for wrong, message in (
        ({"task": ()}, "one of style, tempo"),
        ({}, "one class only"),
        ({"column": ("tempo",)}, "not a column of vectors"),
    ):
        with pytest.raises(UsageError, match=message):
            run(batch, **wrong)
    with pytest.raises(UsageError, match="make one with mt-embed"):
        run(batch.without(["embedding"]))
    with pytest.raises(UsageError, match="choose one of logistic, knn"):
        run(batch, task=("embedding",))


def test_a_row_for_every_split(table: Any) -> None:
    """mt-eval compare would have nothing to pair, or pair one split with another."""
    batch = table()
    rows, _ = run(batch, each=True)
    values = [rows[f"style.accuracy#{split}"]["value"] for split in range(4)]
    whole = rows["style.accuracy"]
    assert whole["value"] == pytest.approx(np.mean(values))
    interval = corrected_resampled_t(np.array(values), 1 / 4)
    assert whole["low"] == pytest.approx(interval.low)
    assert sum(rows[f"style.accuracy#{split}"]["n"] for split in range(4)) == 48
    assert {row["repeat"] for row in rows.values()} == {None, 0, 1, 2, 3}
    # Another embedding of the same tracks, the rows in another order, is tested on the same.
    vectors = np.random.default_rng(1).normal(size=(48, 9)).astype(np.float32)
    other, _ = run(table(embedding=vectors).take(np.arange(48)[::-1]), each=True)
    assert other["style.accuracy"]["protocol"] == whole["protocol"]
    assert requirements_unmet(
        probed([batch], batch.columns, ProbeTaskSettings(task=("style",), each=True), QUICK, 1)[0],
        ["accuracy>=0.5"],
    ) == []  # fmt: skip


def test_a_split_of_the_table_is_used(table: Any) -> None:
    """A published split would be ignored, its test rows trained on."""
    parts = ["train"] * 24 + ["valid"] * 4 + ["test"] * 16 + [None] * 4
    batch = table(split=parts)
    rows, notes = run(batch, OWN)
    x, y = batch["embedding"].astype(float), batch["style"].astype(str)
    model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=1)).fit(x[:24], y[:24])
    found = rows["style.accuracy"]
    assert found["value"] == pytest.approx(model.score(x[28:44], y[28:44]))
    assert found["low"] < found["value"] <= found["high"]
    assert found["n"] == 40
    assert "given split of 24 train and 16 test rows, grouped" in found["protocol"]
    assert found["leak"] == "none found between the parts of split"
    assert "4 rows have no split and are left out" in notes
    assert "4 valid rows are left out: only --search uses them" in notes
    searched, _ = run(batch, ProbeSettings(probe="ridge", search=True))
    assert searched["style.accuracy"]["n"] == 44
    assert searched["style.accuracy"]["note"].startswith("chosen: C = ")


def test_drawn_splits_leave_test_rows_alone(table: Any) -> None:
    """Who chooses an embedding by fifty draws would have chosen it on the test rows."""
    batch = table(split=["train"] * 32 + ["test"] * 16)
    rows, notes = run(batch)
    assert rows["style.accuracy"]["n"] == 32
    assert "16 rows are marked as test and are left out: --ignore-split uses them too" in notes
    alone, _ = run(table().take(range(32)))
    assert rows["style.accuracy"]["value"] == alone["style.accuracy"]["value"]
    rows, _ = run(batch, ignore_split=True)
    assert rows["style.accuracy"]["n"] == 48
    rows, _ = run(batch, OWN, ignore_split=True)
    assert "10 folds" in rows["style.accuracy"]["protocol"]
    with pytest.raises(UsageError, match="no train rows"):
        run(table(split=["test"] * 48))
    with pytest.raises(UsageError, match="'dev'"):
        run(table(split=["dev"] * 48))


def test_folds_of_the_table_are_used(table: Any) -> None:
    """Published folds would be drawn again, or train on what the table marks as test."""
    fold = [i // 4 % 3 if i < 44 else None for i in range(48)]
    rows, notes = run(table(fold=fold), OWN, each=True)
    assert "3 given folds, grouped" in rows["style.accuracy"]["protocol"]
    assert rows["style.accuracy"]["leak"] == "none found between the parts of fold"
    assert [rows[f"style.accuracy#{k}"]["n"] for k in range(3)] == [16, 16, 12]
    assert "4 rows have no fold and are left out" in notes
    both = table(fold=[i // 4 % 3 for i in range(48)], split=["train"] * 36 + ["test"] * 12)
    rows, _ = run(both, OWN)
    assert "3 given folds" in rows["style.accuracy"]["protocol"]
    assert rows["style.accuracy"]["n"] == 36
    rows, _ = run(both, QUICK)
    assert "4 folds" in rows["style.accuracy"]["protocol"]


@pytest.mark.parametrize("column", ["fold", "split"])
def test_a_split_that_leaks_is_refused(table: Any, column: str) -> None:
    """An artist on both sides would make a number that nobody can believe, and nobody would know."""
    parts = {"fold": [i % 2 for i in range(48)], "split": ["train", "test"] * 24}
    batch = table(**{column: parts[column]})
    with pytest.raises(
        UsageError, match=f"the {column} leaks: 12 groups in more than one {column}"
    ):
        run(batch, OWN)
    rows, notes = run(batch, OWN, allow_leak=True, each=True)
    assert all(row["leak"].startswith("allowed: 12 groups in more") for row in rows.values())
    assert any("ungrouped" in note for note in notes)


def test_every_row_says_what_is_known_of_leaks(table: Any, make_batch: Any) -> None:
    """A number of drawn splits would not say whether artists were kept apart, or doubles found."""
    rows, _ = run(table())
    assert rows["style.accuracy"]["leak"] == "none found by origin and group, which stay whole"
    twice = table()["embedding"]
    twice[47] = twice[0]
    rows, _ = run(table(embedding=twice))
    assert rows["style.accuracy"]["leak"].startswith("possible: 1 set of identical rows of emb")
    twice[1] = twice[47] = twice[0]  # of one artist, who is not separated, and of another
    apart, _ = run(table(embedding=twice), ProbeSettings(probe="ridge", folds=4, grouped="no"))
    assert apart["style.accuracy"]["leak"] == (
        "possible: artists may stand on both sides, 1 set of identical rows of embedding in more "
        "than one origin; none found by origin, which stays whole"
    )
    twice = table()["embedding"]
    twice[1] = twice[0]
    rows, _ = run(table(embedding=twice))
    assert "identical" not in rows["style.accuracy"]["leak"]


def test_many_at_once_are_each_alone(table: Any) -> None:
    """Embeddings and tasks of one call would be mixed up, or depend on the number of jobs."""
    rng = np.random.default_rng(5)
    other = rng.normal(size=(48, 3)).astype(np.float32)
    batch = table(**{"embedding.b": other, "level": rng.normal(size=48).tolist()})
    settings = ProbeSettings(folds=4, target="standard", shots="3")
    asked = {"task": ("style", "level"), "each": True}
    many, _ = run(batch, settings, **asked)
    again, _ = run(batch, settings, jobs=3, **asked)
    assert repr(many) == repr(again)
    for column in ("embedding", "embedding.b"):
        for task in ("style", "level"):
            alone, _ = run(batch, settings, column=(column,), task=(task,), each=True)
            for name, row in alone.items():
                same = many[f"{column}.{name}"]
                assert repr(same | {"id": name}) == repr(row)
            assert any("@3" in name for name in alone)

"""mt-eval without its command: metric rows, requirements, planted leaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score, roc_auc_score

from mt_tools.errors import NoRows, UsageError
from mt_tools.evaluate.settings import ProbeSettings
from mt_tools.nets.model import Model
from mt_tools.recipes import Recipe
from mt_tools.stages import augment
from mt_tools.stages.check import checked, finding_rows
from mt_tools.stages.fetch import split
from mt_tools.stages.judging import requirements_unmet
from mt_tools.stages.probe import probed
from mt_tools.stages.score import scored
from mt_tools.stages.settings import SplitSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column


def value(table: Batch, id_: str) -> float:
    """Return the value of one metric row."""
    return float(table["value"][table.ids.tolist().index(id_)])


@pytest.fixture
def predicted(make_batch: Any) -> Batch:
    """Labels with nulls, and predictions that are right more often than not."""
    rng = np.random.default_rng(0)
    truth = rng.choice(list("abc"), 50).tolist()
    scores = rng.dirichlet(np.ones(3), 50)
    scores[np.arange(50), ["abc".index(t) for t in truth]] += 0.3
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    tags = [[t for t in "xyz" if rng.random() < 0.5] for _ in range(50)]
    level = rng.normal(size=50)
    batch = make_batch(
        style=[None if i < 5 else t for i, t in enumerate(truth)],
        level=[None if i < 3 else v for i, v in enumerate(level)],
        tags=[None if i < 2 else t for i, t in enumerate(tags)],
        group=[f"artist {i // 5}" for i in range(50)],
        split=["train" if i < 20 else "test" for i in range(50)],
        level_pred=(level + rng.normal(size=50) * 0.5).tolist(),
        style_pred=["abc"[i] for i in scores.argmax(axis=1)],
    )
    vocabulary = {"vocabulary": ["a", "b", "c"]}
    batch = batch.append(Column("style_score", "vector", "prediction", vocabulary, (3,)), scores)
    chances = np.array([[("xyz"[j] in t) * 0.4 for j in range(3)] for t in tags], np.float32)
    chances += rng.random((50, 3)).astype(np.float32) * 0.6
    vocabulary = {"vocabulary": ["x", "y", "z"]}
    batch = batch.append(Column("tags_score", "vector", "prediction", vocabulary, (3,)), chances)
    chosen = [[t for t, c in zip("xyz", row, strict=True) if c > 0.5] for row in chances]
    return batch.append(Column("tags_pred", "strings", "prediction"), chosen)


def test_scores_are_those_of_scikit_learn(predicted: Batch) -> None:
    """Every number is the one that others compute, over labelled rows alone."""
    table, notes = scored([predicted], predicted.columns, [], [], seed=0)
    truth, found = predicted["style"][5:], predicted["style_pred"][5:]
    assert value(table, "style.accuracy") == pytest.approx(accuracy_score(list(truth), list(found)))
    macro = f1_score(list(truth), list(found), average="macro")
    assert value(table, "style.f1_macro") == pytest.approx(macro)
    level, guess = predicted["level"][3:], predicted["level_pred"][3:]
    assert value(table, "level.r2") == pytest.approx(r2_score(level, guess))
    assert value(table, "level.mae") == pytest.approx(mean_absolute_error(level, guess))
    hot = np.array([[t in row for t in "xyz"] for row in predicted["tags"][2:]])
    auc = roc_auc_score(hot, predicted["tags_score"][2:], average=None)
    assert value(table, "tags.roc_auc_macro") == pytest.approx(auc.mean())
    assert value(table, "tags.roc_auc[y]") == pytest.approx(auc[1])
    assert notes == [
        "level: 3 rows have no label and are left out",
        "style: 5 rows have no label and are left out",
        "tags: 2 rows have no label and are left out",
    ]
    n = dict(zip(table.ids, table["n"], strict=True))
    assert n["style.accuracy"] == 45
    for low, middle, high in zip(table["low"], table["value"], table["high"], strict=True):
        assert not low > middle
        assert not high < middle


def test_one_split_is_scored_alone(predicted: Batch) -> None:
    """--splits test leaves out the rows that trained."""
    table, _ = scored([predicted], predicted.columns, ["style"], ["test"], seed=0)
    right = predicted["style"][20:] == predicted["style_pred"][20:]
    assert value(table, "style.accuracy") == pytest.approx(right.mean())
    assert {*table["task"]} == {"style"}


def test_every_model_of_a_table_is_scored(predicted: Batch) -> None:
    """`mt-tag --model a=FILE --model b=FILE` would write predictions that nothing can score."""
    wrong = ["a"] * len(predicted)
    both = predicted.append(Column("b.style_pred", "string", "prediction"), wrong)
    table, _ = scored([both], both.columns, [], [], seed=0)
    assert {*table["task"]} == {"style", "level", "tags", "b.style"}
    assert value(table, "b.style.accuracy") == pytest.approx((both["style"][5:] == "a").mean())
    for asked, names in (("style", {"style", "b.style"}), ("b.style", {"b.style"})):
        table, _ = scored([both], both.columns, [asked], [], seed=0)
        assert {*table["task"]} == names


def test_what_cannot_be_scored_is_refused(predicted: Batch, make_batch: Any) -> None:
    """No predictions, no such column, no rows: one line each."""
    plain = make_batch(style=["a"])
    with pytest.raises(UsageError, match="nothing to score"):
        scored([plain], plain.columns, [], [], seed=0)
    with pytest.raises(UsageError, match="no column 'style_pred'"):
        scored([plain], plain.columns, ["style"], [], seed=0)
    with pytest.raises(UsageError, match="no such column"):
        scored([plain], plain.columns, ["genre"], [], seed=0)
    with pytest.raises(NoRows):
        scored([], predicted.columns, ["style"], [], seed=0)
    empty = make_batch(style=[None, None], style_pred=["a", "b"])
    with pytest.raises(UsageError, match="0 are labelled"):
        scored([empty], empty.columns, ["style"], [], seed=0)


def test_requirements(predicted: Batch) -> None:
    """CI fails by a line that says which number missed which bound."""
    table, _ = scored([predicted], predicted.columns, ["style", "level"], [], seed=0)
    assert requirements_unmet(table, ["accuracy>=0.1", "level.r2<=1"]) == []
    (line,) = requirements_unmet(table, ["style.accuracy>=0.999"])
    assert line.startswith("style.accuracy>=0.999 does not hold: style.accuracy is 0.")
    with pytest.raises(UsageError, match="no metric 'auc'"):
        requirements_unmet(table, ["auc>0.5"])


def test_probes_name_what_they_left_out(make_batch: Any) -> None:
    """Nulls among labels and vectors are left out and counted; several columns are told apart."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 4)).astype(np.float32)
    styles: list[str | None] = ["a" if v[0] > 0 else "b" for v in vectors]
    vectors[0], styles[1] = np.nan, None
    noise = rng.normal(size=(60, 4)).astype(np.float32)
    batch = make_batch(embedding=vectors, style=styles, **{"embedding.noise": noise})
    table, notes = probed(
        [batch], batch.columns, ["style"], [], ProbeSettings(probe="logistic", folds=5), jobs=1
    )
    assert value(table, "embedding.style.accuracy") > 0.9
    assert value(table, "embedding.noise.style.accuracy") < 0.75
    assert "style: 1 rows have no label and are left out" in notes
    assert "style: 1 rows have no vector and are left out" in notes
    one, _ = probed(
        [batch], batch.columns, ["style"], ["embedding"],
        ProbeSettings(probe="logistic", folds=5), jobs=1,
    )  # fmt: skip
    assert value(one, "style.accuracy") == value(table, "embedding.style.accuracy")


def test_what_cannot_be_probed_is_refused(make_batch: Any) -> None:
    """No task: the labels are named; no vectors: how to make them; one class: it says so."""
    batch = make_batch(embedding=np.eye(4, dtype=np.float32), style=["a"] * 4, tempo=[1, 2, 3, 4])
    settings = ProbeSettings(folds=2)
    with pytest.raises(UsageError, match="one of style, tempo"):
        probed([batch], batch.columns, [], [], settings, 1)
    with pytest.raises(UsageError, match="one class only"):
        probed([batch], batch.columns, ["style"], [], settings, 1)
    with pytest.raises(UsageError, match="not a column of vectors"):
        probed([batch], batch.columns, ["style"], ["tempo"], settings, 1)
    plain = batch.without(["embedding"])
    with pytest.raises(UsageError, match="make one with mt-embed"):
        probed([plain], plain.columns, ["style"], [], settings, 1)


def library(make_batch: Any, **columns: Any) -> Batch:
    """Return forty tracks of ten artists, two albums each, with a vector each."""
    rng = np.random.default_rng(0)
    return make_batch(
        **(
            {"path": [f"{i}.wav" for i in range(40)]}
            | {"group": [f"artist {i // 4}" for i in range(40)]}
            | {"artist": [f"artist {i // 4}" for i in range(40)]}
            | {"album": [f"album {i // 2}" for i in range(40)]}
            | {"style": ["ab"[i // 4 % 2] for i in range(40)]}
            | {"embedding": rng.normal(size=(40, 4)).astype(np.float32)}
            | columns
        )
    )


def kinds(batch: Batch) -> list[str]:
    """Return the kinds of what mt-eval check finds."""
    return [finding.kind for finding in checked([batch], batch.columns, None)]


def test_an_honest_split_is_clean(make_batch: Any) -> None:
    """Artists and albums stand on one side by intention: that is no finding."""
    settings = SplitSettings(
        method="stratified-grouped", by="style", train=0.6, valid=0.2, test=0.2
    )
    table, _ = split([library(make_batch)], settings)
    assert kinds(table) == []
    table, _ = split([library(make_batch)], SplitSettings(folds=3))
    assert kinds(table) == []


def test_planted_leaks_are_found(make_batch: Any) -> None:
    """Artist, track and identical sound: each planted leak is found by its name."""
    clean = ["train"] * 24 + ["valid"] * 8 + ["test"] * 8
    assert kinds(library(make_batch, split=clean)) == []
    crossed = ["train"] * 22 + ["valid"] * 10 + ["test"] * 8
    found = checked([b := library(make_batch, split=crossed)], b.columns, None)
    assert [f.kind for f in found] == ["group"]
    assert found[0].offenders == ("artist 5 (train, valid)",)
    vectors = library(make_batch)["embedding"].copy()
    vectors[39] = vectors[0]
    assert kinds(library(make_batch, split=clean, embedding=vectors)) == ["identical-rows"]
    assert kinds(library(make_batch, embedding=vectors)) == ["identical-rows"]
    copies = augment.run([library(make_batch).without(["embedding"])], [Recipe(pitch=1)],
                         originals=True, splits=["train"])  # fmt: skip
    both = next(iter(copies)).without(["group"])
    split_after = both.append(Column("split", "string", "reserved"), ["train", "test"] * 40)
    assert "origin" in kinds(split_after)


def test_a_table_is_compared_with_a_model(make_batch: Any, fit_model: Callable[..., Model]) -> None:
    """Labels that a model does not know and vectors of another one are named."""
    batch = library(make_batch)
    model = fit_model(batch, "style", epochs=1)
    assert checked([batch], batch.columns, model) == []
    other = library(make_batch, style=["new" if i % 8 == 0 else "ab"[i % 2] for i in range(40)])
    found = checked([other], other.columns, model)
    assert [(f.kind, f.offenders) for f in found] == [("vocabulary", ("new",))]


def test_findings_are_rows(make_batch: Any) -> None:
    """Findings go down a pipe as rows with their offenders."""
    crossed = ["train"] * 22 + ["test"] * 18
    batch = library(make_batch, split=crossed)
    table = finding_rows(checked([batch], batch.columns, None))
    assert table.ids.tolist() == ["1.group"]
    assert table["offenders"][0] == ["artist 5 (test, train)"]
    assert len(finding_rows([])) == 0

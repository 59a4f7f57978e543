"""mt-eval score without its command: metric rows, what they say of leaks, requirements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)

from mt_tools.errors import NoRows, UsageError
from mt_tools.stages.judging import requirements_unmet, splits_of
from mt_tools.stages.score import confusions, scored
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
        "rows of train are scored too: --splits test leaves them out",
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
    assert splits_of("valid, test,") == ["valid", "test"]
    table, _ = scored([predicted], predicted.columns, ["style"], ["test"], seed=0)
    right = predicted["style"][20:] == predicted["style_pred"][20:]
    assert value(table, "style.accuracy") == pytest.approx(right.mean())
    assert {*table["task"]} == {"style"}


def test_lines_say_what_was_scored_and_what_leaks(predicted: Batch) -> None:
    """A number would hang in the air: of which rows, how sure, and whether it can be believed."""
    table, _ = scored([predicted], predicted.columns, ["style", "tags"], ["test"], seed=0)
    assert "30 rows of test in 6 clusters, bootstrap (BCa, 95 %)" in {*table["protocol"]}
    assert {*table["leak"]} == {"none found between the parts of split"}
    alone = predicted.take(range(20, 50)).without(["split"])
    table, notes = scored([alone], alone.columns, ["style"], [], seed=0)
    assert {*table["leak"]} == {"not checked: no two parts of a split here"}
    assert not any("train" in note for note in notes)
    with pytest.raises(
        UsageError, match="no row of the table has this split; there are test, train"
    ):
        scored([predicted], predicted.columns, ["style"], ["tset"], seed=0)


def test_a_score_says_that_it_is_of_rows_that_trained(predicted: Batch) -> None:
    """A number with the train rows in it would look like one of new music in every later table."""
    table, notes = scored([predicted], predicted.columns, ["style"], [], seed=0)
    assert {*table["protocol"]} == {"45 rows of train, test in 9 clusters, bootstrap (BCa, 95 %)"}
    assert "rows of train are scored too: --splits test leaves them out" in notes
    parts = ["train" if i < 20 else "test" if i < 40 else None for i in range(50)]
    some = predicted.without(["split"]).append(Column("split", "string", "reserved"), parts)
    table, _ = scored([some], some.columns, ["style"], [], seed=0)
    assert "45 rows of train, test, no split in" in table["protocol"][0]


def test_a_task_without_labels_does_not_hide_the_others(predicted: Batch) -> None:
    """One label that the test rows lack would cost the scores of all, and not even be named."""
    bare = predicted.without(["style"]).append(Column("style", "string"), [None] * 50)
    table, notes = scored([bare], bare.columns, [], ["test"], seed=0)
    assert {*table["task"]} == {"level", "tags"}
    assert any(note.startswith("style: nothing to score: of 30 rows 0 are") for note in notes)
    with pytest.raises(UsageError, match="style: nothing to score"):
        scored([bare], bare.columns, ["style", "level"], ["test"], seed=0)
    alone = bare.without(["level", "level_pred", "tags", "tags_pred"])
    with pytest.raises(UsageError, match="style: nothing to score"):
        scored([alone], alone.columns, [], ["test"], seed=0)


def test_a_leaking_split_is_refused_or_told_on_every_line(predicted: Batch) -> None:
    """An artist on both sides would flatter a score, and nobody who reads it would know."""
    parts = ["train" if i < 22 else "test" for i in range(50)]
    crossed = predicted.without(["split"]).append(Column("split", "string", "reserved"), parts)
    with pytest.raises(UsageError, match=r"the split leaks: 1 group in more .* say --allow-leak"):
        scored([crossed], crossed.columns, ["style"], ["test"], seed=0)
    table, _ = scored([crossed], crossed.columns, ["style"], ["test"], seed=0, allow_leak=True)
    assert all("allowed: 1 group in more than one split" in line for line in table["leak"])
    # A model that was trained so says it of itself, and need not be allowed again.
    told = Column("style_pred", "string", "prediction", {"leaks": ["10 groups in two"]})
    said = crossed.without(["style_pred"]).append(told, predicted["style_pred"].tolist())
    table, _ = scored([said], said.columns, ["style"], ["test"], seed=0)
    assert all("allowed in training: 10 groups in two" in line for line in table["leak"])


def test_labels_have_intervals_and_reasons(predicted: Batch) -> None:
    """A bar a tag could not be drawn with its interval, nor an empty one explained."""
    table, _ = scored([predicted], predicted.columns, ["tags", "style"], [], seed=0)
    rows = {row["id"]: row for row in table.rows()}
    for name in ("tags.roc_auc[x]", "tags.average_precision[y]", "style.recall[b]"):
        assert rows[name]["low"] < rows[name]["value"] <= rows[name]["high"] <= 1
        assert rows[name]["n"] > 0
    never = predicted.without(["style_pred"]).append(
        Column("style_pred", "string", "prediction"), ["a"] * 50
    )
    table, _ = scored([never], never.columns, ["style"], [], seed=0)
    row = next(row for row in table.rows() if row["id"] == "style.precision[b]")
    assert (row["value"], row["low"], row["note"]) == (None, None, "never predicted")


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


def test_labels_of_another_kind_are_told(predicted: Batch) -> None:
    """Words where the model gives numbers would end in a traceback."""
    words = predicted.without(["level", "level_pred"])
    words = words.append(Column("level", "string"), ["high"] * 50)
    of_model = Column("level_pred", "number", "prediction", {"kind": "regression"})
    words = words.append(of_model, predicted["level_pred"])
    table, notes = scored([words], words.columns, [], ["test"], seed=0)
    assert "level" not in table["task"]
    assert "level: level is a string column, regression needs number: say another kind, such as " \
        "--task level:multiclass, or convert the column" in notes  # fmt: skip
    for asked, needed in (("style:regression", "number"), ("level:multilabel", "strings")):
        with pytest.raises(UsageError, match=f"needs {needed}: say another kind"):
            scored([predicted], predicted.columns, [asked], ["test"], seed=0)


def test_requirements(predicted: Batch) -> None:
    """CI fails by a line that says which number missed which bound."""
    table, _ = scored([predicted], predicted.columns, ["style", "level"], [], seed=0)
    assert requirements_unmet(table, ["accuracy>=0.1", "level.r2<=1"]) == []
    (line,) = requirements_unmet(table, ["style.accuracy>=0.999"])
    assert line.startswith("style.accuracy>=0.999 does not hold: style.accuracy is 0.")
    ends = {row["id"]: row for row in table.rows()}
    low = ends["style.accuracy"]["low"]
    assert requirements_unmet(table, [f"style.accuracy.low>={low - 1e-6}"]) == []
    (line,) = requirements_unmet(table, [f"accuracy.low>={low + 1e-6}"])
    assert "style.accuracy.low is" in line
    assert requirements_unmet(table, ["style.recall[b]>=0", "style.recall[b].high<=1"]) == []
    with pytest.raises(UsageError, match="no metric 'auc'"):
        requirements_unmet(table, ["auc>0.5"])


def test_confusions_are_those_of_scikit_learn(predicted: Batch) -> None:
    """A matrix would be turned round, or put under the name of another class."""
    table = confusions([predicted], predicted.columns, ["style"], [])
    expected = confusion_matrix(list(predicted["style"][5:]), list(predicted["style_pred"][5:]))
    got = np.stack([table[f"predicted {name}"] for name in "abc"], axis=1)
    np.testing.assert_array_equal(got, expected)
    assert table["truth"].tolist() == list("abc")
    assert table["n"].tolist() == expected.sum(axis=1).tolist()
    with pytest.raises(UsageError, match="none of the tasks has classes"):
        confusions([predicted], predicted.columns, ["level"], [])

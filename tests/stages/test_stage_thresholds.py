"""mt-eval thresholds: what it fits, on which rows, and that mt-tag then does as the model says."""

from __future__ import annotations

import copy
import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from support import Shell

from mt_tools.errors import SettingsMismatch, UsageError
from mt_tools.evaluate.settings import ThresholdSettings
from mt_tools.learn.thresholds import Goal
from mt_tools.nets.body import Head
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model
from mt_tools.nets.weights import resolve
from mt_tools.stages import tag
from mt_tools.stages.score import scored
from mt_tools.stages.settings import TagSettings
from mt_tools.stages.taggers import at_confidence
from mt_tools.stages.thresholds import fitted, goals_of
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tables.sink import to_file
from mt_tools.tasks.kinds import head as task_head
from mt_tools.tasks.kinds import make_task

N = 900
SURE = 2.5
"""How many times too large the logits of the planted model are."""

KINDS = {"style": "multiclass", "tags": "multilabel", "level": "ordinal", "topics": "distribution",
         "tempo": "regression"}  # fmt: skip


@dataclasses.dataclass
class Planted:
    """A model that is too sure of itself, labelled rows, and its predictions of them."""

    model: Model
    rows: Batch
    predicted: Batch


def apply(model: Model, rows: Batch, **options: Any) -> Batch:
    """Tag rows in this process."""

    def fail(row: dict[str, Any], error: Exception) -> None:
        pytest.fail(f"{row['id']}: {error}")

    say = options.pop("say", lambda note: None)
    prefix = options.pop("prefix", "").removesuffix(".")
    settings = TagSettings(model=(f"{prefix}=m" if prefix else "m",), **options)
    taggers = tag.taggers(settings, lambda name: model, say)
    made = tag.run([rows], rows.columns, taggers, settings, tag.Way(batch_size=64), fail)
    return concatenate(list(made))


@pytest.fixture(scope="module")
def planted(make_batch: Any) -> Planted:
    """A linear network whose logits are the label's true ones, times `SURE`.

    Its input are the true logits: three of `style`, four of `tags` (the last one rare), two of
    `level`, three of `topics`, a number.
    """
    rng = np.random.default_rng(0)
    true = rng.normal(scale=1.5, size=(N, 13)).astype(np.float32)
    true[:, 6] -= 6.0
    style = [str(rng.choice(list("abc"), p=row)) for row in softmax(true[:, :3], axis=1)]
    chances = expit(true[:, 3:7])
    tags = [[t for t, p in zip("wxyz", row, strict=True) if rng.random() < p] for row in chances]
    steps = expit(true[:, 7:9])
    level = np.array([0 if rng.random() > a else 1 if rng.random() > b else 2 for a, b in steps])
    topics = np.stack([rng.dirichlet(30 * row) for row in softmax(true[:, 9:12], axis=1)])
    columns = {
        "style": np.array(style, dtype=object), "tags": np.array(tags, dtype=object),
        "level": np.array(["low", "mid", "high"], dtype=object)[level],
        "topics": topics.astype(np.float32), "tempo": true[:, 12].astype(np.float64),
    }  # fmt: skip
    words = {"tags": list("wxyz"), "level": ["low", "mid", "high"]}
    tasks = [
        make_task(name, kind, columns[name], np.ones(N, bool), vocabulary=words.get(name))
        for name, kind in KINDS.items()
    ]
    heads = {task["name"]: Head(**task_head(task)) for task in tasks}
    net = build_multitask("mlp", {"hidden": []}, (13,), heads, seed=0)
    place = 0
    for task in tasks:
        layer = net.head(task["name"])
        outputs = layer.weight.shape[0]
        picks = np.zeros(tuple(layer.weight.shape), np.float32)
        picks[np.arange(outputs), place + np.arange(outputs)] = SURE
        place += outputs
        layer.weight.data[...] = torch.from_numpy(picks)
        layer.bias.data.zero_()
    net.eval()
    model = Model.create(
        net, name="planted", arch="mlp", parameters={"hidden": []}, tasks=tasks,
        input={"kind": "embedding", "settings": {}, "width": 13},
    )  # fmt: skip
    rows = make_batch(
        embedding=true,
        split=["train" if i < 200 else "valid" if i < 800 else "test" for i in range(N)],
        group=[f"artist {i // 4}" for i in range(N)],
        **columns,
    )
    return Planted(model, rows, apply(model, rows))


def fit_it(table: Batch, model: Model, **options: Any) -> tuple[Batch, list[str], Model]:
    """Fit in this process."""
    return fitted([table], table.columns, model, ThresholdSettings(**options), lambda: [])


def value(table: Batch, id_: str) -> float:
    """Return the value of one metric row."""
    return float(table["value"][table.ids.tolist().index(id_)])


def part(table: Batch, name: str) -> Batch:
    """Return the rows of one split."""
    return table.take(np.flatnonzero(table["split"] == name))


def test_a_temperature_is_fitted_on_validation_rows_and_used_by_mt_tag(planted: Planted) -> None:
    """Scores would stay too sure, or be fitted on rows that the model was trained on."""
    table, notes, model = fit_it(planted.predicted, planted.model, calibrate="temperature")
    valid = part(planted.predicted, "valid")
    alone, _, same = fit_it(valid, planted.model, calibrate="temperature")
    assert same.tasks == model.tasks
    assert table["value"].tolist() == pytest.approx(alone["value"].tolist(), nan_ok=True)
    found = {task["name"]: task.get("calibration") for task in model.tasks}
    assert found.pop("tempo") is None
    for name, calibration in found.items():
        assert calibration["temperature"] == pytest.approx(SURE, rel=0.2), name
        before, after = (value(table, f"{name}.log_loss{end}") for end in ("_before", ""))
        assert after < before, name
    for name in ("style", "tags", "level"):
        before, after = (value(table, f"{name}.calibration_error{end}") for end in ("_before", ""))
        assert after < before / 2, name
    assert any("tempo is left as it is: regression has neither" in note for note in notes)

    again = apply(model, planted.rows)
    logits = planted.model.logits(planted.rows["embedding"])
    expected = softmax(logits["style"] / found["style"]["temperature"], axis=1)
    np.testing.assert_allclose(again["style_score"], expected, atol=3e-6)
    expected = expit(logits["tags"] / found["tags"]["temperature"])
    # A score near 1 has 24 bits, of which its distance from 1 keeps few.
    np.testing.assert_allclose(again["tags_score"], expected, atol=1e-4)
    thresholds = next(task["thresholds"] for task in model.tasks if task["name"] == "tags")
    tags = [
        {t for t, score, cut in zip("wxyz", row, thresholds, strict=True) if score >= cut}
        for row in again["tags_score"]
    ]
    assert [set(row) for row in again["tags_pred"]] == tags
    # What the temperature keeps: the order of a tag's scores, and the best class.
    assert again["style_pred"].tolist() == planted.predicted["style_pred"].tolist()


def test_the_file_is_whole_and_the_model_before_is_as_it_was(
    planted: Planted, tmp_path: Path
) -> None:
    """A calibrated model would fail its selftest, or fitting would change the one in memory."""
    digest, document = planted.model.digest, json.dumps(planted.model.document)
    _, _, model = fit_it(planted.predicted, planted.model, calibrate="isotonic", task=("tags",))
    assert planted.model.digest == digest
    assert json.dumps(planted.model.document) == document
    model.save(tmp_path / "m.safetensors")
    read = resolve(str(tmp_path / "m.safetensors"))
    assert read.digest == model.digest != digest
    assert all(check.ok for check in read.selftest(full=True))
    np.testing.assert_array_equal(
        apply(read, planted.rows)["tags_score"], apply(model, planted.rows)["tags_score"]
    )
    told = read.document["training"]["thresholds"]
    assert told["rows"] == {"tags": 600}
    assert told["goals"] == {"tags": "f1"}
    assert len(told["data"]) == 64
    assert "before" in told["note"]
    with pytest.raises(UsageError, match="calibrated already"):
        fit_it(apply(read, planted.rows), read, calibrate="temperature")
    # Thresholds of a calibrated model can be fitted again, to the scores that it gives.
    _, _, other = fit_it(apply(read, planted.rows), read, goal=("tags=recall:0.9",), task=("tags",))
    assert other.tasks[1]["calibration"] == read.tasks[1]["calibration"]


def test_thresholds_do_on_the_rows_what_was_asked(planted: Planted) -> None:
    """`--for` would be recorded and something else fitted."""
    valid = part(planted.rows, "valid")
    truth = np.array([[t in row for t in "wxyz"] for row in valid["tags"]])
    decided = {}
    for goal in ("f1", "precision:0.8", "recall:0.9", "cost:1,4"):
        _, _, model = fit_it(planted.predicted, planted.model, goal=(goal,), task=("tags",))
        found = apply(model, valid)["tags_pred"]
        decided[goal] = np.array([[t in row for t in "wxyz"] for row in found])[:, :3]
    for tag_ in range(3):
        mine = truth[:, tag_]
        assert precision_score(mine, decided["precision:0.8"][:, tag_]) >= 0.8
        assert recall_score(mine, decided["recall:0.9"][:, tag_]) >= 0.9
        best = max(
            f1_score(mine, planted.predicted["tags_score"][200:800, tag_] >= cut)
            for cut in np.linspace(0, 1, 101)
        )
        assert f1_score(mine, decided["f1"][:, tag_]) >= best
        costs = {
            goal: np.sum(found[:, tag_] & ~mine) + 4 * np.sum(mine & ~found[:, tag_])
            for goal, found in decided.items()
        }
        assert costs["cost:1,4"] == min(costs.values())


def test_the_report_is_of_rows_that_were_not_fitted_on(make_batch: Any, planted: Planted) -> None:
    """Labels of chance would look predictable, as every threshold fits the rows it was fitted to.

    A tag that has nothing to do with its scores has the precision of its frequency, which a
    threshold fitted and measured on the same few rows exceeds.
    """
    rng = np.random.default_rng(1)
    rows = 60
    values, tags = rng.random((rows, 4)).astype(np.float32), np.empty(rows, object)
    tags[:] = [[t for t in "wxyz" if rng.random() < 0.4] for _ in range(rows)]
    said = {"digest": planted.model.digest, "kind": "multilabel", "vocabulary": list("wxyz")}
    table = make_batch(tags=tags, split=["valid"] * rows)
    table = table.append(Column("tags_pred", "strings", "prediction", said), tags)
    table = table.append(Column("tags_score", "vector", "prediction", said, (4,)), values)
    report, _, model = fit_it(table, planted.model)
    hot = np.array([[t in row for t in "wxyz"] for row in tags])
    cut = np.array(model.tasks[1]["thresholds"], dtype=float)
    inside = f1_score(hot, values >= cut, average="macro")
    assert value(report, "tags.f1_macro") < inside - 0.02
    assert "cross-fitted in 5 folds" in report["protocol"][0]
    first = next(i for i, id_ in enumerate(report.ids) if id_ == "tags.f1_macro")
    assert report["low"][first] < report["value"][first] < report["high"][first]


def test_intervals_of_few_rows_stay_in_range(planted: Planted) -> None:
    """An accuracy of up to 1.4, and rows that are all right with no doubt left, would be reported."""
    few = planted.predicted.take(range(200, 216))  # four artists
    table, _, _ = fit_it(few, planted.model, calibrate="temperature")
    low, high, metric = table["low"], table["high"], table["metric"]
    known = np.isfinite(low)
    assert known.any()
    assert (low[known] >= 0).all()
    shares = known & ~np.isin(metric.astype(str), ["log_loss", "log_loss_before"])
    assert (high[shares] <= 1).all()
    sure = known & (table["value"] == 1) & (metric != "coverage")
    assert (low[sure] < 1).all()
    whole = known & (metric == "coverage")
    assert (low[whole] == 1).all()  # no class is left open: that is certain


def test_artists_are_judged_by_others(make_batch: Any, planted: Planted) -> None:
    """A curve that has seen an artist's other tracks would look better than on new artists.

    All five tracks of an artist have one score and one label, which have nothing to do with each
    other: a curve that knows the artist knows the label.
    """
    rng = np.random.default_rng(0)
    artists = np.repeat(np.arange(40), 5)
    scores = np.full((200, 4), 0.5, np.float32)
    scores[:, 0] = rng.random(40)[artists]
    said = {"digest": planted.model.digest, "kind": "multilabel", "vocabulary": list("wxyz")}
    tags = np.empty(200, object)
    tags[:] = [["w"] * int(applies) for applies in (rng.random(40) < 0.5)[artists]]
    table = make_batch(tags=tags, group=[f"artist {a}" for a in artists])
    table = table.append(Column("tags_pred", "strings", "prediction", said), tags)
    table = table.append(Column("tags_score", "vector", "prediction", said, (4,)), scores)
    losses = [
        value(fit_it(rows, planted.model, calibrate="isotonic")[0], "tags.log_loss")
        for rows in (table, table.without(["group"]))
    ]
    assert losses[0] > losses[1] + 0.01


def test_a_rare_tag_keeps_its_threshold_and_is_named(planted: Planted) -> None:
    """A tag of a row or two would be given a threshold that fits them."""
    count = sum("z" in row for row in part(planted.rows, "valid")["tags"])
    few = planted.predicted.take(
        [i for i, row in enumerate(planted.rows["tags"]) if "z" not in row or i < 200]
    )
    assert count
    report, notes, model = fit_it(few, planted.model, task=("tags",))
    assert model.tasks[1]["thresholds"][3] == 0.5
    assert any("1 of 4: fewer than 5 positive rows, keeps its threshold: z" in n for n in notes)
    note = report["note"][report.ids.tolist().index("tags.threshold[z]")]
    assert note == "fewer than 5 positive rows, keeps its threshold"
    _, _, model = fit_it(few, planted.model, task=("tags",), goal=("precision:0.7",))
    assert model.tasks[1]["thresholds"][3] is None
    assert not any("z" in row for row in apply(model, planted.rows)["tags_pred"])


def test_a_kept_threshold_moves_with_the_scores(planted: Planted) -> None:
    """A rare tag would apply to other tracks than before, since its scores have changed."""
    few = [i for i, row in enumerate(planted.rows["tags"]) if "z" not in row or i < 200]
    document = copy.deepcopy(planted.model.document)
    document["tasks"][1]["thresholds"] = [0.02] * 4
    old = Model(document, planted.model.net)
    before = apply(old, planted.rows)
    options = {"calibrate": "temperature", "task": ("tags",)}
    _, _, new = fit_it(before.take(few), old, **options)
    after = apply(new, planted.rows)
    had, has = (["z" in row for row in made["tags_pred"]] for made in (before, after))
    assert had == has
    assert 0 < sum(had) < N


def test_curves_of_classes_do_not_promise_what_they_only_fit(planted: Planted) -> None:
    """A class's curve is surest of the rows it was fitted to, and answers would be wrong elsewhere.

    Twenty fits to 100 rows each, asked for 80 % of right answers, on the other 800 rows: 82 % over
    60 fits, where thresholds fitted to the scores of the rows at hand give 76 %.
    """
    rng = np.random.default_rng(0)
    right = []
    for _ in range(20):
        mine = rng.permutation(N)[:100]
        table = planted.predicted.without(["split"]).take(mine)
        options = {"calibrate": "isotonic", "task": ("style",), "goal": ("precision:0.8",)}
        _, _, model = fit_it(table, planted.model, **options)
        others = apply(model, planted.rows.take(np.setdiff1d(np.arange(N), mine)))
        answered = np.array([name is not None for name in others["style_pred"]])
        if answered.any():
            right.append(np.mean((others["style_pred"] == others["style"])[answered]))
    assert len(right) > 10
    assert np.mean(right) > 0.78


def test_a_model_that_abstains_leaves_a_null_that_is_counted(planted: Planted) -> None:
    """A class that the model is not sure of would be written, or score would fail on nulls."""
    report, _, model = fit_it(
        planted.predicted, planted.model, calibrate="temperature",
        goal=("style=precision:0.8", "level=coverage:0.5"),
    )  # fmt: skip
    again = apply(model, planted.rows)
    valid = part(again, "valid")
    answered = np.array([name is not None for name in valid["style_pred"]])
    assert 0.1 < answered.mean() < 0.9
    got, true = (list(valid[name][answered]) for name in ("style_pred", "style"))
    assert accuracy_score(true, got) >= 0.78
    assert value(report, "style.coverage") == pytest.approx(answered.mean(), abs=0.1)
    given = [name is not None for name in valid["level_pred"]]
    assert np.mean(given) == pytest.approx(0.5, abs=0.03)
    lines = again.rows()
    assert any(row["style_pred"] is None for row in lines)
    table, notes = scored([again], again.columns, ["style"], ["valid"], seed=0)
    assert value(table, "style.accuracy") == pytest.approx(accuracy_score(true, got))
    left = int((~answered).sum())
    assert f"style: {left} rows have no prediction and are left out" in notes


def test_the_curve_falls_with_coverage(planted: Planted) -> None:
    """The abstention curve would show that being sure says nothing, or be upside down."""
    report, _, _ = fit_it(planted.predicted, planted.model, task=("style",))
    curve = [value(report, f"style.accuracy@{share:g}") for share in (0.1, 0.5, 1.0)]
    assert curve[0] > curve[1] > curve[2]
    valid = part(planted.predicted, "valid")
    right = valid["style"] == valid["style_pred"]
    assert curve[2] == pytest.approx(right.mean())
    # Without a calibration the scores are those of the table, whatever the folds.
    order = np.argsort(-valid["style_score"].max(axis=1), kind="stable")
    assert curve[1] == pytest.approx(right[order][:300].mean(), abs=2 / 300)
    risks = 1 - np.cumsum(right[order]) / np.arange(1, 601)
    assert value(report, "style.aurc") == pytest.approx(risks.mean(), abs=1e-3)


def test_precision_is_chosen_when_tagging(planted: Planted) -> None:
    """`mt-tag --precision 0.8` would need the validation rows, or write what is wrong."""
    with pytest.raises(UsageError, match=r"--precision 0.8: planted does not know .*thresholds"):
        apply(planted.model, planted.rows, precision=0.8)
    _, notes, model = fit_it(planted.predicted, planted.model, task=("tags", "style"))
    assert any("in reach of mt-tag --precision: 0.5" in note for note in notes)
    said: list[str] = []
    loose, strict = (apply(model, planted.rows, precision=p, say=said.append) for p in (0.5, 0.85))
    assert said[0] == "--precision 0.5 is for style, tags, not for level, topics, tempo"
    test = part(planted.rows, "test")
    truth = np.array([[t in row for t in "wxyz"] for row in test["tags"]])
    found = [
        np.array([[t in row for t in "wxyz"] for row in part(made, "test")["tags_pred"]])
        for made in (loose, strict)
    ]
    assert found[1].sum() < found[0].sum()
    assert precision_score(truth, found[1], average="micro") > 0.8
    assert all(name is not None for name in loose["level_pred"])
    nulls = [sum(name is None for name in made["style_pred"]) for made in (loose, strict)]
    assert nulls[0] < nulls[1] < N
    # The next one up: 0.85 is 0.9.
    assert (
        strict["tags_pred"].tolist()
        == apply(model, planted.rows, precision=0.9)["tags_pred"].tolist()
    )
    with pytest.raises(UsageError, match=r"knows 0.5, 0.6, .*0.95; choose one"):
        apply(model, planted.rows, precision=0.99)


def test_confidence_is_chosen_when_tagging(planted: Planted) -> None:
    """`mt-tag --confidence 0.7` would write classes that the model is less sure of."""
    made = apply(planted.model, planted.rows, confidence=0.7)
    sure = planted.predicted["style_score"].max(axis=1) >= 0.7
    assert [name is not None for name in made["style_pred"]] == sure.tolist()
    assert made["tags_pred"].tolist() == planted.predicted["tags_pred"].tolist()
    tags_alone = [task for task in planted.model.tasks if task["kind"] == "multilabel"]
    with pytest.raises(UsageError, match="no task of classes to leave open"):
        at_confidence([tag.Tagger("", planted.model, tags_alone)], 0.7)


def test_rows_that_are_not_for_fitting_are_refused(planted: Planted, make_batch: Any) -> None:
    """Thresholds fitted on test rows would make every later number on them a lie."""
    table, model = planted.predicted, planted.model
    for splits in ("test", "valid,test", "train"):
        with pytest.raises(UsageError, match=rf"--splits {splits}: .* --allow-leak"):
            fit_it(table, model, splits=splits)
    with pytest.raises(UsageError, match="no row is of --splits dev; the table has test, train"):
        fit_it(table, model, splits="dev")
    report, _, leaky = fit_it(table, model, splits="test", allow_leak=True, task=("style",))
    assert all("allowed: thresholds fitted on test rows" in line for line in report["leak"])
    assert leaky.leaks == ["thresholds fitted on test rows"]
    assert not model.leaks
    report, notes, _ = fit_it(table.without(["split"]), model, task=("style",))
    assert any("no split is said: all 900 rows are taken" in note for note in notes)
    assert report["n"][0] == N

    shared = table.replace(table.columns["group"], ["one artist"] * N)
    with pytest.raises(UsageError, match="allow-leak"):
        fit_it(shared, model, task=("style",))


def test_scores_of_another_model_are_refused(planted: Planted) -> None:
    """A model would be given the thresholds of another one's scores."""
    _, _, other = fit_it(planted.predicted, planted.model, task=("style",))
    with pytest.raises(SettingsMismatch, match="by another model than planted"):
        fit_it(planted.predicted, other)
    lost = planted.predicted
    for name in ("style_pred", "style_score"):
        column = dataclasses.replace(lost.columns[name], settings={})
        lost = lost.replace(column, lost[name])
    with pytest.raises(UsageError, match="does not say which model made it, as JSON lines"):
        fit_it(lost, planted.model, task=("style",))
    with pytest.raises(UsageError, match="without --no-scores"):
        fit_it(planted.predicted.without(["style_score"]), planted.model, task=("style",))
    with pytest.raises(UsageError, match="no tasks to set thresholds of"):
        fit_it(planted.predicted, resolve("mfcc-stats"))


def test_predictions_of_several_models_are_told_apart(planted: Planted) -> None:
    """With two models in a table, one would be fitted to the other's scores."""
    _, _, other = fit_it(planted.predicted, planted.model, task=("style",), calibrate="temperature")
    both = apply(other, planted.predicted.append(
        planted.rows.columns["embedding"], planted.rows["embedding"]), prefix="new.")  # fmt: skip
    first, _, _ = fit_it(both, planted.model, task=("style",))
    second, _, _ = fit_it(both, other, task=("style",))
    error = "style.calibration_error"
    assert value(second, error) < value(first, error) / 2


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((), {"style": None, "tags": Goal("f1")}),
        (("precision:0.9",), dict.fromkeys(("style", "tags"), Goal("precision", (0.9,)))),
        (("recall:0.9",), {"style": None, "tags": Goal("recall", (0.9,))}),
        (
            ("f1", "style=coverage:0.5"),
            {"style": Goal("coverage", (0.5,)), "tags": Goal("f1")},
        ),
        (
            ("precision:0.9", "tags=recall:0.5"),
            {"style": Goal("precision", (0.9,)), "tags": Goal("recall", (0.5,))},
        ),
    ],
)
def test_goals_find_their_tasks(
    planted: Planted, texts: tuple[str, ...], expected: dict[str, Goal | None]
) -> None:
    """A precision for tags would make classes fall silent, or the other way round."""
    assert goals_of(texts, planted.model.tasks[:2]) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mood=f1", "no task 'mood' is fitted; those are style, tags"),
        ("style=f1", "got f1, expected precision, coverage"),
        ("tags=coverage:0.5", "got coverage, expected f1, precision, recall, cost"),
    ],
)
def test_a_goal_that_no_task_can_have_is_refused(planted: Planted, text: str, message: str) -> None:
    """A goal would be dropped without a word."""
    with pytest.raises(UsageError, match=message):
        goals_of([text], planted.model.tasks[:2])
    with pytest.raises(UsageError, match="has f1 already"):
        goals_of(["f1", "recall:0.5"], planted.model.tasks[:2])


def test_too_few_rows_are_said(planted: Planted) -> None:
    """One validation row would be divided by, or fit a whole model."""
    with pytest.raises(UsageError, match="1 of 1 validation rows"):
        fit_it(planted.predicted.take([300]), planted.model, task=("style",))
    _, notes, _ = fit_it(planted.predicted.take([300, 301, 302]), planted.model, task=("style",))
    assert any("all rows are of one group" in note for note in notes)


def test_in_a_shell(sh: Shell, planted: Planted, tmp_path: Path) -> None:
    """The lines of the help: tag, fit, tag again; the report on stdout, the model in its file."""
    planted.model.save(tmp_path / "mine.safetensors")
    writer = to_file(str(tmp_path / "rows.parquet"), None)([])
    writer.write(planted.rows)
    writer.finish(N, 0)
    sh("mt-tag rows.parquet -m mine.safetensors -o p.parquet", ok=True)
    done = sh(
        "mt-eval thresholds p.parquet -m mine.safetensors --calibrate temperature "
        "--for precision:0.8 -o better.safetensors",
        ok=True,
    )
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert {"tags.threshold[w]", "style.aurc"} <= {line["id"] for line in lines}
    assert "style: temperature 2." in done.stderr.decode()
    model = resolve(str(tmp_path / "better.safetensors"))
    (step,) = [
        step for step in model.document["training"]["thresholds"]["provenance"]
        if step["command"] == "mt-eval thresholds"
    ]  # fmt: skip
    assert step["settings"]["calibrate"] == "temperature"
    assert step["settings"]["digest"] == planted.model.digest
    assert [file["name"] for file in step["inputs"]] == ["p.parquet", "mine.safetensors"]
    tagged = sh("mt-tag rows.parquet -m better.safetensors", ok=True).stdout.decode()
    first = json.loads(tagged.splitlines()[0])
    expected = apply(model, planted.rows.take([0]))
    got = list(first["tags_score"].values())
    np.testing.assert_allclose(got, expected["tags_score"][0], rtol=1e-5)
    assert first["style_pred"] == expected["style_pred"][0]
    done = sh(
        "mt-eval thresholds p.parquet -m mine.safetensors -t tags --require 'f1_macro>=0.99' "
        "-o never.safetensors --report r.csv"
    )
    assert done.returncode == 4
    assert not (tmp_path / "never.safetensors").exists()
    assert not done.stdout
    with open(tmp_path / "r.csv") as file:
        assert any(row["metric"] == "f1_macro" for row in csv.DictReader(file))

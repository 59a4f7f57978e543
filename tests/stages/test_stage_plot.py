"""mt-eval plot without its command: which figure fits which table, and what is drawn in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from mt_tools.errors import UsageError
from mt_tools.learn.history import Record
from mt_tools.nets.model import Model
from mt_tools.report.settings import PlotSettings
from mt_tools.report.style import as_svg
from mt_tools.stages.check import FINDING_COLUMNS
from mt_tools.stages.judging import metric_rows
from mt_tools.stages.pictures import KINDS, Given, content_of, names_of
from mt_tools.stages.plot import plotted
from mt_tools.stages.results import log_rows
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column


def predictions(make_batch: Any, seed: int = 0, split: Sequence[str] = ()) -> Batch:
    """Return predictions of classes, tags, a number and ordinal levels, 40 rows."""
    rng = np.random.default_rng(seed)
    styles = rng.choice(list("abc"), 40).tolist()
    tags = [[t for t in "xy" if rng.random() < 0.5] for _ in range(40)]
    level = rng.integers(1, 5, 40).astype(float)
    values = {
        "style": [None, *styles[1:]], "tags": tags, "energy": level.tolist(),
        "energy_pred": (level + rng.normal(size=40) * 0.4).tolist(),
        "group": [f"artist {i // 4}" for i in range(40)],
    }  # fmt: skip
    batch = make_batch(**values, **({"split": list(split)} if split else {}))
    for name, vocabulary, truth, kind in (
        ("style", list("abc"), [[s] for s in styles], "multiclass"),
        ("tags", list("xy"), tags, "multilabel"),
    ):
        hot = np.array([[v in row for v in vocabulary] for row in truth])
        scores = rng.random(hot.shape) + hot * 0.5
        scores = scores / (scores.sum(axis=1, keepdims=True) if kind == "multiclass" else 1.5)
        chosen: list[Any] = [vocabulary[i] for i in scores.argmax(axis=1)]
        if kind == "multilabel":
            chosen = [[t for t, s in zip("xy", row, strict=True) if s > 0.5] for row in scores]
        told = {"kind": kind}
        kind_of = "strings" if kind == "multilabel" else "string"
        batch = batch.append(Column(f"{name}_pred", kind_of, "prediction", told), chosen)
        column = Column(
            f"{name}_score", "vector", "prediction", {"vocabulary": vocabulary}, (len(vocabulary),)
        )
        batch = batch.append(column, scores.astype(np.float32))
    return batch


def given(batch: Batch, name: str = "p") -> Given:
    """Return a table as an input."""
    return Given(name, f"{name}.parquet", batch.columns, [batch])


def words(*inputs: Given, **settings: Any) -> str:
    """Return the words of a figure."""
    figure, _ = plotted(inputs, PlotSettings(**settings))
    return " ".join(re.findall(r"<text[^>]*>([^<]+)</text>", as_svg(figure).decode()))


def metrics(**more: Any) -> Batch:
    """Return metric rows of two tasks."""
    rows: list[dict[str, Any]] = [
        {"task": "style", "metric": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "n": 9},
        {"task": "style", "metric": "log_loss", "value": 3.5, "n": 9},
        {"task": "style", "metric": "f1", "label": "jazz", "value": 0.75, "n": 3},
        {"task": "energy", "metric": "r2", "value": -0.25, "n": 9},
    ]
    return metric_rows([row | more for row in rows])


def test_tables_are_told_apart(make_batch: Any) -> None:
    """A figure or a report would be made of the wrong thing, or refused."""
    log = log_rows([("m", Record(1, 1, 10, "", "train", "loss", 0.5))])
    contents = {
        "log": log,
        "metrics": metrics(),
        "findings": Batch.build(FINDING_COLUMNS, {c.name: [] for c in FINDING_COLUMNS}),
        "predictions": predictions(make_batch),
        "embeddings": make_batch(embedding=np.eye(3, dtype=np.float32), style=list("abc")),
        "table": make_batch(sources=[1, 2], accuracy=[0.5, 0.6]),
    }
    for name, batch in contents.items():
        assert content_of(batch.columns) == name
    assert names_of(["a/x.parquet", "b/y.json", "-"]) == ["x", "y", "-"]
    assert names_of(["a/x.parquet", "b/x.parquet"]) == ["a/x.parquet", "b/x.parquet"]


def test_the_input_decides(make_batch: Any) -> None:
    """Who names no kind would get an error, or a figure of something else."""
    batch = predictions(make_batch)
    style, tags, energy = (words(given(batch), task=(t,)) for t in ("style", "tags", "energy"))
    truth, found = batch["style"][1:], batch["style_pred"][1:]
    counts = confusion_matrix(list(truth), list(found), labels=list("abc")).ravel().tolist()
    shown = [int(word) for word in style.split() if word.isdigit()]
    assert sorted(shown) == sorted(counts)  # the row without a label is not counted
    assert "ROC AUC" in tags
    assert "target" in energy
    assert "accuracy" in words(given(metrics()))
    assert "log loss" not in words(given(metrics()))  # another unit, more is worse


@pytest.mark.parametrize(
    ("kind", "task", "said"),
    [
        ("roc", "style", "false positive rate"), ("pr", "tags", "recall"),
        ("calibration", "tags", "calibration error of all tags together"),
        ("calibration", "style", "calibration error"), ("abstention", "style", "coverage"),
        ("bars", "style", "F1"), ("confusion", "style", "predicted"), ("scatter", "energy", "R²"),
    ],
)  # fmt: skip
def test_kinds_of_predictions(make_batch: Any, kind: str, task: str, said: str) -> None:
    """Each kind that the help names has to be there."""
    assert said in words(given(predictions(make_batch)), kind=kind, task=(task,))


def test_areas_in_legends_are_those_of_scikit_learn(make_batch: Any) -> None:
    """The legend is what is copied into a paper."""
    batch = predictions(make_batch)
    hot = np.array([[t in row for t in "xy"] for row in batch["tags"]])
    areas = roc_auc_score(hot, batch["tags_score"], average=None)
    found = words(given(batch), kind="roc", task=("tags",))
    for tag, area in zip("xy", areas, strict=True):
        assert f"{tag}: AUC {area:.3f} [" in found
    assert f"mean of 2 labels: AUC {areas.mean():.3f} [" in found


def test_models_share_axes(make_batch: Any) -> None:
    """Two files, or two models in one file, could not be compared."""
    one, two = predictions(make_batch), predictions(make_batch, seed=1)
    found = words(given(one, "first"), given(two, "second"), kind="roc", task=("tags",))
    assert "first: AUC" in found
    assert "second: AUC" in found
    both = one
    for name in ("tags_pred", "tags_score"):
        column = one.columns[name]
        both = both.append(column.renamed(f"b.{name}"), two[name])
    found = words(given(both), kind="roc", task=("tags",))
    assert "b: AUC" in found
    assert "model: AUC" in found


def test_one_split_is_drawn_alone(make_batch: Any) -> None:
    """A figure of rows that trained would be taken for the test."""
    batch = predictions(make_batch, split=["train"] * 20 + ["test"] * 20)
    figure, notes = plotted([given(batch)], PlotSettings(task=("style",), splits="test"))
    counts = [int(t) for t in re.findall(r">(\d+)</text>", as_svg(figure).decode())]
    assert sum(counts) == 20
    assert not notes
    _, notes = plotted([given(batch)], PlotSettings(task=("style",), kind="confusion"))
    assert any("train" in note for note in notes)


def test_a_task_without_labels_is_not_what_is_drawn(make_batch: Any) -> None:
    """One label that no row has would cost the figures of all others."""
    batch = predictions(make_batch)
    bare = batch.without(["style"]).append(Column("style", "string"), [None] * 40)
    _, notes = plotted([given(bare)], PlotSettings())
    assert any(note.startswith("style: nothing to score") for note in notes)
    assert "R²" in words(given(bare), kind="scatter")
    with pytest.raises(UsageError, match="style: nothing to score"):
        plotted([given(bare)], PlotSettings(task=("style",)))


def test_a_leak_is_refused_or_written_into_the_figure(make_batch: Any) -> None:
    """A figure of a leaking split would be believed."""
    batch = predictions(make_batch, split=["train", "test"] * 20)  # artists on both sides
    with pytest.raises(UsageError, match="10 groups in more than one split"):
        plotted([given(batch)], PlotSettings(task=("style",)))
    found = words(given(batch), task=("style",), allow_leak=True, splits="test")
    assert "leak allowed: 10 groups in more than one split" in found


def test_what_does_not_fit_is_answered_with_what_does(
    make_batch: Any, fit_model: Callable[..., Model]
) -> None:
    """An error that does not say what to type next would send people to the manual."""
    batch = predictions(make_batch)
    for kind, one, said in (
        ("roc", given(metrics(), "m"), "drawn of predictions; of m.parquet (metrics) there can be"),
        ("curves", given(batch), "confusion, roc, pr"),
        ("map", given(batch), "drawn of embeddings"),
        ("shots", given(metrics()), "mt-eval probe --shots"),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            plotted([one], PlotSettings(kind=kind))
    with pytest.raises(UsageError, match="energy is regression, of which there can be scatter"):
        plotted([given(batch)], PlotSettings(kind="roc", task=("energy",)))
    with pytest.raises(UsageError, match="put them together with mt-eval report"):
        plotted([given(batch), given(metrics())], PlotSettings())
    with pytest.raises(UsageError, match="--borders a,b: expected numbers"):
        plotted([given(batch)], PlotSettings(borders="a,b", task=("energy",)))
    with pytest.raises(UsageError, match="--metric auc: tags has"):
        plotted([given(batch)], PlotSettings(kind="bars", task=("tags",), metric=("auc",)))
    vectors = make_batch(embedding=np.eye(6, dtype=np.float32), style=list("ababab"))
    model = fit_model(vectors, "style", epochs=1)
    with pytest.raises(UsageError, match="no convolutions"):
        plotted([Given("m", "m.safetensors", model=model)], PlotSettings(kind="filters"))
    plain = make_batch(sources=[1, 2])
    with pytest.raises(UsageError, match="there can be spread"):
        plotted([given(plain, "t")], PlotSettings())
    assert set(KINDS) == {*_choices()} - {"auto"}


def _choices() -> Sequence[str]:
    import dataclasses

    (kind,) = [f for f in dataclasses.fields(PlotSettings) if f.name == "kind"]
    return kind.metadata["choices"]


def test_borders_of_levels(make_batch: Any) -> None:
    """The DJ study's figure 6.8 says how many tracks fall into their level."""
    batch = predictions(make_batch)
    right = np.round(np.clip(batch["energy_pred"], 1, 4)) == batch["energy"]
    found = words(given(batch), task=("energy",), borders="1.5,2.5,3.5")
    assert f"{right.mean():.1%} in their level" in found


def test_metric_rows_side_by_side() -> None:
    """Two runs would be drawn in two figures, whose axes differ."""
    found = words(given(metrics(), "one"), given(metrics(value=0.9), "two"))
    assert "one" in found
    assert "two" in found
    assert "R²" in found
    labels = words(given(metrics()), metric=("f1",))
    assert "jazz (3)" in labels
    with pytest.raises(UsageError, match="--metric auc: the rows have accuracy, log_loss, f1, r2"):
        words(given(metrics()), metric=("auc",))
    with pytest.raises(UsageError, match="--task mood: no such task"):
        words(given(metrics()), task=("mood",))


def test_few_shot_curves() -> None:
    """`mt-eval probe --shots` would have no curve."""
    rows: list[dict[str, Any]] = [
        {"task": "style", "metric": f"accuracy@{n}", "value": n / 30, "low": n / 40,
         "high": n / 20, "n": 9, "column": column}
        for n in (1, 5, 20) for column in ("embedding.a", "embedding.b")
    ]  # fmt: skip
    figure, _ = plotted([given(metric_rows(rows))], PlotSettings(kind="shots"))
    lines = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata()) == 3]
    np.testing.assert_allclose(lines[0], np.array([1, 5, 20]) / 30)
    assert "embedding.b" in words(given(metric_rows(rows)), kind="shots")


def test_accuracy_over_coverage_of_rows() -> None:
    """The curve of `mt-eval thresholds` could not be drawn, or be taken for few-shot results."""
    rows: list[dict[str, Any]] = [
        {"task": "style", "metric": f"accuracy@{share:g}", "value": 1.25 - share / 2, "n": 9}
        for share in (1.0, 0.5, 0.8)
    ]
    figure, _ = plotted([given(metric_rows(rows))], PlotSettings(kind="abstention"))
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [0.5, 0.8, 1.0]
    np.testing.assert_allclose(line.get_ydata(), [1.0, 0.85, 0.75])
    with pytest.raises(UsageError, match="no metric is called such as accuracy@5"):
        plotted([given(metric_rows(rows))], PlotSettings(kind="shots"))


def test_spread_over_sources(make_batch: Any) -> None:
    """REP's figure 8 could not be drawn: from a results table, lists counted, or from splits."""
    table = make_batch(
        tasks=[["a"], ["a", "b"], ["b"], ["a", "b"]],
        **{"genre.accuracy": [0.5, 0.6, 0.4, 0.8]},
    )
    figure, _ = plotted([given(table)], PlotSettings(kind="spread", by="tasks"))
    (mean,) = [line for line in figure.axes[0].lines if line.get_label() == "mean"]
    assert mean.get_xdata().tolist() == [1.0, 2.0]
    np.testing.assert_allclose(mean.get_ydata(), [0.45, 0.7])
    rows: list[dict[str, Any]] = [
        {"task": "style", "metric": "accuracy", "value": value, "n": 9, "repeat": repeat,
         "column": column}
        for column, repeat, value in (("a", 0, 0.5), ("a", 1, 0.7), ("a", None, 9.0), ("b", 0, 0.1))
    ]  # fmt: skip
    figure, _ = plotted([given(metric_rows(rows))], PlotSettings(kind="spread", by="column"))
    (mean,) = [line for line in figure.axes[0].lines if line.get_label() == "mean"]
    np.testing.assert_allclose(mean.get_ydata(), [0.6, 0.1])  # single splits, not their summary
    with pytest.raises(UsageError, match=r"--by \(missing\): name the column of the number of"):
        plotted([given(table)], PlotSettings(kind="spread"))


def test_maps_and_their_columns(make_batch: Any) -> None:
    """A map would be coloured by nothing, or of the wrong one of two embeddings."""
    rng = np.random.default_rng(0)
    batch = make_batch(
        embedding=rng.normal(size=(30, 4)).astype(np.float32),
        style=["ab"[i % 2] for i in range(30)],
        tags=[["slow"] if i < 15 else ["fast", "loud"] for i in range(30)],
    )
    found = words(given(batch), by="style", map="pca", terms=("tags",))
    assert "style" in found
    assert "slow" in found
    with pytest.raises(UsageError, match="--by genre: no such column"):
        plotted([given(batch)], PlotSettings(by="genre"))
    both = batch.append(Column("embedding.b", "vector", "embedding", {}, (4,)), batch["embedding"])
    with pytest.raises(UsageError, match="several embeddings: say --column"):
        plotted([given(both)], PlotSettings())

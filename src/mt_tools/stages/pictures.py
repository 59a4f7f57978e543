"""From tables to figures: what a table holds, which figures fit it, and one of them.

Conventions: inputs are told apart by their columns, never by their names. Figures of several
inputs stand in the same axes where they show the same label or metric; a series is called after
its file, and after the model where a file has several (`mt-tag --model ALIAS=FILE`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mt_tools import metrics
from mt_tools.errors import NoRows, UsageError
from mt_tools.evaluate.measure import HEADLINES
from mt_tools.evaluate.score import class_names, multi_hot, present
from mt_tools.report import figures, points
from mt_tools.report.curves import curves_of
from mt_tools.report.curves import figure_of as curves_figure
from mt_tools.report.figures import Bars, Confusion, Ranked, Scatter, Value
from mt_tools.stages import judging
from mt_tools.stages.judging import METRIC_COLUMNS, predictions_of, table_of
from mt_tools.stages.results import LOG_COLUMNS, log_columns
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tasks.labels import class_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mt_tools.nets.model import Model

Row = dict[str, Any]

KINDS: dict[str, tuple[str, ...]] = {
    "curves": ("log",),
    "confusion": ("predictions",),
    "roc": ("predictions",),
    "pr": ("predictions",),
    "calibration": ("predictions",),
    "scatter": ("predictions",),
    "abstention": ("predictions", "metrics"),
    "bars": ("predictions", "metrics"),
    "shots": ("metrics",),
    "spread": ("metrics", "comparison", "effects", "predictions", "embeddings", "table"),
    "map": ("embeddings", "predictions"),
    "filters": ("model",),
}
"""What each kind of figure is drawn from."""

OF_KIND = {
    "multiclass": ("confusion", "roc", "pr", "bars", "calibration", "abstention"),
    "ordinal": ("confusion", "roc", "pr", "bars", "calibration", "abstention"),
    "multilabel": ("bars", "roc", "pr", "calibration"),
    "regression": ("scatter",),
    "distribution": (),
}
"""The figures of predictions of each kind of label, the one that is drawn unasked first."""

FEWEST = 10
"""Rows that an accuracy of the abstention curve is of, at least."""

_SOURCES = ("sources", "n_sources", "number_of_sources")
_METRICS = {column.name for column in METRIC_COLUMNS} - {"id", "column", "repeat", "sd"}
_METRICS -= {"protocol", "leak", "note"}


@dataclass(frozen=True)
class Given(judging.Given):
    """One input: a table with its history, or a model."""

    model: Model | None = None
    steps: Sequence[Mapping[str, Any]] = ()

    @property
    def content(self) -> str:
        """What it holds: see `content_of`."""
        return "model" if self.model is not None else content_of(self.columns)


def content_of(columns: Mapping[str, Column]) -> str:
    """Return what a table holds.

    One of "log" (of mt-train), "metrics" (of mt-eval score, probe, thresholds), "findings" (of
    check), "comparison" and "effects" (of compare), "predictions" (of mt-tag, with labels),
    "embeddings", and "table", any other.
    """
    names = set(columns)
    if {c.name for c in LOG_COLUMNS} - {"id", "epoch", "step"} <= names:
        return "log"
    if names >= _METRICS:
        return "metrics"
    if {"kind", "count", "message", "offenders"} <= names:
        return "findings"
    if {"metric", "a", "b", "difference"} <= names:
        return "comparison"
    if {"kind", "strategy", "term", "number", "sources", "value"} <= names:
        return "effects"
    if predictions_of("", dict(columns)):
        return "predictions"
    return "embeddings" if embeddings_of(columns) else "table"


def embeddings_of(columns: Mapping[str, Column]) -> list[str]:
    """Return the names of the columns of embeddings."""
    return [c.name for c in columns.values() if c.kind == "vector" and c.role == "embedding"]


def names_of(paths: Sequence[str]) -> list[str]:
    """Return what inputs are called: the names of their files, in full where two are alike."""
    stems = [os.path.splitext(os.path.basename(path))[0] or path for path in paths]
    return [
        stem if stems.count(stem) == 1 else path for stem, path in zip(stems, paths, strict=True)
    ]


def rows_of(batches: Iterable[Batch]) -> list[Row]:
    """Return rows as dicts, in which what is no number is None."""
    return [
        {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in row.items()
        }
        for batch in batches
        for row in batch.rows()
    ]


# --- predictions ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """One model's predictions of one label, on the rows that have both.

    `name` is the task as its metrics call it, `label` the column of the truth, `series` how the
    model is called among others. `scores` [n, vocabulary], or None.
    """

    name: str
    label: str
    series: str
    kind: str
    truth: NDArray[Any]
    predicted: NDArray[Any]
    scores: NDArray[Any] | None
    vocabulary: Sequence[str]
    rows: Sequence[Row] = ()

    def number(self, metric: str, label: str | None = None) -> Value | None:
        """Return a metric of this task, or of one of its labels, where it was scored."""
        for row in self.rows:
            if (row["task"], row["metric"], row["label"]) == (self.name, metric, label):
                return value_of(row)
        return None

    @property
    def chances(self) -> bool:
        """Whether the scores are probabilities of the classes."""
        if self.scores is None or self.kind == "multilabel":
            return self.scores is not None
        return bool(np.allclose(self.scores.sum(axis=1), 1.0, atol=1e-3))


def value_of(row: Row) -> Value:
    """Return the number of a metric row with its interval."""
    value, low, high = (math.nan if row[k] is None else row[k] for k in ("value", "low", "high"))
    return Value(value, low, high, None if row["n"] is None else int(row["n"]))


def judged(
    table: Batch,
    columns: Mapping[str, Column],
    tasks: Sequence[str],
    source: str = "",
    rows: Sequence[Row] = (),
) -> list[Judged]:
    """Return the predictions of a table; `source` names it among several, `rows` are its metrics.

    Raises `UsageError` for a task that has no predictions.
    """
    found = []
    named = [one for text in tasks or [""] for one in predictions_of(text, dict(columns))]
    several = len({one.label for one in named}) < len(named)
    for one in named:
        scores = columns.get(f"{one.name}_score")
        vocabulary = list(scores.settings.get("vocabulary", ())) if scores else []
        truth, predicted = table[one.label], table[f"{one.name}_pred"]
        values = table[f"{one.name}_score"] if scores and vocabulary else None
        known = present(truth) & present(predicted)
        if values is not None:
            known &= np.isfinite(values).all(axis=1)
        alias = one.name.removesuffix(one.label).rstrip(".") or "model"
        series = " ".join([source] * bool(source) + [alias] * (several or not source))
        found.append(
            Judged(
                one.name, one.label, series, one.kind, truth[known], predicted[known],
                None if values is None else values[known], vocabulary, rows,
            )
        )  # fmt: skip
    return found


def predictions_table(
    batches: Iterable[Batch], columns: Mapping[str, Column], tasks: Sequence[str]
) -> Batch:
    """Return what judging predictions needs of a table, in memory."""
    named = [one for text in tasks or [""] for one in predictions_of(text, dict(columns))]
    needed = [n for p in named for n in (p.label, f"{p.name}_pred", f"{p.name}_score")]
    return table_of(batches, ["id", "origin", "group", "split", *dict.fromkeys(needed)])


def fitting(one: Judged) -> tuple[str, ...]:
    """Return the kinds of figure that fit predictions, the one drawn unasked first."""
    kinds = OF_KIND.get(one.kind, ())
    if one.scores is None:
        kinds = tuple(kind for kind in kinds if kind in ("confusion", "scatter", "bars"))
    elif not one.chances:
        kinds = tuple(kind for kind in kinds if kind not in ("calibration", "abstention"))
    return kinds


def of_predictions(
    kind: str, found: Sequence[Judged], borders: Sequence[float] = (), metric: str = ""
) -> Figure:
    """Return a figure of predictions, all of which it must fit; a panel a label.

    `metric` is what bars show of each class or tag. Raises `UsageError` where there is nothing to
    draw.
    """
    if not any(len(one.truth) for one in found):
        raise UsageError("no row has both a label and a prediction: there is nothing to draw")
    found = [one for one in found if len(one.truth)]
    panels: dict[str, list[Judged]] = {}
    for one in found:
        panels.setdefault(one.label, []).append(one)
    several = any(len(models) > 1 for models in panels.values())

    def title(one: Judged) -> str:
        return f"{one.label}: {one.series}" if several else one.label

    if kind == "confusion":
        return figures.confusion_figure([_confusion(one, title(one)) for one in found])
    if kind in ("roc", "pr"):
        areas = "roc_auc" if kind == "roc" else "average_precision"
        ranks = {name: [ranked(one, areas) for one in ones] for name, ones in panels.items()}
        draw = figures.roc_figure if kind == "roc" else figures.pr_figure
        return draw(ranks)
    if kind == "scatter":
        scatters = []
        for one in found:
            r2 = one.number("r2")
            truth, predicted = one.truth.astype(float), one.predicted.astype(float)
            note = "" if r2 is None else f"R² {r2}"
            scatters.append(Scatter(title(one), truth, predicted, note))
        return figures.scatter_figure(scatters, borders)
    if kind == "calibration":
        diagrams = {
            name: {one.series: points.reliability(*_outcomes(one)) for one in ones}
            for name, ones in panels.items()
        }
        pooled = {one.label for one in found if one.kind == "multilabel"}
        return figures.calibration_figure(diagrams, pooled)
    if kind == "abstention":
        return figures.abstention_figure(
            {name: {one.series: _coverage(one) for one in ones} for name, ones in panels.items()}
        )
    if kind == "bars":
        bars = [_label_bars(name, ones, metric) for name, ones in panels.items()]
        return figures.bars_figure(bars)
    raise AssertionError(kind)


def _names(one: Judged) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the classes of truth and prediction by name."""
    if one.kind == "ordinal":
        both = ([class_name(v) for v in values] for values in (one.truth, one.predicted))
        truth, predicted = (np.array(names, object) for names in both)
        return truth, predicted
    return class_names(one.truth), class_names(one.predicted)


def _confusion(one: Judged, title: str) -> Confusion:
    truth, predicted = _names(one)
    strangers = {*truth, *predicted} - {*one.vocabulary}
    numbers = one.kind == "ordinal" and not one.vocabulary
    classes = [*one.vocabulary, *sorted(strangers, key=float if numbers else str)]
    return Confusion(title, classes, metrics.confusion(truth, predicted, classes))


def _hot(one: Judged) -> NDArray[np.bool_]:
    """Return whether each row is of each label of the vocabulary: bool [n, vocabulary]."""
    if one.kind == "multilabel":
        return multi_hot(one.truth, one.vocabulary)[0]
    return _names(one)[0][:, None] == np.array(one.vocabulary, object)[None]


def ranked(one: Judged, areas: str) -> Ranked:
    """Return what scores are worth as rankings; `areas` is roc_auc or average_precision."""
    assert one.scores is not None
    hot, scores, labels = _hot(one), one.scores, list(one.vocabulary)
    if one.kind != "multilabel" and len(labels) == 2:  # the other one says the same
        hot, scores, labels = hot[:, 1:], scores[:, 1:], labels[1:]
    measure = metrics.roc_auc if areas == "roc_auc" else metrics.average_precision
    values = measure(hot, scores)
    known = [one.number(areas, label) for label in labels]
    mean = metrics.macro(values)
    return Ranked(
        one.series,
        labels,
        hot,
        scores,
        [k or Value(float(v)) for k, v in zip(known, values, strict=True)],
        one.number(f"{areas}_macro") or Value(mean.value),
    )


def _outcomes(one: Judged) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return whether what is predicted came true, and its probability, both [m].

    Of classes this is the most probable one of each row, of tags each decision.
    """
    assert one.scores is not None
    if one.kind == "multilabel":
        return _hot(one).ravel(), one.scores.ravel()
    best = one.scores.argmax(axis=1)
    return _names(one)[0] == np.array(one.vocabulary, object)[best], one.scores.max(axis=1)


def _coverage(one: Judged) -> points.Points:
    curve = points.coverage_points(*_outcomes(one))
    enough = curve.x * len(one.truth) >= min(FEWEST, len(one.truth)) - 0.5
    return points.Points(curve.x[enough], curve.y[enough])


def _label_bars(name: str, ones: Sequence[Judged], metric: str) -> Bars:
    known = dict.fromkeys(
        row["metric"] for one in ones for row in one.rows
        if row["task"] == one.name and row["label"] is not None
    )  # fmt: skip
    if not known:
        raise UsageError(f"{name}: no metric of each label is known, so there are no bars")
    if metric and metric not in known:
        raise UsageError(f"--metric {metric}: {name} has {', '.join(known)} of each label")
    usual = ("roc_auc", "f1")
    shown = metric or next((m for m in usual if m in known), next(iter(known)))
    series = {
        one.series: {
            class_name(row["label"]): value_of(row)
            for row in one.rows
            if (row["task"], row["metric"]) == (one.name, shown) and row["label"] is not None
        }
        for one in ones
    }
    return Bars(name, words(shown), series, 0.5 if shown == "roc_auc" else None)


# --- metric rows ---------------------------------------------------------------------------------


_SAID = {"roc": "ROC", "auc": "AUC", "f1": "F1", "r2": "R²", "mae": "MAE", "mse": "MSE",
         "rmse": "RMSE", "kl": "KL", "js": "JS",
         "ap@20": "AP@20", "ndcg@20": "nDCG@20"}  # fmt: skip


def words(metric: str) -> str:
    """Return a metric as people write it."""
    return " ".join(_SAID.get(part, part) for part in metric.split("_"))


@dataclass(frozen=True)
class Series:
    """Metric rows of one file, by the name that a figure gives them."""

    name: str
    rows: Sequence[Row]


def parted(inputs: Sequence[Series]) -> list[tuple[str, str, Row]]:
    """Return (series, task, row) of metric rows, models and columns told apart by their series."""
    found = []
    for one in inputs:
        tasks = {row["task"] for row in one.rows}
        ends = [task.partition(".")[2] for task in tasks]
        columns = {row.get("column") for row in one.rows}
        for row in one.rows:
            task, alias = row["task"], ""
            end = task.partition(".")[2]
            if end and (end in tasks or ends.count(end) > 1):
                alias, task = task.partition(".")[0], end
            parts = [one.name] * (len(inputs) > 1)
            parts += [str(row.get("column"))] * (len(columns) > 1 and row.get("column") is not None)
            parts += [alias] * bool(alias)
            found.append((" ".join(parts) or one.name, task, row))
    return found


def _asked(
    found: Sequence[tuple[str, str, Row]], tasks: Sequence[str], wanted: Sequence[str]
) -> list[tuple[str, str, Row]]:
    """Return the rows of the tasks and metrics asked for; raises `UsageError` for unknown ones."""
    known = dict.fromkeys(task for _, task, _ in found)
    for task in tasks:
        if task not in known:
            raise UsageError(f"--task {task}: no such task; the rows have {', '.join(known)}")
    names = dict.fromkeys(base(row["metric"]) for _, _, row in found)
    for metric in wanted:
        if metric not in names:
            raise UsageError(f"--metric {metric}: the rows have {', '.join(names)}")
    return [
        (series, task, row)
        for series, task, row in found
        if (not tasks or task in tasks) and (not wanted or base(row["metric"]) in wanted)
    ]


def base(metric: str) -> str:
    """Return a metric without how many examples or what coverage it is of: see `at_of`."""
    name = metric.partition("@")[0]
    return metric if name in metrics.RANKED else name


def at_of(metric: str) -> float | None:
    """Return the number after `@`, such as the labels a class of `accuracy@5`.

    That of `ap@20` is a part of its name.
    """
    try:
        return float(metric.removeprefix(base(metric)).removeprefix("@"))
    except ValueError:
        return None


def metric_bars(
    inputs: Sequence[Series], tasks: Sequence[str] = (), wanted: Sequence[str] = ()
) -> Figure:
    """Return bars of metric rows with their intervals, a panel a task.

    Without `wanted` they are the metrics whose values lie in -1 to 1 and of which more is better,
    since one axis has one unit; a wanted metric that only labels have is drawn of each label.
    """
    found = _asked(parted(inputs), tasks, wanted)
    found = [
        one for one in found if one[2].get("repeat") is None and at_of(one[2]["metric"]) is None
    ]
    overall = [one for one in found if one[2]["label"] is None]
    panels: list[Bars] = []
    for task in dict.fromkeys(task for _, task, _ in found):
        mine = [(series, row) for series, own, row in overall if own == task]
        names = dict.fromkeys(row["metric"] for _, row in mine)
        if not wanted:
            together = [name for name in names if _bounded(name, mine)]
            if together:
                panels.append(_bars_of(task, "", together, mine))
            elif mine:
                first = next((m for m in names if m in HEADLINES.values()), next(iter(names)))
                panels.append(_bars_of(task, words(first), [first], mine))
            continue
        for name in wanted:
            if name in names:
                panels.append(_bars_of(task, words(name), [name], mine))
                continue
            of_labels: dict[str, dict[str, Value]] = {}
            for series, own, row in found:
                if own == task and row["metric"] == name and row["label"] is not None:
                    of_labels.setdefault(series, {})[class_name(row["label"])] = value_of(row)
            if of_labels:
                chance = 0.5 if name == "roc_auc" else None
                panels.append(Bars(task, words(name), of_labels, chance))
    if not panels:
        raise UsageError("there are no metrics to draw as bars; name one with --metric")
    return figures.bars_figure(panels)


def _bounded(name: str, rows: Sequence[tuple[str, Row]]) -> bool:
    values = [row[key] for _, row in rows if row["metric"] == name for key in ("value",)]
    values = [value for value in values if value is not None]
    return name not in metrics.LOWER_IS_BETTER and all(-1 <= value <= 1 for value in values)


def _bars_of(
    task: str, axis: str, names: Sequence[str], rows: Sequence[tuple[str, Row]]
) -> Bars:  # fmt: skip
    series: dict[str, dict[str, Value]] = {}
    for name, row in rows:
        if row["metric"] in names:
            series.setdefault(name, {})[words(row["metric"])] = value_of(row)
    return Bars(task, axis, series, sort=False)


def shots(inputs: Sequence[Series], tasks: Sequence[str], wanted: Sequence[str]) -> Figure:
    """Return few-shot curves of metric rows called such as `accuracy@5`: five labels a class."""
    found = [one for one in _asked(parted(inputs), tasks, wanted) if at_of(one[2]["metric"])]
    if any((at_of(row["metric"]) or 1.0) < 1.0 for _, _, row in found):
        found = []  # these are shares that a model answers: see `metric_coverage`
    found = [one for one in found if one[2].get("repeat") is None and one[2]["label"] is None]
    panels: dict[str, dict[str, dict[float, Value]]] = {}
    for series, task, row in found:
        metric, at = base(row["metric"]), at_of(row["metric"])
        assert at is not None
        if (
            not wanted
            and f"{task}: {metric}" not in panels
            and any(name.startswith(f"{task}: ") for name in panels)
        ):
            continue  # the first metric of a task stands for it
        panels.setdefault(f"{task}: {metric}", {}).setdefault(series, {})[at] = value_of(row)
    if not panels:
        raise UsageError(
            "no metric is called such as accuracy@5: make some with mt-eval probe --shots 1,5,10"
        )
    return figures.shots_figure(panels, "labels per class")


def metric_coverage(
    inputs: Sequence[Series], tasks: Sequence[str], wanted: Sequence[str]
) -> Figure:
    """Return the abstention curves of metric rows called such as `accuracy@0.8`: coverage 80 %."""
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for series, task, row in _asked(parted(inputs), tasks, wanted or ()):
        at = at_of(row["metric"])
        if at is None or at > 1 or row["value"] is None or row.get("repeat") is not None:
            continue
        if base(row["metric"]) == "accuracy" and row["label"] is None:
            panels.setdefault(task, {}).setdefault(series, []).append((at, row["value"]))
    if not panels:
        raise UsageError(
            "no metric is called such as accuracy@0.8: give predictions of mt-tag, or the rows of "
            "mt-eval thresholds"
        )
    return figures.abstention_figure(
        {
            task: {
                name: points.Points(*np.array(sorted(values)).T) for name, values in series.items()
            }
            for task, series in panels.items()
        }
    )


def spread(
    inputs: Sequence[tuple[str, Mapping[str, Column], Sequence[Row]]],
    by: str,
    tasks: Sequence[str] = (),
    wanted: Sequence[str] = (),
    apart: str = "",
) -> Figure:
    """Return how values spread over the settings in the column `by`: a panel a task and metric.

    `inputs` are (name, columns, rows). Values are in the column `value` of metric rows, where
    those of single splits stand for their summary, or in the columns that `wanted` names, such as
    `genre.accuracy` of the results of a grid. A list is counted: of the learning sources of a run
    their number. Of mt-eval compare --design those of single runs are drawn. `apart` names a column
    whose values have a colour each, or `COLUMN=ITEM` of a column of lists.
    """
    columns = {name: column for _, own, _ in inputs for name, column in own.items()}
    rows = [row for _, _, own in inputs for row in own]
    by = by or next((name for name in _SOURCES if name in columns), "")
    if by not in columns:
        raise UsageError(
            f"--by {by or '(missing)'}: name the column of the number of sources, or another "
            f"setting; there are {', '.join(columns)}"
        )
    told = apart.partition("=")[0]
    if told and told not in columns:
        raise UsageError(f"--apart {apart}: no such column; there are {', '.join(columns)}")
    panels: dict[str, dict[str, dict[float | str, list[float]]]] = {}

    def take(panel: str, row: Row, value: float) -> None:
        series = _series(row, apart)
        if series is not None:
            groups = panels.setdefault(panel, {}).setdefault(series, {})
            groups.setdefault(_setting(row[by]), []).append(value)

    if "value" in columns and "metric" in columns:
        single = {(r["task"], r["metric"]) for r in rows if r.get("repeat") is not None}
        runs = {"kind", "number", "sources"} <= columns.keys()  # of mt-eval compare --design
        found = parted(
            [
                Series(name, [row for row in own if not runs or row["kind"] == "run"])
                for name, _, own in inputs
            ]
        )
        for _, task, row in _asked(found, tasks, wanted):
            summary = row.get("repeat") is None and (row["task"], row["metric"]) in single
            panel = f"{task}: {words(row['metric'])}"
            first = all(not p.startswith(f"{task}: ") or p == panel for p in panels)
            if row["value"] is None or row.get("label") is not None or summary:
                continue
            if (wanted or first) and row.get(by) is not None:
                take(panel, row, row["value"])
        axis = "value"
    else:
        headlines = set(HEADLINES.values())
        usual = [name for name in columns if "." in name and name.rpartition(".")[2] in headlines]
        values = list(wanted) or usual or ["value"] * ("value" in columns)
        for name in values:
            if name not in columns or columns[name].kind not in ("number", "integer"):
                numbers = [c.name for c in columns.values() if c.kind in ("number", "integer")]
                raise UsageError(
                    f"--metric {name}: no such column of numbers; there are {', '.join(numbers)}"
                )
        if not values:
            raise UsageError("--metric (missing): name the column whose values spread")
        for row in rows:
            for name in values:
                task = str(row.get("task") or "")
                if tasks and task not in tasks and name.partition(".")[0] not in tasks:
                    continue
                if row.get(name) is not None and row.get(by) is not None:
                    take(f"{task}: {name}" if task else name, row, row[name])
        axis = values[0].rpartition(".")[2] if len(values) == 1 else "value"
    if not panels:
        raise NoRows(f"no row has both a value and the column {by}: there is nothing to draw")
    arrays = {
        panel: {
            series: {key: np.array(found, float) for key, found in groups.items()}
            for series, groups in own.items()
        }
        for panel, own in panels.items()
    }
    if apart:
        return figures.spread_apart_figure(arrays, words(by), words(axis))
    return figures.spread_figure(
        {panel: own[""] for panel, own in arrays.items()}, words(by), words(axis)
    )


def _series(row: Row, apart: str) -> str | None:
    """Return what tells the value of a row apart from others; None where that is not known."""
    name, _, item = apart.partition("=")
    if not name:
        return ""
    value = row.get(name)
    if value is None:
        return None
    if item:
        has = item in value if isinstance(value, list) else item == str(value)
        return f"with {item}" if has else f"without {item}"
    return ", ".join(value) if isinstance(value, list) else class_name(value)


def _setting(value: Any) -> float | str:
    if isinstance(value, list):
        return float(len(value))
    if isinstance(value, bool):
        return str(value).lower()
    return float(value) if isinstance(value, int | float) else str(value)


# --- logs ----------------------------------------------------------------------------------------


def log_figure(
    logs: Sequence[tuple[str, Iterable[Batch]]], tasks: Sequence[str], wanted: Sequence[str]
) -> Figure:
    """Return the learning curves of logs of mt-train, given as (path, rows)."""
    return curves_figure(curves_of(log_columns(logs, tasks)), wanted)


# --- embeddings and models -----------------------------------------------------------------------


def embedding_map(
    inputs: Sequence[Given], column: str, by: str, method: str, terms: Sequence[str], seed: int
) -> Figure:
    """Return a map of the embeddings of one table, coloured by the column `by`.

    `terms` names columns of tags, or of factors, of which each part of the map says what stands
    out there; of several it says it apart (the facets of the REP study's Fig. 14). Raises
    `UsageError` for several tables and for columns that there are not.
    """
    from mt_tools.features.maps import map_points, regions
    from mt_tools.report.maps import map_figure

    (one,) = _alone(inputs, "map")
    found = embeddings_of(one.columns)
    if column and column not in found:
        raise UsageError(f"--column {column}: no such embedding; there are {', '.join(found)}")
    if not column and len(found) > 1:
        raise UsageError(f"several embeddings: say --column with one of {', '.join(found)}")
    terms = list(dict.fromkeys(terms))
    for option, name in (("--by", by), *(("--terms", name) for name in terms)):
        if name and name not in one.columns:
            raise UsageError(f"{option} {name}: no such column; there are {', '.join(one.columns)}")
    chosen = column or found[0]
    table = table_of(one.batches, ["id", *dict.fromkeys([chosen, *filter(None, [by]), *terms])])
    places = map_points(table[chosen], method, seed)
    spoken = [
        region
        for name in terms
        for region in regions(
            places,
            *_terms(table, one.columns[name]),
            seed=seed,
            source=name.removesuffix("_terms").removesuffix("_score") if len(terms) > 1 else "",
        )
    ]
    return map_figure(places, values=table[by] if by else None, name=by, regions=spoken)


def _terms(table: Batch, column: Column) -> tuple[NDArray[np.float64], list[str]]:
    """Return what a column says of each row as weights [n, terms], NaN where unknown, and names.

    Of predicted tags, which are sorted by their strength, the first weighs 1, the next 1/2, ...
    """
    values = table[column.name]
    if column.kind == "vector":
        names = column.settings.get("vocabulary") or range(column.shape[0])
        return values.astype(float), [str(name) for name in names]
    if column.kind != "strings":
        raise UsageError(
            f"--terms {column.name}: got a {column.kind} column, expected tags or factors"
        )
    known = np.array([row is not None for row in values])
    tags = sorted({tag for row in values[known] for tag in row})
    weights = np.full((len(values), len(tags)), np.nan)
    weights[known] = multi_hot(values[known], tags)[0]
    if column.role == "prediction":  # these are the strongest first
        place = {tag: number for number, tag in enumerate(tags)}
        for row in np.flatnonzero(known):
            for rank, tag in enumerate(values[row], start=1):
                weights[row, place[tag]] = 1 / rank
    return weights, tags


def filters(inputs: Sequence[Given]) -> Figure:
    """Return the filters of one model's convolutions, its backbone's where it has none itself."""
    from mt_tools.report.filters import filters_figure

    (one,) = _alone(inputs, "filters")
    model = one.model
    assert model is not None
    if model.backbone is not None and not any(p.dim() > 2 for p in model.net.parameters()):
        model = model.backbone
    weights = {name: p.detach().cpu().numpy() for name, p in model.net.named_parameters()}
    return filters_figure(weights, model.name)


def _alone(inputs: Sequence[Given], kind: str) -> Sequence[Given]:
    if len(inputs) > 1:
        raise UsageError(f"--kind {kind}: got {len(inputs)} inputs, expected one; draw them apart")
    return inputs


def borders_of(text: str) -> list[float]:
    """Return the numbers of `--borders 1.5,2.5`; raises `UsageError` for what is none."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"--borders {text}: expected numbers such as 1.5,2.5,3.5") from None

"""Scores of a model's predictions, each with its interval.

Goal: what `mt-eval score` reports for one task. The intervals resample clusters (artists, or
origins where no artist is known), since segments and copies of one track are not independent
evidence: see `intervals.bootstrap`.

Labels are the wire's: multiclass, object array of str (or bool), None = unlabelled; multilabel,
object array of lists of str, None = unlabelled, [] = none applies; regression, floats, NaN =
unlabelled; ordinal, either of multiclass and regression; distribution, float vectors [n, d], NaN =
unlabelled. Unlabelled rows, and rows without a prediction, are left out and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools import metrics
from mt_tools.errors import UsageError
from mt_tools.evaluate.intervals import DRAWS, bootstrap
from mt_tools.metrics import Score
from mt_tools.tasks.labels import class_name, is_distribution

Array = NDArray[Any]
Measure = Callable[[NDArray[np.int64]], dict[str, Score]]


def score(
    kind: str,
    truth: Array,
    predictions: Array | None,
    scores: Array | None = None,
    vocabulary: Sequence[str] = (),
    clusters: Array | None = None,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Return the metrics of one task's predictions.

    `kind`: one of `MEASURES`; `truth`, `predictions`: [n] labels as `tasks.kinds.decide` gives
    them, a name for ordinal classes and distributions; `scores`: [n, len(vocabulary)]
    probabilities or tag scores, or None; `clusters`: [n] from `splits.units`, None = rows are
    independent; `draws`: bootstrap resamples. Tags need predictions or scores, distributions
    scores, ordinal words a vocabulary, which has their order.

    The result holds `kind`, `n`, `unlabelled`, `unpredicted`, `clusters`, `notes`, and `metrics`:
    {name: {value, low, high, reason}}; for classes also `classes`, `confusion` and `per_class`,
    for tags `per_tag`. Undefined values are NaN. Raises `UsageError` when nothing can be scored.
    """
    if kind not in MEASURES:
        raise UsageError(f"got the kind {kind!r}, expected one of {', '.join(MEASURES)}")
    if predictions is None and (scores is None or kind not in ("multilabel", "distribution")):
        raise UsageError("there are no predictions to score: give the output of mt-tag")
    if scores is None and kind == "distribution":
        raise UsageError(
            "distributions are compared whole: give the output of mt-tag with its column of scores"
        )
    if scores is not None and np.shape(scores) != (len(truth), len(vocabulary)):
        raise UsageError(
            f"got scores of shape {np.shape(scores)}, expected {(len(truth), len(vocabulary))}: "
            "one for each row and each label of the model's vocabulary"
        )
    labelled = present(truth)
    predicted = np.ones(len(truth), bool) if predictions is None else present(predictions)
    if scores is not None:
        predicted &= np.isfinite(scores).all(axis=1)
    rows = np.flatnonzero(labelled & predicted)
    if not len(rows):
        raise UsageError(
            f"nothing to score: of {len(truth)} rows {int(labelled.sum())} are labelled, "
            f"{int(predicted.sum())} have a prediction and none has both"
        )
    cluster = np.arange(len(truth)) if clusters is None else np.asarray(clusters)
    measure, detail = MEASURES[kind](
        truth[rows],
        None if predictions is None else predictions[rows],
        None if scores is None else np.asarray(scores)[rows],
        vocabulary,
    )
    observed = measure(np.arange(len(rows)))
    found = bootstrap(
        lambda chosen: np.array([value for value, _ in measure(chosen).values()]),
        cluster[rows],
        rng=np.random.default_rng(seed),
        draws=draws,
    )
    return {
        "kind": kind,
        "n": len(rows),
        "unlabelled": int((~labelled).sum()),
        "unpredicted": int((labelled & ~predicted).sum()),
        "clusters": len(np.unique(cluster[rows])),
        "metrics": {
            name: {
                "value": value,
                "low": interval.low,
                "high": interval.high,
                "reason": reason or interval.reason,
            }
            for (name, (value, reason)), interval in zip(observed.items(), found, strict=True)
        },
        **detail,
    }


def present(labels: Array) -> NDArray[np.bool_]:
    """Return the mask [n] of rows that have a value: neither None nor NaN nor infinite."""
    if labels.dtype.kind == "f":
        finite = np.isfinite(labels)
        return np.logical_and.reduce(finite, axis=tuple(range(1, finite.ndim)))
    return np.array([label is not None and label == label for label in labels], bool)


def class_names(labels: Array) -> Array:
    """Return class labels [n] as strings; booleans are the classes `false` and `true`."""
    names = np.empty(len(labels), object)
    for row, label in enumerate(labels):
        if isinstance(label, list | tuple | set | np.ndarray):
            raise UsageError(f"got the list {list(label)} as a class, expected one string a row")
        is_bool = isinstance(label, bool | np.bool_)
        names[row] = str(label).lower() if is_bool else str(label)
    return names


def multi_hot(labels: Array, vocabulary: Sequence[str]) -> tuple[NDArray[np.bool_], int]:
    """Return lists of tags as bool [n, tags], and how many mentions are not in the vocabulary."""
    place = {tag: column for column, tag in enumerate(vocabulary)}
    hot, unknown = np.zeros((len(labels), len(place)), bool), 0
    for row, tags in enumerate(labels):
        if isinstance(tags, str):
            raise UsageError(f"got the string {tags!r} as tags, expected a list of strings a row")
        for tag in tags:
            if tag in place:
                hot[row, place[tag]] = True
            else:
                unknown += 1
    return hot, unknown


def _multiclass(
    truth: Array, predictions: Array | None, scores: Array | None, vocabulary: Sequence[str]
) -> tuple[Measure, dict[str, Any]]:
    assert predictions is not None
    truth, predictions = class_names(truth), class_names(predictions)
    strangers = sorted({*truth} - {*vocabulary}) if vocabulary else []
    classes = [*vocabulary, *sorted({*truth, *predictions} - {*vocabulary})]
    # Codes rank far faster than strings in the resamples.
    place = {name: code for code, name in enumerate(classes)}
    true, chosen = (np.array([place[name] for name in names]) for names in (truth, predictions))
    matrix = metrics.confusion(true, chosen, range(len(classes)))
    by_class = metrics.per_class(matrix)
    notes = []
    if strangers:
        count = int(np.isin(truth, strangers).sum())
        notes.append(
            f"{count} rows have a class that the model does not know and count as wrong: "
            f"{', '.join(strangers[:5])}"
        )

    def measure(rows: NDArray[np.int64]) -> dict[str, Score]:
        chances = None if scores is None else scores[rows]
        return metrics.multiclass(true[rows], chosen[rows], chances, range(len(vocabulary)))

    return measure, {
        "notes": notes,
        "classes": classes,
        "confusion": matrix.tolist(),
        "per_class": _table(classes, by_class),
    }


def _multilabel(
    truth: Array, predictions: Array | None, scores: Array | None, vocabulary: Sequence[str]
) -> tuple[Measure, dict[str, Any]]:
    tags = list(vocabulary) or sorted(
        {
            tag
            for column in (truth, predictions)
            if column is not None
            for row in column
            for tag in row
        }
    )
    hot, unknown = multi_hot(truth, tags)
    decided = None if predictions is None else multi_hot(predictions, tags)[0]
    by_tag: dict[str, Array] = {"support": hot.sum(axis=0)}
    if scores is not None:
        by_tag["roc_auc"] = metrics.roc_auc(hot, scores)
        by_tag["average_precision"] = metrics.average_precision(hot, scores)
    if decided is not None:
        by_tag["f1"] = metrics.f1_per_tag(hot, decided)
    notes = []
    if unknown:
        notes.append(f"tags that the model does not know are ignored: {unknown} in all")
    levels = None if scores is None else _levels(scores)

    def measure(rows: NDArray[np.int64]) -> dict[str, Score]:
        choices = None if decided is None else decided[rows]
        if levels is not None:
            return metrics.multilabel(hot[rows], levels[rows], choices)
        assert choices is not None
        return {
            f"f1_{average}": metrics.f1_multilabel(hot[rows], choices, average)
            for average in ("macro", "micro")
        }

    return measure, {"notes": notes, "per_tag": _table(tags, by_tag)}


def _levels(scores: Array) -> Array:
    """Return each tag's scores as their ranks: the same order, in integers that sort fast."""
    ranks = [np.unique(column, return_inverse=True)[1] for column in scores.T]
    return np.stack(ranks, axis=1).astype(np.uint16 if len(scores) < 2**16 else np.uint32)


def _regression(
    truth: Array, predictions: Array | None, scores: Array | None, vocabulary: Sequence[str]
) -> tuple[Measure, dict[str, Any]]:
    assert predictions is not None
    target, predicted = truth.astype(np.float64), predictions.astype(np.float64)
    return lambda rows: metrics.regression(target[rows], predicted[rows]), {"notes": []}


def _ordinal(
    truth: Array, predictions: Array | None, scores: Array | None, vocabulary: Sequence[str]
) -> tuple[Measure, dict[str, Any]]:
    assert predictions is not None
    numbers = truth.dtype.kind == "f"
    names = [[class_name(label) for label in labels] for labels in (truth, predictions)]
    classes = list(vocabulary)
    if not classes:
        if not numbers:
            raise UsageError(
                "the order of the classes is not known: give the output of mt-tag with its column "
                "of scores, which names them in order"
            )
        classes = sorted({*names[0], *names[1]}, key=float)
    place = {name: step for step, name in enumerate(classes)}
    known = np.array([all(name in place for name in pair) for pair in zip(*names, strict=True)])
    if not known.any():
        raise UsageError(
            f"none of the {len(truth)} rows has a class that the model knows "
            f"({', '.join(classes[:5])})"
        )
    true, chosen = (np.array([place.get(name, -1) for name in column]) for column in names)
    matrix = metrics.confusion(true[known], chosen[known], range(len(classes)))
    strangers = sorted({name for name in names[0] if name not in place})
    left = int((~known).sum())
    notes = [
        f"{left} rows have a class that has no place in the model's order and are left out: "
        f"{', '.join(strangers[:5])}"
    ]

    def measure(rows: NDArray[np.int64]) -> dict[str, Score]:
        rows = rows[known[rows]]
        chances = None if scores is None else scores[rows]
        return metrics.ordinal(true[rows], chosen[rows], chances, len(classes))

    return measure, {
        "n": int(known.sum()),
        "notes": notes * bool(left),
        "classes": classes,
        "confusion": matrix.tolist(),
        "per_class": _table(classes, metrics.per_class(matrix)),
    }


def _distribution(
    truth: Array, predictions: Array | None, scores: Array | None, vocabulary: Sequence[str]
) -> tuple[Measure, dict[str, Any]]:
    assert scores is not None
    if truth.ndim != 2 or truth.shape != scores.shape:
        raise UsageError(
            f"got labels of shape {truth.shape}, expected {scores.shape}: a vector of "
            f"{scores.shape[1]} components a row"
        )
    usable = is_distribution(truth)
    if not usable.any():
        raise UsageError(
            f"none of the {len(truth)} rows is a distribution: expected numbers from 0 that sum "
            "to 1"
        )
    left = int((~usable).sum())
    notes = [f"{left} rows are negative somewhere or do not sum to 1, and are left out"]

    def measure(rows: NDArray[np.int64]) -> dict[str, Score]:
        rows = rows[usable[rows]]
        return metrics.distribution(truth[rows], scores[rows])

    return measure, {"n": int(usable.sum()), "notes": notes * bool(left)}


MEASURES: dict[str, Callable[..., tuple[Measure, dict[str, Any]]]] = {
    "multiclass": _multiclass,
    "multilabel": _multilabel,
    "regression": _regression,
    "ordinal": _ordinal,
    "distribution": _distribution,
}
"""What is measured of each kind of task; one of pairs predicts nothing of a track."""


def _table(names: Sequence[str], columns: dict[str, Array]) -> dict[str, dict[str, Any]]:
    """Turn columns of per-label values into one plain row a label."""
    plain = {column: values.tolist() for column, values in columns.items()}
    return {
        name: {column: plain[column][row] for column in plain} for row, name in enumerate(names)
    }

"""Scores of a model's predictions, each with its interval.

Goal: what `mt-eval score` reports for one task. The intervals are of clusters (artists, or origins
where no artist is known), since segments and copies of one track are not independent evidence: see
`intervals`. Tables of up to half a million rows x labels are resampled; beyond, the interval comes
from the spread over random groups, and the result says which.

Labels are the wire's: multiclass, object array of str (or bool), None = unlabelled; multilabel,
object array of lists of str, None = unlabelled, [] = none applies; regression, floats, NaN =
unlabelled; ordinal, either of multiclass and regression; distribution, float vectors [n, d], NaN =
unlabelled. Unlabelled rows, and rows without a prediction, are left out and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools import metrics
from mt_tools.errors import UsageError
from mt_tools.evaluate.intervals import DRAWS, Interval, clustered, in_range
from mt_tools.metrics import Score
from mt_tools.tasks.labels import class_name, is_distribution

Array = NDArray[Any]
Rows = NDArray[np.int64]
Judgement = tuple[dict[str, Score], dict[str, NDArray[np.float64]]]
"""Metrics by name, and by name those of each label [labels]."""

_SORTED = 30  # what sorting numbers anew in each resample costs, in labels


@dataclass(frozen=True)
class Judge:
    """How one task's predictions are measured, on any of their rows.

    `measure` takes row numbers, with repetitions, and judges those rows alone; `resample` does the
    same for as many rows as there are, in less time. `labels` [k] and `support` [k] describe
    what single metrics are of, `width` what a row costs to measure. `kept`: [n] rows that can be
    judged at all; `detail` is what the report says beside the metrics.
    """

    measure: Callable[[Rows], Judgement]
    resample: Callable[[Rows], Judgement]
    kept: NDArray[np.bool_]
    width: int = 1
    labels: Sequence[str] = ()
    support: Sequence[int] = ()
    detail: dict[str, Any] = field(default_factory=dict)


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

    `kind`: one of `JUDGES`; `truth`, `predictions`: [n] labels as `tasks.kinds.decide` gives
    them, a name for ordinal classes and distributions; `scores`: [n, len(vocabulary)]
    probabilities or tag scores, or None; `clusters`: [n] from `splits.units`, None = rows are
    independent; `draws`: bootstrap resamples. Tags need predictions or scores, distributions
    scores, ordinal words a vocabulary, which has their order.

    The result holds `kind`, `n`, `unlabelled`, `unpredicted`, `clusters`, `notes`, and `metrics`:
    {name: {value, low, high, reason}}; for classes and tags also `labels`: {label: {"support": n,
    name: {value, low, high, reason}}}, for classes `classes` and their matrix `confusion`.
    `interval` says how the intervals came about. Undefined values are NaN. Raises
    `UsageError` when nothing can be scored.
    """
    if kind not in JUDGES:
        raise UsageError(f"got the kind {kind!r}, expected one of {', '.join(JUDGES)}")
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
    if kind == "multiclass":
        truth = single_classes(truth)
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
    every = len(rows) == len(truth)  # then nothing is copied: there may be a million
    labels_, predictions, scores = (
        column if every or column is None else np.asarray(column)[rows]
        for column in (truth, predictions, scores)
    )
    judge = JUDGES[kind](labels_, predictions, scores, vocabulary)
    rows = rows[judge.kept]
    overall, each = judge.measure(np.flatnonzero(judge.kept))
    found, how = _intervals(judge, (overall, each), cluster[rows], seed, draws)
    entries = iter(found)
    units = len(np.unique(cluster[rows]))
    metrics_ = {name: _entry(name, *value, next(entries), units) for name, value in overall.items()}
    labels: dict[str, dict[str, Any]] = {
        label: {"support": int(count)}
        for label, count in zip(judge.labels, judge.support, strict=True)
    }
    for name, values in each.items():
        why = metrics.WHY_UNDEFINED[name]
        for label, value in zip(labels, values.tolist(), strict=True):
            reason = why if np.isnan(value) else ""
            most = min(units, labels[label]["support"])
            labels[label][name] = _entry(name, value, reason, next(entries), most)
    return {
        "kind": kind,
        "n": len(rows),
        "unlabelled": int((~labelled).sum()),
        "unpredicted": int((labelled & ~predicted).sum()),
        "clusters": units,
        "interval": how,
        "metrics": metrics_,
        "notes": [],
        **({"labels": labels} if labels else {}),
        **judge.detail,
    }


def _intervals(
    judge: Judge, observed: Judgement, clusters: Array, seed: int, draws: int
) -> tuple[list[Interval], str]:
    """Return the interval of every value of a judgement, in order, and how they came about."""
    places = np.flatnonzero(judge.kept)
    rng = np.random.default_rng(seed)

    def values_of(judgement: Judgement) -> NDArray[np.float64]:
        overall, each = judgement
        return np.concatenate([[value for value, _ in overall.values()], *each.values()])

    intervals, how, _ = clustered(
        values_of(observed),
        lambda rows: values_of(judge.measure(places[rows])),
        lambda rows: values_of(judge.resample(places[rows])),
        clusters,
        width=judge.width,
        rng=rng,
        draws=draws,
    )
    return intervals, how


def _entry(
    name: str, value: float, reason: str, interval: Interval, clusters: int
) -> dict[str, Any]:
    """Return a metric with its interval, which does not leave the values that it can take."""
    low, high, why = in_range(value, interval, metrics.RANGES[name], clusters)
    return {"value": value, "low": low, "high": high, "reason": reason or why}


def present(labels: Array) -> NDArray[np.bool_]:
    """Return the mask [n] of rows that have a value: neither None nor NaN nor infinite."""
    if labels.dtype.kind == "f":
        finite = np.isfinite(labels)
        return np.logical_and.reduce(finite, axis=tuple(range(1, finite.ndim)))
    return np.array([label is not None and label == label for label in labels], bool)


def single_classes(labels: Array) -> Array:
    """Return class labels [n] in which a list of one class is that class, any other list none.

    So `tasks.kinds.encode` learns them. Where no list has one class they stay, to be refused.
    """
    lists = [row for row, label in enumerate(labels) if isinstance(label, list)]
    if not any(len(labels[row]) == 1 for row in lists):
        return labels
    single = labels.copy()
    for row in lists:
        single[row] = labels[row][0] if len(labels[row]) == 1 else None
    return single


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
) -> Judge:
    assert predictions is not None
    truth, predictions = class_names(truth), class_names(predictions)
    strangers = sorted({*truth} - {*vocabulary}) if vocabulary else []
    classes = [*vocabulary, *sorted({*truth, *predictions} - {*vocabulary})]
    # Codes rank far faster than strings in the resamples.
    place = {name: code for code, name in enumerate(classes)}
    true, chosen = (np.array([place[name] for name in names]) for names in (truth, predictions))
    notes = []
    if strangers:
        count = int(np.isin(truth, strangers).sum())
        notes.append(
            f"{count} rows have a class that the model does not know and count as wrong: "
            f"{', '.join(strangers[:5])}"
        )
    known = range(len(vocabulary))
    once = metrics.multiclass_measure(true, chosen, scores, known)
    pairs, size = true * len(classes) + chosen, len(classes)

    def resample(rows: Rows) -> Judgement:
        counts = np.bincount(rows, minlength=len(true))
        return once(counts), _of_classes(metrics.count_pairs(pairs, size, counts))

    def measure(rows: Rows) -> Judgement:
        chances = None if scores is None else scores[rows]
        overall = metrics.multiclass(true[rows], chosen[rows], chances, known)
        return overall, _of_classes(metrics.count_pairs(pairs[rows], size))

    matrix = metrics.count_pairs(pairs, size)
    return Judge(
        measure, resample, np.ones(len(true), bool), 1 if scores is None else 4, classes,
        matrix.sum(axis=1).tolist(),
        {"notes": notes, "classes": classes, "confusion": matrix.tolist()},
    )  # fmt: skip


def _of_classes(matrix: Array) -> dict[str, NDArray[np.float64]]:
    found = metrics.per_class(matrix)
    return {name: found[name] for name in ("precision", "recall", "f1")}


def _multilabel(
    truth: Array, predictions: Array | None, scores: Array | None, vocabulary: Sequence[str]
) -> Judge:
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
    notes = []
    if unknown:
        notes.append(f"tags that the model does not know are ignored: {unknown} in all")
    once = metrics.multilabel_measure(hot, scores, decided)

    def measure(rows: Rows) -> Judgement:
        return metrics.multilabel_measure(
            hot[rows],
            None if scores is None else scores[rows],
            None if decided is None else decided[rows],
        )(None)

    def resample(rows: Rows) -> Judgement:
        return once(np.bincount(rows, minlength=len(hot)))

    return Judge(
        measure, resample, np.ones(len(hot), bool), len(tags), tags, hot.sum(axis=0).tolist(),
        {"notes": notes},
    )  # fmt: skip


def _regression(
    truth: Array, predictions: Array | None, scores: Array | None, vocabulary: Sequence[str]
) -> Judge:
    assert predictions is not None
    target, predicted = truth.astype(np.float64), predictions.astype(np.float64)

    def measure(rows: Rows) -> Judgement:
        return metrics.regression(target[rows], predicted[rows]), {}

    return Judge(measure, measure, np.ones(len(target), bool), _SORTED)


def _ordinal(
    truth: Array, predictions: Array | None, scores: Array | None, vocabulary: Sequence[str]
) -> Judge:
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
    # Rows that have no place count nowhere.
    pairs, size = np.where(known, true * len(classes) + chosen, 0), len(classes)
    matrix = metrics.count_pairs(pairs[known], size)
    once = metrics.ordinal_measure(true, chosen, scores, range(size))
    strangers = sorted({name for name in names[0] if name not in place})
    left = int((~known).sum())
    notes = [
        f"{left} rows have a class that has no place in the model's order and are left out: "
        f"{', '.join(strangers[:5])}"
    ]

    def measure(rows: Rows) -> Judgement:
        chances = None if scores is None else scores[rows]
        overall = metrics.ordinal(true[rows], chosen[rows], chances, range(size))
        return overall, _of_classes(metrics.count_pairs(pairs[rows], size))

    def resample(rows: Rows) -> Judgement:
        counts = np.bincount(rows, minlength=len(true))
        return once(counts), _of_classes(metrics.count_pairs(pairs, size, counts))

    return Judge(
        measure, resample, known, 4, classes, matrix.sum(axis=1).tolist(),
        {"notes": notes * bool(left), "classes": classes, "confusion": matrix.tolist()},
    )  # fmt: skip


def _distribution(
    truth: Array, predictions: Array | None, scores: Array | None, vocabulary: Sequence[str]
) -> Judge:
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

    def measure(rows: Rows) -> Judgement:
        return metrics.distribution(truth[rows], scores[rows]), {}

    return Judge(measure, measure, usable, truth.shape[1], detail={"notes": notes * bool(left)})


JUDGES: dict[str, Callable[..., Judge]] = {
    "multiclass": _multiclass,
    "multilabel": _multilabel,
    "regression": _regression,
    "ordinal": _ordinal,
    "distribution": _distribution,
}
"""How each kind of task is measured; one of pairs predicts nothing of a track."""

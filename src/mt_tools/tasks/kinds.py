"""The kinds of task: from a label column to targets, and from logits to scores and predictions.

Goal: one table, `KINDS`, in which a kind of task is one row. (Its loss is the row of the same
name in `tasks/losses.py`, so that this module needs numpy only.)

Source: DESIGN, "The wire" (row "any other name") and "Tasks".

Conventions
-----------
A *task* is a plain dict of JSON values, stored as it is in the model file::

    {"name": str, "kind": str, "vocabulary": [str], "thresholds": [float] | None,
     "mean": float, "std": float, "weight": float}

*Values* are one label column, one entry a row: an object array of `str | None` (or booleans), an
object array of `list[str] | None` where `[]` means that no tag applies, or a float array with NaN
where unlabelled. A row without a label is masked for the task and counts nowhere.

Vocabularies are sorted by code point over the rows of the training set, so that the order of
the outputs depends on the labels alone. Booleans are the classes `false` and `true`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError

Task = dict[str, Any]

DEFAULT_TOP = 5
"""Tags predicted for a track when the task has no calibrated thresholds."""


@dataclass(frozen=True)
class Kind:
    """One kind of task: a row of `KINDS`.

    `inferred_from` is the content of a column ("strings", "lists of strings", "numbers") that
    means this kind when none is asked for, `accepts` are the contents it can be made of,
    `parameters` learns the task's own entries (vocabulary, mean, std) from the labelled training
    values. The other fields are what the functions of the same name do for this kind.
    """

    inferred_from: str | None
    accepts: tuple[str, ...]
    parameters: Callable[[str, NDArray[Any]], dict[str, Any]]
    encode: Callable[[Task, NDArray[Any]], tuple[NDArray[Any], NDArray[np.bool_]]]
    outputs: Callable[[Task], int]
    scores: Callable[[Task, NDArray[np.float64]], NDArray[Any]]
    decide: Callable[[Task, NDArray[Any], int | None], NDArray[Any]]


def make_task(
    name: str,
    kind: str | None,
    values: NDArray[Any],
    train_mask: NDArray[np.bool_],
    weight: float = 1.0,
) -> Task:
    """Make the task of a label column: its kind, vocabulary or scale, from the training rows.

    `values` [n] is the column, `train_mask` [n] marks the training rows, `kind` None follows the
    column's type. Raises `UsageError` when nothing is labelled, when the column cannot be of the
    kind, and when there is nothing to learn: one class only, no tag, a constant number.
    """
    train = np.asarray(values)[train_mask]
    content = _content(name, values)
    if content is None:
        raise UsageError(
            f"task {name!r}: all {len(values)} rows are unlabelled (null); "
            "name a column that has labels"
        )
    if kind is None:
        kind = next(k for k, row in KINDS.items() if row.inferred_from == content)
    row = _row(kind)
    if content not in row.accepts:
        possible = " or ".join(k for k, other in KINDS.items() if content in other.accepts)
        raise UsageError(
            f"task {name!r}: column {name!r} holds {content}, {kind} needs "
            f"{' or '.join(row.accepts)}; ask for {possible}, or convert the column"
        )
    train = train[labelled(train)]
    if len(train) == 0:
        raise UsageError(
            f"task {name!r}: none of the {int(np.sum(train_mask))} training rows is labelled; "
            "label some, or split so that labelled rows fall into train"
        )
    defaults: dict[str, Any] = {"vocabulary": [], "thresholds": None, "mean": 0.0, "std": 1.0}
    own = row.parameters(name, train)
    return {"name": name, "kind": kind, **defaults, **own, "weight": float(weight)}


def encode(task: Task, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the learning targets of a label column and the mask of rows that have one.

    multiclass: int64 [n], the index in the vocabulary; a class outside of it, and a list that has
    not exactly one item, is masked. multilabel: float32 [n, tags] of 0 and 1; a tag outside of the
    vocabulary is ignored. regression: float32 [n], standardised by the task's mean and std; an
    infinite number is masked. Masked rows hold zeros, and `unusable` counts those that had a label.
    Raises `UsageError` for a column of another type.
    """
    content = _content(task["name"], values)
    row = _row(task["kind"])
    if content is not None and content not in row.accepts:
        raise UsageError(
            f"task {task['name']!r}: column holds {content}, {task['kind']} needs "
            f"{' or '.join(row.accepts)}; give a table whose labels are of the task's kind"
        )
    return row.encode(task, np.asarray(values))


def unusable(task: Task, values: NDArray[Any]) -> int:
    """Count the rows that carry a label and yet are masked: see `encode`."""
    _, mask = encode(task, values)
    return int(np.count_nonzero(labelled(values)) - np.count_nonzero(mask))


def labelled(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the mask [n] of rows that carry a label: neither null nor NaN."""
    values = np.asarray(values)
    if values.dtype.kind == "f":
        return ~np.isnan(values)
    if values.dtype.kind == "O":
        return np.array([not _is_null(value) for value in values], dtype=bool)
    return np.ones(len(values), dtype=bool)


def outputs(task: Task) -> int:
    """Return the number of outputs of the task's head."""
    return _row(task["kind"]).outputs(task)


def scores(task: Task, logits: NDArray[Any]) -> NDArray[Any]:
    """Return what the head's logits [n, outputs] say in the task's own terms.

    multiclass: softmax, float32 [n, classes]. multilabel: sigmoid, float32 [n, tags]. regression:
    the number in its original units, float64 [n]. Raises `ValueError` when the shape is not the
    task's.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or logits.shape[1] != outputs(task):
        raise ValueError(
            f"task {task['name']!r}: got logits of shape {logits.shape}, "
            f"expected [n, {outputs(task)}]"
        )
    return _row(task["kind"]).scores(task, logits)


def decide(task: Task, scores: NDArray[Any], top: int | None = None) -> NDArray[Any]:
    """Return the predictions [n] that follow from `scores` (as made by `scores`).

    multiclass: the class of the highest score. multilabel: the tags at or above the task's
    calibrated thresholds, at most `top` of them; without thresholds the `top` (default 5) best;
    best first. Equal scores rank in vocabulary order. Both are object arrays, None where a score
    is not finite. regression: the number itself, float64.
    """
    return _row(task["kind"]).decide(task, np.asarray(scores), top)


def parse_task(text: str) -> tuple[str, str | None, float]:
    """Parse `COLUMN[:kind][:weight]` into column, kind (None: from the column's type) and weight.

    >>> parse_task("mood:multilabel:0.5")
    ('mood', 'multilabel', 0.5)
    """
    form = f"expected COLUMN[:kind][:weight] with kind one of {', '.join(KINDS)}"
    column, *rest = text.split(":")
    kind = rest.pop(0) if rest and rest[0] in KINDS else None
    weight = 1.0
    if rest:
        try:
            weight = float(rest.pop(0))
        except ValueError:
            raise UsageError(f"task {text!r}: {form}, for example genre:multiclass:0.5") from None
    if not column or rest:
        raise UsageError(f"task {text!r}: {form}, for example genre:multiclass:0.5")
    if not (np.isfinite(weight) and weight > 0):
        raise UsageError(f"task {text!r}: got weight {weight:g}, expected a number above 0; {form}")
    return column, kind, weight


# What a column holds


def _is_null(value: Any) -> bool:
    """Whether one entry of an object array is unlabelled; pandas writes NaN for a missing str."""
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def _content(name: str, values: NDArray[Any]) -> str | None:
    """Say what a column holds (see `Kind.inferred_from`); None when nothing is labelled."""
    values = np.asarray(values)
    if values.ndim == 1:
        present = values[labelled(values)]
        if len(present) == 0:
            return None
        if values.dtype.kind in "iuf":
            return "numbers"
        if values.dtype.kind in "bUO":
            if all(isinstance(value, str | bool | np.bool_) for value in present):
                return "strings"
            if all(_is_tag_list(value) for value in present):
                return "lists of strings"
    raise UsageError(
        f"task {name!r}: column {name!r} is no label (shape {values.shape}, type {values.dtype}); "
        "expected strings, booleans, lists of strings or numbers, one a row and of one type"
    )


def _is_tag_list(value: Any) -> bool:
    """Whether one entry is a list of strings, among which nulls are ignored."""
    return isinstance(value, list | tuple | np.ndarray) and all(
        tag is None or isinstance(tag, str) for tag in value
    )


def _rows_of_tags(values: NDArray[Any]) -> Iterator[set[str] | None]:
    """Yield each row as its set of tags, one for plain text; None where unlabelled."""
    for value in values:
        if _is_null(value):
            yield None
        elif isinstance(value, bool | np.bool_):
            yield {"true" if value else "false"}
        elif isinstance(value, str):
            yield {str(value)}
        else:
            yield {str(tag) for tag in value if tag is not None}


def _vocabulary(values: NDArray[Any]) -> list[str]:
    """Return every tag of the labelled `values`, sorted by code point."""
    return sorted(set().union(*(tags for tags in _rows_of_tags(values) if tags is not None)))


def _index(task: Task) -> Mapping[str, int]:
    """Return the position of each tag among the task's outputs."""
    return {tag: position for position, tag in enumerate(task["vocabulary"])}


def _width(task: Task) -> int:
    """One output a tag of the vocabulary."""
    return len(task["vocabulary"])


# multiclass


def _class_parameters(name: str, train: NDArray[Any]) -> dict[str, Any]:
    single = np.array([len(tags or ()) == 1 for tags in _rows_of_tags(train)])
    vocabulary = _vocabulary(train[single])
    if not vocabulary:
        raise UsageError(
            f"task {name!r}: none of the {len(train)} labelled training rows has exactly one item, "
            f"multiclass needs one class a row; use {name}:multilabel"
        )
    if len(vocabulary) == 1:
        raise UsageError(
            f"task {name!r}: all {int(single.sum())} labelled training rows are of one class, "
            f"{vocabulary[0]!r}; multiclass needs two or more: label other classes, or drop the "
            "task"
        )
    return {"vocabulary": vocabulary}


def _encode_classes(task: Task, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    position = _index(task)
    targets = np.zeros(len(values), dtype=np.int64)
    mask = np.zeros(len(values), dtype=bool)
    for row, tags in enumerate(_rows_of_tags(values)):
        if tags is not None and len(tags) == 1:
            (tag,) = tags
            if tag in position:
                targets[row], mask[row] = position[tag], True
    return targets, mask


def _softmax(_: Task, logits: NDArray[np.float64]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def _best_class(task: Task, scores: NDArray[Any], _: int | None) -> NDArray[np.object_]:
    predicted = np.array(task["vocabulary"], dtype=object)[np.argmax(scores, axis=1)]
    predicted[~np.isfinite(scores).all(axis=1)] = None
    return predicted


# multilabel


def _tag_parameters(name: str, train: NDArray[Any]) -> dict[str, Any]:
    vocabulary = _vocabulary(train)
    if not vocabulary:
        raise UsageError(
            f"task {name!r}: the lists of all {len(train)} labelled training rows are empty; "
            "multilabel needs one tag or more: label some, or drop the task"
        )
    return {"vocabulary": vocabulary}


def _encode_tags(task: Task, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    position = _index(task)
    targets = np.zeros((len(values), len(position)), dtype=np.float32)
    for row, tags in enumerate(_rows_of_tags(values)):
        for tag in tags or ():
            if tag in position:
                targets[row, position[tag]] = 1.0
    return targets, labelled(values)


def _sigmoid(_: Task, logits: NDArray[np.float64]) -> NDArray[np.float32]:
    # exp(-log(1 + exp(-x))): neither overflows nor loses the small scores to cancellation.
    return np.exp(-np.logaddexp(0.0, -logits)).astype(np.float32)


def _best_tags(task: Task, scores: NDArray[Any], top: int | None) -> NDArray[np.object_]:
    vocabulary, thresholds = task["vocabulary"], task["thresholds"]
    if thresholds is None:
        top = DEFAULT_TOP if top is None else top
        chosen = np.ones(scores.shape, dtype=bool)
    else:
        chosen = scores >= np.asarray(thresholds, dtype=np.float64)
    ranking = np.argsort(-scores, axis=1, kind="stable")
    predicted = np.empty(len(scores), dtype=object)
    for row, ranked in enumerate(ranking):
        if np.isfinite(scores[row]).all():
            predicted[row] = [vocabulary[tag] for tag in ranked if chosen[row, tag]][:top]
    return predicted


# regression


def _number_parameters(name: str, train: NDArray[Any]) -> dict[str, Any]:
    numbers = train.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise UsageError(
            f"task {name!r}: {int((~np.isfinite(numbers)).sum())} training rows are infinite; "
            "regression needs finite numbers: use null for unlabelled"
        )
    if numbers.min() == numbers.max():
        raise UsageError(
            f"task {name!r}: all {len(numbers)} labelled training rows are {numbers[0]:g}, their "
            "std is zero; regression needs numbers that differ: label others, or drop the task"
        )
    return {"mean": float(numbers.mean()), "std": float(numbers.std())}


def _encode_numbers(task: Task, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    mask = labelled(values)
    targets = np.zeros(len(values), dtype=np.float32)
    targets[mask] = (values[mask].astype(np.float64) - task["mean"]) / task["std"]
    finite = np.isfinite(targets)
    return np.where(finite, targets, np.float32(0)), mask & finite


def _original_units(task: Task, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return logits[:, 0] * task["std"] + task["mean"]


KINDS: dict[str, Kind] = {
    "multiclass": Kind(
        inferred_from="strings",
        accepts=("strings", "lists of strings"),
        parameters=_class_parameters,
        encode=_encode_classes,
        outputs=_width,
        scores=_softmax,
        decide=_best_class,
    ),
    "multilabel": Kind(
        inferred_from="lists of strings",
        accepts=("lists of strings",),
        parameters=_tag_parameters,
        encode=_encode_tags,
        outputs=_width,
        scores=_sigmoid,
        decide=_best_tags,
    ),
    "regression": Kind(
        inferred_from="numbers",
        accepts=("numbers",),
        parameters=_number_parameters,
        encode=_encode_numbers,
        outputs=lambda task: 1,
        scores=_original_units,
        decide=lambda task, scores, top: scores.astype(np.float64),
    ),
}


def _row(kind: str) -> Kind:
    """Return the row of `kind`, or answer a wrong name with the right ones."""
    if kind not in KINDS:
        raise UsageError(f"got kind {kind!r}, expected one of {', '.join(KINDS)}")
    return KINDS[kind]

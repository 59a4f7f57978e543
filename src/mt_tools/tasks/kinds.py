"""The kinds of task: from a label column to targets, and from logits to scores and predictions.

Goal: one table, `KINDS`, in which a kind of task is one row. (Its loss is the row of the same
name in `tasks/losses.py`, so that this module needs numpy only.)

Source: docs/wire.md for the types of columns. Ordinal classes are learned as continuation ratios:
W. Cao, V. Mirjalili, S. Raschka, "Rank consistent ordinal regression for neural networks", Pattern
Recognition Letters 2020, asks for probabilities P(y > k) that fall with k; X. Shi, W. Cao,
S. Raschka, "Deep neural networks for rank-consistent ordinal regression based on conditional
probabilities" (CORN), 2021, has them without sharing weights between the outputs. Distributions are
the learning targets of the REP and AGF studies, pairs the REP study's "self".

Conventions
-----------
A *task* is a plain dict of JSON values, stored as it is in the model file::

    {"name": str, "kind": str, "vocabulary": [str], "thresholds": [float] | None,
     "mean": float, "std": float, "scale": str, "class_weights": [float] | None, "weight": float}

`mt-eval thresholds` adds what it fits on validation rows: `"calibration"` of the scores (see
`tasks.calibration`), `"abstain"`, the score below which a class is not named, and `"precision"`,
the thresholds, or of classes the score, at which what is said is right so often::

    {"calibration": {...} | None, "abstain": float | None,
     "precision": {"0.9": [float | None] | float | None, ...}}

A threshold of None is out of reach: the tag never applies. Of a distribution that `mt-factor` made,
mt-train keeps by what: `"target": {"method": str, "digest": str}`.

*Values* are one label column (see `tasks.labels`). A row without a label is masked for the task
and counts nowhere.

A vocabulary names the outputs in order. It is given, or made of the rows of the training set:
sorted by code point, so that the order depends on the labels alone; by size for ordinal numbers;
`0`, `1`, ... for the components of a distribution. Whatever a kind with a vocabulary predicts is a
word of it, also where the column holds numbers.

A number is decoded as logit * std + mean, whatever the scale: `standard` targets have mean 0 and
deviation 1 over the training rows, `minmax` ones lie in [0, 1] (DJ study), `raw` ones are as they
came (REG study).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.tasks.labels import class_name, content, counts, labelled
from mt_tools.tasks.words import (
    DEFAULT_TOP,
    Options,
    Task,
    best_class,
    best_place,
    best_tags,
    checked_vocabulary,
    class_entropy,
    class_parameters,
    class_probabilities,
    encode_classes,
    encode_mixtures,
    encode_tags,
    infinite,
    mean_divergence,
    median_class,
    median_place,
    mixture_parameters,
    sigmoid,
    softmax,
    step_parameters,
    tag_entropy,
    tag_parameters,
    width,
)

__all__ = [
    "CLASS_WEIGHTS",
    "DEFAULT_TOP",
    "KINDS",
    "NEVER",
    "SCALES",
    "Kind",
    "Task",
    "chosen_classes",
    "constant_loss",
    "decide",
    "encode",
    "head",
    "labelled",
    "make_task",
    "names_one",
    "outputs",
    "outside",
    "parse_task",
    "predictable",
    "prediction_type",
    "scores",
    "unusable",
]

SCALES = ("standard", "minmax", "raw")
NEVER = 2.0
"""An `abstain` that no score reaches: no class is named."""

CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True)
class Kind:
    """One kind of task: a row of `KINDS`.

    `inferred_from` is the content of a column ("strings", "lists of strings", "numbers",
    "vectors") that means this kind when none is asked for, `accepts` are the contents it can be
    made of, `parameters` learns the task's own entries (vocabulary, mean, std, class weights) from
    the labelled training values. `activation` makes of logits what other heads are fed with;
    `predicts` is the kind of column that predictions make ("string", "strings", "number"), None
    for a task of pairs, which says nothing about one track. `place` finds the one class that is
    predicted among the scores, None for a kind that may not abstain. The other fields are what the
    functions of the same name do for this kind.
    """

    inferred_from: str | None
    accepts: tuple[str, ...]
    parameters: Callable[[str, NDArray[Any], Options], dict[str, Any]]
    encode: Callable[[Task, NDArray[Any]], tuple[NDArray[Any], NDArray[np.bool_]]]
    outputs: Callable[[Task], int]
    scores: Callable[[Task, NDArray[np.float64]], NDArray[Any]]
    decide: Callable[[Task, NDArray[Any], int | None], NDArray[Any]]
    constant_loss: Callable[[Task, NDArray[Any]], float]
    activation: str
    predicts: str | None
    place: Callable[[NDArray[Any]], NDArray[np.int64]] | None = None


def make_task(
    name: str,
    kind: str | None,
    values: NDArray[Any],
    train_mask: NDArray[np.bool_],
    weight: float = 1.0,
    *,
    scale: str = "standard",
    vocabulary: Sequence[str] | None = None,
    class_weight: str = "none",
) -> Task:
    """Make the task of a label column: its kind, vocabulary or scale, from the training rows.

    `values` [n] is the column, `train_mask` [n] marks the training rows, `kind` None follows the
    column's type. `scale` is that of the targets of regression. `vocabulary` fixes the outputs and
    their order: labels outside of it are masked or ignored, and `outside` counts them.
    `class_weight` "balanced" makes each class count as much as any other, n / (k * count) as in
    scikit-learn, and each tag's positive rows as much as its negative ones; kinds without classes
    take no notice. Raises `UsageError` when nothing is labelled, when the column cannot be of the
    kind, and when there is nothing to learn: one class only, no tag, a constant number.
    """
    for option, chosen, known in (
        ("scale", scale, SCALES),
        ("class weight", class_weight, CLASS_WEIGHTS),
    ):
        if chosen not in known:
            raise UsageError(f"got {option} {chosen!r}, expected one of {', '.join(known)}")
    train = np.asarray(values)[train_mask]
    held = content(name, values)
    if held is None:
        raise UsageError(
            f"task {name!r}: all {len(values)} rows are unlabelled (null); "
            "name a column that has labels"
        )
    if kind is None:
        kind = next(k for k, row in KINDS.items() if row.inferred_from == held)
    row = _row(kind)
    if held not in row.accepts:
        possible = " or ".join(k for k, other in KINDS.items() if held in other.accepts)
        raise UsageError(
            f"task {name!r}: column {name!r} holds {held}, {kind} needs "
            f"{' or '.join(row.accepts)}; ask for {possible}, or convert the column"
        )
    train = train[labelled(train)]
    if len(train) == 0:
        raise UsageError(
            f"task {name!r}: none of the {int(np.sum(train_mask))} training rows is labelled; "
            "label some, or split so that labelled rows fall into train"
        )
    words = None if vocabulary is None else checked_vocabulary(name, kind, vocabulary)
    options = Options(scale, words, class_weight == "balanced")
    defaults: dict[str, Any] = {
        "vocabulary": [], "thresholds": None, "mean": 0.0, "std": 1.0, "scale": "raw",
        "class_weights": None,
    }  # fmt: skip
    own = row.parameters(name, train, options)
    return {"name": name, "kind": kind, **defaults, **own, "weight": float(weight)}


def encode(task: Task, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the learning targets of a label column and the mask of rows that have one.

    multiclass and ordinal: int64 [n], the index in the vocabulary; a class outside of it, and a
    list that has not exactly one item, is masked. multilabel: float32 [n, tags] of 0 and 1; a tag
    outside of the vocabulary is ignored. regression: float32 [n], in the task's scale; an infinite
    number is masked. distribution: float32 [n, components], rows that sum to 1; a row that is
    negative somewhere, or sums to something else, is masked. same-track: int64 [n], equal where
    rows belong together, of a meaning within this call only. Masked rows hold zeros, and `unusable`
    counts those that had a label. Raises `UsageError` for a column of another type.
    """
    held = content(task["name"], values)
    row = _row(task["kind"])
    if held is not None and held not in row.accepts:
        raise UsageError(
            f"task {task['name']!r}: column holds {held}, {task['kind']} needs "
            f"{' or '.join(row.accepts)}; give a table whose labels are of the task's kind"
        )
    return row.encode(task, np.asarray(values))


def unusable(task: Task, values: NDArray[Any]) -> int:
    """Count the rows that carry a label and yet are masked: see `encode`."""
    _, mask = encode(task, values)
    return int(np.count_nonzero(labelled(values)) - np.count_nonzero(mask))


def outside(task: Task, values: NDArray[Any]) -> dict[str, int]:
    """Count the rows of each class or tag that the task's vocabulary lacks, most frequent first."""
    if task["kind"] not in ("multiclass", "multilabel", "ordinal"):
        return {}
    known = set(task["vocabulary"])
    found = sorted(counts(np.asarray(values)).items(), key=lambda entry: (-entry[1], entry[0]))
    return {word: count for word, count in found if word not in known}


def outputs(task: Task) -> int:
    """Return the number of outputs of the task's head."""
    return _row(task["kind"]).outputs(task)


def head(task: Task) -> dict[str, Any]:
    """Return what the task's head is made of: the first fields of `nets.body.Head`.

    `outputs` is the number of logits, `activation` makes of them what other heads are fed with,
    `pair` says whether the head compares two embeddings.
    """
    row = _row(task["kind"])
    return {
        "outputs": row.outputs(task),
        "activation": row.activation,
        "pair": row.predicts is None,
    }


def predictable(task: Task) -> bool:
    """Whether the task says something about one track: a task of pairs does not."""
    return _row(task["kind"]).predicts is not None


def names_one(task: Task) -> bool:
    """Whether `decide` names the one class of a track that may also be left open: `abstain`."""
    return _row(task["kind"]).place is not None


def prediction_type(task: Task) -> str:
    """Return the kind of column that `decide` makes: "string", "strings" or "number"."""
    predicts = _row(task["kind"]).predicts
    if predicts is None:
        raise _no_prediction(task)
    return predicts


def scores(task: Task, logits: NDArray[Any]) -> NDArray[Any]:
    """Return what the head's logits [n, outputs] say in the task's own terms.

    multiclass, distribution: softmax, float32 [n, classes]. ordinal: the probability of each class,
    float32 [n, classes]. multilabel: sigmoid, float32 [n, tags]. regression: the number in its
    original units, float64 [n]. Raises `ValueError` when the shape is not the task's, and for a
    task of pairs.
    """
    if not predictable(task):
        raise _no_prediction(task)
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or logits.shape[1] != outputs(task):
        raise ValueError(
            f"task {task['name']!r}: got logits of shape {logits.shape}, "
            f"expected [n, {outputs(task)}]"
        )
    return _row(task["kind"]).scores(task, logits)


def decide(task: Task, scores: NDArray[Any], top: int | None = None) -> NDArray[Any]:
    """Return the predictions [n] that follow from `scores` (as made by `scores`).

    multiclass, distribution: the class or component of the highest score. ordinal: the median, at
    which the probabilities of the classes up to it first reach one half: no other class has a
    smaller expected distance in steps. multilabel: the tags at or above the task's calibrated
    thresholds, at most `top` of them; without thresholds the `top` (default 5) best; best first.
    Equal scores rank in vocabulary order. All these are object arrays, None where a score is not
    finite, and where that of the class lies below the task's `abstain`.
    regression: the number itself, float64. Raises `ValueError` for a task of pairs.
    """
    if not predictable(task):
        raise _no_prediction(task)
    scores = np.asarray(scores)
    predicted = _row(task["kind"]).decide(task, scores, top)
    if task.get("abstain") is not None:
        predicted[chosen_classes(task, scores)[1] < task["abstain"]] = None
    return predicted


def chosen_classes(task: Task, scores: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the place [n] of the class that `decide` names of each row, and its score [n].

    Raises `ValueError` for a kind that does not name one class and say how likely it is.
    """
    place = _row(task["kind"]).place
    if place is None:
        raise ValueError(f"task {task['name']!r} ({task['kind']}) names no single class")
    places = place(scores)
    return places, np.take_along_axis(scores, places[:, None], axis=1)[:, 0]


def constant_loss(task: Task, targets: NDArray[Any], mask: NDArray[np.bool_]) -> float:
    """Return the loss of the best predictor that knows only the targets, not the tracks.

    `targets` and `mask` are those of `encode`, of the training rows; the loss is that of
    `tasks.losses`, class weights included. multiclass, ordinal: the entropy of the classes.
    multilabel: the mean over the tags of theirs. regression: the variance. distribution: the mean
    divergence from the mean distribution. same-track: log 2, as half of the pairs belong together.
    Raises `UsageError` where the constant is perfect or no row is labelled.
    """
    chosen = np.asarray(targets)[np.asarray(mask, dtype=bool)]
    loss = _row(task["kind"]).constant_loss(task, chosen) if len(chosen) else 0.0
    if not loss > 0:
        raise UsageError(
            f"task {task['name']!r}: the {len(chosen)} labelled rows have nothing to tell apart, "
            "and no loss to measure others by; drop the task, or choose --weighting equal"
        )
    return float(loss)


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


def _no_prediction(task: Task) -> ValueError:
    return ValueError(
        f"task {task['name']!r} is about pairs of tracks ({task['kind']}): one has no score"
    )


# regression


def _number_parameters(name: str, train: NDArray[Any], options: Options) -> dict[str, Any]:
    numbers = train.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise infinite(name, "regression", numbers)
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        raise UsageError(
            f"task {name!r}: all {len(numbers)} labelled training rows are {numbers[0]:g}, their "
            "std is zero; regression needs numbers that differ: label others, or drop the task"
        )
    mean, std = {
        "standard": (float(numbers.mean()), float(numbers.std())),
        "minmax": (low, high - low),
        "raw": (0.0, 1.0),
    }[options.scale]
    return {"mean": mean, "std": std, "scale": options.scale}


def _encode_numbers(task: Task, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    mask = labelled(values)
    targets = np.zeros(len(values), dtype=np.float32)
    targets[mask] = (values[mask].astype(np.float64) - task["mean"]) / task["std"]
    finite = np.isfinite(targets)
    return np.where(finite, targets, np.float32(0)), mask & finite


def _original_units(task: Task, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return logits[:, 0] * task["std"] + task["mean"]


# same-track


def _pair_parameters(name: str, train: NDArray[Any], _: Options) -> dict[str, Any]:
    if len(counts(train)) < 2:
        raise UsageError(
            f"task {name!r}: all {len(train)} labelled training rows belong together; "
            "same-track needs two tracks or more: name a column such as origin"
        )
    return {}


def _encode_pairs(_: Task, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    mask = labelled(values)
    codes = np.zeros(len(values), dtype=np.int64)
    names = [class_name(value) for value in values[mask]]
    codes[mask] = np.unique(np.array(names, dtype=object), return_inverse=True)[1]
    return codes, mask


def _undefined(task: Task, *_: Any) -> NDArray[Any]:
    raise _no_prediction(task)


KINDS: dict[str, Kind] = {
    "multiclass": Kind(
        inferred_from="strings",
        accepts=("strings", "lists of strings"),
        parameters=class_parameters,
        encode=encode_classes,
        outputs=width,
        scores=softmax,
        decide=best_class,
        constant_loss=class_entropy,
        activation="softmax",
        predicts="string",
        place=best_place,
    ),
    "multilabel": Kind(
        inferred_from="lists of strings",
        accepts=("lists of strings",),
        parameters=tag_parameters,
        encode=encode_tags,
        outputs=width,
        scores=sigmoid,
        decide=best_tags,
        constant_loss=tag_entropy,
        activation="sigmoid",
        predicts="strings",
    ),
    "regression": Kind(
        inferred_from="numbers",
        accepts=("numbers",),
        parameters=_number_parameters,
        encode=_encode_numbers,
        outputs=lambda task: 1,
        scores=_original_units,
        decide=lambda task, scores, top: scores.astype(np.float64),
        constant_loss=lambda task, targets: float(targets.astype(np.float64).var()),
        activation="identity",
        predicts="number",
    ),
    "ordinal": Kind(
        inferred_from=None,
        accepts=("numbers", "strings"),
        parameters=step_parameters,
        encode=encode_classes,
        outputs=lambda task: width(task) - 1,
        scores=class_probabilities,
        decide=median_class,
        constant_loss=class_entropy,
        activation="sigmoid",
        predicts="string",
        place=median_place,
    ),
    "distribution": Kind(
        inferred_from="vectors",
        accepts=("vectors",),
        parameters=mixture_parameters,
        encode=encode_mixtures,
        outputs=width,
        scores=softmax,
        decide=best_class,
        constant_loss=mean_divergence,
        activation="softmax",
        predicts="string",
    ),
    "same-track": Kind(
        inferred_from=None,
        accepts=("strings", "numbers"),
        parameters=_pair_parameters,
        encode=_encode_pairs,
        outputs=lambda task: 2,
        scores=_undefined,
        decide=_undefined,
        constant_loss=lambda task, targets: float(np.log(2.0)),
        activation="softmax",
        predicts=None,
    ),
}


def _row(kind: str) -> Kind:
    """Return the row of `kind`, or answer a wrong name with the right ones."""
    if kind not in KINDS:
        raise UsageError(f"got kind {kind!r}, expected one of {', '.join(KINDS)}")
    return KINDS[kind]

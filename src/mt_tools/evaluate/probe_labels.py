"""Labels of a probe, ready to learn: codes of classes, tags, numbers and distributions.

Conventions: the values have a row for every row of the table, so that splits name those; ordinal
classes are numbers, in their order. What has nothing to learn is refused: one class, no tag that
some rows have and some lack, a constant number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.evaluate.probes import EPSILON
from mt_tools.evaluate.score import class_names, multi_hot
from mt_tools.evaluate.settings import ProbeSettings
from mt_tools.tasks.labels import class_name

Array = NDArray[Any]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Target:
    """Labels ready to learn: `y` int codes, bool [rows, tags], floats or distributions.

    `y` has a row for every row of the table; those that are not used hold anything.
    """

    kind: str
    y: Array
    names: list[str]
    counts: dict[str, int]


def target_of(y: Array, rows: Rows, kind: str, task: str) -> tuple[Target, Array | None]:
    """Return the labels to learn, and what to stratify by [rows]."""
    labels = y[rows]
    match kind:
        case "multiclass":
            return _class_target(y, rows, class_names(labels), kind, task)
        case "ordinal":
            if labels.dtype.kind not in "fiu":
                raise UsageError(
                    f"{task} holds words, whose order is not known: give ordinal classes as numbers"
                )
            named = np.array([class_name(label) for label in labels], object)
            return _class_target(y, rows, named, kind, task)
        case "multilabel":
            names = sorted({tag for tags in labels for tag in tags})
            hot, _ = multi_hot(labels, names)
            if not any(0 < count < len(hot) for count in hot.sum(axis=0)):
                every = (
                    f"the tags {', '.join(names[:5])} on every row" if names else "no tag at all"
                )
                raise UsageError(
                    f"{task} has {every} in {len(hot)} labelled rows: a probe needs a tag that "
                    "some rows have and some lack"
                )
            counts = dict(zip(names, hot.sum(axis=0).tolist(), strict=True))
            return Target(kind, _spread(hot, rows, len(y)), names, counts), labels
        case "regression":
            values = labels.astype(np.float64)
            if (values == values[0]).all():
                raise UsageError(
                    f"{task} is {values[0]:g} in all {len(values)} labelled rows: a probe needs a "
                    "target that varies"
                )
            return Target(kind, _spread(values, rows, len(y)), [], {}), None
    mixtures = labels.astype(np.float64)
    if not len(mixtures):
        raise UsageError(
            f"no row of {task} is a distribution: expected numbers from 0 that sum to 1"
        )
    return Target(kind, _spread(mixtures, rows, len(y)), [], {}), None


def _class_target(y: Array, rows: Rows, named: Array, kind: str, task: str) -> tuple[Target, Array]:
    found = sorted(set(named.tolist()), key=float if kind == "ordinal" else None)
    if len(found) < 2:
        raise UsageError(
            f"{task} has one class only, {found[0]!r} in all {len(named)} labelled rows: "
            "a probe needs at least two"
        )
    place = {name: code for code, name in enumerate(found)}
    codes = np.array([place[name] for name in named])
    counts = dict(zip(found, np.bincount(codes).tolist(), strict=True))
    return Target(kind, _spread(codes, rows, len(y)), found, counts), named


def _spread(values: Array, rows: Rows, total: int) -> Array:
    """Return values of some rows at their places among all."""
    whole = np.zeros((total, *values.shape[1:]), values.dtype)
    whole[rows] = values
    return whole


def target_notes(labels: Array, kind: str, settings: ProbeSettings) -> list[str]:
    """Say when a raw target does not suit the SVM's constants."""
    if kind != "regression" or settings.probe != "svm" or settings.target != "raw":
        return []
    spread = float(labels.astype(np.float64).std())
    if EPSILON <= spread <= 10:
        return []
    return [
        f"the target's standard deviation is {spread:.3g}, which does not suit C = {settings.C:g} "
        f"and a tube of {EPSILON:g}: try --target standard"
    ]

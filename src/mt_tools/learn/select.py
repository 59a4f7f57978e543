"""Feature selection for heads on embeddings: which columns of a vector are worth learning from.

Goal: small networks on a few hundred tracks, whose embeddings have more columns than there are
tracks to tell what each is good for.

Source: the DJ study, section 5.3.1 and Table 5.8: quasi-constant columns (variance below 0.01),
correlated ones (above 0.8), recursive feature elimination with cross-validation (RFECV), the best K
by analysis of variance (F) or mutual information (MI); which of them, tried out per task. The study
names neither the scale of the variance nor the estimator of the elimination. Ours: the variance of
columns scaled to [0, 1], whatever the unit of the embedding, and ridge regression on standardised
columns, with five folds that keep groups together. The computing is scikit-learn's.

Conventions: `x` [n, d] are the training rows and nothing else, so that no row that is reported on
has a say. A selection belongs to a model: with several tasks it is the union of what each keeps,
since they read one input.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.learn.draws import seed_of
from mt_tools.tasks.kinds import Task

Columns = NDArray[np.int64]
Targets = Mapping[str, tuple[NDArray[Any], NDArray[np.bool_]]]

LOWEST_VARIANCE = 0.01
HIGHEST_CORRELATION = 0.8
FOLDS = 5
# Columns that one round of the elimination takes away: twenty rounds from all to none.
ROUND = 0.05

_FORM = "variance, correlation, rfecv, f:K or mi:K, where K is a number or a share such as 60%"


@dataclass(frozen=True)
class Step:
    """One step of a selection: its name, and how much `f` and `mi` keep."""

    name: str
    best: int = 0
    percent: bool = False

    def __str__(self) -> str:
        return f"{self.name}:{self.best}{'%' * self.percent}" if self.best else self.name

    def number(self, columns: int) -> int:
        """Return how many of so many columns are kept."""
        best = round(columns * self.best / 100) if self.percent else self.best
        return min(max(best, 1), columns)


@dataclass(frozen=True)
class Selection:
    """Columns that are kept, in rising order: `kept` of the model, `by_task` what each task asks.

    `notes` tell how many each step left.
    """

    kept: Columns
    by_task: dict[str, Columns]
    notes: list[str]

    def of(self, tasks: Sequence[str]) -> Selection:
        """Return what some of the tasks ask; each asks by itself."""
        by_task = {task: self.by_task[task] for task in tasks}
        notes = [note for note in self.notes if note.startswith(tuple(f"{t}: " for t in tasks))]
        return Selection(_union(by_task, notes), by_task, notes)

    def shares(self, columns: int, parts: int) -> dict[str, list[float]]:
        """Return for each task how its columns spread over the parts of a vector of `columns`.

        So the DJ study found that 60 % of what tells an intro lies in the first 29 s of 87, and
        nothing in the last. Raises `ValueError` when the parts are not equally long.
        """
        if parts < 1 or columns % parts:
            raise ValueError(f"got {columns} columns, expected a multiple of {parts} parts")
        size = columns // parts
        return {
            task: (np.bincount(kept // size, minlength=parts) / len(kept)).tolist()
            for task, kept in self.by_task.items()
        }


def parse_select(text: str) -> list[Step]:
    """Return the steps of `--select`, in the order in which they are taken.

    >>> [str(step) for step in parse_select("variance,correlation,rfecv,mi:40")]
    ['variance', 'correlation', 'rfecv', 'mi:40']
    """
    steps = []
    for word in text.split(","):
        name, colon, amount = word.strip().partition(":")
        percent = amount.endswith("%")
        digits = amount.removesuffix("%")
        best = int(digits) if digits.isdecimal() else 0
        fits = {
            "variance": not colon, "correlation": not colon, "rfecv": not colon,
            "f": best > 0, "mi": best > 0,
        }  # fmt: skip
        if not fits.get(name, False) or (percent and best > 100):
            raise UsageError(f"--select {text}: got {word.strip()!r}, expected {_FORM}")
        steps.append(Step(name, best, percent))
    return steps


def fit_selection(
    x: NDArray[Any],
    targets: Targets,
    tasks: Sequence[Task],
    methods: str | Sequence[Step],
    groups: NDArray[Any] | None = None,
    seed: int = 0,
) -> Selection:
    """Choose the columns of `x` that the steps leave, for each task by its labelled rows.

    `x` is [n, d], `targets` those of `tasks.kinds.encode` for the same rows, `groups` [n] says
    which rows the folds of `rfecv` keep together (`splits.units`). `f` and `mi` keep the best for
    each tag or component, and the union of these. A task of pairs has no target, so only the
    steps without one choose for it. Raises `UsageError` when nothing is left.
    """
    steps = parse_select(methods) if isinstance(methods, str) else list(methods)
    x = np.asarray(x, dtype=np.float64)
    units = np.arange(len(x)) if groups is None else np.unique(groups, return_inverse=True)[1]
    first = next((i for i, step in enumerate(steps) if step.name not in _WITHOUT_TARGETS), None)
    everything = np.arange(x.shape[1], dtype=np.int64)
    common, left = everything, []
    for step in steps[:first]:
        common = common[_WITHOUT_TARGETS[step.name](x[:, common])]
        left.append(f"{step} {len(common)}")
        _refuse_none(common, str(step), x.shape[1])
    by_task, notes = {}, []
    for task in tasks:
        values, mask = targets[task["name"]]
        rows = np.flatnonzero(mask)
        kept, story = common, list(left)
        for step in steps[len(left) :]:
            own = x[np.ix_(rows, kept)]
            if step.name in _WITHOUT_TARGETS:
                kept = kept[_WITHOUT_TARGETS[step.name](x[:, kept])]
            elif task["kind"] == "same-track":
                continue
            elif step.name == "rfecv":
                kept = kept[_eliminated(own, task, values[rows], units[rows])]
            else:
                kept = kept[_best(own, task, values[rows], step, seed)]
            story.append(f"{step} {len(kept)}")
            _refuse_none(kept, str(step), x.shape[1])
        by_task[task["name"]] = kept
        notes.append(f"{task['name']}: of {x.shape[1]} columns, {', '.join(story)}")
    return Selection(_union(by_task, notes), by_task, notes)


def _union(by_task: Mapping[str, Columns], notes: list[str]) -> Columns:
    """Return the columns that any task asks, and note how many they are."""
    kept = np.unique(np.concatenate(list(by_task.values())))
    if len(by_task) > 1:
        notes.append(f"{len(kept)} columns in all")
    return kept


def _refuse_none(kept: Columns, step: str, columns: int) -> None:
    if not len(kept):
        raise UsageError(
            f"--select: {step} leaves none of {columns} columns; the embedding says nothing in the "
            "train rows, or leave the step out"
        )


def _varied(x: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether columns vary: by more than 0.01 of the square of their range."""
    extent = np.ptp(x, axis=0)
    scaled = (x - x.min(axis=0)) / np.where(extent > 0, extent, 1.0)
    return scaled.var(axis=0) >= LOWEST_VARIANCE


def _uncorrelated(x: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether columns say something new: no column kept before correlates above 0.8."""
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.abs(np.atleast_2d(np.corrcoef(x, rowvar=False)))
    high = np.nan_to_num(correlation) > HIGHEST_CORRELATION
    keep = np.zeros(x.shape[1], dtype=bool)
    for column in range(x.shape[1]):
        keep[column] = not high[column, keep].any()
    return keep


_WITHOUT_TARGETS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.bool_]]] = {
    "variance": _varied,
    "correlation": _uncorrelated,
}


def _eliminated(
    x: NDArray[np.float64], task: Task, targets: NDArray[Any], groups: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return the columns that recursive elimination with cross-validation keeps."""
    from sklearn.feature_selection import RFECV
    from sklearn.linear_model import Ridge, RidgeClassifier
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = min(FOLDS, len(np.unique(groups)))
    if folds < 2:
        raise UsageError(
            f"task {task['name']!r}: rfecv compares groups of tracks, got {len(targets)} labelled "
            "training rows of one group; label more, or leave rfecv out of --select"
        )
    estimator = make_pipeline(
        StandardScaler(), RidgeClassifier() if task["kind"] == "multiclass" else Ridge()
    )
    search = RFECV(
        estimator,
        step=ROUND,
        cv=list(GroupKFold(folds).split(x, groups=groups)),
        importance_getter=lambda made: made[-1].coef_,
    )
    return search.fit(x, targets).support_


def _best(
    x: NDArray[np.float64], task: Task, targets: NDArray[Any], step: Step, seed: int
) -> NDArray[np.bool_]:
    """Return the columns that are among the best for a class, a number or any tag."""
    keep = np.zeros(x.shape[1], dtype=bool)
    several = targets[:, None] if targets.ndim == 1 else targets
    for place, target in enumerate(several.T):
        if (target == target[:1]).all():
            continue
        strength = _strength(
            x, task, target, step.name, seed_of(seed, "select", task["name"], place)
        )
        keep[np.argsort(-strength, kind="stable")[: step.number(x.shape[1])]] = True
    return keep


def _strength(
    x: NDArray[np.float64], task: Task, target: NDArray[Any], name: str, seed: int
) -> NDArray[np.float64]:
    """Return how much each column [d] says about a target [n]: F, or mutual information."""
    from sklearn import feature_selection as sk

    discrete = task["kind"] in ("multiclass", "multilabel")
    if name == "mi":
        measure = sk.mutual_info_classif if discrete else sk.mutual_info_regression
        if discrete and np.bincount(target.astype(np.int64)).max() < 2:
            raise UsageError(
                f"--select mi: task {task['name']} has one train row a class, and mutual "
                "information needs two of one class at least; label more rows, or select by f:K"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes nearly as many as rows
            # It breaks ties by noise, of which it takes 32 bits of seed.
            return measure(x, target, random_state=seed % 2**32)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of constant columns, which come last
        found = (sk.f_classif if discrete else sk.f_regression)(x, target)[0]
    return np.nan_to_num(found, nan=-1.0)

"""Calibration of scores, fitted on validation rows, and how far scores are from what they say.

Goal: the map that `tasks.calibration` applies. A temperature is one number a task, which a few
dozen rows can fit and which keeps the order of all scores of a tag, and of the tags of a track; it
makes a model less sure or surer, and cannot mend scores that are too high throughout. Isotonic
regression fits a rising step curve to each tag or class, mends anything that keeps their order, and
wants some hundred rows of each.

Source: see `tasks.calibration`. The calibration error is that of `metrics.calibration_error`.

Conventions: `scores` [n, outputs] are those of `tasks.kinds.scores`, before calibration; `targets`
those of `tasks.kinds.encode`; rows without a label are left out by the caller. One temperature
serves all tags of a task: it is fitted to n x tags labels, where a rare tag alone has a handful.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.metrics.classes import BINS, bins
from mt_tools.tasks.calibration import logits_of, questions
from mt_tools.tasks.kinds import chosen_classes
from mt_tools.tasks.words import Task

Floats = NDArray[np.float64]

METHODS = ("temperature", "isotonic")

COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures looked at: where every row is right, the best one is 0."""

FEWEST = 5
"""Yes and no rows of a question without which it gets no isotonic curve."""

MANY = 200
"""Yes rows below which an isotonic curve follows the rows at hand: A. Niculescu-Mizil, R. Caruana,
"Predicting good probabilities with supervised learning", ICML 2005, see it fall behind a curve of
few parameters below some 200 to 1000 rows."""

Array = NDArray[Any]


def fit(
    method: str, task: Task, scores: Array, targets: Array
) -> tuple[dict[str, Any], dict[int, str]]:
    """Return the `calibration` of a task, and what it says nothing or little of.

    The second is a reason for each question, by its place among `tasks.calibration.questions`.
    Raises `UsageError` for scores that are no probabilities, and for isotonic distributions.
    """
    kind = task["kind"]
    exact = np.asarray(scores, dtype=np.float64)
    if method == "temperature":
        return {"method": method, "temperature": temperature(kind, exact, targets)}, {}
    if method != "isotonic":
        raise UsageError(f"got the calibration {method!r}, expected one of {', '.join(METHODS)}")
    asked, answers = questions(kind, exact), yes(kind, targets, exact.shape[1])
    knots: list[list[list[float]] | None] = []
    reasons: dict[int, str] = {}
    for place in range(asked.shape[1]):
        positives = int(answers[:, place].sum())
        fewer = min(positives, len(answers) - positives)
        if fewer < FEWEST:
            reasons[place] = f"fewer than {FEWEST} rows of one side, scores stay as they are"
            knots.append(None)
            continue
        if fewer < MANY:
            reasons[place] = (
                f"fewer than {MANY} rows of one side, the curve may follow their chance"
            )
        knots.append(isotonic(asked[:, place], answers[:, place]))
    return {"method": method, "knots": knots}, reasons


def temperature(kind: str, scores: Floats, targets: Array) -> float:
    """Return the temperature at which the scores' log loss is least: Guo et al. 2017.

    The loss is convex in 1 / T, so that the search for its logarithm meets one minimum; it ends at
    `COLDEST` or `HOTTEST` where the rows ask for more.
    """
    from scipy.optimize import minimize_scalar

    logits = logits_of(kind, scores)
    truth = _shares(kind, targets, scores.shape[1])

    def loss(cold: float) -> float:
        scaled = logits * np.exp(cold)
        if kind == "multilabel":
            return float(np.mean(np.logaddexp(0.0, scaled) - truth * scaled))
        highest = scaled.max(axis=1)
        total = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
        return float(np.mean(total - (truth * scaled).sum(axis=1)))

    ends = (-np.log(HOTTEST), -np.log(COLDEST))
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-7})
    return float(np.exp(-found.x))


def isotonic(scores: Floats, truth: NDArray[np.bool_]) -> list[list[float]]:
    """Return the knots [scores, probabilities] of the rising curve nearest to the truth [n].

    Least squares by pool adjacent violators (Zadrozny and Elkan 2002). No n rows show that
    something is certain: the curve stays between 1 / (n + 2) and (n + 1) / (n + 2), Laplace's
    estimates of what never and always was.
    """
    from scipy.optimize import isotonic_regression

    levels, place, weights = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=truth) / weights
    n = len(scores)
    curve = np.clip(isotonic_regression(means, weights=weights).x, 1 / (n + 2), (n + 1) / (n + 2))
    # Within a step only its ends bend the curve.
    bends = np.append(True, np.diff(curve) != 0) | np.append(np.diff(curve) != 0, True)
    return [levels[bends].tolist(), curve[bends].tolist()]


def yes(kind: str, targets: Array, classes: int) -> NDArray[np.bool_]:
    """Return the answers [n, questions] to the questions of `tasks.calibration.questions`."""
    if kind == "multilabel":
        return np.asarray(targets) > 0
    if kind == "ordinal":
        return np.asarray(targets)[:, None] > np.arange(classes - 1)
    return np.asarray(targets)[:, None] == np.arange(classes)


def log_losses(kind: str, scores: Array, targets: Array) -> Floats:
    """Return the log loss of each row [n] in nats; of tags the mean over them.

    That of a distribution is its cross-entropy: the divergence plus the entropy of the target.
    Scores are clipped to the resolution of float32, as `metrics.log_loss` does.
    """
    tiny = float(np.finfo(np.float32).eps)
    inside = np.clip(np.asarray(scores, dtype=np.float64), tiny, 1.0 - tiny)
    truth = _shares(kind, targets, inside.shape[1])
    if kind == "multilabel":
        return -np.mean(truth * np.log(inside) + (1 - truth) * np.log1p(-inside), axis=1)
    return -np.sum(truth * np.log(inside), axis=1)


class Gaps:
    """How far the scores of each row are from the truth, to measure any resample of the rows.

    Of classes it is the score of the class that is named, less whether it is right; of tags it is
    each score less the truth, a tag at a time.
    """

    def __init__(self, task: Task, scores: Array, targets: Array) -> None:
        from scipy.sparse import csr_array

        sure, right = np.asarray(scores), np.asarray(targets, np.float64)
        if task["kind"] != "multilabel":
            places, confidence = chosen_classes(task, sure)
            sure, right = confidence[:, None], (places == targets)[:, None]
        rows, self._columns = sure.shape
        column = np.arange(self._columns) * BINS + bins(sure)
        ends = np.arange(rows + 1) * self._columns
        gaps = (sure - right).astype(np.float64).ravel()
        shape = (rows, self._columns * BINS)
        self._gaps = csr_array((gaps, column.ravel(), ends), shape=shape)

    def error(self, counts: Array) -> float:
        """Return the expected calibration error, 0 to 1, where row i counts counts[i] times.

        Of tags it is the mean over them. It is biased upwards where bins hold few rows.
        """
        total = max(float(counts.sum()), 1.0)
        return float(np.abs(counts @ self._gaps).sum() / total / self._columns)


def _shares(kind: str, targets: Array, classes: int) -> Floats:
    """Return the truth as numbers [n, outputs], those of a class being 0 and 1."""
    if kind in ("multilabel", "distribution"):
        return np.asarray(targets, dtype=np.float64)
    return (np.asarray(targets)[:, None] == np.arange(classes)).astype(np.float64)

"""Calibrated scores: from what a network says to how often it is right.

Goal: a score of 0.8 that is right in 8 of 10 cases. Networks are too sure of themselves, and those
trained with balanced classes expect rare tags too often; a map fitted on validation rows
(`learn.calibrate`) mends that, is kept with the task, and is applied here.

Source: temperature: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural
networks", ICML 2017, section 4.2. Isotonic regression, one class against the rest and divided by
the sum: B. Zadrozny, C. Elkan, "Transforming classifier scores into accurate multiclass probability
estimates", KDD 2002. Ordered classes are asked "above k?", after E. Frank, M. Hall, "A simple
approach to ordinal classification", ECML 2001. Segments of a track are averaged first and
calibrated then: R. Rahaman, A. Thiery, "Uncertainty quantification and deep ensembles", NeurIPS
2021, find that the other order leaves the mean too unsure.

Conventions: the map goes from scores to scores, as those of a track are a mean over its segments,
which has no logits. Of one segment log(score) is the logit up to a constant, so that a temperature
acts as on logits. A task's `calibration` is one of::

    {"method": "temperature", "temperature": T}
    {"method": "isotonic", "knots": [[[score, ...], [probability, ...]] | None, ...]}

with knots for each question of `questions`, None where a score stays as it is, straight lines
between knots and constants beyond them. A task without it has the scores of its network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.tasks.words import Task

Floats = NDArray[np.float64]

CALIBRATED = ("multiclass", "multilabel", "ordinal", "distribution")
"""Kinds whose scores are probabilities."""

SMALLEST = float(np.finfo(np.float32).tiny)
LARGEST = 1.0 - float(np.finfo(np.float32).epsneg)
"""Scores are float32: a tag's 0 and 1 are taken as the numbers beside them, so that both have a
logit (-87.3 and 16.6)."""


def calibrated(task: Task, scores: NDArray[Any]) -> NDArray[Any]:
    """Return the calibrated scores of a task; `scores` [n, outputs] are those of `kinds.scores`.

    Scores of classes sum to 1 as before, float32; a row that is not finite is NaN. A task without
    calibration gets its scores back as they are.
    """
    how = task.get("calibration")
    if how is None:
        return scores
    exact = np.asarray(scores, dtype=np.float64)
    if how["method"] == "temperature":
        return tempered(task["kind"], exact, how["temperature"]).astype(np.float32)
    if how["method"] == "isotonic":
        asked = questions(task["kind"], exact)
        for column, knots in enumerate(how["knots"]):
            if knots is not None:
                asked[:, column] = np.interp(asked[:, column], *knots)
        return _answered(task["kind"], asked, exact).astype(np.float32)
    raise UsageError(
        f"task {task['name']!r} is calibrated by {how['method']!r}, expected temperature or "
        "isotonic: it was written by another version of mt-tools, install that one"
    )


def calibrated_tags(task: Task, values: NDArray[Any]) -> Floats:
    """Return where numbers of tags, such as their thresholds [tags], lie once calibrated.

    A row of scores is at or above them before exactly where it is after, but for scores that an
    isotonic map makes equal.
    """
    return calibrated(task, np.asarray(values, dtype=np.float64)[None])[0].astype(np.float64)


def logits_of(kind: str, scores: Floats) -> Floats:
    """Return logits [n, outputs] that give the scores: log p for classes, log p / (1 - p) for tags.

    A class of probability 0 has the logarithm of the smallest float32.
    """
    if kind != "multilabel":
        return np.log(np.maximum(scores, SMALLEST))
    inside = np.clip(scores, SMALLEST, LARGEST)
    return np.log(inside) - np.log1p(-inside)


def tempered(kind: str, scores: Floats, temperature: float) -> Floats:
    """Return the scores [n, outputs] that logits divided by `temperature` give."""
    logits = logits_of(kind, scores) / temperature
    if kind == "multilabel":
        with np.errstate(invalid="ignore"):  # a row without scores
            return np.exp(-np.logaddexp(0.0, -logits))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return powers / powers.sum(axis=1, keepdims=True)


def questions(kind: str, scores: Floats) -> Floats:
    """Return the probabilities of yes [n, questions] that an isotonic map is fitted to.

    Tags: does it apply? Classes: is it this one? Ordered classes: is it above this one, of all but
    the last? Raises `UsageError` for distributions, which answer no question with yes or no.
    """
    if kind == "ordinal":
        return 1.0 - np.cumsum(scores, axis=1)[:, :-1]
    if kind in ("multiclass", "multilabel"):
        return np.array(scores, dtype=np.float64)
    raise UsageError(
        f"isotonic calibration is for tags and classes, got {kind}: choose --calibrate temperature"
    )


def _answered(kind: str, asked: Floats, before: Floats) -> Floats:
    """Return the scores [n, outputs] that answers to the `questions` mean."""
    if kind == "multilabel":
        return asked
    if kind == "ordinal":
        # Fitted apart, P(y > k) may rise with k, which no probability does.
        above = np.minimum.accumulate(np.clip(asked, 0.0, 1.0), axis=1)
        ends = np.ones((len(asked), 1))
        reached = np.concatenate([ends, above, 0.0 * ends], axis=1)
        return reached[:, :-1] - reached[:, 1:]
    total = asked.sum(axis=1, keepdims=True)
    return np.where(total > 0, asked / np.where(total > 0, total, 1.0), before)

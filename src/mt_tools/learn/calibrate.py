"""Decision thresholds of a multilabel task, calibrated on validation rows.

Goal: from scores to tags. A fixed 0.5 hardly ever fires for a rare tag, whose scores follow its
frequency, so each tag has the threshold that serves it best.

Source: maximising F1 over all cuts of the ranking; each cut lies halfway between two neighbouring
scores, so that differences of 1e-5 between machines do not move a tag.

Conventions: a tag applies when its score is at or above its threshold. Scores lie in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT_THRESHOLD = 0.5
"""The threshold of a tag without a positive row, about which the rows say nothing."""


def f1_thresholds(
    scores: NDArray[Any], truth: NDArray[Any], mask: NDArray[np.bool_]
) -> list[float]:
    """Return for each tag the threshold that maximises its F1 over the rows where `mask` is true.

    `scores` [n, tags] in [0, 1], `truth` [n, tags] of 0 and 1, `mask` [n]. Of equally good
    thresholds the highest is taken: the fewest tags. A tag without a positive row gets 0.5.
    """
    scores = np.asarray(scores, dtype=np.float64)[mask]
    truth = np.asarray(truth)[mask] > 0
    return [_f1_threshold(scores[:, tag], truth[:, tag]) for tag in range(truth.shape[1])]


def _f1_threshold(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return the best threshold of one tag: `scores` and `truth` are [n]."""
    positives = int(truth.sum())
    if positives == 0:
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    hits = np.cumsum(truth[order])
    chosen = np.arange(1, len(ranked) + 1)
    f1 = 2 * hits / (chosen + positives)
    below = np.append(ranked[1:], 0.0)
    f1[:-1][ranked[:-1] == below[:-1]] = -1.0  # rows of equal score cannot be cut apart
    best = int(np.argmax(f1))  # the first of equals has the highest threshold
    halfway = (ranked[best] + below[best]) / 2
    # Between two neighbouring floats there is no halfway: it rounds down to the lower one.
    return float(halfway if halfway > below[best] else ranked[best])

"""What a trained model is worth: metrics of each task with intervals, kept in the model file.

Conventions: {task: {"n", "clusters", metric: {"value", "low", "high"}}}; a value that is not
defined is None, and a task of which nothing can be said has a "note".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.evaluate.score import score
from mt_tools.tasks.kinds import Task, decide

HEADLINES = {
    "multiclass": "accuracy",
    "multilabel": "roc_auc_macro",
    "regression": "r2",
    "ordinal": "accuracy",
    "distribution": "kl",
    "same-track": "accuracy",
    "recommendation": "ap@20",
}
"""The metric of each kind that stands for it in a line."""


def measure(
    tasks: Sequence[Task],
    values: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    rows: np.ndarray,
    clusters: np.ndarray,
    seed: int,
) -> dict[str, Any]:
    """Return each task's metrics on `rows`; `found` are their scores (`tasks.kinds.scores`).

    `values` are the label columns and `clusters` the units of resampling of all rows. Tasks that
    `found` lacks, those of pairs, are left out.
    """
    measured = {}
    for task in tasks:
        name = task["name"]
        if name not in found:
            continue
        try:
            measured[name] = _measured(task, values[name][rows], found[name], clusters[rows], seed)
        except UsageError as error:
            measured[name] = {"note": str(error)}
    return measured


def _measured(
    task: Task, truth: np.ndarray, found: np.ndarray, clusters: np.ndarray, seed: int
) -> dict[str, Any]:
    vocabulary = task["vocabulary"]
    predicted = decide(task, found, len(vocabulary) or None)
    scores = found if vocabulary else None
    result = score(task["kind"], truth, predicted, scores, vocabulary, clusters, seed=seed)
    return {"n": result["n"], "clusters": result["clusters"]} | {
        metric: {key: plain(entry[key]) for key in ("value", "low", "high")}
        for metric, entry in result["metrics"].items()
    }


def plain(value: float | None) -> float | None:
    """Return a number as JSON keeps it: six decimals, None where it is not finite."""
    return None if value is None or not np.isfinite(value) else round(float(value), 6)


def headline(task: Task, measured: Mapping[str, Any]) -> str:
    """Return a task's main metric as people read it: `accuracy 0.810 [0.740, 0.870], n = 120`."""
    result = measured.get(task["name"], {})
    metric = HEADLINES[task["kind"]]
    if result.get(metric, {}).get("value") is None:
        return str(result.get("note", f"{metric} undefined"))
    entry = result[metric]
    ends = [entry["low"], entry["high"]]
    interval = "" if None in ends else f" [{ends[0]:.3f}, {ends[1]:.3f}]"
    return f"{metric} {entry['value']:.3f}{interval}, n = {result['n']}"


def spread_line(task: Task, spreads: Mapping[str, Any]) -> str:
    """Return a task's main metric over several runs: `accuracy 0.802 ± 0.021 over 10 runs`."""
    metric = HEADLINES[task["kind"]]
    entry = spreads.get(task["name"], {}).get(metric, {})
    if entry.get("mean") is None:
        return f"{metric} undefined"
    sd = "" if entry["sd"] is None else f" ± {entry['sd']:.3f}"
    return f"{metric} {entry['mean']:.3f}{sd} over {entry['n']} run{'s' * (entry['n'] != 1)}"


def gain_line(task: Task, gains: Mapping[str, Any]) -> str:
    """Return what company does: `accuracy 0.810 together, 0.790 alone: +0.020 (gain)`."""
    metric = HEADLINES[task["kind"]]
    entry = gains.get(task["name"], {}).get(metric)
    if entry is None:
        return f"{metric} undefined"
    word = "gain" if entry["gain"] > 0 else "loss" if entry["gain"] < 0 else "no difference"
    return (
        f"{metric} {entry['together']:.3f} together, {entry['alone']:.3f} alone: "
        f"{entry['difference']:+.3f} ({word})"
    )

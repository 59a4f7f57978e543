"""Probes: a linear SVM of 1,000 x 160 over 50 splits, and the other models, by the number of jobs.

Vectors are drawn, 10 classes of them, in the shape of the published features of GTZAN. Numbers of
jobs take turns, so that a busy machine slows all alike; medians of several. Tags, 50 of them with
an SVM each, are split a tenth as often. CPU seconds are those of this process alone: workers, which
logistic and mlp have, outlive a run.

    python bench/probe.py            # RUNS=3 ROWS=1000 REPEATS=50
"""

from __future__ import annotations

import os
import statistics
import sys
import time

import numpy as np

from mt_tools.engine.pool import cores
from mt_tools.evaluate.probe import prepare, run
from mt_tools.evaluate.settings import ProbeSettings

RUNS = int(os.environ.get("RUNS", "3"))
ROWS = int(os.environ.get("ROWS", "1000"))
REPEATS = int(os.environ.get("REPEATS", "50"))
DIMENSIONS = 160


def labels(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return vectors, and labels of every kind that follow from them."""
    code = rng.integers(10, size=ROWS)
    x = rng.normal(size=(ROWS, DIMENSIONS)) + rng.normal(size=(10, DIMENSIONS))[code] * 0.25
    hits = x @ rng.normal(size=(DIMENSIONS, 50)) + 8 * rng.normal(size=(ROWS, 50)) > 12
    tags = np.empty(ROWS, object)
    tags[:] = [[f"tag {tag}" for tag in np.flatnonzero(row)] for row in hits]
    return x.astype(np.float32), {
        "multiclass": np.array([f"genre {c}" for c in code], object),
        "regression": 0.1 * x[:, 0] + 0.1 * rng.normal(size=ROWS),
        "multilabel": tags,
    }


def main() -> None:
    """Print a Markdown table."""
    x, found = labels(np.random.default_rng(0))
    print(f"{ROWS:,} x {DIMENSIONS}, {REPEATS} repeats of a tenth, {cores()} cores\n")
    print("| probe | labels | splits | jobs | s | CPU s |\n|---|---|---:|---:|---:|---:|")
    for kind, probe in (
        ("multiclass", "svm"),
        ("regression", "svm"),
        ("multiclass", "knn"),
        ("multiclass", "ridge"),
        ("multiclass", "logistic"),
        ("multiclass", "mlp"),
        ("multilabel", "svm"),
    ):
        repeats = REPEATS // 10 if kind == "multilabel" else REPEATS
        settings = ProbeSettings(probe=probe, repeats=repeats)
        times: dict[int, list[tuple[float, float]]] = {1: [], cores(): []}
        for _ in range(RUNS):
            for jobs in times:
                start, began = time.perf_counter(), time.process_time()
                probing = prepare(x, found[kind], kind, settings=settings)
                run([(probing, split) for split in range(repeats)], jobs)
                times[jobs].append((time.perf_counter() - start, time.process_time() - began))
        for jobs, measured in times.items():
            wall, cpu = (statistics.median(column) for column in zip(*measured, strict=True))
            print(f"| {probe} | {kind} | {repeats} | {jobs} | {wall:.2f} | {cpu:.2f} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

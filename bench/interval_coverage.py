"""How often the 95 % intervals of mt-eval hold the true value, by simulation.

    python bench/interval_coverage.py  # SIMULATIONS=1000 for a standard error of .7 %

Artists have one to eight tracks each and a skill of their own, as rows of one artist are alike. The
true value is that of 200,000 artists (for repeated splits: of 2,000 fits to fresh data). Prints a
Markdown table: how many of the simulated intervals hold it, with the standard error of that share.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from mt_tools import metrics
from mt_tools.evaluate.intervals import bootstrap, corrected_resampled_t, random_groups

SIMULATIONS = int(os.environ.get("SIMULATIONS", "500"))
MANY = 200_000

Sample = tuple[np.ndarray, ...]


def artists(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return the artist of each track."""
    return np.repeat(np.arange(count), rng.integers(1, 9, count))


def classes(rng: np.random.Generator, count: int) -> Sample:
    """Draw artists, true and predicted classes of five; a prediction is right by artist."""
    artist = artists(rng, count)
    usual = rng.choice(5, count, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    own = rng.choice(5, len(artist), p=[0.4, 0.3, 0.15, 0.1, 0.05])
    truth = np.where(rng.random(len(artist)) < 0.7, usual[artist], own)
    skill = 1 / (1 + np.exp(-rng.normal(0.8, 1.0, count)))
    right = rng.random(len(artist)) < skill[artist]
    return artist, truth, np.where(right, truth, rng.integers(5, size=len(artist)))


def tags(rng: np.random.Generator, count: int) -> Sample:
    """Draw artists, ten tags of unequal frequency, and scores that know a little of them."""
    artist = artists(rng, count)
    share = np.geomspace(0.08, 0.5, 10)
    habit = rng.normal(0, 1, (count, 10))[artist]
    truth = habit + rng.normal(0, 1, habit.shape) > np.sqrt(2) * _normal_quantile(1 - share)
    scores = (
        1.2 * truth + 0.7 * rng.normal(0, 1, (count, 10))[artist] + rng.normal(size=habit.shape)
    )
    return artist, truth, scores


def numbers(rng: np.random.Generator, count: int) -> Sample:
    """Draw artists, targets and predictions whose errors go by artist, with a heavy tail."""
    artist = artists(rng, count)
    truth = rng.normal(0, 1, count)[artist] + rng.normal(size=len(artist))
    error = rng.normal(0, 0.7, count)[artist] + 0.5 * rng.standard_t(5, len(artist))
    return artist, truth, truth + error


def _normal_quantile(share: np.ndarray) -> np.ndarray:
    from scipy.special import ndtri

    return np.asarray(ndtri(share))


CLASSES = ("accuracy", "balanced_accuracy", "f1_macro")
TAGS = ("roc_auc_macro", "average_precision_macro", "average_precision_micro", "f1_macro")
NUMBERS = ("r2", "mae", "pearson", "spearman")


def measure_classes(sample: Sample, rows: Any) -> np.ndarray:
    """Return `CLASSES` of some rows."""
    found = metrics.multiclass(sample[1][rows], sample[2][rows])
    return np.array([found[name].value for name in CLASSES])


def measure_tags(sample: Sample, rows: Any) -> np.ndarray:
    """Return `TAGS` of some rows."""
    scores = sample[2][rows]
    found = metrics.multilabel(sample[1][rows], scores, scores > 0.8)
    return np.array([found[name].value for name in TAGS])


def measure_numbers(sample: Sample, rows: Any) -> np.ndarray:
    """Return `NUMBERS` of some rows."""
    found = metrics.regression(sample[1][rows], sample[2][rows])
    return np.array([found[name].value for name in NUMBERS])


KINDS: dict[str, tuple[Callable[..., Sample], Callable[..., np.ndarray], tuple[str, ...]]] = {
    "classes": (classes, measure_classes, CLASSES),
    "tags": (tags, measure_tags, TAGS),
    "numbers": (numbers, measure_numbers, NUMBERS),
}


def one(kind: str, how: str, count: int, truth: np.ndarray, seed: int) -> np.ndarray:
    """Return which intervals of one simulated table hold the truth."""
    rng = np.random.default_rng([seed, count])
    draw, measure, _ = KINDS[kind]
    sample = draw(rng, count)
    statistic = partial(measure, sample)
    if how == "bootstrap":
        if kind == "tags":
            judged = metrics.multilabel_measure(sample[1], sample[2], sample[2] > 0.8)

            def statistic(rows: np.ndarray) -> np.ndarray:
                found = judged(np.bincount(rows, minlength=len(sample[0])))[0]
                return np.array([found[name].value for name in TAGS])

        found = bootstrap(statistic, sample[0], rng=rng)
    else:
        found = random_groups(statistic(slice(None)), statistic, sample[0], rng=rng)
    return np.array([i.low <= value <= i.high for i, value in zip(found, truth, strict=True)])


def fitted(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> Any:
    """Fit the ridge classifier of the simulated probe."""
    from sklearn.linear_model import RidgeClassifier

    return RidgeClassifier().fit(x[rows], y[rows])


def points(rng: np.random.Generator, count: int) -> Sample:
    """Draw vectors of two overlapping classes."""
    y = rng.integers(2, size=count)
    return rng.normal(size=(count, 10)) + 0.35 * (2 * y[:, None] - 1), y


def repeated(splits: int, truth: float, seed: int) -> np.ndarray:
    """Return whether the corrected interval of a repeated probe of 150 rows holds the truth."""
    rng = np.random.default_rng(seed)
    x, y = points(rng, 150)
    values = []
    for _ in range(splits):
        order = rng.permutation(150)
        test, train = order[:15], order[15:]
        values.append((fitted(rng, x, y, train).predict(x[test]) == y[test]).mean())
    interval = corrected_resampled_t(np.array(values), 0.1)
    return np.array([interval.low <= truth <= interval.high])


def expected_accuracy() -> float:
    """Return the accuracy that a probe fitted to 135 rows has on fresh ones, on average."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2000):
        x, y = points(rng, 135)
        fresh, label = points(rng, 2000)
        model = fitted(rng, x, y, np.arange(135))
        found.append((model.predict(fresh) == label).mean())
    return float(np.mean(found))


def line(name: str, how: str, size: str, held: np.ndarray) -> str:
    """Return a row of the table."""
    share = held.mean()
    error = (share * (1 - share) / len(held)) ** 0.5
    return f"| {name} | {how} | {size} | {100 * share:.1f} ± {100 * error:.1f} |"


def main() -> None:
    """Print the table."""
    print("| metric | interval | of | held, % |")
    print("|---|---|---|---:|", flush=True)
    with ProcessPoolExecutor() as pool:
        for kind, (draw, measure, names) in KINDS.items():
            truth = measure(draw(np.random.default_rng(0), MANY), slice(None))
            for how, counts in (("bootstrap", (40, 100, 400)), ("random groups", (2_500, 10_000))):
                for count in counts:
                    work = partial(one, kind, how, count, truth)
                    held = np.stack(list(pool.map(work, range(SIMULATIONS), chunksize=4)))
                    for name, column in zip(names, held.T, strict=True):
                        print(
                            line(f"{kind}: {name}", how, f"{count:,} artists", column), flush=True
                        )
        truth = expected_accuracy()
        for splits in (10, 50):
            work = partial(repeated, splits, truth)
            held = np.stack(list(pool.map(work, range(SIMULATIONS), chunksize=4)))
            print(line("probe: accuracy", "corrected t", f"{splits} repeats, 150 rows", held[:, 0]))


if __name__ == "__main__":
    main()

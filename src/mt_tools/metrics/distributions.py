"""What labels are like before anything learns them, on arrays.

Goal: the numbers with which the REG study describes its targets (quartiles, mean, variance,
distribution, pairwise correlations; section 4.1), and what corresponds to them for classes and for
tags.

Conventions: what is missing (NaN) is counted and left out, and so is what is infinite. Variance
and standard deviation are of a sample (n - 1); quartiles are interpolated, as numpy does; skew is
the third moment over the 3/2th power of the second. Entropy is in bits. What is undefined (the
variance of one number, the skew of a constant) is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mt_tools.metrics.numbers import pearson

Floats = NDArray[np.float64]

BINS = 32
"""Bins of a histogram at most."""

COMPARED_TAGS = 1000
"""Tags that are counted in pairs at most, the most frequent."""


def describe_numbers(values: Floats) -> dict[str, float]:
    """Return size, moments and quartiles of numbers [n] by name."""
    finite = values[np.isfinite(values)]
    found = {
        "n": float(len(finite)),
        "missing": float(np.isnan(values).sum()),
        "infinite": float(np.isinf(values).sum()),
    }
    names = ("mean", "sd", "variance", "min", "q25", "median", "q75", "max", "skew")
    if not len(finite):
        return found | dict.fromkeys(names, math.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(finite.mean())
        centred = finite - mean
        variance = (
            float(np.square(centred).sum() / (len(finite) - 1)) if len(finite) > 1 else math.nan
        )
        second = float(np.square(centred).mean())
        # Of equal numbers rounding leaves a second moment, and anything over it.
        flat = finite.min() == finite.max() or second == 0
        skew = math.nan if flat else float((centred**3).mean() / second**1.5)
    quartiles = np.quantile(finite, [0.0, 0.25, 0.5, 0.75, 1.0]).tolist()
    return found | dict(zip(names, (mean, variance**0.5, variance, *quartiles, skew), strict=True))


class Histogram(NamedTuple):
    """Counts [k] of numbers between edges [k + 1]; the last bin holds its upper edge."""

    counts: NDArray[np.int64]
    edges: Floats


def histogram(values: Floats, bins: int = BINS) -> Histogram:
    """Count the finite ones of some numbers [n] in at most so many equally wide bins.

    Bins of whole numbers hold equally many of these, so that none is high for its width; all
    numbers equal make one bin of no width, and no numbers none.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Histogram(np.empty(0, np.int64), np.empty(0))
    low, high = float(finite.min()), float(finite.max())
    spread = high - low
    if bool((finite == np.round(finite)).all()) and 0 < spread < 2**53:
        width = math.ceil((spread + 1) / bins)
        edges = low - 0.5 + width * np.arange(math.ceil((spread + 1) / width) + 1, dtype=np.float64)
    elif spread > 0 and math.isfinite(spread):
        edges = np.linspace(low, high, bins + 1)
    else:
        edges = np.array([low, high])
    if len(edges) < 2 or not (np.diff(edges) > 0).all():  # too close to be told apart
        return Histogram(np.array([len(finite)]), np.array([low, high]))
    return Histogram(np.histogram(finite, edges)[0].astype(np.int64), edges)


class Correlation(NamedTuple):
    """How two columns go together: both coefficients, and the rows that have both numbers."""

    pearson: float
    spearman: float
    rows: int


def correlations(columns: Mapping[str, Floats]) -> dict[tuple[str, str], Correlation]:
    """Return the correlation of every pair of columns [n], on the rows that have both.

    NaN where a column does not vary there.
    """
    from scipy.stats import rankdata

    known = {name: np.isfinite(values) for name, values in columns.items()}
    ranks = {name: rankdata(columns[name][known[name]]) for name in columns}
    found = {}
    for one, other in combinations(columns, 2):
        both = known[one] & known[other]
        pair = columns[one][both], columns[other][both]
        own = [
            # Ranks among all its numbers are those among these where it has no others.
            ranks[name] if len(ranks[name]) == len(values) else rankdata(values)
            for name, values in zip((one, other), pair, strict=True)
        ]
        with np.errstate(over="ignore", invalid="ignore"):
            found[one, other] = Correlation(pearson(*pair).value, pearson(*own).value, len(pair[0]))
    return found


def describe_classes(counts: Mapping[str, int]) -> dict[str, float]:
    """Return how evenly rows are spread over classes, from the rows of each.

    `labels`: how many classes there are; `entropy`, and `evenness`, its share of the most that so
    many classes can have; `majority`: the share of the largest class, which is the accuracy of
    always saying it; `imbalance`: the rows of the largest class for one of the smallest.
    """
    sizes = np.array([count for count in counts.values() if count], np.float64)
    if not len(sizes):
        return {"labels": 0.0} | dict.fromkeys(
            ("entropy", "evenness", "majority", "imbalance"), math.nan
        )
    shares = sizes / sizes.sum()
    entropy = max(0.0, float(-(shares * np.log2(shares)).sum()))
    return {
        "labels": float(len(sizes)),
        "entropy": entropy,
        "evenness": entropy / math.log2(len(sizes)) if len(sizes) > 1 else math.nan,
        "majority": float(shares.max()),
        "imbalance": float(sizes.max() / sizes.min()),
    }


def describe_tags(counts: Mapping[str, int], sizes: NDArray[np.int64]) -> dict[str, float]:
    """Return how many tags rows have, from the rows of each tag and the tags of each row [n].

    `cardinality`: tags a row; `density`: its share of all tags, which is how often a tag applies;
    `most`: tags of the row that has most; `untagged`: rows with none. After Tsoumakas and Katakis,
    "Multi-label classification: an overview", 2007.
    """
    labels = sum(count > 0 for count in counts.values())
    mean = float(sizes.mean()) if len(sizes) else math.nan
    used = [count for count in counts.values() if count]
    return {
        "labels": float(labels),
        "cardinality": mean,
        "density": mean / labels if labels else math.nan,
        "most": float(sizes.max(initial=0)),
        "untagged": float((sizes == 0).sum()),
        "imbalance": max(used) / min(used) if used else math.nan,
    }


class Pair(NamedTuple):
    """Two tags, the rows that have both, and their share of the rows that have either."""

    one: str
    other: str
    rows: int
    jaccard: float


def together(
    tags: Sequence[str],
    codes: NDArray[np.int64],
    sizes: NDArray[np.int64],
    most: int = 10,
    compared: int = COMPARED_TAGS,
) -> list[Pair]:
    """Return the pairs of tags that most rows have, the most frequent first.

    `codes`: the tags of all rows, one row after the other, as places in `tags`; `sizes`: [n] how
    many of them are of each row. Only the `compared` most frequent tags are paired.
    """
    from scipy.sparse import csr_array

    rows = np.repeat(np.arange(len(sizes)), sizes)
    cells = np.unique(rows * len(tags) + codes)  # a tag that a row has twice is one tag
    rows, codes = np.divmod(cells, max(1, len(tags)))
    counts = np.bincount(codes, minlength=len(tags))
    frequent = np.lexsort((np.arange(len(tags)), -counts))[:compared]
    place = np.full(len(tags), -1)
    place[frequent] = np.arange(len(frequent))
    kept = place[codes] >= 0
    ones = np.ones(int(kept.sum()), np.int64)
    hot = csr_array((ones, (rows[kept], place[codes[kept]])), shape=(len(sizes), len(frequent)))
    both = (hot.T @ hot).tocoo()
    upper = (both.row < both.col) & (both.data > 0)
    pairs = []
    for i, j, count in zip(both.row[upper], both.col[upper], both.data[upper], strict=True):
        one, other = sorted((tags[frequent[i]], tags[frequent[j]]))
        either = counts[frequent[i]] + counts[frequent[j]] - count
        pairs.append(Pair(one, other, int(count), float(count / either)))
    return sorted(pairs, key=lambda pair: (-pair.rows, pair.one, pair.other))[:most]

"""Counts of words in documents, as topic models take them, and TF-IDF weights.

Counts are nonnegative [documents, words], dense or scipy.sparse; inside they are sparse, by rows.
The weights are those of scikit-learn's `TfidfTransformer` without its normalisation, since a topic
model divides by the length of a document itself: count times (ln((1 + n) / (1 + df)) + 1) for n
documents of which df hold the word (Salton and Buckley, "Term-weighting approaches in automatic
text retrieval", 1988; the ones are scikit-learn's, so that no word weighs nothing).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError


def checked(counts: Any, words: int | None = None) -> Any:
    """Return counts as a float64 `csr_array` without stored zeros.

    Raises `UsageError` for what are no counts, or not of so many `words`.
    """
    from scipy import sparse

    if not sparse.issparse(counts):
        counts = np.asarray(counts, np.float64)
    if counts.ndim != 2:
        raise UsageError(f"got counts of shape {counts.shape}, expected [documents, terms]")
    matrix = sparse.csr_array(counts, dtype=np.float64)
    if not (np.isfinite(matrix.data).all() and (matrix.data >= 0).all()):
        raise UsageError("got negative or missing counts, expected numbers of 0 and more")
    if not matrix.has_canonical_format or not matrix.data.all():
        matrix = matrix.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    if words is not None and matrix.shape[1] != words:
        raise UsageError(
            f"got counts of {matrix.shape[1]} terms, expected the {words} that the topics were "
            "fitted on: use the same vocabulary"
        )
    return matrix


def idf(counts: Any) -> NDArray[np.float64]:
    """Return the inverse document frequency of each word, [words]: at least 1."""
    matrix = checked(counts)
    holding = np.bincount(matrix.indices, minlength=matrix.shape[1])
    return np.log((1 + matrix.shape[0]) / (1 + holding)) + 1


def tfidf(counts: Any, weights: NDArray[np.floating[Any]]) -> Any:
    """Return counts times the weights [words] that `idf` found, as a `csr_array`."""
    from scipy import sparse

    matrix = checked(counts, len(weights))
    values = matrix.data * weights[matrix.indices]
    return sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def filled(matrix: Any) -> NDArray[np.bool_]:
    """Return which documents of checked counts hold a word, bool [documents]."""
    return np.diff(matrix.indptr) > 0

"""Latent factors of counts: learning targets out of the words that tracks hold.

Goal: the pLSA factors of the REP study (50 a source), and `mt-factor`.

Probabilistic latent semantic analysis models the counts n(d, w) of terms w in documents d by
P(w|d) = sum_k P(w|k) P(k|d). Its likelihood is, up to a constant, minus the Kullback-Leibler
divergence that non-negative matrix factorisation minimises, and a factorisation whose rows are
normalised is a pLSA (Gaussier and Goutte, "Relation between PLSA and NMF and implications", 2005;
Hofmann, "Probabilistic latent semantic indexing", 1999). The work is scikit-learn's
multiplicative updates, which for normalised rows are the steps of expectation-maximisation.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError

ITERATIONS = 300
FOLDING_ITERATIONS = 100
_TOLERANCE = 1e-6  # relative decrease over ten updates at which they stop


@dataclass(frozen=True)
class Plsa:
    """A fitted pLSA: `terms` [k, m] is P(term | topic), each row summing to 1."""

    terms: NDArray[np.float64]

    def transform(self, counts: Any) -> NDArray[np.float64]:
        """Return P(topic | document) of documents, with the topics fixed ("folding in").

        `counts`: nonnegative [n, m], dense or scipy.sparse. Returns [n, k], rows summing to 1. A
        document without a term that some topic has is unlabelled: a row of NaN.
        """
        from sklearn.decomposition import non_negative_factorization

        matrix = _checked(counts)
        if matrix.shape[1] != self.terms.shape[1]:
            raise UsageError(
                f"got counts of {matrix.shape[1]} terms, expected the {self.terms.shape[1]} that "
                "the topics were fitted on: use the same vocabulary"
            )
        # Terms that no topic has carry no evidence, and a divergence that cannot be lowered.
        known = self.terms.sum(axis=0) > 0
        matrix = matrix[:, known]
        filled = np.asarray(matrix.sum(axis=1)).ravel() > 0
        mixtures = np.full((matrix.shape[0], len(self.terms)), np.nan)
        if filled.any():
            with _quiet():
                weights, _, _ = non_negative_factorization(
                    _normalised_rows(matrix[filled]),
                    H=np.ascontiguousarray(self.terms[:, known]),
                    n_components=len(self.terms),
                    update_H=False,
                    solver="mu",
                    beta_loss="kullback-leibler",
                    max_iter=FOLDING_ITERATIONS,
                    tol=0,
                )
            mixtures[filled] = weights / weights.sum(axis=1, keepdims=True)
        return mixtures


def fit_plsa(counts: Any, factors: int, seed: int = 0, iterations: int = ITERATIONS) -> Plsa:
    """Fit topics to counts by Kullback-Leibler non-negative matrix factorisation.

    `counts`: nonnegative [documents, terms], dense or scipy.sparse, TF-IDF weights also (documents
    without any term are left out); `factors`: topics k; `iterations`: at most so many updates. The
    start is NNDSVD, so that a seed only decides how its randomised SVD begins. Raises `UsageError`
    for negative counts, or more topics than documents or terms.
    """
    from sklearn.decomposition import NMF

    matrix = _checked(counts)
    matrix = matrix[np.asarray(matrix.sum(axis=1)).ravel() > 0]
    limit = min(matrix.shape)
    if not 1 <= factors <= limit:
        raise UsageError(
            f"got {factors} factors for {matrix.shape[0]} documents with terms and "
            f"{matrix.shape[1]} terms, expected 1 to {limit}"
        )
    with _quiet():
        model = NMF(
            n_components=factors,
            # The zeros of plain NNDSVD would stay zero under multiplicative updates.
            init="nndsvda",
            solver="mu",
            beta_loss="kullback-leibler",
            max_iter=iterations,
            tol=_TOLERANCE,
            random_state=seed,
        ).fit(matrix)
    topics = model.components_
    totals = topics.sum(axis=1, keepdims=True)
    if (totals <= 0).any():
        raise UsageError(
            f"{int((totals <= 0).sum())} of {factors} factors vanished: ask for fewer factors"
        )
    return Plsa(topics / totals)


def _checked(counts: Any) -> Any:
    """Return the counts as a float64 matrix, sparse ones by rows; refuses what are no counts."""
    from scipy import sparse

    if sparse.issparse(counts):
        matrix = sparse.csr_array(counts, dtype=np.float64)
        values = matrix.data
    else:
        matrix = np.asarray(counts, np.float64)
        values = matrix
    if matrix.ndim != 2:
        raise UsageError(f"got counts of shape {matrix.shape}, expected [documents, terms]")
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise UsageError("got negative or missing counts, expected numbers of 0 and more")
    return matrix


def _normalised_rows(matrix: Any) -> Any:
    """Divide each row by its sum: the mixture of a document does not depend on its length."""
    from scipy import sparse

    scale = 1.0 / np.asarray(matrix.sum(axis=1)).ravel()
    if sparse.issparse(matrix):
        return sparse.csr_array(sparse.diags_array(scale) @ matrix)
    return matrix * scale[:, None]


def _quiet() -> warnings.catch_warnings[None]:
    """Silence the warning that updates stopped at their limit: they are stopped on purpose."""
    from sklearn.exceptions import ConvergenceWarning

    return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)

"""Latent factors of counts: learning targets out of the words that tracks hold.

Goal: the pLSA factors of the REP study (50 a source), and `mt-factor plsa`.

Probabilistic latent semantic analysis models the counts n(d, w) of terms w in documents d by
P(w|d) = sum_k P(w|k) P(k|d). Its likelihood is, up to a constant, minus the Kullback-Leibler
divergence that non-negative matrix factorisation minimises, and a factorisation whose rows are
normalised is a pLSA (Gaussier and Goutte, "Relation between PLSA and NMF and implications", 2005;
Hofmann, "Probabilistic latent semantic indexing", 1999). The updates are those of scikit-learn's
`NMF(solver="mu", beta_loss="kullback-leibler")`, computed where there are counts, in blocks that
the cache holds and in float32, which takes a sixth of its time (`bench/factor.py`).

The start decides what is found, since the likelihood has many maxima. Of 50 topics planted in
10,000 documents of 100 words, the updates find 46 from NNDSVD, scikit-learn's start, and all from
this one: the leading singular vectors of the documents, rotated so that each document has few of
them (varimax; Rohe and Zeng, "Vintage factor analysis with varimax performs statistical inference",
2023, who show that this estimates the topics).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.features.counts import checked, filled

ITERATIONS = 300
FOLDING_ITERATIONS = 200
_CHANGE = 1e-6  # of the largest share of a document, at which folding stops
_TOLERANCE = 1e-4  # relative decrease of the divergence over ten updates, at which a fit stops
_EVERY = 10
_ROTATIONS = 100  # at most; ten are usual
_TURNED = 1e-5  # relative gain of a rotation, at which rotating stops
_LITTLE = 0.01  # of an average share: updates could not raise a share of nothing
_BLOCK = 2**13  # counts a block: at 50 topics their terms are 1.6 MB, which a level 2 cache holds
_FLOOR = float(np.finfo(np.float32).eps)  # scikit-learn's, below which no expected count falls


@dataclass(frozen=True)
class Plsa:
    """A fitted pLSA: `terms` [k, m] is P(term | topic), each row summing to 1."""

    terms: NDArray[np.floating[Any]]

    @cached_property
    def _by_term(self) -> NDArray[np.floating[Any]]:
        return np.ascontiguousarray(self.terms.T)

    def transform(self, counts: Any) -> NDArray[np.float64]:
        """Return P(topic | document) of documents, with the topics fixed ("folding in").

        `counts`: nonnegative [n, m], dense or scipy.sparse. Returns [n, k], rows summing to 1. A
        document without a term that some topic has is unlabelled: a row of NaN. A mixture depends
        on nothing but its document, and not on how long that is.
        """
        matrix = checked(counts, self.terms.shape[1])
        mixtures = np.full((matrix.shape[0], len(self.terms)), np.nan)
        for row, (first, last) in enumerate(zip(matrix.indptr, matrix.indptr[1:], strict=False)):
            terms = self._by_term[matrix.indices[first:last]].astype(np.float64)
            known = terms.any(axis=1)  # terms that no topic has carry no evidence
            if known.any():
                mixtures[row] = _folded(matrix.data[first:last][known], terms[known])
        return mixtures


def _folded(counts: NDArray[np.float64], terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mixture [k] of a document by expectation-maximisation from the even mixture.

    `counts` [n] of its terms, `terms` [n, k] their probabilities by topic. The likelihood is
    concave in the mixture, so that where it starts decides nothing.
    """
    shares = counts / counts.sum()
    mixture = np.full(terms.shape[1], 1 / terms.shape[1])
    for _ in range(FOLDING_ITERATIONS):
        before = mixture
        mixture = mixture * ((shares / np.maximum(terms @ mixture, 1e-300)) @ terms)
        if np.abs(mixture - before).max() < _CHANGE:
            break
    return mixture / mixture.sum()


def fit_plsa(counts: Any, factors: int, seed: int = 0, iterations: int = ITERATIONS) -> Plsa:
    """Fit topics to counts by Kullback-Leibler non-negative matrix factorisation.

    `counts`: nonnegative [documents, terms], dense or scipy.sparse, TF-IDF weights also (documents
    without any term are left out); `factors`: topics k; `iterations`: at most so many updates; the
    `seed` only decides how the randomised SVD of the start begins. Raises `UsageError` for negative
    counts, or more topics than documents or terms.
    """
    matrix = checked(counts)
    matrix = matrix[filled(matrix)]
    limit = min(matrix.shape)
    if not 1 <= factors <= limit:
        raise UsageError(
            f"got {factors} factors for {matrix.shape[0]} documents with terms and "
            f"{matrix.shape[1]} terms, expected 1 to {limit}"
        )
    matrix = _shares(matrix)
    mixtures, terms = _start(matrix, factors, seed)
    before = np.inf
    for number in range(1, iterations + 1):
        terms, divergence = update(matrix, mixtures, terms)
        if number % _EVERY == 0:
            if before - divergence < _TOLERANCE * before:
                break
            before = divergence
    topics = terms.T.astype(np.float64)
    return Plsa(topics / topics.sum(axis=1, keepdims=True))


def _shares(matrix: Any) -> Any:
    """Divide each row by its sum, in float32: a mixture does not depend on a document's length."""
    from scipy import sparse

    lengths = np.repeat(matrix.sum(axis=1), np.diff(matrix.indptr))
    values = (matrix.data / lengths).astype(np.float32)
    return sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def _start(matrix: Any, factors: int, seed: int) -> tuple[Any, Any]:
    """Return mixtures [documents, k] and, by term, topics [terms, k] to begin with.

    The singular vectors are those of the shares divided by the root of how frequent a term is,
    which draws frequent and rare terms level.
    """
    from scipy import sparse
    from sklearn.utils.extmath import randomized_svd

    frequency = np.asarray(matrix.sum(axis=0), np.float32)
    values = matrix.data / np.sqrt(frequency[matrix.indices])
    level = sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)
    vectors = randomized_svd(level, factors, random_state=seed)[0]
    mixtures = _varimax(vectors * np.sqrt(len(vectors)))
    mixtures *= np.where((mixtures**3).sum(axis=0) < 0, -1, 1)  # few documents have much of a topic
    mixtures = np.maximum(mixtures, 0)
    mixtures += _LITTLE * mixtures.mean()
    mixtures = (mixtures / mixtures.sum(axis=1, keepdims=True)).astype(np.float32)
    return mixtures, _normalised(matrix.T @ mixtures)[0]


def _varimax(vectors: Any) -> Any:
    """Return vectors [n, k] rotated so that the variance of their squares is greatest.

    Kaiser, "The varimax criterion for analytic rotation in factor analysis", 1958, by a singular
    value decomposition a step.
    """
    rotation, before = np.eye(vectors.shape[1], dtype=vectors.dtype), 0.0
    for _ in range(_ROTATIONS):
        turned = vectors @ rotation
        gradient = vectors.T @ (turned**3 - turned * (turned**2).mean(axis=0))
        left, values, right = np.linalg.svd(gradient)
        rotation = left @ right
        if values.sum() < before * (1 + _TURNED):
            break
        before = values.sum()
    return vectors @ rotation


def _normalised(terms: Any) -> tuple[Any, Any]:
    """Return P(term | topic) [m, k] and what each topic was divided by."""
    totals = terms.sum(axis=0)
    if not (totals > 0).all():
        raise UsageError(
            f"{int((totals <= 0).sum())} of {len(totals)} factors vanished: ask for fewer factors"
        )
    return terms / totals, totals


def update(counts: Any, mixtures: Any, terms: Any) -> tuple[Any, float]:
    """Update mixtures [n, k] in place, then terms [m, k]; return these and the divergence between.

    `counts`: a `csr_array` [n, m] whose rows sum to 1; the columns of `terms` do, those returned
    also, and the mixtures are scaled for it. Lee and Seung's updates for the divergence
    ("Algorithms for non-negative matrix factorization", 2000): with the expected share e(d, w) =
    sum_k p(k|d) p(w|k) of each count and the ratio r = count / e, p(k|d) *= sum_w r(d, w) p(w|k),
    and with the new ratios p(w|k) *= sum_d r(d, w) p(k|d) / sum_d p(k|d).
    """
    from scipy import sparse

    ratios = np.empty_like(counts.data)
    divergence = 0.0
    for first, last in _blocks(counts.indptr):
        start, stop = counts.indptr[first], counts.indptr[last]
        ends = counts.indptr[first : last + 1] - start
        owners = np.repeat(np.arange(last - first), np.diff(ends))
        shares, rows = counts.data[start:stop], mixtures[first:last]
        held = terms.take(counts.indices[start:stop], axis=0)
        ratio = shares / _expected(rows, owners, held)
        by_row = sparse.csr_array(
            (ratio, np.arange(stop - start), ends), shape=(len(rows), len(held))
        )
        rows *= by_row @ held
        ratio = shares / _expected(rows, owners, held)
        divergence += float((shares * np.log(ratio)).sum(dtype=np.float64))
        ratios[start:stop] = ratio
    by_term = sparse.csr_array((ratios, counts.indices, counts.indptr), shape=counts.shape).T
    found = terms * ((by_term @ mixtures) / np.maximum(mixtures.sum(axis=0), _FLOOR))
    terms, totals = _normalised(found)
    mixtures *= totals
    return terms, divergence


def _expected(rows: Any, owners: Any, held: Any) -> Any:
    return np.maximum(np.einsum("ij,ij->i", rows.take(owners, axis=0), held), _FLOOR)


def _blocks(ends: Any) -> list[tuple[int, int]]:
    """Return the first row of each block, and the row after its last, of about `_BLOCK` counts."""
    cuts = np.searchsorted(ends, np.arange(0, ends[-1], _BLOCK))
    bounds = np.unique(np.append(cuts, len(ends) - 1))
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))

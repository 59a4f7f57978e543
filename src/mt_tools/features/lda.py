"""Latent Dirichlet allocation: topics of words, with priors.

Goal: the artist-group factors of the AGF study (40 topics over the words of an artist), and
`mt-factor lda`.

A document's mixture theta of k topics is drawn from a symmetric Dirichlet prior alpha, each topic's
distribution over terms from a prior eta (Blei, Ng and Jordan, "Latent Dirichlet allocation", 2003).
Fitted by online variational Bayes (Hoffman, Blei and Bach, "Online learning for latent Dirichlet
allocation", 2010): scikit-learn's `LatentDirichletAllocation`, fed blocks of documents. The start
is not random but the topics of a pLSA (see `_begin`).

The prior counts as k * alpha words, spread evenly over the topics. With the default alpha = 1/k
that is one word in all: a document of a single word is at most (1 + 1/k) / 2 of one topic, however
clear the word; one of a hundred hardly notices. pLSA has no such pull, and gives the document of a
single word a topic of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.features.counts import checked, filled
from mt_tools.features.topics import fit_plsa

TOPICS = 40
PASSES = 10
BATCH = 256
START = 20_000
"""Documents at most that the start is found in."""

# The rate of update t is (_OFFSET + t)^-_DECAY, scikit-learn's, within what Hoffman et al. try.
_DECAY, _OFFSET = 0.7, 10.0
_BLOCK = 2**13  # counts whose bound is computed at a time
_LEAST = 1e-300  # probabilities below it, of priors near 0, would have no logarithm


@dataclass(frozen=True)
class Lda:
    """A fitted LDA.

    `terms` [k, m] is the expected P(term | topic), each row summing to 1, `mass` [k] how many words
    each topic was found with, the prior's included (their product is the variational parameter
    lambda), and `prior` the alpha of documents.
    """

    terms: NDArray[np.floating[Any]]
    mass: NDArray[np.floating[Any]]
    prior: float

    @cached_property
    def _model(self) -> Any:
        """scikit-learn's model with these topics."""
        from sklearn.decomposition import LatentDirichletAllocation

        weights = self.terms.astype(np.float64) * np.asarray(self.mass, np.float64)[:, None]
        model = LatentDirichletAllocation(len(weights), doc_topic_prior=self.prior)
        model.components_ = weights
        model.doc_topic_prior_ = self.prior
        model.n_features_in_ = weights.shape[1]
        model.exp_dirichlet_component_ = _exp_expected_log(weights)
        return model

    def transform(self, counts: Any) -> NDArray[np.float64]:
        """Return the expected mixture of documents, [n, k], rows summing to 1.

        `counts`: nonnegative [n, m], dense or scipy.sparse. A document without a term is
        unlabelled: a row of NaN, where scikit-learn gives the prior. A mixture depends on nothing
        but its document.
        """
        matrix = checked(counts, self.terms.shape[1])
        there = filled(matrix)
        mixtures = np.full((matrix.shape[0], len(self.terms)), np.nan)
        if there.any():
            mixtures[there] = self._model.transform(matrix[there])
        return mixtures

    def perplexity(self, counts: Any) -> float:
        """Return the perplexity a term of documents: lower is better, m is that of any term.

        exp of minus the variational bound on their log-likelihood, divided by their words (Hoffman
        et al., 2010, section 4). The bound is that of the documents alone, given the topics: the
        term for the topics themselves, which scikit-learn's `perplexity` adds whatever the number
        of documents, would drown that of few. Raises `UsageError` where there are no words.
        """
        from scipy.special import gammaln

        matrix = checked(counts, self.terms.shape[1])
        matrix = matrix[filled(matrix)]
        if not matrix.shape[0]:
            raise UsageError("got documents without any known word: they have no perplexity")
        gamma = self._model.transform(matrix, normalize=False)
        mix, terms = (
            _exp_expected_log(gamma),
            np.ascontiguousarray(self._model.exp_dirichlet_component_.T),
        )
        owners = np.repeat(np.arange(len(mix)), np.diff(matrix.indptr))
        bound = 0.0
        for start in range(0, matrix.nnz, _BLOCK):
            part = slice(start, start + _BLOCK)
            chance = np.einsum("ij,ij->i", mix[owners[part]], terms[matrix.indices[part]])
            bound += float(matrix.data[part] @ np.log(np.maximum(chance, _LEAST)))
        prior, size = self.prior, len(self.terms)
        bound += float(((prior - gamma) * np.log(mix) + gammaln(gamma) - gammaln(prior)).sum())
        bound += float((gammaln(prior * size) - gammaln(gamma.sum(axis=1))).sum())
        return float(np.exp(-bound / matrix.sum()))


def fit_lda(
    counts: Any,
    topics: int = TOPICS,
    *,
    seed: int = 0,
    passes: int = PASSES,
    batch: int = BATCH,
    document_prior: float = 0.0,
    term_prior: float = 0.0,
) -> Lda:
    """Fit topics to counts by online variational Bayes.

    `counts`: nonnegative [documents, terms], dense or scipy.sparse, or an iterable of such blocks
    (documents without any term are left out); `topics`: k; `passes` over the documents, in another
    seeded order each, `batch` of them an update; the priors alpha and eta, at most 1, 0 for 1/k.
    Raises `UsageError` for negative counts, or more topics than documents or terms.
    """
    from sklearn.decomposition import LatentDirichletAllocation

    matrix = _joined(counts)
    matrix = matrix[filled(matrix)]
    documents, limit = matrix.shape[0], min(matrix.shape)
    if not 1 <= topics <= limit:
        raise UsageError(
            f"got {topics} topics for {documents} documents with terms and {matrix.shape[1]} "
            f"terms, expected 1 to {limit}"
        )
    model = LatentDirichletAllocation(
        topics,
        doc_topic_prior=document_prior or 1 / topics,
        topic_word_prior=term_prior or 1 / topics,
        learning_decay=_DECAY,
        learning_offset=_OFFSET,
        total_samples=documents,
        batch_size=batch,
        random_state=seed,
    )
    rng = np.random.default_rng(seed)
    _begin(model, matrix, rng, seed)
    for _ in range(passes):
        # Of equal size: a block stands for all documents, which a last one of few could not.
        for block in np.array_split(rng.permutation(documents), math.ceil(documents / batch)):
            model.partial_fit(matrix[np.sort(block)])
    mass = model.components_.sum(axis=1)
    return Lda(model.components_ / mass[:, None], mass, model.doc_topic_prior_)


def _begin(model: Any, matrix: Any, rng: np.random.Generator, seed: int) -> None:
    """Begin with the topics of a pLSA, as if each had been found in an equal share of the words.

    From scikit-learn's random start some topics stay mixtures of two and others empty, whatever the
    passes: of 20 planted in 3,000 documents of 80 words one or two, or more, are not found.
    """
    sample = rng.choice(matrix.shape[0], min(matrix.shape[0], START), replace=False)
    part = matrix[np.sort(sample)]
    terms = fit_plsa(part, model.n_components, seed).terms
    model.partial_fit(part[:1])  # which makes all that a fitted model has
    weights = model.topic_word_prior_ + terms * (matrix.sum() / len(terms))
    model.components_, model.exp_dirichlet_component_ = weights, _exp_expected_log(weights)
    model.n_batch_iter_ = 1


def _exp_expected_log(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exp(E[log x]) of rows x that are drawn from Dirichlet distributions [n, m]."""
    from scipy.special import digamma

    logs = digamma(weights) - digamma(weights.sum(axis=1, keepdims=True))
    return np.maximum(np.exp(logs), _LEAST)


def _joined(counts: Any) -> Any:
    """Return checked counts of a matrix, or of blocks of one."""
    from scipy import sparse

    blocks = not (sparse.issparse(counts) or isinstance(counts, np.ndarray | list | tuple))
    if blocks and isinstance(counts, Iterable):
        return checked(sparse.vstack([checked(block) for block in counts], format="csr"))
    return checked(counts)

"""LDA: planted topics are found, and mixtures and bounds are those of scikit-learn."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.special import digamma, gammaln
from sklearn.decomposition import LatentDirichletAllocation

from mt_tools.errors import UsageError
from mt_tools.features.lda import Lda, fit_lda

TOPICS, TERMS, DOCUMENTS = 8, 300, 900


def drawn(seed, documents=DOCUMENTS, length=60):
    """Return topics and the counts drawn from them; all topics share all words."""
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(TERMS, 0.05), size=TOPICS)
    mixtures = rng.dirichlet(np.full(TOPICS, 0.1), size=documents)
    counts = rng.multinomial(1 + rng.poisson(length, size=documents), mixtures @ topics)
    return topics, counts


@pytest.fixture(scope="module")
def counts():
    """Return counts with planted topics."""
    return drawn(0)[1]


@pytest.fixture(scope="module")
def theirs(counts):
    """Return scikit-learn's own model of the counts."""
    return LatentDirichletAllocation(TOPICS, random_state=0, max_iter=5).fit(counts)


@pytest.fixture(scope="module")
def mine(theirs):
    """Return the same model, from what a fitted file holds."""
    mass = theirs.components_.sum(axis=1)
    return Lda(theirs.components_ / mass[:, None], mass, theirs.doc_topic_prior_)


@pytest.mark.parametrize("seed", range(3))
def test_planted_topics_are_found(seed):
    """Artist groups would be mixtures of groups, and some of them nothing.

    8 topics of 300 words (Dirichlet .05), 900 documents of about 60 words, mixtures from
    Dirichlet .1.
    """
    topics, counts = drawn(seed)
    found = fit_lda(sparse.csr_array(counts), TOPICS, seed=seed).terms
    norms = np.outer(np.linalg.norm(topics, axis=1), np.linalg.norm(found, axis=1))
    similarity = topics @ found.T / norms
    assert similarity[linear_sum_assignment(-similarity)].min() > 0.95
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)


def test_mixtures_are_those_of_scikit_learn(counts, theirs, mine):
    """A fitted file would give other targets than the model that it was written from."""
    got = mine.transform(counts)
    np.testing.assert_allclose(got, theirs.transform(counts), atol=1e-9)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-9)


def test_a_mixture_depends_on_its_document_alone(counts, mine):
    """A track's target would change with the tracks beside it."""
    together = mine.transform(sparse.csr_array(counts[:20]))
    for row, mixture in zip(counts[:20], together, strict=True):
        np.testing.assert_array_equal(mine.transform(sparse.csr_array(row[None]))[0], mixture)
    np.testing.assert_array_equal(mine.transform(sparse.csr_array(counts[19::-1])), together[::-1])


def test_documents_without_words_are_unlabelled(mine):
    """Tracks without a tag would be taught the prior."""
    counts = np.zeros((3, TERMS))
    counts[1, 4] = 2
    got = mine.transform(counts)
    assert np.isnan(got[[0, 2]]).all()
    assert np.isfinite(got[1]).all()


def test_the_prior_pulls_documents_of_few_words():
    """The documentation of --document-prior would promise what does not happen."""
    lda = Lda(np.array([[0.99, 0.01], [0.01, 0.99]]), np.array([1e6, 1e6]), 0.5)
    one, many = lda.transform(np.array([[1, 0], [400, 0]]))
    assert 0.7 < one[0] <= (1 + 0.5) / 2  # one word beside the prior's half a word a topic
    assert many[0] > 0.98


def test_the_bound_is_that_of_scikit_learn_without_its_topics(counts, theirs, mine):
    """The perplexity of few valid rows would be that of the topics, not of the rows."""
    some = counts[:200]
    bound = theirs.score(some)
    topics, prior = theirs.components_, theirs.topic_word_prior_
    logs = digamma(topics) - digamma(topics.sum(axis=1, keepdims=True))
    of_topics = ((prior - topics) * logs + gammaln(topics) - gammaln(prior)).sum()
    of_topics += (gammaln(prior * TERMS) - gammaln(topics.sum(axis=1))).sum()
    expected = np.exp(-(bound - of_topics) / some.sum())
    assert mine.perplexity(some) == pytest.approx(expected, rel=1e-9)


def test_perplexity_of_parts_is_that_of_the_whole(counts, mine):
    """Perplexities of valid sets of different sizes, or lengths, could not be compared."""
    words = [counts[part].sum() for part in (slice(0, 50), slice(50, None))]
    logs = [np.log(mine.perplexity(counts[part])) for part in (slice(0, 50), slice(50, None))]
    whole = np.exp(np.dot(words, logs) / sum(words))
    assert mine.perplexity(counts) == pytest.approx(whole, rel=1e-9)


def test_the_right_number_of_topics_has_the_lower_perplexity():
    """Nobody could choose the number of topics by the perplexity of valid rows."""
    counts = drawn(5, documents=1400)[1]
    train, valid = counts[:1000], counts[1000:]
    few, right = (fit_lda(train, k, passes=5).perplexity(valid) for k in (2, TOPICS))
    assert right < few < TERMS


def test_fits_are_repeatable_and_blocks_are_a_matrix(counts):
    """The same command would write other targets the next day, or for a table in batches."""
    one = fit_lda(counts, TOPICS, passes=2)
    blocks = (sparse.csr_array(counts[start : start + 100]) for start in range(0, DOCUMENTS, 100))
    again = fit_lda(blocks, TOPICS, passes=2)
    np.testing.assert_array_equal(one.terms, again.terms)
    np.testing.assert_array_equal(one.mass, again.mass)


def test_priors_are_those_that_are_given(counts):
    """--document-prior and --word-prior would change nothing."""
    flat = fit_lda(counts, 3, passes=1, document_prior=0.9, term_prior=1.0)
    assert flat.prior == 0.9
    # A topic holds so many words, of the prior one of each kind.
    assert (flat.terms * flat.mass[:, None]).min() == pytest.approx(1.0, rel=0.05)
    assert fit_lda(counts, 3, passes=1).prior == pytest.approx(1 / 3)
    one_word = np.eye(1, TERMS)
    assert flat.transform(one_word).max() < (1 + 0.9) / (1 + 3 * 0.9) + 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, m: fit_lda(-c, 3), "negative"),
        (lambda c, m: fit_lda(c, 0), "expected 1 to 300"),
        (lambda c, m: fit_lda(np.zeros((4, 5)), 2), "0 documents with terms"),
        (lambda c, m: m.transform(c[:, :10]), "same vocabulary"),
        (lambda c, m: m.perplexity(0 * c), "without any known word"),
    ],
)
def test_what_is_no_count_matrix_is_refused(counts, mine, call, message):
    """A wrong column would end in a traceback of scikit-learn."""
    with pytest.raises(UsageError, match=message):
        call(counts, mine)

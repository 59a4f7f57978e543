"""pLSA and TF-IDF: planted topics are found and folded in, as scikit-learn would."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from mt_tools.errors import UsageError
from mt_tools.features.counts import idf, tfidf
from mt_tools.features.topics import Plsa, fit_plsa, update

TOPICS, TERMS, DOCUMENTS = 5, 80, 300


@pytest.fixture(scope="module")
def planted():
    """Return topics, mixtures and the counts drawn from them."""
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(TERMS, 0.1), size=TOPICS)
    mixtures = rng.dirichlet(np.full(TOPICS, 0.2), size=DOCUMENTS)
    lengths = rng.integers(100, 400, size=DOCUMENTS)
    chances = mixtures @ topics
    counts = np.array([rng.multinomial(n, p) for n, p in zip(lengths, chances, strict=True)])
    return topics, mixtures, counts


@pytest.fixture(scope="module")
def fitted(planted):
    """Return the pLSA of the planted counts."""
    return fit_plsa(planted[2], TOPICS)


def cosine(a, b):
    """Return the cosines between the rows of two matrices."""
    return (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))


def log_likelihood(counts, mixtures, topics):
    """Return sum n(d, w) log P(w|d)."""
    return float((counts * np.log(np.maximum(mixtures @ topics, 1e-300))).sum())


def em(counts, topics, rng, steps):
    """Fit pLSA by expectation-maximisation, as Hofmann (1999) writes it."""
    p_topic = rng.dirichlet(np.ones(topics), size=len(counts))
    p_term = rng.dirichlet(np.ones(counts.shape[1]), size=topics)
    for _ in range(steps):
        ratio = counts / np.maximum(p_topic @ p_term, 1e-300)
        topic_mass = p_topic * (ratio @ p_term.T)
        term_mass = p_term * (p_topic.T @ ratio)
        p_topic = topic_mass / topic_mass.sum(axis=1, keepdims=True)
        p_term = term_mass / term_mass.sum(axis=1, keepdims=True)
    return p_topic, p_term


def test_planted_topics_are_found(planted, fitted):
    """Learning targets would not be the latent factors of the labels."""
    topics, mixtures, counts = planted
    similarity = cosine(topics, fitted.terms)
    mine, theirs = linear_sum_assignment(-similarity)
    assert similarity[mine, theirs].min() > 0.95
    np.testing.assert_allclose(fitted.transform(counts)[:, theirs], mixtures[:, mine], atol=0.2)


@pytest.mark.parametrize("seed", range(3))
def test_many_planted_topics_are_found_in_short_documents(seed):
    """Some topics would be mixtures of two, and others nothing, as from scikit-learn's start.

    15 topics of 800 words, all sharing all (Dirichlet .05), 1,500 documents of about 60 words,
    mixtures from Dirichlet .1.
    """
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(800, 0.05), size=15)
    mixtures = rng.dirichlet(np.full(15, 0.1), size=1500)
    counts = rng.multinomial(rng.poisson(60, size=1500), mixtures @ topics)
    similarity = cosine(topics, fit_plsa(sparse.csr_array(counts), 15, seed=seed).terms)
    assert similarity[linear_sum_assignment(-similarity)].min() > 0.95


def test_an_update_is_that_of_scikit_learn(planted):
    """What is fitted would not be the factorisation that it is said to be."""
    from sklearn.decomposition import non_negative_factorization

    rng = np.random.default_rng(2)
    shares = sparse.csr_array(planted[2] / planted[2].sum(axis=1, keepdims=True))
    mixtures = rng.dirichlet(np.ones(TOPICS), size=DOCUMENTS)
    terms = rng.dirichlet(np.ones(TERMS), size=TOPICS)
    theirs, topics, _ = non_negative_factorization(
        shares, mixtures.copy(), terms.copy(), n_components=TOPICS, init="custom", solver="mu",
        beta_loss="kullback-leibler", max_iter=7, tol=0,
    )  # fmt: skip
    mine, by_term = mixtures.astype(np.float32), terms.T.astype(np.float32)
    for _ in range(7):
        by_term, _ = update(shares.astype(np.float32), mine, by_term)
    sums = topics.sum(axis=1)
    np.testing.assert_allclose(by_term.T, topics / sums[:, None], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(mine, theirs * sums, rtol=1e-3, atol=1e-6)


def test_folding_in_is_that_of_scikit_learn(planted, fitted):
    """The mixture of a new track would not be the most likely one."""
    from sklearn.decomposition import non_negative_factorization

    shares = planted[2][:50] / planted[2][:50].sum(axis=1, keepdims=True)
    weights, _, _ = non_negative_factorization(
        shares, H=fitted.terms, n_components=TOPICS, update_H=False, solver="mu",
        beta_loss="kullback-leibler", max_iter=2000, tol=0,
    )  # fmt: skip
    expected = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.transform(planted[2][:50]), expected, atol=1e-3)


def test_tfidf_is_that_of_scikit_learn(planted):
    """Weights would not be those that papers and other programs call TF-IDF."""
    from sklearn.feature_extraction.text import TfidfTransformer

    counts = planted[2].copy()
    counts[:, 3] = 0  # a word that no document has
    theirs = TfidfTransformer(norm=None).fit(counts)
    weights = idf(counts)
    np.testing.assert_allclose(weights, theirs.idf_, rtol=1e-12)
    mine = tfidf(sparse.coo_array(counts), weights).toarray()
    np.testing.assert_allclose(mine, theirs.transform(counts).toarray(), rtol=1e-12)


def test_a_document_of_one_word_has_the_topics_of_that_word():
    """Tracks with a single tag would get targets that depend on where the search began."""
    terms = np.array([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
    got = Plsa(terms).transform(np.array([[3, 0, 0], [0, 0, 1], [1, 0, 1]]))
    np.testing.assert_allclose(got, [[1, 0], [0, 1], [0.5, 0.5]], atol=1e-4)


def test_as_likely_as_expectation_maximisation(planted, fitted):
    """The factorisation would be normalised into something that is not pLSA."""
    counts = planted[2]
    rng = np.random.default_rng(1)
    best = max(log_likelihood(counts, *em(counts, TOPICS, rng, 300)) for _ in range(4))
    got = log_likelihood(counts, fitted.transform(counts), fitted.terms)
    assert got >= best - 1e-4 * abs(best)


def test_rows_are_distributions(planted, fitted):
    """Targets of the KL loss would not sum to 1."""
    mixtures = fitted.transform(planted[2])
    assert mixtures.shape == (DOCUMENTS, TOPICS)
    assert fitted.terms.shape == (TOPICS, TERMS)
    for rows in (mixtures, fitted.terms):
        assert rows.min() >= 0
        np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-9)


def test_folding_in_depends_on_the_document_alone(planted, fitted):
    """A track's targets would change with the tracks beside it, or with its number of tags."""
    counts = planted[2]
    together = fitted.transform(counts[:20])
    alone = np.vstack([fitted.transform(row[None]) for row in counts[:20]])
    np.testing.assert_allclose(alone, together, atol=1e-6)
    np.testing.assert_allclose(fitted.transform(7 * counts[:20]), together, atol=1e-6)


def test_sparse_counts_give_the_same(planted, fitted):
    """A playlist matrix would give other factors when stored sparsely."""
    counts = planted[2]
    loose = fit_plsa(sparse.csr_matrix(counts), TOPICS)
    np.testing.assert_allclose(loose.terms, fitted.terms, atol=1e-6)
    np.testing.assert_allclose(
        loose.transform(sparse.coo_array(counts)), fitted.transform(counts), atol=1e-6
    )


def test_fits_are_repeatable(planted, fitted):
    """The same command would write other targets the next day."""
    np.testing.assert_array_equal(fit_plsa(planted[2], TOPICS).terms, fitted.terms)


def test_empty_documents_are_unlabelled(planted):
    """Tracks without a tag would be taught an invented mixture."""
    counts = planted[2].copy()
    counts[[0, 7]] = 0
    counts[:, 3] = 0
    model = fit_plsa(counts, TOPICS)
    new = counts[:9].copy()
    new[1] = 0
    new[1, 3] = 5  # a term that no training document had
    mixtures = model.transform(new)
    assert np.isnan(mixtures[[0, 1, 7]]).all()
    assert np.isfinite(mixtures[[2, 3, 4, 5, 6, 8]]).all()
    assert np.isnan(model.transform(np.zeros((2, TERMS)))).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, m: fit_plsa(-c, 3), "negative"),
        (lambda c, m: fit_plsa(c, 0), "expected 1 to 80"),
        (lambda c, m: fit_plsa(c, 81), "expected 1 to 80"),
        (lambda c, m: fit_plsa(np.zeros((4, 5)), 2), "0 documents with terms"),
        (lambda c, m: fit_plsa(c[0], 2), r"\[documents, terms\]"),
        (lambda c, m: m.transform(c[:, :10]), "same vocabulary"),
        (lambda c, m: fit_plsa(np.where(c > 0, np.nan, c), 3), "missing"),
        (lambda c, m: tfidf(c, np.ones(7)), "same vocabulary"),
    ],
)
def test_what_is_no_count_matrix_is_refused(planted, fitted, call, message):
    """A wrong column would end in a traceback of scikit-learn."""
    with pytest.raises(UsageError, match=message):
        call(planted[2], fitted)

"""The top of ranked lists: which columns it holds, and what it is worth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, ndcg_score

from mt_tools.metrics import average_precision_at, ndcg_at, top_ranked

SCORES = arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 12)),
    elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]),
)


@given(SCORES, st.integers(1, 14))
def test_the_top_is_that_of_a_sort(scores, k):
    """A list would lack its best track, or equal scores would favour whom a partition met first."""
    for row, found in zip(scores, top_ranked(scores, k), strict=True):
        assert found.tolist() == sorted(range(len(row)), key=lambda c: (-row[c], c))[:k]


def test_hand_made_lists():
    """AP@20 and nDCG@20 would not be what their names say."""
    hits = np.array([[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]], bool)
    relevant = np.array([2, 9, 1, 3, 0])
    found = average_precision_at(hits, relevant, 4)
    # (1/1 + 2/3) / 2; (1/1 + 2/2) / 4, since four of nine fit in the list; 1/4; nothing found.
    assert found[:4] == pytest.approx([5 / 6, 1 / 2, 1 / 4, 0.0])
    gains = 1 / np.log2([2, 3, 4, 5])
    best = [gains[:2].sum(), gains.sum(), gains[0]]
    assert ndcg_at(hits, relevant, 4)[:4] == pytest.approx(
        [(gains[0] + gains[2]) / best[0], gains[:2].sum() / best[1], gains[3] / best[2], 0.0]
    )
    assert np.isnan(found[4])
    assert np.isnan(ndcg_at(hits, relevant, 4)[4])


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 20))
def test_scikit_learn_agrees(seed, columns, k):
    """Numbers could not be laid beside those of other programs."""
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.arange(columns) * 1.0)[None]
    truth = rng.random((1, columns)) < rng.random()
    if not truth.any() or columns < 2:
        return
    relevant = truth.sum(axis=1)
    hits = np.take_along_axis(truth, top_ranked(scores, k), axis=1)
    assert ndcg_at(hits, relevant, k) == pytest.approx(
        ndcg_score(truth, scores, k=k, ignore_ties=True)
    )
    # They agree on what average precision is where the list holds all that is relevant.
    if hits.sum() == relevant[0] <= k:
        expected = average_precision_score(truth[0], scores[0])
        assert average_precision_at(hits, relevant, k) == pytest.approx(expected)


def test_a_perfect_list_scores_one():
    """Twenty hits in a list of twenty would not be the best there is, were ten more liked."""
    for relevant in (1, 7, 20, 31):
        hits = np.arange(20)[None] < relevant
        assert average_precision_at(hits, np.array([relevant]), 20) == pytest.approx(1)
        assert ndcg_at(hits, np.array([relevant]), 20) == pytest.approx(1)
    short = np.ones((1, 3), bool)  # only three tracks could be listed
    assert average_precision_at(short, np.array([3]), 20) == pytest.approx(1)


@pytest.mark.parametrize(
    ("hits", "relevant"),
    [
        (np.ones((1, 3)), np.array([3])),
        (np.ones((1, 3), bool), np.array([2])),
        (np.ones((1, 5), bool), np.array([5])),
        (np.ones((2, 3), bool), np.array([3])),
    ],
)
def test_lists_that_cannot_be_are_refused(hits, relevant):
    """A mistake of the caller would become a precision above one."""
    for metric in (average_precision_at, ndcg_at):
        with pytest.raises(ValueError, match="expected"):
            metric(hits, relevant, 4)

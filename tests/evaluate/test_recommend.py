"""Content-aware factorisation against dense algebra, and what recommendation is worth on tastes
that were planted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from mt_tools.evaluate import factorise as module
from mt_tools.evaluate.factorise import FeatureMap, Scaling, Weights, factorise
from mt_tools.evaluate.probe import run
from mt_tools.evaluate.probe_splits import Labelled, Plan, drawn
from mt_tools.evaluate.recommend import Likes, Recommending
from mt_tools.evaluate.settings import RecommendSettings


def problem(seed=0, users=15, items=12, d=5, rank=3):
    """Return counts [users, items], features [items, d] and V to begin with."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.4, (users, items)).astype(float)
    return counts, rng.normal(size=(items, d)), rng.normal(size=(items, rank))


def fit(counts, x, start, weights, iterations, **more):
    """Factorise, on features as they are."""
    features = FeatureMap(x, weights.features / weights.items)
    return factorise(csr_array(counts), features, start, weights, iterations, **more)


def stacked(left, right, trust, penalty, prior):
    """Return the least squares solution of one row's weighted equations with its penalty below."""
    rank = left.shape[1]
    a = np.vstack([np.sqrt(trust)[:, None] * left, np.sqrt(penalty / 2) * np.eye(rank)])
    b = np.concatenate([np.sqrt(trust) * right, np.sqrt(penalty / 2) * prior])
    return np.linalg.lstsq(a, b, rcond=None)[0]


# --- eq. 7 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [5, 30])
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_each_update_is_the_dense_least_squares_solution(alpha, d):
    """What is minimised would not be eq. 7 of the study."""
    counts, x, start = problem(d=d)
    weights = Weights(users=0.7, items=11.0, features=1.3, alpha=alpha)
    likes, trust = (counts > 0).astype(float), 1 + alpha * counts
    one = fit(counts, x, start, weights, 1)

    def mapped(v):
        """Return W: the rows of X and of the penalty, stacked."""
        a = np.vstack([np.sqrt(11.0 / 2) * x, np.sqrt(1.3 / 2) * np.eye(d)])
        b = np.vstack([np.sqrt(11.0 / 2) * v, np.zeros((d, v.shape[1]))])
        return np.linalg.lstsq(a, b, rcond=None)[0]

    zero = np.zeros(3)
    u = [stacked(start, r, c, 0.7, zero) for r, c in zip(likes, trust, strict=True)]
    assert one.users == pytest.approx(np.array(u), abs=1e-10)
    prior = x @ mapped(start)
    v = [stacked(one.users, r, c, 11.0, p)
         for r, c, p in zip(likes.T, trust.T, prior, strict=True)]  # fmt: skip
    assert one.items == pytest.approx(np.array(v), abs=1e-10)
    assert one.map.weights() == pytest.approx(mapped(one.items), abs=1e-10)
    assert one.map.dual == (d == 30)
    new = np.random.default_rng(1).normal(size=(4, d))
    assert one.map(new) == pytest.approx(new @ mapped(one.items), abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([2, 12, 40]),
    st.sampled_from([0.0, 0.5, 40.0]),
    st.tuples(*[st.floats(0.01, 200.0)] * 3),
)
def test_no_update_raises_the_objective(seed, d, alpha, penalties):
    """The iterations would not lead to a minimum, or nobody could tell that they do."""
    counts, x, start = problem(seed, d=d)
    weights = Weights(*penalties, alpha=alpha)
    told = np.array(fit(counts, x, start, weights, 6, objective=True).objective)
    assert len(told) == 18
    assert (np.diff(told) <= 1e-9 * told[0]).all()


@pytest.mark.parametrize("d", [5, 30])
@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_where_it_ends_the_gradient_is_zero(alpha, d):
    """Updates could each be right in themselves and still minimise something else."""
    counts, x, start = problem(1, d=d)
    weights = Weights(users=1.0, items=4.0, features=1.0, alpha=alpha)
    found = fit(counts, x, start, weights, 1000, objective=True)
    u, v, w = (
        torch.tensor(block, dtype=torch.float64, requires_grad=True)
        for block in (found.users, found.items, found.map.weights())
    )
    trust, likes = torch.tensor(1 + alpha * counts), torch.tensor((counts > 0) * 1.0)
    objective = (trust * (likes - u @ v.T) ** 2).sum()
    objective = objective + 4.0 / 2 * ((v - torch.tensor(x) @ w) ** 2).sum()
    objective = objective + 1.0 / 2 * (u**2).sum() + 1.0 / 2 * (w**2).sum()
    assert found.objective[-1] == pytest.approx(objective.item(), rel=1e-12)
    objective.backward()
    for block in (u, v, w):
        assert block.grad.abs().max() < 1e-6
    assert found.users.std() > 0.1  # not the saddle where all factors are zero


def test_no_confidence_is_the_unweighted_fit():
    """--alpha 0 would not be the study's model, or counts would matter without it."""
    counts, x, start = problem(2)
    plain = fit(counts, x, start, Weights(), 8)
    likes = fit((counts > 0) * 1.0, x, start, Weights(), 8)
    assert (plain.users == likes.users).all()
    # Row by row, as with confidence, which then changes nothing that matters.
    nearly = fit(counts, x, start, Weights(alpha=1e-12), 8)
    assert nearly.users == pytest.approx(plain.users, abs=1e-8)
    assert nearly.items == pytest.approx(plain.items, abs=1e-8)
    trusted = fit(counts, x, start, Weights(alpha=5.0), 8)
    assert not np.allclose(trusted.users, plain.users, atol=0.01)


def test_the_map_is_ridge_regression():
    """Unheard tracks would be placed by something else than the least squares map."""
    rng = np.random.default_rng(0)
    v, new = rng.normal(size=(20, 3)), rng.normal(size=(6, 50))
    for d in (7, 50):
        x = rng.normal(size=(20, d))
        features = FeatureMap(x, 0.3)
        mapped = features.fit(v)
        ridge = Ridge(alpha=0.3, fit_intercept=False).fit(x, v)
        assert features.weights() == pytest.approx(ridge.coef_.T, abs=1e-10)
        assert mapped == pytest.approx(ridge.predict(x), abs=1e-9)
        assert features(new[:, :d]) == pytest.approx(ridge.predict(new[:, :d]), abs=1e-10)


def test_blocks_change_nothing(monkeypatch):
    """A table that is taken in blocks would give other recommendations than a small one."""
    counts, x, start = problem(3, users=40, items=30, d=6)
    whole = fit(counts, x, start, Weights(alpha=2.0), 5, objective=True)
    monkeypatch.setattr(module, "_BLOCK_CELLS", 20)
    monkeypatch.setattr(module, "_KEPT_CELLS", 0)
    parts = fit(counts, x, start, Weights(alpha=2.0), 5, objective=True)
    assert parts.users == pytest.approx(whole.users, abs=1e-9)
    assert parts.objective == pytest.approx(whole.objective)
    assert parts.map(x) == pytest.approx(whole.map(x), abs=1e-9)
    assert Scaling(x)(x) == pytest.approx(np.hstack([StandardScaler().fit_transform(x),
                                                     np.ones((30, 1))]))  # fmt: skip


def test_features_are_standardised_beside_a_constant():
    """A feature in hertz would outweigh all others, one that never varies become infinite."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(40, 3)) * [1, 1000, 1] + [0, 5000, 0.1]).astype(np.float32)
    x[:, 2] = 0.1
    scaled = Scaling(x)(x)
    expected = StandardScaler().fit_transform(x[:, :2].astype(float))
    assert scaled[:, :2] == pytest.approx(expected, abs=1e-6)
    assert (scaled[:, 2] == 0).all()
    assert (scaled[:, 3] == 1).all()
    assert np.isfinite(Scaling(x)(x + 1)).all()


# --- the protocol --------------------------------------------------------------------------------


def planted(seed, tracks=240, listeners=150, d=12, rank=3, each=20):
    """Return vectors and likes: each listener's twenty best tracks by planted tastes and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(tracks, d))
    factors = x @ rng.normal(size=(d, rank)) / d**0.5
    tastes = rng.normal(size=(listeners, rank)) / rank**0.5
    said = tastes @ factors.T + 0.5 * rng.normal(size=(listeners, tracks))
    likes = np.zeros((listeners, tracks))
    np.put_along_axis(likes, np.argsort(-said, axis=1)[:, :each], 1.0, axis=1)
    return x.astype(np.float32), likes


def prepared(likes, options, x=None, by="", pairs=None):
    """Return what recommends these tracks, by its splits."""
    names = np.array([f"track {i:03d}" for i in range(likes.shape[1])], object)
    known = Labelled(np.arange(len(names)), None, None, names)
    plan = Plan(pairs, 0.1, False, "given") if pairs else drawn(known, options)
    listeners = [f"listener {i:03d}" for i in range(len(likes))]
    return Recommending(Likes(csr_array(likes), listeners), known, plan, options, x, by)


def value(work, metric="ap@20", jobs=1):
    """Return the mean over the splits."""
    outcomes = run([(work, split) for split in range(len(work))], jobs)
    return work.result(outcomes).metrics[metric].value


@pytest.mark.parametrize("candidates", ["all", "held-out"])
@pytest.mark.parametrize("seed", range(4))
def test_planted_tastes_are_found(seed, candidates):
    """The number would not tell a good embedding from none.

    Tastes explain four fifths of what listeners say, and X holds all of the tracks' side: more
    than twice the AP and one and a half times the nDCG of both baselines is the margin set.
    """
    x, likes = planted(seed)
    options = RecommendSettings(repeats=4, candidates=candidates, seed=seed)
    for metric, times in (("ap@20", 2.0), ("ndcg@20", 1.5)):
        found = value(prepared(likes, options, x), metric)
        for by in ("popularity", "random"):
            assert found > times * value(prepared(likes, options, by=by), metric)
    noise = np.random.default_rng(seed + 100).normal(size=x.shape).astype(np.float32)
    assert value(prepared(likes, options, noise)) < 0.5 * value(prepared(likes, options, x))


def test_two_tastes_by_hand():
    """Tracks liked in training would fill the list, or count as found."""
    taste = np.arange(60) % 2
    likes = (np.arange(30)[:, None] % 2 == taste).astype(float)
    x = np.stack([taste * 2.0 - 1, np.sin(np.arange(60))], axis=1).astype(np.float32)
    # Four tracks are held out, two of each taste; 28 of each are liked in training.
    pairs = [(np.arange(4, 60), np.arange(4)), (np.arange(56), np.arange(56, 60))]
    for candidates in ("all", "held-out"):
        options = RecommendSettings(candidates=candidates, factors=2)
        work = prepared(likes, options, x, pairs=pairs)
        assert value(work) == pytest.approx(1)
        assert value(work, "ndcg@20") == pytest.approx(1)


def test_popularity_by_hand():
    """Held-out tracks would be ranked by likes that nobody has seen yet."""
    # Track 0 is held out; of five train tracks a listener likes one and has four before it.
    likes = np.zeros((5, 6))
    likes[:, 0] = 1
    likes[np.arange(5), np.arange(1, 6)] = 1
    pairs = [(np.arange(1, 6), np.array([0])), (np.arange(1, 6), np.array([0]))]
    work = prepared(likes, RecommendSettings(), by="popularity", pairs=pairs)
    assert value(work) == pytest.approx(1 / 5)
    assert value(work, "ndcg@20") == pytest.approx(np.log2(2) / np.log2(6))
    alone = RecommendSettings(candidates="held-out")
    assert value(prepared(likes, alone, by="popularity", pairs=pairs)) == 1


def test_the_random_order_is_random():
    """The bottom line of the table would be too high or too low, or the same for everybody."""
    _, likes = planted(0)
    options = RecommendSettings(repeats=30, candidates="held-out")
    work = prepared(likes, options, by="random")
    rng = np.random.default_rng(0)
    expected = []
    for train, test in work.plan.pairs:
        measured = (likes[:, train].sum(axis=1) > 0) & (likes[:, test].sum(axis=1) > 0)
        for row in likes[measured][:, test]:
            hits = np.flatnonzero(rng.permutation(row)[:20]) + 1
            expected.append((np.arange(1, len(hits) + 1) / hits).sum() / min(20, row.sum()))
    # Some 4,000 lists on either side, of which a listener's are alike in what they hold.
    error = np.std(expected) / len(expected) ** 0.5
    assert value(work) == pytest.approx(np.mean(expected), abs=4 * 2**0.5 * error)
    scores = work._scored(0, np.arange(240))(np.arange(150))
    assert np.abs(np.corrcoef(scores)[np.triu_indices(150, 1)]).max() < 0.4
    assert scores.mean() == pytest.approx(0.5, abs=0.02)


def test_listeners_of_one_side_are_left_out():
    """Who likes nothing that is held out would count as a failure of the embedding."""
    likes = np.zeros((4, 8))
    likes[0, [0, 1, 2]] = likes[1, [0, 6]] = likes[2, [0, 7]] = likes[3, [6, 7]] = 1
    pairs = [(np.arange(6), np.array([6, 7]))] * 2
    work = prepared(likes, RecommendSettings(candidates="held-out"), by="random", pairs=pairs)
    assert work._measured(0).tolist() == [1, 2]
    (note,) = work.result([work.test(0), work.test(1)]).notes
    assert note.startswith("measured in a split: 2 of 4 listeners")
    nobody = prepared(likes[[0, 3]], RecommendSettings(), by="random", pairs=pairs)
    found = nobody.result([nobody.test(0), nobody.test(1)]).metrics["ap@20"]
    assert np.isnan(found.value)
    assert "no listener likes a track on both sides" in found.reason


def test_a_single_split_is_resampled_by_listeners():
    """One given split would have no interval, or one for as many listeners as there are tracks."""
    x, likes = planted(0)
    pairs = [(np.arange(24, 240), np.arange(24))]
    work = prepared(likes, RecommendSettings(candidates="held-out"), x, pairs=pairs)
    result = work.result([work.test(0)])
    found = result.metrics["ap@20"]
    assert found.low < found.value < found.high
    # Between half and twice Student's interval of the mean over some 130 listeners.
    assert 0.03 < found.high - found.low < 0.25
    assert "bootstrap over listeners" in result.protocol


def test_jobs_and_seeds():
    """Twice the same command would give two numbers, or another seed the same one."""
    x, likes = planted(1)
    options = RecommendSettings(repeats=4, iterations=5)
    alone, both = (prepared(likes, options, x) for _ in range(2))
    assert [o.scores for o in run([(alone, s) for s in range(4)], 1)] == [
        o.scores for o in run([(both, s) for s in range(4)], 2)
    ]
    assert alone.key() == both.key()
    others = (
        prepared(likes, RecommendSettings(repeats=4, iterations=5, seed=1), x),
        prepared(likes, options, x + 1),
        prepared(likes, options, by="random"),
        prepared(likes[::-1], options, x),
    )
    for other in others:
        assert other.key() != alone.key()


def test_other_vectors_of_the_same_direction_recommend_the_same():
    """The unit of a feature, or where its zero is, would change what is recommended."""
    x, likes = planted(2)
    options = RecommendSettings(repeats=2)
    plain = value(prepared(likes, options, x))
    assert value(prepared(likes, options, x * 100 + 7)) == pytest.approx(plain, abs=1e-3)

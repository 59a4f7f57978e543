"""Mixtures of normals: planted ones are found, and numbers far away, or rounded, do no harm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from mt_tools.errors import UsageError
from mt_tools.features import mixtures
from mt_tools.features.mixtures import Mixture, choose_mixture, criterion, fit_mixture, spread

TEMPI = Mixture(np.array([0.5, 0.3, 0.2]), np.array([90.0, 122.0, 174.0]), np.array([6.0, 3, 5]))


def drawn(mixture, count, seed):
    """Draw numbers from a mixture."""
    rng = np.random.default_rng(seed)
    which = rng.choice(len(mixture.weights), size=count, p=mixture.weights)
    return rng.normal(mixture.means[which], mixture.deviations[which])


def apart(count, distance=8.0):
    """Return a mixture of components of deviation 1 that are so far apart, of unequal shares."""
    weights = np.linspace(1.0, 2.0, count)
    return Mixture(weights / weights.sum(), 100 + distance * np.arange(count), np.ones(count))


def scikit(mixture):
    """Return the same mixture as scikit-learn has it."""
    model = GaussianMixture(len(mixture.means), covariance_type="diag")
    model.weights_, model.means_ = mixture.weights, mixture.means[:, None]
    model.covariances_ = np.square(mixture.deviations)[:, None]
    model.precisions_cholesky_ = 1.0 / mixture.deviations[:, None]
    return model


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_mixture_is_found(seed):
    """Targets would not be the clusters that tempi have."""
    found = fit_mixture(drawn(TEMPI, 3000, seed), 3, seed)
    # Five standard errors of the smallest component: 600 numbers of deviation 5.
    np.testing.assert_allclose(found.means, TEMPI.means, atol=1.0)
    np.testing.assert_allclose(found.deviations, TEMPI.deviations, atol=0.7)
    np.testing.assert_allclose(found.weights, TEMPI.weights, atol=0.05)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [2, 5, 9])
def test_the_criterion_finds_the_planted_number(count, seed):
    """-k auto would ask for components that are not there, or miss some that are."""
    found, criteria = choose_mixture(drawn(apart(count), 600, seed), 11, seed)
    assert len(found.means) == count
    assert criteria.shape == (11,)
    assert criteria.argmin() == count - 1
    np.testing.assert_allclose(found.means, apart(count).means, atol=0.7)


def test_one_normal_is_one_component():
    """Numbers without clusters would be cut into some."""
    found, _ = choose_mixture(np.random.default_rng(0).normal(120, 9, size=1000), 8)
    assert len(found.means) == 1


def test_shares_and_criterion_are_scikit_learns():
    """A target would not be what everybody calls a posterior."""
    x = drawn(TEMPI, 2000, 0)
    found = fit_mixture(x, 6)
    theirs = scikit(found)
    new = np.concatenate([x, np.linspace(0, 400, 500)])
    np.testing.assert_allclose(found.posterior(new), theirs.predict_proba(new[:, None]), atol=1e-6)
    np.testing.assert_allclose(
        found.log_density(new), theirs.score_samples(new[:, None]), rtol=1e-9, atol=1e-9
    )
    assert criterion(found, x) == pytest.approx(theirs.bic(x[:, None]), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_as_likely_as_scikit_learns_own_fit(seed):
    """Spreading, scaling or quantiles would cost likelihood."""
    x = drawn(TEMPI, 3000, seed)
    theirs = GaussianMixture(3, n_init=5, tol=1e-5, max_iter=300, random_state=seed).fit(x[:, None])
    assert fit_mixture(x, 3, seed).log_density(x).mean() >= theirs.score(x[:, None]) - 1e-3


def test_numbers_far_from_all_components_have_a_target():
    """A tempo of 0, or a broken one, would make a batch's loss NaN."""
    far = TEMPI.posterior(np.array([0.0, -1e4, 1e9, 1e300, -1e300]))
    assert np.isfinite(far).all()
    np.testing.assert_allclose(far.sum(axis=1), 1.0, atol=1e-12)
    assert far[1:].argmax(axis=1).tolist() == [0, 0, 0, 0]  # the widest component reaches farthest
    assert np.isnan(TEMPI.posterior(np.array([np.nan, np.inf, -np.inf]))).all()


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20))
def test_shares_sum_to_one(numbers):
    """mt-train would mask the row: it is no distribution."""
    shares = TEMPI.posterior(np.array(numbers)).astype(np.float32)
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("seed", range(2))
def test_rounded_numbers_are_their_clusters(seed):
    """Each single year would become a component, since years repeat."""
    eras = Mixture(np.array([0.4, 0.6]), np.array([1969.0, 1999.0]), np.array([1.0, 1.5]))
    years = np.round(drawn(eras, 1000, seed))
    found, _ = choose_mixture(years, 14, seed)
    assert len(found.means) == 2
    # Five standard errors of 400 to 600 numbers; rounding and spreading add 1/12 each.
    np.testing.assert_allclose(found.means, eras.means, atol=0.3)
    np.testing.assert_allclose(found.deviations, np.sqrt(eras.deviations**2 + 1 / 6), atol=0.25)


@pytest.mark.parametrize("components", [40, 50])
def test_fifty_components_of_few_years(components):
    """The REP study's 50 components would shrink to single years, and divide by nothing."""
    rng = np.random.default_rng(0)
    years = np.clip(np.round(2012 - rng.gamma(2, 6, size=2000)), 2012 - components + 1, 2012)
    assert len(np.unique(years)) == components
    found = fit_mixture(years, components)
    assert (found.deviations > 0.05).all()  # a year's rounding alone has 0.29
    shares = found.posterior(np.unique(years))
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-12)
    nearest = found.means[shares.argmax(axis=1)]
    # The oldest years stand for all before them; the others keep their place.
    assert np.abs(nearest - np.unique(years))[5:].max() < 2


def test_numbers_rounded_to_one_value_are_as_wide_as_the_rounding():
    """A component of one year would be a needle, whose neighbours have no share in it."""
    found = fit_mixture(np.repeat([1980.0, 1981.0, 1982.0, 1990.0, 1991.0, 1992.0], 200), 2)
    np.testing.assert_allclose(found.means, [1981, 1991], atol=0.01)
    # Three values of step 1: their own variance 2/3, and 1/12 of the rounding (Sheppard).
    np.testing.assert_allclose(found.deviations**2, 2 / 3 + 1 / 12, atol=0.01)


def test_equal_numbers_are_spread_and_others_stay():
    """Tempi that were not rounded would be moved, or outliers drawn into the crowd."""
    x = np.sort(np.random.default_rng(0).normal(size=300))
    np.testing.assert_array_equal(spread(x), x)
    whole = spread(np.repeat(np.arange(10.0), 100))
    assert whole.var() == pytest.approx(99 / 12 + 1 / 12, abs=1e-3)
    assert whole.min() == pytest.approx(-0.495)
    mostly = spread(np.concatenate([np.zeros(50), np.repeat(np.arange(100.0, 140.0), 50)]))
    assert np.abs(mostly[:50]).max() <= 1.5


def test_many_numbers_are_fitted_to_their_quantiles():
    """A million tracks would take an hour, or a random sample of them another result each time."""
    x = drawn(TEMPI, 100_000, 0)
    assert len(spread(x)) == mixtures.POINTS
    found = fit_mixture(x, 3)
    np.testing.assert_allclose(found.means, TEMPI.means, atol=0.2)
    np.testing.assert_allclose(found.weights, TEMPI.weights, atol=0.01)


def test_neither_order_nor_unit_matters():
    """A table in another order, or seconds for milliseconds, would get other targets."""
    x = drawn(TEMPI, 1500, 0)
    found = fit_mixture(x, 4)
    mixed = fit_mixture(np.random.default_rng(1).permutation(x), 4)
    np.testing.assert_array_equal(mixed.means, found.means)
    np.testing.assert_array_equal(mixed.deviations, found.deviations)
    scaled = fit_mixture(1e-6 * x + 5, 4)
    np.testing.assert_allclose(scaled.posterior(1e-6 * x + 5), found.posterior(x), atol=1e-6)


def test_missing_numbers_have_no_say():
    """Tracks without a tempo would pull the components."""
    x = drawn(TEMPI, 500, 0)
    gaps = np.concatenate([x, [np.nan, np.inf, -np.inf]])
    np.testing.assert_array_equal(fit_mixture(gaps, 3).means, fit_mixture(x, 3).means)


def test_arrays_make_it_again():
    """What --fitted wrote would give other shares with --apply."""
    again = Mixture.from_arrays(TEMPI.arrays())
    x = drawn(TEMPI, 50, 0)
    np.testing.assert_array_equal(again.posterior(x), TEMPI.posterior(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_mixture(np.arange(4.0), 5), "4 different numbers for 5 components"),
        (lambda: fit_mixture(np.ones(9), 1), "1 different numbers"),
        (lambda: fit_mixture(np.arange(9.0), 0), "1 or more"),
        (lambda: fit_mixture(np.ones((4, 2)), 2), "one number a row"),
        (lambda: choose_mixture(np.full(3, np.nan), 5), "0 different numbers"),
    ],
)
def test_what_has_no_mixture_is_refused(call, message):
    """A wrong column would end in a traceback of scikit-learn."""
    with pytest.raises(UsageError, match=message):
        call()

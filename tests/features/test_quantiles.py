"""Quantiles: numbers become a standard normal, as scikit-learn's do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.preprocessing import QuantileTransformer

from mt_tools.errors import UsageError
from mt_tools.features.quantiles import Quantiles, fit_quantiles

NUMBERS = st.floats(-1e6, 1e6, width=32)


@pytest.fixture(scope="module")
def skewed():
    """Return 3,000 rows: skewed, heavy-tailed, of few different numbers, and with gaps."""
    rng = np.random.default_rng(0)
    gaps = rng.normal(size=3000)
    gaps[rng.random(3000) < 0.3] = np.nan
    columns = [
        100 * rng.gamma(2, size=3000),
        rng.standard_cauchy(3000),
        rng.integers(0, 9, 3000),
        gaps,
    ]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("count", [1000, 20])
def test_as_scikit_learn(skewed, count):
    """Targets of the AGF study would differ from those of the tool that others make them with."""
    train, new = skewed[:2000], skewed[2000:]
    theirs = QuantileTransformer(
        n_quantiles=count, output_distribution="normal", subsample=None
    ).fit(train)
    for rows in (train, new):
        got = fit_quantiles(train, count).transform(rows)
        np.testing.assert_allclose(got, theirs.transform(rows), atol=1e-9)
    theirs.set_params(output_distribution="uniform")
    np.testing.assert_allclose(
        fit_quantiles(train, count).uniform(new), theirs.transform(new), atol=1e-12
    )


def test_training_numbers_are_normal(skewed):
    """What comes out would be no normal distribution."""
    from scipy.stats import kstest

    normal = fit_quantiles(skewed).transform(skewed)
    for column in (0, 1, 3):
        values = normal[:, column]
        values = values[np.isfinite(values)]
        assert kstest(values, "norm").statistic < 0.01
        assert abs(values.mean()) < 0.02
        assert 0.95 < values.std() < 1.05


def test_the_unit_of_a_column_does_not_matter(skewed):
    """Power in watts would be another descriptor than power in nanowatts."""
    small = 1e-9 * skewed
    np.testing.assert_allclose(
        fit_quantiles(small).transform(small), fit_quantiles(skewed).transform(skewed), atol=1e-6
    )


@given(
    train=arrays.arrays(np.float64, (30, 1), elements=NUMBERS),
    new=arrays.arrays(np.float64, (20, 1), elements=NUMBERS),
)
def test_order_is_kept_and_the_ends_are_clipped(train, new):
    """A louder track would get the smaller number, or a new one would be infinite."""
    fitted = fit_quantiles(train, 10)
    made = fitted.transform(np.sort(new, axis=0))
    assert np.isfinite(made).all()
    assert (np.abs(made) < 5.2).all()
    assert (np.diff(made, axis=0) >= -1e-9).all()
    if train.min() < train.max():
        ends = fitted.transform([[-np.inf], [train.min()], [train.max()], [np.inf]])[:, 0]
        np.testing.assert_allclose(ends, [-5.1993, -5.1993, 5.1993, 5.1993], atol=1e-4)


def test_numbers_that_are_missing():
    """A track without a descriptor would get one, or take it from all others."""
    train = np.array([[1.0, np.nan], [2.0, np.inf], [3.0, np.nan], [np.nan, -np.inf]])
    fitted = fit_quantiles(train)
    made = fitted.transform([[np.nan, np.nan], [2.0, 7.0], [-np.inf, np.inf]])
    assert np.isnan(made[0]).all()
    assert made[1].tolist() == pytest.approx([0.0, 0.0])
    assert made[2, 0] < -5
    assert made[2, 1] == 0  # of a column without numbers there is nothing to compare with
    assert fitted.varying.tolist() == [True, False]


def test_a_column_that_does_not_vary_says_nothing():
    """A dead descriptor would shift every track by five deviations."""
    fitted = fit_quantiles(np.array([[4.0, 1.0], [4.0, 2.0]]))
    made = fitted.transform([[4.0, 1.0], [5.0, 2.0], [np.nan, 1.5]])
    assert made[:2, 0].tolist() == [0, 0]
    assert np.isnan(made[2, 0])
    assert fit_quantiles([[3.0]]).transform([[3.0], [9.0]]).tolist() == [[0], [0]]


def test_rows_do_not_depend_on_their_company(skewed):
    """A track's numbers would change with the tracks beside it."""
    fitted = fit_quantiles(skewed[:500])
    alone = np.concatenate([fitted.transform(row[None]) for row in skewed[:20]])
    np.testing.assert_array_equal(alone, fitted.transform(skewed)[:20])


def test_arrays_make_it_again(skewed):
    """What --fitted wrote would transform otherwise with --apply."""
    fitted = fit_quantiles(skewed, 50)
    again = Quantiles.from_arrays(fitted.arrays())
    np.testing.assert_array_equal(again.transform(skewed), fitted.transform(skewed))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_quantiles(np.zeros(3)), "expected .rows, columns."),
        (lambda: fit_quantiles(np.zeros((0, 3))), "at least one row"),
        (lambda: fit_quantiles(np.zeros((4, 3)), 1), "2 at least"),
        (lambda: fit_quantiles(np.ones((4, 3))).transform(np.ones((4, 2))), r"\[rows, 3\]"),
    ],
)
def test_what_is_no_matrix_is_refused(call, message):
    """A wrong column would end in a traceback of numpy."""
    with pytest.raises(UsageError, match=message):
        call()

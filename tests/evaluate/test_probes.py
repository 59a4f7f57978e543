"""The models of probes: each is the model that its name says, for every kind of label."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import SVC

from mt_tools import metrics
from mt_tools.errors import UsageError
from mt_tools.evaluate.probe import probe
from mt_tools.evaluate.probes import PROBES, candidates, parse_grid
from mt_tools.evaluate.settings import ProbeSettings

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Array = NDArray[Any]


@pytest.fixture(scope="module")
def data() -> dict[str, Array]:
    """Return standardised vectors of 90 rows with labels of every kind that follow from them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 5))
    chances = np.exp(x[:, :3] * 2)
    chances /= chances.sum(axis=1, keepdims=True)
    return {
        "x": x,
        "multiclass": np.digitize(x[:, 0], [-0.5, 0.5]),
        "ordinal": np.digitize(x[:, 0], [-0.5, 0.5]),
        "multilabel": x[:, :3] + 0.3 * rng.normal(size=(90, 3)) > 0.4,
        "regression": 90 + 30 * x[:, 1] + rng.normal(size=90),
        "distribution": chances,
    }


def fitted(data: dict[str, Array], kind: str, **settings: Any) -> Any:
    """Fit on the first 60 rows and predict the others."""
    asked = ProbeSettings(**settings)
    x, y = data["x"], data[kind]
    return PROBES[asked.probe].fits[kind](x[:60], y[:60], x[60:], asked, 7)


def test_the_table_is_what_can_be_asked_for() -> None:
    """--help would offer a model that does not exist, or hide one."""
    (field,) = [f for f in dataclasses.fields(ProbeSettings) if f.name == "probe"]
    assert field.metadata["choices"] == tuple(PROBES)


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in PROBES for k in PROBES[n].fits])
def test_every_model_learns_every_kind_it_takes(
    data: dict[str, Array], name: str, kind: str
) -> None:
    """A model would guess, or the scores of one tag would stand under another."""
    predicted = fitted(data, kind, probe=name, target="standard")
    truth = data[kind][60:]
    if kind in ("multiclass", "ordinal"):
        assert (predicted.values == truth).mean() > 0.6
    elif kind == "multilabel":
        assert (metrics.roc_auc(truth, predicted.values) > 0.8).all()
    elif kind == "regression":
        assert metrics.r2(truth, predicted.values).value > 0.6
    else:
        even = np.full_like(truth, 1 / 3)
        assert metrics.kl(truth, predicted.values).value < metrics.kl(truth, even).value / 2


def test_neighbours_are_scikit_learns(data: dict[str, Array]) -> None:
    """--k would be another number of neighbours, or another distance."""
    x = data["x"]
    expected = KNeighborsClassifier(3).fit(x[:60], data["multiclass"][:60]).predict(x[60:])
    assert (fitted(data, "multiclass", probe="knn", k=3).values == expected).all()
    for kind in ("multilabel", "regression", "distribution"):
        model = KNeighborsRegressor(3).fit(x[:60], data[kind][:60].astype(float))
        found = fitted(data, kind, probe="knn", k=3).values
        np.testing.assert_allclose(found, model.predict(x[60:]), atol=1e-12)
    # Of fewer rows than neighbours all are asked.
    alone = PROBES["knn"].fits["regression"](x[:2], x[:2, 0], x[2:], ProbeSettings(k=5), 0)
    np.testing.assert_allclose(alone.values, x[:2, 0].mean())


def test_perceptrons_are_scikit_learns(data: dict[str, Array]) -> None:
    """The perceptron would not have the size and the constants that are documented."""
    x, y = data["x"], data["regression"]
    made: dict[str, Any] = {"alpha": 0.5, "max_iter": 200, "random_state": 7}
    settings: dict[str, Any] = {"probe": "mlp", "C": 2.0}
    classes = MLPClassifier(hidden_layer_sizes=(128,), **made).fit(x[:60], data["multiclass"][:60])
    predicted = fitted(data, "multiclass", **settings)
    np.testing.assert_allclose(predicted.chances, classes.predict_proba(x[60:]))
    mean, sd = y[:60].mean(), y[:60].std()
    numbers = MLPRegressor(hidden_layer_sizes=(128,), **made).fit(x[:60], (y[:60] - mean) / sd)
    expected = numbers.predict(x[60:]) * sd + mean
    np.testing.assert_allclose(fitted(data, "regression", **settings).values, expected)


def test_ridge_scores_are_those_of_scikit_learn(data: dict[str, Array]) -> None:
    """alpha would not be 1/C."""
    x, y = data["x"], data["multilabel"]
    found = fitted(data, "multilabel", probe="ridge", C=0.1).values
    for tag in range(3):
        model = Ridge(alpha=10).fit(x[:60], np.where(y[:60, tag], 1.0, -1.0))
        np.testing.assert_allclose(found[:, tag], model.predict(x[60:]), atol=1e-9)


def test_logistic_distributions_are_weighted_rows(data: dict[str, Array]) -> None:
    """Distributions would be fitted by something else than their cross-entropy."""
    x, y = data["x"], data["distribution"]
    found = fitted(data, "distribution", probe="logistic", C=3.0)
    model = LogisticRegression(C=3.0, max_iter=5000, tol=1e-9)
    model.fit(np.repeat(x[:60], 3, 0), np.tile(range(3), 60), sample_weight=y[:60].ravel())
    np.testing.assert_allclose(found.values, model.predict_proba(x[60:]), atol=1e-4)
    assert found.converged


@pytest.mark.parametrize("name", [n for n in PROBES if "multilabel" in PROBES[n].fits])
def test_a_tag_that_nothing_is_known_of_ranks_no_row(data: dict[str, Array], name: str) -> None:
    """A tag that no training row has would be scored by chance, and not by one half."""
    x, y = data["x"], data["multilabel"].copy()
    y[:60, 0], y[:60, 1] = False, True
    fit = PROBES[name].fits["multilabel"]
    scores = fit(x[:60], y[:60], x[60:], ProbeSettings(probe=name), 0).values
    assert len(np.unique(scores[:, 0])) == len(np.unique(scores[:, 1])) == 1
    whole = fit(x[:60], data["multilabel"][:60], x[60:], ProbeSettings(probe=name), 0).values
    if name != "mlp":  # whose tags share a layer
        np.testing.assert_allclose(scores[:, 2], whole[:, 2], atol=1e-9)


def test_candidates_of_a_search() -> None:
    """A search would leave out the fixed constants, or try what the model does not have."""
    found = candidates(ProbeSettings(search=True), "multiclass", 10)
    assert [one.C for one in found] == [1.0, 0.01, 0.1, 10.0, 100.0]
    found = candidates(ProbeSettings(search=True), "regression", 10)
    assert len(found) == 12
    assert found[0].gamma == pytest.approx(0.1)
    assert found[0].C == 1.0
    given = ProbeSettings(probe="knn", grid=("k=7,2",))
    assert [one.k for one in candidates(given, "multiclass", 10)] == [2, 7]
    settings = ProbeSettings(C=3.0)
    assert candidates(settings, "multiclass", 10) == [settings]
    with pytest.raises(UsageError, match="expected C"):
        candidates(ProbeSettings(grid=("gamma=1",)), "multiclass", 10)
    for text in ("C", "C=", "C=0", "C=a,b", "k=1.5", "C=inf"):
        with pytest.raises(UsageError, match="NAME=VALUE,VALUE"):
            parse_grid([text])
    with pytest.raises(UsageError, match="twice"):
        parse_grid(["C=1", "C=2"])


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("svm", "distribution", "choose one of logistic, knn"),
        ("logistic", "regression", "choose one of svm, ridge, knn, mlp"),
        ("svm", "same-track", "'same-track'"),
    ],
)
def test_what_a_model_cannot_predict_is_refused(name: str, kind: str, message: str) -> None:
    """A distribution would be probed as if its first component were a number."""
    y = np.full((10, 3), 1 / 3) if kind == "distribution" else np.arange(10.0)
    with pytest.raises(UsageError, match=message):
        probe(np.zeros((10, 2)), y, kind, settings=ProbeSettings(probe=name))


def test_a_binary_svm_of_tags_is_scikit_learns(data: dict[str, Array]) -> None:
    """Tags would be ranked by the votes of the classifier, and not by its margin."""
    x, y = data["x"], data["multilabel"]
    model = SVC(kernel="linear").fit(x[:60], y[:60, 1])
    found = fitted(data, "multilabel").values[:, 1]
    np.testing.assert_allclose(found, model.decision_function(x[60:]), atol=1e-9)

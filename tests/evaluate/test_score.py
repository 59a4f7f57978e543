"""Scores of predictions: right values, masked rows counted, intervals that hold the value."""

import numpy as np
import pytest
import sklearn.metrics

from mt_tools import splits
from mt_tools.errors import UsageError
from mt_tools.evaluate.probe import probe
from mt_tools.evaluate.score import JUDGES, score
from mt_tools.tasks.kinds import KINDS

TAGS = ["jazz", "rock", "vocal"]


@pytest.fixture(scope="module")
def genres():
    """Return 120 true and predicted genres, 70 % of them right, with probabilities."""
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=120)
    predicted = np.where(rng.random(120) < 0.7, truth, rng.integers(3, size=120))
    chances = (np.eye(3)[predicted] + 0.5) / 2.5
    names = np.array(TAGS, object)
    return names[truth], names[predicted], chances


@pytest.fixture(scope="module")
def tagged():
    """Return 90 rows of true and predicted tags with scores."""
    rng = np.random.default_rng(1)
    hot = rng.random((90, 3)) < 0.4
    scores = hot * 0.5 + rng.random((90, 3))
    lists = [
        [[t for t, on in zip(TAGS, row, strict=True) if on] for row in m]
        for m in (hot, scores > 0.7)
    ]
    columns = [np.empty(90, object) for _ in lists]
    for column, values in zip(columns, lists, strict=True):
        column[:] = values
    return hot, scores, *columns


def test_multiclass_report_is_complete(genres):
    """A genre model's report would lack its matrix, or its interval would miss its value."""
    truth, predicted, chances = genres
    got = score("multiclass", truth, predicted, chances, TAGS, seed=1, draws=200)
    accuracy = got["metrics"]["accuracy"]
    assert accuracy["value"] == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    loss = sklearn.metrics.log_loss(truth, chances, labels=TAGS)
    assert got["metrics"]["log_loss"]["value"] == pytest.approx(loss, abs=1e-9)
    assert got["confusion"] == sklearn.metrics.confusion_matrix(truth, predicted).tolist()
    recall = sklearn.metrics.recall_score(truth, predicted, average=None)
    assert [got["labels"][tag]["recall"]["value"] for tag in TAGS] == pytest.approx(recall)
    assert (got["n"], got["unlabelled"], got["unpredicted"], got["clusters"]) == (120, 0, 0, 120)
    assert got == score("multiclass", truth, predicted, chances, TAGS, seed=1, draws=200)


def test_multilabel_report_agrees_with_scikit_learn(tagged):
    """A tagger's AUC per tag would be wrong or attached to another tag."""
    hot, scores, truth, predicted = tagged
    got = score("multilabel", truth, predicted, scores, TAGS, draws=100)
    for column, tag in enumerate(TAGS):
        auc = sklearn.metrics.roc_auc_score(hot[:, column], scores[:, column])
        assert got["labels"][tag]["roc_auc"]["value"] == pytest.approx(auc, abs=1e-9)
        assert got["labels"][tag]["support"] == hot[:, column].sum()
    expected = sklearn.metrics.f1_score(hot, scores > 0.7, average="micro")
    assert got["metrics"]["f1_micro"]["value"] == pytest.approx(expected, abs=1e-9)
    assert set(score("multilabel", truth, predicted, None, TAGS, draws=50)["metrics"]) == {
        f"{name}_{average}"
        for name in ("f1", "precision", "recall")
        for average in ("macro", "micro", "weighted")
    }
    assert "f1_macro" not in score("multilabel", truth, None, scores, TAGS, draws=50)["metrics"]


def test_regression_report():
    """An energy model's R2 would be computed on unlabelled rows."""
    truth = np.array([1.0, 2, 3, 4, np.nan, 6])
    predicted = np.array([1.1, 2.2, 2.7, 4.1, 9.0, np.nan])
    got = score("regression", truth, predicted, draws=100)
    expected = sklearn.metrics.r2_score(truth[:4], predicted[:4])
    assert got["metrics"]["r2"]["value"] == pytest.approx(expected, abs=1e-9)
    assert (got["n"], got["unlabelled"], got["unpredicted"]) == (4, 1, 1)


def test_booleans_are_classes():
    """A yes-or-no column would be scored against the words true and false as all wrong."""
    truth = np.array([True, False, None, True], object)
    predicted = np.array(["true", "false", "true", "false"], object)
    got = score("multiclass", truth, predicted, draws=50)
    assert got["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert got["unlabelled"] == 1


def test_classes_the_model_does_not_know_count_as_wrong(genres):
    """A model would be excused from every genre that it was not trained on."""
    truth, predicted, chances = genres
    strange = truth.copy()
    strange[predicted == truth] = "polka"
    got = score("multiclass", strange, predicted, chances, TAGS, draws=50)
    assert got["metrics"]["accuracy"]["value"] == 0.0
    assert "polka" in got["notes"][0]
    assert "no probability" in got["metrics"]["log_loss"]["reason"]


def test_artists_widen_the_interval(genres):
    """Tracks of one artist would count as independent evidence."""
    truth, predicted, _ = genres
    right = np.argsort(truth == predicted, kind="stable")
    artists = splits.units(120, [f"artist {i // 10}" for i in range(120)])
    alone, grouped = (
        score("multiclass", truth[right], predicted[right], clusters=clusters, draws=400)
        for clusters in (None, artists)
    )
    width = [
        r["metrics"]["accuracy"]["high"] - r["metrics"]["accuracy"]["low"] for r in (alone, grouped)
    ]
    assert grouped["clusters"] == 12
    assert width[1] > 1.5 * width[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("multiclass", np.array([None, None], object), np.array(["a", "b"], object)),
            "0 are labelled",
        ),
        (("regression", np.array([1.0, 2.0]), None), "no predictions"),
        (
            ("multilabel", np.array([["a"], []], object), None, np.ones((2, 3)), ["a"]),
            "one for each row and each label",
        ),
        (("ranking", np.array([1.0]), np.array([1.0])), "multiclass, multilabel, regression"),
        (("multilabel", np.array(["a"], object), np.array([["a"]], object)), "list of strings"),
        (
            ("multiclass", np.array([["a", "b"], None], object), np.array(["a", "b"], object)),
            "one string",
        ),
    ],
)
def test_nothing_to_score_is_refused(arguments, message):
    """A column of the wrong kind or without labels would give a report of nothing."""
    with pytest.raises(UsageError, match=message):
        score(*arguments)


def test_ordinal_report_is_in_the_order_of_the_classes():
    """A wrong guess of one step would count like one of three, or steps would go by the alphabet."""
    words = ["low", "middle", "high"]
    truth = np.array(["low", "high", "middle", "low", None, "unheard"], object)
    predicted = np.array(["low", "low", "middle", "middle", "low", "low"], object)
    chances = np.full((6, 3), 1 / 3)
    got = score("ordinal", truth, predicted, chances, words, draws=50)
    places = [0, 2, 1, 0], [0, 0, 1, 1]
    values = {name: metric["value"] for name, metric in got["metrics"].items()}
    assert values == pytest.approx(
        {
            "accuracy": 1 / 2,
            "mae": 3 / 4,
            "quadratic_kappa": sklearn.metrics.cohen_kappa_score(*places, weights="quadratic"),
            "log_loss": np.log(3),
        }
    )
    assert (got["n"], got["unlabelled"]) == (4, 1)
    assert got["classes"] == words
    assert got["confusion"] == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert got["notes"] == [
        "1 rows have a class that has no place in the model's order and are left out: unheard"
    ]


def test_ordinal_numbers_need_no_vocabulary():
    """Energies could not be scored from a table without scores."""
    truth = np.array([1.0, 2.0, 10.0, np.nan])
    predicted = np.array(["2", "2", "10", "1"], object)
    got = score("ordinal", truth, predicted, draws=50)
    assert got["classes"] == ["1", "2", "10"]
    assert got["metrics"]["mae"]["value"] == pytest.approx(1 / 3)
    assert "log_loss" not in got["metrics"]
    words = np.array(["low", "high"], object)
    with pytest.raises(UsageError, match="order of the classes is not known"):
        score("ordinal", words, words)
    with pytest.raises(UsageError, match="none of the 2 rows has a class that the model knows"):
        score("ordinal", words, words, np.full((2, 2), 0.5), ["a", "b"])


def test_distributions_are_scored_by_their_whole_mix():
    """Only the strongest factor would count, or a row that is no mix would enter the mean."""
    truth = np.array([[0.5, 0.5], [1.0, 0.0], [np.nan, np.nan], [0.7, 0.7]], np.float32)
    scores = np.array([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5], [0.5, 0.5]], np.float32)
    named = np.array(["0", "1", "0", "0"], object)
    got = score("distribution", truth, named, scores, ["0", "1"], draws=50)
    assert got["metrics"]["kl"]["value"] == pytest.approx(np.log(4) / 2)
    assert (got["n"], got["unlabelled"]) == (2, 1)
    assert "1 rows are negative somewhere or do not sum to 1" in got["notes"][0]
    again = score("distribution", truth, None, scores, ["0", "1"], draws=50)
    assert again["metrics"] == got["metrics"]
    with pytest.raises(UsageError, match="with its column of scores"):
        score("distribution", truth, named)
    with pytest.raises(UsageError, match="none of the 1 rows is a distribution"):
        score("distribution", truth[3:], named[3:], scores[3:], ["0", "1"])
    with pytest.raises(UsageError, match="expected one of multiclass"):
        score("same-track", named, named)


def test_every_kind_that_predicts_can_be_scored():
    """A kind could be trained and tagged with, and mt-eval would not know it."""
    assert {*JUDGES} == {kind for kind, row in KINDS.items() if row.predicts is not None}


def test_a_perfect_score_has_an_interval():
    """A model that named four tracks rightly would be certain never to be wrong."""
    truth = np.array(["jazz", "rock", "rock", "rock"] * 5, object)
    artists = np.arange(20) // 2
    result = score("multiclass", truth, truth, clusters=artists, draws=50)
    accuracy = result["metrics"]["accuracy"]
    assert (accuracy["value"], accuracy["high"]) == (1.0, 1.0)
    assert accuracy["low"] == pytest.approx(0.025 ** (1 / 10))
    assert "10 all alike" in accuracy["reason"]
    # Of a label with fewer rows than there are artists these are what it rests on.
    assert result["labels"]["jazz"]["recall"]["low"] == pytest.approx(0.025 ** (1 / 5))


def test_lists_of_one_class_are_classes(genres):
    """A model that was trained on lists of one genre each could be neither measured nor scored."""
    truth, predicted, _ = genres
    lists = np.empty(len(truth), object)
    lists[:] = [[name] for name in truth]
    lists[0], lists[1] = ["jazz", "rock"], []  # as in training, these name no class
    got = score("multiclass", lists, predicted, draws=20)
    expected = score("multiclass", truth[2:], predicted[2:], draws=20)
    assert got["metrics"]["accuracy"]["value"] == expected["metrics"]["accuracy"]["value"]
    assert (got["n"], got["unlabelled"]) == (len(truth) - 2, 2)
    x = np.random.default_rng(0).normal(size=(len(truth), 4))
    assert probe(x, lists, "multiclass").n == len(truth) - 2

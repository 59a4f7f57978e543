"""What a probe may see: searches inside the train part, few examples, given splits, digests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mt_tools import splits
from mt_tools.errors import UsageError
from mt_tools.evaluate.checkpoint import Checkpoint
from mt_tools.evaluate.probe import prepare, probe, run
from mt_tools.evaluate.probe_results import outcome_of
from mt_tools.evaluate.probe_splits import Labelled, few, inner
from mt_tools.evaluate.settings import ProbeSettings

Array = NDArray[Any]


@pytest.fixture(scope="module")
def noisy() -> dict[str, Array]:
    """Return vectors of many dimensions of which few tell the class, by 24 artists."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(120, 30))
    style = (x[:, :3].sum(axis=1) + rng.normal(size=120) > 0).astype(int)
    return {
        "x": x,
        "style": np.array(["funk", "soul"], object)[style],
        "artist": np.array([f"artist {i // 5}" for i in range(120)], object),
        "level": x[:, 0] + 0.3 * rng.normal(size=120),
    }


def of(noisy: dict[str, Array]) -> Labelled:
    """Return all rows as the splits know them."""
    ids = np.array([f"track {i}" for i in range(120)], object)
    return Labelled(np.arange(120), noisy["style"], noisy["artist"], ids)


@pytest.mark.parametrize(
    ("kind", "label", "settings"),
    [
        ("multiclass", "style", {"probe": "logistic"}),
        ("multiclass", "style", {"probe": "knn"}),
        ("regression", "level", {"probe": "svm"}),
    ],
)
def test_a_search_never_sees_the_test_part(
    noisy: dict[str, Array], kind: str, label: str, settings: dict[str, Any]
) -> None:
    """Constants that suit the test rows would flatter every number."""
    asked = ProbeSettings(**settings, folds=3, search=True)
    clean = prepare(noisy["x"], noisy[label], kind, noisy["artist"], settings=asked)
    for split, (_, test) in enumerate(clean.plan.pairs):
        x, y = noisy["x"].copy(), clean.target.y.copy()
        # Vectors that say nothing but the label, and another label.
        x[test] = 1e3 * np.random.default_rng(0).normal(size=(len(test), 30))
        y[test] = y[test][::-1] if kind == "multiclass" else -50 * y[test]
        target = dataclasses.replace(clean.target, y=y)
        poisoned = dataclasses.replace(clean, x=x, target=target)
        outcomes = clean.test(split), poisoned.test(split)
        assert outcomes[0].chosen == outcomes[1].chosen
        assert outcomes[0].scores != outcomes[1].scores


def test_a_search_is_that_of_scikit_learn(noisy: dict[str, Array]) -> None:
    """The search would choose by something else than the mean over its folds, or scale beforehand."""
    asked = ProbeSettings(probe="logistic", folds=3, grid=("C=0.001,0.1,10",))
    probing = prepare(noisy["x"], noisy["style"], "multiclass", noisy["artist"], settings=asked)
    y = noisy["style"].astype(str)
    for split, (train, test) in enumerate(probing.plan.pairs):
        place = {row: index for index, row in enumerate(train)}
        folds = [
            ([place[row] for row in rest], [place[row] for row in held])
            for rest, held in inner(probing.known, train, True, 0)
        ]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        search = GridSearchCV(
            model, {"logisticregression__C": [0.001, 0.1, 10]}, cv=folds, scoring="accuracy"
        ).fit(noisy["x"][train], y[train])
        outcome = probing.test(split)
        best = search.cv_results_["mean_test_score"].max()
        chosen = float(outcome.chosen[""].removeprefix("C = "))
        # Where two are equally good either may be taken.
        place_of = search.cv_results_["param_logisticregression__C"].tolist().index(chosen)
        assert search.cv_results_["mean_test_score"][place_of] == pytest.approx(best)
        model.set_params(logisticregression__C=chosen).fit(noisy["x"][train], y[train])
        expected = accuracy_score(y[test], model.predict(noisy["x"][test]))
        assert outcome.scores["accuracy"].value == pytest.approx(expected)


def test_inner_folds_keep_artists_together(noisy: dict[str, Array]) -> None:
    """A search would choose the constants that know the artist best."""
    known, train = of(noisy), np.arange(0, 120, 2)
    pairs = inner(known, train, True, 0)
    assert len(pairs) == 5
    for rest, held in pairs:
        assert not {*noisy["artist"][rest]} & {*noisy["artist"][held]}
        assert sorted([*rest, *held]) == train.tolist()
    assert inner(known, train[:1], True, 0) == []


def test_the_choices_are_told(noisy: dict[str, Array]) -> None:
    """Nobody would know which constants a number is from."""
    asked = ProbeSettings(probe="knn", folds=4, search=True)
    result = probe(noisy["x"], noisy["style"], "multiclass", noisy["artist"], settings=asked)
    assert "constants searched by accuracy on inner folds" in result.protocol
    assert (
        sum(int(part.split("(")[1].split(")")[0]) for part in result.choices[""].split(", ")) == 4
    )
    assert any(note.startswith("chosen: k = ") for note in result.notes)


def test_valid_rows_are_what_a_given_split_is_searched_on(noisy: dict[str, Array]) -> None:
    """Rows marked as valid would be ignored, or fitted on."""
    asked = ProbeSettings(probe="knn", grid=("k=1,40",))
    train, valid, test = np.arange(60), np.arange(60, 90), np.arange(90, 120)
    y = noisy["style"]
    found = []
    # Valid rows that are copies of train rows are best found by one neighbour.
    for x in (noisy["x"].copy(), noisy["x"].copy()):
        if not found:
            x[valid], y_here = x[train[:30]], y.copy()
            y_here[valid] = y[train[:30]]
        else:
            y_here = y
        probing = prepare(
            x, y_here, "multiclass", settings=asked, pairs=[(train, test)], valid=valid
        )
        outcome = probing.test(0)
        found.append(outcome.chosen[""])
        assert outcome.tested == 30
    assert found == ["k = 1", "k = 40"]
    assert "searched by accuracy on valid rows" in probing.result([outcome]).protocol


def test_a_single_split_has_an_interval(noisy: dict[str, Array]) -> None:
    """The number of a published split would be printed without its uncertainty."""
    for kind, label in (("multiclass", "style"), ("regression", "level")):
        pairs = [(np.arange(60), np.arange(60, 120))]
        result = probe(noisy["x"], noisy[label], kind, noisy["artist"], pairs=pairs)
        assert "given split of 60 train and 60 test rows" in result.protocol
        assert "bootstrap (BCa, 95 %)" in result.protocol
        for found in result.metrics.values():
            assert found.low < found.value < found.high
            assert np.isnan(found.sd)


def test_few_examples_are_nested_and_counted(noisy: dict[str, Array]) -> None:
    """A curve would rise because other examples were drawn, or a class had more of them."""
    known, train = of(noisy), np.arange(100)
    drawn = few(known, train, (1, 3, 10), 0, "repeat 0")
    assert [len(drawn[count][0]) for count in (1, 3, 10)] == [2, 6, 20]
    for count, (rows, short) in drawn.items():
        names = noisy["style"][rows]
        assert (names == "funk").sum() == (names == "soul").sum() == count
        assert set(rows) <= set(train)
        assert not short
    assert {*drawn[1][0]} < {*drawn[3][0]} < {*drawn[10][0]}
    assert few(known, train, (3,), 1, "repeat 0")[3][0].tolist() != drawn[3][0].tolist()
    assert few(known, train, (3,), 0, "repeat 1")[3][0].tolist() != drawn[3][0].tolist()
    # The draw is by the names of the tracks, whatever their order.
    order = np.random.default_rng(1).permutation(120)
    mixed = Labelled(known.rows, known.names[order], None, known.origins[order])  # type: ignore[index]
    place = np.argsort(order)
    again = few(mixed, np.sort(place[train]), (3,), 0, "repeat 0")[3][0]
    assert {*known.origins[drawn[3][0]]} == {*mixed.origins[again]}


def test_few_examples_of_tags_and_numbers() -> None:
    """Tags that come together would be drawn twice, copies of a track counted as examples."""
    tags = np.empty(8, object)
    tags[:] = [["a", "b"], ["a", "b"], ["a"], ["a"], ["b", "c"], ["b"], [], ["a"]]
    origins = np.array(list("ABCDEFGH"), object)
    drawn = few(Labelled(np.arange(8), tags, None, origins), np.arange(8), (1, 2), 0, "")
    for count, (rows, short) in drawn.items():
        have = {tag: sum(tag in tags[row] for row in rows) for tag in "abc"}
        assert have["a"] >= count
        assert have["b"] >= count
        assert have["c"] == 1
        assert short == ({} if count == 1 else {"c": 1})
        assert 6 not in rows
    copies = np.repeat(np.array(["A", "B", "C"], object), 2)
    drawn = few(Labelled(np.arange(6), None, None, copies), np.arange(6), (2, 5), 0, "")
    assert len(drawn[2][0]) == 4
    assert len({*copies[drawn[2][0]]}) == 2
    assert drawn[5][1] == {"rows": 3}


def test_the_curve_rises_and_says_where_it_ends(noisy: dict[str, Array]) -> None:
    """More labels would look useless, or a class without examples be left out silently."""
    asked = ProbeSettings(probe="logistic", repeats=8, test=0.25, shots="2,20,80")
    result = probe(noisy["x"], noisy["style"], "multiclass", noisy["artist"], settings=asked)
    value = {name: found.value for name, found in result.metrics.items()}
    assert value["accuracy@2"] < value["accuracy@20"] < value["accuracy"]
    assert np.isnan(value["accuracy@80"])
    assert "too few in the train part" in result.metrics["accuracy@80"].reason
    assert any("fewer than 80 examples in 8 of 8 train parts" in note for note in result.notes)
    for text in ("0", "a", "1,,2"):
        with pytest.raises(UsageError, match="--shots"):
            probe(noisy["x"], noisy["style"], "multiclass", settings=ProbeSettings(shots=text))


def test_the_digest_is_that_of_the_tested_tracks(noisy: dict[str, Array]) -> None:
    """Runs of other splits would be compared in pairs, or runs of the same ones not."""
    ids = np.array([f"track {i}" for i in range(120)], object)

    def protocol(x: Array, order: Array, **settings: Any) -> str:
        asked = ProbeSettings(probe="ridge", **({"folds": 4} | settings))
        probing = prepare(
            x[order], noisy["style"][order], "multiclass", noisy["artist"][order], ids[order], asked
        )
        return probing.plan.protocol

    every, order = np.arange(120), np.random.default_rng(0).permutation(120)
    first = protocol(noisy["x"], every)
    assert first == protocol(noisy["x"][:, :4] ** 2, order)
    others = [
        protocol(noisy["x"], every, seed=1),
        protocol(noisy["x"], every[:-1]),
        protocol(noisy["x"], every, folds=5),
        protocol(noisy["x"], every, grouped="no"),
    ]
    digests = [text.rpartition(" ")[2] for text in (first, *others)]
    assert len({*digests}) == 5


def test_ordinal_classes_are_ranked_by_size() -> None:
    """Level 10 would be put between 1 and 2, and an error of one step count as one of nine."""
    rng = np.random.default_rng(0)
    level = np.array([1.0, 2.0, 10.0])[np.arange(90) % 3]
    x = (np.arange(90) % 3)[:, None] + 0.2 * rng.normal(size=(90, 2))
    result = probe(x, level, "ordinal", settings=ProbeSettings(probe="logistic", folds=3))
    assert list(result.classes) == ["1", "2", "10"]
    assert result.metrics["accuracy"].value > 0.9
    assert result.metrics["mae"].value < 0.1
    with pytest.raises(UsageError, match="whose order is not known"):
        probe(x, np.array(["low", "high"] * 45, object), "ordinal")


def test_distributions_that_are_none_are_left_out() -> None:
    """Counts instead of shares would end in a traceback."""
    rng = np.random.default_rng(0)
    y = rng.dirichlet(np.ones(3), size=40)
    y[:4] *= 2
    result = probe(y[:, :2], y, "distribution", settings=ProbeSettings(probe="knn", folds=4))
    assert result.n == 36
    assert any("4 rows are negative somewhere" in note for note in result.notes)
    assert result.metrics["kl"].value < 0.2


@pytest.mark.parametrize("name", ["svm", "mlp"])
def test_threads_and_processes_find_the_same(
    noisy: dict[str, Array], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A faster machine would report other numbers; svm runs in threads, mlp in processes."""
    monkeypatch.setattr("mt_tools.evaluate.probe.PATIENCE_SECONDS", 0.0)
    asked = ProbeSettings(probe=name, folds=3)
    probing = prepare(noisy["x"][:, :6], noisy["style"], "multiclass", settings=asked)
    units = [(probing, split) for split in range(3)]
    told: list[int] = []
    one = run(units, 1)
    assert run(units, 2, lambda probing, split, outcome: told.append(split)) == one
    assert told == [0, 1, 2]
    assert [outcome_of(outcome.plain()) for outcome in one] == one


def test_a_checkpoint_keeps_whole_lines(tmp_path: Path, noisy: dict[str, Array]) -> None:
    """A line that a kill cut short would end the resumed run, and another run's be taken for it."""
    asked = ProbeSettings(probe="ridge", folds=3, shots="200")  # some values are NaN
    probing = prepare(noisy["x"], noisy["style"], "multiclass", settings=asked)
    other = dataclasses.replace(probing, settings=dataclasses.replace(asked, C=2.0))
    assert probing.key() != other.key()
    path, outcome = tmp_path / "o.csv.checkpoint", probing.test(0)
    Checkpoint(path).add(probing.key(), 0, outcome.plain())
    with open(path, "a") as file:
        file.write('{"key": "' + probing.key() + '", "split": 1, "fou')
    kept = Checkpoint(path, resume=True)
    found = kept.find(probing.key(), 0)
    assert found is not None
    assert repr(outcome_of(found)) == repr(outcome)
    assert kept.find(probing.key(), 1) is None
    assert kept.find(other.key(), 0) is None
    kept.add(probing.key(), 1, probing.test(1).plain())
    assert len(Checkpoint(path, resume=True)) == 2
    assert len(Checkpoint(path)) == 0
    assert not path.exists()


def test_given_splits_need_rows_on_both_sides(noisy: dict[str, Array]) -> None:
    """A split whose test rows have no label would give an empty result."""
    y = noisy["style"].copy()
    y[60:] = None
    pairs = list(splits.fold_pairs(np.repeat([0, 1], 60)))
    with pytest.raises(UsageError, match="no split has labelled rows"):
        probe(noisy["x"], y, "multiclass", pairs=pairs)


def test_a_class_that_the_train_part_lacks_is_short_of_examples(noisy: dict[str, Array]) -> None:
    """An accuracy with five examples a class would be one of fewer classes, unseen."""
    known = of(noisy)
    train = np.flatnonzero(noisy["style"] == "funk")[:30]
    drawn = few(known, train, (1, 5), 0, "")
    assert [short for _, short in drawn.values()] == [{"soul": 0}, {"soul": 0}]
    pairs = [(train, np.arange(100, 120))]
    asked = ProbeSettings(probe="ridge", shots="5")
    result = probe(noisy["x"], noisy["style"], "multiclass", settings=asked, pairs=pairs)
    assert np.isnan(result.metrics["accuracy@5"].value)
    assert "soul (0)" in result.metrics["accuracy@5"].reason


def test_tracks_without_an_origin_are_examples_of_their_own(noisy: dict[str, Array]) -> None:
    """All tracks whose origin is not known would be drawn together, as copies of one."""
    origins = np.array([f"track {i}" for i in range(120)], object)
    origins[::2] = None
    asked = ProbeSettings(probe="ridge", shots="2", folds=4)
    probing = prepare(noisy["x"], noisy["style"], "multiclass", None, origins, asked)
    assert len({*probing.known.origins}) == 120
    train = probing.plan.pairs[0][0]
    assert len(few(probing.known, train, (2,), 0, "")[2][0]) == 4


def test_an_ordinal_class_that_was_never_trained_has_no_loss(noisy: dict[str, Array]) -> None:
    """Chances of zero would enter the log loss as the smallest number there is."""
    steps = np.where(np.arange(120) < 100, np.arange(120) % 2, 2).astype(float)
    pairs = [(np.arange(60), np.arange(60, 120))]
    asked = ProbeSettings(probe="logistic")
    result = probe(noisy["x"], steps, "ordinal", settings=asked, pairs=pairs)
    assert np.isnan(result.metrics["log_loss"].value)
    assert "no probability" in result.metrics["log_loss"].reason
    assert np.isfinite(result.metrics["mae"].value)


def test_folds_that_are_all_right_are_not_certain(noisy: dict[str, Array]) -> None:
    """A probe that is right in each of few folds would be printed as if it could not be wrong."""
    x = np.where(noisy["style"] == "funk", 5.0, -5.0)[:, None] + noisy["x"] * 0.01
    asked = ProbeSettings(probe="ridge", folds=4)
    result = probe(x, noisy["style"], "multiclass", noisy["artist"], settings=asked)
    found = result.metrics["accuracy"]
    artists = len({*noisy["artist"]})
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / artists))


def test_the_tested_share_is_that_of_the_rows(noisy: dict[str, Array]) -> None:
    """Few large artists would make a test part of another size than the interval is corrected for."""
    large = np.array(["a"] * 60 + ["b"] * 30 + ["c"] * 30, object)
    asked = ProbeSettings(probe="ridge", repeats=3, test=0.1)
    plan = prepare(noisy["x"], noisy["style"], "multiclass", large, None, asked).plan
    assert all(len(test) >= 30 for _, test in plan.pairs)
    assert plan.test_share == pytest.approx(np.mean([len(test) / 120 for _, test in plan.pairs]))

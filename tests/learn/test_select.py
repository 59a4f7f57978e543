"""Feature selection: the columns that matter are found, as scikit-learn and the study say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_selection import (
    SelectKBest,
    VarianceThreshold,
    f_classif,
    f_regression,
    mutual_info_classif,
)
from sklearn.preprocessing import MinMaxScaler

from mt_tools.errors import UsageError
from mt_tools.learn.draws import seed_of
from mt_tools.learn.select import Selection, fit_selection, parse_select
from mt_tools.nets.build import build_multitask
from mt_tools.nets.mlp import Mlp
from mt_tools.nets.select import Select, selecting, set_selection
from mt_tools.tasks.kinds import encode, make_task


def task_of(name: str, kind: str, values: np.ndarray) -> tuple[dict[str, Any], Any]:
    """Return a task whose rows are all training rows, and its targets and mask."""
    task = make_task(name, kind, values, np.ones(len(values), dtype=bool))
    return task, encode(task, values)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, dict[str, Any]]:
    """Return 90 rows of 12 columns: 2 tells the class, 5 the number, 7 the tag; 9 repeats 2."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 12))
    classes = rng.integers(3, size=90)
    x[:, 2] = classes + 0.3 * rng.normal(size=90)
    number = rng.normal(size=90)
    x[:, 5] = -number + 0.3 * rng.normal(size=90)
    tagged = rng.random(90) < 0.4
    x[:, 7] = tagged + 0.3 * rng.normal(size=90)
    x[:, 9] = -2 * x[:, 2] + 0.01 * rng.normal(size=90)
    tags = np.empty(90, dtype=object)
    tags[:] = [["a"] * bool(on) + ["b"] * bool(c) for on, c in zip(tagged, classes, strict=True)]
    tasks = {
        "genre": task_of("genre", "multiclass", np.array(list("abc"), object)[classes]),
        "energy": task_of("energy", "regression", number),
        "mood": task_of("mood", "multilabel", tags),
        "level": task_of("level", "ordinal", np.digitize(number, [-0.5, 0.5]).astype(float)),
    }
    return x.astype(np.float32), tasks


def select(
    x: np.ndarray, tasks: dict[str, Any], names: list[str], methods: str, **options: Any
) -> Selection:
    """Select for some of the tasks."""
    targets = {name: tasks[name][1] for name in names}
    return fit_selection(x, targets, [tasks[name][0] for name in names], methods, **options)


def test_near_constant_columns_go_whatever_their_unit() -> None:
    """An embedding of length 1 would lose all its columns, as their variances are small."""
    rng = np.random.default_rng(1)
    x = rng.random((200, 6)) * [1e-6, 1.0, 1e6, 1.0, 1.0, 1.0] + 5
    x[:, 3] = 7.0
    x[:, 4] = 0.0
    x[0, 4] = 1.0  # one row in 200 differs: a variance of 0.005
    x[:, 5] = 0.0
    x[:4, 5] = 1.0  # four rows do: 0.0196
    task, targets = task_of("t", "regression", rng.random(200))
    got = fit_selection(x, {"t": targets}, [task], "variance")
    expected = VarianceThreshold(0.01).fit(MinMaxScaler().fit_transform(x)).get_support()
    np.testing.assert_array_equal(got.kept, np.flatnonzero(expected))
    assert got.kept.tolist() == [0, 1, 2, 5]
    assert got.notes == ["t: of 6 columns, variance 4"]


def test_of_correlated_columns_the_first_stays() -> None:
    """A repeated column would stay, or a chain of neighbours be thinned out to nothing."""
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(500, 5))
    noise, _ = np.linalg.qr(noise - noise.mean(axis=0))  # correlations of exactly zero
    chain = [noise[:, 0]]
    for one in noise.T[1:]:  # neighbours correlate by 0.85, the next but one by 0.85**2 = 0.72
        chain.append(0.85 * chain[-1] + np.sqrt(1 - 0.85**2) * one)
    x = np.stack([*chain, -3 * chain[0], np.full(500, 2.0)], axis=1)
    task, targets = task_of("t", "regression", rng.random(500))
    got = fit_selection(x, {"t": targets}, [task], "correlation")
    # 1 goes by 0, 3 by 2, 5 is 0 reversed; a constant correlates with nothing.
    assert got.kept.tolist() == [0, 2, 4, 6]


def test_f_and_mutual_information_are_those_of_scikit_learn(data: Any) -> None:
    """A study's best forty features would be other ones."""
    x, tasks = data
    wide = x.astype(np.float64)
    for name, measure in (("genre", f_classif), ("energy", f_regression), ("level", f_regression)):
        targets = tasks[name][1][0]
        expected = SelectKBest(measure, k=4).fit(wide, targets).get_support()
        np.testing.assert_array_equal(
            select(x, tasks, [name], "f:4").kept, np.flatnonzero(expected)
        )
    strength = mutual_info_classif(
        wide, tasks["genre"][1][0], random_state=seed_of(3, "select", "genre", 0) % 2**32
    )
    got = select(x, tasks, ["genre"], "mi:4", seed=3).kept
    np.testing.assert_array_equal(got, np.sort(np.argsort(-strength)[:4]))
    assert {2, 9} <= set(got.tolist())
    assert 5 in select(x, tasks, ["energy"], "mi:2").kept


def test_tags_have_their_own_best_columns(data: Any) -> None:
    """DJ's "best 16 for each label" would be the best 16 of one label."""
    x, tasks = data
    truth = tasks["mood"][1][0]
    expected = set()
    for tag in range(2):
        found = SelectKBest(f_classif, k=2).fit(x.astype(np.float64), truth[:, tag])
        expected |= set(np.flatnonzero(found.get_support()).tolist())
    assert set(select(x, tasks, ["mood"], "f:2").kept.tolist()) == expected
    assert len(expected) > 2


def test_elimination_keeps_what_tells_the_labels_apart(data: Any) -> None:
    """RFECV would throw out the one useful column, or keep every useless one."""
    x, tasks = data
    for name, column in (("genre", 2), ("energy", 5), ("mood", 7), ("level", 5)):
        kept = select(x, tasks, [name], "correlation,rfecv").kept
        assert column in kept
        assert len(kept) <= 6, name
    # The unit of a column has no say.
    other = x * 10.0 ** np.random.default_rng(1).uniform(-3, 3, size=12) + 5
    for name in ("genre", "energy"):
        np.testing.assert_array_equal(
            select(x, tasks, [name], "rfecv").kept, select(other, tasks, [name], "rfecv").kept
        )


def test_folds_keep_groups_together() -> None:
    """Copies of a track in both halves would reward whatever tells the tracks apart."""
    rng = np.random.default_rng(5)
    tracks = np.repeat(np.arange(60), 4)
    classes = rng.integers(2, size=60)
    # Column 0 is right about four tracks in five, the others tell tracks apart and nothing else.
    told = np.where(rng.random(60) < 0.8, classes, 1 - classes)
    x = np.concatenate([3.0 * told[:, None], rng.normal(size=(60, 40))], axis=1)[tracks]
    x += 0.01 * rng.normal(size=x.shape)
    names = np.array(["a", "b"], object)[classes[tracks]]
    task, targets = task_of("t", "multiclass", names)
    alone, together = (
        fit_selection(x, {"t": targets}, [task], "rfecv", groups=groups).kept
        for groups in (None, tracks)
    )
    assert len(alone) > 20
    assert 0 in together
    assert len(together) < 5


def test_steps_are_taken_in_order_and_only_on_labelled_rows(data: Any) -> None:
    """Table 5.8's chain would be another one, or gaps of one task take part in its choice."""
    x, tasks = data
    task, (targets, _) = tasks["genre"]
    mask = np.arange(90) < 60
    garbage = np.where(mask, targets, 0)
    got = fit_selection(x, {"genre": (garbage, mask)}, [task], "variance,correlation,f:50%")
    inner = fit_selection(
        x[:60], {"genre": (targets[:60], mask[:60])}, [task], "f:50%"
    )  # of 12 columns, 9 among them
    assert got.notes == ["genre: of 12 columns, variance 12, correlation 11, f:50% 6"]
    assert len(inner.kept) == 6
    assert 9 in inner.kept
    assert 9 not in got.kept
    expected = SelectKBest(f_classif, k=6).fit(np.delete(x[:60], 9, axis=1), targets[:60])
    columns = np.delete(np.arange(12), 9)[expected.get_support()]
    np.testing.assert_array_equal(got.kept, columns)


def test_several_tasks_keep_their_union(data: Any) -> None:
    """The head of one task would lose the columns that it asked for."""
    x, tasks = data
    got = select(x, tasks, ["genre", "energy"], "f:1")
    assert len(got.by_task["genre"]) == 1
    assert got.by_task["energy"].tolist() == [5]
    np.testing.assert_array_equal(got.kept, sorted({*got.by_task["genre"].tolist(), 5}))
    assert got.notes[-1] == "2 columns in all"
    # A task of pairs has no targets: it keeps what the rest of the steps leave.
    pair = task_of("origin", "same-track", np.array([f"t{i}" for i in range(90)], object))
    both = select(x, tasks | {"origin": pair}, ["genre", "origin"], "correlation,f:1")
    assert len(both.by_task["origin"]) == 11


def test_shares_by_part_of_the_vector() -> None:
    """Which part of a track tells something (60, 40 and 0 % for DJ's intros) would be wrong."""
    kept = np.array([0, 1, 3, 4, 7])
    made = Selection(kept, {"intro": kept}, [])
    assert made.shares(12, 3) == {"intro": [0.6, 0.4, 0.0]}
    assert json.loads(json.dumps(made.shares(12, 3))) == made.shares(12, 3)
    with pytest.raises(ValueError, match="multiple of 5 parts"):
        made.shares(12, 5)


@pytest.mark.parametrize(
    "text", ["", "f", "f:0", "mi:-1", "mi:120%", "variance:3", "pca", "f:4,", "rfecv:2", "f:1.5"]
)
def test_steps_that_are_none(text: str) -> None:
    """A mistyped step would be left out without a word."""
    with pytest.raises(UsageError, match="expected variance, correlation, rfecv, f:K or mi:K"):
        parse_select(text)


def test_nothing_left_is_refused(data: Any) -> None:
    """A network without inputs would be trained."""
    x, tasks = data
    with pytest.raises(UsageError, match="variance leaves none of 3 columns"):
        select(np.ones((90, 3)), tasks, ["genre"], "variance")
    with pytest.raises(UsageError, match="of one group"):
        select(x, tasks, ["genre"], "rfecv", groups=np.zeros(90))


def test_a_network_reads_its_columns_alone() -> None:
    """The finished model would read other columns than it learned from, or want them cut out."""
    body = selecting(Mlp((3,), hidden=(4,), dropout=0.0), 3)
    assert [name for name, _ in body.layers.named_children()] == ["select", "input", "dense1"]
    assert body.split(1) == (["select", "input", "dense1"], [])
    x = torch.randn(5, 8)
    set_selection(body, np.array([6, 0, 7]))
    torch.testing.assert_close(body(x), body.layers[1:](x[:, [6, 0, 7]]))
    other = x.clone()
    other[:, 1:6] = torch.nan
    assert torch.equal(body(x), body(other))
    assert "layers.select.columns" in body.state_dict()
    with pytest.raises(ValueError, match="got 2 columns, the network reads 3"):
        set_selection(body, [0, 1])
    net = build_multitask("mlp", {}, (8,), {"t": 2})
    set_selection(net, [1, 2])  # nothing to set
    assert not any(isinstance(module, Select) for module in net.modules())

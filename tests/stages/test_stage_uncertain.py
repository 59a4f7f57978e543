"""mt-tag --uncertain: which tracks to label next, on planted data and in a real labelling loop."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from mt_tools.errors import UsageError
from mt_tools.evaluate.uncertainty import (
    class_margins,
    combined,
    farthest_first,
    least_certain,
    tag_margins,
    unit_rows,
)
from mt_tools.nets.body import Head
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model
from mt_tools.stages import tag, uncertain
from mt_tools.stages.settings import TagSettings
from mt_tools.stages.taggers import Scores, Tagger
from mt_tools.tables.batch import Batch
from mt_tools.tasks.kinds import head as task_head
from mt_tools.tasks.kinds import make_task


def linear(weights: np.ndarray, *values: tuple[str, str, Any]) -> Model:
    """Return a model whose logits are `weights` [outputs, d] times its input."""
    tasks = [
        make_task(name, kind, np.array(v, dtype=object if kind != "regression" else float),
                  np.ones(len(v), bool))
        for name, kind, v in values
    ]  # fmt: skip
    heads = {task["name"]: Head(**task_head(task)) for task in tasks}
    net = build_multitask("mlp", {"hidden": []}, (weights.shape[1],), heads, seed=0)
    first = 0
    for task in tasks:
        layer = net.head(task["name"])
        count = layer.weight.shape[0]
        layer.weight.data[...] = torch.from_numpy(weights[first : first + count])
        layer.bias.data.zero_()
        first += count
    net.eval()
    source = {"kind": "embedding", "settings": {}, "width": weights.shape[1]}
    return Model.create(
        net, name="lines", arch="mlp", parameters={"hidden": []}, input=source, tasks=tasks
    )


STYLE = ("style", "multiclass", ["a", "b"])


def asked(batches: Sequence[Batch], model: Model, count: int) -> Batch:
    """Return the rows to label next."""
    settings = TagSettings(model=("m",), uncertain=count)
    models = tag.taggers(settings, lambda name: model, lambda note: None)
    way = tag.Way(vectors=True)

    def fail(row: dict[str, Any], error: Exception) -> None:
        pytest.fail(f"{row['id']}: {error}")

    pairs = tag.infer(iter(batches), batches[0].columns, models, way, fail)
    (found,) = uncertain.run(pairs, models, settings)
    return found


def test_a_class_boundary_is_found(make_batch: Any) -> None:
    """Rows that the model is sure of would waste the evening of whoever labels them."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 2)).astype(np.float32) * np.float32([4.0, 1.0])
    model = linear(np.float32([[1, 0], [-1, 0]]), STYLE)  # the border is at x = 0
    batches = [
        make_batch(id=[f"r{i}" for i in range(n, n + 300)], embedding=vectors[n : n + 300])
        for n in range(0, 3000, 300)
    ]
    found = asked(batches, model, 20)
    assert len(found) == 20
    assert found["rank"].tolist() == list(range(1, 21))
    places = [int(id_[1:]) for id_ in found.ids]
    closest = np.argsort(np.abs(vectors[:, 0]), kind="stable")
    assert places[0] == closest[0]  # the least certain of all comes first
    assert set(places) <= set(closest[: uncertain.POOL * 20].tolist())
    chance = 1 / (1 + np.exp(-2 * np.abs(vectors[places, 0].astype(float))))
    np.testing.assert_allclose(found["margin"], 2 * chance - 1, atol=1e-6)
    assert {"style_pred", "style_score"} <= set(found.names)


def test_what_is_labelled_is_not_asked_for(make_batch: Any) -> None:
    """Somebody who tags by hand would be sent to tracks that are tagged already."""
    vectors = np.float32([[0.1, 0], [0.2, 0], [-0.1, 0], [3, 0], [-3, 0]])
    styles = np.array(["a", None, "b", None, None], dtype=object)
    model = linear(np.float32([[1, 0], [-1, 0]]), STYLE)
    found = asked([make_batch(embedding=vectors, style=styles)], model, 2)
    assert found.ids[0] == "t1"
    assert set(found.ids) <= {"t1", "t3", "t4"}
    everything = asked([make_batch(embedding=vectors, style=np.array(["a"] * 5, object))], model, 2)
    assert len(everything) == 0
    assert {"style_pred", "margin", "rank"} <= set(everything.names)


def test_near_duplicates_are_not_all_chosen(make_batch: Any) -> None:
    """Twenty edits of one song at the border would be asked for, one after another."""
    rng = np.random.default_rng(1)
    angles = np.repeat(np.linspace(0.3, 2.8, 8), 10)  # eight songs, ten copies of each
    copies = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 4
    near = np.concatenate([rng.normal(scale=1e-3, size=(80, 1)), copies], axis=1)
    far = np.concatenate([np.full((200, 1), 5.0), rng.normal(size=(200, 2))], axis=1)
    vectors = np.concatenate([far, near]).astype(np.float32)
    model = linear(np.float32([[1, 0, 0], [-1, 0, 0]]), STYLE)
    found = asked([make_batch(embedding=vectors)], model, 8)
    songs = {(int(id_[1:]) - 200) // 10 for id_ in found.ids}
    assert songs == set(range(8))


def test_margins_of_each_kind() -> None:
    """A margin must be 0 where nothing is decided and 1 where nothing is in doubt."""
    scores = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.7, 0.1]])
    np.testing.assert_allclose(class_margins(scores), [0, 1, 0.5])
    assert np.isnan(class_margins([[np.nan, 0.5]])).all()
    tags = np.array([[0.1, 0.9], [0.5, 1.0], [1.0, 0.0]])
    np.testing.assert_allclose(tag_margins(tags), [0.8, 0, 1])
    # At 0.2 the first tag is half the way from the threshold to 0; the second is out of reach.
    np.testing.assert_allclose(tag_margins(tags, [0.2, None]), [0.5, 0.375, 1])
    np.testing.assert_allclose(tag_margins(tags, [0.0, 1.0]), [0.1, 0, 1])
    np.testing.assert_allclose(tag_margins(tags, [None, None]), [1, 1, 1])
    np.testing.assert_allclose(combined([np.array([0.2, 1]), np.array([0.4, np.nan])])[0], 0.3)
    assert least_certain([0.3, np.nan, 0.1, 0.3, 0.0], 4).tolist() == [4, 2, 0, 3]


def test_farthest_first_is_within_twice_the_best_cover() -> None:
    """Gonzalez's bound: another traversal would leave whole corners of a library unlabelled."""
    rng = np.random.default_rng(2)
    points = rng.normal(size=(12, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    for count in (2, 3, 4):
        chosen = farthest_first(points, count)
        assert len(set(chosen.tolist())) == count
        best = min(
            distances[:, list(centres)].min(axis=1).max()
            for centres in combinations(range(12), count)
        )
        assert distances[:, chosen].min(axis=1).max() <= 2 * best + 1e-12
    assert sorted(farthest_first(np.zeros((3, 2)), 5).tolist()) == [0, 1, 2]
    assert unit_rows([[3.0, 4.0], [0.0, 0.0]]).tolist() == [[0.6, 0.8], [0.0, 0.0]]


def test_margins_of_several_tasks_are_averaged(make_batch: Any) -> None:
    """A track that is doubtful in all tasks teaches more than one doubtful in a single task."""
    tags: Any = [["x"], ["y"], ["x", "y"], []]
    weights = np.zeros((5, 3), np.float32)
    weights[0, 0], weights[1, 0] = 1, -1
    weights[2, 1] = weights[3, 2] = 1
    model = linear(weights, STYLE, ("tags", "multilabel", tags), ("bpm", "regression", [1.0, 2.0]))
    vectors = np.float32([[0, 9, 9], [0, 0, 9], [9, 9, 9]])
    found = asked([make_batch(embedding=vectors)], model, 3)
    margins = dict(zip(found.ids, found["margin"], strict=True))
    assert margins["t1"] == pytest.approx(0, abs=1e-6)
    assert margins["t0"] == pytest.approx((0 + np.tanh(4.5)) / 2, abs=1e-6)
    assert margins["t2"] == pytest.approx(1, abs=1e-3)
    numbers = linear(np.ones((1, 3), np.float32), ("bpm", "regression", [1.0, 2.0]))
    with pytest.raises(UsageError, match="lines says numbers only"):
        asked([make_batch(embedding=vectors)], numbers, 3)
    with pytest.raises(UsageError, match="a column 'margin' already"):
        asked([make_batch(embedding=vectors, margin=[1.0, 2.0, 3.0])], model, 3)


def chosen(make_batch: Any, task: dict[str, Any], rows: Sequence[tuple[float, Any]]) -> Batch:
    """Return two of the rows "a", "b", ...: each the score of a tag, and an embedding."""
    pairs = [
        {"tags": np.float32([score]), "embedding": np.float32(vector)} for score, vector in rows
    ]
    model = linear(np.eye(1, 2, dtype=np.float32), ("tags", "multilabel", [["x"], []]))
    models = [Tagger("", model, [model.tasks[0] | task])]
    batch = make_batch(id=list("abc"[: len(rows)]))
    (found,) = uncertain.run([(batch, pairs)], models, TagSettings(uncertain=2))
    return found


def test_margins_are_those_of_the_scores_and_thresholds_that_are_shown(make_batch: Any) -> None:
    """A track right at the threshold of its tag would count as certain."""
    map_ = {"method": "temperature", "temperature": 0.5}  # odds are squared: 3 to 1 becomes 9 to 1
    task = {"thresholds": [0.9], "calibration": map_}
    found = chosen(make_batch, task, [(0.5, [1, 0]), (0.75, [1, 0])])
    assert found.ids.tolist() == ["b", "a"]
    np.testing.assert_allclose(found["margin"], [0.0, 0.4 / 0.9], atol=1e-6)


def test_rows_differ_by_the_direction_of_their_embeddings(make_batch: Any) -> None:
    """Loud and quiet copies of one song would be taken for unlike each other."""
    found = chosen(make_batch, {}, [(0.5, [1, 0]), (0.51, [9, 0]), (0.52, [0, 1])])
    assert found.ids.tolist() == ["a", "c"]


def test_the_order_of_batches_does_not_matter_and_memory_is_bounded(make_batch: Any) -> None:
    """The rows would depend on how a library is read, or all of it would be held."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(5000, 4)).astype(np.float32)
    model = linear(np.eye(2, 4, dtype=np.float32), STYLE)
    models = [Tagger("", model, model.tasks)]
    settings = TagSettings(uncertain=5)
    known: list[weakref.ref[np.ndarray]] = []

    def pairs(size: int) -> Iterator[tuple[Batch, list[Scores]]]:
        for first in range(0, 5000, size):
            part = vectors[first : first + size]
            held = sum(reference() is not None for reference in known)
            assert held <= 5 * uncertain.POOL + size  # what is chosen of, and the last batch
            power = np.exp(part[:, :2])
            shares = power / power.sum(axis=1, keepdims=True)
            found = [{"style": s, "embedding": v.copy()} for s, v in zip(shares, part, strict=True)]
            known.extend(weakref.ref(one["embedding"]) for one in found)
            yield make_batch(id=[f"r{i}" for i in range(first, first + len(part))]), found

    (one,) = uncertain.run(pairs(5000), models, settings)
    known.clear()
    (other,) = uncertain.run(pairs(500), models, settings)
    assert one.ids.tolist() == other.ids.tolist()
    assert one["margin"].tolist() == other["margin"].tolist()


def test_labelling_what_is_uncertain_learns_faster_than_labelling_at_random() -> None:
    """The whole point: fewer evenings of labelling for the same accuracy.

    Handwritten digits (scikit-learn), a logistic regression, 20 labels to begin with and 8 rounds
    of 20 more: rows chosen as `--uncertain 20` chooses them, or at random. The mean accuracy on
    rows that are never labelled, over 3 draws of the beginning.
    """
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    x = x / 16

    def accuracies(way: str, seed: int) -> list[float]:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(x))
        test, pool = order[:500], order[500:]
        known, rest = list(pool[:20]), list(pool[20:])
        found = []
        for _ in range(8):
            model = LogisticRegression(C=10.0, max_iter=300).fit(x[known], y[known])
            found.append(float(model.score(x[test], y[test])))
            if way == "random":
                new = rng.permutation(rest)[:20]
            else:
                margins = class_margins(model.predict_proba(x[rest]))
                near = least_certain(margins, 20 * uncertain.POOL)
                chosen = farthest_first(unit_rows(x[rest][near]), 20)
                new = np.array(rest)[near[chosen]]
            known += new.tolist()
            rest = [i for i in rest if i not in set(new.tolist())]
        return found

    curves = {
        way: np.mean([accuracies(way, seed) for seed in range(3)], axis=0)
        for way in ("random", "uncertain")
    }
    assert curves["uncertain"][-1] > curves["random"][-1]
    assert curves["uncertain"][3:].mean() > curves["random"][3:].mean() + 0.01

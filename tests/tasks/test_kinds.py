"""Kinds of task: labels to targets, logits to scores and tags, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_tools.errors import UsageError
from mt_tools.tasks.kinds import (
    KINDS,
    Kind,
    decide,
    encode,
    labelled,
    make_task,
    outputs,
    parse_task,
    scores,
    unusable,
)
from mt_tools.tasks.losses import LOSSES


def column(*values: object) -> np.ndarray:
    """Make a label column of objects."""
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def everything(values: np.ndarray) -> np.ndarray:
    """Mark all rows as training rows."""
    return np.ones(len(values), dtype=bool)


class TestMakeTask:
    """Kind, vocabulary and scale of a column."""

    def test_every_kind_has_a_loss(self) -> None:
        """A kind could be asked for, and training would fail for want of its loss."""
        assert KINDS.keys() == LOSSES.keys()
        assert all(isinstance(kind, Kind) for kind in KINDS.values())

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (column("rock", "jazz", None), "multiclass"),
            (np.array(["rock", "jazz"]), "multiclass"),
            (np.array([True, False]), "multiclass"),
            (column(True, None, False), "multiclass"),
            (column(["rock"], [], None), "multilabel"),
            (column(np.array(["rock"], dtype=object), None), "multilabel"),
            (np.array([1.0, np.nan, 2.0]), "regression"),
            (np.array([1, 2]), "regression"),
        ],
    )
    def test_kind_follows_the_column(self, values: np.ndarray, kind: str) -> None:
        """`--task genre` would train the wrong kind of head."""
        assert make_task("label", None, values, everything(values))["kind"] == kind

    def test_vocabulary_is_of_the_training_rows_by_code_point(self) -> None:
        """The order of outputs would depend on row order, or test labels would leak into it."""
        values = column("ähm", "b", "B", "a", "only in test", None)
        task = make_task("genre", None, values, np.array([1, 1, 1, 1, 0, 1], dtype=bool))
        assert task["vocabulary"] == ["B", "a", "b", "ähm"]
        assert outputs(task) == 4

    def test_booleans_are_the_classes_false_and_true(self) -> None:
        """A boolean column could not be stored in the model's JSON vocabulary."""
        values = np.array([True, False])
        task = make_task("vocal", None, values, everything(values))
        assert task["vocabulary"] == ["false", "true"]
        np.testing.assert_array_equal(encode(task, values)[0], [1, 0])

    def test_scale_is_of_the_training_rows(self) -> None:
        """Targets would be standardised with the test rows in hand."""
        values = np.array([1.0, 3.0, np.nan, 100.0])
        task = make_task("energy", None, values, np.array([1, 1, 1, 0], dtype=bool))
        assert (task["mean"], task["std"]) == (2.0, 1.0)
        assert outputs(task) == 1

    def test_a_task_is_json(self) -> None:
        """The task could not be written into the model file."""
        for values in (column("a", "b"), column(["a"], []), np.array([1.0, 2.0], np.float32)):
            task = make_task("t", None, values, everything(values), weight=2)
            assert json.loads(json.dumps(task)) == task
            assert sorted(task) == sorted(
                ["name", "kind", "vocabulary", "thresholds", "mean", "std", "weight"]
            )

    @pytest.mark.parametrize(
        ("kind", "values", "message"),
        [
            (None, column(None, None), "all 2 rows are unlabelled"),
            (None, np.array([np.nan, np.nan]), "all 2 rows are unlabelled"),
            ("multiclass", column("rock", "rock", None), "one class, 'rock'"),
            ("multiclass", column(["a", "b"], []), "exactly one item"),
            ("multiclass", np.array([1.0, 2.0]), "holds numbers, multiclass needs strings"),
            ("multilabel", column("a", "b"), "holds strings, multilabel needs lists"),
            ("multilabel", column([], []), "are empty"),
            ("regression", column("a", "b"), "ask for multiclass"),
            ("regression", np.array([0.1, 0.1, 0.1]), "std is zero"),
            ("regression", np.array([0.1, np.inf]), "infinite"),
            ("ordinal!", column("a", "b"), "expected one of multiclass"),
            (None, column("a", ["b"]), "is no label"),
            (None, column([0.1, 0.9], [0.5, 0.5]), "is no label"),
            (None, np.zeros((2, 3)), "is no label"),
        ],
    )
    def test_what_cannot_be_learned_is_refused(
        self, kind: str | None, values: np.ndarray, message: str
    ) -> None:
        """A run would train for an hour on a column that holds nothing to learn."""
        with pytest.raises(UsageError, match=message):
            make_task("label", kind, values, everything(values))

    def test_labels_outside_of_train_do_not_count(self) -> None:
        """A task labelled only in test would be accepted, and train on nothing."""
        values = column("a", "b", None)
        with pytest.raises(UsageError, match="none of the 1 training rows is labelled"):
            make_task("genre", None, values, np.array([0, 0, 1], dtype=bool))


class TestEncode:
    """Targets and masks."""

    def test_multiclass(self) -> None:
        """A class would be learned under another one's index."""
        values = column("b", None, "a", float("nan"))
        task = make_task("genre", None, values, everything(values))
        targets, mask = encode(task, values)
        np.testing.assert_array_equal(targets, [1, 0, 0, 0])
        np.testing.assert_array_equal(mask, [True, False, True, False])
        assert targets.dtype == np.int64
        assert unusable(task, values) == 0

    def test_unknown_classes_are_masked_and_counted(self) -> None:
        """A class met first in validation would be scored as some other class."""
        task = make_task("genre", None, column("a", "b"), np.ones(2, dtype=bool))
        later = column("c", "a", None)
        np.testing.assert_array_equal(encode(task, later)[1], [False, True, False])
        assert unusable(task, later) == 1

    def test_multiclass_of_lists_takes_one_item(self) -> None:
        """`genre:multiclass` would fail on embedded tags, or choose among several genres."""
        values = column(["a"], ["a", "b"], [], None, ["b", None], ["a", "a"])
        task = make_task("genre", "multiclass", values, everything(values))
        targets, mask = encode(task, values)
        np.testing.assert_array_equal(mask, [True, False, False, False, True, True])
        np.testing.assert_array_equal(targets[mask], [0, 1, 0])
        assert unusable(task, values) == 2

    def test_multilabel_tells_none_applies_from_unlabelled(self) -> None:
        """An empty list would be lost as a negative example, or a null would become one."""
        values = column(["b", "a"], [], None, ["b", "unknown"])
        task = make_task("mood", None, values, np.array([1, 1, 1, 0], dtype=bool))
        targets, mask = encode(task, values)
        np.testing.assert_array_equal(targets, [[1, 1], [0, 0], [0, 0], [0, 1]])
        np.testing.assert_array_equal(mask, [True, True, False, True])
        assert targets.dtype == np.float32

    def test_regression_is_standardised(self) -> None:
        """A loudness in dB would drown the other losses."""
        values = np.array([1.0, 3.0, np.nan, np.inf])
        task = make_task("energy", None, values, np.array([1, 1, 0, 0], dtype=bool))
        targets, mask = encode(task, values)
        np.testing.assert_array_equal(targets, np.array([-1, 1, 0, 0], dtype=np.float32))
        np.testing.assert_array_equal(mask, [True, True, False, False])
        assert targets.dtype == np.float32
        assert unusable(task, values) == 1

    def test_a_column_of_another_type_is_refused(self) -> None:
        """A model would be scored against a column of the same name that means something else."""
        task = make_task("energy", None, np.array([1.0, 2.0]), np.ones(2, dtype=bool))
        with pytest.raises(UsageError, match="holds strings, regression needs numbers"):
            encode(task, column("low", "high"))

    def test_an_all_null_column_is_masked_whatever_its_type(self) -> None:
        """A validation part without labels would stop the run."""
        task = make_task("genre", None, column("a", "b"), np.ones(2, dtype=bool))
        assert not encode(task, np.array([np.nan, np.nan]))[1].any()
        task = make_task("energy", None, np.array([1.0, 2.0]), np.ones(2, dtype=bool))
        assert not encode(task, column(None, None))[1].any()


class TestScores:
    """Logits in the task's own terms."""

    logits = np.array([[-1000.0, 0.0, 3.5], [80.0, -80.0, 0.1], [0.0, 0.0, 0.0]])

    def test_softmax(self) -> None:
        """Class scores would not be probabilities, or overflow."""
        values = column("a", "b", "c")
        got = scores(make_task("t", None, values, everything(values)), self.logits)
        np.testing.assert_allclose(got, scipy.special.softmax(self.logits, axis=1), atol=1e-7)

    def test_sigmoid(self) -> None:
        """Tag scores would not be probabilities, or overflow."""
        values = column(["a", "b", "c"])
        got = scores(make_task("t", None, values, everything(values)), self.logits)
        np.testing.assert_allclose(got, scipy.special.expit(self.logits), rtol=1e-6)

    def test_regression_is_back_in_original_units(self) -> None:
        """A tempo would be printed as a standard score."""
        values = np.array([100.0, 140.0, np.nan])
        task = make_task("bpm", None, values, everything(values))
        got = scores(task, encode(task, values)[0][:2, None])
        np.testing.assert_allclose(got, [100.0, 140.0], rtol=1e-6)

    def test_logits_of_another_width_are_refused(self) -> None:
        """A head of another vocabulary would name the wrong classes without a word."""
        values = column("a", "b")
        with pytest.raises(ValueError, match=r"expected \[n, 2\]"):
            scores(make_task("t", None, values, everything(values)), self.logits)


class TestDecide:
    """Scores to predictions."""

    def test_multiclass_takes_the_best_and_the_first_of_equals(self) -> None:
        """Equal scores would be settled by chance, and two runs would differ."""
        values = column("a", "b", "c")
        task = make_task("t", None, values, everything(values))
        got = decide(task, np.array([[0.2, 0.4, 0.4], [0.1, 0.1, 0.8], [np.nan, 0.1, 0.8]]))
        assert got.tolist() == ["b", "c", None]

    def test_multilabel_at_or_above_thresholds_best_first(self) -> None:
        """Calibrated thresholds would be ignored."""
        values = column(["a", "b", "c"])
        task = make_task("t", None, values, everything(values))
        task["thresholds"] = [0.5, 0.2, 0.9]
        given_scores = np.array([[0.5, 0.6, 0.8], [0.4, 0.1, 0.8], [0.9, 0.9, 0.95]])
        assert decide(task, given_scores).tolist() == [["b", "a"], [], ["c", "a", "b"]]
        assert decide(task, given_scores, top=1).tolist() == [["b"], [], ["c"]]

    def test_multilabel_without_thresholds_takes_the_top(self) -> None:
        """An uncalibrated model would give no tags, or all fifty."""
        values = column(list("abcdefg"))
        task = make_task("t", None, values, everything(values))
        given_scores = np.array([[0.1, 0.3, 0.3, 0.2, 0.3, 0.0, 0.05]])
        assert decide(task, given_scores).tolist() == [["b", "c", "e", "d", "a"]]
        assert decide(task, given_scores, top=2).tolist() == [["b", "c"]]
        assert decide(task, np.full((1, 7), np.nan)).tolist() == [None]

    def test_no_rows(self) -> None:
        """An empty batch would stop a stream."""
        for values in (column("a", "b"), column(["a", "b"]), np.array([1.0, 2.0])):
            task = make_task("t", None, values, everything(values))
            empty = scores(task, np.zeros((0, outputs(task))))
            assert len(decide(task, empty)) == 0
            assert len(encode(task, values[:0])[1]) == 0


tags = st.text(max_size=3)


@settings(deadline=None)
@given(st.lists(st.none() | tags, min_size=2).filter(lambda v: len(set(v) - {None}) > 1))
def test_multiclass_round_trip(values: list[str | None]) -> None:
    """A perfect model would not return the labels it learned."""
    labels = column(*values)
    task = make_task("t", None, labels, everything(labels))
    targets, mask = encode(task, labels)
    perfect = scores(task, np.where(np.eye(outputs(task))[targets] > 0, 9.0, -9.0))
    predicted = decide(task, perfect)
    assert np.array_equal(mask, labelled(labels))
    assert predicted[mask].tolist() == labels[mask].tolist()


@settings(deadline=None)
@given(st.lists(st.none() | st.lists(tags, max_size=4), min_size=1).filter(lambda v: any(v)))
def test_multilabel_round_trip(values: list[list[str] | None]) -> None:
    """A perfect model would not return the tags it learned."""
    labels = column(*values)
    task = make_task("t", None, labels, everything(labels))
    task["thresholds"] = [0.5] * outputs(task)
    targets, mask = encode(task, labels)
    predicted = decide(task, scores(task, np.where(targets > 0, 9.0, -9.0)))
    for row in np.flatnonzero(mask):
        assert predicted[row] == sorted(set(labels[row]))
    assert not targets[~mask].any()


@settings(deadline=None)
@given(
    st.lists(st.none() | st.floats(-1e6, 1e6, width=32), min_size=2).filter(
        lambda v: np.ptp([x for x in v if x is not None] or [0.0]) > 1e-3
    )
)
def test_regression_round_trip(values: list[float | None]) -> None:
    """A perfect model would not return the numbers it learned."""
    labels = np.array([np.nan if value is None else value for value in values])
    task = make_task("t", None, labels, everything(labels))
    targets, mask = encode(task, labels)
    predicted = decide(task, scores(task, targets[:, None]))
    # float32 targets: 24 bits of the largest distance from the mean.
    tolerance = 1e-6 * np.abs(labels[mask] - task["mean"]).max() + 1e-9
    np.testing.assert_allclose(predicted[mask], labels[mask], atol=tolerance)


class TestParseTask:
    """`--task COLUMN[:kind][:weight]`."""

    @pytest.mark.parametrize(
        ("text", "parsed"),
        [
            ("genre", ("genre", None, 1.0)),
            ("main-genre.v2", ("main-genre.v2", None, 1.0)),
            ("genre:multilabel", ("genre", "multilabel", 1.0)),
            ("genre:0.5", ("genre", None, 0.5)),
            ("genre:multiclass:2", ("genre", "multiclass", 2.0)),
            ("regression", ("regression", None, 1.0)),
        ],
    )
    def test_forms(self, text: str, parsed: tuple[str, str | None, float]) -> None:
        """A documented form of the option would not work."""
        assert parse_task(text) == parsed

    @pytest.mark.parametrize(
        "text",
        ["", ":multiclass", "genre:", "genre:multiclas", "genre:2:multiclass", "a:multiclass:1:2"]
        + [f"genre:{weight}" for weight in ("0", "-1", "nan", "inf")],
    )
    def test_mistakes_are_answered_with_the_form(self, text: str) -> None:
        """A mistyped kind would be taken for something else, or leave the user guessing."""
        with pytest.raises(UsageError, match=r"COLUMN\[:kind\]\[:weight\].*multiclass, multilabel"):
            parse_task(text)

"""Kinds of task: labels to targets, logits to scores and tags, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from mt_tools.errors import UsageError
from mt_tools.tasks.kinds import (
    KINDS,
    NEVER,
    Kind,
    chosen_classes,
    constant_loss,
    decide,
    encode,
    head,
    labelled,
    make_task,
    names_one,
    outputs,
    outside,
    parse_task,
    predictable,
    prediction_type,
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


EXAMPLES = {
    "multiclass": column("a", "b"),
    "multilabel": column(["a"], []),
    "regression": np.array([1.0, 2.0], np.float32),
    "ordinal": np.array([1.0, 2.5, 4.0]),
    "distribution": np.array([[0.25, 0.75], [1.0, 0.0]], np.float32),
    "same-track": column("x", "y", "x"),
}


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
            (np.array([[0.5, 0.5], [1, 0], [np.nan, np.nan]], np.float32), "distribution"),
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
        for kind, values in EXAMPLES.items():
            task = make_task(
                "t", kind, values, everything(values), weight=2, class_weight="balanced"
            )
            assert json.loads(json.dumps(task)) == task
            assert sorted(task) == sorted(
                [
                    "name",
                    "kind",
                    "vocabulary",
                    "thresholds",
                    "mean",
                    "std",
                    "scale",
                    "class_weights",
                    "weight",
                ]
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
            (None, np.zeros((2, 3), dtype=int), "is no label"),
            (None, np.zeros((2, 3)), "none of the 2 labelled training rows is a distribution"),
            (None, np.full((2, 2), 0.5), "the same distribution"),
            (None, np.full((2, 2), np.nan), "all 2 rows are unlabelled"),
            ("ordinal", column("low", "high"), r"lowest first.*--vocab label=FILE"),
            ("ordinal", np.array([2.0, 2.0]), "one class, '2'; ordinal needs two"),
            ("ordinal", np.array([2.0, np.inf]), "ordinal needs finite numbers"),
            ("ordinal", column(["a"], ["b"]), "ordinal needs numbers or strings"),
            ("same-track", column("a", "a"), "belong together"),
            ("same-track", column(["a"]), "same-track needs strings or numbers"),
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

    def test_a_threshold_of_none_is_out_of_reach(self) -> None:
        """A tag of which no score is right often enough would be written, or stop the run."""
        values = column(["a", "b"])
        task = make_task("t", None, values, everything(values)) | {"thresholds": [None, 0.5]}
        assert decide(task, np.array([[1.0, 0.5], [0.9, 0.1]])).tolist() == [["b"], []]

    @pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
    def test_a_class_below_the_confidence_is_left_open(self, kind: str) -> None:
        """A model that was told to abstain would guess; one that was not would fall silent."""
        values = column("a", "b", "c")
        task = make_task("t", kind, values, everything(values), vocabulary=["a", "b", "c"])
        chances = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [np.nan, 0.5, 0.5]])
        assert decide(task, chances).tolist() == ["b", "a", None]
        assert chosen_classes(task, chances[:2])[1].tolist() == [0.5, 0.6]
        task["abstain"] = 0.6
        assert decide(task, chances).tolist() == [None, "a", None]
        task["abstain"] = NEVER
        assert decide(task, np.array([[0.0, 1.0, 0.0]])).tolist() == [None]

    def test_tags_and_mixtures_name_no_single_class(self) -> None:
        """`mt-tag --confidence` would leave open what is no choice among classes."""
        for kind, values in EXAMPLES.items():
            words = ["1", "2.5", "4"] if kind == "ordinal" else None
            task = make_task("t", kind, values, everything(values), vocabulary=words)
            assert names_one(task) == (kind in ("multiclass", "ordinal"))
            if not names_one(task):
                with pytest.raises(ValueError, match="names no single class"):
                    chosen_classes(task, np.full((1, 2), 0.5))

    def test_no_rows(self) -> None:
        """An empty batch would stop a stream."""
        for kind, values in EXAMPLES.items():
            task = make_task("t", kind, values, everything(values))
            assert len(encode(task, values[:0])[1]) == 0
            if not predictable(task):
                continue
            empty = scores(task, np.zeros((0, outputs(task))))
            assert len(decide(task, empty)) == 0


class TestVocabulary:
    """`--vocab`: outputs and their order are given."""

    def test_it_fixes_outputs_and_order(self) -> None:
        """Two models of one vocabulary would not have the same outputs."""
        words = ["rock", "jazz", "folk"]
        values = column("jazz", "rock", "metal", None, "metal")
        task = make_task("genre", None, values, everything(values), vocabulary=words)
        targets, mask = encode(task, values)
        assert (task["vocabulary"], outputs(task)) == (words, 3)
        np.testing.assert_array_equal(targets, [1, 0, 0, 0, 0])
        np.testing.assert_array_equal(mask, [True, True, False, False, False])
        assert unusable(task, values) == 2
        assert outside(task, values) == {"metal": 2}

    def test_tags_outside_are_ignored_and_counted(self) -> None:
        """A top-50 vocabulary would drop every track that has another tag too."""
        values = column(["a", "x"], ["y", "x"], [], None)
        task = make_task("mood", None, values, everything(values), vocabulary=["b", "a"])
        targets, mask = encode(task, values)
        np.testing.assert_array_equal(targets, [[0, 1], [0, 0], [0, 0], [0, 0]])
        np.testing.assert_array_equal(mask, [True, True, True, False])
        assert outside(task, values) == {"x": 2, "y": 1}
        assert unusable(task, values) == 0

    def test_components_have_names(self) -> None:
        """A factor's mix would be predicted by number where its makers named it."""
        values = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
        task = make_task("plsa", None, values, everything(values), vocabulary=["calm", "loud"])
        assert decide(task, values).tolist() == ["loud", "calm"]
        assert outside(task, values) == {}
        plain = make_task("plsa", None, values, everything(values))
        assert plain["vocabulary"] == ["0", "1"]

    @pytest.mark.parametrize(
        ("kind", "values", "words", "message"),
        [
            ("multiclass", column("a", "b"), ["a", "b", "a"], "a stands twice"),
            ("multiclass", column("a", "b"), ["a"], "two words or more"),
            ("multiclass", column("a", "b"), ["A", "B"], "they have a, b: spell"),
            ("multilabel", column(["a"]), ["b"], "no training row has a label"),
            ("regression", np.array([1.0, 2.0]), ["1", "2"], "has no vocabulary"),
            ("distribution", EXAMPLES["distribution"], ["a", "b", "c"], "the column has 2"),
            ("ordinal", np.array([1.0, 2.0]), ["low", "high"], "holds numbers"),
            ("ordinal", np.array([1.0, 2.0]), ["1", "2", "2.0"], "2 stands twice"),
        ],
    )
    def test_mistakes(self, kind: str, values: np.ndarray, words: list[str], message: str) -> None:
        """A misspelt vocabulary would train a head that no label reaches."""
        with pytest.raises(UsageError, match=message):
            make_task("label", kind, values, everything(values), vocabulary=words)


class TestScale:
    """`--target-scale`."""

    @pytest.mark.parametrize(
        ("scale", "targets"),
        [("standard", [-1.0, 1.0, 3.0]), ("minmax", [0.0, 1.0, 2.0]), ("raw", [2.0, 6.0, 10.0])],
    )
    def test_learned_on_one_scale_and_reported_in_units(
        self, scale: str, targets: list[float]
    ) -> None:
        """A study's target scale could not be repeated, or a prediction would be in its scale."""
        values = np.array([2.0, 6.0, 10.0])  # the third is no training row
        task = make_task("energy", None, values, np.array([True, True, False]), scale=scale)
        got, _ = encode(task, values)
        np.testing.assert_allclose(got, targets, rtol=1e-6)
        np.testing.assert_allclose(scores(task, got[:, None]), values, rtol=1e-6)
        assert task["scale"] == scale

    def test_a_wrong_name_is_answered(self) -> None:
        """A mistyped scale would be taken for another."""
        values = np.array([1.0, 2.0])
        with pytest.raises(UsageError, match="expected one of standard, minmax, raw"):
            make_task("t", None, values, everything(values), scale="minimax")
        with pytest.raises(UsageError, match="expected one of none, balanced"):
            make_task("t", None, values, everything(values), class_weight="even")


class TestClassWeights:
    """`--class-weight balanced`."""

    @pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
    def test_balanced_is_that_of_scikit_learn(self, kind: str) -> None:
        """Rare classes would weigh something else than in every other tool."""
        labels = np.repeat(["a", "b", "c"], [7, 2, 1])
        words = ["c", "a", "b"]
        values = column(*labels, None)
        task = make_task(
            "t", kind, values, everything(values), vocabulary=words, class_weight="balanced"
        )
        expected = compute_class_weight("balanced", classes=np.array(words), y=labels)
        np.testing.assert_allclose(task["class_weights"], expected, rtol=1e-12)

    def test_a_class_without_rows_does_not_weigh_on_the_others(self) -> None:
        """A class that only the vocabulary knows would make the weights infinite."""
        values = column("a", "a", "b")
        task = make_task(
            "t", None, values, everything(values),
            vocabulary=["a", "b", "never"], class_weight="balanced",
        )  # fmt: skip
        np.testing.assert_allclose(task["class_weights"], [3 / 4, 3 / 2, 1.0])

    def test_positive_rows_weigh_as_much_as_negative_ones(self) -> None:
        """A rare tag would be learned as never."""
        values = column(["a", "b"], ["b"], ["b"], ["b"], None)
        task = make_task("t", None, values, everything(values), class_weight="balanced")
        # a: one of four. b: every row, nothing to balance.
        assert task["class_weights"] == [3.0, 1.0]
        numbers = EXAMPLES["regression"]
        plain = make_task("t", None, numbers, everything(numbers), class_weight="balanced")
        assert plain["class_weights"] is None


class TestOrdinal:
    """Classes in an order."""

    def test_numbers_are_in_order_of_size(self) -> None:
        """Energy 100 would come between 1 and 20, as words do."""
        values = np.array([20.0, np.nan, 1.0, 100.0, 2.5, 20.0])
        task = make_task("energy", "ordinal", values, everything(values))
        assert task["vocabulary"] == ["1", "2.5", "20", "100"]
        assert outputs(task) == 3
        targets, mask = encode(task, values)
        np.testing.assert_array_equal(targets, [2, 0, 0, 3, 1, 2])
        np.testing.assert_array_equal(mask, labelled(values))
        assert outside(task, np.array([1.0, 7.0])) == {"7": 1}

    def test_words_are_in_the_order_given(self) -> None:
        """Levels would be ordered by the alphabet: high, low, middle."""
        values = column("low", "high", "middle", "other")
        words = ["low", "middle", "high"]
        task = make_task("level", "ordinal", values, everything(values), vocabulary=words)
        np.testing.assert_array_equal(encode(task, values)[0], [0, 2, 1, 0])
        numbers = np.array([3.0, 1.0])
        task = make_task(
            "level", "ordinal", numbers, everything(numbers), vocabulary=["3", "2", "1.0"]
        )
        assert task["vocabulary"] == ["3", "2", "1"]
        np.testing.assert_array_equal(encode(task, numbers)[0], [0, 2])

    def test_probabilities_by_hand(self) -> None:
        """Scores of classes would not be what the outputs mean."""
        values = np.array([1.0, 2.0, 3.0, 4.0])
        task = make_task("t", "ordinal", values, everything(values))
        # P(y > 1) = 1/2, P(y > 2 | y > 1) = 3/4, P(y > 3 | y > 2) = 1/4
        logits = np.log([[1.0, 3.0, 1 / 3]])
        expected = [[1 / 2, 1 / 2 * 1 / 4, 3 / 8 * 3 / 4, 3 / 8 * 1 / 4]]
        np.testing.assert_allclose(scores(task, logits), expected, rtol=1e-6)

    def test_any_outputs_make_consistent_probabilities(self) -> None:
        """A class would get a negative probability, as with independent thresholds."""
        values = np.arange(6.0)
        task = make_task("t", "ordinal", values, everything(values))
        logits = np.random.default_rng(0).normal(0, 40, (500, 5))
        got = scores(task, logits)
        assert (got >= 0).all()
        np.testing.assert_allclose(got.sum(axis=1), 1.0, atol=1e-6)

    def test_the_decision_is_the_nearest_in_expectation(self) -> None:
        """A guess between two far camps would take a side: many steps wrong half of the time."""
        values = np.array([1.0, 2.0, 3.0])
        task = make_task("t", "ordinal", values, everything(values))
        chances = np.random.default_rng(1).dirichlet(np.ones(3), size=200)
        chances = np.concatenate([chances, [[0.4, 0.25, 0.35], [0.6, 0.0, 0.4]]])
        place = np.arange(3)
        distance = (chances[:, None, :] * np.abs(place[:, None] - place)).sum(axis=2)
        expected = [task["vocabulary"][step] for step in distance.argmin(axis=1)]
        assert decide(task, chances).tolist() == expected
        assert decide(task, chances)[-2:].tolist() == ["2", "1"]
        assert decide(task, np.full((1, 3), np.nan)).tolist() == [None]


class TestDistribution:
    """Rows that sum to 1."""

    def test_rows_that_are_none_are_masked_and_counted(self) -> None:
        """A vector that is no distribution would be learned as one."""
        nothing = [np.nan, np.nan]
        values = np.array(
            [[0.25, 0.75], nothing, [-0.5, 1.5], [0.3, 0.6], [0.5005, 0.5], [0.5, np.nan]],
            np.float32,
        )
        task = make_task("mix", None, values, everything(values))
        targets, mask = encode(task, values)
        np.testing.assert_array_equal(mask, [True, False, False, False, True, False])
        assert unusable(task, values) == 3
        np.testing.assert_allclose(targets[[0, 4]].sum(axis=1), 1.0, atol=1e-7)
        assert not targets[~mask].any()
        assert (targets.dtype, outputs(task)) == (np.float32, 2)

    def test_another_length_is_refused(self) -> None:
        """A mix of other factors would be scored against this one's."""
        values = EXAMPLES["distribution"]
        task = make_task("mix", None, values, everything(values))
        with pytest.raises(UsageError, match="got vectors of 3, expected 2"):
            encode(task, np.full((1, 3), 1 / 3, np.float32))
        assert not encode(task, column(None, None))[1].any()


class TestPairs:
    """Rows that belong together."""

    def test_codes_are_equal_where_rows_belong_together(self) -> None:
        """Two crops of a track would be told apart, or two tracks taken for one."""
        values = column("b", "a", None, "b", "c")
        task = make_task("origin", "same-track", values, everything(values))
        codes, mask = encode(task, values)
        np.testing.assert_array_equal(mask, [True, True, False, True, True])
        assert codes[0] == codes[3]
        assert len(set(codes[[0, 1, 4]])) == 3
        assert codes.dtype == np.int64

    def test_it_predicts_nothing_of_one_track(self) -> None:
        """mt-tag would write a score that means nothing."""
        task = make_task("o", "same-track", column("a", "b"), np.ones(2, dtype=bool))
        assert not predictable(task)
        assert head(task) == {"outputs": 2, "activation": "softmax", "pair": True}
        for function in (scores, decide):
            with pytest.raises(ValueError, match="pairs of tracks"):
                function(task, np.zeros((1, 2)))
        with pytest.raises(ValueError, match="pairs of tracks"):
            prediction_type(task)


def test_heads_and_predictions_of_every_kind() -> None:
    """A head would be made with another activation than its outputs have, or a column mistyped."""
    expected = {
        "multiclass": (2, "softmax", "string"),
        "multilabel": (1, "sigmoid", "strings"),
        "regression": (1, "identity", "number"),
        "ordinal": (2, "sigmoid", "string"),
        "distribution": (2, "softmax", "string"),
    }
    for kind, (width, activation, column_kind) in expected.items():
        task = make_task("t", kind, EXAMPLES[kind], everything(EXAMPLES[kind]))
        assert head(task) == {"outputs": width, "activation": activation, "pair": False}
        assert prediction_type(task) == column_kind


class TestConstantLoss:
    """The loss of knowing only the labels."""

    def of(self, kind: str, values: np.ndarray, **options: str) -> float:
        """Return the constant loss of a column whose rows are all training rows."""
        task = make_task("t", kind, values, everything(values), **options)
        return constant_loss(task, *encode(task, values))

    def test_by_hand(self) -> None:
        """Weighting by the prior would be by another number than the constant predictor's loss."""
        log = np.log
        classes = column("a", "a", "a", "b", None)
        prior = -(0.75 * log(0.75) + 0.25 * log(0.25))
        assert self.of("multiclass", classes) == pytest.approx(prior)
        assert self.of("ordinal", np.array([1.0, 1, 1, 7])) == pytest.approx(prior)
        # Balanced classes weigh alike: a fair coin.
        assert self.of("multiclass", classes, class_weight="balanced") == pytest.approx(log(2))
        tagged = column(["a", "b"], ["b"], [], [])
        assert self.of("multilabel", tagged) == pytest.approx((prior + log(2)) / 2)
        # With a's one positive counting three times, half of a mass of 6/4 is right by chance.
        balanced = self.of("multilabel", tagged, class_weight="balanced")
        assert balanced == pytest.approx((6 / 4 * log(2) + log(2)) / 2)
        numbers = np.array([1.0, 3.0, np.nan, 8.0])
        assert self.of("regression", numbers) == pytest.approx(1.0, rel=1e-6)
        assert self.of("regression", numbers, scale="raw") == pytest.approx(26 / 3)
        mixes = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
        assert self.of("distribution", mixes) == pytest.approx(log(2))
        assert self.of("same-track", column("a", "b")) == pytest.approx(log(2))

    def test_nothing_to_tell_apart_is_refused(self) -> None:
        """A weight of one over zero would turn the model into NaN."""
        task = make_task("t", None, column(["a"], ["a"]), np.ones(2, dtype=bool))
        for mask in (np.ones(2, dtype=bool), np.zeros(2, dtype=bool)):
            with pytest.raises(UsageError, match="nothing to tell apart"):
                constant_loss(task, np.ones((2, 1), np.float32), mask)


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
            ("origin:same-track", ("origin", "same-track", 1.0)),
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

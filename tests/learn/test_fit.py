"""The training loop on toy problems that can be learned, and on what must not upset it."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_work import DIMENSIONS, ROWS, Clips, Noting, Toy, network, same, weights
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from torch import nn
from torch.nn import functional

from mt_tools.errors import RunError, UsageError
from mt_tools.learn.feeds import ArrayFeed
from mt_tools.learn.fit import (
    Record,
    fit,
    predict,
    set_standardisation,
    standardiser,
)
from mt_tools.learn.groups import resolve
from mt_tools.learn.pairs import partners
from mt_tools.learn.plan import Plan
from mt_tools.learn.settings import OPTIMIZERS, FitSettings, TransferSettings
from mt_tools.nets.body import Body, Head, MultiTask, Standardise
from mt_tools.settings import result_settings
from mt_tools.tasks.kinds import Task, encode, make_task
from mt_tools.tasks.losses import masked_loss


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small only lose time to more threads, on a busy machine a great deal."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def toy() -> Toy:
    """Return one toy problem for all tests, which leave it as it is."""
    return Toy()


@pytest.fixture(scope="module")
def clips() -> Clips:
    """Return one toy problem of features and pairs for all tests, which leave it as it is."""
    return Clips()


def assert_learned(toy: Toy, task: Task, got: np.ndarray, rows: np.ndarray) -> None:
    """Hold a task's scores against its constant predictor, on the labelled among unseen rows."""
    targets, mask = toy.targets[task["name"]]
    targets, got = targets[rows][mask[rows]], got[mask[rows]]
    if task["kind"] == "multiclass":
        constant = np.bincount(targets).max() / len(targets)
        assert accuracy_score(targets, got.argmax(axis=1)) > constant + 0.3
    elif task["kind"] == "multilabel":
        assert roc_auc_score(targets, got, average="macro") > 0.85  # constant: 0.5
    else:
        truth = toy.columns[task["name"]][rows][mask[rows]]
        assert r2_score(truth, got) > 0.7  # constant: 0


@pytest.mark.parametrize("names", [("genre",), ("mood",), ("energy",), ("genre", "mood", "energy")])
def test_each_kind_and_a_mix_is_learned(toy: Toy, names: tuple[str, ...]) -> None:
    """A task, alone or beside others with labels missing, would not be learned at all."""
    tasks = toy.only(*names)
    net = toy.model(tasks)
    toy.fit(net, tasks, FitSettings(epochs=60, learning_rate=0.01))
    found = predict(net, ArrayFeed(toy.inputs), toy.test, tasks)
    for task in tasks:
        assert_learned(toy, task, found[task["name"]], toy.test)


@pytest.mark.parametrize("weighting", ["equal", "prior", "uncertainty", "dwa"])
@pytest.mark.parametrize("task_schedule", ["all", "random"])
def test_every_task_is_learned(toy: Toy, task_schedule: str, weighting: str) -> None:
    """A task would not be learned under a choice of `--weighting` or `--task-schedule`."""
    net = toy.model()
    settings = FitSettings(
        epochs=40 if task_schedule == "all" else 15,
        learning_rate=0.01,
        weighting=weighting,
        task_schedule=task_schedule,
    )
    toy.fit(net, settings=settings)
    found = predict(net, ArrayFeed(toy.inputs), toy.test, toy.tasks)
    for task in toy.tasks:
        assert_learned(toy, task, found[task["name"]], toy.test)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(toy: Toy, optimizer: str) -> None:
    """A choice of `--optimizer` would not train."""
    settings = FitSettings(epochs=8, optimizer=optimizer, learning_rate=0.01, weight_decay=1e-4)
    history = toy.fit(toy.model(), settings=settings)
    assert history.epochs[-1].train_total < 0.9 * history.epochs[0].train_total


def test_it_is_the_loop_one_writes_by_hand(toy: Toy) -> None:
    """An update would not be the optimizer's step on the sum of the tasks' mean losses."""
    settings = FitSettings(epochs=3, learning_rate=0.01, weight_decay=0.01, optimizer="adamw")
    # Without batch norm, which makes the gradients of the biases before it pure rounding.
    net, by_hand = (toy.model(dropout=0.0, batch_norm=False) for _ in range(2))
    feed = Noting(ArrayFeed(toy.inputs))
    history = toy.fit(net, settings=settings, feed=feed, valid=toy.valid[:0])
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.01, weight_decay=0.01, fused=False)
    losses = {
        "genre": functional.cross_entropy,
        "mood": functional.binary_cross_entropy_with_logits,
        "energy": lambda logits, targets: functional.mse_loss(logits[:, 0], targets),
    }
    by_hand.train()
    for chosen in feed.batches:
        logits = by_hand(torch.from_numpy(toy.inputs[chosen]))
        total = torch.zeros(())
        for name, (values, mask) in toy.targets.items():
            known = torch.from_numpy(mask[chosen])
            total = total + losses[name](
                logits[name][known], torch.from_numpy(values[chosen])[known]
            )
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert len(feed.batches) == history.updates == 3 * 5  # of 140 rows, 32 a batch
    assert history.samples == sum(map(len, feed.batches))
    for name, value in by_hand.state_dict().items():
        # Sums in another order: float32's rounding over 15 updates.
        np.testing.assert_allclose(weights(net)[name], value, atol=1e-5, err_msg=name)


def test_twice_the_same(toy: Toy) -> None:
    """A run could not be repeated: same seed, other model."""
    runs = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        net = toy.model()
        history = toy.fit(net)
        runs.append((weights(net), history))
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert runs[0][1].record() == runs[1][1].record()
    assert "seconds" not in runs[0][1].record()


def test_the_seed_matters_and_global_state_does_not_change(toy: Toy) -> None:
    """`--seed` would do nothing, or a fit would disturb draws and threads elsewhere."""
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    nets = [toy.model() for _ in range(2)]
    feed = ArrayFeed(toy.inputs)  # the same order: what is left are the draws of dropout
    for seed, net in enumerate(nets):
        toy.fit(net, settings=FitSettings(epochs=1, seed=seed, threads=threads + 1), feed=feed)
    assert not same(weights(nets[0]), weights(nets[1]))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


class TestStopping:
    """When a fit ends, and which weights it keeps."""

    def test_the_best_epoch_is_restored(self, toy: Toy) -> None:
        """The saved model would be that of the last, overfitted epoch."""
        rng = np.random.default_rng(0)
        # Labels by chance: what is learned in train soon hurts in validation.
        values = np.array(["a", "b"], dtype=object)[rng.integers(2, size=ROWS)]
        task = make_task("chance", None, values, np.isin(np.arange(ROWS), toy.train))
        targets = {"chance": encode(task, values)}
        settings = FitSettings(epochs=100, patience=4, learning_rate=0.01)
        net = network(DIMENSIONS, [task], width=64)
        seen: list[dict[str, np.ndarray]] = []

        def remember(record: Record) -> None:
            if (record.task, record.split) == ("", "valid"):
                seen.append(weights(net))

        history = toy.fit(net, [task], settings, targets=targets, on_record=remember)
        losses = [epoch.valid_total for epoch in history.epochs]
        assert history.stopped == "patience"
        assert history.best_epoch == 1 + int(np.argmin(losses))
        assert len(losses) == history.best_epoch + settings.patience < settings.epochs
        assert len(seen) == len(history.epochs)
        assert same(weights(net), seen[history.best_epoch - 1])
        logits = net(torch.from_numpy(toy.inputs[toy.valid]))["chance"]
        expected = functional.cross_entropy(
            logits, torch.from_numpy(targets["chance"][0][toy.valid])
        )
        assert float(expected.detach()) == pytest.approx(min(losses), abs=1e-5)

    def test_without_valid_rows_all_epochs_run(self, toy: Toy) -> None:
        """A table without a valid split could not be trained on, or would stop at random."""
        history = toy.fit(
            toy.model(), settings=FitSettings(epochs=4, patience=1), valid=toy.valid[:0]
        )
        assert history.stopped == "no valid rows"
        assert history.best_epoch == len(history.epochs) == 4
        assert all(epoch.valid_total is None and epoch.valid == {} for epoch in history.epochs)

    def test_a_patience_of_zero_never_stops(self, toy: Toy) -> None:
        """A study's fixed number of epochs could not be run."""
        lengths = []
        for patience in (0, 2):
            settings = FitSettings(epochs=30, patience=patience, learning_rate=0.1)
            history = toy.fit(toy.model(), settings=settings)
            lengths.append((len(history.epochs), history.stopped))
        assert lengths[0] == (30, "epochs")
        assert lengths[1] == (lengths[1][0], "patience") < (30, "patience")

    @pytest.mark.parametrize(
        ("stop_on", "best"), [("genre.accuracy", np.argmax), ("energy.mae", np.argmin)]
    )
    def test_any_metric_can_be_stopped_on(self, toy: Toy, stop_on: str, best: Any) -> None:
        """`--stop-on` would keep the worst epoch, or that of the lowest loss."""
        task, metric = stop_on.split(".")
        settings = FitSettings(epochs=25, stop_on=stop_on, patience=0, learning_rate=0.02)
        net = toy.model()
        history = toy.fit(net, settings=settings)
        curve = [epoch.metrics[task][metric] for epoch in history.epochs]
        assert history.best_epoch == 1 + int(best(curve))
        values, mask = toy.targets[task]
        rows = toy.valid[mask[toy.valid]]
        found = predict(net, ArrayFeed(toy.inputs), rows, toy.tasks)[task]
        if task == "genre":
            expected = accuracy_score(values[rows], found.argmax(axis=1))
        else:
            expected = np.abs(found - toy.columns["energy"][rows]).mean()
        # Metrics are in the column's units; float32 logits scaled by 20.
        assert curve[history.best_epoch - 1] == pytest.approx(expected, abs=1e-4)

    def test_a_wrong_metric_is_answered_with_the_right_ones(self, toy: Toy) -> None:
        """A mistyped `--stop-on` would end in a traceback, or stop on something else."""
        with pytest.raises(
            UsageError, match="genre.acuracy: choose one of loss, genre.loss, genre.accuracy"
        ):
            toy.fit(toy.model(), settings=FitSettings(stop_on="genre.acuracy"))
        with pytest.raises(UsageError, match="no valid row is labelled for energy"):
            unlabelled = toy.valid[~toy.targets["energy"][1][toy.valid]]
            toy.fit(toy.model(), settings=FitSettings(stop_on="energy.r2"), valid=unlabelled)

    @pytest.mark.parametrize(
        ("samples", "updates", "seen"),
        # 70 rows are batches of 32, 32 and 6.
        [(1, 1, 32), (64, 2, 64), (65, 3, 70), (100, 4, 102), (140, 6, 140), (141, 7, 172)],
    )
    def test_a_number_of_samples_ends_the_run(
        self, toy: Toy, samples: int, updates: int, seen: int
    ) -> None:
        """REG's fixed number of samples seen would be another number."""
        rows = toy.train[toy.targets["energy"][1][toy.train]][:70]
        tasks, settings = toy.only("energy"), FitSettings(epochs=1, samples=samples)
        history = toy.fit(toy.model(tasks), tasks, settings, train=rows)
        assert (history.updates, history.samples, history.stopped) == (updates, seen, "samples")
        plan = Plan(ArrayFeed(toy.inputs), rows, toy.targets, tasks, settings)
        assert (plan.epoch_updates, plan.updates) == (3, updates)
        assert len(history.epochs) == -(-updates // 3)

    def test_samples_of_random_tasks(self, toy: Toy) -> None:
        """The number of updates would be off where each task has batches of its own."""
        settings = FitSettings(samples=777, task_schedule="random")
        feed = Noting(ArrayFeed(toy.inputs))
        history = toy.fit(toy.model(), settings=settings, feed=feed)
        sizes = list(map(len, feed.batches))[: history.updates]
        assert sum(sizes[:-1]) < 777 <= sum(sizes) == history.samples
        assert Plan(feed, toy.train, toy.targets, toy.tasks, settings).updates == history.updates


class TestRecords:
    """The learning curves."""

    def test_history_holds_the_weighted_sum_of_the_tasks(self, toy: Toy) -> None:
        """The learning curves would not show what was minimised."""
        tasks = [{**task, "weight": w} for task, w in zip(toy.tasks, (0.5, 1.0, 3.0), strict=True)]
        history = toy.fit(toy.model(tasks), tasks, FitSettings(epochs=2))
        for epoch in history.epochs:
            for total, parts in (
                (epoch.train_total, epoch.train),
                (epoch.valid_total, epoch.valid),
            ):
                expected = sum(task["weight"] * parts[task["name"]] for task in tasks)
                assert total == pytest.approx(expected, rel=1e-9)

    def test_points_within_an_epoch(self, toy: Toy) -> None:
        """One epoch over a million clips, as in the REG study, would have a curve of one point."""
        settings = FitSettings(epochs=2, batch_size=16, validate_every=4)
        told: list[Record] = []
        net, plain = toy.model(), toy.model()
        history = toy.fit(net, settings=settings, on_record=told.append)
        toy.fit(plain, settings=replace(settings, validate_every=0))
        assert told == history.records
        assert same(weights(net), weights(plain))  # looking changes nothing
        curve = [r for r in told if (r.task, r.split, r.metric) == ("", "valid", "loss")]
        per_epoch = history.updates // 2
        expected = sorted(
            {*range(4, per_epoch, 4), per_epoch, *range(12, 2 * per_epoch, 4), 2 * per_epoch}
        )
        assert [r.step for r in curve] == expected
        assert [r.samples for r in curve if r.step < per_epoch] == [64, 128][: per_epoch // 4]
        assert curve[-1].value == history.epochs[-1].valid_total
        # Each task has its metrics beside the losses.
        assert {(r.task, r.metric) for r in told if r.split == "valid"} >= {
            ("genre", "accuracy"), ("mood", "roc_auc_macro"), ("energy", "r2"), ("energy", "loss"),
        }  # fmt: skip
        # The losses of the points add up to those of the epoch, by the rows they are means over.
        points = [r for r in told if (r.task, r.split, r.epoch) == ("energy", "train", 1)]
        feed = Noting(ArrayFeed(toy.inputs))
        toy.fit(toy.model(), settings=replace(settings, epochs=1), feed=feed)
        known = [int(toy.targets["energy"][1][rows].sum()) for rows in feed.batches]
        starts = [0, *(r.step for r in points)]
        rows = [sum(known[a:b]) for a, b in itertools.pairwise(starts)]
        mean = np.average([r.value for r in points], weights=rows)
        assert history.epochs[0].train["energy"] == pytest.approx(mean, rel=1e-9)

    def test_learned_weights_are_recorded(self, toy: Toy) -> None:
        """Nobody could see how uncertainty weighs the tasks."""
        settings = FitSettings(epochs=2, weighting="uncertainty")
        history = toy.fit(toy.model(), settings=settings)
        assert [r.task for r in history.records if r.metric == "weight"] == [
            *("genre", "mood", "energy"),
            *("genre", "mood", "energy"),
        ]


class TestMissingLabels:
    """Rows that lack the labels of some tasks, or of all."""

    def test_rows_without_any_label_take_no_part(self, toy: Toy) -> None:
        """Unlabelled rows in the table would change the model through batch norm and shuffling."""
        task = toy.only("energy")
        nets = [toy.model(task) for _ in range(2)]
        toy.fit(nets[0], task)
        toy.fit(nets[1], task, train=toy.train[toy.targets["energy"][1][toy.train]])
        assert same(weights(nets[0]), weights(nets[1]))

    def test_a_masked_label_changes_nothing(self, toy: Toy) -> None:
        """The value that stands where a label is missing would be learned."""
        nets = [toy.model() for _ in range(2)]
        changed = {}
        for name, (values, mask) in toy.targets.items():
            other = values.copy()
            other[~mask] = 1
            changed[name] = (other, mask)
        toy.fit(nets[0])
        toy.fit(nets[1], targets=changed)
        assert same(weights(nets[0]), weights(nets[1]))

    @pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
    def test_a_task_without_labels_in_a_batch_rests(self, toy: Toy, weighting: str) -> None:
        """A rare task's head would drift by momentum or decay where nothing was said about it."""
        values, mask = toy.targets["genre"]
        few = toy.train[mask[toy.train]][:6]
        targets = {**toy.targets, "genre": (values, mask & np.isin(np.arange(ROWS), few))}
        net = toy.model()
        heads: list[tuple[bool, np.ndarray]] = []
        feed = Noting(ArrayFeed(toy.inputs))

        def before(_: int) -> None:
            heads.append((False, net.head("genre").weight.detach().numpy().copy()))

        feed.before = before
        settings = FitSettings(
            epochs=1, optimizer="adamw", weight_decay=0.1, batch_size=8, weighting=weighting
        )
        toy.fit(net, settings=settings, targets=targets, feed=feed, valid=toy.valid[:0])
        copies = [*(head for _, head in heads), net.head("genre").weight.detach().numpy()]
        said = [bool(targets["genre"][1][rows].any()) for rows in feed.batches]
        assert 0 < sum(said) < len(said)
        for number, (labelled, (one, other)) in enumerate(
            zip(said, itertools.pairwise(copies), strict=True)
        ):
            assert np.array_equal(one, other) != labelled, number

    def test_a_task_without_valid_labels_does_not_stop_the_others(self, toy: Toy) -> None:
        """One task labelled in train only would make the validation loss NaN."""
        values, mask = toy.targets["genre"]
        targets = {**toy.targets, "genre": (values, mask & ~np.isin(np.arange(ROWS), toy.valid))}
        history = toy.fit(toy.model(), targets=targets)
        assert set(history.epochs[0].valid) == {"mood", "energy"}
        assert np.isfinite(history.epochs[0].valid_total)

    @pytest.mark.parametrize("rows", [2, 32, 33, 65])
    def test_a_last_batch_of_one_row_is_merged(self, toy: Toy, rows: int) -> None:
        """A training set of 33 rows would crash in batch norm."""
        train = toy.train[toy.targets["energy"][1][toy.train]][:rows]
        history = toy.fit(toy.model(toy.only("energy")), toy.only("energy"), train=train)
        assert np.isfinite(history.epochs[-1].train_total)

    def test_too_few_labelled_rows_are_refused(self, toy: Toy) -> None:
        """A training set of one row would end in a traceback from batch norm."""
        with pytest.raises(UsageError, match="got 1 labelled training rows"):
            toy.fit(toy.model(), train=toy.train[:1])


class TestRandomTasks:
    """`--task-schedule random`: a task, then a batch of it (REP study, Algorithm 1)."""

    def test_each_update_is_of_one_drawn_task(self, toy: Toy) -> None:
        """The draws would not be those of the seed, or a batch would have rows without the label."""
        settings = FitSettings(epochs=2, batch_size=20, task_schedule="random", seed=4)
        feed = Noting(ArrayFeed(toy.inputs, 4))
        net = toy.model()
        asked: list[str] = []
        net.register_forward_pre_hook(
            lambda module, given: asked.extend(given[1]) if module.training else None
        )
        history = toy.fit(net, settings=settings, feed=feed)
        drawn = []
        for update in range(history.updates):
            digest = hashlib.sha256(f"4/task/{update}".encode()).digest()
            drawn.append(int.from_bytes(digest[:8], "big") // 2 % 3)
        names = [task["name"] for task in toy.tasks]
        assert asked == [names[number] for number in drawn]
        assert len(set(drawn)) == 3
        for name, rows in zip(asked, feed.batches, strict=True):
            assert toy.targets[name][1][rows].all()

    def test_an_epoch_is_l_times_m_updates(self, toy: Toy) -> None:
        """REP's 100 epochs would be another number of updates."""
        settings = FitSettings(epochs=3, batch_size=20, task_schedule="random")
        feed = Noting(ArrayFeed(toy.inputs))
        history = toy.fit(toy.model(), settings=settings, feed=feed)
        anything = np.logical_or.reduce([mask for _, mask in toy.targets.values()])
        rows = int(anything[toy.train].sum())
        passes = -(-rows // 20) - (rows % 20 == 1)
        assert history.updates == 3 * passes * 3
        assert Plan(feed, toy.train, toy.targets, toy.tasks, settings).epoch_updates == passes * 3
        # Each task goes through its own rows, pass after pass, each in a new order.
        counts = {tuple(rows): [n for n, r in feed.passes if r == rows] for _, rows in feed.passes}
        assert len(counts) == 3
        for turns in counts.values():
            assert turns == list(range(1, len(turns) + 1))
            assert len(turns) > 1

    def test_other_heads_get_no_gradient(self, toy: Toy) -> None:
        """The heads of tasks that were not drawn would move."""
        settings = FitSettings(
            samples=1, task_schedule="random", optimizer="adamw", weight_decay=0.1
        )
        net = toy.model()
        before = weights(net)
        history = toy.fit(net, settings=settings, valid=toy.valid[:0])
        assert history.updates == 1
        (drawn,) = history.epochs[0].train
        for task in toy.tasks:
            moved = not np.array_equal(
                before[f"heads.task:{task['name']}.weight"],
                weights(net)[f"heads.task:{task['name']}.weight"],
            )
            assert moved == (task["name"] == drawn)


class TestPairs:
    """Tasks that compare two crops (REP study, eqs. 5 and 6)."""

    def test_half_of_the_pairs_belong_together(self) -> None:
        """There would be nothing to tell apart, or a pair would be told wrong."""
        codes = np.array([4, 4, 1, 9, 1, 4, 9, 7, 7])
        mask = np.array([True] * 5 + [False] + [True] * 3)
        chosen, match = partners(codes, mask, 3)
        # Eight labelled rows: every other one keeps its own second view, so that a part of a batch
        # (memory, several processes) has as many of both for its batch norm to see.
        assert chosen[[0, 2, 4, 7]].tolist() == [0, 2, 4, 7]
        assert match[mask].tolist() == [1, 0] * 4
        for row in (1, 3, 6, 8):
            assert mask[chosen[row]]
            assert codes[chosen[row]] != codes[row]
        again, other = partners(codes, mask, 3)[0], [partners(codes, mask, s)[0] for s in range(9)]
        assert np.array_equal(chosen, again)
        assert len({tuple(drawn) for drawn in other}) > 1

    def test_one_track_alone_gives_true_pairs(self) -> None:
        """A batch of one track would be told to be of several."""
        chosen, match = partners(np.full(5, 2), np.ones(5, dtype=bool), 0)
        assert chosen.tolist() == [0, 1, 2, 3, 4]
        assert match.tolist() == [1] * 5

    @pytest.mark.parametrize("task_schedule", ["all", "random"])
    def test_pairs_are_learned_beside_numbers(self, clips: Clips, task_schedule: str) -> None:
        """The network would not tell crops of one track from those of two."""
        net = clips.model()
        settings = FitSettings(
            epochs=60, learning_rate=0.01, batch_size=16, task_schedule=task_schedule, patience=0
        )
        history = clips.fit(net, settings)
        # By chance .5; the patterns of four tracks are far apart.
        assert max(epoch.metrics["self"]["accuracy"] for epoch in history.epochs) > 0.85
        assert max(epoch.metrics["level"]["r2"] for epoch in history.epochs) > 0.5

    def test_valid_pairs_are_the_same_each_time(self, clips: Clips) -> None:
        """Early stopping would follow the luck of the draw."""
        net = clips.model()
        for parameter in net.parameters():
            parameter.requires_grad_(False)
        net.head("level").bias.requires_grad_(True)
        history = clips.fit(net, FitSettings(epochs=3))
        losses = [epoch.valid["self"] for epoch in history.epochs]
        assert losses[0] == losses[1] == losses[2]

    def test_whole_inputs_are_refused(self, clips: Clips) -> None:
        """Two equal crops would be told to be from the same track: nothing to learn."""
        with pytest.raises(UsageError, match="say how long a crop is with --crop"):
            clips.fit(clips.model(), FitSettings(), feed=ArrayFeed(clips.inputs))

    def test_predictions_leave_pairs_out(self, clips: Clips) -> None:
        """A task of pairs would have scores of single tracks."""
        net = network(6 * 20, clips.tasks)
        assert set(predict(net, ArrayFeed(clips.inputs), clips.valid, clips.tasks)) == {"level"}


class TestGroups:
    """Layers that rest, wake, or learn at rates of their own."""

    def test_frozen_weights_stay(self, toy: Toy) -> None:
        """A frozen layer would be fine-tuned."""
        net = toy.model()
        net.layers("shared").get_submodule("dense1").requires_grad_(False)
        before = weights(net)["shared.dense1.0.weight"]
        toy.fit(net, settings=FitSettings(epochs=2, optimizer="adamw", weight_decay=0.1))
        assert np.array_equal(weights(net)["shared.dense1.0.weight"], before)

    def test_no_graph_is_kept_of_a_frozen_body(self, toy: Toy) -> None:
        """Heads on a black box would need the memory, and the time, of training all of it."""
        net = toy.model()
        groups = resolve(net, TransferSettings(freeze=("shared.dense*",)), 0.001)
        kept: list[bool] = []
        saved: list[int] = []
        net.layers("shared").get_submodule("dense2").register_forward_hook(
            lambda module, given, made: kept.append(made.requires_grad)
        )
        before = weights(net)

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            toy.fit(net, settings=FitSettings(epochs=1), groups=groups, valid=toy.valid[:0])
        assert kept
        assert not any(kept)
        # Only the embeddings [32, 16] that the heads see are kept, and what their losses need.
        assert max(saved) <= 32 * 16
        after = weights(net)
        assert all(np.array_equal(before[k], after[k]) for k in before if k.startswith("shared"))
        assert not np.array_equal(
            before["heads.task:genre.weight"], after["heads.task:genre.weight"]
        )

    def test_layers_wake_at_their_epoch(self, toy: Toy) -> None:
        """Gradual unfreezing would not happen, or at the wrong time."""
        net = toy.model()
        groups = resolve(net, TransferSettings(unfreeze=("shared.dense1=2",)), 0.001)
        copies = [weights(net)]
        toy.fit(
            net,
            settings=FitSettings(epochs=3, patience=0),
            groups=groups,
            on_record=lambda r: copies.append(weights(net)) if r.metric == "accuracy" else None,
        )
        moved = [
            not np.array_equal(a["shared.dense1.0.weight"], b["shared.dense1.0.weight"])
            for a, b in itertools.pairwise(copies)
        ]
        assert moved == [False, True, True]

    def test_steps_reach_the_optimizer(self, toy: Toy) -> None:
        """`--lr-step` would change nothing."""
        copies: list[dict[str, np.ndarray]] = []
        net = toy.model()
        settings = TransferSettings(lr_step=("heads.*=4",), lr_decay=0.0, lr_floor=0.0)
        groups = resolve(net, settings, 0.01)
        feed = Noting(ArrayFeed(toy.inputs), lambda n: copies.append(weights(net)))
        plan = FitSettings(epochs=2, learning_rate=0.01, schedule="step")
        toy.fit(net, settings=plan, groups=groups, feed=feed)
        heads, bodies = (
            [not np.array_equal(a[name], b[name]) for a, b in itertools.pairwise(copies)]
            for name in ("heads.task:mood.bias", "shared.dense1.0.bias")
        )
        assert heads == [True] * 4 + [False] * (len(heads) - 4)
        assert all(bodies)

    def test_steps_and_their_schedule_go_together(self, toy: Toy) -> None:
        """One of both options would be ignored in silence."""
        with pytest.raises(UsageError, match="add --lr-step 10000"):
            toy.fit(toy.model(), settings=FitSettings(schedule="step"))
        net = toy.model()
        groups = resolve(net, TransferSettings(lr_step=("10",)), 0.001)
        with pytest.raises(UsageError, match="say --schedule step"):
            toy.fit(net, groups=groups)


def test_clipping_bounds_the_step(toy: Toy) -> None:
    """`--clip` would do nothing."""
    net = toy.model()
    before = weights(net)
    settings = FitSettings(samples=1, clip=0.01, optimizer="sgd", learning_rate=1.0)
    toy.fit(net, settings=settings, valid=toy.valid[:0])
    steps = [weights(net)[name] - before[name] for name, _ in net.named_parameters()]
    norm = np.sqrt(sum(float((step.astype(np.float64) ** 2).sum()) for step in steps))
    assert norm == pytest.approx(1.9 * 0.01, rel=1e-3)  # Nesterov's first step is g + .9 g


def test_mixed_precision_learns_as_much(toy: Toy) -> None:
    """`--precision mixed` would not learn, or leave weights of 16 bits."""
    nets = [toy.model() for _ in range(2)]
    histories = [
        toy.fit(net, settings=FitSettings(epochs=20, learning_rate=0.01, precision=precision))
        for net, precision in zip(nets, ("float32", "mixed"), strict=True)
    ]
    assert not same(weights(nets[0]), weights(nets[1]))
    assert {value.dtype for value in weights(nets[1]).values()} == {
        np.dtype(np.float32),
        np.dtype(np.int64),
    }
    full, mixed = (min(epoch.valid_total for epoch in h.epochs) for h in histories)
    assert mixed == pytest.approx(full, rel=0.1)  # bfloat16 has 8 bits


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_a_gpu_learns_what_the_cpu_learns(toy: Toy, precision: str) -> None:
    """Training on a GPU would be another training."""
    losses = []
    for device in ("cpu", "cuda"):
        net = toy.model(dropout=0.0)
        settings = FitSettings(epochs=5, precision=precision, weighting="uncertainty")
        losses.append(toy.fit(net, settings=settings, device=device).epochs[-1].valid_total)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3 if precision == "float32" else 0.05)


class TestFailures:
    """What goes wrong, and what is said then."""

    def test_divergence_says_what_to_try(self, toy: Toy) -> None:
        """A learning rate too high would leave a model of NaN behind."""
        with pytest.raises(RunError, match="try --learning-rate 1e\\+19, or standardise") as caught:
            toy.fit(
                toy.model(),
                settings=FitSettings(epochs=50, learning_rate=1e20, optimizer="sgd"),
            )
        assert not isinstance(caught.value, UsageError)

    def test_the_rows_and_the_task_are_named(self, toy: Toy) -> None:
        """Nobody could find the label that breaks a run of days."""
        values, mask = toy.targets["energy"]
        values = values.copy()
        broken = toy.train[mask[toy.train]][17]
        values[broken] = 1e30  # its square is beyond float32
        ids = [f"song-{row:03d}" for row in range(ROWS)]
        feed = Noting(ArrayFeed(toy.inputs))
        with pytest.raises(RunError) as caught:
            toy.fit(
                toy.model(),
                settings=FitSettings(epochs=1, batch_size=32),
                targets={**toy.targets, "energy": (values, mask)},
                feed=feed,
                ids=ids,
            )
        number, rows = next((n, r) for n, r in enumerate(feed.batches) if broken in r)
        message = str(caught.value)
        assert f"loss of energy is not finite in epoch 1, update {number + 1} " in message
        assert all(ids[row] in message for row in rows)

    def test_broken_inputs_are_named(self, toy: Toy) -> None:
        """NaN features would be blamed on the learning rate."""
        for rows in (toy.train, toy.valid):
            inputs = toy.inputs.copy()
            inputs[rows[-7:], 2] = np.nan
            with pytest.raises(
                RunError, match=r"some inputs are NaN or infinite \(row \d+"
            ) as caught:
                toy.fit(toy.model(), feed=ArrayFeed(inputs))
            named = {int(number) for number in re.findall(r"row (\d+)", str(caught.value))}
            assert named
            assert named <= {*rows[-7:].tolist()}

    def test_a_checkpoint_is_not_overwritten_by_nan(self, toy: Toy, tmp_path: Path) -> None:
        """A run that breaks could not go on from before."""
        path = tmp_path / "run.safetensors"
        values, mask = toy.targets["energy"]
        values = np.where(np.arange(ROWS) == toy.train[mask[toy.train]][0], 1e30, values)
        settings = FitSettings(epochs=3, batch_size=2, checkpoint_every=1)
        with pytest.raises(RunError):
            toy.fit(
                toy.model(),
                settings=settings,
                targets={**toy.targets, "energy": (values.astype(np.float32), mask)},
                checkpoint=path,
            )
        from mt_tools.tables.document import read_document

        _, tensors = read_document(path)
        assert all(np.isfinite(t).all() for name, t in tensors.items() if name.startswith("net/"))


class TestMemory:
    """Memory that does not suffice for a batch."""

    @staticmethod
    def small(net: MultiTask, rows: int) -> MultiTask:
        """Let a network run out of memory above a number of rows, as a device does."""

        def check(_: nn.Module, given: tuple[Any, ...]) -> None:
            if len(given[0]) > rows and torch.is_grad_enabled():
                raise torch.OutOfMemoryError("CUDA out of memory.")

        net.register_forward_pre_hook(check)
        return net

    @pytest.mark.parametrize(
        ("names", "weighting"),
        # Labels of all rows and of some; learned weights, which move once a batch and not a part.
        [
            (("genre",), "fixed"),
            (("genre", "mood", "energy"), "fixed"),
            (("energy",), "uncertainty"),
        ],
    )
    def test_parts_add_up_to_the_batch(
        self, toy: Toy, names: tuple[str, ...], weighting: str
    ) -> None:
        """A batch that does not fit would end the run, or teach something else."""
        settings = FitSettings(samples=64, optimizer="sgd", learning_rate=0.3, weighting=weighting)
        tasks = toy.only(*names)
        nets = [toy.model(tasks, dropout=0.0, batch_norm=False) for _ in range(2)]
        said: list[str] = []
        others: dict[str, Any] = {"tasks": tasks, "settings": settings, "valid": toy.valid[:0]}
        toy.fit(nets[0], **others)
        self.small(nets[1], 9)
        history = toy.fit(nets[1], **others, say=said.append)
        for name, value in weights(nets[0]).items():
            np.testing.assert_allclose(weights(nets[1])[name], value, atol=1e-6, err_msg=name)
        # 32 rows, 16, and 8, which fit.
        assert said == history.notes
        assert len(said) == 1
        assert "computed 8 rows at a time" in said[0]

    def test_pairs_add_up_too(self, clips: Clips) -> None:
        """The partners of pairs would be sought in parts of the batch."""
        settings = FitSettings(samples=1, optimizer="sgd", learning_rate=1.0, batch_size=16)
        nets = [clips.model() for _ in range(2)]
        self.small(nets[1], 5)
        for net in nets:
            clips.fit(net, settings, valid=clips.valid[:0])
        for name, value in weights(nets[0]).items():
            np.testing.assert_allclose(weights(nets[1])[name], value, atol=1e-6, err_msg=name)

    def test_pairs_are_learned_in_parts_beside_batch_norm(self, clips: Clips) -> None:
        """A part of true pairs alone, and one of false ones, would each be normalised by itself."""
        settings = FitSettings(epochs=60, batch_size=16, learning_rate=0.01, patience=0)
        losses = []
        for seed in range(3):
            net = network(6 * 5, clips.tasks, seed, width=32, dropout=0.0)
            history = clips.fit(self.small(net, 8), settings)
            losses.append(history.epochs[-1].train["self"])
        # In whole batches it is below 0.01, with the classes apart above 0.14.
        assert np.mean(losses) < 0.1

    def test_it_is_said_once(self, toy: Toy) -> None:
        """The log would fill with the same line."""
        said: list[str] = []
        net = self.small(toy.model(), 16)
        history = toy.fit(net, settings=FitSettings(epochs=2), say=said.append)
        assert len(said) == len(history.notes) == 1
        assert "batch norm" in said[0]

    def test_two_rows_must_fit(self, toy: Toy) -> None:
        """A network that never fits would be tried without end."""
        with pytest.raises(RunError, match="out of memory with two rows at once"):
            toy.fit(self.small(toy.model(), 1))


class TestPredict:
    """What a network says about rows."""

    def test_a_memory_map_gives_the_same_model(self, toy: Toy, tmp_path: Path) -> None:
        """Features larger than memory could not be trained on."""
        path = tmp_path / "inputs.npy"
        np.save(path, toy.inputs)
        nets = [toy.model() for _ in range(2)]
        toy.fit(nets[0])
        toy.fit(nets[1], feed=ArrayFeed(np.load(path, mmap_mode="r")))
        assert same(weights(nets[0]), weights(nets[1]))

    def test_it_does_not_depend_on_the_company(self, toy: Toy) -> None:
        """The tags of a track would depend on which other files are in the folder."""
        net = toy.model()
        toy.fit(net)
        net.train()
        rows, feed = toy.test[::-1], ArrayFeed(toy.inputs)
        whole = predict(net, feed, rows, toy.tasks)
        single = predict(net, feed, rows[:1], toy.tasks)
        pieces = predict(net, feed, rows, toy.tasks, batch_size=7)
        twice = predict(net, feed, [rows[3], rows[0], rows[3]], toy.tasks)
        for name in whole:
            assert len(whole[name]) == len(rows)
            np.testing.assert_allclose(whole[name], pieces[name], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(whole[name][:1], single[name], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(whole[name][[3, 0, 3]], twice[name], rtol=1e-5, atol=1e-5)
            assert predict(net, feed, rows[:0], toy.tasks)[name].shape == (
                0,
                *whole[name].shape[1:],
            )

    def test_scores_are_averaged_over_slices(self, clips: Clips) -> None:
        """A model of crops would judge a track by one of them."""
        net = clips.model()
        rows = np.array([5, 2])
        found = predict(net, ArrayFeed(clips.inputs, crop=5), rows, clips.tasks, batch_size=3)[
            "level"
        ]
        task = clips.tasks[1]
        for row, value in zip(rows, found, strict=True):
            crops = clips.inputs[row].reshape(6, 4, 5).transpose(1, 0, 2).copy()
            logits = net(torch.from_numpy(crops), ["level"])["level"].detach().numpy()
            assert value == pytest.approx(logits.mean() * task["std"] + task["mean"], abs=1e-5)

    def test_valid_metrics_are_of_rows_and_losses_of_slices(self, clips: Clips) -> None:
        """Validation would judge crops where a user gets answers about tracks."""
        net = clips.model()
        task = clips.tasks[1]
        history = clips.fit(net, FitSettings(epochs=1, batch_size=16), tasks=[task])
        values, mask = clips.targets["level"]
        rows = clips.valid[mask[clips.valid]]
        crops = clips.inputs[rows].reshape(-1, 6, 4, 5).transpose(0, 2, 1, 3).reshape(-1, 6, 5)
        logits = net(torch.from_numpy(crops.copy()), ["level"])["level"].detach()
        targets = torch.from_numpy(np.repeat(values[rows], 4))
        loss = masked_loss(task, logits, targets, torch.ones(len(targets), dtype=torch.bool))
        assert history.epochs[0].valid["level"] == pytest.approx(float(loss), rel=1e-5)
        means = logits.reshape(-1, 4).mean(1).numpy()
        expected = r2_score(values[rows], means)
        assert history.epochs[0].metrics["level"]["r2"] == pytest.approx(expected, abs=1e-5)


class TestStandardisation:
    """The fixed transform in front of a network."""

    def test_zero_mean_and_unit_deviation(self) -> None:
        """Dimensions of unlike scales would be learned at unlike speeds."""
        rng = np.random.default_rng(1)
        inputs = (rng.standard_normal((600, 3)) * [1e-3, 1, 1e3] + 50).astype(np.float32)
        rows = np.arange(0, 600, 2)
        mean, std = standardiser(ArrayFeed(inputs), rows)
        wide = inputs[rows].astype(np.float64)
        np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(std, wide.std(axis=0), rtol=1e-6)
        assert mean.dtype == std.dtype == np.float32

    def test_features_are_standardised_by_band(self) -> None:
        """The REP study's statistics, one a mel band, would be mixed over bands or frames."""
        rng = np.random.default_rng(2)
        inputs = (rng.standard_normal((300, 2, 4, 10)) * np.arange(1, 5)[:, None]).astype(
            np.float32
        )
        mean, std = standardiser(ArrayFeed(inputs), np.arange(300))
        assert mean.shape == std.shape == (4, 1)
        wide = inputs.astype(np.float64)
        np.testing.assert_allclose(mean[:, 0], wide.mean(axis=(0, 1, 3)), atol=1e-6)
        np.testing.assert_allclose(std[:, 0], wide.std(axis=(0, 1, 3)), rtol=1e-6)

    def test_padding_does_not_count(self) -> None:
        """Short songs would shift the statistics, or make them NaN."""

        class Songs(ArrayFeed):
            def __init__(self, inputs: np.ndarray) -> None:
                super().__init__(inputs)
                self.example_shape = inputs.shape[2:]

        inputs = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
        inputs[1, 1:] = np.nan
        mean, std = standardiser(Songs(inputs), np.arange(2))
        parts = inputs.reshape(-1, 4)[:4]
        np.testing.assert_allclose(mean, parts.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(std, parts.std(axis=0), rtol=1e-6)

    @pytest.mark.parametrize("value", [0.0, 0.1, -1234.567])
    def test_a_constant_dimension_becomes_zero(self, value: float) -> None:
        """A dead dimension would be blown up to noise or NaN."""
        inputs = np.full((1000, 1), value, dtype=np.float32)
        mean, std = standardiser(ArrayFeed(inputs), np.arange(1000))
        np.testing.assert_array_equal(std, [1.0])
        np.testing.assert_allclose((inputs - mean) / std, 0, atol=1e-6)

    def test_it_is_stored_in_the_network(self, toy: Toy) -> None:
        """A saved model would take raw vectors for standardised ones."""
        net = standardising(toy.tasks)
        raw = toy.inputs * 100 + 7
        before = predict(net, ArrayFeed(toy.inputs), toy.test, toy.tasks)
        mean = np.full(DIMENSIONS, 7, np.float32)
        assert set_standardisation(net, mean, np.full(DIMENSIONS, 100, np.float32))
        np.testing.assert_array_equal(net.state_dict()["shared.input.mean"], mean)
        after = predict(net, ArrayFeed(raw), toy.test, toy.tasks)
        for name in before:
            np.testing.assert_allclose(before[name], after[name], rtol=1e-4, atol=1e-4)

    def test_a_network_without_the_layer_is_left_alone(self, toy: Toy) -> None:
        """A convolutional network, which has its own norm, would be refused."""
        assert not set_standardisation(toy.model(), np.zeros(2), np.ones(2))

    def test_another_size_is_refused(self, toy: Toy) -> None:
        """One number would be spread over all dimensions in silence."""
        with pytest.raises(ValueError, match="the network expects"):
            set_standardisation(standardising(toy.tasks), np.zeros(1), np.ones(1))


def standardising(tasks: list[Task]) -> MultiTask:
    """Return a network that standardises its inputs."""
    layers = {"input": Standardise(DIMENSIONS), "dense1": nn.Linear(DIMENSIONS, 4)}
    heads = {"genre": 3, "mood": 2, "energy": 1}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return MultiTask(iter([Body(layers, 4)]), {n: Head(k) for n, k in heads.items()})


def test_settings_are_all_recorded() -> None:
    """A model file would not say how it was trained."""
    settings = FitSettings(seed=3, weighting="dwa")
    assert FitSettings(**result_settings(settings)) == settings


def test_shuffling_covers_every_row_and_differs_by_epoch(toy: Toy) -> None:
    """Rows would be left out, or met in the same order in each epoch."""
    feed = Noting(ArrayFeed(toy.inputs))
    tasks = toy.only("energy")
    toy.fit(toy.model(tasks), tasks, FitSettings(epochs=2, batch_size=30), feed=feed)
    rows = toy.train[toy.targets["energy"][1][toy.train]]
    met = np.concatenate(feed.batches)
    first, second = met[: len(rows)], met[len(rows) :]
    assert sorted(first) == sorted(second) == rows.tolist()
    assert not np.array_equal(first, second)


def test_fit_is_called_with_a_plain_feed(toy: Toy) -> None:
    """The loop would need more of a feed than its protocol says."""
    net = toy.model()
    history = fit(
        net,
        ArrayFeed(toy.inputs),
        toy.targets,
        toy.tasks,
        toy.train.tolist(),
        toy.valid.tolist(),
        FitSettings(epochs=1),
    )
    assert history.best_epoch == 1
    assert not net.training

"""The training loop on toy problems that can be learned, and on what must not upset it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from torch import nn

from mt_tools.errors import RunError, UsageError
from mt_tools.learn.fit import (
    Epoch,
    History,
    fit,
    predict,
    set_input_standardisation,
    standardiser,
)
from mt_tools.learn.settings import OPTIMIZERS, FitSettings
from mt_tools.settings import result_settings
from mt_tools.tasks.kinds import encode, make_task, outputs, scores
from mt_tools.tasks.losses import masked_loss

ROWS, DIMENSIONS = 240, 8


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small only lose time to more threads, on a busy machine a great deal."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Body(nn.Module):
    """A hidden layer with batch norm and dropout, which takes raw vectors."""

    def __init__(self, dimensions: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("input_mean", torch.zeros(dimensions))
        self.register_buffer("input_std", torch.ones(dimensions))
        self.layers = nn.Sequential(
            nn.Linear(dimensions, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1)
        )

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Map [n, dimensions] to [n, width]."""
        return self.layers((x - self.input_mean) / self.input_std)


class Model(nn.Module):
    """A body and one linear head a task: what `fit` expects of any network."""

    def __init__(self, heads: dict[str, int], seed: int = 0, width: int = 16) -> None:
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.body = Body(DIMENSIONS, width)
            self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in heads.items()})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map [n, dimensions] to logits by task."""
        embedding = self.body.embed(x)
        return {name: head(embedding) for name, head in self.heads.items()}


class Toy:
    """Three tasks on random vectors, of which a fifth of the labels is missing."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.inputs = rng.standard_normal((ROWS, DIMENSIONS)).astype(np.float32)
        rows = np.arange(ROWS)
        self.train, self.valid, self.test = rows[:140], rows[140:190], rows[190:]
        x = self.inputs
        # Each label is a clear function of the vector; the class is that of the largest of three.
        self.columns: dict[str, np.ndarray] = {
            "genre": np.array(["jazz", "pop", "rock"], dtype=object)[x[:, :3].argmax(axis=1)],
            "mood": np.empty(ROWS, dtype=object),
            "energy": 120.0 + 20.0 * (x[:, 3] - x[:, 0]),
        }
        for row in rows:
            named = (("calm", x[row, 4]), ("dark", x[row, 5] - 0.5))
            self.columns["mood"][row] = [tag for tag, score in named if score > 0]
        in_train = np.isin(rows, self.train)
        for name, values in self.columns.items():
            values[rng.random(ROWS) < 0.2] = np.nan if name == "energy" else None
        self.tasks = [
            make_task(name, None, values, in_train) for name, values in self.columns.items()
        ]
        self.targets = {
            task["name"]: encode(task, self.columns[task["name"]]) for task in self.tasks
        }

    def only(self, *names: str) -> list[dict[str, Any]]:
        """Return the tasks of these names."""
        return [task for task in self.tasks if task["name"] in names]

    def model(self, tasks: list[dict[str, Any]], seed: int = 0) -> Model:
        """Make a fresh model for the tasks."""
        return Model({task["name"]: outputs(task) for task in tasks}, seed)

    def fit(
        self,
        model: nn.Module,
        tasks: list[dict[str, Any]] | None = None,
        settings: FitSettings | None = None,
        **others: Any,
    ) -> History:
        """Fit on the train rows, stopping by the valid rows, unless `others` says otherwise."""
        arguments: dict[str, Any] = {
            "inputs": self.inputs,
            "targets": self.targets,
            "tasks": tasks or self.tasks,
            "train": self.train,
            "valid": self.valid,
            "settings": settings or FitSettings(epochs=3),
        }
        return fit(model, **{**arguments, **others})

    def labelled(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return those of the rows that carry the label."""
        return rows[self.targets[name][1][rows]]


@pytest.fixture(scope="module")
def toy() -> Toy:
    """Return one toy problem for all tests, which leave it as it is."""
    return Toy()


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Copy parameters and running statistics."""
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two sets of weights are equal to the bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def assert_learned(toy: Toy, task: dict[str, Any], logits: np.ndarray, rows: np.ndarray) -> None:
    """Hold a task against its constant predictor, on the labelled among unseen rows."""
    targets, mask = toy.targets[task["name"]]
    targets, got = targets[rows][mask[rows]], scores(task, logits)[mask[rows]]
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
    model = toy.model(tasks)
    toy.fit(model, tasks, FitSettings(epochs=60, learning_rate=0.01))
    logits = predict(model, toy.inputs, toy.test)
    for task in tasks:
        assert_learned(toy, task, logits[task["name"]], toy.test)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(toy: Toy, optimizer: str) -> None:
    """A choice of `--optimizer` would not train."""
    settings = FitSettings(epochs=8, optimizer=optimizer, learning_rate=0.01, weight_decay=1e-4)
    history = toy.fit(toy.model(toy.tasks), settings=settings)
    assert history.epochs[-1].train_total < 0.9 * history.epochs[0].train_total


def test_twice_the_same(toy: Toy) -> None:
    """A run could not be repeated: same seed, other model."""
    runs = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        model = toy.model(toy.tasks)
        history = toy.fit(model)
        runs.append((weights(model), history))
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert runs[0][1].record() == runs[1][1].record()
    assert "seconds" not in runs[0][1].record()


def test_the_seed_matters_and_global_state_does_not_change(toy: Toy) -> None:
    """`--seed` would do nothing, or a fit would disturb draws and threads elsewhere."""
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    models = [toy.model(toy.tasks) for _ in range(2)]
    for seed, model in enumerate(models):
        toy.fit(model, settings=FitSettings(epochs=1, seed=seed, threads=threads + 1))
    assert not same(weights(models[0]), weights(models[1]))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_early_stopping_restores_the_best_epoch(toy: Toy) -> None:
    """The saved model would be that of the last, overfitted epoch."""
    rng = np.random.default_rng(0)
    # Labels by chance: what is learned in train soon hurts in validation.
    values = np.array(["a", "b"], dtype=object)[rng.integers(2, size=ROWS)]
    task = make_task("chance", None, values, np.isin(np.arange(ROWS), toy.train))
    targets = {"chance": encode(task, values)}
    settings = FitSettings(epochs=100, patience=4, learning_rate=0.01)
    model = Model({"chance": 2}, width=64)
    seen: list[tuple[Epoch, dict[str, np.ndarray]]] = []

    def remember(epoch: Epoch) -> None:
        seen.append((epoch, weights(model)))

    history = toy.fit(model, [task], settings, targets=targets, on_epoch=remember)
    losses = [epoch.valid_total for epoch in history.epochs]
    assert history.stopped == "patience"
    assert history.best_epoch == 1 + int(np.argmin(losses))
    assert len(losses) == history.best_epoch + settings.patience < settings.epochs
    assert [epoch for epoch, _ in seen] == history.epochs
    assert same(weights(model), seen[history.best_epoch - 1][1])
    logits = predict(model, toy.inputs, toy.valid)["chance"]
    loss = masked_loss(
        "multiclass",
        torch.from_numpy(logits),
        *(torch.from_numpy(part[toy.valid]) for part in targets["chance"]),
    )
    assert float(loss) == pytest.approx(min(losses), abs=1e-5)


def test_without_valid_rows_all_epochs_run(toy: Toy) -> None:
    """A table without a valid split could not be trained on, or would stop at random."""
    history = toy.fit(
        toy.model(toy.tasks), settings=FitSettings(epochs=4, patience=1), valid=toy.valid[:0]
    )
    assert history.stopped == "no valid rows"
    assert history.best_epoch == len(history.epochs) == 4
    assert all(epoch.valid_total is None and epoch.valid == {} for epoch in history.epochs)


def test_history_holds_the_weighted_sum_of_the_tasks(toy: Toy) -> None:
    """The learning curves would not show what was minimised."""
    tasks = [{**task, "weight": w} for task, w in zip(toy.tasks, (0.5, 1.0, 3.0), strict=True)]
    history = toy.fit(toy.model(tasks), tasks, FitSettings(epochs=2))
    for epoch in history.epochs:
        for total, parts in ((epoch.train_total, epoch.train), (epoch.valid_total, epoch.valid)):
            expected = sum(task["weight"] * parts[task["name"]] for task in tasks)
            assert total == pytest.approx(expected, rel=1e-9)


def test_rows_without_any_label_take_no_part(toy: Toy) -> None:
    """Unlabelled rows in the table would change the model through batch norm and shuffling."""
    task = toy.only("energy")
    models = [toy.model(task) for _ in range(2)]
    toy.fit(models[0], task)
    toy.fit(models[1], task, train=toy.labelled("energy", toy.train))
    assert same(weights(models[0]), weights(models[1]))


def test_a_masked_label_changes_nothing(toy: Toy) -> None:
    """The value that stands where a label is missing would be learned."""
    models = [toy.model(toy.tasks) for _ in range(2)]
    changed = {}
    for name, (values, mask) in toy.targets.items():
        other = values.copy()
        other[~mask] = 1
        changed[name] = (other, mask)
    toy.fit(models[0])
    toy.fit(models[1], targets=changed)
    assert same(weights(models[0]), weights(models[1]))


def test_a_task_without_valid_labels_does_not_stop_the_others(toy: Toy) -> None:
    """One task labelled in train only would make the validation loss NaN."""
    values, mask = toy.targets["genre"]
    targets = {**toy.targets, "genre": (values, mask & ~np.isin(np.arange(ROWS), toy.valid))}
    history = toy.fit(toy.model(toy.tasks), targets=targets)
    assert set(history.epochs[0].valid) == {"mood", "energy"}
    assert np.isfinite(history.epochs[0].valid_total)


@pytest.mark.parametrize("rows", [2, 32, 33, 65])
def test_a_last_batch_of_one_row_is_merged(toy: Toy, rows: int) -> None:
    """A training set of 33 rows would crash in batch norm."""
    train = toy.labelled("energy", toy.train)[:rows]
    history = toy.fit(toy.model(toy.only("energy")), toy.only("energy"), train=train)
    assert np.isfinite(history.epochs[-1].train_total)


def test_too_few_labelled_rows_are_refused(toy: Toy) -> None:
    """A training set of one row would end in a traceback from batch norm."""
    with pytest.raises(UsageError, match="got 1 labelled training rows"):
        toy.fit(toy.model(toy.tasks), train=toy.train[:1])


def test_frozen_weights_stay(toy: Toy) -> None:
    """A frozen layer would be fine-tuned."""
    model = toy.model(toy.tasks)
    model.body.layers[0].requires_grad_(False)
    before = model.body.layers[0].weight.clone()
    toy.fit(model, settings=FitSettings(epochs=2, optimizer="adamw", weight_decay=0.1))
    assert torch.equal(model.body.layers[0].weight, before)


def test_divergence_says_what_to_try(toy: Toy) -> None:
    """A learning rate too high would leave a model of NaN behind."""
    with pytest.raises(RunError, match="try --learning-rate 1e\\+19, or standardise") as caught:
        toy.fit(
            toy.model(toy.tasks),
            settings=FitSettings(epochs=50, learning_rate=1e20, optimizer="sgd"),
        )
    assert not isinstance(caught.value, UsageError)


def test_broken_inputs_are_named(toy: Toy) -> None:
    """NaN features would be blamed on the learning rate."""
    for rows in (toy.train, toy.valid):
        inputs = toy.inputs.copy()
        inputs[rows[-5:], 2] = np.nan
        with pytest.raises(RunError, match="some inputs are NaN or infinite"):
            toy.fit(toy.model(toy.tasks), inputs=inputs)


def test_a_memory_map_gives_the_same_model(toy: Toy, tmp_path: Path) -> None:
    """Features larger than memory could not be trained on."""
    path = tmp_path / "inputs.npy"
    np.save(path, toy.inputs)
    models = [toy.model(toy.tasks) for _ in range(2)]
    toy.fit(models[0])
    toy.fit(models[1], inputs=np.load(path, mmap_mode="r"))
    assert same(weights(models[0]), weights(models[1]))


def test_predict_does_not_depend_on_the_company(toy: Toy) -> None:
    """The tags of a track would depend on which other files are in the folder."""
    model = toy.model(toy.tasks)
    toy.fit(model)
    model.train()
    rows = toy.test[::-1]
    whole, single = predict(model, toy.inputs, rows), predict(model, toy.inputs, rows[:1])
    pieces = predict(model, toy.inputs, rows, batch_size=7)
    for name in whole:
        assert len(whole[name]) == len(rows)
        np.testing.assert_allclose(whole[name], pieces[name], atol=1e-5)
        np.testing.assert_allclose(whole[name][:1], single[name], atol=1e-5)
        assert predict(model, toy.inputs, rows[:0])[name].shape == (0, whole[name].shape[1])


class TestStandardisation:
    """The fixed transform in front of a body that takes vectors."""

    def test_zero_mean_and_unit_deviation(self) -> None:
        """Dimensions of unlike scales would be learned at unlike speeds."""
        rng = np.random.default_rng(1)
        inputs = (rng.standard_normal((500, 3)) * [1e-3, 1, 1e3] + 50).astype(np.float32)
        mean, std = standardiser(inputs)
        scaled = (inputs - mean) / std
        np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-2)
        np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-3)
        assert mean.dtype == std.dtype == np.float32

    @pytest.mark.parametrize("value", [0.0, 0.1, -1234.567])
    def test_a_constant_dimension_becomes_zero(self, value: float) -> None:
        """A dead dimension would be blown up to noise or NaN."""
        inputs = np.full((100, 1), value, dtype=np.float32)
        mean, std = standardiser(inputs)
        np.testing.assert_array_equal(std, [1.0])
        np.testing.assert_allclose((inputs - mean) / std, 0, atol=1e-6)

    def test_it_is_stored_in_the_body(self, toy: Toy) -> None:
        """A saved model would take raw vectors for standardised ones."""
        model = toy.model(toy.tasks)
        raw = toy.inputs * 100 + 7
        before = predict(model, toy.inputs, toy.test)
        mean = np.full(DIMENSIONS, 7, np.float32)
        assert set_input_standardisation(model.body, mean, np.full(DIMENSIONS, 100, np.float32))
        np.testing.assert_array_equal(model.state_dict()["body.input_mean"], mean)
        after = predict(model, raw, toy.test)
        for name in before:
            np.testing.assert_allclose(before[name], after[name], atol=1e-4)

    def test_a_body_without_buffers_is_left_alone(self) -> None:
        """A convolutional network, which has its own norm, would be refused."""
        assert not set_input_standardisation(nn.Linear(2, 2), np.zeros(2), np.ones(2))

    def test_another_size_is_refused(self, toy: Toy) -> None:
        """One number would be spread over all dimensions in silence."""
        with pytest.raises(ValueError, match="the body expects"):
            set_input_standardisation(toy.model(toy.tasks).body, np.zeros(1), np.ones(1))


def test_settings_are_all_recorded() -> None:
    """A model file would not say how it was trained."""
    recorded = result_settings(FitSettings(seed=3))
    assert FitSettings(**recorded) == FitSettings(seed=3)


def test_shuffling_covers_every_row_and_differs_by_epoch(toy: Toy) -> None:
    """Rows would be left out, or met in the same order in each epoch."""
    orders: list[list[int]] = []
    model = toy.model(toy.only("energy"))
    column = toy.inputs[:, 0].tolist()

    def watch(_: nn.Module, batch: tuple[torch.Tensor]) -> None:
        if model.training:
            orders[-1].extend(column.index(value) for value in batch[0][:, 0].tolist())

    def next_epoch(_: Epoch) -> None:
        orders.append([])

    watched: Callable[..., Any] = model.register_forward_pre_hook(watch).remove
    orders.append([])
    toy.fit(model, toy.only("energy"), valid=toy.valid[:0], on_epoch=next_epoch)
    watched()
    labelled = sorted(toy.labelled("energy", toy.train).tolist())
    assert all(sorted(order) == labelled for order in orders[:3])
    assert all(one != other for one, other in itertools.combinations(orders[:3], 2))

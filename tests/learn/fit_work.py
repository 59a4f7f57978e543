"""Toy problems of the training loop, and what its tests run in processes of their own.

    python fit_work.py killed FOLDER     runs that are killed and go on, in forked children
    torchrun ... fit_work.py shared FOLDER   the same run in several processes

Both write what they found into the folder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mt_tools.learn.augment import Mixing
from mt_tools.learn.checkpoint import remove
from mt_tools.learn.distributed import joined
from mt_tools.learn.feeds import ArrayFeed
from mt_tools.learn.fit import History, fit
from mt_tools.learn.settings import FitSettings
from mt_tools.nets.body import Body, Head, MultiTask, Share
from mt_tools.tasks.kinds import Task, encode, head, make_task

ROWS, DIMENSIONS = 240, 8


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

    def only(self, *names: str) -> list[Task]:
        """Return the tasks of these names."""
        return [task for task in self.tasks if task["name"] in names]

    def model(self, tasks: list[Task] | None = None, seed: int = 0, **others: Any) -> MultiTask:
        """Make a fresh network of one hidden layer for the tasks."""
        return network(DIMENSIONS, self.tasks if tasks is None else tasks, seed, **others)

    def fit(
        self,
        net: MultiTask,
        tasks: list[Task] | None = None,
        settings: FitSettings | None = None,
        **others: Any,
    ) -> History:
        """Fit on the train rows, stopping by the valid rows, unless `others` says otherwise."""
        settings = settings or FitSettings(epochs=3)
        arguments: dict[str, Any] = {
            "feed": ArrayFeed(self.inputs, settings.seed),
            "targets": self.targets,
            "tasks": self.tasks if tasks is None else tasks,
            "train": self.train,
            "valid": self.valid,
            "settings": settings,
        }
        return fit(net, **{**arguments, **others})


class Clips:
    """Rows of features whose crops tell which of four tracks they are from; a task of pairs."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        rows = 64
        names = np.array([f"track{number % 4}" for number in range(rows)], dtype=object)
        patterns = rng.standard_normal((4, 6, 1))
        noise = rng.standard_normal((rows, 6, 20))
        self.inputs = (3 * patterns[np.arange(rows) % 4] + noise).astype(np.float32)
        self.train, self.valid = np.arange(48), np.arange(48, 64)
        columns = {"self": names, "level": self.inputs.mean(axis=(1, 2)).astype(np.float64)}
        columns["self"][::7] = None
        columns["level"][1::5] = np.nan
        every = np.ones(rows, dtype=bool)
        self.tasks = [
            make_task("self", "same-track", columns["self"], every),
            make_task("level", None, columns["level"], every),
        ]
        self.targets = {task["name"]: encode(task, columns[task["name"]]) for task in self.tasks}

    def fit(self, net: MultiTask, settings: FitSettings, **others: Any) -> History:
        """Fit on crops of five frames."""
        arguments: dict[str, Any] = {
            "feed": ArrayFeed(self.inputs, settings.seed, crop=5),
            "targets": self.targets,
            "tasks": self.tasks,
            "train": self.train,
            "valid": self.valid,
            "settings": settings,
        }
        return fit(net, **{**arguments, **others})

    def model(self, seed: int = 0) -> MultiTask:
        """Make a fresh network without batch norm."""
        return network(6 * 5, self.tasks, seed, width=32, dropout=0.0, batch_norm=False)


def network(
    inputs: int,
    tasks: list[Task],
    seed: int = 0,
    width: int = 16,
    dropout: float = 0.1,
    batch_norm: bool = True,
    share: tuple[Share, ...] = (Share(),),
) -> MultiTask:
    """Make a network of two hidden layers, with a head a task."""

    def bodies() -> Iterator[Body]:
        while True:
            layers: list[nn.Module] = [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout)]
            if batch_norm:
                layers.insert(1, nn.BatchNorm1d(width))
            dense = nn.Sequential(nn.Linear(width, width), nn.ReLU())
            yield Body(
                {"input": nn.Flatten(), "dense1": nn.Sequential(*layers), "dense2": dense}, width
            )

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        net = MultiTask(bodies(), {task["name"]: Head(**head(task)) for task in tasks}, share)
        for task in tasks:  # REP's pair head has a batch norm, which has its own test
            if net.specs[task["name"]].pair and not batch_norm:
                net.head(task["name"])[1] = nn.Identity()
    return net


def weights(net: nn.Module) -> dict[str, np.ndarray]:
    """Copy parameters and running statistics."""
    return {name: value.numpy().copy() for name, value in net.state_dict().items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two sets of weights are equal to the bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


class Noting:
    """A feed that notes what it is asked for, and calls `before` ahead of each batch."""

    def __init__(self, feed: ArrayFeed, before: Callable[[int], object] = lambda n: None) -> None:
        self.feed, self.before = feed, before
        self.example_shape, self.random_crops = feed.example_shape, feed.random_crops
        self.mixes, self.drawing = feed.mixes, feed.drawing
        self.passes: list[tuple[int, list[int]]] = []
        self.batches: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.feed)

    def steps(self, rows: np.ndarray, batch_size: int) -> int:
        """Return the number of batches."""
        return self.feed.steps(rows, batch_size)

    def train(
        self, rows: np.ndarray, epoch: int, batch_size: int, views: int = 1, skip: int = 0
    ) -> Iterator[tuple[np.ndarray, list[Tensor]]]:
        """Yield the batches of the feed."""
        self.passes.append((epoch, sorted(rows.tolist())))
        for chosen, given in self.feed.train(rows, epoch, batch_size, views, skip):
            self.before(len(self.batches))
            self.batches.append(chosen)
            yield chosen, given

    def read(self, rows: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield the batches of the feed."""
        return self.feed.read(rows, batch_size)

    def mixing(self, rows: np.ndarray, epoch: int) -> Mixing | None:
        """Return whom the feed mixes rows with."""
        return self.feed.mixing(rows, epoch)

    def prepare(
        self,
        x: Tensor,
        rows: np.ndarray,
        epoch: int | None,
        view: int = 0,
        partners: np.ndarray | None = None,
    ) -> Tensor:
        """Return what the feed makes of a batch."""
        return self.feed.prepare(x, rows, epoch, view, partners)

    def reseeded(self, seed: int) -> Noting:
        """Return a feed that notes for itself, with the draws of another seed."""
        return Noting(self.feed.reseeded(seed), self.before)


# Runs that are killed

KILLED: dict[str, FitSettings] = {
    # 140 rows in batches of 16 are 9 updates a pass; three tasks make 27 an epoch.
    "random": FitSettings(
        epochs=3,
        batch_size=16,
        task_schedule="random",
        weighting="uncertainty",
        optimizer="adamw",
        weight_decay=0.01,
        schedule="cosine",
        warmup=5,
        clip=1.0,
        checkpoint_every=7,
        validate_every=10,
    ),
    "all": FitSettings(
        epochs=6,
        batch_size=16,
        weighting="dwa",
        optimizer="sgd",
        learning_rate=0.01,
        patience=3,
        stop_on="genre.accuracy",
        checkpoint_every=2,
    ),
}
MOMENTS = (3, 16, 20, 25)
"""Batches before which a run is killed, counted from where it went on."""


def killed(folder: Path) -> None:
    """Run each of `KILLED` at once, and again with a kill at every moment."""
    toy = Toy()
    # What is imported late, once for all children.
    import scipy.stats  # noqa: F401

    torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    for name, settings in KILLED.items():
        child(partial(run, toy, settings, folder / f"{name}.whole", folder / "unused"))
        path = folder / f"{name}.safetensors"
        for moment in (*MOMENTS, "writing"):
            child(partial(run, toy, settings, folder / name, path, moment))
        child(partial(run, toy, settings, folder / f"{name}.resumed", path))


def child(work: Callable[[], object]) -> None:
    """Do something in a forked process, and wait for its end.

    Torch computes in the children only, so that forking is safe.
    """
    sys.stdout.flush()
    number = os.fork()
    if number == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    os.waitpid(number, 0)


def run(
    toy: Toy, settings: FitSettings, out: Path, path: Path, moment: int | str | None = None
) -> None:
    """Fit with checkpoints at `path`; write weights and history, unless killed at a moment."""
    seen: list[int] = []

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def before(_: int) -> None:
        seen.append(1)
        if len(seen) == moment:
            die()

    if moment == "writing":
        os.fsync = die  # the file is written, and has not got its name yet
    net = toy.model()
    feed = Noting(ArrayFeed(toy.inputs), before)
    history = toy.fit(net, settings=settings, feed=feed, checkpoint=path, resume=True)
    np.savez(f"{out}.npz", **weights(net))
    Path(f"{out}.txt").write_text(f"{told(history)}\n{history.records}\n")
    Path(f"{out}.seen").write_text(str(len(seen)))
    if path.name == "unused":
        remove(path)


def told(history: History) -> str:
    """Return a history as a model file holds it."""
    return json.dumps(history.record(), sort_keys=True)


# Runs in several processes

SHARED: dict[str, FitSettings] = {
    "all": FitSettings(epochs=3, learning_rate=0.01, batch_size=31, weighting="uncertainty"),
    "random": FitSettings(
        epochs=2, learning_rate=0.01, task_schedule="random", clip=0.5, batch_size=33
    ),
    "pairs": FitSettings(epochs=2, learning_rate=0.01, batch_size=16),
    "few": FitSettings(epochs=3, learning_rate=0.01, batch_size=2),
}


def shared_run(name: str) -> tuple[MultiTask, History]:
    """Fit one of `SHARED`, alone or with the others that torchrun started."""
    settings = SHARED[name]
    if name == "pairs":
        clips = Clips()
        net = clips.model()
        return net, clips.fit(net, settings)
    toy = Toy()
    net = toy.model(batch_norm=False, dropout=0.0)
    train = toy.train[:9] if name == "few" else toy.train
    return net, toy.fit(net, settings=settings, train=train)


def shared(folder: Path) -> None:
    """Fit all of `SHARED`; each process writes its weights, the first alone its records."""
    with joined("cpu") as world:
        for name in SHARED:
            net, history = shared_run(name)
            np.savez(folder / f"{name}.{world.rank}.npz", **weights(net))
            (folder / f"{name}.{world.rank}.txt").write_text(told(history))
        toy, records = Toy(), []
        net = toy.model()
        path = folder / f"checkpoint.{world.rank}"
        settings = FitSettings(epochs=2, checkpoint_every=1)
        toy.fit(net, settings=settings, on_record=records.append, checkpoint=path)
        np.savez(folder / f"norm.{world.rank}.npz", **weights(net))
        net = toy.model()
        toy.fit(net, settings=settings, valid=toy.valid[:0])
        np.savez(folder / f"last.{world.rank}.npz", **weights(net))
        (folder / f"told.{world.rank}").write_text(f"{len(records)} {path.exists()}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"killed": killed, "shared": shared}[sys.argv[1]](Path(sys.argv[2]))

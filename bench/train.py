"""Time a training step against a bare PyTorch loop over the same tensors, in one run.

    python bench/train.py

Prints a Markdown table: microseconds a step (the median of several turns), and how many times those
of the bare loop ours takes. The bare loop is what one writes by hand: shuffle, index, forward, sum
of the losses, backward, `torch.optim.Adam`; it knows no missing labels, no curves, no checkpoints.
A second one has the fused Adam, which ours has too. One thread; batches of 32.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mt_tools.learn.feeds import ArrayFeed
from mt_tools.learn.fit import fit
from mt_tools.learn.settings import FitSettings
from mt_tools.nets.body import MultiTask
from mt_tools.nets.build import build_multitask
from mt_tools.tasks.kinds import Task, encode, make_task, outputs

TURNS = 7
BATCH = 32


def labels(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Return label columns like those of the DJ study: 6 and 23 classes, a number, 8 tags."""
    tags = np.empty(rows, dtype=object)
    for row in range(rows):
        tags[row] = [f"t{tag}" for tag in np.flatnonzero(rng.random(8) < 0.3)]
    return {
        "genre": np.array([f"g{c}" for c in rng.integers(6, size=rows)], dtype=object),
        "subgenre": np.array([f"s{c}" for c in rng.integers(23, size=rows)], dtype=object),
        "energy": rng.standard_normal(rows),
        "situation": tags,
    }


def bare(
    net: MultiTask,
    inputs: Tensor,
    targets: dict[str, Tensor],
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]],
    epochs: int,
    fused: bool | None,
) -> None:
    """Train as one does by hand."""
    net.train()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001, fused=fused)
    for _ in range(epochs):
        order = torch.randperm(len(inputs))
        for start in range(0, len(inputs), BATCH):
            chosen = order[start : start + BATCH]
            logits = net(inputs[chosen])
            parts = [losses[name](logits[name], targets[name][chosen]) for name in losses]
            loss = torch.stack(parts).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def squared(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of a head of one output."""
    return functional.mse_loss(logits[:, 0], targets)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "multiclass": functional.cross_entropy,
    "multilabel": functional.binary_cross_entropy_with_logits,
    "regression": squared,
}


def compare(
    what: str, arch: str, shape: tuple[int, ...], names: list[str], rows: int, epochs: int
) -> None:
    """Print the rows of the table for one network, contestants taking turns."""
    rng = np.random.default_rng(0)
    columns = {name: column for name, column in labels(rng, rows).items() if name in names}
    every = np.ones(rows, dtype=bool)
    tasks: list[Task] = [make_task(name, None, column, every) for name, column in columns.items()]
    encoded = {task["name"]: encode(task, columns[task["name"]]) for task in tasks}
    inputs = rng.standard_normal((rows, *shape)).astype(np.float32)
    heads = {task["name"]: outputs(task) for task in tasks}
    losses = {task["name"]: LOSSES[task["kind"]] for task in tasks}
    targets = {name: torch.from_numpy(values) for name, (values, _) in encoded.items()}
    settings = FitSettings(epochs=epochs, batch_size=BATCH, threads=1, validate_every=0)
    feed, train, none = ArrayFeed(inputs), np.arange(rows), np.arange(0)

    def ours(net: MultiTask) -> None:
        fit(net, feed, encoded, tasks, train, none, settings)

    by_hand = partial(bare, inputs=torch.from_numpy(inputs), targets=targets, losses=losses)
    contestants: dict[str, Callable[[MultiTask], object]] = {
        "mt_tools": ours,
        "bare loop": partial(by_hand, epochs=epochs, fused=None),
        "bare loop, fused Adam": partial(by_hand, epochs=epochs, fused=True),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(TURNS + 1):
        for name, train_once in contestants.items():
            net = build_multitask(arch, {}, shape, heads)
            start = time.perf_counter()
            train_once(net)
            if turn:  # the first turn fills caches
                times[name].append(time.perf_counter() - start)
    steps = epochs * (rows // BATCH)
    medians = {name: statistics.median(turns) / steps for name, turns in times.items()}
    for name, median in medians.items():
        ratio = medians["mt_tools"] / median
        print(f"| {what} | {name} | {median * 1e6:,.0f} | {ratio:.2f} |")
        sys.stdout.flush()


def main() -> None:
    """Compare a small network, of one task and of several, and one of images."""
    torch.set_num_threads(1)
    every = ["genre", "subgenre", "energy", "situation"]
    print("| network | loop | µs a step | ours takes times |")
    print("|---|---|---:|---:|")
    compare("mlp 480-128-64, 1 task", "mlp", (480,), ["genre"], 2048, 8)
    compare("mlp 480-128-64, 4 tasks", "mlp", (480,), every, 2048, 6)
    compare("cnn 48 x 64, 4 tasks", "cnn", (48, 64), every, 256, 1)


if __name__ == "__main__":
    main()

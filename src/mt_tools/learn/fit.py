"""The training loop: many tasks, missing labels, early stopping, the same result twice.

Goal: fit a multitask network on rows of which each may lack the labels of some tasks.

Source: early stopping on a validation part instead of the reported one, as STUDIES, "Leaks and
selection in the studies", asks; the loss is the tasks' weighted sum (`tasks.losses`).

Conventions: a model is a `torch.nn.Module` whose `forward(x)` gives a dict of logits [n, outputs]
by task name. Inputs are rows of one array, which may be a memory map: batches are read from it as
they are needed. Epochs count from 1. The device is the caller's choice.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mt_tools.errors import RunError, UsageError
from mt_tools.learn.settings import OPTIMIZERS, FitSettings
from mt_tools.tasks.kinds import Task
from mt_tools.tasks.losses import total_loss

Targets = Mapping[str, tuple[NDArray[Any], NDArray[np.bool_]]]
"""Targets and mask of every row, by task name: what `tasks.kinds.encode` returns."""

SGD_MOMENTUM = 0.9


@dataclass(frozen=True)
class Epoch:
    """The losses of one epoch: totals, and means over labelled rows by task.

    The training losses are those met while the weights moved. `valid_total` is None and `valid`
    empty without validation rows; a task without a labelled row is absent.
    """

    number: int
    train_total: float
    train: dict[str, float]
    valid_total: float | None
    valid: dict[str, float]


@dataclass(frozen=True)
class History:
    """What a fit went through.

    `stopped` is "patience" (early stopping), "epochs" (the limit was reached) or "no valid rows"
    (nothing to stop by: all epochs were run and the last weights kept). `best_epoch` is the epoch
    whose weights the model holds. `seconds` is wall time and the one number that differs between
    two equal runs.
    """

    epochs: list[Epoch]
    best_epoch: int
    stopped: str
    seconds: float = field(compare=False)

    def record(self) -> dict[str, Any]:
        """Return the history as JSON values without the wall time: fit to be stored in a model."""
        return {
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "epochs": [vars(epoch).copy() for epoch in self.epochs],
        }


def fit(
    model: nn.Module,
    inputs: NDArray[np.float32],
    targets: Targets,
    tasks: Sequence[Task],
    train: NDArray[np.intp],
    valid: NDArray[np.intp],
    settings: FitSettings,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[Epoch], object] | None = None,
) -> History:
    """Fit `model` in place on the rows `train`, and keep the weights best on the rows `valid`.

    `inputs` is [n, ...], `targets` covers the same n rows, `train` and `valid` are row numbers;
    rows without any label are left out. Only parameters that require a gradient are moved. The
    model ends on `device` in evaluation mode. Raises `UsageError` when fewer than two training rows
    are labelled and `RunError` when the loss stops being finite.
    """
    started = time.perf_counter()
    device = torch.device(device)
    train, valid = _labelled_rows(train, targets, tasks), _labelled_rows(valid, targets, tasks)
    if len(train) < 2:
        raise UsageError(
            f"got {len(train)} labelled training rows, expected two or more; "
            "label more rows, or move rows into the training split"
        )
    tensors = {
        task["name"]: tuple(torch.from_numpy(np.asarray(part)) for part in targets[task["name"]])
        for task in tasks
    }
    epochs: list[Epoch] = []
    best_loss, best_epoch, best_weights = np.inf, 0, {}
    stopped = "epochs" if len(valid) else "no valid rows"
    with _reproducibly(settings, device):
        model.to(device)
        optimizer = _optimizer(model, settings)
        for number in range(1, settings.epochs + 1):
            torch.manual_seed(_seed(settings.seed, "dropout", number))
            train_total, train_parts = _train_epoch(
                model, optimizer, inputs, tensors, tasks, train, number, settings, device
            )
            valid_total: float | None = None
            valid_parts: dict[str, float] = {}
            if len(valid):
                valid_total, valid_parts = _losses(
                    model, inputs, tensors, tasks, valid, settings, device
                )
                if not np.isfinite(valid_total):
                    raise _diverged(number, settings, inputs[valid])
            epochs.append(Epoch(number, train_total, train_parts, valid_total, valid_parts))
            if on_epoch is not None:
                on_epoch(epochs[-1])
            if valid_total is None:
                best_epoch = number
            elif valid_total < best_loss:
                best_loss, best_epoch = valid_total, number
                best_weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
            elif number - best_epoch >= settings.patience:
                stopped = "patience"
                break
        if best_weights:
            model.load_state_dict(best_weights)
    model.eval()
    return History(epochs, best_epoch, stopped, time.perf_counter() - started)


def predict(
    model: nn.Module,
    inputs: NDArray[np.float32],
    rows: NDArray[np.intp],
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> dict[str, NDArray[np.float32]]:
    """Return the logits [len(rows), outputs] of each task for the given rows of `inputs`.

    The model, which lies on `device`, is left in evaluation mode.
    """
    logits = _predict(model, inputs, np.asarray(rows), batch_size, torch.device(device))
    return {name: values.cpu().numpy() for name, values in logits.items()}


def standardiser(inputs: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation [d] of the training vectors [n, d].

    A dimension that does not vary gets a deviation of 1, so that it becomes 0 and not noise.
    """
    inputs = np.asarray(inputs)
    mean = inputs.mean(axis=0, dtype=np.float64)
    std = inputs.std(axis=0, dtype=np.float64)
    # Below the spacing of float32 around the mean, differences are rounding.
    constant = std <= np.finfo(np.float32).eps * np.abs(mean)
    std = np.where(constant, 1.0, std)
    return mean.astype(np.float32), std.astype(np.float32)


def set_input_standardisation(body: nn.Module, mean: NDArray[Any], std: NDArray[Any]) -> bool:
    """Store a `standardiser` in the buffers `input_mean` and `input_std` of a network's body.

    The body then takes raw vectors, and the model file carries the transform. Returns False, and
    does nothing, for a body without these buffers. Raises `ValueError` when the sizes differ.
    """
    buffers = dict(body.named_buffers(recurse=False))
    if not {"input_mean", "input_std"} <= buffers.keys():
        return False
    for name, values in (("input_mean", mean), ("input_std", std)):
        buffer = buffers[name]
        if tuple(buffer.shape) != np.shape(values):
            raise ValueError(
                f"{name}: got shape {np.shape(values)}, the body expects {tuple(buffer.shape)}"
            )
        buffer.copy_(torch.as_tensor(np.asarray(values, dtype=np.float32)))
    return True


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: NDArray[np.float32],
    targets: Mapping[str, tuple[Tensor, ...]],
    tasks: Sequence[Task],
    rows: NDArray[np.intp],
    number: int,
    settings: FitSettings,
    device: torch.device,
) -> tuple[float, dict[str, float]]:
    """Move the weights through all `rows` once; return total and parts of the loss met."""
    model.train()
    generator = torch.Generator().manual_seed(_seed(settings.seed, "shuffle", number))
    shuffled = rows[torch.randperm(len(rows), generator=generator).numpy()]
    sums = {task["name"]: 0.0 for task in tasks}
    counts = {task["name"]: 0 for task in tasks}
    for batch in _batches(shuffled, settings.batch_size):
        wanted = _targets(targets, batch, device)
        loss, parts = total_loss(model(_input(inputs, batch, device)), wanted, tasks)
        if not torch.isfinite(loss):
            raise _diverged(number, settings, inputs[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        for name, part in parts.items():
            labelled = int(wanted[name][1].sum())
            sums[name] += float(part.detach()) * labelled
            counts[name] += labelled
    means = {name: sums[name] / count for name, count in counts.items() if count}
    return _weighted(means, tasks), means


def _losses(
    model: nn.Module,
    inputs: NDArray[np.float32],
    targets: Mapping[str, tuple[Tensor, ...]],
    tasks: Sequence[Task],
    rows: NDArray[np.intp],
    settings: FitSettings,
    device: torch.device,
) -> tuple[float, dict[str, float]]:
    """Return total and parts of the loss over all `rows` at once, the weights at rest."""
    wanted = _targets(targets, rows, device)
    logits = _predict(model, inputs, rows, settings.batch_size, device)
    _, parts = total_loss(logits, wanted, tasks)
    means = {name: float(part) for name, part in parts.items() if bool(wanted[name][1].any())}
    return _weighted(means, tasks), means


@torch.no_grad()
def _predict(
    model: nn.Module,
    inputs: NDArray[np.float32],
    rows: NDArray[np.intp],
    batch_size: int,
    device: torch.device,
) -> dict[str, Tensor]:
    """Return the logits of `rows`, in evaluation mode, on `device`."""
    model.eval()
    parts = [
        model(_input(inputs, rows[start : start + batch_size], device))
        for start in range(0, max(len(rows), 1), batch_size)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _batches(rows: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    """Yield `rows` in batches; a last batch of one row joins the one before (see FitSettings)."""
    starts = list(range(0, len(rows), size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield rows[start:stop]


def _input(inputs: NDArray[np.float32], rows: NDArray[np.intp], device: torch.device) -> Tensor:
    """Read some rows of the inputs as a float32 tensor on `device`."""
    return torch.from_numpy(np.asarray(inputs[rows], dtype=np.float32)).to(device)


def _targets(
    targets: Mapping[str, tuple[Tensor, ...]], rows: NDArray[np.intp], device: torch.device
) -> dict[str, tuple[Tensor, Tensor]]:
    """Take the targets and masks of some rows to `device`."""
    index = torch.from_numpy(rows)
    return {
        name: (values[index].to(device), mask[index].to(device))
        for name, (values, mask) in targets.items()
    }


def _labelled_rows(
    rows: NDArray[np.intp], targets: Targets, tasks: Sequence[Task]
) -> NDArray[np.intp]:
    """Keep the rows labelled for one task at least: the others would only move batch norm."""
    rows = np.asarray(rows, dtype=np.intp)
    return rows[np.logical_or.reduce([targets[task["name"]][1][rows] for task in tasks])]


def _weighted(means: Mapping[str, float], tasks: Sequence[Task]) -> float:
    """Sum the tasks' mean losses by their weights."""
    return float(sum(t["weight"] * means[t["name"]] for t in tasks if t["name"] in means))


def _optimizer(model: nn.Module, settings: FitSettings) -> torch.optim.Optimizer:
    """Make the optimizer that the settings name."""
    # Frozen parameters never have a gradient, and torch's optimizers pass over those.
    moving, rate, decay = model.parameters(), settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adam":
        return torch.optim.Adam(moving, lr=rate, weight_decay=decay)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(moving, lr=rate, weight_decay=decay)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(moving, lr=rate, momentum=SGD_MOMENTUM, weight_decay=decay)
    raise UsageError(
        f"got optimizer {settings.optimizer!r}, expected one of {', '.join(OPTIMIZERS)}"
    )


def _seed(seed: int, purpose: str, epoch: int) -> int:
    """Derive the seed of one draw, so that no draw depends on how many came before it."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # torch takes a signed 64-bit seed


@contextmanager
def _reproducibly(settings: FitSettings, device: torch.device) -> Iterator[None]:
    """Fix threads, random state (dropout draws from it) and cuDNN's choices; restore them after."""
    threads, deterministic = torch.get_num_threads(), torch.backends.cudnn.deterministic
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            if settings.threads:
                torch.set_num_threads(settings.threads)
            torch.backends.cudnn.deterministic = True
            yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.cudnn.deterministic = deterministic


def _diverged(epoch: int, settings: FitSettings, inputs: NDArray[np.float32]) -> RunError:
    """Make the error of a loss that is no longer a number."""
    if not np.isfinite(inputs).all():
        return RunError(
            f"the loss is not finite in epoch {epoch}: some inputs are NaN or infinite; "
            "remove those rows, or compute their features again"
        )
    return RunError(
        f"the loss is not finite in epoch {epoch}: got learning rate {settings.learning_rate:g}; "
        f"try --learning-rate {settings.learning_rate / 10:g}, or standardise the inputs"
    )

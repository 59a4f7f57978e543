"""Losses and metrics of rows that are not learned from, and what of them training stops by.

Conventions: a row that comes in several slices counts with each of them in the loss, which is what
training minimises; metrics are of the row, whose scores are averaged over its slices. Pairs are
drawn once: the same crops and the same partners at every validation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mt_tools import metrics
from mt_tools.errors import UsageError
from mt_tools.learn.distributed import World
from mt_tools.learn.draws import seed_of
from mt_tools.learn.pairs import partners
from mt_tools.learn.plan import Rows, Targets
from mt_tools.nets.body import MultiTask
from mt_tools.tasks.kinds import Task, decide, outputs, predictable, scores
from mt_tools.tasks.losses import masked_loss

if TYPE_CHECKING:
    from mt_tools.learn.feeds import Feed

METRICS: dict[str, tuple[str, ...]] = {
    "multiclass": ("accuracy", "balanced_accuracy", "f1_macro"),
    "multilabel": ("roc_auc_macro", "roc_auc_weighted", "average_precision_macro"),
    "regression": ("r2", "mae", "mse", "rmse", "pearson", "spearman"),
    "ordinal": ("accuracy", "mae"),
    "distribution": (),
    "same-track": ("accuracy",),
}
"""Metrics while training, by kind of task; `mae` of ordinal in steps."""


@dataclass(frozen=True)
class Criterion:
    """What training stops by: the loss of all tasks (`task` empty), or a metric of one."""

    task: str
    metric: str

    def better(self, value: float | None, best: float | None) -> bool:
        """Whether a value is better than the best so far; one that is undefined never is."""
        if value is None or best is None:
            return value is not None
        return value < best if self.metric in metrics.LOWER_IS_BETTER else value > best

    def value(self, total: float | None, found: Validation) -> float | None:
        """Return the value of a validation; None where it is undefined."""
        if not self.task:
            return total
        if self.metric == "loss":
            return found.losses.get(self.task)
        return found.metrics.get(self.task, {}).get(self.metric)


def criterion(text: str, tasks: Sequence[Task]) -> Criterion:
    """Return what `--stop-on` names; a wrong one raises `UsageError` with the right ones."""
    known = {"loss": Criterion("", "loss")}
    for task in tasks:
        name = task["name"]
        for metric in ("loss", *METRICS[task["kind"]]):
            known[f"{name}.{metric}"] = Criterion(name, metric)
    if text not in known:
        raise UsageError(f"--stop-on {text}: choose one of {', '.join(known)}")
    return known[text]


@dataclass(frozen=True)
class Validation:
    """Mean losses and metrics by task, without what is undefined; rows whose loss is not finite."""

    losses: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    broken: dict[str, Rows] = field(default_factory=dict)


@dataclass
class _Found:
    """Logits of the rows [m] that came, and the targets they are held against."""

    rows: list[Rows] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    masks: list[Tensor] = field(default_factory=list)


def validate(
    net: MultiTask,
    feed: Feed,
    rows: Rows,
    targets: Targets,
    tasks: Sequence[Task],
    batch_size: int,
    seed: int,
    device: torch.device,
    world: World,
) -> Validation:
    """Return what the network makes of `rows`, the same in every process of `world`.

    The network lies on `device` and is left in evaluation mode.
    """
    net.eval()
    single = [task for task in tasks if predictable(task)]
    pairs = [task for task in tasks if not predictable(task)]
    found = {task["name"]: _Found() for task in tasks}
    mine = np.array_split(rows, world.size)[world.rank]
    for chosen, logits in _logits(net, feed, mine, [t["name"] for t in single], batch_size, device):
        for task in single:
            name = task["name"]
            values, mask = targets[name]
            _keep(found[name], chosen, logits[name], values[chosen], mask[chosen])
    for task in pairs:
        _compare(net, feed, rows, targets, task, batch_size, seed, device, world, found)
    everyone = world.gather(found)
    result = None
    if world.first:
        result = Validation()
        for task in tasks:
            _judge(task, [part[task["name"]] for part in everyone], result)
    return world.from_first(result)


def predict(
    net: MultiTask,
    feed: Feed,
    rows: NDArray[Any],
    tasks: Sequence[Task],
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> dict[str, NDArray[Any]]:
    """Return the scores [len(rows), ...] of each task (`tasks.kinds.scores`), pairs left out.

    The scores of a row are means over its slices; those of a row that cannot be read are NaN. The
    network, which lies on `device`, is left in evaluation mode.
    """
    net.eval()
    device = torch.device(device)
    tasks = [task for task in tasks if predictable(task)]
    wanted, place = np.unique(np.asarray(rows, dtype=np.intp), return_inverse=True)
    names = [task["name"] for task in tasks]
    pieces: dict[str, list[NDArray[Any]]] = {
        task["name"]: [scores(task, np.zeros((0, outputs(task))))] for task in tasks
    }
    came = [wanted[:0]]
    for chosen, logits in _logits(net, feed, wanted, names, batch_size, device):
        came.append(chosen)
        for task in tasks:
            pieces[task["name"]].append(scores(task, logits[task["name"]].numpy()))
    return {
        name: _means(wanted, np.concatenate(came), np.concatenate(parts))[place]
        for name, parts in pieces.items()
    }


@torch.no_grad()
def _logits(
    net: MultiTask,
    feed: Feed,
    rows: Rows,
    names: Sequence[str],
    batch_size: int,
    device: torch.device,
) -> Iterator[tuple[Rows, dict[str, Tensor]]]:
    """Yield row numbers and the logits of their examples, on the CPU."""
    if not len(rows) or not names:
        return
    for chosen, x in feed.read(rows, batch_size):
        logits = net(feed.prepare(x.to(device), chosen, None), names)
        yield chosen, {name: values.cpu() for name, values in logits.items()}


@torch.no_grad()
def _compare(
    net: MultiTask,
    feed: Feed,
    rows: Rows,
    targets: Targets,
    task: Task,
    batch_size: int,
    seed: int,
    device: torch.device,
    world: World,
    found: Mapping[str, _Found],
) -> None:
    """Add the logits of pairs of labelled rows, each process those of its own batches."""
    name = task["name"]
    codes, mask = targets[name]
    rows = rows[mask[rows]]
    if not len(rows):
        return
    for number, (chosen, views) in enumerate(feed.train(rows, 0, batch_size, 2)):
        if number % world.size != world.rank:
            continue
        draw = seed_of(seed, "valid pairs", name, number)
        partner, match = partners(codes[chosen], mask[chosen], draw)
        a, b = views[0], views[1][torch.from_numpy(partner)]
        logits = net.compare(
            name,
            feed.prepare(a.to(device), chosen, None),
            feed.prepare(b.to(device), chosen[partner], None),
        )
        _keep(found[name], chosen, logits.cpu(), match, np.ones(len(match), dtype=bool))


def _keep(
    found: _Found, rows: Rows, logits: Tensor, values: NDArray[Any], mask: NDArray[np.bool_]
) -> None:
    found.rows.append(rows)
    found.logits.append(logits)
    found.targets.append(torch.from_numpy(np.ascontiguousarray(values)))
    found.masks.append(torch.from_numpy(np.ascontiguousarray(mask)))


def _judge(task: Task, parts: Sequence[_Found], result: Validation) -> None:
    """Add the loss and the metrics of one task; nothing where no row is labelled."""
    mask = torch.cat([torch.empty(0, dtype=torch.bool), *(m for p in parts for m in p.masks)])
    if not bool(mask.any()):
        return
    logits = torch.cat([x for part in parts for x in part.logits])
    values = torch.cat([x for part in parts for x in part.targets])
    rows = np.concatenate([x for part in parts for x in part.rows])
    loss = float(masked_loss(task, logits, values, mask))
    result.losses[task["name"]] = loss
    finite = torch.isfinite(logits).all(1) | ~mask
    if not np.isfinite(loss) or not bool(finite.all()):
        result.broken[task["name"]] = np.unique(rows[~finite.numpy()])
        return
    chosen = mask.numpy()
    measured = _measure(task, rows[chosen], logits.numpy()[chosen], values.numpy()[chosen])
    result.metrics[task["name"]] = {
        metric: measured[metric].value
        for metric in METRICS[task["kind"]]
        if np.isfinite(measured[metric].value)
    }


def _measure(
    task: Task, rows: Rows, logits: NDArray[Any], values: NDArray[Any]
) -> dict[str, metrics.Score]:
    """Return the metrics of labelled examples; those of one row are one answer."""
    if not predictable(task):
        return metrics.multiclass(values, logits.argmax(axis=1))
    wanted, first = np.unique(rows, return_index=True)
    return _MEASURES[task["kind"]](task, values[first], _means(wanted, rows, scores(task, logits)))


def _means(wanted: Rows, rows: Rows, values: NDArray[Any]) -> NDArray[Any]:
    """Return the mean of the `values` [n, ...] of each of the `wanted` rows, NaN without any."""
    if len(rows) == len(wanted) and np.array_equal(rows, wanted):
        return values
    place = np.searchsorted(wanted, rows)
    sums = np.zeros((len(wanted), *values.shape[1:]), dtype=np.float64)
    np.add.at(sums, place, values)
    counts = np.bincount(place, minlength=len(wanted)).astype(np.float64)
    counts[counts == 0] = np.nan
    return (sums / counts.reshape(-1, *[1] * (values.ndim - 1))).astype(values.dtype)


def _measure_classes(
    task: Task, truth: NDArray[Any], found: NDArray[Any]
) -> dict[str, metrics.Score]:
    return metrics.multiclass(truth, found.argmax(axis=1))


def _measure_tags(task: Task, truth: NDArray[Any], found: NDArray[Any]) -> dict[str, metrics.Score]:
    return metrics.multilabel(truth, found)


def _measure_numbers(
    task: Task, truth: NDArray[Any], found: NDArray[Any]
) -> dict[str, metrics.Score]:
    # In the column's own units, as `scores` are.
    return metrics.regression(truth.astype(np.float64) * task["std"] + task["mean"], found)


def _measure_steps(
    task: Task, truth: NDArray[Any], found: NDArray[Any]
) -> dict[str, metrics.Score]:
    places = {name: place for place, name in enumerate(task["vocabulary"])}
    predicted = np.array([places[name] for name in decide(task, found)])
    return metrics.multiclass(truth, predicted) | metrics.regression(truth, predicted)


_MEASURES: dict[str, Callable[..., dict[str, metrics.Score]]] = {
    "multiclass": _measure_classes,
    "multilabel": _measure_tags,
    "regression": _measure_numbers,
    "ordinal": _measure_steps,
    "distribution": lambda task, truth, found: {},
}

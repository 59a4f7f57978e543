"""What a fit went through: the losses of each epoch, and the points of the learning curves.

Conventions: epochs and updates count from 1; `samples` are examples seen, the unit of the learning
curves of the REG study (Figs. 5.1 to 5.9). A task without a labelled row is absent, and so is a
metric that is undefined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TOTAL = ""
"""The task's name in the records that are about all tasks together."""


@dataclass(frozen=True)
class Record:
    """One point of a learning curve: the value of a metric after `step` updates.

    `samples` were seen until then. `task` is empty for the total, `split` is train or valid. The
    training losses are means since the record before.
    """

    step: int
    samples: int
    epoch: int
    task: str
    split: str
    metric: str
    value: float


@dataclass(frozen=True)
class Epoch:
    """The losses of one epoch: totals, means over labelled rows by task, metrics of valid rows.

    The training losses are those met while the weights moved. `valid_total` is None and `valid`
    empty without validation rows.
    """

    number: int
    train_total: float
    train: dict[str, float]
    valid_total: float | None
    valid: dict[str, float]
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """What a fit went through.

    `stopped` is "patience" (early stopping), "epochs" or "samples" (the end was reached) or "no
    valid rows" (nothing to stop by: the end was reached and the last weights kept). `best_epoch` is
    the epoch whose weights the model holds. `notes` are what a user should know. `seconds` is wall
    time and the one number that differs between two equal runs.
    """

    epochs: list[Epoch]
    best_epoch: int
    stopped: str
    updates: int
    samples: int
    seconds: float = field(compare=False)
    records: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """Return the history as JSON values without the wall time: fit to be stored in a model.

        The points of the curves (`records`) are left out.
        """
        return {
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "updates": self.updates,
            "samples": self.samples,
            "notes": list(self.notes),
            "epochs": [vars(epoch).copy() for epoch in self.epochs],
        }


class Means:
    """Mean losses by task over many updates, each by what it counted (see `tasks.losses`)."""

    def __init__(self, sums: Mapping[str, tuple[float, float]] | None = None) -> None:
        self.sums = {task: (float(a), float(b)) for task, (a, b) in (sums or {}).items()}

    def add(self, task: str, loss: float, count: float) -> None:
        """Add the mean loss of `count` rows."""
        total, counted = self.sums.get(task, (0.0, 0.0))
        self.sums[task] = (total + loss * count, counted + count)

    def join(self, other: Means) -> None:
        """Add all of other means."""
        for task, (total, counted) in other.sums.items():
            mine = self.sums.get(task, (0.0, 0.0))
            self.sums[task] = (mine[0] + total, mine[1] + counted)

    def values(self) -> dict[str, float]:
        """Return the means by task."""
        return {task: total / counted for task, (total, counted) in self.sums.items() if counted}

"""The loss of each kind of task, over the rows of a batch that are labelled.

Goal: rows that lack a label for one task teach the others. A masked row takes no part in the
task's loss, so its gradient through that head is exactly zero, not merely small.

Source: DESIGN, "Tasks"; the weighted sum of the tasks' losses is what the DJ study asks for as
future work, since its 23-way loss dominated.

Conventions: logits are [n, outputs]; targets and masks are those of `tasks.kinds.encode`, as
tensors. Adding a kind is one row in `LOSSES` beside its row in `tasks.kinds.KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mt_tools.tasks.kinds import Task


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Softmax cross-entropy in nats."""
    return functional.cross_entropy(logits, targets, reduction="none")


def _binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid cross-entropy in nats, mean over the tags: as large for 5 tags as for 50."""
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)


def _squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Squared error on standardised targets: the constant predictor has 1."""
    return (logits[:, 0] - targets).square()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "multiclass": _cross_entropy,
    "multilabel": _binary_cross_entropy,
    "regression": _squared_error,
}
"""Loss of each row [n], by kind."""


def masked_loss(kind: str, logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return the mean loss over the rows where `mask` [n] is true; zero when there is none.

    Without a labelled row the result still depends on `logits`, with a gradient of exactly zero.
    """
    rows = LOSSES[kind](logits[mask], targets[mask])
    return rows.sum() / max(rows.numel(), 1)


def total_loss(
    logits: Mapping[str, Tensor],
    targets: Mapping[str, tuple[Tensor, Tensor]],
    tasks: Sequence[Task],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the sum of the tasks' losses by their weights, and each task's own loss.

    `targets` maps a task's name to its targets and mask.
    """
    parts = {
        task["name"]: masked_loss(task["kind"], logits[task["name"]], *targets[task["name"]])
        for task in tasks
    }
    total = torch.stack([task["weight"] * parts[task["name"]] for task in tasks]).sum()
    return total, parts

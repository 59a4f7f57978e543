"""The loss of each kind of task, over the rows of a batch that are labelled.

Goal: rows that lack a label for one task teach the others. A masked row takes no part in the
task's loss, so its gradient through that head is exactly zero, not merely small.

Source: the weighted sum of the tasks' losses is what the DJ study asks for as future work, since
its 23-way loss dominated. The ordinal loss is that of `tasks.kinds`: the
negative log likelihood of the class, hence as large as a cross-entropy.

Conventions: logits are [n, outputs]; targets and masks are those of `tasks.kinds.encode`, as
tensors, but for a task of pairs, whose logits compare two inputs and whose targets say whether they
belong together (int64, 0 or 1). Adding a kind is one row in `LOSSES` beside its row in
`tasks.kinds.KINDS`. Losses are computed in float32 at least. Nothing here waits for the device: a
row is masked by filling, not by choosing, whose size only the device knows.

Of mixed examples (mixup, CutMix) the targets are mixed by the same weights (`mixed_targets`):
classes, ordinal ones too, become distributions over the vocabulary, float32 [n, classes], and their
loss is the expected one; tags, numbers and distributions stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from mt_tools.tasks.kinds import Task

Number = float | Tensor


def _cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Softmax cross-entropy in nats."""
    return functional.cross_entropy(logits, targets, weights, reduction="none")


def _binary_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Sigmoid cross-entropy in nats, mean over the tags: as large for 5 tags as for 50."""
    return functional.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=weights, reduction="none"
    ).mean(1)


def _squared_error(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Squared error in the task's scale: on standardised targets the constant predictor has 1."""
    return (logits[:, 0] - targets).square()


def _ordinal(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """-log P(y): an output k, asked only of those who reach it, says whether y is above k."""
    if targets.dim() == 2:
        likely = _log_steps(logits)
        return -(targets * (likely if weights is None else likely * weights)).sum(1)
    steps = torch.arange(logits.shape[1], device=logits.device)
    place = targets[:, None]
    errors = functional.binary_cross_entropy_with_logits(
        logits, (place > steps).to(logits.dtype), reduction="none"
    )
    rows = errors.masked_fill(place < steps, 0.0).sum(1)
    return rows if weights is None else rows * weights[targets]


def _log_steps(logits: Tensor) -> Tensor:
    """Return log P(y = k) [n, classes] of ordinal classes."""
    nothing = logits.new_zeros(len(logits), 1)
    reached = torch.cat([nothing, functional.logsigmoid(logits).cumsum(1)], dim=1)
    return reached + torch.cat([functional.logsigmoid(-logits), nothing], dim=1)


def _divergence(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Kullback-Leibler divergence in nats of the softmax from the target distribution."""
    return functional.kl_div(logits.log_softmax(dim=1), targets, reduction="none").sum(1)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "multiclass": _cross_entropy,
    "multilabel": _binary_cross_entropy,
    "regression": _squared_error,
    "ordinal": _ordinal,
    "distribution": _divergence,
    "same-track": _cross_entropy,
}
"""Loss of each row [n], by kind; the last argument are the task's class weights, or None."""

_WEIGHTED_MEAN = ("multiclass", "ordinal")
"""Kinds whose rows weigh what their classes do, as in torch's and scikit-learn's weighted losses.

The positive weights of tags change the loss of a row, and the rows count alike.
"""


def masked_loss(
    task: Task, logits: Tensor, targets: Tensor, mask: Tensor, count: Number | None = None
) -> Tensor:
    """Return the mean loss over the rows where `mask` [n] is true; zero when there is none.

    The mean is the sum over `loss_count`, or over `count`, the same number over all the parts of a
    batch that is computed in parts. Without a labelled row the result still depends on `logits`,
    with a gradient of exactly zero.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    # Before the loss: a row that is masked may hold anything, infinities too.
    logits = logits.masked_fill(~mask[:, None], 0.0)
    wanted = targets.masked_fill(~(mask if targets.dim() == 1 else mask[:, None]), 0)
    rows = LOSSES[task["kind"]](logits, wanted, _weights(task, logits))
    divisor = loss_count(task, targets, mask) if count is None else count
    if isinstance(divisor, Tensor):
        divisor = torch.where(divisor > 0, divisor, torch.ones_like(divisor))
    else:
        divisor = divisor if divisor > 0 else 1.0
    return rows.masked_fill(~mask, 0.0).sum() / divisor


def loss_count(task: Task, targets: Tensor, mask: Tensor) -> Tensor:
    """Return what the mean of `masked_loss` divides by: the labelled rows, or their weights' sum.

    It is a number on the targets' device. The sum over the parts of a batch is that of the batch.
    """
    if task["kind"] in _WEIGHTED_MEAN and task.get("class_weights"):
        like = torch.empty((), dtype=torch.float32, device=targets.device)
        weights = _weights(task, like)
        assert weights is not None
        if targets.dim() == 2:
            return (targets * weights).sum(1).masked_fill(~mask, 0.0).sum()
        return weights[targets.masked_fill(~mask, 0)].masked_fill(~mask, 0.0).sum()
    return mask.sum()


def mixed_targets(task: Task, targets: Tensor, partners: Tensor, weights: Tensor) -> Tensor:
    """Return what a batch of mixed examples is held against: weight * own + (1 - weight) * other.

    `targets` [m, ...] are those of the unmixed rows, `partners` [m] the places of the others in the
    batch, `weights` [m] the rows' own shares. A target is known where both are.
    """
    if task["kind"] in _WEIGHTED_MEAN:
        targets = functional.one_hot(targets, len(task["vocabulary"])).to(torch.float32)
    own = weights.to(targets.dtype).view(-1, *(1,) * (targets.dim() - 1))
    return torch.lerp(targets[partners], targets, own)


def total_loss(
    logits: Mapping[str, Tensor],
    targets: Mapping[str, tuple[Tensor, Tensor]],
    tasks: Sequence[Task],
    weights: Mapping[str, Number] | None = None,
    counts: Mapping[str, Number] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the sum of the tasks' losses by their weights, and each task's own loss.

    `targets` maps a task's name to its targets and mask; `weights` stand in the place of the tasks'
    own, `counts` are those of `masked_loss`.
    """
    parts = {
        task["name"]: masked_loss(
            task,
            logits[task["name"]],
            *targets[task["name"]],
            count=None if counts is None else counts[task["name"]],
        )
        for task in tasks
    }
    pulls = {task["name"]: task["weight"] for task in tasks} if weights is None else weights
    total = torch.stack([pulls[name] * part for name, part in parts.items()]).sum()
    return total, parts


def _weights(task: Task, like: Tensor) -> Tensor | None:
    """Return the task's class weights in the type and on the device of another tensor."""
    values = task.get("class_weights")
    return None if values is None else _kept(tuple(values), like.dtype, like.device)


@lru_cache(maxsize=64)
def _kept(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Make a tensor of class weights once, not anew at every step."""
    return torch.tensor(values, dtype=dtype, device=device)

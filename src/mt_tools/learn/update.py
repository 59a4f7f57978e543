"""One update of the weights: losses, gradients, and the optimizer's step.

Conventions: a mean loss is divided by the labelled rows of the whole batch, also where the batch is
computed in parts, after one another (memory) or in several processes. So parts add up to the whole.
A task without a labelled row in a batch takes no part in it: its head gets no gradient at all. A
mixed example is labelled for a task where both of its halves are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from mt_tools.errors import RunError, UsageError
from mt_tools.learn.distributed import World, has_batch_norm
from mt_tools.learn.draws import seed_of
from mt_tools.learn.pairs import partners
from mt_tools.learn.plan import PAIRS, Batch, Rows, Targets
from mt_tools.learn.settings import OPTIMIZERS, FitSettings
from mt_tools.learn.weighting import Weighting
from mt_tools.nets.body import MultiTask
from mt_tools.tasks.kinds import Task
from mt_tools.tasks.losses import LOSSES, loss_count, masked_loss, mixed_targets

if TYPE_CHECKING:
    from mt_tools.learn.augment import Mixing
    from mt_tools.learn.feeds import Feed

SGD_MOMENTUM = 0.9


@dataclass(frozen=True)
class Made:
    """What an update met: the mean losses of its tasks, and what they were divided by."""

    update: int
    epoch: int
    rows: Rows
    losses: dict[str, float]
    counts: dict[str, float]


@dataclass(frozen=True)
class _Wanted:
    """What a batch is held against, by task: targets and masks (None: all rows are labelled), what
    the mean loss is divided by, the partners of the rows of a task of pairs, and whom the rows are
    mixed with, if they are.
    """

    targets: dict[str, tuple[Tensor, Tensor | None]]
    counts: dict[str, float]
    partners: dict[str, Any]
    mixing: Mixing | None


class Updater:
    """Moves the weights, batch by batch.

    `say` is told once when memory runs out and batches are computed in parts.
    """

    def __init__(
        self,
        net: MultiTask,
        optimizer: torch.optim.Optimizer,
        feed: Feed,
        targets: Targets,
        tasks: Sequence[Task],
        weighting: Weighting,
        settings: FitSettings,
        device: torch.device,
        world: World,
        say: Callable[[str], object],
    ) -> None:
        self.net, self.optimizer, self.feed, self.weighting = net, optimizer, feed, weighting
        self.tasks = {task["name"]: task for task in tasks}
        self.settings, self.device, self.world, self.say = settings, device, world, say
        self.chunk = 0
        """Rows computed at once; 0 = all of a batch."""
        self._targets = {
            name: (torch.from_numpy(values), mask) for name, (values, mask) in targets.items()
        }
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._autocast, self.scaler = _precision(settings, device)
        self._seeds = _generators(device)
        self._made: list[tuple[Batch, dict[str, float], Tensor]] = []

    def __call__(self, batch: Batch) -> None:
        """Move the weights by one batch; what it met waits for `made`."""
        wanted = self._wanted(batch)
        before = self.chunk
        while (losses := self._tried(batch, wanted)) is None:
            self._halve(batch)
        if self.chunk != before:
            self.say(
                f"out of memory: batches are computed {self.chunk} rows at a time and their "
                "gradients added, which gives the same update"
                + (" but for batch norm, which sees these rows" if has_batch_norm(self.net) else "")
            )
        if self.world.size > 1:
            # A process in which a task has no row has a gradient of zero for it, not none.
            self.world.add([p.grad for p in self._parameters if p.grad is not None] + [losses])
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.settings.clip:
            torch.nn.utils.clip_grad_norm_(self._parameters, self.settings.clip)
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self._made.append((batch, wanted.counts, losses))

    @property
    def waiting(self) -> int:
        """The number of updates that `made` has not yet told."""
        return len(self._made)

    def made(self) -> list[Made]:
        """Return what the updates since the last call met.

        This waits for the device, which is why it is not done at every update.
        """
        waiting, self._made = self._made, []
        if not waiting:
            return []
        values = iter(torch.cat([losses for _, _, losses in waiting]).tolist())
        return [
            Made(batch.update, batch.epoch, batch.rows, {n: next(values) for n in counts}, counts)
            for batch, counts, _ in waiting
        ]

    def _wanted(self, batch: Batch) -> _Wanted:
        """Return what the whole batch is held against."""
        wanted = _Wanted({}, {}, {}, self.feed.mixing(batch.rows, batch.turn))
        index = torch.from_numpy(batch.rows)
        for name in batch.tasks:
            task, (values, known) = self.tasks[name], self._targets[name]
            mask = known[batch.rows]
            if wanted.mixing is not None:
                mask &= mask[wanted.mixing.partners] | (wanted.mixing.weights == 1)
            labelled = int(np.count_nonzero(mask))
            if not labelled:
                continue
            target = values.index_select(0, index)
            if wanted.mixing is not None:
                others, own = map(torch.from_numpy, (wanted.mixing.partners, wanted.mixing.weights))
                target = mixed_targets(task, target, others, own)
            chosen = None if labelled == len(index) else torch.from_numpy(mask)
            if task["kind"] == PAIRS:
                draw = seed_of(self.settings.seed, "pairs", name, batch.update)
                wanted.partners[name], match = partners(target.numpy(), mask, draw)
                target = torch.from_numpy(match)
            count = float(labelled)
            if task.get("class_weights") is not None:
                every = torch.ones(len(index), dtype=torch.bool)
                count = float(loss_count(task, target, every if chosen is None else chosen))
            wanted.targets[name], wanted.counts[name] = (target, chosen), count
        return wanted

    def _tried(self, batch: Batch, wanted: _Wanted) -> Tensor | None:
        """Compute gradients and return the losses [tasks]; None where memory did not suffice."""
        try:
            return self._gradients(batch, wanted)
        except torch.OutOfMemoryError:
            return None  # what the error holds on to is free only after this block

    def _gradients(self, batch: Batch, wanted: _Wanted) -> Tensor:
        """Add up the gradients of the parts of a batch; return the mean losses [tasks]."""
        for parameter in self._parameters:
            parameter.grad = None
        rank = [self.world.rank] if self.world.rank else []
        seed = seed_of(self.settings.seed, "dropout", batch.update, *rank)
        for give in self._seeds:
            give(seed)
        share, counts = self.world.share(len(batch.rows))
        pieces = self._pieces(share)
        part_of = 1.0 / (len(pieces) * self.world.size)
        names = list(wanted.counts)
        sums = None
        for piece in pieces:
            logits = self._logits(batch, piece, wanted)
            losses = torch.stack(
                [self._loss(name, logits[name], wanted, piece, counts) for name in names]
            )
            total = torch.dot(losses, self.weighting.weights(names))
            penalty = self.weighting.penalty(names)
            if penalty is not None:
                total = total + penalty * part_of
            (total if self.scaler is None else self.scaler.scale(total)).backward()
            sums = losses.detach() if sums is None else sums + losses.detach()
        assert sums is not None
        return sums

    def _logits(self, batch: Batch, piece: slice, wanted: _Wanted) -> dict[str, Tensor]:
        """Return the logits of the rows of a piece, by task."""
        rows = batch.rows[piece]
        x, mixed = batch.views[0][piece], None
        if wanted.mixing is not None:
            x, mixed = _with_partners(batch.views[0], piece, wanted.mixing.partners)
        x = x.to(self.device, non_blocking=True)
        x = self.feed.prepare(x, rows, batch.turn, partners=mixed)
        single = [name for name in wanted.counts if name not in wanted.partners]
        with self._autocast:
            logits = self.net(x, single) if single else {}
            for name, places in wanted.partners.items():
                other = batch.views[1][torch.from_numpy(places[piece])]
                other = other.to(self.device, non_blocking=True)
                other = self.feed.prepare(other, batch.rows[places[piece]], batch.turn, 1)
                logits[name] = self.net.compare(name, x, other)
        return logits

    def _loss(
        self, name: str, logits: Tensor, wanted: _Wanted, piece: slice, counts: bool
    ) -> Tensor:
        """Return what the rows of a piece add to the mean loss of a task."""
        task, (target, mask) = self.tasks[name], wanted.targets[name]
        target = target[piece].to(self.device, non_blocking=True)
        if counts and mask is None and task.get("class_weights") is None:
            # Without its masks a loss takes half the time, a tenth of a small network's update.
            return LOSSES[task["kind"]](logits.float(), target, None).sum() / wanted.counts[name]
        chosen = torch.full((len(logits),), counts) if mask is None or not counts else mask[piece]
        chosen = chosen.to(self.device, non_blocking=True)
        return masked_loss(task, logits, target, chosen, wanted.counts[name])

    def _pieces(self, share: slice) -> list[slice]:
        """Cut the rows of this process into parts; a last one of one row joins the one before."""
        if not self.chunk or share.stop - share.start <= self.chunk:
            return [share]
        starts = list(range(share.start, share.stop, self.chunk))
        if share.stop - starts[-1] == 1:
            starts.pop()
        stops = [*starts[1:], share.stop]
        return [slice(start, stop) for start, stop in zip(starts, stops, strict=True)]

    def _halve(self, batch: Batch) -> None:
        """Compute half as many rows at once from now on."""
        rows = len(batch.rows)
        now = min(self.chunk or rows, rows)
        if self.world.size > 1:
            # The others wait in the same places, and batch norm meets them there.
            raise RunError(
                f"out of memory with {rows} rows in {self.world.size} processes; try --batch-size "
                f"{max(rows // 2, 2)}"
            )
        if now <= 2:
            raise RunError(
                "out of memory with two rows at once; choose a smaller network, shorter inputs "
                "(--crop), or --device cpu"
            )
        for parameter in self._parameters:
            parameter.grad = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.chunk = -(-now // 2)


def _with_partners(
    examples: Tensor, piece: slice, partners: NDArray[np.intp]
) -> tuple[Tensor, NDArray[np.intp]]:
    """Return the examples of a piece and, behind them, those that they are mixed with.

    The second value says where among them the partner of each row of the piece is.
    """
    own, others = np.arange(len(examples))[piece], partners[piece]
    if len(own) == len(examples):
        return examples, others
    taken = np.concatenate([own, np.setdiff1d(others, own)])
    places = np.empty(len(examples), dtype=np.intp)
    places[taken] = np.arange(len(taken))
    return examples[torch.from_numpy(taken)], places[others]


def make_optimizer(
    groups: Sequence[Mapping[str, Any]], others: Sequence[Tensor], settings: FitSettings
) -> torch.optim.Optimizer:
    """Make the optimizer that the settings name; `others` do not decay.

    The fused forms compute all parameters in one call, a third faster for a small network.
    """
    made = [{"params": group["params"], "lr": group["lr"]} for group in groups]
    if others:
        made.append({"params": list(others), "lr": settings.learning_rate, "weight_decay": 0.0})
    common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    types = {tensor.device.type for group in made for tensor in group["params"]}
    common["fused"] = types <= {"cpu", "cuda"}
    if settings.optimizer == "adam":
        return torch.optim.Adam(made, **common)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(made, **common)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(made, momentum=SGD_MOMENTUM, nesterov=True, **common)
    raise UsageError(
        f"got optimizer {settings.optimizer!r}, expected one of {', '.join(OPTIMIZERS)}"
    )


def _generators(device: torch.device) -> list[Callable[[int], object]]:
    """Return what seeds the draws of layers on a device.

    Not `torch.manual_seed`, which takes 60 us, a fifth of a small network's update.
    """
    seeds: list[Callable[[int], object]] = [torch.default_generator.manual_seed]
    if device.type == "cuda":
        torch.cuda.init()
        seeds.append(torch.cuda.default_generators[device.index or 0].manual_seed)
    elif device.type == "mps":
        seeds.append(torch.mps.manual_seed)
    return seeds


def _precision(
    settings: FitSettings, device: torch.device
) -> tuple[AbstractContextManager[Any], GradScaler | None]:
    """Return the context of the forward pass, and what keeps small gradients of float16 above 0.

    bfloat16 has the range of float32 and needs no scaling. Losses, gradients of weights and the
    optimizer stay in float32. On a CPU `mixed` is bfloat16 too: rarely faster, but the same code.
    """
    if settings.precision == "float32":
        return nullcontext(), None
    if device.type == "cpu" or (
        device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        return torch.autocast(device.type, dtype=torch.bfloat16), None
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.float16), GradScaler("cuda")
    raise UsageError(
        f"--precision mixed is for cuda and cpu, got --device {device.type}; choose --precision "
        "float32"
    )

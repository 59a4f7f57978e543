"""Several processes that train one model: `torchrun --nproc-per-node N -m mt_tools.commands.train`.

Every process reads the same batches and computes its share of their rows. Losses are divided by
the labelled rows of the whole batch, and gradients are added over the processes, so an update is
that of one process with all rows, but for what is drawn in it. (`DistributedDataParallel` would
average over the processes, which is another gradient where labels are missing, and wraps `forward`
alone, which a task of pairs does not go through.)

Batch norm sees the rows of its own process on a CPU, and of all processes on CUDA
(`SyncBatchNorm`); dropout is drawn by each process for its own rows. Without both the weights are
those of a single process but for rounding.

Conventions: the environment variables are torchrun's: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
MASTER_PORT. The process of rank 0 alone speaks and writes.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from mt_tools.errors import UsageError

ENVIRONMENT = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class World:
    """The processes that train together: which one this is, of how many."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def share(self, rows: int) -> tuple[slice, bool]:
        """Return this process's part of a batch of so many rows, and whether it counts.

        Parts are contiguous, as even as can be, and of two rows at least, which batch norm needs. A
        process for which none is left computes the first rows and counts none of them, since all
        have to meet in the same places.
        """
        active = max(1, min(self.size, rows // 2))
        if self.rank >= active:
            return slice(0, min(rows, 2)), False
        return slice(self.rank * rows // active, (self.rank + 1) * rows // active), True

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their sums over the processes, in one exchange."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def from_first(self, value: Any) -> Any:
        """Return the first process's value in all of them."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Give all processes the first one's content of some tensors."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor.detach(), src=0)


def launched() -> bool:
    """Whether torchrun, or its like, started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined(device: torch.device | str = "cpu") -> Iterator[World]:
    """Join the processes that torchrun started, and leave them at the end.

    Gives a world of one where none did, and the world as it is where it was joined before. Raises
    `UsageError` where the environment is incomplete, and on a device that has no way to exchange
    tensors.
    """
    if distributed.is_available() and distributed.is_initialized():
        yield World(distributed.get_rank(), distributed.get_world_size())
        return
    if not launched():
        yield World()
        return
    missing = [name for name in ENVIRONMENT if name not in os.environ]
    if missing:
        raise UsageError(
            f"got WORLD_SIZE={os.environ['WORLD_SIZE']} without {', '.join(missing)}; start "
            "several processes with torchrun --nproc-per-node N"
        )
    device = torch.device(device)
    if device.type not in ("cpu", "cuda"):
        raise UsageError(
            f"several processes train on cpu or cuda, got --device {device.type}; choose one of "
            "them, or train in one process"
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Its functions take the group of the moment of their import as a default, for good: imported
    # later, as optimizers do, they would keep the group's threads past its end, and the process
    # would abort when it exits (torch 2.11).
    importlib.import_module("torch.distributed.nn")
    # Both kinds of tensor: weights are exchanged on the device, decisions on the CPU.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend)
    try:
        yield World(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def synchronise_batch_norm(net: nn.Module, world: World, device: torch.device) -> None:
    """Let the batch norms of a network see the rows of all processes: on CUDA, in place.

    The parameters stay the same objects.
    """
    if world.size > 1 and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(net)


def has_batch_norm(net: nn.Module) -> bool:
    """Whether a network has a layer whose result depends on the company of a row."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules())

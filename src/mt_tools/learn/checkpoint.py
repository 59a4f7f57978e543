"""Checkpoints: a run that was killed goes on as if it had not been.

Goal: one file that holds all that the next update depends on: weights, buffers, the optimizer's
state, the weights of the tasks, the best weights so far, the history, and where in which epoch the
run was. Random draws need no state: their seeds are hashes of the update's number (`learn.draws`).

Conventions: the file is a `tables.document`, safetensors and JSON without pickle, written whole or
not at all. It knows the run it is of (`identity`), and is refused to another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mt_tools.errors import UsageError
from mt_tools.learn.history import Record
from mt_tools.learn.plan import Rows, Targets
from mt_tools.learn.settings import FitSettings
from mt_tools.settings import differences, result_settings
from mt_tools.tables.atomic import sweep
from mt_tools.tables.document import read_document, write_document
from mt_tools.tasks.kinds import Task

if TYPE_CHECKING:
    from mt_tools.learn.feeds import Feed
    from mt_tools.learn.groups import Groups

FORMAT = 1
PROBES = 16
"""Training rows whose inputs stand for all in the digest of the data: reading all would take an
epoch's time."""

_SPELT = ("settings", "drawing", "groups")
"""Parts of an identity whose differences are told one by one."""

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint file of one run."""

    path: Path
    identity: Mapping[str, Any]

    def write(self, document: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Write the state of the run in the place of the state before."""
        content = {"checkpoint": FORMAT, "identity": self.identity, "state": document}
        write_document(self.path, content, tensors)

    def read(self) -> tuple[dict[str, Any], Tensors] | None:
        """Return the state that was written last; None where none was.

        What a kill left half written is removed. Raises `UsageError` for the checkpoint of another
        run, and says what differs.
        """
        sweep(self.path)
        if not self.path.exists():
            return None
        content, tensors = read_document(self.path)
        if content.get("checkpoint") != FORMAT:
            raise UsageError(
                f"{self.path} is no checkpoint of this version; remove it, or start anew without "
                "--resume"
            )
        found = content["identity"]
        wrong = [
            line
            for part in _SPELT
            for line in differences(dict(self.identity[part]), found.get(part, {}))
        ]
        wrong += [
            f"another {part}"
            for part in self.identity
            if part not in _SPELT and self.identity[part] != found.get(part)
        ]
        if wrong:
            raise UsageError(
                f"{self.path} is the checkpoint of another run ({'; '.join(wrong)}); give the same "
                "options and inputs, or start anew without --resume"
            )
        return content["state"], tensors


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a checkpoint that is not needed any more, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def identity(
    net: nn.Module,
    feed: Feed,
    targets: Targets,
    tasks: Sequence[Task],
    train: Rows,
    valid: Rows,
    settings: FitSettings,
    groups: Groups | None,
    ids: Sequence[str] | None,
) -> dict[str, Any]:
    """Return what makes a run this run: settings, data, tasks, network and its first weights.

    Thresholds are left out of the tasks: they are set after the fit.
    """
    data = _Digest()
    data.add(*(ids if ids is not None else [str(len(feed))]))
    for name, (values, mask) in sorted(targets.items()):
        data.add(name, values, mask)
    data.add(train, valid, str(feed.example_shape))
    probes = train[np.unique(np.linspace(0, len(train) - 1, PROBES).astype(int))]
    for rows, x in feed.read(probes, PROBES):
        data.add(np.asarray(rows, dtype=np.int64), x.numpy())
    shapes, weights = _Digest(), _Digest()
    for name, tensor in net.state_dict().items():
        shapes.add(name, str(tuple(tensor.shape)))
        weights.add(tensor.detach().cpu().contiguous().numpy())
    return {
        "settings": result_settings(settings),
        "drawing": feed.drawing,
        "groups": {} if groups is None else _described(groups),
        "table, labels or split": data.hex(),
        "task": [{k: v for k, v in task.items() if k != "thresholds"} for task in tasks],
        "network": shapes.hex(),
        "set of first weights": weights.hex(),
    }


def _described(groups: Groups) -> dict[str, Any]:
    """Return what the parameter groups say, by tensor."""
    found: dict[str, Any] = {name: f"from epoch {since}" for name, since in groups.since.items()}
    for group in groups.groups:
        said = ", ".join(f"{key} {group[key]:g}" for key in ("scale", "step", "decay", "floor"))
        for name in group["names"]:
            found[name] = f"{found[name]}, {said}" if name in found else said
    return found


class _Digest:
    """A hash of texts and arrays in turn, each set off from the next."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, *parts: str | NDArray[Any]) -> None:
        for part in parts:
            if isinstance(part, str):
                content = part.encode()
            else:
                self._hash.update(f"{part.dtype.str}{part.shape}".encode())
                content = np.ascontiguousarray(part).tobytes()
            self._hash.update(len(content).to_bytes(8, "little") + content)

    def hex(self) -> str:
        return self._hash.hexdigest()


# Between torch and the file


def arrays(state: Mapping[str, torch.Tensor], prefix: str) -> Tensors:
    """Return tensors by name as arrays, each name after a prefix."""
    return {
        prefix + name: tensor.detach().cpu().contiguous().numpy() for name, tensor in state.items()
    }


def tensors_of(found: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names have a prefix, without it."""
    return {
        name.removeprefix(prefix): torch.from_numpy(array)
        for name, array in found.items()
        if name.startswith(prefix)
    }


def optimizer_arrays(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the optimizer's state of each parameter as arrays named `optimizer/PLACE/KEY`."""
    return {
        f"optimizer/{place}/{key}": value.detach().cpu().contiguous().numpy()
        for place, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
        if value is not None
    }


def load_optimizer(optimizer: torch.optim.Optimizer, found: Mapping[str, NDArray[Any]]) -> None:
    """Give an optimizer the state of `optimizer_arrays`."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors_of(found, "optimizer/").items():
        place, _, key = name.partition("/")
        state.setdefault(int(place), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def record_arrays(records: Sequence[Record]) -> tuple[list[list[str]], Tensors]:
    """Return records as a list of their different (task, split, metric), and columns of numbers."""
    kinds: dict[tuple[str, str, str], int] = {}
    codes = [kinds.setdefault((r.task, r.split, r.metric), len(kinds)) for r in records]
    columns = {
        "kind": np.array(codes, dtype=np.int64),
        "step": np.array([r.step for r in records], dtype=np.int64),
        "samples": np.array([r.samples for r in records], dtype=np.int64),
        "epoch": np.array([r.epoch for r in records], dtype=np.int64),
        "value": np.array([r.value for r in records], dtype=np.float64),
    }
    return [list(kind) for kind in kinds], {f"records/{n}": c for n, c in columns.items()}


def records_of(kinds: Sequence[Sequence[str]], found: Mapping[str, NDArray[Any]]) -> list[Record]:
    """Return the records that `record_arrays` took apart."""
    columns = ("kind", "step", "samples", "epoch", "value")
    rows = zip(*(found[f"records/{name}"].tolist() for name in columns), strict=True)
    return [
        Record(step, samples, epoch, task, split, metric, value)
        for kind, step, samples, epoch, value in rows
        for task, split, metric in (kinds[kind],)
    ]

"""Which rows, for which tasks, an update learns from.

Goal: any update of a run can be found again by its number alone, so that a run goes on in the
middle of an epoch.

With `task_schedule` "all" an epoch is one pass over the rows that carry a label of any task, and an
update teaches all tasks. With "random" an update draws one task, each as likely as the others, and
takes the next batch of that task's own passes over the rows that carry its label; an epoch is l x m
updates, where l is the number of batches in one pass over the rows of any task and m the number of
tasks (Algorithm 1 and section 3.3 of the REP study; AGF study, section 3.2.4). Where all rows carry
all labels, a task so meets l batches an epoch on average.

Conventions: updates are numbered from 0 here, epochs and passes from 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mt_tools.errors import RunError, UsageError
from mt_tools.learn.draws import seed_of
from mt_tools.learn.settings import FitSettings
from mt_tools.tasks.kinds import Task

if TYPE_CHECKING:
    from mt_tools.learn.feeds import Feed

Rows = NDArray[np.intp]
Targets = Mapping[str, tuple[NDArray[Any], NDArray[np.bool_]]]
"""Targets and mask of every row, by task name: what `tasks.kinds.encode` returns."""

PAIRS = "same-track"
"""The kind of task that compares two views of rows."""


@dataclass(frozen=True)
class Batch:
    """What an update learns from: rows [m], views of them [m, ...], and the names of the tasks.

    `epoch` is that of the run, `turn` the pass over the rows, by which the feed draws.
    """

    update: int
    epoch: int
    turn: int
    rows: Rows
    views: list[Tensor]
    tasks: tuple[str, ...]


class Plan:
    """The updates of a run.

    `train` are row numbers. Rows without any label are left out: they would only move batch norm.
    Raises `UsageError` where fewer than two rows carry the label of a task, and for pairs of a feed
    that has no random crops.
    """

    def __init__(
        self,
        feed: Feed,
        train: NDArray[Any],
        targets: Targets,
        tasks: Sequence[Task],
        settings: FitSettings,
    ) -> None:
        self.feed = feed
        self.size = settings.batch_size
        self.seed = settings.seed
        self.names = tuple(task["name"] for task in tasks)
        self.random = settings.task_schedule == "random"
        self.rows = labelled_rows(train, targets, self.names)
        _check(len(self.rows), "")
        self.views = {t["name"]: 2 if t["kind"] == PAIRS else 1 for t in tasks}
        pairs = [name for name, views in self.views.items() if views == 2]
        if pairs and feed.mixes:
            raise UsageError(
                f"task {pairs[0]!r} compares pairs of tracks, and a mixture is of two: leave mixup "
                "and cutmix out of --recipe, or drop the task"
            )
        if pairs and not feed.random_crops:
            raise UsageError(
                f"task {pairs[0]!r} compares two random crops of a row, and these inputs are taken "
                "whole; say how long a crop is with --crop"
            )
        self.streams = {"": self.rows}
        if self.random:
            self.streams = {name: labelled_rows(train, targets, (name,)) for name in self.names}
            for name, rows in self.streams.items():
                _check(len(rows), f" for task {name!r}")
        self.lengths = {name: feed.steps(rows, self.size) for name, rows in self.streams.items()}
        whole = feed.steps(self.rows, self.size)
        self.epoch_updates = whole * (len(self.names) if self.random else 1)
        self.updates = (
            self._updates_for(settings.samples)
            if settings.samples
            else settings.epochs * self.epoch_updates
        )

    def epoch(self, update: int) -> int:
        """Return the number of the epoch that an update is in."""
        return update // self.epoch_updates + 1

    def ends_epoch(self, update: int) -> bool:
        """Whether an update is the last of its epoch, or of the run."""
        return (update + 1) % self.epoch_updates == 0 or update + 1 == self.updates

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of the updates from `start` to the end."""
        taken = Counter(self._stream(update) for update in range(start)) if self.random else {}
        if not self.random:
            taken = {"": start}
        streams: dict[str, Iterator[tuple[int, Rows, list[Tensor]]]] = {}
        for update in range(start, self.updates):
            name = self._stream(update)
            if name not in streams:
                streams[name] = self._read(name, taken.get(name, 0))
            turn, rows, views = next(streams[name])
            tasks = (name,) if self.random else self.names
            yield Batch(update, self.epoch(update), turn, rows, views, tasks)

    def _stream(self, update: int) -> str:
        """Return the name of the stream of rows that an update takes its batch from."""
        if not self.random:
            return ""
        return self.names[seed_of(self.seed, "task", update) % len(self.names)]

    def _read(self, name: str, taken: int) -> Iterator[tuple[int, Rows, list[Tensor]]]:
        """Yield the batches of a stream without end, but for those taken before."""
        rows, length = self.streams[name], self.lengths[name]
        views = self.views[name] if name else max(self.views.values())
        turns, skip = divmod(taken, length)
        for turn in count(turns + 1):
            found = 0
            for chosen, given in self.feed.train(rows, turn, self.size, views, skip):
                found += 1
                yield turn, chosen, given
            if found + skip != length:
                raise RunError(
                    f"pass {turn} over the training rows had {found + skip} batches, expected "
                    f"{length}: rows could not be read; see the messages above, or leave them out"
                )
            skip = 0

    def _updates_for(self, samples: int) -> int:
        """Return the number of the update at which so many examples were seen."""
        if not self.random:
            turns, left = divmod(samples, len(self.rows))
            return turns * self.lengths[""] + self._batches_of("", left)
        taken: Counter[str] = Counter()
        seen = 0
        for update in count():
            if seen >= samples:
                return update
            name = self._stream(update)
            last = (taken[name] + 1) % self.lengths[name] == 0
            before = (self.lengths[name] - 1) * self.size
            seen += len(self.streams[name]) - before if last else self.size
            taken[name] += 1
        raise AssertionError

    def _batches_of(self, name: str, samples: int) -> int:
        """Return how many batches of a pass have so many examples; the last may have one more."""
        return min(-(-samples // self.size), self.lengths[name])


def labelled_rows(rows: NDArray[Any], targets: Targets, names: Sequence[str]) -> Rows:
    """Keep the rows labelled for one of the tasks at least."""
    rows = np.asarray(rows, dtype=np.intp)
    return rows[np.logical_or.reduce([targets[name][1][rows] for name in names])]


def _check(rows: int, whose: str) -> None:
    if rows < 2:
        raise UsageError(
            f"got {rows} labelled training rows{whose}, expected two or more; label more rows, or "
            "move rows into the training split"
        )

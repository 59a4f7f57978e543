"""The rows to label next, of all that models have seen: the least certain ones, unlike each other.

What is not among the least certain is forgotten as it passes by, so that a library of any size
takes the memory of a few hundred rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.evaluate.uncertainty import (
    class_margins,
    combined,
    farthest_first,
    least_certain,
    tag_margins,
    unit_rows,
)
from mt_tools.stages.settings import TagSettings
from mt_tools.stages.taggers import VECTOR, Scores, Tagger, predicted
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tasks.calibration import calibrated
from mt_tools.tasks.kinds import Task
from mt_tools.tasks.labels import labelled

POOL = 10
"""Among so many times the rows asked for, the least certain, those that differ are chosen."""

MARGIN = Column("margin", "number", "prediction")
RANK = Column("rank", "integer", "prediction")


def run(
    pairs: Iterable[tuple[Batch, list[Scores]]], taggers: Sequence[Tagger], settings: TagSettings
) -> Iterator[Batch]:
    """Yield `settings.uncertain` rows with their predictions, the one to label first before all.

    `pairs` are the rows with what the models say of each, embeddings included; rows that have a
    label of every task already are left out. `margin` is how
    sure the models are, from 0 to 1, the mean over their tasks: how far the first class is ahead of
    the second, or how near the nearest tag is to its threshold; numbers have none. `rank` counts
    from 1: first the least certain row, then, among the `POOL` times as many least certain ones,
    the row that is least like all before it. Raises `UsageError` where no task has a margin, and
    for a table that has these columns.
    """
    tasks = [(name, task) for one in taggers for name, task in one.columns.items()]
    tasks = [(name, task) for name, task in tasks if task["vocabulary"]]
    if not tasks:
        names = ", ".join(one.model.name for one in taggers)
        raise UsageError(
            f"--uncertain finds where classes or tags are in doubt, and {names} says numbers only"
        )
    size = POOL * settings.uncertain
    pool = _Pool(size)
    none = None  # rows without one, should no row lack a label
    for batch, found in pairs:
        none = batch.take([])
        taken = [column.name for column in (MARGIN, RANK) if column.name in batch]
        if taken:
            raise UsageError(f"the table has a column {taken[0]!r} already: rename it")
        wanting = np.flatnonzero(_unlabelled(batch, [task for _, task in tasks])).tolist()
        if not wanting:
            continue
        found = [found[row] for row in wanting]
        margins = combined([_margins(task, [one[name] for one in found]) for name, task in tasks])
        pool.add(batch.take(wanting), margins, found)
    if pool.batch is None:
        if none is not None:
            yield predicted(none, [], taggers, settings).append(MARGIN, []).append(RANK, [])
        return
    blocks = [
        unit_rows(np.stack([one[tagger.prefix + VECTOR] for one in pool.found]))
        for tagger in taggers
    ]
    chosen = farthest_first(np.concatenate(blocks, axis=1), settings.uncertain)
    batch = pool.batch.take(chosen).append(RANK, np.arange(1, len(chosen) + 1))
    batch = batch.append(MARGIN, pool.margins[chosen])
    yield predicted(batch, [pool.found[place] for place in chosen], taggers, settings)


def _unlabelled(batch: Batch, tasks: Sequence[Task]) -> np.ndarray:
    """Return the mask of the rows that lack a label of a task, in the column of its name."""
    wanting = np.zeros(len(batch), bool)
    for task in tasks:
        column = batch.columns.get(task["name"])
        known = column is not None and column.role == "label"
        wanting |= ~labelled(batch[task["name"]]) if known else True
    return wanting


def _margins(task: Task, found: Sequence[np.ndarray]) -> np.ndarray:
    values = calibrated(task, np.stack(found))
    if task["kind"] == "multilabel":
        return tag_margins(values, task["thresholds"])
    return class_margins(values)


class _Pool:
    """The least certain of the rows that were added, `size` at most, in that order."""

    def __init__(self, size: int) -> None:
        self.batch: Batch | None = None
        self.margins = np.zeros(0)
        self.found: list[Scores] = []
        self._size = size

    def add(self, batch: Batch, margins: np.ndarray, found: Sequence[Scores]) -> None:
        """Keep those of the rows that are among the least certain."""
        if len(self.margins) == self._size:
            mine = np.flatnonzero(margins < self.margins[-1])  # of equals the first stays
            batch, margins = batch.take(mine), margins[mine]
            found = [found[place] for place in mine.tolist()]
        if not len(batch):
            return
        joined = batch if self.batch is None else concatenate([self.batch, batch])
        together = [*self.found, *found]
        margins = np.concatenate([self.margins, margins])
        best = least_certain(margins, self._size)
        if len(best):
            self.batch, self.margins = joined.take(best), margins[best]
            self.found = [together[place] for place in best]

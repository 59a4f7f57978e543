"""A training as it goes, on a terminal: the last losses and metrics, the best epoch, the time left.

Conventions: a *point* is one number of the learning curves (see `learn.history.Record`); an empty
task is the sum of all. Off a terminal nothing is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mt_tools.metrics import LOWER_IS_BETTER
from mt_tools.report.terminal import clean, number


class Point(Protocol):
    """One number of a training."""

    @property
    def epoch(self) -> int:
        """Epoch, from 1."""

    @property
    def samples(self) -> int:
        """Examples seen."""

    @property
    def task(self) -> str:
        """Task, empty for all together."""

    @property
    def split(self) -> str:
        """train or valid."""

    @property
    def metric(self) -> str:
        """loss, or what is measured."""

    @property
    def value(self) -> float:
        """The number."""


class LiveView:
    """Shows a training on a terminal, a row a task.

    `epochs` is the last epoch there can be, `stop_on` what the best epoch is chosen by: `loss`, or
    `TASK.METRIC`. A new `begin` starts another run of the same training. `clock` gives seconds.
    """

    def __init__(
        self,
        epochs: int,
        stop_on: str = "loss",
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._epochs = epochs
        self._watched = ("", "loss") if stop_on == "loss" else stop_on.rpartition(".")[::2]
        self._clock = clock
        self._live: Live | None = None
        self.begin("")

    def begin(self, title: str) -> None:
        """Start another run, of which nothing is known yet."""
        self._title = title
        self._started = self._clock()
        self._first_epoch = 0
        self._last: dict[tuple[str, str, str], float] = {}
        self._epoch = self._samples = 0
        self._best: tuple[float, int] | None = None

    def __call__(self, point: Point) -> None:
        """Take one point and show it."""
        self._first_epoch = self._first_epoch or point.epoch
        self._epoch, self._samples = point.epoch, point.samples
        self._last[point.task, point.split, point.metric] = point.value
        if point.split == "valid" and (point.task, point.metric) == self._watched:
            lower = point.metric in LOWER_IS_BETTER
            better = self._best is None or (
                point.value < self._best[0] if lower else point.value > self._best[0]
            )
            if better:
                self._best = point.value, point.epoch
        if self._live is not None:
            self._live.update(self.render())

    def render(self) -> Group:
        """Return what is shown now."""
        tasks = list(dict.fromkeys(task for task, _, _ in self._last))
        named = [task for task in tasks if task]
        shown = named if len(named) == 1 else [*named, *(task for task in tasks if not task)]
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for name in ("task", "train loss", "valid loss", "valid metrics"):
            table.add_column(name, justify="right" if name.endswith("loss") else "left")
        for task in shown:
            losses = [self._last.get((task, split, "loss")) for split in ("train", "valid")]
            metrics = ", ".join(
                f"{metric.replace('_', ' ')} {number(value)}"
                for (owner, split, metric), value in self._last.items()
                if owner == task and split == "valid" and metric != "loss"
            )
            cells = ["–" if loss is None else number(loss) for loss in losses]
            table.add_row(Text(clean(task) if task else "all tasks"), *cells, metrics)
        return Group(Text(self._headline(), style="bold"), table)

    def _headline(self) -> str:
        words = [self._title] * bool(self._title) + [f"epoch {self._epoch} of {self._epochs}"]
        words.append(f"{self._samples:,} samples seen")
        if self._best is not None:
            words.append(f"best epoch {self._best[1]}")
        left = self._left()
        return ", ".join([*words, *([] if left is None else [f"at most {duration(left)} left"])])

    def _left(self) -> float | None:
        """Return the seconds that the epochs to come will take, were they all run."""
        # The first epoch of a run that is resumed is not 1.
        done = self._epoch - self._first_epoch + 1
        if not self._first_epoch or done < 1:
            return None
        return (self._clock() - self._started) / done * max(self._epochs - self._epoch, 0)

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def duration(seconds: float) -> str:
    """Return seconds as people say them: `40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

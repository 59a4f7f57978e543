"""A training as it is shown on a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from rich.console import Console

from mt_tools.report.live import LiveView, duration


@dataclass(frozen=True)
class Point:
    """A point of a learning curve."""

    epoch: int
    task: str
    split: str
    metric: str
    value: float
    samples: int = 0


def shown(view: LiveView) -> str:
    """Return what a terminal of 100 columns shows."""
    file = io.StringIO()
    Console(file=file, width=100).print(view.render())
    return file.getvalue()


def seconds(*times: float) -> Callable[[], float]:
    """Return a clock that shows these times."""
    iterator = iter(times)
    last = [0.0]

    def clock() -> float:
        last[0] = next(iterator, last[0])
        return last[0]

    return clock


def feed(view: LiveView, epoch: int, loss: float, accuracy: float) -> None:
    """Tell a view of an epoch."""
    for task in ("", "style", "energy"):
        view(Point(epoch, task, "train", "loss", loss + 0.5, 100 * epoch))
        view(Point(epoch, task, "valid", "loss", loss, 100 * epoch))
    view(Point(epoch, "style", "valid", "accuracy", accuracy, 100 * epoch))


def test_the_last_epoch_and_the_best() -> None:
    """Someone who looks in after lunch would not see whether it still learns."""
    view = LiveView(20, clock=seconds(0.0, 30.0))
    for epoch, loss in enumerate((0.9, 0.4, 0.6), 1):
        feed(view, epoch, loss, 0.1 * epoch)
    text = shown(view)
    assert "epoch 3 of 20, 300 samples seen, best epoch 2" in text
    style = next(line for line in text.splitlines() if line.startswith("style"))
    assert style.split() == ["style", "1.100", "0.600", "accuracy", "0.300"]
    assert "all tasks" in text
    # 30 seconds for three epochs, and 17 to come.
    assert "at most 3 min left" in text


def test_the_best_by_a_metric_is_the_highest() -> None:
    """With --stop-on style.accuracy the worst epoch would be called the best."""
    view = LiveView(9, "style.accuracy")
    for epoch, accuracy in enumerate((0.2, 0.7, 0.5), 1):
        feed(view, epoch, 1 / epoch, accuracy)
    assert "best epoch 2" in shown(view)
    errors = LiveView(9, "energy.mae")
    for epoch, value in enumerate((0.2, 0.7, 0.5), 1):
        errors(Point(epoch, "energy", "valid", "mae", value))
    assert "best epoch 1" in shown(errors)


def test_another_run_begins_anew() -> None:
    """The best epoch of the first repeat would stand over the second."""
    view = LiveView(9)
    feed(view, 1, 0.1, 0.5)
    view.begin("repeat-2")
    feed(view, 1, 0.9, 0.5)
    feed(view, 2, 0.8, 0.5)
    assert "repeat-2, epoch 2 of 9" in shown(view)
    assert "best epoch 2" in shown(view)


def test_one_task_is_not_shown_twice() -> None:
    """The sum of one task is that task."""
    view = LiveView(9)
    view(Point(1, "", "train", "loss", 1.0))
    view(Point(1, "style", "train", "loss", 1.0))
    assert "all tasks" not in shown(view)


def test_nothing_off_a_terminal() -> None:
    """A log file of cron would fill with escape codes."""
    file = io.StringIO()
    with LiveView(9, console=Console(file=file)) as view:
        feed(view, 1, 0.5, 0.5)
    assert file.getvalue() == ""
    with LiveView(9, console=Console(file=file, force_terminal=True, width=100)) as view:
        feed(view, 1, 0.5, 0.5)
    assert "epoch 1 of 9" in file.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [(40.4, "40 s"), (720, "12 min"), (11100, "3 h 05 min"), (3599, "1 h 00 min")],
)
def test_durations(value: float, text: str) -> None:
    """Time left in seconds is a sum to do in one's head."""
    assert duration(value) == text

"""A command like the others, which copies its input and can be told to fail in every way.

It is made of the same parts as the eight commands (declare, Run, open_inputs, the worker pool),
loads nothing heavy, and so lets the conventions be tried in real processes and real pipes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.inputs import open_inputs
from mt_tools.commands.run import Run, regular_inputs
from mt_tools.commands.settings import InputSettings, OutputSettings, RunSettings, WorkSettings
from mt_tools.engine.pool import cores, ordered
from mt_tools.errors import RowError, RunError
from mt_tools.report.terminal import TableView
from mt_tools.settings import setting
from mt_tools.tables.batch import Batch

app = make_app("Copy a table.")


@dataclass(frozen=True)
class CopySettings:
    """How to copy."""

    fail: tuple[str, ...] = setting((), "Let the row with this id fail.", metavar="ID")
    size: int = setting(0, "Rows of a batch.", minimum=0, result=False)
    after: int = setting(-1, "Let the run go wrong after so many rows.", result=False)
    wrong: str = setting("error", "What goes wrong.", choices=("error", "kill", "defect", "wait"))
    work: float = setting(0.0, "Seconds of work in a worker for a row.", result=False)
    ends: bool = setting(False, "End a chain, as mt-tag does.", result=False)
    out: str = setting("", "Name a file for every row in this folder, for 60 s.", result=False)


def busy(task: tuple[str, float, str]) -> None:
    """Work on a row; runs in a worker."""
    id_, seconds, folder = task
    if not folder:
        time.sleep(seconds)
        return
    path = os.path.join(folder, f".{id_}.tmp")
    try:
        with open(path, "w"):
            time.sleep(60)
    finally:
        os.unlink(path)


def copied(
    batches: Iterator[Batch], settings: CopySettings, run: Run, jobs: int
) -> Iterator[Batch]:
    """Yield the rows, or go wrong."""
    done = 0
    for batch in batches:
        size = settings.size or len(batch)
        for start in range(0, len(batch), size):
            if 0 <= settings.after <= done:
                go_wrong(settings.wrong)
            part = batch.take(range(start, min(start + size, len(batch))))
            if settings.work or settings.out:
                tasks = [(id_, settings.work, settings.out) for id_ in part.ids]
                for _ in ordered(busy, tasks, cores() if jobs < 0 else jobs):
                    pass
            failed = [i for i, id_ in enumerate(part.ids) if id_ in settings.fail]
            for row in failed:
                row_path = part.get("path")[row]
                run.fail({"id": part.ids[row], "path": row_path}, RowError("as asked", "asked"))
            done += len(part)
            yield part.take([i for i in range(len(part)) if i not in failed])


def go_wrong(how: str) -> None:
    """End this process, or wait to be ended."""
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "wait":
        print("waiting", file=sys.stderr, flush=True)
        time.sleep(60)
    raise RunError("went wrong, as asked") if how == "error" else ZeroDivisionError("a defect")


@declare(app, "mt-copy", inputs=Inputs("Tables."), examples=[("mt-copy t.npz", "copies it")])
def copy(
    inputs: list[str],
    settings: CopySettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: WorkSettings,
) -> int:
    """Copy a table."""
    with Run("mt-copy", run) as this:
        source = open_inputs(inputs, given, audio=True)
        steps = lambda: this.step({"fail": list(settings.fail)}, regular_inputs(inputs))  # noqa: E731
        out = this.output(target, steps, terminal=TableView, ends_chain=settings.ends)
        batches = copied(this.read(source, given), settings, this, work.jobs)
        for batch in this.progress(batches, None):
            out.write(batch)
        return this.finish()


if __name__ == "__main__":
    execute(app, "mt-copy")

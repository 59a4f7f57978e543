"""One bad item costs one row, whatever it does to its process."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pool_work import work

from mt_tools.engine import pool
from mt_tools.engine.pool import ordered
from mt_tools.errors import DecodeError, RunError, UsageError, WorkerDied


@pytest.mark.parametrize("jobs", [0, 1, 3])
def test_order_is_that_of_the_input(jobs: int) -> None:
    """The bytes of a table would depend on --jobs."""
    times = random.Random(1).sample(range(12), 12)
    items = [f"sleep {0.005 * t:.3f}" for t in times]
    outcomes = list(ordered(work, items, jobs))
    assert [o.item for o in outcomes] == items
    assert [o.value for o in outcomes] == [item.upper() for item in items]


def test_a_process_that_dies_costs_its_row() -> None:
    """One damaged file would cost a night's work."""
    items = ["a", "segfault", "b", "kill", "c", "exit", "d", "sys.exit", "e"]
    outcomes = {o.item: o for o in ordered(work, items, 2)}
    assert list(outcomes) == items
    for letter in "abcde":
        assert outcomes[letter].value == letter.upper()
    said = {name: str(outcomes[name].error) for name in ("segfault", "kill", "exit", "sys.exit")}
    assert "SIGSEGV" in said["segfault"]
    assert "SIGKILL" in said["kill"]
    assert "exit 7" in said["exit"]
    assert "SystemExit" in said["sys.exit"]
    for name in ("segfault", "kill", "exit"):
        assert isinstance(outcomes[name].error, WorkerDied)
        assert outcomes[name].error.kind == "crashed"  # type: ignore[union-attr]


def test_a_process_that_hangs_costs_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run would wait for ever on one file."""
    monkeypatch.setattr(pool, "TIMEOUT_SECONDS", 0.5)
    first, second = ordered(work, ["sleep 60", "b"], 1)
    assert first.error is not None
    assert first.error.kind == "timeout"
    assert "the worker process was stopped" in str(first.error)
    assert second.value == "B"


@pytest.mark.parametrize("jobs", [0, 1])
def test_errors_of_rows(jobs: int) -> None:
    """--errors would not say what kind of failure it was; an odd error would end the run."""
    items = ["decode", "unforeseen", "unpicklable", "b"]
    outcomes = {o.item: o for o in ordered(work, items, jobs)}
    assert outcomes["b"].value == "B"
    error = outcomes["decode"].error
    assert type(error) is DecodeError
    assert (str(error), error.kind) == ("cannot be read", "truncated")
    for name in set(items) - {"decode", "b"}:
        error = outcomes[name].error
        assert error is not None
        assert error.kind == "internal", name
    assert "unexpected ZeroDivisionError: x / 0" in str(outcomes["unforeseen"].error)
    assert "cannot travel" in str(outcomes["unpicklable"].error)


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_mistake_of_the_user_ends_the_run(jobs: int) -> None:
    """A thousand rows would fail for one wrong option."""
    with pytest.raises(UsageError, match="everything is wrong"):
        list(ordered(work, ["a", "usage", "b"], jobs))


def test_what_c_libraries_print(capfd: pytest.CaptureFixture[str]) -> None:
    """libmpg123's complaints would run over the screen, or be lost."""
    noise, quiet, stdio, threads = ordered(work, ["noise", "quiet", "stdio", "threads"], 1)
    assert str(noise.error) == "cannot be read ([mpg123] a complaint)"
    assert str(quiet.error) == "cannot be read"
    assert stdio.value == "/dev/null /dev/null"
    assert threads.value == "1"
    assert capfd.readouterr() == ("", "")


def test_memory_is_bounded() -> None:
    """All of a library would be read before the first track is done."""
    taken = 0

    def items() -> Iterator[str]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield str(number)

    outcomes = ordered(work, items(), 2)
    for done in range(1, 20):
        next(outcomes)
        assert taken <= done + 2 * pool.IN_FLIGHT
    outcomes.close()  # type: ignore[attr-defined]


def test_stopping_early_leaves_nothing(tmp_path: Path) -> None:
    """After Ctrl-C workers would go on, or leave half a file behind."""
    file = tmp_path / "half"
    outcomes = ordered(work, ["a", f"write {file}", "sleep 60"], 2)
    assert next(outcomes).value == "A"
    while not file.exists():
        time.sleep(0.01)
    before = time.monotonic()
    outcomes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - before < 2
    assert not file.exists()


def test_a_pool_that_cannot_go_on_ends_the_run() -> None:
    """Every further row would be reported as an internal error of its own."""
    outcomes = ordered(work, ["pid", *["b"] * 40], 1)
    pid = next(outcomes).value
    assert pid is not None
    time.sleep(0.3)  # the tasks in flight are done, the worker waits
    os.kill(int(pid), signal.SIGKILL)
    time.sleep(0.5)
    with pytest.raises(RunError, match="the worker processes died"):
        list(outcomes)

"""One bad item costs one row, whatever it does to its process."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pool_work import work

from mt_tools.engine import pool
from mt_tools.engine.pool import ordered
from mt_tools.errors import DecodeError, UsageError, WorkerDied


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
    monkeypatch.setattr(pool, "_timeout", 0.5)
    first, second = ordered(work, ["sleep 60", "b"], 1)
    assert first.error is not None
    assert first.error.kind == "timeout"
    assert "the worker process was stopped" in str(first.error)
    assert second.value == "B"


@pytest.mark.parametrize("jobs", [0, 1])
def test_errors_of_rows(jobs: int) -> None:
    """--errors would not say what kind of failure it was; an odd error would end the run."""
    items = ["decode", "unforeseen", "unpicklable", *(["lambda"] if jobs else []), "b"]
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


@pytest.mark.parametrize("doing", ["write", "make"])
def test_stopping_early_leaves_nothing(tmp_path: Path, doing: str) -> None:
    """After Ctrl-C workers would go on, or leave half a file, or one that is just being opened."""
    file = tmp_path / "half"
    outcomes = ordered(work, ["a", f"{doing} {file}", "sleep 60"], 2)
    assert next(outcomes).value == "A"
    while not file.exists():
        time.sleep(0.01)
    before = time.monotonic()
    outcomes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - before < 2
    assert not file.exists()


def test_passes_share_their_workers() -> None:
    """Every epoch of a training from audio would begin with half a second of waiting."""
    passes = [{o.value for o in ordered(work, ["pid+sleep 0.05"] * 8, 2)} for _ in range(3)]
    assert len(set.union(*passes)) <= 2


def test_streams_at_the_same_time_share_their_workers() -> None:
    """A task schedule of ten tasks would start ten times --jobs processes, or mix up the rows."""
    taken = [0] * 5

    def items(stream: int) -> Iterator[str]:
        for number in range(20):
            taken[stream] += 1
            yield f"{stream} {number}" if number else "pid"

    streams = [ordered(work, items(stream), 2) for stream in range(5)]
    pids = {next(stream).value for stream in streams}
    assert len(pids) <= 2
    for number in range(1, 20):
        for name, stream in enumerate(streams):
            assert next(stream).value == f"{name} {number}"
            assert taken[name] <= number + 1 + 2 * pool.IN_FLIGHT
    assert all(next(stream, None) is None for stream in streams)


def test_a_stream_that_is_closed_leaves_the_others_alone(tmp_path: Path) -> None:
    """The end of one task's pass would lose rows of another's."""
    file = tmp_path / "half"
    other = ordered(work, ["a", *["sleep 0.02"] * 12, "b"], 2)
    assert next(other).value == "A"
    early = ordered(work, ["c", f"write {file}", *["sleep 60"] * 6], 2)
    assert next(early).value == "C"
    while not file.exists():
        time.sleep(0.01)
    early.close()  # type: ignore[attr-defined]
    assert not file.exists()
    outcomes = list(other)
    assert [o.error for o in outcomes] == [None] * 13
    assert outcomes[-1].value == "B"


def test_a_worker_that_does_not_hear_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder that loops for ever would outlive the run."""
    monkeypatch.setattr(pool, "_MERCY_SECONDS", 0.3)
    file = tmp_path / "pid"
    outcomes = ordered(work, ["a", f"deaf {file}"], 2)
    next(outcomes)
    while not file.exists() or not file.read_text():
        time.sleep(0.01)
    before = time.monotonic()
    outcomes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - before < 10  # it would sleep for 60 s
    assert not alive([int(file.read_text())])


def test_a_worker_that_died_while_it_waited_is_replaced() -> None:
    """A kernel short of memory would end the run, or cost a row, between two passes."""
    for _ in range(3):
        first, *rest = ordered(work, ["pid", *["b"] * 8], 1)
        assert [o.value for o in rest] == ["B"] * 8
        assert first.value is not None
        os.kill(int(first.value), signal.SIGKILL)
        while alive([int(first.value)]):
            time.sleep(0.01)


def test_workers_follow_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path would name another file in the second pass than in the first."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        (outcome,) = ordered(work, ["cwd"], 1)
        assert outcome.value == str(tmp_path / name)


@pytest.mark.parametrize(("said", "expected"), [("", "passive"), ("active", "active")])
def test_threads_of_networks_leave_the_cores_to_the_workers(said: str, expected: str) -> None:
    """A small network would take the workers' cores by waiting, or not do as the user has said.

    libgomp prints what it goes by when it is loaded, to the programs that ask for it.
    """
    program = (
        "from mt_tools.engine.pool import prepare\n"
        "if __name__ == '__main__':\n"
        "    prepare('mt_tools.errors', 1)\n"
        "    import torch\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    env |= {"OMP_DISPLAY_ENV": "true"} | ({"OMP_WAIT_POLICY": said} if said else {})
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60
    )
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("the threads of this torch are not OpenMP's")
    assert f"OMP_WAIT_POLICY = '{expected.upper()}'" in done.stderr


def alive(pids: Sequence[int]) -> list[int]:
    """Return which of the processes run; one that has ended and is not yet reaped does not."""
    return [pid for pid in pids if _runs(pid)]


def _runs(pid: int) -> bool:
    proc = Path(f"/proc/{pid}")
    try:
        state = (proc / "stat").read_text().rpartition(")")[2].split()[0]
        # Its first thread ends before the last one has closed what they share.
        return state != "Z" or len(list((proc / "task").iterdir())) > 1
    except OSError:
        return False


# How a program ends; what it prints are the pids of its workers.
ENDS = {
    "idle": "",
    "error": "1 / 0",
    "open stream": "open_for_ever = ordered(work, ['a'] + ['sleep 60'] * 9, 2); next(open_for_ever)",
    "open stream, dying thread": (  # one of ours may end with the interpreter wherever it is
        "open_for_ever = ordered(work, ['a'] + ['sleep 60'] * 9, 2); next(open_for_ever)\n"
        "    threading.Thread(target=hold_the_lock, daemon=True).start()"
    ),
    "interrupt": (
        "stream = ordered(work, ['a'] + ['sleep 60'] * 9, 2); next(stream)\n"
        "    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start(); list(stream)"
    ),
    "deaf worker": (
        "pool._MERCY_SECONDS = 0.3; open_for_ever = ordered(work, ['a', 'deaf pid'], 2)\n"
        "    next(open_for_ever)\n"
        "    while not os.path.exists('pid'): time.sleep(0.01)"
    ),
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": (
        "stream = ordered(work, ['a'] + ['sleep 60'] * 9, 2); next(stream)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    ),
}


@pytest.mark.parametrize("how", ENDS)
def test_workers_end_with_the_program(how: str, tmp_path: Path) -> None:
    """A command would hang at its end, warn of what it left, or leave processes behind."""
    shutil.copy(Path(__file__).with_name("pool_work.py"), tmp_path)
    (tmp_path / "program.py").write_text(
        "import os, signal, threading, time\n"
        "from pool_work import hold_the_lock, work\n"
        "from mt_tools.engine import pool\n"
        "from mt_tools.engine.pool import ordered\n"
        "if __name__ == '__main__':\n"
        "    pids = {o.value for o in ordered(work, ['pid+sleep 0.05'] * 6, 2)}\n"
        "    print(*pids, flush=True)\n"
        f"    {ENDS[how] or 'pass'}\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "program.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    pids = [int(pid) for pid in done.stdout.split()]
    assert 1 <= len(pids) <= 2
    if how in ("error", "interrupt"):
        said = {"error": "ZeroDivisionError", "interrupt": "KeyboardInterrupt"}[how]
        assert done.stderr.count("Traceback") == 1
        assert said in done.stderr.splitlines()[-1]
    else:
        assert done.stderr == ""
    deadline = time.monotonic() + (2 if how.startswith("SIG") else 0)
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pids)


def test_workers_that_cannot_start_end_the_run(tmp_path: Path) -> None:
    """Every row would be reported as failed, for hours, where not one can succeed."""
    (tmp_path / "program.py").write_text(  # its workers run all of it again, and fail
        "from operator import neg\n"
        "from mt_tools.engine.pool import ordered\n"
        "print(list(ordered(neg, range(3), 1)))\n"
    )
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "RunError: a worker process could not be started (it ended at once)" in done.stderr

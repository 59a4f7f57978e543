"""Worker processes: one bad file is one failed row, whatever it does to the process.

Workers are pebble processes, so that a crash, a kill or a hang of one costs one row. They are
started by a fork server, as forking a process that holds torch deadlocks. Each ignores SIGINT (the
parent decides), uses one BLAS thread, keeps what C libraries print to fd 2 for the error message,
and exits by itself when its parent is gone. Results come in input order for any number of jobs.
"""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mt_tools.errors import RowError, RunError, WorkerDied

Item = TypeVar("Item")
Value = TypeVar("Value")

TIMEOUT_SECONDS = 900.0
IN_FLIGHT = 4  # tasks a worker: enough that none waits, few enough that memory stays small


@dataclass(frozen=True)
class Outcome(Generic[Item, Value]):
    """What became of one item: a value, or the error of its row."""

    item: Item
    value: Value | None
    error: RowError | None


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered(
    function: Callable[[Item], Value], items: Iterable[Item], jobs: int
) -> Iterator[Outcome[Item, Value]]:
    """Apply `function` to every item in `jobs` workers; yield the outcomes in input order.

    `function` and the items are pickled, so `function` is one of a module. With `jobs` 0 all runs
    in this process, without protection from crashes.
    """
    if jobs == 0:
        for item in items:
            yield _here(function, item)
        return
    from pebble import ProcessPool

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    _start_servers()
    pool = ProcessPool(max_workers=jobs, context=context, initializer=_start_worker)
    try:
        rest = iter(items)
        waiting: deque[tuple[Item, Any]] = deque()

        def submit(count: int) -> None:
            for item in itertools.islice(rest, count):
                try:
                    task = pool.schedule(_in_worker, args=(function, item), timeout=TIMEOUT_SECONDS)
                except RuntimeError as error:
                    raise _broken(error) from error
                waiting.append((item, task))

        submit(jobs * IN_FLIGHT)
        while waiting:
            item, task = waiting.popleft()
            yield _outcome(item, task)
            submit(1)
        pool.close()
    finally:
        # `stop` ends the workers now: after a normal end they are idle, after an error unwanted.
        pool.stop()
        pool.join()


def _start_servers() -> None:
    """Start what starts the workers, deaf to the end of a terminal: the parent decides."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _here(function: Callable[[Item], Value], item: Item) -> Outcome[Item, Value]:
    try:
        return Outcome(item, _guarded(function, item), None)
    except RowError as error:
        return Outcome(item, None, error)


def _guarded(function: Callable[[Item], Value], item: Item) -> Value:
    """Apply `function`; raise nothing but our own errors, which every process can unpickle."""
    try:
        return function(item)
    except (RowError, RunError):
        raise
    except (Exception, SystemExit) as error:
        raise _internal(error) from error


def _outcome(item: Item, task: Any) -> Outcome[Item, Value]:
    from concurrent.futures.process import BrokenProcessPool

    from pebble import ProcessExpired

    try:
        return Outcome(item, task.result(), None)
    except RowError as error:
        return Outcome(item, None, error)
    except RunError:
        raise
    except BrokenProcessPool as error:
        raise _broken(error) from error
    except ProcessExpired as error:
        code = error.exitcode
        name = signal.Signals(-code).name if code is not None and code < 0 else f"exit {code}"
        return Outcome(item, None, WorkerDied(f"the worker process died ({name}) on this file"))
    except TimeoutError:
        message = f"no result after {TIMEOUT_SECONDS:.0f} s: the worker process was stopped"
        return Outcome(item, None, WorkerDied(message, "timeout"))
    except Exception as error:
        return Outcome(item, None, _internal(error))


def _internal(error: BaseException) -> RowError:
    """Wrap an error nobody foresaw: a defect of ours, but still only this row's."""
    return RowError(f"unexpected {type(error).__name__}: {error}", "internal")


def _broken(error: Exception) -> RunError:
    return RunError(f"the worker processes died ({error}): try again with fewer --jobs")


# What follows runs in the workers.

_printed: Any = None
_busy = False


class _Stopped(BaseException):
    """The parent ends this worker, which first cleans up what it was writing."""


def _start_worker() -> None:
    global _printed
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)  # a worker must not hold the pipe open when its parent was killed
    _printed = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
    os.dup2(_printed.fileno(), 2)
    threading.Thread(target=_follow_parent, daemon=True).start()
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _stop(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not tear the cleaning up apart
    if _busy:
        raise _Stopped
    os._exit(1)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _in_worker(function: Callable[[Item], Value], item: Item) -> Value:
    global _busy
    _printed.seek(0)
    _printed.truncate()
    try:
        _busy = True
        return _guarded(function, item)
    except _Stopped:
        os._exit(1)
    except RowError as error:
        _printed.seek(0)
        said = _printed.read(2000).decode(errors="replace").split("\n")[0].strip()
        if said and said not in str(error):
            raise type(error)(f"{error} ({said})", error.kind) from error
        raise
    finally:
        _busy = False

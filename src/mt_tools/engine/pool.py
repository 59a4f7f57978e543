"""Worker processes: one bad file is one failed row, whatever it does to the process.

Workers are started once, as they are needed, and shared by all streams of items of this process: a
pass over the tracks begins at once, and several may be under way. A crash, a kill or a hang of a
worker costs one row, and another takes its place. Workers are started by a fork server, as forking
a process that holds torch deadlocks. Each ignores SIGINT (the parent decides), uses one BLAS
thread, keeps what C libraries print to fd 2 for the error message, and exits by itself when its
parent is gone. Results come in input order for any number of jobs.

Each worker has a pipe of its own, and a thread here that waits on it. In pools whose workers share
one pipe and its locks, a worker that is killed at the wrong moment stops all of them.
"""

from __future__ import annotations

import atexit
import itertools
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from mt_tools.engine.memory import keep_memory
from mt_tools.engine.wire import Message, Received
from mt_tools.errors import RowError, RunError, WorkerDied

Item = TypeVar("Item")
Value = TypeVar("Value")

TIMEOUT_SECONDS = 900.0
IN_FLIGHT = 4  # tasks a worker: enough that none waits, few enough that memory stays small
# Bytes of freed memory that a worker keeps for the next file: a track of some minutes, not a mix of
# hours. Fresh pages for every file cost a fifth of the decoding.
_KEPT_BYTES = 64 << 20
_MERCY_SECONDS = 3.0  # between asking a process to end and killing it


@dataclass(frozen=True)
class Outcome(Generic[Item, Value]):
    """What became of one item: a value, or the error of its row."""

    item: Item
    value: Value | None
    error: RowError | None


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare(module: str, jobs: int, timeout: float = TIMEOUT_SECONDS) -> None:
    """Say how files are worked on in this process, and begin to start what starts the workers.

    `module` is that of the function they will be given, `timeout` the seconds after which one that
    is still at it is stopped. Called first of all, this process and the workers import side by
    side, which saves a third of a second of every command.

    Threads of a network here that wait for one another then sleep, unless the user has said
    otherwise (`OMP_WAIT_POLICY`). They would spin on cores that the workers want: a small network
    took up to three times its seconds of a core so.
    """
    global _timeout
    _timeout = timeout
    if jobs:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is loaded
        multiprocessing.forkserver.set_forkserver_preload([module])
        with _lock:
            _start_servers()


def ordered(
    function: Callable[[Item], Value], items: Iterable[Item], jobs: int, *, patient: bool = False
) -> Iterator[Outcome[Item, Value]]:
    """Apply `function` to every item in `jobs` workers; yield the outcomes in input order.

    An item that takes too long (see `prepare`) fails, unless `patient`: files hang, sums do not.

    `function` and the items are pickled, so `function` is one of a module. With `jobs` 0 all runs
    in this process, without protection from crashes. Streams of the same number of jobs share
    their workers; one that is closed early stops what it has begun, and nothing else.
    Raises `RunError` where no worker can be started, and what the function raises of that kind.
    """
    if jobs == 0:
        for item in items:
            yield _here(function, item)
        return
    multiprocessing.forkserver.set_forkserver_preload([function.__module__])
    pool = _pools.setdefault(jobs, _Pool(jobs))
    folder = os.getcwd()
    rest = iter(items)
    waiting: deque[tuple[Item, _Task]] = deque()

    def submit(count: int) -> None:
        for item in itertools.islice(rest, count):
            task = _Task((folder, function, item), patient)
            waiting.append((item, task))
            pool.submit(task)

    try:
        submit(jobs * IN_FLIGHT)
        while waiting:
            waiting[0][1].exception()  # waits; if interrupted, the task is cancelled like the rest
            yield _outcome(*waiting.popleft())
            submit(1)
    finally:
        pool.cancel([task for _, task in waiting])


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


def _outcome(item: Item, task: _Task) -> Outcome[Item, Value]:
    error = task.exception()
    if error is None:
        return Outcome(item, task.result(), None)
    if isinstance(error, RowError):
        return Outcome(item, None, error)
    raise error


def _internal(error: BaseException) -> RowError:
    """Wrap an error nobody foresaw: a defect of ours, but still only this row's."""
    return RowError(f"unexpected {type(error).__name__}: {error}", "internal")


# What follows looks after the workers, from this process.

# Held to change who works on what, and to start or count processes. It can be taken twice, as a
# stream may be closed by the garbage collector at any moment.
_lock = threading.RLock()
_exiting = False
_timeout = TIMEOUT_SECONDS


class _Task(Future[Any]):
    """What a worker is sent, and its result once there is one."""

    def __init__(self, message: tuple[str, Callable[[Any], Any], Any], patient: bool) -> None:
        super().__init__()
        self.message = message
        self.patient = patient


class _Pool:
    """A number of workers, and the tasks that wait for one."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.tasks: SimpleQueue[_Task] = SimpleQueue()
        self.workers: list[_Worker] = []

    def submit(self, task: _Task) -> None:
        """Queue a task; each of the first ones brings a worker with it."""
        self.tasks.put(task)
        with _lock:
            if len(self.workers) < self.jobs:
                self.workers.append(_Worker(self.tasks))

    def cancel(self, tasks: Sequence[_Task]) -> None:
        """Drop tasks; a worker on one of them has cleaned up and ended when this returns."""
        if _exiting:  # all have ended; a thread that died with the interpreter may hold the lock
            return
        with _lock:
            for task in tasks:
                task.cancel()
            busy = [worker for worker in self.workers if worker.task and worker.task.cancelled()]
            processes = [worker.process for worker in busy if worker.process]
        _end(processes)


_pools: dict[int, _Pool] = {}


class _Worker:
    """A process, and the thread that gives it one task at a time; a dead process is replaced."""

    def __init__(self, tasks: SimpleQueue[_Task]) -> None:
        self.task: _Task | None = None
        self.process: BaseProcess | None = None
        self._tasks = tasks
        self._connection: Connection | None = None
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while True:
            self._fulfil(self._tasks.get())

    def _fulfil(self, task: _Task) -> None:
        if task.cancelled():
            return
        value: Any = None
        error: Exception | None
        try:
            value, error = self._run(task)
        except Exception as unforeseen:
            error = unforeseen
        with suppress(InvalidStateError):  # it has been cancelled
            if error is None:
                task.set_result(value)
            else:
                task.set_exception(error)

    def _run(self, task: _Task) -> tuple[Any, Exception | None]:
        """Let the process work on a task; return its value, or the error of its row."""
        try:
            message = Message(task.message)
        except Exception as error:
            return None, _internal(error)
        connection = self._connected()
        with _lock:
            if task.cancelled():
                return None, None
            self.task = task
        try:
            message.send(connection)
            if connection.poll(None if task.patient else _timeout):
                answer: tuple[Any, Exception | None] = Received(connection).value()
                return answer
            self._finish()
            problem = f"no result after {_timeout:g} s (--timeout): the worker process was stopped"
            return None, WorkerDied(problem, "timeout")
        except (EOFError, OSError):
            return None, _death(self._finish())
        finally:
            with _lock:
                self.task = None
            if task.cancelled():
                self._finish()  # it has been asked to end, which may take a moment

    def _connected(self) -> Connection:
        """Return the way to the process, which is started where there is none."""
        if self._connection is not None and self._connection.poll():
            self._finish()  # one that waits sends nothing: it has died
        if self._connection is None:
            try:
                self._start()
            except (EOFError, OSError) as error:
                self._finish()
                raise RunError(
                    f"a worker process could not be started ({str(error) or 'it ended at once'}): "
                    "try again with fewer --jobs"
                ) from error
        assert self._connection is not None
        return self._connection

    def _start(self) -> None:
        with _lock:
            if _exiting:
                raise OSError("the program ends")
            _start_servers()
            context = multiprocessing.get_context("forkserver")
            self._connection, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            try:
                process.start()
                self.process = process
            finally:
                theirs.close()
        self._connection.recv_bytes()  # that it is ready

    def _finish(self) -> int | None:
        """End the process, where it has not ended by itself, and return its exit code."""
        process, self.process = self.process, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if process is None:
            return None
        _end([process])
        with _lock:
            process.join()
            return process.exitcode


def _start_servers() -> None:
    """Start what starts the workers, deaf to the end of a terminal: the parent decides."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _end(processes: Sequence[BaseProcess]) -> None:
    """Ask processes to end, wait until they have cleaned up, and kill those that do not hear."""
    for process in processes:
        process.terminate()
    left = [process.sentinel for process in processes]
    deadline = time.monotonic() + _MERCY_SECONDS
    while left and (seconds := deadline - time.monotonic()) > 0:
        ended = multiprocessing.connection.wait(left, seconds)
        left = [sentinel for sentinel in left if sentinel not in ended]
    for process in processes:
        if process.sentinel in left:
            process.kill()
    while left:
        ended = multiprocessing.connection.wait(left)
        left = [sentinel for sentinel in left if sentinel not in ended]


@atexit.register
def _end_all() -> None:
    global _exiting
    with _lock:
        _exiting = True
        workers = [worker for pool in _pools.values() for worker in pool.workers]
        processes = [worker.process for worker in workers if worker.process]
    _end(processes)


def _death(code: int | None) -> WorkerDied:
    name = signal.Signals(-code).name if code is not None and code < 0 else f"exit {code}"
    return WorkerDied(f"the worker process died ({name}) on this file")


# What follows runs in the workers.

_printed: Any = None
_busy = False


class _Stopped(BaseException):
    """The parent ends this worker, which first cleans up what it was writing."""


def _serve(connection: Connection) -> None:
    """Work on what comes, until there is nobody to work for."""
    _start_worker()
    with suppress(EOFError, OSError):
        connection.send_bytes(b"")  # ready
        while True:
            _answer(Received(connection)).send(connection)


def _answer(asked: Received) -> Message:
    """Return the value of what was asked, or the error."""
    try:
        folder, function, item = asked.value()
        os.chdir(folder)  # the parent may have moved since this process began
        return Message((_in_worker(function, item), None))
    except (RowError, RunError) as error:
        return Message((None, error))
    except Exception as error:
        return Message((None, _internal(error)))


def _start_worker() -> None:
    global _printed
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)  # a worker must not hold the pipe open when its parent was killed
    _printed = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
    os.dup2(_printed.fileno(), 2)
    keep_memory(_KEPT_BYTES)
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
    except _Stopped as stopped:
        # It may have come before what it interrupted could close itself: frames hold that.
        cause: BaseException | None = stopped
        while cause is not None:
            traceback.clear_frames(cause.__traceback__)
            cause = cause.__context__
        os._exit(1)
    except RowError as error:
        _printed.seek(0)
        said = _printed.read(2000).decode(errors="replace").split("\n")[0].strip()
        if said and said not in str(error):
            raise type(error)(f"{error} ({said})", error.kind) from error
        raise
    finally:
        _busy = False

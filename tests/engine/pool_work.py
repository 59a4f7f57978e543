"""What workers do in the tests of the pool: all that a broken file or library could make them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from mt_tools.engine import pool
from mt_tools.engine.spool import Spool
from mt_tools.errors import DecodeError, UsageError


class Unpicklable(Exception):
    """An error such as C libraries' wrappers raise, which cannot be built from its own args."""

    def __init__(self, code: int, prefix: str) -> None:
        super().__init__(prefix)


class HalfMade:
    """A file as `tables.atomic` has it, gone with who holds it; its making takes a minute."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.path.touch()
        time.sleep(60)

    def __del__(self) -> None:
        self.path.unlink(missing_ok=True)


def hold_the_lock() -> None:
    """Take the lock of the program that ends, and keep it."""
    while not pool._exiting:
        time.sleep(0.001)
    with pool._lock:
        time.sleep(60)


def work(item: str) -> str:
    """Do what the item says."""
    word, _, rest = item.partition(" ")
    match word:
        case "make":
            HalfMade(rest)
        case "sleep":
            time.sleep(float(rest))
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(7)
        case "sys.exit":
            sys.exit(7)
        case "pid":
            return str(os.getpid())
        case "pid+sleep":
            time.sleep(float(rest))
            return str(os.getpid())
        case "cwd":
            return os.getcwd()
        case "lambda":  # a value that cannot travel
            return lambda: item  # type: ignore[return-value]
        case "deaf":  # to everything but SIGKILL, as a decoder that loops in C is
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            Path(rest).write_text(str(os.getpid()))
            time.sleep(60)
        case "decode":
            raise DecodeError("cannot be read", "truncated")
        case "noise":
            os.write(2, b"[mpg123] a complaint\nand more\n")
            raise DecodeError("cannot be read")
        case "quiet":
            raise DecodeError("cannot be read")
        case "usage":
            raise UsageError("everything is wrong")
        case "unforeseen":
            raise ZeroDivisionError("x / 0")
        case "unpicklable":
            raise Unpicklable(1, "cannot travel")
        case "threads":
            np.ones((2, 2)) @ np.ones((2, 2))
            return str(max((pool["num_threads"] for pool in threadpool_info()), default=1))
        case "stdio":
            return " ".join(os.path.realpath(f"/proc/self/fd/{fd}") for fd in (0, 1))
        case "write":  # to a file, slowly, and clean up when stopped
            try:
                Path(rest).write_text("x")
                time.sleep(60)
            finally:
                Path(rest).unlink()
    return item.upper()


def spooled(count: int) -> Spool:
    """Return arrays that say their place; more than a few of them wait in a file."""
    spool = Spool(100_000)
    spool.extend(np.full(1000, number, np.float32) for number in range(count))
    return spool

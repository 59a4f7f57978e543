"""Locks that end with the process: two runs never write the same files.

A lock is `flock` on a file that stays; who holds it stands in it, for the message. A file system
without locks gives none, and two runs must then not be started at once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator

from mt_tools.errors import Locked, RunError


def take(descriptor: int) -> bool:
    """Lock an open file for this process alone; False where another one has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs.

    Raises `Locked` where another run holds it, saying who; `what` names what it is at work on.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise RunError(f"cannot write {os.fspath(path)}: {error.strerror}") from error
    try:
        if not take(descriptor):
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            raise Locked(
                f"another run{f' ({holder})' if holder else ''} is at work on {what}: wait until "
                "it has ended, then run again"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)

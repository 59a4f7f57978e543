"""A file appears whole or not at all: written beside its place, flushed, renamed.

Symbolic links are resolved, so that the link stays and its target changes. FIFOs and devices are
written directly, since a rename would replace them. What a writer that was killed left behind is
told from what is being written by its lock, which ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mt_tools.errors import RunError


def is_direct(path: str | os.PathLike[str]) -> bool:
    """Say whether a path is a FIFO or device, which is written to and never replaced."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


class AtomicFile:
    """A binary file to write; `commit` gives it its name, `discard` leaves nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.target = Path(os.path.realpath(path))
        self.direct = is_direct(path)
        # The ending stays last: writers of audio and tables choose the format by it.
        name = f"{_beginning(self.target)}{secrets.token_hex(6)}.tmp{self.target.suffix}"
        self.temporary = self.target.with_name(name)
        if self.target.is_dir():
            raise RunError(f"cannot write {os.fspath(path)}: it is a folder; name a file")
        try:
            if self.direct:  # by its own name: the one behind /dev/fd/63 cannot be opened
                self.file: BinaryIO = open(path, "wb")  # noqa: SIM115
                return
            self.file = open(self.temporary, "xb")  # noqa: SIM115
            with contextlib.suppress(OSError):  # of a file system without locks nothing is swept
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.target.exists():
                os.fchmod(self.file.fileno(), stat.S_IMODE(self.target.stat().st_mode))
        except OSError as error:
            raise RunError(f"cannot write {os.fspath(path)}: {error.strerror}") from error

    def __del__(self) -> None:
        self.discard()  # a signal may come before anyone holds this file

    def commit(self) -> None:
        """Flush to disk and rename into place."""
        if self.direct:
            self.file.close()
            return
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.temporary, self.target)

    def discard(self) -> None:
        """Leave nothing behind; safe to call again, and after a commit."""
        with contextlib.suppress(OSError, AttributeError):  # it may have failed to open
            self.file.close()
        if not self.direct:
            with contextlib.suppress(OSError):
                self.temporary.unlink()


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file that appears only if the block ends without an error."""
    output = AtomicFile(path)
    try:
        yield output.file
        output.commit()
    finally:
        output.discard()


def sweep(path: str | os.PathLike[str]) -> None:
    """Remove what writers of this file that were killed in the middle have left beside it."""
    target = Path(os.path.realpath(path))
    for left in target.parent.glob(f"{_beginning(target)}*.tmp{glob.escape(target.suffix)}"):
        with contextlib.suppress(OSError), open(left, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def _beginning(target: Path) -> str:
    """Return how the temporary names of a file begin: by its own name, which may be too long."""
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()
    return f".mt-{name[:8]}-"

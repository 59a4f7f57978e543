"""Which file a path means, wherever a program is run from, and what tells that it was changed."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Sequence

Status = tuple[int, int]
"""Size of a file, bytes, and time of its last change, nanoseconds since 1970."""

ABSENT: Status = (-1, -1)
"""The status of a file that is not there, or cannot be opened."""


def status_of(path: str | bytes) -> Status:
    """Return the status of the file behind a path."""
    try:
        found = os.stat(path)
    except OSError:
        return ABSENT
    return found.st_size, found.st_mtime_ns


def readable(path: bytes) -> bool:
    """Say whether a file is there and may be read."""
    return os.access(path, os.R_OK)


class Places:
    """Finds the real paths of files; relative ones are tried below `folders` as well."""

    def __init__(self, folders: Sequence[str] = ()) -> None:
        self._folders = ("", *folders)
        self._real = functools.lru_cache(1024)(os.path.realpath)

    def find(self, path: str) -> tuple[bytes, Status]:
        """Return the real path of a file and its status; of one in a known folder by one call."""
        for folder in self._folders:
            name = os.path.join(folder, path)
            try:
                found = os.lstat(name)
            except OSError:
                continue
            parent, base = os.path.split(name)
            if stat.S_ISLNK(found.st_mode) or base in ("", ".", ".."):
                real = os.fsencode(os.path.realpath(name))
                return real, status_of(real)
            real = os.fsencode(os.path.join(self._real(parent), base))
            return real, (found.st_size, found.st_mtime_ns)
        return os.fsencode(os.path.realpath(path)), ABSENT

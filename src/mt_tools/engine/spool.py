"""Arrays of one track, of which there may be more than memory holds.

Past a limit they wait in a temporary file, which has no name: nothing is left of it however the
processes end that hold it. It lies where `TMPDIR` says.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np

from mt_tools.engine.wire import Handle
from mt_tools.errors import RowError, RunError

# Bytes that wait in memory: the features of songs, not of mixes. Of each worker several results
# wait for their turn.
IN_MEMORY = 16 << 20


class Spool:
    """Arrays in the order in which they were appended; can be sent to another process."""

    def __init__(self, most: int = IN_MEMORY) -> None:
        self._most = most
        self._size = 0
        self._arrays: list[np.ndarray] = []
        self._places: list[tuple[int, tuple[int, ...], np.dtype]] = []
        self._file: Handle | None = None

    def __len__(self) -> int:
        return len(self._arrays) + len(self._places)

    def __getitem__(self, index: int) -> np.ndarray:
        if self._file is None:
            return self._arrays[index]
        offset, shape, dtype = self._places[index]
        array = np.empty(shape, dtype)
        _read(self._file, offset, _bytes(array))
        return array

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def append(self, array: np.ndarray) -> None:
        """Add an array; raises `RowError` (`no-space`) where the disk is full."""
        if self._file is None and self._size + array.nbytes <= self._most:
            self._arrays.append(array)
            self._size += array.nbytes
            return
        if self._file is None:
            arrays, self._arrays, self._size = self._arrays, [], 0
            self._file = _temporary()
            for earlier in arrays:
                self._write(self._file, earlier)
        self._write(self._file, array)

    def extend(self, arrays: Iterable[np.ndarray]) -> None:
        """Add arrays one after another."""
        for array in arrays:
            self.append(array)

    def _write(self, file: Handle, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array)
        left, place = _bytes(array), self._size
        self._places.append((place, array.shape, array.dtype))
        try:
            while left:
                written = os.pwrite(file.number, left, place)
                place, left = place + written, left[written:]
        except OSError as error:
            raise _refusal(error, self._size) from error
        self._size = place


def _bytes(array: np.ndarray) -> memoryview:
    return array.data.cast("B") if array.size else memoryview(b"")


def _read(file: Handle, offset: int, left: memoryview) -> None:
    try:
        while left:
            read = os.preadv(file.number, [left], offset)
            if not read:
                raise OSError(errno.EIO, "it ends too early")
            offset, left = offset + read, left[read:]
    except OSError as error:
        raise RunError(
            f"cannot read back what waits in {tempfile.gettempdir()} ({error.strerror}): name "
            "another folder in TMPDIR and run again"
        ) from error


def _temporary() -> Handle:
    try:
        with tempfile.TemporaryFile(buffering=0) as file:
            return Handle(os.dup(file.fileno()))
    except OSError as error:
        raise _refusal(error, 0) from error


def _refusal(error: OSError, written: int) -> RowError:
    """Return the error of a track whose arrays cannot be kept."""
    kind = "no-space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "internal"
    try:
        folder = tempfile.gettempdir()
    except OSError:  # there is no folder that can be written to
        folder = "the temporary folder"
    return RowError(
        f"a long track waits in {folder}, where {written / 1e6:.0f} MB could be written "
        f"({error.strerror}): make room there, or name another folder in TMPDIR",
        kind,
    )

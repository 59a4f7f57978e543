"""How values travel between processes: pickled, their arrays beside them, open files as such.

Arrays are read into memory of their own, which goes back to the system when the last of them is
gone. On the heap, where results of other sizes come and go between them, they would leave holes
that nothing fits into: a run over thousands of files would grow (`bench/tag.py`). They are aligned
as numpy aligns its own.
"""

from __future__ import annotations

import io
import itertools
import mmap
import os
import pickle
import weakref
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

_APART = 4 << 10  # bytes from which on an array travels beside the rest
_OWN_MEMORY = 128 << 10  # bytes of arrays that get memory of their own: where glibc begins to, too
_ALIGNMENT = 64


class Handle:
    """An open file, for as long as somebody holds it; sent to another process it stays open there.

    `close` may be called before; `number` is the file's descriptor.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.close = weakref.finalize(self, os.close, number)


class Message:
    """A value on its way. Raises what pickling raises, for values that cannot travel."""

    def __init__(self, value: Any) -> None:
        body = io.BytesIO()
        pickler = _Pickler(body)
        pickler.dump(value)
        self.body = body.getbuffer()
        self.buffers = pickler.buffers
        self.files = pickler.files

    def send(self, connection: Connection) -> None:
        """Write the value to a socket; raises `OSError` where nobody reads it."""
        sizes = [buffer.nbytes for buffer in self.buffers]
        connection.send_bytes(pickle.dumps((sizes, len(self.files))))
        connection.send_bytes(self.body)
        for file in self.files:
            send_handle(connection, file.number, 0)
        for left in self.buffers:
            while left:
                left = left[os.write(connection.fileno(), left) :]


class Received:
    """A value that has come; raises `EOFError` or `OSError` where it ends too early."""

    def __init__(self, connection: Connection) -> None:
        sizes, files = pickle.loads(connection.recv_bytes())
        self._body = connection.recv_bytes()
        self._files = [Handle(recv_handle(connection)) for _ in range(files)]
        self._buffers = _memory(sizes)
        for left in self._buffers:
            while left:
                read = os.readv(connection.fileno(), [left])
                if not read:
                    raise EOFError
                left = left[read:]

    def value(self) -> Any:
        """Return the value; raises what unpickling raises, such as `ImportError`."""
        return _Unpickler(io.BytesIO(self._body), self._files, self._buffers).load()


def _memory(sizes: Sequence[int]) -> list[memoryview]:
    """Return places for arrays of so many bytes, all in one piece of memory."""
    rounded = [-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes]
    total = sum(rounded)
    memory = memoryview(bytearray(total if total < _OWN_MEMORY else 0))
    if total >= _OWN_MEMORY:
        try:
            memory = memoryview(mmap.mmap(-1, total, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        except OSError:  # a process may have 65,530 pieces of memory
            memory = memoryview(bytearray(total))
    firsts = itertools.accumulate(rounded, initial=0)
    return [memory[first : first + size] for first, size in zip(firsts, sizes, strict=False)]


class _Pickler(pickle.Pickler):
    """Pickles a value, and keeps what travels beside it."""

    def __init__(self, body: io.BytesIO) -> None:
        super().__init__(body, pickle.HIGHEST_PROTOCOL, buffer_callback=self._beside)
        self.buffers: list[memoryview] = []
        self.files: list[Handle] = []

    def _beside(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a buffer out of the pickle unless it is small; says whether it stays inside."""
        with suppress(BufferError):  # one with gaps
            raw = buffer.raw()
            if raw.nbytes >= _APART:
                self.buffers.append(raw)
                return False
        return True

    def persistent_id(self, value: Any) -> int | None:
        """Return the number of an open file; nothing for what is pickled."""
        if not isinstance(value, Handle):
            return None
        self.files.append(value)
        return len(self.files) - 1


class _Unpickler(pickle.Unpickler):
    """Puts a value together again."""

    def __init__(
        self, body: io.BytesIO, files: Sequence[Handle], buffers: Sequence[memoryview]
    ) -> None:
        super().__init__(body, buffers=buffers)
        self._files = files

    def persistent_load(self, number: int) -> Handle:
        """Return an open file by its number."""
        return self._files[number]

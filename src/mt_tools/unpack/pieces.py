"""Archives in pieces, read as one file."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path


class Joined(io.RawIOBase):
    """Files one after the other, read as one file, without a copy."""

    def __init__(self, pieces: Sequence[Path], advance: Callable[[int], object]) -> None:
        self._advance = advance
        self._files = [piece.open("rb") for piece in pieces]
        self._ends: list[int] = []
        end = 0
        for file in self._files:
            end += os.fstat(file.fileno()).st_size
            self._ends.append(end)
        self.size = end
        self._place = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from any place."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._place

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; returns it, from the beginning."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size}[whence]
        if base + place < 0:
            raise ValueError("a place before the beginning")
        self._place = base + place
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """Return so many bytes, fewer at the end alone: zipfile relies on it."""
        wanted = self.size if size is None or size < 0 else size
        parts = []
        for number, end in enumerate(self._ends):
            if self._place >= end or not wanted:
                continue
            begin = self._ends[number - 1] if number else 0
            file = self._files[number]
            file.seek(self._place - begin)
            data = file.read(min(wanted, end - self._place))
            parts.append(data)
            wanted -= len(data)
            self._place += len(data)
        data = b"".join(parts)
        self._advance(len(data))
        return data

    def readinto(self, buffer: object) -> int:
        """Fill a buffer as far as there are bytes; return how many."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the pieces."""
        for file in self._files:
            file.close()
        super().close()

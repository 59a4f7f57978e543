"""The atoms of an MP4 file (ISO/IEC 14496-12, section 4.2): its type, its index, its samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO


def atoms(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield each atom at the top of a file as (name, where its content begins, where it ends).

    `start` and `end` bound the file in bytes. The last atom may end beyond: the file was cut, or is
    broken. An atom that would end before it begins is the last.
    """
    position = start
    while position + 8 <= end:
        file.seek(position)
        header = file.read(16)
        size, begin = int.from_bytes(header[:4], "big"), position + 8
        if size == 1:  # 64 bits follow
            size, begin = int.from_bytes(header[8:], "big"), position + 16
        after = position + size if size else end
        yield header[4:8], begin, after
        if after < begin:
            return
        position = after

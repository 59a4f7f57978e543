"""Replacing pieces of a file in place."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO

Edit = tuple[int, int, bytes]
"""A piece of a file, from this byte to before that one, and what stands there instead."""

_BLOCK = 1 << 20
_GATHERED = 1 << 26  # bytes between edits that are rewritten rather than moved twice


def splice(file: BinaryIO, edits: Sequence[Edit]) -> None:
    """Apply edits that do not overlap; the rest of the file is moved where lengths differ."""
    ordered = sorted(edits, key=lambda edit: edit[:2])
    moving = [edit for edit in ordered if len(edit[2]) != edit[1] - edit[0]]
    if len(moving) > 1 and ordered[-1][1] - ordered[0][0] <= _GATHERED:
        ordered = [_gathered(file, ordered)]
    for start, end, data in reversed(ordered):
        _move(file, end, start + len(data))
        file.seek(start)
        file.write(data)


def _gathered(file: BinaryIO, edits: Sequence[Edit]) -> Edit:
    pieces = []
    position = edits[0][0]
    for start, end, data in edits:
        file.seek(position)
        pieces += [file.read(start - position), data]
        position = end
    return edits[0][0], position, b"".join(pieces)


def _move(file: BinaryIO, start: int, to: int) -> None:
    """Move what begins at `start` to begin at `to`, in blocks of which none overwrites another."""
    end = file.seek(0, io.SEEK_END)
    left = range(start, end, _BLOCK)
    for position in reversed(left) if to > start else left if to < start else ():
        file.seek(position)
        block = file.read(min(_BLOCK, end - position))
        file.seek(position + to - start)
        file.write(block)
    if to < start:
        file.truncate(end + to - start)

"""Grouping many pairs (user, song) by song, in little memory.

The pairs are numbered and written to temporary files, the songs of one file apart from those of
another; each file is then sorted by itself. In memory are the names of songs and users, one file
of the pairs at a time, and nothing that grows with all of them: 48 million pairs are 0.4 GB on
disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

FILES = 64
_HELD = 1 << 20


def by_second(
    pairs: Iterable[tuple[str, str]], files: int = FILES
) -> Iterator[tuple[str, list[int]]]:
    """Yield each second name with the numbers of the first names beside it, in their order.

    A first name's number is that of its first appearance; a pair that comes twice counts once.
    The second names come in the same order whenever the pairs do, but not in that of the pairs.
    `files` is the number of temporary files.
    """
    for second, numbers, _ in _grouped(pairs, files):
        yield second, numbers


def names_by_second(
    pairs: Iterable[tuple[str, str]], files: int = FILES
) -> Iterator[tuple[str, list[str]]]:
    """Yield each second name with the first names beside it, as `by_second` does by number."""
    for second, numbers, firsts in _grouped(pairs, files):
        yield second, [firsts[number] for number in numbers]


def _grouped(
    pairs: Iterable[tuple[str, str]], count: int
) -> Iterator[tuple[str, list[int], list[str]]]:
    firsts: dict[str, int] = {}
    seconds: dict[str, int] = {}
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
        held: list[tuple[int, int]] = []

        def write() -> None:
            block = np.array(held, np.uint32).reshape(-1, 2)
            held.clear()
            place = block[:, 0] % count
            for number, file in enumerate(files):
                file.write(block[place == number].tobytes())

        for first, second in pairs:
            pair = (seconds.setdefault(second, len(seconds)), firsts.setdefault(first, len(firsts)))
            held.append(pair)
            if len(held) == _HELD:
                write()
        write()
        names, users = list(seconds), list(firsts)
        for file in files:
            file.seek(0)
            block = np.frombuffer(file.read(), np.uint32).reshape(-1, 2)
            for song, numbers in _runs(block):
                yield names[song], numbers, users


def _runs(block: NDArray[np.uint32]) -> Iterator[tuple[int, list[int]]]:
    """Yield each value of the first column with the different ones of the second, sorted."""
    if not len(block):
        return
    keys = np.unique(block[:, 0].astype(np.uint64) << np.uint64(32) | block[:, 1])
    songs = (keys >> np.uint64(32)).astype(np.int64)
    users = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, songs[1:] != songs[:-1]])
    for start, part in zip(starts, np.split(users, starts[1:]), strict=True):
        yield int(songs[start]), part.tolist()

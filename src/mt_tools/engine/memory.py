"""How this process holds memory between one batch and the next."""

from __future__ import annotations

import ctypes
import os

# M_TRIM_THRESHOLD (-1: never), M_MMAP_THRESHOLD and M_ARENA_MAX of glibc's malloc.h.
_KEEP = ((-1, -1), (-3, 2**31 - 1), (-8, 1))


def keep_memory() -> None:
    """Let this process keep memory that is freed for the next batch; to be called before all else.

    glibc gives large blocks back to the system at once, and fresh pages for them cost a network on
    a CPU more time than its arithmetic (`bench/memory.py`, `bench/embed.py`). In threads it does so
    whatever it is told, unless they have no arena of their own: hence before the first one starts.
    In return a training may hold two thirds more memory. Where the user has set the allocator
    (`MALLOC_MMAP_THRESHOLD_`), and with other C libraries, nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    for parameter, value in _KEEP:
        mallopt(parameter, value)

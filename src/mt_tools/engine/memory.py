"""How this process holds memory between one batch and the next."""

from __future__ import annotations

import ctypes
import os

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_NEVER, _MOST = -1, 2**31 - 1


def keep_memory(most: int | None = None) -> None:
    """Let this process keep memory that is freed for the next batch; to be called before all else.

    glibc gives large blocks back to the system at once, and fresh pages for them cost a network on
    a CPU more time than its arithmetic (`bench/memory.py`, `bench/embed.py`). In threads it does so
    whatever it is told, unless they have no arena of their own: hence before the first one starts.
    In return a training may hold two thirds more memory. With `most`, blocks of more bytes are
    given back all the same, and so is what lies free beyond it. Where the user has set the
    allocator (`MALLOC_MMAP_THRESHOLD_`), and with other C libraries, nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    mallopt(_M_TRIM_THRESHOLD, _NEVER if most is None else most)
    mallopt(_M_MMAP_THRESHOLD, _MOST if most is None else most)
    mallopt(_M_ARENA_MAX, 1)

"""The choice of the device that networks run on: the one place where it is made."""

from __future__ import annotations

import ctypes
import os

import torch

from mt_tools.errors import UsageError

# M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX of glibc's malloc.h.
_KEEP = ((-1, 2**31 - 1), (-3, 2**31 - 1), (-8, 1))


def available() -> list[str]:
    """Return the names of this machine's devices, fastest kind first."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def choose(name: str = "auto") -> torch.device:
    """Return the device called `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    `auto` takes a CUDA device before `mps` before the CPU, and each process that torchrun started
    on this machine (`LOCAL_RANK`) its own one. On CUDA, convolutions are computed in full float32
    from then on, so that results agree with the CPU's to 1e-5; on the CPU, memory is kept
    (`keep_memory`). Raises `UsageError` for a device that this machine does not have.
    """
    present = available()
    wanted = {"auto": present[0], "cuda": "cuda:0"}.get(name, name)
    if name in ("auto", "cuda") and wanted == "cuda:0":
        wanted = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if wanted not in present:
        raise UsageError(
            f"no device {name!r}: this machine has {', '.join(present)}; choose one of them or auto"
        )
    if wanted.startswith("cuda"):
        # cuDNN's default, TF32, keeps ten bits of a float32's mantissa.
        torch.backends.cudnn.allow_tf32 = False
    if wanted == "cpu":
        keep_memory()
    return torch.device(wanted)


def keep_memory() -> None:
    """Let this process keep the memory of tensors on the CPU that are freed, for the next batch.

    glibc gives large blocks back to the system at once, and fresh pages for them cost a network
    about as much time as its arithmetic (`bench/memory.py`). In threads it does so whatever it is
    told, unless all share one arena. In return a training may hold half as much memory again. Where
    the user has set the allocator (`MALLOC_MMAP_THRESHOLD_`), and with other C libraries, nothing
    is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    for parameter, value in _KEEP:
        mallopt(parameter, value)


def set_threads(count: int) -> None:
    """Let networks on a CPU use so many threads; 0 leaves it to torch, one a core."""
    if count:
        torch.set_num_threads(count)

"""The choice of the device that networks run on: the one place where it is made."""

from __future__ import annotations

import os

import torch

from mt_tools.errors import UsageError


def available() -> list[str]:
    """Return the names of this machine's devices, fastest kind first."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def choose(name: str = "auto") -> torch.device:
    """Return the device called `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    `auto` takes a CUDA device before `mps` before the CPU, and each process that torchrun started
    on this machine (`LOCAL_RANK`) its own one. On CUDA, convolutions are computed in
    full float32 from then on, so that results agree with the CPU's to 1e-5. Raises `UsageError` for
    a device that this machine does not have.
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
    return torch.device(wanted)


def set_threads(count: int) -> None:
    """Let networks on a CPU use so many threads; 0 leaves it to torch, one a core."""
    if count:
        torch.set_num_threads(count)

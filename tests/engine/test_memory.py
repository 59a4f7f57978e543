"""What a process does with memory between batches."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
@pytest.mark.parametrize("where", ["main", "threads"])
@pytest.mark.parametrize(
    ("setting", "kept"), [({}, True), ({"MALLOC_MMAP_THRESHOLD_": "33554432"}, False)]
)
def test_memory_on_a_cpu_is_kept_unless_the_user_says(
    setting: dict[str, str], kept: bool, where: str
) -> None:
    """A network would wait for fresh pages half of its time, or a small machine could not say no."""
    program = """
import sys, threading
from mt_tools.engine.memory import keep_memory
keep_memory()
import torch

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def turn():
    torch.ones(64 * 2**20 // 4)
    print(held() - before > 32 * 2**20)

torch.ones(8)
before = held()
if sys.argv[1] == "main":
    turn()
for _ in range(3 * (sys.argv[1] == "threads")):
    thread = threading.Thread(target=turn)
    thread.start()
    thread.join()
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", program, where], env=env | setting, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(kept)] * (3 if where == "threads" else 1)

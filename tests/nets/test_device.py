"""The choice of a device."""

import ctypes
import os
import subprocess
import sys

import pytest
import torch

from mt_tools.errors import UsageError
from mt_tools.nets.device import available, choose


def test_the_cpu_is_always_there() -> None:
    """Nothing would run on a machine without an accelerator."""
    assert available()[-1] == "cpu"
    assert choose("cpu") == torch.device("cpu")


def test_auto_takes_the_first_device() -> None:
    """A graphics card would lie idle."""
    assert choose("auto") == choose() == torch.device(available()[0])


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "cuda:", "CPU", ""])
def test_an_absent_device_is_refused_with_what_there_is(name: str) -> None:
    """A mistyped device would silently run on the CPU, or end in torch's traceback."""
    with pytest.raises(UsageError, match=rf"no device '{name}': this machine has .*cpu"):
        choose(name)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize(
    ("setting", "kept"), [({}, True), ({"MALLOC_MMAP_THRESHOLD_": "33554432"}, False)]
)
def test_memory_on_a_cpu_is_kept_unless_the_user_says(
    setting: dict[str, str], kept: bool, where: str
) -> None:
    """A network would wait for fresh pages half of its time, or a small machine could not say no."""
    program = """
import sys, threading, torch
from mt_tools.nets.device import choose

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def turn():
    torch.ones(64 * 2**20 // 4)
    print(held() - before > 32 * 2**20)

choose("cpu")
torch.ones(8)
before = held()
if sys.argv[1] == "main":
    turn()
else:
    thread = threading.Thread(target=turn)
    thread.start()
    thread.join()
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", program, where], env=env | setting, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == f"{kept}\n"

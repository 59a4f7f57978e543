"""The choice of a device."""

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

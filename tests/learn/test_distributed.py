"""Several processes train what one process trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fit_work import SHARED, shared_run, weights
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.errors import UsageError
from mt_tools.learn.distributed import World, joined

WORK = Path(__file__).with_name("fit_work.py")


@pytest.fixture(scope="module")
def torchrun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two real processes found."""
    folder = tmp_path_factory.mktemp("shared")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, "--nproc-per-node", "2", WORK, "shared", folder],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_learn_what_one_learns(torchrun: Path, name: str) -> None:
    """Training on several GPUs would be another training, above all where labels are missing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    net, history = shared_run(name)
    torch.set_num_threads(threads)
    alone = weights(net)
    for rank in range(2):
        found = np.load(torchrun / f"{name}.{rank}.npz")
        for key, value in alone.items():
            np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=f"{key} of {rank}")
    records = [(torchrun / f"{name}.{rank}.txt").read_text() for rank in range(2)]
    assert records[0] == records[1]
    found = json.loads(records[0])
    assert (found["updates"], found["samples"]) == (history.updates, history.samples)
    for epoch, alone_epoch in zip(found["epochs"], history.epochs, strict=True):
        assert epoch["train"] == pytest.approx(alone_epoch.train, abs=1e-5)
        assert epoch["valid"] == pytest.approx(alone_epoch.valid, abs=1e-5)


@pytest.mark.parametrize("name", ["norm", "last"])
def test_all_end_with_the_same_network(torchrun: Path, name: str) -> None:
    """The model would depend on which process saved it: batch norm is each one's own."""
    one, other = (np.load(torchrun / f"{name}.{rank}.npz") for rank in range(2))
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])


def test_the_first_alone_tells_and_writes(torchrun: Path) -> None:
    """Two processes would write one file, or say everything twice."""
    told = [(torchrun / f"told.{rank}").read_text().split() for rank in range(2)]
    assert told[1] == ["0", "False"]
    assert int(told[0][0]) > 0
    assert told[0][1] == "True"


@given(rows=st.integers(2, 200), size=st.integers(1, 16))
def test_shares_part_a_batch(rows: int, size: int) -> None:
    """A row would be learned from twice, or by nobody; or one alone would break batch norm."""
    met = []
    for rank in range(size):
        share, counts = World(rank, size).share(rows)
        part = list(range(rows))[share]
        assert len(part) >= 2
        if counts:
            met += part
    assert met == list(range(rows))


def test_one_process_is_a_world_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training without torchrun would wait for others."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as world:
        assert world == World(0, 1)
        assert world.gather(5) == [5]
        assert world.share(7) == (slice(0, 7), True)


def test_an_incomplete_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster's half-set environment would hang or end in a traceback."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="without RANK, LOCAL_RANK"), joined():
        pass

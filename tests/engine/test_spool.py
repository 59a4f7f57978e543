"""Arrays of a track that memory does not hold."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from pool_work import spooled

from mt_tools.engine.pool import ordered
from mt_tools.engine.spool import Spool
from mt_tools.errors import RowError


@given(
    st.lists(
        st_numpy.arrays(
            st.sampled_from([np.float32, np.float16, np.uint8]),
            st_numpy.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6),
        ),
        max_size=12,
    ),
    st.integers(0, 400),
)
def test_arrays_are_read_as_they_were_written(arrays: list[np.ndarray], most: int) -> None:
    """The segments of a mix would be cut at the wrong places, or come in another order."""
    spool = Spool(most)
    spool.extend(arrays)
    assert len(spool) == len(arrays)
    for one, other in zip(spool, arrays, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    if arrays:
        np.testing.assert_array_equal(spool[-1], arrays[-1])
    with pytest.raises(IndexError):
        spool[len(arrays)]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `tempfile` look at TMPDIR again, before and after."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    tempfile.tempdir = None


def test_it_lies_where_tmpdir_says_and_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: None
) -> None:
    """A small /tmp would fill up, or a killed run leave gigabytes behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    spool = Spool(100)
    spool.extend([np.ones(50, np.float32)] * 3)
    assert list(tmp_path.iterdir()) == []
    if Path("/proc/self/fd").exists():
        links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        assert [link for link in links if link.startswith(str(tmp_path))]
    assert spool[2].sum() == 50


def test_a_full_disk_is_the_error_of_a_row(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: None
) -> None:
    """A night's work would end, or a track be tagged by its first hour."""
    monkeypatch.setenv("TMPDIR", str(small_disk))
    spool = Spool(100)
    with pytest.raises(RowError, match=f"waits in {small_disk}.*No space left.*TMPDIR") as caught:
        spool.extend([np.ones(100_000, np.float32)] * 3)
    assert caught.value.kind == "no-space"
    del spool, caught
    gc.collect()
    assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize > 900_000


@pytest.mark.parametrize("jobs", [0, 1])
def test_it_comes_from_workers(jobs: int) -> None:
    """A long track would fail in workers, or die with the worker that decoded it."""
    found = [outcome.value for outcome in ordered(spooled, [3, 500], jobs)]
    for spool, count in zip(found, (3, 500), strict=True):
        assert spool is not None
        assert [int(array[0]) for array in spool] == list(range(count))

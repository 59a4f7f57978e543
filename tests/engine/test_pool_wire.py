"""Values between processes: as they were, open files among them, and no memory held afterwards."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from mt_tools.engine.wire import Handle, Message, Received


def sent(value: Any) -> Any:
    """Return a value after its way through a socket."""
    ours, theirs = Pipe()
    thread = threading.Thread(target=lambda: Message(value).send(theirs))
    thread.start()
    try:
        return Received(ours).value()
    finally:
        thread.join()
        ours.close()
        theirs.close()


@given(
    st.lists(
        st_numpy.arrays(
            st.sampled_from([np.float32, np.float16, np.int64, np.bool_]),
            st_numpy.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=40),
        ),
        max_size=5,
    ),
    st.text(),
)
def test_arrays_arrive_as_they_were(arrays: list[np.ndarray], text: str) -> None:
    """Features would be another track's, or shifted within it."""
    found, said = sent((arrays, text))
    assert said == text
    assert len(found) == len(arrays)
    for one, other in zip(found, arrays, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "change", [lambda x: x.T, lambda x: x[::2], lambda x: x[:, ::-1]], ids=["F", "steps", "back"]
)
def test_arrays_of_any_layout(change: Callable[[np.ndarray], np.ndarray]) -> None:
    """A view that lies in memory with gaps would arrive with what is between them."""
    array = change(np.arange(120_000, dtype=np.float32).reshape(300, 400))
    np.testing.assert_array_equal(sent(array), array)


def test_arrays_can_be_written_to() -> None:
    """Effects that work in place would fail on what a worker sent."""
    for size in (10, 5_000, 500_000):
        array = sent(np.zeros(size, np.float32))
        array += 1
        assert array.sum() == size


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is asked of Linux")
def test_memory_goes_back_with_the_last_array() -> None:
    """A night over thousands of files would need more memory for each."""

    def held() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    message = [np.ones(4 << 20, np.float32), np.ones(2 << 20, np.float32)]
    before = held()
    first, second = sent(message)
    assert held() > before + (20 << 20)
    del first
    assert second.sum() == 2 << 20
    del second
    assert held() < before + (4 << 20)


def test_an_open_file_arrives_open(tmp_path: Path) -> None:
    """What waits on disk could not be read by the process that wants it."""
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    handle = Handle(os.open(path, os.O_RDONLY))
    path.unlink()
    found, number = sent([handle, 3])
    assert number == 3
    handle.close()
    assert os.pread(found.number, 9, 0) == b"abc"


def test_a_file_that_nobody_holds_is_closed(tmp_path: Path) -> None:
    """A run over many mixes would end at the limit of open files, or fill the disk."""
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    handle = Handle(os.open(path, os.O_RDONLY))
    number = handle.number
    del handle
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_value_that_is_cut_short() -> None:
    """A worker that is killed while it answers would hang the run, or give half an array."""
    for cut in (1, 100, 5_000, 600_000):
        ours, theirs = Pipe()
        whole, far = Pipe()
        thread = threading.Thread(target=lambda far=far: _send_and_close(far))
        thread.start()
        content = b""
        while piece := os.read(whole.fileno(), 1 << 16):
            content += piece
        thread.join()
        writer = threading.Thread(
            target=lambda cut=cut, content=content, theirs=theirs: _write(theirs, content[:cut])
        )
        writer.start()
        with pytest.raises((EOFError, OSError)):
            Received(ours)
        writer.join()
        ours.close()
        whole.close()


def _send_and_close(connection: Any) -> None:
    Message(np.ones(200_000, np.float32)).send(connection)
    connection.close()


def _write(connection: Any, content: bytes) -> None:
    while content:
        content = content[os.write(connection.fileno(), content) :]
    connection.close()

"""A file appears whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mt_tools.errors import RunError
from mt_tools.tables.atomic import AtomicFile, atomic, sweep


def test_it_appears_at_the_end_with_the_usual_mode(tmp_path: Path) -> None:
    """A reader would see half a file, or a colleague could not read it."""
    umask = os.umask(0o027)
    try:
        with atomic(tmp_path / "t.bin") as file:
            file.write(b"new")
            assert not (tmp_path / "t.bin").exists()
    finally:
        os.umask(umask)
    assert os.listdir(tmp_path) == ["t.bin"]
    assert (tmp_path / "t.bin").stat().st_mode & 0o777 == 0o640


def test_an_old_file_keeps_its_mode_and_survives_a_failure(tmp_path: Path) -> None:
    """A failed run would cost the result of the last good one."""
    path = tmp_path / "t.bin"
    path.write_bytes(b"old")
    path.chmod(0o604)
    with pytest.raises(ZeroDivisionError), atomic(path) as file:
        file.write(b"%d" % (1 // 0))
    assert path.read_bytes() == b"old"
    with atomic(path) as file:
        file.write(b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o604)
    assert os.listdir(tmp_path) == ["t.bin"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """A link to a disk with more room would be replaced by a file on the small one."""
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far/t.bin")
    for content in (b"one", b"two"):  # dangling at first
        with atomic(tmp_path / "link") as file:
            file.write(content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "far" / "t.bin").read_bytes() == content
    assert os.listdir(tmp_path / "far") == ["t.bin"]


def test_a_fifo_is_written_to(tmp_path: Path) -> None:
    """A FIFO would be replaced by a file while its reader waits for ever."""
    os.mkfifo(tmp_path / "fifo")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "fifo").read_bytes()))
    reader.start()
    with atomic(tmp_path / "fifo") as file:
        file.write(b"x")
    reader.join(10)
    assert found == [b"x"]
    assert (tmp_path / "fifo").is_fifo()


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    """A mistake in -o would end in a traceback."""
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "no" / "t.bin", tmp_path / "file" / "t.bin"):
        with pytest.raises(RunError, match="cannot write"):
            AtomicFile(path)


def test_discard_is_safe_after_commit(tmp_path: Path) -> None:
    """Cleaning up after a late error would remove the finished file."""
    output = AtomicFile(tmp_path / "t.bin")
    output.commit()
    output.discard()
    assert os.listdir(tmp_path) == ["t.bin"]


KILLED = """
import os, signal, sys
from mt_tools.tables.atomic import AtomicFile
file = AtomicFile(sys.argv[1])
file.file.write(b"half")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    """Every kill -9 would leave a hidden file for good, or a sweep cost a file being written."""
    path, other = tmp_path / "t.parquet", tmp_path / "other.parquet"
    for target in (path, other):
        done = subprocess.run([sys.executable, "-c", KILLED, target], check=False)
        assert done.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2
    with atomic(path) as file:
        sweep(path)
        file.write(b"new")
    assert path.read_bytes() == b"new"
    (left,) = set(os.listdir(tmp_path)) - {"t.parquet"}
    sweep(other)
    assert not (tmp_path / left).exists()
    assert path.exists()

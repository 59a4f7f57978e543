"""What every test may use: the reference folder, the installed commands, a made corpus."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT, Shell


def pytest_configure() -> None:
    """Let tests use one thread a process, as two of them share two cores."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of published weights, clips and features, which the repository never holds."""
    folder = Path(os.environ.get("MT_TOOLS_REFERENCE", ROOT.parent / "shared" / "reference"))
    if not (folder / "choi-msd").is_dir():
        pytest.skip(f"no reference folder at {folder}: set MT_TOOLS_REFERENCE to run this test")
    return folder


@pytest.fixture(scope="session")
def bin_folder() -> Path:
    """The folder of the installed commands."""
    folder = Path(sys.executable).parent
    if not (folder / "mt-tag").exists():
        pytest.fail(f"mt-tag is not installed beside {sys.executable}: run `make test`")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of weights of this run alone."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def sh(tmp_path: Path, bin_folder: Path, cache: Path) -> Shell:
    """Run a line in a real bash with the installed commands on the path, in an empty folder."""

    def run(
        line: str, *, ok: bool = False, **options: object
    ) -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "MT_TOOLS_CACHE": str(cache),
            "COLUMNS": "100",
        }
        settings: dict[str, object] = {
            "cwd": tmp_path,
            "capture_output": True,
            "timeout": 180,
            "env": environment,
            "stdin": subprocess.DEVNULL,
        }
        done = subprocess.run(["bash", "-c", line], **(settings | options))  # type: ignore[call-overload]
        if ok:
            assert done.returncode == 0, f"{line}\n{done.stderr.decode(errors='replace')}"
        return done

    return run


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, bin_folder: Path) -> Path:
    """A made corpus of 36 short pieces: `tracks.parquet` and the folder `data` beside it."""
    folder = tmp_path_factory.mktemp("corpus")
    subprocess.run(
        [
            bin_folder / "mt-fetch",
            "synth",
            "--tracks",
            "36",
            "--seconds",
            "3",
            "--out",
            "data",
            "-o",
            "tracks.parquet",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte; skips where mounting is not allowed."""
    folder = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"mt-small-{os.getpid()}"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode:
        folder.rmdir()
        pytest.skip("mounting a small tmpfs is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)

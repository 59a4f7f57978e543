"""What the tests of pipes and signals share: `mt-copy` on the path, tables, a look at processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Shell = Callable[..., subprocess.CompletedProcess[bytes]]
COPY = Path(__file__).with_name("copy_table.py")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with `mt-copy`, and a table of ten rows as JSON lines."""
    script = tmp_path / "bin" / "mt-copy"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{COPY}" "$@"\n')
    script.chmod(0o755)
    rows = [{"id": f"r{n}", "path": f"r{n}.wav", "x": n} for n in range(10)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def bash(sh: Shell, here: Path) -> Shell:
    """Run a line in bash, with `mt-copy` on the path; stderr ends with the codes of the pipe."""

    def run(line: str, **options: object) -> subprocess.CompletedProcess[bytes]:
        return sh(f'PATH="{here}/bin:$PATH"; set -o pipefail; {line}', **options)

    return run


@pytest.fixture
def processes(here: Path) -> Iterator[Callable[[], list[str]]]:
    """The command lines of all processes that run in this folder; none may be left at the end."""

    def found() -> list[str]:
        lines = []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == str(here):
                    lines.append(Path(f"/proc/{entry}/cmdline").read_bytes().decode())
            except OSError:  # it has just ended
                continue
        return [line for line in lines if line]

    yield found
    deadline = time.monotonic() + 2
    while found() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found() == []

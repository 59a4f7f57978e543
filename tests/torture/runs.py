"""Runs of the command that are killed, and what is left when they are."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def start(line: str, here: Path) -> subprocess.Popen[bytes]:
    """Start a command as the leader of its own group of processes."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with open(here / "said.txt", "ab") as said:
        return subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=here, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=said, start_new_session=True,
            env=os.environ | {"PATH": path},
        )  # fmt: skip


def kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill a command with all its workers at once, as a power cut does; say whether it ran."""
    ran = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.01)
    return ran


def killed_at(line: str, here: Path, journal: Path, word: bytes, count: int, later: float) -> bool:
    """Run a command until a word stands so often in a journal, and `later` seconds more."""
    process = start(line, here)
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(word) >= count:
            time.sleep(later)
            break
        time.sleep(0.001)
    return kill(process)


def contents(found: dict[str, Any]) -> dict[str, Any]:
    """Return what is in files, and modes, without times; hidden files only if they were there."""
    return {
        name: value[:2] if isinstance(value, tuple) else value
        for name, value in found.items()
        if not os.path.basename(name).startswith(".") or name == "links/.hidden.mp3"
    }


def neither(seen: Sequence[dict[str, Any]], *right: dict[str, Any]) -> list[str]:
    """Return the files that were in none of the right states at some moment."""
    rights = [contents(one) for one in right]
    return [
        f"{name} at kill {number}"
        for number, state in enumerate(seen)
        for name in rights[0].keys() | contents(state).keys()
        if all(contents(state).get(name) != one.get(name) for one in rights)
    ]


def left_over(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the files that a run has left behind."""
    return sorted(after.keys() - before.keys())


def entries(journal: Path) -> list[str]:
    """Return the paths of a journal's changes that were not taken back, in order."""
    found: dict[int, str] = {}
    offset = 0
    for row in journal.read_bytes().splitlines(keepends=True) if journal.exists() else []:
        record = json.loads(row)
        if "entry" in record:
            found[offset] = record["entry"]["path"]
        elif "undone" in record:
            found.pop(record["undone"])
        offset += len(row)
    return list(found.values())


def stored(state: Path) -> int:
    """Return how many sounds' predictions a state holds, looking at a copy of it."""
    with tempfile.TemporaryDirectory() as copy:
        for path in state.glob("state.sqlite*"):
            shutil.copy(path, copy)
        with contextlib.closing(sqlite3.connect(Path(copy) / "state.sqlite")) as database:
            return int(database.execute("SELECT count(*) FROM predictions").fetchone()[0])

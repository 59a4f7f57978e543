"""Signals: everything is cleaned up, and the shell sees what happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ("shell",)

Shell = Callable[..., subprocess.CompletedProcess[bytes]]

Processes = Callable[[], list[str]]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(line: str, here: Path, **options: object) -> subprocess.Popen[bytes]:
    """Start a command as the leader of its own group, as a shell on a terminal does."""
    return subprocess.Popen(  # type: ignore[call-overload]
        line.split(),
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"PATH": f"{here}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"},
        **options,
    )


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def temporary(folder: Path) -> list[str]:
    """Return the names of the temporary files in a folder."""
    return [name for name in os.listdir(folder) if name.startswith(".")]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("where", ["stdin", "output", "workers"])
def test_a_signal_ends_the_run_cleanly(
    here: Path, bash: Shell, processes: Processes, where: str, number: signal.Signals
) -> None:
    """Ctrl-C or a reboot would leave temporary files or processes, or a shell loop would go on."""
    (here / "out.jsonl").write_text("old")
    (here / "work").mkdir()
    line = {
        "stdin": "mt-copy - --from paths -o out.jsonl",
        "output": "mt-copy t.jsonl --size 2 --after 4 --wrong wait -o out.jsonl",
        "workers": "mt-copy t.jsonl --out work --jobs 2 -o out.jsonl",
    }[where]
    process = start(line, here, stdin=subprocess.PIPE)
    assert process.stdin is not None
    if where == "stdin":
        process.stdin.write(b"a.wav\nb.wav\n")
        process.stdin.flush()
    until(lambda: temporary(here / "work" if where == "workers" else here))
    sent = time.monotonic()
    os.killpg(process.pid, number)  # as a terminal does, and a supervisor when it stops a service
    _, said = process.communicate(timeout=20)
    assert time.monotonic() - sent < 2
    assert process.returncode == -number
    assert said.replace(b"waiting\n", b"") == b""
    assert temporary(here) == temporary(here / "work") == []
    assert (here / "out.jsonl").read_text() == "old"


def test_a_signal_before_the_first_byte(here: Path, processes: Processes) -> None:
    """A command at the end of a slow pipe could not be stopped."""
    process = start("mt-copy", here, stdin=subprocess.PIPE)
    time.sleep(3)  # also on a busy machine it has begun to wait by then
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() == -signal.SIGINT
    assert process.communicate()[1] == b""


def test_a_shell_loop_stops(here: Path, processes: Processes) -> None:
    """Ctrl-C would end one file of a loop and go on with the next."""
    (here / "loop").write_text(
        "for n in 1 2 3; do echo $n; mt-copy t.jsonl --after 0 --wrong wait; done; echo end\n"
    )
    process = start("bash loop", here)
    assert process.stderr is not None
    assert process.stderr.readline() == b"waiting\n"
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert out == b"1\n"
    assert process.returncode == -signal.SIGINT


def test_nohup(here: Path, processes: Processes) -> None:
    """A run under nohup, or its workers, would die with the terminal."""
    process = start("nohup mt-copy t.jsonl --size 5 --work 0.2 --jobs 2 -o out.jsonl", here)
    until(lambda: temporary(here))
    os.killpg(process.pid, signal.SIGHUP)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert (here / "out.jsonl").read_bytes() == (here / "t.jsonl").read_bytes()


def test_a_reader_that_left(bash: Shell, here: Path, processes: Processes) -> None:
    """`| head` would print a traceback, or look like a failure of the data."""
    (here / "many.jsonl").write_text(
        "".join(f'{{"id": "{n}{os.urandom(500).hex()}"}}\n' for n in range(300))
    )
    for format in ("arrow", "arrow --work 0.001 --jobs 2", "jsonl", "csv", "npz", "parquet"):
        done = bash(
            f"mt-copy many.jsonl --size 150 --format {format} | head -c 100 > out;"
            ' echo "${PIPESTATUS[*]}"'
        )
        assert (done.stdout, done.stderr) == (b"141 0\n", b""), format


def test_a_killed_corpus_leaves_whole_files(here: Path, bash: Shell, processes: Processes) -> None:
    """A corpus that was stopped would hold half a file that looks like a whole one."""
    process = start(
        "mt-fetch synth --tracks 500 --seconds 10 --out data --jobs 2 -o t.parquet", here
    )
    until(lambda: (here / "data").is_dir() and len(os.listdir(here / "data")) > 3)
    process.terminate()
    assert process.wait(5) == -signal.SIGTERM
    assert temporary(here) == temporary(here / "data") == []
    assert not (here / "t.parquet").exists()

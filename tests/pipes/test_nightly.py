"""Nightly runs in a real shell: what is left out, what survives a kill, the examples for cron."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile
from support import ROOT, Shell
from torture.model import make_model

from mt_tools.library.state import State

CRON = ROOT / "examples" / "cron"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with the tasks genre, moods and energy."""
    path = tmp_path_factory.mktemp("model") / "mine.safetensors"
    make_model(path)
    return path


def sound(path: Path, seed: int) -> Path:
    """Write three quarters of a second of noise."""
    rng = np.random.default_rng(seed)
    soundfile.write(path, rng.uniform(-0.5, 0.5, 6000), 8000)
    return path


@pytest.fixture
def music(tmp_path: Path, model: Path) -> Path:
    """A home with six sounds in `Music`, one file that is none, and a model."""
    folder = tmp_path / "Music"
    folder.mkdir()
    for number in range(6):
        sound(folder / f"{number}.flac", number)
    (folder / "text.mp3").write_text("no music")
    shutil.copy(model, tmp_path / "mine.safetensors")
    return folder


def rows(output: bytes | str) -> list[dict[str, object]]:
    """Read JSON lines."""
    return [json.loads(line) for line in output.splitlines()]


def counts(path: Path) -> dict[str, int]:
    """Read a summary: the counts that are not nought."""
    said = json.loads(path.read_text())
    assert said.pop("ended")
    assert said.pop("seconds") > 0
    return {name: value for name, value in said.items() if value or name == "exit"}


def test_every_night(sh: Shell, music: Path, tmp_path: Path) -> None:
    """Files would be tagged again every night, known failures cry every night, or news be missed."""
    line = "mt-tag Music -m mine.safetensors -j 0"
    plain = rows(sh(line).stdout)
    nightly = f"{line} --state state --summary s.json"
    first = sh(nightly)
    assert first.returncode == 3
    assert rows(first.stdout) == plain
    assert counts(tmp_path / "s.json") == {
        "exit": 3, "seen": 7, "new": 7, "tagged": 6, "failed": 1
    }  # fmt: skip
    second = sh(f"PYTHONPROFILEIMPORTTIME=1 {nightly}", ok=True)
    assert second.stdout == b""
    assert counts(tmp_path / "s.json") == {"exit": 0, "seen": 7, "unchanged": 6, "failed_before": 1}
    assert b"text.mp3: text" not in second.stderr
    assert b"mt_tools.stages.known" in second.stderr  # imports are told
    assert b" torch" not in second.stderr  # seconds, and memory, for nothing
    tagged = mutagen.File(music / "1.flac")
    tagged["comment"] = "by hand"
    tagged.save()
    (music / "2.flac").rename(music / "two.flac")
    sound(music / "new.flac", 8)
    third = sh(f"{nightly} -o out.jsonl", ok=True)
    assert b"8 files, 1 new, 1 retagged, 1 moved or copied" in third.stderr
    found = {row["id"]: row for row in rows((tmp_path / "out.jsonl").read_text())}
    assert list(found) == ["1.flac", "new.flac", "two.flac"]
    assert found["1.flac"] == plain[1]
    assert found["two.flac"]["genre_score"] == plain[2]["genre_score"]
    assert counts(tmp_path / "s.json") == {
        "exit": 0, "seen": 8, "unchanged": 4, "new": 1, "retagged": 1, "moved": 1, "gone": 1,
        "failed_before": 1, "tagged": 1, "remembered": 2,
    }  # fmt: skip
    fourth = sh(f"{nightly} --all --max-time 0.01s", ok=True)
    assert [row["id"] for row in rows(fourth.stdout)] == [
        "0.flac", "1.flac", "3.flac", "4.flac", "5.flac", "new.flac", "two.flac",
    ]  # fmt: skip
    with State(tmp_path / "state"):
        assert sh(nightly).returncode == 75
    assert counts(tmp_path / "s.json")["exit"] == 0  # what the run says that has the state
    music.rename(tmp_path / "unmounted")
    music.mkdir()
    assert sh(nightly).returncode == 5
    assert counts(tmp_path / "s.json") == {"exit": 5}  # and not that of the night before


def stored(folder: Path) -> int:
    """Return how many predictions a state holds that nobody has open."""
    with State(folder) as state:  # as the next run does; a log of a killed one is taken over
        assert state.path
    database = sqlite3.connect(folder / "state.sqlite")
    try:
        return int(database.execute("SELECT count(*) FROM predictions").fetchone()[0])
    finally:
        database.close()


def test_a_killed_run_repeats_nothing_and_loses_nothing(
    sh: Shell, bin_folder: Path, model: Path, tmp_path: Path
) -> None:
    """A reboot at night would cost all that was computed, or leave tracks without tags for ever."""
    (tmp_path / "Music").mkdir()
    for seed in range(150):
        sound(tmp_path / "Music" / f"{seed:03}.wav", seed)
    line = [str(bin_folder / "mt-tag"), "Music", "-m", str(model), "--state", "state", "-j", "1"]
    log = tmp_path / "state" / "state.sqlite-wal"
    rng = random.Random(7)
    before = 0
    for number in (signal.SIGKILL, signal.SIGTERM):  # SIGTERM is how systemd stops a service
        process = subprocess.Popen(
            [*line, "-o", "out.jsonl"], cwd=tmp_path, start_new_session=True,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        size = log.stat().st_size if log.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and (not log.exists() or log.stat().st_size <= size + 50_000):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.1))
        os.killpg(process.pid, number)
        process.stderr.read()
        assert process.wait() == -number
        assert not (tmp_path / "out.jsonl").exists()
        now = stored(tmp_path / "state")
        assert before < now < 150
        before = now
    sh(f"{' '.join(line)} -o out.jsonl --summary s.json", ok=True)
    sh(f"mt-tag Music -m {model} -j 0 -o plain.jsonl", ok=True)
    assert counts(tmp_path / "s.json")["tagged"] == 150 - before
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()


# --- the examples for cron -----------------------------------------------------------------------


@pytest.fixture
def home(music: Path, tmp_path: Path, bin_folder: Path) -> Path:
    """The home folder, with the command where the examples say it is."""
    (tmp_path / ".local" / "bin").mkdir(parents=True)
    (tmp_path / ".local" / "bin" / "mt-tag").symlink_to(bin_folder / "mt-tag")
    return tmp_path


def alone(home: Path, line: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line as cron does: by sh, in the home folder, with next to no environment."""
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", **more}
    return subprocess.run(
        ["/bin/sh", "-c", line], cwd=home, env=environment, capture_output=True, timeout=120,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_crontab(home: Path, music: Path) -> None:
    """The line that people copy would not run under cron, or would mail them every night."""
    lines = [
        line for line in (CRON / "crontab").read_text().splitlines() if line and line[0] != "#"
    ]
    *settings, job = lines
    more = dict(line.split("=", 1) for line in settings)
    *when, command = job.split(maxsplit=5)
    assert when == ["30", "1", "*", "*", "*"]
    assert "%" not in command  # a line's end to cron
    own = mutagen.File(music / "4.flac")
    own["genre"] = "My own"
    own.save()
    first = alone(home, command, **more)
    assert b"text.mp3: text, expected audio" in first.stdout  # mailed: one failed
    state = home / ".local" / "state" / "mt-tag"
    found = rows((state / "tags.jsonl").read_text())
    assert [row["written"] for row in found] == [True] * 4 + [False, True]
    for row in found:
        genre = [row["genre_pred"] if row["written"] else "My own"]
        assert mutagen.File(home / str(row["path"]))["genre"] == genre
    written = {path.name: path.read_bytes() for path in music.iterdir()}
    second = alone(home, command, **more)
    assert (second.stdout, second.stderr) == (b"", b"")
    assert rows((state / "tags.jsonl").read_text()) == found
    assert counts(state / "summary.json") == {
        "exit": 0, "seen": 7, "unchanged": 6, "failed_before": 1
    }  # fmt: skip
    assert {path.name: path.read_bytes() for path in music.iterdir()} == written
    (journal,) = (state / "journals").iterdir()
    undone = alone(home, f'.local/bin/mt-tag --undo "{journal}" -o /dev/null')
    assert undone.returncode == 0
    assert "genre" not in mutagen.File(music / "0.flac")


def test_the_service(home: Path, music: Path) -> None:
    """systemd would refuse the units, or the line that it starts would not run."""
    unit = (CRON / "mt-tag.service").read_text()
    said = dict(line.split("=", 1) for line in unit.splitlines() if line[:1] not in ("#", "[", ""))
    line = said["ExecStart"].replace("%h", str(home)).replace("%S", str(home / "s"))
    done = alone(home, line)
    assert str(done.returncode) in said["SuccessExitStatus"].split()
    assert len(rows(done.stdout)) == 6
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here: the line alone was run")
    (home / "run").mkdir()
    check = "systemd-analyze verify --user --man=no mt-tag.service mt-tag.timer"
    checked = alone(home, f"cd '{CRON}' && {check}", XDG_RUNTIME_DIR=str(home / "run"))
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_logrotate(home: Path) -> None:
    """The log would grow for ever, or the state and the journals be rotated away."""
    program = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        pytest.skip("no logrotate here")
    state = home / ".local" / "state" / "mt-tag"
    (state / "journals").mkdir(parents=True)
    for name in ("mt-tag.log", "tags.jsonl", "state.sqlite", "journals/one.jsonl"):
        (state / name).write_text(name)
    config = home / "mt-tag.logrotate"  # one that anybody may write to is refused
    shutil.copy(CRON / config.name, config)
    config.chmod(0o644)
    done = alone(home, f"{program} --force -s status '{config}'")
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(path.name for path in state.iterdir()) == [
        "journals", "mt-tag.log.1", "state.sqlite", "tags.jsonl.1",
    ]  # fmt: skip
    assert (state / "journals" / "one.jsonl").is_file()

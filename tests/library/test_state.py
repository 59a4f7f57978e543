"""The state of nightly runs: what is remembered, and what becomes of it when a run is killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.errors import BrokenTable, Locked, RunError, UsageError
from mt_tools.library import state as module
from mt_tools.library.durations import seconds, spelled
from mt_tools.library.files import ABSENT, Places
from mt_tools.library.state import DONE, FAILED, KNOWN, PASSED, Record, State, key_of

WORK, RUN = key_of("work"), key_of("run")


def digest(number: int) -> bytes:
    """Return a digest of 32 bytes."""
    return number.to_bytes(32, "big")


def test_files_are_remembered_exactly(tmp_path: Path) -> None:
    """A name that is not UTF-8, or a time beyond a float, would make a file new every night."""
    names = [b"/music/caf\xe9 \xff.mp3", "/музыка/😀\n.flac".encode(), b"/a'b\"c%"]
    records = [
        Record(name, 2**40 + number, 1_790_000_000_123_456_789 + number, KNOWN, digest(number))
        for number, name in enumerate(names)
    ]
    failed = Record(b"/x.mp3", -1, -1, FAILED, b"", RUN, "missing", "no such file; über", 2)
    with State(tmp_path / "state") as state:
        state.put([*records, failed])
    with State(tmp_path / "state") as state:
        known = state.known([*names, b"/x.mp3", b"/never seen"])
    assert known == {record.path: record for record in [*records, failed]}


def test_a_file_is_done_once_the_output_is_whole(tmp_path: Path) -> None:
    """A run that was broken off would leave rows out that nobody ever got."""
    records = [Record(b"/%d" % n, 1, n, KNOWN, digest(n)) for n in range(3)]
    with State(tmp_path) as state:
        state.put(records)
        state.passed([b"/0"], RUN)
        state.delivered()
        state.passed([b"/1"], RUN)  # and the run is broken off
    with State(tmp_path) as state:
        known = state.known([b"/0", b"/1", b"/2"])
        assert [known[b"/%d" % n].outcome for n in range(3)] == [DONE, KNOWN, KNOWN]
        assert known[b"/0"].key == RUN != known[b"/1"].key
        state.touched(b"/0", 5, 6)
        (changed,) = state.known([b"/0"]).values()
        assert (changed.size, changed.modified, changed.outcome, changed.key) == (5, 6, DONE, RUN)


def test_predictions_belong_to_a_sound_and_networks(tmp_path: Path) -> None:
    """Scores of another model would pass for this one's."""
    other = key_of("another")
    with State(tmp_path) as state:
        state.keep(WORK, {digest(n): b"%d" % n for n in range(1200)})
        state.keep(other, {digest(7): b"other"})
        wanted = [digest(n) for n in range(0, 2400, 2)]
        assert state.predicted(WORK, wanted) == {digest(n) for n in range(0, 1200, 2)}
        assert state.predictions(WORK, [digest(7), digest(5000)]) == {digest(7): b"7"}
        assert state.predictions(other, [digest(7), digest(8)]) == {digest(7): b"other"}


def test_networks_that_are_not_used_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is trained again every week would fill the disk."""
    old = key_of("old")
    with State(tmp_path) as state:
        state.keep(old, {digest(1): b"old"})
        state.keep(WORK, {digest(1): b"new"})
    now = time.time()
    day = 86_400
    for days in (60, 120):  # only one of the two is used meanwhile
        later = SimpleNamespace(time=lambda days=days: now + days * day)
        monkeypatch.setattr(module, "time", later)
        with State(tmp_path) as state:
            assert state.predicted(WORK, [digest(1)]) == {digest(1)}
    database = sqlite3.connect(tmp_path / "state.sqlite")
    assert database.execute("SELECT scores FROM predictions").fetchall() == [(b"new",)]
    database.close()


def test_files_below_a_folder(tmp_path: Path) -> None:
    """`/music2` would be taken for a part of `/music`, or files beyond the first 500 be missed."""
    inside = [b"/music/%05d.mp3" % n for n in range(1100)] + [b"/music/\xff"]
    outside = [b"/music.mp3", b"/music", b"/music2/a", b"/musi", b"/music-old/x"]
    with State(tmp_path) as state:
        state.put(Record(path, 1, 1, DONE) for path in [*inside, *outside])
        assert [record.path for record in state.below(b"/music")] == sorted(inside)
        assert len(list(state.below(b"/"))) == len(inside + outside)
        gone = list(state.below(b"/music"))[:3]
        state.mark_gone(gone)
        assert [record.path for record in state.below(b"/music")] == sorted(inside)[3:]
        (one,) = state.known([inside[0]]).values()
        assert (one.gone, one.outcome) == (1, DONE)
        state.mark_gone([one], False)
        assert len(list(state.below(b"/music"))) == len(inside) - 2


def test_notes_hold_while_the_file_is_as_it_was(tmp_path: Path) -> None:
    """A model that was trained again under its old name would be taken for the old one."""
    (tmp_path / "m.safetensors").write_text("one")
    asked: list[str] = []

    def note(path: str) -> str:
        return state.note(path, lambda: (asked.append(path), Path(path).read_text())[1])

    with State(tmp_path / "state") as state:
        os.symlink("m.safetensors", tmp_path / "link")
        assert note(str(tmp_path / "m.safetensors")) == note(str(tmp_path / "link")) == "one"
        assert len(asked) == 1
        (tmp_path / "m.safetensors").write_text("two")
        os.utime(tmp_path / "m.safetensors", ns=(1, 1))
        assert note(str(tmp_path / "link")) == "two"
        assert note(str(tmp_path / "link")) == "two"
        assert len(asked) == 2


def test_one_run_at_a_time(tmp_path: Path) -> None:
    """Two cron jobs that overlap would tag every file twice."""
    with State(tmp_path), pytest.raises(Locked, match="another run .* is at work on the state"):
        State(tmp_path).__enter__()
    with State(tmp_path):
        pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b"these are not the bytes of a database" * 50), "is damaged"),
        (lambda p: _foreign(p), "a database of another program"),
        (lambda p: _newer(p), r"written by a newer mt-tools \(state 99"),
        (lambda p: _damaged(p), "is damaged"),
        (lambda p: p.mkdir(), "unable to open"),
    ],
    ids=["text", "foreign", "newer", "damaged", "folder"],
)
def test_a_file_that_is_no_state_is_left_alone(tmp_path: Path, make: object, message: str) -> None:
    """Another program's database would be written into, or a damaged one answer nonsense."""
    path = tmp_path / "state.sqlite"
    make(path)  # type: ignore[operator]
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises((BrokenTable, RunError), match=message) as caught:
        State(tmp_path).__enter__()
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    with pytest.raises((BrokenTable, RunError), match=message):  # and the lock was let go
        State(tmp_path).__enter__()


def _foreign(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE items (id INTEGER)")
    database.commit()
    database.close()


def _newer(path: Path) -> None:
    with State(path.parent):
        pass
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.commit()
    database.close()


def _damaged(path: Path) -> None:
    with State(path.parent) as state:
        state.put(Record(b"/%06d" % n, n, n, KNOWN, digest(n)) for n in range(2000))
    content = bytearray(path.read_bytes())
    content[8192 : 5 * 8192] = bytes(4 * 8192)
    path.write_bytes(content)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A wrong path of --state would end in a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--state .*file/state: "):
        State(tmp_path / "file" / "state").__enter__()


def test_a_full_disk_is_one_line(small_disk: Path) -> None:
    """A disk that fills up at night would damage the state, or end in a traceback."""
    with State(small_disk / "state") as state:
        state.put([Record(b"/first", 1, 1, DONE)])
    with (
        State(small_disk / "state") as state,
        pytest.raises(RunError, match=r"full; nothing is lost: make room"),
    ):
        for number in range(100):
            state.keep(WORK, {digest(100 * number + n): bytes(1000) for n in range(100)})
    for left in small_disk.glob("state/*-wal"):
        assert left.stat().st_size < 2**20
    with State(small_disk / "state") as state:
        assert state.known([b"/first"])[b"/first"].outcome == DONE


WRITER = """
import sys
from mt_tools.library.state import KNOWN, Record, State, key_of
with State(sys.argv[1]) as state:
    for n in range(10**9):
        digest = n.to_bytes(32, "big")
        state.keep(key_of("work"), {digest: b"%d" % n})
        state.put([Record(b"/%d" % n, n, n, KNOWN, digest)])
        state.passed([b"/%d" % n], key_of("run"))
        print(n, flush=True)
"""


def test_a_killed_run_loses_nothing(tmp_path: Path) -> None:
    """After kill -9 what was finished would be computed again, or the state be unreadable."""
    rng = random.Random(1)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "state")], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        killer = threading.Timer(rng.uniform(0, 0.1), os.kill, (process.pid, signal.SIGKILL))
        killer.start()
        said = process.stdout.read().split(b"\n")[:-1]
        assert process.wait() == -signal.SIGKILL
        killer.join()
        last = int(said[-1]) if said else 0
        with State(tmp_path / "state") as state:
            paths = [b"/%d" % n for n in range(last + 1)]
            assert {r.outcome for r in state.known(paths).values()} == {KNOWN}
            assert len(state.known(paths)) == last + 1
            digests = [digest(n) for n in range(last + 1)]
            assert len(state.predictions(WORK, digests)) == last + 1


def test_rows_may_be_asked_for_in_another_thread(tmp_path: Path) -> None:
    """A network that fetches its rows in a thread would be refused by SQLite."""
    with State(tmp_path) as state:

        def work(first: int) -> None:
            for n in range(first, first + 200):
                state.put([Record(b"/%d" % n, n, n, PASSED)])
                assert state.known([b"/%d" % n])

        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 1000, 2000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(list(state.below(b"/"))) == 600


# --- durations and places ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90m", 5400), ("8h", 28800), ("3600", 3600), ("1h30m", 5400), ("1h 30min", 5400),
     ("45s", 45), ("0.5h", 1800), ("1d2h3m4s", 93784), ("2H", 7200)],
)  # fmt: skip
def test_times(text: str, expected: float) -> None:
    """A night would end hours too early or too late."""
    assert seconds(text, "--max-time") == expected


@pytest.mark.parametrize(
    "text", ["", "h", "8 hours", "-5", "0", "0h", "1m2h", "1h30", "8h8h", "∞", "nan"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """A typing error would mean no limit."""
    with pytest.raises(UsageError, match="--max-time .*: expected a time such as 90m, 8h"):
        seconds(text, "--max-time")


@given(st.integers(0, 9), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_times_add_up(days: int, hours: int, minutes: int, rest: int) -> None:
    """Parts of a time would be lost or taken for one another."""
    total = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    if total:
        assert seconds(f"{days}d{hours}h{minutes}m{rest}s", "--max-time") == total


def test_times_for_reading() -> None:
    """The summary would say 5.4e3."""
    assert [spelled(s) for s in (0.04, 3.25, 59.4, 90, 3599, 11100)] == [
        "0.0 s", "3.2 s", "59 s", "2 min", "1 h 00 min", "3 h 05 min",
    ]  # fmt: skip


def test_a_file_has_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run from another folder, or through a link, would take every file for a new one."""
    folder = tmp_path / "music" / "a"
    folder.mkdir(parents=True)
    file = folder / "x.mp3"
    file.write_bytes(b"12345")
    os.symlink(tmp_path / "music", tmp_path / "link")
    os.symlink(file, folder / "y.mp3")
    os.symlink("nowhere", folder / "broken.mp3")
    real = os.fsencode(os.path.realpath(file))
    status = (5, file.stat().st_mtime_ns)
    assert Places().find(str(file)) == (real, status)
    assert Places().find(str(tmp_path / "link" / "a" / "x.mp3")) == (real, status)
    assert Places().find(str(folder / "y.mp3")) == (real, status)
    assert Places([str(tmp_path / "music")]).find("a/x.mp3") == (real, status)
    monkeypatch.chdir(folder)
    assert Places().find("x.mp3") == Places().find("../a/./x.mp3") == (real, status)
    for name in ("none.mp3", "broken.mp3", "x.mp3/y"):
        assert Places().find(name)[1] == ABSENT
    odd = os.fsencode(folder) + b"/\xff\xfe.mp3"
    with open(odd, "wb"):
        pass
    assert Places().find(os.fsdecode(odd))[0] == os.path.join(
        os.path.dirname(real), b"\xff\xfe.mp3"
    )

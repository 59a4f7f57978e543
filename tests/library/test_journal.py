"""The journal: whole entries or none, also after a crash, and nobody else's file."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mt_tools.errors import Locked, RowError, RunError, UsageError
from mt_tools.library.journal import Entry, Journal, default_path


def change(name: str, step: int = 0) -> dict[str, Any]:
    """Return what a journal is given of a file that was changed."""
    return {
        "path": f"/music/{name}.mp3",
        "before": f"b{step}",
        "after": f"b{step + 1}",
        "delta": "AA==",
    }


def filled(path: Path, *names: str) -> Path:
    """Make a journal with an entry a name."""
    with Journal(path, ["mt-tag"]) as journal:
        for name in names:
            journal.append(change(name))
    return path


def paths(path: Path) -> list[str]:
    """Return the names of what is not undone, in order."""
    with Journal.existing(path) as journal:
        return [Path(entry.path).stem for entry in journal.entries()]


def test_the_newest_comes_first(tmp_path: Path) -> None:
    """A file that was changed twice would get the bytes between the two changes."""
    file = filled(tmp_path / "j.jsonl", "a", "b")
    filled(file, "c", "a")
    assert paths(file) == ["a", "c", "b", "a"]
    with Journal.existing(file) as journal:
        newest, *_, oldest = journal.entries()
        assert newest.offset > oldest.offset
        assert journal.change(newest) == change("a")


def test_it_says_who_wrote_it(tmp_path: Path) -> None:
    """A journal that is found after a year would not say what it is from."""
    file = filled(filled(tmp_path / "j.jsonl", "a"), "b")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert ["journal" in line for line in lines] == [True, False, True, False]
    assert lines[0]["command"] == ["mt-tag"]
    assert {"version", "started", "format"} <= lines[0].keys()
    whole = file.read_bytes()
    assert filled(file).read_bytes() == whole  # a night without changes adds nothing


def test_what_is_undone_stays_undone(tmp_path: Path) -> None:
    """An undo that was killed would begin anew, and report what it had restored as changed."""
    file = filled(tmp_path / "j.jsonl", "a", "b", "c")
    with Journal.existing(file) as journal:
        journal.undone(journal.entries()[1])
    assert paths(file) == ["c", "a"]
    filled(file, "d")
    assert paths(file) == ["d", "c", "a"]


def test_any_cut_leaves_whole_entries(tmp_path: Path) -> None:
    """After kill -9 in the middle of a line the journal would be lost, or the next entry with it."""
    whole = filled(tmp_path / "whole.jsonl", "a", "b").read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        file = tmp_path / "cut.jsonl"
        file.write_bytes(whole[:cut])
        left = ["a", "b"][: max(0, sum(end <= cut for end in ends) - 1)]
        assert paths(file) == left[::-1], cut
        file.write_bytes(whole[:cut])
        assert paths(filled(file, "new")) == ["new", *left[::-1]], cut


@pytest.mark.parametrize(
    "content", [b"ID3\x04", b"\0" * 4096, b"{}\n", b'{"id": "a.mp3"}\n', b"\n", "∞".encode()]
)
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """`--journal song.mp3`, typed by mistake, would add lines to the song."""
    file = tmp_path / "song.mp3"
    file.write_bytes(content)
    for attempt in (lambda: Journal(file, []), lambda: Journal.existing(file)):
        with pytest.raises(UsageError, match="no journal of mt-tag, and is left as it is"):
            attempt()
    assert file.read_bytes() == content


def test_what_cannot_be_a_journal_is_refused(tmp_path: Path) -> None:
    """Hours of work would be done before it shows that nothing can be written down."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="no regular file"):
        Journal(tmp_path / "fifo", [])
    with pytest.raises(RunError, match="Is a directory"):
        Journal(tmp_path, [])
    with pytest.raises(RunError, match="Not a directory"):
        Journal(tmp_path / "fifo" / "j.jsonl", [])
    with pytest.raises(UsageError, match="No such file"):
        Journal.existing(tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_a_journal_is_for_its_owner(tmp_path: Path) -> None:
    """What tags said would be open to all users of a machine."""
    file = filled(tmp_path / "deep" / "folder" / "j.jsonl", "a")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_journal_for_nothing_is_removed(tmp_path: Path) -> None:
    """Nights in which nothing changed would fill a folder with empty journals."""
    filled(tmp_path / "j.jsonl")
    assert not (tmp_path / "j.jsonl").exists()
    with Journal(tmp_path / "named.jsonl", [], keep=True):
        pass
    with Journal.existing(tmp_path / "named.jsonl") as journal:  # a script goes on to undo it
        assert journal.entries() == []
    (tmp_path / "made.jsonl").touch()  # by mktemp, say
    filled(tmp_path / "made.jsonl")
    assert (tmp_path / "made.jsonl").exists()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    """Lines of two runs would lie within each other."""
    with Journal(tmp_path / "j.jsonl", []):
        for attempt in (lambda: Journal(tmp_path / "j.jsonl", []),
                        lambda: Journal.existing(tmp_path / "j.jsonl")):  # fmt: skip
            with pytest.raises(Locked):
                attempt()
    filled(tmp_path / "j.jsonl", "a")


def test_a_damaged_line_costs_its_entry_alone(tmp_path: Path) -> None:
    """One bad sector would keep all files from being restored."""
    file = filled(tmp_path / "j.jsonl", "a", "b", "c")
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = b"\0" * (len(lines[2]) - 1) + b"\n"
    file.write_bytes(b"".join(lines))
    with Journal.existing(file) as journal:
        first, second = journal.entries()
        assert journal.damaged == [3]
        journal.undone(first)
        lost = Entry(second.path, "", "", second.offset, second.size - 5)
        with pytest.raises(RowError, match="damaged"):
            journal.change(lost)
    assert paths(file) == ["a"]


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, small_disk: Path) -> None:
    """A line that fits by half would be followed by the next run's, and both be lost."""
    file = small_disk / "j.jsonl"
    with Journal(file, []) as journal, pytest.raises(RunError, match="make room"):
        for _ in range(20):
            journal.append(change("a") | {"delta": "A" * 100_000})
    assert file.read_bytes().endswith(b"\n")
    assert set(paths(file)) == {"a"}


@pytest.mark.parametrize("how", ["removed", "rotated", "replaced"])
def test_a_journal_that_is_taken_away_ends_the_run(tmp_path: Path, how: str) -> None:
    """Files would be changed on and on with no way back, and the run end well."""
    file = tmp_path / "j" / "j.jsonl"
    with Journal(file, []) as journal:
        journal.append(change("a"))
        if how == "removed":
            shutil.rmtree(file.parent)
        else:
            file.rename(tmp_path / "j.jsonl.1")
        if how == "replaced":
            file.write_text("by somebody else")
        with pytest.raises(RunError, match="was removed or moved while it was in use"):
            journal.append(change("b"))
    if how == "replaced":
        assert file.read_text() == "by somebody else"
    if how != "removed":
        assert paths(tmp_path / "j.jsonl.1") == ["a"]


def test_default_places_are_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals would lie where the command happened to be started."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert default_path().is_relative_to(tmp_path / "mt-tools" / "journals")
    assert default_path("/srv/state").parent == Path("/srv/state/journals")
    assert str(os.getpid()) in default_path().name


WRITER = """
import sys
from mt_tools.library.journal import Journal
with Journal(sys.argv[1], []) as journal:
    number = 0
    while True:
        journal.append({"path": f"/{number}", "before": "", "after": "", "delta": "A" * 30_000})
        print(number, flush=True)
        number += 1
"""


def test_what_was_said_to_be_written_is_there(tmp_path: Path) -> None:
    """kill -9 would lose the entry of a file that was changed already: it could not be undone."""
    draw = random.Random(7)
    file = tmp_path / "j.jsonl"
    promised = 0
    for _ in range(4):
        run = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE)
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(draw.uniform(0, 0.05))
        os.kill(run.pid, signal.SIGKILL)
        promised += 1 + len(run.stdout.read().splitlines())
        run.wait()
        run.stdout.close()
        found = paths(file)
        # One more may be there: it was written and not yet told.
        assert promised <= len(found) <= promised + 1
        promised = len(found)

"""Files get the bytes back that they had before mt-tag wrote into them."""

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import pytest
from written_files import digests, genres, predicted, sounds, undone, written

from mt_tools.errors import Locked, UsageError
from mt_tools.library.journal import Journal
from mt_tools.tables.batch import Batch

MakeBatch = Callable[..., Batch]


def fail(row: dict[str, Any], error: Exception) -> None:
    """Take no failed row."""
    pytest.fail(f"{row['id']}: {error}")


@pytest.fixture
def library(tmp_path: Path) -> list[Path]:
    """Sounds in two folders whose names begin alike."""
    return [*sounds(tmp_path / "new", 3), *sounds(tmp_path / "new music", 3)]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The place of a journal."""
    return tmp_path / "j.jsonl"


def names(paths: list[str]) -> list[str]:
    """Return folder and name of each path."""
    return sorted("/".join(Path(path).parts[-2:]) for path in paths)


def test_every_byte_comes_back(make_batch: MakeBatch, library: list[Path], journal: Path) -> None:
    """What --undo promises: content, permissions and time, as if nothing had been."""
    library[0].chmod(0o640)
    states = [
        (p.read_bytes(), stat.S_IMODE(p.stat().st_mode), p.stat().st_mtime_ns) for p in library
    ]
    notes: list[str] = []
    for style in ("Rock", "Pop"):  # the second changes what the first wrote
        batch = predicted(make_batch, library, style_pred=[style] * 6)
        written([batch], journal=journal, fail=fail)
    restored = undone(journal, fail=fail, say=notes.append)
    assert sorted(restored) == sorted(str(path.resolve()) for path in library)
    assert states == [
        (p.read_bytes(), stat.S_IMODE(p.stat().st_mode), p.stat().st_mtime_ns) for p in library
    ]
    assert notes == ["6 files restored"]
    notes.clear()
    assert undone(journal, fail=fail, say=notes.append) == []
    assert notes == ["nothing to undo: the journal has no change that is not undone"]


def test_files_and_folders_are_restored_alone(
    make_batch: MakeBatch, library: list[Path], journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One album went wrong: the others would lose their tags too, or its namesake."""
    before = digests(library)
    written([predicted(make_batch, library)], journal=journal, fail=fail)
    monkeypatch.chdir(library[0].parent.parent)
    restored = undone(journal, "new", "./new music/02.ogg", fail=fail)
    assert names(restored) == ["new music/02.ogg", "new/00.mp3", "new/01.flac", "new/02.ogg"]
    back = [*library[:3], library[5]]
    assert digests(back) == {path: before[path] for path in back}
    assert all(genres(path) for path in library[3:5])
    assert undone(journal, "new", fail=fail) == []  # once more: nothing to complain about
    assert names(undone(journal, fail=fail)) == ["new music/00.mp3", "new music/01.flac"]


def test_what_the_journal_does_not_know_is_refused(
    make_batch: MakeBatch, library: list[Path], journal: Path, tmp_path: Path
) -> None:
    """A misspelt folder would be restored without a word, and without a file."""
    written([predicted(make_batch, library[:3])], journal=journal, fail=fail)
    after = digests(library)
    for path in (library[3], tmp_path / "none", tmp_path / "ne"):
        with pytest.raises(UsageError, match="nothing to undo of it"):
            undone(journal, library[0], path, fail=fail)
    assert digests(library) == after
    with pytest.raises(UsageError, match="no journal of mt-tag"):
        undone(library[0], fail=fail)
    assert digests(library) == after


def test_files_that_others_changed_are_left_to_them(
    make_batch: MakeBatch, library: list[Path], journal: Path
) -> None:
    """Whoever edited a file since would lose the work of it, or the others stay as they are."""
    before = digests(library)
    written([predicted(make_batch, library)], journal=journal, fail=fail)
    edited = mutagen.File(library[1])  # type: ignore[attr-defined]
    edited["artist"] = ["Somebody"]
    edited.save()
    library[2].unlink()
    now = digests(library[1:2])
    found: list[tuple[str, str]] = []
    notes: list[str] = []
    restored = undone(
        journal, fail=lambda row, error: found.append((row["path"], error.kind)), say=notes.append
    )
    assert len(restored) == 4
    assert sorted(found) == [
        (str(library[1].resolve()), "changed"),
        (str(library[2].resolve()), "missing"),
    ]
    assert digests(library[1:2]) == now
    left = [library[0], *library[3:]]
    assert digests(left) == {path: before[path] for path in left}
    assert notes == ["4 files restored, 2 not"]


def test_what_was_edited_between_two_runs_comes_back_edited(
    make_batch: MakeBatch, library: list[Path], journal: Path
) -> None:
    """Undoing would take back the work of somebody else along with ours."""
    flac = library[1]
    written([predicted(make_batch, [flac])], journal=journal, fail=fail)
    edited = mutagen.File(flac)  # type: ignore[attr-defined]
    edited["artist"] = ["Somebody"]
    edited.save()
    between = digests([flac])
    written([predicted(make_batch, [flac], style_pred=["Dub"])], journal=journal, fail=fail)
    assert genres(flac) == ["Dub"]
    found: list[str] = []
    undone(journal, fail=lambda row, error: found.append(error.kind))
    assert found == ["changed"]
    assert digests([flac]) == between


def test_a_copy_elsewhere_is_not_taken_for_the_file(
    make_batch: MakeBatch, library: list[Path], journal: Path, tmp_path: Path
) -> None:
    """A backup of the tagged file would be restored, and the file itself count as undone."""
    before = digests(library)
    written([predicted(make_batch, library)], journal=journal, fail=fail)
    copy = tmp_path / "copy.mp3"
    copy.write_bytes(library[0].read_bytes())
    with pytest.raises(UsageError, match="nothing to undo of it"):
        undone(journal, copy, fail=fail)
    undone(journal, fail=fail)
    assert digests(library) == before


def test_a_moved_file_is_named_by_its_new_place(
    make_batch: MakeBatch, library: list[Path], journal: Path, tmp_path: Path
) -> None:
    """Whoever sorted the files since could undo nothing."""
    before = digests(library)
    for style in ("Rock", "Pop"):
        batch = predicted(make_batch, library, style_pred=[style] * 6)
        written([batch], journal=journal, fail=fail)
    place = tmp_path / "sorted.mp3"
    library[0].rename(place)
    found: list[str] = []
    undone(journal, library[0], fail=lambda row, error: found.append(str(error)))
    assert len(found) == 1
    assert "name its new place" in found[0]
    assert undone(journal, place, fail=fail) == [str(place.resolve())]
    assert digests([place])[place] == before[library[0]]


def test_a_moved_folder_is_named_by_its_new_place(
    make_batch: MakeBatch, library: list[Path], journal: Path, tmp_path: Path
) -> None:
    """On a renamed or newly mounted library each of its files would have to be named."""
    before = list(digests(library[:3]).values())
    for style in ("Rock", "Pop"):
        batch = predicted(make_batch, library, style_pred=[style] * 6)
        written([batch], journal=journal, fail=fail)
    place = tmp_path / "disk" / "music"
    place.parent.mkdir()
    shutil.copytree(library[3].parent, place / "copies")  # of files that are still in their place
    library[0].parent.rename(place / "new")
    (place / "new" / "link.mp3").symlink_to("00.mp3")
    restored = undone(journal, tmp_path / "disk", fail=fail)
    moved = [place / "new" / path.name for path in library[:3]]
    assert sorted(restored) == sorted(str(path.resolve()) for path in moved)
    assert list(digests(moved).values()) == before


def test_a_change_that_never_came_counts_as_undone(
    make_batch: MakeBatch, library: list[Path], journal: Path
) -> None:
    """After a crash between journal and file an undo would report files that are as they were."""
    written([predicted(make_batch, library)], journal=journal, fail=fail)
    with Journal.existing(journal) as opened:
        changes = [opened.change(entry) for entry in opened.entries()]
    undone(journal, fail=fail)
    before = digests(library)
    other = journal.with_name("other")
    with Journal(other, []) as opened:
        for change in changes:
            opened.append(change)
    assert len(undone(other, fail=fail)) == 6
    assert digests(library) == before


def test_a_damaged_entry_costs_its_file_alone(
    make_batch: MakeBatch, library: list[Path], journal: Path
) -> None:
    """A bad sector in the journal would leave all files as they are."""
    before = digests(library)
    written([predicted(make_batch, library)], journal=journal, fail=fail)
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:40] + b"\xff" * (len(lines[1]) - 41) + b"\n"
    broken = json.loads(lines[2])
    broken["entry"]["delta"] = "no base64"
    lines[2] = json.dumps(broken).encode() + b"\n"
    broken = json.loads(lines[3])
    del broken["entry"]["audio"]
    lines[3] = json.dumps(broken).encode() + b"\n"
    journal.write_bytes(b"".join(lines))
    found: list[str] = []
    assert len(undone(journal, fail=lambda row, error: found.append(error.kind))) == 3
    assert found == ["damaged"] * 3
    assert digests(library[3:]) == {path: before[path] for path in library[3:]}


def test_another_undo_waits(make_batch: MakeBatch, library: list[Path], journal: Path) -> None:
    """Two undos at once would both write to one file."""
    written([predicted(make_batch, library)], journal=journal, fail=fail)
    with Journal.existing(journal), pytest.raises(Locked):
        undone(journal, fail=fail)


UNDO = """
import sys
from mt_tools.stages import undo
for rows in undo.run(sys.argv[1], [], lambda row, error: print(row["id"], error)):
    pass
"""


def test_a_killed_undo_goes_on(make_batch: MakeBatch, tmp_path: Path, journal: Path) -> None:
    """An undo that was killed would leave files that nothing restores, or report them."""
    draw = random.Random(3)
    paths = sounds(tmp_path / "music", 20)
    before = digests(paths)
    for style in ("Rock", "Pop"):
        batch = predicted(make_batch, paths, style_pred=[style] * 20)
        written([batch], journal=journal, fail=fail)
    for _ in range(3):
        told = journal.stat().st_size
        line = [sys.executable, "-c", UNDO, str(journal)]
        run = subprocess.Popen(line, stdout=subprocess.PIPE)
        while journal.stat().st_size == told and run.poll() is None:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.03))
        os.kill(run.pid, signal.SIGKILL)
        assert run.communicate()[0] == b""
        assert {tuple(genres(path)) for path in paths} <= {(), ("Rock",), ("Pop",)}
    undone(journal, fail=fail)
    assert digests(paths) == before
    assert sorted((tmp_path / "music").iterdir()) == paths

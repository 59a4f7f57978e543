"""Replacing a file: old or new at every moment, refused where it must be, and undone to the byte."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import mutagen
import mutagen.flac
import mutagen.wave
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from mutagen import id3

from mt_tools.errors import RowError
from mt_tools.sound.paths import path_to_text
from mt_tools.sound.replace import PRESERVED, Change, Replacement, undo
from mt_tools.sound.scan import find_audio

NOISE = np.random.default_rng(4).standard_normal((22_050, 2)).astype(np.float32) * 0.1
LONG_AGO = 1_000_000_000_123_456_789  # nanoseconds since 1970
IS_ROOT = os.geteuid() == 0
# A program that changes a file, given its name and a word, and says how far it has come.
WRITER = """
import json, sys
import mutagen
from mt_tools.sound.replace import Replacement
def main(path, word):
    with Replacement(path) as new:
        print("begun", flush=True)
        file = mutagen.File(new.copy)
        file["genre"] = word
        file.save()
        print(json.dumps(new.check().to_json()), flush=True)
        if word == "wait":
            sys.stdin.read()
        new.commit()
"""


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """Return a FLAC file of a second with a tag, last changed long ago, alone in its folder."""
    folder = tmp_path / "music"
    folder.mkdir()
    return make(folder / "song.flac")


def make(path: Path) -> Path:
    """Write a second of noise with a tag."""
    soundfile.write(path, NOISE, 22_050)
    file = mutagen.flac.FLAC(path)
    file["title"] = "a title"
    file.save()
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return path


def write(path: str | os.PathLike[str], word: str = "Dub", size: int = 0) -> None:
    """Change a tag in the file itself."""
    file = mutagen.flac.FLAC(path)
    file["genre"] = word
    file["note"] = "x" * size
    file.save()


def replace(path: str | Path, word: str = "Dub", **options: object) -> Change:
    """Change a tag by way of a copy."""
    with Replacement(os.fspath(path), **options) as new:  # type: ignore[arg-type]
        write(new.copy, word)
        change = new.check()
        new.commit()
    return change


def refused(path: str | Path, kind: str, **options: object) -> str:
    """Expect that a file is refused for a reason, untouched, and return the message."""
    real = os.path.realpath(path)
    before = Path(real).read_bytes() if os.path.isfile(real) else b""
    folder = sorted(os.listdir(os.path.dirname(real)))
    with pytest.raises(RowError) as caught:
        replace(path, **options)
    assert caught.value.kind == kind
    assert sorted(os.listdir(os.path.dirname(real))) == folder
    assert (Path(real).read_bytes() if os.path.isfile(real) else b"") == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def sha(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- what it does --------------------------------------------------------------------------------


def test_there_and_back(song: Path) -> None:
    """What is written must be there, and what was there must come back."""
    before, raw = sha(song), song.read_bytes()
    change = replace(song)
    assert mutagen.flac.FLAC(song)["genre"] == ["Dub"]
    assert os.listdir(song.parent) == [song.name]
    assert (change.before, change.after) == (before, sha(song))
    assert (change.size_before, change.size_after) == (len(raw), song.stat().st_size)
    assert change.path == str(song)
    kept = Change.from_json(json.loads(json.dumps(change.to_json())))
    assert kept == change
    assert undo(kept)
    assert song.read_bytes() == raw
    assert song.stat().st_mtime_ns == LONG_AGO
    assert os.listdir(song.parent) == [song.name]
    assert not undo(kept)  # it is the old one already


def test_changes_are_undone_newest_first(song: Path) -> None:
    """A library is tagged many times before somebody wants the old tags."""
    states = [song.read_bytes()]
    changes = []
    for word in ("Dub", "Techno " * 1000, "", "House"):
        changes.append(replace(song, word))
        states.append(song.read_bytes())
    with pytest.raises(RowError, match="changed since"):
        undo(changes[0])
    for change, state in zip(reversed(changes), reversed(states[:-1]), strict=True):
        assert undo(change)
        assert song.read_bytes() == state


def test_the_sound_is_compared(song: Path) -> None:
    """A tagger that damages the sound must not be believed."""
    raw = song.read_bytes()
    with pytest.raises(RowError) as caught, Replacement(str(song)) as new:
        with open(new.copy, "r+b") as file:
            file.seek(-1000, os.SEEK_END)
            file.write(b"other")
        new.check()
    assert caught.value.kind == "audio-changed"
    assert song.read_bytes() == raw
    assert os.listdir(song.parent) == [song.name]


def test_the_audio_digest_is_that_of_the_sound(song: Path) -> None:
    """One sound under two tags has one digest in the journal."""
    assert replace(song, "Dub").audio == replace(song, "Techno").audio


def test_nothing_happens_without_commit(song: Path) -> None:
    """A run that stops in the middle leaves the file and the folder as they were."""
    raw = song.read_bytes()
    with Replacement(str(song)) as new:
        write(new.copy)
        new.check()
    assert song.read_bytes() == raw
    assert os.listdir(song.parent) == [song.name]
    for error in (KeyboardInterrupt, SystemExit, ValueError):
        with pytest.raises(error), Replacement(str(song)) as new:
            raise error
        assert os.listdir(song.parent) == [song.name]


def test_the_copy_is_hidden_and_named_like_audio(song: Path) -> None:
    """A scan at the same time must not find the copy; mutagen must know its format by its name."""
    with Replacement(str(song)) as new:
        assert os.path.dirname(new.copy) == str(song.parent)
        assert new.copy.endswith(".flac")
        assert find_audio(str(song.parent)) == [str(song)]
        assert stat.S_IMODE(os.stat(new.copy).st_mode) == 0o600


@pytest.mark.parametrize(
    "name",
    [
        b"\xff caf\xe9.flac",
        "ünï".encode() + b".FLAC",
        b"x" * 250 + b".flac",
        b"no ending",
        b"-a '\n\".flac",
    ],
)
def test_names_of_all_kinds(tmp_path: Path, name: bytes) -> None:
    """Old libraries have names that are no UTF-8, or as long as the disk allows."""
    folder = tmp_path / "music"
    folder.mkdir()
    path = os.path.join(os.fsencode(folder), name)
    os.rename(make(folder / "song.flac"), path)
    before = Path(os.fsdecode(path)).read_bytes()
    change = replace(path_to_text(path))
    assert mutagen.flac.FLAC(os.fsdecode(path))["genre"] == ["Dub"]
    assert os.listdir(os.fsencode(folder)) == [name]
    assert undo(Change.from_json(json.loads(json.dumps(change.to_json()))))
    assert Path(os.fsdecode(path)).read_bytes() == before


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_copies_are_whole(tmp_path: Path, size: int) -> None:
    """A copy that lacks a byte would fail each write of such a file."""
    path = tmp_path / "x.mp3"
    path.write_bytes(np.random.default_rng(size).bytes(size))
    with Replacement(str(path)) as new:
        assert Path(new.copy).read_bytes() == path.read_bytes()
        tags = id3.ID3()
        tags.add(id3.TIT2(encoding=3, text="title"))
        tags.save(new.copy)
        change = new.check()
        new.commit()
    assert path.stat().st_size == change.size_after > size
    assert undo(change)
    assert path.stat().st_size == size


# --- links ---------------------------------------------------------------------------------------


def test_the_file_behind_a_link_is_changed(song: Path) -> None:
    """Libraries made of links to a store stay links."""
    other = song.parent / "links"
    other.mkdir()
    (other / "one.flac").symlink_to("../song.flac")
    (other / "two.flac").symlink_to("one.flac")
    change = replace(other / "two.flac")
    assert change.path == str(song)
    assert mutagen.flac.FLAC(song)["genre"] == ["Dub"]
    assert os.readlink(other / "two.flac") == "one.flac"
    assert sorted(os.listdir(other)) == ["one.flac", "two.flac"]
    assert undo(change, str(other / "one.flac"))
    assert "genre" not in mutagen.flac.FLAC(song)
    assert (other / "one.flac").is_symlink()


def test_other_names_of_a_file(song: Path) -> None:
    """A file that another program shares by a hard link would silently be two files."""
    other = song.parent / "seeding.flac"
    os.link(song, other)
    raw = song.read_bytes()
    assert "--break-links" in refused(song, "hard-linked")
    change = replace(song, break_links=True)
    assert other.read_bytes() == raw != song.read_bytes()
    assert song.stat().st_nlink == other.stat().st_nlink == 1
    assert undo(change)
    os.link(song, song.parent / "third.flac")
    refused(song, "hard-linked")


# --- what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keep", [PRESERVED, PRESERVED - {"mode"}, PRESERVED - {"times"}, frozenset[str]()]
)
def test_mode_and_times(song: Path, keep: frozenset[str]) -> None:
    """Players sort by date, and shares go by permissions: kept, or that of a new file."""
    song.chmod(0o6751)
    mask = os.umask(0o027)
    try:
        change = replace(song, preserve=keep)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(song.stat().st_mode) == (0o6751 if "mode" in keep else 0o640)
    assert (song.stat().st_mtime_ns == LONG_AGO) == ("times" in keep)
    assert (change.mode, change.modified) == (0o6751, LONG_AGO)
    if "times" in keep:
        assert song.stat().st_atime_ns == LONG_AGO
    assert undo(change)
    assert stat.S_IMODE(song.stat().st_mode) == 0o6751
    assert song.stat().st_mtime_ns == LONG_AGO


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
def test_owner(song: Path) -> None:
    """A nightly run by root must not take the library away from its owner."""
    os.chown(song, 12_345, 23_456)
    change = replace(song)
    assert (song.stat().st_uid, song.stat().st_gid) == (12_345, 23_456)
    assert undo(change)
    assert (song.stat().st_uid, song.stat().st_gid) == (12_345, 23_456)
    replace(song, preserve={"mode"})
    assert song.stat().st_uid == 0


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes in Python here")
def test_extended_attributes(song: Path) -> None:
    """Ratings of file managers and desktop tags live there."""
    try:
        os.setxattr(song, "user.xdg.tags", b"favourite")
        os.setxattr(song, "user.empty", b"")
    except OSError:
        pytest.skip("no extended attributes on this file system")
    change = replace(song)
    assert {
        name: os.getxattr(song, name) for name in os.listxattr(song) if name.startswith("user.")
    } == {
        "user.xdg.tags": b"favourite",
        "user.empty": b"",
    }
    assert undo(change)
    assert os.getxattr(song, "user.xdg.tags") == b"favourite"
    replace(song, preserve={"mode"})
    assert "user.empty" not in os.listxattr(song)


@pytest.mark.skipif(shutil.which("setfacl") is None, reason="setfacl is not installed")
def test_access_control_lists(song: Path) -> None:
    """Who else may read a share stays; what its folder gives to new files is not added."""

    def lists(path: Path) -> str:
        return subprocess.run(
            ["getfacl", "-cnp", str(path)], check=True, capture_output=True, text=True
        ).stdout

    if subprocess.run(["setfacl", "-m", "u:12345:r", str(song)], capture_output=True).returncode:
        pytest.skip("no access control lists on this file system")
    before = lists(song)
    assert "user:12345:r--" in before
    replace(song)
    assert lists(song) == before
    plain = make(song.parent / "plain.flac")
    before = lists(plain)
    subprocess.run(["setfacl", "-d", "-m", "u:23456:rw", str(song.parent)], check=True)
    replace(plain)
    assert lists(plain) == before


# --- what is refused -----------------------------------------------------------------------------


def test_read_only_files_and_folders(song: Path) -> None:
    """Who took the right to write away meant it, also for root and though a rename would work."""
    song.chmod(0o444)
    assert "chmod u+w" in refused(song, "read-only")
    song.chmod(0o064)
    refused(song, "read-only")
    song.chmod(0o644)
    song.parent.chmod(0o555)
    assert "folder" in refused(song, "read-only")
    song.parent.chmod(0o755)
    replace(song)


def test_what_is_not_there(song: Path) -> None:
    """A list from last week names files that are gone; that is one failed row each."""
    change = replace(song)
    loop = song.parent / "loop.flac"
    loop.symlink_to("loop.flac")
    song.unlink()
    for path in (song, song.parent / "none" / "x.flac", loop):
        if path.parent.exists():
            refused(path, "missing")
        else:
            with pytest.raises(RowError, match="no such file"):
                replace(path)
    with pytest.raises(RowError) as caught:
        replace("a\0b.flac")
    assert caught.value.kind == "missing"
    with pytest.raises(RowError) as caught:
        undo(change)
    assert caught.value.kind == "missing"
    refused(song.parent, "unreadable")


def test_a_file_that_vanishes_or_changes_meanwhile(song: Path) -> None:
    """Another program's work is not overwritten, and a deleted file does not come back."""

    def rewritten() -> None:
        song.write_bytes(song.read_bytes()[:-1])

    def replaced() -> None:
        os.replace(shutil.copy2(song, song.parent / "new"), song)

    def touched() -> None:
        os.utime(song)

    for interfere in (rewritten, replaced, touched, song.unlink):
        with pytest.raises(RowError) as caught, Replacement(str(song)) as new:
            write(new.copy)
            new.check()
            interfere()
            raw = song.read_bytes() if song.exists() else None
            new.commit()
        assert caught.value.kind == ("changed" if raw is not None else "missing")
        assert (song.read_bytes() if song.exists() else None) == raw
        assert os.listdir(song.parent) == ([song.name] if raw is not None else [])


@pytest.mark.parametrize("how", ["flock", "lockf"])
def test_a_file_that_another_program_has_locked(song: Path, how: str) -> None:
    """A sampler or a sync program that writes a file must not lose its work."""
    program = (
        "import fcntl, sys\n"
        f"file = open(sys.argv[1], 'r+b')\nfcntl.{how}(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\nsys.stdin.read()"
    )
    with running([sys.executable, "-c", program, str(song)]) as (process, line):
        assert line == "locked"
        refused(song, "locked")
        process.communicate(b"")
    replace(song)


def test_two_runs_never_work_on_one_file(song: Path) -> None:
    """The nightly run and one by hand at once: the second leaves the file to the first."""
    with writer(song, "wait") as (process, _):
        refused(song, "locked")
        process.communicate(b"")
    assert mutagen.flac.FLAC(song)["genre"] == ["wait"]
    assert os.listdir(song.parent) == [song.name]
    with Replacement(str(song)):
        raw = song.read_bytes()
        with pytest.raises(RowError) as caught, Replacement(str(song)):
            pass
        assert caught.value.kind == "locked"
        assert len(os.listdir(song.parent)) == 2  # the first one's copy is still there
    assert song.read_bytes() == raw


def test_two_runs_and_a_third_program(song: Path) -> None:
    """A file put into the place of a locked one is another: the second run wins, the first sees it."""
    with pytest.raises(RowError) as caught, Replacement(str(song)) as first:
        write(first.copy, "first")
        os.replace(shutil.copy2(song, song.parent / "new"), song)
        with Replacement(str(song)) as second:
            write(second.copy, "second")
            with pytest.raises(RowError):
                first.check()
                first.commit()
            second.check()
            second.commit()
        first.check()
    assert caught.value.kind in ("changed", "missing")
    assert mutagen.flac.FLAC(song)["genre"] == ["second"]
    assert os.listdir(song.parent) == [song.name]


def test_many_threads_and_one_file(song: Path) -> None:
    """Whoever comes first: each change is whole, and one after the other."""
    changes: list[Change] = []
    kinds: set[str] = set()

    def work(number: int) -> None:
        for turn in range(10):
            try:
                changes.append(replace(song, f"{number} {turn}"))
            except RowError as error:
                kinds.add(error.kind)

    first = sha(song)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds <= {"locked", "changed"}
    followed = {change.before: change.after for change in changes}
    assert len(followed) == len(changes) > 0
    for _ in changes:
        first = followed[first]
    assert first == sha(song)
    assert os.listdir(song.parent) == [song.name]


@pytest.mark.skipif(not IS_ROOT or shutil.which("chattr") is None, reason="needs root and chattr")
@pytest.mark.parametrize("flag", ["i", "a"])
def test_immutable_files(song: Path, flag: str) -> None:
    """What not even root may change is a failed row with its own reason."""
    if subprocess.run(["chattr", f"+{flag}", str(song)], capture_output=True).returncode:
        pytest.skip("no such attributes on this file system")
    try:
        assert "chattr" in refused(song, "immutable")
    finally:
        subprocess.run(["chattr", f"-{flag}", str(song)], check=True)


def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """At whatever moment the disk is full: the file is whole and nothing is left beside it."""
    path = small_disk / "song.flac"
    shutil.copy(make(tmp_path / "x.flac"), path)
    size = path.stat().st_size

    def fill(but: int) -> Path:
        free = os.statvfs(small_disk)
        other = small_disk / "other"
        other.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - but)))
        return other

    other = fill(size // 2)
    assert "free some" in refused(path, "no-space")
    other.unlink()
    change = replace(path, "Dub")
    other = fill(size // 2)
    with pytest.raises(RowError) as caught:
        undo(change)
    assert caught.value.kind == "no-space"
    assert sorted(os.listdir(small_disk)) == ["other", "song.flac"]
    other.unlink()
    other = fill(size + 8_192)
    raw = path.read_bytes()
    with pytest.raises(RowError) as caught, Replacement(str(path)) as new:
        write(new.copy, "x" * 900_000)  # mutagen's own error is about the full disk
    assert caught.value.kind == "no-space"
    assert path.read_bytes() == raw
    assert sorted(os.listdir(small_disk)) == ["other", "song.flac"]


@pytest.mark.skipif(not IS_ROOT, reason="only root becomes another user")
def test_another_user() -> None:
    """Who may write to a file but not give it away changes it; who may not leaves it alone."""
    program = (
        "import os, sys\n"
        "from mt_tools.errors import RowError\n"
        "from mt_tools.sound.replace import Replacement\n"
        "os.setgroups([]); os.setgid(54321); os.setuid(54321)\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        with Replacement(path) as new:\n"
        "            new.check()\n"
        "            status = new.commit()\n"
        "        print(status.st_uid, oct(status.st_mode))\n"
        "    except RowError as error:\n"
        "        print(error.kind)\n"
    )
    with tempfile.TemporaryDirectory(prefix="mt-user-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "open").mkdir()
        (folder / "open").chmod(0o777)
        (folder / "sticky").mkdir()
        (folder / "sticky").chmod(0o1777)
        (folder / "closed").mkdir()
        paths = [folder / "open" / "ours.flac", folder / "open" / "theirs.flac"]
        paths += [folder / "sticky" / "ours.flac", folder / "closed" / "ours.flac"]
        for path in paths:
            make(path).chmod(0o664 if path.name == "theirs.flac" else 0o666)
        line = [sys.executable, "-c", program, *map(str, paths)]
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.stdout.splitlines() == ["54321 0o100666", *["read-only"] * 3], done.stderr
        assert sorted(os.listdir(folder / "sticky")) == ["ours.flac"]


# --- what a dead run leaves ----------------------------------------------------------------------


class running:
    """A program that runs during a block, with the last of the first lines that it writes."""

    def __init__(self, line: list[str], lines: int = 1) -> None:
        self.lines = lines
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> tuple[subprocess.Popen[bytes], str]:
        assert self.process.stdout
        line = ""
        for _ in range(self.lines):
            line = self.process.stdout.readline().decode().strip()
        return self.process, line

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def writer(path: Path, word: str) -> running:
    """Start a program that changes a file, and wait until it is about to commit."""
    code = f"{WRITER}\nmain(*sys.argv[1:])"
    return running([sys.executable, "-c", code, str(path), word], lines=2)


def test_killed_between_check_and_commit(song: Path) -> None:
    """After a power cut the file is as it was; the next run or undo clears up."""
    raw = song.read_bytes()
    for clear in ("write", "undo"):
        with writer(song, "wait") as (process, line):
            change = Change.from_json(json.loads(line))
            process.kill()
            process.wait()
        assert song.read_bytes() == raw
        assert len(os.listdir(song.parent)) == 2
        assert find_audio(str(song.parent)) == [str(song)]
        if clear == "write":
            assert undo(replace(song))
            assert song.read_bytes() == raw
        else:
            assert not undo(change)
        assert os.listdir(song.parent) == [song.name]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_at_any_moment(song: Path, number: signal.Signals) -> None:
    """Whenever a run dies, the file is whole, and the journal leads back to its first state."""
    code = WRITER + (
        "\nimport signal, itertools\n"
        "def stop(number, frame): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGTERM, stop); signal.signal(signal.SIGINT, stop)\n"
        "for turn in itertools.count(): main(sys.argv[1], f'{turn} ' * (turn % 7 * 300))"
    )
    raw = song.read_bytes()
    moments = random.Random(5)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(song)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout
        lines = [process.stdout.readline()]
        timer = threading.Timer(moments.uniform(0, 0.15), process.send_signal, [number])
        timer.start()
        lines += process.stdout.read().splitlines()
        process.wait()
        timer.join()
        if number != signal.SIGKILL:
            assert os.listdir(song.parent) == [song.name]
        changes = [Change.from_json(json.loads(line)) for line in lines if line.endswith(b"}")]
        states = {change.before for change in changes} | {change.after for change in changes}
        assert sha(song) in states or (not changes and song.read_bytes() == raw)
        assert soundfile.info(song).frames == len(NOISE)
        for change in reversed(changes):
            undo(change)
        assert song.read_bytes() == raw


def test_what_stands_in_a_journal_is_read_with_care() -> None:
    """An entry that something else wrote is an error of that entry, not a crash."""
    with pytest.raises(ValueError, match="no change"):
        Change.from_json({"path": "x"})
    with pytest.raises(ValueError, match="no change"):
        Change.from_json({**example().to_json(), "delta": "!"})


def example() -> Change:
    """Return some change."""
    return Change("x", "0", "1", 2, 3, "4", 5, 6, b"7")


@given(st.binary(max_size=50), st.text(max_size=20), st.integers(0, 2**70))
def test_changes_survive_json(data: bytes, path: str, modified: int) -> None:
    """A journal is text; what is read from it is what was written."""
    change = Change(path, "0", "1", 2, 3, "4", modified, 6, data)
    assert Change.from_json(json.loads(json.dumps(change.to_json()))) == change


def test_a_damaged_entry_changes_nothing(song: Path) -> None:
    """A wrong delta must not put a wrong file into the place of a good one."""
    change = replace(song)
    raw = song.read_bytes()
    other = Change(**{**vars(change), "before": "0" * 64})
    for wrong in (other, Change(**{**vars(change), "delta": change.delta[:-5]})):
        with pytest.raises(RowError) as caught:
            undo(wrong)
        assert caught.value.kind == "damaged"
        assert song.read_bytes() == raw
        assert os.listdir(song.parent) == [song.name]

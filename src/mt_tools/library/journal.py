"""The journal of changed files: what `mt-tag --undo` needs, on disk before the change is.

Goal: whatever a run did to files can be taken back, also when it was killed between any two
instructions. An entry is flushed to the disk before its file gets its new content, so that a file
is never changed without one; an entry without a change does no harm, as undoing looks at the file.

Conventions: JSON lines. The first, and one before what a later run adds, says which program and
command wrote what follows; every other is an entry, `{"entry": {...}}`, or takes one back,
`{"undone": n}` with the offset of the entry's line in bytes. Lines are only ever added. What stands
after the last end of a line was cut by a crash and is no line. A journal holds what tags said, so
that it is for its owner alone (mode 0600); one process at a time adds to it.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import platformdirs

from mt_tools.download.lock import take
from mt_tools.errors import Locked, RowError, RunError, UsageError

_HEAD = b'{"journal": "mt-tag", "format": 1, '
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Entry:
    """A change that can be undone: its place in the journal, and of which file it is.

    `path` is as `sound.paths` writes it; `before` and `after` are SHA-256 of the whole file.
    `offset` and `size` are those of the entry's line, `length` is that of the file after the
    change, in bytes, -1 where it is not known.
    """

    path: str
    before: str
    after: str
    offset: int
    size: int
    length: int = -1


def default_path(state: str = "") -> Path:
    """Return a new journal's place: in the folder of `--state`, or among the user's state files."""
    folder = Path(state) if state else platformdirs.user_state_path("mt-tools")
    time = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return folder / "journals" / f"{time}-{os.getpid()}.jsonl"


class Journal:
    """A journal that is open for this process alone; a context manager.

    A file that is there already is added to. One that a run made and wrote no entry to is removed
    at its end, unless it is to be kept.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        command: Sequence[str] | None = None,
        *,
        existing: bool = False,
        keep: bool = False,
    ) -> None:
        """Open or make the journal, in which `command` goes on: that of this process.

        With `existing` it must be there, with `keep` it stays without an entry. Raises `UsageError`
        where the file is no journal, which is left as it is, `Locked` where another run has it, and
        `RunError` where it cannot be written: before hours of work.
        """
        self.path = Path(os.path.abspath(path))
        self.damaged: list[int] = []
        self.restored: set[str] = set()
        self.written = 0
        self._descriptor = -1
        self._size = 0
        self._made = False
        self._keep = keep
        self._header: dict[str, Any] | None = _header(sys.argv if command is None else command)
        try:
            self._lock(0 if existing else os.O_CREAT)
            self._size = os.fstat(self._descriptor).st_size
            self._check()
            if not (existing or self._size):
                self._begin()
                _flush_folder(self.path.parent)
        except OSError as error:
            self.close()
            if existing:
                problem = f"cannot open the journal {path}: {error.strerror}; name one of mt-tag"
                raise UsageError(problem) from error
            raise RunError(
                f"cannot open the journal {path}: {error.strerror}; nothing is changed without "
                "one: name a place for it with --journal"
            ) from error
        except BaseException:
            self.close()
            raise

    @classmethod
    def existing(cls, path: str | os.PathLike[str]) -> Self:
        """Open a journal that is there, to undo what it says; raises as opening does."""
        return cls(path, existing=True)

    def _lock(self, flags: int) -> None:
        """Open the file and lock it; again where the run before removed it meanwhile."""
        if flags & os.O_CREAT:
            _make_folder(self.path.parent)
        while True:
            self._made = not self.path.exists() and bool(flags & os.O_CREAT)
            # Of a FIFO opening for both ends does not wait.
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | flags, 0o600)
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise UsageError(f"{self.path} is no regular file: name one for the journal")
            if not take(self._descriptor):
                self._made = False
                raise Locked(
                    f"another run is at work with the journal {self.path}: wait until it has "
                    "ended, or name another one"
                )
            if self._is_there():
                return
            os.close(self._descriptor)

    def _is_there(self) -> bool:
        """Whether the file that is open is still the one of its name."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self.path))
        return False

    def _check(self) -> None:
        """Cut what a crash left at the end; raise `UsageError` for what is no journal."""
        head = os.pread(self._descriptor, len(_HEAD), 0)
        if head != _HEAD[: len(head)]:
            raise UsageError(
                f"{self.path} is no journal of mt-tag, and is left as it is: name another file"
            )
        end = self._size
        while end > 0:
            start = max(0, end - _BLOCK)
            place = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if place >= 0:
                end = start + place + 1
                break
            end = start
        if end < self._size:
            os.ftruncate(self._descriptor, end)
            self._size = end

    # What is done.

    def append(self, change: Mapping[str, Any]) -> Entry:
        """Write an entry, flush it to the disk and return it.

        Raises `RunError` where that fails; the journal is then what it was before.
        """
        self._begin()
        offset = self._size
        self._write({"entry": change})
        self.written += 1
        return _entry(change, offset, self._size - offset)

    def _begin(self) -> None:
        """Say once whose entries follow; a run that changes nothing adds nothing to a journal."""
        if self._header is not None:
            self._write(self._header)
            self._header = None

    def undone(self, entry: Entry) -> None:
        """Say that an entry is undone."""
        self._write({"undone": entry.offset})

    def _write(self, record: Mapping[str, Any]) -> None:
        if not self._is_there():
            raise RunError(
                f"the journal {self.path} was removed or moved while it was in use: nothing more "
                "is changed; bring it back, or run again with another --journal"
            )
        data = json.dumps(record).encode() + b"\n"
        try:
            done = 0
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
            os.fsync(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise RunError(
                f"cannot write the journal {self.path}: {error.strerror}; nothing is changed that "
                "is not in it: make room, or name another one with --journal"
            ) from error
        self._size += len(data)

    # What was done.

    def entries(self) -> list[Entry]:
        """Return what is not undone yet, the newest first.

        `restored` are then the paths of what is, and `damaged` the numbers, from 1, of lines that
        cannot be read.
        """
        found: dict[int, Entry] = {}
        self.damaged, self.restored = [], set()
        for count, (offset, line) in enumerate(self._lines(), 1):
            try:
                record = json.loads(line)
                if "entry" in record:
                    found[offset] = _entry(record["entry"], offset, len(line))
                elif "undone" in record:
                    taken = found.pop(record["undone"], None)
                    self.restored |= {taken.path} if taken else set()
            except (ValueError, KeyError, TypeError):
                self.damaged.append(count)
        return list(reversed(found.values()))

    def change(self, entry: Entry) -> dict[str, Any]:
        """Return what was written for an entry."""
        line = os.pread(self._descriptor, entry.size, entry.offset)
        try:
            change: dict[str, Any] = json.loads(line)["entry"]
        except (ValueError, KeyError) as error:
            raise RowError(f"its entry in {self.path} is damaged", "damaged") from error
        return change

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        offset = 0
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            for line in file:
                yield offset, line
                offset += len(line)

    def close(self) -> None:
        """Close it; one that was made for nothing is removed first, while it is locked."""
        if self._descriptor < 0:
            return
        if self._made and self._is_there() and not self.written and not self._keep:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _entry(change: Mapping[str, Any], offset: int, size: int) -> Entry:
    length = change.get("size_after", -1)
    return Entry(change["path"], change["before"], change["after"], offset, size, length)


def _header(command: Sequence[str]) -> dict[str, Any]:
    return {
        "journal": "mt-tag",
        "format": 1,
        "version": version("mt-tools"),
        "command": list(command),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each on disk before what comes into it."""
    if folder.exists():
        return  # opening says it where it is no folder
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems flush no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

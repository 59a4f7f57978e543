"""What has come of a file: its bytes under a temporary name, and a note of what they are of.

The bytes are only ever appended, and thrown away before the note changes: a process that is killed
at any moment leaves the beginning of what the note says, or less.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mt_tools.download.lock import take
from mt_tools.download.progress import Progress
from mt_tools.errors import Locked, RunError


class Part:
    """The beginning of the file `target`, held by this process alone until `close`.

    `size` is the bytes that are here, `best` the most that ever were in this run, `announced` what
    a server said of all. Raises `Locked` where another process is bringing the file, `RunError`
    where nothing can be written.
    """

    def __init__(self, target: Path, progress: Progress) -> None:
        self.target = target
        self._path = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.part.json")
        self._progress = progress
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._opened()
        except OSError as error:
            raise RunError(f"cannot write {target}: {error.strerror}") from error
        self.size = self.best = os.fstat(self._file).st_size
        self.announced = 0
        self.note = self._read_note()
        progress.advance(self.size)

    def _opened(self) -> int:
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            if not take(file):
                os.close(file)
                raise Locked(
                    f"another run is downloading {self.target}: wait until it has ended, then run "
                    "again"
                )
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), os.fstat(file)):
                    return file
            os.close(file)  # the other run has just finished it, and it has its own name now

    def _read_note(self) -> dict[str, Any]:
        try:
            note = json.loads(self._note.read_bytes())
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def restart(self, note: dict[str, Any] | None = None) -> None:
        """Throw away the bytes; `note` says what those to come are of."""
        with self._writing():
            os.ftruncate(self._file, 0)
            self._progress.advance(-self.size)
            self.size = 0
            self.note = note or {}
            self._note.write_text(json.dumps(self.note))

    def append(self, data: bytes) -> None:
        """Write the next bytes."""
        with self._writing():
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        self.size += len(data)
        self.best = max(self.best, self.size)
        self._progress.advance(len(data))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"cannot write {self.target}: {error.strerror}; what came is kept, and the next "
                "run goes on from there"
            ) from error

    def commit(self) -> None:
        """Give the bytes, which are whole and verified, their name."""
        with self._writing():
            os.fsync(self._file)
            self._note.unlink(missing_ok=True)
            os.replace(self._path, self.target)

    def close(self) -> None:
        """Let go; where nothing has come nothing stays."""
        with contextlib.suppress(OSError):
            if not self.size:
                self._note.unlink(missing_ok=True)
                self._path.unlink(missing_ok=True)
        os.close(self._file)

    @property
    def path(self) -> Path:
        """Where the bytes are."""
        return self._path

"""What a probe has found so far: a run that was killed goes on with the split it was at.

Goal: a file of JSON lines beside the output, one a split that is done, under a digest of all that
the split's numbers depend on. Lines of other inputs or settings are never taken for one's own.

Conventions: a line is written at once; one that a kill has cut short is dropped. Numbers come back
as they were, to the last bit.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mt_tools.errors import RunError

Found = Mapping[str, Any]


class Checkpoint:
    """The file of one run; without a path nothing is kept."""

    def __init__(self, path: str | os.PathLike[str] | None = None, *, resume: bool = False) -> None:
        self.path = None if path is None else Path(path)
        self._found: dict[tuple[str, int], Found] = {}
        if self.path is None:
            return
        if resume:
            self._read()
        else:
            self.remove()

    def __len__(self) -> int:
        return len(self._found)

    def find(self, key: str, split: int) -> Found | None:
        """Return what a split had found before the run was killed, if it had come to it."""
        return self._found.get((key, split))

    def add(self, key: str, split: int, found: Found) -> None:
        """Keep what a split has found."""
        if self.path is None:
            return
        line = json.dumps({"key": key, "split": split, "found": found})
        try:
            with open(self.path, "a", encoding="ascii") as file:
                file.write(line + "\n")
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}") from error

    def remove(self) -> None:
        """Remove the file when its run is done, or is not gone on with."""
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()

    def _read(self) -> None:
        assert self.path is not None
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunError(f"cannot read {self.path}: {error.strerror}") from error
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self.path, len(whole))
        for line in whole.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                self._found[entry["key"], entry["split"]] = entry["found"]

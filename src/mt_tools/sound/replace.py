"""Changing a file so that it is old or new at every moment, and can be the old one again.

Goal: tags are written into files that have no second copy. So a copy beside the file is changed,
its sound compared with the original's, what makes the old file out of the new one kept, the copy
flushed to the disk and renamed over the file.

Conventions: symbolic links are resolved, the file behind is replaced and the link stays. How a file
is locked, and where its copy lies, is in `sound.beside`.

Sources: rename(2), fsync(2), copy_file_range(2).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Self, cast

from mt_tools.download.lock import take
from mt_tools.errors import RowError
from mt_tools.sound.beside import (
    FULL,
    Beside,
    beside_name,
    changed,
    explained,
    real_path,
)
from mt_tools.sound.delta import delta, undelta
from mt_tools.sound.paths import path_to_text
from mt_tools.sound.payload import payload, read_spans, same_payload

_AT_ONCE = 1 << 30  # bytes

PRESERVED = frozenset({"mode", "owner", "times", "xattr"})
"""What of a file besides its content can be kept: permissions, user and group, the times of access
and modification, extended attributes (access control lists among them)."""


@dataclass(frozen=True)
class Change:
    """What a replacement did to a file, and how to take it back.

    `path`: the file itself, links resolved, as text for a table. `before`, `after`: SHA-256 of the
    whole file, hexadecimal, of `size_before` and `size_after` bytes. `audio`: SHA-256 of its
    payload, which is the same in both. `modified`: when the old one was modified, in nanoseconds
    since 1970. `mode`: its permissions. `delta`: what `sound.delta.undelta` makes the old one of.
    """

    path: str
    before: str
    after: str
    size_before: int
    size_after: int
    audio: str
    modified: int
    mode: int
    delta: bytes

    def to_json(self) -> dict[str, Any]:
        """Return what `json` can write; the delta is base64."""
        return {**asdict(self), "delta": base64.b64encode(self.delta).decode("ascii")}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Make it again out of what `to_json` gave; raises `ValueError` for anything else.

        Fields of other names are left out.
        """
        try:
            return cls(
                path=str(fields["path"]),
                before=str(fields["before"]),
                after=str(fields["after"]),
                size_before=int(fields["size_before"]),
                size_after=int(fields["size_after"]),
                audio=str(fields["audio"]),
                modified=int(fields["modified"]),
                mode=int(fields["mode"]),
                delta=base64.b64decode(fields["delta"], validate=True),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no change of a file: {error!r}") from error


class Replacement(Beside):
    """Change a file's tags by way of a copy.

    >>> with Replacement(path) as new:               # doctest: +SKIP
    ...     write_fields(new.copy, {"genre": ["Dub"]})
    ...     journal.append(new.check().to_json())
    ...     new.commit()

    `path` is text of a table; `preserve` says what the new file has of the old one; `break_links`
    allows to replace one name of a file that has several, so that they are two files. `copy` is the
    path of the copy, which is to be changed in place. Leaving the block without a commit leaves the
    file as it was, and nothing beside it.

    Raises `RowError` of the kinds `missing`, `read-only`, `immutable`, `locked` (by another run, or
    by a program that holds a lock of `flock` or `fcntl`), `hard-linked`, `no-space`, `unreadable`,
    and what `check` and `commit` raise. A full disk inside the block becomes `no-space`.
    """

    def __init__(
        self, path: str, preserve: Collection[str] = PRESERVED, break_links: bool = False
    ) -> None:
        super().__init__(path, break_links)
        self._preserve = frozenset(preserve)
        self._checked_copy: os.stat_result | None = None

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            with explained():
                _copy(self.file, self.make())
        except BaseException:
            self.leave()
            raise
        return self

    def check(self) -> Change:
        """Return what the change is, once the copy holds it and its sound is shown to be the same.

        Raises `RowError` of the kind `audio-changed` otherwise.
        """
        with explained(), open(self.copy, "rb") as new:
            self._checked_copy = os.fstat(new.fileno())
            if not same_payload(self.file, new):
                raise RowError(
                    "writing its tags would have changed its sound; nothing was written: the file "
                    "may be damaged, play it or encode it again",
                    "audio-changed",
                )
            packed = delta(self.file, new)
            restored = _Comparison(self.file)
            undelta(packed, new, cast(BinaryIO, restored))
            if not restored.complete():
                raise changed()
            return Change(
                path=path_to_text(self.path),
                before=_hashed(self.file),
                after=_hashed(new),
                size_before=self.status.st_size,
                size_after=self._checked_copy.st_size,
                audio=_hashed_payload(self.file),
                modified=self.status.st_mtime_ns,
                mode=stat.S_IMODE(self.status.st_mode),
                delta=packed,
            )

    def commit(self) -> os.stat_result:
        """Put the checked copy into the file's place and return its status; it is on the disk then.

        Raises `RowError` of the kind `changed` where the file is not the one that was copied.
        """
        with explained():
            now, checked, old = os.stat(self.copy), self._checked_copy, self.status
            assert checked is not None, "check() comes before commit()"
            if (now.st_size, now.st_mtime_ns) != (checked.st_size, checked.st_mtime_ns):
                raise changed()
            self.put(
                self._preserve,
                stat.S_IMODE(old.st_mode) if "mode" in self._preserve else None,
                (old.st_atime_ns, old.st_mtime_ns) if "times" in self._preserve else None,
            )
            return os.stat(self.path)


def undo(change: Change, path: str | None = None, *, break_links: bool = False) -> bool:
    """Make a file what it was before a change, to the byte; False where it is that already.

    `path`: where the file is now, text of a table; None where it was. Its permissions and its time
    of modification become the old ones, owner and extended attributes stay. Raises `RowError` like
    `Replacement`, of the kind `changed` where the file is neither the new one nor the old one, and
    `damaged` where the change does not give the old one.
    """
    path = change.path if path is None else path
    with explained():
        if _is_old(real_path(path), change):
            return False
    with Beside(path, break_links) as beside, explained():
        found = _hashed(beside.file)
        if found != change.after:
            raise RowError(
                "it was changed since, by another program or by a later run: undo that one's "
                "journal first, or take the old file from a backup",
                "changed",
            )
        new = beside.make()
        undelta(change.delta, beside.file, new)
        new.flush()
        if _hashed(new) != change.before:
            raise RowError(
                "what the journal holds of the old file is damaged; take a copy of the journal "
                "that is whole, or the file from a backup",
                "damaged",
            )
        times = (beside.status.st_atime_ns, change.modified)
        beside.put(("owner", "xattr"), change.mode, times)
        return True


def _is_old(path: str, change: Change) -> bool:
    """Whether a file is what it was before a change; removes what a killed run has left then."""
    if os.stat(path).st_size != change.size_before:
        return False
    with open(path, "rb") as file:
        if _hashed(file) != change.before:
            return False
        if take(file.fileno()):
            with contextlib.suppress(OSError):
                os.unlink(beside_name(path))
        return True


# --- content -------------------------------------------------------------------------------------


class _Comparison:
    """A file to write to that keeps nothing, but sees whether it is what another file holds."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._same = True
        file.seek(0)

    def write(self, data: bytes) -> int:
        self._same = self._same and self._file.read(len(data)) == data
        return len(data)

    def complete(self) -> bool:
        return self._same and not self._file.read(1)


def _hashed(file: BinaryIO) -> str:
    file.seek(0)
    found = hashlib.sha256()
    while block := file.read(1 << 20):
        found.update(block)
    return found.hexdigest()


def _hashed_payload(file: BinaryIO) -> str:
    found = hashlib.sha256()
    for block in read_spans(file, payload(file)):
        found.update(block)
    return found.hexdigest()


def _copy(old: BinaryIO, new: BinaryIO) -> None:
    """Copy a file by the kernel, which may let both share their blocks, or else block by block."""
    size = os.fstat(old.fileno()).st_size
    done = 0
    with contextlib.suppress(AttributeError, _Unable):
        while done < size:
            done += _copied(old, new, done)
    old.seek(done)
    new.seek(done)
    shutil.copyfileobj(old, new, 1 << 20)
    new.flush()


class _Unable(Exception):
    """The kernel cannot copy between these files."""


def _copied(old: BinaryIO, new: BinaryIO, at: int) -> int:
    try:
        count = os.copy_file_range(old.fileno(), new.fileno(), _AT_ONCE, at, at)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise _Unable from error
    if count == 0:
        raise _Unable
    return count

"""What earlier runs did: which files are done, which failed and why, what networks said of a sound.

Goal: a run over a library that hardly changed looks at each file and at nothing else. A folder
holds the state: `state.sqlite`, and `lock`, by which one run at a time has it.

Two tables. `files` says of each path its size and time of change when it was worked on, the digest
of its sound, and what became of it. `predictions` holds what the networks gave for a sound, by its
digest and a key of the networks; nothing in it depends on a path, so that a file which was renamed
or retagged needs no network. Keys are digests of whatever must be the same, made by `key_of`.

The database is in SQLite's write-ahead mode, held by one connection alone: a commit is a write
without a wait for the disk, so that every group of results is committed at once and a process that
is killed loses none; a machine that loses its power may lose the last seconds, never the database.
Held alone it needs no shared memory, which folders on a network do not have. What was remembered of
networks that no run has used for `KEPT_DAYS` is dropped.

Paths are bytes, as files are called: names need not be UTF-8.

Sources: SQLite's documentation, "Write-Ahead Logging", section 8; "Database File Format",
sections 1.2.5 and 1.2.16 (application id, user version).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from mt_tools.download.lock import locked
from mt_tools.errors import BrokenTable, RunError, UsageError

KEPT_DAYS = 90
"""How long predictions of networks that are not used any more are kept."""

KNOWN, PASSED, DONE, FAILED = "known", "passed", "done", "failed"
"""What became of a file: its sound is known; its row went out; the output with it is whole; it
failed."""

_NAME = "state.sqlite"
_ID = 0x6D747461  # "mtta", in the header of the file
_VERSION = 1
_SCHEMA = (
    "CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER, modified INTEGER, outcome TEXT, "
    "digest BLOB, key BLOB, kind TEXT, message TEXT, tries INTEGER, gone INTEGER) WITHOUT ROWID",
    "CREATE TABLE works (number INTEGER PRIMARY KEY, key BLOB UNIQUE, day INTEGER)",
    "CREATE TABLE predictions (work INTEGER, digest BLOB, scores BLOB, "
    "PRIMARY KEY (work, digest)) WITHOUT ROWID",
    "CREATE TABLE notes (path BLOB PRIMARY KEY, size INTEGER, modified INTEGER, note TEXT)",
)
_AT_ONCE = 500  # parameters of a query: older SQLite takes 999
_DAY = 86_400


@dataclass(frozen=True)
class Record:
    """What is known of a file.

    `size` in bytes and `modified` in nanoseconds since 1970 are those under which all else holds;
    -1 for a file that could not be opened. `digest` is that of its sound, empty where it is not
    known. `key` says under which options it is done, or failed; `kind` and `message` say why it
    failed, `tries` how often. `gone` is 1 once it was not there any more.
    """

    path: bytes
    size: int
    modified: int
    outcome: str
    digest: bytes = b""
    key: bytes = b""
    kind: str = ""
    message: str = ""
    tries: int = 0
    gone: int = 0


_NAMES = tuple(field.name for field in fields(Record))
_FIELDS = ", ".join(_NAMES)


def key_of(*parts: Any) -> bytes:
    """Return a digest of plain JSON values, 16 bytes."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


class State:
    """The state in a folder, which is made where it is not there; a context manager.

    Entering raises `Locked` where another run has it, `UsageError` for a folder that cannot be
    made, `BrokenTable` for a file that is damaged, of a newer version, or no state at all; it is
    left as it is. Later on whatever goes wrong with the file is a `RunError`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self.path = os.path.join(self.folder, _NAME)
        self._works: dict[bytes, int] = {}
        self._database: sqlite3.Connection
        self._guard = threading.RLock()  # rows may be asked for in a thread of their own
        self._open: ExitStack

    def __enter__(self) -> Self:
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"--state {self.folder}: {error.strerror}; name a folder, which is made if need be"
            ) from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise UsageError(
                f"--state {self.folder}: you may not write into it; name another folder, or run as "
                "the user that it belongs to"
            )
        with ExitStack() as opened:
            lock = os.path.join(self.folder, "lock")
            opened.enter_context(locked(lock, f"the state in {self.folder}"))
            with self._speaking():
                self._database = sqlite3.connect(
                    os.fsencode(self.path), isolation_level=None, check_same_thread=False
                )
                opened.callback(self._database.close)
                self._prepare()
            self._open = opened.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def _prepare(self) -> None:
        """Look whose file it is, before anything is written to it."""
        run = self._database.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        (tables,) = run("SELECT count(*) FROM sqlite_master").fetchone()
        ((id_,), (version,)) = run("PRAGMA application_id").fetchone(), self._version()
        if (tables or id_) and id_ != _ID:
            raise BrokenTable(
                f"{self.path} is a database of another program: name another folder with --state"
            )
        if version > _VERSION:
            raise BrokenTable(
                f"{self.path} was written by a newer mt-tools (state {version}, this one knows "
                f"{_VERSION}): update mt-tools, or name another folder with --state"
            )
        (found,) = run("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found.split("\n")[-1])
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        if not tables:
            with self._transaction():
                for statement in _SCHEMA:
                    run(statement)
                run(f"PRAGMA application_id = {_ID}")
                run(f"PRAGMA user_version = {_VERSION}")
        # What a run that was broken off had put out was never whole.
        with self._transaction():
            run("UPDATE files SET outcome = ?, key = x'' WHERE outcome = ?", (KNOWN, PASSED))

    def _version(self) -> tuple[int]:
        found: tuple[int] = self._database.execute("PRAGMA user_version").fetchone()
        return found

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        """Turn what SQLite says into one line that says what to do."""
        with self._guard:
            try:
                yield
            except sqlite3.OperationalError as error:
                raise RunError(
                    f"{self.path}: {error}; nothing is lost: make room, see that this folder can "
                    "be written to and locked (a local disk can), and run again"
                ) from error
            except sqlite3.DatabaseError as error:
                raise BrokenTable(
                    f"{self.path} is damaged, or no state of mt-tag ({error}): bring it back from "
                    "a backup, or move it away, and all is computed anew"
                ) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """Keep all that the block writes, or nothing of it."""
        with self._speaking():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database.execute
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _rows(self, query: str, values: Sequence[Any], *before: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query whose `?*` stands for some of many values at a time."""
        for first in range(0, len(values), _AT_ONCE):
            some = values[first : first + _AT_ONCE]
            with self._speaking():
                asked = query.replace("?*", ",".join("?" * len(some)))
                rows = self._database.execute(asked, (*before, *some)).fetchall()
            yield from rows

    # --- files -----------------------------------------------------------------------------------

    def known(self, paths: Sequence[bytes]) -> dict[bytes, Record]:
        """Return what is known of these paths, by path."""
        query = f"SELECT {_FIELDS} FROM files WHERE path IN (?*)"
        return {row[0]: Record(*row) for row in self._rows(query, paths)}

    def put(self, records: Iterable[Record]) -> None:
        """Remember files, in the place of what was known of them."""
        marks = ",".join("?" * len(_NAMES))
        rows = [tuple(getattr(record, name) for name in _NAMES) for record in records]
        if rows:
            with self._transaction():
                self._database.executemany(f"REPLACE INTO files ({_FIELDS}) VALUES ({marks})", rows)

    def touched(self, path: bytes, size: int, modified: int) -> None:
        """Give a file that this run changed itself its new size and time."""
        with self._transaction() as run:
            run(
                "UPDATE files SET size = ?, modified = ? WHERE path = ?",
                (size, modified, path),
            )

    def passed(self, paths: Sequence[bytes], key: bytes) -> None:
        """Mark files whose rows went out under the options of `key`."""
        with self._transaction():
            self._database.executemany(
                "UPDATE files SET outcome = ?, key = ? WHERE path = ?",
                [(PASSED, key, path) for path in paths],
            )

    def delivered(self) -> None:
        """Mark files whose rows went out as done: the output is whole."""
        with self._transaction() as run:
            run("UPDATE files SET outcome = ? WHERE outcome = ?", (DONE, PASSED))

    def below(self, folder: bytes) -> Iterator[Record]:
        """Yield the known files below a folder, by path, but those that are gone already."""
        first = os.path.join(folder, b"")
        end = first[:-1] + b"0"  # the byte after "/"
        query = (
            f"SELECT {_FIELDS} FROM files WHERE path > ? AND path < ? AND gone = 0 "
            f"ORDER BY path LIMIT {_AT_ONCE}"
        )
        while True:
            with self._speaking():
                rows = self._database.execute(query, (first, end)).fetchall()
            yield from (Record(*row) for row in rows)
            if len(rows) < _AT_ONCE:
                return
            first = rows[-1][0]

    def mark_gone(self, records: Sequence[Record], gone: bool = True) -> None:
        """Mark files as gone, or as back; all else that is known of them stays."""
        self.put(replace(record, gone=int(gone)) for record in records)

    # --- predictions -----------------------------------------------------------------------------

    def _work(self, key: bytes) -> int:
        """Return the number of networks; those that were not used for long are dropped."""
        if key not in self._works:
            today = int(time.time()) // _DAY
            with self._transaction() as run:
                run(
                    "INSERT INTO works (key, day) VALUES (?, ?) "
                    "ON CONFLICT (key) DO UPDATE SET day = excluded.day",
                    (key, today),
                )
                old = "SELECT number FROM works WHERE day < ?"
                run(f"DELETE FROM predictions WHERE work IN ({old})", (today - KEPT_DAYS,))
                run("DELETE FROM works WHERE day < ?", (today - KEPT_DAYS,))
                (number,) = run("SELECT number FROM works WHERE key = ?", (key,)).fetchone()
            self._works[key] = number
        return self._works[key]

    def predicted(self, work: bytes, digests: Sequence[bytes]) -> set[bytes]:
        """Return those of the sounds of which predictions of these networks are there."""
        query = "SELECT digest FROM predictions WHERE work = ? AND digest IN (?*)"
        return {row[0] for row in self._rows(query, digests, self._work(work))}

    def predictions(self, work: bytes, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what these networks gave for sounds, as it was stored."""
        query = "SELECT digest, scores FROM predictions WHERE work = ? AND digest IN (?*)"
        return dict(self._rows(query, digests, self._work(work)))

    def keep(self, work: bytes, scores: Mapping[bytes, bytes]) -> None:
        """Store what these networks gave for sounds."""
        number = self._work(work)
        with self._transaction():
            self._database.executemany(
                "REPLACE INTO predictions (work, digest, scores) VALUES (?, ?, ?)",
                [(number, digest, value) for digest, value in scores.items()],
            )

    # --- notes -----------------------------------------------------------------------------------

    def note(self, path: str, make: Callable[[], str]) -> str:
        """Return what `make` says of a file; it is asked anew only once the file has changed.

        Of a path that is no file it is asked each time.
        """
        name = os.fsencode(os.path.realpath(path))
        try:
            status = os.stat(name)
        except OSError:
            return make()
        now = (status.st_size, status.st_mtime_ns)
        query = "SELECT size, modified, note FROM notes WHERE path IN (?*)"
        for size, modified, note in self._rows(query, [name]):
            if (size, modified) == now:
                return str(note)
        made = make()
        with self._transaction() as run:
            run("REPLACE INTO notes VALUES (?, ?, ?, ?)", (name, *now, made))
        return made

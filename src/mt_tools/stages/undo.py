"""Gives files the bytes back that they had before mt-tag wrote into them.

The journal is read from its end, so that a file that was changed several times is taken back step
by step. Each step looks at the file itself: one that has its old bytes already counts as restored,
and one that somebody else has changed since is left as it is. Killed in the middle, run again.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from mt_tools.errors import RowError, UsageError
from mt_tools.library.journal import Entry, Journal
from mt_tools.sound.paths import path_to_text, text_to_path
from mt_tools.sound.replace import Change, undo
from mt_tools.stages.frontend import Fail
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.provenance import file_digest

COLUMNS = [reserved("id"), reserved("path"), Column("restored", "boolean")]
_ROWS = 32  # a batch: people watch them come


def run(
    path: str,
    paths: Sequence[str],
    fail: Fail,
    say: Callable[[str], None] = lambda note: None,
    break_links: bool = False,
) -> Iterator[Batch]:
    """Yield a row a file that has its old bytes again: its `id` and `path`, absolute, `restored`.

    `path` is the journal; `paths` are files and folders to restore alone, all where there are none;
    what has moved since is named by its new place, a file or a folder that it lies below. Raises
    `UsageError` for a path of which the journal says nothing, and as opening it does. Files that
    cannot be restored are reported by `fail`. `break_links` as in `sound.replace`. At the end `say`
    gets a line.
    """
    with Journal.existing(path) as journal:
        yield from _run(journal, paths, fail, say, break_links)


def _run(
    journal: Journal,
    paths: Sequence[str],
    fail: Fail,
    say: Callable[[str], None],
    break_links: bool,
) -> Iterator[Batch]:
    entries = journal.entries()
    for line in journal.damaged:
        where = {"id": f"{journal.path}:{line}", "path": str(journal.path)}
        fail(where, RowError("the line is damaged: what it held cannot be undone", "damaged"))
    places = _places(entries, journal.restored, paths)
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.path in places:
            found.setdefault(entry.path, []).append(entry)
    count: Counter[str] = Counter()
    restored: list[str] = []
    for path, mine in found.items():
        try:
            _restore(journal, mine, places[path], break_links)
        except RowError as error:
            count["failed"] += 1
            fail({"id": path, "path": path}, error)
            continue
        count["restored"] += 1
        restored.append(path_to_text(places[path]))
        if len(restored) == _ROWS:
            yield _batch(restored)
            restored = []
    yield _batch(restored)
    say(_summary(count, bool(entries)))


def _restore(journal: Journal, entries: Sequence[Entry], path: str, break_links: bool) -> None:
    """Undo what the journal says of one file, the newest entry first."""
    for entry in entries:
        try:
            change = Change.from_json(journal.change(entry))
            undo(change, path_to_text(path), break_links=break_links)
        except ValueError as error:
            raise RowError(f"its entry in the journal is damaged: {error}", "damaged") from error
        except RowError as error:
            if error.kind == "missing":
                raise RowError(
                    "it is no longer there; if it was moved, name its new place after the journal",
                    "missing",
                ) from error
            raise
        journal.undone(entry)


def _places(
    entries: Sequence[Entry], restored: Collection[str], paths: Sequence[str]
) -> dict[str, str]:
    """Return the files to restore, as the journal names them, and where they are."""
    known = {entry.path: text_to_path(entry.path) for entry in entries}
    if not paths:
        return known
    chosen: dict[str, str] = {}
    for typed in paths:
        real = os.path.realpath(text_to_path(typed))
        mine = {name: path for name, path in known.items() if _within(path, real)}
        mine |= _moved(real, entries)
        if not mine and not any(_within(text_to_path(name), real) for name in restored):
            raise UsageError(
                f"{typed}: the journal has nothing to undo of it; expected a file or folder that "
                "mt-tag wrote into, or nothing for all"
            )
        chosen |= mine
    return chosen


def _within(path: str, real: str) -> bool:
    """Whether a file is the one that is meant, or lies below the folder that is."""
    return path == real or path.startswith(os.path.join(real, ""))


def _moved(place: str, entries: Sequence[Entry]) -> dict[str, str]:
    """Find files that a journal knows in a place where they have come since, a file or a folder.

    Known are those that hold what an entry left, and whose own place is empty now.
    """
    lost = [entry for entry in entries if not os.path.lexists(text_to_path(entry.path))]
    left = {(entry.length, entry.after): entry.path for entry in reversed(lost)}
    lengths = {entry.length for entry in lost}
    found: dict[str, str] = {}
    for path in _files(place) if lost else ():
        with contextlib.suppress(OSError):
            length = os.path.getsize(path)
            if length in lengths and (name := left.get((length, file_digest(path)))):
                found.setdefault(name, path)
    return found


def _files(place: str) -> Iterator[str]:
    """Yield a file itself, or the files below a folder."""
    if os.path.isfile(place):
        yield place
    for folder, _, names in os.walk(place):
        paths = (os.path.join(folder, name) for name in sorted(names))
        yield from (path for path in paths if os.path.isfile(path) and not os.path.islink(path))


def _batch(paths: Sequence[str]) -> Batch:
    values = {"id": list(paths), "path": list(paths), "restored": [True] * len(paths)}
    return Batch.build(COLUMNS, values)


def _summary(count: Counter[str], any_: bool) -> str:
    if not any_:
        return "nothing to undo: the journal has no change that is not undone"
    said = f"{count['restored']} file{'s' * (count['restored'] != 1)} restored"
    return said + (f", {count['failed']} not" if count["failed"] else "")

"""Tracks of folders and libraries: what the files say of themselves, and their tags as labels.

Files are opened in workers, some of them a task, since opening one takes less time than handing it
over. A file that fails, or takes its worker with it, is tried once more alone, so that it is one
failed row. What an earlier scan says of files whose size and time of change are the same is taken
from its table. Of how one file is read see `scan`.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mt_tools.engine.pool import cores, ordered
from mt_tools.errors import DecodeError, RowError, UsageError
from mt_tools.library import entries
from mt_tools.settings import result_settings
from mt_tools.sound.opening import open_file
from mt_tools.stages.frontend import Fail, fresh, gathered, report_row, tracks_of
from mt_tools.stages.scan import (
    LIBRARY,
    MODIFIED,
    SIZE,
    Found,
    Plan,
    State,
    Task,
    scan,
    scan_some,
    state,
)
from mt_tools.stages.settings import FolderSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import RESERVED, Column, reserved
from mt_tools.tables.provenance import Step
from mt_tools.tables.source import Source, open_table

_FILES = 32  # a task: handing over a task takes as long as opening one or two files
_HASHED = 4  # files of which the digest is made, which reads all of them
_CELL_BYTES = 2**31 - 1  # of Arrow's binary type
_ATTRIBUTES = {SIZE.name: "size", MODIFIED.name: "modified", LIBRARY.name: "library"}
_NEAR = 8  # names of fields that are told where one is nowhere

# --- what an earlier scan says -------------------------------------------------------------------


class Earlier:
    """The table of an earlier scan, by the paths of its files; `note` says why it is of no use."""

    def __init__(self, table: Batch | None = None, note: str = "") -> None:
        self.table = table
        self.note = note
        self._rows: dict[str, int] = {}
        if table is None:
            return
        self._digests = table.get(LIBRARY.name)
        # Arrays, since a library may have hundreds of thousands of files.
        self._sizes, self._times = (
            np.array([-1 if n is None else n for n in table.integers(column.name)], np.int64)
            for column in (SIZE, MODIFIED)
        )
        for row, path in enumerate(table["path"]):
            if path is not None and self._sizes[row] >= 0 and self._times[row] >= 0:
                self._rows[path] = row

    def __len__(self) -> int:
        return len(self._rows)

    @functools.cached_property
    def ids(self) -> Sequence[str]:
        """The ids of the rows."""
        return [] if self.table is None else self.table.ids.tolist()

    def row(self, path: str | None) -> int | None:
        """Return the row of a path."""
        return self._rows.get(path) if path is not None else None

    def state(self, row: int) -> State:
        """Return the state of a row's file, and of what a library said of it."""
        return int(self._sizes[row]), int(self._times[row]), self._digests[row]


def read_earlier(path: str, plan: Plan, settings: FolderSettings, step: Step) -> Earlier:
    """Read what `--update` needs of a table; one that was made otherwise is of no use.

    `step` is what the table of this scan will say of how it was made.
    """
    if not os.path.exists(path):
        return Earlier()
    source = Source([open_table(path)])
    scans = [s for s in source.provenance if s.get("command") == step["command"]]
    if not scans:
        return Earlier(note="it is no scan of mt-fetch folder, or does not say so")
    now, then = ({"version": s["version"], **s["settings"]} for s in (step, scans[-1]))
    for name in ["version", *result_settings(settings)]:
        # Whether a table holds the files changes nothing that it says of them.
        if name != "audio" and now.get(name) != then.get(name):
            option = f"--{name.strip('_')}" if name != "version" else "made by version"
            return Earlier(note=f"{option} {then.get(name)!r}, now {now.get(name)!r}")
    names = [column.name for column in plan.columns]
    for name in ["path", *names]:
        if name not in source.columns:
            return Earlier(note=f"it has no column {name!r}, as scans without --update")
    batches = list(source.light(["path", *names]))
    return Earlier(concatenate(batches) if batches else None)


# --- all files -----------------------------------------------------------------------------------


@dataclass
class Tally:
    """What is worth telling at the end of a scan."""

    unchanged: int = 0
    changed: int = 0
    new: int = 0
    gone: int = 0
    copies: int = 0
    predicted: int = 0
    unread: dict[str, tuple[int, str]] = field(default_factory=dict)
    names: Counter[str] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)

    def take(self, found: Found, plan: Plan) -> None:
        """Count a track that becomes a row."""
        self.unchanged += found.unchanged
        self.changed += found.known and not found.unchanged
        self.new += not found.known
        if found.unchanged:
            return
        self.predicted += found.predicted
        for name, text in found.unread.items():
            count, example = self.unread.get(name, (0, text))
            self.unread[name] = (count + 1, example)
        self.names.update(found.names)
        for label, value in zip(plan.labels, found.labels, strict=True):
            self.labelled[label.column] += value is not None

    def lines(self, plan: Plan, earlier: Earlier | None = None) -> list[str]:
        """Return a line for each thing worth telling."""
        lines = []
        if earlier is not None:
            lines.append(
                f"files: {self.unchanged} unchanged, {self.changed} changed, {self.new} new, "
                f"{self.gone} gone"
            )
        if self.copies:
            lines.append(f"copies of the same sound, left out: {self.copies}")
        if self.predicted:
            lines.append(
                f"values that mt-tag wrote, left out: {self.predicted} (--predicted takes them)"
            )
        for name, (count, example) in self.unread.items():
            lines.append(f"values of {name} that are no numbers: {count}, such as {example!r}")
        if self.unchanged or not self.changed + self.new:
            return lines  # the fields of those are not known
        for label in plan.labels:
            nowhere = not self.labelled[label.column] and label.column not in self.unread
            if label.column in plan.asked and nowhere:
                lines.append(f"nothing has a field {label.field!r}{self._near(label.field)}")
        return lines

    def _near(self, name: str) -> str:
        """Name the fields that there are, those first that are spelt alike."""
        alike = difflib.get_close_matches(name, list(self.names), n=3)
        names = dict.fromkeys([*alike, *(name for name, _ in self.names.most_common(_NEAR))])
        return f"; they have {', '.join(names)}" if names else ", nor any other"


Rows = Iterator[tuple[Batch, int, Found]]


def run(
    batches: Iterable[Batch],
    plan: Plan | None = None,
    *,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
    say: Callable[[str], None] = lambda line: None,
    earlier: Earlier | None = None,
    tally: Tally | None = None,
) -> Iterator[Batch]:
    """Yield the tracks with length, rate, channels, group and labels, as the plan says.

    `say` is told of every file that is left out as a copy; `tally` counts.
    """
    plan, tally, earlier = plan or Plan(), tally or Tally(), earlier or Earlier()
    own = [column.name for column in plan.columns if column.name not in RESERVED]
    untagged = fresh(batches, *own, advice="give folders, audio files or paths, not such a table")
    rows = _scanned(untagged, plan, earlier, tally, folders, jobs, fail)
    if plan.by_hash:
        rows = _once(rows, earlier, tally, say)
    if plan.with_bytes:
        rows = _loaded(rows, fail)
    for batch, found in gathered(rows):
        for one in found:
            tally.take(one, plan)
        yield _described(batch, found, plan, earlier)


def _scanned(
    batches: Iterable[Batch],
    plan: Plan,
    earlier: Earlier,
    tally: Tally,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
) -> Rows:
    """Yield every track whose file could be read, in the order of the input."""
    waiting: deque[tuple[Batch, int, list[Task]]] = deque()  # a batch, the first row of a task
    matched = 0
    jobs = cores() if jobs < 0 else jobs

    def work() -> Iterator[tuple[Plan, Sequence[Task]]]:
        for batch in batches:
            if plan.by_hash and any(origin is not None for origin in batch.get("origin")):
                raise UsageError(
                    "--id hash names whole tracks, and these are parts or copies of some: give "
                    "folders, audio files or paths, not such a table"
                )
            tasks = _tasks(batch, earlier, folders)
            size = _HASHED if plan.by_hash else _FILES
            for first in range(0, len(tasks), size):
                waiting.append((batch, first, tasks[first : first + size]))
                yield plan, waiting[-1][2]

    for outcome in ordered(scan_some, work(), jobs):
        batch, first, tasks = waiting.popleft()
        several = outcome.value if outcome.error is None else None
        found = list(several or [None] * len(tasks))
        missing = [number for number, one in enumerate(found) if one is None]
        again = ordered(scan, [(plan, tasks[number]) for number in missing], jobs)
        errors: dict[int, RowError] = {}
        for number, alone in zip(missing, again, strict=True):
            found[number] = alone.value
            if alone.error is not None:
                errors[number] = alone.error
        for number, one in enumerate(found):
            row, task = first + number, tasks[number]
            known = earlier.row(task.track.path)
            matched += known is not None
            if one is None:
                report_row(fail, batch, row, errors[number])
                continue
            one.known = known is not None
            one.earlier = known if one.unchanged else None
            if plan.with_bytes and task.track.audio is not None:
                one.audio = (task.track.audio, os.path.basename(task.track.path or ""))
            yield batch, row, one
    tally.gone = len(earlier) - matched


def _tasks(batch: Batch, earlier: Earlier, folders: Sequence[str]) -> list[Task]:
    told = batch.get(entries.COLUMN)
    tasks = []
    for track, said in zip(tracks_of(batch, folders), told, strict=True):
        row = earlier.row(track.path)
        tasks.append(Task(track, said, None if row is None else earlier.state(row)))
    return tasks


def _once(rows: Rows, earlier: Earlier, tally: Tally, say: Callable[[str], None]) -> Rows:
    """Yield the first track of each sound: ids are digests, and the same sound is one track."""
    first: dict[str, str] = {}
    for batch, row, found in rows:
        if found.earlier is not None:
            found.digest = earlier.ids[found.earlier]
        assert found.digest is not None
        if found.digest in first:
            say(f"{found.path}: the same sound as {first[found.digest]}, which is kept")
            tally.copies += 1
        else:
            first[found.digest] = found.path or batch.ids[row]
            yield batch, row, found


def _loaded(rows: Rows, fail: Fail) -> Rows:
    """Yield the tracks with the bytes of their files."""
    for batch, row, found in rows:
        if found.audio is None and found.path is not None:
            try:
                found.audio = (_bytes(found), os.path.basename(found.path))
            except RowError as error:
                report_row(fail, batch, row, error)
                continue
        yield batch, row, found


def _bytes(found: Found) -> bytes:
    if found.size > _CELL_BYTES:
        raise RowError(
            f"{found.size} bytes, and a table takes {_CELL_BYTES} a row: leave it out, or scan "
            "without --audio bytes",
            "too-large",
        )
    assert found.path is not None
    try:
        with open_file(found.path) as file:
            content = file.read()
    except OSError as error:
        raise DecodeError(f"{error.strerror}; see whether it opens elsewhere") from error
    if state(found.path) != (found.size, found.modified) or len(content) != found.size:
        raise RowError("changed while it was read: scan again when it is at rest", "changed")
    return content


def _described(batch: Batch, found: Sequence[Found], plan: Plan, earlier: Earlier) -> Batch:
    """Return rows with the columns of the plan, from the files or from the earlier table."""
    batch = batch.without([entries.COLUMN])
    kept = [one.earlier for one in found if one.earlier is not None]
    old = earlier.table.take(kept) if earlier.table is not None and kept else None
    numbers = {label.column: number for number, label in enumerate(plan.labels)}
    if plan.by_hash:
        batch = batch.replace(reserved("id"), [one.digest for one in found])
    for column in plan.columns:
        before = _values(old, column)
        cells = [
            next(before) if one.earlier is not None else _cell(one, column.name, numbers)
            for one in found
        ]
        batch = batch.replace(column, cells)
    if plan.with_bytes:
        batch = batch.replace(reserved("audio"), [one.audio for one in found])
    return batch


def _values(table: Batch | None, column: Column) -> Iterator[Any]:
    if table is None:
        return iter(())
    exact = column.kind == "integer"  # nanoseconds since 1970 are more than a float tells apart
    return iter(table.integers(column.name) if exact else table[column.name])


def _cell(found: Found, name: str, numbers: Mapping[str, int]) -> Any:
    if name in numbers:
        return found.labels[numbers[name]]
    return getattr(found, _ATTRIBUTES.get(name, name))

"""Nightly runs: which rows need a network, which are known, which are done.

Each file is looked at: size and time of change say whether it is the one that an earlier run met.

| the file is | then |
|---|---|
| unchanged, and done under these options | left out; with --all given again, as it is remembered |
| unchanged, but its row never went out, or under other options | given as it is remembered |
| unchanged, and failed | left out; tried again with --retry-failed |
| new or changed, its sound known: retagged, renamed, copied | given as it is remembered |
| new or changed, its sound too | goes through the networks |

The sound is known by its digest (see `sound.digest`), and a row that is remembered holds the very
float32 numbers that the networks gave: uncalibrated, so that thresholds may change. They hold for
the same networks, whatever the batch size and the device, which change scores by 1e-5 and 1e-4.
Rows come out in the order of the input. A file is known by its real path: the working directory and
links do not matter, and one that has several names is one. Copies of a sound that come close
together may all go through the networks.

Failures are remembered until the file changes, the models do, or mt-tools is updated. Those that
may be the machine's doing rather than the file's (see `TEMPORARY`) are tried again by later runs,
until a file has failed so `TRIES` times; a file that changed while it was read, and a full disk,
are not remembered. A file that cannot be opened is tried again once it can.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import math
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mt_tools.engine.pool import cores, ordered
from mt_tools.errors import RowError, UsageError
from mt_tools.library.durations import seconds
from mt_tools.library.files import ABSENT, Places, Status, readable, status_of
from mt_tools.library.settings import NightlySettings
from mt_tools.library.state import DONE, FAILED, KNOWN, Record, State, key_of
from mt_tools.library.summary import Summary
from mt_tools.sound.digest import audio_digest
from mt_tools.sound.paths import text_to_path
from mt_tools.stages.frontend import Fail, gathered, report_row
from mt_tools.stages.settings import TagSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column

Scores = dict[str, np.ndarray]
"""What the networks say of a row, by the name of a task's columns; see `stages.tag`."""

Infer = Callable[[Iterable[Batch], Fail], Iterator[tuple[Batch, list[Scores]]]]
"""Rows through the networks: in order, without those that fail, which are reported."""

TEMPORARY = ("crashed", "timeout", "internal")
"""Kinds of failure that a busy machine, or one short of memory, may be the cause of."""

TRIES = 3
"""How often a file is tried that fails so."""

_UNREMEMBERED = ("changed", "no-space")
_NOWHERE = b"id:"  # what stands for the path of a row without one; real ones begin with a slash
_AT_ONCE = 8  # rows handed on together: few, since all of them are begun
_AHEAD = 2048  # rows that wait behind one that is being worked on


def check(settings: NightlySettings, tag: TagSettings, columns: Mapping[str, Column]) -> None:
    """Raise `UsageError` for options and inputs that do not go together with --state."""
    if not settings.state:
        for name in ("all_", "retry_failed", "max_time", "summary"):
            if getattr(settings, name):
                raise UsageError(
                    f"--{name.strip('_').replace('_', '-')} is for runs that remember: add --state "
                    "DIR"
                )
        return
    if settings.max_time:
        seconds(settings.max_time, "--max-time")
    for name in ("plot", "segments", "uncertain"):
        if getattr(tag, name):
            raise UsageError(f"--state remembers whole tracks one by one: run --{name} without it")
    for name in ("playlists", "rekordbox"):
        if getattr(tag, name) and not settings.all_:
            raise UsageError(
                f"--{name} would hold the new and changed tracks alone: add --all, which gives "
                "those that are remembered too"
            )
    computed = [c.name for c in columns.values() if c.role in ("feature", "embedding")]
    if computed:
        raise UsageError(
            f"--state remembers files, and this table holds {', '.join(computed)}: give folders, "
            "audio files, paths, or a table without them"
        )


@dataclass(eq=False)
class _Item:
    """A row on its way: where it stands, its file, and what is known of that.

    `status` is size and time of change, `same` that they are those of the record; `kind` is what
    the summary counts it as. `asks` says that its sound is to be heard, `needs` that it goes
    through the networks.
    """

    batch: Batch
    row: int
    path: bytes
    status: Status
    record: Record | None
    same: bool = False
    kind: str = "new"
    digest: bytes = b""
    asks: bool = False
    needs: bool = False
    scores: Scores | None = None

    @property
    def is_readable(self) -> bool:
        """Whether there is a file that may be read."""
        return not self.path.startswith(_NOWHERE) and readable(self.path)

    def becomes(self, outcome: str, **said: Any) -> Record:
        """Return what is to be remembered of the file."""
        return Record(self.path, *self.status, outcome, self.digest, **said)


class Known:
    """The rows of a run, told apart by what the state knows of their files.

    `work` and `key` are made by `work_key` and `run_key` of `nets.identity`; relative paths are
    tried below `folders` too; files that are gone are looked for below `roots`, the folders that
    were scanned whole. `batch_size` rows come out together. The clock of --max-time starts at
    `began` (`time.monotonic`), or now. `begin` is called before the first file is worked on,
    `tell` hears of files that are left out as they failed before.
    """

    def __init__(
        self,
        state: State,
        settings: NightlySettings,
        *,
        work: bytes,
        key: bytes,
        folders: Sequence[str] = (),
        roots: Sequence[str] = (),
        jobs: int = 0,
        batch_size: int = 32,
        began: float | None = None,
        begin: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.state = state
        self._settings = settings
        self._work, self._key = work, key
        self._try = key_of(work.hex(), importlib.metadata.version("mt-tools"))
        self._places = Places(folders)
        self._roots = [os.fsencode(os.path.realpath(root)) for root in roots]
        self._jobs = cores() if jobs < 0 else jobs
        self._batch_size = batch_size
        self._began = time.monotonic() if began is None else began
        limit = settings.max_time
        self._deadline = self._began + (seconds(limit, "--max-time") if limit else float("inf"))
        self._begin, self._tell = begin, tell
        self._counts: Counter[str] = Counter()
        self._seen: set[int] = set()

    def run(
        self, batches: Iterable[Batch], infer: Infer, fail: Fail
    ) -> Iterator[tuple[Batch, list[Scores]]]:
        """Yield the rows that are to be given, with what the networks say of them.

        `infer` is called only once there is a row that needs it. Raises `UsageError` for rows that
        are not whole files, and what `infer` raises.
        """
        items = self._looked_at(_whole_files(batches))
        items = _through(items, lambda item: item.asks, lambda some: self._heard(some, fail))
        items = _through(
            items, lambda item: item.needs, lambda some: self._inferred(some, infer, fail)
        )
        rows = ((item.batch, item.row, item) for item in items)
        for batch, some in gathered(rows, self._batch_size):
            yield batch, self._given(some)
        self._find_gone()

    def wrote(self, path: str) -> None:
        """Take note of a file that this run changed itself: the next one finds it unchanged."""
        place, status = self._places.find(path)
        self.state.touched(place, *status)
        self._counts["written"] += 1

    def passed(self, batch: Batch) -> None:
        """Take note of rows that went out; their files are done once `delivered` is called."""
        paths = [self._places.find(text_to_path(path))[0] for path in batch["path"]]
        self.state.passed(paths, self._key)

    def delivered(self) -> None:
        """Take note that the output is whole."""
        self.state.delivered()

    def summary(self) -> Summary:
        """Return what was done so far."""
        return Summary(**self._counts, seconds=round(time.monotonic() - self._began, 3))

    # Which rows are worked on.

    def _looked_at(self, batches: Iterable[Batch]) -> Iterator[_Item]:
        """Yield the rows that are not left out; those whose file is another one are to be heard."""
        for batch in batches:
            places = [
                self._places.find(text_to_path(path)) if path else (_NOWHERE + id_.encode(), ABSENT)
                for id_, path in zip(batch.ids, batch["path"], strict=True)
            ]
            self._counts["seen"] += len(batch)
            self._seen.update(hash(path) for path, _ in places)
            known = self.state.known([path for path, _ in places])
            back = [record for record in known.values() if record.gone]
            if back:
                self.state.mark_gone(back, False)
            digests = {record.digest for record in known.values() if record.digest}
            predicted = self.state.predicted(self._work, list(digests))
            for row, (path, status) in enumerate(places):
                item = _Item(batch, row, path, status, known.get(path))
                if self._is_wanted(item):
                    item.needs = not item.asks and item.digest not in predicted
                    yield item

    def _is_wanted(self, item: _Item) -> bool:
        """Say whether a row is to be given; `item.asks` where its sound is to be heard first."""
        record = item.record
        if record is not None:
            item.same = _same(item, record)
        if record is not None and item.same:
            item.digest = record.digest
            item.kind = "retried" if record.outcome == FAILED else "waiting"
            if record.outcome == FAILED and self._is_given_up(record):
                self._counts["failed_before"] += 1
                self._tell(f"{os.fsdecode(item.path)}: failed before: {record.message}")
                return False
            if record.outcome == DONE and record.key == self._key:
                item.kind = "unchanged"
                self._counts["unchanged"] += not self._settings.all_
                return self._settings.all_
        if self._is_late(item):
            return False
        item.asks = not item.digest and not item.path.startswith(_NOWHERE)
        return True

    def _is_given_up(self, record: Record) -> bool:
        if self._settings.retry_failed or record.key != self._try:
            return False
        return record.kind not in TEMPORARY or record.tries >= TRIES

    def _is_late(self, item: _Item) -> bool:
        """Say whether a row came after the deadline, and count it then."""
        if time.monotonic() < self._deadline:
            return False
        self._counts["left"] += 1
        return True

    def _heard(self, items: Iterator[_Item], fail: Fail) -> Iterator[_Item]:
        """Yield items with the digest of their sound, worked out by workers."""
        waiting: deque[_Item] = deque()

        def places() -> Iterator[str]:
            for item in items:
                if not self._is_late(item):
                    waiting.append(item)
                    yield os.fsdecode(item.path)

        self._begin()
        for outcome in ordered(hear, places(), self._jobs):
            item = waiting.popleft()
            if outcome.value is not None:
                *status, item.digest = outcome.value
                item.status = (status[0], status[1])
                item.needs = not self.state.predicted(self._work, [item.digest])
            if not item.same:
                item.kind = _kind_of(item)
            if outcome.error is None:
                yield item
            else:
                self._counts[item.kind] += 1
                self._failed(item, outcome.error, fail)

    # What becomes of them.

    def _inferred(self, items: Iterator[_Item], infer: Infer, fail: Fail) -> Iterator[_Item]:
        """Yield items with their scores, which are in the state by then."""
        begun: dict[str, _Item] = {}

        def rows() -> Iterator[Batch]:
            while some := list(itertools.islice(items, _AT_ONCE)):
                some = [item for item in some if not self._is_late(item)]
                for item in some:
                    self._counts[item.kind] += 1
                    begun[item.batch.ids[item.row]] = item
                if some:
                    yield concatenate([item.batch.take([item.row]) for item in some])

        def failed(row: dict[str, Any], error: RowError) -> None:
            self._failed(begun.pop(row["id"]), error, fail)

        batches = rows()
        for first in batches:  # none, and the networks need not even be loaded
            for batch, found in infer(itertools.chain([first], batches), failed):
                finished = [begun.pop(id_) for id_ in batch.ids]
                for item, scores in zip(finished, found, strict=True):
                    item.scores = scores
                yield from self._kept(finished, fail)

    def _kept(self, finished: Sequence[_Item], fail: Fail) -> list[_Item]:
        """Store what the networks gave; files that changed meanwhile have failed."""
        whole = []
        for item in finished:
            if status_of(item.path) == item.status or _still_sounds(item):
                whole.append(item)
            else:
                error = RowError("changed while it was read: run again when it is at rest")
                error.kind = "changed"
                self._failed(item, error, fail)
        self.state.keep(self._work, {item.digest: pack(item.scores or {}) for item in whole})
        self.state.put(item.becomes(KNOWN) for item in whole)
        self._counts["tagged"] += len(whole)
        return whole

    def _failed(self, item: _Item, error: RowError, fail: Fail) -> None:
        """Remember a failure, where it is the file's, and report it."""
        self._counts["failed"] += 1
        if error.kind not in _UNREMEMBERED:
            record, tries = item.record, 1
            if record is not None and item.same and record.key == self._try:
                tries = record.tries + 1
            if not item.is_readable:
                item.status = ABSENT
            said = {"kind": error.kind, "message": str(error), "tries": tries}
            self.state.put([item.becomes(FAILED, key=self._try, **said)])
        report_row(fail, item.batch, item.row, error)

    def _given(self, items: Sequence[_Item]) -> list[Scores]:
        """Return the scores of rows, as the networks just gave them or from the state."""
        stored = [item for item in items if item.scores is None]
        found = self.state.predictions(self._work, list({item.digest for item in stored}))
        for item in stored:
            self._counts[item.kind] += 1
            self._counts["remembered"] += 1
        self.state.put(item.becomes(KNOWN) for item in stored if not item.same)
        return [
            unpack(found[item.digest]) if item.scores is None else item.scores for item in items
        ]

    def _find_gone(self) -> None:
        """Count and mark the files that are not there any more."""
        for root in self._roots:
            gone = [
                record
                for record in self.state.below(root)
                if hash(record.path) not in self._seen and not os.path.lexists(record.path)
            ]
            self.state.mark_gone(gone)
            self._counts["gone"] += len(gone)


def hear(path: str) -> tuple[int, int, bytes]:
    """Return size, time of change and digest of the sound of a file. Runs in a worker.

    Raises `DecodeError` for a file that cannot be opened, `RowError` for one that changes.
    """
    before = status_of(path)
    digest = bytes.fromhex(audio_digest(path))
    if status_of(path) != before:
        raise RowError("changed while it was read: run again when it is at rest", "changed")
    return *before, digest


def _same(item: _Item, record: Record) -> bool:
    """Say whether a file is as it was; one that could not be opened, whether it still cannot."""
    there = record.size >= 0 or item.is_readable
    return (record.size, record.modified) == (item.status if there else ABSENT)


def _kind_of(item: _Item) -> str:
    """Return what the summary calls a file that is new, or another one than before."""
    if item.record is None:
        return "new" if item.needs or not item.digest else "moved"
    return "retagged" if item.digest and item.digest == item.record.digest else "changed"


def _still_sounds(item: _Item) -> bool:
    """Say whether a file that changed while it was read was merely tagged by somebody else."""
    try:
        *status, digest = hear(os.fsdecode(item.path))
    except RowError:
        return False
    item.status = (status[0], status[1])
    return digest == item.digest


def _through(
    items: Iterator[_Item],
    wanted: Callable[[_Item], bool],
    work: Callable[[Iterator[_Item]], Iterator[_Item]],
) -> Iterator[_Item]:
    """Send the items that are `wanted` through `work`, and pass on the others, in order.

    `work` keeps the order, and may drop items. So many may wait behind one that is worked on, and
    then it is waited for: memory is bounded.
    """
    waiting: deque[_Item] = deque()

    def some(first: _Item) -> Iterator[_Item]:
        waiting.append(first)
        yield first
        others = 0
        for item in items:
            waiting.append(item)
            if wanted(item):
                yield item
                continue
            others += 1
            if others >= _AHEAD:
                return

    for item in items:
        if not wanted(item):
            yield item
            continue
        for done in work(some(item)):
            while (one := waiting.popleft()) is not done:
                if not wanted(one):
                    yield one
            yield done
        yield from (one for one in waiting if not wanted(one))
        waiting.clear()


def _whole_files(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Pass rows on that are files; others raise `UsageError`."""
    for batch in batches:
        batch.require("path")
        for name in ("audio", "start", "duration", "recipe", "origin"):
            if name not in batch or batch.null_count(name) == len(batch):
                continue
            plain = batch.ids if name == "origin" else itertools.repeat("")
            for id_, value, own in zip(batch.ids, batch[name], plain, strict=False):
                if value is None or value != value or value == own:
                    continue
                what = "carries its sound" if name == "audio" else "is a part or a copy of a track"
                raise UsageError(
                    f"--state remembers whole files, and the row {id_} {what} ({name}): give "
                    "folders, audio files or paths"
                )
        yield batch


def pack(scores: Scores) -> bytes:
    """Return arrays as bytes: a line of JSON that says names, types and shapes, then the values."""
    head = [[name, value.dtype.str, value.shape] for name, value in scores.items()]
    body = b"".join(np.ascontiguousarray(value).tobytes() for value in scores.values())
    return json.dumps(head).encode() + b"\n" + body


def unpack(data: bytes) -> Scores:
    """Return the arrays of `pack`, equal to the last bit."""
    head, _, body = data.partition(b"\n")
    scores, at = {}, 0
    for name, type_, shape in json.loads(head):
        size = np.dtype(type_).itemsize * math.prod(shape)
        scores[name] = np.frombuffer(body[at : at + size], type_).reshape(shape).copy()
        at += size
    return scores

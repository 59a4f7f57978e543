"""One file of a scan: what its row will hold. Runs in a worker.

Where a library (Rekordbox, iTunes, beets) names the tracks, what it says of them wins over the tags
inside the files, which fill what it leaves open; what a playlist says only fills.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mt_tools.errors import DecodeError, RowError, UsageError
from mt_tools.library import entries
from mt_tools.library.plan import MARK, read_marks
from mt_tools.sound.digest import audio_digest
from mt_tools.sound.fields import Fields, field_name
from mt_tools.sound.info import AudioInfo, group_of, read_info, split_values
from mt_tools.sound.labels import USUAL, Label, parse_label, read_label
from mt_tools.stages.frontend import Track
from mt_tools.stages.settings import FolderSettings
from mt_tools.tables.columns import Column, reserved

SIZE = Column("file_size", "integer", "reserved")
"""Bytes of the file, and the time of its last change: by them `--update` knows it again."""

MODIFIED = Column("file_modified", "integer", "reserved")
"""When the file was last changed, nanoseconds since 1970."""

LIBRARY = Column("library_digest", "string", "reserved")
"""A digest of what a library says of the track, which may change while the file does not."""


@dataclass(frozen=True)
class Plan:
    """What is read of each file.

    `asked` are the columns of `--tag`, `predicted` says whether values that mt-tag wrote are labels
    too, `library` whether the tracks come from a library,
    `by_hash` that ids are digests of the sound, `with_bytes` that the files themselves go into the
    table, `dated` that the state of each file is kept for a later `--update`: a table without it is
    the same wherever the same files are scanned.
    """

    labels: tuple[Label, ...] = USUAL
    asked: tuple[str, ...] = ()
    separators: str = ";"
    predicted: bool = False
    by_hash: bool = False
    with_bytes: bool = False
    library: bool = False
    dated: bool = False

    @property
    def columns(self) -> list[Column]:
        """The columns that the scan adds, in order, without the file itself."""
        facts = [reserved(name) for name in ("length", "sample_rate", "channels", "group")]
        known = [SIZE, MODIFIED, *[LIBRARY] * self.library] if self.dated else []
        return [*facts, *(label.described() for label in self.labels), *known]


def make_plan(settings: FolderSettings, columns: Mapping[str, Column] | None = None) -> Plan:
    """Return what is read of files, for tracks with these columns. Raises `UsageError`.

    A label of `--tag` takes the place of a usual one of its name, and of a library's.
    """
    asked = [parse_label(text) for text in settings.tag]
    for name, times in Counter(label.column for label in asked).items():
        if times > 1:
            raise UsageError(f"--tag: column {name!r} is said {times} times: give each its name")
    told = (columns or {}).get(entries.COLUMN)
    usual = [*USUAL, *(parse_label(text) for text in (told.settings["columns"] if told else []))]
    labels = {label.column: label for label in [*usual, *asked]}
    for label in labels.values():
        if label.column in (SIZE.name, MODIFIED.name, LIBRARY.name):
            raise UsageError(f"--tag: the scan itself writes {label.column!r}: say another name")
    return Plan(
        tuple(labels.values()),
        tuple(label.column for label in asked),
        settings.separator,
        settings.predicted,
        settings.id_ == "hash",
        settings.audio == "bytes",
        told is not None,
        bool(settings.update),
    )


State = tuple[int, int, str | None]
"""Size of a file, time of its last change, and a digest of what a library says of it."""


@dataclass(frozen=True)
class Task:
    """A track, what a library says of it, and the state of its file at an earlier scan."""

    track: Track
    told: str | None
    known: State | None


@dataclass
class Found:
    """What became of a track: all that its row holds, or the row of the earlier table.

    `known` says that its file was scanned before, `unchanged` that nothing of it differs since.
    `predicted` counts the values that were left out since mt-tag wrote them, `unread` are texts
    that are no numbers, by column; `names` are the fields of the file where it lacks one that was
    asked for.
    """

    path: str | None
    size: int
    modified: int | None
    library: str | None = None
    earlier: int | None = None
    known: bool = False
    unchanged: bool = False
    length: float | None = None
    sample_rate: int = 0
    channels: int = 0
    group: str | None = None
    labels: Sequence[Any] = ()
    predicted: int = 0
    unread: dict[str, str] = field(default_factory=dict)
    names: Sequence[str] = ()
    digest: str | None = None
    audio: tuple[bytes, str] | None = None

    @property
    def nbytes(self) -> int:
        """How much memory the row needs, nearly."""
        return len(self.audio[0]) if self.audio else 0


def scan_some(work: tuple[Plan, Sequence[Task]]) -> list[Found | None]:
    """Read some files; None where one fails, in whatever way. Runs in a worker."""
    plan, tasks = work
    found: list[Found | None] = []
    for task in tasks:
        try:
            found.append(scan((plan, task)))
        except Exception:
            found.append(None)
    return found


def scan(work: tuple[Plan, Task]) -> Found:
    """Read a file as the plan says. Runs in a worker. Raises `RowError`."""
    plan, task = work
    source = _source(task.track, task.told is not None)
    leads, told = entries.from_text(task.told) if task.told else (False, {})
    now = state(source)
    found = Found(None if isinstance(source, bytes) else source, *now)
    if task.told is not None:
        found.library = _digest_of(told, plan)
    if task.known == (*now, found.library) and found.modified is not None:
        found.unchanged = True
        return found
    info = read_info(source)
    found.digest = audio_digest(source) if plan.by_hash else None
    if state(source) != now:
        raise RowError("changed while it was read: scan again when it is at rest", "changed")
    fields = info.tags
    if not plan.predicted:
        fields, found.predicted = _without_predicted(fields)
        info = AudioInfo.of(info.length, info.sample_rate, info.channels, fields)
    if told:
        fields = {**fields, **told} if leads else {**told, **fields}
        info = AudioInfo.of(info.length, info.sample_rate, info.channels, fields)
    read = [read_label(label, fields, plan.separators) for label in plan.labels]
    asked = [label.field for label in plan.labels if label.column in plan.asked]
    return replace(
        found,
        length=info.length,
        sample_rate=info.sample_rate,
        channels=info.channels,
        group=group_of(info, _folder_name(task.track.path)) or None,
        labels=[value for value, _ in read],
        unread={
            label.column: text
            for label, (_, text) in zip(plan.labels, read, strict=True)
            if text is not None
        },
        names=list(fields) if any(name not in fields for name in asked) else (),
    )


def _without_predicted(fields: Fields) -> tuple[Fields, int]:
    """Return the fields without the values that mt-tag wrote, and how many those are.

    A model that learned from them would learn from itself, or from another one's mistakes.
    """
    marks, _ = read_marks(fields.get(field_name(MARK), []))
    left, count = dict(fields), 0
    for mark in marks:
        name = field_name(mark["field"])
        ours = {unicodedata.normalize("NFC", value).strip() for value in mark["values"]}
        kept = []
        for text in left.pop(name, []):
            parts = split_values([text], ";")  # as tags of ID3v2.3 join several
            theirs = [part for part in parts if part not in ours] if text not in ours else []
            count += len(parts) - len(theirs)
            kept += [text] if theirs == parts else [";".join(theirs)] * bool(theirs)
        if kept:
            left[name] = kept
    return left, count


def _source(track: Track, listed: bool) -> str | bytes:
    """Return a track's bytes or path; what is no file of this machine raises `DecodeError`.

    `listed` says whether a library names it.
    """
    if track.audio is None and track.path is None:
        raise DecodeError("the library has no file of it: it is in the cloud or gone", "missing")
    source = track.source()
    if isinstance(source, bytes) or os.path.lexists(source):
        return source
    if entries.is_address(source):
        raise DecodeError("an address on the net: download it, and name the file", "missing")
    if drive := re.match(r"([A-Za-z]:)[\\/]", source):
        raise DecodeError(
            f"a path of Windows, and nothing here is called {drive[1]!r}: make it a link to the "
            f"same folder, as in ln -s /mnt/music {drive[1]}",
            "missing",
        )
    if listed and not os.path.isabs(source):
        raise DecodeError(
            "no such file here or beside the library: run this in the folder that its paths are "
            "relative to",
            "missing",
        )
    return source


def state(source: str | bytes) -> tuple[int, int | None]:
    """Return size and time of change; a file that is not there is reported by who opens it."""
    if isinstance(source, bytes):
        return len(source), None
    try:
        status = os.stat(source)
    except OSError:
        return 0, None
    return status.st_size, status.st_mtime_ns


def _folder_name(path: str | None) -> str:
    parent = os.path.dirname(path or "")
    return os.path.basename(parent) or parent


def _digest_of(told: entries.Fields, plan: Plan) -> str:
    wanted = {"artist", "album", *(label.field for label in plan.labels)}
    said = {name: values for name, values in told.items() if name in wanted}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

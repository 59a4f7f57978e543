"""Tracks of folders: what the files say of themselves, and their embedded tags as labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from mt_tools.sound.info import AudioInfo, group_of, read_info
from mt_tools.stages.frontend import Fail, Track, fresh, gathered, tracks_of, worked
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved

TAG_COLUMNS = [
    Column("genre", "strings"),
    Column("artist", "string"),
    Column("album", "string"),
    Column("title", "string"),
    Column("year", "integer"),
    Column("bpm", "number"),
]


def read_tags(track: Track) -> AudioInfo:
    """Read length and tags of a track; runs in a worker."""
    return read_info(track.source())


def run(
    batches: Iterable[Batch], *, folders: Sequence[str], jobs: int, fail: Fail
) -> Iterator[Batch]:
    """Yield the tracks with length, rate, channels, group and embedded tags as label columns."""

    def tasks_of(batch: Batch) -> list[Track]:
        return tracks_of(batch, folders)

    names = [column.name for column in TAG_COLUMNS]
    untagged = fresh(batches, *names, advice="give folders, audio files or paths, not such a table")
    for batch, infos in gathered(worked(untagged, read_tags, tasks_of, jobs=jobs, fail=fail)):
        for name in ("length", "sample_rate", "channels"):
            batch = batch.replace(reserved(name), [getattr(info, name) for info in infos])
        parents = [os.path.dirname(path or "") for path in batch.get("path")]
        groups = [
            group_of(info, os.path.basename(parent) or parent)
            for info, parent in zip(infos, parents, strict=True)
        ]
        batch = batch.replace(reserved("group"), [group or None for group in groups])
        for column in TAG_COLUMNS:
            batch = batch.append(column, [getattr(info, column.name) for info in infos])
        yield batch

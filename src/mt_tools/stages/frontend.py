"""From tracks to features: what every command that opens audio begins with.

Order of decoding: the part plus a margin, channels, resample, recipe, trim, features. All of it
happens in worker processes, one track a task; a track on its way is `(batch, row, parts)`: where it
stands in the input, and the features of its segments. Workers load this module: no torch here.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from mt_tools.engine.pool import cores, ordered
from mt_tools.errors import RowError, RunError, UsageError
from mt_tools.features.extract import excerpts, extract, fit_length
from mt_tools.features.settings import FeatureSettings
from mt_tools.recipes import Recipe, parse
from mt_tools.sound.decode import decode
from mt_tools.sound.info import read_info
from mt_tools.sound.paths import text_to_path
from mt_tools.sound.write import write_audio
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column, reserved

Task = TypeVar("Task")
Made = TypeVar("Made")
Fail = Callable[[dict[str, Any], RowError], None]

SELECTION = ("path", "audio", "length", "start", "duration", "recipe")
_GATHER_BYTES = 8 << 20
_GATHER_ROWS = 256


@dataclass(frozen=True)
class Track:
    """What a worker needs to know of a row: where its sound is, and which part of it."""

    path: str | None
    audio: bytes | None
    length: float | None
    start: float | None
    duration: float | None
    recipe: str
    folders: tuple[str, ...]

    def source(self) -> str | bytes:
        """Return the bytes, or the path: as typed, else below the folder of its table."""
        if self.audio is not None:
            return self.audio
        if self.path is None:
            raise RowError("the row has neither `path` nor `audio`: nothing to decode", "missing")
        path = text_to_path(self.path)
        for folder in ("", *self.folders):
            if os.path.lexists(os.path.join(folder, path)):
                return os.path.join(folder, path)
        return path

    def effects(self) -> Recipe:
        """Return the recipe; one that cannot be read is this row's failure alone."""
        try:
            return parse(self.recipe)
        except UsageError as error:
            raise RowError(str(error), "recipe") from error


@dataclass(frozen=True)
class Part:
    """A piece of a track and its features; `start` and `duration` are on its own timeline."""

    start: float | None
    duration: float | None
    features: np.ndarray


Rows = Iterator[tuple[Batch, int, list[Part]]]
"""Tracks on their way: where each stands, and its parts."""

# --- from tables to features ---------------------------------------------------------------------


def tracks_of(batch: Batch, folders: Sequence[str]) -> list[Track]:
    """Return what workers need of the rows of a batch."""
    if "path" not in batch and "audio" not in batch:
        batch.require("path")
    columns = {name: batch.get(name) for name in SELECTION}
    tracks = []
    for row in range(len(batch)):
        audio = columns["audio"][row]
        numbers = {
            name: None if _null(columns[name][row]) else float(columns[name][row])
            for name in ("length", "start", "duration")
        }
        tracks.append(
            Track(
                path=columns["path"][row] or (audio[1] if audio else None),
                audio=audio[0] if audio else None,
                recipe=columns["recipe"][row] or "",
                folders=tuple(folders),
                **numbers,
            )
        )
    return tracks


def _null(value: Any) -> bool:
    return value is None or value != value


def compute(task: tuple[Track, FeatureSettings]) -> list[Part]:
    """Decode the parts of a track that the settings ask for and compute their features.

    Runs in a worker. Raises `RowError` for a track that cannot be decoded or is too short.
    """
    track, settings = task
    source = track.source()
    recipe = track.effects()
    length = track.length
    if length is None and settings.excerpt != "whole":
        length = read_info(source).length
    # The excerpt is measured on what is heard; parts are selected before stretching.
    stretch = recipe.stretch
    chosen = excerpts(
        None if length is None else length * stretch,
        settings,
        None if track.start is None else track.start * stretch,
        None if track.duration is None else track.duration * stretch,
    )
    parts = []
    for start, duration in chosen:
        begin = start / stretch if start else None
        take = None if duration is None else duration / stretch
        wave, _ = decode(
            source,
            start=begin,
            duration=take,
            sample_rate=settings.sample_rate,
            channels=2 if settings.channels == "stereo" else 1,
            recipe=recipe,
        )
        parts.append(Part(begin, take, extract(fit_length(wave, settings), settings)))
    return parts


def feature_rows(
    batches: Iterable[Batch],
    settings: FeatureSettings,
    *,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
) -> Rows:
    """Yield every track that could be decoded with its parts, in input order."""

    def tasks_of(batch: Batch) -> list[tuple[Track, FeatureSettings]]:
        return [(track, settings) for track in tracks_of(batch, folders)]

    return worked(batches, compute, tasks_of, jobs=jobs, fail=fail)


def worked(
    batches: Iterable[Batch],
    function: Callable[[Task], Made],
    tasks_of: Callable[[Batch], Sequence[Task]],
    *,
    jobs: int,
    fail: Fail,
) -> Iterator[tuple[Batch, int, Made]]:
    """Apply `function` to a task a row in workers; yield (batch, row, value), report the rest."""
    waiting: deque[tuple[Batch, int]] = deque()

    def tasks() -> Iterator[Task]:
        for batch in batches:
            for row, task in enumerate(tasks_of(batch)):
                waiting.append((batch, row))
                yield task

    for outcome in ordered(function, tasks(), cores() if jobs < 0 else jobs):
        batch, row = waiting.popleft()
        if outcome.error is not None:
            report_row(fail, batch, row, outcome.error)
        else:
            yield batch, row, outcome.value  # type: ignore[misc]


def column_rows(
    batches: Iterable[Batch], column: Column, *, joined: bool, keep: bool, fail: Fail
) -> Rows:
    """Yield every row that has a value in `column`, as a part; feature columns go unless `keep`.

    With `joined`, consecutive rows of one track (same origin, recipe and file) are its parts and
    come as its first row: see `whole_tracks`.
    """
    held: tuple[Batch, int, list[Part]] | None = None
    held_key = None
    for batch in batches:
        arrays = batch[column.name]
        features = [c.name for c in batch.columns.values() if c.role == "feature"]
        light = batch if keep else batch.without(features)
        keys = list(zip(batch.origins, batch.get("recipe"), batch.get("path"), strict=True))
        for row in range(len(batch)):
            if np.isnan(arrays[row]).all():
                error = RowError(f"no {column.name} in this row", "missing")
                report_row(fail, batch, row, error)
                continue
            part = Part(None, None, arrays[row])
            if joined and held is not None and keys[row] == held_key:
                held[2].append(part)
                continue
            if held is not None:
                yield held
            held, held_key = (light, row, [part]), keys[row]
    if held is not None:
        yield held


def fresh(
    batches: Iterable[Batch], *names: str, advice: str = "name the new one with --as NAME"
) -> Iterator[Batch]:
    """Pass rows on; a table that has one of these columns already raises `UsageError` at once."""
    for batch in batches:
        for name in names:
            if name in batch:
                raise UsageError(f"the table already has a column {name!r}: {advice}")
        yield batch


# --- segments and tracks -------------------------------------------------------------------------


def is_segmented(excerpt: str) -> bool:
    """Say whether an excerpt makes a row a segment."""
    return excerpt.startswith("segment")


def segments_of(rows: Rows) -> Rows:
    """Yield a row a segment: the id says where it starts, the origin whose it is."""
    for batch, row, parts in rows:
        for part in parts:
            yield _segment(batch.take([row]), part), 0, [part]


def _segment(batch: Batch, part: Part) -> Batch:
    start = part.start or 0.0
    origins = batch.origins
    batch = batch.replace(reserved("id"), [f"{batch.ids[0]}{_at(start)}"])
    batch = batch.replace(reserved("origin"), origins)
    batch = batch.replace(reserved("start"), [start])
    return batch.replace(reserved("duration"), [part.duration])


def whole_tracks(batch: Batch) -> Batch:
    """Return rows of first segments as rows of the tracks they are from: `segments_of` undone."""
    starts = batch.get("start")
    ids = [
        id_ if _null(start) else id_.removesuffix(_at(start))
        for id_, start in zip(batch.ids, starts, strict=True)
    ]
    return batch.replace(reserved("id"), ids).without(("start", "duration"))


def _at(start: float) -> str:
    return f"@{start:.10g}"


# --- to audio files ------------------------------------------------------------------------------


def make_folder(path: str) -> None:
    """Make the folder that audio files are written to."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {path}: {error.strerror}") from error


def save(file: str, wave: np.ndarray, rate: int, tags: Mapping[str, object] | None = None) -> None:
    """Write an audio file; what stops one file (a full disk) would stop all: a `RunError`."""
    try:
        write_audio(file, wave, rate, tags=tags)
    except OSError as error:
        raise RunError(f"cannot write {file}: {error.strerror}; make room and run again") from error


# --- back to tables ------------------------------------------------------------------------------


def report_row(fail: Fail, batch: Batch, row: int, error: RowError) -> None:
    """Report a row that failed, named by its id and path."""
    fail({"id": batch.ids[row], "path": batch.get("path")[row]}, error)


def gathered(
    pairs: Iterable[tuple[Batch, int, Any]], most: int = _GATHER_ROWS
) -> Iterator[tuple[Batch, list[Any]]]:
    """Join single rows and what was made of each into batches of some MiB, `most` rows at most."""
    rows: list[tuple[Batch, int]] = []
    made: list[Any] = []
    size = 0
    for batch, row, value in pairs:
        rows.append((batch, row))
        made.append(value)
        size += getattr(value, "nbytes", 0)
        if size >= _GATHER_BYTES or len(rows) >= most:
            yield _picked(rows), made
            rows, made, size = [], [], 0
    if rows:
        yield _picked(rows), made


def _picked(rows: Sequence[tuple[Batch, int]]) -> Batch:
    """Return these rows of these batches as one batch."""
    pieces: list[tuple[Batch, list[int]]] = []
    for batch, row in rows:
        if pieces and pieces[-1][0] is batch:
            pieces[-1][1].append(row)
        else:
            pieces.append((batch, [row]))
    return concatenate([batch.take(indices) for batch, indices in pieces])

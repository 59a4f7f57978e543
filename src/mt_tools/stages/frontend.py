"""From tracks to features: what every command that opens audio begins with.

Order of decoding: the part plus a margin, channels, resample, recipe, trim, features. All of it
happens in worker processes, one track a task and its segments a minute at a time; a track on its
way is `(batch, row, parts)`: where it stands in the input, and the features of its segments.
Workers load this module: no torch here.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import numpy as np

from mt_tools.engine.pool import cores, ordered
from mt_tools.engine.spool import Spool
from mt_tools.errors import DecodeError, RowError, RunError, UsageError
from mt_tools.features.extract import excerpts, extract, fit_length
from mt_tools.features.settings import SEGMENTED, FeatureSettings, parse_excerpt
from mt_tools.features.transforms import Transform
from mt_tools.learn import draws
from mt_tools.recipes import Recipe, parse
from mt_tools.sound.decode import decode
from mt_tools.sound.info import read_info
from mt_tools.sound.parts import PartsAudio
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

# Segments that a worker decodes at once, seconds: enough that opening the file and seeking in it
# cost little, few enough that a mix of hours is never in memory whole.
_RUN_SECONDS = 60.0


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
    origin: str = ""

    def source(self) -> str | bytes:
        """Return the bytes, or the path: as typed, else below the folder of its table."""
        if self.audio is not None:
            return self.audio
        if self.path is None:
            raise RowError("the row has neither `path` nor `audio`: nothing to decode", "missing")
        return self._found(self.path)

    def effects(self) -> Recipe:
        """Return the recipe; one that cannot be read is this row's failure alone."""
        try:
            return parse(self.recipe).located(self._found)
        except UsageError as error:
            raise RowError(str(error), "recipe") from error

    def _found(self, text: str) -> str:
        path = text_to_path(text)
        for folder in ("", *self.folders):
            if os.path.lexists(os.path.join(folder, path)):
                return os.path.join(folder, path)
        return path


@dataclass(frozen=True)
class Part:
    """A piece of a track and its features; `start` and `duration` are on its own timeline."""

    start: float | None
    duration: float | None
    features: np.ndarray

    def through(self, transform: Transform) -> Part:
        """Return the part with its features transformed."""
        return dataclasses.replace(self, features=transform.apply(self.features))


class Parts(Sequence[Part]):
    """The parts of a track in order; those of a long one wait in a file: see `engine.spool`.

    Appending raises `RowError` (`no-space`) where the disk is full.
    """

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        self._places: list[tuple[float | None, float | None]] = []
        self._features = Spool()
        self._transform: Transform | None = None
        self.extend(parts)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Part: ...
    @overload
    def __getitem__(self, index: slice) -> list[Part]: ...
    def __getitem__(self, index: int | slice) -> Part | list[Part]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        part = Part(*self._places[index], self._features[index])
        return part if self._transform is None else part.through(self._transform)

    def append(self, part: Part) -> None:
        """Add a part."""
        self._features.append(part.features)
        self._places.append((part.start, part.duration))

    def extend(self, parts: Iterable[Part]) -> None:
        """Add parts one after another."""
        for part in parts:
            self.append(part)

    def through(self, transform: Transform) -> Parts:
        """Return the same parts, each of which is transformed when it is asked for."""
        parts = copy.copy(self)
        parts._transform = transform
        return parts


Rows = Iterator[tuple[Batch, int, Sequence[Part]]]
"""Tracks on their way: where each stands, and its parts."""

Heard = tuple[float, float | None]
"""Where a part of a track begins and how long it is, in seconds of what is heard (stretched)."""

# --- from tables to features ---------------------------------------------------------------------


def tracks_of(batch: Batch, folders: Sequence[str]) -> list[Track]:
    """Return what workers need of the rows of a batch."""
    if "path" not in batch and "audio" not in batch:
        batch.require("path")
    columns = {name: batch.get(name) for name in SELECTION}
    origins = batch.origins
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
                origin=origins[row],
                **numbers,
            )
        )
    return tracks


def _null(value: Any) -> bool:
    return value is None or value != value


def compute(task: tuple[Track, FeatureSettings]) -> Parts:
    """Decode the parts of a track that the settings ask for and compute their features.

    Runs in a worker. Raises `RowError` for a track that cannot be decoded or is too short, and for
    a long one where the disk is full.
    """
    track, settings = task
    recipe = track.effects()
    if track.length is None and parse_excerpt(settings.excerpt).needs_length:
        track = dataclasses.replace(track, length=read_info(track.source()).length)
    asked = parts_of(track, recipe, settings, places_of(track, settings))
    parts = Parts()
    with PartsAudio(track.source()) as audio:
        for run in runs(asked, settings):
            waves = decode_run(track, recipe, run, settings, audio)
            for (start, duration), wave in zip(run, waves, strict=True):
                begin = start / recipe.stretch if start else None
                take = None if duration is None else duration / recipe.stretch
                try:
                    wave = fit_length(wave, settings, duration)
                except RowError:
                    if not parts:
                        raise
                    continue  # the end of the file came before that of its last segment: a tail
                parts.append(Part(begin, take, extract(wave, settings)))
    return parts


def parts_of(
    track: Track, recipe: Recipe, settings: FeatureSettings, places: Sequence[float] = ()
) -> list[Heard]:
    """Return the parts of a track that the settings' excerpt asks for, on what is heard.

    Parts are selected before stretching, random crops at `places`. Raises `RowError` as
    `features.extract.excerpts` does.
    """
    stretch = recipe.stretch
    return excerpts(
        None if track.length is None else track.length * stretch,
        settings,
        None if track.start is None else track.start * stretch,
        None if track.duration is None else track.duration * stretch,
        places,
    )


def places_of(track: Track, settings: FeatureSettings) -> list[float]:
    """Draw where the crops of a track begin, by its origin and recipe; none for other excerpts."""
    excerpt = parse_excerpt(settings.excerpt)
    if excerpt.kind != "crops":
        return []
    keys = draws.keys_of([f"{track.origin}#{track.recipe}"])
    return [
        float(draws.uniform(keys, excerpt.seed, "crop", number)[0])
        for number in range(excerpt.count)
    ]


def runs(parts: Sequence[Heard], settings: FeatureSettings) -> list[Sequence[Heard]]:
    """Group segments that follow one another into runs that are decoded at once.

    Nothing is decoded that lies between two of them.
    """
    seconds = settings.excerpt_seconds
    if seconds is None:
        return [[part] for part in parts]
    size = max(1, int(_RUN_SECONDS / seconds))
    found: list[list[Heard]] = []
    for part in parts:
        gap = part[0] - (found[-1][-1][0] + seconds) if found else 0.0
        if found and len(found[-1]) < size and gap * settings.sample_rate < 0.5:
            found[-1].append(part)
        else:
            found.append([part])
    return list(found)


def decode_run(
    track: Track,
    recipe: Recipe,
    run: Sequence[Heard],
    settings: FeatureSettings,
    audio: PartsAudio | None = None,
) -> list[np.ndarray]:
    """Decode the segments of a run at once and return the wave of each, [channels, samples].

    `audio` is the track's file, where it is open already.
    The samples are those of each segment decoded alone; to 1e-6 where they are resampled, and after
    a pitch or stretch recipe in their spectrum only (see `sound.effects`). Where they differ, these
    are the nearer to the same part of the whole track, as filters begin anew only once a run.
    Raises `RowError` as `sound.decode` does, `too-short` where a segment begins beyond the end.
    """
    if recipe.follows_level and len(run) > 1:  # that of each segment, not of the run
        return [wave for part in run for wave in decode_run(track, recipe, [part], settings, audio)]
    rate, stretch = settings.sample_rate, recipe.stretch
    first, (last, seconds) = run[0][0], run[-1]
    end = None if seconds is None else last + seconds
    if end is not None and len(run) > 1:
        end += 2 * stretch / rate  # the places of segments are rounded, which may take a sample
    wave, _ = decode(
        audio or track.source(),
        start=first / stretch,
        duration=None if end is None else (end - first) / stretch,
        sample_rate=rate,
        channels=settings.decoded_channels,
        recipe=recipe,
    )
    if len(run) == 1:
        return [wave]
    # Rounded as `decode` rounds the start of each.
    begin = round(first / stretch * rate)
    places = [round((round(start / stretch * rate) - begin) * stretch) for start, _ in run]
    if places[-1] >= wave.shape[1]:
        raise DecodeError(
            f"the segment at {last / stretch:g} s begins at or beyond the end of the file; "
            "correct its length",
            "too-short",
        )
    return [wave[:, place : place + (settings.excerpt_samples or 0)] for place in places]


def feature_rows(
    batches: Iterable[Batch],
    settings: FeatureSettings,
    *,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
    transform: Transform | None = None,
) -> Rows:
    """Yield every track that could be decoded with its parts, in input order.

    Features whose settings name a fitted transform need it, and go through it here: a worker would
    be sent it with every track.
    """
    plain = settings.untransformed

    def tasks_of(batch: Batch) -> list[tuple[Track, FeatureSettings]]:
        return [(track, plain) for track in tracks_of(batch, folders)]

    rows = worked(batches, compute, tasks_of, jobs=jobs, fail=fail)
    if not settings.transform:
        return rows
    if transform is None or transform.label != settings.transform:
        raise UsageError(
            f"the features go through a fitted transform ({settings.transform}) that is not at "
            "hand: make a table of them with mt-spec --apply FILE"
        )
    return ((batch, row, parts.through(transform)) for batch, row, parts in rows)


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


@dataclass(frozen=True)
class Slices:
    """How the features of a row are cut: frames of a segment, and from one to the next.

    `placed` says whether it matters where in the track they lie, which not every table tells.
    """

    frames: int
    hop: int
    placed: bool = True


def column_rows(
    batches: Iterable[Batch],
    column: Column,
    *,
    joined: bool,
    keep: bool,
    fail: Fail,
    slices: Slices | None = None,
) -> Rows:
    """Yield every row that has a value in `column`, as a part; feature columns go unless `keep`.

    With `joined`, consecutive rows of one track (same origin, recipe and file) are its parts and
    come as its first row: see `whole_tracks`. With `slices` a row's features are cut into parts; a
    tail shorter than one is dropped, as of audio.
    """
    held: tuple[Batch, int, Parts] | None = None
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
            goes_on = joined and keys[row] == held_key
            if goes_on and held is None:
                continue  # a part of the track has failed
            if not goes_on and held is not None:
                yield held
                held = None
            held_key = keys[row]
            try:
                parts = [Part(None, None, arrays[row])]
                if slices is not None:
                    parts = _sliced(batch, row, column, slices)
                if held is None:
                    held = light, row, Parts(parts)
                else:
                    held[2].extend(parts)
            except RowError as error:
                report_row(fail, batch, row, error)
                held = None
    if held is not None:
        yield held


def _sliced(batch: Batch, row: int, column: Column, slices: Slices) -> list[Part]:
    """Return the segments of a row's features.

    Raises `RowError` where their places depend on a length or a recipe that cannot be read.
    """
    features = batch[column.name][row]
    firsts = range(0, features.shape[-1] - slices.frames + 1, slices.hop)
    pieces = [features[..., first : first + slices.frames] for first in firsts]
    if not slices.placed:
        return [Part(None, None, piece) for piece in pieces]
    settings = FeatureSettings.from_json(column.settings)
    numbers = {name: batch.get(name)[row] for name in ("length", "start", "duration")}
    numbers = {name: None if _null(value) else float(value) for name, value in numbers.items()}
    track = Track(
        path=None, audio=None, recipe=batch.get("recipe")[row] or "", folders=(), **numbers
    )
    recipe = track.effects()
    begin = track.start or 0.0
    if settings.excerpt_part[0] in ("centre", "range"):
        begin = parts_of(track, recipe, settings)[0][0] / recipe.stretch
    frame = settings.hop / settings.sample_rate / recipe.stretch
    return [
        Part(begin + first * frame, slices.frames * frame, piece)
        for first, piece in zip(firsts, pieces, strict=True)
    ]


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
    return excerpt.partition(":")[0] in SEGMENTED


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
        if "audio" in batch:  # whole files are held as long as their rows
            size += batch.nbytes // len(batch)
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

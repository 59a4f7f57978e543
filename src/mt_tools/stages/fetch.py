"""Finds tracks and labels: folders of audio, the made corpus, splits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mt_tools import splits
from mt_tools.engine.pool import cores, ordered
from mt_tools.errors import RunError, UsageError
from mt_tools.features.settings import PRESETS
from mt_tools.nets.registry import ARCHITECTURES, EMBEDDERS, WEIGHTS
from mt_tools.sound.info import AudioInfo, group_of, read_info
from mt_tools.sound.paths import path_to_text
from mt_tools.stages.frontend import (
    Fail,
    Track,
    fresh,
    gathered,
    make_folder,
    save,
    tracks_of,
    worked,
)
from mt_tools.stages.settings import SplitSettings, SynthSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column, reserved

if TYPE_CHECKING:
    from mt_tools.sound.synthesis import Piece

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


def folder(
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


SYNTH_COLUMNS = [
    reserved("id"),
    reserved("path"),
    reserved("length"),
    reserved("sample_rate"),
    reserved("channels"),
    reserved("group"),
    Column("style", "string"),
    Column("instruments", "strings"),
    Column("tempo", "number"),
    Column("energy", "number"),
    Column("key", "string"),
    Column("artist", "string"),
    Column("album", "string"),
    Column("title", "string"),
    Column("year", "integer"),
]


def make_piece(task: tuple[Piece, str, int]) -> float:
    """Render a piece, write it with its labels as embedded tags, return its length in seconds."""
    piece, file, rate = task
    from mt_tools.sound.synthesis import render

    wave = render(piece, rate)
    tags = {
        "title": piece.title,
        "artist": piece.artist,
        "album": piece.album,
        "genre": [piece.style],
        "year": piece.year,
        "bpm": piece.tempo,
        "key": piece.key,
        "energy": piece.energy,
        "instruments": list(piece.instruments),
    }
    save(file, wave, rate, tags)
    return wave.shape[1] / rate


def synth(settings: SynthSettings, jobs: int) -> Iterator[Batch]:
    """Yield the pieces of a made corpus as they are written."""
    make_folder(settings.out)
    from mt_tools.sound.synthesis import plan  # it costs half a second, which folder need not pay

    pieces = plan(settings.tracks, settings.seed, settings.seconds)
    tasks = [
        (
            piece,
            os.path.join(settings.out, f"{piece.id}.{settings.audio_format}"),
            settings.sample_rate,
        )
        for piece in pieces
    ]
    made: list[tuple[Piece, str, float]] = []
    for outcome in ordered(make_piece, tasks, cores() if jobs < 0 else jobs):
        if outcome.error is not None:
            raise RunError(f"cannot make {outcome.item[1]}: {outcome.error}")
        piece, file, _ = outcome.item
        made.append((piece, file, outcome.value or 0.0))
        if len(made) == 32:
            yield _piece_rows(made, settings.sample_rate)
            made = []
    if made:
        yield _piece_rows(made, settings.sample_rate)


def _piece_rows(made: Sequence[tuple[Piece, str, float]], rate: int) -> Batch:
    values: dict[str, Any] = {
        "id": [os.path.basename(file) for _, file, _ in made],
        "path": [path_to_text(file) for _, file, _ in made],
        "length": [length for _, _, length in made],
        "sample_rate": [rate] * len(made),
        "channels": [2] * len(made),
        "group": [piece.artist for piece, _, _ in made],
    }
    for column in SYNTH_COLUMNS[len(values) :]:
        cells = [getattr(piece, column.name) for piece, _, _ in made]
        values[column.name] = [list(c) if isinstance(c, tuple) else c for c in cells]
    return Batch.build(SYNTH_COLUMNS, values)


def split(batches: Iterable[Batch], settings: SplitSettings) -> tuple[Batch, list[str]]:
    """Return the rows with a `split` or `fold` column, and a line a part with what it holds.

    Rows of one origin stay together whatever the method, unless copies are asked to be drawn apart.
    Raises `UsageError` where the draw is impossible, or the table has one already and `replace` is
    not said.
    """
    table = concatenate(list(batches))
    name = "fold" if settings.folds else "split"
    if name in table and not settings.replace:
        raise UsageError(f"the table has a column {name!r} already: draw it again with --replace")
    labels = None
    if "stratified" in settings.method:
        if not settings.by:
            raise UsageError(f"--method {settings.method} needs a label: --by COLUMN")
        table.require(settings.by)
        labels = table[settings.by]
        if labels.dtype != object:
            raise UsageError(f"--by {settings.by}: expected classes or tags, got numbers")
    elif settings.by:
        raise UsageError(f"--by {settings.by} has no effect with --method {settings.method}")
    groups = None
    if "grouped" in settings.method:
        if "group" not in table or all(g is None for g in table["group"]):
            raise UsageError(
                f"--method {settings.method} needs a `group` column with values; without one say "
                "--method random or stratified"
            )
        groups = table["group"]
        if settings.copies == "apart":
            raise UsageError(
                f"--copies apart has no effect with --method {settings.method}, which keeps the "
                "copies of a group together: say --method random or stratified"
            )
    origins = table.origins if settings.copies == "together" else table.ids
    if settings.folds:
        numbers = splits.folds(origins, settings.folds, groups, labels, seed=settings.seed)
        parts: np.ndarray = numbers.astype(np.float64)
    else:
        ratios = {"train": settings.train, "valid": settings.valid, "test": settings.test}
        parts = splits.draw(origins, groups, labels, ratios=ratios, seed=settings.seed)
    table = table.replace(reserved(name), parts)
    return table, list(_described(table, parts, name, labels))


def _described(
    table: Batch, parts: np.ndarray, name: str, labels: np.ndarray | None
) -> Iterator[str]:
    order = {"train": 0, "valid": 1, "test": 2}
    counts = splits.label_counts(labels, parts) if labels is not None else {}
    groups = table.get("group")
    for part in sorted(set(parts.tolist()), key=lambda p: (order.get(p, 0), p)):
        rows = np.flatnonzero(parts == part)
        text = f"{name} {part if isinstance(part, str) else int(part)}: {len(rows)} rows"
        known = {groups[row] for row in rows} - {None}
        if known:
            text += f", {len(known)} groups"
        if part in counts:
            text += "; " + ", ".join(f"{label} {n}" for label, n in counts[part].items())
        yield text


LIST_COLUMNS = [
    Column("id", "string", "reserved"),
    Column("kind", "string"),
    Column("here", "boolean"),
    Column("licence", "string"),
    Column("description", "string"),
]


def listing() -> Batch:
    """Return all that can be named: weights, embedders, networks, presets."""
    from mt_tools.nets.weights import cached_path  # loads torch, which no other part here needs

    rows: list[tuple[str, str, bool, str | None, str]] = []
    for name, w in WEIGHTS.items():
        rows.append((name, "weights", cached_path(name).is_file(), w.licence, w.description))
    rows += [(n, "embedder", True, None, e.description) for n, e in EMBEDDERS.items()]
    rows += [(n, "network", True, None, a.description) for n, a in ARCHITECTURES.items()]
    rows += [(n, "preset", True, None, p.source) for n, p in PRESETS.items()]
    names = [column.name for column in LIST_COLUMNS]
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return Batch.build(LIST_COLUMNS, columns)

"""The made corpus, and the list of all that has a name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from mt_tools.datasets.registry import DATASETS
from mt_tools.datasets.store import is_here
from mt_tools.engine.pool import cores, ordered
from mt_tools.errors import RunError
from mt_tools.features.presets import PRESETS
from mt_tools.nets.places import cached_path
from mt_tools.nets.registry import ARCHITECTURES, EMBEDDERS, WEIGHTS
from mt_tools.sound.paths import path_to_text
from mt_tools.stages.frontend import make_folder, save
from mt_tools.stages.settings import SynthSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved

if TYPE_CHECKING:
    from mt_tools.sound.sources import Sources
    from mt_tools.sound.synthesis import Piece

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
SOURCE_COLUMNS = [
    Column("tags", "strings"),
    Column("listeners", "strings"),
    Column("library_tags", "strings"),
    Column("lyrics", "strings"),
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
    from mt_tools.sound.sources import draw  # they cost half a second, which folder need not pay
    from mt_tools.sound.synthesis import plan

    pieces = plan(settings.tracks, settings.seed, settings.seconds)
    said = iter(draw(settings.tracks, settings.seed) if settings.sources else ())
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
            yield _piece_rows(made, settings.sample_rate, list(islice(said, 32)))
            made = []
    if made:
        yield _piece_rows(made, settings.sample_rate, list(said))


def _piece_rows(
    made: Sequence[tuple[Piece, str, float]], rate: int, said: Sequence[Sources]
) -> Batch:
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
    if not said:
        return Batch.build(SYNTH_COLUMNS, values)
    for column in SOURCE_COLUMNS:
        cells = [getattr(of_piece, column.name) for of_piece in said]
        values[column.name] = [None if cell is None else list(cell) for cell in cells]
    return Batch.build([*SYNTH_COLUMNS, *SOURCE_COLUMNS], values)


LIST_COLUMNS = [
    Column("id", "string", "reserved"),
    Column("kind", "string"),
    Column("here", "boolean"),
    Column("licence", "string"),
    Column("description", "string"),
]


def listing() -> Batch:
    """Return all that can be named: weights, embedders, networks, presets, data sets."""
    rows: list[tuple[str, str, bool, str | None, str]] = []
    for name, w in WEIGHTS.items():
        rows.append((name, "weights", cached_path(name).is_file(), w.licence, w.description))
    rows += [(n, "embedder", True, None, e.description) for n, e in EMBEDDERS.items()]
    rows += [(n, "network", True, None, a.description) for n, a in ARCHITECTURES.items()]
    rows += [(n, "preset", True, None, p.source) for n, p in PRESETS.items()]
    for name, data in DATASETS.items():
        rows.append((name, "dataset", is_here(data), data.licence, data.title))
    names = [column.name for column in LIST_COLUMNS]
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return Batch.build(LIST_COLUMNS, columns)

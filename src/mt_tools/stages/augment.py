"""More examples of the same track: recipes that are applied when the audio is decoded."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence

from mt_tools.errors import UsageError
from mt_tools.recipes import Recipe
from mt_tools.sound.decode import decode
from mt_tools.sound.paths import path_to_text
from mt_tools.stages.frontend import (
    Fail,
    Track,
    gathered,
    make_folder,
    save,
    tracks_of,
    worked,
)
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column, reserved

_STALE = {"audio", "length", "start", "duration", "sample_rate", "channels"}
_LONGEST = 200  # bytes; a file system takes 255, and a temporary name adds some


def recipes(pitch: Sequence[float], stretch: Sequence[float]) -> list[Recipe]:
    """Return a recipe for every combination of the values; the identity is left out."""
    combined = [
        Recipe(pitch=p, stretch=s) for s, p in itertools.product(stretch or (1.0,), pitch or (0.0,))
    ]
    return [recipe for recipe in combined if str(recipe)]


def run(
    batches: Iterable[Batch], copies: Sequence[Recipe], *, originals: bool, splits: Sequence[str]
) -> Iterator[Batch]:
    """Yield every track followed by its copies: ids get `#recipe`, the origin stays.

    Tracks of other splits than these get no copies: a test is taken on real tracks. Raises
    `UsageError` for rows that have a recipe already, or features instead of sound.
    """
    for batch in batches:
        if "path" not in batch and "audio" not in batch:
            batch.require("path")
        features = [c.name for c in batch.columns.values() if c.role in ("feature", "embedding")]
        if features:
            raise UsageError(
                f"the table holds {', '.join(features)} of the tracks as they are: augment tracks "
                "first, then compute features"
            )
        if any(batch.get("recipe")):
            raise UsageError("the rows have recipes already: augment the original tracks")
        split = batch.get("split")
        copied = [row for row in range(len(batch)) if split[row] is None or split[row] in splits]
        rows = [list(range(len(batch)))] * originals + [copied] * len(copies)
        pieces = [_copy(batch, None)] * originals
        pieces += [_copy(batch.take(copied), recipe) for recipe in copies]
        # A copy follows its track, so that a reader that keeps up needs no lookback.
        places = [(row, piece) for piece, taken in enumerate(rows) for row in taken]
        if places:
            order = sorted(range(len(places)), key=places.__getitem__)
            yield concatenate(pieces).take(order)


def _copy(batch: Batch, recipe: Recipe | None) -> Batch:
    """Return the tracks with a recipe, or as originals; both have the same columns."""
    origins = batch.get("origin") if recipe is None else batch.origins
    ids = [id_ if recipe is None else f"{id_}#{recipe}" for id_ in batch.ids]
    batch = batch.replace(reserved("id"), ids).replace(reserved("origin"), origins)
    return batch.replace(reserved("recipe"), [recipe and str(recipe)] * len(batch))


def render(
    batches: Iterable[Batch], folder: str, *, folders: Sequence[str], jobs: int, fail: Fail
) -> Iterator[Batch]:
    """Write every copy as a FLAC file; its row then has that file's path and no recipe.

    What was done is kept in a column `rendered`, so that a copy is known for one ever after.
    """
    make_folder(folder)

    def tasks_of(batch: Batch) -> list[tuple[Track, str]]:
        files = [os.path.join(folder, file_name(id_)) for id_ in batch.ids]
        return list(zip(tracks_of(batch, folders), files, strict=True))

    made = worked(batches, write_copy, tasks_of, jobs=jobs, fail=fail)
    for batch, files in gathered(made):
        written = [file and path_to_text(file) for file in files]
        paths = [new or old for new, old in zip(written, batch.get("path"), strict=True)]
        recipes = batch["recipe"]
        # What described the original file does not describe the copy.
        for name in _STALE & set(batch.names):
            kept = [None if new else v for new, v in zip(written, batch[name], strict=True)]
            batch = batch.replace(reserved(name), kept)
        batch = batch.replace(reserved("path"), paths)
        batch = batch.replace(reserved("recipe"), [None] * len(batch))
        yield batch.append(Column("rendered", "string", "reserved"), recipes)


def write_copy(task: tuple[Track, str]) -> str | None:
    """Decode a track with its recipe, write it and return where; runs in a worker.

    A track without a recipe is left as it is: None.
    """
    track, file = task
    if not track.recipe:
        return None
    wave, rate = decode(
        track.source(), start=track.start, duration=track.duration, recipe=track.effects()
    )
    save(file, wave, rate)
    return file


def file_name(id_: str) -> str:
    """Return a file name for an id: in no folder of its own, distinct for distinct ids."""
    name = id_.replace("%", "%25").replace("/", "%2F").replace("\n", "%0A")
    raw = name.encode()
    if len(raw) > _LONGEST:
        digest = hashlib.sha256(raw).hexdigest()[:16]
        name = f"{raw[: _LONGEST - 17].decode(errors='ignore')}~{digest}"
    return name + ".flac"

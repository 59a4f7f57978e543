"""Words of frames: dictionaries of features and of vectors, and how often each word occurs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import RunError, SettingsMismatch, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.words import (
    Dictionary,
    FrameSample,
    WordCounts,
    finite,
    fit_words,
    frames_of,
    nearest,
    sample_size,
)
from mt_tools.settings import differences
from mt_tools.stages.factors.fitting import Columns, Owner, Read, owners_in_parts
from mt_tools.stages.factors.settings import BofSettings, KmeansSettings
from mt_tools.stages.frontend import fresh, gathered, is_segmented, whole_tracks
from mt_tools.tables.atomic import atomic
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tables.fitted import KEY, FittedOn

# --- dictionaries --------------------------------------------------------------------------------


def words(
    batches: Iterable[Batch], columns: Columns, settings: KmeansSettings
) -> tuple[NDArray[np.float32], dict[str, Any], str]:
    """Return the dictionary [words, d] of a column's frames, what it is of, and a line about it.

    Frames are those of features, or single vectors. They are drawn from the train rows where the
    table has splits, from all rows where it has none or with `ignore_split`, in one pass and in
    constant memory. What it is of holds the rows they were drawn from, as `tables.fitted` says it.
    """
    column = frames_column(columns, settings.column)
    most = sample_size(settings.words, width_of(column))
    sample, split = FrameSample(most, settings.seed), False
    rows: list[tuple[str, str | None]] = []
    for batch in batches:
        arrays, parts = batch[column.name], batch.get("split")
        if settings.ignore_split:
            kept = np.ones(len(batch), dtype=bool)
        else:
            if not split and any(part is not None for part in parts):
                # What has no mark is of no part where others have one.
                sample, split, rows = FrameSample(most, settings.seed), True, []
            kept = np.array([part == "train" or not split for part in parts], dtype=bool)
        for row in np.flatnonzero(kept):
            frames = finite(frames_of(arrays[row]))
            if len(frames):
                sample.add(batch.ids[row], frames)
                rows.append((batch.origins[row], parts[row]))
    drawn = sample.frames()
    line = f"{settings.words} words from {len(drawn)} of {sample.seen} frames"
    centres = fit_words(drawn, settings.words, settings.seed)
    fitted_on = FittedOn.of(*zip(*rows, strict=True))
    return centres, described(column) | {KEY: fitted_on.to_json()}, line


def frames_column(columns: Columns, chosen: str) -> Column:
    """Return the column whose frames are meant: the chosen one, or the only one that has any."""
    known = [c for c in columns.values() if c.role in ("feature", "embedding")]
    found = [c for c in known if chosen in ("", c.name)]
    if len(found) != 1:
        names = ", ".join(c.name for c in known) or "none"
        raise UsageError(
            f"--column {chosen}: the input has the features and embeddings {names}"
            if chosen
            else f"the input has the features and embeddings {names}: "
            + ("choose one with --column" if known else "make some with mt-spec first")
        )
    return found[0]


def width_of(column: Column) -> int:
    """Return the numbers of one frame."""
    return math.prod(column.shape[:-1]) if len(column.shape) > 1 else column.shape[0]


def described(column: Column) -> dict[str, Any]:
    """Return what words of a column are of, as a model says of its input."""
    of: dict[str, Any] = {"kind": "embedding", "width": column.shape[0]}
    if column.role == "feature":
        of = {"kind": "feature", "shape": list(column.shape)}
    return of | {"settings": column.settings}


def check_fits(column: Column, of: Mapping[str, Any], name: str) -> None:
    """Raise `SettingsMismatch` for a column that words of something else do not fit.

    `of` is what `described` returned, `name` names the words. Each difference is spelled out.
    """
    expected = dict(of.get("settings") or {})
    got = column.settings
    again = f"compute the column again as {name} expects it, or fit the words again"
    if column.role != of["kind"]:
        raise SettingsMismatch(
            f"column {column.name!r} does not fit {name}: got {column.role}s, expected words of "
            f"{of['kind']}s; {again}"
        )
    if of["kind"] == "embedding":
        keys = ("digest", "pooling")
        differ = differences({k: got.get(k) for k in keys}, {k: expected.get(k) for k in keys})
        width = of["width"]
    else:
        if expected and not got:
            raise SettingsMismatch(
                f"column {column.name!r} does not say how it was made, and {name} has the words "
                "of features of its own settings only: say it with --assume PRESET"
            )
        if expected:
            differ = FeatureSettings.from_json(got).compatible(FeatureSettings.from_json(expected))
        else:
            differ = []
        shape = of["shape"]
        width = math.prod(shape[:-1]) if len(shape) > 1 else shape[0]
    if not differ and width_of(column) != width:
        differ = [f"width: got {width_of(column)}, expected {width}"]
    if differ:
        raise SettingsMismatch(
            f"column {column.name!r} does not fit {name}: {'; '.join(differ)}; {again}"
        )


def write_words(
    path: str,
    centres: NDArray[np.float32],
    of: Mapping[str, Any],
    steps: list[dict[str, Any]],
) -> None:
    """Write a dictionary, for `mt-factor bof` and `mt-embed --model bof:`; it appears whole."""
    with atomic(path) as file:
        file.write(Dictionary(centres, of).to_bytes(steps))


def read_words(path: str) -> Dictionary:
    """Read a dictionary.

    Raises `UsageError` where there is no such file, `BrokenTable` for one that is no dictionary.
    """
    if not path:
        raise UsageError("say which words: --words FILE.npz, a dictionary of mt-factor kmeans")
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError as error:
        raise UsageError(f"--words {path}: no such file; make it with mt-factor kmeans") from error
    except OSError as error:
        raise RunError(f"--words {path}: {error.strerror}") from error
    return Dictionary.from_bytes(content, f"--words {path}")


def recorded(known: Dictionary) -> dict[str, Any]:
    """Return what the provenance says of the rows that a dictionary was fitted on."""
    return {KEY: known.of[KEY]} if KEY in known.of else {}


# --- counts --------------------------------------------------------------------------------------


def needed(columns: Columns, settings: BofSettings) -> list[str]:
    """Return the columns that groups are counted by."""
    return [frames_column(columns, settings.column).name, "origin", "group", "split"]


def bof(
    read: Read, rows: Iterable[Batch], columns: Columns, settings: BofSettings, known: Dictionary
) -> Iterator[Batch]:
    """Yield the rows with how often each word of a dictionary is nearest to their frames.

    Per track, the segments of a track that follow each other (same origin, recipe and file) come as
    one row, that of the track; a copy with a recipe is counted by itself. Per group, rows stay, and
    each has the counts of all rows of its group in the same part of the split, so that no row says
    anything of rows of another part; `read` is read for that, else never. Features go, since they
    are many times as large. A row without features has no counts.
    """
    column = frames_column(columns, settings.column)
    check_fits(column, known.of, settings.words)
    said = {"method": "bof", "dictionary": known.digest, "per": settings.per}
    target = Column(settings.as_, "vector", "label", said, (len(known.centres),))
    rows = fresh(rows, settings.as_)
    if settings.per == "group":
        return _per_group(read, rows, column, target, known)
    cut = column.settings.get("excerpt", "")
    if is_segmented(str(cut)) and column.settings.get("pooling", "none") in ("", "none"):
        return _per_track(rows, column, target, known)
    return (_light(batch).append(target, _counted(batch[column.name], known)) for batch in rows)


def _light(batch: Batch, *more: str) -> Batch:
    """Return a batch without features, and roles of `more`."""
    gone = [c.name for c in batch.columns.values() if c.role in ("feature", *more)]
    return batch.without(gone)


def _counted(arrays: NDArray[np.float32], known: Dictionary) -> NDArray[np.float32]:
    """Return the counts of each row's frames [n, words]; NaN for a row that has none."""
    counts = np.full((len(arrays), len(known.centres)), np.nan, dtype=np.float32)
    for row, array in enumerate(arrays):
        frames = finite(frames_of(array))
        if len(frames):
            counts[row] = np.bincount(nearest(frames, known.centres), minlength=counts.shape[1])
    return counts


def _per_track(
    batches: Iterable[Batch], column: Column, target: Column, known: Dictionary
) -> Iterator[Batch]:
    """Yield a row a track, with the counts of its segments."""

    def tracks() -> Iterator[tuple[Batch, int, NDArray[np.float32]]]:
        held, held_key = None, None
        for batch in batches:
            light = _light(batch, "embedding")  # which are of single segments as well
            keys = zip(batch.origins, batch.get("recipe"), batch.get("path"), strict=True)
            counts = _counted(batch[column.name], known)
            for row, (key, mine) in enumerate(zip(keys, counts, strict=True)):
                if held is not None and key == held_key:
                    total = held[2]
                    total[:] = np.where(np.isnan(mine), total, mine + np.nan_to_num(total))
                    continue
                if held is not None:
                    yield held
                held, held_key = (light, row, mine.copy()), key
        if held is not None:
            yield held

    for batch, counts in gathered(tracks()):
        yield whole_tracks(batch).append(target, np.stack(counts))


def _per_group(
    read: Read, rows: Iterable[Batch], column: Column, target: Column, known: Dictionary
) -> Iterator[Batch]:
    """Return the rows, each with the counts of its group."""
    counts, number = WordCounts(len(known.centres)), dict[Owner, int]()
    for batch in read():
        for owner, array in zip(owners_in_parts(batch), batch[column.name], strict=True):
            frames = finite(frames_of(array))
            counts.add(number.setdefault(owner, len(number)), nearest(frames, known.centres))
    matrix = counts.matrix(len(number))

    def counted() -> Iterator[Batch]:
        for batch in rows:
            mine = matrix[[number[owner] for owner in owners_in_parts(batch)]].toarray()
            values = mine.astype(np.float32)
            values[~mine.any(axis=1)] = np.nan
            yield _light(batch).append(target, values)

    return counted()

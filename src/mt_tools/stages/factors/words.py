"""Words of frames: dictionaries of features and of vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.features.words import FRAMES_PER_WORD, FrameSample, fit_words
from mt_tools.stages.settings import WordsSettings
from mt_tools.tables.atomic import atomic
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tables.fitted import KEY, FittedOn


def words(
    batches: Iterable[Batch], columns: dict[str, Column], settings: WordsSettings
) -> tuple[np.ndarray, dict[str, Any], str]:
    """Return the dictionary [words, d] of a column's frames, what it is of, and a line about it.

    Frames are those of features, or single vectors. They are drawn from the train rows where the
    table has splits, from all rows where it has none or with `ignore_split`, in one pass and in
    constant memory. What it is of holds the rows they were drawn from, as `tables.fitted` says it.
    """
    column = _frames_column(columns, settings.column)
    most = settings.words * FRAMES_PER_WORD
    train, unmarked = FrameSample(most, settings.seed), FrameSample(most, settings.seed)
    rows: dict[bool, list[tuple[str, str | None]]] = {True: [], False: []}
    split = False
    for batch in batches:
        arrays, parts = batch[column.name], batch.get("split")
        for id_, origin, array, part in zip(batch.ids, batch.origins, arrays, parts, strict=True):
            marked = part is not None and not settings.ignore_split
            split = split or marked
            frames = array.reshape(-1, array.shape[-1]).T if array.ndim > 1 else array[None]
            if np.isfinite(frames).all() and (part == "train" or not marked):
                (train if marked else unmarked).add(id_, frames)
                rows[marked].append((origin, part))
    sample = train if split else unmarked
    frames = sample.frames()
    fitted_on = FittedOn.of(*zip(*rows[split], strict=True))
    of: dict[str, Any] = {"kind": "embedding", "width": column.shape[0]}
    if column.role == "feature":
        of = {"kind": "feature", "shape": list(column.shape)}
    line = f"{settings.words} words from {len(frames)} of {sample.seen} frames"
    return (
        fit_words(frames, settings.words, settings.seed),
        of | {"settings": column.settings, KEY: fitted_on.to_json()},
        line,
    )


def _frames_column(columns: dict[str, Column], chosen: str) -> Column:
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


def write_words(
    path: str, centres: np.ndarray, of: dict[str, Any], steps: list[dict[str, Any]]
) -> None:
    """Write a dictionary as NPZ: `centres`, and what they are of, for `mt-embed --model bof:`."""
    with atomic(path) as file:
        meta = {"input": of, "provenance": steps}
        np.savez(
            file,
            allow_pickle=False,
            centres=centres,
            __meta__=np.array(json.dumps(meta, sort_keys=True)),
        )

"""From features to vectors: what embed and tag do with a model before they differ.

A model trained on embeddings stands on the model that made them, its backbone; between the two
the segments of a track may be pooled. Networks run in this process, on segments of several tracks
at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from mt_tools.errors import RowError, SettingsMismatch, UsageError
from mt_tools.features.pooling import pool
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.model import Model
from mt_tools.stages.frontend import (
    Fail,
    Rows,
    column_rows,
    feature_rows,
    is_segmented,
    report_row,
    segments_of,
)
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

NO_POOLING = ("", "none")

Inputs = Iterator[tuple[Batch, int, np.ndarray]]
"""Tracks on their way: where each stands, and what a network takes of it, [parts, ...]."""


def input_column(columns: dict[str, Column], model: Model, chosen: str = "") -> Column | None:
    """Return the column that the model can start from, None where the tracks are to be decoded.

    Embeddings are taken by a model that was trained on the like, features by one whose settings
    they have. Raises `SettingsMismatch` for columns that do not fit, each difference spelled out.
    """
    if chosen and chosen not in columns:
        raise UsageError(f"no column {chosen!r} in the input: it has {', '.join(columns)}")
    if model.input_kind == "embedding" and (not chosen or columns[chosen].role == "embedding"):
        found = _embedding_column(columns, model, chosen)
        if found is not None:
            return found
    return _feature_column(columns, model, chosen)


def _embedding_column(columns: dict[str, Column], model: Model, chosen: str) -> Column | None:
    found = [c for c in columns.values() if c.role == "embedding" and chosen in ("", c.name)]
    expected = model.document["input"]["settings"]
    for column in found:
        same = all(column.settings.get(key) == expected.get(key) for key in ("digest", "pooling"))
        if same and column.shape == model.input_shape:
            return column
    elsewhere = {"path", "audio"} & columns.keys() or _features(columns)
    if not found or (model.backbone is not None and elsewhere and not chosen):
        return None
    raise SettingsMismatch(
        f"no embedding column of {expected.get('model', 'the kind')} "
        f"({', '.join(c.name for c in found)} in the input) as {model.name} was trained on: embed "
        "the tracks with the same model, or give the tracks themselves"
    )


def _feature_column(columns: dict[str, Column], model: Model, chosen: str) -> Column | None:
    features = [c for c in _features(columns) if chosen in ("", c.name)]
    if not features:
        if chosen:
            raise UsageError(
                f"column {chosen!r} ({columns[chosen].role}) holds nothing that {model.name} takes"
            )
        return None
    expected = model.front.document["input"]["settings"]
    named = [c for c in features if c.name == expected.get("kind")] or features
    if len(named) > 1:
        names = ", ".join(c.name for c in named)
        raise UsageError(f"the input has the features {names}: choose one with --column NAME")
    column = named[0]
    if not column.settings and not expected:
        return column  # neither knows: the shapes decide
    if not column.settings:
        raise SettingsMismatch(
            f"column {column.name!r} does not say how it was made, and {model.name} takes features "
            "of its own settings only: say it with --assume PRESET, or give the tracks"
        )
    differ = FeatureSettings.from_json(column.settings).compatible(model.feature_settings)
    if differ:
        raise SettingsMismatch(
            f"column {column.name!r} does not fit {model.name}: {'; '.join(differ)}; compute the "
            "features again with the model's settings, or give the tracks"
        )
    return column


def _features(columns: dict[str, Column]) -> list[Column]:
    return [column for column in columns.values() if column.role == "feature"]


def pooling_inside(model: Model) -> str:
    """Return how a model pools the segments of a track by itself: "" where it takes single ones."""
    while model.backbone is not None:
        how = str(model.document["input"]["settings"].get("pooling", ""))
        if how not in NO_POOLING:
            return how
        model = model.backbone
    return ""


def front_settings(model: Model, how: str = "", segment: float = 0.0) -> FeatureSettings:
    """Return the features to compute from audio: the model's, cut as the pooling needs.

    Without pooling the excerpt is the one that the model was trained on. With it, segments of
    `segment` seconds, or as long as that excerpt. Raises `UsageError` where no length is known, and
    for a model that pools by itself.
    """
    settings = model.feature_settings
    if model.backbone is not None:
        trained = model.document["input"]["settings"].get("excerpt") or settings.excerpt
        settings = _cut(settings, trained)
    if not (how or segment):
        return settings
    inside = pooling_inside(model)
    if inside:
        raise UsageError(
            f"{model.name} pools segments by {inside} itself: leave out --pool and --segment"
        )
    seconds = segment or settings.excerpt_seconds
    if seconds is None:
        raise UsageError(
            f"{model.name} takes tracks of any length: say how long a segment is, --segment S"
        )
    return _cut(settings, f"segment:{seconds:.10g}")


def _cut(settings: FeatureSettings, excerpt: str) -> FeatureSettings:
    """Return the settings with another excerpt; a number of frames belongs to the old one."""
    if excerpt == settings.excerpt:
        return settings
    return dataclasses.replace(settings, excerpt=excerpt, frames=0)


def model_inputs(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    model: Model,
    *,
    by_track: bool,
    how: str = "",
    segment: float = 0.0,
    chosen: str = "",
    keep: bool = False,
    batch_size: int,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
) -> tuple[Inputs, str, bool]:
    """Return what the model's own network takes of each row, the excerpt, and `joined`.

    A column that the model can start from is used; otherwise the tracks are decoded. With
    `by_track` the segments of a track stay together, without it each is a row. Where `joined`, rows
    of segments were put together, and come as the first of each track: see `whole_tracks`.
    """
    by_track = by_track or bool(pooling_inside(model))
    column = input_column(columns, model, chosen)
    if column is None:
        settings = front_settings(model, how, segment)
        rows = feature_rows(batches, settings, folders=folders, jobs=jobs, fail=fail)
        if is_segmented(settings.excerpt) and not by_track:
            rows = segments_of(rows)
        return network_inputs(rows, model, batch_size, fail), settings.excerpt, False
    if segment:
        raise UsageError(f"--segment has no effect on {column.name!r}, which is cut already")
    excerpt = str(column.settings.get("excerpt", ""))
    unpooled = column.settings.get("pooling", "none") in NO_POOLING
    joined = by_track and is_segmented(excerpt) and unpooled
    rows = column_rows(batches, column, joined=joined, keep=keep, fail=fail)
    started = _stacked(rows) if column.role == "embedding" else None
    return started or network_inputs(rows, model, batch_size, fail), excerpt, joined


def network_inputs(rows: Rows, model: Model, batch_size: int, fail: Fail) -> Inputs:
    """Yield what the model's own network takes of each track: its features or their embeddings.

    The backbone's vectors of a track are pooled as in training: [1, d], or [parts, d] unpooled.
    """
    backbone = model.backbone
    if backbone is None:
        yield from _stacked(rows)
        return
    how = str(model.document["input"]["settings"].get("pooling", ""))

    def network(x: np.ndarray) -> dict[str, np.ndarray]:
        return {"vectors": backbone.embed(x, batch_size, kind=backbone.input_kind)}

    inputs = network_inputs(rows, backbone, batch_size, fail)
    for batch, row, found in applied(inputs, network, batch_size, fail):
        vectors = found["vectors"]
        yield batch, row, vectors if how in NO_POOLING else pool(vectors, how)[None]


def _stacked(rows: Rows) -> Inputs:
    for batch, row, parts in rows:
        yield batch, row, np.stack([part.features for part in parts])


def applied(
    inputs: Inputs,
    network: Callable[[np.ndarray], dict[str, np.ndarray]],
    batch_size: int,
    fail: Fail,
) -> Iterator[tuple[Batch, int, dict[str, np.ndarray]]]:
    """Yield what a network gives for each track, by name; several tracks go through it together.

    A track for which it gives a number that is not finite is reported.
    """
    waiting: list[tuple[Batch, int, np.ndarray]] = []

    def flush() -> Iterator[tuple[Batch, int, dict[str, np.ndarray]]]:
        found = network(np.concatenate([parts for _, _, parts in waiting]))
        first = 0
        for batch, row, parts in waiting:
            mine = {name: values[first : first + len(parts)] for name, values in found.items()}
            first += len(parts)
            if all(np.isfinite(values).all() for values in mine.values()):
                yield batch, row, mine
            else:
                error = RowError("the network gave values that are not finite", "not-finite")
                report_row(fail, batch, row, error)
        waiting.clear()

    for batch, row, parts in inputs:
        if waiting and parts.shape[1:] != waiting[0][2].shape[1:]:
            yield from flush()  # tracks of unequal length cannot share a batch
        waiting.append((batch, row, parts))
        if sum(len(parts) for _, _, parts in waiting) >= batch_size:
            yield from flush()
    if waiting:
        yield from flush()

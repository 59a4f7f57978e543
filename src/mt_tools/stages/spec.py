"""Time-frequency features of tracks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.stages.frontend import (
    Fail,
    feature_rows,
    fresh,
    gathered,
    is_segmented,
    segments_of,
)
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column


def run(
    batches: Iterable[Batch],
    settings: FeatureSettings,
    *,
    name: str,
    half: bool,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
) -> Iterator[Batch]:
    """Yield the tracks with a feature column `name`; with segments, a row a segment.

    All rows have one shape: tracks of unequal length raise `UsageError` unless the settings take
    an excerpt.
    """
    if half and settings.scale == "power":
        raise UsageError("float16 overflows on power: use --scale log or dB, or --dtype float32")
    rows = feature_rows(fresh(batches, name), settings, folders=folders, jobs=jobs, fail=fail)
    if is_segmented(settings.excerpt):
        rows = segments_of(rows)
    shape: tuple[int, ...] | None = None
    for batch, features in gathered((batch, row, parts[0].features) for batch, row, parts in rows):
        for id_, array in zip(batch.ids, features, strict=True):
            shape = shape or array.shape
            if array.shape != shape:
                raise UsageError(
                    f"{id_} gives features of shape {list(array.shape)}, the tracks before it "
                    f"{list(shape)}: one shape a column; add --segment S, --first S or --centre S"
                )
        assert shape is not None
        kind = "vector" if len(shape) == 1 else "tensor"
        column = Column(name, kind, "feature", settings.to_json(), shape, half)
        yield batch.append(column, np.stack(features))

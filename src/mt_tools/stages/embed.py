"""One vector a track or segment, from tracks, from features or from other embeddings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.features.pooling import pool
from mt_tools.nets.model import Model
from mt_tools.stages.frontend import Fail, fresh, gathered, whole_tracks
from mt_tools.stages.networks import NO_POOLING, applied, model_inputs
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

_POOLS = re.compile(r"|none|mean|mean\+std|concat:[1-9]\d*")


def check_pool(how: str) -> str:
    """Return a way of pooling, or raise `UsageError` for one that does not exist."""
    if not _POOLS.fullmatch(how):
        raise UsageError(f"pooling {how!r}: expected mean, mean+std, concat:N or none")
    return how


def run(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    model: Model,
    *,
    how: str,
    segment: float,
    chosen: str,
    name: str,
    typed: str,
    keep: bool,
    batch_size: int,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
) -> Iterator[Batch]:
    """Yield the rows with their embeddings in a column `name`.

    Features in the table are used where they are what the model takes (or `chosen`); otherwise the
    tracks are decoded. Segments are pooled as `how` says to a row a track, or stay a row each. The
    column says which model made it (`typed`, and its digest), and how.
    """
    pooled = how not in NO_POOLING
    inputs, excerpt, joined = model_inputs(
        fresh(batches, name), columns, model, by_track=pooled, how=how, segment=segment,
        chosen=chosen, keep=keep, batch_size=batch_size, folders=folders, jobs=jobs, fail=fail,
    )  # fmt: skip
    described = {
        "model": typed, "digest": model.digest, "pooling": how or "none", "excerpt": excerpt,
    }  # fmt: skip

    def network(x: np.ndarray) -> dict[str, np.ndarray]:
        return {"vectors": model.embed(x, batch_size, kind=model.input_kind)}

    found = (
        (batch, row, pool(made["vectors"], how) if pooled else made["vectors"][0])
        for batch, row, made in applied(inputs, network, batch_size, fail)
    )
    for batch, vectors in gathered(found):
        if joined:
            batch = whole_tracks(batch)
        new = Column(name, "vector", "embedding", described, vectors[0].shape)
        yield batch.append(new, np.stack(vectors))

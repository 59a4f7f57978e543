"""Train, valid and test parts, or folds, drawn without leaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mt_tools import splits
from mt_tools.errors import UsageError
from mt_tools.stages.settings import SplitSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import reserved


def run(batches: Iterable[Batch], settings: SplitSettings) -> tuple[Batch, list[str]]:
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

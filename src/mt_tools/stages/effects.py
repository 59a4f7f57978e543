"""How runs were made, and what that does: a row an effect of the multilevel model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.evaluate.multilevel import Effect, effects, source_components
from mt_tools.evaluate.settings import CompareSettings
from mt_tools.stages.judging import Given
from mt_tools.stages.runs import chosen, has_metrics, metric_runs, run_names
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

EFFECT_COLUMNS = [
    Column("id", "string", "reserved"),
    Column("task", "string"),
    Column("kind", "string"),
    Column("name", "string"),
    Column("term", "string"),
    Column("value", "number"),
    Column("low", "number"),
    Column("high", "number"),
    Column("p", "number"),
    Column("n", "integer"),
]


def modelled(
    tables: Sequence[Given], design: Given, settings: CompareSettings
) -> tuple[Batch, list[str]]:
    """Fit the multilevel model to the main metric of all runs; return effects as rows, and notes.

    `design` has a row a run: `run`, `sources` and, if it varies, `strategy`. Raises `UsageError`
    for tables of predictions and for runs that the design lacks.
    """
    for given in tables:
        if not has_metrics(given):
            raise UsageError(f"{given.path}: --design takes metrics: mt-eval score or probe first")
    runs = metric_runs(tables)
    names = run_names(runs, len(tables))
    made = _design(design)
    lacking = [name for name in names if name not in made]
    if lacking:
        raise UsageError(
            f"--design {design.path}: no row for the run {', '.join(lacking[:5])}; it has "
            f"{', '.join(list(made)[:5])}"
        )
    every = [key for run in runs for key in run.entries]
    keys = [k for k in chosen(every, settings.task, settings.metric) if k.label is None]
    if len(settings.metric) > 1:
        raise UsageError(f"--metric {settings.metric[1]}: --design models one metric: say it once")
    lines = [
        (key.task, name, run.entries[key].value)
        for key in keys
        for name, run in zip(names, runs, strict=True)
        if key in run.entries and np.isfinite(run.entries[key].value)
    ]
    values = np.array([value for _, _, value in lines])
    sources = [made[name][0] for _, name, _ in lines]
    strategies = [made[name][1] for _, name, _ in lines]
    known = None not in strategies
    found = effects(
        values,
        [task for task, _, _ in lines],
        [len(row) for row in sources],
        [strategy or "" for strategy in strategies] if known else None,
    )
    rows: list[tuple[str | None, Effect, int]] = [(None, effect, len(lines)) for effect in found]
    notes = []
    for key in keys:
        at = [i for i, (task, _, _) in enumerate(lines) if task == key.task]
        try:
            parts = source_components(values[at], [sources[i] for i in at])
        except UsageError as error:
            notes.append(f"{key.task}: no components of sources: {error}")
            continue
        rows += [(key.task, effect, len(at)) for effect in parts]
    unused = len(made.keys() - set(names))
    if unused:
        notes.append(f"{unused} runs of the design have no metrics and are left out")
    metrics = ", ".join(dict.fromkeys(key.metric for key in keys))
    notes.append(
        f"{len(lines)} values of {metrics}: {len(names)} runs on {len(keys)} tasks; intercepts are "
        f"at {np.mean([len(row) for row in sources]):.3g} sources"
    )
    return _effect_rows(rows), notes


def _design(given: Given) -> dict[str, tuple[list[str], str | None]]:
    """Return the sources and the strategy of each run."""
    for name in ("run", "sources"):
        if name not in given.columns:
            raise UsageError(
                f"--design {given.path}: no column {name!r}; expected run, sources and, if it "
                f"varies, strategy; it has {', '.join(given.columns)}"
            )
    made: dict[str, tuple[list[str], str | None]] = {}
    for batch in given.batches:
        for row in batch.rows():
            sources = row["sources"]
            if sources is not None and not isinstance(sources, str | list):
                raise UsageError(
                    f"--design {given.path}: got {sources!r} as the sources of {row['run']}, "
                    "expected their names, as in bpm|tag"
                )
            listed = [sources] if isinstance(sources, str) else sources or []
            if row["run"] in made:
                raise UsageError(f"--design {given.path}: the run {row['run']} stands twice")
            strategy = row.get("strategy")
            made[str(row["run"])] = listed, None if strategy is None else str(strategy)
    return made


def _effect_rows(rows: Sequence[tuple[str | None, Effect, int]]) -> Batch:
    values: dict[str, list[Any]] = {column.name: [] for column in EFFECT_COLUMNS}
    for task, effect, n in rows:
        cells = effect._asdict() | {"task": task, "n": n}
        words = (task, effect.kind, effect.name, effect.term)
        cells["id"] = ".".join(word for word in words if word)
        for name, value in cells.items():
            values[name].append(value if value != "" else None)
    return Batch.build(EFFECT_COLUMNS, values)

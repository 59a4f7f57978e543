"""What learning sources and strategies do to runs: plain averages, spread, a multilevel model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mt_tools.errors import RunError, UsageError
from mt_tools.evaluate.averages import (
    WITH,
    WITHOUT,
    Line,
    Scored,
    averages,
    best_single,
    rank_correlation,
    singles,
    trends,
)
from mt_tools.evaluate.multilevel import Effect, effects, source_components
from mt_tools.evaluate.settings import CompareSettings
from mt_tools.metrics import LOWER_IS_BETTER
from mt_tools.stages.judging import Given
from mt_tools.stages.runs import Entry, Key, chosen, has_metrics, metric_runs, run_names
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

EFFECT_COLUMNS = [
    Column("id", "string", "reserved"),
    Column("task", "string"),
    Column("metric", "string"),
    Column("kind", "string"),
    Column("strategy", "string"),
    Column("name", "string"),
    Column("term", "string"),
    Column("number", "integer"),
    Column("sources", "strings"),
    Column("value", "number"),
    Column("low", "number"),
    Column("high", "number"),
    Column("sd", "number"),
    Column("p", "number"),
    Column("n", "integer"),
]
"""`number` is how many sources, `sources` which ones a run has, in rows of the kind `run`."""

Row = dict[str, Any]
Made = dict[str, tuple[list[str], str | None]]
"""The sources and the strategy of each run."""


def modelled(
    tables: Sequence[Given], design: Given, settings: CompareSettings
) -> tuple[Batch, list[str]]:
    """Return what the design does to the main metric of each task, or those asked for, and notes.

    First the multilevel model of all tasks, one of each metric asked for, and the components of
    sources within each task; then for each task and metric averages, the best runs, spread (see
    `evaluate.averages`), and every run. What cannot be modelled is a note, and averages come all
    the same. `design` has a row a run: `run`, `sources` and, if it varies, `strategy`. Raises
    `UsageError` for tables of predictions and for runs that the design lacks.
    """
    for given in tables:
        if not has_metrics(given):
            raise UsageError(f"{given.path}: --design takes metrics: mt-eval score or probe first")
    made = _design(design)
    found = _entries(tables, made, design.path)
    every = dict.fromkeys(key for own in found.values() for key in own)
    keys = [k for k in chosen(every, settings.task, settings.metric) if k.label is None]
    runs: dict[Key, list[Scored]] = {}
    for key in keys:
        runs[key] = [
            Scored(name, frozenset(made[name][0]), made[name][1], own[key].value)
            for name, own in found.items()
            if key in own and np.isfinite(own[key].value)
        ]
    runs = {key: own for key, own in runs.items() if own}
    if not runs:
        raise UsageError("no run has a value of what is compared: score the runs, or name a metric")
    rows: list[Row] = []
    notes: list[str] = []
    for metric in settings.metric or [""]:
        own = {key: scored for key, scored in runs.items() if metric in ("", key.metric)}
        rows += _model(own, several=len(settings.metric) > 1, notes=notes)
    components: dict[Key, dict[str, float]] = {}
    for key, scored in runs.items():
        parts = _components(key, scored, notes)
        components[key] = {effect.name: effect.value for effect in parts}
        several = sum(other.task == key.task for other in runs) > 1
        rows += [_effect(effect, key.task, key.metric, len(scored), several) for effect in parts]
    for key, scored in runs.items():
        rows += _averaged(key, scored, components[key], settings.seed)
    rows += _over_tasks(runs, rows)
    rows += [row for key, scored in runs.items() for row in _each(key, scored)]
    notes += _remarks(made, found, runs)
    values = {column.name: [row.get(column.name) for row in rows] for column in EFFECT_COLUMNS}
    return Batch.build(EFFECT_COLUMNS, values), list(dict.fromkeys(notes))


def _remarks(
    made: Made, found: Mapping[str, Mapping[Key, Entry]], runs: Mapping[Key, Sequence[Scored]]
) -> list[str]:
    """Return what a reader should know of all that was said."""
    notes = []
    unused = len(made.keys() - found.keys())
    if unused:
        notes.append(f"{unused} runs of the design have no metrics and are left out")
    leaks = {own[key].leak for own in found.values() for key in runs if key in own}
    notes += [f"leaks: {leak}" for leak in sorted(leaks) if "allowed" in leak]
    if any(len(own) > 1 for own in runs.values()):
        notes.append(
            "the best of each number are chosen on the values that are reported, and look better "
            "than they are"
        )
    metrics = ", ".join(dict.fromkeys(key.metric for key in runs))
    numbers = [len(run.sources) for own in runs.values() for run in own]
    notes.append(
        f"{len(numbers)} values of {metrics}: {len(found)} runs on "
        f"{len({key.task for key in runs})} tasks; intercepts are at {np.mean(numbers):.3g} sources"
    )
    return notes


# --- the model -----------------------------------------------------------------------------------


def _model(runs: Mapping[Key, Sequence[Scored]], several: bool, notes: list[str]) -> list[Row]:
    """Return the effects of the multilevel model of one metric a task, or say why there is none."""
    lines = [(key.task, run) for key, own in runs.items() for run in own]
    strategies = [run.strategy for _, run in lines]
    known = [name for name in strategies if name is not None]
    metrics = {key.metric for key in runs}
    metric = next(iter(metrics)) if len(metrics) == 1 else None
    try:
        found = effects(
            np.array([run.value for _, run in lines]),
            [task for task, _ in lines],
            [len(run.sources) for _, run in lines],
            known if len(known) == len(lines) else None,
        )
    except RunError as error:
        notes.append(f"no multilevel model{f' of {metric}' * several}: {error}")
        return []
    return [_effect(effect, None, metric, len(lines), several) for effect in found]


def _components(key: Key, runs: Sequence[Scored], notes: list[str]) -> list[Effect]:
    """Return the components of sources within a task, or say why there are none."""
    try:
        values = np.array([run.value for run in runs])
        return source_components(values, [sorted(run.sources) for run in runs])
    except UsageError as error:
        notes.append(f"{key.task}: no components of sources: {error}")
    except RunError as error:  # of all tasks the same: without statsmodels there are none
        notes.append(f"no components of sources: {error}")
    return []


def _effect(effect: Effect, task: str | None, metric: str | None, n: int, several: bool) -> Row:
    row = {name: value for name, value in effect._asdict().items() if value != ""}
    words = [task, metric if several else None, effect.kind, effect.name, effect.term]
    return row | {"id": ".".join(filter(None, words)), "task": task, "metric": metric, "n": n}


# --- averages ------------------------------------------------------------------------------------


def _lower(metric: str) -> bool:
    return metric.partition("@")[0] in LOWER_IS_BETTER


def _averaged(
    key: Key, runs: Sequence[Scored], components: Mapping[str, float], seed: int
) -> list[Row]:
    lower = _lower(key.metric)
    lines = averages(runs, lower, seed) + trends([runs])
    if components:
        value, n = rank_correlation(singles(runs), components, lower)
        lines.append(Line("rank", None, "single and component", value=value, n=n))
    return [_line(line, key.task, key.metric) for line in lines]


def _over_tasks(runs: Mapping[Key, Sequence[Scored]], rows: Sequence[Row]) -> list[Row]:
    """Return the trend of spread and the mean rank correlation over tasks, of each metric set."""
    if len({key.task for key in runs}) < 2:
        return []
    found = [_line(line, None, None) for line in trends(list(runs.values()))]
    ranks = [row["value"] for row in rows if row["kind"] == "rank" and row["value"] is not None]
    if ranks:
        line = Line("rank", None, "single and component", value=float(np.mean(ranks)), n=len(ranks))
        found.append(_line(line, None, None))
    return found


def _each(key: Key, runs: Sequence[Scored]) -> list[Row]:
    """Return every run, and whether it has the best single source of its task."""
    best = best_single(singles(runs), _lower(key.metric))
    rows = []
    for run in runs:
        has = WITH if best in run.sources else WITHOUT
        term = "" if best is None else f"{has} the best source"
        line = Line("run", run.strategy, run.run, term, len(run.sources), run.value)
        rows.append(_line(line, key.task, key.metric) | {"sources": sorted(run.sources)})
    return rows


def _line(line: Line, task: str | None, metric: str | None) -> Row:
    words = [task, metric, line.kind, line.strategy, line.name, line.term]
    words += ["" if line.number is None else str(line.number)]
    kept = {name: value for name, value in line._asdict().items() if value == value and value != ""}
    row = {"value": None} | kept
    return row | {"id": ".".join(filter(None, words)), "task": task, "metric": metric}


# --- what is given -------------------------------------------------------------------------------


def _entries(tables: Sequence[Given], made: Made, path: str) -> dict[str, dict[Key, Entry]]:
    """Return the metrics of each run of the design, of all tables that are called by its name.

    Tables of one name lie in several folders, one a data set. Where these share names of tasks,
    tasks are called after their folder too.
    """
    runs = metric_runs(tables)
    folders = {given.name: os.path.basename(os.path.dirname(given.path)) for given in tables}
    parts: list[tuple[str, str, Mapping[Key, Entry]]] = []
    lacking = []
    for name, run in zip(run_names(runs, len(tables)), runs, strict=True):
        stem = os.path.splitext(os.path.basename(name))[0]
        known = next((one for one in (name, stem) if one in made), None)
        if known is None:
            lacking.append(name)
        else:
            parts.append((known, folders[run.table], run.entries))
    if lacking:
        raise UsageError(
            f"--design {path}: no row for the run {', '.join(lacking[:5])}; it has "
            f"{', '.join(list(made)[:5])}"
        )
    shared = _twice((run, key) for run, _, entries in parts for key in entries) is not None
    found: dict[str, dict[Key, Entry]] = {}
    for name, folder, entries in parts:
        own = found.setdefault(name, {})
        for key, entry in entries.items():
            if shared and folder:
                key = key._replace(task=f"{folder}/{key.task}")
            if key in own:
                raise UsageError(
                    f"{key.task}.{key.metric} of the run {name} stands twice: give one table "
                    "of it, or put those of each data set into a folder of its own"
                )
            own[key] = entry
    return found


def _twice(things: Iterable[Any]) -> Any:
    """Return the first thing that comes again; None where none does."""
    seen = set()
    for thing in things:
        if thing in seen:
            return thing
        seen.add(thing)
    return None


def _design(given: Given) -> Made:
    """Return the sources and the strategy of each run."""
    for name in ("run", "sources"):
        if name not in given.columns:
            raise UsageError(
                f"--design {given.path}: no column {name!r}; expected run, sources and, if it "
                f"varies, strategy; it has {', '.join(given.columns)}"
            )
    made: Made = {}
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

"""Probes of embeddings; a row a number.

Option, else `fold`, else `split`, else ten drawn folds. Rows that the column `split` marks as test
are tested on where that split is probed, and are else left out, as are those it does not mark:
what is drawn, or a `fold`, never trains on them unless `--ignore-split`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mt_tools import splits
from mt_tools.errors import UsageError
from mt_tools.evaluate.checkpoint import Checkpoint
from mt_tools.evaluate.leaks import check
from mt_tools.evaluate.probe import Probing, prepare, run
from mt_tools.evaluate.probe_results import Outcome, ProbeResult, outcome_of
from mt_tools.evaluate.settings import ProbeSettings, ProbeTaskSettings
from mt_tools.stages.judging import (
    KINDS,
    check_labels,
    embeddings_of,
    label_of,
    leak_line,
    metric_rows,
    table_of,
)
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

Bar = Callable[[int | None, str], AbstractContextManager[Callable[..., object]]]
PARTS = ("train", "valid", "test")


def probed(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    asked: ProbeTaskSettings,
    settings: ProbeSettings,
    jobs: int,
    *,
    bar: Bar = lambda total, unit: nullcontext(lambda count=1: None),
    checkpoint: Checkpoint | None = None,
) -> tuple[Batch, list[str]]:
    """Probe every embedding for every task; return metric rows and notes.

    The splits of all of them are tested side by side in `jobs` threads. `checkpoint` keeps those
    that are done, and has those that a run before this one has done.
    """
    named, vectors = _columns(columns, asked)
    wanted = ["id", "origin", "group", "split", "fold", *vectors, *(name for name, _ in named)]
    table = table_of(batches, wanted)
    for name, kind in named:
        check_labels(name, kind, columns[name], table[name])
    checkpoint = Checkpoint() if checkpoint is None else checkpoint
    own = _parted(table.without(vectors), asked, settings)
    probings: list[tuple[str, str, Probing, str]] = []
    for vector in vectors:
        x = table[vector]
        for name, kind in named:
            probing = prepare(
                x, table[name], kind, table.get("group"), table.origins, settings,
                pool=own.pool, pairs=own.pairs, valid=own.valid, given=own.name, task=name,
            )  # fmt: skip
            probings.append((vector, name, probing, _leaks(table, vector, x, probing, own)))

    outcomes, notes = _outcomes([probing for _, _, probing, _ in probings], jobs, bar, checkpoint)
    rows: list[dict[str, Any]] = []
    notes += own.notes
    for (vector, name, probing, leak), found in zip(probings, outcomes, strict=True):
        result = probing.result(found)
        common = {"task": name, "column": vector, "protocol": result.protocol, "leak": leak}
        rows += [common | row for row in _rows(result, asked.each)]
        about = f"{name} from {vector}" if len(vectors) > 1 else name
        for note in result.notes:
            notes.append(f"{about if note.startswith('chosen') else name}: {note}")
        for left, why in ((result.unlabelled, "no label"), (result.unusable, "no vector")):
            if left:
                notes.append(f"{name}: {left} rows have {why} and are left out")
    return metric_rows(rows), list(dict.fromkeys(notes))


def _columns(
    columns: dict[str, Column], asked: ProbeTaskSettings
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the labels with their kinds, and the columns of vectors, that were asked for."""
    if not asked.task:
        labels = [c.name for c in columns.values() if c.role == "label" and c.kind in KINDS]
        raise UsageError(f"no --task: say which label to predict, one of {', '.join(labels)}")
    named = [label_of(text, columns) for text in asked.task]
    return named, embeddings_of(columns, asked.column)


# --- the table's own splits ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Parted:
    """What a table says of its splits.

    `pool`: rows to draw from; `pairs` of train and test rows that it gives itself, None where they
    are to be drawn, by the column `name`; `valid` rows to search by; `leak` of the given ones.
    """

    pool: np.ndarray
    name: str = "split"
    pairs: list[tuple[np.ndarray, np.ndarray]] | None = None
    valid: np.ndarray | None = None
    leak: str = ""
    notes: list[str] = field(default_factory=list)


def _parted(table: Batch, asked: ProbeTaskSettings, settings: ProbeSettings) -> _Parted:
    """Say which rows may be used, and in which parts; raises `UsageError` for a leaking split."""
    part = table.get("split")
    unknown = sorted({str(value) for value in part if value not in (*PARTS, None)})
    if unknown and not asked.ignore_split:
        raise UsageError(
            f"column 'split' has {', '.join(map(repr, unknown))}: expected train, valid, test or "
            "null; or say --ignore-split"
        )
    every = np.arange(len(table))
    if asked.ignore_split or all(value is None for value in part):
        pool, notes = every, []
    else:
        pool = np.flatnonzero((part == "train") | (part == "valid"))
        left_out = int((part == None).sum())  # noqa: E711 - element by element
        notes = [f"{left_out} rows have no split and are left out"] * bool(left_out)
    train, valid, test = (np.flatnonzero(part == name) for name in PARTS)

    drawn = bool(settings.repeats or settings.folds)
    fold = table["fold"].astype(np.float64) if "fold" in table else np.full(len(table), np.nan)
    fold[np.setdiff1d(every, pool)] = np.nan
    by_fold = not drawn and len(np.unique(fold[fold >= 0])) > 1
    by_split = not drawn and not by_fold and not asked.ignore_split and len(test) > 0
    if by_split:
        return _by_split(table, train, valid, test, asked, settings, notes)
    if len(test) and not asked.ignore_split:
        notes.append(
            f"{len(test)} rows are marked as test and are left out: --ignore-split uses them too"
        )
    if not len(pool):
        raise UsageError("no train rows: mark some with split = train, or say --ignore-split")
    if not by_fold:
        return _Parted(pool, notes=notes)
    left_out = int((~(fold[pool] >= 0)).sum())
    notes += [f"{left_out} rows have no fold and are left out"] * bool(left_out)
    leak = leak_line(table.take(pool), "fold", asked.allow_leak)
    return _Parted(pool, "fold", list(splits.fold_pairs(fold)), None, leak, notes)


def _by_split(
    table: Batch,
    train: np.ndarray,
    valid: np.ndarray,
    test: np.ndarray,
    asked: ProbeTaskSettings,
    settings: ProbeSettings,
    notes: list[str],
) -> _Parted:
    """Train on what the table marks as train, and test on what it marks as test."""
    if not len(train):
        raise UsageError("no train rows: mark some with split = train, or say --ignore-split")
    leak = leak_line(table, "split", asked.allow_leak)
    searched = len(valid) > 0 and bool(settings.search or settings.grid)
    if len(valid) and not searched:
        notes = [*notes, f"{len(valid)} valid rows are left out: only --search uses them"]
    pool = np.sort(np.concatenate([train, test, *[valid] * searched]))
    return _Parted(
        pool, "split", [(train, test)], valid if searched else None, leak, notes
    )  # fmt: skip


def _leaks(table: Batch, vector: str, x: np.ndarray, probing: Probing, own: _Parted) -> str:
    """Return what every line of a probe says of leaks."""
    rows = probing.known.rows
    ids = table.ids[rows]
    risks: list[str] = []
    if own.pairs is not None:
        part = table[own.name][rows]
        same = check(ids=ids, parts={own.name: part}, features={vector: x[rows]})
        line = own.leak
    else:
        # What is drawn never separates these.
        groups = table.get("group")[rows] if probing.plan.grouped else None
        units = splits.units(table.origins[rows], groups)
        same = check(ids=ids, origins=units, features={vector: x[rows]})
        whole = "origin and group, which stay" if probing.plan.grouped else "origin, which stays"
        line = f"none found by {whole} whole"
        if not probing.plan.grouped:
            risks.append("artists may stand on both sides")
    risks += [f.message.partition(":")[0] for f in same if f.kind == "identical-rows"]
    if not risks:
        return line
    said = f"possible: {', '.join(risks)}"
    return f"{said}; {line}" if line.startswith("none found") else f"{line}; {said}"


# --- the work, and the rows ----------------------------------------------------------------------


def _outcomes(
    probings: Sequence[Probing], jobs: int, bar: Bar, checkpoint: Checkpoint
) -> tuple[list[list[Outcome]], list[str]]:
    """Test all splits that are not in the checkpoint; return the outcomes of each probing."""
    keys = {id(probing): probing.key() if checkpoint.path else "" for probing in probings}
    found: dict[tuple[int, int], Outcome] = {}
    units = []
    for probing in probings:
        for split in range(len(probing)):
            kept = checkpoint.find(keys[id(probing)], split)
            if kept is None:
                units.append((probing, split))
            else:
                found[id(probing), split] = outcome_of(kept)
    notes = [f"resumed: {len(found)} of {len(found) + len(units)} splits were done"] * bool(found)
    with bar(len(units), "split") as advance:

        def done(probing: Probing, split: int, outcome: Outcome) -> None:
            found[id(probing), split] = outcome
            checkpoint.add(keys[id(probing)], split, outcome.plain())
            advance(1)

        run(units, jobs, done)
    return [[found[id(p), split] for split in range(len(p))] for p in probings], notes


def _rows(result: ProbeResult, each: bool) -> Iterator[dict[str, Any]]:
    """Yield the metrics of a probe: over all splits and, where asked for, of each."""
    for metric, found in result.metrics.items():
        chosen = result.choices.get(_few(metric))
        yield {
            "metric": metric, "value": found.value, "low": found.low, "high": found.high,
            "sd": found.sd, "n": result.n, "note": _note(chosen, found.reason),
        }  # fmt: skip
    for metric, found in result.metrics.items() if each else ():
        for repeat, value in enumerate(found.values):
            chosen = result.chosen[repeat].get(_few(metric))
            yield {
                "metric": metric, "repeat": repeat, "value": value, "n": result.tested[repeat],
                "note": _note(chosen, found.reasons[repeat]),
            }  # fmt: skip


def _few(metric: str) -> str:
    """Return the number of examples in the name of a metric: `@5` of `accuracy@5`, else empty."""
    return "".join(metric.partition("@")[1:])


def _note(chosen: str | None, reason: str) -> str | None:
    return "; ".join([*[f"chosen: {chosen}"] * bool(chosen), *[reason] * bool(reason)]) or None

"""What stages begin with that fit and test split by split: a table's own splits, and the work.

Option, else `fold`, else `split`, else ten drawn folds. Rows that the column `split` marks as test
are tested on where that split is used, and are else left out, as are those it does not mark:
what is drawn, or a `fold`, never trains on them unless `--ignore-split`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mt_tools import splits
from mt_tools.errors import UsageError
from mt_tools.evaluate.checkpoint import Checkpoint
from mt_tools.evaluate.leaks import check
from mt_tools.evaluate.probe import Splitwise, run
from mt_tools.evaluate.probe_results import Outcome, ProbeResult, outcome_of
from mt_tools.stages.judging import leak_line
from mt_tools.tables.batch import Batch

Bar = Callable[[int | None, str], AbstractContextManager[Callable[..., object]]]
PARTS = ("train", "valid", "test")


def no_bar(total: int | None, unit: str) -> AbstractContextManager[Callable[..., object]]:
    """Show no progress."""
    return nullcontext(lambda count=1: None)


# --- the table's own splits ----------------------------------------------------------------------


@dataclass(frozen=True)
class Parted:
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


def parted(
    table: Batch,
    *,
    drawn: bool,
    ignore_split: bool,
    allow_leak: bool,
    searched: bool | None = None,
) -> Parted:
    """Say which rows may be used, and in which parts; raises `UsageError` for a leaking split.

    `drawn`: splits are asked for that the table does not give; `searched`: whether constants are
    searched by the valid rows, None where there are none to search.
    """
    part = table.get("split")
    unknown = sorted({str(value) for value in part if value not in (*PARTS, None)})
    if unknown and not ignore_split:
        raise UsageError(
            f"column 'split' has {', '.join(map(repr, unknown))}: expected train, valid, test or "
            "null; or say --ignore-split"
        )
    every = np.arange(len(table))
    if ignore_split or all(value is None for value in part):
        pool, notes = every, []
    else:
        pool = np.flatnonzero((part == "train") | (part == "valid"))
        left_out = int((part == None).sum())  # noqa: E711 - element by element
        notes = [f"{left_out} rows have no split and are left out"] * bool(left_out)
    train, valid, test = (np.flatnonzero(part == name) for name in PARTS)

    fold = table["fold"].astype(np.float64) if "fold" in table else np.full(len(table), np.nan)
    fold[np.setdiff1d(every, pool)] = np.nan
    by_fold = not drawn and len(np.unique(fold[fold >= 0])) > 1
    by_split = not drawn and not by_fold and not ignore_split and len(test) > 0
    if by_split:
        return _by_split(table, train, valid, test, allow_leak, searched, notes)
    if len(test) and not ignore_split:
        notes.append(
            f"{len(test)} rows are marked as test and are left out: --ignore-split uses them too"
        )
    if not len(pool):
        raise UsageError("no train rows: mark some with split = train, or say --ignore-split")
    if not by_fold:
        return Parted(pool, notes=notes)
    left_out = int((~(fold[pool] >= 0)).sum())
    notes += [f"{left_out} rows have no fold and are left out"] * bool(left_out)
    leak = leak_line(table.take(pool), "fold", allow_leak)
    return Parted(pool, "fold", list(splits.fold_pairs(fold)), None, leak, notes)


def _by_split(
    table: Batch,
    train: np.ndarray,
    valid: np.ndarray,
    test: np.ndarray,
    allow_leak: bool,
    searched: bool | None,
    notes: list[str],
) -> Parted:
    """Train on what the table marks as train, and test on what it marks as test."""
    if not len(train):
        raise UsageError("no train rows: mark some with split = train, or say --ignore-split")
    leak = leak_line(table, "split", allow_leak)
    by_valid = len(valid) > 0 and bool(searched)
    if len(valid) and not by_valid:
        why = "" if searched is None else ": only --search uses them"
        notes = [*notes, f"{len(valid)} valid rows are left out{why}"]
    pool = np.sort(np.concatenate([train, test, *[valid] * by_valid]))
    return Parted(
        pool, "split", [(train, test)], valid if by_valid else None, leak, notes
    )  # fmt: skip


def leaks_of(
    own: Parted,
    name: str,
    vectors: np.ndarray,
    part: np.ndarray | None,
    *,
    ids: np.ndarray,
    origins: np.ndarray,
    groups: np.ndarray | None,
) -> str:
    """Return what every line of a result says of leaks.

    `vectors` [n, d] are those of the column `name`; `part` [n] the table's own, None where splits
    are drawn; `groups` [n] those that a draw keeps whole, None where it does not.
    """
    risks: list[str] = []
    if part is not None:
        same = check(ids=ids, parts={own.name: part}, features={name: vectors})
        line = own.leak
    else:
        # What is drawn never separates these.
        units = splits.units(origins, groups)
        same = check(ids=ids, origins=units, features={name: vectors})
        whole = "origin, which stays" if groups is None else "origin and group, which stay"
        line = f"none found by {whole} whole"
        if groups is None:
            risks.append("artists may stand on both sides")
    risks += [f.message.partition(":")[0] for f in same if f.kind == "identical-rows"]
    if not risks:
        return line
    said = f"possible: {', '.join(risks)}"
    return f"{said}; {line}" if line.startswith("none found") else f"{line}; {said}"


# --- the work, and the rows ----------------------------------------------------------------------


def outcomes_of(
    probings: Sequence[Splitwise], jobs: int, bar: Bar, checkpoint: Checkpoint
) -> tuple[list[list[Outcome]], list[str]]:
    """Test all splits that are not in the checkpoint; return the outcomes of each, and notes."""
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

        def done(probing: Splitwise, split: int, outcome: Outcome) -> None:
            found[id(probing), split] = outcome
            checkpoint.add(keys[id(probing)], split, outcome.plain())
            advance(1)

        run(units, jobs, done)
    return [[found[id(p), split] for split in range(len(p))] for p in probings], notes


def rows_of(result: ProbeResult, each: bool) -> Iterator[dict[str, Any]]:
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

"""The runs of an experiment as a table: a row a run, with its sources and its strategy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.evaluate.confounding import Confounding, Levels, Sets, confounding, described
from mt_tools.evaluate.design import (
    Strategy,
    beside,
    check_run,
    check_source,
    fraction,
    full,
    parse_strategy,
    run_name,
    with_all,
)
from mt_tools.evaluate.settings import DesignSettings
from mt_tools.stages.judging import Given
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved

RUN_COLUMNS = [
    reserved("id"),
    Column("run", "string"),
    Column("sources", "strings"),
    Column("strategy", "string"),
]
CONFOUNDING_COLUMNS = [
    reserved("id"),
    Column("kind", "string"),
    Column("effect", "string"),
    Column("other", "string"),
    Column("value", "number"),
]


@dataclass(frozen=True)
class Designed:
    """The runs, what they can tell apart as a table, and notes."""

    runs: Batch
    confounding: Batch
    notes: list[str]


def check_design(settings: DesignSettings) -> None:
    """Raise `UsageError` unless the settings say one way to make a design."""
    ways = {"--runs": settings.runs > 0, "--full": settings.full, "--own": bool(settings.own)}
    said = [name for name, given in ways.items() if given]
    if len(said) > 1:
        raise UsageError(
            f"{' and '.join(said)} contradict each other: say --runs N for a fraction, --full for "
            "all runs, or --own FILE for yours"
        )
    if settings.add_full and not settings.runs:
        raise UsageError("--add-full goes with --runs N: all runs, or your own, have them or not")
    if not settings.own and not settings.source:
        raise UsageError("--source (missing): name what runs learn from, once for each source")
    for option, names in (
        ("--source", settings.source),
        (
            "--strategy",
            [parse_strategy(text).name for text in (*settings.strategy, *settings.also)],
        ),
    ):
        for name in names:
            if list(names).count(name) > 1:
                raise UsageError(f"{option} {name} stands twice: say it once")


def designed(settings: DesignSettings, own: Given | None = None) -> Designed:
    """Return the runs that the settings ask for, or those of the table `own`, checked and named.

    Raises `UsageError` for settings and runs that contradict each other.
    """
    check_design(settings)
    sources = [check_source(name) for name in settings.source]
    strategies = [parse_strategy(text) for text in settings.strategy]
    if own is not None:
        return _of_own(own, sources, strategies, settings)
    strategies = strategies or [Strategy("")]
    whole = full(len(sources), strategies)
    sets, levels = whole
    if settings.runs:
        fixed = with_all(len(sources), strategies) if settings.add_full else None
        sets, levels = fraction(len(sources), strategies, settings.runs, settings.seed, fixed)
    return _named(sets, levels, sources, strategies, settings.also, possible=len(whole[0]))


def _named(
    sets: Sets,
    levels: Levels,
    sources: Sequence[str],
    strategies: Sequence[Strategy],
    also: Sequence[str],
    *,
    possible: int = 0,
    names: Sequence[str | None] | None = None,
) -> Designed:
    """Return runs with their names, and those of further strategies after them."""
    found = confounding(sets, levels, sources, [one.name for one in strategies])
    rows = [(strategies[level].name, _sources(sets[i], sources)) for i, level in enumerate(levels)]
    given = list(names or [None] * len(rows))
    notes = [described(found, possible)]
    for text in also:
        strategy = parse_strategy(text)
        more = beside(sets, strategy)
        rows += [(strategy.name, _sources(row, sources)) for row in more]
        given += [None] * len(more)
        notes.append(f"beside them {len(more)} runs of {strategy.name}, which takes "
                     f"{strategy.described}")  # fmt: skip
    called = [
        name or run_name(own, strategy) for name, (strategy, own) in zip(given, rows, strict=True)
    ]
    for name, times in Counter(called).items():
        if times > 1:
            raise UsageError(f"two runs would be called {name}: rename a source or a strategy")
    values: dict[str, list[Any]] = {
        "id": called,
        "run": called,
        "sources": [own for _, own in rows],
        "strategy": [strategy or None for strategy, _ in rows],
    }
    return Designed(Batch.build(RUN_COLUMNS, values), _confounding_rows(found), notes)


def _sources(row: Any, names: Sequence[str]) -> list[str]:
    return [name for name, has in zip(names, row, strict=True) if has]


def _confounding_rows(found: Confounding) -> Batch:
    """Return correlations and aliases as rows, what is mixed up most first within each kind."""
    rows = []
    for kind, pairs in (("correlation", found.correlations), ("alias", found.aliases)):
        ordered = sorted(
            pairs, key=lambda pair: -abs(pair.value) if pair.value == pair.value else 0
        )
        rows += [
            (f"{kind}.{p.effect}.{p.other}", kind, p.effect, p.other, p.value) for p in ordered
        ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(CONFOUNDING_COLUMNS)
    values = {c.name: list(cells) for c, cells in zip(CONFOUNDING_COLUMNS, columns, strict=True)}
    return Batch.build(CONFOUNDING_COLUMNS, values)


# --- a list of one's own -------------------------------------------------------------------------


def _of_own(
    own: Given, sources: list[str], strategies: list[Strategy], settings: DesignSettings
) -> Designed:
    """Return the runs of a table; those that it does not name get the names of all designs."""
    if "sources" not in own.columns:
        raise UsageError(
            f"--own {own.path}: no column 'sources'; expected sources and, if it varies, strategy; "
            f"it has {', '.join(own.columns)}"
        )
    rows = [row for batch in own.batches for row in batch.rows()]
    if not rows:
        raise UsageError(f"--own {own.path} has no rows: list a run in each")
    listed = []
    seen: dict[tuple[str, tuple[str, ...]], int] = {}
    for number, row in enumerate(rows, 1):
        listed.append(_own_run(row, f"--own {own.path}, row {number}", sources, strategies))
        strategy, names = listed[-1]
        first = seen.setdefault((strategy, tuple(sorted(names))), number)
        if first != number:
            raise UsageError(
                f"--own {own.path}, row {number}: {run_name(names, strategy)} is row {first} too: "
                "leave one of them out"
            )
    known = sources or sorted({name for _, names in listed for name in names})
    used = strategies or [Strategy(name) for name in dict.fromkeys(name for name, _ in listed)]
    place = {strategy.name: i for i, strategy in enumerate(used)}
    sets = np.array([[name in names for name in known] for _, names in listed], bool)
    levels = np.array([place[strategy] for strategy, _ in listed], np.int64)
    called = [None if row.get("run") is None else check_run(str(row["run"])) for row in rows]
    return _named(sets, levels, known, used, settings.also, names=called)


def _own_run(
    row: dict[str, Any], where: str, sources: list[str], strategies: list[Strategy]
) -> tuple[str, list[str]]:
    """Return strategy and sources of a row of a list."""
    listed, strategy = row["sources"], row.get("strategy")
    names = [listed] if isinstance(listed, str) else listed
    if not isinstance(names, list) or not names:
        raise UsageError(f"{where}: got {listed!r} as sources, expected their names, as in bpm|tag")
    for name in names:
        check_source(name)
        if sources and name not in sources:
            raise UsageError(f"{where}: {name} is no --source; those are {', '.join(sources)}")
        if names.count(name) > 1:
            raise UsageError(f"{where}: {name} stands twice")
    name = "" if strategy is None else str(strategy)
    if not strategies:
        return parse_strategy(name).name if name else "", names
    known = {one.name: one for one in strategies}
    if name not in known:
        raise UsageError(f"{where}: {name or 'no strategy'} is no --strategy; those are "
                         f"{', '.join(known)}")  # fmt: skip
    if not known[name].takes(len(names)):
        raise UsageError(
            f"{where}: {name} takes {known[name].described}, and this run has {len(names)}"
        )
    return name, names

"""On which rows a probe is fitted, and on which it is tested.

Goal: the splits of one label, drawn or given, with what every number must say of them; few examples
out of a train part, for curves of accuracy against labels; the folds inside it, for a search.

Conventions: rows are row numbers of the whole table. All that is drawn depends on the seed and the
names of origins and groups, never on the order of the rows. A plan's digest is that of the origins
tested in each split: tables of the same tracks that were split alike have the same, whatever their
vectors are, and their values can be compared in pairs.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools import splits
from mt_tools.errors import UsageError
from mt_tools.evaluate.score import present
from mt_tools.evaluate.settings import ProbeSettings, RecommendSettings

Array = NDArray[Any]
Rows = NDArray[np.int64]
Pair = tuple[Rows, Rows]

DEFAULT_FOLDS = 10
INNER_FOLDS = 5
UNGROUPED = (
    "ungrouped: one artist may stand in train and test, which flatters the embedding; "
    "give a group column for an honest split"
)


@dataclass(frozen=True)
class Labelled:
    """The rows that a label can be probed on, and what is known of them.

    `rows` are numbers of rows of the table; the others are of these rows: `names` to stratify by
    (None for numbers), `groups` (None where none is known) and `origins`.
    """

    rows: Rows
    names: Array | None
    groups: Array | None
    origins: Array

    def at(self, chosen: Rows) -> Labelled:
        """Return some of them, by their numbers in the table."""
        place = np.searchsorted(self.rows, chosen)
        return Labelled(
            chosen,
            None if self.names is None else self.names[place],
            None if self.groups is None else self.groups[place],
            self.origins[place],
        )


@dataclass(frozen=True)
class Plan:
    """The splits of one label.

    `pairs` of train and test rows; `valid` rows to search on, where they are given; `test_share`
    of the rows of a split; `grouped` where no group stands on both sides; `protocol` for people,
    and `notes`.
    """

    pairs: list[Pair]
    test_share: float
    grouped: bool
    protocol: str
    notes: list[str] = field(default_factory=list)
    valid: Rows | None = None


def drawn(known: Labelled, settings: ProbeSettings | RecommendSettings) -> Plan:
    """Draw the splits that the settings ask for; ten folds where they ask for none."""
    if settings.repeats and settings.folds:
        raise UsageError(
            f"got --repeats {settings.repeats} and --folds {settings.folds}: give one of them"
        )
    has_groups = known.groups is not None and bool(present(known.groups).any())
    if settings.grouped == "yes" and not has_groups:
        raise UsageError("got --grouped yes but no row has a group: give a group column")
    grouped = has_groups and settings.grouped != "no"
    groups = known.groups if grouped else None
    how = ["stratified"] * (known.names is not None) + ["grouped"] * grouped
    notes = [] if grouped else [UNGROUPED]

    if settings.repeats:
        found = splits.repeats(
            known.origins, settings.repeats, settings.test, groups, known.names, seed=settings.seed
        )
        said = f"{settings.repeats} repeats of {settings.test:g} tested"
    else:
        k = settings.folds or DEFAULT_FOLDS
        fold = splits.folds(known.origins, k, groups, known.names, seed=settings.seed)
        found = splits.fold_pairs(fold)
        said = f"{k} folds"
        if known.names is not None:
            thin = splits.thin_labels(known.origins, groups, known.names, k)
            if thin:
                shown = ", ".join(f"{name} ({number})" for name, number in list(thin.items())[:5])
                shown += ", ..." if len(thin) > 5 else ""
                noun = "groups" if grouped else "rows"
                notes.append(
                    f"fewer {noun} than the {k} folds, so not tested in every fold: {shown}"
                )
    pairs = [(known.rows[train], known.rows[test]) for train, test in found]
    protocol = ", ".join([said, *how, f"splits {digest(known, pairs)}"])
    return Plan(pairs, _tested_share(pairs), grouped, protocol, notes)


def given(known: Labelled, pairs: Sequence[Pair], name: str, valid: Rows | None = None) -> Plan:
    """Take splits of the table over to the labelled rows; `name` says where they are from."""
    mine = [(np.intersect1d(train, known.rows), np.intersect1d(test, known.rows))
            for train, test in pairs]  # fmt: skip
    mine = [(train, test) for train, test in mine if len(train) and len(test)]
    if not mine:
        raise UsageError(f"no {name} has labelled rows to train on and to test on")
    grouped = known.groups is not None and bool(present(known.groups).any())
    for train, test in mine:
        both = known.at(train).groups, known.at(test).groups
        if both[0] is not None and both[1] is not None:
            grouped &= not {*both[0]} & {*both[1]} - {None}
    if len(mine) > 1:
        said = f"{len(mine)} given {name}s"
    else:
        said = f"given {name} of {len(mine[0][0])} train and {len(mine[0][1])} test rows"
    return Plan(
        mine,
        _tested_share(mine),
        grouped,
        ", ".join([said, *["grouped"] * grouped, f"splits {digest(known, mine)}"]),
        [] if grouped else [UNGROUPED],
        None if valid is None else np.intersect1d(valid, known.rows),
    )


def _tested_share(pairs: Sequence[Pair]) -> float:
    """Return the mean share of rows tested: few large groups make it another than was asked for."""
    return float(np.mean([len(test) / (len(train) + len(test)) for train, test in pairs]))


def digest(known: Labelled, pairs: Sequence[Pair]) -> str:
    """Return eight hexadecimal digits of the origins tested in each split."""
    whole = hashlib.blake2b(digest_size=4)
    for _, test in pairs:
        tested = sorted({str(origin) for origin in known.at(test).origins})
        for text in (str(len(tested)), *tested):
            content = text.encode("utf-8", "surrogatepass")
            whole.update(len(content).to_bytes(8, "little") + content)
    return whole.hexdigest()


def few(
    known: Labelled, train: Rows, counts: Sequence[int], seed: int, purpose: str
) -> dict[int, tuple[Rows, dict[str, int]]]:
    """Draw so many examples of each class or tag from a train part.

    Of numbers and distributions, so many in all. An example is an origin with all its rows. Larger
    counts contain the smaller ones. A tag's count takes in the examples that were drawn for other
    tags. Returns for each count the rows, sorted, and the classes that have fewer examples, with
    their numbers, 0 for one that the train part lacks (numbers and distributions are the class
    `rows`).
    """
    if not counts:
        return {}
    mine = known.at(train)
    names = mine.names if mine.names is not None else np.full(len(train), "rows", object)
    examples: dict[str, tuple[list[int], set[str]]] = {}
    for row, origin, labels in zip(train.tolist(), mine.origins, names, strict=True):
        rows, found = examples.setdefault(str(origin), ([], set()))
        rows.append(row)
        found.update(_labels(labels))

    def place(origin: str) -> bytes:
        text = f"{seed}\0{purpose}\0{origin}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16).digest()

    every = ["rows"] if known.names is None else known.names
    waiting: dict[str, list[str]] = {label: [] for labels in every for label in _labels(labels)}
    for origin in sorted(examples, key=place, reverse=True):
        for label in examples[origin][1]:
            waiting[label].append(origin)
    have = {label: len(origins) for label, origins in waiting.items()}
    rarest_first = sorted(waiting, key=lambda label: (have[label], label))

    chosen: dict[str, None] = {}
    held: Counter[str] = Counter()
    drawn_rows = {}
    for count in range(1, max(counts) + 1):
        for label in rarest_first:
            while held[label] < count and waiting[label]:
                origin = waiting[label].pop()
                if origin not in chosen:
                    chosen[origin] = None
                    held.update(examples[origin][1])
        if count in counts:
            rows_ = np.sort([row for origin in chosen for row in examples[origin][0]])
            short = {label: have[label] for label in rarest_first if have[label] < count}
            drawn_rows[count] = (rows_.astype(np.int64), short)
    return drawn_rows


def _labels(labels: Any) -> list[str]:
    return [labels] if isinstance(labels, str) else [str(label) for label in labels]


def inner(known: Labelled, train: Rows, grouped: bool, seed: int) -> list[Pair]:
    """Return the folds of a train part that a search is judged on; none where it has one unit.

    They keep apart what the splits themselves keep apart. There are `INNER_FOLDS`, or as many as
    there are origins or groups.
    """
    mine = known.at(train)
    groups = mine.groups if grouped else None
    k = min(INNER_FOLDS, int(splits.units(mine.origins, groups).max()) + 1)
    if k < 2:
        return []
    fold = splits.folds(mine.origins, k, groups, mine.names, seed=seed)
    return [(train[rest], train[held]) for rest, held in splits.fold_pairs(fold)]

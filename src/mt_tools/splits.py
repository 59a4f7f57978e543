"""Drawing splits and folds that leak neither tracks nor artists.

Goal: train, valid and test parts (or k folds, or repeated draws) of given sizes.

Conventions. Rows that share an origin (augmented copies, segments) are never separated, whatever
else is asked. With groups (artist, album) no group is separated either; rows tied by a common
origin *or* a common group move together as one unit. With labels the draw is stratified: each part
gets its share of each label, multiclass or multilabel. Groups and labels combine. A missing
origin, group or label is None (or NaN): such a row is its own origin, its own group, and counts
only towards the sizes.

Draws depend on the seed and the names of the units, never on the order of the rows: chance enters
as the order of hash(seed, purpose, unit).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError

RATIOS: Mapping[str, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}

Origins = int | Sequence[Any] | NDArray[Any]
Column = Sequence[Any] | NDArray[Any]


def draw(
    origins: Origins,
    groups: Column | None = None,
    labels: Column | None = None,
    *,
    ratios: Mapping[str, float] = RATIOS,
    seed: int = 0,
    purpose: str = "split",
) -> NDArray[np.object_]:
    """Draw each row's part, such as "train", "valid" or "test".

    `origins`: [n] origin of each row, or the number of rows when each is its own; `groups`: [n] or
    None; `labels`: [n] to stratify by, strings (multiclass) or lists of strings (multilabel);
    `ratios`: the parts and their relative sizes. Returns an object array [n] of part names.
    Raises `UsageError` for sizes that make no sense or a part that would stay empty.
    """
    shares = {part: share for part, share in ratios.items() if share > 0}
    if any(not share >= 0 for share in ratios.values()) or len(shares) < 2:
        raise UsageError(
            f"got the parts {dict(ratios)}, expected at least two with a positive size, "
            "such as train 0.8, valid 0.1, test 0.1"
        )
    tied = _Units(origins, groups, labels)
    if len(tied) < len(shares):
        raise UsageError(
            f"{tied.described()} cannot fill the {len(shares)} parts {', '.join(shares)}: "
            "ask for fewer parts or give more data"
        )
    order = _shuffled(tied.names, seed, purpose)
    parts = _stratify(tied, list(shares.values()), order)
    return np.array(list(shares), object)[parts[tied.of_row]]


def folds(
    origins: Origins,
    k: int,
    groups: Column | None = None,
    labels: Column | None = None,
    *,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Draw each row's fold, 0 to k-1, for k-fold cross-validation.

    Inputs as for `draw`. The largest units are placed first, which evens the folds out; nothing is
    lost by that, as every row is tested once. A label with fewer units than folds is allowed: some
    folds do not test it (`thin_labels` names it). Raises `UsageError` for fewer units than folds.
    """
    if k < 2:
        raise UsageError(f"got {k} folds, expected at least 2")
    tied = _Units(origins, groups, labels)
    if len(tied) < k:
        raise UsageError(
            f"{tied.described()} cannot fill {k} folds: ask for at most {len(tied)} folds"
        )
    order = sorted(_shuffled(tied.names, seed, "fold"), key=lambda unit: -tied.sizes[unit])
    return _stratify(tied, [1.0] * k, order)[tied.of_row]


def repeats(
    origins: Origins,
    count: int,
    test: float = 0.1,
    groups: Column | None = None,
    labels: Column | None = None,
    *,
    seed: int = 0,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield `count` independent draws as (train rows, test rows), `test` being the test share.

    Inputs as for `draw`. The REP study's protocol is 50 draws of a tenth.
    """
    if count < 1:
        raise UsageError(f"got {count} repeats, expected at least 1")
    if not 0 < test < 1:
        raise UsageError(f"got a test share of {test}, expected one between 0 and 1, such as 0.1")
    ratios = {"train": 1.0 - test, "test": test}
    for repeat in range(count):
        part = draw(origins, groups, labels, ratios=ratios, seed=seed, purpose=f"repeat {repeat}")
        yield np.flatnonzero(part == "train"), np.flatnonzero(part == "test")


def fold_pairs(fold: NDArray[Any]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (train rows, test rows) with each fold tested in turn; rows without a fold in neither.

    `fold`: [n] numbers; None, NaN and negative numbers mean no fold.
    """
    numbers = np.array([-1 if _missing(value) else int(value) for value in fold], int)
    present = [number for number in np.unique(numbers) if number >= 0]
    if len(present) < 2:
        raise UsageError(f"got {len(present)} folds, expected at least 2")
    for number in present:
        yield (
            np.flatnonzero((numbers >= 0) & (numbers != number)),
            np.flatnonzero(numbers == number),
        )


def label_counts(labels: Column, parts: Column) -> dict[Any, dict[str, int]]:
    """Count the rows of each label in each part: {part: {label: rows}}, both sorted.

    `labels`: as for `draw`; `parts`: [n] part or fold of each row, None = left out and not counted.
    Every part lists every label, with 0 where it has none.
    """
    tallies: dict[Any, Counter[str]] = {}
    for row_labels, part in zip(_label_lists(labels), parts, strict=True):
        if not _missing(part):
            tallies.setdefault(part, Counter()).update(row_labels)
    known = sorted({label for tally in tallies.values() for label in tally})
    return {part: {label: tallies[part][label] for label in known} for part in sorted(tallies)}


def thin_labels(
    origins: Origins, groups: Column | None, labels: Column, parts: int
) -> dict[str, int]:
    """Return the labels that have fewer units (origins or groups) than `parts`, and how many."""
    tied = _Units(origins, groups, labels)
    tally = Counter(label for counts in tied.labels for label in counts)
    return {label: tally[label] for label in sorted(tally) if tally[label] < parts}


def units(origins: Origins, groups: Column | None = None) -> NDArray[np.int64]:
    """Number what never separates, [n]: rows tied by origin and, when given, by group.

    These are the clusters to resample for an interval.
    """
    return _Units(origins, groups, None).of_row


class _Units:
    """What moves together: rows tied by origin and, when given, by group.

    `of_row` is the unit of each row, [n]; `names`, `sizes` (rows) and `labels` (rows by label)
    describe each unit.
    """

    def __init__(self, origins: Origins, groups: Column | None, labels: Column | None) -> None:
        rows = int(origins) if isinstance(origins, int | np.integer) else len(origins)
        keys = range(rows) if isinstance(origins, int | np.integer) else origins
        for name, column in (("groups", groups), ("labels", labels)):
            if column is not None and len(column) != rows:
                raise ValueError(f"got {len(column)} {name} for {rows} rows")
        self._noun = "row" if groups is None else "group"
        names, first = _tie(keys)
        if groups is not None:
            group_names, group = _tie(groups)
            first, names = _merge(first, names, group, group_names)
        self.of_row = first
        self.names = names
        self.sizes: list[int] = np.bincount(first, minlength=len(names)).tolist()
        self.labels: list[Counter[str]] = [Counter() for _ in names]
        if labels is not None:
            for unit, row_labels in zip(first.tolist(), _label_lists(labels), strict=True):
                self.labels[unit].update(row_labels)

    def __len__(self) -> int:
        return len(self.names)

    def described(self) -> str:
        """Return for example `3 groups`."""
        noun = "origin" if self._noun == "row" and len(self.of_row) > len(self) else self._noun
        return f"{len(self)} {noun}{'' if len(self) == 1 else 's'}"


def _missing(value: Any) -> bool:
    return value is None or value != value


def _tie(keys: Iterable[Any]) -> tuple[list[str], NDArray[np.int64]]:
    """Number the distinct keys; a missing key is distinct from all others."""
    numbers: dict[Any, int] = {}
    codes = []
    for row, key in enumerate(keys):
        # A tuple cannot equal a key of the table.
        codes.append(numbers.setdefault(("row", row) if _missing(key) else key, len(numbers)))
    return [str(key) for key in numbers], np.array(codes, np.int64)


def _merge(
    origin: NDArray[np.int64],
    origin_names: list[str],
    group: NDArray[np.int64],
    group_names: list[str],
) -> tuple[NDArray[np.int64], list[str]]:
    """Unite rows that share an origin or a group; a unit is named by its first name in order."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(origin_names) + len(group_names)
    links = (np.ones(len(origin)), (origin, len(origin_names) + group))
    count, component = connected_components(coo_array(links, shape=(size, size)), directed=False)
    names = [""] * count
    for name, unit in zip(origin_names, component.tolist(), strict=False):
        names[unit] = min(names[unit], name) if names[unit] else name
    return component[origin].astype(np.int64), names


def _label_lists(labels: Column) -> Iterator[Sequence[str]]:
    """Yield each row's labels as a list: none, one (multiclass) or several (multilabel)."""
    for value in labels:
        if isinstance(value, list | tuple | set | np.ndarray):
            yield list(value)
        elif isinstance(value, float | np.floating) and value == value:
            raise UsageError(
                f"got the number {value} as a label to stratify by, expected classes or tags: "
                "draw without stratifying"
            )
        else:
            yield [] if _missing(value) else [str(value)]


def _shuffled(names: Sequence[str], seed: int, purpose: str) -> list[int]:
    """Return the order of the units by hash(seed, purpose, name)."""

    def key(unit: int) -> bytes:
        text = f"{seed}\0{purpose}\0{names[unit]}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16).digest()

    return sorted(range(len(names)), key=key)


def _stratify(tied: _Units, shares: Sequence[float], order: Sequence[int]) -> NDArray[np.int64]:
    """Assign each unit to a part so that parts get their share of rows and of each label.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the stratification of
    multi-label data", 2011, Algorithm 1): the label with the fewest unassigned units comes first,
    and each of its units goes to the part that still needs most rows of it. Two things are added.
    A unit may hold several rows of several labels, which makes the same loop serve groups; a part
    that would overflow is then avoided while another has room. And once every need is smaller than
    the unit, the part that is most behind in size takes it: deciding those last rows by label too
    rounds every label the same way, and seven rows a class would be split 5-1-1 in each class.

    `order` is the order in which units are taken, where labels do not decide. Returns [units].
    """
    total_share = sum(shares)
    portions = [share / total_share for share in shares]
    parts = range(len(portions))
    rows = sum(tied.sizes)
    room = [portion * rows for portion in portions]
    members: dict[str, list[int]] = {}
    totals: Counter[str] = Counter()
    for unit in order:
        totals.update(tied.labels[unit])
        for label in tied.labels[unit]:
            members.setdefault(label, []).append(unit)
    need = {label: [portion * totals[label] for portion in portions] for label in totals}
    left = Counter({label: len(holders) for label, holders in members.items()})

    assigned = np.full(len(tied), -1, np.int64)
    held = [0] * len(portions)
    placed_rows = 0
    unplaced = len(tied)

    def place(unit: int, wanted: Sequence[float], amount: int) -> None:
        nonlocal placed_rows, unplaced
        size = tied.sizes[unit]
        behind = [portions[part] * (placed_rows + size) - held[part] for part in parts]
        empty = [part for part in parts if not held[part]]
        tiny = 1e-9 * (rows + 1)
        if unplaced <= len(empty):
            choice = max(empty, key=lambda part: behind[part])
        elif fitting := [part for part in parts if wanted[part] >= amount - tiny]:
            choice = max(fitting, key=lambda part: (round(wanted[part], 6), behind[part]))
        else:
            wanting = [part for part in parts if wanted[part] > tiny] or list(parts)
            choice = max(wanting, key=lambda part: behind[part])
        assigned[unit] = choice
        held[choice] += size
        room[choice] -= size
        placed_rows += size
        unplaced -= 1
        for label, count in tied.labels[unit].items():
            need[label][choice] -= count
            left[label] -= 1

    while any(left.values()):
        rarest = min(
            (label for label in left if left[label]), key=lambda label: (left[label], label)
        )
        for unit in members[rarest]:
            if assigned[unit] < 0:
                place(unit, need[rarest], tied.labels[unit][rarest])
    for unit in order:
        if assigned[unit] < 0:
            place(unit, room, tied.sizes[unit])
    return assigned

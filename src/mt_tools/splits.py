"""Drawing splits and folds that leak neither tracks nor artists.

Goal: train, valid and test parts (or k folds, or repeated draws) of given sizes.

Conventions. Rows that share an origin (augmented copies, segments) are never separated, whatever
else is asked. With groups (artist, album) no group is separated either; rows tied by a common
origin *or* a common group move together as one unit. With labels the draw is stratified: each part
gets its share of each label, multiclass or multilabel, and the first part (train) at least one unit
of every label, since what was not trained on cannot be told. Groups and labels combine. A missing
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

_ROUNDS = 20  # of moves between folds; most draws are at rest after three
_TINY = 1e-9

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
    fixed: Column | None = None,
) -> NDArray[np.object_]:
    """Draw each row's part, such as "train", "valid" or "test".

    `origins`: [n] origin of each row, or the number of rows when each is its own; `groups`: [n] or
    None; `labels`: [n] to stratify by, strings (multiclass) or lists of strings (multilabel);
    `ratios`: the parts and their relative sizes; `fixed`: [n] the part of rows that have one
    already, None for those to draw, which go where most rows of their origin or group are. Returns
    an object array [n] of part names. Raises `UsageError` for sizes that make no sense or a part
    that would stay empty.
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
    # Units larger than the smallest part come first, while a part that holds them has room.
    large = min(shares.values()) / sum(shares.values()) * len(tied.of_row)
    order = sorted(
        _shuffled(tied.names, seed, purpose),
        key=lambda unit: -tied.sizes[unit] if tied.sizes[unit] > large else 0,
    )
    names = np.array(list(shares), object)
    start = None if fixed is None else _majorities(tied, fixed, list(shares))
    found = _stratify(tied, list(shares.values()), order, start, train=True)
    parts = names[found[tied.of_row]]
    if fixed is not None:
        given = np.array([not _missing(part) for part in fixed], bool)
        parts[given] = np.asarray(fixed, object)[given]
    return parts


def folds(
    origins: Origins,
    k: int,
    groups: Column | None = None,
    labels: Column | None = None,
    *,
    seed: int = 0,
    purpose: str = "fold",
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
    order = sorted(_shuffled(tied.names, seed, purpose), key=lambda unit: -tied.sizes[unit])
    found = _stratify(tied, [1.0] * k, order)
    if groups is not None and labels is not None:
        found = _evened(tied, found, k, order)
    return found[tied.of_row]


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


def label_counts(
    labels: Column, parts: Column, units: NDArray[np.int64] | None = None
) -> dict[Any, dict[str, int]]:
    """Count the rows of each label in each part: {part: {label: rows}}, both sorted.

    `labels`: as for `draw`; `parts`: [n] part or fold of each row, None = left out and not counted;
    `units`: [n], as `units` returns them, to count those that hold a label instead of rows. Every
    part lists every label, with 0 where it has none.
    """
    names = sorted({part for part in parts if not _missing(part)})
    place = {part: number for number, part in enumerate(names)}
    known: dict[str, int] = {}
    codes: list[int] = []
    lengths = []
    for row_labels, part in zip(_label_lists(labels), parts, strict=True):
        counted = [] if _missing(part) else row_labels
        lengths.append(len(counted))
        codes += [known.setdefault(label, len(known)) for label in counted]
    part_of = np.array([-1 if _missing(part) else place[part] for part in parts], np.int64)
    size = max(1, len(known))
    cells = np.repeat(part_of, lengths) * size + np.array(codes, np.int64)
    if units is not None:
        cells = np.unique(np.repeat(units, lengths) * (len(names) * size) + cells)
        cells %= len(names) * size
    table = np.bincount(cells, minlength=len(names) * size)
    counts = table.reshape(len(names), size).tolist()
    return {
        part: {label: row[known[label]] for label in sorted(known)}
        for part, row in zip(names, counts, strict=True)
    }


def thin_labels(
    origins: Origins, groups: Column | None, labels: Column, parts: int
) -> dict[str, int]:
    """Return the labels that have fewer units (origins or groups) than `parts`, and how many."""
    tied = _Units(origins, groups, labels)
    counts = np.bincount(tied.holds, minlength=len(tied.labels)).tolist()
    return {label: count for label, count in zip(tied.labels, counts, strict=True) if count < parts}


def quantile_bins(values: NDArray[np.float64], bins: int = 10) -> NDArray[np.object_]:
    """Return the name of the quantile bin of each number, to stratify by: object [n] of str.

    `values`: [n], NaN = missing, which gives None; infinities fall into the outer bins. At most
    `bins` bins hold about equally many rows each; equal numbers are never parted, so that numbers
    of few distinct values get a bin each. A name is the bin's range of values: `0.12 to 0.25`.
    """
    if bins < 2:
        raise UsageError(f"got {bins} bins, expected at least 2")
    names = np.full(len(values), None, object)
    known = ~np.isnan(values)
    distinct, place, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    if not len(distinct):
        return names
    # The bin of a value is that of the middle of its ranks.
    middles = np.cumsum(counts) - counts / 2
    bin_ = np.minimum((middles * bins / counts.sum()).astype(int), bins - 1)
    if len(distinct) <= bins:
        bin_ = np.arange(len(distinct))
    texts = {}
    for number in np.unique(bin_):
        inside = distinct[bin_ == number]
        low, high = f"{inside[0]:.6g}", f"{inside[-1]:.6g}"
        texts[number] = low if low == high else f"{low} to {high}"
    names[known] = np.array([texts[number] for number in bin_], object)[place]
    return names


def units(origins: Origins, groups: Column | None = None) -> NDArray[np.int64]:
    """Number what never separates, [n]: rows tied by origin and, when given, by group.

    These are the clusters to resample for an interval.
    """
    return _Units(origins, groups, None).of_row


class _Units:
    """What moves together: rows tied by origin and, when given, by group.

    `of_row` is the unit of each row, [n]; `names` and `sizes` (rows) describe each unit. `labels`
    are the names of all labels, sorted; what units hold of them is a sparse matrix: unit `u` has
    `amounts[i]` rows of label `holds[i]` for `i` from `begins[u]` to `begins[u + 1]`.
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
        known: dict[str, int] = {}
        codes, lengths = [], []
        for row_labels in _label_lists(labels) if labels is not None else ():
            lengths.append(len(row_labels))
            codes += [known.setdefault(label, len(known)) for label in row_labels]
        self.labels = sorted(known)
        place = np.empty(len(known), np.int64)
        place[[known[label] for label in self.labels]] = np.arange(len(known))
        unit = np.repeat(first[: len(lengths)], lengths)
        cells, amounts = np.unique(
            unit * max(1, len(known)) + place[np.array(codes, np.int64)], return_counts=True
        )
        self._holder, self.holds = np.divmod(cells, max(1, len(known)))
        self.amounts: NDArray[np.int64] = amounts
        self.begins = np.searchsorted(self._holder, np.arange(len(names) + 1))
        self.totals = np.bincount(self.holds, amounts, len(known))

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


def _majorities(tied: _Units, fixed: Column, parts: list[str]) -> list[int]:
    """Return the part, as a number, that most fixed rows of each unit have; -1 where none has."""
    votes: dict[int, Counter[int]] = {}
    for unit, part in zip(tied.of_row.tolist(), fixed, strict=True):
        if not _missing(part):
            if part not in parts:
                raise UsageError(
                    f"got a row that is in {part!r} already, expected {', '.join(parts)}: give "
                    f"{part} a share, or draw all rows again"
                )
            votes.setdefault(unit, Counter())[parts.index(part)] += 1
    found = [-1] * len(tied)
    for unit, tally in votes.items():
        found[unit] = min(tally, key=lambda part: (-tally[part], part))
    return found


def _stratify(
    tied: _Units,
    shares: Sequence[float],
    order: Sequence[int],
    start: Sequence[int] | None = None,
    train: bool = False,
) -> NDArray[np.int64]:
    """Assign each unit to a part so that parts get their share of rows and of each label.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the stratification of
    multi-label data", 2011, Algorithm 1): the label with the fewest unassigned units comes first,
    and each of its units goes to the part that still needs most rows of it. Some things are added.
    A unit may hold several rows of several labels, which makes the same loop serve groups; a part
    that would overflow is then avoided while another has room. Once every need is smaller than
    the unit, the part that is most behind in size takes it: deciding those last rows by label too
    rounds every label the same way, and seven rows a class would be split 5-1-1 in each class. With
    `train` the first part is trained on: the last unit of a label that it lacks goes there.

    `order` is the order in which units are taken, where labels do not decide; `start` holds the
    parts of units that are decided already, -1 for the others. Returns [units].
    """
    portions = [share / sum(shares) for share in shares]
    parts = range(len(portions))
    sizes, rows = tied.sizes, sum(tied.sizes)
    begins, holds, amounts = tied.begins.tolist(), tied.holds.tolist(), tied.amounts.tolist()
    room = [portion * rows for portion in portions]
    need = [[portion * total for portion in portions] for total in tied.totals.tolist()]
    members: list[list[tuple[int, int]]] = [[] for _ in tied.labels]
    for unit in order:
        for cell in range(begins[unit], begins[unit + 1]):
            members[holds[cell]].append((unit, amounts[cell]))
    left = [len(holders) for holders in members]
    trained = [False] * len(members)
    assigned = [-1] * len(tied)
    held = [0] * len(portions)
    placed_rows = 0
    unplaced = len(tied)
    tiny = 1e-9 * (rows + 1)

    def chosen(unit: int, wanted: Sequence[float], amount: int) -> int:
        behind = [portions[part] * (placed_rows + sizes[unit]) - held[part] for part in parts]
        empty = [part for part in parts if not held[part]]
        if unplaced <= len(empty):
            return max(empty, key=lambda part: behind[part])
        if train and any(
            left[label] == 1 and not trained[label]
            for label in holds[begins[unit] : begins[unit + 1]]
        ):
            return 0
        if fitting := [part for part in parts if wanted[part] >= amount - tiny]:
            return max(fitting, key=lambda part: (round(wanted[part], 6), behind[part]))
        wanting = [part for part in parts if wanted[part] > tiny] or list(parts)
        return max(wanting, key=lambda part: behind[part])

    def place(unit: int, choice: int) -> None:
        nonlocal placed_rows, unplaced
        assigned[unit] = choice
        held[choice] += sizes[unit]
        room[choice] -= sizes[unit]
        placed_rows += sizes[unit]
        unplaced -= 1
        for cell in range(begins[unit], begins[unit + 1]):
            label = holds[cell]
            need[label][choice] -= amounts[cell]
            left[label] -= 1
            trained[label] = trained[label] or choice == 0

    for unit, part in enumerate(start or ()):
        if part >= 0:
            place(unit, part)
    while any(left):
        rarest = min((label for label, count in enumerate(left) if count), key=left.__getitem__)
        for unit, amount in members[rarest]:
            if assigned[unit] < 0:
                place(unit, chosen(unit, need[rarest], amount))
    for unit in order:
        if assigned[unit] < 0:
            place(unit, chosen(unit, room, sizes[unit]))
    return np.array(assigned, np.int64)


def _evened(
    tied: _Units, found: NDArray[np.int64], k: int, order: Sequence[int]
) -> NDArray[np.int64]:
    """Move units of several rows to other folds while that makes the folds more alike.

    Alike is the sum of squares of what each fold holds of every label, and of the rows, over what
    there is of it. Artists of many tracks cannot be placed well one after the other: the classes of
    400 tracks of 60 artists come to half of the deviation by this (`tests/test_splits.py`). No fold
    is emptied.
    """
    found = found.copy()
    begins, whole = tied.begins.tolist(), len(tied.of_row)
    rows = np.bincount(found, tied.sizes, k)
    held = np.zeros((k, len(tied.labels)))
    np.add.at(held, (found[tied._holder], tied.holds), tied.amounts)
    units_in = np.bincount(found, minlength=k)
    several = [unit for unit in order if tied.sizes[unit] > 1]
    for _ in range(_ROUNDS):
        moved = False
        for unit in several:
            own, size = int(found[unit]), tied.sizes[unit]
            cells = slice(begins[unit], begins[unit + 1])
            labels, amounts = tied.holds[cells], tied.amounts[cells]
            weights = amounts / tied.totals[labels]
            # Half of what the sum of squares falls by, if the unit goes to each fold.
            falls = (held[own, labels] - amounts - held[:, labels]) @ weights
            falls += (rows[own] - size - rows) * size / whole
            falls[own] = 0.0
            goal = int(falls.argmax())
            if falls[goal] > _TINY and units_in[own] > 1:
                for fold, sign in ((own, -1), (goal, 1)):
                    held[fold, labels] += sign * amounts
                    rows[fold] += sign * size
                    units_in[fold] += sign
                found[unit] = goal
                moved = True
        if not moved:
            break
    return found

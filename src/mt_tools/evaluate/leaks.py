"""Leaks between the parts of a table: what makes a test score better than the model is.

Goal: the checks behind `mt-eval check`, on arrays. Each finding says what stands on two sides, how
often, and shows the first few. All five studies that this package follows split by track; the DJ
study split after augmenting, and its largest gain is at least partly this leak.

Kinds of finding: `duplicate-id`; `origin` and `group` (one track, one artist in several parts);
`identical-rows` (the same feature vector in several parts or, where nothing is split yet, under
several origins: GTZAN has them).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError

SHOWN = 5

Column = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: its kind, a line for people, the first offenders, their number."""

    kind: str
    message: str
    offenders: tuple[str, ...]
    count: int


def check(
    *,
    ids: Column,
    origins: Column | None = None,
    groups: Column | None = None,
    parts: Mapping[str, Column] | None = None,
    features: Mapping[str, NDArray[Any]] | None = None,
) -> list[Finding]:
    """Return every leak of a table, most certain first; an empty list is a clean table.

    `ids`, `origins`, `groups`: [n], None = no value (an origin is then the id); `parts`: columns
    that part the rows, by name (`split`, `fold`), None, NaN or a negative number = left out;
    `features`: arrays [n, ...] by name, rows of NaN = no value.
    """
    own = (
        list(ids)
        if origins is None
        else [id if _missing(origin) else origin for id, origin in zip(ids, origins, strict=True)]
    )
    findings = _duplicate_ids(ids)
    for name, column in (parts or {}).items():
        part = [None if _left_out(value) else _text(value) for value in column]
        findings += _straddling("origin", own, name, part)
        if groups is not None:
            findings += _straddling("group", groups, name, part)
        for feature, rows in (features or {}).items():
            findings += _identical_across(feature, _digests(rows), ids, name, part)
    if not parts:
        for feature, rows in (features or {}).items():
            findings += _identical_across(feature, _digests(rows), ids, "origin", own)
    return findings


def of_split(
    *,
    ids: Column,
    origins: Column | None,
    groups: Column | None,
    part: Column,
    name: str,
    allowed: bool,
) -> list[Finding]:
    """Return what leaks between the parts of a split, or raise `UsageError` unless it is allowed.

    `part`: [n] the part of each row, `name` what the column of them is called; the others as for
    `check`.
    """
    leaks = check(ids=ids, origins=origins, groups=groups, parts={name: part})
    if leaks and not allowed:
        raise UsageError(
            f"the {name} leaks: {'; '.join(leak.message for leak in leaks)}; draw it again with "
            "mt-fetch split, or say --allow-leak, which every result will then carry"
        )
    return leaks


def _duplicate_ids(ids: Column) -> list[Finding]:
    values, counts = np.unique(np.array([str(id) for id in ids], object), return_counts=True)
    repeated = values[counts > 1].tolist()
    if not repeated:
        return []
    return [
        _finding("duplicate-id", f"{_plural(len(repeated), 'id')} used more than once", repeated)
    ]


def _straddling(kind: str, keys: Column, name: str, part: Sequence[str | None]) -> list[Finding]:
    """Find keys (origins, groups) whose rows stand in more than one part."""
    offenders = [
        f"{key} ({', '.join(sorted(where))})"
        for key, where in _where(keys, part).items()
        if len(where) > 1
    ]
    if not offenders:
        return []
    message = f"{_plural(len(offenders), kind)} in more than one {name}"
    return [_finding(kind, message, offenders)]


def _identical_across(
    feature: str, digests: Sequence[bytes | None], ids: Column, name: str, part: Sequence[Any]
) -> list[Finding]:
    """Find sets of identical feature rows that stand in more than one part."""
    rows: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        if digest is not None and part[row] is not None:
            rows.setdefault(digest, []).append(row)
    offenders = [
        " = ".join(str(ids[row]) for row in same)
        for same in rows.values()
        if len({part[row] for row in same}) > 1
    ]
    if not offenders:
        return []
    message = (
        f"{_plural(len(offenders), 'set')} of identical rows of {feature} in more than one {name}"
    )
    return [_finding("identical-rows", message, offenders)]


def _where(keys: Column, part: Sequence[str | None]) -> dict[str, set[str]]:
    """Return the parts in which each key has rows."""
    where: dict[str, set[str]] = {}
    for key, value in zip(keys, part, strict=True):
        if value is not None and not _missing(key):
            where.setdefault(str(key), set()).add(value)
    return where


def _digests(rows: NDArray[Any]) -> list[bytes | None]:
    """Hash each row's values; None for a row without a value."""
    rows = np.ascontiguousarray(rows).reshape(len(rows), -1)
    empty = np.isnan(rows).any(axis=1)
    return [
        None if skip else hashlib.blake2b(row.tobytes(), digest_size=16).digest()
        for row, skip in zip(rows, empty, strict=True)
    ]


def _missing(value: Any) -> bool:
    return value is None or value != value


def _left_out(value: Any) -> bool:
    return _missing(value) or (not isinstance(value, str) and value < 0)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(int(value))


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _finding(kind: str, message: str, offenders: Iterable[str]) -> Finding:
    offenders = list(offenders)
    shown = offenders[:SHOWN]
    more = ", ..." if len(offenders) > SHOWN else ""
    return Finding(kind, f"{message}: {'; '.join(shown)}{more}", tuple(shown), len(offenders))

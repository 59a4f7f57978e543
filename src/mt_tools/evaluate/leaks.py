"""Leaks between the parts of a table: what makes a test score better than the model is.

Goal: the checks behind `mt-eval check`, on arrays. Each finding says what stands on two sides, how
often, and lists the offenders. All five studies that this package follows split by track; the DJ
study split after augmenting, and its largest gain is at least partly this leak.

Kinds of finding, the most certain first:

| kind | what |
|---|---|
| `duplicate-id` | an id of several rows |
| `origin`, `group` | one track, one artist in several parts |
| `identical-audio` | one encoded sound under several origins |
| `identical-rows` | the same feature vector in several parts |
| `same-recording` | sounds that the fingerprints say are one: re-encoded, louder, an excerpt |
| `near-duplicate` | vectors nearer than different music is: see `duplicates` |
| `fitted-on-test` | factors or a dictionary that were fitted on test rows |
| `known-fault` | what is known to be wrong with the data set |
| `label-of-group` | a label that only one group has |

Where nothing is split yet, what would be a leak in some split is found: two origins with one sound.

A label tells the group when it stands in one group alone. Whoever recognises the artist then knows
the label, and no split by group has it on both sides. The other way round is as it should be: that
nearly every artist has a single label (5,028 of the 5,152 albums of the AGF study) is no finding.
Counted are labels of at least two tracks and `FEWEST` of the labelled ones, since every library has
a tail of rare tags that one artist each has, and of those the ones whose tracks would hardly be of
one group by chance: with a probability below `CHANCE` for all labels together (after Bonferroni) if
labels were dealt out to the tracks at random. Labels of the names in `IDENTITIES` stand for the
group, or for less of it, by what they are; they are compared where they are asked for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.datasets.declaration import Dataset
from mt_tools.errors import UsageError
from mt_tools.evaluate.duplicates import near_pairs
from mt_tools.evaluate.fingerprints import matches
from mt_tools.tables.fitted import FittedOn

SHOWN = 5
"""Offenders that a message names; the finding lists all."""

FEWEST = 0.01
"""The share of the labelled tracks that a label has to have to be looked at."""

CHANCE = 0.05
"""The largest probability that labels of one group alone are so by chance."""

IDENTITIES = ("artist", "album", "title")
"""Labels that `mt-fetch folder` reads from the files' tags and that name a group, or less of it."""

Column = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: its kind, a line for people that names the first, all offenders."""

    kind: str
    message: str
    offenders: tuple[str, ...]

    @property
    def count(self) -> int:
        """Return the number of offenders."""
        return len(self.offenders)


def finding(kind: str, message: str, offenders: Iterable[str]) -> list[Finding]:
    """Return a finding whose message ends with the first offenders; none where there are none."""
    offenders = tuple(offenders)
    if not offenders:
        return []
    more = ", ..." if len(offenders) > SHOWN else ""
    return [Finding(kind, f"{message}: {'; '.join(offenders[:SHOWN])}{more}", offenders)]


def check(
    *,
    ids: Column,
    origins: Column | None = None,
    groups: Column | None = None,
    parts: Mapping[str, Column] | None = None,
    features: Mapping[str, NDArray[Any]] | None = None,
    audio: Column | None = None,
    prints: Sequence[NDArray[np.uint32] | None] | None = None,
    near: float = 0.0,
) -> list[Finding]:
    """Return what is the same on two sides of a table; an empty list is a clean table.

    `ids`, `origins`, `groups`: [n], None = no value (an origin is then the id); `parts`: columns
    that part the rows, by name (`split`, `fold`), None, NaN or a negative number = left out;
    `features`: arrays [n, ...] by name, rows of NaN = no value; `audio`: [n] a digest of the sound,
    None = not known; `prints`: [n] fingerprints, as `features.fingerprint` makes them; `near`: as
    `duplicates` has it for the features, 0 = only identical ones.
    """
    own = origins_of(ids, origins)
    findings = _duplicate_ids(ids)
    sides = {name: parted(column) for name, column in (parts or {}).items()}
    for name, part in sides.items():
        findings += _straddling("origin", own, name, part)
        if groups is not None:
            findings += _straddling("group", groups, name, part)
    digests = {feature: _digests(rows) for feature, rows in (features or {}).items()}
    for name, part in (sides or {"origin": own}).items():
        if audio is not None:
            findings += _identical_audio(audio, ids, own, name, part)
        for feature in digests:
            findings += _identical_rows(feature, digests[feature], ids, name, part)
        if prints is not None:
            findings += _same_recording(prints, audio, ids, own, name, part)
        for feature, rows in (features or {}).items() if near else ():
            findings += _near(feature, rows, ids, own, name, part, near)
    return findings


def origins_of(ids: Column, origins: Column | None) -> list[Any]:
    """Return the origin of each row: the id where there is none."""
    if origins is None:
        return list(ids)
    return [id if _missing(origin) else origin for id, origin in zip(ids, origins, strict=True)]


def parted(column: Column) -> list[str | None]:
    """Return the part of each row as text, None for rows that are left out."""
    return [None if _left_out(value) else _text(value) for value in column]


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


def labels_of_groups(
    labels: Mapping[str, Column], groups: Column, ids: Column, origins: Column | None = None
) -> list[Finding]:
    """Return the labels that only one group has, by column.

    `labels`: columns [n] of classes (text or truth values) or lists of tags by name, None = not
    labelled; a row without a group is a group of its own track.
    """
    own = origins_of(ids, origins)
    owners = [
        ("origin", origin) if _missing(group) else ("group", group)
        for group, origin in zip(groups, own, strict=True)
    ]
    return [
        found
        for name, column in labels.items()
        for found in _labels_of_groups(name, column, owners, own)
    ]


def _labels_of_groups(
    name: str, column: Column, owners: Sequence[tuple[str, Any]], origins: Sequence[Any]
) -> list[Finding]:
    tracks: dict[str, dict[Any, Any]] = {}  # of each label, with their groups
    labelled: dict[Any, Any] = {}
    for value, owner, origin in zip(column, owners, origins, strict=True):
        if _missing(value):
            continue
        labelled[origin] = owner
        for label in value if isinstance(value, list) else [value]:
            tracks.setdefault(str(label), {})[origin] = owner
    sizes = np.array(list(Counter(labelled.values()).values()))
    if len(sizes) < 2 or len(tracks) < 2:
        return []
    fewest = max(2.0, FEWEST * len(labelled))
    alone = {
        label: next(iter(of.values()))[1]
        for label, of in sorted(tracks.items())
        if len(of) >= fewest
        and len(set(of.values())) == 1
        and len(tracks) * _chance(len(of), sizes) < CHANCE
    }
    message = (
        f"each of the {len(tracks)} labels of {name} stands in one group alone, which tells it"
        if len(alone) == len(tracks)
        else f"{len(alone)} of the {_plural(len(tracks), 'label')} of {name} "
        f"{'stands' if len(alone) == 1 else 'stand'} in one group alone, which tells it"
    )
    return finding("label-of-group", message, (f"{label} ({alone[label]})" for label in alone))


def _chance(count: int, sizes: NDArray[np.int64]) -> float:
    """Return the probability that so many tracks, drawn at random, are of one group.

    `sizes`: the tracks of each group. It is the sum of C(size, count) / C(all, count).
    """
    from scipy.special import gammaln

    def log_choices(n: Any) -> Any:
        return gammaln(n + 1.0) - gammaln(n - count + 1.0)

    large = sizes[sizes >= count]
    return float(np.exp(log_choices(large) - log_choices(sizes.sum())).sum())


def fitted_on_test(
    fitted: Iterable[tuple[str, FittedOn]], origins: Column, parts: Mapping[str, Column]
) -> list[Finding]:
    """Return what was fitted on rows that are for testing here.

    `fitted`: what was fitted, in words, and the rows it was fitted on; `origins`: [n]; `parts` as
    for `check`: of a `split` all but `train` is for testing, of any other column every part.
    """
    findings = []
    for what, on in fitted:
        for name, column in parts.items():
            held = {
                str(origin): part
                for origin, part in zip(origins, parted(column), strict=True)
                if part is not None and (name != "split" or part != "train")
            }
            seen = on.among(held)
            least = "" if on.complete else "at least "
            findings += finding(
                "fitted-on-test",
                f"{what} was fitted on {least}{_plural(len(seen), 'track')} that do not train "
                f"in this {name}",
                (f"{origin} ({held[origin]})" for origin in seen),
            )
    return findings


def known_faults(
    data: Dataset,
    *,
    ids: Column,
    paths: Column | None = None,
    origins: Column | None = None,
    parts: Mapping[str, Column] | None = None,
    whole: Column | None = None,
) -> list[Finding]:
    """Return the known faults of a data set that a table has.

    Files are known by the id of their row, or else its path. A repetition is one where its files
    stand in several parts or, in a table without parts, where two of them do; a damaged file where
    nothing shows that it was decoded: `whole` [n] says of which rows it was. Raises `UsageError`
    where no row is one of the data set's files.
    """
    if not data.faults:
        return []
    nothing = [None] * len(ids)
    rows: dict[str, list[int]] = {}
    for row, texts in enumerate(zip(ids, nothing if paths is None else paths, strict=True)):
        name = next((file for file in map(data.file_of, texts) if file), None)
        if name:
            rows.setdefault(name, []).append(row)
    if not rows:
        raise UsageError(
            f"no id and no path names a file of {data.name} ({data.title}): leave out --dataset"
        )
    sides = {name: parted(column) for name, column in (parts or {}).items()}
    findings = []
    for fault in data.faults:
        said_by = f"{fault.says} ({fault.source})"
        present = [[file for file in files if file in rows] for files in fault.files]
        if fault.kind == "damaged" and whole is not None:
            present = [
                [f for f in files if not any(whole[r] for r in rows[f])] for files in present
            ]
        if fault.kind in ("damaged", "left-out"):
            offenders = [file for files in present for file in files]
            what = f"{_plural(len(offenders), 'file')} of {data.name}"
            findings += finding("known-fault", f"{what}, {said_by}", offenders)
            continue
        several = [files for files in present if len(files) > 1]
        if fault.kind == "contradiction" or not sides:
            said = [" = ".join(files) for files in several]
            what = f"{_plural(len(said), 'set')} of files of {data.name}"
            findings += finding("known-fault", f"{what}, {said_by}", said)
            continue
        for name, part in sides.items():
            said = [
                " = ".join(files)
                for files in several
                if len({part[row] for file in files for row in rows[file]} - {None}) > 1
            ]
            what = f"{_plural(len(said), 'set')} of files of {data.name} in more than one {name}"
            findings += finding("known-fault", f"{what}, {said_by}", said)
    return findings


def _duplicate_ids(ids: Column) -> list[Finding]:
    values, counts = np.unique(np.array([str(id) for id in ids], object), return_counts=True)
    repeated = values[counts > 1].tolist()
    return finding("duplicate-id", f"{_plural(len(repeated), 'id')} used more than once", repeated)


def _straddling(kind: str, keys: Column, name: str, part: Sequence[str | None]) -> list[Finding]:
    """Find keys (origins, groups) whose rows stand in more than one part."""
    offenders = [
        f"{key} ({', '.join(sorted(where))})"
        for key, where in _where(keys, part).items()
        if len(where) > 1
    ]
    return finding(kind, f"{_plural(len(offenders), kind)} in more than one {name}", offenders)


def _identical_audio(
    audio: Column, ids: Column, origins: Sequence[Any], name: str, part: Sequence[Any]
) -> list[Finding]:
    """Find sounds that stand in more than one part under more than one origin."""
    offenders = [
        " = ".join(str(ids[row]) for row in same)
        for same in _same(audio, part)
        if len({origins[row] for row in same}) > 1
    ]
    message = f"{_plural(len(offenders), 'set')} of identical audio in more than one {name}"
    return finding("identical-audio", message, offenders)


def _same_recording(
    prints: Sequence[NDArray[np.uint32] | None],
    audio: Column | None,
    ids: Column,
    origins: Sequence[Any],
    name: str,
    part: Sequence[Any],
) -> list[Finding]:
    """Find recordings that stand in more than one part, but for files that are identical."""
    pairs = [
        pair
        for pair in matches(prints, _numbered(origins), _numbered(part))
        if audio is None or audio[pair.first] != audio[pair.second]
    ]
    return finding(
        "same-recording",
        f"{_plural(len(pairs), 'pair')} of copies of one recording in more than one {name}",
        (f"{ids[pair.first]} ~ {ids[pair.second]}" for pair in pairs),
    )


def _identical_rows(
    feature: str, digests: Column, ids: Column, name: str, part: Sequence[Any]
) -> list[Finding]:
    """Find sets of identical feature rows that stand in more than one part."""
    offenders = [" = ".join(str(ids[row]) for row in same) for same in _same(digests, part)]
    message = (
        f"{_plural(len(offenders), 'set')} of identical rows of {feature} in more than one {name}"
    )
    return finding("identical-rows", message, offenders)


def _same(keys: Column, part: Sequence[Any]) -> list[list[int]]:
    """Return the sets of rows of one key that stand in more than one part."""
    rows: dict[Any, list[int]] = {}
    for row, key in enumerate(keys):
        if key is not None and part[row] is not None:
            rows.setdefault(key, []).append(row)
    return [same for same in rows.values() if len({part[row] for row in same}) > 1]


def _near(
    feature: str,
    rows: NDArray[Any],
    ids: Column,
    origins: Sequence[Any],
    name: str,
    part: Sequence[Any],
    near: float,
) -> list[Finding]:
    pairs = near_pairs(rows.reshape(len(rows), -1), _numbered(origins), _numbered(part), near)
    return finding(
        "near-duplicate",
        f"{_plural(len(pairs), 'pair')} of near-duplicates by {feature} in more than one {name}",
        (f"{ids[pair.first]} ~ {ids[pair.second]}" for pair in pairs),
    )


def _numbered(keys: Sequence[Any]) -> NDArray[np.int64]:
    """Return a number for each key, -1 for none."""
    numbers: dict[Any, int] = {None: -1}
    return np.array([numbers.setdefault(key, len(numbers) - 1) for key in keys], np.int64)


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

"""What is said of a data set: where its files are, whose they are, and how its labels are read.

A declaration is data, not code: `datasets.registry` holds one of each data set, and the two places
that need a program (reading the published label files, and making a tiny version for tests) are
named as `module:function` and imported on use. Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Remote:
    """One published file.

    `size` is in bytes, 0 where nobody states it; `checksum` is `sha256:HEX`, `md5:HEX` or
    `sha1:HEX`, empty where the publisher states none (it is then written down at the first
    download, and every later one is held to it). `name` is the file's own name below the data
    set's folder, where the address does not end in it. `mirrors` are other addresses of the same
    bytes, tried in order. `unpack` is the folder, below the data set's, that an archive is unpacked
    into (`.` is the data set's own); None keeps the file as it is. `piece_of` is the name of the
    archive that this file is a piece of: pieces are joined in their order, then unpacked. `sets`
    are the label sets that need the file; empty where all do.
    """

    url: str
    size: int = 0
    checksum: str = ""
    name: str = ""
    mirrors: tuple[str, ...] = ()
    unpack: str | None = None
    piece_of: str = ""
    sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with some files of a data set.

    `kind` is `repetition` (each set of `files` is one recording), `contradiction` (one recording
    under several labels), `damaged` (cannot be decoded in some copies) or `left-out` (others have
    left these out); `says` is the fault in words, `source` who found it.
    """

    kind: str
    says: str
    files: tuple[tuple[str, ...], ...]
    source: str


@dataclass(frozen=True)
class Dataset:
    """A data set.

    `home` is its page, `citation` what to cite, `licence` under what terms it is given, `labels`
    each label column and what it means. `files` are downloaded; where a registration is needed, or
    the audio is everybody's own, `by_hand` says in plain words what to do, and the folder that was
    obtained is given with `--from DIR`. `sets` are the label sets to choose from (`--set`, the
    first where none is said), `splits` the published splits by name (`--split`; none where none is
    said, unless `official` names the one that comes with the data set).

    `kinds` are the kinds of the label columns as `tables.columns` has them (`string` where none is
    said), `labels_of` the label columns of each set, where it has not all. `group` is what the
    column `group` holds (empty: there is none), `apart` the splits that keep each group in one
    part, `counts` how many rows were published: of a set, or of a part (`fault-filtered:test`);
    `notes` what one has to know of a set or a split, by its name (`` is the whole).

    `index` reads the published files below a folder: see `datasets.index`. `tiny` writes a folder
    of the same layout with a few made files, for tests. `file` finds the name of a file, as the
    faults spell it, in an id or a path.
    """

    name: str
    title: str
    home: str
    citation: str
    licence: str
    index: str
    tiny: str
    labels: dict[str, str] = field(default_factory=dict)
    files: tuple[Remote, ...] = ()
    by_hand: str = ""
    sets: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    official: str = ""
    kinds: dict[str, str] = field(default_factory=dict)
    labels_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    group: str = ""
    apart: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    file: re.Pattern[str] = re.compile(r"(?!)")
    faults: tuple[Fault, ...] = ()

    def file_of(self, text: str | None) -> str | None:
        """Return the name of a file in an id or a path; None where there is none."""
        found = self.file.search(text or "")
        return found.group() if found else None

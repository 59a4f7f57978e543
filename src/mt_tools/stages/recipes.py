"""What recipes are drawn from: chances by name, files of folders, other tracks of the table.

Goal: draws that depend on the seed, the origin and the copy's number alone, so that neither the
order of the table nor `--shard` matters, and the segments of a track get the same recipe. A track
is mixed with tracks of its own split and fold only: nothing that trains holds what is tested on.
"""

from __future__ import annotations

import bisect
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import RowError, UsageError
from mt_tools.learn import draws
from mt_tools.recipes import Recipe
from mt_tools.recipes.effects import Mix
from mt_tools.recipes.steps import Chance
from mt_tools.recipes.template import Template
from mt_tools.sound.paths import path_to_text, text_to_path
from mt_tools.sound.scan import find_audio
from mt_tools.tables.batch import Batch
from mt_tools.tables.source import Source

COLUMNS = ("origin", "path", "split", "fold")
"""What is read of a table whose tracks are mixed."""

Part = tuple[str | None, float | None]
"""The split and the fold of a row."""

_UNKNOWN: Part = ("", None)


class Chances:
    """Numbers in [0, 1) by name for rows of these origins [n]."""

    def __init__(self, origins: Iterable[str], seed: int) -> None:
        self._keys = draws.keys_of(origins)
        self._seed = seed
        self._drawn: dict[tuple[object, ...], NDArray[np.float64]] = {}

    def of(self, row: int, *names: object) -> Chance:
        """Return the draws of one row for the copy that `names` name."""

        def chance(purpose: str) -> float:
            key = (*names, purpose)
            if key not in self._drawn:
                self._drawn[key] = draws.uniform(self._keys, self._seed, "augment", *key)
            return float(self._drawn[key][row])

        return chance


@dataclass(frozen=True)
class Whose:
    """Whom files are drawn for: a row's origin, its file, its split and fold."""

    origin: str
    path: str | None
    part: Part


class Files:
    """The files that templates draw from.

    Raises `UsageError` for a path that does not exist, and for a folder without audio.
    """

    def __init__(self, templates: Sequence[Template]) -> None:
        steps = [step for template in templates for step in template.steps]
        self._listed = {
            path: _listed(step.kind.name, path) for step in steps if (path := step.path)
        }
        self._mixed = {step.path for step in steps if step.kind is Mix}
        self._parts: dict[str, Part] = {}
        self._folders: Sequence[str] = ()
        self._tracks: dict[tuple[str, Part], list[tuple[str, str]]] = {}

    @property
    def typed(self) -> list[str]:
        """The files and folders that were named."""
        return list(self._listed)

    @property
    def reads_table(self) -> bool:
        """Say whether the table must be read before, for which tracks it has in which part."""
        return bool(self._mixed)

    def read(self, table: Source) -> None:
        """Learn what tracks the table has, of which `COLUMNS` are read.

        Raises `UsageError` where a track would be mixed with those of a table without a split.
        """
        self._folders = table.folders
        found: dict[Part, dict[str, str]] = {}
        for batch in table:
            rows = zip(batch.origins, batch.get("path"), parts_of(batch), strict=True)
            for origin, path, part in rows:
                if path is None:
                    continue
                found.setdefault(part, {}).setdefault(origin, path)
                if self._mixed != {""}:
                    self._parts[self._real(path)] = part
        unsplit = found.keys() == {(None, None)}
        if unsplit:  # any of them may be tested on
            self._parts = dict.fromkeys(self._parts, _UNKNOWN)
        if unsplit and "" in self._mixed:
            raise UsageError(
                "mix draws from the table, whose tracks have no split yet, and a split drawn later "
                "would have a track on both sides: run mt-fetch split before, or name a folder or "
                "file to mix with, as in mix=crowd/:15"
            )
        self._tracks = {("", part): sorted(tracks.items()) for part, tracks in found.items()}

    def pool(self, kind: str, path: str, whose: Whose) -> Sequence[str]:
        """Return what can be drawn for a path as typed, "" being the table.

        To be mixed with, neither the track itself nor one of another part. Raises `RowError` where
        nothing is left.
        """
        if kind != Mix.name:
            return self._listed[path]
        own = whose.origin
        if path:
            own = "" if whose.path is None else self._real(whose.path)
            if (path, whose.part) not in self._tracks:
                self._tracks[path, whose.part] = self._apart(path, whose.part)
        others = Others(self._tracks.get((path, whose.part), []), own)
        if not others:
            where = f" in {path}" if path else ""
            of = f" of the split {whose.part[0]}" if whose.part[0] else ""
            raise RowError(
                f"no other track{of}{where} to mix with (never one of the table that is, or may "
                "come to be, in another split); name another folder",
                "missing",
            )
        return others

    def _apart(self, path: str, part: Part) -> list[tuple[str, str]]:
        """Return the files of a folder that the table has in this part, or not at all."""
        places = [(self._real(file), file) for file in self._listed[path]]
        return sorted(pair for pair in places if self._parts.get(pair[0], part) == part)

    def _real(self, text: str) -> str:
        path = text_to_path(text)
        for folder in ("", *self._folders):
            if os.path.lexists(os.path.join(folder, path)):
                return os.path.realpath(os.path.join(folder, path))
        return path


class Others(Sequence[str]):
    """The files of tracks (key, file) that are sorted by their keys, without those of one key.

    So are the ids of rows by their origins.
    """

    def __init__(self, tracks: Sequence[tuple[str, str]], own: str) -> None:
        self._tracks = tracks
        self._own = bisect.bisect_left(tracks, (own,))
        self._end = bisect.bisect_left(tracks, (own + "\0",))

    def __len__(self) -> int:
        return len(self._tracks) - (self._end - self._own)

    def __getitem__(self, index: Any) -> Any:
        return self._tracks[index if index < self._own else index + self._end - self._own][1]


class LeftOut:
    """Counts the copies that are left out because they say nothing new."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def of(self, made: Sequence[Recipe]) -> list[Recipe]:
        """Return the recipes of a row's copies, each once, without those that change nothing."""
        some = [recipe for recipe in made if recipe]
        kept = list(dict.fromkeys(some))
        self._counts["nothing was drawn"] += len(made) - len(some)
        self._counts["the same was drawn twice"] += len(some) - len(kept)
        return kept

    def __str__(self) -> str:
        """Say how many were left out, and why; the empty text where none was."""
        told = ", ".join(f"{count} as {why}" for why, count in self._counts.items() if count)
        return told and f"copies left out: {told}"


def whose_of(batch: Batch) -> list[Whose]:
    """Return whom files are drawn for, row by row."""
    rows = zip(batch.origins, batch.get("path"), parts_of(batch), strict=True)
    return [Whose(*row) for row in rows]


def parts_of(batch: Batch) -> list[Part]:
    """Return the split and the fold of each row."""
    folds = (None if fold is None or fold != fold else fold for fold in batch.get("fold"))
    return list(zip(batch.get("split"), folds, strict=True))


def _listed(name: str, path: str) -> list[str]:
    """Return the files that a path stands for, as texts for a table."""
    if os.path.isdir(path):
        files = find_audio(path)
        if not files:
            raise UsageError(
                f"--recipe {name}={path}: no audio in this folder; name another, or a file"
            )
        return [path_to_text(file) for file in files]
    if not os.path.exists(path):
        raise UsageError(
            f"--recipe {name}={path}: no such file or folder (in a path, write %2C for a comma and "
            "%3A for a colon)"
        )
    return [path_to_text(path)]

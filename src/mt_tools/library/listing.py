"""The tracks and tags of a run, as playlists and libraries of other programs list them.

Goal: what is known of a hundred thousand tracks is on disk, in an unnamed temporary file; in memory
a track takes some 100 bytes, and each of its tags 12.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
import unicodedata
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mt_tools.library.entries import Fields

Chosen = Mapping[str, Sequence[tuple[str, float]]]
"""The tags of a track and their scores, by task."""


@dataclass(frozen=True)
class Listed:
    """A track as other programs are told of it.

    `path` is absolute and as `open` takes it, `length` in seconds or None, `size` in bytes,
    `fields` are those of the file, `tags` those that were chosen for it, of all tasks.
    """

    path: str
    length: float | None = None
    size: int = 0
    sample_rate: int = 0
    fields: Fields = field(default_factory=dict)
    tags: Sequence[str] = ()

    def text(self, name: str) -> str:
        """Return the first value of a field, or nothing."""
        return next(iter(self.fields.get(name, [])), "")


class Listing:
    """Tracks by number, from 0 in the order in which they were added, and the tracks of each tag.

    `tasks` are the words that each task may say, in the order in which they are listed.
    """

    def __init__(self, tasks: Mapping[str, Sequence[str]]) -> None:
        self.tasks = {task: list(words) for task, words in tasks.items()}
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._ends = array("Q", [0])
        self._numbers: dict[bytes, int] = {}
        self._tracks: dict[tuple[str, str], array[int]] = {}
        self._scores: dict[tuple[str, str], array[float]] = {}

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> Listed:
        begin, end = self._ends[number], self._ends[number + 1]
        self._file.seek(begin)
        return Listed(**json.loads(self._file.read(end - begin)))

    def __iter__(self) -> Iterator[Listed]:
        return (self[number] for number in range(len(self)))

    def add(self, track: Listed, chosen: Chosen) -> bool:
        """Add a track and its tags; say whether it is new: a file is listed once."""
        key = _key(track.path)
        if key in self._numbers:
            return False
        number = self._numbers[key] = len(self)
        data = json.dumps(dataclasses.asdict(track)).encode()  # surrogates as escapes
        self._file.seek(0, os.SEEK_END)
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))
        for task, tags in chosen.items():
            for tag, score in tags:
                self._tracks.setdefault((task, tag), array("L")).append(number)
                self._scores.setdefault((task, tag), array("f")).append(score)
        return True

    def number(self, path: str) -> int | None:
        """Return the number of the track with this path, or of the file behind a link.

        Systems spell accents in names in two ways, and libraries not always as the disk does.
        """
        spellings = (unicodedata.normalize(form, path) for form in ("NFC", "NFD"))
        for spelling in (path, *spellings, os.path.realpath(path)):
            if (number := self._numbers.get(_key(spelling))) is not None:
                return number
        return None

    def playlists(self) -> Iterator[tuple[str, list[tuple[str, list[int]]]]]:
        """Yield each task and its tags that have tracks, with their numbers, best score first."""
        for task, words in self.tasks.items():
            yield (
                task,
                [(tag, self._best(task, tag)) for tag in words if (task, tag) in self._tracks],
            )

    def _best(self, task: str, tag: str) -> list[int]:
        tracks, scores = self._tracks[task, tag], self._scores[task, tag]
        order = sorted(range(len(tracks)), key=lambda place: -scores[place])
        return [tracks[place] for place in order]


def _key(path: str) -> bytes:
    return hashlib.blake2b(os.fsencode(os.path.abspath(path)), digest_size=16).digest()

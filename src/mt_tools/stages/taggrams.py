"""Draws a taggram a track, of the rows of segments that pass by."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator

from mt_tools.errors import RunError, UsageError
from mt_tools.library.write_playlists import file_names
from mt_tools.report.style import ENDINGS, check_ending, save
from mt_tools.report.taggram import SHOWN, Taggram, Taggrams, taggram_figure
from mt_tools.stages.frontend import make_folder
from mt_tools.tables.batch import Batch


def run(
    batches: Iterable[Batch],
    path: str,
    say: Callable[[str], None] = lambda note: None,
    shown: int = SHOWN,
) -> Iterator[Batch]:
    """Pass rows of predictions on, a row a segment, and draw those of each track once it is whole.

    `path` is a file for one track (.png, .svg or .pdf), or a folder, which gets a .png a track,
    named after its id. `shown` labels of a task are drawn. Raises `UsageError` for another ending
    and for several tracks and one file, of which then none is written, and `RunError` where nothing
    can be written.
    """
    if os.path.splitext(path)[1] and not path.endswith("/") and not os.path.isdir(path):
        check_ending(path, option="--plot")  # a mistyped file would be a folder
        if not os.path.isdir(os.path.dirname(path) or "."):
            raise UsageError(f"--plot {path}: there is no folder {os.path.dirname(path)}; make it")
    pictures = _Pictures(path, shown)
    return _passing(batches, pictures, say)


def _passing(
    batches: Iterable[Batch], pictures: _Pictures, say: Callable[[str], None]
) -> Iterator[Batch]:
    taggrams = Taggrams()
    for batch in batches:
        for taggram in taggrams.add(batch):
            pictures.draw(taggram)
        yield batch
    for taggram in taggrams.rest():
        pictures.draw(taggram)
    pictures.finish()
    say(str(pictures))


class _Pictures:
    """The figures of one run: a file, which is written at the end, or a folder of them."""

    def __init__(self, path: str, shown: int) -> None:
        self._path, self._shown = path, shown
        self._file = os.path.splitext(path)[1].lower() in ENDINGS and not os.path.isdir(path)
        self._taken: set[str] = set()
        self._one: Taggram | None = None
        self._count = 0
        if not self._file:
            make_folder(path)

    def draw(self, taggram: Taggram) -> None:
        """Draw a track; one of a file is kept, as no other may follow."""
        self._count += 1
        if not self._file:
            self._save(taggram, os.path.join(self._path, f"{self._name(taggram.name)}.png"))
        elif self._one is not None:
            raise UsageError(
                f"--plot {self._path}: a file shows one track, and there is {taggram.name} after "
                f"{self._one.name}; name a folder for a picture a track"
            )
        else:
            self._one = taggram

    def finish(self) -> None:
        """Write the one file."""
        if self._one is not None:
            self._save(self._one, self._path)

    def __str__(self) -> str:
        """Say what was drawn."""
        what = "a taggram" if self._count == 1 else f"{self._count} taggrams"
        return f"drew {what} into {self._path}" if self._count else "no taggram to draw"

    def _save(self, taggram: Taggram, path: str) -> None:
        if not taggram.courses:
            raise UsageError("--plot draws scores, and there are only words: leave out --no-scores")
        try:
            save(taggram_figure(taggram, self._shown), path)
        except OSError as error:
            raise RunError(
                f"cannot write {path}: {error.strerror}; make room, or name another place"
            ) from error

    def _name(self, id_: str) -> str:
        """Return the name of a track's picture: none alike, on any file system."""
        (name,) = file_names([id_]).values()
        if name.casefold() in self._taken:
            name = f"{name}~{hashlib.sha256(id_.encode()).hexdigest()[:16]}"
        self._taken.add(name.casefold())
        return name

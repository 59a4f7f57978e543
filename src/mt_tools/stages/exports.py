"""Tags for other programs: playlists and Rekordbox's library, of the rows that pass by."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mt_tools.errors import DecodeError, UsageError
from mt_tools.library import write_playlists, write_rekordbox
from mt_tools.library.listing import Chosen, Listed, Listing
from mt_tools.sound.info import read_info
from mt_tools.stages.frontend import tracks_of
from mt_tools.stages.settings import TagSettings
from mt_tools.tables.batch import Batch


def check(settings: TagSettings, tasks: Mapping[str, Sequence[str]]) -> None:
    """Raise `UsageError` where the settings ask for exports that cannot be made.

    `tasks` are the vocabularies by the columns of the tasks, `<alias>.<task>`.
    """
    wanted = [f"--{name}" for name in ("playlists", "rekordbox") if getattr(settings, name)]
    if not wanted:
        return
    if settings.segments or settings.plot:
        part = "--segments" if settings.segments else "--plot"
        raise UsageError(f"{wanted[0]} lists whole tracks: leave {part} out")
    if settings.uncertain:
        raise UsageError(
            f"{wanted[0]} would replace its lists by the few tracks of --uncertain: leave one out"
        )
    if not any(tasks.values()):
        raise UsageError(
            f"{wanted[0]}: the model says {', '.join(tasks) or 'nothing'} in numbers alone; use "
            "one that names classes or tags"
        )
    if settings.playlists:
        write_playlists.check(settings.playlists, _named(tasks).items())
    if settings.rekordbox:
        write_rekordbox.check(settings.rekordbox)


def collect(
    batches: Iterable[Batch],
    tasks: Mapping[str, Sequence[str]],
    settings: TagSettings,
    *,
    folders: Sequence[str],
    say: Callable[[str], None],
) -> Iterator[Batch]:
    """Pass predicted rows on; after the last, write what `--playlists` and `--rekordbox` ask for.

    Nothing is written unless all rows have passed. Titles, artists and what else a library lists
    are read from the files. A file of several rows is listed once; `say` is told how many tracks
    have no file to list. `tasks` are those of `check`. Raises as it does.
    """
    check(settings, tasks)
    if not (settings.playlists or settings.rekordbox):
        yield from batches
        return
    listing = Listing(_named(tasks))
    without = 0
    for batch in batches:
        chosen = [_chosen(batch, task, words) for task, words in listing.tasks.items()]
        for row, track in enumerate(tracks_of(batch, folders)):
            if track.start is not None or track.duration is not None or track.recipe:
                raise UsageError(
                    f"{batch.ids[row]} is a part or a changed copy of a file, and playlists list "
                    "whole tracks: leave --playlists and --rekordbox out, or give whole tracks"
                )
            path = None if track.path is None or track.audio is not None else track.source()
            if not isinstance(path, str):
                without += 1
                continue
            of_row = {task: tags[row] for task, tags in zip(listing.tasks, chosen, strict=True)}
            listing.add(_listed(path, track.length, of_row), of_row)
        yield batch
    if without:
        say(f"tracks without a file of their own, in no playlist: {without}")
    _write(listing, settings, say)


def _write(listing: Listing, settings: TagSettings, say: Callable[[str], None]) -> None:
    if settings.playlists:
        written, removed = write_playlists.write(settings.playlists, listing)
        also = f", {removed} of earlier runs removed" if removed else ""
        say(f"{written} playlists in {settings.playlists}{also}")
    if settings.rekordbox:
        held, new = write_rekordbox.write(settings.rekordbox, listing)
        counts = f"{held} tracks that it had, {new} new" if held else f"{new} tracks"
        say(f"{counts} in {settings.rekordbox}")


def _named(tasks: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    return {task: words for task, words in tasks.items() if words}


def _chosen(batch: Batch, task: str, words: Sequence[str]) -> list[list[tuple[str, float]]]:
    """Return the tags of a task and their scores in each row; without scores all are 0."""
    tags = batch[f"{task}_pred"]
    name = f"{task}_score"
    places = {word: place for place, word in enumerate(words)}
    scores = batch[name] if name in batch else np.zeros((len(batch), len(words)))
    return [
        [(tag, float(scores[row, places[tag]])) for tag in _texts(tags[row]) if tag in places]
        for row in range(len(batch))
    ]


def _texts(value: Any) -> list[str]:
    if value is None or isinstance(value, float):
        return []
    return [value] if isinstance(value, str) else list(value)


def _listed(path: str, length: float | None, chosen: Chosen) -> Listed:
    """Return a track with what its file says of itself."""
    path = os.path.abspath(path)
    tags = list(dict.fromkeys(tag for tags in chosen.values() for tag, _ in tags))
    try:
        info, size = read_info(path), os.stat(path).st_size
    except (DecodeError, OSError):  # it went away since it was tagged, or its sound was not needed
        return Listed(path, length, tags=tags)
    return Listed(path, info.length or length, size, info.sample_rate, info.tags, tags)

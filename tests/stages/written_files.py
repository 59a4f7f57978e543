"""Short sounds in several formats, and tables of what is predicted of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import soundfile

from mt_tools.library.journal import Journal
from mt_tools.library.settings import WriteSettings
from mt_tools.stages import undo, write
from mt_tools.tables.batch import Batch, concatenate

FORMATS = ("mp3", "flac", "ogg", "wav", "aiff")
TOLD = [
    write.Told("style", "small", "0123456789abcdef"),
    write.Told("moods", "small", "0123456789abcdef"),
    write.Told("tempo", "small", "0123456789abcdef"),
]


def sounds(folder: Path, count: int = len(FORMATS), formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write short noises into a folder, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = folder / f"{number:02d}.{formats[number % len(formats)]}"
        soundfile.write(path, rng.uniform(-0.5, 0.5, 4410), 44100)
        paths.append(path)
    return paths


def digests(paths: Sequence[Path]) -> dict[Path, str]:
    """Return what files hold, briefly."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def genres(path: Path) -> list[str]:
    """Return the genres in a file, by mutagen alone."""
    tags = mutagen.File(path).tags  # type: ignore[attr-defined]
    if tags is None:
        return []
    return list(tags["TCON"].genres if "TCON" in tags else tags.get("genre", []))


def predicted(make_batch: Callable[..., Batch], paths: Sequence[Path], **columns: Any) -> Batch:
    """Return rows as mt-tag makes them: `style` rock or pop, two moods, a tempo."""
    count = len(paths)
    values: dict[str, Any] = {
        "path": [os.fspath(path) for path in paths],
        "style_pred": ["Rock", "Pop"] * (count // 2) + ["Rock"] * (count % 2),
        "moods_pred": [["calm", "warm"]] * count,
        "tempo_pred": [120.4] * count,
    }
    return make_batch(**{**values, **columns})


def written(
    batches: Sequence[Batch],
    asked: Sequence[str] = ("style=genre", "moods=mood", "tempo=bpm"),
    *,
    journal: Path | None = None,
    fail: Callable[..., None],
    folders: Sequence[str] = (),
    say: Callable[[str], None] = lambda note: None,
    wrote: Callable[[str], None] = lambda path: None,
    **settings: Any,
) -> Batch:
    """Write the predictions into the files where a journal is given, or plan to; return the rows."""
    said = WriteSettings(write=tuple(asked), apply=journal is not None, **settings)
    wanted = write.targets(asked, TOLD)

    def rows(opened: Journal | None) -> Iterator[Batch]:
        return write.run(
            batches, wanted, said, folders=folders, journal=opened, fail=fail, say=say, wrote=wrote
        )

    if journal is None:
        return concatenate(list(rows(None)))
    with Journal(journal, []) as opened:
        return concatenate(list(rows(opened)))


def undone(
    journal: Path,
    *paths: str | Path,
    fail: Callable[..., None],
    say: Callable[[str], None] = lambda note: None,
) -> list[str]:
    """Undo what a journal says; return the paths that were restored."""
    made = undo.run(str(journal), [os.fspath(path) for path in paths], fail, say)
    return concatenate(list(made))["path"].tolist()

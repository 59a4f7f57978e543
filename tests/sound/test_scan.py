"""Ids of tracks: one a file, whatever its name and however it is listed."""

from __future__ import annotations

import io
import os
import unicodedata
from pathlib import Path

import pytest

from mt_tools.sound.scan import PathReader, folder_reader

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Café.mp3") for form in ("NFC", "NFD"))


def listed(*paths: str, end: str = "\n") -> list[tuple[str, str]]:
    """Return ids and paths of what a list of paths gives."""
    reader = PathReader(io.BytesIO(("\n".join(paths) + end).encode()), null=False)
    return [pair for batch in reader for pair in zip(batch.ids, batch["path"], strict=True)]


@pytest.mark.parametrize("prefix", [False, True])
def test_names_that_differ_in_normalisation_alone(tmp_path: Path, prefix: bool) -> None:
    """A library with two such names, from a Mac and from elsewhere, could not be read at all."""
    for name in (COMPOSED, DECOMPOSED, "a.mp3"):
        (tmp_path / name).touch()
    if len(os.listdir(tmp_path)) < 3:
        pytest.skip("to this file system they are one")
    (batch,) = folder_reader(str(tmp_path), prefix=prefix)
    before = f"{tmp_path}/" if prefix else ""
    assert dict(zip(batch["path"], batch.ids, strict=True)) == {
        str(tmp_path / name): f"{before}{name}" for name in (COMPOSED, DECOMPOSED, "a.mp3")
    }


def test_one_such_name_has_the_id_of_the_composed_one(tmp_path: Path) -> None:
    """The same library would have other ids on a Mac, and tables of both not go together."""
    (tmp_path / DECOMPOSED).touch()
    (batch,) = folder_reader(str(tmp_path), prefix=False)
    assert batch.ids == [COMPOSED]
    assert listed(DECOMPOSED) == [(COMPOSED, DECOMPOSED)]


def test_lists_of_paths() -> None:
    """A file listed twice would end the run, or one of two that look alike be left out."""
    assert listed("a.mp3", "./a.mp3", "b/./c.mp3", "a.mp3", "b//c.mp3") == [
        ("a.mp3", "a.mp3"), ("b/c.mp3", "b/./c.mp3"),
    ]  # fmt: skip
    for paths in ((COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)):
        assert listed(*paths) == [(path, path) for path in paths]
        ids, found = zip(*listed(*paths, end=""), strict=True)  # the last comes by itself
        assert (set(ids), found) == (set(paths), paths)

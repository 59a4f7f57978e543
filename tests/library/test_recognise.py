"""A library is known by its content."""

from __future__ import annotations

from pathlib import Path

import pytest

from mt_tools.library.recognise import recognise


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("x.txt", b"#EXTM3U\n", "a playlist"),
        ("x.txt", b"\xef\xbb\xbf#EXTM3U\n", "a playlist"),
        ("x.M3U", b"a.mp3\n", "a playlist"),
        ("x", b'<?xml version="1.0"?>\n<DJ_PLAYLISTS Version="1.0.0">', "a Rekordbox collection"),
        ("x", b'<?xml version="1.0"?>\n<!DOCTYPE plist>\n<plist version="1.0">',
         "an iTunes library"),
        ("x", b"SQLite format 3\0rest", "a library of beets"),
    ],
)  # fmt: skip
def test_what_is_a_library(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    """A library that was renamed would be taken for a broken table."""
    (tmp_path / name).write_bytes(content)
    found = recognise(str(tmp_path / name))
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize("content", [b"", b"PAR1 <plist", b'{"a": "<DJ_PLAYLISTS"}', b"<html>"])
def test_what_is_none(tmp_path: Path, content: bytes) -> None:
    """A table that mentions a library would be read as one."""
    (tmp_path / "x").write_bytes(content)
    assert recognise(str(tmp_path / "x")) is None

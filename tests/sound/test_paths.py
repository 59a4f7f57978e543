"""File names as text: every name that a disk can hold survives a table."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.sound.paths import path_to_text, text_to_path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"/music/a b.mp3", "/music/a b.mp3"),
        ("/music/é.mp3".encode(), "/music/é.mp3"),
        (b"100%.mp3", "100%.mp3"),
        (b"/music/caf\xe9.mp3", "file:///music/caf%E9.mp3"),
        (b"caf\xe9 1.mp3", "file:caf%E9%201.mp3"),
        (b"file:odd.mp3", "file:file%3Aodd.mp3"),
    ],
)
def test_names_that_are_no_text_become_uris(path: bytes, text: str) -> None:
    """A name in an old encoding could not stand in a table, or a usual one would look odd."""
    assert path_to_text(path) == text
    assert os.fsencode(text_to_path(text)) == path


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_any_bytes_come_back(name: bytes) -> None:
    """Some file of a library could be listed but not opened."""
    text = path_to_text(name)
    text.encode("utf-8")
    assert os.fsencode(text_to_path(text)) == name


@pytest.mark.parametrize("uri", ["file:/m/a%20b", "file:///m/a%20b", "file://localhost/m/a%20b"])
def test_other_programs_uris_are_understood(uri: str) -> None:
    """Playlists and tables of other programs would name files that are not found."""
    assert text_to_path(uri) == "/m/a b"

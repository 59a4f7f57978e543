"""Which program's library a file is, by what is in it."""

from __future__ import annotations

import os

from mt_tools.library import beets, itunes, playlists, rekordbox
from mt_tools.library.entries import Library

_LOOKED_AT = 4096


def recognise(path: str) -> Library | None:
    """Return the library that a file is, not read yet; None where it is none that is known.

    Playlists without a header are known by their ending. Raises `OSError` for a file that cannot be
    opened.
    """
    with open(path, "rb") as file:
        head = file.read(_LOOKED_AT)
    if head.startswith(beets.HEAD):
        return beets.library(path)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") and rekordbox.ROOT in head:
        return rekordbox.library(path)
    if text.startswith(b"<") and itunes.ROOT in head:
        return itunes.library(path)
    if text.startswith(playlists.HEAD) or os.path.splitext(path)[1].lower() in playlists.ENDINGS:
        return playlists.library(path)
    return None

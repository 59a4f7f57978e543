"""File names as the text of a table, whatever their bytes.

A file name on Linux is bytes; a table holds Unicode text. A name that is valid UTF-8 stands in the
table as typed. Any other, and one that itself begins with `file:`, is written as a `file:` URI with
percent-encoding (RFC 8089): `file:///music/caf%E9.mp3`, or `file:caf%E9.mp3` when it is relative.
"""

from __future__ import annotations

import os
from urllib.parse import quote_from_bytes, unquote_to_bytes

_SCHEME = "file:"


def path_to_text(path: str | bytes | os.PathLike[str]) -> str:
    """Write a path as text for a table, such that `text_to_path` finds the same file again."""
    raw = os.fsencode(path)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is not None and not text.startswith(_SCHEME):
        return text
    authority = "//" if raw.startswith(b"/") else ""
    return _SCHEME + authority + quote_from_bytes(raw)


def text_to_path(text: str) -> str:
    """Turn the text of a table into a path for `open`; bytes that are no UTF-8 become surrogates.

    `file:` URIs without a host, with an empty one and with `localhost` are understood.
    """
    if not text.startswith(_SCHEME):
        return text
    rest = text.removeprefix(_SCHEME)
    for authority in ("//localhost/", "///"):
        if rest.startswith(authority):
            rest = "/" + rest.removeprefix(authority)
            break
    return os.fsdecode(unquote_to_bytes(rest))

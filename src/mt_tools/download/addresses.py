"""Where files are asked for: public addresses, and mirrors that hold copies of them."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from mt_tools.errors import UsageError

MIRROR_VARIABLE = "MT_TOOLS_MIRROR"

Address = str | Path
"""An http(s) address, or a file in a mirror that is a folder."""


def file_name(url: str) -> str:
    """Return the name of the file at `url`, which is also its name in a mirror."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def mirror_of(mirror: str | None) -> str | None:
    """Return the mirror to use: the one given, else that of the variable, else none."""
    return mirror or os.environ.get(MIRROR_VARIABLE) or None


def in_mirror(mirror: str, name: str) -> Address:
    """Return where a mirror has the file `name`, which may be a path below it.

    Raises `UsageError` for a mirror that is neither a folder nor an http(s) address.
    """
    scheme = urlsplit(mirror).scheme
    if scheme in ("http", "https"):
        return f"{mirror.rstrip('/')}/{quote(name)}"
    if scheme == "file":
        return Path(url2pathname(urlsplit(mirror).path)) / name
    if "://" in mirror:
        raise UsageError(f"mirror {mirror!r}: expected a folder or an http(s) URL")
    return Path(mirror).expanduser() / name

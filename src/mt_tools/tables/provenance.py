"""Provenance: the steps that made a table, kept in its metadata under `mt`.

A step is the command, its version, the options that change the result, and the digests of the
regular files it read. No clock times and no absolute paths: equal work gives equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

Step = dict[str, Any]
KEY = b"mt"


def step(command: str, settings: dict[str, Any], inputs: Iterable[str | Path] = ()) -> Step:
    """Describe one run of a command; `inputs` are the tables and models it reads."""
    files = [
        {"name": os.path.basename(path), "sha256": file_digest(path)}
        for path in inputs
        if _is_regular(path)
    ]
    return {
        "command": command,
        "version": version("mt-tools"),
        "settings": {name: _portable(value) for name, value in settings.items()},
        "inputs": files,
    }


def _portable(value: Any) -> Any:
    """Return a setting without where it lies on this machine: `/home/me/a.npz` is `a.npz`."""
    if isinstance(value, list):
        return [_portable(item) for item in value]
    return re.sub(r"(^|[=:])~?/.*/", r"\1", value) if isinstance(value, str) else value


def _is_regular(path: str | Path) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def merged(histories: Sequence[list[Step]]) -> list[Step]:
    """Join the histories of several inputs; a step they share is kept once, in first order."""
    steps: list[Step] = []
    for history in histories:
        steps.extend(s for s in history if s not in steps)
    return steps


def dump(steps: list[Step]) -> bytes:
    """Return the steps as the bytes that a table's metadata holds."""
    return json.dumps(steps, sort_keys=True, ensure_ascii=False).encode()


def load(metadata: dict[bytes, bytes] | None) -> list[Step]:
    """Return the steps from a table's metadata; none where it has none."""
    return json.loads(metadata[KEY]) if metadata and KEY in metadata else []

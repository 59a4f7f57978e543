"""Lists of what was unpacked, in the format of `sha256sum`, so that `sha256sum -c` can check them.

The first line, a comment, has the checksum of the archive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mt_tools.errors import RunError


@dataclass(frozen=True)
class Member:
    """An unpacked file: its path below the folder, its size in bytes, its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What was unpacked of an archive: the archive's checksum, and the SHA-256 of each path."""

    checksum: str
    files: dict[str, str]


def write_manifest(path: Path, checksum: str, below: str, members: Iterable[Member]) -> None:
    """Write what was unpacked, whole or not at all; paths get the folder `below` before them."""
    lines = [f"# unpacked from {checksum}\n"]
    lines += [f"{m.sha256}  {PurePosixPath(below, m.path)}\n" for m in members]
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text("".join(lines), encoding="utf-8", errors="surrogateescape")
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error


def unpacked_from(path: Path) -> str | None:
    """Return the checksum of the archive that a list is of, without reading the list."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            return file.readline().rstrip("\n").rpartition(" ")[2]
    except OSError:
        return None


def read_manifest(path: Path) -> Manifest | None:
    """Return what was unpacked, None where that is not recorded."""
    try:
        first, *lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return None
    pairs = (line.split("  ", 1) for line in lines if line)
    return Manifest(first.rpartition(" ")[2], {name: digest for digest, name in pairs})

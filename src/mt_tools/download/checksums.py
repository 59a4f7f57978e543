"""Checksums as publishers state them: `sha256:HEX`, `md5:HEX` or `sha1:HEX`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

_BLOCK = 1 << 20
_SPELLED = {"sha256": "SHA-256", "sha1": "SHA-1", "md5": "MD5"}


def checksum_of(
    path: str | os.PathLike[str],
    algorithm: str = "sha256",
    advance: Callable[[int], object] = lambda count: None,
) -> str:
    """Return the checksum of a file as `algorithm:HEX`; `advance` is told of the bytes read."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            advance(len(block))
    return f"{algorithm}:{digest.hexdigest()}"


def algorithm_of(checksum: str) -> str:
    """Return the algorithm of a checksum; SHA-256 where none is stated."""
    return checksum.partition(":")[0] or "sha256"


def spelled(checksum: str) -> str:
    """Write a checksum for reading: `SHA-256 12ab...`."""
    algorithm, _, digest = checksum.partition(":")
    return f"{_SPELLED[algorithm]} {digest}"

"""Archives unpacked safely, and lists of what was in them."""

from mt_tools.unpack.archive import Limits, unpack
from mt_tools.unpack.manifest import (
    Manifest,
    Member,
    read_manifest,
    unpacked_from,
    write_manifest,
)

__all__ = [
    "Limits",
    "Manifest",
    "Member",
    "read_manifest",
    "unpack",
    "unpacked_from",
    "write_manifest",
]

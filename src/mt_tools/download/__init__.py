"""Downloads that arrive whole and verified, or not at all.

Goal: files from their public addresses, or from a mirror for sites without a network, checked
against their checksums before they get their names.

Conventions: what has come of a file lies beside it as `.NAME.part`, with a note of what it is the
beginning of in `.NAME.part.json`; the next try, or the next run, goes on from there. A mirror is a
folder, or the http(s) URL of one, that holds the file under its own name. It is named by the option
`--mirror` or by the variable `MT_TOOLS_MIRROR`; with a mirror the public address is never asked.

pooch downloads; what it cannot do is in `download.transfer`: going on after a break.
"""

from mt_tools.download.addresses import MIRROR_VARIABLE, file_name, in_mirror, mirror_of
from mt_tools.download.checksums import algorithm_of, checksum_of
from mt_tools.download.files import (
    Retries,
    Wanted,
    Way,
    announced,
    bring,
    bring_several,
    retrieve,
)
from mt_tools.download.lock import locked
from mt_tools.download.progress import Progress, progress_bar

__all__ = [
    "MIRROR_VARIABLE",
    "Progress",
    "Retries",
    "Wanted",
    "Way",
    "algorithm_of",
    "announced",
    "bring",
    "bring_several",
    "checksum_of",
    "file_name",
    "in_mirror",
    "locked",
    "mirror_of",
    "progress_bar",
    "retrieve",
]

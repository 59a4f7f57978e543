"""Checking the folder of a data set again: every byte that was downloaded and unpacked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mt_tools.datasets.store import Store, name_of, size_of
from mt_tools.download import Progress, algorithm_of, checksum_of, progress_bar
from mt_tools.errors import UsageError


def verify(store: Store, show: bool = False) -> Iterator[str]:
    """Yield a line for all that is not as it should be: missing, changed, extra, not unpacked.

    Files are held to the published checksums, else to those of the first download; what was
    unpacked to what it was then. A file is extra if it lies in a folder that an archive made and
    came from none; hidden ones, as a Mac leaves them, are not looked at. `show` draws a bar. Raises
    `UsageError` for a folder in which nothing of the data set was ever downloaded.
    """
    if not store.is_begun():
        raise UsageError(
            f"nothing of {store.data.name} was downloaded into {store.folder}, so there is nothing "
            f"to hold it to: get it with mt-fetch dataset {store.data.name} --to {store.folder}"
        )
    listed: dict[str, str] = {}
    for archive in store.archives:
        listed |= store.listed(archive)
    names = [*map(name_of, store.remotes), *listed]
    total = sum(size_of(store.folder / name) for name in names)
    with progress_bar(show, f"mt-fetch {store.data.name}", total) as progress:
        unneeded = store.unpacked()
        for remote in store.remotes:
            name = name_of(remote)
            if name not in unneeded or (store.folder / name).exists():
                yield from _wrong(store.folder, name, store.checksum(remote), progress)
        for archive in store.archives:
            if not store.is_unpacked(archive):
                yield f"not unpacked: {archive.name}"
        for name, digest in listed.items():
            yield from _wrong(store.folder, name, f"sha256:{digest}", progress)
    known = {*names}
    yield from (f"extra: {name}" for name in _below(store.folder, known) if name not in known)


def _wrong(folder: Path, name: str, checksum: str, progress: Progress) -> Iterator[str]:
    try:
        got = checksum_of(folder / name, algorithm_of(checksum), progress.advance)
    except FileNotFoundError:
        yield f"missing: {name}"
    except OSError as error:
        yield f"unreadable: {name} ({error.strerror})"
    else:
        if checksum and got != checksum:
            yield f"changed: {name}: got {got}, expected {checksum}"


def _below(folder: Path, known: Iterable[str]) -> Iterator[str]:
    """Yield the files in the folders that `known` ones are in, but for the data set's own."""
    tops = sorted({name.split("/")[0] for name in known if "/" in name})
    for top in tops:
        for place, folders, names in os.walk(folder / top):
            folders.sort()
            for name in sorted(names):
                if not name.startswith("."):
                    yield Path(place, name).relative_to(folder).as_posix()

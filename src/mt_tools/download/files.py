"""Files brought to their places: tried again, from other addresses, verified, several at a time."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from mt_tools.download.addresses import MIRROR_VARIABLE, Address, file_name, in_mirror, mirror_of
from mt_tools.download.checksums import algorithm_of, checksum_of, spelled
from mt_tools.download.part import Part
from mt_tools.download.progress import Progress, progress_bar
from mt_tools.download.transfer import Expected, Refusal, Stopped, copy, stated_size, transfer
from mt_tools.errors import DownloadError

TIMEOUT = 30.0
"""Seconds without a byte after which a server counts as gone."""
_PROGRESS = 1 << 20
"""Bytes that a try must add to what ever was here for it not to count as failed."""


@dataclass(frozen=True)
class Retries:
    """How often an address is tried again, and how long is waited before: all in seconds.

    `times` counts tries in a row that bring nothing; the waits double from `first` to `most`. A
    server that asks for more than `patience` is given up.
    """

    times: int = 5
    first: float = 1.0
    most: float = 30.0
    patience: float = 120.0

    def wait(self, failed: int, asked: float | None) -> float:
        """Return how long to wait after so many failed tries, the server having `asked`."""
        return min(self.most, self.first * 2.0 ** (failed - 1)) if asked is None else asked


@dataclass(frozen=True)
class Wanted:
    """A file to be had: where it goes, where it may be, and how it is known.

    `size` is 0 and `checksum` empty where they are unknown; a checksum is `sha256:HEX`, `sha1:HEX`
    or `md5:HEX`. `announced` is the size that a server stated: only progress relies on it. `by`
    says, for the message, who expects that checksum, if it is not the publisher.
    """

    target: Path
    addresses: tuple[Address, ...]
    size: int = 0
    checksum: str = ""
    announced: int = 0
    by: str = ""


@dataclass(frozen=True)
class Way:
    """How files are brought: patience, progress, and what ends it before its time."""

    retries: Retries = Retries()
    timeout: float = TIMEOUT
    progress: Progress = field(default_factory=Progress)
    stop: threading.Event = field(default_factory=threading.Event)
    pause: Callable[[float], object] | None = None

    def wait(self, seconds: float) -> None:
        """Wait, unless the run ends."""
        (self.pause or self.stop.wait)(seconds)
        if self.stop.is_set():
            raise Stopped


def retrieve(
    url: str,
    sha256: str,
    target: str | os.PathLike[str],
    *,
    mirror: str | None = None,
    progress: bool = False,
    timeout: float = TIMEOUT,
    retries: Retries | None = None,
) -> Path:
    """Bring the file at `url`, or of the same name in `mirror`, to the path `target`.

    `sha256` is the hexadecimal digest expected. A target that already has it is left alone, without
    a network. `progress` draws a bar on stderr. Raises `DownloadError` when the address does not
    answer or the bytes are not the expected ones, `Locked` where another run is bringing the file,
    and `UsageError` for a mirror that is neither a folder nor an http(s) address. The target is as
    it was then; of a connection that broke, what came stays beside it for the next call.
    """
    place = mirror_of(mirror)
    source = in_mirror(place, file_name(url)) if place else url
    target = Path(target)
    with progress_bar(progress, file_name(url)) as bar:
        way = Way(retries=retries or Retries(), timeout=timeout, progress=bar)
        bring(Wanted(target, (source,), checksum=f"sha256:{sha256}"), way)
    return target


def bring(wanted: Wanted, way: Way) -> str:
    """Bring one file to its place, from the first address that has it; return its checksum.

    A file that is there already, and is the one expected, is left alone. The checksum is the
    expected one, or the SHA-256 where none is. Raises as `retrieve` does.
    """
    found = present(wanted)
    if found:
        way.progress.advance(wanted.size or wanted.announced)
        return found
    part = Part(wanted.target, way.progress)
    part.announced = wanted.announced
    try:
        if found := present(wanted):  # the run that held the part until now has brought it
            part.restart()
            return found
        return _from_anywhere(wanted, part, way)
    finally:
        part.close()


def present(wanted: Wanted) -> str | None:
    """Return the checksum of a file that is in its place and is the one expected, else None."""
    if not wanted.target.is_file():
        return None
    if wanted.size and wanted.target.stat().st_size != wanted.size:
        return None
    checksum = checksum_of(wanted.target, algorithm_of(wanted.checksum))
    return checksum if wanted.checksum in ("", checksum) else None


def _from_anywhere(wanted: Wanted, part: Part, way: Way) -> str:
    if wanted.checksum and part.size and part.size == wanted.size:
        checksum = checksum_of(part.path, algorithm_of(wanted.checksum))
        if checksum == wanted.checksum:  # the run before was killed in its last moment
            part.commit()
            return checksum
        part.restart()
    refusals: list[tuple[Address, Refusal]] = []
    for address in wanted.addresses:
        try:
            checksum = _from(address, wanted, part, way)
        except Refusal as refusal:
            refusals.append((address, refusal))
            continue
        part.commit()
        return checksum
    raise DownloadError(_failure(wanted, refusals))


def _from(address: Address, wanted: Wanted, part: Part, way: Way) -> str:
    """Fill `part` from one address, trying again while that may help; return the checksum."""
    name = file_name(address) if isinstance(address, str) else address.name
    expected = Expected(name, wanted.size, bool(wanted.checksum))
    failed = 0
    while True:
        before, resumed = part.best, part.size > 0
        try:
            if isinstance(address, Path):
                copy(address, part, way.stop.is_set)
            else:
                transfer(
                    address, expected, part,
                    timeout=way.timeout, progress=way.progress, stopped=way.stop.is_set,
                )  # fmt: skip
            return _verified(wanted, part, resumed and isinstance(address, str))
        except Refusal as refusal:
            failed = 1 if part.best - before >= _PROGRESS else failed + 1
            if not refusal.again or failed > way.retries.times:
                raise
            wait = way.retries.wait(failed, refusal.wait)
            if wait > way.retries.patience:
                raise Refusal(f"{refusal}, and asks to wait {wait:,.0f} s") from refusal
            way.wait(wait)


class _Mismatch(Refusal):
    """What came is whole, and another file."""


def _verified(wanted: Wanted, part: Part, resumed: bool) -> str:
    """Return the checksum of what came; where it is another file, nothing of it is kept."""
    checksum = checksum_of(part.path, algorithm_of(wanted.checksum))
    size = part.size
    if wanted.checksum not in ("", checksum) or (wanted.size and size != wanted.size):
        part.restart()
        got, expected = checksum, wanted.checksum
        if wanted.checksum in ("", checksum):
            said = f"got {size:,} bytes, expected {wanted.size:,}"
        else:
            said = f"got {spelled(got)} ({size:,} bytes), expected {expected.partition(':')[2]}"
            said += f" {wanted.by}" if wanted.by else ""
        # Two halves of two versions, perhaps: the next try begins anew.
        raise _Mismatch(said, again=resumed, wait=0.0)
    return checksum


def _failure(wanted: Wanted, refusals: Sequence[tuple[Address, Refusal]]) -> str:
    """Say on one line what every address answered, and what to do."""
    if len(refusals) == 1:
        (address, refusal) = refusals[0]
        if isinstance(refusal, _Mismatch):
            return (
                f"{address} is not the file expected: {refusal}; nothing was kept. "
                "Try again, or name a folder or URL that has the right file: --mirror PLACE"
            )
        if isinstance(address, Path):
            return (
                f"the mirror has no {address}: {refusal}; put the file there, or leave out "
                f"--mirror and {MIRROR_VARIABLE}"
            )
    said = "; ".join(f"{address}: {refusal}" for address, refusal in refusals)
    return (
        f"could not download {said}. Check the network, or name a folder or URL that holds "
        f"{wanted.target.name}: --mirror PLACE, or {MIRROR_VARIABLE}=PLACE"
    )


def announced(wanted: Sequence[Wanted], *, connections: int, timeout: float = 10.0) -> list[Wanted]:
    """Return the files with the sizes that their servers state, where none is known."""

    def asked(one: Wanted) -> Wanted:
        places = () if one.size else (one.target, *one.addresses)
        sizes = (_local_size(p) if isinstance(p, Path) else stated_size(p, timeout) for p in places)
        return dataclasses.replace(one, announced=next(filter(None, sizes), 0))

    if all(one.size for one in wanted):
        return list(wanted)
    pool = ThreadPoolExecutor(connections)
    try:
        return list(pool.map(asked, wanted))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _local_size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def bring_several(
    wanted: Sequence[Wanted],
    way: Way,
    *,
    connections: int,
    arrived: Callable[[Wanted, str], object],
) -> list[DownloadError]:
    """Bring files, `connections` at a time; return the errors of those that could not be had.

    `arrived` is called here, in this thread, with each file as it is in its place and its checksum.
    What ends all of them (a full disk, another run at work) is raised at once.
    """
    errors: list[DownloadError] = []
    pool = ThreadPoolExecutor(connections)
    try:
        tasks: dict[Future[str], Wanted] = {pool.submit(bring, one, way): one for one in wanted}
        for task in as_completed(tasks):
            try:
                arrived(tasks[task], task.result())
            except DownloadError as error:
                errors.append(error)
    finally:
        # A thread that waits for a silent server must not hold up who interrupts the run.
        way.stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
    return errors

"""The folder of a data set: what is in it, what is missing, and bringing that.

Beside the published files the folder holds `.mt-fetch`: `files.json` (what was downloaded and
found to be right: checksum, size, time of change), one list for each archive of what was unpacked
from it, in the format of `sha256sum`, and a lock. A file is downloaded if it is missing or not
known to be right; an archive is unpacked if it has no list, and need not stay after that. Where the
publisher states no checksum, the one that the first download had is what later ones are held to.

The folder is below the user's data folder, which no cleaning empties as it may a cache, or below
the one that the variable `MT_TOOLS_DATA` names.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from mt_tools.datasets.declaration import Dataset, Remote
from mt_tools.download import (
    Progress,
    Retries,
    Wanted,
    Way,
    announced,
    bring_several,
    file_name,
    in_mirror,
    locked,
    mirror_of,
    progress_bar,
)
from mt_tools.errors import ArchiveError, RunError
from mt_tools.unpack import read_manifest, unpack, unpacked_from, write_manifest

DATA_VARIABLE = "MT_TOOLS_DATA"
STATE = ".mt-fetch"

Say = Callable[[str], object]


def data_folder(name: str) -> Path:
    """Return where the data set `name` is kept if nobody says otherwise; it need not exist."""
    chosen = os.environ.get(DATA_VARIABLE)
    root = Path(chosen) if chosen else platformdirs.user_data_path("mt-tools") / "datasets"
    return root / name


def readable(size: int) -> str:
    """Write bytes for reading: `1.2 GB`, of 1000 as disks and publishers count."""
    amount, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:.3g} {unit}"


def name_of(remote: Remote) -> str:
    """Return the path of a published file below the folder of its data set."""
    return remote.name or file_name(remote.url)


def is_here(data: Dataset) -> bool:
    """Say whether a data set is in its usual folder, whole for one of its label sets at least."""
    folder = data_folder(data.name)
    if not (folder / STATE).is_dir():
        return False
    return any(Store(data, folder, set_).is_whole() for set_ in data.sets or ("",))


@dataclass(frozen=True)
class Archive:
    """An archive, of one piece or several, and the folder that it is unpacked into."""

    name: str
    below: str
    pieces: tuple[Remote, ...]


@dataclass(frozen=True)
class Item:
    """A published file as `--dry-run` lists it; `state` is `here`, `missing`, `part`, `unpacked`.

    `size` is 0 where nobody states it, `has` the bytes that are here.
    """

    name: str
    size: int
    has: int
    state: str
    addresses: tuple[str, ...]
    below: str | None


class Store:
    """The folder of a data set, as far as one of its label sets needs it (all where empty)."""

    def __init__(self, data: Dataset, folder: Path, set_: str = "") -> None:
        self.data = data
        self.folder = folder
        self.remotes = [r for r in data.files if not (r.sets and set_) or set_ in r.sets]
        pieces: dict[str, list[Remote]] = {}
        for remote in self.remotes:
            if remote.unpack is not None:
                pieces.setdefault(remote.piece_of or name_of(remote), []).append(remote)
        self.archives = [
            Archive(name, found[0].unpack or ".", tuple(found)) for name, found in pieces.items()
        ]
        self._state = folder / STATE
        self._known = self._read_known()

    # What is here.

    def _read_known(self) -> dict[str, dict[str, Any]]:
        try:
            return dict(json.loads((self._state / "files.json").read_bytes()))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, TypeError) as error:
            raise RunError(
                f"{self._state / 'files.json'} cannot be read ({error}): delete it, then run again"
            ) from error

    def checksum(self, remote: Remote) -> str:
        """Return the checksum that a file is held to: declared, else that of the first download."""
        return remote.checksum or self._known.get(name_of(remote), {}).get("checksum", "")

    def _is_known(self, remote: Remote) -> bool:
        """Say whether a file was found to be right and has not changed since."""
        known = self._known.get(name_of(remote))
        try:
            status = (self.folder / name_of(remote)).stat()
        except OSError:
            return False
        return (
            known is not None
            and known["checksum"] == self.checksum(remote)
            and (known["size"], known["changed"]) == (status.st_size, status.st_mtime_ns)
        )

    def _manifest(self, archive: Archive) -> Path:
        return self._state / f"{archive.name.replace('/', '_')}.sha256"

    def _digest(self, archive: Archive) -> str:
        """Return what the list of an archive says it is from: the checksums of its pieces."""
        return "+".join(self.checksum(piece) for piece in archive.pieces)

    def listed(self, archive: Archive) -> dict[str, str]:
        """Return the files that an archive was unpacked to, with the SHA-256 of each."""
        manifest = read_manifest(self._manifest(archive))
        return manifest.files if manifest is not None else {}

    def is_unpacked(self, archive: Archive) -> bool:
        """Say whether an archive was unpacked whole, in the version that is declared."""
        return unpacked_from(self._manifest(archive)) == self._digest(archive)

    def unpacked(self) -> set[str]:
        """Return the names of the files that are no longer needed: those of unpacked archives."""
        done = [archive for archive in self.archives if self.is_unpacked(archive)]
        return {name_of(piece) for archive in done for piece in archive.pieces}

    def is_begun(self) -> bool:
        """Say whether anything was ever downloaded into the folder, or unpacked in it."""
        return bool(self._known) or any(map(self.is_unpacked, self.archives))

    def is_whole(self) -> bool:
        """Say whether all that can be downloaded is here, unpacked and known to be right."""
        rest = {name_of(remote) for remote in self.remotes} - self.unpacked()
        return bool(self.remotes) and not any(
            name_of(r) in rest and (r.unpack is not None or not self._is_known(r))
            for r in self.remotes
        )

    def lost(self) -> Iterator[str]:
        """Yield the files that were unpacked and are no longer there."""
        for archive in self.archives:
            for name in self.listed(archive):
                if not (self.folder / name).exists():
                    yield name

    def items(self, mirror: str | None = None) -> list[Item]:
        """Return the published files, each with what is here of it; asks no network."""
        unpacked = self.unpacked()
        found = []
        for remote in self.remotes:
            path = self.folder / name_of(remote)
            part = path.with_name(f".{path.name}.part")
            state, has = "missing", 0
            if path.is_file():
                state, has = "here", path.stat().st_size
            elif part.is_file():
                state, has = "part", part.stat().st_size
            if name_of(remote) in unpacked:
                state = "unpacked"
            size = remote.size or (has if path.is_file() else 0)
            addresses = tuple(map(str, self._addresses(remote, mirror)))
            found.append(Item(name_of(remote), size, has, state, addresses, remote.unpack))
        return found

    def _addresses(self, remote: Remote, mirror: str | None) -> tuple[str | Path, ...]:
        place = mirror_of(mirror)
        if place is None:
            return (remote.url, *remote.mirrors)
        # A mirror of several data sets has a folder for each, a copy of this one has not.
        return (
            in_mirror(place, f"{self.data.name}/{name_of(remote)}"),
            in_mirror(place, name_of(remote)),
        )

    # Bringing what is missing.

    def bring(
        self,
        mirror: str | None = None,
        *,
        connections: int = 4,
        keep: bool = True,
        show: bool = False,
        say: Say = lambda line: None,
        retries: Retries | None = None,
    ) -> None:
        """Download what is missing, and unpack it; without `keep` archives go when they are.

        `show` draws a bar of bytes, downloaded and unpacked. Raises `DownloadError` for what could
        not be had, `ArchiveError` for what could not be unpacked (both after all else is here),
        `Locked` where another run is at work in the folder, and `RunError` for a full disk.
        """
        if self.is_whole():
            return
        try:
            self._state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot write into {self.folder}: {error.strerror}; name another folder: --to DIR"
            ) from error
        with locked(self._state / "lock", str(self.folder)):
            self._known = self._read_known()  # another run may just have ended
            unpacked = self.unpacked()
            missing = [r for r in self.remotes if name_of(r) not in unpacked]
            wanted = [
                Wanted(
                    self.folder / name_of(r),
                    self._addresses(r, mirror),
                    r.size,
                    self.checksum(r),
                    by="" if r.checksum else self._at_first(),
                )
                for r in missing
                if not self._is_known(r)
            ]
            wanted = announced(wanted, connections=connections)
            self._tell(wanted, say)
            work = self._check_room(missing, wanted, keep)
            with progress_bar(show, f"mt-fetch {self.data.name}", work) as progress:
                errors, notes = self._brought(
                    missing, wanted, Way(retries or Retries(), progress=progress),
                    connections=connections, keep=keep,
                )  # fmt: skip
        for line in [*notes, *map(str, errors[:-1])]:
            say(line)
        if errors:
            raise errors[-1]

    def _at_first(self) -> str:
        """Say whose checksum one is that no publisher states, and how to be rid of it."""
        return f"as at first (take its lines out of {self._state / 'files.json'} to accept another)"

    def _tell(self, wanted: Iterable[Wanted], say: Say) -> None:
        """Say how much is about to be downloaded."""
        sizes = [one.size or one.announced for one in wanted if not one.target.is_file()]
        unknown = sizes.count(0)
        if sizes:
            files = "1 file" if len(sizes) == 1 else f"{len(sizes)} files"
            size = readable(sum(sizes)) if any(sizes) else "of unknown size"
            more = f" and {unknown} of unknown size" if unknown and any(sizes) else ""
            say(f"{files} to download, {size}{more}, into {self.folder}")

    def _check_room(self, missing: Iterable[Remote], wanted: Iterable[Wanted], keep: bool) -> int:
        """Raise where the disk cannot hold what is to come; return the bytes of work ahead."""
        coming = {one.target: one.size or one.announced for one in wanted}
        need = work = 0
        for remote in missing:
            path = self.folder / name_of(remote)
            size = coming.get(path) or size_of(path)
            here = size_of(path) or size_of(path.with_name(f".{path.name}.part"))
            packed = remote.unpack is not None
            need += max(0, size - here) if keep or not packed else 0
            need += size if packed else 0  # what an archive unpacks to is at least its size
            work += coming.get(path, 0) + (size if packed else 0)
        free = shutil.disk_usage(self.folder).free
        if need > free:
            raise RunError(
                f"{self.data.name} needs about {readable(need)} in {self.folder}, which has "
                f"{readable(free)} free: make room, or name another folder: --to DIR"
            )
        return work

    def _brought(
        self,
        missing: list[Remote],
        wanted: list[Wanted],
        way: Way,
        *,
        connections: int,
        keep: bool,
    ) -> tuple[list[RunError], list[str]]:
        """Bring files and unpack archives; return what went wrong, and notes for the user."""
        remotes = {self.folder / name_of(remote): remote for remote in missing}
        here = {name_of(remote) for remote in missing if self._is_known(remote)}
        archives = {name_of(p): a for a in self.archives for p in a.pieces}
        broken: list[RunError] = []
        notes: list[str] = []

        def settle(name: str) -> None:
            """Unpack an archive as soon as its last piece is here."""
            archive = archives.get(name)
            if archive is None or not all(name_of(piece) in here for piece in archive.pieces):
                return
            try:
                self._unpack(archive, keep, way.progress)
            except ArchiveError as error:
                self._forget(archive)
                broken.append(error)

        def arrived(wanted: Wanted, checksum: str) -> None:
            remote = remotes[wanted.target]
            if not self.checksum(remote):
                notes.append(
                    f"{name_of(remote)}: its publisher states no checksum; later downloads are "
                    f"held to that of this one, {checksum}"
                )
            self._remember(remote, checksum)
            here.add(name_of(remote))
            settle(name_of(remote))

        for archive in self.archives:  # downloaded before, and not unpacked
            if here.issuperset(map(name_of, archive.pieces)):
                settle(name_of(archive.pieces[0]))
        if wanted:
            broken += bring_several(wanted, way, connections=connections, arrived=arrived)
        return broken, notes

    def _remember(self, remote: Remote, checksum: str) -> None:
        """Write down that a file is here and right."""
        status = (self.folder / name_of(remote)).stat()
        entry = {"checksum": checksum, "size": status.st_size, "changed": status.st_mtime_ns}
        self._known[name_of(remote)] = entry
        self._write_known()

    def _forget(self, archive: Archive) -> None:
        """Hold no later download to what did not unpack: it may have been cut on its way."""
        for piece in archive.pieces:
            if not piece.checksum:
                self._known.pop(name_of(piece), None)
        self._write_known()

    def _write_known(self) -> None:
        target = self._state / "files.json"
        temporary = target.with_name(".files.json.tmp")
        try:
            temporary.write_text(json.dumps(self._known, indent=1, sort_keys=True) + "\n")
            temporary.replace(target)
        except OSError as error:
            raise RunError(f"cannot write {target}: {error.strerror}") from error

    def _unpack(self, archive: Archive, keep: bool, progress: Progress) -> None:
        paths = [self.folder / name_of(piece) for piece in archive.pieces]
        members = unpack(
            paths,
            self.folder / archive.below,
            self._state / "unpacking",
            advance=progress.advance,
        )
        write_manifest(self._manifest(archive), self._digest(archive), archive.below, members)
        if not keep:
            for path in paths:
                path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Return the size of a file, bytes; 0 where there is none."""
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0

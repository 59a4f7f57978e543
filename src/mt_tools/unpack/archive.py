"""Archives unpacked safely: zip and tar, also compressed, also in pieces.

Goal: what is in an archive lies below one folder whole, or not at all, whatever its maker intended.

Sources: the attacks of the Python documentation of `tarfile` and `zipfile`; D. Fifield, "A better
zip bomb", WOOT 2019 (overlapping members, which headers do not show). Of an archive only names and
bytes are taken. A name must be a relative path of plain parts. A link to another file of the
archive, as repositories have them (`autotagging.tsv` of MTG-Jamendo), becomes a copy of that file;
all other links, devices and FIFOs are refused; permissions and owners are never applied. Sizes in
headers are not trusted: bytes are counted as they are written. This is stricter than tarfile's
`data` filter, and the same for zip.

Conventions: everything is written into a scratch folder on the same file system, then moved into
place; what is there already stays if it has the same bytes, and is never replaced.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import posixpath
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from mt_tools.errors import ArchiveError, RunError
from mt_tools.unpack.manifest import Member
from mt_tools.unpack.pieces import Joined

_BLOCK = 1 << 20
_HEADER = 16 << 20  # a tar header longer than this is no header
_TAR = 512
_LONGEST = 4096  # a path that is longer leads nowhere
_READ_ERRORS = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, IndexError, KeyError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, tarfile.TarError,
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold.

    `ratio`: bytes unpacked for each one packed. Audio has 1 to 2, tables of numbers and tags up to
    20, so five times that is allowed; a bomb has 1,000 and more. It counts beyond the first
    `allowance` bytes, as a small archive of silence may well be packed tighter. `total`: bytes; the
    largest published music archive has 879 GiB (FMA full). `members`: the most published is a
    million (one file a track of the Million Song Dataset).
    """

    ratio: float = 100.0
    allowance: int = 256 << 20
    total: int = 1 << 40
    members: int = 2_000_000


def unpack(
    pieces: Sequence[Path],
    folder: Path,
    scratch: Path,
    *,
    limits: Limits | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> list[Member]:
    """Unpack an archive, which the files `pieces` are one after the other, into `folder`.

    `scratch` is a folder on the same file system; what is in it is thrown away. `advance` is told
    of the bytes read. Returns the unpacked files. Raises `ArchiveError` for what is no archive, is
    cut or broken, is not safe to unpack, or holds a file that is there already with other bytes,
    and `RunError` where nothing can be written; `folder` is then as it was, unless the last step,
    moving into place, was stopped.
    """
    what = pieces[0].name if len(pieces) == 1 else f"{pieces[0].name} and its further pieces"
    _fresh(scratch)
    try:
        with Joined(pieces, advance) as archive:
            writer = _Writer(what, scratch, limits or Limits(), archive.size)
            try:
                members = [*_unpacked(archive, writer), *writer.copies()]
            except _READ_ERRORS as error:
                raise ArchiveError(
                    f"{what} is cut or broken: {error or type(error).__name__}; delete it and run "
                    "again"
                ) from error
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for member in members:
                place = folder / member.path
                if os.path.lexists(place) and not _same(place, member):
                    raise _occupied(place, what)
            _move(scratch, folder, what)
        except OSError as error:
            raise RunError(f"cannot unpack {what} into {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return members


def _fresh(scratch: Path) -> None:
    try:
        if scratch.exists():
            shutil.rmtree(scratch)
        scratch.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"cannot write {scratch}: {error.strerror}") from error


def _unpacked(archive: Joined, writer: _Writer) -> Iterator[Member]:
    head = archive.read(8)
    archive.seek(0)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        yield from _zip_members(archive, writer)
    elif head.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=archive) as unzipped:
            yield from _tar_members(unzipped, writer)
    elif head.startswith(b"BZh"):
        with bz2.BZ2File(archive) as stream:
            yield from _tar_members(stream, writer)
    elif head.startswith(b"\xfd7zXZ\x00"):
        with lzma.LZMAFile(archive) as stream:  # type: ignore[arg-type]  # it only reads
            yield from _tar_members(stream, writer)
    else:
        yield from _tar_members(archive, writer)


# --- zip -----------------------------------------------------------------------------------------


def _zip_members(archive: Joined, writer: _Writer) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        writer.expect(sum(info.file_size for info in opened.infolist()))
        for info in opened.infolist():
            name = _zip_name(info)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                raise writer.unsafe(name, "is a device")
            if kind == stat.S_IFLNK:
                with opened.open(info) as file:
                    writer.link(name, os.fsdecode(file.read(_LONGEST)), beside=True)
                continue
            if info.is_dir():
                writer.folder(name)
                continue
            # Other methods than deflate unpack all that they read: little is read at once.
            block = _BLOCK if info.compress_type in (0, 8) else 4096
            with opened.open(info) as file:
                yield writer.file(name, iter(partial(file.read, block), b""))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name as it was stored: UTF-8 where it is, as some programs do not say so."""
    name = info.orig_filename
    if info.flag_bits & 0x800:
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


# --- tar -----------------------------------------------------------------------------------------


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...


def _tar_members(stream: _Readable, writer: _Writer) -> Iterator[Member]:
    reader = _Forward(stream, writer)
    with tarfile.open(fileobj=reader, mode="r:") as opened:  # type: ignore[call-overload]
        while (info := opened.next()) is not None:
            opened.members.clear()  # it would keep all
            if info.isdir():
                writer.folder(info.name)
            elif info.isreg() and not info.issparse():
                reader.seek(info.offset_data)
                yield writer.file(info.name, reader.blocks(info.size))
            elif info.issym() or info.islnk():
                writer.link(info.name, info.linkname, beside=info.issym())
            else:
                raise writer.unsafe(info.name, "is a device or sparse")
    if reader.last.strip(b"\0"):  # tarfile takes a header that it cannot read for the end
        raise tarfile.ReadError("it ends without its end mark")
    while reader.read(_BLOCK):  # the checksum of what was compressed stands at its end
        pass


class _Forward:
    """A stream as tarfile reads it: forwards only, and counted, with bounded reads."""

    def __init__(self, stream: _Readable, writer: _Writer) -> None:
        self._stream = stream
        self._writer = writer
        self._place = 0
        self.last = b""

    def read(self, size: int) -> bytes:
        if size > _HEADER:
            raise tarfile.ReadError(f"it has a header of {size:,} bytes")
        parts = []
        while size and (part := self._stream.read(size)):
            parts.append(part)
            size -= len(part)
        data = b"".join(parts)
        self._place += len(data)
        self._writer.unpacks_to(self._place)
        if len(data) >= _TAR or not self.last:
            self.last = data[-_TAR:]
        return data

    def tell(self) -> int:
        return self._place

    def seek(self, place: int) -> int:
        if place < self._place:
            raise tarfile.ReadError("its members overlap")
        while place > self._place and self.read(min(_BLOCK, place - self._place)):
            pass
        return self._place

    def blocks(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes."""
        while size:
            data = self.read(min(_BLOCK, size))
            if not data:
                raise tarfile.ReadError("it ends in the middle of a file")
            size -= len(data)
            yield data


# --- what is written -----------------------------------------------------------------------------


class _Writer:
    """Writes the members of an archive below a folder: names are checked, bytes counted."""

    def __init__(self, what: str, folder: Path, limits: Limits, packed: int) -> None:
        self._what = what
        self._folder = folder
        self._limits = limits
        self._most = min(limits.total, max(limits.allowance, int(limits.ratio * packed)))
        self._written = 0
        self._count = 0
        self._seen: set[str] = set()
        self._links: dict[str, tuple[str, str]] = {}

    def unsafe(self, name: str, why: str) -> ArchiveError:
        return ArchiveError(
            f"{self._what} is not safe to unpack: {name!r} {why}; nothing was unpacked"
        )

    def expect(self, size: int) -> None:
        """Raise where an archive says itself that there is no room for it."""
        self.unpacks_to(size)
        free = shutil.disk_usage(self._folder).free
        if size > free:
            raise RunError(
                f"{self._what} unpacks to {size:,} bytes and {self._folder.parent} has {free:,} "
                "free: make room and run again"
            )

    def unpacks_to(self, size: int) -> None:
        if size > self._most:
            raise ArchiveError(
                f"{self._what} is not safe to unpack: it holds more than {self._most:,} bytes, far "
                "beyond what data of its size do (a bomb); nothing was unpacked"
            )

    def folder(self, name: str) -> None:
        parts = self._parts(name)
        self._made(self._folder.joinpath(*parts), name)

    def file(self, name: str, blocks: Iterable[bytes]) -> Member:
        parts = self._parts(name)
        if not parts:
            raise self.unsafe(name, "has no name")
        self._once(name, parts)
        target = self._folder.joinpath(*parts)
        self._made(target.parent, name)
        digest = hashlib.sha256()
        size = 0
        with self._created(target, name) as file:
            for block in blocks:
                digest.update(block)
                size += len(block)
                self.unpacks_to(self._written + size)
                self._write(file, block)
        self._written += size
        return Member("/".join(parts), size, digest.hexdigest())

    def link(self, name: str, target: str, *, beside: bool) -> None:
        """Take note of a link to another file of the archive.

        `target` is a path from the link's own folder if `beside`, else from the archive's top.
        """
        link = "/".join(self._parts(name))
        above = posixpath.dirname(link) if beside else ""
        path = posixpath.normpath(posixpath.join(above, target))
        if path.startswith(("/", "../")):
            raise self.unsafe(name, f"is a link to {target!r}, outside of the archive")
        if link in self._links:
            raise self.unsafe(name, "stands twice")
        self._links[link] = (name, path)

    def copies(self) -> Iterator[Member]:
        """Write what the links lead to in their places, once all files are here."""
        for name, target in self._links.values():
            for _ in self._links:  # a link may lead to a link, and in a ring
                target = self._links.get(target, ("", target))[1]
            source = self._folder / target
            if not source.is_file():
                raise self.unsafe(name, f"is a link to {target!r}, which is no file of it")
            with source.open("rb") as file:
                yield self.file(name, iter(partial(file.read, _BLOCK), b""))

    def _write(self, file: IO[bytes], block: bytes) -> None:
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:
            raise RunError(
                f"cannot unpack {self._what}: {error.strerror}; make room and run again"
            ) from error

    def _parts(self, name: str) -> list[str]:
        """Return the parts of a name that stays below the folder."""
        self._count += 1
        if self._count > self._limits.members:
            raise ArchiveError(
                f"{self._what} is not safe to unpack: it holds more than "
                f"{self._limits.members:,} files; nothing was unpacked"
            )
        if re.search(r"[\x00-\x1f\x7f\\]", name):
            raise self.unsafe(name, "has a backslash or a control character in its name")
        if name.startswith("/") or re.match(r"[A-Za-z]:", name):
            raise self.unsafe(name, "is an absolute path")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self.unsafe(name, "leads outside of its folder")
        return parts

    def _once(self, name: str, parts: Sequence[str]) -> None:
        key = unicodedata.normalize("NFC", "/".join(parts)).casefold()
        if key in self._seen:
            raise self.unsafe(name, "stands twice, perhaps in capitals and small letters")
        self._seen.add(key)

    def _made(self, folder: Path, name: str) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self.unsafe(name, f"cannot be written ({error.strerror})") from error

    def _created(self, target: Path, name: str) -> IO[bytes]:
        try:
            return target.open("xb", buffering=0)
        except OSError as error:
            raise self.unsafe(name, f"cannot be written ({error.strerror})") from error


def _move(source: Path, target: Path, what: str) -> None:
    """Move what is in a folder into another: whole folders at once where they are new."""
    for entry in source.iterdir():
        place = target / entry.name
        if not os.path.lexists(place):
            entry.rename(place)
        elif entry.is_dir():
            if not place.is_dir():
                raise _occupied(place, what)
            _move(entry, place, what)


def _occupied(place: Path, what: str) -> ArchiveError:
    return ArchiveError(
        f"{place} is there already and is not what {what} has: move it away, then run again"
    )


def _same(path: Path, member: Member) -> bool:
    if not path.is_file() or path.stat().st_size != member.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == member.sha256

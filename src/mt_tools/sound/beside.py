"""A file under lock, and a place beside it for what shall replace it.

Conventions: symbolic links are resolved, the file behind is replaced and the link stays. The file
is locked meanwhile (`flock`), so that two runs never work on one. The copy's name begins with a
dot, which scans leave out, and ends like the file; it follows from the file's name, so that who
holds the lock of the file knows what a killed run has left. The copy has no lock of its own: over
SMB locks are mandatory, and nobody else could open it. Errors leave out the file's name.

Sources: rename(2), fsync(2), flock(2), fcntl(2), xattr(7); fcopyfile(3) of macOS.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import stat
import sys
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import BinaryIO, Self

from mt_tools.download.lock import take
from mt_tools.errors import RowError, RunError
from mt_tools.sound.paths import text_to_path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_FOR_US = (
    *(errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL),
    errno.ENODATA,  # the attribute was taken away just now
)
_FCOPYFILE = 1 | 4  # COPYFILE_ACL | COPYFILE_XATTR of macOS' copyfile.h
_SUFFIX = 16  # bytes: what is longer is no ending of a name, and may not fit


class Beside:
    """A file under lock and a place beside it for what shall replace it.

    Raises `RowError` of the kinds `missing`, `read-only`, `immutable`, `locked`, `hard-linked`,
    `changed`, `no-space` and `unreadable`.
    """

    def __init__(self, path: str, break_links: bool) -> None:
        self.path = path  # the real one once the block has begun
        self.copy = ""
        self._break_links = break_links
        self._file: BinaryIO | None = None
        self._new: BinaryIO | None = None
        self._left = False  # something may lie at `copy` that must go
        self._fresh = 0  # the mode that a new file has here

    def __enter__(self) -> Self:
        try:
            with explained():
                self.path = real_path(self.path)
                self._open()
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()
        known = isinstance(error, RowError | RunError)  # it is the journal's disk that is full
        if isinstance(error, Exception) and not known and _is_full(error):
            raise _full() from error

    def __del__(self) -> None:
        self.leave()  # a signal may come before the block has begun

    def leave(self) -> None:
        """Remove the copy and let go of the file; safe to call again, and after a commit."""
        if self._left:
            with contextlib.suppress(OSError):
                if self._new is None or self._is_ours():
                    os.unlink(self.copy)
            self._left = False
        for file in (self._new, self._file):  # the file last: its lock guards the copy's name
            if file is not None:
                with contextlib.suppress(OSError):  # a full disk refuses what was not flushed
                    file.close()
        self._new = self._file = None

    @property
    def file(self) -> BinaryIO:
        """The file as it was when it was opened."""
        assert self._file is not None, "outside of the block"
        return self._file

    # --- the file --------------------------------------------------------------------------------

    def _open(self) -> None:
        for _ in range(10):  # another run may just have replaced it
            self.status = self._checked()
            self._file = open(self.path, "r+b")  # noqa: SIM115
            self._lock()
            if _same(os.fstat(self._file.fileno()), os.stat(self.path)):
                self.status = self._checked()
                return
            self._file.close()
        raise changed()

    def _checked(self) -> os.stat_result:
        """Return the file's status; refuse what is not to be replaced."""
        status = os.stat(self.path)
        if not stat.S_ISREG(status.st_mode):
            raise RowError("not a regular file; name an audio file", "unreadable")
        folder = os.path.dirname(self.path)
        # To root everything is writable: the bits tell what its owner meant.
        if not status.st_mode & stat.S_IWUSR or not os.access(self.path, os.R_OK | os.W_OK):
            if _is_immutable(self.path):
                raise _immutable()
            if status.st_mode & stat.S_IWUSR and os.geteuid() not in (0, status.st_uid):
                problem = "you may not write to it; run mt-tag as the user that it belongs to"
                raise RowError(problem, "read-only")
            raise RowError("it is read-only; to have it changed: chmod u+w", "read-only")
        if not os.stat(folder).st_mode & 0o222 or not os.access(folder, os.W_OK | os.X_OK):
            raise RowError(
                "its folder is read-only, and a copy must lie beside it; to have it changed: "
                "chmod u+w on the folder",
                "read-only",
            )
        if status.st_nlink > 1 and not self._break_links:
            raise RowError(
                f"hard-linked: the file has {status.st_nlink} names, and only this one would be "
                "changed; --break-links does that",
                "hard-linked",
            )
        return status

    def _lock(self) -> None:
        # Asked and given back: over NFS a lock of one kind is in the way of our own of the other.
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(self.file, fcntl.LOCK_UN)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise _locked() from None
        if not take(self.file.fileno()):
            raise _locked()

    # --- the copy --------------------------------------------------------------------------------

    def make(self) -> BinaryIO:
        """Make an empty file beside it, that only we may open; what was left there goes."""
        self.copy = beside_name(self.path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        for _ in range(2):
            self._left = True
            try:
                self._new = os.fdopen(os.open(self.copy, flags, 0o666), "w+b")
            except FileExistsError:
                self._left = False
                os.unlink(self.copy)
                continue
            self._fresh = stat.S_IMODE(os.fstat(self._new.fileno()).st_mode)
            os.fchmod(self._new.fileno(), 0o600)
            return self._new
        raise changed()

    def _is_ours(self) -> bool:
        """Whether the copy is the one that we have made."""
        assert self._new is not None, "make() comes first"
        return _same(os.fstat(self._new.fileno()), os.stat(self.copy))

    def put(self, keep: Collection[str], mode: int | None, times: tuple[int, int] | None) -> None:
        """Give the copy what it shall have besides its content, and the file's name.

        Of the file itself `keep` names "owner" and "xattr". `mode`: its permissions, None those of
        any new file. `times`: of access and modification in nanoseconds, None now.
        """
        now, old = self._checked(), self.status
        if (
            not self._is_ours()
            or not _same(now, old)
            or (now.st_size, now.st_mtime_ns) != (old.st_size, old.st_mtime_ns)
        ):
            raise changed()
        with open(self.copy, "rb+") as new:
            if "owner" in keep:
                _keep_owner(now, new.fileno())
            if "xattr" in keep:
                _keep_attributes(self.file.fileno(), new.fileno())
            with contextlib.suppress(PermissionError):  # file systems without permissions
                os.fchmod(new.fileno(), self._fresh if mode is None else mode)
            if times is not None:
                os.utime(new.fileno(), ns=times)
            os.fsync(new.fileno())
        try:
            os.replace(self.copy, self.path)
        except PermissionError as error:
            problem = "only its owner may replace it in this folder; run mt-tag as that user"
            raise RowError(problem, "read-only") from error
        self._left = False
        with contextlib.suppress(OSError):  # some file systems cannot flush a folder
            folder = os.open(os.path.dirname(self.path), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


# --- names ---------------------------------------------------------------------------------------


def real_path(path: str) -> str:
    """Return the path of the file itself for the text of a table."""
    try:
        return os.path.realpath(text_to_path(path), strict=True)
    except ValueError:  # a NUL inside
        raise FileNotFoundError(errno.ENOENT, "no such file") from None


def beside_name(path: str) -> str:
    """Return the name of the copy of a file: the same each time, and never too long."""
    folder, name = os.path.split(path)
    suffix = os.path.splitext(name)[1]
    suffix = suffix if len(os.fsencode(suffix)) <= _SUFFIX else ""
    mark = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return os.path.join(folder, f".mt-tag-{mark}{suffix}")


# --- what a file has besides its content ---------------------------------------------------------


def _keep_owner(old: os.stat_result, new: int) -> None:
    """Give the file its old user and group, or its group alone: only root may give files away."""
    now = os.fstat(new)
    if (now.st_uid, now.st_gid) == (old.st_uid, old.st_gid):
        return
    try:
        os.fchown(new, old.st_uid, old.st_gid)
    except OSError:
        with contextlib.suppress(OSError):
            os.fchown(new, -1, old.st_gid)


def _keep_attributes(old: int, new: int) -> None:
    """Give the file the old extended attributes, and no others: a folder may give some to all."""
    if sys.platform == "darwin":  # where Python has no functions for them
        ctypes.CDLL(None).fcopyfile(old, new, None, _FCOPYFILE)
        return
    with _if_allowed():
        kept = os.listxattr(old)
        for name in set(os.listxattr(new)) - set(kept):
            with _if_allowed():
                os.removexattr(new, name)
        for name in kept:
            with _if_allowed():
                os.setxattr(new, name, os.getxattr(old, name))


@contextlib.contextmanager
def _if_allowed() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_FOR_US:
            raise


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _is_immutable(path: str) -> bool:
    """Say whether not even root may open it to write."""
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        return error.errno == errno.EPERM
    return False


# --- errors --------------------------------------------------------------------------------------


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what the system refuses into an error of the row."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise _full() from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise RowError("no such file any more; look where it went", "missing") from None
        if error.errno == errno.EPERM:
            raise _immutable() from None
        if error.errno in (errno.EACCES, errno.EROFS):
            problem = f"it cannot be replaced: {error.strerror}; see who may write to its folder"
            raise RowError(problem, "read-only") from None
        if error.errno == errno.ETXTBSY:
            raise _locked() from None
        problem = f"{error.strerror}; see whether it can be copied and renamed by hand"
        raise RowError(problem, "unreadable") from error


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error: mutagen wraps what the system says."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def _full() -> RowError:
    problem = "no space for a copy beside it, the file is as it was; free some, then run again"
    return RowError(problem, "no-space")


def _immutable() -> RowError:
    problem = "the system lets nobody change it; lsattr shows why, chattr -i allows it"
    return RowError(problem, "immutable")


def _locked() -> RowError:
    problem = "another program or run has it locked; run again when that has ended"
    return RowError(problem, "locked")


def changed() -> RowError:
    """Return the error of a file that is not the one that was read."""
    problem = "another program changed it just now, nothing was written; run again"
    return RowError(problem, "changed")

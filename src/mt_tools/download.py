"""Downloads that arrive whole and verified, or not at all.

Goal: one file from its public address, or from a mirror for sites without a network, checked
against a SHA-256 before it gets its name.

Conventions: a mirror is a folder, or the http(s) URL of one, that holds the file under its own
name. It is named by the option `--mirror` or by the variable `MT_TOOLS_MIRROR`; with a mirror the
public address is never asked.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from mt_tools.errors import DownloadError, UsageError

MIRROR_VARIABLE = "MT_TOOLS_MIRROR"
TIMEOUT = 30.0
"""Seconds without a byte after which a server counts as gone."""


def retrieve(
    url: str,
    sha256: str,
    target: str | os.PathLike[str],
    *,
    mirror: str | None = None,
    progress: bool = False,
    timeout: float = TIMEOUT,
) -> Path:
    """Bring the file at `url`, or of the same name in `mirror`, to the path `target`.

    `sha256` is the hexadecimal digest expected. A target that already has it is left alone, without
    a network. `progress` draws a bar on stderr. Raises `DownloadError` when the address does not
    answer or the bytes are not the expected ones, and `UsageError` for a mirror that is neither
    a folder nor an http(s) address; in each case nothing is left behind.
    """
    target = Path(target)
    if target.is_file() and _sha256(target) == sha256:
        return target
    mirror = mirror or os.environ.get(MIRROR_VARIABLE) or None
    source = _in_mirror(mirror, file_name(url)) if mirror else url
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise DownloadError(f"cannot write {target}: {error.strerror}") from error
    temporary = Path(name)
    try:
        _copy(source, temporary, progress, timeout)
        got = _sha256(temporary)
        if got != sha256:
            raise DownloadError(
                f"{source} is not the file expected: got SHA-256 {got} "
                f"({temporary.stat().st_size:,} bytes), expected {sha256}; nothing was kept. "
                "Try again, or name a folder or URL that has the right file: --mirror PLACE"
            )
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def file_name(url: str) -> str:
    """Return the name of the file at `url`, which is also its name in a mirror."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _in_mirror(mirror: str, name: str) -> str | Path:
    """Return where a mirror has the file `name`: an http(s) address or a path."""
    scheme = urlsplit(mirror).scheme
    if scheme in ("http", "https"):
        return f"{mirror.rstrip('/')}/{name}"
    if scheme == "file":
        return Path(url2pathname(urlsplit(mirror).path)) / name
    if "://" in mirror:
        raise UsageError(f"mirror {mirror!r}: expected a folder or an http(s) URL")
    return Path(mirror).expanduser() / name


def _copy(source: str | Path, target: Path, progress: bool, timeout: float) -> None:
    """Write the bytes of an address or a file to `target`."""
    if isinstance(source, Path):
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise DownloadError(
                f"the mirror has no {source}: {error.strerror}; put the file there, or leave out "
                f"--mirror and {MIRROR_VARIABLE}"
            ) from error
        return
    # Imported on use: together they take a third of a second.
    import pooch
    import requests

    fetch = pooch.HTTPDownloader(progressbar=progress, chunk_size=1 << 16, timeout=timeout)
    try:
        fetch(source, str(target), None)
    except (requests.RequestException, ValueError) as error:
        raise DownloadError(
            f"could not download {source}: {_reason(error)}. Check the network, or name a folder "
            f"or URL that holds {file_name(source)}: --mirror PLACE, or {MIRROR_VARIABLE}=PLACE"
        ) from error
    except OSError as error:
        raise DownloadError(f"cannot write {target.parent}: {error.strerror}") from error


def _reason(error: Exception) -> str:
    """Say in a few words why a request failed, without the chain of causes that urllib3 prints."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke before the end"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

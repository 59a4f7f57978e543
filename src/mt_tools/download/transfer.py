"""One try at one address: only what has not come yet is asked for.

pooch's downloader asks and reads; going on after a break is beyond it. So it is given a header that
asks for the rest (RFC 9110, section 14), a hook that judges the answer before its first byte is
taken, and in place of a file the `Part` that the bytes are added to.

The rest is asked for where it is certain to belong to what is here: where the address still has the
same file, by the validator that it named (`If-Range` with a strong `ETag` or `Last-Modified`), or
where the whole has a checksum that would show a mixture. A server that answers with the whole file
(200), or cannot give that rest (416), makes it begin anew.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from mt_tools.download.part import Part
from mt_tools.download.progress import Progress
from mt_tools.errors import RunError

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 13  # what is lost of a connection that breaks, and enough not to cost time
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
_COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".z")
_UNSTATED = 4 << 30
"""Bytes that are taken at most where nobody says how many there are: an endless file ends there."""
_PAGE = (b"<!doctype html", b"<html")


class Refusal(Exception):
    """An address did not give the file: why, whether to try again, and when it asks to."""

    def __init__(self, reason: str, *, again: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.again = again
        self.wait = wait


class Stopped(Exception):
    """The run ends: nobody waits for this file any more."""


class _Whole(Exception):
    """The server has nothing beyond what is here."""


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it comes: its size (0 = unknown), and if it has a checksum."""

    name: str
    size: int
    verifiable: bool


def transfer(
    url: str,
    expected: Expected,
    part: Part,
    *,
    timeout: float,
    progress: Progress,
    stopped: Callable[[], bool],
) -> None:
    """Add what `url` has of a file to `part`, until it is as long as the server says.

    Raises `Refusal` where that did not happen; what came is in `part`. Raises `Stopped` soon after
    `stopped` becomes true.
    """
    # Imported on use: together they take a third of a second.
    import pooch
    import requests
    import urllib3

    answer = _Answer(url, expected, part, progress, stopped)
    fetch = pooch.HTTPDownloader(
        chunk_size=_CHUNK,
        timeout=timeout,
        headers=answer.request_headers(),
        hooks={"response": answer.judge},
    )
    try:
        fetch(url, answer, None)
        answer.check_length()
    except _Whole:
        return
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise _refusal(error, answer) from error
    finally:
        answer.close()


class _Answer:
    """A file to pooch: takes the bytes of an answer, once `judge` has found it to be the file's."""

    def __init__(
        self,
        url: str,
        expected: Expected,
        part: Part,
        progress: Progress,
        stopped: Callable[[], bool],
    ) -> None:
        self.url = url
        self.expected = expected
        self.part = part
        self.total: int | None = None
        self._progress = progress
        self._stopped = stopped
        self._response: requests.Response | None = None

    def request_headers(self) -> dict[str, str]:
        """Return the headers that ask for what is missing, as it is stored."""
        headers = {"Accept-Encoding": "identity"}
        note = self.part.note if self.part.note.get("url") == self.url else {}
        validator = note.get("validator")
        if self.part.size and (validator or self.expected.verifiable):
            headers["Range"] = f"bytes={self.part.size}-"
            if validator:
                headers["If-Range"] = validator
        return headers

    # The hook: every answer comes by here, also those that lead elsewhere.

    def judge(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Look at an answer before its first byte; raises `Refusal` where it is not the file's."""
        self._response = response
        if response.is_redirect:
            _check_redirect(response)
            return
        status = response.status_code
        if status == 416:
            self._beyond(response)
        if status not in (200, 206):
            raise _rejected(response)
        if self._is_page(response.headers.get("Content-Type", "")):
            raise Refusal(_page(response.headers.get("Content-Type", "")))
        encoded = self._encoded(response)
        if status == 206:
            self._go_on(response, encoded)
        else:
            self._begin(response, encoded)
        if self.total is not None:
            self._check_total(self.total)

    def _begin(self, response: requests.Response, encoded: bool) -> None:
        """Take the whole file, whatever was asked for."""
        self.total = None if encoded else _number(response.headers.get("Content-Length"))
        validator = None if encoded else _validator(response)
        self.part.restart({"url": self.url, "validator": validator})

    def _go_on(self, response: requests.Response, encoded: bool) -> None:
        """Take the rest, if it is the rest."""
        found = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
        )
        if found is None or int(found[1]) != self.part.size or encoded:
            self.part.restart()
            raise Refusal("the server sent another part than the one asked for", again=True)
        self.total = None if found[2] == "*" else int(found[2])

    def _beyond(self, response: requests.Response) -> None:
        """Nothing is left to send: the file is whole, or is not what it was."""
        found = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", "").strip())
        if self.part.size and found is not None and int(found[1]) == self.part.size:
            raise _Whole
        began = self.part.size > 0
        self.part.restart()
        raise Refusal("the server answered 416: it cannot go on", again=began, wait=0.0)

    def _check_total(self, total: int) -> None:
        """Refuse what cannot be the file, or has no place here, before it comes."""
        size = self.expected.size
        if size and total != size:
            raise Refusal(f"it says {total:,} bytes, where {size:,} were expected")
        missing = total - self.part.size
        free = shutil.disk_usage(self.part.path.parent).free
        if missing > free:
            raise RunError(
                f"{self.expected.name} needs {missing:,} bytes more and {self.part.path.parent} "
                f"has {free:,} free: make room and run again"
            )
        if not size:
            self._progress.expect(total - self.part.announced)
            self.part.announced = total

    def _encoded(self, response: requests.Response) -> bool:
        """Say whether the bytes are compressed for the way, although none of that was asked for."""
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding in ("", "identity"):
            return False
        if self.expected.name.lower().endswith(_COMPRESSED):
            # The file itself is meant, as Apache does it (AddEncoding x-gzip .gz): left as it is.
            response.raw.headers.pop("Content-Encoding", None)
            return False
        return True

    def _is_page(self, content_type: str) -> bool:
        if self.expected.name.lower().endswith((".html", ".htm")):
            return False
        return content_type.partition(";")[0].strip().lower() in (
            "text/html",
            "application/xhtml+xml",
        )

    # The file.

    def write(self, data: bytes) -> None:
        """Take bytes."""
        if self._stopped():
            raise Stopped
        if not self.part.size and data[:64].lstrip().lower().startswith(_PAGE):
            assert self._response is not None
            if not self.expected.name.lower().endswith((".html", ".htm")):
                raise Refusal(_page(self._response.headers.get("Content-Type", "")))
        self.part.append(data)
        most = self.expected.size or self.total or _UNSTATED
        if self.part.size > most:
            self.part.restart()
            raise Refusal(f"it sent more than the {most:,} bytes expected")

    def flush(self) -> None:
        """Do nothing: bytes are written as they come."""

    def check_length(self) -> None:
        """Raise `Refusal` where less came than was said, or than the file has."""
        total = self.total if self.total is not None else self.expected.size
        if total and self.part.size != total:
            raise Refusal(
                f"the connection broke before the end ({self.part.size:,} of {total:,} bytes)",
                again=True,
            )

    def close(self) -> None:
        """Let the connection go."""
        if self._response is not None:
            self._response.close()


def _check_redirect(response: requests.Response) -> None:
    target = urljoin(response.url, response.headers["Location"])
    schemes = urlsplit(response.url).scheme, urlsplit(target).scheme
    if schemes[1] not in ("http", "https") or schemes == ("https", "http"):
        raise Refusal(f"it leads to {target}, which is not safe to follow")


def _rejected(response: requests.Response) -> Refusal:
    status = response.status_code
    reason = f"the server answered {status} {response.reason or ''}".rstrip()
    if status in (401, 403):
        reason += " (a login may be needed)"
    wait = _retry_after(response.headers.get("Retry-After"))
    return Refusal(reason, again=status in _TEMPORARY, wait=wait)


def _page(content_type: str) -> str:
    said = content_type.partition(";")[0].strip()
    return f"a web page came in place of the file ({said or 'HTML'}): it may want a login"


def _validator(response: requests.Response) -> str | None:
    """Return what tells this version of the file from another, if it is fit for `If-Range`."""
    etag = response.headers.get("ETag", "").strip()
    if etag.startswith('"'):  # a weak one, W/"...", says nothing of the bytes
        return etag
    return response.headers.get("Last-Modified")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None


def _retry_after(text: str | None) -> float | None:
    """Return the seconds that a server asks to wait: a number, or a date."""
    if text is None:
        return None
    if (seconds := _number(text)) is not None:
        return float(seconds)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _refusal(error: Exception, answer: _Answer) -> Refusal:
    """Say in a few words why a request failed, without the chain of causes that urllib3 prints."""
    import requests
    import urllib3

    came = f"({answer.part.size:,} of {answer.total:,} bytes)" if answer.total else ""
    if isinstance(error, requests.exceptions.SSLError):
        return Refusal(f"the certificate of {urlsplit(answer.url).hostname} is not trusted")
    if isinstance(error, requests.TooManyRedirects):
        return Refusal("it leads from one address to another without end")
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return Refusal(f"no answer in time {came}".rstrip(), again=True)
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return Refusal("what came is not compressed as the server says")
    if isinstance(error, requests.exceptions.ChunkedEncodingError | urllib3.exceptions.HTTPError):
        return Refusal(f"the connection broke before the end {came}".rstrip(), again=True)
    if isinstance(error, requests.ConnectionError):
        return _connection(error, answer, came)
    return Refusal(str(error))


def _connection(error: requests.ConnectionError, answer: _Answer, came: str) -> Refusal:
    import urllib3

    cause: Any = error.args[0] if error.args else None
    if isinstance(getattr(cause, "reason", None), urllib3.exceptions.NewConnectionError):
        # Refused, or a name that nobody knows: waiting helps only where it went well before.
        return Refusal("no connection", again=answer.part.size > 0)
    if isinstance(cause, urllib3.exceptions.ReadTimeoutError):
        return Refusal(f"no answer in time {came}".rstrip(), again=True)
    return Refusal(f"the connection broke before the end {came}".rstrip(), again=True)


def stated_size(url: str, timeout: float) -> int:
    """Return how many bytes a server says that a file has; 0 where it says nothing of use."""
    import requests

    try:
        with requests.head(
            url, timeout=timeout, allow_redirects=True, headers={"Accept-Encoding": "identity"}
        ) as response:
            encoded = response.headers.get("Content-Encoding", "identity") != "identity"
            if response.status_code != 200 or encoded:
                return 0
            return _number(response.headers.get("Content-Length")) or 0
    except requests.RequestException:
        return 0


def copy(source: Path, part: Part, stopped: Callable[[], bool]) -> None:
    """Fill `part` from a mirror that is a folder; raises `Refusal` where it lacks the file."""
    part.restart()
    try:
        with source.open("rb") as file:
            while data := file.read(1 << 20):
                if stopped():
                    raise Stopped
                part.append(data)
    except OSError as error:
        raise Refusal(error.strerror or str(error)) from error

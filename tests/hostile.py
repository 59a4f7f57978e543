"""A web server on this machine that does what web servers do to downloads."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = Callable[["Handler"], None]


@dataclass
class Page:
    """What the server has under a path, and how it behaves there.

    `first` are other answers, given one each to the first requests: a status such as 503, or a
    number of bytes after which the connection breaks, as `cut(1000)`. `length` is the
    Content-Length that it states (None: the right one; -1: none, in chunks).
    """

    body: bytes = b""
    ranges: bool = True
    etag: str | None = "auto"
    modified: str | None = None
    type: str = "application/octet-stream"
    length: int | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    first: list[Answer] = field(default_factory=list)
    encoding: str = ""
    short: int | None = None
    hold: threading.Event | None = None

    @property
    def tag(self) -> str | None:
        """The validator that it states."""
        return f'"{hashlib.md5(self.body).hexdigest()}"' if self.etag == "auto" else self.etag


@dataclass
class Request:
    """What the server was asked."""

    path: str
    range: str | None
    if_range: str | None
    method: str = "GET"


class Handler(BaseHTTPRequestHandler):
    """Answers by the `pages` of its server."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Answer with headers alone."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Answer one request."""
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        request = Request(
            path, self.headers.get("Range"), self.headers.get("If-Range"), self.command
        )
        self.server.requests.append(request)
        page = self.server.pages.get(path)
        self.close_connection = True
        if page is None:
            self.reply(404, {}, b"not here" if body else b"")
        elif body and page.first:
            page.first.pop(0)(self)
        else:
            self.give(page, body)

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Send a short answer."""
        self.send_response(status)
        self.send_header("Connection", "close")
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def give(self, page: Page, body: bool = True, most: int | None = None) -> None:
        """Send a page as it is to be sent; break off after `most` bytes."""
        data, status = page.body, page.status
        headers = {"Content-Type": page.type} | page.headers
        if page.tag is not None:
            headers["ETag"] = page.tag
        if page.modified is not None:
            headers["Last-Modified"] = page.modified
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if page.ranges and asked and condition in (None, page.tag, page.modified):
            start = int(asked[1])
            if start >= len(data):
                self.reply(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
                return
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data, status = data[start:], 206
        if page.encoding:
            headers["Content-Encoding"] = page.encoding
            if page.encoding == "gzip" and not page.body.startswith(b"\x1f\x8b"):
                packer = zlib.compressobj(wbits=31)
                data = packer.compress(data) + packer.flush()
        if page.length != -1:
            headers["Content-Length"] = str(len(data) if page.length is None else page.length)
        self.send_response(status)
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            with contextlib.suppress(OSError):
                most = page.short if most is None else most
                if page.hold is not None and most is not None:
                    self.wfile.write(data[:most])
                    self.wfile.flush()
                    page.hold.wait(20)
                    self.wfile.write(data[most:])
                    return
                self.wfile.write(data[:most])

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


def cut(bytes_: int) -> Answer:
    """Break off after so many bytes."""
    return lambda handler: handler.give(handler.server.pages[handler.path], most=bytes_)


def status(code: int, **headers: str) -> Answer:
    """Answer with an error."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.reply(code, named, b"no")


def drop() -> Answer:
    """Close the connection without a word."""

    def answer(handler: Handler) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)

    return answer


class Server(ThreadingHTTPServer):
    """A server with `pages` by path; `requests` is what it was asked."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        scheme = "http"
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
            scheme = "https"
        self.pages: dict[str, Page] = {}
        self.requests: list[Request] = []
        self.url = f"{scheme}://127.0.0.1:{self.server_address[1]}"

    def put(self, path: str, body: bytes = b"", **options: object) -> Page:
        """Serve a page; returns it, to change how it behaves."""
        self.pages[path] = Page(body, **options)  # type: ignore[arg-type]
        return self.pages[path]

    def asked(self, path: str) -> list[Request]:
        """Return the requests for a path."""
        return [r for r in self.requests if r.path == path and r.method == "GET"]

    def handle_error(self, *_: object) -> None:
        """Be quiet about clients that went away."""


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server while the block runs."""
    with Server(context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()


def sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

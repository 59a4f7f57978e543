"""Downloads from a real local server: whole and verified, or nothing."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mt_tools.download import MIRROR_VARIABLE, file_name, retrieve
from mt_tools.errors import DownloadError, UsageError

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves /good, /wrong and /cut (which breaks off), and nothing else."""

    def do_GET(self) -> None:
        """Answer one request."""
        self.server.asked.append(self.path)
        name = self.path.rpartition("/")[2]
        if name not in ("good.bin", "wrong.bin", "cut.bin", "two%20words.bin"):
            self.send_error(404)
            return
        body = CONTENT[::-1] if name == "wrong.bin" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: 1000 if name == "cut.bin" else None])

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A server on this machine; `asked` lists the paths that it was asked for."""
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()


def test_a_file_arrives_and_is_not_asked_for_again(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    """Weights would not arrive, or be downloaded on every run."""
    target = tmp_path / "new" / "folder" / "good.bin"
    assert retrieve(f"{server.url}/good.bin", SHA256, target) == target
    assert target.read_bytes() == CONTENT
    retrieve(f"{server.url}/good.bin", SHA256, target)
    assert server.asked == ["/good.bin"]
    assert os.listdir(target.parent) == ["good.bin"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong.bin", f"expected {SHA256}"),
        ("nothing.bin", "the server answered 404"),
        ("cut.bin", "the connection broke before the end"),
    ],
)
def test_anything_else_is_an_error_and_leaves_nothing(
    server: ThreadingHTTPServer, tmp_path: Path, name: str, message: str
) -> None:
    """Weights with wrong bytes would be used, or a half file taken for a whole one next time."""
    with pytest.raises(DownloadError) as error:
        retrieve(f"{server.url}/{name}", SHA256, tmp_path / "target.bin")
    assert message in str(error.value)
    assert f"{server.url}/{name}" in str(error.value)
    assert "--mirror" in str(error.value)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []


def test_wrong_bytes_show_both_digests_and_keep_the_old_file(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    """A user could not tell a changed file from a broken one, or would lose what was there."""
    target = tmp_path / "target.bin"
    target.write_bytes(b"older")
    got = hashlib.sha256(CONTENT[::-1]).hexdigest()
    with pytest.raises(DownloadError, match=f"got SHA-256 {got}"):
        retrieve(f"{server.url}/wrong.bin", SHA256, target)
    assert target.read_bytes() == b"older"


def test_a_server_that_is_gone_is_named(tmp_path: Path) -> None:
    """Without a network the user would see urllib3's chain of causes and no way out."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/good.bin"
    with pytest.raises(DownloadError, match=r"no connection.*holds good\.bin: --mirror") as error:
        retrieve(url, SHA256, tmp_path / "good.bin")
    assert url in str(error.value)
    assert MIRROR_VARIABLE in str(error.value)


@pytest.mark.parametrize("kind", ["folder", "file URL", "http URL", "variable"])
def test_a_mirror_is_used_in_place_of_the_address(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A site without a network could not use its own copy, or would still call out."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "good.bin").write_bytes(CONTENT)
    places = {"folder": str(folder), "file URL": folder.as_uri(), "http URL": f"{server.url}/pub/"}
    if kind == "variable":
        monkeypatch.setenv(MIRROR_VARIABLE, str(folder))
    target = tmp_path / "target.bin"
    retrieve("http://127.0.0.1:1/far/good.bin", SHA256, target, mirror=places.get(kind))
    assert target.read_bytes() == CONTENT
    assert server.asked == (["/pub/good.bin"] if kind == "http URL" else [])


def test_a_mirror_without_the_file_or_with_another_scheme_is_refused(tmp_path: Path) -> None:
    """A mistyped mirror would look like a broken network."""
    with pytest.raises(DownloadError, match=r"the mirror has no .*good\.bin: No such file"):
        retrieve("http://127.0.0.1:1/good.bin", SHA256, tmp_path / "t", mirror=str(tmp_path))
    with pytest.raises(UsageError, match="expected a folder or an http"):
        retrieve("http://127.0.0.1:1/good.bin", SHA256, tmp_path / "t", mirror="ftp://host/pub")
    assert os.listdir(tmp_path) == []


def test_a_mirror_is_verified_too(tmp_path: Path) -> None:
    """A stale copy on a mirror would be trusted."""
    (tmp_path / "good.bin").write_bytes(b"stale")
    with pytest.raises(DownloadError, match="got SHA-256"):
        retrieve("http://127.0.0.1:1/good.bin", SHA256, tmp_path / "t", mirror=str(tmp_path))
    assert not (tmp_path / "t").exists()


def test_names_with_escapes_are_those_of_the_file() -> None:
    """A mirror made by copying files would be asked for `two%20words`."""
    assert file_name("https://host/a/two%20words.bin?raw=true") == "two words.bin"

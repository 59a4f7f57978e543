"""Downloads from a real local server that does its worst: whole and verified, or nothing."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from hostile import Page, Server, cut, drop, serving, status

from mt_tools.download import (
    MIRROR_VARIABLE,
    Retries,
    Wanted,
    Way,
    bring,
    bring_several,
    file_name,
    locked,
    retrieve,
)
from mt_tools.download.progress import Progress
from mt_tools.errors import EXIT_LOCKED, DownloadError, Locked, RunError, UsageError

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
AT_ONCE = Retries(times=3, first=0.0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on this machine."""
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as running:
        yield running


def way(**options: object) -> Way:
    """Return a way that does not wait."""
    return Way(**({"retries": AT_ONCE, "timeout": 5.0} | options))  # type: ignore[arg-type]


def get(
    server: Server, target: Path, *, sha256: str = SHA256, size: int = 0, **options: object
) -> str:
    """Bring the page of the target's name."""
    checksum = f"sha256:{sha256}" if sha256 else ""
    url = f"{server.url}/{target.name}"
    return bring(Wanted(target, (url,), size, checksum), way(**options))


def visible(folder: Path) -> list[str]:
    """Return the names that a user sees."""
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


# --- one file ------------------------------------------------------------------------------------


def test_a_file_arrives_and_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    """Weights would not arrive, or be downloaded on every run."""
    server.put("/good.bin", CONTENT)
    target = tmp_path / "new" / "folder" / "good.bin"
    assert retrieve(f"{server.url}/good.bin", SHA256, target) == target
    assert target.read_bytes() == CONTENT
    retrieve(f"{server.url}/good.bin", SHA256, target)
    assert [request.path for request in server.requests] == ["/good.bin"]
    assert os.listdir(target.parent) == ["good.bin"]
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_checksums_of_each_kind_are_held_to(server: Server, tmp_path: Path, algorithm: str) -> None:
    """Most data sets state MD5, and a wrong file would pass."""
    server.put("/a.bin", CONTENT)
    url = f"{server.url}/a.bin"
    right = f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}"
    assert bring(Wanted(tmp_path / "a.bin", (url,), checksum=right), way()) == right
    wrong = f"{algorithm}:{hashlib.new(algorithm, b'other').hexdigest()}"
    with pytest.raises(DownloadError, match=f"expected {wrong.partition(':')[2]}"):
        bring(Wanted(tmp_path / "b.bin", (url,), checksum=wrong), way())
    assert visible(tmp_path) == ["a.bin"]


def test_without_a_checksum_the_first_ones_is_told(server: Server, tmp_path: Path) -> None:
    """A file whose publisher states none could never be checked again."""
    server.put("/a.bin", CONTENT)
    assert get(server, tmp_path / "a.bin", sha256="") == f"sha256:{SHA256}"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(CONTENT[::-1]), f"expected {SHA256}"),
        (None, "the server answered 404"),
        (Page(CONTENT, status=403), r"the server answered 403 Forbidden \(a login may be needed\)"),
        (Page(CONTENT, status=410), "the server answered 410"),
        (
            Page(b"<!DOCTYPE html><p>Log in", type="text/html; charset=utf-8"),
            r"a web page .*\(text/html\)",
        ),
        (Page(b"\n <html><p>Log in"), r"a web page came in place of the file \(application/octet"),
    ],
)
def test_what_cannot_get_better_is_not_tried_again(
    server: Server, tmp_path: Path, page: Page | None, said: str
) -> None:
    """A wrong file would be used, or a user wait minutes for what will never come."""
    if page is not None:
        server.pages["/a.bin"] = page
    with pytest.raises(DownloadError, match=said) as error:
        get(server, tmp_path / "a.bin")
    assert f"{server.url}/a.bin" in str(error.value)
    assert "--mirror" in str(error.value)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []
    assert len(server.requests) == 1


def test_wrong_bytes_show_both_digests_and_keep_the_old_file(
    server: Server, tmp_path: Path
) -> None:
    """A user could not tell a changed file from a broken one, or would lose what was there."""
    server.put("/target.bin", CONTENT[::-1])
    target = tmp_path / "target.bin"
    target.write_bytes(b"older")
    got = hashlib.sha256(CONTENT[::-1]).hexdigest()
    with pytest.raises(DownloadError, match=f"got SHA-256 {got}"):
        get(server, target)
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
    assert os.listdir(tmp_path) == []


# --- going on after a break ----------------------------------------------------------------------


def test_a_broken_connection_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    """A download of 90 GB would begin anew at each break, and never end."""
    page = server.put("/a.bin", CONTENT)
    page.first += [cut(1 << 17), cut(1 << 18), drop()]
    get(server, tmp_path / "a.bin", size=len(CONTENT))
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [r.range for r in server.requests] == [
        None, "bytes=131072-", "bytes=393216-", "bytes=393216-",
    ]  # fmt: skip
    assert {r.if_range for r in server.requests[1:]} == {page.tag}


def test_the_next_run_goes_on_too(server: Server, tmp_path: Path) -> None:
    """After a night's broken network everything would be lost."""
    page = server.put("/a.bin", CONTENT)
    page.first += [cut(1 << 17)] + [drop()] * 3
    with pytest.raises(DownloadError, match=r"broke before the end"):
        get(server, tmp_path / "a.bin")
    assert visible(tmp_path) == []
    server.requests.clear()
    get(server, tmp_path / "a.bin")
    assert [r.range for r in server.requests] == ["bytes=131072-"]
    assert os.listdir(tmp_path) == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("modified", [None, "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_file_that_changed_meanwhile_begins_anew(
    server: Server, tmp_path: Path, modified: str | None
) -> None:
    """Half of the old file and half of the new one would be taken for a file."""
    etag = None if modified else "auto"
    page = server.put("/a.bin", CONTENT[::-1], etag=etag, modified=modified)
    page.first += [cut(1 << 17)] + [drop()] * 3
    with pytest.raises(DownloadError):
        get(server, tmp_path / "a.bin", sha256="")
    later = modified and "Thu, 22 Oct 2015 07:28:00 GMT"
    server.put("/a.bin", CONTENT, etag=etag, modified=later)
    server.requests.clear()
    assert get(server, tmp_path / "a.bin", sha256="") == f"sha256:{SHA256}"
    (request,) = server.requests
    assert request.range == "bytes=131072-"
    assert request.if_range == (modified or page.tag)


def test_a_mixture_of_versions_is_found_out_and_replaced(server: Server, tmp_path: Path) -> None:
    """A server that ignores If-Range would make a file that is neither."""
    (tmp_path / ".a.bin.part").write_bytes(b"x" * 1000)
    server.put("/a.bin", CONTENT, etag=None)
    get(server, tmp_path / "a.bin")
    assert [r.range for r in server.requests] == ["bytes=1000-", None]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_nothing_is_added_to_what_cannot_be_told_apart(server: Server, tmp_path: Path) -> None:
    """Without validator and checksum a mixture would never be noticed."""
    page = server.put("/a.bin", CONTENT, etag=None)
    page.first += [cut(1000)]
    get(server, tmp_path / "a.bin", sha256="")
    assert [r.range for r in server.requests] == [None, None]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ["auto", 'W/"weak"', None])
def test_a_server_without_ranges_begins_anew(
    server: Server, tmp_path: Path, etag: str | None
) -> None:
    """The whole file would be added to its first half."""
    page = server.put("/a.bin", CONTENT, ranges=False, etag=etag)
    page.first += [cut(100_000), cut(50_000)]
    counted: list[int] = []

    class Bar:
        total = None

        def update(self, count: int) -> None:
            counted.append(count)

        def refresh(self) -> None:
            pass

    get(server, tmp_path / "a.bin", progress=Progress(Bar()))
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert sum(counted) == len(CONTENT)  # what was void is taken back


@pytest.mark.parametrize("extra", [0, 5])
def test_a_part_that_is_complete_or_too_long(server: Server, tmp_path: Path, extra: int) -> None:
    """A run that was killed in its last moment, or a file that shrank (416), would never end."""
    (tmp_path / ".a.bin.part").write_bytes(CONTENT + bytes(extra))
    server.put("/a.bin", CONTENT)
    get(server, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [r.range for r in server.requests] == [f"bytes={len(CONTENT) + extra}-"] + [None] * (
        extra > 0
    )


def test_a_complete_part_of_known_size_asks_nobody(server: Server, tmp_path: Path) -> None:
    """What is here already would be asked for."""
    (tmp_path / ".a.bin.part").write_bytes(CONTENT)
    get(server, tmp_path / "a.bin", size=len(CONTENT))
    assert server.requests == []
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_range_that_was_not_asked_for_is_refused(server: Server, tmp_path: Path) -> None:
    """Bytes would land in the wrong place."""
    (tmp_path / ".a.bin.part").write_bytes(CONTENT[:1000])
    page = server.put("/a.bin", CONTENT)
    body = CONTENT[500:]
    page.first.append(
        lambda h: h.reply(
            206, {"Content-Range": f"bytes 500-{len(CONTENT) - 1}/{len(CONTENT)}"}, body
        )
    )
    get(server, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


# --- busy servers --------------------------------------------------------------------------------


def test_busy_servers_are_asked_again_when_they_say(server: Server, tmp_path: Path) -> None:
    """A server that is busy for a moment would end the run, or be asked a thousand times."""
    page = server.put("/a.bin", CONTENT)
    later = formatdate(time.time() + 60, usegmt=True)
    page.first += [
        status(503), status(503), status(429, Retry_After="7"),
        status(503, Retry_After=later), status(500), cut(50_000),
    ]  # fmt: skip
    waits: list[float] = []
    get(server, tmp_path / "a.bin", retries=Retries(times=6, first=1.5), pause=waits.append)
    assert waits[:3] == [1.5, 3.0, 7.0]
    assert 50 < waits[3] <= 60
    assert waits[4:] == [24.0, 30.0]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answers", "said", "requests"),
    [
        ([status(429, Retry_After="3600")], r"answered 429 .*asks to wait 3,600 s", 1),
        ([status(503)] * 9, "answered 503", 4),
        ([status(500, Retry_After="soon")] * 9, "answered 500", 4),
        ([drop()] * 9, "broke before the end", 4),
    ],
)
def test_patience_has_an_end(
    server: Server, tmp_path: Path, answers: list, said: str, requests: int
) -> None:
    """A command in cron would hang for ever."""
    server.put("/a.bin", CONTENT).first += answers
    with pytest.raises(DownloadError, match=said):
        get(server, tmp_path / "a.bin")
    assert len(server.requests) == requests
    assert os.listdir(tmp_path) == []


def test_tries_that_bring_something_are_not_counted(server: Server, tmp_path: Path) -> None:
    """A line that breaks every gigabyte would never bring a hundred."""
    body = bytes(6 << 20)
    server.put("/a.bin", body).first += [cut(1 << 20)] * 5
    get(
        server, tmp_path / "a.bin", sha256=hashlib.sha256(body).hexdigest(), retries=Retries(2, 0.0)
    )
    assert len(server.requests) == 6


def test_a_silent_server_is_given_up(server: Server, tmp_path: Path) -> None:
    """A command would hang for ever at a server that holds the line and sends nothing."""
    page = server.put("/a.bin", CONTENT, short=1000, hold=threading.Event())
    with pytest.raises(DownloadError, match="no answer in time"):
        get(server, tmp_path / "a.bin", retries=Retries(0), timeout=0.2)
    page.hold.set()


# --- lies ----------------------------------------------------------------------------------------


def test_a_length_that_is_too_long(server: Server, tmp_path: Path) -> None:
    """A file that the server cut short would be taken for a whole one."""
    server.put("/a.bin", CONTENT, length=len(CONTENT) + 1000, etag=None)
    said = r"broke before the end \([\d,]+ of 513,000 bytes\)"
    with pytest.raises(DownloadError, match=said):
        get(server, tmp_path / "a.bin", sha256="")
    assert visible(tmp_path) == []


def test_a_length_that_is_too_short(server: Server, tmp_path: Path) -> None:
    """The beginning of a file would be taken for all of it."""
    server.put("/a.bin", CONTENT, length=1000)
    with pytest.raises(DownloadError, match="is not the file expected"):
        get(server, tmp_path / "a.bin")
    with pytest.raises(DownloadError, match="it says 1,000 bytes, where 512,000 were expected"):
        get(server, tmp_path / "a.bin", sha256="", size=len(CONTENT))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (CONTENT + b"more", "it sent more than the 512,000 bytes expected"),
        (CONTENT[:-4], r"broke before the end \(511,996 of 512,000 bytes\)"),
    ],
)
def test_without_a_length_the_declared_size_counts(
    server: Server, tmp_path: Path, body: bytes, said: str
) -> None:
    """An endless answer would fill the disk, a short one be taken for the file."""
    server.put("/a.bin", body, length=-1, etag=None)
    with pytest.raises(DownloadError, match=said):
        get(server, tmp_path / "a.bin", sha256="", size=len(CONTENT))
    assert visible(tmp_path) == []


@pytest.mark.parametrize("length", ["many", "-5", ""])
def test_lengths_that_are_no_numbers(server: Server, tmp_path: Path, length: str) -> None:
    """A mistake of the server would be a traceback."""
    server.put("/a.bin", CONTENT).first += [
        lambda h: h.reply(200, {"Content-Length": length}, CONTENT)
    ]
    with contextlib.suppress(DownloadError):
        get(server, tmp_path / "a.bin")
    assert all((tmp_path / name).read_bytes() == CONTENT for name in visible(tmp_path))


@pytest.mark.parametrize("name", ["labels.csv", "labels.csv.gz"])
def test_compressed_on_the_way_or_by_itself(server: Server, tmp_path: Path, name: str) -> None:
    """A table would arrive compressed, or an archive unpacked, and neither be the file published."""
    body = b"id,label\n" * 1000
    if name.endswith(".gz"):
        body = gzip.compress(body, mtime=0)
    page = server.put(f"/{name}", body, encoding="gzip")
    page.first += [cut(20)]
    get(server, tmp_path / name, sha256=hashlib.sha256(body).hexdigest(), size=len(body))
    assert (tmp_path / name).read_bytes() == body
    server.put(f"/{name}x", body, encoding="gzip", first=[])
    server.pages[f"/{name}x"].first += [
        lambda h: h.reply(200, {"Content-Encoding": "gzip"}, b"this is not gzip")
    ]
    with pytest.raises(DownloadError, match="not compressed as the server says"):
        get(server, tmp_path / f"{name}x")


# --- elsewhere -----------------------------------------------------------------------------------


def test_redirects_are_followed_also_when_going_on(server: Server, tmp_path: Path) -> None:
    """Addresses of archives lead elsewhere, and a broken download would not go on there."""
    server.put("/a.bin", status=302, headers={"Location": "/b"}, etag=None)
    server.put("/b", status=307, headers={"Location": f"{server.url}/far/c.bin"}, etag=None)
    server.put("/far/c.bin", CONTENT).first.append(cut(1 << 17))
    get(server, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [r.range for r in server.asked("/far/c.bin")] == [None, "bytes=131072-"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/a.bin", "without end"),
        ("ftp://127.0.0.1/a.bin", "leads to ftp://127.0.0.1/a.bin, which is not safe"),
        ("file:///etc/passwd", "leads to file:///etc/passwd, which is not safe"),
    ],
)
def test_redirects_that_lead_nowhere(server: Server, tmp_path: Path, place: str, said: str) -> None:
    """A server could send the command in circles, or to the user's own files."""
    server.put("/a.bin", status=302, headers={"Location": place})
    with pytest.raises(DownloadError, match=said):
        get(server, tmp_path / "a.bin")
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine, made here."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl, to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_what_is_encrypted_stays_so(
    server: Server, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who listens on the line could put another file in the place of one without a checksum."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server.put("/plain.bin", CONTENT)
    with serving(context) as secure:
        with pytest.raises(DownloadError, match=r"certificate of 127\.0\.0\.1 is not trusted"):
            get(secure, tmp_path / "a.bin")
        assert secure.requests == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "cert.pem"))
        place = {"Location": f"{server.url}/plain.bin"}
        secure.put("/a.bin", status=302, headers=place)
        with pytest.raises(DownloadError, match=r"leads to http://.*which is not safe"):
            get(secure, tmp_path / "a.bin")
        assert server.requests == []
        server.put("/up.bin", status=302, headers={"Location": f"{secure.url}/b.bin"})
        secure.put("/b.bin", CONTENT)
        get(server, tmp_path / "up.bin")


@pytest.mark.parametrize("kind", ["folder", "file URL", "http URL", "variable"])
def test_a_mirror_is_used_in_place_of_the_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A site without a network could not use its own copy, or would still call out."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "good.bin").write_bytes(CONTENT)
    server.put("/pub/good.bin", CONTENT)
    places = {"folder": str(folder), "file URL": folder.as_uri(), "http URL": f"{server.url}/pub/"}
    if kind == "variable":
        monkeypatch.setenv(MIRROR_VARIABLE, str(folder))
    target = tmp_path / "target.bin"
    retrieve("http://127.0.0.1:1/far/good.bin", SHA256, target, mirror=places.get(kind))
    assert target.read_bytes() == CONTENT
    expected = ["/pub/good.bin"] if kind == "http URL" else []
    assert [request.path for request in server.requests] == expected


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


def test_other_addresses_are_asked_in_order(server: Server, tmp_path: Path) -> None:
    """A publisher that moved would make its data set unreachable."""
    server.put("/wrong", CONTENT[::-1])
    server.put("/page", b"<html>", type="text/html")
    server.put("/right", CONTENT)
    addresses = tuple(f"{server.url}/{n}" for n in ("gone", "wrong", "page", "right", "unasked"))
    bring(Wanted(tmp_path / "a", addresses, checksum=f"sha256:{SHA256}"), way())
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [r.path for r in server.requests] == ["/gone", "/wrong", "/page", "/right"]
    with pytest.raises(DownloadError) as error:
        bring(Wanted(tmp_path / "b", addresses[:2], checksum=f"sha256:{SHA256}"), way())
    assert "404" in str(error.value)
    assert "got SHA-256" in str(error.value)


def test_another_address_goes_on_with_the_same_bytes(server: Server, tmp_path: Path) -> None:
    """The bytes of the first address would be thrown away, although the checksum tells."""
    server.put("/a", CONTENT).first += [cut(1 << 17)] + [drop()] * 3
    server.put("/b", CONTENT)
    addresses = (f"{server.url}/a", f"{server.url}/b")
    bring(Wanted(tmp_path / "a", addresses, checksum=f"sha256:{SHA256}"), way())
    assert (tmp_path / "a").read_bytes() == CONTENT
    (request,) = server.asked("/b")
    assert (request.range, request.if_range) == ("bytes=131072-", None)


def test_names_with_escapes_are_those_of_the_file() -> None:
    """A mirror made by copying files would be asked for `two%20words`."""
    assert file_name("https://host/a/two%20words.bin?raw=true") == "two words.bin"


# --- several at a time, and other runs -----------------------------------------------------------


def test_files_come_in_parallel_and_one_error_does_not_stop_the_others(
    server: Server, tmp_path: Path
) -> None:
    """A night's download would end at its first missing file, or wait for one slow server."""
    names = [f"f{n}.bin" for n in range(8)]
    barrier = threading.Barrier(3, timeout=20)

    def together(handler: object) -> None:
        barrier.wait()  # three have to be on their way at once
        handler.give(Page(CONTENT))  # type: ignore[attr-defined]

    for name in names[:6]:
        server.put(f"/{name}", CONTENT)
    for name in names[:3]:
        server.pages[f"/{name}"].first.append(together)
    wanted = [
        Wanted(tmp_path / name, (f"{server.url}/{name}",), checksum=f"sha256:{SHA256}")
        for name in names
    ]
    arrived: dict[str, str] = {}
    errors = bring_several(
        wanted,
        way(),
        connections=3,
        arrived=lambda one, sum_: arrived.update({one.target.name: sum_}),
    )
    assert visible(tmp_path) == names[:6]
    assert arrived == dict.fromkeys(names[:6], f"sha256:{SHA256}")
    assert len(errors) == 2
    assert all("404" in str(error) for error in errors)


def test_a_file_that_another_run_downloads_is_left_to_it(server: Server, tmp_path: Path) -> None:
    """Two runs would write into one file."""
    hold = threading.Event()
    page = server.put("/a.bin", CONTENT, short=1000, hold=hold)
    first = threading.Thread(target=get, args=(server, tmp_path / "a.bin"))
    first.start()
    while not server.requests:
        time.sleep(0.01)
    with pytest.raises(Locked, match="another run is downloading") as error:
        get(server, tmp_path / "a.bin")
    assert error.value.exit_code == EXIT_LOCKED == 75
    hold.set()
    first.join()
    assert (tmp_path / "a.bin").read_bytes() == page.body
    assert len(server.requests) == 1


def test_a_lock_says_who_has_it_and_ends_with_the_process(tmp_path: Path) -> None:
    """A run that was killed would lock its folder for ever."""
    code = (
        "import sys, time; from mt_tools.download import locked\n"
        "with locked(sys.argv[1], 'x'):\n  print('locked', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        said = rf"process {other.pid} on .*\) is at work on data/gtzan: wait"
        with pytest.raises(Locked, match=said), locked(tmp_path / "lock", "data/gtzan"):
            pass
        other.send_signal(signal.SIGKILL)
    with locked(tmp_path / "lock", "data/gtzan"):
        pass


def test_killed_at_any_moment_nothing_half_is_whole(server: Server, tmp_path: Path) -> None:
    """Half of a file would be taken for all of it, or what came be lost."""
    target = tmp_path / "a.bin"
    code = (
        "import sys; from mt_tools.download import retrieve\n"
        "retrieve(sys.argv[1], sys.argv[2], sys.argv[3])"
    )
    command = [sys.executable, "-c", code, f"{server.url}/a.bin", SHA256, str(target)]
    for many in (20_000, 100_000, 200_000):
        hold = threading.Event()
        page = server.put("/a.bin", CONTENT, hold=hold, short=many)
        before = (tmp_path / ".a.bin.part").stat().st_size if many > 20_000 else 0
        with subprocess.Popen(command) as run:
            deadline = time.monotonic() + 30
            part = tmp_path / ".a.bin.part"
            while time.monotonic() < deadline and not (
                part.exists() and part.stat().st_size >= min(before + many // 2, 400_000)
            ):
                time.sleep(0.01)
            run.kill()
        hold.set()
        assert visible(tmp_path) == []
        assert CONTENT.startswith(part.read_bytes())
        assert json.loads((tmp_path / ".a.bin.part.json").read_bytes())["validator"] == page.tag
    server.put("/a.bin", CONTENT)
    server.requests.clear()
    here = part.stat().st_size
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert [r.range for r in server.requests] == [f"bytes={here}-"]
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_full_disk_is_said_before_and_on_the_way(server: Server, small_disk: Path) -> None:
    """A download of hours would end in a traceback, and leave nothing to go on from."""
    body = bytes(3 << 20)
    server.put("/a.bin", body)
    with pytest.raises(RunError, match=r"needs 3,145,728 bytes more and .* free: make room"):
        get(server, small_disk / "a.bin")
    server.put("/a.bin", body, length=-1)
    with pytest.raises(RunError, match=r"No space left on device; what came is kept"):
        get(server, small_disk / "a.bin", sha256="")
    assert visible(small_disk) == []

"""mt-fetch dataset: a data set on a local server is brought, unpacked, checked and read."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile import Server, cut, drop, serving, status, sums
from support import Shell

from mt_tools.datasets import registry
from mt_tools.datasets.declaration import Dataset, Remote
from mt_tools.datasets.index import make_tiny
from mt_tools.datasets.store import Store, data_folder, is_here
from mt_tools.download import MIRROR_VARIABLE, Retries
from mt_tools.errors import ArchiveError, DownloadError, Locked, RunError, UsageError
from mt_tools.stages import dataset as stage
from mt_tools.stages.settings import DatasetSettings
from mt_tools.tables.batch import concatenate
from mt_tools.tables.source import open_table

AT_ONCE = Retries(times=2, first=0.0)
TRACKS = {f"audio/{n}.wav": random.Random(n).randbytes(40_000) for n in range(6)}
NAMES = [*TRACKS, "audio/x.wav"]  # one of them was never published
LABELS = "".join(f"{name},style{number % 2}\n" for number, name in enumerate(NAMES))


def index(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[dict[str, Any]]:
    """Read the label file of the made data set."""
    with open(folder / "labels.csv", newline="") as file:
        for name, style in csv.reader(file):
            yield {"path": name, "style": style}


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    """Return a tar.gz archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def md5(body: bytes) -> str:
    """Return a checksum as declarations have them."""
    return f"md5:{hashlib.md5(body).hexdigest()}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server with the files of the made data set."""
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MT_TOOLS_DATA", str(tmp_path / "home"))
    halves = [dict(list(TRACKS.items())[:3]), dict(list(TRACKS.items())[3:])]
    whole = zipped(halves[1])
    with serving() as running:
        running.put("/one.tar.gz", tarred(halves[0]))
        running.put("/two.zip.001", whole[:50_000])
        running.put("/two.zip.002", whole[50_000:])
        running.put("/labels.csv", LABELS.encode())
        yield running


@pytest.fixture
def made(server: Server, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A data set of an archive, one in two pieces, and a label file without a checksum."""
    bodies = {path.strip("/"): page.body for path, page in server.pages.items()}

    def remote(name: str, **options: Any) -> Remote:
        return Remote(f"{server.url}/{name}", len(bodies[name]), md5(bodies[name]), **options)

    data = Dataset(
        name="made",
        title="A made data set",
        home="https://example.org",
        citation="Nobody, 2020",
        licence="CC0",
        index=f"{__name__}:index",
        tiny=f"{__name__}:index",
        labels={"style": "the style"},
        files=(
            remote("one.tar.gz", unpack="."),
            remote("two.zip.001", unpack=".", piece_of="two.zip"),
            remote("two.zip.002", unpack=".", piece_of="two.zip"),
            Remote(f"{server.url}/labels.csv"),
        ),
    )
    monkeypatch.setitem(registry.DATASETS, "made", data)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    return data


def listing(folder: Path) -> dict[str, bytes]:
    """Return the visible files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    }


def run(said: list[str] | None = None, **options: Any) -> list[dict[str, Any]]:
    """Return the rows of the made data set, those that failed left out."""
    settings = DatasetSettings(name="made", **options)
    say = (said if said is not None else []).append
    failed: list[str] = []
    fail = lambda row, error: failed.append(f"{row['id']}: {error.kind}")  # noqa: E731
    rows = concatenate(list(stage.run(settings, show=False, say=say, fail=fail))).rows()
    assert sorted(failed) == [
        f"{name}: missing" for name in NAMES if name not in [row["id"] for row in rows]
    ]
    return rows


def test_a_data_set_is_brought_and_read(made: Dataset, server: Server, tmp_path: Path) -> None:
    """The whole point: a name becomes a table whose paths open."""
    said: list[str] = []
    rows = run(said, to=str(tmp_path / "d"))
    assert [row["id"] for row in rows] == list(TRACKS)
    assert [row["style"] for row in rows] == [f"style{n % 2}" for n in range(6)]
    for row in rows:
        assert Path(row["path"]).read_bytes() == TRACKS[row["id"]]
    assert "CC0" in said[0]
    assert "Nobody, 2020" in said[0]
    size = sum(len(page.body) for page in server.pages.values())
    assert said[1].startswith(f"4 files to download, {size / 1000:.3g} kB, into ")
    assert (
        f"held to that of this one, sha256:{hashlib.sha256(LABELS.encode()).hexdigest()}" in said[2]
    )
    archives = {path.strip("/"): page.body for path, page in server.pages.items()}
    assert listing(tmp_path / "d") == TRACKS | archives
    server.requests.clear()
    said.clear()
    assert run(said, to=str(tmp_path / "d")) == rows
    assert (server.requests, said) == ([], [])


def test_relative_folders_stay_relative(
    made: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table beside its data could not be moved with it, or would not be found as typed."""
    monkeypatch.chdir(tmp_path)
    rows = run(to="data/made")
    assert rows[0]["path"] == "data/made/audio/0.wav"
    rows = run(from_="data/made")
    assert rows[0]["path"] == "data/made/audio/0.wav"


def test_the_usual_folder_and_the_list(made: Dataset, tmp_path: Path) -> None:
    """What was downloaded would be downloaded again from another working folder."""
    assert not is_here(made)
    run()
    assert data_folder("made") == tmp_path / "home" / "made"
    assert (data_folder("made") / "labels.csv").is_file()
    assert is_here(made)
    (data_folder("made") / "labels.csv").unlink()
    assert not is_here(made)


def test_archives_are_not_needed_once_unpacked(
    made: Dataset, server: Server, tmp_path: Path
) -> None:
    """A user who makes room would download everything again."""
    rows = run(to=str(tmp_path / "d"), keep=False)
    assert listing(tmp_path / "d") == TRACKS | {"labels.csv": LABELS.encode()}
    server.requests.clear()
    assert run(to=str(tmp_path / "d")) == rows
    assert server.requests == []
    assert (
        list(stage.verify(DatasetSettings(name="made", to=str(tmp_path / "d")), show=False)) == []
    )


def test_only_what_the_set_needs_is_downloaded(
    made: Dataset, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label of 50 kB would cost a download of 500 GB."""
    one, *two, labels = made.files
    files = (dataclasses.replace(one, sets=("small",)), *two, labels)
    files = (files[0], *(dataclasses.replace(r, sets=("large",)) for r in two), labels)
    data = dataclasses.replace(made, files=files, sets=("small", "large"))
    monkeypatch.setitem(registry.DATASETS, "made", data)
    assert [row["id"] for row in run(to=str(tmp_path / "d"))] == list(TRACKS)[:3]
    assert {r.path for r in server.requests} == {"/one.tar.gz", "/labels.csv"}
    run(to=str(tmp_path / "d"), set_="large")
    assert len(server.asked("/one.tar.gz")) == 1
    assert len(server.asked("/two.zip.002")) == 1


def test_wrong_names_are_told_before_anything_is_downloaded(
    made: Dataset, server: Server, tmp_path: Path
) -> None:
    """A typing error would be told after a night of downloading."""
    for options in ({"set_": "x"}, {"split": "x"}, {"from_": "a", "to": "b"}):
        with pytest.raises(UsageError):
            run(**{"to": str(tmp_path / "d")} | options)
    assert server.requests == []
    assert not (tmp_path / "d").exists()
    with pytest.raises(UsageError, match="made"):
        list(stage.run(DatasetSettings(name="maed"), show=False, say=print, fail=print))


# --- what breaks ---------------------------------------------------------------------------------


def test_what_came_stays_and_what_did_not_is_said(
    made: Dataset, server: Server, tmp_path: Path
) -> None:
    """One missing file would throw away the others, or the table be made of half a data set."""
    body = server.pages.pop("/two.zip.002").body
    store = Store(made, tmp_path / "d")
    with pytest.raises(DownloadError, match=r"two\.zip\.002: the server answered 404"):
        store.bring(retries=AT_ONCE)
    assert not store.is_whole()
    assert set(list(TRACKS)[:3]) < set(listing(tmp_path / "d"))
    server.put("/two.zip.002", body).first += [cut(8192)] + [drop()] * 2
    with pytest.raises(DownloadError, match="broke before the end"):
        store.bring(retries=AT_ONCE)
    server.requests.clear()
    store.bring(retries=AT_ONCE)
    assert [(r.path, r.range) for r in server.requests] == [("/two.zip.002", "bytes=8192-")]
    assert store.is_whole()


def test_archives_that_are_broken_or_not_safe(
    made: Dataset, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken archive would be taken for unpacked, or hide the others."""
    bad = tarred({"../evil": b"1"})
    server.put("/one.tar.gz", bad)
    files = (dataclasses.replace(made.files[0], size=len(bad), checksum=md5(bad)), *made.files[1:])
    store = Store(dataclasses.replace(made, files=files), tmp_path / "d")
    with pytest.raises(ArchiveError, match="one.tar.gz is not safe to unpack"):
        store.bring(retries=AT_ONCE)
    assert not (tmp_path / "evil").exists()
    assert not store.is_unpacked(store.archives[0])
    assert store.is_unpacked(store.archives[1])
    with pytest.raises(ArchiveError):
        store.bring(retries=AT_ONCE)


def test_a_cut_archive_of_unknown_length_is_not_what_later_ones_are_held_to(
    made: Dataset, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody states a checksum or a length, the whole file would be refused ever after."""
    one, *rest = made.files
    data = dataclasses.replace(made, files=(dataclasses.replace(one, size=0, checksum=""), *rest))
    monkeypatch.setitem(registry.DATASETS, "made", data)
    whole = server.pages["/one.tar.gz"].body
    server.put("/one.tar.gz", whole[: len(whole) // 2])
    with pytest.raises(ArchiveError, match=r"one\.tar\.gz is cut or broken.*delete it"):
        run(to=str(tmp_path / "d"))
    server.put("/one.tar.gz", whole)
    (tmp_path / "d" / "one.tar.gz").unlink()
    assert [row["id"] for row in run(to=str(tmp_path / "d"))] == list(TRACKS)


def test_a_half_unpacking_is_done_again_and_a_whole_one_is_not(
    made: Dataset, server: Server, tmp_path: Path
) -> None:
    """Half of the audio would be taken for all of it."""
    folder = tmp_path / "d"
    run(to=str(folder))
    left = folder / ".mt-fetch" / "unpacking" / "audio"
    left.mkdir(parents=True)
    (left / "half.wav").write_bytes(b"half")
    (folder / ".mt-fetch" / "one.tar.gz.sha256").unlink()  # it is written last
    (folder / "audio" / "1.wav").unlink()
    server.requests.clear()
    assert len(run(to=str(folder))) == 6
    assert server.requests == []
    assert not (folder / ".mt-fetch" / "unpacking").exists()
    assert {name: body for name, body in listing(folder).items() if name in TRACKS} == TRACKS
    (folder / "audio" / "1.wav").unlink()  # the user's own decision
    assert len(run(to=str(folder))) == 5


@pytest.mark.parametrize(
    ("event", "count"),
    [
        ("open", 1),
        ("open", 3),
        ("os.rename", 1),
        ("os.rename", 2),
        ("os.rename", 3),
        ("os.rename", 4),
    ],
)
def test_killed_at_any_moment(tmp_path: Path, event: str, count: int) -> None:
    """A run that is killed, at its commits above all, must leave what the next one can finish."""
    (tmp_path / "one.tar.gz").write_bytes(tarred(TRACKS))
    folder = tmp_path / "d"
    data = "Dataset(*['made'] * 7, files=(Remote('http://x/one.tar.gz', unpack='.'),))"
    code = f"""
import os, signal, sys
from pathlib import Path
from mt_tools.datasets.declaration import Dataset, Remote
from mt_tools.datasets.store import Store

store, left = Store({data}, Path(sys.argv[1])), [{count}]

def hook(event, arguments):  # unpacked files are opened below the folder `unpacking`
    if event == "{event}" and (event != "open" or "/unpacking/" in str(arguments[0])):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
store.bring(sys.argv[2])
"""
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(tmp_path)])
    assert done.returncode == -signal.SIGKILL
    store = Store(eval(data), folder)
    assert not store.is_whole()
    assert not store.is_unpacked(store.archives[0])
    seen = listing(folder)
    assert {name: body for name, body in seen.items() if name != "one.tar.gz"} in ({}, TRACKS)
    assert seen.get("one.tar.gz") in (None, (tmp_path / "one.tar.gz").read_bytes())
    store.bring(str(tmp_path))
    assert Store(eval(data), folder).is_whole()
    assert {name: body for name, body in listing(folder).items() if name in TRACKS} == TRACKS
    assert sorted(os.listdir(folder)) == [".mt-fetch", "audio", "one.tar.gz"]
    expected = ["files.json", "lock", "one.tar.gz.sha256"]
    assert sorted(os.listdir(folder / ".mt-fetch")) == expected


def test_two_runs_in_one_folder(made: Dataset, server: Server, tmp_path: Path) -> None:
    """Two runs would unpack into each other's scratch."""
    hold = threading.Event()
    server.pages["/one.tar.gz"].hold, server.pages["/one.tar.gz"].short = hold, 100
    store = Store(made, tmp_path / "d")
    first = threading.Thread(target=store.bring)
    first.start()
    while not server.asked("/one.tar.gz"):
        time.sleep(0.01)
    said = rf"another run \(process {os.getpid()} on .* is at work on .*/d: wait"
    with pytest.raises(Locked, match=said):
        Store(made, tmp_path / "d").bring()
    hold.set()
    first.join()
    assert Store(made, tmp_path / "d").is_whole()


def test_a_file_that_changes_at_its_publisher_is_refused(
    made: Dataset, server: Server, tmp_path: Path
) -> None:
    """Without a published checksum, a file that was replaced would change results silently.

    And who wants the new one could not have it.
    """
    run(to=str(tmp_path / "d"))
    (tmp_path / "d" / "labels.csv").unlink()
    server.put("/labels.csv", LABELS.replace("style1", "style2").encode())
    with pytest.raises(
        DownloadError,
        match=r"labels\.csv is not the file expected: .* as at first \(take .*files\.json",
    ):
        run(to=str(tmp_path / "d"))
    known = tmp_path / "d" / ".mt-fetch" / "files.json"
    entries = json.loads(known.read_text())
    del entries["labels.csv"]
    known.write_text(json.dumps(entries))
    assert "style2" in {row["style"] for row in run(to=str(tmp_path / "d"))}


def test_a_file_that_the_user_put_there_is_used_or_replaced(
    made: Dataset, server: Server, tmp_path: Path
) -> None:
    """What a browser downloaded would be downloaded again, or a wrong one be used."""
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "one.tar.gz").write_bytes(server.pages["/one.tar.gz"].body)
    (folder / "two.zip.001").write_bytes(b"something else")
    assert len(run(to=str(folder))) == 6
    assert server.asked("/one.tar.gz") == []
    assert (folder / "two.zip.001").read_bytes() == server.pages["/two.zip.001"].body


def test_room_is_asked_for_first(made: Dataset, server: Server, small_disk: Path) -> None:
    """A disk would be full after hours."""
    files = tuple(dataclasses.replace(r, size=40_000_000) for r in made.files[:1])
    data = dataclasses.replace(made, files=files)
    with pytest.raises(RunError, match=r"made needs about 80 MB in .* has .* free: make room"):
        Store(data, small_disk / "d").bring()
    assert server.asked("/one.tar.gz") == []


def test_a_folder_that_cannot_be_written(made: Dataset, tmp_path: Path) -> None:
    """A mistyped --to would be a traceback."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match=r"cannot write into .*file/d.*--to DIR"):
        run(to=str(tmp_path / "file" / "d"))


@pytest.mark.parametrize("nested", [False, True])
def test_a_mirror_of_one_or_of_many(
    made: Dataset, server: Server, tmp_path: Path, nested: bool
) -> None:
    """A laboratory's own copy could not be used, or the publisher would be asked all the same."""
    mirror = tmp_path / "mirror" / ("made" if nested else "")
    mirror.mkdir(parents=True)
    for path, page in server.pages.items():
        (mirror / path.strip("/")).write_bytes(page.body)
    assert len(run(to=str(tmp_path / "d"), mirror=str(tmp_path / "mirror"))) == 6
    assert server.requests == []
    with pytest.raises(DownloadError, match="404"):
        run(to=str(tmp_path / "e"), mirror=f"{server.url}/nowhere")


# --- --verify, --dry-run, by hand ----------------------------------------------------------------


def test_verify_finds_what_is_wrong(made: Dataset, tmp_path: Path) -> None:
    """A disk that rots, or a file that somebody edited, would go unnoticed."""
    folder = tmp_path / "d"
    settings = DatasetSettings(name="made", to=str(folder))
    with pytest.raises(UsageError, match="nothing of made was downloaded"):
        list(stage.verify(settings, show=False))
    run(to=str(folder))
    assert list(stage.verify(settings, show=False)) == []
    (folder / "audio" / "0.wav").unlink()
    changed = bytearray(TRACKS["audio/4.wav"])
    changed[7] ^= 1
    (folder / "audio" / "4.wav").write_bytes(changed)
    (folder / "audio" / "own.wav").write_bytes(b"")
    (folder / "tracks.parquet").write_bytes(b"")  # a result beside the data is no part of it
    (folder / "two.zip.001").write_bytes(b"x")
    (folder / "labels.csv").write_bytes(LABELS.encode()[:-1])
    lines = list(stage.verify(settings, show=False))
    assert [line.split(": got")[0] for line in lines] == [
        "changed: two.zip.001", "changed: labels.csv", "missing: audio/0.wav",
        "changed: audio/4.wav", "extra: audio/own.wav",
    ]  # fmt: skip
    shutil.rmtree(folder / "audio")
    for name in ("one.tar.gz", "two.zip.001", "two.zip.002", ".mt-fetch/one.tar.gz.sha256"):
        (folder / name).unlink()
    run(to=str(folder))
    found = list(stage.verify(settings, show=False))
    assert sorted(found) == [f"missing: audio/{n}.wav" for n in (3, 4, 5)]


def test_the_plan_asks_nobody(made: Dataset, server: Server, tmp_path: Path) -> None:
    """A question would begin a download, or need a network."""
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "labels.csv").write_bytes(LABELS.encode())
    (folder / ".one.tar.gz.part").write_bytes(bytes(1000))
    settings = DatasetSettings(name="made", to=str(folder), dry_run=True)
    before = sums(tmp_path)
    text = "\n".join(stage.plan(settings))
    assert server.requests == []
    assert sums(tmp_path) == before
    for word in (
        "A made data set",
        "CC0",
        "Nobody, 2020",
        str(folder),
        f"{server.url}/two.zip.002",
    ):
        assert word in text
    states = [line.split()[0] for line in text.splitlines() if " from " in line]
    assert states == ["part", "missing", "missing", "here"]
    assert "part (1 kB)" in text
    assert "to download: 3 files" in text
    run(to=str(folder))
    text = "\n".join(stage.plan(settings))
    assert text.count("\nunpacked ") == 3
    assert "to download: 0 files, 0 bytes" in text


def test_what_has_to_be_got_by_hand_says_how(
    made: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user would not know how to get on."""
    data = dataclasses.replace(made, files=(), by_hand="ask for the key at https://example.org.")
    monkeypatch.setitem(registry.DATASETS, "made", data)
    with pytest.raises(UsageError) as error:
        run()
    said = "mt-fetch dataset made --from ~/made -o made.parquet"
    assert str(error.value) == (
        f"made has to be got by hand: ask for the key at https://example.org. Then type: {said}"
    )
    (tmp_path / "got" / "audio").mkdir(parents=True)
    (tmp_path / "got" / "labels.csv").write_text(LABELS)
    (tmp_path / "got" / "audio" / "2.wav").write_bytes(b"")
    assert [row["id"] for row in run(from_=str(tmp_path / "got"))] == ["audio/2.wav"]
    assert "by hand: ask for" in "\n".join(stage.plan(DatasetSettings(name="made")))


def test_rows_without_audio_are_kept_where_there_is_none_to_have(make_batch: Any) -> None:
    """The labels of a data set without audio would all be failures."""
    batch = make_batch(path=[None, "/no/such.wav"], style=["a", "b"])
    failed: list[tuple[str, str]] = []
    fail = lambda row, error: failed.append((row["id"], error.kind))  # noqa: E731
    (kept,) = stage.heard([batch], ["/no/such.wav", "/gone.wav"], fail)
    assert list(kept.ids) == ["t0"]
    assert failed == [("t1", "missing"), ("/gone.wav", "missing")]


# --- as typed ------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A mirror of a declared data set that states no checksum, in its tiny version."""
    data = registry.dataset("esc-50")
    assert [(remote.checksum, remote.unpack) for remote in data.files] == [("", ".")]
    make_tiny(data, tmp_path / "tiny")
    noise = random.Random(3).randbytes(200_000)
    files = {
        p.relative_to(tmp_path / "tiny").as_posix(): p for p in (tmp_path / "tiny").rglob("*.*")
    }
    archive = zipped({name: path.read_bytes() for name, path in files.items()} | {"noise": noise})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as running:
        running.put("/ESC-50.zip", archive)
        yield running


def test_the_command(published: Server, sh: Shell, tmp_path: Path) -> None:
    """What the help and the docs promise, in a shell: the table, then 4 when a file is gone."""
    line = f"mt-fetch dataset esc-50 --to d --mirror {published.url}"
    published.pages["/ESC-50.zip"].first += [status(503, Retry_After="0")]
    done = sh(f"{line} -o t.parquet", ok=True)
    assert b"please cite: " in done.stderr
    batch = concatenate(list(open_table(str(tmp_path / "t.parquet"))))
    assert len(batch) > 1
    assert all((tmp_path / path).is_file() for path in batch["path"])
    lost = batch["path"][0]
    (tmp_path / lost).unlink()
    done = sh(f"{line} -q -o t.jsonl --errors e.jsonl; echo $?; {line} --verify; echo $?")
    assert done.stdout.split() == [b"3", b"4"]
    (error,) = map(json.loads, (tmp_path / "e.jsonl").read_text().splitlines())
    assert (error["path"], error["kind"]) == (lost, "missing")
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == len(batch) - 1
    assert f"missing: {lost.removeprefix('d/')}" in done.stderr.decode()


def test_the_command_is_stopped_and_goes_on(
    published: Server, bin_folder: Path, tmp_path: Path
) -> None:
    """Ctrl-C would wait for a silent server, or lose what came."""
    page = published.pages["/ESC-50.zip"]
    page.hold, page.short = threading.Event(), len(page.body) // 2
    line = [bin_folder / "mt-fetch", "dataset", "esc-50", "--to", "d"]
    line += ["--mirror", published.url, "-o", "t.parquet"]
    part = tmp_path / "d" / ".ESC-50.zip.part"
    process = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size):
        time.sleep(0.01)
    second = subprocess.run(line, cwd=tmp_path, capture_output=True)
    assert second.returncode == 75
    (message,) = second.stderr.decode().splitlines()[1:]
    assert f"process {process.pid} on {socket.gethostname()}" in message
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert time.monotonic() - begin < 10
    assert not (tmp_path / "t.parquet").exists()
    page.hold.set()
    page.hold = page.short = None
    size = part.stat().st_size
    subprocess.run(line, cwd=tmp_path, check=True, capture_output=True)
    assert published.asked("/ESC-50.zip")[-1].range == f"bytes={size}-"
    assert (tmp_path / "t.parquet").exists()

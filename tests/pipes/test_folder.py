"""mt-fetch folder in a real shell: nightly updates, self-contained tables, playlists."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support import Shell


@pytest.fixture
def music(corpus: Path, tmp_path: Path) -> Path:
    """Five files of the made corpus, and one that is none, in the folder `Music`."""
    (tmp_path / "Music").mkdir()
    for path in sorted((corpus / "data").iterdir())[:5]:
        shutil.copy(path, tmp_path / "Music")
    (tmp_path / "Music" / "text.mp3").write_text("no music")
    return tmp_path / "Music"


def test_every_night(sh: Shell, music: Path, tmp_path: Path) -> None:
    """A cron job's table would differ from a fresh scan, or its exit code tell of nothing to do."""
    line = "mt-fetch folder Music --tag energy=ENERGY:regression --max-errors 1"
    first = sh(f"{line} --update t.parquet -o t.parquet", ok=True)
    assert b"files: 0 unchanged, 0 changed, 5 new, 0 gone" in first.stderr
    once = (tmp_path / "t.parquet").read_bytes()
    second = sh(f"{line} --update t.parquet -o t.parquet", ok=True)
    assert b"files: 5 unchanged, 0 changed, 0 new, 0 gone" in second.stderr
    assert b"text.mp3: text, expected audio" in second.stderr
    assert (tmp_path / "t.parquet").read_bytes() == once
    sh(f"{line} --update none.parquet -o fresh.parquet -j 0", ok=True)
    assert (tmp_path / "fresh.parquet").read_bytes() == once


def test_a_table_that_needs_no_files(sh: Shell, music: Path, tmp_path: Path) -> None:
    """A table taken to another machine would be of no use there, from a file or a pipe."""
    scan = "mt-fetch folder Music --audio bytes -q --max-errors 1"
    sh(f"{scan} -o t.parquet", ok=True)
    spec = "mt-spec --preset choi2016 --first 2 -q"
    sh(f"{scan} | {spec} --max-errors 1 - -o piped.parquet", ok=True)
    shutil.rmtree(music)
    sh(f"{spec} t.parquet -o mels.parquet", ok=True)
    piped, read = (pq.read_table(tmp_path / f"{n}.parquet")["mel"] for n in ("piped", "mels"))
    assert len(read) == 5
    assert piped.combine_chunks().equals(read.combine_chunks())


def test_playlists(sh: Shell, music: Path, tmp_path: Path) -> None:
    """Sets would not be read by the commands that take folders, or their gaps not be told."""
    names = [path.name for path in sorted(music.iterdir())]
    (tmp_path / "sets").mkdir()
    for name, lines in (("One", names[:2]), ("Two", [*names[1:3], "gone.flac"])):
        text = "".join(f"..\\Music\\{line}\r\n" for line in lines)
        (tmp_path / "sets" / f"{name}.m3u8").write_text(f"#EXTM3U\r\n{text}", newline="")
    done = sh("mt-fetch folder sets/*.m3u8 --format jsonl --errors e.jsonl")
    assert done.returncode == 3
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["path"], row["playlists"]) for row in rows] == [
        (f"Music/{names[0]}", ["One"]),
        (f"Music/{names[1]}", ["One", "Two"]),
        (f"Music/{names[2]}", ["Two"]),
    ]
    (error,) = map(json.loads, (tmp_path / "e.jsonl").read_text().splitlines())
    assert (error["path"], error["kind"]) == ("sets/..\\Music\\gone.flac", "missing")

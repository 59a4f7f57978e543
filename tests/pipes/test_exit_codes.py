"""What a run says when it ends: exit codes, the errors table, shards, one-line messages."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytest_plugins = ("shell",)

Shell = Callable[..., subprocess.CompletedProcess[bytes]]

COLUMNS = ["id", "path", "stage", "kind", "message"]


def codes(done: object) -> list[int]:
    """Return the exit codes that a line echoed."""
    return [int(word) for word in done.stdout.split()]  # type: ignore[attr-defined]


def test_failed_rows(bash: Shell, here: Path) -> None:
    """Rows would vanish silently, or one bad file would stop a night's work."""
    done = bash("mt-copy t.jsonl --fail r3 --fail r7 -o out.jsonl --errors errors.jsonl; echo $?")
    assert codes(done) == [3]
    assert len((here / "out.jsonl").read_text().splitlines()) == 8
    errors = [json.loads(line) for line in (here / "errors.jsonl").read_text().splitlines()]
    assert errors == [
        {
            "id": id_,
            "path": f"{id_}.wav",
            "stage": "mt-copy",
            "kind": "asked",
            "message": "as asked",
        }
        for id_ in ("r3", "r7")
    ]
    assert done.stderr.decode().splitlines() == [
        "mt-copy: r3: as asked",
        "mt-copy: r7: as asked",
        "mt-copy: 2 of 10 rows failed",
    ]


def test_how_many_errors_are_tolerated(bash: Shell, here: Path) -> None:
    """Cron would report a failure for one bad file, or nothing for a broken disk."""
    fail = "mt-copy t.jsonl --fail r3 --fail r7 -o out.parquet --max-errors"
    done = bash(
        "; ".join(f"{fail} {limit}; echo $?" for limit in ("1", "2", "19.9%", "20%", "2.5", "-1"))
    )
    assert codes(done) == [3, 0, 3, 0, 2, 2]
    assert done.stderr.count(b"2 of 10 rows failed") == 4  # tolerated is still reported
    done = bash(
        "mt-copy t.jsonl --fail r3 --fail r7 | mt-copy --fail r1 --max-errors 20% -o x.npz; echo $?;"
        " mt-copy t.jsonl --fail r3 --fail r7 | mt-copy --fail r1 --max-errors 3 -o x.npz; echo"
        " ${PIPESTATUS[1]}"
    )
    assert codes(done) == [3, 0]
    assert done.stderr.count(b"3 of 10 rows failed") == 2


def test_strict_and_what_is_left_then(bash: Shell, here: Path) -> None:
    """--strict would keep a table that lacks rows."""
    (here / "out.parquet").write_text("old")
    done = bash("mt-copy t.jsonl --fail r3 --strict -o out.parquet --errors errors.csv; echo $?")
    assert codes(done) == [1]
    assert (here / "out.parquet").read_text() == "old"
    assert (here / "errors.csv").read_text().splitlines() == [
        ",".join(COLUMNS), "r3,r3.wav,mt-copy,asked,as asked",
    ]  # fmt: skip
    said = done.stderr.decode().splitlines()
    assert said[-1] == "mt-copy: stopped at the first failed row (r3), as --strict asks"


def test_the_errors_table_without_errors(bash: Shell, here: Path) -> None:
    """A script that reads the table of errors would fail on the good days."""
    done = bash(
        "mt-copy t.jsonl -o out.npz --errors e.parquet; echo $?;"
        " mt-copy t.jsonl -o out.npz --errors e.txt; echo $?;"
        " mt-copy t.jsonl --after 0 -o out.npz --errors e.csv; echo $?;"
        " mt-copy t.jsonl --fail r0 -o out.npz --errors e.jsonl --size 1 --after 1; echo $?"
    )
    assert codes(done) == [0, 2, 1, 1]
    assert pq.read_schema(here / "e.parquet").names == COLUMNS
    assert (here / "e.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert json.loads((here / "e.jsonl").read_text())["id"] == "r0"


def test_all_rows_fail(bash: Shell, here: Path) -> None:
    """A table of which nothing is left would be no table at all for the next command."""
    (here / "one.jsonl").write_text('{"id": "a", "style": "rock"}\n')
    done = bash("mt-copy one.jsonl --fail a -o out.parquet; echo $?; mt-copy out.parquet; echo $?")
    assert codes(done)[-2:] == [3, 5]
    assert pq.read_schema(here / "out.parquet").names == ["id", "style"]


def test_shards(bash: Shell, here: Path) -> None:
    """Tracks would be done twice or never, or a copy be parted from its track."""
    rows = [{"id": f"r{n}#{c}", "origin": f"r{n}"} for n in range(40) for c in range(2)]
    (here / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bash(
        "for i in 1 2 3; do mt-copy t.jsonl --shard $i/3 -o $i.parquet || exit; done;"
        " mt-copy 1.parquet 2.parquet 3.parquet -o all.parquet",
        ok=True,
    )
    parts = [pq.read_table(here / f"{n}.parquet")["id"].to_pylist() for n in (1, 2, 3)]
    assert sorted(id_ for part in parts for id_ in part) == sorted(row["id"] for row in rows)
    assert all(5 < len(part) / 2 < 25 for part in parts)
    origins = [{id_.partition("#")[0] for id_ in part} for part in parts]
    assert sum(map(len, origins)) == 40
    (here / "one.jsonl").write_text('{"id": "b", "origin": "r0"}\n')
    found = next(n for n in (1, 2, 3) if "r0" in origins[n - 1])
    lines = [f"mt-copy one.jsonl --shard {n}/3 -o one{n}.parquet; echo $?" for n in (1, 2, 3)]
    assert codes(bash("; ".join(lines))) == [0, 0, 0]
    for number in (1, 2, 3):  # a shard with nothing left is an empty table, and a success
        table = pq.read_table(here / f"one{number}.parquet")
        assert (table.num_rows, table.column_names) == (int(number == found), ["id", "origin"])
    for text in ("0/3", "4/3", "1", "a/b"):
        assert codes(bash(f"mt-copy t.jsonl --shard {text} -o x.npz; echo $?")) == [2]


def test_options_of_mt_tag_that_would_lose_a_file(bash: Shell, here: Path) -> None:
    """The way back would be replaced by rows, or --undo --dry-run change the files."""
    (here / "j.jsonl").write_text("the journal")
    (here / "a.mp3").write_text("music")
    for options, said in {
        "--undo j.jsonl -o ./j.jsonl": "--output and --undo are one file",
        "--undo j.jsonl --format jsonl -o a.mp3": "--output a.mp3 is an audio file",
        "t.jsonl --write genre --apply --journal j.jsonl --errors j.jsonl": "are one file",
        "--undo j.jsonl --dry-run": "leave out --apply and --dry-run",
        "t.jsonl --undo j.jsonl --state s": "leave out --state",
    }.items():
        done = bash(f"mt-tag {options}")
        assert done.returncode == 2
        assert said in done.stderr.decode()
    assert (here / "j.jsonl").read_text() == "the journal"


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("mt-copy no.csv", 2, "no.csv: no such file or folder"),
        ("mt-copy t.jsonl --jobs many", 2, "Invalid value for '--jobs'"),
        ("mt-copy t.jsonl --format mp3", 2, "'mp3' is not one of"),
        ("mt-copy t.jsonl --after 0", 1, "went wrong, as asked"),
        ("mt-copy t.jsonl --after 0 --wrong defect", 1, "unexpected ZeroDivisionError: a defect;"),
    ],
)
def test_a_mistake_is_one_line(bash: Shell, line: str, code: int, said: str) -> None:
    """A user would have to read a traceback to learn of a typing error."""
    done = bash(f"{line} > /dev/null")
    assert done.returncode == code
    (message,) = done.stderr.decode().splitlines()
    assert message.startswith("mt-copy: ")
    assert said in message


def test_tracebacks_are_there_for_who_asks(bash: Shell) -> None:
    """A defect could not be reported."""
    done = bash("mt-copy t.jsonl --after 0 --wrong defect -vv > /dev/null")
    text = done.stderr.decode()
    assert "Traceback" in text
    assert text.splitlines()[-1].startswith("mt-copy: unexpected ZeroDivisionError")


def test_a_check_that_does_not_hold(sh: Shell, tmp_path: Path) -> None:
    """CI would stay green over a leak, or not see which one it was."""
    rows = [("a", "x", "train"), ("b", "x", "test"), ("c", "c", "train")]
    lines = [json.dumps(dict(zip(("id", "origin", "split"), row, strict=True))) for row in rows]
    (tmp_path / "leak.jsonl").write_text("\n".join(lines))
    done = sh("mt-eval check leak.jsonl -o found.jsonl; echo $?; mt-eval check leak.jsonl | cat")
    code, *found = done.stdout.decode().splitlines()
    assert code == "4"
    assert (tmp_path / "found.jsonl").read_text().splitlines() == found
    assert json.loads(found[0])["kind"]
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_results_that_miss_a_requirement_do_not_end_as_whole(sh: Shell, corpus: Path) -> None:
    """The next command in the pipe would go on as if the check had held; a file is still kept."""
    sh(f"mt-embed {corpus}/tracks.parquet -m mfcc-stats -j 1 -o e.parquet", ok=True)
    probe = "mt-eval probe e.parquet -t style --probe ridge --folds 2 -q --require 'accuracy>2'"
    done = sh(
        f"{probe} --format arrow | mt-fetch split --method random -o out.parquet; echo ${{PIPESTATUS[@]}}"
    )
    assert done.stdout.split() == [b"4", b"1"]
    assert sh(f"{probe} -o kept.csv").returncode == 4
    assert sh("cat kept.csv", ok=True).stdout.startswith(b"id,task")

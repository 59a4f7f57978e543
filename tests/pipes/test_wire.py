"""Tables through real pipes, files, FIFOs and terminals."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_tools.tables.sink import WRITERS
from mt_tools.tables.source import Source, open_table

pytest_plugins = ("shell",)

Shell = Callable[..., subprocess.CompletedProcess[bytes]]

MAGIC = {"parquet": b"PAR1", "npz": b"PK\3\4", "arrow": b"ARROW1", "stream": b"\xff" * 4}


def ids(text: bytes) -> list[str]:
    """Return the ids of JSON lines."""
    return [json.loads(line)["id"] for line in text.splitlines()]


ALL = [f"r{n}" for n in range(10)]


def test_every_format_through_files_and_pipes(bash: Shell, here: Path) -> None:
    """A format would work in a file and not in a pipe, or the other way round."""
    done = bash(
        "mt-copy t.jsonl --format npz | mt-copy --format parquet | mt-copy --format arrow |"
        " mt-copy --format csv | mt-copy --from csv | mt-copy --format jsonl",
        ok=True,
    )
    assert done.stdout == (here / "t.jsonl").read_bytes()
    done = bash(
        "mt-copy t.jsonl -o t.npz; mt-copy t.npz -o t.parquet; mt-copy t.parquet -o t.arrow;"
        " mt-copy t.arrow -o t.csv; mt-copy t.csv --format jsonl",
        ok=True,
    )
    assert done.stdout == (here / "t.jsonl").read_bytes()


def test_what_stdout_is_decides(bash: Shell, here: Path) -> None:
    """A file would hold a stream that other programs cannot open, or a pipe a file."""
    done = bash(
        "mt-copy t.jsonl > file; mt-copy t.jsonl | head -c 4 > pipe; mt-copy t.jsonl | cat |"
        " mt-copy -o - | mt-copy -o /dev/stdout | mt-copy --format jsonl > lines;"
        " mt-copy t.jsonl --ends | cat > ends; mt-copy t.jsonl --ends --format arrow > wire;"
        " cat t.jsonl > more; mt-copy t.jsonl >> more; echo $?; mt-copy t.jsonl --format jsonl"
        " >> more; echo $?; mt-copy t.jsonl -o t.txt; echo $?; mt-copy t.jsonl -o no/t.csv;"
        " echo $?; mkdir t.npz; mt-copy t.jsonl -o t.npz; echo $?"
    )
    assert (here / "file").read_bytes()[:4] == MAGIC["parquet"]
    assert (here / "pipe").read_bytes() == MAGIC["stream"]
    assert (here / "wire").read_bytes()[:6] == MAGIC["arrow"]
    lines = (here / "t.jsonl").read_bytes()
    assert (here / "lines").read_bytes() == (here / "ends").read_bytes() == lines
    assert (here / "more").read_bytes() == lines + lines
    assert done.stdout.split() == [b"2", b"0", b"2", b"2", b"2"]
    messages = done.stderr.decode().splitlines()
    assert len(messages) == 4
    for message, expected in zip(
        messages, ["(>>)", "names no format", "does not exist", "a folder"], strict=True
    ):
        assert expected in message


def test_fifos_and_process_substitution(bash: Shell, here: Path) -> None:
    """A FIFO would be replaced by a file, or lose the bytes that were sniffed."""
    bash(
        "mkfifo in.fifo out.fifo; mt-copy t.jsonl -o in.fifo & mt-copy in.fifo -o out.fifo &"
        " mt-copy out.fifo -o through.jsonl; wait;"
        " mt-copy <(mt-copy t.jsonl) -o >(cat > stream) && sleep 0.2;"
        " mt-copy stream -o substituted.jsonl",
        ok=True,
    )
    for name in ("through.jsonl", "substituted.jsonl"):
        assert (here / name).read_bytes() == (here / "t.jsonl").read_bytes()
    assert stat.S_ISFIFO((here / "out.fifo").stat().st_mode)


def test_a_terminal_gets_a_readable_table(bash: Shell) -> None:
    """Binary would be printed on a terminal and ruin it."""
    done = bash(
        "script -qec 'mt-copy t.jsonl; mt-copy t.jsonl --format arrow; echo $?;"
        " mt-copy t.jsonl --ends --format csv; mt-copy' /dev/null"
    )
    assert done.returncode == 2
    text = done.stdout.decode()
    assert "r9.wav" in text
    assert "--format arrow is binary and stdout is a terminal" in text
    assert "r9,r9.wav,9" in text
    assert "no input: name a folder, an audio file or a table" in text  # it does not wait


def test_progress_only_when_it_is_wanted(bash: Shell) -> None:
    """A log of a cron job would be full of progress bars."""
    assert bash("mt-copy t.jsonl | mt-copy -o t.npz", ok=True).stderr == b""
    said = bash("mt-copy t.jsonl -o t.npz --progress --size 1", ok=True).stderr
    assert b"mt-copy" in said
    assert b"track" in said


def test_a_slow_writer(bash: Shell, here: Path) -> None:
    """A writer that sends one byte at a time would be taken for another format."""
    slowly = (
        "python3 -c \"import sys, time\nfor b in open(sys.argv[1], 'rb').read(40):"
        " sys.stdout.buffer.write(bytes([b])); sys.stdout.flush(); time.sleep(0.005)\n"
        "sys.stdout.buffer.write(open(sys.argv[1], 'rb').read()[40:])\""
    )
    for format in ("parquet", "npz", "arrow", "stream", "jsonl"):
        with open(here / format, "wb") as file:
            writer = WRITERS[format](file, [])
            for batch in Source([open_table(str(here / "t.jsonl"))]):
                writer.write(batch)
            writer.finish(10, 0)
        done = bash(f"{slowly} {format} | mt-copy --format jsonl", ok=True)
        assert ids(done.stdout) == ALL, format


def test_stages_run_at_the_same_time(bash: Shell, here: Path) -> None:
    """The second command would wait for the first to end."""
    started = time.monotonic()
    command = "mt-copy t.jsonl --size 2 --after 6 --wrong wait | mt-copy --format jsonl --size 1"
    line = f'PATH="{here}/bin:$PATH" exec bash -c "{command}"'
    with subprocess.Popen(
        line, shell=True, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = b"".join(process.stdout.readline() for _ in range(6))
        assert time.monotonic() - started < 20
        os.killpg(process.pid, 15)
    assert ids(lines) == ALL[:6]


def test_stdin_is_read_only_when_it_is_meant(bash: Shell, here: Path) -> None:
    """A `while read` loop would end after its first file."""
    (here / "list").write_text("t.jsonl\nt.jsonl\nt.jsonl\n")
    done = bash(
        'while read -r f; do mt-copy "$f" --work 0.001 --jobs 1 --format jsonl; done < list',
        ok=True,
    )
    assert ids(done.stdout) == ALL * 3
    assert ids(bash("mt-copy t.jsonl - --format jsonl < t2.jsonl", stdin=None).stdout) == []
    (here / "t2.jsonl").write_text('{"id": "other"}\n')
    done = bash("mt-copy t.jsonl - --format jsonl < t2.jsonl", ok=True)
    assert ids(done.stdout) == [*ALL, "other"]


def test_lists_of_paths(bash: Shell, here: Path) -> None:
    """Names with spaces, quotes or line breaks would be torn apart."""
    names = ["a b.mp3", "it's.mp3", 'say "x".mp3', "cafe\u0301.mp3"]
    (here / "lines").write_text("\n".join(names) + "\r\n")
    (here / "nul").write_bytes("\0".join([*names, "two\nlines.mp3"]).encode())
    done = bash("mt-copy - --format jsonl < lines; mt-copy -0 --format jsonl < nul", ok=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["path"] for row in rows] == [*names, *names, "two\nlines.mp3"]
    assert rows[3]["id"] == "caf\u00e9.mp3"


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("mt-copy < /dev/null", 1, "stdin was empty"),
        ("printf '' | mt-copy -0", 5, "empty: nothing to do"),
        ("printf '' | mt-copy --from paths", 5, "empty: nothing to do"),
        ("printf '' | mt-copy --from jsonl", 5, "empty: nothing to do"),
        ("printf '\\n\\n' | mt-copy", 5, "the input had no rows"),
        ("mt-copy no.parquet", 2, "no.parquet: no such file"),
        ("head -c 100 t.parquet | mt-copy", 1, "not a whole Parquet file"),
        ("echo nonsense | mt-copy --from npz", 1, "not a whole NPZ file"),
        ("(mt-copy t.jsonl; mt-copy t.jsonl) | mt-copy", 2, "write each table to a file"),
    ],
)
def test_input_that_is_nothing(bash: Shell, here: Path, line: str, code: int, said: str) -> None:
    """A mistake would look like success, or like a defect."""
    if "parquet" in line:
        pq.write_table(pa.table({"id": ["a"] * 1000}), here / "t.parquet")
    done = bash(f"{line} | cat > out")
    assert done.returncode == code
    (message,) = done.stderr.decode().splitlines()
    assert said in message
    assert message.startswith("mt-copy: ")


# --- a dead upstream is never success -------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "codes"),
    [
        ("mt-copy t.jsonl --after 0 --wrong kill", "137 1"),
        ("mt-copy t.jsonl --size 2 --after 4 --wrong kill", "137 1"),
        ("mt-copy t.jsonl --size 2 --after 4", "1 1"),
        ("mt-copy t.jsonl --size 2 --after 4 --wrong defect", "1 1"),
        ("mt-copy t.jsonl --size 2 --fail r7 --strict", "1 1"),
        ("mt-copy --no-such-option", "2 1"),
        ("mt-copy --from jsonl /dev/null", "5 1"),
        ("mt-copy t.jsonl --fail r7", "3 3"),
        ("mt-copy t.jsonl --fail r7 --max-errors 1", "0 3"),
        ("mt-copy t.jsonl", "0 0"),
    ],
)
def test_a_producer_that_fails(bash: Shell, here: Path, first: str, codes: str) -> None:
    """Half a library would be taken for the whole, and replace the result of last night."""
    (here / "out.jsonl").write_text("old")
    done = bash(f"{first} | mt-copy -o out.jsonl; echo ${{PIPESTATUS[*]}}")
    assert done.stdout.decode().strip() == codes
    kept = (here / "out.jsonl").read_bytes()
    if codes.endswith("1"):
        assert kept == b"old"
        assert b"upstream ended early" in done.stderr
    else:
        assert ids(kept) == [i for i in ALL if i != "r7" or "r7" not in first]
    assert not [name for name in os.listdir(here) if name.startswith(".")]
    assert b"Traceback" not in done.stderr


def test_kill_9_ends_the_pipe_at_once(bash: Shell, here: Path, processes: object) -> None:
    """Workers of a killed producer would hold the pipe open, and the consumer would hang."""
    done = bash(
        "mt-copy t.jsonl --size 4 --work 0.01 --jobs 2 -q | cat > whole & wait;"
        " mkfifo f; mt-copy f -o out.parquet & consumer=$!;"
        " mt-copy t.jsonl --size 1 --work 0.3 --jobs 2 > f & producer=$!;"
        " sleep 1.5; kill -9 $producer; date +%s.%N; wait $consumer; echo $?; date +%s.%N"
    )
    killed, code, ended = done.stdout.split()
    assert code == b"1"
    assert float(ended) - float(killed) < 2
    assert b"upstream ended early" in done.stderr
    assert not (here / "out.parquet").exists()


def test_streams_of_other_programs(bash: Shell, here: Path) -> None:
    """A stream of pyarrow or DuckDB would be refused, or a cut one accepted."""
    file = io.BytesIO()
    table = pa.table({"id": ["a", "b"], "x": [1, 2]})
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    (here / "whole").write_bytes(file.getvalue())
    (here / "cut").write_bytes(file.getvalue()[:-8])
    done = bash("cat whole | mt-copy --format jsonl; cat cut | mt-copy -o x.jsonl; echo $?")
    *rows, code = done.stdout.splitlines()
    assert ids(b"\n".join(rows)) == ["a", "b"]
    assert code == b"1"
    assert not (here / "x.jsonl").exists()


# --- -o appears whole or not at all ---------------------------------------------------------------


def test_the_input_may_be_the_output(bash: Shell, here: Path) -> None:
    """A table would be destroyed by reading and writing it in place."""
    bash("mt-copy t.jsonl -o t.parquet; mt-copy t.parquet -o t.parquet", ok=True)
    assert pq.read_table(here / "t.parquet")["id"].to_pylist() == ALL


def test_a_full_disk(bash: Shell, here: Path, small_disk: Path) -> None:
    """A full disk would cost the old result, or leave half a file."""
    rows = [{"id": os.urandom(2000).hex()} for _ in range(1000)]
    (here / "big.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for format in ("parquet", "npz", "arrow", "jsonl", "csv"):
        (small_disk / f"t.{format}").write_text("old")
        done = bash(f"mt-copy big.jsonl -o {small_disk}/t.{format}")
        assert done.returncode == 1, format
        assert done.stderr.decode() == (
            "mt-copy: cannot write the output: No space left on device; nothing was kept\n"
        )
        assert os.listdir(small_disk) == [f"t.{format}"]
        assert (small_disk / f"t.{format}").read_text() == "old"
        (small_disk / f"t.{format}").unlink()
    # With Python's buffer, and without: what is in it would be tried again at the end (exit 120).
    for line in ("mt-copy t.jsonl --format jsonl", "mt-copy --version", "mt-copy --help"):
        for buffered in ("", "1"):
            done = bash(f"PYTHONUNBUFFERED={buffered} {line} > /dev/full")
            assert done.returncode == 1, line
            assert done.stderr.count(b"\n") == 1


# --- the same bytes -------------------------------------------------------------------------------


def test_same_bytes_for_any_jobs(sh: Shell, corpus: Path) -> None:
    """make would rebuild what did not change; a run could not be reproduced on another machine."""
    digests = set()
    for jobs in (0, 1, 3):
        done = sh(
            f"mt-spec {corpus}/tracks.parquet --first 1 --bands 8 --jobs {jobs} -o out.parquet;"
            " sha256sum < out.parquet",
            ok=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_history(bash: Shell, here: Path) -> None:
    """Nobody could say how a table was made, or would learn where its maker lives."""
    bash(
        f"mt-copy {here}/t.jsonl -o a.parquet; mkdir x; cp a.parquet x/b.parquet;"
        " mt-copy x/b.parquet --shard 1/1 --fail '' | mt-copy --format parquet > c.parquet;"
        " mt-copy c.parquet -o d.npz; mt-copy d.npz -o e.arrow; mt-copy e.arrow -o f.parquet",
        ok=True,
    )
    text = pq.read_schema(here / "f.parquet").metadata[b"mt"].decode()
    steps = json.loads(text)
    assert [step["command"] for step in steps] == ["mt-copy"] * 6
    assert steps[1]["settings"] == {"fail": [""], "shard": "1/1"}
    assert [[file["name"] for file in step["inputs"]] for step in steps] == [
        ["t.jsonl"], ["b.parquet"], [], ["c.parquet"], ["d.npz"], ["e.arrow"],
    ]  # fmt: skip
    assert str(here) not in text


def test_assume(bash: Shell, here: Path) -> None:
    """Features that went through another program could not be used any more."""
    (here / "mel.jsonl").write_text(json.dumps({"id": "a", "mel": [[0.5] * 3] * 48}) + "\n")
    done = bash(
        "mt-copy mel.jsonl --assume dj -o mel.parquet; echo $?; mt-copy mel.jsonl --assume choi -o"
        " x.npz; echo $?; mt-copy mel.jsonl --assume choi2016 -o x.npz; echo $?"
    )
    assert done.stdout.split() == [b"0", b"2", b"2"]
    schema = pq.read_schema(here / "mel.parquet")
    assert json.loads(schema.field("mel").metadata[b"mt.settings"])["hop"] == 1024
    assert json.loads(schema.metadata[b"mt"])[0]["settings"]["assume"] == "dj"
    unknown, unfit = done.stderr.decode().splitlines()
    assert "unknown preset 'choi': choose one of choi2016, dj," in unknown
    assert "got mel [48, 3], expected [96, any number]" in unfit

"""mt-eval probe in a shell: a run that is killed goes on, and what is printed can be believed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Shell


@pytest.fixture
def table(tmp_path: Path) -> str:
    """A table of 200 tracks of 40 artists, with two embeddings, a class and a number."""
    rng = np.random.default_rng(0)
    columns = {}
    for name in ("embedding", "embedding.b"):
        vectors = rng.normal(size=(200, 16)).astype(np.float32)
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 16)
    columns["id"] = pa.array([f"t{i}" for i in range(200)])
    columns["group"] = pa.array([f"artist {i // 5}" for i in range(200)])
    columns["style"] = pa.array(["ab"[value] for value in rng.integers(2, size=200)])
    columns["level"] = pa.array(rng.normal(size=200))
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    return "e.parquet"


def test_a_killed_run_goes_on(sh: Shell, table: str, tmp_path: Path, bin_folder: Path) -> None:
    """A night's probing would be lost to a kill -9, or end in other numbers."""
    words = [table, "-t", "style", "-t", "level", "--probe", "mlp", "--repeats", "10", "--each"]
    line = f"mt-eval probe {' '.join(words)}"
    command = [str(bin_folder / "mt-eval"), "probe", *words, "-o", "cut.parquet", "-j", "1"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    checkpoint = tmp_path / "cut.parquet.checkpoint"

    def done() -> int:
        return checkpoint.read_bytes().count(b"\n") if checkpoint.exists() else 0

    deadline = time.monotonic() + 120
    while done() < 12 and time.monotonic() < deadline:  # in the second of four
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = done()
    assert 12 <= kept < 40
    assert not (tmp_path / "cut.parquet").exists()
    resumed = sh(f"{line} -o cut.parquet --resume -j 2", ok=True)
    assert f"resumed: {kept} of 40 splits were done" in resumed.stderr.decode()
    whole = sh(f"{line} -o whole.parquet --resume -j 1", ok=True)
    assert "there is no checkpoint of whole.parquet" in whole.stderr.decode()
    assert (tmp_path / "cut.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not list(tmp_path.glob("*.checkpoint"))


def test_options_of_a_probe(sh: Shell, table: str, tmp_path: Path) -> None:
    """Few examples, a search and requirements on them could not be asked for in a shell."""
    done = sh(
        f"mt-eval probe {table} -t style --column embedding --probe knn --grid k=1,5 --shots 2,10 "
        "--folds 4 --progress --require 'accuracy@10>=0'",
        ok=True,
    )
    rows = {row["id"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert {"style.accuracy", "style.accuracy@2", "style.accuracy@10"} <= set(rows)
    assert rows["style.accuracy@2"]["note"].startswith("chosen: k = ")
    assert b"Warning" not in done.stderr
    failed = sh(f"mt-eval probe {table} -t style --probe ridge --require 'accuracy>2' -o r.csv")
    assert failed.returncode == 4
    assert sorted(path.name for path in tmp_path.glob("r.csv*")) == ["r.csv"]
    for options, words in (
        ("--probe knn --grid C=1", "expected k"),
        ("--resume", "name the file"),
        ("--shots none", "--shots none"),
    ):
        wrong = sh(f"mt-eval probe {table} -t style {options}")
        assert wrong.returncode == 2
        (message,) = wrong.stderr.decode().splitlines()
        assert words in message


def test_what_cannot_end_well_does_not_begin(sh: Shell, table: str, tmp_path: Path) -> None:
    """A slip of the pen would be found after a night, and the night be lost."""
    for line, said in (
        (f"probe {table} -t style --require accuracy=1 -o p.json", b"got the requirement"),
        (f"probe {table} -t level:multilabel", b"multilabel needs strings"),
        (f"plot {table} -o none/map.png", b"cannot write none/map.png: its folder does not"),
        (f"report {table} -o none/report.md", b"cannot write none/report.md: its folder does"),
        (f"compare {table} --plot none/ranks.svg", b"cannot write none/ranks.svg: its folder"),
        (f"thresholds {table} -m x -o none/m.safetensors", b"cannot write none/m.safetensors"),
    ):
        done = sh(f"mt-eval {line}")
        assert (done.returncode, done.stdout) == (2, b"")
        assert said in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_reader_that_leaves_a_table_is_no_failure(sh: Shell, table: str) -> None:
    """`| head` on what is for reading would look like a failed run, to a shell with pipefail."""
    line = f"mt-eval probe {table} -t style --folds 2 -q --format table"
    done = sh(f"{line} | true; echo ${{PIPESTATUS[0]}}")
    assert done.stdout.strip() in (b"141", b"0")
    assert done.stderr == b""

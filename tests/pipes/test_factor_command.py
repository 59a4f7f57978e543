"""mt-factor in a real shell: what cannot be fitted is said in one line, and no file is lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Shell = Callable[..., subprocess.CompletedProcess[bytes]]


def test_mistakes_are_one_line_and_lose_no_file(sh: Shell, tmp_path: Path) -> None:
    """What is fitted would take the place of its table, or a long fit end in no such folder."""
    rows = [{"id": f"t{i}", "tags": [f"w{i % 3}", f"w{i % 5}"], "split": "test"} for i in range(9)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "t.npz").write_text((tmp_path / "t.jsonl").read_text())  # told by its first bytes
    (tmp_path / "empty.jsonl").touch()
    before = (tmp_path / "t.npz").read_bytes()
    for options, code, said in (
        ("plsa -k 2 t.npz --fitted ./t.npz", 2, "a table of this run has that name"),
        ("plsa -k 2 t.jsonl --fitted f.npz -o f.npz", 2, "a table of this run has that name"),
        ("plsa -k 2 t.jsonl --fitted no/f.npz", 2, "its folder does not exist"),
        ("plsa -k 2 t.jsonl --fitted f.parquet", 2, "call it FILE.npz"),
        ("plsa -k 2 t.jsonl --shard 1/2", 2, "leaves out rows that the fit needs"),
        ("agf -k 2 t.jsonl --column tags", 2, "no column 'group'"),
        ("kmeans t.jsonl -k 2 -o f.npz", 2, "make some with mt-spec first"),
        ("plsa empty.jsonl", 5, "the input had no rows"),
        ("gmm empty.jsonl --column tempo", 5, "the input had no rows"),
    ):
        done = sh(f"mt-factor {options}")
        (message,) = done.stderr.decode().splitlines()
        assert (done.returncode, said in message) == (code, True), f"{options}: {message}"
    assert (tmp_path / "t.npz").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.jsonl", "t.jsonl", "t.npz"]

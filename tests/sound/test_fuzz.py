"""Damaged files through the real commands: no crash, no hang, no lost row, true reasons.

`make fuzz` takes ten thousand of them (`MUTATIONS`), and other ones with another `SEED`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mutations import SHOWS_ITS_END, mutants, seeds
from support import Shell

# What a file that cannot be read may be called; `internal` would be a defect of ours.
KINDS = {
    "missing", "unreadable", "empty", "truncated", "not-audio", "no-decoder", "too-short",
    "not-finite", "crashed", "timeout", "no-length",
}  # fmt: skip


def run_over(sh: Shell, tmp_path: Path, command: str, files: list[str]) -> Counter[str]:
    """Run a command over files; return how often each kind of failure was reported.

    Each file must be a row of the result or of the errors, and the exit code must say which.
    """
    (tmp_path / "list").write_text("\n".join(files))
    done = sh(f"{command} - -q --errors errors.jsonl -o rows.parquet < list", timeout=7200)
    lines = (tmp_path / "errors.jsonl").read_text().splitlines()
    failures = {row["id"]: row for row in map(json.loads, lines)}
    rows = set(pq.read_table(tmp_path / "rows.parquet", columns=["id"])["id"].to_pylist())
    assert done.returncode == (3 if failures else 0), done.stderr.decode()[-2000:]
    assert rows | failures.keys() == set(files), "a row was lost"
    assert not rows & failures.keys()
    strange = [row for row in failures.values() if row["kind"] not in KINDS]
    assert not strange, strange[:5]
    return Counter(row["kind"] for row in failures.values())


def fuzz(sh: Shell, tmp_path: Path, count: int, seed: int) -> None:
    """Write damaged files and run commands over them."""
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    files = []
    for name, data in mutants(seeds(tmp_path / "good"), count, seed):
        (tmp_path / "bad" / name).write_bytes(data)
        files.append(f"bad/{name}")
    decoded = run_over(
        sh, tmp_path, "mt-spec --sample-rate 22050 --bands 16 --first 1 --timeout 60", files
    )
    scanned = run_over(sh, tmp_path, "mt-fetch folder --timeout 60", files)
    for counts in (decoded, scanned):
        print(dict(counts))
        assert counts["timeout"] == 0, "a file hangs"


def test_damaged_files_cost_a_row_each(sh: Shell, tmp_path: Path) -> None:
    """One damaged file among thousands would stop a night's run, or vanish from it."""
    fuzz(sh, tmp_path, 75, 0)


@pytest.mark.slow
def test_ten_thousand_damaged_files(sh: Shell, tmp_path: Path) -> None:
    """What one damaged file in a thousand does would only be met by a user."""
    count = int(os.environ.get("MUTATIONS", "10000"))
    fuzz(sh, tmp_path, count, int(os.environ.get("SEED", "1")))


def test_cut_files_are_told_from_short_ones(sh: Shell, tmp_path: Path) -> None:
    """Half a download would be learned from as if it were the song."""
    for name in ("good", "cut"):
        (tmp_path / name).mkdir()
    files = []
    for name, data in seeds(tmp_path / "good").items():
        if name in SHOWS_ITS_END:
            for share in (10, 50, 90):
                file = f"cut/{share}-{name}"
                (tmp_path / file).write_bytes(data[: len(data) * share // 100])
                files.append(file)
    (tmp_path / "list").write_text("\n".join(files))
    done = sh("mt-spec - --first 1 -q --errors errors.jsonl -o rows.parquet < list")
    assert done.returncode == 3
    errors = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert {row["id"] for row in errors} == set(files)
    assert {row["kind"] for row in errors} <= {"truncated", "empty", "unreadable"}, errors

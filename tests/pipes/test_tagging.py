"""The lines of docs/tagging.md and the example that learns the tags of a library, as they stand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import mutagen
import pyarrow.parquet as pq
import pytest
from support import ROOT, Shell, run_page


@pytest.mark.slow
def test_the_lines_of_the_page_on_tagging(sh: Shell, tmp_path: Path) -> None:
    """Someone who reads docs/tagging.md line by line would be stuck."""
    run_page(sh, "docs/tagging.md")
    assert (tmp_path / "taggram.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "night.json").read_text())["unchanged"] == 60


@pytest.mark.slow
def test_a_library_learns_its_tags(sh: Shell, tmp_path: Path) -> None:
    """A librarian could not go from tagged files to the untagged ones, nor back again."""
    make = f"make -f '{ROOT / 'examples' / 'my-library' / 'Makefile'}' PRECISION=.7"
    sh(f"{make} all", ok=True, timeout=900)
    assert (tmp_path / "report.html").stat().st_size > 10_000
    music = tmp_path / "Music"
    before = digests(music)
    sh(f"{make} apply", ok=True, timeout=300)
    rows = [json.loads(line) for line in (tmp_path / "written.jsonl").read_text().splitlines()]
    written = {row["path"] for row in rows if row["written"]}
    assert written
    for path in written:
        assert "untagged" in path  # those that were tagged by hand keep what they had
        assert mutagen.File(tmp_path / path)["genre"]
    # A second round learns from what people said alone.
    again = sh(f"{make} all", ok=True, timeout=900).stderr.decode()
    assert "values that mt-tag wrote, left out" in again
    labels = pq.read_table(tmp_path / "parts.parquet", columns=["path", "genre"]).to_pylist()
    assert all(row["genre"] is None for row in labels if "untagged" in row["path"])
    sh(f"{make} undo", ok=True)
    assert digests(music) == before


def digests(folder: Path) -> dict[Path, str]:
    """The SHA-256 of every file below a folder."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }

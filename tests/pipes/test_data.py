"""The lines of docs/data.md and the example that prepares the studies' inputs, as they stand."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support import ROOT, Shell, run_page


@pytest.mark.slow
def test_the_lines_of_the_page_on_data(sh: Shell, tmp_path: Path) -> None:
    """Someone who reads docs/data.md line by line would be stuck."""
    run_page(sh, "docs/data.md")
    assert (tmp_path / "parts.svg").stat().st_size > 10_000


@pytest.mark.slow
def test_every_study_s_input_is_prepared(sh: Shell, tmp_path: Path) -> None:
    """A study would need code before its first command; shapes are those that it prints."""
    makefile = ROOT / "examples" / "prepare" / "Makefile"
    sh(f"make -j2 -f '{makefile}' TRACKS=12", ok=True, timeout=900)
    shapes = {
        "dj": (48, 1874),  # STUDIES: Table 5.3 of the DJ study
        "agf": (128, 43),  # Table 2 of the AGF study
        "seq": (96, 1366),  # section 2.1 of the SEQ study
        "rep": (2, 128, 216),  # Table 3 of the REP study
    }
    for name, shape in shapes.items():
        table = pq.read_schema(tmp_path / f"{name}.parquet")
        assert tuple(table.field("mel").type.shape) == shape, name
    splits = pq.read_table(tmp_path / "dj.parquet", columns=["split", "origin"]).to_pylist()
    copies = {row["split"] for row in splits if row["origin"] is not None}
    assert copies == {"train"}
    again = sh(f"make -f '{makefile}' TRACKS=12", ok=True).stdout.decode()
    assert "Nothing to be done" in again

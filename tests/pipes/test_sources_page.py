"""The lines of docs/factors.md, run as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import Shell, run_page


@pytest.mark.slow
def test_the_lines_of_the_page_on_factors(sh: Shell, tmp_path: Path) -> None:
    """Someone who reads docs/factors.md line by line would be stuck."""
    run_page(sh, "docs/factors.md")
    assert (tmp_path / "map.png").stat().st_size > 10_000
    assert (tmp_path / "spread.png").stat().st_size > 10_000

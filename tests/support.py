"""What tests of several rooms share beside fixtures."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("fetch", "spec", "augment", "factor", "embed", "train", "eval", "tag")

Shell = Callable[..., subprocess.CompletedProcess[bytes]]
"""The fixture `sh`: runs a line in bash."""


def blocks_of(page: str) -> list[str]:
    """Return the shell lines of a page of the documentation, block by block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def run_page(sh: Shell, page: str) -> None:
    """Run the shell lines of a page as they stand."""
    for block in blocks_of(page):
        sh(f"set -euo pipefail\n{block}", ok=True, timeout=900)

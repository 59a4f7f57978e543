"""What tests of several rooms share beside fixtures."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("fetch", "spec", "augment", "factor", "embed", "train", "eval", "tag")

Shell = Callable[..., subprocess.CompletedProcess[bytes]]
"""The fixture `sh`: runs a line in bash."""

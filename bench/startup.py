"""Time from typing `--help` to reading it, for every command; medians of several."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("fetch", "spec", "augment", "factor", "embed", "train", "eval", "tag")
RUNS = 7


def seconds(line: list[str]) -> float:
    """Return the median wall time of a command."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(line, capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print a Markdown table."""
    folder = Path(sys.executable).parent
    bare = seconds([sys.executable, "-c", "pass"])
    print("| command | --help, s | over bare Python, s |\n|---|---|---|")
    for name in COMMANDS:
        took = seconds([str(folder / f"mt-{name}"), "--help"])
        print(f"| mt-{name} | {took:.3f} | {took - bare:.3f} |")


if __name__ == "__main__":
    main()

"""Time training and embedding on a CPU with memory kept between batches, and given back.

    python bench/memory.py

Prints a Markdown table: seconds and peak memory of whole commands, medians of several turns that
alternate. An allocator set by the user (here glibc's own ceiling of 32 MiB, above which it gives
every block back) is left as it is; otherwise `engine.memory.keep_memory` is at work.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TURNS = int(os.environ.get("RUNS", "3"))
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20)}
BIN = Path(sys.executable).parent


def run(folder: Path, line: str, setting: dict[str, str]) -> tuple[float, float]:
    """Run a command; return seconds and the most GB that it held."""
    measure = (
        "import os, resource, subprocess, sys, time; start = time.perf_counter();"
        " subprocess.run(sys.argv[1:], check=True);"
        " used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss;"
        " print(time.perf_counter() - start, used * 1024 / 1e9)"
    )
    words = line.split()
    done = subprocess.run(
        [sys.executable, "-c", measure, BIN / words[0], *words[1:]],
        cwd=folder, env=os.environ | setting, check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds, gigabytes = map(float, done.stdout.split())
    return seconds, gigabytes


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for line in (
            "mt-fetch synth --tracks 96 --out data -o tracks.parquet -q",
            "mt-spec tracks.parquet --preset choi2016 --first 9.9 -o mels.parquet -q",
            "mt-train mels.parquet -t style --net crnn-choi --epochs 1 -o crnn.safetensors -q",
        ):
            run(folder, line, {})
        print("| command | given back, s | kept, s | times faster | given back, GB | kept, GB |")
        print("|---|---:|---:|---:|---:|---:|")
        for what, line in (
            ("mt-train --net crnn-choi --epochs 2",
             "mt-train mels.parquet -t style --net crnn-choi --epochs 2 -o a.safetensors -q"),
            ("mt-train --net lenet5 --epochs 2",
             "mt-train mels.parquet -t style --net lenet5 --epochs 2 -o a.safetensors -q"),
            ("mt-embed --model crnn.safetensors",
             "mt-embed mels.parquet --model crnn.safetensors -o e.parquet -q"),
        ):  # fmt: skip
            turns = [(run(folder, line, GIVEN_BACK), run(folder, line, {})) for _ in range(TURNS)]
            (old, held), (new, keeps) = (
                tuple(statistics.median(turn[which][i] for turn in turns) for i in (0, 1))
                for which in (0, 1)
            )
            print(
                f"| {what} | {old:.1f} | {new:.1f} | {old / new:.2f} | {held:.1f} | {keeps:.1f} |"
            )


if __name__ == "__main__":
    main()

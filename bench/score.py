"""Time and memory of `mt-eval score` on many predictions.

    python bench/score.py      # 1.4 million rows x 50 tags: the number of clips of the REG study

Prints a Markdown table: seconds and peak memory of whole commands on made predictions, with their
start. The rows stand in artists of ten; up to half a million rows x tags the intervals come from
the bootstrap, beyond from random groups.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mt_tools.evaluate.intervals import RESAMPLED
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tables.sink import to_file

ROWS = int(os.environ.get("ROWS", "1400000"))
TAGS = [f"tag {number:02}" for number in range(50)]
BLOCK = 100_000


def make(path: Path, rows: int) -> None:
    """Write predictions of 50 tags, rare to frequent, which tell a little of the truth."""
    rng = np.random.default_rng(0)
    share = np.geomspace(0.005, 0.3, len(TAGS))
    columns = [
        Column("id", "string", "reserved"),
        Column("group", "string", "reserved"),
        Column("tags", "strings"),
        Column("tags_pred", "strings", "prediction", {"kind": "multilabel"}),
        Column("tags_score", "vector", "prediction", {"vocabulary": TAGS}, (len(TAGS),)),
    ]
    writer = to_file(str(path), None)([])
    names = np.array(TAGS, object)
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        hot = rng.random((size, len(TAGS))) < share
        logits = rng.normal(size=hot.shape) + 1.5 * hot + np.log(share)
        scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
        values = {
            "id": [str(row) for row in range(start, start + size)],
            "group": [f"artist {row // 10}" for row in range(start, start + size)],
            "tags": [list(names[row]) for row in hot],
            "tags_pred": [list(names[row]) for row in scores > 0.3],
            "tags_score": scores,
        }
        writer.write(Batch.build(columns, values))
    writer.finish(rows, 0)


def main() -> None:
    """Print the table."""
    print("| rows x tags | intervals | seconds | peak, GB |")
    print("|---|---|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        for rows in (2_000, 10_000, ROWS):
            path = Path(name) / f"{rows}.parquet"
            make(path, rows)
            measure = (
                "import resource, subprocess, sys, time; start = time.perf_counter();"
                " subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
                " used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss;"
                " print(time.perf_counter() - start, used * 1024 / 1e9)"
            )
            command = [Path(sys.executable).parent / "mt-eval", "score", path]
            done = subprocess.run(
                [sys.executable, "-c", measure, *command],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            seconds, gigabytes = map(float, done.stdout.split())
            how = "bootstrap" if rows * len(TAGS) <= RESAMPLED else "random groups"
            print(f"| {rows:,} x {len(TAGS)} | {how} | {seconds:.1f} | {gigabytes:.2f} |")


if __name__ == "__main__":
    main()

"""Peak memory of `mt-fetch folder | mt-spec | mt-embed` over 100 files and over 1,000.

Made pieces are written as MP3 files of 30 s (`DISTINCT` of them, copied), and the pipe runs over
folders of each size. All processes of the pipe, workers included, are asked for their share of
memory (PSS, which counts shared pages once) twenty times a second. Linux only.

Prints a Markdown table: the peak of each command with its workers, of all at the same moment, and
how much more the larger folder takes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

SIZES = [int(size) for size in os.environ.get("SIZES", "100,1000").split(",")]
DISTINCT = int(os.environ.get("DISTINCT", "20"))
BIN = Path(sys.executable).parent
OPTIONS = os.environ.get("OPTIONS", "--batch-size 1")  # of mt-embed; "" takes batches of 32
PIPE = (
    "mt-fetch folder {folder} | mt-spec --preset choi2016 | "
    f"mt-embed -m random {OPTIONS} -o {{out}}"
)


def share(process: Path) -> int:
    """Return the bytes that a process holds, its part of shared pages included; 0 if it is gone."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def commands_of(session: int) -> dict[str, list[Path]]:
    """Return the processes of a session by the command that they belong to."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            line = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if int(fields[3]) == session:
            pid = int(process.name)
            parents[pid] = int(fields[1])
            names[pid] = next((Path(w).name for w in line if Path(w).name.startswith("mt-")), "")
    found = defaultdict(list)
    for pid in names:
        owner = pid
        while not names[owner] and parents[owner] in names:
            owner = parents[owner]
        if names[owner]:
            found[names[owner]].append(Path("/proc") / str(pid))
    return found


def peaks(line: str) -> dict[str, int]:
    """Run a shell line and return the peak bytes of each command, and of all together."""
    highest: dict[str, int] = defaultdict(int)
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", line], start_new_session=True, env=environment
    ) as shell:
        while shell.poll() is None:
            held = {
                name: sum(map(share, processes))
                for name, processes in commands_of(shell.pid).items()
            }
            held["together"] = sum(held.values())
            for name, size in held.items():
                highest[name] = max(highest[name], size)
            time.sleep(0.05)
    if shell.returncode:
        raise SystemExit(f"exit {shell.returncode}: {line}")
    return highest


def main() -> None:
    """Print a Markdown table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            [BIN / "mt-fetch", "synth", "--tracks", str(DISTINCT), "--seconds", "30",
             "--sample-rate", "44100", "--audio-format", "mp3", "--out", folder / "made",
             "-o", folder / "tracks.parquet"],
            check=True, capture_output=True,
        )  # fmt: skip
        pieces = sorted((folder / "made").iterdir())
        results = []
        for size in SIZES:
            files = folder / str(size)
            files.mkdir()
            for number in range(size):
                shutil.copyfile(pieces[number % DISTINCT], files / f"{number:05d}.mp3")
            results.append(peaks(PIPE.format(folder=files, out=folder / f"{size}.parquet")))
    print(f"`{PIPE.format(folder='DIR', out='emb.parquet')}`\n")
    print(f"| MB at most | {' | '.join(f'{size:,} files' for size in SIZES)} | times |")
    print("|---|" + "---:|" * (len(SIZES) + 1))
    for name in results[0]:
        cells = [result[name] / 1e6 for result in results]
        print(f"| {name} | {' | '.join(f'{c:,.0f}' for c in cells)} | {cells[-1] / cells[0]:.3f} |")


if __name__ == "__main__":
    main()

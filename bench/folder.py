"""Time a scan of a large library, and the scans of the nights after.

    python bench/folder.py
    FILES=100000 python bench/folder.py

Some tagged MP3 and FLAC files of ten seconds are hard-linked into folders of twenty. Prints
Markdown tables: seconds and peak memory of whole commands, start included; and what reading one
file costs, beside mutagen alone, which tells neither that a file is cut short nor how long an MP3
without an index is. Medians of several turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mutagen
import mutagen.flac
import mutagen.mp3
import numpy as np
import soundfile
from mutagen import id3

from mt_tools.sound.info import read_info

FILES = int(os.environ.get("FILES", "20000"))
TURNS = int(os.environ.get("RUNS", "3"))
MEGABYTES = 200
BIN = Path(sys.executable).parent
MEASURE = (
    "import resource, subprocess, sys, time; start = time.perf_counter();"
    " subprocess.run(sys.argv[1:], check=True);"
    " used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss;"
    " print(time.perf_counter() - start, used / 1024)"
)


def run(folder: Path, line: str) -> tuple[float, float]:
    """Run a command; return seconds, and the most MiB that one of its processes held."""
    words = line.split()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, BIN / words[0], *words[1:]],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def tagged(path: Path) -> Path:
    """Write ten seconds of noise with the tags and the cover of a bought song."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (441_000, 2))
    soundfile.write(path, noise, 44_100)
    file = mutagen.File(path)
    if path.suffix == ".mp3":
        file.add_tags()
        for frame in (
            id3.TIT2(text="Song"), id3.TPE1(text="Ann"), id3.TALB(text="Disc"),
            id3.TCON(text="Rock"), id3.TDRC(text="1987"), id3.TBPM(text="128"),
            id3.TXXX(desc="ENERGY", text="300"), id3.APIC(data=bytes(30_000)),
        ):  # fmt: skip
            file.tags.add(frame)
    else:
        file.update(title="Song", artist="Ann", album="Disc", genre="Rock", date="1987", bpm="128")
        file["ENERGY"] = "300"
    file.save()
    return path


def library(folder: Path, count: int, seeds: list[Path]) -> None:
    """Link files into folders of twenty."""
    for number in range(count):
        album = folder / f"{number // 20:05}"
        album.mkdir(parents=True, exist_ok=True)
        seed = seeds[number % len(seeds)]
        os.link(seed, album / f"{number:06}{seed.suffix}")


def touched(folder: Path, share: int) -> None:
    """Replace every so many files by a copy, which is newer."""
    for number, path in enumerate(sorted(folder.rglob("*.*"))):
        if number % share == 0:
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)


def each(action: Callable[[], object], times: int = 200) -> float:
    """Return the milliseconds of processor time that an action takes, the least of several."""
    found = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(times):
            action()
        found.append((time.process_time() - start) / times * 1e3)
    return min(found)


def scans(folder: Path) -> None:
    """Print what scanning the library takes, for the first time and later."""
    scan = "mt-fetch folder Music --tag energy=ENERGY:regression -q"
    print(f"| {FILES:,} files | s | ms a file | MiB |\n|---|---:|---:|---:|")
    rows = [
        ("first scan", f"{scan} -o t.parquet"),
        ("the same again, --update", f"{scan} --update t.parquet -o u.parquet"),
        ("1 % of the files changed, --update", f"{scan} --update t.parquet -o u.parquet"),
        ("first scan, --id hash", f"{scan} --id hash -o h.parquet"),
    ]
    for what, line in rows:
        if "changed" in what:
            touched(folder / "Music", 100)
        turns = [run(folder, line) for _ in range(TURNS)]
        seconds, used = (statistics.median(turn[which] for turn in turns) for which in (0, 1))
        print(f"| {what} | {seconds:.1f} | {seconds / FILES * 1e3:.2f} | {used:.0f} |", flush=True)


def whole_files(folder: Path, seed: Path) -> None:
    """Print the memory that a self-contained table takes, to write and to read."""
    for megabytes in (MEGABYTES // 4, MEGABYTES):
        library(folder / f"m{megabytes}", megabytes * 2**20 // seed.stat().st_size, [seed])
    print("\n| --audio bytes | s | MiB |\n|---|---:|---:|")
    for megabytes in (MEGABYTES // 4, MEGABYTES):
        name = f"m{megabytes}"
        for what, line in (
            ("written", f"mt-fetch folder {name} --audio bytes -q -o {name}.parquet"),
            ("scanned again", f"mt-fetch folder {name} --audio bytes -q --update {name}.parquet "
                              f"-o {name}.arrow"),
            ("read by mt-spec -j 0", f"mt-spec {name}.parquet --preset choi2016 --first 1 -j 0 -q "
                                     f"-o {name}.mels.parquet"),
        ):  # fmt: skip
            seconds, used = run(folder, line)
            print(f"| {megabytes} MiB {what} | {seconds:.1f} | {used:.0f} |", flush=True)


def one_file(seeds: list[Path]) -> None:
    """Print what reading one file costs."""
    openers = {".mp3": mutagen.mp3.MP3, ".flac": mutagen.flac.FLAC}
    print("\n| one file, ms of one core | read_info | mutagen alone |\n|---|---:|---:|")
    for seed in seeds:
        ours = each(lambda: read_info(seed))  # noqa: B023
        alone = each(lambda: openers[seed.suffix](seed))  # noqa: B023
        print(f"| {seed.suffix[1:].upper()} | {ours:.3f} | {alone:.3f} |", flush=True)


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds = [tagged(folder / "seed.mp3"), tagged(folder / "seed.flac")]
        library(folder / "Music", FILES, seeds)
        scans(folder)
        whole_files(folder, seeds[1])
        one_file(seeds)


if __name__ == "__main__":
    main()

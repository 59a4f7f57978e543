"""How well mt-eval check finds copies, and how long it takes.

    python bench/check.py

Prints three Markdown tables. Copies of made pieces that were encoded anew, made quieter or cut, by
their embeddings (mfcc-stats, and compact-msd where its weights are in the cache) and by their
fingerprints; the repetitions of GTZAN in the published features of Choi et al. (2017), where the
folder MT_TOOLS_REFERENCE has them; and a whole command on a large table, seconds of the processor,
of the clock, and the most memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from mt_tools.datasets.registry import DATASETS
from mt_tools.evaluate.duplicates import near_pairs
from mt_tools.evaluate.fingerprints import matches
from mt_tools.features.fingerprint import SAMPLE_RATE, fingerprint
from mt_tools.sound.decode import decode
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.sink import to_file
from mt_tools.tables.source import Source, open_table

PIECES = int(os.environ.get("PIECES", "200"))
ROWS = int(os.environ.get("ROWS", "100000"))
BIN = Path(sys.executable).parent
REFERENCE = Path(os.environ.get("MT_TOOLS_REFERENCE", "../shared/reference"))

COPIES = {
    "MP3": ("mp3", 1.0, 0.0, {}),
    "MP3, lowest quality": ("mp3", 1.0, 0.0, {"compression_level": 0.99}),
    "Ogg Vorbis": ("ogg", 1.0, 0.0, {}),
    "half as loud": ("flac", 0.5, 0.0, {}),
    "without the first half second": ("flac", 1.0, 0.5, {}),
    "MP3, quieter, cut": ("mp3", 0.5, 0.05, {}),
    "the second half": ("flac", 1.0, 5.0, {}),
}


def command(line: str, folder: Path) -> None:
    """Run one of our commands."""
    words = line.split()
    subprocess.run([BIN / words[0], *words[1:]], cwd=folder, check=True, capture_output=True)


def vectors(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the ids and embeddings of a table."""
    table = concatenate(list(Source([open_table(str(path))])))
    return table.ids.tolist(), table["embedding"]


def prints(folder: Path) -> list[np.ndarray]:
    """Return the fingerprints of the files in a folder."""
    waves = (
        decode(str(path), sample_rate=SAMPLE_RATE, channels=1)[0][0]
        for path in sorted(folder.iterdir())
    )
    return [fingerprint(wave) for wave in waves]


def found(pairs: list[tuple[int, int]]) -> str:
    """Return how many of the pairs are copies, and how many are not."""
    right = sum(second - first == PIECES for first, second in pairs)
    return f"{right / PIECES:.3f} | {len(pairs) - right}"


def copies(folder: Path) -> None:
    """Measure copies of made pieces."""
    command(f"mt-fetch synth --tracks {PIECES} --out data -o t.parquet -q", folder)
    models = ["mfcc-stats"]
    try:
        command("mt-embed data -m compact-msd -o compact-msd.parquet -q", folder)
        models.append("compact-msd")
    except subprocess.CalledProcessError:
        print("compact-msd is left out: mt-fetch weights compact-msd\n")
    command("mt-embed data -m mfcc-stats -o mfcc-stats.parquet -q", folder)
    originals, heard = {m: vectors(folder / f"{m}.parquet")[1] for m in models}, None
    heard = prints(folder / "data")
    numbers, sides = np.arange(2 * PIECES), np.repeat([0, 1], PIECES)
    names = [*models, "fingerprint"]
    print("| copy | " + " | ".join(f"{name}: recall | false" for name in names) + " |")
    print("|---|" + "---:|---:|" * len(names))
    for place, (what, (ending, gain, cut, options)) in enumerate(COPIES.items()):
        changed = folder / f"copies{place}"
        changed.mkdir()
        for path in sorted((folder / "data").iterdir()):
            wave, rate = soundfile.read(path)
            wave = gain * wave[int(cut * rate) :]
            soundfile.write(changed / f"{path.stem}.{ending}", wave, rate, **options)
        cells = []
        for model in models:
            command(f"mt-embed {changed} -m {model} -o copy.parquet -q", folder)
            both = np.concatenate([originals[model], vectors(folder / "copy.parquet")[1]])
            cells.append(found([(p.first, p.second) for p in near_pairs(both, numbers, sides)]))
        pairs = matches(heard + prints(changed), numbers, sides)
        cells.append(found([(p.first, p.second) for p in pairs]))
        print(f"| {what} | {' | '.join(cells)} |", flush=True)


def gtzan() -> None:
    """Measure the repetitions of GTZAN; emoMusic is not known to have any."""
    folder = REFERENCE / "choi2017-features"
    if not folder.is_dir():
        print(f"\nno features in {folder}: set MT_TOOLS_REFERENCE")
        return
    known = [{*files} for fault in DATASETS["gtzan"].faults[:2] for files in fault.files]
    total = sum(len(files) * (len(files) - 1) // 2 for files in known)
    print("\n| table | near | pairs found | known repetitions | of |")
    print("|---|---:|---:|---:|---:|")
    for name in ("gtzan_genre.choi160", "gtzan_genre.mfcc120", "emoMusic.choi160",
                 "emoMusic.mfcc120"):  # fmt: skip
        ids, x = vectors(folder / f"{name}.parquet")
        numbers, places = np.arange(len(x)), np.unique(x, axis=0, return_inverse=True)[1]
        equal = np.argwhere(np.triu(places[:, None] == places, 1)).tolist()
        for near in (0.2, 0.35, 0.5, 0.7):
            pairs = near_pairs(x, numbers, numbers, near)
            both = equal + [[pair.first, pair.second] for pair in pairs]
            right = sum(any({ids[i], ids[j]} <= files for files in known) for i, j in both)
            of = total if name.startswith("gtzan") else 0
            print(f"| {name} | {near} | {len(both)} | {right} | {of} |")


def large(folder: Path) -> None:
    """Measure the command on many rows of 160 numbers that have 15 degrees of freedom."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(ROWS, 15)).astype(np.float32)
    x = np.tanh(hidden @ rng.normal(size=(15, 160)).astype(np.float32) / 3)
    x += rng.normal(0, 0.02, size=x.shape).astype(np.float32)
    x[:100] = x[-100:] + rng.normal(0, 0.01, size=(100, 160)).astype(np.float32)
    columns = [reserved("id"), reserved("group"), Column("style", "string"),
               Column("embedding", "vector", "embedding", shape=(160,))]  # fmt: skip
    values = {
        "id": [f"track {row}" for row in range(ROWS)],
        "group": [f"artist {row // 10}" for row in range(ROWS)],
        "style": [f"style {row // 10 % 20}" for row in range(ROWS)],
        "embedding": x,
    }
    print(f"\n| {ROWS:,} x 160 | processor, s | clock, s | GB | findings |")
    print("|---|---:|---:|---:|---:|")
    parts = rng.choice(["train", "valid", "test"], ROWS // 10 + 1, p=[0.8, 0.1, 0.1])
    split = [str(parts[row // 10]) for row in range(ROWS)]
    for what, marked in (("split 80 / 10 / 10", split), ("no split", [None] * ROWS)):
        table = Batch.build([*columns, reserved("split")], values | {"split": marked})
        out = to_file(str(folder / "large.parquet"), None)([])
        out.write(table)
        out.finish(ROWS, 0)
        measure = (
            "import resource, subprocess, sys, time; start = time.perf_counter();"
            " done = subprocess.run(sys.argv[1:], capture_output=True, text=True);"
            " used = resource.getrusage(resource.RUSAGE_CHILDREN);"
            " print(used.ru_utime + used.ru_stime, time.perf_counter() - start,"
            " used.ru_maxrss * 1024 / 1e9, len(done.stdout.splitlines()))"
        )
        line = [sys.executable, "-c", measure, BIN / "mt-eval", "check", "large.parquet", "--warn"]
        done = subprocess.run(line, cwd=folder, check=True, capture_output=True, text=True)
        processor, clock, memory, findings = done.stdout.split()
        print(f"| {what} | {float(processor):.0f} | {float(clock):.0f} | {float(memory):.2f} | "
              f"{findings} |")  # fmt: skip


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as name:
        copies(Path(name))
        gtzan()
        large(Path(name))


if __name__ == "__main__":
    main()

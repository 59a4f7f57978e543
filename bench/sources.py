"""What is learned from sources: networks of one, sets of these side by side, and two controls.

The REP study on made corpora, by examples/one-representation/Makefile. Networks learn from sources
of one corpus, a tenth of whose artists stop them, and are judged on tasks of another, of other
artists and listeners, by five folds that keep artists together. It is smaller than the study: mono,
64 bands, a hop of 512 (cnn-rep as it is), 10 factors, 40 epochs by Adam at 1e-3 (at the study's
1e-4 the source's own valid loss is still falling after so few updates); the weights are those of
the best epoch by that loss. Sets are drawn at random, SETS of each number of sources (of seven all
eight); side by side they cost no training (MSS-CR). All eight share a network too (MS-SR@FC).

Recommendation is by the study's constants. With so few tracks they let wide vectors fit what was
heard so closely that what was not falls behind it: AP@20 of all tracks says less of tastes than of
the width. --candidates held-out --lambda-w 10000, on the embeddings in FOLDER, tells tastes.

The folder FOLDER keeps what is done; a second call goes on.

    python bench/sources.py FOLDER     # SEED=0 TRACKS=960 JUDGED=360 EPOCHS=40 SETS=10; 40 minutes
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SEED = int(os.environ.get("SEED", "0"))
TRACKS = int(os.environ.get("TRACKS", "960"))
JUDGED = int(os.environ.get("JUDGED", "360"))
EPOCHS = int(os.environ.get("EPOCHS", "40"))
SETS = int(os.environ.get("SETS", "10"))

SOURCES = ("self", "bpm", "year", "tag", "taste", "cdr_tag", "lyrics", "artist")
NUMBERS = (2, 4, 6, 7)
BASELINES = ("mfcc-stats", "untrained")
MAIN = {
    "style": "accuracy",
    "instruments": "roc_auc_macro",
    "energy": "r2",
    "tempo": "r2",
    "listeners": "ap@20",
}
MAKEFILE = Path(__file__).resolve().parents[1] / "examples" / "one-representation" / "Makefile"


def sets() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield strategy and sources of each run."""
    rng = np.random.default_rng(SEED)
    yield from (("SS-R", (source,)) for source in SOURCES)
    for number in NUMBERS:
        every = list(itertools.combinations(SOURCES, number))
        drawn = rng.permutation(len(every))[:SETS]
        yield from (("MSS-CR", every[place]) for place in sorted(drawn))
    yield from ((strategy, SOURCES) for strategy in ("MSS-CR", "MS-SR@FC"))


def made(folder: Path) -> list[dict[str, str]]:
    """Run the study in a folder; return its runs: name, sources (a|b), strategy."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = folder / "runs.csv"
    if not runs.exists():
        lines = ["sources,strategy", *(f"{'|'.join(own)},{how}" for how, own in sets())]
        (folder / "own.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        design = ["mt-eval", "design", "--own", "own.csv", "-q", "-o", "runs.csv"]
        subprocess.run(design, cwd=folder, check=True)
    variables = {
        "SEED": SEED,
        "LEARN_TRACKS": TRACKS,
        "JUDGE_TRACKS": JUDGED,
        "FACTORS": 10,
        "TRAIN": f"--epochs {EPOCHS} --learning-rate 0.001 --threads 1",
        "SPLITS": "--folds 5",
    }
    said = [f"{name}={value}" for name, value in variables.items()]
    subprocess.run(["make", "-f", str(MAKEFILE), "results", *said], cwd=folder, check=True)
    names = ("id", "run", "sources", "strategy")
    lines = runs.read_text(encoding="utf-8").splitlines()[1:]
    return [dict(zip(names, line.split(","), strict=True)) for line in lines]


def values(folder: Path, run: str) -> dict[str, float]:
    """Return the main metric of each task of a run."""
    text = (folder / "results" / f"{run}.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    whole = [row for row in rows if row["repeat"] is None and row["label"] is None]
    found = {row["task"]: row["value"] for row in whole if MAIN[row["task"]] == row["metric"]}
    return {task: found[task] for task in MAIN}


def row(name: str, found: dict[str, float], *more: str) -> str:
    """Return a line of a table; the mean is over the tasks."""
    cells = [f"{value:.3f}" for value in (*found.values(), np.mean(list(found.values())))]
    return f"| {' | '.join([name, *more, *cells])} |"


def spread(found: np.ndarray) -> str:
    """Return the mean and the standard deviation of a cell of a table."""
    if len(found) < 2:
        return " ".join(f"{value:.3f}" for value in found)
    return f"{found.mean():.3f} ± {found.std(ddof=1):.3f}"


def main() -> None:
    """Print Markdown tables."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "sources")
    runs = made(folder)
    found = {run["run"]: values(folder, run["run"]) for run in runs}
    heads = [f"{task} ({metric})" for task, metric in MAIN.items()]
    print(f"\nSeed {SEED}, {TRACKS} tracks to learn from, {JUDGED} judged, {EPOCHS} epochs.\n")
    print("| representation | " + " | ".join(heads) + " | mean |")
    print("|---|" + "---:|" * (len(heads) + 1))
    for name in BASELINES:
        print(row(name, values(folder, name)))
    for run in runs:
        everything = run["sources"].count("|") == len(SOURCES) - 1
        if everything or run["strategy"] == "SS-R":
            name = f"{run['strategy']}, all" if everything else run["sources"]
            print(row(name, found[run["run"]]))

    print("\nMean and standard deviation over the sets of a number of sources, MSS-CR:\n")
    print("| sources | sets | " + " | ".join(heads) + " | mean of tasks | tempo without bpm |")
    print("|---:|---:|" + "---:|" * (len(heads) + 2))
    for number in (1, *NUMBERS):
        own = [
            (run["sources"].split("|"), found[run["run"]])
            for run in runs
            if run["strategy"] in ("SS-R", "MSS-CR") and run["sources"].count("|") == number - 1
        ]
        table = np.array([list(each.values()) for _, each in own])
        columns = [*table.T, table.mean(axis=1)]
        columns.append(np.array([each["tempo"] for sources, each in own if "bpm" not in sources]))
        print(f"| {number} | {len(own)} | {' | '.join(map(spread, columns))} |")


if __name__ == "__main__":
    main()

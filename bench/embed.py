# ruff: noqa: E402
"""Embedding: from features against a bare PyTorch loop, from MP3 against its slower half alone.

The network is that of crnn-msd, with drawn weights, on 29 s of 96 bands. All rows are timed in one
run, taking turns so that a busy machine slows all of them alike; medians of several. Read the
ratios.

    python bench/embed.py            # TRACKS=32 FILES=64 RUNS=5
"""

from __future__ import annotations

from mt_tools.engine.memory import keep_memory

keep_memory()  # before torch, as the commands do; the bare loop gains by it as well

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mt_tools.engine.pool import cores
from mt_tools.features.presets import preset
from mt_tools.nets.build import build_multitask
from mt_tools.nets.device import choose
from mt_tools.nets.model import Model
from mt_tools.stages import embed
from mt_tools.stages.frontend import feature_rows
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tables.source import Source, open_table

TRACKS = int(os.environ.get("TRACKS", "32"))
FILES = int(os.environ.get("FILES", "64"))
RUNS = int(os.environ.get("RUNS", "5"))
SECONDS = 30
BATCH = 8  # of files: with few of them, a large first batch would wait for a good part of them
SHAPE = (96, 1366)
BIN = Path(sys.executable).parent


def fail(row: dict[str, Any], error: Exception) -> None:
    """Take no failed row."""
    raise error


def crnn() -> Model:
    """Return the network of crnn-msd, untrained."""
    net = build_multitask("crnn-choi", {}, SHAPE, {}, seed=0)
    net.eval()
    source = {"kind": "feature", "settings": preset("choi2016").to_json(), "shape": list(SHAPE)}
    model = Model.create(net, name="crnn", arch="crnn-choi", parameters={}, input=source)
    return model.to(choose())


@torch.inference_mode()
def bare(model: Model, x: torch.Tensor, batch: int) -> None:
    """Embed tensors, channels last, in a loop that does nothing else."""
    for start in range(0, len(x), batch):
        part = x[start : start + batch].unsqueeze(1)
        model.net.embed(part.to(model.device, memory_format=torch.channels_last)).cpu()


def timed(actions: dict[str, Callable[[], object]], runs: int = RUNS) -> dict[str, float]:
    """Return the median time of each action; the first turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(runs + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured) for name, measured in times.items()}


def with_threads(number: int, action: Callable[[], object]) -> Callable[[], object]:
    """Return the action, done by so many threads of the network."""

    def run() -> None:
        torch.set_num_threads(number)
        action()

    return run


def count(number: int) -> str:
    """Return so many threads in words."""
    return f"{number} thread{'s' * (number > 1)}"


def from_features(model: Model) -> None:
    """Print what embedding costs where the features are there."""
    many = TRACKS if model.device.type == "cpu" else 32 * TRACKS
    x = np.random.default_rng(0).normal(-30, 20, (many, *SHAPE)).astype(np.float32)
    tensor = torch.from_numpy(x)
    settings = preset("choi2016").to_json()
    columns = [
        Column("id", "string", "reserved"),
        Column("mel", "tensor", "feature", settings, SHAPE),
    ]
    table = Batch.build(columns, {"id": [str(row) for row in range(many)], "mel": x})
    pieces = [table.take(range(i, min(i + 32, many))) for i in range(0, many, 32)]
    made = [embed.Made("embedding", ("crnn",), (model,))]
    sizes = (8, 32) if model.device.type == "cpu" else (32, 128, 512)
    threads = sorted({1, cores()}) if model.device.type == "cpu" else [cores()]

    def stage(size: int) -> None:
        list(embed.run(pieces, table.columns, made, embed.Way(batch_size=size), fail))

    actions: dict[str, Callable[[], object]] = {
        f"bare loop, batches of {size}, {count(number)}": with_threads(
            number, partial(bare, model, tensor, size)
        )
        for number in threads
        for size in sizes
    }
    loops = list(actions)
    for size in sizes:
        key = f"mt-embed's stage, --batch-size {size}, {count(cores())}"
        actions[key] = with_threads(cores(), partial(stage, size))
    times = timed(actions)
    best = min(times[name] for name in loops)
    print(f"\n{many} mel spectrograms of 29 s in memory\n")
    print("| from features | tracks a second | of the bare loop's best |\n|---|---:|---:|")
    for name, seconds in times.items():
        print(f"| {name} | {many / seconds:.1f} | {best / seconds:.2f} |")


def from_mp3(model: Model, folder: Path) -> None:
    """Print what embedding costs from files, for several ways to share the cores."""
    line = f"synth --tracks {FILES} --seconds {SECONDS} --sample-rate 44100 --audio-format mp3"
    command = [f"{BIN}/mt-fetch", *line.split(), "--out", f"{folder}/data"]
    subprocess.run([*command, "-o", f"{folder}/tracks.parquet"], check=True, capture_output=True)
    source = Source([open_table(str(folder / "tracks.parquet"))], [str(folder)])
    made = [embed.Made("embedding", ("crnn",), (model,))]
    settings = preset("choi2016")

    def decoded(jobs: int) -> list[np.ndarray]:
        rows = feature_rows(source, settings, folders=source.folders, jobs=jobs, fail=fail)
        return [parts[0].features for _, _, parts in rows]

    x = np.stack(decoded(cores()))

    def together(jobs: int) -> None:
        way = embed.Way(batch_size=BATCH, folders=source.folders, jobs=jobs)
        list(embed.run(source, source.columns, made, way, fail))

    most, half = cores(), max(1, cores() // 2)
    actions: dict[str, Callable[[], object]] = {}
    for jobs, threads in sorted({(most, most), (half, most), (half, half)}):
        key = f"{jobs} worker{'s' * (jobs > 1)}, {count(threads)}"
        actions[f"decode|{key}"] = partial(decoded, jobs)
        actions[f"compute|{key}"] = with_threads(threads, partial(model.embed, x, BATCH))
        actions[f"together|{key}"] = with_threads(threads, partial(together, jobs))
    times = timed(actions)
    print(f"\n{FILES} MP3 files of {SECONDS} s; seconds, start of the workers included\n")
    print("| from MP3 | decoding alone | computing alone | both | of the slower one |")
    print("|---|---:|---:|---:|---:|")
    for key in dict.fromkeys(name.partition("|")[2] for name in actions):
        decode, compute, both = (
            times[f"{what}|{key}"] for what in ("decode", "compute", "together")
        )
        slower = max(decode, compute)
        print(f"| {key} | {decode:.2f} | {compute:.2f} | {both:.2f} | {both / slower:.2f} |")


def main() -> None:
    """Print both tables."""
    model = crnn()
    print(f"{cores()} cores, {model.device.type}")
    with tempfile.TemporaryDirectory() as name:
        from_features(model)
        from_mp3(model, Path(name))


if __name__ == "__main__":
    main()

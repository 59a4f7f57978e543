"""mt-tag with a small model: against bare decoding, over many files, over six hours, once again.

Four tables, each of whole commands from their start to the written lines:

- time: `mt-tag` over `FILES` MP3 files of 30 s (stereo, 44.1 kHz; `DISTINCT` made ones, copied) on
  all cores, against a program that decodes them by soundfile on all cores and does nothing else;
  rounds of both, `RUNS` times, medians;
- memory over `SIZES` files of `SHORT` seconds, of mt-tag and of mt-embed: the most that all their
  processes hold at one moment (PSS, which counts shared pages once, asked for twenty times a
  second; Linux only; too little where other programs have torch loaded as well);
- memory and time of a mix of `HOURS` hours in every format, cut into segments by the model;
- the second run over `AGAIN` unchanged files with `--state`, a file.

The network is untrained, since its weights change no time, and small: its arithmetic for 30 s is
counted below, by formula and by torch. All is made in a temporary folder (`TMPDIR`), which needs
4 GB for six hours of WAV, and ffmpeg. `PARTS` chooses tables. To try it in a minute:

    FILES=50 DISTINCT=5 RUNS=1 SIZES=20,60 HOURS=0.2 AGAIN=50 python bench/tag.py
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from pipe import peaks

FILES = int(os.environ.get("FILES", "1000"))
DISTINCT = int(os.environ.get("DISTINCT", "50"))
RUNS = int(os.environ.get("RUNS", "5"))
SIZES = [int(size) for size in os.environ.get("SIZES", "100,1000,10000").split(",")]
SHORT = float(os.environ.get("SHORT", "3"))
HOURS = float(os.environ.get("HOURS", "6"))
FORMATS = os.environ.get("FORMATS", "wav,flac,mp3,ogg,m4a").split(",")
AGAIN = int(os.environ.get("AGAIN", "10000"))
PARTS = os.environ.get("PARTS", "time,memory,mixes,again").split(",")
BIN = Path(sys.executable).parent
CORES = len(os.sched_getaffinity(0))
CHANNELS = (4, 8, 16, 16)
# What the small models hear: the middle of a track, or all of it in segments.
EXCERPTS = {"middle": "centre:29.12", "segments": "segment:29.12", "short": "segment:2.5"}
BANDS, SECONDS = 96, 30.0


def make_model(path: Path, excerpt: str) -> tuple[float, float]:
    """Write an untrained `cnn` with tags, classes and a number; return its MFLOP for 30 s.

    As counted by hand, and by torch. Two operations a multiplication with its addition.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mt_tools.features.presets import PRESETS
    from mt_tools.nets.body import Head
    from mt_tools.nets.build import build_multitask
    from mt_tools.nets.model import Model
    from mt_tools.tasks.kinds import head, make_task

    settings = dataclasses.replace(PRESETS["choi2016"].settings, excerpt=excerpt)
    seconds = settings.excerpt_seconds or 0.0
    shape = (BANDS, settings.frames_for(seconds))
    labels = {
        "genre": np.array([f"class {i % 10}" for i in range(40)], dtype=object),
        "moods": np.array([[f"mood {i % 20}"] * (i > 0) for i in range(40)], dtype=object),
        "energy": np.linspace(0.0, 1.0, 40),
    }
    every = np.ones(40, bool)
    tasks = [make_task(name, None, values, every) for name, values in labels.items()]
    heads = {task["name"]: Head(**head(task)) for task in tasks}
    parameters = {"channels": list(CHANNELS)}
    net = build_multitask("cnn", parameters, shape, heads, seed=1)
    net.eval()
    source = {"kind": "feature", "settings": settings.to_json(), "shape": list(shape)}
    Model.create(
        net, name="small", arch="cnn", parameters=parameters, input=source, tasks=tasks
    ).save(path)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net(torch.zeros(1, *shape))
    rows, columns = shape
    products, before = 0, 1
    for maps in CHANNELS:
        products += 9 * before * maps * rows * columns
        rows, columns, before = -(-rows // 2), -(-columns // 2), maps
    products += before * sum(spec.outputs for spec in heads.values())
    times = SECONDS / seconds
    return 2e-6 * products * times, 1e-6 * counter.get_total_flops() * times


# --- what is timed -------------------------------------------------------------------------------


def decoded(path: str) -> int:
    """Decode a file by soundfile alone; return its frames."""
    wave, _ = soundfile.read(path, dtype="float32")
    return len(wave)


def decode_alone(folder: str) -> None:
    """Decode every file of a folder on all cores."""
    paths = sorted(str(path) for path in Path(folder).iterdir())
    with multiprocessing.Pool(CORES) as pool:
        assert all(pool.imap(decoded, paths, chunksize=4))


def seconds_of(*words: str | Path) -> float:
    """Return the seconds that a whole program takes."""
    start = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - start


def copies(pieces: Sequence[Path], folder: Path, count: int) -> Path:
    """Return a new folder of so many files, copies of the pieces in turn."""
    folder.mkdir()
    for number in range(count):
        piece = pieces[number % len(pieces)]
        shutil.copyfile(piece, folder / f"{number:05d}{piece.suffix}")
    return folder


def made(folder: Path, seconds: float) -> list[Path]:
    """Make `DISTINCT` pieces of stereo MP3."""
    target = folder / f"made-{seconds:g}"
    subprocess.run(
        [BIN / "mt-fetch", "synth", "--tracks", str(DISTINCT), "--seconds", f"{seconds:g}",
         "--sample-rate", "44100", "--audio-format", "mp3", "--out", target,
         "-o", folder / f"tracks-{seconds:g}.parquet"],
        check=True, capture_output=True,
    )  # fmt: skip
    return sorted(target.iterdir())


def make_mix(piece: Path, folder: Path, ending: str) -> Path:
    """Return a mix of `HOURS` hours that repeats a piece, in one of the formats.

    What ffmpeg can copy is encoded once and copied; the headers of WAV and FLAC want all of it.
    """
    codecs = {"ogg": ["-c:a", "libvorbis"], "m4a": ["-c:a", "aac"], "mp3": ["-c:a", "libmp3lame"]}
    source, options = piece, ["-map", "0:a"]
    ffmpeg = ["ffmpeg", "-v", "error", "-y"]
    if ending in codecs:
        source = folder / f"part.{ending}"
        subprocess.run([*ffmpeg, "-i", piece, *options, *codecs[ending], source], check=True)
        options += ["-c", "copy"]
    mix = folder / f"mix.{ending}"
    loops = round(HOURS * 3600 / soundfile.info(piece).duration) - 1
    subprocess.run([*ffmpeg, "-stream_loop", str(loops), "-i", source, *options, mix], check=True)
    return mix


# --- the tables ----------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table, numbers to the right."""
    print(f"\n| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


def against_decoding(folder: Path, models: dict[str, Path], pieces: Sequence[Path]) -> None:
    """Compare mt-tag with decoding alone."""
    mp3 = copies(pieces, folder / "mp3", FILES)
    programs = {"decoding alone": [sys.executable, __file__, "decode", mp3]}
    for what in ("middle", "segments"):
        words = [BIN / "mt-tag", mp3, "-m", models[what], "-o", folder / "tags.jsonl"]
        programs[f"mt-tag, {EXCERPTS[what]}"] = words
    times: dict[str, list[float]] = {what: [] for what in programs}
    for _ in range(RUNS):
        for what, words in programs.items():
            times[what].append(seconds_of(*words))
    shutil.rmtree(mp3)
    alone = statistics.median(times["decoding alone"])
    rows = [
        [what, f"{statistics.median(found):.1f}", f"{statistics.median(found) / alone:.2f}"]
        for what, found in times.items()
    ]
    table([f"{FILES:,} MP3 of {SECONDS:g} s, {CORES} cores, median of {RUNS}", "s", "times"], rows)


def of_many_files(folder: Path, models: dict[str, Path], pieces: Sequence[Path]) -> None:
    """Compare the memory of few and of many files."""
    commands = {
        "mt-tag": "mt-tag {files} -m {model} -o {out}.jsonl",
        "mt-embed, batches of 32": "mt-embed {files} -m {model} --pool mean -o {out}.parquet",
        "mt-embed --batch-size 1":
            "mt-embed {files} -m {model} --pool mean --batch-size 1 -o {out}.parquet",
    }  # fmt: skip
    highest: dict[str, list[int]] = {what: [] for what in commands}
    for size in SIZES:
        files = copies(pieces, folder / str(size), size)
        for what, line in commands.items():
            line = line.format(files=files, model=models["short"], out=folder / "out")
            highest[what].append(peaks(line)["together"])
        shutil.rmtree(files)
    rows = [
        [what, *(f"{held / 1e6:,.0f}" for held in found), f"{found[-1] / found[0]:.2f}"]
        for what, found in highest.items()
    ]
    sizes = [f"{size:,} files" for size in SIZES]
    table([f"MB at most, MP3 of {SHORT:g} s", *sizes, "times"], rows)


def of_mixes(folder: Path, models: dict[str, Path], piece: Path) -> None:
    """Show time and memory of a mix of hours."""
    repeated = folder / "repeated.wav"  # ten minutes, so that what is copied has few joins
    loops = round(600 / soundfile.info(piece).duration) - 1
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-stream_loop", str(loops), "-i", piece, repeated],
        check=True,
    )
    rows = []
    for ending in FORMATS:
        mix = make_mix(repeated, folder, ending)
        for what in ("segments", "short"):
            line = f"mt-tag {mix} -m {models[what]} -o {folder}/tags.jsonl"
            start = time.perf_counter()
            held = peaks(line)["together"]
            seconds = time.perf_counter() - start
            rows.append([f"{ending}, {EXCERPTS[what]}", f"{seconds:.0f}", f"{held / 1e6:,.0f}"])
        mix.unlink()
    table([f"a mix of {HOURS:g} h", "s", "MB at most"], rows)


def again(folder: Path, models: dict[str, Path], pieces: Sequence[Path]) -> None:
    """Show what a second run over unchanged files costs."""
    files = copies(pieces, folder / "again", AGAIN)
    words = [BIN / "mt-tag", files, "-m", models["short"], "--state", folder / "state",
             "-o", folder / "tags.jsonl"]  # fmt: skip
    first, *later = [seconds_of(*words) for _ in range(1 + max(3, RUNS))]
    second = statistics.median(later)
    table(
        [f"{AGAIN:,} files with --state", "s", "ms a file"],
        [[f"first run ({min(DISTINCT, AGAIN)} different sounds)", f"{first:.1f}",
          f"{1e3 * first / AGAIN:.2f}"],
         ["unchanged", f"{second:.1f}", f"{1e3 * second / AGAIN:.2f}"]],
    )  # fmt: skip


def main() -> None:
    """Print Markdown tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {what: folder / f"{what}.safetensors" for what in EXCERPTS}
        print(f"`cnn` of {', '.join(map(str, CHANNELS))} maps on choi2016:")
        for what, excerpt in EXCERPTS.items():
            counted, by_torch = make_model(models[what], excerpt)
            print(f"- {excerpt}: {counted:.1f} MFLOP for 30 s ({by_torch:.1f} by torch)")
        pieces = made(folder, SECONDS)
        if "time" in PARTS:
            against_decoding(folder, models, pieces)
        if "memory" in PARTS:
            of_many_files(folder, models, made(folder, SHORT))
        if "mixes" in PARTS:
            of_mixes(folder, models, pieces[0])
        if "again" in PARTS:
            again(folder, models, made(folder, SHORT) if SHORT != SECONDS else pieces)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["decode", folder_]:
            decode_alone(folder_)
        case _:
            main()

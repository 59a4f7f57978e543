"""The whole chain from MP3 to mel against decoding alone, and tagging; times real time.

Made pieces are written as 30 s MP3 files, 44.1 kHz mono, and read back by: decoding alone in one
process, mt-spec on all cores, librosa in joblib processes, and mt-tag with a small model. All in
one run, medians of several, since machines are noisy: read the ratios.
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

import librosa
import soundfile
from joblib import Parallel, delayed

FILES = int(os.environ.get("FILES", "60"))
RUNS = 3
SECONDS = 30
BIN = Path(sys.executable).parent


def librosa_mel(path: str) -> None:
    """Decode and compute the same mel with librosa."""
    wave, _ = librosa.load(path, sr=12000)
    librosa.power_to_db(
        librosa.feature.melspectrogram(y=wave, sr=12000, n_fft=512, hop_length=256, n_mels=96)
    )


def command(*words: str) -> None:
    """Run one of our commands."""
    subprocess.run([BIN / words[0], *words[1:]], check=True, capture_output=True)


def median(action: Callable[[], object]) -> float:
    """Return the median wall time of an action, after one run to warm up."""
    action()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print a Markdown table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command(
            "mt-fetch",
            "synth",
            "--tracks",
            str(FILES),
            "--seconds",
            str(SECONDS),
            "--sample-rate",
            "44100",
            "--audio-format",
            "mp3",
            "--out",
            f"{folder}/data",
            "-o",
            f"{folder}/tracks.parquet",
        )
        paths = [str(path) for path in sorted((folder / "data").iterdir())]
        command("mt-embed", f"{folder}/tracks.parquet", "-m", "mfcc-stats", "-o", f"{folder}/e.npz")
        command(
            "mt-train",
            f"{folder}/e.npz",
            "-t",
            "style",
            "--epochs",
            "5",
            "-o",
            f"{folder}/m.safetensors",
        )
        mel = [
            "--sample-rate",
            "12000",
            "--n-fft",
            "512",
            "--hop",
            "256",
            "--bands",
            "96",
            "--whole",
        ]
        rows = {
            "soundfile, decoding alone, one process": median(
                lambda: [soundfile.read(path, dtype="float32") for path in paths]
            ),
            "mt-spec, all cores, start of the command included": median(
                lambda: command("mt-spec", f"{folder}/data", *mel, "-o", f"{folder}/mel.parquet")
            ),
            "librosa + joblib, all cores": median(
                lambda: Parallel(n_jobs=os.cpu_count())(delayed(librosa_mel)(p) for p in paths)
            ),
            "mt-tag, small model on MFCC statistics, all cores": median(
                lambda: command(
                    "mt-tag",
                    f"{folder}/data",
                    "-m",
                    f"{folder}/m.safetensors",
                    "-o",
                    f"{folder}/tags.jsonl",
                )
            ),
        }
    audio = FILES * SECONDS
    print(f"{FILES} MP3 files of {SECONDS} s, {os.cpu_count()} cores\n")
    print("| what | s | times real time |\n|---|---|---|")
    for what, seconds in rows.items():
        print(f"| {what} | {seconds:.2f} | {audio / seconds:,.0f} |")


if __name__ == "__main__":
    main()

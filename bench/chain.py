"""From 1,000 MP3 files to a table of mel spectrograms: mt-spec and what others would write.

Made pieces are written as MP3 files of 30 s, 44.1 kHz, stereo (`DISTINCT` of them, copied to
`FILES`), and read back to the features of `choi2016` (12 kHz, 96 bands, decibels):

- `mt-spec --preset choi2016 -o mel.parquet`, on all cores;
- librosa 0.11 with joblib on all cores, its results saved by `numpy.save`;
- Essentia's frame loop (MonoLoader, FrameGenerator, Windowing, Spectrum, MelBands) with joblib on
  all cores, saved alike; where Essentia is installed;
- one core, the chain that mt-spec is made of and nothing else: soundfile, soxr, scipy's FFT and a
  matrix product, nothing saved, start-up not counted.

All but the last are whole programs, from their start to the written table. Rounds of all of them,
`RUNS` times; medians, since machines are noisy: read the ratios.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FILES = int(os.environ.get("FILES", "1000"))
DISTINCT = int(os.environ.get("DISTINCT", "50"))
RUNS = int(os.environ.get("RUNS", "5"))
SECONDS = 30.0
RATE, N_FFT, HOP, BANDS, PART = 12000, 512, 256, 96, 29.12
BIN = Path(sys.executable).parent
CORES = len(os.sched_getaffinity(0))
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def librosa_mel(path: str) -> np.ndarray:
    """Decode the middle of a file and compute choi2016 as a user of librosa would."""
    import librosa

    wave, _ = librosa.load(path, sr=RATE, offset=(SECONDS - PART) / 2, duration=PART)
    power = librosa.feature.melspectrogram(
        y=wave, sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=BANDS, pad_mode="reflect"
    )
    decibels: np.ndarray = librosa.power_to_db(power**2)
    return decibels


def essentia_mel(path: str) -> np.ndarray:
    """Decode the middle of a file and compute mel decibels by Essentia's loop over frames."""
    import essentia.standard as es

    first = int((SECONDS - PART) / 2 * RATE)
    wave = es.MonoLoader(filename=path, sampleRate=RATE)()[first : first + int(PART * RATE)]
    window = es.Windowing(type="hann", normalized=False, zeroPhase=False)
    spectrum = es.PowerSpectrum()
    mel = es.MelBands(
        numberBands=BANDS, sampleRate=RATE, highFrequencyBound=RATE / 2, inputSize=N_FFT // 2 + 1,
        warpingFormula="slaneyMel", normalize="unit_tri", type="power",
    )  # fmt: skip
    frames = es.FrameGenerator(wave, frameSize=N_FFT, hopSize=HOP)
    bands = np.array([mel(spectrum(window(frame))) for frame in frames])
    return 20 * np.log10(np.maximum(bands, 1e-5)).T


def in_workers(function: object, folder: str, out: str) -> None:
    """Apply a function to every file with joblib and save the results."""
    from joblib import Parallel, delayed

    paths = sorted(str(path) for path in Path(folder).iterdir())
    results = Parallel(n_jobs=CORES)(delayed(function)(path) for path in paths)
    shortest = min(array.shape[-1] for array in results)
    np.save(out, np.stack([array[:, :shortest] for array in results]).astype(np.float32))


def bare_chain(folder: str) -> float:
    """Return the seconds that decoding, resampling, FFT and mel take on this one core."""
    import scipy.fft
    import soundfile
    import soxr

    from mt_tools.features.mel import mel_filterbank

    filters = mel_filterbank(RATE, N_FFT, BANDS)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)
    start = time.perf_counter()
    for path in sorted(Path(folder).iterdir()):
        stereo, rate = soundfile.read(path, dtype="float32")
        wave = soxr.resample((stereo[:, 0] + stereo[:, 1]) * np.float32(0.5), rate, RATE, "HQ")
        wave = np.pad(wave[: int(PART * RATE)], N_FFT // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(wave, N_FFT)[::HOP]
        spectrum = scipy.fft.rfft(frames * window)
        power = spectrum.real**2 + spectrum.imag**2
        np.log10(np.maximum((filters @ power.T) ** 2, np.float32(1e-10)))
    return time.perf_counter() - start


def program(*words: str) -> float:
    """Return the seconds that a whole program takes."""
    start = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, env=ONE_THREAD)
    return time.perf_counter() - start


def make_files(folder: Path) -> None:
    """Make the pieces, and copies of them."""
    made = folder / "made"
    subprocess.run(
        [BIN / "mt-fetch", "synth", "--tracks", str(min(FILES, DISTINCT)), "--seconds",
         f"{SECONDS:g}", "--sample-rate", "44100", "--audio-format", "mp3", "--out", made,
         "-o", folder / "tracks.parquet"],
        check=True, capture_output=True,
    )  # fmt: skip
    pieces = sorted(made.iterdir())
    (folder / "mp3").mkdir()
    for number in range(FILES):
        shutil.copyfile(pieces[number % len(pieces)], folder / "mp3" / f"{number:05d}.mp3")


def main() -> None:
    """Print a Markdown table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder)
        mp3 = str(folder / "mp3")
        here = [sys.executable, __file__]
        programs = {
            "mt-spec": [
                str(BIN / "mt-spec"), mp3, "--preset", "choi2016", "-o", f"{folder}/mel.parquet",
            ],
            "librosa + joblib": [*here, "librosa", mp3, f"{folder}/librosa.npy"],
        }  # fmt: skip
        if importlib.util.find_spec("essentia") is not None:
            programs["Essentia's frame loop + joblib"] = [
                *here, "essentia", mp3, f"{folder}/essentia.npy",
            ]  # fmt: skip
        times: dict[str, list[float]] = {what: [] for what in [*programs, "chain"]}
        for _ in range(RUNS):
            for what, words in programs.items():
                times[what].append(program(*words))
            times["chain"].append(float(subprocess.run(
                [*here, "chain", mp3], check=True, capture_output=True, env=ONE_THREAD, text=True
            ).stdout))  # fmt: skip
        size = (folder / "mel.parquet").stat().st_size
    medians = {what: statistics.median(seconds) for what, seconds in times.items()}
    ours, audio = medians["mt-spec"], FILES * SECONDS
    ideal = medians.pop("chain") / CORES
    medians[f"the bare chain on one core, divided by {CORES} cores"] = ideal
    print(f"{FILES} MP3 files of {SECONDS:g} s, stereo, {CORES} cores; median of {RUNS}; "
          f"mt-spec's table has {size / 1e6:.0f} MB\n")  # fmt: skip
    print("| what | s | times real time | mt-spec is so many times as fast |\n|---|---|---|---|")
    for what, seconds in medians.items():
        print(f"| {what} | {seconds:.1f} | {audio / seconds:,.0f} | {seconds / ours:.2f} |")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["librosa", folder_, out_]:
            in_workers(librosa_mel, folder_, out_)
        case ["essentia", folder_, out_]:
            in_workers(essentia_mel, folder_, out_)
        case ["chain", folder_]:
            print(bare_chain(folder_))
        case _:
            main()

"""mt-spec's kinds of features in a real shell: what comes out, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import soundfile
from support import Shell


def test_loudness_is_of_the_channels_that_a_file_has(sh: Shell, tmp_path: Path) -> None:
    """Averaged to one channel, a stereo file would read 3 LU below what every meter shows."""
    time = np.arange(44100 * 3) / 44100
    tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * time)
    soundfile.write(tmp_path / "mono.wav", tone, 44100)
    soundfile.write(tmp_path / "stereo.wav", np.stack([tone, tone], axis=1), 44100)
    sh("mt-spec . --preset loudness -o l.parquet", ok=True)
    table = pq.read_table(tmp_path / "l.parquet").to_pydict()
    found = {name: values[0] for name, values in zip(table["id"], table["loudness"], strict=True)}
    assert abs(found["stereo.wav"] + 23.0) < 0.1
    assert abs(found["mono.wav"] + 26.0) < 0.1


def test_kinds_pass_through_pipes(sh: Shell, corpus: Path, tmp_path: Path) -> None:
    """A column of another kind than mel would lose its shape, or stop the next command."""
    sh(
        f"find {corpus}/data -name '*.flac' | sort | head -3 | mt-spec - --kind stft --n-fft 512"
        " --first 1 -j 0 | mt-spec - --kind chroma --first 1 -j 0 |"
        " mt-spec - --kind descriptors -j 0 -o all.parquet",
        ok=True,
    )
    table = pq.read_table(tmp_path / "all.parquet")
    shapes = {
        name: np.asarray(table[name].to_pylist()).reshape(3, -1).shape[1]
        for name in ("stft", "chroma", "descriptors")
    }
    assert shapes == {"stft": 257 * 44, "chroma": 12 * 44, "descriptors": 18}


def test_what_cannot_be_computed_is_one_line(sh: Shell, corpus: Path, tmp_path: Path) -> None:
    """A combination without a meaning would end in a traceback, or in numbers of another meaning."""
    cases = {
        "--kind loudness": "--preset loudness",
        "--kind stft --scale power --dtype float16": "float16 overflows",
        "--kind descriptors --channels stereo": "leave out --channels stereo",
    }
    script = "; ".join(
        f"mt-spec {corpus}/data {options} -o x.parquet; echo $? >> codes" for options in cases
    )
    done = sh(script)
    lines = done.stderr.decode().splitlines()
    assert len(lines) == len(cases)
    assert all(hint in line for hint, line in zip(cases.values(), lines, strict=True))
    assert (tmp_path / "codes").read_text().split() == ["2"] * len(cases)
    assert not (tmp_path / "x.parquet").exists()

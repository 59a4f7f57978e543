"""Several parts of one file: what is decoded together equals what is decoded alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mt_tools.errors import DecodeError
from mt_tools.sound.decode import decode
from mt_tools.sound.parts import PartsAudio

RATE = 48_000  # that of Opus
KINDS: dict[str, dict[str, str]] = {
    "wav": {},
    "flac": {},
    "mp3": {},
    "ogg": {},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}
# Seconds at which parts of 1.5 s begin: in order, near, touching and overlapping, the last one
# beyond the end; then back, by less and by more than is kept.
PLACES = (0.0, 0.2, 3.0, 4.5, 4.6, 9.0, 11.2, 11.0, 8.5, 0.0, 5.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of noise that swells, in every kind of file."""
    folder = tmp_path_factory.mktemp("parts")
    wave = np.random.default_rng(0).normal(0, 0.1, (12 * RATE, 2))
    wave *= np.linspace(0.1, 1, len(wave))[:, None]
    for ending, options in KINDS.items():
        with soundfile.SoundFile(folder / f"x.{ending}", "w", RATE, 2, **options) as file:
            for first in range(0, len(wave), RATE):  # libsndfile breaks on a long Ogg in one go
                file.write(wave[first : first + RATE])
    if shutil.which("ffmpeg"):
        line = ["ffmpeg", "-v", "error", "-i", folder / "x.wav", folder / "x.m4a"]
        subprocess.run(line, check=True)
    return folder


@pytest.mark.parametrize("ending", [*KINDS, "m4a"])
@pytest.mark.parametrize("sample_rate", [RATE, 16_000])
def test_parts_of_an_open_file_are_those_decoded_alone(
    files: Path, ending: str, sample_rate: int
) -> None:
    """A segment would hold another place of the track than its row says."""
    path = files / f"x.{ending}"
    if not path.exists():
        pytest.skip("ffmpeg is not installed")
    with PartsAudio(path) as audio:
        for start in PLACES:
            given: dict[str, Any] = {"start": start, "duration": 1.5, "sample_rate": sample_rate}
            part, rate = decode(audio, **given)
            alone, _ = decode(path, **given)
            assert rate == sample_rate
            assert part.shape == alone.shape
            np.testing.assert_allclose(part, alone, atol=1e-6)


@pytest.mark.parametrize("ending", ["wav", "ogg"])
def test_a_part_beyond_the_end_is_refused_as_of_a_file_opened_anew(
    files: Path, ending: str
) -> None:
    """A table with a wrong length would give silence, or nothing without a word."""
    with PartsAudio(files / f"x.{ending}") as audio:
        decode(audio, start=10, duration=1)
        with pytest.raises(DecodeError, match="beyond the end") as caught:
            decode(audio, start=13, duration=1)
        assert caught.value.kind == "too-short"
        assert decode(audio, start=11.5, duration=1)[0].shape[1] == pytest.approx(RATE / 2, abs=2)

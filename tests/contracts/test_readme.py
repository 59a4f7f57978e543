"""The README's commands, as typed, by someone who has music in ~/Music."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import soundfile
from support import ROOT, Shell, blocks_of

BLOCKS = blocks_of("README.md")


@pytest.fixture
def home(tmp_path: Path, corpus: Path) -> Path:
    """A home with some pieces of music in ~/Music, one of them an MP3."""
    music = tmp_path / "home" / "Music" / "An Artist"
    music.mkdir(parents=True)
    for path in sorted((corpus / "data").iterdir())[:6]:
        shutil.copy(path, music)
    wave, rate = soundfile.read(corpus / "data" / "synth-0001.flac")
    soundfile.write(music / "a song.mp3", wave, rate)
    return tmp_path / "home"


def test_commands_that_need_pretrained_weights(sh: Shell, home: Path, reference: Path) -> None:
    """The first thing that a newcomer types would fail."""
    (block,) = [block for block in BLOCKS if "mt-fetch weights" in block]
    set_up = f"export HOME='{home}' MT_TOOLS_MIRROR='{reference / 'choi-msd'}'\nset -euo pipefail\n"
    sh(set_up + block, ok=True)
    assert len((home.parent / "tags.jsonl").read_text().splitlines()) == 1


def test_all_other_commands(sh: Shell, home: Path) -> None:
    """A newcomer who types one block after another would be stuck."""
    blocks = [block for block in BLOCKS if "mt-fetch weights" not in block]
    assert len(blocks) >= 3
    # The corpus is smaller and shorter than what the README makes, to save time.
    script = "\n".join(blocks).replace("mt-fetch synth", "mt-fetch synth --seconds 3")
    done = sh(f"export HOME='{home}'\nset -euo pipefail\n{script}", ok=True, timeout=400)
    assert b'"style.accuracy"' in done.stdout


def test_demo(sh: Shell) -> None:
    """`make demo` is the first impression."""
    done = sh(f"TRACKS=36 bash '{ROOT}/examples/demo.sh' demo", ok=True, timeout=400)
    text = done.stdout.decode()
    assert "style" in text
    assert "accuracy" in text
    assert "█" in text


def test_experiment_in_make(sh: Shell) -> None:
    """A study in a Makefile would not resume: the second run has nothing to do."""
    line = f"make -f '{ROOT}/examples/experiment/Makefile' TRACKS=36 EMBEDDINGS=mfcc-stats"
    sh(line, ok=True, timeout=300)
    assert "up to date" in sh(line, ok=True).stdout.decode()

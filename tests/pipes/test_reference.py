"""The published numbers, through the commands: features of Choi et al. 2017 and the Auto-Tagger.

Source: K. Choi, G. Fazekas, M. Sandler, K. Cho, "Transfer learning for music classification and
regression tasks", ISMIR 2017, and github.com/keunwoochoi/music-auto_tagging-keras.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mt_tools.nets.model import Model

Shell = Callable[..., subprocess.CompletedProcess[bytes]]


def metrics(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """Return the rows of mt-eval by their metric."""
    return {row["metric"]: row for row in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize(
    ("table", "task", "metric", "low", "high"),
    [
        ("gtzan_genre.choi160", "genre", "accuracy", 0.88, 0.92),  # published: .898
        ("gtzan_genre.mfcc120", "genre", "accuracy", 0.60, 0.72),  # .660
        ("emoMusic.choi160", "arousal", "r2", 0.60, 0.70),  # .656
        ("emoMusic.choi160", "valence", "r2", 0.40, 0.52),  # .462
    ],
)
def test_probes_of_published_features(
    sh: Shell, reference: Path, table: str, task: str, metric: str, low: float, high: float
) -> None:
    """A probe that does not find the published numbers measures something else."""
    path = reference / "choi2017-features" / f"{table}.parquet"
    done = sh(f"mt-eval probe {path} --task {task} --probe svm --folds 10", ok=True)
    assert low <= metrics(done)[metric]["value"] <= high


def test_a_network_on_published_features(sh: Shell, reference: Path, tmp_path: Path) -> None:
    """mt-train reaches .85 on a held-out stratified fifth of GTZAN, and says so in the model."""
    path = reference / "choi2017-features" / "gtzan_genre.choi160.parquet"
    sh(f"mt-train {path} --net mlp --task genre --split stratified --test 0.2 -o g.safetensors",
       ok=True)  # fmt: skip
    model = Model.load(tmp_path / "g.safetensors")
    accuracy = model.document["metrics"]["test"]["genre"]
    assert accuracy["n"] == 200
    assert accuracy["accuracy"]["value"] >= 0.85
    assert accuracy["accuracy"]["low"] < accuracy["accuracy"]["value"]


def test_the_published_clips(sh: Shell, reference: Path, cache: Path, bin_folder: Path) -> None:
    """From its MP3 each clip has its published top tag among the first three."""
    folder = reference / "choi-msd"
    sh(f"mt-fetch weights crnn-msd --mirror {folder}", ok=True)
    done = sh(f"mt-tag {folder}/*.mp3 --model crnn-msd", ok=True)
    found = {
        os.path.basename(row["path"]): row["tags_pred"][:3]
        for row in map(json.loads, done.stdout.splitlines())
    }
    top = {"cute": "jazz", "actionable": "jazz", "dubstep": "Hip-Hop", "thejazzpiano": "jazz"}
    assert len(found) == 4
    for clip, tag in top.items():
        assert tag in found[f"bensound-{clip}.mp3"]

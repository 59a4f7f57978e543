"""Flows through several commands, as typed, in a real shell; `~/Music` is a temporary home's."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mt_tools.nets.registry import MSD_TAGS

Shell = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def home(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with six pieces of real audio below ~/Music and two below ~/New."""
    files = sorted((corpus / "data").iterdir())
    for folder, mine in (("Music", files[:6]), ("New", files[6:8])):
        (tmp_path / folder).mkdir()
        for file in mine:
            (tmp_path / folder / file.name).symlink_to(file)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def weights(reference: Path, cache: Path, bin_folder: Path) -> None:
    """crnn-msd in the cache, from the reference folder and without a network."""
    subprocess.run(
        [bin_folder / "mt-fetch", "weights", "crnn-msd", "--mirror", reference / "choi-msd"],
        check=True, capture_output=True, env=os.environ | {"MT_TOOLS_CACHE": str(cache)},
    )  # fmt: skip


def test_tagging_without_the_weights_says_how_to_get_them(sh: Shell, home: Path) -> None:
    """The first thing a newcomer types must lead on, in one line."""
    done = sh(f"MT_TOOLS_CACHE={home}/none mt-tag ~/Music")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert "mt-fetch weights crnn-msd" in line


def test_tagging_a_folder(sh: Shell, home: Path, weights: None) -> None:
    """mt-tag ~/Music: JSON lines into a pipe, bars on a terminal."""
    rows = [json.loads(line) for line in sh("mt-tag ~/Music", ok=True).stdout.splitlines()]
    assert [row["id"] for row in rows] == sorted(os.listdir(home / "Music"))
    for row in rows:
        assert list(row["tags_score"]) == list(MSD_TAGS)
        assert len(row["tags_pred"]) == 5
    seen = sh("script -qec 'mt-tag -q ~/Music' /dev/null", ok=True).stdout.decode()
    assert "█" in seen
    assert rows[0]["tags_pred"][0] in seen
    assert rows[0]["id"] in seen


def test_tagging_what_find_finds(sh: Shell, home: Path, weights: None) -> None:
    """find -print0 | mt-tag -0 - --model crnn-msd -o tags.jsonl."""
    line = "find ~/Music -name '*.flac' -print0 | mt-tag -0 - --model crnn-msd -o tags.jsonl"
    assert not sh(line, ok=True).stdout
    rows = [json.loads(line) for line in (home / "tags.jsonl").read_text().splitlines()]
    assert {row["path"] for row in rows} == {str(p) for p in (home / "Music").iterdir()}


def test_embedding_a_folder(sh: Shell, home: Path, weights: None) -> None:
    """mt-fetch folder ~/Music | mt-embed --model crnn-msd -o emb.parquet: labels pass through."""
    sh("mt-fetch folder ~/Music | mt-embed --model crnn-msd -o emb.parquet", ok=True)
    table = pq.read_table(home / "emb.parquet")
    assert len(table) == 6
    assert table.schema.field("embedding").type.list_size == 32
    assert all(genre for genre in table["genre"].to_pylist())
    steps = json.loads(table.schema.metadata[b"mt"])
    assert [step["command"] for step in steps] == ["mt-fetch folder", "mt-embed"]


def test_augmented_features_of_a_made_corpus(sh: Shell, tmp_path: Path) -> None:
    """mt-fetch synth | mt-augment --pitch -2,2 | mt-spec --preset choi2016 -o mels.parquet."""
    line = "mt-fetch synth --tracks 4 --seconds 3 --out data | mt-augment --pitch -2,2"
    sh(f"{line} | mt-spec --preset choi2016 -o mels.parquet", ok=True)
    table = pq.read_table(tmp_path / "mels.parquet")
    assert len(table) == 12
    assert table.schema.field("mel").type.shape == [96, 1366]
    assert table["id"].to_pylist()[:3] == [
        "synth-0001.flac", "synth-0001.flac#pitch=-2", "synth-0001.flac#pitch=+2",
    ]  # fmt: skip
    assert len({*table["origin"].to_pylist()} - {None}) == 4


def test_a_model_of_ones_own_from_corpus_to_tags(sh: Shell, home: Path) -> None:
    """Corpus, embeddings, a model of two tasks, its probe, and new files tagged by it."""
    sh("mt-fetch synth --tracks 120 --seconds 5 --out data"
       " | mt-embed --model mfcc-stats -o synth.parquet", ok=True)  # fmt: skip
    sh("mt-train synth.parquet --task style --task energy --net mlp -o mine.safetensors", ok=True)
    done = sh("mt-tag ~/New --model mine.safetensors", ok=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert row["style_pred"] in row["style_score"]
        assert sum(row["style_score"].values()) == pytest.approx(1, abs=1e-5)
        assert isinstance(row["energy_pred"], float)
    probe = "mt-eval probe synth.parquet --task style --probe"
    done = sh(f"{probe} svm --repeats 50 --require 'accuracy>=0.5'", ok=True)
    metrics = {row["metric"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert 0.5 <= metrics["accuracy"]["value"] <= 1
    failed = sh(f"{probe} svm --folds 5 --require 'accuracy>=0.999'")
    assert failed.returncode == 4
    assert "accuracy>=0.999 does not hold" in failed.stderr.decode()
    assert failed.stdout  # what was measured is written all the same
    # The made corpus is learnable and not trivial, also by artists never heard.
    done = sh(f"{probe} logistic --folds 5", ok=True)
    (accuracy,) = [
        r for r in map(json.loads, done.stdout.splitlines()) if r["metric"] == "accuracy"
    ]
    assert "grouped" in accuracy["protocol"]
    assert 0.6 <= accuracy["value"] <= 0.95


def test_a_model_tags_where_the_weights_are_not(sh: Shell, home: Path, weights: None) -> None:
    """A model trained on crnn-msd's embeddings is one file that needs nothing else."""
    sh("mt-fetch folder ~/Music | mt-embed -m crnn-msd --pool mean+std -o e.parquet", ok=True)
    sh("mt-train e.parquet --task genre:multiclass --epochs 2 --valid 0 -o mine.safetensors",
       ok=True)  # fmt: skip
    done = sh(f"MT_TOOLS_CACHE={home}/none mt-tag ~/New -m mine.safetensors", ok=True)
    assert len(done.stdout.splitlines()) == 2


def test_any_number_of_workers_writes_the_same_bytes(sh: Shell, home: Path) -> None:
    """--jobs never changes a byte of a table."""
    for jobs in (0, 1, 3):
        sh(f"mt-fetch folder ~/Music -j {jobs} | mt-spec --first 1 -j {jobs} -o {jobs}.parquet",
           ok=True)  # fmt: skip
    one, two, three = ((home / f"{jobs}.parquet").read_bytes() for jobs in (0, 1, 3))
    assert one == two == three
    mels = pq.read_table(home / "0.parquet")["mel"].combine_chunks()
    assert np.isfinite(mels.storage.flatten().to_numpy()).all()

"""The study of one representation from many sources: its plan, and all of it at its smallest size."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
from support import ROOT, Shell

EXAMPLE = ROOT / "examples" / "one-representation"
MAKE = f"make -f '{EXAMPLE / 'Makefile'}'"
SOURCES = {"self", "bpm", "year", "tag", "taste", "cdr_tag", "lyrics", "artist"}
# The first convolution of each branch is that behind the @; blocks before it are shared.
SHARED = {"MS-CR@2": "block:1", "MS-CR@4": "block:3", "MS-CR@6": "block:5", "MS-SR@FC": "all"}
SMALLEST = (
    "LEARN_TRACKS=48 JUDGE_TRACKS=48 SECONDS=5 FACTORS=3 SOURCES='bpm tag' DESIGN=--full "
    "TRAIN='--epochs 1 --threads 1' SPLITS='--folds 3' BASELINES='mfcc-stats untrained'"
)


def values(line: list[str], option: str) -> list[str]:
    """Return the values of an option on a command line."""
    return [line[place + 1] for place, word in enumerate(line) if word == option]


def test_the_study_has_its_169_representations(sh: Shell, tmp_path: Path) -> None:
    """Someone who lets it run for weeks would get other networks than those of the study.

    Section 4.1: 82 networks of several sources and eight of one; beside them, without training,
    each set of sources as networks of one side by side.
    """
    planned = sh(f"{MAKE} -n SIZE=study results", ok=True).stdout.decode()
    lines = [line.split() for line in planned.replace("\\\n", " ").splitlines()]
    with (tmp_path / "runs.csv").open(encoding="utf-8") as file:
        runs = {row["run"]: row for row in csv.DictReader(file)}
    assert len(runs) == 169

    trained = {
        Path(values(line, "-o")[0]).stem: line for line in lines if line and line[0] == "mt-train"
    }
    assert len(trained.keys() & runs.keys()) == 82 + 8
    assert trained.keys() - runs.keys() == {"untrained"}
    assert sum(line[:1] == ["mt-train"] for line in lines) == len(trained), "one is trained twice"
    for name in trained.keys() & runs.keys():
        row, line = runs[name], trained[name]
        tasks = {task.removesuffix("_factors") for task in values(line, "--task")}
        assert {"self" if task == "origin:same-track" else task for task in tasks} == set(
            row["sources"].split("|")
        )
        share = SHARED.get(row["strategy"])
        assert values(line, "--share") == ([share] if share else [])
        assert not {"--epochs", "--learning-rate", "--crop"} & set(line), "the study says these"
    alone = [row["sources"] for row in runs.values() if row["strategy"] == "SS-R"]
    assert set(alone) == SOURCES
    assert len(alone) == len(SOURCES)

    embedded = {
        Path(values(line, "-o")[0]).stem: line for line in lines if line and line[0] == "mt-embed"
    }
    assert embedded.keys() == runs.keys() | {"mfcc-stats", "untrained", "compact-msd"}
    beside = [row for row in runs.values() if row["strategy"] == "MSS-CR"]
    assert len(beside) == 78 + 1
    for row in beside:
        models = {Path(model).stem for model in values(embedded[row["run"]], "-m")}
        assert models == {f"SS-R_{source}" for source in row["sources"].split("|")}
    for judged in ("probe", "recommend"):
        made = [line for line in lines if line[:2] == ["mt-eval", judged]]
        assert len(made) == len(embedded)
        assert all(values(line, "--repeats") == ["50"] for line in made)


def test_networks_are_those_of_the_other_examples() -> None:
    """The two ways to run this study would train different networks, and one be wrong."""
    mine = tomllib.loads((EXAMPLE / "representation.toml").read_text(encoding="utf-8"))["mt-train"]
    studies = ROOT / "examples" / "studies"
    theirs = tomllib.loads((studies / "rep.toml").read_text(encoding="utf-8"))["mt-train"]
    assert mine == {name: value for name, value in theirs.items() if name in mine}
    assert theirs.keys() - mine.keys() == {"inputs", "output", "task", "valid", "grid"}


@pytest.mark.slow
def test_the_smallest_study_from_end_to_end(sh: Shell, tmp_path: Path, bin_folder: Path) -> None:
    """A step would stop with an error, be done twice, or not go on after it was killed."""
    line = f"{MAKE} {SMALLEST}"
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
    with (tmp_path / "killed.log").open("wb") as log:
        killed = subprocess.Popen(
            ["bash", "-c", line], cwd=tmp_path, env=environment, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        while not (tmp_path / "models" / "MS-CR@2_bpm+tag.safetensors").exists():
            assert killed.poll() is None, (tmp_path / "killed.log").read_text()
            time.sleep(0.2)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    done = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "models").glob("[!.]*.safetensors")
    }
    assert done
    assert not (tmp_path / "report.html").exists()

    sh(line, ok=True, timeout=1800)
    for path, made in done.items():
        assert path.stat().st_mtime_ns == made, f"{path.name} was trained again"
    both = {f"{strategy}_bpm+tag" for strategy in (*SHARED, "MSS-CR")}
    results = {path.stem for path in (tmp_path / "results").glob("*.jsonl")}
    assert results == both | {"SS-R_bpm", "SS-R_tag", "mfcc-stats", "untrained"}
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in ("MS-CR@2_bpm+tag", "means with and without each source", "mfcc-stats"):
        assert said in text, said
    for name in ("strategies.png", "with-bpm.png", "curves.png", "map.png"):
        assert (tmp_path / name).stat().st_size > 5000, name
    assert (tmp_path / "terms" / "tag.csv").read_text().startswith("id,")
    assert "Nothing to be done" in sh(line, ok=True).stdout.decode()
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("*.checkpoint"))

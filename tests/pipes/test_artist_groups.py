"""The AGF study of examples/artist-groups: its plan, its tables, and a part of it from end to end."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score, log_loss
from support import ROOT, Shell

from mt_tools.nets.agf import AgfCnn
from mt_tools.tables.document import read_document

FOLDER = ROOT / "examples" / "artist-groups"
MAKE = f"make -f '{FOLDER / 'Makefile'}'"
TARGETS = "degms"
SUBSETS = ["+".join(s) for n in range(1, 6) for s in itertools.combinations(TARGETS, n)]


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory, bin_folder: Path) -> str:
    """What make would do at full size, in an empty folder."""
    done = subprocess.run(
        ["bash", "-c", f"{MAKE} -n SIZE=fma"],
        cwd=tmp_path_factory.mktemp("plan"),
        env=os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.replace("\\\n", " ")


def test_every_subset_is_scored_alone_and_together(recipes: str) -> None:
    """A row of Table 4 would be missing: 31 subsets as STN, the 26 of several as MTN, 4 controls."""
    scored = re.findall(r"mt-eval score .* -o grouped/scores/(\S+)\.csv", recipes)
    expected = [f"STN_{name}" for name in SUBSETS]
    expected += [f"MTN_{name}" for name in SUBSETS if "+" in name]
    assert len(expected) == 57
    assert sorted(scored) == sorted(expected + [f"wSTN_{number}" for number in range(2, 6)])


def test_35_networks_are_trained_and_no_more(recipes: str) -> None:
    """Days would go into networks that exist already: STN side by side need no training."""
    trained = re.findall(r"mt-train .*agf\.toml (.*?)-o grouped/networks +--run (\S+)", recipes)
    assert sorted(run for _, run in trained) == sorted(
        [*TARGETS, *(name for name in SUBSETS if "+" in name)]
    )
    for tasks, run in trained:
        assert re.findall(r"--task (\w)", tasks) == run.split("+"), run
    assert len(re.findall(r"agf-wide\.toml", recipes)) == 4
    assert len(re.findall(r"agf-transfer\.toml", recipes)) == 61


def test_a_perceptron_hears_the_networks_of_its_run(recipes: str) -> None:
    """A run would be judged by other networks than those that learned its targets."""
    lines = re.findall(
        r"mt-embed \S+ (.*?) --pool none .*? -o grouped/mlp/(\S+)\.safetensors", recipes
    )
    heard = {run: re.findall(r"--model grouped/(\S+)\.safetensors", fed) for fed, run in lines}
    for name in SUBSETS:
        assert heard[f"STN_{name}"] == [f"networks/{task}" for task in name.split("+")]
        assert "+" not in name or heard[f"MTN_{name}"] == [f"networks/{name}"]
    assert {len(heard[f"wSTN_{number}"]) for number in range(2, 6)} == {1}


def test_controls_have_the_weights_of_several_networks(recipes: str) -> None:
    """Table 5 would compare networks of unlike sizes: the Makefile counts weights by itself."""
    body = sum(w.numel() for w in AgfCnn((128, 43)).parameters() if w.requires_grad)
    genre, groups = body + (256 + 1) * 16, body + (256 + 1) * 40
    asked = re.findall(r"--task g --match-parameters (\d+)", recipes)
    assert sorted(map(int, asked)) == [genre + number * groups for number in range(1, 5)]


SMALL = 'TASKS="g s" TRACKS=120 CLIP=2 EPOCHS=2 MLP_EPOCHS=2'


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, bin_folder: Path) -> Path:
    """Two targets of the study, from sound to tables: killed once a network is there, then ended."""
    folder = tmp_path_factory.mktemp("artist-groups")
    options = {
        "cwd": folder,
        "env": os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"},
        "stderr": subprocess.STDOUT,
    }
    with (folder / "killed.log").open("wb") as log:
        killed = subprocess.Popen(
            ["bash", "-c", f"{MAKE} {SMALL}"], stdout=log, start_new_session=True, **options
        )
    until = time.monotonic() + 900
    while not list(folder.glob("grouped/networks/*.safetensors")) and time.monotonic() < until:
        assert killed.poll() is None, (folder / "killed.log").read_text()
        time.sleep(0.1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    with (folder / "make.log").open("wb") as log:
        done = subprocess.run(
            ["bash", "-c", f"{MAKE} -j2 {SMALL}"], stdout=log, timeout=1800, **options
        )
    assert done.returncode == 0, (folder / "make.log").read_text()
    return folder


@pytest.mark.slow
def test_a_killed_study_goes_on_and_ends(study: Path, sh: Shell) -> None:
    """Who stops make, or loses the machine, would begin anew, or find half a file in the way."""
    again = sh(f"cd '{study}' && {MAKE} {SMALL}", ok=True)
    assert "Nothing to be done" in again.stdout.decode()
    (first,) = re.findall(r"--run (\w+)", (study / "killed.log").read_text())[:1]
    assert f"-o grouped/networks --run {first}\n" not in (study / "make.log").read_text()
    assert not [*study.rglob("*.checkpoint"), *study.rglob("*.lock"), *study.rglob("*.part")]


@pytest.mark.slow
def test_the_tables_hold_every_run_and_the_constant(study: Path) -> None:
    """Table 4 would lack a run, or be held against another constant than the best of train."""
    table = {row["run"]: row for row in rows_of(study / "grouped" / "agf.csv")}
    assert set(table) == {"STN_g", "STN_s", "STN_g+s", "MTN_g+s", "wSTN_2", "constant"}
    for run, row in table.items():
        (scored,) = (
            [
                r
                for r in rows_of(study / "grouped" / "scores" / f"{run}.csv")
                if r["id"] == "g.f1_macro"
            ]
            if run != "constant"
            else [{"value": row["f1_macro"], "low": "", "leak": ""}]
        )
        assert [row["f1_macro"], row["f1_macro_low"], row["leak"]] == [
            scored["value"], scored["low"], scored["leak"],
        ]  # fmt: skip
    tracks = pq.read_table(study / "grouped" / "tracks.parquet", columns=["g", "split"]).to_pylist()
    train, test = ([t["g"] for t in tracks if t["split"] == part] for part in ("train", "test"))
    genres = sorted(set(train))
    shares = [train.count(genre) / len(train) for genre in genres]
    told = log_loss(test, [shares] * len(test), labels=genres)
    top = f1_score(test, [genres[int(np.argmax(shares))]] * len(test), average="macro")
    assert float(table["constant"]["log_loss"]) == pytest.approx(told, abs=1e-9)
    assert float(table["constant"]["f1_macro"]) == pytest.approx(top, abs=1e-9)
    best = rows_of(study / "grouped" / "best.csv")
    assert [(row["number"], row["metric"], row["STN_run"]) for row in best] == [
        ("2", "log_loss", "STN_g+s"), ("2", "f1_macro", "STN_g+s"),
    ]  # fmt: skip
    means = {
        row["id"]: float(row["value"])
        for row in rows_of(study / "grouped" / "averages.csv")
        if row["value"]
    }
    without = float(table["STN_s"]["log_loss"])
    assert means["g.log_loss.average.STN.g.without"] == pytest.approx(without)


@pytest.mark.slow
def test_nothing_learns_from_test_tracks(study: Path) -> None:
    """Results would be better than the networks are: factors, networks or perceptrons saw the test rows."""
    split = pq.read_table(study / "grouped" / "tracks.parquet", columns=["split"])[
        "split"
    ].to_pylist()
    tracks = {part: split.count(part) for part in ("train", "valid", "test")}
    for path in sorted(study.glob("grouped/networks/*.safetensors")):
        document, _ = read_document(str(path))
        assert document["training"]["rows"] == tracks, path.name
    for path in sorted(study.glob("grouped/mlp/*.safetensors")):
        document, _ = read_document(str(path))
        seconds = {part: 2 * count for part, count in tracks.items()}
        assert document["training"]["rows"] == seconds, path.name
    schema = pq.read_schema(study / "grouped" / "s.parquet")
    (fitted,) = [
        step["settings"]["fitted_on"]
        for step in json.loads(schema.metadata[b"mt"])
        if step["command"] == "mt-factor agf"
    ]
    assert fitted["parts"] == {"train": tracks["train"]}


@pytest.mark.slow
def test_the_control_is_as_large_as_both_networks(study: Path) -> None:
    """The wide network would win, or lose, by its size: 0.2 % is its width's third decimal."""

    def weights(path: Path) -> int:
        _, tensors = read_document(str(path))
        return sum(v.size for name, v in tensors.items() if name.endswith(("weight", "bias")))

    (wide,) = (study / "grouped" / "wide").glob("*.safetensors")
    both = sum(weights(study / "grouped" / "networks" / f"{task}.safetensors") for task in "gs")
    assert weights(wide) == pytest.approx(both, rel=2e-3)


@pytest.mark.slow
def test_the_split_of_the_study_says_that_it_leaks(study: Path, sh: Shell) -> None:
    """Numbers of a split by track would stand beside honest ones, and look comparable."""
    sh(f"cd '{study}' && {MAKE} {SMALL} SPLIT=study study/scores/MTN_g+s.csv", ok=True, timeout=900)
    leaks = {row["leak"] for row in rows_of(study / "study" / "scores" / "MTN_g+s.csv")}
    assert len(leaks) == 1
    assert "allowed" in leaks.pop()

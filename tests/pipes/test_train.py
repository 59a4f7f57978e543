"""mt-train in a real shell: audio, grids, stages, kills, several processes, pictures."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from safetensors.numpy import load_file
from support import ROOT

from mt_tools.commands.train import app
from mt_tools.errors import UsageError
from mt_tools.tables.document import read_document

Shell = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, corpus: Path, bin_folder: Path) -> Path:
    """The made corpus, embedded."""
    path = tmp_path_factory.mktemp("embedded") / "synth.parquet"
    subprocess.run(
        [bin_folder / "mt-embed", corpus / "tracks.parquet", "-m", "mfcc-stats", "-o", path],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return what a command wrote on stderr."""
    return done.stderr.decode()


def test_from_tracks_to_tags_with_one_broken_file(sh: Shell, corpus: Path, tmp_path: Path) -> None:
    """Straight from audio on crops: a broken file is one row, and mt-tag hears whole tracks."""
    files = sorted((corpus / "data").iterdir())[:10]
    (tmp_path / "data").mkdir()
    for file in files:
        (tmp_path / "data" / file.name).symlink_to(file)
    sh("mt-fetch folder data -o few.parquet", ok=True)
    broken = tmp_path / "data" / files[4].name
    broken.unlink()
    broken.write_text("no audio")
    done = sh(
        "mt-train few.parquet --preset choi2016 --crop 1 --recipe pitch=2 --task genre --net cnn "
        "--param channels=4,8 --epochs 2 --split random --valid 0.3 --errors e.jsonl -o m.safetensors"
    )
    assert done.returncode == 3, said(done)
    (row,) = map(json.loads, (tmp_path / "e.jsonl").read_text().splitlines())
    assert row["id"] == files[4].name
    document, _ = read_document(tmp_path / "m.safetensors")
    assert document["input"]["settings"]["excerpt"] == "segment:1"
    settings = document["training"]["provenance"][-1]["settings"]
    assert settings["crop"] == 1.0
    assert settings["recipe"] == ["pitch=2"]
    assert not {"output", "log", "jobs", "device", "checkpoint_every"} & settings.keys()
    tagged = sh(f"mt-tag data/{files[0].name} -m m.safetensors", ok=True)
    (tags,) = map(json.loads, tagged.stdout.splitlines())
    assert set(tags["genre_score"]) == set(document["tasks"][0]["vocabulary"])


def test_a_dry_run_says_all_and_writes_nothing(sh: Shell, embedded: Path, tmp_path: Path) -> None:
    """A script that plans runs would find files, or have to read a table."""
    line = f"mt-train {embedded} -t style -t energy --share none --repeats 5 --dry-run"
    done = sh(f"{line} --json -o m.safetensors --log l.parquet", ok=True)
    plan = json.loads(done.stdout)
    assert list(tmp_path.iterdir()) == []
    assert plan["rows"]["train"] + plan["rows"]["valid"] == 36
    assert [task["name"] for task in plan["tasks"]] == ["style", "energy"]
    assert plan["parameters"]["trainable"] == sum(one["trainable"] for one in plan["layers"])
    assert plan["device"]
    text = sh(line, ok=True).stdout.decode()
    assert "branches.energy.dense2" in text
    assert f"{plan['parameters']['trainable']:,}" in text
    assert "repeats: 5" in text


GRID = """
[mt-train]
inputs = ["{table}"]
task = ["style"]
epochs = 2
test = 0.2
output = "models"

[mt-train.grid]
param = ["hidden=8", "hidden=4,4"]
learning-rate = [0.01]
"""


def test_a_grid_is_done_run_by_run_and_skips_what_is_done(
    sh: Shell, embedded: Path, tmp_path: Path
) -> None:
    """make would not know the runs, train them twice, or show no results."""
    (tmp_path / "grid.toml").write_text(GRID.format(table=embedded))
    names = sh("mt-train --config grid.toml --runs", ok=True).stdout.decode().split()
    assert names == ["hidden-8_learning-rate-0.01", "hidden-4-4_learning-rate-0.01"]
    done = sh("mt-train --config grid.toml --results -")
    assert done.returncode == 5
    sh(f"mt-train --config grid.toml --run {names[0]}", ok=True)
    models = tmp_path / "models"
    assert [path.name for path in models.iterdir()] == [f"{names[0]}.safetensors"]
    before = (models / f"{names[0]}.safetensors").read_bytes()
    done = sh("mt-train --config grid.toml", ok=True)
    assert f"{names[0]}: done before" in said(done)
    assert (models / f"{names[0]}.safetensors").read_bytes() == before
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == names
    for row in rows:
        document, _ = read_document(models / f"{row['id']}.safetensors")
        measured = document["metrics"]["test"]["style"]
        assert row["style.accuracy"] == measured["accuracy"]["value"]
        assert row["part"] == "test"
    assert [row["param"] for row in rows] == ["hidden=8", "hidden=4,4"]
    sh("mt-train --config grid.toml --results r.csv", ok=True)
    assert (tmp_path / "r.csv").read_text().startswith("id,param,learning-rate,part,style.accuracy")


def test_what_is_typed_takes_the_place_of_an_axis(
    sh: Shell, embedded: Path, tmp_path: Path
) -> None:
    """A run would have no name, and its model be called ".safetensors"."""
    (tmp_path / "grid.toml").write_text(
        f'[mt-train]\ninputs = ["{embedded}"]\noutput = "models"\ntask = "style"\nepochs = 1\n'
        '[mt-train.grid]\nshare = ["all", "block:1"]\n'
    )
    typed = "mt-train --config grid.toml --share none"
    assert sh(f"{typed} --runs", ok=True).stdout.decode() == "none\n"
    (row,) = map(json.loads, sh(typed, ok=True).stdout.splitlines())
    assert (row["id"], row["share"]) == ("none", "none")
    assert os.listdir(tmp_path / "models") == ["none.safetensors"]
    # The runs of the file are others, and the one of these that is typed is its own.
    sh("mt-train --config grid.toml -q", ok=True)
    again = sh("mt-train --config grid.toml --share block:1", ok=True)
    assert "block-1: done before" in said(again)
    assert len(os.listdir(tmp_path / "models")) == 3


def test_slips_in_a_file_are_told_before_anything_is_trained(
    sh: Shell, embedded: Path, tmp_path: Path
) -> None:
    """The last stage's mistake would be told after hours, or runs be listed that are none."""
    two = (
        f'[mt-train]\ninputs = ["{embedded}"]\noutput = "{{output}}"\nepochs = 1\n'
        '[[mt-train.stage]]\nname = "source"\ntask = "energy"\n'
        '[[mt-train.stage]]\nname = "target"\ntask = "style"\ninit = "source"\n{more}'
    )
    for line, file, words in (
        ("", two.format(output="folder", more=""), "-o folder: name the model file"),
        ("", two.format(output="m.safetensors", more="epoch = 3\n"), "did you mean epochs"),
        ("--log l.parquet", two.format(output="m.safetensors", more=""), "2 trainings would write"),
        ("--errors e.csv", two.format(output="m.safetensors", more=""), "2 trainings would write"),
        (
            "--runs",
            two.format(output="m.safetensors", more=""),
            "needs --config with [mt-train.grid",
        ),
        (
            "--run a",
            two.format(output="m.safetensors", more=""),
            "needs --config with [mt-train.gri",
        ),
    ):
        (tmp_path / "two.toml").write_text(file)
        done = sh(f"mt-train --config two.toml {line}")
        assert done.returncode == 2, line
        assert len(said(done).splitlines()) == 1, said(done)
        assert words in said(done)
        assert not done.stdout
        assert os.listdir(tmp_path) == ["two.toml"]


def test_pretraining_and_fine_tuning_in_one_file(sh: Shell, embedded: Path, tmp_path: Path) -> None:
    """The second stage must begin with the first one's weights, and say so."""
    (tmp_path / "two.toml").write_text(
        f'[mt-train]\ninputs = ["{embedded}"]\noutput = "final.safetensors"\nepochs = 2\n'
        '[[mt-train.stage]]\nname = "source"\ntask = ["energy"]\n'
        '[[mt-train.stage]]\nname = "target"\ntask = ["style"]\ninit = "source"\n'
        'freeze = "shared.*"\n'
    )
    done = sh("mt-train --config two.toml --dry-run --json", ok=True)
    assert len(done.stdout.splitlines()) == 2
    assert not list(tmp_path.glob("*.safetensors"))
    sh("mt-train --config two.toml", ok=True)
    source, final = (
        load_file(tmp_path / f"{name}.safetensors") for name in ("final.source", "final")
    )
    shared = [name for name in source if name.startswith("shared.")]
    assert shared
    for name in shared:
        np.testing.assert_array_equal(source[name], final[name])
    assert "heads.style.weight" in final
    inputs = read_document(tmp_path / "final.safetensors")[0]["training"]["provenance"][-1][
        "inputs"
    ]
    assert [one["name"] for one in inputs] == ["synth.parquet", "final.source.safetensors"]


def test_a_kill_at_any_moment_is_made_good(
    sh: Shell, embedded: Path, tmp_path: Path, bin_folder: Path
) -> None:
    """kill -9, then --resume: the same model, bit for bit, and no checkpoint left behind."""
    options = ["-t", "style", "-t", "energy", "--epochs", "30", "--patience", "0", "--batch-size",
               "8", "--checkpoint-every", "30", "-q"]  # fmt: skip
    line = f"mt-train {embedded} {' '.join(options)}"
    sh(f"{line} -o whole.safetensors --log whole.parquet", ok=True)
    command = [str(bin_folder / "mt-train"), str(embedded), *options, "-o", "cut.safetensors"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "cut.safetensors.checkpoint" / "train.part"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert checkpoint.exists()
    assert not (tmp_path / "cut.safetensors").exists()
    other = sh(f"{line} --learning-rate 0.1 -o cut.safetensors --resume")
    assert other.returncode == 2
    assert "learning_rate: got 0.1, expected 0.001" in said(other).replace("got 0.001, ", "")
    done = sh(f"{line[:-3]} -o cut.safetensors --resume --log cut.parquet", ok=True)
    assert "resumed after update" in said(done)
    for name in ("safetensors", "parquet"):
        whole, cut = ((tmp_path / f"{which}.{name}").read_bytes() for which in ("whole", "cut"))
        assert whole == cut
    assert not checkpoint.parent.exists()


def test_a_log_never_loses_what_it_held(
    sh: Shell, embedded: Path, tmp_path: Path, bin_folder: Path
) -> None:
    """After a second kill the curves would begin where the first one was, or with the last fit."""
    options = ["-t", "style", "-t", "energy", "--baseline", "--epochs", "100", "--patience", "0",
               "--batch-size", "8", "--checkpoint-every", "50", "-q"]  # fmt: skip
    log, held = tmp_path / "cut.parquet", []
    command = [bin_folder / "mt-train", embedded, *options, "-o", "cut.safetensors", "--log", log]

    def read() -> list[dict[str, Any]]:
        # In one go: pyarrow opens a path more than once, and the log is replaced meanwhile.
        return pq.read_table(io.BytesIO(log.read_bytes())).to_pylist()

    for runs in (1, 1, 2, 2):
        process = subprocess.Popen([*command, "--resume"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            rows = read() if log.exists() else []
            if rows != held and len({row["run"] for row in rows}) >= runs:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        rows = read()
        assert rows[: len(held)] == held
        assert len(rows) > len(held)
        held = rows
    line = f"mt-train {embedded} {' '.join(options)}"
    sh(f"{line} -o cut.safetensors --log cut.parquet --resume", ok=True)
    sh(f"{line} -o whole.safetensors --log whole.parquet", ok=True)
    assert log.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert read()[: len(held)] == held
    assert not (tmp_path / "cut.safetensors.checkpoint").exists()


def test_the_log_is_the_history_and_is_drawn(sh: Shell, embedded: Path, tmp_path: Path) -> None:
    """The curves would show something else than what the model went through."""
    sh(f"mt-train {embedded} -t style -t energy --epochs 3 --log l.parquet -o m.safetensors -q",
       ok=True)  # fmt: skip
    rows: list[dict[str, Any]] = pq.read_table(tmp_path / "l.parquet").to_pylist()
    assert {row["run"] for row in rows} == {"train"}
    epochs = read_document(tmp_path / "m.safetensors")[0]["training"]["history"]["epochs"]
    for task in ("style", "energy"):
        logged = [
            row["value"] for row in rows
            if (row["task"], row["split"], row["metric"]) == (task, "valid", "loss")
        ]  # fmt: skip
        assert logged == [epoch["valid"][task] for epoch in epochs]
    count = read_document(tmp_path / "m.safetensors")[0]["training"]["rows"]["train"]
    assert [row["samples"] for row in rows if not row["task"] and row["split"] == "train"] == [
        count, 2 * count, 3 * count,
    ]  # fmt: skip
    sh("mt-eval plot l.parquet -o c.svg", ok=True)
    assert ">accuracy</text>" in (tmp_path / "c.svg").read_text()
    for line, words in (
        (f"mt-eval plot {embedded} --kind curves -o c.svg", "is drawn of log"),
        ("mt-eval plot l.parquet -o c.txt", "expected one of .png .svg .pdf"),
        ("mt-eval plot l.parquet", "-o (missing)"),
        ("mt-eval plot l.parquet -t mood -o c.svg", "it has style, energy"),
    ):
        done = sh(line)
        assert done.returncode == 2, line
        assert words in said(done)


def test_two_processes_train_what_one_does(sh: Shell, embedded: Path, tmp_path: Path) -> None:
    """torchrun: one model file, said once, with the weights of a single process."""
    line = f"{embedded} -t style -t energy --epochs 3 --param dropout=0 --param batch_norm=false"
    torchrun = f"{sys.executable} -m torch.distributed.run --nproc-per-node 2"
    done = sh(f"{torchrun} -m mt_tools.commands.train {line} -o two.safetensors", ok=True)
    assert said(done).count("best of 3 epochs") == 1
    sh(f"mt-train {line} -o one.safetensors -q", ok=True)
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("-t stile", ["no column 'stile'", "style"]),
        ("-t style --net mpl", ["'mpl'", "mlp"]),
        ("-t style --param hiden=3", ["hiden", "did you mean hidden"]),
        ("-t style --param hidden=wide", ['hidden="wide"', "hidden=[128, 64]"]),
        ("-t style --share block:9", ["block:9", "2 blocks", "dense1"]),
        ("-t style -t energy --output-feature 'style->enrgy'", ["enrgy", "did you mean energy"]),
        ("-t style --stop-on style.acc", ["style.acc", "style.accuracy"]),
        ("-t style --freeze 'conv*'", ["conv*", "shared.dense1"]),
        ("-t style --init none.safetensors", ["none.safetensors"]),
        ("-t style --crop 2", ["--crop", "vector"]),
        ("-t style --recipe pitch=2", ["pitch is done to sound", "learn from audio"]),
        ("-t style --runs", ["--config", "[mt-train.grid]"]),
        ("-t style --json", ["--dry-run"]),
        ("-t style --log curves.txt", ["curves.txt", ".parquet"]),
        ("-t style --preset choi", ["choi", "choi2016"]),
        ("-t style --net cnn", ["cnn learns from features", "--preset"]),
        ("-t style -t style", ["twice", "name each once"]),
        ("-t style --schedule step", ["--lr-step 10000"]),
        ("-t style --schedule step --dry-run", ["--lr-step 10000"]),
        ("-t style --valid 0 --stop-on style.accuracy", ["no valid row", "stop on the loss"]),
    ],
)
def test_a_wrong_value_is_answered_with_right_ones(
    embedded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: str,
    words: list[str],
) -> None:
    """Someone who slips would have to search the manual, and would find half a run's files."""
    monkeypatch.chdir(tmp_path)
    line = [str(embedded), *shlex.split(options), "-o", "m.safetensors"]
    # In this process, which has loaded torch already; that such errors end in 2 is tested above.
    with pytest.raises(UsageError) as error:
        typer.main.get_command(app).main(line, "mt-train", standalone_mode=False)
    for word in words:
        assert word in str(error.value)
    assert not capsys.readouterr().err  # a mistake is one line, without notes before it
    assert list(tmp_path.iterdir()) == []


def test_the_grid_in_make_knows_its_runs(sh: Shell) -> None:
    """The example would train nothing, or in an order that make cannot know."""
    done = sh(f"make --no-print-directory -n -f '{ROOT}/examples/grid/Makefile'", ok=True)
    lines = done.stdout.decode().splitlines()
    assert sum("--run " in line for line in lines) == 4
    assert "--results results.csv" in lines[-1]


@pytest.mark.slow
def test_the_grid_in_make(sh: Shell, tmp_path: Path) -> None:
    """`make -j2` must train the runs side by side, and nothing a second time."""
    line = f"make -f '{ROOT}/examples/grid/Makefile' -j2 TRACKS=36"
    sh(line, ok=True, timeout=600, env=os.environ | {"PATH": f"{Path(sys.executable).parent}:"
                                                     f"{os.environ['PATH']}"})  # fmt: skip
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 5
    assert "up to date" in sh(line, ok=True).stdout.decode()

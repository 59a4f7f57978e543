"""A made corpus with a split that keeps artists apart, and its features."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mt_tools.nets.model import Model

Train = Callable[..., dict[str, dict[str, float]]]


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory, bin_folder: Path) -> Callable[..., Path]:
    """Return the table of some features of the corpus, made when it is asked for first."""
    folder = tmp_path_factory.mktemp("learning")

    def run(command: str, *arguments: str) -> None:
        subprocess.run([bin_folder / command, *arguments], cwd=folder, check=True)

    run("mt-fetch", "synth", "--tracks", "240", "--out", "data", "-o", "tracks.parquet", "-q")
    shares = ("--train", ".6", "--valid", ".2", "--test", ".2")
    run(
        "mt-fetch", "split", "tracks.parquet", "--method", "grouped", *shares, "-o", "parts.parquet"
    )

    def table(command: str, *arguments: str) -> Path:
        path = folder / (
            "".join(c if c.isalnum() else "_" for c in " ".join(arguments)) + ".parquet"
        )
        if not path.exists():
            run(command, "parts.parquet", *arguments, "-q", "-o", path.name)
        return path

    return table


@pytest.fixture
def train(tmp_path: Path, bin_folder: Path) -> Train:
    """Return what `mt-train` measures on the test rows: {task: {metric: value}}."""

    def run(table: Path, *arguments: str) -> dict[str, dict[str, float]]:
        model = tmp_path / "model.safetensors"
        line = [bin_folder / "mt-train", table, *arguments, "--threads", "1", "-q", "-o", model]
        done = subprocess.run([str(word) for word in line], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        measured = Model.load(model).document["metrics"]["test"]
        found = {
            task: {name: v["value"] for name, v in of_task.items() if isinstance(v, dict)}
            for task, of_task in measured.items()
        }
        print(json.dumps(found))
        return found

    return run

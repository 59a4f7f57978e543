"""mt-augment as it is typed: recipes drawn, carried out by the next command, and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from support import Shell

from mt_tools.recipes import parse

RECIPE = "crop=80%,pitch=-2..2@0.5,noise=pink:10..30,room={}/halls/,mix=5..15,codec=mp3:48..128"


def test_drawn_recipes_from_a_split_to_features(sh: Shell, corpus: Path, tmp_path: Path) -> None:
    """Copies of the train tracks by every kind of effect, the same for any number of workers."""
    (tmp_path / "halls").mkdir()
    response = 0.1 * np.random.default_rng(0).standard_normal(4000) * 0.999 ** np.arange(4000)
    soundfile.write(tmp_path / "halls" / "small.wav", response, 22050)
    augment = f"mt-augment - --recipe {RECIPE.format(tmp_path)} --copies 2 --seed 3"
    split = "mt-fetch split --train 0.2 --valid 0.4 --test 0.4"
    sh(f"{split} {corpus}/tracks.parquet -o split.parquet", ok=True)
    for jobs in (0, 2):
        # Paths are relative to the folder of the corpus, and a pipe has none.
        sh(
            f"cd {corpus} && < {tmp_path}/split.parquet {augment} -j {jobs} | mt-spec --preset dj "
            f"--first 1 -j {jobs} -o {tmp_path}/{jobs}.parquet",
            ok=True,
        )
    assert (tmp_path / "0.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    table = pq.read_table(tmp_path / "0.parquet").drop_columns(["mel"])
    rows = table.to_pylist()
    train = [row for row in rows if row["recipe"] is None and row["split"] == "train"]
    copies = [row for row in rows if row["recipe"] is not None]
    assert len(rows) == 36 + 2 * len(train)
    assert {row["split"] for row in copies} == {"train"}
    names = {f"data/{row['id']}" for row in train}
    for row in copies:
        assert row["id"] == f"{row['origin']}#{row['recipe']}"
        assert {effect.name for effect in parse(row["recipe"]).effects} >= {
            "crop", "noise", "room", "mix", "codec",
        }  # fmt: skip
        assert row["recipe"].split("mix=")[1].split(":")[0] in names - {f"data/{row['origin']}"}
    steps = json.loads(table.schema.metadata[b"mt"])
    step = next(step for step in steps if step["command"] == "mt-augment")
    assert step["settings"]["recipe"] == [RECIPE.format("").replace("=/", "=")]
    assert (step["settings"]["seed"], step["settings"]["copies"]) == (3, 2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            "--recipe speed=2",
            "unknown effect 'speed' in the recipe 'speed=2', expected one of crop,",
        ),
        ("--recipe mix=10", "run mt-fetch split before, or name a folder"),
    ],
)
def test_mistakes_are_one_line_and_2(sh: Shell, corpus: Path, options: str, says: str) -> None:
    """A mistake in a recipe would be found row by row, or after the run."""
    done = sh(f"mt-augment {corpus}/tracks.parquet {options} -o out.parquet")
    assert done.returncode == 2
    (message,) = done.stderr.decode().splitlines()
    assert says in message
    assert not sh("ls out.parquet").stdout

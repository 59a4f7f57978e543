"""mt-fetch split and describe as they are typed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from support import Shell


def test_splits_pass_through_pipes_and_are_described(
    sh: Shell, corpus: Path, tmp_path: Path
) -> None:
    """A stream would be split by its first rows, or its description not be lines that jq reads."""
    done = sh(
        f"cat {corpus}/tracks.parquet | mt-fetch split --report r.csv --shard 1/2 "
        "--method stratified --by energy --bins 3 | "
        "mt-fetch split --keep test --folds 3 -q | mt-fetch describe --plot d.svg",
        ok=True,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    value = {row["id"]: row["value"] for row in rows}
    counted = list(csv.DictReader((tmp_path / "r.csv").open()))
    sizes = {row["split"]: int(row["rows"]) for row in counted if not row["label"]}
    assert set(sizes) == {"train", "valid", "test"}
    assert 0 < sum(sizes.values()) < 36
    assert {part: value[f"table.rows#{part}"] for part in sizes} == sizes
    assert value["fold.missing"] == sizes["test"]
    assert value["table.rows"] == sum(sizes.values())
    assert (tmp_path / "d.svg").read_bytes().startswith(b"<?xml")
    assert b"split train: " in done.stderr
    assert b"energy" in done.stderr


def test_nothing_is_described_half(sh: Shell, corpus: Path, tmp_path: Path) -> None:
    """A picture of another ending would be found out after an hour, or a table be half written."""
    (tmp_path / "d.parquet").write_text("precious")
    tracks = f"{corpus}/tracks.parquet"
    done = sh(f"mt-fetch describe {tracks} --plot d.gif -o d.parquet; echo $?")
    assert done.stdout == b"2\n"
    assert done.stderr.decode().count("\n") == 1
    assert "--plot d.gif: got the ending '.gif'" in done.stderr.decode()
    done = sh(f"mt-fetch describe {tracks} --column path --plot d.png -o d.parquet; echo $?")
    assert done.stdout == b"2\n"
    assert (tmp_path / "d.parquet").read_text() == "precious"
    assert not (tmp_path / "d.png").exists()

"""mt-augment on features and mt-train on mixtures, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support import Shell

from mt_tools.tables.document import read_document


@pytest.mark.slow
def test_mixtures_from_features_to_models(sh: Shell, corpus: Path, tmp_path: Path) -> None:
    """Labels that were mixed could not be learned from, or recipes not be given to mt-train."""
    sh(f"mt-fetch split {corpus}/tracks.parquet --train 0.6 --valid 0.2 -o split.parquet", ok=True)
    sh(
        f"cd {corpus} && < {tmp_path}/split.parquet mt-spec - --preset dj --first 2 -j 1 "
        "| mt-augment - --recipe mask=0..8:0..20,mixup=beta0.4 --labels style,energy --seed 2 "
        f"-o {tmp_path}/mixed.parquet",
        ok=True,
    )
    table = pq.read_table(tmp_path / "mixed.parquet")
    rows = table.drop_columns(["mel"]).to_pylist()
    copies = [row for row in rows if row["recipe"]]
    assert {row["split"] for row in copies} == {"train"}
    assert len(copies) > 8
    step = json.loads(table.schema.metadata[b"mt"])[-1]
    assert step["settings"]["recipe"] == ["mask=0..8:0..20,mixup=beta0.4"]
    assert step["settings"]["labels"] == "style,energy"
    options = "--net cnn --epochs 1 --device cpu --batch-size 8"
    sh(f"mt-train mixed.parquet -t style -t energy {options} -o mixed.safetensors", ok=True)
    model = read_document(str(tmp_path / "mixed.safetensors"))[0]
    style, energy = model["tasks"]
    assert (style["kind"], energy["kind"]) == ("distribution", "regression")
    words = json.loads(table.schema.field("style").metadata[b"mt.settings"])["vocabulary"]
    assert style["vocabulary"] == words
    sh(
        f"cd {corpus} && mt-train {tmp_path}/split.parquet --preset dj --crop 1 -t style {options} "
        "--recipe pitch=-2..2,mask=8:20 --recipe cutmix=beta1 --no-originals -j 2 "
        f"-o {tmp_path}/heard.safetensors",
        ok=True,
    )
    said = read_document(str(tmp_path / "heard.safetensors"))[0]["training"]
    settings = said["provenance"][-1]["settings"]
    assert settings["recipe"] == ["pitch=-2..2,mask=8:20", "cutmix=beta1"]
    assert settings["originals"] is False

"""mt-eval noise: candidates as rows, estimates as metrics, and the command as it is typed."""

from __future__ import annotations

import csv
import json
from typing import Any

import numpy as np
import pytest
from support import Shell

from mt_tools.errors import NoRows, UsageError
from mt_tools.evaluate.settings import NoiseSettings
from mt_tools.stages.judging import METRIC_COLUMNS
from mt_tools.stages.noise import suspected
from mt_tools.stages.report import leak_word
from mt_tools.tables.batch import Batch
from mt_tools.tables.sink import to_file


@pytest.fixture
def library(make_batch: Any) -> Batch:
    """Sixty tracks of two segments by twenty artists; tracks 4 and 9 have the wrong style.

    Tracks 7 lacks a tag, and 11 has a tempo in another unit.
    """
    rng = np.random.default_rng(0)
    track = np.repeat(np.arange(60), 2)
    style = np.arange(60) % 3
    loud = rng.normal(size=60)
    vectors = np.column_stack([np.eye(3)[style] * 4, loud * 3, rng.normal(size=60)])
    tempo = 100 + 10 * loud + rng.normal(size=60)
    names = np.array(["ambient", "house", "metal"])[style]
    names[4], names[9] = "metal", "house"
    tags = [["loud"] if value > 0 else [] for value in loud]
    quiet = int(loud.argmax())
    tags[quiet] = []
    tempo[11] = 9
    batch: Batch = make_batch(
        id=[f"t{t}@{s}" for t, s in zip(track, [0, 10] * 60, strict=True)],
        origin=[f"t{t}" for t in track],
        path=[f"music/{t}.mp3" for t in track],
        group=[f"artist {t % 20}" for t in track],
        start=[0.0, 10.0] * 60,
        embedding=(vectors[track] + 0.3 * rng.normal(size=(120, 5))).astype(np.float32),
        style=names[track].tolist(),
        tags=[tags[t] for t in track],
        tempo=tempo[track].tolist(),
    )
    return batch


def run(batch: Batch, *tasks: str, column: str = "", top: int = 0) -> tuple[Batch, Batch, str]:
    """Return candidates, estimates and notes."""
    listed, estimates, notes = suspected(
        [batch], batch.columns, tasks, column, top, NoiseSettings(), jobs=1
    )
    return listed, estimates, "\n".join(notes)


def test_a_candidate_can_be_listened_to(library: Batch) -> None:
    """A list without paths, or with each segment of a track, is of no use to a librarian."""
    listed, _, notes = run(library, "style")
    rows = {row["origin"]: row for row in listed.rows()}
    assert len(rows) == len(listed)
    assert {"t4", "t9"} <= {*rows}
    assert rows["t4"]["path"] == "music/4.mp3"
    assert rows["t4"]["group"] == "artist 4"
    assert (rows["t4"]["label"], rows["t4"]["suggested"]) == ("metal", "house")
    assert (rows["t9"]["label"], rows["t9"]["suggested"]) == ("house", "ambient")
    assert rows["t9"]["id"] == "t9@0"  # its first segment
    assert listed["rank"].tolist() == [*range(1, len(listed) + 1)]
    assert "among 60 tracks" in notes
    assert "listen before changing it" in notes
    assert "grouped" in notes


def test_tasks_are_ranked_each(library: Batch) -> None:
    """Of two tasks the second would be missing from the top, since its scores are others."""
    listed, _, _ = run(library, "style", "tags", "tempo", top=1)
    assert listed["task"].tolist() == ["style", "tags", "tempo"]
    assert listed["rank"].tolist() == [1, 1, 1]
    missing, far = listed.rows()[1:]
    assert (missing["finding"], missing["label"], missing["suggested"]) == (
        "missing tag", None, "loud",
    )  # fmt: skip
    assert (far["finding"], far["origin"], far["label"]) == ("far off", "t11", "9")
    assert far["p_label"] is None


def test_estimates_are_metrics(library: Batch) -> None:
    """The report could not show how noisy a class is."""
    _, estimates, _ = run(library, "style", "tempo")
    assert list(estimates.columns) == [column.name for column in METRIC_COLUMNS]
    found = {row["id"]: row for row in estimates.rows()}
    assert 0 < found["style.noise"]["value"] < 0.1
    assert found["style.noise"]["n"] == 60
    assert found["style.accuracy"]["value"] > 0.9
    assert found["style.noise[house]"]["n"] == 20
    for name in ("noise", "missed", "roc_auc"):
        assert found[f"style.{name}[metal]"]["protocol"].endswith("5 folds, stratified, grouped")
    assert found["tempo.noise"]["value"] >= 1 / 60
    line = found["style.noise"]["leak"]
    assert line == "none found: no two folds share an origin or a group"
    assert leak_word(line) == "none found"  # not a warning in a report


def test_what_is_asked_for_must_be_there(library: Batch) -> None:
    """A wrong name would be a traceback, or another column be judged."""
    with pytest.raises(UsageError, match="no --task: say which label to judge, one of style, tags"):
        run(library)
    with pytest.raises(UsageError, match="no such column"):
        run(library, "genre")
    with pytest.raises(UsageError, match="--column style: not a column of vectors"):
        run(library, "style", column="style")
    with pytest.raises(UsageError, match="no embedding column in the input"):
        run(library.without(["embedding"]), "style")
    two = library.append(library.columns["embedding"].renamed("embedding.b"), library["embedding"])
    with pytest.raises(UsageError, match="embedding, embedding.b: choose"):
        run(two, "style")
    assert len(run(two, "style", column="embedding.b")[0])
    with pytest.raises(NoRows):
        suspected([], library.columns, ["style"], "", 0, NoiseSettings(), jobs=1)


def test_the_command_as_typed(sh: Shell, tmp_path: Any, library: Batch) -> None:
    """The list, its summary and the exit code of a run in a shell; the same for any --jobs."""
    writer = to_file(str(tmp_path / "emb.parquet"), None)([])
    writer.write(library)
    writer.finish(len(library), 0)
    line = "mt-eval noise emb.parquet --task style --task tags"
    sh(f"{line} --jobs 1 -o one.csv --summary noise.json", ok=True)
    done = sh(f"{line} --jobs 2 -o two.csv && cmp one.csv two.csv", ok=True)
    assert b"listen before changing it" in done.stderr
    with open(tmp_path / "one.csv") as file:
        rows = list(csv.DictReader(file))
    assert {"t4", "t9"} <= {row["origin"] for row in rows}
    estimates = json.loads((tmp_path / "noise.json").read_text())
    assert {"style.noise", "tags.roc_auc_macro"} <= {row["id"] for row in estimates}
    clean = sh("mt-eval noise emb.parquet --task style --task distribution")
    assert clean.returncode == 2
    assert clean.stdout == b""

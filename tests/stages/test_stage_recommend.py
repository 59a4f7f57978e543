"""mt-eval recommend without its command: likes from a column and a file, tracks, splits, rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Shell

from mt_tools.errors import UsageError
from mt_tools.evaluate.checkpoint import Checkpoint
from mt_tools.evaluate.settings import CompareSettings, RecommendSettings, RecommendTaskSettings
from mt_tools.report.settings import PlotSettings
from mt_tools.stages import pictures
from mt_tools.stages.compare import compared
from mt_tools.stages.judging import Given, requirements_unmet
from mt_tools.stages.pictures import Series, metric_bars
from mt_tools.stages.plot import plotted
from mt_tools.stages.recommend import of_embeddings, recommended
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.labels import read_labels

QUICK = RecommendSettings(folds=4, iterations=5, factors=3)
OWN = RecommendSettings(iterations=5, factors=3)


def listeners_of(likes: np.ndarray) -> list[list[str]]:
    """Return who likes each track."""
    return [[f"u{user:02d}" for user in np.flatnonzero(track)] for track in likes.T]


@pytest.fixture
def table(make_batch: Any) -> Any:
    """Make 48 tracks of 12 artists, thirty listeners who like what their vectors say."""

    def make(**columns: Any) -> Batch:
        rng = np.random.default_rng(0)
        vectors = rng.normal(size=(48, 4)).astype(np.float32)
        likes = rng.normal(size=(30, 4)) @ vectors.T + 0.5 * rng.normal(size=(30, 48)) > 1
        batch: Batch = make_batch(
            **{
                "group": [f"artist {i // 4}" for i in range(48)],
                "listeners": listeners_of(likes),
                "embedding": vectors,
            }
            | columns
        )
        return batch

    return make


def run(
    batch: Batch, settings: RecommendSettings = QUICK, jobs: int = 1, **asked: Any
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Recommend, and return the rows by their id, and the notes."""
    options = RecommendTaskSettings(**({"likes": "listeners"} | asked))
    given = options.likes not in batch.names
    labels = read_labels(options.likes) if given else None
    found, notes = recommended([batch], batch.columns, labels, options, settings, jobs)
    return {row["id"]: row for row in found.rows()}, notes


def file_of(path: Path, batch: Batch, times: int = 1) -> str:
    """Write the likes of a table as a row a listener and track."""
    rows = [
        f"{listener},{id_},{1 + number % 3}"
        for id_, listeners in zip(batch.ids, batch["listeners"], strict=True)
        for number, listener in enumerate(listeners or [])
    ]
    path.write_text("\n".join(["user,track,plays", *rows * times]) + "\n", encoding="utf-8")
    return str(path)


# --- who likes what ------------------------------------------------------------------------------


def test_a_file_says_what_a_column_says(table: Any, tmp_path: Path) -> None:
    """Interactions as platforms export them would give other numbers than lists of listeners."""
    batch = table()
    rows, _ = run(batch)
    told, notes = run(batch, likes=file_of(tmp_path / "taste.csv", batch))
    for metric in ("ap@20", "ndcg@20"):
        assert told[f"taste.{metric}"]["value"] == rows[f"listeners.{metric}"]["value"]
        assert told[f"taste.{metric}"]["protocol"] == rows[f"listeners.{metric}"]["protocol"]
    assert not any("lack" in note for note in notes)
    # A row that stands twice counts twice, which matters where counts are trusted alone.
    twice, _ = run(batch, likes=file_of(tmp_path / "taste.csv", batch, times=2))
    assert twice["taste.ap@20"]["value"] == rows["listeners.ap@20"]["value"]


def test_counts_are_trusted_on_request(table: Any, tmp_path: Path) -> None:
    """--count and --alpha would have no effect, or plays one without --alpha."""
    batch = table()
    path = file_of(tmp_path / "plays.csv", batch)
    plain, _ = run(batch, likes=path)
    counted, _ = run(batch, likes=path, count="plays")
    assert counted["plays.ap@20"]["value"] == plain["plays.ap@20"]["value"]
    trusted = RecommendSettings(folds=4, iterations=5, factors=3, alpha=20)
    values = {
        run(batch, trusted, likes=path, count=count)[0]["plays.ap@20"]["value"]
        for count in ("", "plays")
    }
    assert len(values | {plain["plays.ap@20"]["value"]}) == 3
    found, _ = run(batch, trusted, likes=path, count="plays")
    assert "alpha = 20" in found["plays.ap@20"]["protocol"]


def test_what_of_a_file_is_left_out_is_counted(table: Any, tmp_path: Path) -> None:
    """Interactions that fit nothing would vanish without a word."""
    batch = table()
    path = tmp_path / "likes.tsv"
    lines = ["who\ttrack\tplays", "u1\tt0\t2", "u1\tt9\t1", "u2\tt1\t1", "u2\tt8\t3"]
    lines += ["u1\tunknown\t1", "\tt2\t1", "u2\tt3\t0", "u2\tt4\t"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows, notes = run(
        batch, RecommendSettings(folds=2, iterations=2), likes=str(path), users="who", count="plays"
    )
    assert rows["likes.ap@20"]["n"] == 4
    assert f"{path}: 1 rows are of tracks that the table lacks" in notes
    assert f"{path}: 3 rows lack a listener, a track or a count above 0" in notes
    assert "likes: 44 tracks have no likes known and are left out" in notes


def test_tracks_and_listeners_that_are_left_out(table: Any) -> None:
    """Tracks without a vector would be recommended, or null taken for nobody likes it."""
    batch = table()
    vectors, likes = batch["embedding"].copy(), batch["listeners"].tolist()
    vectors[0], likes[1], likes[2] = np.nan, None, []
    other = np.random.default_rng(1).normal(size=(48, 3)).astype(np.float32)
    other[3] = np.nan
    given = table(embedding=vectors, listeners=likes, **{"embedding.b": other})
    rows, notes = run(given)
    assert rows["embedding.listeners.ap@20"]["n"] == 45
    # All embeddings are tested on the same tracks.
    protocols = {row["protocol"] for row in rows.values()}
    assert len(protocols) == 1
    assert "listeners: 1 tracks have no likes known and are left out" in notes
    assert "listeners: 2 tracks have no vector and are left out" in notes
    some = RecommendSettings(folds=4, iterations=2, min_likes=10)
    _, notes = run(given, some)
    assert any("listeners like fewer than 10 tracks and are left out" in note for note in notes)
    with pytest.raises(UsageError, match="no listener likes 49 of 45 tracks"):
        run(given, RecommendSettings(folds=4, min_likes=49))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"likes": "embedding"}, "expected lists of listeners"),
        ({"column": ("listeners",)}, "not a column of vectors"),
        ({"likes": "FILE", "users": "who"}, "--users who: no such column"),
        ({"likes": "FILE", "items": "song"}, "--items song: no such column"),
        ({"likes": "FILE", "count": "user"}, "--count user: a string column"),
        ({"likes": "FILE", "items": "user"}, "no row has a listener and a track of the table"),
    ],
)
def test_what_cannot_be_recommended_is_refused(
    asked: dict[str, Any], message: str, table: Any, tmp_path: Path
) -> None:
    """A mistake would come out as a number, or as a traceback."""
    batch = table()
    if asked.get("likes") == "FILE":
        asked = asked | {"likes": file_of(tmp_path / "likes.csv", batch)}
    with pytest.raises(UsageError, match=message):
        run(batch, **asked)


# --- tracks --------------------------------------------------------------------------------------


def test_segments_are_one_track_and_copies_none(table: Any, make_batch: Any) -> None:
    """A track would be held out and recommended by another of its segments, or be counted twice."""
    batch = table()
    whole, _ = run(batch)
    shift = np.random.default_rng(3).normal(size=(48, 4)).astype(np.float32)
    parts = [
        make_batch(
            id=[f"{id_}{end}" for id_ in batch.ids],
            origin=batch.ids.tolist(),
            group=batch["group"].tolist(),
            recipe=[recipe] * 48,
            listeners=batch["listeners"].tolist(),
            embedding=(batch["embedding"] + sign * shift).astype(np.float32),
        )
        for end, sign, recipe in (("@0", 1, None), ("@30", -1, None), ("#up", 9, "pitch:2"))
    ]
    rows, notes = run(concatenate(parts))
    assert rows["listeners.ap@20"]["n"] == 48
    assert rows["listeners.ap@20"]["protocol"] == whole["listeners.ap@20"]["protocol"]
    assert rows["listeners.ap@20"]["value"] == pytest.approx(whole["listeners.ap@20"]["value"])
    assert "48 rows have a recipe and are left out" in notes


def test_order_and_jobs_change_nothing(table: Any) -> None:
    """The same tracks in another order, or another --jobs, would give other numbers."""
    batch = table()
    rows, _ = run(batch, each=True, baselines=True)
    order = np.random.default_rng(0).permutation(48)
    again, _ = run(batch.take(order), jobs=2, each=True, baselines=True)
    assert again == rows


# --- splits --------------------------------------------------------------------------------------


def test_a_row_for_every_split(table: Any) -> None:
    """mt-eval compare would have nothing to pair."""
    rows, notes = run(table(), each=True, baselines=True)
    values = [rows[f"embedding.listeners.ap@20#{split}"]["value"] for split in range(4)]
    whole = rows["embedding.listeners.ap@20"]
    assert whole["value"] == pytest.approx(np.mean(values))
    assert whole["low"] < whole["value"] < whole["high"]
    assert sum(rows[f"embedding.listeners.ap@20#{split}"]["n"] for split in range(4)) == 48
    assert {row["column"] for row in rows.values()} == {"embedding", "popularity", "random"}
    assert "4 folds, grouped" in whole["protocol"]
    assert whole["leak"] == "none found by origin and group, which stay whole"
    assert any(note.startswith("listeners: measured in a split: ") for note in notes)


def test_the_splits_of_the_table_are_used(table: Any) -> None:
    """A published split would be ignored, its test tracks trained on."""
    parts = ["train"] * 24 + ["valid"] * 4 + ["test"] * 16 + [None] * 4
    rows, notes = run(table(split=parts), OWN)
    found = rows["listeners.ap@20"]
    assert "given split of 24 train and 16 test rows, grouped" in found["protocol"]
    assert found["low"] < found["value"] < found["high"]
    assert found["leak"] == "none found between the parts of split"
    assert "4 valid rows are left out" in notes
    assert "4 rows have no split and are left out" in notes
    drawn, notes = run(table(split=parts))
    assert drawn["listeners.ap@20"]["n"] == 28
    assert any(note.startswith("16 rows are marked as test and are left out") for note in notes)
    folds, _ = run(table(fold=[i // 4 % 3 for i in range(48)]), OWN)
    assert "3 given folds, grouped" in folds["listeners.ap@20"]["protocol"]
    leaking = table(split=["train", "train", "test", "test"] * 12)
    with pytest.raises(UsageError, match="artist"):
        run(leaking, OWN)
    allowed, _ = run(leaking, OWN, allow_leak=True)
    assert allowed["listeners.ap@20"]["leak"].startswith("allowed: ")


def test_a_run_goes_on_where_it_was_killed(table: Any, tmp_path: Path) -> None:
    """--resume would begin anew, or go on with the splits of another run."""
    batch = table()
    options = RecommendTaskSettings(likes="listeners", each=True)

    def at(checkpoint: Checkpoint, settings: RecommendSettings = QUICK) -> tuple[Batch, list[str]]:
        return recommended(
            [batch], batch.columns, None, options, settings, 1, checkpoint=checkpoint
        )

    whole, _ = at(Checkpoint(tmp_path / "r.checkpoint"))
    lines = (tmp_path / "r.checkpoint").read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    (tmp_path / "r.checkpoint").write_bytes(b"".join(lines[:2]))
    again, notes = at(Checkpoint(tmp_path / "r.checkpoint", resume=True))
    assert "resumed: 2 of 4 splits were done" in notes
    assert again.rows() == whole.rows()
    other = RecommendSettings(folds=4, iterations=6, factors=3)
    _, notes = at(Checkpoint(tmp_path / "r.checkpoint", resume=True), other)
    assert not any("resumed" in note for note in notes)


# --- what reads the rows -------------------------------------------------------------------------


def given(name: str, batch: Batch, settings: RecommendSettings = QUICK, **asked: Any) -> Given:
    """Return the rows as mt-eval compare reads them."""
    options = RecommendTaskSettings(**({"likes": "listeners", "each": True} | asked))
    table, _ = recommended([batch], batch.columns, None, options, settings, 1)
    return Given(name, f"{name}.json", table.columns, [table])


def test_runs_are_compared_by_their_splits(table: Any) -> None:
    """Embeddings could not be told apart by what they recommend, or lists of tracks that differ
    would be compared in pairs."""
    noise = np.random.default_rng(5).normal(size=(48, 4)).astype(np.float32)
    good, bad = given("good", table()), given("bad", table(embedding=noise))
    found = compared([bad], CompareSettings(), good)
    (row,) = found.table.rows()
    assert row["metric"] == "ap@20"
    assert row["test"] == "corrected resampled t"
    assert row["difference"] < 0
    alone = RecommendSettings(folds=4, iterations=5, factors=3, candidates="held-out")
    with pytest.raises(UsageError, match="not tested on the same splits"):
        compared([given("other", table(), alone)], CompareSettings(), good)
    fewer = RecommendSettings(folds=4, iterations=5, factors=3, min_likes=8)
    with pytest.raises(UsageError, match="not tested on the same splits"):
        compared([given("other", table(), fewer)], CompareSettings(), good)


def test_baselines_need_not_meet_requirements(table: Any) -> None:
    """--require with --baselines would ask of a random order what the embedding must do."""
    (rows,) = given("r", table(), baselines=True).batches
    value = next(row["value"] for row in rows.rows() if row["id"] == "embedding.listeners.ap@20")
    bounds = [f"ap@20>={value - 1e-6}"]
    assert requirements_unmet(rows, bounds)
    assert not requirements_unmet(of_embeddings(rows), bounds)
    assert requirements_unmet(of_embeddings(rows), [f"ap@20>={value + 1e-6}"])


def test_the_length_of_a_list_is_no_number_of_examples(table: Any) -> None:
    """Figures and reports would take ap@20 for an AP of twenty labels a class, and leave it out."""
    (rows,) = given("r", table(), baselines=True).batches
    assert pictures.at_of("ap@20") is None
    assert pictures.at_of("accuracy@5") == 5
    assert pictures.base("ndcg@20") == "ndcg@20"
    figure = metric_bars([Series("r", rows.rows())])
    labels = {text.get_text() for axes in figure.axes for text in axes.get_yticklabels()}
    assert {"AP@20", "nDCG@20"} <= labels
    one = pictures.Given("r", "r.json", rows.columns, [rows])
    with pytest.raises(UsageError, match="no metric is called such as accuracy@5"):
        plotted([one], PlotSettings(kind="shots"))


def test_the_command(sh: Shell, table: Any, tmp_path: Path) -> None:
    """What the options say would not reach the stage, or CI not notice a bad embedding."""
    from mt_tools.tables.sink import to_file

    batch = table()
    writer = to_file(str(tmp_path / "emb.parquet"), None)([])
    writer.write(batch)
    writer.finish(len(batch), 0)
    file_of(tmp_path / "taste.csv", batch)
    done = sh(
        "mt-eval recommend emb.parquet --likes taste.csv --folds 4 --baselines --each "
        "--require 'ap@20>=0.99' -o r.json; echo $?; "
        "mt-eval recommend emb.parquet --likes nothing; echo $?",
        cwd=tmp_path,
    )
    assert done.stdout.decode().split() == ["4", "2"]
    said = done.stderr.decode()
    assert "ap@20>=0.99 does not hold: embedding.taste.ap@20 is" in said
    assert "--likes nothing: neither a file nor a column of the input" in said
    assert (tmp_path / "r.json").exists()
    assert not (tmp_path / "r.json.checkpoint").exists()

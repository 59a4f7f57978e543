"""mt-fetch describe without its command."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.stages import describe
from mt_tools.stages.settings import DescribeSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved


def rows_of(batches: list[Batch], **options: Any) -> list[dict[str, Any]]:
    """Describe batches of equal columns."""
    found = describe.described(batches, batches[0].columns, DescribeSettings(**options))
    return found.rows.rows()


def value(rows: list[dict[str, Any]], statistic: str, **where: Any) -> Any:
    """Return the value of the one row that says a statistic; a column of None is the table."""
    wanted = {"column": None, "label": None, "other": None, "split": None} | where
    (row,) = [
        row for row in rows
        if row["statistic"] == statistic and all(row[key] == wanted[key] for key in wanted)
    ]  # fmt: skip
    return row["text"] if row["value"] is None else row["value"]


def tracks(make_batch: Any) -> Batch:
    """Return six rows: four tracks, one of them with two copies, in two splits."""
    return make_batch(
        {"kind": "mel", "hop": 256},
        id=["a", "a#1", "a#2", "b", "c", "d"],
        origin=[None, "a", "a", None, None, None],
        length=[60.0, 60.0, 60.0, 30.0, None, 90.0],
        start=[None, None, None, 10.0, None, None],
        duration=[None, 15.0, None, None, None, None],
        group=["x", "x", "x", "y", None, "x"],
        split=["train", "train", "train", "test", "test", None],
        sample_rate=[44100, 44100, 44100, 48000, 44100, None],
        genre=["rock", "rock", "rock", "folk", None, "rock"],
        tags=[["loud", "old"], ["loud", "old"], ["loud", "loud"], [], None, ["old"]],
        energy=[0.5, 0.5, None, 0.25, 0.75, 1.0],
        mel=np.concatenate([np.ones((5, 2, 3)), np.full((1, 2, 3), np.nan)]).astype(np.float32),
    )


@pytest.mark.parametrize("size", [6, 1])
def test_a_table_is_counted_by_hand(make_batch: Any, size: int) -> None:
    """A number in the description would be wrong, or depend on how the rows came."""
    whole = tracks(make_batch)
    batches = [whole.take(range(at, at + size)) for at in range(0, 6, size)]
    rows = rows_of(batches)
    for statistic, expected in (
        ("rows", 6), ("tracks", 4), ("groups", 2), ("copies", 2), ("ungrouped", 1),
        ("repeated_ids", 0), ("no_split", 1), ("hours_unknown", 1),
        ("hours", (60 + 15 + 60 + 20 + 90) / 3600),
    ):  # fmt: skip
        assert value(rows, statistic) == pytest.approx(expected), statistic
    assert value(rows, "largest_group", label="x") == 4
    for statistic, expected in (("rows", 3), ("tracks", 1), ("groups", 1), ("hours", 135 / 3600)):
        assert value(rows, statistic, split="train") == pytest.approx(expected), statistic
    assert value(rows, "rows", split="test") == 2

    assert value(rows, "kind", column="genre") == "multiclass"
    assert value(rows, "missing", column="genre") == 1
    assert value(rows, "count", column="genre", label="rock") == 4
    assert value(rows, "count", column="genre", label="rock", split="train") == 3
    assert value(rows, "count", column="genre", label="rock", split="test") == 0
    assert value(rows, "majority", column="genre") == 0.8
    assert value(rows, "count", column="sample_rate", label="44100") == 4

    assert value(rows, "kind", column="tags") == "multilabel"
    assert value(rows, "n", column="tags") == 5
    assert value(rows, "untagged", column="tags") == 1
    assert value(rows, "cardinality", column="tags") == pytest.approx(6 / 5)
    assert value(rows, "count", column="tags", label="loud") == 3
    assert value(rows, "together", column="tags", label="loud", other="old") == 2
    assert value(rows, "jaccard", column="tags", label="loud", other="old") == 0.5

    assert value(rows, "kind", column="energy") == "regression"
    assert value(rows, "median", column="energy") == 0.5
    assert value(rows, "missing", column="energy") == 1
    assert value(rows, "mean", column="energy", split="test") == 0.5

    assert value(rows, "missing", column="mel") == 1
    assert value(rows, "shape", column="mel") == "2×3"
    assert value(rows, "stored", column="mel") == "float32"
    assert value(rows, "settings", column="mel") == "hop=256 kind=mel"
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == len(ids)


def test_numbers_are_correlated(make_batch: Any) -> None:
    """Two columns that say the same would not be seen to."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=50)
    rows = rows_of([make_batch(a=a, b=-(a**3), length=np.abs(a))])
    assert value(rows, "spearman", column="a", other="b") == pytest.approx(-1.0)
    assert value(rows, "pearson", column="a", other="b") == pytest.approx(
        np.corrcoef(a, -(a**3))[0, 1]
    )
    assert value(rows, "pairs", column="a", other="b") == 50
    assert not [row for row in rows if row["other"] == "length"]  # of files, not a label


def test_many_labels_are_listed_as_far_as_asked(make_batch: Any) -> None:
    """A column of titles would make a row a track."""
    batch = make_batch(title=[f"title {i}" for i in range(1500)] + ["twice"] * 2)
    rows = rows_of([batch])
    assert sum(row["statistic"] == "count" for row in rows) == 1000
    assert value(rows, "unlisted", column="title") == 501
    assert value(rows, "labels", column="title") == 1501
    few = rows_of([batch], top=1)
    assert value(few, "count", column="title", label="twice") == 2
    assert value(few, "unlisted", column="title") == 1500


def test_columns_can_be_chosen(make_batch: Any) -> None:
    """One could not look at a column of a wide table."""
    rows = rows_of([tracks(make_batch)], column=("energy", "genre"))
    assert {row["column"] for row in rows} == {"energy", "genre"}
    with pytest.raises(UsageError, match="--column enrgy: no such column; the table has"):
        rows_of([tracks(make_batch)], column=("enrgy",))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_tables_of_nothing_are_described(make_batch: Any, count: int) -> None:
    """An empty table, one row, or a column that is all null would end in a traceback."""
    columns = [reserved("id"), reserved("split"), Column("genre", "string"),
               Column("tags", "strings"), Column("energy", "number"), Column("vocal", "boolean"),
               Column("mel", "vector", "feature", {}, (2,))]  # fmt: skip
    values = {column.name: [None] * count for column in columns}
    values |= {"id": [f"t{i}" for i in range(count)], "mel": np.full((count, 2), np.nan)}
    batch = Batch.build(columns, values)
    rows = describe.described([batch], batch.columns, DescribeSettings()).rows.rows()
    assert value(rows, "rows") == count
    for name in ("genre", "tags", "energy", "vocal", "mel"):
        assert value(rows, "missing", column=name) == count
        assert value(rows, "n", column=name) == 0


def test_texts_that_were_meant_as_numbers_are_noticed(make_batch: Any) -> None:
    """A CSV with one `inf` or `?` in a column of numbers would be a column of classes."""
    batch = make_batch(energy=["0.5", "inf", "0.25", "0.1"], year=["1999", "x", "y", "z"])
    (note,) = describe.described([batch], batch.columns, DescribeSettings()).notes
    assert note == "energy is read as text: 3 of its 4 values are numbers, 'inf' is none"


def test_ids_that_stand_twice_are_counted(make_batch: Any) -> None:
    """What is wrong with a table could not be described."""
    rows = rows_of([make_batch(id=["a", "b"]), make_batch(id=["a", "c"])])
    assert value(rows, "repeated_ids") == 1
    assert value(rows, "tracks") == 3

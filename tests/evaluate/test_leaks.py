"""Leak checks: each leak is found, named and counted; a clean table is clean."""

import numpy as np
import pytest

from mt_tools.evaluate.leaks import check


@pytest.fixture
def table():
    """Return a clean table of six tracks by three artists in two parts."""
    return {
        "ids": ["a", "b", "c", "d", "e", "f"],
        "origins": [None] * 6,
        "groups": ["X", "X", "Y", "Z", "Z", None],
        "parts": {"split": ["train", "train", "train", "test", "test", None]},
        "features": {"embedding": np.arange(12.0).reshape(6, 2)},
    }


def test_clean_table_has_no_findings(table):
    """An honest table would fail in CI."""
    assert check(**table) == []
    assert check(ids=["a", "b"]) == []


@pytest.mark.parametrize(
    ("column", "value", "kind", "offender"),
    [
        ("ids", ["a", "a", "c", "d", "e", "f"], "duplicate-id", "a"),
        ("origins", ["t", None, None, "t", None, None], "origin", "t (test, train)"),
        ("origins", [None, None, None, "a", None, None], "origin", "a (test, train)"),
        ("groups", ["X", "X", "Y", "X", "Z", None], "group", "X (test, train)"),
        (
            "features",
            {"mfcc": np.ones((6, 2)) * [[1], [2], [3], [1], [5], [6]]},
            "identical-rows",
            "a = d",
        ),
    ],
)
def test_each_leak_is_found(table, column, value, kind, offender):
    """A table whose test score is inflated would be called clean."""
    findings = check(**(table | {column: value}))
    found = {finding.kind: finding for finding in findings}
    assert kind in found
    assert offender in found[kind].offenders
    assert offender in found[kind].message


def test_rows_outside_every_part_do_not_leak(table):
    """Rows left out of the experiment would raise an alarm."""
    table["groups"] = ["X", "X", "Y", "Z", "Z", "X"]
    table["features"] = {"embedding": np.array([[1.0], [2], [3], [4], [5], [1]])}
    assert check(**table) == []


def test_folds_are_checked_like_splits(table):
    """A leak between folds would not be seen; fold numbers come as floats with NaN."""
    table["parts"] = {"fold": np.array([0, 1, 2, 0, 1, np.nan])}
    findings = check(**table)
    groups = next(finding for finding in findings if finding.kind == "group")
    assert groups.count == 2
    assert groups.offenders == ("X (0, 1)", "Z (0, 1)")


def test_identical_rows_are_found_before_any_split(table):
    """GTZAN's repeated recordings would only be noticed once a split had been drawn."""
    table["parts"] = None
    table["features"] = {"embedding": np.array([[1.0], [1], [np.nan], [np.nan], [2], [3]])}
    (finding,) = check(**table)
    assert (finding.kind, finding.offenders) == ("identical-rows", ("a = b",))
    table["origins"] = ["a", "a", None, None, None, None]
    assert check(**table) == []


def test_only_the_first_offenders_are_shown():
    """A leak in a million rows would fill the terminal."""
    ids = [f"{side}{i}" for side in "ab" for i in range(50)]
    (finding,) = check(
        ids=ids,
        groups=[f"artist {i}" for i in range(50)] * 2,
        parts={"split": ["train"] * 50 + ["test"] * 50},
    )
    assert finding.count == 50
    assert len(finding.offenders) == 5
    assert finding.message.startswith("50 groups in more than one split: artist 0 (test, train)")


def test_gtzan_has_identical_recordings(reference):
    """The known duplicates of a real data set would go unseen."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(reference / "choi2017-features" / "gtzan_genre.choi160.parquet")
    x = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
    (finding,) = check(ids=table["id"].to_pylist(), features={"embedding": x})
    # 1,000 rows, 988 distinct vectors.
    assert sum(1 for _ in np.unique(x, axis=0)) == 988
    assert 1 <= finding.count <= 12

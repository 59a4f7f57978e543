"""Leak checks: each leak is found, named and counted; a clean table is clean."""

import math

import numpy as np
import pytest

from mt_tools.datasets.registry import DATASETS, dataset
from mt_tools.errors import UsageError
from mt_tools.evaluate import leaks
from mt_tools.evaluate.leaks import check, fitted_on_test, known_faults, labels_of_groups
from mt_tools.tables.fitted import FittedOn


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


def test_a_message_names_the_first_offenders():
    """A leak in a million rows would fill the terminal, or its rows could not be left out."""
    ids = [f"{side}{i}" for side in "ab" for i in range(50)]
    (finding,) = check(
        ids=ids,
        groups=[f"artist {i}" for i in range(50)] * 2,
        parts={"split": ["train"] * 50 + ["test"] * 50},
    )
    assert finding.count == len(finding.offenders) == 50
    assert finding.message.startswith("50 groups in more than one split: artist 0 (test, train)")
    assert finding.message.count("artist") == 5


def test_one_sound_under_two_names(table):
    """The same file under another name would be tested on; segments of one track are no news."""
    audio = ["x", "y", None, "x", "y", None]
    (finding,) = check(**table, audio=audio)
    assert (finding.kind, finding.offenders) == ("identical-audio", ("a = d", "b = e"))
    table["origins"] = ["a", "b", None, "a", "b", None]
    assert [finding.kind for finding in check(**table, audio=audio)] == ["origin"]


def test_a_label_that_one_group_has():
    """A class that only one artist has is recognised by the artist, and its score means nothing."""
    groups = ["X"] * 6 + ["Y"] * 6 + ["Z"] * 6
    ids = [str(i) for i in range(18)]
    mixed = ["a", "b"] * 9
    assert labels_of_groups({"style": mixed}, groups, ids) == []
    lone = ["a", "b"] * 6 + ["c"] * 6
    (finding,) = labels_of_groups({"style": lone}, groups, ids)
    assert finding.offenders == ("c (Z)",)
    assert finding.message.startswith("1 of the 3 labels of style stands in one group alone")
    encoded = ["a"] * 6 + ["b"] * 6 + ["c"] * 6
    (finding,) = labels_of_groups({"style": encoded}, groups, ids)
    assert finding.message.startswith("each of the 3 labels of style")
    tags = [["all", *["own"] * (group == "Y")] for group in groups]
    (finding,) = labels_of_groups({"tags": tags}, groups, ids)
    assert finding.offenders == ("own (Y)",)
    truth = [group == "Y" for group in groups]
    (finding,) = labels_of_groups({"live": truth}, groups, ids)
    assert finding.offenders == ("True (Y)",)


def test_labels_that_are_no_secret_of_a_group():
    """Honest tables would fail: one label an artist, rare tags, one group, tracks without any."""
    many = [f"artist {i}" for i in range(200)]
    ids = [str(i) for i in range(400)]
    groups = [many[i // 2] for i in range(400)]
    one_each = ["ab"[i // 2 % 2] for i in range(400)]  # as the albums of the AGF study
    assert labels_of_groups({"genre": one_each}, groups, ids) == []
    rare = [["common", *[f"tag {i // 2}"] * (i < 20)] for i in range(400)]
    assert labels_of_groups({"tags": rare}, groups, ids) == []
    assert labels_of_groups({"genre": one_each[:4]}, ["X"] * 4, ids[:4]) == []
    assert labels_of_groups({"genre": ["a", "a", "b", "b"]}, [None] * 4, ids[:4]) == []
    assert labels_of_groups({"genre": ["a", "a", None, None]}, ["X", "X", "Y", "Y"], ids[:4]) == []
    copies = labels_of_groups({"g": ["a", "b"] * 20}, ["X", "Y"] * 20, ids[:40], ["o", "p"] * 20)
    assert copies == []  # two tracks, however often they were augmented


def test_chance_makes_small_labels_stand_alone():
    """A small honest table would fail for two of three tracks that happen to share an artist."""
    groups = [f"artist {i // 4}" for i in range(40)]
    ids = [str(i) for i in range(40)]
    for count, expected in ((2, 0), (4, 1)):
        style = ["c" if i < count else "ab"[i // 4 % 2] for i in range(40)]
        assert len(labels_of_groups({"style": style}, groups, ids)) == expected


def test_the_chance_of_one_group():
    """Labels would be called accidents that are not, or the reverse."""
    sizes = np.array([4, 6, 1, 9])
    for count in (1, 2, 4, 9):
        exact = sum(math.comb(int(n), count) for n in sizes) / math.comb(20, count)
        assert leaks._chance(count, sizes) == pytest.approx(exact, rel=1e-9)
    assert leaks._chance(5000, np.full(1000, 100)) == 0


def test_factors_fitted_on_test_rows():
    """Targets that have seen the test rows would make a model better than it is."""
    origins = [f"t{i}" for i in range(6)]
    split = {"split": ["train", "train", "valid", "test", None, "test"]}
    honest = FittedOn.of([*origins[:2], "elsewhere"], ["train"] * 3)
    assert fitted_on_test([("tags.npz", honest)], origins, split) == []
    seen = FittedOn.of(origins, [None] * 6)
    (finding,) = fitted_on_test([("tags.npz", seen)], origins, split)
    assert finding.offenders == ("t2 (valid)", "t3 (test)", "t5 (test)")
    assert "tags.npz was fitted on 3 tracks" in finding.message
    assert fitted_on_test([("tags.npz", seen)], origins, {}) == []
    (finding,) = fitted_on_test([("a", honest)], origins, {"fold": [0, 1, np.nan, 0, 1, 1]})
    assert finding.offenders == ("t0 (0)", "t1 (1)")  # every fold is tested on once


def test_known_faults_of_gtzan():
    """A score on GTZAN would be published without the repetitions it owes its height to."""
    gtzan = dataset("gtzan")
    ids = ["jazz.00033", "jazz.00051", "metal.00058", "rock.00016", "pop.00021", "jazz.00054"]
    faults = known_faults(gtzan, ids=ids)
    assert [(fault.kind, fault.offenders) for fault in faults] == [
        ("known-fault", ("jazz.00033 = jazz.00051",)),
        ("known-fault", ("metal.00058 = rock.00016",)),
        ("known-fault", ("jazz.00054",)),
        ("known-fault", ("pop.00021",)),
    ]
    paths = [f"genres/{name.split('.')[0]}/{name}.wav" for name in ids]
    assert known_faults(gtzan, ids=[str(i) for i in range(6)], paths=paths) == faults
    parts = {"split": ["train", "train", "train", "train", "test", "test"]}
    decoded = [True] * 6
    apart = known_faults(gtzan, ids=ids, parts=parts, whole=decoded)
    assert [fault.offenders for fault in apart] == [("metal.00058 = rock.00016",), ("pop.00021",)]
    parts["split"][1] = "test"
    crossed = known_faults(gtzan, ids=ids, parts=parts, whole=decoded)
    assert crossed[0].offenders == ("jazz.00033 = jazz.00051",)
    with pytest.raises(UsageError, match="leave out --dataset"):
        known_faults(gtzan, ids=["my song.mp3"])
    with pytest.raises(UsageError, match="expected gtzan"):
        dataset("gtzam")


def test_declared_files_are_files_of_the_data_set():
    """A fault of a file that does not exist would never be found."""
    for data in DATASETS.values():
        for fault in data.faults:
            names = [name for files in fault.files for name in files]
            assert len(set(names)) == len(names)
            assert all(data.file_of(f"x/{name}.wav") == name for name in names)
            assert fault.kind in ("repetition", "contradiction", "damaged", "left-out")
    assert DATASETS["gtzan"].file_of("jazz.000541") is None


def test_published_features_agree_with_the_repetitions_of_gtzan(reference):
    """The list would name excerpts that are different music."""
    parquet = pytest.importorskip("pyarrow.parquet")
    found = set()
    for features in ("choi160", "mfcc120"):
        path = reference / "choi2017-features" / f"gtzan_genre.{features}.parquet"
        table = parquet.read_table(path)
        ids = table["id"].to_pylist()
        x = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        distance = np.linalg.norm(x[:, None] - x, axis=2)
        np.fill_diagonal(distance, np.inf)
        nearest = distance.argmin(axis=1)
        found |= {tuple(sorted((ids[i], ids[j]))) for i, j in enumerate(nearest) if nearest[j] == i}
    repeated, twice = DATASETS["gtzan"].faults[:2]
    assert twice.files[0] in found
    assert sum(any({*pair} <= {*files} for pair in found) for files in repeated.files) >= 42


def test_gtzan_has_identical_recordings(reference):
    """The known duplicates of a real data set would go unseen."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(reference / "choi2017-features" / "gtzan_genre.choi160.parquet")
    x = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
    (finding,) = check(ids=table["id"].to_pylist(), features={"embedding": x})
    # 1,000 rows, 988 distinct vectors.
    assert sum(1 for _ in np.unique(x, axis=0)) == 988
    assert 1 <= finding.count <= 12


def test_a_data_set_without_known_faults_is_not_asked_for_its_files():
    """Tables of most data sets would be refused, since nothing says how their files are called."""
    assert DATASETS["nsynth"].faults == ()
    assert known_faults(DATASETS["nsynth"], ids=["anything"]) == []

"""mt-fetch join without its command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_tools.errors import RowError, UsageError
from mt_tools.stages.join import Join
from mt_tools.stages.settings import JoinSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.labels import Labels, beside, read_labels

MakeBatch = Callable[..., Batch]


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., Labels]:
    """Write and read a file of labels."""

    def publish(text: str, *header: str, ending: str = "csv") -> Labels:
        path = tmp_path / f"labels.{ending}"
        path.write_text(text)
        return read_labels(str(path), header)

    return publish


def joined(
    table: Batch,
    labels: Labels | None = None,
    fail: Callable[[dict[str, Any], RowError], None] | None = None,
    said: list[str] | None = None,
    **options: Any,
) -> Batch:
    """Return the rows that come out of a table of small batches."""

    def batches() -> Iterator[Batch]:
        for start in range(0, len(table), 3):
            yield table.take(range(start, min(start + 3, len(table))))

    work = Join(table.columns, labels, JoinSettings(**options))
    if work.light:
        kept = {"id", *work.light}
        work.survey(batch.without(set(batch.names) - kept) for batch in batches())
    result = concatenate(list(work.run(batches(), fail or (lambda row, error: None))))
    if said is not None:
        said += work.notes()
    return result


def test_rows_get_the_labels_of_their_key(make_batch: MakeBatch, published: Any) -> None:
    """A track would get the labels of another, lose its place, or vanish without a word."""
    table = make_batch(path=["b", "a", "c", "a", None], x=[1.0, 2.0, 3.0, 4.0, 5.0])
    labels = published("file,genre,year\na,rock,1990\nb,,1991\nz,jazz,1992\n")
    said: list[str] = []
    result = joined(table, labels, said=said, on="path=file")
    assert result.names == ["id", "path", "x", "genre", "year"]
    assert result["id"].tolist() == table["id"].tolist()
    assert result["genre"].tolist() == [None, "rock", None, "rock", None]
    assert result.integers("year") == [1991, 1990, None, 1990, None]
    text = "\n".join(said)
    for part in ("3 of 5 rows found in", "1 not, such as c: kept unlabelled", "1 row without path",
                 "1 of 3 keys", "matched no row, such as z"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize("missing", ["drop", "fail"])
def test_rows_without_labels(make_batch: MakeBatch, published: Any, missing: str) -> None:
    """A row that was to fail would be dropped without being reported."""
    table = make_batch(path=["b", "a", "c"])
    failures: list[tuple[str, str]] = []
    result = joined(
        table,
        published("path,genre\na,rock\nb,jazz\n"),
        lambda row, error: failures.append((row["id"], error.kind)),
        on="path",
        missing=missing,
    )
    assert result["genre"].tolist() == ["jazz", "rock"]
    assert failures == [("t2", "unlabelled")] * (missing == "fail")


@pytest.mark.parametrize(
    ("ids", "keys", "part", "found"),
    [
        (["f/000002.mp3", "f/000010.mp3"], ["10", "2"], "stem", [1, 0]),  # FMA
        (["000002", "000010"], ["000010", "000002"], "", [1, 0]),
        (["blues.00000", "x/blues.00001.au"], ["blues.00001.wav", "blues.00000.wav"], "stem", [1, 0]),  # GTZAN
        (["a/x.mp3", "a\\y.mp3"], ["y.mp3", "b/x.mp3"], "name", [1, 0]),
        (["track_0000948.mp3", "7"], ["7", "948"], r"track_(\d+)\.mp3", [1, 0]),  # Jamendo
        (["e\u0301.mp3", "x"], ["\u00e9.mp3 ", " x"], "", [0, 1]),  # a list made on a Mac
        (["1", "02"], ["01", "2"], "", [None, None]),  # catalogue numbers: texts
    ],
)  # fmt: skip
def test_keys_that_are_written_otherwise(
    make_batch: MakeBatch,
    published: Any,
    ids: list[str],
    keys: list[str],
    part: str,
    found: list[int | None],
) -> None:
    """A data set's own numbering would match nothing, or a wrong track."""
    table = make_batch(id=["999", *ids])
    text = "".join(f"{key}\tn{number}\n" for number, key in enumerate([*keys, "999"]))
    result = joined(table, published("key\tlabel\n" + text), on="id=key", key=part)
    expected = [None if number is None else f"n{number}" for number in found]
    assert result["label"].tolist() == ["n2", *expected]


def test_keys_as_numbers_are_told(make_batch: MakeBatch, published: Any) -> None:
    """Nobody would learn that 007 was taken for 7."""
    said: list[str] = []
    table = make_batch(number=[7.0, 8.0], text=["007", "x"])
    result = joined(table, published("n,a\n7,x\n"), said=said, on="text=n")
    assert result["a"].tolist() == ["x", None]
    assert "keys were compared as numbers: 007 is 7" in said
    result = joined(table, published("n,a\n007,x\n008,y\n"), on="number=n")
    assert result["a"].tolist() == ["x", "y"]


def test_copies_and_segments_have_the_labels_of_their_track(
    make_batch: MakeBatch, published: Any
) -> None:
    """Augmented tracks would be unlabelled."""
    table = make_batch(id=["a", "a#pitch=2", "a@3"], origin=[None, "a", "a"])
    assert joined(table, published("id,g\na,x\n"), on="id")["g"].tolist() == ["x"] * 3


def test_nothing_is_overwritten_silently(make_batch: MakeBatch, published: Any) -> None:
    """A label of one's own would be gone, or the wire's `start` cut the tracks."""
    table = make_batch(genre=["mine", "mine"], start=[None, 1.0])
    labels = published("id,genre,start,group,origin\nt0,rock,9,Various Artists,x\nt1,jazz,9,B,y\n")
    with pytest.raises(UsageError, match="the table has genre already: .*--replace"):
        joined(table, labels, on="id")
    result = joined(table, labels, on="id", columns="theirs=genre,group")
    assert result["genre"].tolist() == ["mine", "mine"]
    assert result["theirs"].tolist() == ["rock", "jazz"]
    assert result["group"].tolist() == [None, "B"]
    result = joined(table, labels, on="id", replace=True)
    assert result.names == ["id", "genre", "start", "group"]
    assert result["genre"].tolist() == ["rock", "jazz"]
    assert result["start"].tolist()[1] == 1.0
    with pytest.raises(UsageError, match="origin stays as it is"):
        joined(table, labels, on="id", columns="origin")


def test_corrections_of_some_rows(make_batch: MakeBatch, published: Any) -> None:
    """A file of the ten labels that were wrong would take away all the others."""
    table = make_batch(genre=["a", "b", "c", None], tags=[["x"], None, [], ["y"]], n=[1.0, 2, 3, 4])
    corrected = published('{"id": "t1", "genre": "B", "tags": ["p", "q"], "n": 7}\n'
                          '{"id": "t3", "genre": "D", "tags": null, "n": 8}\n', ending="jsonl")  # fmt: skip
    result = joined(table, corrected, on="id", replace=True)
    assert result["genre"].tolist() == ["a", "B", "c", "D"]
    assert result["tags"].tolist() == [["x"], ["p", "q"], [], None]
    assert result["n"].tolist() == [1, 7, 3, 8]
    assert result.names == table.names
    with pytest.raises(UsageError, match=r"the table has tags \(strings\) already"):
        joined(table, published("id,tags\nt1,x\n"), on="id", replace=True)
    mel = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    table = make_batch({"hop": 1}, mel=mel)
    other = make_batch({"hop": 1}, mel=mel + 1).take([2])
    result = beside(table, other.without(["id"]), np.array([-1, 0, -1, -1], np.int32))
    np.testing.assert_array_equal(
        result["mel"],
        mel[[0, 1, 2, 3]] + (mel[2] + 1 - mel[1]) * np.array([0, 1, 0, 0])[:, None, None],
    )
    with pytest.raises(UsageError, match="made otherwise"):
        beside(table, make_batch({"hop": 2}, mel=mel).without(["id"]), np.zeros(4, np.int32))


def test_wide_columns_become_a_list(make_batch: MakeBatch, published: Any) -> None:
    """MagnaTagATune's 188 columns would have to be rewritten by hand."""
    labels = published(
        '"clip_id"\t"no voice"\t"rock"\t"mp3_path"\n"2"\t"1"\t"0"\t"a"\n"6"\t"1"\t"1"\t"b"\n'
    )
    table = make_batch(id=["a", "b", "c"])
    result = joined(table, labels, on="id=mp3_path", multilabel=("tags=*",))
    assert result.names == ["id", "clip_id", "tags"]
    assert result["tags"].tolist() == [["no voice"], ["no voice", "rock"], None]
    labels = published("id,tag_a,tag_b,other\na,1,0,1\nb,0,0,0\n")
    result = joined(table, labels, on="id", multilabel=("t=tag_*",))
    assert result["t"].tolist() == [["a"], [], None]
    assert result.names == ["id", "other", "t"]
    with pytest.raises(UsageError, match="no such columns of 0 and 1"):
        joined(table, labels, on="id", multilabel=("t=x_*",))
    with pytest.raises(UsageError, match="expected NEW=COLUMNS"):
        joined(table, labels, on="id", multilabel=("tag_*",))


def test_a_row_a_track_and_tag(make_batch: MakeBatch, published: Any) -> None:
    """Last.fm's or the Taste Profile's long files could not be used."""
    text = "".join(f"{key}\t{tag}\t{n}\n" for n, (key, tag) in enumerate(
        [("b", "z"), ("a", "y"), ("b", "x"), ("a", "y"), ("b", "z")]
    ))  # fmt: skip
    labels = published(text, "track", "tag", "weight", ending="txt")
    table = make_batch(id=["a", "b", "c"])
    with pytest.raises(UsageError, match="2 of 2 keys .* --collect"):
        joined(table, labels, on="id=track")
    result = joined(table, labels, on="id=track", collect=("tags=tag",))
    assert result.names == ["id", "tags"]
    assert result["tags"].tolist() == [["y"], ["z", "x"], None]


def test_texts_become_lists(make_batch: MakeBatch, published: Any) -> None:
    """`House; Techno` would be one class of its own."""
    labels = published("id,t\na,House; Techno ;House\nb,;\nc,a|b\nd,\n")
    table = make_batch(id=["a", "b", "c", "d"])
    result = joined(table, labels, on="id", lists=("t=;",))
    assert result["t"].tolist() == [["House", "Techno"], [], ["a|b"], None]
    table = make_batch(t=["x, y", None], u=[["x/y", "z"], []])
    result = joined(table, lists=("t=,", "u=/"))
    assert result["t"].tolist() == [["x", "y"], None]
    assert result["u"].tolist() == [["x", "y", "z"], []]


@pytest.fixture
def mapped(tmp_path: Path) -> str:
    """A map of three genres to one, and one to none."""
    path = tmp_path / "map.csv"
    path.write_text("from,to\nDeep House,House\nTech House,House\nHouse,House\nUnknown,\n3,Three\n")
    return str(path)


def test_classes_and_tags_get_other_names(make_batch: MakeBatch, mapped: str) -> None:
    """23 subgenres would not become 6 genres."""
    table = make_batch(
        genre=["Deep House", "Unknown", None], tags=[["House", "Tech House"], ["Unknown"], None]
    )
    result = joined(table, relabel=(f"genre={mapped}", f"tags={mapped}"))
    assert result["genre"].tolist() == ["House", None, None]
    assert result["tags"].tolist() == [["House"], [], None]


@pytest.mark.parametrize("unmapped", ["fail", "keep", "drop"])
def test_labels_that_the_map_lacks(make_batch: MakeBatch, mapped: str, unmapped: str) -> None:
    """A genre that was forgotten would silently stay, or silently go."""
    table = make_batch(genre=["Rock", "House"], n=[3.0, 3.0])
    if unmapped == "fail":
        with pytest.raises(UsageError, match="no line for 'Rock' of genre"):
            joined(table, relabel=(f"genre={mapped}",))
        return
    said: list[str] = []
    result = joined(table, said=said, relabel=(f"genre={mapped}", f"n={mapped}"), unmapped=unmapped)
    assert result["genre"].tolist() == ["Rock" if unmapped == "keep" else None, "House"]
    assert result["n"].tolist() == ["Three", "Three"]
    assert any("1 label of genre not found in" in line for line in said)
    assert any("4 labels of" in line and "not found in genre" in line for line in said)


def test_published_splits(make_batch: MakeBatch, published: Any, tmp_path: Path) -> None:
    """Rows called `training` would never be trained on."""
    labels = published("id,split\nt0,training\nt1,validation\n")
    table = make_batch(x=[1.0, 2.0])
    with pytest.raises(UsageError, match=r"the split is called training, validation: .*--relabel"):
        joined(table, labels, on="id")
    (tmp_path / "names.csv").write_text("training,train\nvalidation,valid\ntest,test\n")
    result = joined(table, labels, on="id", relabel=(f"split={tmp_path}/names.csv",))
    assert result["split"].tolist() == ["train", "valid"]
    assert result.columns["split"].role == "reserved"


def test_songs_of_one_label(make_batch: MakeBatch) -> None:
    """A song of two genres would be one of its first, or of its genre as a list."""
    table = make_batch(genre=[["a"], ["a", "b"], [], None, ["b"]])
    result = joined(table, of="genre", single_label_only=True)
    assert result["id"].tolist() == ["t0", "t4"]
    assert result["genre"].tolist() == ["a", "b"]
    assert result.columns["genre"].kind == "string"


def test_frequent_tags(make_batch: MakeBatch) -> None:
    """Copies and segments would make a tag frequent, or a tag that is not kept stay."""
    table = make_batch(
        origin=["o", "o", "o", None, None, None],
        tags=[["x", "y"], ["x"], ["x"], ["y", "z"], ["b"], None],
        genre=["p", "p", "p", "q", "q", "r"],
    )
    result = joined(table, of="tags", top=2)
    assert result["tags"].tolist() == [["y"], [], [], ["y"], ["b"], None]
    result = joined(table, of="tags", top=2, labelled_only=True)
    assert result["id"].tolist() == ["t0", "t3", "t4"]
    result = joined(table, of="genre", min_count=2)
    assert result["genre"].tolist() == [None, None, None, "q", "q", None]


def test_so_many_tracks_a_class(make_batch: MakeBatch) -> None:
    """A large class would stay large, a copy be parted from its track, or a seed do nothing."""
    table = make_batch(
        origin=[str(row // 2) for row in range(80)],
        genre=["a" if row < 60 else "b" if row < 66 else None for row in range(80)],
    )
    result = joined(table, of="genre", cap=5)
    counts = Counter(zip(result["genre"], result["origin"], strict=True))
    assert set(counts.values()) == {2}
    assert Counter(genre for genre, _ in counts) == {"a": 5, "b": 3, None: 7}
    reverse = joined(table.take(range(79, -1, -1)), of="genre", cap=5)
    assert sorted(reverse["id"]) == sorted(result["id"])
    other = joined(table, of="genre", cap=5, seed=1)
    assert sorted(other["id"]) != sorted(result["id"])
    split = table.append(result.columns["genre"].renamed("split"), ["train", "test"] * 40)
    by_part = joined(split, of="genre", cap=5)
    parts = Counter(zip(by_part["genre"], by_part["split"], strict=True))
    assert parts[("a", "train")] == parts[("a", "test")] == 5


def test_one_version_a_song(make_batch: MakeBatch) -> None:
    """Versions of a song would stand in train and test."""
    table = make_batch(
        artist=["A", "A", "A", None, None, "B"], title=["s", "s", "t", "s", "s", "s"],
        genre=["x", "y", "x", "x", "x", "y"],
    )  # fmt: skip
    result = joined(table, one_per="artist,title")
    songs = Counter(zip(result["artist"], result["title"], strict=True))
    assert songs == {("A", "s"): 1, ("A", "t"): 1, (None, "s"): 2, ("B", "s"): 1}
    # Labels are counted of the songs that are left.
    result = joined(table, one_per="artist,title", of="genre", top=1)
    assert set(result["genre"]) == {"x", None}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from("pqrs"), max_size=3), st.sampled_from("uvw")),
        min_size=1, max_size=20,
    ),
    st.integers(1, 3),
    st.integers(1, 3),
)  # fmt: skip
def test_everything_together(
    make_batch: MakeBatch, rows: list[tuple[str, list[str], str]], top: int, cap: int
) -> None:
    """The steps would be done in another order than the help says."""
    origins, tags, songs = (list(column) for column in zip(*rows, strict=True))
    table = make_batch(origin=origins, tags=tags, song=songs)
    result = joined(
        table, of="tags", single_label_only=True, one_per="song", top=top, cap=cap,
        labelled_only=True,
    )  # fmt: skip
    single = [(o, set(t), s) for o, t, s in rows if len(set(t)) == 1]
    kept = dict(zip(result["id"], zip(result["origin"], result["tags"], strict=True), strict=True))
    for song in set(songs):
        assert (
            len(
                {kept[f"t{i}"][0] for i in range(len(rows)) if songs[i] == song and f"t{i}" in kept}
            )
            <= 1
        )
    for genre, tracks in Counter(genre for _, genre in set(kept.values())).items():
        assert genre is not None
        assert tracks <= cap
    assert len({genre for _, genre in kept.values()}) <= top
    for id_, (origin, genre) in kept.items():
        assert (origin, {genre}, songs[int(id_[1:])]) in single
    assert bool(kept) == bool(single)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on": "id"}, "--on is about a second file"),
        ({"top": 3}, "--top of which label? say --of COLUMN: genre, tags"),
        ({"of": "x", "top": 3}, "--of x: expected classes or tags, got number"),
        ({"of": "genre"}, "--of genre has no effect"),
        ({"of": "tags", "cap": 3}, "--cap of tags, whose tracks may have several labels"),
        ({"of": "nothing", "cap": 3}, "--of nothing: no such column; there are id, genre"),
        ({"one_per": "song"}, "--one-per song: no such column"),
        ({"unmapped": "keep"}, "no effect without --relabel"),
        ({"relabel": ("genre",)}, "--relabel genre: expected COLUMN=MAP.csv"),
        ({"relabel": ("genre=no.csv",)}, "no.csv: No such file"),
        ({"lists": ("x=;",)}, "--lists x: a label of texts expected, got number"),
    ],
)
def test_what_does_not_fit_is_refused(
    make_batch: MakeBatch, options: dict[str, Any], said: str
) -> None:
    """Hours later one would find that an option did nothing; each is one line of what to do."""
    table = make_batch(genre=["a"], tags=[["b"]], x=[1.0])
    with pytest.raises(UsageError) as caught:
        joined(table, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "what do the table and"),
        ({"on": "nothing"}, "no column 'nothing' in the table: it has id, genre"),
        ({"on": "id=nothing"}, "no column 'nothing' in"),
        ({"on": "id=key", "key": "file"}, "expected name, stem, or a regular expression with one"),
        ({"on": "id=key", "key": "(a"}, "no regular expression"),
        ({"on": "id=key", "columns": "a=x,a=y"}, "'a' is said twice"),
        ({"on": "id=key", "columns": "x", "collect": ("x=y",)}, "x would be joined twice"),
        ({"on": "tags=key"}, "texts or whole numbers expected, got strings"),
        ({"on": "genre=key"}, "no row of the table is in"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    make_batch: MakeBatch, published: Any, options: dict[str, Any], said: str
) -> None:
    """A table would come out without labels, and nobody would know why."""
    table = make_batch(genre=["a"], tags=[["b"]])
    with pytest.raises(UsageError) as caught:
        joined(table, published("key,x,y\nt0,1,2\n"), **options)
    assert said in str(caught.value)


def test_labels_without_rows(make_batch: MakeBatch, published: Any) -> None:
    """A download that left an empty file would unlabel a table."""
    for text in ("", "id,g\n"):
        with pytest.raises(UsageError, match="has no rows: nothing to join"):
            joined(make_batch(x=[1.0]), published(text), on="id")


def test_features_stay_as_they_are(make_batch: MakeBatch, published: Any) -> None:
    """A long table's features would be read with its labels, or change on the way."""
    mel = np.random.default_rng(0).normal(size=(7, 4, 5)).astype(np.float32)
    table = make_batch({"hop": 256}, mel=mel, genre=["a", "b", "a", "a", "b", "a", "a"])
    work = Join(table.columns, published("id,x\nt1,1\n"), JoinSettings(on="id", cap=1, of="genre"))
    assert "mel" not in work.light
    result = joined(table, of="genre", cap=2)
    rows = [int(id_[1:]) for id_ in result["id"]]
    assert rows == sorted(rows)
    np.testing.assert_array_equal(result["mel"], mel[rows])
    assert result.columns["mel"] == table.columns["mel"]

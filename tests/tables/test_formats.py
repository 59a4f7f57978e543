"""Every format holds the table it was given, or says that it cannot."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_tools.errors import BrokenTable, MtToolsError, UsageError
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.levels import Levels
from mt_tools.tables.sink import WRITERS
from mt_tools.tables.source import Assumed, Peeked, Source, open_stream, open_table

ENDINGS = {
    "parquet": ".parquet",
    "npz": ".npz",
    "arrow": ".arrow",
    "stream": ".arrows",
    "jsonl": ".jsonl",
    "json": ".json",
    "csv": ".csv",
}
BINARY = ("parquet", "npz", "arrow", "stream")
MEL = {"kind": "mel", "sample_rate": 12000, "floor": 1e-10, "window": "Hann – ±"}
LEVELS = Levels.between(-80.0, 0.0)
STEPS = [{"command": "mt-x", "version": "1", "settings": {"ä": 1.5}, "inputs": []}]

LABELS = {
    "style": ["rock", None, 'a "b", c\nd|e\\', ""],
    "tags": [["rock|pop", "a\\", "b,c"], [], None, ["é\n", "\\|"]],
    "live": [True, None, False, None],
    "year": [1999, None, -3, 2**53 + 1],
    "energy": [0.1, float("nan"), -1e300, 12345678.9],
}


def labels() -> Batch:
    """Four rows of every kind of label, with nulls in each."""
    columns = [
        reserved("id"),
        reserved("group"),
        reserved("fold"),
        Column("style", "string"),
        Column("tags", "strings"),
        Column("live", "boolean"),
        Column("year", "integer"),
        Column("energy", "number"),
    ]
    ids = ["a/1.mp3", "007", "ü|b", "x,'y'"]
    return Batch.build(
        columns, LABELS | {"id": ids, "group": [None, "A", "1_0", "3"], "fold": [1, None, 0, 2]}
    )


def everything() -> Batch:
    """The same with features, embeddings and predictions."""
    rng = np.random.default_rng(3)
    batch = labels()
    mel = rng.normal(size=(4, 3, 5)).astype(np.float16).astype(np.float32)
    mel[1] = np.nan
    vectors = rng.normal(size=(4, 6)).astype(np.float32)
    vectors[2] = np.nan
    scores = rng.random((4, 2)).astype(np.float32)
    batch = batch.append(Column("mel", "tensor", "feature", MEL, (3, 5), half=True), mel)
    batch = batch.append(
        Column("embedding.x", "vector", "embedding", {"digest": "d"}, (6,)), vectors
    )
    vocabulary = {"vocabulary": ["rock", "a|b.c"]}
    batch = batch.append(Column("tags_score", "vector", "prediction", vocabulary, (2,)), scores)
    mix = np.full((4, 2), 0.5, np.float32)
    return batch.append(Column("plsa", "vector", "target", {"factors": 2}, (2,)), mix)


def with_bytes() -> Batch:
    """Return the same with features and vectors in bytes."""
    levels = LEVELS.decode(np.random.default_rng(4).integers(0, 256, (4, 3, 5)).astype(np.uint8))
    levels[1] = np.nan
    mel = Column("bytes", "tensor", "feature", MEL, (3, 5), levels=LEVELS, transform="of it")
    few = Column("few", "vector", "embedding", {}, (3,), levels=LEVELS)
    return everything().append(mel, levels).append(few, levels[:, :, 0])


def written(format: str, *batches: Batch, failed: int = 0) -> bytes:
    """Return the bytes of a table in a format."""
    file = io.BytesIO()
    writer = WRITERS[format](file, STEPS)
    for batch in batches:
        writer.write(batch)
    writer.finish(sum(map(len, batches)), failed)
    return file.getvalue()


def read(format: str, content: bytes, assumed: Assumed | None = None) -> tuple[Source, list[Batch]]:
    """Read a table as it comes through a pipe."""
    peeked = Peeked(io.BytesIO(content))  # type: ignore[arg-type]
    named = format if format == "csv" else None
    source = Source([open_stream(peeked, named, "stdin")], (), assumed)
    return source, list(source)


def column(batches: list[Batch], name: str) -> list[Any]:
    """Return a column of all batches as plain values, NaN as None."""
    values = [value for batch in batches for value in batch[name].tolist()]
    return [None if isinstance(v, float) and v != v else v for v in values]


@pytest.mark.parametrize("format", BINARY)
def test_binary_formats_keep_values_roles_settings_and_history(format: str) -> None:
    """A table that went through a file or pipe would not be what was computed."""
    table = with_bytes()
    content = written(format, table.take([0, 1]), table.take([2, 3]))
    source, batches = read(format, content)
    assert source.columns == table.columns
    assert source.provenance == STEPS
    assert sum(map(len, batches)) == 4
    for name in table.names:
        if name == "tags":
            continue
        got = np.concatenate([batch[name] for batch in batches])
        if got.dtype == object:
            assert got.tolist() == table[name].tolist(), name
        else:
            np.testing.assert_array_equal(got, table[name], name)
    expected = [None if tags is None else sorted(tags) for tags in LABELS["tags"]]  # type: ignore[arg-type, type-var]
    found = [None if t is None else sorted(t) for b in batches for t in b["tags"]]
    assert found == expected  # in NPZ the tags of a row have the order of the vocabulary
    assert [n for b in batches for n in b.integers("year")] == LABELS["year"]


@pytest.mark.parametrize("format", list(ENDINGS))
def test_what_mt_tag_says_of_files_is_no_label(format: str) -> None:
    """mt-eval check and describe would take the changes of a night for tags that people gave."""
    said = {"changes": [["genre: + Rock"], []], "written": [True, False], "margin": [0.25, 1.0],
            "rank": [1, 2]}  # fmt: skip
    kinds = ("strings", "boolean", "number", "integer")
    columns = [Column(n, kind, "prediction") for n, kind in zip(said, kinds, strict=True)]
    table = Batch.build([reserved("id"), *columns], said | {"id": ["a", "b"]})
    source, batches = read(format, written(format, table))
    assert [c.name for c in source.columns.values() if c.role == "label"] == []
    assert {name: column(batches, name) for name in said} == said


@pytest.mark.parametrize("format", list(ENDINGS))
def test_equal_tables_are_equal_bytes(format: str) -> None:
    """make would rebuild what did not change, and digests would differ for no reason."""
    table = labels() if format == "csv" else everything()
    assert written(format, table) == written(format, table)


@pytest.mark.parametrize("format", list(ENDINGS))
def test_a_table_without_rows_keeps_its_columns(tmp_path: Path, format: str) -> None:
    """An empty shard would break the command that joins the shards."""
    table = (labels() if format in ("csv", "jsonl", "json") else everything()).take([])
    path = tmp_path / f"t{ENDINGS[format]}"
    path.write_bytes(written(format, table))
    source = Source([open_table(str(path))])
    assert [len(batch) for batch in source if len(batch)] == []
    if format not in ("jsonl", "json"):  # which has no place to say it
        assert list(source.columns) == table.names


def test_json_lines_hold_all_but_settings() -> None:
    """A list of tags or a null would change on its way through jq."""
    table = everything()
    source, batches = read("jsonl", written("jsonl", table))
    for name in ("id", "group", "fold", "style", "tags", "live", "energy"):
        assert column(batches, name) == column([table], name), name
    assert [n for b in batches for n in b.integers("year")] == LABELS["year"]
    for name in ("mel", "embedding.x", "tags_score"):
        np.testing.assert_array_equal(batches[0][name], table[name])
    assert source.columns["tags_score"] == table.columns["tags_score"]
    assert source.columns["mel"].settings == {}
    assert source.provenance == []


def test_csv_holds_labels_and_scores() -> None:
    """A label with a comma, quote, bar or line break would break its row or become a list."""
    table = everything().without(["mel", "embedding.x", "plsa"])
    source, batches = read("csv", written("csv", table))
    for name in ("id", "group", "fold", "tags", "live", "energy"):
        assert column(batches, name) == column([table], name), name
    assert column(batches, "style") == [s or None for s in LABELS["style"]]  # "" is null
    assert [n for b in batches for n in b.integers("year")] == LABELS["year"]
    assert source.columns["tags_score"] == table.columns["tags_score"]
    np.testing.assert_allclose(batches[0]["tags_score"], table["tags_score"], rtol=1e-6)


@pytest.mark.parametrize("name", ["mel", "embedding.x"])
def test_csv_refuses_tensors_and_embeddings(name: str) -> None:
    """A spreadsheet of a million columns would be written."""
    table = everything()
    kept = table.without([n for n in table.names if n not in ("id", name)])
    with pytest.raises(UsageError, match=r"does not fit into CSV: write \.parquet"):
        written("csv", kept)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)
words = st.one_of(texts, st.text("|\\, \"'\n", max_size=6)).filter(bool)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.none() | st.lists(words, max_size=4, unique=True), min_size=1, max_size=5))
def test_lists_of_tags_in_every_text_format(rows: list[list[str] | None]) -> None:
    """A tag with a bar, backslash or comma would come back as two tags."""
    rows = [["a", "b"], *rows]  # a CSV column of single tags alone is a column of classes
    columns = [reserved("id"), Column("tags", "strings")]
    table = Batch.build(columns, {"id": [str(i) for i in range(len(rows))], "tags": rows})
    for format in ("jsonl", "json", "csv", "npz"):
        _, batches = read(format, written(format, table))
        found = column(batches, "tags")
        if format == "npz":
            assert [r and sorted(r) for r in found] == [r and sorted(r) for r in rows]
        else:
            assert found == rows, format


@settings(max_examples=150, deadline=None)
@given(st.lists(words | st.none(), min_size=1, max_size=5))
def test_classes_in_every_text_format(rows: list[str | None]) -> None:
    """A class named `a|b` or `007` would come back as something else."""
    rows = ["a word", *rows]  # a CSV column of numbers alone is one of numbers
    columns = [reserved("id"), Column("style", "string")]
    table = Batch.build(columns, {"id": [str(i) for i in range(len(rows))], "style": rows})
    for format in ("jsonl", "json", "csv", "npz"):
        assert column(read(format, written(format, table))[1], "style") == rows, format


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.none() | st.floats(allow_infinity=False), min_size=1, max_size=5),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5),
)
def test_numbers_in_every_text_format(floats: list[float | None], ints: list[int | None]) -> None:
    """A number would lose digits, or null would become 0."""
    length = min(len(floats), len(ints))
    floats, ints = [0.5, *floats[:length]], [0, *ints[:length]]
    columns = [reserved("id"), Column("x", "number"), Column("n", "integer")]
    ids = [str(i) for i in range(len(floats))]
    table = Batch.build(columns, {"id": ids, "x": floats, "n": ints})
    for format in ("jsonl", "json", "csv", "npz"):
        _, batches = read(format, written(format, table))
        assert column(batches, "x") == [None if v != v else v for v in floats], format
        if format != "csv" or all(abs(n or 0) < 10**18 for n in ints):  # longer ones are names
            assert [n for b in batches for n in b.integers("n")] == ints, format


@pytest.mark.parametrize("cell", ["007", "1_000", " 1", "1,5", "12345678901234567890", "0x1f"])
def test_csv_takes_for_a_number_only_what_one_prints_as(cell: str) -> None:
    """A catalogue number would lose its leading zeros."""
    content = f'id,number\na,"{cell}"\n'.encode()
    assert column(read("csv", content)[1], "number") == [cell]


def test_csv_of_spreadsheets() -> None:
    """A byte order mark, Windows line ends or a blank line would break the header or a row."""
    content = '\ufeffid,style,n\r\n"a ""x""",rock,1\r\n\r\n"two\nlines",,2\r\n\r\n'.encode()
    _, batches = read("csv", content)
    assert column(batches, "id") == ['a "x"', "two\nlines"]
    assert column(batches, "style") == ["rock", None]
    assert column(batches, "n") == [1, 2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id,a,a\n1,2,3\n", "has a twice"),
        (b"id,a\n1,2,3\n", "row 2 has 3 cells, the header has 2"),
        (b"id\n\xff\n", "not UTF-8"),
        (b'"id,a\n1,2\n', "not CSV"),
    ],
)
def test_csv_that_is_broken(content: bytes, said: str) -> None:
    """Columns would be silently lost, or a traceback printed."""
    with pytest.raises(BrokenTable, match=said):
        read("csv", content)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "a"', "line 1 is not JSON"),
        ('{"id": "a"}\n[1]', "line 2 is not an object"),
        ('{"id": "a", "x": {"y": {"z": 1}}}', "column 'x' has dict"),
        ('{"id": "a", "x": [1, "b"]}', "column 'x' has list"),
        ('{"id": "a", "mel": [[1, 2], [3]]}', "unequal lengths"),
        ('{"id": "a", "x": [1, 2]}\n{"id": "b", "x": [1]}', "shapes"),
        ('{"id": 5}', "column 'id' is int64"),
        ('{"id": "a", "x": "\\ud800"}', "not text"),
    ],
)
def test_json_lines_that_are_broken(line: str, said: str) -> None:
    """A traceback would be printed, or numbers taken for names."""
    with pytest.raises(MtToolsError, match=said):
        read("jsonl", line.encode())


def test_json_lines_of_others() -> None:
    """A byte order mark, a missing key, NaN or a null inside a vector would break a table."""
    content = (
        '\ufeff{"id": "a", "x": 1, "v": [1, null], "big": 123456789012345678901}\n\n'
        '{"id": "b", "x": NaN}\n'
    )
    _, batches = read("jsonl", content.encode())
    assert column(batches, "x") == [1, None]
    np.testing.assert_array_equal(batches[0]["v"], [[1, np.nan], [np.nan, np.nan]])
    assert column(batches, "big") == [123456789012345678901.0, None]


def test_parquet_of_features() -> None:
    """A table of features would be slow and large, or read at once into memory."""
    rng = np.random.default_rng(0)
    columns = [reserved("id"), Column("mel", "tensor", "feature", MEL, (96, 256))]
    batches = [
        Batch.build(
            columns,
            {"id": [f"{n}-{i}" for i in range(64)], "mel": rng.normal(size=(64, 96, 256))},
        )
        for n in range(6)
    ]
    file = pq.ParquetFile(io.BytesIO(written("parquet", *batches)))
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [192, 192]  # 16 MiB are 171 of these rows
    leaf = groups[0].column(1)
    assert leaf.path_in_schema == "mel.list.element"
    assert leaf.compression == "ZSTD"
    assert "BYTE_STREAM_SPLIT" in leaf.encodings
    assert not {"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & set(leaf.encodings)


# --- tables of other programs --------------------------------------------------------------------


def parquet(table: pa.Table) -> bytes:
    """Return a Parquet file as another program writes it."""
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def test_foreign_parquet_types() -> None:
    """Tables of pandas, polars or R would be refused, or their labels lost."""
    style = pa.array(["rock", None, "pop"])
    types = {
        "large": style.cast(pa.large_string()),
        "view": style.cast(pa.string_view()),
        "dictionary": style.dictionary_encode(),
    }
    table = pa.table(
        {
            "id": style.fill_null("x"),
            **types,
            "tags": pa.array([["a"], [], None], pa.large_list(pa.large_string())),
            "none": pa.nulls(3),
            "group": pa.nulls(3),
            "origin": pa.nulls(3),
            "fold": pa.array([1.0, None, 2.0]),  # pandas makes floats of integers with nulls
            "int8": pa.array([1, None, 3], pa.int8()),
            "half": pa.array(np.array([1, 2, 3], np.float16)),
            "when": pa.array([1, 2, 3], pa.timestamp("s")),
            "nested": pa.array([{"a": 1}, None, {"a": 2}]),
        }
    )
    source, batches = read("parquet", parquet(table))
    for name in types:
        assert column(batches, name) == ["rock", None, "pop"]
        assert column([batches[0].take([2, 0])], name) == ["pop", "rock"]
    assert column(batches, "tags") == [["a"], [], None]
    assert column(batches, "none") == [None] * 3
    assert column(batches, "group") == [None] * 3
    assert batches[0].origins.tolist() == ["rock", "x", "pop"]
    assert column(batches, "fold") == [1, None, 2]
    assert column(batches, "int8") == [1, None, 3]
    assert column(batches, "half") == [1, 2, 3]
    assert source.columns["when"].kind == "other"
    for format in ("parquet", "arrow", "stream"):  # unknown columns pass through
        again = read(format, written(format, *batches))[1][0]
        assert again._table.column("when").equals(batches[0]._table.column("when"))
        assert again._table.column("nested").equals(batches[0]._table.column("nested"))
        assert column([again], "dictionary") == ["rock", None, "pop"]


def test_a_reserved_column_of_another_kind_is_refused() -> None:
    """An id that is a number would print as 5.0 and never be found again."""
    with pytest.raises(UsageError, match=r"'id' is int64.*kind string: convert or rename"):
        read("parquet", parquet(pa.table({"id": [1, 2]})))


def test_foreign_arrow_stream() -> None:
    """A stream of DuckDB or polars, which knows nothing of `mt.end`, would be refused."""
    file = io.BytesIO()
    table = pa.table({"id": ["a", "b"], "x": [1.5, None]})
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    source, batches = read("stream", file.getvalue())
    assert column(batches, "x") == [1.5, None]
    assert source.failed == 0


def test_foreign_npz() -> None:
    """Arrays saved with numpy.savez would need a conversion."""
    file = io.BytesIO()
    np.savez(
        file,
        id=np.array(["a", "b"]),
        X=np.arange(24, dtype=np.float64).reshape(2, 3, 4),
        embedding=np.ones((2, 5), np.int16),
        y=np.array([1, 2], np.uint8),
        genre=np.array([b"rock", b"pop"]),
    )
    source, batches = read("npz", file.getvalue())
    kinds = {name: (c.kind, c.role) for name, c in source.columns.items()}
    assert kinds == {
        "id": ("string", "reserved"),
        "X": ("tensor", "feature"),
        "embedding": ("vector", "embedding"),
        "y": ("integer", "label"),
        "genre": ("string", "label"),
    }
    assert column(batches, "genre") == ["rock", "pop"]
    np.testing.assert_array_equal(batches[0]["X"], np.arange(24).reshape(2, 3, 4))


def test_npz_is_read_by_numpy_alone() -> None:
    """A user of plain numpy would meet pickles, or columns that are not there."""
    table = everything().append(Column("file", "string"), list("abcd"))
    with np.load(io.BytesIO(written("npz", table)), allow_pickle=False) as arrays:
        assert arrays["tags__vocab"].tolist() == sorted(["rock|pop", "a\\", "b,c", "é\n", "\\|"])
        assert arrays["tags"].dtype == np.int8
        assert arrays["tags"].sum(axis=1).tolist() == [3, 0, -5, 2]
        assert arrays["style__null"].tolist() == [False, True, False, False]
        assert arrays["year"].tolist() == [1999, 0, -3, 2**53 + 1]
        assert arrays["mel"].dtype == np.float16
        assert arrays["file"].tolist() == list("abcd")


def test_npz_with_pickles_or_unequal_arrays_is_refused() -> None:
    """Reading a table would run code of whoever made it, or mix up rows."""
    file = io.BytesIO()
    np.savez(file, id=np.array(["a", None], dtype=object))
    with pytest.raises(BrokenTable, match="not a whole NPZ"):
        read("npz", file.getvalue())
    file = io.BytesIO()
    np.savez(file, id=np.array(["a", "b"]), y=np.arange(3))
    with pytest.raises(UsageError, match="unequal lengths"):
        read("npz", file.getvalue())


@pytest.mark.parametrize("format", ["parquet", "npz", "arrow"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_cut_files(tmp_path: Path, format: str, share: float) -> None:
    """Half a table would be taken for a whole one."""
    content = written(format, everything())
    path = tmp_path / f"cut{ENDINGS[format]}"
    path.write_bytes(content[: max(9, int(len(content) * share))])
    with pytest.raises(BrokenTable, match=r"cut short or damaged; make it again"):
        list(Source([open_table(str(path))]))


# --- settings lost and assumed -------------------------------------------------------------------


def test_features_that_went_through_pandas_need_assume() -> None:
    """After pandas, which flattens tensors to lists, features could not be used any more."""
    flat = pa.table(
        {
            "id": ["a", "b", "c"],
            "mel": pa.array([list(range(15)), None, list(range(15, 30))], pa.list_(pa.float64())),
            "beats": pa.array([[1.0], [1.0, 2.0], None], pa.list_(pa.float64())),
        }
    )
    source, batches = read("parquet", parquet(flat))
    assert source.columns["mel"].kind == "vector"
    assert source.columns["mel"].settings == {}
    assert source.columns["beats"].kind == "other"  # a label of any length stays as it is
    source, batches = read("parquet", parquet(flat), Assumed(MEL, (3,)))
    assert source.columns["mel"] == Column("mel", "tensor", "feature", MEL, (3, 5))
    np.testing.assert_array_equal(batches[0]["mel"][2], np.arange(15, 30).reshape(3, 5))
    assert np.isnan(batches[0]["mel"][1]).all()
    again, _ = read("parquet", written("parquet", *batches))
    assert again.columns["mel"].settings == MEL


def test_assume_fills_in_and_never_overrules() -> None:
    """A wrong preset would be believed instead of the table."""
    own = everything()
    source, _ = read("parquet", written("parquet", own), Assumed({"kind": "mfcc"}, (3,)))
    assert source.columns["mel"].settings == MEL
    lost = written("jsonl", own)
    source, batches = read("jsonl", lost, Assumed(MEL, (3,)))
    assert source.columns["mel"].settings == MEL
    np.testing.assert_array_equal(batches[0]["mel"], own["mel"])
    with pytest.raises(UsageError, match=r"got mel \[3, 5\], expected \[96, any number\]"):
        read("jsonl", lost, Assumed(MEL, (96,)))


def test_lists_of_unequal_length_are_no_embeddings() -> None:
    """Rows of an embedding column would be silently padded or dropped."""
    table = pa.table({"id": ["a", "b"], "embedding": [[1.0, 2.0], [1.0]]})
    with pytest.raises(UsageError, match="vectors of one column have one length"):
        read("parquet", parquet(table))

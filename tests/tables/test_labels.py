"""Files of labels as data sets publish them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.delimited import read_csv, read_texts
from mt_tools.tables.labels import beside, read_labels, read_map, row_a_key


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (b"a,b\n1,x y\n", {"a": ["1"], "b": ["x y"]}),
        (b"a\tb\n1\tx, y\n", {"a": ["1"], "b": ["x, y"]}),
        (b"a;b\n1;x\n", {"a": ["1"], "b": ["x"]}),
        (b'"a"\t"b"\n"1"\t"x\ny"\n', {"a": ["1"], "b": ["x\ny"]}),  # MagnaTagATune
        (b'a\tb\n1\t"Heroes\n', {"a": ["1"], "b": ['"Heroes']}),  # a title, no quotation
        (b"song_id, mean\n1, 0.5\n", {"song_id": ["1"], "mean": ["0.5"]}),  # DEAM
        (b"\xef\xbb\xbfa,b\r\n1,x\r\n\r\n", {"a": ["1"], "b": ["x"]}),
        (b"a,b\r1,x\r2,y\r", {"a": ["1", "2"], "b": ["x", "y"]}),
        (b"sep=;\r\na;b\r\n1;x,y\r\n", {"a": ["1"], "b": ["x,y"]}),  # Excel
        (b'\xef\xbb\xbf"sep=,"\na,b\n1,x\n', {"a": ["1"], "b": ["x"]}),
        (b'a;"b, c"\n1;x\n', {"a": ["1"], "b, c": ["x"]}),
        (b"a,b,,\n1,x,,\n", {"a": ["1"], "b": ["x"]}),  # a spreadsheet's empty columns
        (b",a,b\n0,1,x\n", {"a": ["1"], "b": ["x"]}),  # pandas's index
        (b"a,b\n", {"a": [], "b": []}),
        (b"a\n", {"a": []}),
        (b"", {}),
    ],
)
def test_separators_and_quotes(text: bytes, columns: dict[str, list[str]]) -> None:
    """A published file would have to be rewritten by hand, or a title would swallow rows."""
    found = read_texts(io.BytesIO(text), "labels", trim=True)
    assert {name: cells.to_pylist() for name, cells in found.items()} == columns


def test_a_workbook_is_refused_in_one_line(tmp_path: Path) -> None:
    """Who hands in an .xlsx would be told of a defect: a workbook begins as an NPZ does."""
    path = tmp_path / "labels.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(BrokenTable, match="a zip archive with xl/workbook.xml, not NPZ.*as CSV"):
        read_labels(str(path))


def test_a_file_without_a_header() -> None:
    """The first row of the Taste Profile would be taken for names."""
    found = read_texts(io.BytesIO(b"u1\ts1\t3\nu2\ts1\t1\n"), "x", ["user", "song", "plays"])
    assert found["user"].to_pylist() == ["u1", "u2"]
    with pytest.raises(BrokenTable, match="row 1 has 2 cells, the header has 3"):
        read_texts(io.BytesIO(b"u1\ts1\nu2\ts1\t1\n"), "x", ["user", "song", "plays"])


def test_a_quotation_that_is_not_closed() -> None:
    """All rows after it would be one cell, and nobody would miss them."""
    with pytest.raises(BrokenTable, match="a quotation mark is not closed, maybe before 'rock'"):
        read_texts(io.BytesIO(b'id,genre\na,"rock\nb,jazz\nc,pop\n'), "x")
    found = read_texts(io.BytesIO(b'id,size\na,7" mix\nb,12" mix\nc,5" mix\n'), "x")
    assert found["size"].to_pylist() == ['7" mix', '12" mix', '5" mix']


def test_many_blocks() -> None:
    """Beyond the first block of a large file, texts would stand for others."""
    cells = [f"{row % 7 * row:09d}" + "x" * 900 for row in range(20_000)]
    text = "key,said\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells))
    found = read_texts(io.BytesIO(text.encode()), "x")
    assert found["said"].to_pylist() == cells
    assert found["key"].to_pylist() == [str(row) for row in range(20_000)]


def test_tsv_is_a_table_too() -> None:
    """`mt-fetch join tracks.tsv` would not read its table."""
    (batch,) = read_csv(io.BytesIO(b"id\ttags\tn\nx\ta|b\t1\ny\t\t\n"), "t.tsv")
    assert [batch[name].tolist() for name in ("id", "tags")] == [["x", "y"], [["a", "b"], None]]
    assert batch.integers("n") == [1, None]


def test_a_column_is_what_its_new_name_says(tmp_path: Path) -> None:
    """An artist's number would not become a group, or a catalogue number lose its zeros."""
    (tmp_path / "l.csv").write_text("artist,part,no\n12,3,007\n,,\n")
    pq.write_table(
        pa.table({"artist": [12, None], "part": [3, None], "no": ["007", None]}),
        tmp_path / "l.parquet",
    )
    for name in ("l.csv", "l.parquet"):
        labels = read_labels(str(tmp_path / name))
        batch = labels.batch({"group": "artist", "fold": "part", "number": "no"}, {})
        assert batch["group"].tolist() == ["12", None], name
        assert batch.integers("fold") == [3, None], name
        assert batch["number"].tolist() == ["007", None], name
        with pytest.raises(UsageError, match="keeps this name for a column of kind integer"):
            labels.batch({"fold": "no"}, {})


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_columns_of_0_and_1(tmp_path: Path, ending: str) -> None:
    """A tag would be lost, or a count be taken for a tag."""
    values = {"rock": [1, 0, None, None], "jazz": [1, 0, 1, None], "plays": [1, 0, 2, None]}
    path = tmp_path / f"l.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table(values), path)
    else:
        rows = list(zip(*values.values(), strict=True))
        if ending == "csv":
            lines = [",".join("" if c is None else str(c) for c in row) for row in rows]
        else:
            lines = [pa.table(values).slice(row, 1).to_pylist()[0] for row in range(4)]
            lines = [str(line).replace("'", '"').replace("None", "null") for line in lines]
        path.write_text("\n".join([*[",".join(values)] * (ending == "csv"), *lines]) + "\n")
    labels = read_labels(str(path))
    assert labels.bits("plays") is None
    tags = {"Rock": "rock", "Jazz": "jazz"}
    batch = labels.batch({}, {"tags": tags})
    assert batch["tags"].tolist() == [["Rock", "Jazz"], [], ["Jazz"], None]
    assert labels.gaps(["rock", "jazz"]) == 1


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-1, 3), st.sampled_from(["", "x", "y", "z"])), min_size=1, max_size=20
    )
)
def test_rows_of_a_key_are_gathered(rows: list[tuple[int, str]]) -> None:
    """A long file of a row a track and tag would lose tags, or give them to another track."""
    keys = np.array([key for key, _ in rows], np.int32)
    words = ["z", "x", "y", "x"]  # a word may have several codes, once blanks are trimmed
    codes = np.array([words.index(word) if word else -1 for _, word in rows], np.int32)
    codes[1::2][codes[1::2] == 1] = 3
    names = [f"k{key}" for key in range(4)]
    expected: list[list[str] | None] = []
    for key in range(4):
        said = [word for k, word in rows if k == key and word]
        expected.append(list(dict.fromkeys(said)) or None)
    empty = Batch.build([], {})
    batch, _ = row_a_key(empty, keys, names, {"tags": (codes, words)}, "l.csv")
    assert batch["tags"].tolist() == expected


def test_rows_of_a_key_that_agree_are_one() -> None:
    """A row that stands twice would be an error, or a contradiction pass without a word."""
    vectors = np.array([[1, np.nan], [2, 2], [1, np.nan]], np.float32)
    batch = Batch.build(
        [Column("s", "string"), Column("l", "strings"), Column("v", "vector", shape=(2,))],
        {"s": ["a", None, "a"], "l": [["p", "q"], None, ["p", "q"]], "v": vectors},
    )
    keys = np.array([0, 1, 0], np.int32)
    one, repeats = row_a_key(batch, keys, ["x", "y"], {}, "l.csv")
    assert one["s"].tolist() == ["a", None]
    assert repeats == 1
    for column, values in {"s": ["a", "b", None], "l": [["p", "q"], [], ["pq"]]}.items():
        other = batch.replace(batch.columns[column], values)
        with pytest.raises(UsageError, match=f"1 of 2 keys .* 'x' has {column} .*--collect"):
            row_a_key(other, keys, ["x", "y"], {}, "l.csv")


def test_features_are_put_beside_rows() -> None:
    """A row without labels would have the vector of another, or a feature lose its settings."""
    vector = Column("embedding", "vector", "embedding", {"model": "m"}, (2,))
    tensor = Column("mel", "tensor", "feature", {"hop": 1}, (2, 3))
    mels = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    labels = Batch.build([vector, tensor], {"embedding": [[1, 2], [3, 4]], "mel": mels})
    rows = Batch.build([reserved("id")], {"id": ["a", "b", "c"]})
    joined = beside(rows, labels, np.array([1, -1, 0], np.int32))
    nan = np.nan
    np.testing.assert_array_equal(joined["embedding"], [[3, 4], [nan, nan], [1, 2]])
    np.testing.assert_array_equal(joined["mel"][[0, 2]], mels[[1, 0]])
    assert np.isnan(joined["mel"][1]).all()
    assert joined.columns["mel"] == tensor
    assert joined.columns["embedding"] == vector


def test_maps(tmp_path: Path) -> None:
    """A genre would become two, or the header of the map a genre."""
    path = tmp_path / "map.csv"
    path.write_text('from,to\nDeep House,House\n"Rock, hard",Rock\nUnknown,\n')
    assert read_map(str(path)) == {"Deep House": "House", "Rock, hard": "Rock", "Unknown": ""}
    path.write_text("a,b\na,c\n")
    with pytest.raises(UsageError, match="'a' becomes both 'b' and 'c'"):
        read_map(str(path))
    path.write_text("a,b,c\n")
    with pytest.raises(BrokenTable, match="row 1 has 3 cells, the header has 2"):
        read_map(str(path))

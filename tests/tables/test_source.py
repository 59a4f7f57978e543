"""Several tables as one, and what may not be joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_tools.errors import BrokenTable, SettingsMismatch, UsageError
from mt_tools.tables.source import Source, open_table, sniff


def source(folder: Path, *tables: dict[str, object] | pa.Table) -> Source:
    """Return Parquet tables as one source."""
    paths = []
    for number, table in enumerate(tables):
        path = folder / f"{number}.parquet"
        pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), path)
        paths.append(str(path))
    return Source([open_table(path) for path in paths])


def test_union_of_columns(tmp_path: Path) -> None:
    """Shards of which one lacks a column, or has it as integers, could not be joined."""
    both = source(
        tmp_path,
        {"id": ["a"], "x": [1], "style": pa.array(["rock"]).dictionary_encode(), "n": pa.nulls(1)},
        {"id": ["b"], "x": [0.5], "style": pa.array(["pop"], pa.string_view()), "n": ["one"]},
        {"id": ["c"], "y": [True], "tags": [["t"]]},
        {"id": ["d"], "tags": pa.array([[]], pa.list_(pa.null()))},
    )
    assert list(both.columns) == ["id", "x", "style", "n", "y", "tags"]
    rows = [row for batch in both for row in batch.rows()]
    assert [row["x"] for row in rows] == [1, 0.5, None, None]
    assert [row["style"] for row in rows] == ["rock", "pop", None, None]
    assert [row["n"] for row in rows] == [None, "one", None, None]
    assert [row["tags"] for row in rows] == [None, None, ["t"], []]
    assert len(list(both)) == 4  # read again, as fit does


def test_kinds_that_do_not_agree(tmp_path: Path) -> None:
    """A class and a number of the same name would be mixed in one column."""
    with pytest.raises(UsageError, match="'x' is int64 in one input and string in another"):
        source(tmp_path, {"id": ["a"], "x": [1]}, {"id": ["b"], "x": ["one"]})


def test_settings_that_do_not_agree(tmp_path: Path) -> None:
    """Features of two presets would be trained on as if they were one."""

    def table(id_: str, hop: int, size: int = 2) -> pa.Table:
        settings = {b"mt.settings": f'{{"hop": {hop}, "kind": "mel"}}'.encode()}
        field = pa.field("mel", pa.list_(pa.float32(), size), metadata=settings)
        values = [[id_], np.zeros((1, size), np.float32).tolist()]
        return pa.table(values, pa.schema([("id", pa.string()), field]))

    assert source(tmp_path, table("a", 256), table("b", 256)).columns["mel"].settings["hop"] == 256
    with pytest.raises(SettingsMismatch, match="hop: got 512, expected 256"):
        source(tmp_path, table("a", 256), table("b", 512))
    with pytest.raises(SettingsMismatch, match=r"shape: got \(3,\), expected \(2,\)"):
        source(tmp_path, table("a", 256), table("b", 256, 3))


def test_ids(tmp_path: Path) -> None:
    """Two tracks of one id would overwrite each other later."""
    with pytest.raises(UsageError, match="id 'a' stands twice"):
        list(source(tmp_path, {"id": ["a"]}, {"id": ["b", "a"]}))
    with pytest.raises(UsageError, match="row 2 has no id"):
        list(source(tmp_path, {"id": ["a", None]}))
    (batch,) = source(tmp_path, {"path": ["x/y.mp3", "z.mp3"]})
    assert batch.ids.tolist() == ["x/y.mp3", "z.mp3"]
    batches = list(source(tmp_path, {"x": [1.0]}, {"x": [2.0]}))
    assert [batch.ids[0] for batch in batches] == ["row-0", "row-1"]


def test_histories_are_merged_once(tmp_path: Path) -> None:
    """The steps that two shards share would be told twice."""
    first, second = b'{"command": "mt-fetch"}', b'{"command": "mt-spec"}'
    tables = [
        pa.table({"id": [id_]}).replace_schema_metadata({"mt": b"[" + steps + b"]"})
        for id_, steps in (("a", first), ("b", first + b"," + second))
    ]
    assert [s["command"] for s in source(tmp_path, *tables).provenance] == ["mt-fetch", "mt-spec"]


@pytest.mark.parametrize(
    ("head", "format"),
    [
        (b"PAR1\x15\x04\x15", "parquet"),
        (b"PK\x03\x04\x14\x00", "npz"),
        (b"ARROW1\0\0", "arrow-file"),
        (b"\xff\xff\xff\xff\x10\0\0\0", "arrow"),
        (b'{"id": 1', "jsonl"),
        (b" \n{", "jsonl"),
        (b"\xef\xbb\xbf{", "jsonl"),
        (b'[\n{"id"', "jsonl"),
        (b"[]\n", "jsonl"),
        (b"[1997] B", "paths"),
        (b"a.mp3\n", "paths"),
        (b"/music/\xff", "paths"),
        (b"id,path\n", "paths"),
    ],
)
def test_sniffing(head: bytes, format: str) -> None:
    """A table would be taken for a list of paths."""
    assert sniff(head) == format


def test_what_is_no_table(tmp_path: Path) -> None:
    """A mistyped name would end in a traceback."""
    with pytest.raises(UsageError, match="No such file"):
        open_table(str(tmp_path / "no.parquet"))
    for content in (b"", b"hello, world", b"\0" * 100):
        (tmp_path / "x.parquet").write_bytes(content)
        with pytest.raises(BrokenTable, match="not a table"):
            open_table(str(tmp_path / "x.parquet"))

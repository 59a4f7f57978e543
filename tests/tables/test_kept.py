"""Tables that are read twice: light columns first, then the rows as they are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.kept import Kept
from mt_tools.tables.sink import WRITERS
from mt_tools.tables.source import Peeked, Source, open_stream, open_table
from mt_tools.tables.stream import StreamReader

ROWS = 700


def table() -> pa.Table:
    """Return rows with a heavy column, which pandas would have left without a fixed size."""
    vectors = [[float(i), 1.0] for i in range(ROWS)]
    columns = {
        "id": [f"t{i}" for i in range(ROWS)],
        "genre": pa.array([f"g{i % 3}" for i in range(ROWS)]).dictionary_encode(),
        "embedding": pa.array(vectors, pa.list_(pa.float32())),
    }
    return pa.table(columns)


def stream() -> io.BytesIO:
    """Return the rows as a stream of ours, in batches of a hundred."""
    file = io.BytesIO()
    writer = WRITERS["stream"](file, [])
    for first in range(0, ROWS, 100):
        writer.write(Batch(table().slice(first, 100)))
    writer.finish(ROWS, 2)
    file.seek(0)
    return file


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
def test_rows_come_whole_after_their_light_columns(tmp_path: Path, kind: str) -> None:
    """A split would be drawn from some rows and written to others, or to none."""
    path = str(tmp_path / "t")
    if kind == "parquet":
        pq.write_table(table(), path, row_group_size=90)
        source = Source([open_table(path)])
    elif kind == "arrow":
        with pa.ipc.new_file(path, table().schema) as writer:
            writer.write_table(table(), 90)
        source = Source([open_table(path)])
    else:
        source = Source([open_stream(Peeked(stream()), None, "stdin")])
    light = source.light(["genre", "no such column"])
    assert list(light.columns) == ["id", "genre"]
    first = list(light)
    assert [name for batch in first for name in batch.ids] == [f"t{i}" for i in range(ROWS)]
    assert {name for batch in first for name in batch.names} == {"id", "genre"}
    assert light.failed == source.failed == (2 if kind == "stream" else 0)
    for _ in range(2):
        whole = list(source)
        assert [name for batch in whole for name in batch.ids] == [f"t{i}" for i in range(ROWS)]
        vectors = np.concatenate([batch["embedding"] for batch in whole])
        np.testing.assert_array_equal(vectors[:, 0], np.arange(ROWS))


def test_rows_of_a_stream_wait_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long stream of features would fill the memory, or leave files behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    reader = StreamReader(stream())
    kept = Kept(reader, reader, spool=1)
    assert sum(len(batch) for batch in kept) == ROWS
    assert getattr(kept._file, "_rolled", False)
    assert not list(tmp_path.iterdir())
    assert sum(len(batch) for batch in kept) == ROWS


def test_ids_are_the_same_both_times(tmp_path: Path) -> None:
    """Rows of a table without ids would get other ids when they pass again."""
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"path": ["a.wav", "b.wav"], "genre": ["x", "y"]}), path)
    source = Source([open_table(path)])
    assert [list(batch.ids) for batch in source.light(["genre"])] == [["a.wav", "b.wav"]]
    assert [list(batch.ids) for batch in source] == [["a.wav", "b.wav"]]


def test_a_stream_that_was_not_read_to_its_end_is_not_read_again() -> None:
    """Rows would be lost without a word."""
    reader = StreamReader(stream())
    kept = Kept(reader, reader)
    next(iter(kept))
    with pytest.raises(RuntimeError, match="before it was read to its end"):
        iter(kept)


def test_features_that_are_read_first_come_a_row_group_at_a_time(tmp_path: Path) -> None:
    """What is fitted to features of a library would hold thousands of tracks' at once."""
    mel = Column("mel", "tensor", "feature", {}, (2, 3))
    rows = 1500
    values = {"id": [f"t{n}" for n in range(rows)], "mel": np.zeros((rows, 2, 3), np.float32)}
    path = str(tmp_path / "mel.parquet")
    pq.write_table(Batch.build([reserved("id"), mel], values)._table, path, row_group_size=400)
    heavy = [len(batch) for batch in Source([open_table(path)]).light(["mel"])]
    assert sum(heavy) == rows
    assert max(heavy) <= 256
    assert [len(batch) for batch in Source([open_table(path)]).light([])] == [rows]

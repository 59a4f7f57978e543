"""The end of a stream cannot be faked, lost or overlooked."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pytest

from mt_tools.errors import MtToolsError, UpstreamEnded
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.source import Peeked, Source, open_stream
from mt_tools.tables.stream import END_KEY, StreamWriter

SCHEMA = pa.schema([("id", pa.string())])


def stream(end: bytes | None, *, rows: int = 3, more: int = 0) -> bytes:
    """Return a stream of `rows` batches whose last batch says `end`."""
    file = io.BytesIO()
    writer = pa.ipc.new_stream(file, SCHEMA)
    for row in range(rows):
        writer.write_batch(pa.record_batch({"id": [f"{row}"]}))
    if end is not None:
        writer.write_batch(pa.record_batch({"id": pa.nulls(0, pa.string())}), {END_KEY: end})
    for row in range(more):
        writer.write_batch(pa.record_batch({"id": [f"more-{row}"]}))
    writer.close()
    return file.getvalue()


def read(content: bytes) -> tuple[list[str], int]:
    """Return the ids of a stream and how many rows failed before it."""
    source = Source([open_stream(Peeked(io.BytesIO(content)), None, "stdin")])  # type: ignore[arg-type]
    return [id_ for batch in source for id_ in batch.ids], source.failed


def test_ours() -> None:
    """The next command would not know that the one before it lost rows."""
    file = io.BytesIO()
    writer = StreamWriter(file, [])
    for ids in (["a", "b"], ["c"]):
        columns = [reserved("id"), Column("style", "string")]
        writer.write(Batch.build(columns, {"id": ids, "style": ids}))
    writer.finish(3, 2)
    assert read(file.getvalue()) == (["a", "b", "c"], 2)
    reader = pa.ipc.open_stream(file.getvalue())
    ends = []
    while True:
        try:
            found = reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            break
        if found.custom_metadata:
            assert found.batch.num_rows == 0
            ends.append(json.loads(found.custom_metadata[b"mt.end"]))
    assert ends == [{"rows": 3, "failed": 2}]


def test_every_cut_is_noticed() -> None:
    """A producer that was killed would look as if it had done all."""
    whole = stream(b'{"rows": 3, "failed": 0}')
    assert read(whole) == (["0", "1", "2"], 0)
    for length in range(9, len(whole)):
        with pytest.raises(UpstreamEnded, match="upstream ended early"):
            read(whole[:length])


@pytest.mark.parametrize(
    ("end", "more"),
    [
        (b'{"rows": 2, "failed": 0}', 0),
        (b'{"rows": 3, "failed": 0}', 1),
        (b'{"rows": 3}', 0),
        (b'{"rows": "many", "failed": 0}', 0),
        (b"[]", 0),
        (b"\xff", 0),
    ],
)
def test_an_end_that_does_not_fit_is_no_end(end: bytes, more: int) -> None:
    """Rows would vanish between two commands without a word."""
    with pytest.raises(UpstreamEnded):
        read(stream(end, more=more))


def test_rows_in_the_last_batch_count() -> None:
    """Rows of a writer that puts `mt.end` on its last batch would be dropped."""
    file = io.BytesIO()
    writer = pa.ipc.new_stream(file, SCHEMA)
    writer.write_batch(pa.record_batch({"id": ["a"]}), {END_KEY: b'{"rows": 1, "failed": 0}'})
    writer.close()
    assert read(file.getvalue()) == (["a"], 0)


def test_a_second_table_after_the_first_is_refused() -> None:
    """`(A; B) | C` would silently lose all of B."""
    whole = stream(b'{"rows": 3, "failed": 0}')
    with pytest.raises(MtToolsError, match="name both"):
        read(whole + whole)


def test_foreign_streams() -> None:
    """Other programs' streams, which have no `mt.end`, would be refused, or cut ones accepted."""
    whole = stream(None)
    assert read(whole) == (["0", "1", "2"], 0)
    for length in range(9, len(whole)):
        with pytest.raises(UpstreamEnded):
            read(whole[:length])
    assert read(stream(None, rows=0)) == ([], 0)

"""Feature columns larger than memory: row groups, light columns, spools."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_tools.errors import BrokenTable, RunError, SettingsMismatch
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.parquet import ROW_GROUP_BYTES, ParquetWriter
from mt_tools.tables.shards import ROW, ArraySpool, Shards, Spool, row_bytes, shards_of
from mt_tools.tables.source import Source

MEL = Column("mel", "tensor", "feature", {"kind": "mel", "hop": 256}, (4, 6))
COLUMNS = [reserved("id"), Column("style", "string"), MEL, Column("mel.x", "vector", shape=(3,))]


def table(first: int, rows: int, column: Column = MEL) -> Batch:
    """Return rows with ids counted from `first`; row 1 of each table has no features."""
    rng = np.random.default_rng(first)
    mel = rng.normal(size=(rows, *column.shape)).astype(np.float16).astype(np.float32)
    mel[1:2] = np.nan
    columns = [column if c is MEL else c for c in COLUMNS]
    return Batch.build(
        columns,
        {
            "id": [f"t{first + i}" for i in range(rows)],
            "style": ["rock" if i % 2 else None for i in range(rows)],
            "mel": mel,
            "mel.x": rng.normal(size=(rows, 3)),
        },
    )


def write(path: Path, *batches: Batch) -> str:
    """Write a Parquet file with a row group a batch."""
    with path.open("wb") as file:
        writer = ParquetWriter(file, [{"command": "mt-x"}])
        for batch in batches:
            writer.write(batch)
            writer._flush()
        writer.finish(0, 0)
    return str(path)


@pytest.fixture
def two(tmp_path: Path) -> tuple[list[str], list[Batch]]:
    """Two files of three row groups, and their rows."""
    batches = [table(0, 5), table(5, 3), table(8, 4)]
    paths = [write(tmp_path / "a.parquet", *batches[:2]), write(tmp_path / "b.parquet", batches[2])]
    return paths, batches


def test_row_groups_are_those_of_the_files(two: tuple[list[str], list[Batch]]) -> None:
    """Rows would be trained with the labels of others."""
    paths, batches = two
    shards = Shards(paths, MEL)
    assert len(shards) == 12
    assert shards.offsets.tolist() == [0, 5, 8, 12]
    assert shards.nbytes == 12 * 4 * 6 * 4
    for index, batch in enumerate(batches):
        np.testing.assert_array_equal(shards.row_group(index), batch["mel"])


@pytest.mark.parametrize("at_once", [4096, 2])
def test_light_rows_have_everything_but_features(
    at_once: int, two: tuple[list[str], list[Batch]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels would be missing, or the features be read to memory after all."""
    monkeypatch.setattr("mt_tools.tables.shards._LIGHT_ROWS", at_once)
    paths, batches = two
    source = Shards(paths, MEL).light(["folder"])
    assert source.folders == ["folder"]
    assert source.provenance == [{"command": "mt-x"}]
    rows = list(source)
    assert rows[0].names == ["id", "style", "mel.x", ROW]
    for name in ("id", "style", "mel.x"):
        np.testing.assert_array_equal(
            np.concatenate([batch[name] for batch in rows]),
            np.concatenate([batch[name] for batch in batches]),
        )
    assert np.concatenate([batch[ROW] for batch in rows]).tolist() == list(range(12))


def test_half_precision_stays_half(tmp_path: Path) -> None:
    """A buffer of rows would take twice the memory that the table says."""
    half = Column("mel", "tensor", "feature", {}, (4, 6), half=True)
    batch = table(0, 5, half)
    shards = Shards([write(tmp_path / "a.parquet", batch)], half)
    assert shards.row_group(0).dtype == np.float16
    assert shards.nbytes == 5 * row_bytes(half) == 5 * 4 * 6 * 2
    np.testing.assert_array_equal(shards.row_group(0).astype(np.float32), batch["mel"])


def test_shards_are_for_large_parquet_files_alone(
    two: tuple[list[str], list[Batch]], tmp_path: Path
) -> None:
    """Small tables would be streamed from the disk, or a JSON file be taken for Parquet."""
    paths, _batches = two
    size = 12 * row_bytes(MEL)
    assert shards_of(paths, MEL, size) is None
    shards = shards_of(paths, MEL, size - 1)
    assert shards is not None
    assert len(shards) == 12
    (tmp_path / "rows.jsonl").write_text('{"id": "a"}\n')
    assert shards_of([*paths, str(tmp_path / "rows.jsonl")], MEL, 0) is None
    assert shards_of(["-"], MEL, 0) is None
    assert shards_of([], MEL, 0) is None


def test_row_groups_too_large_to_hold_are_not_read_as_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row group of a foreign writer, as large as the file, would fill the memory."""
    monkeypatch.setattr("mt_tools.tables.shards.LARGEST_GROUP", 8 * row_bytes(MEL))
    for rows, found in ((8, True), (9, False)):
        path = write(tmp_path / f"{rows}.parquet", table(0, rows))
        assert (shards_of([path], MEL, 0) is not None) == found


def test_lists_of_pandas_are_left_to_the_spool(tmp_path: Path) -> None:
    """A table that pandas has written would end in an error only because it is large."""
    path = tmp_path / "pandas.parquet"
    pq.write_table(pa.table({"id": ["a"], "mel": [[0.0] * 24]}), path)
    assert shards_of([str(path)], MEL, 0) is None
    with pytest.raises(SettingsMismatch, match="shape"):
        Shards([str(path)], MEL)


def test_other_settings_are_spelled_out(two: tuple[list[str], list[Batch]]) -> None:
    """Features of another hop would be mixed into one training."""
    other = Column("mel", "tensor", "feature", {"kind": "mel", "hop": 512}, (4, 6))
    with pytest.raises(SettingsMismatch, match="hop: got 256, expected 512"):
        Shards(two[0], other)


def test_a_damaged_file_is_named(two: tuple[list[str], list[Batch]]) -> None:
    """A broken disk would end in a traceback of Arrow's, hours into a training."""
    path = Path(two[0][0])
    content = bytearray(path.read_bytes())
    shards = Shards(two[0], MEL)
    start = shards._files[0].parquet.metadata.row_group(1).column(2).data_page_offset
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(BrokenTable, match=r"a\.parquet"):
        Shards(two[0], MEL).row_group(1)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BrokenTable, match=r"a\.parquet"):
        Shards(two[0], MEL)


@pytest.mark.parametrize("half", [False, True])
def test_spools_give_back_what_they_were_given(half: bool, tmp_path: Path) -> None:
    """What was piped in would be trained on in other numbers, or in another order."""
    column = Column("mel", "tensor", "feature", {"hop": 256}, (4, 6), half=half)
    parts = [table(0, 5, column)["mel"][2:], table(5, 3, column)["mel"][2:]]
    whole = np.concatenate(parts)
    spool, array = Spool(column, str(tmp_path)), ArraySpool(column, str(tmp_path))
    for part in parts:
        spool.write(part)
        array.write(part)
    shards = spool.finish()
    groups = [shards.row_group(i) for i in range(len(shards.offsets) - 1)]
    np.testing.assert_array_equal(np.concatenate(groups).astype(np.float32), whole)
    mapped = array.finish()
    assert mapped.dtype == groups[0].dtype == (np.float16 if half else np.float32)
    np.testing.assert_array_equal(mapped.astype(np.float32), whole)
    assert not os.listdir(tmp_path)


def test_row_groups_of_a_spool_stay_small(tmp_path: Path) -> None:
    """Batches of 256 large rows would make row groups of hundreds of MiB."""
    column = Column("mel", "tensor", "feature", {}, (128, 1024))
    spool = Spool(column, str(tmp_path))
    spool.write(np.zeros((100, 128, 1024), np.float32))
    shards = spool.finish()
    assert shards.largest * row_bytes(column) <= ROW_GROUP_BYTES
    assert len(shards) == 100


def test_a_full_disk_is_one_line(small_disk: Path) -> None:
    """A spool that fills /tmp would end in a traceback that names no remedy."""
    column = Column("mel", "tensor", "feature", {}, (512, 1024))
    noise = np.random.default_rng(0).normal(size=(2, 512, 1024)).astype(np.float32)
    array = ArraySpool(column, str(small_disk))
    with pytest.raises(RunError, match="TMPDIR"):
        array.write(noise)
        array.finish()


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_a_killed_run_leaves_no_spool(signal: str, tmp_path: Path) -> None:
    """Every killed training would leave its features on the disk for ever."""
    script = """
        import os, signal, sys
        import numpy as np
        from mt_tools.tables.columns import Column
        from mt_tools.tables.shards import ArraySpool, Spool
        column = Column("mel", "tensor", "feature", {}, (512, 1024))
        for made in (Spool(column, sys.argv[1]), ArraySpool(column, sys.argv[1])):
            made.write(np.ones((9, 512, 1024), np.float32))
            made.finish()
        assert os.statvfs(sys.argv[1])
        os.kill(os.getpid(), getattr(signal, "SIG" + sys.argv[2]))
    """
    code = textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), signal], capture_output=True)
    assert done.returncode < 0, done.stderr.decode()
    assert not os.listdir(tmp_path)


def test_rows_of_light_sources_keep_unique_ids(two: tuple[list[str], list[Batch]]) -> None:
    """One id in two files would be two rows of one name."""
    twice = Shards([two[0][0], two[0][0]], MEL).light()
    assert isinstance(twice, Source)
    with pytest.raises(RunError, match="stands twice"):
        list(twice)

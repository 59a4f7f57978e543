"""Features in bytes: how far they are off, and who can read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.errors import UsageError
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.levels import Levels
from mt_tools.tables.shards import ArraySpool, Shards, Spool
from mt_tools.tables.sink import to_file
from mt_tools.tables.source import Source, open_table

LEVELS = Levels.between(-80.0, 0.0)
MEL = Column("mel", "tensor", "feature", {"kind": "mel"}, (4, 6), levels=LEVELS)


def rows(count: int, seed: int = 0) -> np.ndarray:
    """Return decibels [count, 4, 6]."""
    return np.random.default_rng(seed).uniform(-80, 0, (count, 4, 6)).astype(np.float32)


def table(values: np.ndarray, column: Column = MEL, first: int = 0) -> Batch:
    """Return rows with these features."""
    ids = [f"t{first + number}" for number in range(len(values))]
    return Batch.build([reserved("id"), column], {"id": ids, "mel": values})


def write(path: Path, batch: Batch) -> str:
    """Write a table file."""
    writer = to_file(str(path), None)([])
    writer.write(batch)
    writer.finish(len(batch), 0)
    return str(path)


@given(low=st.floats(-1e4, 1e4), span=st.floats(1e-2, 1e4), seed=st.integers(0, 99))
def test_the_error_is_at_most_half_a_level(low: float, span: float, seed: int) -> None:
    """Features would be further off than the documentation says."""
    span = max(span, abs(low) / 100)  # where float32 tells the levels apart
    levels = Levels.between(low, low + span)
    x = np.random.default_rng(seed).uniform(low, low + span, 1000).astype(np.float32)
    x = np.clip(x, np.float32(low), np.float32(low + span))
    coded = levels.encode(x)
    assert coded.dtype == np.uint8
    off = np.abs(levels.decode(coded).astype(np.float64) - x)
    rounding = 4 * np.spacing(np.float32(abs(low) + span))  # of float32, far from 0
    assert off.max() <= levels.scale / 2 + rounding
    # What went through a second time stays as it is.
    np.testing.assert_array_equal(levels.encode(levels.decode(coded)), coded)


def test_what_lies_outside_is_clipped_and_counted() -> None:
    """Features beyond the range would wrap around, or be lost without a word."""
    x = np.array([-1000, -80.2, -80.1, -40, 0, 0.1, 0.2, 1000, np.nan], np.float32)
    assert LEVELS.encode(x[:8]).tolist() == [0, 0, 0, 128, 255, 255, 255, 255]
    assert LEVELS.outside(x) == 4  # half a level is 0.157
    assert LEVELS.high == 0.0
    for low, high in ((0, 0), (1, -1), (0, np.inf)):
        with pytest.raises(UsageError, match="low then high"):
            Levels.between(low, high)


@pytest.mark.parametrize("ending", ["parquet", "arrow", "npz"])
def test_other_programs_see_bytes_and_how_to_undo_them(tmp_path: Path, ending: str) -> None:
    """Someone with pandas or numpy alone could not use the features."""
    values = rows(3)
    values[1] = np.nan
    path = write(tmp_path / f"t.{ending}", table(values))
    if ending == "npz":
        with np.load(path, allow_pickle=False) as arrays:
            coded, (scale, offset) = arrays["mel"], arrays["mel__levels"]
            assert arrays["mel__null"].tolist() == [False, True, False]
        assert coded.dtype == np.uint8
        found = coded[[0, 2]]
    else:
        read = pq.read_table(path) if ending == "parquet" else pa.ipc.open_file(path).read_all()
        field = read.schema.field("mel")
        assert field.type == pa.fixed_shape_tensor(pa.uint8(), [4, 6])
        said = json.loads(field.metadata[b"mt.levels"])
        scale, offset = said["scale"], said["offset"]
        storage = read.column("mel").combine_chunks().storage
        assert storage.is_null().to_pylist() == [False, True, False]
        found = np.array([storage[0].as_py(), storage[2].as_py()], np.uint8).reshape(2, 4, 6)
    np.testing.assert_allclose(offset + scale * found.astype(float), values[[0, 2]], atol=0.158)


@pytest.mark.parametrize("ending", ["parquet", "arrow", "npz", "arrows"])
def test_our_own_readers_see_floats(tmp_path: Path, ending: str) -> None:
    """A network would be trained on numbers from 0 to 255."""
    values = rows(3)
    values[1] = np.nan
    name = tmp_path / f"t.{'arrow' if ending == 'arrows' else ending}"
    (batch,) = Source([open_table(write(name, table(values)))])
    assert batch.columns["mel"] == MEL
    assert batch["mel"].dtype == np.float32
    assert np.isnan(batch["mel"][1]).all()
    np.testing.assert_allclose(batch["mel"][[0, 2]], values[[0, 2]], atol=0.158)
    np.testing.assert_array_equal(batch.take([2, 0])["mel"], batch["mel"][[2, 0]])


def test_bytes_are_not_written_as_floats_are(tmp_path: Path) -> None:
    """Parquet would refuse to split the bytes of a byte, or take four of them for one."""
    path = write(tmp_path / "t.parquet", table(rows(64)))
    leaf = pq.ParquetFile(path).metadata.row_group(0).column(1)
    assert leaf.path_in_schema == "mel.list.element"
    assert "BYTE_STREAM_SPLIT" not in leaf.encodings
    # A byte a value, the dictionary of 256 values of four bytes, and the places of rows.
    assert leaf.total_uncompressed_size < 64 * 24 + 256 * 4 + 64 * 16


def test_tables_of_other_levels_are_joined_as_floats(tmp_path: Path) -> None:
    """Shards that were stored otherwise could not be joined, or would mix up their numbers."""
    columns = [
        MEL,
        Column("mel", "tensor", "feature", MEL.settings, (4, 6), levels=Levels.between(-100, 20)),
        Column("mel", "tensor", "feature", MEL.settings, (4, 6), half=True),
        Column("mel", "tensor", "feature", MEL.settings, (4, 6)),
    ]
    values = [rows(2, seed) for seed in range(4)]
    paths = [
        write(tmp_path / f"{number}.parquet", table(values[number], column, 2 * number))
        for number, column in enumerate(columns)
    ]
    both = Source([open_table(path) for path in paths])
    assert both.columns["mel"].levels is None
    assert not both.columns["mel"].half
    found = np.concatenate([batch["mel"] for batch in both])
    np.testing.assert_allclose(found, np.concatenate(values), atol=0.24)
    same = Source([open_table(paths[0])]).columns["mel"]
    assert same.levels == LEVELS


def test_large_tables_of_bytes_are_read_as_floats(tmp_path: Path) -> None:
    """Training from a table larger than memory would learn from numbers from 0 to 255."""
    values = rows(5)
    path = write(tmp_path / "t.parquet", table(values))
    found = Shards([path], MEL).row_group(0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, values, atol=0.158)
    spool, array = Spool(MEL, str(tmp_path)), ArraySpool(MEL, str(tmp_path))
    for made in (spool, array):
        made.write(found)
    np.testing.assert_array_equal(spool.finish().row_group(0), found)
    np.testing.assert_array_equal(array.finish(), found)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_is_not_finite_is_refused(value: float) -> None:
    """A NaN in a row would become the lowest level."""
    values: Any = rows(2)
    values[1, 2, 3] = value
    with pytest.raises(UsageError, match="not finite, which uint8 cannot hold: use --dtype"):
        table(values)


def test_bytes_of_others_are_numbers_of_their_own(tmp_path: Path) -> None:
    """A tensor of bytes from another program would be scaled, or be refused on writing."""
    type_ = pa.fixed_shape_tensor(pa.uint8(), [2, 2])
    storage = pa.array([[1, 2, 3, 255]], pa.list_(pa.uint8(), 4))
    foreign = pa.table({"id": ["a"], "mel": pa.ExtensionArray.from_storage(type_, storage)})
    pq.write_table(foreign, tmp_path / "f.parquet")
    (batch,) = Source([open_table(str(tmp_path / "f.parquet"))])
    assert batch.columns["mel"].levels is None
    assert batch["mel"].tolist() == [[[1.0, 2.0], [3.0, 255.0]]]
    (again,) = Source([open_table(write(tmp_path / "again.parquet", batch))])
    assert again["mel"].tolist() == batch["mel"].tolist()

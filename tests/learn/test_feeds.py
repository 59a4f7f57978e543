"""Feeds: which examples come, in which order, and how much memory that takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mt_tools.errors import NoRows, UsageError
from mt_tools.features.presets import preset
from mt_tools.features.settings import FeatureSettings
from mt_tools.learn.augment import Augment, masks_of
from mt_tools.learn.feeds import (
    ArrayFeed,
    Feed,
    SequenceFeed,
    ShardFeed,
    crop_frames,
    cropped,
    disagreeing,
    join_sequences,
    memory_limit,
    open_feed,
)
from mt_tools.learn.settings import FeedSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, guess_role, reserved
from mt_tools.tables.parquet import ParquetWriter
from mt_tools.tables.shards import Shards, Spool, shards_of
from mt_tools.tables.stream import StreamWriter

SHAPE = (3, 20)
IDS = [f"a/{number}.mp3" for number in range(40)]
MEL = Column("mel", "tensor", "feature", FeatureSettings(hop=100).to_json(), SHAPE)


def numbered(rows: int = 40, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return examples whose every value says which row, band and frame it is."""
    return np.arange(rows * int(np.prod(shape)), dtype=np.float32).reshape(rows, *shape)


def spooled(inputs: np.ndarray, group: int) -> Shards:
    """Return the examples as shards with row groups of `group` rows."""
    column = Column("mel", "tensor", "feature", {}, inputs.shape[1:])
    spool = Spool(column)
    spool._rows = group
    spool._writer.write = _flushing(spool._writer)  # type: ignore[method-assign]
    spool.write(inputs)
    return spool.finish()


def _flushing(writer: ParquetWriter) -> Any:
    write = writer.write

    def flush(batch: Batch) -> None:
        write(batch)
        writer._flush()

    return flush


def feed_of(kind: str, **options: Any) -> Feed:
    """Return a feed of the numbered rows, of one kind."""
    inputs = numbered()
    if kind == "array":
        return ArrayFeed(inputs, 1, **options)
    if kind == "half":
        return ArrayFeed(inputs.astype(np.float16), 1, **options)
    if kind == "sequence":
        songs = [np.array([row]) for row in range(40)]
        return SequenceFeed(inputs, songs, 1, **options)
    return ShardFeed(spooled(inputs, 7), 1, buffer=12, **options)


def values_of(kind: str, rows: Any) -> np.ndarray:
    """Return what a feed of this kind should give for rows, [n, bands, frames]."""
    values = numbered()[rows]
    return values.astype(np.float16) if kind == "half" else values


KINDS = ["array", "half", "shards", "sequence"]
Epoch = list[tuple[list[int], list[torch.Tensor]]]


def epoch_of(feed: Feed, number: int = 1, rows: Any = None, size: int = 8, **options: Any) -> Epoch:
    """Return the batches of an epoch over `rows`, all where None is said."""
    rows = np.arange(len(feed)) if rows is None else np.asarray(rows)
    return [(r.tolist(), x) for r, x in feed.train(rows, number, size, **options)]


# --- what every feed of rows promises -------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [33, 24, 7])
def test_an_epoch_has_every_row_once(kind: str, count: int) -> None:
    """Rows would be learned twice or never, or a last row alone would stop batch norm."""
    feed = feed_of(kind)
    rows = np.arange(40)[::-1][:count]
    batches = epoch_of(feed, rows=rows)
    assert sorted(row for numbers, _ in batches for row in numbers) == sorted(rows.tolist())
    assert [len(r) for r, _ in batches] == {33: [8, 8, 8, 9], 24: [8, 8, 8], 7: [7]}[count]
    assert feed.steps(rows, 8) == len(batches)
    for numbers, (x,) in batches:
        assert x.dtype == torch.float32
        assert x.device.type == "cpu"
        np.testing.assert_array_equal(x.numpy().reshape(-1, *SHAPE), values_of(kind, numbers))


@pytest.mark.parametrize("kind", KINDS)
def test_skipped_batches_leave_the_others_as_they_were(kind: str) -> None:
    """A resumed training would see other examples than the one that was killed."""
    options = {} if kind == "sequence" else {"crop": 6}
    feed = feed_of(kind, **options)
    whole = epoch_of(feed, 3, views=2)
    for skip in (1, 3, 5, 6):
        rest = epoch_of(feed_of(kind, **options), 3, views=2, skip=skip)
        assert [r for r, _ in rest] == [r for r, _ in whole[skip:]]
        for (_, a), (_, b) in zip(rest, whole[skip:], strict=True):
            assert all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_and_seeds_differ_and_runs_do_not(kind: str) -> None:
    """The same order in every epoch learns worse; another order in each run cannot be repeated."""
    first, again = (epoch_of(feed_of(kind), 1) for _ in range(2))
    assert [r for r, _ in first] == [r for r, _ in again]
    assert [r for r, _ in first] != [r for r, _ in epoch_of(feed_of(kind), 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_reading_keeps_the_order(kind: str) -> None:
    """Predictions would stand beside the wrong rows."""
    feed = feed_of(kind)
    rows = np.array([39, 0, 8, 7, 6, 20, 21])
    found = list(feed.read(rows, 3))
    assert [len(r) for r, _ in found] == [3, 3, 1]
    assert np.concatenate([r for r, _ in found]).tolist() == rows.tolist()
    for numbers, x in found:
        np.testing.assert_array_equal(x.numpy().reshape(-1, *SHAPE), values_of(kind, numbers))
    assert list(feed.read(np.array([], dtype=int), 3)) == []


@pytest.mark.parametrize("kind", ["array", "shards"])
def test_crops_are_runs_of_frames_and_differ_between_views_and_epochs(kind: str) -> None:
    """A network would see one part of each track for ever, or frames of two parts mixed."""
    feed = feed_of(kind, crop=6)
    assert feed.example_shape == (3, 6)
    assert feed.random_crops
    seen: dict[int, set[int]] = {row: set() for row in range(40)}
    differ = 0
    for number in range(1, 21):
        for rows, (a, b) in epoch_of(feed, number, views=2):
            differ += sum(not torch.equal(x, y) for x, y in zip(a, b, strict=True))
            for row, x in zip(rows * 2, [*a.numpy(), *b.numpy()], strict=True):
                start = int(x[0, 0]) - row * 60
                seen[row].add(start)
                np.testing.assert_array_equal(x, numbered()[row][:, start : start + 6])
    # 40 draws out of 15 places: 15 (14/15)^40 = 0.9 places are missed on average.
    assert all(len(starts) >= 9 for starts in seen.values())
    assert set.union(*seen.values()) == set(range(15))
    assert differ > 0.8 * 800  # 1/15 coincide by chance


@pytest.mark.parametrize("kind", ["array", "shards"])
def test_crops_are_read_as_consecutive_slices(kind: str) -> None:
    """A track's prediction would be the average over overlapping or missing parts of it."""
    feed = feed_of(kind, crop=6)
    found = list(feed.read(np.array([4, 30, 31]), 4))
    assert [r.tolist() for r, _ in found] == [[4, 4, 4, 30], [30, 30, 31, 31], [31]]
    x = torch.cat([x for _, x in found]).numpy()
    for place, row in enumerate([4, 30, 31]):
        joined = np.concatenate(x[3 * place : 3 * place + 3], axis=-1)
        np.testing.assert_array_equal(joined, numbered()[row][:, :18])  # the tail of 2 is dropped


def test_a_row_is_cropped_alike_in_any_table_and_batch() -> None:
    """Sorting a table or another batch size would change what is learned from each track."""
    rows = np.random.default_rng(0).permutation(40)
    inputs = numbered()
    one = ArrayFeed(inputs, 5, 6, names=IDS)
    other = ArrayFeed(inputs[rows], 5, 6, names=[IDS[row] for row in rows])
    a = {r: x for numbers, (xs,) in epoch_of(one) for r, x in zip(numbers, xs, strict=True)}
    b = epoch_of(other, size=13)
    assert [rows[n] for numbers, _ in b for n in numbers] == list(a)
    for numbers, (xs,) in b:
        for number, x in zip(numbers, xs, strict=True):
            assert torch.equal(x, a[rows[number]])


def test_masks_come_with_an_epoch_and_not_without() -> None:
    """Validation would be scored on covered spectrograms, or training have none covered."""
    feed = ArrayFeed(numbered() ** 2, 0, augment=Augment(always=masks_of("2,8")), names=IDS)
    ((rows, (x,)), *_) = epoch_of(feed)
    numbers = np.array(rows)
    assert feed.prepare(x, numbers, None) is x
    first, again = (feed.prepare(x, numbers, 1) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, x)
    assert not torch.equal(first, feed.prepare(x, numbers, 2))
    assert not torch.equal(first, feed.prepare(x, numbers, 1, view=1))


def test_another_seed_draws_all_anew() -> None:
    """Repeats of a training would share their order, crops or masks, and look steadier."""
    first = ArrayFeed(numbered() ** 2, 0, 6, IDS, Augment(always=masks_of("2,4")))
    made = ArrayFeed(numbered() ** 2, 9, 6, IDS, Augment(always=masks_of("2,4"), seed=9))
    before, other = epoch_of(first), first.reseeded(9)
    assert [rows for rows, _ in epoch_of(other)] != [rows for rows, _ in before]
    pairs = list(zip(epoch_of(other), epoch_of(made), strict=True))
    for (rows, (x,)), (expected, (y,)) in pairs:
        assert rows == expected
        assert torch.equal(x, y)
        numbers = np.array(rows)
        masked = other.prepare(x, numbers, 1)
        assert torch.equal(masked, made.prepare(y, numbers, 1))
        assert not torch.equal(masked, first.prepare(x, numbers, 1))
    assert [rows for rows, _ in epoch_of(first)] == [rows for rows, _ in before]


def test_vectors_are_whole_and_cannot_be_cropped() -> None:
    """An embedding cut in pieces would be learned from as if it had frames."""
    feed = ArrayFeed(numbered(40, (5,)))
    assert feed.example_shape == (5,)
    assert not feed.random_crops
    with pytest.raises(UsageError, match="vector of 5"):
        ArrayFeed(numbered(40, (5,)), crop=2)
    with pytest.raises(UsageError, match="21 frames, and a row has 20"):
        ArrayFeed(numbered(), crop=21)
    with pytest.raises(UsageError, match="features or audio"):
        ArrayFeed(numbered(40, (5,)), augment=Augment(always=masks_of("1,1")))


# --- tables larger than memory --------------------------------------------------------------------


def test_shards_are_shuffled_beyond_their_row_groups() -> None:
    """Tables are sorted by artist: batches of neighbours alone would teach one artist at a time.

    A fair shuffle of 4,000 rows moves a row by a third of them on average and correlates order
    and place by 0 +- 1/sqrt(4000); 64 groups of 62 rows through a buffer of 500 come close.
    """
    feed = ShardFeed(spooled(numbered(4000, (2,)), 62), 0, buffer=500)
    rows = np.arange(4000)
    groups, order = feed.order(rows, 1)
    np.testing.assert_array_equal(np.sort(order), rows)
    assert len(groups) == 65
    assert groups != sorted(groups)
    assert abs(np.corrcoef(order, rows)[0, 1]) < 0.4  # 65 groups: four times 1/sqrt(65) is .5
    in_batch = [len({row // 62 for row in order[i : i + 32]}) for i in range(0, 3968, 32)]
    # A buffer of 500 rows holds eight groups; a batch of 32 out of it meets about seven.
    assert np.mean(in_batch) > 6
    assert (np.diff(order) == 1).mean() < 0.02


def test_a_subset_of_shards_reads_only_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the rows, or the last batches of an epoch, would cost a pass over the table."""
    shards = spooled(numbered(), 4)
    loaded: list[int] = []
    read = shards.row_group

    def counted(index: int) -> np.ndarray:
        loaded.append(index)
        return read(index)

    monkeypatch.setattr(shards, "row_group", counted)
    feed = ShardFeed(shards, 0, buffer=4)
    epoch_of(feed, rows=[0, 1, 2, 36, 37, 39], size=2)
    assert sorted(loaded) == [0, 9]
    loaded.clear()
    rest = epoch_of(feed, skip=4)
    assert len(loaded) == len(set(loaded)) <= 4
    assert sum(len(r) for r, _ in rest) == 8
    loaded.clear()
    list(feed.read(np.arange(40), 7))
    assert loaded == list(range(10))


def test_rows_of_shards_may_be_some_of_them() -> None:
    """Rows without features, or of another `--shard`, would shift all labels after them."""
    kept = np.array([0, 3, 4, 17, 30, 39])
    feed = ShardFeed(spooled(numbered(), 7), 0, rows=kept)
    assert len(feed) == 6
    for numbers, (x,) in epoch_of(feed, size=2):
        np.testing.assert_array_equal(x.numpy(), numbered()[kept[numbers]])
    (found,) = feed.read(np.array([5, 1]), 8)
    np.testing.assert_array_equal(found[1].numpy(), numbered()[[39, 3]])


def test_a_reader_that_stops_leaves_no_thread() -> None:
    """A training that ends early would hang, or leak a thread an epoch."""
    import threading

    feed = feed_of("shards")
    for _ in range(3):
        next(iter(feed.train(np.arange(40), 1, 8)))
    batches = feed.train(np.arange(40), 1, 8)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("mt-feed")]


MEMORY = """
import sys
import numpy as np
from mt_tools.learn.feeds import ShardFeed, open_feed
from mt_tools.learn.settings import FeedSettings
from mt_tools.tables.shards import shards_of
from mt_tools.tables.source import Source, open_table

def now(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

try:
    import pandas  # pyarrow imports it when it first converts, where it is installed
except ImportError:
    pass

source = Source([open_table(sys.argv[1])])
column, limit = source.columns["mel"], 8 << 20
shards = shards_of(sys.argv[1:], column, limit)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak so far, of imports, is forgotten
before, rows, sums = now("VmRSS"), 0, 0.0
feed = open_feed(
    source if shards is None else shards.light(), column, [], FeedSettings(buffer=64),
    shards=shards, limit=limit, say=lambda note: None,
).feed
assert isinstance(feed, ShardFeed)
for numbers, (x,) in feed.train(np.arange(len(feed)), 1, 32):
    rows += len(numbers)
    sums += float(x[:, 0, 0].sum())
for numbers, x in feed.read(np.arange(len(feed)), 32):
    rows += len(numbers)
print(rows, int(sums), now("VmHWM") - before)
"""


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK),
    reason="getrusage counts the imports, and the parent: only Linux can forget them",
)
@pytest.mark.parametrize(
    ("ending", "rows", "bound"), [("parquet", 1280, 96), ("arrows", 2560, 256)]
)
def test_memory_is_bounded_by_the_buffer_and_not_the_table(
    ending: str, rows: int, bound: int, tmp_path: Path
) -> None:
    """A table larger than memory would fill it, and the machine stop answering.

    1,280 rows of 128 KiB are 160 MiB, 20 times the limit and the buffer of 64 rows, which are 8 MiB
    each. Beside the buffer stand some row groups of 2 MiB (compressed, decoded, copied), batches of
    4 MiB and what Arrow and the allocator keep: 96 MiB is the bound, whatever the size of the
    table. A stream, here of 320 MiB, is spooled in row groups of 16 MiB, and has 256 MiB.
    """
    shape = (64, 512)
    column = Column("mel", "tensor", "feature", {}, shape)
    path = tmp_path / f"mel.{ending}"
    with path.open("wb") as file:
        writer = (ParquetWriter if ending == "parquet" else StreamWriter)(file, [])
        rng = np.random.default_rng(0)
        for first in range(0, rows, 16):
            mel = np.broadcast_to(rng.normal(size=(1, 1, 512)), (16, *shape)).copy()
            mel[:, 0, 0] = np.arange(first, first + 16)
            ids = [f"t{row}" for row in range(first, first + 16)]
            writer.write(Batch.build([reserved("id"), column], {"id": ids, "mel": mel}))
            if isinstance(writer, ParquetWriter):
                writer._flush()
        writer.finish(rows, 0)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True
    )
    count, total, grown = map(int, done.stdout.split())
    assert count == 2 * rows
    assert total == rows * (rows - 1) // 2
    assert grown < bound << 20


# --- songs of many parts --------------------------------------------------------------------------


def song_table(**more: Any) -> Batch:
    """Return seven parts of three songs, out of order, and one copy of a song."""
    values = {
        "id": ["x@30", "y@0", "x@0", "x#pitch=+2@0", "z", "x@60", "y@30"],
        "origin": ["x", "y", "x", "x", None, "x", "y"],
        "recipe": [None, None, None, "pitch=+2", None, None, None],
        "start": [30.0, 0.0, 0.0, 0.0, None, 60.0, 30.0],
        "style": ["a", "b", "c", "a", None, "a", "b"],
    } | more
    columns = [
        reserved(name) if name in ("id", "origin", "recipe", "start")
        else Column(name, "string", guess_role(name, "string"))
        for name in values
    ]  # fmt: skip
    return Batch.build(columns, values)


def test_parts_of_a_song_are_joined_in_time() -> None:
    """An LSTM would hear the parts of a song shuffled, or those of two versions as one."""
    songs = join_sequences(song_table())
    assert [song.tolist() for song in songs] == [[2, 0, 5], [1, 6], [3], [4]]


def test_labels_that_disagree_inside_a_song_are_named() -> None:
    """A song would silently be learned as the style of its first part."""
    table = song_table()
    assert disagreeing(table, join_sequences(table), ["style", "recipe"]) == {"style": ["x@0"]}


def test_songs_are_filled_up_with_nan() -> None:
    """Silence in place of missing parts would be heard as music."""
    inputs = numbered(7)
    songs = [np.array([2, 0, 5]), np.array([1, 6]), np.array([3]), np.array([4])]
    feed = SequenceFeed(inputs, songs, 0, names="xyzw")
    assert len(feed) == 4
    assert feed.example_shape == SHAPE
    assert not feed.random_crops
    ((rows, x),) = feed.read(np.array([1, 0, 3]), 8)
    assert rows.tolist() == [1, 0, 3]
    assert x.shape == (3, 3, *SHAPE)
    np.testing.assert_array_equal(x[1].numpy(), inputs[[2, 0, 5]])
    np.testing.assert_array_equal(x[0, :2].numpy(), inputs[[1, 6]])
    assert x[0, 2].isnan().all()
    assert x[2, 1:].isnan().all()
    ((_, short),) = feed.read(np.array([3]), 8)
    assert short.shape == (1, 1, *SHAPE)


# --- from a table to its feed ---------------------------------------------------------------------


def feature_table(first: int, rows: int, missing: int | None = None) -> Batch:
    """Return rows of the numbered examples, one of them perhaps without."""
    mel = numbered()[first : first + rows].copy()
    if missing is not None:
        mel[missing, 0, 0] = np.nan
    ids = IDS[first : first + rows]
    columns = [reserved("id"), reserved("group"), Column("style", "string"), MEL]
    values = {"id": ids, "group": [i[2] for i in ids], "style": ["a"] * rows, "mel": mel}
    return Batch.build(columns, values)


def batches() -> Iterator[Batch]:
    """Return 40 rows in three batches; rows 2 and 25 have no finite features."""
    return iter([feature_table(0, 10, 2), feature_table(10, 10), feature_table(20, 20, 5)])


GOOD = [row for row in range(40) if row not in (2, 25)]


def check_opened(feed: Feed, table: Batch, notes: list[str]) -> None:
    """Check that all rows but two came, with their own features and columns."""
    assert table.names == ["id", "style"]
    assert table.ids.tolist() == [IDS[row] for row in GOOD]
    assert notes[0] == "2 rows have no mel and are left out"
    found = list(feed.read(np.arange(38), 7))
    assert np.concatenate([r for r, _ in found]).tolist() == list(range(38))
    np.testing.assert_array_equal(torch.cat([x for _, x in found]).numpy(), numbered()[GOOD])


def test_a_table_that_fits_is_held_and_a_larger_one_is_not(tmp_path: Path) -> None:
    """A large table through a pipe would fill the memory; labels would shift beside features."""
    digests = set()
    for limit, kind in ((1 << 20, ArrayFeed), (6000, ShardFeed), (1, ShardFeed)):
        notes: list[str] = []
        made = open_feed(
            batches(), MEL, ["style"], FeedSettings(), limit=limit, folder=str(tmp_path),
            say=notes.append,
        )  # fmt: skip
        assert type(made.feed) is kind
        check_opened(made.feed, made.table, notes)
        assert made.settings == MEL.settings
        digests.add(made.digest)
    assert len(digests) == 1


def test_parquet_larger_than_memory_is_read_where_it_lies(tmp_path: Path) -> None:
    """Tables of hundreds of gigabytes would be copied before each training."""
    paths = [str(tmp_path / f"{i}.parquet") for i in range(3)]
    for path, batch in zip(paths, batches(), strict=True):
        with open(path, "wb") as file:
            writer = ParquetWriter(file, [])
            writer.write(batch)
            writer.finish(0, 0)
    shards = shards_of(paths, MEL, 1)
    assert shards is not None
    notes: list[str] = []
    made = open_feed(
        shards.light(), MEL, ["style"], FeedSettings(), shards=shards, say=notes.append
    )
    assert type(made.feed) is ShardFeed
    check_opened(made.feed, made.table, notes)
    held = open_feed(batches(), MEL, ["style"], FeedSettings(), say=notes.append)
    assert made.digest == held.digest
    # As the rows of --shard 1/2 would come.
    some = (batch.take([0, 3, 5]) for batch in shards.light())
    made = open_feed(some, MEL, [], FeedSettings(), shards=shards, say=notes.append)
    assert made.table.ids.tolist() == [IDS[row] for row in (0, 3, 5, 10, 13, 15, 20, 23)]
    ((_, x),) = made.feed.read(np.arange(8), 9)
    np.testing.assert_array_equal(x.numpy(), numbered()[[0, 3, 5, 10, 13, 15, 20, 23]])


@pytest.mark.parametrize("limit", [1 << 20, 1])
def test_songs_are_joined_in_memory_or_mapped(limit: int, tmp_path: Path) -> None:
    """A table of songs larger than memory could not be trained on, or in a wrong order."""
    mel = numbered(7)
    column = Column("mel", "tensor", "feature", {}, SHAPE)
    table = song_table().append(column, mel)
    notes: list[str] = []
    made = open_feed(
        [table.take(range(4)), table.take(range(4, 7))], column, [], FeedSettings(),
        labels=["style"], sequence=True, limit=limit, folder=str(tmp_path), say=notes.append,
    )  # fmt: skip
    assert made.table.ids.tolist() == ["x@0", "y@0", "x#pitch=+2@0", "z"]
    assert notes == [
        "style: the parts of 1 songs disagree, and the first part's label is taken (x@0)"
    ]
    ((_, x),) = made.feed.read(np.array([0]), 2)
    np.testing.assert_array_equal(x[0].numpy(), mel[[2, 0, 5]])
    with pytest.raises(UsageError, match="songs of all parts"):
        open_feed([table], column, [], FeedSettings(crop=1.0), sequence=True, say=notes.append)


def test_nothing_to_learn_from_is_said() -> None:
    """An empty table would end in a traceback."""
    say: list[str] = []
    with pytest.raises(NoRows):
        open_feed([], MEL, [], FeedSettings(), say=say.append)
    with pytest.raises(UsageError, match="none of 1 rows has a mel"):
        open_feed([feature_table(0, 1, 0)], MEL, [], FeedSettings(), say=say.append)


def test_a_crop_in_seconds_is_stored_as_segments() -> None:
    """The trained model would be applied to whole tracks instead of parts like its crops."""
    made = open_feed(batches(), MEL, [], FeedSettings(crop=0.05), say=lambda text: None)
    # 0.05 s at 22,050 Hz are 1,102 samples; centred frames come every 100 from 0 to 1,100.
    assert made.feed.example_shape == (3, 12)
    assert made.settings["excerpt"] == "segment:0.05"
    assert made.settings["frames"] == 12
    vector = Column("embedding", "vector", "embedding", {}, (4,))
    with pytest.raises(UsageError, match="one vector a row"):
        open_feed([], vector, [], FeedSettings(crop=1.0), say=lambda text: None)
    unknown = Column("mel", "tensor", "feature", {}, SHAPE)
    with pytest.raises(UsageError, match="--assume"):
        open_feed([], unknown, [], FeedSettings(crop=1.0), say=lambda text: None)


def test_crops_are_as_long_as_the_studies_say() -> None:
    """A network built for the study's crop would not fit the model's segments."""
    agf, rep = preset("agf"), preset("rep")
    assert crop_frames(agf, 1.0) == 43  # Table 2, one less than 1 s gives centred
    assert crop_frames(rep, 2.5) == 216  # section 3.1.1
    whole = preset("reg")
    assert crop_frames(whole, 30.0) == 6616
    assert cropped(whole, 2.0).excerpt == "segment:2"
    assert cropped(whole, 2.0).frames == 442
    assert not cropped(whole, 2.0).compatible(whole)


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="only Linux says it there")
def test_the_limit_is_a_part_of_the_memory() -> None:
    """A table that fits into memory alone would leave no room for the training."""
    with open("/proc/meminfo") as file:
        total = int(file.readline().split()[1]) * 1024
    assert 0 < memory_limit() <= total // 4 + 4096

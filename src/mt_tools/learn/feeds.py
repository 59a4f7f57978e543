"""Feeds: where the examples of a training come from, batch by batch.

Goal: one form for vectors, features in memory, feature tables larger than memory, songs of many
parts and sound (`stages.waves`), so that the training loop knows none of them.

Conventions: rows are numbered as in the table. A training epoch passes its rows in a drawn order
with random crops and masks; reading passes them in order, without any draw, cut into consecutive
slices as long as a crop, whose tail is dropped. Draws are by the row's name (`learn.draws`).
Batches are float32 tensors on the CPU; `prepare` is called when they are on the device.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mt_tools.errors import NoRows, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.learn import draws
from mt_tools.learn.augment import Augment, Mixing, augment_of
from mt_tools.learn.settings import FeedSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tables.shards import ROW, ArraySpool, Shards, Spool

Rows = NDArray[np.intp]
Item = TypeVar("Item")
Made = TypeVar("Made")


class Feed(Protocol):
    """What the training loop asks of the source of its examples.

    `example_shape` is what a network is built for; `random_crops` says whether two views of a row
    differ; `mixes` whether rows are mixed with one another; `drawing` are the options, beside seed
    and shape, that decide what an epoch draws.
    """

    example_shape: tuple[int, ...]
    random_crops: bool
    mixes: bool
    drawing: dict[str, Any]

    def __len__(self) -> int:
        """Return the number of rows."""

    def steps(self, rows: Rows, batch_size: int) -> int:
        """Return the number of batches that an epoch over `rows` has."""

    def train(
        self, rows: Rows, epoch: int, batch_size: int, views: int = 1, skip: int = 0
    ) -> Iterator[tuple[Rows, list[Tensor]]]:
        """Yield (row numbers [m], views of them, each [m, ...]) in the order of this epoch.

        A last batch of one row joins the one before. With `skip` the first so many batches are
        left out and the others are the same as without.
        """

    def read(self, rows: Rows, batch_size: int) -> Iterator[tuple[Rows, Tensor]]:
        """Yield (row numbers [m], examples [m, ...]) in the order of `rows`, nothing drawn.

        A row of several slices comes as often; a row that cannot be read does not come.
        """

    def mixing(self, rows: Rows, epoch: int) -> Mixing | None:
        """Return whom the rows of a batch are mixed with in this epoch; None where none is."""

    def prepare(
        self,
        x: Tensor,
        rows: Rows,
        epoch: int | None,
        view: int = 0,
        partners: NDArray[np.intp] | None = None,
    ) -> Tensor:
        """Return what the network takes of the examples `x` of `rows`, which are on the device.

        `epoch` None means without augmentation. `view` tells the draws of several views apart.
        Where rows are mixed `partners` are the places in `x` of those that each is mixed with, and
        `x` may hold more examples than there are rows, behind theirs.
        """

    def reseeded(self, seed: int) -> Feed:
        """Return the same feed with the draws of another seed."""


class RowFeed:
    """What feeds of one row an example have in common: names, order and augmentation."""

    def __init__(
        self,
        rows: int,
        shape: tuple[int, ...],
        seed: int,
        names: Iterable[str] | None,
        augment: Augment | None,
    ) -> None:
        self.keys = draws.keys_of(range(rows) if names is None else names)
        if len(self.keys) != rows:
            raise ValueError(f"got {len(self.keys)} names for {rows} rows")
        self.example_shape = tuple(shape)
        self.seed = seed
        self._augment = augment or Augment()
        self._augment.check(self.example_shape)
        self.mixes = self._augment.mixes
        self.drawing = dict(self._augment.said)

    def __len__(self) -> int:
        return len(self.keys)

    def steps(self, rows: Rows, batch_size: int) -> int:
        """Return the number of batches that an epoch over `rows` has."""
        return len(draws.cut(rows, batch_size))

    def mixing(self, rows: Rows, epoch: int) -> Mixing | None:
        """Return whom the rows of a batch are mixed with in this epoch; None where none is."""
        return self._augment.mixing(self.keys[rows], epoch, self.example_shape)

    def prepare(
        self,
        x: Tensor,
        rows: Rows,
        epoch: int | None,
        view: int = 0,
        partners: NDArray[np.intp] | None = None,
    ) -> Tensor:
        """Return the examples of `rows` as this epoch has them: see `Feed`."""
        if epoch is None:
            return x
        return self._augment(x, self.keys[rows], epoch, view, partners)

    def reseeded(self, seed: int) -> Self:
        """Return the same feed with the draws of another seed."""
        other = copy.copy(self)
        other.seed, other._augment = seed, self._augment.reseeded(seed)
        return other


class Crops:
    """Random crops, and consecutive slices, of `crop` frames of examples [..., frames].

    Without a crop (None or 0) an example is taken whole. Raises `UsageError` for a crop of what
    has no frames, or fewer.
    """

    def __init__(self, shape: tuple[int, ...], crop: int | None) -> None:
        if crop and len(shape) < 2:
            raise UsageError(
                f"--crop needs frames to cut, and a row holds a vector of {shape[0]} values: "
                "learn from features or audio, or leave it out"
            )
        if crop and crop > shape[-1]:
            raise UsageError(
                f"--crop asks for {crop} frames, and a row has {shape[-1]}: choose a shorter crop"
            )
        self.size = crop or 0
        self.shape = (*shape[:-1], crop) if crop else tuple(shape)
        self.slices = shape[-1] // crop if crop else 1
        self._starts = shape[-1] - crop + 1 if crop else 1

    def drawn(self, keys: draws.Keys, seed: int, epoch: int, view: int) -> NDArray[np.int64]:
        """Return the first frame of a random crop for each key."""
        if self._starts == 1:  # a draw would take a twentieth of a small network's update
            return np.zeros(len(keys), dtype=np.int64)
        return draws.below(keys, self._starts, seed, "crop", epoch, view)

    def sliced(self, rows: Rows) -> tuple[Rows, NDArray[np.int64]]:
        """Return each row as often as it has slices, and the first frame of each."""
        starts = np.arange(self.slices) * self.size
        return np.repeat(rows, self.slices), np.tile(starts, len(rows))

    def taken(self, examples: Any, rows: Any, starts: NDArray[np.int64]) -> Tensor:
        """Return the crops [m, ...] of `examples[row]`, float32, that begin at `starts`."""
        x = np.empty((len(rows), *self.shape), dtype=np.float32)
        for place, (row, start) in enumerate(zip(rows, starts.tolist(), strict=True)):
            x[place] = examples[row][..., start : start + self.shape[-1]]
        return torch.from_numpy(x)


class ArrayFeed(RowFeed):
    """Examples that are rows of one array in memory, or of one mapped from a file.

    `inputs` is [n, ...]; `crop` a number of frames along the last axis; `names` the rows' ids,
    their numbers where there are none; `augment` is done to them while training.
    """

    def __init__(
        self,
        inputs: NDArray[Any],
        seed: int = 0,
        crop: int | None = None,
        names: Iterable[str] | None = None,
        augment: Augment | None = None,
    ) -> None:
        self._crops = Crops(inputs.shape[1:], crop)
        super().__init__(len(inputs), self._crops.shape, seed, names, augment)
        self.random_crops = self._crops.size > 0
        self._inputs = inputs

    def train(
        self, rows: Rows, epoch: int, batch_size: int, views: int = 1, skip: int = 0
    ) -> Iterator[tuple[Rows, list[Tensor]]]:
        """Yield (row numbers [m], views of them, each [m, ...]) in the order of this epoch."""
        order = draws.shuffled(rows, self.keys, self.seed, "shuffle", epoch)
        for batch in draws.cut(order, batch_size)[skip:]:
            starts = (
                self._crops.drawn(self.keys[batch], self.seed, epoch, v) for v in range(views)
            )
            yield batch, [self._taken(batch, start) for start in starts]

    def read(self, rows: Rows, batch_size: int) -> Iterator[tuple[Rows, Tensor]]:
        """Yield (row numbers [m], examples [m, ...]) in the order of `rows`."""
        sliced, starts = self._crops.sliced(np.asarray(rows, dtype=np.intp))
        for first in range(0, len(sliced), batch_size):
            part = slice(first, first + batch_size)
            yield sliced[part], self._taken(sliced[part], starts[part])

    def _taken(self, rows: Rows, starts: NDArray[np.int64]) -> Tensor:
        if self.random_crops:
            return self._crops.taken(self._inputs, rows, starts)
        # One call for all rows: a loop over them would cost a third of a small network's step.
        whole = np.take(self._inputs, rows, axis=0)
        return torch.from_numpy(np.asarray(whole, dtype=np.float32))


class ShardFeed(RowFeed):
    """Examples of a table larger than memory, row group by row group.

    An epoch takes the row groups in a drawn order and shuffles the rows of each; from these a
    buffer of `buffer` rows is kept full, out of which rows are drawn one by one. So at most the
    buffer, a batch and three row groups are in memory. The order is drawn on row numbers alone, so
    that a resumed epoch loads only what it still needs; it depends on how the files are cut into
    row groups. `rows` are the shards' rows that the feed's rows stand for, all where None is said.
    """

    def __init__(
        self,
        shards: Shards,
        seed: int = 0,
        buffer: int = 1024,
        crop: int | None = None,
        rows: Rows | None = None,
        names: Iterable[str] | None = None,
        augment: Augment | None = None,
    ) -> None:
        self._crops = Crops(shards.column.shape, crop)
        self._at = np.arange(len(shards)) if rows is None else np.asarray(rows)
        super().__init__(len(self._at), self._crops.shape, seed, names, augment)
        self.random_crops = self._crops.size > 0
        self._shards = shards
        self._buffer = buffer
        self.drawing["buffer"] = buffer
        self._group = np.searchsorted(shards.offsets, self._at, side="right") - 1

    def train(
        self, rows: Rows, epoch: int, batch_size: int, views: int = 1, skip: int = 0
    ) -> Iterator[tuple[Rows, list[Tensor]]]:
        """Yield (row numbers [m], views of them, each [m, ...]) in the order of this epoch."""
        groups, order = self.order(rows, epoch)
        batches = draws.cut(order, batch_size)[skip:]
        left = np.concatenate([order[:0], *batches])
        needed = set(self._group[left].tolist())
        loaded = _ahead(self._loader(left), [group for group in groups if group in needed])
        held: dict[int, NDArray[Any]] = {}
        for batch in batches:
            numbers = batch.tolist()
            while not all(number in held for number in numbers):
                held |= next(loaded)
            starts = (
                self._crops.drawn(self.keys[batch], self.seed, epoch, v) for v in range(views)
            )
            yield batch, [self._crops.taken(held, numbers, start) for start in starts]
            for number in numbers:
                del held[number]

    def order(self, rows: Rows, epoch: int) -> tuple[list[int], Rows]:
        """Return the row groups in the order that they are loaded in, and the rows in theirs."""
        rows = np.asarray(rows, dtype=np.intp)
        groups = np.unique(self._group[rows])
        groups = groups[np.argsort(self._drawn(groups, "groups", epoch), kind="stable")]
        place = np.empty(int(groups.max(initial=-1)) + 1, dtype=np.int64)
        place[groups] = np.arange(len(groups))
        within = draws.bits(self.keys[rows], self.seed, "shuffle", epoch)
        stream = rows[np.lexsort((within, place[self._group[rows]]))]
        slots = draws.below(self.keys[stream], self._buffer, self.seed, "slot", epoch).tolist()
        buffered, order = stream[: self._buffer].tolist(), []
        for row, slot in zip(stream[self._buffer :].tolist(), slots, strict=False):
            order.append(buffered[slot])
            buffered[slot] = row
        rest = draws.shuffled(np.array(buffered, np.intp), self.keys, self.seed, "rest", epoch)
        return groups.tolist(), np.concatenate([np.array(order, np.intp), rest])

    def _drawn(self, groups: Rows, purpose: str, epoch: int) -> draws.Keys:
        return draws.bits(draws.keys_of(groups.tolist()), self.seed, purpose, epoch)

    def read(self, rows: Rows, batch_size: int) -> Iterator[tuple[Rows, Tensor]]:
        """Yield (row numbers [m], examples [m, ...]) in the order of `rows`.

        Sorted rows load each row group once.
        """
        rows = np.asarray(rows, dtype=np.intp)
        changes = np.flatnonzero(np.diff(self._group[rows])) + 1
        runs = [run for run in np.split(rows, changes) if len(run)]
        waiting: list[tuple[int, NDArray[Any], int]] = []
        for run in _ahead(self._run, runs):
            for number, example in run:
                sliced, starts = self._crops.sliced(np.array([number]))
                waiting += [
                    (row, example, start)
                    for row, start in zip(sliced.tolist(), starts.tolist(), strict=True)
                ]
                while len(waiting) >= batch_size:
                    yield self._read_batch(waiting[:batch_size])
                    waiting = waiting[batch_size:]
        if waiting:
            yield self._read_batch(waiting)

    def _read_batch(self, parts: Sequence[tuple[int, NDArray[Any], int]]) -> tuple[Rows, Tensor]:
        numbers, examples, starts = zip(*parts, strict=True)
        taken = self._crops.taken(examples, range(len(examples)), np.array(starts))
        return np.array(numbers, dtype=np.intp), taken

    def _run(self, rows: Rows) -> list[tuple[int, NDArray[Any]]]:
        """Load rows that are all of one row group."""
        group = int(self._group[rows[0]])
        array = self._shards.row_group(group)
        places = self._at[rows] - self._shards.offsets[group]
        return list(zip(rows.tolist(), array[places], strict=True))

    def _loader(self, left: Rows) -> Callable[[int], dict[int, NDArray[Any]]]:
        """Return the function that loads those of the rows `left` that a row group holds."""
        order = np.argsort(self._group[left], kind="stable")
        ordered = left[order]
        groups, firsts = np.unique(self._group[ordered], return_index=True)
        pieces = np.split(ordered, firsts[1:]) if len(left) else []
        parts = dict(zip(groups.tolist(), pieces, strict=True))

        def load(group: int) -> dict[int, NDArray[Any]]:
            # Copies, as one row that is waited for would keep its whole group in memory.
            return {number: example.copy() for number, example in self._run(parts[group])}

        return load


def _ahead(function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Apply `function` to every item, the next one in a thread while one is being used."""
    with ThreadPoolExecutor(1, thread_name_prefix="mt-feed") as pool:
        waiting: Future[Made] | None = None
        for item in items:
            following = pool.submit(function, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


# --- songs of many parts --------------------------------------------------------------------------


class SequenceFeed(RowFeed):
    """Songs as sequences of their parts: [m, parts, ...], shorter songs filled up with NaN.

    `inputs` [n, ...] are the parts of all songs, in memory or mapped from a file; `songs` the rows
    of each song's parts, in order (`join_sequences`). The feed's rows are the songs, `names` their
    ids. `example_shape` is that of one part, since songs have any number.
    """

    random_crops = False

    def __init__(
        self,
        inputs: NDArray[Any],
        songs: Sequence[Rows],
        seed: int = 0,
        names: Iterable[str] | None = None,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(len(songs), inputs.shape[1:], seed, names, augment)
        if self.mixes:
            raise UsageError(
                "songs of unequal numbers of parts cannot be mixed: leave mixup and cutmix out of "
                "--recipe, or learn from single examples"
            )
        self._inputs = inputs
        self._songs = songs

    def train(
        self, rows: Rows, epoch: int, batch_size: int, views: int = 1, skip: int = 0
    ) -> Iterator[tuple[Rows, list[Tensor]]]:
        """Yield (row numbers [m], views of them, each [m, parts, ...]) in this epoch's order."""
        order = draws.shuffled(rows, self.keys, self.seed, "shuffle", epoch)
        for batch in draws.cut(order, batch_size)[skip:]:
            yield batch, [self._padded(batch)] * views

    def read(self, rows: Rows, batch_size: int) -> Iterator[tuple[Rows, Tensor]]:
        """Yield (row numbers [m], examples [m, parts, ...]) in the order of `rows`."""
        rows = np.asarray(rows, dtype=np.intp)
        for first in range(0, len(rows), batch_size):
            batch = rows[first : first + batch_size]
            yield batch, self._padded(batch)

    def _padded(self, batch: Rows) -> Tensor:
        songs = [self._songs[row] for row in batch]
        longest = max(len(song) for song in songs)
        x = np.full((len(songs), longest, *self.example_shape), np.nan, dtype=np.float32)
        for place, song in enumerate(songs):
            x[place, : len(song)] = self._inputs[song]
        return torch.from_numpy(x)


_JOINING = ("origin", "recipe", "rendered", "path", "start")


def join_sequences(table: Batch) -> list[Rows]:
    """Return the rows of each song's parts, ordered by `start`, in the order of the songs' first.

    Parts belong together that have one origin, recipe and file. `table.take` of the first row of
    each gives a table of songs.
    """
    rendered, paths, starts = (table.get(name) for name in ("rendered", "path", "start"))
    songs: dict[tuple[Any, ...], list[int]] = {}
    for row, key in enumerate(
        zip(table.origins, table.get("recipe"), rendered, paths, strict=True)
    ):
        songs.setdefault(key, []).append(row)

    def start(row: int) -> float:
        value = starts[row]
        return 0.0 if value is None or value != value else float(value)

    return [np.array(sorted(rows, key=start), dtype=np.intp) for rows in songs.values()]


def disagreeing(table: Batch, songs: Sequence[Rows], labels: Iterable[str]) -> dict[str, list[str]]:
    """Return, for each label that parts of one song disagree on, the ids of these songs."""
    found: dict[str, list[str]] = {}
    ids = table.ids
    for label in labels:
        values = [repr(value) for value in table[label].tolist()]
        wrong = [str(ids[song[0]]) for song in songs if len({values[row] for row in song}) > 1]
        if wrong:
            found[label] = wrong
    return found


# --- from a table to the feed that fits -----------------------------------------------------------


@dataclass(frozen=True)
class Examples:
    """A training table without its features, and the feed of its rows.

    `settings` are those of the inputs as the network gets them (with the crop), `digest` the
    SHA-256 of the inputs.
    """

    table: Batch
    feed: Feed
    settings: dict[str, Any]
    digest: str


def open_feed(
    batches: Iterable[Batch],
    column: Column,
    kept: Sequence[str],
    settings: FeedSettings,
    *,
    seed: int = 0,
    labels: Sequence[str] = (),
    sequence: bool = False,
    shards: Shards | None = None,
    limit: int = 0,
    folder: str | None = None,
    say: Callable[[str], None],
) -> Examples:
    """Return the rows of `batches` that have a `column`, and the feed of them that fits.

    In memory where the column takes less than `limit` bytes (0 = a quarter of the memory), and
    spooled to a file in `folder` (None = the system's) otherwise. With `shards` (of
    `tables.shards.shards_of`) it is read where it lies; `batches` then come of `shards.light`. Of
    the other columns those in `kept` and `labels` stay. With `sequence` rows are joined to songs:
    the table has a row a song. Raises `NoRows` without rows, `UsageError` where none has an input
    or where a crop or recipe does not fit.
    """
    crop = _crop_of(column, settings, sequence)
    augment = augment_of(settings, seed, column.settings, what=column.name)
    kept = ["id", *kept, *labels, *(_JOINING if sequence else ())]
    if shards is None:
        spool = functools.partial(ArraySpool if sequence else Spool, column, folder)
        store, table, digest, count = _gather(batches, column, kept, limit or memory_limit(), spool)
    else:
        mapped = ArraySpool(column, folder) if sequence else None
        store, table, digest, count = _gather_light(batches, kept, shards, mapped)
    if not count:
        raise NoRows("the input had no rows: nothing to learn from")
    if not len(table):
        raise UsageError(f"none of {count} rows has a {column.name}: nothing to learn from")
    if len(table) < count:
        say(f"{count - len(table)} rows have no {column.name} and are left out")
    feed: Feed
    if sequence:
        songs = join_sequences(table)
        for label, ids in disagreeing(table, songs, labels).items():
            say(
                f"{label}: the parts of {len(ids)} songs disagree, and the first part's label is "
                f"taken ({', '.join(ids[:5])}{', ...' * (len(ids) > 5)})"
            )
        table = table.take([song[0] for song in songs])
        feed = SequenceFeed(store, songs, seed, table.ids, augment)
    elif isinstance(store, np.ndarray):
        feed = ArrayFeed(store, seed, crop, table.ids, augment)
    else:
        say(
            f"{column.name} takes {store[0].nbytes / 2**30:.1f} GiB: it is read from the disk, "
            f"{settings.buffer} rows shuffled at a time"
        )
        feed = ShardFeed(store[0], seed, settings.buffer, crop, store[1], table.ids, augment)
    described = dict(column.settings)
    if crop:
        described = cropped(FeatureSettings.from_json(described), settings.crop).to_json()
    return Examples(table, feed, described, digest)


def _crop_of(column: Column, settings: FeedSettings, sequence: bool) -> int:
    """Return the frames of a crop of the column, 0 for none."""
    if not settings.crop:
        return 0
    if sequence:
        raise UsageError("--crop cuts single examples, and this network takes songs of all parts")
    if column.kind != "tensor":
        raise UsageError(
            f"--crop needs frames to cut, and {column.name} is one vector a row: learn from "
            "features or audio, or leave it out"
        )
    if not column.settings:
        raise UsageError(
            f"--crop is in seconds, and {column.name} does not say how long its frames are: say it "
            "with --assume PRESET"
        )
    return crop_frames(FeatureSettings.from_json(column.settings), settings.crop)


def memory_limit() -> int:
    """Return a quarter of the memory that this process may use, in bytes."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/sys/fs/cgroup/memory.max") as file:  # a container may have less
            memory = min(memory, int(file.read()))
    except (OSError, ValueError):
        pass
    return memory // 4


Gathered = tuple[Any, Batch, str, int]
"""An array, or shards and which rows of them; the table; the digest; how many rows came."""


def _gather(
    batches: Iterable[Batch],
    column: Column,
    kept: Sequence[str],
    limit: int,
    new_spool: Callable[[], Spool | ArraySpool],
) -> Gathered:
    """Gather the column in memory as long as it fits, and otherwise spool it."""
    tables: list[Batch] = []
    arrays: list[NDArray[np.float32]] = []
    spool: Spool | ArraySpool | None = None
    digest = hashlib.sha256()
    count = size = 0
    for batch in batches:
        count += len(batch)
        array = batch[column.name]
        whole = _whole(array)
        light = batch.without([name for name in batch.names if name not in kept])
        # Copied always: the columns of a stream's batch are parts of one piece of memory.
        tables.append(light.take(np.flatnonzero(whole)))
        array = array if whole.all() else array[whole]
        digest.update(np.ascontiguousarray(array).data)
        if spool is None:
            arrays.append(array)
            size += array.nbytes
            if size <= limit:
                continue
            spool = new_spool()
            array = np.concatenate(arrays)
            arrays = []
        spool.write(array)
    table = concatenate(tables) if tables else Batch.build([], {})
    if isinstance(spool, Spool):
        return (spool.finish(), None), table, digest.hexdigest(), count
    if spool is not None:
        return spool.finish(), table, digest.hexdigest(), count
    inputs = np.empty((len(table), *column.shape), dtype=np.float32)
    first = 0
    arrays.reverse()
    while arrays:  # freed one by one, so that the column is not in memory twice
        array = arrays.pop()
        inputs[first : first + len(array)] = array
        first += len(array)
    return inputs, table, digest.hexdigest(), count


def _gather_light(
    batches: Iterable[Batch], kept: Sequence[str], shards: Shards, spool: ArraySpool | None
) -> Gathered:
    """Gather the rows of shards that have a value, which one pass over the column shows."""
    tables = [
        batch.without([name for name in batch.names if name not in (*kept, ROW)])
        for batch in batches
    ]
    table = concatenate(tables) if tables else Batch.build([], {})
    count = len(table)
    rows = table[ROW].astype(np.intp) if count else np.zeros(0, np.intp)
    chosen = np.zeros(len(shards), dtype=bool)
    chosen[rows] = True
    digest = hashlib.sha256()
    for index, array in enumerate(_ahead(shards.row_group, range(len(shards.offsets) - 1))):
        part = slice(shards.offsets[index], shards.offsets[index + 1])
        chosen[part] &= _whole(array)
        array = array[chosen[part]]
        digest.update(np.ascontiguousarray(array, dtype=np.float32).data)
        if spool is not None:
            spool.write(array)
    taken = np.flatnonzero(chosen[rows])
    table = table.take(taken).without([ROW])
    store = (shards, rows[taken]) if spool is None else spool.finish()
    return store, table, digest.hexdigest(), count


def _whole(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows [n, ...] hold finite numbers alone."""
    return np.isfinite(array.reshape(len(array), -1)).all(axis=1)


# --- crops in seconds -----------------------------------------------------------------------------


def crop_frames(settings: FeatureSettings, seconds: float) -> int:
    """Return how many frames a crop of `seconds` has: as many as that much sound alone gives."""
    if settings.excerpt_part == ("segment", seconds) and settings.frames:
        return settings.frames
    return settings.frames_of(round(seconds * settings.sample_rate))


def cropped(settings: FeatureSettings, seconds: float) -> FeatureSettings:
    """Return the features that a model trained on crops stores: every `seconds` of a track.

    What applies the model then cuts tracks into segments as long as a crop and averages over them
    (AGF and REP studies).
    """
    frames = crop_frames(settings, seconds)
    return dataclasses.replace(settings, excerpt=f"segment:{seconds:.10g}", frames=frames)

"""Recommendation from embeddings; a row a number, as a probe writes them.

An item is a track: rows of one origin, such as its segments, are one by the mean of their vectors,
and copies that were changed by a recipe are left out. On which splits, `stages.splitwise` says.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.evaluate import probe_splits
from mt_tools.evaluate.checkpoint import Checkpoint
from mt_tools.evaluate.probe_splits import Labelled, Plan
from mt_tools.evaluate.recommend import BASELINES, Likes, Recommending, same_test
from mt_tools.evaluate.settings import RecommendSettings, RecommendTaskSettings
from mt_tools.stages.judging import embeddings_of, metric_rows, table_of
from mt_tools.stages.splitwise import Bar, Parted, leaks_of, no_bar, outcomes_of, parted, rows_of
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tables.labels import Labels, listed


def recommended(
    batches: Iterable[Batch],
    columns: Mapping[str, Column],
    labels: Labels | None,
    asked: RecommendTaskSettings,
    settings: RecommendSettings,
    jobs: int,
    *,
    bar: Bar = no_bar,
    checkpoint: Checkpoint | None = None,
) -> tuple[Batch, list[str]]:
    """Recommend by every embedding, and by the baselines; return metric rows and notes.

    `labels` are the rows of the file of likes, None where `asked.likes` is a column. All are tested
    on the same splits of the same tracks, those that every embedding has a vector of, side by side
    in `jobs` threads. `checkpoint` keeps the splits that are done, and has those that a run before
    this one has done.
    """
    vectors = embeddings_of(columns, asked.column)
    if strange := [name for name in vectors if name in BASELINES]:
        raise UsageError(f"--column {strange[0]}: a baseline is called so; rename the column")
    if labels is None and columns[asked.likes].kind != "strings":
        raise UsageError(
            f"--likes {asked.likes}: a {columns[asked.likes].kind} column, expected lists of "
            "listeners (gather them with mt-fetch join --collect) or a file"
        )
    names = ["id", "origin", "group", "split", "fold", "recipe", *vectors]
    table = table_of(batches, [*names, asked.likes] if labels is None else names)
    changed = np.array([recipe is not None for recipe in table.get("recipe")], bool)
    notes = [f"{changed.sum()} rows have a recipe and are left out"] * bool(changed.any())
    if changed.any():
        table = table.take(np.flatnonzero(~changed))
    tracks = Tracks(table)
    own = parted(
        table.without([*vectors, asked.likes]),
        drawn=bool(settings.repeats or settings.folds),
        ignore_split=asked.ignore_split,
        allow_leak=asked.allow_leak,
    )
    if labels is None:
        likes, liked = tracks.listed(table[asked.likes]), tracks.known(table[asked.likes])
    else:
        likes, liked, said = tracks.told(labels, asked)
        notes += said

    x = {name: tracks.means(table[name]) for name in vectors}
    usable = np.all([np.isfinite(one).all(axis=1) for one in x.values()], axis=0)
    pool = np.zeros(len(tracks), bool)
    pool[tracks.of_row[own.pool]] = True
    rows = np.flatnonzero(pool & usable & liked)
    task = asked.likes if labels is None else _stem(asked.likes)
    if not len(rows):
        raise UsageError(
            f"nothing to recommend: of {int(pool.sum())} tracks {int((liked & pool).sum())} have "
            f"likes, {int((usable & pool).sum())} have a finite vector and none has both"
        )
    for left, why in ((~liked & pool, "no likes known"), (liked & ~usable & pool, "no vector")):
        if left.any():
            notes.append(f"{task}: {left.sum()} tracks have {why} and are left out")
    likes, few = likes.among(rows, settings.min_likes)
    if not len(likes.listeners):
        raise UsageError(f"{task}: no listener likes {settings.min_likes} of {len(rows)} tracks")
    if few:
        notes.append(
            f"{task}: {few} listeners like fewer than {settings.min_likes} tracks and are left out"
        )

    known = Labelled(rows, None, tracks.column(table.get("group"))[rows], tracks.names[rows])
    plan = same_test(_plan(known, tracks, own, settings), known, likes, settings)
    todo = [(name, Recommending(likes, known, plan, settings, x[name])) for name in vectors]
    if asked.baselines:
        todo += [(by, Recommending(likes, known, plan, settings, by=by)) for by in BASELINES]
    checkpoint = Checkpoint() if checkpoint is None else checkpoint
    outcomes, said = outcomes_of([one for _, one in todo], jobs, bar, checkpoint)
    notes += said + own.notes
    part = None if own.pairs is None else tracks.column(table[own.name])[rows]
    found: list[dict[str, Any]] = []
    for (name, one), results in zip(todo, outcomes, strict=True):
        result = one.result(results)
        leak = leaks_of(
            own, name, rows[:, None] if one.x is None else one.x[rows], part,
            ids=known.origins, origins=known.origins,
            groups=known.groups if plan.grouped else None,
        )  # fmt: skip
        common = {"task": task, "column": name, "protocol": result.protocol, "leak": leak}
        found += [common | row for row in rows_of(result, asked.each)]
        notes += [f"{task}: {note}" for note in result.notes]
    return metric_rows(found), list(dict.fromkeys(notes))


def of_embeddings(table: Batch) -> Batch:
    """Return the rows that are not of a baseline: those that are required to be good."""
    return table.take([i for i, name in enumerate(table["column"]) if name not in BASELINES])


def _stem(path: str) -> str:
    """Return what a file of likes is called."""
    return path.replace("\\", "/").rpartition("/")[2].partition(".")[0] or "likes"


def _plan(known: Labelled, tracks: Tracks, own: Parted, settings: RecommendSettings) -> Plan:
    """Return the splits of the tracks: the table's own, or drawn ones."""
    if own.pairs is None:
        return probe_splits.drawn(known, settings)
    pairs = []
    for sides in own.pairs:
        train, test = (np.unique(tracks.of_row[side]) for side in sides)
        # A track of which segments stand on both sides, where that is allowed, is held out.
        pairs.append((np.setdiff1d(train, test), test))
    return probe_splits.given(known, pairs, own.name)


class Tracks:
    """The tracks of a table: its origins, in the order of their names.

    `of_row` [n] is the track of each row, `names` [tracks] their origins, `first` a row of each.
    """

    def __init__(self, table: Batch) -> None:
        origins = table.origins.tolist()
        place = {name: track for track, name in enumerate(sorted(set(origins)))}
        self.names = np.array(list(place), object)
        self.of_row = np.array([place[origin] for origin in origins], np.int64)
        self.first = np.zeros(len(place), np.int64)
        self.first[self.of_row[::-1]] = np.arange(len(origins))[::-1]
        self._ids = table.ids

    def __len__(self) -> int:
        return len(self.names)

    def column(self, values: np.ndarray) -> np.ndarray:
        """Return a column [n] as the first row of each track has it, [tracks]."""
        return values[self.first]

    def means(self, vectors: np.ndarray) -> np.ndarray:
        """Return the mean vector of each track, NaN where no row has one: [tracks, d]."""
        if len(vectors) == len(self):
            return vectors[self.first]
        finite = np.isfinite(vectors).all(axis=1)
        sums = np.zeros((len(self), vectors.shape[1]))
        np.add.at(sums, self.of_row[finite], vectors[finite])
        count = np.bincount(self.of_row[finite], minlength=len(self))[:, None]
        return np.where(count > 0, sums / np.maximum(count, 1), np.nan).astype(np.float32)

    def known(self, values: np.ndarray) -> np.ndarray:
        """Return whether a row of each track says who likes it, [tracks]."""
        found = np.zeros(len(self), bool)
        found[self.of_row[[value is not None for value in values]]] = True
        return found

    def listed(self, values: np.ndarray) -> Likes:
        """Return the likes of a column of lists; a listener who stands twice counts twice."""
        users: dict[str, int] = {}
        of_track: list[int] = []
        codes: list[int] = []
        done: set[int] = set()
        for track, listeners in zip(self.of_row.tolist(), values, strict=True):
            if listeners is None or track in done:  # segments all say what their track does
                continue
            done.add(track)
            of_track += [track] * len(listeners)
            codes += [users.setdefault(one, len(users)) for one in listeners]
        return self._likes(np.array(codes, int), np.array(of_track, int), list(users))

    def told(
        self, labels: Labels, asked: RecommendTaskSettings
    ) -> tuple[Likes, np.ndarray, list[str]]:
        """Return the likes of a file, of which tracks it tells, [tracks], and notes.

        Raises `UsageError` for columns that it lacks, counts that are none, and where it names no
        track of the table.
        """
        for option, name in (
            ("users", asked.users),
            ("items", asked.items),
            ("count", asked.count),
        ):
            if name and name not in labels.names:
                raise UsageError(
                    f"--{option} {name}: no such column in {labels.name}; it has "
                    f"{listed(labels.names)}"
                )
        users, listeners = labels.words(asked.users)
        items, texts = labels.words(asked.items)
        place = {_plain(name): track for track, name in enumerate(self.names)}
        for id_, track in zip(self._ids, self.of_row.tolist(), strict=True):
            place.setdefault(_plain(id_), track)
        track_of = np.array([place.get(_plain(text), -1) for text in texts] + [-1], int)
        track = track_of[items]
        counts = _counts(labels, asked.count)
        usable = (users >= 0) & (track >= 0) & (counts > 0)
        if not usable.any():
            raise UsageError(
                f"{labels.name}: no row has a listener and a track of the table: {asked.items} has "
                f"{_some(texts)}, the ids are {_some(self.names)}; if they have something else in "
                f"common, gather the listeners with mt-fetch join --collect {asked.users}"
            )
        notes = []
        if strange := int(((users >= 0) & (items >= 0) & (track < 0)).sum()):
            notes.append(f"{labels.name}: {strange} rows are of tracks that the table lacks")
        if rest := int(((users < 0) | (items < 0) | ((track >= 0) & ~(counts > 0))).sum()):
            notes.append(f"{labels.name}: {rest} rows lack a listener, a track or a count above 0")
        known = np.zeros(len(self), bool)
        known[track[usable]] = True
        names = [_plain(name) for name in listeners]
        likes = self._likes(users[usable], track[usable], names, counts[usable])
        return likes, known, notes

    def _likes(
        self,
        users: np.ndarray,
        tracks: np.ndarray,
        names: Sequence[str],
        counts: np.ndarray | None = None,
    ) -> Likes:
        """Return likes with listeners in the order of their names; those of one name are one."""
        from scipy.sparse import coo_array, csr_array

        counts = np.ones(len(users)) if counts is None else counts
        if not names:
            return Likes(csr_array((0, len(self))), [])
        place = {name: number for number, name in enumerate(sorted(set(names)))}
        number = np.array([place[name] for name in names], np.int64)
        whole = coo_array((counts, (number[users], tracks)), (len(place), len(self))).tocsr()
        whole.sum_duplicates()
        return Likes(whole, list(place))


def _counts(labels: Labels, name: str) -> np.ndarray:
    """Return how often each row of a file counts, NaN where it does not say."""
    if not name:
        return np.ones(len(labels))
    batch = labels.batch({name: name}, {})
    if batch.columns[name].kind not in ("integer", "number"):
        raise UsageError(
            f"--count {name}: a {batch.columns[name].kind} column of {labels.name}, expected "
            "numbers"
        )
    return np.asarray(batch[name], np.float64)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", str(text).strip())


def _some(names: Iterable[str]) -> str:
    shown = [repr(str(name)) for name, _ in zip(names, range(2), strict=False)]
    return ", ".join([*shown, "..."])

"""Pairs of crops that are of one track or of two: the verification of REP's "self" source.

Source: REP study, section 2.2.1, eqs. 5 and 6, with "equal numbers of songs for both membership
categories" (section 3.1). `learn.pairs` makes such pairs of the batches of a training; these stand
in a table, so that the distance between the embeddings of two crops can be scored.

Conventions: tracks are drawn in rounds, each once a round in an order drawn anew. A drawn track has
two pairs: two of its own crops, and one of its crops with one of the next track in this order that
is in the same part of the split. So every track is as often in a pair of one as in a pair of two,
in every part, and one track more or less leaves most pairs as they were. The other track may be of
the same artist. Places are whole milliseconds of the unaugmented timeline; those of one track are
drawn in all of its rows, be they segments or copies.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.learn import draws
from mt_tools.stages.factors.fitting import Columns
from mt_tools.stages.factors.settings import SameTrackSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved

Track = tuple[str, str]
"""A part of the split, "" where there is none, and an origin."""

Side = tuple[str, int]
"""A crop: the id of its row, and where it begins, in milliseconds."""

PAIR = Column("pair", "integer")
SAME = Column("same", "boolean")

_OF_THE_WHOLE = ("feature", "embedding", "prediction")
"""Roles of columns that say of a track what need not hold for a crop."""


@dataclass(frozen=True)
class Place:
    """Where crops of a row may begin, in milliseconds: from `first` to `last`."""

    id: str
    first: int
    last: int


@dataclass(frozen=True)
class Crop:
    """One side of a pair: where it begins in its row, in milliseconds."""

    start: int
    pair: int
    same: bool


@dataclass(frozen=True)
class Drawn:
    """The crops of each row by its id, how long they are in seconds, and lines about them."""

    crops: dict[str, list[Crop]]
    seconds: float
    notes: list[str] = field(default_factory=list)


def needed(columns: Columns) -> list[str]:
    """Return the columns that are read to draw.

    Raises `UsageError` for a table that does not say how long its tracks are, or has pairs already.
    """
    for made in (PAIR, SAME):
        if made.name in columns:
            raise UsageError(
                f"the table already has a column {made.name!r}: draw from the tracks that it was "
                "made of"
            )
    if not {"length", "duration"} & columns.keys():
        raise UsageError(
            f"no column 'length' in the input: it has {', '.join(columns)}; mt-fetch folder writes "
            "how long tracks are"
        )
    return ["origin", "length", "start", "duration", "split"]


def drawn(batches: Iterable[Batch], settings: SameTrackSettings) -> Drawn:
    """Draw pairs of crops; half of them, and of an odd number one more, are of one track.

    Raises `UsageError` where no part has two tracks that are long enough.
    """
    crop = round(1000 * settings.crop)
    tracks, notes = _tracks(batches, crop)
    names = sorted(tracks)
    found = Drawn({}, settings.crop, notes)
    if not names and not notes:  # there was no row
        return found
    several = Counter(part for part, _ in names)
    begin = {name for name in names if several[name[0]] > 1 and _room(tracks[name])}
    if not begin:
        raise UsageError(
            f"no part of the input has two tracks of which one is longer than {settings.crop:g} s: "
            + "; ".join([f"{len(names)} are as long", *notes, "choose a shorter --crop"])
        )
    keys = draws.keys_of(origin for _, origin in names)
    overlapping: set[Track] = set()
    pair = 0
    for turn in itertools.count():
        order = np.argsort(draws.bits(keys, settings.seed, "same-track", turn), kind="stable")
        ring = [names[i] for i in order]
        after = _next_of_part(ring)
        for here in filter(begin.__contains__, ring):
            rng = np.random.default_rng(draws.seed_of(settings.seed, "crops", turn, *here))
            two, overlap = _two(tracks[here], crop, rng)
            if overlap:
                overlapping.add(here)
            mixed = _one(tracks[here], rng), _one(tracks[after[here]], rng)
            for same, crops in ((True, two), (False, mixed)):
                if pair == settings.pairs:
                    notes.append(_said(found, len(names), len(overlapping)))
                    return found
                for id_, start in crops:
                    found.crops.setdefault(id_, []).append(Crop(start, pair, same))
                pair += 1
    raise AssertionError


def cropped(batches: Iterable[Batch], found: Drawn) -> Iterator[Batch]:
    """Yield the crops as rows, in the order of the input's and of their places.

    Features, embeddings and predictions are those of whole tracks, and go.
    """
    for batch in batches:
        heavy = [c.name for c in batch.columns.values() if c.role in _OF_THE_WHOLE]
        crops = [
            (row, crop)
            for row, id_ in enumerate(batch.ids)
            for crop in sorted(found.crops.get(id_, []), key=lambda crop: (crop.start, crop.pair))
        ]
        if not crops:
            continue
        rows = batch.without(heavy).take([row for row, _ in crops])
        starts = [crop.start / 1000 for _, crop in crops]
        ids = [
            f"{id_}@{start:.10g}:{crop.pair}"
            for id_, start, (_, crop) in zip(rows.ids, starts, crops, strict=True)
        ]
        rows = rows.replace(reserved("origin"), rows.origins).replace(reserved("id"), ids)
        rows = rows.replace(reserved("start"), starts)
        rows = rows.replace(reserved("duration"), [found.seconds] * len(crops))
        rows = rows.append(PAIR, [crop.pair for _, crop in crops])
        yield rows.append(SAME, [crop.same for _, crop in crops])


# --- tracks and their places ---------------------------------------------------------------------


def _tracks(batches: Iterable[Batch], crop: int) -> tuple[dict[Track, list[Place]], list[str]]:
    """Return where crops of each track may begin, by its part and origin, and what is left out."""
    tracks: dict[Track, list[Place]] = {}
    rows: Counter[str] = Counter()  # by part
    unknown = short = 0
    for batch in batches:
        length, start, duration = (
            batch.get(name, np.nan) for name in ("length", "start", "duration")
        )
        start = np.nan_to_num(start, nan=0.0)
        # The part selected may be said to reach beyond the file.
        ends = np.fmin(start + duration, length)
        parts = batch.get("split")
        for row, (id_, origin, part) in enumerate(
            zip(batch.ids, batch.origins, parts, strict=True)
        ):
            rows[part or ""] += 1
            if not np.isfinite(ends[row]):
                unknown += 1
                continue
            first, last = round(1000 * start[row]), int(1000 * ends[row]) - crop
            if last < first:
                short += 1
                continue
            tracks.setdefault((part or "", origin), []).append(Place(id_, first, last))
    notes = [f"{unknown} rows have no length and are left out"] * bool(unknown)
    notes += [f"{short} rows are shorter than {crop / 1000:g} s and are left out"] * bool(short)
    if rows[""] and len(rows) > 1:
        notes.append(f"{rows['']} rows have no split and are left out")
        tracks = {name: places for name, places in tracks.items() if name[0]}
    return tracks, notes


def _room(places: list[Place]) -> bool:
    """Say whether there are two different crops."""
    return max(place.last for place in places) > min(place.first for place in places)


def _next_of_part(ring: list[Track]) -> dict[Track, Track]:
    """Return the next track of the same part after each, after the last the first."""
    after: dict[Track, Track] = {}
    for part in {part for part, _ in ring}:
        mine = [name for name in ring if name[0] == part]
        after |= dict(zip(mine, [*mine[1:], mine[0]], strict=True))
    return after


# --- crops ---------------------------------------------------------------------------------------


def _one(places: list[Place], rng: np.random.Generator) -> Side:
    """Draw a crop, any place as likely as any other."""
    counts = np.array([place.last - place.first + 1 for place in places])
    ends = np.cumsum(counts)
    drawn_ = int(rng.integers(ends[-1]))
    chosen = int(np.searchsorted(ends, drawn_, side="right"))
    return places[chosen].id, places[chosen].last - (int(ends[chosen]) - 1 - drawn_)


def _two(
    places: list[Place], crop: int, rng: np.random.Generator
) -> tuple[tuple[Side, Side], bool]:
    """Draw two crops of one track that do not overlap; say whether they have to.

    A first crop that leaves no room beside it moves to the nearer end of its row. Where there is
    none even then, the two are as far from each other as they can be.
    """
    first = _one(places, rng)
    apart = _beside(places, first[1], crop)
    if not apart:
        own = next(p for p in places if p.id == first[0])
        nearer = own.first if 2 * first[1] <= own.first + own.last else own.last
        first = own.id, nearer
        apart = _beside(places, nearer, crop)
    if apart:
        return (first, _one(apart, rng)), False
    ends = [(abs(end - first[1]), p.id, end) for p in places for end in (p.first, p.last)]
    _, id_, end = max(ends)
    return (first, (id_, end)), True


def _beside(places: list[Place], start: int, crop: int) -> list[Place]:
    """Return where crops may begin that do not overlap the one that begins at `start`."""
    sides = [
        Place(place.id, first, last)
        for place in places
        for first, last in (
            (place.first, min(place.last, start - crop)),
            (max(place.first, start + crop), place.last),
        )
    ]
    return [place for place in sides if place.first <= place.last]


def _said(found: Drawn, tracks: int, overlapping: int) -> str:
    crops = [crop for crops in found.crops.values() for crop in crops]
    pairs = {crop.pair: crop.same for crop in crops}
    line = f"{len(pairs)} pairs of {tracks} tracks, {sum(pairs.values())} of one track"
    if overlapping:
        line += f"; {overlapping} tracks are shorter than two crops: theirs overlap"
    return line

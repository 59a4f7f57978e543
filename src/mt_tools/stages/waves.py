"""Examples straight from sound: decoded in workers, features and their effects on the device.

Goal: train on random crops of the tracks, each heard as it is or with a recipe, without a table of
features (AGF and REP studies: crops of 1 and 2.5 s; DJ study: a tone up and down). Only the crop is
decoded. What is drawn depends on the track's id and the epoch, so any number of workers gives the
same batches.

Conventions: as `learn.feeds`. Waveforms are float32 [n, channels, samples] at the features' rate.
Workers load this module: no torch at its top.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.engine.pool import Outcome, cores, ordered
from mt_tools.errors import NoRows, RowError, RunError, UsageError
from mt_tools.features.extract import extract, fit_length
from mt_tools.features.settings import FeatureSettings, parse_excerpt
from mt_tools.learn import draws
from mt_tools.learn.settings import FeedSettings
from mt_tools.recipes import Recipe
from mt_tools.sound.info import read_info
from mt_tools.stages.frontend import (
    SELECTION,
    Fail,
    Heard,
    Track,
    decode_run,
    is_segmented,
    parts_of,
    runs,
    tracks_of,
)
from mt_tools.stages.recipes import COLUMNS, Files, Whose, whose_of
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.source import source_of

if TYPE_CHECKING:
    from torch import Tensor

    from mt_tools.learn.augment import Augment, Mixing
    from mt_tools.learn.distributed import World
    from mt_tools.learn.feeds import Examples

Rows = NDArray[np.intp]
_Decoded = Outcome[Any, list[np.ndarray]]


@dataclass(frozen=True)
class Hearing:
    """What a worker decodes of a track: examples that begin at `places`, with these recipes.

    A recipe that could not be drawn stands as its error. A place is a share, from 0 to 1, of the
    time that a random crop may begin in; where there are none, `parts` are a run of segments, as
    `frontend.runs` makes them.
    """

    track: Track
    settings: FeatureSettings
    computed: bool
    places: tuple[float, ...] = ()
    recipes: tuple[str | RowError, ...] = ()
    parts: tuple[Heard, ...] = ()


def hear(task: Hearing) -> list[np.ndarray]:
    """Decode examples of one track, [channels, samples] each, or their features; in a worker.

    Raises `RowError` for a track that cannot be decoded.
    """
    settings = task.settings
    own = task.track.effects()
    if task.parts:
        waves = decode_run(task.track, own, task.parts, settings)
    else:
        waves = [
            _crop(task.track, _recipe(task.track, drawn) or own, place, settings)
            for place, drawn in zip(task.places, task.recipes, strict=True)
        ]
    waves = [fit_length(wave, settings) for wave in waves]
    return [extract(wave, settings) for wave in waves] if task.computed else waves


def _recipe(track: Track, drawn: str | RowError) -> Recipe:
    """Return a drawn recipe with its files where they are."""
    if isinstance(drawn, RowError):
        raise drawn
    return dataclasses.replace(track, recipe=drawn).effects()


def _crop(track: Track, recipe: Recipe, place: float, settings: FeatureSettings) -> np.ndarray:
    """Decode one example: the crop at a place between the first and the last that fit."""
    if is_segmented(settings.excerpt) and settings.excerpt_seconds is not None:
        settings = dataclasses.replace(settings, excerpt=f"crops:1:{settings.excerpt_seconds!r}")
    return decode_run(track, recipe, parts_of(track, recipe, settings, [place])[:1], settings)[0]


def length_of(track: Track) -> float | None:
    """Return the length of a track's file in seconds, None where unknown; in a worker."""
    return read_info(track.source()).length


class AudioFeed:
    """Examples decoded from the tracks themselves: `learn.feeds.Feed` over rows of audio.

    `settings` are the features, whose excerpt says what an example is: `segment:S` a random crop of
    S seconds in training and all of them in reading, `first:S` and `centre:S` that part always.
    `ids` name the rows; `augment` is done to them while training, its effects on sound by the
    workers, with what `files` there are for whom (`whose`), and those on features on the device.
    The features are computed on the device, or by the workers with `in_workers` (which is quicker
    where the network runs on the CPU too) and where the device cannot. A track that cannot be
    decoded is reported to `fail` once and is missing from its batches; a training batch of which
    fewer than two are left has the first ones of the epoch as well, since batch norm needs two. Of
    the processes of a `world` each decodes its part of a training batch, and gets the others' from
    them.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        ids: Sequence[str] | NDArray[Any],
        settings: FeatureSettings,
        *,
        seed: int = 0,
        augment: Augment | None = None,
        files: Files | None = None,
        whose: Sequence[Whose] = (),
        jobs: int = -1,
        fail: Fail,
        in_workers: bool = False,
        world: World | None = None,
    ) -> None:
        from mt_tools.learn.augment import Augment

        self.keys = draws.keys_of(ids)
        if settings.transform:
            raise UsageError(
                f"features that go through a fitted transform ({settings.transform}) are learned "
                "from a table: make one with mt-spec --apply FILE"
            )
        self.example_shape = example_shape(settings)
        self.random_crops = is_segmented(settings.excerpt)
        self._augment = augment or Augment()
        self._augment.check(self.example_shape)
        self.mixes = self._augment.mixes
        self.drawing = dict(self._augment.said)
        self._files = files or Files([])
        self._whose = list(whose) or [Whose(t.origin, t.path, (None, None)) for t in tracks]
        self._frontend = None if in_workers else _frontend(settings)
        self._tracks = list(tracks)
        self._ids = [str(id_) for id_ in ids]
        self._settings = settings
        self._seed = seed
        self._world = world
        if jobs < 0:  # torchrun's processes share the cores
            jobs = max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        self._jobs = jobs
        self._fail = fail
        self._failed: set[int] = set()

    def __len__(self) -> int:
        return len(self._tracks)

    def steps(self, rows: Rows, batch_size: int) -> int:
        """Return the number of batches that an epoch over `rows` has."""
        return len(draws.cut(rows, batch_size))

    def train(
        self, rows: Rows, epoch: int, batch_size: int, views: int = 1, skip: int = 0
    ) -> Iterator[tuple[Rows, list[Tensor]]]:
        """Yield (row numbers [m], views of them, each [m, ...]) in the order of this epoch.

        Of the batches that `skip` leaves out nothing is decoded. Raises `RunError` where fewer than
        two tracks of all can be.
        """
        import torch

        self._measure(rows)
        order = draws.shuffled(rows, self.keys, self._seed, "shuffle", epoch)
        batches = draws.cut(order, batch_size)[skip:]
        own = [self._own(batch) for batch in batches]
        outcomes = ordered(hear, self._hearings(own, epoch, views), self._jobs)
        for batch in batches:
            kept = self._kept(batch, self._exchanged(batch, outcomes))
            if len(kept) < min(2, len(batch)):
                kept += self._first(order, [row for row, _ in kept], epoch, views)
            examples = zip(*(waves for _, waves in kept), strict=True)
            yield (
                np.array([row for row, _ in kept], dtype=np.intp),
                [torch.from_numpy(np.stack(view)) for view in examples],
            )

    def _own(self, batch: Rows) -> Rows:
        """Return the rows of a batch that this process decodes."""
        return batch if self._world is None else batch[self._world.rank :: self._world.size]

    def _exchanged(self, batch: Rows, outcomes: Iterator[_Decoded]) -> Iterator[_Decoded]:
        """Yield what became of each row of a batch, in order, whichever process decoded it."""
        if self._world is None or self._world.size == 1:
            return outcomes
        mine = [next(outcomes) for _ in self._own(batch)]
        # Without the tasks, which may hold whole files.
        parts = self._world.gather([dataclasses.replace(one, item=None) for one in mine])
        places = range(len(batch))
        return (parts[place % len(parts)][place // len(parts)] for place in places)

    def _kept(self, rows: Rows, outcomes: Iterator[_Decoded]) -> list[tuple[int, list[np.ndarray]]]:
        """Return the rows that could be decoded, and the examples of each."""
        heard = [(row, self._value(row, next(outcomes))) for row in rows.tolist()]
        return [(row, waves) for row, waves in heard if waves is not None]

    def _first(
        self, order: Rows, left: list[int], epoch: int, views: int
    ) -> list[tuple[int, list[np.ndarray]]]:
        """Return the first rows of an epoch that can be decoded, so that with those left two are.

        From the beginning of the epoch and not from the batch before, which a resumed run lacks.
        """
        found: list[tuple[int, list[np.ndarray]]] = []
        rows = order[~np.isin(order, left)]
        outcomes = ordered(hear, self._hearings([rows], epoch, views), self._jobs)
        for row in rows:
            found += self._kept(np.array([row]), outcomes)
            if len(left) + len(found) == 2:
                outcomes.close()  # type: ignore[attr-defined]  # stops what they have begun
                return found
        raise RunError(
            f"{len(left) + len(found)} of {len(order)} training tracks could be decoded, and a "
            "batch needs two: see the messages above"
        )

    def read(self, rows: Rows, batch_size: int) -> Iterator[tuple[Rows, Tensor]]:
        """Yield (row numbers [m], examples [m, ...]) in the order of `rows`, nothing drawn."""
        import torch

        self._measure(rows)
        of_row: list[int] = []
        waiting: list[tuple[int, np.ndarray]] = []

        def batch(parts: list[tuple[int, np.ndarray]]) -> tuple[Rows, Tensor]:
            numbers, waves = zip(*parts, strict=True)
            return np.array(numbers, dtype=np.intp), torch.from_numpy(np.stack(waves))

        for place, outcome in enumerate(ordered(hear, self._readings(rows, of_row), self._jobs)):
            row = of_row[place]
            waiting += [(row, wave) for wave in self._value(row, outcome) or []]
            while len(waiting) >= batch_size:
                yield batch(waiting[:batch_size])
                waiting = waiting[batch_size:]
        if waiting:
            yield batch(waiting)

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
        """Return the features of waveforms that are on the device, as this epoch has them."""
        if self._frontend is not None:
            x = self._frontend.to(x.device)(x)
        if epoch is None:
            return x
        return self._augment(x, self.keys[rows], epoch, view, partners)

    def reseeded(self, seed: int) -> AudioFeed:
        """Return the same feed with the draws of another seed."""
        other = copy.copy(self)
        other._seed, other._augment = seed, self._augment.reseeded(seed)
        return other

    def _hearings(self, batches: Sequence[Rows], epoch: int, views: int) -> Iterator[Hearing]:
        """Yield what the workers decode, row by row, in order."""
        for batch in batches:
            keys = self.keys[batch]
            pools = [
                functools.partial(self._files.pool, whose=self._whose[row])
                for row in batch.tolist()
            ]
            places = [draws.uniform(keys, self._seed, "crop", epoch, view) for view in range(views)]
            chosen = [
                list(self._augment.sounds(keys, epoch, view, pools.__getitem__))
                for view in range(views)
            ]
            for index, row in enumerate(batch.tolist()):
                yield Hearing(
                    self._tracks[row],
                    self._settings,
                    self._frontend is None,
                    tuple(float(place[index]) for place in places),
                    tuple(recipe[index] for recipe in chosen),
                )

    def _readings(self, rows: Rows, of_row: list[int]) -> Iterator[Hearing]:
        """Yield what the workers decode to read rows; note whose each is."""
        for row in np.asarray(rows).tolist():
            track = self._tracks[row]
            try:
                parts = parts_of(track, track.effects(), self._settings)
            except RowError as error:
                self._report(row, error)
                continue
            for run in runs(parts, self._settings):
                of_row.append(row)
                yield Hearing(track, self._settings, self._frontend is None, parts=tuple(run))

    def _measure(self, rows: Rows) -> None:
        """Look up the lengths of tracks that are cut and whose rows do not say them."""
        if not parse_excerpt(self._settings.excerpt).needs_length:
            return
        unknown = [row for row in rows.tolist() if self._tracks[row].length is None]
        lengths = ordered(length_of, [self._tracks[row] for row in unknown], self._jobs)
        for row, outcome in zip(unknown, lengths if unknown else (), strict=True):
            if outcome.error is not None:
                self._report(row, outcome.error)
            else:
                track = self._tracks[row]
                self._tracks[row] = dataclasses.replace(track, length=outcome.value)

    def _value(self, row: int, outcome: _Decoded) -> Any:
        """Return what was made of a row; None, and a report, where that failed."""
        if outcome.error is not None:
            self._report(row, outcome.error)
        return outcome.value

    def _report(self, row: int, error: RowError) -> None:
        if row not in self._failed:
            self._failed.add(row)
            self._fail({"id": self._ids[row], "path": self._tracks[row].path}, error)


def _frontend(settings: FeatureSettings) -> Any:
    """Return the module that computes the features; None where only the workers can."""
    from mt_tools.nets.frontend import Frontend

    try:
        return Frontend(settings)
    except UsageError:
        return None


def example_shape(settings: FeatureSettings) -> tuple[int, ...]:
    """Return the shape of the features of one example.

    Raises `UsageError` for whole tracks, which are of unequal lengths.
    """
    seconds = settings.excerpt_seconds
    if seconds is None and not settings.frames and not settings.is_vector:
        raise UsageError(
            "whole tracks are of unequal lengths and cannot share a batch: learn from crops with "
            "--crop S, or from a preset that takes a part of each track"
        )
    return settings.shape_for(seconds or 0.0)


def open_audio(
    batches: Iterable[Batch],
    kept: Sequence[str],
    features: FeatureSettings,
    settings: FeedSettings,
    *,
    seed: int = 0,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
    in_workers: bool,
    world: World | None = None,
) -> Examples:
    """Return the rows of `batches` and the feed of their sound.

    `features` are what the network gets, of crops as long as the settings say. Of the columns those
    in `kept` stay. The digest is of what the table says of the tracks, not of their files. Raises
    `NoRows` without rows, and `UsageError` for rows without sound, for recipes where the rows have
    some already, and for crops or recipes that do not fit.
    """
    from mt_tools.learn.augment import augment_of
    from mt_tools.learn.feeds import Examples, cropped

    if settings.crop:
        features = cropped(features, settings.crop)
    augment = augment_of(settings, seed, features.to_json(), heard=True)
    templates = [template.on_sound for template in augment.recipes] if augment else []
    changed = any(template.steps for template in templates)
    files = Files(templates)
    tables: list[Batch] = []
    tracks: list[Track] = []
    whose: list[Whose] = []
    named: list[Batch] = []
    digest = hashlib.sha256(repr(sorted(features.to_json().items())).encode())
    for batch in batches:
        found = tracks_of(batch, folders)
        if changed and any(track.recipe for track in found):
            raise UsageError(
                "the rows have recipes already, and --recipe would put another on top: leave it "
                "out, or name the original tracks"
            )
        for id_, track in zip(batch.ids, found, strict=True):
            digest.update(repr((id_, [getattr(track, name) for name in SELECTION])).encode())
        tables.append(batch.without([n for n in batch.names if n not in ("id", *kept)]))
        tracks += found
        whose += whose_of(batch)
        if files.reads_table:
            named.append(batch.without([n for n in batch.names if n not in ("id", *COLUMNS)]))
    if not tracks:
        raise NoRows("the input had no rows: nothing to learn from")
    table = concatenate(tables)
    if named:
        files.read(source_of(named, folders))
    feed = AudioFeed(
        tracks,
        table.ids,
        features,
        seed=seed,
        augment=augment,
        files=files,
        whose=whose,
        jobs=jobs,
        fail=fail,
        in_workers=in_workers,
        world=world,
    )
    return Examples(table, feed, features.to_json(), digest.hexdigest())

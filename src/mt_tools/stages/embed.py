"""One vector a track or segment, from tracks, from features or from other embeddings.

Several models give several columns, or one column in which their embeddings stand side by side.
What an earlier run has made of the same sound with the same settings is taken from its table.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mt_tools.engine.pool import cores
from mt_tools.errors import RowError, UsageError
from mt_tools.features.pooling import pool, pooled_parts
from mt_tools.nets.model import Model
from mt_tools.nets.places import split_alias
from mt_tools.nets.several import digest_of, side_by_side, with_layers
from mt_tools.settings import differences
from mt_tools.sound.digest import audio_digest
from mt_tools.stages.frontend import (
    Fail,
    Part,
    Track,
    fresh,
    gathered,
    is_segmented,
    report_row,
    segments_of,
    tracks_of,
    whole_tracks,
)
from mt_tools.stages.networks import (
    NO_POOLING,
    Named,
    applied,
    column_excerpt,
    front_settings,
    input_column,
    model_inputs,
    stays_whole,
    takes_songs,
)
from mt_tools.tables import fitted
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tables.source import Source, open_table

CONTENT = Column("audio_digest", "string", "reserved")
"""The digest of what a row's vectors were made of, by which `--update` knows it again."""

_PLACE = Column("mt.place", "integer", "reserved")
"""The number of a row in the input, while it is on its way."""


@dataclass(frozen=True)
class Made:
    """A column that is made: its name, and the models whose embeddings stand in it side by side.

    `typed` are their names as the user typed them, `layers` those that are taken of each.
    """

    column: str
    typed: tuple[str, ...]
    models: tuple[Model, ...]
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Way:
    """How vectors are made of tracks, beside the models."""

    pool: str = ""
    segment: float = 0.0
    hop: float = 0.0
    precision: str = "float32"
    chosen: str = ""
    keep: bool = False
    batch_size: int = 32
    folders: Sequence[str] = ()
    jobs: int = 0


def fitted_on(made: Sequence[Made]) -> dict[str, Any]:
    """Return what the provenance says of the rows that dictionaries of frames were fitted on."""
    found = []
    for model in (model for one in made for model in one.models):
        whole: Model | None = model
        while whole is not None:
            said = whole.document["input"].get(fitted.KEY)
            found += [said] * (said is not None and said not in found)
            whole = whole.backbone
    return {fitted.KEY: found} if found else {}


def check_pool(how: str) -> str:
    """Return a way of pooling, or raise `UsageError` for one that does not exist."""
    if how not in NO_POOLING:
        try:
            pooled_parts(how)
        except UsageError as error:
            raise UsageError(f"{error}; or none: a row a segment") from None
    return how


def parse_models(
    texts: Sequence[str], layers: Sequence[str], column: str, resolve: Any
) -> list[Made]:
    """Return what is to be made, from `NAME`, `FILE` or `ALIAS=FILE` a model.

    Those without an alias share `column`, those of an alias `column.alias`. `resolve` returns the
    model of a name.
    """
    names: dict[str, list[str]] = {}
    for text in texts:
        alias, name = split_alias(text)
        names.setdefault(f"{column}.{alias}" if alias else column, []).append(name)
    return [
        Made(
            made,
            tuple(typed),
            tuple(with_layers(resolve(name), layers) for name in typed),
            tuple(layers),
        )
        for made, typed in names.items()
    ]


def calibrated(model: Model, table: Source, batch_size: int) -> Model:
    """Return a model whose batch norms hold the statistics of the features in a table.

    Raises `UsageError` for a table without such features.
    """
    column = input_column(table.columns, model)
    if column is None:
        raise UsageError(
            f"--calibrate: the table has no features that {model.name} takes; make them with "
            "mt-spec and the model's preset"
        )

    def batches() -> Iterator[np.ndarray]:
        for batch in table:
            rows = batch[column.name]
            yield rows[np.isfinite(rows).reshape(len(rows), -1).all(axis=1)]

    return model.calibrated(batches, batch_size)


# --- from rows to vectors ------------------------------------------------------------------------


@dataclass
class _Pass:
    """Models that take the same input, and the columns that their vectors stand in meanwhile."""

    takes: Any
    models: list[Model] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def run(
    batches: Iterable[Batch],
    columns: Mapping[str, Column],
    made: Sequence[Made],
    way: Way,
    fail: Fail,
    earlier: Earlier | None = None,
) -> Iterator[Batch]:
    """Yield the rows with their embeddings in the columns of `made`.

    Features in the table are used where they are what a model takes (or `way.chosen`); otherwise
    the tracks are decoded. Segments are pooled to a row a track, or stay a row each. Each column
    says which model made it (as typed, and by its digest), and how. With `earlier`, rows whose
    sound it knows take their vectors from there. Raises `UsageError` for models that cannot be
    applied in one run.
    """
    columns = dict(columns)
    excerpts: dict[str, str] = {}
    passes = _passes(made, columns, way, excerpts)
    described = {one.column: _settings(one, way, excerpts) for one in made}
    stream: Iterable[Batch] = fresh(batches, *described)
    if earlier is not None:
        for one in passes:
            if isinstance(one.takes, str):
                raise UsageError(
                    f"--update compares sound: give it the tracks, not a table of {one.takes}"
                )
        whole = way.pool not in NO_POOLING or stays_whole(passes[0].models[0])
        segmented = not whole and is_segmented(next(iter(excerpts.values())))
        stream = earlier.left(stream, described, segmented, way, fail)
    for number, one in enumerate(passes):
        keep = way.keep or number < len(passes) - 1
        stream = _one_pass(stream, columns, one, way, keep, fail)
    stream = _joined(stream, made, described, way.pool)
    yield from stream if earlier is None else earlier.merged(stream)


def _passes(
    made: Sequence[Made], columns: dict[str, Column], way: Way, excerpts: dict[str, str]
) -> list[_Pass]:
    """Group the models by what they take; `excerpts` gets the excerpt of each, by its column."""
    passes: dict[Any, _Pass] = {}
    segments: list[str] = []
    for one in made:
        for number, model in enumerate(one.models):
            column = input_column(columns, model, way.chosen)
            if column is None:
                settings = front_settings(model, way.pool, way.segment, way.hop)
                takes: Any = tuple(settings.to_json().items())
                excerpt = settings.excerpt
            else:
                takes, excerpt = column.name, column_excerpt(column, model)
            name = _meanwhile(one.column, number)
            excerpts[name] = excerpt
            apart = way.pool in NO_POOLING and not stays_whole(model)
            segments += [model.name] * (is_segmented(excerpt) and (apart or column is not None))
            # What takes vectors, or stands on another model, goes its own way.
            alone = model.backbone is not None or model.input_kind == "embedding"
            own = name if alone else takes_songs(model)
            group = passes.setdefault((takes, excerpt, own), _Pass(takes))
            group.models.append(model)
            group.names.append(name)
    if len(passes) > 1 and segments:
        raise UsageError(
            f"{segments[0]} gives or takes rows of segments, and not all models take the same "
            "input: say --pool mean and give tracks, or embed with one model at a time"
        )
    return list(passes.values())


def _meanwhile(column: str, number: int) -> str:
    """Return the name of the column that a model's vectors stand in before they are joined."""
    return f"mt.{column}.{number}"


def _one_pass(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    one: _Pass,
    way: Way,
    keep: bool,
    fail: Fail,
) -> Iterator[Batch]:
    """Yield the rows with a column of its own for each model of a pass."""
    front = side_by_side(one.models)
    pooled = way.pool not in NO_POOLING
    inputs, _, joined = model_inputs(
        batches, columns, front, by_track=pooled, how=way.pool, segment=way.segment, hop=way.hop,
        chosen=way.chosen, keep=keep, batch_size=way.batch_size, folders=way.folders,
        jobs=way.jobs, fail=fail, precision=way.precision,
    )  # fmt: skip

    def network(x: np.ndarray) -> Named:
        return {
            name: model.embed(x, way.batch_size, kind=model.input_kind, precision=way.precision)
            for name, model in zip(one.names, one.models, strict=True)
        }

    made = applied(inputs, network, way.batch_size, fail, takes_songs(front))
    found = (
        (batch, row, [pool(v, way.pool) if pooled else v[0] for v in vectors.values()])
        for batch, row, vectors in made
    )
    for batch, rows in gathered(found):
        if joined:
            batch = whole_tracks(batch)
        for name, vectors in zip(one.names, zip(*rows, strict=True), strict=True):
            column = Column(name, "vector", "embedding", shape=vectors[0].shape)
            batch = batch.append(column, np.stack(vectors))
        yield batch


def _joined(
    batches: Iterable[Batch],
    made: Sequence[Made],
    described: Mapping[str, dict[str, Any]],
    how: str,
) -> Iterator[Batch]:
    """Yield the rows with the columns of `made`, each of its models' vectors side by side.

    They stand as if joined before they were pooled, the means of all models before the deviations
    of all, which is how `networks` pools the vectors of a backbone of several models.
    """
    parts = 1 if how in NO_POOLING else pooled_parts(how)
    for batch in batches:
        for one in made:
            names = [_meanwhile(one.column, number) for number in range(len(one.models))]
            vectors = [batch[name].reshape(len(batch), parts, -1) for name in names]
            joined = np.concatenate(vectors, axis=2).reshape(len(batch), -1)
            settings = described[one.column]
            new = Column(one.column, "vector", "embedding", settings, joined.shape[1:])
            batch = batch.without(names).append(new, joined)
        yield batch


def _settings(one: Made, way: Way, excerpts: Mapping[str, str]) -> dict[str, Any]:
    """Return what a column says of how it was made."""
    several = len(one.models) > 1
    cuts = dict.fromkeys(excerpts[_meanwhile(one.column, n)] for n in range(len(one.models)))
    said: dict[str, Any] = {
        "model": list(one.typed) if several else one.typed[0],
        "digest": digest_of(one.models),
        "pooling": way.pool or "none",
        "excerpt": list(cuts) if len(cuts) > 1 else next(iter(cuts)),
    }
    if one.layers:
        said["layers"] = list(one.layers)
    if way.precision != "float32":
        said["precision"] = way.precision
    descriptors = one.models[0].document["input"].get("descriptors")
    if descriptors and not several:
        said["descriptors"] = descriptors
    return said


# --- what an earlier run has made ----------------------------------------------------------------


class Earlier:
    """The vectors of an earlier table, by the sound that they were made of.

    `table` is None where there is none yet. After the run, `taken` rows took their vectors from it
    and `new` ones did not; `note` says why none could.
    """

    def __init__(self, table: Batch | None) -> None:
        self.taken = self.new = 0
        self.note = ""
        self._table = table
        self._rows: dict[str, list[int]] = {}
        self._known: deque[tuple[int, Batch, int]] = deque()
        self._made: Mapping[str, dict[str, Any]] = {}
        self._segmented = False

    def left(
        self,
        batches: Iterable[Batch],
        made: Mapping[str, dict[str, Any]],
        segmented: bool,
        way: Way,
        fail: Fail,
    ) -> Iterator[Batch]:
        """Yield the rows whose sound is new; the others wait for `merged`.

        `made` are the settings of the columns, `segmented` says whether there is a row a segment.
        """
        self._made, self._segmented = made, segmented
        self.note = self._misfit()
        if self._table is not None and not self.note:
            origins = self._table.origins
            for row, content in enumerate(self._table[CONTENT.name]):
                # Of several tracks of the same sound the first serves for all.
                rows = self._rows.setdefault(content, [row])
                if segmented and row > rows[0] and origins[row] == origins[rows[0]]:
                    rows.append(row)
        place = itertools.count()
        with ThreadPoolExecutor(way.jobs if way.jobs > 0 else cores()) as threads:
            for batch in batches:
                if CONTENT.name in batch and batch.columns[CONTENT.name].role != CONTENT.role:
                    raise UsageError(
                        f"the table has a column {CONTENT.name!r} of its own, which --update would "
                        "overwrite: rename it"
                    )
                found = list(threads.map(_content, tracks_of(batch, way.folders)))
                good = []
                for row, content in enumerate(found):
                    if isinstance(content, RowError):
                        report_row(fail, batch, row, content)
                    else:
                        good.append(row)
                batch = batch.take(good).replace(CONTENT, [found[row] for row in good])
                places = list(itertools.islice(place, len(good)))
                batch = batch.append(_PLACE, places)
                known = [content in self._rows for content in batch[CONTENT.name]]
                self._known.extend(
                    (places[row], batch, row) for row in range(len(good)) if known[row]
                )
                fresh_rows = [row for row in range(len(good)) if not known[row]]
                self.taken += sum(known)
                self.new += len(fresh_rows)
                if fresh_rows:
                    yield batch.take(fresh_rows)

    def merged(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield new and known rows in the order of the input."""
        for batch, _ in gathered(self._in_order(batches)):
            yield batch.without([_PLACE.name])

    def _misfit(self) -> str:
        """Say what keeps the table's vectors from being those that are made now; "" is nothing."""
        if self._table is None:
            return ""
        columns = self._table.columns
        for name in (CONTENT.name, *self._made):
            if name not in columns:
                return f"no column {name!r}"
        for name, settings in self._made.items():
            unlike = [
                line
                for line in differences(columns[name].settings, settings)
                if not line.startswith("model:")  # a name; the digest tells models apart
            ]
            if unlike:
                return f"{name}: {'; '.join(unlike)}"
        return ""

    def _in_order(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, int, None]]:
        for batch in batches:
            for row, place in enumerate(batch.integers(_PLACE.name)):
                yield from self._known_before(place)
                yield batch, row, None
        yield from self._known_before(None)

    def _known_before(self, place: int | None) -> Iterator[tuple[Batch, int, None]]:
        pieces: list[tuple[Batch, list[int]]] = []
        while self._known and (place is None or self._known[0][0] < place):
            _, batch, row = self._known.popleft()
            if pieces and pieces[-1][0] is batch:
                pieces[-1][1].append(row)
            else:
                pieces.append((batch, [row]))
        for batch, rows in pieces:
            filled = self._filled(batch.take(rows))
            yield from ((filled, row, None) for row in range(len(filled)))

    def _filled(self, batch: Batch) -> Batch:
        """Return known rows with the vectors of the table, each segment's where it has segments."""
        assert self._table is not None
        rows = [self._rows[content] for content in batch[CONTENT.name]]
        old = self._table.take(list(itertools.chain.from_iterable(rows)))
        if self._segmented:
            starts, durations = old.get("start").tolist(), old.get("duration").tolist()
            parts = (Part(*times, np.empty(0)) for times in zip(starts, durations, strict=True))
            tracks = (
                (batch, row, list(itertools.islice(parts, len(rows[row]))))
                for row in range(len(batch))
            )
            batch = concatenate([segment for segment, _, _ in segments_of(tracks)])
        for name, settings in self._made.items():
            values = old[name]
            column = Column(name, "vector", "embedding", settings, values.shape[1:])
            batch = batch.append(column, values)
        return batch


def read_earlier(path: str, made: Iterable[Made]) -> Batch | None:
    """Return what `--update` needs of a table; None where there is none yet."""
    if not os.path.exists(path):
        return None
    kept = {CONTENT.name, "id", "origin", "start", "duration", *(one.column for one in made)}
    source = Source([open_table(path)])
    batches = [batch.without(set(batch.names) - kept) for batch in source]
    return concatenate(batches) if batches else None


def _content(track: Track) -> str | RowError:
    """Return the digest of a track's sound and of which part of it is meant, or what is wrong."""
    try:
        sound = audio_digest(track.source())
    except RowError as error:
        return error
    chosen = (track.start, track.duration, track.recipe)
    if chosen == (None, None, ""):
        return sound
    return hashlib.sha256(f"{sound} {chosen}".encode()).hexdigest()

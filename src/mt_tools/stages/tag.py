"""Applies models to tracks, features or embeddings: scores and chosen tags.

`infer` gives what the networks of all models say of each row, `predicted` makes columns of it.

Conventions: rows are tracks, whose segments' scores are averaged (the AGF and SEQ studies average
probabilities), or with `Way.segments` the segments themselves: a taggram.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from mt_tools.errors import RowError, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.model import Model
from mt_tools.nets.registry import ARCHITECTURES
from mt_tools.stages.frontend import (
    Fail,
    feature_rows,
    fresh,
    gathered,
    is_segmented,
    segments_of,
    whole_tracks,
)
from mt_tools.stages.networks import (
    NO_POOLING,
    Inputs,
    Named,
    applied,
    column_excerpt,
    fitted_transform,
    front_settings,
    input_column,
    model_inputs,
    network_inputs,
    pooling_inside,
    stays_whole,
    takes_songs,
)
from mt_tools.stages.settings import TagSettings
from mt_tools.stages.taggers import ADVICE, VECTOR, Scores, Tagger, made, predicted, taggers
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tasks.kinds import scores

__all__ = ["Scores", "Tagger", "Way", "infer", "predicted", "run", "taggers"]

Item = TypeVar("Item")

_HEAVY = ("feature", "embedding")
_PLACE = Column("mt.place", "integer", "reserved")
"""The number of a track in the input, while several networks are at it."""


@dataclass(frozen=True)
class Way:
    """How rows go through the networks.

    With `segments` there is a row a segment. `segment` and `hop` are seconds, 0 = as the model was
    trained. With `vectors` there is an embedding a row as well. Rows come out `together`, so many
    at a time; 0 = as many as go through the network.
    """

    batch_size: int = 32
    folders: Sequence[str] = ()
    jobs: int = 0
    segments: bool = False
    segment: float = 0.0
    hop: float = 0.0
    vectors: bool = False
    together: int = 0


def run(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    taggers: Sequence[Tagger],
    settings: TagSettings,
    way: Way,
    fail: Fail,
) -> Iterator[Batch]:
    """Yield the rows with their predictions: `infer`, then `predicted`."""
    for batch, found in infer(batches, columns, taggers, way, fail):
        yield predicted(batch, found, taggers, settings)


@dataclass
class _Lane:
    """Models whose networks take the same input: it is made once.

    That is the features to compute, or else the `column` that holds them, cut as `excerpt` says,
    and what they go `through`: the backbone, its pooling, and whether songs are taken whole.
    `joins` says whether rows of segments become one of their track.
    """

    features: FeatureSettings | None
    column: str
    excerpt: str
    through: tuple[str, str, bool]
    joins: bool = False
    taggers: list[Tagger] = field(default_factory=list)

    @property
    def model(self) -> Model:
        """One of the models."""
        return self.taggers[0].model

    @property
    def source(self) -> tuple[Any, ...]:
        """What is decoded, or read: equal for lanes that can share it."""
        if self.features is None:
            return (self.column, self.through, self.excerpt)
        return tuple(self.features.to_json().items())


def infer(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    taggers: Sequence[Tagger],
    way: Way,
    fail: Fail,
) -> Iterator[tuple[Batch, list[Scores]]]:
    """Yield the rows, in input order and without features, with what all models say of each.

    Embeddings or features in the table are used where they are what a model takes; otherwise the
    tracks are decoded, once for models that take the same. A row that fails in one model is
    reported once and absent. Raises `SettingsMismatch` for features that do not fit, and
    `UsageError` for segments that a model cannot have.
    """
    names = [name for tagger in taggers for name in made(tagger)]
    untagged = fresh(batches, *names, advice=ADVICE)
    lanes = _lanes(taggers, columns, way)
    if len(lanes) == 1:
        (found,) = _heard(untagged, columns, lanes, way, fail)
    else:
        found = _in_step(untagged, columns, lanes, way, fail)
    # As many rows at a time as go through the network: people watch them come.
    for batch, values in gathered(found, way.together or way.batch_size):
        if lanes[0].joins:
            batch = whole_tracks(batch)
        heavy = [c.name for c in batch.columns.values() if c.role in _HEAVY]
        yield batch.without([*heavy, _PLACE.name]), values


def _lanes(taggers: Sequence[Tagger], columns: dict[str, Column], way: Way) -> list[_Lane]:
    """Group the models by what their networks take; see `infer` for what is raised."""
    lanes: dict[Any, _Lane] = {}
    for tagger in taggers:
        lane = _lane(tagger.model, columns, way)
        lanes.setdefault((lane.source, lane.through), lane).taggers.append(tagger)
    first, *others = lanes.values()
    for other in others:
        unlike = (first.features is None, first.excerpt) != (
            other.features is None,
            other.excerpt,
        )
        if first.joins != other.joins or (way.segments and unlike):
            raise UsageError(
                f"{first.model.name} and {other.model.name} take segments of their own "
                f"({first.excerpt or 'whole'}; {other.excerpt or 'whole'}), which do not stand in "
                "one row: give both tracks, with --segments also a length, --segment S; or tag "
                "with one at a time"
            )
    return list(lanes.values())


def _lane(model: Model, columns: dict[str, Column], way: Way) -> _Lane:
    """Return what a model's network takes."""
    whole = stays_whole(model)
    if way.segments and whole:
        how = pooling_inside(model)
        what = f"pools the segments of a track by {how}" if how else "takes whole songs"
        raise UsageError(f"{model.name} {what}, so there is no answer a segment: no --segments")
    backbone, digest, pooling = model.backbone, "", ""
    column = input_column(columns, model)
    if backbone is not None and (column is None or column.role != "embedding"):
        digest, pooling = backbone.digest, str(model.document["input"]["settings"].get("pooling"))
    through = (digest, pooling, takes_songs(model))
    if column is not None:
        excerpt = column_excerpt(column, model)
        if way.segments and not is_segmented(excerpt):
            raise UsageError(
                f"--segments finds none: {column.name!r} has one piece a track "
                f"({excerpt or 'nothing says how it was cut'}); make them with mt-spec --segment, "
                "or give the tracks"
            )
        unpooled = column.settings.get("pooling", "none") in NO_POOLING
        rows_of_segments = is_segmented(str(column.settings.get("excerpt", "")))
        joins = not way.segments and unpooled and rows_of_segments
        return _Lane(None, column.name, excerpt, through, joins)
    segment = way.segment
    if way.segments and not segment:
        settings = front_settings(model)
        if settings.excerpt_seconds is None:
            raise UsageError(
                f"{model.name} takes tracks of any length: say how long a segment is, --segment S"
            )
        segment = settings.excerpt_seconds
    settings = front_settings(model, "", segment, way.hop)
    _check_length(model, settings.excerpt_seconds)
    return _Lane(settings, "", settings.excerpt, through)


def _check_length(model: Model, seconds: float | None) -> None:
    """Raise `UsageError` where a network of one length is to take segments of another."""
    front = model.front
    row = ARCHITECTURES.get(front.document["arch"])
    if row is None or row.any_frames or seconds is None:
        return
    trained = front.feature_settings.excerpt_seconds
    frames = dataclasses.replace(front.feature_settings, frames=0).shape_for(seconds)[-1]
    if frames != front.input_shape[-1] and seconds != trained:
        length = "one length" if trained is None else f"{trained:g} s"
        raise UsageError(
            f"{model.name} takes segments of {length} only, got --segment {seconds:g}: leave it "
            "out; --hop says how often one begins"
        )


def _heard(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    lanes: Sequence[_Lane],
    way: Way,
    fail: Fail,
) -> list[Iterator[tuple[Batch, int, Scores]]]:
    """Return a stream a lane, of the rows with what its models say; what is equal is made once."""
    groups: dict[Any, list[_Lane]] = {}
    for lane in lanes:
        groups.setdefault(lane.source, []).append(lane)
    found: dict[int, Iterator[tuple[Batch, int, Scores]]] = {}
    for copy, group in zip(_copies(batches, len(groups)), groups.values(), strict=True):
        for lane, inputs in zip(group, _inputs(copy, columns, group, way, fail), strict=True):
            found[id(lane)] = _said(inputs, lane, way, fail)
    return [found[id(lane)] for lane in lanes]


def _inputs(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    group: Sequence[_Lane],
    way: Way,
    fail: Fail,
) -> list[Inputs]:
    """Return what the networks of each lane take, made of the same features or the same column."""
    first = group[0]
    if first.features is None:
        inputs, _, _ = model_inputs(
            batches, columns, first.model, by_track=not way.segments, segment=way.segment,
            hop=way.hop, batch_size=way.batch_size, folders=way.folders, jobs=way.jobs, fail=fail,
        )  # fmt: skip
        return [inputs]
    rows = feature_rows(
        batches, first.features, folders=way.folders, jobs=way.jobs, fail=fail,
        transform=fitted_transform(first.model),
    )  # fmt: skip
    if way.segments:
        rows = segments_of(rows)
    return [
        network_inputs(copy, lane.model, way.batch_size, fail)
        for copy, lane in zip(_copies(rows, len(group)), group, strict=True)
    ]


def _copies(stream: Iterable[Item], count: int) -> Sequence[Iterator[Item]]:
    """Return a stream so many times; what one has read waits for the others."""
    return itertools.tee(stream, count) if count > 1 else [iter(stream)]


def _said(inputs: Inputs, lane: _Lane, way: Way, fail: Fail) -> Iterator[tuple[Batch, int, Scores]]:
    """Yield the rows with what the models of a lane say."""

    def network(x: np.ndarray) -> Named:
        found: Named = {}
        for tagger in lane.taggers:
            kind = tagger.model.input_kind
            logits = tagger.model.logits(x, way.batch_size, kind=kind)
            for name, task in tagger.columns.items():
                found[name] = scores(task, logits[task["name"]])
            if way.vectors:
                found[tagger.prefix + VECTOR] = tagger.model.embed(x, way.batch_size, kind=kind)
        return found

    found = applied(inputs, network, way.batch_size, fail, takes_songs(lane.model))
    for batch, row, said in found:
        yield batch, row, {name: values.mean(axis=0) for name, values in said.items()}


def _in_step(
    batches: Iterable[Batch], columns: dict[str, Column], lanes: list[_Lane], way: Way, fail: Fail
) -> Iterator[tuple[Batch, int, Scores]]:
    """Yield the rows with what the models of all lanes say, each lane with its own decoding."""
    failed: set[str] = set()

    def once(row: dict[str, Any], error: RowError) -> None:
        if row["id"] not in failed:
            failed.add(row["id"])
            fail(row, error)

    streams = _heard(_placed(batches, lanes[0].joins), columns, lanes, way, once)
    heads = [next(stream, None) for stream in streams]
    while all(heads):
        keys = [_key(*head[:2]) for head in heads if head]
        last = max(keys)
        if min(keys) == last:
            batch, row, _ = heads[0]  # type: ignore[misc]
            said = {name: values for head in heads if head for name, values in head[2].items()}
            yield batch, row, said
        for number, key in enumerate(keys):
            if key < last or min(keys) == last:
                heads[number] = next(streams[number], None)


def _placed(batches: Iterable[Batch], joined: bool) -> Iterator[Batch]:
    """Number the rows, or the tracks where rows of one are `joined` as `column_rows` does."""
    place, before = -1, None
    for batch in batches:
        places = []
        keys = zip(batch.origins, batch.get("recipe"), batch.get("path"), strict=True)
        for key in keys:
            place += not (joined and key == before)
            before = key
            places.append(place)
        yield batch.append(_PLACE, places)


def _key(batch: Batch, row: int) -> tuple[float, float]:
    """Return where a row stands among all: the number of its track, and where in it it begins."""
    start = batch.get("start")[row]
    return float(batch[_PLACE.name][row]), 0.0 if start is None or start != start else float(start)

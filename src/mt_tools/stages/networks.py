"""From features to vectors: what embed and tag do with a model before they differ.

A model trained on embeddings stands on the model that made them, its backbone; between the two
the segments of a track may be pooled. A network of songs of any length takes all segments of a
track at once. Networks run in this process, on segments of several tracks at a time, while the
tracks of the next batch are decoded.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from mt_tools.errors import RowError, SettingsMismatch, UsageError
from mt_tools.features.pooling import pool
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.transforms import Transform
from mt_tools.nets.model import Model
from mt_tools.nets.registry import ARCHITECTURES
from mt_tools.stages.frontend import (
    Fail,
    Part,
    Rows,
    Slices,
    column_rows,
    feature_rows,
    is_segmented,
    report_row,
    segments_of,
)
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

NO_POOLING = ("", "none")


class Segments:
    """The features of a track's parts as an array [parts, ...], read where they are asked for."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self.shape: tuple[int, ...] = (len(parts), *parts[0].features.shape)

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, which: slice) -> np.ndarray:
        return np.stack([part.features for part in self._parts[which]])


Input = np.ndarray | Segments
Inputs = Iterator[tuple[Batch, int, Input]]
"""Tracks on their way: where each stands, and what a network takes of it.

That is [parts, ...], its segments, or for a network of songs [1, parts, ...], the song. Of either
kind it has a length, a `shape`, and slices, which are arrays.
"""
Named = dict[str, np.ndarray]
Waiting = list[tuple[Batch, int, Input]]


def input_column(columns: dict[str, Column], model: Model, chosen: str = "") -> Column | None:
    """Return the column that the model can start from, None where the tracks are to be decoded.

    Embeddings are taken by a model that was trained on the like, features by one whose settings
    they have. Raises `SettingsMismatch` for columns that do not fit, each difference spelled out.
    """
    if chosen and chosen not in columns:
        raise UsageError(f"no column {chosen!r} in the input: it has {', '.join(columns)}")
    if model.input_kind == "embedding" and (not chosen or columns[chosen].role == "embedding"):
        found = _embedding_column(columns, model, chosen)
        if found is not None:
            return found
    return _feature_column(columns, model, chosen)


def _embedding_column(columns: dict[str, Column], model: Model, chosen: str) -> Column | None:
    found = [c for c in columns.values() if c.role == "embedding" and chosen in ("", c.name)]
    expected = model.document["input"]["settings"]
    for column in found:
        same = all(column.settings.get(key) == expected.get(key) for key in ("digest", "pooling"))
        if same and column.shape == model.input_shape:
            return column
    elsewhere = {"path", "audio"} & columns.keys() or _features(columns)
    if not found or (model.backbone is not None and elsewhere and not chosen):
        return None
    raise SettingsMismatch(
        f"no embedding column of {expected.get('model', 'the kind')} "
        f"({', '.join(c.name for c in found)} in the input) as {model.name} was trained on: embed "
        "the tracks with the same model, or give the tracks themselves"
    )


def _feature_column(columns: dict[str, Column], model: Model, chosen: str) -> Column | None:
    features = [c for c in _features(columns) if chosen in ("", c.name)]
    if not features:
        if chosen:
            raise UsageError(
                f"column {chosen!r} ({columns[chosen].role}) holds nothing that {model.name} takes"
            )
        return None
    expected = model.front.document["input"]["settings"]
    named = [c for c in features if c.name == expected.get("kind")] or features
    if len(named) > 1:
        names = ", ".join(c.name for c in named)
        raise UsageError(f"the input has the features {names}: choose one with --column NAME")
    column = named[0]
    if not column.settings and not expected:
        return column  # neither knows: the shapes decide
    if not column.settings:
        raise SettingsMismatch(
            f"column {column.name!r} does not say how it was made, and {model.name} takes features "
            "of its own settings only: say it with --assume PRESET, or give the tracks"
        )
    differ = FeatureSettings.from_json(column.settings).compatible(model.feature_settings)
    if differ:
        raise SettingsMismatch(
            f"column {column.name!r} does not fit {model.name}: {'; '.join(differ)}; compute the "
            "features again with the model's settings, or give the tracks"
        )
    return column


def _features(columns: dict[str, Column]) -> list[Column]:
    return [column for column in columns.values() if column.role == "feature"]


def fitted_transform(model: Model) -> Transform | None:
    """Return the fitted transform that a model's features go through, which it carries."""
    text = model.front.document["input"].get("transform")
    return Transform.from_text(text, model.name) if text else None


def pooling_inside(model: Model) -> str:
    """Return how a model pools the segments of a track by itself: "" where it takes single ones."""
    while model.backbone is not None:
        how = str(model.document["input"]["settings"].get("pooling", ""))
        if how not in NO_POOLING:
            return how
        model = model.backbone
    return ""


def takes_songs(model: Model) -> bool:
    """Say whether a network takes all segments of a track at once."""
    rows = [ARCHITECTURES.get(m.document["arch"]) for m in getattr(model, "members", [model])]
    songs = {row is not None and row.sequence for row in rows}
    if len(songs) > 1:
        raise UsageError(
            f"{model.name}: some take whole songs, others single segments: give each a column of "
            "its own, --model ALIAS=FILE"
        )
    return songs == {True}


def stays_whole(model: Model) -> bool:
    """Say whether a model makes one row of all segments of a track by itself."""
    return takes_songs(model) or bool(pooling_inside(model))


def front_settings(
    model: Model, how: str = "", segment: float = 0.0, hop: float = 0.0
) -> FeatureSettings:
    """Return the features to compute from audio: the model's, cut as the pooling needs.

    Without pooling the excerpt is the one that the model was trained on. With it, segments of
    `segment` seconds, or as long as that excerpt, one begun every `hop` seconds. Raises
    `UsageError` where no length is known, and for a model that pools by itself.
    """
    settings = model.feature_settings
    if model.backbone is not None:
        trained = model.document["input"]["settings"].get("excerpt") or settings.excerpt
        settings = _cut(settings, trained)
    if not (how or segment or hop):
        return settings
    _check_segments(model, how)
    seconds = segment or settings.excerpt_seconds
    if seconds is None:
        raise UsageError(
            f"{model.name} takes tracks of any length: say how long a segment is, --segment S"
        )
    stride = f":{hop:.10g}" if hop and hop != seconds else ""
    return _cut(settings, f"segment:{seconds:.10g}{stride}")


def _check_segments(model: Model, how: str) -> None:
    """Raise `UsageError` for a model whose segments no option may cut or pool."""
    inside = pooling_inside(model)
    if inside:
        raise UsageError(
            f"{model.name} pools segments by {inside} itself: leave out --pool, --segment and --hop"
        )
    if how and takes_songs(model):
        raise UsageError(f"{model.name} takes whole songs, segment by segment: leave out --pool")


def _cut(settings: FeatureSettings, excerpt: str) -> FeatureSettings:
    """Return the settings with another excerpt; a number of frames belongs to the old one."""
    if excerpt == settings.excerpt:
        return settings
    return dataclasses.replace(settings, excerpt=excerpt, frames=0)


def model_inputs(
    batches: Iterable[Batch],
    columns: dict[str, Column],
    model: Model,
    *,
    by_track: bool,
    how: str = "",
    segment: float = 0.0,
    hop: float = 0.0,
    chosen: str = "",
    keep: bool = False,
    batch_size: int,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
    precision: str = "float32",
) -> tuple[Inputs, str, bool]:
    """Return what the model's own network takes of each row, the excerpt, and `joined`.

    A column that the model can start from is used; otherwise the tracks are decoded. With
    `by_track` the segments of a track stay together, without it each is a row. Where `joined`, rows
    of segments were put together, and come as the first of each track: see `whole_tracks`.
    """
    by_track = by_track or stays_whole(model)
    column = input_column(columns, model, chosen)
    if column is None:
        settings = front_settings(model, how, segment, hop)
        transform = fitted_transform(model)
        rows = feature_rows(
            batches, settings, folders=folders, jobs=jobs, fail=fail, transform=transform
        )
        if is_segmented(settings.excerpt) and not by_track:
            rows = segments_of(rows)
        inputs = network_inputs(rows, model, batch_size, fail, precision)
        return inputs, settings.excerpt, False
    if segment or hop:
        option = "--segment" if segment else "--hop"
        raise UsageError(
            f"{option} has no effect on {column.name!r}, which is cut already: cut it with mt-spec "
            "--segment, or give the tracks"
        )
    cut = column_excerpt(column, model)
    if how:
        _check_segments(model, how)
    unpooled = column.settings.get("pooling", "none") in NO_POOLING
    if how not in NO_POOLING and not (is_segmented(cut) and unpooled):
        raise UsageError(
            f"--pool {how} finds nothing to pool: {column.name!r} has one piece a track "
            f"({cut or 'nothing says how it was cut'}); make segments with mt-spec --segment, or "
            "give the tracks"
        )
    joined = by_track and is_segmented(str(column.settings.get("excerpt", ""))) and unpooled
    slices = slices_of(column, model)
    if slices is not None:
        slices = dataclasses.replace(slices, placed=not by_track)
    rows = column_rows(batches, column, joined=joined, keep=keep, fail=fail, slices=slices)
    if slices is not None and not by_track:
        rows = segments_of(rows)
    if column.role == "embedding":
        return _songs(_stacked(rows), model), cut, joined
    return network_inputs(rows, model, batch_size, fail, precision), cut, joined


def slices_of(column: Column, model: Model) -> Slices | None:
    """Return how a column's features are cut into the segments that a model was trained on.

    None where the model takes rows whole, and where they are shorter than two segments (a frame
    more is rounding). So a model that learned from crops hears a long row as it hears a track.
    """
    if column.role != "feature" or not column.settings or len(column.shape) < 2:
        return None
    settings = front_settings(model)
    seconds = settings.excerpt_seconds
    if seconds is None or not is_segmented(settings.excerpt):
        return None
    front = model.front
    own = settings.excerpt == front.document["input"]["settings"].get("excerpt")
    frames = front.input_shape[-1] if own else settings.frames_for(seconds)
    hop = frames
    if settings.excerpt_hop != seconds:
        hop = max(1, round(settings.excerpt_hop * settings.sample_rate / settings.hop))
    return Slices(frames, hop) if column.shape[-1] >= frames + hop else None


def column_excerpt(column: Column, model: Model) -> str:
    """Return the excerpt of the pieces that a model gets of a column: the column's, or its own."""
    if slices_of(column, model) is None:
        return str(column.settings.get("excerpt", ""))
    return front_settings(model).excerpt


def network_inputs(
    rows: Rows, model: Model, batch_size: int, fail: Fail, precision: str = "float32"
) -> Inputs:
    """Yield what the model's own network takes of each track: its features or their embeddings.

    The backbone's vectors of a track are pooled as in training: [1, d], or [parts, d] unpooled.
    """
    return _songs(_own_inputs(rows, model, batch_size, fail, precision), model)


def _own_inputs(rows: Rows, model: Model, batch_size: int, fail: Fail, precision: str) -> Inputs:
    backbone = model.backbone
    if backbone is None:
        yield from _stacked(rows)
        return
    how = str(model.document["input"]["settings"].get("pooling", ""))

    def network(x: np.ndarray) -> Named:
        kind = backbone.input_kind
        return {"vectors": backbone.embed(x, batch_size, kind=kind, precision=precision)}

    inputs = network_inputs(rows, backbone, batch_size, fail, precision)
    for batch, row, found in applied(inputs, network, batch_size, fail, takes_songs(backbone)):
        vectors = found["vectors"]
        yield batch, row, vectors if how in NO_POOLING else pool(vectors, how)[None]


def _stacked(rows: Rows) -> Inputs:
    return ((batch, row, Segments(parts)) for batch, row, parts in rows)


def _songs(inputs: Inputs, model: Model) -> Inputs:
    """Yield each track as one example for a network that takes songs, as it is for any other."""
    songs = takes_songs(model)
    return ((batch, row, parts[:][None] if songs else parts) for batch, row, parts in inputs)


def applied(
    inputs: Inputs,
    network: Callable[[np.ndarray], Named],
    batch_size: int,
    fail: Fail,
    songs: bool = False,
) -> Iterator[tuple[Batch, int, Named]]:
    """Yield what a network gives for each track, by name; several tracks go through it together.

    It computes one batch in a thread while the inputs of the next are gathered. It is given
    `batch_size` segments at a time, so that of a long track no more than these are in memory;
    `songs` of unequal length are filled up with NaN. A track for which the network gives a number
    that is not finite is reported.
    """
    running: list[tuple[Waiting, Future[Named]]] = []
    closed = threading.Event()

    def finished() -> Iterator[tuple[Batch, int, Named]]:
        waiting, future = running.pop(0)
        found = future.result()
        first = 0
        for batch, row, parts in waiting:
            mine = {name: values[first : first + len(parts)] for name, values in found.items()}
            first += len(parts)
            if all(np.isfinite(values).all() for values in mine.values()):
                yield batch, row, mine
            else:
                error = RowError("the network gave values that are not finite", "not-finite")
                report_row(fail, batch, row, error)

    def compute(waiting: Waiting) -> Named:
        arrays = [parts for _, _, parts in waiting]
        if songs:
            return network(_filled_up([array[:] for array in arrays]))
        made = []
        for batch in _batches(arrays, batch_size):
            if closed.is_set():  # nobody waits for the rest of a mix of hours
                break
            made.append(network(batch))
        return {name: np.concatenate([found[name] for found in made]) for name in made[0]}

    with ThreadPoolExecutor(1, thread_name_prefix="network") as thread:
        try:
            for waiting in _together(inputs, batch_size, songs):
                running.append((waiting, thread.submit(compute, waiting)))
                if len(running) > 1:
                    yield from finished()
            while running:
                yield from finished()
        finally:
            closed.set()


def _together(inputs: Inputs, batch_size: int, songs: bool) -> Iterator[Waiting]:
    """Yield tracks in groups of at least `batch_size` segments, of one shape each."""
    waiting: Waiting = []
    segments = 0
    of_one = 2 if songs else 1  # the axes before those of a segment
    for batch, row, parts in inputs:
        if waiting and parts.shape[of_one:] != waiting[0][2].shape[of_one:]:
            yield waiting  # tracks of unequal length cannot share a batch
            waiting, segments = [], 0
        waiting.append((batch, row, parts))
        segments += parts.shape[of_one - 1]
        if segments >= batch_size:
            yield waiting
            waiting, segments = [], 0
    if waiting:
        yield waiting


def _batches(inputs: Iterable[Input], size: int) -> Iterator[np.ndarray]:
    """Yield the segments of tracks in batches of `size`, the last one of what is left."""
    pieces: list[np.ndarray] = []
    room = size
    for segments in inputs:
        first = 0
        while first < len(segments):
            pieces.append(segments[first : first + room])
            first += len(pieces[-1])
            room -= len(pieces[-1])
            if not room:
                yield np.concatenate(pieces)
                pieces, room = [], size
    if pieces:
        yield np.concatenate(pieces)


def _filled_up(songs: Sequence[np.ndarray]) -> np.ndarray:
    """Return songs [1, parts, ...] as [n, most parts, ...], with NaN behind the shorter ones."""
    most = max(song.shape[1] for song in songs)
    whole = np.full((len(songs), most, *songs[0].shape[2:]), np.nan, dtype=np.float32)
    for row, song in zip(whole, songs, strict=True):
        row[: song.shape[1]] = song[0]
    return whole

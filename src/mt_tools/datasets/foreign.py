"""Data sets that others declare: the loaders of mirdata, and those of the Hugging Face hub.

`mirdata:NAME` reads any of mirdata's data sets, with the package `mirdata` (extra `mirdata`): an
attribute of its tracks that is text, a number, a truth value or a list of texts is a label, an
artist the group, its split (where it has one) the split. `hf:REPO` reads an audio data set of the
hub, or a folder that was saved of one, with the package `datasets` (extra `hf`): its audio is
never decoded here, names of classes stand for their numbers, its splits are the split.
"""

from __future__ import annotations

import io
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from mt_tools.datasets.rows import BATCH_ROWS
from mt_tools.errors import DownloadError, UsageError
from mt_tools.sound.paths import path_to_text
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import RESERVED, Column, reserved

PREFIXES = ("mirdata:", "hf:")
SEEN = 256
"""Tracks that show what the labels of a mirdata data set are."""

PARTS = {"validation": "valid", "val": "valid", "dev": "valid", "training": "train"}
_ARTISTS = ("artist_id", "artist", "artist_name", "main_artist")
_PROMPT = ("beats", "notes", "melody", "chords", "sections", "f0", "pitch")  # long to read


def rows(
    name: str, folder: Path | None, set_: str, split: str, say: Callable[[str], object]
) -> Iterator[Batch]:
    """Yield the tracks of `mirdata:NAME` or `hf:REPO`.

    `folder` is where the data lie (None: where the package keeps them, and then they are
    downloaded by it where they are missing); `set_` is mirdata's version or the hub's
    configuration; `split` has to be empty, since each data set comes with its own; `say` gets a
    line for people about what was left out. Raises `UsageError` for what is not there.
    """
    kind, _, of = name.partition(":")
    if split:
        raise UsageError(
            f"--split {split}: {name} comes with its own split, if any: leave it out, and draw "
            "another with mt-fetch split"
        )
    if kind == "mirdata":
        return _mirdata(of, folder, set_, say)
    if kind == "hf":
        return _hugging_face(of, folder, set_, say)
    raise UsageError(f"{name}: expected {' or '.join(f'{p}NAME' for p in PREFIXES)}")


def _package(name: str, extra: str) -> ModuleType:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(
            f"the package {name} is not installed: type pip install 'mt-tools[{extra}]'"
        ) from error


# --- mirdata -------------------------------------------------------------------------------------


def _mirdata(
    name: str, folder: Path | None, version: str, say: Callable[[str], object]
) -> Iterator[Batch]:
    mirdata = _package("mirdata", "mirdata")
    known = mirdata.list_datasets()
    if name not in known:
        raise UsageError(f"mirdata:{name}: mirdata has {', '.join(known)}")
    try:
        data = mirdata.initialize(name, str(folder) if folder else None, version or "default")
    except ValueError as error:
        raise UsageError(f"mirdata:{name} --set {version}: {error}") from error
    _index(data, folder)
    tracks = (data.track(track) for track in data.track_ids)
    try:
        first = list(islice(tracks, SEEN))
    except (OSError, AttributeError) as error:
        raise UsageError(f"mirdata:{name}: {_line(error)}") from error
    labels, unread = _labels(first)
    for attribute, why in unread.items():
        say(f"mirdata:{name}: left out {attribute}, which cannot be read: {_line(why)}")
    artist = next((n for n in _ARTISTS if any(_read(track, n) for track in first)), None)
    parted = any(isinstance(_read(track, "split"), str) for track in first)
    columns = [reserved("id"), reserved("path")]
    columns += [reserved("group")] if artist else []
    columns += [reserved("split")] if parted else []
    columns += labels
    left: Counter[str] = Counter()

    def of(track: Any) -> dict[str, Any]:
        path = _audio(track)
        left["tracks have no audio there"] += path is None or not os.path.isfile(path)
        row = {
            "id": unicodedata.normalize("NFC", track.track_id),
            "path": None if path is None else path_to_text(path),
            "group": _text(_read(track, artist)) if artist else None,
            "split": _part(_read(track, "split")),
        }
        for column in labels:
            value = _value(_read(track, column.name, left))
            fits = value is None or _kind(value) in _FITS[column.kind]
            left[f"values of {column.name} are no {column.kind} and are left out"] += not fits
            row[column.name] = value if fits else None
        return row

    yield from _blocks(columns, (of(track) for many in (first, tracks) for track in many))
    for what, count in left.items():
        if count:
            say(f"mirdata:{name}: {count} {what}")


def _index(data: Any, folder: Path | None) -> None:
    """Get the index, and what is missing of the data unless the user obtained it."""
    described = data._index_data
    if folder and (own := folder / described.filename).is_file():
        data.index_path = str(own)
    parts = [] if os.path.isfile(data.index_path) else ["index"]
    try:
        if folder is None and not os.path.isdir(data.data_home):
            data.download()
        elif parts:
            with _quiet():
                data.download(parts)
    except Exception as error:  # whatever its downloader raises
        raise DownloadError(
            f"mirdata:{data.name}: cannot get {described.filename} or the data ({_line(error)}); "
            f"put the index into {data.data_home} and name that with --from"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep mirdata from reporting the download of a small file, and its failure, in ten lines."""
    before, nothing = logging.root.manager.disable, logging.NullHandler()
    logging.disable(logging.CRITICAL)
    logging.root.addHandler(nothing)  # else its first message sets up logging for good
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.root.removeHandler(nothing)
        logging.disable(before)


def _labels(tracks: list[Any]) -> tuple[list[Column], dict[str, Exception]]:
    """Return the labels that the attributes of these tracks are, and those that none can read."""
    kinds: dict[str, str] = {}
    unread: dict[str, Exception] = {}
    names = sorted({name for track in tracks[:1] for name in dir(track)})
    for name in names:
        if name.startswith("_") or name in RESERVED or name in ("audio", "track_id", *_PROMPT):
            continue
        if name.endswith(("_path", "_paths")):
            continue
        values, failed = [], None
        for track in tracks:
            try:
                values.append(_value(getattr(track, name)))
            except Exception as error:  # its file may be missing, or not as the loader expects
                failed = error
        if failed and not values:
            unread[name] = failed
        found = {_kind(value) for value in values if value is not None}
        if found == {"integer", "number"}:
            found = {"number"}
        if len(found) == 1 and None not in found:
            kinds[name] = str(found.pop())
    return [Column(name, kind) for name, kind in kinds.items()], unread


_FITS = {
    "string": ("string",),
    "boolean": ("boolean",),
    "integer": ("integer",),
    "number": ("number", "integer"),
    "strings": ("strings",),
}


def _kind(value: Any) -> str | None:
    """Return the kind of column that a value belongs in, None for none."""
    if isinstance(value, bool):
        return "boolean"
    for type_, kind in ((int, "integer"), (float, "number"), (str, "string")):
        if isinstance(value, type_):
            return kind
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "strings"
    return None


def _value(value: Any) -> Any:
    """Return a plain value: numpy's as Python's, tuples and sets as lists, empty text as None."""
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, set):
        value = sorted(value, key=str)
    return None if value == "" else value


def _read(track: Any, name: str | None, left: Counter[str] | None = None) -> Any:
    """Return an attribute of a track; None, counted, where it cannot be read."""
    try:
        return getattr(track, name) if name else None
    except Exception:  # as above
        if left is not None:
            left[f"values of {name} cannot be read and are left out"] += 1
        return None


def _audio(track: Any) -> str | None:
    names = [name for name in dir(track) if name.startswith("audio") and name.endswith("path")]
    paths = (_read(track, name) for name in sorted(names, key=lambda name: name != "audio_path"))
    return next((path for path in paths if isinstance(path, str)), None)


# --- Hugging Face --------------------------------------------------------------------------------


def _hugging_face(
    repo: str, folder: Path | None, set_: str, say: Callable[[str], object]
) -> Iterator[Batch]:
    hub = _package("datasets", "hf")
    parts = _loaded(hub, repo, folder, set_)
    features = next(iter(parts.values())).features
    sounds = [name for name, feature in features.items() if isinstance(feature, hub.Audio)]
    if len(sounds) != 1:
        raise UsageError(
            f"hf:{repo}: expected one column of audio, it has {len(sounds)} among "
            f"{', '.join(features)}"
        )
    labels, left = _features(hub, features, sounds[0])
    if left:
        say(f"hf:{repo}: left out {', '.join(left)}: no label, or a name that tables reserve")
    group = next((name for name in _ARTISTS if labels.get(name) in ("string", "integer")), None)
    columns = [reserved("id"), reserved("audio"), reserved("split")]
    columns += [reserved("group")] if group else []
    columns += [Column(name, kind) for name, kind in labels.items()]

    def read() -> Iterator[dict[str, Any]]:
        for part, data in parts.items():
            plain = data.cast_column(sounds[0], hub.Audio(decode=False)).with_format(None)
            for number, row in enumerate(plain):
                sound = row[sounds[0]] or {}
                own = row["id"] if isinstance(row.get("id"), str) else f"{number:06d}"
                yield {
                    "id": unicodedata.normalize("NFC", f"{part}/{own}"),
                    "audio": (sound.get("bytes"), sound.get("path")) if sound else None,
                    "split": _part(part),
                    "group": _text(row[group]) if group else None,
                    **{name: _label(features[name], row[name]) for name in labels},
                }

    yield from _blocks(columns, read())


def _loaded(hub: ModuleType, repo: str, folder: Path | None, set_: str) -> dict[str, Any]:
    """Return the splits of a data set, from the folder that was saved of it or from the hub."""
    hub.disable_progress_bars()
    try:
        if folder and any((folder / n).is_file() for n in ("dataset_dict.json", "state.json")):
            found = hub.load_from_disk(str(folder))
        elif folder and folder.is_dir() and any(folder.iterdir()):
            found = hub.load_dataset(str(folder), set_ or None)
        else:
            found = hub.load_dataset(repo, set_ or None, cache_dir=str(folder) if folder else None)
    except Exception as error:  # the hub's, of whatever package it uses to reach it
        raise DownloadError(
            f"hf:{repo}: cannot be loaded from {folder or 'the hub'} ({_line(error)}); check the "
            "name, --set and the network, or name a saved folder with --from"
        ) from error
    return dict(found) if isinstance(found, dict) else {str(found.split or "train"): found}


def _features(hub: ModuleType, features: Any, sound: str) -> tuple[dict[str, str], list[str]]:
    """Return the kinds of the columns that are labels, and the names of those that are not."""
    labels, left = {}, []
    for name, feature in features.items():
        kind = _kind_of(hub, feature)
        if name in ("id", sound):
            continue
        if kind is None or name in RESERVED:
            left.append(name)
        else:
            labels[name] = kind
    return labels, left


def _kind_of(hub: ModuleType, feature: Any) -> str | None:
    """Return the kind of column of a feature, None for what is no label."""
    inner = getattr(feature, "feature", None)
    if isinstance(feature, list) and len(feature) == 1:
        inner = feature[0]
    if inner is not None:
        return "strings" if _kind_of(hub, inner) == "string" else None
    if isinstance(feature, hub.ClassLabel):
        return "string"
    if isinstance(feature, hub.Value):
        type_ = feature.dtype
        if type_ in ("string", "large_string"):
            return "string"
        if type_ == "bool":
            return "boolean"
        if type_.startswith(("int", "uint")):
            return "integer"
        if type_.startswith("float"):
            return "number"
    return None


def _label(feature: Any, value: Any) -> Any:
    """Return a label as the wire has it: the name of a class, not its number."""
    inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) else None)
    if isinstance(value, list):
        return [named for item in value if (named := _label(inner, item)) is not None]
    if hasattr(feature, "int2str") and value is not None:
        return None if value < 0 else feature.int2str(value)  # -1: not labelled
    return value


# --- both ----------------------------------------------------------------------------------------


def _blocks(columns: list[Column], rows: Iterable[dict[str, Any]]) -> Iterator[Batch]:
    iterator = iter(rows)
    names = [column.name for column in columns]
    while block := list(islice(iterator, BATCH_ROWS)):
        yield Batch.build(columns, {name: [row.get(name) for row in block] for name in names})


def _part(value: Any) -> str | None:
    return PARTS.get(value, value) if isinstance(value, str) else None


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]

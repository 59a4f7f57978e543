"""More examples of the same track: recipes that are applied when the audio is decoded."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mt_tools.engine.pool import cores, ordered
from mt_tools.errors import RowError, UsageError
from mt_tools.recipes import Recipe, without_folders
from mt_tools.recipes.template import Template, parse_template
from mt_tools.settings import result_settings
from mt_tools.sound.decode import decode
from mt_tools.sound.paths import path_to_text
from mt_tools.stages.frontend import (
    Fail,
    Track,
    gathered,
    make_folder,
    report_row,
    save,
    tracks_of,
    worked,
)
from mt_tools.stages.recipes import Chances, Files, LeftOut, whose_of
from mt_tools.stages.settings import AugmentSettings
from mt_tools.stages.waves import length_of
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved

Say = Callable[[str], None]

_STALE = {"audio", "length", "start", "duration", "sample_rate", "channels"}
_LONGEST = 200  # bytes; a file system takes 255, and a temporary name adds some

# --- what was asked for --------------------------------------------------------------------------


def templates_of(settings: AugmentSettings) -> list[Template]:
    """Return the recipes to draw copies from: every pitch with every stretch, then each recipe.

    Raises `UsageError` where there is none, and for one that cannot be or changes nothing.
    """
    pitches = _numbers("--pitch", settings.pitch) or [0.0]
    stretches = _numbers("--stretch", settings.stretch) or [1.0]
    simple = [
        ",".join([f"pitch={p!r}"] * (p != 0) + [f"stretch={s!r}"] * (s != 1))
        for s, p in itertools.product(stretches, pitches)
    ]
    templates = [parse_template(text) for text in (*filter(None, simple), *settings.recipe)]
    if not templates:
        raise UsageError(
            "nothing to do: say --pitch -2,2, --stretch 0.9,1.1 or --recipe noise=pink:10..30"
        )
    if not all(template.steps for template in templates):
        raise UsageError("--recipe is empty: name an effect, such as noise=pink:10..30")
    return templates


def on_features(templates: Sequence[Template], settings: AugmentSettings) -> bool:
    """Say whether copies are made of features, and not of sound.

    Raises `UsageError` for both at once, and for options that belong to the other.
    """
    sound = [step.kind.name for template in templates for step in template.on_sound.steps]
    features = [step.kind.name for template in templates for step in template.on_features.steps]
    if sound and features:
        raise UsageError(
            f"{sound[0]} is done to sound and {features[0]} to features: augment tracks first, "
            "make features with mt-spec, and augment these; or give both to mt-train --recipe"
        )
    for option, given, serves, what in (
        ("--render", settings.render, sound, "sound"),
        ("--column", settings.column, features, "features"),
        ("--labels", settings.labels, any(t.mixes for t in templates), "mixup and cutmix"),
    ):
        if given and not serves:
            raise UsageError(f"{option} {given} is for {what}, of which no recipe is: leave it out")
    return bool(features)


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected numbers such as -2,2") from None


def recorded(settings: AugmentSettings) -> dict[str, Any]:
    """Return the settings that change the result, without where files lie on this machine."""
    kept = result_settings(settings)
    kept["recipe"] = [without_folders(text) for text in kept["recipe"]]
    return kept


# --- copies as rows ------------------------------------------------------------------------------


def run(
    batches: Iterable[Batch],
    settings: AugmentSettings,
    *,
    files: Files | None = None,
    folders: Sequence[str] = (),
    jobs: int = 0,
    fail: Fail,
    say: Say = lambda note: None,
) -> Iterator[Batch]:
    """Yield every track followed by its copies: ids get `#recipe`, the origin stays.

    Tracks of other splits than those of the settings get no copies: a test is taken on real tracks.
    A copy that is left as the track is, or is the same as another of its track, is left out, and
    `say` is told how many. `files` have read the table where they ask to. Raises `UsageError` for
    rows that have a recipe already, or features instead of sound.
    """
    templates = templates_of(settings)
    files = files or Files(templates)
    splits = [name.strip() for name in settings.only_split.split(",")]
    crops = any(template.crops for template in templates)
    left_out = LeftOut()
    for batch in batches:
        _check(batch)
        split = batch.get("split")
        copied = [row for row in range(len(batch)) if split[row] is None or split[row] in splits]
        drawn: dict[int, list[Recipe]] = {}
        for row, made in _drawn(batch, copied, settings, templates, files, folders, jobs):
            if isinstance(made, RowError):
                report_row(fail, batch, row, made)
            else:
                drawn[row] = left_out.of(made)
        failed = set(copied) - drawn.keys()
        # A copy follows its track, so that a reader that keeps up needs no lookback.
        places = [
            (row, recipe)
            for row in range(len(batch))
            if row not in failed
            for recipe in [None] * settings.originals + drawn.get(row, [])
        ]
        if places:
            yield _rows(batch, places, crops)
    if told := str(left_out):
        say(told)


def _check(batch: Batch) -> None:
    """Raise `UsageError` unless the rows are tracks as they are."""
    if "path" not in batch and "audio" not in batch:
        batch.require("path")
    features = [c.name for c in batch.columns.values() if c.role in ("feature", "embedding")]
    if features:
        raise UsageError(
            f"the table holds {', '.join(features)} of the tracks as they are: augment tracks "
            "first, then compute features; or name effects on features, such as mask=0..8:0..20"
        )
    if any(batch.get("recipe")):
        raise UsageError("the rows have recipes already: augment the original tracks")


def _drawn(
    batch: Batch,
    rows: Sequence[int],
    settings: AugmentSettings,
    templates: Sequence[Template],
    files: Files,
    folders: Sequence[str],
    jobs: int,
) -> Iterator[tuple[int, list[Recipe] | RowError]]:
    """Draw the recipes of every row's copies; an error where that cannot be."""
    chances = Chances(batch.origins, settings.seed)
    whose = whose_of(batch)
    seconds: dict[int, float | RowError | None] = dict.fromkeys(rows)
    if any(template.needs_length for template in templates):
        seconds = _seconds(batch, rows, folders, jobs)
    for row in rows:
        length = seconds[row]
        if isinstance(length, RowError):
            yield row, length
            continue
        pool = functools.partial(files.pool, whose=whose[row])
        try:
            yield (
                row,
                [
                    template.draw(
                        chances.of(row, number, copy), p=settings.p, seconds=length, pool=pool
                    )
                    for number, template in enumerate(templates)
                    for copy in range(settings.copies)
                ],
            )
        except RowError as error:
            yield row, error


def _seconds(
    batch: Batch, rows: Sequence[int], folders: Sequence[str], jobs: int
) -> dict[int, float | RowError | None]:
    """Return how long the parts are that these rows select; files are asked where no row says."""
    tracks = tracks_of(batch, folders)
    found: dict[int, float | RowError | None] = {row: tracks[row].duration for row in rows}
    unknown = [row for row in rows if found[row] is None]
    asked = [row for row in unknown if tracks[row].length is None]
    lengths: dict[int, Any] = {row: tracks[row].length for row in unknown}
    jobs = cores() if jobs < 0 else jobs
    outcomes = ordered(length_of, [tracks[row] for row in asked], jobs) if asked else ()
    for row, outcome in zip(asked, outcomes, strict=True):
        lengths[row] = outcome.error or outcome.value
    for row, length in lengths.items():
        known = length is None or isinstance(length, RowError)
        found[row] = length if known else max(0.0, length - (tracks[row].start or 0.0))
        if length is None:
            found[row] = RowError("its length is unknown: a part cannot be drawn", "unreadable")
    return found


def _rows(batch: Batch, places: Sequence[tuple[int, Recipe | None]], crops: bool) -> Batch:
    """Return rows and their copies (None is the row itself); both have the same columns."""
    batch, recipes = batch.take([row for row, _ in places]), [recipe for _, recipe in places]
    texts = [recipe and str(recipe) for recipe in recipes]
    own = zip(batch.get("origin"), batch.origins, recipes, strict=True)
    origins = [stored if recipe is None else origin for stored, origin, recipe in own]
    pairs = zip(batch.ids, texts, strict=True)
    ids = [id_ if text is None else f"{id_}#{text}" for id_, text in pairs]
    batch = batch.replace(reserved("id"), ids).replace(reserved("origin"), origins)
    batch = batch.replace(reserved("recipe"), texts)
    if not crops:
        return batch
    starts, durations = batch.get("start"), batch.get("duration")
    parts = [recipe.crop if recipe else None for recipe in recipes]
    begins = [
        start if part is None else part.start + (start if _is_number(start) else 0.0)
        for part, start in zip(parts, starts, strict=True)
    ]
    lasts = [d if part is None else part.seconds for part, d in zip(parts, durations, strict=True)]
    return batch.replace(reserved("start"), begins).replace(reserved("duration"), lasts)


def _is_number(value: Any) -> bool:
    return value is not None and not math.isnan(value)


# --- copies as files -----------------------------------------------------------------------------


def render(
    batches: Iterable[Batch],
    folder: str,
    *,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
    say: Say = lambda note: None,
) -> Iterator[Batch]:
    """Write every copy as a FLAC file; its row then has that file's path and no recipe.

    What was done is kept in a column `rendered`, so that a copy is known for one ever after. What
    is louder than a file can hold is turned down as a whole, and `say` is told of it.
    """
    make_folder(folder)

    def tasks_of(batch: Batch) -> list[tuple[Track, str]]:
        files = [os.path.join(folder, file_name(id_)) for id_ in batch.ids]
        return list(zip(tracks_of(batch, folders), files, strict=True))

    turned_down: list[float] = []
    made = worked(batches, write_copy, tasks_of, jobs=jobs, fail=fail)
    for batch, copies in gathered(made):
        written = [copy and path_to_text(copy[0]) for copy in copies]
        turned_down += [copy[1] for copy in copies if copy and copy[1]]
        paths = [new or old for new, old in zip(written, batch.get("path"), strict=True)]
        recipes = batch["recipe"]
        # What described the original file does not describe the copy.
        for name in _STALE & set(batch.names):
            kept = [None if new else v for new, v in zip(written, batch[name], strict=True)]
            batch = batch.replace(reserved(name), kept)
        batch = batch.replace(reserved("path"), paths)
        batch = batch.replace(reserved("recipe"), [None] * len(batch))
        yield batch.append(Column("rendered", "string", "reserved"), recipes)
    if turned_down:
        say(
            f"copies louder than full scale, and turned down to it: {len(turned_down)}, by "
            f"{max(turned_down):.1f} dB at most"
        )


def write_copy(task: tuple[Track, str]) -> tuple[str, float] | None:
    """Decode a track with its recipe and write it; return where, and by how many dB turned down.

    Runs in a worker. A track without a recipe is left as it is: None.
    """
    track, file = task
    if not track.recipe:
        return None
    wave, rate = decode(
        track.source(), start=track.start, duration=track.duration, recipe=track.effects()
    )
    peak = float(np.abs(wave).max(initial=0.0))
    if peak > 1:
        wave /= np.float32(peak)
    save(file, wave, rate)
    return file, 20 * math.log10(max(1.0, peak))


def file_name(id_: str) -> str:
    """Return a file name for an id: in no folder of its own, distinct for distinct ids."""
    name = id_.replace("%", "%25").replace("/", "%2F").replace("\n", "%0A")
    raw = name.encode()
    if len(raw) > _LONGEST:
        digest = hashlib.sha256(raw).hexdigest()[:16]
        name = f"{raw[: _LONGEST - 17].decode(errors='ignore')}~{digest}"
    return name + ".flac"

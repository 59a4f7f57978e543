"""What is wrong with a table, and between it and a model; a row a finding."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.registry import DATASETS, dataset
from mt_tools.engine.pool import cores, ordered
from mt_tools.errors import UsageError
from mt_tools.evaluate import leaks
from mt_tools.evaluate.leaks import Finding, finding
from mt_tools.evaluate.settings import CheckSettings
from mt_tools.features.fingerprint import SAMPLE_RATE, fingerprint
from mt_tools.sound.decode import decode
from mt_tools.sound.digest import audio_digest
from mt_tools.stages.frontend import Fail, Track, tracks_of
from mt_tools.stages.judging import table_of
from mt_tools.stages.pictures import content_of
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tables.fitted import KEY, FittedOn

if TYPE_CHECKING:  # it loads torch, which checking without a model does not need
    from mt_tools.nets.model import Model

FINDING_COLUMNS = [
    Column("id", "string", "reserved"),
    Column("kind", "string"),
    Column("count", "integer"),
    Column("message", "string"),
    Column("offenders", "strings"),
]

_KEPT = ("id", "origin", "group", "split", "fold", "recipe", "path", "length")
_LABELS = ("string", "boolean", "strings")
_RESULTS = {
    "log": "a log of mt-train", "metrics": "metrics", "findings": "findings",
    "comparison": "a comparison",
}  # fmt: skip

HEARD_SECONDS = 60.0
"""How much of a track is listened to at most: 20 kB of fingerprint."""


@dataclass(frozen=True)
class Hearing:
    """How the files of a table are opened: below which folders, in how many workers."""

    folders: Sequence[str] = ()
    jobs: int = 0
    fail: Fail = field(default=lambda row, error: None)


def checked(
    batches: Iterable[Batch],
    columns: Mapping[str, Column],
    asked: CheckSettings | None = None,
    *,
    steps: Sequence[Mapping[str, Any]] = (),
    model: Model | None = None,
    hearing: Hearing | None = None,
) -> list[Finding]:
    """Return what is wrong with a table, and between it and a model.

    `steps` are the table's provenance; with `hearing` the files are opened as well. A row whose
    file cannot be opened is reported, and checked by all else.
    """
    asked = asked or CheckSettings()
    holds = content_of(columns)
    if holds in _RESULTS:
        raise UsageError(
            f"the input holds {_RESULTS[holds]} and no tracks, so there is nothing to check: give "
            "the table of tracks, features or embeddings that it came from"
        )
    vectors = [c.name for c in columns.values() if c.kind == "vector" and c.role == "embedding"]
    labels = [c.name for c in columns.values() if c.role == "label" and c.kind in _LABELS]
    chosen = _chosen(asked, labels, columns)
    heard: dict[int, Sound] = {}
    stream = batches if hearing is None else _heard(batches, hearing, heard)
    table = table_of(stream, [*_KEPT, *vectors, *labels])
    parts = {name: table[name] for name in ("split", "fold") if name in table}
    parts = {n: v for n, v in parts.items() if any(x is not None and x == x for x in v)}
    findings = leaks.check(
        ids=table.ids,
        origins=table.origins,
        groups=table.get("group"),
        parts=parts,
        features={name: table[name] for name in vectors},
        audio=[heard[row].digest if row in heard else None for row in range(len(table))],
        prints=[heard[row].words if row in heard else None for row in range(len(table))],
        near=asked.near,
    )
    findings += leaks.fitted_on_test(fitted_in(steps), table.origins, parts)
    data = _declared(asked.dataset, steps)
    if data is not None:
        findings += leaks.known_faults(
            data,
            ids=table.ids,
            paths=table.get("path"),
            parts=parts,
            whole=_decoded(table, vectors, heard),
        )
    if "group" in table and any(group is not None for group in table["group"]):
        values = {name: table[name] for name in chosen}
        findings += leaks.labels_of_groups(values, table["group"], table.ids, table.origins)
    if model is not None:
        findings += _misfits(columns, table, model)
    return findings


def _chosen(asked: CheckSettings, labels: list[str], columns: Mapping[str, Column]) -> list[str]:
    """Return the labels that are compared with the groups."""
    for name in asked.task:
        if name not in labels:
            known = ", ".join(labels) or "none"
            raise UsageError(f"--task {name}: expected a column of classes or tags: {known}")
    return list(asked.task) or [name for name in labels if name not in leaks.IDENTITIES]


# --- what the files sound like -------------------------------------------------------------------


@dataclass(frozen=True)
class Sound:
    """What a file sounds like: the digest of what is encoded, the fingerprint of what is heard."""

    digest: str
    words: np.ndarray


def listen(item: tuple[int, Track]) -> Sound:
    """Return what a track sounds like; runs in a worker. Raises `RowError` as `decode` does."""
    _, track = item
    seconds = min(track.duration or HEARD_SECONDS, HEARD_SECONDS)
    wave, _ = decode(
        track.source(), start=track.start, duration=seconds, sample_rate=SAMPLE_RATE, channels=1
    )
    return Sound(audio_digest(track.source()), fingerprint(wave[0]))


def _heard(batches: Iterable[Batch], hearing: Hearing, found: dict[int, Sound]) -> Iterator[Batch]:
    """Yield the batches while workers listen to their rows; `found` gets the sounds by row."""
    passed: deque[Batch] = deque()
    named: dict[int, dict[str, Any]] = {}

    def items() -> Iterator[tuple[int, Track]]:
        place = 0
        for batch in batches:
            tracks = tracks_of(batch, hearing.folders)
            passed.append(batch.without(["audio"]))
            for id_, path, track in zip(batch.ids, batch.get("path"), tracks, strict=True):
                named[place] = {"id": id_, "path": path}
                yield place, track
                place += 1

    jobs = cores() if hearing.jobs < 0 else hearing.jobs
    for outcome in ordered(listen, items(), jobs):
        place, _ = outcome.item
        row = named.pop(place)
        if outcome.error is not None:
            hearing.fail(row, outcome.error)
        elif outcome.value is not None:
            found[place] = outcome.value
        yield from _emptied(passed)
    yield from _emptied(passed)


def _emptied(passed: deque[Batch]) -> Iterator[Batch]:
    while passed:
        yield passed.popleft()


# --- what is known from elsewhere ----------------------------------------------------------------


def fitted_in(steps: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, FittedOn]]:
    """Yield what was fitted on which rows, of the steps that made a table."""
    for step in steps:
        settings = step.get("settings", {})
        said = settings.get(KEY, [])
        for value in said if isinstance(said, list) else [said]:
            on = FittedOn.from_json(value)
            if on is not None:
                used = settings.get("apply") or settings.get("model") or settings.get("as_")
                names = ", ".join(used) if isinstance(used, list) else used
                yield f"{names or 'what was used'} in {step.get('command')}", on


def _declared(name: str, steps: Iterable[Mapping[str, Any]]) -> Dataset | None:
    """Return the data set that was named, or else the one that the table says it is."""
    if name:
        return dataset(name)
    for step in steps:
        fetched = step.get("settings", {}).get("name")
        if step.get("command") == "mt-fetch dataset" and fetched in DATASETS:
            return DATASETS[fetched]
    return None


def _decoded(table: Batch, vectors: Sequence[str], heard: Mapping[int, Sound]) -> list[bool]:
    """Return which rows show that their file could be decoded: by a length, a vector, or now."""
    known = [np.isfinite(table["length"])] if "length" in table else []
    known += [np.isfinite(table[name]).all(axis=1) for name in vectors]
    shown = np.any(known, axis=0) if known else np.zeros(len(table), bool)
    return [bool(one) or row in heard for row, one in enumerate(shown)]


# --- what disagrees with a model -----------------------------------------------------------------


def _tags(value: str | list[str] | None) -> list[str]:
    """Return a row's label or labels as a list; none where it is unlabelled."""
    return [] if value is None else [value] if isinstance(value, str) else value


def _misfits(columns: Mapping[str, Column], table: Batch, model: Model) -> list[Finding]:
    """Find vocabularies and settings that disagree between a table and a model."""
    found: list[Finding] = []
    for task in model.tasks:
        name = task["name"]
        if name not in table or not task["vocabulary"]:
            continue
        known = {value for row in table[name] for value in _tags(row)}
        strangers = sorted(known - set(task["vocabulary"]))
        count = f"{len(strangers)} label{'' if len(strangers) == 1 else 's'}"
        found += finding(
            "vocabulary", f"{count} of {name} that {model.name} does not know", strangers
        )
    source = model.document["input"]
    for column in columns.values():
        if column.role == source["kind"] and column.settings:
            keys = ("digest", "pooling") if column.role == "embedding" else tuple(column.settings)
            differ = [
                f"{key}: got {column.settings.get(key)!r}, expected {source['settings'].get(key)!r}"
                for key in keys
                if key not in ("excerpt", "frames")
                and column.settings.get(key) != source["settings"].get(key)
            ]
            found += finding("settings", f"{column.name} does not fit {model.name}", differ)
    return found


def finding_rows(findings: Sequence[Finding]) -> Batch:
    """Return findings as a table; its `offenders` are all of them."""
    return Batch.build(
        FINDING_COLUMNS,
        {
            "id": [f"{number}.{f.kind}" for number, f in enumerate(findings, 1)],
            "kind": [f.kind for f in findings],
            "count": [float(f.count) for f in findings],
            "message": [f.message for f in findings],
            "offenders": [list(f.offenders) for f in findings],
        },
    )

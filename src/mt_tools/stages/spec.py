"""Time-frequency features of tracks, how they are stored, and transforms fitted to them.

Features that something is fitted to are needed twice: once for their moments, once to be
transformed. They wait in a temporary file meanwhile (`tables.kept`), as decoding again would take
longer than reading.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mt_tools.errors import RowError, RunError, SettingsMismatch, UsageError
from mt_tools.features import transforms
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.transforms import Moments, Transform, frames_of
from mt_tools.stages.frontend import (
    Fail,
    feature_rows,
    fresh,
    gathered,
    is_segmented,
    report_row,
    segments_of,
)
from mt_tools.stages.settings import SpecSettings
from mt_tools.tables.atomic import atomic
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tables.fitted import KEY, FittedOn
from mt_tools.tables.kept import Kept
from mt_tools.tables.levels import Levels
from mt_tools.tables.source import Source

# --- how features are stored ---------------------------------------------------------------------


@dataclass
class Storage:
    """How a feature column is stored: float32, `half`, or bytes by `levels`.

    `clipped` of `values` lay outside the levels, so far.
    """

    half: bool = False
    levels: Levels | None = None
    values: int = 0
    clipped: int = 0

    def of(self, column: Column) -> Column:
        """Return a column as it is stored."""
        return dataclasses.replace(column, half=self.half, levels=self.levels)

    def count(self, features: np.ndarray) -> None:
        """Take note of what does not fit."""
        if self.levels is not None:
            self.values += features.size
            self.clipped += self.levels.outside(features)

    def note(self) -> str:
        """Return a line about what did not fit; "" where all did."""
        if not self.clipped or self.levels is None:
            return ""
        return (
            f"{self.clipped:,} of {self.values:,} values lay outside --levels="
            f"{self.levels.offset:g},{self.levels.high:g} and were clipped"
        )


def storage_of(dtype: str, levels: str, settings: FeatureSettings, kind: str = "") -> Storage:
    """Return how features of some settings are stored as `dtype`.

    `levels` is `LOW,HIGH` for uint8, or empty where the settings say it; `kind` is that of the
    transform they go through. Raises `UsageError` for values that the type cannot hold, or whose
    range nobody knows.
    """
    if levels and dtype != "uint8":
        raise UsageError(f"--levels is for --dtype uint8, got {dtype}")
    if dtype == "float16":
        if not (settings.fits_half or kind in ("standardise", "whiten")):
            raise UsageError(
                f"float16 overflows on {settings.kind} of these settings, as powers and "
                "frequencies do: use --scale log or dB where it has one, or --dtype float32"
            )
        return Storage(half=True)
    if dtype != "uint8":
        return Storage()
    bounds = _two_numbers(levels) if levels else None if kind else known_range(settings)
    if bounds is None and kind:
        raise UsageError(
            "--dtype uint8 needs the range of what was fitted, which nothing says: give it, such "
            "as --levels=-6,6"
        )
    if bounds is None:
        raise UsageError(
            f"--dtype uint8 needs the range of {settings.kind}, which these settings do not say: "
            "give it, such as --levels=-100,40, or take decibels below the maximum, --reference max"
        )
    return Storage(levels=Levels.between(*bounds))


def known_range(settings: FeatureSettings) -> tuple[float, float] | None:
    """Return the values that features lie between, None where their settings do not say it."""
    if settings.summary not in ("none", "mean"):
        return None
    if settings.kind == "chroma" and settings.chroma_norm != "none":
        return 0.0, 1.0
    below_maximum = settings.reference == "max" and settings.top_db > 0
    if settings.kind in ("mel", "stft") and settings.scale == "dB" and below_maximum:
        return -settings.top_db, 0.0
    return None


def _two_numbers(text: str) -> tuple[float, float]:
    """Read `LOW,HIGH`; raises `UsageError` unless these are two numbers, the lower one first."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(
            f"--levels {text!r}: expected two numbers, the lower first, such as --levels=-100,40"
        )
    return low, high


# --- from tracks to features ---------------------------------------------------------------------


def run(
    batches: Iterable[Batch],
    settings: FeatureSettings,
    *,
    name: str,
    storage: Storage,
    folders: Sequence[str],
    jobs: int,
    fail: Fail,
    transform: Transform | None = None,
) -> Iterator[Batch]:
    """Yield the tracks with a feature column `name`; with several parts a track, a row a part.

    `transform` is the fitted one that the settings name, if they do. All rows have one shape:
    tracks of unequal length raise `UsageError` unless the settings take an excerpt.
    """
    rows = feature_rows(
        fresh(batches, name), settings, folders=folders, jobs=jobs, fail=fail, transform=transform
    )
    if is_segmented(settings.excerpt):
        rows = segments_of(rows)
    shape: tuple[int, ...] | None = None
    for batch, features in gathered((batch, row, parts[0].features) for batch, row, parts in rows):
        for id_, array in zip(batch.ids, features, strict=True):
            shape = shape or array.shape
            if array.shape != shape:
                raise UsageError(
                    f"{id_} gives features of shape {list(array.shape)}, the tracks before it "
                    f"{list(shape)}: one shape a column; add --segment S, --first S or --centre S"
                )
        assert shape is not None
        values = np.stack(features)
        yield batch.append(_column(name, shape, settings, transform, storage, values), values)


def _column(
    name: str,
    shape: tuple[int, ...],
    settings: FeatureSettings,
    transform: Transform | None,
    storage: Storage,
    values: np.ndarray,
) -> Column:
    """Describe a feature column, and take note of values that it cannot hold."""
    storage.count(values)
    kind = "vector" if len(shape) == 1 else "tensor"
    text = "" if transform is None else transform.to_text()
    return storage.of(
        Column(name, kind, "feature", settings.to_json(), tuple(shape), transform=text)
    )


# --- transforms of features ----------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """What is fitted: a kind of `features.transforms`, and how; on which rows."""

    kind: str
    components: float = 0.0
    epsilon: float = 0.0
    ignore_split: bool = False


def fit_of(settings: SpecSettings, shard: str = "") -> Fit | None:
    """Return what options ask to be fitted, None for nothing.

    Raises `UsageError` for options that contradict each other or belong to others, and for a place
    that the transform cannot be written to.
    """
    if settings.fit == "none":
        for option, value in (
            ("--fitted", settings.fitted), ("--components", settings.components),
            ("--epsilon", settings.epsilon), ("--ignore-split", settings.ignore_split),
        ):  # fmt: skip
            if value:
                raise UsageError(f"{option} is of what is fitted: add --fit standardise or pca")
        if settings.column and not settings.apply:
            raise UsageError("--column is what is transformed: add --fit or --apply FILE")
        return None
    if settings.apply:
        raise UsageError("--fit and --apply contradict each other: fit, or apply what was fitted")
    if shard:
        raise UsageError(f"--shard {shard} leaves out rows that --fit needs: leave it out")
    if settings.components and settings.fit == "standardise":
        raise UsageError("--components are directions, which --fit standardise has none of")
    if settings.epsilon and settings.fit != "whiten":
        raise UsageError(f"--epsilon is for --fit whiten, got --fit {settings.fit}")
    folder = os.path.dirname(os.path.realpath(settings.fitted))
    if settings.fitted and not settings.fitted.endswith(".npz"):
        raise UsageError(f"--fitted {settings.fitted}: the file is NPZ: call it FILE.npz")
    if settings.fitted and not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise UsageError(f"--fitted {settings.fitted}: its folder cannot be written to; make it")
    components = components_of(settings.components)
    return Fit(settings.fit, components, settings.epsilon, settings.ignore_split)


def recorded(
    settings: SpecSettings, features: FeatureSettings, transform: Transform | None
) -> dict[str, Any]:
    """Return what the provenance says: the features, how they are stored, what was fitted."""
    said: dict[str, Any] = {"features": features.to_json(), "dtype": settings.dtype}
    if settings.levels:
        said["levels"] = settings.levels
    if settings.fit != "none":
        names = ("fit", "components", "epsilon", "ignore_split")
        said |= {name: getattr(settings, name) for name in names} | {"as_": settings.fit}
    if settings.apply:
        said["apply"] = settings.apply
    if transform is not None and transform.fitted_on is not None:
        said[KEY] = transform.fitted_on.to_json()
    return said


def components_of(text: str) -> float:
    """Read `--components`: a number of directions, or a share of the variance below 1."""
    try:
        number = float(text) if text else 0.0
    except ValueError:
        number = math.nan
    if not (text == "" or 0 < number < 1 or (number >= 1 and number == int(number))):
        raise UsageError(
            f"--components {text!r}: expected a number of directions such as 120, or a share of "
            "the variance such as 0.95"
        )
    return number


def feature_column(columns: Mapping[str, Column], chosen: str) -> Column | None:
    """Return the features of a table that are to be transformed; None where it has none.

    Raises `UsageError` where there are several and none is chosen, or for what is no feature, and
    `SettingsMismatch` for features that were transformed already, or do not say how they were made.
    """
    known = [column for column in columns.values() if column.role == "feature"]
    found = [column for column in known if chosen in ("", column.name)]
    names = ", ".join(column.name for column in known) or "none"
    if chosen and not found:
        raise UsageError(f"--column {chosen}: the input has the features {names}")
    if not found:
        return None
    if len(found) > 1:
        raise UsageError(f"the input has the features {names}: choose one with --column NAME")
    (column,) = found
    if not column.settings:
        raise SettingsMismatch(
            f"column {column.name!r} does not say how it was made: say it with --assume PRESET"
        )
    if column.settings.get("transform"):
        raise SettingsMismatch(
            f"column {column.name!r} went through a transform already "
            f"({column.settings['transform']}): give the features as they were before"
        )
    if column.settings["kind"] == "wave":
        raise UsageError(f"column {column.name!r} holds waveforms, which have no bands")
    return column


def check_bands(wanted: Fit, settings: FeatureSettings, shape: Sequence[int] = ()) -> None:
    """Raise `UsageError` for features that nothing can be fitted to as wanted.

    `shape` is that of the features of a table; those that are to be computed say it themselves.
    """
    if settings.kind == "wave":
        raise UsageError("--fit is for bands, which waveforms have none of: choose another --kind")
    shape = shape or settings.shape_for(settings.excerpt_seconds or 0.0)
    bands = shape[0] if len(shape) == 1 else shape[-2]
    if wanted.components > bands:
        raise UsageError(
            f"--components {wanted.components:g}: the features have {bands} bands; ask for at most "
            "as many"
        )


def check_split(source: Source) -> None:
    """Raise `UsageError` unless a table says which rows are for training, and some are."""
    found: set[str] = set()
    if "split" in source.columns:
        for batch in source.light(["split"]):
            found.update(part for part in batch["split"] if part is not None)
    if not found:
        raise UsageError(
            "the input has no split, so nothing says which rows may be fitted on: draw one with "
            "mt-fetch split, or say --ignore-split to fit on all rows"
        )
    if "train" not in found:
        raise UsageError(
            f"the split has no train rows to fit on, only {', '.join(sorted(found))}: draw it "
            "again with mt-fetch split, or say --ignore-split to fit on all rows"
        )


def fit(batches: Iterable[Batch], name: str, wanted: Fit) -> tuple[Kept, Transform]:
    """Return the rows, which can be read again, and what was fitted to the features of theirs.

    Fitted on the train rows, or on all with `ignore_split`, in memory that does not grow with
    them. Rows without features are no part of it.
    """
    rows = Kept.of(batches)
    moments: Moments | None = None
    origins: list[str] = []
    parts: list[str | None] = []
    settings: dict[str, object] = {}
    for batch in rows:
        settings = batch.columns[name].settings
        given = zip(batch[name], batch.origins, batch.get("split"), strict=True)
        for features, origin, part in given:
            if not (wanted.ignore_split or part == "train") or not np.isfinite(features).all():
                continue
            frames = frames_of(features)
            if moments is None:
                moments = Moments(frames.shape[1], covariance=wanted.kind != "standardise")
            moments.add(frames)
            origins.append(origin)
            parts.append(part)
    if moments is None:
        which = "row" if wanted.ignore_split else "train row"
        raise RunError(f"nothing to fit on: no {which} has features; see the messages above")
    found = transforms.fit(moments, wanted.kind, wanted.components, wanted.epsilon)
    return rows, transforms.fitted_on(found, settings, FittedOn.of(origins, parts))


def transformed(
    batches: Iterable[Batch],
    name: str,
    transform: Transform,
    *,
    as_: str = "",
    storage: Storage,
    fail: Fail,
) -> Iterator[Batch]:
    """Yield the rows with the features `name` transformed, or beside them in a column `as_`.

    Rows without features stay without. Raises `SettingsMismatch` for features that were not made
    as those that the transform was fitted on.
    """
    target = as_ or name
    if target != name:
        batches = fresh(batches, target)
    for batch in batches:
        column = batch.columns[name]
        given = FeatureSettings.from_json(column.settings)
        settings = transformed_settings(given, transform)
        values = batch[name]
        shape = (*column.shape[:-2], transform.rows, *column.shape[1:][-1:])
        made = np.full((len(batch), *shape), np.nan, dtype=np.float32)
        broken = []
        for row, features in enumerate(values):
            if np.isnan(features).all():
                continue
            if not np.isfinite(features).all():
                report_row(fail, batch, row, RowError("features are not finite", "not-finite"))
                broken.append(row)
                continue
            made[row] = transform.apply(features)
        kept = np.delete(np.arange(len(batch)), broken)
        if broken:
            batch, made = batch.take(kept), made[kept]
        described = _column(target, shape, settings, transform, storage, made)
        yield batch.replace(described, made)


def transformed_settings(given: FeatureSettings, transform: Transform) -> FeatureSettings:
    """Return the settings of features after a transform.

    Raises `SettingsMismatch` for features that were not made as those it was fitted on.
    """
    differ = given.compatible(FeatureSettings.from_json(transform.settings))
    if differ:
        raise SettingsMismatch(
            f"the transform was fitted on other features: {'; '.join(differ)}; make them as those "
            "were, with mt-spec --apply FILE and no other feature settings"
        )
    return dataclasses.replace(given, transform=transform.label)


def write_transform(path: str, transform: Transform) -> None:
    """Write a transform as NPZ: `mean`, `directions`, `divisors`, `variances` and `__meta__`."""
    with atomic(path) as file:
        file.write(transform.to_bytes())


def read_transform(path: str) -> Transform:
    """Read a transform that `write_transform` wrote."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise UsageError(
            f"--apply {path}: {error.strerror}; name a file that mt-spec --fitted wrote"
        ) from error
    return Transform.from_bytes(content, f"--apply {path}")

"""Numbers as distributions over components, numbers as a normal, and vectors by their directions.

`Gmm` makes targets. What `Quantile` and `Pca` make of vectors is no distribution, and nothing that
mt-train learns to predict: it is an embedding, to be learnt from, probed, or clustered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import SettingsMismatch, UsageError
from mt_tools.features import transforms
from mt_tools.features.fitted import Fitted
from mt_tools.features.mixtures import Mixture, choose_mixture, criterion, fit_mixture
from mt_tools.features.quantiles import Quantiles, fit_quantiles
from mt_tools.features.transforms import Moments, Transform
from mt_tools.features.words import FrameSample
from mt_tools.settings import differences
from mt_tools.stages.factors.fitting import Columns, Made, Read, TrainRows, chosen_column, target
from mt_tools.stages.factors.settings import GmmSettings, PcaSettings, QuantileSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

MOST_COMPONENTS = 50
"""Components that `-k auto` tries: those of the REP study."""

SAMPLE_VALUES = 1 << 26
"""Numbers that quantiles of vectors are fitted to, at most: 256 MiB, 15,343 song descriptors."""

WIDEST = 1 << 14
"""The widest vectors that have a PCA here: their covariance takes 2 GiB."""


class Gmm:
    """A number becomes a distribution: how much of it each component of a mixture has."""

    METHODS = ("gmm",)

    @staticmethod
    def needed(columns: Columns, settings: GmmSettings) -> list[str]:
        """Return the columns that are read to fit."""
        return _needed(columns, settings, _numbers(settings), _NUMBERS)

    @staticmethod
    def run(
        read: Read,
        rows: Iterable[Batch],
        columns: Columns,
        settings: GmmSettings,
        fitted: Fitted | None,
    ) -> Made:
        """Fit a mixture to a column of numbers, and return the rows with its posteriors."""
        column = _column(columns, settings, fitted, _numbers(settings), _NUMBERS)
        new_name = _free(settings.as_, columns)
        notes: list[str] = []
        if fitted is None:
            fitted = _fit_gmm(read, column.name, settings, notes)
        mixture = Mixture.from_arrays(fitted.arrays)
        new = target(new_name, len(mixture.means), fitted, column=column.name)

        def made(batch: Batch) -> NDArray[Any]:
            return mixture.posterior(batch[column.name]).astype(np.float32)

        return Made(fitted, _rows(rows, new, made, column.name, notes), notes)


def _fit_gmm(read: Read, column: str, settings: GmmSettings, notes: list[str]) -> Fitted:
    components = _components(settings.components)
    numbers, train = _train_numbers(read, column, settings.ignore_split)
    if not len(numbers):
        raise _nothing(column)
    different = len(np.unique(numbers))
    if different < max(components, 2):
        raise UsageError(
            f"--components {settings.components}: the train rows have {different} different "
            f"numbers in {column}; "
            + ("ask for so many at most, or for auto" if different > 1 else "choose another column")
        )
    arrays: dict[str, NDArray[Any]] = {}
    if components:
        mixture = fit_mixture(numbers, components, settings.seed)
        said = f"BIC {criterion(mixture, numbers):.1f}"
    else:
        mixture, arrays["bic"] = choose_mixture(numbers, MOST_COMPONENTS, settings.seed)
        said = _chosen(arrays["bic"])
        if len(mixture.means) < 2:
            raise UsageError(
                f"-k auto: the criterion asks for a single component of {column}, which tells no "
                "track from another; say how many with -k N, or learn the number itself: mt-train "
                f"--task {column}"
            )
    notes.append(
        f"{len(mixture.means)} components of {column} from {mixture.means[0]:.6g} to "
        f"{mixture.means[-1]:.6g}, fitted to {len(numbers)} numbers; {said}"
    )
    return Fitted(
        "gmm",
        mixture.arrays() | arrays,
        settings={"components": settings.components, "seed": settings.seed},
        of={"column": column},
        fitted_on=train.fitted_on(),
    )


def _components(text: str) -> int:
    """Read `--components`: a number, 0 for auto."""
    if text == "auto":
        return 0
    if not text.isdecimal() or int(text) < 2:
        raise UsageError(f"--components {text!r}: expected 2 or more, such as 50, or auto")
    return int(text)


def _chosen(criteria: NDArray[np.float64]) -> str:
    """Return what criteria of 1, 2, ... components say."""
    best, *others = np.argsort(criteria, kind="stable")[:2]
    next_best = "".join(f", next {criteria[i]:.1f} of {i + 1}" for i in others)
    return (
        f"BIC of 1 to {len(criteria)} components: {criteria[best]:.1f} of {best + 1}{next_best}; "
        "--fitted FILE has all"
    )


class Quantile:
    """Numbers, or each number of vectors, become a standard normal."""

    METHODS = ("quantile",)

    @staticmethod
    def needed(columns: Columns, settings: QuantileSettings) -> list[str]:
        """Return the columns that are read to fit."""
        return _needed(columns, settings, _numbers_or_vectors(settings), _EITHER)

    @staticmethod
    def run(
        read: Read,
        rows: Iterable[Batch],
        columns: Columns,
        settings: QuantileSettings,
        fitted: Fitted | None,
    ) -> Made:
        """Fit the quantiles of a column, and return the rows with the normal that they give."""
        column = _column(columns, settings, fitted, _numbers_or_vectors(settings), _EITHER)
        vectors = column.kind == "vector"
        new_name = settings.as_ or ("embedding.quantile" if vectors else "quantile")
        _free(new_name, columns)
        notes: list[str] = []
        if fitted is None:
            fitted = _fit_quantile(read, column, settings, notes)
        quantiles = Quantiles.from_arrays(fitted.arrays)
        new = (
            _embedding(new_name, column.shape[0], fitted) if vectors else _number(new_name, fitted)
        )

        def made(batch: Batch) -> NDArray[Any]:
            x = batch[column.name]
            if not vectors:
                return quantiles.transform(x[:, None])[:, 0]
            return quantiles.transform(x).astype(np.float32)

        return Made(fitted, _rows(rows, new, made, column.name, notes), notes)


def _fit_quantile(
    read: Read, column: Column, settings: QuantileSettings, notes: list[str]
) -> Fitted:
    values: NDArray[Any]
    if column.kind == "vector":
        most = max(1000, SAMPLE_VALUES // column.shape[0])
        sample = FrameSample(most, settings.seed)
        train = TrainRows(read, settings.ignore_split)
        for batch, used, x in _train_vectors(read, column.name, train):
            for id_, vector in zip(batch.ids[used], x, strict=True):
                sample.add(id_, vector[None])
        if not sample.seen:
            raise _nothing(column.name)
        values, seen = sample.frames(), sample.seen
    else:
        numbers, train = _train_numbers(read, column.name, settings.ignore_split)
        if not len(numbers):
            raise _nothing(column.name)
        values, seen = numbers[:, None], len(numbers)
    quantiles = fit_quantiles(values)
    width = quantiles.values.shape[1]
    dead = width - int(quantiles.varying.sum())
    if dead == width:
        raise UsageError(
            f"{column.name} is the same in all {seen} train rows that have it: choose another "
            "column"
        )
    line = (
        f"{len(quantiles.values)} quantiles of {column.name}, fitted to {len(values)} of {seen} "
        "rows"
    )
    notes.append(line + f"; {dead} of {width} numbers do not vary and become 0" * bool(dead))
    return Fitted(
        "quantile",
        quantiles.arrays(),
        settings={"seed": settings.seed},
        of=_described(column),
        fitted_on=train.fitted_on(),
    )


class Pca:
    """Vectors become their coordinates along the directions in which they vary most."""

    METHODS = ("pca",)

    @staticmethod
    def needed(columns: Columns, settings: PcaSettings) -> list[str]:
        """Return the columns that are read to fit."""
        return _needed(columns, settings, _is_vector, _VECTORS)

    @staticmethod
    def run(
        read: Read,
        rows: Iterable[Batch],
        columns: Columns,
        settings: PcaSettings,
        fitted: Fitted | None,
    ) -> Made:
        """Fit the principal components of vectors, and return the rows with theirs."""
        column = _column(columns, settings, fitted, _is_vector, _VECTORS)
        new_name = _free(settings.as_, columns)
        notes: list[str] = []
        if fitted is None:
            fitted = _fit_pca(read, column, settings, notes)
        transform = _transform(fitted)
        new = _embedding(new_name, transform.rows, fitted)

        def made(batch: Batch) -> NDArray[Any]:
            x = batch[column.name]
            whole = np.isfinite(x).all(axis=1)
            found = np.full((len(x), transform.rows), np.nan, dtype=np.float32)
            found[whole] = transform.apply(x[whole].T).T  # as frames of features, [d, frames]
            return found

        return Made(fitted, _rows(rows, new, made, column.name, notes), notes)


def _fit_pca(read: Read, column: Column, settings: PcaSettings, notes: list[str]) -> Fitted:
    asked, width = settings.components, column.shape[0]
    if asked > 1 and asked != int(asked):
        raise UsageError(
            f"--components {asked:g}: expected a number of components such as 20, or a share of "
            "the variance below 1, such as 0.95"
        )
    if width > WIDEST:
        raise UsageError(
            f"{column.name} is {width} numbers wide, expected {WIDEST} at most: the covariance of "
            f"these would take {8 * width**2 / 2**30:.0f} GiB"
        )
    train, moments = TrainRows(read, settings.ignore_split), Moments(width, covariance=True)
    for _, _, x in _train_vectors(read, column.name, train, whole=True):
        moments.add(x.astype(np.float64))
    if not moments.count:
        raise _nothing(column.name)
    found = transforms.fit(moments, "pca", asked)
    assert found.directions is not None
    notes.append(
        f"{found.rows} components of {column.name} with {found.share:.1%} of the variance, fitted "
        f"to {moments.count} vectors of {width}"
    )
    return Fitted(
        "pca",
        {
            "mean": found.mean,
            "directions": found.directions,
            "variances": found.variances,
            "total": np.array(found.total),
        },
        settings={"components": asked},
        of=_described(column),
        fitted_on=train.fitted_on(),
    )


def _transform(fitted: Fitted) -> Transform:
    """Return the transform that a fitted file keeps."""
    directions = fitted.arrays["directions"]
    return Transform(
        kind="pca",
        mean=fitted.arrays["mean"],
        directions=directions,
        divisors=np.ones(len(directions)),
        variances=fitted.arrays["variances"],
        total=float(fitted.arrays["total"]),
        frames=0,
    )


# --- columns -------------------------------------------------------------------------------------

_NUMBERS = "columns of numbers"
_VECTORS = "columns of vectors"
_EITHER = "columns of numbers or vectors"

Fits = Callable[[Column], bool]


def _is_vector(column: Column) -> bool:
    return column.kind == "vector"


def _numbers(settings: Any) -> Fits:
    """Say which columns are numbers: of the reserved ones, as `length`, only the one named."""
    return lambda column: (
        column.kind in ("number", "integer")
        and (column.role != "reserved" or column.name == settings.column)
    )


def _numbers_or_vectors(settings: Any) -> Fits:
    numbers = _numbers(settings)
    return lambda column: _is_vector(column) or numbers(column)


def _needed(columns: Columns, settings: Any, fits: Fits, what: str) -> list[str]:
    """Return the columns that are read to fit; none where nothing is fitted."""
    if settings.apply:
        return []
    return [chosen_column(columns, settings.column, fits, what).name, "split", "origin"]


def _column(
    columns: Columns, settings: Any, fitted: Fitted | None, fits: Fits, what: str
) -> Column:
    """Return the column to work on: as chosen, else the one of the name that was fitted.

    Raises `SettingsMismatch` for vectors that were made otherwise than those it was fitted on.
    """
    chosen = settings.column
    if fitted is not None and not chosen and fitted.of["column"] in columns:
        chosen = fitted.of["column"]
    column = chosen_column(columns, chosen, fits, what)
    if fitted is not None and "width" in fitted.of:
        got, expected = _described(column), dict(fitted.of)
        lines = differences({"width": got["width"]}, {"width": expected["width"]})
        lines += differences(got["settings"], expected["settings"])
        if lines:
            raise SettingsMismatch(
                f"--apply {settings.apply}: {column.name} is not as what it was fitted on: "
                f"{'; '.join(lines)}"
            )
    return column


def _described(column: Column) -> dict[str, Any]:
    """Return what a fitted file says of the column; numbers are a vector of one."""
    width = column.shape[0] if column.kind == "vector" else 1
    return {"column": column.name, "width": width, "settings": dict(column.settings)}


def _free(name: str, columns: Columns) -> str:
    """Return the name of the new column; raises `UsageError` before the fit where it is taken."""
    if name in columns:
        raise UsageError(
            f"the table already has a column {name!r}: name the new one with --as NAME"
        )
    return name


def _embedding(name: str, width: int, fitted: Fitted) -> Column:
    """Return the column of vectors that can be learnt from, probed and clustered."""
    said = {"method": fitted.method, "digest": fitted.digest, "column": fitted.of["column"]}
    return Column(name, "vector", "embedding", said, (width,))


def _number(name: str, fitted: Fitted) -> Column:
    """Return the column of a number, a target of regression."""
    said = {"method": fitted.method, "digest": fitted.digest, "column": fitted.of["column"]}
    return Column(name, "number", "target", said)


# --- rows ----------------------------------------------------------------------------------------


def _train_numbers(
    read: Read, column: str, ignore_split: bool
) -> tuple[NDArray[np.float64], TrainRows]:
    """Return the finite numbers of the rows that are fitted on, and which rows these are."""
    train = TrainRows(read, ignore_split)
    found = [np.zeros(0)]
    for batch in read():
        values = batch[column]
        used = train.of(batch) & np.isfinite(values)
        train.used(batch, used)
        found.append(values[used])
    return np.concatenate(found), train


def _train_vectors(
    read: Read, column: str, train: TrainRows, whole: bool = False
) -> Iterator[tuple[Batch, NDArray[np.bool_], NDArray[np.float32]]]:
    """Yield batches, which of their rows are fitted on, and the vectors of these.

    They have some finite number, with `whole` nothing else.
    """
    for batch in read():
        x = batch[column]
        finite = np.isfinite(x)
        used = train.of(batch) & (finite.all(axis=1) if whole else finite.any(axis=1))
        train.used(batch, used)
        yield batch, used, x[used]


def _rows(
    rows: Iterable[Batch],
    new: Column,
    made: Callable[[Batch], NDArray[Any]],
    column: str,
    notes: list[str],
) -> Iterator[Batch]:
    """Yield the rows with the new column; how many have none is a note at the end."""
    count = missing = 0
    for batch in rows:
        values = made(batch)
        count += len(values)
        missing += int(np.isnan(values).reshape(len(values), -1).all(axis=1).sum())
        yield batch.append(new, values)
    if missing:
        notes.append(f"{missing} of {count} rows have no {column}, and so no {new.name}")


def _nothing(column: str) -> UsageError:
    return UsageError(
        f"no train row has a value in {column}: choose another column, or mark rows with "
        "split = train (mt-fetch split), or say --ignore-split"
    )

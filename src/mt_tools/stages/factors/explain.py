"""Explains factors in words: those of a fitted file, of each track, of labels, of map regions.

Conventions: a source is a column of factors, predicted or made by `mt-factor`, with the file of
what was fitted.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mt_tools.errors import BrokenTable, NoRows, RowError, UsageError
from mt_tools.features.explain import (
    LabelShares,
    Said,
    Terms,
    factor_terms,
    mixture_terms,
    region_terms,
    terms_of,
)
from mt_tools.features.fitted import Fitted
from mt_tools.stages.factors.fitting import read_fitted
from mt_tools.stages.factors.settings import ExplainSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tasks.labels import is_distribution, rows_of_names

if TYPE_CHECKING:
    from mt_tools.stages.frontend import Fail

_FACTORS = ("prediction", "target", "label")
"""The roles of a column of factors; those that other software wrote are labels."""

_SAID = [
    Column("source", "string"),
    Column("factor", "integer"),
    Column("rank", "integer"),
    Column("term", "string"),
    Column("weight", "number"),
    Column("lift", "number"),
]
_PLACE = [
    Column("source", "string"),
    Column("region", "integer"),
    Column("n", "integer"),
    Column("x", "number"),
    Column("y", "number"),
    *_SAID[2:],
]


@dataclass(frozen=True)
class Factors:
    """The factors in one column, and what they are made of; `path` is the fitted file as typed."""

    column: str
    path: str
    fitted: Fitted
    terms: Terms

    @property
    def name(self) -> str:
        """What the source is called."""
        return self.column or os.path.splitext(os.path.basename(self.path))[0]

    @property
    def words(self) -> str:
        """The name of the column of its terms."""
        return f"{self.name}_terms"


def _mixtures(
    batch: Batch, found: Sequence[Factors], fail: Fail
) -> tuple[list[np.ndarray], list[int]]:
    """Return the mixtures of each source, float64 [n, k], NaN where there is none, and rows left.

    A row that is no distribution in one of them has none in any; it is told to `fail`, once.
    """
    made = [batch[one.column].astype(np.float64) for one in found]
    failed: dict[int, str] = {}
    for one, values in zip(found, made, strict=True):
        wrong = ~np.isnan(values).all(axis=1) & ~is_distribution(values)
        for row in np.flatnonzero(wrong).tolist():
            what = f"{one.column} is no distribution: it sums to {values[row].sum():.4g}"
            failed.setdefault(row, what)
    for row in sorted(failed):
        fail({"id": batch.ids[row], "path": batch.get("path")[row]}, RowError(failed[row]))
        for values in made:
            values[row] = math.nan
    return made, [row for row in range(len(batch)) if row not in failed]


def read(path: str, column: str = "", option: str = "FITTED") -> Factors:
    """Read what was fitted as a source; raises `UsageError` for any other file."""
    try:
        fitted = read_fitted(path, option=option)
    except BrokenTable as error:
        raise UsageError(
            f"{option} {path}: not what --fitted wrote; name that file first, and tables after it"
        ) from error
    return Factors(column, path, fitted, terms_of(fitted))


def sources(fitted: str, columns: Mapping[str, Column], settings: ExplainSettings) -> list[Factors]:
    """Return the sources of a table: that of the one `fitted` file, or those of `--source`.

    Raises `UsageError` for columns that the table lacks, and that were not made with their file.
    """
    pairs = [_parsed(text) for text in settings.source] or [(settings.column, fitted)]
    option = "--source" if settings.source else "FITTED"
    found: list[Factors] = []
    for column, path in pairs:
        one = read(path, column, option)
        if one.terms.signed:
            raise UsageError(
                f"{option} {path}: the components of {one.fitted.method} are no distribution, so "
                "rows have no terms; without a table its loadings are listed"
            )
        one = one if column else dataclasses.replace(one, column=_column_of(one, columns))
        _check(one, columns)
        if any(one.column == other.column for other in found):
            raise UsageError(
                f"--source {one.column}: the column is named twice: one file explains it"
            )
        found.append(one)
    return found


def _parsed(text: str) -> tuple[str, str]:
    column, _, path = text.partition("=")
    if not (column and path):
        raise UsageError(f"--source {text}: expected COLUMN=FITTED, such as tag_score=tags.npz")
    return column, path


def _column_of(one: Factors, columns: Mapping[str, Column]) -> str:
    """Return the only column that can have been made with a fitted file.

    Of several the one that says so, and of these the one that is predicted.
    """
    fits = [name for name, column in columns.items() if not _misfit(one, column)]
    sure = [name for name in fits if _digest(columns[name])]
    predicted = [name for name in sure if columns[name].role == "prediction"]
    for likely in (predicted, sure, fits):
        if len(likely) == 1:
            return likely[0]
    held = f"{', '.join(fits) or 'none'} of {', '.join(columns)}"
    raise UsageError(
        f"the columns of {len(one.terms.weights)} factors, as {one.path} has them, are {held}: "
        "choose one with --column"
    )


def _check(one: Factors, columns: Mapping[str, Column]) -> None:
    """Raise `UsageError` unless a column is there and can have been made with the file."""
    if one.column not in columns:
        there = [c.name for c in columns.values() if c.kind == "vector" and c.role in _FACTORS]
        raise UsageError(
            f"no column {one.column!r} in the table: its columns of factors are "
            f"{', '.join(there) or 'none'} (of {', '.join(columns)})"
        )
    misfit = _misfit(one, columns[one.column])
    if misfit:
        raise UsageError(f"column {one.column!r} {misfit}")


def _misfit(one: Factors, column: Column) -> str:
    """Return why a column cannot hold the factors of a fitted file; "" where it can."""
    if column.kind != "vector" or column.role not in _FACTORS:
        what = column.role if column.kind == "vector" else column.kind
        return f"is of the kind {what}, expected factors: vectors of mt-factor or of mt-tag"
    factors = len(one.terms.weights)
    if column.shape[0] != factors:
        return (
            f"has {column.shape[0]} factors, {one.path} has {factors}: name the file that --fitted "
            "wrote when they were made"
        )
    digest = _digest(column)
    if digest and digest != one.fitted.digest:
        return (
            f"was made with another fit ({digest}) than {one.path} ({one.fitted.digest}): name the "
            "file that --fitted wrote when it was made"
        )
    return ""


def _digest(column: Column) -> str:
    """Return the digest of the fitted file that a column says it was made with; "" for none."""
    said = column.settings if column.role == "target" else column.settings.get("target", {})
    return str(said.get("digest") or "")


# --- the terms of factors ------------------------------------------------------------------------


def factor_rows(path: str, settings: ExplainSettings) -> tuple[Batch, str]:
    """Return the strongest terms of each factor of a fitted file, a row a term (REP, Table 2).

    With them comes which number is worth reading beside a term, as `report.factors` calls it: of
    components their share, of pca the loading. Raises `UsageError` for options that need a table.
    """
    typed = {"column": settings.column, "labels": settings.labels, "regions": settings.regions}
    for option in (name for name, value in typed.items() if value):
        raise UsageError(f"--{option} is of a table: name one after {path}")
    one = read(path)
    by = "weight" if settings.by == "auto" else settings.by
    if by == "lift" and (one.terms.signed or one.terms.about):
        raise UsageError(f"--by lift: the factors of {one.fitted.method} share no terms")
    says = "loading" if one.terms.signed else "share" if one.terms.about else ""
    rows = _factor_rows([one], [factor_terms(one.terms, settings.top, by)])
    return rows, "lift" if by == "lift" else says


def label_rows(
    batches: Iterable[Batch], found: Sequence[Factors], settings: ExplainSettings, fail: Fail
) -> Batch:
    """Return the labels whose rows have most of each factor, a row a label.

    Raises `UsageError` where the column is none of classes or tags, or no row is labelled.
    """
    shares = [LabelShares(len(one.terms.weights)) for one in found]
    for batch in batches:
        batch.require(settings.labels)
        kind = batch.columns[settings.labels].kind
        if kind not in ("string", "strings", "boolean", "integer"):
            raise UsageError(f"--labels {settings.labels}: got a {kind} column, expected classes "
                             "or tags")  # fmt: skip
        labels = [
            None if names is None else sorted(names)
            for names in rows_of_names(batch[settings.labels])
        ]
        for mixtures, share in zip(_mixtures(batch, found, fail)[0], shares, strict=True):
            share.add(mixtures, labels)
    by = "lift" if settings.by == "auto" else settings.by
    return _factor_rows(found, [share.strongest(settings.top, by) for share in shares])


def _factor_rows(found: Sequence[Factors], said: Sequence[Iterable[list[Said]]]) -> Batch:
    """Return terms of factors as rows; numbers that describe a factor are columns of their own."""
    about = dict.fromkeys(key for one in found for key in one.terms.about if key != "share")
    columns = [Column("id", "string", "reserved"), *_SAID, *(Column(k, "number") for k in about)]
    values: dict[str, list[Any]] = {column.name: [] for column in columns}
    for one, factors in zip(found, said, strict=True):
        for factor, terms in enumerate(factors):
            for term in terms:
                values["id"].append(f"{one.name}/{factor}/{term.rank}")
                values["source"].append(one.name)
                values["factor"].append(factor)
                _append(values, term)
                for key in about:
                    known = one.terms.about.get(key)
                    values[key].append(math.nan if known is None else float(known[factor]))
    return Batch.build(columns, values)


def _append(values: dict[str, list[Any]], term: Said) -> None:
    for key in ("rank", "term", "weight", "lift"):
        values[key].append(getattr(term, key))


# --- the terms of tracks -------------------------------------------------------------------------


def run(
    batches: Iterable[Batch], found: Sequence[Factors], settings: ExplainSettings, fail: Fail
) -> Iterator[Batch]:
    """Yield the rows with the terms that their factors stand for, a column a source.

    A row that is no distribution fails.
    """
    by = "lift" if settings.by == "auto" else settings.by
    for batch in batches:
        made, rows = _mixtures(batch, found, fail)
        for one, mixtures in zip(found, made, strict=True):
            batch = _with_terms(batch, one, mixtures, settings, by)
        yield batch.take(rows)


def _with_terms(
    batch: Batch, one: Factors, mixtures: np.ndarray, settings: ExplainSettings, by: str
) -> Batch:
    """Return the rows with a source's terms, null where its factors are."""
    said = mixture_terms(mixtures, one.terms, settings.top, by)
    known = np.isfinite(mixtures).all(axis=1)
    words = [
        [term.term for term in terms] if k else None for terms, k in zip(said, known, strict=True)
    ]
    described = {"column": one.column, "digest": one.fitted.digest, "by": by}
    for name in (one.words, f"{one.words}_weight"):
        if name in batch:
            raise UsageError(f"the table has {name!r} already: give it as it was before")
    batch = batch.append(Column(one.words, "strings", "prediction", described), words)
    if settings.weights:
        width = min(settings.top, len(one.terms.names))
        values = np.full((len(batch), width), math.nan, np.float32)
        for row, terms in enumerate(said):
            values[row, : len(terms)] = [getattr(term, by) for term in terms]
        column = Column(f"{one.words}_weight", "vector", "prediction", described, (width,))
        batch = batch.append(column, values)
    return batch


# --- the terms of regions ------------------------------------------------------------------------


def region_rows(
    batches: Iterable[Batch],
    embedding: str,
    found: Sequence[Factors],
    settings: ExplainSettings,
    fail: Fail,
) -> Batch:
    """Return the strongest terms of each source in each region of the map of an embedding.

    The map is that of `mt-eval plot --kind map`, and so are its regions.
    """
    from mt_tools.features.maps import map_points, middle, parts_of

    vectors: list[np.ndarray] = []
    mixtures: list[list[np.ndarray]] = []
    for batch in batches:
        vectors.append(batch[embedding])
        mixtures.append(_mixtures(batch, found, fail)[0])
    if not vectors:
        raise NoRows("the input had no rows: nothing to explain")
    points = map_points(np.concatenate(vectors), settings.map, settings.seed)
    parts = parts_of(points, settings.regions, settings.seed)
    by = "lift" if settings.by == "auto" else settings.by
    said = [
        region_terms(np.concatenate(own), parts, one.terms, settings.top, by)
        for one, own in zip(found, zip(*mixtures, strict=True), strict=True)
    ]
    values: dict[str, list[Any]] = {c.name: [] for c in _PLACE} | {"id": []}
    for number, part in enumerate(parts):
        x, y = middle(points, part)
        for one, terms in zip(found, said, strict=True):
            for term in terms[number]:
                values["id"].append(f"{number}/{one.name}/{term.rank}")
                values["source"].append(one.name)
                for key, value in (("region", number), ("n", len(part)), ("x", x), ("y", y)):
                    values[key].append(value)
                _append(values, term)
    return Batch.build([Column("id", "string", "reserved"), *_PLACE], values)


def embedding_of(columns: Mapping[str, Column], chosen: str) -> str:
    """Return the embedding to make a map of: the chosen one, or the only one."""
    there = [c.name for c in columns.values() if c.kind == "vector" and c.role == "embedding"]
    if chosen and chosen not in there:
        raise UsageError(
            f"--embedding {chosen}: no such embedding; there are {', '.join(there) or 'none'}"
        )
    if not chosen and len(there) != 1:
        raise UsageError(
            f"--regions: the input has the embeddings {', '.join(there)}: choose one with "
            "--embedding" if there else
            "--regions: the input has no embedding: add one to the rows of mt-tag with mt-embed"
        )  # fmt: skip
    return chosen or there[0]

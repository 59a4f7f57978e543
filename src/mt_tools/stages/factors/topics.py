"""Factors of bags of words, by pLSA or LDA: a mixture of topics a track.

A document is a row, or with `per` group all rows of a group that are in the same part of the split.
Rows come batch by batch; what is held is the counts, sparsely, and of groups their mixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import NoRows
from mt_tools.features.counts import filled, idf, tfidf
from mt_tools.features.fitted import Fitted
from mt_tools.features.lda import Lda, fit_lda
from mt_tools.features.topics import Plsa, fit_plsa
from mt_tools.settings import result_settings
from mt_tools.stages.factors.bags import Bags, Words, is_words, kept, made_with, words_column
from mt_tools.stages.factors.fitting import (
    Columns,
    Made,
    Owner,
    Read,
    TrainRows,
    owners,
    owners_in_parts,
    target,
)
from mt_tools.stages.factors.settings import LdaSettings, PlsaSettings
from mt_tools.stages.frontend import fresh
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

Settings = PlsaSettings | LdaSettings
Arrays = dict[str, NDArray[Any]]
_NO_FIT = ("column", "per", "apply", "ignore_split", "as_")  # said elsewhere, or of no say


@dataclass(frozen=True)
class Topics:
    """A method: `fit(counts, settings)` makes its arrays, `model(arrays)` transforms counts."""

    name: str
    fit: Callable[[Any, Any], Arrays]
    model: Callable[[Mapping[str, Any]], Plsa | Lda]

    @property
    def METHODS(self) -> tuple[str, ...]:
        """What --apply takes."""
        return (self.name,)

    def needed(self, columns: Columns, settings: Settings) -> list[str]:
        """Return the columns that are read for fitting, and for groups."""
        labels = [c for c in columns.values() if c.kind == "vector" and c.role == "label"]
        known = [c.name for c in (*filter(is_words, columns.values()), *labels)]
        return [*known, *filter(None, [settings.column]), "split", "group", "origin"]

    def run(
        self,
        read: Read,
        rows: Iterable[Batch],
        columns: Columns,
        settings: Settings,
        fitted: Fitted | None,
    ) -> Made:
        """Fit topics, or take those that were `fitted`, and give each row its mixture of them.

        Rows without a known word have none: null. Raises `UsageError` for a column that has no
        words, for fewer words or documents than topics, and for groups where there are none,
        `SettingsMismatch` for counts of other words than those that were fitted on.
        """
        column = words_column(columns, settings.column, fitted)
        notes: list[str] = []
        train = None
        if fitted is None or settings.per == "group":
            train = TrainRows(read, settings.ignore_split)
        if fitted is None:
            assert train is not None
            fitted = self._fitted(read, column, settings, train, notes)
        words = Words(column, fitted, settings.apply)
        mixtures = self._mixtures(fitted)
        made = (_shared if settings.per == "group" else _alone)(read, words, train, mixtures)
        size = len(fitted.arrays["terms"])
        new = target(settings.as_, size, fitted, factors=size, column=column.name, per=settings.per)
        return Made(fitted, _rows(fresh(rows, settings.as_), new, made, words, notes), notes)

    def _fitted(
        self, read: Read, column: Column, settings: Settings, train: TrainRows, notes: list[str]
    ) -> Fitted:
        """Fit topics to the train rows."""
        words, bags, rows = Words(column), Bags(), 0
        for batch in read():
            rows += len(batch)
            counts = words.counts(batch, train.of(batch))
            train.used(batch, filled(counts))
            bags.add([(owner, "train") for owner in owners(batch, settings.per)], counts)
        if not rows:
            raise NoRows("the input had no rows: nothing to do")
        counts, vocabulary = kept(bags.counts(len(words.places)), words, settings, notes)
        arrays = self.fit(counts, settings)
        of = {"column": column.name, "per": settings.per} | made_with(column)
        said = {k: v for k, v in result_settings(settings).items() if k not in _NO_FIT}
        fitted = Fitted(self.name, arrays, vocabulary, said, of, train.fitted_on())
        notes.append(
            f"{len(arrays['terms'])} topics of {counts.shape[1]} words, fitted to "
            f"{counts.shape[0]} {settings.per}s"
        )
        model = self.model(arrays)
        if isinstance(model, Lda):
            notes.append(_perplexity(model, counts, read, fitted, column, settings))
        return fitted

    def _mixtures(self, fitted: Fitted) -> Callable[[Any], NDArray[np.float32]]:
        """Return what makes mixtures [n, k] of counts, by the arrays of a fitted file alone."""
        model, weights = self.model(fitted.arrays), fitted.arrays.get("idf")

        def mixtures(counts: Any) -> NDArray[np.float32]:
            weighted = counts if weights is None else tfidf(counts, weights)
            return model.transform(weighted).astype(np.float32)

        return mixtures


def _fit_plsa(counts: Any, settings: PlsaSettings) -> Arrays:
    arrays: Arrays = {}
    if settings.tfidf:
        arrays["idf"] = idf(counts)
        counts = tfidf(counts, arrays["idf"])
    terms = fit_plsa(counts, settings.factors, settings.seed, settings.iterations).terms
    return {"terms": terms.astype(np.float32)} | arrays


def _fit_lda(counts: Any, settings: LdaSettings) -> Arrays:
    lda = fit_lda(
        counts,
        settings.factors,
        seed=settings.seed,
        passes=settings.passes,
        batch=settings.batch,
        document_prior=settings.document_prior,
        term_prior=settings.word_prior,
    )
    return {
        "terms": lda.terms.astype(np.float32),
        "mass": np.asarray(lda.mass),
        "prior": np.array(lda.prior),
    }


PLSA = Topics("plsa", _fit_plsa, lambda arrays: Plsa(arrays["terms"]))
LDA = Topics(
    "lda", _fit_lda, lambda arrays: Lda(arrays["terms"], arrays["mass"], float(arrays["prior"]))
)


# --- from counts to mixtures ---------------------------------------------------------------------

Mixtures = Callable[[Any], NDArray[np.float32]]


def _alone(
    read: Read, words: Words, train: TrainRows | None, mixtures: Mixtures
) -> Callable[[Batch], NDArray[np.float32]]:
    """Return what gives each row of a batch the mixture of its own words."""
    return lambda batch: mixtures(words.counts(batch))


def _shared(
    read: Read, words: Words, train: TrainRows | None, mixtures: Mixtures
) -> Callable[[Batch], NDArray[np.float32]]:
    """Return what gives each row of a batch the mixture of its group: of the train rows' words.

    A group that has none there has that of the part of the split that the row is in, so that no
    train row's target knows of words in the test rows.
    """
    assert train is not None
    bags, none = Bags(), -1
    for batch in read():
        bags.add(owners_in_parts(batch, train), words.counts(batch))
    made = mixtures(bags.counts(len(words.places)))
    made = np.vstack([made, np.full((1, made.shape[1]), np.nan, np.float32)])

    def place(owner: Owner) -> int:
        trained = bags.numbers.get((owner[0], "train"))
        return bags.numbers.get(owner, none) if trained is None else trained

    return lambda batch: made[[place(owner) for owner in owners_in_parts(batch, train)]]


def _rows(
    batches: Iterable[Batch],
    new: Column,
    made: Callable[[Batch], NDArray[np.float32]],
    words: Words,
    notes: list[str],
) -> Iterator[Batch]:
    """Yield the rows with their mixtures; what had none is a note at the end."""
    count = missing = 0
    for batch in batches:
        mixtures = made(batch)
        count, missing = count + len(mixtures), missing + int(np.isnan(mixtures[:, 0]).sum())
        yield batch.append(new, mixtures)
    if words.known < words.seen:
        notes.append(
            f"{words.seen - words.known} of {words.seen} words in {words.column.name} are unknown "
            "to the topics and left out"
        )
    if missing:
        notes.append(f"{missing} of {count} rows have no known word, and so no {new.name}")


def _perplexity(
    lda: Lda, counts: Any, read: Read, fitted: Fitted, column: Column, settings: Settings
) -> str:
    """Return a line with the perplexity of the valid rows, or of those that were fitted on."""
    bags, words = Bags(), Words(column, fitted)
    if not settings.ignore_split:
        for batch in read():
            rows = np.array([part == "valid" for part in batch.get("split")], dtype=bool)
            names = owners(batch, settings.per)
            bags.add([(name, "valid") for name in names], words.counts(batch, rows))
    what = f"the {counts.shape[0]} {settings.per}s that were fitted on"
    if bags.numbers:
        counts = bags.counts(len(words.places))
        what = f"{counts.shape[0]} valid {settings.per}s"
    chance = f"{len(fitted.vocabulary)} where all words are as likely"
    return f"perplexity {lda.perplexity(counts):.1f} on {what} ({chance})"

"""Bags of words: from the rows of a column to the counts of documents, batch by batch.

Words are a multilabel column, in which a word that stands twice counts twice, or a vector column of
counts (`mt-factor bof`), whose words are the `vocabulary` of its settings, else "word 1" and so on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import SettingsMismatch, UsageError
from mt_tools.features.counts import filled
from mt_tools.features.fitted import Fitted
from mt_tools.stages.factors.fitting import Columns, Owner, chosen_column
from mt_tools.stages.factors.settings import LdaSettings, PlsaSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

_WHAT = "lists of words (multilabel) and columns of counts (mt-factor bof)"


def is_words(column: Column) -> bool:
    """Say whether a column is one of words, without being named."""
    return column.kind == "strings" or (
        column.kind == "vector" and ("vocabulary" in column.settings or made_with(column) != {})
    )


def words_column(columns: Columns, chosen: str, fitted: Fitted | None) -> Column:
    """Return the column of the words: as chosen, else that which was fitted on, else the only one.

    One that is named may be any vector.
    """
    if fitted is not None and not chosen and fitted.of.get("column") in columns:
        chosen = fitted.of["column"]
    fits = (lambda c: c.kind in ("strings", "vector")) if chosen else is_words
    return chosen_column(columns, chosen, fits, _WHAT)


def made_with(column: Column) -> dict[str, str]:
    """Return the dictionary that words of sound were counted with, as far as it is known."""
    if column.kind != "vector" or "dictionary" not in column.settings:
        return {}
    return {"dictionary": str(column.settings["dictionary"])}


class Words:
    """Turns rows of a column into counts: of the words that were `fitted`, else as words appear.

    `places` has the column of each word; `seen` is how many words the rows had, `known` how many
    of them are counted.
    """

    def __init__(self, column: Column, fitted: Fitted | None = None, apply: str = "") -> None:
        self.column = column
        self._names: list[str] = []
        if column.kind == "vector":
            size = column.shape[0]
            named = column.settings.get("vocabulary")
            self._names = named or [f"word {number}" for number in range(1, size + 1)]
        self._grows = fitted is None
        vocabulary = self._names if fitted is None else fitted.vocabulary
        self.places = {word: place for place, word in enumerate(vocabulary)}
        self._places = np.array([self.places.get(word, -1) for word in self._names], np.int64)
        self.seen = self.known = 0
        if fitted is not None and column.kind == "vector":
            self._check(fitted, apply)

    def _check(self, fitted: Fitted, apply: str) -> None:
        got, expected = made_with(self.column), fitted.of.get("dictionary")
        lacking = sum(word not in self.places for word in self._names)
        if expected is not None and got.get("dictionary") not in (None, expected):
            raise SettingsMismatch(
                f"--apply {apply}: fitted on words of the dictionary {expected}, got "
                f"{self.column.name} of {got['dictionary']}: count with the same dictionary"
            )
        if lacking == len(self._names):
            raise SettingsMismatch(
                f"--apply {apply}: none of the {lacking} words of {self.column.name} is among its "
                f"{len(self.places)} words: choose the column that it was fitted on"
            )

    def counts(self, batch: Batch, rows: NDArray[np.bool_] | None = None) -> Any:
        """Return the counts of a batch [n, words] as a `csr_array`, those of other `rows` empty."""
        from scipy import sparse

        values, vector = batch[self.column.name], self.column.kind == "vector"
        if rows is not None:
            values[~rows] = np.nan if vector else None
        own, words, numbers = self._of_vectors(values) if vector else self._of_lists(values)
        known = words >= 0
        self.seen += round(float(numbers.sum()))
        self.known += round(float(numbers[known].sum()))
        shape = (len(batch), len(self.places))
        return sparse.coo_array((numbers[known], (own[known], words[known])), shape=shape).tocsr()

    def _of_lists(self, values: Iterable[Sequence[str] | None]) -> tuple[Any, Any, Any]:
        """Return the row, the place and the count of each word."""
        bags = [bag or () for bag in values]
        if self._grows:
            for bag in bags:
                for word in bag:
                    self.places.setdefault(word, len(self.places))
        place = self.places.get
        words = np.fromiter((place(word, -1) for bag in bags for word in bag), np.int64)
        own = np.repeat(np.arange(len(bags)), [len(bag) for bag in bags])
        return own, words, np.ones(len(words), np.float32)

    def _of_vectors(self, values: NDArray[np.float32]) -> tuple[Any, Any, Any]:
        """Return the row, the place and the count of each word that occurs."""
        nulls = np.isnan(values).all(axis=1, keepdims=True)
        values = np.where(nulls, np.float32(0), values)
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise UsageError(
                f"{self.column.name} has numbers that are no counts (negative, or missing): "
                "expected how often each word occurs, as mt-factor bof makes it"
            )
        own, columns = np.nonzero(values)
        return own, self._places[columns], values[own, columns]


class Bags:
    """Counts of documents, gathered batch by batch."""

    def __init__(self) -> None:
        self.numbers: dict[Owner, int] = {}
        self._parts: list[tuple[Any, Any, Any]] = []

    def add(self, names: Iterable[Owner], counts: Any) -> None:
        """Add the counts [n, words] of rows whose words belong to `names`; empty rows to nobody."""
        entries = np.diff(counts.indptr)
        mine = np.array(
            [
                self.numbers.setdefault(name, len(self.numbers)) if size else -1
                for name, size in zip(names, entries, strict=True)
            ],
            np.int32,
        )
        self._parts.append((np.repeat(mine, entries), counts.indices.astype(np.int32), counts.data))

    def counts(self, words: int) -> Any:
        """Return all counts, [documents, words] as a `csr_array`; documents are in `numbers`."""
        from scipy import sparse

        none: tuple[Any, Any, Any] = (
            np.zeros(0, np.int32),
            np.zeros(0, np.int32),
            np.zeros(0, np.float32),
        )
        own, places, numbers = (
            np.concatenate(part) for part in zip(none, *self._parts, strict=True)
        )
        self._parts = [(own, places, numbers)]
        shape = (len(self.numbers), words)
        return sparse.coo_array((numbers, (own, places)), shape=shape).tocsr()


def kept(
    counts: Any, words: Words, settings: PlsaSettings | LdaSettings, notes: list[str]
) -> tuple[Any, list[str]]:
    """Return the counts of the words that enough documents hold, and these words in order.

    Raises `UsageError` where there are fewer words, or documents that have one, than topics.
    """
    name = words.column.name
    if not counts.nnz:
        raise UsageError(
            f"no train row has a word in {name}: choose another column, or mark rows with "
            "split = train (mt-fetch split), or say --ignore-split"
        )
    documents = np.bincount(counts.indices, minlength=counts.shape[1])
    enough = documents >= settings.min_documents
    vocabulary = [word for word, place in words.places.items() if enough[place]]
    if words.column.kind == "strings":
        vocabulary.sort()
    rare = int(((documents > 0) & ~enough).sum())
    counts = counts[:, [words.places[word] for word in vocabulary]]
    counts = counts[filled(counts)]
    why = f" that {settings.min_documents} or more {settings.per}s have" * (rare > 0)
    there = int((documents[enough] > 0).sum())
    if there < settings.factors:
        raise UsageError(
            f"--factors {settings.factors}: the train rows have {there} different words in "
            f"{name}{why}; ask for fewer factors"
        )
    if counts.shape[0] < settings.factors:
        raise UsageError(
            f"--factors {settings.factors}: the train rows have {counts.shape[0]} {settings.per}s "
            f"with words in {name}{why}; ask for fewer factors"
        )
    if rare:
        notes.append(
            f"left out {rare} words that fewer than {settings.min_documents} {settings.per}s have"
        )
    return counts, vocabulary

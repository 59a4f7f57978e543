"""Factors of bags of words: a mixture of topics a track."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.features.topics import Plsa, fit_plsa
from mt_tools.stages.settings import FactorSettings
from mt_tools.tables.atomic import atomic
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tables.fitted import KEY, FittedOn


@dataclass(frozen=True)
class Factors:
    """Factors of words, the words in the order of their terms, and what they were fitted on.

    `fitted_on` is None for factors of a file that does not say it.
    """

    plsa: Plsa
    vocabulary: list[str]
    fitted_on: FittedOn | None

    def recorded(self) -> dict[str, Any]:
        """Return what the provenance says of the rows that they were fitted on."""
        return {KEY: self.fitted_on.to_json()} if self.fitted_on else {}


def plsa(batches: Iterable[Batch], settings: FactorSettings) -> tuple[Batch, Factors]:
    """Return the rows with their mix of factors, and the factors.

    The column is multilabel; a word that stands twice counts twice. Factors are fitted on the
    train rows where the table has splits, on all rows where it has none or with `ignore_split`, or
    read from `apply`. With `per` group, the words of a group are counted together and its tracks
    share one mix. A track without a known word has no target: null.
    """
    table = concatenate(list(batches))
    column = _words_column(table, settings.column)
    bags = table[column]
    owners = _owners(table, settings.per)
    train, parts = np.ones(len(table), dtype=bool), table.get("split")
    if not settings.ignore_split and any(part is not None for part in parts):
        train = np.array([part == "train" for part in parts])
    if settings.apply:
        factors = read_fitted(settings.apply)
    else:
        words = {w for bag, use in zip(bags, train, strict=True) if use and bag for w in bag}
        vocabulary = sorted(words)
        if len(vocabulary) < settings.factors:
            raise UsageError(
                f"--factors {settings.factors}: the train rows have {len(vocabulary)} different "
                f"words in {column}; ask for fewer factors"
            )
        counts, _ = _counted(bags, owners, vocabulary, train)
        fitted = fit_plsa(counts, settings.factors, settings.seed, settings.iterations)
        # A row without a word had no say in the factors.
        used = [row for row in np.flatnonzero(train) if bags[row]]
        factors = Factors(fitted, vocabulary, FittedOn.of(table.origins[used], parts[used]))
    counts, places = _counted(bags, owners, factors.vocabulary, np.ones(len(table), dtype=bool))
    mixes = factors.plsa.transform(counts)[places].astype(np.float32)
    size = factors.plsa.terms.shape[0]
    target = Column(
        settings.as_,
        "vector",
        "target",
        {"method": "plsa", "factors": size, "column": column, "per": settings.per},
        (size,),
    )
    return table.append(target, mixes), factors


def _words_column(table: Batch, chosen: str) -> str:
    lists = [c.name for c in table.columns.values() if c.kind == "strings"]
    if chosen:
        table.require(chosen)
        if chosen not in lists:
            raise UsageError(
                f"--column {chosen}: expected lists of words (multilabel); the input has "
                f"{', '.join(lists) or 'none'}"
            )
        return chosen
    if len(lists) != 1:
        raise UsageError(
            f"the input has {len(lists)} multilabel columns ({', '.join(lists) or 'none'}): choose "
            "the words with --column"
        )
    return lists[0]


def _owners(table: Batch, per: str) -> np.ndarray:
    """Return whose words each row's are: its own, or its group's."""
    if per == "track":
        return table.ids
    table.require("group")
    pairs = zip(table["group"], table.ids, strict=True)
    return np.array([f"id {own}" if group is None else f"group {group}" for group, own in pairs])


def _counted(
    bags: np.ndarray, owners: np.ndarray, vocabulary: list[str], used: np.ndarray
) -> tuple[csr_matrix, np.ndarray]:
    """Return counts [owners, words] of the rows used, and each row's owner number."""
    names, places = np.unique(owners.astype(str), return_inverse=True)
    place = {word: index for index, word in enumerate(vocabulary)}
    rows, columns = [], []
    for owner, bag, use in zip(places, bags, used, strict=True):
        known = [place[w] for w in bag or [] if w in place] if use else []
        rows += [owner] * len(known)
        columns += known
    shape = (len(names), len(vocabulary))
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape), places


def write_fitted(path: str, factors: Factors, settings: dict[str, Any]) -> None:
    """Write factors as NPZ: `terms` [factors, words], `vocabulary`, and how they were fitted."""
    with atomic(path) as file:
        np.savez(
            file,
            allow_pickle=False,
            terms=factors.plsa.terms,
            vocabulary=np.array(factors.vocabulary, dtype=np.str_),
            __meta__=np.array(json.dumps(settings | factors.recorded(), sort_keys=True)),
        )


def read_fitted(path: str) -> Factors:
    """Read factors that `write_fitted` wrote."""
    try:
        with np.load(path, allow_pickle=False) as file:
            words = [str(word) for word in file["vocabulary"]]
            meta = json.loads(str(file["__meta__"]))
            return Factors(Plsa(file["terms"]), words, FittedOn.from_json(meta.get(KEY)))
    except FileNotFoundError as error:
        raise UsageError(f"--apply {path}: no such file") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BrokenTable(
            f"--apply {path}: not fitted factors ({error}); fit them again"
        ) from error

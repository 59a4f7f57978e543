"""Learning targets out of labels and features: factors of bags of words, words of frames."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.features.factors import FRAMES_PER_WORD, FrameSample, Plsa, fit_plsa, fit_words
from mt_tools.stages.settings import FactorSettings, WordsSettings
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


def words(
    batches: Iterable[Batch], columns: dict[str, Column], settings: WordsSettings
) -> tuple[np.ndarray, dict[str, Any], str]:
    """Return the dictionary [words, d] of a column's frames, what it is of, and a line about it.

    Frames are those of features, or single vectors. They are drawn from the train rows where the
    table has splits, from all rows where it has none or with `ignore_split`, in one pass and in
    constant memory. What it is of holds the rows they were drawn from, as `tables.fitted` says it.
    """
    column = _frames_column(columns, settings.column)
    most = settings.words * FRAMES_PER_WORD
    train, unmarked = FrameSample(most, settings.seed), FrameSample(most, settings.seed)
    rows: dict[bool, list[tuple[str, str | None]]] = {True: [], False: []}
    split = False
    for batch in batches:
        arrays, parts = batch[column.name], batch.get("split")
        for id_, origin, array, part in zip(batch.ids, batch.origins, arrays, parts, strict=True):
            marked = part is not None and not settings.ignore_split
            split = split or marked
            frames = array.reshape(-1, array.shape[-1]).T if array.ndim > 1 else array[None]
            if np.isfinite(frames).all() and (part == "train" or not marked):
                (train if marked else unmarked).add(id_, frames)
                rows[marked].append((origin, part))
    sample = train if split else unmarked
    frames = sample.frames()
    fitted_on = FittedOn.of(*zip(*rows[split], strict=True))
    of: dict[str, Any] = {"kind": "embedding", "width": column.shape[0]}
    if column.role == "feature":
        of = {"kind": "feature", "shape": list(column.shape)}
    line = f"{settings.words} words from {len(frames)} of {sample.seen} frames"
    return (
        fit_words(frames, settings.words, settings.seed),
        of | {"settings": column.settings, KEY: fitted_on.to_json()},
        line,
    )


def _frames_column(columns: dict[str, Column], chosen: str) -> Column:
    known = [c for c in columns.values() if c.role in ("feature", "embedding")]
    found = [c for c in known if chosen in ("", c.name)]
    if len(found) != 1:
        names = ", ".join(c.name for c in known) or "none"
        raise UsageError(
            f"--column {chosen}: the input has the features and embeddings {names}"
            if chosen
            else f"the input has the features and embeddings {names}: "
            + ("choose one with --column" if known else "make some with mt-spec first")
        )
    return found[0]


def write_words(
    path: str, centres: np.ndarray, of: dict[str, Any], steps: list[dict[str, Any]]
) -> None:
    """Write a dictionary as NPZ: `centres`, and what they are of, for `mt-embed --model bof:`."""
    with atomic(path) as file:
        meta = {"input": of, "provenance": steps}
        np.savez(
            file,
            allow_pickle=False,
            centres=centres,
            __meta__=np.array(json.dumps(meta, sort_keys=True)),
        )


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

"""Artist-group factors: the groups of artists that a track's artist belongs to, and how much.

Goal: the learning targets m, d, e and s of the AGF study, section 3.1, for `mt-factor agf`.

    frames of a feature                      -> dictionary --+
    vectors (song descriptors) -> quantiles  -> dictionary --+-> words per artist -> LDA -> mixture
    lists of words (subgenres)  -----------------------------+

An artist is a `group`; a track without one is its own. What is fitted (quantiles, dictionary,
groups) is fitted on the train rows, an artist's words being those of its train rows. Where the
split keeps artists together, as ours do, these are all its rows. Where it does not, as in the
study, the words of an artist's valid and test rows shape nothing: those rows have the mixture of
its train rows. An artist without train rows (or without a word in them) has in each other part of
the split the mixture of its rows there, folded in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import NoRows, UsageError
from mt_tools.features.fitted import Fitted
from mt_tools.features.lda import Lda, fit_lda
from mt_tools.features.quantiles import Quantiles, fit_quantiles
from mt_tools.features.words import (
    FrameSample,
    WordCounts,
    finite,
    fit_words,
    frames_of,
    nearest,
    sample_size,
)
from mt_tools.stages.factors.fitting import (
    Columns,
    Made,
    Owner,
    Read,
    TrainRows,
    chosen_column,
    owners_in_parts,
    target,
)
from mt_tools.stages.factors.settings import AgfSettings
from mt_tools.stages.factors.words import check_fits, described, width_of
from mt_tools.stages.frontend import fresh
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

METHODS = ("agf",)

_NAMED = 3  # artists that a note names
_BLOCK = 1024  # song descriptors made normal at a time


def needed(columns: Columns, settings: AgfSettings) -> list[str]:
    """Return the columns that are read for fitting."""
    return [_column(columns, settings.column).name, "origin", "group", "split"]


def run(
    read: Read,
    rows: Iterable[Batch],
    columns: Columns,
    settings: AgfSettings,
    fitted: Fitted | None,
) -> Made:
    """Fit the groups, or take those that were `fitted`, and give each track its artist's mixture.

    Raises `UsageError` for a column that has no words, for fewer artists than groups, and where
    there are no groups; `SettingsMismatch` for features unlike those that were fitted on.
    """
    column = _column(columns, settings.column)
    train, notes = TrainRows(read, settings.ignore_split), list[str]()
    if fitted is None:
        if not any(True for _ in read()):
            raise NoRows("the input had no rows: nothing to find groups in")
        speech = _learnt(read, column, settings, train, notes)
    else:
        speech = _known(fitted, column, settings.apply)
    counted = _count(read, column, speech, train, notes)
    if fitted is None:
        fitted = _fitted(column, settings, speech, counted, train, notes)
    mixtures = _lda(fitted).transform(counted.counts).astype(np.float32)
    notes += _rare(counted, settings.min_words)
    described_ = target(
        settings.as_, mixtures.shape[1], fitted, factors=mixtures.shape[1], column=column.name,
        per="group",
    )  # fmt: skip
    gone = [column.name] * (column.role == "feature" and not settings.keep)

    def made() -> Iterator[Batch]:
        for batch in fresh(rows, settings.as_):
            places = [counted.place(owner) for owner in owners_in_parts(batch, train)]
            yield batch.without(gone).append(described_, mixtures[places])

    return Made(fitted, made(), notes)


# --- from a column to words ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Speech:
    """How the rows of a column are put into words.

    `words` takes the values of a batch's rows and returns the numbers of each row's words; of
    `size` words, whose names are `vocabulary` if they have any. `arrays` are what was fitted.
    """

    words: Callable[[NDArray[Any]], list[NDArray[np.integer]]]
    size: int
    arrays: dict[str, NDArray[Any]]
    vocabulary: Sequence[str] = ()


def _column(columns: Columns, chosen: str) -> Column:
    """Return the column that words are made of: the chosen one, or the only one of its kind.

    Features and embeddings come before lists of words, which tracks of any table may have.
    """

    def heard(column: Column) -> bool:
        return column.role in ("feature", "embedding")

    if not chosen and any(map(heard, columns.values())):
        return chosen_column(columns, "", heard, "features and embeddings")
    return chosen_column(
        columns,
        chosen,
        lambda column: heard(column) or column.kind == "strings",
        "features, embeddings and lists of words",
    )


def _learnt(
    read: Read, column: Column, settings: AgfSettings, train: TrainRows, notes: list[str]
) -> _Speech:
    """Learn the words of a column from the train rows."""
    if column.kind == "strings":
        found: set[str] = set()
        for batch in read():
            found.update(*(bag for bag in batch[column.name][train.of(batch)] if bag))
        return _listed(sorted(found))
    sample, whole = _sampled(read, column, settings, train)
    frames, seen = sample.frames(), sample.seen
    del sample  # which holds the frames as well, half a gigabyte of wide ones
    line = f"{settings.words} words from {len(frames)} of {seen} frames of {column.name}"
    arrays: dict[str, NDArray[Any]] = {}
    if column.kind == "vector":
        frames[:, ~whole] = np.nan
        quantiles, kept, said = _filtered(frames, whole)
        frames = _normal(frames, quantiles, kept)
        arrays = quantiles.arrays() | {"kept": kept}
        line += f"; {said}"
    arrays["centres"] = fit_words(frames, settings.words, settings.seed)
    notes.append(line)
    return _spoken(column, arrays)


def _known(fitted: Fitted, column: Column, name: str) -> _Speech:
    """Return the words of what was fitted, for a column that must be like the one it was of."""
    if fitted.of["kind"] == "strings":
        if column.kind != "strings":
            raise UsageError(
                f"--apply {name}: fitted to lists of words, got the {column.role}s of "
                f"{column.name!r}; choose a multilabel column with --column"
            )
        return _listed(fitted.vocabulary)
    if column.kind == "strings":
        raise UsageError(
            f"--apply {name}: fitted to {fitted.of['kind']}s, got lists of words in "
            f"{column.name!r}; choose their column with --column"
        )
    check_fits(column, fitted.of, name)
    return _spoken(column, dict(fitted.arrays))


def _listed(vocabulary: Sequence[str]) -> _Speech:
    """Return how lists of words are put into words; those of no train row are none."""
    place = {word: number for number, word in enumerate(vocabulary)}

    def words(bags: NDArray[Any]) -> list[NDArray[np.integer]]:
        known = ([place[word] for word in bag or () if word in place] for bag in bags)
        return [np.array(numbers, dtype=np.intp) for numbers in known]

    return _Speech(words, len(place), {}, vocabulary)


def _spoken(column: Column, arrays: dict[str, NDArray[Any]]) -> _Speech:
    """Return how features are put into words by what was fitted."""
    centres = arrays["centres"]

    def of_frames(values: NDArray[Any]) -> list[NDArray[np.integer]]:
        return [nearest(finite(frames_of(features)), centres) for features in values]

    if column.kind != "vector":
        return _Speech(of_frames, len(centres), arrays)
    quantiles, kept = Quantiles.from_arrays(arrays), arrays["kept"]

    def of_songs(values: NDArray[Any]) -> list[NDArray[np.integer]]:
        there = np.isfinite(values).any(axis=1)
        found = iter(nearest(_normal(values[there], quantiles, kept), centres))
        return [np.array([next(found)] if one else [], dtype=np.intp) for one in there]

    return _Speech(of_songs, len(centres), arrays)


def _sampled(
    read: Read, column: Column, settings: AgfSettings, train: TrainRows
) -> tuple[FrameSample, NDArray[np.bool_]]:
    """Return a sample of the train rows' frames, and which numbers of vectors all of them have."""
    width = width_of(column)
    sample = FrameSample(sample_size(settings.words, width), settings.seed)
    whole = np.ones(width, dtype=bool)
    for batch in read():
        arrays = batch[column.name]
        for row in np.flatnonzero(train.of(batch)):
            frames = frames_of(arrays[row])
            if column.kind == "vector":
                frames = frames[np.isfinite(frames).any(axis=1)]
                whole &= np.isfinite(frames).all(axis=0)
            else:
                frames = finite(frames)
            if len(frames):
                sample.add(batch.ids[row], frames)
    return sample, whole


def _filtered(
    songs: NDArray[np.float32], whole: NDArray[np.bool_]
) -> tuple[Quantiles, NDArray[np.bool_], str]:
    """Return the quantiles of the numbers that are kept, which they are, and a line about them.

    Kept are those that every song has (`whole`; NaN are the others) and that are not the same for
    all (the study's "filtering descriptor entries that include missing values").
    """
    quantiles = fit_quantiles(songs)
    kept = quantiles.varying
    if not kept.any():
        raise UsageError(
            f"none of the {len(kept)} numbers of a vector is there in every train row and differs "
            "between them: nothing to find words in"
        )
    said = (
        f"of {len(kept)} numbers a vector {int((~whole).sum())} are missing in some, "
        f"{int((whole & ~kept).sum())} the same in all: left out"
    )
    return Quantiles(quantiles.values[:, kept]), kept, said


def _normal(
    songs: NDArray[np.float32], quantiles: Quantiles, kept: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the kept numbers of songs as normal; a missing one is the middle."""
    normal = np.empty((len(songs), int(kept.sum())), dtype=np.float32)
    for start in range(0, len(songs), _BLOCK):
        part = quantiles.transform(songs[start : start + _BLOCK][:, kept])
        normal[start : start + _BLOCK] = np.nan_to_num(part)
    return normal


# --- from words to mixtures ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Counted:
    """How often each owner has each word: `counts` [owners, words], of the owners in `numbers`."""

    counts: Any
    numbers: dict[Owner, int]

    @property
    def totals(self) -> NDArray[np.int64]:
        """How many words each owner has."""
        return np.asarray(self.counts.sum(axis=1)).ravel()

    def place(self, owner: Owner) -> int:
        """Return whose mixture is that of a row: its artist's in train, if that has words there."""
        trained = self.numbers.get((owner[0], "train"))
        if trained is not None and self.counts.indptr[trained + 1] > self.counts.indptr[trained]:
            return trained
        return self.numbers[owner]


def _count(
    read: Read, column: Column, speech: _Speech, train: TrainRows, notes: list[str]
) -> _Counted:
    """Count the words of artists, and record who of the train rows had any."""
    counts, numbers, lacking = WordCounts(speech.size), dict[Owner, int](), 0
    for batch in read():
        values = batch[column.name]
        if column.kind == "vector":
            gaps = ~np.isfinite(values[:, speech.arrays["kept"]])
            lacking += int((gaps.any(axis=1) & np.isfinite(values).any(axis=1)).sum())
        said = speech.words(values)
        for owner, words in zip(owners_in_parts(batch, train), said, strict=True):
            counts.add(numbers.setdefault(owner, len(numbers)), words)
        train.used(batch, train.of(batch) & np.array([len(words) > 0 for words in said]))
    if lacking:
        notes.append(f"{lacking} rows lack numbers that all train rows had: taken as the middle")
    return _Counted(counts.matrix(len(numbers)), numbers)


def _fitted(
    column: Column,
    settings: AgfSettings,
    speech: _Speech,
    counted: _Counted,
    train: TrainRows,
    notes: list[str],
) -> Fitted:
    """Fit the groups to the artists of the train rows."""
    mine = [number for (_, part), number in counted.numbers.items() if part == "train"]
    counts = counted.counts[mine]
    artists = int((np.diff(counts.indptr) > 0).sum())
    most = min(artists, speech.size)
    if not most:
        raise UsageError(
            f"no train row has a word in {column.name}: choose another column, or mark rows with "
            "split = train (mt-fetch split), or say --ignore-split"
        )
    if settings.factors > most:
        raise UsageError(
            f"--factors {settings.factors}: the train rows have {artists} artists with words, and "
            f"{speech.size} different words; ask for {most} at most"
        )
    lda = fit_lda(counts, settings.factors, seed=settings.seed, passes=settings.passes)
    notes.append(f"{settings.factors} groups of {artists} artists, by {int(counts.sum())} words")
    strings = {"kind": "strings"}
    return Fitted(
        "agf",
        speech.arrays | {"terms": lda.terms, "mass": lda.mass, "prior": np.array(lda.prior)},
        speech.vocabulary,
        {name: getattr(settings, name) for name in _FITTING},
        (strings if column.kind == "strings" else described(column))
        | {"column": column.name, "per": "group"},
        train.fitted_on(),
    )


_FITTING = ("factors", "words", "passes", "seed", "ignore_split")
"""Settings that what is fitted depends on."""


def _lda(fitted: Fitted) -> Lda:
    """Return the groups of a fitted file."""
    arrays = fitted.arrays
    return Lda(arrays["terms"], arrays["mass"], float(arrays["prior"]))


def _rare(counted: _Counted, fewest: int) -> list[str]:
    """Return lines about artists that have few words or none."""
    totals: Counter[str] = Counter()
    for owner in counted.numbers:
        name, place = owner[0], counted.place(owner)
        words = int(counted.totals[place])
        totals[name] = min(totals.get(name, words), words)
    notes = []
    silent = sorted(name for name, words in totals.items() if not words)
    few = sorted((words, name) for name, words in totals.items() if 0 < words < fewest)
    if silent:
        notes.append(
            f"{_artists(len(silent))} without words, whose tracks have no target: "
            f"{_some([_name(name) for name in silent])}"
        )
    if few:
        notes.append(
            f"{_artists(len(few))} of {len(totals)} with fewer than {fewest} words (--min-words): "
            f"{_some([f'{_name(name)} ({words})' for words, name in few])}"
        )
    return notes


def _artists(count: int) -> str:
    return f"{count} artist{'' if count == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)


def _name(owner: str) -> str:
    """Return the name of an artist, or the id of a track that is its own."""
    return owner.partition(" ")[2]

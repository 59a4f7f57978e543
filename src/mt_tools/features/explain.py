"""Factors in words: what each is made of, and what a mixture of them says of a track or a region.

Goal: Table 2 of the REP study, the strongest terms of each factor, and its section 5.4: predicted
factors mapped back to the words that they were made of. Of mixtures of numbers (`gmm`) the terms
are ranges, of words of sound (`agf`) the words, named after where their centres stand out.

Conventions. Factors are numbered from 0, as `mt-tag` names what it predicts of a distribution. A
mixture z of factors says of a term P(term) = sum_k z_k P(term | k). The lift of a term is its
probability over its mean, which is that over the factors, by how many words each has where the file
says so (`mass`, of LDA), else equally likely; both are drawn together by a tenth of the probability
of an average term, lest a word that one track has lead. By probability, a term that is strong
everywhere leads everywhere; by lift, those that tell one factor or track from others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.features.fitted import Fitted
from mt_tools.features.maps import PRIOR
from mt_tools.features.registry import DESCRIPTORS, ESSENTIA

Floats = NDArray[np.float64]

_DRAWN = 0.1  # of the weight of an average term
_BLOCK = 1 << 21  # probabilities held at once, 16 MiB
_STANDING_OUT = 2  # dimensions that a word of sound is named after
_LEAST = 1.01  # a lift below it tells nothing from anything
_DECIMALS = 6

OPTIONS = ("auto", "weight", "lift")


@dataclass(frozen=True)
class Terms:
    """The terms of factors: `weights` [k, m], their `names` [m], and each one's `mean` weight [m].

    Weights are P(term | factor); where they are `signed` they are loadings instead, and no mixture
    can be mapped back. `about` has numbers that describe each factor, [k] each.
    """

    weights: Floats
    names: Sequence[str]
    mean: Floats
    signed: bool = False
    about: Mapping[str, Floats] = field(default_factory=dict)

    def lifts(self, weights: Floats, mean: Floats | None = None) -> Floats:
        """Return the lifts of weights [..., m] over the `mean` [m] of the factors, or another."""
        mean = self.mean if mean is None else mean
        drawn = _DRAWN * float(mean.mean())
        lifts: Floats = (weights + drawn) / (mean + drawn)
        return lifts


@dataclass(frozen=True)
class Said:
    """A term that stands for a factor, or a track, or a region: its place (from 1) among others."""

    rank: int
    term: str
    weight: float
    lift: float


def terms_of(fitted: Fitted) -> Terms:
    """Return what the factors of a fitted method are made of.

    Raises `UsageError` for a method that has no factors.
    """
    arrays = fitted.arrays
    if fitted.method == "gmm":
        return _ranges(fitted)
    if fitted.method == "pca":
        directions = np.asarray(arrays["directions"], np.float64)
        names = fitted.vocabulary or dimension_names(_settings(fitted), directions.shape[1])
        mean = np.abs(directions).mean(axis=0)
        return Terms(directions, list(names), mean, signed=True)
    if "terms" not in arrays:
        raise UsageError(
            f"mt-factor {fitted.method} finds no factors to explain: give the file of plsa, lda, "
            "agf, gmm or pca"
        )
    weights = np.asarray(arrays["terms"], np.float64)
    names = list(fitted.vocabulary)
    if not names and "centres" in arrays:
        names = word_names(np.asarray(arrays["centres"], np.float64), _dimensions(fitted))
    names = names or [f"word {number}" for number in range(weights.shape[1])]
    shares = np.asarray(arrays.get("mass", np.ones(len(weights))), np.float64)
    return Terms(weights, names, shares / shares.sum() @ weights)


def _dimensions(fitted: Fitted) -> list[str]:
    """Return what the dimensions of a dictionary are called: of vectors those that were kept."""
    width = fitted.arrays["centres"].shape[1]
    kept = np.asarray(fitted.arrays.get("kept", np.ones(width, dtype=bool)))
    names = dimension_names(_settings(fitted), len(kept))
    return [name for name, keep in zip(names, kept, strict=True) if keep]


def _settings(fitted: Fitted) -> Mapping[str, Any]:
    """Return the settings of the column that a method was fitted to."""
    said = fitted.of.get("settings")
    return said if isinstance(said, Mapping) else {}


def _ranges(fitted: Fitted) -> Terms:
    """Return Gaussian components as terms: the range of one deviation around each mean."""
    means, deviations, shares = (
        np.asarray(fitted.arrays[name], np.float64).ravel()
        for name in ("means", "deviations", "weights")
    )
    names = range_names(means - deviations, means + deviations)
    about = {"mean": means, "deviation": deviations, "share": shares}
    return Terms(np.eye(len(means)), names, shares, about=about)


def range_names(low: Floats, high: Floats) -> list[str]:
    """Return ranges as people write them, "92 to 97", with the decimals that tell them apart.

    >>> range_names(np.array([92.1, 97.0]), np.array([96.8, 103.2]))
    ['92 to 97', '97 to 103']
    """
    width = float(np.median(high - low))
    first = 0 if width <= 0 else int(np.clip(np.ceil(-np.log10(width)), 0, _DECIMALS))
    names: list[str] = []
    for decimals in range(first, _DECIMALS + 1):
        ends = [
            tuple(f"{round(end, decimals) + 0.0:.{decimals}f}" for end in pair)  # no "-0"
            for pair in zip(low.tolist(), high.tolist(), strict=True)
        ]
        names = [a if a == b else f"{a} to {b}" for a, b in ends]
        if len(set(names)) == len(names):
            break
    return names


def word_names(centres: Floats, dimensions: Sequence[str]) -> list[str]:
    """Return the words of a dictionary of sound by where their centres stand out.

    `centres`: [words, d], `dimensions` what the d are called. A word is named after its number and
    the two dimensions in which it is nearest to the highest or lowest of all words: "word 17 (mfcc
    2 high, mfcc 5 low)". Ranks are compared, since a few words far away from all others would
    otherwise decide what the rest is called after.
    """
    from scipy.stats import rankdata

    apart = rankdata(centres, axis=0) - (len(centres) + 1) / 2
    names = []
    for number, place in enumerate(strongest(np.abs(apart), _STANDING_OUT)):
        said = [f"{dimensions[d]} {'high' if apart[number, d] > 0 else 'low'}" for d in place]
        names.append(f"word {number} ({', '.join(said)})")
    return names


def dimension_names(settings: Mapping[str, Any], width: int) -> list[str]:
    """Return what the `width` dimensions of a feature are called; numbers where that is unknown.

    `settings` are those of the feature. Coefficients are numbered from 0, as librosa has them.
    """
    kind = settings.get("kind")
    names: list[str] = []
    if kind == "mfcc":
        marks = [""] * bool(settings.get("static", True))
        marks += ["delta "] * (settings.get("deltas", 0) > 0)
        marks += ["delta 2 "] * (settings.get("deltas", 0) > 1)
        names = [f"{mark}mfcc {i}" for mark in marks for i in range(settings.get("n_mfcc", 0))]
    elif kind == "descriptors":
        names = list(DESCRIPTORS)
    elif kind == "essentia":
        for name, size in ESSENTIA.items():
            names += [name] if size == 1 else [f"{name} {i}" for i in range(size)]
    elif kind in ("mel", "stft", "chroma"):
        names = [f"{kind} {i}" for i in range(width)]
    if names and width == 2 * len(names):  # features as mean and deviation over frames
        names = [f"{how} of {name}" for how in ("mean", "deviation") for name in names]
    return names if len(names) == width else [f"dimension {i}" for i in range(width)]


def strongest(values: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Return the places of the largest values of each row, largest first: [n, m] -> [n, count].

    Of equal values the first come first; less than `count` where a row has less.
    """
    # Sums in another order differ in their last digits, and may not decide between equal terms.
    rounded = -np.asarray(values, np.float32)
    rows, width = rounded.shape
    count = min(count, width)
    if not count or not rows:
        return np.zeros((rows, count), np.intp)
    last = np.partition(rounded, count - 1, axis=1)[:, count - 1 : count]
    row, place = np.nonzero(rounded <= last)  # with all that equal the last one
    order = np.lexsort((place, rounded[row, place], row))
    begin = np.searchsorted(row, np.arange(rows))
    return place[order][begin[:, None] + np.arange(count)]


def ranked(
    weights: Floats, lifts: Floats, names: Sequence[str], count: int, by: str = "weight"
) -> list[list[Said]]:
    """Return the `count` strongest terms of each row of weights and lifts, [n, m] each.

    By weight those of no weight are left out (loadings count by their size), by lift those whose
    lift is below 1.01.
    """
    strength = lifts if by == "lift" else np.abs(weights)
    least = _LEAST if by == "lift" else 0.0
    found = []
    for row, places in enumerate(strongest(strength, count)):
        kept = [place for place in places if strength[row, place] > least]
        found.append(
            [
                Said(rank, names[place], float(weights[row, place]), float(lifts[row, place]))
                for rank, place in enumerate(kept, start=1)
            ]
        )
    return found


def factor_terms(terms: Terms, count: int, by: str = "weight") -> Iterator[list[Said]]:
    """Yield the strongest terms of each factor; a Gaussian component has one, its range."""
    if terms.about:
        for name, share in zip(terms.names, terms.about["share"], strict=True):
            yield [Said(1, name, float(share), float("nan"))]
        return
    for row in terms.weights:
        lifts = np.full((1, len(row)), np.nan) if terms.signed else terms.lifts(row)[None]
        yield from ranked(row[None], lifts, terms.names, count, by)


def mixture_terms(mixtures: NDArray[Any], terms: Terms, count: int, by: str) -> list[list[Said]]:
    """Return the strongest terms of mixtures of factors; of those that are not known, none.

    `mixtures`: [n, k], rows that sum to 1, NaN where unknown. Each row is explained by itself: its
    terms do not depend on the other rows.
    """
    mixtures = np.asarray(mixtures, np.float64)
    found: list[list[Said]] = [[] for _ in mixtures]
    known = np.flatnonzero(np.isfinite(mixtures).all(axis=1))
    size = max(1, _BLOCK // len(terms.names))
    for first in range(0, len(known), size):
        rows = known[first : first + size]
        weights = mixtures[rows] @ terms.weights
        said = ranked(weights, terms.lifts(weights), terms.names, count, by)
        for row, one in zip(rows, said, strict=True):
            found[row] = one
    return found


def region_terms(
    mixtures: NDArray[Any], parts: Sequence[NDArray[np.intp]], terms: Terms, count: int, by: str
) -> list[list[Said]]:
    """Return the strongest terms of each part of a table: those of its mean mixture.

    `mixtures`: [n, k], NaN where unknown; `parts`: the rows of each. The lift is over the mean of
    all parts, and each is drawn towards it by `maps.PRIOR` average tracks.
    """
    mixtures = np.asarray(mixtures, np.float64)
    known = np.isfinite(mixtures).all(axis=1)
    every = [row for part in parts for row in part if known[row]]
    if not every:
        return [[] for _ in parts]
    mean = mixtures[every].mean(axis=0)
    drawn = np.empty((len(parts), mixtures.shape[1]))
    for number, part in enumerate(parts):
        mine = mixtures[part[known[part]]]
        drawn[number] = (mine.sum(axis=0) + PRIOR * mean) / (len(mine) + PRIOR)
    whole = mean @ terms.weights
    found = []
    for row in drawn:
        weights = (row @ terms.weights)[None]
        found += ranked(weights, terms.lifts(weights, whole), terms.names, count, by)
    return found


class LabelShares:
    """Which labels go with which factors, of rows that come in batches.

    A row is as much of a factor as its mixture says. The weight of a label is the share of the
    factor's tracks that have it, its lift that share over the share among all tracks, drawn towards
    1 by `maps.PRIOR` average tracks of that label, lest a label of one track stand out.
    """

    def __init__(self, factors: int) -> None:
        self._places: dict[str, int] = {}
        self._held = np.zeros((factors, 0))
        self._tracks = np.zeros(0)
        self._factors = np.zeros(factors)
        self._rows = 0

    def add(self, mixtures: NDArray[Any], labels: Sequence[Sequence[str] | None]) -> None:
        """Take rows into account: mixtures [n, k], NaN where unknown, and the labels of each."""
        for mixture, own in zip(np.asarray(mixtures, np.float64), labels, strict=True):
            if own is None or not np.isfinite(mixture).all():
                continue
            self._rows += 1
            self._factors += mixture
            places = [self._places.setdefault(label, len(self._places)) for label in {*own}]
            self._grow()
            self._held[:, places] += mixture[:, None]
            self._tracks[places] += 1

    def _grow(self) -> None:
        missing = len(self._places) - self._held.shape[1]
        if missing > 0:
            room = max(missing, self._held.shape[1], 64)
            self._held = np.pad(self._held, ((0, 0), (0, room)))
            self._tracks = np.pad(self._tracks, (0, room))

    def strongest(self, count: int, by: str = "lift") -> list[list[Said]]:
        """Return the strongest labels of each factor.

        Raises `UsageError` where no row has both a label and factors.
        """
        if not self._places:
            raise UsageError("no row has both a label and factors: there is nothing to explain by")
        names = sorted(self._places)
        order = [self._places[name] for name in names]
        held, labelled = self._held[:, order], self._tracks[order]
        tracks = self._factors[:, None]
        weights = np.divide(held, tracks, out=np.zeros_like(held), where=tracks > 0)
        share = tracks / self._rows
        expected = share * (labelled + PRIOR)
        drawn = held + PRIOR * share
        lifts = np.divide(drawn, expected, out=np.ones_like(held), where=expected > 0)
        return ranked(weights, lifts, names, count, by)

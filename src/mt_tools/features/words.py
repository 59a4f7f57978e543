"""Dictionaries of frames: the words of a bag of frames, and how often each occurs.

Goal: the K-means words of the SEQ study (1,024) and the AGF study (2,048), for `mt-factor`.

Conventions: frames are rows, [n, d]. The word of a frame is the nearest centre, of equally near
ones the first (as in `nets.bof`). A frame with a number that is missing or infinite has no word.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import BrokenTable, UsageError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_LLOYD_ITERATIONS = 30  # from a good start; 1,024 words of 96 bands take a minute of one core
_BLOCK_BYTES = 4 << 20  # of distances at a time: what stays in a processor's own memory
_PENDING = 1 << 20  # words, at the least, of which the counts are added up at once
_DIGITS = 12

FRAMES_PER_WORD = 256
"""Frames that a word is fitted to, at most: more hardly move it (faiss, `ClusteringParameters`)."""

SAMPLE_BYTES = 512 << 20
"""Bytes of the frames that words are fitted to, at most.

For 2,048 words that is 256 a word of frames of up to 256 numbers. Of the AGF study's descriptors,
4,374 a song, it is 30,685 songs: all of its 25,000.
"""


def sample_size(words: int, width: int) -> int:
    """Return how many frames of `width` numbers so many words are fitted to, at most."""
    return max(words, min(words * FRAMES_PER_WORD, SAMPLE_BYTES // (4 * max(width, 1))))


def frames_of(features: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the frames [n, d] of one row's features.

    Shape: [bands, frames] -> [frames, bands]; [channels, bands, frames] -> [frames, channels *
    bands]; a vector [d] is one frame, [1, d].
    """
    if features.ndim == 1:
        return features[None]
    return features.reshape(-1, features.shape[-1]).T


def finite(frames: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the frames [n, d] that have all their numbers."""
    good: NDArray[np.bool_] = np.isfinite(frames).all(axis=1)
    return frames if good.all() else frames[good]


class FrameSample:
    """A sample of the frames of many tracks: at most `most` of them, each as likely as any other.

    Memory does not grow with the library: it holds a quarter more than `most` frames at the worst,
    and those of one track. Which frames are in it depends on `seed` and the tracks' names, not on
    the order in which the tracks come.
    """

    def __init__(self, most: int, seed: int = 0) -> None:
        self._most, self._seed = most, seed
        self._priorities: list[NDArray[np.float64]] = []
        self._frames: list[NDArray[np.float32]] = []
        self._held = 0
        self._limit = np.inf  # frames beyond it are in no sample of what has been seen
        self.seen = 0

    def add(self, name: str, frames: NDArray[np.floating]) -> None:
        """Take the frames [n, d] of a track into account."""
        key = hashlib.sha256(f"{self._seed}/frames/{name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(key, "big"))
        priorities = rng.random(len(frames))
        first = priorities <= self._limit
        self.seen += len(frames)
        if not self._frames or first.any():
            # A copy: a view would hold all features of its batch.
            self._frames.append(np.array(frames[first], dtype=np.float32, order="C"))
            self._priorities.append(priorities[first])
            self._held += int(first.sum())
        if self._held > self._most + self._most // 4:
            self._settle()

    def frames(self) -> NDArray[np.float32]:
        """Return the sample [n, d], in the order of the numbers drawn."""
        if not self._frames:
            raise UsageError("no frames to sample: the input has no train rows with features")
        self._settle()
        drawn = np.concatenate(self._priorities)
        order = np.argsort(drawn, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        sample = np.empty((len(order), self._frames[0].shape[1]), dtype=np.float32)
        # Piece by piece, each let go at once: two samples at a time would be twice the memory.
        self._frames.reverse()
        while self._frames:
            piece = self._frames.pop()
            sample[rank[: len(piece)]] = piece
            rank = rank[len(piece) :]
        self._frames, self._priorities = [sample], [drawn[order]]
        return sample

    def _settle(self) -> None:
        """Let go of the frames beyond the first `most`."""
        if self._held <= self._most:
            return
        drawn = np.concatenate(self._priorities)
        self._limit = float(np.partition(drawn, self._most - 1)[self._most - 1])
        for number, priorities in enumerate(self._priorities):
            first = priorities <= self._limit
            if not first.all():
                self._frames[number] = self._frames[number][first]
                self._priorities[number] = priorities[first]
        self._held = sum(map(len, self._priorities))


def fit_words(sample: NDArray[np.float32], words: int, seed: int = 0) -> NDArray[np.float32]:
    """Return the centres of K-means over frames: the dictionary of a bag of frames.

    Shape: `sample` [n, d], of which more than `FRAMES_PER_WORD` a word is a waste -> [words, d].
    Raises `UsageError` for fewer different frames than words.

    Source: SEQ study, section 2.3.1 and Algorithm 8 (frames as they are, without whitening), begun
    where mini-batch K-means (Sculley, "Web-scale k-means clustering", 2010) ends.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    different = _different(sample, words)
    if different < words:
        raise UsageError(
            f"{words} words: the train rows have {different} different frames; ask for fewer words"
        )
    begun = MiniBatchKMeans(
        words,
        batch_size=max(4096, 2 * words),
        init_size=min(len(sample), max(4096, 3 * words)),
        n_init=3,
        random_state=seed,
    )
    with _quiet():
        start = begun.fit(sample).cluster_centers_
        model = KMeans(words, init=start, n_init=1, max_iter=_LLOYD_ITERATIONS)
        centres: NDArray[np.float32] = model.fit(sample).cluster_centers_
    return centres


def _different(sample: NDArray[np.float32], enough: int) -> int:
    """Count the different rows of a matrix, as far as `enough`."""
    seen: set[bytes] = set()
    for row in sample:
        seen.add((row + np.float32(0)).tobytes())  # a zero has two signs
        if len(seen) >= enough:
            break
    return len(seen)


def nearest(frames: NDArray[np.floating], centres: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the number of the word that each frame is, the nearest centre.

    Shape: `frames` [n, d], all finite, `centres` [words, d] -> [n]. Raises `UsageError` for frames
    of another width.
    """
    frames, centres = np.asarray(frames), np.asarray(centres)
    if frames.ndim != 2 or frames.shape[1:] != centres.shape[1:]:
        raise UsageError(
            f"got frames of shape {list(frames.shape)}, expected [frames, {centres.shape[1]}], "
            "the width that the words are of"
        )
    middle = _middle(centres)
    words = np.asarray(centres, dtype=np.float32) - middle
    # Of |x - c|^2 = |x|^2 - 2 (x c - |c|^2 / 2) the last part decides: one product does it all.
    weights = np.concatenate([words.T, -0.5 * np.square(words).sum(axis=1)[None]])
    size = max(1, _BLOCK_BYTES // (4 * len(words)))
    found = np.empty(len(frames), dtype=np.intp)
    block = np.ones((min(size, len(frames)), weights.shape[0]), dtype=np.float32)
    for start in range(0, len(frames), size):
        part = frames[start : start + size]
        np.subtract(part, middle, out=block[: len(part), :-1], casting="same_kind")
        np.argmax(block[: len(part)] @ weights, axis=1, out=found[start : start + size])
    return found


def _middle(centres: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a point [d] amid the centres, from which float32 tells distances apart.

    From the origin it would not, where frames are far from it as the loudness of MFCC is. The point
    is on a grid as coarse as the centres are wide, of a power of two, so that to take it off rounds
    nothing and words that were equally near stay so.
    """
    mean = centres.mean(axis=0, dtype=np.float64)
    spread = float(np.abs(centres - mean).max())
    grid = 2.0 ** np.ceil(np.log2(spread)) if spread > 0 else 1.0
    return np.asarray(np.round(mean / grid) * grid, dtype=np.float32)


class WordCounts:
    """How often each owner has each word, added up as the words come.

    Memory grows with the pairs of owner and word that occur, not with the words.
    """

    def __init__(self, words: int) -> None:
        self._words = words
        self._pairs = np.zeros(0, dtype=np.int64)  # owner * words + word, ascending
        self._counts = np.zeros(0, dtype=np.int64)
        self._new: list[NDArray[np.int64]] = []
        self._waiting = 0

    def add(self, owner: int, words: Sequence[int] | NDArray[np.integer]) -> None:
        """Count words (their numbers) for an owner (a number from 0)."""
        self._new.append(owner * self._words + np.asarray(words, dtype=np.int64))
        self._waiting += len(words)
        if self._waiting > max(_PENDING, len(self._pairs)):
            self._settle()

    def matrix(self, owners: int) -> csr_array:
        """Return the counts, sparse int64 [owners, words], so many owners."""
        from scipy.sparse import csr_array

        self._settle()
        rows, columns = np.divmod(self._pairs, self._words)
        return csr_array((self._counts, (rows, columns)), shape=(owners, self._words))

    def _settle(self) -> None:
        if not self._new:
            return
        new, counts = np.unique(np.concatenate(self._new), return_counts=True)
        self._new, self._waiting = [], 0
        pairs, places = np.unique(np.concatenate([self._pairs, new]), return_inverse=True)
        total = np.zeros(len(pairs), dtype=np.int64)
        total[places[: len(self._pairs)]] = self._counts
        total[places[len(self._pairs) :]] += counts
        self._pairs, self._counts = pairs, total


@dataclass(frozen=True)
class Dictionary:
    """Words of frames: `centres` [words, width], and `of`, what they are of.

    `of` is what a model says of its input: `kind` (feature or embedding), `shape` or `width`,
    `settings`, and `fitted_on` (see `tables.fitted`). The file is NPZ without pickles: `centres`,
    and `__meta__`, a JSON object of `input` and `provenance`.
    """

    centres: NDArray[np.float32]
    of: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits by which columns of counts know it again."""
        return hashlib.sha256(self.to_bytes([])).hexdigest()[:_DIGITS]

    def to_bytes(self, steps: Sequence[Mapping[str, Any]]) -> bytes:
        """Return it as NPZ; `steps` are its provenance."""
        meta = {"input": dict(self.of), "provenance": list(steps)}
        text, file = json.dumps(meta, sort_keys=True), io.BytesIO()
        np.savez(file, allow_pickle=False, centres=self.centres, __meta__=np.array(text))
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> Dictionary:
        """Read what `to_bytes` returned; raises `BrokenTable` that names it for anything else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                centres = np.asarray(file["centres"], dtype=np.float32)
                of = dict(json.loads(str(file["__meta__"]))["input"])
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise BrokenTable(
                f"{name}: not a dictionary of mt-factor kmeans ({error}); make it again"
            ) from error
        return cls(centres, of)


def _quiet() -> warnings.catch_warnings[None]:
    """Silence the warning that updates stopped at their limit: they are stopped on purpose."""
    from sklearn.exceptions import ConvergenceWarning

    return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)

"""Dictionaries of frames: the words of a bag of frames.

Goal: the K-means words of the SEQ study (1,024) and the AGF study (2,048), for `mt-factor`.
"""

from __future__ import annotations

import hashlib
import warnings

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError

_LLOYD_ITERATIONS = 30  # from a good start; 1,024 words of 96 bands take a minute of one core

FRAMES_PER_WORD = 256
"""Frames that a word is fitted to, at most: more hardly move it (faiss, `ClusteringParameters`)."""


class FrameSample:
    """A sample of the frames of many tracks: at most `most` of them, each as likely as any other.

    Memory does not grow with the library. Which frames are in it depends on `seed` and the tracks'
    names, not on the order in which the tracks come.
    """

    def __init__(self, most: int, seed: int = 0) -> None:
        self._most, self._seed = most, seed
        self._priorities: list[NDArray[np.float64]] = []
        self._frames: list[NDArray[np.float32]] = []
        self._held = 0
        self.seen = 0

    def add(self, name: str, frames: NDArray[np.floating]) -> None:
        """Take the frames [n, d] of a track into account."""
        key = hashlib.sha256(f"{self._seed}/frames/{name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(key, "big"))
        self._priorities.append(rng.random(len(frames)))
        self._frames.append(np.asarray(frames, dtype=np.float32))
        self._held += len(frames)
        self.seen += len(frames)
        if self._held >= 2 * self._most:
            self._settle()

    def frames(self) -> NDArray[np.float32]:
        """Return the sample [n, d], in the order of the numbers drawn."""
        if not self._frames:
            raise UsageError("no frames to sample: the input has no train rows with features")
        self._settle()
        return self._frames[0]

    def _settle(self) -> None:
        priorities = np.concatenate(self._priorities)
        first = np.argsort(priorities, kind="stable")[: self._most]
        self._priorities = [priorities[first]]
        self._frames = [np.concatenate(self._frames)[first]]
        self._held = len(first)


def fit_words(sample: NDArray[np.float32], words: int, seed: int = 0) -> NDArray[np.float32]:
    """Return the centres of K-means over frames: the dictionary of a bag of frames.

    Shape: `sample` [n, d], of which more than `FRAMES_PER_WORD` a word is a waste -> [words, d].
    Raises `UsageError` for fewer different frames than words.

    Source: SEQ study, section 2.3.1 and Algorithm 8 (frames as they are, without whitening), begun
    where mini-batch K-means (Sculley, "Web-scale k-means clustering", 2010) ends.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    different = len(np.unique(sample, axis=0))
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


def _quiet() -> warnings.catch_warnings[None]:
    """Silence the warning that updates stopped at their limit: they are stopped on purpose."""
    from sklearn.exceptions import ConvergenceWarning

    return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)

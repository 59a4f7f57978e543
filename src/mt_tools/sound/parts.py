"""Parts of one file after another: it is opened once, and nothing of it is decoded twice.

Goal: segments and crops at the cost of decoding a file once, also where it can only be decoded from
its beginning (Ogg, and what ffmpeg reads): there each part goes on where the one before has ended.
Parts begin a margin early, so the last seconds decoded are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Self

import numpy as np

from mt_tools.sound.opening import READ_SIZE, Audio, Source, open_audio

# Seconds kept beside a whole read: the margins of `sound.decode` after one part and before the
# next, twice. Recipes with longer ones, and parts that go back, begin anew.
_KEPT = 2.0


class PartsAudio:
    """An opened file, a `sound.opening.Audio`, whose parts are best asked for in order.

    Raises `DecodeError` as `open_audio` does. The samples are those of the file opened anew, of an
    MP3 to 1e-6 (see `sound.opening`).
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stack = ExitStack()
        self._begin()

    def _begin(self) -> None:
        self._stack.close()
        self._audio: Audio = self._stack.enter_context(open_audio(self._source))
        self.sample_rate, self.channels = self._audio.sample_rate, self._audio.channels
        self.xiph_order, self.onward = self._audio.xiph_order, self._audio.onward
        self._held: deque[np.ndarray] = deque()
        self._end = 0  # frame behind those held
        self._coming: Iterator[np.ndarray] | None = None

    def blocks(self, first: int, last: int | None = None) -> Iterator[np.ndarray]:
        """Yield the samples from frame `first` on, as float32 [frames, channels]."""
        if not self.onward:
            yield from self._audio.blocks(first, last)
            return
        if first < self._end - sum(map(len, self._held)):
            self._begin()
        place = self._end - sum(map(len, self._held))
        for block in [*self._held]:
            if first < place + len(block):
                yield block[max(0, first - place) :]
            place += len(block)
        if self._coming is None:
            self._coming = self._audio.blocks(0)
        for block in self._coming:
            place = self._end
            self._keep(block.copy())
            if first < self._end:
                yield self._held[-1][max(0, first - place) :]

    def _keep(self, block: np.ndarray) -> None:
        self._held.append(block)
        self._end += len(block)
        enough = READ_SIZE + round(_KEPT * self.sample_rate)
        while sum(map(len, self._held)) - len(self._held[0]) >= enough:
            self._held.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

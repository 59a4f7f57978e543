"""Decoding what libsndfile cannot read (AAC, ALAC, WMA and others) by what the machine has for it.

The `ffmpeg` program comes first, then torchcodec, a Python package over FFmpeg's libraries (the
extra `torchcodec`), which costs two seconds of importing torch. Both give the same samples. Both
decode from the beginning, whatever part is wanted: seeks in these formats miss their place (found
with FFmpeg 5.1: WMA by up to 4,070 samples, AC-3 by 1,206, Matroska by 370) or, in AAC, come to
other samples than whole decoding does.
"""

from __future__ import annotations

import importlib.util
import io
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np

from mt_tools.errors import DecodeError
from mt_tools.sound.ffmpeg import open_with_ffmpeg

# Share of the length stated, and seconds, that decoding may give less before it counts as cut.
_SLACK, _PADDING = 0.01, 0.15


class ForeignAudio(Protocol):
    """An opened file: see `sound.opening.Audio`."""

    sample_rate: int
    channels: int
    xiph_order: bool
    onward: bool

    def blocks(self, first: int, last: int | None = None) -> Iterator[np.ndarray]:
        """Yield the samples from frame `first` on, as float32 [frames, channels]."""


def open_foreign(
    source: str | bytes, what: str, read_size: int
) -> AbstractContextManager[ForeignAudio]:
    """Decode a path or the bytes of a file by what is here.

    `what` names the format for the message, `read_size` counts frames. Raises `DecodeError`:
    `no-decoder` where there is neither, `unreadable` or `truncated` with what the decoder said.
    """
    if program := shutil.which("ffmpeg"):
        return open_with_ffmpeg(program, source, read_size)
    if importlib.util.find_spec("torchcodec") is not None:
        return open_with_torchcodec(source, read_size)
    raise DecodeError(
        f"{what}, which libsndfile cannot decode, and no ffmpeg on the PATH: install ffmpeg (or "
        "pip install 'mt-tools[torchcodec]'), or convert the file to FLAC, WAV, MP3 or Ogg",
        "no-decoder",
    )


class TorchcodecAudio:
    """The first audio stream of a file, as torchcodec decodes it from the beginning."""

    xiph_order = False
    onward = False  # any number of parts can be asked for

    def __init__(self, decoder: Any, read_size: int) -> None:
        self._decoder, self._read_size = decoder, read_size
        self.sample_rate: int = decoder.metadata.sample_rate
        self.channels: int = decoder.metadata.num_channels

    def blocks(self, first: int, last: int | None = None) -> Iterator[np.ndarray]:
        """Yield the samples from frame `first` on, as float32 [frames, channels].

        All of it up to frame `last` is in memory: asked for piece by piece, torchcodec seeks.
        """
        stop = None if last is None else last / self.sample_rate
        try:
            decoded = self._decoder.get_samples_played_in_range(0.0, stop).data
        except RuntimeError as error:
            raise _refusal(error) from error
        wave = decoded.numpy().T
        stated = self._decoder.metadata.duration_seconds_from_header
        if stated is not None:
            expected = stated if stop is None else min(stop, stated)
            held = len(wave) / self.sample_rate
            if held < expected * (1 - _SLACK) - _PADDING:
                raise DecodeError(
                    f"cut short: its header promises {stated:.1f} s, {held:.1f} s could be "
                    "decoded; copy or download it again",
                    "truncated",
                )
        for place in range(first, len(wave), self._read_size):
            yield np.ascontiguousarray(wave[place : place + self._read_size])


@contextmanager
def open_with_torchcodec(source: str | bytes, read_size: int) -> Iterator[TorchcodecAudio]:
    """Decode a path or the bytes of a file by torchcodec.

    Raises `DecodeError`: `no-decoder` where torchcodec finds no FFmpeg libraries of its own,
    `unreadable` with what it said.
    """
    try:
        from torchcodec.decoders import AudioDecoder
    except (ImportError, OSError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise DecodeError(
            f"torchcodec cannot be loaded ({said}); install ffmpeg, which brings the libraries it "
            "needs",
            "no-decoder",
        ) from error
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        try:
            decoder = AudioDecoder(file)
        except (RuntimeError, ValueError) as error:
            raise _refusal(error) from error
        yield TorchcodecAudio(decoder, read_size)


def _refusal(error: Exception) -> DecodeError:
    said = " ".join(str(error).split())[:200]
    return DecodeError(f"torchcodec could not decode it ({said}); try to play the file")

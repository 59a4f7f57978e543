"""Decoding through the `ffmpeg` program what libsndfile cannot read: AAC, ALAC, WMA and others.

ffmpeg is a program that people install themselves, never a dependency. It writes 32-bit floats
behind a Sun AU header (24 bytes: magic, offset, size, encoding, sample rate, channels) into a pipe,
so that nothing has to be known of the file beforehand.
"""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

from mt_tools.errors import DecodeError

_AU_HEADER = struct.Struct(">4sIIIII")
_CUT_SHORT = ("partial file", "moov atom not found", "Input/output error", "End of file")


class FfmpegAudio:
    """The first audio stream of a file, as `ffmpeg` decodes it from the beginning."""

    xiph_order = False
    onward = True

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes], read_size: int) -> None:
        assert process.stdout is not None
        self._process, self._output, self._errors = process, process.stdout, errors
        self._read_size = read_size
        header = self._output.read(_AU_HEADER.size)
        if len(header) < _AU_HEADER.size:
            self._check(complete=False)
        _, offset, _, _, self.sample_rate, self.channels = _AU_HEADER.unpack(header)
        self._output.read(offset - _AU_HEADER.size)

    def blocks(self, first: int, last: int | None = None) -> Iterator[np.ndarray]:
        """Yield the samples from frame `first` on, as float32 [frames, channels]."""
        frame_bytes = 4 * self.channels
        while data := self._output.read(self._read_size * frame_bytes):
            whole = data[: len(data) - len(data) % frame_bytes]
            block = np.frombuffer(whole, ">f4").astype(np.float32).reshape(-1, self.channels)
            skipped = min(first, len(block))
            first -= skipped
            if skipped < len(block):
                yield block[skipped:]
        self._check(complete=True)

    def _check(self, *, complete: bool) -> None:
        """Raise what went wrong, now that ffmpeg has ended; `complete`: it wrote a header."""
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip()
        last = said.splitlines()[-1] if said else f"exit code {code}"
        if any(sign in said for sign in _CUT_SHORT):
            raise DecodeError(f"cut short (ffmpeg: {last}); copy or download it again", "truncated")
        if code != 0 or not complete:
            raise DecodeError(f"ffmpeg could not decode it ({last}); try to play the file")


@contextmanager
def open_with_ffmpeg(program: str, source: str | bytes, read_size: int) -> Iterator[FfmpegAudio]:
    """Decode a path or the bytes of a file by `program`, ffmpeg, which ends with the context.

    `read_size` counts frames. Raises `DecodeError`: `unreadable` or `truncated` with what ffmpeg
    said.
    """
    if isinstance(source, bytes):
        # A pipe would not do, since MP4 is read from its end.
        with tempfile.NamedTemporaryFile() as spooled:
            spooled.write(source)
            spooled.flush()
            with open_with_ffmpeg(program, spooled.name, read_size) as audio:
                yield audio
        return
    # "file:" keeps a name such as "concat:a" from being a protocol; the whitelist keeps a playlist
    # inside a container from opening anything that is not a file.
    options = ("-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe")
    target = ("-map", "0:a:0", "-f", "au", "-c:a", "pcm_f32be", "pipe:1")
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [program, *options, "-i", b"file:" + os.fsencode(source), *target],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        try:
            yield FfmpegAudio(process, errors, read_size)
        finally:
            process.kill()  # a part needs only the beginning

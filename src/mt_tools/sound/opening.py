"""Opening an audio file, and saying clearly why it cannot be opened.

libsndfile reads MP3, FLAC, WAV, AIFF, AU, CAF, Ogg Vorbis and Opus; what it cannot read but ffmpeg
can is handed over. libsndfile is silent about much that matters here: it calls an empty or a text
file missing, decodes a file that was cut short without a word, and ends an MP3 without an index
wherever the first frame's bit rate suggests. So each file is looked at first, and a file whose
container shows that its end is missing is refused as a whole.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol, Self

import numpy as np
import soundfile

from mt_tools.errors import DecodeError
from mt_tools.sound import mpeg
from mt_tools.sound.foreign import open_foreign
from mt_tools.sound.mp4 import atoms
from mt_tools.sound.paths import text_to_path

# The floats that libsndfile decodes from MP3 depend on how many frames are asked for at a time, so
# every read in this package asks for the same number.
READ_SIZE = 65_536

Source = str | os.PathLike[str] | bytes
"""A path, a table's text for a path (see `sound.paths`), or the bytes of a whole audio file."""

# Endings of formats that only ffmpeg decodes, for files whose first bytes say nothing.
_FOREIGN_ENDINGS = frozenset({"aac", "ac3", "m4a", "m4b", "mp4", "wma", "ape", "wv", "mpc", "tta"})
_FOREIGN_STARTS = (
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"wvpk", "WavPack"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"TTA1", "True Audio"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
    (0, b"OggS", "an Ogg file with a codec other than Vorbis and Opus"),
    (4, b"ftyp", "MP4 audio (AAC or ALAC)"),
)
# libsndfile's own remark on a chunk of samples larger than the rest of the file.
_SHOULD_BE = re.compile(
    r"^\s*(?:data|SSND|Data Size|Riff size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE
)
_UNKNOWN_SIZE = 0x7FFF_F000  # written, or a little more, by programs that stream into a pipe
_SIZE_SLIP = 64  # bytes: writers that count their own header make the size this much too large
_OGG_PAGE = 27 + 255 + 255 * 255  # the largest page (RFC 3533, section 6)
_UNKNOWN_FRAMES = 2**62  # libsndfile's length of a FLAC that was streamed
_MP3_SLACK = 0.01  # share of an MP3 that may be missing or unseen before it matters
_MP3_PADDING = 0.15  # seconds of silence that encoders add and libsndfile takes away


class ForeignFormatError(Exception):
    """libsndfile cannot read the file, ffmpeg may; the text names the format."""


class Audio(Protocol):
    """An opened file: sample rate, channels (in the order of Xiph or of WAVE), and samples.

    One that is `onward` is decoded from its beginning, whatever part is wanted, and once.
    """

    sample_rate: int
    channels: int
    xiph_order: bool
    onward: bool

    def blocks(self, first: int, last: int | None = None) -> Iterator[np.ndarray]:
        """Yield the samples from frame `first` to the end, as float32 [frames, channels].

        What comes after frame `last` will not be looked at, and may be left out. A block holds
        until the next one is asked for, which may be written into the same memory.
        """


def open_audio(source: Source) -> AbstractContextManager[Audio]:
    """Open whatever libsndfile or ffmpeg can decode.

    Raises `DecodeError` of every kind but `too-short`; the messages leave out the file's name.
    """
    try:
        return SndfileAudio(source)
    except ForeignFormatError as error:
        return open_foreign(resolve(source), str(error), READ_SIZE)


class SndfileAudio:
    """A file that libsndfile decodes.

    Raises `DecodeError`, and `ForeignFormatError` when it is for ffmpeg to try.
    """

    def __init__(self, source: Source) -> None:
        source = resolve(source)
        with io.BytesIO(source) if isinstance(source, bytes) else open_file(source) as file:
            head, size = _look_at(file)
            try:
                self.file = soundfile.SoundFile(
                    io.BytesIO(source) if isinstance(source, bytes) else os.fsencode(source)
                )
            except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: named .raw
                ending = "" if isinstance(source, bytes) else os.path.splitext(source)[1]
                file.seek(mpeg.end_of_tags(file))  # ID3 may stand before any format
                raise _refusal(head, file.read(16), size, ending[1:].lower(), error) from error
            self.mpeg = mpeg.measure(file) if self.file.format == "MP3" else None
        self.sample_rate: int = self.file.samplerate
        self.channels: int = self.file.channels
        self.xiph_order: bool = self.file.format == "OGG"
        # Seeks inside Ogg are up to 832 samples off.
        self.onward: bool = self.file.format == "OGG"
        try:
            self._refuse_if_cut_short()
        except BaseException:
            self.file.close()
            raise

    @property
    def seconds(self) -> float:
        """The length by the header, or by counting its frames for an MP3 without an index."""
        if self.mpeg is not None and not self.mpeg.indexed and self.mpeg.seconds is not None:
            return self.mpeg.seconds
        frames: int = self.file.frames
        return frames / self.sample_rate

    def blocks(self, first: int, last: int | None = None) -> Iterator[np.ndarray]:
        """Yield the samples from frame `first` to the end, as float32 [frames, channels].

        All blocks are one piece of memory: fresh pages for each took a fifth of the decoding.
        """
        position = 0
        memory = np.empty((READ_SIZE, self.channels), np.float32)
        try:
            if not self.onward:
                if first >= self.file.frames:
                    return
                if first != self.file.tell():
                    self.file.seek(first)
                position, first = first, 0
            while len(block := self.file.read(out=memory)):
                position += len(block)
                skipped = min(first, len(block))
                first -= skipped
                if skipped < len(block):
                    yield block[skipped:]
        except soundfile.LibsndfileError as error:
            raise DecodeError(
                f"broken after {position / self.sample_rate:.1f} s ({error.error_string}), "
                "expected audio to the end; copy or encode the file again"
            ) from error

    def _refuse_if_cut_short(self) -> None:
        for declared, held in _SHOULD_BE.findall(self.file.extra_info):
            if int(held) + _SIZE_SLIP < int(declared) < _UNKNOWN_SIZE:
                raise _cut_short(f"its header promises {declared} bytes of audio, {held} are there")
        if self.mpeg is not None:
            if self.mpeg.missing > _MP3_SLACK:
                missing = f"{self.mpeg.missing:.0%} of the bytes its header promises"
                raise _cut_short(f"{missing} are missing")
            within_reach = self.file.frames / self.sample_rate
            whole = self.mpeg.seconds or 0.0
            if whole > within_reach * (1 + _MP3_SLACK) + _MP3_PADDING:
                raise ForeignFormatError(
                    "an MP3 of variable bit rate without an index "
                    f"({within_reach:.1f} of {whole:.1f} s within reach)"
                )
        if self.file.frames == 0:
            raise DecodeError("a header and no audio after it; remove the file", "empty")
        if self.file.frames >= _UNKNOWN_FRAMES:  # libsndfile loses the last block of these
            raise ForeignFormatError(f"{self.file.format} of unstated length, as from a pipe")
        if self.file.format == "FLAC":
            try:
                self.file.seek(self.file.frames - 1)
                self.file.read(1)
                self.file.seek(0)
            except soundfile.LibsndfileError as error:
                raise _cut_short(f"its header promises {self.seconds:.1f} s") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


def resolve(source: Source) -> str | bytes:
    """Return a path that `open` takes, or the bytes of a file."""
    if isinstance(source, bytes):
        return source
    return text_to_path(source) if isinstance(source, str) else os.fspath(source)


def open_file(path: str) -> BinaryIO:
    """Open a regular file; raises `DecodeError` that says what is there instead."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISREG(kind):
            return open(path, "rb")
    except FileNotFoundError:
        if os.path.islink(path):
            target = os.readlink(path)
            problem = f"a symbolic link to {target!r}, which does not exist; mend or remove it"
            raise DecodeError(problem, "missing") from None
        raise DecodeError("no such file; look for it where the table says", "missing") from None
    except PermissionError:
        raise DecodeError("no permission to read it; try chmod a+r", "unreadable") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DecodeError("a loop of symbolic links; mend or remove it", "missing") from None
        raise DecodeError(f"{error.strerror}; see whether it opens elsewhere") from error
    if stat.S_ISDIR(kind):
        problem = "a folder, expected an audio file; scan it with mt-fetch folder"
        raise DecodeError(problem, "not-audio")
    raise DecodeError("a pipe, socket or device, expected a regular file; save it as one first")


def _look_at(file: BinaryIO) -> tuple[bytes, int]:
    """Return the first bytes and the size; refuse what is empty, an Ogg or MP4 without its end."""
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        raise DecodeError("an empty file (0 bytes), expected audio; copy it again", "empty")
    file.seek(0)
    head = file.read(4096)
    if head.startswith(b"OggS"):
        file.seek(max(0, size - 2 * _OGG_PAGE))
        tail = file.read()
        page = tail.rfind(b"OggS")
        ends_stream = page >= 0 and tail[page + 5 : page + 6] >= b"\x04"  # flag bits 1, 2, 4
        lacing = tail[page + 27 : page + 27 + tail[page + 26]] if len(tail) > page + 26 else b""
        if not ends_stream or len(tail) < page + 27 + len(lacing) + sum(lacing):
            raise _cut_short("the last page of the Ogg stream is missing")
    if head[4:8] == b"ftyp":
        promised = max(after for _, _, after in atoms(file, 0, size))
        if promised > size:
            raise _cut_short(f"its last atom goes to byte {promised}, {size} are there")
    return head, size


def _refusal(head: bytes, body: bytes, size: int, ending: str, error: Exception) -> Exception:
    """Find out why libsndfile did not open a file that is there and not empty.

    `head` are its first bytes, `body` the first behind ID3 tags.
    """
    if head[:4] in (b"RIFF", b"FORM"):
        order = "little" if head.startswith(b"RIFF") else "big"
        promised = int.from_bytes(head[4:8], order) + 8  # type: ignore[arg-type]
        if size < promised < _UNKNOWN_SIZE:
            return _cut_short(f"its header promises {promised} bytes, {size} are there")
    for at, start, what in _FOREIGN_STARTS:
        if head[at:].startswith(start) or body[at:].startswith(start):
            return ForeignFormatError(what)
    if _is_text(head):
        return DecodeError("text, expected audio; remove it or correct its name", "not-audio")
    if ending in _FOREIGN_ENDINGS:
        return ForeignFormatError(f"a file named .{ending}")
    if head[:3] == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0"):
        return DecodeError("an MP3 without a frame that can be decoded; encode it again")
    if head[:4] in (b"RIFF", b"FORM", b"fLaC", b"RF64", b"riff", b"caff"):
        said = getattr(error, "error_string", str(error))
        return DecodeError(f"libsndfile says: {said} Try to play it, or encode it again")
    problem = f"no known audio format (it begins with {head[:8]!r}); convert it to FLAC or WAV"
    return DecodeError(problem, "not-audio")


def _is_text(head: bytes) -> bool:
    """Say whether the first bytes are UTF-8 text, perhaps cut inside a character."""
    controls = set(head) & (set(range(32)) - set(b"\t\n\f\r\x1b"))
    try:
        head[:-3].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not controls


def _cut_short(evidence: str) -> DecodeError:
    return DecodeError(f"cut short: {evidence}; copy or download it again", "truncated")

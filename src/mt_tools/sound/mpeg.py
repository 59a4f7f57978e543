"""What an MPEG audio stream (MP3, MP2) says about its own length, read from its frame headers.

libsndfile and mutagen estimate the length of a stream without a Xing, Info or VBRI header from
the bit rate of its first frame. With a variable bit rate that is wrong by any factor, and
libsndfile stops decoding there. So such a stream is measured by walking its frames. A stream with a
Xing header tells how many bytes belong to it, which shows a file that was cut short.
Source: ISO/IEC 11172-3, 2.4.1.3 and 13818-3, 2.4.2.3 (frame header).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

# kbit/s by (MPEG-1?, layer) and index; index 0 ("free") and 15 are not a frame here.
_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = (44100, 48000, 32000)
_SEARCHED = 1 << 17  # bytes after the tags in which the first frame must begin
_BLOCK = 1 << 18


@dataclass(frozen=True)
class Stream:
    """An MPEG audio stream as its headers describe it.

    `indexed`: begins with a Xing, Info or VBRI header. `seconds`: the length of all frames, counted
    by the Xing header or by walking them; None where only a VBRI header knows. `missing`: the share
    of the bytes promised by a Xing header that the file does not hold.
    """

    indexed: bool
    seconds: float | None
    missing: float


@dataclass(frozen=True)
class _Frame:
    size: int
    samples: int
    sample_rate: int
    side_info: int


def measure(file: BinaryIO) -> Stream | None:
    """Measure the stream in a seekable file; None when no MPEG frame is found near its beginning.

    Reads the headers only, but all of them where the stream has no index.
    """
    end = file.seek(0, 2)
    found = find_frame(file, end_of_tags(file))
    if found is None:
        return None
    start, first = found
    file.seek(start)
    head = file.read(first.size)
    xing = 4 + first.side_info
    if head[xing : xing + 4] in (b"Xing", b"Info"):
        flags = int.from_bytes(head[xing + 4 : xing + 8], "big")
        numbers = [int.from_bytes(head[at : at + 4], "big") for at in (xing + 8, xing + 12)]
        frames = numbers.pop(0) if flags & 1 else None
        promised = numbers.pop(0) if flags & 2 else 0
        seconds = frames * first.samples / first.sample_rate if frames else None
        missing = 1 - min(promised, end - start) / promised if promised else 0.0
        return Stream(True, seconds, missing)
    if head[36:40] == b"VBRI":
        return Stream(True, None, 0.0)
    samples = 0
    while found:
        position, walked = _walk(file, found[0], end)
        samples += walked
        found = find_frame(file, position + 1)
    return Stream(False, samples / first.sample_rate, 0.0)


def _walk(file: BinaryIO, position: int, end: int) -> tuple[int, int]:
    """Follow whole frames that adjoin; return where they end, and their samples."""
    samples = 0
    while True:
        file.seek(position)
        block = file.read(_BLOCK)  # headers lie so close that all of the file is read anyway
        at = 0
        while at + 4 <= len(block):
            frame = _frame(block[at : at + 4])
            if frame is None or position + at + frame.size > end:
                return position + at, samples
            samples += frame.samples
            at += frame.size
        if at == 0:  # the end of the file
            return position, samples
        position += at


def end_of_tags(file: BinaryIO) -> int:
    """Find where the ID3v2 tags at the beginning end; there may be several."""
    position = 0
    while True:
        file.seek(position)
        tag = file.read(10)
        if tag[:3] != b"ID3" or len(tag) < 10:
            return position
        # Four "synchsafe" bytes of seven bits each (ID3v2.4, section 6.2).
        position += 10 + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])


def find_frame(file: BinaryIO, position: int) -> tuple[int, _Frame] | None:
    """Find the first frame at or after `position` that another one follows, past stray bytes."""
    file.seek(position)
    searched = file.read(_SEARCHED)
    at = searched.find(b"\xff")
    while at >= 0:
        frame = _frame_at(file, position + at)
        if frame and _frame_at(file, position + at + frame.size):
            return position + at, frame
        at = searched.find(b"\xff", at + 1)
    return None


def _frame_at(file: BinaryIO, position: int) -> _Frame | None:
    file.seek(position)
    return _frame(file.read(4))


@lru_cache(maxsize=1024)  # the headers of one stream are few, its frames are thousands
def _frame(raw: bytes) -> _Frame | None:
    if len(raw) < 4 or raw[0] != 0xFF or raw[1] & 0xE0 != 0xE0:
        return None
    version, layer = raw[1] >> 3 & 3, 4 - (raw[1] >> 1 & 3)
    bitrate_index, rate_index = raw[2] >> 4, raw[2] >> 2 & 3
    if version == 1 or layer == 4 or not 0 < bitrate_index < 15 or rate_index == 3:
        return None
    mpeg1, mono = version == 3, raw[3] >> 6 == 3
    sample_rate = _SAMPLE_RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    bits = _BITRATES[mpeg1, layer][bitrate_index - 1] * 1000
    samples = {1: 384, 2: 1152, 3: 1152 if mpeg1 else 576}[layer]
    slot = 4 if layer == 1 else 1
    size = (samples // 8 // slot * bits // sample_rate + (raw[2] >> 1 & 1)) * slot
    side_info = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    return _Frame(size, samples, sample_rate, side_info)

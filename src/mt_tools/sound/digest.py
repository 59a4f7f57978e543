"""The digest of a file's sound: the same before and after it is tagged, renamed or copied.

Goal: to know a track again, so that nothing is computed twice: SHA-256 of the encoded payload
without tags.

What counts as payload, by the first bytes of the file:

| format | hashed | left out |
|---|---|---|
| FLAC | STREAMINFO and the frames | every other metadata block, ID3 around it |
| Ogg Vorbis, Opus | packets and last granule position | the comment packet, page headers |
| WAV | the chunks `fmt ` and `data` | every other chunk (`LIST`, `id3 `) |
| AIFF | the chunks `COMM` and `SSND` | every other chunk |
| MP4 | the atoms `mdat` | everything else |
| MP3 and the rest | the bytes between the tags | ID3v2 before; APEv2, Lyrics3, ID3v1 after |

A file whose container is broken counts from its first to its last byte.

Sources: FLAC (RFC 9639, section 8), Ogg (RFC 3533, section 6), Vorbis I (section 4.2), Opus in Ogg
(RFC 7845, section 5), ID3v2.4 (section 3.1), APEv2 (hydrogenaudio's specification), Lyrics3 v2.00.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO

from mt_tools.sound.mp4 import atoms
from mt_tools.sound.mpeg import end_of_tags
from mt_tools.sound.opening import Source, open_file, resolve

_BLOCK = 1 << 20
_ID3V1 = 128
_APE = 32  # bytes of an APEv2 header, and of its footer
_LYRICS = len(b"000000LYRICS200")

Span = tuple[int, int]
"""A piece of a file: from this byte on, to before that one."""


class _Broken(Exception):
    """The container is not what it says: the whole file counts."""


def audio_digest(source: Source) -> str:
    """Return the SHA-256 of the encoded sound in an audio file, hexadecimal.

    `source` is a path, a table's text for one, or the bytes of a file. Raises `DecodeError` for a
    file that cannot be opened.
    """
    source = resolve(source)
    with io.BytesIO(source) if isinstance(source, bytes) else open_file(source) as file:
        size = file.seek(0, io.SEEK_END)
        start, end = _between_tags(file, size)
        try:
            return _hashed(_payload(file, start, end))
        except _Broken:
            return _hashed(_read(file, [(0, size)]))


def _hashed(pieces: Iterator[bytes]) -> str:
    whole = hashlib.sha256()
    for piece in pieces:
        whole.update(piece)
    return whole.hexdigest()


def _payload(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Return the pieces that are hashed of a file whose tags end and begin at these places."""
    file.seek(start)
    head = file.read(12)
    if head.startswith(b"fLaC"):
        return _read(file, _flac(file, start, end))
    if head.startswith(b"OggS"):
        return _ogg(file, start, end)
    if head.startswith(b"RIFF") and head.endswith(b"WAVE"):
        return _read(file, _chunks(file, start + 12, end, (b"fmt ", b"data"), "little"))
    if head.startswith(b"FORM") and head[8:] in (b"AIFF", b"AIFC"):
        return _read(file, _chunks(file, start + 12, end, (b"COMM", b"SSND"), "big"))
    if head[4:8] == b"ftyp":
        return _read(file, _atoms(file, start, end))
    return _read(file, [(start, end)])


def _read(file: BinaryIO, spans: list[Span]) -> Iterator[bytes]:
    for start, end in spans:
        file.seek(start)
        while start < end and (block := file.read(min(_BLOCK, end - start))):
            start += len(block)
            yield block


# --- tags around the sound -----------------------------------------------------------------------


def _between_tags(file: BinaryIO, size: int) -> Span:
    """Find where ID3v2 at the beginning ends, and where the tags at the end begin."""
    start, end = min(end_of_tags(file), size), size
    while (begin := _last_tag(file, start, end)) < end:
        end = begin
    return start, end


def _last_tag(file: BinaryIO, start: int, end: int) -> int:
    """Return where the tag that ends at `end` begins; `end` where there is none."""

    def tail(length: int) -> bytes:
        if end - length < start:
            return b""
        file.seek(end - length)
        return file.read(length)

    if tail(_ID3V1).startswith(b"TAG"):
        return end - _ID3V1
    footer = tail(_APE)
    if footer.startswith(b"APETAGEX"):
        length = int.from_bytes(footer[12:16], "little")  # without the header
        if footer[23] & 0x80:  # the highest flag: there is one
            length += _APE
        return max(start, end - max(length, _APE))
    lyrics = tail(_LYRICS)
    if lyrics.endswith(b"LYRICS200") and lyrics[:6].isdigit():
        return max(start, end - _LYRICS - int(lyrics[:6]))
    return end


# --- containers ----------------------------------------------------------------------------------


def _flac(file: BinaryIO, start: int, end: int) -> list[Span]:
    spans = []
    position = start + 4
    while True:
        file.seek(position)
        header = file.read(4)
        if len(header) < 4 or position > end:
            raise _Broken
        after = position + 4 + int.from_bytes(header[1:], "big")
        if header[0] & 0x7F == 0:  # STREAMINFO
            spans.append((position + 4, after))
        position = after
        if header[0] & 0x80:  # the last block
            return [*spans, (position, end)]


def _chunks(
    file: BinaryIO, position: int, end: int, wanted: tuple[bytes, ...], order: str
) -> list[Span]:
    spans = []
    while position + 8 <= end:
        file.seek(position)
        header = file.read(8)
        size = int.from_bytes(header[4:], order)  # type: ignore[arg-type]
        after = min(position + 8 + size, end)  # streamed files state no true size
        if header[:4] in wanted:
            spans.append((position + 8, after))
        position = after + size % 2
    if len(spans) < len(wanted):
        raise _Broken
    return spans


def _atoms(file: BinaryIO, position: int, end: int) -> list[Span]:
    spans = []
    for name, begin, after in atoms(file, position, end):
        if after < begin or after > end:
            raise _Broken
        if name == b"mdat":
            spans.append((begin, after))
    if not spans:
        raise _Broken
    return spans


def _ogg(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Yield the packets of each stream but its comments, each behind its length.

    Tags move packets to other pages and number the pages anew, so pages say nothing.
    """
    packets: dict[bytes, int] = {}  # finished, by stream
    unfinished: dict[bytes, bytes] = {}
    granule = b""
    position = start
    while position < end:
        file.seek(position)
        header = file.read(27)
        if len(header) < 27 or not header.startswith(b"OggS"):
            raise _Broken
        lacing = file.read(header[26])
        body = file.read(sum(lacing))
        position += 27 + len(lacing) + len(body)
        stream = header[14:18]
        granule = header[6:14]
        if header[5] & 2 or stream not in packets:  # a stream begins
            packets[stream], unfinished[stream] = 0, b""
        at = 0
        for size in lacing:
            unfinished[stream] += body[at : at + size]
            at += size
            if size == 255:  # the packet goes on
                continue
            packet, unfinished[stream] = unfinished[stream], b""
            number = packets[stream]
            packets[stream] += 1
            if number == 0 and packet[:7] not in (b"\x01vorbis", b"OpusHea"):
                raise _Broken
            if number != 1:
                yield len(packet).to_bytes(4, "big") + packet
    yield granule

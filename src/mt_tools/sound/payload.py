"""Where the encoded sound lies in a file: the bytes that no change of tags may touch.

Goal: to show that a change of tags left the sound as it was, and to describe such a change by
little more than the tags themselves.

The payload of a file is a list of spans; what lies there, in the order of the list, is the same
before and after any change of tags. By the first bytes of the file:

| format | payload | left out |
|---|---|---|
| FLAC | STREAMINFO and the frames | every other metadata block, ID3 around it |
| Ogg (Vorbis, Opus, Speex, FLAC, Theora) | of each stream the packets, then the last granule \
position | packets of comments and of other metadata, the rest of the page headers |
| WAV, RF64, BW64, Wave64 | the chunks `fmt ` and `data` | every other chunk (`LIST`, `id3 `) |
| AIFF, AIFF-C | the chunks `COMM` and `SSND` | every other chunk |
| MP4, QuickTime | the atoms `mdat` | everything else |
| ASF (WMA) | the Data object | the header and the indices |
| MP3, AAC, APE, WavPack, Musepack, TTA and the rest | the bytes between the tags | ID3v2 before; \
APEv2, Lyrics3, ID3v1 after |

Tags move the packets of an Ogg stream to other pages, number the pages anew and so change every
checksum; so page headers cannot count, but for the position at which the stream ends. A file whose
container is broken counts from its first to its last byte: then no tag can be changed in it either.

Sources: FLAC (RFC 9639, sections 8 and 10.1), Ogg (RFC 3533, section 6), Vorbis I (section 4.2),
Opus in Ogg (RFC 7845, section 5), RIFF and AIFF 1.3, RF64 (EBU Tech 3306), ISO/IEC 14496-12
(section 4.2), ASF (Microsoft's specification 1.20, sections 2 and 5), ID3v2.4 (section 3.1), APEv2
(hydrogenaudio's specification), Lyrics3 v2.00.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from mt_tools.sound.mp4 import atoms
from mt_tools.sound.mpeg import end_of_tags

Span = tuple[int, int]
"""A piece of a file: from this byte on, to before that one."""

_BLOCK = 1 << 20
_PIECE = 1 << 16
_ID3V1 = 128
_APE = 32  # bytes of an APEv2 header, and of its footer
_LYRICS = len(b"000000LYRICS200")
_MP4_STARTS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_WAVE64 = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"  # ends each name but the first
_WAVE64_HEAD = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_ASF_HEAD = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"
_ASF_DATA = b"\x36\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"
_OGG_CODECS = (b"\x01vorbis", b"OpusHead", b"Speex   ", b"\x7fFLAC", b"\x80theora", b"fishead\0")
_UNKNOWN = 0xFFFF_FFFF  # a size that stands in `ds64`, or that nobody knew


class Broken(Exception):
    """The container is not what it says: the whole file counts."""


def payload(file: BinaryIO) -> list[Span]:
    """Return the spans of a seekable file that hold its encoded sound, in the order to read them.

    Spans do not overlap. They need not ascend: the streams of an Ogg file come one after another.
    """
    size = file.seek(0, os.SEEK_END)
    start, end = between_tags(file, size)
    try:
        spans = _spans(file, start, end)
    except Broken:
        spans = [(0, size)]
    whole: list[Span] = []
    for begin, after in spans:
        if whole and whole[-1][1] == begin:
            begin = whole.pop()[0]
        if begin < after:
            whole.append((begin, after))
    return whole


def read_spans(file: BinaryIO, spans: list[Span]) -> Iterator[bytes]:
    """Yield what lies in the spans, in blocks of a megabyte at most."""
    for start, end in spans:
        file.seek(start)
        while start < end and (block := file.read(min(_BLOCK, end - start))):
            start += len(block)
            yield block


def side_by_side(one: list[Span], other: list[Span]) -> Iterator[tuple[int, int, int]]:
    """Yield (begin, begin in the other, length) of small pieces at the same place of two payloads.

    They end where the shorter one ends.
    """
    ours, theirs = iter(one), iter(other)
    here = here_end = there = there_end = 0
    while True:
        if here == here_end:
            here, here_end = next(ours, (0, 0))
        if there == there_end:
            there, there_end = next(theirs, (0, 0))
        length = min(here_end - here, there_end - there, _PIECE)
        if length == 0:
            return
        yield here, there, length
        here, there = here + length, there + length


def same_payload(one: BinaryIO, other: BinaryIO) -> bool:
    """Say whether two files hold the same sound, byte for byte."""
    ours, theirs = payload(one), payload(other)
    if sum(end - begin for begin, end in ours) != sum(end - begin for begin, end in theirs):
        return False
    for here, there, length in side_by_side(ours, theirs):
        one.seek(here)
        other.seek(there)
        if one.read(length) != other.read(length):
            return False
    return True


def _spans(file: BinaryIO, start: int, end: int) -> list[Span]:
    file.seek(start)
    head = file.read(40)
    if head.startswith(b"fLaC"):
        return flac_spans(file, start, end)
    if head.startswith(b"OggS"):
        return _ogg_spans(file, start, end)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _wave_spans(file, start + 12, end)
    if head.startswith(_WAVE64_HEAD) and head[24:40] == b"wave" + _WAVE64:
        wanted = (b"fmt " + _WAVE64, b"data" + _WAVE64)
        return _chosen(_objects(file, start + 40, end, 8), wanted)
    if head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC"):
        return chunk_spans(file, start + 12, end, (b"COMM", b"SSND"), "big")
    if head[4:8] in _MP4_STARTS:
        return atom_spans(file, start, end)
    if head.startswith(_ASF_HEAD):
        return _chosen(_objects(file, start, end, 1), (_ASF_DATA,))
    return [(start, end)]


# --- tags around the sound -----------------------------------------------------------------------


def between_tags(file: BinaryIO, size: int) -> Span:
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


def flac_spans(file: BinaryIO, start: int, end: int) -> list[Span]:
    """Return STREAMINFO and the frames of the FLAC stream between two places."""
    spans = []
    position = start + 4
    while True:
        file.seek(position)
        header = file.read(4)
        if len(header) < 4 or position > end:
            raise Broken
        after = position + 4 + int.from_bytes(header[1:], "big")
        if header[0] & 0x7F == 0:  # STREAMINFO
            spans.append((position + 4, after))
        position = after
        if header[0] & 0x80:  # the last block
            return [*spans, (position, end)]


def chunk_spans(
    file: BinaryIO,
    position: int,
    end: int,
    wanted: tuple[bytes, ...],
    order: Literal["little", "big"],
) -> list[Span]:
    """Return the contents of the wanted chunks of RIFF (little-endian) or AIFF (big-endian)."""
    spans = []
    while position + 8 <= end:
        file.seek(position)
        header = file.read(8)
        size = int.from_bytes(header[4:], order)
        after = min(position + 8 + size, end)  # streamed files state no true size
        if header[:4] in wanted:
            spans.append((position + 8, after))
        position = after + size % 2
    if len(spans) < len(wanted):
        raise Broken
    return spans


def _wave_spans(file: BinaryIO, position: int, end: int) -> list[Span]:
    """Return the contents of `fmt ` and `data`, whose size may be in `ds64` or not be known.

    What is no chunk counts as sound: sizes of 32 bits wrap in a file of more than 4 GiB.
    """
    spans: list[Span] = []
    names = set()
    long = None
    while position + 8 <= end:
        file.seek(position)
        header = file.read(8 + 16)
        name, size = header[:4], int.from_bytes(header[4:8], "little")
        if not (name.isascii() and name.decode("ascii").isprintable()):
            spans.append((position, end))
            break
        if name == b"ds64":  # two sizes of 64 bits: of the file, of `data`
            long = int.from_bytes(header[16:24], "little")
        if name == b"data" and size == _UNKNOWN and long is not None:
            size = long
        elif name == b"data" and size in (0, _UNKNOWN):
            size = end - position - 8  # written into a pipe: all that follows is sound
        after = min(position + 8 + size, end)
        if name in (b"fmt ", b"data"):
            spans.append((position + 8, after))
            names.add(name)
        position = after + size % 2
    if len(names) < 2:
        raise Broken
    return spans


def _objects(
    file: BinaryIO, position: int, end: int, align: int
) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, begin, end) of what is named by a GUID: the parts of ASF and of Wave64."""
    while position + 24 <= end:
        file.seek(position)
        header = file.read(24)
        size = int.from_bytes(header[16:], "little")  # with this header
        if 0 < size < 24:
            raise Broken
        after = min(position + size, end) if size else end  # 0: written as it was broadcast
        yield header[:16], position + 24, after
        position = after + -size % align


def _chosen(parts: Iterator[tuple[bytes, int, int]], wanted: tuple[bytes, ...]) -> list[Span]:
    spans = [(begin, end) for name, begin, end in parts if name in wanted]
    if len(spans) < len(wanted):
        raise Broken
    return spans


def atom_spans(file: BinaryIO, position: int, end: int) -> list[Span]:
    """Return the contents of the atoms `mdat`."""
    spans = []
    for name, begin, after in atoms(file, position, end):
        if after < begin or after > end:
            raise Broken
        if name == b"mdat":
            spans.append((begin, after))
    if not spans:
        raise Broken
    return spans


# --- Ogg -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """The header of an Ogg page: `granule` as its 8 bytes, `sizes` of its segments, and where its
    header and its body begin."""

    begins_stream: bool
    granule: bytes
    stream: bytes
    sizes: bytes
    position: int
    body: int


def ogg_pages(file: BinaryIO, start: int, end: int) -> Iterator[Page]:
    """Yield the pages between two places; the file stands at the page's body each time."""
    position = start
    while position < end:
        file.seek(position)
        header = file.read(27)
        if len(header) < 27 or not header.startswith(b"OggS"):
            raise Broken
        sizes = file.read(header[26])
        body = position + 27 + len(sizes)
        yield Page(bool(header[5] & 2), header[6:14], header[14:18], sizes, position, body)
        position = body + sum(sizes)


@dataclass
class _Stream:
    """One logical stream of an Ogg file while it is read."""

    codec: bytes = b""
    packets: int = 0  # the one that goes on included
    inside: bool = False  # a packet goes on
    counts: bool = True  # the packet that goes on is sound
    last: bool = False  # it is the last of the headers
    heads: bool = True  # headers may follow
    granule: Span = (0, 0)
    spans: list[Span] = field(default_factory=list)

    def add(self, page: Page, body: bytes) -> None:
        """Take what is sound out of a page among the headers."""
        at = 0
        for size in page.sizes:
            if not self.inside:
                self.packets += 1
                self._begin(body[at : at + 8])
            if self.counts:
                self.spans.append((page.body + at, page.body + at + size))
            at += size
            self.inside = size == 255
            self.heads = self.inside or not self.last

    def _begin(self, head: bytes) -> None:
        """Judge a packet by its first bytes."""
        if self.packets == 1:
            self.codec = next((c for c in _OGG_CODECS if head.startswith(c[:8])), b"")
            if not self.codec:
                raise Broken
        elif self.codec == b"\x7fFLAC":  # each metadata block is a packet; frames begin with 255
            self.counts = self.last or head[:1] == b"\xff"
            self.last = self.counts or head[:1] > b"\x7f"
        else:
            self.counts = self.packets != 2 or self.codec == b"fishead\0"
            self.last = True


def _ogg_spans(file: BinaryIO, start: int, end: int) -> list[Span]:
    """Return the packets of sound, stream by stream, and where each stream says that it ends."""
    streams: dict[bytes, _Stream] = {}  # being read, by serial number
    every: list[_Stream] = []
    for page in ogg_pages(file, start, end):
        if page.begins_stream or page.stream not in streams:
            streams[page.stream] = _Stream()
            every.append(streams[page.stream])
        stream = streams[page.stream]
        if stream.heads:
            stream.add(page, file.read(sum(page.sizes)))
        else:
            stream.spans.append((page.body, page.body + sum(page.sizes)))
        stream.granule = (page.position + 6, page.position + 14)
    spans = [span for stream in every for span in (*stream.spans, stream.granule)]
    return [(begin, min(after, end)) for begin, after in spans]

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
| MP3 and the rest | what `sound.payload` finds: the bytes between the tags | ID3v2 before; APEv2, \
Lyrics3, ID3v1 after |

A file whose container is broken counts from its first to its last byte.

Sources: FLAC (RFC 9639, section 8), Ogg (RFC 3533, section 6), Vorbis I (section 4.2), Opus in Ogg
(RFC 7845, section 5), ID3v2.4 (section 3.1), APEv2 (hydrogenaudio's specification), Lyrics3 v2.00.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO

from mt_tools.sound.opening import Source, open_file, resolve
from mt_tools.sound.payload import (
    Broken,
    atom_spans,
    between_tags,
    chunk_spans,
    flac_spans,
    ogg_pages,
    payload,
    read_spans,
)


def audio_digest(source: Source) -> str:
    """Return the SHA-256 of the encoded sound in an audio file, hexadecimal.

    `source` is a path, a table's text for one, or the bytes of a file. Raises `DecodeError` for a
    file that cannot be opened.
    """
    source = resolve(source)
    with io.BytesIO(source) if isinstance(source, bytes) else open_file(source) as file:
        size = file.seek(0, io.SEEK_END)
        start, end = between_tags(file, size)
        try:
            return _hashed(_payload(file, start, end))
        except Broken:
            return _hashed(read_spans(file, payload(file)))


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
        return read_spans(file, flac_spans(file, start, end))
    if head.startswith(b"OggS"):
        return _ogg(file, start, end)
    if head.startswith(b"RIFF") and head.endswith(b"WAVE"):
        return read_spans(file, chunk_spans(file, start + 12, end, (b"fmt ", b"data"), "little"))
    if head.startswith(b"FORM") and head[8:] in (b"AIFF", b"AIFC"):
        return read_spans(file, chunk_spans(file, start + 12, end, (b"COMM", b"SSND"), "big"))
    if head[4:8] == b"ftyp":
        return read_spans(file, atom_spans(file, start, end))
    return read_spans(file, payload(file))


def _ogg(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Yield the packets of each stream but its comments, each behind its length.

    Tags move packets to other pages and number the pages anew, so pages say nothing.
    """
    packets: dict[bytes, int] = {}  # finished, by stream
    unfinished: dict[bytes, bytes] = {}
    granule = b""
    for page in ogg_pages(file, start, end):
        body = file.read(sum(page.sizes))
        stream, granule = page.stream, page.granule
        if page.begins_stream or stream not in packets:
            packets[stream], unfinished[stream] = 0, b""
        at = 0
        for size in page.sizes:
            unfinished[stream] += body[at : at + size]
            at += size
            if size == 255:  # the packet goes on
                continue
            packet, unfinished[stream] = unfinished[stream], b""
            number = packets[stream]
            packets[stream] += 1
            if number == 0 and packet[:7] not in (b"\x01vorbis", b"OpusHea"):
                raise Broken
            if number != 1:
                yield len(packet).to_bytes(4, "big") + packet
    yield granule

"""Odd containers: FLAC, Ogg, MP4, WAV and AIFF with all that may stand around their sound."""

from __future__ import annotations

import struct

from torture.sounds import Sounds
from torture.tags import frame, id3v1, jpeg, tag, text

_TAG = tag(frame("TIT2", text("A title")) + frame("TCON", text("In a chunk")), padding=10)


def odd_containers(sounds: Sounds) -> dict[str, tuple[str, bytes]]:
    """Return (ending, bytes) of files, by what is odd about them."""
    made: dict[str, tuple[str, bytes]] = {}
    for ending, found in (
        ("flac", _flacs(sounds["flac"][1])),
        ("ogg", _oggs(sounds["ogg"][1])),
        ("wav", _wavs(sounds["wav"][1], sounds["wav-odd"][1])),
        ("aiff", _aiffs(sounds["aiff"][1], sounds["aiff-odd"][1])),
        ("m4a", _mp4s(sounds["m4a"][1], sounds["m4a-last"][1])),
    ):
        made |= {f"{ending}, {about}": (ending, data) for about, data in found.items()}
    return made


# --- FLAC (RFC 9639) -----------------------------------------------------------------------------


def _flacs(sound: bytes) -> dict[str, bytes]:
    blocks, frames = _blocks(sound)
    stream = [block for block in blocks if block[0] == 0]
    comments = _comments([b"TITLE=A title", b"Genre=By hand"])
    picture = struct.pack(">I", 3) + _sized(b"image/jpeg", ">I") + _sized(b"", ">I") + bytes(16)
    picture += _sized(jpeg(4000), ">I")
    track = bytes(8) + b"\x01" + bytes(12 + 14) + b"\x01" + bytes(8) + b"\x01" + bytes(3)
    lead_out = struct.pack(">Q", 52_921) + b"\xff" + bytes(12 + 14 + 1)
    cues = bytes(128 + 8 + 1 + 258) + b"\x02" + track + lead_out

    def flac(*more: tuple[int, bytes]) -> bytes:
        listed = [*stream, *more]
        heads = [
            bytes([kind | (0x80 if number == len(listed) - 1 else 0)])
            + len(data).to_bytes(3, "big") + data
            for number, (kind, data) in enumerate(listed)
        ]  # fmt: skip
        return b"fLaC" + b"".join(heads) + frames

    unknown = flac((4, comments))
    unknown = unknown[:21] + bytes([unknown[21] & 0xF0]) + bytes(4) + unknown[26:]
    return {
        "STREAMINFO alone": flac(),
        "no padding": flac((4, comments)),
        "padding of 50 kB": flac((4, comments), (1, bytes(50_000))),
        "padding first": flac((1, bytes(3000)), (4, comments)),
        "two paddings": flac((1, bytes(30)), (4, comments), (1, bytes(40))),
        "a picture behind the comments": flac((4, comments), (6, picture), (6, picture)),
        "a cue sheet": flac((5, cues), (4, comments)),
        "an application's block": flac((2, b"ATCH" + bytes(range(256))), (4, comments)),
        "a block of a kind to come": flac((100, b"whatever"), (4, comments)),
        "comments of no UTF-8": flac((4, _comments([b"TITLE=caf\xe9", b"ARTIST=x"]))),
        "a comment without a name": flac((4, _comments([b"TITLE=x", b"no name", b"=empty"]))),
        "a comment with a NUL": flac((4, _comments([b"TITLE=a\0b", b"GENRE=Rock\0Pop"]))),
        "a name in two cases": flac((4, _comments([b"Genre=One", b"GENRE=Two", b"genre=Three"]))),
        "no comments, an empty vendor": flac((4, bytes(8))),
        "length unknown": unknown,
        "ID3 in front": _TAG + flac((4, comments), (1, bytes(100))),
        "ID3 in front and behind": _TAG + flac((4, comments)) + id3v1(17),
        "ID3v1 behind": flac((4, comments)) + id3v1(17),
    }


def _blocks(sound: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    blocks, at = [], 4
    while True:
        kind, size = sound[at], int.from_bytes(sound[at + 1 : at + 4], "big")
        blocks.append((kind & 0x7F, sound[at + 4 : at + 4 + size]))
        at += 4 + size
        if kind & 0x80:
            return blocks, sound[at:]


def _sized(data: bytes, size: str) -> bytes:
    return struct.pack(size, len(data)) + data


def _comments(comments: list[bytes], vendor: bytes = b"a vendor") -> bytes:
    listed = b"".join(_sized(comment, "<I") for comment in comments)
    return _sized(vendor, "<I") + struct.pack("<I", len(comments)) + listed


# --- Ogg (RFC 3533) ------------------------------------------------------------------------------


def _oggs(sound: bytes) -> dict[str, bytes]:
    comments = [b"TITLE=A title", b"Genre=By hand"]
    huge = [*comments, b"COMMENT=" + b"long " * 60_000]
    return {
        "one comment a page": _ogg(sound, comments),
        "comments over several pages": _ogg(sound, huge),
        "comments of no UTF-8": _ogg(sound, [b"TITLE=caf\xe9"]),
        "a comment without a name": _ogg(sound, [*comments, b"no name"]),
        "padding behind the comments": _ogg(sound, comments, padding=3000),
        "zeros behind the last page": _ogg(sound, comments) + bytes(500),
    }


def _ogg(sound: bytes, comments: list[bytes], padding: int = 0) -> bytes:
    """Return a Vorbis file with other comments."""
    pages = list(_pages(sound))
    serial = pages[0][14:18]
    packets, packet = [], b""
    used = 1  # the page of the identification
    for page in pages[1:]:
        lacing, body = page[27 : 27 + page[26]], page[27 + page[26] :]
        used += 1
        for size in lacing:
            packet, body = packet + body[:size], body[size:]
            if size < 255:
                packets.append(packet)
                packet = b""
        if len(packets) >= 2:  # comments and codebooks; the sound begins on a page of its own
            break
    first = b"\x03vorbis" + _comments(comments) + b"\x01" + bytes(padding)
    made = [pages[0]]
    for data in (first, packets[1]):
        made += _paged(data, serial, len(made))
    rest = [
        _sealed(page[:18] + struct.pack("<I", len(made) + number) + page[22:])
        for number, page in enumerate(pages[used:])
    ]
    return b"".join(made + rest)


def _pages(sound: bytes) -> list[bytes]:
    pages, at = [], 0
    while at < len(sound):
        lacing = sound[at + 27 : at + 27 + sound[at + 26]]
        end = at + 27 + len(lacing) + sum(lacing)
        pages.append(sound[at:end])
        at = end
    return pages


def _paged(packet: bytes, serial: bytes, number: int) -> list[bytes]:
    """Lay a packet into pages of its own, of which the first has this number."""
    lacing = b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    pages = []
    for start in range(0, len(lacing), 255):
        part = lacing[start : start + 255]
        body = packet[start * 255 : start * 255 + sum(part)]
        ends = start + 255 >= len(lacing)
        head = b"OggS\0" + bytes([1 if start else 0]) + (bytes(8) if ends else b"\xff" * 8)
        head += serial + struct.pack("<I", number + len(pages)) + bytes(4) + bytes([len(part)])
        pages.append(_sealed(head + part + body))
    return pages


def _sealed(page: bytes) -> bytes:
    """Put the checksum into a page (RFC 3533, section 6, field 7)."""
    page = page[:22] + bytes(4) + page[26:]
    crc = 0
    for byte in page:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC[crc >> 24 ^ byte]
    return page[:22] + struct.pack("<I", crc) + page[26:]


def _crc(value: int) -> int:
    value <<= 24
    for _ in range(8):
        value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


_CRC = [_crc(value) for value in range(256)]


# --- RIFF and AIFF -------------------------------------------------------------------------------


def _chunk(name: bytes, data: bytes, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(data)) + data + b"\0" * (len(data) % 2)


def _riff(body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _wavs(sound: bytes, odd: bytes) -> dict[str, bytes]:
    def wav(before: bytes, after: bytes, of: bytes = sound) -> bytes:
        at = of.index(b"data")
        size = int.from_bytes(of[at + 4 : at + 8], "little")
        form = _chunk(b"fmt ", of[20 : 20 + int.from_bytes(of[16:20], "little")])
        body = b"WAVE" + form + before + _chunk(b"data", of[at + 8 : at + 8 + size]) + after
        return _riff(body)

    info = _chunk(b"LIST", b"INFO" + _chunk(b"INAM", b"A title\0") + _chunk(b"IGNR", b"By hand\0"))
    latin = _chunk(b"LIST", b"INFO" + _chunk(b"INAM", b"caf\xe9\0"))
    id3 = _chunk(b"id3 ", _TAG)
    bext = _chunk(b"bext", b"a description".ljust(602, b"\0"))
    cue = _chunk(b"cue ", struct.pack("<IIIIIII", 1, 1, 0, 0x61746164, 0, 0, 100))
    notes = _chunk(b"LIST", b"adtl" + _chunk(b"labl", b"\1\0\0\0a cue\0"))
    plain = wav(b"", b"")
    at = plain.index(b"data")
    streamed = plain[:4] + b"\xff" * 4 + plain[8 : at + 4] + b"\xff" * 4 + plain[at + 8 :]
    unpadded = wav(b"", b"", odd)
    unpadded = b"RIFF" + struct.pack("<I", len(unpadded) - 9) + unpadded[8:-1]
    return {
        "INFO in front": wav(info, b""),
        "INFO behind": wav(b"", info),
        "INFO of Windows": wav(b"", latin),
        "ID3 behind": wav(b"", id3),
        "ID3 in front": wav(id3, b""),
        "ID3 in capitals": wav(b"", b"ID3 " + id3[4:]),
        "INFO and ID3": wav(info, id3),
        "two ID3 chunks": wav(id3, id3),
        "bext, cue and labels": wav(bext, cue + notes),
        "JUNK before the format": _riff(b"WAVE" + _chunk(b"JUNK", bytes(28)) + plain[12:]),
        "sizes too small": plain[:12] + _chunk(b"JUNK", bytes(28)) + plain[12:],
        "odd sound and ID3": wav(b"", id3, odd),
        "odd sound, not padded": unpadded,
        "an odd chunk": wav(_chunk(b"note", b"odd"), id3),
        "sizes of a stream": streamed,
        "text behind": plain + b"not a chunk",
        "ID3 in front of the file": _TAG + plain,
        "ID3v1 behind": plain + id3v1(17),
    }


def _aiffs(sound: bytes, odd: bytes) -> dict[str, bytes]:
    def aiff(before: bytes, after: bytes, of: bytes = sound) -> bytes:
        kept, at = b"", 12
        while at + 8 <= len(of):
            size = int.from_bytes(of[at + 4 : at + 8], "big")
            if of[at : at + 4] in (b"COMM", b"SSND"):
                kept += before if of[at : at + 4] == b"SSND" else b""
                kept += _chunk(of[at : at + 4], of[at + 8 : at + 8 + size], ">")
            at += 8 + size + size % 2
        body = of[8:12] + kept + after
        return b"FORM" + struct.pack(">I", len(body)) + body

    id3 = _chunk(b"ID3 ", _TAG, ">")
    name = _chunk(b"NAME", b"A title", ">") + _chunk(b"AUTH", b"Somebody", ">")
    marks = _chunk(b"MARK", struct.pack(">HHIB", 1, 1, 100, 3) + b"cue", ">")
    return {
        "no tags": aiff(b"", b""),
        "ID3 behind": aiff(b"", id3),
        "ID3 in front": aiff(id3, b""),
        "names and marks": aiff(name, marks),
        "names and ID3": aiff(name, id3),
        "odd sound and ID3": aiff(b"", id3, odd),
        "an application's chunk": aiff(_chunk(b"APPL", b"stocodd", ">"), b""),
    }


# --- MP4 (ISO/IEC 14496-12) ----------------------------------------------------------------------


def _mp4s(first: bytes, last: bytes) -> dict[str, bytes]:
    """`first` has its index before the samples, `last` behind."""
    free = struct.pack(">I", 5008) + b"free" + bytes(5000)
    at = last.index(b"mdat") - 4
    size = int.from_bytes(last[at : at + 4], "big")
    # A header of 64 bits takes the place of the empty `free` atom that ffmpeg puts before.
    assert last[at - 8 : at] == b"\0\0\0\x08free"
    large = last[: at - 8] + b"\0\0\0\1mdat" + struct.pack(">Q", size + 8) + last[at + 8 :]
    return {
        "free space at the end": first + free,
        "free space behind the index": last + free,
        "sizes of 64 bits": large,
        "the last atom to the end": _to_the_end(first),
        "an atom of its own at the end": last + struct.pack(">I", 24) + b"uuid" + bytes(16),
        "no user data": _without_udta(last),
    }  # fmt: skip


def _to_the_end(first: bytes) -> bytes:
    at = first.index(b"mdat") - 4
    size = int.from_bytes(first[at : at + 4], "big")
    assert at + size == len(first)
    return first[:at] + bytes(4) + first[at + 4 :]


def _without_udta(last: bytes) -> bytes:
    moov = last.index(b"moov") - 4
    at = last.find(b"udta", moov) - 4
    if at < 0:
        return last
    size = int.from_bytes(last[at : at + 4], "big")
    whole = int.from_bytes(last[moov : moov + 4], "big")
    return last[:moov] + struct.pack(">I", whole - size) + last[moov + 4 : at] + last[at + size :]

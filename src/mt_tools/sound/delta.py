"""The difference between two files with the same sound: what makes the old one out of the new one.

Goal: an undo that restores every byte and costs a journal hardly more than the tags that went.

A delta is a list of copies out of the new file, and everything else of the old one. Copied is the
payload (`sound.payload`), as far as it is the same at the same place of the sound; everything else
is compressed with what surrounds the payload in the new file as its dictionary, so that a picture
that stays costs nothing. The places are written out: applying a delta does not depend on how a
payload is found. Any two files have a delta; where the sound differs it is as long as that sound.

Layout: `MTD1`, the length of the first part as 8 bytes (little-endian), two Zstandard frames. The
first holds numbers as LEB128: how many spans of the new file are the dictionary, each as (bytes
since the last one's end, length); how many copies, each as (bytes of the rest before it, length,
distance from the last copy's end to its begin in the new file, zigzag). The second holds the rest.

Sources: Zstandard (RFC 8878); LEB128 and zigzag as in Protocol Buffers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from mt_tools.errors import RowError
from mt_tools.sound.payload import Span, payload, read_spans, side_by_side

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC = b"MTD1"
_LENGTH = 8  # bytes
_BLOCK = 1 << 16
_DICTIONARY = 1 << 26  # 64 MiB of tags: more is not looked at
_Dictionary = tuple[zstd.ZstdDict, int] | None
_LEVEL = 9
_WINDOWS = range(10, 28)  # what every decoder takes, as powers of two


class _Copy(NamedTuple):
    """Bytes that both files have, and where they begin."""

    old: int
    new: int
    length: int


def delta(old: BinaryIO, new: BinaryIO) -> bytes:
    """Return what `undelta` needs to write `old` when it has `new`; both are seekable.

    The payloads are never held in memory as a whole, what surrounds them is.
    """
    old_spans, new_spans = payload(old), payload(new)
    copies = sorted(_copies(old, old_spans, new, new_spans))
    around = _limited(_gaps(new_spans, new.seek(0, os.SEEK_END)))
    rest = _gaps([(copy.old, copy.old + copy.length) for copy in copies], old.seek(0, os.SEEK_END))
    places = zstd.compress(_varints(_places(around, copies)))
    pieces = [_MAGIC, len(places).to_bytes(_LENGTH, "little"), places]
    packer = _packer(_length(rest), _length(around), _dictionary(new, around))
    pieces.extend(packer.compress(block) for block in read_spans(old, rest))
    pieces.append(packer.flush())
    return b"".join(pieces)


def undelta(data: bytes, new: BinaryIO, old: BinaryIO) -> None:
    """Write the old file to `old`, out of its delta and the new file.

    Raises `RowError` of the kind `damaged` for data that is no delta or was made for another file,
    where that shows. That the result is the old file is for the caller to verify by its digest.
    """
    try:
        _apply(data, new, old)
    except (zstd.ZstdError, EOFError) as error:
        raise RowError(
            f"what the journal holds of the old file is damaged ({error}); take a copy of the "
            "journal that is whole, or the file from a backup",
            "damaged",
        ) from error


def _apply(data: bytes, new: BinaryIO, old: BinaryIO) -> None:
    if not data.startswith(_MAGIC):
        raise EOFError(f"it begins with {data[:4]!r}")
    begin = len(_MAGIC) + _LENGTH
    after = begin + int.from_bytes(data[len(_MAGIC) : begin], "little")
    around, copies = _read_places(_numbers(zstd.decompress(data[begin:after])))
    size = new.seek(0, os.SEEK_END)
    spans = [*around, *((copy.new, copy.new + copy.length) for copy in copies)]
    if any(begin < 0 or end > size for begin, end in spans):
        raise EOFError("it points outside of the file")
    rest = _Rest(data[after:], _dictionary(new, around))
    position = 0
    for copy in copies:
        rest.write(old, copy.old - position)
        for block in read_spans(new, [(copy.new, copy.new + copy.length)]):
            old.write(block)
        position = copy.old + copy.length
    rest.write(old, None)


class _Rest:
    """What is not copied, unpacked as it is asked for."""

    def __init__(self, packed: bytes, dictionary: _Dictionary) -> None:
        self._packed = packed
        self._unpacker = zstd.ZstdDecompressor(zstd_dict=dictionary)

    def write(self, file: BinaryIO, length: int | None) -> None:
        """Write the next `length` bytes, or all that are left."""
        while length is None or length > 0:
            if self._unpacker.eof:
                if length is None:
                    return
                raise EOFError("it ends early")
            wanted = _BLOCK if length is None else min(length, _BLOCK)
            block = self._unpacker.decompress(self._packed, max_length=wanted)
            if not block and not self._packed and self._unpacker.needs_input:
                raise EOFError("it ends early")
            self._packed = b""  # the unpacker keeps what it has not used
            file.write(block)
            length = None if length is None else length - len(block)


# --- what both files have ------------------------------------------------------------------------


def _copies(
    old: BinaryIO, old_spans: list[Span], new: BinaryIO, new_spans: list[Span]
) -> Iterator[_Copy]:
    """Yield the pieces of the payload that are the same at the same place of the sound."""
    last = _Copy(0, 0, 0)
    for here, there, length in side_by_side(old_spans, new_spans):
        old.seek(here)
        new.seek(there)
        if old.read(length) != new.read(length):
            continue
        if (last.old + last.length, last.new + last.length) == (here, there):
            last = last._replace(length=last.length + length)
            continue
        if last.length:
            yield last
        last = _Copy(here, there, length)
    if last.length:
        yield last


def _gaps(spans: Iterable[Span], size: int) -> list[Span]:
    """Return what lies between the spans, in a file of so many bytes."""
    gaps, position = [], 0
    for begin, end in sorted(spans):
        if position < begin:
            gaps.append((position, begin))
        position = end
    return [*gaps, (position, size)] if position < size else gaps


def _limited(spans: list[Span]) -> list[Span]:
    """Return the first spans, as many as a dictionary may hold."""
    kept, left = [], _DICTIONARY
    for begin, end in spans:
        if left == 0:
            break
        kept.append((begin, min(end, begin + left)))
        left -= kept[-1][1] - begin
    return kept


def _length(spans: list[Span]) -> int:
    return sum(end - begin for begin, end in spans)


def _packer(size: int, known: int, dictionary: _Dictionary) -> zstd.ZstdCompressor:
    """Return a compressor for so many bytes that are like so many known ones."""
    window = min(max((size + known).bit_length(), _WINDOWS[0]), _WINDOWS[-1])
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {
        parameter.compression_level: _LEVEL,
        # A plain search forgets all but the last megabyte of a dictionary.
        parameter.enable_long_distance_matching: 1,
        parameter.window_log: window,
    }
    packer = zstd.ZstdCompressor(options=options, zstd_dict=dictionary)
    packer.set_pledged_input_size(size)  # else it makes room for much more
    return packer


def _dictionary(new: BinaryIO, around: list[Span]) -> _Dictionary:
    content = b"".join(read_spans(new, around))
    # Zstandard knows no shorter one.
    return zstd.ZstdDict(content, is_raw=True).as_prefix if len(content) >= 8 else None


# --- numbers -------------------------------------------------------------------------------------


def _places(around: list[Span], copies: list[_Copy]) -> Iterator[int]:
    yield len(around)
    position = 0
    for begin, end in around:
        yield begin - position
        yield end - begin
        position = end
    yield len(copies)
    position = there = 0
    for copy in copies:
        yield copy.old - position
        yield copy.length
        distance = copy.new - there
        yield distance * 2 if distance >= 0 else -distance * 2 - 1
        position, there = copy.old + copy.length, copy.new + copy.length


def _read_places(numbers: Iterator[int]) -> tuple[list[Span], list[_Copy]]:
    def take() -> int:
        number = next(numbers, None)
        if number is None:
            raise EOFError("it ends early")
        return number

    around, position = [], 0
    for _ in range(take()):
        begin = position + take()
        position = begin + take()
        around.append((begin, position))
    copies, position, there = [], 0, 0
    for _ in range(take()):
        old = position + take()
        length = take()
        distance = take()
        new = there + (-(distance + 1) // 2 if distance & 1 else distance // 2)
        copies.append(_Copy(old, new, length))
        position, there = old + length, new + length
    return around, copies


def _varints(numbers: Iterable[int]) -> bytes:
    written = bytearray()
    for number in numbers:
        while number >= 128:
            written.append(number & 127 | 128)
            number >>= 7
        written.append(number)
    return bytes(written)


def _numbers(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0

"""Vorbis comments, in FLAC and in Ogg (Vorbis, Opus, FLAC, Speex).

Comments are kept as bytes: those that are no UTF-8, or no `NAME=text`, stay as they are. A name
keeps the spelling that it has in the file.

Sources: Vorbis I (section 5), FLAC (RFC 9639, section 8), Ogg (RFC 3533), Opus in Ogg (RFC 7845,
section 5.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from mutagen.ogg import OggPage
from mutagen.ogg import error as OggError

from mt_tools.sound.fields import field_name
from mt_tools.sound.retag.names import Name, Store, broken, unite, unwritable
from mt_tools.sound.retag.splice import Edit, splice
from mt_tools.sound.retag.stream import Around

_VENDOR = b"mt-tools"
_LARGEST_BLOCK = (1 << 24) - 1


class Comments:
    """The comments of a stream, in order, and what follows them (padding, a framing bit)."""

    def __init__(self, data: bytes | None = None) -> None:
        self.vendor, self.comments, self.rest = _VENDOR, list[bytes](), b""
        if data is None:
            return
        at = 0

        def number() -> int:
            nonlocal at
            at += 4
            if at > len(data):
                raise broken("Vorbis comments that end too early")
            return int.from_bytes(data[at - 4 : at], "little")

        def text() -> bytes:
            nonlocal at
            size = number()
            at += size
            if at > len(data):
                raise broken("Vorbis comments that end too early")
            return data[at - size : at]

        self.vendor = text()
        self.comments = [text() for _ in range(number())]
        self.rest = data[at:]

    def render(self) -> bytes:
        """Return the comments without what follows them."""
        texts = [self.vendor, *self.comments]
        sized = [len(text).to_bytes(4, "little") + text for text in texts]
        return sized[0] + len(self.comments).to_bytes(4, "little") + b"".join(sized[1:])

    def values(self, name: Name) -> list[str]:
        """Return the values of a field, from every comment that means it."""
        return unite(
            [text]
            for key, text in map(_split, self.comments)
            if text and field_name(key) == name.common
        )

    def put(self, name: Name, values: Sequence[str], *, add: bool) -> None:
        """Give a field these values under every name that means it."""
        wanted = name.native.xiph or name.label
        groups: dict[str, tuple[str, list[str]]] = {}  # spelling and values by lower-case name
        for comment in self.comments:
            key, text = _split(comment)
            if key and field_name(key) == name.common:
                groups.setdefault(key.lower(), (key, []))[1].append(text)
        missing = add and bool(values) and wanted.lower() not in groups
        if missing and not (wanted.isascii() and "=" not in wanted and "~" not in wanted):
            raise unwritable(name, "names of Vorbis comments are ASCII without '=' and '~'")
        kept: list[bytes] = []
        written: set[str] = set()
        for comment in self.comments:
            key = _split(comment)[0].lower()
            spelling, texts = groups.get(key, ("", values))
            if list(texts) == list(values):
                kept.append(comment)
            elif key not in written:  # all where the first was
                kept += [f"{spelling}={value}".encode() for value in values]
                written.add(key)
        self.comments = kept
        if missing:
            self.comments += [f"{wanted}={value}".encode() for value in values]

    def settled(self, name: Name, values: Sequence[str]) -> list[str]:
        """Return values as they are held: as they are."""
        return list(values)


def _split(comment: bytes) -> tuple[str, str]:
    """Return name and text of a comment; no name where it has none."""
    key, equals, text = comment.partition(b"=")
    return (key.decode("latin-1"), text.decode("utf-8", "replace")) if equals else ("", "")


# --- FLAC ----------------------------------------------------------------------------------------


class Flac(Around):
    """The comments of a FLAC file, and ID3 tags around it if there are any."""

    def __init__(self, file: BinaryIO, id3: str) -> None:
        super().__init__(file, "", id3)
        self.blocks = list(self._walk(file))
        self.place = [block for block in self.blocks if block[0] == 4]
        if len(self.place) > 1:
            raise broken("two blocks of Vorbis comments, of which one is allowed")
        data = None
        if self.place:
            _, start, end = self.place[0]
            file.seek(start)
            data = file.read(end - start)
        self.comments = Comments(data)
        self.before = self.comments.render()
        self.stores = [self.comments, *self.stores]

    def edits(self) -> list[Edit]:
        """Return what has to be changed: padding gives and takes while there is some."""
        edits = super().edits()
        content = self.comments.render()
        if content == self.before:
            return edits
        content += self.comments.rest
        if len(content) > _LARGEST_BLOCK:
            raise broken(f"Vorbis comments of {len(content)} bytes, 16 MB are the most")
        if self.place:
            _, start, end = self.place[0]
            edits.append((start - 3, end, len(content).to_bytes(3, "big") + content))
            grown = len(content) - (end - start)
        else:
            _, start, end = self.blocks[0]  # STREAMINFO, the first by the standard
            last = len(self.blocks) == 1
            edits.append((start - 4, start - 3, b"\0"))
            edits.append(
                (end, end, bytes([4 | last << 7]) + len(content).to_bytes(3, "big") + content)
            )
            grown = len(content) + 4
        for kind, start, end in self.blocks:
            room = end - start - grown
            if kind == 1 and 0 <= room <= _LARGEST_BLOCK:
                edits.append((start - 3, end, room.to_bytes(3, "big") + bytes(room)))
                break
        return edits

    def _walk(self, file: BinaryIO) -> Iterator[tuple[int, int, int]]:
        """Yield each metadata block: its kind, where its content begins and ends."""
        position = self.start + 4
        while True:
            file.seek(position)
            header = file.read(4)
            after = position + 4 + int.from_bytes(header[1:], "big")
            if len(header) < 4 or after > self.size:
                raise broken("FLAC metadata that end too early")
            yield header[0] & 0x7F, position + 4, after
            position = after
            if header[0] & 0x80:  # the last one
                return


# --- Ogg -----------------------------------------------------------------------------------------

# What the first packet of a stream begins with, and the one that holds the comments.
_STREAMS = {b"\x01vorbis": b"\x03vorbis", b"OpusHead": b"OpusTags", b"\x7fFLAC": b"\x04",
            b"Speex   ": b""}  # fmt: skip
_PAGES = (4096, 8160, 16320, 32640, 61200)  # sizes to try: with as many pages as before none moves


class Ogg:
    """The comments of the first stream of sound in an Ogg file."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        try:
            self.head, self.pages = self._find(file)
            packet, *self.others = OggPage.to_packets(self.pages)
        except (OggError, EOFError, LookupError, ValueError):
            raise broken("an Ogg file without the comments of a stream") from None
        if self.head == b"\x04":  # FLAC: a block with its header
            self.head, packet = packet[:1], packet[4:]
            self.flac = True
        else:
            if not packet.startswith(self.head):
                raise broken("an Ogg file whose second packet holds no comments")
            packet, self.flac = packet[len(self.head) :], False
        self.comments = Comments(packet)
        self.before = self.comments.render()
        self.stores: list[Store] = [self.comments]

    def settled(self, name: Name, values: Sequence[str]) -> list[str]:
        """Return values as they are held: as they are."""
        return list(values)

    def save(self, file: BinaryIO) -> None:
        """Write the comments, and number the pages behind them anew where there are more."""
        content = self.comments.render()
        if content == self.before:
            return
        packets = [self.head + self._sized(content) + self._rest(content), *self.others]
        start, end = self.pages[0].offset, self.pages[-1].offset + self.pages[-1].size
        if end - start != sum(page.size for page in self.pages):
            raise broken("an Ogg file whose comments lie between pages of another stream")
        first = self.pages[0]
        made = [OggPage.from_packets(packets, first.sequence, size) for size in _PAGES]
        pages: list[Any] = min(made, key=lambda pages: abs(len(pages) - len(self.pages)))
        for page in pages:
            page.serial = first.serial
        pages[0].continued = first.continued
        pages[-1].last, pages[-1].complete = self.pages[-1].last, self.pages[-1].complete
        ends_none = not pages[-1].complete and len(pages[-1].packets) == 1
        pages[-1].position = -1 if ends_none else self.pages[-1].position
        data = b"".join(page.write() for page in pages)
        splice(file, [(start, end, data)])
        if len(pages) != len(self.pages):
            self._renumber(file, start + len(data), len(pages) - len(self.pages))

    def _find(self, file: BinaryIO) -> tuple[bytes, list[Any]]:
        """Return how the packet with the comments begins, and the pages that it is on."""
        heads: dict[int, bytes] = {}
        pages: list[Any] = []
        serial = None
        while not (pages and (pages[-1].complete or len(pages[-1].packets) > 1)):
            page: Any = OggPage(file)
            if page.first and page.packets:
                for start, head in _STREAMS.items():
                    if page.packets[0].startswith(start):
                        heads[page.serial] = head
            elif page.serial in heads and serial in (None, page.serial):
                serial = page.serial
                pages.append(page)
        return heads[pages[0].serial], pages

    def _sized(self, content: bytes) -> bytes:
        """Return the comments with the size that FLAC puts before them."""
        if not self.flac:
            return content
        size = len(content) + len(self.comments.rest)
        if size > _LARGEST_BLOCK:
            raise broken(f"Vorbis comments of {size} bytes, 16 MB are the most")
        return size.to_bytes(3, "big") + content

    def _rest(self, content: bytes) -> bytes:
        """Return what follows the comments; zeros there are padding, which gives and takes."""
        rest, grown = self.comments.rest, len(content) - len(self.before)
        framing = rest[: self.head == b"\x03vorbis"]
        padding = len(rest) - len(framing)
        if self.flac or rest[len(framing) :].strip(b"\0") or not padding >= max(grown, 1):
            return rest
        return framing + bytes(padding - grown)

    def _renumber(self, file: BinaryIO, position: int, by: int) -> None:
        """Add to the numbers of the pages to the end of the stream; others may lie between."""
        file.seek(position)
        while True:
            try:
                page: Any = OggPage(file)
            except EOFError:
                return
            except OggError:
                raise broken("an Ogg file with something between its pages") from None
            if page.serial != self.pages[0].serial:
                continue
            page.sequence += by
            file.seek(page.offset)
            file.write(page.write())
            if page.last:
                return

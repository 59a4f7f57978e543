"""Tags around a stream that has none inside: ID3v2 in front, APEv2 and ID3v1 behind.

MP3 and True Audio are tagged by ID3v2; Monkey's Audio, WavPack and Musepack by APEv2. Where a file
has tags of another kind beside those, what they say of a field is changed with it, so that no two
programs read different things; a field that they lack is added to APEv2 that has the title of the
song. New ID3v2 tags begin with what stood in those alone, which many programs then no longer read.

Sources: ID3v2 (id3.org), the specification of APEv2 and Lyrics3 v2.00.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import mutagen.id3

from mt_tools.sound.fields import field_name
from mt_tools.sound.mpeg import end_of_tags
from mt_tools.sound.retag.id3 import Frame, Id3, Tag, parse, synchsafe_number
from mt_tools.sound.retag.names import WRITTEN, Name, Store, broken, parse_name, unite, unwritable
from mt_tools.sound.retag.splice import Edit, splice
from mt_tools.sound.retag.versions import converted, new_version

_ID3V1 = 128
_APE = 32  # bytes of an APEv2 header, and of its footer
_LYRICS = len(b"000000LYRICS200")
_COUNTED = {b"track": b"TRCK", b"disc": b"TPOS"}
_APE_KEYS = ("id3", "tag", "oggs", "mp+")  # which would be taken for something else


# --- ID3v1 ---------------------------------------------------------------------------------------

# The text fields of ID3v1: where they begin and end.
_SLOTS = {"title": (3, 33), "artist": (33, 63), "album": (63, 93), "date": (93, 97),
          "comment": (97, 127)}  # fmt: skip


class Id3v1:
    """The 128 bytes at the end of a file: texts cut to 30 letters, a genre by number."""

    def __init__(self, raw: bytes) -> None:
        self.raw = bytearray(raw)

    def values(self, name: Name) -> list[str]:
        """Return the value of a field, cut as it is."""
        if name.common == "genre":
            genres = mutagen.id3.TCON.GENRES
            return genres[self.raw[127] : self.raw[127] + 1]
        start, end = self._slot(name)
        text = bytes(self.raw[start:end]).partition(b"\0")[0].decode("latin-1").strip()
        return [text] if text else []

    def put(self, name: Name, values: Sequence[str], *, add: bool) -> None:
        """Change a field to what fits in of the first value."""
        if name.common == "genre":
            known = {genre.lower(): number for number, genre in enumerate(mutagen.id3.TCON.GENRES)}
            fitting = [known[value.lower()] for value in values if value.lower() in known]
            self.raw[127] = fitting[0] if fitting else 255
        elif name.common in _SLOTS:
            start, end = self._slot(name)
            text = "".join(values[:1]).encode("latin-1", "replace")
            self.raw[start:end] = text[: end - start].ljust(end - start, b"\0")

    def _slot(self, name: Name) -> tuple[int, int]:
        start, end = _SLOTS.get(name.common, (0, 0))
        if name.common == "comment" and self.raw[125] == 0 and self.raw[126]:
            end = 125  # ID3v1.1: the number of the track
        return start, end

    def frames(self) -> list[Any]:
        """Return what it says as frames of ID3v2.4."""
        return list((mutagen.id3.ParseID3v1(bytes(self.raw)) or {}).values())


# --- APEv2 ---------------------------------------------------------------------------------------


@dataclass
class _Item:
    flags: int
    key: bytes
    value: bytes

    @property
    def called(self) -> str:
        return field_name(self.key.decode("latin-1"))

    @property
    def text(self) -> bool:
        return not self.flags & 6


@dataclass
class Ape:
    """The items of an APEv2 tag, in order."""

    version: int = 2000
    items: list[_Item] = field(default_factory=list)

    @classmethod
    def parse(cls, raw: bytes) -> Ape:
        """Read a whole tag, footer included and header if there is one."""
        footer = raw[-_APE:]
        count = int.from_bytes(footer[16:20], "little")
        at = _APE if raw.startswith(b"APETAGEX") and len(raw) > _APE else 0
        tag = cls(int.from_bytes(footer[8:12], "little"))
        for _ in range(count):
            size, flags = (int.from_bytes(raw[at + n : at + n + 4], "little") for n in (0, 4))
            end_of_key = raw.find(b"\0", at + 8)
            after = end_of_key + 1 + size
            if end_of_key < 0 or after > len(raw) - _APE:
                raise broken("APEv2 tags whose items do not fit into them")
            tag.items.append(_Item(flags, raw[at + 8 : end_of_key], raw[end_of_key + 1 : after]))
            at = after
        if at != len(raw) - _APE:
            raise broken("APEv2 tags with something behind their items")
        return tag

    @property
    def names_the_song(self) -> bool:
        """Whether these are the tags of a song, rather than the volume that a program measured."""
        return any(item.called in ("title", "artist", "album") for item in self.items)

    def render(self) -> bytes:
        """Return the whole tag; nothing where it has no item left."""
        if not self.items:
            return b""
        body = b"".join(
            len(item.value).to_bytes(4, "little") + item.flags.to_bytes(4, "little")
            + item.key + b"\0" + item.value
            for item in self.items
        )  # fmt: skip

        def end(flags: int) -> bytes:
            numbers = (self.version, len(body) + _APE, len(self.items), flags)
            return b"APETAGEX" + b"".join(n.to_bytes(4, "little") for n in numbers) + bytes(8)

        if self.version < 2000:  # APEv1 has no header
            return body + end(0)
        return end(0xA0000000) + body + end(0x80000000)

    def values(self, name: Name) -> list[str]:
        """Return the values of a field, from every item that means it."""
        return unite(self._texts(item) for item in self._found(name))

    def put(self, name: Name, values: Sequence[str], *, add: bool) -> None:
        """Give a field these values in every item that means it."""
        found = self._found(name)
        wanted = name.native.ape or name.label
        keys = {item.key.lower() for item in found}
        if (add or self.names_the_song) and values and wanted.lower().encode() not in keys:
            if not 2 <= len(wanted) <= 255 or not wanted.isascii() or wanted.lower() in _APE_KEYS:
                raise unwritable(name, "APEv2 holds names of 2 to 255 ASCII characters alone")
            found.append(_Item(0, wanted.encode(), b""))
            self.items.append(found[-1])
        if found and self.version < 2000 and not "".join(values).isascii():
            raise unwritable(name, "APEv1 tags hold ASCII alone; bring them to APEv2 first")
        for item in found:
            if self._texts(item) != list(values):
                item.value = "\0".join(values).encode()
        if not values:
            gone = {id(item) for item in found}
            self.items = [item for item in self.items if id(item) not in gone]

    def _found(self, name: Name) -> list[_Item]:
        return [item for item in self.items if item.text and item.called == name.common]

    @staticmethod
    def _texts(item: _Item) -> list[str]:
        return [text for text in item.value.decode("utf-8", "replace").split("\0") if text]


# --- where they are ------------------------------------------------------------------------------


@dataclass
class _Region:
    """A tag in the file: where, and what writes it."""

    start: int
    end: int
    render: Callable[[], bytes]

    def __post_init__(self) -> None:
        self.before = self.render()


class Around:
    """A stream with tags around it, or a container with further tags around (FLAC).

    `main` is the kind of tags that fields are added to: `id3`, `ape`, or "" for neither.
    """

    def __init__(self, file: BinaryIO, main: str, id3: str) -> None:
        self.size = file.seek(0, io.SEEK_END)
        self.regions: list[_Region] = []
        self.id3 = self._in_front(file)
        self.start = self.regions[-1].end if self.regions else 0
        self.apes: list[Ape] = []
        self.old: list[Id3v1] = []
        self.end = self._behind(file)
        if main == "id3" and not self.id3:
            self.id3.append(Id3(_new_tag(new_version(id3), self.old, self.apes)))
            self.regions.append(_Region(0, 0, self.id3[0].render))
        if main == "ape" and not self.apes:
            self.apes.append(Ape())
            at = self.size - _ID3V1 * bool(self.old)
            self.regions.append(_Region(at, at, self.apes[0].render))
        if main == "id3":
            for tag in self.id3:
                tag.tag = converted(tag.tag, id3)
        first: list[Store] = [*self.id3]
        then: list[Store] = [*self.apes]
        self.stores: list[Store] = [*first, *then] if main == "id3" else [*then, *first]
        self.stores += self.old

    def settled(self, name: Name, values: Sequence[str]) -> list[str]:
        """Return values as the tags hold them: as ID3 does, where there is any."""
        for tag in self.id3:
            values = tag.settled(name, values)
        return list(values)

    def edits(self) -> list[Edit]:
        """Return what has to be changed in the file."""
        return [
            (region.start, region.end, region.render())
            for region in self.regions
            if region.render() != region.before
        ]

    def save(self, file: BinaryIO) -> None:
        """Write the tags into the file."""
        splice(file, self.edits())

    def _in_front(self, file: BinaryIO) -> list[Id3]:
        found = []
        position, end = 0, end_of_tags(file)
        if end > self.size:
            raise broken("ID3 tags that are longer than the file")
        while position < end:
            file.seek(position + 6)
            size = synchsafe_number(file.read(4))
            file.seek(position)
            found.append(Id3(parse(file.read(10 + size))))
            self.regions.append(_Region(position, position + 10 + size, found[-1].render))
            position += 10 + size
        return found

    def _behind(self, file: BinaryIO) -> int:
        """Find the tags at the end; return where the first of them begins."""
        end = self.size

        def tail(length: int) -> bytes:
            if end - length < self.start:
                return b""
            file.seek(end - length)
            return file.read(length)

        while True:
            begin = end
            if tail(_ID3V1).startswith(b"TAG") and not tail(_ID3V1 + 3).startswith(b"APE"):
                begin = end - _ID3V1
                old = Id3v1(tail(_ID3V1))
                self.old.append(old)
                self.regions.append(_Region(begin, end, lambda old=old: bytes(old.raw)))  # type: ignore[misc]
            elif (footer := tail(_APE)).startswith(b"APETAGEX"):
                size = int.from_bytes(footer[12:16], "little")
                size += _APE * (footer[23] >> 7)  # the header, which the size leaves out
                raw = tail(max(size, _APE))
                if not raw:
                    raise broken("APEv2 tags that are longer than the file")
                begin = end - len(raw)
                ape = Ape.parse(raw)
                self.apes.append(ape)
                self.regions.append(_Region(begin, end, ape.render))
            elif (lyrics := tail(_LYRICS)).endswith(b"LYRICS200") and lyrics[:6].isdigit():
                begin = max(self.start, end - _LYRICS - int(lyrics[:6]))
            if begin == end:
                return end
            end = begin


def _new_tag(version: int, old: Sequence[Id3v1], apes: Sequence[Ape]) -> Tag:
    """Return a new tag that says what ID3v1 and APEv2 say."""
    tags = mutagen.id3.ID3()
    for frame in [frame for v1 in old for frame in v1.frames()]:
        tags.add(frame)
    if version == 3:
        tags.update_to_v23()
    held = io.BytesIO()
    tags.save(held, v1=0, v2_version=version, padding=lambda info: 0)
    new = Id3(parse(held.getvalue()) if tags else Tag(version))
    new.tag.padding = Tag(version).padding
    for ape in apes:
        for name in map(parse_name, WRITTEN):
            if values := new.settled(name, ape.values(name)):
                new.put(name, values, add=True)
        for item in ape.items:
            if item.text and (frame := _COUNTED.get(item.key.lower())):
                new.tag.frames.append(Frame(frame, 0, b"\0" + item.value))
    return new.tag

"""ID3 tags in a chunk of WAV and AIFF, and the plain texts beside it.

The tags stand in the chunk `id3 ` (WAV) or `ID3 ` (AIFF). The INFO list of a WAV, if it has one,
says the same of the fields that it knows, joined by "; ": many programs, ffmpeg among them, read
nothing else then. So do the text chunks of an AIFF, but for those that it lacks.

Sources: "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, INFO), EBU Tech 3306
(RF64), "Audio Interchange File Format AIFF-C" (Apple, 1991).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from mt_tools.sound.fields import NATIVE, field_name
from mt_tools.sound.retag.id3 import Id3, Tag, parse, synchsafe_number
from mt_tools.sound.retag.names import Name, Store, broken, parts, unite
from mt_tools.sound.retag.splice import Edit, splice
from mt_tools.sound.retag.versions import converted, new_version

_UNKNOWN = (0, 0xFFFFFFFF)  # sizes of files that were streamed, or are told elsewhere (RF64)
_AIFF_NAMES = {b"NAME": "title", b"AUTH": "artist", b"ANNO": "comment"}
_INFO_NAMES = {native.riff.encode() for native in NATIVE.values() if native.riff}


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    start: int  # of its header
    end: int  # of its content

    @property
    def padded(self) -> int:
        return self.end + (self.end - self.start) % 2


class Info:
    """The texts of an INFO list."""

    def __init__(self, data: bytes) -> None:
        self.items: list[tuple[bytes, bytes]] = []
        at = 0
        while at + 8 <= len(data):
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            if at + 8 + size > len(data):
                raise broken("an INFO list whose texts do not fit into it")
            self.items.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
            at += 8 + size + size % 2

    def render(self) -> bytes:
        """Return the content of the list."""
        return b"INFO" + b"".join(
            name + len(text).to_bytes(4, "little") + text + bytes(len(text) % 2)
            for name, text in self.items
        )

    def values(self, name: Name) -> list[str]:
        """Return the values of a field, from every text that means it."""
        return unite(parts(text_of(raw)) for key, raw in self.items if self._means(key, name))

    def put(self, name: Name, values: Sequence[str], *, add: bool) -> None:
        """Give a field these values, if it is one that INFO knows."""
        text = "; ".join(values).encode() + b"\0"
        kept = []
        missing = bool(values and name.native.riff)
        for key, raw in self.items:
            if not self._means(key, name):
                kept.append((key, raw))
            elif values:
                kept.append((key, raw if parts(text_of(raw)) == list(values) else text))
                missing = False
        self.items = kept
        if missing:
            self.items.append((name.native.riff.encode(), text))

    @staticmethod
    def _means(key: bytes, name: Name) -> bool:
        return key in _INFO_NAMES and field_name(key.decode("latin-1")) == name.common


class Text:
    """A chunk of an AIFF that is one text."""

    def __init__(self, name: bytes, data: bytes) -> None:
        self.field, self.data = _AIFF_NAMES[name], data

    def render(self) -> bytes:
        """Return the content of the chunk."""
        return self.data

    def values(self, name: Name) -> list[str]:
        """Return the values of a field, if it is the one that this chunk holds."""
        return parts(text_of(self.data)) if self.field == name.common else []

    def put(self, name: Name, values: Sequence[str], *, add: bool) -> None:
        """Give the field these values, if it is the one that this chunk holds."""
        if self.values(name) and self.values(name) != list(values):
            self.data = "; ".join(values).encode()


def text_of(raw: bytes) -> str:
    """Decode a text of a chunk: UTF-8, else the code page that programs on Windows write."""
    raw = raw.rstrip(b"\0")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


class Chunks:
    """The tags of a WAV (RIFF, RF64) or AIFF file."""

    def __init__(self, file: BinaryIO, id3: str) -> None:
        file.seek(0)
        head = file.read(20)
        self.aiff = head.startswith(b"FORM")
        self.order = "big" if self.aiff or head.startswith(b"RIFX") else "little"
        self.sound = b"SSND" if self.aiff else b"data"
        self.whole = self._number(head[4:8])
        self.total = file.seek(0, io.SEEK_END)
        self.limit = min(8 + self.whole, self.total) if self.whole not in _UNKNOWN else self.total
        self.wide = head[12:16] == b"ds64"  # RF64 tells sizes of 64 bits in a chunk of its own
        self.open = False  # the sound ends with the file, whatever its size says
        self.chunks = list(self._walk(file))
        self.texts = list(self._texts(file))
        self.tags = [
            (chunk, Id3(self._tag(file, chunk)))
            for chunk in self.chunks
            if chunk.name.lower() == b"id3 "
        ]
        if not self.tags:
            at = self._place()
            self.tags = [(_Chunk(b"", at, at), Id3(Tag(new_version(id3))))]
        self.stores: list[Store] = [store for _, store in (*self.tags, *self.texts)]
        self.before = [store.render() for _, store in (*self.tags, *self.texts)]
        for _, tag in self.tags:
            tag.tag = converted(tag.tag, id3)

    def settled(self, name: Name, values: Sequence[str]) -> list[str]:
        """Return values as the ID3 tags hold them."""
        for _, tag in self.tags:
            values = tag.settled(name, values)
        return list(values)

    def save(self, file: BinaryIO) -> None:
        """Write the tags into the file, and the new size of the whole."""
        edits: list[Edit] = []
        for (chunk, store), before in zip((*self.tags, *self.texts), self.before, strict=True):
            content = store.render()
            if content == before:
                continue
            name = chunk.name or (b"ID3 " if self.aiff else b"id3 ")
            new = name + self._bytes(len(content)) + content + bytes(len(content) % 2)
            missing = b"\0" if not chunk.name and self._unpadded(chunk.start) else b""
            edits.append(
                (chunk.start, min(chunk.padded, self.total), missing + new if content else b"")
            )
        grown = sum(len(data) - (end - start) for start, end, data in edits)
        if not edits:
            return
        if self.whole not in _UNKNOWN:
            if not 0 <= self.whole + grown < 0xFFFFFFFF:
                raise broken("a file of 4 GB, which has no room for tags")
            edits.append((4, 8, self._bytes(self.whole + grown)))
        elif self.wide:
            file.seek(20)
            size = int.from_bytes(file.read(8), "little")
            edits.append((20, 28, (size + grown).to_bytes(8, "little")))
        splice(file, edits)

    # --- reading ---------------------------------------------------------------------------------

    def _walk(self, file: BinaryIO) -> Iterator[_Chunk]:
        position, large = 12, 0
        while position + 8 <= self.limit:
            file.seek(position)
            head = file.read(24)
            name, size = head[:4], self._number(head[4:8])
            if name == b"ds64":
                large = int.from_bytes(head[16:24], "little")
            if name == b"data" and size == 0xFFFFFFFF and self.wide:
                size = large
            end = position + 8 + size
            if name == self.sound:
                streamed = size == 0 and self.whole in _UNKNOWN
                self.open = streamed or end > self.total
                if end > self.limit:  # the size of the whole is wrong
                    self.limit = self.total
            elif end > self.limit:
                raise broken(f"a chunk {name!r} that ends behind the file")
            yield _Chunk(name, position, self.total if self.open else end)
            if self.open:
                return
            position = end + size % 2

    def _texts(self, file: BinaryIO) -> Iterator[tuple[_Chunk, Info | Text]]:
        for chunk in self.chunks:
            if self.aiff and chunk.name in _AIFF_NAMES:
                yield chunk, Text(chunk.name, self._content(file, chunk))
            elif chunk.name == b"LIST" and self._content(file, chunk, 4) == b"INFO":
                yield chunk, Info(self._content(file, chunk)[4:])

    def _tag(self, file: BinaryIO, chunk: _Chunk) -> Tag:
        head = self._content(file, chunk, 10)
        size = synchsafe_number(head[6:])
        if not head.startswith(b"ID3") or chunk.start + 18 + size > chunk.end:
            raise broken("a chunk of ID3 tags that holds none")
        return parse(self._content(file, chunk, 10 + size))

    def _content(self, file: BinaryIO, chunk: _Chunk, size: int = -1) -> bytes:
        file.seek(chunk.start + 8)
        whole = chunk.end - chunk.start - 8
        return file.read(whole if size < 0 else min(size, whole))

    def _place(self) -> int:
        """Return where a new chunk goes: to the end, or before sound whose size nobody knows."""
        if not self.chunks:
            raise broken("a file without chunks")
        last = self.chunks[-1]
        return last.start if self.open else min(max(self.limit, last.padded), self.total)

    def _unpadded(self, at: int) -> bool:
        """Whether the sound has an odd size, and the byte that should follow is not there."""
        last = self.chunks[-1]
        return last.padded > self.total and at >= last.end

    # --- numbers ---------------------------------------------------------------------------------

    def _number(self, raw: bytes) -> int:
        return int.from_bytes(raw, self.order)  # type: ignore[arg-type]

    def _bytes(self, number: int) -> bytes:
        return number.to_bytes(4, self.order)  # type: ignore[arg-type]

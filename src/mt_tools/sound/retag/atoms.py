"""The tags of MP4 files (M4A, M4B): the atoms in `moov.udta.meta.ilst`.

The index (`moov`) is changed in memory and written back; where it grows in front of the sound,
every place that it names moves with it: in `stco` and `co64`, in the fragments' `tfhd` and in
`tfra`. Several values are several `data` in an atom; but a comment is one text, joined by "; " as
in ID3, since players show the first.

Sources: ISO/IEC 14496-12 (8.1.2 free, 8.7.5 stco, 8.8.7 tfhd, 8.8.10 tfra), QuickTime File Format
(Apple, "Metadata"), the atoms that iTunes writes as listed by mutagen.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import mutagen.id3

from mt_tools.sound.fields import NATIVE, field_name
from mt_tools.sound.retag.names import Name, Store, broken, parts, unite, whole_number
from mt_tools.sound.retag.splice import Edit, splice

_UTF8, _UTF16, _INTEGER = 1, 2, 21
_PADDING = 1024  # of new tags: room for what programs write next
_FREEFORM = "----:com.apple.iTunes:"
_COMMENT = NATIVE["comment"].mp4
_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mfra"})


@dataclass(frozen=True)
class _Atom:
    name: bytes
    start: int
    content: int
    end: int


def _walk(data: bytes | bytearray, start: int, end: int) -> Iterator[_Atom]:
    """Yield the atoms between two places; `RowError` where they do not fit."""
    while start + 8 <= end:
        size, name = (
            int.from_bytes(data[start : start + 4], "big"),
            bytes(data[start + 4 : start + 8]),
        )
        content = start + 8
        if size == 1:
            size, content = int.from_bytes(data[start + 8 : start + 16], "big"), start + 16
        after = start + size if size else end
        if not content <= after <= end:
            raise broken(f"an atom {name!r} that does not fit into its file")
        yield _Atom(name, start, content, after)
        start = after


def _atom(name: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + name + content


# --- the tags ------------------------------------------------------------------------------------


@dataclass
class _Item:
    """An atom of `ilst`, as it stands; `key` as mutagen and Picard write it."""

    key: str
    name: bytes
    data: bytes

    @property
    def called(self) -> str:
        return "genre" if self.name == b"gnre" else field_name(self.key)

    @property
    def place(self) -> str:
        kind, mean, name = self.key.split(":", 2) if self.name == b"----" else (self.key, "", "")
        return f"{kind}:{mean.lower()}:{name.lower()}"


class Atoms:
    """The items of `ilst`, in order."""

    def __init__(self, data: bytes = b"") -> None:
        self.items = []
        for atom in _walk(data, 0, len(data)):
            content = data[atom.content : atom.end]
            key = atom.name.decode("latin-1")
            if atom.name == b"----":
                said = {part.name: content[part.content + 4 : part.end]
                        for part in _walk(content, 0, len(content))}  # fmt: skip
                names = (
                    said.get(kind, b"").decode("utf-8", "replace") for kind in (b"mean", b"name")
                )
                key = ":".join(["----", *names])
            self.items.append(_Item(key, atom.name, content))

    def render(self) -> bytes:
        """Return the content of `ilst`."""
        return b"".join(_atom(item.name, item.data) for item in self.items)

    def values(self, name: Name) -> list[str]:
        """Return the values of a field, from every atom that means it."""
        return unite(self._texts(item) for item in self.items if item.called == name.common)

    def settled(self, name: Name, values: Sequence[str]) -> list[str]:
        """Return values as the atom of the field holds them."""
        if name.native.mp4 == _COMMENT:
            return unite(parts(value) for value in values)
        if name.native.mp4 == "tmpo":
            return [whole_number(name, value) for value in values]
        return list(values)

    def put(self, name: Name, values: Sequence[str], *, add: bool) -> None:
        """Give a field these values in every atom that means it."""
        typed = name.text if name.text.startswith("----:") else _FREEFORM + name.label
        wanted = name.native.mp4 or typed
        found: dict[str, list[_Item]] = {}
        for item in self.items:
            if item.called == name.common:
                found.setdefault(item.place, []).append(item)
        new = _Item(wanted, wanted[:4].encode("latin-1"), b"")
        gone = {id(item) for items in found.values() for item in items[1 if values else 0 :]}
        if add and values and new.place not in found:
            self.items.append(new)
            found[new.place] = [new]
        for first, *others in found.values():
            if values and (others or self._texts(first) != list(values)):
                if first.name == b"gnre":  # a number, which would have to be one of ID3v1's
                    gone.add(id(first))
                else:
                    first.data = self._packed(name, first, values)
        self.items = [item for item in self.items if id(item) not in gone]

    @staticmethod
    def _texts(item: _Item) -> list[str]:
        texts = []
        for part in _walk(item.data, 0, len(item.data)):
            if part.name != b"data":
                continue
            kind = int.from_bytes(item.data[part.content + 1 : part.content + 4], "big")
            value = item.data[part.content + 8 : part.end]
            if item.name == b"gnre":
                number = int.from_bytes(value, "big") - 1
                genres = mutagen.id3.TCON.GENRES
                texts += [genres[number]] if 0 <= number < len(genres) else []
            elif kind == _INTEGER or item.name == b"tmpo":
                texts.append(str(int.from_bytes(value, "big", signed=True)))
            elif kind in (0, _UTF8, _UTF16):
                texts.append(value.decode("utf-16-be" if kind == _UTF16 else "utf-8", "replace"))
        if item.key == _COMMENT and len(texts) == 1 and ";" in texts[0]:
            return parts(texts[0])
        return [text for text in texts if text]

    @staticmethod
    def _packed(name: Name, item: _Item, values: Sequence[str]) -> bytes:
        def data(kind: int, value: bytes) -> bytes:
            return _atom(b"data", kind.to_bytes(4, "big") + bytes(4) + value)

        if item.name == b"tmpo":
            numbers = [int(whole_number(name, value)) for value in values]
            return b"".join(data(_INTEGER, number.to_bytes(2, "big")) for number in numbers)
        if item.key == _COMMENT:
            return data(_UTF8, "; ".join(values).encode())
        head = b""
        if item.name == b"----":
            _, mean, label = item.key.split(":", 2)
            head = _atom(b"mean", bytes(4) + mean.encode()) + _atom(
                b"name", bytes(4) + label.encode()
            )
        return head + b"".join(data(_UTF8, value.encode()) for value in values)


# --- the file ------------------------------------------------------------------------------------


class Mp4:
    """The tags of an MP4 file, and the index around them."""

    def __init__(self, file: BinaryIO) -> None:
        self.top = list(_top(file))
        found = [at for at, atom in enumerate(self.top) if atom.name == b"moov"]
        if len(found) != 1:
            raise broken(f"an MP4 file with {len(found)} atoms moov, expected one")
        self.at = found[0]
        atom = self.top[self.at]
        file.seek(atom.content)
        self.moov = file.read(atom.end - atom.content)
        self.udta = _child(self.moov, 0, len(self.moov), b"udta")
        self.meta = self.udta and _child(self.moov, self.udta.content, self.udta.end, b"meta")
        self.ilst = None
        if self.meta:
            self.inside = self.meta.content
            if (
                self.moov[self.inside + 4 : self.inside + 8] != b"hdlr"
            ):  # as ISO has it, with a version
                self.inside += 4
            self.ilst = _child(self.moov, self.inside, self.meta.end, b"ilst")
        content = self.moov[self.ilst.content : self.ilst.end] if self.ilst else b""
        self.atoms = Atoms(content)
        self.before = self.atoms.render()
        self.stores: list[Store] = [self.atoms]

    def settled(self, name: Name, values: Sequence[str]) -> list[str]:
        """Return values as the atoms hold them."""
        return self.atoms.settled(name, values)

    def save(self, file: BinaryIO) -> None:
        """Write the index back, in its place if there is room within or behind it."""
        content = self.atoms.render()
        if content == self.before:
            return
        moov = self._index(_atom(b"ilst", content))
        old = self.top[self.at]
        head = old.content - old.start
        start, end = old.start, old.end
        grown = len(moov) + head - (end - start)
        behind = self.top[self.at + 1] if self.at + 1 < len(self.top) else None
        free = b""
        if grown and behind and behind.name in (b"free", b"skip"):
            room = behind.end - behind.start - grown
            if room == 0 or 8 <= room < 1 << 32:
                free = _atom(behind.name, bytes(room - 8)) if room else b""
                end, grown = behind.end, 0
        edits: list[Edit] = []
        if grown:
            moov = self._moved(moov, end, grown)
            edits = list(self._fragments(file, end, grown))
        size = len(moov) + head
        file.seek(start)
        header = file.read(head)
        header = (
            header[:8] + size.to_bytes(8, "big")
            if head == 16
            else size.to_bytes(4, "big") + b"moov"
        )
        splice(file, [*edits, (start, end, header + moov + free)])

    def _index(self, ilst: bytes) -> bytes:
        """Return the content of `moov` with other tags; padding beside them gives and takes."""
        moov = self.moov
        if not self.meta or not self.ilst:
            free = _atom(b"free", bytes(_PADDING))
            handler = _atom(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
            if self.meta:
                return self._put(self.meta.end, self.meta.end, ilst + free, [self.udta, self.meta])
            meta = _atom(b"meta", bytes(4) + handler + ilst + free)
            if self.udta:
                return self._put(self.udta.end, self.udta.end, meta, [self.udta])
            return moov + _atom(b"udta", meta)
        start, end = self.ilst.start, self.ilst.end
        beside = list(_walk(moov, self.inside, self.meta.end))
        grown = len(ilst) - (end - start)
        padding = next(
            (atom for atom in beside if atom.start == end and atom.name == b"free"), None
        )
        if grown and padding:
            room = padding.end - padding.start - grown
            if room == 0 or room >= 8:
                ilst += _atom(b"free", bytes(room - 8)) if room else b""
                end = padding.end
        return self._put(start, end, ilst, [self.udta, self.meta])

    def _put(self, start: int, end: int, data: bytes, parents: Sequence[_Atom | None]) -> bytes:
        moov = bytearray(self.moov)
        grown = len(data) - (end - start)
        for parent in parents:
            if parent:
                size = parent.end - parent.start + grown
                wide = parent.content - parent.start == 16
                at = parent.start + 8 * wide
                moov[at : at + 4 + 4 * wide] = size.to_bytes(4 + 4 * wide, "big")
        moov[start:end] = data
        return bytes(moov)

    @staticmethod
    def _moved(moov: bytes, end: int, grown: int) -> bytes:
        """Move the places in the index that lie behind it."""
        changed = bytearray(moov)
        for atom in _deep(moov, 0, len(moov)):
            if atom.name not in (b"stco", b"co64"):
                continue
            width = 4 if atom.name == b"stco" else 8
            count = int.from_bytes(moov[atom.content + 4 : atom.content + 8], "big")
            first = atom.content + 8
            if first + count * width > atom.end:
                raise broken("an MP4 file whose index is cut short")
            for at in range(first, first + count * width, width):
                place = int.from_bytes(moov[at : at + width], "big")
                if place >= end:
                    if place + grown >= 1 << 8 * width:
                        raise broken("an MP4 file of 4 GB whose index has no room for that")
                    changed[at : at + width] = (place + grown).to_bytes(width, "big")
        return bytes(changed)

    def _fragments(self, file: BinaryIO, end: int, grown: int) -> Iterator[Edit]:
        """Yield the changed places of fragments behind the index."""
        for atom in self.top:
            if atom.name not in (b"moof", b"mfra"):
                continue
            file.seek(atom.content)
            data = file.read(atom.end - atom.content)
            for inner in _deep(data, 0, len(data)):
                for at, width in _places(data, inner):
                    place = int.from_bytes(data[at : at + width], "big")
                    if place >= end:
                        where = atom.content + at
                        yield where, where + width, (place + grown).to_bytes(width, "big")


def _places(data: bytes, atom: _Atom) -> Iterator[tuple[int, int]]:
    """Yield where an atom of a fragment names a place in the file, and in how many bytes."""
    flags = int.from_bytes(data[atom.content + 1 : atom.content + 4], "big")
    if atom.name == b"tfhd" and flags & 1:
        yield atom.content + 8, 8
    if atom.name == b"tfra":
        wide = data[atom.content] == 1
        sizes = data[atom.content + 11]
        entry = (16 if wide else 8) + sum((sizes >> shift & 3) + 1 for shift in (4, 2, 0))
        count = int.from_bytes(data[atom.content + 12 : atom.content + 16], "big")
        for number in range(count):
            width = 8 if wide else 4
            yield atom.content + 16 + number * entry + width, width


def _deep(data: bytes, start: int, end: int) -> Iterator[_Atom]:
    for atom in _walk(data, start, end):
        yield atom
        if atom.name in _CONTAINERS:
            yield from _deep(data, atom.content, atom.end)


def _child(data: bytes, start: int, end: int, name: bytes) -> _Atom | None:
    return next((atom for atom in _walk(data, start, end) if atom.name == name), None)


def _top(file: BinaryIO) -> Iterator[_Atom]:
    """Yield the atoms at the top of the file, whose content may be larger than memory."""
    position, end = 0, file.seek(0, io.SEEK_END)
    while position + 8 <= end:
        file.seek(position)
        header = file.read(16)
        atom = next(_walk(header + bytes(8), 0, 1 << 63)) if len(header) >= 8 else None
        if atom is None:
            return
        size = atom.end if int.from_bytes(header[:4], "big") else end - position
        if position + size > end:
            raise broken(f"an atom {atom.name!r} that ends behind the file")
        yield _Atom(atom.name, position, position + atom.content, position + size)
        position += size

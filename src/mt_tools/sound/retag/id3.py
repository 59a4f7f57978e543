"""ID3v2.2, 2.3 and 2.4: text frames replaced, every other one left as it is to the byte.

mutagen reads frames into objects and writes those: it drops what it does not know when the version
changes, merges frames, sorts them, and changes 2.2 to a later version. Here a tag is a list of
frames of which only those of a field are looked into.

Several values are texts separated by NUL in 2.4. In 2.3 and 2.2, where a text ends at NUL, they are
joined by "; ", which a reader splits or shows; so they are in comments of any version, each of
which is one text (ID3v2.4.0 frames, 4.10): of two the players of DJs would show the first.

Sources: ID3v2.2.0, ID3v2.3.0, ID3v2.4.0 structure and frames (id3.org).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from zlib import decompress
from zlib import error as ZlibError

import mutagen.id3

from mt_tools.sound.fields import field_name
from mt_tools.sound.retag.names import (
    Name,
    broken,
    joined,
    parts,
    unite,
    unwritable,
    whole_number,
)

_HEADER = 10
_PADDING = 1024  # of new tags: room for what programs write next
_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}
_NAME = {2: re.compile(rb"[A-Z0-9]{3}"), 3: re.compile(rb"[A-Z0-9]{3}[A-Z0-9 \0]"),
         4: re.compile(rb"[A-Z0-9]{3}[A-Z0-9 \0]")}  # fmt: skip
_OLD_NAMES = {name: frame.__mro__[1].__name__ for name, frame in mutagen.id3.Frames_2_2.items()}
_SHORT_NAMES = {name: short for short, name in _OLD_NAMES.items()}
_TIME = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d)(?::(\d\d))?)?)?)?")


@dataclass
class Frame:
    """A frame as it stands: name and flags as written, content perhaps compressed."""

    name: bytes
    flags: int
    data: bytes

    @property
    def id(self) -> str:
        """The name that the frame has in ID3v2.3 and 2.4."""
        text = self.name.decode("latin-1").rstrip("\0 ")
        return _OLD_NAMES.get(text, text) if len(text) == 3 else text


@dataclass
class Tag:
    """The frames of a tag, in order, and how many bytes of padding follow them."""

    version: int
    flags: int = 0
    padding: int = _PADDING
    frames: list[Frame] = field(default_factory=list)
    length: int = 0  # of the frames as they were read

    def __post_init__(self) -> None:
        self.length = self.length or len(self.body())

    def body(self) -> bytes:
        """Return the frames as they are written, without unsynchronisation."""
        return b"".join(_framed(frame, self.version) for frame in self.frames)

    def render(self) -> bytes:
        """Return the whole tag; nothing where it has no frame left.

        Padding gives and takes: the tag keeps its length while that goes.
        """
        if not self.frames:
            return b""
        body = self.body()
        grown = len(body) - self.length
        padding = self.padding - grown if self.padding >= max(grown, 1) else self.padding
        body += bytes(padding)
        unsynchronised = self.flags & 0x80 and self.version < 4
        if unsynchronised:
            body = re.sub(rb"\xff(?=[\xe0-\xff\0]|\Z)", b"\xff\0", body)
        if len(body) >= 1 << 28:
            raise broken(f"ID3 tags of {len(body)} bytes, 256 MB are the most")
        return b"ID3" + bytes([self.version, 0, self.flags]) + _synchsafe(len(body)) + body


def parse(raw: bytes) -> Tag:
    """Read a whole tag, header included; `RowError` where its frames do not fit into it."""
    version, flags = raw[3], raw[5]
    if version not in (2, 3, 4):
        raise broken(f"ID3 tags of version 2.{version}")
    if flags & {2: 0x40, 3: 0, 4: 0x10}[version]:
        raise broken("ID3 tags with a footer, or compressed as a whole")
    body = raw[_HEADER:]
    if version < 4 and flags & 0x80:
        body = body.replace(b"\xff\0", b"\xff")
    if flags & 0x40:
        body = _without_extended_header(body, version)
    # iTunes wrote sizes of 2.4 as plain numbers.
    for plain in (False, True) if version == 4 else (True,):
        frames, end = _frames(body, version, plain)
        if not body[end:].strip(b"\0"):
            return Tag(version, flags & 0xA0, len(body) - end, frames, end)
    raise broken("ID3 tags whose frames do not fit into them")


def _frames(body: bytes, version: int, plain: bool) -> tuple[list[Frame], int]:
    """Return the frames and where they end: at padding, or at what is no frame."""
    frames, at, name, head = [], 0, 4 - (version == 2), 6 if version == 2 else 10
    while _NAME[version].fullmatch(called := body[at : at + name]) and at + head <= len(body):
        sizes = body[at + name : at + 2 * name]
        if not plain and max(sizes) > 0x7F:
            break
        shift = 8 if plain else 7
        size = 0
        for byte in sizes:
            size = size << shift | byte
        after = at + head + size
        if after > len(body):
            break
        flags = int.from_bytes(body[at + 8 : at + 10], "big") if head == 10 else 0
        frames.append(Frame(called, flags, body[at + head : after]))
        at = after
    return frames, at


def _without_extended_header(body: bytes, version: int) -> bytes:
    """Leave out the extended header, whose checksum would be wrong after a change."""
    if _NAME[version].fullmatch(body[:4]):  # announced, and absent
        return body
    size = int.from_bytes(body[:4], "big") + 4 if version == 3 else synchsafe_number(body[:4])
    if not 6 <= size <= len(body):
        raise broken("ID3 tags with a broken extended header")
    return body[size:]


def _framed(frame: Frame, version: int) -> bytes:
    size = len(frame.data)
    if version == 2:
        return frame.name + size.to_bytes(3, "big") + frame.data
    sizes = _synchsafe(size) if version == 4 else size.to_bytes(4, "big")
    return frame.name + sizes + frame.flags.to_bytes(2, "big") + frame.data


def _synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def synchsafe_number(raw: bytes) -> int:
    """Return the number that bytes of seven bits each stand for (ID3v2.4, section 6.2)."""
    number = 0
    for byte in raw:
        number = number << 7 | byte & 0x7F
    return number


# --- text frames ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where a field stands in a tag: a kind of frame, and the description of those that have one.

    `description` is compared without case; `language` is of comments.
    """

    id: str
    description: str = ""
    language: bytes = b"eng"

    @property
    def key(self) -> tuple[str, str]:
        return self.id, self.description.lower()

    @property
    def called(self) -> str:
        """The common name of the field."""
        if self.id == "TXXX":
            return field_name(self.description or "TXXX")
        if self.id == "COMM" and self.description:
            return f"comm:{self.description.lower()}"
        return field_name(self.id)


class Id3:
    """The text fields of a tag."""

    def __init__(self, tag: Tag) -> None:
        self.tag = tag

    def render(self) -> bytes:
        """Return the whole tag."""
        return self.tag.render()

    def values(self, name: Name) -> list[str]:
        """Return the values of a field, from every frame that means it."""
        return unite(
            self._values(frame, place)
            for frame, place in self._places()
            if place.called == name.common
        )

    def settled(self, name: Name, values: Sequence[str]) -> list[str]:
        """Return values as the frame of the field holds them."""
        place = self._native(name).id
        if place == "COMM":
            return unite(parts(value) for value in values)
        if place == "TBPM":
            there = self.values(name)  # perhaps with a fraction, by programs that write those
            return [value if value in there else whole_number(name, value) for value in values]
        if place == "TYER" and values:
            year, month, day, hour, minute = _dated(values[0])
            time = f" {hour}:{minute or '00'}" if hour else ""
            return [f"{year}-{month}-{day}{time}" if day else year]
        return list(values)

    def put(self, name: Name, values: Sequence[str], *, add: bool) -> None:
        """Give a field these values in every frame that means it."""
        found: dict[tuple[str, str], tuple[Frame, _Place]] = {}
        superfluous = []
        doubled = set()
        for frame, place in self._places():
            if place.called != name.common:
                continue
            if found.setdefault(place.key, (frame, place))[0] is not frame:
                superfluous.append(frame)
                doubled.add(place.key)
        wanted = self._native(name)
        if add and values and wanted.key not in found:
            new = Frame(self._written(wanted.id), 0, b"")
            self.tag.frames.append(new)
            found[wanted.key] = new, wanted
        for frame, place in found.values():
            if not values:
                superfluous.append(frame)
            elif place.key in doubled or self._values(frame, place) != list(values):
                frame.flags, frame.data = 0, self._encoded(name, place, values)
        gone = {id(frame) for frame in superfluous}
        if found and any(place.id == "TYER" for _, place in found.values()):
            gone |= {id(frame) for frame in self.tag.frames if frame.id in ("TDAT", "TIME")}
            self.tag.frames[len(self.tag.frames) :] = self._day_and_time(values)
        self.tag.frames = [frame for frame in self.tag.frames if id(frame) not in gone]

    def _native(self, name: Name) -> _Place:
        """Return where a field is written that the tag does not have yet."""
        if name.common.startswith("comm:") and not name.free:
            return _Place("COMM", name.text[len("comm:") :])
        frame = name.native.id3
        if self.tag.version < 4 and frame in ("TMOO", "TDRC"):  # new in 2.4
            frame = "TYER" if frame == "TDRC" else ""
        if self.tag.version == 2 and frame not in _SHORT_NAMES:
            frame = ""
        return _Place(frame) if frame else _Place("TXXX", _label(name))

    def _written(self, name: str) -> bytes:
        return (_SHORT_NAMES[name] if self.tag.version == 2 else name).encode()

    def _places(self) -> Iterator[tuple[Frame, _Place]]:
        for frame in self.tag.frames:
            kind = frame.id
            if kind == "TXXX":
                texts = self.texts(frame)
                yield frame, _Place(kind, texts[0] if texts else "")
            elif kind == "COMM":
                texts = self.texts(frame)
                yield frame, _Place(kind, texts[0] if texts else "", self.content(frame)[1:4])
            elif kind.startswith("T") or kind == "GRP1":
                yield frame, _Place(kind)

    def _values(self, frame: Frame, place: _Place) -> list[str]:
        texts = self.texts(frame)[place.id in ("TXXX", "COMM") :]
        texts = list(filter(None, texts))
        if self._joins(place) and len(texts) == 1:
            texts = parts(texts[0]) if ";" in texts[0] else texts
        if place.id == "TCON":  # numbers of ID3v1's genres, "(17)"
            return list(mutagen.id3.TCON(encoding=3, text=texts).genres)
        if place.id == "TYER":
            return [self._date(year) for year in texts]
        return texts

    def _joins(self, place: _Place) -> bool:
        """Whether several values are one text there."""
        return self.tag.version < 4 or place.id == "COMM"

    def content(self, frame: Frame) -> bytes:
        """Return what a frame holds once the changes that its flags name are undone."""
        data, flags, version = frame.data, frame.flags, self.tag.version
        if version == 2:
            return data
        compressed, encrypted, grouped = (8, 4, 0x40) if version == 4 else (0x80, 0x40, 0x20)
        if flags & encrypted:
            raise broken(f"ID3 tags with an encrypted {frame.id}")
        try:
            if version == 3:
                data = data[4 * bool(flags & compressed) + bool(flags & grouped) :]
            else:
                data = data[bool(flags & grouped) + 4 * (flags & 1) :]
                if flags & 2 or self.tag.flags & 0x80:
                    data = data.replace(b"\xff\0", b"\xff")
            return decompress(data) if flags & compressed else data
        except ZlibError:
            raise broken(f"ID3 tags with a {frame.id} that cannot be unpacked") from None

    def texts(self, frame: Frame) -> list[str]:
        """Return all texts of a frame, the description of TXXX and COMM first."""
        data = self.content(frame)
        if not data or data[0] not in _ENCODINGS:
            return []
        encoding = data[0]
        raw = data[4:] if frame.id == "COMM" else data[1:]
        if encoding in (1, 2):
            raw = raw[: len(raw) // 2 * 2]
        texts = raw.decode(_ENCODINGS[encoding], "replace").split("\0")
        return [text.lstrip("\ufeff") for text in texts]

    def _encoded(self, name: Name, place: _Place, values: Sequence[str]) -> bytes:
        if place.id == "TYER":
            texts = [date[:4] for date in values]
        elif place.id == "TCON":
            texts = list(values)
            if self.tag.version < 4:
                texts = ["(" + text if text.startswith("(") else text for text in texts]
            if list(mutagen.id3.TCON(encoding=3, text=texts).genres) != list(values):
                raise unwritable(
                    name, f"{'; '.join(values)[:40]!r} means other genres in ID3 (by number)"
                )
        else:
            texts = list(values)
        if self._joins(place):
            texts = [joined(name, texts)]
        described = [place.description] if place.id in ("TXXX", "COMM") else []
        whole = "\0".join([*described, *texts])
        language = place.language if place.id == "COMM" else b""
        if self.tag.version == 4:
            return b"\x03" + language + whole.encode()
        if whole.isascii():
            return b"\x00" + language + whole.encode()
        # Each text begins with its own byte order mark.
        marked = whole.replace("\0", "\0\ufeff") if described else whole
        return b"\x01" + language + b"\xff\xfe" + marked.encode("utf-16-le")

    def _date(self, year: str) -> str:
        """Put a year, a day (DDMM) and a time (HHMM) of ID3v2.3 together."""
        said = {
            frame.id: "".join(self.texts(frame))
            for frame in self.tag.frames
            if frame.id in ("TDAT", "TIME")
        }
        day, time = said.get("TDAT", ""), said.get("TIME", "")
        if not re.fullmatch(r"\d{4}", year) or not re.fullmatch(r"\d{4}", day):
            return year
        date = f"{year}-{day[2:]}-{day[:2]}"
        return f"{date} {time[:2]}:{time[2:]}" if re.fullmatch(r"\d{4}", time) else date

    def _day_and_time(self, values: Sequence[str]) -> list[Frame]:
        _, month, day, hour, minute = _dated(values[0]) if values else [""] * 5
        frames = []
        if month and day:
            frames.append(Frame(self._written("TDAT"), 0, f"\0{day}{month}".encode()))
            if hour:
                time = f"\0{hour}{minute or '00'}".encode()
                frames.append(Frame(self._written("TIME"), 0, time))
        return frames


def _dated(text: str) -> list[str]:
    """Return year, month, day, hour and minute of a date; "" for what it does not say."""
    found = _TIME.match(text)
    return [part or "" for part in found.groups()] if found else [text, "", "", "", ""]


def _label(name: Name) -> str:
    return name.label if name.free or not name.native.xiph else name.native.xiph

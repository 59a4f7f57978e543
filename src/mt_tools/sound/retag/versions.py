"""ID3 tags brought from one version to another, frame by frame, so that none is lost.

Dates, moods and people have other frames in 2.3 than in 2.4, and several genres another text; every
other frame keeps its name, and goes through mutagen alone, since its content may be packed in
another way. A frame that the other version does not define stays too: programs pass over it, or
read it all the same (TSOP).
"""

from __future__ import annotations

import io

import mutagen
import mutagen.id3

from mt_tools.sound.retag.id3 import Frame, Id3, Tag, parse
from mt_tools.sound.retag.names import broken, parse_name

_VERSIONS = {"2.3": 3, "2.4": 4}
_DATES = ("TYER", "TDAT", "TIME", "TDRC")
_ORIGINAL = {3: "TORY", 4: "TDOR"}  # the year of the first release
_PEOPLE = {3: ("IPLS",), 4: ("TIPL", "TMCL")}  # who did what; instruments apart in 2.4


def new_version(asked: str) -> int:
    """Return the version of new tags, where `keep`, `2.3` or `2.4` is asked for."""
    return _VERSIONS.get(asked, 4)


def converted(tag: Tag, asked: str) -> Tag:
    """Return the tag in the version that is asked for; `RowError` where a frame would be lost."""
    version = _VERSIONS.get(asked, tag.version)
    if version == tag.version:
        return tag
    new = Tag(version, padding=tag.padding, length=tag.length)
    moved = (*_DATES, *_PEOPLE[3], *_PEOPLE[4], "TMOO", "TCON")
    for frame in tag.frames:
        if frame.id not in moved:
            new.frames += _repacked(tag, frame, version)
    new.frames += _people(tag, version)
    for name in map(parse_name, ("date", "mood", "genre")):
        native = [frame for frame in tag.frames if frame.id in ("TMOO", "TCON", *_DATES)]
        values = Id3(Tag(tag.version, tag.flags, frames=native)).values(name)
        Id3(new).put(name, Id3(new).settled(name, values), add=True)
    return new


def _repacked(tag: Tag, frame: Frame, version: int) -> list[Frame]:
    """Return a frame as the version packs it: the same text, in an encoding that it has."""
    frame_id = frame.id
    if frame_id in _ORIGINAL.values():
        year = "".join(Id3(tag).texts(frame)[:1])[: 4 if version == 3 else None]
        return [Frame(_ORIGINAL[version].encode(), 0, b"\0" + year.encode("latin-1", "replace"))]
    found = _through_mutagen(tag, frame, version)
    if found:
        return found
    if tag.version == 2:
        raise broken(f"ID3v2.2 tags with a frame {frame_id} that later versions do not have")
    return [Frame(frame.name, 0, Id3(tag).content(frame))]


def _people(tag: Tag, version: int) -> list[Frame]:
    people: list[list[str]] = []
    for frame in tag.frames:
        if frame.id in (*_PEOPLE[3], *_PEOPLE[4]):
            texts = Id3(tag).texts(frame)
            people += [list(pair) for pair in zip(texts[::2], texts[1::2], strict=False)]
    if not people:
        return []
    made = mutagen.id3.TIPL(encoding=3, people=people)
    return _saved(made, version, _PEOPLE[version][0])


def _through_mutagen(tag: Tag, frame: Frame, version: int) -> list[Frame]:
    alone = Tag(tag.version, tag.flags & 0x80, padding=0, frames=[frame])
    try:
        tags = mutagen.id3.ID3(io.BytesIO(alone.render()), translate=False)
    except mutagen.MutagenError:
        return []
    return [made for one in tags.values() for made in _saved(one, version, one.FrameID)]


def _saved(frame: mutagen.id3.Frame, version: int, name: str) -> list[Frame]:
    tags, held = mutagen.id3.ID3(), io.BytesIO()
    tags.add(frame)
    tags.save(held, v1=0, v2_version=version, v23_sep="; ", padding=lambda info: 0)
    frames = parse(held.getvalue()).frames
    for made in frames:
        made.name = name.encode()
    return frames

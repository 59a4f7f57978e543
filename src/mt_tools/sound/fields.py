"""The text fields of tags, by one name in every format.

Goal: a label is found under the name that a person gives it, wherever a program stored it: `energy`
is ID3's `TXXX:ENERGY`, Vorbis' and APEv2's `ENERGY=`, MP4's `----:com.apple.iTunes:ENERGY`, ASF's
`Energy`. A field with a meaning of its own in a format (`TBPM`, `tmpo`, `WM/BeatsPerMinute`) has
the name that Vorbis comments give it (`bpm`), and wins over a free one that is called alike.

Conventions: names are in lower case. Text is NFC-normalised and stripped; what is empty is no
value. A field has all its values in the order of the file: several comments (Vorbis), items (MP4,
ASF) or texts separated by NUL (ID3v2.4, APEv2). What one text joins by `/` or `;` (ID3v2.3) stays
joined here. Pictures and other bytes are left out.

Sources: ID3v2.2 to 2.4 (id3.org), the field names that Xiph recommends for Vorbis comments, the
"Tag Mapping" of MusicBrainz Picard for MP4, APEv2 and ASF, and Microsoft's "Multimedia Programming
Interface and Data Specifications 1.0" for RIFF's INFO.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

import mutagen.apev2
import mutagen.asf
import mutagen.id3
import mutagen.mp4

Fields = dict[str, list[str]]
"""Every text field of a file with all its values, by name."""


class Native(NamedTuple):
    """What each format calls a field; "" where it has no name of its own for it.

    `id3` is ID3v2.4's. A freeform atom of MP4 is written `----:MEAN:NAME`.
    """

    id3: str = ""
    mp4: str = ""
    asf: str = ""
    riff: str = ""
    xiph: str = ""
    ape: str = ""


_ITUNES = "----:com.apple.iTunes:"
NATIVE = {
    "title": Native("TIT2", "©nam", "Title", "INAM", "TITLE", "Title"),
    "artist": Native("TPE1", "©ART", "Author", "IART", "ARTIST", "Artist"),
    "albumartist": Native("TPE2", "aART", "WM/AlbumArtist", "", "ALBUMARTIST", "Album Artist"),
    "album": Native("TALB", "©alb", "WM/AlbumTitle", "IPRD", "ALBUM", "Album"),
    "genre": Native("TCON", "©gen", "WM/Genre", "IGNR", "GENRE", "Genre"),
    "mood": Native("TMOO", _ITUNES + "MOOD", "WM/Mood", "", "MOOD", "Mood"),
    "date": Native("TDRC", "©day", "WM/Year", "ICRD", "DATE", "Year"),
    "bpm": Native("TBPM", "tmpo", "WM/BeatsPerMinute", "", "BPM", "BPM"),
    # INITIALKEY is what Rekordbox, Serato, Traktor, Mp3tag and beets read; Picard has KEY.
    "key": Native("TKEY", _ITUNES + "initialkey", "WM/InitialKey", "", "INITIALKEY", "INITIALKEY"),
    "comment": Native("COMM", "©cmt", "Description", "ICMT", "COMMENT", "Comment"),
    "grouping": Native("TIT1", "©grp", "WM/ContentGroupDescription", "", "GROUPING", "Grouping"),
    "composer": Native("TCOM", "©wrt", "WM/Composer", "", "COMPOSER", "Composer"),
    "remixer": Native("TPE4", _ITUNES + "REMIXER", "WM/ModifiedBy", "", "REMIXER", "Remixer"),
    "label": Native("TPUB", _ITUNES + "LABEL", "WM/Publisher", "", "LABEL", "Label"),
    "language": Native("TLAN", _ITUNES + "LANGUAGE", "WM/Language", "", "LANGUAGE", "Language"),
    "isrc": Native("TSRC", _ITUNES + "ISRC", "", "", "ISRC", "ISRC"),
    "lyrics": Native("USLT", "©lyr", "WM/Lyrics", "", "LYRICS", "Lyrics"),
    "tracknumber": Native("TRCK", "trkn", "", "ITRK", "TRACKNUMBER", "Tracknumber"),
    "discnumber": Native("TPOS", "disk", "", "", "DISCNUMBER", "Discnumber"),
    "rating": Native("POPM", "", "WM/SharedUserRating", "", "RATING", "Rating"),
    "playcount": Native("PCNT"),
}
"""The fields that formats have places for, by their common names."""

# Other names for the same.
_SYNONYMS = {
    **{"tyer": "date", "grp1": "grouping"},  # ID3v2.3, iTunes
    **{"year": "date", "album artist": "albumartist", "tempo": "bpm"},
    **{"initial key": "key", "organization": "label", "publisher": "label"},  # APEv2, Vorbis
}
_ASF_COMMENT = "Description"  # which means something else in Vorbis comments
_NAMES = _SYNONYMS | {
    place.lower(): name
    for name, native in NATIVE.items()
    for place in native
    if place and place != _ASF_COMMENT
}
PICTURES = frozenset({"metadata_block_picture", "coverart", "covr", "wm/picture"})

_ID3_READ = (
    mutagen.id3.TextFrame,
    mutagen.id3.PairedTextFrame,
    mutagen.id3.UrlFrame,
    mutagen.id3.USLT,
    mutagen.id3.POPM,
    mutagen.id3.PCNT,
)
ID3_FRAMES = {
    name: frame
    for name, frame in {**mutagen.id3.Frames, **mutagen.id3.Frames_2_2}.items()
    if issubclass(frame, _ID3_READ)
}
"""The frames that are read here, for mutagen: it need not parse pictures and cue points."""

Named = Iterable[tuple[str, Iterable[Any], bool]]
"""Fields by the format's own name; the last says whether their meaning is the format's, too."""


def field_name(text: str) -> str:
    """Return the name under which a field is found, whatever format's name for it is typed.

    >>> field_name("TXXX:ENERGY"), field_name("TBPM"), field_name("----:com.apple.iTunes:Energy")
    ('energy', 'bpm', 'energy')
    """
    name = text.strip().lower()
    if name.startswith("----:"):
        name = name.split(":", 2)[-1]
    name = name.removeprefix("txxx:").removeprefix("wxxx:")
    return _NAMES.get(name, name)


def fields_of(*sources: Named) -> Fields:
    """Return the fields by their common names, sorted; a later source wins over an earlier one."""
    found: Fields = {}
    for source in sources:
        free: Fields = {}
        own: Fields = {}
        for name, values, meant in source:
            called = field_name(name)
            if called in PICTURES:
                continue
            texts = [_clean(part) for value in values for part in _text(value).split("\0")]
            fields = own if meant else free
            if texts := list(filter(None, texts)):
                fields[called] = list(dict.fromkeys([*fields.get(called, []), *texts]))
        found |= free | own
    return dict(sorted(found.items()))  # mutagen gives Vorbis comments in the order of a set


def named(tags: Any) -> Named:
    """Yield every text field that mutagen read, whatever the format; None has none."""
    if tags is None:
        return
    if isinstance(tags, mutagen.id3.ID3):
        yield from _id3(tags)
        return
    for name in dict.fromkeys(tags.keys()):
        value = tags[name]
        if isinstance(value, mutagen.apev2.APETextValue):
            value = list(value)
        elif isinstance(value, str | int | float) or not isinstance(value, list | tuple):
            value = [value]
        # Names of Vorbis and APEv2 are free: `bpm` means more than `tempo`, which only becomes it.
        reserved = isinstance(tags, mutagen.mp4.MP4Tags) or name.startswith("WM/")
        meant = not name.startswith("----:") and (reserved or field_name(name) == name.lower())
        if isinstance(tags, mutagen.asf.ASFTags) and name == _ASF_COMMENT:
            name, meant = "comment", True
        yield name, [item for item in value if _is_text(item)], meant


def riff_info(file: BinaryIO) -> Named:
    """Yield the texts of the INFO list of a WAV file."""
    end = file.seek(0, 2)
    position = 12
    while position + 8 <= end:
        file.seek(position)
        head = file.read(12)
        size = int.from_bytes(head[4:8], "little")
        if head[:4] == b"LIST" and head[8:] == b"INFO":
            yield from _info(file.read(min(size - 4, end - position)))
        position += 8 + size + size % 2


def _info(data: bytes) -> Named:
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        raw = data[position + 8 : position + 8 + size]
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:  # programs on Windows write its code page
            text = raw.decode("cp1252", "replace")
        yield data[position : position + 4].decode("latin-1"), [text], True
        position += 8 + size + size % 2


def _id3(tags: mutagen.id3.ID3) -> Named:
    frame: Any  # mutagen declares none of what frames hold
    for frame in tags.values():
        name = frame.FrameID
        if name in ("TXXX", "WXXX"):
            values = frame.text if name == "TXXX" else [frame.url]
            yield frame.desc or name, values, False
        elif name == "TCON":
            yield name, frame.genres, True  # resolves ID3v1's numbers, "(17)"
        elif name == "COMM":
            yield f"comm:{frame.desc}" if frame.desc else name, frame.text, not frame.desc
        elif name in ("TIPL", "TMCL"):
            for role, person in frame.people:
                yield f"{name}:{role}", [person], True
        elif hasattr(frame, "url"):
            yield name, [frame.url], True
        elif name == "USLT":
            yield name, [frame.text], True
        elif name == "POPM" and frame.rating:  # 0 is unknown
            yield name, [frame.rating], True
        elif name == "PCNT":
            yield name, [frame.count], True
        elif isinstance(frame, mutagen.id3.TextFrame):
            yield name, [*frame], True


def _is_text(value: Any) -> bool:
    """Whether a value is text, a number, or a pair of numbers: MP4 counts "1 of 12"."""
    if isinstance(value, tuple):
        return True
    if isinstance(value, mutagen.apev2.APEBinaryValue | mutagen.mp4.MP4Cover):
        return False
    return type(value).__name__ not in ("ASFByteArrayAttribute", "ASFGUIDAttribute")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, tuple):
        return "/".join(str(number) for number in value if number)
    return str(value)


def _clean(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()

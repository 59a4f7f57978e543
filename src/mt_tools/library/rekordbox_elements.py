"""The elements of Rekordbox's XML: tracks with their My Tags, and folders of playlists.

Source: as `write_rekordbox`. What is not known of a track is left out; several values of a field
are one text, parted by semicolons.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from urllib.parse import quote_from_bytes
from xml.sax.saxutils import escape

from mt_tools.library.listing import Listed, Listing
from mt_tools.library.rekordbox import MYTAGS, SEPARATOR, mytags

PRODUCT = "mt-tools"
"""The product that wrote a file, and the folder of playlists inside one of Rekordbox."""

_KINDS = {"aif": "AIFF", "aiff": "AIFF", "wave": "WAV", "mp4": "M4A", "m4b": "M4A"}
_PLAIN = {
    "Composer": "composer", "Album": "album", "Grouping": "grouping", "Genre": "genre",
    "Remixer": "remixer", "Tonality": "key", "Label": "label", "Mix": "mix",
}  # fmt: skip
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENTITIES = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


def whole(listing: Listing) -> Iterator[bytes]:
    """Yield a library that holds a listing and nothing else, piece by piece."""
    yield b'<?xml version="1.0" encoding="UTF-8"?>\n<DJ_PLAYLISTS Version="1.0.0">\n'
    product = {"Name": PRODUCT, "Version": version("mt-tools"), "Company": ""}
    yield _element("PRODUCT", product, 1)
    yield _element("COLLECTION", {"Entries": str(len(listing))}, 1, open_=True)
    for number, track in enumerate(listing):
        yield track_element(track, str(number + 1))
    yield b"  </COLLECTION>\n  <PLAYLISTS>\n"
    yield _element("NODE", {"Type": "0", "Name": "ROOT", "Count": "1"}, 2, open_=True)
    yield from tag_playlists(listing, {n: str(n + 1) for n in range(len(listing))}, [])
    yield b"    </NODE>\n  </PLAYLISTS>\n</DJ_PLAYLISTS>\n"


def track_element(track: Listed, id_: str) -> bytes:
    """Return the element of a track; what is not known of it is left out."""
    ending = os.path.splitext(track.path)[1][1:].lower()
    values = {
        "TrackID": id_,
        "Name": track.text("title") or os.path.splitext(os.path.basename(track.path))[0],
        "Artist": _joined(track, "artist"),
        **{name: _joined(track, own) for name, own in _PLAIN.items()},
        "Kind": f"{_KINDS.get(ending, ending.upper())} File",
        "Size": str(track.size or ""),
        "TotalTime": "" if track.length is None else str(round(track.length)),
        "DiscNumber": _number(track.text("discnumber")),
        "TrackNumber": _number(track.text("tracknumber")),
        "Year": _number(track.text("date")),
        "AverageBpm": _tempo(track.text("bpm")),
        "SampleRate": str(track.sample_rate or ""),
        "Comments": with_mytags(track.text("comment"), track.tags),
        "Location": location(track.path),
    }
    kept = {name: value for name, value in values.items() if value or name in ("Name", "Artist")}
    return _element("TRACK", kept, 2)


def _joined(track: Listed, name: str) -> str:
    return "; ".join(track.fields.get(name, []))


def _number(text: str) -> str:
    """Return the whole number that a text begins with, "3/12" as 3."""
    found = re.match(r"\d{1,9}", text)
    return str(int(found[0]) or "") if found else ""


def _tempo(text: str) -> str:
    try:
        return f"{float(text):.2f}" if 0 < float(text) < 1000 else ""
    except ValueError:
        return ""


def location(path: str) -> str:
    """Return the address of a file, given by its absolute path.

    >>> location("/music/Fire & Ice #1.mp3")
    'file://localhost/music/Fire%20%26%20Ice%20%231.mp3'
    """
    return "file://localhost" + quote_from_bytes(os.fsencode(path))


def with_mytags(comment: str, tags: Sequence[str]) -> str:
    """Return a comment with these My Tags beside those that it has.

    >>> with_mytags("great /* Peak */", ["peak", "Vocal"]), with_mytags("", ["Vocal", "a / b"])
    ('great /* Peak / Vocal */', '/* Vocal / a/b */')
    """
    known = {tag.casefold() for tag in mytags(comment)}
    new: dict[str, str] = {}
    for tag in tags:
        text = _mytag(tag)
        if text and text.casefold() not in known:
            new.setdefault(text.casefold(), text)
    if not new:
        return comment
    blocks = list(MYTAGS.finditer(comment))
    if not blocks:
        return f"{comment.rstrip()} /* {SEPARATOR.join(new.values())} */".lstrip()
    begin, end = blocks[-1].span()
    inside = SEPARATOR.join(filter(None, [blocks[-1][1].strip(), *new.values()]))
    return f"{comment[:begin]}/* {inside} */{comment[end:]}"


def _mytag(tag: str) -> str:
    """Return a tag without what parts or ends the list in a comment."""
    text = " ".join(tag.split()).replace("*/", "* /")
    while SEPARATOR in text:
        text = text.replace(SEPARATOR, "/")
    return text


def tag_playlists(listing: Listing, ids: dict[int, str], kept: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the folder of our playlists, `kept` being what is in it beside those of the tasks."""
    tasks = [(task, playlists) for task, playlists in listing.playlists() if playlists]
    count = str(len(tasks) + len(kept))
    yield _element("NODE", {"Type": "0", "Name": PRODUCT, "Count": count}, 3, open_=True)
    for raw in kept:
        yield b"        " + raw + b"\n"
    for task, playlists in tasks:
        said = {"Type": "0", "Name": task, "Count": str(len(playlists))}
        yield _element("NODE", said, 4, open_=True)
        for tag, tracks in playlists:
            keys = [ids[number] for number in tracks if ids[number]]
            said = {"Name": tag, "Type": "1", "KeyType": "0", "Entries": str(len(keys))}
            yield _element("NODE", said, 5, open_=True)
            yield from (_element("TRACK", {"Key": key}, 6) for key in keys)
            yield b"          </NODE>\n"
        yield b"        </NODE>\n"
    yield b"      </NODE>\n"


def _element(name: str, attributes: dict[str, str], depth: int, open_: bool = False) -> bytes:
    said = "".join(f' {key}="{value_text(value)}"' for key, value in attributes.items())
    return f"{'  ' * depth}<{name}{said}{'' if open_ else '/'}>\n".encode()


def value_text(text: str) -> str:
    """Return a text as it stands between the quotes of an attribute."""
    return escape(_NO_XML.sub("\ufffd", text), _ENTITIES)

"""What a library says of a track, whichever program keeps it.

Conventions: fields are named as `sound.fields` names those inside files (`title`, `artist`,
`genre`, `date`, `bpm`, `key`, `comment`, ...), so that one name finds a label in either; `stars` is
a rating from 1 to 5, `playlists` are the names of playlists, with those of their folders before a
slash. A field without a value is left out.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

Fields = dict[str, list[str]]

COLUMN = "mt.library"
"""The column in which the fields of a track are on their way to the stage that reads its file."""


@dataclass(frozen=True)
class Entry:
    """A track of a library.

    `path` is as `open` takes it, or an address such as `https://...`, or None where the library has
    no file of the track, which is then called `name`.
    """

    path: str | None
    name: str
    fields: Fields


@dataclass(frozen=True)
class Library:
    """An opened library: its tracks, read anew by each call of `entries`.

    `kind` is what people call it; `columns` are the fields that become columns beside the usual
    ones, in the words of `--tag`. `leads` says whether its fields win over those inside the files:
    a program in which tracks are labelled knows better, a playlist repeats what it found.
    """

    kind: str
    path: str
    columns: tuple[str, ...]
    leads: bool
    entries: Callable[[], Iterator[Entry]]


def united(libraries: Iterable[Library]) -> Iterator[tuple[Entry, bool]]:
    """Yield the tracks of several libraries, each path once, and whether their fields lead.

    A single library is read as it goes; of several all tracks are held in memory. A track is in the
    playlists of all; of its other fields those of the first library count, of any that leads before
    any that does not.
    """
    libraries = list(libraries)
    if len(libraries) == 1:
        seen: set[str] = set()
        for entry in libraries[0].entries():
            if entry.path is None or entry.path not in seen:
                yield entry, libraries[0].leads
            if entry.path is not None:
                seen.add(entry.path)
        return
    known: dict[tuple[str, str | None], tuple[Entry, bool]] = {}
    for library in libraries:
        for entry in library.entries():
            # Without a path it is another track in every library.
            key = (entry.name if entry.path is None else "", entry.path or library.path)
            old = known.get(key)
            new = (entry, library.leads)
            known[key] = new if old is None else _merged(*old, *new)
    yield from known.values()


def _merged(one: Entry, one_leads: bool, other: Entry, other_leads: bool) -> tuple[Entry, bool]:
    first, second = (other, one) if other_leads and not one_leads else (one, other)
    fields = {**second.fields, **first.fields}
    if names := [*one.fields.get("playlists", []), *other.fields.get("playlists", [])]:
        fields["playlists"] = list(dict.fromkeys(names))
    return dataclasses.replace(one, fields=fields), one_leads or other_leads


def to_text(entry: Entry, leads: bool) -> str:
    """Return what a library says of a track as one text."""
    return json.dumps([leads, entry.fields], ensure_ascii=False, sort_keys=True)


def from_text(text: str) -> tuple[bool, Fields]:
    """Return whether the fields of a library lead, and the fields."""
    leads, fields = json.loads(text)
    return leads, fields


def fields_from(values: Mapping[str, str | Iterable[str] | None]) -> Fields:
    """Return fields of texts or lists of them: NFC, stripped, without what is empty."""
    fields = {}
    for name, value in values.items():
        texts = [value] if isinstance(value, str) else value or []
        clean = (unicodedata.normalize("NFC", text).strip() for text in texts)
        if kept := list(dict.fromkeys(filter(None, clean))):
            fields[name] = kept
    return fields


def positive(text: str | None) -> str | None:
    """Return the text of a number above zero: libraries write 0 for what they do not know."""
    try:
        return text if text and float(text) > 0 else None
    except ValueError:
        return text


def stars(text: str | None, top: int) -> str | None:
    """Return a rating out of `top` as stars from 1 to 5; None where there is none.

    >>> stars("204", 255), stars("0", 255)
    ('4', None)
    """
    if not text or not text.isdigit() or int(text) == 0:
        return None
    return f"{int(text) / top * 5:g}"


def local_path(location: str) -> str:
    """Return the path of a `file:` URI; anything else is returned as it is.

    `file://localhost/C:/x.mp3` is `C:/x.mp3`; bytes that are no UTF-8 become surrogates, as in
    `os.fsdecode`. Source: RFC 8089.
    """
    if location[:5].lower() != "file:":
        return location
    rest = location[5:]
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        local = host.lower() in ("", "localhost")
        rest = "/" + rest.lstrip("/") if local else f"//{host}{slash}{rest}"
    path = os.fsdecode(unquote_to_bytes(os.fsencode(rest)))
    return path[1:] if re.match(r"/[A-Za-z]:(/|$)", path) else path


def is_address(path: str) -> bool:
    """Say whether a path is an address on the net, such as a stream's."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path) is not None

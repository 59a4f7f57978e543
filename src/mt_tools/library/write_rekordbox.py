"""Rekordbox's XML, written: tags as My Tags inside comments, and playlists a tag.

Rekordbox shows such a file beside its own library (Preferences, Advanced, rekordbox xml) and
imports tracks and playlists from there. A file that is not there yet, or was made here, is written
whole. One that Rekordbox exported is added to: My Tags to the comments of its tracks, tracks that
it lacks, and the folder `mt-tools` of playlists, in which the folders of this run's tasks are
replaced; every other byte stays as it is. The XML has no place for My Tags but the comment, where
Rekordbox itself writes them as `/* Peak / Vocal */`; none is ever taken away.
Source: "rekordbox xml format list", AlphaTheta, for elements, attributes and their units.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from mt_tools.errors import BrokenTable, RunError, UsageError
from mt_tools.library.entries import local_path
from mt_tools.library.listing import Listing
from mt_tools.library.markup import placed_elements
from mt_tools.library.rekordbox import ROOT
from mt_tools.library.rekordbox_elements import (
    PRODUCT,
    tag_playlists,
    track_element,
    value_text,
    whole,
    with_mytags,
)
from mt_tools.tables.atomic import AtomicFile

_HEAD = 4096
_ATTRIBUTE = rb"""\s+([^\s=/>]+)\s*=\s*("[^"]*"|'[^']*')"""
_ATTRIBUTES = re.compile(_ATTRIBUTE)
_START_TAG = re.compile(rb"<[^\s/>]+(?:" + _ATTRIBUTE + rb")*\s*/?>")
_BLOCK = 1 << 16


def check(path: str) -> None:
    """Raise `UsageError` where a library cannot be written to, `BrokenTable` for half of one."""
    if os.path.isdir(path):
        raise UsageError(f"--rekordbox {path}: a folder; name a file, such as {path}/tags.xml")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise UsageError(f"--rekordbox {path}: no folder {folder}; make it, or name another file")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--rekordbox {path}: you may not write into {folder}; name another file")
    if os.path.isfile(path):
        with open(path, "rb") as file:
            _head(file, path)
            _survey(file, path, Listing({}))


def write(path: str, listing: Listing) -> tuple[int, int]:
    """Write a library; return how many of the tracks it had before, and how many are new in it.

    Raises as `check` does, and `RunError` where the disk refuses.
    """
    try:
        old = open(path, "rb") if os.path.isfile(path) else None  # noqa: SIM115
        output = AtomicFile(path)
        try:
            if old is None or _head(old, path) == PRODUCT:
                held: dict[int, str] = {}
                for part in whole(listing):
                    output.file.write(part)
            else:
                survey = _survey(old, path, listing)
                held = survey.held
                _splice(old, output.file, _edits(old, path, listing, survey))
            output.commit()
        finally:
            output.discard()
            if old is not None:
                old.close()
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    return len(held), len(listing) - len(held)


def _head(file: BinaryIO, path: str) -> str:
    """Return the name of the product that wrote a library."""
    head = file.read(_HEAD)
    file.seek(0)
    if ROOT not in head or not head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise UsageError(
            f"--rekordbox {path}: there is a file that is no Rekordbox library, and it would be "
            "replaced: name another"
        )
    encoding = re.match(
        rb"""<\?xml[^>]*encoding\s*=\s*["']([^"']*)""", head.lstrip(b"\xef\xbb\xbf")
    )
    if encoding is not None and encoding[1].lower() not in (b"utf-8", b"us-ascii"):
        raise UsageError(
            f"--rekordbox {path}: {encoding[1].decode()}, expected UTF-8: export again"
        )
    product = re.search(rb"<PRODUCT" + rb"(?:" + _ATTRIBUTE + rb")*", head)
    names = dict(_ATTRIBUTES.findall(product[0])) if product else {}
    return names.get(b"Name", b'""')[1:-1].decode("utf-8", "replace")


# --- a library of Rekordbox, added to ------------------------------------------------------------


@dataclass
class _Survey:
    """What a library holds: tracks of the listing by number, the highest id, and our folder.

    `held` and `ids` are the ids of listed tracks, `kept` what is in our folder of playlists and
    not of this run's tasks.
    """

    held: dict[int, str] = field(default_factory=dict)
    tracks: int = 0
    highest: int = 0
    ours: tuple[int, int] | None = None
    kept: list[bytes] = field(default_factory=list)

    def ids(self, listing: Listing) -> dict[int, str]:
        """Return the id of every track of the listing, of new ones above all that there are."""
        new = (number for number in range(len(listing)) if number not in self.held)
        return self.held | {n: str(self.highest + i) for i, n in enumerate(new, start=1)}


def _survey(file: BinaryIO, path: str, listing: Listing) -> _Survey:
    survey = _Survey()
    above: list[tuple[str, dict[str, str], int]] = []
    root = collection = False
    file.seek(0)
    for begins, name, said, position in placed_elements(file, path):
        if begins:
            above.append((name, said, position))
            if [one[0] for one in above[1:]] == ["COLLECTION", "TRACK"]:
                survey.tracks += 1
                if (id_ := said.get("TrackID", "")).isdecimal():
                    survey.highest = max(survey.highest, int(id_))
                number = _listed(said, listing)
                if number is not None:
                    survey.held.setdefault(number, id_)
            collection = collection or _is_collection(above)
            root = root or _is_root(above)
            continue
        nodes = [one[1].get("Name", "") for one in above if one[0] == "NODE"]
        _, said, start = above.pop()
        if nodes[1:2] == [PRODUCT] and len(nodes) in (2, 3) and name == "NODE":
            end = _end(file, start, position)
            if len(nodes) == 2:
                survey.ours = (start, end)
            elif said.get("Type") != "0" or nodes[2] not in listing.tasks:
                survey.kept.append(_read(file, start, end))
    if not collection or not root:
        what = "PLAYLISTS with their ROOT" if collection else "COLLECTION"
        raise BrokenTable(f"{path}: a Rekordbox library without {what}: export it again")
    return survey


def _is_collection(above: list[tuple[str, dict[str, str], int]]) -> bool:
    return [one[0] for one in above] == ["DJ_PLAYLISTS", "COLLECTION"]


def _is_root(above: list[tuple[str, dict[str, str], int]]) -> bool:
    return [one[0] for one in above] == ["DJ_PLAYLISTS", "PLAYLISTS", "NODE"]


def _listed(said: dict[str, str], listing: Listing) -> int | None:
    where = said.get("Location", "")
    return listing.number(local_path(where)) if where and len(listing) else None


Edit = tuple[int, int, Iterable[bytes]]
"""The bytes from here to there become these."""


def _edits(file: BinaryIO, path: str, listing: Listing, survey: _Survey) -> Iterator[Edit]:
    """Yield what is to be changed, in the order of the file."""
    ids = survey.ids(listing)
    above: list[tuple[str, dict[str, str], int]] = []
    file.seek(0)
    for begins, name, said, position in placed_elements(file, path):
        if begins:
            above.append((name, said, position))
            edit = _of_start(file, above, listing, survey)
            if edit is not None:
                yield edit
            continue
        if _is_collection(above):
            new = (track_element(listing[n], id_) for n, id_ in ids.items() if n not in survey.held)
            yield _appended(file, above[-1][2], position, 1, new, "COLLECTION")
        elif _is_root(above) and survey.ours is None:
            yield _appended(
                file, above[-1][2], position, 2, tag_playlists(listing, ids, []), "NODE"
            )
        elif survey.ours is not None and above[-1][2] == survey.ours[0]:
            yield (*survey.ours, _in_place(tag_playlists(listing, ids, survey.kept)))
        above.pop()


def _of_start(
    file: BinaryIO,
    above: list[tuple[str, dict[str, str], int]],
    listing: Listing,
    survey: _Survey,
) -> Edit | None:
    """Return how a start tag is to be changed; None where it stays."""
    _, said, position = above[-1]
    if [one[0] for one in above[1:]] == ["COLLECTION", "TRACK"]:
        number = _listed(said, listing)
        old = said.get("Comments", "")
        new = old if number is None else with_mytags(old, listing[number].tags)
        changed = {"Comments": new} if new != old else {}
    elif _is_collection(above):
        changed = {"Entries": str(survey.tracks + len(listing) - len(survey.held))}
    elif _is_root(above) and survey.ours is None:
        count = said.get("Count", "")
        changed = {"Count": str(int(count) + 1)} if count.isdecimal() else {}
    else:
        return None
    if not changed:
        return None
    old_tag = tag = _start_tag(file, position)
    for name, value in changed.items():
        tag = _with(tag, name, value)
    closing = 2 if tag.endswith(b"/>") else 1  # stays: what is appended may open the element
    return position, position + len(old_tag) - closing, [tag[:-closing]]


def _appended(
    file: BinaryIO, start: int, position: int, depth: int, parts: Iterable[bytes], name: str
) -> Edit:
    """Return how an element gets more inside, before its end tag at `position`."""
    if not _start_tag(file, start).endswith(b"/>"):
        return position, position, _before_end(parts, depth)
    end = b"  " * depth + f"</{name}>".encode()
    return position - 2, position, (part for some in ([b">\n"], parts, [end]) for part in some)


def _before_end(parts: Iterable[bytes], depth: int) -> Iterator[bytes]:
    """Yield lines that are put behind the indentation of an end tag."""
    first = True
    for part in parts:
        yield b"  " + part.lstrip() if first else part
        first = False
    if not first:
        yield b"  " * depth


def _in_place(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines that take the place of an element in the middle of others."""
    held = b""
    for number, part in enumerate(parts):
        yield held
        held = part if number else part.lstrip()
    yield held.rstrip()


def _splice(old: BinaryIO, new: BinaryIO, edits: Iterator[Edit]) -> None:
    """Copy a file with some of its bytes changed."""
    done = 0
    for start, end, data in edits:
        _copy(old, new, done, start)
        new.writelines(data)
        done = end
    _copy(old, new, done, old.seek(0, os.SEEK_END))


def _copy(old: BinaryIO, new: BinaryIO, start: int, end: int) -> None:
    old.seek(start)
    while start < end:
        block = old.read(min(_BLOCK, end - start))
        new.write(block)
        start += len(block)


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _start_tag(file: BinaryIO, position: int) -> bytes:
    """Return the start tag at a byte of a file that is whole XML."""
    size = 4096
    while True:
        data = _read(file, position, position + size)
        if found := _START_TAG.match(data):
            return found[0]
        if len(data) < size:
            raise BrokenTable(f"{file.name}: not XML at byte {position}: export it again")
        size *= 4


def _end(file: BinaryIO, start: int, position: int) -> int:
    """Return the byte behind an element whose end was told at `position`."""
    tag = _start_tag(file, start)
    if tag.endswith(b"/>"):
        return start + len(tag)
    return position + _read(file, position, position + _HEAD).index(b">") + 1


def _with(tag: bytes, name: str, value: str) -> bytes:
    """Return a start tag with an attribute set, in its place or as the last one."""
    said = f'{name}="{value_text(value)}"'.encode()
    for found in _ATTRIBUTES.finditer(tag):
        if found[1] == name.encode():
            return tag[: found.start(1)] + said + tag[found.end(2) :]
    end = re.search(rb"\s*/?>$", tag)
    assert end is not None, tag
    return tag[: end.start()] + b" " + said + tag[end.start() :]

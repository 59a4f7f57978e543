"""XML of other programs, read as it goes: nothing is kept but what is asked for.

The files are not trusted: a document that declares entities, by which a few bytes may stand for
gigabytes or for other files, is refused, and nothing outside of the document is ever opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.parsers import expat

from mt_tools.errors import BrokenTable, UsageError

_BLOCK = 1 << 16

Key = str | int
"""A key of a dictionary, or the place in an array."""


def elements(path: str) -> Iterator[tuple[bool, str, Any]]:
    """Yield where elements begin, (True, name, attributes), and end, (False, name, text in it).

    Raises `BrokenTable` for what is no whole XML, and `UsageError` for declared entities.
    """
    with open(path, "rb") as file:
        for begins, name, content, _ in placed_elements(file, path):
            yield begins, name, content


def placed_elements(file: BinaryIO, path: str) -> Iterator[tuple[bool, str, Any, int]]:
    """Yield what `elements` does and the byte at which its tag begins.

    Where an element is one tag, `<X/>`, its end has the byte behind it. The file is read from where
    it stands to its end; it may be moved meanwhile. Raises as `elements` does.
    """
    found: list[tuple[bool, str, Any, int]] = []
    texts: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        texts.clear()
        found.append((True, name, attributes, parser.CurrentByteIndex))

    def end(name: str) -> None:
        found.append((False, name, "".join(texts), parser.CurrentByteIndex))
        texts.clear()

    def entity(name: str, *_: object) -> None:
        raise UsageError(
            f"{path}: declares the entity {name!r}, which no library needs: export it again"
        )

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = texts.append
    parser.EntityDeclHandler = entity
    position = file.tell()
    while True:
        file.seek(position)
        block = file.read(_BLOCK)
        position += len(block)
        try:
            parser.Parse(block, not block)
        except expat.ExpatError as error:
            raise BrokenTable(
                f"{path}: not whole XML (line {error.lineno}: "
                f"{expat.errors.messages[error.code]}): export it again"
            ) from error
        yield from found
        found.clear()
        if not block:
            return


def plist_values(path: str) -> Iterator[tuple[tuple[Key, ...], str]]:
    """Yield every value of a property list (Apple's plist XML) behind the keys that lead to it.

    The text of `<true/>` is `true`. Raises as `elements` does.
    """
    keys: list[Key] = []
    for begins, name, content in elements(path):
        if name in ("plist", "key"):
            if name == "key" and not begins and keys:
                keys[-1] = content
            continue
        inside = name in ("dict", "array")
        if begins:
            if keys and isinstance(keys[-1], int):
                keys[-1] += 1
            if inside:
                keys.append("" if name == "dict" else -1)
        elif inside:
            keys.pop()
        else:
            yield tuple(keys), name if name in ("true", "false") else content

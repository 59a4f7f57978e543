"""The attributes of ASF (WMA), by mutagen, which keeps the others as they are.

Source: Advanced Systems Format (Microsoft, revision 01.20.05), sections 3.10, 3.11, 4.7 and 4.8.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, BinaryIO

import mutagen
from mutagen import asf

from mt_tools.sound.fields import NATIVE, field_name
from mt_tools.sound.retag.names import Name, Store, broken, unite

_COMMENT = NATIVE["comment"].asf
_text_of: Any = asf.ASFUnicodeAttribute  # type: ignore[attr-defined]
_NUMBERS = (asf.BOOL, asf.DWORD, asf.QWORD, asf.WORD)


class Asf:
    """The attributes of an ASF file."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        try:
            self.file: Any = asf.ASF(file)
        except Exception as error:  # far more than mutagen's own
            raise broken(f"an ASF header that mutagen cannot read ({error!r})") from error
        self.before: list[Any] = list(self.file.tags or ())
        self.stores: list[Store] = [self]

    def values(self, name: Name) -> list[str]:
        """Return the values of a field, from every attribute that means it."""
        return unite([text] for _, text in self._found(name) if text)

    def settled(self, name: Name, values: Sequence[str]) -> list[str]:
        """Return values as they are held: as they are."""
        return list(values)

    def put(self, name: Name, values: Sequence[str], *, add: bool) -> None:
        """Give a field these values in every attribute that means it."""
        groups: dict[str, list[str]] = {}
        for key, text in self._found(name):
            groups.setdefault(key, []).append(text)
        wanted = name.native.asf or name.label
        missing = add and bool(values) and wanted.lower() not in {key.lower() for key in groups}
        kept: list[tuple[str, Any]] = []
        written: set[str] = set()
        for key, value in self.file.tags:
            texts = groups.get(key) if self._text(value) is not None else None
            if texts is None or texts == list(values):
                kept.append((key, value))
            elif key not in written:  # all where the first was
                kept += self._attributes(key, values)
                written.add(key)
        if missing:
            kept += self._attributes(wanted, values)
        self.file.tags[:] = kept

    def save(self, file: BinaryIO) -> None:
        """Write the attributes; `RowError` where mutagen would change another."""
        if self.file.tags == self.before:
            return
        file.seek(0)
        try:
            self.file.save(file)
        except mutagen.MutagenError as error:
            raise broken(f"an ASF header that mutagen cannot write ({error})") from error
        file.seek(0)
        found: Any = asf.ASF(file)
        if self._counted(found.tags) != self._counted(self.file.tags):
            raise broken("ASF attributes that mutagen does not write as they are")

    def _found(self, name: Name) -> list[tuple[str, str]]:
        found = []
        for key, value in self.file.tags:
            text = self._text(value)
            called = "comment" if key == _COMMENT else field_name(key)
            if text is not None and called == name.common:
                found.append((key, text))
        return found

    @staticmethod
    def _text(value: Any) -> str | None:
        """Return the text of an attribute; None where it holds bytes, or belongs to a stream."""
        if value.stream or not (value.TYPE == asf.UNICODE or value.TYPE in _NUMBERS):
            return None
        return str(value)

    @staticmethod
    def _attributes(key: str, values: Sequence[str]) -> list[tuple[str, Any]]:
        return [(key, _text_of(value)) for value in values]

    @staticmethod
    def _counted(tags: Any) -> Counter[Any]:
        return Counter(
            (key, value.TYPE, str(value), value.language or 0, value.stream or 0)
            for key, value in tags
        )

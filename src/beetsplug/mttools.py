"""Tags of mt-tag in the library of beets: `beet mttags tags.jsonl`.

Every task of the JSON lines becomes a field of the tracks that they name: one of beets' own, such
as `genres`, or an attribute of the task's name, which queries and path formats know. Values that
somebody else gave stay, unless --force; those of an earlier run are replaced, and taken away where
they are no longer predicted: the attribute `mttools` holds which are ours.

    plugins: mttools
    mttools:
      fields:           # a task's field, where it is not called like the task
        style: genres
      lists: mood       # attributes of several values
      numbers: energy   # attributes that are numbers: `beet ls energy:0.8..`

It needs beets alone: where that lives apart from mt-tools, a copy of this file in a folder that
`pluginpath` names is enough.

Source: beets' documentation for developers ("Plugins", "Library Database API"), of version 2.14.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from beets import ui, util
from beets.dbcore import types
from beets.library import Item, Library
from beets.plugins import BeetsPlugin

OURS = "mttools"
"""The attribute that holds, as JSON, what we wrote: field -> value."""

_PREDICTED = "_pred"


class MtToolsPlugin(BeetsPlugin):
    """Adds the command `mttags` and the types of the fields that it writes."""

    def __init__(self) -> None:
        super().__init__(OURS)
        self.config.add({"fields": {}, "lists": [], "numbers": []})

    @property
    def item_types(self) -> dict[str, types.Type]:
        """The types of attributes, as configured; beets' own fields have theirs."""
        named = dict.fromkeys(self.config["lists"].as_str_seq(), types.MULTI_VALUE_DSV)
        named |= dict.fromkeys(self.config["numbers"].as_str_seq(), types.NULL_FLOAT)
        return {name: kind for name, kind in named.items() if name not in Item._fields}

    def commands(self) -> list[ui.Subcommand]:
        """Return the commands."""
        command = ui.Subcommand("mttags", help="take tags from the JSON lines of mt-tag")
        command.parser.usage = "%prog [options] FILE.jsonl... (- is the standard input)"
        for short, long, what in (
            ("-p", "--pretend", "show what would be changed, and change nothing"),
            ("-f", "--force", "replace values that somebody else gave, too"),
            ("-w", "--write", "write the fields that beets keeps in files into the files, too"),
        ):
            command.parser.add_option(short, long, action="store_true", default=False, help=what)
        command.func = self._run
        return [command]

    def _run(self, library: Library, options: Any, names: list[str]) -> None:
        if not names:
            raise ui.UserError("mttags: name the file that mt-tag wrote (-o tags.jsonl), or -")
        lines = list(self._lines(names))  # a line that is none ends it before anything is changed
        tracks = Tracks(library)
        counts = {"changed": 0, "unchanged": 0, "unknown": 0}
        with library.transaction():
            for path, values in lines:
                item = tracks.find(path)
                if item is None:
                    counts["unknown"] += 1
                    self._log.debug("not in the library: {}", util.displayable_path(path[0]))
                    continue
                changed = apply(item, values, force=options.force)
                counts["changed" if changed else "unchanged"] += 1
                if changed:
                    ui.show_model_changes(item, fields=changed)
                if not options.pretend:
                    if changed and options.write:
                        item.try_write()
                    item.store()
        would = "would be changed" if options.pretend else "changed"
        ui.print_(
            f"{counts['changed']} tracks {would}, {counts['unchanged']} as they should be, "
            f"{counts['unknown']} not in the library"
            + (" (-v names them)" * bool(counts["unknown"]))
        )

    def _lines(self, names: Iterable[str]) -> Iterator[tuple[list[str], dict[str, Any]]]:
        """Yield the paths under which each row's file may be found, and its values by field."""
        for name in names:
            folder = "" if name == "-" else os.path.dirname(os.path.abspath(name))
            for number, line in enumerate(_opened(name), start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                    path = _path(row["path"] or "")
                except (ValueError, KeyError, TypeError) as error:
                    raise ui.UserError(
                        f"mttags: {name}, line {number}: not a row of mt-tag with its path; write "
                        "them with mt-tag MUSIC -o tags.jsonl"
                    ) from error
                if path:
                    yield [os.path.join(at, path) for at in ("", folder)], self._values(row)

    def _values(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return what a row predicts, by field; several tasks of one field are united."""
        values: dict[str, Any] = {}
        for name, value in row.items():
            if not name.endswith(_PREDICTED):
                continue
            field = self._field(name.removesuffix(_PREDICTED))
            if values.get(field) is not None and value is not None:
                value = list(dict.fromkeys([*_listed(values[field]), *_listed(value)]))
            values[field] = values.get(field) if value is None else value
        return values

    def _field(self, task: str) -> str:
        """Return the field of a task. Raises `UserError` for one that is no tag."""
        chosen = self.config["fields"].get(dict).get(task)
        # In beets a dot parts the name of a table from that of a field.
        field = str(chosen) if chosen else task.replace(".", "_").replace(" ", "_")
        if not chosen and field == "genre" and "genres" in Item._fields:
            field = "genres"
        if field in Item._fields and field not in Item._media_tag_fields:
            raise ui.UserError(
                f"mttags: {field!r} is what beets knows of the file itself: give task {task!r} "
                f"another one in config.yaml, as in mttools: {{fields: {{{task}: my_{field}}}}}"
            )
        return field


class Tracks:
    """The tracks of a library by their paths, and by the files behind links."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._ids = {item.path: item.id for item in library.items()}
        self._real: dict[bytes, int] | None = None

    def find(self, paths: Iterable[str]) -> Item | None:
        """Return the track whose file is the first of some paths that the library has."""
        raw = [os.fsencode(os.path.abspath(path)) for path in paths]
        for path in raw:
            if path in self._ids:
                return self._library.get_item(self._ids[path])
        if self._real is None:
            self._real = {os.path.realpath(path): id_ for path, id_ in self._ids.items()}
        for path in raw:
            if (real := os.path.realpath(path)) in self._real:
                return self._library.get_item(self._real[real])
        return None


def apply(item: Item, values: dict[str, Any], *, force: bool) -> list[str]:
    """Set the fields of a track; return those that are other than before.

    A field whose value is not ours stays, unless `force` says otherwise.
    """
    said = item.get(OURS, None, with_album=False)
    ours: dict[str, Any] = json.loads(said or "{}")
    changed = []
    for field, value in values.items():
        old = item.get(field, None, with_album=False)
        old = None if old in (None, "", [], Item._type(field).null) else old
        new = _fitting(field, value)
        mine = old is None or old == ours.get(field)
        ours.pop(field, None)
        if not mine and (new in (None, old) or not force):
            continue
        if new is not None:
            item[field] = ours[field] = new
        elif old is not None:
            _remove(item, field)
        if old != new:
            changed.append(field)
    if ours:
        now = json.dumps(ours, ensure_ascii=False, sort_keys=True)
        if now != said:
            item[OURS] = now
    elif said:
        del item[OURS]
    return changed


def _fitting(field: str, value: Any) -> Any:
    """Return a value as the field's type has it; None for nothing."""
    texts = [] if value is None else _listed(value)
    if not texts:
        return None
    kind = Item._type(field)
    # The library keeps attributes as text, of 15 digits.
    said = [f"{text:.6g}" if isinstance(text, float) else str(text) for text in texts]
    if isinstance(kind, types.DelimitedString):
        return kind.normalize(said)
    if isinstance(kind, types.BaseInteger | types.BaseFloat):
        number = float(said[0]) if isinstance(texts[0], int | float) else None
        return None if number is None else kind.normalize(number)
    return kind.normalize("; ".join(said))


def _remove(item: Item, field: str) -> None:
    kind = Item._type(field)
    # beets cannot show that an attribute of several values went away; an empty one it can.
    if field in Item._fields or isinstance(kind, types.DelimitedString):
        item[field] = kind.null
    else:
        del item[field]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _path(text: str) -> str:
    """Return the path that a row means: as it stands, or `file:` with its bytes percent-encoded."""
    if not text.startswith("file:"):
        return text
    raw = text.removeprefix("file:")
    return os.fsdecode(unquote_to_bytes(raw.removeprefix("//localhost").removeprefix("//")))


def _opened(name: str) -> Iterator[bytes]:
    if name == "-":
        yield from sys.stdin.buffer
        return
    try:
        with open(name, "rb") as file:
            yield from file
    except OSError as error:
        raise ui.UserError(f"mttags: {name}: {error.strerror}") from error

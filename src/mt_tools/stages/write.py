"""Writes predictions into the tags of the files that they are about, or shows what it would write.

A file is changed by way of a copy beside it, the sound of which is checked; what undoes the change
is in the journal, on disk, before the copy takes the file's place. What is to be done is decided
on the file as it is while it is locked. Of whose values win see `library.plan`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mt_tools.errors import RowError, UsageError
from mt_tools.library.journal import Journal
from mt_tools.library.plan import MARK, Plan, Wish, plan
from mt_tools.library.settings import WriteSettings
from mt_tools.sound.beside import Beside
from mt_tools.sound.paths import path_to_text
from mt_tools.sound.replace import PRESERVED, Replacement
from mt_tools.sound.retag import read_fields, write_fields
from mt_tools.sound.retag.names import parse_name
from mt_tools.stages.frontend import Fail, Track, fresh, report_row, tracks_of
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

CHANGES = Column("changes", "strings", "prediction")
WRITTEN = Column("written", "boolean", "prediction")

_NEAR = 3  # names that are told where one is none
_SHOWN = 20  # and names of all that are
_SURE = 4  # digits of a predicted number that say something


@dataclass(frozen=True)
class Told:
    """A task of a model, as its column is called without `_pred`: with the alias of the model.

    `prefix` is that alias with its dot; None where nobody knows, and what ends in a dot counts.
    """

    task: str
    model: str
    digest: str
    prefix: str | None = None

    @property
    def name(self) -> str:
        """The name of the task alone."""
        if self.prefix is None:
            return self.task.rpartition(".")[2]
        return self.task.removeprefix(self.prefix)


@dataclass(frozen=True)
class Target:
    """A task and the field of the files that its values go into."""

    told: Told
    field: str

    def wish(self, value: Any) -> Wish:
        """Return what a prediction, a cell of the task's column, asks of a file."""
        values = texts(value, self.field)
        return Wish(self.told.task, self.field, values, self.told.model, self.told.digest)


def check(settings: WriteSettings, segments: bool) -> None:
    """Raise `UsageError` for options that contradict each other."""
    if settings.overwrite and settings.merge:
        raise UsageError(
            "--overwrite replaces values of others and --merge keeps them: choose one of the two"
        )
    for name in ("apply", "overwrite", "merge", "journal"):
        if getattr(settings, name) and not settings.write:
            raise UsageError(f"--{name} writes nothing by itself: say what, --write TASK[=FIELD]")
    if settings.write and segments:
        raise UsageError(
            "--write is about whole files, and --segments gives a row a segment: leave out one"
        )
    preserved(settings.preserve)


def preserved(text: str) -> frozenset[str]:
    """Return what `--preserve` names; raises `UsageError` for what cannot be preserved."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names in (["all"], ["none"]):
        return PRESERVED if names == ["all"] else frozenset()
    for name in names:
        if name not in PRESERVED:
            raise UsageError(
                f"--preserve {text}: {name!r} is none of {', '.join(sorted(PRESERVED))}, all, none"
            )
    return frozenset(names)


def targets(asked: Sequence[str], told: Sequence[Told]) -> list[Target]:
    """Return what the texts of `--write`, TASK[=FIELD], mean.

    The alias of a model may be left out where one model alone has such a task. Raises `UsageError`
    for a task that no model has, naming the nearest, and for a field that no file can have.
    """
    found: dict[tuple[str, str], Target] = {}
    names = {name for one in told for name in (one.task, one.name)}
    for text in asked:
        known = [name for name in names if f"{text}=".startswith(f"{name}=")]
        name = max(known, key=len, default=text.partition("=")[0])  # a task may be called a=b
        task = _task(name, text, told)
        field = _field(task.name if name == text else text[len(name) + 1 :], text)
        found.setdefault((task.task, field.casefold()), Target(task, field))
    # One field has one spelling, the first: two of them would be one in some formats.
    spelled: dict[str, str] = {}
    return [
        dataclasses.replace(one, field=spelled.setdefault(one.field.casefold(), one.field))
        for one in found.values()
    ]


def _task(name: str, text: str, told: Sequence[Told]) -> Told:
    exact = [one for one in told if one.task == name]
    found = exact or [one for one in told if one.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(one.task for one in found)
        raise UsageError(f"--write {text}: {name!r} may be {names}: say which")
    known = [one.task for one in told]
    near = difflib.get_close_matches(name, known, n=_NEAR)
    raise UsageError(
        f"--write {text}: no model has a task {name!r}; "
        + (f"did you mean {' or '.join(near)}? " if near else "")
        + f"expected TASK[=FIELD], the task one of {', '.join(known[:_SHOWN])}"
        + (f" and {len(known) - _SHOWN} others" if len(known) > _SHOWN else "")
    )


def _field(name: str, text: str) -> str:
    """Return a field by the name that all formats share, or as typed where they have none."""
    try:
        parsed = parse_name(name)
    except RowError as error:
        raise UsageError(f"--write {text}: {error}") from error
    # What the names of Vorbis comments may hold, and most of what those of other formats may.
    if "=" in parsed.label or not (parsed.label if parsed.free else parsed.common).isascii():
        raise UsageError(
            f"--write {text}: {name!r} cannot be the name of a field; expected letters, digits and "
            "marks of ASCII other than '=', such as genre, mood or TXXX:ENERGY"
        )
    if parsed.label.casefold() == MARK.casefold():
        raise UsageError(
            f"--write {text}: the field {MARK} says which values are ours: choose another one"
        )
    own = parsed.free or parsed.text.casefold() == parsed.common
    return parsed.text if own else parsed.common


def texts(value: Any, field: str) -> tuple[str, ...]:
    """Return a prediction as the texts of a field: none where there is none.

    Numbers have four digits, or as many as stand before the point; beats per minute are whole, as
    ID3 and MP4 hold no others.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple(value)
    number = float(value)
    if not math.isfinite(number):
        return ()
    if field.casefold() == "bpm" or abs(number) >= 10 ** (_SURE - 1):
        return (str(round(number)),)
    return (f"{number or 0.0:.{_SURE}g}",)


def run(
    batches: Iterable[Batch],
    wanted: Sequence[Target],
    settings: WriteSettings,
    *,
    folders: Sequence[str],
    journal: Journal | None,
    fail: Fail,
    wrote: Callable[[str], None] = lambda path: None,
    say: Callable[[str], None] = lambda note: None,
) -> Iterator[Batch]:
    """Yield the rows with `changes`, a readable line an edit, and `written`.

    `wanted` are `targets`; files are changed where `settings` say so and a `journal` is given, and
    `wrote` is told of each by the text of its row. A file that cannot be written is a row
    that failed. At the end `say` gets a line of what was done.
    """
    if settings.apply and journal is None:
        raise ValueError("files are changed with a journal only")
    writer = _Writer(wanted, settings, journal if settings.apply else None)
    advice = "leave it out, or tag from the files themselves"
    rows = fresh(batches, CHANGES.name, WRITTEN.name, advice=advice)
    yield from _run(rows, writer, folders, fail, wrote)
    say(writer.summary())


def _run(
    batches: Iterable[Batch],
    writer: _Writer,
    folders: Sequence[str],
    fail: Fail,
    wrote: Callable[[str], None],
) -> Iterator[Batch]:
    begun = False
    for batch in batches:
        if "path" not in batch:
            raise UsageError(
                f"--write needs files, and the rows have no column 'path': they have "
                f"{', '.join(batch.names)}"
            )
        if not begun:
            _whole(batch)
        begun = begun or len(batch) > 0
        kept: list[int] = []
        changes: list[list[str]] = []
        written: list[bool] = []
        predictions = [batch[f"{target.told.task}_pred"] for target in writer.targets]
        for row, track in enumerate(tracks_of(batch, folders)):
            try:
                done = writer.file(_file(track), [column[row] for column in predictions])
            except RowError as error:
                report_row(fail, batch, row, error)
                continue
            kept.append(row)
            changes.append(done.lines)
            written.append(writer.changes and bool(done.fields))
            if written[-1]:
                wrote(track.path or "")
        yield batch.take(kept).append(CHANGES, changes).append(WRITTEN, written)


def _file(track: Track) -> str:
    """Return the file that a row is about, as text of a table; raises `RowError` for others."""
    if track.start is not None or track.duration is not None or track.recipe:
        raise RowError("it is a part or a recipe of a file: tag whole files", "part")
    # A row that carries its bytes may have a file as well.
    return path_to_text(str(dataclasses.replace(track, audio=None).source()))


def _whole(batch: Batch) -> None:
    """Raise `UsageError` for the first rows of a table that is not about whole files."""
    for name in ("start", "duration", "recipe"):
        for id_, value in zip(batch.ids, batch.get(name), strict=True):
            if value is not None and value == value and value != "":
                raise UsageError(
                    f"--write is about whole files, and the row {id_} is a part or a recipe of one "
                    f"({name} {value}): give files, or a row a file"
                )


class _Writer:
    """Decides what becomes of files, changes them where there is a journal, and counts."""

    def __init__(
        self,
        wanted: Sequence[Target],
        settings: WriteSettings,
        journal: Journal | None,
    ) -> None:
        self.targets = list(wanted)
        self._names = [*dict.fromkeys(target.field for target in wanted), MARK]
        self._existing = (
            "overwrite" if settings.overwrite else "merge" if settings.merge else "keep"
        )
        self._id3 = settings.id3
        self._preserve = preserved(settings.preserve)
        self._break_links = settings.break_links
        self._journal = journal
        self._count: Counter[str] = Counter()

    @property
    def changes(self) -> bool:
        """Whether files are changed, or only looked at."""
        return self._journal is not None

    def file(self, path: str, predictions: Sequence[Any]) -> Plan:
        """Change a file as the `predictions`, one a target, ask; return what was or would be done.

        `path` is text of a table. Raises `RowError` for a file that cannot be changed.
        """
        wishes = [one.wish(value) for one, value in zip(self.targets, predictions, strict=True)]
        found = self._plan(path, wishes)
        if found.fields and self._journal is not None:
            found = self._change(path, wishes, self._journal)
        elif found.fields:
            with Beside(path, self._break_links):  # would it be allowed?
                pass
        kept = any(edit.reason == "kept" for edit in found.edits)
        self._count["changed"] += bool(found.fields)
        self._count["same"] += not (found.fields or kept)
        self._count["kept"] += kept
        return found

    def _plan(self, path: str, wishes: Sequence[Wish]) -> Plan:
        return plan(read_fields(path, self._names), wishes, self._existing)

    def _change(self, path: str, wishes: Sequence[Wish], journal: Journal) -> Plan:
        with Replacement(path, self._preserve, self._break_links) as new:
            found = self._plan(new.copy, wishes)
            if not found.fields:  # another run has done it since
                return found
            write_fields(new.copy, found.fields, id3=self._id3)
            entry = journal.append(new.check().to_json())
            try:
                new.commit()
            except RowError:  # it did not come to it
                journal.undone(entry)
                raise
        return found

    def summary(self) -> str:
        """Return a line of what was done, and how to take it back."""
        count = self._count
        said = [
            f"{_files(count['changed'])} {'changed' if self._journal else 'would be changed'}",
            f"{count['same']} as {'it' if count['same'] == 1 else 'they'} should be",
        ]
        if count["kept"]:
            said.append(f"{count['kept']} with values of others kept (--overwrite or --merge)")
        line = ", ".join(said)
        if self._journal is None:
            return f"{line}; --apply writes" if count["changed"] else line
        if not count["changed"]:
            return line
        return f"{line}; undo with: mt-tag --undo {shlex.quote(str(self._journal.path))}"


def _files(count: int) -> str:
    return f"{count} file{'s' * (count != 1)}"

"""What is to be changed in the tags of a file: pure decisions, no file in sight.

Goal: predictions go into fields that hold other people's values too, run after run, and nobody's
work is lost. Whose a value is stands in the file itself: `MARK` is a field that holds a text for
each task, which says the values that we wrote, where, and by which model.

Conventions
-----------
A value is *ours* where `MARK` names it, to the letter; every other is somebody else's, also one of
ours that was edited, and one that had been there before we would have written it. What we write is
compared with what is there without regard to case and order: "rock" is not joined by "Rock", and a
field is not written for another order alone.

=========  ==========================  =======================================================
existing   only ours in the field      somebody else's in the field, too
=========  ==========================  =======================================================
keep       becomes what is predicted   stays; of ours what is no longer predicted goes
merge      becomes what is predicted   theirs stay, ours become what is predicted
overwrite  becomes what is predicted   becomes what is predicted, unless nothing is
=========  ==========================  =======================================================

A value that we wrote and somebody removed or edited is *declined*: it does not come back, unless by
overwrite, for as long as it is predicted. Values of several tasks in one field are united, in
order, each once; what we wrote there in earlier runs by other tasks goes like all that is no longer
predicted, so that a retrained model with another name for its task replaces the old one.

A text of `MARK` is JSON without a `;`, a `/` or a character beyond ASCII in it, so that it comes
back whole also from ID3v2.3, whose programs join and split values at these. Texts in `MARK` that
are not ours stay as they are.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MARK = "MT_TOOLS"
"""The field of every file that we wrote into: which values are ours, and who predicted them."""

EXISTING = ("keep", "merge", "overwrite")
DIGITS = 12  # of a model's digest, hexadecimal: enough to tell any two models apart

_BETWEEN = " ;/,\0"  # what programs put between values that they join
_SHOWN = 60  # characters of a value in a line for people


@dataclass(frozen=True)
class Wish:
    """What a task predicts for a field: `values` in order, none where it abstains."""

    task: str
    field: str
    values: tuple[str, ...]
    model: str
    digest: str


@dataclass(frozen=True)
class Edit:
    """What happens to a field, and why.

    `reason` is one of: "new"; "updated", where all values are ours; "removed", ours and no longer
    predicted; "merged"; "overwritten"; and, where nothing happens, "same"; "kept", somebody else's;
    "declined", see above. `missing` is what is predicted and not written for one of the latter two.
    """

    field: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    reason: str
    missing: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether the field will be another one."""
        return self.reason not in ("same", "kept", "declined")


@dataclass(frozen=True)
class Plan:
    """The edits of one file, a field each, and what to write: nothing where nothing changes."""

    edits: tuple[Edit, ...]
    fields: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """A line for people for each edit, without those that find what they would write."""
        return [line(edit) for edit in self.edits if edit.reason != "same"]


def plan(current: Mapping[str, Sequence[str]], wishes: Sequence[Wish], existing: str) -> Plan:
    """Decide what becomes of the fields that `wishes` name.

    `current` are the values of these fields and of `MARK`, as they stand in the file; `existing` is
    one of `EXISTING`. Planning again on what a plan has written finds nothing to do. A file is not
    written for the sake of `MARK` alone: that goes along with the next change.
    """
    marks, foreign = read_marks(current.get(MARK, ()))
    edits: list[Edit] = []
    fields: dict[str, tuple[str, ...]] = {}
    groups = _by_field(wishes)
    left = [mark for mark in marks if mark["field"].casefold() not in groups]
    for place, mine in groups.items():
        name = mine[0].field
        claimed = {
            _exact(value)
            for mark in marks
            if mark["field"].casefold() == place
            for value in mark["values"]
        }
        settled = _settle(tuple(current.get(name, ())), _united(mine), claimed, existing)
        edits.append(settled.edit(name, existing))
        if edits[-1].changes:
            fields[name] = settled.after
        left += filter(None, (settled.mark(wish) for wish in mine))
    if fields:
        texts = (*foreign, *map(write_mark, left))
        if texts != tuple(current.get(MARK, ())):
            fields[MARK] = texts
    return Plan(tuple(edits), fields)


@dataclass(frozen=True)
class _Settled:
    """What becomes of one field; `declined` are folded."""

    now: tuple[str, ...]
    after: tuple[str, ...]
    theirs: tuple[str, ...]
    wished: tuple[str, ...]
    declined: frozenset[str]

    def edit(self, name: str, existing: str) -> Edit:
        """Return the edit, with its reason."""
        now, after = set(map(_exact, self.now)), set(map(_exact, self.after))
        missing = _lacking(self.wished, self.now)
        if now == after:
            reason = "same"
            if missing:
                all_declined = all(_fold(value) in self.declined for value in missing)
                reason = "declined" if all_declined else "kept"
            return Edit(name, self.now, self.now, reason, missing)
        if not now:
            reason = "new"
        elif after < now and after >= set(map(_exact, self.theirs)):
            reason = "removed"
        elif self.theirs:
            reason = "overwritten" if existing == "overwrite" else "merged"
        else:
            reason = "updated"
        return Edit(name, self.now, self.after, reason)

    def mark(self, wish: Wish) -> dict[str, Any] | None:
        """Return the mark of a task: its values that are ours, and those declined."""
        theirs = set(map(_exact, self.theirs))
        mine = {_fold(value) for value in wish.values}
        values = [v for v in self.after if _exact(v) not in theirs and _fold(v) in mine]
        values += [v for v in _unique(wish.values) if _fold(v) in self.declined]
        if not values:
            return None
        said = {"task": wish.task, "field": wish.field, "model": wish.model}
        return {**said, "digest": wish.digest[:DIGITS], "values": values}


def _settle(
    now: tuple[str, ...], wished: tuple[str, ...], claimed: set[str], existing: str
) -> _Settled:
    theirs = tuple(value for value in now if _exact(value) not in claimed)
    there = {_exact(value) for value in now}
    declined = frozenset(_fold(value) for value in claimed - there) - {_fold(v) for v in now}
    if existing == "overwrite":
        declined = frozenset()
    wanted = tuple(value for value in wished if _fold(value) not in declined)
    if not theirs or (existing == "overwrite" and wished):
        after = wanted
    else:
        folded = {_fold(value) for value in wished}
        after = tuple(v for v in now if _exact(v) not in claimed or _fold(v) in folded)
        if existing == "merge":
            after += _lacking(wanted, after)
    return _Settled(now, after, theirs, wished, declined)


def _by_field(wishes: Iterable[Wish]) -> dict[str, list[Wish]]:
    groups: dict[str, list[Wish]] = {}
    for wish in wishes:
        groups.setdefault(wish.field.casefold(), []).append(wish)
    return groups


def _united(wishes: Iterable[Wish]) -> tuple[str, ...]:
    return _unique(value for wish in wishes for value in wish.values)


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    """Return the values that a field can hold, each once whatever its case."""
    found: dict[str, str] = {}
    for value in filter(None, map(_exact, values)):
        found.setdefault(_fold(value), value)
    return tuple(found.values())


def _lacking(values: Iterable[str], where: Iterable[str]) -> tuple[str, ...]:
    """Return the values that are not there in any case."""
    there = {_fold(value) for value in where}
    return tuple(value for value in values if _fold(value) not in there)


def _exact(value: str) -> str:
    """Return what makes a value the same to the letter: programs compose and strip as they like."""
    return unicodedata.normalize("NFC", value).strip()


def _fold(value: str) -> str:
    return _exact(value).casefold()


# --- the mark ------------------------------------------------------------------------------------


def write_mark(mark: Mapping[str, Any]) -> str:
    """Return the text that stands for a mark in `MARK`."""
    text = json.dumps(mark, separators=(",", ":"))
    return text.replace(";", r"\u003b").replace("/", r"\u002f")


def read_marks(texts: Iterable[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the marks that the texts of `MARK` hold, and the texts that are not ours."""
    marks: list[dict[str, Any]] = []
    foreign: list[str] = []
    for text in texts:
        found = _marks_of(text)
        if found is None:
            foreign.append(text)
        else:
            marks += found
    return marks, foreign


def _marks_of(text: str) -> list[dict[str, Any]] | None:
    """Return the marks of a text, several where a program joined them; None for other texts."""
    decoder = json.JSONDecoder()
    rest = text.strip(_BETWEEN)
    found = []
    while rest:
        try:
            mark, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError):
            return None
        if not _is_mark(mark):
            return None
        found.append(mark)
        rest = rest[end:].lstrip(_BETWEEN)
    return found or None


def _is_mark(mark: Any) -> bool:
    if not isinstance(mark, dict) or not isinstance(mark.get("values"), list):
        return False
    words = [*(mark.get(name) for name in ("task", "field", "model", "digest")), *mark["values"]]
    return all(isinstance(word, str) for word in words)


# --- for people ----------------------------------------------------------------------------------


def line(edit: Edit) -> str:
    """Return an edit as a line for people.

    >>> line(Edit("mood", ("calm",), ("calm", "warm"), "updated"))
    'mood: calm -> calm; warm'
    """
    before, after, missing = map(_listed, (edit.before, edit.after, edit.missing))
    match edit.reason:
        case "new":
            said = f"+ {after}"
        case "removed":
            stays = set(edit.after)
            said = f"- {_listed(v for v in edit.before if v not in stays)}"
        case "overwritten":
            said = f"{before} -> {after} (overwritten)"
        case "same":
            said = before
        case "kept":
            said = f"{before} kept, {missing} not written (--overwrite or --merge)"
        case "declined":
            said = f"{missing} was removed by somebody and not written again (--overwrite)"
        case _:
            said = f"{before} -> {after}"
    return f"{edit.field}: {said}"


def _listed(values: Iterable[str]) -> str:
    return "; ".join(v if len(v) <= _SHOWN else f"{v[: _SHOWN - 1]}…" for v in values)

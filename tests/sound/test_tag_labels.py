"""What `--tag` says, and the label columns that come of it."""

from __future__ import annotations

from typing import Any

import pytest

from mt_tools.errors import UsageError
from mt_tools.sound.labels import KINDS, USUAL, Label, parse_label, read_label
from mt_tools.tasks import kinds


def test_kinds_are_those_of_tasks() -> None:
    """A label would have a kind that mt-train does not know, or another type than it expects."""
    predicts = {"string": "strings", "strings": "lists of strings", "number": "numbers"}
    for kind, column in KINDS.items():
        assert predicts[column] in kinds.KINDS[kind].accepts


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("energy=ENERGY:regression", Label("energy", "energy", "regression")),
        ("key=TKEY", Label("key", "key", "multiclass")),
        ("s=TXXX:SITUATION:multilabel", Label("s", "situation", "multilabel")),
        ("s=TXXX:SITUATION", Label("s", "situation", "multiclass")),
        ("s=----:com.apple.iTunes:Set:ordinal", Label("s", "set", "ordinal")),
        ("note=COMM:Custom1", Label("note", "comm:custom1", "multiclass")),
        ("my label=My Field", Label("my label", "my field", "multiclass")),
    ],
)
def test_what_is_understood(text: str, label: Label) -> None:
    """Names with colons would be torn apart."""
    assert parse_label(text) == label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("energy", "expected COLUMN=FIELD"),
        ("=x", "expected COLUMN=FIELD"),
        ("x=", "expected COLUMN=FIELD"),
        ("x=:regression", "expected COLUMN=FIELD"),
        ("energy=ENERGY:number", "kind 'number' cannot be read from a tag, expected one of multi"),
        ("energy=ENERGY:distribution", "kind 'distribution'"),
        ("id=ENERGY", "'id' is no name for a label"),
        ("x_pred=ENERGY", "no name for a label"),
        ("embedding=ENERGY", "no name for a label"),
        ("mt.library=x", "no name for a label"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    """A slip of the hand would scan 100,000 files for a column of nothing."""
    with pytest.raises(UsageError, match=message):
        parse_label(text)


@pytest.mark.parametrize(
    ("kind", "values", "separators", "expected"),
    [
        ("multiclass", ["a;b", "c"], ";", ("a;b", None)),
        ("multilabel", ["a; b", "c", "a"], ";", (["a", "b", "c"], None)),
        ("multilabel", ["a/b;c"], ";/", (["a", "b", "c"], None)),
        ("multilabel", ["a/b;c"], "", (["a/b;c"], None)),
        ("multilabel", [";"], ";", (None, None)),
        ("regression", ["300"], ";", (300.0, None)),
        ("regression", ["high", "2.5"], ";", (2.5, None)),
        ("regression", ["high"], ";", (None, "high")),
        ("ordinal", ["3"], ";", (3.0, None)),
        ("ordinal", ["nan"], ";", (None, "nan")),
        ("regression", [], ";", (None, None)),
        ("multiclass", [], ";", (None, None)),
        ("multilabel", [], ";", (None, None)),
    ],
)
def test_values(kind: str, values: list[str], separators: str, expected: Any) -> None:
    """A label would be learnt as another one, or a word as a number."""
    fields = {"x": values} if values else {}
    assert read_label(Label("x", "x", kind), fields, separators) == expected


def test_usual_labels() -> None:
    """Genre, year and tempo would be read otherwise than `read_info` does."""
    fields = {"genre": ["Rock; Pop"], "date": ["1999-01-01"], "bpm": ["fast", "0", "128.5"]}
    values = {label.column: read_label(label, fields, ";")[0] for label in USUAL}
    assert values == {
        "genre": ["Rock", "Pop"], "year": 1999, "bpm": 128.5,
        "artist": None, "album": None, "title": None,
    }  # fmt: skip

"""Terms of factors on a terminal: what stands in a line, and that it fits."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from mt_tools.report.factors import TermsView
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

COLUMNS = [
    Column("id", "string", "reserved"),
    Column("source", "string"),
    Column("factor", "integer"),
    Column("term", "string"),
    Column("weight", "number"),
    Column("lift", "number"),
]


def shown(
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    rows: list[tuple[Any, ...]],
    says: str = "",
    width: int = 80,
) -> list[str]:
    """Return the lines of rows of (source, factor, term, weight, lift)."""  # fmt: skip
    monkeypatch.setenv("COLUMNS", str(width))
    view = TermsView(["source", "factor"], says)
    values = dict(zip(("source", "factor", "term", "weight", "lift"), zip(*rows, strict=True),
                      strict=True))  # fmt: skip
    view.write(Batch.build(COLUMNS, {"id": list(map(str, range(len(rows)))), **values}))
    view.finish(len(rows), 0)
    return capsys.readouterr().out.splitlines()


def test_a_line_a_factor(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """REP's Table 2 could not be read off: the terms of a factor would stand in five lines."""
    rows = [("tags", 0, "indie", 0.5, 2.0), ("tags", 0, "british", 0.25, 3.456),
            ("tags", 1, "soul", 0.75, float("nan"))]  # fmt: skip
    head, first, second = shown(monkeypatch, capsys, rows)
    assert head.split() == ["factor", "strongest", "terms"]  # one source is not worth a column
    assert first.split() == ["0", "indie,", "british"]
    assert second.split() == ["1", "soul"]
    _, first, second = shown(monkeypatch, capsys, rows, "lift")
    assert first.split("  ")[-1].strip() == "indie 2×, british 3.456×"
    assert second.split() == ["1", "soul"]
    _, first, _ = shown(monkeypatch, capsys, rows, "share")
    assert "indie 50.0%, british 25.0%" in first
    loadings = [("pca", 0, "mfcc 1", -0.8, None), ("pca", 0, "mfcc 2", 0.6, None)]
    assert "mfcc 1 -0.80, mfcc 2 +0.60" in shown(monkeypatch, capsys, loadings, "loading")[1]
    two = [*rows, ("lyrics", 0, "love", 0.5, 2.0)]
    assert shown(monkeypatch, capsys, two)[-1].split() == ["lyrics", "0", "love"]


@pytest.mark.parametrize("width", [24, 40, 100])
def test_long_terms_of_any_script_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, width: int
) -> None:
    """A long tag, or one of wide letters, would break the table, or its end be cut off."""
    terms = [
        "songs that I heard at three in the morning",
        "日本の音楽と雑音の長い名前",
        "ضوضاء",
        "a\x1b[31mb",
    ]
    lines = shown(monkeypatch, capsys, [("tags", 0, term, 0.5, 2.0) for term in terms], width=width)
    assert all(cell_len(line) <= width for line in lines)
    text = "".join("".join(lines).split())
    for term in terms[:3]:
        assert term.replace(" ", "") in text
    assert "\x1b" not in text  # a terminal would obey it

"""What sources and strategies do, as a part of a report."""

from __future__ import annotations

from typing import Any

from mt_tools.report.document import Number, Table, Words
from mt_tools.report.sources import effect_parts


def row(kind: str, value: float, **more: Any) -> dict[str, Any]:
    """Return a row of mt-eval compare --design."""
    empty = dict.fromkeys(("name", "term", "number", "strategy", "low", "high", "p", "n"))
    return empty | {"task": "style", "metric": "accuracy", "kind": kind, "value": value} | more


def test_each_number_stands_in_its_place() -> None:
    """A reader would take the runs with a source for those without it, or a strategy's for all."""
    rows = [
        row("fixed", 0.02, task=None, metric=None, term="sources", low=0.01, high=0.03, p=0.002),
        row("average", 0.9, name="bpm", term="with"),
        row("average", 0.7, name="bpm", term="without"),
        row("average", 0.1, name="bpm", term="with", strategy="MSS-CR"),
        row("average", 0.2, name="bpm", term="with", number=2),
        row("single", 0.6, name="bpm"),
        row("source", 0.05, name="bpm"),
        row("average", 0.8, number=2, n=10),
        row("average", 0.3, number=2, n=4, strategy="MSS-CR"),
        row("spread", 0.04, number=2, low=0.03, high=0.06),
        row("best", 0.95, number=2, name="MSS-CR_bpm+tag"),
        row("trend", 0.75, name="spread", term="these sources", low=0.5, high=0.9),
        row("rank", -0.2, name="single and component"),
        row("run", 0.95, name="MSS-CR_bpm+tag", number=2, strategy="MSS-CR"),
    ]
    model, sources, numbers, trend, rank = effect_parts(rows, lambda metric: metric.title())
    assert isinstance(model, Table)
    assert model.rows == [
        ["effect", "all", "a source more", Number(0.02, 0.01, 0.03), Number(0.002)]
    ]
    assert isinstance(sources, Table)
    assert sources.caption.startswith("style, Accuracy")
    assert sources.rows == [["bpm", Number(0.9), Number(0.7), Number(0.6), Number(0.05)]]
    assert isinstance(numbers, Table)
    assert numbers.rows == [
        ["2", "10", Number(0.8), Number(0.04, 0.03, 0.06), "MSS-CR_bpm+tag", Number(0.95)]
    ]
    assert isinstance(trend, Words)
    assert "these sources × 0.750 (0.500 to 0.900)" in trend.text
    assert isinstance(rank, Words)
    assert "-0.200" in rank.text

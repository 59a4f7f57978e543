"""Comparisons on a terminal: every number whole, however narrow it is."""

from __future__ import annotations

import pytest

from mt_tools.report.comparisons import ComparisonsView
from mt_tools.stages.compare import COLUMNS
from mt_tools.tables.batch import Batch

ROW = {
    "id": "style.accuracy: crnn against mfcc", "task": "style", "metric": "accuracy", "a": "mfcc",
    "b": "crnn", "value_a": 0.8444, "value_b": 0.7895, "difference": -0.0549, "low": -0.2158,
    "high": 0.1434, "p_holm": 0.5891, "chance_worse": 0.67, "chance_equal": 0.07,
    "chance_better": 0.26, "decision": "no difference shown", "test": "corrected resampled t",
}  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_numbers_are_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """An interval that ends in the middle of a number would be read as another one."""
    monkeypatch.setenv("COLUMNS", str(width))
    view = ComparisonsView()
    view.write(Batch.build(COLUMNS, {c.name: [ROW.get(c.name)] for c in COLUMNS}))
    view.finish(1, 0)
    shown = capsys.readouterr().out
    assert "-0.055 [-0.216, 0.143]" in shown
    assert "0.5891" in shown
    assert "…" not in shown
    assert {"no", "difference", "shown"} <= {*shown.split()}
    assert max(map(len, shown.splitlines())) <= width

"""mt-eval report without its command: every kind of input, and what is said of leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.learn.history import Record
from mt_tools.nets.model import Model
from mt_tools.report import html, markdown
from mt_tools.report.document import Number, Picture, Report, Section, Table, Words
from mt_tools.report.settings import ReportSettings
from mt_tools.stages.check import FINDING_COLUMNS
from mt_tools.stages.judging import metric_rows
from mt_tools.stages.pictures import Given
from mt_tools.stages.report import explanations, leak_word, reported
from mt_tools.stages.results import log_rows
from mt_tools.stages.score import scored
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column


def predictions(make_batch: Any, right: float, **columns: Any) -> Batch:
    """Return predictions of two classes on 60 rows, so many of them right."""
    truth = ["ab"[i % 2] for i in range(60)]
    wrong = np.random.default_rng(0).permutation(60)[: round(60 * (1 - right))]
    hot = np.array([[t == "a", t == "b"] for t in truth]) * 0.6 + 0.2
    hot[wrong] = hot[wrong][:, ::-1]
    batch = make_batch(style=truth, **columns)
    told = {"vocabulary": ["a", "b"]}
    batch = batch.append(Column("style_score", "vector", "prediction", told, (2,)), hot)
    chosen = ["ab"[i] for i in hot.argmax(axis=1)]
    return batch.append(Column("style_pred", "string", "prediction"), chosen)


def given(batch: Batch, name: str, steps: Any = ()) -> Given:
    """Return a table as an input."""
    return Given(name, f"{name}.parquet", batch.columns, [batch], steps=steps)


def made(*inputs: Given, **settings: Any) -> Report:
    """Return the report of some inputs."""
    return reported(inputs, ReportSettings(**settings), "1.2.3")[0]


def parts_of(sections: Any, kind: type) -> Iterator[Any]:
    """Yield all parts of a kind, those of inner sections too."""
    for section in sections:
        for part in section.parts:
            if isinstance(part, Section):
                yield from parts_of([part], kind)
            elif isinstance(part, kind):
                yield part


def text_of(report: Report) -> str:
    """Return all words of a report."""
    return markdown.render(report, "files")[0].decode().replace("\\", "")


def test_predictions_are_scored_as_by_score(make_batch: Any) -> None:
    """The report would say another number than mt-eval score, or lack its interval."""
    batch = predictions(make_batch, 0.8, split=["train", "test"] * 30)
    batch = batch.without(["split"])
    rows, _ = scored([batch], batch.columns, [], [], seed=0)
    report = made(given(batch, "p"))
    (summary, *_) = report.sections
    (table,) = [part for part in summary.parts if isinstance(part, Table)]
    (line,) = table.rows
    number = line[3]
    assert isinstance(number, Number)
    place = rows.ids.tolist().index("style.accuracy")
    expected = tuple(float(rows[key][place]) for key in ("value", "low", "high"))
    assert (number.value, number.low, number.high) == pytest.approx(expected)
    assert number.value == pytest.approx(0.8)
    assert line[-1] == "not checked"
    names = [picture.name for picture in parts_of(report.sections, Picture)]
    assert names == [f"p-style-{kind}" for kind in
                     ("confusion", "roc", "pr", "calibration", "abstention")]  # fmt: skip
    assert "mt-eval check looks at a table that holds both" in text_of(report)


def test_two_protocols_read_side_by_side_and_say_why(make_batch: Any) -> None:
    """Augmenting before splitting makes a better number: who reads it must learn why."""
    copies = [f"t{i // 2}" for i in range(60)]
    leaky = predictions(make_batch, 0.95, origin=copies, split=["train", "test"] * 30)
    clean = predictions(
        make_batch, 0.7, origin=copies, split=["train"] * 30 + ["test"] * 30
    )  # fmt: skip
    inputs = given(leaky, "leaky"), given(clean, "clean")
    with pytest.raises(UsageError, match="30 origins in more than one split"):
        made(*inputs, splits="test")
    report = made(given(leaky, "leaky"), given(clean, "clean"), splits="test", allow_leak=True)
    summary, together = report.sections[:2]
    assert together.title == "Side by side"
    (table,) = [part for part in together.parts if isinstance(part, Table)]
    (row,) = table.rows
    assert table.heads == ["", "leaky", "clean"]
    assert row[0] == "style: accuracy"
    leaky_row, clean_row = [c.value for c in row[1:] if isinstance(c, Number)]
    warnings = [w.text for w in parts_of([summary, together], Words) if w.tone == "warning"]
    assert any("30 origins in more than one split" in text for text in warnings)
    said = f"a difference of {leaky_row - clean_row:+.3f}"  # type: ignore[operator]
    assert any(said in text and "no evidence of a better model" in text for text in warnings)
    assert not any(text.startswith("clean:") for text in warnings)
    plain = " ".join(w.text for w in parts_of([summary], Words) if w.tone == "plain")
    assert "Copies of one track" in plain
    assert "Split first and augment the train rows only" in plain
    words = [row[-1] for t in summary.parts if isinstance(t, Table) for row in t.rows]
    assert words == ["LEAKS", "none found"]


def test_leaks_that_the_model_was_trained_with_arrive(make_batch: Any) -> None:
    """Rows that look clean would hide that the model has trained on their copies."""
    batch = predictions(make_batch, 0.9, split=["test"] * 60)
    told = {"kind": "multiclass", "leaks": ["4 groups in more than one fold: x (0, 1)"]}
    values = batch["style_pred"]
    batch = batch.replace(Column("style_pred", "string", "prediction", told), values)
    text = text_of(made(given(batch, "p")))
    assert "4 groups in more than one fold" in text
    assert "Music of one artist or album stands on both sides" in text


def test_a_task_without_labels_is_told_and_the_others_reported(make_batch: Any) -> None:
    """One label that the test rows lack would cost the whole report, and every figure."""
    batch = predictions(make_batch, 0.8, mood=[None] * 60)
    batch = batch.append(Column("mood_pred", "string", "prediction"), ["sad"] * 60)
    report, notes = reported([given(batch, "m")], ReportSettings(), "1")
    assert notes == ["m: mood: nothing to score: of 60 rows 0 are labelled, 60 have a prediction "
                     "and none has both"]  # fmt: skip
    assert "Mood: nothing to score" in text_of(report)
    titles = [part.title for s in report.sections for part in s.parts if isinstance(part, Section)]
    assert titles == ["style"]


def test_leak_lines_are_understood() -> None:
    """A leak would be called none, or a clean split a leak."""
    line = "allowed: 3 origins in more than one split; allowed in training: 1 group in two folds"
    assert leak_word(line) == "LEAKS"
    assert len(explanations([line])) == 2
    # What was allowed stands behind what was looked at, in the report of mt-eval thresholds.
    assert (
        leak_word("none found between the parts of split; allowed: fitted on test rows") == "LEAKS"
    )
    for clean, word in (("none found between the parts of split", "none found"),
                        ("not checked: no two parts of a split here", "not checked"),
                        ("possible: artists may stand on both sides; none found", "possible"),
                        (None, "not checked")):  # fmt: skip
        assert leak_word(clean) == word
        assert explanations([clean] if clean else []) == []
    assert explanations(["allowed in training: trained on all rows, 9 of them marked for testing"])


def test_metric_rows_of_two_files(make_batch: Any) -> None:
    """Results of mt-eval probe would have to be joined by hand."""

    def rows(value: float) -> Batch:
        own: list[dict[str, Any]] = [
            {"task": "style", "column": "embedding", "metric": "accuracy", "value": value,
             "low": value - 0.1, "high": value + 0.1, "n": 50, "protocol": "svm, 5 folds"},
            {"task": "style", "column": "embedding", "metric": "f1", "label": "jazz",
             "value": value, "n": 20},
        ]  # fmt: skip
        own += [
            {"task": "style", "column": "embedding", "metric": "accuracy", "value": 0.1234,
             "n": 9, "repeat": i} for i in range(5)
        ]  # fmt: skip
        return metric_rows(own)

    text = text_of(made(given(rows(0.5), "one"), given(rows(0.75), "two")))
    assert "| style: accuracy | 0.500 (0.400 to 0.600) | 0.750 (0.650 to 0.850) |" in text
    assert "Of 5 single splits, not shown here." in text
    assert "0.123" not in text
    assert "| jazz | 0.500 | 20 |" in text
    assert "Protocol: svm, 5 folds." in text


def test_logs_findings_and_models(make_batch: Any, fit_model: Callable[..., Model]) -> None:
    """A report of a training would lack its curves, its check or its model card."""
    points = [Record(n, 10 * n, n, "style", part, "loss", 1 / n + (part == "valid"))
              for n in (1, 2, 3) for part in ("train", "valid")]  # fmt: skip
    log = log_rows([("m", point) for point in points])
    finding = {"id": ["1.group"], "kind": ["group"], "count": [3], "message": ["3 groups in two"],
               "offenders": [["artist <x>"]]}  # fmt: skip
    findings = Batch.build(FINDING_COLUMNS, finding)
    none = Batch.build(FINDING_COLUMNS, {c.name: [] for c in FINDING_COLUMNS})
    vectors = make_batch(
        embedding=np.eye(8, dtype=np.float32), style=list("abababab"), tags=[["x"], []] * 4
    )
    model = fit_model(vectors, "style", "tags", epochs=2)
    model.document["training"]["notes"] = ["leak allowed: 2 origins in more than one split: a"]
    step = {"command": "mt-embed", "version": "1", "settings": {"model": ["x"], "seed": 0, "q": ""}}
    report = made(
        given(log, "log", [step]), given(findings, "found"), given(none, "clean"),
        Given("m", "m.safetensors", model=model),
    )  # fmt: skip
    text = text_of(report)
    assert "| m | style | loss | 1.333 | 30 | 1.333 |" in text  # the best of valid, and the last
    assert "3 groups in two" in text
    assert "artist <x>" in text
    assert "Nothing was found." in text
    assert f"| digest | {model.digest} |" in text
    assert "Trained on a split that leaks: 2 origins in more than one split." in text
    assert "Copies of one track" in text
    assert "| tags | multilabel | 1 | x |" in text
    assert "mt-embed | 1 | model=x seed=0 |" in text
    assert [picture.name for picture in parts_of(report.sections, Picture)] == ["log-curves"]


def test_comparisons_and_empty_tables(make_batch: Any) -> None:
    """What mt-eval compare and a check without findings wrote would be refused."""
    batch = make_batch(
        task=["style"], metric=["accuracy"], a=["old"], b=["new"], value_a=[0.5], value_b=[0.75],
        difference=[0.25], low=[0.125], high=[0.375], p_holm=[0.04], decision=["better"],
        leak=["a: allowed: 2 groups in more than one split"],
    )  # fmt: skip
    empty = make_batch(x=[1]).take([])
    text = text_of(made(given(batch, "c"), given(empty, "found")))
    line = "| style | accuracy | new against old | 0.750 | 0.500 | 0.250 (0.125 to 0.375) | 0.040"
    assert f"{line} | better |" in text
    assert "> **Warning:** Leaks: a: allowed: 2 groups in more than one split." in text
    assert "It has no rows: nothing was found." in text


def test_what_cannot_be_reported_is_answered(make_batch: Any) -> None:
    """A table of embeddings would give an empty report."""
    batch = make_batch(embedding=np.eye(3, dtype=np.float32), style=list("abc"))
    with pytest.raises(UsageError, match=r"e.parquet holds embeddings, of which there is nothing"):
        made(given(batch, "e"))


def test_equal_inputs_give_equal_bytes(make_batch: Any) -> None:
    """A report in a repository would change every time that it is made."""
    one, two = (
        html.render(made(given(predictions(make_batch, 0.8), "p"), title="T")) for _ in range(2)
    )
    assert one == two
    assert b"<title>T</title>" in one

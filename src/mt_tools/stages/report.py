"""A report of what evaluation wrote: numbers with interval, protocol and leaks, and figures.

Conventions: whatever is reported is recognised by its columns (see `pictures.content_of`). The
summary comes first, a line a task and input; where a split leaks, the report says so in words, and
why numbers of a leaking split are not to be compared with others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.evaluate.measure import HEADLINES
from mt_tools.metrics import LOWER_IS_BETTER
from mt_tools.report.document import (
    Cell,
    Number,
    Picture,
    Report,
    Section,
    Table,
    Words,
    digits,
)
from mt_tools.report.settings import ReportSettings
from mt_tools.report.sources import effect_parts
from mt_tools.report.style import as_svg, footnote
from mt_tools.stages import pictures
from mt_tools.stages.judging import splits_of
from mt_tools.stages.pictures import (
    Given,
    Judged,
    Row,
    Series,
    at_of,
    borders_of,
    parted,
    rows_of,
    words,
)
from mt_tools.stages.score import scored
from mt_tools.tasks.labels import class_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 300
"""Rows that a table of a report shows."""

OFFENDERS = 30
"""Offenders that a finding names."""

NO_LEAK = "none found"
UNCHECKED = "not checked"
POSSIBLE = "possible"
ALLOWED = "allowed"

EXPLAINED = {
    "origin": (
        "Copies of one track (augmented versions, excerpts or segments) stand on both sides of "
        "the split. A model that was trained on one copy need not hear what the label means to "
        "know another copy again: it has seen the track with its label. Such numbers say how well "
        "it remembers and are too high for new music. Split first and augment the train rows only: "
        "mt-fetch split, then mt-augment."
    ),
    "group": (
        "Music of one artist or album stands on both sides of the split. Voice, instruments and "
        "mastering of an artist tell the label of other tracks of the same artist, so the numbers "
        "are too high for artists that the model has never heard. Draw the split again with "
        "mt-fetch split, which keeps groups together."
    ),
    "identical": (
        "The same features stand on both sides of the split: the same recording under two names. "
        "The model was trained on what it is tested on. Leave one of each out, or give both the "
        "same origin."
    ),
    "marked for testing": (
        "The model was trained on rows that are marked for testing, and is scored on them: the "
        "numbers say how well it remembers. Train again without --ignore-split."
    ),
}
"""Why numbers are not to be believed, by what a leak line says."""


@dataclass
class _Result:
    """What one input gave: its section, and its metric rows for the summary."""

    section: Section
    rows: list[Row] = field(default_factory=list)


def reported(
    inputs: Sequence[Given], settings: ReportSettings, version: str
) -> tuple[Report, list[str]]:
    """Return the report of all inputs, and notes.

    Raises `UsageError` for an input that holds nothing to report, and for predictions on a split
    that leaks, unless that is allowed.
    """
    notes: list[str] = []
    results = [_reported(one, settings, notes) for one in inputs]
    series = [
        Series(one.name, result.rows)
        for one, result in zip(inputs, results, strict=True)
        if result.rows
    ]
    found = [one for one in parted(series) if not settings.task or one[1] in settings.task]
    sections = [_summary(inputs, found)]
    if together := _side_by_side(series, found):
        sections.append(together)
    sections += [result.section for result in results]
    made = Section("How the inputs were made", list(_made(inputs)))
    sections += [made] * bool(made.parts)
    return Report(settings.title, sections, f"Made by mt-eval report, mt-tools {version}."), notes


def _reported(one: Given, settings: ReportSettings, notes: list[str]) -> _Result:
    content = one.content
    section = Section(f"{one.name}: {TITLES[content]}" if content in TITLES else one.name)
    if content == "predictions":
        return _predictions(one, settings, section, notes)
    if content == "model":
        section.parts += _card(one)
        return _Result(section)
    if content in ("embeddings", "table"):
        if not any(len(batch) for batch in one.batches):  # of JSON nothing else is known then
            section.parts.append(Words("It has no rows: nothing was found."))
            return _Result(section)
        raise UsageError(
            f"{one.path} holds {content}, of which there is nothing to report: give predictions of "
            "mt-tag on labelled tracks, rows of mt-eval, a log of mt-train or a model"
        )
    if content == "log":
        batches = list(one.batches)
        figure = pictures.log_figure([(one.path, batches)], settings.task, ())
        said = "Losses and metrics over the samples seen, train dashed, valid solid."
        section.parts += [_picture(figure, f"{one.name}-curves", said), _log_table(batches)]
        return _Result(section)
    batches = list(one.batches)
    rows = rows_of(batches)
    if content == "metrics":
        section.parts += _metrics(one, rows, settings)
        return _Result(section, rows)
    if content == "effects":
        section.parts += effect_parts(rows, pictures.words)
        figure = pictures.spread([(one.name, one.columns, rows)], by="number")
        said = "Values of all runs over the number of their sources."
        section.parts.append(_picture(figure, f"{one.name}-spread", said))
        return _Result(section)
    section.parts += _findings(rows) if content == "findings" else _comparison(rows)
    return _Result(section)


TITLES = {
    "predictions": "predictions",
    "metrics": "metrics",
    "findings": "findings of the leak check",
    "comparison": "comparison of runs",
    "effects": "what sources and strategies do",
    "log": "learning curves",
    "model": "model card",
}


# --- summary -------------------------------------------------------------------------------------


def leak_word(line: str | None) -> str:
    """Return what a leak line comes down to: none found, not checked, possible, or LEAKS."""
    if line is None:
        return UNCHECKED
    if ALLOWED in line:  # whatever else was looked at
        return "LEAKS"
    known = (NO_LEAK, UNCHECKED, POSSIBLE)
    return next((word for word in known if line.startswith(word)), "LEAKS")


def explanations(lines: Iterable[str]) -> list[str]:
    """Return in words why the leaks of these lines make numbers too high."""
    lines = [line for line in lines if leak_word(line) == "LEAKS"]
    return [text for sign, text in EXPLAINED.items() if any(sign in line for line in lines)]


def _main(rows: Sequence[tuple[str, str, Row]]) -> Iterator[tuple[str, str, Row]]:
    """Yield the main metric of each series and task."""
    keys = dict.fromkeys((series, task) for series, task, _ in rows)
    headlines = list(dict.fromkeys(HEADLINES.values()))
    for series, task in keys:
        own = [
            row for name, other, row in rows
            if (name, other) == (series, task) and row["label"] is None
            and row.get("repeat") is None and at_of(row["metric"]) is None
        ]  # fmt: skip
        known = {row["metric"]: row for row in own}
        # Of numbers there is an r2, of classes an accuracy: whichever comes first in the list.
        name = next((metric for metric in known if metric in headlines), next(iter(known), None))
        if name is not None:
            yield series, task, known[name]


def _summary(inputs: Sequence[Given], found: Sequence[tuple[str, str, Row]]) -> Section:
    section = Section("Summary")
    table: list[list[Cell]] = [
        [series, task, words(row["metric"]), _number(row), _count(row), row.get("protocol") or "",
         leak_word(row.get("leak"))]
        for series, task, row in _main(found)
    ]  # fmt: skip
    if table:
        heads = ["input", "task", "metric", "value (95 % interval)", "n", "protocol", "leaks"]
        section.parts.append(Table("The main metric of each task", heads, table))
    else:
        held = [[one.name, TITLES.get(one.content, one.content)] for one in inputs]
        section.parts.append(Table("What this report is of", ["input", "holds"], held))
    lines = dict.fromkeys(
        (series, str(row["leak"])) for series, _, row in found
        if row.get("leak") and leak_word(row["leak"]) == "LEAKS"
    )  # fmt: skip
    section.parts += [
        Words(f"{series}: the numbers come from a split that leaks ({line}).", "warning")
        for series, line in lines
    ]
    section.parts += [Words(text) for text in explanations(line for _, line in lines)]
    doubtful = dict.fromkeys(
        (series, str(row["leak"])) for series, _, row in found
        if row.get("leak") and leak_word(row["leak"]) == POSSIBLE
    )  # fmt: skip
    section.parts += [Words(f"{series}: a leak is {line}.", "note") for series, line in doubtful]
    if table and all(row[-1] == UNCHECKED for row in table):
        section.parts.append(
            Words(
                "Whether a split leaks was not checked, since the rows that trained the model are "
                "not among these: mt-eval check looks at a table that holds both.",
                "note",
            )
        )
    return section


def _side_by_side(
    series: Sequence[Series], found: Sequence[tuple[str, str, Row]]
) -> Section | None:
    """Return the main metrics that several series have, next to each other."""
    mains = list(_main(found))
    tasks = {
        task: [(name, row) for name, other, row in mains if other == task]
        for task in dict.fromkeys(task for _, task, _ in mains)
    }
    tasks = {
        task: rows
        for task, rows in tasks.items()
        if len(rows) > 1 and len({row["metric"] for _, row in rows}) == 1
    }
    if not tasks:
        return None
    section = Section("Side by side")
    names = list(dict.fromkeys(name for rows in tasks.values() for name, _ in rows))
    table: list[list[Cell]] = []
    for task, rows in tasks.items():
        known = {name: _number(row) for name, row in rows}
        table.append(
            [f"{task}: {words(rows[0][1]['metric'])}", *(known.get(n, Number(None)) for n in names)]
        )
    section.parts.append(Table("Each column is an input", ["", *names], table))
    for task, rows in tasks.items():
        section.parts += _told_apart(task, rows)
    metrics = dict.fromkeys(row["metric"] for rows in tasks.values() for _, row in rows)
    figure = pictures.metric_bars(series, list(tasks), list(metrics))
    said = "; ".join(
        f"{task}: " + ", ".join(f"{name} {digits(row['value'])}" for name, row in rows)
        for task, rows in tasks.items()
    )
    section.parts.append(_picture(figure, "side-by-side", f"Bars with 95 % intervals. {said}."))
    return section


def _told_apart(task: str, rows: Sequence[tuple[str, Row]]) -> Iterator[Words]:
    """Say what a difference between a leaking and another split is worth."""
    leaky = [(n, row) for n, row in rows if leak_word(row.get("leak")) == "LEAKS"]
    others = [(n, row) for n, row in rows if leak_word(row.get("leak")) != "LEAKS"]
    for name, row in leaky:
        for other, honest in others:
            if row["value"] is None or honest["value"] is None:
                continue
            difference = row["value"] - honest["value"]
            metric = words(row["metric"])
            better = difference < 0 if row["metric"] in LOWER_IS_BETTER else difference > 0
            word = leak_word(honest.get("leak"))
            said = {NO_LEAK: "does not leak", POSSIBLE: "may leak"}.get(word, "was not checked")
            yield Words(
                f"{task}: the {metric} of {name} is {digits(row['value'])}, that of {other} "
                f"{digits(honest['value'])}, a difference of {difference:+.3f}. The split of "
                f"{name} leaks, that of {other} {said}. "
                + (
                    "So the difference is no evidence of a better model: the leak alone can "
                    "make it."
                    if better
                    else "The leak can only flatter, so the model may be worse still."
                ),
                "warning",
            )


# --- predictions ---------------------------------------------------------------------------------


def _predictions(
    one: Given, settings: ReportSettings, section: Section, notes: list[str]
) -> _Result:
    parts = splits_of(settings.splits)
    columns = dict(one.columns)
    table = pictures.predictions_table(one.batches, columns, settings.task)
    batch, said = scored(
        [table], columns, settings.task, parts, settings.seed, settings.allow_leak
    )  # fmt: skip
    notes += [f"{one.name}: {note}" for note in said]
    rows = rows_of([batch])
    if parts:
        table = table.take([i for i, part in enumerate(table["split"]) if part in parts])
    section.parts += [Words(f"{note[:1].upper()}{note[1:]}.", "note") for note in said]
    for judged in pictures.judged(table, columns, settings.task, "", rows):
        own = [row for row in rows if row["task"] == judged.name]
        if not own:  # no row has its label: the notes say so
            continue
        inner = Section(judged.name)
        inner.parts += _numbers(own)
        inner.parts += _drawn(one, judged, own, borders_of(settings.borders))
        inner.parts += _by_label(own)
        section.parts.append(inner)
    return _Result(section, rows)


def _drawn(
    one: Given, judged: Judged, rows: Sequence[Row], borders: Sequence[float]
) -> Iterator[Picture]:
    for kind in pictures.fitting(judged):
        if kind == "bars" and judged.kind != "multilabel":
            continue  # the confusion matrix says it
        figure = pictures.of_predictions(kind, [judged], borders)
        leaks = dict.fromkeys(str(row["leak"]) for row in rows if row.get("leak"))
        footnote(figure, [f"leak {line}" for line in leaks if leak_word(line) == "LEAKS"])
        yield _picture(figure, f"{one.name}-{judged.name}-{kind}", ALT[kind](judged))


def _right(judged: Judged) -> str:
    right = int(np.sum(judged.truth == judged.predicted))
    return f"{len(judged.truth)} rows, {right} of them right"


ALT: Mapping[str, Callable[[Judged], str]] = {
    "confusion": lambda j: (
        f"Confusion matrix of {j.label}: {_right(j)}. Row: true, column: "
        "predicted; the shade is the share of the true class."
    ),
    "roc": lambda j: f"ROC curves of {j.label}: mean AUC {_mean(j, 'roc_auc')}.",
    "pr": lambda j: (
        f"Precision over recall of {j.label}: mean average precision "
        f"{_mean(j, 'average_precision')}."
    ),
    "calibration": lambda j: (
        f"Reliability diagram of {j.label}: how often predictions came true, "
        "over their probability; below, how many there are."
    ),
    "abstention": lambda j: (
        f"Accuracy of {j.label} over coverage: of the most confident predictions only."
    ),
    "bars": lambda j: (
        f"Bars of each label of {j.label} with 95 % intervals, best first; in "
        "brackets how many rows have it. The numbers are in the table below."
    ),
    "scatter": lambda j: f"Predictions of {j.label} over their targets, {len(j.truth)} rows.",
}
"""What a figure shows, in words."""


def _mean(judged: Judged, areas: str) -> str:
    return str(pictures.ranked(judged, areas).mean)


# --- metrics -------------------------------------------------------------------------------------


def _metrics(
    one: Given, rows: Sequence[Row], settings: ReportSettings
) -> Iterator[Words | Table | Picture | Section]:
    keys = dict.fromkeys((row["task"], row.get("column")) for row in rows)
    several = len({column for _, column in keys}) > 1
    for task, column in keys:
        if settings.task and task not in settings.task:
            continue
        own = [row for row in rows if (row["task"], row.get("column")) == (task, column)]
        section = Section(f"{task} from {column}" if several and column else str(task))
        whole = [row for row in own if row.get("repeat") is None]
        section.parts += _numbers([row for row in whole if at_of(row["metric"]) is None])
        splits = {row["repeat"] for row in own if row.get("repeat") is not None}
        if splits:
            section.parts.append(Words(f"Of {len(splits)} single splits, not shown here.", "note"))
        section.parts += _by_label(whole)
        yield section
    mine = [Series(one.name, rows)]
    curves: list[tuple[str, str, Callable[..., Figure]]] = [
        ("shots", "Results over the labels of each class that were trained on.", pictures.shots),
        ("abstention", "Accuracy over coverage.", pictures.metric_coverage),
    ]
    ats = {at for row in rows if (at := at_of(row["metric"])) is not None}
    for kind, said, draw in curves:
        if ats and (kind == "abstention") == (min(ats) < 1.0):
            yield _picture(draw(mine, settings.task, ()), f"{one.name}-{kind}", said)
    if any(row["label"] is None and at_of(row["metric"]) is None for row in rows):
        figure = pictures.metric_bars(mine, settings.task)
        yield _picture(figure, f"{one.name}-bars", "Bars of the metrics with 95 % intervals.")


def _numbers(rows: Sequence[Row]) -> Iterator[Words | Table]:
    """Yield the metrics of one task, after their protocol and what is known of leaks."""
    own = [row for row in rows if row["label"] is None]
    for said in dict.fromkeys(row["protocol"] for row in own if row.get("protocol")):
        yield Words(f"Protocol: {said}.")
    for line in dict.fromkeys(row["leak"] for row in own if row.get("leak")):
        yield Words(f"Leaks: {line}.", "warning" if leak_word(line) == "LEAKS" else "plain")
    spread = any(row.get("sd") is not None for row in own)
    noted = any(row.get("note") for row in own)
    if own:
        table: list[list[Cell]] = [
            [
                words(row["metric"]),
                _number(row),
                *[Number(row.get("sd"))] * spread,
                _count(row),
                *[str(row.get("note") or "")] * noted,
            ]
            for row in own
        ]
        yield Table(
            "Metrics with 95 % intervals",
            ["metric", "value (interval)", *["sd"] * spread, "n", *["note"] * noted],
            table,
        )


def _by_label(rows: Sequence[Row]) -> Iterator[Table | Words]:
    """Yield the metrics of each label, a column a metric."""
    own = [row for row in rows if row["label"] is not None]
    metrics = list(dict.fromkeys(row["metric"] for row in own))
    labels: dict[str, dict[str, Row]] = {}
    for row in own:
        labels.setdefault(class_name(row["label"]) or '""', {})[row["metric"]] = row
    if not labels:
        return
    table: list[list[Cell]] = [
        [label, *(_number(known[m], False) if m in known else Number(None) for m in metrics),
         _count(next(iter(known.values())))]
        for label, known in list(labels.items())[:MOST_ROWS]
    ]  # fmt: skip
    yield Table("Of each label, with 95 % intervals", ["label", *map(words, metrics), "n"], table)
    if len(labels) > MOST_ROWS:
        yield Words(f"{len(labels) - MOST_ROWS} more labels: see mt-eval score.", "note")


def _number(row: Row, bar: bool = True) -> Number:
    value, low, high = (row.get(key) for key in ("value", "low", "high"))
    inside = all(end is not None and 0 <= end <= 1 for end in (value, low, high))
    return Number(value, low, high, bar and inside and row["metric"] not in LOWER_IS_BETTER)


def _count(row: Row) -> Number:
    return Number(_whole(row.get("n")))


# --- other inputs --------------------------------------------------------------------------------


def _log_table(batches: Sequence[Any]) -> Table:
    """Return the best and the last value of each curve of a log that is not of train rows."""
    curves: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in rows_of(batches):
        if row["split"] != "train" and row["value"] is not None:
            key = (str(row["run"] or ""), str(row["task"] or "all tasks"), str(row["metric"]))
            curves.setdefault(key, []).append((float(row["samples"]), float(row["value"])))
    table: list[list[Cell]] = []
    for (run, task, metric), found in curves.items():
        pick = min if metric in LOWER_IS_BETTER else max
        at, best = pick(found, key=lambda point: point[1])
        table.append(
            [run, task, words(metric), Number(best), Number(int(at)), Number(sorted(found)[-1][1])]
        )
    heads = ["run", "task", "metric", "best", "after samples", "last"]
    return Table("Valid losses and metrics", heads, table)


def _findings(rows: Sequence[Row]) -> Iterator[Words | Table]:
    """Yield what mt-eval check found."""
    if not rows:
        yield Words("Nothing was found.")
        return
    table: list[list[Cell]] = []
    for row in rows[:MOST_ROWS]:
        offenders = row["offenders"] or []
        more = [f"and {len(offenders) - OFFENDERS} more"] * (len(offenders) > OFFENDERS)
        said = "; ".join([*offenders[:OFFENDERS], *more])
        what = (row["message"] or "").partition(":")[0]
        table.append([row["kind"], Number(_whole(row["count"])), what, said])
    yield Table("What was found", ["kind", "count", "what", "which"], table)
    yield from _left(rows, "mt-eval check")


def _comparison(rows: Sequence[Row]) -> Iterator[Words | Table]:
    """Yield the comparisons of mt-eval compare, and what they rest on."""
    table: list[list[Cell]] = [
        [
            str(row.get("task") or "all tasks"),
            words(row["metric"] or ""),
            f"{row['b']} against {row['a']}",
            Number(row.get("value_b")),
            Number(row.get("value_a")),
            Number(row["difference"], row.get("low"), row.get("high")),
            Number(row.get("p_holm")),
            str(row.get("decision") or ""),
        ]
        for row in rows[:MOST_ROWS]
    ]
    heads = ["task", "metric", "which", "this", "other", "difference (95 % interval)",
             "p (Holm)", "decision"]  # fmt: skip
    yield Table("Comparisons; the decision is on the run named first", heads, table)
    yield from _left(rows, "mt-eval compare")
    for key, about in (
        ("test", "Test"),
        ("protocol", "Protocol"),
        ("leak", "Leaks"),
        ("note", "Note"),
    ):
        for said in dict.fromkeys(row[key] for row in rows if row.get(key)):
            warn = key == "leak" and "allowed" in said
            yield Words(f"{about}: {said}.", "warning" if warn else "note")


def _left(rows: Sequence[Row], command: str) -> Iterator[Words]:
    if len(rows) > MOST_ROWS:
        yield Words(f"{len(rows) - MOST_ROWS} more: see {command}.", "note")


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _card(one: Given) -> Iterator[Words | Table | Picture]:
    """Yield what a model says of itself."""
    model = one.model
    assert model is not None
    document = model.document
    training = document.get("training", {})
    for leak in model.leaks:
        yield Words(f"Trained on a split that leaks: {leak.partition(':')[0]}.", "warning")
    yield from (Words(text) for text in explanations(f"allowed: {leak}" for leak in model.leaks))
    size = sum(parameter.numel() for parameter in model.net.parameters())
    source, history = document["input"], training.get("history", {})
    rows = training.get("rows", {})
    facts: list[tuple[str, str]] = [
        ("name", model.name),
        ("architecture", document["arch"]),
        ("settings", _settings(document["parameters"])),
        ("parameters", f"{size:,}"),
        ("input", f"{source['kind']} {'×'.join(map(str, model.input_shape))}"),
        ("backbone", model.backbone.name if model.backbone else ""),
        (
            "trained on",
            ", ".join(f"{n} {part}" for part, n in rows.items()) + " rows" if rows else "",
        ),
        ("best epoch", str(history.get("best_epoch", "") or "")),
        ("samples seen", f"{history['samples']:,}" if "samples" in history else ""),
        ("stopped by", str(history.get("stopped", "") or "")),
        ("licence", document["licence"] or "not stated"),
        ("citation", document["citation"]),
        ("digest", model.digest),
        ("fingerprint", _fingerprint(document["fingerprint"])),
    ]
    card: list[list[Cell]] = [[name, said] for name, said in facts if said]
    yield Table("The model", ["what", "value"], card)
    tasks: list[list[Cell]] = []
    for task in model.tasks:
        levels = [level for level in task.get("thresholds") or () if level is not None]
        said = f"{min(levels):.3f} to {max(levels):.3f}" if levels else "–"
        if task.get("abstain") is not None:
            said = f"answers from {task['abstain']:.3f}"
        method = (task.get("calibration") or {}).get("method", "–")
        vocabulary = task["vocabulary"]
        names = ", ".join(map(str, vocabulary[:8])) + (", …" if len(vocabulary) > 8 else "")
        tasks.append([task["name"], task["kind"], Number(len(vocabulary)), names or "–",
                      said, str(method)])  # fmt: skip
    if tasks:
        heads = ["task", "kind", "labels", "which", "thresholds", "calibration"]
        yield Table("Tasks", heads, tasks)
    measured: list[list[Cell]] = []
    for part, entries in document["metrics"].items():
        for task, metrics in entries.items() if part != "repeats" else ():
            for metric, found in metrics.items():
                if isinstance(found, Mapping) and "value" in found:
                    row = {**found, "metric": metric, "n": metrics.get("n")}
                    measured.append([part, task, words(metric), _number(row), _count(row)])
    if measured:
        yield Table("Measured when it was trained, with 95 % intervals",
                    ["rows", "task", "metric", "value (interval)", "n"], measured)  # fmt: skip
    notes = [
        note for note in training.get("notes", []) if note.partition(": ")[2] not in model.leaks
    ]
    yield from (Words(note, "note") for note in notes)


def _fingerprint(found: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name} {', '.join(f'{value:.4g}' for value in values[:4])}"
        + (", …" if len(values) > 4 else "")
        for name, values in found.items()
        if isinstance(values, list) and all(isinstance(v, int | float) for v in values)
    )


def _made(inputs: Sequence[Given]) -> Iterator[Table]:
    for one in inputs:
        steps = one.model.document.get("training", {}).get("provenance", []) if one.model else []
        table: list[list[Cell]] = [
            [
                str(step.get("command")),
                str(step.get("version")),
                _settings(step.get("settings", {})),
            ]
            for step in [*one.steps, *steps]
        ]
        if table:
            yield Table(one.name, ["command", "version", "settings"], table)


def _settings(found: Mapping[str, Any]) -> str:
    """Return settings in a line, without those that are off."""
    said = []
    for name, value in found.items():
        if value is None or value is False or value in ("", [], {}):
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        said.append(f"{name}={text if len(text) <= 40 else text[:39] + '…'}")
    return " ".join(said)


def _picture(figure: Figure, name: str, alt: str) -> Picture:
    safe = "".join(c if (c.isalnum() and c.isascii()) or c in "-_." else "_" for c in name)
    return Picture(safe, as_svg(figure), alt)

"""One figure of what evaluation wrote: predictions, metrics, logs, embeddings or a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mt_tools.errors import UsageError
from mt_tools.report.settings import PlotSettings
from mt_tools.report.style import footnote
from mt_tools.stages import pictures
from mt_tools.stages.judging import leak_line, predictions_of, splits_of
from mt_tools.stages.pictures import KINDS, Given, Judged, Series, rows_of
from mt_tools.stages.score import scored

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNASKED = {"log": "curves", "metrics": "bars", "embeddings": "map", "model": "filters"}
_SCORED = ("roc", "pr", "bars", "scatter")  # figures that name intervals


def plotted(inputs: Sequence[Given], settings: PlotSettings) -> tuple[Figure, list[str]]:
    """Return the figure that the settings ask for of all inputs, and notes.

    Raises `UsageError` for inputs of different content, for a kind that does not fit and where
    there is nothing to draw.
    """
    contents = list(dict.fromkeys(one.content for one in inputs))
    if len(contents) > 1:
        raise UsageError(
            f"got {' and '.join(contents)}: a figure is of one kind of input; draw them apart, or "
            "put them together with mt-eval report"
        )
    content, kind = contents[0], settings.kind
    if kind == "auto" and content != "predictions":
        kind = _unasked(content, inputs)
    columns = [set(pictures.embeddings_of(one.columns)) for one in inputs]
    if kind != "auto" and not _fits(kind, content, all(columns)):
        raise UsageError(
            f"--kind {kind} is drawn of {' or '.join(KINDS[kind])}; {_what_fits(inputs[0])}"
        )
    wanted, tasks = settings.metric, settings.task
    if kind == "curves":
        return pictures.log_figure([(one.path, one.batches) for one in inputs], tasks, wanted), []
    if kind == "spread":
        tables = [(one.name, one.columns, rows_of(one.batches)) for one in inputs]
        return pictures.spread(tables, settings.by, tasks, wanted, settings.apart), []
    if kind == "map":
        how = settings.column, settings.by, settings.map, settings.terms, settings.seed
        return pictures.embedding_map(inputs, *how), []
    if kind == "filters":
        return pictures.filters(inputs), []
    if content == "metrics":
        series = [Series(one.name, rows_of(one.batches)) for one in inputs]
        draw = {
            "bars": pictures.metric_bars,
            "shots": pictures.shots,
            "abstention": pictures.metric_coverage,
        }[kind]
        return draw(series, tasks, wanted), []
    return _of_predictions(inputs, kind, settings)


def _unasked(content: str, inputs: Sequence[Given]) -> str:
    if content not in _UNASKED:
        raise UsageError(f"{inputs[0].path}: nothing is drawn unasked; {_what_fits(inputs[0])}")
    return _UNASKED[content]


def _fits(kind: str, content: str, embeddings: bool) -> bool:
    return content in KINDS[kind] and (kind != "map" or embeddings)


def _what_fits(one: Given) -> str:
    """Return what can be drawn of an input, as words."""
    content = one.content
    kinds = [
        kind for kind in KINDS
        if _fits(kind, content, bool(pictures.embeddings_of(one.columns)))
    ]  # fmt: skip
    if content == "predictions":
        named = predictions_of("", dict(one.columns))
        of_kinds = {kind for p in named for kind in pictures.OF_KIND.get(p.kind, ())}
        kinds = [kind for kind in kinds if kind in of_kinds or kind in ("map", "spread")]
    return f"of {one.path} ({content}) there can be {', '.join(kinds) or 'nothing'}"


def _of_predictions(
    inputs: Sequence[Given], kind: str, settings: PlotSettings
) -> tuple[Figure, list[str]]:
    borders = pictures.borders_of(settings.borders)
    parts = splits_of(settings.splits)
    found: list[Judged] = []
    notes: list[str] = []
    leaks: dict[str, None] = {}
    for one in inputs:
        columns = dict(one.columns)
        table = pictures.predictions_table(one.batches, columns, settings.task)
        for task in settings.task or [""]:
            for known in predictions_of(task, columns):
                line = leak_line(table, "split", settings.allow_leak, known.leaks)
                leaks |= {line: None} if "allowed" in line else {}
        rows = []
        if kind in (*_SCORED, "auto"):
            batch, said = scored(
                [table], columns, settings.task, parts, settings.seed, settings.allow_leak
            )
            rows = rows_of([batch])
            notes += said
        elif not parts and "train" in table.get("split"):
            notes.append("rows of train are drawn too: --splits test leaves them out")
        if parts:
            table.require("split")
            table = table.take([i for i, part in enumerate(table["split"]) if part in parts])
        source = one.name if len(inputs) > 1 else ""
        found += pictures.judged(table, columns, settings.task, source, rows)
    found = [one for one in found if len(one.truth)] or found
    if kind == "auto":
        kind = next((kinds[0] for kinds in map(pictures.fitting, found) if kinds), "")
    fits = [one for one in found if kind in pictures.fitting(one)]
    if not fits:
        first = found[0]
        can = ", ".join(pictures.fitting(first)) or "nothing"
        lacks = first.scores is None and first.kind != "regression"
        scores = " without its column of scores" * lacks
        raise UsageError(
            f"--kind {settings.kind}: {first.name} is {first.kind}{scores}, of which there can be "
            f"{can}"
        )
    left = dict.fromkeys(one.label for one in found if one not in fits)
    notes += [f"{name} is left out: it has no figure of the kind {kind}" for name in left]
    metric = settings.metric[0] if settings.metric else ""
    figure = pictures.of_predictions(kind, fits, borders, metric)
    footnote(figure, [f"leak {line}" for line in leaks])
    return figure, [*notes, *(f"leak {line}" for line in leaks)]

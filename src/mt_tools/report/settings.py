"""Settings of `mt-eval plot` and `mt-eval report`: fields become options. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from mt_tools.settings import setting


@dataclass(frozen=True)
class PlotSettings:
    """`mt-eval plot`."""

    output: str = setting(
        "", "Draw into this .png, .svg or .pdf file.",
        flags=("--output", "-o"), metavar="FILE", result=False,
    )  # fmt: skip
    kind: str = setting(
        "auto",
        "What to draw; auto is learning curves of a log, a confusion matrix, bars or a scatter "
        "plot of predictions, bars of metrics, a map of embeddings, the filters of a model.",
        choices=(
            "auto", "curves", "confusion", "roc", "pr", "bars", "scatter", "calibration",
            "abstention", "spread", "shots", "map", "filters",
        ),
    )  # fmt: skip
    task: tuple[str, ...] = setting(
        (), "Draw this task; all where none is said.", flags=("--task", "-t"), metavar="NAME"
    )
    metric: tuple[str, ...] = setting(
        (), "Draw this metric, or loss; the main ones of each task where none is said.",
        metavar="NAME",
    )  # fmt: skip
    by: str = setting(
        "", "Spread: the column of the number of sources, or another setting. Map: the column "
        "that colours the points.", metavar="COLUMN",
    )  # fmt: skip
    apart: str = setting(
        "", "Spread: tell values apart by a column, such as strategy, or by whether its list has "
        "something, such as sources=bpm.", metavar="COLUMN[=ITEM]",
    )  # fmt: skip
    column: str = setting("", "Map: the embedding, where there are several.", metavar="NAME")
    map: str = setting(
        "tsne", "Map: how vectors find their places; umap is an extra.",
        choices=("tsne", "umap", "pca"),
    )  # fmt: skip
    terms: tuple[str, ...] = setting(
        (), "Map: a column of tags, factors, or terms of mt-factor explain; each part of the map "
        "says what stands out there. Again for several, a line each.",
        metavar="COLUMN",
    )  # fmt: skip
    borders: str = setting(
        "", "Scatter: borders between levels, such as 1.5,2.5,3.5.", metavar="LIST"
    )
    splits: str = setting("", "Draw only rows of these splits.", metavar="LIST")
    seed: int = setting(0, "Seed of intervals and maps.", minimum=0)
    allow_leak: bool = setting(
        False, "Draw predictions although the split leaks; the figure says so.", result=False
    )


@dataclass(frozen=True)
class ReportSettings:
    """`mt-eval report`."""

    output: str = setting(
        "", "Write this .html file, or .md with pictures in a folder beside it.",
        flags=("--output", "-o"), metavar="FILE", result=False,
    )  # fmt: skip
    title: str = setting("Evaluation", "Title of the report.", metavar="TEXT")
    task: tuple[str, ...] = setting(
        (), "Report this task; all where none is said.", flags=("--task", "-t"), metavar="NAME"
    )
    borders: str = setting(
        "", "Borders between the levels of a number, such as 1.5,2.5,3.5.", metavar="LIST"
    )
    splits: str = setting("", "Score only rows of these splits.", metavar="LIST")
    seed: int = setting(0, "Seed of the bootstrap.", minimum=0)
    allow_leak: bool = setting(
        False, "Report predictions although the split leaks; the report says so and why.",
        result=False,
    )  # fmt: skip

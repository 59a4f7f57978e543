"""Settings of `mt-eval plot`: fields become its options. Standard library only."""

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
    task: tuple[str, ...] = setting(
        (), "Draw this task; all where none is said.", flags=("--task", "-t"), metavar="NAME"
    )
    metric: tuple[str, ...] = setting(
        (), "Draw this metric, or loss; the loss and the main metric of each task where none is "
        "said.", metavar="NAME",
    )  # fmt: skip

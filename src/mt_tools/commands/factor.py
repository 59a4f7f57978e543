"""mt-factor: learning targets out of labels and features."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import InputSettings, OutputSettings, RunSettings
from mt_tools.errors import UsageError
from mt_tools.settings import result_settings
from mt_tools.stages.settings import FactorSettings, WordsSettings

app = make_app("Make learning targets out of labels and features.")


@app.callback()
def factor() -> None:
    """Make learning targets out of labels and features."""


@declare(
    app,
    "plsa",
    inputs=Inputs("Tables with a multilabel column, or - for stdin."),
    examples=[
        (
            "mt-factor plsa tracks.parquet -k 50 --fitted tags.npz -o targets.parquet",
            "50 factors of tags, as in the REP study",
        ),
        (
            "mt-factor plsa new.parquet --column tags --apply tags.npz -o new-targets.parquet",
            "fold new tracks into them",
        ),
    ],
)
def plsa(
    inputs: list[str],
    settings: FactorSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Find the factors of a bag of words a track: probabilistic latent semantic analysis.

    Each track gets a distribution over factors that sums to 1, to learn as a target. Fitted on
    the train rows where the table has splits; which rows it was is recorded, for mt-eval check.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages.factors import topics as stage

    if settings.fitted and settings.apply:
        raise UsageError(
            "--fitted and --apply contradict each other: fit, or apply what was fitted"
        )
    with Run("mt-factor plsa", run) as this:
        source = open_inputs(inputs, given, audio=False)
        batches = list(this.read(source, given))
        if not batches:
            return this.finish()
        table, factors = stage.plsa(batches, settings)
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings) | factors.recorded(),
            regular_inputs([*inputs, settings.apply]),
        )
        out = this.output(target, steps, terminal=TableView)
        out.write(table)
        if settings.fitted:
            stage.write_fitted(settings.fitted, factors, result_settings(settings))
        return this.finish()


@declare(
    app,
    "kmeans",
    inputs=Inputs("Tables with features or embeddings, or - for stdin."),
    examples=[
        (
            "mt-factor kmeans mfcc.parquet -k 1024 -o words.npz",
            "the bag of frames of the SEQ study: 1,024 words ...",
        ),
        (
            "mt-embed mfcc.parquet --model bof:words.npz -o bags.parquet",
            "... and how often each occurs in a track",
        ),
        (
            "mt-embed ~/Music --model bof:words.npz --segment 30 --pool mean -o bags.parquet",
            "straight from audio",
        ),
    ],
)
def kmeans(
    inputs: list[str],
    settings: WordsSettings,
    given: InputSettings,
    run: RunSettings,
) -> int:
    """Find the words of a bag of frames: K-means over the frames of features, or over vectors.

    The dictionary, an .npz file, is a model for mt-embed: --model bof:FILE. Fitted on the train
    rows where the table has splits, on at most 256 frames a word, drawn by the seed. Which rows it
    was is recorded, for mt-eval check.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.stages.factors import words as stage

    if not settings.output.endswith(".npz"):
        raise UsageError("say where the dictionary goes: -o FILE.npz")
    with Run("mt-factor kmeans", run) as this:
        source = open_inputs(inputs, given, audio=False)
        centres, of, line = stage.words(this.read(source, given), source.columns, settings)
        steps = this.step(result_settings(settings), regular_inputs(inputs))
        stage.write_words(settings.output, centres, of, steps)
        this.say(line)
        return this.finish()


def _made(
    name: str,
    method: ModuleType,
    inputs: list[str],
    settings: Any,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Run a method of `stages.factors`: fit it or read what was fitted, and write the targets.

    `method` has the functions `needed` and `run` that `stages.factors.fitting` describes, and
    `METHODS`, the names of what it can apply.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages.factors.fitting import read_fitted, write_fitted

    if settings.fitted and settings.apply:
        raise UsageError(
            "--fitted and --apply contradict each other: fit, or apply what was fitted"
        )
    with Run(f"mt-factor {name}", run) as this:
        before = read_fitted(settings.apply, *method.METHODS) if settings.apply else None
        source = open_inputs(inputs, given, audio=False)
        light = source.light(method.needed(source.columns, settings))
        made = method.run(
            lambda: this.read(light, given),
            this.read(source, given),
            source.columns,
            settings,
            before,
        )
        this.rows = 0  # rows that were fitted on are read, and counted, again
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings) | made.fitted.recorded(),
            regular_inputs([*inputs, settings.apply]),
        )
        out = this.output(target, steps, terminal=TableView)
        for batch in this.progress(made.rows, None):
            out.write(batch)
        if settings.fitted:
            write_fitted(settings.fitted, made.fitted)
        for note in made.notes:
            this.say(note)
        return this.finish()


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-factor")

"""mt-factor: learning targets out of labels."""

from __future__ import annotations

from typing import NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import InputSettings, OutputSettings, RunSettings
from mt_tools.errors import UsageError
from mt_tools.settings import result_settings
from mt_tools.stages.settings import FactorSettings

app = make_app("Make learning targets out of labels.")


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
    the train rows where the table has splits.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import factor as stage

    if settings.fitted and settings.apply:
        raise UsageError(
            "--fitted and --apply contradict each other: fit, or apply what was fitted"
        )
    with Run("mt-factor plsa", run) as this:
        source = open_inputs(inputs, given, audio=False)
        batches = list(this.read(source, given))
        if not batches:
            return this.finish()
        table, fitted, vocabulary = stage.plsa(batches, settings)
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings), regular_inputs([*inputs, settings.apply])
        )
        out = this.output(target, steps, terminal=TableView)
        out.write(table)
        if settings.fitted:
            stage.write_fitted(settings.fitted, fitted, vocabulary, result_settings(settings))
        return this.finish()


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-factor")

"""mt-eval: scores, probes and checks."""

from __future__ import annotations

from typing import NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import InputSettings, OutputSettings, RunSettings, WorkSettings
from mt_tools.errors import UsageError
from mt_tools.evaluate.settings import (
    CheckSettings,
    ProbeSettings,
    ProbeTaskSettings,
    ScoreSettings,
)
from mt_tools.report.settings import PlotSettings
from mt_tools.settings import result_settings

app = make_app("Evaluate predictions and embeddings, check tables for leaks, draw curves.")


@app.callback()
def evaluate() -> None:
    """Evaluate predictions and embeddings, with intervals, and check tables for leaks."""


@declare(
    app,
    "score",
    inputs=Inputs("Tables of predictions with labels, or - for stdin."),
    examples=[
        (
            "mt-tag labelled.parquet -m mine.safetensors -o p.parquet && mt-eval score p.parquet",
            "every task that has both label and prediction",
        ),
        (
            "mt-eval score p.parquet --task style --splits test --require 'accuracy>=0.7'",
            "fails a CI job, exit 4, when it gets worse",
        ),
    ],
)
def score(
    inputs: list[str],
    settings: ScoreSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Score a model's predictions against labels, with bootstrap intervals clustered by artist."""
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import MetricsView
    from mt_tools.stages.judging import requirements_unmet
    from mt_tools.stages.score import scored

    with Run("mt-eval score", run) as this:
        source = open_inputs(inputs, given, audio=False)
        parts = [part for part in settings.splits.split(",") if part]
        table, notes = scored(
            this.read(source, given), source.columns, settings.task, parts, settings.seed
        )
        steps = lambda: this.step(result_settings(settings), regular_inputs(inputs))  # noqa: E731
        out = this.output(target, steps, terminal=MetricsView, ends_chain=True)
        out.write(table)
        for note in notes:
            this.say(note)
        return this.finish(requirements_unmet(table, settings.require))


@declare(
    app,
    "probe",
    inputs=Inputs("Tables of embeddings with labels, or - for stdin."),
    examples=[
        (
            "mt-eval probe emb.parquet --task style --repeats 50 --require 'accuracy>=0.5'",
            "fifty random splits by artist; exit 4 below one half",
        ),
        (
            "mt-eval probe emb.parquet --task genre --task tempo --folds 10 -o probe.csv",
            "two tasks, ten folds",
        ),
    ],
)
def probe(
    inputs: list[str],
    settings: ProbeTaskSettings,
    probing: ProbeSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: WorkSettings,
) -> int:
    """Probe embeddings: fit a simple model to them over many splits, and say how well it does.

    Splits keep artists together where the table has groups. The interval is the corrected
    resampled t interval of Nadeau and Bengio.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.engine.pool import cores
    from mt_tools.report.terminal import MetricsView
    from mt_tools.stages.judging import requirements_unmet
    from mt_tools.stages.probe import probed

    with Run("mt-eval probe", run) as this:
        source = open_inputs(inputs, given, audio=False)
        table, notes = probed(
            this.read(source, given),
            source.columns,
            settings.task,
            settings.column,
            probing,
            cores() if work.jobs < 0 else max(1, work.jobs),
        )
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings) | result_settings(probing), regular_inputs(inputs)
        )
        out = this.output(target, steps, terminal=MetricsView, ends_chain=True)
        out.write(table)
        for note in notes:
            this.say(note)
        return this.finish(requirements_unmet(table, settings.require))


@declare(
    app,
    "check",
    inputs=Inputs("Tables, or - for stdin."),
    examples=[
        ("mt-eval check train.parquet", "leaks between splits, and how the table was made"),
        ("mt-eval check new.parquet --model mine.safetensors", "does the table fit the model?"),
    ],
)
def check(
    inputs: list[str],
    settings: CheckSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Check a table for leaks between its splits, and print how it was made.

    Exits 4 on any finding, unless --warn.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.nets.weights import resolve
    from mt_tools.report.terminal import TableView
    from mt_tools.stages.check import checked, finding_rows

    with Run("mt-eval check", run) as this:
        source = open_inputs(inputs, given, audio=False)
        model = resolve(settings.model) if settings.model else None
        findings = checked(this.read(source, given), source.columns, model)
        for step in source.provenance:
            this.say(_described(step))
        steps = lambda: this.step(result_settings(settings), regular_inputs(inputs))  # noqa: E731
        shown = ("kind", "message")
        out = this.output(target, steps, terminal=lambda: TableView(shown, 200), ends_chain=True)
        out.write(finding_rows(findings))
        if not findings:
            this.say(f"{this.rows} rows: nothing found")
        bad = bool(findings) and not settings.warn
        return this.finish([f"{len(findings)} findings in {this.rows} rows"] * bad)


@declare(
    app,
    "plot",
    inputs=Inputs("Logs of mt-train, or - for stdin.", metavar="LOG"),
    examples=[
        (
            "mt-train emb.parquet -t style --log log.parquet -o m.safetensors && "
            "mt-eval plot log.parquet -o curves.svg",
            "losses and metrics over the examples seen",
        ),
        ("mt-eval plot small.parquet large.parquet -o both.png", "two trainings side by side"),
    ],
)
def plot(inputs: list[str], settings: PlotSettings, given: InputSettings, run: RunSettings) -> int:
    """Draw learning curves: train and valid losses and metrics over the examples seen."""
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run
    from mt_tools.report.curves import check_ending, curves_of, draw
    from mt_tools.stages.results import log_columns

    if not settings.output:
        raise UsageError("-o (missing): name the picture, such as -o curves.svg")
    check_ending(settings.output)
    with Run("mt-eval plot", run) as this:
        logs = [(path, open_inputs([path], given, audio=False)) for path in inputs or ["-"]]
        tables = [(path, this.read(source, given)) for path, source in logs]
        curves = curves_of(log_columns(tables, settings.task))
        draw(curves, settings.output, settings.metric)
        return this.finish()


def _described(step: dict[str, object]) -> str:
    settings = step.get("settings")
    options = settings.items() if isinstance(settings, dict) else ()
    said = " ".join(f"{k}={v}" for k, v in options if v not in ("", None, [], {}, False))
    return f"made by {step.get('command')} {step.get('version')}: {said}"


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-eval")

"""mt-eval: scores, probes and checks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import InputSettings, OutputSettings, RunSettings, WorkSettings
from mt_tools.errors import CheckFailed, UsageError
from mt_tools.evaluate.settings import (
    CheckSettings,
    CompareSettings,
    DesignSettings,
    NoiseSettings,
    NoiseTaskSettings,
    ProbeSettings,
    ProbeTaskSettings,
    RecommendSettings,
    RecommendTaskSettings,
    ScoreSettings,
    ThresholdSettings,
)
from mt_tools.report.settings import PlotSettings, ReportSettings
from mt_tools.settings import result_settings

if TYPE_CHECKING:
    from mt_tools.commands.run import Run
    from mt_tools.evaluate.checkpoint import Checkpoint
    from mt_tools.stages.pictures import Given

app = make_app("Evaluate predictions and embeddings, check tables for leaks, draw and report.")


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
    from mt_tools.stages.judging import requirements_unmet, splits_of
    from mt_tools.stages.score import confusions, scored

    _understood(settings.require)
    with Run("mt-eval score", run) as this:
        _writable(target.output, apart=inputs)
        source = open_inputs(inputs, given, audio=False)
        parts = splits_of(settings.splits)
        batches = list(this.read(source, given))
        steps = lambda: this.step(result_settings(settings), regular_inputs(inputs))  # noqa: E731
        out = this.output(target, steps, terminal=MetricsView, ends_chain=True)
        matrices = this.beside(settings.confusion, steps) if settings.confusion else None
        table, notes = scored(
            batches, source.columns, settings.task, parts, settings.seed, settings.allow_leak
        )
        out.write(table)
        if matrices is not None:
            matrices.write(confusions(batches, source.columns, settings.task, parts))
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
            "mt-eval probe emb.parquet --task genre --task tempo --folds 10 --each -o probe.csv",
            "two tasks, ten folds, and the value of each for mt-eval compare",
        ),
        (
            "mt-eval probe emb.parquet --task style --probe logistic --search --shots 1,5,20",
            "how many labelled tracks a style needs, by the best C for each number of them",
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

    Splits are the table's own (its column fold, else split), or drawn: those keep artists together
    where the table has groups. What split marks as test is never trained on. The interval over
    several splits is the corrected resampled t interval of Nadeau and Bengio, that of a single one
    a bootstrap. With -o FILE a run that was killed goes on with --resume.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.engine.pool import cores
    from mt_tools.report.terminal import MetricsView
    from mt_tools.stages.judging import requirements_unmet
    from mt_tools.stages.probe import probed

    _understood(settings.require)
    with Run("mt-eval probe", run) as this:
        _writable(target.output, apart=inputs)
        source = open_inputs(inputs, given, audio=False)
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings) | result_settings(probing), regular_inputs(inputs)
        )
        out = this.output(target, steps, terminal=MetricsView, ends_chain=True)
        checkpoint = _checkpoint(this, target.output, settings.resume)
        table, notes = probed(
            this.read(source, given),
            source.columns,
            settings,
            probing,
            cores() if work.jobs < 0 else max(1, work.jobs),
            bar=this.bar,
            checkpoint=checkpoint,
        )
        out.write(table)
        for note in notes:
            this.say(note)
        return _finished(this, requirements_unmet(table, settings.require), checkpoint)


@declare(
    app,
    "recommend",
    inputs=Inputs("Tables of embeddings, or - for stdin."),
    examples=[
        (
            "mt-eval recommend emb.parquet --likes listeners --repeats 50 --baselines",
            "a column of who likes each track; fifty times a tenth of the tracks is new",
        ),
        (
            "mt-eval recommend emb.parquet --likes plays.csv --users user_id --items song "
            "--count plays --alpha 40 --candidates held-out",
            "a row a listener and song; what was played often counts more",
        ),
        (
            "mt-eval recommend emb.parquet --likes listeners --repeats 50 --each -o r.json && "
            "mt-eval compare r.json --against base.json",
            "fails a CI job, exit 4, when the embedding recommends worse",
        ),
    ],
)
def recommend(
    inputs: list[str],
    settings: RecommendTaskSettings,
    recommending: RecommendSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: WorkSettings,
) -> int:
    """Recommend tracks that nobody has heard by their embedding, and say how well that does.

    Content-aware matrix factorisation, as in the REP study: listeners' tastes are learnt from
    the likes of the train tracks, and held-out tracks are placed by a linear map of their
    embedding. Splits of the tracks and intervals are those of mt-eval probe. AP@20 is divided by
    min(20, likes held out); listeners who like no track on one side of a split are left out.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.engine.pool import cores
    from mt_tools.report.terminal import MetricsView
    from mt_tools.stages.judging import requirements_unmet
    from mt_tools.stages.recommend import of_embeddings, recommended
    from mt_tools.tables.labels import read_labels

    if not settings.likes:
        raise UsageError("--likes (missing): say who likes what, a column of listeners or a file")
    _understood(settings.require)
    with Run("mt-eval recommend", run) as this:
        source = open_inputs(inputs, given, audio=False)
        in_table = settings.likes in source.columns
        if not in_table and not os.path.exists(settings.likes):
            raise UsageError(
                f"--likes {settings.likes}: neither a file nor a column of the input, which has "
                f"{', '.join(source.columns)}"
            )
        read = [*inputs, *([] if in_table else [settings.likes])]
        _writable(target.output, apart=read)
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings) | result_settings(recommending), regular_inputs(read)
        )
        out = this.output(target, steps, terminal=MetricsView, ends_chain=True)
        checkpoint = _checkpoint(this, target.output, settings.resume)
        table, notes = recommended(
            this.read(source, given),
            source.columns,
            None if in_table else read_labels(settings.likes),
            settings,
            recommending,
            cores() if work.jobs < 0 else max(1, work.jobs),
            bar=this.bar,
            checkpoint=checkpoint,
        )
        out.write(table)
        for note in notes:
            this.say(note)
        unmet = requirements_unmet(of_embeddings(table), settings.require)
        return _finished(this, unmet, checkpoint)


def _finished(this: Run, unmet: Sequence[str], checkpoint: Checkpoint) -> int:
    """End a run whose checkpoint is needed no more."""
    try:
        code = this.finish(unmet)
    except CheckFailed:  # the results are written all the same
        checkpoint.remove()
        raise
    checkpoint.remove()
    return code


def _checkpoint(this: Run, output: str, resume: bool) -> Checkpoint:
    """Return the file that keeps what has been found so far, where the output is a file."""
    from mt_tools.evaluate.checkpoint import Checkpoint
    from mt_tools.tables.atomic import is_direct

    if output in ("", "-", "/dev/stdout") or is_direct(output):
        if resume:
            raise UsageError("--resume: there is a checkpoint only with -o FILE; name the file")
        return Checkpoint()
    checkpoint = Checkpoint(f"{output}.checkpoint", resume=resume)
    if resume and not len(checkpoint):
        this.say(f"there is no checkpoint of {output}: it begins at the beginning")
    return checkpoint


@declare(
    app,
    "compare",
    inputs=Inputs(
        "Metrics of mt-eval score or probe, or predictions of mt-tag on the same labelled rows; "
        "NAME=FILE calls a run NAME.",
        metavar="[NAME=]FILE",
    ),
    examples=[
        (
            "mt-eval probe new.parquet --task style --repeats 50 --each -o new.json && "
            "mt-eval compare new.json --against base.json",
            "fails a CI job, exit 4, when the embedding gets worse",
        ),
        (
            "mt-eval compare mfcc=a.json crnn=b.json vggish=c.json --plot ranks.svg",
            "all pairs on every task and over all tasks; ranks with their critical difference",
        ),
        (
            "mt-eval compare old.parquet new.parquet --task style --splits test",
            "two models' predictions, paired by track",
        ),
        (
            "mt-eval compare probes/*.json --design runs.csv",
            "what more sources, the strategy and each source do, over all runs of mt-eval design",
        ),
    ],
)
def compare(
    inputs: list[str],
    settings: CompareSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Compare runs: by how much they differ, whether that is chance, and whether it matters.

    Runs are paired by the splits of mt-eval probe --each (corrected resampled t test, Bayesian
    correlated t test) or by track (bootstrap clustered by artist); else by their intervals.
    P-values are corrected after Holm. With --against, exits 4 when a run is worse.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report import ranks
    from mt_tools.report.comparisons import ComparisonsView
    from mt_tools.report.effects import EffectsView
    from mt_tools.report.style import check_ending
    from mt_tools.stages.compare import compared
    from mt_tools.stages.effects import modelled
    from mt_tools.stages.judging import Given
    from mt_tools.stages.runs import named

    if settings.design and (settings.against or settings.plot):
        raise UsageError("--design is of all runs together: leave out --against and --plot")
    if settings.plot:
        check_ending(settings.plot)
        _writable(settings.plot)
    with Run("mt-eval compare", run) as this:
        typed = [*(inputs or ["-"]), *([settings.against] if settings.against else [])]
        tables = []
        for name, path in named(typed):
            source = open_inputs([path], given, audio=False)
            tables.append(Given(name, path, source.columns, this.read(source, given)))
        paths = [table.path for table in tables]
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings), regular_inputs([*paths, settings.design])
        )
        if settings.design:
            design = open_inputs([settings.design], given, audio=False)
            made = Given("design", settings.design, design.columns, design)
            effects, notes = modelled(tables, made, settings)
            out = this.output(target, steps, terminal=EffectsView, ends_chain=True)
            out.write(effects)
            for note in notes:
                this.say(note)
            return this.finish()
        baseline = tables.pop() if settings.against else None
        out = this.output(target, steps, terminal=ComparisonsView, ends_chain=True)
        found = compared(tables, settings, baseline)
        out.write(found.table)
        if settings.plot and found.ranking is not None:
            drawn = found.ranking
            about = ranks.caption(drawn.tasks, drawn.p)
            ranks.draw(settings.plot, drawn.runs, drawn.ranks, drawn.distance, drawn.cliques, about)
        for note in found.notes:
            this.say(note)
        return this.finish(found.regressions)


@declare(
    app,
    "design",
    examples=[
        (
            "mt-eval design --source genre --source mfcc --source subgenre --strategy STN "
            "--strategy MTN:2.. --full -o runs.csv",
            "every set of sources, alone and together, as in the AGF study",
        ),
        (
            "mt-eval design --source self --source bpm --source year --source tag --source taste "
            "--source cdr_tag --source lyrics --source artist --strategy block:1:2.. "
            "--strategy block:3:2.. --strategy block:5:2.. --strategy all:2.. --runs 78 "
            "--add-full --also SS-R:1..1 --also MSS-CR:2.. -o runs.csv",
            "the 169 representations of the REP study, 82 + 8 of them to train",
        ),
        (
            "mt-eval design --own mine.csv --confounding mixed.csv -o runs.csv",
            "a list of your own: checked, named, and what it cannot tell apart",
        ),
    ],
)
def design(settings: DesignSettings, target: OutputSettings, run: RunSettings) -> int:
    """List the runs of an experiment: which learning sources each has, by which strategy.

    All of them, a fraction that tells main effects apart (D-optimal, every source in half of the
    runs and every strategy equally often), or your own. Runs are called by strategy and sources,
    which names files and targets of make; mt-eval compare --design reads the table. How well
    effects are told apart is said on stderr.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages.design import check_design, designed
    from mt_tools.stages.judging import Given

    check_design(settings)
    _writable(target.output, settings.confounding, apart=[settings.own] if settings.own else [])
    with Run("mt-eval design", run) as this:
        own = None
        if settings.own:
            source = open_inputs([settings.own], InputSettings(), audio=False)
            own = Given("own", settings.own, source.columns, source)
        steps = lambda: this.step(result_settings(settings), regular_inputs([settings.own]))  # noqa: E731
        out = this.output(target, steps, terminal=lambda: TableView((), 1000), ends_chain=True)
        pairs = this.beside(settings.confounding, steps) if settings.confounding else None
        made = designed(settings, own)
        this.rows = len(made.runs)
        out.write(made.runs)
        if pairs is not None:
            pairs.write(made.confounding)
        for note in made.notes:
            this.say(note)
        return this.finish()


@declare(
    app,
    "check",
    inputs=Inputs("Tables, or - for stdin."),
    examples=[
        ("mt-eval check train.parquet", "leaks between splits, and how the table was made"),
        (
            "mt-eval check tracks.parquet --audio -o found.jsonl",
            "open the files too, to find copies; the file lists every offender",
        ),
        (
            "mt-eval check gtzan.parquet --dataset gtzan --warn",
            "the known faults of a data set; exit 0 all the same",
        ),
        ("mt-eval check new.parquet --model mine.safetensors", "does the table fit the model?"),
    ],
)
def check(
    inputs: list[str],
    settings: CheckSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: WorkSettings,
) -> int:
    """Check a table for leaks between its splits, and print how it was made.

    Found are: ids used twice; one track, artist or vector in several parts of a split or fold;
    near-duplicates by embedding; factors and dictionaries that were fitted on test rows; labels
    that one artist alone has; with --audio copies of one recording; with --dataset its known
    faults; with --model labels and settings that do not fit. Where nothing is split yet: what
    would leak if it was split by track.

    Exits 4 on any finding, unless --warn.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages.check import Hearing, checked, finding_rows

    with Run("mt-eval check", run) as this:
        _writable(target.output, apart=inputs)
        source = open_inputs(inputs, given, audio=False)
        source.repeated = True
        model = None
        if settings.model:
            from mt_tools.nets.weights import resolve  # it loads torch

            model = resolve(settings.model)
        findings = checked(
            this.read(source, given),
            source.columns,
            settings,
            steps=source.provenance,
            model=model,
            hearing=Hearing(source.folders, work.jobs, this.fail) if settings.audio else None,
        )
        for step in source.provenance:
            this.say(_described(step))
        steps = lambda: this.step(result_settings(settings), regular_inputs(inputs))  # noqa: E731
        shown = ("kind", "message")
        out = this.output(target, steps, terminal=lambda: TableView(shown, 200), ends_chain=True)
        out.write(finding_rows(findings))
        if not findings:
            this.say(f"{this.rows} rows: nothing found")
        bad = bool(findings) and not settings.warn
        count = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"
        return this.finish([f"{count} in {this.rows} rows"] * bad)


@declare(
    app,
    "thresholds",
    inputs=Inputs("Tables of predictions of validation rows with labels, or - for stdin."),
    examples=[
        (
            "mt-tag labelled.parquet -m mine.safetensors -o p.parquet && mt-eval thresholds "
            "p.parquet -m mine.safetensors --calibrate temperature -o better.safetensors",
            "honest scores, and thresholds of the best F1; mt-tag -m better.safetensors uses both",
        ),
        (
            "mt-eval thresholds p.parquet -m mine.safetensors --for precision:0.9 "
            "--for style=coverage:0.8 -o sure.safetensors",
            "tags that are right nine times in ten; no style for the least sure fifth",
        ),
    ],
)
def thresholds(
    inputs: list[str],
    settings: ThresholdSettings,
    given: InputSettings,
    run: RunSettings,
) -> int:
    """Fit thresholds and calibration on validation rows, and write them into the model.

    The report is cross-fitted: rows are judged by what rows of other artists gave. For classes it
    holds the abstention curve, accuracy@0.8 being that of the surest four fifths.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.nets.weights import resolve
    from mt_tools.report.terminal import MetricsView
    from mt_tools.stages.judging import requirements_unmet
    from mt_tools.stages.thresholds import fitted

    if not settings.model:
        raise UsageError("--model (missing): name the model that made the predictions")
    if settings.output and not settings.output.endswith(".safetensors"):
        raise UsageError(f"-o {settings.output}: a model is written, to a .safetensors file")
    _writable(settings.output)
    _understood(settings.require)
    with Run("mt-eval thresholds", run) as this:
        source = open_inputs(inputs, given, audio=False)
        model = resolve(settings.model)
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings) | {"digest": model.digest},
            regular_inputs([*inputs, settings.model]),
        )
        table, notes, new = fitted(this.read(source, given), source.columns, model, settings, steps)
        target = OutputSettings(output=settings.report)
        out = this.output(target, steps, terminal=MetricsView, ends_chain=True)
        out.write(table)
        for note in notes:
            this.say(note)
        unmet = requirements_unmet(table, settings.require)
        if settings.output and not unmet:
            new.save(settings.output)
        return this.finish(unmet)


@declare(
    app,
    "noise",
    inputs=Inputs("Tables of embeddings with labels, or - for stdin."),
    examples=[
        (
            "mt-eval noise emb.parquet --task style --top 50 -o relabel.csv",
            "fifty labels to listen to again, the most suspicious first",
        ),
        (
            "mt-eval noise emb.parquet --task tags --task tempo --summary noise.csv -o relabel.csv",
            "wrong and missing tags and numbers far off; how much of each tag is wrong",
        ),
    ],
)
def noise(
    inputs: list[str],
    settings: NoiseTaskSettings,
    finding: NoiseSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: WorkSettings,
) -> int:
    """List the labels that the rest of the data does not predict, with what it suggests instead.

    Confident learning on probabilities of a logistic regression, each artist judged by the others
    alone. A candidate may be wrong, or merely hard or rare: listen before changing it.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.engine.pool import cores
    from mt_tools.report.terminal import TableView
    from mt_tools.stages.noise import suspected
    from mt_tools.tables.sink import to_file

    with Run("mt-eval noise", run) as this:
        _writable(target.output, apart=inputs)
        source = open_inputs(inputs, given, audio=False)
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings) | result_settings(finding), regular_inputs(inputs)
        )
        shown = ("task", "rank", "id", "label", "suggested", "p_label", "p_suggested", "score")
        out = this.output(target, steps, terminal=lambda: TableView(shown), ends_chain=True)
        summary = to_file(settings.summary, None) if settings.summary else None
        table, estimates, notes = suspected(
            this.read(source, given),
            source.columns,
            settings.task,
            settings.column,
            settings.top,
            finding,
            cores() if work.jobs < 0 else max(1, work.jobs),
        )
        out.write(table)
        if summary is not None:
            writer = summary(steps())
            writer.write(estimates)
            writer.finish(len(estimates), 0)
        for note in notes:
            this.say(note)
        return this.finish()


@declare(
    app,
    "plot",
    inputs=Inputs("Tables that mt-* commands wrote, or models; - for stdin."),
    examples=[
        (
            "mt-train emb.parquet -t style --log log.parquet -o m.safetensors && "
            "mt-eval plot log.parquet -o curves.svg",
            "losses and metrics over the examples seen",
        ),
        ("mt-eval plot small.parquet large.parquet -o both.png", "two trainings side by side"),
        (
            "mt-eval plot p.parquet --task style --splits test -o confusion.pdf",
            "which classes a model takes for which",
        ),
        (
            "mt-eval plot a.parquet b.parquet --kind roc --task tags -o roc.svg",
            "ROC curves of two models in the same axes",
        ),
        (
            "mt-eval plot p.parquet --task energy --borders 1.5,2.5,3.5 -o energy.png",
            "predictions over targets, and how many fall into their level",
        ),
    ],
)
def plot(inputs: list[str], settings: PlotSettings, given: InputSettings, run: RunSettings) -> int:
    """Draw one figure: what is confused, ranked, calibrated, learnt, spread or near.

    Learning curves of a log of mt-train; of predictions a confusion matrix, ROC and
    precision-recall curves, bars of each tag, a scatter plot, calibration, accuracy over coverage;
    of metrics bars with intervals, few-shot curves, the spread over a setting; maps of embeddings;
    the filters of a model. Readable in black and white.
    """
    from mt_tools.commands.run import Run
    from mt_tools.report.style import check_ending, save
    from mt_tools.stages.plot import plotted

    if not settings.output:
        raise UsageError("-o (missing): name the picture, such as -o curves.svg")
    check_ending(settings.output)
    _writable(settings.output)
    with Run("mt-eval plot", run) as this:
        figure, notes = plotted(_opened(this, inputs, given, settings.kind), settings)
        save(figure, settings.output)
        for note in notes:
            this.say(note)
        return this.finish()


@declare(
    app,
    "report",
    inputs=Inputs("Tables that mt-* commands wrote, or models; - for stdin."),
    examples=[
        (
            "mt-eval report p.parquet log.parquet mine.safetensors -o report.html",
            "scores with intervals, figures, learning curves and a model card in one file",
        ),
        (
            "mt-eval report leaky.parquet clean.parquet --splits test --allow-leak -o leak.html",
            "two protocols side by side, and why one is not to be believed",
        ),
        ("mt-eval report probe.json findings.json -o report.md", "Markdown, with its pictures"),
    ],
)
def report(
    inputs: list[str], settings: ReportSettings, given: InputSettings, run: RunSettings
) -> int:
    """Write a report: every number with its interval, protocol and leak check, and figures.

    Takes predictions of mt-tag on labelled tracks, which it scores; rows of mt-eval score, probe,
    check and compare; logs of mt-train; and models. The .html file needs nothing beside it, no
    network and no script; .md has its pictures in a folder beside it.
    """
    from importlib.metadata import version

    from mt_tools.commands.run import Run
    from mt_tools.report.pages import check_page, write_page
    from mt_tools.stages.report import reported

    if not settings.output:
        raise UsageError("-o (missing): name the report, such as -o report.html")
    check_page(settings.output)
    _writable(settings.output)
    with Run("mt-eval report", run) as this:
        made, notes = reported(_opened(this, inputs, given), settings, version("mt-tools"))
        write_page(made, settings.output)
        for note in notes:
            this.say(note)
        return this.finish()


def _opened(this: Run, inputs: list[str], given: InputSettings, kind: str = "") -> list[Given]:
    """Open each input by itself: a table, or a model."""
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.stages.pictures import Given, names_of

    found = []
    for name, path in zip(names_of(inputs), inputs, strict=True) if inputs else [("-", "")]:
        if path.endswith(".safetensors") or kind == "filters":
            from mt_tools.nets.weights import resolve  # which loads torch

            this.rows += 1  # a model has none, but is something to work on
            found.append(Given(name, path, model=resolve(path)))
            continue
        source = open_inputs([path] if path else [], given, audio=False)
        rows = this.read(source, given)
        found.append(Given(name, path or "stdin", source.columns, rows, steps=source.provenance))
    return found


def _writable(*paths: str, apart: Sequence[str] = ()) -> None:
    """Raise `UsageError` for a file that cannot be written, before there is work to lose.

    So for one of the inputs, `apart`, which a result must not take the place of.
    """
    from mt_tools.tables.sink import to_file

    for path in filter(lambda name: name not in ("", "-"), paths):
        to_file(path, "jsonl")  # of any format: only its place is looked at
        if any(os.path.exists(other) and os.path.samefile(path, other)
               for other in apart if os.path.exists(path)):  # fmt: skip
            raise UsageError(
                f"-o {path}: this is an input, which the result would replace: name another file"
            )


def _understood(required: Sequence[str]) -> None:
    """Raise `UsageError` for a requirement that says nothing, before hours of work."""
    from mt_tools.evaluate.require import parse

    for text in required:
        parse(text)


def _described(step: dict[str, object]) -> str:
    from mt_tools.stages.check import fitted_in
    from mt_tools.tables.fitted import KEY

    settings = step.get("settings")
    options = settings.items() if isinstance(settings, dict) else ()
    told = [
        f"{key}={value}"
        for key, value in options
        if key not in (KEY, "as_", "digest") and value not in ("", None, [], {}, False)
    ]
    told += [f"({what} was fitted on {on.described()})" for what, on in fitted_in([step])]
    return f"made by {step.get('command')} {step.get('version')}: {' '.join(told)}"


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-eval")

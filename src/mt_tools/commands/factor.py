"""mt-factor: learning targets out of labels and features."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import InputSettings, OutputSettings, RunSettings
from mt_tools.errors import NoRows, UsageError
from mt_tools.settings import result_settings
from mt_tools.stages.factors.settings import (
    AgfSettings,
    BofSettings,
    ExplainSettings,
    GmmSettings,
    KmeansSettings,
    LdaSettings,
    PcaSettings,
    PlsaSettings,
    QuantileSettings,
    SameTrackSettings,
)

if TYPE_CHECKING:
    from mt_tools.commands.run import Run
    from mt_tools.tables.source import Source

app = make_app("Make learning targets out of labels and features.")


@app.callback()
def factor() -> None:
    """Make learning targets out of labels and features."""


@declare(
    app,
    "plsa",
    inputs=Inputs("Tables with a column of words or of their counts, or - for stdin."),
    examples=[
        (
            "mt-factor plsa tracks.parquet -k 50 --fitted tags.npz -o targets.parquet",
            "50 factors of tags, as in the REP study",
        ),
        (
            "mt-factor plsa tracks.parquet --column lyrics --tfidf --as lyrics_factors",
            "of the words of lyrics, TF-IDF first",
        ),
        (
            "mt-factor plsa new.parquet --column tags --apply tags.npz -o new-targets.parquet",
            "fold new tracks into them",
        ),
    ],
)
def plsa(
    inputs: list[str],
    settings: PlsaSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Find the factors of a bag of words a track: probabilistic latent semantic analysis.

    Each track gets a distribution over factors that sums to 1, to learn as a target. Words are a
    multilabel column, in which a word that stands twice counts twice, or counts of mt-factor bof.
    Fitted on the train rows where the table has splits; which rows it was is recorded, for mt-eval
    check. A track without a known word has no target.
    """
    from mt_tools.stages.factors.topics import PLSA

    return _made("plsa", PLSA, inputs, settings, given, target, run)


@declare(
    app,
    "lda",
    inputs=Inputs("Tables with a column of words or of their counts, or - for stdin."),
    examples=[
        (
            "mt-factor lda tracks.parquet --column tags -k 40 --fitted tags.npz -o targets.parquet",
            "40 topics of tags, and their perplexity on the valid rows",
        ),
        (
            "mt-factor lda bags.parquet --column words --per group -o targets.parquet",
            "of the words of sound that mt-factor bof counted, artist by artist",
        ),
        (
            "mt-factor lda new.parquet --apply tags.npz -o new-targets.parquet",
            "the same topics of new tracks",
        ),
    ],
    notes="Every track is taken to have a little of each topic, one word in all unless "
    "--document-prior says otherwise: a track of one word is hardly more than half of one topic. "
    "Where tracks have few words, plsa has no such pull.",
)
def lda(
    inputs: list[str],
    settings: LdaSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Find the topics of a bag of words a track: latent Dirichlet allocation.

    Each track gets a distribution over topics that sums to 1, to learn as a target. Fitted on the
    train rows where the table has splits, by online variational Bayes. The perplexity tells numbers
    of topics apart: lower is better, on the valid rows where there are some. Which rows were fitted
    on is recorded, for mt-eval check. A track without a known word has no target.
    """
    from mt_tools.stages.factors.topics import LDA

    return _made("lda", LDA, inputs, settings, given, target, run)


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
            "... and which share of a track each has",
        ),
        (
            "mt-embed ~/Music --model bof:words.npz --segment 30 --pool mean -o bags.parquet",
            "straight from audio",
        ),
    ],
)
def kmeans(
    inputs: list[str],
    settings: KmeansSettings,
    given: InputSettings,
    run: RunSettings,
) -> int:
    """Find the words of a bag of frames: K-means over the frames of features, or over vectors.

    The dictionary, an .npz file, is a model for mt-embed: --model bof:FILE. Fitted on the train
    rows where the table has splits, on at most 256 frames a word, and of wide ones on at most
    512 MiB of them, drawn by the seed. Which rows it was is recorded, for mt-eval check.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.stages.factors import words as stage

    if not settings.output.endswith(".npz"):
        raise UsageError("say where the dictionary goes: -o FILE.npz")
    _place("-o", settings.output, inputs)
    _whole(given)
    with Run("mt-factor kmeans", run) as this:
        source = open_inputs(inputs, given, audio=False)
        try:
            centres, of, line = stage.words(this.read(source, given), source.columns, settings)
        except UsageError:
            if not _nothing(this, source, given):
                raise
            return this.finish()  # which says that there was nothing to do
        steps = this.step(result_settings(settings), regular_inputs(inputs))
        stage.write_words(settings.output, centres, of, steps)
        this.say(line)
        return this.finish()


@declare(
    app,
    "explain",
    inputs=Inputs("What --fitted wrote, then tables or - for stdin; with --source tables alone."),
    examples=[
        ("mt-factor explain tags.npz", "the strongest terms of each factor: Table 2 of REP"),
        (
            "mt-factor explain moods.npz targets.parquet --labels genre",
            "factors of sound by the genres that have most of them",
        ),
        (
            "mt-factor explain tags.npz predictions.parquet --column tag_score -o words.parquet",
            "what a model predicts of each track, in words: the column tag_score_terms",
        ),
        (
            "mt-factor explain -s tag_score=tags.npz -s lyrics_score=lyrics.npz p.parquet "
            "--regions 8",
            "what stands out in each region of a map of the embeddings, source by source",
        ),
    ],
    notes="Factors are numbered from 0, as mt-tag names them.",
)
def explain(
    inputs: list[str],
    settings: ExplainSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Explain factors in words: what each is made of, and what they say of tracks and of regions.

    Of plsa and lda the terms are the words that they were fitted to, of gmm ranges of one
    deviation around each mean, of agf its words of sound, named after what is high or low in them,
    or its labels; of pca the largest loadings. With a table, the factors that a model predicts, or
    that were its targets, become words again.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.factors import TermsView
    from mt_tools.report.terminal import TableView
    from mt_tools.stages.factors import explain as stage

    if not (inputs or settings.source):
        raise UsageError("name what was fitted: mt-factor explain FILE.npz")
    if settings.labels and settings.regions:
        raise UsageError("--labels and --regions contradict each other: explain by one of them")
    if settings.source and settings.column:
        raise UsageError("--column and --source contradict each other: --source names the column")
    fitted, tables = ("", inputs) if settings.source else (inputs[0], inputs[1:])
    files = [fitted, *(text.partition("=")[2] for text in settings.source), *tables]
    with Run("mt-factor explain", run) as this:
        steps = lambda: this.step(result_settings(settings), regular_inputs(files))  # noqa: E731
        if fitted and not tables:
            rows, says = stage.factor_rows(fitted, settings)
            view = lambda: TermsView(["factor"], says)  # noqa: E731
            this.output(target, steps, terminal=view, ends_chain=True).write(rows)
            return this.finish(left=False)
        source = open_inputs(tables, given, audio=False)
        found = stage.sources(fitted, source.columns, settings)
        batches = this.read(source, given)
        if not (settings.labels or settings.regions):
            shown = ["id", *(one.words for one in found)]
            out = this.output(target, steps, terminal=lambda: TableView(shown))
            for batch in this.progress(stage.run(batches, found, settings, this.fail), None):
                out.write(batch)
            return this.finish()
        by = ["source", "factor"] if settings.labels else ["region", "n", "source"]
        view = lambda: TermsView(by, "weight" if settings.by == "weight" else "lift")  # noqa: E731
        out = this.output(target, steps, terminal=view, ends_chain=True)
        if settings.labels:
            out.write(stage.label_rows(batches, found, settings, this.fail))
        else:
            embedding = stage.embedding_of(source.columns, settings.embedding)
            out.write(stage.region_rows(batches, embedding, found, settings, this.fail))
        return this.finish()


@declare(
    app,
    "gmm",
    inputs=Inputs("Tables with a column of numbers, or - for stdin."),
    examples=[
        (
            "mt-factor gmm tracks.parquet --column tempo -k 50 --as bpm -o targets.parquet",
            "50 components of tempo, as in the REP study",
        ),
        (
            "mt-factor gmm tracks.parquet --column year -k auto --fitted year.npz -o y.parquet",
            "as many as the years ask for",
        ),
        (
            "mt-factor gmm new.parquet --apply year.npz -o new-targets.parquet",
            "the same components of new tracks",
        ),
    ],
)
def gmm(
    inputs: list[str],
    settings: GmmSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Make of a number, such as tempo or year, a distribution: a mixture of normals.

    Each track gets the share that each component has in its number, in the order of their means;
    the shares sum to 1, to learn as a target. Equal numbers, as years are, count as rounded, so
    that components are eras and not single years. A track without a number has no target. Fitted
    on the train rows where the table has splits; which rows it was is recorded, for mt-eval check.
    """
    from mt_tools.stages.factors.scalars import Gmm

    return _made("gmm", Gmm, inputs, settings, given, target, run)


@declare(
    app,
    "quantile",
    inputs=Inputs("Tables with a column of numbers or of vectors, or - for stdin."),
    examples=[
        (
            "mt-factor quantile tracks.parquet --column year --as when -o targets.parquet",
            "a number as a standard normal, to learn by regression",
        ),
        (
            "mt-factor quantile songs.parquet --fitted q.npz | mt-factor kmeans - "
            "--column embedding.quantile -o words.npz",
            "descriptors of any scale, before they are clustered",
        ),
    ],
)
def quantile(
    inputs: list[str],
    settings: QuantileSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Make a standard normal of a column of numbers, or of each number of vectors.

    By 1,000 quantiles, as scikit-learn's QuantileTransformer has it: new numbers beyond those of
    the train rows become the ends, -5.2 and 5.2; missing ones stay missing. A number is a target of
    regression. Vectors are an embedding, to probe, cluster or learn from: mt-train predicts no
    vectors but distributions. Fitted on the train rows where the table has splits; which rows it
    was is recorded, for mt-eval check.
    """
    from mt_tools.stages.factors.scalars import Quantile

    return _made("quantile", Quantile, inputs, settings, given, target, run)


@declare(
    app,
    "pca",
    inputs=Inputs("Tables with a column of vectors, or - for stdin."),
    examples=[
        (
            "mt-factor pca emb.parquet -k 0.95 --as embedding.small -o small.parquet",
            "the components with 95 % of the variance ...",
        ),
        (
            "mt-eval probe small.parquet --task style --column embedding.small",
            "... and what they know",
        ),
    ],
)
def pca(
    inputs: list[str],
    settings: PcaSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Find the principal components of vectors: embeddings, counts of words, targets.

    They are an embedding, to probe, cluster or learn from: mt-train predicts no vectors but
    distributions. For features with frames there is mt-spec --fit pca. Fitted on the train rows
    where the table has splits; which rows it was is recorded, for mt-eval check.
    """
    from mt_tools.stages.factors.scalars import Pca

    return _made("pca", Pca, inputs, settings, given, target, run)


@declare(
    app,
    "same-track",
    inputs=Inputs("Tables of tracks with their length, or - for stdin."),
    examples=[
        (
            "mt-factor same-track tracks.parquet --pairs 1000 -o pairs.parquet",
            "1,000 pairs of crops of 2.5 s, 500 of one track each ...",
        ),
        (
            "mt-embed pairs.parquet --model mine.safetensors --pool none -o emb.parquet",
            "... to tell by their distance which is which",
        ),
    ],
)
def same_track(
    inputs: list[str],
    settings: SameTrackSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Draw pairs of crops, half of them of one track: does an embedding know a track again?

    A row a crop, for mt-spec and mt-embed; `pair` says which two belong together, `same` whether
    they are of one track (REP, eqs. 5 and 6). To learn from such pairs no table is needed: mt-train
    --task origin:same-track draws its own. Both crops of a pair are of one split, and of one track
    they do not overlap where it is long enough.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages.factors import pairs as stage

    with Run("mt-factor same-track", run) as this:
        source = open_inputs(inputs, given, audio=False)
        light = source.light(stage.needed(source.columns))
        drawn = stage.drawn(this.read(light, given), settings)
        this.rows = 0  # counted again
        rows = stage.cropped(this.read(source, given), drawn)
        steps = lambda: this.step(result_settings(settings), regular_inputs(inputs))  # noqa: E731
        out = this.output(target, steps, terminal=TableView)
        for batch in this.progress(rows, 2 * settings.pairs, "crop"):
            out.write(batch)
        for note in drawn.notes:
            this.say(note)
        return this.finish()


@declare(
    app,
    "bof",
    inputs=Inputs("Tables with features or embeddings, or - for stdin."),
    examples=[
        (
            "mt-factor bof mfcc.parquet --words words.npz -o counts.parquet",
            "how often each word of mt-factor kmeans occurs in a track ...",
        ),
        (
            "mt-factor lda counts.parquet --column words --per group -k 40 -o targets.parquet",
            "... and what the tracks of an artist are made of",
        ),
    ],
)
def bof(
    inputs: list[str],
    settings: BofSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Count the words of a dictionary: bag of frames, or of vectors.

    A vector of counts, to find factors in: mt-factor plsa and lda take it as they take lists of
    words. (To learn from shares of words, mt-embed --model bof:FILE.) Per track, consecutive
    segments (id@start) of one track become one row, and copies with a recipe are counted by
    themselves. Per group, each row gets the counts of all rows of its group in the same split.
    Features are dropped.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages.factors import words as stage

    with Run("mt-factor bof", run) as this:
        known = stage.read_words(settings.words)
        source = open_inputs(inputs, given, audio=False)
        light = source
        try:
            if settings.per == "group":
                light = source.light(stage.needed(source.columns, settings))
            made = stage.bof(
                lambda: this.read(light, given),
                this.read(source, given),
                source.columns,
                settings,
                known,
            )
        except UsageError:
            if not _nothing(this, source, given):
                raise
            return this.finish()
        this.rows = 0  # rows of groups are read, and counted, again
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings) | stage.recorded(known),
            regular_inputs([*inputs, settings.words]),
        )
        out = this.output(target, steps, terminal=TableView)
        for batch in this.progress(made, None):
            out.write(batch)
        return this.finish()


@declare(
    app,
    "agf",
    inputs=Inputs("Tables with features, embeddings or lists of words, or - for stdin."),
    examples=[
        (
            "mt-spec tracks.parquet --preset agf-mfcc | mt-factor agf --as m -o m.parquet",
            "groups of artists by their timbre, as in the AGF study",
        ),
        (
            "mt-factor agf tracks.parquet --column subgenres --as s -o s.parquet",
            "by what their tracks are called, without a dictionary",
        ),
        (
            "mt-factor agf mfcc.parquet --as m --fitted m.npz -o m.parquet",
            "keep what was fitted ...",
        ),
        (
            "mt-factor agf new.parquet --as m --apply m.npz -o new-m.parquet",
            "... for new tracks and artists",
        ),
    ],
)
def agf(
    inputs: list[str],
    settings: AgfSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Artist-group factors: which groups of artists each track's artist belongs to, in which part.

    Frames of features become words by K-means; song descriptors and other vectors are made normal
    by their quantiles first; lists of words, such as subgenres, are words already. The words of an
    artist (the column group; a track without one is its own artist) are counted, and latent
    Dirichlet allocation finds the groups. An artist's mixture of them is the target of each of its
    tracks: a distribution that sums to 1.

    Dictionary and groups are fitted on the train rows where the table has splits. The words of an
    artist are those of its train rows; an artist without any gets, in each other part of the split,
    the mixture of its rows there. An artist without a word has no target.
    """
    from mt_tools.stages.factors import artist_groups

    return _made("agf", artist_groups, inputs, settings, given, target, run)


def _made(
    name: str,
    method: Any,
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
    from mt_tools.tables.sink import to_file

    if settings.fitted and settings.apply:
        raise UsageError(
            "--fitted and --apply contradict each other: fit, or apply what was fitted"
        )
    if settings.fitted:
        _place("--fitted", settings.fitted, [*inputs, target.output])
    if not settings.apply:
        _whole(given)
    with Run(f"mt-factor {name}", run) as this:
        before = read_fitted(settings.apply, *method.METHODS) if settings.apply else None
        source = open_inputs(inputs, given, audio=False)
        if target.output not in ("", "-"):
            to_file(target.output, target.format or None)  # what cannot be written is said now
        try:
            light = source.light(method.needed(source.columns, settings))
            made = method.run(
                lambda: this.read(light, given),
                this.read(source, given),
                source.columns,
                settings,
                before,
            )
        except (NoRows, UsageError) as error:
            if isinstance(error, UsageError) and not _nothing(this, source, given):
                raise
            return this.finish()  # which knows whether --shard left none
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


def _place(option: str, path: str, others: Sequence[str]) -> None:
    """Raise `UsageError` where a fitted file cannot go, before there is a fit to lose.

    That is a name without .npz, a folder that cannot be written to, or one of `others`: the tables
    that are read and written, of which it would take the place.
    """
    from mt_tools.tables.atomic import is_direct
    from mt_tools.tables.sink import to_file

    if is_direct(path):
        return
    if not path.endswith(".npz"):
        raise UsageError(f"{option} {path}: the file is NPZ: call it FILE.npz")
    to_file(path, "npz")
    real = os.path.realpath(path)
    if any(os.path.realpath(other) == real for other in others if other not in ("", "-")):
        raise UsageError(
            f"{option} {path}: a table of this run has that name, and what is fitted would take "
            "its place: name another file"
        )


def _whole(given: InputSettings) -> None:
    """Raise `UsageError` where `--shard` would leave out rows that are fitted on."""
    if given.shard:
        raise UsageError(
            f"--shard {given.shard} leaves out rows that the fit needs: leave it out, or --apply "
            "what was fitted to all"
        )


def _nothing(this: Run, source: Source, given: InputSettings) -> bool:
    """Say whether an input that did not fit is without rows, and so without columns to choose.

    Only then is it read: of what has columns the reading may have begun.
    """
    bare = set(source.columns) <= {"id"}
    return bare and not this.rows and not any(len(batch) for batch in this.read(source, given))


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-factor")

"""mt-fetch: finds audio and labels."""

from __future__ import annotations

from typing import NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import (
    FileWorkSettings,
    InputSettings,
    OutputSettings,
    RunSettings,
    WorkSettings,
)
from mt_tools.engine.pool import prepare
from mt_tools.errors import EXIT_OK, UsageError
from mt_tools.settings import result_settings
from mt_tools.stages.settings import (
    DatasetSettings,
    DescribeSettings,
    FolderSettings,
    JoinSettings,
    SplitSettings,
    SynthSettings,
    WeightsSettings,
)

app = make_app("Find audio and labels.")

_TRACKS = (
    "id",
    "length",
    "sample_rate",
    "channels",
    "artist",
    "album",
    "title",
    "genre",
    "year",
    "bpm",
)
_PIECES = ("id", "artist", "title", "style", "instruments", "tempo", "energy", "key")


@app.callback()
def fetch() -> None:
    """Find audio and labels: folders, data sets, a made corpus, pretrained weights, splits."""


@declare(
    app,
    "folder",
    inputs=Inputs(
        "Folders, audio files, playlists and libraries (M3U, Rekordbox XML, iTunes XML, beets), or "
        "- for paths on stdin.",
        "DIR",
    ),
    examples=[
        ("mt-fetch folder ~/Music -o tracks.parquet", "every track with its embedded tags"),
        ("mt-fetch folder ~/Music | mt-embed --model crnn-msd -o emb.parquet", "into a pipe"),
        (
            "find . -newer last -name '*.flac' -print0 | mt-fetch folder -0 - -o new.parquet",
            "only what find chooses",
        ),
        (
            "mt-fetch folder ~/Music --update library.parquet -o library.parquet",
            "every night: only files that changed are opened",
        ),
        (
            "mt-fetch folder ~/Music --tag energy=ENERGY:regression "
            "--tag situation=SITUATION:multilabel -o dj.parquet",
            "labels of one's own, from custom fields",
        ),
        ("mt-fetch folder rekordbox.xml -o set.parquet", "tracks and labels of a collection"),
        ("mt-fetch folder set.m3u8 --audio bytes -o set.parquet", "a table that needs no files"),
    ],
)
def folder(
    inputs: list[str],
    settings: FolderSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: FileWorkSettings,
) -> int:
    """Scan folders for audio: length, rate, channels, and embedded tags as label columns.

    The group is the artist, else the album, else the folder. Files are opened, not decoded.

    What Rekordbox, iTunes or beets say of a track wins over the tags inside its file, which fill
    what they leave open; what a playlist says only fills.
    """
    prepare("mt_tools.stages.scan", work.jobs, work.timeout)
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import folder as stage
    from mt_tools.stages.scan import make_plan

    with Run("mt-fetch folder", run) as this:
        source = open_inputs(inputs, given, audio=True, labels=True)
        plan = make_plan(settings, source.columns)
        said = result_settings(settings)
        earlier = None
        if settings.update:
            earlier = stage.read_earlier(settings.update, plan, settings, this.step(said)[-1])
        steps = lambda: this.step(said, regular_inputs(inputs))  # noqa: E731
        shown = dict.fromkeys([*_TRACKS, *plan.asked])
        out = this.output(target, steps, terminal=lambda: TableView(list(shown)))
        tally = stage.Tally()
        batches = stage.run(
            this.read(source, given), plan, folders=source.folders, jobs=work.jobs,
            fail=this.fail, say=this.say, earlier=earlier, tally=tally,
        )  # fmt: skip
        for batch in this.progress(batches, None):
            out.write(batch)
        if earlier is not None and earlier.note:
            this.say(f"{settings.update} was made otherwise: {earlier.note}")
        for line in tally.lines(plan, earlier):
            this.say(line)
        return this.finish()


@declare(
    app,
    "synth",
    examples=[
        (
            "mt-fetch synth --tracks 120 --out data -o tracks.parquet",
            "120 pieces with known labels",
        ),
        (
            "mt-fetch synth --tracks 120 --out data | mt-embed --model mfcc-stats -o synth.parquet",
            "into a pipe",
        ),
        (
            "mt-fetch synth --tracks 120 --sources --out data -o sources.parquet",
            "with tags, listeners, library terms and lyrics",
        ),
    ],
)
def synth(
    settings: SynthSettings, target: OutputSettings, run: RunSettings, work: WorkSettings
) -> int:
    """Make a corpus with known labels: short pieces of music as real audio files.

    Labels: style (one of several), instruments (several), tempo and energy (numbers), key, and
    artists who favour some styles and sounds. The same seed makes the same files. --sources adds
    columns to learn representations from: tags, listeners, library_tags, lyrics.
    """
    from mt_tools.commands.run import Run
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import fetch as stage

    with Run("mt-fetch synth", run) as this:
        steps = lambda: this.step(result_settings(settings))  # noqa: E731
        out = this.output(target, steps, terminal=lambda: TableView(_PIECES))
        for batch in this.progress(stage.synth(settings, work.jobs), settings.tracks):
            this.rows += len(batch)
            out.write(batch)
        return this.finish()


@declare(
    app,
    "dataset",
    examples=[
        ("mt-fetch dataset gtzan --split fault-filtered -o gtzan.parquet", "download and read it"),
        ("mt-fetch dataset magnatagatune --dry-run", "how large it is, what is here, its licence"),
        ("mt-fetch dataset fma --set small --to data/fma | mt-spec --preset choi2016", "a pipe"),
        ("mt-fetch dataset extended-ballroom --from ~/eb -o eb.parquet", "what you have already"),
        ("mt-fetch dataset gtzan --verify", "in cron: exit 4 where a file has changed"),
    ],
)
def dataset(settings: DatasetSettings, target: OutputSettings, run: RunSettings) -> int:
    """Bring a published data set and read it as a table of tracks: labels, groups, splits.

    What is missing is downloaded, checked against the published checksums, and unpacked; a download
    that broke off goes on where it was. Tracks whose audio is not there are failed rows.
    """
    import sys

    from mt_tools.commands.run import Run
    from mt_tools.errors import CheckFailed
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import dataset as stage

    show = run.progress or (sys.stderr.isatty() and not run.quiet)
    with Run("mt-fetch dataset", run) as this:
        if settings.dry_run:
            for line in stage.plan(settings):
                print(line)
            return EXIT_OK
        if settings.verify:
            wrong = 0
            for line in stage.verify(settings, show=show):
                this.say(line, always=True)
                wrong += 1
            if wrong:
                raise CheckFailed(stage.mend(settings, wrong))
            this.say("every file is as it should be")
            return EXIT_OK
        out = this.output(target, lambda: this.step(stage.provenance(settings)), terminal=TableView)
        batches = stage.run(settings, show=show, say=this.say, fail=this.fail)
        for batch in this.progress(batches, None):
            this.rows += len(batch)
            out.write(batch)
        this.rows += this.failed
        return this.finish()


@declare(
    app,
    "weights",
    examples=[
        ("mt-fetch weights crnn-msd", "the Music Auto-Tagger, into your cache"),
        ("mt-fetch weights crnn-msd --mirror /mnt/models", "from a folder, without a network"),
    ],
)
def weights(settings: WeightsSettings, run: RunSettings) -> int:
    """Bring pretrained weights into the cache: download, verify, convert; print where they are."""
    import sys

    from mt_tools.nets.weights import fetch_weights

    path = fetch_weights(
        settings.name,
        settings.mirror or None,
        progress=run.progress or (sys.stderr.isatty() and not run.quiet),
    )
    print(path)
    return EXIT_OK


@declare(
    app,
    "join",
    inputs=Inputs(
        "A table, or - for stdin, and a file of labels: CSV, TSV, JSON lines, or a table.",
        "TABLE [LABELS]",
    ),
    examples=[
        (
            "mt-fetch join tracks.parquet genres.csv --on path=file --key stem -o labelled.parquet",
            "labels by the names of the files",
        ),
        (
            "mt-fetch join mtt.parquet annotations_final.csv --on id=mp3_path --multilabel 'tags=*'"
            " --top 50 --of tags -o top50.parquet",
            "MagnaTagATune's 188 columns as a list of tags, of which the 50 most frequent",
        ),
        (
            "mt-fetch join songs.parquet triplets.txt --on song --header user,song,plays "
            "--collect listeners=user -o taste.parquet",
            "a row a listener and song",
        ),
        (
            "mt-fetch join tracks.parquet --relabel genre=map.csv --of genre --single-label-only "
            "--one-per artist,title --cap 300 -o balanced.parquet",
            "no labels from elsewhere: 23 genres to 6, one version a song, 300 a class",
        ),
    ],
)
def join(
    inputs: list[str],
    settings: JoinSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Put labels from a file beside tracks, by a key that both have; choose labels and tracks.

    Rows keep their order and their ids. Keys that only one side has are reported, and rows of one
    key that contradict each other are refused.

    What is asked for is done in this order: labels are joined, --lists, --relabel,
    --single-label-only, --one-per, --top and --min-count, --cap, --labelled-only. Tracks are
    counted, not rows: copies and segments of a track are one. Labels are counted over the whole
    table, whatever its splits.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import join as stage
    from mt_tools.tables.labels import read_labels
    from mt_tools.tables.provenance import merged

    if len(inputs) > 2:
        raise UsageError(f"expected a table and a file of labels, got {len(inputs)} inputs")
    if inputs == ["-", "-"]:
        raise UsageError("stdin can be the table or the labels, not both: name one of them")
    with Run("mt-fetch join", run) as this:
        source = open_inputs(inputs[:1], given, audio=False)
        header = [name.strip() for name in settings.header.split(",") if name.strip()]
        labels = read_labels(inputs[1], header) if len(inputs) > 1 else None
        if labels is not None:  # on which tracks a target was fitted stands in its own history
            source.provenance = merged([source.provenance, labels.provenance])
        work = stage.Join(source.columns, labels, settings)
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings), regular_inputs([*inputs, *work.files.values()])
        )
        out = this.output(target, steps, terminal=TableView)
        if work.light:
            work.survey(this.read(source.light(work.light), given))
            this.rows = 0  # they are read, and counted, again
        for batch in this.progress(work.run(this.read(source, given), this.fail), None):
            out.write(batch)
        for line in work.notes():
            this.say(line)
        return this.finish()


@declare(
    app,
    "split",
    inputs=Inputs("Tables of tracks, or - for stdin."),
    examples=[
        ("mt-fetch split tracks.parquet -o parts.parquet", "80/10/10, artists kept together"),
        (
            "mt-fetch split t.parquet --method stratified-grouped --by style --folds 5 -o f.npz",
            "five folds, balanced in style",
        ),
        (
            "mt-fetch split t.parquet --method stratified --by energy --by tags -o parts.parquet",
            "balanced in a number, by its tenths, and in every tag",
        ),
        (
            "mt-fetch split fma.parquet --keep test --train .9 --valid .1 -o parts.parquet",
            "a given test split; validation out of the rest",
        ),
        (
            "for i in $(seq 10); do mt-fetch split t.parquet --repeat $i -o $i.parquet; done",
            "ten splits of the same tracks",
        ),
    ],
)
def split(
    inputs: list[str],
    settings: SplitSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Draw train, valid and test (or folds): random, stratified, by group, or both.

    Copies of one track stay together unless --copies apart is said. The same seed draws the same
    split, whatever the order of the rows.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import split as stage

    with Run("mt-fetch split", run) as this:
        source = open_inputs(inputs, given, audio=False)
        light = source.light(stage.needed(source.columns, settings))
        steps = lambda: this.step(result_settings(settings), regular_inputs(inputs))  # noqa: E731
        out = this.output(target, steps, terminal=TableView)
        report = this.beside(settings.report, steps) if settings.report else None
        batches = list(this.read(light, given))
        out.empty = stage.unmarked(source.empty, settings)
        if batches:
            drawn = stage.drawn(batches, settings)
            for line in drawn.lines:
                this.say(line)
            for batch in this.progress(stage.marked(source, drawn), this.rows):
                out.write(batch)
            if report is not None:
                report.write(drawn.report)
        return this.finish()


@declare(
    app,
    "describe",
    inputs=Inputs("Tables, or - for stdin."),
    examples=[
        ("mt-fetch describe tracks.parquet", "sizes, splits, labels, numbers, correlations"),
        (
            "mt-fetch describe msd.parquet --column energy --column valence --plot targets.pdf",
            "two columns, drawn",
        ),
        (
            "mt-fetch describe t.parquet | jq -r 'select(.statistic == \"count\").label'",
            "a pipe gets a row a statistic",
        ),
    ],
)
def describe(
    inputs: list[str],
    settings: DescribeSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Describe a table: rows, hours, what each split holds, labels, numbers, correlations, gaps.

    Each statistic is a row: its column, its name, the label or the other column and the split it is
    about, and its value or text.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.description import DescriptionView
    from mt_tools.report.distributions import distributions_figure
    from mt_tools.report.style import check_ending, save
    from mt_tools.stages import describe as stage

    if settings.plot:
        check_ending(settings.plot, option="--plot")
    with Run("mt-fetch describe", run) as this:
        source = open_inputs(inputs, given, audio=False)
        source.repeated = True  # which is told, not refused
        stage.chosen(source.columns, settings)
        steps = lambda: this.step(result_settings(settings), regular_inputs(inputs))  # noqa: E731
        view = lambda: DescriptionView(settings.top)  # noqa: E731
        out = this.output(target, steps, terminal=view, ends_chain=True)
        batches = this.progress(this.read(source, given), None, "row")
        found = stage.described(batches, source.columns, settings)
        if this.rows:
            out.write(found.rows)
            if settings.plot:
                save(distributions_figure(found.picture), settings.plot)
            for note in found.notes:
                this.say(note)
        return this.finish()


@declare(
    app,
    "list",
    examples=[
        ("mt-fetch list", "everything that has a name"),
        ("mt-fetch list --format jsonl | jq -r 'select(.kind == \"preset\").id'", "its names"),
    ],
)
def list_(target: OutputSettings, run: RunSettings) -> int:
    """List what has a name: weights, embedders, networks, presets, data sets."""
    from mt_tools.commands.run import Run
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import fetch as stage

    with Run("mt-fetch list", run) as this:
        out = this.output(target, lambda: [], terminal=lambda: TableView((), 200))
        table = stage.listing()
        this.rows = len(table)
        out.write(table)
        return this.finish()


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-fetch")

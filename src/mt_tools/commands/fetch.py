"""mt-fetch: finds audio and labels."""

from __future__ import annotations

from typing import NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import InputSettings, OutputSettings, RunSettings, WorkSettings
from mt_tools.errors import EXIT_OK
from mt_tools.settings import result_settings
from mt_tools.stages.settings import SplitSettings, SynthSettings, WeightsSettings

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
    """Find audio and labels: folders, a made corpus, pretrained weights, splits."""


@declare(
    app,
    "folder",
    inputs=Inputs("Folders, audio files, or - for paths on stdin.", "DIR"),
    examples=[
        ("mt-fetch folder ~/Music -o tracks.parquet", "every track with its embedded tags"),
        ("mt-fetch folder ~/Music | mt-embed --model crnn-msd -o emb.parquet", "into a pipe"),
        (
            "find . -newer last -name '*.flac' -print0 | mt-fetch folder -0 - -o new.parquet",
            "only what find chooses",
        ),
    ],
)
def folder(
    inputs: list[str],
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: WorkSettings,
) -> int:
    """Scan folders for audio: length, rate, channels, and embedded tags as label columns.

    The group is the artist, else the album, else the folder. Files are opened, not decoded.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import folder as stage

    with Run("mt-fetch folder", run) as this:
        source = open_inputs(inputs, given, audio=True)
        steps = lambda: this.step({}, regular_inputs(inputs))  # noqa: E731
        out = this.output(target, steps, terminal=lambda: TableView(_TRACKS))
        batches = stage.run(
            this.read(source, given), folders=source.folders, jobs=work.jobs, fail=this.fail
        )
        for batch in this.progress(batches, None):
            out.write(batch)
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
    ],
)
def synth(
    settings: SynthSettings, target: OutputSettings, run: RunSettings, work: WorkSettings
) -> int:
    """Make a corpus with known labels: short pieces of music as real audio files.

    Labels: style (one of several), instruments (several), tempo and energy (numbers), key, and
    artists who favour some styles and sounds. The same seed makes the same files.
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
    "split",
    inputs=Inputs("Tables of tracks, or - for stdin."),
    examples=[
        ("mt-fetch split tracks.parquet -o parts.parquet", "80/10/10, artists kept together"),
        (
            "mt-fetch split t.parquet --method stratified-grouped --by style --folds 5 -o f.npz",
            "five folds, balanced in style",
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
        batches = list(this.read(source, given))
        steps = lambda: this.step(result_settings(settings), regular_inputs(inputs))  # noqa: E731
        out = this.output(target, steps, terminal=TableView)
        if batches:
            table, lines = stage.run(batches, settings)
            for line in lines:
                this.say(line)
            out.write(table)
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
    """List what has a name: pretrained weights, embedders, networks, presets."""
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

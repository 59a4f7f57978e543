"""mt-augment: more examples of the same track."""

from __future__ import annotations

from typing import NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import (
    FileWorkSettings,
    InputSettings,
    OutputSettings,
    RunSettings,
)
from mt_tools.engine.pool import prepare
from mt_tools.recipes.effects import EFFECTS, described
from mt_tools.recipes.features import FEATURE_EFFECTS
from mt_tools.stages.settings import AugmentSettings

app = make_app("Make more examples of the same tracks.")

NOTES = "\n\n".join(
    f"{title}:\n" + "\n".join(f"  {name}: {described(kind)}" for name, kind in effects.items())
    for title, effects in (("Effects on sound", EFFECTS), ("Effects on features", FEATURE_EFFECTS))
)
EXAMPLES = [
    (
        "mt-fetch folder ~/Music | mt-augment --pitch -2,2 | mt-spec --preset dj -o mels.parquet",
        "one tone up and one tone down, as in the DJ study",
    ),
    (
        "mt-augment tracks.parquet --recipe pitch=-2..2,noise=pink:20@0.5 --copies 4 -o a.parquet",
        "four copies of each track, each drawn anew, every other one with noise",
    ),
    (
        "mt-augment split.parquet --recipe room=halls/,mix=5..15 -o more.parquet",
        "in a room of that folder, over another track of the same split",
    ),
    (
        "mt-augment tracks.parquet --stretch 0.9,1.1 --render copies -o more.parquet",
        "10 % faster and slower, as audio files",
    ),
    (
        "mt-augment mels.parquet --recipe mask=0..12:0..40,shift=-3..3@0.5 --copies 2 -o m.parquet",
        "SpecAugment's masks on features, every other copy up to three bands higher or lower",
    ),
    (
        "mt-augment mels.parquet --recipe mixup=beta0.2 --labels genre -o mixed.parquet",
        "each mixed with another track of its split, its genre too; --task genre learns shares",
    ),
]


@declare(
    app,
    "mt-augment",
    inputs=Inputs("Folders, audio files, tables of tracks or features, or - for stdin."),
    examples=EXAMPLES,
    notes=NOTES,
)
def augment(
    inputs: list[str],
    settings: AugmentSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: FileWorkSettings,
) -> int:
    """Make more examples of the same tracks: pitch, noise, rooms, codecs; masks, mixtures ...

    Copies are recipes in the table, applied when the audio is decoded; --render writes audio.
    Effects on features are applied at once. A copy keeps the origin of its track, and no split ever
    separates the two.

    A recipe is EFFECT=VALUE, more values after colons, more effects after commas. A number may be
    a range, LOW..HIGH, and a file a folder: each copy draws. EFFECT@P is applied with chance P.
    What covers bands and frames, and mixtures, take shares of them too, 5%..20%.
    """
    prepare("mt_tools.stages.augment", work.jobs if settings.render else 0, work.timeout)
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import augment as stage
    from mt_tools.stages import augment_features
    from mt_tools.stages.recipes import COLUMNS, Files

    templates = stage.templates_of(settings)
    on_features = stage.on_features(templates, settings)
    files = Files(templates)
    with Run("mt-augment", run) as this:
        source = open_inputs(inputs, given, audio=True)
        if files.reads_table:
            files.read(source.light(COLUMNS))
        given_files = regular_inputs([*inputs, *files.typed])
        steps = lambda: this.step(stage.recorded(settings), given_files)  # noqa: E731
        out = this.output(target, steps, terminal=TableView)
        if on_features:
            batches = augment_features.run(
                source, lambda: this.read(source, given), templates, settings, fail=this.fail,
                say=this.say,
            )  # fmt: skip
        else:
            batches = stage.run(
                this.read(source, given), settings, files=files, folders=source.folders,
                jobs=work.jobs, fail=this.fail, say=this.say,
            )  # fmt: skip
        if settings.render:
            batches = stage.render(
                batches, settings.render, folders=source.folders, jobs=work.jobs, fail=this.fail,
                say=this.say,
            )  # fmt: skip
        for batch in this.progress(batches, None):
            out.write(batch)
        return this.finish()


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-augment")

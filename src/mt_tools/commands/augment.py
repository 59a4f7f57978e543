"""mt-augment: more examples of the same track."""

from __future__ import annotations

from typing import NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import InputSettings, OutputSettings, RunSettings, WorkSettings
from mt_tools.errors import UsageError
from mt_tools.settings import result_settings
from mt_tools.stages.settings import AugmentSettings

app = make_app("Make more examples of the same tracks.")

EXAMPLES = [
    (
        "mt-fetch folder ~/Music | mt-augment --pitch -2,2 | mt-spec --preset dj -o mels.parquet",
        "one tone up and one tone down, as in the DJ study",
    ),
    (
        "mt-augment tracks.parquet --stretch 0.9,1.1 --render copies -o more.parquet",
        "10 % faster and slower, as audio files",
    ),
]


@declare(
    app,
    "mt-augment",
    inputs=Inputs("Folders, audio files, tables of tracks, or - for stdin."),
    examples=EXAMPLES,
)
def augment(
    inputs: list[str],
    settings: AugmentSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: WorkSettings,
) -> int:
    """Make more examples of the same tracks by pitch and stretch.

    Copies are recipes in the table, applied when the audio is decoded; --render writes audio. A
    copy keeps the origin of its track, and no split ever separates the two.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import augment as stage

    copies = stage.recipes(
        _numbers("--pitch", settings.pitch), _numbers("--stretch", settings.stretch)
    )
    if not copies:
        raise UsageError("nothing to do: say --pitch -2,2 or --stretch 0.9,1.1")
    with Run("mt-augment", run) as this:
        source = open_inputs(inputs, given, audio=True)
        steps = lambda: this.step(result_settings(settings), regular_inputs(inputs))  # noqa: E731
        out = this.output(target, steps, terminal=TableView)
        batches = stage.run(
            this.read(source, given),
            copies,
            originals=settings.originals,
            splits=settings.splits.split(","),
        )
        if settings.render:
            batches = stage.render(
                batches, settings.render, folders=source.folders, jobs=work.jobs, fail=this.fail
            )
        for batch in this.progress(batches, None):
            out.write(batch)
        return this.finish()


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected numbers such as -2,2") from None


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-augment")
